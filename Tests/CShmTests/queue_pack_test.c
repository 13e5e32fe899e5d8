/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/queue.h: elements that are put and taken together, exact numbers, the byte limit.
 */
#include "support.h"

#include <pthread.h>

#include "queue_view.h"

extern const struct test queue_pack_tests[];

enum {
    TAG = 12,
    QUEUE_BYTES = 2240, /* of the queue that is damaged below */
};

static cshm_queue *make_queue(cshm_region *region, struct cshm_queue_options options,
                              uint64_t *offset)
{
    cshm_queue *queue = NULL;
    options.type_tag = TAG;
    CHECK_EQ(cshm_queue_create(region, &options, offset), 0);
    CHECK_EQ(cshm_heap_share(region, *offset), 0);
    CHECK_EQ(cshm_queue_open(region, *offset, TAG, &queue), 0);
    return queue;
}

static uint64_t take_one(cshm_queue *queue)
{
    struct cshm_message message;
    CHECK_EQ(cshm_queue_try_take(queue, &message), 0);
    CHECK(message.count == 1 && message.length == 8 && message.redelivered == 0);
    uint64_t value = *(uint64_t *)message.data;
    cshm_queue_release(queue, &message);
    return value;
}

/* Puts and takes of every size in turn against a count kept beside. */
static void numbers(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t before = blocks_in_use(region);
    for (uint32_t capacity = 1; capacity <= 200; capacity = capacity * 2 + 1) {
        uint64_t offset = 0;
        struct cshm_queue_options options = {
            .capacity = capacity, .slot_size = 8 + capacity % 100, .pack = 32, .ports = 4};
        cshm_queue *queue = make_queue(region, options, &offset);
        uint64_t random = capacity;
        uint64_t put = 0;
        uint64_t taken = 0;
        for (int round = 0; round < 3000; round++) {
            uint64_t values[64];
            uint32_t count = 1 + (uint32_t)(next_random(&random) % 64);
            uint64_t room = capacity - (put - taken);
            for (uint32_t i = 0; i < count; i++) {
                values[i] = put + i;
            }
            int done = cshm_queue_try_put_many(queue, values, 8, count);
            CHECK_EQ(done, room == 0 ? -EAGAIN : room < count ? (int)room : (int)count);
            put += done > 0 ? (uint64_t)done : 0;
            CHECK_EQ(cshm_queue_count(queue), put - taken);
            for (uint32_t wanted = (uint32_t)(next_random(&random) % 64); wanted > 0;) {
                struct cshm_message message;
                int status = cshm_queue_try_take_many(queue, wanted, &message);
                CHECK_EQ(status, put == taken ? -EAGAIN : 0);
                if (status != 0) {
                    break;
                }
                CHECK(message.count >= 1 && message.count <= wanted && message.length == 8);
                for (uint32_t i = 0; i < message.count; i++) {
                    CHECK_EQ(((uint64_t *)message.data)[i], taken + i);
                }
                taken += message.count;
                wanted -= message.count;
                CHECK_EQ(cshm_queue_count(queue), put - taken);
                cshm_queue_release(queue, &message);
            }
        }
        CHECK(put > capacity);
        struct cshm_queue_info info;
        cshm_queue_describe(queue, &info);
        CHECK(info.capacity == capacity && info.count == put - taken);
        CHECK(info.high_water <= capacity && info.high_water > 0);
        cshm_queue_destroy(queue);
        CHECK_EQ(blocks_in_use(region), before);
    }
    cshm_region_close(region);
}

/* Sampled at every 64th put, by which it may be too low, and not by more. */
static void high_water(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t offset = 0;
    struct cshm_queue_options options = {.capacity = 256, .slot_size = 8, .ports = 4};
    cshm_queue *queue = make_queue(region, options, &offset);
    struct cshm_queue_info info;
    for (uint64_t i = 0; i < 200; i++) {
        CHECK_EQ(cshm_queue_try_put(queue, &i, 8), 0);
    }
    for (uint64_t i = 0; i < 200; i++) {
        CHECK_EQ(take_one(queue), i);
    }
    cshm_queue_describe(queue, &info);
    CHECK_EQ(info.count, 0);
    CHECK(info.high_water > 200 - 64 && info.high_water <= 200);
    cshm_queue_destroy(queue);
    cshm_region_close(region);
}

enum { HUGE_STEP = 64 << 20 };

static const uint64_t HUGE_LENGTH = 1ull << 30;

/* What is at every 64 MiB of the message, and in its last word. */
static void read_huge(cshm_region *region, void *context)
{
    cshm_queue *queue = NULL;
    struct cshm_message message;
    CHECK_EQ(cshm_queue_open(region, *(uint64_t *)context, TAG, &queue), 0);
    CHECK_EQ(cshm_queue_take_until(queue, &message, after(60 * SECOND)), 0);
    CHECK_EQ(message.length, HUGE_LENGTH);
    const uint64_t *words = message.data;
    for (uint64_t at = 0; at < HUGE_LENGTH; at += HUGE_STEP) {
        CHECK_EQ(words[at / 8], at + 1);
    }
    CHECK_EQ(words[HUGE_LENGTH / 8 - 1], 7);
    cshm_queue_release(queue, &message);
    cshm_queue_close(queue);
}

/* One message of 1 GiB, written in place here and read in place there; its block comes back. */
static void huge(void)
{
    struct cshm_region_options options = {.capacity = 2ull << 30};
    cshm_region *region = NULL;
    uint64_t offset = 0;
    struct cshm_message message;
    if (cshm_region_create(&options, &region) != 0) {
        SKIP("no address space for a region of 2 GiB");
    }
    uint64_t before = blocks_in_use(region);
    cshm_queue *queue = make_queue(
        region, (struct cshm_queue_options){.capacity = 2, .slot_size = 16, .ports = 4}, &offset);
    int status = cshm_queue_claim(queue, HUGE_LENGTH, &message);
    if (status == -ENOSPC) {
        SKIP("/dev/shm or memory has no room for 1 GiB");
    }
    CHECK_EQ(status, 0);
    uint64_t *words = message.data;
    for (uint64_t at = 0; at < HUGE_LENGTH; at += HUGE_STEP) {
        words[at / 8] = at + 1;
    }
    words[HUGE_LENGTH / 8 - 1] = 7;
    pid_t child = spawn(region, read_huge, &offset);
    CHECK_EQ(cshm_queue_try_commit(queue, &message), 0);
    expect_success(child);
    cshm_queue_destroy(queue);
    (void)cshm_region_reap(region);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void in_place(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    struct cshm_queue_options options = {.capacity = 64, .slot_size = 16, .pack = 32, .ports = 4};
    cshm_queue *queue = make_queue(region, options, &offset);
    uint64_t before = blocks_in_use(region);
    struct cshm_message message;
    CHECK_EQ(cshm_queue_claim_many(queue, 16, 0, &message), -EINVAL);
    CHECK_EQ(cshm_queue_claim_many(queue, 16, 33, &message), -EINVAL);
    CHECK_EQ(cshm_queue_claim_many(queue, 17, 2, &message), -EINVAL);
    CHECK_EQ(cshm_queue_try_take_many(queue, 0, &message), -EINVAL);
    CHECK_EQ(cshm_queue_try_put_many(queue, &message, 8, 0), -EINVAL);
    for (uint32_t count = 1; count <= 32; count++) {
        CHECK_EQ(cshm_queue_claim_many(queue, 8, count, &message), 0);
        CHECK(message.count == count && (uintptr_t)message.data % 16 == 0);
        for (uint32_t i = 0; i < count; i++) {
            ((uint64_t *)message.data)[i] = i;
        }
        CHECK_EQ(cshm_queue_try_commit(queue, &message), 0);
        for (uint32_t i = 0; i < count / 2; i++) {
            CHECK_EQ(take_one(queue), i);
        }
        CHECK_EQ(cshm_queue_try_take_many(queue, 32, &message), 0);
        CHECK_EQ(message.count, count - count / 2);
        CHECK_EQ(*(uint64_t *)message.data, count / 2);
        cshm_queue_release(queue, &message);
        CHECK_EQ(cshm_queue_try_take(queue, &message), -EAGAIN);
        CHECK_EQ(blocks_in_use(region), before);
    }
    /* A queue of single slots takes a batch as well, one cell each. */
    uint64_t other = 0;
    options.pack = 1;
    cshm_queue *single = make_queue(region, options, &other);
    uint64_t values[40] = {1, 2, 3};
    CHECK_EQ(cshm_queue_try_put_many(single, values, 8, 40), 40);
    CHECK(take_one(single) == 1 && take_one(single) == 2 && take_one(single) == 3);
    cshm_queue_destroy(single);
    cshm_queue_close(queue);
    cshm_region_close(region);
}

static void byte_limit(void)
{
    cshm_region *region = make_region(64u << 20);
    uint64_t offset = 0;
    struct cshm_queue_options options = {
        .capacity = 64, .slot_size = 16, .ports = 4, .byte_limit = 100000};
    cshm_queue *queue = make_queue(region, options, &offset);
    uint64_t before = blocks_in_use(region);
    static uint8_t bytes[100001];
    struct cshm_message message;
    struct cshm_queue_info info;
    CHECK_EQ(cshm_queue_try_put(queue, bytes, sizeof bytes), -EMSGSIZE);
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 3; i++) {
            CHECK_EQ(cshm_queue_try_put(queue, bytes, 30000), 0);
        }
        CHECK_EQ(cshm_queue_try_put(queue, bytes, 30000), -EAGAIN);
        CHECK_EQ(cshm_queue_put_until(queue, bytes, 30000, after(MILLISECOND)), -ETIMEDOUT);
        CHECK_EQ(cshm_queue_try_put(queue, bytes, 16), 0); /* inline: no block */
        CHECK_EQ(cshm_queue_try_put(queue, bytes, 10000), 0);
        cshm_queue_describe(queue, &info);
        CHECK(info.bytes == 100000 && info.byte_limit == 100000 && info.count == 5);
        for (int i = 0; i < 5; i++) {
            CHECK_EQ(cshm_queue_try_take(queue, &message), 0);
            cshm_queue_release(queue, &message);
        }
        CHECK_EQ(blocks_in_use(region), before);
    }
    CHECK_EQ(cshm_queue_claim(queue, 60000, &message), 0);
    CHECK_EQ(cshm_queue_try_put(queue, bytes, 60000), -EAGAIN);
    cshm_queue_abort(queue, &message);
    CHECK_EQ(cshm_queue_try_put(queue, bytes, 60000), 0);
    cshm_queue_close(queue);
    cshm_region_close(region);
}

/* Of a batch, as much is put in packs as the limit lets in, and the rest in slots, one each. */
static void batch_at_byte_limit(void)
{
    cshm_region *region = make_region(64u << 20);
    uint64_t offset = 0;
    struct cshm_queue_options options = {
        .capacity = 64, .slot_size = 16, .ports = 4, .pack = 8, .byte_limit = 4 * 16 + 16};
    cshm_queue *queue = make_queue(region, options, &offset);
    uint64_t values[32][2];
    struct cshm_message message;
    struct cshm_queue_info info;
    for (uint64_t i = 0; i < 32; i++) {
        values[i][0] = values[i][1] = i;
    }
    CHECK_EQ(cshm_queue_try_put_many(queue, values, 16, 8), 8);
    cshm_queue_describe(queue, &info);
    CHECK(info.bytes == 4 * 16 + 16 && info.count == 8);
    CHECK_EQ(cshm_queue_try_put_many(queue, values[8], 16, 8), 8);
    CHECK_EQ(cshm_queue_put_many_until(queue, values[16], 16, 8, INT64_MAX), 8);
    cshm_queue_describe(queue, &info);
    CHECK(info.bytes == 4 * 16 + 16 && info.count == 24);
    CHECK_EQ(cshm_queue_try_take_many(queue, 8, &message), 0);
    CHECK_EQ(message.count, 4);
    cshm_queue_release(queue, &message);
    CHECK_EQ(cshm_queue_try_put_many(queue, values[24], 16, 8), 8);
    for (uint64_t next = 4; next < 32; next += message.count) {
        CHECK_EQ(cshm_queue_try_take_many(queue, 8, &message), 0);
        CHECK_EQ(message.count, next == 24 ? 4 : 1);
        CHECK_EQ(memcmp(message.data, values[next], 16 * message.count), 0);
        cshm_queue_release(queue, &message);
    }
    cshm_queue_close(queue);
    cshm_region_close(region);
}

static void batch_without_memory(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    struct cshm_queue_options options = {.capacity = 64, .slot_size = 8, .ports = 4, .pack = 8};
    cshm_queue *queue = make_queue(region, options, &offset);
    uint64_t values[8] = {1, 2};
    uint64_t place = 0;
    for (uint64_t size = 1u << 20; size >= 64; size /= 2) {
        while (cshm_heap_allocate(region, size, &place) == 0) {
        }
    }
    CHECK_EQ(cshm_queue_try_put_many(queue, values, 8, 8), 8);
    CHECK(take_one(queue) == 1 && take_one(queue) == 2);
    CHECK_EQ(cshm_queue_try_put(queue, values, 64), -ENOSPC);
    cshm_queue_close(queue);
    cshm_region_close(region);
}

static void claim_and_stay(cshm_region *region, void *context)
{
    cshm_queue *queue = NULL;
    struct cshm_message message;
    CHECK_EQ(cshm_queue_open(region, *(uint64_t *)context, TAG, &queue), 0);
    CHECK_EQ(cshm_queue_claim(queue, 90000, &message), 0);
    atomic_store((_Atomic uint32_t *)((uint64_t *)context + 1), 1);
    pause();
}

static void byte_limit_after_kill(void)
{
    cshm_region *region = make_region(64u << 20);
    uint64_t *shared = shared_memory(16);
    struct cshm_queue_options options = {
        .capacity = 64, .slot_size = 16, .ports = 1, .byte_limit = 100000};
    cshm_queue *queue = make_queue(region, options, shared);
    static uint8_t bytes[90000];
    pid_t child = spawn(region, claim_and_stay, shared);
    wait_until_set((_Atomic uint32_t *)(shared + 1), 1);
    CHECK_EQ(cshm_queue_try_put(queue, bytes, 8), -EUSERS);
    kill_child(child);
    /* Its port is taken over, and the block in its hand given back. */
    CHECK_EQ(cshm_queue_put_until(queue, bytes, sizeof bytes, after(20 * SECOND)), 0);
    cshm_queue_close(queue);
    cshm_region_close(region);
}

/* ---- the wrap of the turns ---- */

/* As if so many laps had been put and taken that the next but two is the first turn again. */
static void age(cshm_queue *queue)
{
    uint64_t turns = 1ull << (64 - queue->turn_shift);
    uint64_t position = (turns / 2 - 2) << queue->log2_ring;
    for (uint32_t i = 0; i < queue->ring; i++) {
        uint64_t cum = queue->pack == 1 ? position & queue->cum_mask : 0;
        atomic_store(&queue->cells[i], (turns - 4) << queue->turn_shift |
                                           cum << (queue->slot_bits + CSHM_QUEUE_LEFT_BITS) | i);
    }
    atomic_store(&queue->shared->tail, position);
    atomic_store(&queue->shared->head, position);
}

static void wrap(void)
{
    cshm_region *region = make_region(64u << 20);
    for (uint32_t pack = 1; pack <= 32; pack += 31) {
        for (uint32_t capacity = 2; capacity <= 2048; capacity *= 4) {
            uint64_t offset = 0;
            struct cshm_queue_options options = {
                .capacity = capacity, .slot_size = 16, .pack = pack, .ports = 8};
            cshm_queue *queue = make_queue(region, options, &offset);
            uint64_t put = 0;
            uint64_t taken = 0;
            age(queue);
            while (taken < 8ull * capacity) {
                uint64_t values[3] = {put, put + 1, put + 2};
                int done = cshm_queue_try_put_many(queue, values, 8, 3);
                CHECK(done > 0 || done == -EAGAIN);
                put += done > 0 ? (uint64_t)done : 0;
                CHECK_EQ(cshm_queue_count(queue), put - taken);
                if (done != 3) { /* full */
                    CHECK_EQ(put - taken, capacity);
                    for (uint32_t i = 0; i < capacity / 2 + 1; i++) {
                        CHECK_EQ(take_one(queue), taken++);
                    }
                }
            }
            while (taken < put) {
                CHECK_EQ(take_one(queue), taken++);
            }
            struct cshm_message message;
            CHECK_EQ(cshm_queue_try_take(queue, &message), -EAGAIN);
            cshm_queue_destroy(queue);
        }
    }
    cshm_region_close(region);
}

/* ---- load ---- */

enum { ELEMENTS = 400000, PRODUCERS = 2 };

struct traffic {
    uint64_t offset;
    _Atomic uint32_t number;
    _Atomic uint64_t left;
    _Atomic uint8_t seen[PRODUCERS * ELEMENTS];
};

static void put_batches(cshm_region *region, void *context)
{
    struct traffic *traffic = context;
    cshm_queue *queue = NULL;
    uint64_t number = atomic_fetch_add(&traffic->number, 1);
    uint64_t random = number;
    CHECK_EQ(cshm_queue_open(region, traffic->offset, TAG, &queue), 0);
    for (uint64_t i = 0; i < ELEMENTS;) {
        uint64_t values[100];
        uint64_t count = 1 + next_random(&random) % 100;
        count = count < ELEMENTS - i ? count : ELEMENTS - i;
        for (uint64_t k = 0; k < count; k++) {
            values[k] = number * ELEMENTS + i + k;
        }
        CHECK_EQ(cshm_queue_put_many_until(queue, values, 8, (uint32_t)count, after(20 * SECOND)),
                 (int)count);
        i += count;
    }
    cshm_queue_close(queue);
}

static void take_batches(cshm_region *region, void *context)
{
    struct traffic *traffic = context;
    cshm_queue *queue = NULL;
    uint64_t last[PRODUCERS] = {0};
    uint64_t random = 77;
    CHECK_EQ(cshm_queue_open(region, traffic->offset, TAG, &queue), 0);
    while (atomic_load(&traffic->left) > 0) {
        struct cshm_message message;
        uint32_t max = 1 + (uint32_t)(next_random(&random) % 40);
        int status = cshm_queue_take_many_until(queue, max, &message, after(10 * MILLISECOND));
        if (status == -ETIMEDOUT) {
            continue;
        }
        CHECK_EQ(status, 0);
        CHECK(message.length == 8 && message.count >= 1 && message.count <= max);
        for (uint32_t i = 0; i < message.count; i++) {
            uint64_t id = ((uint64_t *)message.data)[i];
            CHECK(id < PRODUCERS * ELEMENTS && id + 1 > last[id / ELEMENTS]);
            last[id / ELEMENTS] = id + 1;
            CHECK_EQ(atomic_fetch_add(&traffic->seen[id], 1), 0);
        }
        atomic_fetch_sub(&traffic->left, message.count);
        cshm_queue_release(queue, &message);
    }
    cshm_queue_close(queue);
}

static void load(void)
{
    struct traffic *traffic = shared_memory(sizeof *traffic);
    cshm_region *region = make_region(16u << 20);
    struct cshm_queue_options options = {.capacity = 90, .slot_size = 40, .pack = 32};
    cshm_queue *queue = make_queue(region, options, &traffic->offset);
    uint64_t before = blocks_in_use(region);
    pid_t children[2 * PRODUCERS];
    traffic->left = PRODUCERS * ELEMENTS;
    for (int i = 0; i < 2 * PRODUCERS; i++) {
        children[i] = spawn(region, i % 2 ? put_batches : take_batches, traffic);
    }
    while (atomic_load(&traffic->left) > 0) { /* whoever looks sees a number that was true */
        CHECK(cshm_queue_count(queue) <= 90);
        usleep(100);
    }
    for (int i = 0; i < 2 * PRODUCERS; i++) {
        expect_success(children[i]);
    }
    CHECK_EQ(cshm_queue_count(queue), 0);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_queue_close(queue);
    cshm_region_close(region);
}

/* ---- a fork's child with its parent's view ---- */

static void use_inherited(cshm_queue *queue, cshm_region *region)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct cshm_waitable items;
        cshm_queue_items(queue, &items);
        CHECK(items.is_ready(items.object) != 0); /* a take would not wait */
        CHECK_EQ(cshm_queue_try_put(queue, "x", 1), -ECHILD);
        CHECK_EQ(cshm_region_join(region), 0);
        for (int i = 0; i < 1000; i++) {
            struct cshm_message message;
            CHECK_EQ(cshm_queue_try_put(queue, "x", 1), 0);
            CHECK_EQ(cshm_queue_take_until(queue, &message, after(20 * SECOND)), 0);
            cshm_queue_release(queue, &message);
        }
        _exit(0);
    }
    for (int i = 0; i < 1000; i++) {
        struct cshm_message message;
        CHECK_EQ(cshm_queue_try_put(queue, "y", 1), 0);
        CHECK_EQ(cshm_queue_take_until(queue, &message, after(20 * SECOND)), 0);
        cshm_queue_release(queue, &message);
    }
    expect_success(child);
}

static void forked_process(void)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t offset = 0;
    struct cshm_queue_options options = {.capacity = 64, .slot_size = 8, .ports = 4};
    cshm_queue *queue = make_queue(region, options, &offset);
    struct cshm_message messages[5];
    for (int round = 0; round < 10; round++) {
        use_inherited(queue, region);
    }
    (void)cshm_region_reap(region);
    for (int i = 0; i < 4; i++) { /* no port was lost, none is used twice */
        CHECK_EQ(cshm_queue_claim(queue, 8, &messages[i]), 0);
        for (int k = 0; k < i; k++) {
            CHECK(messages[k].port != messages[i].port && messages[k].slot != messages[i].slot);
        }
    }
    CHECK_EQ(cshm_queue_claim(queue, 8, &messages[4]), -EUSERS);
    for (int i = 0; i < 4; i++) {
        cshm_queue_abort(queue, &messages[i]);
    }
    cshm_queue_close(queue);
    cshm_region_close(region);
}

/* ---- corrupt bytes ---- */

/* Every word of a queue that is in use, set to something else: errors, and all calls come back. */
static void corrupt(void)
{
    cshm_region *region = make_region(64u << 20);
    struct cshm_queue_options options = {.capacity = 5, .slot_size = 24, .pack = 4, .ports = 3};
    static const uint64_t poison[] = {0, 1, UINT64_MAX, 0x8000000000000000ull,
                                      0x7fffffff00000001ull};
    uint64_t size = 1;
    for (uint64_t word = 0; word * 8 < size; word++) {
        for (size_t p = 0; p < sizeof poison / sizeof *poison; p++) {
            uint64_t offset = 0;
            cshm_queue *queue = make_queue(region, options, &offset);
            cshm_queue *other = NULL;
            struct cshm_message message;
            static uint8_t bytes[100];
            size = QUEUE_BYTES;
            CHECK(cshm_queue_try_put_many(queue, bytes, 8, 3) == 3);
            CHECK_EQ(cshm_queue_try_put(queue, bytes, 100), 0);
            uint64_t *words = cshm_heap_pointer(region, offset, 8);
            words[word] = poison[p];
            for (int i = 0; i < 8; i++) {
                CHECK(cshm_queue_try_put(queue, bytes, 100) <= 0);
                CHECK(cshm_queue_try_put_many(queue, bytes, 8, 3) <= 3);
                CHECK(cshm_queue_count(queue) <= 5 + 3 * CSHM_QUEUE_PACK_MAX);
                struct cshm_queue_info info;
                cshm_queue_describe(queue, &info);
                if (cshm_queue_try_take_many(queue, 2, &message) == 0) {
                    cshm_queue_release(queue, &message);
                }
                if (cshm_queue_try_lease(queue, 1, &message) == 0) {
                    cshm_queue_return(queue, &message);
                }
            }
            cshm_queue_finish(queue);
            CHECK(cshm_queue_join_until(queue, 0) <= 0);
            if (cshm_queue_open(region, offset, TAG, &other) == 0) {
                cshm_queue_close(other);
            }
            cshm_queue_close(queue);
            (void)cshm_heap_free(region, offset);
        }
    }
    cshm_region_close(region);
}

const struct test queue_pack_tests[] = {
    {"keeps_exact_numbers_of_elements", numbers},
    {"remembers_how_many_there_were_when_they_are_gone", high_water},
    {"is_written_and_read_in_place", in_place},
    {"of_one_gib_is_written_in_place_and_read_by_another_process", huge},
    {"goes_on_when_its_turns_wrap", wrap},
    {"holds_no_more_bytes_than_its_limit", byte_limit},
    {"puts_of_a_batch_what_the_byte_limit_lets_in", batch_at_byte_limit},
    {"puts_a_batch_one_by_one_without_memory", batch_without_memory},
    {"byte_limit_forgets_a_killed_claimant", byte_limit_after_kill},
    {"delivers_exactly_once_between_processes", load},
    {"inherited_by_a_process_that_forked_has_none_of_its_parents_ports", forked_process},
    {"corrupt_words_are_errors_and_never_a_crash", corrupt},
    {NULL, NULL},
};
