/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Names: an object has its name or it has none; with a name it outlives its maker, without it goes.
 */
#include "kill.h"

#include "internal.h"

extern const struct scenario directory_scenarios[];

static const char *const NAME = "a name of more than one word";
static const char *const OTHER = "another";

static bool finds(const struct world *world, const char *name, uint64_t place)
{
    struct cshm_directory_entry entry;
    int status = cshm_directory_find(world->region, name, &entry);
    CHECK(status == -ENOENT || (status == 0 && entry.offset == place && entry.type_tag == 5));
    return status == 0;
}

static void add(struct world *world, const char *name, uint64_t place)
{
    CHECK_EQ(cshm_directory_add(world->region, name, CSHM_KIND_BLOCK, 5, place), 0);
}

/* ---- scenes ---- */

static void name_none(struct world *world)
{
    world->place[2] = make_shared_block(world->region, 100);
}

static void name_another(struct world *world)
{
    name_none(world);
    world->place[0] = make_shared_block(world->region, 100);
    add(world, OTHER, world->place[0]);
}

static void fill_a_page(struct world *world)
{
    char name[16];
    name_another(world);
    for (uint32_t i = 1; i < CSHM_DIRECTORY_SLOTS; i++) {
        snprintf(name, sizeof name, "%u", i);
        add(world, name, world->place[0]);
    }
}

static void name_two(struct world *world)
{
    name_another(world);
    world->place[1] = make_shared_block(world->region, 100);
    add(world, NAME, world->place[1]);
}

static void make_own(struct world *world)
{
    CHECK_EQ(cshm_heap_allocate(world->region, 100, &world->place[1]), 0);
    atomic_store(&world->report->word[0], world->place[1]);
}

/* ---- operations ---- */

static int add_own(struct world *world)
{
    return cshm_directory_add(world->region, NAME, CSHM_KIND_BLOCK, 5, world->place[1]);
}

static int add_taken(struct world *world)
{
    return cshm_directory_add(world->region, OTHER, CSHM_KIND_BLOCK, 5, world->place[1]);
}

static int remove_name(struct world *world)
{
    return cshm_directory_remove(world->region, NAME, NULL);
}

/* ---- what holds afterwards ---- */

/* Whoever adds and removes next; again, if it died while its object had a name. */
static void add_next(struct world *world)
{
    int status = cshm_directory_add(world->region, "next", CSHM_KIND_BLOCK, 5, world->place[2]);
    CHECK(status == 0 || status == -EEXIST);
    CHECK(finds(world, "next", world->place[2]));
    CHECK_EQ(cshm_directory_remove(world->region, "next", NULL), 0);
    CHECK(!finds(world, "next", world->place[2]));
}

static void look_meanwhile(struct world *world)
{
    uint64_t place = atomic_load(&world->report->word[0]);
    CHECK(world->place[0] == 0 || finds(world, OTHER, world->place[0]));
    (void)finds(world, NAME, place == 0 ? world->place[1] : place);
}

static void count(const struct cshm_directory_entry *entry, void *context)
{
    *(uint64_t *)context += entry->offset != 0;
}

/* Takes every name away, then the pages, which nobody else ever does. */
static void drop_all(struct world *world, uint64_t names)
{
    uint64_t found = 0;
    char name[16];
    CHECK_EQ(cshm_directory_list(world->region, count, &found), names);
    CHECK_EQ(found, names);
    for (uint32_t i = 1; i < CSHM_DIRECTORY_SLOTS; i++) {
        snprintf(name, sizeof name, "%u", i);
        (void)!cshm_directory_remove(world->region, name, NULL);
    }
    (void)!cshm_directory_remove(world->region, OTHER, NULL);
    (void)!cshm_directory_remove(world->region, NAME, NULL);
    uint64_t place = atomic_exchange(&world->region->live->directory, 0);
    while (place != 0) {
        struct cshm_directory_page *page = cshm_heap_pointer(world->region, place, sizeof *page);
        uint64_t next = atomic_load(&page->next);
        cshm__heap_free_held(world->region, place);
        place = next;
    }
    for (uint32_t i = 0; i < 3; i += 2) {
        CHECK_EQ(cshm_heap_free(world->region, world->place[i]),
                 world->place[i] == 0 ? -EINVAL : 0);
    }
}

static void check_added(struct world *world, uint64_t others)
{
    uint64_t place = atomic_load(&world->report->word[0]);
    bool found = finds(world, NAME, place);
    CHECK(found || !returned(world));
    drop_all(world, others + found);
    CHECK_EQ(cshm_heap_free(world->region, place), found ? 0 : -EINVAL);
}

static void check_first(struct world *world)
{
    check_added(world, 0);
}

static void check_second(struct world *world)
{
    check_added(world, 1);
}

static void check_on_a_new_page(struct world *world)
{
    check_added(world, CSHM_DIRECTORY_SLOTS);
}

static void check_refused(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -EEXIST);
    CHECK(finds(world, OTHER, world->place[0]));
    drop_all(world, 1);
}

static void check_removed(struct world *world)
{
    bool found = finds(world, NAME, world->place[1]);
    CHECK(!found || !returned(world));
    drop_all(world, found ? 2 : 1);
    CHECK_EQ(cshm_heap_free(world->region, world->place[1]), 0);
}

const struct scenario directory_scenarios[] = {
    {.name = "add_the_first",
     .setup = name_none,
     .prepare = make_own,
     .operate = add_own,
     .recover = add_next,
     .check = check_first,
     .meanwhile = look_meanwhile,
     .pairs = 5},
    {.name = "add",
     .setup = name_another,
     .prepare = make_own,
     .operate = add_own,
     .recover = add_next,
     .check = check_second,
     .meanwhile = look_meanwhile,
     .pairs = 3},
    {.name = "add_on_a_new_page",
     .setup = fill_a_page,
     .prepare = make_own,
     .operate = add_own,
     .recover = add_next,
     .check = check_on_a_new_page,
     .meanwhile = look_meanwhile},
    {.name = "add_what_is_taken",
     .setup = name_another,
     .prepare = make_own,
     .operate = add_taken,
     .check = check_refused},
    {.name = "remove",
     .setup = name_two,
     .operate = remove_name,
     .recover = add_next,
     .check = check_removed,
     .meanwhile = look_meanwhile,
     .pairs = 1},
    {.name = NULL},
};
