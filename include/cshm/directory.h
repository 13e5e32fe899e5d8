/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A region's directory: names for the objects in it, so that unrelated programs find a queue or a
 * map by "which region, which name". Objects that only a family of processes uses need no name.
 *
 * Model
 * -----
 * Slots of one name each, in pages that are added and never given back. A slot says what kind of
 * object it is, of which type, and its *place*; a place of 0 means that the slot is free. The slot
 * is filled first and its place stored last, so an object has a name or it has none. The place is
 * also the holder word of the object's block (cshm/heap.h): with that one store the block stops
 * being its maker's and becomes the region's.
 *
 * Finding takes no lock and writes nothing: a reader copies a slot and takes the copy only if the
 * slot's generation and place are still what they were. It looks at every slot in turn: names are
 * for what is opened once, not for data.
 *
 * Who writes what
 * ---------------
 *   slots, pages    the holder of the directory's lock, which is robust
 *
 * Ordering
 * --------
 * What was done to an object before it was named happens before what is done by whoever found it.
 *
 * If a process dies
 * -----------------
 *   adding, before the place    the slot is free; the object is its maker's and freed by the sweep
 *   adding, after it            the object has its name; the sweep marks its block linked
 *   adding a page               nothing names the page: the sweep frees it
 *   removing, before or after   the name is there, or it is not
 * A stopped process that holds the lock delays who adds and who removes; finding goes on.
 *
 * Type tags
 * ---------
 * A tag says what the bytes of an object's elements are, and whoever opens the object with another
 * is refused. Any number will do that its users agree on; cshm_type_tag() makes one of a text. Swift's
 * default for the standard library's types is cshm_type_tag() of the mangled type name ("Si" for Int,
 * "s5Int64V" for Int64), for a dictionary of the key's and the value's in one ("SSSi" for String and
 * Int). For other types it adds their layout, so that a type of the same name with another field is
 * refused. Where C and Swift share a type of their own, choose a text, with a version in it, and give
 * it to both. What has no elements has the tag 0. A condition's mutex has, in Swift, its name with
 * ".lock" behind it.
 */
#ifndef CSHM_DIRECTORY_H
#define CSHM_DIRECTORY_H

#include "base.h"

CSHM_BEGIN_DECLS

/** What an object is. Numbers from 256 on are the user's. */
enum cshm_kind {
    /** A block of the heap. */
    CSHM_KIND_BLOCK = 1,
    /** cshm/mutex.h. */
    CSHM_KIND_MUTEX = 2,
    /** cshm/ring.h. */
    CSHM_KIND_RING = 3,
    /** cshm/queue.h. */
    CSHM_KIND_QUEUE = 4,
    /** cshm/map.h. */
    CSHM_KIND_MAP = 5,
    /** cshm/broadcast.h. */
    CSHM_KIND_BROADCAST = 6,
    /** cshm/list.h. */
    CSHM_KIND_LIST = 7,
    /** cshm/lanes.h. */
    CSHM_KIND_LANES = 8,
    /** cshm/semaphore.h. */
    CSHM_KIND_SEMAPHORE = 10,
    /** cshm/permits.h. */
    CSHM_KIND_PERMITS = 11,
    /** cshm/rwlock.h. */
    CSHM_KIND_RWLOCK = 12,
    /** cshm/baton.h. */
    CSHM_KIND_BATON = 13,
    /** cshm/condition.h. */
    CSHM_KIND_CONDITION = 16,
    /** cshm/event.h. */
    CSHM_KIND_EVENT = 17,
    /** cshm/barrier.h. */
    CSHM_KIND_BARRIER = 18,
    /** cshm/latch.h. */
    CSHM_KIND_LATCH = 19,
    /** cshm/once.h. */
    CSHM_KIND_ONCE = 20,
    /** cshm/value.h. */
    CSHM_KIND_VALUE = 21,
    /** cshm/atomic.h. */
    CSHM_KIND_ATOMIC = 22,
    /** cshm/array.h. */
    CSHM_KIND_ARRAY = 23,
};

/** An object with a name. */
struct cshm_directory_entry {
    /** Its name, ended by a zero byte. */
    char name[CSHM_NAME_MAX + 1];
    /** One of enum cshm_kind, or the user's. */
    uint32_t kind;
    /** What its elements are. */
    uint64_t type_tag;
    /** Its place, for the noun's open function, which checks it. */
    uint64_t offset;
};

/** A tag made of a text: FNV-1a, 64 bits. Thread-safe, async-signal-safe. */
CSHM_EXPORT uint64_t cshm_type_tag(const char *text);

/**
 * Gives a complete object its name. From then on the object outlives this process, as if by
 * cshm_heap_share().
 *
 * @param name      1 to CSHM_NAME_MAX bytes.
 * @param kind      What it is.
 * @param type_tag  The tag it was made with, or 0.
 * @param offset    Its place: the start of a block that this process made, or that is shared.
 * @returns 0, -EEXIST (of several racers exactly one wins), -EINVAL (a bad name; no such block, or
 *          another process's own), -ENOSPC, -ECHILD, -EPROTO (damaged). On failure nothing has
 *          changed. Thread-safe, process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_directory_add(cshm_region *region, const char *name,
                                                   uint32_t kind, uint64_t type_tag,
                                                   uint64_t offset);

/**
 * Finds the object of a name, without a lock.
 *
 * @param out  Receives what is known of it.
 * @returns 0, -ENOENT, -EINVAL (a bad name), -EPROTO (damaged). Thread-safe, process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_directory_find(const cshm_region *region, const char *name,
                                                    struct cshm_directory_entry *out);

/**
 * Takes a name away. The object stays, for those who have it open, until its noun's destroy
 * function or the region's end; destroy nothing that still has a name.
 *
 * @param out  Receives what the name meant; may be NULL.
 * @returns 0, -ENOENT, -EINVAL, -ECHILD, -EPROTO. Thread-safe, process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_directory_remove(cshm_region *region, const char *name,
                                                      struct cshm_directory_entry *out);

/**
 * Calls `visit` for each name, without a lock. Names that are there throughout are visited once.
 *
 * @returns how many there were, or -EPROTO. Thread-safe, process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int
cshm_directory_list(const cshm_region *region,
                    void (*visit)(const struct cshm_directory_entry *entry, void *context),
                    void *context);

CSHM_END_DECLS

#endif /* CSHM_DIRECTORY_H */
