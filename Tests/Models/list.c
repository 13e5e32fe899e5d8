/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The list (Sources/CShm/list.c, list_change.c, list_recover.c): writers under its lock, killed at any
 * store, and readers without it. A body has 1, 2 or 4 slots; a word is {generation, block, slots}.
 *
 *   p, P  push at the back, at the front   q, Q  pop there   s, S  set element 0, 1
 *   i  insert in the middle   d  remove element 0   a  append two   c  clear
 *   r, R  read element 0, 1   l  read all as one slice   x  another takes a block, for good
 *
 * Whatever frees a block, frees it only if it is in use as what it is taken for. A list that is emptied
 * at once has no body.
 *
 * Checked: a reader gets what the list had at an instant of its call, and whole; readers do not wait
 * and end; recovery keeps what was committed, gives all blocks back that nothing names, and frees
 * none that is named or another's, also when it dies itself.
 */
#include "list_state.h"

const struct config *list_config;
uint32_t list_threads;

/* ---- reading ---- */

/* The body and its state; @returns in me->count 0 also if there is none, or SLOTS + 1: it cannot be. */
static bool look(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->copied = 0;
    me->first = me->count = 0;
    STEP("[body] load the list's word");
    me->body = s->body;
    if (me->body.block != 0) {
        STEP("load the state of block %u", me->body.block - 1);
        me->first = block_of(s, me->body)->first;
        me->count = block_of(s, me->body)->count;
        me->count = me->count > me->body.slots ? SLOTS + 1 : me->count;
    }
    END;
}

/* Copies element me->at. */
static bool copy(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[item] load slot %u", (me->first + me->at) & (me->body.slots - 1));
    me->seen = *slot_of(s, me->body, (uint32_t)me->first + me->at);
    STEP("load the item's generation");
    me->generation[me->at] = block_of(s, me->seen)->generation;
    STEP("copy half of the value");
    me->value[0] = me->value[1] = block_of(s, me->seen)->value[0];
    if (!list_config->in_place) {
        STEP("copy the other half");
        me->value[1] = block_of(s, me->seen)->value[1];
    }
    END;
}

static bool state_is_same(struct state *s, const struct thread *me)
{
    return list_config->mutation == NO_STATE_CHECK ||
           (block_of(s, me->body)->first == me->first && block_of(s, me->body)->count == me->count);
}

static bool slot_is_same(struct state *s, const struct thread *me)
{
    return list_config->mutation == NO_SLOT_CHECK ||
           same(*slot_of(s, me->body, (uint32_t)me->first + me->at), me->seen);
}

static bool item_is_same(struct state *s, const struct thread *me)
{
    return list_config->mutation == NO_SECOND_LOOK ||
           block_of(s, me->seen)->generation == me->generation[me->at];
}

static bool body_is_same(const struct state *s, const struct thread *me)
{
    return list_config->mutation == NO_BODY_CHECK || same(s->body, me->body);
}

static bool get(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    bool had = false;
    BEGIN;
    for (;;) {
        CALL(look(s, self));
        me->at = me->index;
        me->value[0] = me->value[1] = 0;
        if (me->index < me->count && me->count <= SLOTS) {
            CALL(copy(s, self));
            STEP("is the state as it was?");
            if (!state_is_same(s, me)) {
                continue;
            }
            STEP("[check] is the slot?");
            if (!slot_is_same(s, me)) {
                continue;
            }
            STEP("[check] is the item's generation?");
            if (!item_is_same(s, me)) {
                continue;
            }
        }
        STEP("[check] is the list's word?");
        if (body_is_same(s, me)) {
            break;
        }
    }
    for (uint32_t i = me->since - 1u; i < s->history_count; i++) {
        had |= low((uint16_t)(s->history[i] >> BITS * me->index), 1) == me->value[0];
    }
    CLAIM(me->count <= SLOTS, "refused");
    CLAIM(me->value[0] == me->value[1], "a torn value");
    CLAIM(had, "an element, or none, that never was");
    END;
}

static bool slice_once(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->index = 0;
    CALL(look(s, self));
    for (me->at = 0; me->at < me->count && me->count <= SLOTS; me->at++) {
        CALL(copy(s, self));
        me->copied |= (uint16_t)(me->value[0] << BITS * me->at);
        STEP("[check] is the slot as it was?");
        if (!slot_is_same(s, me)) {
            RETURN;
        }
    }
    if (me->count <= SLOTS && me->body.block != 0) {
        STEP("is the state as it was?");
        if (!state_is_same(s, me)) {
            RETURN;
        }
        for (me->at = 0; me->at < me->count; me->at++) {
            STEP("[check] load slot %u again", (me->first + me->at) & (me->body.slots - 1));
            me->seen = *slot_of(s, me->body, (uint32_t)me->first + me->at);
            STEP("[check] is its item's generation?");
            if (!item_is_same(s, me)) {
                RETURN;
            }
        }
    }
    STEP("[check] is the list's word?");
    me->index = body_is_same(s, me);
    END;
}

static bool slice(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    bool had = false;
    BEGIN;
    do {
        CALL(slice_once(s, self));
    } while (me->index == 0);
    for (uint32_t i = me->since - 1u; i < s->history_count; i++) {
        had |= s->history[i] == me->copied;
    }
    CLAIM(me->count <= SLOTS, "refused");
    CLAIM(had, "a slice that never was");
    END;
}

static bool read(struct state *s, uint32_t self, char letter)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->since = s->history_count;
    me->index = letter == 'R';
    if (letter == 'l') {
        CALL(slice(s, self));
    } else {
        CALL(get(s, self));
    }
    END;
}

static bool run(void *state, uint32_t self)
{
    struct state *s = state;
    struct thread *me = &s->thread[self];
    const char *script = list_config->scripts[self];
    BEGIN;
    for (; script[me->operation] != '\0'; me->operation++) {
        if (script[me->operation] == 'x') {
            CALL(another(s, self));
        } else if (script[me->operation] == 'r' || script[me->operation] == 'R' ||
                   script[me->operation] == 'l') {
            CALL(read(s, self, script[me->operation]));
        } else {
            CALL(list_write(s, self, script[me->operation]));
        }
        *me = (struct thread){.operation = (uint8_t)me->operation};
    }
    END;
}

/* ---- what must hold ---- */

static void check(const void *state)
{
    struct state copy = *(const struct state *)state;
    uint32_t elements = 0;
    uint32_t others = 0;
    CLAIM(copy.body.block == 0 || is_in_use_as(&copy, copy.body.block, BODY), "the body was freed");
    for (uint32_t i = 0; i < count_of(&copy); i++) {
        struct word word = *element(&copy, i);
        CLAIM(is_in_use_as(&copy, word.block, ITEM), "an element was freed");
        elements |= (uint32_t)block_of(&copy, word)->value[0] << BITS * i;
    }
    CLAIM(elements == now(&copy), "the list has not what was put");
    for (uint32_t i = 0; i < BLOCKS; i++) {
        others += copy.block[i].state != FREE && copy.block[i].holder == OTHER;
    }
    CLAIM(others == copy.others, "another's block was freed");
}

/* What the lock's next holder would find is all that is pending. */
static void end(const void *state, uint32_t stuck)
{
    struct state copy = *(const struct state *)state;
    CLAIM(stuck == 0, "stuck");
    for (uint8_t i = 1; i <= BLOCKS && copy.holder == 0; i++) {
        CLAIM(copy.block[i - 1].state == FREE || copy.block[i - 1].holder == OTHER ||
                  copy.body.block == i || is_element(&copy, i),
              "block %u is lost", i - 1);
    }
    CLAIM(copy.holder != 0 || (copy.pending[ITEM] == 0 && copy.pending[BODY] == 0 &&
                               copy.old_body.block == 0 && copy.fresh_body.block == 0),
          "still pending");
}

static void show(const void *state, FILE *out)
{
    struct state copy = *(const struct state *)state;
    fprintf(out, "list=%x body=%d of %u, at %u:", now(&copy), copy.body.block - 1, copy.body.slots,
            block_of(&copy, copy.body)->first);
    for (uint32_t i = 0; i < count_of(&copy); i++) {
        fprintf(out, " %d", element(&copy, i)->block - 1);
    }
    fprintf(out, " pending %d %d %d used", copy.pending[ITEM] - 1, copy.pending[BODY] - 1,
            copy.pending_old - 1);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        fprintf(out, "%c", ".OL"[copy.block[i].state]);
    }
    fprintf(out, "%s", copy.holder != 0 ? " locked" : "");
}

/* ---- cases ---- */

static void configure(const void *from, uint32_t *thread_count, uint32_t *deaths)
{
    list_config = from;
    list_threads = 0;
    while (list_threads < MODEL_THREADS && list_config->scripts[list_threads] != NULL) {
        list_threads++;
    }
    *thread_count = list_threads;
    *deaths = list_config->deaths;
}

static void init(void *state)
{
    struct state *s = state;
    uint32_t count = list_config->elements;
    s->history_count = 1;
    if (count == 0) {
        return;
    }
    s->body = (struct word){1, 1, (uint8_t)(count > 2 ? 4 : count)};
    s->block[0] = (struct block){.state = LINKED, .holder = BODY, .count = (uint8_t)count};
    for (uint8_t i = 1; i <= count; i++) {
        s->block[0].slot[i - 1] = (struct word){i, (uint8_t)(i + 1), 0};
        s->block[i] =
            (struct block){.state = LINKED, .holder = ITEM, .generation = i, .value = {i, i}};
        s->history[0] |= (uint16_t)(i << BITS * (i - 1));
    }
    s->next_generation = s->value_next = (uint8_t)count;
}

#define CASE(name, error, is_long, ...) \
    {name, &(const struct config){.scripts = __VA_ARGS__}, error, is_long}

static const struct model_case cases[] = {
    CASE("push and pop at both ends, and read", NULL, false, {"pPqQ", "r"}, .deaths = 1),
    CASE("pop and push, and read", NULL, false, {"qp", "R", "Qp"}, .deaths = 1, .elements = 2),
    CASE("growing and shrinking, and a slice", NULL, false, {"ppq", "l"}, .deaths = 1),
    CASE("set, and a slice", NULL, false, {"ss", "l", "p"}, .deaths = 1, .elements = 1),
    CASE("insert and remove, and read", NULL, false, {"id", "R", "i"}, .deaths = 1, .elements = 1),
    CASE("insert and remove, and a slice", NULL, false, {"id", "l"}, .deaths = 1, .elements = 2),
    CASE("append, and a slice", NULL, false, {"Qa", "l"}, .deaths = 1, .elements = 2),
    CASE("two append", NULL, false, {"Qa", "a"}, .deaths = 2, .elements = 1),
    CASE("emptied and filled, and read", NULL, false, {"cpc", "r", "p"}, .deaths = 1,
         .elements = 1),
    CASE("emptied and filled, and a slice", NULL, false, {"cpp", "l"}, .deaths = 1, .elements = 2),
    CASE("another takes blocks", NULL, false, {"qpd", "x", "p"}, .deaths = 1, .elements = 2),
    CASE("two deaths", NULL, false, {"is", "q", "d"}, .deaths = 2, .elements = 1),
    CASE("in place, and read", NULL, false, {"sPs", "r", "s"}, .deaths = 1, .elements = 1,
         .in_place = true),
    CASE("in place, and a slice", NULL, false, {"sSP", "l", "S"}, .deaths = 1, .elements = 2,
         .in_place = true),
    CASE("two slices", NULL, true, {"sPq", "l", "l"}, .deaths = 1, .elements = 2),
    CASE("in place, two deaths", NULL, true, {"sPs", "sPl", "sl"}, .deaths = 2, .elements = 1,
         .in_place = true),
    CASE("three writers, two deaths", NULL, true, {"iQ", "ap", "dl"}, .deaths = 2, .elements = 2),

    CASE("the state before the slot", "was freed", false, {"p"}, .elements = 1,
         .mutation = STATE_BEFORE_SLOT),
    CASE("a popped element is freed before the state", "was freed", false, {"q"}, .elements = 1,
         .mutation = FREE_BEFORE_COMMIT),
    CASE("what is popped is not pending", "lost", false, {"q", "p"}, .deaths = 1, .elements = 2,
         .mutation = NO_PENDING_OLD),
    CASE("the new body is not pending", "lost", false, {"p", "p"}, .deaths = 1,
         .mutation = NO_PENDING_BODY),
    CASE("the new item is not pending when it becomes an element", "lost", false, {"p", "p"},
         .deaths = 1, .mutation = UNPENDING_BEFORE_STATE),
    CASE("fresh items are not told of", "lost", false, {"a", "p"}, .deaths = 1,
         .mutation = FRESH_UNTOLD),
    CASE("what goes is freed before the switch", "was freed", false, {"d"}, .elements = 2,
         .mutation = GONE_BEFORE_SWITCH),
    CASE("what is freed need not be the list's", "another's", false, {"q", "x", "p"}, .deaths = 1,
         .elements = 2, .mutation = FREE_BY_PLACE),
    CASE("a generation stays after a death", "slice that never was", false, {"s", "l", "S"},
         .deaths = 1, .elements = 2, .in_place = true, .mutation = NOT_RENEWED),
    CASE("the state is not looked at again", "torn", false, {"q", "R", "x"}, .elements = 2,
         .mutation = NO_STATE_CHECK),
    CASE("the slot is not looked at again", "torn", false, {"s", "r", "x"}, .elements = 1,
         .mutation = NO_SLOT_CHECK),
    CASE("the body is not looked at again", "refused", false, {"d", "r", "x"}, .elements = 2,
         .mutation = NO_BODY_CHECK),
    CASE("the item is not looked at again", "slice that never was", false, {"sS", "l"},
         .elements = 2, .in_place = true, .mutation = NO_SECOND_LOOK),
    CASE("words without generations", "never was", false, {"di", "r"}, .elements = 2,
         .mutation = NO_GENERATION),
    CASE("bodies are numbered anew when there is none", "torn", false, {"cpc", "r", "p"},
         .deaths = 1, .elements = 1, .mutation = BODIES_NUMBERED_ANEW),
    {0},
};

const struct model list_model = {
    .name = "list",
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
