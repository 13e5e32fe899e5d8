/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The checker of histories on histories made by hand, good and bad; then queues under SIGKILL
 * and SIGSTOP, many short histories of each.
 */
#include "history_actors.h"

#include <cshm/queue.h>

extern const struct test history_tests[];

/* ---- by hand ---- */

/* One operation: its process, what it was, from when to when. */
struct line {
    int32_t process;
    int32_t kind;
    int32_t value;
    int32_t result;
    uint64_t from;
    uint64_t to;
};

enum { LINES = 8 };

struct example {
    const char *name;
    bool good;
    struct line line[LINES];
};

static const struct example queues[] = {
    {"one after the other", true, {{0, PUT, 1, DONE, 1, 2}, {0, TAKE, 0, 1, 3, 4}}},
    {"a take before its put returned", true, {{0, PUT, 1, DONE, 1, 4}, {1, TAKE, 0, 1, 2, 3}}},
    {"a take before its put was called", false, {{0, PUT, 1, DONE, 3, 4}, {1, TAKE, 0, 1, 1, 2}}},
    {"a value from nowhere", false, {{0, PUT, 1, DONE, 1, 2}, {0, TAKE, 0, 2, 3, 4}}},
    {"taken twice", false, {{0, PUT, 1, DONE, 1, 2}, {0, TAKE, 0, 1, 3, 6}, {1, TAKE, 0, 1, 4, 5}}},
    {"overlapping puts in either order",
     true,
     {{0, PUT, 1, DONE, 1, 4},
      {1, PUT, 2, DONE, 2, 3},
      {0, TAKE, 0, 1, 5, 6},
      {0, TAKE, 0, 2, 7, 8}}},
    {"puts one after the other, taken in the other order",
     false,
     {{0, PUT, 1, DONE, 1, 2},
      {1, PUT, 2, DONE, 3, 4},
      {0, TAKE, 0, 2, 5, 6},
      {0, TAKE, 0, 1, 7, 8}}},
    {"empty, though something was in it all the time",
     false,
     {{0, PUT, 1, DONE, 1, 2}, {1, TAKE, 0, IS_EMPTY, 3, 4}, {0, TAKE, 0, 1, 5, 6}}},
    {"empty beside a put", true, {{0, PUT, 1, DONE, 1, 4}, {1, TAKE, 0, IS_EMPTY, 2, 3}}},
    {"empty while one overlaps the next, never at once",
     false,
     {{0, PUT, 1, DONE, 1, 2},
      {0, PUT, 2, DONE, 4, 5},
      {1, TAKE, 0, 1, 6, 7},
      {2, TAKE, 0, IS_EMPTY, 3, 8},
      {1, TAKE, 0, 2, 9, 10}}},
    {"full at two",
     true,
     {{0, PUT, 1, DONE, 1, 2}, {0, PUT, 2, DONE, 3, 4}, {0, PUT, 3, IS_FULL, 5, 6}}},
    {"full at one", false, {{0, PUT, 1, DONE, 1, 2}, {0, PUT, 3, IS_FULL, 5, 6}}},
    {"three in a queue of two",
     false,
     {{0, PUT, 1, DONE, 1, 2}, {0, PUT, 2, DONE, 3, 4}, {0, PUT, 3, DONE, 5, 6}}},
    {"full, but one was taken before",
     false,
     {{0, PUT, 1, DONE, 1, 2},
      {0, PUT, 2, DONE, 3, 4},
      {1, TAKE, 0, 1, 5, 6},
      {0, PUT, 3, IS_FULL, 7, 8}}},
    {"lost without a death", false, {{0, PUT, 1, DONE, 1, 2}, {0, TAKE, 0, IS_EMPTY, 3, 4}}},
    {"lost with a killed taker",
     true,
     {{0, PUT, 1, DONE, 1, 2}, {1, TAKE, 0, UNKNOWN, 3, 6}, {0, TAKE, 0, IS_EMPTY, 4, 5}}},
    {"not taken by a killed taker",
     true,
     {{0, PUT, 1, DONE, 1, 2}, {1, TAKE, 0, UNKNOWN, 3, 6}, {0, TAKE, 0, 1, 7, 8}}},
    {"lost with a taker that was killed before",
     false,
     {{1, TAKE, 0, UNKNOWN, 1, 2}, {0, PUT, 1, DONE, 3, 4}, {0, TAKE, 0, IS_EMPTY, 5, 6}}},
    {"two lost with one killed taker",
     false,
     {{0, PUT, 1, DONE, 1, 2},
      {0, PUT, 2, DONE, 3, 4},
      {1, TAKE, 0, UNKNOWN, 5, 6},
      {0, TAKE, 0, IS_EMPTY, 7, 8}}},
    {"a killed taker takes the first, not the second",
     false,
     {{0, PUT, 1, DONE, 1, 2},
      {0, PUT, 2, DONE, 3, 4},
      {1, TAKE, 0, UNKNOWN, 5, 6},
      {0, TAKE, 0, 1, 7, 8},
      {0, TAKE, 0, IS_EMPTY, 9, 10}}},
    {"put by one that was killed", true, {{0, PUT, 1, UNKNOWN, 1, 2}, {1, TAKE, 0, 1, 3, 4}}},
    {"not put by one that was killed",
     true,
     {{0, PUT, 1, UNKNOWN, 1, 2}, {1, TAKE, 0, IS_EMPTY, 3, 4}}},
    {"counted beside a put",
     true,
     {{0, PUT, 1, DONE, 1, 2}, {0, PUT, 2, DONE, 3, 6}, {1, COUNT, 0, 1, 4, 5}}},
    {"counted after a put", false, {{0, PUT, 1, DONE, 1, 2}, {1, COUNT, 0, 0, 3, 4}}},
    {"counted with one that was taken before",
     false,
     {{0, PUT, 1, DONE, 1, 2},
      {0, TAKE, 0, 1, 4, 5},
      {0, PUT, 2, DONE, 6, 7},
      {1, COUNT, 0, 2, 3, 8}}},
    {"filled before its last put",
     false,
     {{0, PUT, 1, DONE, 1, 2}, {1, FILLED, 0, IS_FULL, 3, 4}, {0, PUT, 2, DONE, 5, 6}}},
    {"not filled, though it was all the time",
     false,
     {{0, PUT, 1, DONE, 1, 2}, {0, PUT, 2, DONE, 3, 4}, {1, FILLED, 0, DONE, 5, 6}}},
    {"put after its putter was reaped",
     false,
     {{0, PUT, 1, UNKNOWN, 1, 2}, {1, TAKE, 0, IS_EMPTY, 3, 4}, {1, TAKE, 0, 1, 5, 6}}},
};

static const struct example counters[] = {
    {"counts", true, {{0, ADD, 0, 1, 1, 2}, {1, ADD, 0, 2, 3, 4}}},
    {"overlapping", true, {{0, ADD, 0, 2, 1, 4}, {1, ADD, 0, 1, 2, 3}}},
    {"a lost update", false, {{0, ADD, 0, 1, 1, 4}, {1, ADD, 0, 1, 2, 3}}},
    {"a later one first", false, {{0, ADD, 0, 2, 1, 2}, {1, ADD, 0, 1, 3, 4}}},
    {"one more by a killed one", true, {{0, ADD, 0, UNKNOWN, 1, 2}, {1, ADD, 0, 2, 3, 4}}},
    {"two more by a killed one", false, {{0, ADD, 0, UNKNOWN, 1, 2}, {1, ADD, 0, 3, 3, 4}}},
};

static void judge(const struct example *example, const struct object *object)
{
    struct history *history = make_history();
    struct operation culprit;
    atomic_store(&history->logs, 3);
    for (const struct line *line = example->line; line < example->line + LINES; line++) {
        if (line->kind != 0) {
            struct history_log *log = &history->log[line->process];
            struct operation *operation = &log->operation[log->count++];
            operation->kind = line->kind;
            operation->value = line->value;
            operation->process = (uint32_t)line->process;
            operation->result = line->result;
            operation->called = line->from;
            operation->returned = line->to;
        }
    }
    if (history_is_linearizable(history, object, &culprit) != example->good) {
        fprintf(stderr, "misjudged: %s\n", example->name);
        exit(1);
    }
    forget(history);
}

/* 5 stands for the pack {1}, 11 for {2, 3, 4}. */
static const struct example packs[] = {
    {"a pack in parts",
     true,
     {{0, PUT, 11, DONE, 1, 2},
      {0, TAKE, 0, 2, 3, 4},
      {1, TAKE_PACK, 0, 14, 5, 6},
      {1, TAKE, 0, IS_EMPTY, 7, 8}}},
    {"a pack and a part of the next",
     false,
     {{0, PUT, 5, DONE, 1, 2}, {0, PUT, 11, DONE, 3, 4}, {0, TAKE_PACK, 0, 6, 5, 6}}},
    {"half a pack put",
     false,
     {{0, PUT, 11, UNKNOWN, 1, 2}, {0, TAKE, 0, 2, 3, 4}, {0, TAKE, 0, IS_EMPTY, 5, 6}}},
    {"a pack that does not fit", true, {{0, PUT, 11, DONE, 1, 2}, {0, PUT, 11, IS_FULL, 3, 4}}},
    {"a pack that would fit", false, {{0, PUT, 5, DONE, 1, 2}, {0, PUT, 11, IS_FULL, 3, 4}}},
};

static const struct example leases[] = {
    {"leased, released",
     true,
     {{0, PUT, 5, DONE, 1, 2},
      {0, LEASE, 0, 5, 3, 4},
      {0, RELEASE, 0, DONE, 5, 6},
      {0, DRAINED, 0, DONE, 7, 8}}},
    {"drained beside a lease",
     false,
     {{0, PUT, 5, DONE, 1, 2}, {0, LEASE, 0, 5, 3, 4}, {1, DRAINED, 0, DONE, 5, 6}}},
    {"delivered again after a death",
     true,
     {{0, PUT, 5, DONE, 1, 2},
      {1, LEASE, 0, 5, 3, 4},
      {1, DIE, 0, DONE, 5, 8},
      {0, LEASE, 0, 5 | REDELIVERED, 6, 7}}},
    {"delivered again before the death",
     false,
     {{0, PUT, 5, DONE, 1, 2},
      {1, LEASE, 0, 5, 3, 4},
      {0, LEASE, 0, 5 | REDELIVERED, 5, 6},
      {1, DIE, 0, DONE, 7, 8}}},
    {"delivered again after its release",
     false,
     {{0, PUT, 5, DONE, 1, 2},
      {1, LEASE, 0, 5, 3, 4},
      {1, RELEASE, 0, DONE, 5, 6},
      {1, DIE, 0, DONE, 7, 8},
      {0, LEASE, 0, 5 | REDELIVERED, 9, 10}}},
    {"released, or not, by one that was killed",
     true,
     {{0, PUT, 5, DONE, 1, 2},
      {1, LEASE, 0, 5, 3, 4},
      {1, RELEASE, 0, UNKNOWN, 5, 6},
      {1, DIE, 0, DONE, 6, 7},
      {0, LEASE, 0, 5 | REDELIVERED, 9, 10}}},
    {"lost with a killed leaser",
     false,
     {{0, PUT, 5, DONE, 1, 2}, {1, LEASE, 0, UNKNOWN, 3, 4}, {0, DRAINED, 0, DONE, 5, 6}}},
    {"not marked as delivered again",
     false,
     {{0, PUT, 5, DONE, 1, 2},
      {1, LEASE, 0, 5, 3, 4},
      {1, RETURN, 0, DONE, 5, 6},
      {0, LEASE, 0, 5, 7, 8}}},
};

static const struct example locks[] = {
    {"one after the other",
     true,
     {{0, ACQUIRE, 0, DONE, 1, 2}, {0, RELEASE, 0, DONE, 3, 4}, {1, ACQUIRE, 0, DONE, 5, 6}}},
    {"two at a time", false, {{0, ACQUIRE, 0, DONE, 1, 2}, {1, ACQUIRE, 0, DONE, 3, 4}}},
    {"inherited from the dead",
     true,
     {{0, ACQUIRE, 0, DONE, 1, 2}, {0, DIE, 0, DONE, 3, 4}, {1, ACQUIRE, 0, INHERITED, 5, 6}}},
    {"the dead one is not told of",
     false,
     {{0, ACQUIRE, 0, DONE, 1, 2}, {0, DIE, 0, DONE, 3, 4}, {1, ACQUIRE, 0, DONE, 5, 6}}},
    {"inherited from nobody", false, {{0, ACQUIRE, 0, INHERITED, 1, 2}}},
    {"refused, though it is free", false, {{0, ACQUIRE, 0, IS_EMPTY, 1, 2}}},
    {"acquired, or not, by one that was killed",
     true,
     {{0, ACQUIRE, 0, UNKNOWN, 1, 2}, {0, DIE, 0, DONE, 1, 3}, {1, ACQUIRE, 0, INHERITED, 4, 5}}},
};

static const struct example semaphores[] = {
    {"up and down", true, {{0, RELEASE, 2, DONE, 1, 2}, {1, ACQUIRE, 0, DONE, 3, 4}}},
    {"a unit from nowhere", false, {{0, ACQUIRE, 0, DONE, 1, 2}}},
    {"none, beside a release",
     true,
     {{0, RELEASE, 1, DONE, 1, 4}, {1, ACQUIRE, 0, IS_EMPTY, 2, 3}}},
    {"none, after a release",
     false,
     {{0, RELEASE, 1, DONE, 1, 2}, {1, ACQUIRE, 0, IS_EMPTY, 3, 4}}},
    {"beyond the bound", false, {{0, RELEASE, 2, DONE, 1, 2}, {0, RELEASE, 2, DONE, 3, 4}}},
    {"refused at the bound", true, {{0, RELEASE, 2, DONE, 1, 2}, {0, RELEASE, 1, IS_FULL, 3, 4}}},
    {"refused below the bound",
     false,
     {{0, RELEASE, 1, DONE, 1, 2}, {0, RELEASE, 1, IS_FULL, 3, 4}}},
};

static const struct example pools[] = {
    {"two of two",
     true,
     {{0, ACQUIRE, 0, DONE, 1, 2}, {1, ACQUIRE, 0, DONE, 3, 4}, {2, ACQUIRE, 0, IS_EMPTY, 5, 6}}},
    {"three of two",
     false,
     {{0, ACQUIRE, 0, DONE, 1, 2}, {1, ACQUIRE, 0, DONE, 3, 4}, {2, ACQUIRE, 0, DONE, 5, 6}}},
    {"given back by another", false, {{0, ACQUIRE, 0, DONE, 1, 2}, {1, RELEASE, 0, DONE, 3, 4}}},
    {"none, but the dead had one",
     false,
     {{0, ACQUIRE, 0, DONE, 1, 2},
      {1, ACQUIRE, 0, DONE, 3, 4},
      {0, DIE, 0, DONE, 5, 6},
      {2, ACQUIRE, 0, IS_EMPTY, 7, 8}}},
};

static void judges(void)
{
    int32_t two = 2;
    struct object queue = fifo_of(&two);
    struct object number = counter();
    int32_t four = 4;
    struct object packed = packs_of(&four);
    struct object leased = leases_of(&four);
    struct object mutex = lock();
    struct object signals = semaphore_of(&two);
    struct object pool = permits_of(&two);
    for (size_t i = 0; i < sizeof locks / sizeof locks[0]; i++) {
        judge(&locks[i], &mutex);
    }
    for (size_t i = 0; i < sizeof semaphores / sizeof semaphores[0]; i++) {
        judge(&semaphores[i], &signals);
    }
    for (size_t i = 0; i < sizeof pools / sizeof pools[0]; i++) {
        judge(&pools[i], &pool);
    }
    for (size_t i = 0; i < sizeof packs / sizeof packs[0]; i++) {
        judge(&packs[i], &packed);
    }
    for (size_t i = 0; i < sizeof leases / sizeof leases[0]; i++) {
        judge(&leases[i], &leased);
    }
    for (size_t i = 0; i < sizeof queues / sizeof queues[0]; i++) {
        judge(&queues[i], &queue);
    }
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        judge(&counters[i], &number);
    }
}

static const uint64_t TAG = 5;

/* ---- the queue ---- */

static void take_one(struct history *history, struct history_log *log, cshm_queue *queue)
{
    struct cshm_message message;
    struct operation *operation = history_call(history, log, TAKE, 0);
    int status = cshm_queue_try_take(queue, &message);
    CHECK(status == 0 || status == -EAGAIN);
    int32_t value = status == 0 ? *(int32_t *)message.data : IS_EMPTY;
    history_return(history, operation, value);
    if (status == 0) {
        cshm_queue_release(queue, &message);
    }
}

static void put_one(struct history *history, struct history_log *log, cshm_queue *queue,
                    int32_t value)
{
    struct operation *operation = history_call(history, log, PUT, value);
    int status = cshm_queue_try_put(queue, &value, sizeof value);
    CHECK(status == 0 || status == -EAGAIN);
    history_return(history, operation, status == 0 ? DONE : IS_FULL);
}

static void look_at(struct history *history, struct history_log *log, const cshm_queue *queue,
                    uint64_t random)
{
    struct operation *operation = history_call(history, log, random % 2 == 0 ? COUNT : FILLED, 0);
    int32_t result = operation->kind == COUNT         ? (int32_t)cshm_queue_count(queue)
                     : cshm_queue_is_full(queue) != 0 ? IS_FULL
                                                      : DONE;
    history_return(history, operation, result);
}

/* ---- with packs ---- */

static void put_pack(struct history *history, struct history_log *log, cshm_queue *queue,
                     int32_t first, int32_t count)
{
    struct cshm_message message;
    struct operation *operation = history_call(history, log, PUT, pack_of(first, count));
    CHECK_EQ(cshm_queue_claim_many(queue, sizeof first, (uint32_t)count, &message), 0);
    for (int32_t i = 0; i < count; i++) {
        ((int32_t *)message.data)[i] = first + i;
    }
    int status = cshm_queue_try_commit(queue, &message);
    CHECK(status == 0 || status == -EAGAIN);
    history_return(history, operation, status == 0 ? DONE : IS_FULL);
    if (status != 0) {
        cshm_queue_abort(queue, &message);
    }
}

/* The elements of a message, which follow each other. */
static int32_t read_pack(const struct cshm_message *message)
{
    const int32_t *element = message->data;
    CHECK_EQ(message->length, sizeof *element);
    for (uint32_t i = 1; i < message->count; i++) {
        CHECK_EQ(element[i], element[0] + (int32_t)i);
    }
    return pack_of(element[0], (int32_t)message->count);
}

static void take_pack(struct history *history, struct history_log *log, cshm_queue *queue)
{
    struct cshm_message message;
    struct operation *operation = history_call(history, log, TAKE_PACK, 0);
    int status = cshm_queue_try_take_many(queue, PACK_MOST, &message);
    CHECK(status == 0 || status == -EAGAIN);
    history_return(history, operation, status == 0 ? read_pack(&message) : IS_EMPTY);
    if (status == 0) {
        cshm_queue_release(queue, &message);
    }
}

static void use_packs(struct history *history, struct history_log *log, cshm_queue *queue,
                      int32_t value, uint64_t *random)
{
    switch (next_random(random) % 8) {
    case 0:
    case 1:
        take_one(history, log, queue);
        break;
    case 2:
    case 3:
        take_pack(history, log, queue);
        break;
    case 4:
        look_at(history, log, queue, next_random(random));
        break;
    default:
        put_pack(history, log, queue, value, 1 + (int32_t)(next_random(random) % PACK_MOST));
    }
}

/* ---- with leases ---- */

static int try_lease(struct history *history, struct history_log *log, cshm_queue *queue,
                     struct cshm_message *message)
{
    struct operation *operation = history_call(history, log, LEASE, 0);
    int status = cshm_queue_try_lease(queue, PACK_MOST, message);
    CHECK(status == 0 || status == -EAGAIN);
    int32_t result = IS_EMPTY;
    if (status == 0) {
        result = read_pack(message) | (message->redelivered ? REDELIVERED : 0);
    }
    history_return(history, operation, result);
    return status;
}

static void end_lease(struct history *history, struct history_log *log, cshm_queue *queue,
                      struct cshm_message *message, int32_t kind)
{
    struct operation *operation = history_call(history, log, kind, 0);
    if (kind == RELEASE) {
        cshm_queue_release(queue, message);
    } else {
        cshm_queue_return(queue, message);
    }
    history_return(history, operation, DONE);
}

static void use_leases(struct history *history, struct history_log *log, cshm_queue *queue,
                       int32_t value, uint64_t *random)
{
    struct cshm_message message;
    if (next_random(random) % 2 == 0 || atomic_load(&log->count) > HISTORY_LENGTH - 4) {
        put_pack(history, log, queue, value, 1 + (int32_t)(next_random(random) % PACK_MOST));
    } else if (try_lease(history, log, queue, &message) == 0) {
        end_lease(history, log, queue, &message, next_random(random) % 8 == 0 ? RETURN : RELEASE);
    }
}

/* What is left is delivered at last, though the dead's leases are looked for only now and then. */
static void drain_leases(struct history *history, struct history_log *log, cshm_queue *queue)
{
    struct cshm_message message;
    struct cshm_queue_info info;
    int64_t end = after(20 * SECOND);
    do {
        CHECK(cshm_now_ns() < end);
        if (cshm_queue_lease_until(queue, PACK_MOST, &message, after(10 * MILLISECOND)) == 0) {
            struct operation *operation = history_call(history, log, LEASE, 0);
            history_return(history, operation,
                           read_pack(&message) | (message.redelivered ? REDELIVERED : 0));
            end_lease(history, log, queue, &message, RELEASE);
        }
        cshm_queue_describe(queue, &info);
    } while (info.count + info.leased != 0);
    struct operation *operation = history_call(history, log, DRAINED, 0);
    history_return(history, operation, DONE);
}

/* ---- all of them ---- */

static void use_singly(struct history *history, struct history_log *log, cshm_queue *queue,
                       int32_t value, uint64_t *random)
{
    uint64_t choice = next_random(random) % 8;
    if (choice < 2) {
        look_at(history, log, queue, choice);
    } else if (choice % 2 == 0) {
        put_one(history, log, queue, value);
    } else {
        take_one(history, log, queue);
    }
}

/* What is left comes out in order, and then it is empty; and as much can be put as before. */
static void drain_singly(struct history *history, struct history_log *log, cshm_queue *queue)
{
    for (uint64_t k = 0; k < cshm_queue_capacity(queue) + 1; k++) {
        take_one(history, log, queue);
    }
    for (uint64_t k = 0; k < cshm_queue_capacity(queue) + 1; k++) {
        put_one(history, log, queue, (int32_t)(1000000 + k));
    }
}

static void drain_packs(struct history *history, struct history_log *log, cshm_queue *queue)
{
    for (uint64_t k = 0; k < cshm_queue_capacity(queue) + 1; k++) {
        take_one(history, log, queue);
    }
    for (uint64_t k = 0; k < cshm_queue_capacity(queue) + 1; k++) {
        put_pack(history, log, queue, (int32_t)(1000000 + 4 * k), 1);
    }
}

/* How a queue is used, and what it should be like then. */
struct usage {
    uint32_t histories;
    uint32_t pack;
    bool has_deaths;
    int32_t least; /* capacity */
    struct object (*object)(const int32_t *capacity);
    void (*use)(struct history *history, struct history_log *log, cshm_queue *queue, int32_t value,
                uint64_t *random);
    void (*drain)(struct history *history, struct history_log *log, cshm_queue *queue);
};

static const struct usage *usage; /* of this test; forked children have it, too */

static void use_queue(cshm_region *region, void *context)
{
    struct scene *scene = context;
    struct history_log *log = &scene->history->log[scene->turn];
    uint64_t random = scene->seed;
    int32_t value = scene->turn * HISTORY_LENGTH * 4;
    cshm_queue *queue = NULL;
    CHECK_EQ(cshm_queue_open(region, scene->offset, TAG, &queue), 0);
    while (!history_is_full(log)) {
        value += 4;
        usage->use(scene->history, log, queue, value, &random);
    }
    wait_for_the_end();
}

static void queue_under_kills(const struct usage *how)
{
    cshm_region *region = make_region(64u << 20);
    uint64_t random = make_seed();
    struct tally tally = {0};
    usage = how;
    while (wants_more(&tally, how->histories)) {
        int32_t capacity = how->least << next_random(&random) % 3;
        struct cshm_queue_options options = {.capacity = (uint32_t)capacity,
                                             .slot_size = 16,
                                             .ports = 3 * ACTORS + 1 + tally.histories % DEATHS,
                                             .pack = how->pack,
                                             .type_tag = TAG};
        struct object object = how->object(&capacity);
        struct scene scene = {.history = make_history()};
        cshm_queue *queue = NULL;
        CHECK_EQ(cshm_queue_create(region, &options, &scene.offset), 0);
        CHECK_EQ(cshm_heap_share(region, scene.offset), 0);
        CHECK_EQ(cshm_queue_open(region, scene.offset, TAG, &queue), 0);
        scene.history->has_deaths = how->has_deaths;
        direct(region, &scene, use_queue, &random);
        how->drain(scene.history, &scene.history->log[atomic_fetch_add(&scene.history->logs, 1)],
                   queue);
        expect_linearizable(scene.history, &object);
        count(scene.history, &tally);
        cshm_queue_destroy(queue);
        forget(scene.history);
    }
    expect_enough(&tally);
    cshm_region_close(region);
}

static void elements_under_kills(void)
{
    static const struct usage singly = {HISTORIES, 1, false, 2, fifo_of, use_singly, drain_singly};
    queue_under_kills(&singly);
}

static void packs_under_kills(void)
{
    static const struct usage packed = {HISTORIES / 2, PACK_MOST, false,      3,
                                        packs_of,      use_packs, drain_packs};
    queue_under_kills(&packed);
}

static void leases_under_kills(void)
{
    static const struct usage leased = {HISTORIES / 2, PACK_MOST,  true,        3,
                                        leases_of,     use_leases, drain_leases};
    queue_under_kills(&leased);
}

const struct test history_tests[] = {
    {"tells_good_histories_from_bad_ones", judges},
    {"of_a_queue_whose_processes_are_killed_is_linearizable", elements_under_kills},
    {"of_packs_whose_processes_are_killed_is_linearizable", packs_under_kills},
    {"of_leases_whose_processes_are_killed_is_linearizable", leases_under_kills},
    {NULL, NULL},
};
