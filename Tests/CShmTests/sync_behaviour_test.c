/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What users of Python's multiprocessing take for granted of everything that one waits at: a time-out
 * that is over is a try, and a signal neither ends a wait nor makes it shorter.
 */
#include "support.h"

#include <sys/time.h>

#include <cshm/barrier.h>
#include <cshm/baton.h>
#include <cshm/condition.h>
#include <cshm/event.h>
#include <cshm/latch.h>
#include <cshm/mutex.h>
#include <cshm/once.h>
#include <cshm/permits.h>
#include <cshm/rwlock.h>
#include <cshm/semaphore.h>

extern const struct test sync_behaviour_tests[];

/* One of each, in such a state that who comes has to wait. */
struct scene {
    cshm_region *region;
    cshm_mutex mutex;
    cshm_mutex recursive;
    cshm_mutex condition_mutex;
    cshm_semaphore semaphore;
    cshm_event event;
    cshm_latch latch;
    cshm_once once;
    uint64_t permits;
    uint64_t baton;
    uint64_t rwlock;
    uint64_t condition;
    uint64_t barrier;
    _Atomic uint32_t held;
};

static struct scene *make_scene(void)
{
    struct scene *scene = shared_memory(sizeof *scene);
    cshm_region *region = make_region(2u << 20);
    scene->region = region;
    cshm_mutex_init(&scene->mutex);
    cshm_mutex_init_recursive(&scene->recursive);
    cshm_mutex_init(&scene->condition_mutex);
    cshm_event_init(&scene->event, CSHM_EVENT_MANUAL);
    cshm_once_init(&scene->once);
    CHECK_EQ(cshm_semaphore_init(&scene->semaphore, 0, 1), 0);
    CHECK_EQ(cshm_latch_init(&scene->latch, 1), 0);
    CHECK_EQ(cshm_permits_create(region, 1, &scene->permits), 0);
    CHECK_EQ(cshm_baton_create(region, &scene->baton), 0);
    CHECK_EQ(cshm_rwlock_create(region, 2, &scene->rwlock), 0);
    CHECK_EQ(cshm_condition_create(region, 2, &scene->condition), 0);
    CHECK_EQ(cshm_barrier_create(region, 2, &scene->barrier), 0);
    const uint64_t places[] = {scene->permits, scene->baton, scene->rwlock, scene->condition,
                               scene->barrier};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        CHECK_EQ(cshm_heap_share(region, places[i]), 0);
    }
    return scene;
}

/* Has all that one can have. */
static void hold(cshm_region *region, void *context)
{
    struct scene *scene = context;
    cshm_permits *permits = NULL;
    cshm_baton *baton = NULL;
    cshm_rwlock *rwlock = NULL;
    CHECK_EQ(cshm_mutex_try_acquire(&scene->mutex), 0);
    CHECK_EQ(cshm_mutex_try_acquire(&scene->recursive), 0);
    CHECK_EQ(cshm_once_begin_until(region, &scene->once, INT64_MAX), CSHM_ONCE_RUN);
    CHECK_EQ(cshm_permits_open(region, scene->permits, &permits), 0);
    CHECK_EQ(cshm_permits_acquire_until(permits, 1, INT64_MAX), 0);
    CHECK_EQ(cshm_baton_open(region, scene->baton, &baton), 0);
    CHECK_EQ(cshm_baton_acquire_until(baton, INT64_MAX), 0);
    CHECK_EQ(cshm_rwlock_open(region, scene->rwlock, &rwlock), 0);
    CHECK_EQ(cshm_rwlock_try_acquire_write(rwlock), 0);
    atomic_store(&scene->held, 1);
    for (;;) {
        pause();
    }
}

static int wait_mutex(struct scene *scene, int64_t deadline_ns)
{
    return cshm_mutex_acquire_until(&scene->mutex, deadline_ns);
}

static int wait_recursive(struct scene *scene, int64_t deadline_ns)
{
    return cshm_mutex_acquire_until(&scene->recursive, deadline_ns);
}

static int wait_semaphore(struct scene *scene, int64_t deadline_ns)
{
    return cshm_semaphore_acquire_until(&scene->semaphore, deadline_ns);
}

static int wait_event(struct scene *scene, int64_t deadline_ns)
{
    return cshm_event_wait_until(&scene->event, deadline_ns);
}

static int wait_latch(struct scene *scene, int64_t deadline_ns)
{
    return cshm_latch_wait_until(&scene->latch, deadline_ns);
}

static int wait_once(struct scene *scene, int64_t deadline_ns)
{
    return cshm_once_begin_until(scene->region, &scene->once, deadline_ns);
}

static int wait_permits(struct scene *scene, int64_t deadline_ns)
{
    cshm_permits *permits = NULL;
    CHECK_EQ(cshm_permits_open(scene->region, scene->permits, &permits), 0);
    int status = cshm_permits_acquire_until(permits, 1, deadline_ns);
    cshm_permits_close(permits);
    return status;
}

static int wait_baton(struct scene *scene, int64_t deadline_ns)
{
    cshm_baton *baton = NULL;
    CHECK_EQ(cshm_baton_open(scene->region, scene->baton, &baton), 0);
    int status = cshm_baton_acquire_until(baton, deadline_ns);
    cshm_baton_close(baton);
    return status;
}

static cshm_rwlock *open_rwlock(const struct scene *scene)
{
    cshm_rwlock *lock = NULL;
    CHECK_EQ(cshm_rwlock_open(scene->region, scene->rwlock, &lock), 0);
    return lock;
}

static int wait_to_read(struct scene *scene, int64_t deadline_ns)
{
    cshm_rwlock *lock = open_rwlock(scene);
    uint32_t cell = 0;
    int status = cshm_rwlock_acquire_read_until(lock, deadline_ns, &cell);
    cshm_rwlock_close(lock);
    return status;
}

static int wait_to_write(struct scene *scene, int64_t deadline_ns)
{
    cshm_rwlock *lock = open_rwlock(scene);
    int status = cshm_rwlock_acquire_write_until(lock, deadline_ns);
    cshm_rwlock_close(lock);
    return status;
}

static int wait_condition(struct scene *scene, int64_t deadline_ns)
{
    cshm_condition *condition = NULL;
    CHECK_EQ(cshm_condition_open(scene->region, scene->condition, &condition), 0);
    CHECK_EQ(cshm_mutex_try_acquire(&scene->condition_mutex), 0);
    int status = cshm_condition_wait_until(condition, &scene->condition_mutex, deadline_ns);
    CHECK_EQ(cshm_mutex_release(&scene->condition_mutex), 0);
    cshm_condition_close(condition);
    return status;
}

static int wait_barrier(struct scene *scene, int64_t deadline_ns)
{
    cshm_barrier *barrier = NULL;
    CHECK_EQ(cshm_barrier_open(scene->region, scene->barrier, &barrier), 0);
    int status = cshm_barrier_wait_until(barrier, NULL, NULL, deadline_ns, NULL);
    cshm_barrier_reset(barrier);
    cshm_barrier_close(barrier);
    return status;
}

static int (*const waits[])(struct scene *scene, int64_t deadline_ns) = {
    wait_mutex,   wait_recursive, wait_semaphore, wait_event,    wait_latch,     wait_once,
    wait_permits, wait_baton,     wait_to_read,   wait_to_write, wait_condition, wait_barrier,
};

static void no_time(void)
{
    struct scene *scene = make_scene();
    pid_t holder = spawn(scene->region, hold, scene);
    wait_until_set(&scene->held, 1);
    const int64_t deadlines[] = {INT64_MIN, -1, 0, 1, cshm_now_ns()};
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        for (size_t n = 0; n < sizeof deadlines / sizeof deadlines[0]; n++) {
            CHECK_EQ(waits[i](scene, deadlines[n]), -ETIMEDOUT);
        }
    }
    kill_child(holder);
    cshm_region_close(scene->region);
}

static _Atomic uint32_t signals_seen;

static void count(int signal __attribute__((unused)))
{
    atomic_fetch_add(&signals_seen, 1);
}

/* Signals that interrupt system calls, so many us apart; 0 for no more. */
static void interrupt(long us)
{
    struct sigaction action = {.sa_handler = count}; /* and no SA_RESTART */
    struct itimerval timer = {.it_interval.tv_usec = us, .it_value.tv_usec = us};
    CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
    CHECK_EQ(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static void signals(void)
{
    struct scene *scene = make_scene();
    pid_t holder = spawn(scene->region, hold, scene);
    wait_until_set(&scene->held, 1);
    interrupt(1000);
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        uint32_t before = atomic_load(&signals_seen);
        int64_t deadline = after(60 * MILLISECOND);
        CHECK_EQ(waits[i](scene, deadline), -ETIMEDOUT);
        CHECK(cshm_now_ns() >= deadline);
        CHECK(atomic_load(&signals_seen) > before);
    }
    interrupt(0);
    kill_child(holder);
    cshm_region_close(scene->region);
}

const struct test sync_behaviour_tests[] = {
    {"of_a_wait_without_time_while_another_process_holds_all", no_time},
    {"of_waiting_processes_that_signals_interrupt", signals},
    {NULL, NULL},
};
