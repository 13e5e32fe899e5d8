/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/semaphore.h for the model. Pair:
 *
 *   [count]  a release's compare-and-swap (seq_cst) -> an acquire's (seq_cst). What was done before
 *            the one happens before what is done after the other. seq_cst, as a release then looks
 *            at the parking word: [announce] of park.c.
 *
 * A number beyond the bound is damage. It is compared before it is used, so it is an error.
 */
#include <cshm/semaphore.h>

#include <errno.h>
#include <string.h>

#include "internal.h"

enum {
    MAGIC = 0x73656d61, /* "sema" */
};

static struct cshm_semaphore_shared *shared_of(const cshm_semaphore *semaphore)
{
    return (struct cshm_semaphore_shared *)(uintptr_t)semaphore;
}

/* Its bound, or 0 if these bytes are no semaphore. */
static uint32_t bound_of(const struct cshm_semaphore_shared *shared)
{
    /* relaxed: they never change once the semaphore can be seen */
    return atomic_load_explicit(&shared->magic, memory_order_relaxed) == MAGIC
               ? atomic_load_explicit(&shared->bound, memory_order_relaxed)
               : 0;
}

int cshm_semaphore_init(cshm_semaphore *semaphore, uint32_t count, uint32_t bound)
{
    struct cshm_semaphore_shared *shared = shared_of(semaphore);
    if (bound == 0 || bound > CSHM_SEMAPHORE_MAX || count > bound) {
        return -EINVAL;
    }
    memset((void *)shared, 0, sizeof *shared);
    atomic_store_explicit(&shared->count, count, memory_order_relaxed);
    atomic_store_explicit(&shared->bound, bound, memory_order_relaxed);
    atomic_store_explicit(&shared->magic, MAGIC, memory_order_release);
    return 0;
}

static int take_one(struct cshm_semaphore_shared *shared, uint32_t bound)
{
    uint32_t count = atomic_load_explicit(&shared->count, memory_order_seq_cst);
    do {
        if (count == 0) {
            return -EAGAIN;
        }
        if (count > bound) {
            return -EPROTO;
        }
    } while (!atomic_compare_exchange_weak_explicit(&shared->count, &count, count - 1,
                                                    memory_order_seq_cst, /* [count] */
                                                    memory_order_seq_cst));
    return 0;
}

int cshm_semaphore_try_acquire(cshm_semaphore *semaphore)
{
    struct cshm_semaphore_shared *shared = shared_of(semaphore);
    uint32_t bound = bound_of(shared);
    return bound == 0 ? -EPROTO : take_one(shared, bound);
}

static int attempt(void *context)
{
    struct cshm_semaphore_shared *shared = context;
    return take_one(shared, bound_of(shared));
}

int cshm_semaphore_acquire_until(cshm_semaphore *semaphore, int64_t deadline_ns)
{
    struct cshm_semaphore_shared *shared = shared_of(semaphore);
    int status = cshm_semaphore_try_acquire(semaphore);
    return status == -EAGAIN ? cshm__await(&shared->line.park, attempt, shared, deadline_ns)
                             : status;
}

int cshm_semaphore_release(cshm_semaphore *semaphore, uint32_t count)
{
    struct cshm_semaphore_shared *shared = shared_of(semaphore);
    uint32_t bound = bound_of(shared);
    if (bound == 0) {
        return -EPROTO;
    }
    if (count == 0 || count > CSHM_SEMAPHORE_MAX) {
        return -EINVAL;
    }
    uint32_t now = atomic_load_explicit(&shared->count, memory_order_relaxed);
    do {
        if (now > bound) {
            return -EPROTO;
        }
        if (count > bound - now) {
            return -EOVERFLOW;
        }
    } while (!atomic_compare_exchange_weak_explicit(&shared->count, &now, now + count,
                                                    memory_order_seq_cst, /* [count] */
                                                    memory_order_relaxed));
    if (count == 1) {
        cshm_park_wake_one(&shared->line.park);
    } else {
        cshm_park_wake_all(&shared->line.park);
    }
    return 0;
}

int cshm_semaphore_count(const cshm_semaphore *semaphore)
{
    const struct cshm_semaphore_shared *shared = shared_of(semaphore);
    uint32_t bound = bound_of(shared);
    uint32_t count = atomic_load_explicit(&shared->count, memory_order_seq_cst);
    return bound == 0 || count > bound ? -EPROTO : (int)count;
}

int cshm_semaphore_bound(const cshm_semaphore *semaphore)
{
    uint32_t bound = bound_of(shared_of(semaphore));
    return bound == 0 || bound > CSHM_SEMAPHORE_MAX ? -EPROTO : (int)bound;
}

static int is_ready(const void *object)
{
    const struct cshm_semaphore_shared *shared = object;
    return atomic_load_explicit(&shared->count, memory_order_seq_cst) != 0; /* [count] */
}

int cshm_semaphore_waitable(const cshm_semaphore *semaphore, struct cshm_waitable *out)
{
    struct cshm_semaphore_shared *shared = shared_of(semaphore);
    if (bound_of(shared) == 0) {
        return -EPROTO;
    }
    *out = cshm__at_park(&shared->line.park, is_ready, shared);
    return 0;
}
