/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/broadcast.h for the model, publisher_parts.h for the rest. Here: slots in hand.
 *
 * A publisher's word and its swaps are one thread's stores: after its death they are a prefix of
 * program order, so that a compiler barrier between them is enough.
 */
#include "publisher_parts.h"

#include <errno.h>

enum {
    SPARE_ROUNDS = 1000, /* more without finding a spare slot means damage */
};

/* ---- what the dead had ---- */

static bool word_has_slot(const cshm_broadcast *broadcast, const _Atomic uint64_t *word,
                          uint32_t slot)
{
    return cshm__slot_of(broadcast, atomic_load_explicit(word, memory_order_seq_cst)) == slot;
}

/* Whether a publisher's word, another than `own`, is sure to have the slot in hand. */
static bool hand_has_slot(const _Atomic uint64_t *word, const _Atomic uint64_t *own, uint32_t slot)
{
    uint64_t seen = atomic_load_explicit(word, memory_order_acquire);
    return word != own && INTENT(seen) == 0 && HAND(seen) == slot;
}

/* Whether a slot is in a cell or a spare, or surely in another hand. */
static bool slot_is_elsewhere(const cshm_broadcast *broadcast, const _Atomic uint64_t *own,
                              uint32_t slot)
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
        const struct cshm_publisher_shared *line = &broadcast->publishers[i];
        if (hand_has_slot(&line->own, own, slot) ||
            (broadcast->byte_limit != 0 && hand_has_slot(&line->empty, own, slot))) {
            return true;
        }
    }
    return false;
}

/* One of its two words. */
static bool settle(const cshm_broadcast *broadcast, _Atomic uint64_t *word)
{
    uint64_t own = atomic_load_explicit(word, memory_order_acquire); /* [settle] */
    uint32_t hand = HAND(own);
    uint32_t intent = INTENT(own);
    if (intent != 0) {
        if (slot_is_elsewhere(broadcast, word, hand)) {
            hand = intent - 1;
        } else if (!slot_is_elsewhere(broadcast, word, intent - 1)) {
            return false;
        }
        atomic_store_explicit(word, OWN(hand, 0), memory_order_release); /* [settle] */
    }
    return hand < broadcast->slot_count;
}

bool cshm__publisher_settle(cshm_broadcast *broadcast, uint32_t line)
{
    struct cshm_publisher_shared *shared = &broadcast->publishers[line];
    return settle(broadcast, &shared->own) &&
           (broadcast->byte_limit == 0 || settle(broadcast, &shared->empty));
}

/* ---- in hand ---- */

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

bool cshm__publisher_swap(cshm_publisher *publisher, _Atomic uint64_t *own, _Atomic uint64_t *word,
                          uint64_t seen, uint64_t turn)
{
    cshm_broadcast *broadcast = publisher->broadcast;
    uint32_t hand = cshm__publisher_hand(own);
    uint32_t offered = cshm__slot_of(broadcast, seen);
    atomic_store_explicit(own, OWN(hand, offered + 1), memory_order_release); /* [settle] */
    atomic_signal_fence(memory_order_seq_cst);
    bool swapped = atomic_compare_exchange_strong_explicit(
        word, &seen, cshm__cell(broadcast, turn, hand), memory_order_seq_cst,
        memory_order_relaxed); /* [swap] */
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(own, OWN(swapped ? offered : hand, 0),
                          memory_order_release); /* [settle] */
    return swapped;
}

int cshm__publisher_take_unpinned(cshm_publisher *publisher, _Atomic uint64_t *own, uint32_t *slot)
{
    cshm_broadcast *broadcast = publisher->broadcast;
    uint32_t hand = cshm__publisher_hand(own);
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
            (void)cshm__publisher_swap(publisher, own, spare, seen,
                                       cshm__turn(broadcast, seen) + 1);
            hand = cshm__publisher_hand(own);
        }
    }
    *slot = hand;
    return 0;
}

void cshm__publisher_clear(cshm_publisher *publisher, const _Atomic uint64_t *own)
{
    cshm_broadcast *broadcast = publisher->broadcast;
    uint32_t hand = cshm__publisher_hand(own);
    if (hand < broadcast->slot_count) {
        struct cshm_slot *slot = cshm__slot_at(broadcast, hand);
        if (atomic_load_explicit(&slot->block, memory_order_relaxed) != 0 &&
            !is_pinned(broadcast, hand)) {
            (void)cshm__slot_clear(broadcast->region, slot);
        }
    }
}
