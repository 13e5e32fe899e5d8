/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A board: of what a worker had claimed when it died, the element that it named fails and no other,
 * what it finished stands, the rest goes to somebody else; nothing is held back, nothing leaks.
 * A poster's death leaves workers batches that are whole, and then the end of their waiting.
 */
#include "kill.h"

#include "board_view.h"
#include "heap_view.h"

extern const struct scenario board_scenarios[];

static const int64_t MILLISECOND = 1000000;

enum {
    SEATS = 2,
    VICTIM_SEAT = 0,
    OTHER_SEAT = 1,
    OTHER = 2,     /* the number of the worker that lives */
    SUCCESSOR = 3, /* and of a second one in the victim's seat */
    COUNT = 10,
    GROUP = 4,
    SHORT_COUNT = 5, /* of a batch that was shortened */
    JOB = 7,
    OWN_SHEET = 160, /* room for one short record */
    SHORT = 100,
    LONG = 5000,
    LARGE = 600 << 10, /* of which there is room for one */
    RETIRED = 15,      /* one more, and they are freed */
    LEFT_MAX = 32,     /* blocks that a poster's death may leave */
};

/* What the poster knows of an element. */
enum outcome { NONE, DONE_BY_VICTIM, STANDS, FAILED, DONE_BY_OTHER };

/* Each process its own, and new in each trial. */
static struct scene {
    cshm_board *poster;
    cshm_batch *batch;
    cshm_board *worker;
    struct cshm_lease lease;
    enum outcome outcome[COUNT];
    int64_t reopened; /* the group, or -1 */
    uint32_t from;    /* the element that it goes on with */
    uint32_t number;  /* the victim's */
    bool settled;
    bool met; /* the survivor worked while the poster was stopped */
} scene;

/* ---- what workers do ---- */

static cshm_board *sit(const struct world *world, uint32_t seat, uint32_t number)
{
    cshm_board *board = NULL;
    CHECK_EQ(cshm_board_open(world->region, world->place[0], &board), 0);
    CHECK_EQ(cshm_board_enter(board, seat, number), 0);
    return board;
}

/* Bytes of an element's record, 0 if it has none. */
static uint32_t record_length(uint32_t element)
{
    return element % 4 == 3 ? 0 : element % 4 == 1 ? LONG : SHORT;
}

static void write_record(cshm_board *board, struct cshm_lease *lease, uint32_t element)
{
    void *data = NULL;
    uint32_t length = record_length(element);
    CHECK_EQ(cshm_board_record(board, lease, element, JOB, length, &data), 0);
    memset(data, (int)element + 1, length);
    cshm_board_commit(board, lease);
}

static void run_one(cshm_board *board, struct cshm_lease *lease, uint32_t element)
{
    cshm_board_run(board, element);
    uint64_t x = ((const uint64_t *)lease->input)[element];
    ((uint64_t *)lease->output)[element] = x * x;
    if (lease->tag != 0 && record_length(element) != 0) {
        write_record(board, lease, element);
    }
}

/* word[1]: 1 + the element begun last; word[2]: 1 + the one finished last; word[3]: groups done */
static void run_all(const struct world *world, cshm_board *board, struct cshm_lease *lease)
{
    for (uint32_t i = lease->first; i < lease->end; i++) {
        atomic_store(&world->report->word[1], i + 1);
        run_one(board, lease, i);
        atomic_store(&world->report->word[2], i + 1);
    }
    cshm_board_done(board, lease);
    atomic_fetch_add(&world->report->word[3], 1);
}

/* ---- the scene of a worker's death: the survivor posts ---- */

static cshm_batch *draft(uint64_t records, uint32_t sheet, uint32_t timed)
{
    struct cshm_batch_shape shape = {.job = JOB,
                                     .tag = records,
                                     .count = COUNT,
                                     .group = GROUP,
                                     .input_size = COUNT * sizeof(uint64_t),
                                     .output_size = COUNT * sizeof(uint64_t),
                                     .sheet = sheet,
                                     .urgency = 1,
                                     .timed = timed};
    cshm_batch *batch = NULL;
    CHECK_EQ(cshm_board_draft(scene.poster, &shape, &batch), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        ((uint64_t *)batch->input)[i] = i + 1;
        ((uint64_t *)batch->output)[i] = 0;
    }
    return batch;
}

static void make_board(struct world *world)
{
    scene = (struct scene){.reopened = -1, .number = 1};
    CHECK_EQ(cshm_board_create(world->region, SEATS, &world->place[0], &scene.poster), 0);
    atomic_store(&world->report->word[0], world->place[0]);
    cshm_board_seat(scene.poster, VICTIM_SEAT, scene.number);
    cshm_board_seat(scene.poster, OTHER_SEAT, OTHER);
}

static void post(uint64_t records, uint32_t sheet, uint32_t timed)
{
    scene.batch = draft(records, sheet, timed);
    cshm_board_post(scene.poster, scene.batch);
}

static void make_plain(struct world *world)
{
    make_board(world);
    post(0, 0, 0);
}

/* The survivor has room for sheets: one who is stopped may hold the lock over the spans. */
static void make_room(struct world *world)
{
    static const uint64_t sizes[] = {4096, 5120, 8192, 10240};
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t place = 0;
        CHECK_EQ(cshm_heap_allocate(world->region, sizes[i], &place), 0);
        CHECK_EQ(cshm_heap_free(world->region, place), 0);
    }
}

static void make_with_records(struct world *world)
{
    make_board(world);
    make_room(world);
    post(1, 0, 0);
}

static void make_with_own_sheets(struct world *world)
{
    make_board(world);
    make_room(world);
    post(1, OWN_SHEET, 0);
}

/* The poster may be asleep, and is not. */
static void make_awaited(struct world *world)
{
    make_board(world);
    post(0, 0, 1);
    (void)cshm_park_prepare(&scene.poster->shared->progress.park);
}

/* It is, and wants to know of the last group only. */
static void make_expected(struct world *world)
{
    make_awaited(world);
    CHECK_EQ(cshm_batch_expect_all(scene.poster, scene.batch), 0);
}

/* ---- what the poster finds, and does about it ---- */

static void check_result(const cshm_batch *batch, uint32_t element)
{
    CHECK_EQ(((const uint64_t *)batch->output)[element], (element + 1) * (element + 1));
}

/* A group's records are those of its elements from `first` on, whole and in order.
 * @returns the end of the elements that have theirs. */
static uint32_t check_records(uint32_t group, uint32_t first, uint32_t end)
{
    uint64_t cursor[2] = {0, 0};
    struct cshm_record record;
    int status;
    uint32_t next = first;
    while ((status = cshm_batch_record(scene.poster, scene.batch, group, cursor, &record)) == 1) {
        while (next < end && record_length(next) == 0) {
            next++;
        }
        CHECK(next < end);
        CHECK_EQ(record.element, next);
        CHECK_EQ(record.kind, JOB);
        CHECK_EQ(record.length, record_length(next));
        for (uint32_t i = 0; i < record.length; i++) {
            CHECK_EQ(((const uint8_t *)record.data)[i], next + 1);
        }
        next++;
    }
    CHECK_EQ(status, 0);
    return next;
}

static bool has_records(void)
{
    return ((struct cshm_batch_shared *)scene.batch->shared)->tag != 0;
}

static uint32_t end_of(uint32_t group)
{
    return (group + 1) * GROUP < COUNT ? (group + 1) * GROUP : COUNT;
}

/* Whether every element of a group that should have a record has it. */
static void check_all_recorded(uint32_t group, uint32_t first)
{
    uint32_t end = check_records(group, first, end_of(group));
    while (has_records() && end < end_of(group) && record_length(end) == 0) {
        end++;
    }
    CHECK_EQ(end, has_records() ? end_of(group) : first);
}

static void give_out_again(const struct world *world, uint32_t group, uint32_t named)
{
    uint32_t first = cshm_batch_begin(scene.batch, group);
    uint32_t recorded = check_records(group, first, end_of(group));
    uint32_t from = first;
    if (named != 0) {
        uint32_t running = named - 1;
        uint64_t begun = atomic_load(&world->report->word[1]);
        /* What is named is what was begun last; or the one before, if it died naming that. */
        CHECK(running >= first && running < end_of(group));
        CHECK(named == begun || (named + 1 == begun && named == world->report->word[2]));
        for (uint32_t i = first; i < running; i++) {
            CHECK_EQ(scene.outcome[i], NONE);
            CHECK(!has_records() || record_length(i) == 0 || i < recorded);
            check_result(scene.batch, i);
            scene.outcome[i] = STANDS;
        }
        CHECK_EQ(scene.outcome[running], NONE);
        scene.outcome[running] = recorded == named ? STANDS : FAILED;
        CHECK(recorded <= named);
        from = named;
    }
    CHECK(named != 0 || recorded == first);
    cshm_board_reopen(scene.poster, scene.batch, group, from);
    CHECK_EQ(cshm_batch_state(scene.batch, group, NULL),
             from < end_of(group) ? CSHM_GROUP_FREE : CSHM_GROUP_DONE);
    scene.reopened = group;
    scene.from = from;
}

/* What a dead worker finished is known by its number in the group's word. */
static uint32_t count_groups_of(uint32_t number)
{
    uint32_t count = 0;
    for (uint32_t group = 0; group < scene.batch->groups; group++) {
        uint32_t worker = 0;
        int state = cshm_batch_state(scene.batch, group, &worker);
        if (state != CSHM_GROUP_DONE || worker != number) {
            continue;
        }
        uint32_t first = group * GROUP;
        while (first < end_of(group) && scene.outcome[first] != NONE) {
            first++; /* it began after what had its outcome from one that had died before */
        }
        check_all_recorded(group, first);
        for (uint32_t i = first; i < end_of(group); i++) {
            check_result(scene.batch, i);
            scene.outcome[i] = DONE_BY_VICTIM;
        }
        count++;
    }
    return count;
}

static void settle(struct world *world)
{
    uint32_t named = 0;
    scene.settled = true;
    scene.reopened = -1;
    CHECK_EQ(cshm_board_bury(scene.poster, VICTIM_SEAT, &named), 0);
    int64_t group = cshm_batch_claimed_by(scene.batch, scene.number);
    if (group >= 0) {
        give_out_again(world, (uint32_t)group, named);
    }
    CHECK_EQ(cshm_batch_claimed_by(scene.batch, scene.number), -1);
    uint32_t done = count_groups_of(scene.number);
    uint64_t told = atomic_load(&world->report->word[3]);
    CHECK(done == told || (done == told + 1 && !returned(world)));
}

/* A living worker takes whatever is there. */
static void work_on_the_rest(struct world *world)
{
    struct cshm_lease lease;
    int status;
    if (scene.worker == NULL) {
        scene.worker = sit(world, OTHER_SEAT, OTHER);
    }
    while ((status = cshm_board_try_claim(scene.worker, &lease)) == 0) {
        CHECK_EQ(lease.job, JOB);
        if (scene.reopened == lease.first / GROUP) {
            CHECK_EQ(lease.first, scene.from);
        }
        for (uint32_t i = lease.first; i < lease.end; i++) {
            CHECK_EQ(scene.outcome[i], NONE);
            scene.outcome[i] = DONE_BY_OTHER;
            run_one(scene.worker, &lease, i);
        }
        cshm_board_done(scene.worker, &lease);
        check_all_recorded(lease.first / GROUP, lease.first);
    }
    CHECK_EQ(status, -EAGAIN);
}

/* A stopped worker is alive; and nobody waits for it, but for what it claimed. */
static void work_beside_the_stopped(struct world *world)
{
    uint32_t named = 0;
    if (!CSHM_SEAT_IS_KEPT(atomic_load(&scene.poster->seats[VICTIM_SEAT].stamp))) {
        CHECK_EQ(cshm_board_bury(scene.poster, VICTIM_SEAT, &named), -EAGAIN);
    }
    work_on_the_rest(world);
    for (uint32_t group = 0; group < scene.batch->groups; group++) {
        uint32_t worker = 0;
        int state = cshm_batch_state(scene.batch, group, &worker);
        CHECK(state == CSHM_GROUP_DONE || (state == CSHM_GROUP_CLAIMED && worker == scene.number));
    }
}

static void clear_board(void)
{
    cshm_board_retire(scene.poster, scene.batch);
    cshm_board_leave(scene.worker);
    cshm_board_destroy(scene.poster);
}

/* Each element has one outcome. */
static void check_outcomes(struct world *world)
{
    uint32_t failed = 0;
    if (!scene.settled) {
        settle(world);
    }
    work_on_the_rest(world);
    CHECK_EQ(cshm_batch_ready(scene.batch, 0), scene.batch->groups);
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK(scene.outcome[i] != NONE);
        if (scene.outcome[i] == FAILED) {
            failed++;
        } else {
            check_result(scene.batch, i);
        }
    }
    CHECK(failed <= (returned(world) ? 0 : 1));
    clear_board();
}

static void check_succeeded(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
    check_outcomes(world);
}

/* ---- workers that die ---- */

static void sit_down(struct world *world)
{
    scene.worker = sit(world, VICTIM_SEAT, scene.number);
}

static void sit_and_claim(struct world *world)
{
    sit_down(world);
    CHECK_EQ(cshm_board_try_claim(scene.worker, &scene.lease), 0);
}

static int enter(struct world *world)
{
    cshm_board *board = NULL;
    int status = cshm_board_open(world->region, world->place[0], &board);
    return status == 0 ? cshm_board_enter(board, VICTIM_SEAT, scene.number) : status;
}

static int enter_and_leave(struct world *world)
{
    cshm_board *board = sit(world, VICTIM_SEAT, scene.number);
    struct cshm_lease lease;
    int status = cshm_board_try_claim(board, &lease);
    CHECK(status == 0 || status == -EAGAIN); /* others had it all while it was stopped */
    if (status == 0) {
        run_all(world, board, &lease);
    }
    cshm_board_leave(board);
    return 0;
}

/* Under a number that the seat is not kept for. */
static int enter_in_error(struct world *world)
{
    cshm_board *board = NULL;
    CHECK_EQ(cshm_board_open(world->region, world->place[0], &board), 0);
    return cshm_board_enter(board, VICTIM_SEAT, scene.number + SUCCESSOR);
}

static int run_claimed(struct world *world)
{
    run_all(world, scene.worker, &scene.lease);
    return 0;
}

static int claim_and_run(struct world *world)
{
    int status;
    while ((status = cshm_board_try_claim(scene.worker, &scene.lease)) == 0) {
        run_all(world, scene.worker, &scene.lease);
    }
    return status == -EAGAIN ? 0 : status;
}

static int claim_in_vain(struct world *world)
{
    (void)world;
    return cshm_board_claim_until(scene.worker, &scene.lease, cshm_now_ns() + 30 * MILLISECOND);
}

static int look_in_vain(struct world *world)
{
    (void)world;
    return cshm_board_claim_watched(scene.worker, &scene.lease, cshm_now_ns() + 30 * MILLISECOND);
}

/* All is done, but for the bit that says so. */
static void make_used_up(struct world *world)
{
    struct cshm_lease lease;
    make_plain(world);
    scene.worker = sit(world, OTHER_SEAT, OTHER);
    for (uint32_t group = 0; group < scene.batch->groups; group++) {
        CHECK_EQ(cshm_board_try_claim(scene.worker, &lease), 0);
        for (uint32_t i = lease.first; i < lease.end; i++) {
            run_one(scene.worker, &lease, i);
            scene.outcome[i] = DONE_BY_OTHER;
        }
        cshm_board_done(scene.worker, &lease);
    }
}

static void check_in_vain(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -ETIMEDOUT);
    check_outcomes(world);
}

static void run_two(struct world *world)
{
    sit_and_claim(world);
    for (uint32_t i = 0; i < 2; i++) {
        atomic_store(&world->report->word[1], i + 1);
        run_one(scene.worker, &scene.lease, i);
        atomic_store(&world->report->word[2], i + 1);
    }
}

/* The first group has lost a worker before, in the middle. */
static void make_given_out_again(struct world *world)
{
    make_with_records(world);
    kill_after(world, run_two);
    settle(world);
    CHECK_EQ(scene.from, 2);
    for (uint32_t word = 1; word < 4; word++) {
        atomic_store(&world->report->word[word], 0);
    }
    scene.settled = false;
    scene.number = SUCCESSOR;
    cshm_board_seat(scene.poster, VICTIM_SEAT, scene.number);
}

/* Whatever became of the wrong one, the right one can sit down. */
static void check_kept(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -EBUSY);
    cshm_board_leave(sit(world, VICTIM_SEAT, scene.number));
    work_on_the_rest(world);
    clear_board();
}

/* ---- the poster's death: the survivor works ---- */

static void start_anew(struct world *world)
{
    world->place[0] = 0;
    scene = (struct scene){.reopened = -1, .number = 1};
}

static void be_poster(struct world *world)
{
    make_board(world);
}

static void be_poster_to_sleepers(struct world *world)
{
    make_board(world);
    (void)cshm_park_prepare(&scene.poster->shared->work.park);
}

/* The survivor's worker is awake and finds nothing: it is counted on, not woken. */
static void be_poster_to_a_looker(struct world *world)
{
    be_poster_to_sleepers(world);
    atomic_store(&scene.poster->seats[OTHER_SEAT].looking, 1);
}

static void be_poster_of_one(struct world *world)
{
    make_with_own_sheets(world);
}

static int create(struct world *world)
{
    uint64_t place = 0;
    return cshm_board_create(world->region, SEATS, &place, &scene.poster);
}

static int draft_and_post(struct world *world)
{
    (void)world;
    post(1, OWN_SHEET, 0);
    return 0;
}

static int shorten_and_post(struct world *world)
{
    (void)world;
    scene.batch = draft(0, 0, 0);
    cshm_batch_shorten(scene.batch, SHORT_COUNT);
    cshm_board_post(scene.poster, scene.batch);
    return 0;
}

static int drop(struct world *world)
{
    (void)world;
    return cshm_batch_drop(scene.batch, 1);
}

static int close_board(struct world *world)
{
    (void)world;
    cshm_board_close(scene.poster);
    return 0;
}

static int never(void *context)
{
    (void)context;
    return -EAGAIN;
}

static int await_in_vain(struct world *world)
{
    (void)world;
    return cshm_board_await(scene.poster, never, NULL, cshm_now_ns() + 30 * MILLISECOND);
}

static void be_poster_that_is_awaited(struct world *world)
{
    make_plain(world);
    (void)cshm_park_prepare(&scene.poster->shared->progress.park);
}

static int expect_all(struct world *world)
{
    (void)world;
    return cshm_batch_expect_all(scene.poster, scene.batch);
}

static int ring(struct world *world)
{
    (void)world;
    cshm_board_ring(scene.poster);
    return 0;
}

/* Has done a group with sheets, and leaves another in the middle of a record. */
static void leave_records(struct world *world)
{
    sit_and_claim(world);
    run_all(world, scene.worker, &scene.lease);
    CHECK_EQ(cshm_board_try_claim(scene.worker, &scene.lease), 0);
    void *data = NULL;
    run_one(scene.worker, &scene.lease, scene.lease.first);
    cshm_board_run(scene.worker, scene.lease.first + 1);
    CHECK_EQ(cshm_board_record(scene.worker, &scene.lease, scene.lease.first + 1, JOB, LONG, &data),
             0);
}

static void be_poster_of_the_dead(struct world *world)
{
    make_with_own_sheets(world);
    kill_after(world, leave_records);
}

static void be_poster_of_sheets(struct world *world)
{
    make_with_records(world);
    kill_after(world, leave_records);
}

/* @returns the group that the dead worker had claimed. */
static uint32_t bury(uint32_t *named)
{
    CHECK_EQ(cshm_board_bury(scene.poster, VICTIM_SEAT, named), 0);
    int64_t group = cshm_batch_claimed_by(scene.batch, scene.number);
    CHECK_EQ(group, 1);
    return (uint32_t)group;
}

static int bury_and_reopen(struct world *world)
{
    (void)world;
    uint32_t named = 0;
    uint32_t group = bury(&named);
    CHECK_EQ(named, GROUP + 2);
    cshm_board_reopen(scene.poster, scene.batch, group, named);
    cshm_board_seat(scene.poster, VICTIM_SEAT, SUCCESSOR);
    return 0;
}

static int bury_and_end(struct world *world)
{
    (void)world;
    uint32_t named = 0;
    uint32_t group = bury(&named);
    cshm_board_reopen(scene.poster, scene.batch, group, end_of(group));
    return 0;
}

static int bury_one_that_never_came(struct world *world)
{
    (void)world;
    uint32_t named = 0;
    CHECK_EQ(cshm_board_bury(scene.poster, VICTIM_SEAT, &named), 0);
    CHECK_EQ(cshm_board_bury(scene.poster, VICTIM_SEAT, &named), 0);
    return (int)named;
}

static void retire_some(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        cshm_batch *batch = draft(0, 0, 0);
        cshm_board_post(scene.poster, batch);
        cshm_board_retire(scene.poster, batch);
    }
}

/* The last one that is retired before they are freed. */
static void be_poster_that_retires(struct world *world)
{
    be_poster_of_sheets(world);
    uint32_t named = 0;
    (void)bury(&named);
    retire_some(RETIRED);
}

static int retire(struct world *world)
{
    (void)world;
    cshm_board_retire(scene.poster, scene.batch);
    return 0;
}

static cshm_batch *draft_large(void)
{
    struct cshm_batch_shape shape = {
        .job = JOB, .count = 1, .group = 1, .input_size = sizeof(uint64_t), .output_size = LARGE};
    cshm_batch *batch = NULL;
    CHECK_EQ(cshm_board_draft(scene.poster, &shape, &batch), 0);
    *(uint64_t *)batch->input = 1;
    return batch;
}

static void be_poster_in_a_full_region(struct world *world)
{
    make_board(world);
    cshm_batch *batch = draft_large();
    cshm_board_post(scene.poster, batch);
    cshm_board_retire(scene.poster, batch);
}

static int post_large(struct world *world)
{
    (void)world;
    cshm_board_post(scene.poster, draft_large());
    return 0;
}

static void be_poster_at_the_end(struct world *world)
{
    be_poster_of_the_dead(world);
    uint32_t named = 0;
    (void)bury(&named);
    retire_some(2);
    cshm_board_retire(scene.poster, scene.batch);
    /* No worker may be left; so nobody is to look for the board. */
    atomic_store(&world->report->word[0], 0);
}

static int destroy(struct world *world)
{
    (void)world;
    cshm_board_destroy(scene.poster);
    return 0;
}

/* ---- what workers find when the poster is dead, or stopped ---- */

static bool find_board(struct world *world)
{
    world->place[0] = atomic_load(&world->report->word[0]);
    if (world->place[0] == 0) {
        return false;
    }
    if (scene.worker == NULL) {
        scene.worker = sit(world, OTHER_SEAT, OTHER);
    }
    return true;
}

/* Works until there is no more. @returns why not. */
static int work_for_the_poster(int64_t deadline)
{
    struct cshm_lease lease;
    int status;
    while ((status = cshm_board_claim_until(scene.worker, &lease, deadline)) == 0) {
        CHECK_EQ(lease.job, JOB);
        CHECK(lease.first < lease.end && lease.end <= COUNT);
        for (uint32_t i = lease.first; i < lease.end; i++) {
            CHECK_EQ(((const uint64_t *)lease.input)[i], i + 1);
            CHECK_EQ(scene.outcome[i], NONE);
            scene.outcome[i] = DONE_BY_OTHER;
            run_one(scene.worker, &lease, i);
        }
        cshm_board_done(scene.worker, &lease);
    }
    return status;
}

static void work_for_the_stopped(struct world *world)
{
    scene.met = find_board(world);
    if (scene.met) {
        int status = work_for_the_poster(cshm_now_ns() + 5 * MILLISECOND);
        CHECK(status == -ETIMEDOUT || status == -ECANCELED);
    }
}

/* The board's memory stays until its region ends: each block that is left is freed here. */
static void free_what_is_left(struct world *world)
{
    cshm_region *region = world->region;
    uint64_t offset = region->header.heap_offset;
    uint64_t end = offset + committed(region) * CSHM_SPAN;
    uint32_t left = 0;
    CHECK(cshm_region_reap(region) >= 0);
    while (offset < end) {
        struct block block;
        if (!cshm__heap_find(region, offset, &block)) {
            offset += 16;
            continue;
        }
        offset = block.start + block.size;
        uint64_t state = atomic_load(block.state);
        if (KIND(state) != CSHM_BLOCK_FREE) {
            CHECK_EQ(KIND(state), CSHM_BLOCK_LINKED);
            cshm__heap_free_held(region, block.start);
            left++;
        }
    }
    CHECK(left <= LEFT_MAX);
}

static uint32_t count_done(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        count += scene.outcome[i] == DONE_BY_OTHER;
    }
    return count;
}

/* The workers find `before` elements or `after`, and no part of the difference. */
static void check_posted(struct world *world, uint32_t before, uint32_t after)
{
    if (find_board(world)) {
        int status = work_for_the_poster(INT64_MAX);
        CHECK(status == -EPIPE || status == -ECANCELED);
        cshm_board_leave(scene.worker);
        uint32_t done = count_done();
        CHECK(done == after || (done == before && !returned(world)));
    }
    free_what_is_left(world);
}

static void check_all_posted(struct world *world)
{
    check_posted(world, 0, COUNT);
}

static void check_short_posted(struct world *world)
{
    check_posted(world, 0, SHORT_COUNT);
}

static void check_large_posted(struct world *world)
{
    check_posted(world, 0, 1);
}

static void check_all_stays(struct world *world)
{
    check_posted(world, COUNT, COUNT);
}

/* If it was stopped, it may come too late for the second group. */
static void check_dropped(struct world *world)
{
    if (atomic_load(&world->report->status) == -EBUSY) {
        check_posted(world, COUNT, COUNT);
    } else {
        check_posted(world, COUNT, COUNT - GROUP);
    }
}

static void check_closed(struct world *world)
{
    CHECK(find_board(world));
    int status = work_for_the_poster(INT64_MAX);
    CHECK(status == -ECANCELED || (status == -EPIPE && !returned(world)));
    CHECK_EQ(count_done(), status == -EPIPE ? COUNT : count_done() == COUNT ? COUNT : 0);
    cshm_board_leave(scene.worker);
    free_what_is_left(world);
}

/* The dead worker did the first group, and two elements of the second. */
static void check_reopened(struct world *world)
{
    check_posted(world, COUNT - 2 * GROUP, COUNT - GROUP - 2);
}

static void check_ended(struct world *world)
{
    check_posted(world, COUNT - 2 * GROUP, COUNT - 2 * GROUP);
}

static void check_retired(struct world *world)
{
    uint32_t rest = COUNT - 2 * GROUP;
    check_posted(world, rest, scene.met && count_done() == rest ? rest : 0);
}

/* Only what its creation did not return for is left. */
static void check_created(struct world *world)
{
    free_what_is_left(world);
}

static void check_destroyed(struct world *world)
{
    if (returned(world)) {
        CHECK(cshm_region_reap(world->region) >= 0);
        CHECK_EQ(blocks_in_use(world->region), 0);
    }
    free_what_is_left(world);
}

#define WORKER_DIES(...) .recover = settle, .meanwhile = work_beside_the_stopped, __VA_ARGS__
#define POSTER_DIES(...) .setup = start_anew, .meanwhile = work_for_the_stopped, __VA_ARGS__

const struct scenario board_scenarios[] = {
    {.name = "enter", .setup = make_plain, .operate = enter, WORKER_DIES(.check = check_succeeded)},
    {.name = "enter_and_leave",
     .setup = make_with_records,
     .operate = enter_and_leave,
     WORKER_DIES(.check = check_succeeded)},
    {.name = "enter_in_error", .setup = make_plain, .operate = enter_in_error, .check = check_kept},
    {.name = "work",
     .setup = make_plain,
     .prepare = sit_down,
     .operate = claim_and_run,
     WORKER_DIES(.check = check_succeeded)},
    {.name = "work_with_records",
     .setup = make_with_records,
     .prepare = sit_down,
     .operate = claim_and_run,
     WORKER_DIES(.check = check_succeeded)},
    {.name = "work_with_own_sheets",
     .setup = make_with_own_sheets,
     .prepare = sit_down,
     .operate = claim_and_run,
     WORKER_DIES(.check = check_succeeded)},
    {.name = "work_for_a_sleeper",
     .setup = make_awaited,
     .prepare = sit_down,
     .operate = claim_and_run,
     WORKER_DIES(.check = check_succeeded)},
    {.name = "work_for_one_who_expects",
     .setup = make_expected,
     .prepare = sit_down,
     .operate = claim_and_run,
     WORKER_DIES(.check = check_succeeded)},
    {.name = "work_on_what_was_given_out_again",
     .setup = make_given_out_again,
     .prepare = sit_down,
     .operate = claim_and_run,
     WORKER_DIES(.check = check_succeeded)},
    {.name = "run_and_be_settled_after_the_sweep",
     .setup = make_with_records,
     .prepare = sit_and_claim,
     .operate = run_claimed,
     .check = check_succeeded,
     .meanwhile = work_beside_the_stopped},
    {.name = "claim_in_vain",
     .setup = make_used_up,
     .prepare = sit_down,
     .operate = claim_in_vain,
     WORKER_DIES(.check = check_in_vain)},
    {.name = "look_in_vain",
     .setup = make_used_up,
     .prepare = sit_down,
     .operate = look_in_vain,
     WORKER_DIES(.check = check_in_vain)},

    {.name = "create", .setup = start_anew, .operate = create, .check = check_created},
    {.name = "post",
     POSTER_DIES(.prepare = be_poster, .operate = draft_and_post, .check = check_all_posted)},
    {.name = "post_to_sleepers",
     POSTER_DIES(.prepare = be_poster_to_sleepers, .operate = draft_and_post,
                 .check = check_all_posted)},
    {.name = "post_to_a_looker",
     POSTER_DIES(.prepare = be_poster_to_a_looker, .operate = draft_and_post,
                 .check = check_all_posted)},
    {.name = "post_shortened",
     POSTER_DIES(.prepare = be_poster, .operate = shorten_and_post, .check = check_short_posted)},
    {.name = "post_in_a_full_region",
     POSTER_DIES(.prepare = be_poster_in_a_full_region, .operate = post_large,
                 .check = check_large_posted)},
    {.name = "drop",
     POSTER_DIES(.prepare = be_poster_of_one, .operate = drop, .check = check_dropped)},
    {.name = "close",
     POSTER_DIES(.prepare = be_poster_of_one, .operate = close_board, .check = check_closed)},
    {.name = "await",
     POSTER_DIES(.prepare = be_poster_of_one, .operate = await_in_vain, .check = check_all_stays)},
    {.name = "ring",
     POSTER_DIES(.prepare = be_poster_that_is_awaited, .operate = ring, .check = check_all_stays)},
    {.name = "expect_all",
     POSTER_DIES(.prepare = be_poster_that_is_awaited, .operate = expect_all,
                 .check = check_all_stays)},
    {.name = "bury_and_reopen",
     POSTER_DIES(.prepare = be_poster_of_the_dead, .operate = bury_and_reopen,
                 .check = check_reopened)},
    {.name = "bury_and_reopen_with_sheets",
     POSTER_DIES(.prepare = be_poster_of_sheets, .operate = bury_and_reopen,
                 .check = check_reopened)},
    {.name = "bury_and_end",
     POSTER_DIES(.prepare = be_poster_of_the_dead, .operate = bury_and_end, .check = check_ended)},
    {.name = "bury_one_that_never_came",
     POSTER_DIES(.prepare = be_poster_of_one, .operate = bury_one_that_never_came,
                 .check = check_all_stays)},
    {.name = "retire",
     POSTER_DIES(.prepare = be_poster_that_retires, .operate = retire, .check = check_retired)},
    {.name = "destroy",
     .setup = start_anew,
     .prepare = be_poster_at_the_end,
     .operate = destroy,
     .check = check_destroyed},
    {.name = NULL},
};
