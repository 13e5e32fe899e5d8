/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The heap, the directory, maps, lists, values, arrays and atomic numbers.
 */
#include "fuzz.h"

#include <pthread.h>
#include <stddef.h>

#include "layout.h"

extern const struct subject fuzz_heap, fuzz_directory, fuzz_map, fuzz_list, fuzz_value, fuzz_array,
    fuzz_atomic;

/* ---- heap ---- */

static const uint64_t sizes[] = {1, 16, 100, 128, 500, 4000, 30000, 60000, 70000, 200000};

static void make_heap(struct scene *scene)
{
    (void)fuzz_block(scene, 256);
    for (uint32_t i = 0; i < 6; i++) {
        MUST(cshm_heap_allocate(scene->region, sizes[i + 2], &scene->block[i]) == 0);
    }
}

/* Lays out one of the others. */
static int create(cshm_region *region, uint32_t which, uint64_t *place)
{
    static const struct cshm_type type = {TAG, 24, 24, 8};
    static const struct cshm_queue_options queue = {.capacity = 4, .slot_size = 8, .pack = 2};
    static const struct cshm_lanes_options lanes = {.capacity = 4, .slot_size = 8};
    static const struct cshm_broadcast_options broadcast = {.capacity = 4, .slot_size = 8};
    static const struct cshm_map_options map = {.type_tag = TAG};
    switch (which % 12) {
    case 0:
        return cshm_ring_create(region, 4, 8, place);
    case 1:
        return cshm_queue_create(region, &queue, place);
    case 2:
        return cshm_lanes_create(region, &lanes, place);
    case 3:
        return cshm_broadcast_create(region, &broadcast, place);
    case 4:
        return cshm_map_create(region, &map, place);
    case 5:
        return cshm_list_create(region, TAG, place);
    case 6:
        return cshm_value_create(region, &type, NULL, place);
    case 7:
        return cshm_array_create(region, &type, which, place);
    case 8:
        return cshm_rwlock_create(region, which + 1, place);
    case 9:
        return cshm_permits_create(region, which + 1, place);
    case 10:
        return cshm_barrier_create(region, 2, place);
    default:
        return cshm_condition_create(region, which, place);
    }
}

static void use_heap(struct scene *scene, uint32_t operation, uint32_t argument)
{
    uint64_t *block = &scene->block[argument % 8];
    uint64_t size = sizes[argument % (sizeof sizes / sizeof sizes[0])];
    struct cshm_heap_usage usage;
    uint8_t *bytes = NULL;
    switch (operation % 7) {
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
    case 5:
        if (create(scene->region, argument, block) == 0) {
            (void)cshm_heap_free(scene->region, *block);
        }
        break;
    default:
        cshm_heap_describe(scene->region, &usage);
        (void)cshm_region_reap(scene->region);
    }
}

const struct subject fuzz_heap = {"heap", make_heap, use_heap, NULL};

/* ---- directory ---- */

static const char *const names[] = {"a", "beta", "gamma", "a name of more than one word, or two"};

static void make_directory(struct scene *scene)
{
    (void)fuzz_block(scene, 64);
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

const struct subject fuzz_directory = {"directory", make_directory, use_directory, NULL};

/* ---- map ---- */

enum { KEYS = 40 };

static void make_map(struct scene *scene)
{
    cshm_map *map = NULL;
    struct cshm_map_options options = {.type_tag = TAG};
    MUST(cshm_map_create(scene->region, &options, &scene->place) == 0);
    fuzz_share(scene, 65 * 128);
    MUST(cshm_map_open(scene->region, scene->place, TAG, &map) == 0);
    scene->handle[0] = map;
    for (uint64_t key = 0; key < KEYS; key++) {
        MUST(cshm_map_put(map, &key, sizeof key, "12345678", 8) == 0);
    }
}

static void change_several(cshm_map *map, uint64_t key, uint32_t argument)
{
    uint64_t keys[3] = {key, key + 1, key + 2};
    uint8_t buffer[512] = {0};
    struct cshm_map_step steps[3];
    for (uint32_t i = 0; i < 3; i++) {
        steps[i] = (struct cshm_map_step){.key = &keys[i], .key_length = sizeof keys[i]};
    }
    if (cshm_map_begin(map, steps, 3) != 0) {
        return;
    }
    for (uint32_t i = 0; i < 3; i++) {
        steps[i].action = (enum cshm_map_action)((argument >> i) % 3);
        steps[i].new_value = buffer;
        steps[i].new_length = argument % sizeof buffer;
    }
    (void)!cshm_map_commit(map, steps, 3);
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
    case 12:
    case 13:
        change_several(map, key, argument);
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

const struct subject fuzz_map = {"map", make_map, use_map, leave_map};

/* ---- list ---- */

enum { ITEMS = 6, SPLICED = 3 };

static void make_list(struct scene *scene)
{
    cshm_list *list = NULL;
    MUST(cshm_list_create(scene->region, TAG, &scene->place) == 0);
    fuzz_share(scene, sizeof(struct cshm_list_shared));
    MUST(cshm_list_open(scene->region, scene->place, TAG, &list) == 0);
    scene->handle[0] = list;
    for (uint32_t i = 0; i < ITEMS; i++) {
        MUST(cshm_list_push_back(list, "12345678", i) == 0);
    }
}

static void splice(cshm_list *list, uint32_t argument)
{
    static const uint8_t text[40];
    struct cshm_list_value values[SPLICED] = {{text, 1}, {text, argument % 40}, {text, 8}};
    (void)!cshm_list_splice(list, argument % ITEMS, argument / 8 % 4, values, argument % 4);
}

static void read_list(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_list *list = scene->handle[0];
    struct cshm_list_watch watch = {list, argument % 2 == 0 ? cshm_list_changes(list) : argument};
    struct cshm_waitable waitable;
    uint64_t buffer[64];
    uint64_t counts[2];
    switch (operation) {
    case 0:
        (void)!cshm_list_get(list, argument % 10, buffer, sizeof buffer, counts);
        break;
    case 1:
        (void)!cshm_list_slice(list, argument % 4, argument, buffer, sizeof buffer, &counts[0],
                               &counts[1]);
        break;
    case 2:
        (void)cshm_list_count(list);
        (void)!cshm_list_wait_until(&watch, scene->soon);
        break;
    default:
        cshm_list_waitable(&watch, &waitable);
        (void)!cshm_wait_any(&waitable, 1, 0);
    }
}

static void peek_under_lock(cshm_list *list, uint32_t argument)
{
    const void *bytes = NULL;
    uint64_t length = 0;
    if (cshm_list_lock(list) == 0) {
        if (cshm_list_peek(list, argument % ITEMS, &bytes, &length) == 0) {
            for (uint64_t i = 0; i < length; i++) {
                (void)((const volatile uint8_t *)bytes)[i];
            }
        }
        splice(list, argument);
        cshm_list_unlock(list);
    }
}

static void use_list(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_list *list = scene->handle[0];
    cshm_list *again = NULL;
    uint8_t buffer[300] = {0};
    uint64_t length = 0;
    switch (operation) {
    case 0:
    case 1:
    case 2:
    case 3:
        read_list(scene, operation, argument);
        break;
    case 4:
        (void)!cshm_list_push_back(list, buffer, argument);
        break;
    case 5:
        (void)!cshm_list_push_front(list, buffer, argument);
        break;
    case 6:
        (void)!cshm_list_pop_back(list, buffer, sizeof buffer, &length);
        break;
    case 7:
        (void)!cshm_list_pop_front(list, buffer, argument, &length);
        break;
    case 8:
    case 9:
        (void)!cshm_list_set(list, argument % ITEMS, buffer, argument);
        break;
    case 10:
    case 11:
    case 12:
        splice(list, argument);
        break;
    case 13:
    case 14:
        peek_under_lock(list, argument);
        break;
    default:
        if (cshm_list_open(scene->region, scene->place, TAG, &again) == 0) {
            (void)!cshm_list_push_back(again, buffer, argument);
            cshm_list_close(again);
        }
    }
}

static void leave_list(struct scene *scene)
{
    cshm_list_destroy(scene->handle[0]);
}

const struct subject fuzz_list = {"list", make_list, use_list, leave_list};

/* ---- value ---- */

enum { VALUE_SIZE = 40 };

static const struct cshm_type value_type = {TAG, VALUE_SIZE, VALUE_SIZE, 8};

static void make_value(struct scene *scene)
{
    cshm_value *value = NULL;
    MUST(cshm_value_create(scene->region, &value_type, NULL, &scene->place) == 0);
    fuzz_share(scene, sizeof(struct cshm_value_shared) + 2 * CSHM_LINE);
    MUST(cshm_value_open(scene->region, scene->place, &value_type, &value) == 0);
    scene->handle[0] = value;
    scene->native = (uint8_t *)fuzz_object(scene) + offsetof(struct cshm_value_shared, mutex);
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

static void leave_value(struct scene *scene)
{
    fuzz_let_go(scene);
    cshm_value_close(scene->handle[0]);
}

const struct subject fuzz_value = {"value", make_value, use_value, leave_value};

/* ---- array ---- */

enum { ELEMENTS = 5 };

static const struct cshm_type element_type = {TAG, 8, 8, 8};

static void make_array(struct scene *scene)
{
    struct cshm_array array;
    MUST(cshm_array_create(scene->region, &element_type, ELEMENTS, &scene->place) == 0);
    fuzz_share(scene, sizeof(struct cshm_array_shared) + ELEMENTS * sizeof(uint64_t));
    MUST(cshm_array_open(scene->region, scene->place, &element_type, &array) == 0);
    scene->handle[0] = array.elements;
    scene->native = array.mutex;
}

static void use_array(struct scene *scene, uint32_t operation, uint32_t argument)
{
    struct cshm_array array;
    uint64_t *elements = scene->handle[0];
    if (operation % 2 == 0) {
        cshm_word_store(&elements[argument % ELEMENTS],
                        cshm_word_load(&elements[(argument + 1) % ELEMENTS]));
    } else if (cshm_array_open(scene->region, scene->place, &element_type, &array) == 0) {
        for (uint64_t i = 0; i < array.count; i++) {
            (void)cshm_word_load((const uint64_t *)array.elements + i);
        }
    }
}

const struct subject fuzz_array = {"array", make_array, use_array, NULL};

/* ---- atomic number ---- */

static void make_atomic(struct scene *scene)
{
    cshm_atomic *atomic = fuzz_block(scene, 2 * sizeof *atomic);
    MUST(cshm_atomic_init(&atomic[0], CSHM_INT32, 1) == 0);
    MUST(cshm_atomic_init(&atomic[1], CSHM_UINT64, 1) == 0);
    scene->handle[0] = &atomic[0];
    scene->handle[1] = &atomic[1];
}

static void use_atomic(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_atomic *atomic = scene->handle[argument % 2];
    enum cshm_atomic_type type = argument % 2 == 0 ? CSHM_INT32 : CSHM_UINT64;
    uint64_t value = cshm_atomic_load(atomic, type, CSHM_SEQ_CST);
    switch (operation % 6) {
    case 0:
        (void)!cshm_atomic_check(atomic, type);
        break;
    case 1:
        cshm_atomic_store(atomic, type, argument, CSHM_RELEASE);
        break;
    case 2:
        (void)cshm_atomic_update(atomic, type, (enum cshm_atomic_operation)(argument % 8 + 1),
                                 argument, CSHM_ACQ_REL);
        break;
    case 3:
        (void)!cshm_atomic_compare_exchange(atomic, type, &value, argument, CSHM_SEQ_CST,
                                            CSHM_RELAXED);
        break;
    case 4:
        (void)!cshm_atomic_wait_until(atomic, type, value, scene->soon);
        break;
    default:
        cshm_atomic_notify(atomic);
    }
}

const struct subject fuzz_atomic = {"atomic", make_atomic, use_atomic, NULL};
