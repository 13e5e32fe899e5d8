/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A shard's table, under its lock: rooms for new entries, and another size. What is to lie in a nest of
 * the new table is held first (map_word.c), so nobody changes it without the lock; copied, generation and
 * all; and the copy counts when the shard's word names the new table, as what it was copied from
 * never does again. The copy is held, too, until then: who still looks at an earlier table in that
 * memory finds it under its number, and must not change it if the new table comes to nothing.
 */
#include <errno.h>

#include "map_view.h"

enum {
    LOAD = 4,   /* items a bucket, on average, before a table doubles */
    SPARSE = 8, /* buckets an item, before it halves */
};

static bool is_taken(const struct newcomer *newcomer, const _Atomic uint64_t *entry)
{
    for (uint32_t i = 0; i < newcomer->count; i++) {
        if (newcomer->steps[i].where == entry) {
            return true;
        }
    }
    return false;
}

static _Atomic uint64_t *free_entry_of(struct cshm_map_bucket *bucket,
                                       const struct newcomer *newcomer)
{
    for (uint32_t i = 0; i < CSHM_MAP_ENTRIES; i++) {
        _Atomic uint64_t *entry = &bucket->entry[i];
        if (atomic_load_explicit(entry, memory_order_relaxed) == 0 && !is_taken(newcomer, entry)) {
            return entry;
        }
    }
    return NULL;
}

/* A free entry, with an overflow bucket if need be; NULL if the table is too full. */
static _Atomic uint64_t *free_entry(const struct table *table, const struct newcomer *newcomer)
{
    uint32_t steps = 0;
    struct cshm_map_bucket *bucket = cshm__bucket(table, cshm__home_of(table, newcomer->hash));
    for (;;) {
        _Atomic uint64_t *entry = free_entry_of(bucket, newcomer);
        if (entry != NULL) {
            return entry;
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
    uint32_t number = table->mask + 1 + (uint32_t)used;
    /* Dying between these two wastes one bucket until the table is replaced. */
    atomic_store_explicit(&table->shared->overflow_used, used + 1, memory_order_relaxed);
    atomic_store_explicit(&bucket->next, number, memory_order_release);
    return free_entry_of(cshm__bucket(table, number), newcomer);
}

/* ---- another size ---- */

/* Nobody changes the item: it is held. @returns the word that names the nest instead. */
static uint64_t move_to_nest(const struct cshm_map *map, const struct table *to, uint64_t hash,
                             const _Atomic uint64_t *entry, const struct item *item, uint64_t word)
{
    struct cshm_item *nest = cshm__nest_beside(to, entry);
    cshm__item_fill_small(nest, item->generation, (const void *)item->key, item->key_length,
                          (const void *)item->value, true);
    cshm__hint_at(to, entry, hash);
    return cshm__entry_moved(word, cshm_heap_offset(map->region, nest));
}

static int copy_entry(struct cshm_map *map, const struct table *to, uint64_t word)
{
    struct item item;
    if (!cshm__item_load(map->region, cshm__entry_place(word), &item)) {
        return -EPROTO;
    }
    /* Under the lock the key is nobody's to change. */
    struct newcomer newcomer = {.hash =
                                    cshm__map_hash(map, (const void *)item.key, item.key_length)};
    _Atomic uint64_t *entry = free_entry(to, &newcomer);
    if (entry == NULL) {
        return -ENOSPC;
    }
    if (to->has_nests && cshm__is_small(&item)) {
        word = move_to_nest(map, to, newcomer.hash, entry, &item, word);
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
    int status = 0;
    for (uint64_t i = 0; i < cshm__entries_of(&from) && status == 0; i++) {
        uint64_t word = atomic_load_explicit(cshm__entry_at(&from, i), memory_order_relaxed);
        status = word == 0 ? 0 : copy_entry(map, to, word);
    }
    return status;
}

/* Whether of a table's items, and a newcomer, more are small than not. */
static bool are_small(const struct cshm_map *map, uint64_t word, const struct newcomer *newcomer)
{
    struct table table;
    struct item item;
    int64_t more = newcomer == NULL ? 0 : newcomer->is_small ? 1 : -1;
    bool whole = cshm__table_view(map, word, &table);
    for (uint64_t i = 0; whole && i < cshm__entries_of(&table); i++) {
        uint64_t entry = atomic_load_explicit(cshm__entry_at(&table, i), memory_order_relaxed);
        if (entry != 0 && cshm__item_load(map->region, cshm__entry_place(entry), &item)) {
            more += cshm__is_small(&item) ? 1 : -1;
        }
    }
    return more > 0;
}

/* A table that has nests keeps them: their items would have to become blocks. */
static bool wants_nests(const struct cshm_map *map, uint64_t word, uint32_t log2,
                        const struct newcomer *newcomer)
{
    return (word != 0 && cshm__table_has_nests(word)) ||
           (log2 >= CSHM__MAP_NESTS_FROM && word != 0 && are_small(map, word, newcomer));
}

/* Memory that a reader of an earlier owner may still be looking at: see [check]. */
static void zero(void *table, uint64_t size)
{
    _Atomic uint64_t *words = table;
    for (uint64_t i = 0; i < size / 8; i++) {
        atomic_store_explicit(words + i, 0, memory_order_release);
    }
}

/* What was moved to a table that is named by now. */
static void let_go_of_nests(const struct cshm_map *map, const struct table *table)
{
    for (uint64_t i = 0; i < cshm__entries_of(table); i++) {
        _Atomic uint64_t *entry = cshm__entry_at(table, i);
        struct cshm_item *nest = cshm__nest_beside(table, entry);
        if (cshm__entry_place(atomic_load_explicit(entry, memory_order_relaxed)) ==
            cshm_heap_offset(map->region, nest)) {
            cshm__map_let_go(nest);
        }
    }
}

/* Fills a new table with what the old one names, and makes it the shard's. What is held stays so where it
 * fails: the next writer of each lets go of it. */
static int replace_table(struct cshm_map *map, struct cshm_map_shard *shard, uint64_t old,
                         uint64_t word)
{
    struct table to;
    if (!cshm__table_view(map, word, &to)) {
        return -EPROTO;
    }
    if (old != 0 && to.has_nests) {
        cshm__map_hold_all(map, shard);
    }
    int status = copy_entries(map, &to, old);
    if (status == 0) {
        atomic_store_explicit(&shard->pending_old, 0, memory_order_release); /* it may move */
        atomic_store_explicit(&shard->pending_table, old, memory_order_release);
        atomic_store_explicit(&shard->table, word, memory_order_release); /* [table]: the commit */
        if (to.has_nests) {
            let_go_of_nests(map, &to);
        }
    }
    return status;
}

/* Replaces the shard's table by one of another size (or makes the first one). */
static int resize(struct cshm_map *map, struct cshm_map_shard *shard, uint32_t log2,
                  const struct newcomer *newcomer)
{
    uint64_t old = atomic_load_explicit(&shard->table, memory_order_relaxed);
    uint64_t place = 0;
    void *made = NULL;
    if (log2 > CSHM__MAP_LOG2_MAX) {
        return -ENOSPC;
    }
    bool has_nests = wants_nests(map, old, log2, newcomer);
    uint64_t size = cshm__table_size(log2, has_nests);
    int status = cshm__pending_allocate(map->region, &shard->pending_new, size, &place, &made);
    if (status != 0) {
        return status;
    }
    zero(made, size);
    /* A number that no table had, also if there is none now: a reader may still look at one. */
    uint64_t generation = cshm__map_next_generation(shard);
    status = replace_table(map, shard, old, cshm__table_word(generation, has_nests, log2, place));
    if (status != 0) {
        cshm__map_free(map, shard, place);
    }
    atomic_store_explicit(&shard->pending_new, 0, memory_order_release);
    cshm__map_settle_table(map, shard);
    return status;
}

int cshm__map_make_room(struct cshm_map *map, struct cshm_map_shard *shard,
                        const struct newcomer *newcomer, _Atomic uint64_t **out)
{
    uint64_t count = atomic_load_explicit(&shard->count, memory_order_relaxed);
    for (;;) {
        struct table table;
        uint64_t word = atomic_load_explicit(&shard->table, memory_order_relaxed);
        if (word != 0 && !cshm__table_view(map, word, &table)) {
            return -EPROTO;
        }
        bool crowded = word == 0 || count / LOAD > table.mask;
        *out = crowded ? NULL : free_entry(&table, newcomer);
        if (*out != NULL) {
            return 0;
        }
        int status = resize(map, shard, word == 0 ? 0 : cshm__table_log2(word) + 1, newcomer);
        if (status != 0) { /* no memory to double: go on more crowded */
            *out = word != 0 && crowded ? free_entry(&table, newcomer) : NULL;
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
        (void)resize(map, shard, log2 - 1, NULL);
    }
}
