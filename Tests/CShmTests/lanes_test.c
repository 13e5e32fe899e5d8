/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/lanes.h, by one process.
 */
#include "lanes_support.h"

#include <pthread.h>

extern const struct test lanes_tests[];

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

static uint64_t high_water(const cshm_lanes *lanes)
{
    struct cshm_lanes_info info;
    cshm_lanes_describe(lanes, &info);
    return info.high_water;
}

/* That of the fullest lane; what was sampled stays, what was not is seen while it is there. */
static void high(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t offset = 0;
    cshm_lanes *lanes = make_lanes(region, 128, 2, &offset);
    uint64_t numbers[128] = {0};
    struct cshm_lanes_message messages[128];
    cshm_lane *lane[2] = {join(lanes), join(lanes)};
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    CHECK_EQ(high_water(lanes), 0);
    put_number(lane[0], 1);
    CHECK_EQ(high_water(lanes), 1);
    CHECK_EQ(cshm_lane_try_put_many(lane[1], numbers, 8, 65), 65);
    CHECK_EQ(high_water(lanes), 65);
    for (int taken = 0; taken < 66;) {
        int count = cshm_lanes_try_peek_many(lanes, messages, 128);
        CHECK(count > 0);
        cshm_lanes_release_many(lanes, (uint32_t)count);
        taken += count;
    }
    CHECK_EQ(cshm_lanes_count(lanes), 0);
    CHECK_EQ(high_water(lanes), 65); /* the put of the 65th of its lane was sampled */
    CHECK_EQ(cshm_lane_try_put_many(lane[0], numbers, 8, 128), 128);
    CHECK_EQ(high_water(lanes), 128);
    cshm_lane_leave(lane[0]);
    cshm_lane_leave(lane[1]);
    cshm_lanes_destroy(lanes);
    cshm_region_close(region);
}

const struct test lanes_tests[] = {
    {"know_the_most_that_was_in_one_of_them", high},
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
    {NULL, NULL},
};
