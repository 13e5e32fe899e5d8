/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A map's transaction over two keys, each in a shard of its own (Sources/CShm/map_transaction.c), and
 * writers of single keys, who recover what a dead one left.
 *
 *   T  set both keys   A  set the key of shard 0   B  set that of shard 1
 *
 * Shard 0 is the home. An item is a block; a shard's entry names one. A block is used again as soon
 * as it is free, by whoever allocates first.
 *
 * Checked: a named item is in use and of that key; who has both shards, with nobody dead before him,
 * finds both keys of the same transaction or of later single writes; nothing is freed twice or lost,
 * whoever dies, also while recovering; nobody waits for ever.
 */
#include "model.h"

enum { BLOCKS = 6, SHARDS = 2 };

enum mutation {
    NONE,
    APPLY_BEFORE_COMMIT,
    HOME_DOES_NOT_WAIT,
    LOG_FREED_FIRST,
    JOIN_AFTER_ITEMS,
    LEAVE_BEFORE_DROPPING,
    HIGHER_FIRST,
};

struct config {
    const char *scripts[MODEL_THREADS];
    uint32_t deaths;
    enum mutation mutation;
};

static const struct config *config;
static uint32_t threads;

enum { FREE, OWNED, LINKED };
enum { NOBODY, OF_SHARD, OF_LOG = OF_SHARD + SHARDS };

struct block {
    uint8_t state;
    uint8_t holder; /* OF_SHARD + shard, or OF_LOG */
    uint8_t owner;  /* thread + 1, while OWNED */
    uint8_t key;    /* shard + 1 */
    uint8_t value;
    /* as a log: */
    uint8_t committed;
    uint8_t item[SHARDS]; /* + 1 */
    uint8_t old[SHARDS];  /* + 1 */
};

struct shard {
    uint8_t holder; /* of the lock, thread + 1 */
    uint8_t entry;  /* block + 1 */
    uint8_t pending_new;
    uint8_t pending_old; /* stays when it is done with */
    uint8_t joined;
};

struct thread {
    uint8_t operation;
    uint8_t made; /* + 1 */
    uint8_t log;
    uint8_t value;
    uint8_t at;
    uint8_t old;
};

struct state {
    struct model_common common;
    struct shard shard[SHARDS];
    uint8_t log; /* of the home; block + 1 */
    uint8_t last_value;
    uint8_t due[SHARDS]; /* ghost: what each key is to be at least, once its shard is free */
    struct block block[BLOCKS];
    struct thread thread[MODEL_THREADS];
};

/* ---- the heap ---- */

static void release(struct state *s, uint8_t block, uint8_t holder)
{
    struct block *it = &s->block[block - 1];
    if (block != 0 && it->state != FREE && it->holder == holder) {
        bool named = false;
        for (uint32_t i = 0; i < SHARDS; i++) {
            named |= s->shard[i].entry == block;
        }
        CLAIM(!named, "a named item is freed");
        it->state = FREE;
    }
}

static void allocate(struct state *s, uint32_t self, uint8_t holder)
{
    struct thread *me = &s->thread[self];
    me->made = 0;
    for (uint8_t i = 1; i <= BLOCKS && me->made == 0; i++) {
        if (s->block[i - 1].state == FREE) {
            me->made = i;
        }
    }
    CLAIM(me->made != 0, "blocks are lost");
    s->block[me->made - 1] = (struct block){OWNED, holder, (uint8_t)(self + 1), 0, 0, 0, {0}, {0}};
}

/* What a dead process owned is linked if its holder names it, else free. */
static void sweep(struct state *s)
{
    for (uint8_t i = 1; i <= BLOCKS; i++) {
        struct block *it = &s->block[i - 1];
        if (it->state == OWNED && model_is_dead(&s->common, it->owner - 1u)) {
            bool named = it->holder == OF_LOG ? s->log == i
                                              : s->shard[it->holder - OF_SHARD].pending_new == i;
            it->state = named ? LINKED : FREE;
        }
    }
}

/* ---- settling ---- */

static bool lock(struct state *s, uint32_t self, uint32_t number);

/* This shard's part of the log. */
static bool settle(struct state *s, uint32_t self, uint32_t number)
{
    struct block *log = &s->block[s->log - 1];
    struct shard *shard = &s->shard[number];
    BEGIN;
    if (s->log == 0) {
        RETURN;
    }
    CLAIM(log->state != FREE && log->holder == OF_LOG, "a log is read that is none");
    if (log->committed != 0) {
        STEP("shard %u: the entry", number);
        shard->entry = log->item[number];
        STEP("shard %u: the old item is freed", number);
        release(s, log->old[number], (uint8_t)(OF_SHARD + number));
    } else {
        STEP("shard %u: the new item is dropped", number);
        release(s, log->item[number], (uint8_t)(OF_SHARD + number));
    }
    END;
}

static bool leave(struct state *s, uint32_t self, uint32_t number)
{
    BEGIN;
    if (config->mutation == LEAVE_BEFORE_DROPPING) {
        STEP("shard %u leaves", number);
        s->shard[number].joined = 0;
    }
    CALL(settle(s, self, number));
    STEP("shard %u leaves", number);
    s->shard[number].joined = 0;
    END;
}

static bool end_log(struct state *s, uint32_t self)
{
    BEGIN;
    if (config->mutation == LOG_FREED_FIRST) {
        STEP("the log is freed");
        release(s, s->log, OF_LOG);
    }
    if (s->block[s->log - 1].state != FREE && s->block[s->log - 1].holder == OF_LOG) {
        CALL(settle(s, self, 0));
    }
    STEP("the log is freed");
    release(s, s->log, OF_LOG);
    STEP("log = 0");
    s->log = 0;
    END;
}

static bool recover(struct state *s, uint32_t self, uint32_t number)
{
    struct shard *shard = &s->shard[number];
    BEGIN;
    STEP("the sweep");
    sweep(s);
    if (shard->joined != 0) {
        CALL(leave(s, self, number));
    }
    if (number == 0 && s->log != 0) {
        if (s->shard[1].joined != 0 && config->mutation != HOME_DOES_NOT_WAIT) {
            CALL(lock(s, self, 1));
            if (s->shard[1].joined != 0) {
                CALL(leave(s, self, 1));
            }
            STEP("unlock shard 1");
            s->shard[1].holder = 0;
        }
        CALL(end_log(s, self));
    }
    STEP("shard %u: what is pending, if nothing names it", number);
    if (shard->entry != shard->pending_new) {
        release(s, shard->pending_new, (uint8_t)(OF_SHARD + number));
    }
    STEP("shard %u: pending_new = 0", number);
    shard->pending_new = 0;
    STEP("shard %u: what was replaced, if nothing names it", number);
    if (shard->entry != shard->pending_old) {
        release(s, shard->pending_old, (uint8_t)(OF_SHARD + number));
    }
    STEP("shard %u: pending_old = 0", number);
    shard->pending_old = 0;
    END;
}

static bool lock(struct state *s, uint32_t self, uint32_t number)
{
    struct shard *shard = &s->shard[number];
    bool of_dead = shard->holder != 0 && model_is_dead(&s->common, shard->holder - 1u);
    BEGIN;
    WAIT_UNTIL(shard->holder == 0 || of_dead, "lock shard %u", number);
    shard->holder = (uint8_t)(self + 1);
    if (of_dead) {
        CALL(recover(s, self, number));
    }
    END;
}

/* ---- writing ---- */

static bool make_item(struct state *s, uint32_t self, uint32_t number)
{
    struct thread *me = &s->thread[self];
    struct shard *shard = &s->shard[number];
    BEGIN;
    STEP("shard %u: allocate an item", number);
    allocate(s, self, (uint8_t)(OF_SHARD + number));
    s->block[me->made - 1].key = (uint8_t)(number + 1);
    s->block[me->made - 1].value = me->value;
    STEP("shard %u: pending_new = %u", number, me->made - 1);
    shard->pending_new = me->made;
    STEP("block %u is LINKED", me->made - 1);
    s->block[me->made - 1].state = LINKED;
    END;
}

static bool set_one(struct state *s, uint32_t self, uint32_t number)
{
    struct thread *me = &s->thread[self];
    struct shard *shard = &s->shard[number];
    BEGIN;
    CALL(lock(s, self, number));
    me->value = ++s->last_value;
    CALL(make_item(s, self, number));
    me->old = shard->entry;
    STEP("shard %u: pending_old = %u", number, me->old - 1);
    shard->pending_old = me->old;
    STEP("shard %u: the entry", number);
    shard->entry = me->made;
    s->due[number] = me->value;
    STEP("shard %u: pending_new = 0", number);
    shard->pending_new = 0;
    STEP("shard %u: the old item is freed", number);
    release(s, me->old, (uint8_t)(OF_SHARD + number));
    STEP("unlock shard %u", number);
    shard->holder = 0;
    END;
}

static bool prepare(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("allocate the log");
    allocate(s, self, OF_LOG);
    me->log = me->made;
    STEP("log = %u", me->log - 1);
    s->log = me->log;
    STEP("the log is LINKED");
    s->block[me->log - 1].state = LINKED;
    if (config->mutation != JOIN_AFTER_ITEMS) {
        STEP("shard 1 joins");
        s->shard[1].joined = 1;
    }
    for (me->at = 0; me->at < SHARDS; me->at++) {
        CALL(make_item(s, self, me->at));
        STEP("the log's item %u", me->at);
        s->block[me->log - 1].item[me->at] = me->made;
        s->block[me->log - 1].old[me->at] = s->shard[me->at].entry;
        STEP("shard %u: pending_new = 0", me->at);
        s->shard[me->at].pending_new = 0;
    }
    if (config->mutation == JOIN_AFTER_ITEMS) {
        STEP("shard 1 joins");
        s->shard[1].joined = 1;
    }
    END;
}

static bool set_both(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    bool upside_down = config->mutation == HIGHER_FIRST && self == 0;
    BEGIN;
    CALL(lock(s, self, upside_down ? 1 : 0));
    CALL(lock(s, self, upside_down ? 0 : 1));
    /* Nobody is in between now: both keys are what the last ones made of them. */
    CLAIM(s->block[s->shard[0].entry - 1].value == s->due[0] &&
              s->block[s->shard[1].entry - 1].value == s->due[1],
          "one key is changed and the other is not");
    me->value = ++s->last_value;
    CALL(prepare(s, self));
    if (config->mutation == APPLY_BEFORE_COMMIT) {
        STEP("shard 1: the entry, too early");
        s->shard[1].entry = s->block[me->log - 1].item[1];
    }
    STEP("[log] committed");
    s->block[me->log - 1].committed = 1;
    s->due[0] = s->due[1] = me->value;
    CALL(leave(s, self, 1));
    CALL(end_log(s, self));
    STEP("unlock shard 1");
    s->shard[1].holder = 0;
    STEP("unlock shard 0");
    s->shard[0].holder = 0;
    END;
}

static bool run(void *state, uint32_t self)
{
    struct state *s = state;
    struct thread *me = &s->thread[self];
    const char *script = config->scripts[self];
    BEGIN;
    for (; script[me->operation] != '\0'; me->operation++) {
        if (script[me->operation] == 'T') {
            CALL(set_both(s, self));
        } else {
            CALL(set_one(s, self, script[me->operation] == 'B'));
        }
    }
    END;
}

/* ---- what must hold ---- */

static void check(const void *state)
{
    const struct state *s = state;
    for (uint32_t i = 0; i < SHARDS; i++) {
        const struct block *item = &s->block[s->shard[i].entry - 1];
        CLAIM(item->state != FREE && item->key == i + 1, "shard %u names what is no item of it", i);
        CLAIM(s->shard[i].holder != 0 || item->value == s->due[i],
              "shard %u is free, and has not what was committed", i);
    }
}

static void end(const void *state, uint32_t stuck)
{
    const struct state *s = state;
    CLAIM(stuck == 0, "stuck");
    if (s->shard[0].holder != 0 || s->shard[1].holder != 0) {
        return; /* the next one will mend it */
    }
    CLAIM(s->log == 0 && s->shard[1].joined == 0, "a transaction is left");
    for (uint8_t i = 1; i <= BLOCKS; i++) {
        bool named = s->shard[0].entry == i || s->shard[1].entry == i;
        CLAIM(named || s->block[i - 1].state == FREE, "block %u is lost", i - 1);
    }
}

static void show(const void *state, FILE *out)
{
    const struct state *s = state;
    for (uint32_t i = 0; i < SHARDS; i++) {
        fprintf(out, "%d{%d new %d%s} ", s->shard[i].holder - 1, s->shard[i].entry - 1,
                s->shard[i].pending_new - 1, s->shard[i].joined != 0 ? " in" : "");
    }
    fprintf(out, "log %d ", s->log - 1);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        fprintf(out, "%c", ".OL"[s->block[i].state]);
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
    struct state *s = state;
    for (uint8_t i = 0; i < SHARDS; i++) {
        s->shard[i].entry = (uint8_t)(i + 1);
        s->block[i] =
            (struct block){LINKED, (uint8_t)(OF_SHARD + i), 0, (uint8_t)(i + 1), 0, 0, {0}, {0}};
    }
}

#define CASE(name, error, is_long, ...) \
    {name, &(const struct config){.scripts = __VA_ARGS__}, error, is_long}

static const struct model_case cases[] = {
    CASE("one of two dies", NULL, false, {"TT", "TABT"}, .deaths = 1),
    CASE("both die, a third comes", NULL, false, {"T", "BT", "AT"}, .deaths = 2),
    CASE("three die", NULL, false, {"T", "B", "A", "T"}, .deaths = 3),
    CASE("single writers beside them", NULL, true, {"TT", "AAT", "BBT"}, .deaths = 1),
    CASE("four, two deaths", NULL, true, {"TT", "ABT", "BAT", "T"}, .deaths = 2),

    CASE("a change before the commit", "a named item is freed", false, {"T", "BT"}, .deaths = 1,
         .mutation = APPLY_BEFORE_COMMIT),
    CASE("the home does not wait for the others", "a log is read that is none", false,
         {"T", "AT", "B"}, .deaths = 1, .mutation = HOME_DOES_NOT_WAIT),
    CASE("the log is freed first", "has not what was committed", false, {"T", "AT"}, .deaths = 1,
         .mutation = LOG_FREED_FIRST),
    CASE("a shard joins after its item is made", "lost", false, {"T", "BT", "AT"}, .deaths = 1,
         .mutation = JOIN_AFTER_ITEMS),
    CASE("a shard leaves before it drops its item", "a named item is freed", false,
         {"T", "BB", "A"}, .deaths = 2, .mutation = LEAVE_BEFORE_DROPPING),
    CASE("the higher shard is locked first", "stuck", false, {"T", "T"}, .mutation = HIGHER_FIRST),
    {0},
};

const struct model transaction_model = {
    .name = "transaction",
    .size = sizeof(struct state),
    .cases = cases,
    .configure = configure,
    .init = init,
    .run = run,
    .show = show,
    .check = check,
    .end = end,
};
