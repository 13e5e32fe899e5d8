/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * One value of any size that several processes read and write, whole.
 *
 * Use cshm/atomic.h for a number, cshm/array.h for many values that change one by one.
 *
 * Model
 * -----
 * Two copies, and a number that says by its lowest bit which of them counts. A writer has the value's
 * mutex, fills the other copy, and then raises the number by one store. A reader takes no lock: it
 * copies the one that counts, and takes what it copied if the number is still the same; if writers
 * are always faster, it takes the lock after all.
 *
 * Who writes what
 * ---------------
 *   the copies, the number    the holder of the mutex
 *
 * Ordering
 * --------
 * What a writer did before it stored, or committed, happens before what is done by whoever has
 * read that value, or edits it next.
 *
 * If a process dies
 * -----------------
 *   writing, before the number    the old value counts; the next write covers the other copy
 *   after the number              the new value counts
 *   holding the mutex             the next holder has it; the value is whole, so nobody is told
 * Readers go on while a writer is stopped; writers wait for it.
 */
#ifndef CSHM_VALUE_H
#define CSHM_VALUE_H

#include "base.h"
#include "bell.h"

CSHM_BEGIN_DECLS

/** What the bytes of a value are. All of it must be the same where it is opened. */
struct cshm_type {
    /** Made by cshm_type_tag() of a text that all who use it agree on. */
    uint64_t tag;
    /** Bytes of one, from 0 on. */
    uint32_t size;
    /** Bytes from one to the next, at least `size` and 1; a multiple of the alignment. */
    uint32_t stride;
    /** A power of two up to 128. */
    uint32_t alignment;
};

/** A value in this process. Its threads may share one. */
typedef struct cshm_value cshm_value;

/**
 * Makes a value.
 *
 * @param type     What it is.
 * @param initial  Its first bytes; NULL for zeroes.
 * @param offset   Receives its place.
 * @returns 0, -EINVAL (no such type), -ENOSPC, -ECHILD, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_value_create(cshm_region *region, const struct cshm_type *type,
                                                  const void *initial, uint64_t *offset);

/** Opens one. @returns 0, -EPROTO (no value of that type is there), -ENOMEM. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_value_open(cshm_region *region, uint64_t offset,
                                                const struct cshm_type *type, cshm_value **out);

/** Drops this process's view. */
CSHM_EXPORT void cshm_value_close(cshm_value *value);

/** Closes it and frees its memory. Nobody may use it any more. */
CSHM_EXPORT void cshm_value_destroy(cshm_value *value);

/**
 * Reads it.
 *
 * @param out  Receives the type's size in bytes.
 * @returns 0; -EAGAIN, if the region is attached for reading only and writers were always faster;
 *          -ENOTRECOVERABLE, -EPROTO. Thread-safe, process-safe; also from within an edit.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_value_load(cshm_value *value, void *out);

/**
 * Writes it.
 *
 * @param deadline_ns  Absolute; INT64_MAX for ever.
 * @returns 0, -ETIMEDOUT, -EDEADLK (this thread edits it), -ECHILD, -EPROTO. Thread-safe,
 *          process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_value_store_until(cshm_value *value, const void *from,
                                                       int64_t deadline_ns);

/**
 * Begins to read, change and write it in one step. End that with cshm_value_commit() or
 * cshm_value_abort(), on the same thread.
 *
 * @param bytes  Receives a copy of it, in this process's own memory, to be changed.
 * @returns as cshm_value_store_until().
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_value_edit_until(cshm_value *value, void **bytes,
                                                      int64_t deadline_ns);

/** As cshm_value_edit_until(), without waiting; -EAGAIN in the place of -ETIMEDOUT. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_value_try_edit(cshm_value *value, void **bytes);

/** The same by who was woken at the place of cshm_value_editable(), so that others are woken, too. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_value_try_edit_woken(cshm_value *value, void **bytes);

/** What to wait for before a try: that nobody edits. As cshm_mutex_waitable(). */
CSHM_EXPORT void cshm_value_editable(const cshm_value *value, struct cshm_waitable *out);

/** What was edited counts from now on. By the thread that began, as cshm_value_abort(). */
CSHM_EXPORT void cshm_value_commit(cshm_value *value);

/** Nothing was edited. */
CSHM_EXPORT void cshm_value_abort(cshm_value *value);

/** Loads a word that another process stores (acquire). */
CSHM_EXPORT uint64_t cshm_word_load(const void *word);

/** Stores a word for other processes (release). */
CSHM_EXPORT void cshm_word_store(void *word, uint64_t value);

CSHM_END_DECLS

#endif /* CSHM_VALUE_H */
