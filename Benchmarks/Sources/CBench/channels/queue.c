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
    bench_copy(bytes, message->data, message->length < size ? (uint32_t)message->length : size);
    cshm_queue_release(queue, message);
    return 1;
}

/* ---- trying ---- */

BENCH_INLINE uint32_t put(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    (void)count;
    return cshm_queue_try_put(handle, bytes, size) == 0;
}

BENCH_INLINE uint32_t take(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct cshm_message message;
    (void)count;
    int status = cshm_queue_try_take(handle, &message);
    return receive(handle, status, &message, bytes, size);
}

BENCH_CHANNEL(bench_queue, "queue", queue_create, bench_subject_destroy, queue_open, put, take);

/* ---- waiting, as by default ---- */

BENCH_INLINE uint32_t put_waiting(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    (void)count;
    return cshm_queue_put_until(handle, bytes, size, INT64_MAX) == 0;
}

BENCH_INLINE uint32_t take_waiting(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct cshm_message message;
    (void)count;
    int status = cshm_queue_take_until(handle, &message, INT64_MAX);
    return receive(handle, status, &message, bytes, size);
}

BENCH_CHANNEL(bench_queue_waiting, "queue-waiting", queue_create, bench_subject_destroy, queue_open,
              put_waiting, take_waiting);
