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
 * Two 64-bit counters only ever grow: `tail` counts messages put, `head` messages released. Each
 * side keeps its last sight of the other's counter and looks again only when that says full or
 * empty (Rigtorp's cached indices). A message up to the slot's size lies in the slot; a longer one
 * in a heap block that belongs to the slot.
 *
 * Who may touch what
 * ------------------
 *   tail, and slots head + capacity > i >= tail    the producer
 *   head, and slots tail > i >= head               the consumer
 *
 * If a process dies
 * -----------------
 * The store of `tail` or `head` is each operation's last step. A producer that dies before it put
 * nothing; a consumer that dies before it released nothing, and whoever takes over the role is
 * given the same message again: exactly-once hand-over is the caller's, at-least-once is the
 * ring's. A block of a message that was never published is freed with the slot's next use.
 */
#ifndef CSHM_RING_H
#define CSHM_RING_H

#include "base.h"

CSHM_BEGIN_DECLS

/** One process's view of a ring. A handle serves one side at a time. */
typedef struct cshm_ring cshm_ring;

/**
 * Lays out a new ring as one heap block of this process's; share it with cshm_heap_share().
 *
 * @param capacity   Messages; a power of two, 2 to 2^20.
 * @param slot_size  Bytes of a message that fit without a heap block, 1 to 65536.
 * @param offset     Receives its place.
 * @returns 0, -EINVAL, -ENOSPC, -ECHILD.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_create(cshm_region *region, uint32_t capacity,
                                                 uint32_t slot_size, uint64_t *offset);

/** Opens a ring at its place. @returns 0, -EPROTO (no ring there), -ENOMEM. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_open(cshm_region *region, uint64_t offset,
                                               cshm_ring **out);

/** Drops this process's view. */
CSHM_EXPORT void cshm_ring_close(cshm_ring *ring);

/** Frees the ring and every message in it. Nobody may use it any more. Closes this view too. */
CSHM_EXPORT void cshm_ring_destroy(cshm_ring *ring);

/**
 * Producer: room for one message, to be written in place.
 *
 * @param length  Bytes.
 * @param data    Receives where to write them.
 * @returns 0, -EAGAIN (full), -ENOSPC (no memory for a long message), -EPROTO (damaged).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_try_claim(cshm_ring *ring, uint64_t length, void **data);

/** Producer: publishes the claimed message and wakes the consumer if it sleeps. */
CSHM_EXPORT void cshm_ring_commit(cshm_ring *ring);

/** Producer: claim, copy and commit. @returns as cshm_ring_try_claim(). */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_try_put(cshm_ring *ring, const void *data,
                                                  uint64_t length);

/** Producer: as cshm_ring_try_put(), waiting for room. @returns -ETIMEDOUT in place of -EAGAIN. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_put_until(cshm_ring *ring, const void *data,
                                                    uint64_t length, int64_t deadline_ns);

/**
 * Consumer: the oldest message, in place, until cshm_ring_release().
 *
 * @returns 0, -EAGAIN (empty), -EPROTO (damaged).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_try_peek(cshm_ring *ring, const void **data,
                                                   uint64_t *length);

/** Consumer: as cshm_ring_try_peek(), waiting. @returns -ETIMEDOUT in the place of -EAGAIN. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_ring_peek_until(cshm_ring *ring, const void **data,
                                                     uint64_t *length, int64_t deadline_ns);

/** Consumer: done with the message. The block of a long one goes back with its slot's next use. */
CSHM_EXPORT void cshm_ring_release(cshm_ring *ring);

/** Messages in it at some instant of the call. */
CSHM_EXPORT uint64_t cshm_ring_count(const cshm_ring *ring);

CSHM_END_DECLS

#endif /* CSHM_RING_H */
