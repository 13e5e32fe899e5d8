/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/directory.h.
 */
#include "support.h"

#include <pthread.h>

#include <cshm/directory.h>
#include <cshm/queue.h>

#include "internal.h"

extern const struct test directory_tests[];

enum { NAMES = 200, TAG = 7 };

static uint64_t make_block(cshm_region *region, uint64_t content)
{
    uint64_t offset = 0;
    CHECK_EQ(cshm_heap_allocate(region, 64, &offset), 0);
    *(uint64_t *)cshm_heap_pointer(region, offset, 64) = content;
    return offset;
}

static uint64_t content_at(cshm_region *region, uint64_t offset)
{
    const uint64_t *block = cshm_heap_pointer(region, offset, 64);
    CHECK(block != NULL);
    return *block;
}

static const char *name_of(uint64_t number, char text[32])
{
    snprintf(text, 32, "name.%llu", (unsigned long long)number);
    return text;
}

static void count_one(const struct cshm_directory_entry *entry, void *context)
{
    CHECK(entry->name[0] != '\0');
    ++*(uint64_t *)context;
}

static void adds_finds_lists_removes(void)
{
    cshm_region *region = make_region(4u << 20);
    struct cshm_directory_entry entry = {.kind = 99};
    uint64_t first = make_block(region, 1);
    uint64_t second = make_block(region, 2);
    uint64_t seen = 0;
    CHECK_EQ(cshm_directory_find(region, "first", &entry), -ENOENT);
    CHECK_EQ(cshm_directory_remove(region, "first", NULL), -ENOENT);
    CHECK_EQ(cshm_directory_list(region, count_one, &seen), 0);
    CHECK_EQ(entry.kind, 99);
    CHECK_EQ(cshm_directory_add(region, "first", CSHM_KIND_BLOCK, TAG, first), 0);
    CHECK_EQ(cshm_directory_add(region, "second", 300, 8, second), 0);
    CHECK_EQ(cshm_directory_add(region, "first", CSHM_KIND_BLOCK, TAG, second), -EEXIST);
    CHECK_EQ(cshm_directory_find(region, "first", &entry), 0);
    CHECK(strcmp(entry.name, "first") == 0 && entry.kind == CSHM_KIND_BLOCK);
    CHECK(entry.type_tag == TAG && entry.offset == first);
    CHECK_EQ(cshm_directory_list(region, count_one, &seen), 2);
    CHECK_EQ(seen, 2);
    CHECK_EQ(cshm_directory_remove(region, "second", &entry), 0);
    CHECK(entry.offset == second && entry.kind == 300 && content_at(region, second) == 2);
    CHECK_EQ(cshm_directory_find(region, "second", &entry), -ENOENT);
    CHECK_EQ(cshm_directory_find(region, "firs", &entry), -ENOENT);
    cshm_region_close(region);
}

static void refuses_what_is_no_name_and_no_object(void)
{
    cshm_region *region = make_region(4u << 20);
    char longest[CSHM_NAME_MAX + 2] = {0};
    struct cshm_directory_entry entry;
    uint64_t block = make_block(region, 1);
    CHECK_EQ(cshm_directory_add(region, NULL, CSHM_KIND_BLOCK, 0, block), -EINVAL);
    CHECK_EQ(cshm_directory_add(region, "", CSHM_KIND_BLOCK, 0, block), -EINVAL);
    CHECK_EQ(cshm_directory_find(region, "", &entry), -EINVAL);
    CHECK_EQ(cshm_directory_remove(region, "", &entry), -EINVAL);
    memset(longest, 'x', CSHM_NAME_MAX + 1);
    CHECK_EQ(cshm_directory_add(region, longest, CSHM_KIND_BLOCK, 0, block), -EINVAL);
    longest[CSHM_NAME_MAX] = '\0';
    CHECK_EQ(cshm_directory_add(region, longest, CSHM_KIND_BLOCK, 0, block), 0);
    CHECK_EQ(cshm_directory_find(region, longest, &entry), 0);
    CHECK(strcmp(entry.name, longest) == 0);
    CHECK_EQ(cshm_directory_add(region, "a", CSHM_KIND_BLOCK, 0, 0), -EINVAL);
    CHECK_EQ(cshm_directory_add(region, "a", CSHM_KIND_BLOCK, 0, block + 16), -EINVAL);
    CHECK_EQ(cshm_directory_add(region, "a", CSHM_KIND_BLOCK, 0, UINT64_MAX), -EINVAL);
    CHECK_EQ(cshm_heap_free(region, make_block(region, 2)), 0);
    CHECK_EQ(cshm_directory_find(region, "a", &entry), -ENOENT);
    cshm_region_close(region);
}

static void grows_and_uses_freed_slots_again(void)
{
    cshm_region *region = make_region(4u << 20);
    struct cshm_directory_entry entry;
    uint64_t seen = 0;
    char text[32];
    for (uint64_t i = 0; i < NAMES; i++) {
        CHECK_EQ(
            cshm_directory_add(region, name_of(i, text), CSHM_KIND_BLOCK, i, make_block(region, i)),
            0);
    }
    uint64_t blocks = blocks_in_use(region);
    for (uint64_t round = 0; round < 20; round++) {
        for (uint64_t i = round % 3; i < NAMES; i += 3) {
            CHECK_EQ(cshm_directory_remove(region, name_of(i, text), &entry), 0);
            CHECK(entry.type_tag == i && content_at(region, entry.offset) == i);
            CHECK_EQ(cshm_directory_add(region, name_of(i, text), CSHM_KIND_BLOCK, i, entry.offset),
                     0);
        }
    }
    CHECK_EQ(blocks_in_use(region), blocks);
    CHECK_EQ(cshm_directory_list(region, count_one, &seen), NAMES);
    CHECK_EQ(seen, NAMES);
    cshm_region_close(region);
}

static void tags_of_texts(void)
{
    CHECK(cshm_type_tag("") == 0xcbf29ce484222325ull);
    CHECK(cshm_type_tag("a") == 0xaf63dc4c8601ec8cull);
    CHECK(cshm_type_tag("foobar") == 0x85944171f73967e8ull);
}

/* ---- other processes ---- */

static void make_jobs(cshm_region *region, void *context)
{
    struct cshm_queue_options options = {.capacity = 4, .slot_size = 8, .type_tag = TAG};
    cshm_queue *queue = NULL;
    uint64_t offset = 0;
    uint64_t number = 42;
    (void)context;
    if (cshm_queue_create(region, &options, &offset) != 0 ||
        cshm_queue_open(region, offset, TAG, &queue) != 0 ||
        cshm_queue_try_put(queue, &number, sizeof number) != 0 ||
        cshm_directory_add(region, "jobs", CSHM_KIND_QUEUE, TAG, offset) != 0) {
        _exit(1);
    }
    cshm_queue_close(queue);
    cshm_region_close(region);
}

static void objects_outlive_their_process(void)
{
    cshm_region *region = make_region(4u << 20);
    struct cshm_directory_entry entry;
    struct cshm_message message;
    cshm_queue *queue = NULL;
    expect_success(spawn(region, make_jobs, NULL));
    CHECK_EQ(cshm_directory_find(region, "jobs", &entry), 0);
    CHECK_EQ(entry.kind, CSHM_KIND_QUEUE);
    CHECK_EQ(cshm_queue_open(region, entry.offset, TAG + 1, &queue), -EPROTO);
    CHECK_EQ(cshm_queue_open(region, entry.offset, entry.type_tag, &queue), 0);
    CHECK_EQ(cshm_queue_try_take(queue, &message), 0);
    CHECK_EQ(*(uint64_t *)message.data, 42);
    cshm_queue_release(queue, &message);
    CHECK_EQ(cshm_directory_remove(region, "jobs", NULL), 0);
    cshm_queue_destroy(queue);
    CHECK_EQ(blocks_in_use(region), 1); /* the page */
    cshm_region_close(region);
}

static void cannot_name_what_is_anothers(void)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t block = make_block(region, 1);
    pid_t child = fork();
    if (child == 0) {
        bool right = cshm_directory_add(region, "a", CSHM_KIND_BLOCK, 0, block) == -ECHILD &&
                     cshm_directory_remove(region, "a", NULL) == -ECHILD &&
                     cshm_region_join(region) == 0 &&
                     cshm_directory_add(region, "a", CSHM_KIND_BLOCK, 0, block) == -EINVAL;
        _exit(right ? 0 : 1);
    }
    expect_success(child);
    cshm_region_close(region);
}

struct race {
    cshm_region *region;
    _Atomic uint32_t stop;
    uint64_t offsets[4];
};

/* Names come and go, in whichever slot is free: the tag always says which name it is. */
static void *rename_all(void *context)
{
    struct race *race = context;
    char text[32];
    for (uint64_t i = 0; atomic_load(&race->stop) == 0; i++) {
        uint64_t number = i % 4;
        CHECK_EQ(cshm_directory_add(race->region, name_of(number, text), CSHM_KIND_BLOCK, number,
                                    race->offsets[number]),
                 0);
        if (i >= 2) {
            CHECK_EQ(cshm_directory_remove(race->region, name_of((i - 2) % 4, text), NULL), 0);
        }
    }
    return NULL;
}

static void finds_whole_entries_while_a_thread_renames(void)
{
    struct race race = {.region = make_region(4u << 20)};
    pthread_t thread;
    uint64_t found = 0;
    char text[32];
    for (uint64_t i = 0; i < 4; i++) {
        race.offsets[i] = make_block(race.region, i);
        CHECK_EQ(cshm_heap_share(race.region, race.offsets[i]), 0);
    }
    CHECK_EQ(pthread_create(&thread, NULL, rename_all, &race), 0);
    for (uint64_t i = 0; i < 100000 || found < 1000; i++) {
        struct cshm_directory_entry entry;
        int status = cshm_directory_find(race.region, name_of(i % 4, text), &entry);
        CHECK(status == 0 || status == -ENOENT);
        if (status == 0) {
            CHECK_EQ(entry.type_tag, i % 4);
            CHECK_EQ(entry.offset, race.offsets[i % 4]);
            found++;
        }
    }
    atomic_store(&race.stop, 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    cshm_region_close(race.region);
}

/* ---- damage ---- */

static void use_everything(cshm_region *region)
{
    struct cshm_directory_entry entry;
    uint64_t seen = 0;
    char text[32];
    int found = cshm_directory_find(region, name_of(1, text), &entry);
    CHECK(found == 0 || found == -ENOENT || found == -EPROTO);
    int listed = cshm_directory_list(region, count_one, &seen);
    CHECK(listed >= 0 || listed == -EPROTO);
    uint64_t block = make_block(region, 9);
    int added = cshm_directory_add(region, "new", CSHM_KIND_BLOCK, 0, block);
    CHECK(added == 0 || added == -EPROTO || added == -EEXIST);
    if (added != 0) {
        CHECK_EQ(cshm_heap_free(region, block), 0);
    } else if (cshm_directory_remove(region, "new", NULL) == 0) {
        CHECK_EQ(cshm_heap_free(region, block), 0);
    }
}

static void damage_is_an_error(void)
{
    cshm_region *region = make_region(8u << 20);
    char text[32];
    for (uint64_t i = 0; i < 2 * CSHM_DIRECTORY_SLOTS; i++) {
        CHECK_EQ(
            cshm_directory_add(region, name_of(i, text), CSHM_KIND_BLOCK, i, make_block(region, i)),
            0);
    }
    static struct cshm_directory_page whole;
    uint64_t place = atomic_load(&region->live->directory);
    struct cshm_directory_page *page = cshm_heap_pointer(region, place, sizeof *page);
    memcpy((void *)&whole, (const void *)page, sizeof whole);
    const uint64_t bad[] = {0, 1, UINT64_MAX, 1ull << 55, place, place + 8, 1ull << 32 | 300};
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        atomic_store(&region->live->directory, bad[k]);
        use_everything(region);
        atomic_store(&region->live->directory, place);
        for (size_t word = 0; word < sizeof whole / 8; word++) {
            ((uint64_t *)(void *)page)[word] = bad[k];
            use_everything(region);
            memcpy((void *)page, (const void *)&whole, sizeof whole);
        }
    }
    struct cshm_directory_entry entry;
    page->next = place; /* a circle */
    CHECK_EQ(cshm_directory_find(region, "absent", &entry), -EPROTO);
    CHECK_EQ(cshm_directory_add(region, "absent", CSHM_KIND_BLOCK, 0, make_block(region, 0)),
             -EPROTO);
    cshm_region_close(region);
}

/* ---- deaths ---- */

struct deaths {
    _Atomic uint64_t added;
    uint64_t seed;
};

static void add_for_ever(cshm_region *region, void *context)
{
    struct deaths *deaths = context;
    uint64_t random = deaths->seed ^ (uint64_t)getpid();
    for (;;) {
        char text[32];
        uint64_t number = next_random(&random) % NAMES;
        uint64_t offset = make_block(region, number);
        int status =
            cshm_directory_add(region, name_of(number, text), CSHM_KIND_BLOCK, number, offset);
        CHECK(status == 0 || status == -EEXIST);
        if (status == 0) {
            atomic_fetch_add(&deaths->added, 1);
        } else {
            CHECK_EQ(cshm_heap_free(region, offset), 0);
        }
    }
}

static void remove_some(cshm_region *region, uint64_t *random)
{
    for (int i = 0; i < NAMES / 4; i++) {
        char text[32];
        struct cshm_directory_entry entry;
        uint64_t number = next_random(random) % NAMES;
        int status = cshm_directory_remove(region, name_of(number, text), &entry);
        CHECK(status == 0 || status == -ENOENT);
        if (status == 0) {
            CHECK(entry.type_tag == number && content_at(region, entry.offset) == number);
            CHECK_EQ(cshm_heap_free(region, entry.offset), 0);
        }
    }
}

static void killed_adders_leave_names_or_nothing(void)
{
    enum { ADDERS = 4 };
    struct deaths *deaths = shared_memory(sizeof *deaths);
    cshm_region *region = make_region(16u << 20);
    pid_t children[ADDERS];
    uint64_t random = deaths->seed = make_seed();
    uint64_t kills = 0;
    for (int i = 0; i < ADDERS; i++) {
        children[i] = spawn(region, add_for_ever, deaths);
    }
    for (int64_t end = after(2 * SECOND); cshm_now_ns() < end || kills < 200; kills++) {
        int victim = (int)(next_random(&random) % ADDERS);
        kill_child(children[victim]);
        remove_some(region, &random);
        children[victim] = spawn(region, add_for_ever, deaths);
        usleep((useconds_t)(next_random(&random) % 500));
    }
    for (int i = 0; i < ADDERS; i++) {
        kill_child(children[i]);
    }
    CHECK(cshm_region_reap(region) >= 0);
    uint64_t named = 0;
    uint64_t pages = (NAMES + CSHM_DIRECTORY_SLOTS - 1) / CSHM_DIRECTORY_SLOTS;
    for (uint64_t i = 0; i < NAMES; i++) {
        char text[32];
        struct cshm_directory_entry entry;
        if (cshm_directory_find(region, name_of(i, text), &entry) == 0) {
            CHECK(entry.type_tag == i && content_at(region, entry.offset) == i);
            named++;
        }
    }
    fprintf(stderr, "%llu kills, %llu added, %llu named\n", (unsigned long long)kills,
            (unsigned long long)atomic_load(&deaths->added), (unsigned long long)named);
    CHECK(blocks_in_use(region) > named && blocks_in_use(region) <= named + pages);
    cshm_region_close(region);
}

const struct test directory_tests[] = {
    {"adds_finds_lists_and_removes", adds_finds_lists_removes},
    {"refuses_what_is_no_name_and_no_object", refuses_what_is_no_name_and_no_object},
    {"grows_and_uses_freed_slots_again", grows_and_uses_freed_slots_again},
    {"makes_tags_of_texts", tags_of_texts},
    {"finds_whole_entries_while_a_thread_renames", finds_whole_entries_while_a_thread_renames},
    {"answers_damage_with_an_error", damage_is_an_error},
    {"has_objects_that_outlive_their_process", objects_outlive_their_process},
    {"refuses_the_block_of_another_process", cannot_name_what_is_anothers},
    {"crash_killed_adders_leave_names_or_nothing", killed_adders_leave_names_or_nothing},
    {NULL, NULL},
};
