/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Under test: cshm/map.h.
 */
#include <errno.h>
#include <stdlib.h>

#include <cshm.h>

#include <bench_map.h>

struct dictionary {
    cshm_region *region;
    cshm_map *map; /* the parent's until the fork, then each process's own */
    uint64_t offset;
    uint32_t size;
};

BENCH_INLINE bool get(void *handle, const struct bench_key *key, struct bench_value *value,
                      uint32_t size)
{
    uint64_t length = 0;
    return cshm_map_get(handle, key, sizeof *key, value, sizeof *value, &length) == 0 &&
           length == size;
}

BENCH_INLINE bool set(void *handle, const struct bench_key *key, const struct bench_value *value,
                      uint32_t size)
{
    return cshm_map_put(handle, key, sizeof *key, value, size) >= 0;
}

static void map_destroy(void *state)
{
    struct dictionary *dictionary = state;
    cshm_map_close(dictionary->map);
    cshm_region_close(dictionary->region);
    free(dictionary);
}

static int map_create(const struct bench_shape *shape, void **state)
{
    struct dictionary *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    struct cshm_region_options options = {.capacity = 256u << 20};
    int status = cshm_region_create(&options, &made->region);
    if (status != 0) {
        free(made);
        return status;
    }
    made->size = shape->size;
    status = cshm_map_create(made->region, NULL, &made->offset);
    status = status == 0 ? cshm_heap_share(made->region, made->offset) : status;
    status = status == 0 ? cshm_map_open(made->region, made->offset, 0, &made->map) : status;
    if (status != 0 || !bench_set_all(set, made->map, made->size)) {
        map_destroy(made);
        return status != 0 ? status : -EIO;
    }
    *state = made;
    return 0;
}

static int map_open(void *state, bool producer, void **handle)
{
    struct dictionary *dictionary = state;
    (void)producer;
    int status = cshm_region_join(dictionary->region);
    *handle = dictionary->map;
    return status == -EALREADY ? 0 : status;
}

BENCH_INLINE void *handle_of(void *state)
{
    return ((struct dictionary *)state)->map;
}

BENCH_INLINE uint32_t size_of(void *state)
{
    return ((struct dictionary *)state)->size;
}

BENCH_MAP(bench_map, "map", map_create, map_destroy, map_open, get, set, handle_of, size_of);
