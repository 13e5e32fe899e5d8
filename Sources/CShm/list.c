/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/list.h for the model. Pairs: those of item.h, where the naming word is a slot, and the
 * store that makes a slot an element is the body's state; and
 *
 *   [body]   a writer fills a body, then stores the list's word (release) -> a reader loads it
 *            (acquire) before it looks at the body
 *   [watch]  a writer stores what it changed, then looks at the parking word -> who watches announces
 *            itself, then looks at the number of changes
 *
 * For a body's words [check] holds as for an item's: the second look is at the list's word.
 *
 * An item's generation is unique in its list: whoever finds it again has found the same bytes.
 */
#include <errno.h>
#include <stdlib.h>

#include "list_view.h"

enum {
    MAGIC = 0x6c697374, /* "list" */
    PATIENCE = 8,       /* tries of a slice without the lock */
};

/* ---- one element ---- */

static int look_at(const cshm_list *list, const struct body *body, uint64_t index, void *buffer,
                   uint64_t capacity, uint64_t *length)
{
    struct item item = {0};
    if (index >= body->count) {
        return -ENOENT;
    }
    _Atomic uint64_t *slot = cshm__slot(body, index);
    uint64_t word = atomic_load_explicit(slot, memory_order_acquire); /* [item] */
    bool whole = cshm__item_load(list->region, cshm__slot_place(word), &item);
    bool fits = whole && item.length <= capacity;
    if (fits) {
        cshm__copy_out(buffer, item.value, item.length);
    }
    /* The state between the two looks at the slot: then both held together. */
    if (atomic_load_explicit(&body->shared->state, memory_order_acquire) != body->state ||
        atomic_load_explicit(slot, memory_order_relaxed) != word || /* [check] */
        (whole && !cshm__item_is_current(&item))) {
        return -EAGAIN;
    }
    *length = item.length;
    return whole ? (fits ? 0 : -EMSGSIZE) : -EPROTO;
}

int cshm_list_get(const cshm_list *list, uint64_t index, void *buffer, uint64_t capacity,
                  uint64_t *length)
{
    for (;;) {
        struct body body;
        uint64_t found = 0;
        uint64_t word =
            atomic_load_explicit(&list->shared->body, memory_order_acquire); /* [body] */
        int status = cshm__body_view(list->region, word, &body)
                         ? look_at(list, &body, index, buffer, capacity, &found)
                         : -EPROTO;
        if (cshm__body_is_current(list, &body) && status != -EAGAIN) {
            if (status == 0 || status == -EMSGSIZE) {
                *length = found;
            }
            return status;
        }
    }
}

uint64_t cshm_list_count(const cshm_list *list)
{
    for (;;) {
        struct body body;
        uint64_t word =
            atomic_load_explicit(&list->shared->body, memory_order_acquire); /* [body] */
        bool whole = cshm__body_view(list->region, word, &body);
        if (cshm__body_is_current(list, &body)) {
            return whole ? body.count : 0;
        }
    }
}

/* ---- a slice ---- */

/* A copied element: its item's generation until the second look, then its length. */
static uint64_t *head_at(void *buffer, uint64_t at)
{
    return (uint64_t *)(void *)((uint8_t *)buffer + at);
}

static int copy_elements(const cshm_list *list, const struct body *body, uint64_t from,
                         uint64_t count, void *buffer, uint64_t capacity, uint64_t *size)
{
    uint64_t at = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct item item;
        _Atomic uint64_t *slot = cshm__slot(body, from + i);
        uint64_t word = atomic_load_explicit(slot, memory_order_acquire); /* [item] */
        bool whole = cshm__item_load(list->region, cshm__slot_place(word), &item);
        if (atomic_load_explicit(slot, memory_order_relaxed) != word) { /* [check] */
            return -EAGAIN;
        }
        if (!whole) {
            return -EPROTO;
        }
        uint64_t room = 8 + cshm__words_for(item.length) * 8;
        if (at + room <= capacity) {
            *head_at(buffer, at) = item.generation;
            cshm__copy_out(head_at(buffer, at) + 1, item.value, item.length);
        }
        at += room;
    }
    *size = at;
    return at <= capacity ? 0 : -EMSGSIZE;
}

/* @returns whether every element is the one that was copied. */
static bool look_again(const cshm_list *list, const struct body *body, uint64_t from,
                       uint64_t count, void *buffer, uint64_t size)
{
    uint64_t at = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct item item;
        uint64_t word =
            atomic_load_explicit(cshm__slot(body, from + i), memory_order_acquire); /* [check] */
        if (at + 8 > size || !cshm__item_load(list->region, cshm__slot_place(word), &item) ||
            item.generation != *head_at(buffer, at)) {
            return false;
        }
        *head_at(buffer, at) = item.length;
        at += 8 + cshm__words_for(item.length) * 8;
    }
    return at == size;
}

/* @returns as cshm_list_slice(), or -EAGAIN. */
static int try_slice(const cshm_list *list, uint64_t from, uint64_t count, void *buffer,
                     uint64_t capacity, uint64_t *copied, uint64_t *size)
{
    struct body body;
    uint64_t there = 0;
    uint64_t bytes = 0;
    uint64_t word = atomic_load_explicit(&list->shared->body, memory_order_acquire); /* [body] */
    int status = cshm__body_view(list->region, word, &body) ? 0 : -EPROTO;
    if (status == 0) {
        uint64_t end = body.count;
        there = from >= end ? 0 : (count < end - from ? count : end - from);
        status = copy_elements(list, &body, from, there, buffer, capacity, &bytes);
    }
    if (word != 0 && body.shared != NULL &&
        atomic_load_explicit(&body.shared->state, memory_order_acquire) != body.state) {
        return -EAGAIN;
    }
    if (status == 0 && word != 0 && !look_again(list, &body, from, there, buffer, bytes)) {
        return -EAGAIN;
    }
    if (!cshm__body_is_current(list, &body)) {
        return -EAGAIN;
    }
    if (status == 0 || status == -EMSGSIZE) {
        *copied = there;
        *size = bytes;
    }
    return status;
}

int cshm_list_slice(const cshm_list *list, uint64_t from, uint64_t count, void *buffer,
                    uint64_t capacity, uint64_t *copied, uint64_t *size)
{
    struct cshm_guard *guard = &list->shared->guard;
    for (uint32_t tries = 1;; tries++) {
        bool locked = tries % PATIENCE == 0 && cshm__guard_try(list->region, guard);
        int status = try_slice(list, from, count, buffer, capacity, copied, size);
        if (locked) {
            cshm__guard_release(guard);
        }
        if (status != -EAGAIN) {
            return status;
        }
        cshm__pause();
    }
}

/* ---- watching ---- */

uint64_t cshm_list_changes(const cshm_list *list)
{
    return atomic_load_explicit(&list->shared->changes, memory_order_acquire);
}

static int has_changed(const void *object)
{
    const struct cshm_list_watch *watch = object;
    return cshm_list_changes(watch->list) != watch->changes;
}

static int attempt_watch(void *context)
{
    return has_changed(context) ? 0 : -EAGAIN;
}

int cshm_list_wait_until(const struct cshm_list_watch *watch, int64_t deadline_ns)
{
    struct cshm_list_watch copy = *watch;
    return cshm__await(&watch->list->shared->watch.park, attempt_watch, &copy, deadline_ns);
}

void cshm_list_waitable(const struct cshm_list_watch *watch, struct cshm_waitable *out)
{
    *out = cshm__at_park(&watch->list->shared->watch.park, has_changed, watch);
}

/* ---- create, open ---- */

static int create(cshm_region *region, uint64_t type_tag, bool holds, uint64_t *offset)
{
    uint64_t place = 0;
    int status = cshm_heap_allocate(region, sizeof(struct cshm_list_shared), &place);
    if (status != 0) {
        return status;
    }
    struct cshm_list_shared *shared = cshm_heap_pointer(region, place, sizeof *shared);
    if (shared == NULL) {
        return -EPROTO;
    }
    memset((void *)shared, 0, sizeof *shared);
    shared->type_tag = type_tag;
    shared->holds = holds;
    shared->magic = MAGIC;
    *offset = place;
    return 0;
}

int cshm_list_create(cshm_region *region, uint64_t type_tag, uint64_t *offset)
{
    return create(region, type_tag, false, offset);
}

int cshm_list_create_holding(cshm_region *region, uint64_t type_tag, uint64_t *offset)
{
    return create(region, type_tag, true, offset);
}

/* A view of the list that lies there, of whatever type. */
static bool view(cshm_region *region, uint64_t offset, struct cshm_list *out)
{
    struct cshm_list_shared *shared = cshm_heap_pointer(region, offset, sizeof *shared);
    if (shared == NULL || shared->magic != MAGIC) {
        return false;
    }
    *out = (struct cshm_list){region, shared, shared->holds != 0};
    return true;
}

int cshm_list_open(cshm_region *region, uint64_t offset, uint64_t type_tag, cshm_list **out)
{
    struct cshm_list found;
    if (!view(region, offset, &found) || found.shared->type_tag != type_tag) {
        return -EPROTO;
    }
    cshm_list *list = malloc(sizeof *list);
    if (list == NULL) {
        return -ENOMEM;
    }
    *list = found;
    *out = list;
    return 0;
}

void cshm_list_close(cshm_list *list)
{
    free(list);
}

static void empty(struct cshm_list *list)
{
    struct body body;
    struct cshm_list_shared *shared = list->shared;
    cshm__list_recover(list);
    uint64_t word = atomic_load_explicit(&shared->body, memory_order_relaxed);
    if (word != 0 && cshm__body_view(list->region, word, &body)) {
        atomic_store_explicit(&shared->gone_from, 0, memory_order_relaxed);
        atomic_store_explicit(&shared->gone_count, body.count, memory_order_relaxed);
        atomic_store_explicit(&shared->old_body, word, memory_order_release);
        atomic_store_explicit(&shared->body, 0, memory_order_release);
        cshm__list_settle_body(list);
    }
}

void cshm__list_end(cshm_region *region, uint64_t offset)
{
    struct cshm_list list;
    if (view(region, offset, &list)) {
        empty(&list);
    }
}

void cshm_list_destroy(cshm_list *list)
{
    empty(list);
    (void)cshm_heap_free(list->region, cshm_heap_offset(list->region, list->shared));
    cshm__anchor_end_all(list->region);
    free(list);
}
