/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * An atomic number is what it was, or what it was to become.
 */
#include "kill.h"

#include "layout.h"

extern const struct scenario atomic_scenarios[];

static const int64_t MILLISECOND = 1000000;

static cshm_atomic *atomic_of(const struct world *world)
{
    return cshm_heap_pointer(world->region, world->place[0], sizeof(cshm_atomic));
}

static void make(struct world *world, enum cshm_atomic_type type)
{
    world->place[0] = make_shared_block(world->region, sizeof(cshm_atomic));
    CHECK_EQ(cshm_atomic_init(atomic_of(world), type, 6), 0);
    (void)cshm_park_prepare(cshm_atomic_park(atomic_of(world))); /* somebody died asleep */
}

static void make_wide(struct world *world)
{
    make(world, CSHM_INT64);
}

static void make_narrow(struct world *world)
{
    make(world, CSHM_UINT32);
}

static int init(struct world *world)
{
    return cshm_atomic_init(atomic_of(world), CSHM_INT64, 6);
}

static const enum cshm_order orders[] = {CSHM_RELAXED, CSHM_ACQUIRE, CSHM_RELEASE, CSHM_ACQ_REL,
                                         CSHM_SEQ_CST};

/* One after the other: whoever is killed has done some of it. */
static int change(struct world *world, enum cshm_atomic_type type)
{
    cshm_atomic *atomic = atomic_of(world);
    for (uint32_t i = 0; i < 5; i++) {
        uint64_t expected = 6;
        cshm_atomic_store(atomic, type, 6, orders[i]);
        (void)cshm_atomic_update(atomic, type, CSHM_ATOMIC_XOR, 0, orders[i]);
        CHECK(cshm_atomic_compare_exchange(atomic, type, &expected, 6, orders[i], CSHM_RELAXED));
    }
    (void)cshm_atomic_update(atomic, type, CSHM_ATOMIC_EXCHANGE, 6, CSHM_SEQ_CST);
    (void)cshm_atomic_update(atomic, type, CSHM_ATOMIC_ADD, 1, CSHM_SEQ_CST);
    cshm_atomic_notify(atomic);
    return 0;
}

static int change_wide(struct world *world)
{
    return change(world, CSHM_INT64);
}

static int change_narrow(struct world *world)
{
    return change(world, CSHM_UINT32);
}

static int wait_in_vain(struct world *world)
{
    return cshm_atomic_wait_until(atomic_of(world), CSHM_INT64, 6, cshm_now_ns() + MILLISECOND);
}

static void check_free(struct world *world)
{
    cshm_atomic_notify(atomic_of(world));
    CHECK_EQ(cshm_heap_free(world->region, world->place[0]), 0);
}

static void check_inited(struct world *world)
{
    CHECK(!returned(world) || cshm_atomic_check(atomic_of(world), CSHM_INT64) == 0);
    CHECK_EQ(cshm_atomic_init(atomic_of(world), CSHM_INT64, 6), 0);
    check_free(world);
}

static void check_changed(struct world *world)
{
    uint64_t now = cshm_atomic_load(atomic_of(world), CSHM_UINT32, CSHM_ACQUIRE);
    CHECK(now == 7 || (now == 6 && !returned(world)));
    check_free(world);
}

static void check_timed_out(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -ETIMEDOUT);
    check_free(world);
}

const struct scenario atomic_scenarios[] = {
    {.name = "init", .setup = make_wide, .operate = init, .check = check_inited},
    {.name = "change", .setup = make_wide, .operate = change_wide, .check = check_changed},
    {.name = "change_narrow",
     .setup = make_narrow,
     .operate = change_narrow,
     .check = check_changed},
    {.name = "wait_in_vain", .setup = make_wide, .operate = wait_in_vain, .check = check_timed_out},
    {.name = NULL},
};
