/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What goes through all of a map's shards.
 */
#include <errno.h>

#include "map_view.h"

/* Copies what an entry names out. @returns 0, -EMSGSIZE, -ENOENT (nothing there), -EPROTO; -EAGAIN
 * if it changed meanwhile. */
static int copy_entry(const struct cshm_map *map, const _Atomic uint64_t *entry, void *buffer,
                      uint64_t capacity, struct item *item)
{
    uint64_t word = atomic_load_explicit(entry, memory_order_acquire); /* [item] */
    if (word == 0) {
        return -ENOENT;
    }
    bool whole = cshm__item_load(map->region, cshm__entry_place(word), item);
    bool fits = whole && item->key_length + item->length <= capacity;
    if (fits) {
        cshm__copy_out(buffer, item->key, item->key_length);
        cshm__copy_out((uint8_t *)buffer + item->key_length, item->value, item->length);
    }
    if (atomic_load_explicit(entry, memory_order_relaxed) != word || /* [check] */
        (whole && !cshm__item_is_current(item))) {
        return -EAGAIN;
    }
    return whole ? (fits ? 0 : -EMSGSIZE) : -EPROTO;
}

/* Goes on in one shard. @returns 0, -EMSGSIZE, -ESTALE, -EPROTO; -ENOENT at the shard's end. */
static int next_of_shard(const struct cshm_map *map, struct cshm_map_cursor *cursor, void *buffer,
                         uint64_t capacity, struct item *item)
{
    const struct cshm_map_shard *shard = &map->shared->shard[cursor->shard];
    struct table table;
    uint64_t word = atomic_load_explicit(&shard->table, memory_order_acquire); /* [table] */
    if (cursor->position != 0 && cursor->table != word) {
        cursor->position = 0;
        return -ESTALE;
    }
    cursor->table = word;
    if (word == 0) {
        return -ENOENT;
    }
    if (!cshm__table_view(map, word, &table)) {
        return -EPROTO;
    }
    while (cursor->position < (uint64_t)table.buckets * CSHM_MAP_ENTRIES) {
        struct cshm_map_bucket *bucket =
            cshm__bucket(&table, (uint32_t)(cursor->position / CSHM_MAP_ENTRIES));
        int status = copy_entry(map, &bucket->entry[cursor->position % CSHM_MAP_ENTRIES], buffer,
                                capacity, item);
        if (!cshm__table_is_current(shard, word)) {
            cursor->position = 0;
            return -ESTALE;
        }
        cursor->position += status == 0 || status == -ENOENT;
        if (status != -ENOENT && status != -EAGAIN) {
            return status;
        }
    }
    return -ENOENT;
}

int cshm_map_next(const cshm_map *map, struct cshm_map_cursor *cursor, void *buffer,
                  uint64_t capacity, uint64_t *key_length, uint64_t *length)
{
    for (; cursor->shard < map->shards; cursor->shard++, cursor->position = 0) {
        struct item item = {0};
        int status = next_of_shard(map, cursor, buffer, capacity, &item);
        if (status == 0 || status == -EMSGSIZE) {
            *key_length = item.key_length;
            *length = item.length;
        }
        if (status != -ENOENT) {
            return status;
        }
    }
    return -ENOENT;
}

int cshm_map_clear(cshm_map *map)
{
    for (uint32_t i = 0; i < map->shards; i++) {
        struct cshm_map_shard *shard = &map->shared->shard[i];
        int status = cshm__map_lock_shard(map, shard);
        if (status != 0) {
            return status;
        }
        cshm__map_empty(map, shard);
        cshm__map_changed(map, shard);
        cshm__guard_release(&shard->guard);
        if (map->holds) {
            cshm__anchor_end_all(map->region);
        }
    }
    return 0;
}

static void release(cshm_map *map, uint32_t count)
{
    while (count-- > 0) {
        cshm__guard_release(&map->shared->shard[count].guard);
    }
}

/* Always from the first shard on, so that two who freeze do not wait for each other. Words are held, too:
 * who looked at a guard before it was taken might change one later. */
int cshm_map_freeze(cshm_map *map)
{
    for (uint32_t i = 0; i < map->shards; i++) {
        int status = cshm__map_lock_shard(map, &map->shared->shard[i]);
        if (status != 0) {
            release(map, i);
            return status;
        }
    }
    for (uint32_t i = 0; i < map->shards; i++) {
        cshm__map_hold_all(map, &map->shared->shard[i]);
    }
    return 0;
}

void cshm_map_thaw(cshm_map *map)
{
    for (uint32_t i = 0; i < map->shards; i++) {
        cshm__map_let_go_of_all(map, &map->shared->shard[i]);
    }
    release(map, map->shards);
    if (map->holds) {
        cshm__anchor_end_all(map->region);
    }
}
