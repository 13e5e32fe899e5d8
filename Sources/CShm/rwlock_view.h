/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What the reader-writer lock's files share. Model: cshm/rwlock.h. rwlock.c makes and describes it,
 * rwlock_read.c reads, rwlock_write.c writes, rwlock_line.c has the line in which writers wait. Pairs:
 *
 *   [read]   a reader claims its cell, looks at the state; a writer stores the state, looks at the
 *            cells (all seq_cst) -> one of the two sees the other
 *   [drain]  a reader's last loads, then its cell is freed (release) -> a writer loads it (seq_cst)
 *   [grant]  a writer's last stores, then WAITING is swapped for READING (seq_cst) -> the reader loads
 *            its cell; or the state is stored (seq_cst) -> a reader loads it
 */
#ifndef CSHM_RWLOCK_VIEW_H
#define CSHM_RWLOCK_VIEW_H

#include <cshm/heap.h>
#include <cshm/rwlock.h>

#include "internal.h"

/* of the state */
enum {
    WANTED = 1, /* a writer has it or waits for readers */
    WRITING = 2,
    INHERITED = 4, /* a writer died writing */
    BROKEN = 8,
    ANNOUNCED = 16, /* alone: who comes to read waits for the announcer, which waits for readers */
};

/* of a cell: {kind:16, stamp:48}, or 0 */
#define READING    (1ull << 48)
#define WAITING    (2ull << 48)
#define LEAVING    (3ull << 48) /* nobody else's any more, and about to be freed */
#define STAMP(own) ((own) & 0xffffffffffffull)
#define KIND(own)  ((own) & ~0xffffffffffffull)

struct cshm_rwlock {
    cshm_region *region;
    struct cshm_rwlock_shared *shared;
    uint32_t cells;
};

#define NO_CELL UINT32_MAX

static inline uint64_t load_cell(const cshm_rwlock *lock, uint32_t index)
{
    /* seq_cst: [read], [drain], [grant] */
    return atomic_load_explicit(&lock->shared->cell[index].owner, memory_order_seq_cst);
}

static inline bool swap_cell(const cshm_rwlock *lock, uint32_t index, uint64_t seen, uint64_t next)
{
    return atomic_compare_exchange_strong_explicit(&lock->shared->cell[index].owner, &seen, next,
                                                   memory_order_seq_cst, /* [read], [grant] */
                                                   memory_order_seq_cst);
}

static inline uint32_t load_state(const cshm_rwlock *lock)
{
    return atomic_load_explicit(&lock->shared->state, memory_order_seq_cst); /* [read], [grant] */
}

static inline void store_state(const cshm_rwlock *lock, uint32_t state)
{
    atomic_store_explicit(&lock->shared->state, state, memory_order_seq_cst); /* [read], [grant] */
}

/* A cell to read by, or NO_CELL. Threads begin at different ones. */
uint32_t cshm__rwlock_claim(const cshm_rwlock *lock, uint64_t self);

/* Frees the cells of the dead. @returns whether there were any. */
bool cshm__rwlock_reclaim(const cshm_rwlock *lock);

/* Whether this thread reads, by another cell than that one. */
bool cshm__rwlock_this_thread_reads(const cshm_rwlock *lock, uint64_t self, uint32_t except);

/* Whether somebody reads, alive or not. */
bool cshm__rwlock_somebody_reads(const cshm_rwlock *lock);

/* If the writer that readers wait for is dead, or lets the lock be, lets them in. @returns 0, -EDEADLK
 * if it is this thread, -EAGAIN if it is another. */
int cshm__rwlock_look_after_writer(const cshm_rwlock *lock);

#endif /* CSHM_RWLOCK_VIEW_H */
