/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of transactions over several keys of a map.
 */
#include "support.h"

#include <cshm/map.h>

extern const struct test transaction_tests[];

static cshm_map *make_map(cshm_region *region, uint32_t shards, uint64_t *offset)
{
    const struct cshm_map_options options = {.type_tag = 3, .shards = shards};
    cshm_map *map = NULL;
    CHECK_EQ(cshm_map_create(region, &options, offset), 0);
    CHECK_EQ(cshm_heap_share(region, *offset), 0);
    CHECK_EQ(cshm_map_open(region, *offset, 3, &map), 0);
    return map;
}

static int64_t number_of(const cshm_map *map, uint64_t key)
{
    int64_t number = 0;
    uint64_t length = 0;
    int status = cshm_map_get(map, &key, 8, &number, 8, &length);
    CHECK(status == 0 ? length == 8 : status == -ENOENT);
    return status == 0 ? number : -1;
}

static void changes_all(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    uint64_t before = blocks_in_use(region);
    cshm_map *map = make_map(region, 0, &offset);
    const uint64_t keys[4] = {1, 2, 3, 4};
    const int64_t seven = 7;
    struct cshm_map_step steps[4];
    CHECK_EQ(cshm_map_fetch_add(map, &keys[0], 8, 10, NULL), 0);
    CHECK_EQ(cshm_map_fetch_add(map, &keys[1], 8, 20, NULL), 0);
    for (int i = 0; i < 4; i++) {
        steps[i] = (struct cshm_map_step){.key = &keys[i], .key_length = 8};
    }
    CHECK_EQ(cshm_map_begin(map, steps, 4), 0);
    CHECK(steps[0].length == 8 && *(const int64_t *)steps[0].value == 10 && steps[0].version != 0);
    CHECK(steps[2].value == NULL && steps[2].length == 0 && steps[2].version == 0);
    CHECK_EQ(number_of(map, 2), 20);
    steps[0].action = CSHM_MAP_SET;
    steps[0].new_value = "longer";
    steps[0].new_length = 6;
    steps[1].action = steps[3].action = CSHM_MAP_REMOVE;
    steps[2].action = CSHM_MAP_SET;
    steps[2].new_value = &seven;
    steps[2].new_length = 8;
    uint64_t changes = cshm_map_changes(map);
    CHECK_EQ(cshm_map_commit(map, steps, 4), 0);
    CHECK(cshm_map_changes(map) != changes);
    char buffer[8];
    uint64_t length = 0;
    CHECK_EQ(cshm_map_get(map, &keys[0], 8, buffer, sizeof buffer, &length), 0);
    CHECK(length == 6 && memcmp(buffer, "longer", 6) == 0);
    CHECK_EQ(number_of(map, 2), -1);
    CHECK_EQ(number_of(map, 3), 7);
    CHECK_EQ(number_of(map, 4), -1);
    CHECK_EQ(cshm_map_count(map), 2);
    cshm_map_destroy(map);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void refuses(void)
{
    static uint8_t large[20u << 20];
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    cshm_map *map = make_map(region, 0, &offset);
    const uint64_t keys[2] = {1, 2};
    struct cshm_map_entry entry;
    struct cshm_map_step steps[2] = {{.key = &keys[0], .key_length = 8},
                                     {.key = &keys[0], .key_length = 8}};
    CHECK_EQ(cshm_map_begin(map, steps, 2), -EINVAL);
    CHECK_EQ(cshm_map_begin(map, steps, 0), -EINVAL);
    CHECK_EQ(cshm_map_begin(map, steps, 1025), -EINVAL);
    steps[1].key = &keys[1];
    CHECK_EQ(cshm_map_lock(map, &keys[1], 8, &entry), 0);
    CHECK_EQ(cshm_map_begin(map, steps, 2), -EDEADLK);
    cshm_map_unlock(map, &entry);
    uint64_t before = blocks_in_use(region);
    CHECK_EQ(cshm_map_begin(map, steps, 2), 0);
    CHECK_EQ(cshm_map_lock(map, &keys[0], 8, &entry), -EDEADLK);
    steps[0].action = steps[1].action = CSHM_MAP_SET;
    steps[1].new_value = large;
    steps[1].new_length = sizeof large;
    CHECK_EQ(cshm_map_commit(map, steps, 2), -ENOSPC);
    CHECK_EQ(cshm_map_begin(map, steps, 2), 0);
    steps[1].new_length = 1ull << 40;
    CHECK_EQ(cshm_map_commit(map, steps, 2), -EINVAL);
    CHECK_EQ(cshm_map_count(map), 0);
    CHECK_EQ(cshm_map_clear(map), 0);
    CHECK_EQ(blocks_in_use(region), before);
    CHECK_EQ(cshm_map_begin(map, steps, 2), 0);
    cshm_map_abandon(map, steps, 2);
    CHECK_EQ(cshm_map_put(map, &keys[0], 8, "", 0), 0);
    cshm_map_destroy(map);
    cshm_region_close(region);
}

/* All into one shard, whose table has to grow several times on the way. */
static void sets_many(void)
{
    enum { MANY = 1024 };
    cshm_region *region = make_region(64u << 20);
    uint64_t offset = 0;
    cshm_map *map = make_map(region, 1, &offset);
    static uint64_t keys[MANY];
    static struct cshm_map_step steps[MANY];
    for (uint64_t round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < MANY; i++) {
            keys[i] = i + round * MANY / 2;
            steps[i] = (struct cshm_map_step){.key = &keys[i], .key_length = 8};
        }
        CHECK_EQ(cshm_map_begin(map, steps, MANY), 0);
        for (uint64_t i = 0; i < MANY; i++) {
            CHECK((steps[i].value == NULL) == (round == 0 || i >= MANY / 2));
            steps[i].action = CSHM_MAP_SET;
            steps[i].new_value = &keys[i];
            steps[i].new_length = 8;
        }
        CHECK_EQ(cshm_map_commit(map, steps, MANY), 0);
    }
    CHECK_EQ(cshm_map_count(map), MANY + MANY / 2);
    for (uint64_t key = 0; key < MANY + MANY / 2; key++) {
        CHECK_EQ(number_of(map, key), key);
    }
    cshm_map_destroy(map);
    cshm_region_close(region);
}

enum { ACCOUNTS = 12, EACH = 100, PROCESSES = 3, KILLS = 60 };

struct bank {
    uint64_t offset;
    uint64_t seed;
    _Atomic uint64_t transfers;
};

/* One account gives to two others; an empty one is none. */
static bool transfer(cshm_map *map, uint64_t *random)
{
    uint64_t keys[3];
    int64_t numbers[3];
    struct cshm_map_step steps[3];
    keys[0] = next_random(random) % ACCOUNTS;
    keys[1] = (keys[0] + 1 + next_random(random) % 5) % ACCOUNTS;
    keys[2] = (keys[1] + 6) % ACCOUNTS;
    if (keys[2] == keys[0]) {
        return true;
    }
    for (int i = 0; i < 3; i++) {
        steps[i] = (struct cshm_map_step){.key = &keys[i], .key_length = 8};
    }
    if (cshm_map_begin(map, steps, 3) != 0) {
        return false;
    }
    for (int i = 0; i < 3; i++) {
        numbers[i] = steps[i].value == NULL ? 0 : *(const int64_t *)steps[i].value;
    }
    if (numbers[0] < 2) {
        cshm_map_abandon(map, steps, 3);
        return true;
    }
    numbers[0] -= 2;
    numbers[1]++;
    numbers[2]++;
    for (int i = 0; i < 3; i++) {
        steps[i].action = numbers[i] == 0 ? CSHM_MAP_REMOVE : CSHM_MAP_SET;
        steps[i].new_value = &numbers[i];
        steps[i].new_length = 8;
    }
    return cshm_map_commit(map, steps, 3) == 0;
}

static void transfer_for_ever(cshm_region *region, void *context)
{
    struct bank *bank = context;
    uint64_t random = bank->seed ^ (uint64_t)getpid();
    cshm_map *map = NULL;
    if (cshm_map_open(region, bank->offset, 3, &map) != 0) {
        _exit(1);
    }
    while (transfer(map, &random)) {
        atomic_fetch_add(&bank->transfers, 1);
    }
    _exit(2);
}

static void check_total(cshm_map *map)
{
    int64_t total = 0;
    CHECK_EQ(cshm_map_freeze(map), 0);
    for (uint64_t key = 0; key < ACCOUNTS; key++) {
        int64_t number = number_of(map, key);
        total += number > 0 ? number : 0;
    }
    cshm_map_thaw(map);
    CHECK_EQ(total, ACCOUNTS * EACH);
}

static void keeps_totals(void)
{
    cshm_region *region = make_region(16u << 20);
    struct bank *bank = shared_memory(sizeof *bank);
    cshm_map *map = make_map(region, 8, &bank->offset);
    pid_t children[PROCESSES];
    bank->seed = make_seed();
    uint64_t random = bank->seed;
    for (uint64_t key = 0; key < ACCOUNTS; key++) {
        CHECK_EQ(cshm_map_fetch_add(map, &key, 8, EACH, NULL), 0);
    }
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = spawn(region, transfer_for_ever, bank);
    }
    for (int i = 0; i < KILLS; i++) {
        uint64_t seen = atomic_load(&bank->transfers);
        uint64_t wanted = seen + next_random(&random) % 50;
        int64_t end = after(20 * SECOND);
        while (atomic_load(&bank->transfers) < wanted) {
            CHECK(cshm_now_ns() < end);
            check_total(map);
        }
        expect_killed((kill(children[i % PROCESSES], SIGKILL), children[i % PROCESSES]));
        check_total(map);
        children[i % PROCESSES] = spawn(region, transfer_for_ever, bank);
    }
    for (int i = 0; i < PROCESSES; i++) {
        expect_killed((kill(children[i], SIGKILL), children[i]));
    }
    check_total(map);
    CHECK_EQ(cshm_map_clear(map), 0);
    (void)cshm_region_reap(region);
    CHECK_EQ(blocks_in_use(region), 1);
    cshm_map_destroy(map);
    cshm_region_close(region);
}

const struct test transaction_tests[] = {
    {"sets_adds_and_removes_several_keys", changes_all},
    {"refuses_keys_twice_and_values_too_long_and_changes_nothing", refuses},
    {"sets_a_thousand_keys_of_one_shard", sets_many},
    {"keeps_totals_though_processes_are_killed", keeps_totals},
    {NULL, NULL},
};
