/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The map, where its table has nests: an item is named or not, moved or not, but never both, and its
 * version goes with it.
 *
 * All keys here are of one shard, and of one bucket. A value is a number in a word, or a long one, which has
 * no place in a nest.
 */
#include "kill.h"

extern const struct scenario map_nest_scenarios[];

void choose_map_keys(cshm_map *map, uint64_t *chosen, uint32_t count, uint64_t *other);

enum {
    TAG = 11,
    KEYS = 24,
    IN_BLOCKS = 8,   /* words in a table of two buckets, which has no nests */
    IN_NESTS = 9,    /* in one of four, two of them in an overflow bucket */
    FULL = 14,       /* two buckets' entries */
    CROWDED = 16,    /* in one of four, before it grows */
    SPARE = KEYS - 1 /* the key of whoever comes next */
};

struct long_value {
    uint64_t number;
    uint64_t again[2];
};

static const struct cshm_map_options options = {.type_tag = TAG};
static uint64_t keys[KEYS];
static uint64_t other_key; /* of another shard */

static int put(cshm_map *map, uint64_t key, uint64_t number)
{
    return cshm_map_put(map, &key, sizeof key, &number, sizeof number);
}

static int put_long(cshm_map *map, uint64_t key, uint64_t number)
{
    struct long_value value = {number, {number, number}};
    return cshm_map_put(map, &key, sizeof key, &value, sizeof value);
}

/* @returns the number under a key, in a word or not; 0 if it is absent. */
static uint64_t get(const cshm_map *map, uint64_t key)
{
    struct long_value value;
    uint64_t length = 0;
    int status = cshm_map_get(map, &key, sizeof key, &value, sizeof value, &length);
    CHECK(status == 0 || status == -ENOENT);
    if (status == -ENOENT) {
        return 0;
    }
    CHECK(length == 8 || (length == sizeof value && value.again[0] == value.number &&
                          value.again[1] == value.number));
    return value.number;
}

static uint64_t version_of(const cshm_map *map, uint64_t key)
{
    uint64_t version = 0;
    CHECK_EQ(cshm_map_version(map, &key, sizeof key, &version), 0);
    return version;
}

/* ---- scenes ---- */

/* A shared map with `count` words, of number 1 each. */
static void make_words(struct world *world, uint32_t count)
{
    cshm_map *map = NULL;
    CHECK_EQ(cshm_map_create(world->region, &options, &world->place[0]), 0);
    CHECK_EQ(cshm_map_open(world->region, world->place[0], TAG, &map), 0);
    CHECK_EQ(cshm_heap_share(world->region, world->place[0]), 0);
    if (keys[0] == 0) {
        choose_map_keys(map, keys, KEYS, &other_key);
    }
    CHECK_EQ(put(map, other_key, 7), 0);
    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQ(put(map, keys[i], 1), 0);
    }
    world->handle = map;
    world->place[1] = count;
    world->place[2] = version_of(map, keys[1]);
}

static void make_blocks(struct world *world)
{
    make_words(world, IN_BLOCKS);
}

static void make_nests(struct world *world)
{
    make_words(world, IN_NESTS);
}

static void make_full(struct world *world)
{
    make_words(world, FULL);
}

static void make_crowded(struct world *world)
{
    make_words(world, CROWDED);
}

/* The first has a long value, the second one in a block though it is a word. */
static void lengthen(struct world *world)
{
    struct cshm_map_step step = {.key = &keys[1], .key_length = sizeof keys[1]};
    uint64_t one = 1;
    CHECK_EQ(put_long(world->handle, keys[0], 1), 1);
    CHECK_EQ(cshm_map_begin(world->handle, &step, 1), 0);
    step.action = CSHM_MAP_SET;
    step.new_value = &one;
    step.new_length = sizeof one;
    CHECK_EQ(cshm_map_commit(world->handle, &step, 1), 0);
    world->place[2] = version_of(world->handle, keys[1]);
}

static void make_mixed(struct world *world)
{
    make_nests(world);
    lengthen(world);
}

static void make_crowded_mixed(struct world *world)
{
    make_crowded(world);
    lengthen(world);
}

/* One key is left in a table of eight buckets. */
static void make_sparse(struct world *world)
{
    make_words(world, KEYS - 2);
    for (uint32_t i = 1; i < KEYS - 2; i++) {
        CHECK_EQ(cshm_map_remove(world->handle, &keys[i], sizeof keys[i]), 0);
    }
    world->place[1] = 1;
}

/* ---- operations ---- */

static int put_new(struct world *world)
{
    return put(world->handle, keys[world->place[1]], 2);
}

static int replace(struct world *world)
{
    return put(world->handle, keys[0], 2);
}

static int replace_by_long(struct world *world)
{
    return put_long(world->handle, keys[0], 2);
}

static int add(struct world *world)
{
    return cshm_map_fetch_add(world->handle, &keys[0], sizeof keys[0], 1, NULL);
}

static int remove_key(struct world *world)
{
    return cshm_map_remove(world->handle, &keys[0], sizeof keys[0]);
}

static int set_under_lock(struct world *world)
{
    struct cshm_map_entry entry;
    uint64_t number = 2;
    CHECK_EQ(cshm_map_lock(world->handle, &keys[0], sizeof keys[0], &entry), 0);
    int status = cshm_map_entry_set(world->handle, &entry, &number, sizeof number);
    cshm_map_unlock(world->handle, &entry);
    return status;
}

/* Makes the first 2, takes the second away, and adds a third. */
static int change_three(struct world *world)
{
    uint64_t two = 2;
    struct cshm_map_step steps[3] = {{.key = &keys[0], .key_length = sizeof keys[0]},
                                     {.key = &keys[1], .key_length = sizeof keys[1]},
                                     {.key = &keys[world->place[1]], .key_length = 8}};
    CHECK_EQ(cshm_map_begin(world->handle, steps, 3), 0);
    steps[0].action = steps[2].action = CSHM_MAP_SET;
    steps[0].new_value = steps[2].new_value = &two;
    steps[0].new_length = steps[2].new_length = sizeof two;
    steps[1].action = CSHM_MAP_REMOVE;
    return cshm_map_commit(world->handle, steps, 3);
}

/* A word whose key is too long for a nest. */
static const char long_key[] = "a key of more than 16 bytes";

static int put_under_long_key(struct world *world)
{
    uint64_t number = 2;
    return cshm_map_put(world->handle, long_key, sizeof long_key, &number, sizeof number);
}

static int insert_under_long_key(struct world *world)
{
    uint64_t number = 2;
    return cshm_map_insert(world->handle, long_key, sizeof long_key, &number, sizeof number);
}

static int commit_under_long_key(struct world *world)
{
    uint64_t number = 2;
    struct cshm_map_step step = {.key = long_key, .key_length = sizeof long_key};
    CHECK_EQ(cshm_map_begin(world->handle, &step, 1), 0);
    step.action = CSHM_MAP_SET;
    step.new_value = &number;
    step.new_length = sizeof number;
    return cshm_map_commit(world->handle, &step, 1);
}

static int clear(struct world *world)
{
    return cshm_map_clear(world->handle);
}

static int freeze(struct world *world)
{
    int status = cshm_map_freeze(world->handle);
    if (status == 0) {
        cshm_map_thaw(world->handle);
    }
    return status;
}

static void make_own(struct world *world)
{
    cshm_map *map = NULL;
    CHECK_EQ(cshm_map_create(world->region, &options, &world->place[0]), 0);
    CHECK_EQ(cshm_map_open(world->region, world->place[0], TAG, &map), 0);
    for (uint32_t i = 0; i < IN_NESTS; i++) {
        CHECK_EQ(put(map, keys[i], 1), 0);
    }
    world->handle = map;
}

static void know_keys(struct world *world)
{
    if (keys[0] == 0) {
        make_words(world, 0);
        cshm_map_destroy(world->handle);
    }
}

static int destroy(struct world *world)
{
    cshm_map_destroy(world->handle);
    return 0;
}

/* ---- what holds afterwards ---- */

/* The next writer of that shard; what was held is its own again. */
static void write_next(struct world *world)
{
    CHECK(put(world->handle, keys[SPARE], 3) >= 0);
    CHECK_EQ(get(world->handle, keys[SPARE]), 3);
    CHECK_EQ(cshm_map_remove(world->handle, &keys[SPARE], sizeof keys[SPARE]), 0);
}

/* A stopped writer holds up no reader, and no writer of another shard. */
static void read_meanwhile(struct world *world)
{
    CHECK(get(world->handle, keys[0]) <= 2);
    CHECK(get(world->handle, keys[1]) <= 1);
    CHECK_EQ(put(world->handle, other_key, 8), 1);
    CHECK_EQ(put(world->handle, other_key, 7), 1);
}

static void read_what_is_left(struct world *world)
{
    CHECK(get(world->handle, keys[0]) <= 1);
    CHECK(get(world->handle, keys[2]) <= 1);
}

static uint64_t walk(const cshm_map *map)
{
    struct cshm_map_cursor cursor = {0};
    uint64_t count = 0;
    uint64_t item[4];
    uint64_t key_length = 0;
    uint64_t length = 0;
    int status;
    while ((status = cshm_map_next(map, &cursor, item, sizeof item, &key_length, &length)) == 0) {
        CHECK_EQ(get(map, item[0]), item[1]);
        count++;
    }
    CHECK_EQ(status, -ENOENT);
    return count;
}

/* Each key can be written by all ways, and nothing is left of the map in the end. */
static void check_usable(struct world *world)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        CHECK(put(world->handle, keys[i], 5) >= 0);
        CHECK_EQ(cshm_map_fetch_add(world->handle, &keys[i], sizeof keys[i], 1, NULL), 0);
        CHECK_EQ(get(world->handle, keys[i]), 6);
    }
    CHECK(put(world->handle, other_key, 5) >= 0);
    CHECK_EQ(cshm_map_count(world->handle), KEYS + 1);
    CHECK_EQ(cshm_map_clear(world->handle), 0);
    CHECK_EQ(cshm_map_count(world->handle), 0);
    CHECK_EQ(blocks_in_use(world->region), 1);
    cshm_map_destroy(world->handle);
    CHECK_EQ(blocks_in_use(world->region), 0);
}

/* Every key but one is as it was; that one is as it was or, always if the operation returned, as
 * it was to be. */
static void check_map(struct world *world, uint64_t changed, uint64_t before, uint64_t afterwards)
{
    uint64_t present = 1;
    for (uint32_t i = 0; i < KEYS; i++) {
        uint64_t number = get(world->handle, keys[i]);
        CHECK(i == changed ? number == afterwards || (number == before && !returned(world))
                           : number == (i < world->place[1] ? 1 : 0));
        present += number != 0;
    }
    if (world->place[1] > 1) {
        CHECK_EQ(version_of(world->handle, keys[1]), world->place[2]);
    }
    CHECK_EQ(get(world->handle, other_key), 7);
    CHECK_EQ(walk(world->handle), present);
    CHECK_EQ(cshm_map_count(world->handle), present);
    check_usable(world);
}

static void check_put(struct world *world)
{
    check_map(world, world->place[1], 0, 2);
}

static void check_replaced(struct world *world)
{
    check_map(world, 0, 1, 2);
}

static void check_removed(struct world *world)
{
    check_map(world, 0, 1, 0);
}

static void check_unchanged(struct world *world)
{
    check_map(world, KEYS, 0, 0);
}

/* Of its shard the next writer is whoever removes it; before, what was committed may not be there yet. */
static void check_long_key(struct world *world)
{
    uint64_t number = 0;
    uint64_t length = 0;
    int got = cshm_map_get(world->handle, long_key, sizeof long_key, &number, 8, &length);
    int removed = cshm_map_remove(world->handle, long_key, sizeof long_key);
    CHECK(got == 0 ? number == 2 && length == 8 && removed == 0 : got == -ENOENT);
    CHECK(removed == 0 || (removed == -ENOENT && !returned(world)));
    check_map(world, SPARE, 0, 0);
}

static void check_three(struct world *world)
{
    bool done = get(world->handle, keys[0]) == 2;
    CHECK(done || !returned(world));
    CHECK_EQ(get(world->handle, keys[0]), done ? 2 : 1);
    CHECK_EQ(get(world->handle, keys[1]), done ? 0 : 1);
    CHECK_EQ(get(world->handle, keys[world->place[1]]), done ? 2 : 0);
    CHECK_EQ(walk(world->handle), world->place[1] + 1);
    CHECK_EQ(cshm_map_count(world->handle), world->place[1] + 1);
    check_usable(world);
}

static void check_cleared(struct world *world)
{
    uint64_t count = walk(world->handle);
    CHECK(count == 0 || !returned(world));
    check_usable(world);
}

/* It was nobody else's: it went with the dead, and so did all that was in it. */
static void check_gone(struct world *world)
{
    CHECK_EQ(blocks_in_use(world->region), 0);
}

#define OF_MANY(title, scene, operation, judge, every) \
    {                                                  \
        .name = title,                                 \
        .setup = scene,                                \
        .operate = operation,                          \
        .recover = write_next,                         \
        .check = judge,                                \
        .meanwhile = read_meanwhile,                   \
        .step = every,                                 \
    }
#define OF(title, scene, operation, judge) OF_MANY(title, scene, operation, judge, 0)

const struct scenario map_nest_scenarios[] = {
    OF("put_new", make_nests, put_new, check_put),
    OF("put_into_an_overflow_bucket", make_full, put_new, check_put),
    OF_MANY("put_that_moves_blocks_to_nests", make_blocks, put_new, check_put, 5),
    OF_MANY("put_that_moves_nests", make_crowded, put_new, check_put, 9),
    OF_MANY("put_that_moves_both", make_crowded_mixed, put_new, check_put, 7),
    OF("replace", make_nests, replace, check_replaced),
    OF("replace_by_long", make_nests, replace_by_long, check_replaced),
    OF("replace_of_long", make_mixed, replace, check_replaced),
    OF("fetch_add", make_nests, add, check_replaced),
    OF("set_under_lock", make_nests, set_under_lock, check_replaced),
    OF("set_of_long_under_lock", make_mixed, set_under_lock, check_replaced),
    OF("remove", make_nests, remove_key, check_removed),
    OF("remove_of_long", make_mixed, remove_key, check_removed),
    OF_MANY("remove_that_shrinks", make_sparse, remove_key, check_removed, 9),
    OF("put_under_a_long_key", make_nests, put_under_long_key, check_long_key),
    OF("insert_under_a_long_key", make_nests, insert_under_long_key, check_long_key),
    OF("transaction_under_a_long_key", make_nests, commit_under_long_key, check_long_key),
    OF("transaction", make_nests, change_three, check_three),
    OF_MANY("transaction_that_moves_nests", make_crowded, change_three, check_three, 9),
    {.name = "freeze",
     .setup = make_mixed,
     .operate = freeze,
     .recover = write_next,
     .check = check_unchanged,
     .meanwhile = read_what_is_left,
     .step = 3},
    {.name = "clear",
     .setup = make_mixed,
     .operate = clear,
     .recover = write_next,
     .check = check_cleared,
     .meanwhile = read_what_is_left},
    {.name = "destroy",
     .setup = know_keys,
     .prepare = make_own,
     .operate = destroy,
     .check = check_gone,
     .step = 5},
    {.name = NULL},
};
