/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A baton: whoever comes next is told if the owner died having it, and only then.
 */
#include "kill.h"

#include "layout.h"

extern const struct scenario baton_scenarios[];

static const int64_t MILLISECOND = 1000000;

static cshm_baton *baton_of(const struct world *world)
{
    return world->handle;
}

static void make_free(struct world *world)
{
    cshm_baton *baton = NULL;
    CHECK_EQ(cshm_baton_create(world->region, &world->place[0]), 0);
    CHECK_EQ(cshm_heap_share(world->region, world->place[0]), 0);
    CHECK_EQ(cshm_baton_open(world->region, world->place[0], &baton), 0);
    world->handle = baton;
}

static void hold(struct world *world)
{
    CHECK(cshm_baton_try_acquire(baton_of(world)) >= 0);
}

static void make_held(struct world *world)
{
    make_free(world);
    hold(world);
}

static void make_inherited(struct world *world)
{
    make_free(world);
    kill_after(world, hold);
}

static void break_it(struct world *world)
{
    make_inherited(world);
    hold(world);
    CHECK_EQ(cshm_baton_release(baton_of(world)), 0);
}

/* Somebody may be asleep, and nobody is. */
static void make_waited_for(struct world *world)
{
    struct cshm_waitable waitable;
    make_free(world);
    cshm_baton_waitable(baton_of(world), &waitable);
    (void)cshm_park_prepare(waitable.park);
}

static int create(struct world *world)
{
    uint64_t place = 0;
    return cshm_baton_create(world->region, &place);
}

static int open_and_close(struct world *world)
{
    cshm_baton *baton = NULL;
    int status = cshm_baton_open(world->region, world->place[0], &baton);
    if (status == 0) {
        cshm_baton_close(baton);
    }
    return status;
}

static int try_acquire(struct world *world)
{
    return cshm_baton_try_acquire(baton_of(world));
}

static int acquire(struct world *world)
{
    return cshm_baton_acquire_until(baton_of(world), INT64_MAX);
}

static int acquire_in_vain(struct world *world)
{
    return cshm_baton_acquire_until(baton_of(world), cshm_now_ns() + 30 * MILLISECOND);
}

static int repair(struct world *world)
{
    return cshm_baton_repair(baton_of(world));
}

static int release(struct world *world)
{
    return cshm_baton_release(baton_of(world));
}

static int destroy(struct world *world)
{
    cshm_baton_destroy(baton_of(world));
    return 0;
}

/* The next owner, who knows how to repair. */
static void succeed(struct world *world)
{
    int status = cshm_baton_acquire_until(baton_of(world), INT64_MAX);
    CHECK(status >= 0);
    if (status == 1) {
        CHECK_EQ(cshm_baton_repair(baton_of(world)), 0);
    }
    CHECK_EQ(cshm_baton_release(baton_of(world)), 0);
}

/* As `succeed`, having told what it found. */
static void succeed_and_tell(struct world *world)
{
    int status = cshm_baton_try_acquire(baton_of(world));
    CHECK(status >= 0);
    atomic_store(&world->report->word[0], 1 + (uint64_t)status);
    if (status == 1) {
        CHECK_EQ(cshm_baton_repair(baton_of(world)), 0);
    }
    CHECK_EQ(cshm_baton_release(baton_of(world)), 0);
}

static void check_free(struct world *world)
{
    CHECK_EQ(cshm_baton_try_acquire(baton_of(world)), 0);
    CHECK_EQ(cshm_baton_holder(baton_of(world)), getpid());
    CHECK_EQ(cshm_baton_release(baton_of(world)), 0);
    CHECK_EQ(cshm_baton_holder(baton_of(world)), 0);
    CHECK_EQ(cshm_baton_release(baton_of(world)), -EPERM);
    cshm_baton_destroy(baton_of(world));
}

static void check_acquired(struct world *world)
{
    CHECK(!returned(world) || world->report->word[0] == 2);
    check_free(world);
}

static void check_released(struct world *world)
{
    CHECK(!returned(world) || world->report->word[0] == 1);
    check_free(world);
}

static void check_timed_out(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -ETIMEDOUT ||
          world->report->status == -EPERM);
    CHECK_EQ(cshm_baton_release(baton_of(world)), 0);
    check_free(world);
}

static void check_broken(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -ENOTRECOVERABLE);
    CHECK_EQ(cshm_baton_try_acquire(baton_of(world)), -ENOTRECOVERABLE);
    CHECK_EQ(cshm_baton_acquire_until(baton_of(world), INT64_MAX), -ENOTRECOVERABLE);
    cshm_baton_destroy(baton_of(world));
}

/* Had by an inheritor: given on as such, unless it was released without a repair. */
static void check_not_repaired(struct world *world)
{
    int status = cshm_baton_try_acquire(baton_of(world));
    CHECK(status == -ENOTRECOVERABLE || (status == 1 && !returned(world)));
    cshm_baton_destroy(baton_of(world));
}

/* What is not returned is freed by the sweep; so is what nobody was told of. */
static void check_created(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
}

static void check_destroyed(struct world *world)
{
    if (!returned(world) && blocks_in_use(world->region) != 0) {
        CHECK_EQ(cshm_heap_free(world->region, world->place[0]), 0);
    }
}

/* A stopped owner is alive; a try never waits. */
static void try_meanwhile(struct world *world)
{
    int status = cshm_baton_try_acquire(baton_of(world));
    CHECK(status >= 0 || status == -EAGAIN);
    CHECK_EQ(cshm_baton_try_acquire(baton_of(world)), -EAGAIN);
    if (status == 1) {
        CHECK_EQ(cshm_baton_repair(baton_of(world)), 0);
    }
    if (status >= 0) {
        CHECK_EQ(cshm_baton_release(baton_of(world)), 0);
    } else {
        CHECK_EQ(cshm_baton_acquire_until(baton_of(world), cshm_now_ns() + MILLISECOND),
                 -ETIMEDOUT);
    }
}

const struct scenario baton_scenarios[] = {
    {.name = "create", .operate = create, .check = check_created},
    {.name = "open", .setup = make_free, .operate = open_and_close, .check = check_free},
    {.name = "try_acquire",
     .setup = make_free,
     .operate = try_acquire,
     .recover = succeed_and_tell,
     .check = check_acquired,
     .meanwhile = try_meanwhile},
    {.name = "acquire_from_the_dead",
     .setup = make_inherited,
     .operate = acquire,
     .recover = succeed,
     .check = check_free,
     .meanwhile = try_meanwhile,
     .pairs = 1},
    {.name = "acquire_in_vain",
     .setup = make_held,
     .operate = acquire_in_vain,
     .check = check_timed_out},
    {.name = "acquire_the_unrecoverable",
     .setup = break_it,
     .operate = acquire,
     .check = check_broken},
    {.name = "repair",
     .setup = make_inherited,
     .prepare = hold,
     .operate = repair,
     .recover = succeed,
     .check = check_free,
     .pairs = 1},
    {.name = "release",
     .setup = make_waited_for,
     .prepare = hold,
     .operate = release,
     .recover = succeed_and_tell,
     .check = check_released,
     .meanwhile = try_meanwhile},
    {.name = "release_of_what_another_has",
     .setup = make_held,
     .operate = release,
     .check = check_timed_out},
    {.name = "release_unrepaired",
     .setup = make_inherited,
     .prepare = hold,
     .operate = release,
     .check = check_not_repaired},
    {.name = "destroy", .setup = make_free, .operate = destroy, .check = check_destroyed},
    {.name = NULL},
};
