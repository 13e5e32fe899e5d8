/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Rings, queues, lanes and broadcasts, each with both ends in this process.
 */
#include "fuzz.h"

extern const struct subject fuzz_ring, fuzz_queue, fuzz_lanes, fuzz_broadcast;

enum {
    CAPACITY = 4,
    SLOT = 16,
    ROOM = 400,
    MANY = 6,
};

static uint8_t bytes[ROOM * MANY];

/* Inline, just over it, or long. */
static uint64_t length_of(uint32_t argument)
{
    return argument % 4 == 0 ? argument : argument % SLOT + 1;
}

/* Reads what a call said is there. */
static void read_all(const void *data, uint64_t length)
{
    volatile uint8_t sum = 0;
    for (uint64_t i = 0; i < length; i++) {
        sum = (uint8_t)(sum + ((const uint8_t *)data)[i]);
    }
}

static void look_at(const struct cshm_waitable *waitable)
{
    (void)!cshm_wait_any(waitable, 1, 0);
}

/* ---- ring ---- */

static void make_ring(struct scene *scene)
{
    cshm_ring *ring = NULL;
    MUST(cshm_ring_create(scene->region, CAPACITY, SLOT, &scene->place) == 0);
    fuzz_share(scene, 5 * 128 + CAPACITY * 40);
    MUST(cshm_ring_open(scene->region, scene->place, &ring) == 0);
    MUST(cshm_ring_become_producer(ring) == 0 && cshm_ring_become_consumer(ring) == 0);
    scene->handle[0] = ring;
}

static void use_ring(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_ring *ring = scene->handle[0];
    cshm_ring *again = NULL;
    struct cshm_waitable waitable;
    const void *data = NULL;
    void *place = NULL;
    uint64_t length = length_of(argument);
    switch (operation) {
    case 0:
    case 1:
        (void)!cshm_ring_try_put(ring, bytes, length);
        break;
    case 2:
        (void)!cshm_ring_try_put_many(ring, bytes, length, argument % MANY);
        break;
    case 3:
        if (cshm_ring_try_claim_at(ring, argument % CAPACITY, length, &place) == 0) {
            memset(place, 1, length);
        }
        break;
    case 4:
        if (cshm_ring_try_claim(ring, length, &place) == 0) {
            memset(place, 1, length);
            cshm_ring_commit_many(ring, 1 + argument % 2);
        }
        break;
    case 5:
    case 6:
        (void)!cshm_ring_try_get(ring, bytes, sizeof bytes, &length);
        break;
    case 7:
        (void)!cshm_ring_try_get_many(ring, bytes, length, argument % MANY);
        break;
    case 8:
        if (cshm_ring_try_peek_at(ring, argument % CAPACITY, &data, &length) == 0) {
            read_all(data, length);
        }
        break;
    case 9:
        if (cshm_ring_try_peek(ring, &data, &length) == 0) {
            read_all(data, length);
            cshm_ring_release(ring);
        }
        break;
    case 10:
        (void)cshm_ring_count(ring);
        (void)!cshm_ring_put_until(ring, bytes, length, scene->soon);
        break;
    case 11:
        (void)!cshm_ring_get_until(ring, bytes, sizeof bytes, &length, scene->soon);
        break;
    case 12:
        if (cshm_ring_open(scene->region, scene->place, &again) == 0) {
            (void)!cshm_ring_become_producer(again);
            (void)!cshm_ring_become_consumer(again);
            (void)cshm_ring_count(again);
            cshm_ring_close(again);
        }
        break;
    case 13:
        argument % 8 == 0 ? (void)cshm_ring_finish(ring) : (void)cshm_ring_count(ring);
        break;
    case 14:
        cshm_ring_items(ring, &waitable);
        look_at(&waitable);
        break;
    default:
        cshm_ring_room(ring, &waitable);
        look_at(&waitable);
    }
}

static void leave_ring(struct scene *scene)
{
    cshm_ring_destroy(scene->handle[0]);
}

const struct subject fuzz_ring = {"ring", make_ring, use_ring, leave_ring};

/* ---- queue ---- */

static void make_queue(struct scene *scene)
{
    struct cshm_queue_options options = {.capacity = CAPACITY,
                                         .slot_size = SLOT,
                                         .ports = 5,
                                         .pack = 3,
                                         .type_tag = TAG,
                                         .byte_limit = 2000};
    cshm_queue *queue = NULL;
    MUST(cshm_queue_create(scene->region, &options, &scene->place) == 0);
    fuzz_share(scene, 7 * 128 + 5 * 128 + 128 + 128 + 9 * 64);
    MUST(cshm_queue_open(scene->region, scene->place, TAG, &queue) == 0);
    scene->handle[0] = queue;
}

/* At most one message is held at a time, in handle 1. */
static void take(struct scene *scene, int status, struct cshm_message *message, uint32_t argument)
{
    cshm_queue *queue = scene->handle[0];
    if (status == 0) {
        for (uint32_t i = 0; i < message->count; i++) {
            read_all((const uint8_t *)message->data + i * message->length, message->length);
        }
        if (argument % 3 == 0) {
            cshm_queue_return(queue, message);
        } else {
            cshm_queue_release(queue, message);
        }
    }
}

static void use_queue(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_queue *queue = scene->handle[0];
    cshm_queue *again = NULL;
    struct cshm_message message;
    struct cshm_queue_info info;
    struct cshm_waitable waitable;
    uint64_t length = length_of(argument);
    uint64_t ticket = 0;
    uint32_t token = 0;
    switch (operation) {
    case 0:
    case 1:
        (void)!cshm_queue_try_put(queue, bytes, length);
        break;
    case 2:
        (void)!cshm_queue_try_put_many(queue, bytes, argument % SLOT + 1, argument % MANY + 1);
        break;
    case 3:
        if (cshm_queue_claim_many(queue, SLOT, argument % 3 + 1, &message) == 0) {
            memset(message.data, 1, SLOT * (argument % 3 + 1));
            if (cshm_queue_try_commit(queue, &message) != 0) {
                cshm_queue_abort(queue, &message);
            }
        }
        break;
    case 4:
    case 5:
        take(scene, cshm_queue_try_take(queue, &message), &message, 1);
        break;
    case 6:
        take(scene, cshm_queue_try_take_many(queue, argument % MANY + 1, &message), &message,
             argument);
        break;
    case 7:
    case 8:
        take(scene, cshm_queue_try_lease(queue, argument % 3 + 1, &message), &message, argument);
        break;
    case 9:
        cshm_queue_describe(queue, &info);
        (void)!cshm_queue_join_until(queue, scene->soon);
        break;
    case 10:
        if (cshm_queue_producer_open(queue, &token) == 0 && argument % 4 != 0) {
            cshm_queue_producer_close(queue, token);
        }
        break;
    case 11:
        if (cshm_queue_producer_send(queue, &ticket) == 0) {
            (void)!cshm_queue_producer_receive(queue, ticket, &token);
        }
        break;
    case 12:
        if (cshm_queue_open(scene->region, scene->place, TAG, &again) == 0) {
            (void)!cshm_queue_try_put(again, bytes, length);
            cshm_queue_close(again);
        }
        break;
    case 13:
        argument % 8 == 0 ? cshm_queue_finish(queue) : (void)cshm_queue_count(queue);
        break;
    case 14:
        (void)!cshm_queue_put_until(queue, bytes, length, scene->soon);
        take(scene, cshm_queue_take_until(queue, &message, scene->soon), &message, argument);
        break;
    default:
        argument % 2 == 0 ? cshm_queue_items(queue, &waitable) : cshm_queue_room(queue, &waitable);
        look_at(&waitable);
    }
}

static void leave_queue(struct scene *scene)
{
    cshm_queue_destroy(scene->handle[0]);
}

const struct subject fuzz_queue = {"queue", make_queue, use_queue, leave_queue};

/* ---- lanes ---- */

static void make_lanes(struct scene *scene)
{
    struct cshm_lanes_options options = {.capacity = CAPACITY,
                                         .slot_size = SLOT,
                                         .producers = 3,
                                         .type_tag = TAG,
                                         .byte_limit = 600};
    cshm_lanes *lanes = NULL;
    cshm_lane *lane = NULL;
    MUST(cshm_lanes_create(scene->region, &options, &scene->place) == 0);
    fuzz_share(scene, (4 + 3) * 128);
    MUST(cshm_lanes_open(scene->region, scene->place, TAG, &lanes) == 0);
    MUST(cshm_lanes_become_consumer(lanes) == 0 && cshm_lanes_join(lanes, &lane) == 0);
    scene->handle[0] = lanes;
    scene->handle[1] = lane;
}

static void use_lanes(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_lanes *lanes = scene->handle[0];
    cshm_lane *lane = scene->handle[1 + argument % 2];
    struct cshm_lanes_message messages[MANY];
    struct cshm_lanes_info info;
    struct cshm_waitable waitable;
    void *place = NULL;
    uint64_t length = length_of(argument / 2);
    int count = 0;
    lane = lane == NULL ? scene->handle[1] : lane;
    switch (operation) {
    case 0:
    case 1:
        (void)!cshm_lane_try_put(lane, bytes, length);
        break;
    case 2:
        (void)!cshm_lane_try_put_many(lane, bytes, length, argument % MANY);
        break;
    case 3:
        if (cshm_lane_try_claim_at(lane, argument % CAPACITY, length, &place) == 0) {
            memset(place, 1, length);
        }
        break;
    case 4:
        if (cshm_lane_try_claim(lane, length, &place) == 0) {
            memset(place, 1, length);
            (void)!cshm_lane_commit_many(lane, 1 + argument % 2);
        }
        break;
    case 5:
    case 6:
        (void)!cshm_lanes_try_get(lanes, bytes, sizeof bytes, &length);
        break;
    case 7:
    case 8:
        count = cshm_lanes_try_peek_many(lanes, messages, argument % MANY + 1);
        for (int i = 0; i < count; i++) {
            read_all(messages[i].data, messages[i].length);
        }
        cshm_lanes_release_many(lanes, argument % MANY);
        break;
    case 9:
        (void)cshm_lanes_count(lanes);
        cshm_lanes_describe(lanes, &info);
        break;
    case 10:
        if (scene->handle[2] == NULL) {
            if (cshm_lanes_join(lanes, &lane) == 0) {
                scene->handle[2] = lane;
            }
        } else {
            cshm_lane_leave(scene->handle[2]);
            scene->handle[2] = NULL;
        }
        break;
    case 11:
        (void)!cshm_lane_put_until(lane, bytes, length, scene->soon);
        (void)!cshm_lanes_get_until(lanes, bytes, sizeof bytes, &length, scene->soon);
        break;
    case 12:
        argument % 8 == 0 ? cshm_lanes_finish(lanes) : (void)cshm_lanes_count(lanes);
        break;
    case 13:
        argument % 16 == 0 ? cshm_lanes_cancel(lanes) : (void)cshm_lanes_capacity(lanes);
        break;
    default:
        operation == 14 ? cshm_lanes_items(lanes, &waitable) : cshm_lane_room(lane, &waitable);
        look_at(&waitable);
    }
}

static void leave_lanes(struct scene *scene)
{
    for (int i = 1; i <= 2; i++) {
        if (scene->handle[i] != NULL) {
            cshm_lane_leave(scene->handle[i]);
        }
    }
    cshm_lanes_destroy(scene->handle[0]);
}

const struct subject fuzz_lanes = {"lanes", make_lanes, use_lanes, leave_lanes};

/* ---- broadcast ---- */

static void make_broadcast(struct scene *scene)
{
    struct cshm_broadcast_options options = {.capacity = CAPACITY,
                                             .slot_size = SLOT,
                                             .publishers = 2,
                                             .subscribers = 3,
                                             .type_tag = TAG,
                                             .byte_limit = 600};
    cshm_broadcast *broadcast = NULL;
    cshm_publisher *publisher = NULL;
    cshm_subscriber *subscriber[2] = {NULL, NULL};
    MUST(cshm_broadcast_create(scene->region, &options, &scene->place) == 0);
    fuzz_share(scene, (6 + 2 + 3 + 1) * 128 + 11 * 64 + 11 * 16);
    MUST(cshm_broadcast_open(scene->region, scene->place, TAG, &broadcast) == 0);
    MUST(cshm_publisher_join(broadcast, &publisher) == 0);
    MUST(cshm_subscriber_join(broadcast, CSHM_LOSSLESS, 0, &subscriber[0]) == 0);
    MUST(cshm_subscriber_join(broadcast, CSHM_OVERWRITE, 0, &subscriber[1]) == 0);
    scene->handle[0] = broadcast;
    scene->handle[1] = publisher;
    scene->handle[2] = subscriber[0];
    scene->handle[3] = subscriber[1];
}

static void rejoin(struct scene *scene, uint32_t argument)
{
    cshm_publisher *publisher = NULL;
    cshm_subscriber *subscriber = NULL;
    if (argument % 2 == 0) {
        if (cshm_publisher_join(scene->handle[0], &publisher) == 0) {
            cshm_publisher_leave(publisher);
        }
    } else if (cshm_subscriber_join(scene->handle[0],
                                    argument % 4 == 1 ? CSHM_LOSSLESS : CSHM_OVERWRITE,
                                    argument % 8, &subscriber) == 0) {
        cshm_subscriber_leave(subscriber);
    }
}

static void use_broadcast(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_broadcast *broadcast = scene->handle[0];
    cshm_publisher *publisher = scene->handle[1];
    cshm_subscriber *subscriber = scene->handle[2 + argument % 2];
    struct cshm_broadcast_message messages[MANY];
    struct cshm_waitable waitable;
    void *place = NULL;
    uint64_t length = length_of(argument / 2);
    int count = 0;
    switch (operation) {
    case 0:
    case 1:
        (void)!cshm_publisher_try_put(publisher, bytes, length);
        break;
    case 2:
        (void)!cshm_publisher_try_put_many(publisher, bytes, length, argument % MANY);
        break;
    case 3:
        if (cshm_publisher_claim(publisher, length, &place) == 0) {
            memset(place, 1, length);
        }
        break;
    case 4:
        (void)!cshm_publisher_try_commit(publisher);
        break;
    case 5:
    case 6:
    case 7:
        (void)!cshm_subscriber_try_get(subscriber, bytes, sizeof bytes, &length);
        break;
    case 8:
    case 9:
        count = cshm_subscriber_try_peek_many(subscriber, messages, argument % MANY + 1);
        for (int i = 0; i < count; i++) {
            read_all(messages[i].data, messages[i].length);
        }
        cshm_subscriber_release_many(subscriber, argument % MANY);
        break;
    case 10:
        (void)cshm_broadcast_count(broadcast);
        (void)cshm_broadcast_subscribers(broadcast);
        cshm_broadcast_describe(broadcast, &(struct cshm_broadcast_info){0});
        (void)cshm_subscriber_count(subscriber);
        break;
    case 11:
        rejoin(scene, argument);
        break;
    case 12:
        argument % 8 == 0 ? (void)cshm_broadcast_finish(broadcast)
                          : (void)cshm_broadcast_count(broadcast);
        break;
    case 13:
        (void)!cshm_publisher_put_until(publisher, bytes, length, scene->soon);
        (void)!cshm_subscriber_get_until(subscriber, bytes, sizeof bytes, &length, scene->soon);
        break;
    default:
        operation == 14 ? cshm_subscriber_items(subscriber, &waitable)
                        : cshm_publisher_room(publisher, &waitable);
        look_at(&waitable);
    }
}

static void leave_broadcast(struct scene *scene)
{
    cshm_publisher_leave(scene->handle[1]);
    cshm_subscriber_leave(scene->handle[2]);
    cshm_subscriber_leave(scene->handle[3]);
    cshm_broadcast_destroy(scene->handle[0]);
}

const struct subject fuzz_broadcast = {"broadcast", make_broadcast, use_broadcast, leave_broadcast};
