/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Anchors: who has an object, so that it goes with the last who does.
 *
 * Model
 * -----
 * An object that is only its maker's goes with it, and one that is shared stays as long as its region
 * (cshm/heap.h). One that is *anchored* stays as long as somebody has a *reference* to it: a process,
 * which is a cell with its stamp and a number; or bytes in shared memory, such as a map's value, which
 * are only counted. With its last reference an object is *ended*: emptied, which gives up what it holds,
 * and freed.
 *
 * An anchor is a slot in a table of its region, which is never given back to the heap, and a handle is
 * a slot and its generation; one of an object that has ended is found out. So a handle may be read
 * out of shared memory without a lock: cshm_anchor_acquire() says whether it is still good, and if not,
 * what it was read from has changed.
 *
 *     cshm_anchor_create()    of an object of this process's own; a reference of its
 *     cshm_anchor_acquire()   another one of this process's
 *     cshm_anchor_release()   one of this process's is no more
 *     cshm_anchor_keep()      the object stays as long as its region, as if it were shared
 *
 * A map or list that *holds* (see cshm/map.h) is one whose values say what they hold. Each value has at
 * its end, aligned to 8 bytes, the anchors of what it refers to, and then a word that says how many:
 *
 *     value, padded to 8 | cshm_anchor ... | {how many:16, bytes of the value before padding:48}
 *
 * While such a value is in the map or list, each anchor that it names counts it; and so with a message
 * that a queue has by cshm_queue_try_put_holding(). A name counts it too, for ever (cshm/directory.h).
 * Objects that hold each other keep each other, as everywhere where references are counted: take one out
 * of the other, or they end with the region.
 *
 * Who writes what
 * ---------------
 *   references             who has the guard of the slot's page
 *   object, generation     who made the anchor; then who ends it, who is in the slot as its ender
 *
 * Ordering
 * --------
 * What was done with an object before a reference to it was released happens before its end.
 *
 * If a process dies
 * -----------------
 *   having references                    they count no more: whoever releases the last of the living's
 *                                        ends the object; or cshm_region_reap() does, or who joins in
 *                                        the dead one's place. So with one that leaves, having some
 *   between two words of one change      the page's guard has a log, which its next owner carries out
 *   making an anchor                     it has an object, and is ended, or the object is freed with the
 *                                        dead one's other blocks
 *   ending an object                     another goes on with it
 * While a process is stopped that has a page's guard, those wait who want anchors of that page.
 */
#ifndef CSHM_ANCHOR_H
#define CSHM_ANCHOR_H

#include "base.h"
#include "directory.h"

CSHM_BEGIN_DECLS

/** Names an anchor in its region. */
typedef struct cshm_anchor {
    /** Of its slot. In a value that is in a map or list, with 1 added: the value counts. */
    uint64_t place;
    /** Of the slot, while it is this object's. */
    uint64_t generation;
} cshm_anchor;

enum {
    /** Anchors that one value may name. */
    CSHM_ANCHORS_OF_VALUE_MAX = 65535,
};

/**
 * Anchors an object, of which this process then has a reference.
 *
 * @param kind    CSHM_KIND_MAP, CSHM_KIND_LIST, CSHM_KIND_QUEUE, or CSHM_KIND_BLOCK for what is one
 *                block and no more, as a mutex, an event or a value is.
 * @param offset  The object: a block of this process's own that was not shared.
 * @returns 0, -EINVAL (another kind; not such a block), -ENOSPC, -ECHILD, -EPROTO. Thread-safe,
 *          process-safe, as are those below.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_anchor_create(cshm_region *region, enum cshm_kind kind,
                                                   uint64_t offset, cshm_anchor *out);

/** Makes a reference of this process's. @returns 0, -ENOENT (the object has ended), -ECHILD, -EPROTO. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_anchor_acquire(cshm_region *region, const cshm_anchor *anchor);

/** Gives up a reference of this process's; the last one ends the object. @returns 0, -ENOENT, -ECHILD,
 *  -EPROTO. */
CSHM_EXPORT int cshm_anchor_release(cshm_region *region, const cshm_anchor *anchor);

/** Has the object stay as long as its region; so does a reference for which there is no cell, those of
 *  the 27th process at a time. @returns 0, -ENOENT, -ECHILD, -EPROTO. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_anchor_keep(cshm_region *region, const cshm_anchor *anchor);

/** How many objects are anchored; exact if nobody moves. @returns that, or -EPROTO. */
CSHM_EXPORT int64_t cshm_anchor_count(const cshm_region *region);

CSHM_END_DECLS

#endif /* CSHM_ANCHOR_H */
