/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A mutex for threads of any process that outlives its holders: glibc's robust, process-shared,
 * error-checking pthread mutex, with our own record of who holds it.
 *
 * Model
 * -----
 * It belongs to the *thread* that acquired it. Acquiring twice on one thread is -EDEADLK,
 * releasing what another holds -EPERM. It is not fair.
 *
 * If a process dies
 * -----------------
 * The kernel marks the mutex when a holder's thread ends, in any way. The next acquire returns 1,
 * with the mutex held: the data may be half written; repair it and call cshm_mutex_repair(). A
 * release without that makes every later acquire -ENOTRECOVERABLE. A stopped holder is alive:
 * waiters wait.
 */
#ifndef CSHM_MUTEX_H
#define CSHM_MUTEX_H

#include "base.h"

CSHM_BEGIN_DECLS

/** A mutex; it lives in shared memory, aligned to 8 bytes. Its bytes are private. */
typedef struct cshm_mutex {
    /** Private to the library. */
    uint64_t bytes[16];
} cshm_mutex;

/** Makes the mutex, free. Nobody else may use it before this returned. */
CSHM_EXPORT void cshm_mutex_init(cshm_mutex *mutex);

/**
 * Acquires without waiting.
 *
 * @returns 0; 1 (held, and its last holder died); -EAGAIN (held by another), -EDEADLK (held by
 *          this thread), -ENOTRECOVERABLE, -EPROTO (these bytes are no mutex).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_mutex_try_acquire(cshm_mutex *mutex);

/**
 * Acquires, waiting until an absolute deadline.
 *
 * @returns as cshm_mutex_try_acquire(), with -ETIMEDOUT in the place of -EAGAIN.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_mutex_acquire_until(cshm_mutex *mutex, int64_t deadline_ns);

/** Declares the data whole again after an acquire that returned 1. @returns 0 or -EINVAL. */
CSHM_EXPORT int cshm_mutex_repair(cshm_mutex *mutex);

/** Releases. @returns 0, or -EPERM (this thread does not hold it). */
CSHM_EXPORT int cshm_mutex_release(cshm_mutex *mutex);

/** The process id of the holder at some instant, or 0. For people, never to decide by. */
CSHM_EXPORT int32_t cshm_mutex_holder(const cshm_mutex *mutex);

CSHM_END_DECLS

#endif /* CSHM_MUTEX_H */
