/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/queue.h: leases, the end of a stream, producer tokens, join.
 */
#include "support.h"

#include <sched.h>

#include <cshm/queue.h>

extern const struct test queue_lease_tests[];

enum { TAG = 13 };

static cshm_queue *make_queue(cshm_region *region, struct cshm_queue_options options,
                              uint64_t *offset)
{
    cshm_queue *queue = NULL;
    options.type_tag = TAG;
    CHECK_EQ(cshm_queue_create(region, &options, offset), 0);
    CHECK_EQ(cshm_heap_share(region, *offset), 0);
    CHECK_EQ(cshm_queue_open(region, *offset, TAG, &queue), 0);
    return queue;
}

static const struct cshm_queue_options SMALL = {
    .capacity = 64, .slot_size = 16, .pack = 32, .ports = 8};

static void put(cshm_queue *queue, uint64_t value)
{
    CHECK_EQ(cshm_queue_try_put(queue, &value, 8), 0);
}

static struct cshm_message lease(cshm_queue *queue, uint64_t value, uint32_t redelivered)
{
    struct cshm_message message;
    CHECK_EQ(cshm_queue_lease_until(queue, 1, &message, after(20 * SECOND)), 0);
    CHECK(message.count == 1 && message.length == 8);
    CHECK_EQ(*(uint64_t *)message.data, value);
    CHECK_EQ(message.redelivered, redelivered);
    return message;
}

static uint64_t leased(const cshm_queue *queue)
{
    struct cshm_queue_info info;
    cshm_queue_describe(queue, &info);
    return info.leased;
}

static void returned(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    cshm_queue *queue = make_queue(region, SMALL, &offset);
    struct cshm_message taken;
    for (uint64_t i = 0; i < 4; i++) {
        put(queue, i);
    }
    struct cshm_message zero = lease(queue, 0, 0);
    struct cshm_message one = lease(queue, 1, 0);
    CHECK(leased(queue) == 2 && cshm_queue_count(queue) == 2);
    cshm_queue_return(queue, &zero);
    zero = lease(queue, 0, 1); /* before what is still in the queue */
    cshm_queue_release(queue, &zero);
    cshm_queue_return(queue, &one);
    CHECK_EQ(cshm_queue_try_take(queue, &taken), 0); /* a plain take gets it as well */
    CHECK(*(uint64_t *)taken.data == 1 && taken.redelivered == 1);
    CHECK_EQ(leased(queue), 0);
    cshm_queue_return(queue, &taken); /* and may give it back */
    one = lease(queue, 1, 1);
    cshm_queue_release(queue, &one);
    struct cshm_message two = lease(queue, 2, 0);
    cshm_queue_release(queue, &two);
    CHECK_EQ(leased(queue), 0);
    cshm_queue_destroy(queue);
    cshm_region_close(region);
}

/* Full is what a put of one element is refused for: what waits aside counts, but takes no room. */
static void full(void)
{
    cshm_region *region = make_region(4u << 20);
    for (uint32_t pack = 1; pack <= 4; pack += 3) {
        uint64_t offset = 0;
        struct cshm_queue_options options = {
            .capacity = 3, .slot_size = 16, .pack = pack, .ports = 8};
        cshm_queue *queue = make_queue(region, options, &offset);
        uint64_t value = 7;
        for (uint64_t i = 0; i < 3; i++) {
            CHECK(!cshm_queue_is_full(queue));
            put(queue, i);
        }
        CHECK(cshm_queue_is_full(queue));
        CHECK_EQ(cshm_queue_try_put(queue, &value, 8), -EAGAIN);
        struct cshm_message zero = lease(queue, 0, 0);
        CHECK(!cshm_queue_is_full(queue));
        cshm_queue_return(queue, &zero);
        CHECK(cshm_queue_count(queue) == 3 && !cshm_queue_is_full(queue));
        put(queue, 3);
        CHECK(cshm_queue_count(queue) == 4 && cshm_queue_is_full(queue));
        CHECK_EQ(cshm_queue_try_put(queue, &value, 8), -EAGAIN);
        zero = lease(queue, 0, 1);
        CHECK(cshm_queue_is_full(queue));
        cshm_queue_release(queue, &zero);
        CHECK(cshm_queue_count(queue) == 3 && cshm_queue_is_full(queue));
        struct cshm_message one = lease(queue, 1, 0);
        cshm_queue_release(queue, &one);
        CHECK(!cshm_queue_is_full(queue));
        cshm_queue_destroy(queue);
    }
    cshm_region_close(region);
}

/* Leases of parts of a pack: each element once, in order, the rest for others. */
static void divided(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    cshm_queue *queue = make_queue(region, SMALL, &offset);
    uint64_t before = blocks_in_use(region);
    uint64_t values[32];
    for (uint64_t i = 0; i < 32; i++) {
        values[i] = i;
    }
    CHECK_EQ(cshm_queue_try_put_many(queue, values, 8, 32), 32);
    struct cshm_message first = lease(queue, 0, 0);
    struct cshm_message second = lease(queue, 1, 0);
    CHECK_EQ(leased(queue), 3); /* and the rest */
    CHECK_EQ(cshm_queue_count(queue), 30);
    struct cshm_message taken;
    CHECK_EQ(cshm_queue_try_take(queue, &taken), 0);
    CHECK_EQ(*(uint64_t *)taken.data, 2);
    cshm_queue_release(queue, &taken);
    cshm_queue_return(queue, &first);
    first = lease(queue, 0, 1); /* before the rest of its pack */
    cshm_queue_return(queue, &first);
    uint64_t sum = 0;
    uint64_t count = 0;
    while (cshm_queue_try_lease(queue, 5, &taken) == 0) {
        CHECK(taken.count <= 5);
        for (uint32_t i = 0; i < taken.count; i++) {
            sum += ((uint64_t *)taken.data)[i];
        }
        count += taken.count;
        cshm_queue_release(queue, &taken);
    }
    CHECK_EQ(count, 32 - 2);
    CHECK_EQ(sum, 31 * 32 / 2 - 1 - 2);
    cshm_queue_release(queue, &second);
    CHECK_EQ(leased(queue), 0);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_queue_destroy(queue);
    cshm_region_close(region);
}

struct shared {
    uint64_t offset;
    _Atomic uint32_t ready;
    uint64_t ticket;
};

static cshm_queue *open_queue(cshm_region *region, struct shared *shared)
{
    cshm_queue *queue = NULL;
    CHECK_EQ(cshm_queue_open(region, shared->offset, TAG, &queue), 0);
    return queue;
}

static void lease_and_stay(cshm_region *region, void *context)
{
    struct shared *shared = context;
    struct cshm_message message;
    CHECK_EQ(cshm_queue_lease_until(open_queue(region, shared), 1, &message, after(20 * SECOND)),
             0);
    atomic_fetch_add(&shared->ready, 1);
    pause();
}

static void lease_of_killed(void)
{
    cshm_region *region = make_region(4u << 20);
    struct shared *shared = shared_memory(sizeof *shared);
    cshm_queue *queue = make_queue(region, SMALL, &shared->offset);
    static uint8_t bytes[5000] = {7};
    uint64_t before = blocks_in_use(region);
    for (uint32_t round = 0; round < 20; round++) {
        pid_t children[3];
        uint64_t values[3] = {3, 4, 5};
        CHECK_EQ(cshm_queue_try_put(queue, bytes, sizeof bytes), 0);
        if (round % 2 == 0) {
            CHECK_EQ(cshm_queue_try_put_many(queue, values, 8, 3), 3);
        }
        for (uint32_t i = 0; i < 3; i++) {
            children[i] = spawn(region, lease_and_stay, shared);
            if (round % 2 == 0 || i == 0) {
                wait_until_set(&shared->ready, i + 1);
            }
        }
        for (uint32_t i = 0; i < 3; i++) {
            kill_child(children[i]);
        }
        atomic_store(&shared->ready,
                     0); /* only now: who waited may lease what was a killed one's */
        struct cshm_message message;
        uint64_t seen = 0;
        for (uint32_t i = 0; i < (round % 2 == 0 ? 4 : 1); i++) {
            CHECK_EQ(cshm_queue_lease_until(queue, 1, &message, after(20 * SECOND)), 0);
            CHECK(message.length == 8 || memcmp(message.data, bytes, sizeof bytes) == 0);
            seen |= 1ull << (message.length == 8 ? *(uint64_t *)message.data : 0);
            CHECK(message.redelivered == 1 || *(uint64_t *)message.data == 5);
            cshm_queue_release(queue, &message);
        }
        CHECK_EQ(seen, round % 2 == 0 ? 0x39 : 1);
        CHECK_EQ(cshm_queue_try_lease(queue, 1, &message), -EAGAIN);
        CHECK(leased(queue) == 0 && blocks_in_use(region) == before);
    }
    cshm_queue_close(queue);
    cshm_region_close(region);
}

/* A stopped consumer keeps what it has leased, and delays nobody. */
static void lease_of_stopped_process(void)
{
    cshm_region *region = make_region(4u << 20);
    struct shared *shared = shared_memory(sizeof *shared);
    cshm_queue *queue = make_queue(region, SMALL, &shared->offset);
    struct cshm_message message;
    put(queue, 1);
    pid_t child = spawn(region, lease_and_stay, shared);
    wait_until_set(&shared->ready, 1);
    stop_child(child);
    for (uint64_t i = 0; i < 1000; i++) {
        put(queue, i);
        message = lease(queue, i, 0);
        cshm_queue_release(queue, &message);
    }
    cshm_queue_finish(queue);
    CHECK_EQ(cshm_queue_lease_until(queue, 1, &message, after(60 * MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(cshm_queue_join_until(queue, after(MILLISECOND)), -ETIMEDOUT);
    struct cshm_waitable joined;
    cshm_queue_joined(queue, &joined);
    CHECK_EQ(cshm_queue_try_join(queue), -EAGAIN);
    CHECK_EQ(joined.is_ready(joined.object), 0);
    kill_child(child);
    message = lease(queue, 1, 1);
    cshm_queue_release(queue, &message);
    CHECK_EQ(cshm_queue_lease_until(queue, 1, &message, after(20 * SECOND)), -EPIPE);
    CHECK_EQ(cshm_queue_join_until(queue, after(20 * SECOND)), 0);
    CHECK_EQ(cshm_queue_try_join(queue), 0);
    CHECK_EQ(joined.is_ready(joined.object), 1);
    cshm_queue_close(queue);
    cshm_region_close(region);
}

/* ---- the end ---- */

static void finish(void)
{
    cshm_region *region = make_region(4u << 20);
    for (uint64_t filled = 0; filled <= 64; filled += 32) {
        uint64_t offset = 0;
        cshm_queue *queue = make_queue(region, SMALL, &offset);
        struct cshm_message message;
        struct cshm_message claimed;
        CHECK_EQ(cshm_queue_claim(queue, 8, &claimed), 0);
        for (uint64_t i = 0; i < filled; i++) {
            put(queue, i);
        }
        cshm_queue_finish(queue);
        cshm_queue_finish(queue);
        CHECK_EQ(cshm_queue_try_put(queue, "x", 1), -EPIPE);
        CHECK_EQ(cshm_queue_put_until(queue, "x", 1, INT64_MAX), -EPIPE);
        CHECK_EQ(cshm_queue_try_commit(queue, &claimed), -EPIPE);
        cshm_queue_abort(queue, &claimed);
        for (uint64_t i = 0; i < filled; i++) {
            CHECK_EQ(cshm_queue_count(queue), filled - i);
            CHECK_EQ(cshm_queue_take_until(queue, &message, INT64_MAX), 0);
            CHECK_EQ(*(uint64_t *)message.data, i);
            cshm_queue_release(queue, &message);
        }
        CHECK_EQ(cshm_queue_take_until(queue, &message, INT64_MAX), -EPIPE);
        CHECK_EQ(cshm_queue_try_take(queue, &message), -EPIPE);
        CHECK_EQ(cshm_queue_try_put(queue, "x", 1), -EPIPE);
        cshm_queue_cancel(queue);
        CHECK_EQ(cshm_queue_try_take(queue, &message), -ECANCELED);
        CHECK_EQ(cshm_queue_try_put(queue, "x", 1), -ECANCELED);
        CHECK_EQ(cshm_queue_join_until(queue, INT64_MAX), -ECANCELED);
        cshm_queue_destroy(queue);
    }
    cshm_region_close(region);
}

enum { RACERS = 4, ROUNDS = 300 };

struct race {
    uint64_t offset[ROUNDS];
    _Atomic uint32_t at[ROUNDS];
    _Atomic uint32_t acknowledged[ROUNDS];
    _Atomic uint32_t taken[ROUNDS];
};

static void meet(_Atomic uint32_t *at)
{
    atomic_fetch_add(at, 1);
    while (atomic_load(at) < RACERS) {
        sched_yield();
    }
}

/* Two put, one finishes after a while, one takes: what was acknowledged is taken before the end. */
static void put_until_the_end(cshm_region *region, void *context)
{
    struct race *race = context;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        cshm_queue *queue = NULL;
        uint64_t value = i;
        CHECK_EQ(cshm_queue_open(region, race->offset[i], TAG, &queue), 0);
        meet(&race->at[i]);
        while (cshm_queue_put_until(queue, &value, 8, INT64_MAX) == 0) {
            atomic_fetch_add(&race->acknowledged[i], 1);
        }
        CHECK_EQ(cshm_queue_try_put(queue, &value, 8), -EPIPE);
        cshm_queue_close(queue);
    }
}

static void take_until_the_end(cshm_region *region, void *context)
{
    struct race *race = context;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        cshm_queue *queue = NULL;
        struct cshm_message message;
        int status;
        CHECK_EQ(cshm_queue_open(region, race->offset[i], TAG, &queue), 0);
        meet(&race->at[i]);
        while ((status = cshm_queue_take_until(queue, &message, INT64_MAX)) == 0) {
            atomic_fetch_add(&race->taken[i], 1);
            cshm_queue_release(queue, &message);
        }
        CHECK_EQ(status, -EPIPE);
        cshm_queue_close(queue);
    }
}

static void finish_between_processes(void)
{
    cshm_region *region = make_region(64u << 20);
    struct race *race = shared_memory(sizeof *race);
    struct cshm_queue_options options = {.capacity = 4, .slot_size = 8, .ports = 8};
    cshm_queue *queues[ROUNDS];
    uint64_t random = make_seed();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        queues[i] = make_queue(region, options, &race->offset[i]);
    }
    pid_t children[3] = {spawn(region, put_until_the_end, race),
                         spawn(region, put_until_the_end, race),
                         spawn(region, take_until_the_end, race)};
    for (uint32_t i = 0; i < ROUNDS; i++) {
        meet(&race->at[i]);
        int64_t end = after((int64_t)(next_random(&random) % 200000));
        while (cshm_now_ns() < end) {
        }
        cshm_queue_finish(queues[i]);
    }
    for (int i = 0; i < 3; i++) {
        expect_success(children[i]);
    }
    for (uint32_t i = 0; i < ROUNDS; i++) {
        CHECK_EQ(race->taken[i], race->acknowledged[i]);
        cshm_queue_close(queues[i]);
    }
    cshm_region_close(region);
}

/* ---- producer tokens ---- */

static void tokens(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    cshm_queue *queue = make_queue(region, SMALL, &offset);
    uint32_t numbers[9];
    uint64_t ticket = 0;
    struct cshm_message message;
    for (int i = 0; i < 7; i++) {
        CHECK_EQ(cshm_queue_producer_open(queue, &numbers[i]), 0);
    }
    CHECK_EQ(cshm_queue_producer_send(queue, &ticket), 0);
    CHECK_EQ(cshm_queue_producer_open(queue, &numbers[8]), -EUSERS);
    CHECK_EQ(cshm_queue_producer_receive(queue, ticket ^ (1ull << 32), &numbers[7]), -ENOENT);
    CHECK_EQ(cshm_queue_producer_receive(queue, UINT64_MAX, &numbers[7]), -ENOENT);
    CHECK_EQ(cshm_queue_producer_receive(queue, 0, &numbers[7]), -ENOENT);
    CHECK_EQ(cshm_queue_producer_receive(queue, ticket, &numbers[7]), 0);
    CHECK_EQ(cshm_queue_producer_receive(queue, ticket, &numbers[8]), -ENOENT);
    put(queue, 5);
    for (int i = 0; i < 8; i++) {
        CHECK(i == 7 || cshm_queue_try_put(queue, "y", 1) == 0);
        cshm_queue_producer_close(queue, numbers[i]);
    }
    CHECK_EQ(cshm_queue_try_put(queue, "x", 1), -EPIPE);
    CHECK_EQ(cshm_queue_producer_open(queue, &numbers[0]), -EPIPE);
    CHECK_EQ(cshm_queue_producer_send(queue, &ticket), -EPIPE);
    for (int i = 0; i < 8; i++) {
        CHECK_EQ(cshm_queue_try_take(queue, &message), 0);
        cshm_queue_release(queue, &message);
    }
    CHECK_EQ(cshm_queue_take_until(queue, &message, INT64_MAX), -EPIPE);
    cshm_queue_close(queue);
    cshm_region_close(region);
}

static void produce_and_stay(cshm_region *region, void *context)
{
    struct shared *shared = context;
    cshm_queue *queue = open_queue(region, shared);
    uint32_t token = 0;
    CHECK_EQ(cshm_queue_producer_open(queue, &token), 0);
    CHECK_EQ(cshm_queue_producer_send(queue, &shared->ticket), 0);
    put(queue, 9);
    atomic_fetch_add(&shared->ready, 1);
    pause();
}

static void tokens_of_killed(void)
{
    cshm_region *region = make_region(4u << 20);
    struct shared *shared = shared_memory(sizeof *shared);
    cshm_queue *queue = make_queue(region, SMALL, &shared->offset);
    struct cshm_message message;
    uint32_t token = 0;
    pid_t first = spawn(region, produce_and_stay, shared);
    wait_until_set(&shared->ready, 1);
    uint64_t ticket = shared->ticket;
    pid_t second = spawn(region, produce_and_stay, shared);
    wait_until_set(&shared->ready, 2);
    CHECK_EQ(cshm_queue_producer_receive(queue, shared->ticket, &token), 0);
    kill_child(first);
    kill_child(second);
    /* Sent by a dead process: it does not count, nor can it be had. */
    CHECK_EQ(cshm_queue_producer_receive(queue, ticket, &token), -ENOENT);
    for (int i = 0; i < 2; i++) {
        message = lease(queue, 9, 0);
        cshm_queue_release(queue, &message);
    }
    CHECK_EQ(cshm_queue_take_until(queue, &message, after(60 * MILLISECOND)), -ETIMEDOUT);
    pid_t child = fork(); /* the received one is this process's, whose child has none of it */
    if (child == 0) {
        _exit(0);
    }
    expect_success(child);
    CHECK_EQ(cshm_queue_try_put(queue, "x", 1), 0);
    CHECK_EQ(cshm_queue_try_take(queue, &message), 0);
    cshm_queue_release(queue, &message);
    cshm_queue_producer_close(queue, token);
    CHECK_EQ(cshm_queue_take_until(queue, &message, INT64_MAX), -EPIPE);
    cshm_queue_close(queue);
    cshm_region_close(region);
}

static void last_producer_killed(void)
{
    cshm_region *region = make_region(4u << 20);
    struct shared *shared = shared_memory(sizeof *shared);
    cshm_queue *queue = make_queue(region, SMALL, &shared->offset);
    struct cshm_message message;
    pid_t child = spawn(region, produce_and_stay, shared);
    wait_until_set(&shared->ready, 1);
    message = lease(queue, 9, 0);
    cshm_queue_release(queue, &message);
    kill_child(child);
    CHECK_EQ(cshm_queue_take_until(queue, &message, INT64_MAX), -EPIPE);
    CHECK_EQ(cshm_queue_try_put(queue, "x", 1), -EPIPE);
    cshm_queue_close(queue);
    cshm_region_close(region);
}

/* ---- bells ---- */

static void put_later(cshm_region *region, void *context)
{
    cshm_queue *queue = open_queue(region, context);
    for (uint64_t i = 0; i < 200; i++) {
        CHECK_EQ(cshm_queue_put_until(queue, &i, 8, after(20 * SECOND)), 0);
        usleep(100);
    }
    cshm_queue_close(queue);
}

static void bells(void)
{
    cshm_region *region = make_region(4u << 20);
    struct shared *shared = shared_memory(sizeof *shared);
    cshm_queue *queue = make_queue(region, SMALL, &shared->offset);
    struct shared *other = shared_memory(sizeof *other);
    cshm_queue *silent = make_queue(region, SMALL, &other->offset);
    struct cshm_waitable waitables[2];
    struct cshm_waitable room;
    struct cshm_message message;
    cshm_queue_items(silent, &waitables[0]);
    cshm_queue_items(queue, &waitables[1]);
    cshm_queue_room(queue, &room);
    CHECK_EQ(cshm_wait_any(waitables, 2, after(MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(cshm_wait_any(&room, 1, INT64_MAX), 0);
    pid_t child = spawn(region, put_later, shared);
    for (uint64_t i = 0; i < 200;) {
        CHECK_EQ(cshm_wait_any(waitables, 2, after(20 * SECOND)), 1);
        for (; cshm_queue_try_lease(queue, 1, &message) == 0; i++) {
            CHECK_EQ(*(uint64_t *)message.data, i);
            cshm_queue_release(queue, &message);
        }
    }
    expect_success(child);
    put(queue, 5);
    message = lease(queue, 5, 0);
    CHECK_EQ(cshm_wait_any(waitables, 2, after(MILLISECOND)), -ETIMEDOUT);
    cshm_queue_return(queue, &message);
    CHECK_EQ(cshm_wait_any(waitables, 2, INT64_MAX), 1);
    message = lease(queue, 5, 1);
    CHECK_EQ(waitables[1].is_ready(queue), 0); /* and not once more */
    cshm_queue_release(queue, &message);
    CHECK_EQ(waitables[1].is_ready(queue), 0);
    cshm_queue_finish(silent);
    CHECK_EQ(cshm_wait_any(waitables, 2, INT64_MAX), 0);
    cshm_queue_close(queue);
    cshm_queue_close(silent);
    cshm_region_close(region);
}

/* ---- join ---- */

static void work(cshm_region *region, void *context)
{
    struct shared *shared = context;
    cshm_queue *queue = open_queue(region, shared);
    struct cshm_message message;
    int status;
    while ((status = cshm_queue_lease_until(queue, 1, &message, INT64_MAX)) == 0) {
        usleep(100);
        atomic_fetch_add(&shared->ready, 1);
        cshm_queue_release(queue, &message);
    }
    CHECK_EQ(status, -EPIPE);
    cshm_queue_close(queue);
}

static void join(void)
{
    cshm_region *region = make_region(4u << 20);
    struct shared *shared = shared_memory(sizeof *shared);
    cshm_queue *queue = make_queue(region, SMALL, &shared->offset);
    CHECK_EQ(cshm_queue_join_until(queue, 0), 0);
    pid_t children[2] = {spawn(region, work, shared), spawn(region, work, shared)};
    for (uint64_t round = 1; round <= 20; round++) {
        uint64_t values[30] = {0};
        CHECK_EQ(cshm_queue_put_many_until(queue, values, 8, 30, after(20 * SECOND)), 30);
        CHECK_EQ(cshm_queue_join_until(queue, after(20 * SECOND)), 0);
        CHECK_EQ(atomic_load(&shared->ready), 30 * round);
    }
    cshm_queue_finish(queue);
    for (int i = 0; i < 2; i++) {
        expect_success(children[i]);
    }
    cshm_queue_close(queue);
    cshm_region_close(region);
}

const struct test queue_lease_tests[] = {
    {"gives_back_what_is_returned_before_all_else", returned},
    {"is_full_when_a_put_is_refused_whatever_waits_aside", full},
    {"divides_a_pack_and_delivers_each_element", divided},
    {"delivers_again_what_the_killed_had_leased", lease_of_killed},
    {"waits_for_a_stopped_process_to_release_before_it_ends", lease_of_stopped_process},
    {"ends_when_finished_and_empty", finish},
    {"finish_loses_nothing_acknowledged_between_processes", finish_between_processes},
    {"ends_with_the_last_producer_token", tokens},
    {"tokens_of_killed_producers_do_not_count", tokens_of_killed},
    {"ends_when_the_last_producer_is_killed", last_producer_killed},
    {"rings_for_what_another_process_puts_and_for_what_is_returned", bells},
    {"joins_when_all_is_done_in_every_process", join},
    {NULL, NULL},
};
