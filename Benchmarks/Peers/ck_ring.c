/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Peer: Concurrency Kit's ring for many producers and consumers (libck-dev), which commits in
 * order: a process that stops between its claim and its commit stops all of its side.
 */
#include <ck_ring.h>
#include <errno.h>

#include <bench_channel.h>

struct small {
    uint64_t words[1];
};

struct line {
    uint64_t words[8];
};

CK_RING_PROTOTYPE(small, small)
CK_RING_PROTOTYPE(line, line)

struct shared {
    struct ck_ring ring;
    uint32_t capacity;
    BENCH_LINE struct line entries[];
};

static size_t size_of(uint32_t capacity)
{
    return sizeof(struct shared) + (size_t)capacity * sizeof(struct line);
}

static int create(const struct bench_shape *shape, void **state)
{
    if (shape->size != 8 && shape->size != 64) {
        return -EINVAL;
    }
    struct shared *shared = bench_shared(size_of(shape->capacity));
    if (shared == NULL) {
        return -ENOMEM;
    }
    shared->capacity = shape->capacity;
    ck_ring_init(&shared->ring, shape->capacity);
    *state = shared;
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
    bench_unshare(state, size_of(((struct shared *)state)->capacity));
}

BENCH_INLINE uint32_t put(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct shared *shared = handle;
    (void)count;
    if (size == sizeof(struct small)) {
        return ck_ring_enqueue_mpmc_small(&shared->ring, (void *)shared->entries, (void *)bytes);
    }
    return ck_ring_enqueue_mpmc_line(&shared->ring, shared->entries, (void *)bytes);
}

BENCH_INLINE uint32_t take(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct shared *shared = handle;
    (void)count;
    if (size == sizeof(struct small)) {
        return ck_ring_dequeue_mpmc_small(&shared->ring, (void *)shared->entries, (void *)bytes);
    }
    return ck_ring_dequeue_mpmc_line(&shared->ring, shared->entries, (void *)bytes);
}

BENCH_CHANNEL(bench_peer, "ck-ring", create, destroy, open_side, put, take);
