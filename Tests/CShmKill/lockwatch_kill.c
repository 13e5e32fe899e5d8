/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Locks that are watched: whoever comes next has the lock, whatever the dead one had recorded, and is
 * told of circles of the living only.
 */
#include "kill.h"

#include "internal.h"

extern const struct scenario lockwatch_scenarios[];

static cshm_mutex *mutex_of(const struct world *world, int index)
{
    return cshm_heap_pointer(world->region, world->place[index], sizeof(cshm_mutex));
}

static void count_report(const struct cshm_lock_cycle *cycle, void *context)
{
    struct world *world = context;
    CHECK(cycle->count >= 2);
    atomic_fetch_add(&world->report->word[0], 1);
}

static void make_two(struct world *world)
{
    for (int i = 0; i < 2; i++) {
        world->place[i] = make_shared_block(world->region, sizeof(cshm_mutex));
        cshm_mutex_init(mutex_of(world, i));
    }
}

static void watch(struct world *world)
{
    cshm_lockwatch_begin(count_report, world);
}

static void acquire(const struct world *world, int index)
{
    int status = cshm_mutex_acquire_until(mutex_of(world, index), INT64_MAX);
    CHECK(status >= 0);
    if (status == 1) {
        CHECK_EQ(cshm_mutex_repair(mutex_of(world, index)), 0);
    }
}

static void acquire_both(const struct world *world, int first)
{
    acquire(world, first);
    acquire(world, 1 - first);
    CHECK_EQ(cshm_mutex_release(mutex_of(world, 1 - first)), 0);
    CHECK_EQ(cshm_mutex_release(mutex_of(world, first)), 0);
}

static int go_forward(struct world *world)
{
    acquire_both(world, 0);
    return 0;
}

static void go_backward(struct world *world)
{
    watch(world);
    acquire_both(world, 1);
}

static void watch_and_go_forward(struct world *world)
{
    watch(world);
    acquire_both(world, 0);
}

static void make_two_and_a_dead_one(struct world *world)
{
    make_two(world);
    kill_after(world, watch_and_go_forward);
}

static int go_backward_too(struct world *world)
{
    acquire_both(world, 1);
    return 0;
}

/* ---- a full table ---- */

/* Records of this process that say nothing, in all places. */
static void fill(struct world *world)
{
    watch_and_go_forward(world);
    uint64_t place = atomic_load(&world->region->live->lockwatch);
    struct cshm_lockwatch_shared *table = cshm_heap_pointer(world->region, place, sizeof *table);
    uint64_t made = UINT64_C(2) << 56;
    for (uint32_t i = 0; i < CSHM_LOCKWATCH_RECORDS; i++) {
        atomic_store(&table->record[i].wanted, 0);
        atomic_store(&table->record[i].word, made | cshm_participant_self(world->region));
    }
}

static void fill_and_live(struct world *world)
{
    make_two(world);
    fill(world);
}

static void fill_and_die(struct world *world)
{
    make_two(world);
    kill_after(world, fill);
}

/* The victim stopped with the locks in its hands: nobody can do anything about that. */
static void look(struct world *world)
{
    struct cshm_mutex_info info;
    struct cshm_lockwatch_info records;
    CHECK_EQ(cshm_mutex_describe(mutex_of(world, 0), &info), 0);
    int status = cshm_lockwatch_describe(world->region, &records);
    CHECK(status == -ENOENT || (status == 0 && records.records <= records.records_max));
}

static void check(struct world *world)
{
    struct cshm_mutex_info info;
    CHECK_EQ(atomic_load(&world->report->word[0]), 0); /* whoever went the other way is dead */
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(cshm_mutex_describe(mutex_of(world, i), &info), 0);
        CHECK_EQ(info.holder_pid, 0);
        CHECK_EQ(info.since_ns, 0);
        CHECK_EQ(cshm_heap_free(world->region, world->place[i]), 0);
    }
    /* The table stays with its region. */
    uint64_t place = atomic_load(&world->region->live->lockwatch);
    if (place != 0) {
        cshm__heap_free_held(world->region, place);
    }
}

const struct scenario lockwatch_scenarios[] = {
    {.name = "acquire_two",
     .setup = make_two,
     .prepare = watch,
     .operate = go_forward,
     .recover = go_backward,
     .check = check,
     .meanwhile = look,
     .pairs = 5},
    {.name = "acquire_two_as_a_dead_one_did",
     .setup = make_two_and_a_dead_one,
     .prepare = watch,
     .operate = go_backward_too,
     .recover = watch_and_go_forward,
     .check = check,
     .meanwhile = look,
     .pairs = 5},
    {.name = "acquire_two_without_room",
     .setup = fill_and_live,
     .prepare = watch,
     .operate = go_forward,
     .recover = go_backward,
     .check = check,
     .meanwhile = look},
    {.name = "acquire_two_where_the_dead_have_all_the_room",
     .setup = fill_and_die,
     .prepare = watch,
     .operate = go_forward,
     .recover = go_backward,
     .check = check,
     .meanwhile = look,
     .step = 32},
    {0},
};
