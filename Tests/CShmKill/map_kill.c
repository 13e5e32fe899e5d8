/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The map: what was acknowledged is there, what was in flight is there wholly or not at all, the
 * count is exact, and no item or table is lost.
 *
 * All keys here are of one shard, and of one bucket until its table has grown three times.
 */
#include "kill.h"

extern const struct scenario map_scenarios[];

enum {
    TAG = 9,
    KEYS = 24,
    ONE_BUCKET = 7,  /* entries of a bucket */
    CROWDED = 8,     /* items in the smallest table before it grows */
    SPARE = KEYS - 1 /* the key of whoever comes next */
};

struct value {
    uint64_t key;
    uint64_t number;
    uint64_t check;
};

static const struct cshm_map_options options = {.type_tag = TAG};
static uint64_t keys[KEYS];
static uint64_t other_key; /* of another shard */

static struct value value_of(uint64_t key, uint64_t number)
{
    return (struct value){key, number, key ^ (number * 0x9e3779b97f4a7c15ull)};
}

static int put(cshm_map *map, uint64_t key, uint64_t number)
{
    struct value value = value_of(key, number);
    return cshm_map_put(map, &key, sizeof key, &value, sizeof value);
}

/* @returns the number under a key, 0 if it is absent. */
static uint64_t get(const cshm_map *map, uint64_t key)
{
    struct value value;
    uint64_t length = 0;
    int status = cshm_map_get(map, &key, sizeof key, &value, sizeof value, &length);
    CHECK(status == 0 || status == -ENOENT);
    if (status == -ENOENT) {
        return 0;
    }
    struct value expected = value_of(key, value.number);
    CHECK(length == sizeof value && memcmp(&value, &expected, sizeof value) == 0);
    return value.number;
}

/* `count` keys of one bucket of a table of eight, and one of another shard. */
void choose_map_keys(cshm_map *map, uint64_t *chosen, uint32_t count, uint64_t *other)
{
    for (uint64_t key = 1; count > 0; key++) {
        struct cshm_map_entry entry;
        CHECK_EQ(cshm_map_lock(map, &key, sizeof key, &entry), 0);
        if (entry.shard == 5 && entry.hash % 8 == 3) {
            *chosen++ = key;
            count--;
        } else if (entry.shard != 5) {
            *other = key;
        }
        cshm_map_unlock(map, &entry);
    }
}

/* ---- scenes ---- */

static void make_map(struct world *world)
{
    cshm_map *map = NULL;
    CHECK_EQ(cshm_map_create(world->region, &options, &world->place[0]), 0);
    CHECK_EQ(cshm_map_open(world->region, world->place[0], TAG, &map), 0);
    world->handle = map;
    if (keys[0] == 0) {
        choose_map_keys(map, keys, KEYS, &other_key);
    }
    CHECK_EQ(put(map, other_key, 7), 0);
}

/* For who makes a map of its own, so that it need not look for keys in every trial. */
static void know_keys(struct world *world)
{
    if (keys[0] == 0) {
        make_map(world);
        cshm_map_destroy(world->handle);
    }
}

/* A shared map with `count` keys, of number 1 each. */
static void make_shared_map(struct world *world, uint32_t count)
{
    make_map(world);
    CHECK_EQ(cshm_heap_share(world->region, world->place[0]), 0);
    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQ(put(world->handle, keys[i], 1), 0);
    }
    world->place[1] = count;
}

static void make_three(struct world *world)
{
    make_shared_map(world, 3);
}

static void make_full_bucket(struct world *world)
{
    make_shared_map(world, ONE_BUCKET);
}

static void make_crowded(struct world *world)
{
    make_shared_map(world, CROWDED);
}

/* Three keys, and a spare item. */
static void make_spare(struct world *world)
{
    make_shared_map(world, 3);
    CHECK_EQ(put(world->handle, keys[0], 1), 1);
}

/* One key is left in a table of eight buckets. */
static void make_sparse(struct world *world)
{
    make_shared_map(world, KEYS - 2);
    for (uint32_t i = 1; i < KEYS - 2; i++) {
        CHECK_EQ(cshm_map_remove(world->handle, &keys[i], sizeof keys[i]), 0);
    }
    world->place[1] = 1;
}

/* Two keys with a word each, and a third one. */
static void make_words(struct world *world)
{
    make_shared_map(world, 0);
    for (uint32_t i = 0; i < 2; i++) {
        CHECK_EQ(cshm_map_fetch_add(world->handle, &keys[i], sizeof keys[i], 1, NULL), 0);
    }
    CHECK_EQ(put(world->handle, keys[2], 1), 0);
    CHECK_EQ(cshm_map_version(world->handle, &keys[0], sizeof keys[0], &world->place[2]), 0);
}

/* Of the first, a version that its shard has not given out. */
static void make_added(struct world *world)
{
    make_words(world);
    for (uint32_t i = 0; i < 8; i++) {
        CHECK_EQ(cshm_map_fetch_add(world->handle, &keys[0], sizeof keys[0], 0, NULL), 0);
    }
    CHECK_EQ(cshm_map_version(world->handle, &keys[0], sizeof keys[0], &world->place[2]), 0);
}

/* Without the first. */
static void make_word_missing(struct world *world)
{
    make_words(world);
    CHECK_EQ(cshm_map_remove(world->handle, &keys[0], sizeof keys[0]), 0);
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

static int remove_key(struct world *world)
{
    return cshm_map_remove(world->handle, &keys[0], sizeof keys[0]);
}

static int set_under_lock(struct world *world)
{
    struct cshm_map_entry entry;
    struct value value = value_of(keys[0], 2);
    CHECK_EQ(cshm_map_lock(world->handle, &keys[0], sizeof keys[0], &entry), 0);
    int status = cshm_map_entry_set(world->handle, &entry, &value, sizeof value);
    cshm_map_unlock(world->handle, &entry);
    return status;
}

static int remove_under_lock(struct world *world)
{
    struct cshm_map_entry entry;
    CHECK_EQ(cshm_map_lock(world->handle, &keys[0], sizeof keys[0], &entry), 0);
    cshm_map_entry_remove(world->handle, &entry);
    cshm_map_unlock(world->handle, &entry);
    return 0;
}

static int insert(struct world *world)
{
    struct value value = value_of(keys[world->place[1]], 2);
    CHECK_EQ(cshm_map_insert(world->handle, &keys[0], sizeof keys[0], &value, sizeof value),
             -EEXIST);
    return cshm_map_insert(world->handle, &value.key, sizeof value.key, &value, sizeof value);
}

static int replace_present(struct world *world)
{
    struct value value = value_of(keys[0], 2);
    return cshm_map_replace(world->handle, &keys[0], sizeof keys[0], &value, sizeof value);
}

static int exchange(struct world *world)
{
    struct value before = value_of(keys[0], 1);
    struct value after = value_of(keys[0], 2);
    return cshm_map_compare_exchange(world->handle, &keys[0], sizeof keys[0], &before,
                                     sizeof before, &after, sizeof after);
}

static int add(struct world *world)
{
    return cshm_map_fetch_add(world->handle, &keys[0], sizeof keys[0], 1, NULL);
}

static int set_word(struct world *world)
{
    uint64_t word = 2;
    return cshm_map_put(world->handle, &keys[0], sizeof keys[0], &word, sizeof word);
}

static int set_word_under_lock(struct world *world)
{
    struct cshm_map_entry entry;
    CHECK_EQ(cshm_map_lock(world->handle, &keys[0], sizeof keys[0], &entry), 0);
    CHECK_EQ(*(const uint64_t *)entry.value, 1);
    uint64_t word = 2;
    int status = cshm_map_entry_set(world->handle, &entry, &word, sizeof word);
    cshm_map_unlock(world->handle, &entry);
    return status;
}

static int put_odd(struct world *world)
{
    return cshm_map_put(world->handle, "odd", 3, "length", 6);
}

static int freeze(struct world *world)
{
    int status = cshm_map_freeze(world->handle);
    if (status == 0) {
        cshm_map_thaw(world->handle);
    }
    return status;
}

static int clear(struct world *world)
{
    return cshm_map_clear(world->handle);
}

static int create(struct world *world)
{
    return cshm_map_create(world->region, &options, &world->place[0]);
}

static void make_own_map(struct world *world)
{
    make_map(world);
    CHECK_EQ(put(world->handle, keys[0], 1), 0);
}

static int put_into_own(struct world *world)
{
    return put(world->handle, keys[1], 1);
}

static int destroy(struct world *world)
{
    cshm_map_destroy(world->handle);
    return 0;
}

/* ---- what holds afterwards ---- */

/* The next writer of that shard. */
static void write_next(struct world *world)
{
    CHECK(put(world->handle, keys[SPARE], 3) >= 0);
    CHECK_EQ(get(world->handle, keys[SPARE]), 3);
    CHECK_EQ(cshm_map_remove(world->handle, &keys[SPARE], sizeof keys[SPARE]), 0);
    CHECK_EQ(cshm_map_remove(world->handle, "uneven", 6), -ENOENT);
}

/* A stopped writer holds up no reader, and no writer of another shard. */
static void read_meanwhile(struct world *world)
{
    CHECK_EQ(get(world->handle, keys[1]), 1);
    CHECK(get(world->handle, keys[0]) <= 2);
    CHECK_EQ(put(world->handle, other_key, 8), 1);
    CHECK_EQ(put(world->handle, other_key, 7), 1);
}

static void read_others(struct world *world)
{
    CHECK(get(world->handle, keys[0]) <= 1);
    CHECK_EQ(put(world->handle, other_key, 8), 1);
    CHECK_EQ(put(world->handle, other_key, 7), 1);
}

static void read_what_is_left(struct world *world)
{
    CHECK(get(world->handle, keys[1]) <= 1);
    CHECK(get(world->handle, other_key) == 7 || get(world->handle, other_key) == 0);
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
        CHECK_EQ(get(map, item[0]), item[2]);
        count++;
    }
    CHECK_EQ(status, -ENOENT);
    return count;
}

/* Every key but one is as it was; that one is as it was or, always if the operation returned, as
 * it was to be. */
static void check_map(struct world *world, uint64_t changed, uint64_t before, uint64_t afterwards)
{
    uint64_t present = 1;
    uint64_t number = get(world->handle, keys[changed]);
    CHECK(number == afterwards || (number == before && !returned(world)));
    for (uint32_t i = 0; i < KEYS; i++) {
        number = get(world->handle, keys[i]);
        CHECK(i == changed || number == (i < world->place[1] ? 1 : 0));
        present += number != 0;
    }
    CHECK_EQ(get(world->handle, other_key), 7);
    CHECK_EQ(walk(world->handle), present);
    CHECK_EQ(cshm_map_count(world->handle), present);
    CHECK_EQ(cshm_map_clear(world->handle), 0);
    CHECK_EQ(cshm_map_count(world->handle), 0);
    CHECK_EQ(blocks_in_use(world->region), 1);
    cshm_map_destroy(world->handle);
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

static void check_odd(struct world *world)
{
    char buffer[8];
    uint64_t length = 0;
    int status = cshm_map_get(world->handle, "odd", 3, buffer, sizeof buffer, &length);
    CHECK(status == 0 ? length == 6 && memcmp(buffer, "length", 6) == 0
                      : status == -ENOENT && !returned(world));
    CHECK_EQ(cshm_map_remove(world->handle, "odd", 3), status);
    check_map(world, SPARE, 0, 0);
}

static void check_unchanged(struct world *world)
{
    check_map(world, SPARE, 0, 0);
}

static uint64_t word_of(const cshm_map *map, uint64_t key)
{
    uint64_t word = 0;
    uint64_t length = 0;
    CHECK_EQ(cshm_map_get(map, &key, sizeof key, &word, sizeof word, &length), 0);
    CHECK_EQ(length, sizeof word);
    return word;
}

static void read_words(struct world *world)
{
    uint64_t word = word_of(world->handle, keys[0]);
    CHECK(word == 1 || word == 2);
    CHECK_EQ(word_of(world->handle, keys[1]), 1);
}

/* Whoever watches is told of every change. */
static void check_added(struct world *world)
{
    uint64_t version = 0;
    uint64_t word = word_of(world->handle, keys[0]);
    CHECK(word == 2 || (word == 1 && !returned(world)));
    CHECK_EQ(cshm_map_version(world->handle, &keys[0], sizeof keys[0], &version), 0);
    CHECK(word == 1 || version > world->place[2]);
    CHECK_EQ(word_of(world->handle, keys[1]), 1);
    CHECK_EQ(get(world->handle, keys[2]), 1);
    CHECK_EQ(cshm_map_count(world->handle), 4);
    CHECK_EQ(cshm_map_clear(world->handle), 0);
    CHECK_EQ(blocks_in_use(world->region), 1);
    cshm_map_destroy(world->handle);
}

static void check_word_put(struct world *world)
{
    uint64_t word = 0;
    uint64_t length = 0;
    int status = cshm_map_get(world->handle, &keys[0], sizeof keys[0], &word, sizeof word, &length);
    CHECK(status == 0 ? word == 2 && length == sizeof word : status == -ENOENT && !returned(world));
    CHECK_EQ(word_of(world->handle, keys[1]), 1);
    CHECK_EQ(cshm_map_count(world->handle), status == 0 ? 4 : 3);
    CHECK_EQ(cshm_map_clear(world->handle), 0);
    CHECK_EQ(blocks_in_use(world->region), 1);
    cshm_map_destroy(world->handle);
}

static void check_cleared(struct world *world)
{
    uint64_t count = walk(world->handle);
    CHECK(count == 0 || !returned(world));
    CHECK_EQ(cshm_map_clear(world->handle), 0);
    CHECK_EQ(cshm_map_count(world->handle), 0);
    CHECK_EQ(blocks_in_use(world->region), 1);
    cshm_map_destroy(world->handle);
}

/* It was nobody else's: it went with the dead, and so did all that was in it. */
static void check_gone(struct world *world)
{
    CHECK_EQ(blocks_in_use(world->region), 0);
}

const struct scenario map_scenarios[] = {
    {.name = "put_new",
     .setup = make_three,
     .operate = put_new,
     .recover = write_next,
     .check = check_put,
     .meanwhile = read_meanwhile,
     .pairs = 2},
    {.name = "put_replaces",
     .setup = make_three,
     .operate = replace,
     .recover = write_next,
     .check = check_replaced,
     .meanwhile = read_meanwhile,
     .pairs = 3},
    {.name = "put_into_an_overflow_bucket",
     .setup = make_full_bucket,
     .operate = put_new,
     .recover = write_next,
     .check = check_put,
     .meanwhile = read_meanwhile,
     .pairs = 5},
    {.name = "put_that_grows",
     .setup = make_crowded,
     .operate = put_new,
     .recover = write_next,
     .check = check_put,
     .meanwhile = read_meanwhile,
     .pairs = 11},
    {.name = "remove",
     .setup = make_three,
     .operate = remove_key,
     .recover = write_next,
     .check = check_removed,
     .meanwhile = read_meanwhile,
     .pairs = 1},
    {.name = "set_under_lock",
     .setup = make_three,
     .operate = set_under_lock,
     .recover = write_next,
     .check = check_replaced,
     .meanwhile = read_meanwhile},
    {.name = "remove_under_lock",
     .setup = make_three,
     .operate = remove_under_lock,
     .recover = write_next,
     .check = check_removed,
     .meanwhile = read_meanwhile},
    {.name = "put_replaces_by_the_spare",
     .setup = make_spare,
     .operate = replace,
     .recover = write_next,
     .check = check_replaced,
     .meanwhile = read_meanwhile,
     .pairs = 1},
    {.name = "put_new_by_the_spare",
     .setup = make_spare,
     .operate = put_new,
     .recover = write_next,
     .check = check_put,
     .meanwhile = read_meanwhile,
     .pairs = 2},
    {.name = "remove_that_shrinks",
     .setup = make_sparse,
     .operate = remove_key,
     .recover = write_next,
     .check = check_removed,
     .meanwhile = read_others,
     .pairs = 40},
    {.name = "insert",
     .setup = make_three,
     .operate = insert,
     .recover = write_next,
     .check = check_put,
     .meanwhile = read_meanwhile},
    {.name = "replace",
     .setup = make_three,
     .operate = replace_present,
     .recover = write_next,
     .check = check_replaced,
     .meanwhile = read_meanwhile},
    {.name = "compare_exchange",
     .setup = make_three,
     .operate = exchange,
     .recover = write_next,
     .check = check_replaced,
     .meanwhile = read_meanwhile},
    {.name = "fetch_add",
     .setup = make_words,
     .operate = add,
     .recover = write_next,
     .check = check_added,
     .meanwhile = read_words,
     .pairs = 1},
    {.name = "put_of_a_word",
     .setup = make_words,
     .operate = set_word,
     .recover = write_next,
     .check = check_added,
     .meanwhile = read_words},
    {.name = "set_of_a_word_under_lock",
     .setup = make_words,
     .operate = set_word_under_lock,
     .recover = write_next,
     .check = check_added,
     .meanwhile = read_words},
    {.name = "set_of_a_word_added_to",
     .setup = make_added,
     .operate = set_word_under_lock,
     .recover = write_next,
     .check = check_added,
     .meanwhile = read_words},
    {.name = "put_of_a_new_word",
     .setup = make_word_missing,
     .operate = set_word,
     .recover = write_next,
     .check = check_word_put},
    {.name = "freeze",
     .setup = make_three,
     .operate = freeze,
     .recover = write_next,
     .check = check_unchanged,
     .step = 9},
    {.name = "put_odd",
     .setup = make_three,
     .operate = put_odd,
     .recover = write_next,
     .check = check_odd},
    {.name = "clear",
     .setup = make_spare,
     .operate = clear,
     .recover = write_next,
     .check = check_cleared,
     .meanwhile = read_what_is_left},
    {.name = "create", .operate = create, .check = check_gone, .pairs = 7},
    {.name = "put_into_an_unshared_one",
     .setup = know_keys,
     .prepare = make_own_map,
     .operate = put_into_own,
     .check = check_gone},
    {.name = "destroy",
     .setup = know_keys,
     .prepare = make_own_map,
     .operate = destroy,
     .check = check_gone,
     .pairs = 67},
    {.name = NULL},
};
