/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The heap, the directory, maps, values, parking words with bells, and mutexes.
 */
#include "fuzz.h"

#include <pthread.h>
#include <stddef.h>

#include "layout.h"

extern const struct subject fuzz_heap, fuzz_directory, fuzz_map, fuzz_value, fuzz_park, fuzz_mutex;

static void make_block(struct scene *scene, uint64_t size)
{
    MUST(cshm_heap_allocate(scene->region, size, &scene->place) == 0);
    MUST(cshm_heap_share(scene->region, scene->place) == 0);
    memset(cshm_heap_pointer(scene->region, scene->place, size), 0, size);
    scene->size = size;
}

static void nothing(struct scene *scene)
{
    (void)scene;
}

/* ---- heap ---- */

static const uint64_t sizes[] = {1, 16, 100, 128, 500, 4000, 30000, 60000, 70000, 200000};

static void make_heap(struct scene *scene)
{
    make_block(scene, 256);
    for (uint32_t i = 0; i < 6; i++) {
        MUST(cshm_heap_allocate(scene->region, sizes[i + 2], &scene->block[i]) == 0);
    }
}

static void use_heap(struct scene *scene, uint32_t operation, uint32_t argument)
{
    uint64_t *block = &scene->block[argument % 8];
    uint64_t size = sizes[argument % (sizeof sizes / sizeof sizes[0])];
    struct cshm_heap_usage usage;
    uint8_t *bytes = NULL;
    switch (operation % 6) {
    case 0:
    case 1:
        (void)!cshm_heap_allocate(scene->region, size, block);
        break;
    case 2:
        (void)cshm_heap_free(scene->region, *block);
        break;
    case 3:
        (void)!cshm_heap_share(scene->region, *block);
        break;
    case 4:
        bytes = cshm_heap_pointer(scene->region, *block, size);
        if (bytes != NULL) {
            bytes[0] = bytes[size - 1] = (uint8_t)argument;
        }
        break;
    default:
        cshm_heap_describe(scene->region, &usage);
        (void)cshm_region_reap(scene->region);
    }
}

const struct subject fuzz_heap = {"heap", make_heap, use_heap, nothing, 0};

/* ---- directory ---- */

static const char *const names[] = {"a", "beta", "gamma", "a name of more than one word, or two"};

static void make_directory(struct scene *scene)
{
    make_block(scene, 64);
    for (uint32_t i = 0; i < 2; i++) {
        MUST(cshm_heap_allocate(scene->region, 64, &scene->block[i]) == 0);
        MUST(cshm_directory_add(scene->region, names[i], 1, TAG, scene->block[i]) == 0);
    }
}

static void visit(const struct cshm_directory_entry *entry, void *context)
{
    *(uint64_t *)context += strlen(entry->name);
}

static void use_directory(struct scene *scene, uint32_t operation, uint32_t argument)
{
    const char *name = names[argument % 4];
    uint64_t *block = &scene->block[argument % 8];
    struct cshm_directory_entry entry;
    uint64_t bytes = 0;
    switch (operation % 4) {
    case 0:
        if (cshm_heap_allocate(scene->region, 64, block) == 0 &&
            cshm_directory_add(scene->region, name, 1, TAG, *block) != 0) {
            (void)cshm_heap_free(scene->region, *block);
        }
        break;
    case 1:
        (void)!cshm_directory_find(scene->region, name, &entry);
        break;
    case 2:
        if (cshm_directory_remove(scene->region, name, &entry) == 0) {
            (void)cshm_heap_free(scene->region, entry.offset);
        }
        break;
    default:
        (void)!cshm_directory_list(scene->region, visit, &bytes);
    }
}

const struct subject fuzz_directory = {"directory", make_directory, use_directory, nothing, 0};

/* ---- map ---- */

enum { KEYS = 40 };

static void make_map(struct scene *scene)
{
    cshm_map *map = NULL;
    struct cshm_map_options options = {.type_tag = TAG};
    MUST(cshm_map_create(scene->region, &options, &scene->place) == 0);
    MUST(cshm_heap_share(scene->region, scene->place) == 0);
    MUST(cshm_map_open(scene->region, scene->place, TAG, &map) == 0);
    scene->size = 65 * 128;
    scene->handle[0] = map;
    for (uint64_t key = 0; key < KEYS; key++) {
        MUST(cshm_map_put(map, &key, sizeof key, "12345678", 8) == 0);
    }
}

static void use_map(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_map *map = scene->handle[0];
    cshm_map *again = NULL;
    struct cshm_map_cursor cursor = {0};
    struct cshm_map_entry entry;
    uint64_t key = argument % (2 * KEYS);
    uint8_t buffer[512] = {0};
    uint64_t lengths[2];
    int64_t before = 0;
    switch (operation) {
    case 0:
    case 1:
        (void)!cshm_map_put(map, &key, sizeof key, buffer, argument);
        break;
    case 2:
    case 3:
        (void)!cshm_map_get(map, &key, sizeof key, buffer, sizeof buffer, lengths);
        break;
    case 4:
    case 5:
        (void)!cshm_map_remove(map, &key, sizeof key);
        break;
    case 6:
        for (int i = 0; i < 4 * KEYS && cshm_map_next(map, &cursor, buffer, sizeof buffer,
                                                      &lengths[0], &lengths[1]) == 0;
             i++) {
        }
        break;
    case 7:
        if (cshm_map_lock(map, &key, sizeof key, &entry) == 0) {
            (void)!cshm_map_entry_set(map, &entry, buffer, argument);
            cshm_map_unlock(map, &entry);
        }
        break;
    case 8:
        (void)!cshm_map_fetch_add(map, &key, sizeof key, 1, &before);
        break;
    case 9:
        argument % 8 == 0 ? (void)!cshm_map_clear(map) : (void)cshm_map_count(map);
        break;
    case 10:
        (void)!cshm_map_insert(map, &key, sizeof key, buffer, argument);
        break;
    case 11:
        (void)!cshm_map_version(map, &key, sizeof key, lengths);
        break;
    default:
        if (cshm_map_open(scene->region, scene->place, TAG, &again) == 0) {
            (void)!cshm_map_get(again, &key, sizeof key, buffer, sizeof buffer, lengths);
            cshm_map_close(again);
        }
    }
}

static void leave_map(struct scene *scene)
{
    cshm_map_destroy(scene->handle[0]);
}

const struct subject fuzz_map = {"map", make_map, use_map, leave_map, 0};

/* ---- value ---- */

enum { VALUE_SIZE = 40 };

static const struct cshm_type value_type = {TAG, VALUE_SIZE, VALUE_SIZE, 8};

static void make_value(struct scene *scene)
{
    cshm_value *value = NULL;
    MUST(cshm_value_create(scene->region, &value_type, NULL, &scene->place) == 0);
    MUST(cshm_heap_share(scene->region, scene->place) == 0);
    MUST(cshm_value_open(scene->region, scene->place, &value_type, &value) == 0);
    scene->size = sizeof(struct cshm_value_shared) + 2 * CSHM_LINE;
    scene->handle[0] = value;
}

static void use_value(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_value *value = scene->handle[0];
    cshm_value *again = NULL;
    uint8_t bytes[VALUE_SIZE] = {(uint8_t)argument};
    void *edited = NULL;
    switch (operation % 4) {
    case 0:
        (void)!cshm_value_load(value, bytes);
        break;
    case 1:
        (void)!cshm_value_store_until(value, bytes, scene->soon);
        break;
    case 2:
        if (cshm_value_edit_until(value, &edited, scene->soon) >= 0) {
            memcpy(edited, bytes, sizeof bytes);
            argument % 2 == 0 ? cshm_value_commit(value) : cshm_value_abort(value);
        }
        break;
    default:
        if (cshm_value_open(scene->region, scene->place, &value_type, &again) == 0) {
            (void)!cshm_value_load(again, bytes);
            cshm_value_close(again);
        }
    }
}

/* As with a mutex: ours may not let go of what was damaged. */
static void leave_value(struct scene *scene)
{
    struct cshm_value_shared *shared =
        cshm_heap_pointer(scene->region, scene->place, sizeof *shared);
    while (shared != NULL && pthread_mutex_unlock((void *)&shared->mutex) == 0) {
    }
    cshm_value_close(scene->handle[0]);
}

const struct subject fuzz_value = {"value", make_value, use_value, leave_value,
                                   offsetof(struct cshm_value_shared, mutex) + 1};

/* ---- parking words and bells ---- */

static int is_ready(const void *object)
{
    return *(const volatile uint64_t *)object != 0;
}

static void make_park(struct scene *scene)
{
    cshm_bell *bell = NULL;
    make_block(scene, 256);
    MUST(cshm_bell_create(&bell) == 0 && cshm_bell_watch(bell, scene->region) == 0);
    scene->handle[0] = bell;
    scene->handle[1] = cshm_heap_pointer(scene->region, scene->place, 256);
}

static void use_park(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_bell *bell = scene->handle[0];
    uint8_t *block = scene->handle[1];
    struct cshm_waitable waitable = {(cshm_park *)(void *)block, is_ready, block + 128};
    switch (operation % 8) {
    case 0:
        (void)!cshm_bell_arm(bell, &waitable);
        break;
    case 1:
        cshm_bell_disarm(bell, &waitable);
        break;
    case 2:
        argument % 2 == 0 ? cshm_park_wake_one(waitable.park) : cshm_park_wake_all(waitable.park);
        break;
    case 3:
        cshm_bell_clear(bell);
        break;
    case 4:
        (void)!cshm_wait_any(&waitable, 1, scene->soon);
        break;
    case 5:
        (void)!cshm_park_wait(waitable.park, cshm_park_prepare(waitable.park), scene->soon);
        break;
    case 6:
        cshm_bell_unwatch(bell, scene->region);
        break;
    default:
        (void)!cshm_bell_watch(bell, scene->region);
    }
}

static void leave_park(struct scene *scene)
{
    cshm_bell_close(scene->handle[0]);
}

const struct subject fuzz_park = {"park", make_park, use_park, leave_park, 0};

/* ---- mutex ---- */

static void make_mutex(struct scene *scene)
{
    make_block(scene, sizeof(cshm_mutex));
    cshm_mutex_init(cshm_heap_pointer(scene->region, scene->place, sizeof(cshm_mutex)));
    scene->handle[0] = cshm_heap_pointer(scene->region, scene->place, sizeof(cshm_mutex));
}

static void use_mutex(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_mutex *mutex = scene->handle[0];
    struct cshm_mutex_info info;
    switch (operation % 5) {
    case 0:
        (void)!cshm_mutex_try_acquire(mutex);
        break;
    case 1:
        (void)!cshm_mutex_acquire_until(mutex, scene->soon);
        break;
    case 2:
        (void)cshm_mutex_release(mutex);
        break;
    case 3:
        (void)cshm_mutex_repair(mutex);
        break;
    default:
        (void)!cshm_mutex_describe(mutex, &info);
    }
    (void)argument;
}

/* A region is closed when none of its locks is held; ours may not let go of what was damaged. */
static void leave_mutex(struct scene *scene)
{
    while (pthread_mutex_unlock(scene->handle[0]) == 0) {
    }
}

const struct subject fuzz_mutex = {"mutex", make_mutex, use_mutex, leave_mutex, 1};
