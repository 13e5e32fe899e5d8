/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Peer: Vyukov's bounded queue for many producers and consumers, in shared memory. A process
 * killed between its claim and its store of the sequence number wedges it for ever.
 */
#include <errno.h>

#include <bench_channel.h>

struct ring {
    uint32_t capacity, stride;
    BENCH_LINE uint64_t tail;
    BENCH_LINE uint64_t head;
    BENCH_LINE uint8_t cells[];
};

struct cell {
    uint64_t sequence;
    uint8_t bytes[];
};

static size_t size_of(const struct ring *ring)
{
    return sizeof *ring + (size_t)ring->capacity * ring->stride;
}

BENCH_INLINE struct cell *cell_at(struct ring *ring, uint64_t position)
{
    return (struct cell *)(void *)(ring->cells + (position & (ring->capacity - 1)) * ring->stride);
}

static int make(const struct bench_shape *shape, uint32_t stride, void **state)
{
    struct ring sizes = {.capacity = shape->capacity, .stride = stride};
    struct ring *ring = bench_shared(size_of(&sizes));
    if (ring == NULL) {
        return -ENOMEM;
    }
    ring->capacity = sizes.capacity;
    ring->stride = sizes.stride;
    for (uint64_t i = 0; i < ring->capacity; i++) {
        cell_at(ring, i)->sequence = i;
    }
    *state = ring;
    return 0;
}

static int ring_create(const struct bench_shape *shape, void **state)
{
    return make(shape, (shape->size + 8 + 7) / 8 * 8, state);
}

/* A line, or several, for each cell, as rigtorp's MPMCQueue has it. */
static int padded_create(const struct bench_shape *shape, void **state)
{
    return make(shape, (shape->size + 8 + 63) / 64 * 64, state);
}

static int ring_open(void *state, bool producer, void **handle)
{
    (void)producer;
    *handle = state;
    return 0;
}

static void ring_destroy(void *state)
{
    bench_unshare(state, size_of(state));
}

/* Claims the next cell of a side, which is due when its sequence is the position + `offset`. */
BENCH_INLINE struct cell *claim(struct ring *ring, uint64_t *side, uint64_t offset,
                                uint64_t *claimed)
{
    uint64_t position = __atomic_load_n(side, __ATOMIC_RELAXED);
    for (;;) {
        struct cell *cell = cell_at(ring, position);
        uint64_t sequence = __atomic_load_n(&cell->sequence, __ATOMIC_ACQUIRE);
        int64_t ahead = (int64_t)(sequence - (position + offset));
        if (ahead < 0) {
            return NULL;
        }
        if (ahead > 0) {
            position = __atomic_load_n(side, __ATOMIC_RELAXED);
        } else if (__atomic_compare_exchange_n(side, &position, position + 1, true,
                                               __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            *claimed = position;
            return cell;
        }
    }
}

BENCH_INLINE uint32_t put(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct ring *ring = handle;
    uint64_t position = 0;
    (void)count;
    struct cell *cell = claim(ring, &ring->tail, 0, &position);
    if (cell == NULL) {
        return 0;
    }
    bench_copy(cell->bytes, bytes, size);
    __atomic_store_n(&cell->sequence, position + 1, __ATOMIC_RELEASE);
    return 1;
}

BENCH_INLINE uint32_t take(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct ring *ring = handle;
    uint64_t position = 0;
    (void)count;
    struct cell *cell = claim(ring, &ring->head, 1, &position);
    if (cell == NULL) {
        return 0;
    }
    bench_copy(bytes, cell->bytes, size);
    __atomic_store_n(&cell->sequence, position + ring->capacity, __ATOMIC_RELEASE);
    return 1;
}

BENCH_CHANNEL(bench_vyukov, "vyukov-ring", ring_create, ring_destroy, ring_open, put, take);
BENCH_CHANNEL(bench_vyukov_padded, "vyukov-padded", padded_create, ring_destroy, ring_open, put,
              take);
