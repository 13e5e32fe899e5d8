/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/broadcast.h.
 */
#include "support.h"

#include <pthread.h>

#include <cshm/broadcast.h>

extern const struct test broadcast_tests[];

enum { TAG = 13 };

static cshm_broadcast *make_broadcast(cshm_region *region, uint32_t capacity, uint64_t *offset)
{
    struct cshm_broadcast_options options = {
        .capacity = capacity, .slot_size = 24, .publishers = 4, .subscribers = 6, .type_tag = TAG};
    cshm_broadcast *broadcast = NULL;
    CHECK_EQ(cshm_broadcast_create(region, &options, offset), 0);
    CHECK_EQ(cshm_heap_share(region, *offset), 0);
    CHECK_EQ(cshm_broadcast_open(region, *offset, TAG, &broadcast), 0);
    return broadcast;
}

static cshm_publisher *publish_to(cshm_broadcast *broadcast)
{
    cshm_publisher *publisher = NULL;
    CHECK_EQ(cshm_publisher_join(broadcast, &publisher), 0);
    return publisher;
}

static cshm_subscriber *subscribe_to(cshm_broadcast *broadcast, uint32_t kind, uint64_t history)
{
    cshm_subscriber *subscriber = NULL;
    CHECK_EQ(cshm_subscriber_join(broadcast, kind, history, &subscriber), 0);
    return subscriber;
}

static void put_number(cshm_publisher *publisher, uint64_t number)
{
    CHECK_EQ(cshm_publisher_try_put(publisher, &number, 8), 0);
}

static void expect_number(cshm_subscriber *subscriber, uint64_t number)
{
    struct cshm_broadcast_message message;
    for (int again = 0; again < 2; again++) {
        CHECK_EQ(cshm_subscriber_try_peek(subscriber, &message), 0);
        CHECK_EQ(message.length, 8);
        CHECK_EQ(*(const uint64_t *)message.data, number);
    }
    cshm_subscriber_release(subscriber);
}

static int peek_status(cshm_subscriber *subscriber)
{
    struct cshm_broadcast_message message;
    return cshm_subscriber_try_peek(subscriber, &message);
}

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

/* ---- between threads and processes ---- */

enum {
    ROLES = 8,
    LOG = 1 << 25,
    INCARNATIONS = 1 << 16,
    RUN_MS = 4000,
};

/* Every reader agrees with every other on what is at a position. */
struct record {
    uint64_t offset;
    _Atomic uint32_t stop;
    _Atomic uint32_t next_incarnation;
    _Atomic uint32_t next_role;
    _Atomic uint32_t ready; /* the one who sees all has joined */
    uint32_t kind;          /* of subscribers 3 to 5 */
    _Atomic uint64_t read;
    _Atomic uint64_t lost;
    _Atomic uint64_t limit; /* messages of each publisher */
    _Atomic uint64_t acknowledged[INCARNATIONS];
    _Atomic uint64_t counted[INCARNATIONS]; /* by the one who sees all */
    _Atomic uint64_t log[LOG];
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

static void publish_letters(cshm_region *region, struct record *record)
{
    cshm_broadcast *broadcast = NULL;
    cshm_publisher *publisher = NULL;
    REQUIRE(cshm_broadcast_open(region, record->offset, TAG, &broadcast) == 0);
    int status = cshm_publisher_join(broadcast, &publisher);
    while (status == -EUSERS) { /* whose slot a dead one had, a stopped one may know */
        usleep(100);
        status = cshm_publisher_join(broadcast, &publisher);
    }
    if (status == -EPIPE) {
        cshm_broadcast_close(broadcast);
        return;
    }
    REQUIRE(status == 0);
    uint64_t incarnation = atomic_fetch_add(&record->next_incarnation, 1);
    REQUIRE(incarnation < INCARNATIONS);
    uint64_t limit = atomic_load(&record->limit);
    for (uint64_t number = 0; number < limit && status == 0; number++) {
        struct letter letter = {.incarnation = incarnation, .number = number};
        letter.check = incarnation * 31 + number * 17;
        for (uint64_t i = 0; i < 10; i++) {
            letter.filler[i] = number + i;
        }
        do {
            status = cshm_publisher_put_until(
                publisher, &letter, number % 5 == 0 ? sizeof letter : 24, after(20 * MILLISECOND));
        } while (status == -ETIMEDOUT && atomic_load(&record->stop) == 0);
        REQUIRE(status == 0 || status == -EPIPE || status == -ETIMEDOUT);
        if (status == 0) {
            atomic_store(&record->acknowledged[incarnation], number + 1);
        }
    }
    cshm_publisher_leave(publisher);
    cshm_broadcast_close(broadcast);
}

static void check_letter(struct record *record, const struct cshm_broadcast_message *message)
{
    const struct letter *letter = message->data;
    REQUIRE(message->length == (letter->number % 5 == 0 ? sizeof *letter : 24));
    REQUIRE(letter->check == letter->incarnation * 31 + letter->number * 17);
    for (uint64_t i = 0; letter->number % 5 == 0 && i < 10; i++) {
        REQUIRE(letter->filler[i] == letter->number + i);
    }
    REQUIRE(message->position < LOG && letter->incarnation < INCARNATIONS);
    uint64_t entry = ((letter->incarnation + 1) << 40) | letter->number;
    uint64_t none = 0;
    REQUIRE(atomic_compare_exchange_strong(&record->log[message->position], &none, entry) ||
            none == entry);
}

/* Reads until the end. Who sees all joined before anything was published, and never dies. */
static void read_letters(cshm_region *region, struct record *record, uint32_t kind, bool sees_all)
{
    cshm_broadcast *broadcast = NULL;
    cshm_subscriber *subscriber = NULL;
    struct cshm_broadcast_message messages[7];
    REQUIRE(cshm_broadcast_open(region, record->offset, TAG, &broadcast) == 0);
    REQUIRE(cshm_subscriber_join(broadcast, kind, sees_all ? UINT64_MAX : 9, &subscriber) == 0);
    uint64_t first = sees_all ? 0 : UINT64_MAX;
    atomic_fetch_or(&record->ready, sees_all);
    uint64_t read = 0;
    int status = 0;
    while (status >= 0 || status == -ETIMEDOUT) {
        status = cshm_subscriber_peek_until(subscriber, messages, after(20 * MILLISECOND));
        int count = status == 0 ? 1 : 0;
        if (status == 0 && read % 3 == 0) {
            count = cshm_subscriber_try_peek_many(subscriber, messages, 7);
            REQUIRE(count > 0 && (kind == CSHM_LOSSLESS || count == 1));
        }
        for (int i = 0; i < count; i++) {
            first = first == UINT64_MAX ? messages[i].position - cshm_subscriber_lost(subscriber)
                                        : first;
            REQUIRE(messages[i].position == first + read + cshm_subscriber_lost(subscriber));
            check_letter(record, &messages[i]);
            const struct letter *letter = messages[i].data;
            if (sees_all) { /* each one once, and in order */
                REQUIRE(atomic_load(&record->counted[letter->incarnation]) == letter->number);
                atomic_store(&record->counted[letter->incarnation], letter->number + 1);
            }
            read++;
        }
        cshm_subscriber_release_many(subscriber, (uint32_t)count);
        atomic_fetch_add(&record->read, (uint64_t)count);
    }
    REQUIRE(status == -EPIPE);
    REQUIRE(kind == CSHM_OVERWRITE || cshm_subscriber_lost(subscriber) == 0);
    REQUIRE(first == UINT64_MAX ||
            first + read + cshm_subscriber_lost(subscriber) == cshm_broadcast_count(broadcast));
    atomic_fetch_add(&record->lost, cshm_subscriber_lost(subscriber));
    cshm_subscriber_leave(subscriber);
    cshm_broadcast_close(broadcast);
}

/* Roles 0 to 2 publish, 6 and 7 are overwriting, and 3 to 5 of the kind that the test wants; a
 * lossless 3 sees all. */
static void play(cshm_region *region, struct record *record, uint32_t role)
{
    if (role < 3) {
        publish_letters(region, record);
    } else {
        uint32_t kind = role < 6 ? record->kind : CSHM_OVERWRITE;
        read_letters(region, record, kind, role == 3 && kind == CSHM_LOSSLESS);
    }
}

static void check_record(struct record *record, uint64_t published)
{
    uint64_t counted = 0;
    for (uint32_t i = 0; i < atomic_load(&record->next_incarnation); i++) {
        uint64_t seen = atomic_load(&record->counted[i]);
        uint64_t acknowledged = atomic_load(&record->acknowledged[i]);
        CHECK(seen == acknowledged || seen == acknowledged + 1);
        counted += seen;
    }
    CHECK_EQ(counted, published);
}

struct part {
    struct record *record;
    cshm_region *region;
    uint32_t role;
};

static void *play_thread(void *context)
{
    struct part *part = context;
    play(part->region, part->record, part->role);
    return NULL;
}

/* Starts with the one who sees all; the caller's publisher keeps it from ending before all join. */
static void threads(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(16u << 20);
    uint64_t before = blocks_in_use(region);
    cshm_broadcast *broadcast = make_broadcast(region, 64, &record->offset);
    cshm_publisher *keeper = publish_to(broadcast);
    pthread_t thread[ROLES];
    struct part part[ROLES];
    record->limit = 20000;
    record->kind = CSHM_LOSSLESS;
    for (uint32_t i = 0; i < ROLES; i++) {
        part[i] = (struct part){record, region, (i + 3) % ROLES};
        CHECK_EQ(pthread_create(&thread[i], NULL, play_thread, &part[i]), 0);
        wait_until_set(&record->ready, 1);
    }
    wait_until_set(&record->next_incarnation, 3);
    cshm_publisher_leave(keeper);
    for (uint32_t i = 0; i < ROLES; i++) {
        CHECK_EQ(pthread_join(thread[i], NULL), 0);
    }
    CHECK_EQ(cshm_broadcast_count(broadcast), 3 * record->limit);
    CHECK_EQ(cshm_broadcast_subscribers(broadcast), 0);
    check_record(record, 3 * record->limit);
    cshm_broadcast_destroy(broadcast);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void play_process(cshm_region *region, void *context)
{
    struct part *part = context;
    play(region, part->record, part->role);
    cshm_region_close(region);
}

static pid_t start(cshm_region *region, struct record *record, uint32_t role)
{
    struct part part = {record, region, role};
    return spawn(region, play_process, &part);
}

static void start_all(cshm_region *region, struct record *record, pid_t children[ROLES])
{
    for (uint32_t i = 0; i < ROLES; i++) {
        uint32_t role = (i + 3) % ROLES;
        children[role] = start(region, record, role);
        if (record->kind == CSHM_LOSSLESS) {
            wait_until_set(&record->ready, 1);
        }
    }
}

static void processes(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(16u << 20);
    uint64_t before = blocks_in_use(region);
    cshm_broadcast *broadcast = make_broadcast(region, 64, &record->offset);
    cshm_publisher *keeper = publish_to(broadcast);
    pid_t children[ROLES];
    record->limit = 100000;
    record->kind = CSHM_LOSSLESS;
    start_all(region, record, children);
    wait_until_set(&record->next_incarnation, 3);
    cshm_publisher_leave(keeper);
    for (uint32_t i = 0; i < ROLES; i++) {
        expect_success(children[i]);
    }
    check_record(record, 3 * record->limit);
    cshm_broadcast_destroy(broadcast);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void wait_for_reads(struct record *record, uint64_t more)
{
    uint64_t seen = atomic_load(&record->read);
    int64_t end = after(10 * SECOND);
    while (atomic_load(&record->read) < seen + more) {
        CHECK(cshm_now_ns() < end);
        usleep(50);
    }
}

/* Kills, or stops for a while, one after another; every role but a 3 that sees all. Nobody else
 * waits for a stopped publisher or overwriting subscriber. */
static uint64_t massacre(cshm_region *region, struct record *record, cshm_broadcast *broadcast,
                         pid_t children[ROLES])
{
    uint64_t random = make_seed();
    uint64_t killed = 0;
    uint64_t stopped = 0;
    int64_t end = after(RUN_MS * MILLISECOND);
    while (cshm_now_ns() < end && atomic_load(&record->next_incarnation) < INCARNATIONS - 4 &&
           cshm_broadcast_count(broadcast) < LOG / 4 * 3) {
        uint32_t victim = (uint32_t)(next_random(&random) % ROLES);
        bool lossless = record->kind == CSHM_LOSSLESS && victim >= 3 && victim <= 5;
        usleep((useconds_t)(next_random(&random) % 400));
        if (lossless && victim == 3) {
            continue;
        }
        if (next_random(&random) % 8 == 0 && !lossless) {
            stop_child(children[victim]);
            wait_for_reads(record, 300);
            kill(children[victim], SIGCONT);
            stopped++;
        } else {
            kill_child(children[victim]);
            killed++;
            children[victim] = start(region, record, victim);
        }
        if (killed % 64 == 0) {
            wait_for_reads(record, 1);
            (void)cshm_region_reap(region);
        }
    }
    wait_for_reads(record, 300);
    fprintf(stderr, "%llu kills, %llu stops\n", (unsigned long long)killed,
            (unsigned long long)stopped);
    return killed;
}

static void crash(uint32_t kind)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(64u << 20);
    uint64_t before = blocks_in_use(region);
    cshm_broadcast *broadcast = make_broadcast(region, 32, &record->offset);
    cshm_publisher *keeper = publish_to(broadcast);
    pid_t children[ROLES];
    record->limit = UINT64_MAX;
    record->kind = kind;
    start_all(region, record, children);
    CHECK(massacre(region, record, broadcast, children) > 50);
    atomic_store(&record->stop, 1);
    cshm_publisher_leave(keeper);
    CHECK_EQ(cshm_broadcast_finish(broadcast), 0);
    for (uint32_t i = 0; i < ROLES; i++) {
        expect_success(children[i]);
    }
    uint64_t published = cshm_broadcast_count(broadcast);
    fprintf(stderr, "%llu published, %llu read, %llu lost\n", (unsigned long long)published,
            (unsigned long long)record->read, (unsigned long long)record->lost);
    if (kind == CSHM_LOSSLESS) {
        check_record(record, published);
    } else {
        CHECK(record->lost > 0);
    }
    CHECK_EQ(cshm_broadcast_subscribers(broadcast), 0);
    (void)cshm_region_reap(region);
    cshm_broadcast_destroy(broadcast);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void crash_lossless(void)
{
    crash(CSHM_LOSSLESS);
}

static void crash_overwriting(void)
{
    crash(CSHM_OVERWRITE);
}

static void hang_as_publisher(cshm_region *region, void *context)
{
    struct record *record = context;
    cshm_broadcast *broadcast = NULL;
    REQUIRE(cshm_broadcast_open(region, record->offset, TAG, &broadcast) == 0);
    put_number(publish_to(broadcast), 5);
    atomic_store(&record->next_role, 1);
    for (;;) {
        pause();
    }
}

static void hang_as_subscriber(cshm_region *region, void *context)
{
    struct record *record = context;
    cshm_broadcast *broadcast = NULL;
    struct cshm_broadcast_message message;
    REQUIRE(cshm_broadcast_open(region, record->offset, TAG, &broadcast) == 0);
    cshm_subscriber *sure = subscribe_to(broadcast, CSHM_LOSSLESS, 1);
    cshm_subscriber *late = subscribe_to(broadcast, CSHM_OVERWRITE, 1);
    REQUIRE(cshm_subscriber_try_peek(sure, &message) == 0);
    REQUIRE(cshm_subscriber_try_peek(late, &message) == 0);
    atomic_store(&record->next_role, 1);
    for (;;) {
        pause();
    }
}

static void killed_publisher(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(4u << 20);
    struct cshm_broadcast_message message;
    cshm_broadcast *broadcast = make_broadcast(region, 4, &record->offset);
    cshm_subscriber *sure = subscribe_to(broadcast, CSHM_LOSSLESS, 0);
    pid_t child = spawn(region, hang_as_publisher, record);
    wait_until_set(&record->next_role, 1);
    expect_number(sure, 5);
    CHECK_EQ(cshm_subscriber_peek_until(sure, &message, after(50 * MILLISECOND)), -ETIMEDOUT);
    stop_child(child); /* is alive */
    CHECK_EQ(cshm_subscriber_peek_until(sure, &message, after(50 * MILLISECOND)), -ETIMEDOUT);
    kill_child(child);
    CHECK_EQ(cshm_subscriber_peek_until(sure, &message, INT64_MAX), -EPIPE);
    cshm_subscriber_leave(sure);
    cshm_broadcast_close(broadcast);
    cshm_region_close(region);
}

static void killed_subscriber(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(4u << 20);
    cshm_broadcast *broadcast = make_broadcast(region, 4, &record->offset);
    cshm_publisher *publisher = publish_to(broadcast);
    put_number(publisher, 0);
    pid_t child = spawn(region, hang_as_subscriber, record);
    wait_until_set(&record->next_role, 1);
    CHECK_EQ(cshm_broadcast_subscribers(broadcast), 2);
    uint64_t number = 0;
    while (cshm_publisher_try_put(publisher, &number, 8) == 0) {
        number++;
    }
    CHECK_EQ(number, 3);
    stop_child(child); /* holds publishers up, as it is alive */
    CHECK_EQ(cshm_publisher_put_until(publisher, &number, 8, after(50 * MILLISECOND)), -ETIMEDOUT);
    kill_child(child);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(cshm_publisher_put_until(publisher, &number, 8, INT64_MAX), 0);
    }
    CHECK_EQ(cshm_broadcast_subscribers(broadcast), 0);
    cshm_publisher_leave(publisher);
    cshm_broadcast_close(broadcast);
    cshm_region_close(region);
}

const struct test broadcast_tests[] = {
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
    {"keeps_every_promise_between_threads", threads},
    {"keeps_every_promise_between_processes", processes},
    {"keeps_every_promise_while_every_role_is_killed_and_stopped", crash_lossless},
    {"counts_what_is_lost_while_every_role_is_killed_and_stopped", crash_overwriting},
    {"ends_when_the_last_publisher_is_killed", killed_publisher},
    {"is_not_held_up_by_a_killed_lossless_subscriber", killed_subscriber},
    {NULL, NULL},
};
