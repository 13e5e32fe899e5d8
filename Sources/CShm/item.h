/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * An item: the key and value of a map's entry, or a list's element, in a block of its own. It never
 * changes once a word names it, save that a value of one word may be stored anew; such a one lies
 * beside the item's generation, so that both can change at once (cshm__item_exchange()). Readers hold
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

/* Whether what is in ThreadSanitizer's place is to see every access, assembly or not. */
#ifndef CSHM__SEES_THREADS
#define CSHM__SEES_THREADS 0
#endif

/* ThreadSanitizer itself sees no assembly, and its own exchange of 16 bytes takes a lock that other
 * processes do not know. */
#if defined(__SANITIZE_THREAD__)
#define CSHM__HAS_EXCHANGE 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CSHM__HAS_EXCHANGE 0
#endif
#endif
#ifndef CSHM__HAS_EXCHANGE
#define CSHM__HAS_EXCHANGE 1
#endif

#define CSHM__ITEM_MAX ((uint64_t)1 << 30) /* bytes of a key, and of a value */

/* Of cshm_item.generation, below its number. */
enum {
    CSHM__ITEM_WORD = 1,       /* the value is a word, and lies beside the generation */
    CSHM__ITEM_HELD = 2,       /* only who has the lock changes it; readers do not mind */
    CSHM__ITEM_KEY_SHIFT = 2,  /* of the key's length, if the value is a word: 5 bits */
    CSHM__ITEM_KEY_SHORT = 16, /* bytes of a key whose length is there */
    CSHM__ITEM_KEY_LONG = 31,  /* instead of a length: it lies before the key */
    CSHM__ITEM_SHIFT = 7,
};

/* An item as checked: what its lengths cover is committed memory. */
struct item {
    struct cshm_item *shared;
    uint64_t state;      /* generation, flags and all, as it was loaded */
    uint64_t generation; /* its number, which is what users see */
    uint64_t key_length;
    uint64_t length;
    _Atomic uint64_t *key;
    _Atomic uint64_t *value;
};

static inline uint64_t cshm__words_for(uint64_t bytes)
{
    return (bytes + 7) / 8;
}

/* Whether a value is a word, and a key short enough for a nest. */
static inline bool cshm__item_is_small(uint64_t key_length, uint64_t length)
{
    return length == 8 && key_length <= CSHM__ITEM_KEY_SHORT;
}

static inline bool cshm__is_small(const struct item *item)
{
    return cshm__item_is_small(item->key_length, item->length);
}

static inline uint64_t cshm__item_size(uint64_t key_length, uint64_t length)
{
    return sizeof(struct cshm_item) +
           (cshm__item_is_small(key_length, length)
                ? CSHM__ITEM_KEY_SHORT
                : (cshm__words_for(key_length) + cshm__words_for(length)) * 8);
}

/* What a state says of a small item with such a key; other bits than CSHM__ITEM_KIND are not looked at. */
static inline uint64_t cshm__item_kind(uint64_t key_length)
{
    return key_length << CSHM__ITEM_KEY_SHIFT | CSHM__ITEM_WORD;
}

#define CSHM__ITEM_KIND ((uint64_t)31 << CSHM__ITEM_KEY_SHIFT | CSHM__ITEM_WORD)

/* @returns how much committed memory there is from a place on. */
static inline uint64_t cshm__committed_from(const cshm_region *region, uint64_t place)
{
    uint64_t beyond = place - region->header.heap_offset;
    uint64_t size = committed(region) * CSHM_SPAN;
    return beyond <= size ? size - beyond : 0;
}

/* @returns where committed memory is, or NULL if [place, place + size) is not all within it. */
static inline void *cshm__committed_pointer(const cshm_region *region, uint64_t place,
                                            uint64_t size)
{
    return size <= cshm__committed_from(region, place) ? region->base + place : NULL;
}

/* Whole words: see [check]. `to` has room for `length` bytes. */
static inline void cshm__copy_out(void *to, const _Atomic uint64_t *from, uint64_t length)
{
    uint8_t *bytes = to;
    uint64_t i = 0;
    for (; i + 32 <= length; i += 32) {
        uint64_t words[4];
        words[0] = atomic_load_explicit(from + i / 8, memory_order_acquire); /* [check] */
        words[1] = atomic_load_explicit(from + i / 8 + 1, memory_order_acquire);
        words[2] = atomic_load_explicit(from + i / 8 + 2, memory_order_acquire);
        words[3] = atomic_load_explicit(from + i / 8 + 3, memory_order_acquire);
        memcpy(bytes + i, words, 32);
    }
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

/* A key of at most CSHM__ITEM_KEY_SHORT bytes as two words, and zeroes after it. */
struct short_key {
    uint64_t word[2];
};

__attribute__((always_inline)) static inline struct short_key cshm__short_key(const void *key,
                                                                              uint64_t length)
{
    const uint8_t *bytes = key;
    if (length == 16) {
        return (struct short_key){{cshm__word_of(bytes, 8), cshm__word_of(bytes + 8, 8)}};
    }
    if (length > 8) {
        return (struct short_key){
            {cshm__word_of(bytes, 8), cshm__word_of(bytes + length - 8, 8) >> (16 - length) * 8}};
    }
    if (length == 8) {
        return (struct short_key){{cshm__word_of(bytes, 8), 0}};
    }
    /* A key of no bytes may be nowhere. */
    return (struct short_key){{length == 0 ? 0 : cshm__word_of(bytes, length), 0}};
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
    if (length == 16) {
        return atomic_load_explicit(words, memory_order_acquire) == /* [check] */
                   cshm__word_of(bytes, 8) &&
               atomic_load_explicit(words + 1, memory_order_acquire) == cshm__word_of(bytes + 8, 8);
    }
    for (; i + 8 <= length; i += 8) {
        if (atomic_load_explicit(words + i / 8, memory_order_acquire) != /* [check] */
            cshm__word_of(bytes + i, 8)) {
            return false;
        }
    }
    return i == length || atomic_load_explicit(words + i / 8, memory_order_acquire) ==
                              cshm__word_of(bytes + i, length - i);
}

/* The same of a short key that is as long as the item's. */
static inline bool cshm__has_short(const _Atomic uint64_t *words, struct short_key key)
{
    return atomic_load_explicit(words, memory_order_acquire) == key.word[0] && /* [check] */
           atomic_load_explicit(words + 1, memory_order_acquire) == key.word[1];
}

/* Of an item whose value is a word: see CSHM__ITEM_WORD. */
static inline bool cshm__item_load_word(const cshm_region *region, uint64_t place,
                                        struct cshm_item *item, uint64_t state, struct item *out)
{
    uint64_t key_length = (state & CSHM__ITEM_KIND) >> CSHM__ITEM_KEY_SHIFT;
    _Atomic uint64_t *key = item->bytes;
    if (key_length > CSHM__ITEM_KEY_SHORT) {
        if (cshm__committed_pointer(region, place, sizeof *item + sizeof *key) == NULL) {
            return false;
        }
        key_length = atomic_load_explicit(key++, memory_order_acquire); /* [check] */
    }
    *out = (struct item){item, state, state >> CSHM__ITEM_SHIFT, key_length, 8, key, &item->word};
    return key_length <= CSHM__ITEM_MAX &&
           cshm__committed_pointer(region, place, cshm__item_size(key_length, 8)) != NULL;
}

/* The item at a place; false if what its lengths say cannot be. */
static inline bool cshm__item_load(const cshm_region *region, uint64_t place, struct item *out)
{
    struct cshm_item *item = cshm__committed_pointer(region, place, sizeof *item);
    if (item == NULL) {
        return false;
    }
    /* The generation before the rest, as it is looked at again: [check] */
    uint64_t state = atomic_load_explicit(&item->generation, memory_order_acquire);
    if ((state & CSHM__ITEM_WORD) != 0) {
        return cshm__item_load_word(region, place, item, state, out);
    }
    uint64_t lengths = atomic_load_explicit(&item->word, memory_order_acquire);
    uint64_t key_length = lengths >> 32;
    uint64_t length = lengths & UINT32_MAX;
    *out = (struct item){item,
                         state,
                         state >> CSHM__ITEM_SHIFT,
                         key_length,
                         length,
                         item->bytes,
                         item->bytes + cshm__words_for(key_length)};
    return key_length <= CSHM__ITEM_MAX && length <= CSHM__ITEM_MAX &&
           cshm__committed_pointer(region, place, cshm__item_size(key_length, length)) != NULL;
}

/* Whether the item is the one that was loaded: half of the second look. */
static inline bool cshm__item_is_current(const struct item *item)
{
    return atomic_load_explicit(&item->shared->generation, memory_order_relaxed) >>
               CSHM__ITEM_SHIFT ==
           item->generation; /* [check] */
}

/* Fills a small item, which is held or not. */
static inline void cshm__item_fill_small(struct cshm_item *item, uint64_t generation,
                                         const void *key, uint64_t key_length, const void *value,
                                         bool held)
{
    struct short_key words = cshm__short_key(key, key_length);
    uint64_t flags = cshm__item_kind(key_length) | (held ? CSHM__ITEM_HELD : 0);
    atomic_store_explicit(&item->generation, generation << CSHM__ITEM_SHIFT | flags,
                          memory_order_release); /* [check] */
    atomic_store_explicit(&item->word, cshm__word_of(value, 8), memory_order_release);
    atomic_store_explicit(&item->bytes[0], words.word[0], memory_order_release);
    atomic_store_explicit(&item->bytes[1], words.word[1], memory_order_release);
}

/* Fills an item that no word names. */
static inline void cshm__item_fill(struct cshm_item *item, uint64_t generation, const void *key,
                                   uint64_t key_length, const void *value, uint64_t length)
{
    if (cshm__item_is_small(key_length, length)) {
        cshm__item_fill_small(item, generation, key, key_length, value, false);
        return;
    }
    uint64_t kind = length == 8 ? cshm__item_kind(CSHM__ITEM_KEY_LONG) : 0;
    atomic_store_explicit(&item->generation, generation << CSHM__ITEM_SHIFT | kind,
                          memory_order_release); /* [check] */
    if (length == 8) {
        atomic_store_explicit(&item->word, cshm__word_of(value, 8), memory_order_release);
        atomic_store_explicit(&item->bytes[0], key_length, memory_order_release);
        cshm__copy_in(item->bytes + 1, key, key_length);
        return;
    }
    atomic_store_explicit(&item->word, key_length << 32 | length, memory_order_release);
    cshm__copy_in(item->bytes, key, key_length);
    cshm__copy_in(item->bytes + cshm__words_for(key_length), value, length);
}

/* Gives an item another generation; what the word says beside it stays. */
static inline void cshm__item_renew(struct cshm_item *item, uint64_t generation)
{
    uint64_t flags = atomic_load_explicit(&item->generation, memory_order_relaxed) &
                     (CSHM__ITEM_KIND | CSHM__ITEM_HELD);
    atomic_store_explicit(&item->generation, generation << CSHM__ITEM_SHIFT | flags,
                          memory_order_release); /* [check] */
}

/* Whether cshm__item_exchange() is there. */
bool cshm__can_exchange(void);

/* Changes an item's value, a word, and its generation at once, if they are as they were. Seq_cst. */
static inline bool cshm__item_exchange(struct cshm_item *item, uint64_t state, uint64_t value,
                                       uint64_t new_state, uint64_t new_value)
{
#if defined(__x86_64__) && CSHM__SEES_THREADS
    __extension__ typedef __int128 pair;
    extern pair __tsan_atomic128_compare_exchange_val(volatile pair *, pair, pair, int, int);
    __extension__ typedef unsigned __int128 both;
    pair from = (pair)((both)value << 64 | state);
    pair to = (pair)((both)new_value << 64 | new_state);
    return __tsan_atomic128_compare_exchange_val((volatile pair *)(void *)item, from, to,
                                                 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) == from;
#elif defined(__x86_64__)
    bool done;
    __asm__ volatile("lock cmpxchg16b %[item]"
                     : [item] "+m"(*(struct { uint64_t word[2]; } *)(void *)item), "=@ccz"(done),
                       "+a"(state), "+d"(value)
                     : "b"(new_state), "c"(new_value)
                     : "memory");
    return done;
#else
    (void)item, (void)state, (void)value, (void)new_state, (void)new_value;
    return false;
#endif
}

/* Allocates a block that `pending` names, and whose holder it is from then on. @returns 0, -ENOSPC,
 * -EPROTO. */
int cshm__pending_allocate(cshm_region *region, _Atomic uint64_t *pending, uint64_t size,
                           uint64_t *place, void **out);

#endif /* CSHM_ITEM_H */
