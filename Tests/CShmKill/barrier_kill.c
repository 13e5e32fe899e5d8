/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The barrier: a party that dies is not waited for, and a barrier that is broken can be repaired.
 */
#include "kill.h"

#include "layout.h"

extern const struct scenario barrier_scenarios[];

static const int64_t MILLISECOND = 1000000;

static void open_barrier(struct world *world)
{
    cshm_barrier *barrier = NULL;
    CHECK_EQ(cshm_barrier_open(world->region, world->place[0], &barrier), 0);
    world->handle = barrier;
}

static void make(struct world *world, uint32_t parties)
{
    CHECK_EQ(cshm_barrier_create(world->region, parties, &world->place[0]), 0);
    CHECK_EQ(cshm_heap_share(world->region, world->place[0]), 0);
    open_barrier(world);
    struct cshm_barrier_shared *shared =
        cshm_heap_pointer(world->region, world->place[0], sizeof *shared);
    (void)cshm_park_prepare(&shared->waiters.park); /* somebody died asleep */
}

static void make_barrier(struct world *world)
{
    make(world, 2);
}

static void make_of_three(struct world *world)
{
    make(world, 3);
}

static bool is_broken(const struct world *world)
{
    struct cshm_barrier_info info;
    cshm_barrier_describe(world->handle, &info);
    return info.broken != 0;
}

static int pass_until(struct world *world, int64_t deadline)
{
    return cshm_barrier_wait_until(world->handle, NULL, NULL, deadline, NULL);
}

/* ---- scenes ---- */

/* The survivor has arrived. */
static void make_half(struct world *world)
{
    struct cshm_arrival arrival;
    make_barrier(world);
    CHECK_EQ(cshm_barrier_arrive(world->handle, &arrival), 0);
}

static void arrive_as_first(struct world *world)
{
    struct cshm_arrival arrival;
    open_barrier(world);
    CHECK_EQ(cshm_barrier_arrive(world->handle, &arrival), 0);
}

/* One who had arrived is dead, and nobody has noticed. */
static void make_of_the_dead(struct world *world)
{
    make_barrier(world);
    kill_after(world, arrive_as_first);
}

/* A third process, which had arrived, is dead. */
static void arrive_and_die(struct world *world)
{
    kill_after(world, arrive_as_first);
    open_barrier(world);
}

static void break_it(struct world *world)
{
    make_of_the_dead(world);
    cshm_barrier_abort(world->handle);
}

/* ---- operations ---- */

static int create(struct world *world)
{
    int status = cshm_barrier_create(world->region, 2, &world->place[0]);
    return status == 0 ? cshm_heap_free(world->region, world->place[0]) : status;
}

static int wait_in_vain(struct world *world)
{
    return pass_until(world, cshm_now_ns() + MILLISECOND);
}

static int wait_for_the_dead(struct world *world)
{
    return pass_until(world, INT64_MAX);
}

static int act(void *context)
{
    struct world *world = context;
    atomic_fetch_add(&world->report->word[0], 1);
    return 0;
}

static int pass_with_action(struct world *world)
{
    uint32_t index = 0;
    int status = cshm_barrier_wait_until(world->handle, act, world, INT64_MAX, &index);
    return status == 0 ? (int)index - 1 : status;
}

static int pass(struct world *world)
{
    return pass_until(world, INT64_MAX);
}

static int give_up(struct world *world)
{
    cshm_barrier_abort(world->handle);
    return 0;
}

static int reset(struct world *world)
{
    return cshm_barrier_reset(world->handle);
}

static int repair(struct world *world)
{
    return cshm_barrier_repair(world->handle);
}

static int close_it(struct world *world)
{
    cshm_barrier_close(world->handle);
    return 0;
}

/* ---- afterwards ---- */

static void check_gone(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
}

/* Whoever of them died in whatever: reset, two parties pass, again and again. */
static void check_use(struct world *world)
{
    CHECK(cshm_barrier_reset(world->handle) >= 0);
    struct cshm_barrier_info info;
    cshm_barrier_describe(world->handle, &info);
    for (int i = 0; i < 3; i++) {
        struct cshm_arrival first;
        for (uint32_t party = 1; party < info.parties; party++) {
            CHECK_EQ(cshm_barrier_arrive(world->handle, &first), 0);
        }
        CHECK_EQ(pass_until(world, INT64_MAX), 0);
        CHECK_EQ(cshm_barrier_finish_until(&first, INT64_MAX), 0);
    }
    CHECK(!is_broken(world));
    cshm_barrier_destroy(world->handle);
}

/* A death is noticed by who waits, if the dead one took part: that is, if it may have arrived. */
static void check_not_waited_for(struct world *world)
{
    struct cshm_barrier_info info;
    cshm_barrier_describe(world->handle, &info);
    if (info.waiting == 1 && info.broken == 0 && info.phase == 0) {
        CHECK_EQ(pass_until(world, INT64_MAX), 0); /* it counts as having arrived */
    } else {
        CHECK_EQ(info.waiting, 0);
        CHECK(info.broken == 1 || !returned(world));
    }
    check_use(world);
}

/* The survivor waits as it did: the other one came, or it died and that is told. */
static void check_passed(struct world *world)
{
    struct cshm_arrival first = {world->handle, 0, 0};
    struct cshm_barrier_shared *shared =
        cshm_heap_pointer(world->region, world->place[0], sizeof *shared);
    bool took_part = atomic_load(&shared->members[(world->report->stamp & 0xffff) - 1]) != 0;
    int status =
        took_part ? cshm_barrier_finish_until(&first, INT64_MAX) : cshm_barrier_try_finish(&first);
    CHECK(status == 0 || (!returned(world) && status == (took_part ? -ECANCELED : -EAGAIN)));
    check_use(world);
}

static void check_told(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -ECANCELED);
    CHECK(is_broken(world) || !returned(world));
    check_use(world);
}

static void check_aborted(struct world *world)
{
    CHECK(is_broken(world) || !returned(world));
    check_use(world);
}

static void check_renewed(struct world *world)
{
    CHECK(!returned(world) || (!is_broken(world) && world->report->status == 1));
    CHECK(returned(world) || world->report->cut_too != 0 ||
          cshm_barrier_repair(world->handle) >= 0);
    check_use(world);
}

static void repair_too(struct world *world)
{
    if (world->handle == NULL || cshm_participant_self(world->region) == 0) {
        return;
    }
    CHECK(cshm_barrier_repair(world->handle) >= 0);
    CHECK(!is_broken(world));
}

static void check_closed(struct world *world)
{
    struct cshm_arrival first;
    if (returned(world)) {
        /* It is no party: nobody's death breaks it. */
        CHECK(cshm_barrier_reset(world->handle) == 0);
        CHECK_EQ(cshm_barrier_arrive(world->handle, &first), 0);
        CHECK_EQ(cshm_barrier_finish_until(&first, cshm_now_ns() + 15 * MILLISECOND), -ETIMEDOUT);
    }
    check_use(world);
}

/* A stopped party is alive. Others wait for it, and not for ever. */
static void wait_meanwhile(struct world *world)
{
    struct cshm_arrival arrival;
    int status = cshm_barrier_arrive(world->handle, &arrival);
    CHECK(status >= 0 || status == -ECANCELED || status == -EAGAIN);
    cshm_barrier_abort(world->handle);
    CHECK(is_broken(world));
}

const struct scenario barrier_scenarios[] = {
    {.name = "create", .operate = create, .check = check_gone},
    {.name = "wait_in_vain",
     .setup = make_barrier,
     .prepare = open_barrier,
     .operate = wait_in_vain,
     .check = check_not_waited_for,
     .meanwhile = wait_meanwhile},
    {.name = "wait_for_the_dead",
     .setup = make_of_three,
     .prepare = arrive_and_die,
     .operate = wait_for_the_dead,
     .check = check_told},
    {.name = "wait_in_the_place_of_the_dead",
     .setup = make_of_the_dead,
     .prepare = open_barrier,
     .operate = wait_for_the_dead,
     .check = check_told},
    {.name = "pass",
     .setup = make_half,
     .prepare = open_barrier,
     .operate = pass,
     .check = check_passed},
    {.name = "pass_with_action",
     .setup = make_half,
     .prepare = open_barrier,
     .operate = pass_with_action,
     .check = check_passed},
    {.name = "abort",
     .setup = make_half,
     .prepare = open_barrier,
     .operate = give_up,
     .check = check_aborted},
    {.name = "reset",
     .setup = break_it,
     .prepare = open_barrier,
     .operate = reset,
     .check = check_renewed},
    {.name = "repair",
     .setup = break_it,
     .prepare = open_barrier,
     .operate = repair,
     .recover = repair_too,
     .check = check_renewed,
     .pairs = 1},
    {.name = "close",
     .setup = make_barrier,
     .prepare = arrive_as_first,
     .operate = close_it,
     .check = check_closed},
    {.name = NULL},
};
