/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/baton.h.
 */
#include "support.h"

#include <pthread.h>

#include <cshm/baton.h>

extern const struct test baton_tests[];

struct scene {
    uint64_t offset;
    _Atomic uint32_t ready;
    _Atomic uint32_t stop;
    _Atomic uint64_t done;
    volatile uint64_t first; /* these two are equal, but in the critical section */
    volatile uint64_t second;
};

static struct scene *make_scene(cshm_region *region)
{
    struct scene *scene = shared_memory(sizeof *scene);
    CHECK_EQ(cshm_baton_create(region, &scene->offset), 0);
    CHECK_EQ(cshm_heap_share(region, scene->offset), 0);
    return scene;
}

static cshm_baton *open_baton(cshm_region *region, const struct scene *scene)
{
    cshm_baton *baton = NULL;
    CHECK_EQ(cshm_baton_open(region, scene->offset, &baton), 0);
    return baton;
}

static void *release_it(void *context)
{
    CHECK_EQ(cshm_baton_try_acquire(context), -EAGAIN);
    CHECK_EQ(cshm_baton_release(context), 0);
    return NULL;
}

static void basics(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_baton *baton = open_baton(region, make_scene(region));
    struct cshm_waitable ready;
    pthread_t thread;
    CHECK_EQ(cshm_baton_holder(baton), 0);
    CHECK_EQ(cshm_baton_release(baton), -EPERM);
    CHECK_EQ(cshm_baton_repair(baton), -EPERM);
    CHECK_EQ(cshm_baton_try_acquire(baton), 0);
    CHECK_EQ(cshm_baton_holder(baton), getpid());
    CHECK_EQ(cshm_baton_repair(baton), -EINVAL);
    CHECK_EQ(cshm_baton_try_acquire(baton), -EAGAIN);
    int64_t deadline = after(30 * MILLISECOND);
    CHECK_EQ(cshm_baton_acquire_until(baton, deadline), -ETIMEDOUT);
    CHECK(cshm_now_ns() >= deadline);
    CHECK_EQ(pthread_create(&thread, NULL, release_it, baton), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    cshm_baton_waitable(baton, &ready);
    CHECK_EQ(cshm_wait_any(&ready, 1, 0), 0);
    CHECK_EQ(cshm_baton_acquire_until(baton, INT64_MAX), 0);
    CHECK_EQ(cshm_wait_any(&ready, 1, after(MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(cshm_baton_release(baton), 0);
    cshm_baton_destroy(baton);
    CHECK_EQ(blocks_in_use(region), 0);
    CHECK_EQ(cshm_baton_open(region, 4096, &baton), -EPROTO);
}

static void hold(cshm_region *region, void *context)
{
    struct scene *scene = context;
    CHECK(cshm_baton_try_acquire(open_baton(region, scene)) >= 0);
    atomic_store(&scene->ready, 1);
    for (;;) {
        pause();
    }
}

static void killed_holder(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(region);
    cshm_baton *baton = open_baton(region, scene);
    for (int round = 0; round < 2; round++) {
        atomic_store(&scene->ready, 0);
        pid_t holder = spawn(region, hold, scene);
        wait_until_set(&scene->ready, 1);
        CHECK_EQ(cshm_baton_holder(baton), holder);
        CHECK_EQ(cshm_baton_release(baton), -EPERM);
        stop_child(holder);
        CHECK_EQ(cshm_baton_acquire_until(baton, after(60 * MILLISECOND)), -ETIMEDOUT);
        kill_child(holder);
        CHECK_EQ(round == 0 ? cshm_baton_acquire_until(baton, INT64_MAX)
                            : cshm_baton_try_acquire(baton),
                 1);
        CHECK_EQ(cshm_baton_repair(baton), 0);
        CHECK_EQ(cshm_baton_release(baton), 0);
    }
    /* An inheritor that dies is inherited; what is released unrepaired is lost. */
    for (int round = 0; round < 2; round++) {
        atomic_store(&scene->ready, 0);
        pid_t holder = spawn(region, hold, scene);
        wait_until_set(&scene->ready, 1);
        kill_child(holder);
    }
    CHECK_EQ(cshm_baton_acquire_until(baton, INT64_MAX), 1);
    CHECK_EQ(cshm_baton_release(baton), 0);
    CHECK_EQ(cshm_baton_try_acquire(baton), -ENOTRECOVERABLE);
    CHECK_EQ(cshm_baton_acquire_until(baton, INT64_MAX), -ENOTRECOVERABLE);
    cshm_baton_close(baton);
}

enum { WORKERS = 5 };

static void count(cshm_region *region, void *context)
{
    struct scene *scene = context;
    cshm_baton *baton = open_baton(region, scene);
    while (atomic_load(&scene->stop) == 0) {
        int status = cshm_baton_acquire_until(baton, after(20 * SECOND));
        CHECK(status == 0 || status == 1);
        if (status == 1) {
            scene->second = scene->first;
            CHECK_EQ(cshm_baton_repair(baton), 0);
        }
        CHECK_EQ(scene->first, scene->second);
        scene->first++;
        scene->second++;
        CHECK_EQ(cshm_baton_release(baton), 0);
        atomic_fetch_add(&scene->done, 1);
    }
    cshm_baton_close(baton);
}

static void killed_at_random(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(region);
    uint64_t random = make_seed();
    pid_t child[WORKERS];
    uint64_t kills = 0;
    uint64_t seen = 0;
    for (int i = 0; i < WORKERS; i++) {
        child[i] = spawn(region, count, scene);
    }
    int64_t seen_at = cshm_now_ns();
    for (int64_t end = after(2 * SECOND); cshm_now_ns() < end; kills++) {
        uint64_t victim = next_random(&random) % WORKERS;
        usleep((useconds_t)(next_random(&random) % 1000));
        if (next_random(&random) % 4 == 0) {
            stop_child(child[victim]);
            usleep((useconds_t)(next_random(&random) % 1000));
        }
        kill_child(child[victim]);
        child[victim] = spawn(region, count, scene);
        uint64_t done = atomic_load(&scene->done);
        seen_at = done != seen ? cshm_now_ns() : seen_at;
        seen = done;
        CHECK(cshm_now_ns() - seen_at < 3 * SECOND);
    }
    atomic_store(&scene->stop, 1);
    for (int i = 0; i < WORKERS; i++) {
        expect_success(child[i]);
    }
    fprintf(stderr, "%llu kills, %llu rounds\n", (unsigned long long)kills,
            (unsigned long long)seen);
    CHECK(scene->first >= atomic_load(&scene->done));
    CHECK(scene->first <= atomic_load(&scene->done) + kills);
}

const struct test baton_tests[] = {
    {"belongs_to_the_process_and_any_thread_of_it_releases", basics},
    {"of_a_killed_holder_is_taken_over_and_the_next_one_told", killed_holder},
    {"excludes_processes_that_are_killed_and_stopped_at_random", killed_at_random},
    {NULL, NULL},
};
