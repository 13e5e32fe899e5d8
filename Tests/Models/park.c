/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The parking word (Sources/CShm/park.c): no wake-up is lost, but by a death, and then one for each.
 *
 * Wakers make the condition true by a plain store, which waits in the store buffer of their CPU
 * (x86-TSO) until the thread `c` lets it out, the waker fences, or membarrier reaches that CPU; it
 * reaches one after the other. Or by a locked instruction, which does not wait.
 *
 *   w  wait for one item, and take it
 *   p  put one by a plain store, wake one      P  the same, wake all
 *   q  put one by a locked instruction, wake one      Q  the same, wake all
 *   f  put one by a plain store, fence, wake one: a process that is not registered
 *   c  the store buffers
 *
 * There are no slices of sleep here. Killed between its item and the end of its wake, or between
 * being woken and taking, a thread takes one wake-up with it, and those of all who are asleep if it
 * had just cleared the bit; a slice makes that good. What must not be is a word that loses others.
 */
#include "model.h"

enum mutation {
    NONE,
    NO_SECOND_WAKE,
    CLEARED_BY_STORE,
    CLEARED_UNCOUNTED,
    LOOK_BEFORE_ANNOUNCE,
    SEEN_AFTER_LOOK,
    NO_MEMBARRIER,
    NO_FENCE,
    NEVER_AGAIN, /* announced once, whatever became of the word */
};

struct config {
    const char *scripts[MODEL_THREADS];
    uint32_t deaths;
    uint8_t slices; /* of each waiter's sleeps, those that are over at once */
    enum mutation mutation;
};

static const struct config *config;
static uint32_t threads;

struct word {
    uint8_t count;
    uint8_t asleep;
};

struct thread {
    uint8_t operation;
    uint8_t put;     /* a waker's items, those in its store buffer included */
    uint8_t asleep;  /* in the kernel */
    uint8_t wakes;   /* ghost: a wake is in its hands */
    uint8_t cleared; /* ghost: everybody's is */
    uint8_t reached; /* by membarrier */
    uint8_t slices;
    uint8_t announced;
    struct word seen;
};

struct state {
    struct model_common common;
    struct word word;
    uint8_t items[MODEL_THREADS]; /* of each waker, in memory */
    uint8_t taken;
    uint8_t excused; /* wake-ups that died with somebody */
    struct thread thread[MODEL_THREADS];
};

static char letter_of(const struct state *s, uint32_t thread)
{
    return config->scripts[thread][s->thread[thread].operation];
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

/* ---- the waiter ---- */

static bool attempt(struct state *s, struct thread *me)
{
    me->wakes = 0;
    if (items_left(s) == 0) {
        return false;
    }
    s->taken++;
    return true;
}

static bool prepare(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[announce] set the bit");
    s->word.asleep = 1;
    me->seen = s->word;
    for (me->reached = 0; me->reached < threads; me->reached++) {
        if (config->mutation == NO_MEMBARRIER || config->scripts[me->reached][0] == 'f' ||
            s->items[me->reached] == s->thread[me->reached].put) {
            continue;
        }
        STEP("[announce] membarrier reaches thread %u", me->reached);
        drain(s, me->reached);
    }
    me->reached = 0;
    END;
}

/* Whether the bit that it set still stands for it. */
static bool is_announced(const struct state *s, const struct thread *me)
{
    return me->announced &&
           (config->mutation == NEVER_AGAIN ||
            (s->word.count == me->seen.count && s->word.asleep == me->seen.asleep));
}

static bool wait_asleep(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    for (;;) {
        if (config->mutation == LOOK_BEFORE_ANNOUNCE) {
            STEP("look");
            if (attempt(s, me)) {
                RETURN;
            }
            CALL(prepare(s, self));
        } else {
            STEP("[announce] is the word the same?");
            if (!is_announced(s, me)) {
                CALL(prepare(s, self));
                me->announced = 1;
            }
            STEP("[announce] look");
            if (attempt(s, me)) {
                break;
            }
        }
        if (me->slices < config->slices) {
            me->slices++;
            continue;
        }
        STEP("[wake] sleep, if the word is what was seen");
        me->asleep = config->mutation == SEEN_AFTER_LOOK ||
                     (s->word.count == me->seen.count && s->word.asleep == me->seen.asleep);
        WAIT_UNTIL(!me->asleep, "is awake: look");
        if (attempt(s, me)) {
            break;
        }
    }
    me->announced = me->slices = 0;
    END;
}

/* ---- the waker ---- */

/* The futex call. @returns how many were woken. */
static uint32_t futex_wake(struct state *s, bool all)
{
    uint32_t sleepers[MODEL_THREADS];
    uint32_t count = 0;
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
    return all ? count : count != 0;
}

static bool wake(struct state *s, uint32_t self, bool all)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[announce] is the bit set?");
    if (!s->word.asleep) {
        RETURN;
    }
    STEP("[wake] count a wake");
    drain(s, self); /* a locked instruction */
    s->word.count++;
    me->seen = s->word;
    STEP("[wake] wake %s", all ? "all" : "one");
    if (futex_wake(s, all) > 0 && !all) {
        RETURN;
    }
    STEP("clear the bit, if the word is still ours");
    if (config->mutation != CLEARED_BY_STORE && s->word.count != me->seen.count) {
        RETURN;
    }
    s->word.asleep = 0;
    s->word.count = (uint8_t)(me->seen.count + (config->mutation != CLEARED_UNCOUNTED));
    me->cleared = 1;
    if (config->mutation != NO_SECOND_WAKE) {
        STEP("[wake] wake all");
        (void)futex_wake(s, true);
    }
    me->cleared = 0;
    END;
}

static bool put(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    char letter = letter_of(s, self);
    BEGIN;
    if (letter == 'q' || letter == 'Q') {
        STEP("put, by a locked instruction");
        me->put++;
        drain(s, self);
    } else {
        STEP("put, into the store buffer");
        me->put++;
    }
    me->wakes = 1;
    if (letter == 'f' && config->mutation != NO_FENCE) {
        STEP("fence");
        drain(s, self);
    }
    CALL(wake(s, self, letter == 'P' || letter == 'Q'));
    me->wakes = 0;
    END;
}

/* Lets the stores of all wakers out, one at a time, in any order between them. */
static bool store_buffers(struct state *s, uint32_t self)
{
    uint32_t full[MODEL_THREADS];
    uint32_t count = 0;
    uint32_t working = 0;
    for (uint32_t i = 0; i < threads; i++) {
        if (s->items[i] != s->thread[i].put) {
            full[count++] = i;
        }
        working += letter_of(s, i) != '\0' && config->scripts[i][0] != 'w' && i != self &&
                   !model_is_dead(&s->common, i);
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
        if (letter_of(s, self) == 'c') {
            CALL(store_buffers(s, self));
        } else if (letter_of(s, self) == 'w') {
            CALL(wait_asleep(s, self));
        } else {
            CALL(put(s, self));
        }
        me->seen = (struct word){0};
    }
    END;
}

static bool can_die(const void *state, uint32_t thread)
{
    return letter_of(state, thread) != 'c';
}

static void died(void *state, uint32_t thread)
{
    struct state *s = state;
    struct thread *me = &s->thread[thread];
    s->excused = (uint8_t)(s->excused + me->wakes);
    for (uint32_t i = 0; i < threads && me->cleared; i++) {
        s->excused = (uint8_t)(s->excused + s->thread[i].asleep);
    }
    me->wakes = 0;
    me->cleared = 0;
    me->asleep = 0;
}

/* Those who wait for ever must wait for what is not there; a death may take one wake-up along. */
static void end(const void *state, uint32_t stuck)
{
    const struct state *s = state;
    uint32_t asleep = 0;
    for (uint32_t i = 0; i < threads; i++) {
        CLAIM((stuck >> i & 1) == 0 || s->thread[i].asleep, "stuck: thread %u, awake", i);
        asleep += s->thread[i].asleep;
    }
    uint32_t lost = asleep < items_left(s) ? asleep : items_left(s);
    CLAIM(lost <= s->excused, "%u asleep, %u items: a wake-up is lost", asleep, items_left(s));
}

static void show(const void *state, FILE *out)
{
    const struct state *s = state;
    fprintf(out, "word=%u%s items=", s->word.count, s->word.asleep ? ",asleep" : "");
    for (uint32_t i = 0; i < threads; i++) {
        if (s->items[i] != s->thread[i].put) {
            fprintf(out, "%u(%u) ", s->items[i], s->thread[i].put);
        } else {
            fprintf(out, "%u ", s->items[i]);
        }
    }
    fprintf(out, "taken=%u sleeping:", s->taken);
    for (uint32_t i = 0; i < threads; i++) {
        if (s->thread[i].asleep) {
            fprintf(out, " %u", i);
        }
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
    CASE("one at a time, locked", NULL, false, {"ww", "qq", "q"}, .deaths = 1),
    CASE("two waiters, locked", NULL, false, {"w", "ww", "qq", "q"}, .deaths = 1),
    CASE("three wakers, locked", NULL, false, {"ww", "qq", "q", "Q"}, .deaths = 2),
    CASE("wake all, locked", NULL, false, {"w", "ww", "QQ", "q"}, .deaths = 2),
    CASE("the sleeper pays", NULL, false, {"www", "ppp", "c"}, .deaths = 1),
    CASE("the sleeper pays for two wakers", NULL, false, {"www", "pp", "pp", "c"}, .deaths = 1),
    CASE("two sleepers pay", NULL, false, {"ww", "w", "PPP", "c"}, .deaths = 1),
    CASE("registered and not", NULL, false, {"www", "pp", "ff", "c"}, .deaths = 1),
    CASE("longer, locked", NULL, true, {"ww", "ww", "qqq", "qQ"}, .deaths = 1),
    CASE("longer, the sleeper pays", NULL, true, {"wwww", "ppPp", "pp", "c"}, .deaths = 2),

    CASE("no second wake", "lost", false, {"w", "w", "q", "q"}, .mutation = NO_SECOND_WAKE),
    CASE("the bit is cleared by a store", "lost", false, {"w", "www", "q", "qq"}, .deaths = 1,
         .mutation = CLEARED_BY_STORE),
    CASE("the bit is cleared, but not counted", "lost", false, {"w", "ww", "qq", "q"},
         .mutation = CLEARED_UNCOUNTED),
    CASE("slices that end", NULL, false, {"w", "w", "qq"}, .slices = 1),
    CASE("slices that end beside two wakers", NULL, false, {"ww", "q", "q"}, .slices = 2),
    CASE("slices that end, the sleeper pays", NULL, false, {"ww", "pp", "p", "c"}, .deaths = 1,
         .slices = 1),
    CASE("never announces again", "never ends", false, {"w", "w", "qq"}, .slices = 1,
         .mutation = NEVER_AGAIN),
    CASE("looks before it announces", "lost", false, {"w", "q"}, .mutation = LOOK_BEFORE_ANNOUNCE),
    CASE("sleeps whatever the word is", "lost", false, {"w", "q"}, .mutation = SEEN_AFTER_LOOK),
    CASE("without membarrier", "lost", false, {"w", "p", "c"}, .mutation = NO_MEMBARRIER),
    CASE("not registered, no fence", "lost", false, {"w", "f", "c"}, .mutation = NO_FENCE),
    {0},
};

const struct model park_model = {
    .name = "park",
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
