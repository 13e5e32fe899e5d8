/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What changes a list, under its lock; list_recover.c says in which order it stores.
 */
#include <errno.h>

#include "list_view.h"

enum {
    FIRST_LOG2 = 3,
    SPARSE = 8, /* slots an element, before a body halves */
};

static const uint64_t ELEMENTS_MAX = 1ull << CSHM__LIST_LOG2_MAX;

/* ---- the lock ---- */

/* Takes the lock, unless this thread has it already. */
static int enter(struct cshm_list *list, struct body *body, bool *nested)
{
    int status = cshm__guard_acquire(list->region, &list->shared->guard);
    *nested = status == -EDEADLK;
    if (status == 1) {
        cshm__list_recover(list);
    }
    if (status < 0 && !*nested) {
        return status;
    }
    uint64_t word = atomic_load_explicit(&list->shared->body, memory_order_relaxed);
    if (cshm__body_view(list->region, word, body)) {
        return 0;
    }
    if (!*nested) {
        cshm__guard_release(&list->shared->guard);
    }
    return -EPROTO;
}

static inline void unlock(struct cshm_list *list)
{
    cshm__guard_release(&list->shared->guard);
    if (list->holds) {
        cshm__anchor_end_all(list->region);
    }
}

static void leave(struct cshm_list *list, bool nested)
{
    if (!nested) {
        unlock(list);
    }
}

int cshm_list_lock(cshm_list *list)
{
    int status = cshm__guard_acquire(list->region, &list->shared->guard);
    if (status == 1) {
        cshm__list_recover(list);
        status = 0;
    }
    return status;
}

void cshm_list_unlock(cshm_list *list)
{
    unlock(list);
}

int cshm_list_peek(const cshm_list *list, uint64_t index, const void **bytes, uint64_t *length)
{
    struct body body;
    struct item item;
    uint64_t word = atomic_load_explicit(&list->shared->body, memory_order_relaxed);
    if (!cshm__body_view(list->region, word, &body)) {
        return -EPROTO;
    }
    if (index >= body.count) {
        return -ENOENT;
    }
    uint64_t slot = atomic_load_explicit(cshm__slot(&body, index), memory_order_relaxed);
    if (!cshm__item_load(list->region, cshm__slot_place(slot), &item)) {
        return -EPROTO;
    }
    *bytes = (const void *)item.value;
    *length = item.length;
    return 0;
}

/* ---- parts ---- */

static uint64_t next_generation(struct cshm_list *list)
{
    struct cshm_list_shared *shared = list->shared;
    uint64_t generation = atomic_load_explicit(&shared->generation, memory_order_relaxed) + 1;
    atomic_store_explicit(&shared->generation, generation, memory_order_relaxed);
    return generation;
}

/* An element names it now, or nobody ever will. */
static void named(struct cshm_list *list)
{
    atomic_store_explicit(&list->shared->pending_item, 0, memory_order_release);
    if (list->holds) {
        atomic_store_explicit(&list->shared->pending_hold, 0, memory_order_release);
    }
}

/* Counts what a new item holds; frees it if that is not to be had. */
__attribute__((noinline)) static int hold(struct cshm_list *list, uint64_t place)
{
    atomic_store_explicit(&list->shared->pending_hold, place, memory_order_release);
    int status = cshm__anchor_hold_item(list->region, place);
    if (status != 0) {
        cshm__list_free_item(list, place);
        named(list);
    }
    return status;
}

static int make_item(struct cshm_list *list, const void *bytes, uint64_t length, uint64_t *word)
{
    uint64_t place = 0;
    void *made = NULL;
    if (length > CSHM__ITEM_MAX || (list->holds && !cshm__anchor_is_value(bytes, length))) {
        return -EINVAL;
    }
    int status = cshm__pending_allocate(list->region, &list->shared->pending_item,
                                        cshm__item_size(0, length), &place, &made);
    if (status == 0) {
        uint64_t generation = next_generation(list);
        cshm__item_fill(made, generation, NULL, 0, bytes, length);
        *word = cshm__slot_word(generation, place);
        status = list->holds ? hold(list, place) : 0;
    }
    return status;
}

/* A body of 2^log2 slots without elements, which pending_body names. */
static int make_body(struct cshm_list *list, uint32_t log2, struct body *out)
{
    uint64_t place = 0;
    void *made = NULL;
    int status = cshm__pending_allocate(list->region, &list->shared->pending_body,
                                        cshm__body_size(log2), &place, &made);
    if (status == 0) {
        /* A number that no body had, also if there is none now: a reader may still look at one. */
        uint64_t generation = next_generation(list);
        *out = (struct body){.shared = made,
                             .word = cshm__body_word(generation, log2, place),
                             .mask = (1u << log2) - 1};
        atomic_store_explicit(&out->shared->state, 0, memory_order_release); /* [check] */
    }
    return status;
}

static void set_state(struct body *body, uint32_t first, uint32_t count)
{
    body->first = first;
    body->count = count;
    body->state = cshm__list_state(first, count);
    atomic_store_explicit(&body->shared->state, body->state, memory_order_release); /* [item] */
}

static void copy_slots(const struct body *to, uint64_t at, const struct body *from, uint64_t index,
                       uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t word = atomic_load_explicit(cshm__slot(from, index + i), memory_order_relaxed);
        atomic_store_explicit(&to->shared->slot[at + i], word, memory_order_release); /* [check] */
    }
}

/* Puts `to`, or nothing, in the place of `from`, of which `count` elements go. */
static void replace_body(struct cshm_list *list, const struct body *from, const struct body *to,
                         uint64_t index, uint64_t count)
{
    struct cshm_list_shared *shared = list->shared;
    atomic_store_explicit(&shared->gone_from, index, memory_order_relaxed);
    atomic_store_explicit(&shared->gone_count, count, memory_order_relaxed);
    atomic_store_explicit(&shared->old_body, from->word, memory_order_release);
    atomic_store_explicit(&shared->body, to->word, memory_order_release); /* [body]: the commit */
    atomic_store_explicit(&shared->fresh_body, 0, memory_order_release);
    atomic_store_explicit(&shared->pending_body, 0, memory_order_release);
    cshm__list_settle_body(list);
}

/* The same elements in a body of another size. */
static int resize(struct cshm_list *list, struct body *body, uint32_t log2)
{
    struct body made;
    if (log2 > CSHM__LIST_LOG2_MAX) {
        return -EINVAL;
    }
    int status = make_body(list, log2, &made);
    if (status != 0) {
        return status;
    }
    copy_slots(&made, 0, body, 0, body->count);
    set_state(&made, 0, body->count);
    replace_body(list, body, &made, 0, 0);
    *body = made;
    return 0;
}

/* Room for one more. */
static int make_room(struct cshm_list *list, struct body *body)
{
    if (body->word == 0) {
        return resize(list, body, FIRST_LOG2);
    }
    return body->count <= body->mask ? 0 : resize(list, body, cshm__body_log2(body->word) + 1);
}

static void shrink(struct cshm_list *list, struct body *body)
{
    uint32_t log2 = cshm__body_log2(body->word);
    if (log2 > FIRST_LOG2 && body->count < (body->mask + 1) / SPARSE) {
        (void)resize(list, body, log2 - 1);
    }
}

/* ---- one element ---- */

static int push(struct cshm_list *list, const void *bytes, uint64_t length, bool front)
{
    struct body body;
    bool nested;
    uint64_t word = 0;
    int status = enter(list, &body, &nested);
    if (status != 0) {
        return status;
    }
    status = make_room(list, &body);
    status = status == 0 ? make_item(list, bytes, length, &word) : status;
    if (status == 0) {
        uint32_t first = front ? (body.first - 1) & body.mask : body.first;
        uint64_t at = front ? first : (body.first + body.count) & body.mask;
        atomic_store_explicit(&body.shared->slot[at], word, memory_order_release); /* [item] */
        set_state(&body, first, body.count + 1);                                   /* the commit */
        named(list);
        cshm__list_changed(list);
    }
    leave(list, nested);
    return status;
}

int cshm_list_push_back(cshm_list *list, const void *bytes, uint64_t length)
{
    return push(list, bytes, length, false);
}

int cshm_list_push_front(cshm_list *list, const void *bytes, uint64_t length)
{
    return push(list, bytes, length, true);
}

static int pop(struct cshm_list *list, void *buffer, uint64_t capacity, uint64_t *length,
               bool front)
{
    struct body body;
    struct item item;
    bool nested;
    int status = enter(list, &body, &nested);
    if (status != 0) {
        return status;
    }
    if (body.count == 0) {
        leave(list, nested);
        return -ENOENT;
    }
    uint64_t slot =
        atomic_load_explicit(cshm__slot(&body, front ? 0 : body.count - 1), memory_order_relaxed);
    uint64_t place = cshm__slot_place(slot);
    if (!cshm__item_load(list->region, place, &item)) {
        status = -EPROTO;
    } else if (item.length > capacity) {
        *length = item.length;
        status = -EMSGSIZE;
    } else {
        cshm__copy_out(buffer, item.value, item.length);
        *length = item.length;
        atomic_store_explicit(&list->shared->pending_old, place, memory_order_release);
        set_state(&body, front ? (body.first + 1) & body.mask : body.first,
                  body.count - 1); /* the commit */
        cshm__list_free_item(list, place);
        shrink(list, &body);
        cshm__list_changed(list);
    }
    leave(list, nested);
    return status;
}

int cshm_list_pop_back(cshm_list *list, void *buffer, uint64_t capacity, uint64_t *length)
{
    return pop(list, buffer, capacity, length, false);
}

int cshm_list_pop_front(cshm_list *list, void *buffer, uint64_t capacity, uint64_t *length)
{
    return pop(list, buffer, capacity, length, true);
}

static int set(struct cshm_list *list, const struct body *body, uint64_t index, const void *bytes,
               uint64_t length)
{
    struct cshm_list_shared *shared = list->shared;
    struct item item;
    uint64_t word = 0;
    _Atomic uint64_t *slot = cshm__slot(body, index);
    uint64_t old = cshm__slot_place(atomic_load_explicit(slot, memory_order_relaxed));
    if (!cshm__item_load(list->region, old, &item)) {
        return -EPROTO;
    }
    if (length == 8 && item.length == 8) {
        uint64_t value = cshm__word_of(bytes, 8);
        uint64_t generation = next_generation(list);
        atomic_store_explicit(&shared->pending_old, old, memory_order_release);
        atomic_store_explicit(item.value, value, memory_order_release); /* the commit */
        cshm__item_renew(item.shared, generation);
        return 0;
    }
    int status = make_item(list, bytes, length, &word);
    if (status != 0) {
        return status;
    }
    atomic_store_explicit(&shared->pending_old, old, memory_order_release);
    atomic_store_explicit(slot, word, memory_order_release); /* [item]: the commit */
    named(list);
    cshm__list_free_item(list, old);
    return 0;
}

int cshm_list_set(cshm_list *list, uint64_t index, const void *bytes, uint64_t length)
{
    struct body body;
    bool nested;
    int status = enter(list, &body, &nested);
    if (status != 0) {
        return status;
    }
    status = index < body.count ? set(list, &body, index, bytes, length) : -ENOENT;
    if (status == 0) {
        cshm__list_changed(list);
    }
    leave(list, nested);
    return status;
}

/* ---- many elements ---- */

/* Fills slots of a body with new items, which are not elements yet. Undoes it all on failure. */
static int fill_fresh(struct cshm_list *list, const struct body *body, uint64_t slot, uint64_t end,
                      const struct cshm_list_value *values, uint64_t count)
{
    struct cshm_list_shared *shared = list->shared;
    int status = 0;
    atomic_store_explicit(&shared->fresh_slot, slot, memory_order_relaxed);
    atomic_store_explicit(&shared->fresh_count, 0, memory_order_relaxed);
    atomic_store_explicit(&shared->fresh_end, end, memory_order_relaxed);
    atomic_store_explicit(&shared->fresh_body, body->word, memory_order_release);
    for (uint64_t i = 0; i < count && status == 0; i++) {
        uint64_t word = 0;
        status = make_item(list, values[i].bytes, values[i].length, &word);
        if (status == 0) {
            atomic_store_explicit(&body->shared->slot[(slot + i) & body->mask], word,
                                  memory_order_release); /* [item] */
            atomic_store_explicit(&shared->fresh_count, i + 1, memory_order_release);
            named(list);
        }
    }
    if (status != 0) {
        cshm__list_settle_fresh(list);
    }
    return status;
}

static int append(struct cshm_list *list, struct body *body, const struct cshm_list_value *values,
                  uint64_t count)
{
    uint32_t end = body->count + (uint32_t)count;
    int status = fill_fresh(list, body, body->first + body->count, end, values, count);
    if (status == 0) {
        set_state(body, body->first, end); /* the commit */
        atomic_store_explicit(&list->shared->fresh_body, 0, memory_order_release);
    }
    return status;
}

static uint32_t log2_for(uint64_t count)
{
    uint32_t log2 = FIRST_LOG2;
    while ((1ull << log2) < count) {
        log2++;
    }
    return log2;
}

/* A body with what stays and what comes. */
static int rebuild(struct cshm_list *list, const struct body *body, uint64_t from, uint64_t count,
                   const struct cshm_list_value *values, uint64_t value_count)
{
    struct body made = {0};
    uint64_t end = body->count - count + value_count;
    if (end == 0) {
        replace_body(list, body, &made, from, count);
        return 0;
    }
    int status = make_body(list, log2_for(end), &made);
    if (status != 0) {
        return status;
    }
    copy_slots(&made, 0, body, 0, from);
    copy_slots(&made, from + value_count, body, from + count, body->count - from - count);
    status = fill_fresh(list, &made, from, end, values, value_count);
    if (status != 0) {
        cshm__heap_free_from(list->region, cshm__body_place(made.word),
                             &list->shared->pending_body);
        atomic_store_explicit(&list->shared->pending_body, 0, memory_order_release);
        return status;
    }
    set_state(&made, 0, (uint32_t)end);
    replace_body(list, body, &made, from, count);
    return 0;
}

int cshm_list_splice(cshm_list *list, uint64_t from, uint64_t count,
                     const struct cshm_list_value *values, uint64_t value_count)
{
    struct body body;
    bool nested;
    int status = enter(list, &body, &nested);
    if (status != 0) {
        return status;
    }
    if (from > body.count || count > body.count - from) {
        status = -ENOENT;
    } else if (value_count > ELEMENTS_MAX - body.count + count) {
        status = -EINVAL;
    } else if (count == 0 && value_count == 0) {
        status = 0;
    } else if (count == 0 && from == body.count && body.word != 0 &&
               value_count <= body.mask + 1 - body.count) {
        status = append(list, &body, values, value_count);
    } else {
        status = rebuild(list, &body, from, count, values, value_count);
    }
    if (status == 0 && (count != 0 || value_count != 0)) {
        cshm__list_changed(list);
    }
    leave(list, nested);
    return status;
}
