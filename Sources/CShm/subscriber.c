/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/broadcast.h for the model, broadcast_parts.h for the pairs. Here: subscribers.
 *
 * Overwriting subscribers take lines from the first on, lossless ones from the last on, so that
 * publishers find each kind without looking at the other's lines.
 */
#include "broadcast_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

struct cshm_subscriber {
    cshm_broadcast *broadcast;
    struct cshm_subscriber_shared *line;
    uint64_t stamp;
    uint64_t cursor; /* the next position to read */
    uint64_t lost;
    int64_t next_check_ns;
    uint32_t held;   /* messages given by the last peek */
    uint32_t misses; /* times in a row that a message was overwritten before it was pinned */
    uint32_t slot;   /* the pinned one, while one is held */
    bool lossless;
};

/* ---- join, leave ---- */

/* Takes a line that is free, for JOINING; with `of_dead`, first frees those of the dead. */
static bool take_line(cshm_broadcast *broadcast, bool lossless, bool of_dead, uint32_t *nth)
{
    uint64_t owner = CSHM__OWNER(CSHM_SUBSCRIBER_JOINING, cshm_participant_self(broadcast->region));
    for (uint32_t i = 0; i < broadcast->subscriber_count; i++) {
        uint32_t line = lossless ? broadcast->subscriber_count - 1 - i : i;
        _Atomic uint64_t *word = &broadcast->subscribers[line].owner;
        uint64_t seen = atomic_load_explicit(word, memory_order_seq_cst);
        if (of_dead && cshm__broadcast_drop_if_gone(broadcast, line, seen)) {
            seen = 0;
        }
        if (seen == 0 && atomic_compare_exchange_strong_explicit(
                             word, &seen, owner, memory_order_seq_cst, memory_order_relaxed)) {
            *nth = i;
            return true;
        }
    }
    return false;
}

static void raise_to(_Atomic uint32_t *word, uint32_t value)
{
    uint32_t seen = atomic_load_explicit(word, memory_order_seq_cst);
    while (seen < value && !atomic_compare_exchange_weak_explicit(
                               word, &seen, value, memory_order_seq_cst, memory_order_seq_cst)) {
    }
}

static void set_kind(cshm_subscriber *subscriber, uint32_t kind)
{
    atomic_store_explicit(&subscriber->line->owner, CSHM__OWNER(kind, subscriber->stamp),
                          memory_order_seq_cst);
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Where its history begins, if it is all there. @returns 0 or -EPROTO. */
static int begin_of(const cshm_broadcast *broadcast, uint64_t history, uint64_t *begin)
{
    uint64_t tail = 0;
    uint64_t word = 0;
    int status = cshm__broadcast_tail(broadcast, 0, &tail, &word);
    *begin = history < tail ? tail - history : 0;
    return status;
}

/* First a cursor that holds the floor down, then where it may begin: see [floor]. */
static int begin_lossless(cshm_subscriber *subscriber, uint64_t history)
{
    cshm_broadcast *broadcast = subscriber->broadcast;
    _Atomic uint64_t *cursor = &subscriber->line->cursor;
    _Atomic uint64_t *target = &broadcast->shared->target;
    uint64_t begin = 0;
    int status = begin_of(broadcast, history, &begin);
    if (status != 0) {
        return status;
    }
    begin = later(begin, atomic_load_explicit(target, memory_order_seq_cst));
    atomic_store_explicit(cursor, begin, memory_order_seq_cst);
    set_kind(subscriber, CSHM_SUBSCRIBER_LOSSLESS); /* [floor] */
    status = begin_of(broadcast, history, &begin);
    if (status != 0) {
        return status;
    }
    subscriber->cursor =
        later(begin, atomic_load_explicit(target, memory_order_seq_cst)); /* [floor] */
    atomic_store_explicit(cursor, subscriber->cursor, memory_order_seq_cst);
    cshm_park_wake_all(&broadcast->shared->room.park); /* who the first cursor held up */
    return 0;
}

static int begin_overwriting(cshm_subscriber *subscriber, uint64_t history)
{
    cshm_broadcast *broadcast = subscriber->broadcast;
    uint64_t tail = 0;
    uint64_t word = 0;
    int status = cshm__broadcast_tail(broadcast, 0, &tail, &word);
    if (status != 0) {
        return status;
    }
    history = history < broadcast->capacity ? history : broadcast->capacity;
    subscriber->cursor = history < tail ? tail - history : 0;
    set_kind(subscriber, CSHM_SUBSCRIBER_OVERWRITING);
    return 0;
}

int cshm_subscriber_join(cshm_broadcast *broadcast, uint32_t kind, uint64_t history,
                         cshm_subscriber **out)
{
    if (kind != CSHM_LOSSLESS && kind != CSHM_OVERWRITE) {
        return -EINVAL;
    }
    uint64_t self = cshm_participant_self(broadcast->region);
    if (self == 0) {
        return -ECHILD;
    }
    if ((atomic_load_explicit(&broadcast->shared->stream, memory_order_seq_cst) &
         CSHM_STREAM_CANCELLED) != 0) {
        return -ECANCELED;
    }
    cshm_subscriber *subscriber = calloc(1, sizeof *subscriber);
    if (subscriber == NULL) {
        return -ENOMEM;
    }
    uint32_t nth = 0;
    bool lossless = kind == CSHM_LOSSLESS;
    if (!take_line(broadcast, lossless, false, &nth) &&
        !take_line(broadcast, lossless, true, &nth)) {
        free(subscriber);
        return -EUSERS;
    }
    subscriber->broadcast = broadcast;
    subscriber->line =
        &broadcast->subscribers[lossless ? broadcast->subscriber_count - 1 - nth : nth];
    subscriber->stamp = self;
    subscriber->lossless = lossless;
    atomic_store_explicit(&subscriber->line->pin, 0, memory_order_seq_cst);
    raise_to(lossless ? &broadcast->shared->lossless : &broadcast->shared->overwriting, nth + 1);
    int status =
        lossless ? begin_lossless(subscriber, history) : begin_overwriting(subscriber, history);
    if (status != 0) {
        cshm_subscriber_leave(subscriber);
        return status;
    }
    *out = subscriber;
    return 0;
}

void cshm_subscriber_leave(cshm_subscriber *subscriber)
{
    cshm_broadcast *broadcast = subscriber->broadcast;
    if (cshm_participant_self(broadcast->region) == subscriber->stamp) {
        atomic_store_explicit(&subscriber->line->pin, 0, memory_order_seq_cst);   /* [retire] */
        atomic_store_explicit(&subscriber->line->owner, 0, memory_order_seq_cst); /* [retire] */
        cshm_park_wake_all(&broadcast->shared->room.park);
    }
    free(subscriber);
}

/* ---- peek ---- */

/* Nothing is at the cursor yet, whose cell held `word`: whether anything will be. */
static int nothing_yet(cshm_subscriber *subscriber, uint64_t word)
{
    cshm_broadcast *broadcast = subscriber->broadcast;
    if (cshm__is_end(broadcast, word)) {
        return -EPIPE;
    }
    if (!cshm__broadcast_is_over(broadcast, &subscriber->next_check_ns)) {
        return -EAGAIN;
    }
    /* Finished, but by one who has not set the bit yet, and may have died. */
    int status = cshm__broadcast_close_tail(broadcast);
    if (status != 0) {
        return status;
    }
    uint64_t now = atomic_load_explicit(cshm__cell_at(broadcast, subscriber->cursor),
                                        memory_order_seq_cst); /* [swap] */
    bool changed = cshm__turn(broadcast, now) != cshm__turn(broadcast, word);
    return changed || cshm__is_end(broadcast, now) ? 1 : -EPROTO;
}

/* The message at the cursor was overwritten. Goes on at the oldest that is there; the more often
 * that was overwritten too, the further it goes. */
static int skip_lost(cshm_subscriber *subscriber, uint64_t turn)
{
    cshm_broadcast *broadcast = subscriber->broadcast;
    uint64_t tail = cshm__position_after(broadcast, subscriber->cursor, turn);
    uint64_t word = 0;
    int status = cshm__broadcast_tail(broadcast, tail, &tail, &word);
    if (status != 0) {
        return status;
    }
    uint64_t kept = broadcast->capacity;
    for (uint32_t i = 0; i < subscriber->misses && kept > 1; i++) {
        kept -= kept / 4 == 0 ? 1 : kept / 4;
    }
    if (tail < kept || tail - kept <= subscriber->cursor) {
        return -EPROTO;
    }
    subscriber->misses++;
    subscriber->lost += tail - kept - subscriber->cursor;
    subscriber->cursor = tail - kept;
    return 0;
}

/* What is at a position: 1 and the slot, 0 if it was overwritten, or nothing yet. */
static int look(cshm_subscriber *subscriber, uint64_t position, uint64_t *word)
{
    cshm_broadcast *broadcast = subscriber->broadcast;
    *word = atomic_load_explicit(cshm__cell_at(broadcast, position), memory_order_seq_cst);
    uint64_t turn = cshm__turn(broadcast, *word); /* [swap] */
    uint64_t before = cshm__turn_before(broadcast, position);
    if (turn == before + 1) {
        return cshm__slot_of(broadcast, *word) < broadcast->slot_count ? 1 : -EPROTO;
    }
    if (turn == before) {
        return -EAGAIN;
    }
    return turn < before ? -EPROTO : 0;
}

/* Pins the slot of the message at the cursor, if it is still there when it is pinned. A message is
 * dropped once, so that its cell has another slot at most once. */
static int pin(cshm_subscriber *subscriber, uint64_t *word)
{
    int status = 1;
    for (int i = 0; status == 1 && i < 2; i++) {
        uint32_t slot = cshm__slot_of(subscriber->broadcast, *word);
        atomic_store_explicit(&subscriber->line->pin, (uint64_t)slot + 1, memory_order_seq_cst);
        status = look(subscriber, subscriber->cursor, word); /* [pin] */
        if (status == 1 && cshm__slot_of(subscriber->broadcast, *word) == slot) {
            subscriber->slot = slot;
            subscriber->misses = 0;
            return 1;
        }
    }
    atomic_store_explicit(&subscriber->line->pin, 0, memory_order_seq_cst); /* [retire] */
    return status == 1 ? -EPROTO : status;
}

/* The message at the cursor, which nobody can overwrite now, was dropped. */
static int skip_dropped(cshm_subscriber *subscriber)
{
    if (subscriber->lossless) {
        return -EPROTO; /* what was promised is never dropped */
    }
    atomic_store_explicit(&subscriber->line->pin, 0, memory_order_seq_cst); /* [retire] */
    subscriber->lost++;
    subscriber->cursor++;
    return 0;
}

static bool is_dropped(const cshm_broadcast *broadcast, uint32_t slot)
{
    return cshm__slot_at(broadcast, slot)->length == CSHM_SLOT_DROPPED;
}

/* Makes the message at the cursor readable. @returns 0 and its slot, or why not. */
static int reach(cshm_subscriber *subscriber, uint32_t *slot)
{
    for (;;) {
        uint64_t word = 0;
        int status = look(subscriber, subscriber->cursor, &word);
        if (status == 1 && !subscriber->lossless) {
            status = pin(subscriber, &word);
        }
        if (status == 1) {
            *slot = cshm__slot_of(subscriber->broadcast, word);
            if (!is_dropped(subscriber->broadcast, *slot)) {
                return 0;
            }
            status = skip_dropped(subscriber);
        } else if (status == -EAGAIN) {
            status = nothing_yet(subscriber, word);
        } else if (status == 0) { /* what was promised is never overwritten */
            status = subscriber->lossless
                         ? -EPROTO
                         : skip_lost(subscriber, cshm__turn(subscriber->broadcast, word));
        }
        if (status < 0) {
            return status;
        }
    }
}

static int check(const cshm_subscriber *subscriber)
{
    const cshm_broadcast *broadcast = subscriber->broadcast;
    if (cshm_participant_self(broadcast->region) != subscriber->stamp) {
        return -ECHILD;
    }
    return (atomic_load_explicit(&broadcast->shared->stream, memory_order_seq_cst) &
            CSHM_STREAM_CANCELLED) != 0
               ? -ECANCELED
               : 0;
}

static int read_slot(cshm_subscriber *subscriber, uint32_t slot, uint64_t position,
                     struct cshm_broadcast_message *out)
{
    cshm_broadcast *broadcast = subscriber->broadcast;
    void *data = NULL;
    uint64_t length = 0;
    int status = cshm__slot_read(broadcast->region, cshm__slot_at(broadcast, slot),
                                 broadcast->slot_size, &data, &length);
    if (status == 0) {
        *out = (struct cshm_broadcast_message){data, length, position};
    }
    return status;
}

int cshm_subscriber_try_peek(cshm_subscriber *subscriber, struct cshm_broadcast_message *out)
{
    int status = cshm_subscriber_try_peek_many(subscriber, out, 1);
    return status > 0 ? 0 : status;
}

int cshm_subscriber_try_peek_many(cshm_subscriber *subscriber, struct cshm_broadcast_message *out,
                                  uint32_t max)
{
    if (max == 0 || max > INT32_MAX) {
        return -EINVAL;
    }
    int status = check(subscriber);
    uint32_t slot = subscriber->slot;
    if (status == 0 && (subscriber->lossless || subscriber->held == 0)) {
        status = reach(subscriber, &slot);
    }
    if (status == 0) {
        status = read_slot(subscriber, slot, subscriber->cursor, &out[0]);
    }
    if (status != 0) {
        return status;
    }
    uint32_t count = 1;
    while (subscriber->lossless && count < max) {
        uint64_t position = subscriber->cursor + count;
        uint64_t word = 0;
        if (look(subscriber, position, &word) != 1 ||
            read_slot(subscriber, cshm__slot_of(subscriber->broadcast, word), position,
                      &out[count]) != 0) {
            break;
        }
        count++;
    }
    subscriber->held = count;
    return (int)count;
}

struct peek_context {
    cshm_subscriber *subscriber;
    struct cshm_broadcast_message *out;
};

static int attempt_peek(void *context)
{
    struct peek_context *peek = context;
    return cshm_subscriber_try_peek(peek->subscriber, peek->out);
}

int cshm_subscriber_peek_until(cshm_subscriber *subscriber, struct cshm_broadcast_message *out,
                               int64_t deadline_ns)
{
    struct peek_context peek = {subscriber, out};
    return cshm__await(&subscriber->broadcast->shared->items.park, attempt_peek, &peek,
                       deadline_ns);
}

/* ---- release ---- */

void cshm_subscriber_release(cshm_subscriber *subscriber)
{
    cshm_subscriber_release_many(subscriber, 1);
}

void cshm_subscriber_release_many(cshm_subscriber *subscriber, uint32_t count)
{
    struct cshm_broadcast_shared *shared = subscriber->broadcast->shared;
    count = count < subscriber->held ? count : subscriber->held;
    if (count == 0 || cshm_participant_self(subscriber->broadcast->region) != subscriber->stamp) {
        return;
    }
    uint64_t before = subscriber->cursor;
    subscriber->held -= count;
    subscriber->cursor += count;
    if (!subscriber->lossless) {
        atomic_store_explicit(&subscriber->line->pin, 0, memory_order_seq_cst); /* [retire] */
        return;
    }
    atomic_store_explicit(&subscriber->line->cursor, subscriber->cursor,
                          memory_order_seq_cst); /* [retire] */
    /* Only the one at the floor can hold a publisher up: see has_room() in publisher.c. */
    if (before <= atomic_load_explicit(&shared->floor, memory_order_seq_cst)) {
        cshm_park_wake_all(&shared->room.park);
    }
}

/* ---- copies ---- */

struct get_context {
    cshm_subscriber *subscriber;
    void *data;
    uint64_t room;
    uint64_t *length;
};

static int attempt_get(void *context)
{
    struct get_context *get = context;
    struct cshm_broadcast_message message;
    int status = cshm_subscriber_try_peek(get->subscriber, &message);
    if (status != 0) {
        return status;
    }
    if (message.length > get->room) {
        return -EMSGSIZE;
    }
    memcpy(get->data, message.data, message.length);
    *get->length = message.length;
    cshm_subscriber_release(get->subscriber);
    return 0;
}

int cshm_subscriber_try_get(cshm_subscriber *subscriber, void *data, uint64_t room,
                            uint64_t *length)
{
    struct get_context get = {subscriber, data, room, length};
    return attempt_get(&get);
}

int cshm_subscriber_get_until(cshm_subscriber *subscriber, void *data, uint64_t room,
                              uint64_t *length, int64_t deadline_ns)
{
    struct get_context get = {subscriber, data, room, length};
    return cshm__await(&subscriber->broadcast->shared->items.park, attempt_get, &get, deadline_ns);
}

/* ---- looking ---- */

uint64_t cshm_subscriber_lost(const cshm_subscriber *subscriber)
{
    return subscriber->lost;
}

uint64_t cshm_subscriber_count(const cshm_subscriber *subscriber)
{
    uint64_t tail = 0;
    uint64_t word = 0;
    if (cshm__broadcast_tail(subscriber->broadcast, 0, &tail, &word) != 0 ||
        tail < subscriber->cursor) {
        return 0;
    }
    return tail - subscriber->cursor;
}

/* ---- waiting for more than one ---- */

/* It finds what a peek would find, and pins nothing. */
static int has_item(const void *object)
{
    cshm_subscriber *subscriber = (cshm_subscriber *)(uintptr_t)object;
    uint64_t word = 0;
    int status = check(subscriber);
    if (status == 0) {
        status = look(subscriber, subscriber->cursor, &word);
    }
    if (status == -EAGAIN) {
        status = nothing_yet(subscriber, word);
    }
    return status != -EAGAIN;
}

void cshm_subscriber_items(cshm_subscriber *subscriber, struct cshm_waitable *out)
{
    *out = cshm__at_park(&subscriber->broadcast->shared->items.park, has_item, subscriber);
}
