/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/map.h.
 */
#include "support.h"

#include <pthread.h>

#include <cshm/map.h>

#include "layout.h"

extern const struct test map_tests[];

struct growth {
    _Atomic uint32_t done;
    uint64_t offset;
    cshm_map *map;
};

static cshm_map *make_map(cshm_region *region, uint64_t *offset)
{
    cshm_map *map = NULL;
    CHECK_EQ(cshm_map_create(region, &(struct cshm_map_options){.type_tag = 3}, offset), 0);
    CHECK_EQ(cshm_heap_share(region, *offset), 0);
    CHECK_EQ(cshm_map_open(region, *offset, 3, &map), 0);
    return map;
}

static void put_get_remove(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    uint64_t before = blocks_in_use(region);
    cshm_map *map = make_map(region, &offset);
    cshm_map *other = NULL;
    char buffer[64];
    uint64_t length = 0;
    CHECK_EQ(cshm_map_open(region, offset, 4, &other), -EPROTO);
    CHECK_EQ(cshm_map_open(region, offset + 128, 3, &other), -EPROTO);
    CHECK_EQ(cshm_map_get(map, "a", 1, buffer, sizeof buffer, &length), -ENOENT);
    CHECK_EQ(cshm_map_remove(map, "a", 1), -ENOENT);
    CHECK_EQ(cshm_map_put(map, "a", 1, "one", 3), 0);
    CHECK_EQ(cshm_map_put(map, "ab", 2, "", 0), 0);
    CHECK_EQ(cshm_map_put(map, "", 0, "empty", 5), 0);
    CHECK_EQ(cshm_map_get(map, "a", 1, buffer, sizeof buffer, &length), 0);
    CHECK(length == 3 && memcmp(buffer, "one", 3) == 0);
    CHECK_EQ(cshm_map_get(map, "ab", 2, NULL, 0, &length), 0);
    CHECK_EQ(length, 0);
    CHECK_EQ(cshm_map_get(map, "", 0, buffer, sizeof buffer, &length), 0);
    CHECK_EQ(length, 5);
    CHECK_EQ(cshm_map_put(map, "a", 1, "three", 5), 1);
    CHECK_EQ(cshm_map_get(map, "a", 1, buffer, 4, &length), -EMSGSIZE);
    CHECK_EQ(length, 5);
    CHECK_EQ(cshm_map_get(map, "a", 1, NULL, 0, &length), -EMSGSIZE);
    CHECK_EQ(cshm_map_get(map, "a", 1, buffer, 5, &length), 0);
    CHECK(memcmp(buffer, "three", 5) == 0);
    CHECK_EQ(cshm_map_count(map), 3);
    CHECK_EQ(cshm_map_remove(map, "a", 1), 0);
    CHECK_EQ(cshm_map_remove(map, "a", 1), -ENOENT);
    CHECK_EQ(cshm_map_count(map), 2);
    CHECK_EQ(cshm_map_clear(map), 0);
    CHECK_EQ(cshm_map_count(map), 0);
    CHECK_EQ(cshm_map_get(map, "ab", 2, buffer, sizeof buffer, &length), -ENOENT);
    CHECK_EQ(cshm_map_put(map, "a", 1, "one", 3), 0);
    cshm_map_destroy(map);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void grows(void)
{
    enum { COUNT = 100000 };
    cshm_region *region = make_region(256u << 20);
    uint64_t offset = 0;
    uint64_t before = blocks_in_use(region);
    cshm_map *map = make_map(region, &offset);
    for (uint64_t i = 0; i < COUNT; i++) {
        uint64_t value[2] = {i, ~i};
        CHECK_EQ(cshm_map_put(map, &i, 8, value, sizeof value), 0);
    }
    CHECK_EQ(cshm_map_count(map), COUNT);
    for (uint64_t i = 0; i < COUNT; i++) {
        uint64_t value[2];
        uint64_t length = 0;
        CHECK_EQ(cshm_map_get(map, &i, 8, value, sizeof value, &length), 0);
        CHECK(length == 16 && value[0] == i && value[1] == ~i);
    }
    uint8_t *seen = calloc(COUNT, 1);
    CHECK(seen != NULL);
    struct cshm_map_cursor cursor = {0};
    uint64_t buffer[3];
    uint64_t key_length = 0;
    uint64_t length = 0;
    CHECK_EQ(cshm_map_next(map, &cursor, buffer, 8, &key_length, &length), -EMSGSIZE);
    CHECK(key_length == 8 && length == 16);
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK_EQ(cshm_map_next(map, &cursor, buffer, sizeof buffer, &key_length, &length), 0);
        CHECK(buffer[0] < COUNT && seen[buffer[0]]++ == 0 && buffer[1] == buffer[0]);
    }
    CHECK_EQ(cshm_map_next(map, &cursor, buffer, sizeof buffer, &key_length, &length), -ENOENT);
    free(seen);
    for (uint64_t i = 0; i < COUNT; i += 2) {
        CHECK_EQ(cshm_map_remove(map, &i, 8), 0);
    }
    CHECK_EQ(cshm_map_count(map), COUNT / 2);
    cshm_map_destroy(map);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void conditions(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    cshm_map *map = make_map(region, &offset);
    char buffer[16];
    uint64_t length = 0;
    CHECK_EQ(cshm_map_replace(map, "k", 1, "a", 1), -ENOENT);
    CHECK_EQ(cshm_map_insert(map, "k", 1, "abc", 3), 0);
    CHECK_EQ(cshm_map_insert(map, "k", 1, "d", 1), -EEXIST);
    CHECK_EQ(cshm_map_replace(map, "k", 1, "efghijk", 7), 0);
    CHECK_EQ(cshm_map_get(map, "k", 1, buffer, sizeof buffer, &length), 0);
    CHECK(length == 7 && memcmp(buffer, "efghijk", 7) == 0);
    CHECK_EQ(cshm_map_compare_exchange(map, "k", 1, "efghijx", 7, "no", 2), 0);
    CHECK_EQ(cshm_map_compare_exchange(map, "k", 1, "efghij", 6, "no", 2), 0);
    CHECK_EQ(cshm_map_compare_exchange(map, "k", 1, NULL, 0, "no", 2), 0);
    CHECK_EQ(cshm_map_compare_exchange(map, "k", 1, "efghijk", 7, "yes", 3), 1);
    CHECK_EQ(cshm_map_compare_exchange(map, "k", 1, "yes", 3, NULL, 0), 1);
    CHECK_EQ(cshm_map_compare_exchange(map, "k", 1, "yes", 3, NULL, 0), 0);
    CHECK_EQ(cshm_map_count(map), 0);
    CHECK_EQ(cshm_map_compare_exchange(map, "k", 1, NULL, 0, "again", 5), 1);
    CHECK_EQ(cshm_map_count(map), 1);
    cshm_map_destroy(map);
    cshm_region_close(region);
}

static void adds(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    cshm_map *map = make_map(region, &offset);
    int64_t before = 7;
    int64_t value = 0;
    uint64_t length = 0;
    CHECK_EQ(cshm_map_fetch_add(map, "n", 1, 5, &before), 0);
    CHECK_EQ(before, 0);
    CHECK_EQ(cshm_map_fetch_add(map, "n", 1, -8, &before), 0);
    CHECK_EQ(before, 5);
    CHECK_EQ(cshm_map_get(map, "n", 1, &value, sizeof value, &length), 0);
    CHECK(value == -3 && length == sizeof value);
    CHECK_EQ(cshm_map_put(map, "n", 1, "long", 4), 1);
    CHECK_EQ(cshm_map_fetch_add(map, "n", 1, 1, &before), -EINVAL);
    cshm_map_destroy(map);
    cshm_region_close(region);
}

static void options(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    uint64_t before = blocks_in_use(region);
    for (uint32_t shards = 1; shards <= 1024; shards *= 2) {
        struct cshm_map_options options = {.shards = shards};
        cshm_map *map = NULL;
        CHECK_EQ(cshm_map_create(region, &options, &offset), 0);
        CHECK_EQ(cshm_map_open(region, offset, 0, &map), 0);
        for (uint64_t i = 0; i < 1000; i++) {
            CHECK_EQ(cshm_map_put(map, &i, 8, &i, 8), 0);
        }
        CHECK_EQ(cshm_map_count(map), 1000);
        cshm_map_destroy(map);
        CHECK_EQ(blocks_in_use(region), before);
    }
    CHECK_EQ(cshm_map_create(region, &(struct cshm_map_options){.shards = 3}, &offset), -EINVAL);
    CHECK_EQ(cshm_map_create(region, &(struct cshm_map_options){.shards = 2048}, &offset), -EINVAL);
    cshm_region_close(region);
}

static uint64_t bytes_in_use(cshm_region *region)
{
    struct cshm_heap_usage usage;
    cshm_heap_describe(region, &usage);
    return usage.bytes;
}

/* The heap's own part is a cell of 16 bytes for each block. */
static void stays_small(void)
{
    enum { COUNT = 50000, KEY = 16, VALUE = 64 };
    cshm_region *region = make_region(256u << 20);
    uint64_t offset = 0;
    cshm_map *map = make_map(region, &offset);
    uint64_t empty = bytes_in_use(region);
    uint64_t value[VALUE / 8] = {0};
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK_EQ(cshm_map_put(map, (uint64_t[]){i, ~i}, KEY, value, VALUE), 0);
    }
    uint64_t full = bytes_in_use(region);
    CHECK(full - empty + 16 * COUNT <= 2ull * COUNT * (KEY + VALUE));
    for (uint64_t i = 0; i < 20ull * COUNT; i++) {
        uint64_t key = i % COUNT;
        value[1] = i;
        CHECK_EQ(cshm_map_put(map, (uint64_t[]){key, ~key}, KEY, value, VALUE - 8 * (i % 3)), 1);
    }
    CHECK(bytes_in_use(region) <= full + 64 * 128);
    for (uint64_t i = 0; i < COUNT - 64; i++) {
        CHECK_EQ(cshm_map_remove(map, (uint64_t[]){i, ~i}, KEY), 0);
    }
    CHECK(bytes_in_use(region) - empty < (full - empty) / 50);
    CHECK_EQ(cshm_map_count(map), 64);
    for (uint64_t i = COUNT - 64; i < COUNT; i++) {
        uint64_t length = 0;
        CHECK_EQ(cshm_map_get(map, (uint64_t[]){i, ~i}, KEY, value, VALUE, &length), 0);
    }
    cshm_map_destroy(map);
    cshm_region_close(region);
}

static void *put_after_a_while(void *context)
{
    CHECK(cshm_map_put(context, "other", 5, "x", 1) >= 0);
    CHECK(cshm_map_put(context, "key", 3, "value", 5) >= 0);
    return NULL;
}

static void watches(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    cshm_map *map = make_map(region, &offset);
    struct cshm_map_watch key = {.map = map, .key = "key", .key_length = 3};
    struct cshm_map_watch all = {.map = map, .version = cshm_map_changes(map)};
    struct cshm_waitable waitable;
    pthread_t thread;
    uint64_t version = 1;
    CHECK_EQ(cshm_map_version(map, "key", 3, &version), 0);
    CHECK_EQ(version, 0);
    CHECK_EQ(cshm_map_wait_until(&key, after(MILLISECOND)), -ETIMEDOUT);
    cshm_map_waitable(&all, &waitable);
    CHECK_EQ(waitable.is_ready(waitable.object), 0);
    CHECK_EQ(pthread_create(&thread, NULL, put_after_a_while, map), 0);
    CHECK_EQ(cshm_map_wait_until(&key, INT64_MAX), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(waitable.is_ready(waitable.object), 1);
    CHECK_EQ(cshm_wait_any(&waitable, 1, INT64_MAX), 0);
    CHECK_EQ(cshm_map_version(map, "key", 3, &key.version), 0);
    CHECK(key.version != 0);
    CHECK_EQ(cshm_map_put(map, "key", 3, "value", 5), 1);
    CHECK_EQ(cshm_map_version(map, "key", 3, &version), 0);
    CHECK(version > key.version);
    CHECK_EQ(cshm_map_wait_until(&key, 0), 0);
    CHECK_EQ(cshm_map_remove(map, "key", 3), 0);
    CHECK_EQ(cshm_map_version(map, "key", 3, &version), 0);
    CHECK_EQ(version, 0);
    cshm_map_destroy(map);
    cshm_region_close(region);
}

enum { CHAIN = 16 };

static void *write_in_turn(void *context)
{
    struct growth *chain = context;
    for (uint64_t i = 1; atomic_load(&chain->done) == 0; i++) {
        for (uint64_t key = 0; key < CHAIN; key++) {
            CHECK_EQ(cshm_map_put(chain->map, &key, 8, &i, 8), 1);
        }
    }
    return NULL;
}

/* No key is behind one after it, and none more than one before. */
static void freezes(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    struct growth chain = {.map = make_map(region, &offset)};
    pthread_t thread;
    for (uint64_t key = 0; key < CHAIN; key++) {
        CHECK_EQ(cshm_map_put(chain.map, &key, 8, &(uint64_t){0}, 8), 0);
    }
    CHECK_EQ(pthread_create(&thread, NULL, write_in_turn, &chain), 0);
    for (int i = 0; i < 2000; i++) {
        uint64_t value[CHAIN] = {0};
        uint64_t length = 0;
        CHECK_EQ(cshm_map_freeze(chain.map), 0);
        CHECK_EQ(cshm_map_put(chain.map, "a", 1, value, 8), -EDEADLK);
        for (uint64_t key = 0; key < CHAIN; key++) {
            CHECK_EQ(cshm_map_get(chain.map, &key, 8, &value[key], 8, &length), 0);
        }
        cshm_map_thaw(chain.map);
        for (uint64_t key = 1; key < CHAIN; key++) {
            CHECK(value[key - 1] >= value[key] && value[0] <= value[key] + 1);
        }
    }
    atomic_store(&chain.done, 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    cshm_map_destroy(chain.map);
    cshm_region_close(region);
}

static uint64_t random_word(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Spoils a word of the map, of a table or of an item. */
static void spoil(cshm_region *region, uint64_t offset, uint64_t *random)
{
    struct cshm_map_shared *shared = cshm_heap_pointer(region, offset, sizeof *shared);
    struct cshm_map_shard *shard = &shared->shard[random_word(random) % shared->shards];
    uint64_t word = atomic_load(&shard->table);
    _Atomic uint64_t *victim = &shard->table;
    uint64_t kind = random_word(random) % 4;
    if (kind == 1) {
        victim = &shard->count + random_word(random) % 7;
    } else if (kind >= 2 && word != 0) {
        uint64_t *table = cshm_heap_pointer(region, (word & ((1ull << 33) - 1)) << 7, 64 + 64);
        uint64_t entry = table == NULL ? 0 : table[8 + random_word(random) % 8];
        victim = (_Atomic uint64_t *)(void *)(table == NULL ? (uint64_t *)(void *)victim
                                                            : table + 8 + random_word(random) % 8);
        uint64_t *item = cshm_heap_pointer(region, (entry & ((1ull << 36) - 1)) << 4, 32);
        if (kind == 3 && item != NULL) {
            victim = (_Atomic uint64_t *)(void *)(item + random_word(random) % 4);
        }
    }
    uint64_t spoilt =
        random_word(random) % 2 == 0 ? random_word(random) : 1ull << random_word(random) % 64;
    atomic_fetch_xor(victim, spoilt);
}

static void takes_damage(void)
{
    uint64_t random = 0x1234567;
    for (int trial = 0; trial < 400; trial++) {
        cshm_region *region = make_region(2u << 20);
        uint64_t offset = 0;
        cshm_map *map = make_map(region, &offset);
        for (uint64_t i = 0; i < 500; i++) {
            CHECK_EQ(cshm_map_put(map, &i, 8, (uint64_t[]){i, i, i}, 8 + 8 * (i % 3)), 0);
        }
        for (int i = 0; i < 4; i++) {
            spoil(region, offset, &random);
        }
        struct cshm_map_cursor cursor = {0};
        uint64_t buffer[8];
        uint64_t key_length = 0;
        uint64_t length = 0;
        for (int i = 0; i < 2000 && cshm_map_next(map, &cursor, buffer, sizeof buffer, &key_length,
                                                  &length) == 0;
             i++) {
            CHECK(key_length + length <= sizeof buffer);
        }
        for (uint64_t i = 0; i < 600; i++) {
            int status = cshm_map_get(map, &i, 8, buffer, sizeof buffer, &length);
            CHECK(status == 0 || status == -ENOENT || status == -EPROTO || status == -EMSGSIZE);
            status = cshm_map_put(map, &i, 8, buffer, 8 * (1 + i % 5));
            CHECK(status == 0 || status == 1 || status == -EPROTO || status == -ENOSPC);
            status = cshm_map_remove(map, &(uint64_t){i * 7 % 600}, 8);
            CHECK(status == 0 || status == -ENOENT || status == -EPROTO);
        }
        int status = cshm_map_clear(map);
        CHECK(status == 0);
        cshm_map_close(map);
        cshm_region_close(region);
    }
}

static void locks(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    cshm_map *map = make_map(region, &offset);
    struct cshm_map_entry entry;
    struct cshm_map_entry again;
    CHECK_EQ(cshm_map_lock(map, "k", 1, &entry), 0);
    CHECK(entry.value == NULL);
    CHECK_EQ(cshm_map_lock(map, "k", 1, &again), -EDEADLK);
    CHECK_EQ(cshm_map_entry_set(map, &entry, "vv", 2), 0);
    CHECK(entry.length == 2 && memcmp(entry.value, "vv", 2) == 0);
    CHECK_EQ(cshm_map_entry_set(map, &entry, "www", 3), 0);
    cshm_map_unlock(map, &entry);
    CHECK_EQ(cshm_map_lock(map, "k", 1, &entry), 0);
    CHECK(entry.length == 3 && memcmp(entry.value, "www", 3) == 0);
    cshm_map_entry_remove(map, &entry);
    CHECK(entry.value == NULL);
    cshm_map_unlock(map, &entry);
    CHECK_EQ(cshm_map_count(map), 0);
    cshm_map_close(map);
    cshm_region_close(region);
}

enum { ADDS = 20000, COUNTERS = 5 };

static uint64_t next_of(const void *value)
{
    return (value == NULL ? 0 : *(const uint64_t *)value) + 1;
}

static int add_under_the_lock(cshm_map *map, uint64_t key)
{
    struct cshm_map_entry entry;
    int status = cshm_map_lock(map, &key, 8, &entry);
    if (status == 0) {
        uint64_t value = next_of(entry.value);
        status = cshm_map_entry_set(map, &entry, &value, 8);
        cshm_map_unlock(map, &entry);
    }
    return status;
}

static int add_in_a_transaction(cshm_map *map, uint64_t key)
{
    struct cshm_map_step step = {.key = &key, .key_length = 8};
    int status = cshm_map_begin(map, &step, 1);
    if (status == 0) {
        uint64_t value = next_of(step.value);
        step.action = CSHM_MAP_SET;
        step.new_value = &value;
        step.new_length = 8;
        status = cshm_map_commit(map, &step, 1);
    }
    return status;
}

/* In every way there is, of which one needs no lock. */
static void add(cshm_region *region, void *context)
{
    cshm_map *map = NULL;
    if (cshm_map_open(region, *(uint64_t *)context, 3, &map) != 0) {
        _exit(1);
    }
    for (uint64_t i = 0; i < ADDS; i++) {
        uint64_t key = i % COUNTERS;
        int status = i % 8 == 0   ? add_under_the_lock(map, key)
                     : i % 8 == 4 ? add_in_a_transaction(map, key)
                                  : cshm_map_fetch_add(map, &key, 8, 1, NULL);
        if (status != 0) {
            _exit(1);
        }
    }
}

static void counts_between_processes(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    cshm_map *map = make_map(region, &offset);
    pid_t children[4];
    for (int i = 0; i < 4; i++) {
        children[i] = spawn(region, add, &offset);
    }
    for (int i = 0; i < 4; i++) {
        expect_success(children[i]);
    }
    for (uint64_t key = 0; key < COUNTERS; key++) {
        uint64_t value = 0;
        uint64_t length = 0;
        CHECK_EQ(cshm_map_get(map, &key, 8, &value, 8, &length), 0);
        CHECK_EQ(value, 4 * ADDS / COUNTERS);
    }
    cshm_map_close(map);
    cshm_region_close(region);
}

/* Removes a counter. @returns what it was. */
static uint64_t take(cshm_map *map, uint64_t key)
{
    struct cshm_map_entry entry;
    CHECK_EQ(cshm_map_lock(map, &key, 8, &entry), 0);
    uint64_t value = entry.value == NULL ? 0 : *(const uint64_t *)entry.value;
    cshm_map_entry_remove(map, &entry);
    cshm_map_unlock(map, &entry);
    return value;
}

static void takes_what_processes_add(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    uint64_t taken = 0;
    cshm_map *map = make_map(region, &offset);
    pid_t children[2] = {spawn(region, add, &offset), spawn(region, add, &offset)};
    while (taken < ADDS / 2) {
        for (uint64_t key = 0; key < COUNTERS; key++) {
            taken += take(map, key);
        }
    }
    for (int i = 0; i < 2; i++) {
        expect_success(children[i]);
    }
    for (uint64_t key = 0; key < COUNTERS; key++) {
        taken += take(map, key);
    }
    CHECK_EQ(taken, 2 * ADDS);
    cshm_map_close(map);
    cshm_region_close(region);
}

static void tells_of_words(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    cshm_map *map = make_map(region, &offset);
    struct cshm_map_watch key = {.map = map, .key = "key", .key_length = 3};
    struct cshm_map_watch all = {.map = map};
    for (int64_t i = 0; i < 5; i++) {
        uint64_t version = 0;
        int64_t before = 0;
        all.version = cshm_map_changes(map);
        CHECK_EQ(i % 2 == 0 ? cshm_map_fetch_add(map, "key", 3, 0, &before)
                            : cshm_map_put(map, "key", 3, &(int64_t){0}, 8),
                 i % 2);
        CHECK_EQ(before, 0);
        CHECK_EQ(cshm_map_wait_until(&all, 0), 0);
        CHECK_EQ(cshm_map_wait_until(&key, 0), 0);
        CHECK_EQ(cshm_map_version(map, "key", 3, &version), 0);
        CHECK(version > key.version);
        key.version = version;
    }
    CHECK_EQ(cshm_map_remove(map, "key", 3), 0);
    CHECK_EQ(cshm_map_replace(map, "key", 3, &(int64_t){0}, 8), -ENOENT);
    CHECK_EQ(cshm_map_insert(map, "key", 3, &(int64_t){0}, 8), 0);
    uint64_t version = 0;
    CHECK_EQ(cshm_map_version(map, "key", 3, &version), 0);
    CHECK(version > key.version);
    cshm_map_destroy(map);
    cshm_region_close(region);
}

enum { STABLE = 500, GROWN = 60000 };

static void grow(cshm_region *region, void *context)
{
    struct growth *growth = context;
    cshm_map *map = NULL;
    if (cshm_map_open(region, growth->offset, 3, &map) != 0) {
        _exit(1);
    }
    for (uint64_t i = STABLE; i < GROWN; i++) {
        uint64_t stable = i % STABLE;
        uint64_t value[2] = {i, ~i};
        if (cshm_map_put(map, &i, 8, value, 16) != 0 ||
            cshm_map_put(map, &stable, 8, value, 16) != 1) {
            _exit(1);
        }
    }
    atomic_store(&growth->done, 1);
}

static void reads_while_a_process_grows(void)
{
    struct growth *growth = shared_memory(sizeof *growth);
    cshm_region *region = make_region(256u << 20);
    cshm_map *map = make_map(region, &growth->offset);
    for (uint64_t i = 0; i < STABLE; i++) {
        uint64_t value[2] = {i, ~i};
        CHECK_EQ(cshm_map_put(map, &i, 8, value, 16), 0);
    }
    pid_t child = spawn(region, grow, growth);
    static uint32_t shard_of[GROWN];
    uint32_t walks = 0;
    while (atomic_load(&growth->done) == 0 || walks < 3) {
        for (uint64_t i = 0; i < STABLE; i++) {
            uint64_t value[2];
            uint64_t length = 0;
            CHECK_EQ(cshm_map_get(map, &i, 8, value, 16, &length), 0);
            CHECK(length == 16 && value[1] == ~value[0] && value[0] % STABLE == i);
        }
        struct cshm_map_cursor cursor = {0};
        memset(shard_of, 0, sizeof shard_of);
        for (;;) {
            uint64_t buffer[3];
            uint64_t key_length = 0;
            uint64_t length = 0;
            int status = cshm_map_next(map, &cursor, buffer, sizeof buffer, &key_length, &length);
            if (status == -ENOENT) {
                break;
            }
            if (status == -ESTALE) {
                for (uint32_t i = 0; i < GROWN; i++) {
                    shard_of[i] = shard_of[i] == cursor.shard + 1 ? 0 : shard_of[i];
                }
                continue;
            }
            CHECK_EQ(status, 0);
            CHECK(buffer[0] < GROWN && buffer[2] == ~buffer[1]);
            CHECK(buffer[0] >= STABLE || shard_of[buffer[0]] == 0);
            shard_of[buffer[0]] = cursor.shard + 1;
        }
        for (uint32_t i = 0; i < STABLE; i++) {
            CHECK(shard_of[i] != 0);
        }
        walks++;
    }
    expect_success(child);
    CHECK_EQ(cshm_map_count(map), GROWN);
    cshm_map_close(map);
    cshm_region_close(region);
}

enum { REPLACEMENTS = 20000, REPLACED = 8, WORDS = 512 };

struct replacing {
    cshm_map *map;
    _Atomic uint32_t done;
};

/* Values of three sizes, so that a freed item's memory becomes another key's or a table's. */
static void *replace(void *context)
{
    struct replacing *shared = context;
    for (uint64_t i = 0; i < REPLACEMENTS; i++) {
        uint64_t value[WORDS];
        uint64_t key = i % REPLACED;
        for (uint64_t k = 0; k < WORDS; k++) {
            value[k] = i << 8 | key;
        }
        CHECK(cshm_map_put(shared->map, &key, 8, value, sizeof value >> i % 3) >= 0);
        CHECK(i % 7 != 0 || cshm_map_remove(shared->map, &(uint64_t){REPLACED}, 8) <= 0);
        CHECK(i % 7 != 3 || cshm_map_put(shared->map, &(uint64_t){REPLACED}, 8, value, 32) >= 0);
    }
    atomic_fetch_add(&shared->done, 1);
    return NULL;
}

static void reads_while_threads_replace(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    struct replacing shared = {.map = make_map(region, &offset)};
    pthread_t threads[2];
    for (uint64_t key = 0; key < REPLACED; key++) {
        uint64_t value[4] = {key, key, key, key};
        CHECK_EQ(cshm_map_put(shared.map, &key, 8, value, sizeof value), 0);
    }
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, replace, &shared), 0);
    }
    while (atomic_load(&shared.done) < 2) {
        for (uint64_t key = 0; key < REPLACED; key++) {
            uint64_t value[WORDS];
            uint64_t length = 0;
            CHECK_EQ(cshm_map_get(shared.map, &key, 8, value, sizeof value, &length), 0);
            CHECK(length % 32 == 0 && (value[0] & 0xff) == key);
            for (uint64_t k = 1; k < length / 8; k++) {
                CHECK_EQ(value[k], value[0]);
            }
        }
    }
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    cshm_map_close(shared.map);
    cshm_region_close(region);
}

const struct test map_tests[] = {
    {"puts_gets_replaces_and_removes", put_get_remove},
    {"grows_to_a_hundred_thousand_keys_and_walks_them", grows},
    {"locks_an_entry_sets_and_removes_it", locks},
    {"inserts_replaces_and_exchanges_on_condition", conditions},
    {"adds_to_integers_and_to_nothing_else", adds},
    {"has_from_one_to_a_thousand_shards", options},
    {"takes_twice_its_content_at_most_and_shrinks", stays_small},
    {"tells_those_who_watch_a_key_or_all", watches},
    {"freezes_keys_that_change_in_turn", freezes},
    {"takes_damage_without_a_crash_or_an_endless_loop", takes_damage},
    {"counts_atomically_from_four_processes", counts_between_processes},
    {"takes_what_processes_add", takes_what_processes_add},
    {"tells_of_words_that_are_changed", tells_of_words},
    {"reads_whole_values_while_threads_replace_them", reads_while_threads_replace},
    {"reads_and_walks_while_another_process_grows_it", reads_while_a_process_grows},
    {NULL, NULL},
};
