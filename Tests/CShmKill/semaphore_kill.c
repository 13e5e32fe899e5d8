/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A semaphore: an operation is one swap of its count, which happened or did not.
 */
#include "kill.h"

#include "layout.h"

extern const struct scenario semaphore_scenarios[];

static const int64_t MILLISECOND = 1000000;

enum { BOUND = 5 };

static cshm_semaphore *semaphore_of(const struct world *world)
{
    return cshm_heap_pointer(world->region, world->place[0], sizeof(cshm_semaphore));
}

static void make(struct world *world, uint32_t count)
{
    world->place[0] = make_shared_block(world->region, sizeof(cshm_semaphore));
    CHECK_EQ(cshm_semaphore_init(semaphore_of(world), count, BOUND), 0);
}

static void make_two(struct world *world)
{
    make(world, 2);
}

static void make_none(struct world *world)
{
    make(world, 0);
}

static void make_full(struct world *world)
{
    make(world, BOUND);
}

/* Somebody may be asleep, and nobody is. */
static void make_waited_for(struct world *world)
{
    struct cshm_waitable waitable;
    make_two(world);
    CHECK_EQ(cshm_semaphore_waitable(semaphore_of(world), &waitable), 0);
    (void)cshm_park_prepare(waitable.park);
}

static int init(struct world *world)
{
    return cshm_semaphore_init(semaphore_of(world), 2, BOUND);
}

static int try_acquire(struct world *world)
{
    return cshm_semaphore_try_acquire(semaphore_of(world));
}

static int acquire(struct world *world)
{
    return cshm_semaphore_acquire_until(semaphore_of(world), INT64_MAX);
}

static int acquire_in_vain(struct world *world)
{
    return cshm_semaphore_acquire_until(semaphore_of(world), cshm_now_ns() + 30 * MILLISECOND);
}

static int release_one(struct world *world)
{
    return cshm_semaphore_release(semaphore_of(world), 1);
}

static int release_three(struct world *world)
{
    return cshm_semaphore_release(semaphore_of(world), 3);
}

/* One and then another: nobody is held up. */
static void use(struct world *world)
{
    int count = cshm_semaphore_count(semaphore_of(world));
    CHECK(count >= 0);
    CHECK_EQ(cshm_semaphore_try_acquire(semaphore_of(world)), count == 0 ? -EAGAIN : 0);
    if (count != 0) {
        CHECK_EQ(cshm_semaphore_release(semaphore_of(world), 1), 0);
    }
}

static void check_count(struct world *world, int before, int after)
{
    int count = cshm_semaphore_count(semaphore_of(world));
    CHECK(count == after || (count == before && !returned(world)));
    CHECK_EQ(cshm_semaphore_bound(semaphore_of(world)), BOUND);
    use(world);
    CHECK_EQ(cshm_heap_free(world->region, world->place[0]), 0);
}

static void check_taken(struct world *world)
{
    check_count(world, 2, 1);
}

static void check_given(struct world *world)
{
    check_count(world, 2, 3);
}

static void check_three_given(struct world *world)
{
    check_count(world, 2, 5);
}

static void check_timed_out(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -ETIMEDOUT);
    check_count(world, 0, 0);
}

static void check_refused(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -EOVERFLOW);
    check_count(world, BOUND, BOUND);
}

/* Nobody may use one whose making did not return; a new one can be made in its place. */
static void check_inited(struct world *world)
{
    CHECK_EQ(cshm_semaphore_init(semaphore_of(world), 2, BOUND), 0);
    check_count(world, 2, 2);
}

const struct scenario semaphore_scenarios[] = {
    {.name = "init", .setup = make_two, .operate = init, .check = check_inited},
    {.name = "try_acquire",
     .setup = make_two,
     .operate = try_acquire,
     .check = check_taken,
     .meanwhile = use},
    {.name = "acquire",
     .setup = make_two,
     .operate = acquire,
     .check = check_taken,
     .meanwhile = use},
    {.name = "acquire_in_vain",
     .setup = make_none,
     .operate = acquire_in_vain,
     .check = check_timed_out,
     .meanwhile = use},
    {.name = "release",
     .setup = make_waited_for,
     .operate = release_one,
     .check = check_given,
     .meanwhile = use},
    {.name = "release_several",
     .setup = make_waited_for,
     .operate = release_three,
     .check = check_three_given,
     .meanwhile = use},
    {.name = "release_beyond_the_bound",
     .setup = make_full,
     .operate = release_one,
     .check = check_refused},
    {.name = NULL},
};
