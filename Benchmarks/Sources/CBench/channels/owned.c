/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Under test: cshm/semaphore.h, permits.h, baton.h and the readers of rwlock.h, each taken and given
 * back. Floors: one compare-and-swap each way; an atomic addition. Peers: a process-shared sem_t and
 * pthread_rwlock_t.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include <cshm.h>

#include <bench_channel.h>

enum { PERMITS = 16, READERS = 16 };

/* What is in shared memory and no object of a region's. */
struct words {
    BENCH_LINE cshm_semaphore semaphore;
    BENCH_LINE uint32_t word;
    BENCH_LINE uint64_t count;
    BENCH_LINE sem_t posix_semaphore;
    BENCH_LINE pthread_rwlock_t posix_lock;
};

struct scene {
    cshm_region *region;
    struct words *words;
    cshm_permits *permits;
    cshm_baton *baton;
    cshm_rwlock *lock;
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

static int make_words(struct words *words)
{
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_rwlock_init(&words->posix_lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    sem_init(&words->posix_semaphore, 1, PERMITS);
    words->word = 1;
    return cshm_semaphore_init(&words->semaphore, PERMITS, PERMITS);
}

static int make_objects(struct scene *scene)
{
    uint64_t offset = 0;
    int status = cshm_permits_create(scene->region, PERMITS, &offset);
    status = status == 0 ? cshm_permits_open(scene->region, offset, &scene->permits) : status;
    status = status == 0 ? cshm_baton_create(scene->region, &offset) : status;
    status = status == 0 ? cshm_baton_open(scene->region, offset, &scene->baton) : status;
    status = status == 0 ? cshm_rwlock_create(scene->region, READERS, &offset) : status;
    return status == 0 ? cshm_rwlock_open(scene->region, offset, &scene->lock) : status;
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
    status = status == 0 ? make_words(scene->words) : status;
    status = status == 0 ? make_objects(scene) : status;
    if (status != 0) {
        scene_destroy(scene);
        return status;
    }
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

/* All of it has been given back. */
static bool scene_holds(void *state, uint64_t operations)
{
    struct scene *scene = state;
    int posix = 0;
    sem_getvalue(&scene->words->posix_semaphore, &posix);
    struct cshm_rwlock_info info;
    cshm_rwlock_describe(scene->lock, &info);
    return operations != 0 && posix == PERMITS && scene->words->word == 1 &&
           cshm_semaphore_count(&scene->words->semaphore) == PERMITS &&
           cshm_permits_available(scene->permits) == PERMITS && info.readers == 0 &&
           cshm_baton_holder(scene->baton) == 0;
}

typedef bool turn(struct scene *scene);

BENCH_INLINE void take_turns(void *handle, struct bench_worker *worker, turn *take)
{
    uint64_t turns = 0;
    while (!bench_stopped(worker)) {
        if (!take(handle)) {
            worker->tally->errors++;
        }
        turns++;
        __atomic_store_n(&worker->tally->operations, turns, __ATOMIC_RELAXED);
    }
}

BENCH_INLINE bool swap_twice(struct scene *scene)
{
    uint32_t one = 1;
    uint32_t none = 0;
    uint32_t *word = &scene->words->word;
    return __atomic_compare_exchange_n(word, &one, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED) &&
           __atomic_compare_exchange_n(word, &none, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* By any number of processes. */
BENCH_INLINE bool add_atomically(struct scene *scene)
{
    return __atomic_fetch_add(&scene->words->count, 1, __ATOMIC_SEQ_CST) != UINT64_MAX;
}

BENCH_INLINE bool use_semaphore(struct scene *scene)
{
    return cshm_semaphore_acquire_until(&scene->words->semaphore, INT64_MAX) == 0 &&
           cshm_semaphore_release(&scene->words->semaphore, 1) == 0;
}

BENCH_INLINE bool use_posix_semaphore(struct scene *scene)
{
    return sem_wait(&scene->words->posix_semaphore) == 0 &&
           sem_post(&scene->words->posix_semaphore) == 0;
}

BENCH_INLINE bool use_permits(struct scene *scene)
{
    return cshm_permits_acquire_until(scene->permits, 1, INT64_MAX) == 0 &&
           cshm_permits_release(scene->permits, 1) == 0;
}

BENCH_INLINE bool use_baton(struct scene *scene)
{
    return cshm_baton_acquire_until(scene->baton, INT64_MAX) == 0 &&
           cshm_baton_release(scene->baton) == 0;
}

BENCH_INLINE bool read_lock(struct scene *scene)
{
    uint32_t cell;
    return cshm_rwlock_acquire_read_until(scene->lock, INT64_MAX, &cell) == 0 &&
           cshm_rwlock_release_read(scene->lock, cell) == 0;
}

BENCH_INLINE bool read_posix_lock(struct scene *scene)
{
    return pthread_rwlock_rdlock(&scene->words->posix_lock) == 0 &&
           pthread_rwlock_unlock(&scene->words->posix_lock) == 0;
}

#define OWNED(id, title, take)                                       \
    static void id##_work(void *handle, struct bench_worker *worker) \
    {                                                                \
        take_turns(handle, worker, take);                            \
    }                                                                \
    const struct bench_channel id = {                                \
        title, scene_create, scene_open,    NULL,      NULL,         \
        NULL,  NULL,         scene_destroy, id##_work, scene_holds,  \
    }

OWNED(bench_cas_pair, "cas-pair", swap_twice);
OWNED(bench_atomic_add, "atomic-add", add_atomically);
OWNED(bench_semaphore, "semaphore", use_semaphore);
OWNED(bench_posix_semaphore, "posix-semaphore", use_posix_semaphore);
OWNED(bench_permits, "permits", use_permits);
OWNED(bench_baton, "baton", use_baton);
OWNED(bench_rwlock_read, "rwlock-read", read_lock);
OWNED(bench_posix_rwlock, "posix-rwlock-read", read_posix_lock);
