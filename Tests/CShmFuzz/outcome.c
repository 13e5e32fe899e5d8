/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Outcomes. The object is the first page of their table; handles and tickets are this process's own.
 */
#include "fuzz.h"

#include "layout.h"

extern const struct subject fuzz_outcome;

enum { OUTCOMES = 4 /* two blocks of the scene each, and a handle for its ticket */ };

static cshm_outcome outcome_at(const struct scene *scene, uint32_t number)
{
    return (cshm_outcome){scene->block[2 * number], scene->block[2 * number + 1]};
}

static int make_one(struct scene *scene, uint32_t number)
{
    cshm_outcome outcome;
    int status = cshm_outcome_create(scene->region, &outcome);
    if (status == 0) {
        scene->block[2 * number] = outcome.place;
        scene->block[2 * number + 1] = outcome.generation;
    }
    return status;
}

static uint64_t *ticket_at(struct scene *scene, uint32_t number)
{
    _Static_assert(sizeof(void *) == sizeof(uint64_t), "a ticket fits a handle");
    return (uint64_t *)(void *)&scene->handle[number];
}

static void make_outcome(struct scene *scene)
{
    for (uint32_t i = 0; i < OUTCOMES; i++) {
        MUST(make_one(scene, i) == 0);
    }
    cshm_outcome sent = outcome_at(scene, 1);
    MUST(cshm_outcome_send(scene->region, &sent, ticket_at(scene, 1)) == 0);
    scene->place = scene->block[0] - offsetof(struct cshm_outcome_page, slot);
    fuzz_share(scene, sizeof(struct cshm_outcome_page));
}

static void read_outcome(const struct scene *scene, const cshm_outcome *outcome)
{
    struct cshm_waitable waitable;
    const void *bytes = NULL;
    uint64_t size = 0;
    if (cshm_outcome_waitable(scene->region, outcome, &waitable) == 0) {
        (void)!cshm_wait_any(&waitable, 1, 0);
    }
    if (cshm_outcome_look(scene->region, outcome, &bytes, &size) == 0) {
        for (uint64_t i = 0; i < size; i++) {
            (void)((const volatile uint8_t *)bytes)[i];
        }
    }
}

static void use_outcome(struct scene *scene, uint32_t operation, uint32_t argument)
{
    static const uint8_t bytes[256];
    uint32_t number = argument % OUTCOMES;
    uint64_t *ticket = ticket_at(scene, number);
    cshm_outcome outcome = outcome_at(scene, number);
    switch (operation) {
    case 0:
    case 1:
        (void)make_one(scene, number);
        break;
    case 2:
    case 3:
        (void)cshm_outcome_fill(scene->region, &outcome, bytes, argument);
        break;
    case 4:
    case 5:
        read_outcome(scene, &outcome);
        break;
    case 6:
    case 7:
        (void)!cshm_outcome_send(scene->region, &outcome, ticket);
        break;
    case 8:
        (void)cshm_outcome_retract(scene->region, &outcome, *ticket);
        break;
    case 9:
    case 10:
        (void)!cshm_outcome_receive(scene->region, &outcome, *ticket);
        break;
    case 11:
        (void)!cshm_outcome_keep(scene->region, &outcome);
        break;
    case 12:
    case 13:
        (void)cshm_outcome_release(scene->region, &outcome);
        break;
    case 14:
        outcome.place += 8 * (argument / OUTCOMES);
        read_outcome(scene, &outcome);
        break;
    default:
        (void)cshm_outcome_count(scene->region);
    }
}

const struct subject fuzz_outcome = {"outcome", make_outcome, use_outcome, NULL};
