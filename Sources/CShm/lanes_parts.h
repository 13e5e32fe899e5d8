/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What lanes.c, lane.c and drain.c share. Model: cshm/lanes.h. Pairs:
 *
 *   [ready]     a producer stores its message, then looks at its bit; the consumer clears the bit,
 *               interrupts every producer (membarrier), then looks for messages. One of the two
 *               sees the other, by the argument of [announce] in park.c
 *   [finish]    a producer stores its message, then looks at the stream; the consumer sees that the
 *               stream is finished, interrupts every producer, then looks for messages: the same
 *   [seal]      after that, the lane's end is what the first of the two swaps into `seal` (acq_rel)
 *   [lane]      a ring is made, then the lane names it (release) -> found by that name (acquire)
 *   [join]      of stream.c: a lane's owner, then the stream's word
 *   [publish], [recycle], [role]    of ring.c
 */
#ifndef CSHM_LANES_PARTS_H
#define CSHM_LANES_PARTS_H

#include <cshm/lanes.h>
#include <cshm/ring.h>

#include "internal.h"

/* The consumer's view of a lane. */
struct cshm__lane_view {
    cshm_ring *ring; /* or NULL: not opened yet */
    struct cshm_ring_shared *shared;
    uint32_t misses; /* looks in a row that found nothing */
};

struct cshm_lanes {
    cshm_region *region;
    struct cshm_lanes_shared *shared;
    struct cshm_lane_shared *lanes;
    uint32_t capacity;
    uint32_t slot_size;
    uint32_t count;
    uint32_t budget;
    uint64_t byte_limit; /* of a lane, or 0 */
    /* the consumer's */
    struct cshm__lane_view *views;
    uint64_t consumer; /* the stamp of the role, or 0 */
    int64_t next_check_ns;
    uint32_t current; /* the lane that it takes from */
    uint32_t left;    /* of the budget for it */
    uint32_t held;    /* messages given by the last peek */
    uint32_t rounds;  /* through all lanes */
    bool interrupted; /* producers, since it saw that the stream is finished */
};

#define CSHM__OWNER(kind, stamp) (((uint64_t)(kind) << 56) | (stamp))
#define CSHM__KIND(owner)        ((uint32_t)((owner) >> 56))
#define CSHM__OWNER_STAMP(owner) ((owner) & 0xffffffffffffull)

static inline uint64_t cshm__lane_bit(uint32_t lane)
{
    return 1ull << (lane % 64);
}

/* Says that there may be something in a lane. */
static inline void cshm__lane_set_ready(cshm_lanes *lanes, uint32_t lane)
{
    _Atomic uint64_t *ready = &lanes->shared->ready[lane / 64];
    /* relaxed: what stands before it is ordered by the barrier of [ready] */
    if ((atomic_load_explicit(ready, memory_order_relaxed) & cshm__lane_bit(lane)) == 0) {
        atomic_fetch_or_explicit(ready, cshm__lane_bit(lane), memory_order_seq_cst); /* [ready] */
    }
}

/* The place of a lane's ring, or 0 if it has none. @returns 0, or -EPROTO: no ring could be there. */
int cshm__lane_place(const cshm_lanes *lanes, uint32_t lane, uint64_t *place);

/* The head of a lane's ring, or NULL if it has none. @returns as cshm__lane_place(). */
int cshm__lane_ring(const cshm_lanes *lanes, uint32_t lane, struct cshm_ring_shared **out);

/* Whether the process whose stamp is in the owner word is gone. */
bool cshm__lane_owner_is_gone(const cshm_lanes *lanes, uint64_t owner);

#endif /* CSHM_LANES_PARTS_H */
