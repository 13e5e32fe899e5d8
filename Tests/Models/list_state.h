/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What the list's model is about, see list.c: blocks and the words that name them, what others do in
 * between, and the ghosts, which know what the list has.
 */
#ifndef LIST_STATE_H
#define LIST_STATE_H

#include "model.h"

enum { BLOCKS = 7, SLOTS = 4, HISTORY = 12, BITS = 4 };

enum mutation {
    NONE,
    STATE_BEFORE_SLOT,
    FREE_BEFORE_COMMIT,
    NO_PENDING_OLD,
    NO_PENDING_BODY,
    UNPENDING_BEFORE_STATE,
    FRESH_UNTOLD,
    GONE_BEFORE_SWITCH,
    FREE_BY_PLACE,
    NOT_RENEWED,
    NO_STATE_CHECK,
    NO_SLOT_CHECK,
    NO_BODY_CHECK,
    NO_SECOND_LOOK,
    NO_GENERATION,
    BODIES_NUMBERED_ANEW,
};

struct config {
    const char *scripts[MODEL_THREADS];
    uint32_t deaths;
    uint32_t elements; /* at first */
    bool in_place;
    enum mutation mutation;
};

/* The case's; list.c sets them. */
extern const struct config *list_config;
extern uint32_t list_threads;

/* Of a slot, which names an item, or of the list, which names a body. */
struct word {
    uint8_t generation;
    uint8_t block; /* + 1 */
    uint8_t slots; /* of a body */
};

enum { FREE, OWNED, LINKED };

/* What a block is in use as: whose word holds it. */
enum { ITEM, BODY, OTHER };

/* Whatever it was for, it keeps its bytes until the next user writes them. */
struct block {
    uint8_t state;
    uint8_t holder;
    union {
        struct {
            uint8_t first;
            uint8_t count;
            struct word slot[SLOTS];
        };
        struct {
            uint8_t generation;
            uint8_t value[2]; /* both halves are alike */
        };
    };
};

struct thread {
    uint8_t operation;
    uint8_t index;
    uint8_t at;
    uint8_t made;   /* + 1 */
    uint8_t coming; /* elements of a splice */
    uint8_t going;
    uint8_t from;
    uint8_t end;
    struct word body; /* that a reader looks at, or a writer fills */
    uint8_t first;
    uint8_t count;
    struct word seen;
    uint8_t generation[SLOTS];
    uint8_t value[2];
    uint16_t copied;
    uint8_t since; /* ghost: where in the history its call began, + 1 */
};

struct state {
    struct model_common common;
    uint8_t holder; /* of the lock, thread + 1 */
    uint8_t pending[2];
    uint8_t pending_old;
    uint8_t gone_from;
    uint8_t gone_count;
    uint8_t fresh_slot;
    uint8_t fresh_count;
    uint8_t fresh_end;
    struct word body;
    struct word old_body;
    struct word fresh_body;
    uint8_t next_generation;
    struct block block[BLOCKS];
    uint8_t others; /* ghost: blocks that others have */
    uint8_t value_next;
    uint8_t history_count;
    uint16_t history[HISTORY]; /* ghost: since the oldest call of a reader; the last one is now */
    struct thread thread[MODEL_THREADS];
};

/* ---- ghosts: the list as a number, BITS for each element, the first one lowest ---- */

static inline uint16_t now(const struct state *s)
{
    return s->history[s->history_count - 1];
}

static inline uint32_t length_of(uint16_t elements)
{
    uint32_t length = 0;
    for (; elements != 0; elements = (uint16_t)(elements >> BITS)) {
        length++;
    }
    return length;
}

static inline uint16_t low(uint16_t elements, uint32_t count)
{
    return (uint16_t)(elements & ((1u << BITS * count) - 1));
}

static inline void becomes(struct state *s, uint32_t elements)
{
    bool read = false;
    for (uint32_t i = 0; i < list_threads; i++) {
        read |= s->thread[i].since != 0 && !model_is_dead(&s->common, i);
    }
    s->history_count = read ? s->history_count : 0;
    CLAIM(s->history_count < HISTORY, "model: too long a history");
    s->history[s->history_count++ % HISTORY] = (uint16_t)elements;
}

static inline void set_becomes(struct state *s, uint32_t index)
{
    uint32_t others = now(s) & ~(uint32_t)(((1u << BITS) - 1) << BITS * index);
    becomes(s, others | (uint32_t)s->value_next << BITS * index);
}

/* `going` elements at `from` become the last `coming` values. */
static inline void splice_becomes(struct state *s, const struct thread *me)
{
    uint32_t elements = (uint32_t)(now(s) >> BITS * (me->from + me->going));
    for (uint32_t i = 0; i < me->coming; i++) {
        elements = elements << BITS | (s->value_next - i);
    }
    becomes(s, elements << BITS * me->from | low(now(s), me->from));
}

/* ---- words and blocks ---- */

static inline bool same(struct word a, struct word b)
{
    return a.block == b.block && a.slots == b.slots &&
           (a.generation == b.generation || list_config->mutation == NO_GENERATION);
}

static inline struct block *block_of(struct state *s, struct word word)
{
    return &s->block[word.block == 0 || word.block > BLOCKS ? 0 : word.block - 1];
}

static inline struct word *slot_of(struct state *s, struct word body, uint32_t slot)
{
    return &block_of(s, body)->slot[slot & (uint32_t)(body.slots - 1)];
}

static inline struct word *element(struct state *s, uint32_t index)
{
    return slot_of(s, s->body, block_of(s, s->body)->first + index);
}

static inline uint8_t count_of(struct state *s)
{
    return s->body.block == 0 ? 0 : block_of(s, s->body)->count;
}

static inline bool is_in_use_as(const struct state *s, uint8_t block, uint8_t holder)
{
    return block != 0 && block <= BLOCKS && s->block[block - 1].state != FREE &&
           s->block[block - 1].holder == holder;
}

static inline void free_from(struct state *s, uint8_t block, uint8_t holder)
{
    if (is_in_use_as(s, block, holder) || list_config->mutation == FREE_BY_PLACE) {
        s->block[block - 1].state = FREE;
    }
}

static inline bool is_element(struct state *s, uint8_t block)
{
    for (uint32_t i = 0; i < count_of(s); i++) {
        if (element(s, i)->block == block) {
            return true;
        }
    }
    return false;
}

static inline uint8_t any_free(const struct state *s)
{
    uint8_t free[BLOCKS];
    uint32_t count = 0;
    for (uint8_t i = 0; i < BLOCKS; i++) {
        if (s->block[i].state == FREE) {
            free[count++] = i;
        }
    }
    CLAIM(count != 0, "blocks are lost");
    return (uint8_t)(1 + free[count == 0 ? 0 : model_choose(count < 2 ? count : 2)]);
}

static inline bool allocate(struct state *s, uint32_t self, uint8_t holder)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("allocate a block");
    me->made = any_free(s);
    s->block[me->made - 1].state = OWNED;
    s->block[me->made - 1].holder = holder;
    if (holder == ITEM || list_config->mutation != NO_PENDING_BODY) {
        STEP("pending_%s = %u", holder == ITEM ? "item" : "body", me->made - 1);
        s->pending[holder] = me->made;
    }
    STEP("block %u is LINKED", me->made - 1);
    s->block[me->made - 1].state = LINKED;
    END;
}

static inline bool another(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("another takes a block");
    me->made = any_free(s);
    s->block[me->made - 1].state = OWNED;
    s->block[me->made - 1].holder = OTHER;
    s->others++;
    STEP("and writes into block %u", me->made - 1);
    s->block[me->made - 1].value[0] ^= 1;
    END;
}

/* ---- list_write.c ---- */
/* One change, under the lock. */
bool list_write(struct state *s, uint32_t self, char letter);

#endif /* LIST_STATE_H */
