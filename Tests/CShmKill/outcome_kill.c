/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Outcomes: what somebody has stays, and what nobody has goes.
 */
#include "kill.h"

#include "internal.h"

extern const struct scenario outcome_scenarios[];

static const char news[] = "news";

/* The outcome of the scene is in place[0] and place[1], its ticket in place[2], blocks in place[3]. */
static cshm_outcome outcome_of(const struct world *world)
{
    return (cshm_outcome){world->place[0], world->place[1]};
}

static void note(struct world *world, const cshm_outcome *outcome)
{
    world->place[0] = outcome->place;
    world->place[1] = outcome->generation;
}

static void create_in(struct world *world)
{
    cshm_outcome outcome;
    CHECK_EQ(cshm_outcome_create(world->region, &outcome), 0);
    note(world, &outcome);
}

static int look(const struct world *world)
{
    const void *bytes = NULL;
    uint64_t size = 0;
    cshm_outcome outcome = outcome_of(world);
    int status = cshm_outcome_look(world->region, &outcome, &bytes, &size);
    CHECK(status != 0 || (size == sizeof news && memcmp(bytes, news, size) == 0));
    return status;
}

static void fill_it(struct world *world)
{
    cshm_outcome outcome = outcome_of(world);
    CHECK_EQ(cshm_outcome_fill(world->region, &outcome, news, sizeof news), 0);
}

/* The survivor has one, filled, and a ticket of it on its way. */
static void make_sent(struct world *world)
{
    create_in(world);
    fill_it(world);
    cshm_outcome outcome = outcome_of(world);
    CHECK_EQ(cshm_outcome_send(world->region, &outcome, &world->place[2]), 0);
}

static void make_many(struct world *world)
{
    for (uint32_t i = 0; i < CSHM_OUTCOME_SLOTS; i++) {
        cshm_outcome outcome;
        CHECK_EQ(cshm_outcome_create(world->region, &outcome), 0);
        CHECK_EQ(cshm_outcome_fill(world->region, &outcome, news, sizeof news), 0);
    }
}

/* All slots of a page are those of the dead. */
static void make_dead(struct world *world)
{
    kill_after(world, make_many);
    CHECK_EQ(cshm_outcome_count(world->region), CSHM_OUTCOME_SLOTS);
}

/* ... or those of the living. */
static void make_full(struct world *world)
{
    make_many(world);
}

/* The survivor's last ticket is all there is. */
static void make_ticket(struct world *world)
{
    make_sent(world);
    cshm_outcome outcome = outcome_of(world);
    CHECK_EQ(cshm_outcome_release(world->region, &outcome), 0);
}

/* Every cell but the survivor's is a dead one's. */
static void take_many(struct world *world)
{
    cshm_outcome outcome = outcome_of(world);
    for (uint32_t i = 2; i < CSHM_OUTCOME_CELLS; i++) {
        CHECK_EQ(cshm_outcome_receive(world->region, &outcome, 0), 0);
    }
}

static void make_crowded(struct world *world)
{
    make_sent(world);
    kill_after(world, take_many);
}

/* As many as there are cells. */
static void make_crowd(struct world *world)
{
    make_sent(world);
    take_many(world);
}

/* ---- what is done ---- */

static int create(struct world *world)
{
    cshm_outcome outcome;
    return cshm_outcome_create(world->region, &outcome);
}

static int create_fill_release(struct world *world)
{
    cshm_outcome outcome;
    int status = cshm_outcome_create(world->region, &outcome);
    status = status != 0 ? status : cshm_outcome_fill(world->region, &outcome, news, sizeof news);
    return status != 0 ? status : cshm_outcome_release(world->region, &outcome);
}

static int fill_without_room(struct world *world)
{
    cshm_outcome outcome;
    int status = cshm_outcome_create(world->region, &outcome);
    return status != 0 ? status
                       : cshm_outcome_fill(world->region, &outcome, news, UINT64_C(1) << 40);
}

static int receive(struct world *world)
{
    cshm_outcome outcome = outcome_of(world);
    return cshm_outcome_receive(world->region, &outcome, world->place[2]);
}

static int receive_and_look(struct world *world)
{
    int status = receive(world);
    return status != 0 ? status : look(world);
}

static int receive_and_release(struct world *world)
{
    cshm_outcome outcome = outcome_of(world);
    int status = cshm_outcome_receive(world->region, &outcome, world->place[2]);
    return status != 0 ? status : cshm_outcome_release(world->region, &outcome);
}

static int retract(struct world *world)
{
    cshm_outcome outcome = outcome_of(world);
    return cshm_outcome_retract(world->region, &outcome, world->place[2]);
}

static int receive_and_send(struct world *world)
{
    uint64_t ticket = 0;
    cshm_outcome outcome = outcome_of(world);
    int status = cshm_outcome_receive(world->region, &outcome, 0);
    status = status != 0 ? status : cshm_outcome_send(world->region, &outcome, &ticket);
    if (status == 0) {
        atomic_store(&world->report->word[0], ticket);
    }
    return status;
}

static int keep(struct world *world)
{
    cshm_outcome outcome = outcome_of(world);
    return cshm_outcome_keep(world->region, &outcome);
}

/* ---- what is found ---- */

/* Takes the table away, with what is kept, which nobody else ever does. */
static void end_table(struct world *world)
{
    _Atomic uint64_t *word = &world->region->live->outcomes;
    uint64_t place = atomic_exchange(word, 0);
    while (place != 0) {
        struct cshm_outcome_page *page = cshm_heap_pointer(world->region, place, sizeof *page);
        for (uint32_t i = 0; i < CSHM_OUTCOME_SLOTS; i++) {
            struct cshm_outcome_slot *slot = &page->slot[i];
            if (atomic_load(&slot->block) != 0) {
                cshm__heap_free_from(world->region, atomic_load(&slot->block), &slot->block);
            }
        }
        uint64_t next = atomic_load(&page->next);
        cshm__heap_free_from(world->region, place, word);
        word = &page->next;
        place = next;
    }
}

/* What the dead had goes when slots are wanted, as many as there are; then only pages are left. */
static void check_nothing_left(struct world *world)
{
    cshm_outcome outcome[2 * CSHM_OUTCOME_SLOTS];
    for (uint32_t i = 0; i < 2 * CSHM_OUTCOME_SLOTS; i++) {
        CHECK_EQ(cshm_outcome_create(world->region, &outcome[i]), 0);
    }
    CHECK_EQ(cshm_outcome_count(world->region), 2 * CSHM_OUTCOME_SLOTS);
    for (uint32_t i = 0; i < 2 * CSHM_OUTCOME_SLOTS; i++) {
        CHECK_EQ(cshm_outcome_release(world->region, &outcome[i]), 0);
    }
    CHECK_EQ(cshm_outcome_count(world->region), 0);
    CHECK_EQ(blocks_in_use(world->region), 2);
    end_table(world);
}

/* The living's are all there, too. */
static void check_full(struct world *world)
{
    CHECK(cshm_outcome_count(world->region) >= CSHM_OUTCOME_SLOTS);
    for (uint32_t i = 0; i < CSHM_OUTCOME_SLOTS; i++) {
        create_in(world);
    }
    CHECK_EQ(cshm_outcome_count(world->region), 2 * CSHM_OUTCOME_SLOTS);
    CHECK_EQ(blocks_in_use(world->region), 2 + CSHM_OUTCOME_SLOTS);
    end_table(world);
}

static void release_it(struct world *world)
{
    cshm_outcome outcome = outcome_of(world);
    CHECK_EQ(cshm_outcome_release(world->region, &outcome), 0);
}

/* The survivor's reference counts; with the ticket, if that is there still, goes all. */
static void check_had(struct world *world)
{
    cshm_outcome outcome = outcome_of(world);
    CHECK_EQ(look(world), 0);
    CHECK_EQ(cshm_outcome_retract(world->region, &outcome, world->place[2]), 0);
    CHECK_EQ(look(world), 0);
    release_it(world);
    CHECK_EQ(look(world), -ENOENT);
    check_nothing_left(world);
}

/* Who died with the only ticket had it, or left it. */
static void check_ticket(struct world *world)
{
    cshm_outcome outcome = outcome_of(world);
    int status = cshm_outcome_receive(world->region, &outcome, world->place[2]);
    CHECK(status == 0 || status == -ENOENT);
    CHECK(status != 0 || look(world) == 0);
    if (status == 0) {
        release_it(world);
    }
    CHECK_EQ(look(world), -ENOENT);
    check_nothing_left(world);
}

/* A ticket that the dead made, and did not hand on, stays. */
static void check_sent(struct world *world)
{
    cshm_outcome outcome = outcome_of(world);
    uint64_t ticket = atomic_load(&world->report->word[0]);
    CHECK_EQ(look(world), 0);
    release_it(world);
    CHECK_EQ(cshm_outcome_retract(world->region, &outcome, world->place[2]), 0);
    if (returned(world)) {
        CHECK_EQ(look(world), 0);
        CHECK_EQ(cshm_outcome_receive(world->region, &outcome, ticket), 0);
        release_it(world);
        CHECK_EQ(look(world), -ENOENT);
    }
    end_table(world);
}

static void check_crowd(struct world *world)
{
    CHECK_EQ(look(world), 0);
    for (uint32_t i = 1; i < CSHM_OUTCOME_CELLS; i++) {
        release_it(world);
    }
    cshm_outcome outcome = outcome_of(world);
    CHECK_EQ(cshm_outcome_retract(world->region, &outcome, world->place[2]), 0);
    CHECK(returned(world) ? look(world) == 0 : look(world) == 0 || look(world) == -ENOENT);
    end_table(world);
}

static void check_kept(struct world *world)
{
    cshm_outcome outcome = outcome_of(world);
    release_it(world);
    CHECK_EQ(cshm_outcome_retract(world->region, &outcome, world->place[2]), 0);
    int status = look(world);
    CHECK(status == 0 || (!returned(world) && status == -ENOENT));
    end_table(world);
}

/* Nobody who waits for an outcome waits for who has the guard. */
static void look_meanwhile(struct world *world)
{
    CHECK_EQ(look(world), 0);
}

const struct scenario outcome_scenarios[] = {
    {.name = "create", .operate = create, .check = check_nothing_left, .pairs = 5},
    {.name = "create_fill_release",
     .operate = create_fill_release,
     .check = check_nothing_left,
     .pairs = 7},
    {.name = "fill_without_room", .operate = fill_without_room, .check = check_nothing_left},
    {.name = "create_among_the_dead",
     .setup = make_dead,
     .operate = create,
     .check = check_nothing_left,
     .step = 7},
    {.name = "create_in_a_second_page", .setup = make_full, .operate = create, .check = check_full},
    {.name = "receive_and_look",
     .setup = make_sent,
     .operate = receive_and_look,
     .check = check_had,
     .meanwhile = look_meanwhile},
    {.name = "receive_and_release",
     .setup = make_ticket,
     .operate = receive_and_release,
     .check = check_ticket,
     .pairs = 3},
    {.name = "receive_in_the_place_of_the_dead",
     .setup = make_crowded,
     .operate = receive,
     .check = check_had},
    {.name = "retract",
     .setup = make_sent,
     .operate = retract,
     .check = check_had,
     .meanwhile = look_meanwhile},
    {.name = "receive_and_send",
     .setup = make_sent,
     .operate = receive_and_send,
     .check = check_sent,
     .meanwhile = look_meanwhile},
    {.name = "receive_in_a_crowd",
     .setup = make_crowd,
     .operate = receive_and_send,
     .check = check_crowd,
     .meanwhile = look_meanwhile},
    {.name = "keep",
     .setup = make_sent,
     .operate = keep,
     .check = check_kept,
     .meanwhile = look_meanwhile},
    {.name = NULL},
};
