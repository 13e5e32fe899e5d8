/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The list's model: what its writers do, see list.c.
 */
#include "list_state.h"

/* ---- recovery ---- */

static bool settle_fresh(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    bool became = same(s->fresh_body, s->body) && block_of(s, s->fresh_body)->count >= s->fresh_end;
    BEGIN;
    if (!became && is_in_use_as(s, s->fresh_body.block, BODY)) {
        for (me->at = 0; me->at < s->fresh_count; me->at++) {
            STEP("free fresh item %u", me->at);
            free_from(s, slot_of(s, s->fresh_body, (uint32_t)s->fresh_slot + me->at)->block, ITEM);
        }
    }
    STEP("fresh_body = 0");
    s->fresh_body = (struct word){0};
    END;
}

static bool settle_body(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    if (s->old_body.block != 0 && !same(s->old_body, s->body)) {
        if (is_in_use_as(s, s->old_body.block, BODY)) {
            for (me->at = 0; me->at < s->gone_count; me->at++) {
                STEP("free what is gone, %u", me->at);
                free_from(s,
                          slot_of(s, s->old_body,
                                  (uint32_t)block_of(s, s->old_body)->first + s->gone_from + me->at)
                              ->block,
                          ITEM);
            }
        }
        STEP("free the old body");
        free_from(s, s->old_body.block, BODY);
    }
    STEP("old_body = 0");
    s->old_body = (struct word){0};
    END;
}

static bool recover(struct state *s, uint32_t self)
{
    BEGIN;
    STEP("recover: the sweep frees what was not named, and links what was");
    for (uint8_t i = 0; i < BLOCKS; i++) {
        if (s->block[i].state == OWNED && s->block[i].holder != OTHER) {
            s->block[i].state = i + 1 == s->pending[s->block[i].holder] ? LINKED : FREE;
        }
    }
    CALL(settle_fresh(s, self));
    if (s->pending[BODY] != 0) {
        if (s->pending[BODY] != s->body.block) {
            STEP("recover: free what pending_body has");
            free_from(s, s->pending[BODY], BODY);
        }
        STEP("recover: pending_body = 0");
        s->pending[BODY] = 0;
    }
    CALL(settle_body(s, self));
    if (s->pending[ITEM] != 0) {
        if (!is_element(s, s->pending[ITEM])) {
            STEP("recover: free what pending_item has");
            free_from(s, s->pending[ITEM], ITEM);
        }
        STEP("recover: pending_item = 0");
        s->pending[ITEM] = 0;
    }
    if (s->pending_old != 0) {
        STEP("recover: free or renew what pending_old has");
        if (!is_element(s, s->pending_old)) {
            free_from(s, s->pending_old, ITEM);
        } else if (list_config->mutation != NOT_RENEWED) {
            s->block[s->pending_old - 1].generation = ++s->next_generation;
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
    WAIT_UNTIL(s->holder == 0 || of_dead, "lock the list");
    s->holder = (uint8_t)(self + 1);
    if (of_dead) {
        CALL(recover(s, self));
    }
    END;
}

/* ---- parts of a change, under the lock ---- */

static bool free_item(struct state *s, uint32_t self, uint8_t block)
{
    BEGIN;
    STEP("free block %u", block - 1);
    CLAIM(is_in_use_as(s, block, ITEM), "freed twice");
    free_from(s, block, ITEM);
    END;
}

/* An item with the next value, which pending_item names; @returns in me->seen the word for it. */
static bool make_item(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct block *made = &s->block[me->made - 1];
    BEGIN;
    CALL(allocate(s, self, ITEM));
    STEP("fill the item");
    made->generation = ++s->next_generation;
    STEP("half of its value");
    made->value[0] = ++s->value_next;
    STEP("the other half");
    made->value[1] = made->value[0];
    me->seen = (struct word){made->generation, me->made, 0};
    END;
}

static uint8_t new_body_generation(struct state *s)
{
    return list_config->mutation == BODIES_NUMBERED_ANEW ? (uint8_t)(s->body.generation + 1)
                                                         : ++s->next_generation;
}

/* A body for me->end elements, which pending_body names; @returns its word in me->body. */
static bool make_body(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    CALL(allocate(s, self, BODY));
    me->body = (struct word){new_body_generation(s), me->made,
                             (uint8_t)(me->end > 2   ? 4
                                       : me->end > 1 ? 2
                                                     : 1)};
    STEP("its state = 0");
    s->block[me->made - 1].first = s->block[me->made - 1].count = 0;
    END;
}

static bool copy_slots(struct state *s, uint32_t self, uint8_t to, uint8_t from, uint8_t end)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    for (me->at = 0; me->at < end - from; me->at++) {
        STEP("slot %u as it was", to + me->at);
        *slot_of(s, me->body, (uint32_t)to + me->at) = *element(s, (uint32_t)from + me->at);
    }
    END;
}

/* me->body, or none, in the place of the list's, of which me->going elements go. */
static bool replace_body(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("gone_from, gone_count");
    s->gone_from = me->from;
    s->gone_count = me->going;
    STEP("old_body");
    s->old_body = s->body;
    if (list_config->mutation == GONE_BEFORE_SWITCH && me->going != 0) {
        CALL(free_item(s, self, element(s, me->from)->block));
    }
    STEP("[body] the list's word");
    s->body = me->body;
    splice_becomes(s, me);
    STEP("fresh_body = 0");
    s->fresh_body = (struct word){0};
    STEP("pending_body = 0");
    s->pending[BODY] = 0;
    CALL(settle_body(s, self));
    END;
}

/* The same elements in a body for me->end. */
static bool resize(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->from = me->going = me->coming = 0;
    CALL(make_body(s, self));
    CALL(copy_slots(s, self, 0, 0, count_of(s)));
    STEP("the new body's state");
    block_of(s, me->body)->count = count_of(s);
    CALL(replace_body(s, self));
    END;
}

/* Items for me->coming slots from me->from, counted from the first, which are not elements yet. */
static bool fill_fresh(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    if (list_config->mutation != FRESH_UNTOLD) {
        STEP("fresh_slot, fresh_count, fresh_end");
        s->fresh_slot = (uint8_t)(block_of(s, me->body)->first + me->from);
        s->fresh_count = 0;
        s->fresh_end = me->end;
        STEP("fresh_body");
        s->fresh_body = me->body;
    }
    for (me->at = 0; me->at < me->coming; me->at++) {
        CALL(make_item(s, self));
        STEP("[item] slot %u", me->from + me->at);
        *slot_of(s, me->body, (uint32_t)block_of(s, me->body)->first + me->from + me->at) =
            me->seen;
        STEP("fresh_count = %u", me->at + 1);
        s->fresh_count++;
        STEP("pending_item = 0");
        s->pending[ITEM] = 0;
    }
    END;
}

/* ---- changes ---- */

static bool push(struct state *s, uint32_t self, bool front)
{
    struct thread *me = &s->thread[self];
    struct block *body = block_of(s, s->body);
    uint32_t first = (uint32_t)(body->first - front) & (uint32_t)(s->body.slots - 1);
    struct word *slot = slot_of(s, s->body, front ? first : (uint32_t)body->first + body->count);
    BEGIN;
    if (count_of(s) == s->body.slots) {
        me->end = (uint8_t)(count_of(s) + 1);
        CALL(resize(s, self));
    }
    CALL(make_item(s, self));
    if (list_config->mutation != STATE_BEFORE_SLOT) {
        STEP("[item] the slot");
        *slot = me->seen;
    }
    if (list_config->mutation == UNPENDING_BEFORE_STATE) {
        STEP("pending_item = 0");
        s->pending[ITEM] = 0;
    }
    STEP("the state: an element more");
    body->first = (uint8_t)first;
    body->count++;
    becomes(s, front ? (uint32_t)now(s) << BITS | s->value_next
                     : now(s) | (uint32_t)s->value_next << BITS * length_of(now(s)));
    if (list_config->mutation == STATE_BEFORE_SLOT) {
        STEP("[item] the slot");
        *slot_of(s, s->body, front ? first : (uint32_t)body->first + body->count - 1) = me->seen;
    }
    STEP("pending_item = 0");
    s->pending[ITEM] = 0;
    END;
}

static bool pop(struct state *s, uint32_t self, bool front)
{
    struct thread *me = &s->thread[self];
    struct block *body = block_of(s, s->body);
    BEGIN;
    if (count_of(s) == 0) {
        RETURN;
    }
    me->seen = *element(s, front ? 0 : count_of(s) - 1u);
    if (list_config->mutation != NO_PENDING_OLD) {
        STEP("pending_old = %u", me->seen.block - 1);
        s->pending_old = me->seen.block;
    }
    if (list_config->mutation == FREE_BEFORE_COMMIT) {
        CALL(free_item(s, self, me->seen.block));
    }
    STEP("the state: an element less");
    body->count--;
    body->first = (uint8_t)((body->first + front) & (s->body.slots - 1));
    becomes(s, front ? now(s) >> BITS : low(now(s), length_of(now(s)) - 1));
    if (list_config->mutation != FREE_BEFORE_COMMIT) {
        CALL(free_item(s, self, me->seen.block));
    }
    if (s->body.slots > 1 && count_of(s) < s->body.slots / 2) {
        me->end = s->body.slots / 2;
        CALL(resize(s, self));
    }
    END;
}

static bool set_in_place(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct block *item = block_of(s, me->seen);
    BEGIN;
    STEP("pending_old = %u", me->seen.block - 1);
    s->pending_old = me->seen.block;
    STEP("the item's word");
    item->value[0] = item->value[1] = ++s->value_next;
    set_becomes(s, me->at);
    STEP("the item's generation");
    item->generation = ++s->next_generation;
    END;
}

static bool set(struct state *s, uint32_t self, uint8_t index)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    if (index >= count_of(s)) {
        RETURN;
    }
    me->at = index;
    me->seen = *element(s, index);
    if (list_config->in_place) {
        CALL(set_in_place(s, self));
        RETURN;
    }
    me->index = me->seen.block;
    CALL(make_item(s, self));
    STEP("pending_old = %u", me->index - 1);
    s->pending_old = me->index;
    STEP("[item] the slot");
    *element(s, me->at) = me->seen;
    set_becomes(s, me->at);
    STEP("pending_item = 0");
    s->pending[ITEM] = 0;
    CALL(free_item(s, self, me->index));
    END;
}

static bool append(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->body = s->body;
    CALL(fill_fresh(s, self));
    STEP("the state: all of them");
    block_of(s, s->body)->count = me->end;
    splice_becomes(s, me);
    STEP("fresh_body = 0");
    s->fresh_body = (struct word){0};
    END;
}

static bool rebuild(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    uint8_t behind = (uint8_t)(me->from + me->going);
    BEGIN;
    if (me->end != 0) {
        CALL(make_body(s, self));
        CALL(copy_slots(s, self, 0, 0, me->from));
        CALL(copy_slots(s, self, (uint8_t)(me->from + me->coming), behind, count_of(s)));
        CALL(fill_fresh(s, self));
        STEP("the new body's state");
        block_of(s, me->body)->count = me->end;
    }
    CALL(replace_body(s, self));
    END;
}

static bool splice(struct state *s, uint32_t self, char letter)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->coming = letter == 'a' ? 2 : letter == 'i' ? 1 : 0;
    me->going = letter == 'c' ? count_of(s) : letter == 'd' && count_of(s) != 0;
    me->from = letter == 'a' ? count_of(s) : letter == 'i' ? count_of(s) / 2 : 0;
    me->end = (uint8_t)(count_of(s) - me->going + me->coming);
    if (me->coming == 0 && me->going == 0) {
        RETURN;
    }
    if (me->going == 0 && me->from == count_of(s) && me->end <= s->body.slots) {
        CALL(append(s, self));
    } else {
        CALL(rebuild(s, self));
    }
    END;
}

bool list_write(struct state *s, uint32_t self, char letter)
{
    BEGIN;
    CALL(lock(s, self));
    if (letter == 'p' || letter == 'P') {
        CALL(push(s, self, letter == 'P'));
    } else if (letter == 'q' || letter == 'Q') {
        CALL(pop(s, self, letter == 'Q'));
    } else if (letter == 's' || letter == 'S') {
        CALL(set(s, self, letter == 'S'));
    } else {
        CALL(splice(s, self, letter));
    }
    STEP("unlock");
    s->holder = 0;
    END;
}
