/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/mutex.h.
 */
#include "support.h"

#include <pthread.h>

#include <cshm/mutex.h>

extern const struct test mutex_tests[];

static cshm_mutex *make_mutex(void)
{
    cshm_mutex *mutex = shared_memory(4096);
    cshm_mutex_init(mutex);
    return mutex;
}

static void *try_it(void *context)
{
    cshm_mutex *mutex = context;
    CHECK_EQ(cshm_mutex_try_acquire(mutex), -EAGAIN);
    CHECK_EQ(cshm_mutex_release(mutex), -EPERM);
    int64_t deadline = after(50 * MILLISECOND);
    CHECK_EQ(cshm_mutex_acquire_until(mutex, deadline), -ETIMEDOUT);
    CHECK(cshm_now_ns() >= deadline);
    CHECK(cshm_now_ns() < deadline + 5 * SECOND);
    return NULL;
}

static void checks(void)
{
    cshm_mutex *mutex = make_mutex();
    pthread_t thread;
    CHECK_EQ(cshm_mutex_release(mutex), -EPERM);
    CHECK_EQ(cshm_mutex_holder(mutex), 0);
    CHECK_EQ(cshm_mutex_try_acquire(mutex), 0);
    CHECK_EQ(cshm_mutex_holder(mutex), getpid());
    CHECK_EQ(cshm_mutex_try_acquire(mutex), -EDEADLK);
    CHECK_EQ(cshm_mutex_acquire_until(mutex, INT64_MAX), -EDEADLK);
    CHECK_EQ(cshm_mutex_repair(mutex), -EINVAL);
    CHECK_EQ(pthread_create(&thread, NULL, try_it, mutex), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(cshm_mutex_release(mutex), 0);
    CHECK_EQ(cshm_mutex_holder(mutex), 0);
    CHECK_EQ(cshm_mutex_acquire_until(mutex, INT64_MAX), 0);
    CHECK_EQ(cshm_mutex_release(mutex), 0);
    CHECK_EQ(cshm_mutex_acquire_until(mutex, 0), 0);
    CHECK_EQ(cshm_mutex_release(mutex), 0);
}

static void no_mutex(void)
{
    cshm_mutex mutex;
    memset(&mutex, 0, sizeof mutex);
    CHECK_EQ(cshm_mutex_try_acquire(&mutex), -EPROTO);
    memset(&mutex, 0xff, sizeof mutex);
    CHECK_EQ(cshm_mutex_acquire_until(&mutex, 0), -EPROTO);
}

static void die_holding(cshm_mutex *mutex)
{
    pid_t child = fork();
    if (child == 0) {
        _exit(cshm_mutex_acquire_until(mutex, INT64_MAX) == 0 ? 0 : 1);
    }
    expect_success(child);
}

static void dead_holder(void)
{
    cshm_mutex *mutex = make_mutex();
    die_holding(mutex);
    CHECK_EQ(cshm_mutex_try_acquire(mutex), 1);
    CHECK_EQ(cshm_mutex_repair(mutex), 0);
    CHECK_EQ(cshm_mutex_release(mutex), 0);
    die_holding(mutex);
    CHECK_EQ(cshm_mutex_acquire_until(mutex, INT64_MAX), 1);
    CHECK_EQ(cshm_mutex_release(mutex), 0);
    CHECK_EQ(cshm_mutex_try_acquire(mutex), -ENOTRECOVERABLE);
    CHECK_EQ(cshm_mutex_acquire_until(mutex, INT64_MAX), -ENOTRECOVERABLE);
}

static void two_processes(void)
{
    enum { ROUNDS = 100000 };
    cshm_mutex *mutex = make_mutex();
    volatile uint64_t *count = shared_memory(4096);
    pid_t children[2];
    for (int i = 0; i < 2; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            for (int round = 0; round < ROUNDS; round++) {
                if (cshm_mutex_acquire_until(mutex, INT64_MAX) != 0) {
                    _exit(1);
                }
                *count = *count + 1;
                if (cshm_mutex_release(mutex) != 0) {
                    _exit(1);
                }
            }
            _exit(0);
        }
    }
    expect_success(children[0]);
    expect_success(children[1]);
    CHECK_EQ(*count, 2 * ROUNDS);
}

const struct test mutex_tests[] = {
    {"checks_who_in_a_process_acquires_and_releases_and_does_not_time_out_early", checks},
    {"refuses_bytes_that_are_none", no_mutex},
    {"tells_of_the_death_of_a_process_that_held_it", dead_holder},
    {"excludes_two_processes", two_processes},
    {NULL, NULL},
};
