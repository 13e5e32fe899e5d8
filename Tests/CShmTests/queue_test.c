/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/queue.h.
 */
#include "support.h"

#include <pthread.h>

#include <cshm/queue.h>

extern const struct test queue_tests[];

enum { TAG = 11 };

static cshm_queue *make_queue(cshm_region *region, uint32_t capacity, uint64_t *offset)
{
    struct cshm_queue_options options = {
        .capacity = capacity, .slot_size = 16, .ports = 16, .type_tag = TAG};
    cshm_queue *queue = NULL;
    CHECK_EQ(cshm_queue_create(region, &options, offset), 0);
    CHECK_EQ(cshm_heap_share(region, *offset), 0);
    CHECK_EQ(cshm_queue_open(region, *offset, TAG, &queue), 0);
    return queue;
}

static void fifo(void)
{
    cshm_region *region = make_region(4u << 20);
    for (uint32_t capacity = 2; capacity <= 256; capacity *= 2) {
        uint64_t offset = 0;
        uint64_t before = blocks_in_use(region);
        struct cshm_message message;
        cshm_queue *queue = make_queue(region, capacity, &offset);
        CHECK_EQ(cshm_queue_capacity(queue), capacity);
        for (uint64_t round = 0; round < 20; round++) {
            for (uint64_t i = 0; i < capacity; i++) {
                CHECK_EQ(cshm_queue_count(queue), i);
                CHECK_EQ(cshm_queue_try_put(queue, &(uint64_t){round * 1000 + i}, 8), 0);
            }
            CHECK_EQ(cshm_queue_try_put(queue, &round, 8), -EAGAIN);
            CHECK_EQ(cshm_queue_count(queue), capacity);
            for (uint64_t i = 0; i < capacity; i++) {
                CHECK_EQ(cshm_queue_try_take(queue, &message), 0);
                CHECK_EQ(message.length, 8);
                CHECK_EQ(*(uint64_t *)message.data, round * 1000 + i);
                cshm_queue_release(queue, &message);
            }
            CHECK_EQ(cshm_queue_try_take(queue, &message), -EAGAIN);
            CHECK_EQ(cshm_queue_count(queue), 0);
            for (uint64_t i = 0; i < round % 5; i++) { /* so that laps begin anywhere */
                CHECK_EQ(cshm_queue_try_put(queue, &round, 8), 0);
                CHECK_EQ(cshm_queue_try_take(queue, &message), 0);
                cshm_queue_release(queue, &message);
            }
        }
        cshm_queue_destroy(queue);
        CHECK_EQ(blocks_in_use(region), before);
    }
    cshm_region_close(region);
}

enum { LEFT_UNREAD = 50 };

static void put_numbers(cshm_queue *queue, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        CHECK_EQ(cshm_queue_try_put(queue, &i, 8), 0);
    }
}

static void take_numbers(cshm_queue *queue, uint64_t from, uint64_t to)
{
    struct cshm_message message;
    for (uint64_t i = from; i < to; i++) {
        CHECK_EQ(cshm_queue_take_until(queue, &message, after(30 * SECOND)), 0);
        CHECK_EQ(*(uint64_t *)message.data, i);
        cshm_queue_release(queue, &message);
    }
}

static void take_one_and_end(cshm_region *region, void *context)
{
    cshm_queue *queue = NULL;
    CHECK_EQ(cshm_queue_open(region, *(uint64_t *)context, TAG, &queue), 0);
    take_numbers(queue, 0, 1);
    cshm_queue_close(queue);
    cshm_region_close(region);
}

static void put_more_and_end(cshm_region *region, void *context)
{
    cshm_queue *queue = NULL;
    CHECK_EQ(cshm_queue_open(region, *(uint64_t *)context, TAG, &queue), 0);
    put_numbers(queue, LEFT_UNREAD, 2 * LEFT_UNREAD);
    cshm_queue_close(queue);
    cshm_region_close(region);
}

/* Neither who leaves elements unread nor who put what is not read yet is held up by that. */
static void ends_with_elements_unread(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    cshm_queue *queue = make_queue(region, 128, &offset);
    put_numbers(queue, 0, LEFT_UNREAD);
    expect_success(spawn(region, take_one_and_end, &offset));
    expect_success(spawn(region, put_more_and_end, &offset));
    take_numbers(queue, 1, 2 * LEFT_UNREAD);
    CHECK_EQ(cshm_queue_count(queue), 0);
    cshm_queue_destroy(queue);
    cshm_region_close(region);
}

static void fill(cshm_region *region, void *context)
{
    cshm_queue *queue = NULL;
    CHECK_EQ(cshm_queue_open(region, *(uint64_t *)context, TAG, &queue), 0);
    put_numbers(queue, 0, cshm_queue_capacity(queue));
    CHECK_EQ(cshm_queue_try_put(queue, &(uint64_t){0}, 8), -EAGAIN);
}

static void filled_by_a_child_process(void)
{
    cshm_region *region = make_region(4u << 20);
    for (uint32_t capacity = 1; capacity <= 100; capacity = capacity * 3 + 1) {
        uint64_t offset = 0;
        cshm_queue *queue = make_queue(region, capacity, &offset);
        expect_success(spawn(region, fill, &offset));
        CHECK_EQ(cshm_queue_count(queue), capacity);
        CHECK_EQ(cshm_queue_is_full(queue), 1);
        CHECK_EQ(cshm_queue_try_put(queue, &(uint64_t){0}, 8), -EAGAIN);
        take_numbers(queue, 0, capacity);
        cshm_queue_destroy(queue);
    }
    cshm_region_close(region);
}

static void refuses(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    cshm_queue *queue = make_queue(region, 4, &offset);
    cshm_queue *other = NULL;
    struct cshm_queue_options options = {.capacity = 0, .slot_size = 16};
    uint64_t none = 0;
    CHECK_EQ(cshm_queue_open(region, offset, TAG + 1, &other), -EPROTO);
    CHECK_EQ(cshm_queue_open(region, offset + 64, TAG, &other), -EPROTO);
    CHECK_EQ(cshm_queue_open(region, 0, TAG, &other), -EPROTO);
    CHECK_EQ(cshm_queue_create(region, &options, &none), -EINVAL);
    options = (struct cshm_queue_options){.capacity = 4};
    CHECK_EQ(cshm_queue_create(region, &options, &none), -EINVAL);
    options = (struct cshm_queue_options){.capacity = 4, .slot_size = 8, .ports = 4097};
    CHECK_EQ(cshm_queue_create(region, &options, &none), -EINVAL);
    CHECK_EQ(cshm_queue_try_put(queue, &none, 1ull << 40), -ENOSPC);
    struct cshm_message messages[17];
    for (int i = 0; i < 16; i++) {
        CHECK_EQ(cshm_queue_claim(queue, 8, &messages[i]), 0);
    }
    CHECK_EQ(cshm_queue_claim(queue, 8, &messages[16]), -EUSERS);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(cshm_queue_try_commit(queue, &messages[i]), 0);
    }
    CHECK_EQ(cshm_queue_try_commit(queue, &messages[4]), -EAGAIN);
    CHECK_EQ(cshm_queue_commit_until(queue, &messages[4], after(MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(cshm_queue_try_take(queue, &messages[0]), 0);
    cshm_queue_release(queue, &messages[0]);
    CHECK_EQ(cshm_queue_commit_until(queue, &messages[4], 0), 0);
    CHECK_EQ(cshm_queue_claim(queue, 8, &messages[4]), 0);
    cshm_queue_cancel(queue);
    CHECK_EQ(cshm_queue_commit_until(queue, &messages[4], INT64_MAX), -ECANCELED);
    for (int i = 4; i < 16; i++) {
        cshm_queue_abort(queue, &messages[i]);
    }
    cshm_queue_close(queue);
    cshm_region_close(region);
}

static void long_messages(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    cshm_queue *queue = make_queue(region, 8, &offset);
    uint64_t before = blocks_in_use(region);
    static uint8_t bytes[200000];
    struct cshm_message message;
    for (uint64_t length = 0; length < sizeof bytes; length = length * 2 + 1) {
        memset(bytes, (int)(length % 251), length);
        for (int i = 0; i < 8; i++) {
            CHECK_EQ(cshm_queue_try_put(queue, bytes, length), 0);
        }
        CHECK_EQ(blocks_in_use(region), before + (length > 16 ? 8 : 0));
        CHECK_EQ(cshm_queue_try_put(queue, bytes, length), -EAGAIN);
        CHECK_EQ(blocks_in_use(region), before + (length > 16 ? 8 : 0));
        for (int i = 0; i < 8; i++) {
            CHECK_EQ(cshm_queue_try_take(queue, &message), 0);
            CHECK(message.length == length && memcmp(message.data, bytes, length) == 0);
            cshm_queue_release(queue, &message);
        }
        CHECK_EQ(blocks_in_use(region), before);
    }
    CHECK_EQ(cshm_queue_try_put(queue, bytes, 1000), 0);
    cshm_queue_destroy(queue);
    CHECK_EQ(blocks_in_use(region), before - 1);
    cshm_region_close(region);
}

static void deadlines(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    cshm_queue *queue = make_queue(region, 2, &offset);
    struct cshm_message message;
    for (int64_t wait = 1000; wait < 100 * MILLISECOND; wait *= 8) {
        int64_t deadline = after(wait);
        CHECK_EQ(cshm_queue_take_until(queue, &message, deadline), -ETIMEDOUT);
        CHECK(cshm_now_ns() >= deadline);
        CHECK_EQ(cshm_queue_try_put(queue, &wait, 8), 0);
        CHECK_EQ(cshm_queue_put_until(queue, &wait, 8, 0), 0);
        deadline = after(wait);
        CHECK_EQ(cshm_queue_put_until(queue, &wait, 8, deadline), -ETIMEDOUT);
        CHECK(cshm_now_ns() >= deadline);
        CHECK(cshm_now_ns() < deadline + 5 * SECOND);
        for (int i = 0; i < 2; i++) {
            CHECK_EQ(cshm_queue_take_until(queue, &message, 0), 0);
            cshm_queue_release(queue, &message);
        }
    }
    cshm_queue_close(queue);
    cshm_region_close(region);
}

static void *put_late(void *context)
{
    usleep(5000);
    CHECK_EQ(cshm_queue_try_put(context, "x", 1), 0);
    return NULL;
}

static void *take_late(void *context)
{
    struct cshm_message message;
    usleep(5000);
    CHECK_EQ(cshm_queue_try_take(context, &message), 0);
    cshm_queue_release(context, &message);
    return NULL;
}

static void wakes(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    cshm_queue *queue = make_queue(region, 2, &offset);
    struct cshm_message message;
    int64_t start = cshm_now_ns();
    for (int i = 0; i < 50; i++) {
        pthread_t thread;
        CHECK_EQ(pthread_create(&thread, NULL, put_late, queue), 0);
        CHECK_EQ(cshm_queue_take_until(queue, &message, INT64_MAX), 0);
        cshm_queue_release(queue, &message);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        CHECK_EQ(cshm_queue_try_put(queue, "y", 1), 0);
        CHECK_EQ(cshm_queue_try_put(queue, "y", 1), 0);
        CHECK_EQ(pthread_create(&thread, NULL, take_late, queue), 0);
        CHECK_EQ(cshm_queue_put_until(queue, "z", 1, INT64_MAX), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        for (int j = 0; j < 2; j++) {
            CHECK_EQ(cshm_queue_try_take(queue, &message), 0);
            cshm_queue_release(queue, &message);
        }
    }
    CHECK(cshm_now_ns() - start < 20 * SECOND);
    cshm_queue_close(queue);
    cshm_region_close(region);
}

enum { MESSAGES = 200000, SIDES = 2 };

struct traffic {
    cshm_region *region;
    uint64_t offset;
    _Atomic uint32_t number;
    _Atomic uint32_t left;
    _Atomic uint8_t seen[SIDES * MESSAGES];
};

static void put_all(cshm_region *region, void *context)
{
    struct traffic *traffic = context;
    cshm_queue *queue = NULL;
    uint64_t number = atomic_fetch_add(&traffic->number, 1);
    CHECK_EQ(cshm_queue_open(region, traffic->offset, TAG, &queue), 0);
    for (uint64_t i = 0; i < MESSAGES; i++) {
        uint64_t message[4] = {number * MESSAGES + i, 1, 2, ~i};
        CHECK_EQ(cshm_queue_put_until(queue, message, i % 16 == 0 ? 32 : 8, after(20 * SECOND)), 0);
    }
    cshm_queue_close(queue);
}

static void take_all(cshm_region *region, void *context)
{
    struct traffic *traffic = context;
    cshm_queue *queue = NULL;
    uint64_t last[SIDES] = {0};
    CHECK_EQ(cshm_queue_open(region, traffic->offset, TAG, &queue), 0);
    while (atomic_load(&traffic->left) > 0) {
        struct cshm_message message;
        int status = cshm_queue_take_until(queue, &message, after(10 * MILLISECOND));
        if (status == -ETIMEDOUT) {
            continue;
        }
        CHECK_EQ(status, 0);
        uint64_t id = *(uint64_t *)message.data;
        CHECK(id < SIDES * MESSAGES);
        CHECK_EQ(message.length, id % 16 == 0 ? 32 : 8);
        CHECK(message.length == 8 || ((uint64_t *)message.data)[3] == ~(id % MESSAGES));
        cshm_queue_release(queue, &message);
        CHECK(id + 1 > last[id / MESSAGES]);
        last[id / MESSAGES] = id + 1;
        CHECK_EQ(atomic_fetch_add(&traffic->seen[id], 1), 0);
        atomic_fetch_sub(&traffic->left, 1);
    }
    cshm_queue_close(queue);
}

static void *put_thread(void *context)
{
    put_all(((struct traffic *)context)->region, context);
    return NULL;
}

static void *take_thread(void *context)
{
    take_all(((struct traffic *)context)->region, context);
    return NULL;
}

static void threads(void)
{
    static struct traffic traffic;
    cshm_region *region = make_region(16u << 20);
    cshm_queue *queue = make_queue(region, 64, &traffic.offset);
    uint64_t before = blocks_in_use(region);
    pthread_t thread[2 * SIDES];
    traffic.region = region;
    traffic.left = SIDES * MESSAGES;
    for (int i = 0; i < 2 * SIDES; i++) {
        CHECK_EQ(pthread_create(&thread[i], NULL, i % 2 ? put_thread : take_thread, &traffic), 0);
    }
    for (int i = 0; i < 2 * SIDES; i++) {
        CHECK_EQ(pthread_join(thread[i], NULL), 0);
    }
    CHECK_EQ(cshm_queue_count(queue), 0);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_queue_close(queue);
    cshm_region_close(region);
}

static void processes(void)
{
    struct traffic *traffic = shared_memory(sizeof *traffic);
    cshm_region *region = make_region(16u << 20);
    cshm_queue *queue = make_queue(region, 64, &traffic->offset);
    uint64_t before = blocks_in_use(region);
    pid_t children[2 * SIDES];
    traffic->left = SIDES * MESSAGES;
    for (int i = 0; i < 2 * SIDES; i++) {
        children[i] = spawn(region, i % 2 ? put_all : take_all, traffic);
    }
    for (int i = 0; i < 2 * SIDES; i++) {
        expect_success(children[i]);
    }
    CHECK_EQ(cshm_queue_count(queue), 0);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_queue_close(queue);
    cshm_region_close(region);
}

const struct test queue_tests[] = {
    {"is_first_in_first_out_and_exact_about_full_and_empty", fifo},
    {"holds_as_many_put_by_another_process_and_not_one_more", filled_by_a_child_process},
    {"of_processes_that_end_with_elements_unread_holds_none_up", ends_with_elements_unread},
    {"refuses_another_type_and_bad_options_and_too_many_claims", refuses},
    {"carries_long_messages_and_frees_their_blocks", long_messages},
    {"does_not_time_out_early", deadlines},
    {"wakes_who_waits", wakes},
    {"delivers_exactly_once_between_threads", threads},
    {"delivers_exactly_once_between_processes", processes},
    {NULL, NULL},
};
