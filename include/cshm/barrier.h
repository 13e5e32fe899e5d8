/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A barrier: so many parties wait for each other, again and again.
 *
 * Use cshm/latch.h where those who wait are others than those who are waited for.
 *
 * Model
 * -----
 * One word: the phase, how many have arrived in it, whether it is broken, and what became of the
 * last 20 phases, so that somebody who wakes up late knows. Who arrives gets a number, 0 to
 * parties - 1, in the order of arrival. The last one runs its action, if it has one, and begins the
 * next phase by one compare-and-swap, which lets all go on.
 *
 *     struct cshm_arrival arrival;
 *     int status = cshm_barrier_arrive(barrier, &arrival);
 *     if (status == 1) {                            // the last one
 *         prepare_the_next_phase();
 *         status = cshm_barrier_release(&arrival);
 *     } else if (status == 0) {
 *         status = cshm_barrier_finish_until(&arrival, INT64_MAX);
 *     }
 *
 * A barrier that is broken refuses everybody, those who wait and those who come, until somebody
 * resets it: a party is missing, and what the others did in that phase is incomplete. It is broken
 * by a time-out, by cshm_barrier_abort(), and by a death. Parties that can begin again repair it, each of
 * them if they like, and learn how many have to be replaced.
 *
 * Who writes what
 * ---------------
 *   state     everybody, by compare-and-swap
 *   members   each process its own: whether it takes part
 *
 * Ordering
 * --------
 * What any party did before it arrived, and what the action did, happens before what any party does
 * after it went on.
 *
 * If a process dies
 * -----------------
 * A process takes part from its first arrival until it closes the barrier. When one dies that takes
 * part, wherever it was, and somebody waits, the barrier is broken: nobody knows whether the dead
 * one would still have come.
 *   before its first arrival         it never took part
 *   before or after any arrival      those who wait ask the kernel every 10 ms while they have
 *                                    nothing to do; sleeps are of at most 25 ms
 *   running the action               the same
 *   after the phase's last word, before its wake
 *                                    the phase is over; sleepers see it after at most 25 ms
 * A stopped party is alive: the others wait.
 */
#ifndef CSHM_BARRIER_H
#define CSHM_BARRIER_H

#include "base.h"
#include "bell.h"

CSHM_BEGIN_DECLS

enum {
    /** The most parties. */
    CSHM_BARRIER_PARTIES_MAX = 1024,
};

/** A barrier in this process. Its threads may share one. */
typedef struct cshm_barrier cshm_barrier;

/** One party's arrival in one phase. */
struct cshm_arrival {
    /** The barrier. */
    cshm_barrier *barrier;
    /** The phase, which wraps. */
    uint32_t phase;
    /** How many had arrived before. */
    uint32_t index;
};

/** What a barrier was at some instant. */
struct cshm_barrier_info {
    /** How many wait for each other. */
    uint32_t parties;
    /** How many have arrived. */
    uint32_t waiting;
    /** 1 if it is broken. */
    uint32_t broken;
    /** The phase. */
    uint32_t phase;
};

/**
 * Makes a barrier.
 *
 * @param parties  1 to CSHM_BARRIER_PARTIES_MAX.
 * @param offset   Receives its place.
 * @returns 0, -EINVAL, -ENOSPC, -ECHILD, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_barrier_create(cshm_region *region, uint32_t parties,
                                                    uint64_t *offset);

/** Opens one. @returns 0, -EPROTO (no barrier is there), -ENOMEM. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_barrier_open(cshm_region *region, uint64_t offset,
                                                  cshm_barrier **out);

/** Drops this process's view; with its last one it takes part no longer. */
CSHM_EXPORT void cshm_barrier_close(cshm_barrier *barrier);

/** Closes it and frees its memory. Nobody may use it any more. */
CSHM_EXPORT void cshm_barrier_destroy(cshm_barrier *barrier);

/**
 * Arrives, and waits for the other parties.
 *
 * @param action       What the last party does before all go on, or NULL. It answers 0; anything
 *                     else breaks the barrier.
 * @param context      For the action.
 * @param deadline_ns  Absolute; INT64_MAX for ever. When it passes, the barrier is broken.
 * @param index        Receives the number of the arrival, unique in its phase; may be NULL.
 * @returns 0, -ETIMEDOUT, -ECANCELED (broken), what the action answered, -ECHILD, -EPROTO.
 *          Thread-safe, process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_barrier_wait_until(cshm_barrier *barrier,
                                                        int (*action)(void *context), void *context,
                                                        int64_t deadline_ns, uint32_t *index);

/**
 * The first half of a wait. Whoever arrived must finish, or be released; else nobody goes on.
 *
 * @returns 0 (wait for the others), 1 (it is the last: call cshm_barrier_release()), -EAGAIN (all
 *          parties are there already, and the last runs its action), -ECANCELED, -ECHILD, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_barrier_arrive(cshm_barrier *barrier,
                                                    struct cshm_arrival *out);

/** The last party lets all go on. @returns 0, or -ECANCELED (it was broken meanwhile). */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_barrier_release(const struct cshm_arrival *arrival);

/** Whether all have arrived. @returns 0, -EAGAIN (not yet), -ECANCELED (broken). Asks every 10 ms
 *  who lives. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_barrier_try_finish(const struct cshm_arrival *arrival);

/**
 * Waits until all have arrived.
 *
 * @returns 0, -ETIMEDOUT (it is broken now), -ECANCELED (broken).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_barrier_finish_until(const struct cshm_arrival *arrival,
                                                          int64_t deadline_ns);

/** No longer waits: breaks the barrier. @returns 0 if all had arrived, else -ECANCELED. */
CSHM_EXPORT int cshm_barrier_give_up(const struct cshm_arrival *arrival);

/** Breaks it: everybody, now and later, is refused. Thread-safe, process-safe. */
CSHM_EXPORT void cshm_barrier_abort(cshm_barrier *barrier);

/**
 * Makes it new. Those who wait are refused; who died no longer counts as a party.
 *
 * @returns how many dead it forgot, each of which is told once: the others wait for as many parties
 *          as ever. Thread-safe, process-safe; a system call for each party.
 */
CSHM_EXPORT int cshm_barrier_reset(cshm_barrier *barrier);

/**
 * As cshm_barrier_reset() if it is broken; does nothing if it is whole, so that every party that was
 * refused may call it.
 *
 * @returns as cshm_barrier_reset().
 */
CSHM_EXPORT int cshm_barrier_repair(cshm_barrier *barrier);

/** Writes what it is. Thread-safe. */
CSHM_EXPORT void cshm_barrier_describe(const cshm_barrier *barrier, struct cshm_barrier_info *out);

/** What to wait for with cshm_wait_any() or a bell: that cshm_barrier_try_finish() has an answer.
 *  A death makes nothing ready; look now and then. */
CSHM_EXPORT void cshm_barrier_waitable(const struct cshm_arrival *arrival,
                                       struct cshm_waitable *out);

CSHM_END_DECLS

#endif /* CSHM_BARRIER_H */
