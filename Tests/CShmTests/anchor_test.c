/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/anchor.h, and of maps and lists that hold.
 */
#include "support.h"

#include <cshm/anchor.h>
#include <cshm/directory.h>
#include <cshm/list.h>
#include <cshm/map.h>
#include <cshm/participant.h>
#include <cshm/queue.h>

#include "internal.h"

extern const struct test anchor_tests[];

struct scene {
    cshm_anchor anchor[2];
    uint64_t place;
    _Atomic uint32_t flag;
};

static cshm_map *make_map(cshm_region *region, cshm_anchor *anchor, uint64_t *place)
{
    struct cshm_map_options options = {.shards = 2, .holds = 1};
    cshm_map *map = NULL;
    CHECK_EQ(cshm_map_create(region, &options, place), 0);
    CHECK_EQ(cshm_anchor_create(region, CSHM_KIND_MAP, *place, anchor), 0);
    CHECK_EQ(cshm_map_open(region, *place, 0, &map), 0);
    return map;
}

static cshm_list *make_list(cshm_region *region, cshm_anchor *anchor)
{
    uint64_t place = 0;
    cshm_list *list = NULL;
    CHECK_EQ(cshm_list_create_holding(region, 0, &place), 0);
    CHECK_EQ(cshm_anchor_create(region, CSHM_KIND_LIST, place, anchor), 0);
    CHECK_EQ(cshm_list_open(region, place, 0, &list), 0);
    return list;
}

/* A value of no bytes that names so many anchors. @returns its length. */
static uint64_t value_of(const cshm_anchor *anchors, uint64_t count, uint64_t *value)
{
    for (uint64_t i = 0; i < count; i++) {
        value[2 * i] = anchors[i].place;
        value[2 * i + 1] = anchors[i].generation;
    }
    value[2 * count] = count << 48;
    return (2 * count + 1) * 8;
}

static int put(cshm_map *map, uint64_t key, const cshm_anchor *anchors, uint64_t count)
{
    uint64_t value[5];
    uint64_t length = value_of(anchors, count, value);
    int status = cshm_map_put(map, &key, sizeof key, value, length);
    return status > 0 ? 0 : status;
}

static int push(cshm_list *list, const cshm_anchor *anchors, uint64_t count)
{
    uint64_t value[5];
    uint64_t length = value_of(anchors, count, value);
    return cshm_list_push_back(list, value, length);
}

static void goes_with_its_last_reference(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t place = 0;
    cshm_anchor anchor;
    CHECK_EQ(cshm_heap_allocate(region, 64, &place), 0);
    CHECK_EQ(cshm_anchor_create(region, CSHM_KIND_BLOCK, place, &anchor), 0);
    CHECK_EQ(cshm_heap_free(region, place), -EINVAL);
    CHECK_EQ(cshm_anchor_count(region), 1);
    CHECK_EQ(cshm_anchor_acquire(region, &anchor), 0);
    CHECK_EQ(cshm_anchor_release(region, &anchor), 0);
    CHECK_EQ(blocks_in_use(region), 2);
    CHECK_EQ(cshm_anchor_release(region, &anchor), 0);
    CHECK_EQ(blocks_in_use(region), 1);
    CHECK_EQ(cshm_anchor_count(region), 0);
    CHECK_EQ(cshm_anchor_acquire(region, &anchor), -ENOENT);
    CHECK_EQ(cshm_anchor_release(region, &anchor), -ENOENT);
}

static void kept(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t place = 0;
    cshm_anchor anchor;
    CHECK_EQ(cshm_heap_allocate(region, 64, &place), 0);
    CHECK_EQ(cshm_anchor_create(region, CSHM_KIND_BLOCK, place, &anchor), 0);
    CHECK_EQ(cshm_anchor_keep(region, &anchor), 0);
    CHECK_EQ(cshm_anchor_release(region, &anchor), 0);
    CHECK_EQ(cshm_region_reap(region), 0);
    CHECK_EQ(cshm_anchor_acquire(region, &anchor), 0);
    CHECK_EQ(blocks_in_use(region), 2);
}

static void refuses(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_anchor anchor;
    cshm_anchor outer;
    uint64_t place = 0;
    cshm_map *map = make_map(region, &outer, &place);
    CHECK_EQ(cshm_anchor_create(region, CSHM_KIND_MAP, place, &anchor), -EINVAL); /* it has one */
    CHECK_EQ(cshm_heap_allocate(region, 64, &place), 0);
    CHECK_EQ(cshm_anchor_create(region, CSHM_KIND_RING, place, &anchor), -EINVAL);
    CHECK_EQ(cshm_anchor_create(region, CSHM_KIND_BLOCK, place + 8, &anchor), -EINVAL);
    CHECK_EQ(cshm_heap_share(region, place), 0);
    CHECK_EQ(cshm_anchor_create(region, CSHM_KIND_BLOCK, place, &anchor), -EINVAL);
    anchor = (cshm_anchor){outer.place + 8, outer.generation};
    CHECK_EQ(cshm_anchor_acquire(region, &anchor), -EPROTO);
    anchor = (cshm_anchor){place, 1};
    CHECK_EQ(cshm_anchor_acquire(region, &anchor), -EPROTO);
    anchor = (cshm_anchor){outer.place, outer.generation + 2};
    CHECK_EQ(cshm_anchor_acquire(region, &anchor), -ENOENT);
    /* What is no value, what names nothing, what is counted already. */
    uint64_t used = blocks_in_use(region);
    uint64_t value[3] = {0, 0, UINT64_C(2) << 48};
    CHECK_EQ(cshm_map_put(map, "k", 1, value, sizeof value), -EINVAL);
    CHECK_EQ(cshm_map_put(map, "k", 1, value, 7), -EINVAL);
    CHECK_EQ(put(map, 1, &anchor, 1), -ENOENT);
    anchor = (cshm_anchor){outer.place | 1, outer.generation};
    CHECK_EQ(put(map, 1, &anchor, 1), -EINVAL);
    CHECK_EQ(cshm_map_count(map), 0);
    CHECK(blocks_in_use(region) <= used + 1); /* a table */
    cshm_map_close(map);
    CHECK_EQ(cshm_anchor_release(region, &outer), 0);
}

static void two_parents(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_anchor outer, other, inner;
    uint64_t place = 0;
    cshm_map *map = make_map(region, &outer, &place);
    cshm_list *list = make_list(region, &other);
    cshm_map_close(make_map(region, &inner, &place));
    CHECK_EQ(put(map, 1, &inner, 1), 0);
    CHECK_EQ(push(list, (cshm_anchor[]){inner, inner}, 2), 0);
    CHECK_EQ(cshm_anchor_release(region, &inner), 0);
    CHECK_EQ(cshm_map_remove(map, &(uint64_t){1}, 8), 0);
    CHECK_EQ(cshm_anchor_count(region), 3);
    CHECK_EQ(push(list, &inner, 1), 0); /* whose handle is in a value that is there */
    CHECK_EQ(cshm_list_splice(list, 0, 1, NULL, 0), 0);
    CHECK_EQ(cshm_anchor_count(region), 3);
    CHECK_EQ(put(map, 2, &inner, 1), 0);
    CHECK_EQ(cshm_list_splice(list, 0, 1, NULL, 0), 0);
    CHECK_EQ(cshm_anchor_count(region), 3);
    CHECK_EQ(put(map, 2, NULL, 0), 0);
    CHECK_EQ(cshm_anchor_count(region), 2);
    cshm_map_close(map);
    cshm_list_close(list);
    CHECK_EQ(cshm_anchor_release(region, &outer), 0);
    CHECK_EQ(cshm_anchor_release(region, &other), 0);
    CHECK_EQ(blocks_in_use(region), 1);
}

enum { LONG = 5000 };

/* Each in the next one, which only it has. */
static void long_chain(void)
{
    cshm_region *region = make_region(64u << 20);
    cshm_anchor inner;
    cshm_list_close(make_list(region, &inner));
    for (uint32_t i = 0; i < LONG; i++) {
        cshm_anchor outer;
        cshm_list *list = make_list(region, &outer);
        CHECK_EQ(push(list, &inner, 1), 0);
        CHECK_EQ(cshm_anchor_release(region, &inner), 0);
        cshm_list_close(list);
        inner = outer;
    }
    CHECK_EQ(cshm_anchor_count(region), LONG + 1);
    uint64_t pages = (LONG + 1 + CSHM_ANCHOR_SLOTS - 1) / CSHM_ANCHOR_SLOTS;
    CHECK_EQ(cshm_anchor_release(region, &inner), 0);
    CHECK_EQ(cshm_anchor_count(region), 0);
    CHECK_EQ(blocks_in_use(region), pages);
}

/* Two that hold each other stay, until one is taken out of the other. */
static void cycle(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_anchor a, b;
    uint64_t place = 0;
    cshm_map *map = make_map(region, &a, &place);
    cshm_list *list = make_list(region, &b);
    CHECK_EQ(put(map, 1, &b, 1), 0);
    CHECK_EQ(push(list, &a, 1), 0);
    CHECK_EQ(cshm_anchor_release(region, &b), 0);
    cshm_list_close(list);
    CHECK_EQ(cshm_anchor_release(region, &a), 0);
    CHECK_EQ(cshm_anchor_count(region), 2);
    CHECK_EQ(cshm_anchor_acquire(region, &a), 0);
    CHECK_EQ(cshm_map_clear(map), 0);
    cshm_map_close(map);
    CHECK_EQ(cshm_anchor_release(region, &a), 0);
    CHECK_EQ(cshm_anchor_count(region), 0);
    CHECK_EQ(blocks_in_use(region), 1);
}

static void take_and_wait(cshm_region *region, void *context)
{
    struct scene *scene = context;
    CHECK_EQ(cshm_anchor_acquire(region, &scene->anchor[1]), 0);
    atomic_store(&scene->flag, 1);
    for (;;) {
        pause();
    }
}

/* Another has it, alone, and is killed. */
static void of_the_dead(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = shared_memory(sizeof *scene);
    cshm_map *map = make_map(region, &scene->anchor[0], &scene->place);
    cshm_map_close(make_map(region, &scene->anchor[1], &scene->place));
    CHECK_EQ(put(map, 1, &scene->anchor[1], 1), 0);
    CHECK_EQ(cshm_anchor_release(region, &scene->anchor[1]), 0);
    pid_t child = spawn(region, take_and_wait, scene);
    wait_until_set(&scene->flag, 1);
    CHECK_EQ(cshm_map_clear(map), 0);
    CHECK_EQ(cshm_region_reap(region), 0);
    CHECK_EQ(cshm_anchor_count(region), 2);
    kill_child(child);
    CHECK_EQ(cshm_region_reap(region), 1);
    CHECK_EQ(cshm_anchor_count(region), 1);
    cshm_map_close(map);
    CHECK_EQ(cshm_anchor_release(region, &scene->anchor[0]), 0);
    CHECK_EQ(blocks_in_use(region), 1);
}

static void take_and_leave(cshm_region *region, void *context)
{
    struct scene *scene = context;
    CHECK_EQ(cshm_anchor_acquire(region, &scene->anchor[0]), 0);
    atomic_store(&scene->flag, 1);
    wait_until_set(&scene->flag, 2);
    CHECK_EQ(cshm_region_close(region), 0);
}

static void do_nothing(cshm_region *region, void *context)
{
    (void)region;
    (void)context;
}

/* The last reference is one of a process that leaves with it: who joins next ends the object. */
static void left_behind(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = shared_memory(sizeof *scene);
    cshm_map_close(make_map(region, &scene->anchor[0], &scene->place));
    pid_t child = spawn(region, take_and_leave, scene);
    wait_until_set(&scene->flag, 1);
    CHECK_EQ(cshm_anchor_release(region, &scene->anchor[0]), 0);
    atomic_store(&scene->flag, 2);
    expect_success(child);
    CHECK_EQ(cshm_anchor_count(region), 1);
    expect_success(spawn(region, do_nothing, NULL));
    CHECK_EQ(cshm_anchor_count(region), 0);
    CHECK_EQ(blocks_in_use(region), 1);
}

/* A sweep that finds somebody busy leaves it to the next one who is. */
static void busy(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = shared_memory(sizeof *scene);
    cshm_map_close(make_map(region, &scene->anchor[0], &scene->place));
    cshm_map_close(make_map(region, &scene->anchor[1], &scene->place));
    pid_t child = spawn(region, take_and_wait, scene);
    wait_until_set(&scene->flag, 1);
    CHECK_EQ(cshm_anchor_release(region, &scene->anchor[1]), 0);
    kill_child(child);
    struct cshm_anchor_page *page = cshm_heap_pointer(region, atomic_load(&region->live->anchors),
                                                      sizeof(struct cshm_anchor_page));
    atomic_store(&page->guard.owner, cshm_participant_self(region));
    CHECK_EQ(cshm_region_reap(region), 1);
    CHECK_EQ(cshm_anchor_count(region), 2);
    atomic_store(&page->guard.owner, 0);
    CHECK_EQ(cshm_anchor_acquire(region, &scene->anchor[0]), 0);
    CHECK_EQ(cshm_anchor_count(region), 1);
    CHECK_EQ(cshm_anchor_release(region, &scene->anchor[0]), 0);
    CHECK_EQ(cshm_anchor_release(region, &scene->anchor[0]), 0);
    CHECK_EQ(blocks_in_use(region), 1);
}

/* Who finds it by its name is not counted: so what had one stays. */
static void named(void)
{
    cshm_region *region = make_region(1u << 20);
    struct cshm_directory_entry entry;
    cshm_anchor anchor;
    uint64_t place = 0;
    cshm_map_close(make_map(region, &anchor, &place));
    CHECK_EQ(cshm_directory_add(region, "map", CSHM_KIND_MAP, 0, place), 0);
    CHECK_EQ(cshm_anchor_release(region, &anchor), 0);
    CHECK_EQ(cshm_region_reap(region), 0);
    CHECK_EQ(cshm_anchor_count(region), 1);
    CHECK_EQ(cshm_directory_find(region, "map", &entry), 0);
    CHECK_EQ(entry.offset, place);
    CHECK_EQ(cshm_directory_remove(region, "map", NULL), 0);
    CHECK_EQ(cshm_region_reap(region), 0);
    CHECK_EQ(cshm_anchor_count(region), 1);
    CHECK_EQ(cshm_anchor_acquire(region, &anchor), 0);
}

static cshm_queue *make_queue(cshm_region *region, uint32_t ports, cshm_anchor *anchor)
{
    struct cshm_queue_options options = {.capacity = 4, .slot_size = 64, .ports = ports};
    uint64_t place = 0;
    cshm_queue *queue = NULL;
    CHECK_EQ(cshm_queue_create(region, &options, &place), 0);
    CHECK_EQ(cshm_anchor_create(region, CSHM_KIND_QUEUE, place, anchor), 0);
    CHECK_EQ(cshm_queue_open(region, place, 0, &queue), 0);
    return queue;
}

static int send(cshm_queue *queue, const cshm_anchor *anchors, uint64_t count)
{
    uint64_t value[5];
    uint64_t length = value_of(anchors, count, value);
    return cshm_queue_try_put_holding(queue, value, length);
}

static void in_queue(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_anchor outer, inner;
    struct cshm_message message;
    uint64_t place = 0;
    cshm_queue *queue = make_queue(region, 4, &outer);
    cshm_map_close(make_map(region, &inner, &place));
    CHECK_EQ(cshm_queue_try_put_holding(queue, "no value", 8), -EINVAL);
    CHECK_EQ(send(queue, (cshm_anchor[]){inner, inner}, 2), 0);
    CHECK_EQ(send(queue, &inner, 1), 0);
    CHECK_EQ(send(queue, NULL, 0), 0);
    CHECK_EQ(cshm_anchor_release(region, &inner), 0);
    CHECK_EQ(cshm_queue_try_take(queue, &message), 0);
    CHECK_EQ(message.length, 40);
    cshm_queue_release(queue, &message);
    CHECK_EQ(cshm_queue_try_lease(queue, 1, &message), 0);
    cshm_queue_return(queue, &message);
    CHECK_EQ(cshm_anchor_count(region), 2);
    CHECK_EQ(cshm_queue_try_lease(queue, 1, &message), 0);
    CHECK_EQ(message.length, 24);
    cshm_queue_release(queue, &message);
    CHECK_EQ(cshm_anchor_count(region), 1);
    CHECK_EQ(send(queue, &inner, 1), -ENOENT);
    CHECK_EQ(cshm_queue_count(queue), 1);
    cshm_map_close(make_map(region, &inner, &place));
    CHECK_EQ(send(queue, &inner, 1), 0);
    CHECK_EQ(send(queue, &inner, 1), 0);
    CHECK_EQ(send(queue, &inner, 1), 0);
    CHECK_EQ(send(queue, &inner, 1), -EAGAIN);
    CHECK_EQ(cshm_anchor_release(region, &inner), 0);
    cshm_queue_close(queue);
    CHECK_EQ(cshm_anchor_count(region), 2);
    CHECK_EQ(cshm_anchor_release(region, &outer), 0);
    CHECK_EQ(cshm_anchor_count(region), 0);
    CHECK_EQ(blocks_in_use(region), 1);
}

static cshm_queue *theirs;

static void take_and_wait_in_queue(cshm_region *region, void *context)
{
    struct scene *scene = context;
    struct cshm_message message;
    (void)region;
    CHECK_EQ(cshm_queue_try_take(theirs, &message), 0);
    atomic_store(&scene->flag, 1);
    for (;;) {
        pause();
    }
}

/* It was killed between taking and releasing: who finds the queue empty lets go of it. */
static void taken_by_the_dead(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = shared_memory(sizeof *scene);
    struct cshm_message message;
    theirs = make_queue(region, 8, &scene->anchor[0]);
    cshm_map_close(make_map(region, &scene->anchor[1], &scene->place));
    CHECK_EQ(send(theirs, &scene->anchor[1], 1), 0);
    CHECK_EQ(cshm_anchor_release(region, &scene->anchor[1]), 0);
    pid_t child = spawn(region, take_and_wait_in_queue, scene);
    wait_until_set(&scene->flag, 1);
    kill_child(child);
    CHECK_EQ(cshm_anchor_count(region), 2);
    CHECK_EQ(cshm_queue_take_until(theirs, &message, cshm_now_ns() + 50000000), -ETIMEDOUT);
    CHECK_EQ(cshm_anchor_count(region), 1);
    cshm_queue_close(theirs);
    CHECK_EQ(cshm_anchor_release(region, &scene->anchor[0]), 0);
    CHECK_EQ(blocks_in_use(region), 1);
}

const struct test anchor_tests[] = {
    {"goes_with_its_last_reference", goes_with_its_last_reference},
    {"is_kept_if_asked", kept},
    {"refuses_what_is_none", refuses},
    {"stays_while_one_of_two_holds_it", two_parents},
    {"of_a_long_chain_go_all_at_once", long_chain},
    {"of_a_cycle_stay_until_it_is_broken", cycle},
    {"of_dead_processes_goes_when_they_are_reaped", of_the_dead},
    {"of_who_left_goes_when_somebody_joins", left_behind},
    {"of_the_dead_is_ended_by_who_was_busy", busy},
    {"stays_if_it_had_a_name", named},
    {"stays_while_a_message_in_a_queue_holds_it", in_queue},
    {"taken_by_dead_processes_goes_when_their_queue_is_found_empty", taken_by_the_dead},
    {NULL, NULL},
};
