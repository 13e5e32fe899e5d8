/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The barrier (Sources/CShm/barrier.c): all parties of a phase go on, or all are refused; and nobody
 * waits for the dead.
 *
 * Each thread runs a script, one letter an operation:
 *
 *   p  pass   t  pass, with a time-out that passes at any time   r  repair, if it was refused
 *
 * How one sleeps and is woken is the parking word's, whose model is `park`: here it goes on when the
 * state says so, or when a slice of sleep ends and somebody is dead.
 */
#include "model.h"

enum { PHASES = 6 };

enum mutation {
    NONE,
    ARRIVED_FIRST,
    PAST_UNKNOWN,
    BROKEN_BY_STORE,
};

struct config {
    const char *scripts[MODEL_THREADS];
    uint8_t parties;
    uint32_t deaths;
    enum mutation mutation;
};

static const struct config *config;
static uint32_t threads;

struct word {
    uint8_t phase;
    uint8_t arrived;
    uint8_t broken;
    uint8_t failed; /* a bit for each phase */
};

struct thread {
    uint8_t operation;
    uint8_t phase; /* the one it arrived in */
    uint8_t waiting;
    uint8_t refused;
    uint8_t at;
    struct word seen;
};

struct state {
    struct model_common common;
    struct word word;
    uint8_t member[MODEL_THREADS];
    uint8_t came; /* ghost: a bit for each that ever arrived */
    uint8_t forgotten;
    uint8_t given_up;        /* ghosts: a bit for each phase */
    uint8_t arrived[PHASES]; /* and how many, in each */
    uint8_t passed[PHASES];
    uint8_t refused[PHASES];
    struct thread thread[MODEL_THREADS];
};

static char letter_of(const struct state *s, uint32_t thread)
{
    return config->scripts[thread][s->thread[thread].operation];
}

static bool same(struct word a, struct word b)
{
    return a.phase == b.phase && a.arrived == b.arrived && a.broken == b.broken &&
           a.failed == b.failed;
}

static struct word next_phase(struct word word, bool failed)
{
    CLAIM(word.phase + 1 < PHASES, "too many phases");
    word.failed = (uint8_t)(word.failed | (failed ? 1u << word.phase : 0));
    return (struct word){(uint8_t)(word.phase + 1), 0, 0, word.failed};
}

static bool is_over(const struct state *s, const struct thread *me)
{
    return s->word.phase != me->phase || s->word.broken;
}

/* Whether a phase that is over was refused. */
static bool was_refused(struct word word, uint8_t phase)
{
    if (word.phase == phase) {
        return word.broken;
    }
    return config->mutation != PAST_UNKNOWN && (word.failed >> phase & 1) != 0;
}

static bool somebody_died(const struct state *s)
{
    for (uint32_t i = 0; i < threads; i++) {
        if (s->member[i] && model_is_dead(&s->common, i)) {
            return true;
        }
    }
    return false;
}

/* ---- passing ---- */

static bool take_part(struct state *s, uint32_t self)
{
    BEGIN;
    if (!s->member[self]) {
        STEP("[member] takes part");
        s->member[self] = 1;
    }
    END;
}

static bool break_phase(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    if (config->mutation == BROKEN_BY_STORE) {
        STEP("is it over?");
        if (!is_over(s, me)) {
            STEP("it is broken, whatever it is by now");
            s->word.broken = 1;
        }
        RETURN;
    }
    STEP("load the state");
    me->seen = s->word;
    while (me->seen.phase == me->phase && !me->seen.broken) {
        STEP("[phase] CAS: broken");
        if (same(s->word, me->seen)) {
            s->word.broken = 1;
            break;
        }
        me->seen = s->word;
    }
    END;
}

static bool pass(struct state *s, uint32_t self, bool is_timed)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    if (config->mutation != ARRIVED_FIRST) {
        CALL(take_part(s, self));
    }
    STEP("load the state");
    me->seen = s->word;
    for (;;) {
        if (me->seen.broken) {
            me->refused = 1;
            RETURN;
        }
        STEP("[phase] CAS: arrived%s", me->seen.arrived + 1 == config->parties ? ", the last" : "");
        if (same(s->word, me->seen)) {
            me->phase = s->word.phase;
            s->word.arrived++;
            s->arrived[me->phase]++;
            s->came = (uint8_t)(s->came | 1u << self);
            break;
        }
        me->seen = s->word;
    }
    if (s->word.arrived == config->parties) {
        s->word = next_phase(s->word, false);
        s->passed[me->phase]++;
        RETURN;
    }
    if (config->mutation == ARRIVED_FIRST) {
        CALL(take_part(s, self));
    }
    me->waiting = 1;
    WAIT_UNTIL(is_over(s, me) || is_timed || somebody_died(s), "a wake, or a slice's end");
    if (!is_over(s, me)) {
        s->given_up = (uint8_t)(s->given_up | 1u << me->phase);
        CALL(break_phase(s, self));
    }
    STEP("[phase] what became of it?");
    CLAIM(is_over(s, me), "goes on before all are there");
    me->refused = was_refused(s->word, me->phase);
    s->passed[me->phase] = (uint8_t)(s->passed[me->phase] + !me->refused);
    s->refused[me->phase] = (uint8_t)(s->refused[me->phase] + me->refused);
    me->waiting = 0;
    END;
}

/* ---- repairing ---- */

static bool repair(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("is it broken?");
    if (!s->word.broken) {
        RETURN;
    }
    for (me->at = 0; me->at < threads; me->at++) {
        if (s->member[me->at] && model_is_dead(&s->common, me->at)) {
            STEP("[forget] %u takes part no longer", me->at);
            s->forgotten = (uint8_t)(s->forgotten + (s->member[me->at] != 0));
            s->member[me->at] = 0;
        }
    }
    STEP("load the state");
    me->seen = s->word;
    while (me->seen.broken) {
        STEP("[phase] CAS: whole");
        if (same(s->word, me->seen)) {
            s->word = next_phase(s->word, true);
            break;
        }
        me->seen = s->word;
    }
    END;
}

static bool run(void *state, uint32_t self)
{
    struct state *s = state;
    struct thread *me = &s->thread[self];
    BEGIN;
    for (; letter_of(s, self) != '\0'; me->operation++) {
        if (letter_of(s, self) != 'r') {
            CALL(pass(s, self, letter_of(s, self) == 't'));
        } else if (me->refused) {
            CALL(repair(s, self));
        }
        me->seen = (struct word){0};
        me->at = 0;
    }
    END;
}

static void check(const void *state)
{
    const struct state *s = state;
    CLAIM(!s->word.broken || (s->given_up >> s->word.phase & 1) != 0, "broken, and by nobody");
    for (uint32_t i = 0; i < PHASES; i++) {
        CLAIM(s->passed[i] == 0 || s->arrived[i] == config->parties, "passed alone, phase %u", i);
        CLAIM(s->passed[i] == 0 || s->refused[i] == 0, "some passed and some did not, phase %u", i);
    }
}

/* Who waits for ever waits for one that never took part, or that will not come: for as many as its
 * repair told it that are dead. */
static void end(const void *state, uint32_t stuck)
{
    const struct state *s = state;
    uint32_t strangers = 0;
    for (uint32_t i = 0; i < threads; i++) {
        CLAIM((stuck >> i & 1) == 0 || s->thread[i].waiting, "stuck: thread %u, awake", i);
        strangers += model_is_dead(&s->common, i) && (s->came >> i & 1) == 0;
    }
    CLAIM(stuck == 0 || strangers + s->forgotten != 0 || s->common.deaths == 0,
          "waits for the dead");
    CLAIM(stuck == 0 || !somebody_died(s), "waits for the dead");
}

static void show(const void *state, FILE *out)
{
    const struct state *s = state;
    fprintf(out, "phase=%u arrived=%u%s failed=%x members=", s->word.phase, s->word.arrived,
            s->word.broken ? ",broken" : "", s->word.failed);
    for (uint32_t i = 0; i < threads; i++) {
        fprintf(out, "%u", s->member[i]);
    }
}

/* ---- cases ---- */

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
    CASE("three parties", NULL, false, {"pp", "pp", "pp"}, .parties = 3),
    CASE("four for two", NULL, false, {"p", "p", "p", "p"}, .parties = 2),
    CASE("deaths", NULL, false, {"pp", "pp", "pp"}, .parties = 3, .deaths = 2),
    CASE("time-outs", NULL, false, {"tp", "tp", "pp"}, .parties = 3, .deaths = 1),
    CASE("repairs", NULL, false, {"prp", "prp", "prp"}, .parties = 2, .deaths = 1),
    CASE("repairs after time-outs", NULL, false, {"trt", "trt", "trt"}, .parties = 3),
    CASE("longer", NULL, true, {"prtr", "prpr", "prp"}, .parties = 3, .deaths = 1),

    CASE("arrives before it takes part", "for the dead", false, {"pp", "pp"}, .parties = 2,
         .deaths = 1, .mutation = ARRIVED_FIRST),
    CASE("what became of a past phase is not known", "passed alone", false, {"trt", "trt"},
         .parties = 2, .mutation = PAST_UNKNOWN),
    CASE("broken whatever it is by now", "by nobody", false, {"t", "t"}, .parties = 2,
         .mutation = BROKEN_BY_STORE),
    {0},
};

const struct model barrier_model = {
    .name = "barrier",
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
