/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Under test: cshm/lanes.h, through its public functions, out of line as a user calls them.
 */
#include <errno.h>

#include "subject.h"

static int make(cshm_region *region, const struct bench_shape *shape, uint64_t *offset)
{
    struct cshm_lanes_options options = {
        .capacity = shape->capacity,
        .slot_size = shape->size <= 4096 ? shape->size : 64,
    };
    return cshm_lanes_create(region, &options, offset);
}

static int lanes_create(const struct bench_shape *shape, void **state)
{
    return bench_subject_create(shape, make, state);
}

static int lanes_open(void *state, bool producer, void **handle)
{
    struct subject *subject = state;
    cshm_lanes *lanes = NULL;
    cshm_lane *lane = NULL;
    int status = bench_subject_join(subject);
    if (status == 0) {
        status = cshm_lanes_open(subject->region, subject->offset, 0, &lanes);
    }
    if (status == 0) {
        status = producer ? cshm_lanes_join(lanes, &lane) : cshm_lanes_become_consumer(lanes);
    }
    *handle = producer ? (void *)lane : (void *)lanes;
    return status;
}

/* ---- trying ---- */

BENCH_INLINE uint32_t put(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    if (count == 1) {
        return cshm_lane_try_put(handle, bytes, size) == 0;
    }
    int moved = cshm_lane_try_put_many(handle, bytes, size, count);
    return moved > 0 ? (uint32_t)moved : 0;
}

BENCH_INLINE uint32_t take(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    uint64_t length = 0;
    (void)count;
    return cshm_lanes_try_get(handle, bytes, size, &length) == 0;
}

BENCH_CHANNEL_OF(bench_lanes, "lanes", lanes_create, bench_subject_destroy, lanes_open, NULL, put,
                 take, BENCH_BY_PRODUCER);

/* ---- waiting, as by default ---- */

BENCH_INLINE uint32_t put_waiting(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    (void)count;
    return cshm_lane_put_until(handle, bytes, size, INT64_MAX) == 0;
}

BENCH_INLINE uint32_t take_waiting(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    uint64_t length = 0;
    (void)count;
    return cshm_lanes_get_until(handle, bytes, size, &length, INT64_MAX) == 0;
}

BENCH_CHANNEL_OF(bench_lanes_waiting, "lanes-waiting", lanes_create, bench_subject_destroy,
                 lanes_open, NULL, put_waiting, take_waiting, BENCH_BY_PRODUCER);
