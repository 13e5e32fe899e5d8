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
#include <cshm/semaphore.h>

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

/* ---- a semaphore's waiter, killed with the wake in its hands ---- */

struct post {
    sem_t native;
    cshm_semaphore ours;
    bool is_native;
    bool is_victim;
};

static void wait_for_post(cshm_region *region, void *context)
{
    struct post *post = context;
    (void)region;
    if (post->is_victim) {
        be_last_on_the_cpu();
    }
    if (post->is_native) {
        CHECK_EQ(sem_wait(&post->native), 0);
    } else {
        CHECK_EQ(cshm_semaphore_acquire_until(&post->ours, INT64_MAX), 0);
    }
}

static pid_t start_waiting(cshm_region *region, struct post *post, bool is_victim)
{
    post->is_victim = is_victim;
    pid_t child = spawn(region, wait_for_post, post);
    wait_until_it_sleeps(child);
    return child;
}

static int value_of(struct post *post)
{
    int value = 0;
    if (!post->is_native) {
        return cshm_semaphore_count(&post->ours);
    }
    CHECK_EQ(sem_getvalue(&post->native, &value), 0);
    return value;
}

/* Of two that wait, the first is woken and killed. @returns the other one. */
static pid_t kill_the_woken(cshm_region *region, struct post *post)
{
    CHECK_EQ(sem_init(&post->native, 1, 0), 0);
    CHECK_EQ(cshm_semaphore_init(&post->ours, 0, 2), 0);
    pid_t victim = start_waiting(region, post, true);
    pid_t survivor = start_waiting(region, post, false);
    CHECK_EQ(post->is_native ? sem_post(&post->native) : cshm_semaphore_release(&post->ours, 1), 0);
    kill_child(victim);
    return survivor;
}

static void killed_woken(void)
{
    cshm_region *region = make_region(1u << 20);
    struct post *post = shared_memory(sizeof *post);
    stay_on_one_cpu();
    /* The other one has the unit: it looks for itself. If the victim did run, it has another one. */
    post->is_native = false;
    for (int round = 0; round < 10; round++) {
        pid_t survivor = kill_the_woken(region, post);
        siginfo_t info = {0};
        while (value_of(post) == 1) {
            usleep(100);
        }
        usleep(1000);
        CHECK_EQ(waitid(P_PID, (id_t)survivor, &info, WEXITED | WNOHANG | WNOWAIT), 0);
        CHECK(info.si_pid != 0 || cshm_semaphore_release(&post->ours, 1) == 0);
        expect_success(survivor);
    }
    /* glibc's sleeps on, beside a unit that is free. Had the victim run, it would not be. */
    post->is_native = true;
    pid_t sleeper = kill_the_woken(region, post);
    for (int tries = 0; value_of(post) == 0; tries++) {
        CHECK(tries < 20);
        kill_child(sleeper);
        sleeper = kill_the_woken(region, post);
    }
    usleep(300000);
    CHECK_EQ(value_of(post), 1);
    kill_child(sleeper);
    cshm_region_close(region);
}

const struct test glibc_tests[] = {
    {"keeps_what_a_killed_reader_or_holder_had_and_we_do_not", killed_holder},
    {"lets_waiters_sleep_beside_what_a_killed_one_was_woken_for", killed_woken},
    {NULL, NULL},
};
