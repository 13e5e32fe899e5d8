/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The mutex: whoever comes next is told if the holder died, and only then.
 */
#include "kill.h"

extern const struct scenario mutex_scenarios[];

static const int64_t MILLISECOND = 1000000;

static cshm_mutex *mutex_of(const struct world *world)
{
    return cshm_heap_pointer(world->region, world->place[0], sizeof(cshm_mutex));
}

static void make_mutex(struct world *world)
{
    world->place[0] = make_shared_block(world->region, sizeof(cshm_mutex));
    cshm_mutex_init(mutex_of(world));
}

static void hold(struct world *world)
{
    CHECK(cshm_mutex_try_acquire(mutex_of(world)) >= 0);
}

static void make_inherited(struct world *world)
{
    make_mutex(world);
    kill_after(world, hold);
}

static void break_mutex(struct world *world)
{
    make_inherited(world);
    hold(world);
    CHECK_EQ(cshm_mutex_release(mutex_of(world)), 0);
}

static int init(struct world *world)
{
    cshm_mutex_init(mutex_of(world));
    return 0;
}

static int try_acquire(struct world *world)
{
    return cshm_mutex_try_acquire(mutex_of(world));
}

static int acquire(struct world *world)
{
    return cshm_mutex_acquire_until(mutex_of(world), INT64_MAX);
}

static int acquire_in_vain(struct world *world)
{
    return cshm_mutex_acquire_until(mutex_of(world), cshm_now_ns() + 30 * MILLISECOND);
}

static int try_acquire_woken(struct world *world)
{
    return cshm_mutex_try_acquire_woken(mutex_of(world));
}

/* Waits at the word of a mutex that another holds, in vain. */
static int wait_without_blocking(struct world *world)
{
    struct cshm_waitable waitable;
    cshm_mutex_waitable(mutex_of(world), &waitable);
    return cshm_wait_any(&waitable, 1, cshm_now_ns() + 30 * MILLISECOND);
}

static int hand_on(struct world *world)
{
    struct cshm_waitable waitable;
    cshm_mutex_waitable(mutex_of(world), &waitable);
    cshm_hand_on(&waitable);
    return -ETIMEDOUT;
}

static int repair(struct world *world)
{
    return cshm_mutex_repair(mutex_of(world));
}

static int release(struct world *world)
{
    return cshm_mutex_release(mutex_of(world));
}

static int repair_and_release(struct world *world)
{
    int status = cshm_mutex_repair(mutex_of(world));
    return status == 0 ? cshm_mutex_release(mutex_of(world)) : status;
}

/* The next holder, who knows how to repair. */
static void succeed(struct world *world)
{
    int status = cshm_mutex_acquire_until(mutex_of(world), INT64_MAX);
    CHECK(status >= 0);
    if (status == 1) {
        CHECK_EQ(cshm_mutex_repair(mutex_of(world)), 0);
    }
    CHECK_EQ(cshm_mutex_release(mutex_of(world)), 0);
}

/* As `succeed`, having told what it found. */
static void succeed_and_tell(struct world *world)
{
    int status = cshm_mutex_try_acquire(mutex_of(world));
    CHECK(status >= 0);
    atomic_store(&world->report->word[0], 1 + (uint64_t)status);
    if (status == 1) {
        CHECK_EQ(cshm_mutex_repair(mutex_of(world)), 0);
    }
    CHECK_EQ(cshm_mutex_release(mutex_of(world)), 0);
}

static void check_holder(struct world *world, int pid, uint32_t depth)
{
    struct cshm_mutex_info info;
    CHECK_EQ(cshm_mutex_describe(mutex_of(world), &info), 0);
    CHECK_EQ(info.holder_pid, pid);
    CHECK_EQ(info.holder_thread, pid);
    CHECK_EQ(info.depth, depth);
}

static void check_free(struct world *world)
{
    CHECK_EQ(cshm_mutex_try_acquire(mutex_of(world)), 0);
    check_holder(world, getpid(), 1);
    CHECK_EQ(cshm_mutex_try_acquire(mutex_of(world)), -EDEADLK);
    CHECK_EQ(cshm_mutex_release(mutex_of(world)), 0);
    check_holder(world, 0, 0);
    CHECK_EQ(cshm_mutex_release(mutex_of(world)), -EPERM);
    CHECK_EQ(cshm_heap_free(world->region, world->place[0]), 0);
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
    CHECK(!returned(world) || world->report->status == -ETIMEDOUT);
    CHECK_EQ(cshm_mutex_release(mutex_of(world)), 0);
    check_free(world);
}

static void check_broken(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -ENOTRECOVERABLE);
    CHECK_EQ(cshm_mutex_try_acquire(mutex_of(world)), -ENOTRECOVERABLE);
    CHECK_EQ(cshm_mutex_acquire_until(mutex_of(world), INT64_MAX), -ENOTRECOVERABLE);
    CHECK_EQ(cshm_heap_free(world->region, world->place[0]), 0);
}

static void check_refused(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -EPERM);
    CHECK_EQ(cshm_mutex_release(mutex_of(world)), 0);
    check_free(world);
}

/* Nobody may use a mutex whose making did not return; a new one can be made in its place. */
static void check_inited(struct world *world)
{
    cshm_mutex_init(mutex_of(world));
    check_free(world);
}

/* Held by an inheritor: given on as such, unless it was released without a repair. */
static void check_not_repaired(struct world *world)
{
    int status = cshm_mutex_try_acquire(mutex_of(world));
    CHECK(status == -ENOTRECOVERABLE || (status == 1 && !returned(world)));
    if (status == 1) {
        CHECK_EQ(cshm_mutex_release(mutex_of(world)), 0);
    }
    CHECK_EQ(cshm_heap_free(world->region, world->place[0]), 0);
}

/* A stopped holder is alive; a try never waits. */
static void try_meanwhile(struct world *world)
{
    int status = cshm_mutex_try_acquire(mutex_of(world));
    CHECK(status >= 0 || status == -EAGAIN);
    CHECK_EQ(cshm_mutex_try_acquire(mutex_of(world)), status >= 0 ? -EDEADLK : -EAGAIN);
    if (status == 1) {
        CHECK_EQ(cshm_mutex_repair(mutex_of(world)), 0);
    }
    if (status >= 0) {
        CHECK_EQ(cshm_mutex_release(mutex_of(world)), 0);
    } else {
        CHECK_EQ(cshm_mutex_acquire_until(mutex_of(world), cshm_now_ns() + MILLISECOND),
                 -ETIMEDOUT);
    }
}

/* ---- recursive ---- */

static void make_recursive(struct world *world)
{
    world->place[0] = make_shared_block(world->region, sizeof(cshm_mutex));
    cshm_mutex_init_recursive(mutex_of(world));
}

static void hold_thrice(struct world *world)
{
    hold(world);
    hold(world);
    hold(world);
}

static void make_recursive_inherited(struct world *world)
{
    make_recursive(world);
    kill_after(world, hold_thrice);
}

static int init_recursive(struct world *world)
{
    cshm_mutex_init_recursive(mutex_of(world));
    return 0;
}

/* Whatever the dead had, the next holder has it once. */
static void check_recursive(struct world *world)
{
    int status = cshm_mutex_try_acquire(mutex_of(world));
    CHECK_EQ(status, returned(world) && world->report->word[1] != 0 ? 0 : 1);
    check_holder(world, getpid(), 1);
    CHECK_EQ(cshm_mutex_try_acquire(mutex_of(world)), 0);
    check_holder(world, getpid(), 2);
    if (status == 1) {
        CHECK_EQ(cshm_mutex_repair(mutex_of(world)), 0);
    }
    CHECK_EQ(cshm_mutex_release(mutex_of(world)), 0);
    CHECK_EQ(cshm_mutex_release(mutex_of(world)), 0);
    CHECK_EQ(cshm_mutex_release(mutex_of(world)), -EPERM);
    check_holder(world, 0, 0);
    CHECK_EQ(cshm_heap_free(world->region, world->place[0]), 0);
}

static void check_recursive_inited(struct world *world)
{
    cshm_mutex_init_recursive(mutex_of(world));
    atomic_store(&world->report->word[1], 1);
    atomic_store(&world->report->returned, 1);
    check_recursive(world);
}

static void make_held(struct world *world)
{
    make_mutex(world);
    hold(world);
}

const struct scenario mutex_scenarios[] = {
    {.name = "init", .setup = make_mutex, .operate = init, .check = check_inited},
    {.name = "try_acquire",
     .setup = make_mutex,
     .operate = try_acquire,
     .recover = succeed_and_tell,
     .check = check_acquired,
     .meanwhile = try_meanwhile},
    {.name = "acquire",
     .setup = make_mutex,
     .operate = acquire,
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
    {.name = "try_acquire_woken",
     .setup = make_mutex,
     .operate = try_acquire_woken,
     .recover = succeed_and_tell,
     .check = check_acquired,
     .meanwhile = try_meanwhile},
    {.name = "wait_without_blocking",
     .setup = make_held,
     .operate = wait_without_blocking,
     .check = check_timed_out},
    {.name = "hand_on", .setup = make_held, .operate = hand_on, .check = check_timed_out},
    {.name = "try_acquire_of_the_unrecoverable",
     .setup = break_mutex,
     .operate = try_acquire,
     .check = check_broken},
    {.name = "repair",
     .setup = make_inherited,
     .prepare = hold,
     .operate = repair,
     .recover = succeed,
     .check = check_free,
     .pairs = 1},
    {.name = "release",
     .setup = make_mutex,
     .prepare = hold,
     .operate = release,
     .recover = succeed_and_tell,
     .check = check_released,
     .meanwhile = try_meanwhile},
    {.name = "release_of_what_another_holds",
     .setup = make_held,
     .operate = release,
     .check = check_refused},
    {.name = "repair_and_release",
     .setup = make_inherited,
     .prepare = hold,
     .operate = repair_and_release,
     .recover = succeed,
     .check = check_free,
     .pairs = 1},
    {.name = "release_unrepaired",
     .setup = make_inherited,
     .prepare = hold,
     .operate = release,
     .check = check_not_repaired},
    {.name = "init_recursive",
     .setup = make_recursive,
     .operate = init_recursive,
     .check = check_recursive_inited},
    {.name = "acquire_again",
     .setup = make_recursive,
     .prepare = hold,
     .operate = try_acquire,
     .check = check_recursive},
    {.name = "acquire_recursive_from_the_dead",
     .setup = make_recursive_inherited,
     .operate = acquire,
     .check = check_recursive},
    {.name = "release_one_of_three",
     .setup = make_recursive,
     .prepare = hold_thrice,
     .operate = release,
     .check = check_recursive},
    {.name = NULL},
};
