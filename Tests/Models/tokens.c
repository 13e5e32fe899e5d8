/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Producer tokens: a queue's stream finishes when there was a token and none lives any more. A
 * token is a word, 0 or the stamp of whom it counts for; one that is sent counts for its sender
 * until the receiver swaps it for its own stamp. Whoever closes one, or meets a dead one, looks at
 * all of them; that look is no instant, and tokens come and go meanwhile, so every token that
 * becomes somebody's is also counted in the word that has the state.
 *
 * Each thread runs a script, one letter an operation:
 *
 *   o  open one   c  close the oldest of mine   s  send one   r  receive one   l  look for the end
 *
 * Checked: the stream never finishes while somebody alive has a token that was acknowledged, nor is
 * one acknowledged after it finished; and it does finish when the last is closed.
 */
#include "model.h"

enum { TOKENS = 3, KEPT = 2 };

enum mutation {
    NONE,
    FLAG_FOR_COUNT,
    RECEIVED_UNCOUNTED,
    COUNTED_BEFORE_TOKEN,
};

struct config {
    const char *scripts[MODEL_THREADS];
    uint32_t deaths;
    enum mutation mutation;
};

static const struct config *config;
static uint32_t threads;

struct word {
    uint8_t opened;
    uint8_t finished;
};

struct token {
    uint8_t owner; /* thread + 1, or 0 */
    uint8_t sent;
};

struct thread {
    uint8_t operation;
    uint8_t kept[KEPT]; /* token + 1, the oldest first; those acknowledged */
    uint8_t at;
    struct token found;
    struct word seen;
};

struct state {
    struct model_common common;
    struct word word;
    struct token token[TOKENS];
    struct thread thread[MODEL_THREADS];
};

static bool lives(const struct state *s, struct token token)
{
    return token.owner != 0 && !model_is_dead(&s->common, token.owner - 1u);
}

/* Counts a token that is in the table now. @returns whether the stream had not finished before. */
static bool count(struct state *s)
{
    if (s->word.finished) {
        return false;
    }
    if (config->mutation == FLAG_FOR_COUNT) {
        s->word.opened = 1;
    } else {
        s->word.opened++;
    }
    return true;
}

static void keep(struct thread *me)
{
    me->kept[me->kept[0] != 0] = (uint8_t)(me->at + 1);
}

static bool open(struct state *s, uint32_t self, uint8_t sent)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    if (config->mutation == COUNTED_BEFORE_TOKEN) {
        STEP("[token] count");
        if (!count(s)) {
            RETURN;
        }
    }
    for (me->at = 0; me->at < TOKENS; me->at++) {
        STEP("CAS token %u: 0 -> mine", me->at);
        if (s->token[me->at].owner == 0) {
            s->token[me->at] = (struct token){(uint8_t)(self + 1), sent};
            break;
        }
    }
    if (me->at == TOKENS) {
        RETURN;
    }
    if (config->mutation != COUNTED_BEFORE_TOKEN) {
        STEP("[token] count, if the stream goes on");
        if (!count(s)) {
            STEP("it does not: token %u -> 0", me->at);
            s->token[me->at] = (struct token){0};
            RETURN;
        }
    }
    if (!sent) {
        keep(me);
    }
    END;
}

static bool receive(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    for (me->at = 0; me->at < TOKENS; me->at++) {
        STEP("is token %u sent, and does its sender live?", me->at);
        me->found = s->token[me->at];
        if (!me->found.sent || !lives(s, me->found)) {
            continue;
        }
        STEP("CAS token %u: sent -> mine", me->at);
        if (s->token[me->at].sent && s->token[me->at].owner == me->found.owner) {
            s->token[me->at] = (struct token){(uint8_t)(self + 1), 0};
            break;
        }
    }
    if (me->at == TOKENS) {
        RETURN;
    }
    if (config->mutation != RECEIVED_UNCOUNTED) {
        STEP("[token] count, if the stream goes on");
        if (!count(s)) {
            STEP("it does not: token %u -> 0", me->at);
            s->token[me->at] = (struct token){0};
            RETURN;
        }
    }
    keep(me);
    END;
}

static bool finish_if_abandoned(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[token] load the state");
    me->seen = s->word;
    if (me->seen.finished || me->seen.opened == 0) {
        RETURN;
    }
    for (me->at = 0; me->at < TOKENS; me->at++) {
        STEP("does token %u live?", me->at);
        if (lives(s, s->token[me->at])) {
            RETURN;
        }
    }
    STEP("[token] CAS the state: finished");
    if (s->word.opened != me->seen.opened || s->word.finished) {
        RETURN;
    }
    s->word.finished = 1;
    END;
}

static bool close(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    if (me->kept[0] == 0) {
        RETURN;
    }
    STEP("token %u -> 0", me->kept[0] - 1);
    s->token[me->kept[0] - 1] = (struct token){0};
    me->kept[0] = me->kept[1];
    me->kept[1] = 0;
    CALL(finish_if_abandoned(s, self));
    END;
}

static bool run(void *state, uint32_t self)
{
    struct state *s = state;
    struct thread *me = &s->thread[self];
    char letter = config->scripts[self][me->operation];
    BEGIN;
    while (letter != '\0') {
        if (letter == 'o' || letter == 's') {
            CALL(open(s, self, letter == 's'));
        } else if (letter == 'c') {
            CALL(close(s, self));
        } else if (letter == 'r') {
            CALL(receive(s, self));
        } else {
            CALL(finish_if_abandoned(s, self));
        }
        me->at = 0;
        me->found = (struct token){0};
        me->seen = (struct word){0};
        me->operation++;
        letter = config->scripts[self][me->operation];
    }
    END;
}

static void check(const void *state)
{
    const struct state *s = state;
    for (uint32_t i = 0; i < threads && s->word.finished; i++) {
        CLAIM(s->thread[i].kept[0] == 0 || model_is_dead(&s->common, i),
              "finished, but thread %u has a token", i);
    }
}

static void end(const void *state, uint32_t stuck)
{
    const struct state *s = state;
    bool any = false;
    CLAIM(stuck == 0, "stuck");
    for (uint32_t i = 0; i < TOKENS; i++) {
        any |= s->token[i].owner != 0;
    }
    CLAIM(any || s->word.opened == 0 || s->word.finished || s->common.deaths != 0,
          "all tokens are closed, but the stream goes on");
}

static void show(const void *state, FILE *out)
{
    const struct state *s = state;
    for (uint32_t i = 0; i < TOKENS; i++) {
        fprintf(out, "[%u%s]", s->token[i].owner, s->token[i].sent ? " sent" : "");
    }
    fprintf(out, " opened %u%s", s->word.opened, s->word.finished ? " finished" : "");
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
    CASE("opened and closed", NULL, false, {"oocc", "occ", "oc"}, .deaths = 1),
    CASE("sent and received", NULL, false, {"osc", "rc", "ocl"}, .deaths = 2),
    CASE("passed on", NULL, false, {"osc", "rsc", "rc", "l"}, .deaths = 1),
    CASE("a flag in the place of the count", "has a token", false, {"ococ", "oocc", "l"},
         .mutation = FLAG_FOR_COUNT),
    CASE("a received token is not counted", "has a token", false, {"os", "r", "l"}, .deaths = 1,
         .mutation = RECEIVED_UNCOUNTED),
    CASE("counted before it is there", "has a token", false, {"oc", "o"},
         .mutation = COUNTED_BEFORE_TOKEN),
    {0},
};

const struct model tokens_model = {
    .name = "tokens",
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
