/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/board.h.
 */
#include "support.h"

#include <pthread.h>

#include <cshm/board.h>

extern const struct test board_tests[];

static cshm_board *sit(cshm_region *region, uint64_t place, uint32_t seat, uint32_t worker)
{
    cshm_board *board = NULL;
    CHECK_EQ(cshm_board_open(region, place, &board), 0);
    CHECK_EQ(cshm_board_enter(board, seat, worker), 0);
    return board;
}

static cshm_batch *post(cshm_board *board, uint32_t count, uint32_t group, uint32_t sheet,
                        uint32_t urgency)
{
    struct cshm_batch_shape shape = {.job = 7,
                                     .tag = 8,
                                     .count = count,
                                     .group = group,
                                     .input_size = 8ull * count,
                                     .output_size = 8ull * count,
                                     .sheet = sheet,
                                     .urgency = urgency};
    cshm_batch *batch = NULL;
    CHECK_EQ(cshm_board_draft(board, &shape, &batch), 0);
    for (uint32_t i = 0; i < count; i++) {
        ((uint64_t *)batch->input)[i] = i;
    }
    cshm_board_post(board, batch);
    return batch;
}

/* The square of each element; of every seventh also a record. */
static void work(cshm_board *board, struct cshm_lease *lease)
{
    for (uint32_t i = lease->first; i < lease->end; i++) {
        cshm_board_run(board, i);
        uint64_t x = ((const uint64_t *)lease->input)[i];
        ((uint64_t *)lease->output)[i] = x * x;
        if (i % 7 == 0) {
            void *data = NULL;
            CHECK_EQ(cshm_board_record(board, lease, i, 3, 100 + i % 500, &data), 0);
            memset(data, (int)(i % 251), 100 + i % 500);
            cshm_board_commit(board, lease);
        }
    }
    cshm_board_done(board, lease);
}

static void check_batch(cshm_board *board, const cshm_batch *batch)
{
    CHECK_EQ(cshm_batch_ready(batch, 0), batch->groups);
    for (uint32_t i = 0; i < batch->count; i++) {
        CHECK_EQ(((uint64_t *)batch->output)[i], (uint64_t)i * i);
    }
    for (uint32_t group = 0; group < batch->groups; group++) {
        uint64_t cursor[2] = {0, 0};
        struct cshm_record record;
        uint32_t end = (group + 1) * batch->group;
        for (uint32_t i = group * batch->group; i < end && i < batch->count; i++) {
            if (i % 7 != 0) {
                continue;
            }
            CHECK_EQ(cshm_batch_record(board, batch, group, cursor, &record), 1);
            CHECK_EQ(record.element, i);
            CHECK_EQ(record.kind, 3);
            CHECK_EQ(record.length, 100 + i % 500);
            CHECK_EQ(((const uint8_t *)record.data)[record.length - 1], i % 251);
        }
        CHECK_EQ(cshm_batch_record(board, batch, group, cursor, &record), 0);
    }
}

static uint64_t blocks(cshm_region *region)
{
    struct cshm_heap_usage usage;
    cshm_heap_describe(region, &usage);
    return usage.blocks;
}

static void claims(void)
{
    cshm_region *region = make_region(64 << 20);
    uint64_t before = blocks(region);
    uint64_t place = 0;
    cshm_board *poster = NULL;
    CHECK_EQ(cshm_board_create(region, 2, &place, &poster), 0);
    cshm_board_seat(poster, 0, 1);
    cshm_board *worker = sit(region, place, 0, 1);
    struct cshm_lease lease;
    CHECK_EQ(cshm_board_try_claim(worker, &lease), -EAGAIN);

    cshm_batch *batch = post(poster, 1000, 30, 0, 1);
    for (uint32_t group = 0; group < batch->groups; group++) {
        CHECK_EQ(cshm_batch_state(batch, group, NULL), CSHM_GROUP_FREE);
        CHECK_EQ(cshm_board_try_claim(worker, &lease), 0);
        CHECK_EQ(lease.first, group * 30);
        CHECK_EQ(lease.end, group == 33 ? 1000 : group * 30 + 30);
        CHECK_EQ(lease.job, 7);
        CHECK_EQ(cshm_batch_claimed_by(batch, 1), group);
        CHECK_EQ(cshm_batch_drop(batch, group), -EBUSY);
        work(worker, &lease);
        CHECK_EQ(cshm_batch_claimed_by(batch, 1), -1);
    }
    CHECK_EQ(cshm_board_try_claim(worker, &lease), -EAGAIN);
    check_batch(poster, batch);
    cshm_board_retire(poster, batch);

    batch = post(poster, 5, 1, 1024, 1);
    CHECK_EQ(cshm_batch_drop(batch, 3), 0);
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_EQ(cshm_board_try_claim(worker, &lease), 0);
        CHECK_EQ(lease.first, i < 3 ? i : 4);
        work(worker, &lease);
    }
    CHECK_EQ(cshm_board_try_claim(worker, &lease), -EAGAIN);
    CHECK_EQ(cshm_batch_state(batch, 3, NULL), CSHM_GROUP_DROPPED);
    cshm_board_retire(poster, batch);
    cshm_board_leave(worker);
    cshm_board_destroy(poster);
    CHECK_EQ(blocks(region), before);
    cshm_region_close(region);
}

static void urgent_and_oldest_first(void)
{
    cshm_region *region = make_region(64 << 20);
    uint64_t place = 0;
    cshm_board *poster = NULL;
    CHECK_EQ(cshm_board_create(region, 1, &place, &poster), 0);
    cshm_board_seat(poster, 0, 9);
    cshm_board *worker = sit(region, place, 0, 9);
    struct cshm_lease lease;
    cshm_batch *some[40];
    /* Round the ring of posts more than once. */
    for (uint32_t round = 0; round < 5; round++) {
        uint32_t room = cshm_board_room(poster);
        CHECK_EQ(room, 32);
        for (uint32_t i = 0; i < 20; i++) {
            some[i] = post(poster, i + 1, 1000, 0, i % 4 == 3 ? 0 : 1);
        }
        for (uint32_t i = 0; i < 5; i++) {
            CHECK_EQ(cshm_board_try_claim(worker, &lease), 0);
            CHECK_EQ(lease.end, 4 * i + 4);
            cshm_board_done(worker, &lease);
        }
        for (uint32_t i = 0; i < 20; i++) {
            if (i % 4 != 3) {
                CHECK_EQ(cshm_board_try_claim(worker, &lease), 0);
                CHECK_EQ(lease.end, i + 1);
                cshm_board_done(worker, &lease);
            }
            cshm_board_retire(poster, some[i]);
        }
    }
    for (uint32_t i = 0; i < 32; i++) {
        some[i] = post(poster, 1, 1, 0, 2);
    }
    struct cshm_batch_shape shape = {.count = 1, .group = 1};
    CHECK_EQ(cshm_board_draft(poster, &shape, &some[32]), -EAGAIN);
    cshm_board_retire(poster, some[7]);
    CHECK_EQ(cshm_board_draft(poster, &shape, &some[32]), 0);
    cshm_board_post(poster, some[32]);
    for (uint32_t i = 0; i < 32; i++) {
        CHECK_EQ(cshm_board_try_claim(worker, &lease), 0);
        cshm_board_done(worker, &lease);
    }
    CHECK_EQ(cshm_board_try_claim(worker, &lease), -EAGAIN);
    cshm_board_close(poster);
    CHECK_EQ(cshm_board_claim_until(worker, &lease, INT64_MAX), -ECANCELED);
    for (uint32_t i = 0; i <= 32; i++) {
        if (i != 7) {
            cshm_board_retire(poster, some[i]);
        }
    }
    cshm_board_leave(worker);
    cshm_board_destroy(poster);
    cshm_region_close(region);
}

static void refusals(void)
{
    cshm_region *region = make_region(8 << 20);
    uint64_t place = 0;
    cshm_board *poster = NULL;
    cshm_board *worker = NULL;
    CHECK_EQ(cshm_board_create(region, 0, &place, &poster), -EINVAL);
    CHECK_EQ(cshm_board_create(region, CSHM_SEATS_MAX + 1, &place, &poster), -EINVAL);
    CHECK_EQ(cshm_board_create(region, 3, &place, &poster), 0);
    CHECK_EQ(cshm_board_open(region, place + 128, &worker), -EPROTO);
    CHECK_EQ(cshm_board_open(region, place, &worker), 0);
    CHECK_EQ(cshm_board_enter(worker, 3, 1), -EINVAL);
    CHECK_EQ(cshm_board_enter(worker, 0, 1), -EBUSY);
    /* Who was refused has not taken the seat from whom it is kept for. */
    cshm_board_seat(poster, 2, 4);
    CHECK_EQ(cshm_board_enter(worker, 2, 5), -EBUSY);
    cshm_board_leave(sit(region, place, 2, 4));
    struct cshm_lease lease;
    CHECK_EQ(cshm_board_try_claim(worker, &lease), -EINVAL);
    cshm_batch *batch = NULL;
    struct cshm_batch_shape shape = {.count = 0, .group = 1};
    CHECK_EQ(cshm_board_draft(poster, &shape, &batch), -EINVAL);
    shape = (struct cshm_batch_shape){.count = 1, .group = 0};
    CHECK_EQ(cshm_board_draft(poster, &shape, &batch), -EINVAL);
    shape = (struct cshm_batch_shape){.count = 1, .group = 1, .input_size = 1 << 30};
    CHECK_EQ(cshm_board_draft(poster, &shape, &batch), -ENOSPC);
    shape = (struct cshm_batch_shape){.count = 1, .group = 1, .urgency = 3};
    CHECK_EQ(cshm_board_draft(poster, &shape, &batch), -EINVAL);
    uint32_t element;
    CHECK_EQ(cshm_board_bury(poster, 3, &element), -EINVAL);
    /* A worker that was buried before it sat down stays out. */
    cshm_board_seat(poster, 1, 5);
    CHECK_EQ(cshm_board_bury(poster, 1, &element), 0);
    CHECK_EQ(element, 0);
    CHECK_EQ(cshm_board_enter(worker, 1, 5), -EBUSY);
    cshm_board_leave(worker);
    cshm_board_destroy(poster);
    cshm_region_close(region);
}

/* ---- several workers ---- */

enum { WORKERS = 3, BATCHES = 60 };

struct crew {
    cshm_region *region;
    uint64_t place;
    uint32_t seat;
};

static void *work_until_closed(void *context)
{
    struct crew *crew = context;
    cshm_board *board = sit(crew->region, crew->place, crew->seat, crew->seat + 1);
    struct cshm_lease lease;
    int status;
    while ((status = cshm_board_claim_until(board, &lease, INT64_MAX)) == 0) {
        work(board, &lease);
    }
    CHECK_EQ(status, -ECANCELED);
    cshm_board_leave(board);
    return NULL;
}

struct progress {
    cshm_batch *batch;
};

static int all_done(void *context)
{
    struct progress *progress = context;
    return cshm_batch_ready(progress->batch, 0) == progress->batch->groups ? 0 : -EAGAIN;
}

static void post_and_check(cshm_region *region, cshm_board *poster)
{
    (void)region;
    cshm_batch *window[8] = {NULL};
    for (uint32_t i = 0; i < BATCHES + 8; i++) {
        struct progress progress = {window[i % 8]};
        if (progress.batch != NULL) {
            CHECK_EQ(cshm_board_await(poster, all_done, &progress, INT64_MAX), 0);
            check_batch(poster, progress.batch);
            cshm_board_retire(poster, progress.batch);
        }
        window[i % 8] = i >= BATCHES ? NULL
                                     : post(poster, 1 + i * 97 % 3000, 1 + i * 13 % 40,
                                            i % 3 == 0 ? 200 : 0, i % 3);
    }
}

static void threads_share_batches(void)
{
    cshm_region *region = make_region(64 << 20);
    uint64_t before = blocks(region);
    uint64_t place = 0;
    cshm_board *poster = NULL;
    CHECK_EQ(cshm_board_create(region, WORKERS, &place, &poster), 0);
    pthread_t threads[WORKERS];
    struct crew crews[WORKERS];
    for (uint32_t i = 0; i < WORKERS; i++) {
        cshm_board_seat(poster, i, i + 1);
        crews[i] = (struct crew){region, place, i};
        CHECK_EQ(pthread_create(&threads[i], NULL, work_until_closed, &crews[i]), 0);
    }
    post_and_check(region, poster);
    cshm_board_close(poster);
    for (uint32_t i = 0; i < WORKERS; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    cshm_board_destroy(poster);
    CHECK_EQ(blocks(region), before);
    cshm_region_close(region);
}

/* ---- deaths ---- */

struct victim {
    uint64_t place;
    uint32_t seat, worker;
    _Atomic uint64_t *claimed;
};

static void work_for_ever(cshm_region *region, void *context)
{
    struct victim *victim = context;
    cshm_board *board = sit(region, victim->place, victim->seat, victim->worker);
    struct cshm_lease lease;
    while (cshm_board_claim_until(board, &lease, INT64_MAX) == 0) {
        work(board, &lease);
    }
}

static void stop_in_the_middle(cshm_region *region, void *context)
{
    struct victim *victim = context;
    cshm_board *board = sit(region, victim->place, victim->seat, victim->worker);
    struct cshm_lease lease;
    CHECK_EQ(cshm_board_claim_until(board, &lease, INT64_MAX), 0);
    for (uint32_t i = lease.first; i < lease.first + 3; i++) {
        cshm_board_run(board, i);
        ((uint64_t *)lease.output)[i] = (uint64_t)i * i;
    }
    void *data = NULL;
    CHECK_EQ(cshm_board_record(board, &lease, lease.first + 2, 5, 9000, &data), 0);
    atomic_store(victim->claimed, lease.first + 1);
    for (;;) {
        pause();
    }
}

static void what_a_killed_process_ran_is_known(void)
{
    cshm_region *region = make_region(64 << 20);
    uint64_t before = blocks(region);
    uint64_t place = 0;
    cshm_board *poster = NULL;
    CHECK_EQ(cshm_board_create(region, 1, &place, &poster), 0);
    cshm_board_seat(poster, 0, 1);
    struct victim victim = {place, 0, 1, shared_memory(8)};
    pid_t child = spawn(region, stop_in_the_middle, &victim);
    cshm_batch *batch = post(poster, 40, 8, 0, 1);
    while (atomic_load(victim.claimed) == 0) {
        usleep(100);
    }
    uint32_t element = 0;
    CHECK_EQ(cshm_board_bury(poster, 0, &element), -EAGAIN);
    kill_child(child);
    CHECK_EQ(cshm_board_bury(poster, 0, &element), 0);
    uint32_t first = (uint32_t)atomic_load(victim.claimed) - 1;
    CHECK_EQ(element, first + 3);
    int64_t group = cshm_batch_claimed_by(batch, 1);
    CHECK_EQ(group, first / 8);
    uint64_t cursor[2] = {0, 0};
    struct cshm_record record;
    CHECK_EQ(cshm_batch_record(poster, batch, (uint32_t)group, cursor, &record), 0);
    /* The element fails; the others go to the next worker. */
    cshm_board_reopen(poster, batch, (uint32_t)group, element);
    CHECK_EQ(cshm_batch_begin(batch, (uint32_t)group), element);
    cshm_board_seat(poster, 0, 2);
    victim.worker = 2;
    child = spawn(region, work_for_ever, &victim);
    struct progress progress = {batch};
    CHECK_EQ(cshm_board_await(poster, all_done, &progress, after(20 * SECOND)), 0);
    for (uint32_t i = 0; i < 40; i++) {
        CHECK_EQ(((uint64_t *)batch->output)[i], (uint64_t)i * i);
    }
    kill_child(child);
    CHECK_EQ(cshm_board_bury(poster, 0, &element), 0);
    CHECK_EQ(cshm_batch_claimed_by(batch, 2), -1);
    cshm_board_retire(poster, batch);
    CHECK(cshm_region_reap(region) >= 0);
    cshm_board_destroy(poster);
    CHECK_EQ(blocks(region), before);
    cshm_region_close(region);
}

static void wait_for_a_dead_poster(cshm_region *region, void *context)
{
    struct victim *victim = context;
    cshm_board *board = sit(region, victim->place, 0, 1);
    atomic_store(victim->claimed, 1);
    struct cshm_lease lease;
    CHECK_EQ(cshm_board_claim_until(board, &lease, INT64_MAX), -EPIPE);
}

static void post_and_die(cshm_region *region, void *context)
{
    struct victim *victim = context;
    cshm_board *poster = NULL;
    uint64_t place = 0;
    CHECK_EQ(cshm_board_create(region, 1, &place, &poster), 0);
    cshm_board_seat(poster, 0, 1);
    atomic_store(victim->claimed, place);
    for (;;) {
        pause();
    }
}

static void workers_of_a_killed_process_are_told(void)
{
    cshm_region *region = make_region(64 << 20);
    _Atomic uint64_t *words = shared_memory(16);
    struct victim victim = {0, 0, 1, &words[0]};
    pid_t poster = spawn(region, post_and_die, &victim);
    while (atomic_load(&words[0]) == 0) {
        usleep(100);
    }
    victim = (struct victim){atomic_load(&words[0]), 0, 1, &words[1]};
    pid_t worker = spawn(region, wait_for_a_dead_poster, &victim);
    while (atomic_load(&words[1]) == 0) {
        usleep(100);
    }
    kill_child(poster);
    expect_success(worker);
}

/* ---- sheets ---- */

static void record(cshm_board *worker, struct cshm_lease *lease, uint64_t length, bool commit)
{
    void *data = NULL;
    CHECK_EQ(cshm_board_record(worker, lease, lease->first, 3, length, &data), 0);
    if (commit) {
        cshm_board_commit(worker, lease);
    }
}

/* A group of one element, with two sheets of which the second leads back to the first. */
static void read_a_circle(uint32_t own, bool commit)
{
    cshm_region *region = make_region(64 << 20);
    uint64_t place = 0;
    cshm_board *poster = NULL;
    CHECK_EQ(cshm_board_create(region, 1, &place, &poster), 0);
    cshm_board_seat(poster, 0, 1);
    cshm_board *worker = sit(region, place, 0, 1);
    cshm_batch *batch = post(poster, 1, 1, own, 1);
    struct cshm_lease lease;
    CHECK_EQ(cshm_board_try_claim(worker, &lease), 0);
    record(worker, &lease, own == 0 ? 5000 : 10, commit);
    uint64_t first = lease.sheet;
    record(worker, &lease, 20000, commit);
    CHECK(lease.sheet != first);
    cshm_board_done(worker, &lease);
    *(uint64_t *)cshm_heap_pointer(region, lease.sheet, 8) = first;
    uint64_t cursor[2] = {0, 0};
    struct cshm_record found;
    for (int i = 0; commit && i < 2; i++) {
        CHECK_EQ(cshm_batch_record(poster, batch, 0, cursor, &found), 1);
    }
    CHECK_EQ(cshm_batch_record(poster, batch, 0, cursor, &found), -EPROTO);
    CHECK_EQ(cshm_batch_record(poster, batch, 0, cursor, &found), -EPROTO);
    cshm_board_retire(poster, batch);
    cshm_board_leave(worker);
    cshm_board_destroy(poster);
    cshm_region_close(region);
}

/* Neither larger than the region, nor than what is left of it: the group goes on without it. */
static void what_does_not_fit_leaves_nothing(void)
{
    cshm_region *region = make_region(1 << 20);
    uint64_t before = blocks(region);
    uint64_t place = 0;
    cshm_board *poster = NULL;
    CHECK_EQ(cshm_board_create(region, 1, &place, &poster), 0);
    cshm_board_seat(poster, 0, 1);
    cshm_board *worker = sit(region, place, 0, 1);
    for (uint32_t own = 0; own <= 64; own += 64) {
        cshm_batch *batch = post(poster, 1, 1, own, 1);
        struct cshm_lease lease;
        CHECK_EQ(cshm_board_try_claim(worker, &lease), 0);
        static const uint64_t lengths[] = {(1 << 20) - 4096, 1 << 20, 1 << 30, UINT64_MAX};
        void *data = NULL;
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            CHECK_EQ(cshm_board_record(worker, &lease, 0, 3, lengths[i], &data), -ENOSPC);
        }
        CHECK_EQ(cshm_batch_recorded(batch), 0);
        record(worker, &lease, 40, true);
        CHECK((cshm_batch_recorded(batch) >= 40) == (own == 0));
        cshm_board_done(worker, &lease);
        uint64_t cursor[2] = {0, 0};
        struct cshm_record found;
        CHECK_EQ(cshm_batch_record(poster, batch, 0, cursor, &found), 1);
        CHECK_EQ(found.length, 40);
        CHECK_EQ(cshm_batch_record(poster, batch, 0, cursor, &found), 0);
        cshm_board_retire(poster, batch);
    }
    cshm_board_leave(worker);
    cshm_board_destroy(poster);
    CHECK_EQ(blocks(region), before);
    cshm_region_close(region);
}

static void circles_end(void)
{
    for (uint32_t own = 0; own <= 64; own += 64) {
        read_a_circle(own, false);
        read_a_circle(own, true);
    }
}

static void many_long_records(void)
{
    cshm_region *region = make_region(64 << 20);
    uint64_t before = blocks(region);
    uint64_t place = 0;
    cshm_board *poster = NULL;
    CHECK_EQ(cshm_board_create(region, 1, &place, &poster), 0);
    cshm_board_seat(poster, 0, 1);
    cshm_board *worker = sit(region, place, 0, 1);
    cshm_batch *batch = post(poster, 1, 1, 0, 1);
    struct cshm_lease lease;
    CHECK_EQ(cshm_board_try_claim(worker, &lease), 0);
    for (int i = 0; i < 5; i++) {
        record(worker, &lease, 100000, true);
    }
    cshm_board_done(worker, &lease);
    cshm_board_retire(poster, batch);
    cshm_board_leave(worker);
    cshm_board_destroy(poster);
    CHECK_EQ(blocks(region), before);
    cshm_region_close(region);
}

/* Of batches whose records are large, few are kept: there is room for five. */
static void large_records_are_freed_soon(void)
{
    cshm_region *region = make_region(16 << 20);
    uint64_t place = 0;
    cshm_board *poster = NULL;
    CHECK_EQ(cshm_board_create(region, 1, &place, &poster), 0);
    cshm_board_seat(poster, 0, 1);
    cshm_board *worker = sit(region, place, 0, 1);
    struct cshm_lease lease;
    for (int i = 0; i < 20; i++) {
        cshm_batch *batch = post(poster, 1, 1, i % 2 == 0 ? 64 : 0, 1);
        CHECK_EQ(cshm_board_try_claim(worker, &lease), 0);
        record(worker, &lease, 3000000, true);
        cshm_board_done(worker, &lease);
        cshm_board_retire(poster, batch);
    }
    cshm_board_leave(worker);
    cshm_board_destroy(poster);
    cshm_region_close(region);
}

const struct test board_tests[] = {
    {"records_in_a_circle_are_an_error", circles_end},
    {"records_that_do_not_fit_leave_nothing", what_does_not_fit_leaves_nothing},
    {"long_records_of_one_element_are_all_given_back", many_long_records},
    {"large_records_are_freed_soon", large_records_are_freed_soon},
    {"each_group_is_claimed_once", claims},
    {"urgent_first_then_oldest", urgent_and_oldest_first},
    {"refuse_what_cannot_be", refusals},
    {"threads_share_batches", threads_share_batches},
    {"what_a_killed_process_ran_is_known", what_a_killed_process_ran_is_known},
    {"workers_of_a_killed_process_are_told", workers_of_a_killed_process_are_told},
    {NULL, NULL},
};
