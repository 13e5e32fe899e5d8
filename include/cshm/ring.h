/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Bounded ring of messages from one producer to one consumer, in two processes or threads.
 *
 * Use it when exactly one thread at a time puts and exactly one takes; for more than one of
 * either, use cshm/queue.h, which costs a compare-and-swap more on each side.
 *
 * Model
 * -----
 * Two rows of slots, each used round and round. While the ring is nearly empty, messages go through a
 * window of up to 16 slots: each has a word beside its bytes, in the same cache line, that says whether
 * its message is there, so that the consumer needs to look nowhere else, and both sides keep what they
 * work on close. When the window is full, they go through the row of `capacity` slots, which lie as
 * close together as they can: `tail` says how many are there, and each side looks at the other's
 * counter only when its last sight of it says empty or full. Who puts decides with each message where
 * the next one goes, and says so beside it; a batch always goes through the row. Neither can be told
 * from outside, but by the time it takes.
 *
 * `head` counts messages released. A message up to the slot's size lies in the slot; a longer one in a
 * heap block that belongs to the slot, which keeps it for its next message of about that length.
 * Messages of just the slot's size are the fastest: the others
 * have their length written beside them. Neither side ever does a read-modify-write.
 *
 * To put or to get, a handle needs the role: cshm_ring_become_producer(), _consumer(). A role has
 * one owner at a time; it passes on when the owner closes its handle or, certified by the kernel,
 * is dead. Time-outs pass on nothing: a stopped owner is alive.
 *
 *     cshm_ring_become_producer(ring);              cshm_ring_become_consumer(ring);
 *     cshm_ring_put_until(ring, &x, 8, deadline);   cshm_ring_get_until(ring, &x, 8, &n, deadline);
 *     cshm_ring_finish(ring);                       // -EPIPE, when all are taken
 *
 * Batches: claim or peek at index 0, 1, 2, ..., then commit or release that many at once. A batch is put
 * as a whole.
 *
 * Who may touch what
 * ------------------
 *   tail, where the window is, slots not in use    the producer
 *   head                                           the consumer; it reads the slots in use
 *   state                                          the producer to finish, anybody to cancel
 *
 * Ordering
 * --------
 * What the producer did before it put a message happens before what the consumer does that was given
 * it; what the consumer did before it released one, before what is written over it. Who takes a role
 * over has all that its last owner stored.
 *
 * If a process dies
 * -----------------
 *   producer, before the word, or tail              nothing was put, nor anything of a batch; the slot's
 *                                                   next use takes the block of a long message, or
 *                                                   frees it
 *   producer, after it                              the message is put; who becomes the producer next
 *                                                   counts it
 *   consumer, before head                           its successor is given the message again
 *   consumer, after head                            the message is released
 *   either, before it woke the other                the sleeper finds out after at most 25 ms
 *   owner of a role                                 the role is free, once the kernel certifies it
 *
 * So a hand-over to a new consumer is at-least-once, and one to a new producer loses nothing that
 * a put has returned for. A consumer that waits on an empty ring whose producer is dead is given
 * -EPIPE, as is a producer that waits on a full ring whose consumer is dead. That is true of the
 * moment: if a successor takes over, the ring works again.
 */
#ifndef CSHM_RING_H
#define CSHM_RING_H

#include "base.h"
#include "bell.h"

CSHM_BEGIN_DECLS

/** One process's view of a ring. Each role of it serves one thread at a time. */
typedef struct cshm_ring cshm_ring;

/**
 * Lays out a new ring as one heap block of this process's; share it with cshm_heap_share().
 *
 * @param capacity   Messages; a power of two, 2 to 2^20.
 * @param slot_size  Bytes of a message that fit without a heap block, 1 to 65536. Up to 48 they
 *                   share a cache line with what says that the message is there.
 * @param offset     Receives its place. It takes the capacity times the slot's size and 16, and some
 *                   KiB for the window.
 * @returns 0, -EINVAL, -ENOSPC, -ECHILD, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_create(cshm_region *region, uint32_t capacity,
                                                 uint32_t slot_size, uint64_t *offset);

/** Opens a ring at its place, without a role. @returns 0, -EPROTO (no ring there, or no place where one
 * can be), -ENOMEM. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_open(cshm_region *region, uint64_t offset,
                                               cshm_ring **out);

/** Gives up the roles of this view, and drops it. The stream goes on: see cshm_ring_finish(). */
CSHM_EXPORT void cshm_ring_close(cshm_ring *ring);

/** Frees the ring and every message in it. Nobody may use it any more. Closes this view too. */
CSHM_EXPORT void cshm_ring_destroy(cshm_ring *ring);

/* ---- roles, and the end: one thread at a time for each view, but to cancel ---- */

/**
 * Makes this view the one that puts.
 *
 * @returns 0 (nobody had the role), 1 (whoever had it is dead; all that it put is in the ring, all
 *          that it only claimed is not), -EBUSY (it lives, or is another view of this process;
 *          for a moment also of one who is just being buried),
 *          -EALREADY, -ECHILD (this process has not joined the region), -EPROTO (damaged).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_become_producer(cshm_ring *ring);

/**
 * Makes this view the one that takes.
 *
 * @returns as cshm_ring_become_producer(); 1 means that the first message, or the first few, may
 *          have been worked on already by the dead.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_become_consumer(cshm_ring *ring);

/**
 * Producer: ends the stream. The consumer takes what is in the ring, then gets -EPIPE; every put,
 * a successor's too, gets -EPIPE at once.
 *
 * @returns 0, also if it has ended already; -EPERM (not the producer).
 */
CSHM_EXPORT int cshm_ring_finish(cshm_ring *ring);

/** Anybody: ends it now. From here on, every call of either side returns -ECANCELED. */
CSHM_EXPORT void cshm_ring_cancel(cshm_ring *ring);

/* ---- the producer: one thread at a time ---- */

/**
 * Room for one message, to be written in place.
 *
 * @param length  Bytes.
 * @param data    Receives where to write them; aligned to 16, or to 8 if the slot's size is no more than
 *                that; to 128 if the length is at least that and beyond the slot's size.
 * @returns 0, -EAGAIN (full), -ENOSPC (no memory for a long message), -EPIPE (finished),
 *          -ECANCELED, -EPERM (not the producer; a child of fork() is not), -EPROTO (damaged).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_try_claim(cshm_ring *ring, uint64_t length, void **data);

/**
 * As cshm_ring_try_claim(), for the message that is to be put `index` messages after the next.
 * Claim the indices of a batch in order, then commit them together. To claim one again gives up what
 * was claimed there before.
 *
 * @returns as cshm_ring_try_claim(); -EINVAL (the index before it is not claimed, or it is not below
 *          the capacity).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_try_claim_at(cshm_ring *ring, uint32_t index,
                                                       uint64_t length, void **data);

/** Puts the message claimed first, and wakes the consumer if it sleeps. Without one, does nothing. */
CSHM_EXPORT void cshm_ring_commit(cshm_ring *ring);

/** Puts the messages claimed at the indices below `count`, in order; one wake for all. Of fewer that
 * were claimed it puts those; claims beyond `count` are given up. */
CSHM_EXPORT void cshm_ring_commit_many(cshm_ring *ring, uint32_t count);

/** Claims, copies and commits. @returns as cshm_ring_try_claim(). */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_try_put(cshm_ring *ring, const void *data,
                                                  uint64_t length);

/**
 * Puts up to `count` messages of `length` bytes each, which lie side by side.
 *
 * @returns how many, at least 1; or as cshm_ring_try_claim(); -EINVAL (a count of 0, or above
 *          INT32_MAX).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_try_put_many(cshm_ring *ring, const void *data,
                                                       uint64_t length, uint32_t count);

/**
 * As cshm_ring_try_put(), waiting for room.
 *
 * @returns -ETIMEDOUT in place of -EAGAIN; -EPIPE also if the consumer is dead. With a deadline
 *          that has passed it does not sleep, but does ask whether the consumer lives.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_put_until(cshm_ring *ring, const void *data,
                                                    uint64_t length, int64_t deadline_ns);

/* ---- the consumer: one thread at a time ---- */

/**
 * The oldest message, in place, until it is released.
 *
 * @returns 0, -EAGAIN (empty), -EPIPE (finished, and empty), -ECANCELED, -EPERM (not the
 *          consumer; a child of fork() is not), -EPROTO (damaged).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_try_peek(cshm_ring *ring, const void **data,
                                                   uint64_t *length);

/** As cshm_ring_try_peek(), for the message `index` after the oldest; in order. @returns as
 * cshm_ring_try_peek(); -EINVAL (the one before it was not peeked at). */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_try_peek_at(cshm_ring *ring, uint32_t index,
                                                      const void **data, uint64_t *length);

/**
 * As cshm_ring_try_peek(), waiting.
 *
 * @returns -ETIMEDOUT in place of -EAGAIN; -EPIPE also if the producer is dead and the ring empty.
 *          With a deadline that has passed it does not sleep, but does ask whether it lives.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_peek_until(cshm_ring *ring, const void **data,
                                                     uint64_t *length, int64_t deadline_ns);

/** Done with the oldest message, if it was peeked at. The block of a long one goes back with its slot's next use. */
CSHM_EXPORT void cshm_ring_release(cshm_ring *ring);

/** Done with the `count` oldest messages; at most those that were peeked at. */
CSHM_EXPORT void cshm_ring_release_many(cshm_ring *ring, uint32_t count);

/**
 * Peeks, copies and releases.
 *
 * @param size    Bytes that fit into `data`.
 * @param length  Receives the message's.
 * @returns as cshm_ring_try_peek(); -EMSGSIZE (it does not fit, and stays).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_try_get(cshm_ring *ring, void *data, uint64_t size,
                                                  uint64_t *length);

/**
 * Takes up to `count` messages of exactly `length` bytes each, and lays them side by side.
 *
 * @returns how many, at least 1; or as cshm_ring_try_peek(); -EMSGSIZE (the oldest has another
 *          length, and stays); -EINVAL (a count of 0, or above INT32_MAX).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_try_get_many(cshm_ring *ring, void *data, uint64_t length,
                                                       uint32_t count);

/** As cshm_ring_try_get(), waiting. @returns as cshm_ring_peek_until(); -EMSGSIZE. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_get_until(cshm_ring *ring, void *data, uint64_t size,
                                                    uint64_t *length, int64_t deadline_ns);

/* ---- anybody ---- */

/** Consumer: to wait for a message, or for the end, beside other things; see cshm/bell.h. An empty ring
 * is ready, too, when its producer is dead, which cshm_ring_peek_until() with a deadline that has
 * passed says by -EPIPE, and a try does not. */
CSHM_EXPORT void cshm_ring_items(cshm_ring *ring, struct cshm_waitable *out);

/** Producer: to wait for room, for the end, or for the consumer's death, beside other things. */
CSHM_EXPORT void cshm_ring_room(cshm_ring *ring, struct cshm_waitable *out);

/**
 * Whether the owner of the producer's role is dead. @returns 1 (dead, and nobody has the role since),
 * 0 (it lives, or nobody has the role yet). Anybody; thread-safe; a system call or two.
 */
CSHM_EXPORT int cshm_ring_producer_is_gone(const cshm_ring *ring);

/** Whether the owner of the consumer's role is dead. @returns as cshm_ring_producer_is_gone(). */
CSHM_EXPORT int cshm_ring_consumer_is_gone(const cshm_ring *ring);

/** Messages in it at some instant of the call. If one is taken during each of 65 looks, it may be more by
 *  what was put during the last. Anybody; thread-safe, process-safe. */
CSHM_EXPORT uint64_t cshm_ring_count(const cshm_ring *ring);

CSHM_END_DECLS

#endif /* CSHM_RING_H */
