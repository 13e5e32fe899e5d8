/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * An event: something has happened, and whoever waits for it goes on.
 *
 * Use it for one fact; cshm/latch.h where several must happen, cshm/condition.h where what is waited
 * for is data under a mutex.
 *
 * Model
 * -----
 * One word, set or not, and a parking word. Setting it lets waiters go on: all of them until it is
 * cleared (manual), or exactly one, who clears it in the same step (automatic). Setting what is set
 * changes nothing. To ask is one load. What it tells of is there soonest if it lies right behind it:
 * that cache line is fetched along with the event.
 *
 * An automatic one is not fair; see "Starvation" of cshm/semaphore.h.
 *
 * Who writes what
 * ---------------
 *   state    whoever sets or clears it; the waiter of an automatic one
 *
 * Ordering
 * --------
 * What was done before it was set happens before what is done by whoever goes through, or has seen it
 * set. Clearing it orders nothing.
 *
 * If a process dies
 * -----------------
 *   setting, before the word           nothing happened
 *   setting, before its wake           it is set; sleepers see it after at most 25 ms
 *   waiting, not yet through           nothing; if it was woken, it took the wake along and not the
 *                                      event: the others see it after at most 25 ms
 *   waiting, through an automatic one  the event went with it, as what a taker took
 */
#ifndef CSHM_EVENT_H
#define CSHM_EVENT_H

#include "base.h"
#include "bell.h"

CSHM_BEGIN_DECLS

/** An event; it lives in shared memory, aligned to 8 bytes, and to 128 if bells are to be armed for
 *  it. Its bytes are private. */
typedef struct cshm_event {
    /** Private to the library. */
    uint64_t bytes[32];
} cshm_event;

/** Which events let how many through. */
enum cshm_event_kind {
    /** All waiters, until it is cleared. */
    CSHM_EVENT_MANUAL = 0,
    /** One waiter for each time it is set. */
    CSHM_EVENT_AUTOMATIC = 1,
};

/** Makes the event, not set. Nobody else may use it before this returned. */
CSHM_EXPORT void cshm_event_init(cshm_event *event, enum cshm_event_kind kind);

/** Sets it, and wakes who waits. @returns 0, or -EPROTO (these bytes are no event). Thread-safe,
 *  process-safe, async-signal-safe; no system call if nobody sleeps. */
CSHM_EXPORT int cshm_event_set(cshm_event *event);

/** Clears it. @returns 0, or -EPROTO. Thread-safe, process-safe, async-signal-safe. */
CSHM_EXPORT int cshm_event_clear(cshm_event *event);

/** Whether it is set: 1, 0, or -EPROTO. One load. Thread-safe, async-signal-safe. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_event_is_set(const cshm_event *event);

/**
 * Goes through if it is set; through an automatic one that is cleared with the same step.
 *
 * @returns 0, -EAGAIN (not set), -EPROTO. Thread-safe, process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_event_try_wait(cshm_event *event);

/**
 * Waits until it is set, and goes through as cshm_event_try_wait() does.
 *
 * @param deadline_ns  Absolute; INT64_MAX for ever.
 * @returns 0, -ETIMEDOUT, -EPROTO. Thread-safe, process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_event_wait_until(cshm_event *event, int64_t deadline_ns);

/** What to wait for with cshm_wait_any() or a bell: that it is set. */
CSHM_EXPORT void cshm_event_waitable(cshm_event *event, struct cshm_waitable *out);

CSHM_END_DECLS

#endif /* CSHM_EVENT_H */
