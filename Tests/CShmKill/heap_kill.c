/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Blocks: those of the dead come back, those that were shared stay until they are freed, and no
 * span is lost.
 */
#include "kill.h"

extern const struct scenario heap_scenarios[];

enum {
    SMALL = 200,
    LARGE = 3 * 65536 - 100,
    SPAN = 65536,
    PER_SPAN = 240, /* more than there are of SMALL in a span */
};

static int allocate(struct world *world, uint64_t size)
{
    uint64_t place = 0;
    return cshm_heap_allocate(world->region, size, &place);
}

static int allocate_small(struct world *world)
{
    return allocate(world, SMALL);
}

static int allocate_large(struct world *world)
{
    return allocate(world, LARGE);
}

static int allocate_too_much(struct world *world)
{
    return allocate(world, 15 * SPAN);
}

static void ready_small(struct world *world)
{
    CHECK_EQ(allocate(world, SMALL), 0);
}

/* Nothing was said to anybody: it is all gone with the dead. */
static void check_gone(struct world *world)
{
    CHECK_EQ(blocks_in_use(world->region), 0);
}

static void check_refused(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -ENOSPC);
    check_gone(world);
}

/* ---- adopting spans ---- */

static void leave_spans(struct world *world)
{
    kill_after(world, ready_small);
    CHECK_EQ(cshm_region_reap(world->region), 1);
}

static void leave_spans_of_another_class(struct world *world)
{
    leave_spans(world);
    uint64_t place = 0;
    CHECK_EQ(cshm_heap_allocate(world->region, 2 * SMALL, &place), 0); /* looks in vain */
    CHECK_EQ(cshm_heap_free(world->region, place), 0);
}

/* ---- share ---- */

static void own_small(struct world *world)
{
    uint64_t place = 0;
    CHECK_EQ(cshm_heap_allocate(world->region, SMALL, &place), 0);
    atomic_store(&world->report->word[0], place);
}

static void own_large(struct world *world)
{
    uint64_t place = 0;
    CHECK_EQ(cshm_heap_allocate(world->region, LARGE, &place), 0);
    atomic_store(&world->report->word[0], place);
}

static int share(struct world *world)
{
    return cshm_heap_share(world->region, atomic_load(&world->report->word[0]));
}

static void check_shared(struct world *world)
{
    uint64_t place = atomic_load(&world->report->word[0]);
    CHECK(blocks_in_use(world->region) == 1 || !returned(world));
    if (blocks_in_use(world->region) == 1) {
        CHECK(cshm_heap_pointer(world->region, place, SMALL) != NULL);
        CHECK_EQ(cshm_heap_free(world->region, place), 0);
    }
    CHECK_EQ(cshm_heap_free(world->region, place), -EINVAL);
}

/* ---- free ---- */

static void share_small(struct world *world)
{
    world->place[0] = make_shared_block(world->region, SMALL);
}

static void share_large(struct world *world)
{
    world->place[0] = make_shared_block(world->region, LARGE);
}

/* A span without a free block: the survivor looks there again only if it is told to. */
static void fill_span(struct world *world)
{
    struct cshm_region_info info;
    struct cshm_heap_usage before;
    struct cshm_heap_usage now;
    world->place[0] = make_shared_block(world->region, SMALL);
    cshm_region_describe(world->region, &info);
    cshm_heap_describe(world->region, &before);
    uint64_t last = 0;
    do {
        CHECK_EQ(cshm_heap_allocate(world->region, SMALL, &last), 0);
        cshm_heap_describe(world->region, &now);
    } while (now.free_spans == before.free_spans);
    CHECK_EQ(cshm_heap_free(world->region, last), 0);
    world->place[1] = last / SPAN;
}

static int free_block(struct world *world)
{
    return cshm_heap_free(world->region, world->place[0]);
}

static int free_own(struct world *world)
{
    return cshm_heap_free(world->region, atomic_load(&world->report->word[0]));
}

static void check_freed(struct world *world)
{
    int status = cshm_heap_free(world->region, world->place[0]);
    CHECK(status == -EINVAL || (status == 0 && !returned(world)));
    CHECK_EQ(blocks_in_use(world->region), 0);
}

/* All but the freed block are still in use: the next one must lie where it was. */
static void check_found_again(struct world *world)
{
    uint64_t full = world->place[0] / SPAN;
    uint64_t place = 0;
    uint64_t tries = 0;
    int status = cshm_heap_free(world->region, world->place[0]);
    CHECK(status == -EINVAL || (status == 0 && !returned(world)));
    do {
        CHECK(++tries <= PER_SPAN * 2);
        CHECK_EQ(cshm_heap_allocate(world->region, SMALL, &place), 0);
    } while (place != world->place[0]);
    CHECK_EQ(place / SPAN, full);
    for (place = full * SPAN; place < (world->place[1] + 1) * SPAN; place += 128) {
        (void)cshm_heap_free(world->region, place);
    }
}

/* Blocks at hand can be had, and freed, whoever is stopped. */
static void use_small(struct world *world)
{
    uint64_t place = 0;
    CHECK_EQ(cshm_heap_allocate(world->region, SMALL, &place), 0);
    CHECK_EQ(cshm_heap_free(world->region, place), 0);
}

static void do_nothing(struct world *world __attribute__((unused)))
{
}

/* A stopped holder of the heap's lock keeps nobody from joining and sweeping; what could not be
 * swept is swept later. */
static void die_meanwhile(struct world *world)
{
    use_small(world);
    kill_after(world, do_nothing);
    CHECK(cshm_region_reap(world->region) >= 0);
    kill_after(world, do_nothing);
}

/* ---- kept runs ---- */

static void keep_run(struct world *world, uint64_t size)
{
    uint64_t place = 0;
    CHECK_EQ(cshm_heap_allocate(world->region, size, &place), 0);
    CHECK_EQ(cshm_heap_free(world->region, place), 0);
}

static void keep_large(struct world *world)
{
    keep_run(world, LARGE);
}

/* All of the region but less than a large block is. */
static void keep_nearly_all(struct world *world)
{
    use_small(world);
    keep_run(world, 12 * SPAN);
}

static void have_small(struct world *world)
{
    use_small(world);
}

const struct scenario heap_scenarios[] = {
    {.name = "allocate_small_in_a_new_span",
     .setup = have_small,
     .operate = allocate_small,
     .check = check_gone,
     .meanwhile = use_small,
     .pairs = 1},
    {.name = "allocate_small_first_of_the_region", .operate = allocate_small, .check = check_gone},
    {.name = "allocate_small_in_an_own_span",
     .setup = have_small,
     .prepare = ready_small,
     .operate = allocate_small,
     .check = check_gone,
     .meanwhile = use_small},
    {.name = "allocate_small_in_an_adopted_span",
     .setup = leave_spans,
     .operate = allocate_small,
     .check = check_gone,
     .pairs = 1},
    {.name = "allocate_small_with_others_to_adopt",
     .setup = leave_spans_of_another_class,
     .operate = allocate_small,
     .check = check_gone},
    {.name = "allocate_large",
     .setup = have_small,
     .operate = allocate_large,
     .check = check_gone,
     .meanwhile = die_meanwhile,
     .pairs = 1},
    {.name = "allocate_large_in_a_kept_run",
     .setup = keep_large,
     .operate = allocate_large,
     .check = check_gone,
     .meanwhile = die_meanwhile,
     .pairs = 1},
    {.name = "allocate_large_where_a_run_is_kept",
     .setup = keep_nearly_all,
     .operate = allocate_large,
     .check = check_gone,
     .meanwhile = die_meanwhile,
     .pairs = 1},
    {.name = "allocate_large_growing",
     .operate = allocate_large,
     .check = check_gone,
     .capacity = 8u << 20},
    {.name = "allocate_more_than_there_is",
     .setup = have_small,
     .operate = allocate_too_much,
     .check = check_refused},
    {.name = "share_small", .prepare = own_small, .operate = share, .check = check_shared},
    {.name = "share_large", .prepare = own_large, .operate = share, .check = check_shared},
    {.name = "free_small", .setup = share_small, .operate = free_block, .check = check_freed},
    {.name = "free_small_in_a_full_span",
     .setup = fill_span,
     .operate = free_block,
     .check = check_found_again},
    {.name = "free_large",
     .setup = share_large,
     .operate = free_block,
     .check = check_freed,
     .pairs = 1},
    {.name = "free_own_small", .prepare = own_small, .operate = free_own, .check = check_gone},
    {.name = "free_own_large",
     .prepare = own_large,
     .operate = free_own,
     .check = check_gone,
     .pairs = 1},
    {.name = NULL},
};
