/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The event: it is set or not, and nobody who waits is forgotten.
 */
#include "kill.h"

#include "layout.h"

extern const struct scenario event_scenarios[];

static const int64_t MILLISECOND = 1000000;

static cshm_event *event_of(const struct world *world)
{
    return cshm_heap_pointer(world->region, world->place[0], sizeof(cshm_event));
}

static void make(struct world *world, enum cshm_event_kind kind)
{
    world->place[0] = make_shared_block(world->region, sizeof(cshm_event));
    cshm_event_init(event_of(world), kind);
    /* Somebody died asleep. */
    struct cshm_event_shared *shared = (struct cshm_event_shared *)(void *)event_of(world);
    (void)cshm_park_prepare(&shared->waiters.park);
}

static void make_manual(struct world *world)
{
    make(world, CSHM_EVENT_MANUAL);
}

static void make_automatic(struct world *world)
{
    make(world, CSHM_EVENT_AUTOMATIC);
}

static void make_set(struct world *world)
{
    make_automatic(world);
    CHECK_EQ(cshm_event_set(event_of(world)), 0);
}

static int init(struct world *world)
{
    cshm_event_init(event_of(world), CSHM_EVENT_AUTOMATIC);
    return 0;
}

static int set(struct world *world)
{
    return cshm_event_set(event_of(world));
}

static int clear(struct world *world)
{
    return cshm_event_clear(event_of(world));
}

static int go_through(struct world *world)
{
    return cshm_event_wait_until(event_of(world), INT64_MAX);
}

static int wait_in_vain(struct world *world)
{
    return cshm_event_wait_until(event_of(world), cshm_now_ns() + MILLISECOND);
}

/* Set it lets through, whatever the dead did; cleared it does not. */
static void check_use(struct world *world)
{
    CHECK_EQ(cshm_event_set(event_of(world)), 0);
    CHECK_EQ(cshm_event_wait_until(event_of(world), INT64_MAX), 0);
    CHECK_EQ(cshm_event_clear(event_of(world)), 0);
    CHECK_EQ(cshm_event_wait_until(event_of(world), cshm_now_ns() + MILLISECOND), -ETIMEDOUT);
    CHECK_EQ(cshm_heap_free(world->region, world->place[0]), 0);
}

static void check_inited(struct world *world)
{
    cshm_event_init(event_of(world), CSHM_EVENT_MANUAL);
    check_use(world);
}

static void check_set(struct world *world)
{
    int is_set = cshm_event_is_set(event_of(world));
    CHECK(returned(world) ? is_set == 1 : is_set >= 0);
    check_use(world);
}

static void check_cleared(struct world *world)
{
    int is_set = cshm_event_is_set(event_of(world));
    CHECK(returned(world) ? is_set == 0 : is_set >= 0);
    check_use(world);
}

static void check_timed_out(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -ETIMEDOUT);
    check_use(world);
}

static void use_meanwhile(struct world *world)
{
    CHECK_EQ(cshm_event_set(event_of(world)), 0);
    CHECK_EQ(cshm_event_wait_until(event_of(world), INT64_MAX), 0);
    CHECK_EQ(cshm_event_clear(event_of(world)), 0);
}

const struct scenario event_scenarios[] = {
    {.name = "init", .setup = make_manual, .operate = init, .check = check_inited},
    {.name = "set", .setup = make_manual, .operate = set, .check = check_set},
    {.name = "set_for_one", .setup = make_automatic, .operate = set, .check = check_set},
    {.name = "clear", .setup = make_set, .operate = clear, .check = check_cleared},
    {.name = "go_through", .setup = make_set, .operate = go_through, .check = check_cleared},
    {.name = "wait_in_vain",
     .setup = make_automatic,
     .operate = wait_in_vain,
     .check = check_timed_out,
     .meanwhile = use_meanwhile},
    {.name = NULL},
};
