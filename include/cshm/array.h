/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Elements of one type, one after the other, that several processes read and write in place.
 *
 * Use cshm/value.h where all of it is to change at once.
 *
 * Model
 * -----
 * A count, a mutex, and the elements, all zeroes at first. Nothing here takes the mutex: it is for
 * those who change elements that belong together. Without it an element of up to 8 bytes, stored by
 * one instruction, is the old one or the new one for everybody; a larger one may be read half written.
 *
 * Who may touch what
 * ------------------
 *   elements    everybody, at any time: what goes together is the users' to agree on
 *   count       whoever makes the array; nobody afterwards
 *
 * Ordering
 * --------
 * By the mutex, as in cshm/mutex.h. Elements that are plainly loaded and stored order nothing.
 *
 * If a process dies
 * -----------------
 * With the mutex held: its next holder is told, and repairs the elements. Without: the elements are
 * as far as it had come.
 */
#ifndef CSHM_ARRAY_H
#define CSHM_ARRAY_H

#include "base.h"
#include "mutex.h"
#include "value.h"

CSHM_BEGIN_DECLS

/** An array as this process sees it; plain memory, to be copied at will. */
struct cshm_array {
    /** The first element, aligned to 128 bytes. */
    void *elements;
    /** How many there are. */
    uint64_t count;
    /** For those who change several. */
    cshm_mutex *mutex;
};

/**
 * Makes an array, of zeroes.
 *
 * @param type    What its elements are.
 * @param count   How many, from 0 on.
 * @param offset  Receives its place, to be given to cshm_heap_free() in the end.
 * @returns 0, -EINVAL (no such type), -ENOSPC, -ECHILD, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_array_create(cshm_region *region, const struct cshm_type *type,
                                                  uint64_t count, uint64_t *offset);

/** Opens one. There is nothing to close. @returns 0, -EPROTO (no array of that type is there). */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_array_open(cshm_region *region, uint64_t offset,
                                                const struct cshm_type *type,
                                                struct cshm_array *out);

CSHM_END_DECLS

#endif /* CSHM_ARRAY_H */
