/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of the limits on the bytes of long messages, in queues, lanes and broadcasts.
 */
#include "support.h"

#include <pthread.h>

#include <cshm/broadcast.h>
#include <cshm/lanes.h>
#include <cshm/queue.h>

extern const struct test byte_limit_tests[];

enum { TAG = 18, BYTE_LIMIT = 1000 };

struct work {
    uint64_t offset;
    _Atomic uint32_t ready;
};

/* ---- lanes: each has its own limit ---- */

static cshm_lanes *make_limited(cshm_region *region, uint64_t *offset)
{
    struct cshm_lanes_options options = {
        .capacity = 8, .slot_size = 24, .producers = 2, .type_tag = TAG, .byte_limit = BYTE_LIMIT};
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

static int try_peek(cshm_lanes *lanes)
{
    struct cshm_lanes_message message;
    return cshm_lanes_try_peek(lanes, &message);
}

static uint64_t bytes_of(const cshm_lanes *lanes)
{
    struct cshm_lanes_info info;
    cshm_lanes_describe(lanes, &info);
    CHECK_EQ(info.count, cshm_lanes_count(lanes));
    CHECK_EQ(info.byte_limit, BYTE_LIMIT);
    CHECK_EQ(info.capacity, 8);
    return info.bytes;
}

static void of_lanes(void)
{
    static const char bytes[BYTE_LIMIT + 1];
    cshm_region *region = make_region(1u << 20);
    uint64_t before = blocks_in_use(region);
    uint64_t offset = 0;
    cshm_lanes *lanes = make_limited(region, &offset);
    struct cshm_waitable room;
    struct cshm_lanes_message message;
    struct cshm_lanes_info info;
    void *data = NULL;
    cshm_lane *lane[2] = {join(lanes), join(lanes)};
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    cshm_lane_room(lane[0], &room);
    CHECK_EQ(cshm_lane_try_put(lane[0], bytes, BYTE_LIMIT + 1), -EMSGSIZE);
    for (int round = 0; round < 100; round++) {
        CHECK_EQ(cshm_lane_try_put(lane[0], bytes, 400), 0);
        CHECK_EQ(cshm_lane_try_put(lane[0], bytes, 400), 0);
        CHECK_EQ(room.is_ready(room.object), 1);
        CHECK_EQ(cshm_lane_try_put(lane[0], bytes, 400), -EAGAIN);
        CHECK_EQ(room.is_ready(room.object), 0);            /* not for as much */
        CHECK_EQ(bytes_of(lanes), round == 0 ? 800 : 1800); /* the other's last block is kept */
        CHECK_EQ(cshm_lane_try_put(lane[0], bytes, 200), 0);
        CHECK_EQ(cshm_lane_try_put(lane[0], bytes, 24), 0);   /* inline: no bytes of blocks */
        CHECK_EQ(cshm_lane_try_put(lane[1], bytes, 1000), 0); /* each lane has its own limit */
        CHECK_EQ(cshm_lane_try_put(lane[0], bytes, 400), -EAGAIN);
        do {
            CHECK_EQ(room.is_ready(room.object), 0);
            CHECK_EQ(cshm_lanes_try_peek(lanes, &message), 0);
            cshm_lanes_release(lanes);
        } while (message.length != 400);
        CHECK_EQ(room.is_ready(room.object), 1);
        CHECK_EQ(cshm_lane_try_put_many(lane[0], bytes, 200, 4), 2);
        CHECK_EQ(cshm_lane_try_put_many(lane[0], bytes, 200, 4), -EAGAIN);
        while (try_peek(lanes) == 0) {
            cshm_lanes_release(lanes);
        }
        CHECK_EQ(cshm_lane_try_claim(lane[0], 300, &data), 0);
        CHECK_EQ(cshm_lane_try_claim_at(lane[0], 1, 500, &data), 0);
        memset(data, 5, 500);
        CHECK_EQ(cshm_lane_try_claim(lane[0], 600, &data), -EAGAIN); /* with what is claimed */
        CHECK_EQ(cshm_lane_try_claim(lane[0], 500, &data), 0);       /* but not itself */
        memset(data, 4, 500);
        CHECK_EQ(cshm_lane_commit_many(lane[0], 2), 2);
        for (int i = 4; i <= 5; i++) {
            CHECK_EQ(cshm_lanes_try_peek(lanes, &message), 0);
            CHECK_EQ(message.length, 500);
            CHECK_EQ(((const char *)message.data)[499], i);
            cshm_lanes_release(lanes);
        }
    }
    cshm_lane_leave(lane[1]);
    cshm_lanes_describe(lanes, &info);
    CHECK_EQ(info.producers, 1);
    CHECK(!info.finished && !info.cancelled);
    cshm_lanes_finish(lanes);
    cshm_lanes_describe(lanes, &info);
    CHECK(info.finished && !info.cancelled);
    cshm_lane_leave(lane[0]);
    cshm_lanes_destroy(lanes);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void put_up_to_the_limit(cshm_region *region, void *context)
{
    struct work *work = context;
    static const char bytes[BYTE_LIMIT];
    cshm_lanes *lanes = NULL;
    CHECK_EQ(cshm_lanes_open(region, work->offset, TAG, &lanes), 0);
    cshm_lane *lane = join(lanes);
    CHECK_EQ(cshm_lane_try_put(lane, bytes, 700), 0);
    atomic_store(&work->ready, 1);
    CHECK_EQ(cshm_lane_put_until(lane, bytes, 400, after(30 * SECOND)), -EPIPE);
}

/* What a killed producer left counts for its successor, who waits at the same limit. */
static void of_a_killed_producer(void)
{
    static const char bytes[BYTE_LIMIT];
    cshm_region *region = make_region(1u << 20);
    struct work *work = shared_memory(sizeof *work);
    cshm_lanes *lanes = make_limited(region, &work->offset);
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    cshm_lane *first = join(lanes);
    pid_t child = spawn(region, put_up_to_the_limit, work);
    wait_until_set(&work->ready, 1);
    CHECK_EQ(bytes_of(lanes), 700);
    kill_child(child);
    CHECK_EQ(try_peek(lanes), 0);
    cshm_lanes_release(lanes);
    CHECK_EQ(bytes_of(lanes), 700); /* the block is the lane's next producer's */
    cshm_lane *second = join(lanes);
    CHECK_EQ(cshm_lane_try_put(second, bytes, BYTE_LIMIT), 0);
    CHECK_EQ(cshm_lane_try_put(second, bytes, 25), -EAGAIN);
    CHECK_EQ(bytes_of(lanes), BYTE_LIMIT);
    CHECK_EQ(cshm_lane_put_until(second, bytes, 25, after(10 * MILLISECOND)), -ETIMEDOUT);
    cshm_lane_leave(first);
    cshm_lane_leave(second);
    cshm_lanes_destroy(lanes);
    cshm_region_close(region);
}

struct asker {
    struct cshm_waitable room;
    _Atomic uint32_t stop;
};

static void *ask_for_room(void *context)
{
    struct asker *asker = context;
    while (atomic_load(&asker->stop) == 0) {
        (void)asker->room.is_ready(asker->room.object);
    }
    return NULL;
}

/* As an event loop may, which has a thread of its own. */
static void of_lanes_while_another_thread_asks(void)
{
    static const char bytes[BYTE_LIMIT];
    cshm_region *region = make_region(1u << 20);
    uint64_t offset = 0;
    cshm_lanes *lanes = make_limited(region, &offset);
    cshm_lane *lane = join(lanes);
    struct asker asker = {.stop = 0};
    pthread_t thread;
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    cshm_lane_room(lane, &asker.room);
    CHECK_EQ(pthread_create(&thread, NULL, ask_for_room, &asker), 0);
    for (int round = 0; round < 3000; round++) {
        CHECK_EQ(cshm_lane_try_put(lane, bytes, 400), 0);
        CHECK_EQ(cshm_lane_try_put(lane, bytes, 500), 0);
        CHECK_EQ(cshm_lane_try_put(lane, bytes, 300), -EAGAIN);
        CHECK(bytes_of(lanes) <= BYTE_LIMIT);
        while (try_peek(lanes) == 0) {
            cshm_lanes_release(lanes);
        }
    }
    atomic_store(&asker.stop, 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    cshm_lane_leave(lane);
    cshm_lanes_destroy(lanes);
    cshm_region_close(region);
}

/* ---- queues: one limit for all ---- */

static void *ask_whether_it_has_room(void *context)
{
    const struct cshm_waitable *room = context;
    return room->is_ready(room->object) != 0 ? context : NULL;
}

/* What the waitable answers a thread that was refused nothing. */
static bool another_thread_has_room(struct cshm_waitable *room)
{
    pthread_t thread;
    void *answer = NULL;
    CHECK_EQ(pthread_create(&thread, NULL, ask_whether_it_has_room, room), 0);
    CHECK_EQ(pthread_join(thread, &answer), 0);
    return answer != NULL;
}

static uint64_t take_next(cshm_queue *queue)
{
    struct cshm_message message;
    CHECK_EQ(cshm_queue_try_take(queue, &message), 0);
    uint64_t length = message.length;
    cshm_queue_release(queue, &message);
    return length;
}

/* Who was refused waits for as much, by itself or by a bell, and for nothing else. */
static void of_queues(void)
{
    static const char bytes[BYTE_LIMIT + 1];
    struct cshm_queue_options options = {
        .capacity = 8, .slot_size = 24, .type_tag = TAG, .byte_limit = BYTE_LIMIT};
    cshm_region *region = make_region(1u << 20);
    cshm_queue *queue = NULL;
    cshm_bell *bell = NULL;
    struct cshm_waitable room;
    struct cshm_message message;
    uint64_t offset = 0;
    CHECK_EQ(cshm_queue_create(region, &options, &offset), 0);
    CHECK_EQ(cshm_queue_open(region, offset, TAG, &queue), 0);
    CHECK_EQ(cshm_bell_create(&bell), 0);
    cshm_queue_room(queue, &room);
    CHECK_EQ(cshm_queue_try_put(queue, bytes, BYTE_LIMIT + 1), -EMSGSIZE);
    for (int round = 0; round < 100; round++) {
        CHECK_EQ(cshm_queue_try_put(queue, bytes, 400), 0);
        CHECK_EQ(cshm_queue_try_put(queue, bytes, 300), 0);
        CHECK_EQ(room.is_ready(room.object), 1);
        CHECK_EQ(cshm_queue_try_put(queue, bytes, 400), -EAGAIN);
        CHECK_EQ(room.is_ready(room.object), 0); /* not for as much */
        CHECK(another_thread_has_room(&room));
        CHECK_EQ(cshm_wait_any(&room, 1, after(MILLISECOND)), -ETIMEDOUT);
        CHECK_EQ(cshm_queue_try_put(queue, bytes, 24), 0); /* inline: no bytes of blocks */
        CHECK_EQ(room.is_ready(room.object), 1);           /* nothing is waited for */
        CHECK_EQ(cshm_queue_claim(queue, 301, &message), -EAGAIN);
        CHECK_EQ(cshm_bell_arm(bell, &room), 0);
        CHECK_EQ(take_next(queue), 400);
        CHECK_EQ(cshm_bell_arm(bell, &room), 1);
        CHECK_EQ(cshm_wait_any(&room, 1, 0), 0);
        CHECK_EQ(cshm_queue_try_put(queue, bytes, 700), 0);
        CHECK_EQ(cshm_queue_try_put(queue, bytes, 25), -EAGAIN);
        CHECK_EQ(cshm_queue_put_until(queue, bytes, 25, after(MILLISECOND)), -ETIMEDOUT);
        CHECK_EQ(room.is_ready(room.object), 0);
        CHECK_EQ(take_next(queue), 300);
        CHECK_EQ(room.is_ready(room.object), 1);
        CHECK_EQ(take_next(queue), 24);
        CHECK_EQ(take_next(queue), 700);
        for (int i = 0; i < 8; i++) {
            CHECK_EQ(cshm_queue_try_put(queue, bytes, 24), 0);
        }
        CHECK_EQ(cshm_queue_try_put(queue, bytes, 24), -EAGAIN);
        CHECK_EQ(room.is_ready(room.object), 0);
        for (int i = 0; i < 8; i++) {
            CHECK_EQ(take_next(queue), 24);
            CHECK_EQ(room.is_ready(room.object), 1);
        }
    }
    cshm_bell_close(bell);
    cshm_queue_destroy(queue);
    cshm_region_close(region);
}

/* ---- broadcasts: those that are kept ---- */

enum { KEPT = 16, INLINE = 24, LONG = 400 };

static cshm_broadcast *make_broadcast(cshm_region *region)
{
    struct cshm_broadcast_options options = {.capacity = KEPT,
                                             .slot_size = INLINE,
                                             .publishers = 2,
                                             .subscribers = 4,
                                             .type_tag = TAG,
                                             .byte_limit = BYTE_LIMIT};
    cshm_broadcast *broadcast = NULL;
    uint64_t offset = 0;
    CHECK_EQ(cshm_broadcast_create(region, &options, &offset), 0);
    CHECK_EQ(cshm_heap_share(region, offset), 0);
    CHECK_EQ(cshm_broadcast_open(region, offset, TAG, &broadcast), 0);
    return broadcast;
}

static cshm_publisher *publish_to(cshm_broadcast *broadcast)
{
    cshm_publisher *publisher = NULL;
    CHECK_EQ(cshm_publisher_join(broadcast, &publisher), 0);
    return publisher;
}

static cshm_subscriber *subscribe(cshm_broadcast *broadcast, enum cshm_subscription kind,
                                  uint64_t history)
{
    cshm_subscriber *subscriber = NULL;
    CHECK_EQ(cshm_subscriber_join(broadcast, kind, history, &subscriber), 0);
    return subscriber;
}

/* A message whose bytes are all `number`. */
static int publish(cshm_publisher *publisher, uint8_t number, uint64_t length)
{
    uint8_t bytes[BYTE_LIMIT + 1];
    memset(bytes, number, sizeof bytes);
    return cshm_publisher_try_put(publisher, bytes, length);
}

/* The number of the next message, or why there is none. */
static int next_of(cshm_subscriber *subscriber)
{
    uint8_t bytes[BYTE_LIMIT];
    uint64_t length = 0;
    int status = cshm_subscriber_try_get(subscriber, bytes, sizeof bytes, &length);
    for (uint64_t i = 1; status == 0 && i < length; i++) {
        CHECK_EQ(bytes[i], bytes[0]);
    }
    return status == 0 ? bytes[0] : status;
}

static void of_broadcasts_lossless(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t before = blocks_in_use(region);
    cshm_broadcast *broadcast = make_broadcast(region);
    cshm_publisher *publisher = publish_to(broadcast);
    cshm_subscriber *subscriber = subscribe(broadcast, CSHM_LOSSLESS, 0);
    struct cshm_waitable room;
    cshm_publisher_room(publisher, &room);
    CHECK_EQ(publish(publisher, 1, BYTE_LIMIT + 1), -EMSGSIZE);
    CHECK_EQ(publish(publisher, 1, BYTE_LIMIT), 0);
    CHECK_EQ(next_of(subscriber), 1);
    for (int round = 0; round < 100; round++) {
        void *data = NULL;
        CHECK_EQ(cshm_publisher_claim(publisher, BYTE_LIMIT, &data), 0);
        cshm_publisher_abort(publisher);
        CHECK_EQ(cshm_publisher_try_commit(publisher), -EINVAL);
        CHECK_EQ(publish(publisher, 1, LONG), 0);
        CHECK_EQ(publish(publisher, 2, INLINE), 0);
        CHECK_EQ(publish(publisher, 3, LONG), 0);
        CHECK_EQ(blocks_in_use(region), before + 1 + 2); /* read ones have made room */
        CHECK_EQ(room.is_ready(room.object), 1);
        CHECK_EQ(publish(publisher, 4, LONG), -EAGAIN);
        CHECK_EQ(room.is_ready(room.object), 0);
        CHECK_EQ(publish(publisher, 4, BYTE_LIMIT - 2 * LONG), 0);
        CHECK_EQ(publish(publisher, 5, INLINE + 1), -EAGAIN);
        CHECK_EQ(room.is_ready(room.object), 0);
        CHECK_EQ(publish(publisher, 5, INLINE), 0);
        CHECK_EQ(cshm_publisher_claim(publisher, LONG, &data), 0);
        memset(data, 6, LONG);
        CHECK_EQ(cshm_publisher_commit_until(publisher, after(MILLISECOND)), -ETIMEDOUT);
        CHECK_EQ(next_of(subscriber), 1);
        CHECK_EQ(room.is_ready(room.object), 1);
        CHECK_EQ(cshm_publisher_commit_until(publisher, 0), 0);
        CHECK_EQ(cshm_publisher_commit_until(publisher, 0), -EINVAL);
        for (int number = 2; number <= 6; number++) {
            CHECK_EQ(next_of(subscriber), number);
        }
        CHECK_EQ(next_of(subscriber), -EAGAIN);
        CHECK(blocks_in_use(region) <= before + 1 + 3);
    }
    CHECK_EQ(cshm_subscriber_lost(subscriber), 0);
    cshm_subscriber_leave(subscriber);
    cshm_publisher_leave(publisher);
    cshm_broadcast_destroy(broadcast);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

/* Who is not waited for loses the oldest, and is told how many. */
static void of_broadcasts_overwriting(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t before = blocks_in_use(region);
    cshm_broadcast *broadcast = make_broadcast(region);
    cshm_publisher *publisher = publish_to(broadcast);
    cshm_subscriber *subscriber = subscribe(broadcast, CSHM_OVERWRITE, 0);
    struct cshm_broadcast_message held;
    CHECK_EQ(publish(publisher, 1, LONG), 0);
    CHECK_EQ(cshm_subscriber_try_peek(subscriber, &held), 0);
    for (uint8_t number = 2; number <= 9; number++) {
        CHECK_EQ(publish(publisher, number, number == 4 ? INLINE : LONG), 0);
        CHECK(blocks_in_use(region) <= before + 1 + 3); /* with the one that is read */
    }
    for (uint64_t i = 0; i < held.length; i++) {
        CHECK_EQ(((const uint8_t *)held.data)[i], 1);
    }
    cshm_subscriber_release(subscriber);
    CHECK_EQ(next_of(subscriber), 4); /* it took no bytes */
    CHECK_EQ(cshm_subscriber_lost(subscriber), 2);
    CHECK_EQ(next_of(subscriber), 8);
    CHECK_EQ(next_of(subscriber), 9);
    CHECK_EQ(cshm_subscriber_lost(subscriber), 5);
    CHECK_EQ(next_of(subscriber), -EAGAIN);
    /* The history of who joins is what is still there. */
    cshm_subscriber *lossless = subscribe(broadcast, CSHM_LOSSLESS, UINT64_MAX);
    cshm_subscriber *late = subscribe(broadcast, CSHM_OVERWRITE, UINT64_MAX);
    for (int number = 8; number <= 9; number++) {
        CHECK_EQ(next_of(lossless), number);
    }
    CHECK_EQ(next_of(lossless), -EAGAIN);
    CHECK_EQ(next_of(late), 4);
    CHECK_EQ(next_of(late), 8);
    CHECK_EQ(next_of(late), 9);
    CHECK_EQ(cshm_subscriber_lost(late), 6);
    cshm_subscriber_leave(lossless);
    cshm_subscriber_leave(late);
    cshm_subscriber_leave(subscriber);
    cshm_publisher_leave(publisher);
    cshm_broadcast_destroy(broadcast);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

enum { ROUNDS = 20000 };

struct part {
    cshm_broadcast *broadcast;
    enum cshm_subscription kind;
    uint64_t seen;
};

static void *publish_all(void *context)
{
    struct part *part = context;
    cshm_publisher *publisher = publish_to(part->broadcast);
    static const uint8_t bytes[BYTE_LIMIT];
    uint64_t random = (uint64_t)(uintptr_t)part;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t length = next_random(&random) % BYTE_LIMIT + 1;
        CHECK_EQ(cshm_publisher_put_until(publisher, bytes, length, after(20 * SECOND)), 0);
    }
    cshm_publisher_leave(publisher);
    return NULL;
}

static void *read_all(void *context)
{
    struct part *part = context;
    cshm_subscriber *subscriber = subscribe(part->broadcast, part->kind, 0);
    uint8_t bytes[BYTE_LIMIT];
    uint64_t length = 0;
    int status = 0;
    part->seen = 0;
    while ((status = cshm_subscriber_get_until(subscriber, bytes, sizeof bytes, &length,
                                               after(20 * SECOND))) == 0) {
        part->seen++;
    }
    CHECK_EQ(status, -EPIPE);
    CHECK(part->kind != CSHM_LOSSLESS || cshm_subscriber_lost(subscriber) == 0);
    part->seen += cshm_subscriber_lost(subscriber);
    cshm_subscriber_leave(subscriber);
    return NULL;
}

/* Two publish, two are waited for and one is not. */
static void of_broadcasts_among_threads(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t before = blocks_in_use(region);
    cshm_broadcast *broadcast = make_broadcast(region);
    struct part parts[5];
    pthread_t threads[5];
    for (int i = 4; i >= 0; i--) {
        parts[i] = (struct part){broadcast, i == 4 ? CSHM_OVERWRITE : CSHM_LOSSLESS, 0};
        CHECK_EQ(pthread_create(&threads[i], NULL, i < 2 ? publish_all : read_all, &parts[i]), 0);
        while (i == 2 && cshm_broadcast_subscribers(broadcast) < 3) {
            usleep(100);
        }
    }
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
        CHECK(i < 2 || parts[i].seen == cshm_broadcast_count(broadcast));
    }
    cshm_subscriber *history = subscribe(broadcast, CSHM_LOSSLESS, UINT64_MAX);
    uint64_t kept = 0;
    struct cshm_broadcast_message message;
    while (cshm_subscriber_try_peek(history, &message) == 0) {
        kept += message.length > INLINE ? message.length : 0;
        cshm_subscriber_release(history);
    }
    CHECK(kept <= BYTE_LIMIT);
    cshm_subscriber_leave(history);
    cshm_broadcast_destroy(broadcast);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

const struct test byte_limit_tests[] = {
    {"of_queues_is_waited_for_by_who_was_refused", of_queues},
    {"of_lanes_is_never_exceeded_and_released_bytes_come_back", of_lanes},
    {"of_lanes_while_another_thread_asks_for_room", of_lanes_while_another_thread_asks},
    {"of_lanes_counts_what_a_killed_producer_left", of_a_killed_producer},
    {"of_broadcasts_holds_publishers_back_for_the_lossless", of_broadcasts_lossless},
    {"of_broadcasts_drops_the_oldest_and_counts_them_as_lost", of_broadcasts_overwriting},
    {"of_broadcasts_holds_among_threads", of_broadcasts_among_threads},
    {NULL, NULL},
};
