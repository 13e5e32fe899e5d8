/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A parking word: where threads of any process sleep until something they wait for may be true.
 *
 * Model
 * -----
 * One 32-bit word: bit 0 says that somebody may be asleep, the rest counts wakes. A waiter sets
 * the bit, looks at its condition once more, and sleeps only if the word is still what it saw. A
 * waker that finds the bit clear does nothing at all: no system call when nobody waits.
 *
 *     for (;;) {                                  condition = true;   // a seq_cst store or RMW
 *         if (condition) return;                  cshm_park_wake_one(&word);
 *         uint32_t seen = cshm_park_prepare(&word);
 *         if (condition) return;
 *         cshm_park_wait(&word, seen, deadline);
 *     }
 *
 * Wakers in the library itself do without the seq_cst store, since the waiter's announcement puts
 * a barrier into every process that has joined a region.
 *
 * The flag is never cleared without a wake of everybody after it: clearing it on "nobody was
 * woken" alone loses wake-ups.
 *
 * Who writes what
 * ---------------
 *   bit 0    a waiter sets it; a waker drops it, and wakes everybody after that
 *   count    wakers
 *
 * Ordering
 * --------
 * A waiter and a waker cannot miss each other, if the condition is made true as above. A wake orders
 * nothing else: what comes with the condition is by its own release and acquire.
 *
 * If a process dies
 * -----------------
 * There is no count of waiters to go wrong. A killed waiter leaves the bit set: one needless
 * system call, then it heals. A waker killed between its condition and the wake, or a waiter
 * killed with the wake in its hands, is made good by sleeps of at most 25 ms.
 */
#ifndef CSHM_PARK_H
#define CSHM_PARK_H

#include "base.h"

CSHM_BEGIN_DECLS

/** The word; all zeroes is ready for use. It lives in shared memory. */
typedef struct cshm_park {
    /** Private to the library. */
    uint32_t word;
} cshm_park;

/**
 * Announces a waiter, and makes sure that it and a waker cannot miss each other.
 *
 * @returns what to give to cshm_park_wait(). One system call, membarrier, so that wakers need
 *          none; where the kernel refuses it, waits are cut into slices of 1 ms instead.
 */
CSHM_EXPORT uint32_t cshm_park_prepare(cshm_park *park);

/**
 * Sleeps until woken, until the word changes, or for one slice.
 *
 * @param seen         From cshm_park_prepare(), before the condition was looked at.
 * @param deadline_ns  Absolute; INT64_MAX for ever.
 * @returns 0 (look at the condition again), or -ETIMEDOUT, never before the deadline.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_park_wait(cshm_park *park, uint32_t seen, int64_t deadline_ns);

/** Wakes at least one waiter, if there is any. Async-signal-safe. */
CSHM_EXPORT void cshm_park_wake_one(cshm_park *park);

/** Wakes every waiter. Async-signal-safe. */
CSHM_EXPORT void cshm_park_wake_all(cshm_park *park);

CSHM_END_DECLS

#endif /* CSHM_PARK_H */
