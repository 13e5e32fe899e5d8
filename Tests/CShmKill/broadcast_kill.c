/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Broadcast: what was published is delivered, in order, what was in flight wholly or not at all; and
 * no line, slot or block is lost, whoever dies.
 */
#include "kill.h"

#include <stdlib.h>

#include "broadcast_parts.h"

extern const struct scenario broadcast_scenarios[];

enum {
    TAG = 4,
    CAPACITY = 8,
    INLINE = 16,
    PUBLISHERS = 2,
    SUBSCRIBERS = 3,
    VICTIMS = 1000, /* from this id on, messages are the victim's */
    OTHERS = 2000,  /* from this id on, whoever recovers or goes on meanwhile */
    TWO_LONG = 200, /* a byte limit that admits so many of them */
};

/* The survivor's handles; a child uses what it made itself. */
struct scene {
    cshm_broadcast *broadcast;
    cshm_publisher *publisher;
    cshm_subscriber *lossless;
    cshm_subscriber *overwriting;
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

static int put(cshm_publisher *publisher, uint64_t id)
{
    struct message message = message_of(id);
    return cshm_publisher_try_put(publisher, &message, size_of(id));
}

/* The next message's id, or a status. */
static int64_t get(cshm_subscriber *subscriber)
{
    struct message message;
    uint64_t length = 0;
    int status = cshm_subscriber_try_get(subscriber, &message, sizeof message, &length);
    if (status != 0) {
        return status;
    }
    struct message expected = message_of(message.id);
    CHECK(length == size_of(message.id) && memcmp(&message, &expected, length) == 0);
    return (int64_t)message.id;
}

/* ---- scenes ---- */

static void open_with(struct world *world, uint64_t byte_limit)
{
    struct cshm_broadcast_options options = {.capacity = CAPACITY,
                                             .slot_size = INLINE,
                                             .publishers = PUBLISHERS,
                                             .subscribers = SUBSCRIBERS,
                                             .type_tag = TAG,
                                             .byte_limit = byte_limit};
    struct scene *scene = calloc(1, sizeof *scene);
    CHECK(scene != NULL);
    world->handle = scene;
    CHECK_EQ(cshm_broadcast_create(world->region, &options, &world->place[0]), 0);
    CHECK_EQ(cshm_broadcast_open(world->region, world->place[0], TAG, &scene->broadcast), 0);
}

static void open_broadcast(struct world *world)
{
    open_with(world, 0);
}

/* One publisher and one subscriber of each kind. */
static void be_all(struct world *world)
{
    struct scene *scene = scene_of(world);
    CHECK_EQ(cshm_heap_share(world->region, world->place[0]), 0);
    CHECK_EQ(cshm_publisher_join(scene->broadcast, &scene->publisher), 0);
    CHECK_EQ(cshm_subscriber_join(scene->broadcast, CSHM_LOSSLESS, 0, &scene->lossless), 0);
    CHECK_EQ(cshm_subscriber_join(scene->broadcast, CSHM_OVERWRITE, 0, &scene->overwriting), 0);
}

/* And messages that both have yet to see. */
static void make_busy(struct world *world)
{
    open_broadcast(world);
    be_all(world);
    struct scene *scene = scene_of(world);
    CHECK_EQ(put(scene->publisher, ++scene->put), 0);
    CHECK_EQ(put(scene->publisher, ++scene->put), 0);
}

/* The lossless subscriber has seen a lap; there are long messages in the slots to come. */
static void make_used(struct world *world)
{
    make_busy(world);
    struct scene *scene = scene_of(world);
    for (uint32_t i = 0; i < CAPACITY; i++) {
        CHECK(get(scene->lossless) > 0);
        CHECK_EQ(put(scene->publisher, scene->put += 2), 0);
    }
}

static void make_full(struct world *world)
{
    make_busy(world);
    struct scene *scene = scene_of(world);
    while (put(scene->publisher, scene->put + 1) == 0) {
        scene->put++;
    }
}

/* As many long messages as the limit admits. */
static void make_limited(struct world *world)
{
    open_with(world, TWO_LONG);
    be_all(world);
    struct scene *scene = scene_of(world);
    CHECK_EQ(put(scene->publisher, 1), 0);
    CHECK_EQ(put(scene->publisher, 3), 0);
    scene->put = 3;
}

/* They may be dropped; then a short one that may not. */
static void make_droppable(struct world *world)
{
    make_limited(world);
    struct scene *scene = scene_of(world);
    CHECK_EQ(get(scene->lossless), 1);
    CHECK_EQ(get(scene->lossless), 3);
    CHECK_EQ(put(scene->publisher, scene->put = 4), 0);
}

/* The first of them was dropped. */
static void make_dropped(struct world *world)
{
    make_droppable(world);
    CHECK_EQ(put(scene_of(world)->publisher, scene_of(world)->put = 5), 0);
}

/* The first of them is read in place all the while. */
static void make_droppable_and_read(struct world *world)
{
    struct cshm_broadcast_message message;
    make_droppable(world);
    CHECK_EQ(cshm_subscriber_try_peek(scene_of(world)->overwriting, &message), 0);
}

/* The next message's position is the last before the shared hint is stored. */
static void make_long_used(struct world *world)
{
    make_busy(world);
    struct scene *scene = scene_of(world);
    while (cshm_broadcast_count(scene->broadcast) < 15) {
        CHECK(get(scene->lossless) > 0);
        CHECK_EQ(put(scene->publisher, ++scene->put), 0);
    }
}

/* A publisher there was has left. */
static void make_left(struct world *world)
{
    make_busy(world);
    cshm_publisher_leave(scene_of(world)->publisher);
}

static void die_joined(struct world *world)
{
    cshm_publisher *publisher = NULL;
    cshm_subscriber *subscriber = NULL;
    cshm_broadcast *broadcast = scene_of(world)->broadcast;
    CHECK_EQ(cshm_publisher_join(broadcast, &publisher), 0);
    CHECK_EQ(cshm_subscriber_join(broadcast, CSHM_LOSSLESS, 0, &subscriber), 0);
}

/* No line is free but those of the dead. */
static void make_crowded(struct world *world)
{
    make_busy(world);
    kill_after(world, die_joined);
}

/* Nobody can tell what the dead had while the survivor, as if stopped there, is about to swap: the
 * dead may or may not have got the survivor's hand. */
static void make_moving(struct world *world)
{
    make_crowded(world);
    struct cshm_broadcast *broadcast = scene_of(world)->broadcast;
    uint64_t mine = atomic_load(&broadcast->publishers[0].own);
    uint64_t of_dead = atomic_load(&broadcast->publishers[1].own);
    atomic_store(&broadcast->publishers[0].own, mine | 1);
    atomic_store(&broadcast->publishers[1].own, of_dead | ((mine >> 32) + 1));
}

/* ---- the victim's handles ---- */

static void be_publisher(struct world *world)
{
    struct scene *scene = scene_of(world);
    CHECK_EQ(cshm_publisher_join(scene->broadcast, &scene->publisher), 0);
}

static uint64_t hand_of(const struct cshm_publisher_shared *line, bool empty)
{
    return atomic_load(empty ? &line->empty : &line->own) >> 32;
}

/* With a slot in hand pinned by itself, as a subscriber: the put has to change it for a spare. */
static void pin_own_hand(struct world *world, bool empty)
{
    struct scene *scene = scene_of(world);
    be_publisher(world);
    CHECK_EQ(cshm_subscriber_join(scene->broadcast, CSHM_OVERWRITE, 0, &scene->overwriting), 0);
    struct cshm_broadcast *broadcast = scene->broadcast;
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        uint64_t hand = hand_of(&broadcast->publishers[i], empty);
        if (atomic_load(&broadcast->publishers[i].owner) == cshm_participant_self(world->region)) {
            for (uint32_t k = 0; k < SUBSCRIBERS; k++) {
                uint64_t owner = atomic_load(&broadcast->subscribers[k].owner);
                if (CSHM__OWNER_STAMP(owner) == cshm_participant_self(world->region)) {
                    atomic_store(&broadcast->subscribers[k].pin, hand + 1);
                }
            }
        }
    }
}

static void be_publisher_of_a_pinned_slot(struct world *world)
{
    pin_own_hand(world, false);
}

static void be_publisher_of_a_pinned_empty_slot(struct world *world)
{
    pin_own_hand(world, true);
}

static void be_lossless(struct world *world)
{
    struct scene *scene = scene_of(world);
    CHECK_EQ(cshm_subscriber_join(scene->broadcast, CSHM_LOSSLESS, 1, &scene->lossless), 0);
}

static void be_overwriting(struct world *world)
{
    struct scene *scene = scene_of(world);
    CHECK_EQ(cshm_subscriber_join(scene->broadcast, CSHM_OVERWRITE, 1, &scene->overwriting), 0);
}

/* The message was read, by itself, when it was dropped, and its block is still there. */
static void be_publisher_that_dropped(struct world *world)
{
    struct scene *scene = scene_of(world);
    struct cshm_broadcast_message message;
    be_publisher(world);
    CHECK_EQ(
        cshm_subscriber_join(scene->broadcast, CSHM_OVERWRITE, UINT64_MAX, &scene->overwriting), 0);
    CHECK_EQ(cshm_subscriber_try_peek(scene->overwriting, &message), 0);
    CHECK_EQ(put(scene->publisher, VICTIMS + 1), 0);
    cshm_subscriber_leave(scene->overwriting);
}

static void be_overwriting_from_the_oldest(struct world *world)
{
    struct scene *scene = scene_of(world);
    CHECK_EQ(
        cshm_subscriber_join(scene->broadcast, CSHM_OVERWRITE, UINT64_MAX, &scene->overwriting), 0);
}

/* ---- operations ---- */

static int put_short(struct world *world)
{
    return put(scene_of(world)->publisher, VICTIMS);
}

static int put_long(struct world *world)
{
    return put(scene_of(world)->publisher, VICTIMS + 1);
}

static int claim_and_abort(struct world *world)
{
    void *data = NULL;
    int status = cshm_publisher_claim(scene_of(world)->publisher, 100, &data);
    cshm_publisher_abort(scene_of(world)->publisher);
    return status;
}

static int put_many(struct world *world)
{
    struct message messages[2] = {message_of(VICTIMS + 1), message_of(VICTIMS + 3)};
    return cshm_publisher_put_many_until(scene_of(world)->publisher, messages, sizeof messages[0],
                                         2, cshm_now_ns());
}

static int join_as_publisher(struct world *world)
{
    return cshm_publisher_join(scene_of(world)->broadcast, &scene_of(world)->publisher);
}

static int leave_as_publisher(struct world *world)
{
    cshm_publisher_leave(scene_of(world)->publisher);
    return 0;
}

static int join_lossless(struct world *world)
{
    return cshm_subscriber_join(scene_of(world)->broadcast, CSHM_LOSSLESS, 1,
                                &scene_of(world)->lossless);
}

static int join_overwriting(struct world *world)
{
    return cshm_subscriber_join(scene_of(world)->broadcast, CSHM_OVERWRITE, 1,
                                &scene_of(world)->overwriting);
}

static int leave_lossless(struct world *world)
{
    cshm_subscriber_leave(scene_of(world)->lossless);
    return 0;
}

static int get_lossless(struct world *world)
{
    CHECK(get(scene_of(world)->lossless) > 0);
    return 0;
}

static int get_overwriting(struct world *world)
{
    CHECK(get(scene_of(world)->overwriting) > 0);
    return 0;
}

static void overtake(void *context)
{
    struct scene *scene = context;
    cshm_publisher *publisher = NULL;
    CHECK_EQ(cshm_publisher_join(scene->broadcast, &publisher), 0);
    while (put(publisher, OTHERS) == 0) {
    }
    cshm_publisher_leave(publisher);
}

/* Its message is overwritten between the look at it and its pin. */
static int get_what_is_overwritten(struct world *world)
{
    knife_interleave(overtake, scene_of(world));
    CHECK(get(scene_of(world)->overwriting) > 0);
    CHECK(cshm_subscriber_lost(scene_of(world)->overwriting) > 0);
    return 0;
}

static int get_what_was_dropped(struct world *world)
{
    CHECK(get(scene_of(world)->overwriting) > 1);
    CHECK(cshm_subscriber_lost(scene_of(world)->overwriting) > 0);
    return 0;
}

static int get_the_end(struct world *world)
{
    struct scene *scene = scene_of(world);
    struct cshm_broadcast_message message;
    while (get(scene->lossless) > 0) {
    }
    return cshm_subscriber_peek_until(scene->lossless, &message, INT64_MAX);
}

static int finish(struct world *world)
{
    return cshm_broadcast_finish(scene_of(world)->broadcast);
}

static int cancel(struct world *world)
{
    cshm_broadcast_cancel(scene_of(world)->broadcast);
    return 0;
}

static int create(struct world *world)
{
    open_broadcast(world);
    return 0;
}

static int create_limited(struct world *world)
{
    open_with(world, TWO_LONG);
    return 0;
}

static void make_own(struct world *world)
{
    open_broadcast(world);
    be_publisher(world);
    CHECK_EQ(put(scene_of(world)->publisher, VICTIMS + 1), 0);
}

static int destroy(struct world *world)
{
    cshm_broadcast_destroy(scene_of(world)->broadcast);
    return 0;
}

/* ---- others ---- */

/* Whoever comes next, as publisher and as subscriber. */
static void take_part(struct world *world)
{
    cshm_broadcast *broadcast = scene_of(world)->broadcast;
    cshm_publisher *publisher = NULL;
    cshm_subscriber *subscriber = NULL;
    CHECK(cshm_broadcast_subscribers(broadcast) <= SUBSCRIBERS);
    int status = cshm_publisher_join(broadcast, &publisher);
    CHECK(status == 0 || status == -EPIPE || status == -ECANCELED);
    if (status == 0) {
        status = put(publisher, OTHERS + 1);
        CHECK(status == 0 || status == -EAGAIN || status == -EPIPE);
        cshm_publisher_leave(publisher);
    }
    status = cshm_subscriber_join(broadcast, CSHM_OVERWRITE, 1, &subscriber);
    CHECK(status == 0 || status == -ECANCELED);
    if (status == 0) {
        CHECK(get(subscriber) != -EPROTO);
        cshm_subscriber_leave(subscriber);
    }
}

/* The survivor's publisher and subscribers work on, whoever is stopped. */
static void go_on(struct world *world)
{
    struct scene *scene = scene_of(world);
    int status = put(scene->publisher, OTHERS);
    CHECK(status == 0 || status == -EAGAIN || status == -EPIPE || status == -ECANCELED);
    CHECK(get(scene->overwriting) != -EPROTO);
    CHECK(cshm_broadcast_count(scene->broadcast) >= scene->put / 2);
}

/* ---- what holds afterwards ---- */

/* Everything the survivor put, in order, and the victim's messages, in order and all if the put
 * returned; @returns how the stream ends. */
static int drain(struct world *world, uint64_t victims)
{
    struct scene *scene = scene_of(world);
    int64_t last = 0;
    uint64_t of_victim = 0;
    for (;;) {
        int64_t id = get(scene->lossless);
        if (id < 0) {
            CHECK(last == (int64_t)scene->put || id == -ECANCELED);
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
            CHECK(id > last);
            last = id;
        }
    }
}

static void count_slot(uint32_t *seen, uint32_t slot, uint32_t count)
{
    CHECK(slot < count && seen[slot] == 0);
    seen[slot] = 1;
}

/* No more bytes are kept than there may be. */
static void check_bytes(const cshm_broadcast *broadcast)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < CAPACITY; i++) {
        uint32_t slot = cshm__slot_of(broadcast, atomic_load(&broadcast->cells[i]));
        const struct cshm_slot *held = cshm__slot_at(broadcast, slot);
        bytes += atomic_load(&held->block) != 0 ? held->length : 0;
    }
    CHECK(broadcast->byte_limit == 0 || bytes <= broadcast->byte_limit);
}

/* Each slot is in one cell, spare or hand. */
static void check_slots(const cshm_broadcast *broadcast)
{
    uint32_t seen[CAPACITY + SUBSCRIBERS + 2 * PUBLISHERS] = {0};
    bool limited = broadcast->byte_limit != 0;
    CHECK_EQ(broadcast->slot_count, CAPACITY + SUBSCRIBERS + (limited ? 2 : 1) * PUBLISHERS);
    for (uint32_t i = 0; i < CAPACITY; i++) {
        count_slot(seen, cshm__slot_of(broadcast, atomic_load(&broadcast->cells[i])),
                   broadcast->slot_count);
    }
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        count_slot(seen, cshm__slot_of(broadcast, atomic_load(&broadcast->spares[i])),
                   broadcast->slot_count);
    }
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        uint64_t own = atomic_load(&broadcast->publishers[i].own);
        CHECK_EQ((uint32_t)own, 0);
        count_slot(seen, (uint32_t)(own >> 32), broadcast->slot_count);
        if (limited) {
            CHECK_EQ((uint32_t)atomic_load(&broadcast->publishers[i].empty), 0);
            count_slot(seen, (uint32_t)hand_of(&broadcast->publishers[i], true),
                       broadcast->slot_count);
        }
    }
}

/* Takes every line that the survivor does not hold already, and uses it. */
static void check_lines(struct scene *scene)
{
    cshm_publisher *publishers[PUBLISHERS];
    cshm_subscriber *subscribers[SUBSCRIBERS];
    for (uint32_t i = 1; i < PUBLISHERS; i++) {
        struct message message;
        uint64_t length = 0;
        CHECK_EQ(cshm_publisher_join(scene->broadcast, &publishers[i]), 0);
        CHECK_EQ(put(publishers[i], OTHERS), 0);
        CHECK_EQ(cshm_subscriber_count(scene->lossless), 1);
        CHECK_EQ(cshm_subscriber_get_until(scene->lossless, &message, sizeof message, &length,
                                           INT64_MAX),
                 0);
        CHECK_EQ(message.id, OTHERS);
    }
    CHECK_EQ(cshm_publisher_join(scene->broadcast, &publishers[0]), -EUSERS);
    check_slots(scene->broadcast);
    for (uint32_t i = 2; i < SUBSCRIBERS; i++) {
        CHECK_EQ(cshm_subscriber_join(scene->broadcast, CSHM_LOSSLESS, 0, &subscribers[i]), 0);
        CHECK_EQ(put(scene->publisher, OTHERS + 1), 0);
        CHECK_EQ(get(subscribers[i]), OTHERS + 1);
        CHECK_EQ(get(scene->lossless), OTHERS + 1);
    }
    CHECK_EQ(cshm_subscriber_join(scene->broadcast, CSHM_LOSSLESS, 0, &subscribers[0]), -EUSERS);
    CHECK_EQ(cshm_broadcast_subscribers(scene->broadcast), SUBSCRIBERS);
}

static void end(struct world *world)
{
    struct scene *scene = scene_of(world);
    CHECK_EQ(blocks_in_use(world->region) >= 1, 1);
    cshm_broadcast_destroy(scene->broadcast);
    (void)cshm_region_reap(world->region);
    CHECK_EQ(blocks_in_use(world->region), 0);
    free(scene);
}

static void check_open(struct world *world, uint64_t victims)
{
    check_bytes(scene_of(world)->broadcast);
    CHECK_EQ(drain(world, victims), -EAGAIN);
    check_lines(scene_of(world));
    end(world);
}

static void check_none(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
    check_open(world, 0);
}

static void check_one(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
    check_open(world, 1);
}

static void check_two(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 2);
    check_open(world, 2);
}

static void check_full(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -EAGAIN);
    check_open(world, 0);
}

/* Told so, as long as one was moving. */
static void check_still_moving(struct world *world)
{
    struct cshm_broadcast *broadcast = scene_of(world)->broadcast;
    CHECK(!returned(world) || world->report->status == -EUSERS);
    uint64_t mine = atomic_load(&broadcast->publishers[0].own);
    atomic_store(&broadcast->publishers[0].own, mine >> 32 << 32);
    check_open(world, 0);
}

/* Over for all, once the dead are certified. */
static void check_left(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -EPIPE);
    CHECK_EQ(drain(world, 0), -EPIPE);
    end(world);
}

/* Ended for everybody, as `status` says, or for nobody. */
static void check_ended(struct world *world, int status)
{
    struct scene *scene = scene_of(world);
    int ended = drain(world, 0);
    CHECK(ended == status || (ended == -EAGAIN && !returned(world)));
    CHECK_EQ(put(scene->publisher, scene->put + 2), ended == status ? status : 0);
    scene->put += ended == status ? 0 : 2;
    CHECK_EQ(get(scene->lossless), ended == status ? status : (int64_t)scene->put);
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

static void get_on(struct world *world)
{
    CHECK(get(scene_of(world)->overwriting) != -EPROTO);
}

#define ROW(title, scene, ready, operation, holds)                                               \
    .name = title, .setup = scene, .prepare = ready, .operate = operation, .recover = take_part, \
    .check = holds, .meanwhile = go_on

const struct scenario broadcast_scenarios[] = {
    {ROW("put_short", make_busy, be_publisher, put_short, check_one), .pairs = 1},
    {ROW("put_long", make_busy, be_publisher, put_long, check_one), .pairs = 5},
    {ROW("put_over_a_long_one", make_used, be_publisher, put_short, check_one), .pairs = 1},
    {ROW("put_in_the_place_of_a_pinned_one", make_busy, be_publisher_of_a_pinned_slot, put_short,
         check_one),
     .pairs = 1},
    {ROW("put_into_a_full_one", make_full, be_publisher, put_long, check_full)},
    {ROW("put_many", make_busy, be_publisher, put_many, check_two)},
    {ROW("put_that_drops_one", make_droppable, be_publisher, put_long, check_one), .pairs = 3},
    {ROW("put_that_drops_what_is_read", make_droppable_and_read, be_publisher, put_long, check_one),
     .pairs = 3},
    {ROW("put_that_drops_by_a_spare_slot", make_droppable, be_publisher_of_a_pinned_empty_slot,
         put_long, check_one)},
    {ROW("put_many_that_drop_two", make_droppable, be_publisher, put_many, check_two)},
    {ROW("put_beyond_the_byte_limit", make_limited, be_publisher, put_long, check_full)},
    {ROW("publisher_leave_with_what_it_dropped", make_droppable, be_publisher_that_dropped,
         leave_as_publisher, check_one)},
    {ROW("claim_and_abort", make_busy, be_publisher, claim_and_abort, check_none)},
    {ROW("publisher_join", make_busy, NULL, join_as_publisher, check_none), .pairs = 1},
    {ROW("publisher_join_over_the_dead", make_crowded, NULL, join_as_publisher, check_none),
     .pairs = 1},
    {ROW("publisher_leave", make_busy, be_publisher, leave_as_publisher, check_none), .pairs = 1},
    {ROW("lossless_join", make_busy, NULL, join_lossless, check_none), .pairs = 1},
    {ROW("lossless_join_over_the_dead", make_crowded, NULL, join_lossless, check_none), .pairs = 1},
    {ROW("lossless_get", make_busy, be_lossless, get_lossless, check_none)},
    {ROW("lossless_leave", make_busy, be_lossless, leave_lossless, check_none)},
    {ROW("overwriting_join", make_busy, NULL, join_overwriting, check_none)},
    {ROW("overwriting_get", make_busy, be_overwriting, get_overwriting, check_none), .pairs = 1},
    {ROW("finish", make_busy, NULL, finish, check_finished), .pairs = 1},
    {ROW("cancel", make_busy, NULL, cancel, check_cancelled)},
    {ROW("put_that_stores_the_hint", make_long_used, be_publisher, put_short, check_one)},
    {ROW("overwriting_get_of_what_is_overwritten", make_used, be_overwriting_from_the_oldest,
         get_what_is_overwritten, check_none)},
    {.name = "publisher_join_while_one_is_moving",
     .setup = make_moving,
     .operate = join_as_publisher,
     .check = check_still_moving},
    {.name = "lossless_get_of_the_end",
     .setup = make_left,
     .prepare = be_lossless,
     .operate = get_the_end,
     .check = check_left,
     .meanwhile = get_on,
     .pairs = 1},
    {ROW("overwriting_get_of_what_was_dropped", make_dropped, be_overwriting_from_the_oldest,
         get_what_was_dropped, check_none)},
    {.name = "create", .operate = create, .check = check_gone},
    {.name = "create_limited", .operate = create_limited, .check = check_gone},
    {.name = "destroy_of_its_own", .prepare = make_own, .operate = destroy, .check = check_gone},
    {.name = NULL},
};
