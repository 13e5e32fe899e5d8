/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What a list's next writer mends. A writer's stores, in order:
 *
 *   push   pending_item = item; the slot behind the last, or before the first; state; pending_item = 0
 *   pop    pending_old = item; state; item freed
 *   set    pending_item = item; pending_old = old; slot; pending_item = 0; old freed
 *   in place   pending_old = item; its value; its generation
 *   splice     pending_body = body; the slots that stay; fresh_*; for each new one pending_item, slot,
 *              fresh_count; what goes; old_body = the old word; the list's word; then all that went
 *              is freed, and the old body
 *   append     fresh_*; for each pending_item, slot, fresh_count; state
 *
 * In a list that holds, pending_hold = item once it is filled, before what it holds is counted, and 0 after
 * pending_item: what is freed is let go of first.
 *
 * What is pending is freed unless an element names it, and kept if one does. Fresh items are freed
 * unless their body is the list's and has as many elements as it was to have. What goes is freed when
 * the old body is not the list's any more.
 */
#include "list_view.h"

static void free_unfilled(struct cshm_list *list, uint64_t place)
{
    cshm__heap_free_from(list->region, place, &list->shared->pending_item);
}

/* `pending_old` is forgotten then: if the block became the list's again, it might not be filled. */
__attribute__((noinline)) static void free_holding(struct cshm_list *list, uint64_t place)
{
    _Atomic uint64_t *old = &list->shared->pending_old;
    cshm__anchor_let_go_item(list->region, place, &list->shared->pending_item);
    free_unfilled(list, place);
    if (atomic_load_explicit(old, memory_order_relaxed) == place) {
        atomic_store_explicit(old, 0, memory_order_release);
    }
}

void cshm__list_free_item(struct cshm_list *list, uint64_t place)
{
    if (list->holds) {
        free_holding(list, place);
    } else {
        free_unfilled(list, place);
    }
}

static void free_body(struct cshm_list *list, uint64_t place)
{
    cshm__heap_free_from(list->region, place, &list->shared->pending_body);
}

void cshm__list_changed(struct cshm_list *list)
{
    struct cshm_list_shared *shared = list->shared;
    uint64_t changes = atomic_load_explicit(&shared->changes, memory_order_relaxed);
    atomic_store_explicit(&shared->changes, changes + 1, memory_order_release); /* [watch] */
    cshm__publish_barrier();
    cshm__park_wake_all_after_store(&shared->watch.park);
}

void cshm__list_settle_body(struct cshm_list *list)
{
    struct cshm_list_shared *shared = list->shared;
    struct body old;
    uint64_t word = atomic_load_explicit(&shared->old_body, memory_order_relaxed);
    if (word != 0 && word != atomic_load_explicit(&shared->body, memory_order_relaxed)) {
        uint64_t place = cshm__body_place(word);
        uint64_t from = atomic_load_explicit(&shared->gone_from, memory_order_relaxed);
        uint64_t count = atomic_load_explicit(&shared->gone_count, memory_order_relaxed);
        /* What is freed already may be somebody else's. */
        if (cshm__heap_is_held(list->region, place, &shared->pending_body) &&
            cshm__body_view(list->region, word, &old) && count <= old.count) {
            for (uint64_t i = 0; i < count; i++) {
                uint64_t slot =
                    atomic_load_explicit(cshm__slot(&old, from + i), memory_order_relaxed);
                cshm__list_free_item(list, cshm__slot_place(slot));
            }
        }
        free_body(list, place);
    }
    atomic_store_explicit(&shared->old_body, 0, memory_order_release);
}

static bool became_elements(const struct cshm_list *list, uint64_t word)
{
    struct body body;
    return word == atomic_load_explicit(&list->shared->body, memory_order_relaxed) &&
           cshm__body_view(list->region, word, &body) &&
           body.count >= atomic_load_explicit(&list->shared->fresh_end, memory_order_relaxed);
}

void cshm__list_settle_fresh(struct cshm_list *list)
{
    struct cshm_list_shared *shared = list->shared;
    struct body body;
    uint64_t word = atomic_load_explicit(&shared->fresh_body, memory_order_relaxed);
    if (word != 0 && !became_elements(list, word) &&
        cshm__heap_is_held(list->region, cshm__body_place(word), &shared->pending_body) &&
        cshm__body_view(list->region, word, &body)) {
        uint64_t from = atomic_load_explicit(&shared->fresh_slot, memory_order_relaxed);
        uint64_t count = atomic_load_explicit(&shared->fresh_count, memory_order_relaxed);
        for (uint64_t i = 0; i < count && i <= body.mask; i++) {
            uint64_t slot = atomic_load_explicit(&body.shared->slot[(from + i) & body.mask],
                                                 memory_order_relaxed);
            cshm__list_free_item(list, cshm__slot_place(slot));
        }
    }
    atomic_store_explicit(&shared->fresh_body, 0, memory_order_release);
}

static bool is_element(const struct cshm_list *list, uint64_t place)
{
    struct body body;
    uint64_t word = atomic_load_explicit(&list->shared->body, memory_order_relaxed);
    if (word == 0 || !cshm__body_view(list->region, word, &body)) {
        return false;
    }
    for (uint32_t i = 0; i < body.count; i++) {
        uint64_t slot = atomic_load_explicit(cshm__slot(&body, i), memory_order_relaxed);
        if (cshm__slot_place(slot) == place) {
            return true;
        }
    }
    return false;
}

static void settle_item(struct cshm_list *list)
{
    struct cshm_list_shared *shared = list->shared;
    uint64_t place = atomic_load_explicit(&shared->pending_item, memory_order_relaxed);
    if (place != 0 && is_element(list, place)) {
        cshm__heap_link(list->region, place);
    } else if (place != 0) {
        bool is_filled = atomic_load_explicit(&shared->pending_hold, memory_order_relaxed) == place;
        (is_filled ? cshm__list_free_item : free_unfilled)(list, place);
    }
    atomic_store_explicit(&shared->pending_item, 0, memory_order_release);
    atomic_store_explicit(&shared->pending_hold, 0, memory_order_release);
}

/* An element's value may be new, and its generation old. */
static void settle_old(struct cshm_list *list)
{
    struct cshm_list_shared *shared = list->shared;
    uint64_t place = atomic_load_explicit(&shared->pending_old, memory_order_relaxed);
    if (place != 0 && is_element(list, place)) {
        struct cshm_item *item = cshm_heap_pointer(list->region, place, sizeof *item);
        uint64_t generation = atomic_load_explicit(&shared->generation, memory_order_relaxed) + 1;
        atomic_store_explicit(&shared->generation, generation, memory_order_relaxed);
        if (item != NULL) {
            cshm__item_renew(item, generation);
        }
    } else if (place != 0) {
        cshm__list_free_item(list, place);
    }
    atomic_store_explicit(&shared->pending_old, 0, memory_order_release);
}

void cshm__list_recover(struct cshm_list *list)
{
    struct cshm_list_shared *shared = list->shared;
    cshm__list_settle_fresh(list);
    uint64_t body = atomic_load_explicit(&shared->pending_body, memory_order_relaxed);
    if (body != 0 &&
        body != cshm__body_place(atomic_load_explicit(&shared->body, memory_order_relaxed))) {
        free_body(list, body);
    } else if (body != 0) {
        cshm__heap_link(list->region, body);
    }
    atomic_store_explicit(&shared->pending_body, 0, memory_order_release);
    cshm__list_settle_body(list);
    settle_item(list);
    settle_old(list);
    cshm__list_changed(list);
}
