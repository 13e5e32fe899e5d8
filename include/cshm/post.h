/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * File descriptors from process to process, beside a channel of one consumer.
 *
 * Use it with a ring whose messages name descriptors: what lies in shared memory is only a ticket.
 *
 * Model
 * -----
 * Who takes from the ring opens the box of that ring: a datagram socket with an abstract name made of
 * the region's uuid and the ring's place, which one process at a time can have. Who puts sends the
 * descriptors to the box under a ticket, then puts the message that has the ticket in it; so they are
 * in the box when the message is seen. A process of another user is not heard, though it may know
 * the name.
 *
 *     cshm_ring_try_claim(ring, ...);                        cshm_ring_try_peek(ring, ...);
 *     cshm_post_send(region, offset, ticket, &fd, 1);        cshm_post_take(post, ticket, &fd, 1);
 *     cshm_ring_commit(ring);                                cshm_ring_release(ring);
 *
 * Who writes what
 * ---------------
 *   the box    the kernel; nothing of it is in the region
 *
 * Ordering
 * --------
 * Descriptors that were sent before their message was put are in the box when the message is seen.
 *
 * If a process dies
 * -----------------
 *   sender, before it sent               its own descriptor goes with it
 *   sender, before it put the message    descriptors in the box without a message: closed with the
 *                                        box, or when those of a later message are taken
 *   sender, after that                   nothing: they are in the box
 *   receiver, before it took them        the kernel closes the box and all that is in it. The
 *                                        message stays, and its ticket is then of no use: -ENOENT
 *   receiver, after that                 they go with it, like any of its own
 * Processes in different network namespaces do not find each other's boxes.
 */
#ifndef CSHM_POST_H
#define CSHM_POST_H

#include "base.h"

CSHM_BEGIN_DECLS

enum {
    /** Descriptors under one ticket. */
    CSHM_POST_MAX = 64,
};

/** A box of this process's; for one thread at a time. */
typedef struct cshm_post cshm_post;

/**
 * Opens the box of the object at a place.
 *
 * @returns 0, -EADDRINUSE (another has it, or its owner is just dying), -ENOMEM, -EMFILE, or the
 *          kernel's.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_post_open(const cshm_region *region, uint64_t offset,
                                               cshm_post **out);

/** Closes the box, and every descriptor in it. */
CSHM_EXPORT void cshm_post_close(cshm_post *post);

/**
 * Sends descriptors to the box of the object at a place; the caller keeps its own.
 *
 * @param ticket  What the receiver will ask for; used once.
 * @param count   1 to CSHM_POST_MAX.
 * @returns 0, -ECONNREFUSED (nobody has the box open), -EAGAIN (the box is full), -EINVAL (the
 *          count), -EBADF, -ETOOMANYREFS (too many are on their way), or the kernel's. Nothing was
 *          sent then. Thread-safe, process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_post_send(const cshm_region *region, uint64_t offset,
                                               uint64_t ticket, const int *descriptors,
                                               uint32_t count);

/**
 * Takes the descriptors of a ticket out of the box; they are the caller's, and close on exec.
 *
 * @param capacity  Of `descriptors`; at least as many as were sent.
 * @returns how many they are; -ENOENT (not in the box: they went with an earlier receiver),
 *          -EMFILE (the process has no room for them; they are lost), -EMSGSIZE (the capacity; they
 *          are lost), -ENOMEM, or the kernel's.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_post_take(cshm_post *post, uint64_t ticket, int *descriptors,
                                               uint32_t capacity);

CSHM_END_DECLS

#endif /* CSHM_POST_H */
