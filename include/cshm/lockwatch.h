/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A debugging aid for locks that is off unless asked for: since when each is held, and a report
 * of every circle in the order in which threads of any process acquire them, before a deadlock has
 * come of it.
 *
 * Turn it on in every process that is to be watched: by cshm_lockwatch_begin(), or for all at once by
 * the environment variable CSHM_WATCH_LOCKS=1, which is read when a process opens its first region.
 * It stays on until the process ends. Off, it costs a lock one load.
 *
 * Model
 * -----
 * A thread that holds locks and is about to wait for another leaves a record in the region: these it
 * held, that one it wanted. There is one record for each such set and wish of each thread. Who adds
 * one looks for a circle: records of different threads of which each wanted what the next one held,
 * and the last what the first held. It is reported by whoever closes it, in the thread that
 * does, before it waits; two that close it at once may both report it.
 *
 * No circle is
 *   - one thread's own, who acquired two locks first in one order and then in the other
 *   - one that a further lock keeps from happening: held in two of the records, by whatever name
 *   - a try, or a deadline that has passed: who does not wait blocks nobody. What is acquired by a
 *     try is held, though
 *   - a recursive lock, acquired again by its holder
 * A circle is a mistake in the program even if nobody ever waits in it: it depends on the scheduler.
 *
 * Watched are mutexes (cshm/mutex.h), alone or within a condition's use, a value, an array or a
 * reader-writer lock, whose writers they are; its readers are not, nor are batons. Circles through
 * several regions are not seen. A thread that holds more than CSHM_LOCKWATCH_HELD locks leaves no
 * records meanwhile; there is room for so many records as cshm_lockwatch_describe() says. What was not
 * recorded is counted there.
 *
 * Who writes what
 * ---------------
 *   the table's place    the first process that needs it, by compare-and-swap
 *   a record             who claimed it, by compare-and-swap, for good; of the dead, anybody frees it
 *   a lock's mark        the first thread that records it, by compare-and-swap
 *   a lock's since       its holder
 *
 * Ordering
 * --------
 * None but that of the locks: whether they are watched or not changes nothing between their holders.
 *
 * If a process dies
 * -----------------
 * Its records count no more: a report asks the kernel whether those who made them live. A table that
 * is full is cleared of them. One whose record is half made when it dies has made none. A dead
 * holder's `since` goes when the next one acquires the lock.
 */
#ifndef CSHM_LOCKWATCH_H
#define CSHM_LOCKWATCH_H

#include <stddef.h>

#include "base.h"

CSHM_BEGIN_DECLS

enum {
    /** The longest circle that is looked for. */
    CSHM_LOCKWATCH_CYCLE = 8,
    /** The most locks of a thread that are watched at a time. */
    CSHM_LOCKWATCH_HELD = 8,
};

/** One thread in a circle: a lock that it held, and one that it acquired meanwhile or waits for. */
struct cshm_lock_wait {
    /** Its process. */
    int32_t pid;
    /** The thread, as the kernel numbers them. */
    int32_t thread;
    /** When it first did so, by cshm_now_ns(). */
    int64_t at_ns;
    /** The place of the lock that it held; the thread before wanted it. */
    uint64_t held;
    /** The place of the lock that it wanted; the next thread held it. */
    uint64_t wanted;
    /** Whether it holds that lock at the instant of the report. If all do, this is a deadlock. */
    uint32_t is_held;
    /** That lock's name in the region's directory, or an empty one. */
    char held_name[CSHM_NAME_MAX + 1];
    /** The wanted lock's. */
    char wanted_name[CSHM_NAME_MAX + 1];
};

/** A circle; the last thread's wish is what the first one held. */
struct cshm_lock_cycle {
    /** The region that the locks are in. */
    cshm_region *region;
    /** How many threads, 2 to CSHM_LOCKWATCH_CYCLE. The first is the calling one. */
    uint32_t count;
    /** They. */
    struct cshm_lock_wait wait[CSHM_LOCKWATCH_CYCLE];
};

/** What is known of a region's locks. */
struct cshm_lockwatch_info {
    /** Records, those of the dead among them, until there is no room. */
    uint32_t records;
    /** How many there is room for. */
    uint32_t records_max;
    /** How often something could not be recorded. */
    uint64_t missed;
};

/** Is told of a circle. It may use locks and regions; what it does is not watched. */
typedef void cshm_lockwatch_report(const struct cshm_lock_cycle *cycle, void *context);

/**
 * Watches the locks of this process from now on, until its end; its children by fork() too.
 *
 * @param report   Called for each circle, by the thread that closed it; NULL writes it to standard
 *                 error. The last call's counts.
 * @param context  For `report`.
 * Thread-safe. Locks that are held at this moment are not known to be.
 */
CSHM_EXPORT void cshm_lockwatch_begin(cshm_lockwatch_report *report, void *context);

/** Whether this process's locks are watched: 1 or 0. */
CSHM_EXPORT int cshm_lockwatch_is_on(void);

/** Writes a circle as text, as the default report does. @returns its length, without the zero byte,
 *  as snprintf() does. */
CSHM_EXPORT int cshm_lockwatch_print(const struct cshm_lock_cycle *cycle, char *text, size_t size);

/** What a region's table holds. @returns 0, -ENOENT (nothing was ever recorded), -EPROTO. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_lockwatch_describe(const cshm_region *region,
                                                        struct cshm_lockwatch_info *out);

CSHM_END_DECLS

#endif /* CSHM_LOCKWATCH_H */
