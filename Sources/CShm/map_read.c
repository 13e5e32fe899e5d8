/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Finding a key, with its shard's lock or without, and reading its value without. Pairs: see map.c.
 *
 * A short key in a table that has nests takes two lines, a word of hints and a nest, and no entry. For a
 * nest that is not held, of the table that the shard names, is named by its entry: it is held when it is
 * filled, until it is named, and again before it is unnamed. So [check] is made with the nest's state, all
 * of it, in the entry's place. Hints of 8 bits are wrong for one key in a hundred or two: nearly always the
 * CPU foretells each jump, and goes on with what the caller does next while the nest is on its way.
 */
#include <errno.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "map_view.h"

/* ---- hashing: products of 64 by 64 bits folded to 64, keyed so that keys cannot be chosen to
 * collide by who does not know the key ---- */

__attribute__((always_inline)) static inline uint64_t hash_begin(const struct cshm_map *map,
                                                                 uint64_t length)
{
    return map->seed[0] ^ (length * 0x9e3779b97f4a7c15ull);
}

__attribute__((always_inline)) static inline uint64_t
hash_end(const struct cshm_map *map, uint64_t state, struct short_key tail)
{
    state = cshm__fold(tail.word[0] ^ map->seed[1], tail.word[1] ^ state);
    return cshm__fold(state ^ map->seed[0], 0xa0761d6478bd642full ^ map->seed[1]);
}

uint64_t cshm__map_hash(const struct cshm_map *map, const void *key, uint64_t length)
{
    const uint8_t *bytes = key;
    uint64_t state = hash_begin(map, length);
    for (; length > 16; length -= 16, bytes += 16) {
        state =
            cshm__fold(cshm__word_of(bytes, 8) ^ map->seed[1], cshm__word_of(bytes + 8, 8) ^ state);
    }
    return hash_end(map, state, cshm__short_key(bytes, length));
}

/* ---- looking ---- */

/* Of a bucket's entries, a bit for each with that tag. What is found is a hint: whoever follows it loads the
 * entry anew. So four loads of two words each will do, of which the CPU splits none. */
#if defined(__SSE2__) && CSHM__HAS_EXCHANGE
__attribute__((always_inline)) static inline uint32_t
candidates(const struct cshm_map_bucket *bucket, uint64_t tag)
{
    const __m128i *pair = (const void *)bucket;
    const __m128i pattern = _mm_set1_epi32((int)tag);
    __m128 first = _mm_shuffle_ps(_mm_castsi128_ps(_mm_load_si128(pair)),
                                  _mm_castsi128_ps(_mm_load_si128(pair + 1)), 0xdd);
    __m128 second = _mm_shuffle_ps(_mm_castsi128_ps(_mm_load_si128(pair + 2)),
                                   _mm_castsi128_ps(_mm_load_si128(pair + 3)), 0xdd);
    __m128i low = _mm_cmpeq_epi32(_mm_srli_epi32(_mm_castps_si128(first), 20), pattern);
    __m128i high = _mm_cmpeq_epi32(_mm_srli_epi32(_mm_castps_si128(second), 20), pattern);
    uint32_t mask = (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(low)) |
                    (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(high)) << 4;
    return mask >> 1; /* the first word is no entry */
}
#else
static inline uint32_t candidates(const struct cshm_map_bucket *bucket, uint64_t tag)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < CSHM_MAP_ENTRIES; i++) {
        uint64_t word = atomic_load_explicit(&bucket->entry[i], memory_order_acquire);
        mask |= (uint32_t)(cshm__entry_tag(word) == tag) << i;
    }
    return mask;
}
#endif

/* @returns 1 if the entry has the key, 0 if not, -EPROTO if it names no item. */
static inline int examine(const struct cshm_map *map, _Atomic uint64_t *entry, uint64_t tag,
                          const void *key, uint64_t key_length, struct found *out)
{
    for (;;) {
        uint64_t word = atomic_load_explicit(entry, memory_order_acquire); /* [item] */
        struct item item;
        if (cshm__entry_tag(word) != tag) {
            return 0;
        }
        bool whole = cshm__item_load(map->region, cshm__entry_place(word), &item);
        if (whole && item.key_length == key_length && cshm__equals(item.key, key, key_length)) {
            *out = (struct found){entry, word, item};
            return 1;
        }
        /* Another key, or an item replaced and used again since the entry was read: look again. */
        if (atomic_load_explicit(entry, memory_order_relaxed) == word) { /* [check] */
            return whole ? 0 : -EPROTO;
        }
    }
}

static inline int find(const struct cshm_map *map, const struct table *table, uint64_t hash,
                       const void *key, uint64_t key_length, struct found *out)
{
    uint64_t tag = cshm__tag_of(hash);
    uint32_t steps = 0;
    struct cshm_map_bucket *bucket = cshm__bucket(table, cshm__home_of(table, hash));
    for (; bucket != NULL; bucket = cshm__next_bucket(table, bucket, &steps)) {
        for (uint32_t mask = candidates(bucket, tag); mask != 0; mask &= mask - 1) {
            int status =
                examine(map, &bucket->entry[__builtin_ctz(mask)], tag, key, key_length, out);
            if (status != 0) {
                return status;
            }
        }
    }
    return 0;
}

int cshm__map_find(const struct cshm_map *map, const struct table *table, uint64_t hash,
                   const void *key, uint64_t key_length, struct found *out)
{
    return find(map, table, hash, key, key_length, out);
}

/* Whether a table's word was checked by this process: see cshm__table_view(). */
static inline bool was_checked(const struct cshm_map *map, uint32_t shard, uint64_t word)
{
    return atomic_load_explicit(&map->checked[shard], memory_order_relaxed) == word;
}

static inline bool check_table(const struct cshm_map *map, uint32_t shard, uint64_t word,
                               struct table *out)
{
    if (was_checked(map, shard, word)) {
        *out = cshm__table_at(map, word);
        return true;
    }
    bool whole = cshm__table_view(map, word, out);
    if (whole) {
        atomic_store_explicit(&map->checked[shard], word, memory_order_relaxed);
    }
    return whole;
}

/* Finds a key without a lock. @returns 1, 0 or -EPROTO; a found item is to be looked at again. */
__attribute__((always_inline)) static inline int look(const struct cshm_map *map, uint64_t hash,
                                                      const void *key, uint64_t key_length,
                                                      uint64_t *word, struct found *found)
{
    uint32_t number = cshm__shard_of(map, hash);
    const struct cshm_map_shard *shard = &map->shared->shard[number];
    for (;;) {
        struct table table;
        *word = atomic_load_explicit(&shard->table, memory_order_acquire); /* [table] */
        if (*word == 0) {
            return 0;
        }
        int status = check_table(map, number, *word, &table)
                         ? find(map, &table, hash, key, key_length, found)
                         : -EPROTO;
        if (status == 1 || cshm__table_is_current(shard, *word)) {
            return status;
        }
    }
}

/* ---- looking at nests ---- */

/* The first of a bucket's nests that has the hint; more than there are if none has. The byte that is not
 * used counts as one. */
__attribute__((always_inline)) static inline uint32_t hinted(const struct table *table,
                                                             uint64_t hash)
{
    const uint64_t ones = 0x0101010101010101ull;
    uint64_t hints = atomic_load_explicit(cshm__hints_of(table, cshm__home_of(table, hash)),
                                          memory_order_relaxed);
    uint64_t other = hints ^ cshm__hint_of(hash) * ones;
    uint64_t same = (other - ones) & ~other & (ones << 7);
    return (uint32_t)__builtin_ctzll(same | 1ull << 63) / 8;
}

/* The usual case of a short key in a table that has nests; NULL if one has to look again, for whatever reason. */
__attribute__((always_inline)) static inline struct cshm_item *
look_at_nest(const struct cshm_map *map, uint64_t word, uint64_t hash, struct short_key key,
             uint64_t key_length, uint64_t *state)
{
    struct table table = cshm__table_at(map, word);
    uint32_t entry = hinted(&table, hash);
    if (entry == CSHM_MAP_ENTRIES) {
        return NULL;
    }
    struct cshm_item *nest =
        cshm__nest_of(cshm__bucket(&table, cshm__home_of(&table, hash)), entry);
    *state = atomic_load_explicit(&nest->generation, memory_order_acquire); /* [check] */
    bool is_right = (*state & (CSHM__ITEM_KIND | CSHM__ITEM_HELD)) == cshm__item_kind(key_length) &&
                    cshm__has_short(nest->bytes, key);
    return is_right ? nest : NULL;
}

/* ---- reading ---- */

/* @param length  Holds the capacity before. */
__attribute__((noinline)) static int get(const struct cshm_map *map, uint64_t hash, const void *key,
                                         uint64_t key_length, void *buffer, uint64_t *length)
{
    const struct cshm_map_shard *shard = &map->shared->shard[cshm__shard_of(map, hash)];
    uint64_t capacity = *length;
    for (;;) {
        uint64_t word;
        struct found found;
        int status = look(map, hash, key, key_length, &word, &found);
        if (status != 1) {
            return status == 0 ? -ENOENT : status;
        }
        bool fits = found.item.length <= capacity;
        if (fits) {
            cshm__copy_out(buffer, found.item.value, found.item.length);
        }
        if (cshm__found_is_current(&found) && cshm__table_is_current(shard, word)) {
            *length = found.item.length;
            return fits ? 0 : -EMSGSIZE;
        }
    }
}

__attribute__((always_inline)) static inline bool
get_from_nest(const struct cshm_map *map, uint64_t table, uint64_t hash, struct short_key key,
              uint64_t key_length, void *buffer, uint64_t *length)
{
    uint64_t state;
    struct cshm_item *nest = look_at_nest(map, table, hash, key, key_length, &state);
    if (nest == NULL) {
        return false;
    }
    uint64_t value = atomic_load_explicit(&nest->word, memory_order_acquire); /* [check] */
    if (atomic_load_explicit(&nest->generation, memory_order_relaxed) != state) {
        return false;
    }
    memcpy(buffer, &value, 8);
    *length = 8;
    return true;
}

/* The first entry alone, and no word: false if one has to look again, for whatever reason. */
__attribute__((always_inline)) static inline bool
get_from_block(const struct cshm_map *map, uint64_t word, uint64_t hash, const void *key,
               uint64_t key_length, void *buffer, uint64_t *length)
{
    struct table table = cshm__table_at(map, word);
    struct cshm_map_bucket *bucket = cshm__bucket(&table, cshm__home_of(&table, hash));
    uint32_t mask = candidates(bucket, cshm__tag_of(hash));
    if (mask == 0) {
        return false;
    }
    _Atomic uint64_t *entry = &bucket->entry[__builtin_ctz(mask)];
    uint64_t seen = atomic_load_explicit(entry, memory_order_acquire); /* [item] */
    uint64_t place = cshm__entry_place(seen);
    uint64_t room = cshm__committed_from(map->region, place);
    struct cshm_item *item = (void *)(map->region->base + place);
    if (room < sizeof *item) {
        return false;
    }
    uint64_t state = atomic_load_explicit(&item->generation, memory_order_acquire); /* [check] */
    uint64_t lengths = atomic_load_explicit(&item->word, memory_order_acquire);
    uint64_t size = lengths & UINT32_MAX;
    if ((state & CSHM__ITEM_WORD) != 0 || lengths >> 32 != key_length || size > *length ||
        cshm__item_size(key_length, size) > room || !cshm__equals(item->bytes, key, key_length)) {
        return false;
    }
    cshm__copy_out(buffer, item->bytes + cshm__words_for(key_length), size);
    if (atomic_load_explicit(entry, memory_order_relaxed) != seen || /* [check] */
        atomic_load_explicit(&item->generation, memory_order_relaxed) != state) {
        return false;
    }
    *length = size;
    return true;
}

/* Of a short key. */
__attribute__((always_inline)) static inline int get_short(const struct cshm_map *map,
                                                           const void *key, uint64_t key_length,
                                                           void *buffer, uint64_t *length)
{
    struct short_key words = cshm__short_key(key, key_length);
    uint64_t hash = hash_end(map, hash_begin(map, key_length), words);
    uint32_t number = cshm__shard_of(map, hash);
    const struct cshm_map_shard *shard = &map->shared->shard[number];
    uint64_t table = atomic_load_explicit(&shard->table, memory_order_acquire); /* [table] */
    uint64_t capacity = *length;
    if (table != 0 && was_checked(map, number, table)) {
        bool done = cshm__table_has_nests(table)
                        ? get_from_nest(map, table, hash, words, key_length, buffer, length)
                        : get_from_block(map, table, hash, key, key_length, buffer, length);
        if (done && cshm__table_is_current(shard, table)) { /* [check] */
            return 0;
        }
    }
    *length = capacity;
    return get(map, hash, key, key_length, buffer, length);
}

int cshm_map_get(const cshm_map *map, const void *key, uint64_t key_length, void *buffer,
                 uint64_t capacity, uint64_t *length)
{
    *length = capacity;
    if (capacity >= 8 && key_length == 16) { /* so that the compiler knows it */
        return get_short(map, key, 16, buffer, length);
    }
    if (capacity >= 8 && key_length == 8) {
        return get_short(map, key, 8, buffer, length);
    }
    return get(map, cshm__map_hash(map, key, key_length), key, key_length, buffer, length);
}

/* ---- for who changes a word ---- */

/* The usual case again; false if one has to look again, for whatever reason. */
__attribute__((always_inline)) static inline bool
look_for_short(const struct cshm_map *map, uint64_t hash, struct short_key key, uint64_t key_length,
               struct word *out)
{
    uint32_t number = cshm__shard_of(map, hash);
    const struct cshm_map_shard *shard = &map->shared->shard[number];
    uint64_t table = atomic_load_explicit(&shard->table, memory_order_acquire); /* [table] */
    if (!cshm__table_has_nests(table) || !was_checked(map, number, table)) {
        return false;
    }
    out->shard = shard;
    out->item = look_at_nest(map, table, hash, key, key_length, &out->state);
    return out->item != NULL && cshm__table_is_current(shard, table);
}

__attribute__((noinline)) static bool look_for_word(const struct cshm_map *map, uint64_t hash,
                                                    const void *key, uint64_t key_length,
                                                    struct word *out)
{
    struct found found;
    uint64_t table;
    const struct cshm_map_shard *shard = &map->shared->shard[cshm__shard_of(map, hash)];
    while (look(map, hash, key, key_length, &table, &found) == 1) {
        if (cshm__found_is_current(&found) && cshm__table_is_current(shard, table)) {
            *out = (struct word){shard, found.item.shared, found.item.state};
            return found.item.length == 8;
        }
    }
    return false;
}

bool cshm__map_look_for_word(const struct cshm_map *map, const void *key, uint64_t key_length,
                             struct word *out)
{
    if (key_length <= CSHM__ITEM_KEY_SHORT) {
        struct short_key words = cshm__short_key(key, key_length);
        uint64_t hash = hash_end(map, hash_begin(map, key_length), words);
        return look_for_short(map, hash, words, key_length, out) ||
               look_for_word(map, hash, key, key_length, out);
    }
    return look_for_word(map, cshm__map_hash(map, key, key_length), key, key_length, out);
}

/* ---- versions ---- */

int cshm_map_version(const cshm_map *map, const void *key, uint64_t key_length, uint64_t *version)
{
    uint64_t hash = cshm__map_hash(map, key, key_length);
    const struct cshm_map_shard *shard = &map->shared->shard[cshm__shard_of(map, hash)];
    for (;;) {
        uint64_t word;
        struct found found;
        int status = look(map, hash, key, key_length, &word, &found);
        if (status != 1 ||
            (cshm__found_is_current(&found) && cshm__table_is_current(shard, word))) {
            if (status >= 0) {
                *version = status == 0 ? 0 : found.item.generation;
            }
            return status < 0 ? status : 0;
        }
    }
}
