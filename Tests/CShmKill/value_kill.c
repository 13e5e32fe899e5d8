/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A switch of a value's copies, or the store of a word, is one store.
 */
#include "kill.h"

extern const struct scenario value_scenarios[];

static void *word_of(const struct world *world)
{
    return cshm_heap_pointer(world->region, world->place[0], 8);
}

static void make_word(struct world *world)
{
    world->place[0] = make_shared_block(world->region, 8);
    cshm_word_store(word_of(world), 0);
}

static int switch_copies(struct world *world)
{
    cshm_value_switch(word_of(world), 1);
    return 0;
}

static int store_word(struct world *world)
{
    cshm_word_store(word_of(world), 1);
    return 0;
}

static void check_word(struct world *world)
{
    CHECK_EQ(cshm_value_current(word_of(world)), returned(world));
    CHECK_EQ(cshm_word_load(word_of(world)), returned(world));
    CHECK_EQ(cshm_heap_free(world->region, world->place[0]), 0);
}

const struct scenario value_scenarios[] = {
    {.name = "switch", .setup = make_word, .operate = switch_copies, .check = check_word},
    {.name = "word_store", .setup = make_word, .operate = store_word, .check = check_word},
    {.name = NULL},
};
