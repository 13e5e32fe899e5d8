/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * How many bytes of a region's heap an object takes.
 */
#include <errno.h>

#include <bench.h>
#include <bench_map.h>
#include <cshm.h>

enum { OBJECTS = 8, CAPACITY = 1024, MANY = 16, REPLACES = 10000000 };

typedef int make(cshm_region *region, uint32_t size, uint64_t *offset);

static int make_ring(cshm_region *region, uint32_t size, uint64_t *offset)
{
    return cshm_ring_create(region, CAPACITY, size, offset);
}

static int make_queue(cshm_region *region, uint32_t size, uint64_t *offset)
{
    struct cshm_queue_options options = {.capacity = CAPACITY, .slot_size = size};
    return cshm_queue_create(region, &options, offset);
}

static int make_lanes(cshm_region *region, uint32_t size, uint64_t *offset)
{
    struct cshm_lanes_options options = {.capacity = CAPACITY, .slot_size = size};
    return cshm_lanes_create(region, &options, offset);
}

static int make_broadcast(cshm_region *region, uint32_t size, uint64_t *offset)
{
    struct cshm_broadcast_options options = {.capacity = CAPACITY, .slot_size = size};
    return cshm_broadcast_create(region, &options, offset);
}

static int make_condition(cshm_region *region, uint32_t size, uint64_t *offset)
{
    (void)size;
    return cshm_condition_create(region, MANY, offset);
}

static int make_barrier(cshm_region *region, uint32_t size, uint64_t *offset)
{
    (void)size;
    return cshm_barrier_create(region, MANY, offset);
}

static int make_rwlock(cshm_region *region, uint32_t size, uint64_t *offset)
{
    (void)size;
    return cshm_rwlock_create(region, MANY, offset);
}

static int make_permits(cshm_region *region, uint32_t size, uint64_t *offset)
{
    (void)size;
    return cshm_permits_create(region, MANY, offset);
}

static int make_mutex(cshm_region *region, uint32_t size, uint64_t *offset)
{
    (void)size;
    return cshm_heap_allocate(region, sizeof(cshm_mutex), offset);
}

static int make_semaphore(cshm_region *region, uint32_t size, uint64_t *offset)
{
    (void)size;
    return cshm_heap_allocate(region, sizeof(cshm_semaphore), offset);
}

static int make_event(cshm_region *region, uint32_t size, uint64_t *offset)
{
    (void)size;
    return cshm_heap_allocate(region, sizeof(cshm_event), offset);
}

static int make_latch(cshm_region *region, uint32_t size, uint64_t *offset)
{
    (void)size;
    return cshm_heap_allocate(region, sizeof(cshm_latch), offset);
}

static int make_once(cshm_region *region, uint32_t size, uint64_t *offset)
{
    (void)size;
    return cshm_heap_allocate(region, sizeof(cshm_once), offset);
}

static int make_baton(cshm_region *region, uint32_t size, uint64_t *offset)
{
    (void)size;
    return cshm_baton_create(region, offset);
}

static int make_value(cshm_region *region, uint32_t size, uint64_t *offset)
{
    struct cshm_type type = {.tag = 1, .size = size, .stride = size, .alignment = 8};
    return cshm_value_create(region, &type, NULL, offset);
}

static int make_array(cshm_region *region, uint32_t size, uint64_t *offset)
{
    struct cshm_type type = {.tag = 1, .size = size, .stride = size, .alignment = 8};
    return cshm_array_create(region, &type, CAPACITY, offset);
}

static int make_list(cshm_region *region, uint32_t size, uint64_t *offset)
{
    (void)size;
    return cshm_list_create(region, 0, offset);
}

static int make_map(cshm_region *region, uint32_t size, uint64_t *offset)
{
    (void)size;
    return cshm_map_create(region, NULL, offset);
}

static const struct {
    const char *name;
    make *make;
} nouns[] = {
    {"ring", make_ring},           {"queue", make_queue},   {"lanes", make_lanes},
    {"broadcast", make_broadcast}, {"mutex", make_mutex},   {"condition", make_condition},
    {"barrier", make_barrier},     {"rwlock", make_rwlock}, {"permits", make_permits},
    {"list", make_list},           {"map", make_map},       {"semaphore", make_semaphore},
    {"event", make_event},         {"latch", make_latch},   {"value", make_value},
    {"array", make_array},         {"baton", make_baton},   {"once", make_once},
};

static uint64_t used(const cshm_region *region)
{
    struct cshm_heap_usage usage;
    cshm_heap_describe(region, &usage);
    return usage.bytes;
}

static int measure_objects(cshm_region *region, make *make_one, uint32_t size, double *bytes)
{
    uint64_t offset = 0;
    uint64_t before = used(region);
    for (int i = 0; i < OBJECTS; i++) {
        int status = make_one(region, size, &offset);
        if (status != 0) {
            return status;
        }
    }
    *bytes = (double)(used(region) - before) / (double)OBJECTS;
    return 0;
}

static uint64_t committed(const cshm_region *region)
{
    struct cshm_region_info info;
    cshm_region_describe(region, &info);
    return info.committed;
}

/* Sets one value after the other, key by key. */
static int set_entries(cshm_map *map, uint32_t size, uint64_t count)
{
    int status = 0;
    for (uint64_t number = 0; status >= 0 && number < count; number++) {
        struct bench_key key = bench_key_of(number % BENCH_KEYS);
        struct bench_value value;
        bench_fill(&value, number, size);
        status = cshm_map_put(map, &key, sizeof key, &value, size);
    }
    return status < 0 ? status : 0;
}

static int measure_entries(cshm_region *region, uint64_t (*measure)(const cshm_region *region),
                           uint32_t size, uint64_t replaces, double *bytes)
{
    cshm_map *map = NULL;
    uint64_t offset = 0;
    int status = size > sizeof(struct bench_value) ? -EINVAL : 0;
    status = status == 0 ? cshm_map_create(region, NULL, &offset) : status;
    status = status == 0 ? cshm_map_open(region, offset, 0, &map) : status;
    uint64_t before = measure(region);
    status = status == 0 ? set_entries(map, size, BENCH_KEYS) : status;
    status = status == 0 ? set_entries(map, size, replaces) : status;
    *bytes = (double)(measure(region) - before) / (double)BENCH_KEYS;
    if (map != NULL) {
        cshm_map_close(map);
    }
    return status;
}

/* @returns -ENOENT: it is a noun's name. */
static int measure_entry(cshm_region *region, const char *what, uint32_t size, double *bytes)
{
    if (strcmp(what, "map-entry") == 0) {
        return measure_entries(region, used, size, 0, bytes);
    }
    if (strcmp(what, "map-fresh") == 0) {
        return measure_entries(region, committed, size, 0, bytes);
    }
    return strcmp(what, "map-replaced") == 0
               ? measure_entries(region, committed, size, REPLACES, bytes)
               : -ENOENT;
}

int bench_memory(const char *what, uint32_t size, double *bytes)
{
    cshm_region *region;
    struct cshm_region_options options = {.capacity = 256u << 20};
    int status = cshm_region_create(&options, &region);
    if (status != 0) {
        return status;
    }
    status = measure_entry(region, what, size, bytes);
    for (size_t i = 0; status == -ENOENT && i < sizeof nouns / sizeof *nouns; i++) {
        if (strcmp(nouns[i].name, what) == 0) {
            status = measure_objects(region, nouns[i].make, size, bytes);
        }
    }
    cshm_region_close(region);
    return status;
}
