/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Something that is done once, by whoever comes first, whichever process that is.
 *
 * Model
 * -----
 * One word: new, running and by whom, or done. Who finds it new becomes its runner, does the work,
 * and says that it is done; everybody else waits for that, and from then on goes on after one load.
 *
 *     int status = cshm_once_begin_until(region, once, INT64_MAX);
 *     if (status > 0) {                       // this thread is the runner
 *         do_it(status == CSHM_ONCE_RUN_AGAIN);
 *         status = cshm_once_end(region, once, 1);
 *     }
 *
 * Who writes what
 * ---------------
 *   word    who becomes the runner; then the runner
 *
 * Ordering
 * --------
 * What the runner did happens before what is done by whoever has seen that it is done. So does what one
 * did that gave up, or died, for the next runner.
 *
 * If a process dies
 * -----------------
 *   before it is the runner          nothing
 *   as the runner                    one who waits, or the next who comes, is the runner: it gets
 *                                    CSHM_ONCE_RUN_AGAIN, as the work may be half done. Those asleep
 *                                    look at who lives every 25 ms
 *   done, before its wake            it is done; sleepers see it after at most 25 ms
 * A stopped runner is alive: the others wait. A runner that begins it again waits for itself.
 */
#ifndef CSHM_ONCE_H
#define CSHM_ONCE_H

#include "base.h"
#include "bell.h"

CSHM_BEGIN_DECLS

/** It lives in shared memory, aligned to 8 bytes, and to 128 if bells are to be armed for it. Its
 *  bytes are private. */
typedef struct cshm_once {
    /** Private to the library. */
    uint64_t bytes[32];
} cshm_once;

enum {
    /** The caller is to do it. */
    CSHM_ONCE_RUN = 1,
    /** The caller is to do it, and one who began it died in it. */
    CSHM_ONCE_RUN_AGAIN = 2,
};

/** Makes it new. Nobody else may use it before this returned. */
CSHM_EXPORT void cshm_once_init(cshm_once *once);

/** Whether it is done: 1, 0, or -EPROTO (these bytes are none). One load. Thread-safe. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_once_is_done(const cshm_once *once);

/**
 * Becomes its runner, if nobody is and it is not done.
 *
 * @returns 0 (done), CSHM_ONCE_RUN, CSHM_ONCE_RUN_AGAIN, -EAGAIN (another living one runs it),
 *          -ECHILD, -EPROTO. Thread-safe, process-safe; asks the kernel whether a runner lives.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_once_try_begin(cshm_region *region, cshm_once *once);

/**
 * As cshm_once_try_begin(), waiting while another runs it.
 *
 * @param deadline_ns  Absolute; INT64_MAX for ever.
 * @returns 0 (done), CSHM_ONCE_RUN, CSHM_ONCE_RUN_AGAIN, -ETIMEDOUT, -ECHILD, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_once_begin_until(cshm_region *region, cshm_once *once,
                                                      int64_t deadline_ns);

/**
 * Ends what a begin made this process's.
 *
 * @param done  Whether it is done; if 0, it is new again, and the next one runs it.
 * @returns 0, -EPERM (this process does not run it), -EPROTO. Thread-safe, process-safe.
 */
CSHM_EXPORT int cshm_once_end(cshm_region *region, cshm_once *once, int done);

/** What to wait for with cshm_wait_any() or a bell: that nobody runs it. A runner's death makes
 *  nothing ready. */
CSHM_EXPORT void cshm_once_waitable(cshm_once *once, struct cshm_waitable *out);

CSHM_END_DECLS

#endif /* CSHM_ONCE_H */
