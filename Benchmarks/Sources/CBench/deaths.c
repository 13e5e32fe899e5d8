/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Time from a holder's SIGKILL until the next waiter has what it held; see bench.h. Each time the
 * holder is a process with memory of its own resident, and the waiter one that sleeps.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cshm.h>

#include "bench.h"
#include "bench_channel.h"

struct scene {
    cshm_region *region;
    cshm_permits *permits;
    cshm_baton *baton;
    struct shared {
        BENCH_LINE cshm_mutex mutex;
        BENCH_LINE pthread_mutex_t robust;
        BENCH_LINE uint32_t held;
        uint32_t waits;
        BENCH_LINE uint64_t acquired_ns;
    } *shared;
    enum bench_death kind;
};

/* Whoever comes next; so often as it takes, what it inherits is good. */
static bool acquire(struct scene *scene)
{
    int status = 0;
    switch (scene->kind) {
    case BENCH_DEATH_LOCK:
        status = cshm_mutex_acquire_until(&scene->shared->mutex, INT64_MAX);
        return status == 0 || (status == 1 && cshm_mutex_repair(&scene->shared->mutex) == 0);
    case BENCH_DEATH_ROBUST:
        status = pthread_mutex_lock(&scene->shared->robust);
        return status == 0 ||
               (status == EOWNERDEAD && pthread_mutex_consistent(&scene->shared->robust) == 0);
    case BENCH_DEATH_BATON:
        status = cshm_baton_acquire_until(scene->baton, INT64_MAX);
        return status == 0 || (status == 1 && cshm_baton_repair(scene->baton) == 0);
    case BENCH_DEATH_PERMITS:
        return cshm_permits_acquire_until(scene->permits, 1, INT64_MAX) == 0;
    case BENCH_DEATH_SEEN:
        return true;
    }
    return false;
}

static bool release(struct scene *scene)
{
    switch (scene->kind) {
    case BENCH_DEATH_LOCK:
        return cshm_mutex_release(&scene->shared->mutex) == 0;
    case BENCH_DEATH_ROBUST:
        return pthread_mutex_unlock(&scene->shared->robust) == 0;
    case BENCH_DEATH_BATON:
        return cshm_baton_release(scene->baton) == 0;
    case BENCH_DEATH_PERMITS:
        return cshm_permits_release(scene->permits, 1) == 0;
    case BENCH_DEATH_SEEN:
        return true;
    }
    return false;
}

static int make_scene(struct scene *scene)
{
    struct cshm_region_options options = {.capacity = 1u << 20};
    uint64_t offset = 0;
    scene->shared = bench_shared(sizeof *scene->shared);
    if (scene->shared == NULL) {
        return -ENOMEM;
    }
    cshm_mutex_init(&scene->shared->mutex);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&scene->shared->robust, &attributes);
    pthread_mutexattr_destroy(&attributes);
    int status = cshm_region_create(&options, &scene->region);
    status = status == 0 ? cshm_permits_create(scene->region, 1, &offset) : status;
    status = status == 0 ? cshm_permits_open(scene->region, offset, &scene->permits) : status;
    status = status == 0 ? cshm_baton_create(scene->region, &offset) : status;
    return status == 0 ? cshm_baton_open(scene->region, offset, &scene->baton) : status;
}

static void unmake_scene(struct scene *scene)
{
    if (scene->region != NULL) {
        cshm_region_close(scene->region);
    }
    if (scene->shared != NULL) {
        bench_unshare(scene->shared, sizeof *scene->shared);
    }
}

static void hold(struct scene *scene, size_t resident)
{
    uint8_t *memory = malloc(resident + 1);
    if (memory == NULL || cshm_region_join(scene->region) != 0) {
        _exit(1);
    }
    memset(memory, 1, resident + 1);
    __asm__ __volatile__("" : : "r"(memory) : "memory");
    if (!acquire(scene)) {
        _exit(1);
    }
    __atomic_store_n(&scene->shared->held, 1, __ATOMIC_RELEASE);
    for (;;) {
        pause();
    }
}

static void wait_for_it(struct scene *scene)
{
    if (cshm_region_join(scene->region) != 0) {
        _exit(1);
    }
    __atomic_store_n(&scene->shared->waits, 1, __ATOMIC_RELEASE);
    if (!acquire(scene)) {
        _exit(1);
    }
    __atomic_store_n(&scene->shared->acquired_ns, bench_now_ns(), __ATOMIC_RELEASE);
    _exit(release(scene) ? 0 : 1);
}

/* Until a child has set the flag, or has failed. */
static bool wait_until_set(const uint32_t *flag, pid_t child)
{
    siginfo_t info = {0};
    while (__atomic_load_n(flag, __ATOMIC_ACQUIRE) == 0) {
        if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            info.si_pid != 0) {
            return false;
        }
        usleep(100); /* the child may die instead, which no word tells */
    }
    return true;
}

static void end_child(pid_t child)
{
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
}

/* @returns the time, or 0 if a process failed. */
static uint64_t kill_one(struct scene *scene, size_t resident)
{
    struct shared *shared = scene->shared;
    bool waits = scene->kind != BENCH_DEATH_SEEN;
    siginfo_t info;
    pid_t waiter = 0;
    shared->held = 0;
    shared->waits = 0;
    shared->acquired_ns = 0;
    pid_t holder = fork();
    if (holder == 0) {
        hold(scene, resident);
    }
    if (holder < 0 || !wait_until_set(&shared->held, holder)) {
        end_child(holder);
        return 0;
    }
    if (waits && (waiter = fork()) == 0) {
        wait_for_it(scene);
    }
    if (waits && (waiter < 0 || !wait_until_set(&shared->waits, waiter))) {
        end_child(holder);
        end_child(waiter);
        return 0;
    }
    usleep(2000); /* it sleeps by then, or it looks: both are waiters */
    uint64_t start = bench_now_ns();
    kill(holder, SIGKILL);
    waitid(P_PID, (id_t)holder, &info, WEXITED | WNOWAIT);
    uint64_t end = bench_now_ns();
    waitpid(holder, NULL, 0);
    int status = 0;
    if (waits) {
        waitpid(waiter, &status, 0);
        end = __atomic_load_n(&shared->acquired_ns, __ATOMIC_ACQUIRE);
        (void)cshm_region_reap(scene->region);
    }
    return status == 0 && end > start ? end - start : 0;
}

int bench_deaths(enum bench_death kind, size_t resident, uint64_t duration_ns, uint64_t *times,
                 uint32_t room)
{
    struct scene scene = {.kind = kind};
    int count = make_scene(&scene);
    uint64_t end = bench_now_ns() + duration_ns;
    while (count >= 0 && (uint32_t)count < room && (count == 0 || bench_now_ns() < end)) {
        times[count] = kill_one(&scene, resident);
        count = times[count] == 0 ? -EIO : count + 1;
    }
    unmake_scene(&scene);
    return count;
}
