/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * One process's view of a ring, and what its files share:
 *
 *   ring.c        create, open, close, roles and their hand-over, finish, cancel, count
 *   ring_put.c    claim, commit, put
 *   ring_take.c   peek, release, get
 *
 * Model: cshm/ring.h. Pairs:
 *
 *   [publish]  the producer fills a slot of the window, then stores its word (release), or one of the
 *              row, then `tail` (release) -> the consumer loads that word, or `tail` (acquire), then
 *              reads the slot
 *   [enter]    the producer stores window_from, then tail, which says that the last message before
 *              the window is put -> the consumer that sees tail sees window_from
 *              Who finds out where a position lies without having followed all messages loads
 *              window_to (acquire), then window_from: of these two the producer stores window_from
 *              first, so that a section is seen with its own beginning
 *   [leave]    the producer stores window_to, then the word of the last message in the window, which
 *              says so, too
 *   [recycle]  the consumer reads a slot, then stores head past it (release)
 *              -> the producer loads head (acquire), then writes the slot again
 *   [role]     the last owner's stores, then 0 into its word (release), or its death
 *              -> the next one's compare-and-swap of that word (acq_rel)
 *   [end]      the producer's last message, then FINISHED (seq_cst)
 *              -> the consumer loads the state (seq_cst), then looks for a message once more
 *   [announce] of park.c: a word, tail or head is stored, then the parking word is looked at
 *
 * Death of a producer, after each of its stores:
 *
 *   a block is allocated for blocks[i]   OWNED by the dead and not named: the sweep frees it
 *   blocks[i] names it; it is linked     the sweep links it; the slot's next use takes or frees it
 *   a block is freed                     blocks[i] names it still, but its cell names no holder, so
 *                                        that freeing it again does nothing
 *   odd_from                             all that its successor puts has a length of its own
 *   window_from, window_to               a section that was never entered: its successor drops it
 *   window_to, tail of a batch           the row's part of the batch cannot be reached before the
 *                                        word of its first message: its successor takes both back
 *   the word                             put; its successor finds the word, and counts it
 */
#ifndef CSHM_RING_VIEW_H
#define CSHM_RING_VIEW_H

#include <string.h>

#include <cshm/ring.h>

#include "internal.h"

enum { CSHM_RING_OPEN = 0, CSHM_RING_FINISHED = 1, CSHM_RING_CANCELED = 2 };

enum { CSHM_RING_LOOK_STEP = 16 }; /* how soon, in the row, to see whether the ring is empty */

/* A word of the window: {lap + 1:62, the message has a length of its own, it is the last one here}. */
enum { CSHM_RING_LAST = 1, CSHM_RING_ODD = 2, CSHM_RING_LAP_SHIFT = 2 };

struct cshm_ring {
    cshm_region *region;
    struct cshm_ring_shared *shared;
    uint8_t *window;
    uint8_t *row;
    _Atomic uint64_t *lengths; /* of messages in the row */
    _Atomic uint64_t *blocks;  /* of slots of the window, then of the row */
    uint32_t capacity;
    uint32_t slot_size;
    uint32_t stride; /* of the row */
    uint32_t window_slots;
    uint32_t window_stride;
    uint32_t word_at;  /* within a slot of the window; its length is in front of it */
    uint32_t bytes_at; /* within a slot of the window */
    uint32_t lap_bits; /* of the window */
    uint32_t
        other_at; /* within a slot of the window: in the line that its word is not in, if any */
    uint8_t pad0[CSHM_LINE - 84];
    /* the producer's */
    uint64_t put_as;     /* the stamp of its role, or CSHM_RING_NO_ROLE */
    uint64_t next;       /* position of the next message */
    uint64_t limit;      /* positions below it have room: head, as last seen, + capacity */
    uint64_t plain_room; /* positions below it need no care: see plan() */
    uint64_t look_at;    /* the position at which to see whether the ring is empty */
    uint64_t entered;    /* where the window was entered last */
    uint64_t claimed_at; /* the next position when `claimed` messages were claimed */
    uint32_t look_step;
    uint32_t claimed;   /* messages, of a batch */
    uint64_t longs;     /* slots that own a block */
    uint64_t first_odd; /* the ODD bit of the message claimed first */
    bool in_window;     /* where the next message goes */
    bool odd;           /* messages of the row have lengths of their own */
    uint8_t pad1[CSHM_LINE - 90];
    /* the consumer's */
    uint64_t get_as;
    uint64_t head;
    uint64_t plain_end;   /* those of the row below it are put, and of the slot's size */
    uint64_t peeked;      /* messages from head on that were peeked at */
    uint64_t row_end;     /* those of the row below it are put */
    uint64_t window_from; /* the section of the window that was entered last */
    uint64_t window_size; /* how many positions it has, as far as is known */
    uint64_t odd_from; /* position of the first message of the row that has a length of its own */
};

static const uint64_t CSHM_RING_NO_ROLE = UINT64_MAX; /* no participant's stamp, nor that of none */
static const uint64_t CSHM_RING_NEVER = UINT64_MAX;   /* where a section begins that was dropped */
static const uint64_t CSHM_RING_OPEN_END = UINT64_MAX / 4; /* of a section of the window */

/* Whether a position is before another, whatever damaged words say they are. */
static inline bool cshm__ring_is_before(uint64_t position, uint64_t other)
{
    return (int64_t)(other - position) > 0;
}

static inline uint8_t *cshm__ring_window_slot(const cshm_ring *ring, uint64_t position)
{
    return ring->window + (position & (ring->window_slots - 1)) * ring->window_stride;
}

static inline _Atomic uint64_t *cshm__ring_word(const cshm_ring *ring, uint64_t position)
{
    return (_Atomic uint64_t *)(void *)(cshm__ring_window_slot(ring, position) + ring->word_at);
}

static inline uint64_t cshm__ring_lap(const cshm_ring *ring, uint64_t position)
{
    return ((position >> ring->lap_bits) + 1) << CSHM_RING_LAP_SHIFT;
}

/* The word of a message in the window, or 0 if it is not there yet. */
static inline uint64_t cshm__ring_put_word(const cshm_ring *ring, uint64_t position)
{
    /* acquire: [publish] */
    uint64_t word = atomic_load_explicit(cshm__ring_word(ring, position), memory_order_acquire);
    return (word ^ cshm__ring_lap(ring, position)) < (1u << CSHM_RING_LAP_SHIFT) ? word : 0;
}

static inline uint8_t *cshm__ring_row_slot(const cshm_ring *ring, uint64_t position)
{
    return ring->row + (position & (ring->capacity - 1)) * ring->stride;
}

/* The same, of a row of words, whose stride need not be looked up. */
static inline uint8_t *cshm__ring_row_word(const cshm_ring *ring, uint64_t position)
{
    return ring->row + (position & (ring->capacity - 1)) * 8;
}

/* Where a message's length is, if it has one of its own. */
static inline _Atomic uint64_t *cshm__ring_length(const cshm_ring *ring, uint64_t position,
                                                  bool in_window)
{
    return in_window ? cshm__ring_word(ring, position) - 1
                     : &ring->lengths[position & (ring->capacity - 1)];
}

static inline _Atomic uint64_t *cshm__ring_block(const cshm_ring *ring, uint64_t position,
                                                 bool in_window)
{
    return &ring->blocks[in_window ? position & (ring->window_slots - 1)
                                   : ring->window_slots + (position & (ring->capacity - 1))];
}

/* The slot's size is no variable where it is a usual one: a call of memcpy takes as long as the copy. */
static inline void cshm__ring_copy(void *to, const void *from, uint64_t size)
{
    if (size == 8) {
        memcpy(to, from, 8);
    } else if (size == 64) {
        memcpy(to, from, 64);
    } else {
        memcpy(to, from, size);
    }
}

static inline void *cshm__ring_place(const cshm_ring *ring, uint64_t position, bool in_window)
{
    return in_window ? cshm__ring_window_slot(ring, position) + ring->bytes_at
                     : cshm__ring_row_slot(ring, position);
}

static inline bool cshm__ring_has_role(const cshm_ring *ring, uint64_t stamp)
{
    /* relaxed: only fork changes it under a caller's feet */
    return atomic_load_explicit(&ring->region->stamp, memory_order_relaxed) == stamp;
}

static inline uint32_t cshm__ring_state(const cshm_ring *ring)
{
    return atomic_load_explicit(&ring->shared->state, memory_order_seq_cst); /* [end] */
}

/* ---- ring.c ---- */
/* Whether the owner of a role is dead. */
bool cshm__ring_has_died(const cshm_ring *ring, _Atomic uint64_t *owner);
/* Frees the block that a holder word names, which is the caller's. */
void cshm__ring_clear_block(const cshm_ring *ring, _Atomic uint64_t *holder);
/* Whether the message at a position is there, for one who has not followed those before it. */
bool cshm__ring_is_put(const cshm_ring *ring, uint64_t position);

#endif /* CSHM_RING_VIEW_H */
