/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Several keys changed together. The shards of all keys are locked, from the lowest on; the lowest
 * of those that change is the transaction's *home*, and has the log. The stores, in order, and what is
 * found if they end there:
 *
 *   home's log = log       the home's next owner frees it
 *   others' joined = home  nothing is committed: each shard's next owner frees its new items
 *   room in tables         as in map_table.c
 *   for each item: pending_new = item, log's item = item, pending_new = 0; filled
 *                          the same; an item that both name is freed once
 *   committed = 1          the commit
 *   for each other shard, then the home:
 *     entry = its word, old item freed
 *                          its next owner does it, or does it again
 *     joined = 0           done with
 *   log freed, home's log = 0
 *                          the home's next owner frees the log, if the home still holds it
 *
 * A shard that has joined is done with before its home is: the home's next owner waits for it, or takes
 * it over. So a log is there for as long as a shard names its home, and needs no lock to be read. The
 * order of locks is the same as everywhere, as the home is the lowest: nobody waits for a lower shard
 * while he has a higher one. New items belong to their shard from the start (their holder is its
 * pending word) and are freed under its lock before it leaves the transaction, after which it may use
 * the blocks again; hence nothing is freed twice.
 */
#include <errno.h>

#include "map_view.h"

enum { MAGIC = 0x6d616c6f }; /* "malo" */

/* ---- the log ---- */

/* A log as checked. */
struct log {
    struct cshm_map_log *shared;
    uint32_t count;
};

static bool find_log(const struct cshm_map *map, const struct cshm_map_shard *home, struct log *out)
{
    uint64_t place = atomic_load_explicit(&home->log, memory_order_acquire); /* [log] */
    struct cshm_map_log *log = cshm__committed_pointer(map->region, place, sizeof *log);
    if (log == NULL || place % 16 != 0 || log->magic != MAGIC) {
        return false;
    }
    *out = (struct log){log, *(volatile uint32_t *)&log->count};
    return out->count <= CSHM_MAP_STEPS_MAX &&
           cshm__committed_pointer(map->region, place,
                                   sizeof *log + out->count * sizeof log->change[0]) != NULL;
}

static _Atomic uint64_t *find_entry(const struct cshm_map *map, const struct cshm_map_shard *shard,
                                    uint64_t place)
{
    struct table table;
    uint64_t word = atomic_load_explicit(&shard->table, memory_order_relaxed);
    bool has_nests = cshm__table_has_nests(word);
    uint64_t first = cshm__table_place(word) + cshm__table_head(cshm__table_log2(word), has_nests);
    uint64_t size = cshm__bucket_size(has_nests);
    if (word == 0 || !cshm__table_view(map, word, &table) || place < first || place % 8 != 0 ||
        place - first >= table.buckets * size || (place - first) % size == 0 ||
        (place - first) % size >= sizeof(struct cshm_map_bucket)) {
        return NULL;
    }
    return cshm__committed_pointer(map->region, place, sizeof(uint64_t));
}

/* Does a change, or drops what was prepared for it. May be done again. */
static void settle_change(struct cshm_map *map, struct cshm_map_shard *shard,
                          struct cshm_map_change *change, bool committed)
{
    uint64_t place = atomic_load_explicit(&change->entry, memory_order_relaxed);
    uint64_t item = atomic_load_explicit(&change->item, memory_order_relaxed);
    uint64_t old = atomic_load_explicit(&change->old, memory_order_relaxed);
    _Atomic uint64_t *entry = committed ? find_entry(map, shard, place) : NULL;
    if (entry != NULL) {
        uint64_t word = atomic_load_explicit(&change->word, memory_order_relaxed);
        atomic_store_explicit(entry, word, memory_order_release); /* [item] */
        if (old != 0) {
            cshm__map_free_item(map, shard, old);
        }
    } else if (!committed && item != 0) {
        bool is_filled = atomic_load_explicit(&change->word, memory_order_relaxed) != 0;
        (is_filled ? cshm__map_free_item : cshm__map_free)(map, shard, item);
    }
}

static void settle_shard(struct cshm_map *map, const struct log *log, uint32_t number)
{
    struct cshm_map_shard *shard = &map->shared->shard[number];
    bool committed = atomic_load_explicit(&log->shared->committed, memory_order_acquire) != 0;
    for (uint32_t i = 0; i < log->count; i++) {
        if (log->shared->change[i].shard == number) {
            settle_change(map, shard, &log->shared->change[i], committed);
        }
    }
}

/* A shard leaves the transaction that it has joined. */
static void leave(struct cshm_map *map, struct cshm_map_shard *shard)
{
    uint64_t home = atomic_load_explicit(&shard->joined, memory_order_acquire) - 1;
    struct log log;
    if (home < map->shards && find_log(map, &map->shared->shard[home], &log)) {
        settle_shard(map, &log, (uint32_t)(shard - map->shared->shard));
    }
    atomic_store_explicit(&shard->joined, 0, memory_order_release); /* [log] */
}

/* Waits for a shard that has joined, or takes it over. */
static void await_shard(struct cshm_map *map, uint64_t number, uint32_t home)
{
    struct cshm_map_shard *shard = number < map->shards ? &map->shared->shard[number] : NULL;
    if (shard == NULL || number == home ||
        atomic_load_explicit(&shard->joined, memory_order_acquire) != home + 1u || /* [log] */
        cshm__map_lock_shard(map, shard) != 0) {
        return;
    }
    if (atomic_load_explicit(&shard->joined, memory_order_relaxed) == home + 1u) {
        leave(map, shard);
    }
    cshm__guard_release(&shard->guard);
}

/* The home is done with last, and the log then. */
static void end_log(struct cshm_map *map, struct cshm_map_shard *home)
{
    uint64_t place = atomic_load_explicit(&home->log, memory_order_relaxed);
    struct log log;
    if (cshm__heap_is_held(map->region, place, &home->log) && find_log(map, home, &log)) {
        settle_shard(map, &log, (uint32_t)(home - map->shared->shard));
    }
    cshm__heap_free_from(map->region, place, &home->log);
    atomic_store_explicit(&home->log, 0, memory_order_release);
}

void cshm__map_settle(struct cshm_map *map, struct cshm_map_shard *shard)
{
    uint32_t number = (uint32_t)(shard - map->shared->shard);
    if (atomic_load_explicit(&shard->joined, memory_order_relaxed) != 0) {
        leave(map, shard);
    }
    uint64_t place = atomic_load_explicit(&shard->log, memory_order_relaxed);
    if (place == 0) {
        return;
    }
    struct log log;
    bool there = cshm__heap_is_held(map->region, place, &shard->log) && find_log(map, shard, &log);
    for (uint32_t i = 0; there && i < log.count; i++) {
        await_shard(map, log.shared->change[i].shard, number);
    }
    end_log(map, shard);
}

/* ---- locking ---- */

/* Which shards a transaction is about. */
struct shards {
    uint64_t bit[CSHM_MAP_SHARDS_MAX / 64];
};

static bool has(const struct shards *shards, uint32_t number)
{
    return (shards->bit[number / 64] >> number % 64 & 1) != 0;
}

static struct shards shards_of(const struct cshm_map_step *steps, uint32_t count)
{
    struct shards shards = {0};
    for (uint32_t i = 0; i < count; i++) {
        shards.bit[steps[i].shard / 64] |= 1ull << steps[i].shard % 64;
    }
    return shards;
}

static void unlock_before(struct cshm_map *map, const struct shards *shards, uint32_t end)
{
    while (end-- > 0) {
        if (has(shards, end)) {
            cshm__guard_release(&map->shared->shard[end].guard);
        }
    }
}

static int lock_all(struct cshm_map *map, const struct shards *shards)
{
    for (uint32_t i = 0; i < map->shards; i++) {
        int status = has(shards, i) ? cshm__map_lock_shard(map, &map->shared->shard[i]) : 0;
        if (status != 0) {
            unlock_before(map, shards, i);
            return status;
        }
    }
    return 0;
}

static bool has_duplicates(const struct cshm_map_step *steps, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (steps[i].hash == steps[k].hash && steps[i].key_length == steps[k].key_length &&
                memcmp(steps[i].key, steps[k].key, steps[i].key_length) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Looks a locked key up. @returns 0, -EPROTO. */
static int look(struct cshm_map *map, struct cshm_map_step *step)
{
    struct table table;
    struct found found;
    struct cshm_map_shard *shard = &map->shared->shard[step->shard];
    uint64_t word = atomic_load_explicit(&shard->table, memory_order_relaxed);
    int status = 0;
    if (word != 0) {
        status = cshm__table_view(map, word, &table)
                     ? cshm__map_find(map, &table, step->hash, step->key, step->key_length, &found)
                     : -EPROTO;
    }
    step->where = NULL;
    step->word = 0;
    step->value = NULL;
    step->length = 0;
    step->version = 0;
    if (status == 1) {
        cshm__map_hold(shard, &found.item);
        step->where = found.entry;
        step->word = found.word;
        step->value = (const void *)found.item.value;
        step->length = found.item.length;
        step->version = found.item.generation;
    }
    return status < 0 ? status : 0;
}

/* ---- preparing ---- */

static bool changes(const struct cshm_map_step *step)
{
    return step->action == CSHM_MAP_SET || (step->action == CSHM_MAP_REMOVE && step->value != NULL);
}

static int check_steps(const struct cshm_map *map, const struct cshm_map_step *steps,
                       uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        bool is_taken =
            steps[i].action != CSHM_MAP_SET ||
            cshm__map_takes(map, steps[i].key_length, steps[i].new_value, steps[i].new_length);
        if (steps[i].action > CSHM_MAP_REMOVE || !is_taken) {
            return -EINVAL;
        }
    }
    return 0;
}

/* Finds an entry for each step that changes. @returns 0, 1 (a table was replaced: once more), or an
 * error. */
static int find_rooms(struct cshm_map *map, struct cshm_map_step *steps, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct cshm_map_shard *shard = &map->shared->shard[steps[i].shard];
        uint64_t table = atomic_load_explicit(&shard->table, memory_order_relaxed);
        int status = look(map, &steps[i]);
        if (status == 0 && changes(&steps[i]) && steps[i].where == NULL) {
            struct newcomer newcomer = {
                .hash = steps[i].hash,
                .is_small = cshm__item_is_small(steps[i].key_length, steps[i].new_length),
                .steps = steps,
                .count = i};
            _Atomic uint64_t *where = NULL;
            status = cshm__map_make_room(map, shard, &newcomer, &where);
            steps[i].where = where;
        }
        if (status != 0) {
            return status;
        }
        if (atomic_load_explicit(&shard->table, memory_order_relaxed) != table) {
            return 1;
        }
    }
    return 0;
}

/* Names a log that says which shards are to change, and lets these join. */
static int open_log(struct cshm_map *map, const struct cshm_map_step *steps, uint32_t count,
                    uint32_t home, struct cshm_map_log **out)
{
    struct cshm_map_shard *shard = &map->shared->shard[home];
    uint64_t place = 0;
    uint64_t size = sizeof(struct cshm_map_log) + count * sizeof(struct cshm_map_change);
    int status = cshm__heap_allocate_for(map->region, size, &shard->log, &place);
    if (status != 0) {
        return status;
    }
    struct cshm_map_log *log = cshm_heap_pointer(map->region, place, size);
    if (log == NULL) {
        return -EPROTO;
    }
    uint32_t used = 0;
    memset((void *)log, 0, size);
    for (uint32_t i = 0; i < count; i++) {
        if (changes(&steps[i])) {
            log->change[used++].shard = steps[i].shard;
        }
    }
    log->count = used;
    log->magic = MAGIC;
    atomic_store_explicit(&shard->log, place, memory_order_release); /* [log] */
    cshm__heap_link(map->region, place);
    for (uint32_t i = 0; i < count; i++) {
        if (changes(&steps[i]) && steps[i].shard != home) {
            atomic_store_explicit(&map->shared->shard[steps[i].shard].joined, home + 1,
                                  memory_order_release); /* [log] */
        }
    }
    *out = log;
    return 0;
}

/* Makes the item that a step sets its key to. */
static int make_item(struct cshm_map *map, const struct cshm_map_step *step,
                     struct cshm_map_change *change)
{
    struct cshm_map_shard *shard = &map->shared->shard[step->shard];
    void *made = NULL;
    uint64_t place = 0;
    int status =
        cshm__pending_allocate(map->region, &shard->pending_new,
                               cshm__item_size(step->key_length, step->new_length), &place, &made);
    if (status != 0) {
        return status;
    }
    atomic_store_explicit(&change->item, place, memory_order_release);
    atomic_store_explicit(&shard->pending_new, 0, memory_order_release);
    uint64_t generation = cshm__map_next_generation(shard);
    const void *value = step->new_length <= sizeof step->kept ? &step->kept : step->new_value;
    cshm__item_fill(made, generation, step->key, step->key_length, value, step->new_length);
    atomic_store_explicit(&change->word, cshm__entry_word(step->hash, generation, place),
                          memory_order_release);
    return map->holds ? cshm__anchor_hold_item(map->region, place) : 0;
}

/* A new value may be a step's current one, which moves if its table grows and it lies in a nest; no longer one
 * does. */
static void keep_short_values(struct cshm_map_step *steps, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (steps[i].action == CSHM_MAP_SET && steps[i].new_length <= sizeof steps[i].kept) {
            /* One of no bytes may be nowhere. */
            steps[i].kept = steps[i].new_length == 0
                                ? 0
                                : cshm__word_of(steps[i].new_value, steps[i].new_length);
        }
    }
}

static int fill_log(struct cshm_map *map, struct cshm_map_step *steps, uint32_t count,
                    struct cshm_map_log *log)
{
    uint32_t next = 0;
    int status;
    keep_short_values(steps, count);
    while ((status = find_rooms(map, steps, count)) == 1) {
    }
    for (uint32_t i = 0; i < count && status == 0; i++) {
        if (!changes(&steps[i])) {
            continue;
        }
        struct cshm_map_change *change = &log->change[next++];
        atomic_store_explicit(&change->entry, cshm_heap_offset(map->region, steps[i].where),
                              memory_order_release);
        atomic_store_explicit(&change->old, cshm__entry_place(steps[i].word), memory_order_release);
        if (steps[i].action == CSHM_MAP_SET) {
            status = make_item(map, &steps[i], change);
        }
    }
    return status;
}

/* ---- carrying out ---- */

/* How many keys more, or fewer, a shard has; what others count after a death. */
static void count_steps(struct cshm_map *map, const struct cshm_map_step *steps, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct cshm_map_shard *shard = &map->shared->shard[steps[i].shard];
        uint64_t before = atomic_load_explicit(&shard->count, memory_order_relaxed);
        uint64_t more = steps[i].action == CSHM_MAP_SET && steps[i].value == NULL;
        uint64_t fewer = steps[i].action == CSHM_MAP_REMOVE && steps[i].value != NULL;
        if (more + fewer != 0) {
            atomic_store_explicit(&shard->count, before + more - fewer, memory_order_relaxed);
        }
    }
}

static int carry_out(struct cshm_map *map, struct cshm_map_step *steps, uint32_t count)
{
    struct cshm_map_log *log = NULL;
    uint32_t home = UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        home = changes(&steps[i]) && steps[i].shard < home ? steps[i].shard : home;
    }
    if (home == UINT32_MAX) {
        return 0;
    }
    int status = open_log(map, steps, count, home, &log);
    if (status != 0) {
        return status;
    }
    status = fill_log(map, steps, count, log);
    if (status == 0) {
        atomic_store_explicit(&log->committed, 1, memory_order_release); /* [log]: the commit */
        count_steps(map, steps, count);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct cshm_map_shard *shard = &map->shared->shard[steps[i].shard];
        if (changes(&steps[i]) && atomic_load_explicit(&shard->joined, memory_order_relaxed) != 0) {
            leave(map, shard);
            cshm__map_changed(map, shard);
        }
    }
    end_log(map, &map->shared->shard[home]);
    cshm__map_changed(map, &map->shared->shard[home]);
    return status;
}

/* ---- public ---- */

int cshm_map_begin(cshm_map *map, struct cshm_map_step *steps, uint32_t count)
{
    if (count == 0 || count > CSHM_MAP_STEPS_MAX) {
        return -EINVAL;
    }
    for (uint32_t i = 0; i < count; i++) {
        steps[i].hash = cshm__map_hash(map, steps[i].key, steps[i].key_length);
        steps[i].shard = cshm__shard_of(map, steps[i].hash);
    }
    if (has_duplicates(steps, count)) {
        return -EINVAL;
    }
    struct shards shards = shards_of(steps, count);
    int status = lock_all(map, &shards);
    if (status != 0) {
        return status;
    }
    for (uint32_t i = 0; i < count && status == 0; i++) {
        status = look(map, &steps[i]);
    }
    if (status != 0) {
        cshm_map_abandon(map, steps, count);
    }
    return status;
}

int cshm_map_commit(cshm_map *map, struct cshm_map_step *steps, uint32_t count)
{
    int status = check_steps(map, steps, count);
    status = status == 0 ? carry_out(map, steps, count) : status;
    cshm_map_abandon(map, steps, count);
    return status;
}

void cshm_map_abandon(cshm_map *map, struct cshm_map_step *steps, uint32_t count)
{
    struct shards shards = shards_of(steps, count);
    unlock_before(map, &shards, map->shards);
    if (map->holds) {
        cshm__anchor_end_all(map->region);
    }
}
