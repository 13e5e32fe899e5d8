/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Peer: a ring under a robust process-shared mutex and two condition variables, which block. What
 * most people write; its condition variables hang when a waiter is killed.
 */
#include <errno.h>
#include <pthread.h>

#include <bench_channel.h>

struct ring {
    pthread_mutex_t mutex;
    pthread_cond_t items, room;
    uint64_t head, tail;
    uint32_t capacity, size;
    BENCH_LINE uint8_t slots[];
};

static size_t size_of(uint32_t capacity, uint32_t size)
{
    return sizeof(struct ring) + (size_t)capacity * size;
}

static int ring_create(const struct bench_shape *shape, void **state)
{
    struct ring *ring = bench_shared(size_of(shape->capacity, shape->size));
    if (ring == NULL) {
        return -ENOMEM;
    }
    pthread_mutexattr_t mutex;
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&ring->mutex, &mutex);
    pthread_mutexattr_destroy(&mutex);
    pthread_condattr_t condition;
    pthread_condattr_init(&condition);
    pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&ring->items, &condition);
    pthread_cond_init(&ring->room, &condition);
    pthread_condattr_destroy(&condition);
    ring->capacity = shape->capacity;
    ring->size = shape->size;
    *state = ring;
    return 0;
}

static int ring_open(void *state, bool producer, void **handle)
{
    (void)producer;
    *handle = state;
    return 0;
}

static void ring_destroy(void *state)
{
    const struct ring *ring = state;
    bench_unshare(state, size_of(ring->capacity, ring->size));
}

static void lock(struct ring *ring)
{
    if (pthread_mutex_lock(&ring->mutex) == EOWNERDEAD) {
        pthread_mutex_consistent(&ring->mutex);
    }
}

static uint8_t *slot(struct ring *ring, uint64_t position)
{
    return ring->slots + (position & (ring->capacity - 1)) * ring->size;
}

static uint32_t put(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct ring *ring = handle;
    (void)count;
    lock(ring);
    while (ring->tail - ring->head == ring->capacity) {
        pthread_cond_wait(&ring->room, &ring->mutex);
    }
    bench_copy(slot(ring, ring->tail), bytes, size);
    ring->tail++;
    pthread_mutex_unlock(&ring->mutex);
    pthread_cond_signal(&ring->items);
    return 1;
}

static uint32_t take(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct ring *ring = handle;
    (void)count;
    lock(ring);
    while (ring->tail == ring->head) {
        pthread_cond_wait(&ring->items, &ring->mutex);
    }
    bench_copy(bytes, slot(ring, ring->head), size);
    ring->head++;
    pthread_mutex_unlock(&ring->mutex);
    pthread_cond_signal(&ring->room);
    return 1;
}

BENCH_CHANNEL(bench_robust_mutex, "robust-mutex-ring", ring_create, ring_destroy, ring_open, put,
              take);
