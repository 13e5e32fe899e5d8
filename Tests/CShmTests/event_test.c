/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/event.h, cshm/latch.h and cshm/once.h.
 */
#include "handover.h"

#include <poll.h>
#include <pthread.h>

#include <cshm/bell.h>
#include <cshm/event.h>
#include <cshm/latch.h>
#include <cshm/once.h>

extern const struct test event_tests[];

enum { WAITERS = 6, DEATHS = 60 };

struct scene {
    cshm_event event[2];
    cshm_latch latch;
    cshm_once once;
    _Atomic uint32_t count[4];
};

static struct scene *make_scene(enum cshm_event_kind kind)
{
    struct scene *scene = shared_memory(sizeof *scene);
    cshm_event_init(&scene->event[0], kind);
    cshm_event_init(&scene->event[1], kind);
    cshm_once_init(&scene->once);
    return scene;
}

/* ---- event ---- */

static void set_and_clear(void)
{
    struct scene *scene = make_scene(CSHM_EVENT_MANUAL);
    cshm_event *event = &scene->event[0];
    CHECK_EQ(cshm_event_is_set(event), 0);
    CHECK_EQ(cshm_event_try_wait(event), -EAGAIN);
    int64_t deadline = after(30 * MILLISECOND);
    CHECK_EQ(cshm_event_wait_until(event, deadline), -ETIMEDOUT);
    CHECK(cshm_now_ns() >= deadline);
    CHECK_EQ(cshm_event_wait_until(event, 0), -ETIMEDOUT);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(cshm_event_set(event), 0);
        CHECK_EQ(cshm_event_is_set(event), 1);
        CHECK_EQ(cshm_event_try_wait(event), 0);
        CHECK_EQ(cshm_event_wait_until(event, 0), 0);
    }
    CHECK_EQ(cshm_event_clear(event), 0);
    CHECK_EQ(cshm_event_try_wait(event), -EAGAIN);
}

static void automatic(void)
{
    struct scene *scene = make_scene(CSHM_EVENT_AUTOMATIC);
    cshm_event *event = &scene->event[0];
    CHECK_EQ(cshm_event_set(event), 0);
    CHECK_EQ(cshm_event_set(event), 0);
    CHECK_EQ(cshm_event_is_set(event), 1);
    CHECK_EQ(cshm_event_wait_until(event, INT64_MAX), 0);
    CHECK_EQ(cshm_event_try_wait(event), -EAGAIN);
    CHECK_EQ(cshm_event_set(event), 0);
    CHECK_EQ(cshm_event_clear(event), 0);
    CHECK_EQ(cshm_event_wait_until(event, 0), -ETIMEDOUT);
}

static void no_event(void)
{
    struct scene *scene = shared_memory(sizeof *scene);
    cshm_event *event = &scene->event[0];
    cshm_region *region = make_region(1u << 20);
    memset(event, 0xff, sizeof *event);
    CHECK_EQ(cshm_event_set(event), -EPROTO);
    CHECK_EQ(cshm_event_clear(event), -EPROTO);
    CHECK_EQ(cshm_event_is_set(event), -EPROTO);
    CHECK_EQ(cshm_event_try_wait(event), -EPROTO);
    CHECK_EQ(cshm_event_wait_until(event, INT64_MAX), -EPROTO);
    CHECK_EQ(cshm_latch_count(&scene->latch), -EPROTO);
    CHECK_EQ(cshm_latch_count_down(&scene->latch, 1), -EPROTO);
    CHECK_EQ(cshm_latch_wait_until(&scene->latch, INT64_MAX), -EPROTO);
    CHECK_EQ(cshm_once_is_done(&scene->once), -EPROTO);
    CHECK_EQ(cshm_once_try_begin(region, &scene->once), -EPROTO);
    CHECK_EQ(cshm_once_begin_until(region, &scene->once, INT64_MAX), -EPROTO);
    CHECK_EQ(cshm_once_end(region, &scene->once, 1), -EPROTO);
    /* Whole but for what changes: an error, and no endless wait. */
    CHECK_EQ(cshm_latch_init(&scene->latch, 1), 0);
    memset((uint8_t *)&scene->latch + 4, 0xff, 4);
    CHECK_EQ(cshm_latch_wait_until(&scene->latch, INT64_MAX), -EPROTO);
    CHECK_EQ(cshm_latch_count_down(&scene->latch, 1), -EPROTO);
    cshm_once_init(&scene->once);
    memset(&scene->once, 0xff, 8);
    CHECK_EQ(cshm_once_begin_until(region, &scene->once, INT64_MAX), -EPROTO);
    cshm_region_close(region);
}

static void *wait_in_thread(void *context)
{
    struct scene *scene = context;
    CHECK_EQ(cshm_event_wait_until(&scene->event[0], after(30 * SECOND)), 0);
    atomic_fetch_add(&scene->count[0], 1);
    return NULL;
}

static void wait_in_process(cshm_region *region, void *context)
{
    (void)region;
    (void)wait_in_thread(context);
}

/* Threads and processes, each of whom may be anywhere in its wait. */
static void lets_through(enum cshm_event_kind kind, uint32_t for_each_set)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(kind);
    pthread_t threads[WAITERS / 2];
    pid_t children[WAITERS / 2];
    for (uint32_t i = 0; i < WAITERS / 2; i++) {
        children[i] = spawn(region, wait_in_process, scene);
    }
    for (uint32_t i = 0; i < WAITERS / 2; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, wait_in_thread, scene), 0);
    }
    for (uint32_t through = 0; through < WAITERS; through += for_each_set) {
        CHECK_EQ(atomic_load(&scene->count[0]), through);
        CHECK_EQ(cshm_event_set(&scene->event[0]), 0);
        wait_until_set(&scene->count[0], through + for_each_set);
    }
    for (uint32_t i = 0; i < WAITERS / 2; i++) {
        expect_success(children[i]);
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    CHECK_EQ(atomic_load(&scene->count[0]), WAITERS);
    CHECK_EQ(cshm_event_is_set(&scene->event[0]), kind == CSHM_EVENT_MANUAL);
    cshm_region_close(region);
}

static void lets_all_through(void)
{
    lets_through(CSHM_EVENT_MANUAL, WAITERS);
}

static void lets_one_through(void)
{
    lets_through(CSHM_EVENT_AUTOMATIC, 1);
}

static void hand_back(cshm_region *region, void *context)
{
    struct scene *scene = context;
    (void)region;
    bool is_last = false;
    while (!is_last) {
        CHECK_EQ(cshm_event_wait_until(&scene->event[0], after(30 * SECOND)), 0);
        is_last = atomic_load(&scene->count[0]) != 0;
        CHECK_EQ(cshm_event_set(&scene->event[1]), 0);
    }
}

static void hand_over(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(CSHM_EVENT_AUTOMATIC);
    struct handover handover = begin_handover();
    pid_t child = spawn(region, hand_back, scene);
    bool again;
    do {
        again = hand_over_again(&handover);
        atomic_store(&scene->count[0], again ? 0 : 1);
        CHECK_EQ(cshm_event_set(&scene->event[0]), 0);
        CHECK_EQ(cshm_event_wait_until(&scene->event[1], after(30 * SECOND)), 0);
    } while (again);
    expect_awake_with(&handover, child);
    cshm_region_close(region);
}

/* Each is killed, or stopped first, wherever it waits; none takes the event along but by going through. */
static void killed_waiters(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(CSHM_EVENT_AUTOMATIC);
    uint64_t random = make_seed();
    for (uint32_t round = 0; round < 100; round++) {
        uint32_t before = atomic_load(&scene->count[0]);
        pid_t victim = spawn(region, wait_in_process, scene);
        usleep((useconds_t)(next_random(&random) % 500));
        pid_t other = spawn(region, wait_in_process, scene);
        if (round % 3 == 0) {
            stop_child(victim); /* asleep, before, or with the event in its hands */
        }
        CHECK_EQ(cshm_event_set(&scene->event[0]), 0);
        kill_child(victim);
        /* If it went through before it died, the other needs a new one. */
        int status = 0;
        int64_t end = after(20 * SECOND);
        while (waitpid(other, &status, WNOHANG) == 0) {
            CHECK(cshm_now_ns() < end);
            if (cshm_event_is_set(&scene->event[0]) == 0) {
                CHECK_EQ(cshm_event_set(&scene->event[0]), 0);
            }
            usleep(100);
        }
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        CHECK(atomic_load(&scene->count[0]) > before);
        CHECK_EQ(cshm_event_clear(&scene->event[0]), 0);
    }
    cshm_region_close(region);
}

static void bells(void)
{
    struct scene *scene = make_scene(CSHM_EVENT_MANUAL);
    cshm_bell *bell = NULL;
    struct cshm_waitable event;
    struct cshm_waitable both[2];
    CHECK_EQ(cshm_latch_init(&scene->latch, 1), 0);
    cshm_event_waitable(&scene->event[0], &event);
    both[0] = event;
    cshm_latch_waitable(&scene->latch, &both[1]);
    CHECK_EQ(cshm_bell_create(&bell), 0);
    CHECK_EQ(cshm_bell_arm(bell, &event), 0);
    CHECK_EQ(cshm_wait_any(both, 2, 0), -ETIMEDOUT);
    CHECK_EQ(cshm_latch_count_down(&scene->latch, 1), 0);
    CHECK_EQ(cshm_wait_any(both, 2, INT64_MAX), 1);
    CHECK_EQ(cshm_event_set(&scene->event[0]), 0);
    CHECK_EQ(cshm_wait_any(both, 2, INT64_MAX), 0);
    struct pollfd rung = {.fd = cshm_bell_descriptor(bell), .events = POLLIN};
    CHECK_EQ(poll(&rung, 1, 0), 1);
    cshm_bell_close(bell);
}

/* ---- latch ---- */

static void counts_down(void)
{
    struct scene *scene = make_scene(CSHM_EVENT_MANUAL);
    CHECK_EQ(cshm_latch_init(&scene->latch, UINT32_MAX), -EINVAL);
    CHECK_EQ(cshm_latch_init(&scene->latch, 5), 0);
    CHECK_EQ(cshm_latch_count_down(&scene->latch, 0), 5);
    CHECK_EQ(cshm_latch_count_down(&scene->latch, 2), 3);
    CHECK_EQ(cshm_latch_count(&scene->latch), 3);
    CHECK_EQ(cshm_latch_wait_until(&scene->latch, after(MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(cshm_latch_count_down(&scene->latch, 7), 0);
    CHECK_EQ(cshm_latch_count_down(&scene->latch, 1), 0);
    CHECK_EQ(cshm_latch_wait_until(&scene->latch, 0), 0);
    CHECK_EQ(cshm_latch_init(&scene->latch, 0), 0);
    CHECK_EQ(cshm_latch_wait_until(&scene->latch, INT64_MAX), 0);
}

static void count_and_wait(cshm_region *region, void *context)
{
    struct scene *scene = context;
    (void)region;
    atomic_fetch_add(&scene->count[0], 1);
    CHECK(cshm_latch_count_down(&scene->latch, 1) >= 0);
    CHECK_EQ(cshm_latch_wait_until(&scene->latch, after(30 * SECOND)), 0);
    CHECK_EQ(atomic_load(&scene->count[0]), WAITERS);
}

static void latched_processes(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(CSHM_EVENT_MANUAL);
    pid_t children[WAITERS];
    CHECK_EQ(cshm_latch_init(&scene->latch, WAITERS), 0);
    for (uint32_t i = 0; i < WAITERS; i++) {
        children[i] = spawn(region, count_and_wait, scene);
    }
    CHECK_EQ(cshm_latch_wait_until(&scene->latch, after(30 * SECOND)), 0);
    CHECK_EQ(atomic_load(&scene->count[0]), WAITERS);
    for (uint32_t i = 0; i < WAITERS; i++) {
        expect_success(children[i]);
    }
    cshm_region_close(region);
}

static void wait_for_latch(cshm_region *region, void *context)
{
    struct scene *scene = context;
    (void)region;
    CHECK_EQ(cshm_latch_wait_until(&scene->latch, after(30 * SECOND)), 0);
}

static void count_until_killed(cshm_region *region, void *context)
{
    struct scene *scene = context;
    CHECK(cshm_latch_count_down(&scene->latch, 1) >= 0);
    wait_for_latch(region, scene);
    pause();
}

/* Each is killed, or stopped first, wherever it counts or waits; what it had not counted, its parent
 * does. */
static void killed_at_latch(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(CSHM_EVENT_MANUAL);
    uint64_t random = make_seed();
    for (uint32_t round = 0; round < DEATHS; round++) {
        bool counts_last = round % 2 == 0;
        CHECK_EQ(cshm_latch_init(&scene->latch, counts_last ? 1 : 2), 0);
        pid_t other = spawn(region, wait_for_latch, scene);
        pid_t victim = spawn(region, count_until_killed, scene);
        usleep((useconds_t)(next_random(&random) % 1000));
        if (round % 3 == 0) {
            stop_child(victim);
        }
        if (!counts_last) {
            CHECK(cshm_latch_count_down(&scene->latch, 1) >= 0);
        }
        kill_child(victim);
        CHECK(cshm_latch_count(&scene->latch) <= 1);
        if (cshm_latch_count(&scene->latch) == 1) {
            CHECK_EQ(cshm_latch_count_down(&scene->latch, 1), 0);
        }
        expect_success(other);
        CHECK_EQ(cshm_latch_wait_until(&scene->latch, 0), 0);
    }
    cshm_region_close(region);
}

/* ---- once ---- */

static void runs_once(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(CSHM_EVENT_MANUAL);
    cshm_once *once = &scene->once;
    CHECK_EQ(cshm_once_is_done(once), 0);
    CHECK_EQ(cshm_once_end(region, once, 1), -EPERM);
    CHECK_EQ(cshm_once_try_begin(region, once), CSHM_ONCE_RUN);
    CHECK_EQ(cshm_once_try_begin(region, once), -EAGAIN);
    CHECK_EQ(cshm_once_begin_until(region, once, after(MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(cshm_once_end(region, once, 0), 0);
    CHECK_EQ(cshm_once_begin_until(region, once, INT64_MAX), CSHM_ONCE_RUN);
    CHECK_EQ(cshm_once_end(region, once, 1), 0);
    CHECK_EQ(cshm_once_is_done(once), 1);
    CHECK_EQ(cshm_once_begin_until(region, once, INT64_MAX), 0);
    CHECK_EQ(cshm_once_end(region, once, 0), -EPERM);
    cshm_region_close(region);
}

static void run_it(cshm_region *region, void *context)
{
    struct scene *scene = context;
    int status = cshm_once_begin_until(region, &scene->once, after(30 * SECOND));
    CHECK(status >= 0);
    if (status > 0) {
        atomic_fetch_add(&scene->count[0], 1);
        CHECK_EQ(cshm_once_end(region, &scene->once, 1), 0);
    }
    CHECK_EQ(atomic_load(&scene->count[0]), 1);
}

static void one_process_runs(void)
{
    cshm_region *region = make_region(1u << 20);
    for (uint32_t round = 0; round < 20; round++) {
        struct scene *scene = make_scene(CSHM_EVENT_MANUAL);
        pid_t children[WAITERS];
        for (uint32_t i = 0; i < WAITERS; i++) {
            children[i] = spawn(region, run_it, scene);
        }
        for (uint32_t i = 0; i < WAITERS; i++) {
            expect_success(children[i]);
        }
    }
    cshm_region_close(region);
}

static void run_for_ever(cshm_region *region, void *context)
{
    struct scene *scene = context;
    int status = cshm_once_begin_until(region, &scene->once, INT64_MAX);
    CHECK(status > 0);
    atomic_store(&scene->count[0], (uint32_t)status);
    pause();
}

static void dead_runner(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(CSHM_EVENT_MANUAL);
    pid_t runner = spawn(region, run_for_ever, scene);
    wait_until_set(&scene->count[0], CSHM_ONCE_RUN);
    pid_t heir = spawn(region, run_for_ever, scene);
    CHECK_EQ(cshm_once_begin_until(region, &scene->once, after(30 * MILLISECOND)), -ETIMEDOUT);
    stop_child(runner);
    CHECK_EQ(cshm_once_begin_until(region, &scene->once, after(30 * MILLISECOND)), -ETIMEDOUT);
    kill_child(runner);
    wait_until_set(&scene->count[0], CSHM_ONCE_RUN_AGAIN);
    CHECK_EQ(cshm_once_try_begin(region, &scene->once), -EAGAIN);
    kill_child(heir);
    CHECK_EQ(cshm_once_try_begin(region, &scene->once), CSHM_ONCE_RUN_AGAIN);
    CHECK_EQ(cshm_once_end(region, &scene->once, 1), 0);
    cshm_region_close(region);
}

/* Nobody else is in it. */
static void run_or_wait(cshm_region *region, void *context)
{
    struct scene *scene = context;
    int status = cshm_once_begin_until(region, &scene->once, after(30 * SECOND));
    CHECK(status >= 0);
    if (status == CSHM_ONCE_RUN_AGAIN) {
        atomic_store(&scene->count[0], 0); /* the dead one */
    }
    if (status > 0) {
        CHECK_EQ(atomic_fetch_add(&scene->count[0], 1), 0);
        usleep(200);
        CHECK_EQ(atomic_fetch_sub(&scene->count[0], 1), 1);
        CHECK_EQ(cshm_once_end(region, &scene->once, 1), 0);
    }
    CHECK_EQ(cshm_once_is_done(&scene->once), 1);
}

static void run_until_killed(cshm_region *region, void *context)
{
    run_or_wait(region, context);
    pause();
}

/* Each is killed, or stopped first, wherever it runs or waits. */
static void killed_at_once(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(CSHM_EVENT_MANUAL);
    uint64_t random = make_seed();
    for (uint32_t round = 0; round < DEATHS; round++) {
        cshm_once_init(&scene->once);
        pid_t victim = spawn(region, run_until_killed, scene);
        pid_t other = spawn(region, run_or_wait, scene);
        usleep((useconds_t)(next_random(&random) % 1500));
        if (round % 3 == 0) {
            stop_child(victim);
        }
        kill_child(victim);
        expect_success(other);
        CHECK_EQ(cshm_once_is_done(&scene->once), 1);
        CHECK_EQ(atomic_load(&scene->count[0]), 0);
    }
    cshm_region_close(region);
}

const struct test event_tests[] = {
    {"is_set_until_it_is_cleared", set_and_clear},
    {"that_is_automatic_is_cleared_by_who_goes_through", automatic},
    {"latch_and_once_refuse_bytes_that_are_none", no_event},
    {"lets_all_threads_and_processes_through", lets_all_through},
    {"that_is_automatic_lets_one_thread_or_process_through", lets_one_through},
    {"hands_over_between_processes", hand_over},
    {"is_not_lost_with_killed_waiters", killed_waiters},
    {"and_latch_can_be_waited_for_with_others", bells},
    {"latch_counts_down_to_none", counts_down},
    {"latch_waits_for_all_processes", latched_processes},
    {"latch_opens_though_those_who_count_and_wait_are_killed", killed_at_latch},
    {"once_is_run_until_it_is_done", runs_once},
    {"once_is_run_by_one_process", one_process_runs},
    {"once_is_handed_on_by_a_killed_runner", dead_runner},
    {"once_is_done_though_those_who_run_and_wait_are_killed", killed_at_once},
    {NULL, NULL},
};
