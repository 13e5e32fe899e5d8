/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A sequence of any bytes, read by index and changed in place by every process; a deque.
 *
 * Model
 * -----
 * A *body* is a ring of slots and one word, {first, count}, that says which of them are elements; a
 * slot is a word that names an item, which does not change while it is named. So pushing and popping
 * at either end, and setting an element, are one store of one word each. All else (inserting,
 * removing and replacing in the middle) makes another body with the same items, and is one store of
 * the word that names the body: it costs a copy of the slots. Writers have one lock. Readers need
 * none: they copy an element out and take the copy only if body, state, slot and item are still
 * what they were; a slice is taken twice, and is one instant's if all words were the same. A value
 * of 8 bytes that is set to another of 8 is stored in place.
 *
 * Who writes what
 * ---------------
 *   items and bodies, before a word names them    the writer that made them
 *   all else                                      the holder of the lock
 *
 * Ordering
 * --------
 * What a writer did before a call that changed the list happens before what is done by whoever has
 * read an element that it wrote, or has the lock after it.
 *
 * If a process dies
 * -----------------
 * A writer names what it is about to link, to unlink or to free first. Whoever waits for a dead
 * writer's lock takes it over, asks the body whether it names what is pending, and keeps or frees it.
 * Each call's effect is there wholly or not at all, also that of many elements. Readers are not held
 * up by a dead nor by a stopped writer; other writers wait for a stopped one. The lock belongs to a
 * process: a thread that ends between cshm_list_lock() and cshm_list_unlock() keeps it locked until
 * its process ends.
 */
#ifndef CSHM_LIST_H
#define CSHM_LIST_H

#include "base.h"
#include "bell.h"

CSHM_BEGIN_DECLS

/** One process's view of a list; any number of threads may use it. */
typedef struct cshm_list cshm_list;

/** Bytes to put into a list. */
struct cshm_list_value {
    /** Where they are; may be NULL if there are none. */
    const void *bytes;
    /** How many, up to 1 GiB. */
    uint64_t length;
};

/** What to wait for. */
struct cshm_list_watch {
    /** The list; open for as long as this is used. */
    const cshm_list *list;
    /** What cshm_list_changes() last said. */
    uint64_t changes;
};

/**
 * Lays out an empty list as one heap block of this process's; share it with cshm_heap_share().
 *
 * @param type_tag  What elements are; cshm_list_open() refuses another value.
 * @returns 0, -ENOSPC, -ECHILD.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_list_create(cshm_region *region, uint64_t type_tag,
                                                 uint64_t *offset);

/** The same, of which each element says at its end what it holds: cshm/anchor.h. It is to be anchored or
 * shared before it has elements. Adding and setting then return -ENOENT, too: what an element is to hold
 * has ended. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_list_create_holding(cshm_region *region, uint64_t type_tag,
                                                         uint64_t *offset);

/** Opens a list. @returns 0, -EPROTO (no list there, or of another type), -ENOMEM. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_list_open(cshm_region *region, uint64_t offset,
                                               uint64_t type_tag, cshm_list **out);

/** Drops this process's view. */
CSHM_EXPORT void cshm_list_close(cshm_list *list);

/** Frees the list and all that is in it. Nobody may use it any more. Closes this view too. */
CSHM_EXPORT void cshm_list_destroy(cshm_list *list);

/* ---- reading: takes no lock and writes nothing shared ---- */

/** Elements in it, at some instant of the call; 0 if it is damaged. */
CSHM_EXPORT uint64_t cshm_list_count(const cshm_list *list);

/**
 * Copies an element out.
 *
 * @param index     From 0.
 * @param buffer    Where to; may be NULL if capacity is 0.
 * @param capacity  Bytes that fit.
 * @param length    Receives the element's length, also with -EMSGSIZE.
 * @returns 0, -ENOENT (there are not that many), -EMSGSIZE (it does not fit; nothing useful was
 *          copied), -EPROTO. Thread-safe, process-safe; a death elsewhere changes nothing.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_list_get(const cshm_list *list, uint64_t index, void *buffer,
                                              uint64_t capacity, uint64_t *length);

/**
 * Copies elements as they were together at one instant: for each its length, 8 bytes, and then its
 * bytes, padded to 8.
 *
 * @param from, count     Which; those beyond the end are left out.
 * @param buffer          Where to, aligned to 8; may be NULL if capacity is 0.
 * @param copied          Receives how many elements there were.
 * @param size            Receives the bytes they take, also with -EMSGSIZE.
 * @returns 0, -EMSGSIZE (call again with as much room, or more), -EPROTO. If others write all the
 *          time this thread takes the lock for it, when it is free.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_list_slice(const cshm_list *list, uint64_t from,
                                                uint64_t count, void *buffer, uint64_t capacity,
                                                uint64_t *copied, uint64_t *size);

/** A number that differs after each change. */
CSHM_EXPORT uint64_t cshm_list_changes(const cshm_list *list);

/** Waits until the number of changes is another than the watch's. @returns 0, -ETIMEDOUT. After a
 * writer's death a change may be told that did not happen; none is kept back. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_list_wait_until(const struct cshm_list_watch *watch,
                                                     int64_t deadline_ns);

/** The same for cshm_wait_any() and bells; the watch is read until then. */
CSHM_EXPORT void cshm_list_waitable(const struct cshm_list_watch *watch, struct cshm_waitable *out);

/* ---- writing: all return -ECHILD (not joined) and -EPROTO (damaged), too ---- */

/** Adds an element after the last. @returns 0, -ENOSPC, -EINVAL (over 1 GiB). */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_list_push_back(cshm_list *list, const void *bytes,
                                                    uint64_t length);

/** Adds an element before the first. @returns 0, -ENOSPC, -EINVAL (over 1 GiB). */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_list_push_front(cshm_list *list, const void *bytes,
                                                     uint64_t length);

/**
 * Copies the last element out and removes it.
 *
 * @returns 0, -ENOENT (empty), -EMSGSIZE (it does not fit, and stays; `length` says how long it is).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_list_pop_back(cshm_list *list, void *buffer, uint64_t capacity,
                                                   uint64_t *length);

/** The same with the first. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_list_pop_front(cshm_list *list, void *buffer,
                                                    uint64_t capacity, uint64_t *length);

/** Sets an element. @returns 0, -ENOENT (there are not that many), -ENOSPC, -EINVAL (over 1 GiB). */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_list_set(cshm_list *list, uint64_t index, const void *bytes,
                                              uint64_t length);

/**
 * Puts values in the place of elements, all at once: inserts (0 elements), removes (0 values),
 * replaces, appends, clears.
 *
 * @param from, count          Elements to go; -ENOENT if there are not that many.
 * @param values, value_count  What comes there; may be NULL if there are none.
 * @returns 0, -ENOENT, -ENOSPC, -EINVAL (over 1 GiB, or 2^26 elements).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_list_splice(cshm_list *list, uint64_t from, uint64_t count,
                                                 const struct cshm_list_value *values,
                                                 uint64_t value_count);

/**
 * Locks the list: until cshm_list_unlock() only this thread changes it, by the calls above. Readers
 * go on. @returns 0, -EDEADLK (this thread has it).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_list_lock(cshm_list *list);

/** Ends what cshm_list_lock() began, on the same thread. */
CSHM_EXPORT void cshm_list_unlock(cshm_list *list);

/**
 * Shows an element of a list that this thread has locked, until it changes it or unlocks.
 * @returns 0, -ENOENT (there are not that many), -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_list_peek(const cshm_list *list, uint64_t index,
                                               const void **bytes, uint64_t *length);

CSHM_END_DECLS

#endif /* CSHM_LIST_H */
