/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Who owns a message's block: Sources/CShm/slot.c on heap.c, with a sweep beside them.
 *
 * A long message is in a heap block that its slot owns; the slot travels from the producer's hand
 * through a ring of one cell to the consumer's. The ring itself is checked by queue.c: here a swap
 * is one step, and the dead's slot is found by magic. A block's cell is {state, holder}. A span has
 * one block; its owner alone allocates from it.
 *
 *   p  put a long message   g  get one, and clear its slot
 *   s  sweep each who dies  -  has no slot at first, and takes a dead thread's
 *
 * Checked: a message's bytes are its own when it is read; a block has one user at a time; and when
 * all is done, each block that is not free is named by its holder, whose next user frees it.
 */
#include "model.h"

enum { SLOTS = 4, BLOCKS = 3, NONE_YET = 0xff };

enum mutation {
    NONE,
    LINK_AFTER_SWAP,
    NAME_AFTER_LINK,
    HOLDER_AFTER_STATE,
    FREE_TRIES_ONCE,
    UNNAMED_BEFORE_FREE,
    SWEEP_STORES,
};

struct config {
    const char *scripts[MODEL_THREADS];
    uint32_t deaths;
    enum mutation mutation;
};

static const struct config *config;
static uint32_t threads;

enum kind { FREE, OWNED, LINKED };

struct block {
    uint8_t kind;
    uint8_t stamp;  /* thread + 1, while OWNED */
    uint8_t holder; /* slot + 1 */
    uint8_t span_owner;
    uint8_t bytes;
};

struct thread {
    uint8_t operation;
    uint8_t hand;  /* slot + 1 */
    uint8_t block; /* + 1 */
    uint8_t number;
    uint8_t kind;
    uint8_t stamp;
    uint8_t named;
    uint8_t look;
    uint8_t victim;
};

struct state {
    struct model_common common;
    struct block block[BLOCKS];
    uint8_t slot[SLOTS]; /* slot->block: block + 1, or 0 */
    uint8_t cell;        /* its slot */
    uint8_t full;
    uint8_t expected; /* ghost: the message in the cell */
    uint8_t swept;    /* a bit each */
    struct thread thread[MODEL_THREADS];
};

/* ---- heap.c ---- */

static bool changed(const struct block *block, const struct thread *me)
{
    return block->kind != me->kind || block->stamp != me->stamp;
}

/* Of the spans that are ours, or nobody's. */
static bool allocate_for(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct block *block = &s->block[me->block - 1];
    BEGIN;
    for (me->block = 1; me->block <= BLOCKS; me->block++) {
        STEP("[block] is block %u ours and free?", me->block - 1);
        if (block->span_owner == 0) {
            block->span_owner = (uint8_t)(self + 1);
        }
        if (block->span_owner == self + 1 && block->kind == FREE) {
            break;
        }
    }
    if (me->block > BLOCKS) {
        me->block = 0;
        RETURN;
    }
    if (config->mutation != HOLDER_AFTER_STATE) {
        STEP("block %u's holder = slot %u", me->block - 1, me->hand - 1);
        block->holder = me->hand;
    }
    STEP("block %u's state = OWNED", me->block - 1);
    CLAIM(block->kind == FREE, "a block is given out twice");
    block->kind = OWNED;
    block->stamp = (uint8_t)(self + 1);
    if (config->mutation == HOLDER_AFTER_STATE) {
        STEP("block %u's holder = slot %u", me->block - 1, me->hand - 1);
        block->holder = me->hand;
    }
    END;
}

static bool link(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("block %u's state = LINKED", me->block - 1);
    CLAIM(s->block[me->block - 1].kind != FREE, "a free block is linked");
    s->block[me->block - 1].kind = LINKED;
    s->block[me->block - 1].stamp = 0;
    END;
}

/* Frees the block that the hand names, if it is still the hand's. */
static bool free_from(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct block *block = &s->block[me->number - 1];
    BEGIN;
    for (me->look = 0; me->look < (config->mutation == FREE_TRIES_ONCE ? 1 : 2); me->look++) {
        STEP("load block %u's state", me->number - 1);
        me->kind = block->kind;
        me->stamp = block->stamp;
        if (me->kind == FREE) {
            RETURN;
        }
        STEP("load block %u's holder", me->number - 1);
        if (block->holder != me->hand) {
            RETURN;
        }
        STEP("[block] CAS block %u's state -> FREE", me->number - 1);
        if (!changed(block, me)) {
            block->kind = FREE;
            block->stamp = 0;
            RETURN;
        }
    }
    END;
}

/* One block of a dead thread: linked if its holder names it, else free. */
static bool settle_block(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct block *block = &s->block[me->block - 1];
    BEGIN;
    STEP("sweep: load block %u's state", me->block - 1);
    me->kind = block->kind;
    me->stamp = block->stamp;
    if (me->kind != OWNED || me->stamp != me->victim + 1) {
        RETURN;
    }
    STEP("sweep: load block %u's holder", me->block - 1);
    me->number = block->holder;
    STEP("sweep: does slot %u name block %u?", me->number - 1, me->block - 1);
    me->named = me->number != 0 && s->slot[me->number - 1] == me->block;
    STEP("sweep: CAS block %u's state -> %s", me->block - 1, me->named ? "LINKED" : "FREE");
    if (!changed(block, me) || config->mutation == SWEEP_STORES) {
        block->kind = me->named ? LINKED : FREE;
        block->stamp = 0;
    }
    END;
}

/* ---- slot.c ---- */

static bool slot_clear(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("load slot %u's block", me->hand - 1);
    me->number = s->slot[me->hand - 1];
    if (me->number == 0) {
        RETURN;
    }
    if (config->mutation == UNNAMED_BEFORE_FREE) {
        STEP("slot %u's block = 0", me->hand - 1);
        s->slot[me->hand - 1] = 0;
    }
    CALL(free_from(s, self));
    if (config->mutation != UNNAMED_BEFORE_FREE) {
        STEP("slot %u's block = 0", me->hand - 1);
        s->slot[me->hand - 1] = 0;
    }
    END;
}

static bool slot_prepare(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    CALL(slot_clear(s, self));
    CALL(allocate_for(s, self));
    if (me->block == 0) {
        RETURN;
    }
    if (config->mutation == NAME_AFTER_LINK) {
        CALL(link(s, self));
    }
    STEP("slot %u's block = %u", me->hand - 1, me->block - 1);
    s->slot[me->hand - 1] = me->block;
    if (config->mutation == NONE || config->mutation > NAME_AFTER_LINK) {
        CALL(link(s, self));
    }
    END;
}

/* ---- operations ---- */

static bool swap(struct state *s, struct thread *me, bool putting)
{
    if (s->full == putting) {
        return false;
    }
    uint8_t hand = me->hand;
    me->hand = (uint8_t)(s->cell + 1);
    s->cell = (uint8_t)(hand - 1);
    s->full = putting;
    return true;
}

static bool put(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    CALL(slot_prepare(s, self));
    if (me->block == 0) {
        RETURN;
    }
    STEP("fill block %u", me->block - 1);
    s->block[me->block - 1].bytes = (uint8_t)(self * 4 + me->operation + 1);
    STEP("[swap] put");
    if (!swap(s, me, true)) {
        CALL(slot_clear(s, self)); /* FULL */
        RETURN;
    }
    s->expected = (uint8_t)(self * 4 + me->operation + 1);
    if (config->mutation == LINK_AFTER_SWAP) {
        CALL(link(s, self));
    }
    END;
}

static bool get(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[swap] get");
    if (!swap(s, me, false)) {
        RETURN;
    }
    me->named = s->expected;
    STEP("read the message in slot %u", me->hand - 1);
    me->number = s->slot[me->hand - 1];
    CLAIM(me->number != 0 && s->block[me->number - 1].bytes == me->named &&
              s->block[me->number - 1].holder == me->hand,
          "a message's bytes are not its own");
    CLAIM(me->number == 0 || s->block[me->number - 1].kind != FREE,
          "a message's block was freed before it was read");
    CALL(slot_clear(s, self));
    END;
}

/* Whether those who come before have ended or died: heirs wait for the others, the sweep for all. */
static bool is_last(const struct state *s, uint32_t self)
{
    for (uint32_t i = 0; i < threads; i++) {
        char first = config->scripts[i][0];
        bool before = first != 's' && (first != '-' || config->scripts[self][0] == 's');
        if (before && ((s->common.ended | s->common.dead) >> i & 1) == 0) {
            return false;
        }
    }
    return true;
}

static bool sweep(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    for (;;) {
        WAIT_UNTIL(s->common.dead != s->swept || is_last(s, self), "sweep: who is dead?");
        if (s->common.dead == s->swept) {
            RETURN;
        }
        me->victim = (uint8_t)__builtin_ctz((unsigned)(s->common.dead & ~s->swept));
        for (me->block = 1; me->block <= BLOCKS; me->block++) {
            if (s->block[me->block - 1].span_owner != me->victim + 1) {
                continue;
            }
            CALL(settle_block(s, self));
            STEP("sweep: block %u's span is nobody's", me->block - 1);
            s->block[me->block - 1].span_owner = 0;
        }
        s->swept |= (uint8_t)(1u << me->victim);
    }
    END;
}

/* Takes over the slot of a dead thread, by the magic that queue.c checks. */
static bool inherit(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    WAIT_UNTIL(s->common.dead != 0 || is_last(s, self), "whose slot may be taken?");
    for (uint32_t i = 0; i < threads; i++) {
        if (model_is_dead(&s->common, i) && s->thread[i].hand != 0 && me->hand == 0) {
            me->hand = s->thread[i].hand;
            s->thread[i].hand = 0;
        }
    }
    END;
}

static bool run(void *state, uint32_t self)
{
    struct state *s = state;
    struct thread *me = &s->thread[self];
    const char *script = config->scripts[self];
    BEGIN;
    for (; script[me->operation] != '\0'; me->operation++) {
        if (script[me->operation] == '-') {
            CALL(inherit(s, self));
        } else if (script[me->operation] == 's') {
            CALL(sweep(s, self));
        } else if (me->hand != 0 && script[me->operation] == 'p') {
            CALL(put(s, self));
        } else if (me->hand != 0) {
            CALL(get(s, self));
        }
        *me = (struct thread){.operation = me->operation, .hand = me->hand};
    }
    END;
}

/* ---- what must hold ---- */

/* If nobody is left to be swept: no block is lost. */
static void end(const void *state, uint32_t stuck)
{
    const struct state *s = state;
    CLAIM(stuck == 0, "stuck");
    for (uint32_t i = 0; i < BLOCKS && s->swept == s->common.dead; i++) {
        const struct block *block = &s->block[i];
        CLAIM(block->kind == FREE || (block->holder != 0 && s->slot[block->holder - 1] == i + 1),
              "block %u is lost", i);
    }
}

static void show(const void *state, FILE *out)
{
    static const char *const kinds[] = {"free", "OWNED", "LINKED"};
    const struct state *s = state;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        const struct block *block = &s->block[i];
        fprintf(out, "[%s", kinds[block->kind]);
        if (block->stamp != 0) {
            fprintf(out, "(%u)", block->stamp - 1);
        }
        if (block->holder != 0) {
            fprintf(out, " s%u", block->holder - 1);
        }
        fprintf(out, "]");
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        fprintf(out, s->slot[i] != 0 ? " s%u:%d" : " s%u:-", i, s->slot[i] - 1);
    }
    fprintf(out, " cell=s%u%s", s->cell, s->full ? " full" : "");
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
    for (uint8_t i = 0; i < threads; i++) {
        if (config->scripts[i][0] == 'p' || config->scripts[i][0] == 'g') {
            s->thread[i].hand = (uint8_t)(i + 1);
        }
    }
    s->cell = SLOTS - 1;
    for (uint8_t i = 0; i < BLOCKS; i++) {
        s->block[i].span_owner = (uint8_t)(i + 1);
    }
}

#define CASE(name, error, is_long, ...) \
    {name, &(const struct config){.scripts = __VA_ARGS__}, error, is_long}

static const struct model_case cases[] = {
    CASE("a producer and a consumer", NULL, false, {"pp", "gg", "s"}, .deaths = 1),
    CASE("two producers", NULL, false, {"pp", "pg", "g", "s"}, .deaths = 1),
    CASE("an heir", NULL, false, {"pp", "gg", "-pg", "s"}, .deaths = 1),
    CASE("an heir, two deaths", NULL, false, {"p", "pg", "-pg", "s"}, .deaths = 2),
    CASE("longer", NULL, true, {"ppp", "ggp", "-pgp", "s"}, .deaths = 2),

    CASE("linked after the swap", "linked", false, {"p", "g", "s"}, .mutation = LINK_AFTER_SWAP),
    CASE("linked before it is named", "lost", false, {"p", "g", "s"}, .deaths = 1,
         .mutation = NAME_AFTER_LINK),
    CASE("the holder after the state", "a free block is linked", false, {"pp", "g", "-p"},
         .deaths = 1, .mutation = HOLDER_AFTER_STATE),
    CASE("freed by one attempt", "lost", false, {"p", "-p", "s"}, .deaths = 1,
         .mutation = FREE_TRIES_ONCE),
    CASE("unnamed before it is free", "lost", false, {"p", "g", "s"}, .deaths = 1,
         .mutation = UNNAMED_BEFORE_FREE),
    CASE("a sweep that stores", "", false, {"p", "g", "-p", "s"}, .deaths = 1,
         .mutation = SWEEP_STORES),
    {0},
};

const struct model slot_model = {
    .name = "slot",
    .size = sizeof(struct state),
    .cases = cases,
    .configure = configure,
    .init = init,
    .run = run,
    .show = show,
    .end = end,
    .acyclic = true,
};
