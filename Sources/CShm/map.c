/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/map.h for the model, map_view.h for the other files. Pairs: those of item.h, where the
 * naming word is an entry, and
 *
 *   [table]  a writer fills a table, then stores the shard's word (release) -> a reader loads it
 *            (acquire) before it looks at the table
 *   [watch]  a writer stores what it changed, then looks at the parking word -> who watches announces
 *            itself, then looks at the version
 *
 * For a table's words [check] holds as for an item's: the second look is at the shard's word.
 */
#include <errno.h>
#include <stdlib.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "map_view.h"

enum {
    MAGIC = 0x6d617061, /* "mapa" */
    DEFAULT_SHARDS = 64,
};

/* ---- hashing: products of 64 by 64 bits folded to 64, keyed so that keys cannot be chosen to
 * collide by who does not know the key ---- */

static uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

__attribute__((always_inline)) static inline uint64_t hash_of(const struct cshm_map *map,
                                                              const void *key, uint64_t length)
{
    const uint8_t *bytes = key;
    uint64_t state = map->seed[0] ^ (length * 0x9e3779b97f4a7c15ull);
    uint64_t a = 0;
    uint64_t b = 0;
    uint64_t left = length;
    for (; left > 16; left -= 16, bytes += 16) {
        state = fold(cshm__word_of(bytes, 8) ^ map->seed[1], cshm__word_of(bytes + 8, 8) ^ state);
    }
    if (left == 16) {
        a = cshm__word_of(bytes, 8);
        b = cshm__word_of(bytes + 8, 8);
    } else if (left >= 8) {
        a = cshm__word_of(bytes, 8);
        b = cshm__word_of(bytes + left - 8, 8);
    } else if (left > 0) {
        a = cshm__word_of(bytes, left);
    }
    state = fold(a ^ map->seed[1], b ^ state);
    return fold(state ^ map->seed[0], 0xa0761d6478bd642full ^ map->seed[1]);
}

uint64_t cshm__map_hash(const struct cshm_map *map, const void *key, uint64_t length)
{
    return hash_of(map, key, length);
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

/* Whether an item in a nest, which is as long as that, has the key: it is small, and so is the key. */
__attribute__((always_inline)) static inline bool nest_has(const struct cshm_item *nest,
                                                           const void *key, uint64_t key_length)
{
    const uint8_t *bytes = key;
    if (key_length == 16) {
        return atomic_load_explicit(&nest->bytes[0], memory_order_acquire) == /* [check] */
                   cshm__word_of(bytes, 8) &&
               atomic_load_explicit(&nest->bytes[1], memory_order_acquire) ==
                   cshm__word_of(bytes + 8, 8);
    }
    return cshm__equals(nest->bytes, key, key_length);
}

/* Looks at the first entry alone that may have the key, if its item is in its nest. @returns whether it has;
 * the key may be elsewhere otherwise. */
__attribute__((always_inline)) static inline bool
find_in_nest(const struct cshm_map *map, const struct table *table, uint64_t hash, const void *key,
             uint64_t key_length, struct found *out)
{
    struct cshm_map_bucket *bucket = cshm__bucket(table, cshm__home_of(table, hash));
    __builtin_prefetch(cshm__nest_of(bucket, cshm__favourite_of(hash)));
    uint32_t mask = candidates(bucket, cshm__tag_of(hash));
    if (mask == 0) {
        return false;
    }
    uint32_t number = (uint32_t)__builtin_ctz(mask);
    _Atomic uint64_t *entry = &bucket->entry[number];
    struct cshm_item *nest = cshm__nest_of(bucket, number);
    uint64_t place = (uint64_t)((uint8_t *)nest - map->region->base);
    uint64_t word = atomic_load_explicit(entry, memory_order_acquire); /* [item] */
    if (!cshm__entry_names(word, cshm__tag_of(hash), place)) {
        return false;
    }
    uint64_t state = atomic_load_explicit(&nest->generation, memory_order_acquire);
    if ((state & CSHM__ITEM_KIND) != cshm__item_kind(key_length) ||
        !nest_has(nest, key, key_length)) {
        return false;
    }
    *out = (struct found){
        entry,
        word,
        {nest, state, state >> CSHM__ITEM_SHIFT, key_length, 8, nest->bytes, &nest->word}};
    return true;
}

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
    if (table->has_nests && key_length <= CSHM__ITEM_KEY_SHORT &&
        find_in_nest(map, table, hash, key, key_length, out)) {
        return 1;
    }
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

/* That a table's word was checked. */
static inline void remember(const struct cshm_map *map, const struct cshm_map_shard *shard,
                            uint64_t word)
{
    _Atomic uint64_t *checked = &map->checked[shard - map->shared->shard];
    if (atomic_load_explicit(checked, memory_order_relaxed) != word) {
        atomic_store_explicit(checked, word, memory_order_relaxed);
    }
}

/* Finds a key without a lock. @returns 1, 0 or -EPROTO; a found item is to be looked at again. */
static inline int look(const struct cshm_map *map, const struct cshm_map_shard *shard,
                       uint64_t hash, const void *key, uint64_t key_length, uint64_t *word,
                       struct found *found)
{
    for (;;) {
        struct table table;
        *word = atomic_load_explicit(&shard->table, memory_order_acquire); /* [table] */
        if (*word == 0) {
            return 0;
        }
        bool whole = cshm__table_view(map, *word, &table);
        int status = whole ? find(map, &table, hash, key, key_length, found) : -EPROTO;
        if (whole) {
            remember(map, shard, *word);
        }
        if (status == 1 || cshm__table_is_current(shard, *word)) {
            return status;
        }
    }
}

int cshm__map_look(const struct cshm_map *map, uint64_t hash, const void *key, uint64_t key_length,
                   struct found *out)
{
    uint64_t word;
    return look(map, &map->shared->shard[cshm__shard_of(map, hash)], hash, key, key_length, &word,
                out);
}

/* The usual case of cshm_map_get(), at one look; false if it has to look again, for whatever reason. */
__attribute__((always_inline)) static inline bool get_from_nest(const struct cshm_map *map,
                                                                uint64_t hash, const void *key,
                                                                uint64_t key_length, void *buffer)
{
    uint32_t number = cshm__shard_of(map, hash);
    const struct cshm_map_shard *shard = &map->shared->shard[number];
    uint64_t word = atomic_load_explicit(&shard->table, memory_order_acquire); /* [table] */
    struct table table = cshm__table_at(map, word);
    struct found found;
    if (!cshm__table_has_nests(word) ||
        word != atomic_load_explicit(&map->checked[number], memory_order_relaxed) ||
        !find_in_nest(map, &table, hash, key, key_length, &found)) {
        return false;
    }
    uint64_t value = atomic_load_explicit(found.item.value, memory_order_acquire); /* [check] */
    if (!cshm__found_is_current(&found) || !cshm__table_is_current(shard, word)) {
        return false;
    }
    memcpy(buffer, &value, 8);
    return true;
}

__attribute__((noinline)) static int get(const struct cshm_map *map, uint64_t hash, const void *key,
                                         uint64_t key_length, void *buffer, uint64_t capacity,
                                         uint64_t *length)
{
    const struct cshm_map_shard *shard = &map->shared->shard[cshm__shard_of(map, hash)];
    for (;;) {
        uint64_t word;
        struct found found;
        int status = look(map, shard, hash, key, key_length, &word, &found);
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

int cshm_map_get(const cshm_map *map, const void *key, uint64_t key_length, void *buffer,
                 uint64_t capacity, uint64_t *length)
{
    uint64_t hash = hash_of(map, key, key_length);
    if (key_length <= CSHM__ITEM_KEY_SHORT && capacity >= 8 &&
        get_from_nest(map, hash, key, key_length, buffer)) {
        *length = 8;
        return 0;
    }
    return get(map, hash, key, key_length, buffer, capacity, length);
}

int cshm_map_version(const cshm_map *map, const void *key, uint64_t key_length, uint64_t *version)
{
    uint64_t hash = cshm__map_hash(map, key, key_length);
    const struct cshm_map_shard *shard = &map->shared->shard[cshm__shard_of(map, hash)];
    for (;;) {
        uint64_t word;
        struct found found;
        int status = look(map, shard, hash, key, key_length, &word, &found);
        if (status != 1 ||
            (cshm__found_is_current(&found) && cshm__table_is_current(shard, word))) {
            if (status >= 0) {
                *version = status == 0 ? 0 : found.item.generation;
            }
            return status < 0 ? status : 0;
        }
    }
}

uint64_t cshm_map_count(const cshm_map *map)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < map->shards; i++) {
        count += atomic_load_explicit(&map->shared->shard[i].count, memory_order_relaxed);
    }
    return count;
}

/* ---- watching ---- */

uint64_t cshm_map_changes(const cshm_map *map)
{
    uint64_t changes = 0;
    for (uint32_t i = 0; i < map->shards; i++) {
        changes += atomic_load_explicit(&map->shared->shard[i].changes, memory_order_acquire);
    }
    for (uint32_t i = 0; i < CSHM_MAP_STRIPES; i++) {
        changes += atomic_load_explicit(&map->shared->stripe[i].changes, memory_order_acquire);
    }
    return changes;
}

static int has_changed(const void *object)
{
    const struct cshm_map_watch *watch = object;
    uint64_t version = 0;
    if (watch->key == NULL) {
        version = cshm_map_changes(watch->map);
    } else if (cshm_map_version(watch->map, watch->key, watch->key_length, &version) != 0) {
        return 1; /* damaged: whoever reads is told */
    }
    return version != watch->version;
}

static int attempt_watch(void *context)
{
    return has_changed(context) ? 0 : -EAGAIN;
}

int cshm_map_wait_until(const struct cshm_map_watch *watch, int64_t deadline_ns)
{
    struct cshm_map_watch copy = *watch;
    return cshm__await(&watch->map->shared->changes.park, attempt_watch, &copy, deadline_ns);
}

void cshm_map_waitable(const struct cshm_map_watch *watch, struct cshm_waitable *out)
{
    *out = cshm__at_park(&watch->map->shared->changes.park, has_changed, watch);
}

/* ---- create, open ---- */

int cshm_map_create(cshm_region *region, const struct cshm_map_options *options, uint64_t *offset)
{
    uint32_t shards = options == NULL || options->shards == 0 ? DEFAULT_SHARDS : options->shards;
    uint64_t size = sizeof(struct cshm_map_shared) + shards * sizeof(struct cshm_map_shard);
    uint64_t place = 0;
    if ((shards & (shards - 1)) != 0 || shards > CSHM_MAP_SHARDS_MAX) {
        return -EINVAL;
    }
    int status = cshm_heap_allocate(region, size, &place);
    if (status != 0) {
        return status;
    }
    struct cshm_map_shared *shared = cshm_heap_pointer(region, place, size);
    if (shared == NULL) {
        return -EPROTO;
    }
    memset((void *)shared, 0, size);
    status = cshm__random(shared->seed, sizeof shared->seed);
    if (status != 0) {
        (void)cshm_heap_free(region, place);
        return status;
    }
    for (uint32_t i = 0; i < shards; i++) {
        /* Far from every other shard's, of whatever map: see map_word.c. */
        shared->shard[i].generation = fold(shared->seed[0] ^ i, shared->seed[1] | 1) >> 8;
    }
    shared->shards = shards;
    shared->type_tag = options == NULL ? 0 : options->type_tag;
    shared->holds = options != NULL && options->holds != 0;
    shared->magic = MAGIC;
    *offset = place;
    return 0;
}

/* A view of the map that lies there, of whatever type. */
static bool view(cshm_region *region, uint64_t offset, struct cshm_map *out)
{
    struct cshm_map_shared *shared =
        cshm_heap_pointer(region, offset, sizeof(struct cshm_map_shared));
    if (shared == NULL || shared->magic != MAGIC) {
        return false;
    }
    uint32_t shards = shared->shards;
    if (shards == 0 || (shards & (shards - 1)) != 0 || shards > CSHM_MAP_SHARDS_MAX ||
        cshm_heap_pointer(region, offset,
                          sizeof *shared + shards * sizeof(struct cshm_map_shard)) == NULL) {
        return false;
    }
    *out = (struct cshm_map){.region = region,
                             .shared = shared,
                             .seed = {shared->seed[0], shared->seed[1]},
                             .shards = shards,
                             .shift = 32 - (uint32_t)__builtin_ctz(shards),
                             .can_exchange = cshm__can_exchange(),
                             .holds = shared->holds != 0};
    return true;
}

int cshm_map_open(cshm_region *region, uint64_t offset, uint64_t type_tag, cshm_map **out)
{
    struct cshm_map found;
    if (!view(region, offset, &found) || found.shared->type_tag != type_tag) {
        return -EPROTO;
    }
    uint64_t shards = found.shards;
    cshm_map *map = calloc(1, sizeof *map + shards * sizeof map->checked[0]);
    if (map == NULL) {
        return -ENOMEM;
    }
    *map = found;
    map->checked = (void *)(map + 1);
    *out = map;
    return 0;
}

void cshm_map_close(cshm_map *map)
{
    free(map);
}

static void empty(struct cshm_map *map)
{
    for (uint32_t i = 0; i < map->shards; i++) {
        cshm__map_recover(map, &map->shared->shard[i]);
        cshm__map_empty(map, &map->shared->shard[i]);
    }
}

void cshm__map_end(cshm_region *region, uint64_t offset)
{
    struct cshm_map map;
    if (view(region, offset, &map)) {
        empty(&map);
    }
}

void cshm_map_destroy(cshm_map *map)
{
    empty(map);
    (void)cshm_heap_free(map->region, cshm_heap_offset(map->region, map->shared));
    cshm__anchor_end_all(map->region);
    free(map);
}
