/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A condition: threads of any process that hold a mutex sleep until what it guards has changed.
 *
 * Use cshm/event.h where there is but one fact, and no data.
 *
 * Model
 * -----
 * A table of waiters. Who waits enters it and releases the mutex; who notifies, holding the mutex,
 * marks the longest waiting, as many as it says, and wakes just those. A waiter that is marked
 * acquires the mutex again, leaves the table and goes on. So one notification lets exactly one
 * waiter go on, one without waiters is lost, and nobody goes on without one: except after deaths, or
 * if one that was notified gives up, so look at what you wait for again, or use
 * cshm_condition_await_until().
 *
 * Who waits without a thread that sleeps here, such as a task, has a cshm_condition_waiter: it enters
 * the table, waits for that to be ready, acquires the mutex, and leaves the table or waits on in the
 * same place.
 *
 * Notifications go in the order of coming: a waiter has the one that follows those of all who waited
 * before it, and nobody who comes later is before it. The mutex that it then acquires is not fair.
 *
 * All calls are made with one mutex, always the same, held by the calling thread, and held again
 * when they return. A waiter that goes on has the data soonest if they lie right behind the mutex: that
 * cache line is fetched along with it.
 *
 * Who writes what
 * ---------------
 *   waiters    a waiter its own, who notifies from waiting to notified; all under the mutex, but that
 *              one that gives up leaves, or says that it has left, without
 *
 * Ordering
 * --------
 * By the mutex: what was done with it held before a notification happens before what a waiter does
 * that goes on.
 *
 * If a process dies
 * -----------------
 *   waiting, not notified             who notifies it, and finds that it was asleep and is dead,
 *                                     notifies the next one
 *   notified, not yet gone on         its notification goes to the longest waiting: those asleep look
 *                                     every 25 ms. If it died at the same time as others handed its
 *                                     notification on, two may go on for one
 *   notified, giving up               the same
 *   holding the mutex                 the mutex tells its next holder. If nobody comes, one of the
 *                                     waiters asleep is it: its wait returns 1 within 25 ms, notified
 *                                     or not. It repairs the data, and notifies the others
 *   notifying several                 those marked are notified, the others not; then the same
 * A notified process that is stopped keeps its notification: it is alive.
 */
#ifndef CSHM_CONDITION_H
#define CSHM_CONDITION_H

#include "base.h"
#include "bell.h"
#include "mutex.h"

CSHM_BEGIN_DECLS

enum {
    /** The most waiters of one condition. */
    CSHM_CONDITION_WAITERS_MAX = 4096,
};

/** Everybody who waits. */
#define CSHM_NOTIFY_ALL UINT32_MAX

/** A condition in this process. Its threads may share one. */
typedef struct cshm_condition cshm_condition;

/** One waiter that does not sleep in cshm_condition_wait_until(). */
struct cshm_condition_waiter {
    /** The condition. */
    cshm_condition *condition;
    /** Its place in the table. */
    uint32_t place;
};

/**
 * Makes a condition.
 *
 * @param waiters  How many may wait at once, 1 to CSHM_CONDITION_WAITERS_MAX; 0 for 128.
 * @param offset   Receives its place.
 * @returns 0, -EINVAL, -ENOSPC, -ECHILD, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_condition_create(cshm_region *region, uint32_t waiters,
                                                      uint64_t *offset);

/** Opens one. @returns 0, -EPROTO (no condition is there), -ENOMEM. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_condition_open(cshm_region *region, uint64_t offset,
                                                    cshm_condition **out);

/** Drops this process's view. None of its threads waits. */
CSHM_EXPORT void cshm_condition_close(cshm_condition *condition);

/** Closes it and frees its memory. Nobody may use it any more. */
CSHM_EXPORT void cshm_condition_destroy(cshm_condition *condition);

/**
 * Releases the mutex, waits to be notified, and acquires the mutex again, however long that takes.
 *
 * @param mutex        Held by this thread; if it is recursive, once.
 * @param deadline_ns  Absolute; INT64_MAX for ever.
 * @returns with the mutex held: 0 (notified), 1 (the mutex's last holder died; see
 *          cshm_mutex_acquire_until()), -ETIMEDOUT, -EUSERS (as many living ones wait), -ECHILD,
 *          -EPERM (this thread does not hold it), -EINVAL (it holds it several times). Without: -ENOTRECOVERABLE, -EPROTO (these bytes
 *          are no mutex). Thread-safe, process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_condition_wait_until(cshm_condition *condition,
                                                          cshm_mutex *mutex, int64_t deadline_ns);

/**
 * Waits until what is waited for holds.
 *
 * @param holds    Asks whether it does; called with the mutex held.
 * @param context  For `holds`.
 * @returns as cshm_condition_wait_until(): 0 if it holds, -ETIMEDOUT if it does not.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_condition_await_until(cshm_condition *condition,
                                                           cshm_mutex *mutex,
                                                           int (*holds)(void *context),
                                                           void *context, int64_t deadline_ns);

/**
 * Notifies those who have waited longest.
 *
 * @param mutex  Held by this thread.
 * @param count  How many at most; CSHM_NOTIFY_ALL for all.
 * @returns how many were notified; -EPERM, -EINVAL, -EPROTO. Thread-safe, process-safe.
 */
CSHM_EXPORT int cshm_condition_notify(cshm_condition *condition, cshm_mutex *mutex, uint32_t count);

/** How many wait and are not notified, at some instant; the dead among them. Thread-safe. */
CSHM_EXPORT uint32_t cshm_condition_waiting(const cshm_condition *condition);

/**
 * Enters the table without waiting, for those who wait elsewhere. Then release the mutex.
 *
 * @param mutex  Held by this thread.
 * @returns 0, -EUSERS, -ECHILD, -EPERM, -EINVAL, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_condition_begin(cshm_condition *condition, cshm_mutex *mutex,
                                                     struct cshm_condition_waiter *out);

/** Whether it was notified: 1 or 0. One load. */
CSHM_EXPORT CSHM_MUST_CHECK int
cshm_condition_is_notified(const struct cshm_condition_waiter *waiter);

/** What to wait for with cshm_wait_any() or a bell: that it is notified. What deaths make possible
 *  makes nothing ready: ask cshm_condition_has_orphan() and cshm_mutex_is_orphaned() now and then, and
 *  if so acquire the mutex and call cshm_condition_again(). */
CSHM_EXPORT void cshm_condition_waitable(const struct cshm_condition_waiter *waiter,
                                         struct cshm_waitable *out);

/** Whether somebody who was notified has died or given up, and nobody has been notified in its place
 *  yet: 1 or 0. Without the mutex; a look at each place. Thread-safe. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_condition_has_orphan(const cshm_condition *condition);

/**
 * Waits on where it is, after a look in vain: a notification that it had is spent, and its turn is that
 * of its coming. Notifies in the place of the dead, this one too. Then release the mutex.
 *
 * @param mutex  Held by this thread.
 * @returns 0, -EPERM, -EINVAL, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_condition_again(const struct cshm_condition_waiter *waiter,
                                                     cshm_mutex *mutex);

/**
 * Leaves the table without the mutex, whoever holds it. If it is notified, those who wait are woken, and
 * the longest waiting is notified in its place by the first of them that has the mutex.
 *
 * @returns 1 if it was notified, 0 if not.
 */
CSHM_EXPORT int cshm_condition_leave(const struct cshm_condition_waiter *waiter);

/**
 * Leaves the table. Call it with the mutex held; if that is not recoverable, without.
 *
 * @returns 1 if it was notified, 0 if not.
 */
CSHM_EXPORT int cshm_condition_end(const struct cshm_condition_waiter *waiter);

CSHM_END_DECLS

#endif /* CSHM_CONDITION_H */
