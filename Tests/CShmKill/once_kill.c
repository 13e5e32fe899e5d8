/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Once: it is done when its runner said so, and a runner's death hands it on.
 */
#include "kill.h"

extern const struct scenario once_scenarios[];

static const int64_t MILLISECOND = 1000000;

static cshm_once *once_of(const struct world *world)
{
    return cshm_heap_pointer(world->region, world->place[0], sizeof(cshm_once));
}

static void make_once(struct world *world)
{
    world->place[0] = make_shared_block(world->region, sizeof(cshm_once));
    cshm_once_init(once_of(world));
}

static void run(struct world *world)
{
    CHECK(cshm_once_try_begin(world->region, once_of(world)) > 0);
}

static void make_of_the_dead(struct world *world)
{
    make_once(world);
    kill_after(world, run);
}

static void make_running(struct world *world)
{
    make_once(world);
    run(world);
}

static int init(struct world *world)
{
    cshm_once_init(once_of(world));
    return 0;
}

static int begin(struct world *world)
{
    return cshm_once_begin_until(world->region, once_of(world), INT64_MAX);
}

static int begin_in_vain(struct world *world)
{
    return cshm_once_begin_until(world->region, once_of(world), cshm_now_ns() + MILLISECOND);
}

static int end(struct world *world)
{
    return cshm_once_end(world->region, once_of(world), 1);
}

static int abandon(struct world *world)
{
    return cshm_once_end(world->region, once_of(world), 0);
}

/* Whoever comes next runs it, unless it is done. */
static void run_and_end(struct world *world)
{
    int status = cshm_once_begin_until(world->region, once_of(world), INT64_MAX);
    CHECK(status >= 0);
    if (status > 0) {
        atomic_fetch_add(&world->report->word[0], 1);
        atomic_store(&world->report->word[1], (uint64_t)status);
        CHECK_EQ(cshm_once_end(world->region, once_of(world), 1), 0);
    }
}

static void check_done(struct world *world)
{
    CHECK_EQ(cshm_once_is_done(once_of(world)), 1);
    CHECK_EQ(cshm_once_begin_until(world->region, once_of(world), INT64_MAX), 0);
    CHECK_EQ(cshm_once_end(world->region, once_of(world), 0), -EPERM);
    CHECK_EQ(cshm_heap_free(world->region, world->place[0]), 0);
}

/* The victim's run came to no end: somebody else's did. */
static void check_handed_on(struct world *world)
{
    CHECK(world->report->word[0] >= 1);
    check_done(world);
}

static void check_ended(struct world *world)
{
    CHECK(!returned(world) || world->report->word[0] == 0);
    check_done(world);
}

static void check_inited(struct world *world)
{
    cshm_once_init(once_of(world));
    run_and_end(world);
    check_done(world);
}

static void check_in_vain(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -ETIMEDOUT);
    CHECK_EQ(cshm_once_end(world->region, once_of(world), 1), 0);
    check_done(world);
}

static void try_meanwhile(struct world *world)
{
    int status = cshm_once_try_begin(world->region, once_of(world));
    CHECK(status >= 0 || status == -EAGAIN);
    if (status > 0) {
        CHECK_EQ(cshm_once_end(world->region, once_of(world), 0), 0);
    }
}

const struct scenario once_scenarios[] = {
    {.name = "init", .setup = make_once, .operate = init, .check = check_inited},
    {.name = "begin",
     .setup = make_once,
     .operate = begin,
     .recover = run_and_end,
     .check = check_handed_on,
     .meanwhile = try_meanwhile,
     .pairs = 1},
    {.name = "begin_after_the_dead",
     .setup = make_of_the_dead,
     .operate = begin,
     .recover = run_and_end,
     .check = check_handed_on,
     .pairs = 1},
    {.name = "begin_in_vain",
     .setup = make_running,
     .operate = begin_in_vain,
     .check = check_in_vain},
    {.name = "end",
     .setup = make_once,
     .prepare = run,
     .operate = end,
     .recover = run_and_end,
     .check = check_ended,
     .pairs = 1},
    {.name = "abandon",
     .setup = make_once,
     .prepare = run,
     .operate = abandon,
     .recover = run_and_end,
     .check = check_handed_on},
    {.name = NULL},
};
