/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/semaphore.h.
 */
#include "support.h"

#include <pthread.h>

#include <cshm/semaphore.h>

extern const struct test semaphore_tests[];

static cshm_semaphore *make_semaphore(uint32_t count, uint32_t bound)
{
    cshm_semaphore *semaphore = shared_memory(4096);
    CHECK_EQ(cshm_semaphore_init(semaphore, count, bound), 0);
    return semaphore;
}

static void counts(void)
{
    cshm_semaphore *semaphore = make_semaphore(2, CSHM_SEMAPHORE_MAX);
    CHECK_EQ(cshm_semaphore_count(semaphore), 2);
    CHECK_EQ(cshm_semaphore_try_acquire(semaphore), 0);
    CHECK_EQ(cshm_semaphore_acquire_until(semaphore, INT64_MAX), 0);
    CHECK_EQ(cshm_semaphore_count(semaphore), 0);
    CHECK_EQ(cshm_semaphore_try_acquire(semaphore), -EAGAIN);
    CHECK_EQ(cshm_semaphore_release(semaphore, 5), 0); /* more than it began with */
    CHECK_EQ(cshm_semaphore_count(semaphore), 5);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(cshm_semaphore_acquire_until(semaphore, 0), 0);
    }
    int64_t deadline = after(30 * MILLISECOND);
    CHECK_EQ(cshm_semaphore_acquire_until(semaphore, deadline), -ETIMEDOUT);
    CHECK(cshm_now_ns() >= deadline);
    CHECK_EQ(cshm_semaphore_acquire_until(semaphore, 0), -ETIMEDOUT);
}

static void bound(void)
{
    cshm_semaphore *semaphore = make_semaphore(1, 3);
    CHECK_EQ(cshm_semaphore_bound(semaphore), 3);
    CHECK_EQ(cshm_semaphore_release(semaphore, 3), -EOVERFLOW);
    CHECK_EQ(cshm_semaphore_count(semaphore), 1);
    CHECK_EQ(cshm_semaphore_release(semaphore, 2), 0);
    CHECK_EQ(cshm_semaphore_release(semaphore, 1), -EOVERFLOW);
    CHECK_EQ(cshm_semaphore_release(semaphore, CSHM_SEMAPHORE_MAX), -EOVERFLOW);
    CHECK_EQ(cshm_semaphore_try_acquire(semaphore), 0);
    CHECK_EQ(cshm_semaphore_release(semaphore, 1), 0);
    CHECK_EQ(cshm_semaphore_count(semaphore), 3);
}

static void arguments(void)
{
    cshm_semaphore *semaphore = make_semaphore(0, 1);
    struct cshm_waitable waitable;
    CHECK_EQ(cshm_semaphore_init(semaphore, 0, 0), -EINVAL);
    CHECK_EQ(cshm_semaphore_init(semaphore, 2, 1), -EINVAL);
    CHECK_EQ(cshm_semaphore_init(semaphore, 0, CSHM_SEMAPHORE_MAX + 1u), -EINVAL);
    CHECK_EQ(cshm_semaphore_release(semaphore, 0), -EINVAL);
    CHECK_EQ(cshm_semaphore_release(semaphore, CSHM_SEMAPHORE_MAX + 1u), -EINVAL);
    memset(semaphore, 0xff, sizeof *semaphore);
    CHECK_EQ(cshm_semaphore_try_acquire(semaphore), -EPROTO);
    CHECK_EQ(cshm_semaphore_acquire_until(semaphore, 0), -EPROTO);
    CHECK_EQ(cshm_semaphore_release(semaphore, 1), -EPROTO);
    CHECK_EQ(cshm_semaphore_count(semaphore), -EPROTO);
    CHECK_EQ(cshm_semaphore_bound(semaphore), -EPROTO);
    CHECK_EQ(cshm_semaphore_waitable(semaphore, &waitable), -EPROTO);
}

/* A count beyond the bound is no count. */
static void damage(void)
{
    cshm_semaphore *semaphore = make_semaphore(0, 1);
    *(uint32_t *)(void *)semaphore = 77;
    CHECK_EQ(cshm_semaphore_try_acquire(semaphore), -EPROTO);
    CHECK_EQ(cshm_semaphore_release(semaphore, 1), -EPROTO);
    CHECK_EQ(cshm_semaphore_count(semaphore), -EPROTO);
}

static void waitable(void)
{
    cshm_semaphore *semaphore = make_semaphore(1, 1);
    struct cshm_waitable ready;
    CHECK_EQ(cshm_semaphore_waitable(semaphore, &ready), 0);
    CHECK_EQ(cshm_wait_any(&ready, 1, 0), 0);
    CHECK_EQ(cshm_semaphore_try_acquire(semaphore), 0);
    CHECK_EQ(cshm_wait_any(&ready, 1, after(MILLISECOND)), -ETIMEDOUT);
}

/* ---- both sides ---- */

enum { ROUNDS = 20000, WORKERS = 4 };

struct pair {
    cshm_semaphore there;
    cshm_semaphore back;
    _Atomic uint64_t sum;
};

static void serve(struct pair *pair)
{
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_EQ(cshm_semaphore_acquire_until(&pair->there, INT64_MAX), 0);
        atomic_fetch_add(&pair->sum, 1);
        CHECK_EQ(cshm_semaphore_release(&pair->back, 1), 0);
    }
}

static struct pair *make_pair(void)
{
    struct pair *pair = shared_memory(sizeof *pair);
    CHECK_EQ(cshm_semaphore_init(&pair->there, 0, WORKERS), 0);
    CHECK_EQ(cshm_semaphore_init(&pair->back, 0, WORKERS), 0);
    return pair;
}

static void drive(struct pair *pair)
{
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_EQ(cshm_semaphore_release(&pair->there, WORKERS), 0);
        for (int k = 0; k < WORKERS; k++) {
            CHECK_EQ(cshm_semaphore_acquire_until(&pair->back, INT64_MAX), 0);
        }
    }
    CHECK_EQ(atomic_load(&pair->sum), ROUNDS * WORKERS);
}

static void *serve_in_a_thread(void *context)
{
    serve(context);
    return NULL;
}

static void threads(void)
{
    struct pair *pair = make_pair();
    pthread_t thread[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        CHECK_EQ(pthread_create(&thread[i], NULL, serve_in_a_thread, pair), 0);
    }
    drive(pair);
    for (int i = 0; i < WORKERS; i++) {
        CHECK_EQ(pthread_join(thread[i], NULL), 0);
    }
}

static void serve_in_a_process(cshm_region *region, void *context)
{
    (void)region;
    serve(context);
}

static void processes(void)
{
    cshm_region *region = make_region(1u << 20);
    struct pair *pair = make_pair();
    pid_t child[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        child[i] = spawn(region, serve_in_a_process, pair);
    }
    drive(pair);
    for (int i = 0; i < WORKERS; i++) {
        expect_success(child[i]);
    }
}

/* Waiters are killed asleep, and with the wake in their hands; those who are left get all of it. */
static void take_for_ever(cshm_region *region, void *context)
{
    struct pair *pair = context;
    (void)region;
    for (;;) {
        CHECK_EQ(cshm_semaphore_acquire_until(&pair->there, INT64_MAX), 0);
        atomic_fetch_add(&pair->sum, 1);
    }
}

static void killed_waiters(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t random = make_seed();
    for (int round = 0; round < 100; round++) {
        struct pair *pair = make_pair();
        pid_t child[WORKERS];
        for (int i = 0; i < WORKERS; i++) {
            child[i] = spawn(region, take_for_ever, pair);
        }
        usleep((useconds_t)(next_random(&random) % 2000));
        CHECK_EQ(cshm_semaphore_release(&pair->there, 2), 0);
        usleep((useconds_t)(next_random(&random) % 60));
        if (round % 3 == 0) {
            stop_child(child[0]); /* the others take what it was woken for */
        }
        kill_child(child[0]);
        kill_child(child[1]);
        CHECK_EQ(cshm_semaphore_release(&pair->there, 2), 0);
        int64_t end = after(10 * SECOND);
        while (cshm_semaphore_count(&pair->there) != 0) {
            CHECK(cshm_now_ns() < end);
            usleep(200);
        }
        kill_child(child[2]);
        kill_child(child[3]);
        CHECK(atomic_load(&pair->sum) <= 4);
        CHECK_EQ(munmap(pair, sizeof *pair), 0);
    }
}

const struct test semaphore_tests[] = {
    {"counts_down_to_nothing_and_up_as_far_as_one_likes", counts},
    {"refuses_to_exceed_its_bound", bound},
    {"refuses_bad_arguments_and_bytes_that_are_none", arguments},
    {"finds_a_damaged_count", damage},
    {"can_be_waited_for_with_others", waitable},
    {"loses_no_signal_between_threads", threads},
    {"loses_no_signal_between_processes", processes},
    {"serves_survivors_of_killed_waiters", killed_waiters},
    {NULL, NULL},
};
