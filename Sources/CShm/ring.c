/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/ring.h for the model. Pairs:
 *
 *   [publish]  producer stores tail (seq_cst) -> consumer loads tail (seq_cst)
 *   [recycle]  consumer stores head (seq_cst) -> producer loads head (seq_cst)
 *
 * seq_cst and not release: the same store also stands before the look at the parking word
 * (cshm/park.h, [announce]).
 */
#include <cshm/ring.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>

#include "internal.h"

enum { MAGIC = 0x72696e67 }; /* "ring" */

struct cshm_ring {
    cshm_region *region;
    struct cshm_ring_shared *shared;
    uint8_t *slots;
    uint32_t capacity;
    uint32_t slot_size;
    uint32_t stride;
    uint64_t head_seen; /* the producer's last sight of head */
    uint64_t tail_seen; /* the consumer's last sight of tail */
};

static uint32_t stride_for(uint32_t slot_size)
{
    return (slot_size + (uint32_t)sizeof(struct cshm_slot) + 15) / 16 * 16;
}

static struct cshm_slot *slot_at(const cshm_ring *ring, uint64_t position)
{
    return (struct cshm_slot *)(void *)(ring->slots +
                                        (position & (ring->capacity - 1)) * ring->stride);
}

int cshm_ring_create(cshm_region *region, uint32_t capacity, uint32_t slot_size, uint64_t *offset)
{
    if (capacity < 2 || capacity > (1u << 20) || (capacity & (capacity - 1)) != 0 ||
        slot_size == 0 || slot_size > 65536) {
        return -EINVAL;
    }
    uint64_t size = sizeof(struct cshm_ring_shared) + (uint64_t)capacity * stride_for(slot_size);
    int status = cshm_heap_allocate(region, size, offset);
    if (status != 0) {
        return status;
    }
    struct cshm_ring_shared *shared = cshm_heap_pointer(region, *offset, size);
    memset(shared, 0, size);
    shared->capacity = capacity;
    shared->slot_size = slot_size;
    shared->stride = stride_for(slot_size);
    shared->magic = MAGIC;
    return 0;
}

int cshm_ring_open(cshm_region *region, uint64_t offset, cshm_ring **out)
{
    struct cshm_ring_shared *shared =
        cshm_heap_pointer(region, offset, sizeof(struct cshm_ring_shared));
    if (shared == NULL || shared->magic != MAGIC) {
        return -EPROTO;
    }
    uint32_t capacity = shared->capacity;
    uint32_t slot_size = shared->slot_size;
    if (capacity < 2 || capacity > (1u << 20) || (capacity & (capacity - 1)) != 0 ||
        slot_size > 65536 || shared->stride != stride_for(slot_size) ||
        cshm_heap_pointer(region, offset,
                          sizeof *shared + (uint64_t)capacity * stride_for(slot_size)) == NULL) {
        return -EPROTO;
    }
    cshm_ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL) {
        return -ENOMEM;
    }
    ring->region = region;
    ring->shared = shared;
    ring->slots = (uint8_t *)shared + sizeof *shared;
    ring->capacity = capacity;
    ring->slot_size = slot_size;
    ring->stride = stride_for(slot_size);
    ring->head_seen = atomic_load_explicit(&shared->head, memory_order_seq_cst);
    ring->tail_seen = ring->head_seen;
    *out = ring;
    return 0;
}

void cshm_ring_close(cshm_ring *ring)
{
    free(ring);
}

void cshm_ring_destroy(cshm_ring *ring)
{
    for (uint32_t i = 0; i < ring->capacity; i++) {
        cshm__slot_clear(ring->region, slot_at(ring, i));
    }
    (void)cshm_heap_free(ring->region, cshm_heap_offset(ring->region, ring->shared));
    cshm_ring_close(ring);
}

int cshm_ring_try_claim(cshm_ring *ring, uint64_t length, void **data)
{
    /* relaxed: only the producer stores tail */
    uint64_t tail = atomic_load_explicit(&ring->shared->tail, memory_order_relaxed);
    if (tail - ring->head_seen >= ring->capacity) {
        ring->head_seen = atomic_load_explicit(&ring->shared->head, memory_order_seq_cst);
        if (tail - ring->head_seen > ring->capacity) {
            return -EPROTO;
        }
        if (tail - ring->head_seen == ring->capacity) {
            return -EAGAIN;
        }
    }
    return cshm__slot_prepare(ring->region, slot_at(ring, tail), ring->slot_size, length, data);
}

void cshm_ring_commit(cshm_ring *ring)
{
    uint64_t tail = atomic_load_explicit(&ring->shared->tail, memory_order_relaxed);
    atomic_store_explicit(&ring->shared->tail, tail + 1, memory_order_seq_cst); /* [publish] */
    cshm_park_wake_one(&ring->shared->items);
}

int cshm_ring_try_put(cshm_ring *ring, const void *data, uint64_t length)
{
    void *place = NULL;
    int status = cshm_ring_try_claim(ring, length, &place);
    if (status == 0) {
        memcpy(place, data, length);
        cshm_ring_commit(ring);
    }
    return status;
}

struct put {
    cshm_ring *ring;
    const void *data;
    uint64_t length;
};

static int attempt_put(void *context)
{
    const struct put *put = context;
    return cshm_ring_try_put(put->ring, put->data, put->length);
}

int cshm_ring_put_until(cshm_ring *ring, const void *data, uint64_t length, int64_t deadline_ns)
{
    struct put put = {ring, data, length};
    return cshm__await(&ring->shared->room, attempt_put, &put, deadline_ns);
}

int cshm_ring_try_peek(cshm_ring *ring, const void **data, uint64_t *length)
{
    /* relaxed: only the consumer stores head */
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_relaxed);
    if (head == ring->tail_seen) {
        ring->tail_seen =
            atomic_load_explicit(&ring->shared->tail, memory_order_seq_cst); /* [publish] */
        if (head == ring->tail_seen) {
            return -EAGAIN;
        }
        if (ring->tail_seen - head > ring->capacity) {
            return -EPROTO;
        }
    }
    void *place = NULL;
    int status =
        cshm__slot_read(ring->region, slot_at(ring, head), ring->slot_size, &place, length);
    if (status == 0) {
        *data = place;
    }
    return status;
}

struct peek {
    cshm_ring *ring;
    const void **data;
    uint64_t *length;
};

static int attempt_peek(void *context)
{
    const struct peek *peek = context;
    return cshm_ring_try_peek(peek->ring, peek->data, peek->length);
}

int cshm_ring_peek_until(cshm_ring *ring, const void **data, uint64_t *length, int64_t deadline_ns)
{
    struct peek peek = {ring, data, length};
    return cshm__await(&ring->shared->items, attempt_peek, &peek, deadline_ns);
}

void cshm_ring_release(cshm_ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_relaxed);
    /* A long message's block goes with the slot, and back with the slot's next use: freed here,
     * a consumer that died before the store of head would leave its successor a freed block. */
    atomic_store_explicit(&ring->shared->head, head + 1, memory_order_seq_cst); /* [recycle] */
    cshm_park_wake_one(&ring->shared->room);
}

uint64_t cshm_ring_count(const cshm_ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_seq_cst);
    uint64_t tail = atomic_load_explicit(&ring->shared->tail, memory_order_seq_cst);
    uint64_t count = tail - head;
    return count <= ring->capacity ? count : ring->capacity;
}
