/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Messages from any number of publishers to every subscriber, in one order, in any processes.
 *
 * Use it when each message is for everybody. To share messages out among consumers use
 * cshm/queue.h; to gather them from many producers, cshm/lanes.h.
 *
 * Model
 * -----
 * A cell is one word, {turn, end, slot}. The message at position p lies in the slot of cell
 * p mod capacity while the cell's turn is p / capacity + 1. To publish, fill a slot of one's own
 * and swap it, by one compare-and-swap, into the next cell, whatever that holds; the slot that was
 * there is the publisher's from then on. After AOS's lockless queue (frc971).
 *
 * A *lossless* subscriber sees every message from the position at which it joined. Publishers wait
 * for it: a position may be overwritten only below `floor`, and whoever raises the floor looks at
 * every lossless cursor first. An *overwriting* subscriber is waited for by nobody: it sees what is
 * still there when it looks, and the exact number of those that were not. It reads in place too:
 * it pins the slot and looks at the cell again; a publisher that got a pinned slot changes it for a
 * spare one, and there are as many spares as there can be pins.
 *
 * With a byte limit the oldest long messages make room for new ones: an empty slot is swapped into the
 * cell of one, which is lost to overwriting subscribers that have not read it. What has to go follows
 * from a sum that each slot carries along.
 *
 * To finish is to set the end bit of the cell at the tail: nothing is published at that position
 * or after it, and each subscriber's stream ends there.
 *
 * Who writes what
 * ---------------
 *   cells, spares       publishers, by compare-and-swap; the end bit, anybody by the same
 *   a publisher's line  its owner: {hand, intent} in one word, before and after each swap; the same
 *                       of the empty slot that it drops messages by
 *   a subscriber's line its owner: cursor, pin
 *   a slot              whoever owns it: the publisher whose hand it is, once nobody pins it
 *   floor, its target   publishers, by compare-and-swap; they only grow
 *   tail                anybody; a hint that may lag
 *
 * Ordering
 * --------
 * What a publisher did before a commit that returned 0 happens before what a subscriber does that
 * was given the message. All subscribers see messages in the same order, that of their positions, in
 * which each publisher's are as it published them.
 *
 * If a process dies
 * -----------------
 *   publisher, before its swap        nothing was published; its line owns what it owned
 *   publisher, after its swap         the message is published
 *   publisher, dropping one           the message is there or lost; its block is the line's
 *   either                            whoever finds no free line takes the dead's: without an
 *                                     intent it owned its hand; with one, exactly one of the two
 *                                     is in a cell, a spare or another's hand, and it owned the
 *                                     other. A long message's block belongs to its slot
 *   lossless subscriber               publishers that it holds up ask the kernel, and drop it
 *   overwriting subscriber            its pin keeps one slot until its line is used again
 *   any, joining                      JOINING, which holds nobody up; the line is used again
 *   the last publisher                the stream is finished by the subscribers
 *   who finishes, before the end bit  whoever meets the flag sets the bit
 * A stopped publisher delays nobody. A stopped overwriting subscriber delays nobody. A stopped
 * lossless subscriber holds all publishers up when the ring is full: that is what lossless means.
 */
#ifndef CSHM_BROADCAST_H
#define CSHM_BROADCAST_H

#include "base.h"
#include "bell.h"

CSHM_BEGIN_DECLS

/** One process's view of a broadcast; any number of threads may use it. */
typedef struct cshm_broadcast cshm_broadcast;

/** One publisher; one thread at a time may use it. */
typedef struct cshm_publisher cshm_publisher;

/** One subscriber; one thread at a time may use it. */
typedef struct cshm_subscriber cshm_subscriber;

/** How to make a broadcast. */
struct cshm_broadcast_options {
    /** Messages it keeps; a power of two, 2 to 2^20. */
    uint32_t capacity;
    /** Bytes of a message that fit without a heap block, 1 to 65536. */
    uint32_t slot_size;
    /** Publishers at a time, over all processes, 1 to 1024; 0 takes 16. */
    uint32_t publishers;
    /** Subscribers at a time, over all processes, 1 to 1024; 0 takes 64. */
    uint32_t subscribers;
    /** What the messages are; cshm_broadcast_open() refuses another value. */
    uint64_t type_tag;
    /** Bytes that messages longer than slot_size may take together while they are kept; 0: no limit. A
     *  message for which the oldest have to go before a lossless subscriber has read them waits, as
     *  if the ring were full. Not counted are those that publishers have claimed, and one for each
     *  overwriting subscriber that reads it just then. */
    uint64_t byte_limit;
};

/** What a broadcast is and holds; for monitors, in any process. */
struct cshm_broadcast_info {
    /** As cshm_broadcast_count(). */
    uint64_t count;
    /** Messages it keeps. */
    uint64_t capacity;
    /** How many of those published the slowest lossless subscriber has yet to read. */
    uint64_t behind;
    /** Bytes of heap blocks that messages take, those that publishers have claimed among them. */
    uint64_t bytes;
    /** The limit on them, or 0. */
    uint64_t byte_limit;
    /** Publishers that have joined and not left, those of processes not yet found dead among them. */
    uint32_t publishers;
    /** Subscribers, likewise. */
    uint32_t subscribers;
    /** 1 once it is finished. */
    uint8_t finished;
    /** 1 once it is cancelled. */
    uint8_t cancelled;
};

/** What a subscriber does when it is slower than the publishers. */
enum cshm_subscription {
    /** It is waited for. */
    CSHM_LOSSLESS = 1,
    /** It loses the oldest messages, and is told how many. */
    CSHM_OVERWRITE = 2,
};

/** A message in place, until it is released. */
struct cshm_broadcast_message {
    /** Where its bytes are. */
    const void *data;
    /** How many there are. */
    uint64_t length;
    /** How many were published before it, by all publishers. */
    uint64_t position;
};

/**
 * Lays out a new broadcast as one heap block of this process's; share it with cshm_heap_share().
 *
 * @param options  The sizes; see there.
 * @param offset   Receives its place.
 * @returns 0, -EINVAL (an option out of range), -ENOSPC, -ECHILD, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_broadcast_create(cshm_region *region,
                                                      const struct cshm_broadcast_options *options,
                                                      uint64_t *offset);

/** Opens a broadcast. @returns 0, -EPROTO (none there, or of another type), -ENOMEM. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_broadcast_open(cshm_region *region, uint64_t offset,
                                                    uint64_t type_tag, cshm_broadcast **out);

/** Drops this process's view. Its publishers and subscribers must have left. */
CSHM_EXPORT void cshm_broadcast_close(cshm_broadcast *broadcast);

/** Frees the broadcast and every message in it. Nobody may use it any more. Closes this view. */
CSHM_EXPORT void cshm_broadcast_destroy(cshm_broadcast *broadcast);

/**
 * Nothing more may be published; what was is delivered, and then each subscriber gets -EPIPE.
 * Exact: a message whose commit returned 0 is before the end. Idempotent, for every process.
 *
 * @returns 0, or -EPROTO (damaged). Lock-free.
 */
CSHM_EXPORT int cshm_broadcast_finish(cshm_broadcast *broadcast);

/** Nothing may be published or read any more; those who wait are told. Idempotent. */
CSHM_EXPORT void cshm_broadcast_cancel(cshm_broadcast *broadcast);

/** Messages published so far, true at some instant of the call. */
CSHM_EXPORT uint64_t cshm_broadcast_count(const cshm_broadcast *broadcast);

/** Messages it keeps. */
CSHM_EXPORT uint64_t cshm_broadcast_capacity(const cshm_broadcast *broadcast);

/** Writes what the broadcast is and holds; a walk over its slots. Thread-safe, process-safe. */
CSHM_EXPORT void cshm_broadcast_describe(const cshm_broadcast *broadcast,
                                         struct cshm_broadcast_info *out);

/** Subscribers that have joined and not left; the dead are found, and dropped. System calls. */
CSHM_EXPORT uint32_t cshm_broadcast_subscribers(cshm_broadcast *broadcast);

/* ---- publishing: a publisher serves one thread at a time; what it claimed goes with its process ---- */

/**
 * Joins as a publisher. When at least one had joined and none is left, because it left or died,
 * the broadcast is finished.
 *
 * @param out  Receives the publisher.
 * @returns 0, -EUSERS (as many publishers live as there may be), -EPIPE (finished), -ECANCELED,
 *          -ECHILD, -EPROTO, -ENOMEM. System calls only when the dead have to be found.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_publisher_join(cshm_broadcast *broadcast,
                                                    cshm_publisher **out);

/** Leaves; what is claimed is given up. Frees the handle. */
CSHM_EXPORT void cshm_publisher_leave(cshm_publisher *publisher);

/**
 * Room for one message, to be written in place; a second claim replaces the first.
 *
 * @param length  Bytes.
 * @param data    Receives where to write them.
 * @returns 0, -ENOSPC (no memory for a long message), -EMSGSIZE (longer than the byte limit), -EPIPE
 *          (finished), -ECANCELED, -ECHILD (in a forked child), -EPROTO (damaged).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_publisher_claim(cshm_publisher *publisher, uint64_t length,
                                                     void **data);

/**
 * Publishes the claimed message.
 *
 * @returns 0; or, and it is still claimed, -EAGAIN (the slowest lossless subscriber has no room),
 *          -EPIPE, -ECANCELED, -EPROTO; -EINVAL (nothing is claimed). Lock-free.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_publisher_try_commit(cshm_publisher *publisher);

/** As cshm_publisher_try_commit(), waiting for room. @returns -ETIMEDOUT in place of -EAGAIN. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_publisher_commit_until(cshm_publisher *publisher,
                                                            int64_t deadline_ns);

/** Gives the claimed message up, and its memory back. */
CSHM_EXPORT void cshm_publisher_abort(cshm_publisher *publisher);

/** Claims, copies and commits. @returns as those; on failure nothing is left claimed. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_publisher_try_put(cshm_publisher *publisher, const void *data,
                                                       uint64_t length);

/** As cshm_publisher_try_put(), waiting for room. @returns -ETIMEDOUT in the place of -EAGAIN. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_publisher_put_until(cshm_publisher *publisher,
                                                         const void *data, uint64_t length,
                                                         int64_t deadline_ns);

/**
 * Publishes messages of one length that lie side by side, as many as there is room for now, and
 * wakes subscribers once. Others' messages may come between them.
 *
 * @param data    The first one.
 * @param length  Bytes of each; the next one is so far on.
 * @param count   How many, 1 to INT32_MAX.
 * @returns how many were published, the first ones, at least 1; or why none was, as
 *          cshm_publisher_try_put(), and -EINVAL.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_publisher_try_put_many(cshm_publisher *publisher,
                                                            const void *data, uint64_t length,
                                                            uint32_t count);

/** As cshm_publisher_try_put_many(), waiting until all are put or the deadline passes. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_publisher_put_many_until(cshm_publisher *publisher,
                                                              const void *data, uint64_t length,
                                                              uint32_t count, int64_t deadline_ns);

/* ---- subscribing: a subscriber serves one thread at a time ---- */

/**
 * Joins as a subscriber. One may join after the end, to read the history.
 *
 * @param kind     An enum cshm_subscription.
 * @param history  How many messages of the past it wants; it gets the last ones that are still
 *                 there. 0 begins with what is published from now on; UINT64_MAX takes all. To a
 *                 lossless subscriber, only 7/8 of the capacity, less one, can be promised, and
 *                 with a byte limit what has not been dropped.
 * @param out      Receives the subscriber.
 * @returns 0, -EINVAL, -EUSERS (as many live as there may be), -ECANCELED, -ECHILD, -EPROTO,
 *          -ENOMEM. System calls only when the dead have to be found.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_subscriber_join(cshm_broadcast *broadcast, uint32_t kind,
                                                     uint64_t history, cshm_subscriber **out);

/** Leaves, and holds nobody up any more. Frees the handle. */
CSHM_EXPORT void cshm_subscriber_leave(cshm_subscriber *subscriber);

/**
 * The next message, in place until it is released; again and again the same one until then.
 *
 * @param out  Receives it.
 * @returns 0, -EAGAIN (none yet), -EPIPE (the end), -ECANCELED, -ECHILD (in a forked child),
 *          -EPROTO (damaged). Lock-free.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_subscriber_try_peek(cshm_subscriber *subscriber,
                                                         struct cshm_broadcast_message *out);

/** As cshm_subscriber_try_peek(), waiting. @returns -ETIMEDOUT in the place of -EAGAIN. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_subscriber_peek_until(cshm_subscriber *subscriber,
                                                           struct cshm_broadcast_message *out,
                                                           int64_t deadline_ns);

/**
 * The next messages, in place until they are released; an overwriting subscriber gets one.
 *
 * @param out  Receives them.
 * @param max  Most of them, 1 to INT32_MAX.
 * @returns how many, at least 1; or why none, as cshm_subscriber_try_peek(), and -EINVAL.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_subscriber_try_peek_many(cshm_subscriber *subscriber,
                                                              struct cshm_broadcast_message *out,
                                                              uint32_t max);

/** Done with the first of the messages that the last peek gave. */
CSHM_EXPORT void cshm_subscriber_release(cshm_subscriber *subscriber);

/** Done with the first `count` of the messages that the last peek gave, in one step. */
CSHM_EXPORT void cshm_subscriber_release_many(cshm_subscriber *subscriber, uint32_t count);

/**
 * Copies the next message out, and releases it.
 *
 * @param room    Bytes there are at `data`.
 * @param length  Receives how many were copied.
 * @returns as cshm_subscriber_try_peek(), and -EMSGSIZE: it is longer, and still the next one.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_subscriber_try_get(cshm_subscriber *subscriber, void *data,
                                                        uint64_t room, uint64_t *length);

/** As cshm_subscriber_try_get(), waiting. @returns -ETIMEDOUT in the place of -EAGAIN. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_subscriber_get_until(cshm_subscriber *subscriber, void *data,
                                                          uint64_t room, uint64_t *length,
                                                          int64_t deadline_ns);

/**
 * Messages that this subscriber has lost so far, always 0 for a lossless one. At any time, those
 * delivered, lost, and still to come are together all that were published since it joined.
 */
CSHM_EXPORT uint64_t cshm_subscriber_lost(const cshm_subscriber *subscriber);

/** Messages published and not yet released or lost by it, true at some instant of the call. */
CSHM_EXPORT uint64_t cshm_subscriber_count(const cshm_subscriber *subscriber);

/* ---- waiting for more than one ---- */

/**
 * What a subscriber waits for, for cshm/bell.h: a message, or the end. The question whether it is
 * ready is the subscriber's thread's; the dead are asked for as by cshm_subscriber_try_peek().
 */
CSHM_EXPORT void cshm_subscriber_items(cshm_subscriber *subscriber, struct cshm_waitable *out);

/** What a publisher waits for: room for a message, or the end. The question is its thread's. */
CSHM_EXPORT void cshm_publisher_room(cshm_publisher *publisher, struct cshm_waitable *out);

CSHM_END_DECLS

#endif /* CSHM_BROADCAST_H */
