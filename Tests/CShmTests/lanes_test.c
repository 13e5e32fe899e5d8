/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/lanes.h.
 */
#include "support.h"

#include <pthread.h>
#include <sched.h>

#include <cshm/lanes.h>

extern const struct test lanes_tests[];

enum { TAG = 17 };

static cshm_lanes *make_lanes(cshm_region *region, uint32_t capacity, uint32_t producers,
                              uint64_t *offset)
{
    struct cshm_lanes_options options = {.capacity = capacity,
                                         .slot_size = 24,
                                         .producers = producers,
                                         .budget = 3,
                                         .type_tag = TAG};
    cshm_lanes *lanes = NULL;
    CHECK_EQ(cshm_lanes_create(region, &options, offset), 0);
    CHECK_EQ(cshm_heap_share(region, *offset), 0);
    CHECK_EQ(cshm_lanes_open(region, *offset, TAG, &lanes), 0);
    return lanes;
}

static cshm_lane *join(cshm_lanes *lanes)
{
    cshm_lane *lane = NULL;
    CHECK_EQ(cshm_lanes_join(lanes, &lane), 0);
    return lane;
}

static void put_number(cshm_lane *lane, uint64_t number)
{
    CHECK_EQ(cshm_lane_try_put(lane, &number, 8), 0);
}

static void expect_number(cshm_lanes *lanes, uint64_t number)
{
    struct cshm_lanes_message message;
    for (int again = 0; again < 2; again++) {
        CHECK_EQ(cshm_lanes_try_peek(lanes, &message), 0);
        CHECK_EQ(message.length, 8);
        CHECK_EQ(*(const uint64_t *)message.data, number);
    }
    cshm_lanes_release(lanes);
}

static int peek_status(cshm_lanes *lanes)
{
    struct cshm_lanes_message message;
    return cshm_lanes_try_peek(lanes, &message);
}

static void fifo(void)
{
    cshm_region *region = make_region(8u << 20);
    uint64_t before = blocks_in_use(region);
    for (uint32_t capacity = 2; capacity <= 64; capacity *= 2) {
        uint64_t offset = 0;
        cshm_lanes *lanes = make_lanes(region, capacity, 4, &offset);
        CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
        CHECK_EQ(cshm_lanes_become_consumer(lanes), -EALREADY);
        CHECK_EQ(cshm_lanes_capacity(lanes), capacity);
        CHECK_EQ(peek_status(lanes), -EAGAIN);
        cshm_lane *lane[2] = {join(lanes), join(lanes)};
        for (uint64_t round = 0; round < 20; round++) {
            for (uint64_t i = 0; i < capacity; i++) {
                put_number(lane[0], i);
                put_number(lane[1], 1000 + i);
                CHECK_EQ(cshm_lanes_count(lanes), 2 * i + 2);
            }
            CHECK_EQ(cshm_lane_try_put(lane[0], &round, 8), -EAGAIN);
            CHECK_EQ(cshm_lane_try_put(lane[1], &round, 8), -EAGAIN);
            uint64_t next[2] = {0, 0};
            for (uint64_t i = 0; i < 2ull * capacity; i++) {
                struct cshm_lanes_message message;
                CHECK_EQ(cshm_lanes_try_peek(lanes, &message), 0);
                CHECK(message.lane < 2);
                CHECK_EQ(*(const uint64_t *)message.data, 1000 * message.lane + next[message.lane]);
                next[message.lane]++;
                cshm_lanes_release(lanes);
            }
            CHECK_EQ(peek_status(lanes), -EAGAIN);
            CHECK_EQ(cshm_lanes_count(lanes), 0);
        }
        cshm_lane_leave(lane[0]);
        cshm_lane_leave(lane[1]);
        cshm_lanes_destroy(lanes);
        CHECK_EQ(blocks_in_use(region), before);
    }
    cshm_region_close(region);
}

static void fair(void)
{
    cshm_region *region = make_region(8u << 20);
    uint64_t offset = 0;
    cshm_lanes *lanes = make_lanes(region, 64, 100, &offset);
    cshm_lane *lane[100];
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    for (uint64_t i = 0; i < 100; i++) {
        lane[i] = join(lanes);
    }
    for (uint64_t i = 0; i < 100; i += 33) { /* 0, 33, 66, 99 */
        for (uint64_t n = 0; n < 7; n++) {
            put_number(lane[i], 100 * i + n);
        }
    }
    static const uint64_t budgets[] = {3, 3, 1};
    uint64_t first = 0;
    for (int round = 0; round < 3; first += budgets[round], round++) {
        for (uint64_t i = 0; i < 4; i++) { /* the round begins after the first lane */
            uint64_t from = (i + 1) % 4 * 33;
            for (uint64_t n = 0; n < budgets[round]; n++) {
                expect_number(lanes, 100 * from + first + n);
            }
        }
    }
    CHECK_EQ(peek_status(lanes), -EAGAIN);
    for (uint64_t i = 0; i < 100; i++) {
        cshm_lane_leave(lane[i]);
    }
    cshm_lanes_close(lanes);
    cshm_region_close(region);
}

static void idle(void)
{
    cshm_region *region = make_region(8u << 20);
    uint64_t offset = 0;
    cshm_lanes *lanes = make_lanes(region, 8, 70, &offset);
    cshm_lane *lane[70];
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    for (int i = 0; i < 70; i++) {
        lane[i] = join(lanes);
    }
    for (uint64_t round = 0; round < 10; round++) {
        for (int i = 0; i < 3000; i++) { /* long enough for bits to be cleared */
            CHECK_EQ(peek_status(lanes), -EAGAIN);
        }
        put_number(lane[round * 7], round);
        put_number(lane[69 - round], round);
        expect_number(lanes, round);
        expect_number(lanes, round);
    }
    for (int i = 0; i < 70; i++) {
        cshm_lane_leave(lane[i]);
    }
    cshm_lanes_close(lanes);
    cshm_region_close(region);
}

static void recycles(void)
{
    cshm_region *region = make_region(8u << 20);
    uint64_t offset = 0;
    cshm_lanes *lanes = make_lanes(region, 8, 2, &offset);
    cshm_lane *lane[2];
    cshm_lane *none = NULL;
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    lane[0] = join(lanes);
    lane[1] = join(lanes);
    CHECK_EQ(cshm_lanes_join(lanes, &none), -EUSERS);
    uint64_t before = blocks_in_use(region);
    for (uint64_t round = 0; round < 50; round++) {
        put_number(lane[0], round);
        cshm_lane_leave(lane[0]);
        CHECK_EQ(cshm_lanes_join(lanes, &none), -EUSERS); /* it is not drained */
        expect_number(lanes, round);
        if (round % 2 == 0) {
            CHECK_EQ(peek_status(lanes), -EAGAIN);
        }
        lane[0] = join(lanes);
    }
    CHECK_EQ(blocks_in_use(region), before);
    cshm_lane_leave(lane[0]);
    cshm_lane_leave(lane[1]);
    cshm_lanes_close(lanes);
    cshm_region_close(region);
}

static void long_messages(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    uint64_t before = blocks_in_use(region);
    static uint8_t bytes[100000];
    static uint8_t copy[100000];
    cshm_lanes *lanes = make_lanes(region, 4, 2, &offset);
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    cshm_lane *lane = join(lanes);
    uint64_t length = 0;
    for (uint64_t size = 0; size < sizeof bytes; size = size * 2 + 1) {
        for (uint32_t i = 0; i < 10; i++) {
            void *place = NULL;
            struct cshm_lanes_message message;
            CHECK_EQ(cshm_lane_try_claim(lane, 50000, &place), 0); /* replaced */
            CHECK_EQ(cshm_lane_try_claim(lane, size, &place), 0);
            memset(place, (int)i, size);
            CHECK_EQ(cshm_lane_commit(lane), 0);
            CHECK_EQ(cshm_lanes_try_peek(lanes, &message), 0);
            CHECK(message.length == size && message.data == place);
            if (size > 0) {
                CHECK_EQ(cshm_lanes_try_get(lanes, copy, size - 1, &length), -EMSGSIZE);
            }
            CHECK_EQ(cshm_lanes_get_until(lanes, copy, sizeof copy, &length, 0), 0);
            CHECK(length == size && (size == 0 || copy[size - 1] == i));
        }
    }
    CHECK_EQ(cshm_lane_try_put(lane, bytes, 1ull << 40), -ENOSPC);
    CHECK_EQ(cshm_lane_try_put(lane, bytes, 5000), 0);
    cshm_lane_leave(lane);
    cshm_lanes_destroy(lanes);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void batches(void)
{
    cshm_region *region = make_region(8u << 20);
    uint64_t offset = 0;
    cshm_lanes *lanes = make_lanes(region, 8, 2, &offset);
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    cshm_lane *lane = join(lanes);
    struct cshm_lanes_message messages[16];
    uint64_t numbers[16];
    for (uint64_t i = 0; i < 16; i++) {
        numbers[i] = i;
    }
    CHECK_EQ(cshm_lane_try_put_many(lane, numbers, 8, 0), -EINVAL);
    CHECK_EQ(cshm_lane_try_put_many(lane, numbers, 8, 16), 8);
    CHECK_EQ(cshm_lane_try_put_many(lane, numbers, 8, 16), -EAGAIN);
    CHECK_EQ(cshm_lanes_try_peek_many(lanes, messages, 0), -EINVAL);
    CHECK_EQ(cshm_lanes_try_peek_many(lanes, messages, 2), 2);
    CHECK_EQ(cshm_lanes_try_peek_many(lanes, messages, 16), 3); /* the budget */
    for (uint64_t i = 0; i < 3; i++) {
        CHECK_EQ(*(const uint64_t *)messages[i].data, i);
    }
    cshm_lanes_release_many(lanes, 2);
    expect_number(lanes, 2);
    CHECK_EQ(cshm_lanes_try_peek_many(lanes, messages, 16), 3);
    cshm_lanes_release_many(lanes, 100); /* no more than what was given */
    CHECK_EQ(cshm_lanes_count(lanes), 2);
    expect_number(lanes, 6);
    expect_number(lanes, 7);
    void *place[4];
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_EQ(cshm_lane_try_claim_at(lane, i, 8, &place[i]), 0);
        *(uint64_t *)place[i] = 20 + i;
    }
    CHECK_EQ(cshm_lane_try_claim_at(lane, 8, 8, &place[0]), -EINVAL);
    CHECK_EQ(cshm_lane_commit_many(lane, 0), -EINVAL);
    CHECK_EQ(cshm_lane_commit_many(lane, 9), -EINVAL);
    CHECK_EQ(peek_status(lanes), -EAGAIN);
    CHECK_EQ(cshm_lane_commit_many(lane, 4), 4);
    for (uint64_t i = 0; i < 4; i++) {
        expect_number(lanes, 20 + i);
    }
    cshm_lane_leave(lane);
    cshm_lanes_close(lanes);
    cshm_region_close(region);
}

static void refuses(void)
{
    cshm_region *region = make_region(64u << 20);
    uint64_t offset = 0;
    uint64_t none = 0;
    cshm_lanes *lanes = make_lanes(region, 4, 1024, &offset);
    cshm_lanes *other = NULL;
    struct cshm_lanes_options good = {.capacity = 4, .slot_size = 16};
    struct cshm_lanes_options bad[] = {good, good, good, good, good};
    bad[0].capacity = 3;
    bad[1].capacity = 1u << 21;
    bad[2].slot_size = 0;
    bad[3].slot_size = 65537;
    bad[4].producers = 1025;
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(cshm_lanes_create(region, &bad[i], &none), -EINVAL);
    }
    CHECK_EQ(cshm_lanes_open(region, offset, TAG + 1, &other), -EPROTO);
    CHECK_EQ(cshm_lanes_open(region, offset + 128, TAG, &other), -EPROTO);
    CHECK_EQ(cshm_lanes_open(region, 0, TAG, &other), -EPROTO);
    CHECK_EQ(cshm_lanes_open(region, offset, TAG, &other), 0);
    CHECK_EQ(peek_status(lanes), -EPERM);
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    CHECK_EQ(cshm_lanes_become_consumer(other), -EBUSY);
    CHECK_EQ(peek_status(other), -EPERM);
    static cshm_lane *lane[1025];
    for (uint64_t i = 0; i < 1024; i++) {
        lane[i] = join(other);
        put_number(lane[i], i);
    }
    CHECK_EQ(cshm_lanes_join(lanes, &lane[1024]), -EUSERS);
    for (uint64_t i = 0; i < 512; i++) {
        expect_number(lanes, i + 1);
    }
    cshm_lanes_close(lanes); /* and with it the role */
    CHECK_EQ(cshm_lanes_open(region, offset, TAG, &lanes), 0);
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    for (uint64_t i = 512; i < 1024; i++) {
        expect_number(lanes, (i + 1) % 1024);
    }
    CHECK_EQ(peek_status(lanes), -EAGAIN);
    for (int i = 0; i < 1024; i++) {
        cshm_lane_leave(lane[i]);
    }
    CHECK_EQ(peek_status(lanes), -EPIPE);
    cshm_lanes_close(lanes);
    cshm_lanes_close(other);
    cshm_region_close(region);
}

static void ends(void)
{
    cshm_region *region = make_region(8u << 20);
    uint64_t offset = 0;
    void *place = NULL;
    cshm_lane *other = NULL;
    cshm_lanes *lanes = make_lanes(region, 4, 4, &offset);
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    CHECK_EQ(peek_status(lanes), -EAGAIN); /* no producer yet is not the end */
    cshm_lane *lane = join(lanes);
    put_number(lane, 1);
    CHECK_EQ(cshm_lane_try_claim(lane, 8, &place), 0);
    cshm_lanes_finish(lanes);
    cshm_lanes_finish(lanes);
    *(uint64_t *)place = 2;
    CHECK_EQ(cshm_lane_try_put(lane, place, 8), -EPIPE);
    CHECK_EQ(cshm_lane_commit(lane), 0); /* was claimed before; it is before the end */
    CHECK_EQ(cshm_lane_try_claim(lane, 8, &place), -EPIPE);
    CHECK_EQ(cshm_lanes_join(lanes, &other), -EPIPE);
    expect_number(lanes, 1);
    expect_number(lanes, 2);
    CHECK_EQ(peek_status(lanes), -EPIPE);
    CHECK_EQ(peek_status(lanes), -EPIPE);
    cshm_lane_leave(lane);
    cshm_lanes_close(lanes);

    lanes = make_lanes(region, 4, 4, &offset);
    cshm_lanes *view = NULL;
    CHECK_EQ(cshm_lanes_open(region, offset, TAG, &view), 0);
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    lane = join(view);
    put_number(lane, 1);
    CHECK_EQ(cshm_lane_try_claim(lane, 8, &place), 0);
    cshm_lanes_finish(lanes);
    expect_number(lanes, 1);
    CHECK_EQ(peek_status(lanes), -EPIPE);
    CHECK_EQ(cshm_lane_commit(lane), -EPIPE); /* too late */
    CHECK_EQ(peek_status(lanes), -EPIPE);
    cshm_lanes_close(lanes);
    CHECK_EQ(cshm_lanes_open(region, offset, TAG, &lanes), 0);
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    CHECK_EQ(peek_status(lanes), -EPIPE); /* nor does a successor see it */
    cshm_lane_leave(lane);
    cshm_lanes_close(lanes);
    cshm_lanes_close(view);

    lanes = make_lanes(region, 4, 4, &offset);
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    lane = join(lanes);
    other = join(lanes);
    put_number(lane, 7);
    cshm_lane_leave(lane);
    expect_number(lanes, 7);
    CHECK_EQ(peek_status(lanes), -EAGAIN);
    put_number(other, 8);
    cshm_lane_leave(other); /* the last */
    expect_number(lanes, 8);
    CHECK_EQ(peek_status(lanes), -EPIPE);
    CHECK_EQ(cshm_lanes_join(lanes, &lane), -EPIPE);
    cshm_lanes_close(lanes);

    lanes = make_lanes(region, 4, 4, &offset);
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    lane = join(lanes);
    put_number(lane, 7);
    CHECK_EQ(cshm_lane_try_claim(lane, 8, &place), 0);
    cshm_lanes_cancel(lanes);
    CHECK_EQ(peek_status(lanes), -ECANCELED);
    CHECK_EQ(cshm_lane_commit(lane), -ECANCELED);
    CHECK_EQ(cshm_lane_try_claim(lane, 8, &place), -ECANCELED);
    CHECK_EQ(cshm_lanes_join(lanes, &other), -ECANCELED);
    cshm_lane_leave(lane);
    cshm_lanes_close(lanes);
    cshm_region_close(region);
}

static void deadlines(void)
{
    cshm_region *region = make_region(8u << 20);
    uint64_t offset = 0;
    cshm_lanes *lanes = make_lanes(region, 2, 4, &offset);
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    cshm_lane *lane = join(lanes);
    struct cshm_lanes_message message;
    for (int64_t wait = 1000; wait < 100 * MILLISECOND; wait *= 8) {
        int64_t deadline = after(wait);
        CHECK_EQ(cshm_lanes_peek_until(lanes, &message, deadline), -ETIMEDOUT);
        CHECK(cshm_now_ns() >= deadline);
        put_number(lane, 1);
        put_number(lane, 2);
        deadline = after(wait);
        CHECK_EQ(cshm_lane_put_until(lane, &wait, 8, deadline), -ETIMEDOUT);
        CHECK(cshm_now_ns() >= deadline);
        expect_number(lanes, 1);
        expect_number(lanes, 2);
    }
    cshm_lane_leave(lane);
    cshm_lanes_close(lanes);
    cshm_region_close(region);
}

struct late {
    cshm_lanes *lanes;
    cshm_lane *lane;
};

static void *put_late(void *context)
{
    usleep(5000);
    put_number(((struct late *)context)->lane, 1);
    return NULL;
}

static void *get_late(void *context)
{
    usleep(5000);
    expect_number(((struct late *)context)->lanes, 1);
    return NULL;
}

static void *finish_late(void *context)
{
    usleep(5000);
    cshm_lanes_finish(((struct late *)context)->lanes);
    return NULL;
}

static void wakes(void)
{
    cshm_region *region = make_region(8u << 20);
    uint64_t offset = 0;
    struct late late = {.lanes = make_lanes(region, 2, 4, &offset)};
    struct cshm_lanes_message message;
    pthread_t thread;
    CHECK_EQ(cshm_lanes_become_consumer(late.lanes), 0);
    late.lane = join(late.lanes);
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(pthread_create(&thread, NULL, put_late, &late), 0);
        CHECK_EQ(cshm_lanes_peek_until(late.lanes, &message, INT64_MAX), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        put_number(late.lane, 1);
        CHECK_EQ(pthread_create(&thread, NULL, get_late, &late), 0);
        CHECK_EQ(cshm_lane_put_until(late.lane, &(uint64_t){1}, 8, INT64_MAX), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        expect_number(late.lanes, 1);
        expect_number(late.lanes, 1);
    }
    CHECK_EQ(pthread_create(&thread, NULL, finish_late, &late), 0);
    CHECK_EQ(cshm_lanes_peek_until(late.lanes, &message, INT64_MAX), -EPIPE);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    cshm_lane_leave(late.lane);
    cshm_lanes_close(late.lanes);
    cshm_region_close(region);
}

static void corrupt(void)
{
    cshm_region *region = make_region(8u << 20);
    uint64_t offset = 0;
    uint64_t random = make_seed();
    cshm_lanes *lanes = make_lanes(region, 4, 4, &offset);
    cshm_lane *first = join(lanes);
    cshm_lane_leave(first);
    cshm_lanes_close(lanes);
    uint64_t *words = cshm_heap_pointer(region, offset, 8);
    uint64_t count = (4 + 4) * 128 / 8;
    uint64_t saved[(4 + 4) * 128 / 8];
    memcpy(saved, words, count * 8);
    for (int round = 0; round < 20000; round++) {
        cshm_lane *lane[2];
        uint64_t bytes[64] = {0};
        uint64_t length = 0;
        memcpy(words, saved, count * 8);
        CHECK_EQ(cshm_lanes_open(region, offset, TAG, &lanes), 0);
        CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
        lane[0] = join(lanes);
        lane[1] = join(lanes);
        for (int i = 4; i < 4 + 4; i++) { /* the rings stay */
            saved[i * 16 + 1] = words[i * 16 + 1];
        }
        for (uint64_t step = 0; step < 40; step++) {
            if (step % 8 == 5) {
                uint64_t value = next_random(&random);
                words[next_random(&random) % count] = value >> (value % 64);
            }
            int status = cshm_lane_try_put(lane[step % 2], bytes, step % 3 == 0 ? 100 : 8);
            CHECK(status <= 0);
            status = cshm_lanes_try_get(lanes, bytes, sizeof bytes, &length);
            CHECK(status <= 0);
            (void)cshm_lanes_count(lanes);
        }
        cshm_lanes_finish(lanes);
        struct cshm_lanes_message many[4];
        CHECK(cshm_lanes_try_peek_many(lanes, many, 4) != 0);
        cshm_lane_leave(lane[0]);
        cshm_lane_leave(lane[1]);
        cshm_lanes_close(lanes);
        if (cshm_lanes_open(region, offset, TAG, &lanes) == 0) {
            cshm_lanes_close(lanes);
        }
    }
    cshm_region_close(region);
}

/* ---- between threads and processes ---- */

enum {
    PRODUCERS = 5,
    LANES = 8,
    INCARNATIONS = 1 << 16,
    RUN_MS = 4000,
    BATCH = 7,
};

struct record {
    uint64_t offset;
    cshm_region *region;
    _Atomic uint32_t stop;
    _Atomic uint32_t next_incarnation;
    _Atomic uint32_t ready;
    _Atomic uint32_t ended;
    _Atomic uint64_t limit; /* messages of each producer */
    _Atomic uint64_t taken;
    _Atomic uint64_t again;
    _Atomic uint64_t acknowledged[INCARNATIONS];
    _Atomic uint64_t counted[INCARNATIONS];
};

struct letter {
    uint64_t incarnation;
    uint64_t number;
    uint64_t check;
    uint64_t filler[10]; /* only long letters have it */
};

#define REQUIRE(expr)                                                              \
    do {                                                                           \
        if (!(expr)) {                                                             \
            fprintf(stderr, "%s:%d: in a child: %s\n", __FILE__, __LINE__, #expr); \
            _exit(1);                                                              \
        }                                                                          \
    } while (0)

/* -EPIPE before the end means that the consumer has died, and its successor is to come. */
static int put_letter(cshm_lane *lane, struct record *record, const struct letter *letter)
{
    int status;
    do {
        status = cshm_lane_put_until(lane, letter, letter->number % 5 == 0 ? sizeof *letter : 24,
                                     after(20 * MILLISECOND));
    } while ((status == -ETIMEDOUT || status == -EPIPE) && atomic_load(&record->stop) == 0 &&
             atomic_load(&record->ended) == 0);
    return status;
}

static void put_letters(cshm_region *region, struct record *record)
{
    cshm_lanes *lanes = NULL;
    cshm_lane *lane = NULL;
    REQUIRE(cshm_lanes_open(region, record->offset, TAG, &lanes) == 0);
    int status;
    do { /* the lanes of the dead may not be drained yet */
        status = cshm_lanes_join(lanes, &lane);
    } while (status == -EUSERS);
    if (status == -EPIPE) {
        cshm_lanes_close(lanes);
        return;
    }
    REQUIRE(status == 0);
    uint64_t incarnation = atomic_fetch_add(&record->next_incarnation, 1);
    REQUIRE(incarnation < INCARNATIONS);
    uint64_t limit = atomic_load(&record->limit);
    for (uint64_t number = 0; number < limit && status == 0 && atomic_load(&record->stop) == 0;
         number++) {
        struct letter letter = {.incarnation = incarnation, .number = number};
        letter.check = incarnation * 31 + number * 17;
        for (uint64_t i = 0; i < 10; i++) {
            letter.filler[i] = number + i;
        }
        status = put_letter(lane, record, &letter);
        REQUIRE(status == 0 || status == -EPIPE || status == -ETIMEDOUT);
        if (status == 0) {
            atomic_store(&record->acknowledged[incarnation], number + 1);
        }
    }
    cshm_lane_leave(lane);
    cshm_lanes_close(lanes);
}

/* What a predecessor worked on and did not release comes again, first in its lane. */
static void check_letter(struct record *record, const struct cshm_lanes_message *message,
                         uint32_t *repeats)
{
    const struct letter *letter = message->data;
    REQUIRE(message->length == (letter->number % 5 == 0 ? sizeof *letter : 24));
    REQUIRE(letter->incarnation < INCARNATIONS);
    REQUIRE(letter->check == letter->incarnation * 31 + letter->number * 17);
    for (uint64_t i = 0; letter->number % 5 == 0 && i < 10; i++) {
        REQUIRE(letter->filler[i] == letter->number + i);
    }
    uint64_t expected = atomic_load(&record->counted[letter->incarnation]);
    if (letter->number < expected) {
        REQUIRE(repeats[message->lane] < BATCH);
        repeats[message->lane]++;
        atomic_fetch_add(&record->again, 1);
        return;
    }
    REQUIRE(letter->number == expected);
    repeats[message->lane] = BATCH;
    atomic_store(&record->counted[letter->incarnation], letter->number + 1);
    atomic_fetch_add(&record->taken, 1);
}

static void take_letters(cshm_region *region, struct record *record)
{
    cshm_lanes *lanes = NULL;
    struct cshm_lanes_message messages[BATCH];
    REQUIRE(cshm_lanes_open(region, record->offset, TAG, &lanes) == 0);
    int status = cshm_lanes_become_consumer(lanes);
    REQUIRE(status >= 0);
    uint32_t repeats[LANES];
    for (uint32_t i = 0; i < LANES; i++) {
        repeats[i] = status == 1 ? 0 : BATCH;
    }
    atomic_store(&record->ready, 1);
    for (uint64_t round = 0; status >= 0 || status == -ETIMEDOUT; round++) {
        status = cshm_lanes_peek_until(lanes, messages, after(20 * MILLISECOND));
        int count = status == 0 ? 1 : 0;
        if (status == 0 && round % 3 == 0) {
            count = cshm_lanes_try_peek_many(lanes, messages, BATCH);
            REQUIRE(count > 0);
        }
        for (int i = 0; i < count; i++) {
            check_letter(record, &messages[i], repeats);
        }
        if (round % 64 == 0) {
            sched_yield(); /* a good moment to be killed: all is done but the release */
        }
        cshm_lanes_release_many(lanes, (uint32_t)count);
    }
    if (status != -EPIPE) {
        fprintf(stderr, "the end: %d\n", status);
    }
    REQUIRE(status == -EPIPE);
    atomic_store(&record->ended, 1);
    cshm_lanes_close(lanes);
}

static void check_record(struct record *record, bool exactly)
{
    for (uint32_t i = 0; i < atomic_load(&record->next_incarnation); i++) {
        uint64_t seen = atomic_load(&record->counted[i]);
        uint64_t acknowledged = atomic_load(&record->acknowledged[i]);
        CHECK(seen == acknowledged || (!exactly && seen == acknowledged + 1));
    }
}

struct part {
    struct record *record;
    cshm_region *region;
    void (*body)(cshm_region *region, struct record *record);
};

static void *play_thread(void *context)
{
    struct part *part = context;
    part->body(part->region, part->record);
    return NULL;
}

static void play_process(cshm_region *region, void *context)
{
    struct part *part = context;
    part->body(region, part->record);
    cshm_region_close(region);
}

static pid_t start(cshm_region *region, struct record *record,
                   void (*body)(cshm_region *region, struct record *record))
{
    struct part part = {record, region, body};
    return spawn(region, play_process, &part);
}

static void threads(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(16u << 20);
    uint64_t before = blocks_in_use(region);
    cshm_lanes *lanes = make_lanes(region, 16, LANES, &record->offset);
    cshm_lane *keeper = join(lanes); /* so that it does not end before they join */
    pthread_t thread[PRODUCERS + 1];
    struct part part[2] = {{record, region, take_letters}, {record, region, put_letters}};
    record->limit = 20000;
    for (uint32_t i = 0; i <= PRODUCERS; i++) {
        CHECK_EQ(pthread_create(&thread[i], NULL, play_thread, &part[i > 0]), 0);
    }
    wait_until_set(&record->next_incarnation, PRODUCERS);
    cshm_lane_leave(keeper);
    for (uint32_t i = 0; i <= PRODUCERS; i++) {
        CHECK_EQ(pthread_join(thread[i], NULL), 0);
    }
    CHECK_EQ(record->taken, PRODUCERS * record->limit);
    CHECK_EQ(cshm_lanes_count(lanes), 0);
    check_record(record, true);
    cshm_lanes_destroy(lanes);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

/* Finishes while producers are at it: what was acknowledged is delivered, and no more than that. */
static void finish_at_random(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(16u << 20);
    uint64_t random = make_seed();
    pthread_t thread[3];
    struct part part[2] = {{record, region, take_letters}, {record, region, put_letters}};
    record->limit = UINT64_MAX;
    for (uint32_t round = 0; round < 300; round++) {
        cshm_lanes *lanes = make_lanes(region, 16, LANES, &record->offset);
        cshm_lane *keeper = join(lanes);
        for (uint32_t i = 0; i < 3; i++) {
            CHECK_EQ(pthread_create(&thread[i], NULL, play_thread, &part[i > 0]), 0);
        }
        wait_until_set(&record->next_incarnation, 2 * round + 2);
        int64_t end = after((int64_t)(next_random(&random) % 300000));
        while (cshm_now_ns() < end) {
        }
        cshm_lanes_finish(lanes);
        cshm_lane_leave(keeper);
        for (uint32_t i = 0; i < 3; i++) {
            CHECK_EQ(pthread_join(thread[i], NULL), 0);
        }
        record->ended = 0;
        check_record(record, true);
        cshm_lanes_destroy(lanes);
    }
    cshm_region_close(region);
}

static void processes(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(16u << 20);
    uint64_t before = blocks_in_use(region);
    cshm_lanes *lanes = make_lanes(region, 16, LANES, &record->offset);
    cshm_lane *keeper = join(lanes);
    pid_t children[PRODUCERS + 1];
    record->limit = 100000;
    for (uint32_t i = 0; i <= PRODUCERS; i++) {
        children[i] = start(region, record, i > 0 ? put_letters : take_letters);
    }
    wait_until_set(&record->next_incarnation, PRODUCERS);
    cshm_lane_leave(keeper);
    for (uint32_t i = 0; i <= PRODUCERS; i++) {
        expect_success(children[i]);
    }
    CHECK_EQ(record->taken, PRODUCERS * record->limit);
    check_record(record, true);
    cshm_lanes_destroy(lanes);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void wait_for_taken(struct record *record, uint64_t more)
{
    uint64_t seen = atomic_load(&record->taken);
    int64_t end = after(10 * SECOND);
    while (atomic_load(&record->taken) < seen + more) {
        CHECK(cshm_now_ns() < end);
        usleep(50);
    }
}

/* Kills, or stops for a while, one after another, the consumer, child 0, among them. */
static void crash(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(64u << 20);
    uint64_t before = blocks_in_use(region);
    uint64_t random = make_seed();
    uint64_t killed = 0;
    uint64_t stopped = 0;
    cshm_lanes *lanes = make_lanes(region, 16, LANES, &record->offset);
    cshm_lane *keeper = join(lanes);
    pid_t children[PRODUCERS + 1];
    record->limit = UINT64_MAX;
    for (uint32_t i = 0; i <= PRODUCERS; i++) {
        children[i] = start(region, record, i > 0 ? put_letters : take_letters);
    }
    int64_t end = after(RUN_MS * MILLISECOND);
    while ((cshm_now_ns() < end || killed <= 50) &&
           atomic_load(&record->next_incarnation) < INCARNATIONS - 10) {
        uint32_t victim = (uint32_t)(next_random(&random) % (PRODUCERS + 1));
        usleep((useconds_t)(next_random(&random) % 400));
        if (next_random(&random) % 8 == 0 && victim != 0) {
            stop_child(children[victim]); /* and the others get on */
            wait_for_taken(record, 300);
            kill(children[victim], SIGCONT);
            stopped++;
        } else {
            kill_child(children[victim]);
            killed++;
            children[victim] = start(region, record, victim > 0 ? put_letters : take_letters);
        }
        if (killed % 64 == 0) {
            wait_for_taken(record, 1);
            (void)cshm_region_reap(region);
        }
    }
    wait_for_taken(record, 300);
    atomic_store(&record->stop, 1);
    cshm_lane_leave(keeper);
    for (uint32_t i = 0; i <= PRODUCERS; i++) {
        expect_success(children[i]);
    }
    fprintf(stderr, "%llu kills, %llu stops, %llu taken, %llu again\n", (unsigned long long)killed,
            (unsigned long long)stopped, (unsigned long long)record->taken,
            (unsigned long long)record->again);
    CHECK(killed > 50 && record->again > 0);
    check_record(record, false);
    CHECK_EQ(cshm_lanes_count(lanes), 0);
    (void)cshm_region_reap(region);
    cshm_lanes_destroy(lanes);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void hang_as_producer(cshm_region *region, void *context)
{
    struct record *record = context;
    cshm_lanes *lanes = NULL;
    REQUIRE(cshm_lanes_open(region, record->offset, TAG, &lanes) == 0);
    put_number(join(lanes), 5);
    atomic_store(&record->ready, 1);
    for (;;) {
        pause();
    }
}

static void hang_as_consumer(cshm_region *region, void *context)
{
    struct record *record = context;
    cshm_lanes *lanes = NULL;
    REQUIRE(cshm_lanes_open(region, record->offset, TAG, &lanes) == 0);
    REQUIRE(cshm_lanes_become_consumer(lanes) == 0);
    REQUIRE(peek_status(lanes) == 0);
    atomic_store(&record->ready, 1);
    for (;;) {
        pause();
    }
}

static void killed_producer(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(8u << 20);
    struct cshm_lanes_message message;
    cshm_lanes *lanes = make_lanes(region, 4, 2, &record->offset);
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    pid_t child = spawn(region, hang_as_producer, record);
    wait_until_set(&record->ready, 1);
    expect_number(lanes, 5);
    CHECK_EQ(cshm_lanes_peek_until(lanes, &message, after(50 * MILLISECOND)), -ETIMEDOUT);
    stop_child(child); /* is alive */
    CHECK_EQ(cshm_lanes_peek_until(lanes, &message, after(50 * MILLISECOND)), -ETIMEDOUT);
    kill_child(child);
    CHECK_EQ(cshm_lanes_peek_until(lanes, &message, INT64_MAX), -EPIPE);
    cshm_lanes_close(lanes);
    cshm_region_close(region);
}

static void killed_consumer(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(8u << 20);
    cshm_lanes *lanes = make_lanes(region, 2, 2, &record->offset);
    cshm_lane *lane = join(lanes);
    uint64_t number = 3;
    put_number(lane, 1);
    put_number(lane, 2);
    pid_t child = spawn(region, hang_as_consumer, record);
    wait_until_set(&record->ready, 1);
    CHECK_EQ(cshm_lanes_become_consumer(lanes), -EBUSY);
    stop_child(child); /* is alive */
    CHECK_EQ(cshm_lanes_become_consumer(lanes), -EBUSY);
    CHECK_EQ(cshm_lane_put_until(lane, &number, 8, after(50 * MILLISECOND)), -ETIMEDOUT);
    kill_child(child);
    CHECK_EQ(cshm_lane_put_until(lane, &number, 8, INT64_MAX), -EPIPE);
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 1);
    CHECK_EQ(cshm_lane_put_until(lane, &number, 8, after(50 * MILLISECOND)), -ETIMEDOUT);
    expect_number(lanes, 1);
    CHECK_EQ(cshm_lane_put_until(lane, &number, 8, INT64_MAX), 0);
    expect_number(lanes, 2);
    expect_number(lanes, 3);
    cshm_lane_leave(lane);
    CHECK_EQ(peek_status(lanes), -EPIPE);
    cshm_lanes_close(lanes);
    cshm_region_close(region);
}

const struct test lanes_tests[] = {
    {"are_first_in_first_out_each_and_exact_about_full_and_empty", fifo},
    {"are_served_in_turn_up_to_a_budget", fair},
    {"that_were_idle_for_long_are_found_again", idle},
    {"are_used_again_when_they_are_drained", recycles},
    {"carry_long_messages_in_place", long_messages},
    {"put_and_release_batches", batches},
    {"refuse_bad_options_other_types_and_too_many", refuses},
    {"end_when_finished_when_cancelled_and_when_the_last_producer_left", ends},
    {"do_not_time_out_early", deadlines},
    {"wake_who_waits", wakes},
    {"answer_damaged_words_with_errors", corrupt},
    {"deliver_exactly_once_in_order_between_threads", threads},
    {"deliver_what_was_acknowledged_before_a_finish_and_nothing_else", finish_at_random},
    {"deliver_exactly_once_in_order_between_processes", processes},
    {"deliver_what_was_acknowledged_while_every_role_is_killed_and_stopped", crash},
    {"end_when_the_last_producer_is_killed", killed_producer},
    {"give_the_successor_of_a_killed_consumer_the_same_message", killed_consumer},
    {NULL, NULL},
};
