/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The lock of this library's own short critical sections: of a map's shard, and of a list.
 *
 * Model
 * -----
 * One word with the stamp of the process that has it. Free, it costs a compare-and-swap to take and
 * a store to give back. Unlike a mutex (cshm/mutex.h) it belongs to a process: a thread that ends
 * while it has a guard leaves it taken until its process ends.
 *
 * If a process dies
 * -----------------
 * Who waits asks the kernel, before each sleep, whether the owner is dead; if so it takes the guard
 * over and is told. The owner's stamp stays until then, also if the one who takes over dies: so
 * whoever has it next is told again, until one has released it.
 */
#ifndef CSHM_GUARD_H
#define CSHM_GUARD_H

#include <errno.h>

#include "internal.h"

/* @returns 0 or 1, as cshm__guard_acquire(); -EDEADLK. */
int cshm__guard_await(cshm_region *region, struct cshm_guard *guard);

/* Takes it if it is free. @returns whether it did. */
static inline bool cshm__guard_try(cshm_region *region, struct cshm_guard *guard)
{
    uint64_t self = atomic_load_explicit(&region->stamp, memory_order_relaxed);
    uint64_t nobody = 0;
    if (self == 0 || !atomic_compare_exchange_strong_explicit(&guard->owner, &nobody, self,
                                                              memory_order_acquire, /* [guard] */
                                                              memory_order_relaxed)) {
        return false;
    }
    atomic_store_explicit(&guard->thread, cshm__thread(), memory_order_relaxed);
    return true;
}

/* Takes it, waiting for the living. @returns 0; 1 (its last owner is dead: what it guards is to be
 * repaired first); -EDEADLK (this thread has it), -ECHILD. */
static inline int cshm__guard_acquire(cshm_region *region, struct cshm_guard *guard)
{
    if (cshm__guard_try(region, guard)) {
        return 0;
    }
    bool joined = atomic_load_explicit(&region->stamp, memory_order_relaxed) != 0;
    return joined ? cshm__guard_await(region, guard) : -ECHILD;
}

static inline void cshm__guard_release(struct cshm_guard *guard)
{
    /* Before the owner's end: a thread that finds itself here has it. */
    atomic_store_explicit(&guard->thread, 0, memory_order_relaxed);
    atomic_store_explicit(&guard->owner, 0, memory_order_release); /* [guard] */
    cshm__publish_barrier();
    cshm__park_wake_one_after_store(&guard->park);
}

#endif /* CSHM_GUARD_H */
