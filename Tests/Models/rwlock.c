/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The reader-writer lock: Sources/CShm/rwlock_*.c. Each thread has a cell and a place in
 * line of its own, and runs a script of `r` (reads), `w` (writes), `a` (writes, and waits for it without
 * the mutex, announced) and `g` (announces, and gives up). Sleeping is a step that is possible
 * when a slice's end would find something to do. There is no time: who lines up is overdue at once, and
 * whoever is behind one who could have the mutex may pass it over.
 *
 * Checked: nobody reads or writes beside a writer; what a dead writer left half written is seen by
 * nobody but a writer that was told; nobody overtakes a writer in line twice; everybody alive comes to
 * the end.
 */
#include "model.h"

#include <string.h>

enum { WANTED = 1, WRITING = 2, INHERITED = 4, ANNOUNCED = 8 };
enum { FREE, READING, WAITING };
enum { NOWHERE, LINED, PASSED };

enum mutation {
    NONE,
    LOOKS_BEFORE_IT_CLAIMS,
    GRANTS_AFTER_IT_LEFT,
    NO_MARK_OF_WRITING,
    READERS_LOOK_AFTER_NOBODY,
    READERS_LET_IN_AGAIN,
    COMES_PAST_THE_LINE,
    THE_DEAD_STAY_IN_LINE,
    THE_DEAD_STAY_ANNOUNCED,
    WHO_GIVES_UP_STAYS_ANNOUNCED,
    A_TRY_IN_VAIN_LETS_READERS_IN,
};

struct config {
    const char *scripts[MODEL_THREADS];
    uint32_t deaths;
    enum mutation mutation;
};

static const struct config *config;
static uint32_t threads;

struct thread {
    uint8_t operation;
    uint8_t at;
    uint8_t seen;
    uint8_t inside; /* READING, or WRITING */
    uint8_t told;
    uint8_t blocked; /* by the state */
    uint8_t found;   /* somebody who reads */
};

struct state {
    struct model_common common;
    uint8_t mutex; /* thread + 1, or 0 */
    uint8_t state;
    uint8_t announcer; /* thread + 1, or 0 */
    uint8_t half_written;
    uint8_t cell[MODEL_THREADS];
    uint8_t place[MODEL_THREADS];
    uint8_t number[MODEL_THREADS];
    uint8_t numbers;                                 /* given out */
    uint8_t overtaken[MODEL_THREADS][MODEL_THREADS]; /* who is in line, by whom */
    struct thread thread[MODEL_THREADS];
};

/* The writers' mutex is free, or its owner is dead. */
static bool can_have_mutex(const struct state *s)
{
    return s->mutex == 0 || model_is_dead(&s->common, s->mutex - 1u);
}

/* @returns whether its last owner died having it. */
static bool take_mutex(struct state *s, uint32_t self)
{
    bool died = s->mutex != 0;
    s->mutex = (uint8_t)(self + 1);
    return died;
}

static bool let_readers_in(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("state: no longer writing");
    s->state = (uint8_t)((s->state & INHERITED) | WANTED);
    if (config->mutation == GRANTS_AFTER_IT_LEFT) {
        STEP("[grant] state: free");
        s->state = s->state & INHERITED;
        STEP("release the mutex");
        s->mutex = 0;
    }
    if ((s->state & INHERITED) == 0) {
        for (me->at = 0; me->at < threads; me->at++) {
            STEP("[grant] CAS cell %u: WAITING -> READING", me->at);
            if (s->cell[me->at] == WAITING) {
                s->cell[me->at] = READING;
            }
        }
    }
    if (config->mutation != GRANTS_AFTER_IT_LEFT) {
        STEP("[grant] state: free");
        s->state = s->state & INHERITED;
        STEP("release the mutex");
        s->mutex = 0;
    }
    me->at = 0;
    END;
}

/* With the mutex of a dead owner. */
static void inherit(struct state *s)
{
    if ((s->state & WRITING) != 0) {
        s->state = (uint8_t)((s->state & WANTED) | INHERITED);
    }
}

/* ---- reading ---- */

static bool read_inside(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("reads");
    me->inside = READING;
    CLAIM(!s->half_written, "a reader sees what is half written");
    STEP("[drain] cell -> 0");
    me->inside = 0;
    s->cell[self] = FREE;
    END;
}

/* Whether nobody has to wait for the announcer any more. */
static bool is_announced_in_vain(const struct state *s)
{
    return s->announcer == 0 || (model_is_dead(&s->common, s->announcer - 1u) &&
                                 config->mutation != THE_DEAD_STAY_ANNOUNCED);
}

/* Whether a look at the writer would let readers in. */
static bool must_let_in(const struct state *s)
{
    return (s->state & WANTED) != 0 || (s->state == ANNOUNCED && is_announced_in_vain(s));
}

static bool look_after_writer(struct state *s, uint32_t self)
{
    BEGIN;
    STEP("try the mutex");
    if (!can_have_mutex(s) || config->mutation == READERS_LOOK_AFTER_NOBODY) {
        RETURN;
    }
    if (take_mutex(s, self)) {
        STEP("inherit");
        inherit(s);
    }
    STEP("is it still wanted?");
    if (must_let_in(s) || config->mutation == READERS_LET_IN_AGAIN) {
        CALL(let_readers_in(s, self));
    } else {
        STEP("release the mutex");
        s->mutex = 0;
    }
    END;
}

static bool wait_to_read(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    bool watches = config->mutation != READERS_LOOK_AFTER_NOBODY;
    BEGIN;
    me->blocked = 1;
    while (me->blocked) {
        WAIT_UNTIL(s->cell[self] == READING || (s->state & (WANTED | ANNOUNCED)) == 0 ||
                       (watches && can_have_mutex(s) && must_let_in(s)),
                   "awake");
        if (s->cell[self] == READING) {
            me->blocked = 0; /* handed over */
            break;
        }
        STEP("[grant] load the state");
        me->seen = s->state;
        if ((me->seen & (WANTED | ANNOUNCED)) != 0) {
            CALL(look_after_writer(s, self));
            continue;
        }
        STEP("CAS cell: WAITING -> %s", me->seen == 0 ? "READING" : "0");
        if (s->cell[self] != WAITING) {
            me->blocked = 0;
            break;
        }
        s->cell[self] = me->seen == 0 ? READING : FREE;
        if (s->cell[self] == FREE) {
            RETURN; /* told of the dead writer */
        }
        STEP("[read] load the state");
        me->blocked = (s->state & (WANTED | ANNOUNCED)) != 0;
        if (me->blocked) {
            STEP("CAS cell: READING -> WAITING");
            s->cell[self] = WAITING;
        } else if (s->state != 0) {
            STEP("cell -> 0: told");
            s->cell[self] = FREE;
            RETURN;
        }
    }
    END;
}

static bool do_read(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    if (config->mutation == LOOKS_BEFORE_IT_CLAIMS) {
        STEP("[read] load the state");
        me->seen = s->state;
        STEP("[read] CAS cell: 0 -> READING");
        s->cell[self] = READING;
    } else {
        STEP("[read] CAS cell: 0 -> READING");
        s->cell[self] = READING;
        STEP("[read] load the state");
        me->seen = s->state;
    }
    if ((me->seen & (WANTED | ANNOUNCED)) != 0) {
        STEP("CAS cell: READING -> WAITING");
        s->cell[self] = WAITING;
        CALL(wait_to_read(s, self));
        if (s->cell[self] == FREE) {
            RETURN;
        }
    } else if (me->seen != 0) {
        STEP("cell -> 0: told of a dead writer");
        s->cell[self] = FREE;
        RETURN;
    }
    CALL(read_inside(s, self));
    END;
}

/* ---- lining up ---- */

/* Who is in line with the lowest number, below that one; or `threads`. */
static uint32_t first_below(const struct state *s, uint32_t number)
{
    uint32_t first = threads;
    for (uint32_t i = 0; i < threads; i++) {
        if (s->place[i] == LINED && s->number[i] < number) {
            first = i;
            number = s->number[i];
        }
    }
    return first;
}

/* @returns whether the mutex's last owner died having it. */
static bool take_turn(struct state *s, uint32_t self)
{
    for (uint32_t i = 0; i < threads; i++) {
        if (i != self && s->place[i] == LINED && !model_is_dead(&s->common, i)) {
            s->overtaken[i][self]++;
            CLAIM(s->overtaken[i][self] <= 1, "%u overtakes %u again", self, i);
        }
    }
    return take_mutex(s, self);
}

/* Until nobody goes before it. */
static bool wait_for_turn(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->at = (uint8_t)first_below(s, s->number[self]);
    while (me->at != threads) {
        WAIT_UNTIL(s->place[me->at] != LINED || model_is_dead(&s->common, me->at) ||
                       can_have_mutex(s),
                   "awake");
        if (s->place[self] == PASSED && !can_have_mutex(s)) {
            s->place[self] = LINED;
        } else if (s->place[me->at] == LINED && model_is_dead(&s->common, me->at)) {
            STEP("free the dead one's place %u", me->at);
            if (config->mutation != THE_DEAD_STAY_IN_LINE) {
                s->place[me->at] = NOWHERE;
            }
        } else if (s->place[me->at] == LINED) {
            STEP("pass %u over", me->at);
            if (s->place[me->at] == LINED && can_have_mutex(s)) {
                s->place[me->at] = PASSED;
                memset(s->overtaken[me->at], 0, sizeof s->overtaken[me->at]);
            }
        }
        STEP("[line] look for lower numbers");
        me->at = (uint8_t)first_below(s, s->number[self]);
    }
    END;
}

/* The writers' mutex, in turn; `told` is whether its last owner died having it. */
static bool acquire_in_turn(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("look at the line");
    if (first_below(s, UINT8_MAX) == threads || config->mutation == COMES_PAST_THE_LINE) {
        STEP("try the mutex");
        if (can_have_mutex(s)) {
            me->told = take_turn(s, self);
            RETURN;
        }
    }
    STEP("[line] number");
    s->number[self] = s->numbers++;
    STEP("[line] LINED");
    s->place[self] = LINED;
    memset(s->overtaken[self], 0, sizeof s->overtaken[self]);
    STEP("[line] look for lower numbers");
    CALL(wait_for_turn(s, self));
    while (s->mutex != self + 1) {
        WAIT_UNTIL(can_have_mutex(s) || s->place[self] == PASSED,
                   "acquire the mutex, or come back");
        if (can_have_mutex(s)) {
            me->told = take_turn(s, self);
        } else {
            s->place[self] = LINED;
        }
    }
    STEP("[line] place -> 0");
    s->place[self] = NOWHERE;
    END;
}

/* ---- writing ---- */

/* With the mutex, and without readers. */
static bool write_inside(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("state: WRITING");
    if (config->mutation != NO_MARK_OF_WRITING) {
        s->state |= WRITING;
    }
    STEP("writes one half");
    me->inside = WRITING;
    CLAIM(!s->half_written || me->told, "a writer is not told of what is half written");
    s->half_written = 1;
    STEP("writes the other");
    s->half_written = 0;
    me->inside = 0;
    if (me->told) {
        STEP("repaired");
        s->state &= (uint8_t)~INHERITED;
    }
    me->told = 0;
    CALL(let_readers_in(s, self));
    END;
}

static bool do_write(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    CALL(acquire_in_turn(s, self));
    if (me->told) {
        STEP("inherit");
        inherit(s);
    }
    STEP("[read] state: WANTED");
    me->told = (s->state & INHERITED) != 0;
    s->state = (uint8_t)((s->state & INHERITED) | WANTED);
    for (me->at = 0; me->at < threads; me->at++) {
        WAIT_UNTIL(s->cell[me->at] != READING || model_is_dead(&s->common, me->at),
                   "[drain] cell %u does not read", me->at);
        if (s->cell[me->at] == READING) {
            STEP("free the dead one's cell %u", me->at);
            s->cell[me->at] = FREE;
        }
    }
    CALL(write_inside(s, self));
    END;
}

/* ---- writing, without waiting at the mutex ---- */

static bool somebody_reads(const struct state *s)
{
    for (uint32_t i = 0; i < threads; i++) {
        if (s->cell[i] == READING && !model_is_dead(&s->common, i)) {
            return true;
        }
    }
    return false;
}

/* `told` is then whether it is inherited; the mutex is had if there is nobody who reads. */
static bool try_write(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->found = 1;
    STEP("try the mutex");
    if (!can_have_mutex(s)) {
        RETURN;
    }
    if (take_mutex(s, self)) {
        STEP("inherit");
        inherit(s);
    }
    STEP("[read] state: WANTED");
    me->told = (s->state & INHERITED) != 0;
    me->seen = s->state;
    s->state = (uint8_t)((s->state & INHERITED) | WANTED);
    me->found = 0;
    for (me->at = 0; me->at < threads; me->at++) {
        STEP("[drain] does cell %u read?", me->at);
        if (s->cell[me->at] == READING && model_is_dead(&s->common, me->at)) {
            s->cell[me->at] = FREE;
        }
        me->found |= s->cell[me->at] == READING;
    }
    me->at = 0;
    if (me->found == 0) {
        RETURN;
    }
    me->told = 0;
    if (me->seen == INHERITED || (me->seen & WANTED) != 0 ||
        (me->seen == 0 && config->mutation == A_TRY_IN_VAIN_LETS_READERS_IN)) {
        CALL(let_readers_in(s, self));
        RETURN;
    }
    if (me->seen == 0) {
        STEP("announcer");
        s->announcer = (uint8_t)(self + 1);
    }
    STEP("state: ANNOUNCED");
    s->state = ANNOUNCED;
    STEP("release the mutex");
    s->mutex = 0;
    END;
}

static bool announce(struct state *s, uint32_t self)
{
    BEGIN;
    STEP("try the mutex");
    if (!can_have_mutex(s)) {
        RETURN;
    }
    if (take_mutex(s, self)) {
        STEP("inherit");
        inherit(s);
    }
    STEP("load the state");
    if (s->state == 0) {
        STEP("announcer");
        s->announcer = (uint8_t)(self + 1);
        STEP("[read] state: ANNOUNCED");
        s->state = ANNOUNCED;
    }
    STEP("release the mutex");
    s->mutex = 0;
    END;
}

static bool write_without_waiting(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    CALL(try_write(s, self));
    while (me->found != 0) {
        WAIT_UNTIL(can_have_mutex(s) && (s->state == 0 || !somebody_reads(s)), "awake");
        if (somebody_reads(s)) {
            CALL(announce(s, self));
        } else {
            CALL(try_write(s, self));
        }
    }
    CALL(write_inside(s, self));
    END;
}

static bool announce_and_give_up(struct state *s, uint32_t self)
{
    BEGIN;
    CALL(announce(s, self));
    STEP("CAS announcer: itself -> 0");
    if (s->announcer == self + 1 && config->mutation != WHO_GIVES_UP_STAYS_ANNOUNCED) {
        s->announcer = 0;
    }
    END;
}

/* ---- the model ---- */

static bool run(void *state, uint32_t self)
{
    struct state *s = state;
    struct thread *me = &s->thread[self];
    char letter = config->scripts[self][me->operation];
    BEGIN;
    while (letter != '\0') {
        if (letter == 'r') {
            CALL(do_read(s, self));
        } else if (letter == 'w') {
            CALL(do_write(s, self));
        } else if (letter == 'a') {
            CALL(write_without_waiting(s, self));
        } else {
            CALL(announce_and_give_up(s, self));
        }
        me->at = 0;
        me->found = 0;
        me->seen = 0;
        me->blocked = 0;
        me->operation++;
        letter = config->scripts[self][me->operation];
    }
    END;
}

static void check(const void *state)
{
    const struct state *s = state;
    uint32_t readers = 0;
    uint32_t writers = 0;
    for (uint32_t i = 0; i < threads; i++) {
        bool lives = !model_is_dead(&s->common, i);
        readers += lives && s->thread[i].inside == READING;
        writers += lives && s->thread[i].inside == WRITING;
    }
    CLAIM(writers == 0 || writers + readers == 1, "%u writers beside %u readers", writers, readers);
}

static void end(const void *state, uint32_t stuck)
{
    (void)state;
    CLAIM(stuck == 0, "stuck");
}

static void show(const void *state, FILE *out)
{
    static const char *const kinds[] = {"-", "reading", "waiting"};
    const struct state *s = state;
    fprintf(out, "mutex %u state%s%s%s%s%s;", s->mutex, s->state & WANTED ? " wanted" : "",
            s->state & WRITING ? " writing" : "", s->state & INHERITED ? " inherited" : "",
            s->state & ANNOUNCED ? " announced" : "", s->half_written ? " half written" : "");
    for (uint32_t i = 0; i < threads; i++) {
        fprintf(out, " %s", kinds[s->cell[i]]);
        if (s->place[i] != NOWHERE) {
            fprintf(out, "/%s %u", s->place[i] == LINED ? "lined" : "passed", s->number[i]);
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
    (void)state;
}

#define CASE(name, error, is_long, ...) \
    {name, &(const struct config){.scripts = __VA_ARGS__}, error, is_long}

static const struct model_case cases[] = {
    CASE("readers and a writer", NULL, false, {"rr", "rr", "ww"}),
    CASE("two writers", NULL, false, {"ww", "wr", "rr"}),
    CASE("deaths", NULL, false, {"rw", "r", "w"}, .deaths = 2),
    CASE("deaths of four", NULL, true, {"rw", "rr", "w", "wr"}, .deaths = 2),
    CASE("looks before it claims", "beside", false, {"r", "w"}, .mutation = LOOKS_BEFORE_IT_CLAIMS),
    CASE("hands over when it has left", "beside", false, {"r", "w", "w"},
         .mutation = GRANTS_AFTER_IT_LEFT),
    CASE("does not say that it writes", "half written", false, {"w", "w"}, .deaths = 1,
         .mutation = NO_MARK_OF_WRITING),
    CASE("readers look after no writer", "stuck", false, {"r", "w"}, .deaths = 1,
         .mutation = READERS_LOOK_AFTER_NOBODY),
    CASE("readers look after each other", "never ends", false, {"r", "r", "w"}, .deaths = 1,
         .mutation = READERS_LET_IN_AGAIN),
    CASE("three writers, of whom one dies", NULL, false, {"ww", "w", "w"}, .deaths = 1),
    CASE("three writers, of whom two die", NULL, true, {"ww", "ww", "w"}, .deaths = 2),
    CASE("four writers", NULL, true, {"w", "w", "w", "w"}),
    CASE("comes past the line", "overtakes", false, {"www", "w"}, .mutation = COMES_PAST_THE_LINE),
    CASE("the dead stay in line", "never ends", false, {"w", "w", "w"}, .deaths = 1,
         .mutation = THE_DEAD_STAY_IN_LINE),
    CASE("who waits without the mutex", NULL, false, {"rr", "r", "a"}),
    CASE("two who wait without the mutex", NULL, false, {"r", "a", "a"}, .deaths = 1),
    CASE("who waits with the mutex, and without", NULL, false, {"r", "w", "a"}, .deaths = 1),
    CASE("an announcer that dies", NULL, false, {"r", "r", "a"}, .deaths = 2),
    CASE("an announcer that gives up", NULL, false, {"r", "ra", "g"}, .deaths = 1),
    CASE("announcers of four", NULL, true, {"r", "w", "a", "ga"}, .deaths = 2),
    CASE("the dead stay announced", "stuck", false, {"r", "r", "a"}, .deaths = 1,
         .mutation = THE_DEAD_STAY_ANNOUNCED),
    CASE("a try in vain lets readers in", "never ends", false, {"r", "a"},
         .mutation = A_TRY_IN_VAIN_LETS_READERS_IN),
    CASE("who gives up stays announced", "stuck", false, {"r", "r", "g"},
         .mutation = WHO_GIVES_UP_STAYS_ANNOUNCED),
    {0},
};

const struct model rwlock_model = {
    .name = "rwlock",
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
