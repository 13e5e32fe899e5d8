/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Peer: DPDK's rte_ring for many producers and consumers, whose operations are all in its headers
 * (libdpdk-dev; the environment abstraction layer is not needed). It commits in order.
 */
#include <errno.h>
#include <rte_config.h>
#include <rte_ring_elem.h>

#include <bench_channel.h>

static size_t size_of(uint32_t capacity, uint32_t size)
{
    return sizeof(struct rte_ring) + (size_t)capacity * size;
}

static int create(const struct bench_shape *shape, void **state)
{
    struct rte_ring *ring = bench_shared(size_of(shape->capacity, shape->size));
    if (ring == NULL) {
        return -ENOMEM;
    }
    /* As rte_ring_init() leaves it, with every other byte zero. */
    ring->flags = (int)shape->size;
    ring->size = shape->capacity;
    ring->mask = shape->capacity - 1;
    ring->capacity = ring->mask;
    ring->prod.sync_type = RTE_RING_SYNC_MT;
    ring->cons.sync_type = RTE_RING_SYNC_MT;
    *state = ring;
    return 0;
}

static int open_side(void *state, bool producer, void **handle)
{
    (void)producer;
    *handle = state;
    return 0;
}

static void destroy(void *state)
{
    const struct rte_ring *ring = state;
    bench_unshare(state, size_of(ring->size, (uint32_t)ring->flags));
}

BENCH_INLINE uint32_t put(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    (void)count;
    if (size == 8) {
        return rte_ring_mp_enqueue_elem(handle, bytes, 8) == 0;
    }
    return rte_ring_mp_enqueue_elem(handle, bytes, size) == 0;
}

BENCH_INLINE uint32_t take(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    (void)count;
    if (size == 8) {
        return rte_ring_mc_dequeue_elem(handle, bytes, 8) == 0;
    }
    return rte_ring_mc_dequeue_elem(handle, bytes, size) == 0;
}

BENCH_CHANNEL(bench_peer, "rte-ring", create, destroy, open_side, put, take);
