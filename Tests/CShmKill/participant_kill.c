/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Joining, leaving, and sweeping the dead: what the dead owned comes back, whoever dies on the way.
 */
#include "kill.h"

#include <signal.h>
#include <sys/wait.h>

extern const struct scenario participant_scenarios[];

/* Blocks of every kind, in spans that this process owns; one is shared. */
static void own_blocks(struct world *world)
{
    uint64_t place = 0;
    CHECK_EQ(cshm_heap_allocate(world->region, 40, &place), 0);
    CHECK_EQ(cshm_heap_allocate(world->region, 40, &place), 0);
    CHECK_EQ(cshm_heap_allocate(world->region, 2 * 65536, &place), 0);
    CHECK_EQ(cshm_heap_allocate(world->region, 1000, &place), 0);
    CHECK_EQ(cshm_heap_share(world->region, place), 0);
    atomic_fetch_add(&world->report->word[0], 1);
    atomic_store(&world->report->word[1], place);
}

static void leave_one_dead(struct world *world)
{
    kill_after(world, own_blocks);
}

static int join_region(struct world *world)
{
    return cshm_region_join(world->region);
}

static int reap(struct world *world)
{
    return cshm_region_reap(world->region);
}

/* The child is cut while it drops what it inherited; the victim shares its fate. */
static int fork_a_child(struct world *world)
{
    int status = 0;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        knife_die();
    }
    CHECK_EQ(waitpid(child, &status, WUNTRACED), child);
    if (WIFSTOPPED(status)) {
        kill(getpid(), SIGSTOP);
        kill(child, SIGCONT);
        CHECK_EQ(waitpid(child, &status, 0), child);
    } else if (atomic_load(&world->report->cut) != 0) {
        knife_die();
    }
    return 0;
}

static int leave(struct world *world)
{
    atomic_store(&world->report->stamp, 0);
    cshm_region_close(world->region);
    return 0;
}

static void check_empty(struct world *world)
{
    CHECK_EQ(blocks_in_use(world->region), 0);
}

/* Only what was shared is left, and it can be freed. */
static void check_shared_is_left(struct world *world)
{
    CHECK_EQ(blocks_in_use(world->region), 1);
    CHECK_EQ(cshm_heap_free(world->region, atomic_load(&world->report->word[1])), 0);
}

const struct scenario participant_scenarios[] = {
    {.name = "join", .operate = join_region, .check = check_empty, .unattached = true, .pairs = 1},
    {.name = "join_over_a_dead_entry",
     .setup = leave_one_dead,
     .operate = join_region,
     .check = check_shared_is_left,
     .unattached = true,
     .pairs = 1},
    {.name = "reap",
     .prepare = leave_one_dead,
     .operate = reap,
     .check = check_shared_is_left,
     .pairs = 1},
    {.name = "fork", .prepare = own_blocks, .operate = fork_a_child, .check = check_shared_is_left},
    {.name = "leave",
     .prepare = own_blocks,
     .operate = leave,
     .check = check_shared_is_left,
     .pairs = 1},
    {.name = NULL},
};
