/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/list.h.
 */
#include "support.h"

#include <pthread.h>
#include <stdlib.h>

#include <cshm/list.h>

#include "layout.h"

extern const struct test list_tests[];

static cshm_list *make_list(cshm_region *region, uint64_t *offset)
{
    cshm_list *list = NULL;
    CHECK_EQ(cshm_list_create(region, 3, offset), 0);
    CHECK_EQ(cshm_heap_share(region, *offset), 0);
    CHECK_EQ(cshm_list_open(region, *offset, 3, &list), 0);
    return list;
}

static uint64_t number_at(const cshm_list *list, uint64_t index)
{
    uint64_t number = 0;
    uint64_t length = 0;
    CHECK_EQ(cshm_list_get(list, index, &number, sizeof number, &length), 0);
    CHECK_EQ(length, sizeof number);
    return number;
}

static void expect(const cshm_list *list, const uint64_t *numbers, uint64_t count)
{
    CHECK_EQ(cshm_list_count(list), count);
    for (uint64_t i = 0; i < count; i++) {
        CHECK_EQ(number_at(list, i), numbers[i]);
    }
}

static void pushes_and_pops(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    uint64_t before = blocks_in_use(region);
    cshm_list *list = make_list(region, &offset);
    cshm_list *other = NULL;
    char buffer[16];
    uint64_t length = 0;
    CHECK_EQ(cshm_list_open(region, offset, 4, &other), -EPROTO);
    CHECK_EQ(cshm_list_open(region, offset + 128, 3, &other), -EPROTO);
    CHECK_EQ(cshm_list_pop_back(list, buffer, sizeof buffer, &length), -ENOENT);
    CHECK_EQ(cshm_list_pop_front(list, buffer, sizeof buffer, &length), -ENOENT);
    CHECK_EQ(cshm_list_get(list, 0, buffer, sizeof buffer, &length), -ENOENT);
    CHECK_EQ(cshm_list_set(list, 0, "a", 1), -ENOENT);
    CHECK_EQ(cshm_list_push_back(list, "", 0), 0);
    CHECK_EQ(cshm_list_push_back(list, "last", 4), 0);
    CHECK_EQ(cshm_list_push_front(list, "the first", 9), 0);
    CHECK_EQ(cshm_list_count(list), 3);
    CHECK_EQ(cshm_list_get(list, 0, buffer, sizeof buffer, &length), 0);
    CHECK(length == 9 && memcmp(buffer, "the first", 9) == 0);
    CHECK_EQ(cshm_list_get(list, 1, NULL, 0, &length), 0);
    CHECK_EQ(length, 0);
    CHECK_EQ(cshm_list_get(list, 2, buffer, 3, &length), -EMSGSIZE);
    CHECK_EQ(length, 4);
    CHECK_EQ(cshm_list_set(list, 1, "middle", 6), 0);
    CHECK_EQ(cshm_list_pop_front(list, buffer, 4, &length), -EMSGSIZE);
    CHECK_EQ(length, 9);
    CHECK_EQ(cshm_list_count(list), 3);
    CHECK_EQ(cshm_list_pop_front(list, buffer, sizeof buffer, &length), 0);
    CHECK_EQ(cshm_list_pop_back(list, buffer, sizeof buffer, &length), 0);
    CHECK(length == 4 && memcmp(buffer, "last", 4) == 0);
    CHECK_EQ(cshm_list_pop_back(list, buffer, sizeof buffer, &length), 0);
    CHECK(length == 6 && memcmp(buffer, "middle", 6) == 0);
    CHECK_EQ(cshm_list_count(list), 0);
    cshm_list_destroy(list);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

/* The same done to an array, by random calls. */
enum { MODEL_MAX = 4096, STEPS = 60000 };

struct model {
    uint64_t number[MODEL_MAX];
    uint64_t count;
};

static uint64_t random_word(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void splice_model(struct model *model, uint64_t from, uint64_t count,
                         const uint64_t *numbers, uint64_t number_count)
{
    memmove(model->number + from + number_count, model->number + from + count,
            (model->count - from - count) * 8);
    if (number_count != 0) {
        memcpy(model->number + from, numbers, number_count * 8);
    }
    model->count += number_count - count;
}

static void splice_both(cshm_list *list, struct model *model, uint64_t *random)
{
    uint64_t numbers[40];
    struct cshm_list_value values[40];
    uint64_t from = random_word(random) % (model->count + 1);
    uint64_t most = model->count - from;
    uint64_t count = random_word(random) % 3 == 0 ? random_word(random) % (most + 1)
                                                  : random_word(random) % (most < 4 ? most + 1 : 4);
    uint64_t coming = model->count > MODEL_MAX / 2 ? 0 : random_word(random) % 40;
    from = random_word(random) % 4 == 0 ? model->count : from;
    count = from == model->count ? 0 : count;
    for (uint64_t i = 0; i < coming; i++) {
        numbers[i] = random_word(random);
        values[i] = (struct cshm_list_value){&numbers[i], 8};
    }
    CHECK_EQ(cshm_list_splice(list, from, count, values, coming), 0);
    splice_model(model, from, count, numbers, coming);
}

static void change_both(cshm_list *list, struct model *model, uint64_t *random)
{
    uint64_t number = random_word(random);
    uint64_t popped = 0;
    uint64_t length = 0;
    uint64_t index = model->count == 0 ? 0 : random_word(random) % model->count;
    bool grows = model->count < MODEL_MAX / 2;
    switch (random_word(random) % 8) {
    case 0:
    case 1:
        if (grows) {
            CHECK_EQ(cshm_list_push_back(list, &number, 8), 0);
            splice_model(model, model->count, 0, &number, 1);
        }
        break;
    case 2:
        if (grows) {
            CHECK_EQ(cshm_list_push_front(list, &number, 8), 0);
            splice_model(model, 0, 0, &number, 1);
        }
        break;
    case 3:
    case 4:
        if (model->count != 0) {
            bool front = number % 2 == 0;
            uint64_t at = front ? 0 : model->count - 1;
            CHECK_EQ(front ? cshm_list_pop_front(list, &popped, 8, &length)
                           : cshm_list_pop_back(list, &popped, 8, &length),
                     0);
            CHECK_EQ(popped, model->number[at]);
            splice_model(model, at, 1, NULL, 0);
        }
        break;
    case 5:
        if (model->count != 0) {
            CHECK_EQ(cshm_list_set(list, index, &number, 8), 0);
            model->number[index] = number;
        }
        break;
    case 6:
        if (model->count != 0) {
            CHECK_EQ(number_at(list, index), model->number[index]);
        }
        break;
    default:
        splice_both(list, model, random);
    }
}

static void like_an_array(void)
{
    static struct model model;
    cshm_region *region = make_region(64u << 20);
    uint64_t offset = 0;
    uint64_t before = blocks_in_use(region);
    cshm_list *list = make_list(region, &offset);
    uint64_t random = 88172645463325252ull;
    for (uint64_t step = 0; step < STEPS; step++) {
        change_both(list, &model, &random);
        if (step % 512 == 0) {
            expect(list, model.number, model.count);
            /* The list, its body, and an item for each element. */
            CHECK(blocks_in_use(region) - before <= 2 + model.count);
        }
    }
    CHECK_EQ(cshm_list_splice(list, model.count + 1, 0, NULL, 0), -ENOENT);
    CHECK_EQ(cshm_list_splice(list, 0, model.count + 1, NULL, 0), -ENOENT);
    CHECK_EQ(cshm_list_splice(list, 0, model.count, NULL, 0), 0);
    CHECK_EQ(cshm_list_count(list), 0);
    CHECK_EQ(blocks_in_use(region), before + 1);
    cshm_list_destroy(list);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void nests_under_the_lock(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    cshm_list *list = make_list(region, &offset);
    const void *bytes = NULL;
    uint64_t length = 0;
    uint64_t number = 5;
    CHECK_EQ(cshm_list_push_back(list, &number, 8), 0);
    CHECK_EQ(cshm_list_lock(list), 0);
    CHECK_EQ(cshm_list_lock(list), -EDEADLK);
    CHECK_EQ(cshm_list_peek(list, 0, &bytes, &length), 0);
    CHECK(length == 8 && *(const uint64_t *)bytes == 5);
    CHECK_EQ(cshm_list_peek(list, 1, &bytes, &length), -ENOENT);
    number = 6;
    CHECK_EQ(cshm_list_set(list, 0, &number, 8), 0);
    CHECK_EQ(cshm_list_push_back(list, &number, 8), 0);
    CHECK_EQ(cshm_list_count(list), 2);
    cshm_list_unlock(list);
    CHECK_EQ(cshm_list_lock(list), 0);
    cshm_list_unlock(list);
    expect(list, (uint64_t[]){6, 6}, 2);
    cshm_list_destroy(list);
    cshm_region_close(region);
}

struct sharing {
    cshm_list *list;
    uint64_t offset;
    _Atomic uint32_t done;
};

enum { ROUNDS = 4000, WIDTH = 32 };

/* All elements are always of one number; lengths differ. */
static void *renumber(void *context)
{
    struct sharing *sharing = context;
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        uint64_t numbers[4] = {i, i, i, i};
        struct cshm_list_value values[WIDTH];
        uint64_t count = 1 + i % WIDTH;
        for (uint64_t k = 0; k < count; k++) {
            values[k] = (struct cshm_list_value){numbers, 8 + 8 * ((i + k) % 4)};
        }
        CHECK_EQ(cshm_list_splice(sharing->list, 0, cshm_list_count(sharing->list), values, count),
                 0);
    }
    atomic_store(&sharing->done, 1);
    return NULL;
}

static void slices_are_of_one_instant(void)
{
    cshm_region *region = make_region(16u << 20);
    struct sharing sharing = {0};
    sharing.list = make_list(region, &sharing.offset);
    pthread_t thread;
    uint64_t slices = 0;
    static uint64_t buffer[WIDTH * 5];
    uint64_t copied = 0;
    uint64_t size = 0;
    CHECK_EQ(cshm_list_slice(sharing.list, 0, UINT64_MAX, NULL, 0, &copied, &size), 0);
    CHECK(copied == 0 && size == 0);
    CHECK_EQ(cshm_list_push_back(sharing.list, &copied, 8), 0);
    CHECK_EQ(cshm_list_slice(sharing.list, 0, UINT64_MAX, buffer, 8, &copied, &size), -EMSGSIZE);
    CHECK_EQ(size, 16);
    CHECK_EQ(cshm_list_slice(sharing.list, 1, 1, NULL, 0, &copied, &size), 0);
    CHECK_EQ(copied, 0);
    CHECK_EQ(pthread_create(&thread, NULL, renumber, &sharing), 0);
    for (; atomic_load(&sharing.done) == 0 || slices < 100; slices++) {
        CHECK_EQ(cshm_list_slice(sharing.list, 0, WIDTH, buffer, sizeof buffer, &copied, &size), 0);
        CHECK(copied >= 1);
        uint64_t at = 0;
        for (uint64_t k = 0; k < copied; k++) {
            uint64_t length = buffer[at];
            CHECK(length % 8 == 0 && length >= 8 && length <= 32);
            for (uint64_t word = 0; word < length / 8; word++) {
                CHECK_EQ(buffer[at + 1 + word], buffer[1]);
            }
            at += 1 + length / 8;
        }
        CHECK_EQ(at * 8, size);
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    cshm_list_destroy(sharing.list);
    cshm_region_close(region);
}

enum { PRODUCED = 20000, PRODUCERS = 3 };

static void produce(cshm_region *region, void *context)
{
    struct sharing *sharing = context;
    cshm_list *list = NULL;
    if (cshm_list_open(region, sharing->offset, 3, &list) != 0) {
        _exit(1);
    }
    uint64_t self = atomic_fetch_add(&sharing->done, 1);
    for (uint64_t i = 0; i < PRODUCED; i++) {
        uint64_t number = self << 32 | i;
        if (cshm_list_push_back(list, &number, 8) != 0) {
            _exit(1);
        }
    }
}

static void processes_push_and_pop(void)
{
    struct sharing *sharing = shared_memory(sizeof *sharing);
    cshm_region *region = make_region(64u << 20);
    cshm_list *list = make_list(region, &sharing->offset);
    pid_t children[PRODUCERS];
    uint64_t next[PRODUCERS] = {0};
    for (int i = 0; i < PRODUCERS; i++) {
        children[i] = spawn(region, produce, sharing);
    }
    for (uint64_t got = 0; got < PRODUCERS * PRODUCED;) {
        uint64_t number = 0;
        uint64_t length = 0;
        struct cshm_list_watch watch = {list, cshm_list_changes(list)};
        int status = cshm_list_pop_front(list, &number, 8, &length);
        if (status == -ENOENT) {
            CHECK_EQ(cshm_list_wait_until(&watch, INT64_MAX), 0);
            continue;
        }
        CHECK_EQ(status, 0);
        CHECK(number >> 32 < PRODUCERS);
        CHECK_EQ(number & UINT32_MAX, next[number >> 32]++);
        got++;
    }
    for (int i = 0; i < PRODUCERS; i++) {
        expect_success(children[i]);
    }
    CHECK_EQ(cshm_list_count(list), 0);
    cshm_list_destroy(list);
    cshm_region_close(region);
}

/* Spoils a word of the list, of its body or of an item. */
static void spoil(cshm_region *region, uint64_t offset, uint64_t *random)
{
    struct cshm_list_shared *shared = cshm_heap_pointer(region, offset, sizeof *shared);
    uint64_t word = atomic_load(&shared->body);
    _Atomic uint64_t *victim = &shared->body;
    uint64_t kind = random_word(random) % 4;
    uint64_t *body = cshm_heap_pointer(region, (word & ((1ull << 33) - 1)) << 7, 128);
    if (kind == 1) {
        victim = &shared->generation + random_word(random) % 8;
    } else if (kind == 2 && body != NULL) {
        victim = (_Atomic uint64_t *)(void *)(body + (random_word(random) % 2 == 0
                                                          ? 0
                                                          : 8 + random_word(random) % 8));
    } else if (kind == 3 && body != NULL) {
        uint64_t slot = body[8 + random_word(random) % 8];
        uint64_t *item = cshm_heap_pointer(region, (slot & ((1ull << 36) - 1)) << 4, 24);
        victim =
            item == NULL ? victim : (_Atomic uint64_t *)(void *)(item + random_word(random) % 3);
    }
    atomic_fetch_xor(victim, random_word(random) % 2 == 0 ? random_word(random)
                                                          : 1ull << random_word(random) % 64);
}

static void is_a_status(int status)
{
    CHECK(status == 0 || status == -ENOENT || status == -EPROTO || status == -EMSGSIZE ||
          status == -ENOSPC || status == -EINVAL);
}

static void takes_damage(void)
{
    uint64_t random = 0x7654321;
    for (int trial = 0; trial < 400; trial++) {
        cshm_region *region = make_region(2u << 20);
        uint64_t offset = 0;
        cshm_list *list = make_list(region, &offset);
        static uint64_t buffer[8192];
        uint64_t length = 0;
        uint64_t size = 0;
        for (uint64_t i = 0; i < 100; i++) {
            CHECK_EQ(cshm_list_push_back(list, (uint64_t[]){i, i, i}, 8 + 8 * (i % 3)), 0);
        }
        for (int i = 0; i < 4; i++) {
            spoil(region, offset, &random);
        }
        for (uint64_t i = 0; i < 120; i++) {
            is_a_status(cshm_list_get(list, i, buffer, sizeof buffer, &length));
            is_a_status(cshm_list_set(list, i, buffer, 8 * (1 + i % 3)));
            is_a_status(cshm_list_push_front(list, buffer, 8));
            is_a_status(cshm_list_pop_back(list, buffer, 64, &length));
            is_a_status(cshm_list_slice(list, i, 10, buffer, sizeof buffer, &length, &size));
            is_a_status(cshm_list_splice(list, i, 1, &(struct cshm_list_value){buffer, 24}, 1));
        }
        cshm_list_close(list);
        cshm_region_close(region);
    }
}

const struct test list_tests[] = {
    {"pushes_pops_gets_and_sets", pushes_and_pops},
    {"does_as_an_array_does", like_an_array},
    {"changes_under_its_lock", nests_under_the_lock},
    {"slices_are_of_one_instant", slices_are_of_one_instant},
    {"takes_what_processes_push", processes_push_and_pop},
    {"takes_damage_without_a_crash_or_an_endless_loop", takes_damage},
    {NULL, NULL},
};
