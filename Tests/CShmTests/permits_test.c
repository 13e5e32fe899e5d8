/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/permits.h.
 */
#include "support.h"

#include <pthread.h>
#include <sched.h>

#include <cshm/permits.h>

extern const struct test permits_tests[];

static cshm_permits *make_permits(cshm_region *region, uint32_t count)
{
    uint64_t offset = 0;
    cshm_permits *permits = NULL;
    CHECK_EQ(cshm_permits_create(region, count, &offset), 0);
    CHECK_EQ(cshm_heap_share(region, offset), 0);
    CHECK_EQ(cshm_permits_open(region, offset, &permits), 0);
    return permits;
}

static void takes(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_permits *permits = make_permits(region, 3);
    CHECK_EQ(cshm_permits_count(permits), 3);
    CHECK_EQ(cshm_permits_try_acquire(permits, 2), 0);
    CHECK_EQ(cshm_permits_available(permits), 1);
    CHECK_EQ(cshm_permits_held(permits), 2);
    CHECK_EQ(cshm_permits_try_acquire(permits, 2), -EAGAIN);
    CHECK_EQ(cshm_permits_available(permits), 1);
    CHECK_EQ(cshm_permits_acquire_until(permits, 1, INT64_MAX), 0);
    int64_t deadline = after(30 * MILLISECOND);
    CHECK_EQ(cshm_permits_acquire_until(permits, 1, deadline), -ETIMEDOUT);
    CHECK(cshm_now_ns() >= deadline);
    CHECK_EQ(cshm_permits_release(permits, 3), 0);
    CHECK_EQ(cshm_permits_release(permits, 1), -EPERM);
    CHECK_EQ(cshm_permits_try_acquire(permits, 1), 0);
    CHECK_EQ(cshm_permits_release(permits, 2), -EPERM);
    CHECK_EQ(cshm_permits_held(permits), 1);
    CHECK_EQ(cshm_permits_reclaim(permits), 0);
    CHECK_EQ(cshm_permits_release(permits, 1), 0);
    CHECK_EQ(cshm_permits_available(permits), 3);
    cshm_permits_destroy(permits);
    CHECK_EQ(blocks_in_use(region), 0);
}

static void arguments(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t offset = 0;
    cshm_permits *permits = make_permits(region, 3);
    CHECK_EQ(cshm_permits_create(region, 0, &offset), -EINVAL);
    CHECK_EQ(cshm_permits_create(region, CSHM_PERMITS_MAX + 1, &offset), -EINVAL);
    CHECK_EQ(cshm_permits_try_acquire(permits, 0), -EINVAL);
    CHECK_EQ(cshm_permits_try_acquire(permits, 4), -EINVAL);
    CHECK_EQ(cshm_permits_acquire_until(permits, 4, 0), -EINVAL);
    CHECK_EQ(cshm_permits_release(permits, 0), -EINVAL);
    CHECK_EQ(cshm_permits_release(permits, 4), -EINVAL);
    CHECK_EQ(cshm_heap_allocate(region, 512, &offset), 0);
    uint32_t *words = cshm_heap_pointer(region, offset, 512);
    cshm_permits *none = NULL;
    memset(words, 0xff, 512);
    CHECK_EQ(cshm_permits_open(region, offset, &none), -EPROTO);
    CHECK_EQ(cshm_permits_open(region, 0, &none), -EPROTO);
    cshm_permits_close(permits);
}

static void waitable(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_permits *permits = make_permits(region, 1);
    struct cshm_waitable ready;
    cshm_permits_waitable(permits, &ready);
    CHECK_EQ(cshm_wait_any(&ready, 1, 0), 0);
    CHECK_EQ(cshm_permits_try_acquire(permits, 1), 0);
    CHECK_EQ(cshm_wait_any(&ready, 1, after(MILLISECOND)), -ETIMEDOUT);
    cshm_permits_close(permits);
}

/* ---- at most so many ---- */

enum { COUNT = 3, WORKERS = 6, ROUNDS = 3000 };

struct scene {
    uint64_t offset;
    _Atomic int32_t inside;
    _Atomic int32_t most;
    _Atomic uint32_t ready;
    _Atomic uint32_t go;
};

static void work(cshm_permits *permits, struct scene *scene)
{
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t count = 1 + i % 2;
        CHECK_EQ(cshm_permits_acquire_until(permits, count, after(20 * SECOND)), 0);
        int32_t inside = atomic_fetch_add(&scene->inside, (int32_t)count) + (int32_t)count;
        CHECK(inside <= COUNT);
        if (inside > atomic_load(&scene->most)) {
            atomic_store(&scene->most, inside);
        }
        if (i % 16 == 0) {
            sched_yield();
        }
        atomic_fetch_sub(&scene->inside, (int32_t)count);
        CHECK_EQ(cshm_permits_release(permits, count), 0);
    }
}

struct worker {
    cshm_permits *permits;
    struct scene *scene;
};

static void *work_in_a_thread(void *context)
{
    const struct worker *worker = context;
    work(worker->permits, worker->scene);
    return NULL;
}

static void threads(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = shared_memory(sizeof *scene);
    struct worker worker = {make_permits(region, COUNT), scene};
    pthread_t thread[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        CHECK_EQ(pthread_create(&thread[i], NULL, work_in_a_thread, &worker), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        CHECK_EQ(pthread_join(thread[i], NULL), 0);
    }
    CHECK_EQ(cshm_permits_available(worker.permits), COUNT);
    CHECK(atomic_load(&scene->most) >= 2);
    cshm_permits_close(worker.permits);
}

static cshm_permits *open_permits(cshm_region *region, const struct scene *scene)
{
    cshm_permits *permits = NULL;
    CHECK_EQ(cshm_permits_open(region, scene->offset, &permits), 0);
    return permits;
}

static void work_in_a_process(cshm_region *region, void *context)
{
    work(open_permits(region, context), context);
}

static struct scene *make_scene(cshm_region *region, uint32_t count)
{
    struct scene *scene = shared_memory(sizeof *scene);
    CHECK_EQ(cshm_permits_create(region, count, &scene->offset), 0);
    CHECK_EQ(cshm_heap_share(region, scene->offset), 0);
    return scene;
}

static void processes(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(region, COUNT);
    pid_t child[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        child[i] = spawn(region, work_in_a_process, scene);
    }
    for (int i = 0; i < WORKERS; i++) {
        expect_success(child[i]);
    }
    cshm_permits *permits = open_permits(region, scene);
    CHECK_EQ(cshm_permits_available(permits), COUNT);
    cshm_permits_close(permits);
}

/* ---- deaths ---- */

static void hold_two(cshm_region *region, void *context)
{
    struct scene *scene = context;
    CHECK_EQ(cshm_permits_try_acquire(open_permits(region, scene), 2), 0);
    atomic_store(&scene->ready, 1);
    for (;;) {
        pause();
    }
}

static void take_all(cshm_region *region, void *context)
{
    struct scene *scene = context;
    cshm_permits *permits = open_permits(region, scene);
    atomic_store(&scene->ready, 2);
    CHECK_EQ(cshm_permits_acquire_until(permits, COUNT, after(20 * SECOND)), 0);
    CHECK_EQ(cshm_permits_held(permits), COUNT);
    cshm_permits_close(permits);
}

static void killed_holder(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(region, COUNT);
    cshm_permits *permits = open_permits(region, scene);
    pid_t holder = spawn(region, hold_two, scene);
    wait_until_set(&scene->ready, 1);
    CHECK_EQ(cshm_permits_available(permits), 1);
    CHECK_EQ(cshm_permits_release(permits, 1), -EPERM); /* another's */
    stop_child(holder);                                 /* a stopped one keeps them */
    CHECK_EQ(cshm_permits_acquire_until(permits, 2, after(60 * MILLISECOND)), -ETIMEDOUT);
    pid_t waiter = spawn(region, take_all, scene);
    wait_until_set(&scene->ready, 2);
    kill_child(holder);
    expect_success(waiter);
    CHECK_EQ(cshm_permits_acquire_until(permits, COUNT, after(20 * SECOND)), 0);
    cshm_permits_close(permits);
}

/* One that leaves the region gives back what it has. */
static void leave_holding(cshm_region *region, void *context)
{
    CHECK_EQ(cshm_permits_try_acquire(open_permits(region, context), 2), 0);
    cshm_region_close(region);
}

static void departed_holder(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(region, COUNT);
    cshm_permits *permits = open_permits(region, scene);
    expect_success(spawn(region, leave_holding, scene));
    CHECK_EQ(cshm_permits_reclaim(permits), 2);
    CHECK_EQ(cshm_permits_available(permits), COUNT);
    cshm_permits_close(permits);
}

static void take_and_give(cshm_region *region, void *context)
{
    struct scene *scene = context;
    cshm_permits *permits = open_permits(region, scene);
    for (uint32_t i = 0; atomic_load(&scene->go) == 0; i++) {
        uint32_t count = 1 + i % COUNT;
        int status = cshm_permits_acquire_until(permits, count, after(20 * SECOND));
        CHECK(status == 0);
        if (i % 3 == 0) {
            sched_yield();
        }
        CHECK_EQ(cshm_permits_release(permits, count), 0);
        atomic_fetch_add(&scene->inside, 1);
    }
    cshm_permits_close(permits);
}

static void killed_at_random(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(region, COUNT);
    cshm_permits *permits = open_permits(region, scene);
    uint64_t random = make_seed();
    pid_t child[WORKERS];
    uint64_t kills = 0;
    for (int i = 0; i < WORKERS; i++) {
        child[i] = spawn(region, take_and_give, scene);
    }
    int32_t seen = -1;
    int64_t seen_at = cshm_now_ns();
    for (int64_t end = after(2 * SECOND); cshm_now_ns() < end; kills++) {
        uint64_t victim = next_random(&random) % WORKERS;
        usleep((useconds_t)(next_random(&random) % 1000));
        if (next_random(&random) % 4 == 0) {
            stop_child(child[victim]);
            usleep((useconds_t)(next_random(&random) % 1000));
        }
        kill_child(child[victim]);
        child[victim] = spawn(region, take_and_give, scene);
        int32_t done = atomic_load(&scene->inside);
        seen_at = done != seen ? cshm_now_ns() : seen_at;
        seen = done;
        CHECK(cshm_now_ns() - seen_at < 3 * SECOND);
    }
    atomic_store(&scene->go, 1);
    for (int i = 0; i < WORKERS; i++) {
        expect_success(child[i]);
    }
    fprintf(stderr, "%llu kills, %d rounds\n", (unsigned long long)kills, seen);
    (void)cshm_permits_reclaim(permits);
    CHECK_EQ(cshm_permits_available(permits), COUNT);
    cshm_permits_close(permits);
}

const struct test permits_tests[] = {
    {"are_taken_and_given_back", takes},
    {"refuse_bad_arguments_and_bytes_that_are_none", arguments},
    {"can_be_waited_for_with_others", waitable},
    {"are_never_more_than_there_are_among_threads", threads},
    {"are_never_more_than_there_are_among_processes", processes},
    {"of_a_killed_holder_come_back_to_who_waits", killed_holder},
    {"of_a_process_that_left_come_back", departed_holder},
    {"are_all_there_after_holders_were_killed_at_random", killed_at_random},
    {NULL, NULL},
};
