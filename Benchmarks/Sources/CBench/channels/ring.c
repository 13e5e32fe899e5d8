/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Under test: cshm/ring.h, through its public functions, out of line as a user calls them.
 */
#include <errno.h>

#include "subject.h"

static int make(cshm_region *region, const struct bench_shape *shape, uint64_t *offset)
{
    uint32_t slot = shape->size <= 4096 ? shape->size : 64; /* longer ones in blocks */
    return cshm_ring_create(region, shape->capacity, slot, offset);
}

static int ring_create(const struct bench_shape *shape, void **state)
{
    return bench_subject_create(shape, make, state);
}

static int ring_open(void *state, bool producer, void **handle)
{
    struct subject *subject = state;
    cshm_ring *ring = NULL;
    int status = bench_subject_join(subject);
    if (status == 0) {
        status = cshm_ring_open(subject->region, subject->offset, &ring);
    }
    if (status == 0) {
        status = producer ? cshm_ring_become_producer(ring) : cshm_ring_become_consumer(ring);
    }
    *handle = ring;
    return status < 0 ? status : 0;
}

BENCH_INLINE uint32_t receive(cshm_ring *ring, int status, const void *data, uint64_t length,
                              uint8_t *bytes, uint32_t size)
{
    if (status != 0) {
        return 0;
    }
    bench_copy(bytes, data, length < size ? (uint32_t)length : size);
    cshm_ring_release(ring);
    return 1;
}

/* ---- trying ---- */

BENCH_INLINE uint32_t put(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    if (count == 1) {
        return cshm_ring_try_put(handle, bytes, size) == 0;
    }
    int moved = cshm_ring_try_put_many(handle, bytes, size, count);
    return moved > 0 ? (uint32_t)moved : 0;
}

BENCH_INLINE uint32_t take(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    uint64_t length = 0;
    if (count == 1) {
        return cshm_ring_try_get(handle, bytes, size, &length) == 0;
    }
    int moved = cshm_ring_try_get_many(handle, bytes, size, count);
    return moved > 0 ? (uint32_t)moved : 0;
}

BENCH_CHANNEL(bench_ring, "ring", ring_create, bench_subject_destroy, ring_open, put, take);

/* ---- waiting, as by default ---- */

BENCH_INLINE uint32_t put_waiting(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    (void)count;
    return cshm_ring_put_until(handle, bytes, size, INT64_MAX) == 0;
}

BENCH_INLINE uint32_t take_waiting(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    const void *data = NULL;
    uint64_t length = 0;
    (void)count;
    int status = cshm_ring_peek_until(handle, &data, &length, INT64_MAX);
    return receive(handle, status, data, length, bytes, size);
}

BENCH_CHANNEL(bench_ring_waiting, "ring-waiting", ring_create, bench_subject_destroy, ring_open,
              put_waiting, take_waiting);

/* ---- in place: only the number is written and read ---- */

BENCH_INLINE uint32_t put_lent(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    void *place = NULL;
    (void)count;
    if (cshm_ring_try_claim(handle, size, &place) != 0) {
        return 0;
    }
    memcpy(place, bytes, 8);
    cshm_ring_commit(handle);
    return 1;
}

BENCH_INLINE uint32_t take_lent(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    const void *data = NULL;
    uint64_t length = 0;
    (void)size;
    (void)count;
    return receive(handle, cshm_ring_try_peek(handle, &data, &length), data, 8, bytes, 8);
}

BENCH_CHANNEL(bench_ring_lent, "ring-in-place", ring_create, bench_subject_destroy, ring_open,
              put_lent, take_lent);
