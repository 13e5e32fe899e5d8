/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Messages from many producers to one consumer, without contention between the producers.
 *
 * Use it when many put, one takes, and the order matters within each producer only. For several
 * consumers, or one order of all messages, use cshm/queue.h; for one producer, cshm/ring.h.
 *
 * Model
 * -----
 * Each producer that joins gets a lane: a ring (cshm/ring.h) of its own, made when it is first
 * needed and used again by later producers. The consumer goes round the lanes and takes up to a
 * budget of messages from each. A bit for each lane says that there may be something in it, so that
 * idle lanes cost nothing: a producer sets it when it finds it clear; the consumer clears those of
 * lanes that were empty for long, interrupts the producers, and looks once more.
 *
 *     cshm_lanes_join(lanes, &lane);                cshm_lanes_become_consumer(lanes);
 *     cshm_lane_put_until(lane, &x, 8, deadline);   cshm_lanes_get_until(lanes, &x, 8, &n, deadline);
 *     cshm_lane_leave(lane);                        // -EPIPE, when all have left and all is taken
 *
 * Who writes what
 * ---------------
 *   a lane's ring     its producer and the consumer, as in cshm/ring.h
 *   a lane's owner    who joins, by compare-and-swap; its producer, when it leaves; the consumer,
 *                     for the dead, and when it is drained
 *   ready bits        producers set them, the consumer clears them
 *   consumer          the stamp of who takes; passed on as a ring's role
 *   stream            anybody, to finish or cancel; who joins counts itself
 *   a lane's seal     after finish, its producer or the consumer, once: where the lane ends
 *
 * Ordering
 * --------
 * What a producer did before a put that returned 0 happens before what the consumer does that was
 * given the message. The messages of one producer come in their order; those of two have none.
 *
 * If a process dies
 * -----------------
 *   producer, joining                 the lane is drained and used again
 *   producer, before its message      nothing was put
 *   producer, after it, before the    the message is put: the consumer finds the dead among the
 *   bit                               owners and looks into their lanes
 *   producer, any                     its lane is drained, then used again
 *   consumer, before the release      its successor is given the message again
 *   consumer, between clearing a bit  its successor sets all bits
 *   and looking
 *   consumer, any                     producers that wait for room get -EPIPE, until another
 *                                     becomes the consumer
 *   the last producer                 the stream ends when all lanes are drained
 *   producer, at its byte limit       its successor counts the bytes anew
 * A stopped producer delays nobody: neither the others nor what they put. A stopped consumer is
 * alive, and waited for.
 */
#ifndef CSHM_LANES_H
#define CSHM_LANES_H

#include "base.h"
#include "bell.h"

CSHM_BEGIN_DECLS

/** One process's view of the lanes; the consumer's calls serve one thread at a time. */
typedef struct cshm_lanes cshm_lanes;

/** One producer's lane; one thread at a time may use it. */
typedef struct cshm_lane cshm_lane;

/** How to make lanes. */
struct cshm_lanes_options {
    /** Messages that each lane holds; a power of two, 2 to 2^20. */
    uint32_t capacity;
    /** Bytes of a message that fit without a heap block, 1 to 65536. */
    uint32_t slot_size;
    /** Producers at a time, over all processes, 1 to 1024; 0 takes 64. */
    uint32_t producers;
    /** Messages that the consumer takes from one lane while others wait; 0 takes 32. */
    uint32_t budget;
    /** What the messages are; cshm_lanes_open() refuses another value. */
    uint64_t type_tag;
    /** Most bytes of heap blocks that the messages of one lane may take; 0 for no limit but the
     *  region's. */
    uint64_t byte_limit;
};

/** What lanes are and hold; for monitors, in any process. */
struct cshm_lanes_info {
    /** As cshm_lanes_count(). */
    uint64_t count;
    /** Messages that each lane can hold. */
    uint64_t capacity;
    /** The most messages in one lane that its producers sampled, at every 64th put, or see now. */
    uint64_t high_water;
    /** Bytes of heap blocks that messages take, those that were released lately among them: a
     *  producer frees blocks when it uses their slots again, or is at its limit. */
    uint64_t bytes;
    /** The limit on them in one lane, or 0. */
    uint64_t byte_limit;
    /** Producers that have joined and not left, those of processes not yet found dead among them. */
    uint32_t producers;
    /** 1 once it is finished. */
    uint8_t finished;
    /** 1 once it is cancelled. */
    uint8_t cancelled;
};

/** A message in place, until it is released. */
struct cshm_lanes_message {
    /** Where its bytes are. */
    const void *data;
    /** How many there are. */
    uint64_t length;
    /** The lane it came through: one producer's, until that has left and the lane is drained. */
    uint32_t lane;
};

/**
 * Lays out new lanes as one heap block of this process's; share it with cshm_heap_share().
 *
 * @param options  The sizes; see there.
 * @param offset   Receives the place.
 * @returns 0, -EINVAL (an option out of range), -ENOSPC, -ECHILD, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int
cshm_lanes_create(cshm_region *region, const struct cshm_lanes_options *options, uint64_t *offset);

/** Opens lanes. @returns 0, -EPROTO (none there, or of another type), -ENOMEM. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_lanes_open(cshm_region *region, uint64_t offset,
                                                uint64_t type_tag, cshm_lanes **out);

/** Gives the consumer's role up, and drops this view. Its producers must have left. */
CSHM_EXPORT void cshm_lanes_close(cshm_lanes *lanes);

/** Frees the lanes and every message in them. Nobody may use them any more. Closes this view. */
CSHM_EXPORT void cshm_lanes_destroy(cshm_lanes *lanes);

/**
 * Nothing more may be put; what was is delivered, and then the consumer gets -EPIPE. Exact: a
 * message whose put returned 0 is delivered, one whose put returned -EPIPE is not. Idempotent, for
 * every process.
 */
CSHM_EXPORT void cshm_lanes_finish(cshm_lanes *lanes);

/** Nothing may be put or taken any more; those who wait are told. Idempotent. */
CSHM_EXPORT void cshm_lanes_cancel(cshm_lanes *lanes);

/** Messages in all lanes together, at some instant of the call. If something is put or taken during each
 *  of 9 looks, it is a sum of numbers of which each was true of its lane, one after the other. */
CSHM_EXPORT uint64_t cshm_lanes_count(const cshm_lanes *lanes);

/** Messages that each lane can hold. */
CSHM_EXPORT uint64_t cshm_lanes_capacity(const cshm_lanes *lanes);

/** Writes what the lanes are and hold. Thread-safe. */
CSHM_EXPORT void cshm_lanes_describe(const cshm_lanes *lanes, struct cshm_lanes_info *out);

/* ---- producers: a lane serves one thread at a time; what it claimed goes with its process ---- */

/**
 * Joins as a producer. When at least one had joined and none is left, because it left or died, and
 * all is taken, the stream is finished.
 *
 * @param out  Receives the lane.
 * @returns 0, -EUSERS (every lane is a living producer's, or not drained yet), -EPIPE (finished),
 *          -ECANCELED, -ECHILD, -ENOSPC (no memory for another lane), -EPROTO, -ENOMEM. System
 *          calls only when the dead have to be found.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_lanes_join(cshm_lanes *lanes, cshm_lane **out);

/** Leaves; what was put is delivered. Frees the handle. */
CSHM_EXPORT void cshm_lane_leave(cshm_lane *lane);

/**
 * Room for one message, to be written in place; a second claim replaces the first.
 *
 * @param length  Bytes.
 * @param data    Receives where to write them.
 * @returns 0, -EAGAIN (the lane is full, or at its byte limit), -EMSGSIZE (it never fits the byte
 *          limit), -ENOSPC (no memory for a long message), -EPIPE (finished), -ECANCELED,
 *          -EPERM (in a forked child), -EPROTO (damaged).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_lane_try_claim(cshm_lane *lane, uint64_t length, void **data);

/**
 * As cshm_lane_try_claim(), for the message that is to be put `index` messages after the next. Claim
 * the indices of a batch in order.
 *
 * @returns as cshm_lane_try_claim(); -EINVAL (the index before it is not claimed, or it is not below
 *          the capacity).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_lane_try_claim_at(cshm_lane *lane, uint32_t index,
                                                       uint64_t length, void **data);

/**
 * Puts the claimed message, and wakes the consumer if it sleeps.
 *
 * @returns 0, -EPIPE (finished before, and the message is not delivered), -ECANCELED. No
 *          read-modify-write and no fence, unless the lane was idle.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_lane_commit(cshm_lane *lane);

/**
 * Puts the messages claimed at the indices below `count`, in order, as one.
 *
 * @param count  1 to the capacity, and to INT32_MAX.
 * @returns how many were put, at least 1: fewer than `count` only if it was finished meanwhile;
 *          -EPIPE, -ECANCELED, -EINVAL.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_lane_commit_many(cshm_lane *lane, uint32_t count);

/** Claims, copies and commits. @returns as those. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_lane_try_put(cshm_lane *lane, const void *data,
                                                  uint64_t length);

/**
 * As cshm_lane_try_put(), waiting for room.
 *
 * @returns -ETIMEDOUT in the place of -EAGAIN; -EPIPE also if the consumer is dead and nobody has
 *          taken its place.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_lane_put_until(cshm_lane *lane, const void *data,
                                                    uint64_t length, int64_t deadline_ns);

/**
 * Puts messages of one length that lie side by side, as many as there is room for, with one wake.
 *
 * @param data    The first one.
 * @param length  Bytes of each; the next one is so far on.
 * @param count   How many, 1 to INT32_MAX.
 * @returns how many were put, at least 1; or as cshm_lane_try_put(), and -EINVAL.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_lane_try_put_many(cshm_lane *lane, const void *data,
                                                       uint64_t length, uint32_t count);

/** Whether who took last is dead, and nobody has taken its place. @returns 1 or 0. System calls. */
CSHM_EXPORT int cshm_lane_consumer_is_gone(const cshm_lane *lane);

/* ---- the consumer: one thread at a time ---- */

/**
 * Makes this view the one that takes.
 *
 * @returns 0 (nobody did), 1 (who did is dead, and may have worked on the first messages of each
 *          lane already), -EBUSY (it lives, or is another view of this process), -EALREADY,
 *          -ECHILD.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_lanes_become_consumer(cshm_lanes *lanes);

/**
 * The next message, in place until it is released; the same one until then.
 *
 * @param out  Receives it.
 * @returns 0, -EAGAIN (none now), -EPIPE (the end), -ECANCELED, -EPERM (not the consumer; a forked
 *          child is not), -EPROTO (damaged), -ENOMEM.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_lanes_try_peek(cshm_lanes *lanes,
                                                    struct cshm_lanes_message *out);

/** As cshm_lanes_try_peek(), waiting. @returns -ETIMEDOUT in the place of -EAGAIN. */
CSHM_EXPORT CSHM_MUST_CHECK int
cshm_lanes_peek_until(cshm_lanes *lanes, struct cshm_lanes_message *out, int64_t deadline_ns);

/**
 * The next messages, all of one lane, in place until they are released.
 *
 * @param out  Receives them.
 * @param max  Most of them, 1 to INT32_MAX.
 * @returns how many, at least 1; or as cshm_lanes_try_peek(), and -EINVAL.
 */
CSHM_EXPORT CSHM_MUST_CHECK int
cshm_lanes_try_peek_many(cshm_lanes *lanes, struct cshm_lanes_message *out, uint32_t max);

/** Done with the first of the messages that the last peek gave. */
CSHM_EXPORT void cshm_lanes_release(cshm_lanes *lanes);

/** Done with the first `count` of the messages that the last peek gave, in one step. */
CSHM_EXPORT void cshm_lanes_release_many(cshm_lanes *lanes, uint32_t count);

/**
 * Copies the next message out, and releases it.
 *
 * @param room    Bytes there are at `data`.
 * @param length  Receives how many were copied.
 * @returns as cshm_lanes_try_peek(), and -EMSGSIZE: it is longer, and still the next one.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_lanes_try_get(cshm_lanes *lanes, void *data, uint64_t room,
                                                   uint64_t *length);

/** As cshm_lanes_try_get(), waiting. @returns -ETIMEDOUT in the place of -EAGAIN. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_lanes_get_until(cshm_lanes *lanes, void *data, uint64_t room,
                                                     uint64_t *length, int64_t deadline_ns);

/* ---- waiting for more than one ---- */

/**
 * What the consumer waits for, for cshm/bell.h: a message, or the end. The question whether it is
 * ready is one of the consumer's calls; the dead are asked for as by cshm_lanes_try_peek().
 */
CSHM_EXPORT void cshm_lanes_items(cshm_lanes *lanes, struct cshm_waitable *out);

/**
 * What a producer waits for: room in its lane, the end, or the consumer's death; after a refusal
 * for its byte limit, room for as many bytes. Any thread may ask whether it is ready.
 */
CSHM_EXPORT void cshm_lane_room(cshm_lane *lane, struct cshm_waitable *out);

CSHM_END_DECLS

#endif /* CSHM_LANES_H */
