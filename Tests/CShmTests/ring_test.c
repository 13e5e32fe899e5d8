/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/ring.h.
 */
#include "support.h"

#include <cshm/ring.h>

extern const struct test ring_tests[];

static cshm_ring *make_ring(cshm_region *region, uint32_t capacity, uint64_t *offset)
{
    cshm_ring *ring = NULL;
    CHECK_EQ(cshm_ring_create(region, capacity, 16, offset), 0);
    CHECK_EQ(cshm_heap_share(region, *offset), 0);
    CHECK_EQ(cshm_ring_open(region, *offset, &ring), 0);
    return ring;
}

static uint64_t peek_number(cshm_ring *ring)
{
    const void *data = NULL;
    uint64_t length = 0;
    CHECK_EQ(cshm_ring_try_peek(ring, &data, &length), 0);
    CHECK_EQ(length, 8);
    return *(const uint64_t *)data;
}

static void fifo(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    const void *data = NULL;
    uint64_t length = 0;
    cshm_ring *none = NULL;
    CHECK_EQ(cshm_ring_create(region, 3, 16, &offset), -EINVAL);
    CHECK_EQ(cshm_ring_create(region, 4, 0, &offset), -EINVAL);
    CHECK_EQ(cshm_ring_create(region, 4, 65537, &offset), -EINVAL);
    uint64_t before = blocks_in_use(region);
    cshm_ring *ring = make_ring(region, 8, &offset);
    CHECK_EQ(cshm_ring_open(region, offset + 128, &none), -EPROTO);
    for (uint64_t round = 0; round < 100; round++) {
        uint64_t full = 8;
        for (uint64_t i = 0; i < 8; i++) {
            CHECK_EQ(cshm_ring_count(ring), i);
            CHECK_EQ(cshm_ring_try_put(ring, &(uint64_t){round * 10 + i}, 8), 0);
        }
        CHECK_EQ(cshm_ring_try_put(ring, &full, 8), -EAGAIN);
        int64_t deadline = after(2 * MILLISECOND);
        CHECK_EQ(cshm_ring_put_until(ring, &full, 8, deadline), -ETIMEDOUT);
        CHECK(cshm_now_ns() >= deadline);
        for (uint64_t i = 0; i < 8; i++) {
            CHECK_EQ(peek_number(ring), round * 10 + i);
            CHECK_EQ(peek_number(ring), round * 10 + i);
            cshm_ring_release(ring);
        }
        CHECK_EQ(cshm_ring_try_peek(ring, &data, &length), -EAGAIN);
        deadline = after(2 * MILLISECOND);
        CHECK_EQ(cshm_ring_peek_until(ring, &data, &length, deadline), -ETIMEDOUT);
        CHECK(cshm_now_ns() >= deadline);
    }
    cshm_ring_destroy(ring);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void long_messages(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    uint64_t before = blocks_in_use(region);
    cshm_ring *ring = make_ring(region, 4, &offset);
    for (uint64_t length = 0; length < 20000; length += 17) {
        void *room = NULL;
        const void *data = NULL;
        uint64_t received = 0;
        CHECK_EQ(cshm_ring_try_claim(ring, 30000, &room), 0); /* never published */
        CHECK_EQ(cshm_ring_try_claim(ring, length, &room), 0);
        memset(room, (int)(length & 0xff), length);
        cshm_ring_commit(ring);
        CHECK_EQ(cshm_ring_try_peek(ring, &data, &received), 0);
        CHECK_EQ(received, length);
        CHECK(data == room);
        for (uint64_t i = 0; i < length; i++) {
            CHECK_EQ(((const uint8_t *)data)[i], length & 0xff);
        }
        cshm_ring_release(ring);
        CHECK(blocks_in_use(region) <= before + 1 + 4);
    }
    void *room = NULL;
    CHECK_EQ(cshm_ring_try_claim(ring, 1ull << 40, &room), -ENOSPC);
    CHECK_EQ(cshm_ring_try_put(ring, &offset, 8), 0);
    cshm_ring_destroy(ring);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

enum { MESSAGES = 1000000 };

static void put_all(cshm_region *region, void *context)
{
    cshm_ring *ring = NULL;
    if (cshm_ring_open(region, *(uint64_t *)context, &ring) != 0) {
        _exit(1);
    }
    for (uint64_t i = 0; i < MESSAGES; i++) {
        if (cshm_ring_put_until(ring, &i, 8, after(20 * SECOND)) != 0) {
            _exit(2);
        }
    }
}

static void two_processes(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    cshm_ring *ring = make_ring(region, 256, &offset);
    pid_t child = spawn(region, put_all, &offset);
    for (uint64_t i = 0; i < MESSAGES; i++) {
        const void *data = NULL;
        uint64_t length = 0;
        CHECK_EQ(cshm_ring_peek_until(ring, &data, &length, after(20 * SECOND)), 0);
        CHECK_EQ(length, 8);
        CHECK_EQ(*(const uint64_t *)data, i);
        cshm_ring_release(ring);
    }
    expect_success(child);
    CHECK_EQ(cshm_ring_count(ring), 0);
    cshm_ring_close(ring);
    cshm_region_close(region);
}

struct hold {
    _Atomic uint32_t ready;
    uint64_t offset;
};

static void peek_and_hang(cshm_region *region, void *context)
{
    struct hold *hold = context;
    cshm_ring *ring = NULL;
    const void *data = NULL;
    uint64_t length = 0;
    if (cshm_ring_open(region, hold->offset, &ring) != 0 ||
        cshm_ring_try_peek(ring, &data, &length) != 0) {
        _exit(1);
    }
    cshm_ring_release(ring);
    if (cshm_ring_try_peek(ring, &data, &length) != 0) {
        _exit(1);
    }
    atomic_store(&hold->ready, 1);
    for (;;) {
        pause();
    }
}

static void successor(void)
{
    cshm_region *region = make_region(4u << 20);
    struct hold *hold = shared_memory(sizeof *hold);
    cshm_ring *ring = make_ring(region, 8, &hold->offset);
    char text[3][100] = {"first", "second", "third"};
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(cshm_ring_try_put(ring, text[i], 100), 0);
    }
    pid_t child = spawn(region, peek_and_hang, hold);
    wait_until_set(&hold->ready, 1);
    kill_child(child);
    CHECK_EQ(cshm_region_reap(region), 1);
    cshm_ring_close(ring);
    CHECK_EQ(cshm_ring_open(region, hold->offset, &ring), 0);
    for (int i = 1; i < 3; i++) {
        const void *data = NULL;
        uint64_t length = 0;
        CHECK_EQ(cshm_ring_try_peek(ring, &data, &length), 0);
        CHECK(length == 100 && strcmp(data, text[i]) == 0);
        cshm_ring_release(ring);
    }
    cshm_ring_destroy(ring);
    cshm_region_close(region);
}

const struct test ring_tests[] = {
    {"is_first_in_first_out_and_full_at_exactly_its_capacity", fifo},
    {"carries_long_messages_in_place", long_messages},
    {"carries_a_million_messages_between_processes_in_order", two_processes},
    {"gives_the_successor_of_a_killed_consumer_the_same_message", successor},
    {NULL, NULL},
};
