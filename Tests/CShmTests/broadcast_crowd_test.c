/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/broadcast.h, by threads and processes at once, that are killed and stopped.
 */
#include "broadcast_support.h"

#include <pthread.h>

#include "letters.h"

extern const struct test broadcast_crowd_tests[];

enum {
    ROLES = 8,
    LOG = 1 << 25,
    RUN_MS = 4000,
};

/* Every reader agrees with every other on what is at a position. */
struct record {
    uint64_t offset;
    _Atomic uint32_t stop;
    _Atomic uint32_t next_incarnation;
    _Atomic uint32_t ready; /* the one who sees all has joined, or who is to be killed waits */
    uint32_t kind;          /* of subscribers 3 to 5 */
    _Atomic uint64_t read;
    _Atomic uint64_t lost;
    _Atomic uint64_t limit; /* messages of each publisher */
    _Atomic uint64_t acknowledged[INCARNATIONS];
    _Atomic uint64_t counted[INCARNATIONS]; /* by the one who sees all */
    _Atomic uint64_t log[LOG];
};

static void publish_letters(cshm_region *region, struct record *record)
{
    cshm_broadcast *broadcast = NULL;
    cshm_publisher *publisher = NULL;
    REQUIRE(cshm_broadcast_open(region, record->offset, TAG, &broadcast) == 0);
    int status = cshm_publisher_join(broadcast, &publisher);
    while (status == -EUSERS) { /* whose slot a dead one had, a stopped one may know */
        usleep(100);
        status = cshm_publisher_join(broadcast, &publisher);
    }
    if (status == -EPIPE) {
        cshm_broadcast_close(broadcast);
        return;
    }
    REQUIRE(status == 0);
    uint64_t incarnation = atomic_fetch_add(&record->next_incarnation, 1);
    REQUIRE(incarnation < INCARNATIONS);
    uint64_t limit = atomic_load(&record->limit);
    for (uint64_t number = 0; number < limit && status == 0; number++) {
        struct letter letter = make_letter(incarnation, number);
        do {
            status = cshm_publisher_put_until(publisher, &letter, letter_length(&letter),
                                              after(20 * MILLISECOND));
        } while (status == -ETIMEDOUT && atomic_load(&record->stop) == 0);
        REQUIRE(status == 0 || status == -EPIPE || status == -ETIMEDOUT);
        if (status == 0) {
            atomic_store(&record->acknowledged[incarnation], number + 1);
        }
    }
    cshm_publisher_leave(publisher);
    cshm_broadcast_close(broadcast);
}

static void check_letter(struct record *record, const struct cshm_broadcast_message *message)
{
    const struct letter *letter = message->data;
    require_whole(letter, message->length);
    REQUIRE(message->position < LOG);
    uint64_t entry = ((letter->incarnation + 1) << 40) | letter->number;
    uint64_t none = 0;
    REQUIRE(atomic_compare_exchange_strong(&record->log[message->position], &none, entry) ||
            none == entry);
}

/* Reads until the end. Who sees all joined before anything was published, and never dies. */
static void read_letters(cshm_region *region, struct record *record, uint32_t kind, bool sees_all)
{
    cshm_broadcast *broadcast = NULL;
    cshm_subscriber *subscriber = NULL;
    struct cshm_broadcast_message messages[7];
    REQUIRE(cshm_broadcast_open(region, record->offset, TAG, &broadcast) == 0);
    REQUIRE(cshm_subscriber_join(broadcast, kind, sees_all ? UINT64_MAX : 9, &subscriber) == 0);
    uint64_t first = sees_all ? 0 : UINT64_MAX;
    atomic_fetch_or(&record->ready, sees_all);
    uint64_t read = 0;
    int status = 0;
    while (status >= 0 || status == -ETIMEDOUT) {
        status = cshm_subscriber_peek_until(subscriber, messages, after(20 * MILLISECOND));
        int count = status == 0 ? 1 : 0;
        if (status == 0 && read % 3 == 0) {
            count = cshm_subscriber_try_peek_many(subscriber, messages, 7);
            REQUIRE(count > 0 && (kind == CSHM_LOSSLESS || count == 1));
        }
        for (int i = 0; i < count; i++) {
            first = first == UINT64_MAX ? messages[i].position - cshm_subscriber_lost(subscriber)
                                        : first;
            REQUIRE(messages[i].position == first + read + cshm_subscriber_lost(subscriber));
            check_letter(record, &messages[i]);
            const struct letter *letter = messages[i].data;
            if (sees_all) { /* each one once, and in order */
                REQUIRE(atomic_load(&record->counted[letter->incarnation]) == letter->number);
                atomic_store(&record->counted[letter->incarnation], letter->number + 1);
            }
            read++;
        }
        cshm_subscriber_release_many(subscriber, (uint32_t)count);
        atomic_fetch_add(&record->read, (uint64_t)count);
    }
    REQUIRE(status == -EPIPE);
    REQUIRE(kind == CSHM_OVERWRITE || cshm_subscriber_lost(subscriber) == 0);
    REQUIRE(first == UINT64_MAX ||
            first + read + cshm_subscriber_lost(subscriber) == cshm_broadcast_count(broadcast));
    atomic_fetch_add(&record->lost, cshm_subscriber_lost(subscriber));
    cshm_subscriber_leave(subscriber);
    cshm_broadcast_close(broadcast);
}

/* Roles 0 to 2 publish, 6 and 7 are overwriting, and 3 to 5 of the kind that the test wants; a
 * lossless 3 sees all. */
static void play(cshm_region *region, struct record *record, uint32_t role)
{
    if (role < 3) {
        publish_letters(region, record);
    } else {
        uint32_t kind = role < 6 ? record->kind : CSHM_OVERWRITE;
        read_letters(region, record, kind, role == 3 && kind == CSHM_LOSSLESS);
    }
}

static void check_record(struct record *record, uint64_t published)
{
    uint64_t counted = 0;
    for (uint32_t i = 0; i < atomic_load(&record->next_incarnation); i++) {
        uint64_t seen = atomic_load(&record->counted[i]);
        uint64_t acknowledged = atomic_load(&record->acknowledged[i]);
        CHECK(seen == acknowledged || seen == acknowledged + 1);
        counted += seen;
    }
    CHECK_EQ(counted, published);
}

struct part {
    struct record *record;
    cshm_region *region;
    uint32_t role;
};

static void *play_thread(void *context)
{
    struct part *part = context;
    play(part->region, part->record, part->role);
    return NULL;
}

/* Starts with the one who sees all; the caller's publisher keeps it from ending before all join. */
static void threads(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(16u << 20);
    uint64_t before = blocks_in_use(region);
    cshm_broadcast *broadcast = make_broadcast(region, 64, &record->offset);
    cshm_publisher *keeper = publish_to(broadcast);
    pthread_t thread[ROLES];
    struct part part[ROLES];
    record->limit = 20000;
    record->kind = CSHM_LOSSLESS;
    for (uint32_t i = 0; i < ROLES; i++) {
        part[i] = (struct part){record, region, (i + 3) % ROLES};
        CHECK_EQ(pthread_create(&thread[i], NULL, play_thread, &part[i]), 0);
        wait_until_set(&record->ready, 1);
    }
    wait_until_set(&record->next_incarnation, 3);
    cshm_publisher_leave(keeper);
    for (uint32_t i = 0; i < ROLES; i++) {
        CHECK_EQ(pthread_join(thread[i], NULL), 0);
    }
    CHECK_EQ(cshm_broadcast_count(broadcast), 3 * record->limit);
    CHECK_EQ(cshm_broadcast_subscribers(broadcast), 0);
    check_record(record, 3 * record->limit);
    cshm_broadcast_destroy(broadcast);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void play_process(cshm_region *region, void *context)
{
    struct part *part = context;
    play(region, part->record, part->role);
    cshm_region_close(region);
}

static pid_t start(cshm_region *region, struct record *record, uint32_t role)
{
    struct part part = {record, region, role};
    return spawn(region, play_process, &part);
}

static void start_all(cshm_region *region, struct record *record, pid_t children[ROLES])
{
    for (uint32_t i = 0; i < ROLES; i++) {
        uint32_t role = (i + 3) % ROLES;
        children[role] = start(region, record, role);
        if (record->kind == CSHM_LOSSLESS) {
            wait_until_set(&record->ready, 1);
        }
    }
}

static void processes(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(16u << 20);
    uint64_t before = blocks_in_use(region);
    cshm_broadcast *broadcast = make_broadcast(region, 64, &record->offset);
    cshm_publisher *keeper = publish_to(broadcast);
    pid_t children[ROLES];
    record->limit = 100000;
    record->kind = CSHM_LOSSLESS;
    start_all(region, record, children);
    wait_until_set(&record->next_incarnation, 3);
    cshm_publisher_leave(keeper);
    for (uint32_t i = 0; i < ROLES; i++) {
        expect_success(children[i]);
    }
    check_record(record, 3 * record->limit);
    cshm_broadcast_destroy(broadcast);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

/* Kills, or stops for a while, one after another; every role but a 3 that sees all. Nobody else
 * waits for a stopped publisher or overwriting subscriber. */
static uint64_t massacre(cshm_region *region, struct record *record, cshm_broadcast *broadcast,
                         pid_t children[ROLES])
{
    uint64_t random = make_seed();
    uint64_t killed = 0;
    uint64_t stopped = 0;
    int64_t end = after(RUN_MS * MILLISECOND);
    while (cshm_now_ns() < end && atomic_load(&record->next_incarnation) < INCARNATIONS - 4 &&
           cshm_broadcast_count(broadcast) < LOG / 4 * 3) {
        uint32_t victim = (uint32_t)(next_random(&random) % ROLES);
        bool lossless = record->kind == CSHM_LOSSLESS && victim >= 3 && victim <= 5;
        usleep((useconds_t)(next_random(&random) % 400));
        if (lossless && victim == 3) {
            continue;
        }
        if (next_random(&random) % 8 == 0 && !lossless) {
            stop_child(children[victim]);
            wait_for_more(&record->read, 300);
            kill(children[victim], SIGCONT);
            stopped++;
        } else {
            kill_child(children[victim]);
            killed++;
            children[victim] = start(region, record, victim);
        }
        if (killed % 64 == 0) {
            wait_for_more(&record->read, 1);
            (void)cshm_region_reap(region);
        }
    }
    wait_for_more(&record->read, 300);
    fprintf(stderr, "%llu kills, %llu stops\n", (unsigned long long)killed,
            (unsigned long long)stopped);
    return killed;
}

static void crash(uint32_t kind)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(64u << 20);
    uint64_t before = blocks_in_use(region);
    cshm_broadcast *broadcast = make_broadcast(region, 32, &record->offset);
    cshm_publisher *keeper = publish_to(broadcast);
    pid_t children[ROLES];
    record->limit = UINT64_MAX;
    record->kind = kind;
    start_all(region, record, children);
    CHECK(massacre(region, record, broadcast, children) > 50);
    atomic_store(&record->stop, 1);
    cshm_publisher_leave(keeper);
    CHECK_EQ(cshm_broadcast_finish(broadcast), 0);
    for (uint32_t i = 0; i < ROLES; i++) {
        expect_success(children[i]);
    }
    uint64_t published = cshm_broadcast_count(broadcast);
    fprintf(stderr, "%llu published, %llu read, %llu lost\n", (unsigned long long)published,
            (unsigned long long)record->read, (unsigned long long)record->lost);
    if (kind == CSHM_LOSSLESS) {
        check_record(record, published);
    } else {
        CHECK(record->lost > 0);
    }
    CHECK_EQ(cshm_broadcast_subscribers(broadcast), 0);
    (void)cshm_region_reap(region);
    cshm_broadcast_destroy(broadcast);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void crash_lossless(void)
{
    crash(CSHM_LOSSLESS);
}

static void crash_overwriting(void)
{
    crash(CSHM_OVERWRITE);
}

static void hang_as_publisher(cshm_region *region, void *context)
{
    struct record *record = context;
    cshm_broadcast *broadcast = NULL;
    REQUIRE(cshm_broadcast_open(region, record->offset, TAG, &broadcast) == 0);
    put_number(publish_to(broadcast), 5);
    hang(&record->ready);
}

static void hang_as_subscriber(cshm_region *region, void *context)
{
    struct record *record = context;
    cshm_broadcast *broadcast = NULL;
    struct cshm_broadcast_message message;
    REQUIRE(cshm_broadcast_open(region, record->offset, TAG, &broadcast) == 0);
    cshm_subscriber *sure = subscribe_to(broadcast, CSHM_LOSSLESS, 1);
    cshm_subscriber *late = subscribe_to(broadcast, CSHM_OVERWRITE, 1);
    REQUIRE(cshm_subscriber_try_peek(sure, &message) == 0);
    REQUIRE(cshm_subscriber_try_peek(late, &message) == 0);
    hang(&record->ready);
}

static void killed_publisher(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(4u << 20);
    struct cshm_broadcast_message message;
    cshm_broadcast *broadcast = make_broadcast(region, 4, &record->offset);
    cshm_subscriber *sure = subscribe_to(broadcast, CSHM_LOSSLESS, 0);
    pid_t child = spawn(region, hang_as_publisher, record);
    wait_until_set(&record->ready, 1);
    expect_number(sure, 5);
    CHECK_EQ(cshm_subscriber_peek_until(sure, &message, after(50 * MILLISECOND)), -ETIMEDOUT);
    stop_child(child); /* is alive */
    CHECK_EQ(cshm_subscriber_peek_until(sure, &message, after(50 * MILLISECOND)), -ETIMEDOUT);
    kill_child(child);
    CHECK_EQ(cshm_subscriber_peek_until(sure, &message, INT64_MAX), -EPIPE);
    cshm_subscriber_leave(sure);
    cshm_broadcast_close(broadcast);
    cshm_region_close(region);
}

static void killed_subscriber(void)
{
    struct record *record = shared_memory(sizeof *record);
    cshm_region *region = make_region(4u << 20);
    cshm_broadcast *broadcast = make_broadcast(region, 4, &record->offset);
    cshm_publisher *publisher = publish_to(broadcast);
    put_number(publisher, 0);
    pid_t child = spawn(region, hang_as_subscriber, record);
    wait_until_set(&record->ready, 1);
    CHECK_EQ(cshm_broadcast_subscribers(broadcast), 2);
    uint64_t number = 0;
    while (cshm_publisher_try_put(publisher, &number, 8) == 0) {
        number++;
    }
    CHECK_EQ(number, 3);
    stop_child(child); /* holds publishers up, as it is alive */
    CHECK_EQ(cshm_publisher_put_until(publisher, &number, 8, after(50 * MILLISECOND)), -ETIMEDOUT);
    kill_child(child);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(cshm_publisher_put_until(publisher, &number, 8, INT64_MAX), 0);
    }
    CHECK_EQ(cshm_broadcast_subscribers(broadcast), 0);
    cshm_publisher_leave(publisher);
    cshm_broadcast_close(broadcast);
    cshm_region_close(region);
}

const struct test broadcast_crowd_tests[] = {
    {"keeps_every_promise_between_threads", threads},
    {"keeps_every_promise_between_processes", processes},
    {"keeps_every_promise_while_every_role_is_killed_and_stopped", crash_lossless},
    {"counts_what_is_lost_while_every_role_is_killed_and_stopped", crash_overwriting},
    {"ends_when_the_last_publisher_is_killed", killed_publisher},
    {"is_not_held_up_by_a_killed_lossless_subscriber", killed_subscriber},
    {NULL, NULL},
};
