/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The pool of permits: Sources/CShm/permits.c. Threads of one process or of several run scripts of
 *
 *   a  acquire one, waiting    t  try to, and give it back    A  acquire two, waiting
 *   g  give one back           G  give two back
 *
 * Sleeping is a step that is possible when a slice's end would find something to do.
 *
 * Checked: a process has what its threads took and did not give back, and a dead one nothing in the end;
 * that none is free is told of an instant at which that was so; a release of what the process has is
 * not refused; everybody alive comes to the end.
 */
#include "model.h"

enum { CELLS_MAX = 3 };

enum mutation {
    NONE,
    ONE_LOOK_FOR_NONE,
    NO_NUMBERS,
    ONE_LOOK_TO_GIVE,
    RECLAIMED_BY_STORE,
    NEVER_RECLAIMED,
    TAKEN_BY_STORE,
};

struct config {
    const char *scripts[MODEL_THREADS];
    uint32_t cells;
    uint32_t deaths;
    bool is_one_process; /* all threads; then nobody dies */
    enum mutation mutation;
};

static const struct config *config;
static uint32_t threads;

struct cell {
    uint8_t number;
    uint8_t owner; /* process + 1, or 0 */
};

struct thread {
    uint8_t operation;
    uint8_t at;
    uint8_t again;
    uint8_t sum;
    uint8_t last_sum;
    uint8_t held;
    uint8_t last_held;
    uint8_t taken; /* of what it wants now */
    uint8_t given;
    uint8_t failed;
    uint8_t was_none_free; /* ghost: at some instant of this look */
    struct cell seen;
};

struct state {
    struct model_common common;
    struct cell cell[CELLS_MAX];
    uint8_t has[MODEL_THREADS]; /* ghost: by process */
    struct thread thread[MODEL_THREADS];
};

static uint8_t process_of(uint32_t thread)
{
    return config->is_one_process ? 0 : (uint8_t)thread;
}

static bool is_dead(const struct state *s, uint8_t owner)
{
    return owner != 0 && !config->is_one_process && model_is_dead(&s->common, owner - 1u);
}

static uint32_t count_free(const struct state *s)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < config->cells; i++) {
        count += s->cell[i].owner == 0;
    }
    return count;
}

static bool some_are_the_deads(const struct state *s)
{
    bool some = false;
    for (uint32_t i = 0; i < config->cells; i++) {
        some |= is_dead(s, s->cell[i].owner);
    }
    return some;
}

static bool swap(struct cell *cell, struct cell seen, struct cell next)
{
    bool same = cell->owner == seen.owner && cell->number == seen.number;
    if (same) {
        *cell = next;
    }
    return same;
}

static struct cell freed(struct cell cell)
{
    return (struct cell){(uint8_t)(cell.number + (config->mutation != NO_NUMBERS)), 0};
}

/* ---- taking ---- */

static bool take_one(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    uint8_t process = process_of(self);
    BEGIN;
    me->was_none_free = 0;
    me->again = 0;
    for (;;) {
        me->sum = 0;
        for (me->at = 0; me->at < config->cells; me->at++) {
            STEP("[none] load cell %u", (me->at + self) % config->cells);
            me->seen = s->cell[(me->at + self) % config->cells];
            if (me->seen.owner == 0) {
                STEP("[permit] CAS cell %u: free -> mine", (me->at + self) % config->cells);
                struct cell *cell = &s->cell[(me->at + self) % config->cells];
                if (config->mutation == TAKEN_BY_STORE) {
                    me->seen = *cell;
                }
                if (swap(cell, me->seen, (struct cell){me->seen.number, (uint8_t)(process + 1)})) {
                    s->has[process]++;
                    me->failed = 0;
                    RETURN;
                }
            }
            me->sum = (uint8_t)(me->sum + me->seen.number);
        }
        if ((me->again && me->sum == me->last_sum) || config->mutation == ONE_LOOK_FOR_NONE) {
            CLAIM(me->was_none_free, "told that none is free, but one was all the time");
            me->failed = 1;
            RETURN;
        }
        me->last_sum = me->sum;
        me->again = 1;
    }
    END;
}

/* ---- giving back ---- */

static bool give_once(struct state *s, uint32_t self, uint32_t count)
{
    struct thread *me = &s->thread[self];
    uint8_t process = process_of(self);
    BEGIN;
    for (me->at = 0; me->at < config->cells && me->given < count; me->at++) {
        STEP("load cell %u", (me->at + self) % config->cells);
        me->seen = s->cell[(me->at + self) % config->cells];
        if (me->seen.owner == process + 1) {
            STEP("[permit] CAS cell %u: mine -> free", (me->at + self) % config->cells);
            if (swap(&s->cell[(me->at + self) % config->cells], me->seen, freed(me->seen))) {
                s->has[process]--;
                me->given++;
            }
        }
    }
    END;
}

static bool held_at_once(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->again = 0;
    for (;;) {
        me->held = 0;
        me->sum = 0;
        for (me->at = 0; me->at < config->cells; me->at++) {
            STEP("[none] load cell %u", me->at);
            me->held = (uint8_t)(me->held + (s->cell[me->at].owner == process_of(self) + 1));
            me->sum = (uint8_t)(me->sum + s->cell[me->at].number);
        }
        if (me->again && me->held == me->last_held && me->sum == me->last_sum) {
            RETURN;
        }
        me->last_held = me->held;
        me->last_sum = me->sum;
        me->again = 1;
    }
    END;
}

static bool give_back(struct state *s, uint32_t self, uint32_t count)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->given = 0;
    do {
        CALL(give_once(s, self, count));
        if (me->given == count || config->mutation == ONE_LOOK_TO_GIVE) {
            break;
        }
        CALL(held_at_once(s, self));
    } while (me->held != 0);
    END;
}

static bool release(struct state *s, uint32_t self, uint32_t count)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    CALL(held_at_once(s, self));
    CLAIM(me->held >= count, "a release is refused, though the process has as many");
    CALL(give_back(s, self, count));
    CLAIM(me->given == count, "a release is refused, though the process has as many");
    END;
}

/* ---- waiting ---- */

static bool reclaim(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    for (me->at = 0; me->at < config->cells; me->at++) {
        STEP("load cell %u: is its owner dead?", me->at);
        me->seen = s->cell[me->at];
        if (is_dead(s, me->seen.owner)) {
            STEP("[permit] CAS cell %u: the dead one's -> free", me->at);
            if (config->mutation == RECLAIMED_BY_STORE) {
                s->cell[me->at] = freed(me->seen);
            } else {
                (void)swap(&s->cell[me->at], me->seen, freed(me->seen));
            }
        }
    }
    END;
}

/* All or none, without waiting. */
static bool take(struct state *s, uint32_t self, uint32_t count)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->taken = 0;
    if (count > 1) {
        me->held = 0;
        for (me->at = 0; me->at < config->cells; me->at++) {
            STEP("is cell %u free?", me->at);
            me->held = (uint8_t)(me->held + (s->cell[me->at].owner == 0));
        }
        if (me->held < count) {
            me->failed = 1;
            RETURN;
        }
    }
    for (; me->taken < count; me->taken++) {
        CALL(take_one(s, self));
        if (me->failed) {
            if (me->taken != 0) {
                CALL(give_back(s, self, me->taken));
                me->failed = 1;
            }
            RETURN;
        }
    }
    END;
}

static bool acquire(struct state *s, uint32_t self, uint32_t count)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    for (;;) {
        CALL(take(s, self, count));
        if (!me->failed) {
            RETURN;
        }
        if (config->mutation != NEVER_RECLAIMED) {
            CALL(reclaim(s, self));
        }
        WAIT_UNTIL(count_free(s) >= count ||
                       (some_are_the_deads(s) && config->mutation != NEVER_RECLAIMED),
                   "looks again");
    }
    END;
}

/* ---- the model ---- */

static bool step(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    char letter = config->scripts[self][me->operation];
    BEGIN;
    while (letter != '\0') {
        if (letter == 'a' || letter == 'A') {
            CALL(acquire(s, self, letter == 'A' ? 2 : 1));
        } else if (letter == 't') {
            CALL(take_one(s, self));
            if (!me->failed) {
                CALL(release(s, self, 1));
            }
        } else {
            CALL(release(s, self, letter == 'G' ? 2 : 1));
        }
        uint8_t operation = me->operation;
        *me = (struct thread){.operation = (uint8_t)(operation + 1)};
        letter = config->scripts[self][me->operation];
    }
    END;
}

static bool run(void *state, uint32_t self)
{
    struct state *s = state;
    bool ended = step(s, self);
    for (uint32_t i = 0; i < threads; i++) {
        s->thread[i].was_none_free |= count_free(s) == 0;
    }
    return ended;
}

static void check(const void *state)
{
    const struct state *s = state;
    for (uint32_t process = 0; process < threads; process++) {
        uint32_t owned = 0;
        for (uint32_t i = 0; i < config->cells; i++) {
            owned += s->cell[i].owner == process + 1;
        }
        CLAIM(owned == s->has[process] || is_dead(s, (uint8_t)(process + 1)),
              "process %u took %u, and has %u", process, s->has[process], owned);
    }
}

static void end(const void *state, uint32_t stuck)
{
    (void)state;
    CLAIM(stuck == 0, "stuck");
}

static void show(const void *state, FILE *out)
{
    const struct state *s = state;
    for (uint32_t i = 0; i < config->cells; i++) {
        fprintf(out, "[%u of %u] ", s->cell[i].number, s->cell[i].owner);
    }
}

static void configure(const void *from, uint32_t *thread_count, uint32_t *deaths)
{
    config = from;
    threads = 0;
    while (threads < MODEL_THREADS && config->scripts[threads] != NULL) {
        threads++;
    }
    *thread_count = threads;
    *deaths = config->deaths;
}

static void init(void *state)
{
    (void)state;
}

#define CASE(name, error, is_long, ...) \
    {name, &(const struct config){.scripts = __VA_ARGS__}, error, is_long}

static const struct model_case cases[] = {
    CASE("one for three", NULL, false, {"ag", "ag", "ag"}, .cells = 1, .deaths = 2),
    CASE("two for three", NULL, false, {"ag", "agag", "ag"}, .cells = 2, .deaths = 1),
    CASE("several at once", NULL, false, {"AG", "ag", "ag"}, .cells = 2, .deaths = 1),
    CASE("threads of one process", NULL, false, {"ag", "ag", "ag"}, .cells = 2,
         .is_one_process = true),
    CASE("longer", NULL, true, {"agag", "agag", "ag"}, .cells = 3, .deaths = 2),
    CASE("none is free, or one always is", NULL, false, {"t", "agag", "agag"}, .cells = 2),
    CASE("one look for none", "all the time", false, {"t", "ag", "ag"}, .cells = 2,
         .mutation = ONE_LOOK_FOR_NONE),
    CASE("without numbers", "all the time", false, {"t", "agag", "agag"}, .cells = 2,
         .mutation = NO_NUMBERS),
    CASE("one look to give back", "refused", false, {"ag", "ag", "ag"}, .cells = 2,
         .is_one_process = true, .mutation = ONE_LOOK_TO_GIVE),
    CASE("the dead's are freed by a store", "took", false, {"ag", "ag", "ag"}, .cells = 1,
         .deaths = 1, .mutation = RECLAIMED_BY_STORE),
    CASE("nobody looks for the dead", "stuck", false, {"ag", "ag"}, .cells = 1, .deaths = 1,
         .mutation = NEVER_RECLAIMED),
    CASE("taken by a store", "took", false, {"ag", "t"}, .cells = 1, .mutation = TAKEN_BY_STORE),
    {0},
};

const struct model permits_model = {
    .name = "permits",
    .size = sizeof(struct state),
    .cases = cases,
    .configure = configure,
    .init = init,
    .run = run,
    .show = show,
    .check = check,
    .end = end,
    .acyclic = true,
};
