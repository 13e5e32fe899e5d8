/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Broadcast: publishers swap slots into a ring of cells and wait for lossless subscribers by way of
 * a floor; overwriting subscribers pin what they read. That a swap and the publisher's own word are
 * two stores is the queue's model; here a swap is one step.
 *
 * Each thread runs a script, one letter an operation:
 *
 *   p  publish one, unless the ring is full   l  join lossless   o  join overwriting
 *   r  read one, if there is one              x  leave
 *   d  drop the oldest that is there, as for the sake of bytes
 *
 * Checked: a lossless subscriber never finds its next message overwritten; what either reads is what
 * was published at that position, and stays so until it is released; an overwriting one reads or
 * counts as lost each position, dropped ones too; no slot is lost or in two places; nobody is ever stuck.
 */
#include "model.h"

enum { CELLS = 4, SPARES = 2, SLOTS = CELLS + SPARES + 2 * MODEL_THREADS, POSITIONS = 12 };

enum { DROPPED = 100, FREED = 101 }; /* what a slot may hold, beside a message */

enum { NOBODY, JOINING, LOSSLESS, OVERWRITING };

enum mutation {
    NONE,
    BEGINS_BEFORE_IT_IS_SEEN, /* where it begins is decided before the cursor is registered */
    FLOOR_TO_THE_TAIL,        /* the floor is raised as far as the cursors allow */
    TARGET_UNTOLD,            /* how far it may be raised is not said before */
    TARGET_UNSEEN,            /* or not looked at */
    DROPS_PINNED,             /* what was dropped is freed though it is read */
    PIN_UNCHECKED,            /* the cell is not looked at again after the pin */
    PINS_IGNORED,             /* a publisher writes into its hand at once */
};

struct config {
    const char *scripts[MODEL_THREADS];
    uint8_t capacity; /* 2 or 4 */
    uint8_t history;
    uint32_t deaths;
    enum mutation mutation;
};

static const struct config *config;
static uint32_t threads;

struct cell {
    uint8_t turn;
    uint8_t slot;
};

struct thread {
    uint8_t operation;
    uint8_t hand;
    uint8_t empty;
    /* as a subscriber; shared are kind, cursor and pin */
    uint8_t kind;
    uint8_t cursor;
    uint8_t pin;
    uint8_t next;
    uint8_t counted; /* read or lost, by an overwriting one; from `first` on */
    uint8_t first;
    /* locals */
    uint8_t tail;
    uint8_t floor;
    uint8_t needed;
    uint8_t target;
    uint8_t least;
    uint8_t at;
    uint8_t spare;
    uint8_t kind_seen;
    uint8_t slot;
    uint8_t pinned;
    struct cell seen;
};

struct state {
    struct model_common common;
    struct cell cell[CELLS];
    uint8_t spare[SPARES];
    uint8_t floor;
    uint8_t target;
    uint8_t bytes[SLOTS]; /* what was last written there: a message's number, 0: being written */
    uint8_t published[POSITIONS]; /* the message at each position */
    uint8_t messages;
    struct thread thread[MODEL_THREADS];
};

static uint8_t index_of(uint8_t position)
{
    return position % config->capacity;
}

static uint8_t turn_of(uint8_t position)
{
    return position / config->capacity;
}

static uint8_t safe_floor(uint8_t position)
{
    uint8_t beyond = (uint8_t)(position + 2);
    return beyond > config->capacity ? (uint8_t)(beyond - config->capacity) : 0;
}

static uint8_t later(uint8_t a, uint8_t b)
{
    return a > b ? a : b;
}

/* Finds the tail, at or after me->tail. */
static bool find_tail(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    for (;;) {
        STEP("[swap] is position %u published?", me->tail);
        me->seen = s->cell[index_of(me->tail)];
        if (me->seen.turn == turn_of(me->tail)) {
            RETURN;
        }
        me->tail = (uint8_t)((me->seen.turn - 1) * config->capacity + index_of(me->tail) + 1);
    }
    END;
}

/* Whether me->slot is pinned, to me->pinned. */
static bool look_for_pins(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->pinned = 0;
    for (me->at = 0; me->at < threads && !me->pinned; me->at++) {
        STEP("[pin] does %u pin slot %u?", me->at, me->slot);
        me->pinned = s->thread[me->at].pin == me->slot + 1;
    }
    me->at = 0;
    END;
}

static bool take_unpinned(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    for (me->spare = 0;; me->spare = (uint8_t)((me->spare + 1) % SPARES)) {
        me->slot = me->hand;
        CALL(look_for_pins(s, self));
        if (!me->pinned) {
            break;
        }
        STEP("[swap] load spare %u", me->spare);
        me->slot = s->spare[me->spare];
        CALL(look_for_pins(s, self));
        if (!me->pinned) {
            STEP("[swap] CAS spare %u", me->spare);
            if (s->spare[me->spare] == me->slot) { /* no ABA in so few steps: it has a turn */
                s->spare[me->spare] = me->hand;
                me->hand = me->slot;
            }
        }
    }
    me->spare = 0;
    me->slot = 0;
    END;
}

/* Raises the floor to me->needed, and at most to me->target; me->least is 1 if it is there, 0 if not. */
static bool raise_floor(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[floor] load the floor");
    me->floor = s->floor;
    while (me->floor < me->needed) {
        if (config->mutation != TARGET_UNTOLD) {
            STEP("[floor] raise the target to %u", me->target);
            s->target = later(s->target, me->target);
        }
        me->least = config->mutation == FLOOR_TO_THE_TAIL ? me->tail : me->target;
        for (me->at = 0; me->at < threads; me->at++) {
            STEP("[floor] what is subscriber %u?", me->at);
            me->kind_seen = s->thread[me->at].kind;
            if (me->kind_seen == LOSSLESS) {
                STEP("[floor] load cursor %u", me->at);
                if (s->thread[me->at].cursor < me->least) {
                    me->least = s->thread[me->at].cursor;
                }
            }
        }
        me->at = 0;
        me->kind_seen = NOBODY;
        if (me->least > me->floor) {
            STEP("[floor] CAS the floor to %u", me->least);
            if (s->floor == me->floor) {
                s->floor = me->least;
            }
            me->floor = s->floor;
            continue;
        }
        STEP("drop a dead one that holds it down");
        for (me->at = 0; me->at < threads; me->at++) {
            if (s->thread[me->at].kind == LOSSLESS && s->thread[me->at].cursor <= me->floor &&
                model_is_dead(&s->common, me->at)) {
                s->thread[me->at].kind = NOBODY;
                break;
            }
        }
        if (me->at == threads) {
            me->at = 0;
            me->least = 0;
            RETURN;
        }
        me->at = 0;
    }
    me->least = 1;
    END;
}

/* me->least is 1 if there is room at me->tail, 0 if not. */
static bool has_room(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->needed = later((uint8_t)(me->tail + 1), config->capacity) - config->capacity;
    me->target = safe_floor(me->tail);
    CALL(raise_floor(s, self));
    me->needed = me->target = 0;
    END;
}

static void exchange(uint8_t *a, uint8_t *b)
{
    uint8_t was = *a;
    *a = *b;
    *b = was;
}

/* From the oldest that is there and not dropped: to me->next and me->seen. */
static bool find_oldest(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    CALL(find_tail(s, self));
    me->next = later(me->tail, config->capacity) - config->capacity;
    for (; me->next < me->tail; me->next++) {
        STEP("[drop] is position %u dropped?", me->next);
        me->seen = s->cell[index_of(me->next)];
        if (me->seen.turn == turn_of(me->next) + 1 && s->bytes[me->seen.slot] != DROPPED) {
            break;
        }
    }
    END;
}

static bool drop(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    CALL(find_oldest(s, self));
    if (me->next < me->tail) {
        me->needed = me->target = (uint8_t)(me->next + 1);
        CALL(raise_floor(s, self));
        me->needed = me->target = 0;
        if (me->least != 0) {
            exchange(&me->hand, &me->empty);
            CALL(take_unpinned(s, self));
            STEP("slot %u is to be a dropped one", me->hand);
            s->bytes[me->hand] = DROPPED;
            STEP("[swap] CAS the cell of position %u", me->next);
            struct cell *cell = &s->cell[index_of(me->next)];
            if (cell->turn == me->seen.turn && cell->slot == me->seen.slot) {
                cell->slot = me->hand;
                me->hand = me->seen.slot;
                me->slot = me->hand;
                if (config->mutation != DROPS_PINNED) {
                    CALL(look_for_pins(s, self));
                }
                if (!me->pinned) {
                    STEP("free what was in slot %u", me->hand);
                    s->bytes[me->hand] = FREED;
                }
                me->pinned = me->slot = 0;
            }
            exchange(&me->hand, &me->empty);
        }
    }
    me->next = 0;
    END;
}

static bool publish(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    if (config->mutation != PINS_IGNORED) {
        CALL(take_unpinned(s, self));
    }
    STEP("write half of slot %u", me->hand);
    s->bytes[me->hand] = 0;
    STEP("write the rest of slot %u", me->hand);
    s->bytes[me->hand] = ++s->messages;
    for (;;) {
        CALL(find_tail(s, self));
        CALL(has_room(s, self));
        if (me->least == 0) {
            break;
        }
        STEP("[swap] CAS the cell of position %u", me->tail);
        struct cell *cell = &s->cell[index_of(me->tail)];
        if (cell->turn == me->seen.turn && cell->slot == me->seen.slot) {
            s->published[me->tail] = s->bytes[me->hand];
            *cell = (struct cell){(uint8_t)(me->seen.turn + 1), me->hand};
            me->hand = me->seen.slot;
            break;
        }
    }
    END;
}

static bool join_lossless(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("JOINING");
    me->kind = JOINING;
    CALL(find_tail(s, self));
    STEP("load the target");
    me->next = later(me->tail, config->history) - config->history;
    me->next = later(me->next, s->target);
    STEP("store a cursor that holds the floor down");
    me->cursor = me->next;
    STEP("[floor] register");
    me->kind = LOSSLESS;
    if (config->mutation != BEGINS_BEFORE_IT_IS_SEEN) {
        CALL(find_tail(s, self));
        me->next = later(me->tail, config->history) - config->history;
    }
    STEP("[floor] load the target");
    if (config->mutation != BEGINS_BEFORE_IT_IS_SEEN && config->mutation != TARGET_UNSEEN) {
        me->next = later(me->next, s->target);
    }
    STEP("store the cursor at which it begins");
    me->cursor = me->next;
    END;
}

static bool join_overwriting(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    CALL(find_tail(s, self));
    uint8_t history = config->history < config->capacity ? config->history : config->capacity;
    me->next = me->tail > history ? (uint8_t)(me->tail - history) : 0;
    me->first = me->next;
    me->kind = OVERWRITING;
    END;
}

static bool read_lossless(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[swap] is position %u there?", me->next);
    me->seen = s->cell[index_of(me->next)];
    CLAIM(me->seen.turn <= turn_of(me->next) + 1, "position %u was promised, and overwritten",
          me->next);
    CLAIM(me->seen.turn <= turn_of(me->next) || s->bytes[me->seen.slot] != DROPPED,
          "position %u was promised, and dropped", me->next);
    if (me->seen.turn != turn_of(me->next) + 1) {
        RETURN;
    }
    STEP("read position %u", me->next);
    CLAIM(s->bytes[me->seen.slot] == s->published[me->next], "position %u is not what was put",
          me->next);
    STEP("read it again");
    CLAIM(s->bytes[me->seen.slot] == s->published[me->next], "position %u changed in place",
          me->next);
    STEP("[retire] store the cursor");
    me->cursor = ++me->next;
    END;
}

static bool read_overwriting(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    for (;;) {
        STEP("[swap] is position %u there?", me->next);
        me->seen = s->cell[index_of(me->next)];
        if (me->seen.turn == turn_of(me->next)) {
            RETURN;
        }
        if (me->seen.turn == turn_of(me->next) + 1) {
            STEP("[pin] pin slot %u", me->seen.slot);
            me->pin = (uint8_t)(me->seen.slot + 1);
            if (config->mutation == PIN_UNCHECKED) {
                break;
            }
            STEP("[pin] is it still there?");
            if (s->cell[index_of(me->next)].turn == me->seen.turn &&
                s->cell[index_of(me->next)].slot == me->seen.slot) {
                break;
            }
            STEP("it is not: unpin");
            me->pin = 0;
            if (s->cell[index_of(me->next)].turn == me->seen.turn) {
                continue; /* dropped meanwhile */
            }
        }
        me->tail = me->next;
        CALL(find_tail(s, self));
        if (me->tail - config->capacity > me->next) {
            me->counted = (uint8_t)(me->counted + me->tail - config->capacity - me->next);
            me->next = (uint8_t)(me->tail - config->capacity);
        }
    }
    STEP("read position %u", me->next);
    if (s->bytes[me->seen.slot] != DROPPED) {
        CLAIM(s->bytes[me->seen.slot] == s->published[me->next], "position %u is not what was put",
              me->next);
        STEP("read it again");
        CLAIM(s->bytes[me->seen.slot] == s->published[me->next], "position %u changed in place",
              me->next);
    }
    STEP("[retire] unpin");
    me->pin = 0;
    me->next++;
    me->counted++;
    CLAIM(me->first + me->counted == me->next, "what it read and lost is not all");
    END;
}

static bool leave(struct state *s, uint32_t self)
{
    BEGIN;
    STEP("[retire] leave");
    s->thread[self].kind = NOBODY;
    END;
}

static bool run(void *state, uint32_t self)
{
    struct state *s = state;
    struct thread *me = &s->thread[self];
    char letter = config->scripts[self][me->operation];
    BEGIN;
    while (letter != '\0') {
        if (letter == 'p') {
            CALL(publish(s, self));
        } else if (letter == 'd') {
            CALL(drop(s, self));
        } else if (letter == 'l') {
            CALL(join_lossless(s, self));
        } else if (letter == 'o') {
            CALL(join_overwriting(s, self));
        } else if (letter == 'x') {
            CALL(leave(s, self));
        } else if (me->kind == LOSSLESS) {
            CALL(read_lossless(s, self));
        } else {
            CALL(read_overwriting(s, self));
        }
        me->seen = (struct cell){0};
        me->floor = 0;
        me->least = 0;
        me->operation++;
        letter = config->scripts[self][me->operation];
    }
    END;
}

static void check(const void *state)
{
    const struct state *s = state;
    uint32_t found = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < config->capacity; i++, count++) {
        found |= 1u << s->cell[i].slot;
    }
    for (uint32_t i = 0; i < SPARES; i++, count++) {
        found |= 1u << s->spare[i];
    }
    for (uint32_t i = 0; i < threads; i++, count++) {
        found |= 1u << s->thread[i].hand;
    }
    for (uint32_t i = 0; i < threads; i++, count++) {
        found |= 1u << s->thread[i].empty;
    }
    CLAIM(found == (1u << count) - 1, "a slot is in two places");
}

static void end(const void *state, uint32_t stuck)
{
    (void)state;
    CLAIM(stuck == 0, "stuck");
}

static void show(const void *state, FILE *out)
{
    const struct state *s = state;
    for (uint32_t i = 0; i < config->capacity; i++) {
        fprintf(out, "[%u: slot %u = %u]", s->cell[i].turn, s->cell[i].slot,
                s->bytes[s->cell[i].slot]);
    }
    fprintf(out, " floor %u", s->floor);
    for (uint32_t i = 0; i < threads; i++) {
        if (s->thread[i].kind != NOBODY) {
            fprintf(out, " %u:%u", i,
                    s->thread[i].kind == LOSSLESS ? s->thread[i].cursor : s->thread[i].next);
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
    uint8_t slot = 0;
    for (uint32_t i = 0; i < config->capacity; i++) {
        s->cell[i].slot = slot++;
    }
    for (uint32_t i = 0; i < SPARES; i++) {
        s->spare[i] = slot++;
    }
    for (uint32_t i = 0; i < threads; i++) {
        s->thread[i].hand = slot++;
        s->thread[i].empty = slot++;
    }
}

#define CASE(name, error, is_long, ...) \
    {name, &(const struct config){.scripts = __VA_ARGS__}, error, is_long}

static const struct model_case cases[] = {
    CASE("one lossless", NULL, false, {"pppp", "lrrr"}, .capacity = 2, .deaths = 1),
    CASE("lossless beside two publishers", NULL, false, {"pp", "pp", "lr"}, .capacity = 2),
    CASE("lossless with a history", NULL, false, {"pppppp", "p", "lr"}, .capacity = 4,
         .history = 4),
    CASE("one overwriting", NULL, false, {"ppppp", "orrr"}, .capacity = 2, .history = 2,
         .deaths = 1),
    CASE("overwriting beside two publishers", NULL, false, {"pp", "pp", "or"}, .capacity = 2,
         .history = 2),
    CASE("two overwriting", NULL, true, {"pppp", "or", "or"}, .capacity = 2),
    CASE("one of each", NULL, true, {"ppp", "lr", "or"}, .capacity = 2, .deaths = 1),
    CASE("two publishers, for longer", NULL, true, {"ppp", "pp", "lrr"}, .capacity = 2,
         .deaths = 1),
    CASE("dropped beside one lossless", NULL, false, {"ppdpdp", "lrr"}, .capacity = 4, .history = 2,
         .deaths = 1),
    CASE("dropped beside one overwriting", NULL, false, {"ppdpdp", "orr"}, .capacity = 4,
         .history = 2, .deaths = 1),
    CASE("two who drop", NULL, false, {"ppd", "pd", "or"}, .capacity = 2, .history = 2),
    CASE("two who drop beside one lossless", NULL, true, {"ppd", "pd", "lr"}, .capacity = 4,
         .history = 2, .deaths = 1),
    CASE("the target is not told", "promised", false, {"ppdpd", "lr"}, .capacity = 4, .history = 4,
         .mutation = TARGET_UNTOLD),
    CASE("the target is not looked at", "promised", false, {"ppdpd", "lr"}, .capacity = 4,
         .history = 4, .mutation = TARGET_UNSEEN),
    CASE("what is read is freed when it is dropped", "is not what was put", false, {"ppdpd", "or"},
         .capacity = 4, .history = 4, .mutation = DROPS_PINNED),
    CASE("it begins before it is seen", "promised", false, {"pppppp", "lrr"}, .capacity = 2,
         .mutation = BEGINS_BEFORE_IT_IS_SEEN),
    CASE("the floor goes to the tail", "promised", false, {"ppppppp", "p", "lr"}, .capacity = 4,
         .history = 4, .mutation = FLOOR_TO_THE_TAIL),
    CASE("a pin is not checked", "is not what was put", false, {"ppppp", "orr"}, .capacity = 2,
         .mutation = PIN_UNCHECKED),
    CASE("pins are ignored", "is not what was put", false, {"ppppp", "orr"}, .capacity = 2,
         .mutation = PINS_IGNORED),
    {0},
};

const struct model broadcast_model = {
    .name = "broadcast",
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
