/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Bells (Sources/CShm/bell.c): who is armed and asleep in epoll is rung for what was put. Without
 * watching the region, a death takes the ring of one message with it; with it, none is lost.
 *
 *   w  an event loop: takes what there is, arms, sleeps until rung, clears, for ever
 *   W  the same, watching the region as well
 *   j  attach to the region, and tell those who watch it
 *   p  put one by a plain store, ring      q  put one by a locked instruction, ring
 *   c  the store buffers (x86-TSO), as in park.c
 *
 * The kernel rings those who watch a process when it dies; they know of those whom they found
 * attached when they last cleared their bells.
 */
#include "model.h"

enum mutation {
    NONE,
    ARMED_UNCOUNTED,
    CLEARED_BY_STORE,
    LOOK_BEFORE_ARMING,
    NO_MEMBARRIER,
    JOINS_UNTOLD,
    WATCHES_WITHOUT_A_FIRST_LOOK,
};

struct config {
    const char *scripts[MODEL_THREADS];
    uint32_t deaths;
    enum mutation mutation;
};

static const struct config *config;
static uint32_t threads;

struct word {
    uint8_t count;
    uint8_t armed;
};

struct thread {
    uint8_t operation;
    uint8_t put;   /* a waker's items, those in its store buffer included */
    uint8_t wakes; /* ghost: a ring is in its hands */
    uint8_t reached;
    uint8_t looked; /* a waker: bells that it has come to */
    struct word seen;
    uint8_t rung;     /* a watcher's socket */
    uint8_t turnover; /* when it looked */
    uint8_t known;    /* bits: whom it watches */
};

struct state {
    struct model_common common;
    struct word word;
    uint8_t bells;    /* bits: whose numbers are in the line */
    uint8_t watchers; /* bits: whose numbers are in their entries */
    uint8_t turnover;
    uint8_t attached; /* bits */
    uint8_t taken;
    uint8_t excused;
    uint8_t items[MODEL_THREADS];
    struct thread thread[MODEL_THREADS];
};

static char letter_of(const struct state *s, uint32_t thread)
{
    return config->scripts[thread][s->thread[thread].operation];
}

static bool is_watcher(uint32_t thread)
{
    return config->scripts[thread][0] == 'w' || config->scripts[thread][0] == 'W';
}

static void drain(struct state *s, uint32_t thread)
{
    s->items[thread] = s->thread[thread].put;
}

static uint32_t items_left(const struct state *s)
{
    uint32_t items = 0;
    for (uint32_t i = 0; i < threads; i++) {
        items += s->items[i];
    }
    return items - s->taken;
}

/* ---- the event loop ---- */

static bool arm(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[arm] the number");
    s->bells = (uint8_t)(s->bells | 1 << self);
    STEP("[arm] the bit, counted");
    s->word.armed = 1;
    s->word.count = (uint8_t)(s->word.count + (config->mutation != ARMED_UNCOUNTED));
    for (me->reached = 0; me->reached < threads && config->mutation != NO_MEMBARRIER;
         me->reached++) {
        if (s->items[me->reached] == s->thread[me->reached].put) {
            continue;
        }
        STEP("[announce] membarrier reaches thread %u", me->reached);
        drain(s, me->reached);
    }
    me->reached = 0;
    END;
}

/* The first look at who is attached comes with the first clear, for which it rings itself. */
static bool watch(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[turnover] enter the bell");
    s->watchers = (uint8_t)(s->watchers | 1 << self);
    me->turnover = config->mutation == WATCHES_WITHOUT_A_FIRST_LOOK ? 0 : UINT8_MAX;
    END;
}

static bool clear(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("clear the socket");
    me->rung = 0;
    if (letter_of(s, self) == 'W') {
        STEP("[turnover] look at the count");
        if (me->turnover != s->turnover) {
            me->turnover = s->turnover;
            STEP("look who is attached");
            me->known = (uint8_t)(s->attached & ~s->common.dead);
        }
    }
    END;
}

static bool loop(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    if (letter_of(s, self) == 'W') {
        CALL(watch(s, self));
    }
    me->rung = 1;
    for (;;) {
        WAIT_UNTIL(me->rung, "is rung");
        CALL(clear(s, self));
        for (;;) {
            STEP("try");
            if (items_left(s) != 0) {
                s->taken++;
                continue;
            }
            CALL(arm(s, self));
            if (config->mutation == LOOK_BEFORE_ARMING) {
                break;
            }
            STEP("[announce] is it ready?");
            if (items_left(s) == 0) {
                break;
            }
        }
    }
    END;
}

/* ---- the others ---- */

static bool ring(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[announce] is the bit set?");
    if (!s->word.armed) {
        RETURN;
    }
    STEP("[arm] count a wake");
    drain(s, self); /* a locked instruction */
    s->word.count++;
    me->seen = s->word;
    for (me->looked = 0; me->looked < threads && me->seen.armed; me->looked++) {
        if (!is_watcher(me->looked)) {
            continue;
        }
        STEP("[arm] ring bell %u, if it is there", me->looked);
        if ((s->bells >> me->looked & 1) != 0) {
            s->thread[me->looked].rung = 1;
        }
    }
    me->looked = 0;
    STEP("clear the bit, if the word is still ours");
    if (config->mutation == CLEARED_BY_STORE ||
        (s->word.count == me->seen.count && s->word.armed == me->seen.armed)) {
        s->word.armed = 0;
        s->word.count++;
    }
    me->seen = (struct word){0};
    END;
}

static bool put(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("put%s", letter_of(s, self) == 'p' ? ", into the store buffer" : "");
    me->put++;
    me->wakes = 1;
    if (letter_of(s, self) == 'q') {
        drain(s, self);
    }
    CALL(ring(s, self));
    me->wakes = 0;
    END;
}

static bool join(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[entry] attached");
    s->attached = (uint8_t)(s->attached | 1 << self);
    STEP("[turnover] count it");
    s->turnover++;
    if (config->mutation == JOINS_UNTOLD) {
        RETURN;
    }
    for (me->looked = 0; me->looked < threads; me->looked++) {
        if (!is_watcher(me->looked)) {
            continue;
        }
        STEP("[turnover] ring bell %u, if it watches", me->looked);
        if ((s->watchers >> me->looked & 1) != 0) {
            s->thread[me->looked].rung = 1;
        }
    }
    me->looked = 0;
    END;
}

static bool store_buffers(struct state *s, uint32_t self)
{
    uint32_t full[MODEL_THREADS];
    uint32_t count = 0;
    uint32_t working = 0;
    for (uint32_t i = 0; i < threads; i++) {
        if (s->items[i] != s->thread[i].put) {
            full[count++] = i;
        }
        working +=
            letter_of(s, i) != '\0' && !is_watcher(i) && i != self && !model_is_dead(&s->common, i);
    }
    BEGIN;
    for (;;) {
        WAIT_UNTIL(count != 0 || working == 0, "a store leaves its buffer");
        if (count == 0) {
            RETURN;
        }
        s->items[full[model_choose(count)]]++;
    }
    END;
}

static bool run(void *state, uint32_t self)
{
    struct state *s = state;
    struct thread *me = &s->thread[self];
    BEGIN;
    for (; letter_of(s, self) != '\0'; me->operation++) {
        if (is_watcher(self)) {
            CALL(loop(s, self));
        } else if (letter_of(s, self) == 'c') {
            CALL(store_buffers(s, self));
        } else if (letter_of(s, self) == 'j') {
            CALL(join(s, self));
        } else {
            CALL(put(s, self));
        }
    }
    END;
}

static bool can_die(const void *state, uint32_t thread)
{
    return !is_watcher(thread) && letter_of(state, thread) != 'c';
}

/* The kernel lets its stores out, then tells who watches it; one who does not may miss a ring. */
static void died(void *state, uint32_t thread)
{
    struct state *s = state;
    drain(s, thread);
    bool is_watched = false;
    for (uint32_t i = 0; i < threads; i++) {
        is_watched = is_watched || config->scripts[i][0] == 'W';
        s->thread[i].rung = s->thread[i].rung || (s->thread[i].known >> thread & 1) != 0;
    }
    if (!is_watched) {
        s->excused = (uint8_t)(s->excused + s->thread[thread].wakes);
    }
    s->thread[thread].wakes = 0;
}

static void end(const void *state, uint32_t stuck)
{
    const struct state *s = state;
    for (uint32_t i = 0; i < threads; i++) {
        CLAIM((stuck >> i & 1) == 0 || is_watcher(i), "stuck: thread %u", i);
    }
    CLAIM(items_left(s) <= s->excused, "%u items, and nobody is rung: a ring is lost",
          items_left(s));
}

static void show(const void *state, FILE *out)
{
    const struct state *s = state;
    fprintf(out, "word=%u%s bells=%x watchers=%x turnover=%u taken=%u items=", s->word.count,
            s->word.armed ? ",armed" : "", s->bells, s->watchers, s->turnover, s->taken);
    for (uint32_t i = 0; i < threads; i++) {
        fprintf(out, "%u(%u)%s ", s->items[i], s->thread[i].put, s->thread[i].rung ? " rung" : "");
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

/* Those who do not attach on the way are, from the start. */
static void init(void *state)
{
    struct state *s = state;
    for (uint32_t i = 0; i < threads; i++) {
        s->attached = (uint8_t)(s->attached | (config->scripts[i][0] != 'j') << i);
    }
}

#define CASE(name, error, is_long, ...) \
    {name, &(const struct config){.scripts = __VA_ARGS__}, error, is_long}

static const struct model_case cases[] = {
    CASE("two wakers", NULL, false, {"w", "qq", "q"}, .deaths = 1),
    CASE("two event loops", NULL, false, {"w", "w", "q", "q"}),
    CASE("the sleeper pays", NULL, false, {"w", "pp", "p", "c"}, .deaths = 1),
    CASE("watched", NULL, false, {"W", "qq", "q"}, .deaths = 2),
    CASE("watched, and the sleeper pays", NULL, false, {"W", "pp", "c"}, .deaths = 1),
    CASE("watched from their attaching on", NULL, false, {"W", "jqq", "jq"}, .deaths = 2),
    CASE("longer", NULL, true, {"w", "ppp", "pp", "c"}, .deaths = 2),
    CASE("longer, watched", NULL, true, {"W", "W", "jq", "q"}, .deaths = 2),

    CASE("armed, but not counted", "lost", false, {"w", "q", "q"}, .mutation = ARMED_UNCOUNTED),
    CASE("the bit is cleared by a store", "lost", false, {"w", "q", "q"},
         .mutation = CLEARED_BY_STORE),
    CASE("looks before it arms", "lost", false, {"w", "q"}, .mutation = LOOK_BEFORE_ARMING),
    CASE("without membarrier", "lost", false, {"w", "p", "c"}, .mutation = NO_MEMBARRIER),
    CASE("one who attaches tells nobody", "lost", false, {"W", "jq"}, .deaths = 1,
         .mutation = JOINS_UNTOLD),
    CASE("watches from now on, not who is there", "lost", false, {"W", "q"}, .deaths = 1,
         .mutation = WATCHES_WITHOUT_A_FIRST_LOOK),
    {0},
};

const struct model bell_model = {
    .name = "bell",
    .size = sizeof(struct state),
    .cases = cases,
    .configure = configure,
    .init = init,
    .run = run,
    .can_die = can_die,
    .died = died,
    .show = show,
    .end = end,
    .acyclic = true,
};
