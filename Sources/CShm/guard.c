/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See guard.h for the model. Pair:
 *
 *   [guard]  all that the owner stored, then 0 in its word (release), or its death, which the kernel
 *            certifies after its last store -> the next one's compare-and-swap (acquire)
 */
#include "guard.h"

#include <errno.h>

#include <cshm/participant.h>

struct wish {
    cshm_region *region;
    struct cshm_guard *guard;
    uint64_t dead; /* an owner certified dead, or 0 */
};

static bool take(const struct wish *wish, uint64_t from)
{
    struct cshm_guard *guard = wish->guard;
    if (!atomic_compare_exchange_strong_explicit(
            &guard->owner, &from, cshm_participant_self(wish->region), memory_order_acquire,
            memory_order_relaxed)) { /* [guard] */
        return false;
    }
    atomic_store_explicit(&guard->thread, cshm__thread(), memory_order_relaxed);
    return true;
}

static int attempt(void *context)
{
    struct wish *wish = context;
    if (atomic_load_explicit(&wish->guard->owner, memory_order_relaxed) != 0) {
        return -EAGAIN;
    }
    return take(wish, 0) ? 0 : -EAGAIN;
}

static bool is_orphaned(void *context)
{
    struct wish *wish = context;
    uint64_t owner = atomic_load_explicit(&wish->guard->owner, memory_order_relaxed);
    wish->dead = owner != 0 && cshm_participant_is_gone(wish->region, owner) == 1 ? owner : 0;
    return wish->dead != 0;
}

int cshm__guard_await(cshm_region *region, struct cshm_guard *guard)
{
    struct wish wish = {region, guard, 0};
    if (atomic_load_explicit(&guard->owner, memory_order_relaxed) ==
            cshm_participant_self(region) &&
        atomic_load_explicit(&guard->thread, memory_order_relaxed) == cshm__thread()) {
        return -EDEADLK;
    }
    for (;;) {
        int status = cshm__await_peer(&guard->park, attempt, is_orphaned, &wish, INT64_MAX);
        if (status != -EPIPE) {
            return status;
        }
        if (take(&wish, wish.dead)) {
            return 1;
        }
    }
}
