/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Vyukov's bounded queue for many producers and consumers, in shared memory. A process killed between
 * its claim and its store of the sequence number wedges it for ever.
 */
#ifndef BENCH_VYUKOV_H
#define BENCH_VYUKOV_H

#include <errno.h>

#include <bench_channel.h>

struct vyukov_ring {
    uint32_t capacity, stride;
    BENCH_LINE uint64_t tail;
    BENCH_LINE uint64_t head;
    BENCH_LINE uint8_t cells[];
};

struct vyukov_cell {
    uint64_t sequence;
    uint8_t bytes[];
};

BENCH_INLINE size_t vyukov_size(const struct vyukov_ring *ring)
{
    return sizeof *ring + (size_t)ring->capacity * ring->stride;
}

BENCH_INLINE struct vyukov_cell *vyukov_cell_at(struct vyukov_ring *ring, uint64_t position)
{
    return (struct vyukov_cell *)(void *)(ring->cells +
                                          (position & (ring->capacity - 1)) * ring->stride);
}

BENCH_INLINE int vyukov_make(const struct bench_shape *shape, uint32_t stride, void **state)
{
    struct vyukov_ring sizes = {.capacity = shape->capacity, .stride = stride};
    struct vyukov_ring *ring = bench_shared(vyukov_size(&sizes));
    if (ring == NULL) {
        return -ENOMEM;
    }
    ring->capacity = sizes.capacity;
    ring->stride = sizes.stride;
    for (uint64_t i = 0; i < ring->capacity; i++) {
        vyukov_cell_at(ring, i)->sequence = i;
    }
    *state = ring;
    return 0;
}

/* Claims the next cell of a side, which is due when its sequence is the position + `offset`. */
BENCH_INLINE struct vyukov_cell *vyukov_claim(struct vyukov_ring *ring, uint64_t *side,
                                              uint64_t offset, uint64_t *claimed)
{
    uint64_t position = __atomic_load_n(side, __ATOMIC_RELAXED);
    for (;;) {
        struct vyukov_cell *cell = vyukov_cell_at(ring, position);
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

BENCH_INLINE uint32_t vyukov_put(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct vyukov_ring *ring = handle;
    uint64_t position = 0;
    (void)count;
    struct vyukov_cell *cell = vyukov_claim(ring, &ring->tail, 0, &position);
    if (cell == NULL) {
        return 0;
    }
    bench_copy(cell->bytes, bytes, size);
    __atomic_store_n(&cell->sequence, position + 1, __ATOMIC_RELEASE);
    return 1;
}

BENCH_INLINE uint32_t vyukov_take(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct vyukov_ring *ring = handle;
    uint64_t position = 0;
    (void)count;
    struct vyukov_cell *cell = vyukov_claim(ring, &ring->head, 1, &position);
    if (cell == NULL) {
        return 0;
    }
    bench_copy(bytes, cell->bytes, size);
    __atomic_store_n(&cell->sequence, position + ring->capacity, __ATOMIC_RELEASE);
    return 1;
}

#endif /* BENCH_VYUKOV_H */
