/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Ring: what was put is given in order, what was in flight wholly or not at all, a batch as one; what
 * was not released is given again; and every slot and block is used again.
 */
#include "kill.h"

#include <stdlib.h>

#include "layout.h"

extern const struct scenario ring_scenarios[];

enum {
    CAPACITY = 32,
    INLINE = 16,
    WINDOW = 16,
    VICTIMS = 1000, /* from this id on, messages are the victim's */
    OTHERS = 2000,  /* from this id on, whoever comes after */
    BATCH = 3,
    WAIT_NS = 2000000,
};

/* Each process has handles of its own. The survivor owns the role that the victim does not try. */
struct scene {
    cshm_ring *ring;
    uint64_t put; /* ids put by the survivor, from 1 on */
};

struct message {
    uint64_t id;
    uint64_t check;
    uint64_t filler[10]; /* only long ones have it */
};

static struct scene *scene_of(const struct world *world)
{
    return world->handle;
}

static cshm_ring *ring_of(const struct world *world)
{
    return scene_of(world)->ring;
}

/* In some scenes every message has the slot's size, which is this; each scenario is a process. */
static uint32_t plain_size;

/* Of the slot's size, shorter, or in a block. */
static uint64_t size_of(uint64_t id)
{
    if (plain_size != 0) {
        return plain_size;
    }
    switch (id % 4) {
    case 3:
        return sizeof(struct message);
    case 2:
        return 12;
    default:
        return INLINE;
    }
}

static struct message message_of(uint64_t id)
{
    struct message message = {.id = id, .check = id * 0x9e3779b97f4a7c15ull};
    for (uint32_t i = 0; i < 10; i++) {
        message.filler[i] = id + i;
    }
    return message;
}

static int put(cshm_ring *ring, uint64_t id)
{
    struct message message = message_of(id);
    return cshm_ring_try_put(ring, &message, size_of(id));
}

/* The next message's id, or a status. */
static int64_t get(cshm_ring *ring)
{
    struct message message;
    uint64_t length = 0;
    int status = cshm_ring_try_get(ring, &message, sizeof message, &length);
    if (status != 0) {
        return status;
    }
    struct message expected = message_of(message.id);
    CHECK(length == size_of(message.id) && memcmp(&message, &expected, length) == 0);
    return (int64_t)message.id;
}

/* ---- scenes ---- */

static void open_ring(struct world *world)
{
    struct scene *scene = calloc(1, sizeof *scene);
    CHECK(scene != NULL);
    world->handle = scene;
    CHECK_EQ(cshm_ring_create(world->region, CAPACITY, plain_size == 0 ? INLINE : plain_size,
                              &world->place[0]),
             0);
    CHECK_EQ(cshm_ring_open(world->region, world->place[0], &scene->ring), 0);
}

/* `puts` messages were put, `takes` of them taken, and no role is owned. */
static void make(struct world *world, uint64_t puts, uint64_t takes)
{
    open_ring(world);
    struct scene *scene = scene_of(world);
    CHECK_EQ(cshm_heap_share(world->region, world->place[0]), 0);
    CHECK_EQ(cshm_ring_become_producer(scene->ring), 0);
    CHECK_EQ(cshm_ring_become_consumer(scene->ring), 0);
    while (scene->put < puts) {
        CHECK_EQ(put(scene->ring, ++scene->put), 0);
    }
    for (uint64_t i = 1; i <= takes; i++) {
        CHECK_EQ(get(scene->ring), i);
    }
    cshm_ring_close(scene->ring);
    CHECK_EQ(cshm_ring_open(world->region, world->place[0], &scene->ring), 0);
    atomic_store(&world->report->word[0], takes);
}

static void take_over(struct world *world, int (*become)(cshm_ring *))
{
    int status = become(ring_of(world));
    CHECK(status == 0 || status == 1 || status == -EALREADY);
}

static void make_read(struct world *world, uint64_t puts, uint64_t takes)
{
    make(world, puts, takes);
    take_over(world, cshm_ring_become_consumer);
}

static void make_new(struct world *world)
{
    make_read(world, 2, 1);
}

/* The message to come is the last one in the window. */
static void make_window_almost_full(struct world *world)
{
    make_read(world, WINDOW - 1, 0);
}

/* Messages in the window and in the row. */
static void make_row(struct world *world)
{
    make_read(world, WINDOW + 3, WINDOW - 2);
}

/* The message to come goes to the row, and those behind it to the window. */
static void make_row_empty(struct world *world)
{
    make_read(world, WINDOW + 1, WINDOW + 1);
}

/* Nothing but words in the row, and the producer has looked for an empty ring in vain. */
static void make_words(struct world *world)
{
    plain_size = 8;
    make_read(world, WINDOW + 3, WINDOW + 1);
}

static void make_plain(struct world *world)
{
    plain_size = INLINE;
    make_read(world, WINDOW + 3, WINDOW + 1);
}

static void make_plain_written(struct world *world)
{
    plain_size = INLINE;
    make(world, WINDOW + 5, WINDOW + 1);
    take_over(world, cshm_ring_become_producer);
}

static void make_words_written(struct world *world)
{
    plain_size = 8;
    make(world, WINDOW + 5, WINDOW + 1);
    take_over(world, cshm_ring_become_producer);
}

static void make_full(struct world *world)
{
    make_read(world, CAPACITY, 0);
}

/* For consumers. */
static void make_written(struct world *world)
{
    make(world, WINDOW + 4, WINDOW - 3);
    take_over(world, cshm_ring_become_producer);
}

static void make_unread(struct world *world)
{
    make(world, 6, 0);
    take_over(world, cshm_ring_become_producer);
}

static void make_empty(struct world *world)
{
    make(world, 2, 2);
    take_over(world, cshm_ring_become_producer);
}

static void make_unowned(struct world *world)
{
    make(world, WINDOW + 4, WINDOW - 3);
}

static void make_unowned_empty(struct world *world)
{
    make(world, 2, 2);
}

/* ---- the victim's handles ---- */

static void be_producer(struct world *world)
{
    CHECK_EQ(cshm_ring_open(world->region, world->place[0], &scene_of(world)->ring), 0);
    CHECK_EQ(cshm_ring_become_producer(ring_of(world)), 0);
}

static void be_consumer(struct world *world)
{
    CHECK_EQ(cshm_ring_open(world->region, world->place[0], &scene_of(world)->ring), 0);
    CHECK_EQ(cshm_ring_become_consumer(ring_of(world)), 0);
}

/* Every slot of the window owns a block. */
static void be_producer_of_worn_slots(struct world *world)
{
    be_producer(world);
    take_over(world, cshm_ring_become_consumer);
    for (uint32_t i = 0; i < WINDOW; i++) {
        CHECK_EQ(put(ring_of(world), VICTIMS + 3), 0);
        CHECK_EQ(get(ring_of(world)), VICTIMS + 3);
    }
}

/* The same, and an allocation for the next message would get another. */
static void be_producer_of_slots_of_another_size(struct world *world)
{
    enum { ANOTHER = 10 * sizeof(struct message) };
    be_producer(world);
    take_over(world, cshm_ring_become_consumer);
    for (uint32_t i = 0; i < WINDOW; i++) {
        void *place = NULL;
        const void *data = NULL;
        uint64_t length = 0;
        CHECK_EQ(cshm_ring_try_claim(ring_of(world), ANOTHER, &place), 0);
        memset(place, 0, ANOTHER);
        cshm_ring_commit(ring_of(world));
        CHECK_EQ(cshm_ring_try_peek(ring_of(world), &data, &length), 0);
        cshm_ring_release(ring_of(world));
    }
}

/* It has been in the window for long. */
static void be_settled_producer(struct world *world)
{
    be_producer(world);
    take_over(world, cshm_ring_become_consumer);
    for (uint32_t i = 0; i < 5 * WINDOW; i++) {
        CHECK_EQ(put(ring_of(world), VICTIMS), 0);
        CHECK_EQ(get(ring_of(world)), VICTIMS);
    }
}

static void be_at_the_end(struct world *world)
{
    be_consumer(world);
    for (int64_t id = 0; id >= 0;) {
        id = get(ring_of(world));
    }
}

/* ---- operations ---- */

static int put_exact(struct world *world)
{
    return put(ring_of(world), VICTIMS);
}

static int put_odd(struct world *world)
{
    return put(ring_of(world), VICTIMS + 2);
}

static int put_long(struct world *world)
{
    return put(ring_of(world), VICTIMS + 3);
}

static int put_many(struct world *world)
{
    struct message first = message_of(VICTIMS);
    struct message second = message_of(VICTIMS + 1);
    struct message third = message_of(VICTIMS + 4);
    uint8_t bytes[BATCH * INLINE];
    memcpy(bytes, &first, INLINE);
    memcpy(bytes + INLINE, &second, INLINE);
    memcpy(bytes + 2 * INLINE, &third, INLINE);
    return cshm_ring_try_put_many(ring_of(world), bytes, INLINE, BATCH);
}

/* The first of them sees that the ring is not empty, the second need not look. */
static int put_two(struct world *world)
{
    int status = put(ring_of(world), VICTIMS);
    return status != 0 ? status : put(ring_of(world), VICTIMS + 1);
}

/* In place, of every kind, and more are claimed than are put. */
static int commit_many(struct world *world)
{
    for (uint32_t i = 0; i < BATCH + 1; i++) {
        void *data = NULL;
        struct message message = message_of(VICTIMS + 1 + i);
        CHECK_EQ(cshm_ring_try_claim_at(ring_of(world), i, size_of(message.id), &data), 0);
        memcpy(data, &message, size_of(message.id));
    }
    cshm_ring_commit_many(ring_of(world), BATCH);
    return BATCH;
}

static int put_in_vain(struct world *world)
{
    struct cshm_waitable room;
    uint64_t value = 0;
    cshm_ring_room(ring_of(world), &room);
    return cshm_ring_put_until(ring_of(world), &value, 8, cshm_now_ns() + WAIT_NS);
}

static int get_one(struct world *world)
{
    return get(ring_of(world)) > 0 ? 0 : -EPROTO;
}

/* From the window, and then from the row. */
static int get_six(struct world *world)
{
    for (int i = 0; i < 6; i++) {
        CHECK(get(ring_of(world)) > 0);
    }
    return 0;
}

static int get_many(struct world *world)
{
    uint8_t bytes[BATCH * INLINE];
    return cshm_ring_try_get_many(ring_of(world), bytes, INLINE, BATCH);
}

static int get_two(struct world *world)
{
    int status = get_one(world);
    return status != 0 ? status : get_one(world);
}

static int release_many(struct world *world)
{
    for (uint32_t i = 0; i < BATCH + 2; i++) {
        const void *data = NULL;
        uint64_t length = 0;
        CHECK_EQ(cshm_ring_try_peek_at(ring_of(world), i, &data, &length), 0);
    }
    cshm_ring_release_many(ring_of(world), BATCH);
    return 0;
}

static int get_in_vain(struct world *world)
{
    struct cshm_waitable items;
    const void *data = NULL;
    uint64_t length = 0;
    uint64_t value = 0;
    cshm_ring_items(ring_of(world), &items);
    CHECK_EQ(cshm_ring_peek_until(ring_of(world), &data, &length, cshm_now_ns() + WAIT_NS),
             -ETIMEDOUT);
    return cshm_ring_get_until(ring_of(world), &value, 8, &length, cshm_now_ns() + WAIT_NS);
}

static int become_both(struct world *world)
{
    int status = cshm_ring_become_producer(ring_of(world));
    return status != 0 ? status : cshm_ring_become_consumer(ring_of(world));
}

static int close_ring(struct world *world)
{
    cshm_ring_close(ring_of(world));
    return 0;
}

static int finish(struct world *world)
{
    return cshm_ring_finish(ring_of(world));
}

static int cancel(struct world *world)
{
    cshm_ring_cancel(ring_of(world));
    return 0;
}

static int create(struct world *world)
{
    open_ring(world);
    return 0;
}

static void make_own(struct world *world)
{
    open_ring(world);
    take_over(world, cshm_ring_become_producer);
    CHECK_EQ(put(ring_of(world), VICTIMS + 3), 0);
}

static int destroy(struct world *world)
{
    cshm_ring_destroy(ring_of(world));
    return 0;
}

/* ---- others ---- */

/* A consumer takes what there is, beside a stopped producer. */
static void go_on_getting(struct world *world)
{
    uint64_t next = atomic_load(&world->report->word[0]) + 1;
    CHECK(cshm_ring_count(ring_of(world)) <= CAPACITY);
    if (next <= scene_of(world)->put) {
        CHECK_EQ(get(ring_of(world)), next);
        atomic_store(&world->report->word[0], next);
    }
}

static void go_on_putting(struct world *world)
{
    CHECK(cshm_ring_count(ring_of(world)) <= CAPACITY);
    CHECK_EQ(put(ring_of(world), ++scene_of(world)->put), 0);
}

/* The next producer, who may be killed, too: what it puts is there or not. */
static void succeed(struct world *world)
{
    cshm_ring *ring = NULL;
    CHECK_EQ(cshm_ring_open(world->region, world->place[0], &ring), 0);
    int status = -EBUSY;
    while (status == -EBUSY) { /* while somebody else buries the dead */
        status = cshm_ring_become_producer(ring);
    }
    CHECK(status >= 0);
    status = put(ring, OTHERS + 3);
    CHECK(status == 0 || status == -EAGAIN || status == -EPIPE || status == -ECANCELED);
    cshm_ring_close(ring);
}

/* ---- what holds afterwards ---- */

/* The survivor's messages after the `from`-th, in order, then those of the victim.
 * @returns how many of those. */
static uint64_t drain(struct world *world, uint64_t from)
{
    uint64_t last = from;
    uint64_t of_victim = 0;
    int64_t id;
    take_over(world, cshm_ring_become_consumer);
    while ((id = get(ring_of(world))) > 0) {
        if (id >= OTHERS) {
            continue;
        }
        if (id >= VICTIMS) {
            of_victim++;
            CHECK_EQ(last, scene_of(world)->put);
        } else {
            CHECK_EQ(id, last + 1);
            last = (uint64_t)id;
        }
    }
    CHECK(id == -EAGAIN || id == -EPIPE || id == -ECANCELED);
    CHECK(last == scene_of(world)->put || id == -ECANCELED);
    return of_victim;
}

/* All of it can be used, and goes with all it has. */
static void end(struct world *world)
{
    cshm_ring *ring = ring_of(world);
    take_over(world, cshm_ring_become_producer);
    for (int lap = 0; lap < 3; lap++) {
        for (uint64_t i = 0; i < CAPACITY; i++) {
            CHECK_EQ(put(ring, OTHERS + i), 0);
        }
        CHECK_EQ(put(ring, OTHERS), -EAGAIN);
        CHECK_EQ(cshm_ring_count(ring), CAPACITY);
        for (uint64_t i = 0; i < CAPACITY; i++) {
            CHECK_EQ(get(ring), OTHERS + i);
        }
        CHECK_EQ(cshm_ring_count(ring), 0);
    }
    cshm_ring_destroy(ring);
    free(scene_of(world));
    (void)cshm_region_reap(world->region);
    CHECK_EQ(blocks_in_use(world->region), 0);
}

static void check_put(struct world *world, uint64_t victims, int status)
{
    uint64_t of_victim = drain(world, atomic_load(&world->report->word[0]));
    CHECK(of_victim == victims || (of_victim == 0 && !returned(world)));
    CHECK(!returned(world) || world->report->status == status);
    end(world);
}

static void check_one(struct world *world)
{
    check_put(world, 1, 0);
}

/* The first without the second, if it was killed between them. */
static void check_two(struct world *world)
{
    uint64_t of_victim = drain(world, atomic_load(&world->report->word[0]));
    CHECK(of_victim == 2 || (of_victim < 2 && !returned(world)));
    end(world);
}

static void check_batch(struct world *world)
{
    check_put(world, BATCH, BATCH);
}

static void check_none(struct world *world)
{
    check_put(world, 0, 0);
}

static void check_timed_out(struct world *world)
{
    check_put(world, 0, -ETIMEDOUT);
}

/* As many are gone as `head` says, which are `count` if it returned. */
static void check_got(struct world *world, uint64_t count, bool all_at_once)
{
    const struct cshm_ring_shared *shared =
        cshm_heap_pointer(world->region, world->place[0], sizeof *shared);
    uint64_t before = atomic_load(&world->report->word[0]);
    uint64_t gone = atomic_load(&shared->head) - before;
    CHECK(gone == count || (!returned(world) && (gone == 0 || (gone < count && !all_at_once))));
    CHECK_EQ(drain(world, before + gone), 0);
    end(world);
}

static void check_got_one(struct world *world)
{
    check_got(world, 1, true);
}

static void check_got_two(struct world *world)
{
    check_got(world, 2, false);
}

static void check_got_six(struct world *world)
{
    check_got(world, 6, false);
}

static void check_released(struct world *world)
{
    check_got(world, BATCH, true);
}

/* Ended for everybody, or for nobody. */
static void check_ended(struct world *world, int put_status, int get_status)
{
    cshm_ring *ring = ring_of(world);
    CHECK_EQ(drain(world, atomic_load(&world->report->word[0])), 0);
    take_over(world, cshm_ring_become_producer);
    int status = put(ring, OTHERS);
    CHECK(status == put_status || (status == 0 && !returned(world)));
    CHECK_EQ(get(ring), status == 0 ? OTHERS : get_status);
    cshm_ring_destroy(ring);
    free(scene_of(world));
}

static void check_finished(struct world *world)
{
    check_ended(world, -EPIPE, -EPIPE);
}

static void check_canceled(struct world *world)
{
    check_ended(world, -ECANCELED, -ECANCELED);
}

static void check_gone(struct world *world)
{
    CHECK_EQ(blocks_in_use(world->region), 0);
}

#define PUT(title, scene, operation, holds) \
    {.name = title,                         \
     .setup = scene,                        \
     .prepare = be_producer,                \
     .operate = operation,                  \
     .check = holds,                        \
     .recover = succeed,                    \
     .pairs = 1,                            \
     .meanwhile = go_on_getting}

#define GET(title, scene, operation, holds) \
    {.name = title,                         \
     .setup = scene,                        \
     .prepare = be_consumer,                \
     .operate = operation,                  \
     .check = holds,                        \
     .meanwhile = go_on_putting}

const struct scenario ring_scenarios[] = {
    PUT("put", make_new, put_exact, check_one),
    PUT("put_odd", make_new, put_odd, check_one),
    PUT("put_long", make_new, put_long, check_one),
    PUT("put_last_of_the_window", make_window_almost_full, put_exact, check_one),
    PUT("put_into_the_row", make_row, put_exact, check_one),
    PUT("put_odd_into_the_row", make_row, put_odd, check_one),
    PUT("put_long_into_the_row", make_row, put_long, check_one),
    PUT("put_before_the_window", make_row_empty, put_exact, check_one),
    PUT("put_many_from_the_window", make_new, put_many, check_batch),
    PUT("put_many_into_the_row", make_row, put_many, check_batch),
    PUT("commit_many_from_the_window", make_new, commit_many, check_batch),
    PUT("commit_many_into_the_row", make_row, commit_many, check_batch),
    {.name = "put_over_a_block",
     .setup = make_unowned_empty,
     .prepare = be_producer_of_worn_slots,
     .operate = put_long,
     .check = check_one,
     .recover = succeed,
     .pairs = 1},
    {.name = "put_over_a_block_of_another_size",
     .setup = make_unowned_empty,
     .prepare = be_producer_of_slots_of_another_size,
     .operate = put_long,
     .check = check_one,
     .recover = succeed,
     .pairs = 1},
    PUT("put_words", make_words, put_two, check_two),
    PUT("put_plain", make_plain, put_two, check_two),
    {.name = "put_many_after_long",
     .setup = make_unowned_empty,
     .prepare = be_settled_producer,
     .operate = put_many,
     .check = check_batch,
     .recover = succeed},
    {.name = "put_in_vain",
     .setup = make_full,
     .prepare = be_producer,
     .operate = put_in_vain,
     .check = check_timed_out},
    GET("get", make_unread, get_one, check_got_one),
    GET("get_from_the_window_and_the_row", make_written, get_six, check_got_six),
    GET("get_words", make_words_written, get_two, check_got_two),
    GET("get_many", make_plain_written, get_many, check_released),
    GET("release_many", make_unread, release_many, check_released),
    {.name = "get_in_vain",
     .setup = make_empty,
     .prepare = be_at_the_end,
     .operate = get_in_vain,
     .check = check_timed_out},
    {.name = "become_both", .setup = make_unowned, .operate = become_both, .check = check_none},
    {.name = "close",
     .setup = make_new,
     .prepare = be_producer,
     .operate = close_ring,
     .check = check_none},
    {.name = "finish",
     .setup = make_new,
     .prepare = be_producer,
     .operate = finish,
     .check = check_finished},
    {.name = "cancel",
     .setup = make_new,
     .prepare = be_producer,
     .operate = cancel,
     .check = check_canceled},
    {.name = "create", .operate = create, .check = check_gone},
    {.name = "destroy_of_its_own", .prepare = make_own, .operate = destroy, .check = check_gone},
    {.name = NULL},
};
