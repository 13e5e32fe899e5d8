/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Values and arrays whose editors are killed, and stopped, at random instants: what is read is whole, no
 * change that was said to be made is missing, and none is there twice.
 */
#include "massacre.h"

#include <cshm/array.h>
#include <cshm/value.h>

extern const struct test value_crash_tests[];

enum { SECONDS = 2, EDITORS = 4 };

static void massacre_and_stop(cshm_region *region, struct job *job,
                              void (*edit)(cshm_region *, void *),
                              void (*read)(cshm_region *, void *))
{
    void (*const bodies[WORKERS])(cshm_region *, void *) = {edit, edit, edit, edit, read, read};
    job->seconds = SECONDS;
    job->stops = true;
    (void)massacre(region, job, bodies);
    (void)cshm_region_reap(region);
}

static struct job make_job(void)
{
    return (struct job){.shared = shared_memory(sizeof(struct shared)), .seed = make_seed()};
}

static bool goes_on(const struct job *job)
{
    return atomic_load(&job->shared->stop) == 0;
}

/* The last one of that number may have died between its change and its word for it. */
static bool is_what_was_said(const struct job *job, uint32_t number, uint64_t count)
{
    uint64_t said = atomic_load(&job->shared->said[number]);
    return count == said || count == said + 1;
}

/* What is there may be the dead one's: then it is said before there is more. */
static void take_over(const struct job *job, uint64_t count)
{
    REQUIRE(is_what_was_said(job, job->number, count));
    atomic_store(&job->shared->said[job->number], count);
}

static void say(const struct job *job, uint64_t count)
{
    atomic_store(&job->shared->said[job->number], count);
    atomic_fetch_add(&job->shared->done, 1);
}

/* ---- value ---- */

/* Whole if all is as many times what it says. */
struct counts {
    uint64_t total;
    uint64_t of[EDITORS];
    uint64_t again[20]; /* the total */
};

static const struct cshm_type counts_type = {
    .tag = 1, .size = sizeof(struct counts), .stride = sizeof(struct counts), .alignment = 8};

static bool counts_are_whole(const struct counts *counts)
{
    uint64_t sum = 0;
    bool same = true;
    for (uint32_t i = 0; i < EDITORS; i++) {
        sum += counts->of[i];
    }
    for (uint32_t i = 0; i < 20; i++) {
        same = same && counts->again[i] == counts->total;
    }
    return same && sum == counts->total;
}

static void count_one(struct counts *counts, uint32_t number)
{
    counts->of[number]++;
    counts->total++;
    for (uint32_t i = 0; i < 20; i++) {
        counts->again[i] = counts->total;
    }
}

/* In several ways; now and then it thinks better of it. */
static uint64_t edit_once(const struct job *job, cshm_value *value, uint64_t random)
{
    void *bytes = NULL;
    struct counts counts;
    REQUIRE(cshm_value_edit_until(value, &bytes, after(20 * SECOND)) == 0);
    memcpy(&counts, bytes, sizeof counts);
    REQUIRE(counts_are_whole(&counts));
    take_over(job, counts.of[job->number]);
    if (random % 8 == 0) {
        memset(bytes, 0xff, sizeof counts / 2);
        cshm_value_abort(value);
    } else {
        count_one(&counts, job->number);
        memcpy(bytes, &counts, sizeof counts);
        cshm_value_commit(value);
    }
    return counts.of[job->number];
}

static void edit_value(cshm_region *region, void *context)
{
    struct job *job = context;
    cshm_value *value = NULL;
    REQUIRE(cshm_value_open(region, job->offset, &counts_type, &value) == 0);
    while (goes_on(job)) {
        say(job, edit_once(job, value, next_random(&job->seed)));
    }
    cshm_value_close(value);
    cshm_region_close(region);
}

/* Nothing goes back. */
static void read_value(cshm_region *region, void *context)
{
    struct job *job = context;
    cshm_value *value = NULL;
    uint64_t last = 0;
    REQUIRE(cshm_value_open(region, job->offset, &counts_type, &value) == 0);
    while (goes_on(job)) {
        struct counts counts;
        REQUIRE(cshm_value_load(value, &counts) == 0);
        REQUIRE(counts_are_whole(&counts) && counts.total >= last);
        last = counts.total;
        usleep(50); /* who only reads never waits, and would leave the others few CPUs */
    }
    cshm_value_close(value);
    cshm_region_close(region);
}

static void crash_value(void)
{
    struct job job = make_job();
    cshm_region *region = make_region(4u << 20);
    uint64_t before = blocks_in_use(region);
    cshm_value *value = NULL;
    struct counts counts;
    CHECK_EQ(cshm_value_create(region, &counts_type, NULL, &job.offset), 0);
    CHECK_EQ(cshm_heap_share(region, job.offset), 0);
    CHECK_EQ(cshm_value_open(region, job.offset, &counts_type, &value), 0);
    massacre_and_stop(region, &job, edit_value, read_value);
    CHECK_EQ(cshm_value_load(value, &counts), 0);
    CHECK(counts_are_whole(&counts));
    for (uint32_t i = 0; i < EDITORS; i++) {
        CHECK(counts.of[i] > 0 && is_what_was_said(&job, i, counts.of[i]));
    }
    memset(&counts, 0, sizeof counts);
    CHECK_EQ(cshm_value_store_until(value, &counts, after(20 * SECOND)), 0);
    cshm_value_destroy(value);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

/* ---- array: a count for each editor, and the sum behind them ---- */

/* Larger than what is stored at once. */
struct element {
    uint64_t count;
    uint64_t mirror; /* its complement, */
    uint64_t marked; /* and all ones, unless nobody has stored it yet */
};

static const struct cshm_type element_type = {
    .tag = 2, .size = sizeof(struct element), .stride = sizeof(struct element), .alignment = 8};
static const struct cshm_type word_type = {.tag = 3, .size = 8, .stride = 8, .alignment = 8};

struct arrays {
    struct cshm_array locked;
    struct cshm_array words; /* without the lock: each is stored by one editor */
};

static struct arrays open_arrays(cshm_region *region, const struct job *job)
{
    struct arrays arrays;
    const uint64_t *place = cshm_heap_pointer(region, job->offset, 2 * sizeof *place);
    REQUIRE(cshm_array_open(region, place[0], &element_type, &arrays.locked) == 0);
    REQUIRE(cshm_array_open(region, place[1], &word_type, &arrays.words) == 0);
    return arrays;
}

/* One field after the other: a death between two stores leaves half of it. */
static void store_element(volatile struct element *element, uint64_t count)
{
    element->count = count;
    element->mirror = ~count;
    element->marked = UINT64_MAX;
}

static bool elements_are_whole(const volatile struct element *element)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i <= EDITORS; i++) {
        uint64_t count = element[i].count;
        bool is_new = count == 0 && element[i].mirror == 0 && element[i].marked == 0;
        if (!is_new && (element[i].mirror != ~count || element[i].marked != UINT64_MAX)) {
            return false;
        }
        total += i < EDITORS ? count : 0;
    }
    return element[EDITORS].count == total;
}

/* By who has the lock of one that died. */
static void repair_elements(volatile struct element *element)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < EDITORS; i++) {
        store_element(&element[i], element[i].count);
        total += element[i].count;
    }
    store_element(&element[EDITORS], total);
}

/* @returns whether it was inherited. */
static bool lock_elements(const struct cshm_array *array)
{
    int status = cshm_mutex_acquire_until(array->mutex, after(20 * SECOND));
    REQUIRE(status == 0 || status == 1);
    if (status == 1) {
        repair_elements(array->elements);
        REQUIRE(cshm_mutex_repair(array->mutex) == 0);
    }
    REQUIRE(elements_are_whole(array->elements));
    return status == 1;
}

/* Each word says whose it is. */
static uint64_t word_of(uint32_t number, uint64_t count)
{
    return count << 8 | number;
}

static void edit_array(cshm_region *region, void *context)
{
    struct job *job = context;
    struct arrays arrays = open_arrays(region, job);
    volatile struct element *element = arrays.locked.elements;
    uint64_t *word = (uint64_t *)arrays.words.elements + job->number;
    while (goes_on(job)) {
        atomic_fetch_add(&job->shared->next, lock_elements(&arrays.locked) ? 1 : 0);
        uint64_t count = element[job->number].count;
        take_over(job, count);
        store_element(&element[job->number], count + 1);
        store_element(&element[EDITORS], element[EDITORS].count + 1);
        REQUIRE(cshm_mutex_release(arrays.locked.mutex) == 0);
        cshm_word_store(word, word_of(job->number, count + 1));
        say(job, count + 1);
    }
    cshm_region_close(region);
}

static void read_array(cshm_region *region, void *context)
{
    struct job *job = context;
    struct arrays arrays = open_arrays(region, job);
    const uint64_t *word = arrays.words.elements;
    uint64_t last[EDITORS] = {0};
    while (goes_on(job)) {
        for (uint32_t i = 0; i < EDITORS; i++) {
            uint64_t now = cshm_word_load(&word[i]);
            REQUIRE(now == 0 || (now & 0xff) == i);
            REQUIRE(now >= last[i]);
            last[i] = now;
        }
        (void)lock_elements(&arrays.locked);
        REQUIRE(cshm_mutex_release(arrays.locked.mutex) == 0);
    }
    cshm_region_close(region);
}

static void crash_array(void)
{
    struct job job = make_job();
    cshm_region *region = make_region(4u << 20);
    uint64_t before = blocks_in_use(region);
    CHECK_EQ(cshm_heap_allocate(region, 2 * sizeof(uint64_t), &job.offset), 0);
    uint64_t *place = cshm_heap_pointer(region, job.offset, 2 * sizeof *place);
    CHECK_EQ(cshm_array_create(region, &element_type, EDITORS + 1, &place[0]), 0);
    CHECK_EQ(cshm_array_create(region, &word_type, EDITORS, &place[1]), 0);
    massacre_and_stop(region, &job, edit_array, read_array);
    struct arrays arrays = open_arrays(region, &job);
    const volatile struct element *element = arrays.locked.elements;
    const uint64_t *word = arrays.words.elements;
    (void)lock_elements(&arrays.locked);
    for (uint32_t i = 0; i < EDITORS; i++) {
        CHECK(element[i].count > 0 && is_what_was_said(&job, i, element[i].count));
        CHECK((word[i] & 0xff) == i && is_what_was_said(&job, i, word[i] >> 8));
    }
    CHECK_EQ(cshm_mutex_release(arrays.locked.mutex), 0);
    fprintf(stderr, "%llu inherited\n", (unsigned long long)atomic_load(&job.shared->next));
    CHECK_EQ(cshm_heap_free(region, place[0]), 0);
    CHECK_EQ(cshm_heap_free(region, place[1]), 0);
    CHECK_EQ(cshm_heap_free(region, job.offset), 0);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

const struct test value_crash_tests[] = {
    {"of_a_value_is_whole_and_counted_whoever_is_killed_editing_it", crash_value},
    {"of_an_array_is_repaired_and_counted_whoever_is_killed_with_its_lock", crash_array},
    {NULL, NULL},
};
