/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Participants: who is attached to a region, and who of them is dead.
 *
 * Model
 * -----
 * Each attached process holds one entry of a table and, for as long as it lives, an OFD lock on
 * the byte of that entry, through a descriptor that is never passed on and closed on exec and in
 * forked children. The kernel drops the lock when the last thread of the process has lost its
 * address space: an unlocked byte certifies that nothing of that process can store any more. No
 * process id is ever trusted, as they are reused. A *stamp*, {generation, index}, names one
 * attachment of one process for ever.
 *
 * Who writes what
 * ---------------
 *   an entry    who has its byte's lock; that it is dead, whoever finds the byte unlocked
 *
 * Ordering
 * --------
 * All that a process stored happens before what is done by whoever was told that it is gone.
 *
 * If a process dies
 * -----------------
 * Its entry stays LIVE with an unlocked byte. Whoever gets the byte's lock has the certificate
 * and sweeps; if the sweeper dies, its lock goes too and the sweep, which is idempotent, starts
 * again. A process that dies while joining leaves JOINING with an unlocked byte: the same.
 */
#ifndef CSHM_PARTICIPANT_H
#define CSHM_PARTICIPANT_H

#include "base.h"

CSHM_BEGIN_DECLS

enum {
    /** Processes that may be attached to one region at a time. */
    CSHM_PARTICIPANTS_MAX = 512,
};

/** The caller's stamp in this region, or 0 if this process has not joined it. */
CSHM_EXPORT uint64_t cshm_participant_self(const cshm_region *region);

/**
 * Whether the process with that stamp is dead or has left.
 *
 * @returns 1 if certainly so, 0 if it may be alive (a stopped process is; a dead one may seem to
 *          be at the moment that another takes its entry over). At most two system calls.
 *          Thread-safe.
 */
CSHM_EXPORT int cshm_participant_is_gone(const cshm_region *region, uint64_t stamp);

CSHM_END_DECLS

#endif /* CSHM_PARTICIPANT_H */
