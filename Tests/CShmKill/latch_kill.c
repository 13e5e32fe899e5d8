/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The latch: who dies counting has counted or not.
 */
#include "kill.h"

#include "layout.h"

extern const struct scenario latch_scenarios[];

static const int64_t MILLISECOND = 1000000;

static cshm_latch *latch_of(const struct world *world)
{
    return cshm_heap_pointer(world->region, world->place[0], sizeof(cshm_latch));
}

static void make_latch(struct world *world)
{
    world->place[0] = make_shared_block(world->region, sizeof(cshm_latch));
    CHECK_EQ(cshm_latch_init(latch_of(world), 2), 0);
    struct cshm_latch_shared *shared = (struct cshm_latch_shared *)(void *)latch_of(world);
    (void)cshm_park_prepare(&shared->waiters.park); /* somebody died asleep */
}

static int init(struct world *world)
{
    return cshm_latch_init(latch_of(world), 2);
}

static int count_down(struct world *world)
{
    return cshm_latch_count_down(latch_of(world), 2);
}

static int wait_in_vain(struct world *world)
{
    return cshm_latch_wait_until(latch_of(world), cshm_now_ns() + MILLISECOND);
}

static void check_use(struct world *world)
{
    CHECK_EQ(cshm_latch_count_down(latch_of(world), 2), 0);
    CHECK_EQ(cshm_latch_wait_until(latch_of(world), INT64_MAX), 0);
    CHECK_EQ(cshm_heap_free(world->region, world->place[0]), 0);
}

static void check_inited(struct world *world)
{
    CHECK_EQ(cshm_latch_init(latch_of(world), 1), 0);
    CHECK_EQ(cshm_latch_count(latch_of(world)), 1);
    check_use(world);
}

static void check_counted(struct world *world)
{
    int left = cshm_latch_count(latch_of(world));
    CHECK(left == 0 || (left == 2 && !returned(world)));
    check_use(world);
}

static void check_waited(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -ETIMEDOUT);
    CHECK_EQ(cshm_latch_count(latch_of(world)), 2);
    check_use(world);
}

static void ask_meanwhile(struct world *world)
{
    int left = cshm_latch_count(latch_of(world));
    CHECK(left == 0 || left == 2);
    CHECK_EQ(cshm_latch_count_down(latch_of(world), 0), left);
}

const struct scenario latch_scenarios[] = {
    {.name = "init", .setup = make_latch, .operate = init, .check = check_inited},
    {.name = "count_down",
     .setup = make_latch,
     .operate = count_down,
     .check = check_counted,
     .meanwhile = ask_meanwhile},
    {.name = "wait_in_vain",
     .setup = make_latch,
     .operate = wait_in_vain,
     .check = check_waited,
     .meanwhile = ask_meanwhile},
    {.name = NULL},
};
