/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What the map's files share. map.c has create, open and watching; map_read.c
 * finding and reading; map_shard.c what a shard's lock
 * guards, and its recovery; map_table.c tables; map_change.c what changes one key; map_word.c what
 * changes a value of one word without the lock;
 * map_transaction.c what changes several; map_walk.c what goes through all of them.
 */
#ifndef CSHM_MAP_VIEW_H
#define CSHM_MAP_VIEW_H

#include <cshm/map.h>

#include "anchor_view.h"
#include "guard.h"
#include "item.h"

struct cshm_map {
    cshm_region *region;
    struct cshm_map_shared *shared;
    uint64_t seed[2];
    uint32_t shards;
    uint32_t shift;    /* from a hash's upper half to its shard */
    bool can_exchange; /* words need no lock to be changed */
    bool holds;        /* values name what they hold */
    /* For each shard the word of a table that was checked: it stays within mapped memory. */
    _Atomic uint64_t *checked;
};

/* A table as checked: nothing read through it leaves committed memory. */
struct table {
    struct cshm_map_table *shared;
    char *first; /* of its buckets */
    uint32_t mask;
    uint32_t buckets;
    bool has_nests;
};

/* Where a key was found. */
struct found {
    _Atomic uint64_t *entry;
    uint64_t word;
    struct item item;
};

/* An item with a value of one word, as it was when its entry named it. */
struct word {
    const struct cshm_map_shard *shard;
    struct cshm_item *item;
    uint64_t state;
};

/* A key that needs an entry. */
struct newcomer {
    uint64_t hash;
    bool is_small;
    /* Free entries that a transaction has chosen for some of its steps: none of these. */
    const struct cshm_map_step *steps;
    uint32_t count;
};

enum {
    CSHM__MAP_LOG2_MAX = 26,
    CSHM__MAP_NESTS_FROM =
        2, /* smaller tables have none: their hints would move groups out of line */
};

static inline uint64_t cshm__fold(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* ---- words ---- */

static inline uint64_t cshm__table_word(uint64_t generation, bool has_nests, uint32_t log2,
                                        uint64_t place)
{
    return generation << 39 | (uint64_t)has_nests << 38 | (uint64_t)log2 << 33 | place >> 7;
}

static inline bool cshm__table_has_nests(uint64_t word)
{
    return (word >> 38 & 1) != 0;
}

static inline uint64_t cshm__table_place(uint64_t word)
{
    return (word & ((1ull << 33) - 1)) << 7;
}

static inline uint32_t cshm__table_log2(uint64_t word)
{
    return (uint32_t)(word >> 33) & 31;
}

/* {tag:12, generation:16, place / 16: 36}: 1 TiB of places. A tag is never 0. */
static inline uint64_t cshm__tag_of(uint64_t hash)
{
    return 0x800 | ((hash >> 40) & 0x7ff);
}

static inline uint64_t cshm__entry_word(uint64_t hash, uint64_t generation, uint64_t place)
{
    return cshm__tag_of(hash) << 52 | (generation & 0xffff) << 36 | place >> 4;
}

static inline uint64_t cshm__entry_place(uint64_t word)
{
    return (word & ((1ull << 36) - 1)) << 4;
}

/* The same of an item that is elsewhere. */
static inline uint64_t cshm__entry_moved(uint64_t word, uint64_t place)
{
    return (word & ~((1ull << 36) - 1)) | place >> 4;
}

static inline uint64_t cshm__entry_tag(uint64_t word)
{
    return word >> 52;
}

/* Whether an entry, whatever its generation, is of that tag and place. */
static inline bool cshm__entry_names(uint64_t word, uint64_t tag, uint64_t place)
{
    return ((word ^ (tag << 52 | place >> 4)) & ~(0xffffull << 36)) == 0;
}

static inline uint32_t cshm__shard_of(const struct cshm_map *map, uint64_t hash)
{
    return (uint32_t)((hash >> 32) >> map->shift);
}

static inline uint32_t cshm__home_of(const struct table *table, uint64_t hash)
{
    return (uint32_t)hash & table->mask;
}

/* Primary buckets, and an eighth of that and two for overflow. */
static inline uint32_t cshm__buckets_for(uint32_t log2)
{
    return (1u << log2) + (1u << log2) / 8 + 2;
}

/* From a bucket to the next one. */
static inline uint64_t cshm__bucket_size(bool has_nests)
{
    return has_nests ? sizeof(struct cshm_map_group) : sizeof(struct cshm_map_bucket);
}

/* From a table to its first bucket. */
static inline uint64_t cshm__table_head(uint32_t log2, bool has_nests)
{
    uint64_t hints = has_nests ? sizeof(uint64_t) << log2 : 0;
    return sizeof(struct cshm_map_table) + hints;
}

static inline uint64_t cshm__table_size(uint32_t log2, bool has_nests)
{
    return cshm__table_head(log2, has_nests) +
           cshm__buckets_for(log2) * cshm__bucket_size(has_nests);
}

/* The table that a word names, which was checked. */
static inline struct table cshm__table_at(const struct cshm_map *map, uint64_t word)
{
    uint32_t log2 = cshm__table_log2(word);
    uint8_t *start = map->region->base + cshm__table_place(word);
    bool has_nests = cshm__table_has_nests(word);
    return (struct table){(void *)start, (char *)start + cshm__table_head(log2, has_nests),
                          (1u << log2) - 1, cshm__buckets_for(log2), has_nests};
}

/* The same, and whether it can be. The word is not 0. */
static inline bool cshm__table_view(const struct cshm_map *map, uint64_t word, struct table *out)
{
    uint32_t log2 = cshm__table_log2(word);
    *out = cshm__table_at(map, word);
    return log2 <= CSHM__MAP_LOG2_MAX && (!out->has_nests || log2 >= CSHM__MAP_NESTS_FROM) &&
           cshm__committed_pointer(map->region, cshm__table_place(word),
                                   cshm__table_size(log2, out->has_nests)) != NULL;
}

static inline struct cshm_map_bucket *cshm__bucket(const struct table *table, uint32_t number)
{
    return (void *)(table->first + number * cshm__bucket_size(table->has_nests));
}

static inline uint64_t cshm__entries_of(const struct table *table)
{
    return (uint64_t)table->buckets * CSHM_MAP_ENTRIES;
}

static inline _Atomic uint64_t *cshm__entry_at(const struct table *table, uint64_t number)
{
    return &cshm__bucket(table, (uint32_t)(number / CSHM_MAP_ENTRIES))
                ->entry[number % CSHM_MAP_ENTRIES];
}

/* ---- nests ---- */

static inline struct cshm_item *cshm__nest_of(struct cshm_map_bucket *bucket, uint32_t entry)
{
    return (void *)&((struct cshm_map_group *)(void *)bucket)->nest[entry];
}

/* The nest beside an entry of a table that has nests. */
static inline struct cshm_item *cshm__nest_beside(const struct table *table,
                                                  const _Atomic uint64_t *entry)
{
    uint64_t offset = (uint64_t)((const char *)entry - table->first);
    uint64_t size = sizeof(struct cshm_map_group);
    return cshm__nest_of(cshm__bucket(table, (uint32_t)(offset / size)),
                         (uint32_t)(offset % size / 8 - 1));
}

/* What of a hash is beside its bucket, of a key whose item is in a nest. */
static inline uint8_t cshm__hint_of(uint64_t hash)
{
    return (uint8_t)(hash >> 32);
}

/* A byte for each of a primary bucket's entries, the first one lowest; the highest is not used. */
static inline _Atomic uint64_t *cshm__hints_of(const struct table *table, uint32_t bucket)
{
    return (_Atomic uint64_t *)(void *)(table->shared + 1) + bucket;
}

/* Notes which key the nest beside an entry is to have; not of an overflow bucket. Under the lock. */
static inline void cshm__hint_at(const struct table *table, const _Atomic uint64_t *entry,
                                 uint64_t hash)
{
    uint64_t offset = (uint64_t)((const char *)entry - table->first);
    uint64_t bucket = offset / sizeof(struct cshm_map_group);
    uint64_t shift = (offset % sizeof(struct cshm_map_group) / 8 - 1) * 8;
    if (bucket <= table->mask) {
        _Atomic uint64_t *hints = cshm__hints_of(table, (uint32_t)bucket);
        uint64_t others = atomic_load_explicit(hints, memory_order_relaxed) & ~(0xffull << shift);
        atomic_store_explicit(hints, others | (uint64_t)cshm__hint_of(hash) << shift,
                              memory_order_relaxed);
    }
}

/* Whether an item lies in a table. */
static inline bool cshm__table_holds(const struct cshm_map *map, const struct table *table,
                                     uint64_t place)
{
    uint64_t first = (uint64_t)((const uint8_t *)table->shared - map->region->base);
    uint64_t end = (uint64_t)((const uint8_t *)table->first - map->region->base) +
                   (uint64_t)table->buckets * cshm__bucket_size(table->has_nests);
    return place - first < end - first;
}

/* Whether the shard still names the table: the second look. */
static inline bool cshm__table_is_current(const struct cshm_map_shard *shard, uint64_t word)
{
    return atomic_load_explicit(&shard->table, memory_order_relaxed) == word; /* [check] */
}

static inline bool cshm__found_is_current(const struct found *found)
{
    return atomic_load_explicit(found->entry, memory_order_relaxed) == found->word && /* [check] */
           cshm__item_is_current(&found->item);
}

/* The bucket after this one, or NULL; at most as many steps as there are buckets. */
static inline struct cshm_map_bucket *
cshm__next_bucket(const struct table *table, struct cshm_map_bucket *bucket, uint32_t *steps)
{
    uint64_t next = atomic_load_explicit(&bucket->next, memory_order_acquire);
    if (next == 0 || next >= table->buckets || ++*steps > table->buckets) {
        return NULL;
    }
    return cshm__bucket(table, (uint32_t)next);
}

/* ---- map_read.c ---- */
uint64_t cshm__map_hash(const struct cshm_map *map, const void *key, uint64_t length);
/* Looks for a key. Without the shard's lock the result is to be checked. @returns 1, 0 (absent),
 * -EPROTO. */
int cshm__map_find(const struct cshm_map *map, const struct table *table, uint64_t hash,
                   const void *key, uint64_t key_length, struct found *out);

/* Finds a key's item without a lock, if its value is a word. @returns whether it did; if not, for whatever
 * reason, the lock has to be taken. */
bool cshm__map_look_for_word(const struct cshm_map *map, const void *key, uint64_t key_length,
                             struct word *out);

/* ---- map_word.c ---- */
/* How a value of one word is changed. */
struct cshm__word_change {
    bool adds; /* or sets */
    uint64_t operand;
};
/* Changes a value of one word without the lock. @returns whether it did; if not, for whatever
 * reason, the lock has to be taken. */
bool cshm__map_change_word(struct cshm_map *map, const void *key, uint64_t key_length,
                           struct cshm__word_change change, uint64_t *before);
/* With the shard's lock: from now on nobody changes a found word without it. */
void cshm__map_hold(struct cshm_map_shard *shard, struct item *item);
/* Others may again. */
void cshm__map_let_go(struct cshm_item *item);
/* Holds all words that the shard's table names. */
void cshm__map_hold_all(struct cshm_map *map, struct cshm_map_shard *shard);
/* Lets go of them. */
void cshm__map_let_go_of_all(struct cshm_map *map, struct cshm_map_shard *shard);

/* ---- map_shard.c ---- */
int cshm__map_lock_shard(struct cshm_map *map, struct cshm_map_shard *shard);
void cshm__map_recover(struct cshm_map *map, struct cshm_map_shard *shard);
/* Tells those who watch. */
void cshm__map_changed(struct cshm_map *map, struct cshm_map_shard *shard);
/* Gives up an item that pending_old names and that no entry names any more, unless it lies in the
 * table. */
void cshm__map_retire(struct cshm_map *map, struct cshm_map_shard *shard, uint64_t place);
/* Frees the table that the shard's word no longer names, with those of its items that the new one does not
 * name. */
void cshm__map_settle_table(struct cshm_map *map, struct cshm_map_shard *shard);
/* Frees an item, or a table, of the shard's; not what lies in a table. */
void cshm__map_free(struct cshm_map *map, struct cshm_map_shard *shard, uint64_t place);
/* Frees an item that was filled, and lets go of what it holds. */
void cshm__map_free_item(struct cshm_map *map, struct cshm_map_shard *shard, uint64_t place);
/* Whether a value may be put. */
bool cshm__map_takes(const struct cshm_map *map, uint64_t key_length, const void *value,
                     uint64_t length);
/* Takes the shard's table away with all that is in it, and its spare. */
void cshm__map_empty(struct cshm_map *map, struct cshm_map_shard *shard);

static inline uint64_t cshm__map_next_generation(struct cshm_map_shard *shard)
{
    uint64_t generation = atomic_load_explicit(&shard->generation, memory_order_relaxed) + 1;
    atomic_store_explicit(&shard->generation, generation, memory_order_relaxed);
    return generation;
}

static inline uint64_t cshm__spare_word(uint32_t class, uint64_t place)
{
    return ((uint64_t)class + 1) << 48 | place;
}

static inline uint64_t cshm__spare_place(uint64_t word)
{
    return word & ((1ull << 48) - 1);
}

/* ---- map_table.c ---- */
/* A free entry for a key, in a table that grows for it if need be. */
int cshm__map_make_room(struct cshm_map *map, struct cshm_map_shard *shard,
                        const struct newcomer *newcomer, _Atomic uint64_t **out);
/* Halves the table if it is nearly empty. What hinders that does not matter. */
void cshm__map_shrink(struct cshm_map *map, struct cshm_map_shard *shard);

/* ---- map_transaction.c ---- */
/* Ends a dead writer's transaction, as far as it concerns a shard whose lock this thread has. */
void cshm__map_settle(struct cshm_map *map, struct cshm_map_shard *shard);

#endif /* CSHM_MAP_VIEW_H */
