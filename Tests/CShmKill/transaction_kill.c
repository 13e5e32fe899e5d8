/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A map's transactions: all of the keys are changed or none, whoever comes next and wherever he
 * begins; the count is exact, and no item, table or log is lost.
 *
 * The keys, by their shards: 3, where the log is: `first` absent. 5: `changed` and `kept` present, the
 * bucket full, `added` absent. 9: `removed` present.
 */
#include "kill.h"

extern const struct scenario transaction_scenarios[];

enum { TAG = 9, FILLERS = 5, SHARDS = 16, OLD = 1, NEW = 2, OTHER = 3 };

enum { FIRST, CHANGED, KEPT, ADDED, REMOVED, KEYS };

static const struct cshm_map_options options = {.type_tag = TAG, .shards = SHARDS};
static const uint32_t shard_of[KEYS] = {3, 5, 5, 5, 9};
static uint64_t seed_of_keys; /* keys are of one map: chosen anew for each */
static uint64_t keys[KEYS];
static uint64_t fillers[FILLERS];
static uint64_t beside; /* absent, in the home */

/* Values of several lengths, none of one word. */
static uint64_t put(cshm_map *map, uint64_t key, uint64_t number)
{
    uint64_t value[3] = {key, number, key ^ number};
    return (uint64_t)cshm_map_put(map, &key, sizeof key, value, sizeof value);
}

static uint64_t get(const cshm_map *map, uint64_t key)
{
    uint64_t value[3];
    uint64_t length = 0;
    int status = cshm_map_get(map, &key, sizeof key, value, sizeof value, &length);
    CHECK(status == 0 || status == -ENOENT);
    if (status == -ENOENT) {
        return 0;
    }
    CHECK(length == sizeof value && value[0] == key && value[2] == (key ^ value[1]));
    return value[1];
}

static uint64_t next_key_of(cshm_map *map, uint32_t shard)
{
    for (;;) {
        uint64_t key = ++seed_of_keys;
        struct cshm_map_entry entry;
        CHECK_EQ(cshm_map_lock(map, &key, sizeof key, &entry), 0);
        uint32_t found = entry.shard;
        cshm_map_unlock(map, &entry);
        if (found == shard) {
            return key;
        }
    }
}

static void make_map(struct world *world)
{
    cshm_map *map = NULL;
    CHECK_EQ(cshm_map_create(world->region, &options, &world->place[0]), 0);
    CHECK_EQ(cshm_map_open(world->region, world->place[0], TAG, &map), 0);
    world->handle = map;
    for (uint32_t i = 0; i < KEYS; i++) {
        keys[i] = next_key_of(map, shard_of[i]);
    }
    beside = next_key_of(map, 3);
    for (uint32_t i = 0; i < FILLERS; i++) {
        fillers[i] = next_key_of(map, 5);
        CHECK_EQ(put(map, fillers[i], OLD), 0);
    }
    CHECK_EQ(put(map, keys[CHANGED], OLD), 0);
    CHECK_EQ(put(map, keys[KEPT], OLD), 0);
    CHECK_EQ(put(map, keys[REMOVED], OLD), 0);
}

static void make_shared_map(struct world *world)
{
    make_map(world);
    CHECK_EQ(cshm_heap_share(world->region, world->place[0]), 0);
}

static void begin(cshm_map *map, struct cshm_map_step steps[KEYS])
{
    /* In no order of shards. */
    static const uint32_t order[KEYS] = {REMOVED, CHANGED, FIRST, KEPT, ADDED};
    for (uint32_t i = 0; i < KEYS; i++) {
        steps[i] = (struct cshm_map_step){.key = &keys[order[i]], .key_length = 8};
    }
    CHECK_EQ(cshm_map_begin(map, steps, KEYS), 0);
}

static void set(struct cshm_map_step *step, uint64_t value[3], uint64_t number)
{
    memcpy(value, step->key, 8);
    value[1] = number;
    value[2] = value[0] ^ number;
    step->action = CSHM_MAP_SET;
    step->new_value = value;
    step->new_length = 24;
}

static int commit(struct world *world)
{
    struct cshm_map_step steps[KEYS];
    uint64_t values[3][3];
    begin(world->handle, steps);
    steps[0].action = CSHM_MAP_REMOVE;
    set(&steps[1], values[0], NEW);
    set(&steps[2], values[1], NEW);
    set(&steps[4], values[2], NEW);
    return cshm_map_commit(world->handle, steps, KEYS);
}

/* The last of the items does not fit into the region. */
static int commit_too_much(struct world *world)
{
    static uint8_t large[4 << 20];
    struct cshm_map_step steps[KEYS];
    uint64_t values[2][3];
    begin(world->handle, steps);
    steps[0].action = CSHM_MAP_REMOVE;
    set(&steps[1], values[0], NEW);
    set(&steps[2], values[1], NEW);
    set(&steps[4], values[1], NEW);
    steps[4].new_value = large;
    steps[4].new_length = sizeof large;
    CHECK_EQ(cshm_map_commit(world->handle, steps, KEYS), -ENOSPC);
    return 0;
}

static int abandon(struct world *world)
{
    struct cshm_map_step steps[KEYS];
    begin(world->handle, steps);
    cshm_map_abandon(world->handle, steps, KEYS);
    return 0;
}

/* ---- who comes next ---- */

static void write_home_next(struct world *world)
{
    CHECK_EQ(cshm_map_remove(world->handle, &beside, 8), -ENOENT);
}

static void write_another_next(struct world *world)
{
    CHECK_EQ(put(world->handle, fillers[0], OLD), 1);
    CHECK_EQ(put(world->handle, fillers[1], OLD), 1);
}

static void look_next(struct world *world)
{
    (void)abandon(world);
}

static void freeze_next(struct world *world)
{
    CHECK_EQ(cshm_map_freeze(world->handle), 0);
    cshm_map_thaw(world->handle);
}

static void read_meanwhile(struct world *world)
{
    uint64_t first = get(world->handle, keys[FIRST]);
    uint64_t changed = get(world->handle, keys[CHANGED]);
    CHECK(first == 0 || first == NEW);
    CHECK(changed == OLD || changed == NEW);
    CHECK_EQ(get(world->handle, keys[KEPT]), OLD);
    CHECK(get(world->handle, keys[REMOVED]) <= OLD);
}

/* ---- what holds afterwards ---- */

static uint64_t walk(const cshm_map *map)
{
    struct cshm_map_cursor cursor = {0};
    uint64_t count = 0;
    uint64_t item[4];
    uint64_t key_length = 0;
    uint64_t length = 0;
    int status;
    while ((status = cshm_map_next(map, &cursor, item, sizeof item, &key_length, &length)) == 0) {
        CHECK_EQ(get(map, item[0]), item[2]);
        count++;
    }
    CHECK_EQ(status, -ENOENT);
    return count;
}

static void check(struct world *world, bool must, bool may)
{
    cshm_map *map = world->handle;
    freeze_next(world);
    bool done = get(map, keys[FIRST]) == NEW;
    CHECK(done ? may : !must);
    CHECK_EQ(get(map, keys[FIRST]), done ? NEW : 0);
    CHECK_EQ(get(map, keys[CHANGED]), done ? NEW : OLD);
    CHECK_EQ(get(map, keys[ADDED]), done ? NEW : 0);
    CHECK_EQ(get(map, keys[REMOVED]), done ? 0 : OLD);
    CHECK_EQ(get(map, keys[KEPT]), OLD);
    for (uint32_t i = 0; i < FILLERS; i++) {
        CHECK_EQ(get(map, fillers[i]), OLD);
    }
    CHECK_EQ(walk(map), FILLERS + (done ? 4 : 3));
    CHECK_EQ(cshm_map_count(map), FILLERS + (done ? 4 : 3));
    CHECK_EQ(put(map, keys[FIRST], OTHER), done);
    CHECK_EQ(cshm_map_clear(map), 0);
    CHECK_EQ(blocks_in_use(world->region), 1);
    cshm_map_destroy(map);
}

static void check_all_or_none(struct world *world)
{
    check(world, returned(world), true);
}

static void check_unchanged(struct world *world)
{
    check(world, false, false);
}

static void check_nothing_left(struct world *world)
{
    cshm_map_destroy(world->handle);
    CHECK_EQ(blocks_in_use(world->region), 0);
}

static void check_gone(struct world *world)
{
    CHECK_EQ(blocks_in_use(world->region), 0);
}

const struct scenario transaction_scenarios[] = {
    {.name = "commit_then_another_shard",
     .setup = make_shared_map,
     .operate = commit,
     .recover = write_another_next,
     .check = check_all_or_none,
     .meanwhile = read_meanwhile,
     .pairs = 17},
    {.name = "commit_then_the_home",
     .setup = make_shared_map,
     .operate = commit,
     .recover = write_home_next,
     .check = check_all_or_none,
     .pairs = 13},
    {.name = "commit_then_the_same_keys",
     .setup = make_shared_map,
     .operate = commit,
     .recover = look_next,
     .check = check_all_or_none,
     .pairs = 23},
    {.name = "commit_then_freeze",
     .setup = make_shared_map,
     .operate = commit,
     .recover = freeze_next,
     .check = check_all_or_none},
    {.name = "commit_then_destroy",
     .setup = make_shared_map,
     .operate = commit,
     .check = check_nothing_left},
    {.name = "commit_that_fails",
     .setup = make_shared_map,
     .operate = commit_too_much,
     .recover = write_another_next,
     .check = check_unchanged,
     .pairs = 13},
    {.name = "abandon",
     .setup = make_shared_map,
     .operate = abandon,
     .recover = write_home_next,
     .check = check_unchanged},
    {.name = "commit_in_an_unshared_one",
     .prepare = make_map,
     .operate = commit,
     .check = check_gone},
    {.name = NULL},
};
