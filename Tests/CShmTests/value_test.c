/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/value.h, cshm/array.h and cshm/atomic.h.
 */
#include "handover.h"

#include <pthread.h>

#include <cshm/array.h>
#include <cshm/atomic.h>
#include <cshm/value.h>

extern const struct test value_tests[];

enum { WRITES = 20000, COUNTS = 100000 };

/* Whole if all its words are the same. */
struct wide {
    uint64_t word[13];
    uint8_t last;
};

static const struct cshm_type wide_type = {
    .tag = 3, .size = sizeof(struct wide), .stride = sizeof(struct wide), .alignment = 8};

static struct wide wide_of(uint64_t word)
{
    struct wide wide;
    memset(&wide, 0, sizeof wide);
    for (uint32_t i = 0; i < 13; i++) {
        wide.word[i] = word;
    }
    wide.last = (uint8_t)word;
    return wide;
}

static uint64_t load_whole(cshm_value *value)
{
    struct wide wide;
    CHECK_EQ(cshm_value_load(value, &wide), 0);
    struct wide expected = wide_of(wide.word[0]);
    CHECK_EQ(memcmp(&wide, &expected, sizeof wide), 0);
    return wide.word[0];
}

static cshm_value *make_value(cshm_region *region, uint64_t *offset)
{
    struct wide first = wide_of(0);
    cshm_value *value = NULL;
    CHECK_EQ(cshm_value_create(region, &wide_type, &first, offset), 0);
    CHECK_EQ(cshm_heap_share(region, *offset), 0);
    CHECK_EQ(cshm_value_open(region, *offset, &wide_type, &value), 0);
    return value;
}

/* ---- tries ---- */

static void *try_in_vain(void *context)
{
    cshm_value *value = context;
    struct cshm_waitable editable;
    void *bytes = NULL;
    cshm_value_editable(value, &editable);
    CHECK_EQ(cshm_value_try_edit(value, &bytes), -EAGAIN);
    CHECK_EQ(cshm_wait_any(&editable, 1, after(MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(cshm_value_try_edit_woken(value, &bytes), -EAGAIN);
    return NULL;
}

static void *wait_and_edit(void *context)
{
    cshm_value *value = context;
    struct cshm_waitable editable;
    void *bytes = NULL;
    cshm_value_editable(value, &editable);
    int status = cshm_value_try_edit(value, &bytes);
    while (status == -EAGAIN) {
        CHECK_EQ(cshm_wait_any(&editable, 1, after(20 * SECOND)), 0);
        status = cshm_value_try_edit_woken(value, &bytes);
    }
    CHECK_EQ(status, 0);
    struct wide three = wide_of(3);
    memcpy(bytes, &three, sizeof three);
    cshm_value_commit(value);
    return NULL;
}

static void tries(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t offset = 0;
    void *bytes = NULL;
    pthread_t thread;
    cshm_value *value = make_value(region, &offset);
    CHECK_EQ(cshm_value_try_edit(value, &bytes), 0);
    CHECK_EQ(cshm_value_try_edit(value, &bytes), -EDEADLK);
    CHECK_EQ(pthread_create(&thread, NULL, try_in_vain, value), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(pthread_create(&thread, NULL, wait_and_edit, value), 0);
    cshm_value_commit(value);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(load_whole(value), 3);
    cshm_value_destroy(value);
    cshm_region_close(region);
}

static void edits(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t offset = 0;
    void *bytes = NULL;
    void *more = NULL;
    cshm_value *value = make_value(region, &offset);
    struct wide two = wide_of(2);
    CHECK_EQ(load_whole(value), 0);
    CHECK_EQ(cshm_value_edit_until(value, &bytes, INT64_MAX), 0);
    memcpy(bytes, &two, sizeof two);
    CHECK_EQ(load_whole(value), 0);
    CHECK_EQ(cshm_value_edit_until(value, &more, INT64_MAX), -EDEADLK);
    CHECK_EQ(cshm_value_store_until(value, &two, INT64_MAX), -EDEADLK);
    cshm_value_commit(value);
    CHECK_EQ(load_whole(value), 2);
    CHECK_EQ(cshm_value_edit_until(value, &bytes, INT64_MAX), 0);
    memset(bytes, 0xff, sizeof two);
    cshm_value_abort(value);
    CHECK_EQ(load_whole(value), 2);
    cshm_value_destroy(value);
    CHECK_EQ(blocks_in_use(region), 0);
    cshm_region_close(region);
}

static void other_types(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t offset = 0;
    uint64_t array_offset = 0;
    cshm_value *value = make_value(region, &offset);
    cshm_value *other = NULL;
    struct cshm_array array;
    CHECK_EQ(cshm_array_create(region, &wide_type, 5, &array_offset), 0);
    struct cshm_type types[] = {wide_type, wide_type, wide_type, wide_type};
    types[0].tag++;
    types[1].size--;
    types[2].stride += 8;
    types[3].alignment = 4;
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_EQ(cshm_value_open(region, offset, &types[i], &other), -EPROTO);
        CHECK_EQ(cshm_array_open(region, array_offset, &types[i], &array), -EPROTO);
    }
    CHECK_EQ(cshm_value_open(region, array_offset, &wide_type, &other), -EPROTO);
    CHECK_EQ(cshm_array_open(region, offset, &wide_type, &array), -EPROTO);
    struct cshm_type bad[] = {wide_type, wide_type, wide_type};
    bad[0].alignment = 3;
    bad[1].stride = 4;
    bad[2].alignment = 256;
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t place = 0;
        CHECK_EQ(cshm_value_create(region, &bad[i], NULL, &place), -EINVAL);
        CHECK_EQ(cshm_array_create(region, &bad[i], 1, &place), -EINVAL);
    }
    /* A count that is damaged does not lead outside. */
    uint64_t *count = (uint64_t *)((uint8_t *)cshm_heap_pointer(region, array_offset, 256) + 32);
    *count = UINT64_MAX / sizeof(struct wide);
    CHECK_EQ(cshm_array_open(region, array_offset, &wide_type, &array), -EPROTO);
    *count = 6;
    CHECK_EQ(cshm_array_open(region, array_offset, &wide_type, &array) == 0,
             cshm_heap_pointer(region, array_offset, 256 + 6 * sizeof(struct wide)) != NULL);
    CHECK_EQ(cshm_heap_free(region, array_offset), 0);
    cshm_value_destroy(value);
    cshm_region_close(region);
}

static void write_values(cshm_region *region, void *context)
{
    uint64_t *offset = context;
    cshm_value *value = NULL;
    CHECK_EQ(cshm_value_open(region, *offset, &wide_type, &value), 0);
    for (uint64_t i = 1; i <= WRITES; i++) {
        struct wide wide = wide_of(i);
        CHECK_EQ(cshm_value_store_until(value, &wide, INT64_MAX), 0);
    }
    cshm_value_close(value);
}

static void whole_between_processes(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t offset = 0;
    cshm_value *value = make_value(region, &offset);
    pid_t child = spawn(region, write_values, &offset);
    uint64_t last = 0;
    while (last < WRITES) {
        uint64_t now = load_whole(value);
        CHECK(now >= last);
        last = now;
    }
    expect_success(child);
    cshm_value_destroy(value);
    cshm_region_close(region);
}

static void *add_to_value(void *context)
{
    cshm_value *value = context;
    for (uint32_t i = 0; i < WRITES; i++) {
        void *bytes = NULL;
        CHECK_EQ(cshm_value_edit_until(value, &bytes, INT64_MAX), 0);
        struct wide wide = wide_of(((struct wide *)bytes)->word[0] + 1);
        memcpy(bytes, &wide, sizeof wide);
        cshm_value_commit(value);
        (void)load_whole(value);
    }
    return NULL;
}

static void threads(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t offset = 0;
    pthread_t thread[2];
    cshm_value *value = make_value(region, &offset);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(pthread_create(&thread[i], NULL, add_to_value, value), 0);
    }
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(pthread_join(thread[i], NULL), 0);
    }
    CHECK_EQ(load_whole(value), 2 * WRITES);
    cshm_value_destroy(value);
    cshm_region_close(region);
}

static void *end_editing(void *context)
{
    void *bytes = NULL;
    struct wide one = wide_of(1);
    CHECK_EQ(cshm_value_edit_until(context, &bytes, INT64_MAX), 0);
    memcpy(bytes, &one, sizeof one);
    return NULL;
}

static void ended_editor(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t offset = 0;
    pthread_t thread;
    void *bytes = NULL;
    struct wide zero = wide_of(0);
    struct wide two = wide_of(2);
    cshm_value *value = make_value(region, &offset);
    CHECK_EQ(pthread_create(&thread, NULL, end_editing, value), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(load_whole(value), 0);
    CHECK_EQ(cshm_value_edit_until(value, &bytes, after(20 * SECOND)), 0);
    CHECK_EQ(memcmp(bytes, &zero, sizeof zero), 0);
    cshm_value_abort(value);
    CHECK_EQ(cshm_value_store_until(value, &two, after(20 * SECOND)), 0);
    CHECK_EQ(load_whole(value), 2);
    cshm_value_destroy(value);
    cshm_region_close(region);
}

static void edit_and_wait(cshm_region *region, void *context)
{
    uint64_t *offset = context;
    cshm_value *value = NULL;
    void *bytes = NULL;
    CHECK_EQ(cshm_value_open(region, *offset, &wide_type, &value), 0);
    CHECK_EQ(cshm_value_edit_until(value, &bytes, INT64_MAX), 0);
    offset[1] = 1;
    pause();
}

static void killed_writer(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t *offset = shared_memory(4096);
    cshm_value *value = make_value(region, offset);
    struct wide two = wide_of(2);
    pid_t child = spawn(region, edit_and_wait, offset);
    while (cshm_word_load(&offset[1]) == 0) {
        usleep(100);
    }
    stop_child(child);
    CHECK_EQ(load_whole(value), 0);
    CHECK_EQ(cshm_value_store_until(value, &two, after(30 * MILLISECOND)), -ETIMEDOUT);
    kill_child(child);
    CHECK_EQ(cshm_value_store_until(value, &two, after(20 * SECOND)), 0);
    CHECK_EQ(load_whole(value), 2);
    cshm_value_destroy(value);
    cshm_region_close(region);
}

/* ---- array ---- */

static void zeroes(void)
{
    cshm_region *region = make_region(1u << 20);
    struct cshm_type type = {.tag = 1, .size = 3, .stride = 4, .alignment = 2};
    struct cshm_array array;
    uint64_t offset = 0;
    CHECK_EQ(cshm_array_create(region, &type, UINT64_MAX / 2, &offset), -ENOSPC);
    CHECK_EQ(cshm_array_create(region, &type, 1u << 20, &offset), -ENOSPC);
    for (uint64_t count = 0; count < 3000; count = count * 3 + 1) {
        for (int round = 0; round < 3; round++) { /* recycled memory, too */
            CHECK_EQ(cshm_array_create(region, &type, count, &offset), 0);
            CHECK_EQ(cshm_array_open(region, offset, &type, &array), 0);
            CHECK_EQ(array.count, count);
            CHECK_EQ((uintptr_t)array.elements % 128, 0);
            for (uint64_t i = 0; i < count * 4; i++) {
                CHECK_EQ(((uint8_t *)array.elements)[i], 0);
            }
            memset(array.elements, 0xff, count * 4);
            CHECK_EQ(cshm_mutex_try_acquire(array.mutex), 0);
            CHECK_EQ(cshm_mutex_release(array.mutex), 0);
            CHECK_EQ(cshm_heap_free(region, offset), 0);
        }
    }
    cshm_region_close(region);
}

/* ---- atomic ---- */

static cshm_atomic *make_atomic(enum cshm_atomic_type type, uint64_t initial)
{
    cshm_atomic *atomic = shared_memory(4096);
    CHECK_EQ(cshm_atomic_init(atomic, type, initial), 0);
    return atomic;
}

static uint64_t load(const cshm_atomic *atomic, enum cshm_atomic_type type)
{
    return cshm_atomic_load(atomic, type, CSHM_SEQ_CST);
}

static const enum cshm_order orders[] = {CSHM_RELAXED, CSHM_ACQUIRE, CSHM_RELEASE, CSHM_ACQ_REL,
                                         CSHM_SEQ_CST};

static void every_operation(void)
{
    for (enum cshm_atomic_type type = CSHM_INT32; type <= CSHM_UINT64; type++) {
        uint64_t mask = type <= CSHM_UINT32 ? UINT32_MAX : UINT64_MAX;
        for (uint32_t i = 0; i < 5; i++) {
            cshm_atomic *a = make_atomic(type, 12);
            enum cshm_order o = orders[i];
            CHECK_EQ(cshm_atomic_check(a, type), 0);
            CHECK_EQ(cshm_atomic_check(a, type == CSHM_INT32 ? CSHM_INT64 : CSHM_INT32), -EPROTO);
            CHECK_EQ(cshm_atomic_load(a, type, o), 12);
            cshm_atomic_store(a, type, 10, o);
            CHECK_EQ(cshm_atomic_update(a, type, CSHM_ATOMIC_ADD, 5, o), 10);
            CHECK_EQ(cshm_atomic_update(a, type, CSHM_ATOMIC_SUBTRACT, 16, o), 15);
            CHECK(load(a, type) == mask); /* -1 */
            CHECK(cshm_atomic_update(a, type, CSHM_ATOMIC_AND, 0xf0, o) == mask);
            CHECK_EQ(cshm_atomic_update(a, type, CSHM_ATOMIC_OR, 0x0f, o), 0xf0);
            CHECK_EQ(cshm_atomic_update(a, type, CSHM_ATOMIC_XOR, 0x3, o), 0xff);
            CHECK_EQ(cshm_atomic_update(a, type, CSHM_ATOMIC_EXCHANGE, mask, o), 0xfc);
            bool is_signed = type == CSHM_INT32 || type == CSHM_INT64;
            CHECK(cshm_atomic_update(a, type, CSHM_ATOMIC_MAX, 3, o) == mask);
            CHECK(load(a, type) == (is_signed ? 3 : mask));
            cshm_atomic_store(a, type, 3, o);
            CHECK_EQ(cshm_atomic_update(a, type, CSHM_ATOMIC_MIN, mask, o), 3);
            CHECK(load(a, type) == (is_signed ? mask : 3));
            cshm_atomic_store(a, type, 3, o);
            uint64_t expected = 4;
            CHECK_EQ(cshm_atomic_compare_exchange(a, type, &expected, 5, o, CSHM_ACQUIRE), 0);
            CHECK_EQ(expected, 3);
            CHECK_EQ(cshm_atomic_compare_exchange(a, type, &expected, 5, o, CSHM_RELAXED), 1);
            CHECK_EQ(load(a, type), 5);
            munmap(a, 4096);
        }
    }
    cshm_atomic *none = shared_memory(4096);
    CHECK_EQ(cshm_atomic_check(none, CSHM_INT64), -EPROTO);
    CHECK_EQ(cshm_atomic_init(none, (enum cshm_atomic_type)9, 0), -EINVAL);
}

static void count(cshm_region *region, void *context)
{
    cshm_atomic *atomic = context;
    (void)region;
    for (uint32_t i = 0; i < COUNTS; i++) {
        (void)cshm_atomic_update(atomic, CSHM_UINT64, CSHM_ATOMIC_ADD, 1, CSHM_RELAXED);
        (void)cshm_atomic_update(atomic, CSHM_UINT64, CSHM_ATOMIC_XOR, 1ull << 60, CSHM_RELAXED);
    }
}

static void counted_by_processes(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_atomic *atomic = make_atomic(CSHM_UINT64, 0);
    pid_t children[2] = {spawn(region, count, atomic), spawn(region, count, atomic)};
    expect_success(children[0]);
    expect_success(children[1]);
    CHECK_EQ(load(atomic, CSHM_UINT64), 2 * COUNTS);
    cshm_region_close(region);
}

/* What is asked by an odd number is answered by the next one; after this one nothing is asked. */
static const uint64_t LAST_ANSWER = 1u << 30;

static void answer(cshm_region *region, void *context)
{
    cshm_atomic *atomic = context;
    uint64_t n = 0;
    (void)region;
    while (n != LAST_ANSWER) {
        if (n % 4 == 0) {
            CHECK_EQ(cshm_atomic_wait_until(atomic, CSHM_INT32, n, after(30 * SECOND)), 0);
        } else {
            cshm_atomic_wait_watched(atomic, CSHM_INT32, n);
        }
        n = cshm_atomic_load(atomic, CSHM_INT32, CSHM_ACQUIRE) + 1;
        cshm_atomic_store(atomic, CSHM_INT32, n, CSHM_RELEASE);
        cshm_atomic_notify(atomic);
    }
}

static void ask(cshm_atomic *atomic, uint64_t question)
{
    cshm_atomic_store(atomic, CSHM_INT32, question, CSHM_RELAXED);
    cshm_atomic_notify(atomic);
    CHECK_EQ(cshm_atomic_wait_until(atomic, CSHM_INT32, question, after(30 * SECOND)), 0);
}

static void waited_for_by_a_process(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_atomic *atomic = make_atomic(CSHM_INT32, 0);
    CHECK_EQ(cshm_atomic_wait_until(atomic, CSHM_INT32, 0, after(MILLISECOND)), -ETIMEDOUT);
    struct handover handover = begin_handover();
    pid_t child = spawn(region, answer, atomic);
    while (hand_over_again(&handover)) {
        ask(atomic, 2 * handover.count - 1);
    }
    ask(atomic, LAST_ANSWER - 1);
    expect_awake_with(&handover, child);
    cshm_region_close(region);
}

const struct test value_tests[] = {
    {"is_edited_as_a_whole_or_not_at_all", edits},
    {"is_edited_without_blocking", tries},
    {"and_array_of_another_type_are_refused", other_types},
    {"is_whole_for_readers_of_another_process", whole_between_processes},
    {"is_edited_by_threads_one_after_the_other", threads},
    {"is_not_held_up_by_a_stopped_process_and_survives_a_killed_one", killed_writer},
    {"is_the_old_one_after_a_thread_that_ended_editing_it", ended_editor},
    {"array_is_of_zeroes_on_recycled_memory", zeroes},
    {"atomic_does_every_operation_in_every_order", every_operation},
    {"atomic_counts_for_several_processes", counted_by_processes},
    {"atomic_is_waited_for_by_another_process", waited_for_by_a_process},
    {NULL, NULL},
};
