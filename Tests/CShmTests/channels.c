/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See channels.h: each kind's calls, by the names that all share.
 */
#include "channels.h"

/* ---- ring ---- */

static int ring_create(cshm_region *region, uint64_t *place)
{
    return cshm_ring_create(region, CHANNEL_CAPACITY, CHANNEL_SLOT, place);
}

static int ring_open(struct channel *channel, uint64_t tag __attribute__((unused)))
{
    cshm_ring *ring = NULL;
    int status = cshm_ring_open(channel->region, channel->place, &ring);
    channel->view = ring;
    return status;
}

static int ring_be_putter(struct channel *channel)
{
    int status = cshm_ring_become_producer(channel->view);
    return status > 0 ? 0 : status;
}

static int ring_be_taker(struct channel *channel)
{
    int status = cshm_ring_become_consumer(channel->view);
    return status > 0 ? 0 : status;
}

static int ring_put(struct channel *channel, const void *data, uint64_t length)
{
    return cshm_ring_try_put(channel->view, data, length);
}

static int ring_put_until(struct channel *channel, const void *data, uint64_t length,
                          int64_t deadline)
{
    return cshm_ring_put_until(channel->view, data, length, deadline);
}

static int ring_take(struct channel *channel, void *data, uint64_t room, uint64_t *length)
{
    return cshm_ring_try_get(channel->view, data, room, length);
}

static int ring_take_until(struct channel *channel, void *data, uint64_t room, uint64_t *length,
                           int64_t deadline)
{
    return cshm_ring_get_until(channel->view, data, room, length, deadline);
}

static void ring_finish(struct channel *channel)
{
    CHECK_EQ(cshm_ring_finish(channel->view), 0);
}

static void ring_cancel(struct channel *channel)
{
    cshm_ring_cancel(channel->view);
}

static void ring_items(struct channel *channel, struct cshm_waitable *out)
{
    cshm_ring_items(channel->view, out);
}

static void ring_room(struct channel *channel, struct cshm_waitable *out)
{
    cshm_ring_room(channel->view, out);
}

static void ring_close(struct channel *channel)
{
    cshm_ring_close(channel->view);
}

static void ring_destroy(struct channel *channel)
{
    cshm_ring_destroy(channel->view);
}

/* ---- queue ---- */

static int queue_create(cshm_region *region, uint64_t *place)
{
    struct cshm_queue_options options = {
        .capacity = CHANNEL_CAPACITY, .slot_size = CHANNEL_SLOT, .type_tag = CHANNEL_TAG};
    return cshm_queue_create(region, &options, place);
}

static int queue_open(struct channel *channel, uint64_t tag)
{
    cshm_queue *queue = NULL;
    int status = cshm_queue_open(channel->region, channel->place, tag, &queue);
    channel->view = queue;
    return status;
}

static int queue_be_putter(struct channel *channel)
{
    uint32_t token = 0;
    return cshm_queue_producer_open(channel->view, &token);
}

static int queue_be_taker(struct channel *channel __attribute__((unused)))
{
    return 0;
}

static int queue_put(struct channel *channel, const void *data, uint64_t length)
{
    return cshm_queue_try_put(channel->view, data, length);
}

static int queue_put_until(struct channel *channel, const void *data, uint64_t length,
                           int64_t deadline)
{
    return cshm_queue_put_until(channel->view, data, length, deadline);
}

/* Copies a taken message out; what is longer is given back. */
static int queue_copy(cshm_queue *queue, struct cshm_message *message, void *data, uint64_t room,
                      uint64_t *length)
{
    if (message->length > room) {
        cshm_queue_return(queue, message);
        return -EMSGSIZE;
    }
    memcpy(data, message->data, message->length);
    *length = message->length;
    cshm_queue_release(queue, message);
    return 0;
}

static int queue_take(struct channel *channel, void *data, uint64_t room, uint64_t *length)
{
    struct cshm_message message;
    int status = cshm_queue_try_take(channel->view, &message);
    return status != 0 ? status : queue_copy(channel->view, &message, data, room, length);
}

static int queue_take_until(struct channel *channel, void *data, uint64_t room, uint64_t *length,
                            int64_t deadline)
{
    struct cshm_message message;
    int status = cshm_queue_take_until(channel->view, &message, deadline);
    return status != 0 ? status : queue_copy(channel->view, &message, data, room, length);
}

static void queue_finish(struct channel *channel)
{
    cshm_queue_finish(channel->view);
}

static void queue_cancel(struct channel *channel)
{
    cshm_queue_cancel(channel->view);
}

static void queue_items(struct channel *channel, struct cshm_waitable *out)
{
    cshm_queue_items(channel->view, out);
}

static void queue_room(struct channel *channel, struct cshm_waitable *out)
{
    cshm_queue_room(channel->view, out);
}

static void queue_close(struct channel *channel)
{
    cshm_queue_close(channel->view);
}

static void queue_destroy(struct channel *channel)
{
    cshm_queue_destroy(channel->view);
}

/* ---- lanes ---- */

static int lanes_create(cshm_region *region, uint64_t *place)
{
    struct cshm_lanes_options options = {
        .capacity = CHANNEL_CAPACITY, .slot_size = CHANNEL_SLOT, .type_tag = CHANNEL_TAG};
    return cshm_lanes_create(region, &options, place);
}

static int lanes_open(struct channel *channel, uint64_t tag)
{
    cshm_lanes *lanes = NULL;
    int status = cshm_lanes_open(channel->region, channel->place, tag, &lanes);
    channel->view = lanes;
    return status;
}

static int lanes_be_putter(struct channel *channel)
{
    cshm_lane *lane = NULL;
    int status = cshm_lanes_join(channel->view, &lane);
    channel->putter = lane;
    return status;
}

static int lanes_be_taker(struct channel *channel)
{
    int status = cshm_lanes_become_consumer(channel->view);
    return status > 0 ? 0 : status;
}

static int lanes_put(struct channel *channel, const void *data, uint64_t length)
{
    return cshm_lane_try_put(channel->putter, data, length);
}

static int lanes_put_until(struct channel *channel, const void *data, uint64_t length,
                           int64_t deadline)
{
    return cshm_lane_put_until(channel->putter, data, length, deadline);
}

static int lanes_take(struct channel *channel, void *data, uint64_t room, uint64_t *length)
{
    return cshm_lanes_try_get(channel->view, data, room, length);
}

static int lanes_take_until(struct channel *channel, void *data, uint64_t room, uint64_t *length,
                            int64_t deadline)
{
    return cshm_lanes_get_until(channel->view, data, room, length, deadline);
}

static void lanes_finish(struct channel *channel)
{
    cshm_lanes_finish(channel->view);
}

static void lanes_cancel(struct channel *channel)
{
    cshm_lanes_cancel(channel->view);
}

static void lanes_items(struct channel *channel, struct cshm_waitable *out)
{
    cshm_lanes_items(channel->view, out);
}

static void lanes_room(struct channel *channel, struct cshm_waitable *out)
{
    cshm_lane_room(channel->putter, out);
}

static void lanes_leave(struct channel *channel)
{
    if (channel->putter != NULL) {
        cshm_lane_leave(channel->putter);
    }
}

static void lanes_close(struct channel *channel)
{
    lanes_leave(channel);
    cshm_lanes_close(channel->view);
}

static void lanes_destroy(struct channel *channel)
{
    lanes_leave(channel);
    cshm_lanes_destroy(channel->view);
}

/* ---- broadcast ---- */

static int broadcast_create(cshm_region *region, uint64_t *place)
{
    struct cshm_broadcast_options options = {
        .capacity = CHANNEL_CAPACITY, .slot_size = CHANNEL_SLOT, .type_tag = CHANNEL_TAG};
    return cshm_broadcast_create(region, &options, place);
}

static int broadcast_open(struct channel *channel, uint64_t tag)
{
    cshm_broadcast *broadcast = NULL;
    int status = cshm_broadcast_open(channel->region, channel->place, tag, &broadcast);
    channel->view = broadcast;
    return status;
}

static int broadcast_be_putter(struct channel *channel)
{
    cshm_publisher *publisher = NULL;
    int status = cshm_publisher_join(channel->view, &publisher);
    channel->putter = publisher;
    return status;
}

static int subscribe(struct channel *channel, uint32_t kind)
{
    cshm_subscriber *subscriber = NULL;
    int status = cshm_subscriber_join(channel->view, kind, 0, &subscriber);
    channel->taker = subscriber;
    return status;
}

static int broadcast_be_taker(struct channel *channel)
{
    return subscribe(channel, CSHM_LOSSLESS);
}

static int overwriting_be_taker(struct channel *channel)
{
    return subscribe(channel, CSHM_OVERWRITE);
}

static int broadcast_put(struct channel *channel, const void *data, uint64_t length)
{
    return cshm_publisher_try_put(channel->putter, data, length);
}

static int broadcast_put_until(struct channel *channel, const void *data, uint64_t length,
                               int64_t deadline)
{
    return cshm_publisher_put_until(channel->putter, data, length, deadline);
}

static int broadcast_take(struct channel *channel, void *data, uint64_t room, uint64_t *length)
{
    return cshm_subscriber_try_get(channel->taker, data, room, length);
}

static int broadcast_take_until(struct channel *channel, void *data, uint64_t room,
                                uint64_t *length, int64_t deadline)
{
    return cshm_subscriber_get_until(channel->taker, data, room, length, deadline);
}

static void broadcast_finish(struct channel *channel)
{
    CHECK_EQ(cshm_broadcast_finish(channel->view), 0);
}

static void broadcast_cancel(struct channel *channel)
{
    cshm_broadcast_cancel(channel->view);
}

static void broadcast_items(struct channel *channel, struct cshm_waitable *out)
{
    cshm_subscriber_items(channel->taker, out);
}

static void broadcast_room(struct channel *channel, struct cshm_waitable *out)
{
    cshm_publisher_room(channel->putter, out);
}

static void broadcast_leave(struct channel *channel)
{
    if (channel->putter != NULL) {
        cshm_publisher_leave(channel->putter);
    }
    if (channel->taker != NULL) {
        cshm_subscriber_leave(channel->taker);
    }
}

static void broadcast_close(struct channel *channel)
{
    broadcast_leave(channel);
    cshm_broadcast_close(channel->view);
}

static void broadcast_destroy(struct channel *channel)
{
    broadcast_leave(channel);
    cshm_broadcast_destroy(channel->view);
}

/* ---- all of them ---- */

#define CALLS(prefix)                                                                        \
    .create = prefix##_create, .open = prefix##_open, .be_putter = prefix##_be_putter,       \
    .put = prefix##_put, .put_until = prefix##_put_until, .take = prefix##_take,             \
    .take_until = prefix##_take_until, .finish = prefix##_finish, .cancel = prefix##_cancel, \
    .items = prefix##_items, .room = prefix##_room, .close = prefix##_close,                 \
    .destroy = prefix##_destroy

const struct channel_kind channel_kinds[CHANNEL_KINDS] = {
    {.name = "ring", CALLS(ring), .be_taker = ring_be_taker, .forked = -EPERM},
    {.name = "queue",
     CALLS(queue),
     .be_taker = queue_be_taker,
     .forked = -ECHILD,
     .has_tag = true,
     .ends_itself = true},
    {.name = "lanes",
     CALLS(lanes),
     .be_taker = lanes_be_taker,
     .forked = -EPERM,
     .is_sorted_by_lane = true,
     .has_tag = true,
     .ends_itself = true},
    {.name = "broadcast",
     CALLS(broadcast),
     .be_taker = broadcast_be_taker,
     .forked = -ECHILD,
     .has_tag = true,
     .ends_itself = true},
    {.name = "broadcast, overwriting",
     CALLS(broadcast),
     .be_taker = overwriting_be_taker,
     .forked = -ECHILD,
     .loses = true,
     .has_tag = true,
     .ends_itself = true},
};

struct channel channel_open(const struct channel_kind *kind, cshm_region *region, uint64_t place)
{
    struct channel channel = {.kind = kind, .region = region, .place = place};
    CHECK_EQ(kind->open(&channel, CHANNEL_TAG), 0);
    return channel;
}

struct channel channel_make(const struct channel_kind *kind, cshm_region *region)
{
    uint64_t place = 0;
    CHECK_EQ(kind->create(region, &place), 0);
    CHECK_EQ(cshm_heap_share(region, place), 0);
    struct channel channel = channel_open(kind, region, place);
    CHECK_EQ(kind->be_taker(&channel), 0);
    CHECK_EQ(kind->be_putter(&channel), 0);
    return channel;
}

uint32_t channel_fill(struct channel *channel)
{
    uint64_t value = 0;
    uint32_t count = 0;
    int status;
    while ((status = channel->kind->put(channel, &value, sizeof value)) == 0) {
        value++;
        count++;
    }
    CHECK_EQ(status, -EAGAIN);
    return count;
}
