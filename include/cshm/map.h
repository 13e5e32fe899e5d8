/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A dictionary of any bytes to any bytes, read and written in place by every process.
 *
 * Model
 * -----
 * Shards, each with its own lock for writers and its own table, which doubles when it is crowded and
 * halves when it is empty, a shard at a time. A table is buckets of one cache line, seven entries
 * each, with overflow buckets from the same block; an entry is one word, {tag, generation, place} of
 * an item, and an item (key, value) does not change while an entry names it. So every mutation is
 * one store of one word, and a reader needs no lock: it copies the item out and takes the copy only
 * if the entry, the item's own generation and the shard's table are still what they were. Readers
 * write nothing and wait for nobody. A value of 8 bytes that is replaced by another of 8 is stored
 * in place: that is one word, too. Where most values are of 8 bytes and keys of 16 at most, an item
 * lies in the table, in the *nest* of its entry, and a byte for each nest hints at whose it is: a reader
 * takes that and the nest, and follows no entry. When the table grows or shrinks, what is in nests
 * moves. Where the CPU exchanges 16 bytes at once (x86-64), putting such a value and adding to it take
 * no lock: value and version change by one instruction, unless somebody has the shard's lock, for which
 * they then wait as everybody does.
 *
 * A *transaction* changes several keys, all or none. It locks their shards in order, writes what each
 * entry is to name into a log, and commits by one store in that; then it stores the entries, one
 * after the other, as others may see.
 *
 * Each change gives its key a new *version*, greater than any that it had before; one that is absent has
 * version 0. Who watches sleeps on one word of the map, which writers only look at.
 *
 * Who writes what
 * ---------------
 *   items, before an entry names them    the writer that made them
 *   an item's generation and word        whoever exchanges both at once
 *   all else                             the holder of the shard's lock, who holds an item back
 *                                        from all others before it is unnamed or moved
 *
 * Ordering
 * --------
 * What a writer did before a call that changed a key happens before what is done by whoever has
 * read that value or version, or has the shard's lock after it.
 *
 * If a process dies
 * -----------------
 * A writer names what it is about to link, to unlink or to free in the shard's pending words first.
 * Whoever waits for a dead writer's lock takes it over, asks the table whether it names what is
 * pending, keeps or frees it accordingly, recounts, wakes those who watch, and goes on; a table that was
 * being filled is dropped, and the old one is whole; what a
 * committed transaction left to do it does, and what one that was not committed prepared it frees. The
 * log is freed with the first of the transaction's shards, when all others are done. Readers are not
 * held up by a dead nor by a stopped writer; other writers of the same shard wait for a stopped
 * one. Who dies having exchanged a word may not have told those who watch the whole map: they are told
 * with its next change. The lock belongs to a process: a thread that ends between cshm_map_lock() and
 * cshm_map_unlock() keeps it locked until its process ends.
 */
#ifndef CSHM_MAP_H
#define CSHM_MAP_H

#include "base.h"
#include "bell.h"

CSHM_BEGIN_DECLS

/** One process's view of a map; any number of threads may use it. */
typedef struct cshm_map cshm_map;

/** How to make a map. */
struct cshm_map_options {
    /** What keys and values are; cshm_map_open() refuses another value. */
    uint64_t type_tag;
    /** Parts that can be written at the same time: a power of two up to 1024; 0 stands for 64. Each
     * takes 256 bytes, and its table when it has keys. */
    uint32_t shards;
    /** 1: each value says at its end what it holds, cshm/anchor.h. Such a map is to be anchored
     * or shared before it has values: what it holds is not let go where it goes with its maker. */
    uint32_t holds;
};

/** An entry held under its shard's lock; see cshm_map_lock(). */
struct cshm_map_entry {
    /** The current value, or NULL if the key is absent. Valid until the entry is changed. */
    const void *value;
    /** Bytes of it. */
    uint64_t length;
    /** Its version, or 0. */
    uint64_t version;
    /** Private to the library. */
    const void *key;
    /** Private to the library. */
    uint64_t key_length;
    /** Private to the library. */
    uint64_t hash;
    /** Private to the library. */
    void *where;
    /** Private to the library. */
    uint64_t word;
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

/** What to wait for. */
struct cshm_map_watch {
    /** The map; open for as long as this is used. */
    const cshm_map *map;
    /** The key, or NULL for every key. */
    const void *key;
    /** Bytes of it. */
    uint64_t key_length;
    /** The key's version as last seen, or what cshm_map_changes() last said. */
    uint64_t version;
};

/**
 * Lays out an empty map as one heap block of this process's; share it with cshm_heap_share().
 *
 * @param options  NULL stands for all zeroes.
 * @returns 0, -EINVAL, -ENOSPC, -ECHILD.
 */
CSHM_EXPORT CSHM_MUST_CHECK int
cshm_map_create(cshm_region *region, const struct cshm_map_options *options, uint64_t *offset);

/** Opens a map. @returns 0, -EPROTO (no map there, or of another type), -ENOMEM. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_open(cshm_region *region, uint64_t offset,
                                              uint64_t type_tag, cshm_map **out);

/** Drops this process's view. */
CSHM_EXPORT void cshm_map_close(cshm_map *map);

/** Frees the map and all that is in it. Nobody may use it any more. Closes this view too. */
CSHM_EXPORT void cshm_map_destroy(cshm_map *map);

/* ---- reading: takes no lock and writes nothing shared ---- */

/**
 * Copies a value out.
 *
 * @param buffer    Where to; may be NULL if capacity is 0.
 * @param capacity  Bytes that fit.
 * @param length    Receives the value's length, also with -EMSGSIZE.
 * @returns 0, -ENOENT (absent), -EMSGSIZE (it does not fit; nothing useful was copied), -EPROTO.
 *          Thread-safe, process-safe; a death elsewhere changes nothing.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_get(const cshm_map *map, const void *key,
                                             uint64_t key_length, void *buffer, uint64_t capacity,
                                             uint64_t *length);

/** Receives a key's version, 0 if it is absent. @returns 0, -EPROTO. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_version(const cshm_map *map, const void *key,
                                                 uint64_t key_length, uint64_t *version);

/**
 * Copies the next item of a walk out: key bytes, then value bytes.
 *
 * @param key_length, length  Receive the sizes, also with -EMSGSIZE.
 * @returns 0; -ENOENT (the walk is over); -EMSGSIZE (the buffer is too small: call again with a
 *          larger one); -ESTALE (the shard's table was replaced: drop what was seen of this shard,
 *          the walk starts it again); -EPROTO. Weakly consistent: items that stay throughout are seen
 *          once. Between cshm_map_freeze() and cshm_map_thaw() it is a snapshot.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_next(const cshm_map *map, struct cshm_map_cursor *cursor,
                                              void *buffer, uint64_t capacity, uint64_t *key_length,
                                              uint64_t *length);

/** Items in it: the sum of its shards' counts. */
CSHM_EXPORT uint64_t cshm_map_count(const cshm_map *map);

/** A number that differs after each change of any key. */
CSHM_EXPORT uint64_t cshm_map_changes(const cshm_map *map);

/**
 * Waits until the version is another than the watch's.
 *
 * @returns 0, -ETIMEDOUT. Changes in quick succession may be seen as one. After a writer's death a
 *          change may be told that did not happen; none is kept back.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_wait_until(const struct cshm_map_watch *watch,
                                                    int64_t deadline_ns);

/** The same for cshm_wait_any() and bells; the watch is read until then. */
CSHM_EXPORT void cshm_map_waitable(const struct cshm_map_watch *watch, struct cshm_waitable *out);

/* ---- writing ---- */

/**
 * Sets a value, whether the key is there or not.
 *
 * @returns 0 (it was absent), 1 (replaced), -ENOSPC, -EINVAL (over 1 GiB; the map holds, and the value
 *          does not say what), -ENOENT (what the value is to hold has ended), -ECHILD, -EPROTO, -EDEADLK
 *          (this thread holds the shard). On failure the map is unchanged.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_put(cshm_map *map, const void *key, uint64_t key_length,
                                             const void *value, uint64_t length);

/** Sets a value if the key is absent. @returns 0, -EEXIST, or as cshm_map_put(). */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_insert(cshm_map *map, const void *key, uint64_t key_length,
                                                const void *value, uint64_t length);

/** Sets a value if the key is there. @returns 0, -ENOENT, or as cshm_map_put(). */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_replace(cshm_map *map, const void *key,
                                                 uint64_t key_length, const void *value,
                                                 uint64_t length);

/** Removes a key. @returns 0, -ENOENT (it was absent), -ECHILD, -EPROTO, -EDEADLK. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_remove(cshm_map *map, const void *key,
                                                uint64_t key_length);

/**
 * Changes a key if its value's bytes are the expected ones.
 *
 * @param expected  NULL: the key is to be absent.
 * @param desired   NULL: the key is removed.
 * @returns 1 (done), 0 (the value is another), or as cshm_map_put().
 */
CSHM_EXPORT CSHM_MUST_CHECK int
cshm_map_compare_exchange(cshm_map *map, const void *key, uint64_t key_length, const void *expected,
                          uint64_t expected_length, const void *desired, uint64_t desired_length);

/**
 * Adds to a value that is an int64_t; an absent one is 0. It wraps.
 *
 * @param before  Receives the value before; may be NULL.
 * @returns 0, -EINVAL (the value has not 8 bytes), or as cshm_map_put().
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_fetch_add(cshm_map *map, const void *key,
                                                   uint64_t key_length, int64_t delta,
                                                   int64_t *before);

/** Removes every key, shard by shard, and so not all of them if this process dies in it.
 * @returns 0, -ECHILD, -EPROTO, -EDEADLK. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_clear(cshm_map *map);

/**
 * Locks a key's shard and shows its value, for an atomic read-modify-write. Between this and
 * cshm_map_unlock() this thread uses only the two functions below, with this entry, and reads. What it
 * has changed stays, if its process dies in between. The key is not copied.
 *
 * @returns 0, -EDEADLK (this thread is inside another entry of the same shard), -ECHILD, -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_lock(cshm_map *map, const void *key, uint64_t key_length,
                                              struct cshm_map_entry *out);

/** Sets a locked entry's value. @returns 0, -ENOSPC, -EINVAL, -EPROTO; the entry stays locked. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_entry_set(cshm_map *map, struct cshm_map_entry *entry,
                                                   const void *value, uint64_t length);

/** Removes a locked entry; it stays locked, absent. */
CSHM_EXPORT void cshm_map_entry_remove(cshm_map *map, struct cshm_map_entry *entry);

/** Ends what cshm_map_lock() began, on the same thread. */
CSHM_EXPORT void cshm_map_unlock(cshm_map *map, struct cshm_map_entry *entry);

/* ---- changing several keys ---- */

/** What is to become of a key at cshm_map_commit(). */
enum cshm_map_action {
    /** It stays as it is. */
    CSHM_MAP_KEEP = 0,
    /** It gets `new_value`, whether it is there or not. */
    CSHM_MAP_SET = 1,
    /** It is removed, if it is there. */
    CSHM_MAP_REMOVE = 2,
};

/** A key of a transaction. All zeroes but the key before cshm_map_begin(). */
struct cshm_map_step {
    /** The key, which is not copied. */
    const void *key;
    /** Bytes of it. */
    uint64_t key_length;
    /** The current value, or NULL if the key is absent: cshm_map_begin()'s answer. */
    const void *value;
    /** Bytes of it. */
    uint64_t length;
    /** Its version, or 0. */
    uint64_t version;
    /** What is to become of it: the user's, before cshm_map_commit(). */
    enum cshm_map_action action;
    /** With CSHM_MAP_SET, the value. */
    const void *new_value;
    /** Bytes of it, up to 1 GiB. */
    uint64_t new_length;
    /** Private to the library. */
    void *where;
    /** Private to the library. */
    uint64_t hash;
    /** Private to the library. */
    uint64_t word;
    /** Private to the library. */
    uint64_t kept;
    /** Private to the library. */
    uint32_t shard;
};

/**
 * Locks the shards of some keys and shows their values. Between this and cshm_map_commit() or
 * cshm_map_abandon() this thread uses the map for reading only, and nobody else changes these keys.
 *
 * @param steps  The keys, no two the same; left alone until the end.
 * @param count  1 to 1024.
 * @returns 0, -EINVAL (the count; a key twice), -EDEADLK (this thread is inside an entry of one of
 *          the shards), -ECHILD, -EPROTO. On failure nothing is locked. Thread-safe, process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_begin(cshm_map *map, struct cshm_map_step *steps,
                                               uint32_t count);

/**
 * Changes all keys as their steps say, or none, and ends the transaction. Others may see one key
 * changed before another; cshm_map_freeze(), and whoever writes these keys next, finds all or none,
 * whether this process lives or is killed.
 *
 * @returns 0, -ENOSPC, -EINVAL (an action; over 1 GiB), -EPROTO. On failure nothing has changed.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_commit(cshm_map *map, struct cshm_map_step *steps,
                                                uint32_t count);

/** Ends a transaction without changing anything. By the thread that began it, as cshm_map_commit(). */
CSHM_EXPORT void cshm_map_abandon(cshm_map *map, struct cshm_map_step *steps, uint32_t count);

/**
 * Locks every shard and holds every word: until cshm_map_thaw() nobody changes anything, and a walk is a
 * snapshot. Readers go on; if this process dies meanwhile, words stay held until they are set next, which
 * takes the lock then. @returns 0, -EDEADLK, -ECHILD.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_map_freeze(cshm_map *map);

/** Ends what cshm_map_freeze() began, on the same thread. */
CSHM_EXPORT void cshm_map_thaw(cshm_map *map);

CSHM_END_DECLS

#endif /* CSHM_MAP_H */
