/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The ring (Sources/CShm/ring.c, ring_put.c, ring_take.c): where messages lie, in the window or in the
 * row, as the producer decides it and as the consumer, or a successor of either, finds it out.
 *
 *   P  a producer from the start      Q  its successor, when P is dead or has closed its view
 *   C  a consumer from the start      D  its successor, when C is dead
 *   p  put one                        b  put a batch of two
 *
 * A consumer takes until nobody is left who could put. When the ring may be looked at for being empty is
 * left open. Parking, lengths and blocks are left out: models of their own.
 */
#include "model.h"

enum { WINDOW = 2, CAPACITY = 4, POSITIONS = 12, NO_END = 200 };

enum mutation {
    NONE,
    ENDS_BEFORE_IT_BEGINS, /* window_to is stored before window_from */
    TAIL_BEFORE_WINDOW,    /* the row leads to a section that is not named yet */
    WORD_BEFORE_WINDOW_TO, /* the window is left before it is said where */
    FIRST_OF_BATCH_FIRST,  /* the word of a batch's first message before the others are counted */
    WINDOW_IS_NEVER_FULL,
    SUCCESSOR_COUNTS_BY_TAIL,
    SUCCESSOR_KEEPS_TAIL,
    SUCCESSOR_KEEPS_SECTION,
    SECTION_OF_NOTHING, /* it makes the section one of no positions, by two stores */
    RELEASES_BEFORE_IT_READS,
};

struct config {
    const char *scripts[MODEL_THREADS];
    uint32_t deaths;
    enum mutation mutation;
};

static const struct config *config;
static uint32_t threads;

struct slot {
    uint8_t word; /* of the window: 1 + lap, or 0 */
    uint8_t is_last;
    uint8_t value;
};

struct thread {
    uint8_t operation;
    /* a producer's */
    uint8_t next;
    uint8_t limit;
    uint8_t in_window;
    uint8_t count;
    uint8_t index;
    /* a consumer's */
    uint8_t head;
    uint8_t row_end;
    uint8_t from;
    uint8_t size;
    uint8_t found; /* 0, or 1 + whether it is in the window */
    /* any */
    uint8_t seen;
    uint8_t is_inside;
};

struct state {
    struct model_common common;
    uint8_t tail;
    uint8_t window_from;
    uint8_t window_to;
    uint8_t head;
    struct slot window[WINDOW];
    struct slot row[CAPACITY];
    /* ghosts */
    uint8_t made;         /* values so far */
    uint8_t end;          /* positions that are put */
    uint8_t is_half;      /* a batch is put but for some of it */
    uint8_t acknowledged; /* positions below it have been returned for */
    uint8_t value[POSITIONS];
    uint8_t in_window[POSITIONS];
    struct thread thread[MODEL_THREADS];
};

static struct slot *slot_at(struct state *s, uint8_t position, bool in_window)
{
    return in_window ? &s->window[position % WINDOW] : &s->row[position % CAPACITY];
}

static bool is_put_in_window(const struct state *s, uint8_t position)
{
    return s->window[position % WINDOW].word == position / WINDOW + 1;
}

static bool is_gone(const struct state *s, uint32_t thread)
{
    return ((s->common.dead | s->common.ended) >> thread & 1) != 0;
}

static bool is_role(uint32_t thread, char first, char second)
{
    return config->scripts[thread][0] == first || config->scripts[thread][0] == second;
}

static bool all_are_gone(const struct state *s, char first, char second)
{
    for (uint32_t i = 0; i < threads; i++) {
        if (is_role(i, first, second) && !is_gone(s, i)) {
            return false;
        }
    }
    return true;
}

/* For one who has not followed the messages. */
static bool ask_whether_inside(struct state *s, uint32_t self, uint8_t position)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[enter] load window_to");
    me->seen = s->window_to;
    STEP("load window_from");
    me->is_inside = position >= s->window_from && position < me->seen;
    END;
}

/* ---- the producer ---- */

static bool claim(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    uint8_t position = (uint8_t)(me->next + me->index);
    bool in_window = me->in_window && me->index == 0;
    BEGIN;
    if (position >= me->limit) {
        WAIT_UNTIL(position < s->head + CAPACITY, "[recycle] load head");
        me->limit = (uint8_t)(s->head + CAPACITY);
    }
    STEP("fill %u in the %s", position, in_window ? "window" : "row");
    for (uint8_t i = s->head; i < s->end; i++) {
        CLAIM(slot_at(s, i, s->in_window[i]) != slot_at(s, position, in_window),
              "%u is filled where %u still lies", position, i);
    }
    s->made++;
    slot_at(s, position, in_window)->value = s->made;
    s->value[position] = s->made;
    s->in_window[position] = in_window;
    END;
}

/* The store after which the messages are there. */
static void put_until(struct state *s, uint8_t end)
{
    s->end = s->end < end ? end : s->end;
}

static void store_word(struct state *s, uint8_t position, bool is_last)
{
    struct slot *slot = &s->window[position % WINDOW];
    slot->word = (uint8_t)(position / WINDOW + 1);
    slot->is_last = is_last;
}

static bool publish_batch_from_window(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    uint8_t end = (uint8_t)(me->next + me->count);
    BEGIN;
    STEP("[leave] window_to = %u", me->next + 1);
    s->window_to = (uint8_t)(me->next + 1);
    if (config->mutation == FIRST_OF_BATCH_FIRST) {
        STEP("[publish] the word of %u", me->next);
        store_word(s, me->next, true);
        put_until(s, (uint8_t)(me->next + 1));
        s->is_half = true;
    }
    STEP("[publish] tail = %u", end);
    s->tail = end;
    s->is_half = false;
    if (config->mutation == FIRST_OF_BATCH_FIRST) {
        put_until(s, end);
    } else {
        STEP("[publish] the word of %u", me->next);
        store_word(s, me->next, true);
        put_until(s, end);
    }
    me->in_window = false;
    END;
}

static bool publish_in_window(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    bool is_last = me->next - (me->limit - CAPACITY) + 1 >= WINDOW;
    BEGIN;
    if (is_last) {
        STEP("[recycle] load head: is the window full?");
        me->limit = (uint8_t)(s->head + CAPACITY);
        is_last = me->next - s->head + 1 >= WINDOW;
    }
    is_last = is_last && config->mutation != WINDOW_IS_NEVER_FULL;
    me->seen = is_last;
    if (me->seen && config->mutation != WORD_BEFORE_WINDOW_TO) {
        STEP("[leave] window_to = %u", me->next + 1);
        s->window_to = (uint8_t)(me->next + 1);
    }
    STEP("[publish] the word of %u", me->next);
    store_word(s, me->next, me->seen);
    put_until(s, (uint8_t)(me->next + 1));
    if (me->seen && config->mutation == WORD_BEFORE_WINDOW_TO) {
        STEP("[leave] window_to = %u", me->next + 1);
        s->window_to = (uint8_t)(me->next + 1);
    }
    me->in_window = !me->seen;
    STEP("[publish] tail = %u", me->next + 1);
    s->tail = (uint8_t)(me->next + 1);
    END;
}

static bool enter_window_if_empty(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[recycle] load head: is the ring empty?");
    if (s->head != me->next) {
        RETURN;
    }
    me->limit = (uint8_t)(s->head + CAPACITY);
    me->in_window = true;
    if (config->mutation == ENDS_BEFORE_IT_BEGINS) {
        STEP("[enter] window_to = none");
        s->window_to = NO_END;
    }
    STEP("[enter] window_from = %u", me->next + 1);
    s->window_from = (uint8_t)(me->next + 1);
    STEP("[enter] window_to = none");
    s->window_to = NO_END;
    END;
}

static bool publish_in_row(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    if (config->mutation == TAIL_BEFORE_WINDOW) {
        STEP("[publish] tail = %u", me->next + me->count);
        s->tail = (uint8_t)(me->next + me->count);
        put_until(s, s->tail);
    }
    if (me->count == 1) {
        STEP("look whether it is empty, or not");
        if (model_choose(2) != 0) {
            CALL(enter_window_if_empty(s, self));
        }
    }
    STEP("[publish] tail = %u", me->next + me->count);
    s->tail = (uint8_t)(me->next + me->count);
    put_until(s, s->tail);
    END;
}

static bool put(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    for (me->index = 0; me->index < me->count; me->index++) {
        CALL(claim(s, self));
    }
    me->index = 0;
    if (!me->in_window) {
        CALL(publish_in_row(s, self));
    } else if (me->count > 1) {
        CALL(publish_batch_from_window(s, self));
    } else {
        CALL(publish_in_window(s, self));
    }
    me->next = (uint8_t)(me->next + me->count);
    me->seen = 0;
    s->acknowledged = me->next;
    END;
}

/* Where the stream ends: me->next. */
static bool find_end(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[recycle] load head");
    me->next = s->head;
    me->limit = (uint8_t)(s->head + CAPACITY);
    while (me->next < me->limit) {
        if (config->mutation == SUCCESSOR_COUNTS_BY_TAIL) {
            me->is_inside = false;
        } else {
            CALL(ask_whether_inside(s, self, me->next));
        }
        if (me->is_inside) {
            STEP("[publish] load the word of %u", me->next);
            if (!is_put_in_window(s, me->next)) {
                RETURN;
            }
            me->next++;
            continue;
        }
        STEP("[publish] load tail");
        me->seen = s->tail;
        if (me->next >= me->seen) {
            RETURN;
        }
        STEP("load window_from");
        me->next =
            me->next < s->window_from && s->window_from < me->seen ? s->window_from : me->seen;
    }
    END;
}

static bool become_producer(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    WAIT_UNTIL(is_gone(s, 0), "[role] the producer is gone");
    CALL(find_end(s, self));
    STEP("[recycle] load head again");
    me->limit = (uint8_t)(s->head + CAPACITY);
    CALL(ask_whether_inside(s, self, me->next));
    me->in_window = me->is_inside;
    if (config->mutation != SUCCESSOR_KEEPS_TAIL) {
        STEP("tail = %u", me->next);
        s->tail = me->next;
    }
    if (me->in_window) {
        STEP("window_to = none");
        s->window_to = NO_END;
    } else if (config->mutation != SUCCESSOR_KEEPS_SECTION) {
        STEP("load window_from");
        if (s->window_from > me->next) {
            if (config->mutation == SECTION_OF_NOTHING) {
                STEP("window_to = 0");
                s->window_to = 0;
                STEP("window_from = 0");
                s->window_from = 0;
            } else {
                STEP("[enter] window_from = never");
                s->window_from = NO_END;
            }
        }
    }
    CLAIM(!s->is_half, "half a batch is put");
    CLAIM(me->next == s->end, "%u are put, its successor goes on from %u", s->end, me->next);
    me->is_inside = 0;
    me->seen = 0;
    END;
}

/* ---- the consumer ---- */

static bool find(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->found = 0;
    if ((uint8_t)(me->head - me->from) < me->size) {
        STEP("[publish] load the word of %u", me->head);
        if (!is_put_in_window(s, me->head)) {
            RETURN;
        }
        if (s->window[me->head % WINDOW].is_last) {
            me->size = (uint8_t)(me->head + 1 - me->from);
        }
        me->found = 2;
        RETURN;
    }
    if (me->head >= me->row_end) {
        STEP("[publish] load tail");
        if (me->head >= s->tail) {
            RETURN;
        }
        me->row_end = s->tail;
        STEP("[enter] load window_from");
        if (s->window_from > me->head && s->window_from <= me->row_end) {
            me->from = s->window_from;
            me->size = NO_END;
            me->row_end = me->from;
        }
    }
    me->found = 1;
    END;
}

static bool release(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[recycle] head = %u", me->head + 1);
    s->head = (uint8_t)(me->head + 1);
    END;
}

static bool consume(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    for (;;) {
        CALL(find(s, self));
        if (me->found == 0) {
            WAIT_UNTIL(s->end > me->head || all_are_gone(s, 'P', 'Q'),
                       "is woken, or it is the end");
            if (s->end == me->head) {
                RETURN;
            }
            continue;
        }
        if (config->mutation == RELEASES_BEFORE_IT_READS) {
            CALL(release(s, self));
        }
        STEP("read %u in the %s", me->head, me->found == 2 ? "window" : "row");
        CLAIM(me->head < s->end, "%u is taken before it is put", me->head);
        CLAIM(slot_at(s, me->head, me->found == 2)->value == s->value[me->head],
              "%u is read where it is not", me->head);
        if (config->mutation != RELEASES_BEFORE_IT_READS) {
            CALL(release(s, self));
        }
        me->head++;
    }
    END;
}

static bool become_consumer(struct state *s, uint32_t self, uint32_t last)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    WAIT_UNTIL(is_gone(s, last), "[role] the consumer is gone");
    STEP("[role] load head");
    me->head = s->head;
    me->row_end = s->head;
    CALL(ask_whether_inside(s, self, me->head));
    me->from = me->head;
    me->size = me->is_inside ? NO_END : 0;
    me->is_inside = 0;
    me->seen = 0;
    END;
}

/* ---- all ---- */

static uint32_t first_consumer(void)
{
    uint32_t i = 0;
    while (!is_role(i, 'C', 'C')) {
        i++;
    }
    return i;
}

static bool run(void *state, uint32_t self)
{
    struct state *s = state;
    struct thread *me = &s->thread[self];
    char letter = config->scripts[self][me->operation];
    BEGIN;
    for (; config->scripts[self][me->operation] != '\0'; me->operation++) {
        letter = config->scripts[self][me->operation];
        if (letter == 'Q') {
            CALL(become_producer(s, self));
        } else if (letter == 'D') {
            CALL(become_consumer(s, self, first_consumer()));
            CALL(consume(s, self));
        } else if (letter == 'C') {
            CALL(consume(s, self));
        } else if (letter != 'P') {
            me->count = letter == 'b' ? 2 : 1;
            CALL(put(s, self));
        }
    }
    END;
}

static bool can_die(const void *state, uint32_t thread)
{
    (void)state;
    return is_role(thread, 'P', 'C');
}

static void check(const void *state)
{
    const struct state *s = state;
    CLAIM(s->acknowledged <= s->end, "an acknowledged message is not put");
    CLAIM(s->head <= s->end, "taken before it was put");
}

/* Only a producer may be stuck, for want of a consumer. */
static void end(const void *state, uint32_t stuck)
{
    const struct state *s = state;
    bool are_consumers_dead = true;
    for (uint32_t i = 0; i < threads; i++) {
        are_consumers_dead =
            are_consumers_dead && (!is_role(i, 'C', 'D') || model_is_dead(&s->common, i));
    }
    for (uint32_t i = 0; i < threads; i++) {
        CLAIM((stuck >> i & 1) == 0 || are_consumers_dead, "stuck: thread %u", i);
    }
    CLAIM(are_consumers_dead || s->head == s->end, "a message is lost");
}

static void show(const void *state, FILE *out)
{
    const struct state *s = state;
    fprintf(out, "head=%u put=%u tail=%u window=%u..%u", s->head, s->end, s->tail, s->window_from,
            s->window_to);
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
    s->window_to = NO_END;
    for (uint32_t i = 0; i < threads; i++) {
        s->thread[i] =
            (struct thread){.limit = CAPACITY, .in_window = is_role(i, 'P', 'P'), .size = NO_END};
    }
}

#define CASE(name, error, is_long, ...) \
    {name, &(const struct config){.scripts = __VA_ARGS__}, error, is_long}

static const struct model_case cases[] = {
    CASE("one by one", NULL, false, {"Ppppppp", "C"}),
    CASE("batches", NULL, false, {"Ppbpbpb", "C"}),
    CASE("a producer's successor", NULL, false, {"Ppppp", "Qppp", "C"}, .deaths = 1),
    CASE("a successor, and batches", NULL, false, {"Ppbpb", "Qpbp", "C"}, .deaths = 1),
    CASE("a consumer's successor", NULL, false, {"Ppppppp", "C", "D"}, .deaths = 1),
    CASE("successors of both", NULL, false, {"Ppbpp", "Qpp", "C", "D"}, .deaths = 2),
    CASE("successors of both, longer", NULL, true, {"Ppppbpp", "Qpbp", "C", "D"}, .deaths = 2),

    CASE("a section that ends before it begins", "", false, {"Ppppp", "Qppp", "C", "D"},
         .deaths = 2, .mutation = ENDS_BEFORE_IT_BEGINS),
    CASE("the row leads where nothing is named", "", false, {"Ppppppp", "C"},
         .mutation = TAIL_BEFORE_WINDOW),
    CASE("leaves before it says so", "", false, {"Ppppp", "Qppp", "C"}, .deaths = 1,
         .mutation = WORD_BEFORE_WINDOW_TO),
    CASE("half a batch", "", false, {"Pbpb", "Qpp", "C"}, .deaths = 1,
         .mutation = FIRST_OF_BATCH_FIRST),
    CASE("a window that is never full", "", false, {"Ppppp", "C"},
         .mutation = WINDOW_IS_NEVER_FULL),
    CASE("a successor that counts by tail", "", false, {"Ppppp", "Qp", "C"}, .deaths = 1,
         .mutation = SUCCESSOR_COUNTS_BY_TAIL),
    CASE("a successor that keeps the tail", "", false, {"Ppbp", "Qppp", "C"}, .deaths = 1,
         .mutation = SUCCESSOR_KEEPS_TAIL),
    CASE("a successor that keeps the section", "", false, {"Pppp", "Qppp", "C", "D"}, .deaths = 2,
         .mutation = SUCCESSOR_KEEPS_SECTION),
    CASE("a successor that makes it a section of nothing", "never ends", false,
         {"Ppbpp", "Qpp", "C", "D"}, .deaths = 2, .mutation = SECTION_OF_NOTHING),
    CASE("releases before it reads", "", false, {"Pppppppp", "C"},
         .mutation = RELEASES_BEFORE_IT_READS),
    {0},
};

const struct model ring_model = {
    .name = "ring",
    .size = sizeof(struct state),
    .cases = cases,
    .configure = configure,
    .init = init,
    .run = run,
    .can_die = can_die,
    .check = check,
    .show = show,
    .end = end,
    .acyclic = true,
};
