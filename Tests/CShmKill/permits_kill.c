/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Permits: whatever the dead had comes back, and nothing else does.
 */
#include "kill.h"

#include "layout.h"

extern const struct scenario permits_scenarios[];

static const int64_t MILLISECOND = 1000000;

enum { COUNT = 4 };

static cshm_permits *permits_of(const struct world *world)
{
    return world->handle;
}

static void open_permits(struct world *world)
{
    cshm_permits *permits = NULL;
    CHECK_EQ(cshm_permits_open(world->region, world->place[0], &permits), 0);
    world->handle = permits;
}

static void make_free(struct world *world)
{
    CHECK_EQ(cshm_permits_create(world->region, COUNT, &world->place[0]), 0);
    CHECK_EQ(cshm_heap_share(world->region, world->place[0]), 0);
    open_permits(world);
}

static void hold_two(struct world *world)
{
    CHECK_EQ(cshm_permits_try_acquire(permits_of(world), 2), 0);
}

static void make_two_dead(struct world *world)
{
    make_free(world);
    kill_after(world, hold_two);
    kill_after(world, hold_two);
}

/* The survivor has three of the four. */
static void make_nearly_gone(struct world *world)
{
    make_free(world);
    CHECK_EQ(cshm_permits_try_acquire(permits_of(world), 3), 0);
}

/* Somebody may be asleep, and nobody is. */
static void make_waited_for(struct world *world)
{
    struct cshm_waitable waitable;
    make_free(world);
    cshm_permits_waitable(permits_of(world), &waitable);
    (void)cshm_park_prepare(waitable.park);
}

static int create(struct world *world)
{
    uint64_t place = 0;
    return cshm_permits_create(world->region, COUNT, &place);
}

static int open_and_close(struct world *world)
{
    cshm_permits *permits = NULL;
    int status = cshm_permits_open(world->region, world->place[0], &permits);
    if (status == 0) {
        cshm_permits_close(permits);
    }
    return status;
}

static int take_one(struct world *world)
{
    return cshm_permits_try_acquire(permits_of(world), 1);
}

static int take_three(struct world *world)
{
    return cshm_permits_acquire_until(permits_of(world), 3, INT64_MAX);
}

static int take_in_vain(struct world *world)
{
    return cshm_permits_acquire_until(permits_of(world), 2, cshm_now_ns() + 30 * MILLISECOND);
}

static int give_one(struct world *world)
{
    return cshm_permits_release(permits_of(world), 1);
}

static int give_two(struct world *world)
{
    return cshm_permits_release(permits_of(world), 2);
}

static int give_what_another_has(struct world *world)
{
    return cshm_permits_release(permits_of(world), 1);
}

static int reclaim(struct world *world)
{
    return cshm_permits_reclaim(permits_of(world));
}

static int look(struct world *world)
{
    struct cshm_waitable waitable;
    cshm_permits_waitable(permits_of(world), &waitable);
    return cshm_wait_any(&waitable, 1, INT64_MAX);
}

static int destroy(struct world *world)
{
    cshm_permits_destroy(permits_of(world));
    return 0;
}

/* What is free can be had, whoever is stopped. */
static void use_one(struct world *world)
{
    CHECK_EQ(cshm_permits_acquire_until(permits_of(world), 1, INT64_MAX), 0);
    CHECK_EQ(cshm_permits_release(permits_of(world), 1), 0);
}

static void take_all_again(struct world *world)
{
    CHECK_EQ(cshm_permits_acquire_until(permits_of(world), COUNT, INT64_MAX), 0);
    CHECK_EQ(cshm_permits_held(permits_of(world)), COUNT);
    CHECK_EQ(cshm_permits_release(permits_of(world), COUNT), 0);
}

static void check_all_free(struct world *world)
{
    take_all_again(world);
    CHECK_EQ(cshm_permits_available(permits_of(world)), COUNT);
    cshm_permits_destroy(permits_of(world));
}

static void check_one_left(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -ETIMEDOUT ||
          world->report->status == -EPERM);
    CHECK_EQ(cshm_permits_held(permits_of(world)), 3);
    use_one(world);
    CHECK_EQ(cshm_permits_release(permits_of(world), 3), 0);
    check_all_free(world);
}

/* What is not returned is freed by the sweep; so is what nobody was told of. */
static void check_created(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
}

static void check_destroyed(struct world *world)
{
    if (!returned(world) && blocks_in_use(world->region) != 0) {
        open_permits(world);
        cshm_permits_destroy(permits_of(world));
    }
}

const struct scenario permits_scenarios[] = {
    {.name = "create", .operate = create, .check = check_created},
    {.name = "open", .setup = make_free, .operate = open_and_close, .check = check_all_free},
    {.name = "try_acquire",
     .setup = make_free,
     .operate = take_one,
     .recover = take_all_again,
     .check = check_all_free,
     .meanwhile = use_one,
     .pairs = 1},
    {.name = "acquire_several",
     .setup = make_free,
     .operate = take_three,
     .recover = take_all_again,
     .check = check_all_free,
     .meanwhile = use_one,
     .pairs = 1},
    {.name = "acquire_from_the_dead",
     .setup = make_two_dead,
     .operate = take_three,
     .recover = take_all_again,
     .check = check_all_free,
     .meanwhile = use_one,
     .pairs = 4},
    {.name = "acquire_in_vain",
     .setup = make_nearly_gone,
     .operate = take_in_vain,
     .check = check_one_left,
     .meanwhile = use_one},
    {.name = "release",
     .setup = make_waited_for,
     .prepare = hold_two,
     .operate = give_one,
     .recover = take_all_again,
     .check = check_all_free,
     .meanwhile = use_one,
     .pairs = 1},
    {.name = "release_several",
     .setup = make_waited_for,
     .prepare = hold_two,
     .operate = give_two,
     .recover = take_all_again,
     .check = check_all_free,
     .meanwhile = use_one,
     .pairs = 1},
    {.name = "release_of_what_another_has",
     .setup = make_nearly_gone,
     .operate = give_what_another_has,
     .check = check_one_left},
    {.name = "reclaim",
     .setup = make_two_dead,
     .operate = reclaim,
     .recover = take_all_again,
     .check = check_all_free,
     .meanwhile = use_one,
     .pairs = 1},
    {.name = "wait_for_those_of_the_dead",
     .setup = make_two_dead,
     .operate = look,
     .recover = take_all_again,
     .check = check_all_free,
     .meanwhile = use_one},
    {.name = "destroy", .setup = make_free, .operate = destroy, .check = check_destroyed},
    {.name = NULL},
};
