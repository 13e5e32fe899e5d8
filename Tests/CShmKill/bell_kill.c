/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Bells: whoever dies, a bell that is armed and watches the region rings for what was put, be it
 * rung by a waker or told by the kernel; and the dead's bells take no room from the living.
 */
#include "kill.h"

#include <poll.h>
#include <stdlib.h>

#include "internal.h"

extern const struct scenario bell_scenarios[];

enum {
    CAPACITY = 4,
    PATIENCE_MS = 20000, /* a lost ring would be waited for that long */
};

/* Each process's own; the survivor's ring is inherited by the victim, who uses it for its place. */
struct scene {
    cshm_ring *ring;
    cshm_bell *bell;
    struct cshm_waitable items;
};

static struct scene *scene_of(const struct world *world)
{
    return world->handle;
}

static bool is_rung(const struct world *world, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = cshm_bell_descriptor(scene_of(world)->bell), .events = POLLIN};
    return poll(&poll_fd, 1, timeout_ms) == 1;
}

static void clear(struct world *world)
{
    while (is_rung(world, 0)) {
        cshm_bell_clear(scene_of(world)->bell);
    }
}

/* ---- scenes ---- */

static void open_ring(struct world *world)
{
    struct scene *scene = calloc(1, sizeof *scene);
    CHECK(scene != NULL);
    world->handle = scene;
    CHECK_EQ(cshm_ring_open(world->region, world->place[0], &scene->ring), 0);
    cshm_ring_items(scene->ring, &scene->items);
}

static void make_ring(struct world *world)
{
    CHECK_EQ(cshm_ring_create(world->region, CAPACITY, 8, &world->place[0]), 0);
    CHECK_EQ(cshm_heap_share(world->region, world->place[0]), 0);
    open_ring(world);
    CHECK_EQ(cshm_ring_become_consumer(scene_of(world)->ring), 0);
    CHECK_EQ(cshm_bell_create(&scene_of(world)->bell), 0);
}

static void make_watched(struct world *world)
{
    make_ring(world);
    CHECK_EQ(cshm_bell_watch(scene_of(world)->bell, world->region), 0);
    clear(world);
    CHECK_EQ(cshm_bell_arm(scene_of(world)->bell, &scene_of(world)->items), 0);
}

/* A dead one's bell is there as well, and a dead one watches too. */
static void die_armed(struct world *world)
{
    open_ring(world);
    struct scene *scene = scene_of(world);
    CHECK_EQ(cshm_bell_create(&scene->bell), 0);
    CHECK_EQ(cshm_bell_watch(scene->bell, world->region), 0);
    CHECK_EQ(cshm_bell_arm(scene->bell, &scene->items), 0);
}

static void make_watched_beside_the_dead(struct world *world)
{
    make_watched(world);
    kill_after(world, die_armed);
    CHECK(is_rung(world, PATIENCE_MS));
    clear(world);
}

/* ---- the victim ---- */

static void be_producer(struct world *world)
{
    open_ring(world);
    CHECK_EQ(cshm_ring_become_producer(scene_of(world)->ring), 0);
}

static void have_bell(struct world *world)
{
    open_ring(world);
    CHECK_EQ(cshm_bell_create(&scene_of(world)->bell), 0);
}

static void be_armed(struct world *world)
{
    have_bell(world);
    CHECK_EQ(cshm_bell_watch(scene_of(world)->bell, world->region), 0);
    CHECK_EQ(cshm_bell_arm(scene_of(world)->bell, &scene_of(world)->items), 0);
}

static int create(struct world *world)
{
    int status = cshm_bell_create(&scene_of(world)->bell);
    if (status == 0) {
        CHECK(!is_rung(world, 0));
        cshm_bell_close(scene_of(world)->bell);
    }
    return status;
}

static int put(struct world *world)
{
    uint64_t value = 7;
    return cshm_ring_try_put(scene_of(world)->ring, &value, sizeof value);
}

static int arm(struct world *world)
{
    return cshm_bell_arm(scene_of(world)->bell, &scene_of(world)->items);
}

static int disarm(struct world *world)
{
    cshm_bell_disarm(scene_of(world)->bell, &scene_of(world)->items);
    return 0;
}

static int watch(struct world *world)
{
    int status = cshm_bell_watch(scene_of(world)->bell, world->region);
    clear(world);
    return status;
}

static int unwatch(struct world *world)
{
    cshm_bell_unwatch(scene_of(world)->bell, world->region);
    return 0;
}

static int join(struct world *world)
{
    return cshm_region_join(world->region);
}

static int leave(struct world *world)
{
    atomic_store(&world->report->stamp, 0);
    cshm_region_close(world->region);
    return 0;
}

static int wait_any(struct world *world)
{
    return cshm_wait_any(&scene_of(world)->items, 1, cshm_now_ns() + 100000000);
}

/* ---- what holds afterwards ---- */

static void end(struct world *world)
{
    cshm_bell_close(scene_of(world)->bell);
    cshm_ring_destroy(scene_of(world)->ring);
    free(scene_of(world));
}

/* The survivor's bell works, and of the dead none is left after a ring. */
static void check_works(struct world *world)
{
    struct scene *scene = scene_of(world);
    uint64_t value = 0;
    uint64_t length = 0;
    int status = cshm_ring_become_producer(scene->ring);
    CHECK(status == 0 || status == 1);
    clear(world);
    CHECK_EQ(cshm_bell_arm(scene->bell, &scene->items), 0);
    CHECK_EQ(cshm_ring_try_put(scene->ring, &value, sizeof value), 0);
    CHECK(is_rung(world, 0));
    clear(world);
    const struct cshm_park_line *line = (const void *)scene->items.park;
    uint32_t bells = 0;
    for (uint32_t i = 0; i < CSHM_BELLS_MAX; i++) {
        bells += atomic_load(&line->bells[i]) != 0;
    }
    CHECK_EQ(bells, 1);
    CHECK_EQ(cshm_bell_arm(scene->bell, &scene->items), 1);
    CHECK_EQ(cshm_ring_try_get(scene->ring, &value, sizeof value, &length), 0);
    end(world);
}

/* A message that was put, with its ring or without, is told of. */
static void check_told(struct world *world)
{
    struct scene *scene = scene_of(world);
    uint64_t value = 0;
    uint64_t length = 0;
    CHECK(is_rung(world, PATIENCE_MS));
    clear(world);
    int status = cshm_ring_try_get(scene->ring, &value, sizeof value, &length);
    CHECK(status == 0 || (status == -EAGAIN && !returned(world)));
    check_works(world);
}

/* Whoever comes or goes is heard of before it has done anything else. */
static void check_heard_of(struct world *world)
{
    uint64_t before = atomic_load(&world->report->word[0]);
    CHECK(!returned(world) ||
          (atomic_load(&world->region->live->turnover) > before && is_rung(world, PATIENCE_MS)));
    check_works(world);
}

static void make_counted(struct world *world)
{
    make_watched_beside_the_dead(world);
    atomic_store(&world->report->word[0], atomic_load(&world->region->live->turnover));
}

/* While the victim is stopped the survivor watches it, and its end will ring. */
static void watch_it(struct world *world)
{
    clear(world);
    int status = cshm_bell_arm(scene_of(world)->bell, &scene_of(world)->items);
    CHECK(status == 0 || status == 1);
}

#define ROW(title, scene, ready, operation, holds) \
    .name = title, .setup = scene, .prepare = ready, .operate = operation, .check = holds

const struct scenario bell_scenarios[] = {
    {ROW("create", make_ring, open_ring, create, check_works)},
    {ROW("ring", make_watched, be_producer, put, check_told), .meanwhile = watch_it},
    {ROW("ring_beside_the_dead", make_watched_beside_the_dead, be_producer, put, check_told),
     .meanwhile = watch_it},
    {ROW("arm", make_watched, have_bell, arm, check_works), .meanwhile = watch_it},
    {ROW("disarm", make_watched, be_armed, disarm, check_works)},
    {ROW("watch", make_watched, have_bell, watch, check_works), .meanwhile = watch_it},
    {ROW("unwatch", make_watched, be_armed, unwatch, check_works)},
    {ROW("tell_of_one_who_joins", make_counted, NULL, join, check_heard_of), .unattached = true},
    {ROW("tell_of_one_who_leaves", make_counted, NULL, leave, check_heard_of)},
    {ROW("wait_any", make_watched, open_ring, wait_any, check_works)},
    {.name = NULL},
};
