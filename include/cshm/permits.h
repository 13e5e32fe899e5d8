/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A pool of permits: at most so many at a time, over all processes. Permits belong to the process
 * that took them, and those of the dead come back: exactly those, to whoever waits.
 *
 * Use it for connections, slots, memory budgets: for whatever is taken and given back. For signals
 * use cshm/semaphore.h, which costs the same and owns nothing.
 *
 * Model
 * -----
 * A cell for each permit: free, or the stamp of who has it (cshm/participant.h). There is no count
 * of anything, so there is none that a death could leave wrong. Taking is a compare-and-swap of a
 * cell from free to mine, giving back one to free; every thread begins at the cell that its process
 * had last, so processes seldom meet.
 *
 * "None free" is told of an instant at which none was: cells carry a number that changes with each
 * release, and all are looked at twice. Several permits are taken one after the other; who does not get
 * all gives back what it got, so that for a moment others may find fewer than there are.
 *
 * It is not fair. Who waits looks at least every 25 ms; see "Starvation" of cshm/semaphore.h. Who
 * waits for several can be overtaken for ever by those who want one.
 *
 * Who writes what
 * ---------------
 *   a free cell    everybody, by compare-and-swap
 *   a cell         its owner; and if that is dead, anybody
 *
 * Ordering
 * --------
 * What was done before a permit was given back, or by the dead that had it, happens before what is
 * done by who has that permit next; it may be another one that a waiter gets.
 *
 * If a process dies
 * -----------------
 *   having permits, or in the middle of taking or giving back
 *       its stamp is in its cells: who finds none free asks the kernel, at most every 10 ms, who is
 *       dead, and frees theirs. So a waiter has them within 35 ms of the certificate
 *   freeing what the dead had
 *       some cells are free: the next one goes on
 *   in a release, before the wake; or woken, before it has one
 *       a sleeper looks for itself, after at most 25 ms
 * A stopped process keeps what it has, and holds nobody else up.
 */
#ifndef CSHM_PERMITS_H
#define CSHM_PERMITS_H

#include "base.h"
#include "bell.h"

CSHM_BEGIN_DECLS

enum {
    /** Permits of one pool, at most. */
    CSHM_PERMITS_MAX = 4096,
};

/** A process's view of a pool. */
typedef struct cshm_permits cshm_permits;

/**
 * Lays out a pool, all of it free.
 *
 * @param count   Permits, 1 to CSHM_PERMITS_MAX.
 * @param offset  Receives its place.
 * @returns 0, -EINVAL, -ENOSPC, -ECHILD (this process has not joined), -EPROTO (damaged).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_permits_create(cshm_region *region, uint32_t count,
                                                    uint64_t *offset);

/** Opens the pool at a place. @returns 0, -EPROTO (there is none), -ENOMEM. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_permits_open(cshm_region *region, uint64_t offset,
                                                  cshm_permits **out);

/** Drops the view. What this process has it keeps, until it ends. */
CSHM_EXPORT void cshm_permits_close(cshm_permits *permits);

/** Frees the pool and the view. Nobody may use it afterwards. */
CSHM_EXPORT void cshm_permits_destroy(cshm_permits *permits);

/**
 * Takes permits without waiting.
 *
 * @param count  How many; all or none.
 * @returns 0, -EAGAIN (too few are free), -EINVAL (0, or more than there are), -ECHILD. A system call
 *          for each process that has permits, at most every 10 ms, if too few are free. Thread-safe,
 *          process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_permits_try_acquire(cshm_permits *permits, uint32_t count);

/**
 * Takes permits, waiting until an absolute deadline.
 *
 * @returns as cshm_permits_try_acquire(), with -ETIMEDOUT in the place of -EAGAIN.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_permits_acquire_until(cshm_permits *permits, uint32_t count,
                                                           int64_t deadline_ns);

/**
 * Gives permits back that some thread of this process took.
 *
 * @returns 0, -EPERM (this process has fewer; nothing was given back, unless several threads gave
 *          back too many at once), -EINVAL, -ECHILD. No system call unless somebody waits.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_permits_release(cshm_permits *permits, uint32_t count);

/** Frees what the dead had, now. @returns how many that were, or -ECHILD. */
CSHM_EXPORT int cshm_permits_reclaim(cshm_permits *permits);

/** How many there are. */
CSHM_EXPORT uint32_t cshm_permits_count(const cshm_permits *permits);

/** How many were free, each looked at once: exact if nobody moves. */
CSHM_EXPORT uint32_t cshm_permits_available(const cshm_permits *permits);

/** How many this process has. */
CSHM_EXPORT uint32_t cshm_permits_held(const cshm_permits *permits);

/** What to wait for before a try: that one is free. A look at it frees what the dead had. */
CSHM_EXPORT void cshm_permits_waitable(const cshm_permits *permits, struct cshm_waitable *out);

CSHM_END_DECLS

#endif /* CSHM_PERMITS_H */
