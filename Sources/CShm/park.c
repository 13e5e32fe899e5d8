/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/park.h for the model. Pair:
 *
 *   [announce]  the waiter sets the bit (seq_cst), then looks at its condition (seq_cst);
 *               the waker makes the condition true (seq_cst), then looks at the bit (seq_cst).
 *               In the one order of all four, one of the two sees the other.
 */
#include <cshm/park.h>

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>

#include "internal.h"

enum { SLICE_NS = 25000000 };

static _Atomic uint32_t *word_of(cshm_park *park)
{
    return (_Atomic uint32_t *)(void *)&park->word;
}

uint32_t cshm_park_prepare(cshm_park *park)
{
    /* seq_cst: [announce] */
    return atomic_fetch_or_explicit(word_of(park), 1, memory_order_seq_cst) | 1;
}

int cshm_park_wait(cshm_park *park, uint32_t seen, int64_t deadline_ns)
{
    int64_t now = cshm_now_ns();
    if (now >= deadline_ns) {
        return -ETIMEDOUT;
    }
    int64_t slice = deadline_ns - now > SLICE_NS ? now + SLICE_NS : deadline_ns;
    (void)cshm__futex_wait(&park->word, seen, slice);
    return 0;
}

/* Clears the flag only if nobody announced itself since the wake, and wakes everybody after it. */
static void wake(cshm_park *park, int count)
{
    _Atomic uint32_t *word = word_of(park);
    /* seq_cst: [announce] */
    if ((atomic_load_explicit(word, memory_order_seq_cst) & 1) == 0) {
        return;
    }
    uint32_t now = atomic_fetch_add_explicit(word, 2, memory_order_seq_cst) + 2;
    if (cshm__futex_wake(&park->word, count) > 0 && count == 1) {
        return;
    }
    if (atomic_compare_exchange_strong_explicit(word, &now, now & ~1u, memory_order_seq_cst,
                                                memory_order_relaxed)) {
        (void)cshm__futex_wake(&park->word, INT_MAX);
    }
}

void cshm_park_wake_one(cshm_park *park)
{
    wake(park, 1);
}

void cshm_park_wake_all(cshm_park *park)
{
    wake(park, INT_MAX);
}

int cshm__await(struct cshm_park *park, int (*attempt)(void *context), void *context,
                int64_t deadline_ns)
{
    for (uint32_t round = 0;; round++) {
        int status = attempt(context);
        if (status != -EAGAIN) {
            return status;
        }
        if (cshm__spin(round)) {
            continue;
        }
        uint32_t seen = cshm_park_prepare(park);
        status = attempt(context);
        if (status != -EAGAIN) {
            return status;
        }
        status = cshm_park_wait(park, seen, deadline_ns);
        if (status != 0) {
            return status;
        }
    }
}
