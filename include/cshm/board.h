/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A board: one process posts batches of work there, and workers claim parts of them.
 *
 * Use it where many small pieces of work go to several processes and each must have exactly one
 * outcome, whoever dies. Between equals, or where order of taking matters, use cshm/queue.h.
 *
 * Model
 * -----
 * A batch is one heap block: `count` elements side by side, room for their results side by side,
 * and one word for each *group* of elements, which is what a worker claims at a time: FREE, CLAIMED
 * by a worker, DONE. Posting a batch costs the poster one store and, while workers sleep, a wake;
 * it does not choose a worker and does not see a claim. A worker claims by a compare-and-swap of
 * the group's word, and says in a word of its own which element it runs, before it runs it.
 * Results of a fixed size are stored in place. What has no fixed size, and what went wrong, is a
 * *record* {element, kind, bytes} on one of the group's sheets.
 *
 *     poster                                      worker
 *     cshm_board_draft(board, &shape, &batch);    cshm_board_enter(board, seat, worker);
 *     ... elements into batch->input ...          while (cshm_board_claim_until(...) == 0) {
 *     cshm_board_post(board, batch);                  for (i = lease.first; i < lease.end; i++) {
 *     cshm_board_await(board, ...);                       cshm_board_run(board, i); ...
 *     cshm_batch_state(batch, group, &worker);        }
 *     cshm_board_retire(board, batch);                cshm_board_done(board, &lease);
 *                                                 }
 *
 * Who writes what
 * ---------------
 *   a batch                        the poster, until it is posted
 *   a FREE group's word            workers to claim it, the poster to drop it: a compare-and-swap
 *   a CLAIMED group, its results   the worker that claimed it
 *   which group is expected        the poster
 *   a DONE group                   nobody; the poster reads it
 *   a seat                         its worker; before that, and after its death, the poster
 *
 * A worker names the batch that it reads, and the poster frees none that is named.
 *
 * Ordering
 * --------
 * What the poster did before cshm_board_post() happens before what a worker does that has claimed
 * a group. What a worker did before cshm_board_done() happens before what the poster does that has
 * seen the group done, and a record's bytes come with the record.
 *
 * If a process dies
 * -----------------
 *   worker, before its compare-and-swap     nothing
 *   worker, after it, before it runs        CLAIMED, and no element named: all are to be done
 *   worker, running an element              the element is named: it failed; those before it have
 *                                           results, those after it are to be done
 *   worker, its record begun                the sheet does not count it; its block, if it is new,
 *                                           is named by the sheet or swept
 *   worker, its record committed            the element has its outcome, though it is still named
 *   worker, after DONE                      as if it lived; the poster may have to be told
 *   worker, some groups taken to try first  they are FREE, and found by whoever finds no others
 *   poster                                  the workers' waiting ends with -EPIPE
 *   worker, woken for a post, or counted on its groups stay FREE; the burial wakes everybody
 *   poster, before it woke anybody          those of cshm_board_claim_watched() sleep, until what
 *                                           ends them with their poster does
 * The poster finds all of it by cshm_board_bury(), which believes in no death but the kernel's.
 * A worker that is stopped holds its group, and one batch. Nobody else waits for it; for a post
 * that it was woken for, whoever is in cshm_board_await() wakes the others, after 25 ms.
 *
 * A group that is done wakes the poster, if it sleeps; but where the poster has said which group of
 * a batch it expects, that one alone does.
 *
 * A post wakes a sleeping worker only if no other one is awake that has nothing to do: such a one
 * says so in its seat, and the poster takes that word from it, once for each group.
 */
#ifndef CSHM_BOARD_H
#define CSHM_BOARD_H

#include "base.h"

CSHM_BEGIN_DECLS

enum {
    /** Seats of one board. */
    CSHM_SEATS_MAX = 256,
    /** Elements of one batch. */
    CSHM_BATCH_MAX = 1 << 20,
};

/** One process's view of a board. The poster's serves one thread at a time, a worker's too. */
typedef struct cshm_board cshm_board;

/** How a batch is laid out. */
struct cshm_batch_shape {
    /** The poster's; workers read them. */
    uint64_t job, tag;
    /** Elements, 1 to CSHM_BATCH_MAX. */
    uint32_t count;
    /** Elements in a group; the last one may have fewer. */
    uint32_t group;
    /** Bytes for all elements, and for all results. */
    uint64_t input_size, output_size;
    /** Bytes of each group's own sheet; 0 if records are rare. */
    uint32_t sheet;
    /** 0 is first, 2 is last. */
    uint32_t urgency;
    /** Whether workers measure how long groups take. */
    uint32_t timed;
};

/** The poster's handle of one batch. */
typedef struct cshm_batch {
    /** Where the elements are to be. Aligned to 16. */
    void *input;
    /** Where the results are. Aligned to 16. */
    void *output;
    /** Elements, elements in a group, groups. */
    uint32_t count, group, groups;
    /** Private. */
    uint32_t post, urgency, undone;
    uint64_t place;
    void *shared;
    struct cshm_batch *next;
} cshm_batch;

/** What a worker has claimed. */
struct cshm_lease {
    /** The batch's. */
    uint64_t job, tag;
    /** Elements from `first` to before `end` of the batch. */
    uint32_t first, end;
    /** All elements and all results of the batch. */
    const void *input;
    void *output;
    uint64_t input_size, output_size;
    /** Whether it is the worker's first one of its batch since it had one of another batch. */
    uint32_t is_new;
    /** Private. */
    uint32_t group;
    int64_t since;
    uint64_t sheet, room;
};

/** One record. */
struct cshm_record {
    /** Which element of the batch it is about. */
    uint32_t element;
    /** The worker's. */
    uint32_t kind;
    const void *data;
    uint64_t length;
};

/** What a group's word says. */
enum {
    CSHM_GROUP_FREE = 0,
    CSHM_GROUP_CLAIMED = 1,
    CSHM_GROUP_DONE = 2,
    CSHM_GROUP_DROPPED = 3,
};

/* ---- the poster: one thread at a time, but where it says otherwise ---- */

/**
 * Lays out a board and opens it as its poster.
 *
 * @param seats   Workers at a time, 1 to CSHM_SEATS_MAX.
 * @param place   Receives where workers find it. It is shared: only cshm_board_destroy() ends it.
 * @returns 0, -EINVAL, -ENOSPC, -ECHILD, -ENOMEM, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_board_create(cshm_region *region, uint32_t seats,
                                                  uint64_t *place, cshm_board **out);

/** Frees the board. No worker may be left, and every batch is to be retired before. */
CSHM_EXPORT void cshm_board_destroy(cshm_board *board);

/**
 * Makes a batch that nobody sees yet.
 *
 * @returns 0, -EAGAIN (as many as can be are posted: retire some), -EINVAL, -ENOSPC, -ENOMEM.
 */
CSHM_EXPORT CSHM_MUST_CHECK int
cshm_board_draft(cshm_board *board, const struct cshm_batch_shape *shape, cshm_batch **out);

/** A draft's elements are fewer than it was made for, at least 1; before it is posted. */
CSHM_EXPORT void cshm_batch_shorten(cshm_batch *batch, uint32_t count);

/** Lets workers see it, and wakes as many as it has groups. */
CSHM_EXPORT void cshm_board_post(cshm_board *board, cshm_batch *batch);

/** How many batches may be drafted beside those that are not retired. */
CSHM_EXPORT uint32_t cshm_board_room(const cshm_board *board);

/**
 * What a group's word says (CSHM_GROUP_*).
 *
 * @param worker  Receives the number of who claimed it, 0 where nobody has. May be NULL.
 */
CSHM_EXPORT int cshm_batch_state(const cshm_batch *batch, uint32_t group, uint32_t *worker);

/** How many groups from this one on are done, in a row. */
CSHM_EXPORT uint32_t cshm_batch_ready(const cshm_batch *batch, uint32_t group);

/**
 * Whether a group is done; if not, its end is from now on the only one of this batch by which
 * workers wake who is in cshm_board_await(). For its attempt; one thread at a time for a batch.
 *
 * @returns 1 or 0
 */
CSHM_EXPORT int cshm_batch_expect(const cshm_board *board, const cshm_batch *batch, uint32_t group);

/** As cshm_batch_expect(), of all groups: it expects the last one that is not done. */
CSHM_EXPORT int cshm_batch_expect_all(const cshm_board *board, cshm_batch *batch);

/** 1 if any of its groups may have a record, as far as they are done; else 0. */
CSHM_EXPORT int cshm_batch_has_records(const cshm_batch *batch);

/** Nanoseconds of its groups that are done, added up; of a batch that is timed. */
CSHM_EXPORT uint64_t cshm_batch_elapsed(const cshm_batch *batch);

/** Bytes of records that found no room on their groups' own sheets, as far as they are done. */
CSHM_EXPORT uint64_t cshm_batch_recorded(const cshm_batch *batch);

/** Takes a group away before anybody claims it. @returns 0, -EBUSY (it is not FREE). */
CSHM_EXPORT int cshm_batch_drop(cshm_batch *batch, uint32_t group);

/**
 * The next record of a group.
 *
 * @param cursor  {0, 0} before the first; private.
 * @returns 1, 0 (no more), -EPROTO (damaged).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_batch_record(const cshm_board *board, const cshm_batch *batch,
                                                  uint32_t group, uint64_t cursor[2],
                                                  struct cshm_record *out);

/** Gives a batch back; any of its groups that are not done are never done. */
CSHM_EXPORT void cshm_board_retire(cshm_board *board, cshm_batch *batch);

/** Keeps a seat for the worker of that number, 1 to 2^30 - 1, never used before on this board. */
CSHM_EXPORT void cshm_board_seat(cshm_board *board, uint32_t seat, uint32_t worker);

/**
 * Whether the worker in a seat, which is said to have ended, is dead; it can claim no more.
 *
 * @param element  Receives 1 + the element that it named last, 0 if none since its last claim.
 * @returns 0, -EAGAIN (the kernel does not say so yet), -EINVAL.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_board_bury(cshm_board *board, uint32_t seat,
                                                uint32_t *element);

/** The first group that the worker of that number had claimed, and -1 if there is none. */
CSHM_EXPORT int64_t cshm_batch_claimed_by(const cshm_batch *batch, uint32_t worker);

/** Nanoseconds since the worker in that seat claimed what it has; 0 if the batch is not timed. */
CSHM_EXPORT int64_t cshm_board_claimed_for(const cshm_board *board, uint32_t seat);

/** Where a group of a dead worker begins that was given out again, or its first element. */
CSHM_EXPORT uint32_t cshm_batch_begin(const cshm_batch *batch, uint32_t group);

/**
 * Gives out again what a dead worker had claimed; its records are gone.
 *
 * @param from  The element to begin with; the group is done if there is none from there on.
 */
CSHM_EXPORT void cshm_board_reopen(cshm_board *board, cshm_batch *batch, uint32_t group,
                                   uint32_t from);

/** Lets waiting workers look again, and makes their claims fail with -ECANCELED. */
CSHM_EXPORT void cshm_board_close(cshm_board *board);

/**
 * Waits for workers.
 *
 * @param attempt      Asked at first and after each DONE; -EAGAIN waits on. It may call this board.
 * @param deadline_ns  Absolute; INT64_MAX for ever.
 * @returns what the attempt did, or -ETIMEDOUT.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_board_await(cshm_board *board, int (*attempt)(void *context),
                                                 void *context, int64_t deadline_ns);

/** Looks for a while, awake, whether all groups of a batch are done. Thread-safe. @returns 1 or 0. */
CSHM_EXPORT int cshm_batch_spin(const cshm_board *board, const cshm_batch *batch);

/** Makes every cshm_board_await() of this board ask once more. Thread-safe. */
CSHM_EXPORT void cshm_board_ring(cshm_board *board);

/* ---- workers: each view serves one thread at a time ---- */

/** Opens a board. @returns 0, -EPROTO (no board there), -ENOMEM. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_board_open(cshm_region *region, uint64_t place,
                                                cshm_board **out);

/**
 * Sits down where the poster kept a seat.
 *
 * @returns 0, -EINVAL (no such seat), -EBUSY (it is not kept for that worker), -ECHILD.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_board_enter(cshm_board *board, uint32_t seat, uint32_t worker);

/** Closes a worker's view. */
CSHM_EXPORT void cshm_board_leave(cshm_board *board);

/**
 * Claims a group.
 *
 * @returns 0, -EAGAIN (there is none), -ECANCELED (the board is closed), -EPROTO (damaged).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_board_try_claim(cshm_board *board, struct cshm_lease *out);

/** As cshm_board_try_claim(), waiting. @returns -ETIMEDOUT in place of -EAGAIN; -EPIPE (the poster
 *  is dead). */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_board_claim_until(cshm_board *board, struct cshm_lease *out,
                                                       int64_t deadline_ns);

/**
 * As cshm_board_claim_until(), and asleep until there is something to claim: it does not look for a
 * dead poster. For a worker that dies with its poster (PR_SET_PDEATHSIG), and whose poster buries
 * dead workers and, while it has posted anything, is in cshm_board_await().
 *
 * @returns 0, -ETIMEDOUT, -ECANCELED (the board is closed), -EPROTO (damaged), -EINVAL (no seat).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_board_claim_watched(cshm_board *board, struct cshm_lease *out,
                                                         int64_t deadline_ns);

/** Names the element of the lease that is run from now on. */
CSHM_EXPORT void cshm_board_run(cshm_board *board, uint32_t element);

/** The word that cshm_board_run() stores 1 + the element in, for loops that store it themselves. */
CSHM_EXPORT void *cshm_board_running(cshm_board *board);

/**
 * Room for one record, which counts when it is committed.
 *
 * @param data  Receives where to write it; aligned to 16.
 * @returns 0, -ENOSPC, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_board_record(cshm_board *board, struct cshm_lease *lease,
                                                  uint32_t element, uint32_t kind, uint64_t length,
                                                  void **data);

/** Commits the record that there was room for last. */
CSHM_EXPORT void cshm_board_commit(cshm_board *board, struct cshm_lease *lease);

/** All elements of the lease have their outcome. */
CSHM_EXPORT void cshm_board_done(cshm_board *board, struct cshm_lease *lease);

CSHM_END_DECLS

#endif /* CSHM_BOARD_H */
