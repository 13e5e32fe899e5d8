/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A value of one word changed without its shard's lock: by one instruction that compares and exchanges
 * the item's generation and its value, 16 bytes. So a change is one transition, its version is part
 * of it, and a death leaves nothing half done.
 *
 * The item may be somebody else's memory by then. But a number is given once: a shard counts upwards,
 * from a number of its own that is drawn from 56 bits, and a change without the lock adds 1 to its
 * item's, below which the shard gives none once that item is held. So whoever finds the number that it
 * read beside the key has the item that it found, which is still named: who is about to unname an
 * item holds it first. Pairs:
 *
 *   [held]   who has the lock sets the item's bit (acq_rel) -> who changes it without the lock fails,
 *            or did it before and is seen
 *   [guard]  the owner of the lock stores a generation (release) -> who changes loads it (acquire), then
 *            looks at the guard: what is new is left alone until the guard was released
 *   [watch]  value and version change, then the stripe is stored, then the parking word is looked at ->
 *            who watches announces itself, then looks at version and stripes
 *
 * A process that dies between the first two has told those who watch a key, who look every 25 ms, and
 * not those who watch the map; these are told of that with the next change. A bit that a dead owner of
 * the lock left makes the next writer take the lock, who takes it away.
 */
#include "map_view.h"

/* ---- under the lock ---- */

/* Numbers that are given from now on are greater. */
static void outnumber(struct cshm_map_shard *shard, uint64_t generation)
{
    if (generation > atomic_load_explicit(&shard->generation, memory_order_relaxed)) {
        atomic_store_explicit(&shard->generation, generation, memory_order_relaxed);
    }
}

void cshm__map_hold(struct cshm_map_shard *shard, struct item *item)
{
    if (item->length != 8) {
        return;
    }
    item->state = atomic_fetch_or_explicit(&item->shared->generation, CSHM__ITEM_HELD,
                                           memory_order_acq_rel); /* [held] */
    item->generation = item->state >> CSHM__ITEM_SHIFT;
    outnumber(shard, item->generation);
}

void cshm__map_let_go(struct cshm_item *item)
{
    uint64_t state = atomic_load_explicit(&item->generation, memory_order_relaxed);
    if ((state & CSHM__ITEM_HELD) != 0) {
        atomic_store_explicit(&item->generation, state & ~(uint64_t)CSHM__ITEM_HELD,
                              memory_order_release); /* [guard] */
    }
}

/* Does that with each item that the shard's table names. */
static void for_all(struct cshm_map *map, struct cshm_map_shard *shard,
                    void (*act)(struct cshm_map_shard *shard, struct item *item))
{
    struct table table;
    struct item item;
    bool whole =
        cshm__table_view(map, atomic_load_explicit(&shard->table, memory_order_relaxed), &table);
    for (uint64_t i = 0; whole && i < cshm__entries_of(&table); i++) {
        uint64_t entry = atomic_load_explicit(cshm__entry_at(&table, i), memory_order_relaxed);
        if (entry != 0 && cshm__item_load(map->region, cshm__entry_place(entry), &item)) {
            act(shard, &item);
        }
    }
}

void cshm__map_hold_all(struct cshm_map *map, struct cshm_map_shard *shard)
{
    for_all(map, shard, cshm__map_hold);
}

static void let_go(struct cshm_map_shard *shard, struct item *item)
{
    (void)shard;
    if (item->length == 8) {
        cshm__map_let_go(item->shared);
    }
}

void cshm__map_let_go_of_all(struct cshm_map *map, struct cshm_map_shard *shard)
{
    for_all(map, shard, let_go);
}

/* ---- without it ---- */

/* The item's new state is no other change's. So a stripe that has been stored is another than before,
 * whoever stored it meanwhile, and one store is enough. */
static void tell(struct cshm_map *map, uint64_t stamp, uint64_t state)
{
    atomic_store_explicit(&map->shared->stripe[stamp % CSHM_MAP_STRIPES].changes,
                          state * 0x9e3779b97f4a7c15u, memory_order_release); /* [watch] */
    cshm__publish_barrier();
    cshm__park_wake_all_after_store(&map->shared->changes.park);
}

/* Whether the shard's lock is not needed for what was found. */
static inline bool is_free(const struct word *found)
{
    return (found->state & (CSHM__ITEM_WORD | CSHM__ITEM_HELD)) == CSHM__ITEM_WORD &&
           atomic_load_explicit(&found->shard->guard.owner, memory_order_relaxed) ==
               0; /* [guard] */
}

bool cshm__map_change_word(struct cshm_map *map, const void *key, uint64_t key_length,
                           struct cshm__word_change change, uint64_t *before)
{
    uint64_t stamp = atomic_load_explicit(&map->region->stamp, memory_order_relaxed);
    struct word found;
    if (!map->can_exchange || stamp == 0) {
        return false;
    }
    while (cshm__map_look_for_word(map, key, key_length, &found) && is_free(&found)) {
        uint64_t value =
            atomic_load_explicit(&found.item->word, memory_order_acquire); /* [check] */
        uint64_t state = found.state + (1u << CSHM__ITEM_SHIFT);
        if (cshm__item_exchange(found.item, found.state, value, state,
                                change.adds ? value + change.operand : change.operand)) {
            *before = value;
            tell(map, stamp, state);
            return true;
        }
    }
    return false;
}
