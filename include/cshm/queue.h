/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Bounded queue of messages, any number of producers and consumers in any processes, that no kill
 * and no stop of any of them can wedge.
 *
 * Model: the swap ring
 * --------------------
 * A cell is one word, {turn, slot}: an even turn is empty, an odd one full, and even an empty cell
 * owns a slot. Every port (one per thread at work) owns one slot, its *hand*. To put, fill the
 * hand and swap it with the slot of the next empty cell by one compare-and-swap, which is the
 * commit; to take, swap the hand with the slot of the next full cell, which is then the port's, to
 * be read in place. There are never holes and never a free list. Turns grow by two a lap, so that a
 * late compare-and-swap fails. `tail` and `head` are hints that may lag. After AOS's lockless
 * queue (frc971), which swaps owned scratch indices in the same way.
 *
 * Who writes what
 * ---------------
 *   cells          anybody, by compare-and-swap only
 *   a port         its owner: {hand, intent} in one word, stored before and after each swap
 *   a slot         whoever owns it: the port whose hand it is
 *   tail, head     anybody; hints
 *
 * If a process dies
 * -----------------
 *   before its swap    nothing was put or taken; its port owns what it owned
 *   after its swap     the message was put, or taken by the dead: a plain take is at-most-once
 *   with a port        whoever next finds no free port reads the dead's word: without an intent
 *                      it owns its hand; with one, exactly one of {hand, intent} is in a cell or
 *                      another's hand, and the dead owned the other
 *   with a long message in its slot    the block belongs to the slot, and is freed by whoever
 *                      next uses that slot
 * A stopped process delays nobody. FULL and EMPTY are linearizable.
 */
#ifndef CSHM_QUEUE_H
#define CSHM_QUEUE_H

#include "base.h"

CSHM_BEGIN_DECLS

/** One process's view of a queue; any number of threads may use it. */
typedef struct cshm_queue cshm_queue;

/** How to make a queue. */
struct cshm_queue_options {
    /** Messages it holds; a power of two, 2 to 2^20. */
    uint32_t capacity;
    /** Bytes of a message that fit without a heap block, 1 to 65536. */
    uint32_t slot_size;
    /** Threads, over all processes, that may be inside a call at once; 0 takes 128. To 4096. */
    uint32_t ports;
    /** What the messages are; cshm_queue_open() refuses another value. */
    uint64_t type_tag;
};

/** A message in a slot of this process's, between claim and commit or take and release. */
struct cshm_message {
    /** Where its bytes are. */
    void *data;
    /** How many there are. */
    uint64_t length;
    /** Private to the library. */
    uint32_t port;
    /** Private to the library. */
    uint32_t slot;
};

/**
 * Lays out a new queue as one heap block of this process's; share it with cshm_heap_share().
 *
 * @returns 0, -EINVAL (an option out of range), -ENOSPC, -ECHILD.
 */
CSHM_EXPORT CSHM_MUST_CHECK int
cshm_queue_create(cshm_region *region, const struct cshm_queue_options *options, uint64_t *offset);

/** Opens a queue. @returns 0, -EPROTO (no queue there, or of another type), -ENOMEM. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_open(cshm_region *region, uint64_t offset,
                                                uint64_t type_tag, cshm_queue **out);

/** Drops this process's view and gives its ports back. No thread may be inside a call. */
CSHM_EXPORT void cshm_queue_close(cshm_queue *queue);

/** Frees the queue and every message in it. Nobody may use it any more. Closes this view too. */
CSHM_EXPORT void cshm_queue_destroy(cshm_queue *queue);

/**
 * Room for one message, to be written in place; commit or abort it on any thread.
 *
 * @returns 0, -ENOSPC (no memory for a long message), -EUSERS (every port is a live thread's),
 *          -ECHILD, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_claim(cshm_queue *queue, uint64_t length,
                                                 struct cshm_message *out);

/** Publishes a claimed message. @returns 0, or -EAGAIN: full, and it is still claimed. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_try_commit(cshm_queue *queue,
                                                      struct cshm_message *message);

/** As cshm_queue_try_commit(), waiting for room. @returns 0, or -ETIMEDOUT: still claimed. */
CSHM_EXPORT CSHM_MUST_CHECK int
cshm_queue_commit_until(cshm_queue *queue, struct cshm_message *message, int64_t deadline_ns);

/** Gives a claimed message up. */
CSHM_EXPORT void cshm_queue_abort(cshm_queue *queue, struct cshm_message *message);

/** Claims, copies and commits. @returns as those; on failure nothing is left claimed. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_try_put(cshm_queue *queue, const void *data,
                                                   uint64_t length);

/** As cshm_queue_try_put(), waiting for room. @returns -ETIMEDOUT in the place of -EAGAIN. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_put_until(cshm_queue *queue, const void *data,
                                                     uint64_t length, int64_t deadline_ns);

/**
 * Takes the oldest message, to be read in place until cshm_queue_release().
 *
 * @returns 0, -EAGAIN (empty), -EUSERS, -ECHILD, -EPROTO (damaged).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_try_take(cshm_queue *queue, struct cshm_message *out);

/** As cshm_queue_try_take(), waiting. @returns -ETIMEDOUT in the place of -EAGAIN. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_take_until(cshm_queue *queue, struct cshm_message *out,
                                                      int64_t deadline_ns);

/** Done with a taken message; its memory goes back. */
CSHM_EXPORT void cshm_queue_release(cshm_queue *queue, struct cshm_message *message);

/** Messages in it, from two looks at its ends; exact when nobody puts or takes meanwhile. */
CSHM_EXPORT uint64_t cshm_queue_count(const cshm_queue *queue);

/** Messages it can hold. */
CSHM_EXPORT uint64_t cshm_queue_capacity(const cshm_queue *queue);

CSHM_END_DECLS

#endif /* CSHM_QUEUE_H */
