/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Workers of a board that are awake and find nothing to do (Sources/CShm/board_work.c, [look]): a
 * post counts on one of them rather than wake one that sleeps, and is taken all the same.
 *
 *   w  claim one group, waiting for it: look a few times, lie down, sleep without any time-out
 *   p  post one group       P  post two
 *   b  bury a dead worker, if there is one       B  bury all, for ever
 *   a  wait until all is done, calling again for what is open
 *
 * One thread posts, buries and waits, as the board's poster does. Killed, a worker is buried, and the
 * group that it had claimed is opened again; stopped, it is not, and takes part in nothing: a wake
 * that it was given is gone. Once the poster is dead nothing more is promised, as its workers end
 * with it. The parking word is as in park.c; a post's bit is set by a locked instruction.
 */
#include "model.h"

enum mutation {
    NONE,
    NEVER_WITHDRAWS,       /* lies down, and is counted on */
    WITHDRAWS_AFTER_LOOK,  /* what was posted between is nobody's */
    LOOKS_LYING,           /* says again that it looks, when it lies */
    WITHDRAWS_LATE,        /* claims first, and takes back the word of a later post */
    COUNTS_BEFORE_POST,    /* on who looks before there is anything */
    COUNTS_WITHOUT_TAKING, /* on one worker for two groups */
    BURIES_SILENTLY,
    BURIES_WITHOUT_TAKING, /* and counts on the dead */
    WAKES_THEN_TAKES,      /* the same, for a moment */
    NEVER_CALLS_AGAIN,
};

struct config {
    const char *scripts[MODEL_THREADS]; /* the poster's is the last */
    uint32_t deaths;
    uint8_t looks;  /* of each wait, before it lies down */
    bool are_stops; /* the deaths: nobody is told of them */
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
    uint8_t looking; /* its seat's word */
    uint8_t has;     /* a group that is its own */
    uint8_t lies;
    uint8_t looked;
    uint8_t asleep; /* in the kernel */
    uint8_t buried;
    /* the poster's */
    uint8_t left;
    uint8_t seat;
    uint8_t seen_looking;
    struct word seen;
};

struct state {
    struct model_common common;
    struct word word;
    uint8_t open; /* groups that are FREE */
    uint8_t posted;
    uint8_t done;
    struct thread thread[MODEL_THREADS];
};

static char letter_of(const struct state *s, uint32_t thread)
{
    return config->scripts[thread][s->thread[thread].operation];
}

static bool is_worker(uint32_t thread)
{
    return thread + 1 < threads;
}

/* ---- a worker ---- */

static bool try_claim(struct state *s, struct thread *me)
{
    if (s->open == 0) {
        return false;
    }
    s->open--;
    me->has = 1;
    return true;
}

static bool attempt_look(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[look] is anything open?");
    if (s->open == 0) {
        RETURN;
    }
    if (config->mutation != WITHDRAWS_LATE) {
        STEP("[look] take the word back");
        me->looking = 0;
    }
    STEP("claim");
    if (try_claim(s, me)) {
        if (config->mutation == WITHDRAWS_LATE) {
            STEP("[look] take the word back");
            me->looking = 0;
        }
        RETURN;
    }
    if (!me->lies || config->mutation == LOOKS_LYING) {
        STEP("[look] say that it looks");
        me->looking = 1;
    }
    END;
}

static bool wait_watched(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    while (!me->has) {
        STEP("[announce] set the bit");
        s->word.asleep = 1;
        me->seen = s->word;
        me->lies = 1;
        if (config->mutation != NEVER_WITHDRAWS && config->mutation != WITHDRAWS_AFTER_LOOK) {
            STEP("[look] lie down");
            me->looking = 0;
        }
        CALL(attempt_look(s, self));
        if (me->has) {
            RETURN;
        }
        if (config->mutation == WITHDRAWS_AFTER_LOOK) {
            STEP("[look] lie down");
            me->looking = 0;
        }
        STEP("[wake] sleep, if the word is what was seen");
        me->asleep = s->word.count == me->seen.count && s->word.asleep == me->seen.asleep;
        WAIT_UNTIL(!me->asleep, "is awake");
        CALL(attempt_look(s, self));
    }
    END;
}

static bool claim(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("claim");
    if (!try_claim(s, me)) {
        STEP("[look] say that it looks");
        me->looking = 1;
        for (me->looked = 0; me->looked < config->looks && !me->has; me->looked++) {
            CALL(attempt_look(s, self));
        }
        CALL(wait_watched(s, self));
    }
    me->lies = me->looked = 0;
    me->seen = (struct word){0};
    STEP("is done");
    me->has = 0;
    s->done++;
    END;
}

/* ---- the poster ---- */

static void futex_wake(struct state *s, bool all, uint32_t *woken)
{
    uint32_t sleepers[MODEL_THREADS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < threads; i++) {
        if (s->thread[i].asleep) {
            sleepers[count++] = i;
        }
    }
    uint32_t first = all || count == 0 ? 0 : model_choose(count);
    for (uint32_t i = first; i < (all ? count : first + (count != 0)); i++) {
        s->thread[sleepers[i]].asleep = 0;
    }
    *woken = all ? count : count != 0;
}

static bool wake(struct state *s, uint32_t self, bool all)
{
    struct thread *me = &s->thread[self];
    uint32_t woken = 0;
    BEGIN;
    STEP("[wake] count a wake");
    s->word.count++;
    me->seen = s->word;
    STEP("[wake] wake %s", all ? "all" : "one");
    futex_wake(s, all, &woken);
    if (woken > 0 && !all) {
        RETURN;
    }
    STEP("clear the bit, if the word is still ours");
    if (s->word.count != me->seen.count || s->word.asleep != me->seen.asleep) {
        RETURN;
    }
    s->word.asleep = 0;
    s->word.count++;
    STEP("[wake] wake all");
    futex_wake(s, true, &woken);
    END;
}

static bool wake_workers(struct state *s, uint32_t self)
{
    BEGIN;
    STEP("[announce] does anybody sleep?");
    if (s->word.asleep) {
        CALL(wake(s, self, true));
    }
    END;
}

static bool count_on_lookers(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    for (me->seat = 0; me->seat + 1u < threads && me->left > 0; me->seat++) {
        STEP("does thread %u look?", me->seat);
        me->seen_looking = s->thread[me->seat].looking;
        if (!me->seen_looking) {
            continue;
        }
        STEP("[look] count on thread %u", me->seat);
        if (s->thread[me->seat].looking) {
            s->thread[me->seat].looking = config->mutation == COUNTS_WITHOUT_TAKING;
            me->left--;
        }
    }
    me->seat = me->seen_looking = 0;
    END;
}

static bool post(struct state *s, uint32_t self, uint8_t groups)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->left = groups;
    if (config->mutation == COUNTS_BEFORE_POST) {
        STEP("[announce] does anybody sleep?");
        if (s->word.asleep) {
            CALL(count_on_lookers(s, self));
        }
    }
    STEP("[look] set the bit of the post");
    s->open = (uint8_t)(s->open + groups);
    s->posted = (uint8_t)(s->posted + groups);
    STEP("[announce] does anybody sleep?");
    if (s->word.asleep) {
        if (config->mutation != COUNTS_BEFORE_POST) {
            CALL(count_on_lookers(s, self));
        }
        if (me->left > 0) {
            CALL(wake(s, self, me->left > 1));
        }
    }
    me->left = 0;
    END;
}

/* @returns the thread, or MODEL_THREADS. */
static uint32_t unburied(const struct state *s)
{
    for (uint32_t i = 0; is_worker(i) && !config->are_stops; i++) {
        if (model_is_dead(&s->common, i) && !s->thread[i].buried) {
            return i;
        }
    }
    return MODEL_THREADS;
}

static bool bury(struct state *s, uint32_t self, uint32_t dead)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    s->thread[dead].buried = 1;
    me->seat = (uint8_t)dead;
    if (config->mutation == WAKES_THEN_TAKES) {
        CALL(wake_workers(s, self));
    }
    if (config->mutation != BURIES_WITHOUT_TAKING) {
        STEP("[look] take the word of the dead");
        s->thread[me->seat].looking = 0;
    }
    if (config->mutation != BURIES_SILENTLY && config->mutation != WAKES_THEN_TAKES) {
        CALL(wake_workers(s, self));
    }
    if (s->thread[me->seat].has) {
        STEP("open its group again");
        s->thread[me->seat].has = 0;
        s->open++;
        CALL(wake_workers(s, self));
    }
    me->seat = 0;
    END;
}

static bool workers_may_claim(const struct state *s)
{
    for (uint32_t i = 0; is_worker(i); i++) {
        if (!model_is_dead(&s->common, i) && s->thread[i].asleep) {
            return true;
        }
    }
    return false;
}

/* A slice may end at any time; one that would change nothing is left out. */
static bool await_all(struct state *s, uint32_t self)
{
    BEGIN;
    for (;;) {
        WAIT_UNTIL(s->done == s->posted || (config->mutation != NEVER_CALLS_AGAIN &&
                                            s->word.asleep && s->open > 0 && workers_may_claim(s)),
                   "look for what is done");
        if (s->done == s->posted) {
            RETURN;
        }
        CALL(wake(s, self, true));
    }
    END;
}

static bool run(void *state, uint32_t self)
{
    struct state *s = state;
    struct thread *me = &s->thread[self];
    BEGIN;
    for (; letter_of(s, self) != '\0'; me->operation++) {
        if (letter_of(s, self) == 'w') {
            CALL(claim(s, self));
        } else if (letter_of(s, self) == 'a') {
            CALL(await_all(s, self));
        } else if (letter_of(s, self) == 'b' || letter_of(s, self) == 'B') {
            while (letter_of(s, self) == 'B' || unburied(s) < MODEL_THREADS) {
                WAIT_UNTIL(unburied(s) < MODEL_THREADS, "is told of a death");
                me->left = (uint8_t)unburied(s);
                CALL(bury(s, self, me->left));
                me->left = 0;
            }
        } else {
            CALL(post(s, self, letter_of(s, self) == 'P' ? 2 : 1));
        }
        me->seen = (struct word){0};
    }
    END;
}

/* Who is stopped stays in the kernel's queue, where a wake may reach it. */
static void died(void *state, uint32_t thread)
{
    struct state *s = state;
    if (!config->are_stops) {
        s->thread[thread].asleep = 0;
    }
}

static bool can_die(const void *state, uint32_t thread)
{
    (void)state;
    return is_worker(thread) || !config->are_stops;
}

/* Who waits for ever sleeps, and waits for what is not there. */
static void end(const void *state, uint32_t stuck)
{
    const struct state *s = state;
    if (model_is_dead(&s->common, threads - 1)) {
        return;
    }
    for (uint32_t i = 0; is_worker(i); i++) {
        CLAIM((stuck >> i & 1) == 0 || s->thread[i].asleep, "stuck: thread %u, awake", i);
    }
    CLAIM(s->open == 0 || !workers_may_claim(s), "%u open, and a worker sleeps: a post is lost",
          s->open);
}

static void show(const void *state, FILE *out)
{
    const struct state *s = state;
    fprintf(out, "word=%u%s open=%u posted=%u done=%u", s->word.count,
            s->word.asleep ? ",asleep" : "", s->open, s->posted, s->done);
    for (uint32_t i = 0; is_worker(i); i++) {
        fprintf(out, " %u:%s%s%s", i, s->thread[i].looking ? "looks," : "",
                s->thread[i].has ? "works," : "", s->thread[i].asleep ? "sleeps" : "");
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
    CASE("one worker", NULL, false, {"wwww", "pPp"}, .looks = 2),
    CASE("two workers", NULL, false, {"ww", "ww", "pP"}, .looks = 2),
    CASE("three workers", NULL, false, {"w", "w", "w", "pp"}, .looks = 1),
    CASE("two workers, of whom one is killed", NULL, false, {"www", "ww", "pbpB"}, .looks = 1,
         .deaths = 1),
    CASE("three workers, of whom two are killed", NULL, false, {"w", "w", "w", "pB"}, .looks = 1,
         .deaths = 2),
    CASE("the poster is killed, or a worker", NULL, false, {"ww", "ww", "PpB"}, .looks = 1,
         .deaths = 2),
    CASE("two workers, of whom one is stopped", NULL, false, {"ww", "ww", "papa"}, .looks = 1,
         .deaths = 1, .are_stops = true),
    CASE("three workers, of whom two are stopped", NULL, false, {"w", "w", "w", "pa"}, .looks = 1,
         .deaths = 2, .are_stops = true),
    CASE("longer", NULL, true, {"wwww", "wwww", "pPp"}, .looks = 2),
    CASE("longer, three workers", NULL, true, {"ww", "ww", "ww", "pP"}, .looks = 1),
    CASE("longer, killed", NULL, true, {"wwww", "wwww", "pbPbpB"}, .looks = 2, .deaths = 1),

    CASE("lies down and is counted on", "lost", false, {"w", "ww", "pp"}, .looks = 1,
         .mutation = NEVER_WITHDRAWS),
    CASE("takes its word back after the last look", "lost", false, {"ww", "ww", "pp"}, .looks = 1,
         .mutation = WITHDRAWS_AFTER_LOOK),
    CASE("looks, and lies", "lost", false, {"ww", "ww", "ppp"}, .looks = 1,
         .mutation = LOOKS_LYING),
    CASE("takes its word back after the claim", "lost", false, {"ww", "ww", "pp"}, .looks = 1,
         .mutation = WITHDRAWS_LATE, .deaths = 1, .are_stops = true),
    CASE("is counted on before the post", "lost", false, {"ww", "ww", "pp"}, .looks = 1,
         .mutation = COUNTS_BEFORE_POST),
    CASE("is counted on for two", "lost", false, {"w", "ww", "pp"}, .looks = 1,
         .mutation = COUNTS_WITHOUT_TAKING),
    CASE("is buried silently", "lost", false, {"ww", "ww", "pB"}, .looks = 1, .deaths = 1,
         .mutation = BURIES_SILENTLY),
    CASE("is counted on when dead", "lost", false, {"www", "www", "pbp"}, .looks = 1, .deaths = 1,
         .mutation = BURIES_WITHOUT_TAKING),
    CASE("is counted on when stopped", "lost", false, {"ww", "ww", "pa"}, .looks = 1, .deaths = 1,
         .are_stops = true, .mutation = NEVER_CALLS_AGAIN),
    {0},
};

const struct model look_model = {
    .name = "look",
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
