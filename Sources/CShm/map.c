/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/map.h for the model, map_view.h for the other files. Pairs: those of item.h, where the
 * naming word is an entry, and
 *
 *   [table]  a writer fills a table, then stores the shard's word (release) -> a reader loads it
 *            (acquire) before it looks at the table
 *   [watch]  a writer stores what it changed, then looks at the parking word -> who watches announces
 *            itself, then looks at the version
 *
 * For a table's words [check] holds as for an item's: the second look is at the shard's word.
 */
#include <errno.h>
#include <stdlib.h>

#include "map_view.h"

enum {
    MAGIC = 0x6d617061, /* "mapa" */
    DEFAULT_SHARDS = 64,
};

uint64_t cshm_map_count(const cshm_map *map)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < map->shards; i++) {
        count += atomic_load_explicit(&map->shared->shard[i].count, memory_order_relaxed);
    }
    return count;
}

/* ---- watching ---- */

uint64_t cshm_map_changes(const cshm_map *map)
{
    uint64_t changes = 0;
    for (uint32_t i = 0; i < map->shards; i++) {
        changes += atomic_load_explicit(&map->shared->shard[i].changes, memory_order_acquire);
    }
    for (uint32_t i = 0; i < CSHM_MAP_STRIPES; i++) {
        changes += atomic_load_explicit(&map->shared->stripe[i].changes, memory_order_acquire);
    }
    return changes;
}

static int has_changed(const void *object)
{
    const struct cshm_map_watch *watch = object;
    uint64_t version = 0;
    if (watch->key == NULL) {
        version = cshm_map_changes(watch->map);
    } else if (cshm_map_version(watch->map, watch->key, watch->key_length, &version) != 0) {
        return 1; /* damaged: whoever reads is told */
    }
    return version != watch->version;
}

static int attempt_watch(void *context)
{
    return has_changed(context) ? 0 : -EAGAIN;
}

int cshm_map_wait_until(const struct cshm_map_watch *watch, int64_t deadline_ns)
{
    struct cshm_map_watch copy = *watch;
    return cshm__await(&watch->map->shared->changes.park, attempt_watch, &copy, deadline_ns);
}

void cshm_map_waitable(const struct cshm_map_watch *watch, struct cshm_waitable *out)
{
    *out = cshm__at_park(&watch->map->shared->changes.park, has_changed, watch);
}

/* ---- create, open ---- */

int cshm_map_create(cshm_region *region, const struct cshm_map_options *options, uint64_t *offset)
{
    uint32_t shards = options == NULL || options->shards == 0 ? DEFAULT_SHARDS : options->shards;
    uint64_t size = sizeof(struct cshm_map_shared) + shards * sizeof(struct cshm_map_shard);
    uint64_t place = 0;
    if ((shards & (shards - 1)) != 0 || shards > CSHM_MAP_SHARDS_MAX) {
        return -EINVAL;
    }
    int status = cshm_heap_allocate(region, size, &place);
    if (status != 0) {
        return status;
    }
    struct cshm_map_shared *shared = cshm_heap_pointer(region, place, size);
    if (shared == NULL) {
        return -EPROTO;
    }
    memset((void *)shared, 0, size);
    status = cshm__random(shared->seed, sizeof shared->seed);
    if (status != 0) {
        (void)cshm_heap_free(region, place);
        return status;
    }
    for (uint32_t i = 0; i < shards; i++) {
        /* Far from every other shard's, of whatever map: see map_word.c. */
        shared->shard[i].generation = cshm__fold(shared->seed[0] ^ i, shared->seed[1] | 1) >> 8;
    }
    shared->shards = shards;
    shared->type_tag = options == NULL ? 0 : options->type_tag;
    shared->holds = options != NULL && options->holds != 0;
    shared->magic = MAGIC;
    *offset = place;
    return 0;
}

/* A view of the map that lies there, of whatever type. */
static bool view(cshm_region *region, uint64_t offset, struct cshm_map *out)
{
    struct cshm_map_shared *shared =
        cshm_heap_pointer(region, offset, sizeof(struct cshm_map_shared));
    if (shared == NULL || shared->magic != MAGIC) {
        return false;
    }
    uint32_t shards = shared->shards;
    if (shards == 0 || (shards & (shards - 1)) != 0 || shards > CSHM_MAP_SHARDS_MAX ||
        cshm_heap_pointer(region, offset,
                          sizeof *shared + shards * sizeof(struct cshm_map_shard)) == NULL) {
        return false;
    }
    *out = (struct cshm_map){.region = region,
                             .shared = shared,
                             .seed = {shared->seed[0], shared->seed[1]},
                             .shards = shards,
                             .shift = 32 - (uint32_t)__builtin_ctz(shards),
                             .can_exchange = cshm__can_exchange(),
                             .holds = shared->holds != 0};
    return true;
}

int cshm_map_open(cshm_region *region, uint64_t offset, uint64_t type_tag, cshm_map **out)
{
    struct cshm_map found;
    if (!view(region, offset, &found) || found.shared->type_tag != type_tag) {
        return -EPROTO;
    }
    uint64_t shards = found.shards;
    cshm_map *map = calloc(1, sizeof *map + shards * sizeof map->checked[0]);
    if (map == NULL) {
        return -ENOMEM;
    }
    *map = found;
    map->checked = (void *)(map + 1);
    *out = map;
    return 0;
}

void cshm_map_close(cshm_map *map)
{
    free(map);
}

static void empty(struct cshm_map *map)
{
    for (uint32_t i = 0; i < map->shards; i++) {
        cshm__map_recover(map, &map->shared->shard[i]);
        cshm__map_empty(map, &map->shared->shard[i]);
    }
}

void cshm__map_end(cshm_region *region, uint64_t offset)
{
    struct cshm_map map;
    if (view(region, offset, &map)) {
        empty(&map);
    }
}

void cshm_map_destroy(cshm_map *map)
{
    empty(map);
    (void)cshm_heap_free(map->region, cshm_heap_offset(map->region, map->shared));
    cshm__anchor_end_all(map->region);
    free(map);
}
