/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * An item: the key and value of a map's entry, or a list's element, in a block of its own. It never
 * changes once a word names it, save that a value of one word may be stored anew. Readers hold
 * nothing back: what they look at may be somebody else's memory by now, so they look at the word that
 * named it once more, and take what they copied only if that still does. Pairs:
 *
 *   [item]   an item is filled, then a word names it (release) -> a reader loads the word (acquire),
 *            then the item
 *   [check]  the word is changed, the memory given back or used for another item, whose words are
 *            stored (release) -> a reader loads words (acquire), then looks at the word and at the
 *            item's generation once more
 *
 * Had any word that a reader loaded been the next owner's, then that owner's release store, and the
 * change of the naming word before it, happened before the second look, which therefore sees the change.
 * Hence every word of an item is an atomic, and no fence is needed: on x86 these are plain moves. An
 * owner of another kind may write by plain stores, which C11 does not order: there the argument is
 * the CPU's, which makes no store visible before an earlier acquire or release of the same core.
 *
 * All that a reader loads lies below the watermark, whatever the bytes say.
 */
#ifndef CSHM_ITEM_H
#define CSHM_ITEM_H

#include <string.h>

#include "heap_view.h"

#define CSHM__ITEM_MAX ((uint64_t)1 << 30) /* bytes of a key, and of a value */

/* An item as checked: what its lengths cover is committed memory. */
struct item {
    struct cshm_item *shared;
    uint64_t generation;
    uint64_t key_length;
    uint64_t length;
};

static inline uint64_t cshm__words_for(uint64_t bytes)
{
    return (bytes + 7) / 8;
}

static inline uint64_t cshm__item_size(uint64_t key_length, uint64_t length)
{
    return sizeof(struct cshm_item) + (cshm__words_for(key_length) + cshm__words_for(length)) * 8;
}

/* @returns where committed memory is, or NULL if [place, place + size) is not all within it. */
static inline void *cshm__committed_pointer(const cshm_region *region, uint64_t place,
                                            uint64_t size)
{
    uint64_t first = region->header.heap_offset;
    uint64_t end = committed(region) * CSHM_SPAN;
    return place >= first && place - first <= end && size <= end - (place - first)
               ? region->base + place
               : NULL;
}

/* Whole words: see [check]. `to` has room for `length` bytes. */
static inline void cshm__copy_out(void *to, const _Atomic uint64_t *from, uint64_t length)
{
    uint8_t *bytes = to;
    uint64_t i = 0;
    for (; i + 8 <= length; i += 8) {
        uint64_t word = atomic_load_explicit(from + i / 8, memory_order_acquire); /* [check] */
        memcpy(bytes + i, &word, 8);
    }
    if (i < length) {
        uint64_t word = atomic_load_explicit(from + i / 8, memory_order_acquire); /* [check] */
        memcpy(bytes + i, &word, length - i);
    }
}

static inline uint64_t cshm__word_of(const uint8_t *bytes, uint64_t length)
{
    uint64_t word = 0;
    memcpy(&word, bytes, length);
    return word;
}

static inline void cshm__copy_in(_Atomic uint64_t *to, const void *from, uint64_t length)
{
    const uint8_t *bytes = from;
    uint64_t i = 0;
    for (; i + 8 <= length; i += 8) {
        atomic_store_explicit(to + i / 8, cshm__word_of(bytes + i, 8),
                              memory_order_release); /* [check] */
    }
    if (i < length) {
        atomic_store_explicit(to + i / 8, cshm__word_of(bytes + i, length - i),
                              memory_order_release); /* [check] */
    }
}

static inline bool cshm__equals(const _Atomic uint64_t *words, const void *key, uint64_t length)
{
    const uint8_t *bytes = key;
    uint64_t i = 0;
    for (; i + 8 <= length; i += 8) {
        if (atomic_load_explicit(words + i / 8, memory_order_acquire) != /* [check] */
            cshm__word_of(bytes + i, 8)) {
            return false;
        }
    }
    return i == length || atomic_load_explicit(words + i / 8, memory_order_acquire) ==
                              cshm__word_of(bytes + i, length - i);
}

/* The item at a place; false if what its lengths say cannot be. */
static inline bool cshm__item_load(const cshm_region *region, uint64_t place, struct item *out)
{
    struct cshm_item *item = cshm__committed_pointer(region, place, sizeof *item);
    if (item == NULL) {
        return false;
    }
    /* The generation before the rest, as it is looked at again: [check] */
    uint64_t generation = atomic_load_explicit(&item->generation, memory_order_acquire);
    uint64_t lengths = atomic_load_explicit(&item->lengths, memory_order_acquire);
    *out = (struct item){item, generation, lengths >> 32, lengths & UINT32_MAX};
    return out->key_length <= CSHM__ITEM_MAX && out->length <= CSHM__ITEM_MAX &&
           cshm__committed_pointer(region, place, cshm__item_size(out->key_length, out->length)) !=
               NULL;
}

static inline _Atomic uint64_t *cshm__item_value(const struct item *item)
{
    return item->shared->bytes + cshm__words_for(item->key_length);
}

/* Whether the item is the one that was loaded: half of the second look. */
static inline bool cshm__item_is_current(const struct item *item)
{
    return atomic_load_explicit(&item->shared->generation, memory_order_relaxed) ==
           item->generation; /* [check] */
}

/* Fills an item that no word names. */
static inline void cshm__item_fill(struct cshm_item *item, uint64_t generation, const void *key,
                                   uint64_t key_length, const void *value, uint64_t length)
{
    atomic_store_explicit(&item->generation, generation, memory_order_release); /* [check] */
    atomic_store_explicit(&item->lengths, key_length << 32 | length, memory_order_release);
    cshm__copy_in(item->bytes, key, key_length);
    cshm__copy_in(item->bytes + cshm__words_for(key_length), value, length);
}

/* Allocates a block that `pending` names, and whose holder it is from then on. @returns 0, -ENOSPC,
 * -EPROTO. */
int cshm__pending_allocate(cshm_region *region, _Atomic uint64_t *pending, uint64_t size,
                           uint64_t *place, void **out);

#endif /* CSHM_ITEM_H */
