/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The queue: what was put is delivered once, what was in flight wholly or not at all, what was leased
 * again; and no port, slot, token or block is lost, whoever dies.
 */
#include "kill.h"

#include <stdlib.h>

#include "queue_view.h"

extern const struct scenario queue_scenarios[];

static const int64_t MILLISECOND = 1000000;

enum {
    TAG = 7,
    PORTS = 6,
    SHORT = 16,
    ELEMENT = 24,
    LONG = 96,
    PUT_MAX = 16,
    VICTIMS = 1000, /* from this id on, messages are the victim's */
    OTHERS = 2000,  /* from this id on, whoever recovers or goes on meanwhile */
};

/* The survivor's view and what it knows of its messages. */
struct scene {
    cshm_queue *queue;
    uint32_t token;
    uint64_t ticket;
    uint64_t put;               /* ids put by the survivor: 1 to this */
    uint32_t seen[PUT_MAX + 1]; /* how often it was delivered */
    uint64_t last;
    uint64_t of_victim;
    struct cshm_message message; /* what a victim holds */
};

static struct scene *scene_of(const struct world *world)
{
    return world->handle;
}

/* ---- messages ---- */

static void write_words(uint64_t *words, uint64_t id, uint64_t bytes)
{
    words[0] = id;
    for (uint64_t i = 1; i < bytes / 8; i++) {
        words[i] = id * 0x9e3779b97f4a7c15ull + i;
    }
}

static int put(cshm_queue *queue, uint64_t id, uint64_t bytes)
{
    uint64_t words[LONG / 8];
    write_words(words, id, bytes);
    return cshm_queue_try_put(queue, words, bytes);
}

static int put_pack(cshm_queue *queue, uint64_t first, uint32_t count)
{
    uint64_t words[4][ELEMENT / 8];
    for (uint32_t i = 0; i < count; i++) {
        write_words(words[i], first + i, ELEMENT);
    }
    return cshm_queue_try_put_many(queue, words, ELEMENT, count);
}

/* Notes a delivery. Ids come in order, but for those that are delivered again, and for the parts of a
 * pack that was leased in parts. */
static void note(struct scene *scene, uint64_t id, bool redelivered)
{
    if (id >= OTHERS) {
        return;
    }
    if (id >= VICTIMS) {
        CHECK_EQ(id, VICTIMS + scene->of_victim);
        scene->of_victim++;
        return;
    }
    bool parts = scene->queue->pack > 1; /* it may have been cut while it divided a leased pack */
    CHECK(id >= 1 && id <= scene->put && scene->seen[id]++ <= (parts && redelivered));
    CHECK(redelivered || id > scene->last || parts);
    scene->last = redelivered ? scene->last : id;
}

static void note_all(struct scene *scene, const struct cshm_message *message)
{
    for (uint32_t i = 0; i < message->count; i++) {
        const uint64_t *found = (const void *)((const char *)message->data + i * message->length);
        uint64_t expected[LONG / 8];
        CHECK(message->length <= sizeof expected);
        write_words(expected, found[0], message->length);
        CHECK(memcmp(found, expected, message->length) == 0);
        note(scene, found[0], message->redelivered != 0);
    }
}

/* ---- scenes ---- */

static void make(struct world *world, const struct cshm_queue_options *options)
{
    struct scene *scene = calloc(1, sizeof *scene);
    CHECK(scene != NULL);
    world->handle = scene;
    CHECK_EQ(cshm_queue_create(world->region, options, &world->place[0]), 0);
    CHECK_EQ(cshm_queue_open(world->region, world->place[0], TAG, &scene->queue), 0);
}

static const struct cshm_queue_options PLAIN = {
    .capacity = 4, .slot_size = ELEMENT, .ports = PORTS, .type_tag = TAG};
static const struct cshm_queue_options PLAIN_OF_THREE = {
    .capacity = 4, .slot_size = ELEMENT, .ports = 3, .type_tag = TAG};
static const struct cshm_queue_options LIMITED = {
    .capacity = 4, .slot_size = ELEMENT, .ports = PORTS, .type_tag = TAG, .byte_limit = 2 * LONG};
static const struct cshm_queue_options PACKED = {
    .capacity = 12, .slot_size = 128, .ports = PORTS, .pack = 4, .type_tag = TAG};
static const struct cshm_queue_options UNEVEN = {
    .capacity = 5, .slot_size = ELEMENT, .ports = PORTS, .pack = 2, .type_tag = TAG};

static const struct cshm_queue_options PACKED_LIMITED = {.capacity = 12,
                                                         .slot_size = ELEMENT,
                                                         .ports = PORTS,
                                                         .pack = 4,
                                                         .type_tag = TAG,
                                                         .byte_limit = 160};

static void make_shared(struct world *world, const struct cshm_queue_options *options)
{
    make(world, options);
    CHECK_EQ(cshm_heap_share(world->region, world->place[0]), 0);
}

static void put_next(struct world *world, uint64_t bytes)
{
    struct scene *scene = scene_of(world);
    CHECK_EQ(put(scene->queue, scene->put + 1, bytes), 0);
    scene->put++;
}

static void make_empty(struct world *world)
{
    make_shared(world, &PLAIN);
}

static void make_two(struct world *world)
{
    make_shared(world, &PLAIN);
    put_next(world, ELEMENT);
    put_next(world, SHORT);
}

static void make_two_long(struct world *world)
{
    make_shared(world, &PLAIN);
    put_next(world, LONG);
    put_next(world, LONG);
}

static void make_full(struct world *world)
{
    make_two(world);
    put_next(world, LONG);
    put_next(world, ELEMENT);
}

static void make_limited(struct world *world)
{
    make_shared(world, &LIMITED);
    put_next(world, LONG);
}

static void make_full_of_bytes(struct world *world)
{
    make_limited(world);
    put_next(world, LONG);
}

static void make_packs(struct world *world)
{
    make_shared(world, &PACKED);
    CHECK_EQ(put_pack(scene_of(world)->queue, 1, 4), 4);
    CHECK_EQ(put_pack(scene_of(world)->queue, 5, 2), 2);
    scene_of(world)->put = 6;
}

/* A pack of four is beyond the limit, one of three is not. */
static void make_limited_packs(struct world *world)
{
    make_shared(world, &PACKED_LIMITED);
    CHECK_EQ(put_pack(scene_of(world)->queue, 1, 2), 2);
    scene_of(world)->put = 2;
}

static void make_uneven(struct world *world)
{
    make_shared(world, &UNEVEN);
    CHECK_EQ(put_pack(scene_of(world)->queue, 1, 2), 2);
    scene_of(world)->put = 2;
}

/* The next message's position is `position`. */
static void make_worn(struct world *world, uint32_t position)
{
    struct cshm_message message;
    make_shared(world, &PLAIN);
    for (uint32_t i = 0; i < position - 1; i++) {
        CHECK_EQ(put(scene_of(world)->queue, OTHERS, ELEMENT), 0);
        CHECK_EQ(cshm_queue_try_take(scene_of(world)->queue, &message), 0);
        cshm_queue_release(scene_of(world)->queue, &message);
    }
    put_next(world, ELEMENT);
}

/* After it, the hint is stored. */
static void make_hinting(struct world *world)
{
    make_worn(world, 15);
}

/* After it, the high-water mark is. */
static void make_sampling(struct world *world)
{
    make_worn(world, 64);
}

/* The survivor has no port, and there are as many messages as ports. */
static void make_without_port(struct world *world)
{
    struct scene *scene;
    make_shared(world, &PLAIN_OF_THREE);
    for (uint32_t i = 0; i < 3; i++) {
        put_next(world, ELEMENT);
    }
    scene = scene_of(world);
    cshm_queue_close(scene->queue);
    CHECK_EQ(cshm_queue_open(world->region, world->place[0], TAG, &scene->queue), 0);
}

static void claim_one(struct world *world)
{
    struct scene *scene = scene_of(world);
    CHECK_EQ(cshm_queue_claim(scene->queue, LONG, &scene->message), 0);
}

/* No port is free: one is the survivor's, the others are the dead's. */
static void make_crowded(struct world *world)
{
    make_two(world);
    for (uint32_t i = 1; i < PORTS; i++) {
        kill_after(world, claim_one);
    }
}

static void make_produced(struct world *world)
{
    make_two(world);
    CHECK_EQ(cshm_queue_producer_open(scene_of(world)->queue, &scene_of(world)->token), 0);
}

static void make_sent(struct world *world)
{
    make_produced(world);
    CHECK_EQ(cshm_queue_producer_send(scene_of(world)->queue, &scene_of(world)->ticket), 0);
}

/* ---- what a victim has before its operation ---- */

static void lease_one(struct world *world)
{
    struct scene *scene = scene_of(world);
    CHECK_EQ(cshm_queue_try_lease(scene->queue, 1, &scene->message), 0);
}

static void lease_a_pack(struct world *world)
{
    struct scene *scene = scene_of(world);
    CHECK_EQ(cshm_queue_try_lease(scene->queue, 4, &scene->message), 0);
    CHECK_EQ(scene->message.count, 4);
}

static void lease_a_part(struct world *world)
{
    struct scene *scene = scene_of(world);
    CHECK_EQ(cshm_queue_try_lease(scene->queue, 2, &scene->message), 0);
    CHECK_EQ(scene->message.count, 2);
}

static void lease_by_every_port(struct world *world)
{
    for (uint32_t i = 0; i < 3; i++) {
        lease_one(world);
    }
}

static void return_one(struct world *world)
{
    lease_one(world);
    cshm_queue_return(scene_of(world)->queue, &scene_of(world)->message);
}

/* What says how much is left of it was written over. */
static void damage_one(struct world *world)
{
    cshm_queue *queue = scene_of(world)->queue;
    return_one(world);
    for (uint32_t i = 0; i < PORTS; i++) {
        if (CSHM_OWNER_IS_SIDE(atomic_load(&queue->ports[i].owner))) {
            atomic_store(&queue->ports[i].left, CSHM_QUEUE_PACK_MAX + 1);
        }
    }
}

static void open_token(struct world *world)
{
    CHECK_EQ(cshm_queue_producer_open(scene_of(world)->queue, &scene_of(world)->token), 0);
}

static void use_a_port(struct world *world)
{
    claim_one(world);
    cshm_queue_abort(scene_of(world)->queue, &scene_of(world)->message);
}

static void make_own(struct world *world)
{
    make(world, &PLAIN);
    put_next(world, LONG);
}

/* ---- operations ---- */

static int put_exact(struct world *world)
{
    return put(scene_of(world)->queue, VICTIMS, ELEMENT);
}

static int put_short(struct world *world)
{
    return put(scene_of(world)->queue, VICTIMS, SHORT);
}

static int put_long(struct world *world)
{
    return put(scene_of(world)->queue, VICTIMS, LONG);
}

static int put_in_vain(struct world *world)
{
    uint64_t words[LONG / 8];
    write_words(words, VICTIMS, LONG);
    return cshm_queue_put_until(scene_of(world)->queue, words, LONG, cshm_now_ns() + MILLISECOND);
}

static int put_four(struct world *world)
{
    return put_pack(scene_of(world)->queue, VICTIMS, 4);
}

static int put_three(struct world *world)
{
    return put_pack(scene_of(world)->queue, VICTIMS, 3);
}

static int put_three_until(struct world *world)
{
    uint64_t words[3 * ELEMENT / 8];
    for (uint64_t i = 0; i < 3; i++) {
        write_words(words + i * (ELEMENT / 8), VICTIMS + i, ELEMENT);
    }
    return cshm_queue_put_many_until(scene_of(world)->queue, words, ELEMENT, 3, INT64_MAX);
}

static int claim_and_abort(struct world *world)
{
    struct scene *scene = scene_of(world);
    int status = cshm_queue_claim(scene->queue, LONG, &scene->message);
    if (status == 0) {
        cshm_queue_abort(scene->queue, &scene->message);
    }
    return status;
}

static int commit(struct world *world)
{
    struct scene *scene = scene_of(world);
    int status = cshm_queue_claim(scene->queue, LONG, &scene->message);
    if (status == 0) {
        write_words(scene->message.data, VICTIMS, LONG);
        status = cshm_queue_commit_until(scene->queue, &scene->message, INT64_MAX);
    }
    return status;
}

/* The victim has messages, and tells how many before it lets go of them. */
static void keep_none(struct world *world, int status)
{
    struct scene *scene = scene_of(world);
    if (status == 0) {
        for (uint32_t i = 0; i < scene->message.count; i++) {
            const char *element = (const char *)scene->message.data + i * scene->message.length;
            uint64_t id = *(const uint64_t *)(const void *)element;
            atomic_fetch_add(&world->report->word[0], id < VICTIMS ? 1 : 0);
        }
        cshm_queue_release(scene->queue, &scene->message);
    }
}

static int take(struct world *world)
{
    struct scene *scene = scene_of(world);
    int status = cshm_queue_take_until(scene->queue, &scene->message, cshm_now_ns());
    keep_none(world, status);
    return status;
}

static int take_pack(struct world *world)
{
    struct scene *scene = scene_of(world);
    int status = cshm_queue_try_take_many(scene->queue, 4, &scene->message);
    keep_none(world, status);
    return status;
}

static int lease(struct world *world)
{
    return cshm_queue_lease_until(scene_of(world)->queue, 1, &scene_of(world)->message,
                                  cshm_now_ns());
}

static int lease_two(struct world *world)
{
    return cshm_queue_try_lease(scene_of(world)->queue, 2, &scene_of(world)->message);
}

static int release(struct world *world)
{
    keep_none(world, 0);
    return 0;
}

static int give_back(struct world *world)
{
    cshm_queue_return(scene_of(world)->queue, &scene_of(world)->message);
    return 0;
}

static int finish(struct world *world)
{
    cshm_queue_finish(scene_of(world)->queue);
    return 0;
}

static int take_to_the_end(struct world *world)
{
    int status;
    cshm_queue_finish(scene_of(world)->queue);
    while ((status = take(world)) == 0) {
    }
    return status;
}

static int cancel(struct world *world)
{
    cshm_queue_cancel(scene_of(world)->queue);
    return 0;
}

static int open_producer(struct world *world)
{
    return cshm_queue_producer_open(scene_of(world)->queue, &scene_of(world)->token);
}

static int close_producer(struct world *world)
{
    cshm_queue_producer_close(scene_of(world)->queue, scene_of(world)->token);
    return 0;
}

static int send_producer(struct world *world)
{
    return cshm_queue_producer_send(scene_of(world)->queue, &scene_of(world)->ticket);
}

static int receive_producer(struct world *world)
{
    struct scene *scene = scene_of(world);
    return cshm_queue_producer_receive(scene->queue, scene->ticket, &scene->token);
}

static int close_view(struct world *world)
{
    cshm_queue_close(scene_of(world)->queue);
    return 0;
}

static int create(struct world *world)
{
    make(world, &PLAIN);
    return 0;
}

static int destroy(struct world *world)
{
    cshm_queue_destroy(scene_of(world)->queue);
    return 0;
}

/* ---- others ---- */

static bool is_answer(int status)
{
    return status == 0 || status == -EAGAIN || status == -EPIPE || status == -ECANCELED;
}

/* Whoever comes next: puts, and looks at a message without keeping it. */
static void take_part(struct world *world)
{
    cshm_queue *queue = scene_of(world)->queue;
    struct cshm_message message;
    CHECK(is_answer(put(queue, OTHERS, ELEMENT)));
    int status = cshm_queue_try_lease(queue, 1, &message);
    CHECK(is_answer(status));
    if (status == 0) {
        cshm_queue_return(queue, &message);
    }
}

/* The survivor goes on, whoever is stopped. */
static void go_on(struct world *world)
{
    struct scene *scene = scene_of(world);
    struct cshm_message message;
    CHECK(is_answer(put(scene->queue, OTHERS, ELEMENT)));
    int status = cshm_queue_try_take(scene->queue, &message);
    CHECK(is_answer(status));
    if (status == 0) {
        note_all(scene, &message);
        cshm_queue_release(scene->queue, &message);
    }
    CHECK(cshm_queue_count(scene->queue) <= cshm_queue_capacity(scene->queue));
}

/* ---- what holds afterwards ---- */

static uint64_t leased(const cshm_queue *queue)
{
    struct cshm_queue_info info;
    cshm_queue_describe(queue, &info);
    return info.leased;
}

/* Takes everything, also what the dead had leased: they are looked for now and then. @returns why
 * there is no more. */
static int drain(struct scene *scene)
{
    struct cshm_message message;
    int status;
    do {
        int64_t until = leased(scene->queue) == 0 ? 0 : cshm_now_ns() + 10 * MILLISECOND;
        status = cshm_queue_take_many_until(scene->queue, 4, &message, until);
        if (status == 0) {
            note_all(scene, &message);
            cshm_queue_release(scene->queue, &message);
        }
    } while (status == 0 || (status == -ETIMEDOUT && leased(scene->queue) != 0));
    return status;
}

/* How many of the survivor's messages were not delivered to it. */
static uint64_t missing(const struct scene *scene)
{
    uint64_t count = 0;
    for (uint64_t id = 1; id <= scene->put; id++) {
        count += scene->seen[id] == 0;
    }
    return count;
}

/* Each slot is in one cell or hand. */
static void check_slots(const cshm_queue *queue)
{
    uint32_t seen[32] = {0};
    CHECK(queue->slot_count <= 32);
    for (uint32_t i = 0; i < queue->slot_count; i++) {
        uint64_t own = i < queue->ring ? 0 : atomic_load(&queue->ports[i - queue->ring].own);
        uint64_t slot = i < queue->ring
                            ? atomic_load(&queue->cells[i]) & ((1ull << queue->slot_bits) - 1)
                            : CSHM_OWN_HAND(own);
        CHECK_EQ(CSHM_OWN_INTENT(own), 0);
        CHECK(slot < queue->slot_count && seen[slot]++ == 0);
    }
}

static void check_ports(cshm_queue *queue)
{
    struct cshm_message claimed[PORTS];
    struct cshm_message one;
    for (uint32_t i = 0; i < PORTS; i++) {
        CHECK_EQ(cshm_queue_claim(queue, 8, &claimed[i]), 0);
    }
    CHECK_EQ(cshm_queue_claim(queue, 8, &one), -EUSERS);
    check_slots(queue);
    for (uint32_t i = 0; i < PORTS; i++) {
        cshm_queue_abort(queue, &claimed[i]);
    }
}

static void check_capacity(cshm_queue *queue)
{
    struct cshm_message message;
    uint64_t count = cshm_queue_capacity(queue);
    CHECK_EQ(cshm_queue_count(queue), 0);
    for (uint64_t i = 0; i < count; i++) {
        CHECK_EQ(put(queue, OTHERS, SHORT), 0);
        CHECK_EQ(cshm_queue_count(queue), i + 1);
    }
    CHECK_EQ(put(queue, OTHERS, SHORT), -EAGAIN);
    for (uint64_t i = 0; i < count; i++) {
        CHECK_EQ(cshm_queue_try_take(queue, &message), 0);
        cshm_queue_release(queue, &message);
    }
}

static void end(struct world *world)
{
    struct scene *scene = scene_of(world);
    struct cshm_queue_info info;
    cshm_queue_describe(scene->queue, &info);
    CHECK_EQ(info.bytes, 0);
    CHECK_EQ(info.leased, 0);
    CHECK_EQ(blocks_in_use(world->region), 1);
    cshm_queue_destroy(scene->queue);
    free(scene);
}

/* All of the survivor's messages were delivered but those that the victim says it took, and of the
 * victim's all that it put. What was in flight when it died, up to `lost` and `put_by_victim`, was or
 * was not. */
static void check_open(struct world *world, uint64_t lost, uint64_t put_by_victim)
{
    struct scene *scene = scene_of(world);
    uint64_t taken = atomic_load(&world->report->word[0]);
    CHECK_EQ(drain(scene), -ETIMEDOUT);
    CHECK(missing(scene) <= lost && missing(scene) >= (returned(world) ? taken : 0));
    CHECK(missing(scene) <= taken || !returned(world));
    CHECK(scene->of_victim == put_by_victim ||
          (scene->of_victim < put_by_victim && !returned(world)));
    CHECK_EQ(cshm_queue_join_until(scene->queue, INT64_MAX), 0);
    check_ports(scene->queue);
    check_capacity(scene->queue);
    end(world);
}

static void check_nothing(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
    check_open(world, 0, 0);
}

static void check_one_put(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
    check_open(world, 0, 1);
}

static void check_three_put(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 3);
    check_open(world, 0, 3);
}

static void check_four_put(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 4);
    check_open(world, 0, 4);
}

static void check_none_put(struct world *world)
{
    int status = world->report->status;
    CHECK(!returned(world) || status == -EAGAIN || status == -ETIMEDOUT);
    check_open(world, 0, 0);
}

static void check_one_taken(struct world *world)
{
    int status = world->report->status;
    CHECK(!returned(world) || status == 0 || status == -ETIMEDOUT);
    check_open(world, 1, 0);
}

/* One taker, and only one, is told; the message is no more. */
static void check_damaged(struct world *world)
{
    int status = drain(scene_of(world));
    CHECK(!returned(world) || world->report->status == -EPROTO);
    CHECK(status == -ETIMEDOUT || (status == -EPROTO && !returned(world)));
    atomic_store(&world->report->word[0], 1);
    check_open(world, 1, 0);
}

static void check_four_taken(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
    check_open(world, 4, 0);
}

static void check_empty(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -ETIMEDOUT);
    check_open(world, 0, 0);
}

/* Ended for everybody, as `status` says; or for nobody. */
static void check_ended(struct world *world, int status, uint64_t lost)
{
    struct scene *scene = scene_of(world);
    int ended = drain(scene);
    CHECK(ended == status || (ended == -ETIMEDOUT && !returned(world)));
    CHECK(missing(scene) <= lost);
    CHECK_EQ(put(scene->queue, OTHERS, SHORT), ended == status ? status : 0);
    CHECK_EQ(drain(scene), ended);
    if (status == -ECANCELED) { /* what is in it stays there */
        cshm_queue_destroy(scene->queue);
        free(scene);
    } else {
        end(world);
    }
}

static void check_finished(struct world *world)
{
    check_ended(world, -EPIPE, 0);
}

static void check_finished_by_taker(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -EPIPE);
    check_ended(world, -EPIPE, 2);
}

static void check_cancelled(struct world *world)
{
    check_ended(world, -ECANCELED, 2);
}

/* Told that it has no port; the messages come all the same, and with them their ports. */
static void check_all_again(struct world *world)
{
    struct scene *scene = scene_of(world);
    CHECK(!returned(world) || world->report->status == -EUSERS);
    CHECK_EQ(drain(scene), -ETIMEDOUT);
    CHECK_EQ(missing(scene), 0);
    check_capacity(scene->queue);
    end(world);
}

/* The only producer has ended, in one way or another. */
static void check_abandoned(struct world *world)
{
    struct scene *scene = scene_of(world);
    struct cshm_message message;
    int status;
    while ((status = cshm_queue_take_until(scene->queue, &message, INT64_MAX)) == 0) {
        note_all(scene, &message);
        cshm_queue_release(scene->queue, &message);
    }
    CHECK_EQ(status, -EPIPE);
    CHECK_EQ(missing(scene), 0);
    end(world);
}

/* The survivor's token keeps the queue open; every other one can be had. */
static void check_tokens(struct world *world)
{
    cshm_queue *queue = scene_of(world)->queue;
    uint32_t tokens[PORTS];
    CHECK(!returned(world) || world->report->status == 0);
    for (uint32_t i = 1; i < PORTS; i++) {
        CHECK_EQ(cshm_queue_producer_open(queue, &tokens[i]), 0);
    }
    CHECK_EQ(cshm_queue_producer_open(queue, &tokens[0]), -EUSERS);
    check_open(world, 0, 0);
}

/* Received by the victim, or still to be received. */
static void check_ticket(struct world *world)
{
    struct scene *scene = scene_of(world);
    uint32_t token = 0;
    int status = cshm_queue_producer_receive(scene->queue, scene->ticket, &token);
    CHECK(status == -ENOENT || (status == 0 && !returned(world)));
    if (status == 0) {
        cshm_queue_producer_close(scene->queue, token);
    }
    check_tokens(world);
}

static void check_gone(struct world *world)
{
    CHECK_EQ(blocks_in_use(world->region), 0);
}

#define ROW(title, scene, ready, operation, holds)                                               \
    .name = title, .setup = scene, .prepare = ready, .operate = operation, .recover = take_part, \
    .check = holds, .meanwhile = go_on

const struct scenario queue_scenarios[] = {
    {ROW("put_exact", make_two, NULL, put_exact, check_one_put), .pairs = 1},
    {ROW("put_short", make_two, NULL, put_short, check_one_put)},
    {ROW("put_long", make_two, NULL, put_long, check_one_put), .pairs = 3},
    {ROW("put_over_a_long_one", make_crowded, NULL, put_short, check_one_put)},
    {.name = "put_into_a_full_one",
     .setup = make_full,
     .operate = put_in_vain,
     .recover = take_part,
     .check = check_none_put},
    {ROW("put_that_stores_the_hint", make_hinting, NULL, put_exact, check_one_put)},
    {ROW("put_that_samples", make_sampling, NULL, put_exact, check_one_put)},
    {ROW("put_by_a_port_of_the_dead", make_crowded, NULL, put_exact, check_one_put), .pairs = 1},
    {ROW("put_within_a_limit", make_limited, NULL, put_long, check_one_put), .pairs = 5},
    {.name = "put_beyond_a_limit",
     .setup = make_full_of_bytes,
     .operate = put_long,
     .check = check_none_put},
    {ROW("put_a_pack", make_packs, NULL, put_four, check_four_put), .pairs = 3},
    {ROW("put_parts_of_a_pack", make_uneven, NULL, put_three, check_three_put)},
    {ROW("put_parts_of_a_pack_within_a_limit", make_limited_packs, NULL, put_four, check_four_put)},
    {ROW("put_many_waiting", make_uneven, NULL, put_three_until, check_three_put)},
    {ROW("claim_and_abort", make_two, NULL, claim_and_abort, check_nothing)},
    {ROW("claim_and_commit", make_two, NULL, commit, check_one_put)},
    {ROW("take", make_two, NULL, take, check_one_taken), .pairs = 1},
    {ROW("take_long", make_two_long, NULL, take, check_one_taken), .pairs = 2},
    {ROW("take_within_a_limit", make_limited, NULL, take, check_one_taken)},
    {ROW("take_from_an_empty_one", make_empty, NULL, take, check_empty)},
    {ROW("take_a_part_of_a_pack", make_packs, NULL, take, check_one_taken), .pairs = 1},
    {ROW("take_a_pack", make_packs, NULL, take_pack, check_four_taken)},
    {ROW("take_what_was_returned", make_two, return_one, take, check_one_taken), .pairs = 1},
    {.name = "take_what_was_damaged",
     .setup = make_two,
     .prepare = damage_one,
     .operate = take,
     .check = check_damaged},
    {ROW("lease", make_two, NULL, lease, check_nothing), .pairs = 1},
    {ROW("lease_a_part_of_a_pack", make_packs, NULL, lease_two, check_nothing), .pairs = 1},
    {ROW("lease_what_was_returned", make_two, return_one, lease, check_nothing), .pairs = 1},
    {.name = "lease_by_every_port",
     .setup = make_without_port,
     .prepare = lease_by_every_port,
     .operate = lease,
     .check = check_all_again},
    {ROW("release_of_a_lease", make_two_long, lease_one, release, check_one_taken), .pairs = 1},
    {ROW("release_of_a_leased_pack", make_packs, lease_a_pack, release, check_four_taken)},
    {ROW("return", make_two, lease_one, give_back, check_nothing), .pairs = 1},
    {ROW("return_of_a_part_of_a_pack", make_packs, lease_a_part, give_back, check_nothing)},
    {ROW("finish", make_two, NULL, finish, check_finished), .pairs = 1},
    {ROW("finish_and_take_to_the_end", make_two, NULL, take_to_the_end, check_finished_by_taker)},
    {ROW("cancel", make_two, NULL, cancel, check_cancelled)},
    {ROW("producer_open", make_produced, NULL, open_producer, check_tokens), .pairs = 1},
    {ROW("producer_close", make_produced, open_token, close_producer, check_tokens)},
    {ROW("producer_close_of_the_last", make_two, open_token, close_producer, check_abandoned),
     .pairs = 1},
    {ROW("producer_send", make_produced, NULL, send_producer, check_tokens)},
    {ROW("producer_receive", make_sent, NULL, receive_producer, check_ticket)},
    {ROW("close", make_two, use_a_port, close_view, check_nothing)},
    {.name = "create", .operate = create, .check = check_gone},
    {.name = "destroy_of_its_own", .prepare = make_own, .operate = destroy, .check = check_gone},
    {.name = NULL},
};
