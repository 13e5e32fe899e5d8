/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/mutex.h.
 */
#include "support.h"

#include <pthread.h>

#include <cshm/mutex.h>

#include "layout.h"

extern const struct test mutex_tests[];

static cshm_mutex *make_mutex(void)
{
    cshm_mutex *mutex = shared_memory(4096);
    cshm_mutex_init(mutex);
    return mutex;
}

static void check_holder(cshm_mutex *mutex, int pid, uint32_t depth)
{
    struct cshm_mutex_info info = {.holder_pid = -1};
    CHECK_EQ(cshm_mutex_describe(mutex, &info), 0);
    CHECK_EQ(info.holder_pid, pid);
    CHECK_EQ(info.holder_thread, pid == 0 ? 0 : gettid());
    CHECK_EQ(info.depth, depth);
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
    check_holder(mutex, 0, 0);
    CHECK_EQ(cshm_mutex_try_acquire(mutex), 0);
    check_holder(mutex, getpid(), 1);
    CHECK_EQ(cshm_mutex_try_acquire(mutex), -EDEADLK);
    CHECK_EQ(cshm_mutex_acquire_until(mutex, INT64_MAX), -EDEADLK);
    CHECK_EQ(cshm_mutex_repair(mutex), -EINVAL);
    CHECK_EQ(pthread_create(&thread, NULL, try_it, mutex), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(cshm_mutex_release(mutex), 0);
    check_holder(mutex, 0, 0);
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
    CHECK_EQ(cshm_mutex_release(&mutex), -EPROTO);
    CHECK_EQ(cshm_mutex_repair(&mutex), -EPROTO);
    CHECK_EQ(cshm_mutex_describe(&mutex, &(struct cshm_mutex_info){0}), -EPROTO);
}

static void *try_in_vain(void *context)
{
    cshm_mutex *mutex = context;
    CHECK_EQ(cshm_mutex_try_acquire(mutex), -EAGAIN);
    CHECK_EQ(cshm_mutex_release(mutex), -EPERM);
    return NULL;
}

static void recursive(void)
{
    cshm_mutex *mutex = shared_memory(4096);
    pthread_t thread;
    cshm_mutex_init_recursive(mutex);
    for (uint32_t depth = 1; depth <= 3; depth++) {
        CHECK_EQ(cshm_mutex_acquire_until(mutex, depth), 0);
        check_holder(mutex, getpid(), depth);
    }
    for (uint32_t depth = 3; depth != 0; depth--) {
        check_holder(mutex, getpid(), depth);
        CHECK_EQ(pthread_create(&thread, NULL, try_in_vain, mutex), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        CHECK_EQ(cshm_mutex_release(mutex), 0);
    }
    check_holder(mutex, 0, 0);
    CHECK_EQ(cshm_mutex_release(mutex), -EPERM);
}

/* A record that was damaged while nobody held it: the next holder's release is a release. */
static void damaged_record(void)
{
    cshm_mutex *mutex = shared_memory(4096);
    struct cshm_mutex_shared *shared = (void *)mutex;
    cshm_mutex_init(mutex);
    for (int i = 0; i < 3; i++) {
        atomic_store(&shared->depth, 7);
        CHECK_EQ(cshm_mutex_acquire_until(mutex, 0), 0);
        check_holder(mutex, getpid(), 1);
        CHECK_EQ(cshm_mutex_release(mutex), 0);
        CHECK_EQ(cshm_mutex_release(mutex), -EPERM);
    }
}

/* What a child inherits by fork is not the lock. */
static void child_of_holder(void)
{
    cshm_mutex *mutex = shared_memory(4096);
    cshm_mutex_init_recursive(mutex);
    CHECK_EQ(cshm_mutex_try_acquire(mutex), 0);
    pid_t child = fork();
    if (child == 0) {
        bool refused =
            cshm_mutex_try_acquire(mutex) == -EAGAIN && cshm_mutex_release(mutex) == -EPERM;
        _exit(refused ? 0 : 1);
    }
    expect_success(child);
    check_holder(mutex, getpid(), 1);
    CHECK_EQ(cshm_mutex_release(mutex), 0);
}

/* In the kernel's word on its thread's death, and not after some time-out: a thread that ends
 * without releasing hands the mutex on as a process does. */
static void *end_holding(void *context)
{
    CHECK_EQ(cshm_mutex_try_acquire(context), 0);
    return NULL;
}

static void dead_thread(void)
{
    cshm_mutex *mutex = make_mutex();
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, end_holding, mutex), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(cshm_mutex_acquire_until(mutex, INT64_MAX), 1);
    CHECK_EQ(cshm_mutex_repair(mutex), 0);
    CHECK_EQ(cshm_mutex_release(mutex), 0);
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
    {"that_is_recursive_is_released_as_often_as_it_was_acquired", recursive},
    {"is_released_in_spite_of_a_damaged_record", damaged_record},
    {"is_not_the_child_processs_that_was_forked_under_it", child_of_holder},
    {"tells_of_the_end_of_a_thread_that_held_it", dead_thread},
    {"tells_of_the_death_of_a_process_that_held_it", dead_holder},
    {"excludes_two_processes", two_processes},
    {NULL, NULL},
};
