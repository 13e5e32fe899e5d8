/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A shard's table, under its lock: rooms for new entries, and another size.
 */
#include <errno.h>

#include "map_view.h"

enum {
    LOAD = 4,   /* items a bucket, on average, before a table doubles */
    SPARSE = 8, /* buckets an item, before it halves */
};

static bool is_taken(const struct taken *taken, const _Atomic uint64_t *entry)
{
    for (uint32_t i = 0; taken != NULL && i < taken->count; i++) {
        if (taken->steps[i].where == entry) {
            return true;
        }
    }
    return false;
}

/* A free entry for a hash, with an overflow bucket if need be; NULL if the table is too full. */
static _Atomic uint64_t *free_entry(const struct table *table, uint64_t hash,
                                    const struct taken *taken)
{
    uint32_t steps = 0;
    struct cshm_map_bucket *bucket = &table->shared->bucket[cshm__home_of(table, hash)];
    for (;;) {
        for (uint32_t i = 0; i < CSHM_MAP_ENTRIES; i++) {
            if (atomic_load_explicit(&bucket->entry[i], memory_order_relaxed) == 0 &&
                !is_taken(taken, &bucket->entry[i])) {
                return &bucket->entry[i];
            }
        }
        struct cshm_map_bucket *next = cshm__next_bucket(table, bucket, &steps);
        if (next == NULL) {
            break;
        }
        bucket = next;
    }
    uint64_t used = atomic_load_explicit(&table->shared->overflow_used, memory_order_relaxed);
    if (used >= table->buckets - table->mask - 1) {
        return NULL;
    }
    /* Dying between these two wastes one bucket until the table is replaced. */
    atomic_store_explicit(&table->shared->overflow_used, used + 1, memory_order_relaxed);
    atomic_store_explicit(&bucket->next, table->mask + 1 + used, memory_order_release);
    return &table->shared->bucket[table->mask + 1 + used].entry[0];
}

static int copy_entry(struct cshm_map *map, const struct table *to, uint64_t word)
{
    struct item item;
    if (!cshm__item_load(map->region, cshm__entry_place(word), &item)) {
        return -EPROTO;
    }
    /* Under the lock the key is nobody's to change. */
    uint64_t hash = cshm__map_hash(map, (const void *)item.key, item.key_length);
    _Atomic uint64_t *entry = free_entry(to, hash, NULL);
    if (entry == NULL) {
        return -ENOSPC;
    }
    atomic_store_explicit(entry, word, memory_order_relaxed);
    return 0;
}

static int copy_entries(struct cshm_map *map, const struct table *to, uint64_t from_word)
{
    struct table from;
    if (from_word == 0) {
        return 0;
    }
    if (!cshm__table_view(map, from_word, &from)) {
        return -EPROTO;
    }
    for (uint32_t i = 0; i < from.buckets; i++) {
        for (uint32_t k = 0; k < CSHM_MAP_ENTRIES; k++) {
            uint64_t word =
                atomic_load_explicit(&from.shared->bucket[i].entry[k], memory_order_relaxed);
            int status = word == 0 ? 0 : copy_entry(map, to, word);
            if (status != 0) {
                return status;
            }
        }
    }
    return 0;
}

/* Memory that a reader of an earlier owner may still be looking at: see [check]. */
static void zero(void *table, uint64_t size)
{
    _Atomic uint64_t *words = table;
    for (uint64_t i = 0; i < size / 8; i++) {
        atomic_store_explicit(words + i, 0, memory_order_release);
    }
}

/* Replaces the shard's table by one of another size (or makes the first one). */
static int resize(struct cshm_map *map, struct cshm_map_shard *shard, uint32_t log2)
{
    uint64_t old = atomic_load_explicit(&shard->table, memory_order_relaxed);
    uint64_t place = 0;
    void *made = NULL;
    struct table to;
    if (log2 > CSHM__MAP_LOG2_MAX) {
        return -ENOSPC;
    }
    int status = cshm__pending_allocate(map->region, &shard->pending_new, cshm__table_size(log2),
                                        &place, &made);
    if (status != 0) {
        return status;
    }
    zero(made, cshm__table_size(log2));
    /* A number that no table had, also if there is none now: a reader may still look at one. */
    uint64_t word = cshm__table_word(cshm__map_next_generation(shard), log2, place);
    status = cshm__table_view(map, word, &to) ? copy_entries(map, &to, old) : -EPROTO;
    if (status == 0) {
        atomic_store_explicit(&shard->pending_table, old, memory_order_release);
        atomic_store_explicit(&shard->table, word, memory_order_release); /* [table]: the commit */
        atomic_store_explicit(&shard->pending_new, 0, memory_order_release);
        place = cshm__table_place(old);
    }
    if (place != 0) {
        cshm__map_free(map, shard, place);
    }
    atomic_store_explicit(&shard->pending_table, 0, memory_order_release);
    atomic_store_explicit(&shard->pending_new, 0, memory_order_release);
    return status;
}

int cshm__map_make_room(struct cshm_map *map, struct cshm_map_shard *shard, uint64_t hash,
                        const struct taken *taken, _Atomic uint64_t **out)
{
    uint64_t count = atomic_load_explicit(&shard->count, memory_order_relaxed);
    for (;;) {
        struct table table;
        uint64_t word = atomic_load_explicit(&shard->table, memory_order_relaxed);
        if (word != 0 && !cshm__table_view(map, word, &table)) {
            return -EPROTO;
        }
        bool crowded = word == 0 || count / LOAD > table.mask;
        *out = crowded ? NULL : free_entry(&table, hash, taken);
        if (*out != NULL) {
            return 0;
        }
        int status = resize(map, shard, word == 0 ? 0 : cshm__table_log2(word) + 1);
        if (status != 0) { /* no memory to double: go on more crowded */
            *out = word != 0 && crowded ? free_entry(&table, hash, taken) : NULL;
            return *out != NULL ? 0 : status;
        }
    }
}

void cshm__map_shrink(struct cshm_map *map, struct cshm_map_shard *shard)
{
    uint64_t count = atomic_load_explicit(&shard->count, memory_order_relaxed);
    uint64_t word = atomic_load_explicit(&shard->table, memory_order_relaxed);
    uint32_t log2 = cshm__table_log2(word);
    if (word != 0 && log2 > 2 && log2 <= CSHM__MAP_LOG2_MAX && count < (1u << log2) / SPARSE) {
        (void)resize(map, shard, log2 - 1);
    }
}
