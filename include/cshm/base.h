/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What every other public header needs: the error convention, limits, and attributes.
 *
 * Errors: a function that can fail returns int, 0 (or a positive fact) on success and a negated
 * errno value on failure. It neither reads nor sets errno for its caller. Output parameters are
 * written only on success.
 *
 * Deadlines: absolute CLOCK_MONOTONIC nanoseconds; INT64_MAX waits for ever. A try_ function
 * never blocks.
 *
 * Progress: a function with a deadline, and cshm_park_wait(), block until they can do their work or the
 * time is over. All others wait for nobody, but for the holder of a lock where their headers name one:
 * maps, lists, directories, and the heap's over its spans, which a long message may want. Otherwise
 * the try_ functions of channels and of what one waits at are lock-free: who is stopped or dead in one
 * holds up no other. They make a system call where somebody sleeps who is to be woken, or has armed a
 * bell, and now and then to find out who is dead.
 *
 * What follows holds for every function, unless its own comment or its header says otherwise.
 *
 * Who may call
 * ------------
 * Any thread of any process that has joined the region, several at once; no signal handler. What
 * is one thread's at a time may pass from thread to thread where the program orders that. _init and
 * _create come before all else; nobody is inside a call on what _close drops, and nobody uses what
 * _destroy frees. A child of fork() joins first (cshm/region.h), and has none of its parent's roles,
 * locks, tokens and messages.
 *
 * Ordering
 * --------
 * What one call gives and another one gets (a message, a lock, a value, a name) comes with all
 * that the giver wrote before: that happens before what the getter does next. So does all that a
 * dead process wrote, for whoever takes over what it had. What is only counted or described orders
 * nothing.
 *
 * If a process dies
 * -----------------
 * A process may be killed at any instruction. A call that it was in has then done all that it does or
 * nothing, and of several things done one after the other the first ones. What it had only begun is
 * taken back or completed by whoever comes upon it, or by cshm_region_reap(). A missing wake delays
 * and loses nothing: who waits looks for itself at least every 25 ms. Dead is who the kernel says is dead,
 * never who is late: a stopped process is alive.
 */
#ifndef CSHM_BASE_H
#define CSHM_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define CSHM_BEGIN_DECLS extern "C" {
#define CSHM_END_DECLS   }
#else
#define CSHM_BEGIN_DECLS
#define CSHM_END_DECLS
#endif

#define CSHM_EXPORT     __attribute__((visibility("default")))
#define CSHM_MUST_CHECK __attribute__((warn_unused_result))

enum {
    /** Longest region name, in bytes, without its terminator. */
    CSHM_NAME_MAX = 200,
    /** Bytes in a region's identity. */
    CSHM_UUID_BYTES = 16,
};

/** A mapped shared-memory region; see cshm/region.h. */
typedef struct cshm_region cshm_region;

CSHM_BEGIN_DECLS

/**
 * The clock of every deadline.
 *
 * @returns CLOCK_MONOTONIC in nanoseconds. Thread-safe, async-signal-safe.
 */
CSHM_EXPORT int64_t cshm_now_ns(void);

CSHM_END_DECLS

#endif /* CSHM_BASE_H */
