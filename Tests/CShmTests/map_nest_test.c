/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of a map's small items, which lie in their table and move when it grows or shrinks.
 */
#include "support.h"

#include <pthread.h>
#include <sched.h>

#include <cshm/map.h>

#include "layout.h"

extern const struct test map_nest_tests[];

static cshm_map *make_map(cshm_region *region, uint32_t shards, uint64_t *offset)
{
    const struct cshm_map_options options = {.type_tag = 3, .shards = shards};
    cshm_map *map = NULL;
    CHECK_EQ(cshm_map_create(region, &options, offset), 0);
    CHECK_EQ(cshm_heap_share(region, *offset), 0);
    CHECK_EQ(cshm_map_open(region, *offset, 3, &map), 0);
    return map;
}

/* ---- one after the other ---- */

enum { MANY = 3000, KEY_MAX = 40 };

/* Numbers 0 to MANY have keys of 2 to 40 bytes. */
static uint64_t name(uint64_t number, uint8_t key[KEY_MAX])
{
    uint64_t length = 2 + number % (KEY_MAX - 1);
    memset(key, (int)(number % 251), KEY_MAX);
    memcpy(key, &number, 2);
    return length;
}

static void check_word(const cshm_map *map, uint64_t number, uint64_t expected)
{
    uint8_t key[KEY_MAX];
    uint64_t key_length = name(number, key);
    uint64_t word = 0;
    uint64_t length = 0;
    CHECK_EQ(cshm_map_get(map, key, key_length, &word, sizeof word, &length), 0);
    CHECK_EQ(length, sizeof word);
    CHECK_EQ(word, expected);
}

static void set_word(cshm_map *map, uint64_t number, uint64_t word, int expected)
{
    uint8_t key[KEY_MAX];
    uint64_t key_length = name(number, key);
    CHECK_EQ(cshm_map_put(map, key, key_length, &word, sizeof word), expected);
}

/* A word becomes longer, shorter, and a word again. */
static void change_length(cshm_map *map, uint64_t number)
{
    uint8_t key[KEY_MAX];
    uint64_t words[4] = {number, number, number, number};
    uint64_t key_length = name(number, key);
    uint64_t length = 0;
    CHECK_EQ(cshm_map_put(map, key, key_length, words, sizeof words), 1);
    CHECK_EQ(cshm_map_put(map, key, key_length, words, 3), 1);
    CHECK_EQ(cshm_map_get(map, key, key_length, words, sizeof words, &length), 0);
    CHECK_EQ(length, 3);
    set_word(map, number, number, 1);
    check_word(map, number, number);
}

static void has_keys_of_every_length(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    uint64_t before = blocks_in_use(region);
    cshm_map *map = make_map(region, 2, &offset);
    uint8_t key[KEY_MAX];
    for (uint64_t i = 0; i < MANY; i++) {
        set_word(map, i, i, 0);
    }
    for (uint64_t i = 0; i < MANY; i++) {
        check_word(map, i, i);
        change_length(map, i);
    }
    CHECK_EQ(cshm_map_put(map, "", 0, &(uint64_t){9}, 8), 0);
    CHECK_EQ(cshm_map_fetch_add(map, "", 0, 1, NULL), 0);
    CHECK_EQ(cshm_map_count(map), MANY + 1);
    for (uint64_t i = 0; i < MANY; i++) {
        uint64_t key_length = name(i, key);
        check_word(map, i, i);
        CHECK_EQ(cshm_map_remove(map, key, key_length), 0);
        CHECK_EQ(cshm_map_remove(map, key, key_length), -ENOENT);
    }
    int64_t ten = 0;
    CHECK_EQ(cshm_map_fetch_add(map, "", 0, 0, &ten), 0);
    CHECK_EQ(ten, 10);
    CHECK_EQ(cshm_map_count(map), 1);
    cshm_map_destroy(map);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

/* Bytes of a table with nests that grows when it has so many keys. */
static uint64_t table_size(uint64_t keys)
{
    uint64_t buckets = 4;
    while (4 * buckets < keys) {
        buckets *= 2;
    }
    return sizeof(struct cshm_map_table) + buckets * sizeof(uint64_t) +
           (buckets + buckets / 8 + 2) * sizeof(struct cshm_map_group);
}

/* A value that a transaction shows becomes that of a key for which the table grows; its own key's new value
 * takes the memory of the old table. */
static void takes_a_value_from_a_table_that_grows(void)
{
    enum { KEYS = 300 };
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    cshm_map *map = make_map(region, 1, &offset);
    uint8_t *bytes = calloc(1, table_size(KEYS));
    uint64_t first = 0;
    CHECK(bytes != NULL);
    CHECK_EQ(cshm_map_put(map, &first, 8, &(uint64_t){77}, 8), 0);
    for (uint64_t i = 1; i < KEYS; i++) {
        struct cshm_map_step steps[2] = {{.key = &first, .key_length = 8},
                                         {.key = &i, .key_length = 8}};
        uint64_t value = 0;
        uint64_t length = 0;
        CHECK_EQ(cshm_map_put(map, &first, 8, &(uint64_t){77 + i}, 8), 1);
        CHECK_EQ(cshm_map_begin(map, steps, 2), 0);
        steps[1].action = CSHM_MAP_SET;
        steps[1].new_value = steps[0].value;
        steps[1].new_length = steps[0].length;
        steps[0].action = CSHM_MAP_SET;
        steps[0].new_value = bytes;
        steps[0].new_length = table_size(i) - sizeof(struct cshm_item) - sizeof first;
        CHECK_EQ(cshm_map_commit(map, steps, 2), 0);
        CHECK_EQ(cshm_map_get(map, &i, 8, &value, 8, &length), 0);
        CHECK_EQ(length, 8);
        CHECK_EQ(value, 77 + i);
    }
    free(bytes);
    cshm_map_destroy(map);
    cshm_region_close(region);
}

/* ---- at once ---- */

enum { ADDED = 16, ADDERS = 2, ADDS = 100000, COMERS = 600 };

struct adder {
    cshm_map *map;
    _Atomic uint32_t *done;
};

/* Adds 1 to each of the keys in turn, and looks whether its own keep growing. */
static void *add_in_turn(void *context)
{
    struct adder *adder = context;
    for (uint64_t i = 0; i < ADDS; i++) {
        uint64_t key = i % ADDED;
        int64_t before = -1;
        CHECK_EQ(cshm_map_fetch_add(adder->map, &key, 8, 1, &before), 0);
        CHECK(before >= (int64_t)(i / ADDED));
    }
    atomic_fetch_add(adder->done, 1);
    return NULL;
}

/* Grows and shrinks the table under those who add. */
static void come_and_go(cshm_map *map, uint64_t versions[ADDED])
{
    for (uint64_t key = ADDED; key < ADDED + COMERS; key++) {
        CHECK_EQ(cshm_map_put(map, &key, 8, &key, 8), 0);
    }
    for (uint64_t key = ADDED; key < ADDED + COMERS; key++) {
        CHECK_EQ(cshm_map_remove(map, &key, 8), 0);
    }
    for (uint64_t key = 0; key < ADDED; key++) {
        uint64_t version = 0;
        CHECK_EQ(cshm_map_version(map, &key, 8, &version), 0);
        CHECK(version >= versions[key]);
        versions[key] = version;
    }
}

static void loses_no_sum_when_it_moves(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    _Atomic uint32_t done = 0;
    pthread_t threads[ADDERS];
    uint64_t versions[ADDED] = {0};
    cshm_map *map = make_map(region, 1, &offset);
    struct adder adder = {map, &done};
    for (uint64_t key = 0; key < ADDED; key++) {
        CHECK_EQ(cshm_map_fetch_add(map, &key, 8, 0, NULL), 0);
    }
    for (int i = 0; i < ADDERS; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, add_in_turn, &adder), 0);
    }
    uint32_t rounds = 0;
    while (atomic_load(&done) < ADDERS || rounds < 3) {
        come_and_go(map, versions);
        rounds++;
    }
    for (int i = 0; i < ADDERS; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    for (uint64_t key = 0; key < ADDED; key++) {
        int64_t sum = 0;
        CHECK_EQ(cshm_map_fetch_add(map, &key, 8, 0, &sum), 0);
        CHECK_EQ(sum, ADDERS * (int64_t)(ADDS / ADDED));
    }
    cshm_map_destroy(map);
    cshm_region_close(region);
}

enum { WRITERS = 4, FROZEN = 100, YIELDS = 50, BETWEEN = 1000 };

static void *add_until_done(void *context)
{
    struct adder *adder = context;
    while (atomic_load(adder->done) == 0) {
        for (uint64_t key = 0; key < ADDED; key++) {
            CHECK_EQ(cshm_map_fetch_add(adder->map, &key, 8, 1, NULL), 0);
        }
    }
    return NULL;
}

static void read_words(const cshm_map *map, int64_t words[ADDED])
{
    for (uint64_t key = 0; key < ADDED; key++) {
        uint64_t length = 0;
        CHECK_EQ(cshm_map_get(map, &key, 8, &words[key], 8, &length), 0);
    }
}

static void await_sum(const cshm_map *map, int64_t sum)
{
    int64_t words[ADDED];
    do {
        sched_yield();
        read_words(map, words);
    } while (words[0] < sum);
}

/* Who is between its look at the guard and its exchange when the map is frozen, gets the CPU meanwhile. */
static void freezes_words_under_way(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    _Atomic uint32_t done = 0;
    pthread_t threads[WRITERS];
    struct adder adder = {make_map(region, 1, &offset), &done};
    for (uint64_t key = 0; key < ADDED; key++) {
        CHECK_EQ(cshm_map_fetch_add(adder.map, &key, 8, 0, NULL), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, add_until_done, &adder), 0);
    }
    for (int i = 0; i < FROZEN; i++) {
        int64_t before[ADDED];
        int64_t after[ADDED];
        CHECK_EQ(cshm_map_freeze(adder.map), 0);
        read_words(adder.map, before);
        for (int yields = 0; yields < YIELDS; yields++) {
            sched_yield();
        }
        read_words(adder.map, after);
        CHECK(memcmp(before, after, sizeof before) == 0);
        cshm_map_thaw(adder.map);
        await_sum(adder.map, after[0] + BETWEEN);
    }
    atomic_store(&done, 1);
    for (int i = 0; i < WRITERS; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    cshm_map_destroy(adder.map);
    cshm_region_close(region);
}

const struct test map_nest_tests[] = {
    {"has_words_under_keys_of_every_length", has_keys_of_every_length},
    {"takes_a_value_from_a_table_that_grows", takes_a_value_from_a_table_that_grows},
    {"loses_no_sum_when_it_moves", loses_no_sum_when_it_moves},
    {"freezes_words_that_others_are_about_to_change", freezes_words_under_way},
    {NULL, NULL},
};
