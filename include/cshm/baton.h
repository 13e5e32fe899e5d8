/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A lock that belongs to a process, not to a thread: for tasks that move from thread to thread while
 * they hold it, and for programs that acquire in one thread and release in another.
 *
 * Use cshm/mutex.h where one thread does both: it knows of the end of a thread, and finds out who
 * acquires twice. A baton does neither.
 *
 * Model
 * -----
 * One word: free, or the stamp of the process that has it (cshm/participant.h). Threads of one
 * process exclude each other as those of several do. It is not fair; see "Starvation" of
 * cshm/semaphore.h.
 *
 * Who writes what
 * ---------------
 *   the word    everybody while it is free; its owner; if that is dead, who takes it over
 *
 * Ordering
 * --------
 * What an owner did before it released, or died, happens before what the next one does.
 *
 * If a process dies
 * -----------------
 *   having it                       who waits asks the kernel before each sleep, which lasts at most
 *                                   25 ms, and takes it over: its acquire returns 1. The data may be
 *                                   half written: repair it and call cshm_baton_repair(). Released
 *                                   without that, it is -ENOTRECOVERABLE for everybody from then on
 *   having taken it over            the same again
 *   in a release, before the wake   a sleeper looks for itself, after at most 25 ms
 * A stopped process keeps it, and who wants it waits.
 */
#ifndef CSHM_BATON_H
#define CSHM_BATON_H

#include "base.h"
#include "bell.h"

CSHM_BEGIN_DECLS

/** A process's view of a baton. */
typedef struct cshm_baton cshm_baton;

/** Makes one, free. @returns 0, -ENOSPC, -ECHILD (this process has not joined), -EPROTO. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_baton_create(cshm_region *region, uint64_t *offset);

/** Opens the baton at a place. @returns 0, -EPROTO (there is none), -ENOMEM. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_baton_open(cshm_region *region, uint64_t offset,
                                                cshm_baton **out);

/** Drops the view. If this process has the baton, it keeps it until it ends. */
CSHM_EXPORT void cshm_baton_close(cshm_baton *baton);

/** Frees the baton and the view. Nobody may use it afterwards. */
CSHM_EXPORT void cshm_baton_destroy(cshm_baton *baton);

/**
 * Acquires without waiting.
 *
 * @returns 0; 1 (had, and the last owner died); -EAGAIN (a process has it, perhaps this one),
 *          -ENOTRECOVERABLE, -ECHILD. At most two system calls, if another process has it.
 *          Thread-safe, process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_baton_try_acquire(cshm_baton *baton);

/** As cshm_baton_try_acquire(), waiting; -ETIMEDOUT in the place of -EAGAIN. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_baton_acquire_until(cshm_baton *baton, int64_t deadline_ns);

/** Declares the data whole again after an acquire that returned 1. @returns 0, -EINVAL (it was not
 * inherited), -EPERM (this process does not have it). */
CSHM_EXPORT int cshm_baton_repair(cshm_baton *baton);

/** Releases, from any thread. @returns 0 or -EPERM (this process does not have it). */
CSHM_EXPORT int cshm_baton_release(cshm_baton *baton);

/** The process that has it at some instant, or 0. For people. */
CSHM_EXPORT int32_t cshm_baton_holder(const cshm_baton *baton);

/** What to wait for before a try. A look at it asks whether the owner is dead. */
CSHM_EXPORT void cshm_baton_waitable(const cshm_baton *baton, struct cshm_waitable *out);

CSHM_END_DECLS

#endif /* CSHM_BATON_H */
