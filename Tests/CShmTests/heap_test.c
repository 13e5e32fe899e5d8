/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/heap.h.
 */
#include "support.h"

#include <pthread.h>

#include "internal.h"

extern const struct test heap_tests[];

static void sizes(void)
{
#ifdef __SANITIZE_THREAD__
    enum { BATCH = 500, LARGEST = 20000 }; /* one thread: nothing to judge, and 50 times slower */
#else
    enum { BATCH = 500, LARGEST = 200000 };
#endif
    static uint64_t offsets[BATCH];
    cshm_region *region = make_region(512u << 20);
    uint64_t before = blocks_in_use(region);
    for (uint64_t from = 1; from <= LARGEST; from += BATCH) {
        for (uint64_t i = 0; i < BATCH; i++) {
            uint64_t size = from + i;
            CHECK_EQ(cshm_heap_allocate(region, size, &offsets[i]), 0);
            CHECK_EQ(offsets[i] % (size >= 128 ? 128 : 16), 0);
            uint8_t *bytes = cshm_heap_pointer(region, offsets[i], size);
            CHECK(bytes != NULL);
            memset(bytes, (int)(i & 0xff), size);
        }
        for (uint64_t i = 0; i < BATCH; i++) { /* disjoint: nobody wrote over it */
            uint64_t size = from + i;
            const uint8_t *bytes = cshm_heap_pointer(region, offsets[i], size);
            CHECK_EQ(bytes[0], i & 0xff);
            CHECK(memcmp(bytes, bytes + 1, size - 1) == 0);
            CHECK_EQ(cshm_heap_free(region, offsets[i]), 0);
        }
    }
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void refuses(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t small = 0;
    uint64_t large = 0;
    CHECK_EQ(cshm_heap_allocate(region, 0, &small), -EINVAL);
    CHECK(cshm_heap_allocate(region, UINT64_MAX, &small) < 0);
    CHECK_EQ(cshm_heap_allocate(region, 100, &small), 0);
    CHECK_EQ(cshm_heap_allocate(region, 100000, &large), 0);
    CHECK(cshm_heap_pointer(region, small, 100) != NULL);
    CHECK(cshm_heap_pointer(region, small + 50, 50) != NULL);
    CHECK(cshm_heap_pointer(region, small, 1000) == NULL);
    CHECK(cshm_heap_pointer(region, small, UINT64_MAX) == NULL);
    CHECK(cshm_heap_pointer(region, large, 100000) != NULL);
    CHECK(cshm_heap_pointer(region, large + 70000, 30000) != NULL);
    CHECK(cshm_heap_pointer(region, large, 200000) == NULL);
    CHECK(cshm_heap_pointer(region, 0, 1) == NULL);
    CHECK(cshm_heap_pointer(region, 64, 1) == NULL);
    CHECK(cshm_heap_pointer(region, 4u << 20, 1) == NULL);
    CHECK(cshm_heap_pointer(region, UINT64_MAX, 1) == NULL);
    CHECK_EQ(cshm_heap_offset(region, cshm_heap_pointer(region, small, 1)), small);
    CHECK_EQ(cshm_heap_offset(region, &small), 0);
    CHECK_EQ(cshm_heap_share(region, small + 16), -EINVAL);
    CHECK_EQ(cshm_heap_share(region, small), 0);
    CHECK_EQ(cshm_heap_share(region, small), 0);
    CHECK_EQ(cshm_heap_free(region, small + 16), -EINVAL);
    CHECK_EQ(cshm_heap_free(region, large + 65536), -EINVAL);
    CHECK_EQ(cshm_heap_free(region, 0), -EINVAL);
    CHECK_EQ(cshm_heap_free(region, small), 0);
    CHECK_EQ(cshm_heap_free(region, small), -EINVAL);
    CHECK_EQ(cshm_heap_share(region, small), -EINVAL);
    CHECK_EQ(cshm_heap_free(region, large), 0);
    CHECK_EQ(cshm_heap_free(region, large), -EINVAL);
    cshm_region_close(region);
}

static void own_a_block(cshm_region *region, void *context)
{
    _Atomic uint64_t *place = context;
    uint64_t offset = 0;
    if (cshm_heap_allocate(region, 100, &offset) != 0) {
        _exit(1);
    }
    atomic_store(place, offset);
    pause();
}

/* A block is freed by whoever may: not by another process, and not behind its holder's back. */
static void refuses_foreign(void)
{
    cshm_region *region = make_region(4u << 20);
    _Atomic uint64_t *place = shared_memory(sizeof *place);
    uint64_t held = 0;
    uint64_t holder = 0;
    pid_t child = spawn(region, own_a_block, (void *)place);
    int64_t end = after(20 * SECOND);
    while (atomic_load(place) == 0) {
        CHECK(cshm_now_ns() < end);
    }
    CHECK_EQ(cshm_heap_free(region, atomic_load(place)), -EINVAL);
    kill_child(child);
    CHECK_EQ(cshm_heap_free(region, atomic_load(place)), -EINVAL);
    CHECK_EQ(cshm_region_reap(region), 1);
    CHECK_EQ(cshm_heap_free(region, atomic_load(place)), -EINVAL);

    CHECK_EQ(cshm_heap_allocate(region, 64, &holder), 0);
    _Atomic uint64_t *word = cshm_heap_pointer(region, holder, 8);
    CHECK_EQ(cshm__heap_allocate_for(region, 64, word, &held), 0);
    atomic_store(word, held);
    cshm__heap_link(region, held);
    CHECK_EQ(cshm_heap_free(region, held), -EINVAL);
    atomic_store(word, 0);
    CHECK_EQ(cshm_heap_free(region, held), 0);
    CHECK_EQ(cshm_heap_free(region, holder), 0);
    CHECK_EQ(blocks_in_use(region), 0);
    cshm_region_close(region);
}

static void fills(void)
{
    static uint64_t offsets[70000];
    static const uint64_t SIZES[] = {32, 1000, 30000, 65536, 300000};
    cshm_region *region = make_region(2u << 20);
    uint64_t before = blocks_in_use(region);
    for (uint32_t pass = 0; pass < 3; pass++) {
        for (size_t kind = 0; kind < sizeof SIZES / sizeof SIZES[0]; kind++) {
            uint32_t count = 0;
            uint64_t extra = 0;
            int status;
            while ((status = cshm_heap_allocate(region, SIZES[kind], &offsets[count])) == 0) {
                memset(cshm_heap_pointer(region, offsets[count], SIZES[kind]), 0xff, SIZES[kind]);
                CHECK(++count < 70000);
            }
            CHECK_EQ(status, -ENOSPC);
            /* Spans of the small classes stay theirs. */
            CHECK(pass > 0 || kind > 0 || count * SIZES[kind] > 1200000);
            if (count > 0) {
                CHECK_EQ(cshm_heap_free(region, offsets[count - 1]), 0);
                CHECK_EQ(cshm_heap_allocate(region, SIZES[kind], &offsets[count - 1]), 0);
                CHECK_EQ(cshm_heap_allocate(region, SIZES[kind], &extra), -ENOSPC);
            }
            while (count > 0) {
                CHECK_EQ(cshm_heap_free(region, offsets[--count]), 0);
            }
            CHECK_EQ(blocks_in_use(region), before);
        }
    }
    cshm_region_close(region);
}

static void refills_large(void)
{
    uint64_t offsets[64];
    cshm_region *region = make_region(2u << 20);
    uint32_t first = 0;
    for (uint32_t pass = 0; pass < 50; pass++) {
        uint32_t count = 0;
        while (cshm_heap_allocate(region, 100000, &offsets[count]) == 0) {
            count++;
        }
        first = pass == 0 ? count : first;
        CHECK(count >= 12);
        CHECK_EQ(count, first);
        while (count > 0) {
            CHECK_EQ(cshm_heap_free(region, offsets[--count]), 0);
        }
    }
    cshm_region_close(region);
}

static void hoard(cshm_region *region, void *context)
{
    _Atomic uint32_t *ready = context;
    for (uint64_t i = 0; i < 2000; i++) {
        uint64_t offset = 0;
        if (cshm_heap_allocate(region, i % 50 == 0 ? 100000 : 20 + i, &offset) != 0) {
            _exit(1);
        }
        if (i % 100 == 1 && cshm_heap_share(region, offset) != 0) {
            _exit(1);
        }
    }
    atomic_store(ready, 1);
    for (;;) {
        pause();
    }
}

static void killed(void)
{
    cshm_region *region = make_region(64u << 20);
    uint64_t before = blocks_in_use(region);
    struct cshm_region_info info;
    for (uint32_t round = 1; round <= 5; round++) {
        _Atomic uint32_t *ready = shared_memory(4096);
        pid_t child = spawn(region, hoard, ready);
        wait_until_set(ready, 1);
        CHECK_EQ(blocks_in_use(region), before + 2000 + (round - 1) * 20);
        kill_child(child);
        CHECK_EQ(cshm_region_reap(region), 1);
        CHECK_EQ(blocks_in_use(region), before + round * 20); /* what it had shared */
    }
    cshm_region_describe(region, &info);
    CHECK(info.committed < 48u << 20); /* its spans were used again */
    cshm_region_close(region);
}

struct crowd {
    cshm_region *region;
    uint64_t seed;
    _Atomic uint64_t *exchange; /* blocks go from thread to thread through this */
};

/* A freed run keeps its last holder until the next one is stored. */
static void taken(void)
{
    enum { SIZE = 100000 };
    cshm_region *region = make_region(4u << 20);
    uint64_t around = 0;
    uint64_t place = 0;
    CHECK_EQ(cshm_heap_allocate(region, 64, &around), 0);
    _Atomic uint64_t *holder = cshm_heap_pointer(region, around, 8);
    CHECK_EQ(cshm__heap_allocate_for(region, SIZE, holder, &place), 0);
    atomic_store(holder, place);
    cshm__heap_link(region, place);
    CHECK(cshm__heap_again(region, place, holder, SIZE) != NULL);
    CHECK(cshm__heap_again(region, place, holder, 2 * SIZE) == NULL);
    CHECK(cshm__heap_again(region, place, holder, 64) == NULL);
    /* Killed before it forgot it; and another is about to have it. */
    cshm__heap_free_from(region, place, holder);
    CHECK(cshm__heap_again(region, place, holder, SIZE) == NULL);
    struct cshm_span *head = &region->spans[(place - region->header.heap_offset) / CSHM_SPAN];
    uint64_t taken = (uint64_t)CSHM_BLOCK_TAKEN << 56 | cshm_participant_self(region);
    atomic_store(&head->owner, taken);
    CHECK(cshm__heap_again(region, place, holder, SIZE) == NULL);
    CHECK(!cshm__heap_is_held(region, place, holder));
    cshm__heap_free_from(region, place, holder);
    CHECK_EQ(atomic_load(&head->owner), taken);
    cshm_region_close(region);
}

static void *churn(void *context)
{
    struct crowd *crowd = context;
    uint64_t random = crowd->seed;
    for (uint32_t i = 0; i < 30000; i++) {
        uint64_t draw = next_random(&random);
        uint64_t size = draw % 64 == 0 ? 33000 + draw % 100000 : 16 + draw % 2000;
        uint64_t offset = 0;
        CHECK_EQ(cshm_heap_allocate(crowd->region, size, &offset), 0);
        uint64_t *words = cshm_heap_pointer(crowd->region, offset, size);
        CHECK(words != NULL);
        words[0] = offset;
        words[1] = ~offset;
        uint64_t other = atomic_exchange(&crowd->exchange[draw >> 58], offset);
        if (other != 0) {
            words = cshm_heap_pointer(crowd->region, other, 16);
            CHECK(words[0] == other && words[1] == ~other);
            CHECK_EQ(cshm_heap_free(crowd->region, other), 0);
        }
    }
    return NULL;
}

static void threads(void)
{
    static _Atomic uint64_t exchange[64];
    cshm_region *region = make_region(256u << 20);
    uint64_t before = blocks_in_use(region);
    struct crowd crowd[4];
    pthread_t thread[4];
    for (uint32_t i = 0; i < 4; i++) {
        crowd[i] = (struct crowd){.region = region, .seed = i + 1, .exchange = exchange};
        CHECK_EQ(pthread_create(&thread[i], NULL, churn, &crowd[i]), 0);
    }
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_EQ(pthread_join(thread[i], NULL), 0);
    }
    for (uint32_t i = 0; i < 64; i++) {
        CHECK(exchange[i] == 0 || cshm_heap_free(region, exchange[i]) == 0);
    }
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

static void churn_alone(cshm_region *region, void *context)
{
    static _Atomic uint64_t exchange[64];
    struct crowd crowd = {.region = region, .seed = (uint64_t)getpid(), .exchange = exchange};
    (void)context;
    (void)churn(&crowd);
    for (;;) {
        (void)churn(&crowd);
    }
}

static void killed_anywhere(void)
{
    cshm_region *region = make_region(256u << 20);
    uint64_t before = blocks_in_use(region);
    uint64_t random = make_seed();
    struct cshm_heap_usage usage;
    for (uint32_t i = 0; i < 500; i++) {
        pid_t child = spawn(region, churn_alone, NULL);
        usleep((useconds_t)(1000 + next_random(&random) % 5000));
        kill_child(child);
    }
    (void)cshm_region_reap(region);
    cshm_heap_describe(region, &usage);
    CHECK_EQ(usage.blocks, before);
    CHECK(usage.free_spans > 0);
    cshm_region_close(region);
}

enum { HELD = 1000 };

struct held {
    cshm_region *region;
    _Atomic uint64_t *holder; /* HELD of them */
    _Atomic uint32_t begun;
};

/* Names its blocks, but does not live to link them. */
static void die_before_linking(cshm_region *region, void *context)
{
    struct held *held = context;
    for (int i = 0; i < HELD; i++) {
        uint64_t offset = 0;
        CHECK_EQ(cshm__heap_allocate_for(region, 64, &held->holder[i], &offset), 0);
        atomic_store(&held->holder[i], offset);
    }
    kill(getpid(), SIGKILL);
}

static void *reap(void *context)
{
    struct held *held = context;
    atomic_store(&held->begun, 1);
    (void)cshm_region_reap(held->region);
    return NULL;
}

static void freed_while_swept(void)
{
    cshm_region *region = make_region(64u << 20);
    struct held held = {.region = region};
    uint64_t table = 0;
    CHECK_EQ(cshm_heap_allocate(region, HELD * 8, &table), 0);
    held.holder = cshm_heap_pointer(region, table, HELD * 8);
    uint64_t before = blocks_in_use(region);
    for (int round = 0; round < 100; round++) {
        pthread_t thread;
        pid_t child = spawn(region, die_before_linking, &held);
        int status = 0;
        CHECK_EQ(waitpid(child, &status, 0), child);
        atomic_store(&held.begun, 0);
        CHECK_EQ(pthread_create(&thread, NULL, reap, &held), 0);
        while (atomic_load(&held.begun) == 0) {
        }
        for (int i = 0; i < HELD; i++) {
            cshm__heap_free_from(region, atomic_load(&held.holder[i]), &held.holder[i]);
            atomic_store(&held.holder[i], 0);
        }
        CHECK_EQ(pthread_join(thread, NULL), 0);
        CHECK_EQ(blocks_in_use(region), before);
    }
    cshm_region_close(region);
}

/* Whatever the table of spans says, a block that was allocated can be found. */
static void damaged_spans(void)
{
    static const uint64_t sizes[] = {1, 100, 1000, 10000, 70000, 200000};
    uint64_t random = make_seed();
    uint32_t refused = 0;
    for (int round = 0; round < 300; round++) {
        cshm_region *region = make_region(1u << 20);
        for (int step = 0; step < 40; step++) {
            uint64_t size = sizes[next_random(&random) % 6];
            uint64_t place = 0;
            int status = cshm_heap_allocate(region, size, &place);
            CHECK(status == 0 || status == -ENOSPC || status == -EPROTO);
            CHECK(status != 0 || cshm_heap_pointer(region, place, size) != NULL);
            refused += status == -EPROTO;
            if (status == 0 && step % 3 == 0) {
                (void)cshm_heap_free(region, place);
            }
            struct cshm_span *span = &region->spans[next_random(&random) % 8];
            uint64_t word = next_random(&random);
            atomic_store(&span->word, word % 4 << 56 | (word >> 8) % 30);
        }
        cshm_region_close(region);
    }
    CHECK(refused > 0);
}

const struct test heap_tests[] = {
    {"refuses_to_free_what_another_process_or_object_has", refuses_foreign},
    {"allocates_all_sizes_aligned_and_disjoint_and_frees_them", sizes},
    {"refuses_what_is_no_block", refuses},
    {"is_filled_emptied_and_filled_again", fills},
    {"gives_as_many_large_blocks_again", refills_large},
    {"frees_nothing_that_another_is_about_to_have", taken},
    {"takes_back_the_blocks_of_a_killed_process", killed},
    {"loses_nothing_by_a_process_killed_anywhere", killed_anywhere},
    {"frees_what_a_killed_process_held_while_it_is_swept", freed_while_swept},
    {"serves_threads_that_free_each_others_blocks", threads},
    {"gives_only_blocks_that_can_be_found_whatever_the_spans_say", damaged_spans},
    {NULL, NULL},
};
