/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Anchors: what somebody has, or a value in a map or list names, stays; all else goes, with what it
 * holds itself.
 *
 * The scene is a map and a list that hold, both anchored, and an inner map with content, which is in
 * another map, the middle one. The survivor has a reference to each but the inner one.
 */
#include "kill.h"

#include "internal.h"

extern const struct scenario anchor_scenarios[];

enum { OUTER, LIST, MIDDLE, INNER, QUEUE, ANCHORS };
enum { KEYS = 3, PLAIN = 16, HOLDING = 32 };

/* Each process knows them. */
static cshm_anchor anchor[ANCHORS];
static cshm_map *outer;
static cshm_list *list;
static cshm_queue *queue; /* in some scenes */

/* ---- the scene ---- */

/* A value that names an anchor, or none. @returns its length. */
static uint64_t fill_value(uint64_t *value, const cshm_anchor *held)
{
    uint64_t at = 0;
    value[at++] = 7;
    if (held != NULL) {
        value[at++] = held->place;
        value[at++] = held->generation;
    }
    value[at++] = (held != NULL ? UINT64_C(1) << 48 : 0) | 8;
    return at * 8;
}

static int put(cshm_map *map, uint64_t key, const cshm_anchor *held)
{
    uint64_t value[4];
    uint64_t length = fill_value(value, held);
    return cshm_map_put(map, &key, sizeof key, value, length);
}

static int push(const cshm_anchor *held)
{
    uint64_t value[4];
    uint64_t length = fill_value(value, held);
    return cshm_list_push_back(list, value, length);
}

static cshm_map *make_map(cshm_region *region, bool holds, cshm_anchor *out)
{
    struct cshm_map_options options = {.shards = 2, .holds = holds};
    uint64_t place = 0;
    cshm_map *map = NULL;
    CHECK_EQ(cshm_map_create(region, &options, &place), 0);
    CHECK_EQ(cshm_anchor_create(region, CSHM_KIND_MAP, place, out), 0);
    CHECK_EQ(cshm_map_open(region, place, 0, &map), 0);
    return map;
}

static void make_scene(struct world *world)
{
    uint64_t place = 0;
    outer = make_map(world->region, true, &anchor[OUTER]);
    CHECK_EQ(cshm_list_create_holding(world->region, 0, &place), 0);
    CHECK_EQ(cshm_anchor_create(world->region, CSHM_KIND_LIST, place, &anchor[LIST]), 0);
    CHECK_EQ(cshm_list_open(world->region, place, 0, &list), 0);
    cshm_map *middle = make_map(world->region, true, &anchor[MIDDLE]);
    cshm_map *inner = make_map(world->region, false, &anchor[INNER]);
    CHECK_EQ(put(inner, 1, NULL), 0);
    CHECK_EQ(put(middle, 1, &anchor[INNER]), 0);
    CHECK_EQ(cshm_anchor_release(world->region, &anchor[INNER]), 0);
    cshm_map_close(inner);
    cshm_map_close(middle);
}

/* The middle one is stored, and nothing else has it. */
static void give_away(struct world *world)
{
    CHECK_EQ(cshm_anchor_release(world->region, &anchor[MIDDLE]), 0);
    anchor[MIDDLE].generation |= UINT64_C(1) << 63; /* for the survivor: not its own */
}

static cshm_anchor middle(void)
{
    return (cshm_anchor){anchor[MIDDLE].place, anchor[MIDDLE].generation & UINT64_MAX >> 1};
}

static void make_in_map(struct world *world)
{
    make_scene(world);
    CHECK_EQ(put(outer, 1, &anchor[MIDDLE]), 0);
    give_away(world);
}

static void make_in_list(struct world *world)
{
    make_scene(world);
    CHECK_EQ(push(NULL), 0);
    CHECK_EQ(push(&anchor[MIDDLE]), 0);
    CHECK_EQ(push(&anchor[MIDDLE]), 0);
    give_away(world);
}

static int send(const cshm_anchor *held)
{
    uint64_t value[4];
    uint64_t length = fill_value(value, held);
    return cshm_queue_try_put_holding(queue, value, length);
}

static void make_with_queue(struct world *world)
{
    struct cshm_queue_options options = {.capacity = 2, .slot_size = 64, .ports = 3};
    uint64_t place = 0;
    make_scene(world);
    CHECK_EQ(cshm_queue_create(world->region, &options, &place), 0);
    CHECK_EQ(cshm_anchor_create(world->region, CSHM_KIND_QUEUE, place, &anchor[QUEUE]), 0);
    CHECK_EQ(cshm_queue_open(world->region, place, 0, &queue), 0);
}

static void make_in_queue(struct world *world)
{
    make_with_queue(world);
    CHECK_EQ(send(NULL), 0);
    CHECK_EQ(send(&anchor[MIDDLE]), 0);
    give_away(world);
}

/* The queue is stored in the outer map, and nothing else has it. */
static void make_in_stored_queue(struct world *world)
{
    make_in_queue(world);
    CHECK_EQ(put(outer, 1, &anchor[QUEUE]), 0);
    cshm_queue_close(queue);
    CHECK_EQ(cshm_anchor_release(world->region, &anchor[QUEUE]), 0);
}

/* ---- what is done ---- */

static int put_it(struct world *world)
{
    (void)world;
    return put(outer, 1, &anchor[MIDDLE]);
}

static int replace_it(struct world *world)
{
    (void)world;
    int status = put(outer, 1, NULL);
    return status < 0 ? status : 0;
}

static int remove_it(struct world *world)
{
    uint64_t key = 1;
    (void)world;
    return cshm_map_remove(outer, &key, sizeof key);
}

static int clear_map(struct world *world)
{
    (void)world;
    return cshm_map_clear(outer);
}

/* From key 1 to keys 2 and 3. */
static int move_it(struct world *world)
{
    uint64_t keys[KEYS] = {1, 2, 3};
    uint64_t value[4];
    struct cshm_map_step steps[KEYS];
    cshm_anchor held = middle();
    (void)world;
    memset(steps, 0, sizeof steps);
    for (uint32_t i = 0; i < KEYS; i++) {
        steps[i].key = &keys[i];
        steps[i].key_length = sizeof keys[i];
    }
    int status = cshm_map_begin(outer, steps, KEYS);
    if (status != 0) {
        return status;
    }
    uint64_t length = fill_value(value, &held);
    for (uint32_t i = 0; i < KEYS; i++) {
        steps[i].action = i == 0 ? CSHM_MAP_REMOVE : CSHM_MAP_SET;
        steps[i].new_value = value;
        steps[i].new_length = length;
    }
    return cshm_map_commit(outer, steps, KEYS);
}

static int push_it(struct world *world)
{
    (void)world;
    return push(&anchor[MIDDLE]);
}

static int pop_it(struct world *world)
{
    uint64_t value[4];
    uint64_t length = 0;
    (void)world;
    return cshm_list_pop_back(list, value, sizeof value, &length);
}

static int set_it(struct world *world)
{
    uint64_t value[4];
    uint64_t length = fill_value(value, NULL);
    (void)world;
    return cshm_list_set(list, 1, value, length);
}

/* Two come for one that goes. */
static int splice_it(struct world *world)
{
    uint64_t value[4];
    cshm_anchor held = middle();
    uint64_t length = fill_value(value, &held);
    struct cshm_list_value values[2] = {{value, length}, {value, length}};
    (void)world;
    return cshm_list_splice(list, 1, 1, values, 2);
}

static int clear_list(struct world *world)
{
    (void)world;
    return cshm_list_splice(list, 0, cshm_list_count(list), NULL, 0);
}

static int send_it(struct world *world)
{
    (void)world;
    return send(&anchor[MIDDLE]);
}

/* Both messages; a reference is acquired before what has it is let go. */
static int receive(struct world *world)
{
    cshm_anchor held = middle();
    int status = 0;
    for (int i = 0; i < 2 && status == 0; i++) {
        struct cshm_message message;
        status = cshm_queue_try_take(queue, &message);
        if (status == 0 && message.length == HOLDING) {
            status = cshm_anchor_acquire(world->region, &held);
        }
        if (status == 0) {
            cshm_queue_release(queue, &message);
        }
    }
    return status != 0 ? status : cshm_anchor_release(world->region, &held);
}

static int lease_and_return(struct world *world)
{
    struct cshm_message message;
    int status = 0;
    (void)world;
    for (int i = 0; i < 2 && status == 0; i++) {
        status = cshm_queue_try_lease(queue, 1, &message);
    }
    if (status == 0) {
        cshm_queue_return(queue, &message);
    }
    return status;
}

/* What is to be held has ended: nothing is stored. */
static int put_ended(struct world *world)
{
    uint64_t value[4];
    cshm_anchor ended = {anchor[MIDDLE].place, anchor[MIDDLE].generation + 2};
    uint64_t length = fill_value(value, &ended);
    (void)world;
    bool refused = put(outer, 1, &ended) == -ENOENT && push(&ended) == -ENOENT &&
                   cshm_queue_put_holding_until(queue, value, length, 0) == -ENOENT;
    return refused ? 0 : -EPROTO;
}

/* Another map, which holds the middle one, and is in the outer one. */
static int make_another(struct world *world)
{
    struct cshm_map_options options = {.shards = 1, .holds = 1};
    uint64_t place = 0;
    cshm_anchor made;
    cshm_map *map = NULL;
    int status = cshm_map_create(world->region, &options, &place);
    status = status != 0 ? status : cshm_anchor_create(world->region, CSHM_KIND_MAP, place, &made);
    status = status != 0 ? status : cshm_map_open(world->region, place, 0, &map);
    status = status != 0 ? status : put(map, 1, &anchor[MIDDLE]);
    status = status != 0 ? status : put(outer, 2, &made);
    return status != 0 ? status : cshm_anchor_release(world->region, &made);
}

static void make_none(struct world *world)
{
    (void)world;
}

/* The region's first, for which there is no page. */
static int make_first(struct world *world)
{
    uint64_t place = 0;
    cshm_anchor made;
    int status = cshm_heap_allocate(world->region, 100, &place);
    status =
        status != 0 ? status : cshm_anchor_create(world->region, CSHM_KIND_BLOCK, place, &made);
    return status != 0 ? status : cshm_anchor_release(world->region, &made);
}

static int acquire_and_release(struct world *world)
{
    cshm_anchor held = middle();
    int status = cshm_anchor_acquire(world->region, &held);
    status = status != 0 ? status : cshm_anchor_acquire(world->region, &held);
    return status != 0 ? status : cshm_anchor_release(world->region, &held);
}

static int keep_it(struct world *world)
{
    cshm_anchor held = middle();
    return cshm_anchor_keep(world->region, &held);
}

static int name_it(struct world *world)
{
    struct cshm_anchor_slot *slot =
        cshm_heap_pointer(world->region, middle().place, sizeof(struct cshm_anchor_slot));
    return cshm_directory_add(world->region, "middle", CSHM_KIND_MAP, 0,
                              atomic_load(&slot->object));
}

/* ---- what is found ---- */

static void end_table(struct world *world)
{
    _Atomic uint64_t *word = &world->region->live->anchors;
    uint64_t place = atomic_exchange(word, 0);
    atomic_store(&world->region->live->anchor_hint, 0);
    while (place != 0) {
        struct cshm_anchor_page *page = cshm_heap_pointer(world->region, place, sizeof *page);
        uint64_t next = atomic_load(&page->next);
        cshm__heap_free_from(world->region, place, word);
        word = &page->next;
        place = next;
    }
}

static bool is_there(struct world *world, const cshm_anchor *which)
{
    int status = cshm_anchor_acquire(world->region, which);
    CHECK(status == 0 || status == -ENOENT);
    if (status == 0) {
        CHECK_EQ(cshm_anchor_release(world->region, which), 0);
    }
    return status == 0;
}

/* How many values name another object. */
static uint32_t count_stored(void)
{
    uint64_t value[4];
    uint64_t length = 0;
    uint32_t count = 0;
    for (uint64_t key = 1; key <= KEYS; key++) {
        count += cshm_map_get(outer, &key, sizeof key, value, sizeof value, &length) == 0 &&
                 length == HOLDING;
    }
    for (uint64_t i = 0; i < cshm_list_count(list); i++) {
        CHECK_EQ(cshm_list_get(list, i, value, sizeof value, &length), 0);
        count += length == HOLDING;
    }
    return count;
}

static void check(struct world *world)
{
    cshm_anchor held = middle();
    /* Who has the locks next mends what the dead left. */
    CHECK_EQ(cshm_map_freeze(outer), 0);
    cshm_map_thaw(outer);
    CHECK_EQ(push(NULL), 0);
    CHECK(cshm_region_reap(world->region) >= 0);
    if (held.generation == anchor[MIDDLE].generation) {
        CHECK_EQ(cshm_anchor_release(world->region, &held), 0);
    }
    bool stored = count_stored() != 0;
    CHECK_EQ(is_there(world, &held), stored);
    CHECK_EQ(is_there(world, &anchor[INNER]), stored);
    CHECK_EQ(clear_map(world), 0);
    CHECK_EQ(clear_list(world), 0);
    CHECK_EQ(is_there(world, &held), false);
    CHECK_EQ(is_there(world, &anchor[INNER]), false);
    cshm_map_close(outer);
    cshm_list_close(list);
    CHECK_EQ(cshm_anchor_release(world->region, &anchor[OUTER]), 0);
    CHECK_EQ(cshm_anchor_release(world->region, &anchor[LIST]), 0);
    CHECK_EQ(cshm_anchor_count(world->region), 0);
    CHECK_EQ(blocks_in_use(world->region), 1);
    end_table(world);
}

/* What is delivered is there until it is let go. What a dead one had taken goes with the next that uses
 * its slot, or with the queue. */
static void take_all(struct world *world)
{
    cshm_anchor held = middle();
    struct cshm_message message;
    while (cshm_queue_try_take(queue, &message) == 0) {
        CHECK(message.length != HOLDING || is_there(world, &held));
        cshm_queue_release(queue, &message);
    }
}

static void check_queue(struct world *world)
{
    CHECK(cshm_region_reap(world->region) >= 0);
    take_all(world);
    cshm_queue_close(queue);
    CHECK_EQ(cshm_anchor_release(world->region, &anchor[QUEUE]), 0);
    check(world);
}

/* Readers go on, whoever has which guard. */
static void look_meanwhile(struct world *world)
{
    (void)world;
    (void)count_stored();
}

/* It is kept, or it is not; the test ends what nobody else would. */
static void check_kept(struct world *world)
{
    cshm_anchor held = middle();
    CHECK(cshm_region_reap(world->region) >= 0);
    CHECK_EQ(clear_map(world), 0);
    CHECK(is_there(world, &held) || !returned(world));
    if (is_there(world, &held)) {
        struct cshm_anchor_slot *slot =
            cshm_heap_pointer(world->region, held.place, sizeof(struct cshm_anchor_slot));
        atomic_store(&slot->kept, 0);
        CHECK(!is_there(world, &held) || !is_there(world, &held));
    }
    check(world);
}

static void check_none(struct world *world)
{
    CHECK(cshm_region_reap(world->region) >= 0);
    CHECK_EQ(cshm_anchor_count(world->region), 0);
    end_table(world);
    CHECK_EQ(blocks_in_use(world->region), 0);
}

/* It has a name, and stays, or none, and goes with the one reference that there is. */
static void check_named(struct world *world)
{
    cshm_anchor held = middle();
    struct cshm_anchor_slot *slot =
        cshm_heap_pointer(world->region, held.place, sizeof(struct cshm_anchor_slot));
    struct cshm_directory_entry entry;
    _Atomic uint64_t *directory = &world->region->live->directory;
    int status = cshm_directory_remove(world->region, "middle", &entry);
    CHECK(status == 0 || (status == -ENOENT && !returned(world)));
    CHECK(cshm_region_reap(world->region) >= 0);
    if (held.generation == anchor[MIDDLE].generation) {
        CHECK_EQ(cshm_anchor_release(world->region, &held), 0);
        anchor[MIDDLE].generation |= UINT64_C(1) << 63;
    }
    CHECK_EQ(is_there(world, &held), status == 0);
    if (status == 0) {
        CHECK_EQ(entry.offset, atomic_load(&slot->object));
        atomic_store(&slot->stored, 0);
        CHECK(is_there(world, &held) && !is_there(world, &held));
    }
    uint64_t place = atomic_exchange(directory, 0);
    if (place != 0) {
        cshm__heap_free_from(world->region, place, directory);
    }
    check(world);
}

const struct scenario anchor_scenarios[] = {
    {.name = "put", .setup = make_scene, .operate = put_it, .check = check, .pairs = 23},
    {.name = "replace",
     .setup = make_in_map,
     .operate = replace_it,
     .check = check,
     .meanwhile = look_meanwhile,
     .pairs = 31},
    {.name = "remove",
     .setup = make_in_map,
     .operate = remove_it,
     .check = check,
     .meanwhile = look_meanwhile},
    {.name = "clear_map", .setup = make_in_map, .operate = clear_map, .check = check},
    {.name = "move", .setup = make_in_map, .operate = move_it, .check = check, .pairs = 43},
    {.name = "push", .setup = make_scene, .operate = push_it, .check = check},
    {.name = "pop", .setup = make_in_list, .operate = pop_it, .check = check},
    {.name = "set", .setup = make_in_list, .operate = set_it, .check = check},
    {.name = "splice", .setup = make_in_list, .operate = splice_it, .check = check, .pairs = 43},
    {.name = "clear_list", .setup = make_in_list, .operate = clear_list, .check = check},
    {.name = "send",
     .setup = make_with_queue,
     .operate = send_it,
     .recover = take_all,
     .check = check_queue,
     .pairs = 13},
    {.name = "receive",
     .setup = make_in_queue,
     .operate = receive,
     .recover = take_all,
     .check = check_queue,
     .pairs = 37},
    {.name = "lease_and_return",
     .setup = make_in_queue,
     .operate = lease_and_return,
     .recover = take_all,
     .check = check_queue,
     .pairs = 13},
    {.name = "put_ended", .setup = make_with_queue, .operate = put_ended, .check = check_queue},
    {.name = "end_queue", .setup = make_in_stored_queue, .operate = remove_it, .check = check},
    {.name = "make", .setup = make_scene, .operate = make_another, .check = check, .pairs = 71},
    {.name = "make_first",
     .setup = make_none,
     .operate = make_first,
     .check = check_none,
     .pairs = 7},
    {.name = "acquire_and_release",
     .setup = make_in_map,
     .operate = acquire_and_release,
     .check = check},
    {.name = "name", .setup = make_scene, .operate = name_it, .check = check_named, .pairs = 17},
    {.name = "keep", .setup = make_in_map, .operate = keep_it, .check = check_kept},
    {.name = NULL},
};
