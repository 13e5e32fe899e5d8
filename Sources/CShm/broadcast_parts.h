/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What broadcast.c, publisher.c and subscriber.c share. Model: cshm/broadcast.h. Pairs:
 *
 *   [swap]      a publisher's compare-and-swap of a cell or spare (seq_cst), after the slot's bytes
 *               -> the next load of it (seq_cst)
 *   [settle]    a publisher's word stored (release) -> who takes the dead's line loads it (acquire)
 *   [pin]       subscriber stores its pin, loads the cell; publisher swaps the cell, loads the pins
 *               (all seq_cst): one of the two sees the other
 *   [floor]     who raises the floor stores the target, then loads the cursors, then raises the floor
 *               no further than either; a lossless subscriber stores a cursor, then loads the target,
 *               and begins no lower (all seq_cst). One of the two sees the other
 *   [drop]      a slot's sums and length, then it is swapped into a cell (seq_cst) -> who loaded the
 *               cell loads them, and then the cell again: if it is the same, so were they
 *   [retire]    a subscriber's last use of its slots, then its cursor, or pin (seq_cst)
 *               -> the publisher that overwrites them loads it (seq_cst)
 *   [join]      of stream.c: a publisher's line, then the stream's word
 *
 * seq_cst where release would order the data, because the same store also stands before the look
 * at a parking word (cshm/park.h, [announce]).
 */
#ifndef CSHM_BROADCAST_PARTS_H
#define CSHM_BROADCAST_PARTS_H

#include <cshm/broadcast.h>

#include "internal.h"

struct cshm_broadcast {
    cshm_region *region;
    struct cshm_broadcast_shared *shared;
    struct cshm_publisher_shared *publishers;
    struct cshm_subscriber_shared *subscribers;
    _Atomic uint64_t *cells;
    _Atomic uint64_t *spares; /* one for each subscriber */
    uint8_t *slots;
    struct cshm_broadcast_sums *sums; /* of each slot; NULL without a byte limit */
    uint64_t byte_limit;
    uint32_t capacity;
    uint32_t log2_capacity;
    uint32_t slot_size;
    uint32_t stride;
    uint32_t publisher_count;
    uint32_t subscriber_count;
    uint32_t slot_count;
    uint32_t slot_bits;
};

/* A cell's word: {turn, end, slot}. */
static inline uint64_t cshm__turn(const cshm_broadcast *broadcast, uint64_t word)
{
    return word >> (broadcast->slot_bits + 1);
}

static inline bool cshm__is_end(const cshm_broadcast *broadcast, uint64_t word)
{
    return ((word >> broadcast->slot_bits) & 1) != 0;
}

static inline uint64_t cshm__end_bit(const cshm_broadcast *broadcast)
{
    return 1ull << broadcast->slot_bits;
}

static inline uint32_t cshm__slot_of(const cshm_broadcast *broadcast, uint64_t word)
{
    return (uint32_t)(word & ((1ull << broadcast->slot_bits) - 1));
}

static inline uint64_t cshm__cell(const cshm_broadcast *broadcast, uint64_t turn, uint32_t slot)
{
    return (turn << (broadcast->slot_bits + 1)) | slot;
}

/* The turn of the cell while `position` is not yet published in it; afterwards, one more. */
static inline uint64_t cshm__turn_before(const cshm_broadcast *broadcast, uint64_t position)
{
    return position >> broadcast->log2_capacity;
}

/* Spreads neighbouring positions over cache lines, where there are lines to spread over. */
static inline _Atomic uint64_t *cshm__cell_at(const cshm_broadcast *broadcast, uint64_t position)
{
    uint64_t index = position & (broadcast->capacity - 1);
    if (broadcast->capacity >= 64) {
        index = (index & ~63ull) | ((index & 7) << 3) | ((index >> 3) & 7);
    }
    return &broadcast->cells[index];
}

/* The caller has checked the slot's number. */
static inline struct cshm_slot *cshm__slot_at(const cshm_broadcast *broadcast, uint32_t slot)
{
    return (struct cshm_slot *)(void *)(broadcast->slots + (uint64_t)slot * broadcast->stride);
}

/* The position after the last one that a turn proves to be published in this position's cell. */
static inline uint64_t cshm__position_after(const cshm_broadcast *broadcast, uint64_t position,
                                            uint64_t turn)
{
    uint64_t index = position & (broadcast->capacity - 1);
    return ((turn - 1) << broadcast->log2_capacity) + index + 1;
}

/* The tail at some instant of the call, which is not below `from`, and its cell's word then.
 * @returns 0, or -EPROTO: damaged. */
int cshm__broadcast_tail(const cshm_broadcast *broadcast, uint64_t from, uint64_t *tail,
                         uint64_t *word);

/* Sets the end bit at the tail. @returns 0, or -EPROTO. */
int cshm__broadcast_close_tail(cshm_broadcast *broadcast);

/* Finishes, if a publisher ever joined and none lives. The kernel is asked only if `next_check_ns`
 * has come, which is then put off. @returns whether it is finished. */
bool cshm__broadcast_is_over(cshm_broadcast *broadcast, int64_t *next_check_ns);

/* Frees a subscriber's line whose owner word was seen to be `owner`, if that one is gone. */
bool cshm__broadcast_drop_if_gone(cshm_broadcast *broadcast, uint32_t line, uint64_t owner);

#define CSHM__OWNER(kind, stamp) (((uint64_t)(kind) << 56) | (stamp))
#define CSHM__KIND(owner)        ((uint32_t)((owner) >> 56))
#define CSHM__OWNER_STAMP(owner) ((owner) & 0xffffffffffffull)

#endif /* CSHM_BROADCAST_PARTS_H */
