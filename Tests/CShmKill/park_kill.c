/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The parking word: whatever a death leaves in it, nobody sleeps longer than a slice.
 */
#include "kill.h"

#include "layout.h"

extern const struct scenario park_scenarios[];

static const int64_t MILLISECOND = 1000000;

static cshm_park *park_of(const struct world *world)
{
    return cshm_heap_pointer(world->region, world->place[0], sizeof(cshm_park));
}

static void make_park(struct world *world)
{
    world->place[0] = make_shared_block(world->region, sizeof(cshm_park));
    *park_of(world) = (cshm_park){0};
}

static void make_park_of_a_dead_waiter(struct world *world)
{
    make_park(world);
    (void)cshm_park_prepare(park_of(world));
}

static int prepare_and_wait(struct world *world)
{
    uint32_t seen = cshm_park_prepare(park_of(world));
    return cshm_park_wait(park_of(world), seen, cshm_now_ns() + MILLISECOND);
}

static int wake_one(struct world *world)
{
    cshm_park_wake_one(park_of(world));
    return 0;
}

static int wake_all(struct world *world)
{
    cshm_park_wake_all(park_of(world));
    return 0;
}

/* Waits and wakes end, and a wake without waiters leaves the bit clear. */
static void use(struct world *world)
{
    int64_t end = cshm_now_ns() + MILLISECOND;
    uint32_t seen = cshm_park_prepare(park_of(world));
    CHECK_EQ(cshm_park_wait(park_of(world), seen, cshm_now_ns()), -ETIMEDOUT);
    while (cshm_park_wait(park_of(world), seen, end) == 0) {
    }
    CHECK(cshm_now_ns() >= end);
    cshm_park_wake_one(park_of(world));
    CHECK(cshm_park_prepare(park_of(world)) != seen);
    cshm_park_wake_all(park_of(world));
}

static void check_park(struct world *world)
{
    use(world);
    cshm_park_wake_all(park_of(world));
    CHECK_EQ(park_of(world)->word & CSHM_PARK_CALLS, 0);
    CHECK_EQ(cshm_heap_free(world->region, world->place[0]), 0);
}

const struct scenario park_scenarios[] = {
    {.name = "wait",
     .setup = make_park,
     .operate = prepare_and_wait,
     .check = check_park,
     .meanwhile = use},
    {.name = "wake_one",
     .setup = make_park_of_a_dead_waiter,
     .operate = wake_one,
     .recover = use,
     .check = check_park,
     .meanwhile = use,
     .pairs = 1},
    {.name = "wake_all",
     .setup = make_park_of_a_dead_waiter,
     .operate = wake_all,
     .recover = use,
     .check = check_park,
     .meanwhile = use},
    {.name = NULL},
};
