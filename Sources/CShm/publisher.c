/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/broadcast.h for the model, broadcast_parts.h for the pairs. Here: publishers.
 *
 * A publisher's word and its swaps are one thread's stores: after its death they are a prefix of
 * program order, so that a compiler barrier between them is enough.
 */
#include "broadcast_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

enum {
    HINT_STEP = 16,
    SETTLE_LOOKS = 100,
    SPARE_ROUNDS = 1000, /* more without finding a spare slot means damage */
};

struct cshm_publisher {
    cshm_broadcast *broadcast;
    struct cshm_publisher_shared *line;
    uint64_t stamp;
    uint64_t tail; /* a guess, never beyond the true one */
    int64_t next_check_ns;
    bool claimed;
};

#define OWN(hand, intent_plus_1) (((uint64_t)(hand) << 32) | (uint32_t)(intent_plus_1))
#define HAND(own)                ((uint32_t)((own) >> 32))
#define INTENT(own)              ((uint32_t)(own))

/* ---- join, leave ---- */

static bool word_has_slot(const cshm_broadcast *broadcast, const _Atomic uint64_t *word,
                          uint32_t slot)
{
    return cshm__slot_of(broadcast, atomic_load_explicit(word, memory_order_seq_cst)) == slot;
}

/* Whether a slot is in a cell or a spare, or surely in another publisher's hand. */
static bool slot_is_elsewhere(const cshm_broadcast *broadcast, uint32_t line, uint32_t slot)
{
    for (uint32_t i = 0; i < broadcast->capacity; i++) {
        if (word_has_slot(broadcast, &broadcast->cells[i], slot)) {
            return true;
        }
    }
    for (uint32_t i = 0; i < broadcast->subscriber_count; i++) {
        if (word_has_slot(broadcast, &broadcast->spares[i], slot)) {
            return true;
        }
    }
    for (uint32_t i = 0; i < broadcast->publisher_count; i++) {
        uint64_t own = atomic_load_explicit(&broadcast->publishers[i].own, memory_order_acquire);
        if (i != line && INTENT(own) == 0 && HAND(own) == slot) {
            return true;
        }
    }
    return false;
}

/* The line is ours now: finds which slot its last owner had. A sighting in a cell is proof, because
 * what the dead owned can never enter a cell again. @returns false if something is still moving. */
static bool settle(cshm_broadcast *broadcast, uint32_t line)
{
    _Atomic uint64_t *word = &broadcast->publishers[line].own;
    uint64_t own = atomic_load_explicit(word, memory_order_acquire); /* [settle] */
    uint32_t hand = HAND(own);
    uint32_t intent = INTENT(own);
    if (intent != 0) {
        if (slot_is_elsewhere(broadcast, line, hand)) {
            hand = intent - 1;
        } else if (!slot_is_elsewhere(broadcast, line, intent - 1)) {
            return false;
        }
        atomic_store_explicit(word, OWN(hand, 0), memory_order_release); /* [settle] */
    }
    return hand < broadcast->slot_count;
}

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
        if (settle(broadcast, i)) {
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
        atomic_store_explicit(&publisher->line->owner, 0, memory_order_seq_cst); /* [settle] */
        cshm_park_wake_all(&broadcast->shared->items.park); /* it may have been the last */
    }
    free(publisher);
}

/* ---- the slot in hand ---- */

static bool is_pinned(const cshm_broadcast *broadcast, uint32_t slot)
{
    /* seq_cst: [pin] */
    uint32_t count = atomic_load_explicit(&broadcast->shared->overwriting, memory_order_seq_cst);
    for (uint32_t i = 0; i < count && i < broadcast->subscriber_count; i++) {
        if (atomic_load_explicit(&broadcast->subscribers[i].pin, memory_order_seq_cst) ==
            (uint64_t)slot + 1) {
            return true;
        }
    }
    return false;
}

/* Swaps the hand for what the word holds, if that is still `seen`. */
static bool swap(cshm_publisher *publisher, _Atomic uint64_t *word, uint64_t seen, uint64_t turn,
                 uint32_t *hand)
{
    cshm_broadcast *broadcast = publisher->broadcast;
    uint32_t offered = cshm__slot_of(broadcast, seen);
    atomic_store_explicit(&publisher->line->own, OWN(*hand, offered + 1),
                          memory_order_release); /* [settle] */
    atomic_signal_fence(memory_order_seq_cst);
    bool swapped = atomic_compare_exchange_strong_explicit(
        word, &seen, cshm__cell(broadcast, turn, *hand), memory_order_seq_cst,
        memory_order_relaxed); /* [swap] */
    atomic_signal_fence(memory_order_seq_cst);
    *hand = swapped ? offered : *hand;
    atomic_store_explicit(&publisher->line->own, OWN(*hand, 0),
                          memory_order_release); /* [settle] */
    return swapped;
}

/* A slot of one's own that nobody reads: the hand, or a spare one in exchange. Of as many spares as
 * there can be pins, one is not pinned while the hand is. */
static int take_unpinned(cshm_publisher *publisher, uint32_t *slot)
{
    cshm_broadcast *broadcast = publisher->broadcast;
    /* relaxed: the line is ours */
    uint32_t hand = HAND(atomic_load_explicit(&publisher->line->own, memory_order_relaxed));
    if (hand >= broadcast->slot_count) {
        return -EPROTO;
    }
    for (uint32_t round = 0; is_pinned(broadcast, hand); round++) {
        _Atomic uint64_t *spare = &broadcast->spares[round % broadcast->subscriber_count];
        uint64_t seen = atomic_load_explicit(spare, memory_order_seq_cst); /* [swap] */
        uint32_t offered = cshm__slot_of(broadcast, seen);
        if (offered >= broadcast->slot_count ||
            round / broadcast->subscriber_count == SPARE_ROUNDS) {
            return -EPROTO;
        }
        if (!is_pinned(broadcast, offered)) {
            (void)swap(publisher, spare, seen, cshm__turn(broadcast, seen) + 1, &hand);
        }
    }
    *slot = hand;
    return 0;
}

/* Gives a long message's memory back at once, if nobody reads it; else the slot's next user does. */
static void clear_hand(cshm_publisher *publisher, uint32_t hand)
{
    cshm_broadcast *broadcast = publisher->broadcast;
    if (hand < broadcast->slot_count) {
        struct cshm_slot *slot = cshm__slot_at(broadcast, hand);
        if (atomic_load_explicit(&slot->block, memory_order_relaxed) != 0 &&
            !is_pinned(broadcast, hand)) {
            cshm__slot_clear(broadcast->region, slot);
        }
    }
}

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
    if (status == 0) {
        status = take_unpinned(publisher, &hand);
    }
    if (status == 0) {
        status = cshm__slot_prepare(broadcast->region, cshm__slot_at(broadcast, hand),
                                    broadcast->slot_size, length, data);
    }
    publisher->claimed = status == 0;
    return status;
}

void cshm_publisher_abort(cshm_publisher *publisher)
{
    /* relaxed: the line is ours */
    clear_hand(publisher, HAND(atomic_load_explicit(&publisher->line->own, memory_order_relaxed)));
    publisher->claimed = false;
}

/* ---- room ---- */

/* The least of `most` and the lossless cursors. */
static uint64_t least_cursor(const cshm_broadcast *broadcast, uint64_t most)
{
    uint32_t count = atomic_load_explicit(&broadcast->shared->lossless, memory_order_seq_cst);
    for (uint32_t i = 0; i < count && i < broadcast->subscriber_count; i++) {
        struct cshm_subscriber_shared *line =
            &broadcast->subscribers[broadcast->subscriber_count - 1 - i];
        uint64_t owner = atomic_load_explicit(&line->owner, memory_order_seq_cst); /* [floor] */
        if (CSHM__KIND(owner) == CSHM_SUBSCRIBER_LOSSLESS) {
            uint64_t cursor = atomic_load_explicit(&line->cursor, memory_order_seq_cst);
            most = cursor < most ? cursor : most;
        }
    }
    return most;
}

/* Drops the dead among those who hold the floor down. @returns whether there was one. */
static bool drop_dead(cshm_publisher *publisher, uint64_t floor)
{
    cshm_broadcast *broadcast = publisher->broadcast;
    bool dropped = false;
    if (!cshm__look_is_due(broadcast->region, &publisher->next_check_ns)) {
        return false;
    }
    for (uint32_t i = 0; i < broadcast->subscriber_count; i++) {
        struct cshm_subscriber_shared *line = &broadcast->subscribers[i];
        uint64_t owner = atomic_load_explicit(&line->owner, memory_order_seq_cst);
        if (CSHM__KIND(owner) == CSHM_SUBSCRIBER_LOSSLESS &&
            atomic_load_explicit(&line->cursor, memory_order_seq_cst) <= floor) {
            dropped = cshm__broadcast_drop_if_gone(broadcast, i, owner) || dropped;
        }
    }
    return dropped;
}

/* Whether what is in the cell of `position` may be overwritten. @returns 0 or -EAGAIN.
 *
 * When it says no, the floor is the least cursor, and was so before the cursors were looked at
 * again: who has a cursor beyond the floor need not wake anybody. */
static int has_room(cshm_publisher *publisher, uint64_t position)
{
    cshm_broadcast *broadcast = publisher->broadcast;
    _Atomic uint64_t *word = &broadcast->shared->floor;
    uint64_t floor = atomic_load_explicit(word, memory_order_seq_cst); /* [floor] */
    while (position >= floor && position - floor >= broadcast->capacity) {
        uint64_t least = least_cursor(broadcast, cshm__safe_floor(broadcast, position));
        if (least > floor) {
            if (atomic_compare_exchange_strong_explicit(word, &floor, least, memory_order_seq_cst,
                                                        memory_order_seq_cst)) {
                floor = least;
            }
        } else if (!drop_dead(publisher, floor)) {
            return -EAGAIN;
        }
    }
    return 0;
}

/* ---- publishing ---- */

static int publish(cshm_publisher *publisher)
{
    cshm_broadcast *broadcast = publisher->broadcast;
    uint32_t hand = HAND(atomic_load_explicit(&publisher->line->own, memory_order_relaxed));
    for (;;) {
        uint64_t position = 0;
        uint64_t seen = 0;
        int status = cshm__broadcast_tail(broadcast, publisher->tail, &position, &seen);
        if (status != 0) {
            return status;
        }
        publisher->tail = position;
        if (cshm__is_end(broadcast, seen)) {
            return -EPIPE;
        }
        status = has_room(publisher, position);
        if (status != 0) {
            return status;
        }
        uint64_t turn = cshm__turn_before(broadcast, position) + 1;
        if (swap(publisher, cshm__cell_at(broadcast, position), seen, turn, &hand)) {
            if ((position + 1) % HINT_STEP == 0) {
                atomic_store_explicit(&broadcast->shared->tail, position + 1, memory_order_relaxed);
            }
            publisher->tail = position + 1;
            publisher->claimed = false;
            clear_hand(publisher, hand);
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
        status = has_room(publisher, position);
    }
    return status != -EAGAIN;
}

void cshm_publisher_room(cshm_publisher *publisher, struct cshm_waitable *out)
{
    *out = (struct cshm_waitable){&publisher->broadcast->shared->room.park, may_publish, publisher};
}
