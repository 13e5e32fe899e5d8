/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Under test: cshm/mutex.h. Peer: a robust process-shared pthread mutex. Each process acquires,
 * counts, and releases, again and again; the count must come out right.
 */
#include <errno.h>
#include <pthread.h>

#include <cshm.h>

#include <bench_channel.h>

struct counter {
    BENCH_LINE cshm_mutex mutex;
    BENCH_LINE pthread_mutex_t robust;
    uint64_t count; /* under the lock, on its line, as users have it */
};

static int counter_create(const struct bench_shape *shape, void **state)
{
    (void)shape;
    struct counter *counter = bench_shared(sizeof *counter);
    if (counter == NULL) {
        return -ENOMEM;
    }
    cshm_mutex_init(&counter->mutex);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&counter->robust, &attributes);
    pthread_mutexattr_destroy(&attributes);
    *state = counter;
    return 0;
}

static int counter_open(void *state, bool producer, void **handle)
{
    (void)producer;
    *handle = state;
    return 0;
}

static void counter_destroy(void *state)
{
    bench_unshare(state, sizeof(struct counter));
}

static bool counter_holds(void *state, uint64_t operations)
{
    return ((const struct counter *)state)->count == operations;
}

typedef bool turn(struct counter *counter);

BENCH_INLINE bool take_own(struct counter *counter)
{
    if (cshm_mutex_acquire_until(&counter->mutex, INT64_MAX) != 0) {
        return false;
    }
    counter->count++;
    return cshm_mutex_release(&counter->mutex) == 0;
}

BENCH_INLINE bool take_robust(struct counter *counter)
{
    if (pthread_mutex_lock(&counter->robust) != 0) {
        return false;
    }
    counter->count++;
    return pthread_mutex_unlock(&counter->robust) == 0;
}

BENCH_INLINE void take_turns(struct counter *counter, struct bench_worker *worker, turn *take)
{
    uint64_t turns = 0;
    while (!bench_stopped(worker)) {
        if (!take(counter)) {
            worker->tally->errors++;
        }
        turns++;
        __atomic_store_n(&worker->tally->operations, turns, __ATOMIC_RELAXED);
    }
}

static void own_work(void *handle, struct bench_worker *worker)
{
    take_turns(handle, worker, take_own);
}

static void robust_work(void *handle, struct bench_worker *worker)
{
    take_turns(handle, worker, take_robust);
}

const struct bench_channel bench_lock = {
    .name = "lock",
    .create = counter_create,
    .open = counter_open,
    .work = own_work,
    .holds = counter_holds,
    .destroy = counter_destroy,
};

const struct bench_channel bench_robust_lock = {
    .name = "robust-mutex",
    .create = counter_create,
    .open = counter_open,
    .work = robust_work,
    .holds = counter_holds,
    .destroy = counter_destroy,
};
