/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What the list's files share. list.c has create, open and reading; list_change.c what is done
 * under the lock; list_recover.c what the next one mends.
 */
#ifndef CSHM_LIST_VIEW_H
#define CSHM_LIST_VIEW_H

#include <cshm/list.h>

#include "anchor_view.h"
#include "guard.h"
#include "item.h"

struct cshm_list {
    cshm_region *region;
    struct cshm_list_shared *shared;
    bool holds; /* elements name what they hold */
};

/* A body as checked: no slot of it is outside of committed memory. All zeroes: there is none. */
struct body {
    struct cshm_list_body *shared;
    uint64_t word;
    uint64_t state;
    uint32_t mask;
    uint32_t first;
    uint32_t count; /* never more than there are slots */
};

enum { CSHM__LIST_LOG2_MAX = 26 };

static inline uint64_t cshm__body_word(uint64_t generation, uint32_t log2, uint64_t place)
{
    return generation << 38 | (uint64_t)log2 << 33 | place >> 7;
}

static inline uint64_t cshm__body_place(uint64_t word)
{
    return (word & ((1ull << 33) - 1)) << 7;
}

static inline uint32_t cshm__body_log2(uint64_t word)
{
    return (uint32_t)(word >> 33) & 31;
}

static inline uint64_t cshm__body_size(uint32_t log2)
{
    return sizeof(struct cshm_list_body) + (8ull << log2);
}

static inline uint64_t cshm__slot_word(uint64_t generation, uint64_t place)
{
    return generation << 36 | place >> 4;
}

static inline uint64_t cshm__slot_place(uint64_t word)
{
    return (word & ((1ull << 36) - 1)) << 4;
}

static inline uint64_t cshm__list_state(uint32_t first, uint32_t count)
{
    return (uint64_t)first << 32 | count;
}

/* The body that a word names, in its present state. @returns false if it cannot be. */
static inline bool cshm__body_view(const cshm_region *region, uint64_t word, struct body *out)
{
    *out = (struct body){.word = word};
    if (word == 0) {
        return true;
    }
    uint32_t log2 = cshm__body_log2(word);
    out->shared = cshm__committed_pointer(region, cshm__body_place(word), cshm__body_size(log2));
    if (out->shared == NULL || log2 > CSHM__LIST_LOG2_MAX) {
        return false;
    }
    out->state = atomic_load_explicit(&out->shared->state, memory_order_acquire); /* [item] */
    out->mask = (1u << log2) - 1;
    out->first = (uint32_t)(out->state >> 32);
    out->count = (uint32_t)out->state;
    return out->count <= out->mask + 1;
}

static inline _Atomic uint64_t *cshm__slot(const struct body *body, uint64_t index)
{
    return &body->shared->slot[(body->first + index) & body->mask];
}

/* Whether the list still names the body: half of the second look. */
static inline bool cshm__body_is_current(const struct cshm_list *list, const struct body *body)
{
    return atomic_load_explicit(&list->shared->body, memory_order_relaxed) ==
           body->word; /* [check] */
}

/* ---- list_recover.c ---- */
/* What the last owner of the guard left; idempotent. */
void cshm__list_recover(struct cshm_list *list);
/* Frees what `old_body` names, if it is not the body any more, with what went with it. */
void cshm__list_settle_body(struct cshm_list *list);
/* Frees fresh items that did not become elements. */
void cshm__list_settle_fresh(struct cshm_list *list);
/* Frees an item that was filled, and lets go of what it holds. */
void cshm__list_free_item(struct cshm_list *list, uint64_t place);
void cshm__list_changed(struct cshm_list *list);

#endif /* CSHM_LIST_VIEW_H */
