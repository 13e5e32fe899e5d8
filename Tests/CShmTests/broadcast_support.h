/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A broadcast for tests, and numbers in and out of it.
 */
#ifndef CSHM_BROADCAST_SUPPORT_H
#define CSHM_BROADCAST_SUPPORT_H

#include "support.h"

#include <cshm/broadcast.h>

enum { TAG = 13 };

static inline cshm_broadcast *make_broadcast(cshm_region *region, uint32_t capacity,
                                             uint64_t *offset)
{
    struct cshm_broadcast_options options = {
        .capacity = capacity, .slot_size = 24, .publishers = 4, .subscribers = 6, .type_tag = TAG};
    cshm_broadcast *broadcast = NULL;
    CHECK_EQ(cshm_broadcast_create(region, &options, offset), 0);
    CHECK_EQ(cshm_heap_share(region, *offset), 0);
    CHECK_EQ(cshm_broadcast_open(region, *offset, TAG, &broadcast), 0);
    return broadcast;
}

static inline cshm_publisher *publish_to(cshm_broadcast *broadcast)
{
    cshm_publisher *publisher = NULL;
    CHECK_EQ(cshm_publisher_join(broadcast, &publisher), 0);
    return publisher;
}

static inline cshm_subscriber *subscribe_to(cshm_broadcast *broadcast, uint32_t kind,
                                            uint64_t history)
{
    cshm_subscriber *subscriber = NULL;
    CHECK_EQ(cshm_subscriber_join(broadcast, kind, history, &subscriber), 0);
    return subscriber;
}

static inline void put_number(cshm_publisher *publisher, uint64_t number)
{
    CHECK_EQ(cshm_publisher_try_put(publisher, &number, 8), 0);
}

static inline void expect_number(cshm_subscriber *subscriber, uint64_t number)
{
    struct cshm_broadcast_message message;
    for (int again = 0; again < 2; again++) {
        CHECK_EQ(cshm_subscriber_try_peek(subscriber, &message), 0);
        CHECK_EQ(message.length, 8);
        CHECK_EQ(*(const uint64_t *)message.data, number);
    }
    cshm_subscriber_release(subscriber);
}

static inline int peek_status(cshm_subscriber *subscriber)
{
    struct cshm_broadcast_message message;
    return cshm_subscriber_try_peek(subscriber, &message);
}

#endif /* CSHM_BROADCAST_SUPPORT_H */
