/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Waiting for several channels at once, and a descriptor that an event loop can watch.
 *
 * Use cshm_wait_any() in a thread that may block; a bell where something else blocks: epoll, poll,
 * an event loop.
 *
 * Model
 * -----
 * A channel can be waited for wherever it has a parking word (cshm/park.h) and a question, "is it
 * ready?": that is a cshm_waitable. A bell is a datagram socket with a random abstract name. To arm
 * a waitable writes the bell's number beside its parking word and sets a bit in it; a waker that
 * finds the bit sends each bell there a byte, and drops the bit. While nobody has armed anything a
 * waker looks at one word, as always.
 *
 *     for (;;) {
 *         while ((status = cshm_ring_get_until(ring, ..., 0)) == 0) { ... }
 *         if (status != -ETIMEDOUT) {                 // -EPIPE: finished, or its producer is dead
 *             break;
 *         }
 *         if (cshm_bell_arm(bell, &items) == 0) {     // not ready, and armed
 *             epoll_wait(...);                        // cshm_bell_descriptor() is readable
 *             cshm_bell_clear(bell);
 *         }
 *     }
 *
 * Armed once, rung once; a ring may be about something that another has taken meanwhile. An
 * edge-triggered loop (EPOLLET) is told of each ring that comes after a cshm_bell_clear().
 *
 * Who writes what
 * ---------------
 *   numbers beside a parking word    who arms and disarms; a waker, of bells that are gone
 *   its bit                          who arms sets it; a waker drops it
 *
 * Ordering
 * --------
 * A channel makes itself ready before it looks for bells, and a bell is armed before the channel is
 * asked: one of the two sees the other. A ring itself orders nothing; the call that then has a
 * message, or a lock, does.
 *
 * If a process dies
 * -----------------
 *   who armed                  its socket is gone: the next waker's byte is refused, and it clears
 *                              the number
 *   a waker, before it rang    the bit stays: the next waker rings. If there is none, a bell that
 *                              watches the region (cshm_bell_watch()) is told by the kernel, and
 *                              cshm_wait_any() looks by itself, every 25 ms
 *   a waker, after it rang     the bit stays: one needless ring
 *   any, attached              bells that watch the region ring. It has stored nothing before they
 *                              knew of it
 * What the death of a channel's other side means, the channel's header says: a call that waits, with a
 * deadline that has passed, finds it out.
 * Processes in different network namespaces do not hear each other's bells.
 */
#ifndef CSHM_BELL_H
#define CSHM_BELL_H

#include "base.h"
#include "park.h"
#include "region.h"

CSHM_BEGIN_DECLS

enum {
    /** Bells that one waitable can be armed for at a time. */
    CSHM_BELLS_MAX = 15,
    /** Bells of one process that can watch a region at a time. */
    CSHM_WATCHES_MAX = 6,
    /** Waitables in one call of cshm_wait_any(). */
    CSHM_WAIT_MAX = 128,
};

/** Something to wait for; filled by the channel, as by cshm_ring_items(). */
struct cshm_waitable {
    /** Where its waiters sleep. */
    cshm_park *park;
    /** Whether a call that waits would now return, be it with an error. */
    int (*is_ready)(const void *object);
    /** What to ask it of. */
    const void *object;
    /** Whether `park` is the word of a mutex (cshm/mutex.h), which wakes as that does, and has no
     *  room for bells. */
    uint32_t is_mutex;
    /** Whether only threads of this process wake there: whoever waits for nothing else is not woken by
     *  time, as no wake can be missing. */
    uint32_t is_private;
};

/** A descriptor of this process's. */
typedef struct cshm_bell cshm_bell;

/** Makes a bell. @returns 0, -ENOMEM, -EMFILE, or the kernel's. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_bell_create(cshm_bell **out);

/** Drops it. What it was armed for forgets it at the next wake. */
CSHM_EXPORT void cshm_bell_close(cshm_bell *bell);

/** Readable when the bell was rung; owned by the bell. Closed on exec. */
CSHM_EXPORT int cshm_bell_descriptor(const cshm_bell *bell);

/**
 * Has the bell rung when the waitable may have become ready.
 *
 * @returns 1 (it is ready now; the bell may ring all the same), 0 (armed), -EUSERS (CSHM_BELLS_MAX
 *          others of living processes are), -EINVAL (it has no room for bells).
 *          Thread-safe, process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_bell_arm(cshm_bell *bell,
                                              const struct cshm_waitable *waitable);

/** Takes the bell away from the waitable. One last ring may be on its way. */
CSHM_EXPORT void cshm_bell_disarm(cshm_bell *bell, const struct cshm_waitable *waitable);

/**
 * Makes the descriptor unreadable until the next ring. Then look at what was armed: try, and arm again
 * what answers -EAGAIN. One thread at a time.
 */
CSHM_EXPORT void cshm_bell_clear(cshm_bell *bell);

/** Rings the bell oneself, as when what was armed is left ready on purpose. Any thread.
 * @returns 0, or the kernel's. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_bell_ring(const cshm_bell *bell);

/**
 * Has the bell rung also when a process attaches to the region, leaves it or dies, and once now.
 * Whoever then tries what was armed finds what the dead had put without ringing, and the end of
 * streams whose last producer died. One descriptor for each attached process; where the kernel
 * refuses it the bell rings every 25 ms. (A process that replaced itself by exec has left, but is
 * watched until it ends.)
 *
 * @returns 0, -EALREADY, -EUSERS (CSHM_WATCHES_MAX bells of this process do), -ECHILD, -ENOMEM,
 *          -EMFILE. One thread at a time, as cshm_bell_clear().
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_bell_watch(cshm_bell *bell, cshm_region *region);

/** The opposite. To be called, or the bell to be closed, before the region is closed. */
CSHM_EXPORT void cshm_bell_unwatch(cshm_bell *bell, cshm_region *region);

/**
 * Sleeps until one of several is ready.
 *
 * @param waitables    1 to CSHM_WAIT_MAX of them.
 * @param deadline_ns  Absolute; INT64_MAX for ever.
 * @returns the index of one that is ready, the first if several are; -ETIMEDOUT, -EINVAL.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_wait_any(const struct cshm_waitable *waitables, uint32_t count,
                                              int64_t deadline_ns);

/** Wakes another one who waits there, by whom was woken and has no use for it. Async-signal-safe. */
CSHM_EXPORT void cshm_hand_on(const struct cshm_waitable *waitable);

CSHM_END_DECLS

#endif /* CSHM_BELL_H */
