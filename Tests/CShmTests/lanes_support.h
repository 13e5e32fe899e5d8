/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Lanes for tests, and numbers in and out of them.
 */
#ifndef CSHM_LANES_SUPPORT_H
#define CSHM_LANES_SUPPORT_H

#include "support.h"

#include <cshm/lanes.h>

enum { TAG = 17 };

static inline cshm_lanes *make_lanes(cshm_region *region, uint32_t capacity, uint32_t producers,
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

static inline cshm_lane *join(cshm_lanes *lanes)
{
    cshm_lane *lane = NULL;
    CHECK_EQ(cshm_lanes_join(lanes, &lane), 0);
    return lane;
}

static inline void put_number(cshm_lane *lane, uint64_t number)
{
    CHECK_EQ(cshm_lane_try_put(lane, &number, 8), 0);
}

static inline void expect_number(cshm_lanes *lanes, uint64_t number)
{
    struct cshm_lanes_message message;
    for (int again = 0; again < 2; again++) {
        CHECK_EQ(cshm_lanes_try_peek(lanes, &message), 0);
        CHECK_EQ(message.length, 8);
        CHECK_EQ(*(const uint64_t *)message.data, number);
    }
    cshm_lanes_release(lanes);
}

static inline int peek_status(cshm_lanes *lanes)
{
    struct cshm_lanes_message message;
    return cshm_lanes_try_peek(lanes, &message);
}

#endif /* CSHM_LANES_SUPPORT_H */
