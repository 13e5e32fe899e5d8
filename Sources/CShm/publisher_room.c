/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/broadcast.h for the model, publisher_parts.h for the rest. Here: room for a message, in
 * cells and in bytes.
 *
 * Every slot in a cell knows how many bytes long messages took since the first one, before its
 * message and with it; so what is to be dropped for a message follows from the message before it,
 * and there is no count that a death could leave wrong. Stores, and what a death leaves after each:
 * the hand's sums (nobody sees them); of a dropped message: the empty slot's sums and length (the
 * same), its swap into the cell (dropped; the block is the dead one's, whose line is used again),
 * the block's end; the hint (a longer look for the next one).
 */
#include "publisher_parts.h"

#include <errno.h>

enum { LOOKS = 3 };

/* ---- the floor ---- */

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

static void raise_to(_Atomic uint64_t *word, uint64_t value)
{
    uint64_t seen = atomic_load_explicit(word, memory_order_seq_cst);
    while (seen < value && !atomic_compare_exchange_weak_explicit(
                               word, &seen, value, memory_order_seq_cst, memory_order_seq_cst)) {
    }
}

/* Raises the floor to `needed` at least, and up to `target`. @returns 0 or -EAGAIN.
 *
 * When it says no, the floor is the least cursor, and was so before the cursors were looked at
 * again: who has a cursor beyond the floor need not wake anybody. */
static int raise_floor(cshm_publisher *publisher, uint64_t needed, uint64_t target)
{
    struct cshm_broadcast_shared *shared = publisher->broadcast->shared;
    uint64_t floor = atomic_load_explicit(&shared->floor, memory_order_seq_cst); /* [floor] */
    while (floor < needed) {
        raise_to(&shared->target, target); /* [floor] */
        uint64_t least = least_cursor(publisher->broadcast, target);
        if (least > floor) {
            if (atomic_compare_exchange_strong_explicit(
                    &shared->floor, &floor, least, memory_order_seq_cst, memory_order_seq_cst)) {
                floor = least;
            }
        } else if (!drop_dead(publisher, floor)) {
            return -EAGAIN;
        }
    }
    return 0;
}

/* Beyond what is needed by an eighth of the ring, so that it is not raised for each message. */
int cshm__publisher_room(cshm_publisher *publisher, uint64_t position)
{
    uint64_t capacity = publisher->broadcast->capacity;
    uint64_t ahead = capacity / 8 == 0 ? 1 : capacity / 8;
    uint64_t end = position + 1;
    return end <= capacity ? 0 : raise_floor(publisher, end - capacity, end + ahead - capacity);
}

int cshm__publisher_ask_again(cshm_publisher *publisher)
{
    return raise_floor(publisher, publisher->refused, publisher->refused);
}

/* ---- bytes ---- */

/* A message that is, or was, in the cell of its position. */
struct kept {
    uint64_t word;
    uint64_t since;
    uint64_t until;
};

/* @returns 0; 1 if its cell holds a later one by now; -EPROTO. */
static int look_at(const cshm_broadcast *broadcast, uint64_t position, struct kept *out)
{
    const _Atomic uint64_t *cell = cshm__cell_at(broadcast, position);
    uint64_t before = cshm__turn_before(broadcast, position);
    /* It is dropped at most once, and then another's. */
    for (int i = 0; i < LOOKS; i++) {
        uint64_t word = atomic_load_explicit(cell, memory_order_seq_cst); /* [swap] */
        uint64_t turn = cshm__turn(broadcast, word);
        uint32_t slot = cshm__slot_of(broadcast, word);
        if (turn <= before || slot >= broadcast->slot_count) {
            return -EPROTO;
        }
        if (turn != before + 1) {
            return 1;
        }
        const struct cshm_broadcast_sums *sums = &broadcast->sums[slot];
        *out = (struct kept){word, atomic_load_explicit(&sums->since, memory_order_acquire),
                             atomic_load_explicit(&sums->until, memory_order_acquire)};
        if (atomic_load_explicit(cell, memory_order_seq_cst) == word) { /* [drop] */
            return 0;
        }
    }
    return -EPROTO;
}

static void set_sums(const cshm_broadcast *broadcast, uint32_t slot, uint64_t since, uint64_t until)
{
    /* relaxed: the slot is ours; [swap] comes after */
    atomic_store_explicit(&broadcast->sums[slot].since, since, memory_order_relaxed);
    atomic_store_explicit(&broadcast->sums[slot].until, until, memory_order_relaxed);
}

/* Swaps an empty slot into the cell of a long message, if it is still there. */
static int drop(cshm_publisher *publisher, uint64_t position, const struct kept *kept)
{
    cshm_broadcast *broadcast = publisher->broadcast;
    _Atomic uint64_t *own = &publisher->line->empty;
    uint32_t hand = 0;
    int status = cshm__publisher_take_unpinned(publisher, own, &hand);
    if (status != 0) {
        return status;
    }
    struct cshm_slot *slot = cshm__slot_at(broadcast, hand);
    (void)cshm__slot_clear(broadcast->region, slot);
    slot->length = CSHM_SLOT_DROPPED;
    set_sums(broadcast, hand, kept->until, kept->until);
    if (cshm__publisher_swap(publisher, own, cshm__cell_at(broadcast, position), kept->word,
                             cshm__turn(broadcast, kept->word))) {
        cshm__publisher_clear(publisher, own);
    }
    return 0;
}

/* Drops the long messages before `position` that began before so many bytes. */
static int drop_those_before(cshm_publisher *publisher, uint64_t position, uint64_t least)
{
    cshm_broadcast *broadcast = publisher->broadcast;
    _Atomic uint64_t *hint = &broadcast->shared->kept;
    uint64_t first = position > broadcast->capacity ? position - broadcast->capacity : 0;
    uint64_t from = atomic_load_explicit(hint, memory_order_relaxed);
    struct kept kept;
    from = from < first || from > position ? first : from;
    while (from < position) {
        int status = look_at(broadcast, from, &kept);
        if (status != 0) {
            return status;
        }
        if (kept.since >= least) {
            break;
        }
        if (cshm__is_end(broadcast, kept.word)) {
            return 1; /* finished meanwhile: nothing is put there, and the bit has to stay */
        }
        if (kept.since != kept.until) {
            status = raise_floor(publisher, from + 1, from + 1);
            publisher->refused = status == 0 ? 0 : from + 1;
            if (status == 0) {
                status = drop(publisher, from, &kept);
            }
            if (status != 0) {
                return status;
            }
        }
        from++;
    }
    atomic_store_explicit(hint, from, memory_order_relaxed);
    return 0;
}

int cshm__publisher_byte_room(cshm_publisher *publisher, uint64_t position)
{
    cshm_broadcast *broadcast = publisher->broadcast;
    uint32_t hand = cshm__publisher_hand(&publisher->line->own);
    struct kept last = {0};
    if (hand >= broadcast->slot_count) {
        return -EPROTO;
    }
    int status = position == 0 ? 0 : look_at(broadcast, position - 1, &last);
    if (status != 0) {
        return status;
    }
    uint64_t length = cshm__slot_at(broadcast, hand)->length;
    uint64_t until = last.until + (length > broadcast->slot_size ? length : 0);
    set_sums(broadcast, hand, last.until, until);
    return until <= broadcast->byte_limit
               ? 0
               : drop_those_before(publisher, position, until - broadcast->byte_limit);
}
