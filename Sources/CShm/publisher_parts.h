/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What publisher.c, publisher_slots.c and publisher_room.c share. Model: cshm/broadcast.h; pairs:
 * broadcast_parts.h.
 *
 * A publisher has a slot in hand for its next message; with a byte limit, another one, empty, which it
 * swaps into the cell of a message that is to make room. Each is a word of its line, {hand, intent}.
 */
#ifndef CSHM_PUBLISHER_PARTS_H
#define CSHM_PUBLISHER_PARTS_H

#include "broadcast_parts.h"

struct cshm_publisher {
    cshm_broadcast *broadcast;
    struct cshm_publisher_shared *line;
    uint64_t stamp;
    uint64_t tail;    /* a guess, never beyond the true one */
    uint64_t refused; /* how high the floor has to be for what the byte limit refused, or 0 */
    int64_t next_check_ns;
    bool claimed;
};

#define OWN(hand, intent_plus_1) (((uint64_t)(hand) << 32) | (uint32_t)(intent_plus_1))
#define HAND(own)                ((uint32_t)((own) >> 32))
#define INTENT(own)              ((uint32_t)(own))

static inline uint32_t cshm__publisher_hand(const _Atomic uint64_t *own)
{
    return HAND(atomic_load_explicit(own, memory_order_relaxed)); /* relaxed: the line is ours */
}

/* ---- publisher_slots.c ---- */
/* The line is ours now: finds which slots its last owner had. A sighting in a cell is proof, because
 * what the dead owned can never enter a cell again. @returns false if something is still moving. */
bool cshm__publisher_settle(cshm_broadcast *broadcast, uint32_t line);
/* Swaps the hand for what the word holds, if that is still `seen`. */
bool cshm__publisher_swap(cshm_publisher *publisher, _Atomic uint64_t *own, _Atomic uint64_t *word,
                          uint64_t seen, uint64_t turn);
/* A slot of one's own that nobody reads: the hand, or a spare one in exchange. Of as many spares as
 * there can be pins, one is not pinned while the hand is. */
int cshm__publisher_take_unpinned(cshm_publisher *publisher, _Atomic uint64_t *own, uint32_t *slot);
/* Gives a long message's memory back at once, if nobody reads it; else the slot's next user does. */
void cshm__publisher_clear(cshm_publisher *publisher, const _Atomic uint64_t *own);

/* ---- publisher_room.c ---- */
/* Whether what is in the cell of `position` may be overwritten. @returns 0 or -EAGAIN. */
int cshm__publisher_room(cshm_publisher *publisher, uint64_t position);
/* Drops what has to go so that the claimed message may be at `position`. @returns 0; 1 (others have
 * published there); -EAGAIN (a lossless subscriber has yet to read it); -EPROTO. */
int cshm__publisher_byte_room(cshm_publisher *publisher, uint64_t position);
/* Whether what it refused last might be put now. @returns 0 or -EAGAIN. */
int cshm__publisher_ask_again(cshm_publisher *publisher);

#endif /* CSHM_PUBLISHER_PARTS_H */
