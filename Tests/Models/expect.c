/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The group that a board's poster expects (Sources/CShm/board.c, [expect]): the one whose end alone of
 * its batch is told. Whoever waits for what is done does not sleep on, whatever of it was told.
 *
 * Workers end groups by a plain store, which waits in the store buffer of their CPU (x86-TSO) until
 * the thread `s` lets it out, the worker fences, or membarrier reaches that CPU.
 *
 *   a b c  end the first, second, third group of one batch      x y  of another one
 *   A      wait for all of the first batch, the last one that is not done expected
 *   E      wait for each of its groups in turn
 *   X      wait for all of the other batch      Y  the same, expecting none: each end is told
 *   s      the store buffers
 *
 * Who waits are threads of the process that posts; they do not die one by one. A worker that is killed
 * takes a wake-up with it, which its burial makes good. The parking word is as in park.c.
 */
#include "model.h"

enum { BATCHES = 2, GROUPS_MAX = 3 };

enum mutation {
    NONE,
    NO_SECOND_LOOK,    /* expects what was done meanwhile */
    NO_INTERRUPT,      /* takes its announcement for one of what it expects now */
    EXPECTED_TOO_SOON, /* a worker looks at what is expected, then ends its group */
    FENCED_TOO_LATE,   /* the same, not registered */
    ONE_FOR_ALL,       /* batches share the word */
    NO_MEMBARRIER,
};

struct config {
    const char *scripts[MODEL_THREADS];
    uint32_t deaths;
    uint8_t slices;       /* of each wait's sleeps, those that are over at once */
    uint8_t unregistered; /* workers that fence, a bit each */
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
    uint8_t ended; /* of a worker's groups, those in its store buffer included */
    uint8_t seen_expected;
    uint8_t owes;  /* ghost: it has ended a group, and told nobody yet */
    uint8_t begin; /* of the groups that it waits for */
    uint8_t end;
    uint8_t group; /* that it looks at */
    uint8_t is_ready;
    uint8_t reached; /* by membarrier */
    uint8_t slices;
    uint8_t announced;
    uint8_t asleep;
    struct word seen;
};

struct state {
    struct model_common common;
    struct word word;
    uint8_t out[MODEL_THREADS]; /* of each worker's groups, in memory */
    uint8_t expected[BATCHES];  /* 1 + the group; 0: each */
    uint8_t has_died_owing;
    struct thread thread[MODEL_THREADS];
};

static char letter_of(const struct state *s, uint32_t thread)
{
    return config->scripts[thread][s->thread[thread].operation];
}

static bool is_worker(uint32_t thread)
{
    char letter = config->scripts[thread][0];
    return letter >= 'a' && letter != 's';
}

static uint32_t batch_of(char letter)
{
    return letter == 'x' || letter == 'y' || letter == 'X' || letter == 'Y' ? 1 : 0;
}

static uint8_t group_of(char letter)
{
    return (uint8_t)(letter - (batch_of(letter) == 1 ? 'x' : 'a'));
}

static uint8_t *expected_of(struct state *s, uint32_t batch)
{
    return &s->expected[config->mutation == ONE_FOR_ALL ? 0 : batch];
}

static void drain(struct state *s, uint32_t thread)
{
    s->out[thread] = s->thread[thread].ended;
}

static bool is_done(const struct state *s, uint32_t batch, uint32_t group)
{
    for (uint32_t i = 0; i < threads; i++) {
        for (uint32_t k = 0; is_worker(i) && k < s->out[i]; k++) {
            char letter = config->scripts[i][k];
            if (batch_of(letter) == batch && group_of(letter) == group) {
                return true;
            }
        }
    }
    return false;
}

static uint8_t groups_of(uint32_t batch)
{
    uint8_t count = 0;
    for (uint32_t i = 0; i < threads; i++) {
        for (const char *letter = config->scripts[i]; is_worker(i) && *letter != '\0'; letter++) {
            count = (uint8_t)(count + (batch_of(*letter) == batch));
        }
    }
    return count;
}

/* ---- who waits ---- */

static bool interrupt(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    for (me->reached = 0; me->reached < threads; me->reached++) {
        if (config->mutation == NO_MEMBARRIER || (config->unregistered >> me->reached & 1) != 0 ||
            s->out[me->reached] == s->thread[me->reached].ended) {
            continue;
        }
        STEP("[announce] membarrier reaches thread %u", me->reached);
        drain(s, me->reached);
    }
    me->reached = 0;
    END;
}

/* cshm_batch_expect(), of `group`. */
static bool expect(struct state *s, uint32_t self, uint32_t batch)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("is group %u done?", me->group);
    me->is_ready = is_done(s, batch, me->group);
    if (me->is_ready || letter_of(s, self) == 'Y' || *expected_of(s, batch) == me->group + 1) {
        RETURN;
    }
    STEP("[expect] expect group %u", me->group);
    *expected_of(s, batch) = (uint8_t)(me->group + 1);
    if (config->mutation == NO_SECOND_LOOK) {
        RETURN;
    }
    STEP("[expect] is somebody announced?");
    if (s->word.asleep && config->mutation != NO_INTERRUPT) {
        CALL(interrupt(s, self));
    }
    STEP("[expect] is group %u done?", me->group);
    me->is_ready = is_done(s, batch, me->group);
    END;
}

/* cshm_batch_expect_all(), of [begin, end). */
static bool attempt(struct state *s, uint32_t self, uint32_t batch)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    while (me->end > me->begin) {
        me->group = (uint8_t)(me->end - 1);
        CALL(expect(s, self, batch));
        if (!me->is_ready) {
            RETURN;
        }
        me->end--;
    }
    me->is_ready = 1;
    END;
}

static bool is_announced(const struct state *s, const struct thread *me)
{
    return me->announced && s->word.count == me->seen.count && s->word.asleep == me->seen.asleep;
}

static bool await(struct state *s, uint32_t self, uint32_t batch)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    CALL(attempt(s, self, batch));
    while (!me->is_ready) {
        if (!is_announced(s, me)) {
            STEP("[announce] set the bit");
            s->word.asleep = 1;
            me->seen = s->word;
            me->announced = 1;
            CALL(interrupt(s, self));
        }
        CALL(attempt(s, self, batch));
        if (me->is_ready) {
            break;
        }
        if (me->slices < config->slices) {
            me->slices++;
            continue;
        }
        STEP("[wake] sleep, if the word is what was seen");
        me->asleep = s->word.count == me->seen.count && s->word.asleep == me->seen.asleep;
        WAIT_UNTIL(!me->asleep, "is awake");
        CALL(attempt(s, self, batch));
    }
    me->is_ready = me->group = me->announced = me->slices = 0;
    me->seen = (struct word){0};
    END;
}

static bool wait_for(struct state *s, uint32_t self, char letter)
{
    struct thread *me = &s->thread[self];
    uint32_t batch = batch_of(letter);
    BEGIN;
    me->begin = 0;
    me->end = letter == 'E' ? 1 : groups_of(batch);
    CALL(await(s, self, batch));
    while (letter == 'E' && me->begin + 1u < groups_of(batch)) {
        me->begin++;
        me->end = (uint8_t)(me->begin + 1);
        CALL(await(s, self, batch));
    }
    me->begin = me->end = 0;
    END;
}

/* ---- a worker ---- */

static void futex_wake_all(struct state *s)
{
    for (uint32_t i = 0; i < threads; i++) {
        s->thread[i].asleep = 0;
    }
}

static bool wake(struct state *s, uint32_t self)
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
    STEP("[wake] wake all");
    futex_wake_all(s);
    STEP("clear the bit, if the word is still ours");
    if (s->word.count != me->seen.count || s->word.asleep != me->seen.asleep) {
        RETURN;
    }
    s->word.asleep = 0;
    s->word.count++;
    STEP("[wake] wake all");
    futex_wake_all(s);
    END;
}

/* cshm_board_done() */
static bool end_group(struct state *s, uint32_t self, char letter)
{
    struct thread *me = &s->thread[self];
    uint32_t batch = batch_of(letter);
    bool fences = (config->unregistered >> self & 1) != 0;
    BEGIN;
    if (config->mutation == EXPECTED_TOO_SOON) {
        STEP("[expect] what is expected?");
        me->seen_expected = *expected_of(s, batch);
    }
    STEP("[done] group %u, into the store buffer", group_of(letter));
    me->ended++;
    me->owes = 1;
    if (fences && config->mutation != FENCED_TOO_LATE) {
        STEP("fence");
        drain(s, self);
    }
    if (config->mutation != EXPECTED_TOO_SOON) {
        STEP("[expect] what is expected?");
        me->seen_expected = *expected_of(s, batch);
    }
    if (fences && config->mutation == FENCED_TOO_LATE) {
        STEP("fence");
        drain(s, self);
    }
    if (me->seen_expected == 0 || me->seen_expected == group_of(letter) + 1) {
        CALL(wake(s, self));
    }
    me->owes = me->seen_expected = 0;
    me->seen = (struct word){0};
    END;
}

/* Lets the stores of all workers out, each one's in their order. */
static bool store_buffers(struct state *s)
{
    const uint32_t self = threads - 1;
    uint32_t full[MODEL_THREADS];
    uint32_t count = 0;
    uint32_t working = 0;
    for (uint32_t i = 0; i < threads; i++) {
        if (s->out[i] != s->thread[i].ended) {
            full[count++] = i;
        }
        working += is_worker(i) && letter_of(s, i) != '\0' && !model_is_dead(&s->common, i);
    }
    BEGIN;
    for (;;) {
        WAIT_UNTIL(count != 0 || working == 0, "a store leaves its buffer");
        if (count == 0) {
            RETURN;
        }
        s->out[full[model_choose(count)]]++;
    }
    END;
}

static bool run(void *state, uint32_t self)
{
    struct state *s = state;
    struct thread *me = &s->thread[self];
    BEGIN;
    for (; letter_of(s, self) != '\0'; me->operation++) {
        if (letter_of(s, self) == 's') {
            CALL(store_buffers(s));
        } else if (is_worker(self)) {
            CALL(end_group(s, self, letter_of(s, self)));
        } else {
            CALL(wait_for(s, self, letter_of(s, self)));
        }
    }
    END;
}

static bool can_die(const void *state, uint32_t thread)
{
    (void)state;
    return is_worker(thread);
}

static void died(void *state, uint32_t thread)
{
    struct state *s = state;
    s->has_died_owing |= s->thread[thread].owes;
}

/* Who waits for ever sleeps, and waits for what is not there; or for whom a death kept a wake-up from. */
static void end(const void *state, uint32_t stuck)
{
    const struct state *s = state;
    for (uint32_t i = 0; i < threads; i++) {
        if ((stuck >> i & 1) == 0) {
            continue;
        }
        const struct thread *waiter = &s->thread[i];
        CLAIM(waiter->asleep, "stuck: thread %u, awake", i);
        bool all = true;
        for (uint32_t group = waiter->begin; group < waiter->end; group++) {
            all = all && is_done(s, batch_of(letter_of(s, i)), group);
        }
        CLAIM(!all || s->has_died_owing, "thread %u sleeps, and all is done: a wake-up is lost", i);
    }
}

static void show(const void *state, FILE *out)
{
    const struct state *s = state;
    fprintf(out, "word=%u%s expected=%u,%u out=", s->word.count, s->word.asleep ? ",asleep" : "",
            s->expected[0], s->expected[1]);
    for (uint32_t i = 0; i < threads; i++) {
        if (is_worker(i)) {
            fprintf(out, " %u(%u)", s->out[i], s->thread[i].ended);
        }
    }
    for (uint32_t i = 0; i < threads; i++) {
        if (s->thread[i].asleep) {
            fprintf(out, " %u sleeps", i);
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
    CASE("all of a batch", NULL, false, {"A", "ac", "b", "s"}, .deaths = 1),
    CASE("all of a batch, after a slice", NULL, false, {"A", "ab", "c", "s"}, .slices = 1),
    CASE("one after the other", NULL, false, {"E", "ac", "b", "s"}, .deaths = 1, .slices = 1),
    CASE("two batches", NULL, false, {"A", "X", "axby", "s"}, .deaths = 1),
    CASE("two batches, of one of which each end is told", NULL, false, {"E", "Y", "xayb", "s"},
         .deaths = 1),
    CASE("not registered", NULL, false, {"A", "ab", "c", "s"}, .deaths = 1, .slices = 1,
         .unregistered = 2),
    CASE("longer", NULL, true, {"E", "X", "axbyc", "s"}, .deaths = 1, .slices = 1),

    CASE("expects what was done meanwhile", "lost", false, {"A", "a", "b", "s"},
         .mutation = NO_SECOND_LOOK),
    CASE("expects another, and interrupts nobody", "lost", false, {"A", "a", "b", "s"},
         .mutation = NO_INTERRUPT),
    CASE("looks at what is expected, then ends its group", "lost", false, {"A", "a", "b", "s"},
         .mutation = EXPECTED_TOO_SOON),
    CASE("fences after it has looked at what is expected", "lost", false, {"A", "a", "b", "s"},
         .unregistered = 6, .mutation = FENCED_TOO_LATE),
    CASE("one word for all batches", "lost", false, {"A", "X", "ax", "by"},
         .mutation = ONE_FOR_ALL),
    CASE("without membarrier", "lost", false, {"A", "a", "s"}, .mutation = NO_MEMBARRIER),
    {0},
};

const struct model expect_model = {
    .name = "expect",
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
