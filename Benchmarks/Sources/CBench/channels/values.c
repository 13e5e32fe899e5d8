/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Under test: cshm/value.h, array.h and atomic.h. Peers: plain memory that is copied, inlined; for
 * what is written, a copy under a robust pthread mutex, as whoever does without us writes it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "subject.h"

enum { ELEMENTS = 1024 };

/* 64 bytes: a line, and more than a register. */
struct item {
    uint64_t number;
    uint64_t more[7];
};

static const struct cshm_type item_type = {1, sizeof(struct item), sizeof(struct item), 8};

struct words {
    BENCH_LINE cshm_atomic own;
    BENCH_LINE struct item item;
    BENCH_LINE pthread_mutex_t mutex;
    BENCH_LINE struct item items[ELEMENTS];
};

struct scene {
    cshm_region *region;
    struct words *words;
    cshm_value *value;
    struct cshm_array array;
};

static void scene_destroy(void *state)
{
    struct scene *scene = state;
    if (scene->words != NULL) {
        bench_unshare(scene->words, sizeof *scene->words);
    }
    if (scene->region != NULL) {
        cshm_region_close(scene->region);
    }
    free(scene);
}

static int make_objects(struct scene *scene)
{
    uint64_t offset = 0;
    int status = cshm_value_create(scene->region, &item_type, NULL, &offset);
    status =
        status == 0 ? cshm_value_open(scene->region, offset, &item_type, &scene->value) : status;
    status = status == 0 ? cshm_array_create(scene->region, &item_type, ELEMENTS, &offset) : status;
    status =
        status == 0 ? cshm_array_open(scene->region, offset, &item_type, &scene->array) : status;
    return status == 0 ? cshm_atomic_init(&scene->words->own, CSHM_UINT64, 0) : status;
}

static int scene_create(const struct bench_shape *shape, void **state)
{
    (void)shape;
    struct scene *scene = calloc(1, sizeof *scene);
    if (scene == NULL) {
        return -ENOMEM;
    }
    struct cshm_region_options options = {.capacity = 1u << 20};
    int status = cshm_region_create(&options, &scene->region);
    scene->words = bench_shared(sizeof *scene->words);
    status = status == 0 && scene->words == NULL ? -ENOMEM : status;
    status = status == 0 ? make_objects(scene) : status;
    if (status != 0) {
        scene_destroy(scene);
        return status;
    }
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&scene->words->mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    *state = scene;
    return 0;
}

static int scene_open(void *state, bool producer, void **handle)
{
    struct scene *scene = state;
    (void)producer;
    int status = cshm_region_join(scene->region);
    *handle = scene;
    return status == -EALREADY ? 0 : status;
}

/* What was written is what was counted, if it was written. */
static bool scene_holds(void *state, uint64_t operations)
{
    struct scene *scene = state;
    struct item item;
    uint64_t sum =
        scene->words->item.number + cshm_atomic_load(&scene->words->own, CSHM_UINT64, CSHM_ACQUIRE);
    int status = cshm_value_load(scene->value, &item);
    return status == 0 && (sum + item.number == 0 || sum + item.number == operations);
}

typedef bool turn(struct scene *scene, uint64_t number);

BENCH_INLINE void take_turns(void *handle, struct bench_worker *worker, turn *take)
{
    uint64_t turns = 0;
    while (!bench_stopped(worker)) {
        if (!take(handle, turns)) {
            worker->tally->errors++;
        }
        turns++;
        __atomic_store_n(&worker->tally->operations, turns, __ATOMIC_RELAXED);
    }
}

/* As used: the compiler must not leave out what nobody looks at. */
BENCH_INLINE bool use(const struct item *item)
{
    __asm__ __volatile__("" : : "r"(item) : "memory");
    return true;
}

BENCH_INLINE bool add_own(struct scene *scene, uint64_t number)
{
    (void)number;
    (void)cshm_atomic_update(&scene->words->own, CSHM_UINT64, CSHM_ATOMIC_ADD, 1, CSHM_SEQ_CST);
    return true;
}

BENCH_INLINE bool load_value(struct scene *scene, uint64_t number)
{
    struct item item;
    (void)number;
    return cshm_value_load(scene->value, &item) == 0 && use(&item);
}

BENCH_INLINE bool copy_item(struct scene *scene, uint64_t number)
{
    struct item item;
    (void)number;
    memcpy(&item, &scene->words->item, sizeof item);
    return use(&item);
}

BENCH_INLINE bool change_value(struct scene *scene, uint64_t number)
{
    void *bytes = NULL;
    (void)number;
    if (cshm_value_edit_until(scene->value, &bytes, INT64_MAX) != 0) {
        return false;
    }
    ((struct item *)bytes)->number++;
    cshm_value_commit(scene->value);
    return true;
}

BENCH_INLINE bool change_under_mutex(struct scene *scene, uint64_t number)
{
    struct item item;
    (void)number;
    if (pthread_mutex_lock(&scene->words->mutex) != 0) {
        return false;
    }
    memcpy(&item, &scene->words->item, sizeof item);
    item.number++;
    (void)use(&item);
    memcpy(&scene->words->item, &item, sizeof item);
    return pthread_mutex_unlock(&scene->words->mutex) == 0;
}

BENCH_INLINE bool read_under_mutex(struct scene *scene, uint64_t number)
{
    struct item item;
    (void)number;
    if (pthread_mutex_lock(&scene->words->mutex) != 0) {
        return false;
    }
    memcpy(&item, &scene->words->item, sizeof item);
    return pthread_mutex_unlock(&scene->words->mutex) == 0 && use(&item);
}

BENCH_INLINE bool copy_element(struct scene *scene, uint64_t number)
{
    struct item item;
    memcpy(&item, (const struct item *)scene->array.elements + number % ELEMENTS, sizeof item);
    return use(&item);
}

BENCH_INLINE bool copy_plain_element(struct scene *scene, uint64_t number)
{
    struct item item;
    memcpy(&item, &scene->words->items[number % ELEMENTS], sizeof item);
    return use(&item);
}

#define VALUES(id, title, take)                                      \
    static void id##_work(void *handle, struct bench_worker *worker) \
    {                                                                \
        take_turns(handle, worker, take);                            \
    }                                                                \
    const struct bench_channel id = {                                \
        .name = title,                                               \
        .create = scene_create,                                      \
        .open = scene_open,                                          \
        .work = id##_work,                                           \
        .holds = scene_holds,                                        \
        .destroy = scene_destroy,                                    \
    }

VALUES(bench_own_add, "own-add", add_own);
VALUES(bench_value_load, "value-load", load_value);
VALUES(bench_plain_copy, "plain-copy", copy_item);
VALUES(bench_value_change, "value-change", change_value);
VALUES(bench_mutex_change, "change-under-mutex", change_under_mutex);
VALUES(bench_mutex_read, "read-under-mutex", read_under_mutex);
VALUES(bench_array_read, "array-read", copy_element);
VALUES(bench_plain_read, "plain-array", copy_plain_element);
