/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A latch: so many things must be done, and whoever waits for all of them goes on.
 *
 * Use it once; cshm/barrier.h where the same parties meet again and again, and where the death of one
 * must be told to the others.
 *
 * Model
 * -----
 * A number that only goes down, and a parking word. At 0 it lets everybody through for ever.
 *
 * Who writes what
 * ---------------
 *   the number    who counts, by compare-and-swap
 *
 * Ordering
 * --------
 * What was done before any count that the latch was opened by happens before what is done by whoever
 * has seen it open.
 *
 * If a process dies
 * -----------------
 *   counting, before the number      its part counts as not done
 *   counting, before its wake        the latch is open; sleepers see it after at most 25 ms
 *   waiting                          nothing
 * A latch does not know who is to count. If the process that was to count may die, let its parent
 * count for it, or wait with a deadline.
 */
#ifndef CSHM_LATCH_H
#define CSHM_LATCH_H

#include "base.h"
#include "bell.h"

CSHM_BEGIN_DECLS

/** A latch; it lives in shared memory, aligned to 8 bytes, and to 128 if bells are to be armed for
 *  it. Its bytes are private. */
typedef struct cshm_latch {
    /** Private to the library. */
    uint64_t bytes[32];
} cshm_latch;

/** Makes the latch. Nobody else may use it before this returned.
 *  @param count  0 to INT32_MAX. @returns 0, or -EINVAL. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_latch_init(cshm_latch *latch, uint32_t count);

/**
 * Takes `count` off, but goes no lower than 0, and at 0 wakes everybody.
 *
 * @returns what is left, or -EPROTO (these bytes are no latch). Thread-safe, process-safe,
 *          async-signal-safe.
 */
CSHM_EXPORT int cshm_latch_count_down(cshm_latch *latch, uint32_t count);

/** What is left, or -EPROTO. One load. Thread-safe, async-signal-safe. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_latch_count(const cshm_latch *latch);

/**
 * Waits until nothing is left.
 *
 * @param deadline_ns  Absolute; INT64_MAX for ever.
 * @returns 0, -ETIMEDOUT, -EPROTO. Thread-safe, process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_latch_wait_until(cshm_latch *latch, int64_t deadline_ns);

/** What to wait for with cshm_wait_any() or a bell: that nothing is left. */
CSHM_EXPORT void cshm_latch_waitable(cshm_latch *latch, struct cshm_waitable *out);

CSHM_END_DECLS

#endif /* CSHM_LATCH_H */
