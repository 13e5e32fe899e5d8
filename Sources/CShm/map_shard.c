/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A map's shard under its lock. A writer's stores, in order, and what the next one does if they end
 * there:
 *
 *   pending_new = item      the table does not name it: freed
 *   pending_hold = item     the same, and what it holds is let go first; only in a map that holds
 *   pending_old = old       the table names it: kept
 *   entry = item            the table names the one: kept, counted again; not the other: freed
 *   pending_new = 0         nothing
 *   old freed, or the spare; if it is the spare, that stays; if its cell does not name the shard, it
 *                           was freed
 *   count, changes          counted, told
 *
 * The *spare* is an item that no entry names, kept so that a replacement needs no allocation. It is
 * filled, named by the entry, and then the old item becomes the spare. If the table names the spare,
 * it is none any more.
 *
 * Stored in place: pending_old = item, its value, its generation. If they end between, the item's
 * generation is raised.
 *
 * An item in a *nest* of the table is hinted at, filled and held, then named, then let go of: no block is
 * made or freed, and nothing is pending. It is found again where its entry is, or not at all; a hint that
 * is wrong costs a reader the way by the entries.
 *
 * Growing, shrinking: pending_new = table; filled; pending_table = the old word; the shard's word; old table
 * freed; pending_table = 0. If the new table has nests, all items that are words are held before, so that
 * what is moved to a nest is what it was when the shard's word changes; and what was moved from blocks
 * is freed before the old table. If they end before the shard's word, items are still held, and each's
 * next writer lets go of it.
 * A transaction: see map_transaction.c. Emptying: the same with 0 in place of the new word, and then the
 * old table's items are freed before it.
 */
#include <errno.h>

#include "map_view.h"

/* What the shard's table names. */
struct census {
    uint64_t count;
    bool has_new; /* as an item or as the table itself, and so below */
    bool has_old;
    bool has_spare;
};

static struct census count_entries(const struct cshm_map *map, const struct cshm_map_shard *shard,
                                   uint64_t new, uint64_t old, uint64_t spare)
{
    struct census census = {0};
    struct table table;
    uint64_t word = atomic_load_explicit(&shard->table, memory_order_relaxed);
    if (word == 0 || !cshm__table_view(map, word, &table)) {
        return census;
    }
    census.has_new = cshm__table_place(word) == new;
    census.has_old = cshm__table_place(word) == old;
    census.has_spare = cshm__table_place(word) == spare;
    for (uint64_t i = 0; i < cshm__entries_of(&table); i++) {
        uint64_t entry = atomic_load_explicit(cshm__entry_at(&table, i), memory_order_relaxed);
        if (entry != 0) {
            uint64_t place = cshm__entry_place(entry);
            census.count++;
            census.has_new |= place == new;
            census.has_old |= place == old;
            census.has_spare |= place == spare;
        }
    }
    return census;
}

void cshm__map_free(struct cshm_map *map, struct cshm_map_shard *shard, uint64_t place)
{
    cshm__heap_free_from(map->region, place, &shard->pending_new);
}

/* `pending_old` is forgotten then: if the block became the shard's again, it might not be filled. */
__attribute__((noinline)) static void free_holding(struct cshm_map *map,
                                                   struct cshm_map_shard *shard, uint64_t place)
{
    cshm__anchor_let_go_item(map->region, place, &shard->pending_new);
    cshm__map_free(map, shard, place);
    if (atomic_load_explicit(&shard->pending_old, memory_order_relaxed) == place) {
        atomic_store_explicit(&shard->pending_old, 0, memory_order_release);
    }
}

void cshm__map_free_item(struct cshm_map *map, struct cshm_map_shard *shard, uint64_t place)
{
    if (map->holds) {
        free_holding(map, shard, place);
    } else {
        cshm__map_free(map, shard, place);
    }
}

/* Whether an item of a table that the shard no longer names is in nothing else: all of them if there is no
 * table now, or those that were moved to the new one's nests. */
static bool is_left(const struct cshm_map *map, const struct table *table, uint64_t now,
                    uint64_t place)
{
    struct item item;
    return !cshm__table_holds(map, table, place) &&
           (now == 0 || (cshm__table_has_nests(now) && cshm__item_load(map->region, place, &item) &&
                         cshm__is_small(&item)));
}

static void drop_table(struct cshm_map *map, struct cshm_map_shard *shard, uint64_t word)
{
    struct table table;
    uint64_t place = cshm__table_place(word);
    uint64_t now = atomic_load_explicit(&shard->table, memory_order_relaxed);
    bool whole = cshm__heap_is_held(map->region, place, &shard->pending_new) &&
                 cshm__table_view(map, word, &table);
    for (uint64_t i = 0; whole && i < cshm__entries_of(&table); i++) {
        uint64_t entry = atomic_load_explicit(cshm__entry_at(&table, i), memory_order_relaxed);
        if (entry != 0 && is_left(map, &table, now, cshm__entry_place(entry))) {
            cshm__map_free_item(map, shard, cshm__entry_place(entry));
        }
    }
    cshm__map_free(map, shard, place);
}

void cshm__map_settle_table(struct cshm_map *map, struct cshm_map_shard *shard)
{
    uint64_t word = atomic_load_explicit(&shard->pending_table, memory_order_relaxed);
    if (word != 0 && word != atomic_load_explicit(&shard->table, memory_order_relaxed)) {
        drop_table(map, shard, word);
    }
    atomic_store_explicit(&shard->pending_table, 0, memory_order_release);
}

/* Its value may be new, and its version old. */
static void renew(struct cshm_map *map, struct cshm_map_shard *shard, uint64_t place)
{
    struct cshm_item *item = cshm_heap_pointer(map->region, place, sizeof(struct cshm_item));
    if (item != NULL) {
        cshm__item_renew(item, cshm__map_next_generation(shard));
    }
}

void cshm__map_recover(struct cshm_map *map, struct cshm_map_shard *shard)
{
    cshm__map_settle(map, shard);
    uint64_t new = atomic_load_explicit(&shard->pending_new, memory_order_relaxed);
    uint64_t old = atomic_load_explicit(&shard->pending_old, memory_order_relaxed);
    uint64_t spare = cshm__spare_place(atomic_load_explicit(&shard->spare, memory_order_relaxed));
    struct census census = count_entries(map, shard, new, old, spare);
    if (census.has_spare) {
        atomic_store_explicit(&shard->spare, 0, memory_order_release);
        spare = 0;
    }
    if (new != 0 && !census.has_new) {
        bool is_filled = atomic_load_explicit(&shard->pending_hold, memory_order_relaxed) == new;
        (is_filled ? cshm__map_free_item : cshm__map_free)(map, shard, new);
    } else if (new != 0) {
        cshm__heap_link(map->region, new);
    }
    atomic_store_explicit(&shard->pending_new, 0, memory_order_release);
    atomic_store_explicit(&shard->pending_hold, 0, memory_order_release);
    cshm__map_settle_table(map, shard);
    uint64_t table = atomic_load_explicit(&shard->table, memory_order_relaxed);
    if (old != 0 && census.has_old && cshm__table_place(table) != old) {
        renew(map, shard, old);
    } else if (old != 0 && !census.has_old && old != spare) {
        cshm__map_free_item(map, shard, old);
    }
    atomic_store_explicit(&shard->pending_old, 0, memory_order_release);
    atomic_store_explicit(&shard->count, census.count, memory_order_relaxed);
    cshm__map_changed(map, shard);
}

int cshm__map_lock_shard(struct cshm_map *map, struct cshm_map_shard *shard)
{
    int status = cshm__guard_acquire(map->region, &shard->guard);
    if (status == 1) {
        cshm__map_recover(map, shard);
        status = 0;
    }
    return status;
}

void cshm__map_changed(struct cshm_map *map, struct cshm_map_shard *shard)
{
    uint64_t changes = atomic_load_explicit(&shard->changes, memory_order_relaxed);
    atomic_store_explicit(&shard->changes, changes + 1, memory_order_release); /* [watch] */
    cshm__publish_barrier();
    cshm__park_wake_all_after_store(&map->shared->changes.park);
}

void cshm__map_retire(struct cshm_map *map, struct cshm_map_shard *shard, uint64_t place)
{
    struct item item;
    struct table table;
    uint64_t word = atomic_load_explicit(&shard->table, memory_order_relaxed);
    if (cshm__table_view(map, word, &table) && cshm__table_holds(map, &table, place)) {
        return;
    }
    if (!map->holds && atomic_load_explicit(&shard->spare, memory_order_relaxed) == 0 &&
        cshm__item_load(map->region, place, &item)) {
        uint32_t class = cshm__heap_class(cshm__item_size(item.key_length, item.length));
        if (class < CSHM_CLASSES) {
            atomic_store_explicit(&shard->spare, cshm__spare_word(class, place),
                                  memory_order_release);
            return;
        }
    }
    cshm__map_free_item(map, shard, place);
}

void cshm__map_empty(struct cshm_map *map, struct cshm_map_shard *shard)
{
    uint64_t word = atomic_load_explicit(&shard->table, memory_order_relaxed);
    uint64_t spare = atomic_load_explicit(&shard->spare, memory_order_relaxed);
    if (word != 0) {
        cshm__map_hold_all(map, shard);
        atomic_store_explicit(&shard->pending_table, word, memory_order_release);
        atomic_store_explicit(&shard->table, 0, memory_order_release); /* [table]: the commit */
        cshm__map_settle_table(map, shard);
    }
    if (spare != 0) {
        atomic_store_explicit(&shard->pending_old, cshm__spare_place(spare), memory_order_release);
        atomic_store_explicit(&shard->spare, 0, memory_order_release);
        cshm__map_free(map, shard, cshm__spare_place(spare));
    }
    atomic_store_explicit(&shard->count, 0, memory_order_relaxed);
}
