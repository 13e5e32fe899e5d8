/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/broadcast.h for the model, broadcast_parts.h for the pairs. Here: publishers.
 *
 * A publisher's word and its swaps are one thread's stores: after its death they are a prefix of
 * program order, so that a compiler barrier between them is enough.
 */
#include "publisher_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

enum {
    HINT_STEP = 16,
    SETTLE_LOOKS = 100,
};

/* ---- join, leave ---- */

/* Takes a line that is free, or a dead participant's. @returns its number, or the count; then
 * `moving` may say that another look is worth while. */
static uint32_t take_line(cshm_broadcast *broadcast, uint64_t self, bool of_dead, bool *moving)
{
    for (uint32_t i = 0; i < broadcast->publisher_count; i++) {
        _Atomic uint64_t *word = &broadcast->publishers[i].owner;
        uint64_t owner = atomic_load_explicit(word, memory_order_acquire);
        if (of_dead ? owner == 0 || cshm_participant_is_gone(broadcast->region, owner) != 1
                    : owner != 0) {
            continue;
        }
        uint64_t before = owner;
        if (!atomic_compare_exchange_strong_explicit(word, &owner, self, memory_order_seq_cst,
                                                     memory_order_relaxed)) {
            continue;
        }
        if (cshm__publisher_settle(broadcast, i)) {
            return i;
        }
        atomic_store_explicit(word, before, memory_order_release);
        *moving = true;
    }
    return broadcast->publisher_count;
}

/* Slots move while they are looked for; but what moves is seen in the end, if its mover goes on. */
static uint32_t take_any_line(cshm_broadcast *broadcast, uint64_t self)
{
    uint32_t line = broadcast->publisher_count;
    bool moving = true;
    for (int look = 0; look < SETTLE_LOOKS && moving && line == broadcast->publisher_count;
         look++) {
        moving = false;
        line = take_line(broadcast, self, false, &moving);
        if (line == broadcast->publisher_count) {
            line = take_line(broadcast, self, true, &moving);
        }
    }
    return line;
}

int cshm_publisher_join(cshm_broadcast *broadcast, cshm_publisher **out)
{
    uint64_t self = cshm_participant_self(broadcast->region);
    if (self == 0) {
        return -ECHILD;
    }
    cshm_publisher *publisher = calloc(1, sizeof *publisher);
    if (publisher == NULL) {
        return -ENOMEM;
    }
    uint32_t line = take_any_line(broadcast, self);
    if (line == broadcast->publisher_count) {
        free(publisher);
        return -EUSERS;
    }
    publisher->broadcast = broadcast;
    publisher->line = &broadcast->publishers[line];
    publisher->stamp = self;
    uint64_t word = 0;
    int status = cshm__broadcast_tail(broadcast, 0, &publisher->tail, &word);
    if (status == 0) {
        status = cshm__stream_join(&broadcast->shared->stream); /* [join] */
    }
    if (status != 0) {
        cshm_publisher_leave(publisher);
        return status;
    }
    *out = publisher;
    return 0;
}

void cshm_publisher_leave(cshm_publisher *publisher)
{
    cshm_broadcast *broadcast = publisher->broadcast;
    if (cshm_participant_self(broadcast->region) == publisher->stamp) {
        cshm_publisher_abort(publisher);
        if (broadcast->byte_limit != 0) {
            cshm__publisher_clear(publisher, &publisher->line->empty);
        }
        atomic_store_explicit(&publisher->line->owner, 0, memory_order_seq_cst); /* [settle] */
        cshm_park_wake_all(&broadcast->shared->items.park); /* it may have been the last */
    }
    free(publisher);
}

/* ---- claim ---- */

static int check_stream(const cshm_broadcast *broadcast)
{
    return cshm__stream_status(
        atomic_load_explicit(&broadcast->shared->stream, memory_order_seq_cst));
}

int cshm_publisher_claim(cshm_publisher *publisher, uint64_t length, void **data)
{
    cshm_broadcast *broadcast = publisher->broadcast;
    if (cshm_participant_self(broadcast->region) != publisher->stamp) {
        return -ECHILD;
    }
    int status = check_stream(broadcast);
    uint32_t hand = 0;
    if (status == 0 && broadcast->byte_limit != 0 && length > broadcast->slot_size &&
        length > broadcast->byte_limit) {
        status = -EMSGSIZE;
    }
    if (status == 0) {
        status = cshm__publisher_take_unpinned(publisher, &publisher->line->own, &hand);
    }
    if (status == 0) {
        status = cshm__slot_prepare(broadcast->region, cshm__slot_at(broadcast, hand),
                                    broadcast->slot_size, length, data);
    }
    publisher->claimed = status == 0;
    publisher->refused = 0;
    return status;
}

void cshm_publisher_abort(cshm_publisher *publisher)
{
    cshm__publisher_clear(publisher, &publisher->line->own);
    publisher->claimed = false;
}

/* ---- publishing ---- */

/* The cell of the next position, and whether the message may be put there. */
static int find_place(cshm_publisher *publisher, uint64_t *position, uint64_t *seen)
{
    cshm_broadcast *broadcast = publisher->broadcast;
    int status = cshm__broadcast_tail(broadcast, publisher->tail, position, seen);
    if (status != 0) {
        return status;
    }
    publisher->tail = *position;
    if (cshm__is_end(broadcast, *seen)) {
        return -EPIPE;
    }
    status = cshm__publisher_room(publisher, *position);
    return status == 0 && broadcast->byte_limit != 0
               ? cshm__publisher_byte_room(publisher, *position)
               : status;
}

static int publish(cshm_publisher *publisher)
{
    cshm_broadcast *broadcast = publisher->broadcast;
    uint64_t taken = UINT64_MAX; /* a position that is said to be another's */
    for (;;) {
        uint64_t position = 0;
        uint64_t seen = 0;
        int status = find_place(publisher, &position, &seen);
        if (status < 0 || position == taken) {
            return status < 0 ? status : -EPROTO;
        }
        taken = status == 0 ? UINT64_MAX : position;
        uint64_t turn = cshm__turn_before(broadcast, position) + 1;
        if (status == 0 && cshm__publisher_swap(publisher, &publisher->line->own,
                                                cshm__cell_at(broadcast, position), seen, turn)) {
            if ((position + 1) % HINT_STEP == 0) {
                atomic_store_explicit(&broadcast->shared->tail, position + 1, memory_order_relaxed);
            }
            publisher->tail = position + 1;
            publisher->claimed = false;
            cshm__publisher_clear(publisher, &publisher->line->own);
            return 0;
        }
    }
}

static int try_publish(cshm_publisher *publisher)
{
    if (!publisher->claimed) {
        return -EINVAL;
    }
    if (cshm_participant_self(publisher->broadcast->region) != publisher->stamp) {
        return -ECHILD;
    }
    int status = check_stream(publisher->broadcast);
    return status == -ECANCELED ? status : publish(publisher);
}

int cshm_publisher_try_commit(cshm_publisher *publisher)
{
    int status = try_publish(publisher);
    if (status == 0) {
        cshm_park_wake_all(&publisher->broadcast->shared->items.park);
    }
    return status;
}

static int attempt_commit(void *context)
{
    return cshm_publisher_try_commit(context);
}

int cshm_publisher_commit_until(cshm_publisher *publisher, int64_t deadline_ns)
{
    return cshm__await(&publisher->broadcast->shared->room.park, attempt_commit, publisher,
                       deadline_ns);
}

int cshm_publisher_try_put(cshm_publisher *publisher, const void *data, uint64_t length)
{
    int status = cshm_publisher_try_put_many(publisher, data, length, 1);
    return status > 0 ? 0 : status;
}

int cshm_publisher_put_until(cshm_publisher *publisher, const void *data, uint64_t length,
                             int64_t deadline_ns)
{
    int status = cshm_publisher_put_many_until(publisher, data, length, 1, deadline_ns);
    return status > 0 ? 0 : status;
}

struct batch {
    cshm_publisher *publisher;
    const uint8_t *data;
    uint64_t length;
    uint32_t left;
    bool filled; /* the next message is in the slot already */
};

static int put_all(struct batch *batch)
{
    while (batch->left != 0) {
        if (!batch->filled) {
            void *place = NULL;
            int status = cshm_publisher_claim(batch->publisher, batch->length, &place);
            if (status != 0) {
                return status;
            }
            memcpy(place, batch->data, batch->length);
            batch->filled = true;
        }
        int status = try_publish(batch->publisher);
        if (status != 0) {
            return status;
        }
        batch->filled = false;
        batch->data += batch->length;
        batch->left--;
    }
    return 0;
}

/* Puts what there is room for, and wakes once. */
static int attempt_batch(void *context)
{
    struct batch *batch = context;
    uint32_t before = batch->left;
    int status = put_all(batch);
    if (batch->left != before) {
        cshm_park_wake_all(&batch->publisher->broadcast->shared->items.park);
    }
    return status;
}

/* What a batch comes to: how many were put, or why none was. */
static int end_batch(struct batch *batch, uint32_t count, int status)
{
    if (batch->filled) {
        cshm_publisher_abort(batch->publisher);
    }
    return batch->left == count ? status : (int)(count - batch->left);
}

int cshm_publisher_try_put_many(cshm_publisher *publisher, const void *data, uint64_t length,
                                uint32_t count)
{
    if (count == 0 || count > INT32_MAX) {
        return -EINVAL;
    }
    struct batch batch = {publisher, data, length, count, false};
    int status = attempt_batch(&batch);
    return end_batch(&batch, count, status);
}

int cshm_publisher_put_many_until(cshm_publisher *publisher, const void *data, uint64_t length,
                                  uint32_t count, int64_t deadline_ns)
{
    if (count == 0 || count > INT32_MAX) {
        return -EINVAL;
    }
    struct batch batch = {publisher, data, length, count, false};
    int status =
        cshm__await(&publisher->broadcast->shared->room.park, attempt_batch, &batch, deadline_ns);
    return end_batch(&batch, count, status);
}

/* ---- waiting for more than one ---- */

static int may_publish(const void *object)
{
    cshm_publisher *publisher = (cshm_publisher *)(uintptr_t)object;
    uint64_t position = 0;
    uint64_t seen = 0;
    int status = check_stream(publisher->broadcast);
    if (status == 0) {
        status = cshm__broadcast_tail(publisher->broadcast, publisher->tail, &position, &seen);
    }
    if (status == 0 && !cshm__is_end(publisher->broadcast, seen)) {
        status = cshm__publisher_room(publisher, position);
    }
    if (status == 0) {
        status = cshm__publisher_ask_again(publisher);
    }
    return status != -EAGAIN;
}

void cshm_publisher_room(cshm_publisher *publisher, struct cshm_waitable *out)
{
    *out = cshm__at_park(&publisher->broadcast->shared->room.park, may_publish, publisher);
}
