/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A counting semaphore: one side counts up, the other waits until it can count down. For signals,
 * "so many things have happened"; for something that is taken and given back use cshm/permits.h,
 * where what a dead process had comes back.
 *
 * Model
 * -----
 * One number and a bound. An acquire takes 1 of it, or waits; a release adds n, or is refused if that
 * would exceed the bound. Nobody owns anything: who releases need not have acquired. It is not
 * fair: who comes just then may be served before one that sleeps; see "Starvation".
 *
 * Who writes what
 * ---------------
 *   count    everybody, by compare-and-swap
 *   park     who waits, and who wakes (cshm/park.h)
 *
 * Ordering
 * --------
 * What was done before a release happens before what is done after every later acquire.
 *
 * If a process dies
 * -----------------
 *   in an acquire, before the swap    nothing was taken
 *   after it                          what it took is gone: nothing comes back by itself
 *   in a release, before the wake     a sleeper looks for itself, after at most 25 ms
 *   woken, before it has it           the same
 * A stopped process holds nobody up.
 *
 * Starvation
 * ----------
 * Who waits looks at least every 25 ms, and gets what is there at that instant. So of n processes that
 * want it, one waits longer than a time t only if the others took every unit before each of its
 * t / 25 ms looks. There is no bound by number. Of 64 processes on two CPUs, at a semaphore, a baton or
 * an automatic event, none waited longer than 2.3 s in a minute, at permits 6.7 s; the tests allow 20.
 */
#ifndef CSHM_SEMAPHORE_H
#define CSHM_SEMAPHORE_H

#include "base.h"
#include "bell.h"

CSHM_BEGIN_DECLS

enum {
    /** The largest bound. */
    CSHM_SEMAPHORE_MAX = 0x7fffffff,
};

/** A semaphore; it lives in shared memory, aligned to 128 bytes if bells are to ring for it, else
 * to 8. Its bytes are private. */
typedef struct cshm_semaphore {
    /** Private to the library. */
    uint64_t bytes[32];
} cshm_semaphore;

/**
 * Makes a semaphore. Nobody else may use it before this returned.
 *
 * @param count  What it begins with, 0 to `bound`.
 * @param bound  What it may not exceed, 1 to CSHM_SEMAPHORE_MAX.
 * @returns 0 or -EINVAL.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_semaphore_init(cshm_semaphore *semaphore, uint32_t count,
                                                    uint32_t bound);

/**
 * Takes 1 without waiting.
 *
 * @returns 0, -EAGAIN (it is 0), -EPROTO (these bytes are no semaphore). Lock-free, no system call;
 *          thread-safe, process-safe, async-signal-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_semaphore_try_acquire(cshm_semaphore *semaphore);

/**
 * Takes 1, waiting until an absolute deadline.
 *
 * @returns 0, -ETIMEDOUT, -EPROTO. No system call unless it has to wait. Thread-safe, process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_semaphore_acquire_until(cshm_semaphore *semaphore,
                                                             int64_t deadline_ns);

/**
 * Adds to it, and wakes who waits.
 *
 * @param count  How many, 1 to CSHM_SEMAPHORE_MAX.
 * @returns 0, -EOVERFLOW (it would exceed its bound; nothing was added), -EINVAL, -EPROTO. Lock-free,
 *          no system call unless somebody waits. Thread-safe, process-safe, async-signal-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_semaphore_release(cshm_semaphore *semaphore, uint32_t count);

/** What it was at some instant of the call, or -EPROTO. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_semaphore_count(const cshm_semaphore *semaphore);

/** What it may not exceed, or -EPROTO. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_semaphore_bound(const cshm_semaphore *semaphore);

/** What to wait for before a try: that it is not 0. @returns 0 or -EPROTO. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_semaphore_waitable(const cshm_semaphore *semaphore,
                                                        struct cshm_waitable *out);

CSHM_END_DECLS

#endif /* CSHM_SEMAPHORE_H */
