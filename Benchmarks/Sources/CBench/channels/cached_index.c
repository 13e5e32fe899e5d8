/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Peer: a single-producer, single-consumer ring in shared memory whose sides keep their last sight
 * of the other's index (after Rigtorp's SPSCQueue). Nothing survives a kill: no roles to take over,
 * no blocks, no waiting.
 */
#include <errno.h>

#include <bench_channel.h>

struct ring {
    uint32_t capacity, size;
    BENCH_LINE uint64_t tail;
    uint64_t head_seen; /* the producer's */
    BENCH_LINE uint64_t head;
    uint64_t tail_seen; /* the consumer's */
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

BENCH_INLINE uint32_t room(struct ring *ring, uint32_t wanted)
{
    uint64_t room = ring->capacity - (ring->tail - ring->head_seen);
    if (room < wanted) {
        ring->head_seen = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
        room = ring->capacity - (ring->tail - ring->head_seen);
    }
    return room < wanted ? (uint32_t)room : wanted;
}

BENCH_INLINE uint32_t filled(struct ring *ring, uint32_t wanted)
{
    uint64_t count = ring->tail_seen - ring->head;
    if (count < wanted) {
        ring->tail_seen = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
        count = ring->tail_seen - ring->head;
    }
    return count < wanted ? (uint32_t)count : wanted;
}

BENCH_INLINE uint8_t *slot(struct ring *ring, uint64_t position, uint32_t size)
{
    return ring->slots + (position & (ring->capacity - 1)) * size;
}

BENCH_INLINE uint32_t put(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct ring *ring = handle;
    uint32_t moved = room(ring, count);
    for (uint32_t i = 0; i < moved; i++) {
        bench_copy(slot(ring, ring->tail + i, size), bytes + (size_t)i * size, size);
    }
    __atomic_store_n(&ring->tail, ring->tail + moved, __ATOMIC_RELEASE);
    return moved;
}

BENCH_INLINE uint32_t take(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct ring *ring = handle;
    uint32_t moved = filled(ring, count);
    for (uint32_t i = 0; i < moved; i++) {
        bench_copy(bytes + (size_t)i * size, slot(ring, ring->head + i, size), size);
    }
    __atomic_store_n(&ring->head, ring->head + moved, __ATOMIC_RELEASE);
    return moved;
}

BENCH_CHANNEL(bench_cached_index, "cached-index-ring", ring_create, ring_destroy, ring_open, put,
              take);

/* ---- its slots lent: only the number is written and read, in place ---- */

BENCH_INLINE uint32_t put_lent(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct ring *ring = handle;
    uint32_t moved = room(ring, count);
    for (uint32_t i = 0; i < moved; i++) {
        memcpy(slot(ring, ring->tail + i, size), bytes + (size_t)i * size, 8);
    }
    __atomic_store_n(&ring->tail, ring->tail + moved, __ATOMIC_RELEASE);
    return moved;
}

BENCH_INLINE uint32_t take_lent(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct ring *ring = handle;
    uint32_t moved = filled(ring, count);
    for (uint32_t i = 0; i < moved; i++) {
        memcpy(bytes + (size_t)i * size, slot(ring, ring->head + i, size), 8);
    }
    __atomic_store_n(&ring->head, ring->head + moved, __ATOMIC_RELEASE);
    return moved;
}

BENCH_CHANNEL(bench_cached_index_lent, "cached-index-ring-lent", ring_create, ring_destroy,
              ring_open, put_lent, take_lent);
