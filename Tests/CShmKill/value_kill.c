/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A value is the old one or the new one; a word is stored by one store.
 */
#include "kill.h"

#include "layout.h"

extern const struct scenario value_scenarios[];

/* Longer than a pair of lines, and no whole words. */
struct number {
    uint64_t digit[20];
    uint8_t last;
};

static const struct cshm_type type = {
    .tag = 7, .size = sizeof(struct number), .stride = sizeof(struct number), .alignment = 8};

static struct number number_of(uint64_t digit)
{
    struct number number;
    memset(&number, 0, sizeof number);
    for (uint32_t i = 0; i < 20; i++) {
        number.digit[i] = digit;
    }
    number.last = (uint8_t)digit;
    return number;
}

static void open_value(struct world *world)
{
    cshm_value *value = NULL;
    CHECK_EQ(cshm_value_open(world->region, world->place[0], &type, &value), 0);
    world->handle = value;
}

static void make_value(struct world *world)
{
    struct number one = number_of(1);
    CHECK_EQ(cshm_value_create(world->region, &type, &one, &world->place[0]), 0);
    CHECK_EQ(cshm_heap_share(world->region, world->place[0]), 0);
    open_value(world);
}

static int create(struct world *world)
{
    struct number one = number_of(1);
    int status = cshm_value_create(world->region, &type, &one, &world->place[0]);
    return status == 0 ? cshm_heap_free(world->region, world->place[0]) : status;
}

static int store(struct world *world)
{
    struct number two = number_of(2);
    return cshm_value_store_until(world->handle, &two, INT64_MAX);
}

static int edit(struct world *world)
{
    void *bytes = NULL;
    int status = cshm_value_edit_until(world->handle, &bytes, INT64_MAX);
    if (status == 0) {
        struct number two = number_of(2);
        memcpy(bytes, &two, sizeof two);
        cshm_value_commit(world->handle);
    }
    return status;
}

static int try_edit(struct world *world)
{
    void *bytes = NULL;
    int status = cshm_value_try_edit(world->handle, &bytes);
    if (status == 0) {
        cshm_value_abort(world->handle);
        status = cshm_value_try_edit_woken(world->handle, &bytes);
    }
    if (status == 0) {
        struct number two = number_of(2);
        memcpy(bytes, &two, sizeof two);
        cshm_value_commit(world->handle);
    }
    return status;
}

static int edit_in_vain(struct world *world)
{
    void *bytes = NULL;
    int status = cshm_value_edit_until(world->handle, &bytes, INT64_MAX);
    if (status == 0) {
        memset(bytes, 0xff, sizeof(struct number));
        cshm_value_abort(world->handle);
    }
    return status;
}

static uint64_t load(struct world *world)
{
    struct number now;
    CHECK_EQ(cshm_value_load(world->handle, &now), 0);
    struct number expected = number_of(now.digit[0]);
    CHECK_EQ(memcmp(&now, &expected, sizeof now), 0);
    return now.digit[0];
}

static void check_use(struct world *world)
{
    struct number three = number_of(3);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(cshm_value_store_until(world->handle, &three, INT64_MAX), 0);
        CHECK_EQ(load(world), 3);
    }
    cshm_value_destroy(world->handle);
}

static void check_stored(struct world *world)
{
    uint64_t now = load(world);
    CHECK(now == 2 || (now == 1 && !returned(world)));
    check_use(world);
}

static void check_kept(struct world *world)
{
    CHECK_EQ(load(world), 1);
    check_use(world);
}

static void check_gone(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
}

/* Readers do not wait for a stopped writer. */
static void load_meanwhile(struct world *world)
{
    uint64_t now = load(world);
    CHECK(now == 1 || now == 2);
}

static void *word_of(const struct world *world)
{
    return cshm_heap_pointer(world->region, world->place[0], 8);
}

static void make_word(struct world *world)
{
    world->place[0] = make_shared_block(world->region, 8);
    cshm_word_store(word_of(world), 0);
}

static int store_word(struct world *world)
{
    cshm_word_store(word_of(world), 1);
    return 0;
}

static void check_word(struct world *world)
{
    CHECK_EQ(cshm_word_load(word_of(world)), returned(world));
    CHECK_EQ(cshm_heap_free(world->region, world->place[0]), 0);
}

/* ---- array ---- */

static int create_array(struct world *world)
{
    int status = cshm_array_create(world->region, &type, 3, &world->place[0]);
    return status == 0 ? cshm_heap_free(world->region, world->place[0]) : status;
}

const struct scenario value_scenarios[] = {
    {.name = "create", .operate = create, .check = check_gone},
    {.name = "store",
     .setup = make_value,
     .prepare = open_value,
     .operate = store,
     .check = check_stored,
     .meanwhile = load_meanwhile},
    {.name = "edit",
     .setup = make_value,
     .prepare = open_value,
     .operate = edit,
     .check = check_stored,
     .meanwhile = load_meanwhile},
    {.name = "try_edit",
     .setup = make_value,
     .prepare = open_value,
     .operate = try_edit,
     .check = check_stored,
     .meanwhile = load_meanwhile},
    {.name = "edit_in_vain",
     .setup = make_value,
     .prepare = open_value,
     .operate = edit_in_vain,
     .check = check_kept,
     .meanwhile = load_meanwhile},
    {.name = "word_store", .setup = make_word, .operate = store_word, .check = check_word},
    {.name = "create_array", .operate = create_array, .check = check_gone},
    {.name = NULL},
};
