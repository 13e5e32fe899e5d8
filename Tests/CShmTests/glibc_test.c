/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Why nothing of pthread but the robust mutex is in shared memory: what survivors of a killed holder
 * get from glibc, beside what they get here. ARCHITECTURE.md has the reasons.
 */
#include "support.h"

#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include <cshm/permits.h>
#include <cshm/rwlock.h>

extern const struct test glibc_tests[];

struct scene {
    pthread_rwlock_t native_lock;
    sem_t native_semaphore;
    uint64_t lock;
    uint64_t permits;
    _Atomic uint32_t ready;
};

static struct timespec in_the_real_time(int64_t ns)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    time.tv_nsec += ns;
    time.tv_sec += time.tv_nsec / SECOND;
    time.tv_nsec %= SECOND;
    return time;
}

static void hold_everything(cshm_region *region, void *context)
{
    struct scene *scene = context;
    cshm_rwlock *lock = NULL;
    cshm_permits *permits = NULL;
    uint32_t cell = 0;
    CHECK_EQ(cshm_rwlock_open(region, scene->lock, &lock), 0);
    CHECK_EQ(cshm_permits_open(region, scene->permits, &permits), 0);
    CHECK_EQ(pthread_rwlock_rdlock(&scene->native_lock), 0);
    CHECK_EQ(cshm_rwlock_try_acquire_read(lock, &cell), 0);
    CHECK_EQ(sem_wait(&scene->native_semaphore), 0);
    CHECK_EQ(cshm_permits_try_acquire(permits, 1), 0);
    atomic_store(&scene->ready, 1);
    for (;;) {
        pause();
    }
}

static struct scene *make_scene(cshm_region *region)
{
    struct scene *scene = shared_memory(sizeof *scene);
    pthread_rwlockattr_t attributes;
    CHECK_EQ(pthread_rwlockattr_init(&attributes), 0);
    CHECK_EQ(pthread_rwlockattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED), 0);
    CHECK_EQ(pthread_rwlock_init(&scene->native_lock, &attributes), 0);
    CHECK_EQ(sem_init(&scene->native_semaphore, 1, 1), 0);
    CHECK_EQ(cshm_rwlock_create(region, 4, &scene->lock), 0);
    CHECK_EQ(cshm_heap_share(region, scene->lock), 0);
    CHECK_EQ(cshm_permits_create(region, 1, &scene->permits), 0);
    CHECK_EQ(cshm_heap_share(region, scene->permits), 0);
    return scene;
}

static void killed_holder(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(region);
    cshm_rwlock *lock = NULL;
    cshm_permits *permits = NULL;
    CHECK_EQ(cshm_rwlock_open(region, scene->lock, &lock), 0);
    CHECK_EQ(cshm_permits_open(region, scene->permits, &permits), 0);
    pid_t holder = spawn(region, hold_everything, scene);
    wait_until_set(&scene->ready, 1);
    kill_child(holder);
    /* Ours come back at once. */
    CHECK_EQ(cshm_rwlock_acquire_write_until(lock, INT64_MAX), 0);
    CHECK_EQ(cshm_permits_acquire_until(permits, 1, INT64_MAX), 0);
    /* glibc's never do: there is nobody who could give them back. */
    struct timespec later = in_the_real_time(300 * MILLISECOND);
    CHECK_EQ(pthread_rwlock_timedwrlock(&scene->native_lock, &later), ETIMEDOUT);
    CHECK_EQ(sem_timedwait(&scene->native_semaphore, &later), -1);
    CHECK_EQ(errno, ETIMEDOUT);
    cshm_permits_close(permits);
    cshm_rwlock_close(lock);
}

const struct test glibc_tests[] = {
    {"keeps_what_a_killed_reader_or_holder_had_and_we_do_not", killed_holder},
    {NULL, NULL},
};
