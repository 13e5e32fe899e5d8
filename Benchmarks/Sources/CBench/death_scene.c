/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The objects; see death.h.
 */
#include "death.h"

#include <errno.h>

enum { READERS = 4, WAITERS = 4, PARTIES = 3 };

const struct noun *death_noun(enum bench_noun noun)
{
    return noun == BENCH_NOTHING    ? NULL
           : noun < BENCH_SEMAPHORE ? &death_owned[noun]
                                    : &death_signals[noun];
}

static void make_mutexes(struct shared *shared)
{
    pthread_mutexattr_t attributes;
    cshm_mutex_init(&shared->mutex);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&shared->robust, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

/* Makes what has a view, and opens it. */
#define MAKE(status, noun, view, ...)                                                       \
    do {                                                                                    \
        uint64_t offset = 0;                                                                \
        status = status != 0 ? status : cshm_##noun##_create(__VA_ARGS__, &offset);         \
        status = status != 0 ? status : cshm_##noun##_open(scene->region, offset, &(view)); \
    } while (0)

static int make_values(struct scene *scene)
{
    const struct cshm_type whole = {
        .tag = 1, .size = DEATH_WORDS * 8, .stride = DEATH_WORDS * 8, .alignment = 8};
    const struct cshm_type word = {.tag = 2, .size = 8, .stride = 8, .alignment = 8};
    uint64_t offset = 0;
    int status = cshm_value_create(scene->region, &whole, NULL, &offset);
    status = status != 0 ? status : cshm_value_open(scene->region, offset, &whole, &scene->value);
    status = status != 0 ? status : cshm_array_create(scene->region, &word, DEATH_WORDS, &offset);
    return status != 0 ? status : cshm_array_open(scene->region, offset, &word, &scene->array);
}

int death_make(struct scene *scene)
{
    struct cshm_region_options options = {.capacity = 1u << 20};
    scene->region = NULL;
    scene->shared = bench_shared(sizeof *scene->shared);
    if (scene->shared == NULL) {
        return -ENOMEM;
    }
    make_mutexes(scene->shared);
    cshm_event_init(&scene->shared->event, CSHM_EVENT_AUTOMATIC);
    cshm_once_init(&scene->shared->once);
    int status = cshm_semaphore_init(&scene->shared->semaphore, 0, 1);
    status = status != 0 ? status : cshm_region_create(&options, &scene->region);
    MAKE(status, permits, scene->permits, scene->region, DEATH_PERMITS);
    MAKE(status, baton, scene->baton, scene->region);
    MAKE(status, rwlock, scene->lock, scene->region, READERS);
    MAKE(status, condition, scene->condition, scene->region, WAITERS);
    MAKE(status, barrier, scene->barrier, scene->region, PARTIES);
    return status != 0 ? status : make_values(scene);
}

bool death_renew(struct scene *scene)
{
    return cshm_latch_init(&scene->shared->latch, 1) == 0;
}

void death_unmake(struct scene *scene)
{
    if (scene->region != NULL) {
        cshm_region_close(scene->region);
    }
    if (scene->shared != NULL) {
        bench_unshare(scene->shared, sizeof *scene->shared);
    }
}
