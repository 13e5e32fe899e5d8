/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/condition.h.
 */
#include "handover.h"

#include <pthread.h>

#include <cshm/bell.h>
#include <cshm/condition.h>
#include <cshm/mutex.h>

extern const struct test condition_tests[];

enum { WAITERS = 6, PLACES = 16 };

struct scene {
    cshm_region *region;
    uint64_t offset;
    cshm_condition *condition; /* the test's own */
    cshm_mutex *mutex;
    _Atomic uint32_t *count; /* of some things */
};

static struct scene make_scene(uint32_t waiters)
{
    struct scene scene = {.region = make_region(1u << 20)};
    CHECK_EQ(cshm_condition_create(scene.region, waiters, &scene.offset), 0);
    CHECK_EQ(cshm_heap_share(scene.region, scene.offset), 0);
    CHECK_EQ(cshm_condition_open(scene.region, scene.offset, &scene.condition), 0);
    scene.mutex = shared_memory(4096);
    cshm_mutex_init(scene.mutex);
    scene.count = shared_memory(4096);
    return scene;
}

static void end_scene(struct scene *scene)
{
    cshm_condition_destroy(scene->condition);
    CHECK_EQ(blocks_in_use(scene->region), 0);
    cshm_region_close(scene->region);
}

static void acquire(const struct scene *scene)
{
    CHECK_EQ(cshm_mutex_acquire_until(scene->mutex, after(30 * SECOND)), 0);
}

static void release(const struct scene *scene)
{
    CHECK_EQ(cshm_mutex_release(scene->mutex), 0);
}

static void wait_for_waiting(const struct scene *scene, uint32_t count)
{
    int64_t end = after(20 * SECOND);
    while (cshm_condition_waiting(scene->condition) != count) {
        CHECK(cshm_now_ns() < end);
        usleep(100);
    }
}

static int notify(const struct scene *scene, uint32_t count)
{
    acquire(scene);
    int notified = cshm_condition_notify(scene->condition, scene->mutex, count);
    release(scene);
    return notified;
}

/* ---- one, some, all ---- */

static void *wait_in_thread(void *context)
{
    struct scene *scene = context;
    acquire(scene);
    CHECK_EQ(cshm_condition_wait_until(scene->condition, scene->mutex, after(40 * SECOND)), 0);
    atomic_fetch_add(&scene->count[0], 1);
    release(scene);
    return NULL;
}

static void wait_in_process(cshm_region *region, void *context)
{
    struct scene *scene = context;
    CHECK_EQ(cshm_condition_open(region, scene->offset, &scene->condition), 0);
    (void)wait_in_thread(scene);
    cshm_condition_close(scene->condition);
    cshm_region_close(region);
}

static void expect_woken(const struct scene *scene, uint32_t woken)
{
    wait_until_set(&scene->count[0], woken);
    acquire(scene);
    CHECK_EQ(atomic_load(&scene->count[0]), woken);
    release(scene);
    CHECK_EQ(cshm_condition_waiting(scene->condition), WAITERS - woken);
}

static void notified(void)
{
    struct scene scene = make_scene(0);
    pthread_t threads[WAITERS / 2];
    pid_t children[WAITERS / 2];
    CHECK_EQ(notify(&scene, 1), 0); /* lost */
    for (uint32_t i = 0; i < WAITERS / 2; i++) {
        children[i] = spawn(scene.region, wait_in_process, &scene);
    }
    for (uint32_t i = 0; i < WAITERS / 2; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, wait_in_thread, &scene), 0);
    }
    wait_for_waiting(&scene, WAITERS);
    CHECK_EQ(notify(&scene, 0), 0);
    expect_woken(&scene, 0);
    CHECK_EQ(notify(&scene, 1), 1);
    expect_woken(&scene, 1);
    CHECK_EQ(notify(&scene, 2), 2);
    expect_woken(&scene, 3);
    CHECK_EQ(notify(&scene, CSHM_NOTIFY_ALL), 3);
    expect_woken(&scene, 6);
    CHECK_EQ(notify(&scene, CSHM_NOTIFY_ALL), 0);
    for (uint32_t i = 0; i < WAITERS / 2; i++) {
        expect_success(children[i]);
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    end_scene(&scene);
}

static void *wait_in_turn(void *context)
{
    struct scene *scene = context;
    uint32_t mine = atomic_fetch_add(&scene->count[1], 1);
    acquire(scene);
    CHECK_EQ(cshm_condition_wait_until(scene->condition, scene->mutex, INT64_MAX), 0);
    CHECK_EQ(atomic_fetch_add(&scene->count[0], 1), mine);
    release(scene);
    return NULL;
}

static void longest_first(void)
{
    struct scene scene = make_scene(0);
    pthread_t threads[WAITERS];
    for (uint32_t i = 0; i < WAITERS; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, wait_in_turn, &scene), 0);
        wait_for_waiting(&scene, i + 1);
    }
    for (uint32_t i = 0; i < WAITERS; i++) {
        CHECK_EQ(notify(&scene, 1), 1);
        wait_until_set(&scene.count[0], i + 1);
    }
    for (uint32_t i = 0; i < WAITERS; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    end_scene(&scene);
}

static int is_three(void *context)
{
    return *(uint32_t *)context == 3;
}

static void timed_out(void)
{
    struct scene scene = make_scene(2);
    uint32_t number = 2;
    acquire(&scene);
    CHECK_EQ(cshm_condition_wait_until(scene.condition, scene.mutex, 0), -ETIMEDOUT);
    for (int64_t wait = 0; wait < 80 * MILLISECOND; wait = wait * 2 + 100000) {
        int64_t deadline = after(wait);
        CHECK_EQ(cshm_condition_wait_until(scene.condition, scene.mutex, deadline), -ETIMEDOUT);
        CHECK(cshm_now_ns() >= deadline);
    }
    CHECK_EQ(cshm_condition_await_until(scene.condition, scene.mutex, is_three, &number,
                                        after(MILLISECOND)),
             -ETIMEDOUT);
    number = 3;
    CHECK_EQ(cshm_condition_await_until(scene.condition, scene.mutex, is_three, &number, 0), 0);
    /* It is as if nobody had waited. */
    CHECK_EQ(cshm_condition_waiting(scene.condition), 0);
    CHECK_EQ(cshm_condition_notify(scene.condition, scene.mutex, CSHM_NOTIFY_ALL), 0);
    release(&scene);
    end_scene(&scene);
}

static void refusals(void)
{
    struct scene scene = make_scene(1);
    struct cshm_condition_waiter waiter;
    struct cshm_condition_waiter another;
    struct cshm_waitable waitable;
    uint64_t offset = 0;
    cshm_condition *other = NULL;
    CHECK_EQ(cshm_condition_create(scene.region, CSHM_CONDITION_WAITERS_MAX + 1, &offset), -EINVAL);
    CHECK_EQ(cshm_condition_open(scene.region, scene.offset + 64, &other), -EPROTO);
    CHECK_EQ(cshm_condition_wait_until(scene.condition, scene.mutex, 0), -EPERM);
    CHECK_EQ(cshm_condition_notify(scene.condition, scene.mutex, 1), -EPERM);
    CHECK_EQ(cshm_condition_begin(scene.condition, scene.mutex, &waiter), -EPERM);
    acquire(&scene);
    CHECK_EQ(cshm_condition_begin(scene.condition, scene.mutex, &waiter), 0);
    CHECK_EQ(cshm_condition_begin(scene.condition, scene.mutex, &another), -EUSERS);
    CHECK_EQ(cshm_condition_wait_until(scene.condition, scene.mutex, 0), -EUSERS);
    cshm_condition_waitable(&waiter, &waitable);
    CHECK_EQ(cshm_wait_any(&waitable, 1, 0), -ETIMEDOUT);
    CHECK_EQ(cshm_condition_is_notified(&waiter), 0);
    CHECK_EQ(cshm_condition_notify(scene.condition, scene.mutex, 1), 1);
    CHECK_EQ(cshm_condition_notify(scene.condition, scene.mutex, 1), 0);
    CHECK_EQ(cshm_wait_any(&waitable, 1, INT64_MAX), 0);
    CHECK_EQ(cshm_condition_is_notified(&waiter), 1);
    CHECK_EQ(cshm_condition_end(&waiter), 1);
    CHECK_EQ(cshm_condition_begin(scene.condition, scene.mutex, &waiter), 0);
    CHECK_EQ(cshm_condition_end(&waiter), 0);
    CHECK_EQ(cshm_condition_begin(scene.condition, scene.mutex, &waiter), 0);
    CHECK_EQ(cshm_condition_leave(&waiter), 0);
    CHECK_EQ(cshm_condition_leave(&waiter), 0);
    CHECK_EQ(cshm_condition_notify(scene.condition, scene.mutex, 1), 0);
    CHECK_EQ(cshm_condition_begin(scene.condition, scene.mutex, &waiter), 0);
    CHECK_EQ(cshm_condition_notify(scene.condition, scene.mutex, 1), 1);
    CHECK_EQ(cshm_condition_leave(&waiter), 1);
    CHECK_EQ(cshm_condition_has_orphan(scene.condition), 0);
    release(&scene);
    CHECK_EQ(cshm_condition_again(&waiter, scene.mutex), -EPERM);
    cshm_mutex_init_recursive(scene.mutex);
    acquire(&scene);
    acquire(&scene);
    CHECK_EQ(cshm_condition_wait_until(scene.condition, scene.mutex, 0), -EINVAL);
    release(&scene);
    CHECK_EQ(cshm_condition_wait_until(scene.condition, scene.mutex, 0), -ETIMEDOUT);
    release(&scene);
    memset(scene.mutex, 0, sizeof *scene.mutex);
    CHECK_EQ(cshm_condition_wait_until(scene.condition, scene.mutex, 0), -EPROTO);
    end_scene(&scene);
}

/* ---- handing over ---- */

enum { YOURS = 0, MINE = 1, THE_LAST = 2 };

static int is_mine(void *context)
{
    const _Atomic uint32_t *turn = context;
    return atomic_load(turn) != YOURS;
}

static int is_yours(void *context)
{
    return !is_mine(context);
}

/* Waits for its turn, and gives it to the other. @returns what turn it was. */
static uint32_t take_turn(const struct scene *scene, int (*holds)(void *context), uint32_t next)
{
    acquire(scene);
    CHECK_EQ(cshm_condition_await_until(scene->condition, scene->mutex, holds, scene->count,
                                        after(30 * SECOND)),
             0);
    uint32_t turn = atomic_exchange(&scene->count[0], next);
    CHECK(cshm_condition_notify(scene->condition, scene->mutex, 1) >= 0);
    release(scene);
    return turn;
}

static void take_turns(cshm_region *region, void *context)
{
    struct scene *scene = context;
    CHECK_EQ(cshm_condition_open(region, scene->offset, &scene->condition), 0);
    while (take_turn(scene, is_mine, YOURS) != THE_LAST) {
    }
    _exit(0);
}

static void hand_over(void)
{
    struct scene scene = make_scene(0);
    struct handover handover = begin_handover();
    pid_t child = spawn(scene.region, take_turns, &scene);
    bool again;
    do {
        again = hand_over_again(&handover);
        (void)take_turn(&scene, is_yours, again ? MINE : THE_LAST);
    } while (again);
    expect_awake_with(&handover, child);
    end_scene(&scene);
}

/* ---- deaths ---- */

static void killed_asleep(void)
{
    struct scene scene = make_scene(0);
    pid_t first = spawn(scene.region, wait_in_process, &scene);
    wait_for_waiting(&scene, 1);
    pid_t second = spawn(scene.region, wait_in_process, &scene);
    wait_for_waiting(&scene, 2);
    usleep(30000); /* most likely both sleep */
    kill_child(first);
    CHECK_EQ(notify(&scene, 1), 1);
    expect_success(second);
    CHECK_EQ(cshm_condition_waiting(scene.condition), 0);
    end_scene(&scene);
}

/* A stopped waiter keeps its notification; dead, it passes it on. */
static void killed_notified(void)
{
    struct scene scene = make_scene(0);
    pid_t first = spawn(scene.region, wait_in_process, &scene);
    wait_for_waiting(&scene, 1);
    stop_child(first);
    pid_t second = spawn(scene.region, wait_in_process, &scene);
    wait_for_waiting(&scene, 2);
    CHECK_EQ(notify(&scene, 1), 1);
    usleep(60000); /* longer than a slice */
    CHECK_EQ(cshm_condition_waiting(scene.condition), 1);
    CHECK_EQ(atomic_load(&scene.count[0]), 0);
    kill_child(first);
    expect_success(second);
    end_scene(&scene);
}

static void *wait_and_tell(void *context)
{
    struct scene *scene = context;
    acquire(scene);
    int status = cshm_condition_wait_until(scene->condition, scene->mutex, INT64_MAX);
    if (status == 1) {
        CHECK_EQ(cshm_mutex_repair(scene->mutex), 0);
    }
    if (status >= 0) {
        release(scene);
    }
    return (void *)(intptr_t)status;
}

static void hold(cshm_region *region, void *context)
{
    struct scene *scene = context;
    (void)region;
    acquire(scene);
    atomic_store(&scene->count[0], 1);
    pause();
}

static void killed_holder(void)
{
    struct scene scene = make_scene(0);
    pthread_t thread;
    void *status = NULL;
    CHECK_EQ(pthread_create(&thread, NULL, wait_and_tell, &scene), 0);
    wait_for_waiting(&scene, 1);
    pid_t holder = spawn(scene.region, hold, &scene);
    wait_until_set(&scene.count[0], 1);
    stop_child(holder);
    usleep(60000); /* longer than a slice */
    CHECK_EQ(cshm_condition_waiting(scene.condition), 1);
    kill_child(holder);
    CHECK_EQ(pthread_join(thread, &status), 0);
    CHECK_EQ((intptr_t)status, 1);
    CHECK_EQ(cshm_condition_waiting(scene.condition), 0);
    end_scene(&scene);
}

static void *end_holding(void *context)
{
    acquire(context);
    return NULL;
}

static void ended_holder(void)
{
    struct scene scene = make_scene(0);
    pthread_t waiter;
    pthread_t holder;
    void *status = NULL;
    CHECK_EQ(pthread_create(&waiter, NULL, wait_and_tell, &scene), 0);
    wait_for_waiting(&scene, 1);
    CHECK_EQ(pthread_create(&holder, NULL, end_holding, &scene), 0);
    CHECK_EQ(pthread_join(holder, NULL), 0);
    CHECK_EQ(pthread_join(waiter, &status), 0);
    CHECK_EQ((intptr_t)status, 1);
    CHECK_EQ(notify(&scene, 1), 0); /* it repaired, and waits no longer */
    end_scene(&scene);
}

static void unrecoverable(void)
{
    struct scene scene = make_scene(0);
    pthread_t thread;
    void *status = NULL;
    CHECK_EQ(pthread_create(&thread, NULL, wait_and_tell, &scene), 0);
    wait_for_waiting(&scene, 1);
    pid_t holder = spawn(scene.region, hold, &scene);
    wait_until_set(&scene.count[0], 1);
    kill_child(holder);
    int inherited = cshm_mutex_try_acquire(scene.mutex);
    if (inherited == 1) { /* or the waiter was faster, which repairs it */
        release(&scene);
    }
    CHECK_EQ(pthread_join(thread, &status), 0);
    CHECK_EQ((intptr_t)status, inherited == 1 ? -ENOTRECOVERABLE : 1);
    CHECK_EQ(cshm_condition_waiting(scene.condition), 0);
    end_scene(&scene);
}

/* ---- waiting elsewhere ---- */

/* Who is notified first, waits on and is before those that came later. */
static void keeps_the_place_of_one_that_waits_on(void)
{
    struct scene scene = make_scene(3);
    struct cshm_condition_waiter waiters[3];
    acquire(&scene);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ(cshm_condition_begin(scene.condition, scene.mutex, &waiters[i]), 0);
    }
    for (uint32_t round = 0; round < 3; round++) {
        CHECK_EQ(cshm_condition_notify(scene.condition, scene.mutex, 1), 1);
        CHECK_EQ(cshm_condition_is_notified(&waiters[0]), 1);
        for (uint32_t i = 0; i < 3; i++) {
            CHECK_EQ(cshm_condition_again(&waiters[i], scene.mutex), 0);
        }
        CHECK_EQ(cshm_condition_waiting(scene.condition), 3);
    }
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ(cshm_condition_notify(scene.condition, scene.mutex, 1), 1);
        CHECK_EQ(cshm_condition_end(&waiters[i]), 1);
    }
    release(&scene);
    end_scene(&scene);
}

/* Without the mutex, which another holds; by whoever looks first, the longest waiting is notified. */
static void hands_on_what_one_that_leaves_was_notified_of(void)
{
    struct scene scene = make_scene(3);
    struct cshm_condition_waiter waiters[3];
    acquire(&scene);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ(cshm_condition_begin(scene.condition, scene.mutex, &waiters[i]), 0);
    }
    CHECK_EQ(cshm_condition_notify(scene.condition, scene.mutex, 1), 1);
    CHECK_EQ(cshm_condition_leave(&waiters[0]), 1);
    CHECK_EQ(cshm_condition_has_orphan(scene.condition), 1);
    CHECK_EQ(cshm_condition_is_notified(&waiters[1]), 0);
    CHECK_EQ(cshm_condition_again(&waiters[2], scene.mutex), 0);
    CHECK_EQ(cshm_condition_has_orphan(scene.condition), 0);
    CHECK_EQ(cshm_condition_is_notified(&waiters[1]), 1);
    CHECK_EQ(cshm_condition_is_notified(&waiters[2]), 0);
    CHECK_EQ(cshm_condition_end(&waiters[1]), 1);
    CHECK_EQ(cshm_condition_end(&waiters[2]), 0);
    release(&scene);
    end_scene(&scene);
}

static struct cshm_condition_waiter begin(struct scene *scene)
{
    struct cshm_condition_waiter waiter;
    acquire(scene);
    CHECK_EQ(cshm_condition_begin(scene->condition, scene->mutex, &waiter), 0);
    release(scene);
    return waiter;
}

static void wakes_a_sleeper_for_one_that_leaves(void)
{
    struct scene scene = make_scene(2);
    struct cshm_condition_waiter waiter = begin(&scene);
    pid_t child = spawn(scene.region, wait_in_process, &scene);
    wait_for_waiting(&scene, 2);
    CHECK_EQ(notify(&scene, 1), 1);
    CHECK_EQ(cshm_condition_leave(&waiter), 1);
    expect_success(child);
    CHECK_EQ(cshm_condition_has_orphan(scene.condition), 0);
    end_scene(&scene);
}

static void wait_elsewhere(cshm_region *region, void *context)
{
    struct scene *scene = context;
    CHECK_EQ(cshm_condition_open(region, scene->offset, &scene->condition), 0);
    (void)begin(scene);
    pause();
}

/* Nobody sleeps at the condition: who waits elsewhere asks. */
static void asks_elsewhere_for_the_dead(void)
{
    struct scene scene = make_scene(2);
    pid_t child = spawn(scene.region, wait_elsewhere, &scene);
    wait_for_waiting(&scene, 1);
    struct cshm_condition_waiter waiter = begin(&scene);
    CHECK_EQ(notify(&scene, 1), 1);
    CHECK_EQ(cshm_condition_has_orphan(scene.condition), 0);
    kill_child(child);
    CHECK_EQ(cshm_condition_has_orphan(scene.condition), 1);
    CHECK_EQ(cshm_condition_is_notified(&waiter), 0);
    acquire(&scene);
    CHECK_EQ(cshm_condition_again(&waiter, scene.mutex), 0);
    CHECK_EQ(cshm_condition_has_orphan(scene.condition), 0);
    CHECK_EQ(cshm_condition_end(&waiter), 1);
    release(&scene);
    end_scene(&scene);
}

static void tells_those_elsewhere_of_a_dead_holder(void)
{
    struct scene scene = make_scene(1);
    CHECK_EQ(cshm_mutex_is_orphaned(scene.mutex), 0);
    pid_t child = spawn(scene.region, hold, &scene);
    wait_until_set(&scene.count[0], 1);
    CHECK_EQ(cshm_mutex_is_orphaned(scene.mutex), 0);
    kill_child(child);
    CHECK_EQ(cshm_mutex_is_orphaned(scene.mutex), 1);
    CHECK_EQ(cshm_mutex_try_acquire(scene.mutex), 1);
    CHECK_EQ(cshm_mutex_is_orphaned(scene.mutex), 0);
    release(&scene); /* not repaired */
    CHECK_EQ(cshm_mutex_is_orphaned(scene.mutex), 1);
    CHECK_EQ(cshm_mutex_try_acquire(scene.mutex), -ENOTRECOVERABLE);
    end_scene(&scene);
}

/* ---- deaths at random ---- */

/* Waits, or notifies, with the repairs that a user makes. */
static void work_for_ever(cshm_region *region, void *context)
{
    struct scene *scene = context;
    uint64_t random = (uint64_t)getpid();
    CHECK_EQ(cshm_condition_open(region, scene->offset, &scene->condition), 0);
    for (;;) {
        int status = cshm_mutex_acquire_until(scene->mutex, INT64_MAX);
        CHECK(status >= 0);
        if (status == 0 && next_random(&random) % 2 == 0) {
            status =
                cshm_condition_wait_until(scene->condition, scene->mutex, after(20 * MILLISECOND));
            CHECK(status >= 0 || status == -ETIMEDOUT);
        }
        if (status == 1) {
            CHECK_EQ(cshm_mutex_repair(scene->mutex), 0);
        }
        CHECK(cshm_condition_notify(scene->condition, scene->mutex, 1 + random % 3) >= 0);
        atomic_fetch_add(&scene->count[0], 1);
        release(scene);
    }
}

static void killed_at_random(void)
{
    struct scene scene = make_scene(PLACES);
    uint64_t random = make_seed();
    pid_t children[4];
    for (int i = 0; i < 4; i++) {
        children[i] = spawn(scene.region, work_for_ever, &scene);
    }
    for (uint32_t round = 0; round < 300; round++) {
        usleep((useconds_t)(next_random(&random) % 2000));
        uint32_t victim = (uint32_t)(next_random(&random) % 4);
        if (round % 4 == 0) {
            stop_child(children[victim]);
        }
        kill_child(children[victim]);
        uint32_t before = atomic_load(&scene.count[0]);
        wait_until_set(&scene.count[0], before + 1);
        children[victim] = spawn(scene.region, work_for_ever, &scene);
    }
    fprintf(stderr, "%u turns\n", scene.count[0]);
    for (int i = 0; i < 4; i++) {
        kill_child(children[i]);
    }
    /* The dead have no places: all are there for the living. */
    int status = cshm_mutex_acquire_until(scene.mutex, INT64_MAX);
    CHECK(status >= 0);
    CHECK(status == 0 || cshm_mutex_repair(scene.mutex) == 0);
    struct cshm_condition_waiter waiters[PLACES];
    for (uint32_t i = 0; i < PLACES; i++) {
        CHECK_EQ(cshm_condition_begin(scene.condition, scene.mutex, &waiters[i]), 0);
    }
    CHECK(cshm_condition_notify(scene.condition, scene.mutex, CSHM_NOTIFY_ALL) >= 0);
    for (uint32_t i = 0; i < PLACES; i++) {
        CHECK_EQ(cshm_condition_end(&waiters[i]), 1);
    }
    release(&scene);
    end_scene(&scene);
}

/* ---- why not glibc's ---- */

struct glibc {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    _Atomic uint32_t waiting;
    _Atomic uint32_t woken;
    _Atomic uint32_t broadcasts;
};

static void wait_for_glibc(cshm_region *region, void *context)
{
    struct glibc *glibc = context;
    (void)region;
    pthread_mutex_lock(&glibc->mutex);
    atomic_fetch_add(&glibc->waiting, 1);
    pthread_cond_wait(&glibc->condition, &glibc->mutex);
    atomic_fetch_add(&glibc->woken, 1);
    pthread_mutex_unlock(&glibc->mutex);
}

static void broadcast_of_glibc(cshm_region *region, void *context)
{
    struct glibc *glibc = context;
    (void)region;
    for (;;) {
        pthread_cond_broadcast(&glibc->condition);
        atomic_fetch_add(&glibc->broadcasts, 1);
        usleep(1000);
    }
}

/* Two waiters are killed; then somebody waits and somebody broadcasts, again and again. */
static void of_glibc(void)
{
    cshm_region *region = make_region(1u << 20);
    struct glibc *glibc = shared_memory(sizeof *glibc);
    pthread_mutexattr_t mutex;
    pthread_condattr_t condition;
    pid_t victims[2];
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&glibc->mutex, &mutex);
    pthread_condattr_init(&condition);
    pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&glibc->condition, &condition);
    for (int i = 0; i < 2; i++) {
        victims[i] = spawn(region, wait_for_glibc, glibc);
    }
    wait_until_set(&glibc->waiting, 2);
    usleep(20000); /* into the kernel */
    for (int i = 0; i < 2; i++) {
        kill_child(victims[i]);
    }
    pid_t broadcaster = spawn(region, broadcast_of_glibc, glibc);
    /* Waiters come; as soon as one is not woken any more, broadcasts have come to an end, too. */
    uint32_t seen = 0;
    bool hung = false;
    for (int round = 0; round < 100 && !hung; round++) {
        pid_t waiter = spawn(region, wait_for_glibc, glibc);
        usleep(30000);
        kill_child(waiter);
        hung = atomic_load(&glibc->broadcasts) == seen;
        seen = atomic_load(&glibc->broadcasts);
    }
    kill_child(broadcaster);
    fprintf(stderr, "after %u broadcasts\n", seen);
    CHECK(hung);
    cshm_region_close(region);
}

const struct test condition_tests[] = {
    {"lets_one_some_or_all_threads_and_processes_go_on", notified},
    {"lets_the_longest_waiting_go_on_first", longest_first},
    {"does_not_time_out_early_and_forgets_who_did", timed_out},
    {"refuses_who_does_not_hold_the_mutex_and_one_too_many", refusals},
    {"hands_over_between_processes", hand_over},
    {"notifies_another_for_a_waiter_killed_asleep", killed_asleep},
    {"takes_back_the_notification_of_a_killed_waiter", killed_notified},
    {"gives_the_mutex_of_a_killed_holder_to_a_waiter", killed_holder},
    {"gives_the_mutex_of_a_thread_that_ended_holding_it_to_a_waiter", ended_holder},
    {"tells_waiters_of_a_killed_holder_that_the_mutex_is_lost", unrecoverable},
    {"keeps_the_place_of_one_that_waits_on", keeps_the_place_of_one_that_waits_on},
    {"hands_on_what_one_that_leaves_was_notified_of",
     hands_on_what_one_that_leaves_was_notified_of},
    {"wakes_a_sleeper_for_one_that_leaves", wakes_a_sleeper_for_one_that_leaves},
    {"is_asked_for_the_dead_by_those_who_wait_elsewhere", asks_elsewhere_for_the_dead},
    {"tells_those_elsewhere_of_a_dead_holder", tells_those_elsewhere_of_a_dead_holder},
    {"outlives_waiters_and_notifiers_killed_at_random", killed_at_random},
    {"of_glibc_hangs_when_waiting_processes_are_killed", of_glibc},
    {NULL, NULL},
};
