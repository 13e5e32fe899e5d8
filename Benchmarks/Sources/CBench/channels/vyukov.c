/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Peers: Vyukov's ring, dense and padded, and a pool of processes on two of them.
 */
#include "vyukov.h"

#include <stdlib.h>

static int ring_create(const struct bench_shape *shape, void **state)
{
    return vyukov_make(shape, (shape->size + 8 + 7) / 8 * 8, state);
}

/* A line, or several, for each cell, as rigtorp's MPMCQueue has it. */
static int padded_create(const struct bench_shape *shape, void **state)
{
    return vyukov_make(shape, (shape->size + 8 + 63) / 64 * 64, state);
}

static int ring_open(void *state, bool producer, void **handle)
{
    (void)producer;
    *handle = state;
    return 0;
}

static void ring_destroy(void *state)
{
    bench_unshare(state, vyukov_size(state));
}

BENCH_CHANNEL(bench_vyukov, "vyukov-ring", ring_create, ring_destroy, ring_open, vyukov_put,
              vyukov_take);
BENCH_CHANNEL(bench_vyukov_padded, "vyukov-padded", padded_create, ring_destroy, ring_open,
              vyukov_put, vyukov_take);

/* ---- a pool: the first process puts numbers, the others put their squares ---- */

enum { TASKS = 1024, OUT = 512 /* tasks at a time */ };

struct pool {
    void *tasks, *results;
};

struct task {
    uint64_t number, square;
};

static void pool_destroy(void *state)
{
    struct pool *pool = state;
    if (pool->tasks != NULL) {
        ring_destroy(pool->tasks);
    }
    if (pool->results != NULL) {
        ring_destroy(pool->results);
    }
    free(pool);
}

static int pool_create(const struct bench_shape *shape, void **state)
{
    (void)shape;
    struct bench_shape each = {.size = sizeof(struct task), .capacity = TASKS};
    struct pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) {
        return -ENOMEM;
    }
    if (ring_create(&each, &pool->tasks) != 0 || ring_create(&each, &pool->results) != 0) {
        pool_destroy(pool);
        return -ENOMEM;
    }
    *state = pool;
    return 0;
}

static void hand_out(struct pool *pool, struct bench_worker *worker)
{
    uint64_t put = 0;
    uint64_t got = 0;
    uint32_t round = 0;
    while (!bench_stopped(worker)) {
        struct task task = {.number = put};
        if (put - got < OUT && vyukov_put(pool->tasks, (void *)&task, sizeof task, 1) != 0) {
            put++;
        }
        if (vyukov_take(pool->results, (void *)&task, sizeof task, 1) != 0) {
            worker->tally->errors += task.square != task.number * task.number;
            __atomic_store_n(&worker->tally->operations, ++got, __ATOMIC_RELAXED);
        } else if (put - got == OUT) {
            bench_relax(worker, &round);
        }
    }
}

static void square(struct pool *pool, struct bench_worker *worker)
{
    uint32_t round = 0;
    while (!bench_stopped(worker)) {
        struct task task;
        if (vyukov_take(pool->tasks, (void *)&task, sizeof task, 1) == 0) {
            bench_relax(worker, &round);
            continue;
        }
        task.square = task.number * task.number;
        while (vyukov_put(pool->results, (void *)&task, sizeof task, 1) == 0 &&
               !bench_stopped(worker)) {
            bench_relax(worker, &round);
        }
    }
}

static void pool_work(void *handle, struct bench_worker *worker)
{
    bool first = worker->tally == &worker->control->tallies[0];
    (first ? hand_out : square)(handle, worker);
}

static bool pool_holds(void *state, uint64_t operations)
{
    (void)state;
    return operations > 0;
}

const struct bench_channel bench_vyukov_pool = {
    .name = "c-pool",
    .create = pool_create,
    .open = ring_open,
    .work = pool_work,
    .holds = pool_holds,
    .destroy = pool_destroy,
};
