/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/latch.h for the model. Pairs:
 *
 *   [open]      what was done before, then the count is lowered (seq_cst) -> a waiter loads 0
 *               (acquire); lowering is one unbroken release sequence
 *   [announce]  of park.c: the count is lowered (seq_cst), then the parking word is looked at
 */
#include <cshm/latch.h>

#include <errno.h>
#include <string.h>

#include "internal.h"

enum { MAGIC = 0x6c617463 }; /* "latc" */

static struct cshm_latch_shared *shared_of(const cshm_latch *latch)
{
    return (struct cshm_latch_shared *)(uintptr_t)latch;
}

static bool is_latch(const struct cshm_latch_shared *shared)
{
    /* relaxed: it never changes once the latch can be seen */
    return atomic_load_explicit(&shared->magic, memory_order_relaxed) == MAGIC;
}

int cshm_latch_init(cshm_latch *latch, uint32_t count)
{
    struct cshm_latch_shared *shared = shared_of(latch);
    if (count > INT32_MAX) {
        return -EINVAL;
    }
    memset((void *)shared, 0, sizeof *shared);
    atomic_store_explicit(&shared->count, count, memory_order_relaxed);
    atomic_store_explicit(&shared->magic, MAGIC, memory_order_release);
    return 0;
}

static int count_of(const struct cshm_latch_shared *shared)
{
    uint32_t count = atomic_load_explicit(&shared->count, memory_order_acquire); /* [open] */
    return count <= INT32_MAX ? (int)count : -EPROTO;
}

int cshm_latch_count_down(cshm_latch *latch, uint32_t count)
{
    struct cshm_latch_shared *shared = shared_of(latch);
    uint32_t left = 0;
    if (!is_latch(shared)) {
        return -EPROTO;
    }
    uint32_t seen = atomic_load_explicit(&shared->count, memory_order_relaxed);
    do {
        if (seen > INT32_MAX) {
            return -EPROTO;
        }
        left = seen > count ? seen - count : 0;
    } while (!atomic_compare_exchange_weak_explicit(&shared->count, &seen, left,
                                                    memory_order_seq_cst, /* [open] */
                                                    memory_order_relaxed));
    if (left == 0) {
        cshm_park_wake_all(&shared->waiters.park);
    }
    return (int)left;
}

int cshm_latch_count(const cshm_latch *latch)
{
    const struct cshm_latch_shared *shared = shared_of(latch);
    return is_latch(shared) ? count_of(shared) : -EPROTO;
}

static int go_through(void *context)
{
    int left = count_of(context);
    return left > 0 ? -EAGAIN : left;
}

int cshm_latch_wait_until(cshm_latch *latch, int64_t deadline_ns)
{
    struct cshm_latch_shared *shared = shared_of(latch);
    return is_latch(shared) ? cshm__await(&shared->waiters.park, go_through, shared, deadline_ns)
                            : -EPROTO;
}

static int is_ready(const void *object)
{
    return count_of(object) <= 0;
}

void cshm_latch_waitable(cshm_latch *latch, struct cshm_waitable *out)
{
    struct cshm_latch_shared *shared = shared_of(latch);
    *out = cshm__at_park(&shared->waiters.park, is_ready, shared);
}
