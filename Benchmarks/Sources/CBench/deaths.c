/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Time from a process's SIGKILL until the next one goes on; see bench.h. Each time the victim is a
 * process with memory of its own resident, and the survivor one that sleeps. Some victims hold
 * something. Others are killed just after they were woken, before they could run: they are on the
 * killer's CPU, and may use it only while nobody else wants it.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cshm.h>

#include "bench.h"
#include "bench_channel.h"

struct scene {
    cshm_region *region;
    cshm_permits *permits;
    cshm_baton *baton;
    cshm_rwlock *lock;
    cshm_condition *condition;
    cshm_barrier *barrier;
    struct shared {
        BENCH_LINE cshm_mutex mutex;
        BENCH_LINE pthread_mutex_t robust;
        BENCH_LINE cshm_semaphore semaphore;
        BENCH_LINE cshm_event event;
        BENCH_LINE cshm_once once;
        BENCH_LINE uint32_t ready; /* the victim: it holds it, or is about to sleep */
        uint32_t waits;            /* the survivor is about to sleep */
        BENCH_LINE uint64_t went_on_ns;
    } *shared;
    const struct death *death;
    cpu_set_t cpus; /* of everybody but those who are killed woken */
};

/* What dies, and who goes on then. */
struct death {
    /* The victim comes to hold it; or what it is woken in. */
    bool (*hold)(struct scene *scene);
    /* The survivor waits until it has what the victim had. NULL: there is none. */
    bool (*go_on)(struct scene *scene);
    /* The survivor makes it as it was. */
    bool (*undo)(struct scene *scene);
    /* Or NULL: wakes the victim. */
    bool (*wake)(struct scene *scene);
    bool survivor_first; /* it sleeps before the victim holds anything */
};

/* So late that something is wrong. */
static int64_t soon(void)
{
    return cshm_now_ns() + 20000000000;
}

/* ---- mutexes ---- */

static bool hold_mutex(struct scene *scene)
{
    cshm_mutex *mutex = &scene->shared->mutex;
    int status = cshm_mutex_acquire_until(mutex, INT64_MAX);
    return status == 0 || (status == 1 && cshm_mutex_repair(mutex) == 0);
}

static bool leave_mutex(struct scene *scene)
{
    return cshm_mutex_release(&scene->shared->mutex) == 0;
}

static bool hold_robust(struct scene *scene)
{
    pthread_mutex_t *mutex = &scene->shared->robust;
    int status = pthread_mutex_lock(mutex);
    return status == 0 || (status == EOWNERDEAD && pthread_mutex_consistent(mutex) == 0);
}

static bool leave_robust(struct scene *scene)
{
    return pthread_mutex_unlock(&scene->shared->robust) == 0;
}

/* ---- baton, permits, reader-writer lock ---- */

static bool hold_baton(struct scene *scene)
{
    int status = cshm_baton_acquire_until(scene->baton, INT64_MAX);
    return status == 0 || (status == 1 && cshm_baton_repair(scene->baton) == 0);
}

static bool leave_baton(struct scene *scene)
{
    return cshm_baton_release(scene->baton) == 0;
}

static bool hold_permit(struct scene *scene)
{
    return cshm_permits_acquire_until(scene->permits, 1, INT64_MAX) == 0;
}

static bool leave_permit(struct scene *scene)
{
    return cshm_permits_release(scene->permits, 1) == 0;
}

static bool hold_reading(struct scene *scene)
{
    uint32_t cell = 0;
    return cshm_rwlock_acquire_read_until(scene->lock, INT64_MAX, &cell) == 0;
}

static bool hold_writing(struct scene *scene)
{
    int status = cshm_rwlock_acquire_write_until(scene->lock, INT64_MAX);
    return status == 0 || (status == 1 && cshm_rwlock_repair(scene->lock) == 0);
}

static bool leave_writing(struct scene *scene)
{
    return cshm_rwlock_release_write(scene->lock) == 0;
}

/* ---- once ---- */

static bool hold_run(struct scene *scene)
{
    return cshm_once_begin_until(scene->region, &scene->shared->once, INT64_MAX) > 0;
}

static bool leave_run(struct scene *scene)
{
    return cshm_once_end(scene->region, &scene->shared->once, 0) == 0;
}

/* ---- barrier: of three parties, of which one never comes ---- */

static bool wait_at_barrier(struct scene *scene)
{
    return cshm_barrier_wait_until(scene->barrier, NULL, NULL, INT64_MAX, NULL) == 0;
}

static bool is_told_it_broke(struct scene *scene)
{
    return cshm_barrier_wait_until(scene->barrier, NULL, NULL, soon(), NULL) == -ECANCELED;
}

static bool mend_barrier(struct scene *scene)
{
    int forgotten = cshm_barrier_repair(scene->barrier);
    cshm_barrier_close(scene->barrier); /* it ends, which is no death */
    return forgotten == 1;
}

/* ---- semaphore, event, condition: what a woken one takes along ---- */

static bool take_unit(struct scene *scene)
{
    return cshm_semaphore_acquire_until(&scene->shared->semaphore, soon()) == 0;
}

static bool give_unit(struct scene *scene)
{
    return cshm_semaphore_release(&scene->shared->semaphore, 1) == 0;
}

static bool go_through(struct scene *scene)
{
    return cshm_event_wait_until(&scene->shared->event, soon()) == 0;
}

static bool set_event(struct scene *scene)
{
    return cshm_event_set(&scene->shared->event) == 0;
}

static bool wait_at_condition(struct scene *scene)
{
    return hold_mutex(scene) &&
           cshm_condition_wait_until(scene->condition, &scene->shared->mutex, soon()) == 0;
}

static bool inherit_at_condition(struct scene *scene)
{
    return hold_mutex(scene) &&
           cshm_condition_wait_until(scene->condition, &scene->shared->mutex, soon()) == 1 &&
           cshm_mutex_repair(&scene->shared->mutex) == 0;
}

static bool notify(struct scene *scene)
{
    return hold_mutex(scene) &&
           cshm_condition_notify(scene->condition, &scene->shared->mutex, 1) == 1 &&
           leave_mutex(scene);
}

static bool nothing(struct scene *scene)
{
    (void)scene;
    return true;
}

static const struct death deaths[] = {
    [BENCH_DEATH_LOCK] = {hold_mutex, hold_mutex, leave_mutex, NULL, false},
    [BENCH_DEATH_ROBUST] = {hold_robust, hold_robust, leave_robust, NULL, false},
    [BENCH_DEATH_BATON] = {hold_baton, hold_baton, leave_baton, NULL, false},
    [BENCH_DEATH_PERMITS] = {hold_permit, hold_permit, leave_permit, NULL, false},
    [BENCH_DEATH_READER] = {hold_reading, hold_writing, leave_writing, NULL, false},
    [BENCH_DEATH_WRITER] = {hold_writing, hold_writing, leave_writing, NULL, false},
    [BENCH_DEATH_ONCE] = {hold_run, hold_run, leave_run, NULL, false},
    [BENCH_DEATH_BARRIER] = {wait_at_barrier, is_told_it_broke, mend_barrier, nothing, false},
    [BENCH_DEATH_SEMAPHORE] = {take_unit, take_unit, nothing, give_unit, false},
    [BENCH_DEATH_EVENT] = {go_through, go_through, nothing, set_event, false},
    [BENCH_DEATH_NOTIFIED] = {wait_at_condition, wait_at_condition, leave_mutex, notify, false},
    [BENCH_DEATH_CONDITION] = {hold_mutex, inherit_at_condition, leave_mutex, NULL, true},
    [BENCH_DEATH_SEEN] = {nothing, NULL, NULL, NULL, false},
};

/* ---- the scene ---- */

static void make_shared(struct shared *shared)
{
    pthread_mutexattr_t attributes;
    cshm_mutex_init(&shared->mutex);
    cshm_event_init(&shared->event, CSHM_EVENT_AUTOMATIC);
    cshm_once_init(&shared->once);
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

static int make_scene(struct scene *scene)
{
    struct cshm_region_options options = {.capacity = 1u << 20};
    scene->shared = bench_shared(sizeof *scene->shared);
    if (scene->shared == NULL) {
        return -ENOMEM;
    }
    make_shared(scene->shared);
    int status = cshm_semaphore_init(&scene->shared->semaphore, 0, 1);
    status = status != 0 ? status : cshm_region_create(&options, &scene->region);
    MAKE(status, permits, scene->permits, scene->region, 1);
    MAKE(status, baton, scene->baton, scene->region);
    MAKE(status, rwlock, scene->lock, scene->region, 4);
    MAKE(status, condition, scene->condition, scene->region, 4);
    MAKE(status, barrier, scene->barrier, scene->region, 3);
    return status;
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

/* ---- victim, survivor, killer ---- */

static void be_victim(struct scene *scene, size_t resident)
{
    uint8_t *memory = malloc(resident + 1);
    bool is_woken = scene->death->wake != NULL;
    struct sched_param none = {0};
    if (memory == NULL || cshm_region_join(scene->region) != 0) {
        _exit(1);
    }
    memset(memory, 1, resident + 1);
    __asm__ __volatile__("" : : "r"(memory) : "memory");
    if (is_woken) {
        (void)sched_setscheduler(0, SCHED_IDLE, &none);
        __atomic_store_n(&scene->shared->ready, 1, __ATOMIC_RELEASE);
    }
    if (!scene->death->hold(scene)) {
        _exit(1);
    }
    __atomic_store_n(&scene->shared->ready, 1, __ATOMIC_RELEASE);
    for (;;) {
        pause();
    }
}

static void be_survivor(struct scene *scene)
{
    (void)sched_setaffinity(0, sizeof scene->cpus, &scene->cpus);
    if (cshm_region_join(scene->region) != 0) {
        _exit(1);
    }
    __atomic_store_n(&scene->shared->waits, 1, __ATOMIC_RELEASE);
    if (!scene->death->go_on(scene)) {
        _exit(1);
    }
    __atomic_store_n(&scene->shared->went_on_ns, bench_now_ns(), __ATOMIC_RELEASE);
    _exit(scene->death->undo(scene) ? 0 : 1);
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

static bool is_asleep(pid_t child)
{
    char path[32];
    char line[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)child);
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        (void)!fgets(line, sizeof line, file);
        fclose(file);
    }
    const char *name_end = strrchr(line, ')');
    return name_end != NULL && name_end[1] != 0 && name_end[2] == 'S';
}

/* Until it sleeps: it has nothing else left to wait for. */
static bool start(struct scene *scene, bool is_victim, size_t resident, pid_t *child)
{
    const uint32_t *flag = is_victim ? &scene->shared->ready : &scene->shared->waits;
    *child = fork();
    if (*child == 0 && is_victim) {
        be_victim(scene, resident);
    }
    if (*child == 0) {
        be_survivor(scene);
    }
    if (*child < 0 || !wait_until_set(flag, *child)) {
        return false;
    }
    for (uint64_t end = bench_now_ns() + 20000000000; !is_asleep(*child);) {
        if (bench_now_ns() > end) {
            return false;
        }
        usleep(100);
    }
    return true;
}

/* The victim, if it was woken, has not run by then; its end shall be as quick as any. */
static uint64_t wake_and_kill(struct scene *scene, pid_t victim)
{
    struct sched_param none = {0};
    bool woken = scene->death->wake == NULL || scene->death->wake(scene);
    uint64_t start_ns = bench_now_ns();
    kill(victim, SIGKILL);
    (void)sched_setscheduler(victim, SCHED_OTHER, &none);
    return woken ? start_ns : 0;
}

/* @returns the time, or 0 if a process failed. */
static uint64_t kill_one(struct scene *scene, size_t resident)
{
    struct shared *shared = scene->shared;
    bool has_survivor = scene->death->go_on != NULL;
    bool survivor_first = scene->death->survivor_first;
    siginfo_t info;
    pid_t victim = 0;
    pid_t survivor = 0;
    shared->ready = 0;
    shared->waits = 0;
    shared->went_on_ns = 0;
    if ((survivor_first && !start(scene, false, 0, &survivor)) ||
        !start(scene, true, resident, &victim) ||
        (has_survivor && !survivor_first && !start(scene, false, 0, &survivor))) {
        end_child(victim);
        end_child(survivor);
        return 0;
    }
    uint64_t begin = wake_and_kill(scene, victim);
    waitid(P_PID, (id_t)victim, &info, WEXITED | WNOWAIT);
    uint64_t end = bench_now_ns();
    waitpid(victim, NULL, 0);
    int status = 0;
    if (has_survivor) {
        waitpid(survivor, &status, 0);
        end = __atomic_load_n(&shared->went_on_ns, __ATOMIC_ACQUIRE);
        (void)cshm_region_reap(scene->region);
    }
    return status == 0 && begin != 0 && end > begin ? end - begin : 0;
}

/* Those who are killed woken are where the killer is, so that it runs and they do not. */
static void stay_on_one_cpu(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    (void)sched_setaffinity(0, sizeof one, &one);
}

int bench_deaths(enum bench_death kind, size_t resident, uint64_t duration_ns, uint64_t *times,
                 uint32_t room)
{
    struct scene scene = {.death = &deaths[kind]};
    int count = make_scene(&scene);
    uint64_t end = bench_now_ns() + duration_ns;
    (void)sched_getaffinity(0, sizeof scene.cpus, &scene.cpus);
    if (scene.death->wake != NULL) {
        stay_on_one_cpu();
    }
    while (count >= 0 && (uint32_t)count < room && (count == 0 || bench_now_ns() < end)) {
        times[count] = kill_one(&scene, resident);
        count = times[count] == 0 ? -EIO : count + 1;
    }
    (void)sched_setaffinity(0, sizeof scene.cpus, &scene.cpus);
    unmake_scene(&scene);
    return count;
}
