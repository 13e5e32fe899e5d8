/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/lanes.h, by threads and processes at once, that are killed and stopped.
 */
#include "lanes_support.h"

#include <pthread.h>
#include <sched.h>

#include "letters.h"

extern const struct test lanes_crowd_tests[];

enum {
    PRODUCERS = 5,
    LANES = 8,
    RUN_MS = 4000,
    BATCH = 7,
};

struct record {
    uint64_t offset;
    cshm_region *region;
    _Atomic uint32_t stop;
    _Atomic uint32_t next_incarnation;
    _Atomic uint32_t ready;
    _Atomic uint32_t ended;
    _Atomic uint64_t limit; /* messages of each producer */
    _Atomic uint64_t taken;
    _Atomic uint64_t again;
    _Atomic uint64_t acknowledged[INCARNATIONS];
    _Atomic uint64_t counted[INCARNATIONS];
};

/* -EPIPE before the end means that the consumer has died, and its successor is to come. */
static int put_letter(cshm_lane *lane, struct record *record, const struct letter *letter)
{
    int status;
    do {
        status = cshm_lane_put_until(lane, letter, letter_length(letter), after(20 * MILLISECOND));
    } while ((status == -ETIMEDOUT || status == -EPIPE) && atomic_load(&record->stop) == 0 &&
             atomic_load(&record->ended) == 0);
    return status;
}

static void put_letters(cshm_region *region, struct record *record)
{
    cshm_lanes *lanes = NULL;
    cshm_lane *lane = NULL;
    REQUIRE(cshm_lanes_open(region, record->offset, TAG, &lanes) == 0);
    int status;
    do { /* the lanes of the dead may not be drained yet */
        status = cshm_lanes_join(lanes, &lane);
    } while (status == -EUSERS);
    if (status == -EPIPE) {
        cshm_lanes_close(lanes);
        return;
    }
    REQUIRE(status == 0);
    uint64_t incarnation = atomic_fetch_add(&record->next_incarnation, 1);
    REQUIRE(incarnation < INCARNATIONS);
    uint64_t limit = atomic_load(&record->limit);
    for (uint64_t number = 0; number < limit && status == 0 && atomic_load(&record->stop) == 0;
         number++) {
        struct letter letter = make_letter(incarnation, number);
        status = put_letter(lane, record, &letter);
        REQUIRE(status == 0 || status == -EPIPE || status == -ETIMEDOUT);
        if (status == 0) {
            atomic_store(&record->acknowledged[incarnation], number + 1);
        }
    }
    cshm_lane_leave(lane);
    cshm_lanes_close(lanes);
}

/* What a predecessor worked on and did not release comes again, first in its lane. */
static void check_letter(struct record *record, const struct cshm_lanes_message *message,
                         uint32_t *repeats)
{
    const struct letter *letter = message->data;
    require_whole(letter, message->length);
    uint64_t expected = atomic_load(&record->counted[letter->incarnation]);
    if (letter->number < expected) {
        REQUIRE(repeats[message->lane] < BATCH);
        repeats[message->lane]++;
        atomic_fetch_add(&record->again, 1);
        return;
    }
    REQUIRE(letter->number == expected);
    repeats[message->lane] = BATCH;
    atomic_store(&record->counted[letter->incarnation], letter->number + 1);
    atomic_fetch_add(&record->taken, 1);
}

static void take_letters(cshm_region *region, struct record *record)
{
    cshm_lanes *lanes = NULL;
    struct cshm_lanes_message messages[BATCH];
    REQUIRE(cshm_lanes_open(region, record->offset, TAG, &lanes) == 0);
    int status = cshm_lanes_become_consumer(lanes);
    REQUIRE(status >= 0);
    uint32_t repeats[LANES];
    for (uint32_t i = 0; i < LANES; i++) {
        repeats[i] = status == 1 ? 0 : BATCH;
    }
    atomic_store(&record->ready, 1);
    for (uint64_t round = 0; status >= 0 || status == -ETIMEDOUT; round++) {
        status = cshm_lanes_peek_until(lanes, messages, after(20 * MILLISECOND));
        int count = status == 0 ? 1 : 0;
        if (status == 0 && round % 3 == 0) {
            count = cshm_lanes_try_peek_many(lanes, messages, BATCH);
            REQUIRE(count > 0);
        }
        for (int i = 0; i < count; i++) {
            check_letter(record, &messages[i], repeats);
        }
        if (round % 64 == 0) {
            sched_yield(); /* a good moment to be killed: all is done but the release */
        }
        cshm_lanes_release_many(lanes, (uint32_t)count);
    }
    if (status != -EPIPE) {
        fprintf(stderr, "the end: %d\n", status);
    }
    REQUIRE(status == -EPIPE);
    atomic_store(&record->ended, 1);
    cshm_lanes_close(lanes);
}

static void check_record(struct record *record, bool exactly)
{
    for (uint32_t i = 0; i < atomic_load(&record->next_incarnation); i++) {
        uint64_t seen = atomic_load(&record->counted[i]);
        uint64_t acknowledged = atomic_load(&record->acknowledged[i]);
        CHECK(seen == acknowledged || (!exactly && seen == acknowledged + 1));
    }
}

struct part {
    struct record *record;
    cshm_region *region;
    void (*body)(cshm_region *region, struct record *record);
};

static void *play_thread(void *context)
{
    struct part *part = context;
    part->body(part->region, part->record);
    return NULL;
}

static void play_process(cshm_region *region, void *context)
{
    struct part *part = context;
    part->body(region, part->record);
    cshm_region_close(region);
}

static pid_t start(cshm_region *region, struct record *record,
                   void (*body)(cshm_region *region, struct record *record))
{
    struct part part = {record, region, body};
    return spawn(region, play_process, &part);
}

static void threads(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(16u << 20);
    uint64_t before = blocks_in_use(region);
    cshm_lanes *lanes = make_lanes(region, 16, LANES, &record->offset);
    cshm_lane *keeper = join(lanes); /* so that it does not end before they join */
    pthread_t thread[PRODUCERS + 1];
    struct part part[2] = {{record, region, take_letters}, {record, region, put_letters}};
    record->limit = 20000;
    for (uint32_t i = 0; i <= PRODUCERS; i++) {
        CHECK_EQ(pthread_create(&thread[i], NULL, play_thread, &part[i > 0]), 0);
    }
    wait_until_set(&record->next_incarnation, PRODUCERS);
    cshm_lane_leave(keeper);
    for (uint32_t i = 0; i <= PRODUCERS; i++) {
        CHECK_EQ(pthread_join(thread[i], NULL), 0);
    }
    CHECK_EQ(record->taken, PRODUCERS * record->limit);
    CHECK_EQ(cshm_lanes_count(lanes), 0);
    check_record(record, true);
    cshm_lanes_destroy(lanes);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

/* Finishes while producers are at it: what was acknowledged is delivered, and no more than that. */
static void finish_at_random(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(16u << 20);
    uint64_t random = make_seed();
    pthread_t thread[3];
    struct part part[2] = {{record, region, take_letters}, {record, region, put_letters}};
    record->limit = UINT64_MAX;
    for (uint32_t round = 0; round < 300; round++) {
        cshm_lanes *lanes = make_lanes(region, 16, LANES, &record->offset);
        cshm_lane *keeper = join(lanes);
        for (uint32_t i = 0; i < 3; i++) {
            CHECK_EQ(pthread_create(&thread[i], NULL, play_thread, &part[i > 0]), 0);
        }
        wait_until_set(&record->next_incarnation, 2 * round + 2);
        int64_t end = after((int64_t)(next_random(&random) % 300000));
        while (cshm_now_ns() < end) {
        }
        cshm_lanes_finish(lanes);
        cshm_lane_leave(keeper);
        for (uint32_t i = 0; i < 3; i++) {
            CHECK_EQ(pthread_join(thread[i], NULL), 0);
        }
        record->ended = 0;
        check_record(record, true);
        cshm_lanes_destroy(lanes);
    }
    cshm_region_close(region);
}

static void processes(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(16u << 20);
    uint64_t before = blocks_in_use(region);
    cshm_lanes *lanes = make_lanes(region, 16, LANES, &record->offset);
    cshm_lane *keeper = join(lanes);
    pid_t children[PRODUCERS + 1];
    record->limit = 100000;
    for (uint32_t i = 0; i <= PRODUCERS; i++) {
        children[i] = start(region, record, i > 0 ? put_letters : take_letters);
    }
    wait_until_set(&record->next_incarnation, PRODUCERS);
    cshm_lane_leave(keeper);
    for (uint32_t i = 0; i <= PRODUCERS; i++) {
        expect_success(children[i]);
    }
    CHECK_EQ(record->taken, PRODUCERS * record->limit);
    check_record(record, true);
    cshm_lanes_destroy(lanes);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

/* Kills, or stops for a while, one after another, the consumer, child 0, among them. */
static void crash(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(64u << 20);
    uint64_t before = blocks_in_use(region);
    uint64_t random = make_seed();
    uint64_t killed = 0;
    uint64_t stopped = 0;
    cshm_lanes *lanes = make_lanes(region, 16, LANES, &record->offset);
    cshm_lane *keeper = join(lanes);
    pid_t children[PRODUCERS + 1];
    record->limit = UINT64_MAX;
    for (uint32_t i = 0; i <= PRODUCERS; i++) {
        children[i] = start(region, record, i > 0 ? put_letters : take_letters);
    }
    int64_t end = after(RUN_MS * MILLISECOND);
    while ((cshm_now_ns() < end || killed <= 50) &&
           atomic_load(&record->next_incarnation) < INCARNATIONS - 10) {
        uint32_t victim = (uint32_t)(next_random(&random) % (PRODUCERS + 1));
        usleep((useconds_t)(next_random(&random) % 400));
        if (next_random(&random) % 8 == 0 && victim != 0) {
            stop_child(children[victim]); /* and the others get on */
            wait_for_more(&record->taken, 300);
            kill(children[victim], SIGCONT);
            stopped++;
        } else {
            kill_child(children[victim]);
            killed++;
            children[victim] = start(region, record, victim > 0 ? put_letters : take_letters);
        }
        if (killed % 64 == 0) {
            wait_for_more(&record->taken, 1);
            (void)cshm_region_reap(region);
        }
    }
    wait_for_more(&record->taken, 300);
    atomic_store(&record->stop, 1);
    cshm_lane_leave(keeper);
    for (uint32_t i = 0; i <= PRODUCERS; i++) {
        expect_success(children[i]);
    }
    fprintf(stderr, "%llu kills, %llu stops, %llu taken, %llu again\n", (unsigned long long)killed,
            (unsigned long long)stopped, (unsigned long long)record->taken,
            (unsigned long long)record->again);
    CHECK(killed > 50 && record->again > 0);
    check_record(record, false);
    CHECK_EQ(cshm_lanes_count(lanes), 0);
    (void)cshm_region_reap(region);
    cshm_lanes_destroy(lanes);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void hang_as_producer(cshm_region *region, void *context)
{
    struct record *record = context;
    cshm_lanes *lanes = NULL;
    REQUIRE(cshm_lanes_open(region, record->offset, TAG, &lanes) == 0);
    put_number(join(lanes), 5);
    hang(&record->ready);
}

static void hang_as_consumer(cshm_region *region, void *context)
{
    struct record *record = context;
    cshm_lanes *lanes = NULL;
    REQUIRE(cshm_lanes_open(region, record->offset, TAG, &lanes) == 0);
    REQUIRE(cshm_lanes_become_consumer(lanes) == 0);
    REQUIRE(peek_status(lanes) == 0);
    hang(&record->ready);
}

static void killed_producer(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(8u << 20);
    struct cshm_lanes_message message;
    cshm_lanes *lanes = make_lanes(region, 4, 2, &record->offset);
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 0);
    pid_t child = spawn(region, hang_as_producer, record);
    wait_until_set(&record->ready, 1);
    expect_number(lanes, 5);
    CHECK_EQ(cshm_lanes_peek_until(lanes, &message, after(50 * MILLISECOND)), -ETIMEDOUT);
    stop_child(child); /* is alive */
    CHECK_EQ(cshm_lanes_peek_until(lanes, &message, after(50 * MILLISECOND)), -ETIMEDOUT);
    kill_child(child);
    CHECK_EQ(cshm_lanes_peek_until(lanes, &message, INT64_MAX), -EPIPE);
    cshm_lanes_close(lanes);
    cshm_region_close(region);
}

static void killed_consumer(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(8u << 20);
    cshm_lanes *lanes = make_lanes(region, 2, 2, &record->offset);
    cshm_lane *lane = join(lanes);
    uint64_t number = 3;
    put_number(lane, 1);
    put_number(lane, 2);
    pid_t child = spawn(region, hang_as_consumer, record);
    wait_until_set(&record->ready, 1);
    CHECK_EQ(cshm_lanes_become_consumer(lanes), -EBUSY);
    stop_child(child); /* is alive */
    CHECK_EQ(cshm_lanes_become_consumer(lanes), -EBUSY);
    CHECK_EQ(cshm_lane_put_until(lane, &number, 8, after(50 * MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(cshm_lane_consumer_is_gone(lane), 0);
    kill_child(child);
    CHECK_EQ(cshm_lane_put_until(lane, &number, 8, INT64_MAX), -EPIPE);
    CHECK_EQ(cshm_lane_consumer_is_gone(lane), 1);
    CHECK_EQ(cshm_lanes_become_consumer(lanes), 1);
    CHECK_EQ(cshm_lane_consumer_is_gone(lane), 0);
    CHECK_EQ(cshm_lane_put_until(lane, &number, 8, after(50 * MILLISECOND)), -ETIMEDOUT);
    expect_number(lanes, 1);
    CHECK_EQ(cshm_lane_put_until(lane, &number, 8, INT64_MAX), 0);
    expect_number(lanes, 2);
    expect_number(lanes, 3);
    cshm_lane_leave(lane);
    CHECK_EQ(peek_status(lanes), -EPIPE);
    cshm_lanes_close(lanes);
    cshm_region_close(region);
}

const struct test lanes_crowd_tests[] = {
    {"deliver_exactly_once_in_order_between_threads", threads},
    {"deliver_what_was_acknowledged_before_a_finish_and_nothing_else", finish_at_random},
    {"deliver_exactly_once_in_order_between_processes", processes},
    {"deliver_what_was_acknowledged_while_every_role_is_killed_and_stopped", crash},
    {"end_when_the_last_producer_is_killed", killed_producer},
    {"give_the_successor_of_a_killed_consumer_the_same_message", killed_consumer},
    {NULL, NULL},
};
