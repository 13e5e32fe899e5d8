/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Bounded queue of messages, any number of producers and consumers in any processes, that no kill
 * and no stop of any of them can wedge.
 *
 * Use it when more than one thread puts or more than one takes; for exactly one of each
 * cshm/ring.h costs less. There is no variant for a single producer or consumer: each side makes
 * one compare-and-swap on a cell whatever the number of peers, so that it would save nothing.
 *
 * Model: the swap ring
 * --------------------
 * A cell is one word, {turn, cum, left, slot}: an even turn is empty, an odd one full, and even an
 * empty cell owns a slot. Every port (one per thread at work) owns one slot, its *hand*. To put,
 * fill the hand and swap it with the slot of the next empty cell by one compare-and-swap, which is
 * the commit; to take, swap the hand with the slot of the next full cell, which is then the port's,
 * to be read in place. There are never holes and never a free list. Turns grow by two a lap, so
 * that a late compare-and-swap fails. `tail` and `head` are hints that may lag. After AOS's
 * lockless queue (frc971), which swaps owned scratch indices in the same way.
 *
 * A slot may hold several elements of one length, a *pack*: `left` says how many of them are still
 * to be taken, and one element of a pack is taken by copying it and lowering `left`. `cum` counts
 * the elements put so far (modulo a power of two), this cell's included, so that the difference of
 * two cells is the number of elements between them: capacity and count are in elements, exactly.
 *
 * Plain and leased
 * ----------------
 * What is *taken* is gone with a taker that dies: at most once. What is *leased* is the consumer's
 * until cshm_queue_release(); if it dies before, or gives the message back by cshm_queue_return(),
 * the message is delivered again, before all others and marked so: at least once. A port that holds
 * such a message is the list of them: whoever delivers it adopts the port. Of a pack that is leased in
 * parts the rest waits in a port as well; others may take later elements before they see it there.
 *
 * The end
 * -------
 * After cshm_queue_finish() nothing more is put (-EPIPE) and what is in the queue is delivered. The
 * end, -EPIPE from a take, is: finished, empty, and no lease outstanding. A consumer that finds a
 * finished queue empty closes the cell at its tail by a compare-and-swap first, so that a put that
 * had begun before is either delivered or refused. A stream also ends when producer tokens were
 * opened and none of them lives. cshm_queue_cancel() ends everything at once (-ECANCELED).
 *
 * Who writes what
 * ---------------
 *   cells          anybody, by compare-and-swap only
 *   a port         its owner: {hand, lease, intent} in one word, stored before and after each swap
 *   a slot         whoever owns it: the port whose hand it is
 *   tail, head     anybody; hints
 *   tokens         each by compare-and-swap: 0, or the stamp of the participant it counts for
 *
 * Ordering
 * --------
 * What a producer did before a put that returned 0 happens before what is done by who takes the
 * element. Elements are taken in the order in which they were put, but for what is leased: see above.
 *
 * If a process dies
 * -----------------
 *   before its swap    nothing was put or taken; its port owns what it owned
 *   after its swap     the message was put, or taken by the dead; a lease is delivered again
 *   after lowering `left`      that element was taken by the dead
 *   with a port        whoever next finds no free port reads the dead's word: without an intent
 *                      it owns its hand; with one, exactly one of {hand, intent} is in a cell or
 *                      another's hand, and the dead owned the other
 *   with a long message in its slot    the block belongs to the slot, and is freed by whoever
 *                      next uses that slot; what it holds is let go by who finds the queue empty, or
 *                      waits for messages
 *   with a producer token      the token counts no more
 *   dividing a leased pack     the elements in doubt are delivered again
 * A stopped process delays nobody, but what it has leased stays leased. FULL and EMPTY are
 * linearizable.
 *
 * Example
 * -------
 * A program that sends numbers to the one in the documentation of Swift's Queue. Either may be
 * started first: who comes first makes the region and the queue.
 *
 * @code{.c}
 * #include <cshm.h>
 *
 * #include <errno.h>
 * #include <stdio.h>
 * #include <stdlib.h>
 * #include <string.h>
 *
 * static void check(int status, const char *what)
 * {
 *     if (status != 0) {
 *         fprintf(stderr, "%s: %s\n", what, strerror(-status));
 *         exit(1);
 *     }
 * }
 *
 * // Whoever names it second throws its own away.
 * static cshm_queue *make_numbers(cshm_region *region, const struct cshm_queue_options *options)
 * {
 *     cshm_queue *queue;
 *     uint64_t offset;
 *
 *     check(cshm_queue_create(region, options, &offset), "making the queue");
 *     check(cshm_queue_open(region, offset, options->type_tag, &queue), "opening it");
 *     int status =
 *         cshm_directory_add(region, "numbers", CSHM_KIND_QUEUE, options->type_tag, offset);
 *     if (status != -EEXIST) {
 *         check(status, "naming it");
 *         return queue;
 *     }
 *     cshm_queue_destroy(queue);
 *     return NULL;
 * }
 *
 * static cshm_queue *open_numbers(cshm_region *region)
 * {
 *     struct cshm_queue_options options = {
 *         .capacity = 256, .slot_size = sizeof(int64_t), .type_tag = cshm_type_tag("s5Int64V")};
 *     struct cshm_directory_entry entry;
 *     cshm_queue *queue = NULL;
 *
 *     if (cshm_directory_find(region, "numbers", &entry) == -ENOENT) {
 *         queue = make_numbers(region, &options);
 *     }
 *     if (queue == NULL) {
 *         check(cshm_directory_find(region, "numbers", &entry), "finding the queue");
 *         check(cshm_queue_open(region, entry.offset, options.type_tag, &queue), "opening it");
 *     }
 *     return queue;
 * }
 *
 * int main(void)
 * {
 *     cshm_region *region;
 *     int status = cshm_region_create_named("sharedstate.numbers", NULL, &region);
 *     if (status == -EEXIST) {
 *         status = cshm_region_open("sharedstate.numbers", &region);
 *     }
 *     check(status, "sharedstate.numbers");
 *     cshm_queue *queue = open_numbers(region);
 *     for (int64_t number = 1; number <= 1000; number++) {
 *         check(cshm_queue_put_until(queue, &number, sizeof number, INT64_MAX), "putting");
 *     }
 *     cshm_queue_finish(queue);
 *     cshm_queue_close(queue);
 *     return cshm_region_close(region);
 * }
 * @endcode
 */
#ifndef CSHM_QUEUE_H
#define CSHM_QUEUE_H

#include "base.h"
#include "bell.h"

CSHM_BEGIN_DECLS

/** One process's view of a queue; any number of threads may use it. */
typedef struct cshm_queue cshm_queue;

enum {
    /** Most elements in one pack, and so in one message. */
    CSHM_QUEUE_PACK_MAX = 32,
};

/** How to make a queue. */
struct cshm_queue_options {
    /** Elements it holds, 1 to 2^20. */
    uint32_t capacity;
    /** Bytes of an element that fit without a heap block, 1 to 65536. */
    uint32_t slot_size;
    /** Threads, over all processes, that may be inside a call, or hold a message, at once; 0 takes
     *  128. To 4096. */
    uint32_t ports;
    /** Most elements that a batch puts into one slot, to CSHM_QUEUE_PACK_MAX; 0 takes 1. */
    uint32_t pack;
    /** What the messages are; cshm_queue_open() refuses another value. */
    uint64_t type_tag;
    /** Most bytes of heap blocks that messages in the queue may take; 0 for no limit but the
     *  region's. A process that dies laying out a long message may let as much more in. */
    uint64_t byte_limit;
};

/** A message in a slot of this process's: between claim and commit, or take and release. After a
 *  call that failed its fields mean nothing. */
struct cshm_message {
    /** Where the bytes of its first element are; the others follow without a gap. */
    void *data;
    /** Bytes of each element. */
    uint64_t length;
    /** Elements, 1 to CSHM_QUEUE_PACK_MAX. */
    uint32_t count;
    /** 1 if it was leased before, by a consumer that died or gave it back. */
    uint32_t redelivered;
    /** Private to the library. */
    uint32_t port;
    /** Private to the library. */
    uint32_t slot;
    /** Private to the library. */
    uint32_t keeper;
    /** Private to the library. */
    uint16_t leased;
    /** Private to the library. */
    uint16_t exact;
};

/** Where a queue is in its life. */
enum cshm_queue_state {
    /** Messages may be put. */
    CSHM_QUEUE_OPEN = 0,
    /** What is in it is delivered, and then it ends. */
    CSHM_QUEUE_FINISHED = 1,
    /** Nothing is put or taken any more. */
    CSHM_QUEUE_CANCELLED = 2,
};

/** What a queue is and holds; for monitors, in any process. */
struct cshm_queue_info {
    /** As cshm_queue_count(). */
    uint64_t count;
    /** Elements it can hold. */
    uint64_t capacity;
    /** The largest count that was sampled, at every 64th put, and now. */
    uint64_t high_water;
    /** Bytes of heap blocks that its messages take. */
    uint64_t bytes;
    /** The limit on them, or 0. */
    uint64_t byte_limit;
    /** Messages that are leased, or wait to be delivered again. */
    uint64_t leased;
    /** Producer tokens that are open, those of processes not yet found dead among them. */
    uint64_t producers;
    /** An enum cshm_queue_state. */
    uint32_t state;
};

/**
 * Lays out a new queue as one heap block of this process's; share it with cshm_heap_share().
 *
 * @returns 0, -EINVAL (an option out of range), -ENOSPC, -ECHILD, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int
cshm_queue_create(cshm_region *region, const struct cshm_queue_options *options, uint64_t *offset);

/** Opens a queue. @returns 0, -EPROTO (no queue there, or of another type), -ENOMEM. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_open(cshm_region *region, uint64_t offset,
                                                uint64_t type_tag, cshm_queue **out);

/** Drops this process's view and gives its ports back. No thread may be inside a call, and no
 *  message of this view be held. Tokens stay open: close them before. */
CSHM_EXPORT void cshm_queue_close(cshm_queue *queue);

/** Frees the queue and every message in it. Nobody may use it any more. Closes this view too. */
CSHM_EXPORT void cshm_queue_destroy(cshm_queue *queue);

/* ---- putting ---- */

/**
 * Room for one message, to be written in place; commit or abort it on any thread. It goes with this
 * process, if that dies before.
 *
 * @param length  Bytes.
 * @returns 0, -EAGAIN (the byte limit is reached), -EMSGSIZE (it never fits the byte limit),
 *          -ENOSPC (no memory for a long message), -EUSERS (every port is a live thread's, or
 *          holds a message to be delivered again),
 *          -EPIPE (finished), -ECANCELED, -ECHILD, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_claim(cshm_queue *queue, uint64_t length,
                                                 struct cshm_message *out);

/**
 * As cshm_queue_claim(), for `count` elements of `length` bytes, which are committed together.
 *
 * @param count  1 to the queue's pack.
 * @returns as cshm_queue_claim(), and -EINVAL (the count, or more bytes than `count` slots hold).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_claim_many(cshm_queue *queue, uint64_t length,
                                                      uint32_t count, struct cshm_message *out);

/**
 * Publishes a claimed message.
 *
 * @returns 0; or, and it is still claimed, -EAGAIN (full), -EPIPE (finished), -ECANCELED, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_try_commit(cshm_queue *queue,
                                                      struct cshm_message *message);

/** As cshm_queue_try_commit(), waiting for room. @returns -ETIMEDOUT in the place of -EAGAIN. */
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
 * Puts a message that says at its end what it holds, as cshm/anchor.h has it: objects that stay while it
 * is in the queue, or leased, or taken and not released. It is in a heap block, however short. The queue
 * is to be anchored or shared before: what it holds is not let go where it goes with its maker.
 *
 * @returns as cshm_queue_try_put(); -EINVAL (it does not say what it holds), -ENOENT (what it is to hold
 *          has ended).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_try_put_holding(cshm_queue *queue, const void *data,
                                                           uint64_t length);

/** As cshm_queue_try_put_holding(), waiting for room. @returns -ETIMEDOUT in the place of -EAGAIN. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_put_holding_until(cshm_queue *queue, const void *data,
                                                             uint64_t length, int64_t deadline_ns);

/**
 * Puts elements of one length that lie side by side, as many as there is room for now: in packs, and
 * one by one where the byte limit, or the memory, has no room for a pack but one goes inline.
 *
 * @param data    The first element.
 * @param length  Bytes of each; the next one is so far on.
 * @param count   How many, 1 to INT32_MAX. Others' elements may come between those of two packs.
 * @returns how many were put, the first ones, at least 1; or why none was, as
 *          cshm_queue_try_put(), -EINVAL among it.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_try_put_many(cshm_queue *queue, const void *data,
                                                        uint64_t length, uint32_t count);

/** As cshm_queue_try_put_many(), waiting until all are put or the deadline passes. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_put_many_until(cshm_queue *queue, const void *data,
                                                          uint64_t length, uint32_t count,
                                                          int64_t deadline_ns);

/* ---- taking ---- */

/**
 * Takes the oldest element, to be read in place until cshm_queue_release(), on any thread. It goes with
 * this process, if that dies.
 *
 * @returns 0, -EAGAIN (empty), -EPIPE (the end), -ECANCELED, -EUSERS, -ECHILD, -EPROTO (damaged).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_try_take(cshm_queue *queue, struct cshm_message *out);

/** As cshm_queue_try_take(), waiting. @returns -ETIMEDOUT in the place of -EAGAIN. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_take_until(cshm_queue *queue, struct cshm_message *out,
                                                      int64_t deadline_ns);

/**
 * Takes up to `max` elements that were put together: at least one, and all the rest of the pack if
 * it is not more than that.
 *
 * @returns as cshm_queue_try_take(), and -EINVAL (max is 0).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_try_take_many(cshm_queue *queue, uint32_t max,
                                                         struct cshm_message *out);

/** As cshm_queue_try_take_many(), waiting. @returns -ETIMEDOUT in the place of -EAGAIN. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_take_many_until(cshm_queue *queue, uint32_t max,
                                                           struct cshm_message *out,
                                                           int64_t deadline_ns);

/**
 * As cshm_queue_try_take_many(), but at least once: what is not released by its consumer, because
 * it died, is delivered again.
 *
 * @returns as cshm_queue_try_take_many().
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_try_lease(cshm_queue *queue, uint32_t max,
                                                     struct cshm_message *out);

/** As cshm_queue_try_lease(), waiting. @returns -ETIMEDOUT in the place of -EAGAIN. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_lease_until(cshm_queue *queue, uint32_t max,
                                                       struct cshm_message *out,
                                                       int64_t deadline_ns);

/** Done with a taken or leased message, on any thread; its memory goes back. */
CSHM_EXPORT void cshm_queue_release(cshm_queue *queue, struct cshm_message *message);

/** Not done with a taken or leased message: it is delivered again, before all others. */
CSHM_EXPORT void cshm_queue_return(cshm_queue *queue, struct cshm_message *message);

/**
 * Waits until nothing is in the queue and nothing of it is leased: all that was put was taken, and
 * all that was leased was released by consumers that lived to do so.
 *
 * @returns 0, -ETIMEDOUT, -ECANCELED, -ECHILD, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_join_until(cshm_queue *queue, int64_t deadline_ns);

/** As cshm_queue_join_until(), without waiting; @returns -EAGAIN where that would wait. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_try_join(cshm_queue *queue);

/* ---- the end ---- */

/** Nothing more may be put; what is in the queue is delivered. Idempotent, for every process. */
CSHM_EXPORT void cshm_queue_finish(cshm_queue *queue);

/** Nothing may be put or taken any more; those who wait are told. Idempotent. */
CSHM_EXPORT void cshm_queue_cancel(cshm_queue *queue);

/**
 * Opens a producer token: the queue is finished when at least one was opened and none is open any
 * more, be it closed or its process dead.
 *
 * @param token  Receives its number.
 * @returns 0, -EUSERS (as many tokens as ports are open), -EPIPE, -ECANCELED, -ECHILD.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_producer_open(cshm_queue *queue, uint32_t *token);

/** Closes a token of this process's, on any thread; the last one finishes the queue. */
CSHM_EXPORT void cshm_queue_producer_close(cshm_queue *queue, uint32_t token);

/**
 * Opens a token for somebody else, to be sent by any channel. Until it is received it counts for
 * the caller: it ends if the caller dies.
 *
 * @param ticket  Receives what cshm_queue_producer_receive() wants.
 * @returns as cshm_queue_producer_open().
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_producer_send(cshm_queue *queue, uint64_t *ticket);

/**
 * Takes a sent token over; once only.
 *
 * @param token  Receives its number.
 * @returns 0, -ENOENT (received already, or its sender has died), -EPIPE, -ECANCELED, -ECHILD.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_queue_producer_receive(cshm_queue *queue, uint64_t ticket,
                                                            uint32_t *token);

/* ---- looking ---- */

/** Elements in it at some instant of the call; where messages are leased, with those that wait to be
 *  delivered again and the rest of packs leased in parts, which may make it more than the capacity,
 *  and true for an instant only if none of these moves meanwhile. */
CSHM_EXPORT uint64_t cshm_queue_count(const cshm_queue *queue);

/** Elements it can hold. */
CSHM_EXPORT uint64_t cshm_queue_capacity(const cshm_queue *queue);

/** Whether there was no room for one element at some instant of the call, as cshm_queue_try_put() of a
 *  short one says by -EAGAIN. What is leased, or waits to be delivered again, takes no room.
 *  @returns 1 or 0. Thread-safe, process-safe; a death changes nothing. */
CSHM_EXPORT int cshm_queue_is_full(const cshm_queue *queue);

/** For cshm/bell.h: ready when a take would not wait. The death of a consumer with a lease, or of the
 *  last producer, rings nothing: a take finds it out, so try one now and then where that matters. */
CSHM_EXPORT void cshm_queue_items(cshm_queue *queue, struct cshm_waitable *out);

/** For cshm/bell.h: ready when a put of one short message would not wait; and, asked by a thread whose
 *  last put or claim the byte limit refused, when there is room for as much. So whoever waits for
 *  another thread's put, as an event loop may, is told of a byte limit's room too early: let it try the
 *  put itself. */
CSHM_EXPORT void cshm_queue_room(cshm_queue *queue, struct cshm_waitable *out);

/** For cshm/bell.h: ready when a join would not wait. The death of a consumer with a lease rings
 *  nothing; the next take finds it out. */
CSHM_EXPORT void cshm_queue_joined(cshm_queue *queue, struct cshm_waitable *out);

/** Writes what the queue is; a walk over its slots and ports. */
CSHM_EXPORT void cshm_queue_describe(const cshm_queue *queue, struct cshm_queue_info *out);

CSHM_END_DECLS

#endif /* CSHM_QUEUE_H */
