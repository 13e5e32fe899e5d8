/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See history.h.
 */
#include "history.h"

/* A call or a return. */
struct event {
    uint64_t time;
    const struct operation *operation;
    bool is_return;
};

/* One explanation: the object's state, and which open operations have taken effect. */
struct config {
    uint8_t state[OBJECT_SIZE];
    uint64_t done; /* a bit for each place in `open` */
};

/* A set of them. */
struct configs {
    uint32_t size; /* of the object's state */
    struct config *config;
    uint32_t *table; /* index + 1, open addressing, twice the room */
    uint32_t count;
    uint32_t room;
};

struct checker {
    const struct object *object;
    const struct operation *open[HISTORY_OPEN];
    struct configs now;
    struct configs next;
};

void history_close(struct history *history, struct history_log *log)
{
    uint32_t count = atomic_load(&log->count);
    /* Killed between the time of its call and the count of it: nothing was called. */
    if (count != 0 && atomic_load(&log->operation[count - 1].returned) == 0) {
        history_return(history, &log->operation[count - 1], UNKNOWN);
    }
}

void history_died(struct history *history, struct history_log *log, uint64_t killed)
{
    CHECK(atomic_load(&log->count) < HISTORY_LENGTH);
    struct operation *operation = history_call(history, log, DIE, 0);
    atomic_store(&operation->called, killed);
    history_return(history, operation, DONE);
}

/* ---- sets ---- */

static uint64_t hash_of(const struct config *config, uint32_t size)
{
    uint64_t hash = config->done + 0x9e3779b97f4a7c15ull;
    for (uint32_t i = 0; i < size; i += 8) {
        uint64_t word;
        memcpy(&word, config->state + i, 8);
        hash = (hash ^ word) * 0xff51afd7ed558ccdull;
        hash ^= hash >> 32;
    }
    return hash;
}

static bool are_equal(const struct config *a, const struct config *b, uint32_t size)
{
    return a->done == b->done && memcmp(a->state, b->state, size) == 0;
}

static uint32_t *place_of(const struct configs *set, const struct config *config)
{
    uint64_t at = hash_of(config, set->size) & (2 * set->room - 1);
    while (set->table[at] != 0 && !are_equal(&set->config[set->table[at] - 1], config, set->size)) {
        at = (at + 1) & (2 * set->room - 1);
    }
    return &set->table[at];
}

static void clear(struct configs *set)
{
    set->count = 0;
    if (set->room != 0) {
        memset(set->table, 0, 2 * set->room * sizeof *set->table);
    }
}

static void add(struct configs *set, const struct config *config)
{
    struct config copy = *config; /* it may lie in the set */
    if (set->count == set->room) {
        set->room = set->room == 0 ? 64 : 2 * set->room;
        set->config = realloc(set->config, set->room * sizeof *set->config);
        free(set->table);
        set->table = calloc(2 * set->room, sizeof *set->table);
        CHECK(set->config != NULL && set->table != NULL);
        for (uint32_t i = 0; i < set->count; i++) {
            *place_of(set, &set->config[i]) = i + 1;
        }
    }
    uint32_t *place = place_of(set, &copy);
    if (*place == 0) {
        set->config[set->count] = copy;
        *place = ++set->count;
    }
}

/* ---- the check ---- */

static uint32_t find_open(const struct checker *checker, const struct operation *operation)
{
    uint32_t place = 0;
    while (place < HISTORY_OPEN && checker->open[place] != operation) {
        place++;
    }
    CHECK(place < HISTORY_OPEN);
    return place;
}

/* From the explanations now to those in which the operation has taken effect, after any of the
 * others that are open; an unknown one may also never have. */
static void take_return(struct checker *checker, uint32_t place)
{
    const struct operation *returning = checker->open[place];
    clear(&checker->next);
    for (uint32_t i = 0; i < checker->now.count; i++) { /* grows meanwhile */
        struct config config = checker->now.config[i];
        if ((config.done >> place & 1) != 0 || returning->result == UNKNOWN) {
            struct config gone = config;
            gone.done &= ~(1ull << place);
            add(&checker->next, &gone);
        }
        if ((config.done >> place & 1) != 0) {
            continue;
        }
        for (uint32_t k = 0; k < HISTORY_OPEN; k++) {
            struct config after = config;
            if (checker->open[k] != NULL && (config.done >> k & 1) == 0 &&
                checker->object->apply(checker->object->parameter, after.state, checker->open[k])) {
                after.done |= 1ull << k;
                add(&checker->now, &after);
            }
        }
    }
    checker->open[place] = NULL;
    struct configs swapped = checker->now;
    checker->now = checker->next;
    checker->next = swapped;
}

static int by_time(const void *a, const void *b)
{
    const struct event *first = a;
    const struct event *second = b;
    return (first->time > second->time) - (first->time < second->time);
}

static uint32_t list_events(const struct history *history, struct event *events)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < atomic_load(&history->logs); i++) {
        const struct history_log *log = &history->log[i];
        for (uint32_t k = 0; k < atomic_load(&log->count); k++) {
            const struct operation *operation = &log->operation[k];
            events[count++] = (struct event){atomic_load(&operation->called), operation, false};
            events[count++] = (struct event){atomic_load(&operation->returned), operation, true};
        }
    }
    qsort(events, count, sizeof *events, by_time);
    return count;
}

bool history_is_linearizable(const struct history *history, const struct object *object,
                             struct operation *out)
{
    struct checker checker = {
        .object = object, .now.size = object->size, .next.size = object->size};
    struct event *events = calloc((size_t)HISTORY_LOGS * HISTORY_LENGTH * 2, sizeof *events);
    CHECK(events != NULL);
    uint32_t count = list_events(history, events);
    struct config first = {.done = 0};
    add(&checker.now, &first);
    bool good = true;
    for (uint32_t i = 0; i < count && good; i++) {
        if (!events[i].is_return) {
            checker.open[find_open(&checker, NULL)] = events[i].operation;
            continue;
        }
        take_return(&checker, find_open(&checker, events[i].operation));
        good = checker.now.count != 0;
        if (!good) {
            *out = *events[i].operation;
        }
    }
    free(checker.now.config);
    free(checker.now.table);
    free(checker.next.config);
    free(checker.next.table);
    free(events);
    return good;
}
