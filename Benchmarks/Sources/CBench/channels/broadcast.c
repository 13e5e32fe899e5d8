/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Under test: cshm/broadcast.h with lossless subscribers, through its public functions, out of
 * line as a user calls them.
 */
#include <errno.h>

#include "subject.h"

static int make(cshm_region *region, const struct bench_shape *shape, uint64_t *offset)
{
    struct cshm_broadcast_options options = {
        .capacity = shape->capacity,
        .slot_size = shape->size <= 4096 ? shape->size : 64,
    };
    return cshm_broadcast_create(region, &options, offset);
}

static int broadcast_create(const struct bench_shape *shape, void **state)
{
    return bench_subject_create(shape, make, state);
}

static int broadcast_open(void *state, bool producer, void **handle)
{
    struct subject *subject = state;
    cshm_broadcast *broadcast = NULL;
    cshm_publisher *publisher = NULL;
    cshm_subscriber *subscriber = NULL;
    int status = bench_subject_join(subject);
    if (status == 0) {
        status = cshm_broadcast_open(subject->region, subject->offset, 0, &broadcast);
    }
    if (status == 0) {
        status = producer ? cshm_publisher_join(broadcast, &publisher)
                          : cshm_subscriber_join(broadcast, CSHM_LOSSLESS, 0, &subscriber);
    }
    *handle = producer ? (void *)publisher : (void *)subscriber;
    return status;
}

/* ---- trying ---- */

BENCH_INLINE uint32_t put(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    if (count == 1) {
        return cshm_publisher_try_put(handle, bytes, size) == 0;
    }
    int moved = cshm_publisher_try_put_many(handle, bytes, size, count);
    return moved > 0 ? (uint32_t)moved : 0;
}

BENCH_INLINE uint32_t take(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    uint64_t length = 0;
    (void)count;
    return cshm_subscriber_try_get(handle, bytes, size, &length) == 0;
}

BENCH_CHANNEL_OF(bench_broadcast, "broadcast", broadcast_create, bench_subject_destroy,
                 broadcast_open, NULL, put, take, BENCH_TO_ALL);

/* ---- waiting, as by default ---- */

BENCH_INLINE uint32_t put_waiting(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    (void)count;
    return cshm_publisher_put_until(handle, bytes, size, INT64_MAX) == 0;
}

BENCH_INLINE uint32_t take_waiting(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    uint64_t length = 0;
    (void)count;
    return cshm_subscriber_get_until(handle, bytes, size, &length, INT64_MAX) == 0;
}

BENCH_CHANNEL_OF(bench_broadcast_waiting, "broadcast-waiting", broadcast_create,
                 bench_subject_destroy, broadcast_open, NULL, put_waiting, take_waiting,
                 BENCH_TO_ALL);
