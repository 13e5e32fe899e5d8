/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Lanes: what was put is delivered, in each producer's order, what was in flight wholly or not at
 * all; the consumer's successor loses nothing; and every lane and block is used again.
 */
#include "kill.h"

#include <stdlib.h>

#include "lanes_parts.h"

extern const struct scenario lanes_scenarios[];

enum {
    TAG = 5,
    CAPACITY = 4,
    INLINE = 16,
    LANES = 3,
    IDLE_LOOKS = 2000,
    VICTIMS = 1000, /* from this id on, messages are the victim's */
    OTHERS = 2000,  /* from this id on, whoever recovers or goes on meanwhile */
};

/* The survivor's handles; a child uses what it made itself. */
struct scene {
    cshm_lanes *lanes;
    cshm_lane *lane;
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

static struct message message_of(uint64_t id)
{
    struct message message = {.id = id, .check = id * 0x9e3779b97f4a7c15ull};
    for (uint32_t i = 0; i < 10; i++) {
        message.filler[i] = id + i;
    }
    return message;
}

static uint64_t size_of(uint64_t id)
{
    return id % 2 == 0 ? INLINE : sizeof(struct message);
}

static int put(cshm_lane *lane, uint64_t id)
{
    struct message message = message_of(id);
    return cshm_lane_try_put(lane, &message, size_of(id));
}

/* The next message's id, or a status. */
static int64_t get(cshm_lanes *lanes)
{
    struct message message;
    uint64_t length = 0;
    int status = cshm_lanes_try_get(lanes, &message, sizeof message, &length);
    if (status != 0) {
        return status;
    }
    struct message expected = message_of(message.id);
    CHECK(length == size_of(message.id) && memcmp(&message, &expected, length) == 0);
    return (int64_t)message.id;
}

/* ---- scenes ---- */

static void open_lanes(struct world *world)
{
    struct cshm_lanes_options options = {.capacity = CAPACITY,
                                         .slot_size = INLINE,
                                         .producers = LANES,
                                         .type_tag = TAG,
                                         .byte_limit = CAPACITY * sizeof(struct message)};
    struct scene *scene = calloc(1, sizeof *scene);
    CHECK(scene != NULL);
    world->handle = scene;
    CHECK_EQ(cshm_lanes_create(world->region, &options, &world->place[0]), 0);
    CHECK_EQ(cshm_lanes_open(world->region, world->place[0], TAG, &scene->lanes), 0);
}

/* A producer with two messages, and no consumer. */
static void make_busy(struct world *world)
{
    open_lanes(world);
    struct scene *scene = scene_of(world);
    CHECK_EQ(cshm_heap_share(world->region, world->place[0]), 0);
    CHECK_EQ(cshm_lanes_join(scene->lanes, &scene->lane), 0);
    CHECK_EQ(put(scene->lane, ++scene->put), 0);
    CHECK_EQ(put(scene->lane, ++scene->put), 0);
}

static void make_consumed(struct world *world)
{
    make_busy(world);
    CHECK_EQ(cshm_lanes_become_consumer(scene_of(world)->lanes), 0);
}

static void die_joined(struct world *world)
{
    cshm_lane *lane = NULL;
    for (uint32_t i = 1; i < LANES; i++) {
        CHECK_EQ(cshm_lanes_join(scene_of(world)->lanes, &lane), 0);
    }
}

/* No lane is free but those of the dead. */
static void make_crowded(struct world *world)
{
    make_busy(world);
    kill_after(world, die_joined);
}

/* All is taken, and was for so long that the ready bits are clear. */
static void make_idle(struct world *world)
{
    make_consumed(world);
    for (int i = 0; i < IDLE_LOOKS; i++) {
        int64_t id = get(scene_of(world)->lanes);
        CHECK(id == i + 1 || (i >= 2 && id == -EAGAIN));
    }
    atomic_store(&world->report->word[0], 2);
}

/* The lane that the next producer gets has a block of a message that was released. */
static void make_used(struct world *world)
{
    open_lanes(world);
    struct scene *scene = scene_of(world);
    cshm_lane *lane = NULL;
    CHECK_EQ(cshm_heap_share(world->region, world->place[0]), 0);
    CHECK_EQ(cshm_lanes_become_consumer(scene->lanes), 0);
    CHECK_EQ(cshm_lanes_join(scene->lanes, &scene->lane), 0);
    CHECK_EQ(cshm_lanes_join(scene->lanes, &lane), 0);
    while (scene->put < 2) {
        CHECK_EQ(put(lane, ++scene->put), 0);
        CHECK_EQ(get(scene->lanes), scene->put);
    }
    cshm_lane_leave(lane);
    CHECK_EQ(get(scene->lanes), -EAGAIN);
    atomic_store(&world->report->word[0], 2);
}

static void make_finished(struct world *world)
{
    make_busy(world);
    cshm_lanes_finish(scene_of(world)->lanes);
}

/* The producer there was has left; all that it put is there. */
static void make_left(struct world *world)
{
    make_busy(world);
    cshm_lane_leave(scene_of(world)->lane);
}

/* ---- the victim's handles ---- */

static void be_producer(struct world *world)
{
    CHECK_EQ(cshm_lanes_join(scene_of(world)->lanes, &scene_of(world)->lane), 0);
}

static void be_consumer(struct world *world)
{
    CHECK_EQ(cshm_lanes_become_consumer(scene_of(world)->lanes), 0);
}

static void be_consumer_of_an_idle_lane(struct world *world)
{
    struct scene *scene = scene_of(world);
    be_consumer(world);
    while (get(scene->lanes) > 0) {
        atomic_fetch_add(&world->report->word[0], 1);
    }
}

/* ---- operations ---- */

static int put_short(struct world *world)
{
    return put(scene_of(world)->lane, VICTIMS);
}

static int put_long(struct world *world)
{
    return put(scene_of(world)->lane, VICTIMS + 1);
}

static int put_many(struct world *world)
{
    struct message messages[2] = {message_of(VICTIMS + 1), message_of(VICTIMS + 3)};
    return cshm_lane_try_put_many(scene_of(world)->lane, messages, sizeof messages[0], 2);
}

/* Both are claimed before they are published together. */
static int commit_many(struct world *world)
{
    cshm_lane *lane = scene_of(world)->lane;
    for (uint32_t i = 0; i < 2; i++) {
        struct message message = message_of(VICTIMS + 1 + 2 * i);
        void *data = NULL;
        CHECK_EQ(cshm_lane_try_claim_at(lane, i, sizeof message, &data), 0);
        memcpy(data, &message, sizeof message);
    }
    return cshm_lane_commit_many(lane, 2);
}

static int join(struct world *world)
{
    return cshm_lanes_join(scene_of(world)->lanes, &scene_of(world)->lane);
}

static int leave(struct world *world)
{
    cshm_lane_leave(scene_of(world)->lane);
    return 0;
}

static int become_consumer(struct world *world)
{
    return cshm_lanes_become_consumer(scene_of(world)->lanes);
}

static int get_one(struct world *world)
{
    CHECK_EQ(get(scene_of(world)->lanes), 1);
    return 0;
}

static int release_many(struct world *world)
{
    struct cshm_lanes_message messages[2];
    CHECK_EQ(cshm_lanes_try_peek_many(scene_of(world)->lanes, messages, 2), 2);
    cshm_lanes_release_many(scene_of(world)->lanes, 2);
    return 0;
}

static int look_in_vain(struct world *world)
{
    for (int i = 0; i < IDLE_LOOKS; i++) {
        CHECK_EQ(get(scene_of(world)->lanes), -EAGAIN);
    }
    return 0;
}

static int get_all(struct world *world)
{
    int64_t id;
    while ((id = get(scene_of(world)->lanes)) > 0) {
        atomic_store(&world->report->word[0], (uint64_t)id);
    }
    return (int)id;
}

static int finish(struct world *world)
{
    cshm_lanes_finish(scene_of(world)->lanes);
    return 0;
}

static int cancel(struct world *world)
{
    cshm_lanes_cancel(scene_of(world)->lanes);
    return 0;
}

static int commit_after_finish(struct world *world)
{
    struct message message = message_of(VICTIMS + 1);
    void *data = NULL;
    CHECK_EQ(cshm_lane_try_claim(scene_of(world)->lane, sizeof message, &data), 0);
    memcpy(data, &message, sizeof message);
    cshm_lanes_finish(scene_of(world)->lanes);
    return cshm_lane_commit(scene_of(world)->lane);
}

static int create(struct world *world)
{
    open_lanes(world);
    return 0;
}

static void make_own(struct world *world)
{
    open_lanes(world);
    be_producer(world);
    CHECK_EQ(put(scene_of(world)->lane, VICTIMS + 1), 0);
}

static int close_all(struct world *world)
{
    cshm_lanes_close(scene_of(world)->lanes);
    return 0;
}

static int destroy(struct world *world)
{
    cshm_lanes_destroy(scene_of(world)->lanes);
    return 0;
}

/* ---- others ---- */

/* The survivor's producer works on, whoever is stopped. */
static void go_on(struct world *world)
{
    int status = put(scene_of(world)->lane, OTHERS);
    CHECK(status == 0 || status == -EPIPE || status == -ECANCELED);
    struct cshm_lanes_info info;
    cshm_lanes_describe(scene_of(world)->lanes, &info);
    CHECK(info.count <= (uint64_t)LANES * CAPACITY && info.bytes <= LANES * info.byte_limit);
}

/* And the consumer gets what there is, beside a stopped producer. */
static void go_on_getting(struct world *world)
{
    struct scene *scene = scene_of(world);
    int64_t last = 0;
    CHECK_EQ(put(scene->lane, OTHERS), 0);
    for (int64_t id = 0; id != OTHERS;) {
        id = get(scene->lanes);
        CHECK(id == last + 1 || (id >= VICTIMS && id < OTHERS) || (id == OTHERS && last == 2));
        if (id == last + 1) {
            last = id;
        } else if (id != OTHERS) {
            atomic_fetch_add(&world->report->word[1], 1);
        }
    }
    atomic_store(&world->report->word[0], 2);
}

/* The consumer's successor, who looks at a message and lets it be. */
static void succeed(struct world *world)
{
    struct cshm_lanes_message message;
    cshm_lanes *lanes = scene_of(world)->lanes;
    CHECK(cshm_lanes_become_consumer(lanes) >= 0);
    int status = cshm_lanes_try_peek(lanes, &message);
    CHECK(status == 0 || status == -EAGAIN);
}

/* ---- what holds afterwards ---- */

/* Everything the survivor put after the `from`-th, in order, and `victims` messages of the victim,
 * or as many as were in flight; @returns how the stream ends. */
static int drain(struct world *world, uint64_t from, uint64_t victims)
{
    struct scene *scene = scene_of(world);
    uint64_t last = from;
    uint64_t of_victim = atomic_load(&world->report->word[1]);
    int status = cshm_lanes_become_consumer(scene->lanes);
    CHECK(status == 0 || status == 1 || status == -EALREADY);
    for (;;) {
        /* What the dead did is seen once it is certified, in a while at the latest. */
        struct cshm_lanes_message next;
        status = cshm_lanes_peek_until(scene->lanes, &next, cshm_now_ns() + 30000000);
        int64_t id = status == 0 ? get(scene->lanes) : status;
        if (id < 0) {
            CHECK(last == scene->put || id == -ECANCELED);
            CHECK(of_victim == victims || !returned(world));
            return (int)id;
        }
        if (id >= OTHERS) {
            continue;
        }
        if (id >= VICTIMS) {
            of_victim++;
            CHECK(of_victim <= victims);
        } else {
            CHECK_EQ(id, last + 1);
            last = (uint64_t)id;
        }
    }
}

static void end(struct world *world)
{
    struct scene *scene = scene_of(world);
    cshm_lanes_destroy(scene->lanes);
    free(scene);
    (void)cshm_region_reap(world->region);
    CHECK_EQ(blocks_in_use(world->region), 0);
}

/* Every lane that the survivor does not hold already is there to be used. */
static void check_open(struct world *world, uint64_t from, uint64_t victims)
{
    struct scene *scene = scene_of(world);
    cshm_lane *lane[LANES];
    CHECK_EQ(drain(world, from, victims), -ETIMEDOUT);
    for (uint32_t i = 1; i < LANES; i++) {
        CHECK_EQ(cshm_lanes_join(scene->lanes, &lane[i]), 0);
        for (uint64_t n = 0; n < CAPACITY; n++) {
            CHECK_EQ(put(lane[i], OTHERS + n), 0);
        }
        CHECK_EQ(put(lane[i], OTHERS), -EAGAIN);
        for (uint64_t n = 0; n < CAPACITY; n++) {
            CHECK_EQ(get(scene->lanes), OTHERS + n);
        }
    }
    CHECK_EQ(cshm_lanes_join(scene->lanes, &lane[0]), -EUSERS);
    for (uint32_t i = 1; i < LANES; i++) {
        cshm_lane_leave(lane[i]);
    }
    cshm_lane_leave(scene->lane);
    CHECK_EQ(get(scene->lanes), -EPIPE);
    end(world);
}

static void check_none(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
    check_open(world, atomic_load(&world->report->word[0]), 0);
}

static void check_one(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
    check_open(world, atomic_load(&world->report->word[0]), 1);
}

static void check_two(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 2);
    check_open(world, atomic_load(&world->report->word[0]), 2);
}

/* The first message again, unless its release was done. */
static void check_got_one(struct world *world)
{
    CHECK(cshm_lanes_count(scene_of(world)->lanes) >= 1);
    uint64_t left = 0;
    struct cshm_ring_shared *ring = NULL;
    for (uint32_t i = 0; i < LANES; i++) {
        CHECK_EQ(cshm__lane_ring(scene_of(world)->lanes, i, &ring), 0);
        left += ring == NULL ? 0 : atomic_load(&ring->head);
    }
    CHECK(left == 1 || (left == 0 && !returned(world)));
    check_open(world, left, 0);
}

/* Both messages again, unless their release was done. */
static void check_released_both(struct world *world)
{
    uint64_t released = 0;
    struct cshm_ring_shared *ring = NULL;
    for (uint32_t i = 0; i < LANES; i++) {
        CHECK_EQ(cshm__lane_ring(scene_of(world)->lanes, i, &ring), 0);
        released += ring == NULL ? 0 : atomic_load(&ring->head);
    }
    CHECK(released == 2 || (released == 0 && !returned(world)));
    check_open(world, released, 0);
}

/* What was not released comes again; lanes of the dead are free. */
static void check_got_all(struct world *world)
{
    uint64_t released = 0;
    CHECK(!returned(world) || world->report->status == -EAGAIN);
    for (uint32_t i = 0; i < LANES; i++) {
        struct cshm_ring_shared *ring = NULL;
        CHECK_EQ(cshm__lane_ring(scene_of(world)->lanes, i, &ring), 0);
        released += ring == NULL ? 0 : atomic_load(&ring->head);
    }
    check_open(world, released, 0);
}

/* What was not released comes again; then the end, for every successor. */
static void check_end(struct world *world)
{
    struct cshm_ring_shared *ring = NULL;
    uint64_t released = 0;
    CHECK(!returned(world) || world->report->status == -EPIPE);
    for (uint32_t i = 0; i < LANES; i++) {
        CHECK_EQ(cshm__lane_ring(scene_of(world)->lanes, i, &ring), 0);
        released += ring == NULL ? 0 : atomic_load(&ring->head);
    }
    CHECK_EQ(drain(world, released, 0), -EPIPE);
    cshm_lane *lane = NULL;
    CHECK_EQ(cshm_lanes_join(scene_of(world)->lanes, &lane), -EPIPE);
    end(world);
}

/* Ended for everybody, as `status` says, or for nobody. */
static void check_ended(struct world *world, int status)
{
    struct scene *scene = scene_of(world);
    int ended = drain(world, 0, 0);
    CHECK(ended == status || (ended == -ETIMEDOUT && !returned(world)));
    CHECK_EQ(put(scene->lane, OTHERS), ended == status ? status : 0);
    end(world);
}

/* Before the end, if it returned; and the end is one, if there is one. */
static void check_committed(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
    int ended = drain(world, 0, 1);
    CHECK(ended == -EPIPE || (ended == -ETIMEDOUT && !returned(world)));
    end(world);
}

static void check_finished(struct world *world)
{
    check_ended(world, -EPIPE);
}

static void check_cancelled(struct world *world)
{
    check_ended(world, -ECANCELED);
}

static void check_gone(struct world *world)
{
    CHECK_EQ(blocks_in_use(world->region), 0);
}

#define ROW(title, scene, ready, operation, holds) \
    .name = title, .setup = scene, .prepare = ready, .operate = operation, .check = holds

const struct scenario lanes_scenarios[] = {
    {ROW("put_short", make_consumed, be_producer, put_short, check_one),
     .meanwhile = go_on_getting},
    {ROW("put_long", make_consumed, be_producer, put_long, check_one), .meanwhile = go_on_getting},
    {ROW("put_long_over_a_released_one", make_used, be_producer, put_long, check_one)},
    {ROW("put_many", make_consumed, be_producer, put_many, check_two), .meanwhile = go_on_getting},
    {ROW("commit_many", make_consumed, be_producer, commit_many, check_two),
     .meanwhile = go_on_getting},
    {ROW("join", make_consumed, NULL, join, check_none), .meanwhile = go_on_getting},
    {ROW("join_over_the_dead", make_crowded, NULL, join, check_none), .meanwhile = go_on},
    {ROW("leave", make_consumed, be_producer, leave, check_none), .meanwhile = go_on_getting},
    {ROW("become_consumer", make_busy, NULL, become_consumer, check_none), .meanwhile = go_on},
    {ROW("get", make_busy, be_consumer, get_one, check_got_one), .recover = succeed, .pairs = 1,
     .meanwhile = go_on},
    {ROW("release_many", make_busy, be_consumer, release_many, check_released_both),
     .recover = succeed, .meanwhile = go_on},
    {ROW("look_in_vain", make_busy, be_consumer_of_an_idle_lane, look_in_vain, check_none)},
    {ROW("get_the_end", make_finished, be_consumer, get_all, check_end)},
    {ROW("get_the_end_when_all_have_left", make_left, be_consumer, get_all, check_end)},
    {ROW("put_into_an_idle_lane", make_idle, be_producer, put_short, check_one)},
    {ROW("get_past_the_dead", make_crowded, be_consumer, get_all, check_got_all)},
    {ROW("commit_after_finish", make_busy, be_producer, commit_after_finish, check_committed)},
    {ROW("finish", make_busy, NULL, finish, check_finished), .meanwhile = go_on},
    {ROW("cancel", make_busy, NULL, cancel, check_cancelled), .meanwhile = go_on},
    {ROW("close", make_busy, be_consumer, close_all, check_none), .meanwhile = go_on},
    {.name = "create", .operate = create, .check = check_gone},
    {.name = "destroy_of_its_own", .prepare = make_own, .operate = destroy, .check = check_gone},
    {.name = NULL},
};
