/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The semaphore: Sources/CShm/semaphore.c, with a parking word that is model park's, shortened: a
 * wake is one step that counts and calls.
 *
 *   a  acquire, waiting    t  try to
 *   r  release one, and wake one      R  release two, and wake all
 *
 * Checked: units are neither made nor lost, the bound holds, a refusal is true at its instant, and
 * nobody sleeps beside a unit, but as many as have died with a wake-up in their hands. There are no
 * slices of sleep here; they make that good.
 */
#include "model.h"

enum mutation {
    NONE,
    TAKEN_BY_STORE,
    BOUND_IS_NOT_LOOKED_AT_AGAIN,
    WAKES_BEFORE_IT_ADDS,
    WAKES_ONE_FOR_TWO,
    LOOKS_BEFORE_IT_ANNOUNCES,
    A_FAILED_SWAP_IS_EMPTY,
};

struct config {
    const char *scripts[MODEL_THREADS];
    uint32_t count; /* at first */
    uint32_t bound;
    uint32_t deaths;
    enum mutation mutation;
};

static const struct config *config;
static uint32_t threads;

struct thread {
    uint8_t operation;
    uint8_t seen;
    uint8_t failed;   /* the last attempt, or release */
    uint8_t was_zero; /* ghost: at some instant of this attempt there was no unit */
    uint8_t was_full; /* ghost: at some instant of this release there was no room */
    uint8_t word;     /* the parking word as announced */
    uint8_t asleep;
    uint8_t wakes; /* ghost: a wake-up is in its hands; or those of a release that is not over */
};

struct state {
    struct model_common common;
    uint8_t count;
    uint8_t word; /* wakes counted */
    uint8_t announced;
    uint8_t taken; /* ghosts */
    uint8_t added;
    uint8_t excused;
    struct thread thread[MODEL_THREADS];
};

static char letter_of(const struct state *s, uint32_t thread)
{
    return config->scripts[thread][s->thread[thread].operation];
}

static uint32_t units_of(const struct state *s, uint32_t thread)
{
    return letter_of(s, thread) == 'R' ? 2 : 1;
}

/* ---- acquiring ---- */

static bool take_one(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("load the count");
    me->was_zero = 0;
    me->seen = s->count;
    while (me->seen != 0) {
        STEP("[count] CAS %u -> %u", me->seen, me->seen - 1);
        if (s->count == me->seen || config->mutation == TAKEN_BY_STORE) {
            s->count = (uint8_t)(me->seen - 1);
            s->taken++;
            me->failed = 0;
            me->wakes = 0;
            RETURN;
        }
        if (config->mutation == A_FAILED_SWAP_IS_EMPTY) {
            break;
        }
        me->seen = s->count;
    }
    CLAIM(me->was_zero || s->count == 0, "refused, but there was a unit all the time");
    me->failed = 1;
    me->wakes = 0;
    END;
}

static bool acquire(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    CALL(take_one(s, self));
    while (me->failed) {
        if (config->mutation != LOOKS_BEFORE_IT_ANNOUNCES) {
            STEP("[announce] set the bit");
            s->announced = 1;
            me->word = s->word;
        }
        CALL(take_one(s, self));
        if (!me->failed) {
            RETURN;
        }
        if (config->mutation == LOOKS_BEFORE_IT_ANNOUNCES) {
            STEP("[announce] set the bit");
            s->announced = 1;
            me->word = s->word;
        }
        STEP("sleep, if the word is what was seen");
        me->asleep = s->word == me->word;
        WAIT_UNTIL(!me->asleep, "is awake");
        CALL(take_one(s, self));
    }
    END;
}

/* ---- releasing ---- */

static void wake(struct state *s, bool all)
{
    uint32_t sleepers[MODEL_THREADS];
    uint32_t count = 0;
    s->word++;
    for (uint32_t i = 0; i < threads; i++) {
        if (s->thread[i].asleep && !model_is_dead(&s->common, i)) {
            sleepers[count++] = i;
        }
    }
    uint32_t first = all || count == 0 ? 0 : model_choose(count);
    for (uint32_t i = first; i < (all ? count : first + (count != 0)); i++) {
        s->thread[sleepers[i]].asleep = 0;
        s->thread[sleepers[i]].wakes = 1;
    }
}

static bool call_sleepers(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[announce] is the bit set?");
    if (s->announced) {
        STEP("wake %s", units_of(s, self) == 1 ? "one" : "all");
        wake(s, units_of(s, self) != 1 && config->mutation != WAKES_ONE_FOR_TWO);
    }
    me->wakes = 0;
    END;
}

static bool release(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    uint8_t units = (uint8_t)units_of(s, self);
    BEGIN;
    if (config->mutation == WAKES_BEFORE_IT_ADDS) {
        CALL(call_sleepers(s, self));
    }
    STEP("load the count");
    me->was_full = 0;
    me->seen = s->count;
    for (;;) {
        if (me->seen + units > config->bound) {
            CLAIM(me->was_full || s->count + units > config->bound,
                  "refused, but there was room all the time");
            RETURN;
        }
        STEP("[count] CAS %u -> %u", me->seen, me->seen + units);
        if (s->count == me->seen || config->mutation == BOUND_IS_NOT_LOOKED_AT_AGAIN) {
            s->count = (uint8_t)(s->count + units);
            s->added = (uint8_t)(s->added + units);
            me->wakes = units;
            break;
        }
        me->seen = s->count;
    }
    if (config->mutation != WAKES_BEFORE_IT_ADDS) {
        CALL(call_sleepers(s, self));
    }
    me->wakes = 0;
    END;
}

/* ---- the model ---- */

static bool step(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    for (; letter_of(s, self) != '\0'; me->operation++) {
        if (letter_of(s, self) == 'a') {
            CALL(acquire(s, self));
        } else if (letter_of(s, self) == 't') {
            CALL(take_one(s, self));
        } else {
            CALL(release(s, self));
        }
        me->seen = 0;
        me->failed = 0;
        me->word = 0;
    }
    END;
}

static bool run(void *state, uint32_t self)
{
    struct state *s = state;
    bool ended = step(s, self);
    for (uint32_t i = 0; i < threads; i++) {
        s->thread[i].was_zero |= s->count == 0;
        s->thread[i].was_full |=
            letter_of(s, i) != '\0' && s->count + units_of(s, i) > config->bound;
    }
    return ended;
}

static void died(void *state, uint32_t thread)
{
    struct state *s = state;
    s->excused = (uint8_t)(s->excused + s->thread[thread].wakes);
    s->thread[thread].asleep = 0;
}

static void check(const void *state)
{
    const struct state *s = state;
    CLAIM(config->count + s->added == s->taken + s->count, "%u and %u added, %u taken, %u left",
          config->count, s->added, s->taken, s->count);
    CLAIM(s->count <= config->bound, "%u is beyond the bound", s->count);
}

static void end(const void *state, uint32_t stuck)
{
    const struct state *s = state;
    uint32_t asleep = 0;
    for (uint32_t i = 0; i < threads; i++) {
        CLAIM((stuck >> i & 1) == 0 || s->thread[i].asleep, "stuck: thread %u, awake", i);
        asleep += s->thread[i].asleep;
    }
    uint32_t lost = asleep < s->count ? asleep : s->count;
    CLAIM(lost <= s->excused, "%u asleep beside %u: a wake-up is lost", asleep, s->count);
}

static void show(const void *state, FILE *out)
{
    const struct state *s = state;
    fprintf(out, "count=%u word=%u%s", s->count, s->word, s->announced ? ",asleep" : "");
    for (uint32_t i = 0; i < threads; i++) {
        if (s->thread[i].asleep) {
            fprintf(out, " %u sleeps", i);
        }
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
    struct state *s = state;
    s->count = (uint8_t)config->count;
}

#define CASE(name, error, is_long, ...) \
    {name, &(const struct config){.scripts = __VA_ARGS__}, error, is_long}

static const struct model_case cases[] = {
    CASE("signals", NULL, false, {"aa", "a", "rr", "r"}, .bound = 9, .deaths = 1),
    CASE("two at a time", NULL, false, {"a", "aa", "R", "r"}, .bound = 9, .deaths = 2),
    CASE("taken and given back", NULL, false, {"ar", "ar", "atr"}, .count = 1, .bound = 1,
         .deaths = 1),
    CASE("a bound", NULL, false, {"rt", "Rt", "rr"}, .bound = 2, .deaths = 1),
    CASE("longer", NULL, true, {"aa", "a", "rRr", "r"}, .bound = 9, .deaths = 2),
    CASE("taken by a store", "taken", false, {"t", "t"}, .count = 2, .bound = 2,
         .mutation = TAKEN_BY_STORE),
    CASE("the bound is looked at but once", "beyond", false, {"r", "r"}, .bound = 1,
         .mutation = BOUND_IS_NOT_LOOKED_AT_AGAIN),
    CASE("wakes before it adds", "lost", false, {"a", "r"}, .bound = 9,
         .mutation = WAKES_BEFORE_IT_ADDS),
    CASE("wakes one for two", "lost", false, {"a", "a", "R"}, .bound = 9,
         .mutation = WAKES_ONE_FOR_TWO),
    CASE("looks before it announces", "lost", false, {"a", "r"}, .bound = 9,
         .mutation = LOOKS_BEFORE_IT_ANNOUNCES),
    CASE("a swap that failed is taken for none", "all the time", false, {"t", "t"}, .count = 2,
         .bound = 2, .mutation = A_FAILED_SWAP_IS_EMPTY),
    {0},
};

const struct model semaphore_model = {
    .name = "semaphore",
    .size = sizeof(struct state),
    .cases = cases,
    .configure = configure,
    .init = init,
    .run = run,
    .died = died,
    .show = show,
    .check = check,
    .end = end,
    .acyclic = true,
};
