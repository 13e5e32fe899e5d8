/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/ring.h.
 */
#include "support.h"

#include <pthread.h>
#include <sched.h>

#include <cshm/participant.h>
#include <cshm/ring.h>

#include "internal.h"

extern const struct test ring_tests[];

static cshm_ring *make_ring(cshm_region *region, uint32_t capacity, uint64_t *offset)
{
    cshm_ring *ring = NULL;
    CHECK_EQ(cshm_ring_create(region, capacity, 16, offset), 0);
    CHECK_EQ(cshm_heap_share(region, *offset), 0);
    CHECK_EQ(cshm_ring_open(region, *offset, &ring), 0);
    return ring;
}

static cshm_ring *make_both_ends(cshm_region *region, uint32_t capacity, uint64_t *offset)
{
    cshm_ring *ring = make_ring(region, capacity, offset);
    CHECK_EQ(cshm_ring_become_producer(ring), 0);
    CHECK_EQ(cshm_ring_become_consumer(ring), 0);
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
    cshm_ring *ring = make_both_ends(region, 8, &offset);
    CHECK_EQ(cshm_ring_open(region, offset + 128, &none), -EPROTO);
    CHECK_EQ(cshm_ring_open(region, offset + 8, &none), -EPROTO);
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
    cshm_ring *ring = make_both_ends(region, 4, &offset);
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

/* Claimed, put and taken. @returns where it lay. */
static const void *carry(cshm_ring *ring, uint64_t length)
{
    void *room = NULL;
    const void *data = NULL;
    uint64_t received = 0;
    CHECK_EQ(cshm_ring_try_claim(ring, length, &room), 0);
    memset(room, (int)(length & 0xff), length);
    cshm_ring_commit(ring);
    CHECK_EQ(cshm_ring_try_peek(ring, &data, &received), 0);
    CHECK(data == room && received == length);
    cshm_ring_release(ring);
    return data;
}

static void blocks_again(void)
{
    enum { SLOTS = 4 };
    static const uint64_t lengths[] = {5000, 100000};
    cshm_region *region = make_region(8u << 20);
    uint64_t offset = 0;
    cshm_ring *ring = make_both_ends(region, SLOTS, &offset);
    for (uint32_t i = 0; i < 2; i++) {
        const void *places[SLOTS];
        for (uint32_t k = 0; k < SLOTS; k++) {
            places[k] = carry(ring, lengths[i]);
        }
        uint64_t blocks = blocks_in_use(region);
        for (uint32_t k = 0; k < 10 * SLOTS; k++) {
            CHECK(carry(ring, lengths[i] + k) == places[k % SLOTS]);
        }
        CHECK(carry(ring, 2 * lengths[i]) != places[0]);
        CHECK_EQ(blocks_in_use(region), blocks);
        (void)carry(ring, 1);
        CHECK_EQ(blocks_in_use(region), blocks - 1);
        (void)carry(ring, lengths[i]);
        (void)carry(ring, lengths[i]);
    }
    cshm_ring_destroy(ring);
    cshm_region_close(region);
}

static void slot_sizes(void)
{
    static const uint32_t sizes[] = {1, 8, 9, 24, 25, 56, 57, 64, 120, 121, 240, 4096, 65536};
    cshm_region *region = make_region(8u << 20);
    uint64_t before = blocks_in_use(region);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        cshm_ring *ring = NULL;
        uint64_t offset = 0;
        CHECK_EQ(cshm_ring_create(region, 4, sizes[i], &offset), 0);
        CHECK_EQ(cshm_ring_open(region, offset, &ring), 0);
        CHECK_EQ(cshm_ring_become_producer(ring), 0);
        CHECK_EQ(cshm_ring_become_consumer(ring), 0);
        for (uint32_t round = 0; round < 5; round++) {
            for (uint32_t j = 0; j < 4; j++) {
                void *room = NULL;
                CHECK_EQ(cshm_ring_try_claim(ring, sizes[i], &room), 0);
                CHECK_EQ((uintptr_t)room % (sizes[i] <= 8 ? 8 : 16), 0);
                memset(room, (int)(round * 4 + j), sizes[i]);
                cshm_ring_commit(ring);
            }
            CHECK_EQ(blocks_in_use(region), before + 1);
            for (uint32_t j = 0; j < 4; j++) {
                const void *data = NULL;
                uint64_t length = 0;
                CHECK_EQ(cshm_ring_try_peek(ring, &data, &length), 0);
                CHECK_EQ(length, sizes[i]);
                for (uint32_t k = 0; k < sizes[i]; k++) {
                    CHECK_EQ(((const uint8_t *)data)[k], round * 4 + j);
                }
                cshm_ring_release(ring);
            }
        }
        cshm_ring_destroy(ring);
    }
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void batches(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    cshm_ring *ring = make_both_ends(region, 16, &offset);
    uint64_t in[24];
    uint64_t out[24] = {0};
    uint64_t length = 0;
    const void *data = NULL;
    void *room = NULL;
    CHECK_EQ(cshm_ring_try_put_many(ring, in, 8, 0), -EINVAL);
    CHECK_EQ(cshm_ring_try_get_many(ring, out, 8, 0), -EINVAL);
    CHECK_EQ(cshm_ring_try_get_many(ring, out, 8, 4), -EAGAIN);
    CHECK_EQ(cshm_ring_try_claim_at(ring, 16, 8, &room), -EINVAL);
    for (uint64_t round = 0; round < 50; round++) {
        for (uint64_t i = 0; i < 24; i++) {
            in[i] = round * 100 + i;
        }
        CHECK_EQ(cshm_ring_try_put_many(ring, in, 8, 3), 3);
        CHECK_EQ(cshm_ring_try_put_many(ring, &in[3], 8, 21), 13);
        CHECK_EQ(cshm_ring_try_put_many(ring, in, 8, 1), -EAGAIN);
        CHECK_EQ(cshm_ring_count(ring), 16);
        CHECK_EQ(cshm_ring_try_get_many(ring, out, 16, 24), -EMSGSIZE);
        CHECK_EQ(cshm_ring_try_get_many(ring, out, 8, 5), 5);
        CHECK_EQ(cshm_ring_try_get_many(ring, &out[5], 8, 24), 11);
        CHECK_EQ(memcmp(in, out, 16 * 8), 0);

        /* In place, of any length, one of them in a block; nothing is there before the commit. */
        for (uint32_t i = 0; i < 5; i++) {
            CHECK_EQ(cshm_ring_try_claim_at(ring, i, i == 3 ? 1000 : i + 1, &room), 0);
            memset(room, (int)(round + i), i == 3 ? 1000 : i + 1);
            CHECK_EQ(cshm_ring_try_peek(ring, &data, &length), -EAGAIN);
            CHECK_EQ(cshm_ring_count(ring), 0);
        }
        cshm_ring_commit_many(ring, 5);
        CHECK_EQ(cshm_ring_count(ring), 5);
        CHECK_EQ(cshm_ring_try_peek_at(ring, 2, &data, &length), -EINVAL);
        for (uint32_t i = 0; i < 5; i++) {
            CHECK_EQ(cshm_ring_try_peek_at(ring, i, &data, &length), 0);
            CHECK_EQ(length, i == 3 ? 1000 : i + 1);
            CHECK_EQ(((const uint8_t *)data)[length - 1], (uint8_t)(round + i));
        }
        CHECK_EQ(cshm_ring_try_peek_at(ring, 5, &data, &length), -EAGAIN);
        cshm_ring_release_many(ring, 2);
        CHECK_EQ(cshm_ring_try_peek(ring, &data, &length), 0);
        CHECK_EQ(length, 3);
        cshm_ring_release_many(ring, 3);
        CHECK_EQ(cshm_ring_count(ring), 0);
    }
    CHECK_EQ(cshm_ring_try_put(ring, in, 40), 0);
    CHECK_EQ(cshm_ring_try_get(ring, out, 39, &length), -EMSGSIZE);
    CHECK_EQ(cshm_ring_try_get(ring, out, 40, &length), 0);
    CHECK_EQ(length, 40);
    cshm_ring_destroy(ring);
    cshm_region_close(region);
}

static void roles(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    uint64_t value = 7;
    const void *data = NULL;
    uint64_t length = 0;
    cshm_ring *first = make_ring(region, 4, &offset);
    cshm_ring *second = NULL;
    CHECK_EQ(cshm_ring_open(region, offset, &second), 0);
    CHECK_EQ(cshm_ring_try_put(first, &value, 8), -EPERM);
    CHECK_EQ(cshm_ring_put_until(first, &value, 8, 0), -EPERM);
    CHECK_EQ(cshm_ring_try_peek(first, &data, &length), -EPERM);
    CHECK_EQ(cshm_ring_finish(first), -EPERM);
    CHECK_EQ(cshm_ring_become_producer(first), 0);
    CHECK_EQ(cshm_ring_become_producer(first), -EALREADY);
    CHECK_EQ(cshm_ring_become_producer(second), -EBUSY);
    CHECK_EQ(cshm_ring_become_consumer(second), 0);
    CHECK_EQ(cshm_ring_become_consumer(first), -EBUSY);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(cshm_ring_try_put(first, &value, 8), 0);
    }
    cshm_ring_close(first); /* not the end of the stream */
    CHECK_EQ(cshm_ring_get_until(second, &value, 8, &length, 0), 0);
    CHECK_EQ(cshm_ring_become_producer(second), 0);
    CHECK_EQ(cshm_ring_count(second), 2);
    CHECK_EQ(cshm_ring_try_put(second, &value, 8), 0);

    pid_t child = fork(); /* its parent's handles and roles are not its own */
    if (child == 0) {
        bool refused = cshm_ring_try_put(second, &value, 8) == -EPERM &&
                       cshm_ring_try_peek(second, &data, &length) == -EPERM &&
                       cshm_ring_become_producer(second) == -ECHILD;
        cshm_ring_close(second);
        _exit(refused ? 0 : 1);
    }
    expect_success(child);
    CHECK_EQ(cshm_ring_try_put(second, &value, 8), 0);
    CHECK_EQ(cshm_ring_try_put(second, &value, 8), -EAGAIN);
    cshm_ring_destroy(second);
    cshm_region_close(region);
}

static void ends(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    uint64_t value = 7;
    uint64_t length = 0;
    cshm_ring *ring = make_both_ends(region, 4, &offset);
    CHECK_EQ(cshm_ring_try_put(ring, &value, 8), 0);
    CHECK_EQ(cshm_ring_finish(ring), 0);
    CHECK_EQ(cshm_ring_finish(ring), 0);
    CHECK_EQ(cshm_ring_try_put(ring, &value, 8), -EPIPE);
    CHECK_EQ(cshm_ring_put_until(ring, &value, 8, after(SECOND)), -EPIPE);
    CHECK_EQ(cshm_ring_get_until(ring, &value, 8, &length, after(SECOND)), 0);
    CHECK_EQ(cshm_ring_get_until(ring, &value, 8, &length, after(SECOND)), -EPIPE);
    CHECK_EQ(cshm_ring_try_get(ring, &value, 8, &length), -EPIPE);
    cshm_ring_destroy(ring);
    ring = make_both_ends(region, 4, &offset);
    CHECK_EQ(cshm_ring_try_put(ring, &value, 8), 0);
    cshm_ring_cancel(ring);
    CHECK_EQ(cshm_ring_finish(ring), 0);
    CHECK_EQ(cshm_ring_try_put(ring, &value, 8), -ECANCELED);
    CHECK_EQ(cshm_ring_try_get(ring, &value, 8, &length), -ECANCELED);
    CHECK_EQ(cshm_ring_put_until(ring, &value, 8, after(SECOND)), -ECANCELED);
    CHECK_EQ(cshm_ring_get_until(ring, &value, 8, &length, after(SECOND)), -ECANCELED);
    cshm_ring_destroy(ring);
    cshm_region_close(region);
}

enum { MESSAGES = 1000000 };

static void put_all(cshm_region *region, void *context)
{
    cshm_ring *ring = NULL;
    if (cshm_ring_open(region, *(uint64_t *)context, &ring) != 0 ||
        cshm_ring_become_producer(ring) != 0) {
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
    CHECK_EQ(cshm_ring_become_consumer(ring), 0);
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
    if (cshm_ring_open(region, hold->offset, &ring) != 0 || cshm_ring_become_consumer(ring) != 0 ||
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
    CHECK_EQ(cshm_ring_become_producer(ring), 0);
    char text[3][100] = {"first", "second", "third"};
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(cshm_ring_try_put(ring, text[i], 100), 0);
    }
    pid_t child = spawn(region, peek_and_hang, hold);
    wait_until_set(&hold->ready, 1);
    CHECK_EQ(cshm_ring_become_consumer(ring), -EBUSY);
    kill_child(child);
    CHECK_EQ(cshm_ring_become_consumer(ring), 1);
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

/* ---- the other side is killed or stopped ---- */

struct end {
    _Atomic uint32_t ready;
    uint64_t offset;
    bool producer;
};

static void act_and_hang(cshm_region *region, void *context)
{
    struct end *end = context;
    cshm_ring *ring = NULL;
    uint64_t value = 1;
    bool ok = cshm_ring_open(region, end->offset, &ring) == 0;
    if (end->producer) {
        ok = ok && cshm_ring_become_producer(ring) == 0;
        for (; ok && value <= 3; value++) {
            ok = cshm_ring_try_put(ring, &value, 8) == 0;
        }
        /* Claimed and never put, in a block and as a batch. */
        void *room = NULL;
        ok = ok && cshm_ring_try_claim_at(ring, 0, 1000, &room) == 0 &&
             cshm_ring_try_claim_at(ring, 1, 1000, &room) == 0;
    } else {
        ok = ok && cshm_ring_become_consumer(ring) == 0;
    }
    atomic_store(&end->ready, 1);
    for (; ok;) {
        pause();
    }
    _exit(1);
}

static void *kill_soon(void *child)
{
    usleep(60000);
    kill(*(pid_t *)child, SIGKILL);
    return NULL;
}

static void dead_producer(void)
{
    cshm_region *region = make_region(4u << 20);
    struct end *end = shared_memory(sizeof *end);
    uint64_t value = 0;
    uint64_t length = 0;
    end->producer = true;
    cshm_ring *ring = make_ring(region, 8, &end->offset);
    uint64_t blocks = blocks_in_use(region);
    CHECK_EQ(cshm_ring_become_consumer(ring), 0);
    pid_t child = spawn(region, act_and_hang, end);
    wait_until_set(&end->ready, 1);
    CHECK_EQ(cshm_ring_become_producer(ring), -EBUSY);
    stop_child(child);
    for (uint64_t i = 1; i <= 3; i++) {
        CHECK_EQ(cshm_ring_get_until(ring, &value, 8, &length, after(SECOND)), 0);
        CHECK_EQ(value, i);
    }
    CHECK_EQ(cshm_ring_get_until(ring, &value, 8, &length, after(60 * MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(cshm_ring_become_producer(ring), -EBUSY); /* stopped is not dead */
    pthread_t killer;
    CHECK_EQ(pthread_create(&killer, NULL, kill_soon, &child), 0);
    CHECK_EQ(cshm_ring_get_until(ring, &value, 8, &length, after(30 * SECOND)), -EPIPE);
    CHECK_EQ(pthread_join(killer, NULL), 0);
    kill_child(child);
    CHECK_EQ(cshm_ring_try_get(ring, &value, 8, &length), -EAGAIN);
    CHECK_EQ(cshm_ring_get_until(ring, &value, 8, &length, 0), -EPIPE);
    struct cshm_waitable items;
    cshm_ring_items(ring, &items);
    CHECK_EQ(cshm_wait_any(&items, 1, after(SECOND)), 0);

    CHECK_EQ(cshm_ring_become_producer(ring), 1);
    CHECK_EQ(cshm_wait_any(&items, 1, after(MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(cshm_ring_try_put(ring, &(uint64_t){4}, 8), 0);
    CHECK_EQ(cshm_ring_count(ring), 1); /* and not what the dead one had only claimed */
    CHECK_EQ(cshm_ring_get_until(ring, &value, 8, &length, after(SECOND)), 0);
    CHECK_EQ(value, 4);
    CHECK_EQ(cshm_ring_get_until(ring, &value, 8, &length, after(MILLISECOND)), -ETIMEDOUT);
    (void)cshm_region_reap(region);
    CHECK_EQ(blocks_in_use(region), blocks);
    cshm_ring_destroy(ring);
    cshm_region_close(region);
}

static void dead_consumer(void)
{
    cshm_region *region = make_region(4u << 20);
    struct end *end = shared_memory(sizeof *end);
    uint64_t value = 0;
    cshm_ring *ring = make_ring(region, 4, &end->offset);
    CHECK_EQ(cshm_ring_become_producer(ring), 0);
    pid_t child = spawn(region, act_and_hang, end);
    wait_until_set(&end->ready, 1);
    stop_child(child);
    for (; value < 4; value++) {
        CHECK_EQ(cshm_ring_put_until(ring, &value, 8, after(SECOND)), 0);
    }
    CHECK_EQ(cshm_ring_put_until(ring, &value, 8, after(60 * MILLISECOND)), -ETIMEDOUT);
    pthread_t killer;
    CHECK_EQ(pthread_create(&killer, NULL, kill_soon, &child), 0);
    CHECK_EQ(cshm_ring_put_until(ring, &value, 8, after(30 * SECOND)), -EPIPE);
    CHECK_EQ(pthread_join(killer, NULL), 0);
    kill_child(child);
    struct cshm_waitable room;
    cshm_ring_room(ring, &room);
    CHECK_EQ(cshm_wait_any(&room, 1, after(SECOND)), 0);
    CHECK_EQ(cshm_ring_become_consumer(ring), 1);
    CHECK_EQ(cshm_wait_any(&room, 1, after(MILLISECOND)), -ETIMEDOUT);
    for (uint64_t i = 0; i < 4; i++) {
        CHECK_EQ(peek_number(ring), i);
        cshm_ring_release(ring);
    }
    CHECK_EQ(cshm_ring_put_until(ring, &value, 8, after(SECOND)), 0);
    cshm_ring_destroy(ring);
    cshm_region_close(region);
}

/* ---- both sides are killed, again and again ---- */

enum { CRASH_IDS = 1 << 26, CRASH_S = 6, BATCH = 8 };

struct crash {
    uint64_t offset;
    uint64_t seed;
    _Atomic uint32_t stop;
    _Atomic uint64_t next;  /* the first id that no batch has */
    _Atomic uint64_t ended; /* batches put, and messages released */
    _Atomic uint64_t last;  /* the last id taken: written before it is released */
    _Atomic uint64_t again; /* messages taken twice */
    _Atomic uint8_t acknowledged[CRASH_IDS];
    _Atomic uint8_t taken[CRASH_IDS];
};

struct note {
    uint64_t id;
    uint64_t first; /* of its batch */
    uint64_t count;
    uint64_t check;
    uint64_t filler[32]; /* of long ones */
};

static uint64_t length_of(uint64_t id)
{
    return id % 7 == 0 ? sizeof(struct note) : offsetof(struct note, filler);
}

/* Busy for a moment, if the other newcomer is just taking over the dead one's entry. */
static bool take_over(cshm_ring *ring, int (*become)(cshm_ring *))
{
    int64_t end = after(20 * SECOND);
    int status = -EBUSY;
    while (status == -EBUSY && cshm_now_ns() < end) {
        status = become(ring);
    }
    return status >= 0;
}

static void put_batches(cshm_region *region, void *context)
{
    struct crash *crash = context;
    uint64_t random = atomic_load(&crash->next) + crash->seed;
    cshm_ring *ring = NULL;
    REQUIRE(cshm_ring_open(region, crash->offset, &ring) == 0);
    REQUIRE(take_over(ring, cshm_ring_become_producer));
    while (atomic_load(&crash->stop) == 0) {
        uint64_t count = 1 + next_random(&random) % BATCH;
        uint64_t first = atomic_fetch_add(&crash->next, count);
        REQUIRE(first + count < CRASH_IDS);
        for (uint32_t i = 0; i < count && atomic_load(&crash->stop) == 0;) {
            void *room = NULL;
            int status = cshm_ring_try_claim_at(ring, i, length_of(first + i), &room);
            REQUIRE(status == 0 || status == -EAGAIN);
            if (status == 0) {
                struct note *note = room;
                note->id = first + i;
                note->first = first;
                note->count = count;
                note->check = ~note->id;
                if (length_of(note->id) == sizeof *note) {
                    note->filler[31] = note->id;
                }
                i++;
            } else {
                sched_yield();
            }
        }
        if (atomic_load(&crash->stop) == 0) {
            cshm_ring_commit_many(ring, (uint32_t)count);
            for (uint64_t i = first; i < first + count; i++) {
                atomic_store(&crash->acknowledged[i], 1);
            }
            atomic_fetch_add(&crash->ended, 1);
        }
    }
    cshm_ring_close(ring);
}

/* One message; `*left` are those still to come of its batch, or more than a batch: not known. */
static bool note_is_right(struct crash *crash, const void *data, uint64_t length, bool is_first,
                          uint64_t *left)
{
    const struct note *note = data;
    uint64_t last = atomic_load(&crash->last);
    bool right = note->check == ~note->id && length == length_of(note->id) &&
                 note->id - note->first < note->count && note->count <= BATCH &&
                 (length < sizeof *note || note->filler[31] == note->id);
    /* In order, once; or the one that the last consumer was killed with. */
    right = right && (note->id > last || (is_first && note->id == last));
    /* A batch is put as a whole. */
    right = right && (*left == 0 ? note->id == note->first : true);
    right = right && (*left == 0 || *left > BATCH || note->id == last + 1 || note->id == last);
    *left = note->count - 1 - (note->id - note->first);
    return right;
}

static void take_notes(cshm_region *region, void *context)
{
    struct crash *crash = context;
    cshm_ring *ring = NULL;
    bool is_first = true;
    uint64_t left = BATCH + 1;
    REQUIRE(cshm_ring_open(region, crash->offset, &ring) == 0);
    REQUIRE(take_over(ring, cshm_ring_become_consumer));
    while (atomic_load(&crash->stop) == 0) {
        const void *data = NULL;
        uint64_t length = 0;
        int status = cshm_ring_peek_until(ring, &data, &length, after(20 * MILLISECOND));
        if (status == -ETIMEDOUT || status == -EPIPE) { /* the producer was killed */
            continue;
        }
        REQUIRE(status == 0);
        REQUIRE(note_is_right(crash, data, length, is_first, &left));
        uint64_t id = ((const struct note *)data)->id;
        is_first = false;
        atomic_store(&crash->last, id);
        if (atomic_fetch_add(&crash->taken[id], 1) != 0) {
            atomic_fetch_add(&crash->again, 1);
        }
        cshm_ring_release(ring);
        atomic_fetch_add(&crash->ended, 1);
    }
    cshm_ring_close(ring);
}

static void crash(void)
{
    static void (*const bodies[2])(cshm_region *, void *) = {put_batches, take_notes};
    struct crash *crash = shared_memory(sizeof *crash);
    cshm_region *region = make_region(16u << 20);
    uint64_t random = crash->seed = make_seed();
    uint64_t before = blocks_in_use(region);
    uint64_t kills = 0;
    uint64_t seen = 0;
    int64_t seen_at = cshm_now_ns();
    pid_t children[2];
    cshm_ring *ring = NULL;
    atomic_store(&crash->next, 1);
    CHECK_EQ(cshm_ring_create(region, 16, 32, &crash->offset), 0);
    CHECK_EQ(cshm_heap_share(region, crash->offset), 0);
    for (uint32_t i = 0; i < 2; i++) {
        children[i] = spawn(region, bodies[i], crash);
    }
    for (int64_t end = after(CRASH_S * SECOND);
         (cshm_now_ns() < end || kills <= 1000) && atomic_load(&crash->next) < CRASH_IDS / 2;) {
        uint32_t victim = (uint32_t)(next_random(&random) % 2);
        usleep((useconds_t)(next_random(&random) % 600));
        kill_child(children[victim]);
        kills++;
        children[victim] = spawn(region, bodies[victim], crash);
        if (atomic_load(&crash->ended) != seen) {
            seen = atomic_load(&crash->ended);
            seen_at = cshm_now_ns();
        }
        CHECK(cshm_now_ns() - seen_at < 20 * SECOND);
    }
    atomic_store(&crash->stop, 1);
    for (uint32_t i = 0; i < 2; i++) {
        expect_success(children[i]);
    }

    CHECK_EQ(cshm_ring_open(region, crash->offset, &ring), 0);
    CHECK(cshm_ring_become_producer(ring) >= 0);
    CHECK(cshm_ring_become_consumer(ring) >= 0);
    CHECK_EQ(cshm_ring_finish(ring), 0);
    uint64_t count = cshm_ring_count(ring);
    const void *data = NULL;
    uint64_t length = 0;
    uint64_t left = BATCH + 1;
    bool is_first = true;
    int status;
    while ((status = cshm_ring_try_peek(ring, &data, &length)) == 0) {
        CHECK(note_is_right(crash, data, length, is_first, &left));
        uint64_t id = ((const struct note *)data)->id;
        is_first = false;
        atomic_store(&crash->last, id);
        atomic_fetch_add(&crash->taken[id], 1);
        cshm_ring_release(ring);
        count--;
    }
    CHECK_EQ(status, -EPIPE);
    CHECK_EQ(count, 0);
    CHECK(left == 0 || left > BATCH);
    for (uint64_t id = 1; id < atomic_load(&crash->next); id++) {
        CHECK(crash->acknowledged[id] == 0 || crash->taken[id] >= 1);
    }
    fprintf(stderr, "%llu kills, %llu operations, %llu given again\n", (unsigned long long)kills,
            (unsigned long long)seen, (unsigned long long)atomic_load(&crash->again));
    CHECK(kills > 1000);
    CHECK(atomic_load(&crash->again) <= kills);
    cshm_ring_destroy(ring);
    (void)cshm_region_reap(region);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

const struct test ring_tests[] = {
    {"is_first_in_first_out_and_full_at_exactly_its_capacity", fifo},
    {"carries_long_messages_in_place", long_messages},
    {"uses_the_blocks_of_long_messages_again", blocks_again},
    {"keeps_messages_of_every_slot_size_apart", slot_sizes},
    {"puts_and_takes_batches_as_a_whole", batches},
    {"gives_each_role_to_one_at_a_time_and_none_to_a_forked_process", roles},
    {"finishes_and_is_cancelled", ends},
    {"carries_a_million_messages_between_processes_in_order", two_processes},
    {"gives_the_successor_of_a_killed_consumer_the_same_message", successor},
    {"ends_when_its_producer_is_killed_not_when_it_is_stopped", dead_producer},
    {"refuses_to_wait_for_a_killed_consumer_not_for_a_stopped_one", dead_consumer},
    {"crash_of_either_side_loses_no_message_and_tears_no_batch", crash},
    {NULL, NULL},
};
