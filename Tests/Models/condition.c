/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The condition (Sources/CShm/condition.c): a notification lets one waiter go on, and is not lost with
 * the one that it was for; nobody sleeps for ever beside a mutex whose holder died.
 *
 * Each thread runs a script, one letter an operation, each of which acquires the mutex first:
 *
 *   w  wait   t  wait, with a time-out that passes at any time   n  notify one   a  notify all
 *   e  enter the table, release the mutex, leave at any time without it; who was notified by then says
 *      that it has left, if anybody waits
 *   k  wait, look in vain, and wait on in the same place
 *
 * How a waiter sleeps and is woken is the parking word's, whose model is `park`: here it goes on when
 * its place says so, or when a slice of sleep ends and there is something to do for the dead.
 */
#include "model.h"

enum { PLACES = 3 };

enum mutation {
    NONE,
    NO_LOOK,
    FREED_FIRST,
    TIMED_OUT_UNSEEN,
    NOT_INHERITED,
    LEFT_UNSEEN,
    LEFT_FREE,
    AGAIN_UNSEEN,
};

struct config {
    const char *scripts[MODEL_THREADS];
    uint32_t deaths;
    enum mutation mutation;
};

static const struct config *config;
static uint32_t threads;

enum { FREE, WAITING, NOTIFIED, LEFT };

struct place {
    uint8_t kind;
    uint8_t owner; /* thread + 1 */
    uint8_t ticket;
};

struct thread {
    uint8_t operation;
    uint8_t mine; /* its place */
    uint8_t sleeping;
    uint8_t inherited;
    uint8_t next;
    uint8_t dead; /* a place, + 1 */
    uint8_t found;
    uint8_t looks;   /* by a notification, of one that waits on */
    uint8_t goes_on; /* a notification is being passed on, not issued */
};

struct state {
    struct model_common common;
    uint8_t holder; /* of the mutex, thread + 1 */
    uint8_t died;   /* it was its last holder */
    uint8_t tickets;
    uint8_t issued;   /* ghosts: notifications that somebody was there for */
    uint8_t received; /* and waits that ended by one */
    struct place place[PLACES];
    struct thread thread[MODEL_THREADS];
};

static char letter_of(const struct state *s, uint32_t thread)
{
    return config->scripts[thread][s->thread[thread].operation];
}

static bool owner_is_dead(const struct state *s, struct place place)
{
    return place.owner != 0 && model_is_dead(&s->common, place.owner - 1u);
}

static bool take_mutex(struct state *s, uint32_t self)
{
    if (s->holder != 0) {
        return false;
    }
    s->holder = (uint8_t)(self + 1);
    s->thread[self].inherited = s->died;
    s->died = 0;
    return true;
}

static bool acquire(struct state *s, uint32_t self)
{
    BEGIN;
    WAIT_UNTIL(s->holder == 0, "acquire the mutex");
    (void)take_mutex(s, self);
    END;
}

static uint32_t longest_waiting(const struct state *s)
{
    uint32_t found = PLACES;
    for (uint32_t i = 0; i < PLACES; i++) {
        if (s->place[i].kind == WAITING &&
            (found == PLACES || s->place[i].ticket < s->place[found].ticket)) {
            found = i;
        }
    }
    return found;
}

static uint32_t notified_and_dead(const struct state *s)
{
    for (uint32_t i = 0; i < PLACES; i++) {
        if (s->place[i].kind == LEFT ||
            (s->place[i].kind == NOTIFIED && owner_is_dead(s, s->place[i]))) {
            return i;
        }
    }
    return PLACES;
}

static void set_free(struct state *s, uint32_t place)
{
    s->place[place] = (struct place){0};
}

/* `found` says whether somebody was notified. */
static bool notify_one(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->dead = 0;
    for (;;) {
        STEP("look for the longest waiting");
        me->next = (uint8_t)longest_waiting(s);
        me->found = 0;
        if (me->next != PLACES) {
            STEP("[notify] CAS: it is NOTIFIED");
            if (s->place[me->next].kind != WAITING && config->mutation != LEFT_UNSEEN) {
                continue; /* it left */
            }
            if (s->place[me->next].kind == WAITING) {
                s->place[me->next].kind = NOTIFIED;
            }
            s->issued = (uint8_t)(s->issued + (me->dead == 0 && !me->goes_on));
            /* Who is dead was asleep, or not: then the others find it. */
            me->found = !owner_is_dead(s, s->place[me->next]) || model_choose(2) == 0;
        }
        if (me->dead != 0) {
            STEP("[hand on] the dead one's place is FREE");
            set_free(s, me->dead - 1u);
            s->issued = (uint8_t)(s->issued - (me->next == PLACES && !me->goes_on));
        }
        if (me->found || me->next == PLACES) {
            break;
        }
        me->dead = (uint8_t)(me->next + 1);
    }
    END;
}

static bool hand_on(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    while (notified_and_dead(s) != PLACES) {
        me->mine |= (uint8_t)(notified_and_dead(s) << 4);
        if (config->mutation == FREED_FIRST) {
            STEP("the dead one's place is FREE");
            set_free(s, me->mine >> 4);
        }
        me->goes_on = 1;
        CALL(notify_one(s, self));
        me->goes_on = 0;
        s->issued = (uint8_t)(s->issued - (me->next == PLACES)); /* nobody is left to want it */
        if (config->mutation != FREED_FIRST) {
            STEP("[hand on] the dead one's place is FREE");
            set_free(s, me->mine >> 4);
        }
        me->mine &= 15;
    }
    END;
}

static bool is_waiting(const struct state *s, uint32_t self)
{
    return s->place[s->thread[self].mine & 15].kind == WAITING;
}

/* Whether a slice of sleep that ends now would find something. */
static bool is_needed(const struct state *s)
{
    if (s->holder != 0) {
        return false;
    }
    return (s->died && config->mutation != NOT_INHERITED) ||
           (notified_and_dead(s) != PLACES && config->mutation != NO_LOOK);
}

static bool wait_for(struct state *s, uint32_t self, bool is_timed)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[enter] takes a place");
    for (me->mine = 0; s->place[me->mine].kind != FREE; me->mine++) {
        CLAIM(me->mine + 1 < PLACES, "too many wait");
    }
    s->place[me->mine] = (struct place){WAITING, (uint8_t)(self + 1), s->tickets++};
    STEP("release the mutex");
    s->holder = 0;
    me->sleeping = 1;
    for (;;) {
        WAIT_UNTIL(!is_waiting(s, self) || is_timed || is_needed(s), "a wake, or a slice's end");
        if (!is_waiting(s, self) || !is_needed(s)) {
            break;
        }
        (void)take_mutex(s, self);
        CALL(hand_on(s, self));
        if (me->inherited) {
            break;
        }
        STEP("release the mutex, having looked");
        s->holder = 0;
    }
    me->sleeping = 0;
    if (s->holder != self + 1) {
        CALL(acquire(s, self));
    }
    STEP("leaves its place");
    if (!(is_timed && config->mutation == TIMED_OUT_UNSEEN)) {
        s->received = (uint8_t)(s->received + !is_waiting(s, self));
    }
    set_free(s, me->mine);
    me->mine = 0;
    END;
}

static bool enter_and_leave(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[enter] takes a place");
    for (me->mine = 0; s->place[me->mine].kind != FREE; me->mine++) {
        CLAIM(me->mine + 1 < PLACES, "too many wait");
    }
    s->place[me->mine] = (struct place){WAITING, (uint8_t)(self + 1), s->tickets++};
    STEP("release the mutex");
    s->holder = 0;
    STEP("leaves its place without the mutex, if it is WAITING");
    if (!is_waiting(s, self)) {
        STEP("look for the longest waiting");
        me->next = (uint8_t)longest_waiting(s);
        if (me->next != PLACES && config->mutation != LEFT_FREE) {
            STEP("[leave] its place is LEFT");
            s->place[me->mine].kind = LEFT;
            me->mine = 0;
            RETURN;
        }
        STEP("leaves its place, as nobody waits");
        s->issued = (uint8_t)(s->issued - (me->next == PLACES));
    }
    set_free(s, me->mine);
    me->mine = 0;
    END;
}

/* With the mutex: looked in vain. */
static bool again(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    if (!is_waiting(s, self)) {
        STEP("its place is WAITING, with the same number");
        s->received++;
        s->place[me->mine].kind = WAITING;
    }
    if (config->mutation != AGAIN_UNSEEN) {
        CALL(hand_on(s, self));
    }
    END;
}

/* As wait_for(), but who is woken looks with the mutex held, and waits on once. */
static bool keep(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[enter] takes a place");
    for (me->mine = 0; s->place[me->mine].kind != FREE; me->mine++) {
        CLAIM(me->mine + 1 < PLACES, "too many wait");
    }
    s->place[me->mine] = (struct place){WAITING, (uint8_t)(self + 1), s->tickets++};
    for (me->looks = 0; me->looks < 2 && !me->inherited;) {
        STEP("release the mutex");
        s->holder = 0;
        me->sleeping = 1;
        WAIT_UNTIL(!is_waiting(s, self) || is_needed(s), "notified, or somebody died");
        me->sleeping = 0;
        CALL(acquire(s, self));
        me->looks = (uint8_t)(me->looks + !is_waiting(s, self));
        if (me->looks < 2) {
            CALL(again(s, self));
        }
    }
    STEP("leaves its place");
    s->received = (uint8_t)(s->received + !is_waiting(s, self));
    set_free(s, me->mine);
    me->mine = 0;
    END;
}

static bool notify(struct state *s, uint32_t self, bool all)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    do {
        CALL(notify_one(s, self));
    } while (all && me->found);
    END;
}

static bool run(void *state, uint32_t self)
{
    struct state *s = state;
    struct thread *me = &s->thread[self];
    BEGIN;
    for (; letter_of(s, self) != '\0'; me->operation++) {
        CALL(acquire(s, self));
        if (letter_of(s, self) == 'e') {
            CALL(enter_and_leave(s, self));
            continue;
        }
        if (letter_of(s, self) == 'k') {
            CALL(keep(s, self));
        } else if (letter_of(s, self) == 'w' || letter_of(s, self) == 't') {
            CALL(wait_for(s, self, letter_of(s, self) == 't'));
        } else {
            CALL(notify(s, self, letter_of(s, self) == 'a'));
        }
        STEP("release the mutex");
        s->holder = 0;
        me->inherited = 0;
        me->next = 0;
        me->dead = 0;
        me->found = 0;
    }
    END;
}

static void died(void *state, uint32_t thread)
{
    struct state *s = state;
    if (s->holder == thread + 1) {
        s->holder = 0;
        s->died = 1;
    }
}

/* No more than one for each, save for those in whose hand-on somebody died. */
static void check(const void *state)
{
    const struct state *s = state;
    CLAIM(s->received <= s->issued + s->common.deaths, "%u went on, %u were notified", s->received,
          s->issued);
}

static void end(const void *state, uint32_t stuck)
{
    const struct state *s = state;
    for (uint32_t i = 0; i < threads; i++) {
        CLAIM((stuck >> i & 1) == 0 || s->thread[i].sleeping, "stuck: thread %u, awake", i);
    }
    CLAIM(stuck == 0 || !s->died, "asleep beside a dead holder's mutex");
    CLAIM(stuck == 0 || s->received >= s->issued, "asleep, and a notification is lost");
    uint32_t left = 0; /* while somebody waited, and nobody does any more */
    for (uint32_t i = 0; i < PLACES; i++) {
        left += s->place[i].kind == LEFT;
    }
    CLAIM(left == 0 || stuck == 0, "asleep, and a notification is left");
    CLAIM(s->common.deaths != 0 || s->received + left == s->issued, "%u went on, %u were notified",
          s->received, s->issued);
}

static void show(const void *state, FILE *out)
{
    const struct state *s = state;
    static const char *const kinds[] = {"-", "WAITING", "NOTIFIED", "LEFT"};
    fprintf(out, "holder=%u%s issued=%u received=%u", s->holder, s->died ? ",died" : "", s->issued,
            s->received);
    for (uint32_t i = 0; i < PLACES; i++) {
        fprintf(out, " %s(%u,%u)", kinds[s->place[i].kind], s->place[i].owner, s->place[i].ticket);
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
    CASE("one by one", NULL, false, {"w", "w", "nn"}, .deaths = 0),
    CASE("deaths", NULL, false, {"w", "w", "w", "nn"}, .deaths = 2),
    CASE("all", NULL, false, {"w", "w", "w", "a"}, .deaths = 2),
    CASE("time-outs", NULL, false, {"t", "w", "t", "nn"}, .deaths = 1),
    CASE("two notify", NULL, false, {"ww", "w", "n", "na"}, .deaths = 1),
    CASE("tasks", NULL, false, {"e", "w", "e", "nn"}, .deaths = 1),
    CASE("waiting on", NULL, false, {"k", "w", "nnn"}, .deaths = 1),
    CASE("waiting on, leaving", NULL, false, {"k", "e", "nnn"}, .deaths = 1),
    CASE("longer", NULL, true, {"ww", "wt", "wn", "nan"}, .deaths = 2),

    CASE("sleepers do not look for the dead", "lost", false, {"w", "w", "n"}, .deaths = 1,
         .mutation = NO_LOOK),
    CASE("the dead one's place is freed first", "lost", false, {"w", "w", "w", "n"}, .deaths = 2,
         .mutation = FREED_FIRST),
    CASE("a time-out does not look at its place", "lost", false, {"t", "w", "n"},
         .mutation = TIMED_OUT_UNSEEN),
    CASE("who is notified leaves as others do", "lost", false, {"e", "w", "n"},
         .mutation = LEFT_FREE),
    CASE("who waits on does not look for others", "never ends", false, {"k", "e", "nn"},
         .mutation = AGAIN_UNSEEN),
    CASE("who left is taken for notified", "lost", false, {"e", "w", "n"}, .mutation = LEFT_UNSEEN),
    CASE("a dead holder's mutex is nobody's", "beside a dead", false, {"w", "n"}, .deaths = 1,
         .mutation = NOT_INHERITED),
    {0},
};

const struct model condition_model = {
    .name = "condition",
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
