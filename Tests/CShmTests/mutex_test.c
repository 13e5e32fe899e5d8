/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/mutex.h.
 */
#include "support.h"

#include <linux/futex.h>
#include <pthread.h>

#include <cshm/bell.h>
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
    CHECK_EQ(cshm_mutex_needs_repair(mutex), 1);
    CHECK_EQ(cshm_mutex_repair(mutex), 0);
    CHECK_EQ(cshm_mutex_needs_repair(mutex), 0);
    CHECK_EQ(cshm_mutex_release(mutex), 0);
    die_holding(mutex);
    CHECK_EQ(cshm_mutex_acquire_until(mutex, INT64_MAX), 1);
    CHECK_EQ(cshm_mutex_needs_repair(mutex), 1);
    CHECK_EQ(cshm_mutex_release(mutex), 0);
    CHECK_EQ(cshm_mutex_try_acquire(mutex), -ENOTRECOVERABLE);
    CHECK_EQ(cshm_mutex_acquire_until(mutex, INT64_MAX), -ENOTRECOVERABLE);
}

enum { HOLDING, ASLEEP, WOKEN };

static pid_t start_blocking(cshm_mutex *mutex, bool is_victim, int role)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (is_victim) {
            be_last_on_the_cpu();
        }
        int status = cshm_mutex_acquire_until(mutex, INT64_MAX);
        /* A woken victim may have run after all, and had it. */
        CHECK(status == (!is_victim && role == HOLDING) || (!is_victim && role == WOKEN));
        CHECK(status == 0 || cshm_mutex_repair(mutex) == 0);
        while (is_victim) {
            pause();
        }
        CHECK_EQ(cshm_mutex_release(mutex), 0);
        _exit(0);
    }
    wait_until_it_sleeps(child);
    return child;
}

/* The next one in line has it all the same, and is told if the victim could have changed anything. */
static void killed_process(void)
{
    stay_on_one_cpu();
    for (int round = 0; round < 30; round++) {
        int role = round % 3;
        cshm_mutex *mutex = make_mutex();
        CHECK(role == HOLDING || cshm_mutex_try_acquire(mutex) == 0);
        pid_t victim = start_blocking(mutex, true, role);
        pid_t survivor = start_blocking(mutex, false, role);
        CHECK(role != WOKEN || cshm_mutex_release(mutex) == 0);
        kill_child(victim);
        CHECK(role != ASLEEP || cshm_mutex_release(mutex) == 0);
        expect_success(survivor);
        CHECK_EQ(cshm_mutex_try_acquire(mutex), 0);
        CHECK_EQ(munmap(mutex, 4096), 0);
    }
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

/* ---- waiting without blocking ---- */

static uint32_t word_of(const cshm_mutex *mutex)
{
    const struct cshm_mutex_shared *shared = (const struct cshm_mutex_shared *)(const void *)mutex;
    return (uint32_t)__atomic_load_n(&shared->native.__data.__lock, __ATOMIC_SEQ_CST);
}

static int acquire_without_blocking(cshm_mutex *mutex, int64_t deadline)
{
    struct cshm_waitable waitable;
    cshm_mutex_waitable(mutex, &waitable);
    int status = cshm_mutex_try_acquire(mutex);
    while (status == -EAGAIN) {
        if (cshm_wait_any(&waitable, 1, deadline) == -ETIMEDOUT) {
            return -ETIMEDOUT;
        }
        status = cshm_mutex_try_acquire_woken(mutex);
    }
    return status;
}

static pid_t start_waiter(cshm_mutex *mutex, int expected)
{
    pid_t child = fork();
    if (child == 0) {
        CHECK_EQ(acquire_without_blocking(mutex, after(30 * SECOND)), expected);
        if (expected >= 0) {
            /* Whoever else may wait is woken by the release. */
            CHECK(word_of(mutex) == ((uint32_t)gettid() | FUTEX_WAITERS));
            CHECK(expected == 0 || cshm_mutex_repair(mutex) == 0);
            CHECK_EQ(cshm_mutex_release(mutex), 0);
        }
        _exit(0);
    }
    return child;
}

static void wait_until_asked_for(const cshm_mutex *mutex)
{
    while ((word_of(mutex) & FUTEX_WAITERS) == 0) {
        sched_yield();
    }
}

static void waiter_is_called(void)
{
    cshm_mutex *mutex = make_mutex();
    struct cshm_waitable waitable;
    cshm_mutex_waitable(mutex, &waitable);
    cshm_bell *bell = NULL;
    CHECK_EQ(cshm_bell_create(&bell), 0);
    CHECK_EQ(cshm_bell_arm(bell, &waitable), -EINVAL);
    cshm_bell_close(bell);
    CHECK_EQ(cshm_wait_any(&waitable, 1, 0), 0);
    CHECK_EQ(cshm_mutex_try_acquire_woken(mutex), 0);
    CHECK_EQ(cshm_mutex_try_acquire_woken(mutex), -EDEADLK);
    CHECK_EQ(cshm_mutex_release(mutex), 0);
    CHECK_EQ(word_of(mutex), 0);
    CHECK_EQ(cshm_mutex_try_acquire(mutex), 0);
    int64_t deadline = after(30 * MILLISECOND);
    CHECK_EQ(cshm_wait_any(&waitable, 1, deadline), -ETIMEDOUT);
    CHECK(cshm_now_ns() >= deadline);
    CHECK_EQ(cshm_mutex_release(mutex), 0);
    CHECK_EQ(cshm_mutex_try_acquire(mutex), 0);
    pid_t child = start_waiter(mutex, 0);
    wait_until_asked_for(mutex);
    CHECK_EQ(cshm_mutex_release(mutex), 0);
    expect_success(child);
    CHECK_EQ(word_of(mutex), 0);
}

static void hand_on_wakes(void)
{
    cshm_mutex *mutex = make_mutex();
    struct cshm_waitable waitable;
    cshm_mutex_waitable(mutex, &waitable);
    cshm_hand_on(&waitable); /* free: nobody to be told, and its word stays */
    CHECK_EQ(word_of(mutex), 0);
    CHECK_EQ(cshm_mutex_try_acquire(mutex), 0);
    cshm_hand_on(&waitable); /* held: the release wakes */
    CHECK(word_of(mutex) == ((uint32_t)gettid() | FUTEX_WAITERS));
    CHECK_EQ(cshm_mutex_release(mutex), 0);
}

static void killed_holder_calls(void)
{
    cshm_mutex *mutex = make_mutex();
    _Atomic uint32_t *held = shared_memory(4096);
    pid_t holder = fork();
    if (holder == 0) {
        CHECK_EQ(cshm_mutex_try_acquire(mutex), 0);
        atomic_store(held, 1);
        for (;;) {
            pause();
        }
    }
    wait_until_set(held, 1);
    pid_t child = start_waiter(mutex, 1);
    wait_until_asked_for(mutex);
    kill_child(holder);
    expect_success(child);
    die_holding(mutex);
    CHECK_EQ(cshm_mutex_try_acquire(mutex), 1);
    child = start_waiter(mutex, -ENOTRECOVERABLE);
    wait_until_asked_for(mutex);
    CHECK_EQ(cshm_mutex_release(mutex), 0);
    expect_success(child);
}

/* By slices of 25 ms it would take longer than any test may. */
static void both_kinds_of_process(void)
{
    enum { ROUNDS = 5000 };
    cshm_mutex *mutex = make_mutex();
    volatile uint64_t *count = shared_memory(4096);
    pid_t children[4];
    for (int i = 0; i < 4; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            for (int round = 0; round < ROUNDS; round++) {
                int64_t deadline = after(50 * SECOND);
                CHECK_EQ(i % 2 == 0 ? acquire_without_blocking(mutex, deadline)
                                    : cshm_mutex_acquire_until(mutex, deadline),
                         0);
                *count = *count + 1;
                if (round % 8 == 0) {
                    sched_yield();
                }
                CHECK_EQ(cshm_mutex_release(mutex), 0);
            }
            _exit(0);
        }
    }
    for (int i = 0; i < 4; i++) {
        expect_success(children[i]);
    }
    CHECK_EQ(*count, 4 * ROUNDS);
    CHECK_EQ(word_of(mutex), 0);
}

const struct test mutex_tests[] = {
    {"checks_who_in_a_process_acquires_and_releases_and_does_not_time_out_early", checks},
    {"refuses_bytes_that_are_none", no_mutex},
    {"that_is_recursive_is_released_as_often_as_it_was_acquired", recursive},
    {"is_released_in_spite_of_a_damaged_record", damaged_record},
    {"is_not_the_child_processs_that_was_forked_under_it", child_of_holder},
    {"tells_of_the_end_of_a_thread_that_held_it", dead_thread},
    {"tells_of_the_death_of_a_process_that_held_it", dead_holder},
    {"serves_the_next_after_one_killed_holding_or_asleep_or_woken", killed_process},
    {"excludes_two_processes", two_processes},
    {"calls_a_process_that_waits_without_blocking", waiter_is_called},
    {"hands_a_wake_on_that_nobody_had_use_for", hand_on_wakes},
    {"calls_who_waits_without_blocking_when_its_holder_is_killed", killed_holder_calls},
    {"excludes_processes_that_block_and_that_do_not", both_kinds_of_process},
    {NULL, NULL},
};
