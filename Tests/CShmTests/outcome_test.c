/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/outcome.h.
 */
#include "support.h"

#include <cshm/bell.h>
#include <cshm/outcome.h>

#include "layout.h"

extern const struct test outcome_tests[];

static const char news[] = "news";

struct scene {
    cshm_outcome outcome;
    uint64_t ticket;
    _Atomic uint32_t flag;
};

static uint64_t blocks(const cshm_region *region)
{
    struct cshm_heap_usage usage;
    cshm_heap_describe(region, &usage);
    return usage.blocks;
}

static cshm_outcome make(cshm_region *region)
{
    cshm_outcome outcome;
    CHECK_EQ(cshm_outcome_create(region, &outcome), 0);
    return outcome;
}

static void check_news(const cshm_region *region, const cshm_outcome *outcome)
{
    const void *bytes = NULL;
    uint64_t size = 0;
    CHECK_EQ(cshm_outcome_look(region, outcome, &bytes, &size), 0);
    CHECK_EQ(size, sizeof news);
    CHECK(memcmp(bytes, news, sizeof news) == 0);
}

static int look(const cshm_region *region, const cshm_outcome *outcome)
{
    const void *bytes = NULL;
    uint64_t size = 0;
    return cshm_outcome_look(region, outcome, &bytes, &size);
}

static void filled_once(void)
{
    cshm_region *region = make_region(1u << 20);
    CHECK_EQ(cshm_outcome_count(region), 0);
    cshm_outcome outcome = make(region);
    uint64_t used = blocks(region);
    CHECK_EQ(look(region, &outcome), -EAGAIN);
    CHECK_EQ(cshm_outcome_fill(region, &outcome, news, sizeof news), 0);
    CHECK_EQ(cshm_outcome_fill(region, &outcome, news, sizeof news), -EALREADY);
    check_news(region, &outcome);
    CHECK_EQ(blocks(region), used + 1);
    CHECK_EQ(cshm_outcome_count(region), 1);
    CHECK_EQ(cshm_outcome_release(region, &outcome), 0);
    CHECK_EQ(blocks(region), used);
    CHECK_EQ(cshm_outcome_count(region), 0);
    CHECK_EQ(look(region, &outcome), -ENOENT);
    CHECK_EQ(cshm_outcome_release(region, &outcome), -ENOENT);
    /* Of no bytes. */
    cshm_outcome empty = make(region);
    CHECK_EQ(cshm_outcome_fill(region, &empty, NULL, 0), 0);
    CHECK_EQ(look(region, &empty), 0);
    CHECK_EQ(cshm_outcome_release(region, &empty), 0);
    /* For which there is no memory. */
    cshm_outcome large = make(region);
    CHECK_EQ(cshm_outcome_fill(region, &large, news, UINT64_C(1) << 30), -ENOSPC);
    CHECK_EQ(look(region, &large), -ENOSPC);
    CHECK_EQ(cshm_outcome_release(region, &large), 0);
}

static void tickets(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_outcome outcome = make(region);
    uint64_t ticket = 0;
    uint64_t other = 0;
    CHECK_EQ(cshm_outcome_send(region, &outcome, &ticket), 0);
    CHECK_EQ(cshm_outcome_send(region, &outcome, &other), 0);
    CHECK(ticket != other);
    CHECK_EQ(cshm_outcome_fill(region, &outcome, news, sizeof news), 0);
    CHECK_EQ(cshm_outcome_release(region, &outcome), 0);
    CHECK_EQ(cshm_outcome_receive(region, &outcome, ticket), 0);
    check_news(region, &outcome);
    CHECK_EQ(cshm_outcome_retract(region, &outcome, ticket), 0); /* it is received: nothing */
    CHECK_EQ(cshm_outcome_receive(region, &outcome, ticket), 0); /* another one */
    CHECK_EQ(cshm_outcome_release(region, &outcome), 0);
    CHECK_EQ(cshm_outcome_release(region, &outcome), 0);
    CHECK_EQ(cshm_outcome_count(region), 1);
    CHECK_EQ(cshm_outcome_retract(region, &outcome, other), 0);
    CHECK_EQ(cshm_outcome_count(region), 0);
    CHECK_EQ(cshm_outcome_receive(region, &outcome, other), -ENOENT);
    /* The slot is another's now, and the old handle is none. */
    cshm_outcome next = make(region);
    CHECK_EQ(next.place, outcome.place);
    CHECK_EQ(cshm_outcome_receive(region, &outcome, other), -ENOENT);
    CHECK_EQ(look(region, &outcome), -ENOENT);
    CHECK_EQ(cshm_outcome_release(region, &next), 0);
}

static void kept(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_outcome outcome = make(region);
    CHECK_EQ(cshm_outcome_keep(region, &outcome), 0);
    CHECK_EQ(cshm_outcome_release(region, &outcome), 0);
    CHECK_EQ(cshm_outcome_fill(region, &outcome, news, sizeof news), 0);
    check_news(region, &outcome);
    /* More references than there are cells. */
    cshm_outcome crowded = make(region);
    uint64_t ticket = 1;
    for (uint32_t i = 0; i < CSHM_OUTCOME_CELLS; i++) {
        CHECK(ticket != 0);
        CHECK_EQ(cshm_outcome_send(region, &crowded, &ticket), 0);
    }
    CHECK_EQ(ticket, 0);
    CHECK_EQ(cshm_outcome_receive(region, &crowded, ticket), 0);
    for (uint32_t i = 0; i < 2 * CSHM_OUTCOME_CELLS; i++) {
        CHECK_EQ(cshm_outcome_release(region, &crowded), 0);
    }
    CHECK_EQ(look(region, &crowded), -EAGAIN);
    CHECK_EQ(cshm_outcome_count(region), 2);
}

static void many(void)
{
    cshm_region *region = make_region(4u << 20);
    enum { COUNT = 3 * CSHM_OUTCOME_SLOTS };
    cshm_outcome outcome[COUNT];
    for (int round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            outcome[i] = make(region);
            CHECK_EQ(cshm_outcome_fill(region, &outcome[i], &i, sizeof i), 0);
        }
        CHECK_EQ(cshm_outcome_count(region), COUNT);
        for (uint32_t i = 0; i < COUNT; i++) {
            const void *bytes = NULL;
            uint64_t size = 0;
            CHECK_EQ(cshm_outcome_look(region, &outcome[i], &bytes, &size), 0);
            CHECK(memcmp(bytes, &i, sizeof i) == 0);
            CHECK_EQ(cshm_outcome_release(region, &outcome[i]), 0);
        }
        CHECK_EQ(cshm_outcome_count(region), 0);
        CHECK_EQ(blocks(region), 3); /* the pages */
    }
}

static void bad_handles(void)
{
    cshm_region *region = make_region(1u << 20);
    struct cshm_waitable waitable;
    cshm_outcome none = {4096, 1};
    CHECK_EQ(look(region, &none), -EPROTO);
    cshm_outcome outcome = make(region);
    cshm_outcome bad[] = {
        {0, outcome.generation},
        {outcome.place + 8, outcome.generation},
        {outcome.place + (1u << 20), outcome.generation},
        {UINT64_MAX, outcome.generation},
    };
    uint64_t ticket = 0;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_EQ(look(region, &bad[i]), -EPROTO);
        CHECK_EQ(cshm_outcome_receive(region, &bad[i], 1), -EPROTO);
        CHECK_EQ(cshm_outcome_send(region, &bad[i], &ticket), -EPROTO);
        CHECK_EQ(cshm_outcome_fill(region, &bad[i], news, 1), -EPROTO);
        CHECK_EQ(cshm_outcome_waitable(region, &bad[i], &waitable), -EPROTO);
    }
    cshm_outcome late = {outcome.place, outcome.generation + 2};
    CHECK_EQ(cshm_outcome_receive(region, &late, 1), -ENOENT);
    CHECK_EQ(cshm_outcome_fill(region, &late, news, 1), -ENOENT);
    CHECK_EQ(cshm_outcome_waitable(region, &late, &waitable), -ENOENT);
    CHECK_EQ(cshm_outcome_release(region, &outcome), 0);
}

/* ---- other processes ---- */

static void make_and_send(cshm_region *region, void *context)
{
    struct scene *scene = context;
    scene->outcome = make(region);
    CHECK_EQ(cshm_outcome_send(region, &scene->outcome, &scene->ticket), 0);
    atomic_store(&scene->flag, 1);
    wait_until_set(&scene->flag, 2);
    CHECK_EQ(cshm_outcome_fill(region, &scene->outcome, news, sizeof news), 0);
}

static void make_and_pause(cshm_region *region, void *context)
{
    struct scene *scene = context;
    scene->outcome = make(region);
    CHECK_EQ(cshm_outcome_send(region, &scene->outcome, &scene->ticket), 0);
    atomic_store(&scene->flag, 1);
    for (;;) {
        pause();
    }
}

/* Waits as any would, in slices: what an owner's death makes ready is nothing. */
static int await_it(const cshm_region *region, const cshm_outcome *outcome)
{
    struct cshm_waitable waitable;
    CHECK_EQ(cshm_outcome_waitable(region, outcome, &waitable), 0);
    int64_t end = after(20 * SECOND);
    int status = look(region, outcome);
    while (status == -EAGAIN) {
        CHECK(cshm_now_ns() < end);
        int ready = cshm_wait_any(&waitable, 1, after(10 * MILLISECOND));
        CHECK(ready == 0 || ready == -ETIMEDOUT);
        status = look(region, outcome);
    }
    return status;
}

static void of_another(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = shared_memory(sizeof *scene);
    pid_t child = spawn(region, make_and_send, scene);
    wait_until_set(&scene->flag, 1);
    CHECK_EQ(cshm_outcome_receive(region, &scene->outcome, scene->ticket), 0);
    CHECK_EQ(look(region, &scene->outcome), -EAGAIN);
    CHECK_EQ(cshm_outcome_fill(region, &scene->outcome, news, 1), -EPERM);
    atomic_store(&scene->flag, 2);
    CHECK_EQ(await_it(region, &scene->outcome), 0);
    expect_success(child);
    check_news(region, &scene->outcome);
    /* The owner's reference went with it. */
    CHECK_EQ(cshm_outcome_release(region, &scene->outcome), 0);
    CHECK_EQ(cshm_outcome_count(region), 0);
}

static void of_a_dead_owner(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = shared_memory(sizeof *scene);
    pid_t child = spawn(region, make_and_pause, scene);
    wait_until_set(&scene->flag, 1);
    CHECK_EQ(cshm_outcome_receive(region, &scene->outcome, scene->ticket), 0);
    kill_child(child);
    CHECK_EQ(await_it(region, &scene->outcome), -EPIPE);
    CHECK_EQ(cshm_outcome_release(region, &scene->outcome), 0);
    CHECK_EQ(cshm_outcome_count(region), 0);
}

static void make_full_page(cshm_region *region, void *context)
{
    (void)context;
    for (uint32_t i = 0; i < CSHM_OUTCOME_SLOTS; i++) {
        cshm_outcome outcome = make(region);
        CHECK_EQ(cshm_outcome_fill(region, &outcome, news, sizeof news), 0);
    }
    kill(getpid(), SIGKILL);
}

/* Nobody has them: they go when a slot is wanted. */
static void of_the_dead(void)
{
    cshm_region *region = make_region(4u << 20);
    for (int round = 0; round < 10; round++) {
        expect_killed(spawn(region, make_full_page, NULL));
        CHECK_EQ(cshm_outcome_count(region), CSHM_OUTCOME_SLOTS);
        cshm_outcome outcome = make(region);
        CHECK_EQ(cshm_outcome_count(region), 1);
        CHECK_EQ(cshm_outcome_release(region, &outcome), 0);
        CHECK_EQ(blocks(region), 1); /* the page */
    }
}

/* Gives itself references and takes them back, as fast as it can. */
static void come_and_go(cshm_region *region, void *context)
{
    const struct scene *scene = context;
    for (;;) {
        uint64_t ticket = 0;
        cshm_outcome own = make(region);
        CHECK_EQ(cshm_outcome_fill(region, &own, news, sizeof news), 0);
        CHECK_EQ(cshm_outcome_receive(region, &scene->outcome, 0), 0);
        CHECK_EQ(cshm_outcome_send(region, &own, &ticket), 0);
        check_news(region, &scene->outcome);
        CHECK_EQ(cshm_outcome_release(region, &own), 0);
        CHECK_EQ(cshm_outcome_receive(region, &own, ticket), 0);
        check_news(region, &own);
        CHECK_EQ(cshm_outcome_release(region, &own), 0);
        CHECK_EQ(cshm_outcome_release(region, &scene->outcome), 0);
    }
}

static void killed_at_random(void)
{
    enum { CHILDREN = 3 };
    cshm_region *region = make_region(8u << 20);
    struct scene *scene = shared_memory(sizeof *scene);
    scene->outcome = make(region);
    CHECK_EQ(cshm_outcome_fill(region, &scene->outcome, news, sizeof news), 0);
    pid_t child[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        child[i] = spawn(region, come_and_go, scene);
    }
    uint64_t kills = 0;
    for (int64_t end = after(SECOND); cshm_now_ns() < end; kills++) {
        uint32_t victim = (uint32_t)(kills % CHILDREN);
        usleep(1000);
        kill_child(child[victim]);
        child[victim] = spawn(region, come_and_go, scene);
    }
    for (int i = 0; i < CHILDREN; i++) {
        kill_child(child[i]);
    }
    fprintf(stderr, "%llu kills, %lld outcomes left\n", (unsigned long long)kills,
            (long long)cshm_outcome_count(region));
    check_news(region, &scene->outcome);
    /* At most a ticket that each of the dead had on its way; and what nobody has goes. */
    CHECK((uint64_t)cshm_outcome_count(region) <= kills + CHILDREN + 1);
    CHECK_EQ(cshm_outcome_release(region, &scene->outcome), 0);
    CHECK_EQ(look(region, &scene->outcome), -ENOENT);
}

const struct test outcome_tests[] = {
    {"is_filled_once_and_goes_with_its_last_reference", filled_once},
    {"is_received_once_for_each_ticket", tickets},
    {"is_kept_if_asked_or_had_too_often", kept},
    {"takes_the_slots_of_those_that_are_gone", many},
    {"refuses_handles_that_are_none", bad_handles},
    {"of_another_process_can_be_waited_for", of_another},
    {"of_an_owner_that_dies_is_told", of_a_dead_owner},
    {"of_the_dead_goes_when_a_slot_is_wanted", of_the_dead},
    {"is_there_after_others_were_killed_at_random", killed_at_random},
    {NULL, NULL},
};
