/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A board whose poster and worker are this process, and a box for descriptors.
 */
#include "fuzz.h"

#include <errno.h>
#include <unistd.h>

#include "layout.h"

extern const struct subject fuzz_board, fuzz_post;

/* ---- board ---- */

enum { BATCHES = 3, ELEMENTS = 7 };

static struct {
    cshm_board *poster, *worker;
    cshm_batch *batch[BATCHES];
    struct cshm_lease lease;
    int leased; /* whether the lease is one */
} scenery;

static void make_board(struct scene *scene)
{
    memset(&scenery, 0, sizeof scenery);
    MUST(cshm_board_create(scene->region, 2, &scene->place, &scenery.poster) == 0);
    scene->size = sizeof(struct cshm_board_shared) + sizeof(struct cshm_board_row) +
                  2 * sizeof(struct cshm_seat);
    cshm_board_seat(scenery.poster, 0, 1);
    MUST(cshm_board_open(scene->region, scene->place, &scenery.worker) == 0);
    MUST(cshm_board_enter(scenery.worker, 0, 1) == 0);
}

static void post(uint32_t argument, cshm_batch **batch)
{
    struct cshm_batch_shape shape = {.job = 1,
                                     .tag = 2,
                                     .count = argument % ELEMENTS + 1,
                                     .group = argument % 3 + 1,
                                     .input_size = 8 * ELEMENTS,
                                     .output_size = 8 * ELEMENTS,
                                     .sheet = argument % 2 == 0 ? 0 : 64,
                                     .urgency = argument % CSHM_URGENCIES,
                                     .timed = argument / 2 % 2};
    if (cshm_board_draft(scenery.poster, &shape, batch) == 0) {
        memset((*batch)->input, 1, shape.input_size);
        cshm_batch_shorten(*batch, argument % ELEMENTS);
        cshm_board_post(scenery.poster, *batch);
    }
}

/* Runs what is leased. */
static void work(uint32_t argument)
{
    struct cshm_lease *lease = &scenery.lease;
    void *record = NULL;
    for (uint32_t i = lease->first; i < lease->end; i++) {
        cshm_board_run(scenery.worker, i);
        ((uint64_t *)lease->output)[i] = ((const uint64_t *)lease->input)[i];
        if (argument % 2 == 0 &&
            cshm_board_record(scenery.worker, lease, i, 1, argument % 200, &record) == 0) {
            memset(record, 1, argument % 200);
            cshm_board_commit(scenery.worker, lease);
        }
    }
    if (argument % 4 != 3) {
        cshm_board_done(scenery.worker, lease);
        scenery.leased = 0;
    }
}

static void read_records(const cshm_batch *batch, uint32_t group)
{
    uint64_t cursor[2] = {0, 0};
    struct cshm_record record;
    for (int i = 0;
         i < 100 && cshm_batch_record(scenery.poster, batch, group, cursor, &record) == 1; i++) {
        for (uint64_t at = 0; at < record.length; at++) {
            (void)((const volatile uint8_t *)record.data)[at];
        }
    }
}

static int give_up(void *context)
{
    (void)context;
    return -EAGAIN;
}

static void use_batch(cshm_batch **batch, uint32_t operation, uint32_t argument)
{
    uint32_t group = argument % (*batch)->groups;
    uint32_t worker = 0;
    switch (operation) {
    case 5:
        (void)cshm_batch_state(*batch, group, &worker);
        (void)cshm_batch_ready(*batch, group);
        (void)cshm_batch_elapsed(*batch);
        (void)cshm_batch_begin(*batch, group);
        break;
    case 6:
    case 7:
        (void)cshm_batch_has_records(*batch);
        read_records(*batch, group);
        break;
    case 8:
        (void)cshm_batch_drop(*batch, group);
        break;
    case 9:
        if (scenery.leased == 0 && cshm_batch_claimed_by(*batch, 1) >= 0) {
            cshm_board_reopen(scenery.poster, *batch, group, argument % ELEMENTS);
        }
        break;
    default:
        if (scenery.leased == 0) {
            cshm_board_retire(scenery.poster, *batch);
            *batch = NULL;
        }
    }
}

static void use_board(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_batch **batch = &scenery.batch[argument % BATCHES];
    cshm_board *again = NULL;
    uint32_t element = 0;
    switch (operation) {
    case 0:
    case 1:
        if (*batch == NULL) {
            post(argument, batch);
        }
        break;
    case 2:
    case 3:
        if (scenery.leased == 0) {
            scenery.leased = cshm_board_try_claim(scenery.worker, &scenery.lease) == 0;
        }
        break;
    case 4:
    case 11:
        if (scenery.leased != 0) {
            work(argument);
        } else {
            scenery.leased =
                cshm_board_claim_until(scenery.worker, &scenery.lease, scene->soon) == 0;
        }
        break;
    case 12:
        (void)!cshm_board_bury(scenery.poster, argument % 2, &element);
        (void)cshm_board_claimed_for(scenery.poster, argument % 2);
        break;
    case 13:
        (void)!cshm_board_await(scenery.poster, give_up, NULL, scene->soon);
        (void)cshm_board_room(scenery.poster);
        break;
    case 14:
        if (cshm_board_open(scene->region, scene->place, &again) == 0) {
            cshm_board_seat(scenery.poster, 1, 2 + argument);
            if (cshm_board_enter(again, 1, 2 + argument) == 0) {
                (void)!cshm_board_try_claim(again, &(struct cshm_lease){0});
            }
            cshm_board_leave(again);
        }
        break;
    case 15:
        argument % 8 == 0 ? cshm_board_close(scenery.poster) : cshm_board_ring(scenery.poster);
        break;
    default:
        if (*batch != NULL) {
            use_batch(batch, operation, argument);
        }
    }
}

static void leave_board(struct scene *scene)
{
    (void)scene;
    cshm_board_leave(scenery.worker);
    for (int i = 0; i < BATCHES; i++) {
        if (scenery.batch[i] != NULL) {
            cshm_board_retire(scenery.poster, scenery.batch[i]);
        }
    }
    cshm_board_destroy(scenery.poster);
}

const struct subject fuzz_board = {"board", make_board, use_board, leave_board};

/* ---- box ---- */

static void make_post(struct scene *scene)
{
    cshm_post *box = NULL;
    (void)fuzz_block(scene, 128);
    MUST(cshm_post_open(scene->region, scene->place, &box) == 0);
    scene->handle[0] = box;
}

static void use_post(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_post *box = scene->handle[0];
    cshm_post *again = NULL;
    int sent[2] = {0, 0};
    int taken[2];
    int count = 0;
    switch (operation % 3) {
    case 0:
        (void)!cshm_post_send(scene->region, scene->place, argument % 4, sent, argument % 3);
        break;
    case 1:
        count = cshm_post_take(box, argument % 4, taken, argument % 3);
        for (int i = 0; i < count; i++) {
            close(taken[i]);
        }
        break;
    default:
        if (cshm_post_open(scene->region, scene->place, &again) == 0) {
            cshm_post_close(again);
        }
    }
}

static void leave_post(struct scene *scene)
{
    cshm_post_close(scene->handle[0]);
}

const struct subject fuzz_post = {"post", make_post, use_post, leave_post};
