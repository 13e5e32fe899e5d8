/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/ring.h: sequences of calls drawn by lot, on a sound ring and on a damaged one.
 */
#include "support.h"

#include <cshm/ring.h>

#include "internal.h"

extern const struct test ring_order_tests[];

static cshm_ring *open_both_ends(cshm_region *region, uint64_t offset)
{
    cshm_ring *ring = NULL;
    CHECK_EQ(cshm_ring_open(region, offset, &ring), 0);
    CHECK_EQ(cshm_ring_become_consumer(ring), 0);
    CHECK_EQ(cshm_ring_become_producer(ring), 0);
    return ring;
}

static cshm_ring *make_both_ends(cshm_region *region, uint32_t capacity, uint32_t slot_size,
                                 uint64_t *offset)
{
    CHECK_EQ(cshm_ring_create(region, capacity, slot_size, offset), 0);
    CHECK_EQ(cshm_heap_share(region, *offset), 0);
    return open_both_ends(region, *offset);
}

/* ---- anything, in any order ---- */

enum { MODEL_CAPACITY = 64, MODEL_ROUNDS = 400000 };

/* What is in a ring, by the numbers put and taken. */
struct model {
    cshm_ring *ring;
    uint64_t offset;
    uint64_t random;
    uint64_t put;
    uint64_t taken;
    uint64_t seen; /* those below it were peeked at since the role was taken */
    uint32_t slot_size;
    bool only_exact; /* every message has the slot's size */
};

static uint64_t model_length(const struct model *model, uint64_t number)
{
    uint64_t mixed = number * 0x9e3779b97f4a7c15u >> 56;
    if (model->only_exact || mixed >= 16) {
        return model->slot_size;
    }
    return mixed < 2 ? model->slot_size + 8 + mixed : mixed % (model->slot_size + 1);
}

static void fill(const struct model *model, uint64_t number, void *data)
{
    memset(data, (int)(number & 0xff), model_length(model, number));
}

static void check_next(struct model *model, uint64_t number, const void *data, uint64_t length)
{
    CHECK_EQ(length, model_length(model, number));
    for (uint64_t i = 0; i < length; i++) {
        CHECK_EQ(((const uint8_t *)data)[i], number & 0xff);
    }
}

static void put_some(struct model *model, uint32_t count)
{
    uint64_t room = MODEL_CAPACITY - (model->put - model->taken);
    void *data = NULL;
    uint32_t claimed = 0;
    for (int status = 0; claimed < count; claimed++) {
        status = cshm_ring_try_claim_at(model->ring, claimed,
                                        model_length(model, model->put + claimed), &data);
        CHECK_EQ(status, claimed < room ? 0 : -EAGAIN);
        if (status != 0) {
            break;
        }
        fill(model, model->put + claimed, data);
    }
    /* More than are claimed, or fewer, or none. */
    uint32_t committed = (uint32_t)(next_random(&model->random) % (count + 2));
    cshm_ring_commit_many(model->ring, committed);
    model->put += committed < claimed ? committed : claimed;
}

static void put_one(struct model *model)
{
    uint8_t bytes[256];
    fill(model, model->put, bytes);
    int status = cshm_ring_try_put(model->ring, bytes, model_length(model, model->put));
    CHECK_EQ(status, model->put - model->taken < MODEL_CAPACITY ? 0 : -EAGAIN);
    model->put += status == 0;
}

static void take_some(struct model *model, uint32_t count)
{
    uint64_t there = model->put - model->taken;
    uint32_t seen = 0;
    for (int status = 0; status == 0 && seen < count; seen += status == 0) {
        const void *data = NULL;
        uint64_t length = 0;
        status = cshm_ring_try_peek_at(model->ring, seen, &data, &length);
        CHECK_EQ(status, seen < there ? 0 : -EAGAIN);
        if (status == 0) {
            check_next(model, model->taken + seen, data, length);
            uint32_t again = (uint32_t)(next_random(&model->random) % (seen + 1));
            CHECK_EQ(cshm_ring_try_peek_at(model->ring, again, &data, &length), 0);
            check_next(model, model->taken + again, data, length);
        }
    }
    if (model->seen < model->taken + seen) {
        model->seen = model->taken + seen;
    }
    /* More than were peeked at, or fewer, or none. */
    uint64_t released = next_random(&model->random) % (count + 2);
    cshm_ring_release_many(model->ring, (uint32_t)released);
    released += model->taken;
    model->taken = released < model->seen ? released : model->seen;
}

static void take_one(struct model *model)
{
    uint8_t bytes[256];
    uint64_t length = 0;
    int status = cshm_ring_try_get(model->ring, bytes, sizeof bytes, &length);
    CHECK_EQ(status, model->put != model->taken ? 0 : -EAGAIN);
    if (status == 0) {
        check_next(model, model->taken, bytes, length);
        model->taken++;
        model->seen = model->seen < model->taken ? model->taken : model->seen;
    }
}

static void pass_roles_on(cshm_region *region, struct model *model)
{
    cshm_ring_close(model->ring);
    model->ring = open_both_ends(region, model->offset);
    model->seen = model->taken;
}

static void run_model(cshm_region *region, struct model *model)
{
    for (uint32_t round = 0; round < MODEL_ROUNDS; round++) {
        uint32_t what = (uint32_t)(next_random(&model->random) % 1000);
        uint32_t count = (uint32_t)(next_random(&model->random) % 40);
        bool filling = round / 500 % 3 == 0; /* for a while more is put, for a while taken */
        if (what == 0) {
            pass_roles_on(region, model);
        } else if (what < 30) {
            put_some(model, count);
        } else if (what < 60) {
            take_some(model, count);
        } else if (what % 2 == 0 || (filling && what % 8 == 1)) {
            put_one(model);
        } else {
            take_one(model);
        }
        if (what % 16 == 0) {
            CHECK_EQ(cshm_ring_count(model->ring), model->put - model->taken);
        }
    }
}

static void any_order(void)
{
    static const uint32_t sizes[] = {8, 12, 64, 200};
    cshm_region *region = make_region(16u << 20);
    uint64_t before = blocks_in_use(region);
    uint64_t seed = make_seed();
    for (uint32_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
        struct model model = {
            .random = seed + i, .slot_size = sizes[i / 2], .only_exact = i % 2 == 0};
        model.ring = make_both_ends(region, MODEL_CAPACITY, model.slot_size, &model.offset);
        run_model(region, &model);
        CHECK(model.put > MODEL_ROUNDS / 4);
        cshm_ring_destroy(model.ring);
        CHECK_EQ(blocks_in_use(region), before);
    }
    cshm_region_close(region);
}

/* ---- damage ---- */

static bool is_answer(int status)
{
    return status >= 0 || status == -EAGAIN || status == -EPROTO || status == -EPIPE ||
           status == -ECANCELED || status == -ENOSPC || status == -EMSGSIZE || status == -EINVAL;
}

/* What is given must be memory. */
static uint64_t read_all(int status, const void *data, uint64_t length)
{
    uint64_t sum = 0;
    CHECK(is_answer(status));
    for (uint64_t i = 0; status == 0 && i < length; i += i < 1024 ? 1 : 4096) {
        sum += ((const volatile uint8_t *)data)[i];
    }
    return sum;
}

static void put_anything(cshm_ring *ring, uint64_t *random)
{
    uint8_t bytes[16 * 24] = {0};
    void *data = NULL;
    CHECK(is_answer(cshm_ring_try_put(ring, bytes, 16)));
    CHECK(is_answer(cshm_ring_try_put(ring, bytes, next_random(random) % 100)));
    if (next_random(random) % 4 == 0) {
        CHECK(is_answer(cshm_ring_try_put_many(ring, bytes, 16, 24)));
        for (uint32_t i = 0; i < 5; i++) {
            uint64_t length = next_random(random) % 100;
            int status = cshm_ring_try_claim_at(ring, i, length, &data);
            CHECK(is_answer(status));
            if (status == 0) {
                memset(data, 1, length);
            }
        }
        cshm_ring_commit_many(ring, 5);
    }
}

static void take_anything(cshm_ring *ring, uint64_t *random)
{
    uint8_t bytes[16 * 24];
    const void *data = NULL;
    uint64_t length = 0;
    CHECK(is_answer(cshm_ring_try_get(ring, bytes, 100, &length)));
    for (uint32_t i = 0; i < next_random(random) % 8; i++) {
        int status = cshm_ring_try_peek_at(ring, i, &data, &length);
        (void)read_all(status, data, length);
    }
    cshm_ring_release_many(ring, 4);
    if (next_random(random) % 2 == 0) {
        CHECK(is_answer(cshm_ring_try_get_many(ring, bytes, 16, 24)));
    }
}

static void damage(void)
{
    enum { CAPACITY = 32, HEAD_WORDS = sizeof(struct cshm_ring_shared) / 8 };
    cshm_region *region = make_region(32u << 20);
    uint64_t random = make_seed();
    uint64_t offset = 0;
    uint64_t words = HEAD_WORDS + (16 * 128 + CAPACITY * (16 + 8) + (CAPACITY + 16) * 8) / 8;
    cshm_ring *ring = NULL;
    for (uint32_t round = 0; round < 40000; round++) {
        if (ring == NULL) {
            ring = make_both_ends(region, CAPACITY, 16, &offset);
        }
        put_anything(ring, &random);
        /* Every other time one of the few words that say most. */
        uint64_t at = next_random(&random) % (round % 2 == 0 ? words : HEAD_WORDS);
        _Atomic uint64_t *word = cshm_heap_pointer(region, offset + 8 * at, 8);
        uint64_t value = next_random(&random);
        atomic_store(word, round % 3 == 0 ? value : atomic_load(word) + value % 64 - 32);
        put_anything(ring, &random);
        take_anything(ring, &random);
        CHECK(cshm_ring_count(ring) <= CAPACITY);
        if (round % 16 == 15) {
            cshm_ring_destroy(ring);
            ring = NULL;
        } else if (round % 4 == 3) {
            cshm_ring *same = NULL;
            int status = cshm_ring_open(region, offset, &same);
            CHECK(status == 0 || status == -EPROTO);
            cshm_ring_close(ring);
            ring = same;
            if (status == 0) {
                status = cshm_ring_become_producer(ring);
                CHECK(status >= 0 || status == -EPROTO || status == -EBUSY);
                status = cshm_ring_become_consumer(ring);
                CHECK(status >= 0 || status == -EBUSY);
            }
        }
    }
    cshm_region_close(region);
}

const struct test ring_order_tests[] = {
    {"is_first_in_first_out_whatever_is_called_when", any_order},
    {"does_not_matter_to_damage_which_is_answered_with_an_error", damage},
    {NULL, NULL},
};
