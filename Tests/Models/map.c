/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * One shard of the map (Sources/CShm/map.c): writers under its lock, killed at any store, and
 * readers without it. A table has one bucket of two entries; an entry is {generation, block}.
 *
 *   A  put key 1   B  put key 2   a  remove key 1   b  remove key 2   G  grow   r  read key 1
 *   C  remove all at once   N  grow into a table that has a nest for key 1, as later ones have
 *   +  add to key 1 without the lock   u  add to it under the lock   W  remove, put and add under it
 *
 * A nest is the table's own, and lasts as long. What a replacement frees becomes the spare of the next one; or, in place, a value is one word, which
 * is changed without the lock together with its item's generation (map_word.c).
 *
 * Checked: a reader gets a value of its key, whole, that was current at some instant of its call,
 * or rightly none; readers do not wait and end; recovery keeps what was committed, gives all blocks
 * back that nothing names, and frees none that is named, also when it dies itself.
 */
#include "model.h"

enum { BLOCKS = 6, ENTRIES = 2 };

enum mutation {
    NONE,
    FREE_BEFORE_SWITCH,
    NO_PENDING_OLD,
    UNPENDING_BEFORE_ENTRY,
    NO_TABLE_CHECK,
    NO_ENTRY_CHECK,
    NO_GENERATION,
    NAMED_SPARE_STAYS,
    SPARE_IS_FREED,
    NOTHING_IS_HELD,
    NO_GUARD_CHECK,
    NUMBERS_TWICE,
    ONLY_THE_VALUE,
    TABLES_NUMBERED_ANEW,
    MOVED_STAYS,
    NEST_IS_LOOSE,
    PUT_IS_LOOSE,
    HOLD_IS_OVERLOOKED,
};

struct config {
    const char *scripts[MODEL_THREADS];
    uint32_t deaths;
    bool in_place;
    enum mutation mutation;
};

static const struct config *config;
static uint32_t threads;

/* Of an entry, or of the shard's table. */
struct word {
    uint8_t generation;
    uint8_t block; /* + 1 */
};

enum { FREE, OWNED, LINKED };

/* What else the word of an item's generation says. */
enum { LOOSE, HELD, NO_ITEM };

/* Whatever it was for, it keeps its bytes until the next user writes them: what is read as a
 * table may be an item by now, and the other way round. */
struct block {
    uint8_t state;
    uint8_t hold;
    union {
        struct word entry[ENTRIES];
        struct {
            uint8_t generation;
            uint8_t key;
            uint8_t value[2]; /* both halves are alike */
        };
    };
};

struct thread {
    uint8_t operation;
    uint8_t key;
    uint8_t made; /* + 1 */
    uint8_t at;
    uint8_t free_at;
    uint8_t from_spare;
    uint8_t in_nest;
    uint8_t moves;
    uint8_t nests; /* what the table's word said, while this reads */
    struct word seen;
    struct word table;
    uint8_t generation;
    uint8_t hold;
    uint8_t value[2];
    uint8_t current; /* ghost: bits, the values of key 1 during this read */
};

struct state {
    struct model_common common;
    uint8_t holder; /* of the lock, thread + 1 */
    uint8_t pending_new;
    uint8_t pending_old;
    uint8_t pending_table;
    uint8_t spare;
    uint8_t next_generation;
    uint8_t nests; /* bits, the tables that have one; in truth a bit of the table's word */
    struct word table;
    /* The one in the middle stands for no table, and has no entries; the nest of each comes after it. */
    struct block block[2 * BLOCKS + 1];
    uint8_t value_now; /* ghost: of key 1, 0 for none */
    uint8_t value_next;
    struct thread thread[MODEL_THREADS];
};

static bool same(struct word a, struct word b)
{
    return a.block == b.block &&
           (a.generation == b.generation || config->mutation == NO_GENERATION);
}

static uint32_t index_of(struct word table)
{
    return table.block == 0 || table.block > BLOCKS ? BLOCKS : table.block - 1u;
}

/* The nest of a table, as an entry names it. */
static uint8_t nest_of(uint8_t table)
{
    return (uint8_t)(BLOCKS + 1 + table);
}

static bool is_nest(uint8_t block)
{
    return block > BLOCKS;
}

static bool has_nest(const struct state *s, uint8_t table)
{
    return table != 0 && (s->nests >> (table - 1) & 1) != 0;
}

static void becomes(struct state *s, uint8_t key, uint8_t value)
{
    if (key != 1) {
        return;
    }
    s->value_now = value;
    for (uint32_t i = 0; i < threads; i++) {
        s->thread[i].current |= (uint8_t)(1u << value);
    }
}

/* ---- the heap, as slot.c checks it ---- */

static bool allocate(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    uint32_t free[BLOCKS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        if (s->block[i].state == FREE) {
            free[count++] = i;
        }
    }
    BEGIN;
    STEP("allocate a block");
    CLAIM(count != 0, "blocks are lost");
    me->made = (uint8_t)(1 + free[count == 0 ? 0 : model_choose(count < 2 ? count : 2)]);
    s->block[me->made - 1].state = OWNED;
    STEP("pending_new = %u", me->made - 1);
    s->pending_new = me->made;
    STEP("block %u is LINKED", me->made - 1);
    s->block[me->made - 1].state = LINKED;
    END;
}

static bool names(const struct state *s, uint8_t block)
{
    bool named = s->table.block == block && block != 0;
    for (uint32_t i = 0; i < ENTRIES; i++) {
        named |= s->block[index_of(s->table)].entry[i].block == block;
    }
    return named;
}

/* ---- writing, under the lock ---- */

/* Frees what the pending table names, which is none any more; what is freed already may be another's. */
static bool drop_items(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct block *table = &s->block[s->pending_table - 1];
    struct word *entry = &table->entry[me->at < ENTRIES ? me->at : 0];
    BEGIN;
    for (me->at = 0; me->at < ENTRIES; me->at++) {
        STEP("free what entry %u of the old table names", me->at);
        if (table->state != FREE && entry->block != 0 && !is_nest(entry->block)) {
            s->block[entry->block - 1].state = FREE;
        }
    }
    END;
}

/* Frees what was moved from a block to the new table's nest. */
static void drop_moved(struct state *s, uint8_t table)
{
    for (uint32_t i = 0; i < ENTRIES && config->mutation != MOVED_STAYS; i++) {
        uint8_t block = s->block[table - 1].entry[i].block;
        if (s->block[table - 1].state != FREE && block != 0 && !is_nest(block) &&
            s->block[block - 1].key == 1) {
            s->block[block - 1].state = FREE;
        }
    }
}

static bool recover(struct state *s, uint32_t self)
{
    BEGIN;
    STEP("recover: the sweep frees what was not named, and links what was");
    for (uint8_t i = 1; i <= BLOCKS; i++) {
        if (s->block[i - 1].state == OWNED) {
            s->block[i - 1].state = i == s->pending_new ? LINKED : FREE;
        }
    }
    if (s->spare != 0 && names(s, s->spare) && config->mutation != NAMED_SPARE_STAYS) {
        STEP("recover: what is named is no spare");
        s->spare = 0;
    }
    if (s->pending_new != 0) {
        STEP("recover: free what pending_new has, if nothing names it");
        if (!names(s, s->pending_new)) {
            s->block[s->pending_new - 1].state = FREE;
        }
        STEP("recover: pending_new = 0");
        s->pending_new = 0;
    }
    if (s->pending_table != 0) {
        if (s->table.block == 0) {
            CALL(drop_items(s, self));
        } else if (s->table.block != s->pending_table && has_nest(s, s->table.block)) {
            STEP("recover: free what was moved");
            drop_moved(s, s->pending_table);
        }
        STEP("recover: free what pending_table has, if it is not the table");
        if (s->table.block != s->pending_table) {
            s->block[s->pending_table - 1].state = FREE;
        }
        STEP("recover: pending_table = 0");
        s->pending_table = 0;
    }
    if (s->pending_old != 0) {
        STEP("recover: free or renew what pending_old has");
        if (names(s, s->pending_old)) {
            if (s->table.block != s->pending_old) {
                s->block[s->pending_old - 1].generation = ++s->next_generation;
            }
        } else if (!is_nest(s->pending_old) &&
                   (s->pending_old != s->spare || config->mutation == SPARE_IS_FREED)) {
            s->block[s->pending_old - 1].state = FREE;
        }
        STEP("recover: pending_old = 0");
        s->pending_old = 0;
    }
    END;
}

static bool lock(struct state *s, uint32_t self)
{
    bool of_dead = s->holder != 0 && model_is_dead(&s->common, s->holder - 1u);
    BEGIN;
    WAIT_UNTIL(s->holder == 0 || of_dead, "lock the shard");
    s->holder = (uint8_t)(self + 1);
    if (of_dead) {
        CALL(recover(s, self));
    }
    END;
}

/* Frees what nothing names any more. */
static bool drop(struct state *s, uint32_t self, uint8_t block)
{
    BEGIN;
    if (is_nest(block)) {
        RETURN;
    }
    STEP("free block %u", block - 1);
    CLAIM(s->block[block - 1].state == LINKED, "freed twice");
    s->block[block - 1].state = FREE;
    END;
}

/* The same, unless it becomes the spare. */
static bool retire(struct state *s, uint32_t self, uint8_t block)
{
    BEGIN;
    if (s->spare == 0) {
        STEP("spare = %u", block - 1);
        s->spare = block;
        RETURN;
    }
    CALL(drop(s, self, block));
    END;
}

/* Where the key is, in me->at and ->seen, or the first free entry, in ->free_at. */
static void find_locked(const struct state *s, struct thread *me)
{
    const struct block *table = &s->block[index_of(s->table)];
    me->seen = (struct word){0};
    me->free_at = ENTRIES;
    for (uint8_t i = ENTRIES; i-- > 0;) {
        if (table->entry[i].block == 0) {
            me->free_at = i;
        } else if (s->block[table->entry[i].block - 1].key == me->key) {
            me->seen = table->entry[i];
            me->at = i;
        }
    }
    me->at = me->seen.block != 0 ? me->at : me->free_at;
}

/* Nobody else changes what was found, from now on. */
static bool hold(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct block *item = &s->block[me->seen.block - 1];
    BEGIN;
    if (me->seen.block == 0 || !config->in_place || config->mutation == NOTHING_IS_HELD) {
        RETURN;
    }
    STEP("[held] hold block %u", me->seen.block - 1);
    item->hold = HELD;
    if (item->generation > s->next_generation && config->mutation != NUMBERS_TWICE) {
        s->next_generation = item->generation;
    }
    END;
}

static bool let_go(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    if (me->seen.block != 0 && config->in_place) {
        STEP("let go of block %u", me->seen.block - 1);
        s->block[me->seen.block - 1].hold = LOOSE;
    }
    END;
}

/* Reads, then stores, as if nobody else could. */
static bool add_locked(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct block *item = &s->block[me->seen.block - 1];
    BEGIN;
    STEP("read the item's word");
    me->value[0] = item->value[0];
    STEP("pending_old = %u", me->seen.block - 1);
    s->pending_old = me->seen.block;
    STEP("the item's word");
    item->value[0] = item->value[1] = me->value[0] + 1;
    becomes(s, 1, s->value_now + 1);
    STEP("the item's generation");
    item->generation = ++s->next_generation;
    END;
}

static bool set_in_place(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct block *item = &s->block[me->seen.block - 1];
    BEGIN;
    STEP("pending_old = %u", me->seen.block - 1);
    s->pending_old = me->seen.block;
    STEP("the item's word");
    item->value[0] = item->value[1] = ++s->value_next;
    becomes(s, me->key, item->value[0]);
    STEP("the item's generation");
    item->generation = ++s->next_generation;
    END;
}

static bool grow(struct state *s, uint32_t self);

static bool set_locked(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct block *made = &s->block[me->made - 1];
    struct word *entry = &s->block[index_of(s->table)].entry[me->at];
    BEGIN;
    if (s->table.block == 0) {
        CALL(grow(s, self));
    }
    find_locked(s, me);
    CALL(hold(s, self));
    if (me->seen.block != 0 && config->in_place) {
        CALL(set_in_place(s, self));
        RETURN;
    }
    if (me->key == 1 && has_nest(s, s->table.block)) {
        me->made = nest_of(s->table.block);
        me->in_nest = 1;
    } else if (s->spare != 0) {
        me->made = s->spare;
        me->from_spare = 1;
    } else {
        CALL(allocate(s, self));
    }
    STEP("fill the item");
    made->key = me->key;
    made->generation = ++s->next_generation;
    made->hold = me->in_nest != 0 && config->mutation != PUT_IS_LOOSE ? HELD : LOOSE;
    STEP("half of its value");
    made->value[0] = ++s->value_next;
    STEP("the other half");
    made->value[1] = made->value[0];
    if (config->mutation == UNPENDING_BEFORE_ENTRY) {
        STEP("pending_new = 0");
        s->pending_new = 0;
    }
    if (me->seen.block != 0 && config->mutation != NO_PENDING_OLD) {
        STEP("pending_old = %u", me->seen.block - 1);
        s->pending_old = me->seen.block;
    }
    if (me->seen.block != 0 && config->mutation == FREE_BEFORE_SWITCH) {
        CALL(drop(s, self, me->seen.block));
    }
    STEP("[entry] entry %u = block %u", me->at, me->made - 1);
    *entry = (struct word){made->generation, me->made};
    becomes(s, me->key, made->value[0]);
    if (me->from_spare != 0) {
        STEP("spare = 0");
        s->spare = 0;
    } else if (me->in_nest == 0) {
        STEP("pending_new = 0");
        s->pending_new = 0;
    }
    if (me->seen.block != 0 && config->mutation != FREE_BEFORE_SWITCH) {
        CALL(retire(s, self, me->seen.block));
    }
    me->seen = *entry;
    END;
}

static bool remove_locked(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    find_locked(s, me);
    if (me->seen.block == 0) {
        RETURN;
    }
    CALL(hold(s, self));
    STEP("pending_old = %u", me->seen.block - 1);
    s->pending_old = me->seen.block;
    STEP("[entry] entry %u = 0", me->at);
    s->block[index_of(s->table)].entry[me->at] = (struct word){0};
    becomes(s, me->key, 0);
    CALL(drop(s, self, me->seen.block));
    END;
}

static uint8_t new_table_generation(struct state *s)
{
    return config->mutation == TABLES_NUMBERED_ANEW ? (uint8_t)(s->table.generation + 1)
                                                    : ++s->next_generation;
}

static bool empty(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    if (s->table.block == 0) {
        RETURN;
    }
    for (me->at = 0; me->at < ENTRIES; me->at++) {
        me->seen = s->block[index_of(s->table)].entry[me->at];
        CALL(hold(s, self));
    }
    STEP("pending_table = %u", s->table.block - 1);
    s->pending_table = s->table.block;
    STEP("[table] table = 0");
    s->table = (struct word){0};
    becomes(s, 1, 0);
    CALL(drop_items(s, self));
    STEP("free the old table");
    s->block[s->pending_table - 1].state = FREE;
    STEP("pending_table = 0");
    s->pending_table = 0;
    if (s->spare != 0) {
        STEP("pending_old = %u", s->spare - 1);
        s->pending_old = s->spare;
        STEP("spare = 0");
        s->spare = 0;
        STEP("free block %u", s->pending_old - 1);
        s->block[s->pending_old - 1].state = FREE;
    }
    END;
}

/* Puts what me->seen names into the new table's nest. */
static bool move(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct block *nest = &s->block[nest_of(me->made) - 1];
    BEGIN;
    CALL(hold(s, self));
    STEP("fill the nest");
    nest->key = 1;
    nest->hold = config->mutation == NEST_IS_LOOSE ? LOOSE : HELD;
    nest->generation = s->block[me->seen.block - 1].generation;
    STEP("the nest's value");
    nest->value[0] = nest->value[1] = s->block[me->seen.block - 1].value[0];
    me->seen.block = nest_of(me->made);
    END;
}

static bool grow(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    CALL(allocate(s, self));
    me->moves |= has_nest(s, s->table.block);
    STEP("clear the new table");
    s->block[me->made - 1].hold = NO_ITEM;
    s->block[me->made - 1].entry[0] = s->block[me->made - 1].entry[1] = (struct word){0};
    s->nests =
        (uint8_t)((s->nests & ~(1u << (me->made - 1))) | (uint32_t)me->moves << (me->made - 1));
    me->free_at = 0;
    for (me->at = 0; me->at < ENTRIES; me->at++) {
        me->seen = s->block[index_of(s->table)].entry[me->at];
        if (me->seen.block != 0) {
            if (me->moves != 0 && s->block[me->seen.block - 1].key == 1) {
                CALL(move(s, self));
            }
            STEP("copy entry %u", me->at);
            s->block[me->made - 1].entry[me->free_at++] = me->seen;
        }
    }
    STEP("pending_old = 0");
    s->pending_old = 0;
    me->seen = s->table;
    STEP("pending_table = %u", me->seen.block - 1);
    s->pending_table = me->seen.block;
    STEP("[table] table = block %u", me->made - 1);
    s->table = (struct word){new_table_generation(s), me->made};
    for (me->at = 0; me->at < ENTRIES && me->moves != 0; me->at++) {
        if (is_nest(s->block[me->made - 1].entry[me->at].block)) {
            STEP("let go of what was moved");
            s->block[nest_of(me->made) - 1].hold = LOOSE;
        }
    }
    STEP("pending_new = 0");
    s->pending_new = 0;
    if (me->seen.block != 0 && me->moves != 0) {
        STEP("free what was moved");
        drop_moved(s, me->seen.block);
    }
    if (me->seen.block != 0) {
        CALL(drop(s, self, me->seen.block));
    }
    STEP("pending_table = 0");
    s->pending_table = 0;
    END;
}

static bool update(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    find_locked(s, me);
    if (me->seen.block != 0) {
        CALL(hold(s, self));
        CALL(add_locked(s, self));
        CALL(let_go(s, self));
    }
    END;
}

/* What is put is not held, and no more anybody else's to change until the lock is released. */
static bool put_and_add(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    CALL(remove_locked(s, self));
    me->from_spare = me->in_nest = 0;
    CALL(set_locked(s, self));
    find_locked(s, me);
    CALL(add_locked(s, self));
    CALL(let_go(s, self));
    END;
}

static bool write(struct state *s, uint32_t self, char letter)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    CALL(lock(s, self));
    me->key = letter == 'B' || letter == 'b' ? 2 : 1;
    if (letter == 'G' || letter == 'N') {
        me->moves = letter == 'N';
        CALL(grow(s, self));
    } else if (letter == 'C') {
        CALL(empty(s, self));
    } else if (letter == 'u' || letter == '+') {
        CALL(update(s, self));
    } else if (letter == 'W') {
        CALL(put_and_add(s, self));
    } else if (letter == 'A' || letter == 'B') {
        CALL(set_locked(s, self));
        CALL(let_go(s, self));
    } else {
        CALL(remove_locked(s, self));
    }
    STEP("unlock");
    s->holder = 0;
    END;
}

/* ---- reading ---- */

/* Looks for key 1 in me->table. @returns in me->seen the entry, or no block. */
static bool find(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct word *entry = &s->block[index_of(me->table)].entry[me->at < ENTRIES ? me->at : 0];
    BEGIN;
    for (me->at = 0; me->at < ENTRIES; me->at++) {
        for (;;) {
            STEP("[entry] load entry %u of block %u", me->at, me->table.block - 1);
            me->seen = *entry;
            if (me->seen.block == 0 || me->seen.block == BLOCKS + 1 ||
                me->seen.block > 2 * BLOCKS + 1) {
                break;
            }
            STEP("is block %u an item of the key?", me->seen.block - 1);
            me->generation = s->block[me->seen.block - 1].generation;
            me->hold = s->block[me->seen.block - 1].hold;
            if (s->block[me->seen.block - 1].key == 1) {
                RETURN;
            }
            STEP("[check] is entry %u as it was?", me->at);
            if (same(*entry, me->seen)) {
                break;
            }
        }
    }
    me->seen = (struct word){0};
    END;
}

/* Whether me->table has a nest that has the key, in me->generation: its number, or 0. */
static bool look_at_nest(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct block *nest = &s->block[nest_of(me->table.block) - 1];
    BEGIN;
    if (me->table.block == 0 || (me->nests >> (me->table.block - 1) & 1) == 0) {
        RETURN;
    }
    STEP("[check] load the nest's generation");
    me->generation = nest->generation;
    me->hold = nest->hold;
    STEP("load the nest's key");
    if ((me->hold != LOOSE && config->mutation != HOLD_IS_OVERLOOKED) || nest->key != 1) {
        me->generation = 0;
    }
    END;
}

/* Its value, in me->value; its generation becomes 0 if that is not to be taken. */
static bool read_nest(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct block *nest = &s->block[nest_of(me->table.block) - 1];
    BEGIN;
    CALL(look_at_nest(s, self));
    if (me->generation == 0) {
        RETURN;
    }
    STEP("load the nest's value");
    me->value[0] = me->value[1] = nest->value[0];
    STEP("[check] is the nest's generation as it was?");
    if (nest->generation != me->generation || nest->hold != me->hold) {
        me->generation = 0;
    }
    END;
}

static bool read(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct block *item = &s->block[me->seen.block - 1];
    BEGIN;
    me->current = (uint8_t)(1u << s->value_now);
    for (;;) {
        STEP("[table] load the table");
        me->table = s->table;
        me->nests = s->nests;
        me->generation = 0;
        CALL(read_nest(s, self));
        if (me->generation != 0) {
            STEP("[check] is the table as it was?");
            if (same(s->table, me->table)) {
                break;
            }
        }
        CALL(find(s, self));
        me->value[0] = me->value[1] = 0;
        if (me->seen.block != 0) {
            STEP("copy half of the value");
            me->value[0] = me->value[1] = item->value[0];
            if (!config->in_place) {
                STEP("copy the other half");
                me->value[1] = item->value[1];
            }
        }
        if (me->seen.block != 0 && config->mutation != NO_ENTRY_CHECK) {
            STEP("[check] is entry %u as it was?", me->at);
            if (!same(s->block[index_of(me->table)].entry[me->at], me->seen)) {
                continue;
            }
        }
        if (me->seen.block != 0 && config->mutation != NO_GENERATION) {
            STEP("[check] is the item's generation?");
            if (item->generation != me->generation) {
                continue;
            }
        }
        if (config->mutation == NO_TABLE_CHECK) {
            break;
        }
        STEP("[check] is the table as it was?");
        if (same(s->table, me->table)) {
            break;
        }
    }
    CLAIM(me->value[0] == me->value[1], "a torn value");
    CLAIM((me->current >> me->value[0] & 1) != 0, "a value, or none, that never was");
    END;
}

/* ---- changing a word without the lock ---- */

static bool exchange(struct state *s, const struct thread *me)
{
    struct block *item = &s->block[me->seen.block - 1];
    bool is_same = item->hold == LOOSE && item->generation == me->generation;
    if (item->value[0] != me->value[0] || !(is_same || config->mutation == ONLY_THE_VALUE)) {
        return false;
    }
    item->generation++;
    item->value[0] = item->value[1] = me->value[0] + 1;
    becomes(s, 1, s->value_now + 1);
    return true;
}

static bool add(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    for (;;) {
        STEP("[table] load the table");
        me->table = s->table;
        me->nests = s->nests;
        me->generation = 0;
        CALL(look_at_nest(s, self));
        if (me->generation == 0) {
            CALL(find(s, self));
            if (me->seen.block != 0) {
                STEP("[check] is entry %u as it was?", me->at);
                if (!same(s->block[index_of(me->table)].entry[me->at], me->seen)) {
                    continue;
                }
            }
        } else {
            me->seen.block = nest_of(me->table.block);
        }
        STEP("[check] is the table as it was?");
        if (!same(s->table, me->table)) {
            continue;
        }
        if (me->seen.block == 0) {
            RETURN;
        }
        STEP("[guard] is the lock needed?");
        if (me->hold != LOOSE || (s->holder != 0 && config->mutation != NO_GUARD_CHECK)) {
            CALL(write(s, self, '+'));
            RETURN;
        }
        STEP("load the value");
        me->value[0] = s->block[me->seen.block - 1].value[0];
        STEP("[held] exchange block %u", me->seen.block - 1);
        if (exchange(s, me)) {
            break;
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
        if (script[me->operation] == 'r') {
            CALL(read(s, self));
        } else if (script[me->operation] == '+') {
            CALL(add(s, self));
        } else {
            CALL(write(s, self, script[me->operation]));
        }
        *me = (struct thread){.operation = me->operation};
    }
    END;
}

/* ---- what must hold ---- */

static void check(const void *state)
{
    const struct state *s = state;
    const struct block *table = &s->block[index_of(s->table)];
    uint32_t value = 0;
    CLAIM(s->table.block == 0 || table->state == LINKED, "the table was freed");
    CLAIM(s->spare == 0 || s->block[s->spare - 1].state == LINKED, "the spare was freed");
    for (uint32_t i = 0; i < ENTRIES; i++) {
        const struct block *item = &s->block[table->entry[i].block - 1];
        if (table->entry[i].block != 0) {
            CLAIM(is_nest(table->entry[i].block) ? table->entry[i].block == nest_of(s->table.block)
                                                 : item->state == LINKED,
                  "a named item was freed");
            value = item->key == 1 ? item->value[0] : value;
        }
    }
    CLAIM(value == s->value_now, "the map has not what was put");
}

/* What the lock's next holder would find is all that is pending. */
static void end(const void *state, uint32_t stuck)
{
    const struct state *s = state;
    CLAIM(stuck == 0, "stuck");
    for (uint8_t i = 1; i <= BLOCKS && s->holder == 0; i++) {
        CLAIM(s->block[i - 1].state == FREE || names(s, i) || s->spare == i, "block %u is lost",
              i - 1);
    }
    CLAIM(s->holder != 0 || (s->pending_new == 0 && s->pending_table == 0), "still pending");
}

static void show(const void *state, FILE *out)
{
    const struct state *s = state;
    fprintf(out, "table=%u", s->table.block - 1);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        fprintf(out, " %d", s->block[index_of(s->table)].entry[i].block - 1);
    }
    fprintf(out, " pending %d %d used", s->pending_new - 1, s->pending_old - 1);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        fprintf(out, "%c", ".OL"[s->block[i].state]);
    }
    fprintf(out, "%s", s->holder != 0 ? " locked" : "");
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
    s->table.block = 1;
    s->block[0].state = LINKED;
    s->block[0].hold = NO_ITEM;
}

#define CASE(name, error, is_long, ...) \
    {name, &(const struct config){.scripts = __VA_ARGS__}, error, is_long}

static const struct model_case cases[] = {
    CASE("put and read", NULL, false, {"AAA", "rr"}, .deaths = 1),
    CASE("put, remove and read", NULL, false, {"BAbaA", "r", "A"}, .deaths = 1),
    CASE("grow and read", NULL, false, {"AGAG", "r", "G"}, .deaths = 1),
    CASE("all removed and put, and read", NULL, false, {"CAC", "r", "A"}, .deaths = 1),
    CASE("two deaths", NULL, false, {"AA", "aG", "r"}, .deaths = 2),
    CASE("three writers, two deaths", NULL, true, {"AA", "aG", "Ar"}, .deaths = 2),
    CASE("two readers", NULL, true, {"BAGaA", "r", "r"}, .deaths = 1),

    CASE("in place", NULL, false, {"AAaA", "rr", "A"}, .deaths = 1, .in_place = true),
    CASE("in place, two deaths", NULL, true, {"AA", "aBG", "Ar"}, .deaths = 2, .in_place = true),

    CASE("adds", NULL, false, {"A+", "+", "u"}, .deaths = 1, .in_place = true),
    CASE("adds and reads", NULL, false, {"A+u", "+r"}, .deaths = 1, .in_place = true),
    CASE("adds, removed meanwhile", NULL, false, {"A+aB", "+r"}, .deaths = 1, .in_place = true),
    CASE("adds, put anew meanwhile", NULL, false, {"AWW", "+r"}, .deaths = 1, .in_place = true),
    CASE("adds of three", NULL, true, {"A++", "+r", "ua"}, .deaths = 1, .in_place = true),
    CASE("adds, removed and put meanwhile", NULL, true, {"A+aB", "+r", "A"}, .deaths = 1,
         .in_place = true),
    CASE("adds, growing", NULL, true, {"AG+G", "+aA", "u"}, .deaths = 1, .in_place = true),
    CASE("put in a nest and read", NULL, false, {"ANaA", "rr"}, .deaths = 1, .in_place = true),
    CASE("put in a nest, removed and grown", NULL, true, {"ANaAGa", "rr", "A"}, .deaths = 1,
         .in_place = true),
    CASE("put in a nest by two, and read", NULL, true, {"ANaA", "rr", "aA"}, .deaths = 2,
         .in_place = true),
    CASE("moved, and read", NULL, false, {"ANAG", "r", "A"}, .deaths = 1, .in_place = true),
    CASE("adds, moved to a nest", NULL, false, {"AN+", "+r"}, .deaths = 1, .in_place = true),
    CASE("adds, moved from nest to nest", NULL, false, {"ANG", "+", "u"}, .deaths = 1,
         .in_place = true),
    CASE("adds, removed from its nest and put", NULL, false, {"ANW", "+r"}, .deaths = 1,
         .in_place = true),
    CASE("adds, moved, all removed", NULL, false, {"ANCA", "+"}, .deaths = 1, .in_place = true),
    CASE("adds, moved, two deaths", NULL, true, {"ANG", "+a", "uB"}, .deaths = 2, .in_place = true),
    CASE("adds, two deaths", NULL, true, {"A+", "u+", "W+"}, .deaths = 2, .in_place = true),

    CASE("a spare that is named stays one", "has not what was put", false, {"AAA", "Ar"},
         .deaths = 1, .mutation = NAMED_SPARE_STAYS),
    CASE("the spare is freed by the next writer", "the spare was freed", false, {"AAA", "A"},
         .deaths = 1, .mutation = SPARE_IS_FREED),
    CASE("the old one is freed before the switch", "was freed", false, {"AA", "r"},
         .mutation = FREE_BEFORE_SWITCH),
    CASE("the old one is not pending", "lost", false, {"AA", "A"}, .deaths = 1,
         .mutation = NO_PENDING_OLD),
    CASE("the new one is not pending when it is named", "lost", false, {"A", "A"}, .deaths = 1,
         .mutation = UNPENDING_BEFORE_ENTRY),
    CASE("the table is not looked at again", "torn", false, {"AGAa", "r"},
         .mutation = NO_TABLE_CHECK),
    CASE("the entry is not looked at again", "torn", false, {"AAA", "r"},
         .mutation = NO_ENTRY_CHECK),
    CASE("tables are numbered anew when there is none", "torn", false, {"ACACACA", "r"},
         .mutation = TABLES_NUMBERED_ANEW),
    CASE("words without generations", "torn", false, {"AAA", "r"}, .mutation = NO_GENERATION),
    CASE("who adds is not held off", "has not what was put", false, {"Au", "+"}, .in_place = true,
         .mutation = NOTHING_IS_HELD),
    CASE("who adds is not held off what moves", "has not what was put", false, {"AN", "+"},
         .in_place = true, .mutation = NOTHING_IS_HELD),
    CASE("a nest is not held before its table is named", "has not what was put", false,
         {"ANGG", "+"}, .in_place = true, .mutation = NEST_IS_LOOSE),
    CASE("what is put in a nest is not held", "never was", false, {"ANaA", "r"}, .in_place = true,
         .mutation = PUT_IS_LOOSE),
    CASE("who reads a nest overlooks that it is held", "never was", false, {"ANa", "rr"},
         .in_place = true, .mutation = HOLD_IS_OVERLOOKED),
    CASE("what was moved stays", "lost", false, {"AN", "r"}, .in_place = true,
         .mutation = MOVED_STAYS),
    CASE("the guard is not looked at", "has not what was put", false, {"AW", "+"}, .in_place = true,
         .mutation = NO_GUARD_CHECK),
    CASE("a number is given twice", "has not what was put", false, {"A+aB", "+"}, .in_place = true,
         .mutation = NUMBERS_TWICE),
    CASE("only the value is compared", "has not what was put", false, {"AaB", "+"},
         .in_place = true, .mutation = ONLY_THE_VALUE),
    {0},
};

const struct model map_model = {
    .name = "map",
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
