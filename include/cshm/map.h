/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A dictionary of any bytes to any bytes, read and written in place by every process.
 *
 * Model
 * -----
 * 64 shards, each with its own lock for writers and its own table, which grows by doubling. A
 * table is buckets of one cache line, seven entries each, with overflow buckets from the same
 * block; an entry is one word, {tag, generation, place} of an item, and an item (hash, key, value)
 * never changes once an entry names it. So every mutation is one store of one word, and a reader
 * needs no lock: it copies the item out and takes the copy only if the entry, the item's own
 * generation and the shard's table are still what they were. Readers write nothing.
 *
 * Who writes what
 * ---------------
 *   items, before an entry names them    the writer that made them
 *   entries, table, counts, pending      the holder of the shard's lock
 *
 * If a process dies
 * -----------------
 * A writer names what it is about to link or to free in the shard's pending words first, and the
 * shard's lock is robust: the next writer asks the table whether it names the pending item and
 * frees it or keeps it accordingly, recounts, and goes on. Readers are not held up by a dead nor
 * by a stopped writer; other writers of the same shard wait for a stopped one.
 */
#ifndef CSHM_MAP_H
#define CSHM_MAP_H

#include "base.h"

CSHM_BEGIN_DECLS

/** One process's view of a map; any number of threads may use it. */
typedef struct cshm_map cshm_map;

/** An entry held under its shard's lock; see cshm_map_acquire(). */
struct cshm_map_entry {
    /** The current value, or NULL if the key is absent. Valid until the entry is changed. */
    const void *value;
    /** Bytes of it. */
    uint64_t length;
    /** Private to the library. */
    const void *key;
    /** Private to the library. */
    uint64_t key_length;
    /** Private to the library. */
    uint64_t hash;
    /** Private to the library. */
    uint32_t shard;
};

/** Where a walk over a map is; all zeroes starts one. */
struct cshm_map_cursor {
    /** Private to the library. */
    uint64_t table;
    /** Private to the library. */
    uint64_t position;
    /** The shard the walk is in, from 0; it only grows. */
    uint32_t shard;
};

/**
 * Lays out an empty map as one heap block of this process's; share it with cshm_heap_share().
 *
 * @param type_tag  What keys and values are; cshm_map_open() refuses another value.
 * @returns 0, -ENOSPC, -ECHILD.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_create(cshm_region *region, uint64_t type_tag,
                                                uint64_t *offset);

/** Opens a map. @returns 0, -EPROTO (no map there, or of another type), -ENOMEM. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_open(cshm_region *region, uint64_t offset,
                                              uint64_t type_tag, cshm_map **out);

/** Drops this process's view. */
CSHM_EXPORT void cshm_map_close(cshm_map *map);

/** Frees the map and all that is in it. Nobody may use it any more. Closes this view too. */
CSHM_EXPORT void cshm_map_destroy(cshm_map *map);

/**
 * Copies a value out. Takes no lock and writes nothing shared.
 *
 * @param buffer    Where to; may be NULL if capacity is 0.
 * @param capacity  Bytes that fit.
 * @param length    Receives the value's length, also with -EMSGSIZE.
 * @returns 0, -ENOENT (absent), -EMSGSIZE (it does not fit; nothing useful was copied), -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_get(const cshm_map *map, const void *key,
                                             uint64_t key_length, void *buffer, uint64_t capacity,
                                             uint64_t *length);

/**
 * Sets a value, whether the key is there or not.
 *
 * @returns 0 (it was absent), 1 (replaced), -ENOSPC, -EINVAL (over 1 GiB), -ECHILD, -EPROTO.
 *          On failure the map is unchanged.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_put(cshm_map *map, const void *key, uint64_t key_length,
                                             const void *value, uint64_t length);

/** Removes a key. @returns 0, -ENOENT (it was absent), -ECHILD, -EPROTO. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_remove(cshm_map *map, const void *key,
                                                uint64_t key_length);

/** Removes every key, shard by shard. @returns 0, -ECHILD, -EPROTO. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_clear(cshm_map *map);

/**
 * Locks a key's shard and shows its value, for an atomic read-modify-write. Between this and
 * cshm_map_unlock() use only the two functions below, with this entry. The key is not copied.
 *
 * @returns 0, -EDEADLK (this thread is inside another entry of the same shard), -ECHILD, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_lock(cshm_map *map, const void *key, uint64_t key_length,
                                              struct cshm_map_entry *out);

/** Sets a locked entry's value. @returns 0, -ENOSPC, -EINVAL; the entry stays locked. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_entry_set(cshm_map *map, struct cshm_map_entry *entry,
                                                   const void *value, uint64_t length);

/** Removes a locked entry; it stays locked, absent. */
CSHM_EXPORT void cshm_map_entry_remove(cshm_map *map, struct cshm_map_entry *entry);

/** Ends what cshm_map_lock() began. */
CSHM_EXPORT void cshm_map_unlock(cshm_map *map, struct cshm_map_entry *entry);

/**
 * Copies the next item of a walk out: key bytes, then value bytes.
 *
 * @param key_length, length  Receive the sizes, also with -EMSGSIZE.
 * @returns 0; -ENOENT (the walk is over); -EMSGSIZE (the buffer is too small: call again with a
 *          larger one); -ESTALE (the shard grew: drop what was seen of this shard, the walk starts
 *          it again); -EPROTO. Weakly consistent: items that stay throughout are seen once.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_next(const cshm_map *map, struct cshm_map_cursor *cursor,
                                              void *buffer, uint64_t capacity, uint64_t *key_length,
                                              uint64_t *length);

/** Items in it: the sum of its shards' counts. */
CSHM_EXPORT uint64_t cshm_map_count(const cshm_map *map);

CSHM_END_DECLS

#endif /* CSHM_MAP_H */
