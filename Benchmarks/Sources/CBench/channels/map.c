/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Under test: cshm/map.h, with keys of 16 bytes, and of 8, 64 and 256.
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

/* A map that `put_one` fills. */
static int map_make(const struct bench_shape *shape, bench_set *put_one, void **state)
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
    if (status != 0 || !bench_set_all(put_one, made->map, made->size)) {
        map_destroy(made);
        return status != 0 ? status : -EIO;
    }
    *state = made;
    return 0;
}

static int map_create(const struct bench_shape *shape, void **state)
{
    return map_make(shape, set, state);
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

/* ---- keys of other lengths: those of 16 bytes cut off or said again ---- */

BENCH_INLINE void stretch(uint8_t *name, uint32_t length, const struct bench_key *key)
{
    for (uint32_t i = 0; i < length; i += 8) {
        memcpy(name + i, &key->word[(i / 8) % 2], 8);
    }
}

#define MAP_OF_KEYS(length)                                                               \
    BENCH_INLINE bool get_##length(void *handle, const struct bench_key *key,             \
                                   struct bench_value *value, uint32_t size)              \
    {                                                                                     \
        uint8_t name[length];                                                             \
        uint64_t found = 0;                                                               \
        stretch(name, length, key);                                                       \
        return cshm_map_get(handle, name, length, value, sizeof *value, &found) == 0 &&   \
               found == size;                                                             \
    }                                                                                     \
    BENCH_INLINE bool set_##length(void *handle, const struct bench_key *key,             \
                                   const struct bench_value *value, uint32_t size)        \
    {                                                                                     \
        uint8_t name[length];                                                             \
        stretch(name, length, key);                                                       \
        return cshm_map_put(handle, name, length, value, size) >= 0;                      \
    }                                                                                     \
    static int map_create_##length(const struct bench_shape *shape, void **state)         \
    {                                                                                     \
        return map_make(shape, set_##length, state);                                      \
    }                                                                                     \
    BENCH_MAP(bench_map_of_##length, "map-key" #length, map_create_##length, map_destroy, \
              map_open, get_##length, set_##length, handle_of, size_of)

MAP_OF_KEYS(8);
MAP_OF_KEYS(64);
MAP_OF_KEYS(256);
