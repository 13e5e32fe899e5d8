/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A message's slot, in every state and taken to every other: its next user finds it usable, and
 * no block is left.
 */
#include "kill.h"

#include "internal.h"

extern const struct scenario slot_scenarios[];

enum {
    INLINE = 32,
    SHORT = 24,
    LONG = 500,
    HUGE = 2 * 65536,
};

static struct cshm_slot *slot_of(const struct world *world)
{
    return cshm_heap_pointer(world->region, world->place[0], sizeof(struct cshm_slot) + INLINE);
}

static void prepare(struct world *world, uint64_t length)
{
    void *data = NULL;
    CHECK_EQ(cshm__slot_prepare(world->region, slot_of(world), INLINE, length, &data), 0);
    memset(data, 0x5a, length);
}

static void make_slot(struct world *world)
{
    world->place[0] = make_shared_block(world->region, sizeof(struct cshm_slot) + INLINE);
    memset((void *)slot_of(world), 0, sizeof(struct cshm_slot) + INLINE);
}

static void make_long_slot(struct world *world)
{
    make_slot(world);
    prepare(world, LONG);
}

static void make_huge_slot(struct world *world)
{
    make_slot(world);
    prepare(world, HUGE);
}

static int prepare_short(struct world *world)
{
    prepare(world, SHORT);
    return 0;
}

static int prepare_long(struct world *world)
{
    prepare(world, LONG);
    return 0;
}

static int prepare_huge(struct world *world)
{
    prepare(world, HUGE);
    return 0;
}

static int clear(struct world *world)
{
    cshm__slot_clear(world->region, slot_of(world));
    return 0;
}

/* The slot's next user. */
static void reuse(struct world *world)
{
    prepare(world, LONG + 1);
    cshm__slot_clear(world->region, slot_of(world));
}

static void check_slot(struct world *world)
{
    void *data = NULL;
    uint64_t length = 0;
    prepare(world, SHORT);
    CHECK_EQ(cshm__slot_read(world->region, slot_of(world), INLINE, &data, &length), 0);
    CHECK(data == slot_of(world)->bytes && length == SHORT);
    CHECK_EQ(blocks_in_use(world->region), 1);
    CHECK_EQ(cshm_heap_free(world->region, world->place[0]), 0);
}

const struct scenario slot_scenarios[] = {
    {.name = "prepare_short", .setup = make_slot, .operate = prepare_short, .check = check_slot},
    {.name = "prepare_long",
     .setup = make_slot,
     .operate = prepare_long,
     .recover = reuse,
     .check = check_slot,
     .pairs = 1},
    {.name = "prepare_long_before_a_sweep",
     .setup = make_slot,
     .operate = prepare_long,
     .check = check_slot,
     .pairs = 1},
    {.name = "prepare_huge",
     .setup = make_slot,
     .operate = prepare_huge,
     .recover = reuse,
     .check = check_slot,
     .pairs = 1},
    {.name = "prepare_short_after_long",
     .setup = make_long_slot,
     .operate = prepare_short,
     .recover = reuse,
     .check = check_slot,
     .pairs = 1},
    {.name = "prepare_long_after_huge",
     .setup = make_huge_slot,
     .operate = prepare_long,
     .recover = reuse,
     .check = check_slot,
     .pairs = 1},
    {.name = "clear_long", .setup = make_long_slot, .operate = clear, .check = check_slot},
    {.name = "clear_huge",
     .setup = make_huge_slot,
     .operate = clear,
     .recover = reuse,
     .check = check_slot,
     .pairs = 1},
    {.name = NULL},
};
