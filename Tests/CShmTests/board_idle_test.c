/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Who wakes whom on a board. Workers that have nothing to do are not woken by time, and by a post
 * without fail, whoever was stopped or killed when the post counted on them; the poster, by the end
 * of what it expects.
 */
#include "support.h"

#include <stdbool.h>
#include <stdlib.h>

#include <cshm/board.h>

#include "board_view.h"

extern const struct test board_idle_tests[];

enum { SEATS = 2 };

struct crew {
    cshm_region *region;
    cshm_board *poster;
    uint64_t place;
    pid_t child[SEATS];
    _Atomic uint64_t *sat; /* which of them sit */
};

struct post {
    struct crew *crew;
    uint32_t seat;
};

static void serve(cshm_region *region, void *context)
{
    struct post *post = context;
    cshm_board *board = NULL;
    CHECK_EQ(cshm_board_open(region, post->crew->place, &board), 0);
    CHECK_EQ(cshm_board_enter(board, post->seat, post->seat + 1), 0);
    atomic_fetch_or(post->crew->sat, UINT64_C(1) << post->seat);
    struct cshm_lease lease;
    while (cshm_board_claim_watched(board, &lease, INT64_MAX) == 0) {
        cshm_board_run(board, 0);
        *(uint64_t *)lease.output = post->seat + 1;
        cshm_board_done(board, &lease);
    }
}

static long switches(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    CHECK(file != NULL);
    char line[256];
    long count = -1;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "voluntary_ctxt_switches:", 24) == 0) {
            count = strtol(line + 24, NULL, 10);
        }
    }
    fclose(file);
    return count;
}

/* Until it did not run for a quarter of a second, which is ten slices of a sleep that has some. */
static void expect_idle(pid_t pid)
{
    bool is_idle = false;
    for (int i = 0; i < 40 && !is_idle; i++) {
        long before = switches(pid);
        usleep(250000);
        is_idle = switches(pid) == before;
    }
    CHECK(is_idle);
}

static void hire(struct crew *crew, uint32_t count)
{
    crew->region = make_region(16 << 20);
    crew->sat = shared_memory(sizeof *crew->sat);
    CHECK_EQ(cshm_board_create(crew->region, SEATS, &crew->place, &crew->poster), 0);
    for (uint32_t i = 0; i < count; i++) {
        struct post post = {crew, i};
        cshm_board_seat(crew->poster, i, i + 1);
        crew->child[i] = spawn(crew->region, serve, &post);
    }
    int64_t end = after(20 * SECOND);
    while (atomic_load(crew->sat) != (UINT64_C(1) << count) - 1) {
        CHECK(cshm_now_ns() < end);
        usleep(200);
    }
}

/* Ends those that are left. */
static void dismiss(struct crew *crew)
{
    cshm_board_close(crew->poster);
    for (uint32_t i = 0; i < SEATS; i++) {
        if (crew->child[i] != 0) {
            expect_success(crew->child[i]);
        }
    }
    cshm_board_destroy(crew->poster);
    cshm_region_close(crew->region);
}

static cshm_batch *post_one(struct crew *crew)
{
    struct cshm_batch_shape shape = {.count = 1, .group = 1, .input_size = 8, .output_size = 8};
    cshm_batch *batch = NULL;
    CHECK_EQ(cshm_board_draft(crew->poster, &shape, &batch), 0);
    cshm_board_post(crew->poster, batch);
    return batch;
}

static int is_done(void *context)
{
    return cshm_batch_state(context, 0, NULL) == CSHM_GROUP_DONE ? 0 : -EAGAIN;
}

/* @returns the seat of who did it. */
static uint32_t done_by(struct crew *crew, cshm_batch *batch)
{
    uint32_t seat = (uint32_t)*(uint64_t *)batch->output - 1;
    cshm_board_retire(crew->poster, batch);
    return seat;
}

static void not_woken_by_time(void)
{
    struct crew crew = {0};
    hire(&crew, SEATS);
    for (int i = 0; i < 3; i++) {
        for (uint32_t seat = 0; seat < SEATS; seat++) {
            expect_idle(crew.child[seat]);
        }
        cshm_batch *batch = post_one(&crew);
        CHECK_EQ(cshm_board_await(crew.poster, is_done, batch, after(20 * SECOND)), 0);
        CHECK(done_by(&crew, batch) < SEATS);
    }
    dismiss(&crew);
}

static void count_on(struct crew *crew, uint32_t seat)
{
    atomic_store(&crew->poster->seats[seat].looking, 1);
}

static void stopped_when_counted_on(void)
{
    struct crew crew = {0};
    hire(&crew, SEATS);
    expect_idle(crew.child[1]);
    stop_child(crew.child[0]);
    for (int i = 0; i < 3; i++) {
        count_on(&crew, 0);
        cshm_batch *batch = post_one(&crew);
        CHECK_EQ(cshm_board_await(crew.poster, is_done, batch, after(20 * SECOND)), 0);
        CHECK_EQ(done_by(&crew, batch), 1);
    }
    kill(crew.child[0], SIGCONT);
    dismiss(&crew);
}

static void killed_when_counted_on(void)
{
    struct crew crew = {0};
    hire(&crew, SEATS);
    expect_idle(crew.child[1]);
    stop_child(crew.child[0]);
    count_on(&crew, 0);
    cshm_batch *batch = post_one(&crew);
    kill_child(crew.child[0]);
    crew.child[0] = 0;
    uint32_t element = 0;
    CHECK_EQ(cshm_board_bury(crew.poster, 0, &element), 0);
    CHECK_EQ(element, 0);
    int64_t end = after(20 * SECOND);
    while (is_done(batch) != 0) { /* nobody waits who would call again */
        CHECK(cshm_now_ns() < end);
        usleep(200);
    }
    CHECK_EQ(done_by(&crew, batch), 1);
    dismiss(&crew);
}

/* One who looks is not joined by one who sleeps, but for what the first cannot do alone. */
static void as_many_as_are_needed(void)
{
    struct crew crew = {0};
    hire(&crew, 1);
    expect_idle(crew.child[0]);
    count_on(&crew, 1); /* nobody sits there */
    cshm_batch *first = post_one(&crew);
    CHECK_EQ(is_done(first), -EAGAIN);
    expect_idle(crew.child[0]);
    CHECK_EQ(is_done(first), -EAGAIN);
    cshm_batch *second = post_one(&crew);
    CHECK_EQ(cshm_board_await(crew.poster, is_done, second, after(20 * SECOND)), 0);
    CHECK_EQ(cshm_board_await(crew.poster, is_done, first, after(20 * SECOND)), 0);
    CHECK_EQ(done_by(&crew, first), 0);
    CHECK_EQ(done_by(&crew, second), 0);
    dismiss(&crew);
}

/* ---- the poster is woken for what it expects ---- */

static uint32_t progress_word(const struct crew *crew)
{
    return *(const volatile uint32_t *)&crew->poster->shared->progress.park.word;
}

/* Of one worker, in this process. @returns whether the end of the group that it did was told. */
static bool does_one(struct crew *crew, cshm_board *worker)
{
    struct cshm_lease lease;
    uint32_t before = cshm_park_prepare(&crew->poster->shared->progress.park);
    CHECK_EQ(cshm_board_try_claim(worker, &lease), 0);
    cshm_board_done(worker, &lease);
    return progress_word(crew) != before;
}

static void told_of_what_it_expects(void)
{
    struct crew crew = {0};
    hire(&crew, 0);
    cshm_board *worker = NULL;
    CHECK_EQ(cshm_board_open(crew.region, crew.place, &worker), 0);
    cshm_board_seat(crew.poster, 0, 1);
    CHECK_EQ(cshm_board_enter(worker, 0, 1), 0);
    struct cshm_batch_shape shape = {.count = 5, .group = 1};
    cshm_batch *batch = NULL;
    CHECK_EQ(cshm_board_draft(crew.poster, &shape, &batch), 0);
    cshm_board_post(crew.poster, batch);
    CHECK(does_one(&crew, worker)); /* each is told of if none is expected */
    CHECK_EQ(cshm_batch_expect(crew.poster, batch, 0), 1);
    CHECK_EQ(cshm_batch_expect(crew.poster, batch, 2), 0);
    CHECK(!does_one(&crew, worker));
    CHECK(does_one(&crew, worker));
    CHECK_EQ(cshm_batch_expect(crew.poster, batch, 2), 1);
    CHECK_EQ(cshm_batch_expect_all(crew.poster, batch), 0);
    CHECK(!does_one(&crew, worker));
    CHECK_EQ(cshm_batch_expect_all(crew.poster, batch), 0);
    CHECK(does_one(&crew, worker));
    CHECK_EQ(cshm_batch_expect_all(crew.poster, batch), 1);
    cshm_board_retire(crew.poster, batch);
    cshm_board_leave(worker);
    dismiss(&crew);
}

static int expects_all(void *context)
{
    struct crew *crew = ((void **)context)[0];
    return cshm_batch_expect_all(crew->poster, ((void **)context)[1]) ? 0 : -EAGAIN;
}

/* Two workers end in whatever order: what is expected moves to the one that is late. */
static void expects_whatever_is_last(void)
{
    struct crew crew = {0};
    hire(&crew, SEATS);
    for (uint32_t i = 0; i < 200; i++) {
        struct cshm_batch_shape shape = {
            .count = 1 + i * 7 % 50, .group = 1, .input_size = 8, .output_size = 8};
        cshm_batch *batch = NULL;
        CHECK_EQ(cshm_board_draft(crew.poster, &shape, &batch), 0);
        cshm_board_post(crew.poster, batch);
        void *context[] = {&crew, batch};
        CHECK_EQ(cshm_board_await(crew.poster, expects_all, context, after(20 * SECOND)), 0);
        CHECK_EQ(cshm_batch_ready(batch, 0), batch->groups);
        cshm_board_retire(crew.poster, batch);
    }
    dismiss(&crew);
}

/* What a worker took to try first is nobody's until it is claimed. */
static void leaves_what_it_has_not_come_to(void)
{
    struct crew crew = {0};
    hire(&crew, 0);
    cshm_board *worker[SEATS];
    for (uint32_t i = 0; i < SEATS; i++) {
        CHECK_EQ(cshm_board_open(crew.region, crew.place, &worker[i]), 0);
        cshm_board_seat(crew.poster, i, i + 1);
        CHECK_EQ(cshm_board_enter(worker[i], i, i + 1), 0);
    }
    struct cshm_batch_shape shape = {.count = 300, .group = 1};
    cshm_batch *batch = NULL;
    CHECK_EQ(cshm_board_draft(crew.poster, &shape, &batch), 0);
    cshm_board_post(crew.poster, batch);
    struct cshm_lease lease;
    for (uint32_t i = 0; i < 100; i++) {
        CHECK_EQ(cshm_board_try_claim(worker[0], &lease), 0);
        CHECK_EQ(lease.is_new, i == 0);
        CHECK_EQ(lease.first, i);
        cshm_board_done(worker[0], &lease);
    }
    for (uint32_t i = 0; i < 200; i++) {
        CHECK_EQ(cshm_board_try_claim(worker[1], &lease), 0);
        CHECK(lease.first >= 100);
        cshm_board_done(worker[1], &lease);
    }
    CHECK_EQ(cshm_board_try_claim(worker[1], &lease), -EAGAIN);
    CHECK_EQ(cshm_board_try_claim(worker[0], &lease), -EAGAIN);
    CHECK_EQ(cshm_batch_expect_all(crew.poster, batch), 1);
    cshm_board_retire(crew.poster, batch);
    cshm_board_leave(worker[0]);
    cshm_board_leave(worker[1]);
    dismiss(&crew);
}

static void times_out(void)
{
    struct crew crew = {0};
    hire(&crew, 0);
    cshm_board *board = NULL;
    struct cshm_lease lease;
    CHECK_EQ(cshm_board_open(crew.region, crew.place, &board), 0);
    CHECK_EQ(cshm_board_claim_watched(board, &lease, INT64_MAX), -EINVAL);
    cshm_board_seat(crew.poster, 0, 1);
    CHECK_EQ(cshm_board_enter(board, 0, 1), 0);
    int64_t end = after(5 * MILLISECOND);
    CHECK_EQ(cshm_board_claim_watched(board, &lease, end), -ETIMEDOUT);
    CHECK(cshm_now_ns() >= end);
    CHECK_EQ(atomic_load(&board->seat->looking), 0);
    cshm_board_leave(board);
    dismiss(&crew);
}

const struct test board_idle_tests[] = {
    {"are_not_woken_by_time", not_woken_by_time},
    {"stopped_when_counted_on", stopped_when_counted_on},
    {"killed_when_counted_on", killed_when_counted_on},
    {"as_many_as_are_needed_are_woken", as_many_as_are_needed},
    {"wait_until_a_deadline", times_out},
    {"tell_the_poster_of_what_it_expects", told_of_what_it_expects},
    {"are_expected_whoever_is_last", expects_whatever_is_last},
    {"leave_to_others_what_they_have_not_come_to", leaves_what_it_has_not_come_to},
    {NULL, NULL},
};
