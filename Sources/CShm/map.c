/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/map.h for the model. Pairs:
 *
 *   [entry]  a writer fills an item, then stores the entry that names it (release) -> a reader
 *            loads the entry (acquire) before it looks at the item
 *   [table]  a writer fills a table, then stores the shard's word (release) -> a reader loads it
 *            (acquire) before it looks at the table
 *   [check]  a writer changes an entry or the shard's word, gives the memory back by the heap's
 *            [block], and whoever gets it next stores its words (release) -> a reader loads each
 *            word (acquire), then looks at the entry and the shard's word once more
 *
 * A reader holds nothing back, so the memory it looks at may be somebody else's by now. Had any word
 * it loaded been the next owner's, then that owner's release store, the FREE before it and the
 * change of the entry before that all happened before the second look, which therefore sees the
 * change, and the copy is thrown away. Hence every word of items and tables is an atomic, and no
 * fence is needed: on x86 these loads and stores are plain moves. An owner other than a map may
 * write by plain stores, which C11 does not order: there the argument is the CPU's, which makes no
 * store visible before an earlier acquire or release of the same core.
 *
 * A writer's stores, in order, and what the shard's next writer does if they end there:
 *
 *   pending_new = item      the table does not name it: freed
 *   entry = item            the table names it: kept, counted again
 *   pending_old = old       the table does not name it any more: freed
 *   old freed               its cell does not name the shard: nothing to free
 *   pending words = 0       nothing
 *
 * Growing is the same with a table in the place of the item and the shard's word as the entry.
 */
#include <cshm/map.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

#include "internal.h"

enum {
    MAGIC = 0x6d617061,       /* "mapa" */
    TABLE_MAGIC = 0x7461626c, /* "tabl" */
    FIRST_LOG2 = 1,
    LAST_LOG2 = 26,
    LOAD = 4, /* items a bucket, on average, before a table doubles */
};

static const uint64_t LENGTH_MAX = 1ull << 30;
static const uint64_t PLACE_MASK = (1ull << 48) - 1;

struct cshm_map {
    cshm_region *region;
    struct cshm_map_shared *shared;
    uint64_t seed[2];
};

/* A table as checked: nothing read through it leaves its block. */
struct table {
    struct cshm_map_table *shared;
    uint64_t word;
    uint32_t log2;
    uint32_t mask;
    uint32_t buckets;
};

/* An item as checked: what its lengths cover is within its block. */
struct item {
    struct cshm_map_item *shared;
    uint64_t generation;
    uint64_t key_length;
    uint64_t length;
};

/* Where a key was found. */
struct found {
    _Atomic uint64_t *entry;
    uint64_t word;
    struct item item;
};

/* ---- hashing: SipHash-1-3 (Aumasson, Bernstein), keyed so that keys cannot be chosen to collide */

static uint64_t rotate(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static uint64_t hash_of(const struct cshm_map *map, const void *key, uint64_t length)
{
    const uint8_t *bytes = key;
    uint64_t v[4] = {map->seed[0] ^ 0x736f6d6570736575ull, map->seed[1] ^ 0x646f72616e646f6dull,
                     map->seed[0] ^ 0x6c7967656e657261ull, map->seed[1] ^ 0x7465646279746573ull};
    uint64_t word = 0;
    uint64_t at = 0;
    for (; at + 8 <= length; at += 8) {
        memcpy(&word, bytes + at, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    word = length << 56;
    for (uint64_t i = at; i < length; i++) {
        word |= (uint64_t)bytes[i] << (8 * (i - at));
    }
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++) {
        sip_round(v);
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static uint32_t shard_of(uint64_t hash)
{
    return (uint32_t)(hash >> 58);
}

/* ---- words ---- */

/* {tag:12, generation:16, place / 16: 36}: 1 TiB of places. */
static uint64_t entry_word(uint64_t hash, uint64_t generation, uint64_t place)
{
    return ((hash >> 46) & 0xfff) << 52 | (generation & 0xffff) << 36 | place >> 4;
}

static uint64_t entry_place(uint64_t word)
{
    return (word & ((1ull << 36) - 1)) << 4;
}

static uint64_t entry_tag(uint64_t word)
{
    return word >> 52;
}

static uint64_t words_for(uint64_t bytes)
{
    return (bytes + 7) / 8;
}

/* Whole words: see [check]. The destination has room for the last word's rest only up to `length`
 * bytes. */
static void copy_out(void *to, const _Atomic uint64_t *from, uint64_t length)
{
    uint8_t *bytes = to;
    for (uint64_t i = 0; i < length; i += 8) {
        uint64_t word = atomic_load_explicit(from + i / 8, memory_order_acquire); /* [check] */
        memcpy(bytes + i, &word, length - i < 8 ? length - i : 8);
    }
}

static void copy_in(_Atomic uint64_t *to, const void *from, uint64_t length)
{
    const uint8_t *bytes = from;
    for (uint64_t i = 0; i < length; i += 8) {
        uint64_t word = 0;
        memcpy(&word, bytes + i, length - i < 8 ? length - i : 8);
        atomic_store_explicit(to + i / 8, word, memory_order_release); /* [check] */
    }
}

static bool equals(const _Atomic uint64_t *words, const void *key, uint64_t length)
{
    const uint8_t *bytes = key;
    for (uint64_t i = 0; i < length; i += 8) {
        uint64_t mine = 0;
        memcpy(&mine, bytes + i, length - i < 8 ? length - i : 8);
        if (atomic_load_explicit(words + i / 8, memory_order_acquire) != mine) { /* [check] */
            return false;
        }
    }
    return true;
}

/* ---- looking ---- */

static uint64_t table_size(uint32_t buckets)
{
    return sizeof(struct cshm_map_table) + (uint64_t)buckets * sizeof(struct cshm_map_bucket);
}

static uint32_t buckets_for(uint32_t log2)
{
    return (1u << log2) + (1u << log2) / 8 + 2;
}

/* Memory that a reader of an earlier owner may still be looking at: see [check]. */
static void zero(_Atomic uint64_t *words, uint64_t size)
{
    for (uint64_t i = 0; i < size / 8; i++) {
        atomic_store_explicit(words + i, 0, memory_order_release);
    }
}

static bool load_table(const struct cshm_map *map, const struct cshm_map_shard *shard,
                       struct table *out)
{
    uint64_t word = atomic_load_explicit(&shard->table, memory_order_acquire); /* [table] */
    struct cshm_map_table *table =
        cshm_heap_pointer(map->region, word & PLACE_MASK, sizeof(struct cshm_map_table));
    if (table == NULL ||
        atomic_load_explicit(&table->magic, memory_order_acquire) != TABLE_MAGIC) { /* [check] */
        return false;
    }
    uint32_t log2 = atomic_load_explicit(&table->log2_buckets, memory_order_acquire);
    uint32_t buckets = atomic_load_explicit(&table->buckets, memory_order_acquire);
    if (log2 > LAST_LOG2 || buckets != buckets_for(log2) ||
        cshm_heap_pointer(map->region, word & PLACE_MASK, table_size(buckets)) == NULL) {
        return false;
    }
    *out = (struct table){table, word, log2, (1u << log2) - 1, buckets};
    return true;
}

/* Whether the shard still names the table: the second look. */
static bool table_is_current(const struct cshm_map_shard *shard, uint64_t word)
{
    return atomic_load_explicit(&shard->table, memory_order_relaxed) == word; /* [check] */
}

/* The item that an entry names; false if there is none, or its lengths do not fit its block. */
static bool load_item(const struct cshm_map *map, uint64_t word, struct item *out)
{
    uint64_t place = entry_place(word);
    struct cshm_map_item *item =
        cshm_heap_pointer(map->region, place, sizeof(struct cshm_map_item));
    if (item == NULL) {
        return false;
    }
    /* The generation before the rest, as it is the first word to be looked at again: [check] */
    uint64_t generation = atomic_load_explicit(&item->generation, memory_order_acquire);
    uint64_t key_length = atomic_load_explicit(&item->key_length, memory_order_acquire);
    uint64_t length = atomic_load_explicit(&item->length, memory_order_acquire);
    if (key_length > LENGTH_MAX || length > LENGTH_MAX) {
        return false;
    }
    uint64_t size = sizeof *item + (words_for(key_length) + words_for(length)) * 8;
    if (cshm_heap_pointer(map->region, place, size) == NULL) {
        return false;
    }
    *out = (struct item){item, generation, key_length, length};
    return true;
}

static const _Atomic uint64_t *value_of(const struct item *item)
{
    return item->shared->bytes + words_for(item->key_length);
}

/* Whether the entry still names the item as it was loaded: the second look. An entry has 16 bits
 * of the generation only. */
static bool item_is_current(const _Atomic uint64_t *entry, uint64_t word, const struct item *item)
{
    return atomic_load_explicit(entry, memory_order_relaxed) == word && /* [check] */
           atomic_load_explicit(&item->shared->generation, memory_order_relaxed) ==
               item->generation;
}

static uint32_t home_of(const struct table *table, uint64_t hash)
{
    return (uint32_t)hash & table->mask;
}

/* The bucket after this one, or NULL; at most as many steps as there are buckets. */
static struct cshm_map_bucket *next_bucket(const struct table *table,
                                           struct cshm_map_bucket *bucket, uint32_t *steps)
{
    uint64_t next = atomic_load_explicit(&bucket->next, memory_order_acquire);
    if (next == 0 || next >= table->buckets || ++*steps > table->buckets) {
        return NULL;
    }
    return &table->shared->bucket[next];
}

/* Looks for a key. Without the shard's lock the result is to be checked. */
static bool find(const struct cshm_map *map, const struct table *table, uint64_t hash,
                 const void *key, uint64_t key_length, struct found *out)
{
    uint64_t tag = entry_tag(entry_word(hash, 0, 0));
    uint32_t steps = 0;
    struct cshm_map_bucket *bucket = &table->shared->bucket[home_of(table, hash)];
    for (; bucket != NULL; bucket = next_bucket(table, bucket, &steps)) {
        for (uint32_t i = 0; i < CSHM_MAP_ENTRIES; i++) {
            uint64_t word =
                atomic_load_explicit(&bucket->entry[i], memory_order_acquire); /* [entry] */
            struct item item;
            if (word == 0 || entry_tag(word) != tag) {
                continue;
            }
            if (load_item(map, word, &item) && item.key_length == key_length &&
                atomic_load_explicit(&item.shared->hash, memory_order_acquire) == hash &&
                equals(item.shared->bytes, key, key_length)) {
                *out = (struct found){&bucket->entry[i], word, item};
                return true;
            }
            /* Another key, or an item replaced and recycled since the entry was read: look again. */
            if (atomic_load_explicit(&bucket->entry[i], memory_order_relaxed) !=
                word) { /* [check] */
                i--;
            }
        }
    }
    return false;
}

int cshm_map_get(const cshm_map *map, const void *key, uint64_t key_length, void *buffer,
                 uint64_t capacity, uint64_t *length)
{
    uint64_t hash = hash_of(map, key, key_length);
    const struct cshm_map_shard *shard = &map->shared->shard[shard_of(hash)];
    for (;;) {
        struct table table;
        struct found found;
        /* acquire: [table] */
        uint64_t before = atomic_load_explicit(&shard->table, memory_order_acquire);
        if (!load_table(map, shard, &table)) {
            /* Damaged, unless the table was replaced between the looks at it. */
            if (table_is_current(shard, before)) {
                return -EPROTO;
            }
            continue;
        }
        if (!find(map, &table, hash, key, key_length, &found)) {
            if (table_is_current(shard, table.word)) {
                return -ENOENT;
            }
            continue;
        }
        bool fits = found.item.length <= capacity;
        if (fits) {
            copy_out(buffer, value_of(&found.item), found.item.length);
        }
        if (table_is_current(shard, table.word) &&
            item_is_current(found.entry, found.word, &found.item)) {
            *length = found.item.length;
            return fits ? 0 : -EMSGSIZE;
        }
    }
}

/* ---- writing: under the shard's lock ---- */

static int new_table(struct cshm_map *map, struct cshm_map_shard *shard, uint32_t log2,
                     struct cshm_map_table **out, uint64_t *place)
{
    uint64_t size = table_size(buckets_for(log2));
    int status = cshm__heap_allocate_for(map->region, size, &shard->pending_new, place);
    if (status != 0) {
        return status;
    }
    atomic_store_explicit(&shard->pending_new, *place, memory_order_release);
    cshm__heap_link(map->region, *place);
    struct cshm_map_table *table = cshm_heap_pointer(map->region, *place, size);
    if (table == NULL) {
        return -EPROTO;
    }
    zero((_Atomic uint64_t *)(void *)table, size);
    atomic_store_explicit(&table->log2_buckets, log2, memory_order_release);
    atomic_store_explicit(&table->buckets, buckets_for(log2), memory_order_release);
    atomic_store_explicit(&table->magic, TABLE_MAGIC, memory_order_release);
    *out = table;
    return 0;
}

/* A free entry for a hash, with an overflow bucket if need be; NULL if the table is too full. */
static _Atomic uint64_t *free_entry(const struct table *table, uint64_t hash)
{
    uint32_t steps = 0;
    struct cshm_map_bucket *bucket = &table->shared->bucket[home_of(table, hash)];
    for (;;) {
        for (uint32_t i = 0; i < CSHM_MAP_ENTRIES; i++) {
            if (atomic_load_explicit(&bucket->entry[i], memory_order_relaxed) == 0) {
                return &bucket->entry[i];
            }
        }
        struct cshm_map_bucket *next = next_bucket(table, bucket, &steps);
        if (next == NULL) {
            break;
        }
        bucket = next;
    }
    uint32_t used = atomic_load_explicit(&table->shared->overflow_used, memory_order_relaxed);
    if (used >= table->buckets - table->mask - 1) {
        return NULL;
    }
    /* Dying between these two wastes one bucket until the table doubles. */
    atomic_store_explicit(&table->shared->overflow_used, used + 1, memory_order_relaxed);
    atomic_store_explicit(&bucket->next, table->mask + 1 + used, memory_order_release);
    return &table->shared->bucket[table->mask + 1 + used].entry[0];
}

static bool names(const struct cshm_map *map, struct cshm_map_shard *shard, uint64_t place)
{
    struct table table;
    if ((atomic_load_explicit(&shard->table, memory_order_relaxed) & PLACE_MASK) == place) {
        return true;
    }
    if (!load_table(map, shard, &table)) {
        return false;
    }
    for (uint32_t i = 0; i < table.buckets; i++) {
        for (uint32_t k = 0; k < CSHM_MAP_ENTRIES; k++) {
            uint64_t word =
                atomic_load_explicit(&table.shared->bucket[i].entry[k], memory_order_relaxed);
            if (word != 0 && entry_place(word) == place) {
                return true;
            }
        }
    }
    return false;
}

/* Finishes or undoes what a dead holder of the lock left; idempotent. */
static void recover(struct cshm_map *map, struct cshm_map_shard *shard)
{
    _Atomic uint64_t *pending[2] = {&shard->pending_new, &shard->pending_old};
    struct table table;
    uint64_t count = 0;
    for (int i = 0; i < 2; i++) {
        uint64_t place = atomic_load_explicit(pending[i], memory_order_acquire);
        if (place == 0) {
            continue;
        }
        if (names(map, shard, place)) {
            cshm__heap_link(map->region, place);
        } else {
            cshm__heap_free_from(map->region, place, &shard->pending_new);
        }
        atomic_store_explicit(pending[i], 0, memory_order_release);
    }
    if (load_table(map, shard, &table)) {
        for (uint32_t i = 0; i < table.buckets; i++) {
            for (uint32_t k = 0; k < CSHM_MAP_ENTRIES; k++) {
                count += atomic_load_explicit(&table.shared->bucket[i].entry[k],
                                              memory_order_relaxed) != 0;
            }
        }
    }
    atomic_store_explicit(&shard->count, count, memory_order_relaxed);
}

static int lock_shard(struct cshm_map *map, struct cshm_map_shard *shard)
{
    if (cshm_participant_self(map->region) == 0) {
        return -ECHILD;
    }
    int status = cshm_mutex_acquire_until(&shard->lock, INT64_MAX);
    if (status == 1) {
        recover(map, shard);
        (void)cshm_mutex_repair(&shard->lock);
        status = 0;
    }
    return status;
}

static void unlock_shard(struct cshm_map_shard *shard)
{
    (void)cshm_mutex_release(&shard->lock);
}

/* Frees what no entry names any more. */
static void drop(struct cshm_map *map, struct cshm_map_shard *shard, uint64_t place)
{
    cshm__heap_free_from(map->region, place, &shard->pending_new);
    atomic_store_explicit(&shard->pending_old, 0, memory_order_release);
}

/* Frees what was not linked after all. */
static void undo(struct cshm_map *map, struct cshm_map_shard *shard, uint64_t place)
{
    cshm__heap_free_from(map->region, place, &shard->pending_new);
    atomic_store_explicit(&shard->pending_new, 0, memory_order_release);
}

static uint64_t next_generation(struct cshm_map_shard *shard)
{
    uint64_t generation = atomic_load_explicit(&shard->next_generation, memory_order_relaxed) + 1;
    atomic_store_explicit(&shard->next_generation, generation, memory_order_relaxed);
    return generation;
}

/* Replaces the shard's table by one of twice the size (or the first one). */
static int grow(struct cshm_map *map, struct cshm_map_shard *shard, uint32_t log2)
{
    struct cshm_map_table *made = NULL;
    uint64_t place = 0;
    uint64_t old = atomic_load_explicit(&shard->table, memory_order_relaxed);
    if (log2 > LAST_LOG2) {
        return -ENOSPC;
    }
    int status = new_table(map, shard, log2, &made, &place);
    if (status != 0) {
        return status;
    }
    struct table from;
    struct table to = {made, 0, log2, (1u << log2) - 1, buckets_for(log2)};
    if (old != 0 && load_table(map, shard, &from)) {
        for (uint32_t i = 0; i < from.buckets; i++) {
            for (uint32_t k = 0; k < CSHM_MAP_ENTRIES; k++) {
                uint64_t word =
                    atomic_load_explicit(&from.shared->bucket[i].entry[k], memory_order_relaxed);
                struct item item;
                if (word == 0 || !load_item(map, word, &item)) {
                    continue;
                }
                _Atomic uint64_t *entry =
                    free_entry(&to, atomic_load_explicit(&item.shared->hash, memory_order_relaxed));
                /* A chain is split in two, and so fits: its hashes are not what they were. */
                if (entry == NULL) {
                    undo(map, shard, place);
                    return -EPROTO;
                }
                atomic_store_explicit(entry, word, memory_order_relaxed);
            }
        }
    }
    uint64_t old_place = old & PLACE_MASK;
    atomic_store_explicit(&shard->pending_old, old_place, memory_order_release);
    atomic_store_explicit(&shard->table, ((old >> 48) + 1) << 48 | place,
                          memory_order_release); /* [table] */
    atomic_store_explicit(&shard->pending_new, 0, memory_order_release);
    drop(map, shard, old_place);
    return 0;
}

static int new_item(struct cshm_map *map, struct cshm_map_shard *shard,
                    const struct cshm_map_entry *entry, const void *value, uint64_t length,
                    uint64_t *word)
{
    uint64_t key_words = words_for(entry->key_length);
    uint64_t size = sizeof(struct cshm_map_item) + (key_words + words_for(length)) * 8;
    uint64_t place = 0;
    if (entry->key_length > LENGTH_MAX || length > LENGTH_MAX) {
        return -EINVAL;
    }
    int status = cshm__heap_allocate_for(map->region, size, &shard->pending_new, &place);
    if (status != 0) {
        return status;
    }
    atomic_store_explicit(&shard->pending_new, place, memory_order_release);
    cshm__heap_link(map->region, place);
    struct cshm_map_item *item = cshm_heap_pointer(map->region, place, size);
    if (item == NULL) {
        return -EPROTO;
    }
    uint64_t generation = next_generation(shard);
    atomic_store_explicit(&item->generation, generation, memory_order_release); /* [check] */
    atomic_store_explicit(&item->hash, entry->hash, memory_order_release);
    atomic_store_explicit(&item->key_length, entry->key_length, memory_order_release);
    atomic_store_explicit(&item->length, length, memory_order_release);
    copy_in(item->bytes, entry->key, entry->key_length);
    copy_in(item->bytes + key_words, value, length);
    *word = entry_word(entry->hash, generation, place);
    return 0;
}

static int set_locked(struct cshm_map *map, struct cshm_map_entry *entry, const void *value,
                      uint64_t length)
{
    struct cshm_map_shard *shard = &map->shared->shard[entry->shard];
    struct table table;
    struct found found;
    uint64_t word = 0;
    uint64_t count = atomic_load_explicit(&shard->count, memory_order_relaxed);
    if (!load_table(map, shard, &table)) {
        return -EPROTO;
    }
    bool there = find(map, &table, entry->hash, entry->key, entry->key_length, &found);
    _Atomic uint64_t *at = there ? found.entry : NULL;
    while (at == NULL) {
        bool crowded = count / LOAD > table.mask;
        at = crowded ? NULL : free_entry(&table, entry->hash);
        if (at == NULL) {
            int status = grow(map, shard, table.log2 + 1);
            if (status != 0 && (!crowded || free_entry(&table, entry->hash) == NULL)) {
                return status;
            }
            if (status != 0) { /* no room to double: go on more crowded */
                at = free_entry(&table, entry->hash);
            } else if (!load_table(map, shard, &table)) {
                return -EPROTO;
            }
        }
    }
    int status = new_item(map, shard, entry, value, length, &word);
    if (status != 0) {
        return status;
    }
    if (there) {
        atomic_store_explicit(&shard->pending_old, entry_place(found.word), memory_order_release);
    }
    atomic_store_explicit(at, word, memory_order_release); /* [entry]: the commit */
    atomic_store_explicit(&shard->pending_new, 0, memory_order_release);
    if (there) {
        drop(map, shard, entry_place(found.word));
    } else {
        atomic_store_explicit(&shard->count, count + 1, memory_order_relaxed);
    }
    return there ? 1 : 0;
}

static int remove_locked(struct cshm_map *map, struct cshm_map_entry *entry)
{
    struct cshm_map_shard *shard = &map->shared->shard[entry->shard];
    struct table table;
    struct found found;
    if (!load_table(map, shard, &table)) {
        return -EPROTO;
    }
    if (!find(map, &table, entry->hash, entry->key, entry->key_length, &found)) {
        return -ENOENT;
    }
    atomic_store_explicit(&shard->pending_old, entry_place(found.word), memory_order_release);
    atomic_store_explicit(found.entry, 0, memory_order_release); /* [entry]: the commit */
    drop(map, shard, entry_place(found.word));
    uint64_t count = atomic_load_explicit(&shard->count, memory_order_relaxed);
    atomic_store_explicit(&shard->count, count - 1, memory_order_relaxed);
    return 0;
}

/* Shows the entry's current value. */
static void show(struct cshm_map *map, struct cshm_map_entry *entry)
{
    struct table table;
    struct found found;
    entry->value = NULL;
    entry->length = 0;
    if (load_table(map, &map->shared->shard[entry->shard], &table) &&
        find(map, &table, entry->hash, entry->key, entry->key_length, &found)) {
        entry->value = (const void *)value_of(&found.item);
        entry->length = found.item.length;
    }
}

int cshm_map_lock(cshm_map *map, const void *key, uint64_t key_length, struct cshm_map_entry *out)
{
    struct cshm_map_entry entry = {.key = key, .key_length = key_length};
    entry.hash = hash_of(map, key, key_length);
    entry.shard = shard_of(entry.hash);
    int status = lock_shard(map, &map->shared->shard[entry.shard]);
    if (status == 0) {
        show(map, &entry);
        *out = entry;
    }
    return status;
}

int cshm_map_entry_set(cshm_map *map, struct cshm_map_entry *entry, const void *value,
                       uint64_t length)
{
    int status = set_locked(map, entry, value, length);
    show(map, entry);
    return status < 0 ? status : 0;
}

void cshm_map_entry_remove(cshm_map *map, struct cshm_map_entry *entry)
{
    (void)remove_locked(map, entry);
    show(map, entry);
}

void cshm_map_unlock(cshm_map *map, struct cshm_map_entry *entry)
{
    unlock_shard(&map->shared->shard[entry->shard]);
}

int cshm_map_put(cshm_map *map, const void *key, uint64_t key_length, const void *value,
                 uint64_t length)
{
    struct cshm_map_entry entry = {.key = key, .key_length = key_length};
    entry.hash = hash_of(map, key, key_length);
    entry.shard = shard_of(entry.hash);
    int status = lock_shard(map, &map->shared->shard[entry.shard]);
    if (status == 0) {
        status = set_locked(map, &entry, value, length);
        cshm_map_unlock(map, &entry);
    }
    return status;
}

int cshm_map_remove(cshm_map *map, const void *key, uint64_t key_length)
{
    struct cshm_map_entry entry = {.key = key, .key_length = key_length};
    entry.hash = hash_of(map, key, key_length);
    entry.shard = shard_of(entry.hash);
    int status = lock_shard(map, &map->shared->shard[entry.shard]);
    if (status == 0) {
        status = remove_locked(map, &entry);
        cshm_map_unlock(map, &entry);
    }
    return status;
}

static void clear_shard(struct cshm_map *map, struct cshm_map_shard *shard)
{
    struct table table;
    if (!load_table(map, shard, &table)) {
        return;
    }
    for (uint32_t i = 0; i < table.buckets; i++) {
        for (uint32_t k = 0; k < CSHM_MAP_ENTRIES; k++) {
            _Atomic uint64_t *entry = &table.shared->bucket[i].entry[k];
            uint64_t word = atomic_load_explicit(entry, memory_order_relaxed);
            if (word != 0) {
                atomic_store_explicit(&shard->pending_old, entry_place(word), memory_order_release);
                atomic_store_explicit(entry, 0, memory_order_release); /* [entry] */
                drop(map, shard, entry_place(word));
            }
        }
    }
    atomic_store_explicit(&shard->count, 0, memory_order_relaxed);
}

int cshm_map_clear(cshm_map *map)
{
    for (uint32_t i = 0; i < CSHM_MAP_SHARDS; i++) {
        struct cshm_map_shard *shard = &map->shared->shard[i];
        int status = lock_shard(map, shard);
        if (status != 0) {
            return status;
        }
        clear_shard(map, shard);
        unlock_shard(shard);
    }
    return 0;
}

/* ---- walking ---- */

int cshm_map_next(const cshm_map *map, struct cshm_map_cursor *cursor, void *buffer,
                  uint64_t capacity, uint64_t *key_length, uint64_t *length)
{
    for (; cursor->shard < CSHM_MAP_SHARDS; cursor->shard++, cursor->position = 0) {
        const struct cshm_map_shard *shard = &map->shared->shard[cursor->shard];
        struct table table;
        uint64_t before = atomic_load_explicit(&shard->table, memory_order_acquire); /* [table] */
        if (!load_table(map, shard, &table)) {
            /* Damaged, unless the table was replaced meanwhile. */
            if (table_is_current(shard, before)) {
                return -EPROTO;
            }
            cursor->position = 0;
            return -ESTALE;
        }
        if (cursor->position == 0) {
            cursor->table = table.word;
        } else if (cursor->table != table.word) {
            cursor->position = 0;
            return -ESTALE;
        }
        while (cursor->position < (uint64_t)table.buckets * CSHM_MAP_ENTRIES) {
            struct cshm_map_bucket *bucket =
                &table.shared->bucket[cursor->position / CSHM_MAP_ENTRIES];
            _Atomic uint64_t *entry = &bucket->entry[cursor->position % CSHM_MAP_ENTRIES];
            uint64_t word = atomic_load_explicit(entry, memory_order_acquire); /* [entry] */
            struct item item = {0};
            bool found = word != 0 && load_item(map, word, &item);
            bool fits = found && item.key_length + item.length <= capacity;
            if (fits) {
                copy_out(buffer, item.shared->bytes, item.key_length);
                copy_out((uint8_t *)buffer + item.key_length, value_of(&item), item.length);
            }
            if (!table_is_current(shard, table.word)) {
                cursor->position = 0;
                return -ESTALE;
            }
            if (found ? !item_is_current(entry, word, &item)
                      : atomic_load_explicit(entry, memory_order_relaxed) != word) {
                continue; /* changed meanwhile: look at it again */
            }
            if (!found && word != 0) {
                return -EPROTO;
            }
            if (!found) {
                cursor->position++;
                continue;
            }
            *key_length = item.key_length;
            *length = item.length;
            cursor->position += fits ? 1 : 0;
            return fits ? 0 : -EMSGSIZE;
        }
    }
    return -ENOENT;
}

uint64_t cshm_map_count(const cshm_map *map)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < CSHM_MAP_SHARDS; i++) {
        count += atomic_load_explicit(&map->shared->shard[i].count, memory_order_relaxed);
    }
    return count;
}

/* ---- create, open ---- */

static void free_shards(struct cshm_map *map)
{
    for (uint32_t i = 0; i < CSHM_MAP_SHARDS; i++) {
        struct cshm_map_shard *shard = &map->shared->shard[i];
        uint64_t place = atomic_load_explicit(&shard->table, memory_order_relaxed) & PLACE_MASK;
        recover(map, shard);
        clear_shard(map, shard);
        cshm__heap_free_from(map->region, place, &shard->pending_new);
    }
}

int cshm_map_create(cshm_region *region, uint64_t type_tag, uint64_t *offset)
{
    uint64_t place = 0;
    int status = cshm_heap_allocate(region, sizeof(struct cshm_map_shared), &place);
    if (status != 0) {
        return status;
    }
    struct cshm_map map = {.region = region};
    map.shared = cshm_heap_pointer(region, place, sizeof(struct cshm_map_shared));
    memset((void *)map.shared, 0, sizeof *map.shared);
    map.shared->shards = CSHM_MAP_SHARDS;
    map.shared->type_tag = type_tag;
    status = cshm__random(map.shared->seed, sizeof map.shared->seed);
    for (uint32_t i = 0; i < CSHM_MAP_SHARDS && status == 0; i++) {
        cshm_mutex_init(&map.shared->shard[i].lock);
        status = grow(&map, &map.shared->shard[i], FIRST_LOG2);
    }
    if (status != 0) {
        free_shards(&map);
        (void)cshm_heap_free(region, place);
        return status;
    }
    map.shared->magic = MAGIC;
    *offset = place;
    return 0;
}

int cshm_map_open(cshm_region *region, uint64_t offset, uint64_t type_tag, cshm_map **out)
{
    struct cshm_map_shared *shared =
        cshm_heap_pointer(region, offset, sizeof(struct cshm_map_shared));
    if (shared == NULL || shared->magic != MAGIC || shared->shards != CSHM_MAP_SHARDS ||
        shared->type_tag != type_tag) {
        return -EPROTO;
    }
    cshm_map *map = calloc(1, sizeof *map);
    if (map == NULL) {
        return -ENOMEM;
    }
    *map = (struct cshm_map){region, shared, {shared->seed[0], shared->seed[1]}};
    *out = map;
    return 0;
}

void cshm_map_close(cshm_map *map)
{
    free(map);
}

void cshm_map_destroy(cshm_map *map)
{
    free_shards(map);
    (void)cshm_heap_free(map->region, cshm_heap_offset(map->region, map->shared));
    free(map);
}
