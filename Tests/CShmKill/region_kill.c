/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Making, naming, opening and removing regions. They have names of their own here; the trial's
 * region only looks on.
 */
#include "kill.h"

#include <stdlib.h>

extern const struct scenario region_scenarios[];

static const struct cshm_region_options OPTIONS = {.capacity = 1u << 20};
static char name[64];

static void choose_name(struct world *world __attribute__((unused)))
{
    snprintf(name, sizeof name, "sharedstate.kill.%d", (int)getpid());
    CHECK_EQ(cshm_region_remove(name), -ENOENT);
}

static void make_named(struct world *world)
{
    cshm_region *region = NULL;
    choose_name(world);
    CHECK_EQ(cshm_region_create_named(name, &OPTIONS, &region), 0);
    cshm_region_close(region);
}

/* Whoever comes next to that name, if it is there: uses the region, and sweeps the dead. */
static void visit(struct world *world __attribute__((unused)))
{
    cshm_region *region = NULL;
    struct cshm_region_info info;
    uint64_t place = 0;
    int status = cshm_region_open(name, &region);
    CHECK(status == 0 || status == -ENOENT);
    if (status == 0) {
        CHECK(cshm_region_reap(region) >= 0);
        cshm_region_describe(region, &info);
        CHECK_EQ(info.participants, 1);
        CHECK_EQ(blocks_in_use(region), 0);
        CHECK_EQ(cshm_heap_allocate(region, 100, &place), 0);
        CHECK_EQ(cshm_heap_free(region, place), 0);
        cshm_region_close(region);
    }
}

static int create(struct world *world __attribute__((unused)))
{
    cshm_region *region = NULL;
    return cshm_region_create(&OPTIONS, &region);
}

static void check_created(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
}

static int create_named(struct world *world __attribute__((unused)))
{
    cshm_region *region = NULL;
    return cshm_region_create_named(name, &OPTIONS, &region);
}

/* The name is there, or it can be made. */
static void check_named(struct world *world)
{
    cshm_region *region = NULL;
    int status = cshm_region_open(name, &region);
    CHECK(status == 0 || (status == -ENOENT && !returned(world)));
    if (status == -ENOENT) {
        CHECK_EQ(cshm_region_create_named(name, &OPTIONS, &region), 0);
    }
    cshm_region_close(region);
    CHECK_EQ(cshm_region_create_named(name, &OPTIONS, &region), -EEXIST);
    CHECK_EQ(cshm_region_remove(name), 0);
}

static int create_taken(struct world *world __attribute__((unused)))
{
    cshm_region *region = NULL;
    return cshm_region_create_named(name, &OPTIONS, &region);
}

static int open_named(struct world *world __attribute__((unused)))
{
    cshm_region *region = NULL;
    return cshm_region_open(name, &region);
}

static void make_other_file(struct world *world)
{
    char path[96];
    choose_name(world);
    snprintf(path, sizeof path, "/dev/shm/%s", name);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fputs("not a region", file) >= 0 && fclose(file) == 0);
}

static void check_other_file(struct world *world)
{
    char path[96];
    cshm_region *region = NULL;
    CHECK(!returned(world) || world->report->status == -EBADMSG);
    CHECK_EQ(cshm_region_open(name, &region), -EBADMSG);
    snprintf(path, sizeof path, "/dev/shm/%s", name);
    CHECK_EQ(unlink(path), 0);
}

static int open_and_close(struct world *world __attribute__((unused)))
{
    cshm_region *region = NULL;
    int status = cshm_region_open(name, &region);
    if (status == 0) {
        cshm_region_close(region);
    }
    return status;
}

static int remove_name(struct world *world __attribute__((unused)))
{
    return cshm_region_remove(name);
}

static void check_removed(struct world *world)
{
    int status = cshm_region_remove(name);
    CHECK(status == (returned(world) ? -ENOENT : 0) || (!returned(world) && status == -ENOENT));
}

static void count_name(const char *found, void *context)
{
    *(int *)context += strcmp(found, name) == 0;
}

static int list_names(struct world *world __attribute__((unused)))
{
    int count = 0;
    int status = cshm_region_list(count_name, &count);
    return status < 0 ? status : count;
}

static void check_listed(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 1);
    CHECK_EQ(cshm_region_remove(name), 0);
}

static int attach(struct world *world)
{
    cshm_region *region = NULL;
    return cshm_region_attach(cshm_region_descriptor(world->region), &region);
}

const struct scenario region_scenarios[] = {
    {.name = "create", .operate = create, .check = check_created},
    {.name = "create_named",
     .setup = choose_name,
     .operate = create_named,
     .recover = visit,
     .check = check_named,
     .pairs = 1},
    {.name = "create_named_that_exists",
     .setup = make_named,
     .operate = create_taken,
     .recover = visit,
     .check = check_named},
    {.name = "open",
     .setup = make_named,
     .operate = open_named,
     .recover = visit,
     .check = check_named,
     .pairs = 1},
    {.name = "open_what_is_no_region",
     .setup = make_other_file,
     .operate = open_named,
     .check = check_other_file},
    {.name = "open_and_close",
     .setup = make_named,
     .operate = open_and_close,
     .recover = visit,
     .check = check_named},
    {.name = "remove",
     .setup = make_named,
     .operate = remove_name,
     .recover = visit,
     .check = check_removed},
    {.name = "list",
     .setup = make_named,
     .operate = list_names,
     .recover = visit,
     .check = check_listed},
    {.name = "attach", .operate = attach, .check = check_created, .unattached = true},
    {.name = NULL},
};
