/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A mutex for threads of any process that outlives its holders: glibc's robust, process-shared,
 * error-checking pthread mutex, with our own record of who holds it.
 *
 * Model
 * -----
 * It belongs to the *thread* that acquired it. Acquiring twice on one thread is -EDEADLK, unless it
 * was made recursive: then it is released as often as it was acquired. Releasing what another
 * holds is -EPERM. It is not fair: a thread that releases and acquires at once may be faster than
 * one that is being woken, so no waiter is promised a turn within so many. Of 64 processes on two CPUs
 * none waited longer than 2.5 s in a minute; the tests allow 20.
 *
 * Who writes what
 * ---------------
 *   the pthread mutex    glibc, and the kernel when a thread ends
 *   depth, holder, since the thread that holds it
 *
 * Ordering
 * --------
 * What a holder did before it released, or ended, happens before what the next one does.
 *
 * If a process dies
 * -----------------
 * The kernel marks the mutex when a holder's thread ends, in any way. The next acquire returns 1,
 * with the mutex held, once: the data may be half written; repair it and call cshm_mutex_repair(). A
 * release without that makes every later acquire -ENOTRECOVERABLE. A stopped holder is alive:
 * waiters wait. A waiter that is killed with the wake in its hands delays others by 25 ms at most.
 *
 * Waiting without blocking
 * ------------------------
 * Who must not block its thread waits for several things at once, by cshm_wait_any(), and then tries
 * in the thread that the mutex is to belong to:
 *
 *     int status = cshm_mutex_try_acquire(mutex);
 *     while (status == -EAGAIN) {
 *         cshm_mutex_waitable(mutex, &waitable);
 *         (void)cshm_wait_any(&waitable, 1, deadline);
 *         status = cshm_mutex_try_acquire_woken(mutex);
 *     }
 *
 * It then waits in the mutex's own word, as pthread's waiters do: a holder's release, and the kernel at
 * its death, wakes either kind, one at a time.
 */
#ifndef CSHM_MUTEX_H
#define CSHM_MUTEX_H

#include "base.h"
#include "bell.h"

CSHM_BEGIN_DECLS

/** A mutex; it lives in shared memory, aligned to 8 bytes, better to 64. Its bytes are private. */
typedef struct cshm_mutex {
    /** Private to the library. */
    uint64_t bytes[16];
} cshm_mutex;

/** A mutex as it was at some instant. For people, never to decide by. */
struct cshm_mutex_info {
    /** The process that holds it, or 0 if nobody does. */
    int32_t holder_pid;
    /** The thread, as the kernel numbers them. */
    int32_t holder_thread;
    /** How often it holds it; more than 1 only of a recursive one. */
    uint32_t depth;
    /** Whether it is recursive. */
    uint32_t is_recursive;
    /** When it was acquired, by cshm_now_ns(); 0 if nobody holds it, or its holder's process does not
     *  watch locks: see cshm/lockwatch.h. */
    int64_t since_ns;
};

/** Makes the mutex, free. Nobody else may use it before this returned. */
CSHM_EXPORT void cshm_mutex_init(cshm_mutex *mutex);

/** As cshm_mutex_init(), but the thread that holds it may acquire it again. */
CSHM_EXPORT void cshm_mutex_init_recursive(cshm_mutex *mutex);

/**
 * Acquires without waiting.
 *
 * @returns 0; 1 (held, and its last holder died); -EAGAIN (held by another), -EDEADLK (held by
 *          this thread, and not recursive), -EOVERFLOW (held by this thread 2^32 - 1 times),
 *          -ENOTRECOVERABLE, -EPROTO (these bytes are no mutex). No system call. Thread-safe,
 *          process-safe, not to be called by a signal handler.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_mutex_try_acquire(cshm_mutex *mutex);

/**
 * Acquires, waiting until an absolute deadline.
 *
 * @param deadline_ns  INT64_MAX waits for ever. One that has passed is a single try.
 * @returns as cshm_mutex_try_acquire(), with -ETIMEDOUT in the place of -EAGAIN. No system call
 *          unless it has to wait.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_mutex_acquire_until(cshm_mutex *mutex, int64_t deadline_ns);

/** What to wait for before a try: that nobody holds it. No bell can be armed for it. */
CSHM_EXPORT void cshm_mutex_waitable(const cshm_mutex *mutex, struct cshm_waitable *out);

/**
 * As cshm_mutex_try_acquire(), by who was woken at the waitable, or on behalf of it: others who wait
 * are woken in their turn, when the mutex is released. At most one system call.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_mutex_try_acquire_woken(cshm_mutex *mutex);

/** Whether its holder died, or nobody can have it any more: 1 or 0. For those who wait for what is done
 * with it, and would wait in vain: an acquire says which. Thread-safe. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_mutex_is_orphaned(const cshm_mutex *mutex);

/** Whether the calling thread, which holds it, inherited it from the dead and has not declared the data
 * whole: 1 or 0. A release would make every later acquire -ENOTRECOVERABLE. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_mutex_needs_repair(const cshm_mutex *mutex);

/** Declares the data whole again after an acquire that returned 1. @returns 0 or -EINVAL. */
CSHM_EXPORT int cshm_mutex_repair(cshm_mutex *mutex);

/**
 * Releases, once.
 *
 * @returns 0, -EPERM (this thread does not hold it), -EPROTO. No system call unless somebody waits.
 */
CSHM_EXPORT int cshm_mutex_release(cshm_mutex *mutex);

/** Who holds it. @returns 0 or -EPROTO. Thread-safe, process-safe. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_mutex_describe(const cshm_mutex *mutex,
                                                    struct cshm_mutex_info *out);

CSHM_END_DECLS

#endif /* CSHM_MUTEX_H */
