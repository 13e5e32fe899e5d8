/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Outcomes: what comes of a piece of work, for processes that wait for it; gone when nobody has it.
 *
 * Model
 * -----
 * An outcome is a slot in a table of its region: bytes that its owner stores once, an event that says
 * so, and *references*: a cell for each, with the stamp of the process that has it, or with a
 * *ticket*, the number of a message that is on its way. With its last reference an outcome is gone,
 * and its slot is used again. There is no count, so there is none that a death could leave wrong.
 *
 * A handle is a slot and its generation: one of an outcome that is gone is found out. The table is never
 * given back to the heap, so looking costs nothing more, however late a handle comes.
 *
 *     cshm_outcome_create()                   a reference of its owner's, which fills it
 *     cshm_outcome_send() -> ticket           a reference of a message's that is received once
 *     cshm_outcome_receive(ticket)            that one is this process's now
 *     cshm_outcome_release()                  one of this process's is no more
 *
 * What may be received several times, or never, is kept: cshm_outcome_keep() has it stay as long as
 * its region, and so has the 33rd reference at a time.
 *
 * Who writes what
 * ---------------
 *   cells, generation   who has the guard of the slot's page
 *   bytes               the owner, once, before the event is set
 *
 * Ordering
 * --------
 * What its owner did before it filled it happens before what is done by whoever found it filled. What was
 * done with an outcome before a reference was released happens before its slot is used again.
 *
 * If a process dies
 * -----------------
 *   as the owner, before it has filled it      waiters are told (-EPIPE)
 *   having references                          they count no more: whoever releases the last of the
 *                                              living's, or wants a slot, ends the outcome
 *   between sending and the message's sending  the ticket stays, and the outcome as long as its region
 *   with a page's guard                        the next one ends what has no reference left
 *   while filling                              the bytes are freed with the outcome
 * While a process is stopped that has a page's guard, those wait who want a slot, or change references in
 * that page; nobody who waits for an outcome.
 */
#ifndef CSHM_OUTCOME_H
#define CSHM_OUTCOME_H

#include "base.h"
#include "bell.h"

CSHM_BEGIN_DECLS

/** Names an outcome in its region; to be sent as it is. */
typedef struct cshm_outcome {
    /** Of its slot. */
    uint64_t place;
    /** Of the slot, while it is this outcome's. */
    uint64_t generation;
} cshm_outcome;

/**
 * Makes one, of which this process is the owner and has a reference.
 *
 * @returns 0, -ENOSPC, -ECHILD (this process has not joined), -EPROTO (the table is damaged).
 *          Thread-safe, process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_outcome_create(cshm_region *region, cshm_outcome *out);

/**
 * Stores what came of it, and tells who waits. Its owner calls this once, having a reference.
 *
 * @param bytes  Copied; may be NULL if there are none.
 * @returns 0; -ENOSPC (no memory for them: those who wait are told so), -EALREADY, -EPERM (another
 *          process is the owner), -ENOENT, -ECHILD, -EPROTO.
 */
CSHM_EXPORT int cshm_outcome_fill(cshm_region *region, const cshm_outcome *outcome,
                                  const void *bytes, uint64_t size);

/**
 * What was stored, lent as long as this process has a reference.
 *
 * @returns 0; -EAGAIN (nothing yet), -EPIPE (its owner died first), -ENOSPC (there was no memory),
 *          -ENOENT (it is gone), -EPROTO. Asks the kernel if nothing is stored. Thread-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_outcome_look(const cshm_region *region,
                                                  const cshm_outcome *outcome, const void **bytes,
                                                  uint64_t *size);

/** What to wait for before a look, having a reference: that it is filled. @returns 0, -ENOENT,
 *  -EPROTO. The owner's death makes nothing ready. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_outcome_waitable(const cshm_region *region,
                                                      const cshm_outcome *outcome,
                                                      struct cshm_waitable *out);

/**
 * Makes a reference of a message's, having one.
 *
 * @param ticket  Receives what the message is to say; 0 if the outcome is kept.
 * @returns 0, -ENOENT, -ECHILD, -EPROTO. Thread-safe, process-safe, as are those below.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_outcome_send(cshm_region *region, const cshm_outcome *outcome,
                                                  uint64_t *ticket);

/** Takes back what cshm_outcome_send() made, unless it was received. @returns as release. */
CSHM_EXPORT int cshm_outcome_retract(cshm_region *region, const cshm_outcome *outcome,
                                     uint64_t ticket);

/**
 * Makes a reference of this process's out of a ticket; or another one, of an outcome that is still there.
 *
 * @returns 0, -ENOENT (it is gone), -ECHILD, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_outcome_receive(cshm_region *region,
                                                     const cshm_outcome *outcome, uint64_t ticket);

/** Has it stay as long as its region. @returns 0, -ENOENT, -ECHILD, -EPROTO. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_outcome_keep(cshm_region *region, const cshm_outcome *outcome);

/** Gives up a reference of this process's; the last one ends the outcome. @returns 0, -ENOENT, -ECHILD,
 *  -EPROTO. */
CSHM_EXPORT int cshm_outcome_release(cshm_region *region, const cshm_outcome *outcome);

/** How many there are, kept ones included; exact if nobody moves. @returns that, or -EPROTO. */
CSHM_EXPORT int64_t cshm_outcome_count(const cshm_region *region);

CSHM_END_DECLS

#endif /* CSHM_OUTCOME_H */
