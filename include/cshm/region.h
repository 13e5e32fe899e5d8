/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A region: one shared mapping with a header, a table of participants and a heap, in which every
 * other object lives. Anonymous ones are sealed memfds that nothing can leak; named ones are
 * POSIX shared memory, found by unrelated programs and by shm_open("/name").
 *
 * Model
 * -----
 * The whole capacity is mapped once as a sparse reserve. Memory is committed (fallocate) before
 * it is used, in steps, and a watermark in the region says how far, so that a full file system is
 * -ENOSPC from an allocation and never a SIGBUS. Places are offsets from the region's start; an
 * offset of 0 means none.
 *
 * Who writes what
 * ---------------
 *   header page    the creator, before the region can be seen; nobody afterwards
 *   live page      the holder of the heap lock, and participants their own entries
 *   heap           see cshm/heap.h
 *
 * Ordering
 * --------
 * What its creator did before it was named happens before what is done by whoever opened it. What is
 * in it comes by the objects' own calls, and by cshm/directory.h.
 *
 * If a process dies
 * -----------------
 * A creator that dies before the name is linked leaves nothing: the file had no name. Anybody
 * else leaves a participant entry, whose death the kernel certifies (cshm/participant.h); what it
 * owned is given back by the next cshm_region_reap(), create or attach.
 */
#ifndef CSHM_REGION_H
#define CSHM_REGION_H

#include "base.h"

CSHM_BEGIN_DECLS

/** How to make a region. Zero-initialise, then set what matters. */
struct cshm_region_options {
    /** Bytes that the region may grow to; 0 takes half of the machine's (or cgroup's) memory.
     *  Rounded up to 64 KiB; at least 1 MiB, at most 1 TiB. */
    uint64_t capacity;
};

/** What a region is and how full it is. */
struct cshm_region_info {
    /** Identity of this incarnation. */
    uint8_t uuid[CSHM_UUID_BYTES];
    /** Bytes it may grow to. */
    uint64_t capacity;
    /** Bytes committed so far, whether in use or free. */
    uint64_t committed;
    /** Participants attached, the caller among them. */
    uint32_t participants;
};

/**
 * Makes an anonymous region and joins it.
 *
 * @param options  NULL for the defaults.
 * @param out      Receives the region.
 * @returns 0, -EINVAL (capacity out of range), -ENOSPC, -ENOMEM (address space), or the kernel's.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_region_create(const struct cshm_region_options *options,
                                                   cshm_region **out);

/**
 * Makes a named region and joins it. Nobody ever sees it half made: it gets its name last.
 *
 * @param name     1 to CSHM_NAME_MAX bytes without '/', not starting with '.'.
 * @param options  NULL for the defaults.
 * @param out      Receives the region.
 * @returns 0, -EEXIST (of several racers exactly one wins), -EINVAL, -ENOSPC, -ENOMEM.
 *
 * The region persists until cshm_region_remove(), even when nobody is attached. Mode 0600.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_region_create_named(const char *name,
                                                         const struct cshm_region_options *options,
                                                         cshm_region **out);

/**
 * Joins the region of that name.
 *
 * @returns 0, -ENOENT, -EINVAL (bad name), -EACCES (another user's), -EBADMSG (not a region),
 *          -EPROTO (another build's layout, or damaged), -EXDEV (another PID namespace),
 *          -EUSERS (the participant table is full), -ENOMEM.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_region_open(const char *name, cshm_region **out);

/**
 * Maps the region of that name for reading, without joining it: nobody hears of it, and it leaves
 * nothing behind. What is in the region may be freed meanwhile by those who own it.
 *
 * Only these may be called on the result, the others answer -ECHILD or crash: cshm_region_describe(),
 * cshm_directory_find() and _list(), cshm_heap_pointer(), whose memory can be read only;
 * cshm_value_open() and _load(), cshm_array_open(), cshm_atomic_check() and _load();
 * cshm_region_close().
 *
 * @returns as cshm_region_open(), save -EUSERS.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_region_open_read_only(const char *name, cshm_region **out);

/**
 * Joins an anonymous region by its share descriptor, which this call duplicates.
 *
 * @returns as cshm_region_open().
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_region_attach(int descriptor, cshm_region **out);

/**
 * Maps a region without joining it, so that the children this process forks inherit the mapping.
 * Only cshm_region_join() and cshm_region_close() may be called on the result before it joined.
 *
 * @returns as cshm_region_open().
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_region_map(int descriptor, cshm_region **out);

/**
 * Joins a region whose mapping was inherited by fork; one thread does. Until then
 * every call that needs a participant answers -ECHILD in the child.
 *
 * @returns 0, -EALREADY (joined in this process), -EROFS (mapped for reading), -EUSERS, -EXDEV (in
 *          another PID namespace), or the kernel's.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_region_join(cshm_region *region);

/**
 * Leaves and unmaps. Every object handle of the region must be closed before. What this process
 * allocated and did not share is freed.
 *
 * @returns 0, or -EBUSY: a thread of this process holds a mutex of the region (cshm/mutex.h), and would
 *          crash in its next acquire of any; release it first. The region is then as it was.
 */
CSHM_EXPORT int cshm_region_close(cshm_region *region);

/** The descriptor to pass to another process; owned by the region. Never lock it. */
CSHM_EXPORT int cshm_region_descriptor(const cshm_region *region);

/** Writes what the region is. Thread-safe. */
CSHM_EXPORT void cshm_region_describe(const cshm_region *region, struct cshm_region_info *out);

/**
 * Takes a name away; those who are attached stay so.
 *
 * @returns 0, -ENOENT, -EINVAL, -EBADMSG (the file of that name is not a region), -EACCES.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_region_remove(const char *name);

/**
 * Calls `visit` for the name of each region of this user in /dev/shm.
 *
 * @returns how many there were, or the kernel's error.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_region_list(void (*visit)(const char *name, void *context),
                                                 void *context);

/**
 * Finds dead participants and takes back what they owned.
 *
 * @returns how many were swept, or -ECHILD. Thread-safe, process-safe; a system call or two for
 *          each participant.
 */
CSHM_EXPORT int cshm_region_reap(cshm_region *region);

CSHM_END_DECLS

#endif /* CSHM_REGION_H */
