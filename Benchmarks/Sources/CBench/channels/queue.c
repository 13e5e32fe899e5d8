/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Under test: cshm/queue.h, through its public functions, out of line as a user calls them.
 */
#include <errno.h>

#include "subject.h"

static int make(cshm_region *region, const struct bench_shape *shape, uint64_t *offset)
{
    struct cshm_queue_options options = {
        .capacity = shape->capacity,
        .slot_size = shape->size <= 4096 ? shape->size : 64,
        .ports = 0,
        .pack = shape->batch,
        .type_tag = 0,
    };
    return cshm_queue_create(region, &options, offset);
}

static int queue_create(const struct bench_shape *shape, void **state)
{
    return bench_subject_create(shape, make, state);
}

static int queue_open(void *state, bool producer, void **handle)
{
    struct subject *subject = state;
    cshm_queue *queue = NULL;
    (void)producer;
    int status = bench_subject_join(subject);
    if (status == 0) {
        status = cshm_queue_open(subject->region, subject->offset, 0, &queue);
    }
    *handle = queue;
    return status;
}

BENCH_INLINE uint32_t receive(cshm_queue *queue, int status, struct cshm_message *message,
                              uint8_t *bytes, uint32_t size)
{
    if (status != 0) {
        return 0;
    }
    uint32_t length = message->length < size ? (uint32_t)message->length : size;
    uint32_t count = message->count;
    bench_copy(bytes, message->data, length * count);
    cshm_queue_release(queue, message);
    return count;
}

/* ---- trying ---- */

BENCH_INLINE uint32_t put(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    if (count == 1) {
        return cshm_queue_try_put(handle, bytes, size) == 0;
    }
    int moved = cshm_queue_try_put_many(handle, bytes, size, count);
    return moved > 0 ? (uint32_t)moved : 0;
}

BENCH_INLINE uint32_t take(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct cshm_message message;
    int status = count == 1 ? cshm_queue_try_take(handle, &message)
                            : cshm_queue_try_take_many(handle, count, &message);
    return receive(handle, status, &message, bytes, size);
}

BENCH_CHANNEL(bench_queue, "queue", queue_create, bench_subject_destroy, queue_open, put, take);

/* ---- waiting, as by default ---- */

BENCH_INLINE uint32_t put_waiting(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    if (count == 1) {
        return cshm_queue_put_until(handle, bytes, size, INT64_MAX) == 0;
    }
    int moved = cshm_queue_put_many_until(handle, bytes, size, count, INT64_MAX);
    return moved > 0 ? (uint32_t)moved : 0;
}

BENCH_INLINE uint32_t take_waiting(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct cshm_message message;
    int status = count == 1 ? cshm_queue_take_until(handle, &message, INT64_MAX)
                            : cshm_queue_take_many_until(handle, count, &message, INT64_MAX);
    return receive(handle, status, &message, bytes, size);
}

BENCH_CHANNEL(bench_queue_waiting, "queue-waiting", queue_create, bench_subject_destroy, queue_open,
              put_waiting, take_waiting);

/* ---- the same calls on a queue as Swift makes it: with packs, whether or not they are used ---- */

static int make_like_swift(cshm_region *region, const struct bench_shape *shape, uint64_t *offset)
{
    struct cshm_queue_options options = {
        .capacity = shape->capacity,
        .slot_size = shape->size <= 4096 ? shape->size : 64,
        .ports = 128,
        .pack = shape->size <= 256 ? 32 : 1,
        .type_tag = 0,
    };
    return cshm_queue_create(region, &options, offset);
}

static int queue_create_like_swift(const struct bench_shape *shape, void **state)
{
    return bench_subject_create(shape, make_like_swift, state);
}

BENCH_CHANNEL(bench_queue_like_swift, "queue-like-swift", queue_create_like_swift,
              bench_subject_destroy, queue_open, put_waiting, take_waiting);
