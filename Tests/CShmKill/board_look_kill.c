/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A worker that is awake, finds nothing and says so in its seat, while the poster counts on it: first
 * for what is taken before it comes, then for a group. Killed or stopped wherever, it keeps no post
 * from others: its burial takes its word back.
 */
#include "kill.h"

#include <pthread.h>
#include <sched.h>

#include "board_view.h"

extern const struct scenario board_look_scenarios[];

enum { SEATS = 2, VICTIM_SEAT = 0, OTHER_SEAT = 1, VICTIM = 1, OTHER = 2 };

static struct scene {
    cshm_board *poster;
    cshm_batch *taken; /* posted when nothing of it is to be had any more */
    cshm_batch *batch;
    cshm_board *worker;
    pthread_t posting;
    _Atomic bool is_over;
} scene;

/* ---- the survivor posts, on a thread, as the victim looks ---- */

static cshm_batch *draft(void)
{
    struct cshm_batch_shape shape = {.count = 1, .group = 1, .input_size = 8, .output_size = 8};
    cshm_batch *batch = NULL;
    CHECK_EQ(cshm_board_draft(scene.poster, &shape, &batch), 0);
    return batch;
}

static bool victim_looks(void)
{
    return atomic_load(&scene.poster->seats[VICTIM_SEAT].looking) == 1;
}

static bool victim_came_too_late(void)
{
    return !cshm__board_has_open(scene.poster);
}

/* @returns false if the victim is dead before. */
static bool wait_until(bool (*condition)(void))
{
    while (!condition()) {
        if (atomic_load(&scene.is_over)) {
            return false;
        }
        sched_yield();
    }
    return true;
}

static void *post_both(void *context)
{
    if (!wait_until(victim_looks)) {
        return context;
    }
    scene.taken = draft();
    CHECK_EQ(cshm_batch_drop(scene.taken, 0), 0);
    cshm_board_post(scene.poster, scene.taken);
    if (wait_until(victim_came_too_late)) {
        scene.batch = draft();
        cshm_board_post(scene.poster, scene.batch);
    }
    return context;
}

static void make_board(struct world *world)
{
    scene = (struct scene){0};
    CHECK_EQ(cshm_board_create(world->region, SEATS, &world->place[0], &scene.poster), 0);
    cshm_board_seat(scene.poster, VICTIM_SEAT, VICTIM);
    cshm_board_seat(scene.poster, OTHER_SEAT, OTHER);
    /* As if the other worker slept: else no post counts on anybody. */
    (void)cshm_park_prepare(&scene.poster->shared->work.park);
    CHECK_EQ(pthread_create(&scene.posting, NULL, post_both, NULL), 0);
}

/* ---- the victim ---- */

static cshm_board *sit(const struct world *world, uint32_t seat, uint32_t number)
{
    cshm_board *board = NULL;
    CHECK_EQ(cshm_board_open(world->region, world->place[0], &board), 0);
    CHECK_EQ(cshm_board_enter(board, seat, number), 0);
    return board;
}

static void sit_awake(struct world *world)
{
    atomic_store(&cshm__patience_ns, INT64_C(60000000000));
    world->handle = sit(world, VICTIM_SEAT, VICTIM);
}

static int claim_watched(struct world *world)
{
    struct cshm_lease lease;
    return cshm_board_claim_watched(world->handle, &lease, INT64_MAX);
}

/* ---- what the poster does, and what then holds ---- */

static void bury(struct world *world __attribute__((unused)))
{
    uint32_t named = 0;
    atomic_store(&scene.is_over, true);
    CHECK_EQ(pthread_join(scene.posting, NULL), 0);
    CHECK_EQ(cshm_board_bury(scene.poster, VICTIM_SEAT, &named), 0);
    CHECK_EQ(named, 0);
    CHECK(!victim_looks());
    if (scene.batch == NULL) {
        scene.batch = draft();
        cshm_board_post(scene.poster, scene.batch);
    }
    if (cshm_batch_claimed_by(scene.batch, VICTIM) == 0) {
        cshm_board_reopen(scene.poster, scene.batch, 0, 0);
    }
}

static void check_that_another_has_it(struct world *world)
{
    struct cshm_lease lease;
    CHECK(!returned(world) || atomic_load(&world->report->status) == 0);
    scene.worker = sit(world, OTHER_SEAT, OTHER);
    CHECK_EQ(cshm_board_try_claim(scene.worker, &lease), 0);
    cshm_board_done(scene.worker, &lease);
    CHECK_EQ(cshm_board_try_claim(scene.worker, &lease), -EAGAIN);
    CHECK_EQ(cshm_batch_state(scene.batch, 0, NULL), CSHM_GROUP_DONE);
    cshm_board_leave(scene.worker);
    cshm_board_retire(scene.poster, scene.batch);
    if (scene.taken != NULL) {
        cshm_board_retire(scene.poster, scene.taken);
    }
    cshm_board_destroy(scene.poster);
}

const struct scenario board_look_scenarios[] = {
    {.name = "claim",
     .setup = make_board,
     .prepare = sit_awake,
     .operate = claim_watched,
     .recover = bury,
     .check = check_that_another_has_it},
    {0},
};
