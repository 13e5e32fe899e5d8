/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The list: each call's effect is there wholly or not at all, whatever it did to how many elements,
 * and no item or body is lost.
 */
#include "kill.h"

extern const struct scenario list_scenarios[];

enum { TAG = 11, MOST = 32 };

/* What the list was and is to be; each process knows it. */
static uint64_t before[MOST], afterwards[MOST];
static uint64_t before_count, after_count;

static void make_list(struct world *world, uint64_t count)
{
    cshm_list *list = NULL;
    CHECK_EQ(cshm_list_create(world->region, TAG, &world->place[0]), 0);
    CHECK_EQ(cshm_list_open(world->region, world->place[0], TAG, &list), 0);
    world->handle = list;
    before_count = after_count = count;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t element[2] = {i + 1, ~(i + 1)};
        before[i] = afterwards[i] = i + 1;
        CHECK_EQ(cshm_list_push_back(list, element, sizeof element), 0);
    }
}

static void make_shared_list(struct world *world, uint64_t count)
{
    make_list(world, count);
    CHECK_EQ(cshm_heap_share(world->region, world->place[0]), 0);
}

/* What the operation is to do. */
static void expect_splice(uint64_t from, uint64_t count, uint64_t coming)
{
    memmove(afterwards + from + coming, afterwards + from + count,
            (before_count - from - count) * 8);
    for (uint64_t i = 0; i < coming; i++) {
        afterwards[from + i] = 100 + i;
    }
    after_count = before_count - count + coming;
}

static void make_empty(struct world *world)
{
    make_shared_list(world, 0);
    expect_splice(0, 0, 1);
}

static void make_to_push_back(struct world *world)
{
    make_shared_list(world, 3);
    expect_splice(3, 0, 1);
}

static void make_to_push_front(struct world *world)
{
    make_shared_list(world, 3);
    expect_splice(0, 0, 1);
}

static void make_full(struct world *world)
{
    make_shared_list(world, 8);
    expect_splice(8, 0, 1);
}

static void make_to_pop_back(struct world *world)
{
    make_shared_list(world, 3);
    expect_splice(2, 1, 0);
}

static void make_to_pop_front(struct world *world)
{
    make_shared_list(world, 3);
    expect_splice(0, 1, 0);
}

/* Two elements in a body of 16 slots: a pop halves it. */
static void make_sparse(struct world *world)
{
    uint64_t element[2];
    uint64_t length = 0;
    make_shared_list(world, 9);
    while (cshm_list_count(world->handle) > 2) {
        CHECK_EQ(cshm_list_pop_back(world->handle, element, sizeof element, &length), 0);
    }
    before_count = 2;
    expect_splice(0, 1, 0);
}

static void make_to_set(struct world *world)
{
    make_shared_list(world, 3);
    expect_splice(1, 1, 1);
}

static void make_to_insert(struct world *world)
{
    make_shared_list(world, 4);
    expect_splice(2, 0, 3);
}

static void make_to_refuse(struct world *world)
{
    make_shared_list(world, 4);
}

static void make_to_append(struct world *world)
{
    make_shared_list(world, 4);
    expect_splice(4, 0, 3);
}

static void make_to_remove(struct world *world)
{
    make_shared_list(world, 5);
    expect_splice(1, 2, 0);
}

static void make_to_clear(struct world *world)
{
    make_shared_list(world, 3);
    expect_splice(0, 3, 0);
}

static int push_back(struct world *world)
{
    return cshm_list_push_back(world->handle, (uint64_t[]){100, ~100ull}, 16);
}

static int push_front(struct world *world)
{
    return cshm_list_push_front(world->handle, (uint64_t[]){100, ~100ull}, 16);
}

static int pop_back(struct world *world)
{
    uint64_t element[2];
    uint64_t length = 0;
    return cshm_list_pop_back(world->handle, element, sizeof element, &length);
}

static int pop_front(struct world *world)
{
    uint64_t element[2];
    uint64_t length = 0;
    return cshm_list_pop_front(world->handle, element, sizeof element, &length);
}

static int set(struct world *world)
{
    return cshm_list_set(world->handle, 1, (uint64_t[]){100, ~100ull}, 16);
}

static int splice(struct world *world, uint64_t from, uint64_t count, uint64_t coming)
{
    uint64_t elements[4][2];
    struct cshm_list_value values[4] = {0};
    for (uint64_t i = 0; i < coming; i++) {
        elements[i][0] = 100 + i;
        elements[i][1] = ~(100 + i);
        values[i] = (struct cshm_list_value){elements[i], 16};
    }
    return cshm_list_splice(world->handle, from, count, values, coming);
}

static int insert(struct world *world)
{
    return splice(world, 2, 0, 3);
}

/* The second value is too long: the first is made, and goes again. */
static int insert_too_long(struct world *world)
{
    uint64_t element[2] = {100, ~100ull};
    struct cshm_list_value values[2] = {{element, 16}, {element, 1ull << 40}};
    int status = cshm_list_splice(world->handle, 2, 0, values, 2);
    return status == -EINVAL ? 0 : -EPROTO;
}

static int append(struct world *world)
{
    return splice(world, 4, 0, 3);
}

static int remove_some(struct world *world)
{
    return splice(world, 1, 2, 0);
}

static int clear(struct world *world)
{
    return splice(world, 0, 3, 0);
}

static int set_under_lock(struct world *world)
{
    int status = cshm_list_lock(world->handle);
    if (status == 0) {
        status = set(world);
        cshm_list_unlock(world->handle);
    }
    return status;
}

/* ---- words in place ---- */

static void make_words(struct world *world)
{
    make_shared_list(world, 0);
    for (uint64_t i = 1; i <= 2; i++) {
        CHECK_EQ(cshm_list_push_back(world->handle, &i, sizeof i), 0);
    }
}

static int set_word(struct world *world)
{
    return cshm_list_set(world->handle, 0, &(uint64_t){7}, 8);
}

static void check_words(struct world *world)
{
    uint64_t word[2] = {0, 0};
    uint64_t length = 0;
    CHECK_EQ(cshm_list_get(world->handle, 0, &word[0], 8, &length), 0);
    CHECK_EQ(cshm_list_get(world->handle, 1, &word[1], 8, &length), 0);
    CHECK(word[0] == 7 || (word[0] == 1 && !returned(world)));
    CHECK_EQ(word[1], 2);
    CHECK_EQ(blocks_in_use(world->region), 2 + cshm_list_count(world->handle));
    cshm_list_destroy(world->handle);
}

/* ---- what holds afterwards ---- */

static void write_next(struct world *world)
{
    uint64_t element[2] = {55, ~55ull};
    uint64_t length = 0;
    CHECK_EQ(cshm_list_push_back(world->handle, element, sizeof element), 0);
    CHECK_EQ(cshm_list_pop_back(world->handle, element, sizeof element, &length), 0);
    CHECK(element[0] == 55 && length == 16);
}

/* Writers that come next put an element behind the others for a while, or died doing so. */
static bool is_list(const struct world *world, const uint64_t *numbers, uint64_t count)
{
    uint64_t buffer[MOST * 3];
    uint64_t copied = 0;
    uint64_t size = 0;
    CHECK_EQ(cshm_list_slice(world->handle, 0, MOST, buffer, sizeof buffer, &copied, &size), 0);
    CHECK_EQ(size, copied * 24);
    if (copied > 0 && buffer[(copied - 1) * 3 + 1] == 55) {
        copied--;
    }
    bool same = copied == count;
    for (uint64_t i = 0; i < copied; i++) {
        CHECK(buffer[i * 3] == 16 && buffer[i * 3 + 2] == ~buffer[i * 3 + 1]);
        same = same && buffer[i * 3 + 1] == numbers[i];
    }
    return same;
}

static void read_meanwhile(struct world *world)
{
    CHECK(is_list(world, before, before_count) || is_list(world, afterwards, after_count));
    for (uint64_t i = 0; i < MOST; i++) {
        uint64_t element[2];
        uint64_t length = 0;
        int status = cshm_list_get(world->handle, i, element, sizeof element, &length);
        CHECK(status == -ENOENT || (status == 0 && element[1] == ~element[0]));
    }
}

static void check_list(struct world *world)
{
    bool done = is_list(world, afterwards, after_count);
    CHECK(done || (!returned(world) && is_list(world, before, before_count)));
    uint64_t count = cshm_list_count(world->handle);
    /* The list, perhaps its body, and an item for each element. */
    CHECK(blocks_in_use(world->region) == count + 2 || count == 0);
    CHECK_EQ(cshm_list_splice(world->handle, 0, count, NULL, 0), 0);
    CHECK(blocks_in_use(world->region) <= (count == 0 ? 2 : 1));
    cshm_list_destroy(world->handle);
}

static int create(struct world *world)
{
    return cshm_list_create(world->region, TAG, &world->place[0]);
}

static void make_own_list(struct world *world)
{
    make_list(world, 3);
}

static int destroy(struct world *world)
{
    cshm_list_destroy(world->handle);
    return 0;
}

static void check_gone(struct world *world)
{
    CHECK_EQ(blocks_in_use(world->region), 0);
}

#define CHANGE(title, scene, operation, every) \
    {.name = title,                            \
     .setup = scene,                           \
     .operate = operation,                     \
     .recover = write_next,                    \
     .check = check_list,                      \
     .meanwhile = read_meanwhile,              \
     .pairs = every}

const struct scenario list_scenarios[] = {
    CHANGE("push_into_an_empty_one", make_empty, push_back, 11),
    CHANGE("push_back", make_to_push_back, push_back, 5),
    CHANGE("push_front", make_to_push_front, push_front, 9),
    CHANGE("push_that_grows", make_full, push_back, 13),
    CHANGE("pop_back", make_to_pop_back, pop_back, 5),
    CHANGE("pop_front", make_to_pop_front, pop_front, 9),
    CHANGE("pop_that_shrinks", make_sparse, pop_front, 11),
    CHANGE("set", make_to_set, set, 7),
    CHANGE("insert", make_to_insert, insert, 23),
    CHANGE("insert_too_long", make_to_refuse, insert_too_long, 17),
    CHANGE("append", make_to_append, append, 17),
    CHANGE("remove", make_to_remove, remove_some, 11),
    CHANGE("clear", make_to_clear, clear, 7),
    CHANGE("set_under_lock", make_to_set, set_under_lock, 0),
    {.name = "set_a_word",
     .setup = make_words,
     .operate = set_word,
     .recover = write_next,
     .check = check_words,
     .pairs = 1},
    {.name = "create", .operate = create, .check = check_gone, .pairs = 7},
    {.name = "push_into_an_unshared_one",
     .prepare = make_own_list,
     .operate = push_back,
     .check = check_gone},
    {.name = "destroy",
     .prepare = make_own_list,
     .operate = destroy,
     .check = check_gone,
     .pairs = 7},
    {.name = NULL},
};
