/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/broadcast.h, by one process.
 */
#include "broadcast_support.h"

#include <pthread.h>

extern const struct test broadcast_tests[];

static void lossless(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t before = blocks_in_use(region);
    for (uint32_t capacity = 2; capacity <= 256; capacity *= 2) {
        uint64_t offset = 0;
        cshm_broadcast *broadcast = make_broadcast(region, capacity, &offset);
        CHECK_EQ(cshm_broadcast_capacity(broadcast), capacity);
        cshm_publisher *publishers[2] = {publish_to(broadcast), publish_to(broadcast)};
        cshm_subscriber *fast = subscribe_to(broadcast, CSHM_LOSSLESS, 0);
        cshm_subscriber *slow = subscribe_to(broadcast, CSHM_LOSSLESS, 0);
        uint64_t put = 0;
        uint64_t taken = 0;
        for (uint64_t round = 0; round < 50; round++) {
            for (; put - taken < capacity; put++) {
                put_number(publishers[put % 2], put);
                expect_number(fast, put);
                CHECK_EQ(cshm_subscriber_count(slow), put + 1 - taken);
            }
            CHECK_EQ(cshm_broadcast_count(broadcast), put);
            CHECK_EQ(cshm_publisher_try_put(publishers[0], &put, 8), -EAGAIN);
            CHECK_EQ(cshm_publisher_try_put(publishers[1], &put, 8), -EAGAIN);
            CHECK_EQ(peek_status(fast), -EAGAIN);
            for (uint64_t i = 0; i <= round % capacity; i++, taken++) {
                expect_number(slow, taken);
            }
        }
        CHECK_EQ(cshm_subscriber_lost(slow), 0);
        CHECK_EQ(cshm_broadcast_subscribers(broadcast), 2);
        cshm_subscriber_leave(slow);
        CHECK_EQ(cshm_broadcast_subscribers(broadcast), 1);
        for (uint64_t i = 0; i < 3ull * capacity; i++, put++) {
            put_number(publishers[0], put);
            expect_number(fast, put);
        }
        cshm_subscriber_leave(fast);
        for (uint64_t i = 0; i < 3ull * capacity; i++) {
            put_number(publishers[1], i);
        }
        cshm_publisher_leave(publishers[0]);
        cshm_publisher_leave(publishers[1]);
        cshm_broadcast_destroy(broadcast);
        CHECK_EQ(blocks_in_use(region), before);
    }
    cshm_region_close(region);
}

static void overwriting(void)
{
    cshm_region *region = make_region(4u << 20);
    for (uint32_t capacity = 2; capacity <= 256; capacity *= 2) {
        uint64_t offset = 0;
        cshm_broadcast *broadcast = make_broadcast(region, capacity, &offset);
        cshm_publisher *publisher = publish_to(broadcast);
        cshm_subscriber *slow = subscribe_to(broadcast, CSHM_OVERWRITE, 0);
        cshm_subscriber *reader = subscribe_to(broadcast, CSHM_OVERWRITE, 0);
        cshm_subscriber *waited_for = subscribe_to(broadcast, CSHM_LOSSLESS, 0);
        struct cshm_broadcast_message held;
        put_number(publisher, 0);
        CHECK_EQ(cshm_subscriber_try_peek(reader, &held), 0);
        expect_number(waited_for, 0);
        uint64_t put = 1;
        for (; put < 5ull * capacity + 3; put++) {
            put_number(publisher, put);
            expect_number(waited_for, put);
        }
        CHECK_EQ(*(const uint64_t *)held.data, 0); /* pinned, so never written again */
        CHECK_EQ(cshm_subscriber_lost(reader), 0);
        cshm_subscriber_release(reader);
        for (uint64_t i = put - capacity; i < put; i++) {
            expect_number(slow, i);
            expect_number(reader, i);
            CHECK_EQ(cshm_subscriber_lost(slow), put - capacity);
            CHECK_EQ(cshm_subscriber_lost(reader), put - capacity - 1);
        }
        CHECK_EQ(peek_status(slow), -EAGAIN);
        CHECK_EQ(peek_status(reader), -EAGAIN);
        cshm_subscriber_leave(slow);
        cshm_subscriber_leave(reader);
        cshm_subscriber_leave(waited_for);
        cshm_publisher_leave(publisher);
        cshm_broadcast_destroy(broadcast);
    }
    cshm_region_close(region);
}

static void pins(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    cshm_broadcast *broadcast = make_broadcast(region, 2, &offset);
    cshm_publisher *publishers[4];
    cshm_subscriber *readers[6];
    struct cshm_broadcast_message held[6];
    for (int i = 0; i < 4; i++) {
        publishers[i] = publish_to(broadcast);
    }
    for (uint64_t i = 0; i < 6; i++) { /* all that may be pinned are */
        readers[i] = subscribe_to(broadcast, CSHM_OVERWRITE, 0);
        put_number(publishers[i % 4], i);
        CHECK_EQ(cshm_subscriber_try_peek(readers[i], &held[i]), 0);
    }
    for (uint64_t i = 0; i < 1000; i++) {
        put_number(publishers[i % 4], 1000 + i);
    }
    for (uint64_t i = 0; i < 6; i++) {
        CHECK_EQ(*(const uint64_t *)held[i].data, i);
        CHECK_EQ(held[i].position, i);
        cshm_subscriber_release(readers[i]);
        expect_number(readers[i], 1998);
        expect_number(readers[i], 1999);
        CHECK_EQ(cshm_subscriber_lost(readers[i]), 1006 - 2 - i - 1);
        cshm_subscriber_leave(readers[i]);
    }
    for (int i = 0; i < 4; i++) {
        cshm_publisher_leave(publishers[i]);
    }
    cshm_broadcast_close(broadcast);
    cshm_region_close(region);
}

static void history(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    cshm_broadcast *broadcast = make_broadcast(region, 16, &offset);
    cshm_publisher *publisher = publish_to(broadcast);
    for (uint64_t put = 0; put < 100; put++) {
        static const uint64_t wanted[] = {0, 1, 5, 13, 14, 16, 17, UINT64_MAX};
        for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
            uint64_t there = put < 16 ? put : 16;
            uint64_t promised = put < 13 ? put : 13; /* of what it wants */
            cshm_subscriber *late = subscribe_to(broadcast, CSHM_OVERWRITE, wanted[i]);
            cshm_subscriber *sure = subscribe_to(broadcast, CSHM_LOSSLESS, wanted[i]);
            uint64_t gets = wanted[i] < there ? wanted[i] : there;
            CHECK_EQ(cshm_subscriber_count(late), gets);
            for (uint64_t number = put - gets; number < put; number++) {
                expect_number(late, number);
            }
            CHECK(cshm_subscriber_count(sure) <= gets);
            gets = cshm_subscriber_count(sure);
            CHECK(gets >= (wanted[i] < promised ? wanted[i] : promised));
            for (uint64_t number = put - gets; number < put; number++) {
                expect_number(sure, number);
            }
            CHECK_EQ(peek_status(late), -EAGAIN);
            CHECK_EQ(peek_status(sure), -EAGAIN);
            cshm_subscriber_leave(late);
            cshm_subscriber_leave(sure);
        }
        put_number(publisher, put);
    }
    cshm_publisher_leave(publisher);
    cshm_broadcast_close(broadcast);
    cshm_region_close(region);
}

static void long_messages(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    uint64_t before = blocks_in_use(region);
    cshm_broadcast *broadcast = make_broadcast(region, 8, &offset);
    cshm_publisher *publisher = publish_to(broadcast);
    cshm_subscriber *sure = subscribe_to(broadcast, CSHM_LOSSLESS, 0);
    cshm_subscriber *late = subscribe_to(broadcast, CSHM_OVERWRITE, 0);
    static uint8_t bytes[100000];
    static uint8_t copy[100000];
    uint64_t length = 0;
    uint64_t number = 0;
    for (uint64_t size = 0; size < sizeof bytes; size = size * 2 + 1) {
        for (int i = 0; i < 20; i++, number++) {
            struct cshm_broadcast_message message;
            void *place = NULL;
            CHECK_EQ(cshm_publisher_claim(publisher, 50000, &place), 0); /* replaced */
            CHECK_EQ(cshm_publisher_claim(publisher, size, &place), 0);
            memset(place, (int)number, size);
            CHECK_EQ(cshm_publisher_try_commit(publisher), 0);
            CHECK_EQ(cshm_subscriber_try_peek(sure, &message), 0);
            CHECK(message.length == size && message.position == number);
            CHECK(size == 0 || ((const uint8_t *)message.data)[size - 1] == (uint8_t)number);
            if (size > 0) {
                CHECK_EQ(cshm_subscriber_try_get(sure, copy, size - 1, &length), -EMSGSIZE);
            }
            CHECK_EQ(cshm_subscriber_try_get(sure, copy, sizeof copy, &length), 0);
            CHECK(length == size && (size == 0 || copy[size / 2] == (uint8_t)number));
            CHECK(blocks_in_use(region) <= before + 1 + 9);
        }
    }
    while (cshm_subscriber_try_get(late, copy, sizeof copy, &length) == 0) {
    }
    CHECK_EQ(cshm_subscriber_lost(late), number - 8);
    CHECK_EQ(cshm_publisher_try_put(publisher, bytes, 1ull << 40), -ENOSPC);
    CHECK_EQ(cshm_publisher_try_commit(publisher), -EINVAL);
    CHECK_EQ(cshm_publisher_put_until(publisher, bytes, 60000, 0), 0);
    cshm_subscriber_leave(sure);
    cshm_subscriber_leave(late);
    for (int i = 0; i < 8; i++) {
        put_number(publisher, 1);
    }
    CHECK_EQ(blocks_in_use(region), before + 1); /* overwritten ones go back at once */
    cshm_publisher_leave(publisher);
    cshm_broadcast_destroy(broadcast);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void batches(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    cshm_broadcast *broadcast = make_broadcast(region, 8, &offset);
    cshm_publisher *publisher = publish_to(broadcast);
    cshm_subscriber *sure = subscribe_to(broadcast, CSHM_LOSSLESS, 0);
    struct cshm_broadcast_message messages[16];
    uint64_t numbers[16];
    for (uint64_t i = 0; i < 16; i++) {
        numbers[i] = i;
    }
    CHECK_EQ(cshm_publisher_try_put_many(publisher, numbers, 8, 0), -EINVAL);
    CHECK_EQ(cshm_publisher_try_put_many(publisher, numbers, 8, 5), 5);
    CHECK_EQ(cshm_publisher_try_put_many(publisher, numbers + 5, 8, 11), 3);
    CHECK_EQ(cshm_publisher_try_put_many(publisher, numbers + 8, 8, 8), -EAGAIN);
    int64_t deadline = after(2 * MILLISECOND);
    CHECK_EQ(cshm_publisher_put_many_until(publisher, numbers + 8, 8, 8, deadline), -ETIMEDOUT);
    CHECK(cshm_now_ns() >= deadline);
    CHECK_EQ(cshm_subscriber_try_peek_many(sure, messages, 0), -EINVAL);
    CHECK_EQ(cshm_subscriber_try_peek_many(sure, messages, 3), 3);
    CHECK_EQ(cshm_subscriber_try_peek_many(sure, messages, 16), 8);
    for (uint64_t i = 0; i < 8; i++) {
        CHECK_EQ(*(const uint64_t *)messages[i].data, i);
    }
    cshm_subscriber_release_many(sure, 6);
    CHECK_EQ(cshm_publisher_put_many_until(publisher, numbers + 8, 8, 8, after(MILLISECOND)), 6);
    cshm_subscriber_release_many(sure, 100); /* no more than what was given */
    CHECK_EQ(cshm_subscriber_count(sure), 6);
    CHECK_EQ(cshm_subscriber_try_peek_many(sure, messages, 16), 6);
    CHECK_EQ(*(const uint64_t *)messages[5].data, 13);
    cshm_subscriber_leave(sure);
    cshm_publisher_leave(publisher);
    cshm_broadcast_close(broadcast);
    cshm_region_close(region);
}

static void refuses(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    uint64_t none = 0;
    cshm_broadcast *broadcast = make_broadcast(region, 4, &offset);
    cshm_broadcast *other = NULL;
    struct cshm_broadcast_options good = {.capacity = 4, .slot_size = 16};
    struct cshm_broadcast_options bad[] = {good, good, good, good, good, good};
    bad[0].capacity = 3;
    bad[1].capacity = 1;
    bad[2].slot_size = 0;
    bad[3].slot_size = 65537;
    bad[4].publishers = 1025;
    bad[5].subscribers = 1025;
    for (int i = 0; i < 6; i++) {
        CHECK_EQ(cshm_broadcast_create(region, &bad[i], &none), -EINVAL);
    }
    CHECK_EQ(cshm_broadcast_open(region, offset, TAG + 1, &other), -EPROTO);
    CHECK_EQ(cshm_broadcast_open(region, offset + 128, TAG, &other), -EPROTO);
    CHECK_EQ(cshm_broadcast_open(region, 0, TAG, &other), -EPROTO);
    cshm_publisher *publishers[5];
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(cshm_publisher_join(broadcast, &publishers[i]), 0);
    }
    CHECK_EQ(cshm_publisher_join(broadcast, &publishers[4]), -EUSERS);
    cshm_subscriber *subscribers[7];
    CHECK_EQ(cshm_subscriber_join(broadcast, 0, 0, &subscribers[0]), -EINVAL);
    for (uint32_t i = 0; i < 6; i++) {
        CHECK_EQ(cshm_subscriber_join(broadcast, 1 + i % 2, 0, &subscribers[i]), 0);
    }
    CHECK_EQ(cshm_subscriber_join(broadcast, 1, 0, &subscribers[6]), -EUSERS);
    for (int i = 0; i < 6; i++) {
        cshm_subscriber_leave(subscribers[i]);
    }
    for (uint32_t i = 0; i < 6; i++) { /* the other way round, so that lines change their kind */
        CHECK_EQ(cshm_subscriber_join(broadcast, 2, 0, &subscribers[i]), 0);
    }
    for (uint64_t i = 0; i < 100; i++) {
        put_number(publishers[i % 4], i);
        for (int j = 0; j < 6; j++) {
            expect_number(subscribers[j], i);
        }
    }
    for (int i = 0; i < 6; i++) {
        cshm_subscriber_leave(subscribers[i]);
    }
    for (int i = 0; i < 4; i++) {
        cshm_publisher_leave(publishers[i]);
    }
    cshm_broadcast_close(broadcast);
    cshm_region_close(region);
}

static void ends(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    void *place = NULL;
    cshm_broadcast *broadcast = make_broadcast(region, 4, &offset);
    cshm_subscriber *sure = subscribe_to(broadcast, CSHM_LOSSLESS, 0);
    cshm_subscriber *late = subscribe_to(broadcast, CSHM_OVERWRITE, 0);
    CHECK_EQ(peek_status(sure), -EAGAIN); /* no publisher yet is not the end */
    cshm_publisher *publisher = publish_to(broadcast);
    for (uint64_t i = 0; i < 4; i++) {
        put_number(publisher, i);
    }
    cshm_publisher *other = publish_to(broadcast);
    CHECK_EQ(cshm_publisher_claim(other, 8, &place), 0);
    cshm_publisher_leave(publisher);
    CHECK_EQ(cshm_broadcast_finish(broadcast), 0); /* the ring is full, which does not matter */
    CHECK_EQ(cshm_broadcast_finish(broadcast), 0);
    CHECK_EQ(cshm_publisher_try_commit(other), -EPIPE);
    CHECK_EQ(cshm_publisher_claim(other, 8, &place), -EPIPE);
    CHECK_EQ(cshm_publisher_join(broadcast, &publisher), -EPIPE);
    for (uint64_t i = 0; i < 4; i++) {
        expect_number(sure, i);
        expect_number(late, i);
    }
    cshm_subscriber *historian = subscribe_to(broadcast, CSHM_OVERWRITE, 1);
    expect_number(historian, 3);
    CHECK_EQ(peek_status(historian), -EPIPE);
    CHECK_EQ(peek_status(sure), -EPIPE);
    CHECK_EQ(peek_status(late), -EPIPE);
    cshm_publisher_leave(other);
    cshm_subscriber_leave(historian);
    cshm_subscriber_leave(late);
    cshm_subscriber_leave(sure);
    cshm_broadcast_close(broadcast);

    broadcast = make_broadcast(region, 4, &offset);
    sure = subscribe_to(broadcast, CSHM_LOSSLESS, 0);
    publisher = publish_to(broadcast);
    other = publish_to(broadcast);
    put_number(publisher, 7);
    cshm_publisher_leave(publisher);
    expect_number(sure, 7);
    CHECK_EQ(peek_status(sure), -EAGAIN);
    cshm_publisher_leave(other); /* the last */
    CHECK_EQ(peek_status(sure), -EPIPE);
    CHECK_EQ(cshm_publisher_join(broadcast, &publisher), -EPIPE);
    cshm_subscriber_leave(sure);
    cshm_broadcast_close(broadcast);

    broadcast = make_broadcast(region, 4, &offset);
    sure = subscribe_to(broadcast, CSHM_LOSSLESS, 0);
    publisher = publish_to(broadcast);
    put_number(publisher, 7);
    CHECK_EQ(cshm_publisher_claim(publisher, 8, &place), 0);
    cshm_broadcast_cancel(broadcast);
    CHECK_EQ(peek_status(sure), -ECANCELED);
    CHECK_EQ(cshm_publisher_try_commit(publisher), -ECANCELED);
    CHECK_EQ(cshm_publisher_claim(publisher, 8, &place), -ECANCELED);
    CHECK_EQ(cshm_publisher_join(broadcast, &other), -ECANCELED);
    CHECK_EQ(cshm_subscriber_join(broadcast, CSHM_LOSSLESS, 0, &late), -ECANCELED);
    cshm_subscriber_leave(sure);
    cshm_publisher_leave(publisher);
    cshm_broadcast_close(broadcast);
    cshm_region_close(region);
}

static void deadlines(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    cshm_broadcast *broadcast = make_broadcast(region, 2, &offset);
    cshm_publisher *publisher = publish_to(broadcast);
    cshm_subscriber *sure = subscribe_to(broadcast, CSHM_LOSSLESS, 0);
    struct cshm_broadcast_message message;
    uint64_t number = 0;
    uint64_t length = 0;
    for (int64_t wait = 1000; wait < 100 * MILLISECOND; wait *= 8) {
        int64_t deadline = after(wait);
        CHECK_EQ(cshm_subscriber_peek_until(sure, &message, deadline), -ETIMEDOUT);
        CHECK(cshm_now_ns() >= deadline);
        put_number(publisher, 1);
        put_number(publisher, 2);
        deadline = after(wait);
        CHECK_EQ(cshm_publisher_put_until(publisher, &wait, 8, deadline), -ETIMEDOUT);
        CHECK(cshm_now_ns() >= deadline);
        CHECK_EQ(cshm_subscriber_get_until(sure, &number, 8, &length, 0), 0);
        CHECK_EQ(cshm_subscriber_get_until(sure, &number, 8, &length, 0), 0);
        CHECK_EQ(number, 2);
    }
    cshm_subscriber_leave(sure);
    cshm_publisher_leave(publisher);
    cshm_broadcast_close(broadcast);
    cshm_region_close(region);
}

struct late {
    cshm_broadcast *broadcast;
    cshm_publisher *publisher;
    cshm_subscriber *subscriber;
};

static void *put_late(void *context)
{
    usleep(5000);
    put_number(((struct late *)context)->publisher, 1);
    return NULL;
}

static void *get_late(void *context)
{
    usleep(5000);
    expect_number(((struct late *)context)->subscriber, 1);
    return NULL;
}

static void *finish_late(void *context)
{
    usleep(5000);
    CHECK_EQ(cshm_broadcast_finish(((struct late *)context)->broadcast), 0);
    return NULL;
}

static void wakes(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    struct late late = {.broadcast = make_broadcast(region, 2, &offset)};
    struct cshm_broadcast_message message;
    pthread_t thread;
    late.publisher = publish_to(late.broadcast);
    late.subscriber = subscribe_to(late.broadcast, CSHM_LOSSLESS, 0);
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(pthread_create(&thread, NULL, put_late, &late), 0);
        CHECK_EQ(cshm_subscriber_peek_until(late.subscriber, &message, INT64_MAX), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        put_number(late.publisher, 1);
        CHECK_EQ(pthread_create(&thread, NULL, get_late, &late), 0);
        CHECK_EQ(cshm_publisher_put_until(late.publisher, &(uint64_t){1}, 8, INT64_MAX), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        expect_number(late.subscriber, 1);
        expect_number(late.subscriber, 1);
    }
    CHECK_EQ(pthread_create(&thread, NULL, finish_late, &late), 0);
    CHECK_EQ(cshm_subscriber_peek_until(late.subscriber, &message, INT64_MAX), -EPIPE);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    cshm_subscriber_leave(late.subscriber);
    cshm_publisher_leave(late.publisher);
    cshm_broadcast_close(late.broadcast);
    cshm_region_close(region);
}

static void corrupt(void)
{
    cshm_region *region = make_region(8u << 20);
    uint64_t offset = 0;
    uint64_t random = make_seed();
    cshm_broadcast *broadcast = make_broadcast(region, 16, &offset);
    cshm_broadcast_close(broadcast);
    uint64_t *words = cshm_heap_pointer(region, offset, 8);
    uint64_t count = 4096 / 8;
    while (cshm_heap_pointer(region, offset, count * 8) == NULL) {
        count--;
    }
    uint64_t *saved = malloc(count * 8);
    CHECK(saved != NULL);
    memcpy(saved, words, count * 8);
    for (int round = 0; round < 20000; round++) {
        cshm_publisher *publisher = NULL;
        cshm_subscriber *subscriber[2] = {NULL, NULL};
        uint64_t bytes[64] = {0};
        uint64_t length = 0;
        memcpy(words, saved, count * 8);
        if (cshm_broadcast_open(region, offset, TAG, &broadcast) != 0) {
            CHECK(false);
        }
        CHECK_EQ(cshm_publisher_join(broadcast, &publisher), 0);
        CHECK_EQ(cshm_subscriber_join(broadcast, CSHM_LOSSLESS, 3, &subscriber[0]), 0);
        CHECK_EQ(cshm_subscriber_join(broadcast, CSHM_OVERWRITE, 3, &subscriber[1]), 0);
        for (uint64_t step = 0; step < 40; step++) {
            if (step % 8 == 5) {
                uint64_t value = next_random(&random);
                words[next_random(&random) % count] = value >> (value % 64);
            }
            int status = cshm_publisher_try_put(publisher, bytes, step % 3 == 0 ? 100 : 8);
            CHECK(status <= 0);
            status = cshm_subscriber_try_get(subscriber[step % 2], bytes, sizeof bytes, &length);
            CHECK(status <= 0);
            (void)cshm_broadcast_subscribers(broadcast);
            (void)cshm_broadcast_count(broadcast);
        }
        (void)cshm_broadcast_finish(broadcast);
        struct cshm_broadcast_message many[4];
        CHECK(cshm_subscriber_try_peek_many(subscriber[0], many, 4) != 0);
        cshm_subscriber_leave(subscriber[0]);
        cshm_subscriber_leave(subscriber[1]);
        cshm_publisher_leave(publisher);
        cshm_broadcast_close(broadcast);
        if (cshm_broadcast_open(region, offset, TAG, &broadcast) == 0) {
            cshm_broadcast_close(broadcast);
        }
    }
    free(saved);
    cshm_region_close(region);
}

static void described(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t offset = 0;
    static const char text[100];
    struct cshm_broadcast_info info;
    cshm_broadcast *broadcast = make_broadcast(region, 8, &offset);
    cshm_broadcast_describe(broadcast, &info);
    CHECK(info.count == 0 && info.capacity == 8 && info.behind == 0 && info.bytes == 0);
    CHECK(info.publishers == 0 && info.subscribers == 0 && info.byte_limit == 0);
    cshm_publisher *publisher = publish_to(broadcast);
    cshm_subscriber *ahead = subscribe_to(broadcast, CSHM_LOSSLESS, 0);
    cshm_subscriber *behind = subscribe_to(broadcast, CSHM_LOSSLESS, 0);
    cshm_subscriber *other = subscribe_to(broadcast, CSHM_OVERWRITE, 0);
    for (uint64_t i = 0; i < 3; i++) {
        put_number(publisher, i);
    }
    CHECK_EQ(cshm_publisher_try_put(publisher, text, sizeof text), 0);
    expect_number(behind, 0);
    for (uint64_t i = 0; i < 3; i++) {
        expect_number(ahead, i);
    }
    cshm_broadcast_describe(broadcast, &info);
    CHECK(info.count == 4 && info.behind == 3 && info.bytes == sizeof text);
    CHECK(info.publishers == 1 && info.subscribers == 3 && !info.finished && !info.cancelled);
    cshm_subscriber_leave(behind);
    cshm_subscriber_leave(other);
    cshm_broadcast_describe(broadcast, &info);
    CHECK(info.behind == 1 && info.subscribers == 1);
    cshm_publisher_leave(publisher);
    CHECK_EQ(cshm_broadcast_finish(broadcast), 0);
    cshm_broadcast_describe(broadcast, &info);
    CHECK(info.publishers == 0 && info.finished && !info.cancelled);
    cshm_broadcast_cancel(broadcast);
    cshm_broadcast_describe(broadcast, &info);
    CHECK(info.cancelled);
    cshm_subscriber_leave(ahead);
    cshm_broadcast_destroy(broadcast);
    cshm_region_close(region);
}

const struct test broadcast_tests[] = {
    {"says_what_it_is_and_holds", described},
    {"gives_every_lossless_subscriber_everything_and_waits_for_the_slowest", lossless},
    {"counts_exactly_what_an_overwriting_subscriber_lost", overwriting},
    {"never_writes_into_a_slot_that_is_read", pins},
    {"gives_late_subscribers_the_history_that_is_there", history},
    {"carries_long_messages_and_frees_their_blocks", long_messages},
    {"publishes_and_releases_batches", batches},
    {"refuses_bad_options_other_types_and_too_many", refuses},
    {"ends_when_finished_when_cancelled_and_when_the_last_publisher_left", ends},
    {"does_not_time_out_early", deadlines},
    {"wakes_who_waits", wakes},
    {"answers_damaged_words_with_errors", corrupt},
    {NULL, NULL},
};
