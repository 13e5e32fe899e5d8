/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What changes one key, under its shard's lock; map_shard.c says in which order it stores.
 */
#include <errno.h>

#include "map_view.h"

/* ---- an entry under its shard's lock ---- */

static void show(struct cshm_map_entry *entry, const struct found *found)
{
    entry->where = found->entry;
    entry->word = found->word;
    entry->value = (const void *)found->item.value;
    entry->length = found->item.length;
    entry->version = found->item.generation;
}

static void show_nothing(struct cshm_map_entry *entry)
{
    entry->where = NULL;
    entry->word = 0;
    entry->value = NULL;
    entry->length = 0;
    entry->version = 0;
}

static struct cshm_map_shard *shard_of(const struct cshm_map *map,
                                       const struct cshm_map_entry *entry)
{
    return &map->shared->shard[entry->shard];
}

static inline int enter(struct cshm_map *map, const void *key, uint64_t key_length,
                        struct cshm_map_entry *entry)
{
    struct table table;
    struct found found;
    uint64_t hash = cshm__map_hash(map, key, key_length);
    *entry = (struct cshm_map_entry){
        .key = key, .key_length = key_length, .hash = hash, .shard = cshm__shard_of(map, hash)};
    struct cshm_map_shard *shard = shard_of(map, entry);
    int status = cshm__map_lock_shard(map, shard);
    if (status != 0) {
        return status;
    }
    uint64_t word = atomic_load_explicit(&shard->table, memory_order_relaxed);
    if (word != 0) {
        status = cshm__table_view(map, word, &table)
                     ? cshm__map_find(map, &table, hash, key, key_length, &found)
                     : -EPROTO;
    }
    if (status < 0) {
        cshm__guard_release(&shard->guard);
        return status;
    }
    if (status == 1) {
        cshm__map_hold(shard, &found.item);
        show(entry, &found);
    }
    return 0;
}

static inline void leave(struct cshm_map *map, const struct cshm_map_entry *entry)
{
    if (entry->where != NULL && entry->length == 8) {
        cshm__map_let_go(cshm__committed_pointer(map->region, cshm__entry_place(entry->word),
                                                 sizeof(struct cshm_item)));
    }
    cshm__guard_release(&shard_of(map, entry)->guard);
    if (map->holds) {
        cshm__anchor_end_all(map->region);
    }
}

/* ---- setting ---- */

/* A word in the place of a word. */
static void set_in_place(struct cshm_map *map, struct cshm_map_entry *entry, const void *value)
{
    struct cshm_map_shard *shard = shard_of(map, entry);
    uint64_t word = cshm__word_of(value, 8);
    uint64_t place = cshm__entry_place(entry->word);
    struct cshm_item *item = cshm__committed_pointer(map->region, place, sizeof *item);
    entry->version = cshm__map_next_generation(shard);
    atomic_store_explicit(&shard->pending_old, place, memory_order_release);
    atomic_store_explicit(&item->word, word, memory_order_release); /* the commit */
    cshm__item_renew(item, entry->version);
}

/* Where an item comes from. */
enum { BLOCK, SPARE, NEST };

/* An item that no entry names: the spare, or a new one. @returns which, or an error. */
static int obtain(struct cshm_map *map, struct cshm_map_shard *shard, uint64_t size,
                  uint64_t *place, struct cshm_item **item)
{
    uint64_t spare = atomic_load_explicit(&shard->spare, memory_order_relaxed);
    void *made = NULL;
    if (spare != 0 && spare >> 48 == cshm__heap_class(size) + 1) {
        *place = cshm__spare_place(spare);
        *item = cshm__committed_pointer(map->region, *place, size);
        if (*item != NULL) {
            return SPARE;
        }
    }
    int status = cshm__pending_allocate(map->region, &shard->pending_new, size, place, &made);
    *item = made;
    return status == 0 ? BLOCK : status;
}

/* Takes the nest beside an entry, if the item fits and the nest is free; or NULL. */
static struct cshm_item *take_nest(const struct cshm_map *map, const struct cshm_map_shard *shard,
                                   const struct cshm_map_entry *entry,
                                   const _Atomic uint64_t *where, uint64_t length)
{
    struct table table;
    uint64_t word = atomic_load_explicit(&shard->table, memory_order_relaxed);
    if (!cshm__item_is_small(entry->key_length, length) || !cshm__table_has_nests(word) ||
        !cshm__table_view(map, word, &table)) {
        return NULL;
    }
    struct cshm_item *nest = cshm__nest_beside(&table, where);
    uint64_t old = cshm__entry_place(entry->word);
    if (old != 0 && old == cshm_heap_offset(map->region, nest)) {
        return NULL;
    }
    cshm__hint_at(&table, where, entry->hash);
    return nest;
}

bool cshm__map_takes(const struct cshm_map *map, uint64_t key_length, const void *value,
                     uint64_t length)
{
    return key_length <= CSHM__ITEM_MAX && length <= CSHM__ITEM_MAX &&
           (!map->holds || cshm__anchor_is_value(value, length));
}

/* Counts what a new item's value holds; frees the item if that is not to be had. */
__attribute__((noinline)) static int hold(struct cshm_map *map, struct cshm_map_shard *shard,
                                          uint64_t place)
{
    atomic_store_explicit(&shard->pending_hold, place, memory_order_release);
    int status = cshm__anchor_hold_item(map->region, place);
    if (status != 0) {
        cshm__map_free_item(map, shard, place);
        atomic_store_explicit(&shard->pending_new, 0, memory_order_release);
        atomic_store_explicit(&shard->pending_hold, 0, memory_order_release);
    }
    return status;
}

static int set(struct cshm_map *map, struct cshm_map_entry *entry, const void *value,
               uint64_t length)
{
    struct cshm_map_shard *shard = shard_of(map, entry);
    _Atomic uint64_t *where = entry->where;
    if (!cshm__map_takes(map, entry->key_length, value, length)) {
        return -EINVAL;
    }
    if (where != NULL && length == 8 && entry->length == 8) {
        set_in_place(map, entry, value);
        cshm__map_changed(map, shard);
        return 0;
    }
    struct newcomer newcomer = {.hash = entry->hash,
                                .is_small = cshm__item_is_small(entry->key_length, length)};
    int status = where != NULL ? 0 : cshm__map_make_room(map, shard, &newcomer, &where);
    if (status != 0) {
        return status;
    }
    struct cshm_item *item = take_nest(map, shard, entry, where, length);
    uint64_t place = item == NULL ? 0 : cshm_heap_offset(map->region, item);
    int source = NEST;
    if (item == NULL) {
        source = obtain(map, shard, cshm__item_size(entry->key_length, length), &place, &item);
    }
    if (source < 0) {
        return source;
    }
    uint64_t old = cshm__entry_place(entry->word);
    uint64_t generation = cshm__map_next_generation(shard);
    if (source == NEST) { /* held until it is named, see map_read.c; leave() lets go */
        cshm__item_fill_small(item, generation, entry->key, entry->key_length, value, true);
    } else {
        cshm__item_fill(item, generation, entry->key, entry->key_length, value, length);
    }
    uint64_t word = cshm__entry_word(entry->hash, generation, place);
    /* What lies in a nest is a word, and holds nothing. */
    if (map->holds && source == BLOCK && (status = hold(map, shard, place)) != 0) {
        return status;
    }
    if (old != 0) {
        atomic_store_explicit(&shard->pending_old, old, memory_order_release);
    }
    atomic_store_explicit(where, word, memory_order_release); /* [item]: the commit */
    if (source == SPARE) {
        atomic_store_explicit(&shard->spare, 0, memory_order_release);
    } else if (source == BLOCK) {
        atomic_store_explicit(&shard->pending_new, 0, memory_order_release);
    }
    if (map->holds) {
        atomic_store_explicit(&shard->pending_hold, 0, memory_order_release);
    }
    if (old != 0) {
        cshm__map_retire(map, shard, old);
    } else {
        uint64_t count = atomic_load_explicit(&shard->count, memory_order_relaxed);
        atomic_store_explicit(&shard->count, count + 1, memory_order_relaxed);
    }
    struct found found = {.entry = where, .word = word};
    (void)cshm__item_load(map->region, place, &found.item); /* as it was filled */
    show(entry, &found);
    cshm__map_changed(map, shard);
    return 0;
}

static void unset(struct cshm_map *map, struct cshm_map_entry *entry)
{
    struct cshm_map_shard *shard = shard_of(map, entry);
    _Atomic uint64_t *where = entry->where;
    if (where == NULL) {
        return;
    }
    uint64_t old = cshm__entry_place(entry->word);
    atomic_store_explicit(&shard->pending_old, old, memory_order_release);
    atomic_store_explicit(where, 0, memory_order_release); /* [item]: the commit */
    cshm__map_free_item(map, shard, old);
    uint64_t count = atomic_load_explicit(&shard->count, memory_order_relaxed);
    atomic_store_explicit(&shard->count, count - 1, memory_order_relaxed);
    show_nothing(entry);
    cshm__map_shrink(map, shard);
    cshm__map_changed(map, shard);
}

/* ---- public ---- */

static inline bool set_word(struct cshm_map *map, const void *key, uint64_t key_length,
                            const void *value)
{
    struct cshm__word_change change = {.operand = cshm__word_of(value, 8)};
    uint64_t before;
    return cshm__map_change_word(map, key, key_length, change, &before);
}

int cshm_map_put(cshm_map *map, const void *key, uint64_t key_length, const void *value,
                 uint64_t length)
{
    struct cshm_map_entry entry;
    if (length == 8 && set_word(map, key, key_length, value)) {
        return 1;
    }
    int status = enter(map, key, key_length, &entry);
    if (status == 0) {
        bool there = entry.where != NULL;
        status = set(map, &entry, value, length);
        status = status == 0 ? there : status;
        leave(map, &entry);
    }
    return status;
}

int cshm_map_insert(cshm_map *map, const void *key, uint64_t key_length, const void *value,
                    uint64_t length)
{
    struct cshm_map_entry entry;
    int status = enter(map, key, key_length, &entry);
    if (status == 0) {
        status = entry.where != NULL ? -EEXIST : set(map, &entry, value, length);
        leave(map, &entry);
    }
    return status;
}

int cshm_map_replace(cshm_map *map, const void *key, uint64_t key_length, const void *value,
                     uint64_t length)
{
    struct cshm_map_entry entry;
    if (length == 8 && set_word(map, key, key_length, value)) {
        return 0;
    }
    int status = enter(map, key, key_length, &entry);
    if (status == 0) {
        status = entry.where == NULL ? -ENOENT : set(map, &entry, value, length);
        leave(map, &entry);
    }
    return status;
}

int cshm_map_remove(cshm_map *map, const void *key, uint64_t key_length)
{
    struct cshm_map_entry entry;
    int status = enter(map, key, key_length, &entry);
    if (status == 0) {
        status = entry.where == NULL ? -ENOENT : 0;
        unset(map, &entry);
        leave(map, &entry);
    }
    return status;
}

static bool is_expected(const struct cshm_map_entry *entry, const void *expected, uint64_t length)
{
    if (expected == NULL || entry->value == NULL) {
        return expected == NULL && entry->value == NULL;
    }
    return entry->length == length && memcmp(entry->value, expected, length) == 0;
}

int cshm_map_compare_exchange(cshm_map *map, const void *key, uint64_t key_length,
                              const void *expected, uint64_t expected_length, const void *desired,
                              uint64_t desired_length)
{
    struct cshm_map_entry entry;
    int status = enter(map, key, key_length, &entry);
    if (status != 0) {
        return status;
    }
    if (!is_expected(&entry, expected, expected_length)) {
        status = 0;
    } else if (desired == NULL) {
        unset(map, &entry);
        status = 1;
    } else {
        status = set(map, &entry, desired, desired_length);
        status = status == 0 ? 1 : status;
    }
    leave(map, &entry);
    return status;
}

static int add_locked(cshm_map *map, const void *key, uint64_t key_length, uint64_t delta,
                      uint64_t *before)
{
    struct cshm_map_entry entry;
    int status = enter(map, key, key_length, &entry);
    if (status != 0) {
        return status;
    }
    *before = 0;
    if (entry.value != NULL && entry.length != sizeof *before) {
        status = -EINVAL;
    } else {
        if (entry.value != NULL) {
            *before = cshm__word_of(entry.value, sizeof *before);
        }
        uint64_t sum = *before + delta;
        status = set(map, &entry, &sum, sizeof sum);
    }
    leave(map, &entry);
    return status;
}

int cshm_map_fetch_add(cshm_map *map, const void *key, uint64_t key_length, int64_t delta,
                       int64_t *before)
{
    struct cshm__word_change change = {.adds = true, .operand = (uint64_t)delta};
    uint64_t value;
    int status = cshm__map_change_word(map, key, key_length, change, &value)
                     ? 0
                     : add_locked(map, key, key_length, change.operand, &value);
    if (status == 0 && before != NULL) {
        *before = (int64_t)value;
    }
    return status;
}

int cshm_map_lock(cshm_map *map, const void *key, uint64_t key_length, struct cshm_map_entry *out)
{
    struct cshm_map_entry entry;
    int status = enter(map, key, key_length, &entry);
    if (status == 0) {
        *out = entry;
    }
    return status;
}

int cshm_map_entry_set(cshm_map *map, struct cshm_map_entry *entry, const void *value,
                       uint64_t length)
{
    return set(map, entry, value, length);
}

void cshm_map_entry_remove(cshm_map *map, struct cshm_map_entry *entry)
{
    unset(map, entry);
}

void cshm_map_unlock(cshm_map *map, struct cshm_map_entry *entry)
{
    leave(map, entry);
}
