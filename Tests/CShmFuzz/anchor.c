/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Anchors, and a map, a list and a queue that hold. The object is the first page of their table.
 */
#include "fuzz.h"

#include <stdbool.h>

#include "layout.h"

extern const struct subject fuzz_anchor;

/* Of a map, a list and two blocks: two blocks of the scene each. */
enum { ANCHORED = 4, KEYS = 5 };

static cshm_anchor anchor_at(const struct scene *scene, uint32_t number)
{
    return (cshm_anchor){scene->block[2 * number], scene->block[2 * number + 1]};
}

static int anchor_it(struct scene *scene, uint32_t number, enum cshm_kind kind, uint64_t place)
{
    cshm_anchor anchor;
    int status = cshm_anchor_create(scene->region, kind, place, &anchor);
    if (status == 0) {
        scene->block[2 * number] = anchor.place;
        scene->block[2 * number + 1] = anchor.generation;
    }
    return status;
}

static int make_block(struct scene *scene, uint32_t number)
{
    uint64_t place = 0;
    int status = cshm_heap_allocate(scene->region, 64, &place);
    return status == 0 ? anchor_it(scene, number, CSHM_KIND_BLOCK, place) : status;
}

static void make_queue(struct scene *scene)
{
    struct cshm_queue_options options = {
        .capacity = 4, .slot_size = 16, .ports = 4, .type_tag = TAG};
    uint64_t place = 0;
    cshm_queue *queue = NULL;
    cshm_anchor anchor;
    MUST(cshm_queue_create(scene->region, &options, &place) == 0);
    MUST(cshm_anchor_create(scene->region, CSHM_KIND_QUEUE, place, &anchor) == 0);
    MUST(cshm_queue_open(scene->region, place, TAG, &queue) == 0);
    scene->handle[2] = queue;
}

static void make_anchor(struct scene *scene)
{
    struct cshm_map_options options = {.type_tag = TAG, .shards = 2, .holds = 1};
    uint64_t place = 0;
    cshm_map *map = NULL;
    cshm_list *list = NULL;
    MUST(cshm_map_create(scene->region, &options, &place) == 0);
    MUST(anchor_it(scene, 0, CSHM_KIND_MAP, place) == 0);
    MUST(cshm_map_open(scene->region, place, TAG, &map) == 0);
    MUST(cshm_list_create_holding(scene->region, TAG, &place) == 0);
    MUST(anchor_it(scene, 1, CSHM_KIND_LIST, place) == 0);
    MUST(cshm_list_open(scene->region, place, TAG, &list) == 0);
    MUST(make_block(scene, 2) == 0 && make_block(scene, 3) == 0);
    scene->handle[0] = map;
    scene->handle[1] = list;
    make_queue(scene);
    scene->place = scene->block[0] - offsetof(struct cshm_anchor_page, slot);
    fuzz_share(scene, sizeof(struct cshm_anchor_page));
}

/* A value that names one of the blocks, or none. @returns its length. */
static uint64_t value_of(const struct scene *scene, uint32_t argument, uint64_t *value)
{
    cshm_anchor held = anchor_at(scene, 2 + argument % 2);
    bool holds = argument % 4 < 2;
    uint64_t at = 0;
    if (holds) {
        value[at++] = held.place;
        value[at++] = held.generation;
    }
    value[at++] = (uint64_t)holds << 48;
    return at * 8;
}

static void change_list(const struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_list *list = scene->handle[1];
    uint64_t value[3];
    uint64_t buffer[8];
    uint64_t length = value_of(scene, argument, value);
    struct cshm_list_value values[2] = {{value, length}, {value, length}};
    switch (operation % 4) {
    case 0:
        (void)!cshm_list_push_back(list, value, length);
        break;
    case 1:
        (void)!cshm_list_pop_front(list, buffer, sizeof buffer, &length);
        break;
    case 2:
        (void)!cshm_list_splice(list, argument % 3, argument / 4 % 3, values, argument / 16 % 3);
        break;
    default:
        (void)!cshm_list_set(list, argument % 3, value, length);
    }
}

static void use_queue(const struct scene *scene, uint32_t argument)
{
    cshm_queue *queue = scene->handle[2];
    struct cshm_message message;
    uint64_t value[3];
    uint64_t length = value_of(scene, argument, value);
    switch (argument / 4 % 4) {
    case 0:
    case 1:
        (void)!cshm_queue_try_put_holding(queue, value, length);
        break;
    case 2:
        if (cshm_queue_try_take(queue, &message) == 0) {
            cshm_queue_release(queue, &message);
        }
        break;
    default:
        if (cshm_queue_try_lease(queue, 1, &message) == 0) {
            cshm_queue_return(queue, &message);
        }
    }
}

static void use_anchor(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_map *map = scene->handle[0];
    cshm_anchor anchor = anchor_at(scene, argument % ANCHORED);
    uint64_t key = argument % KEYS;
    uint64_t value[3];
    uint64_t length = value_of(scene, argument, value);
    switch (operation) {
    case 0:
    case 1:
    case 2:
        (void)!cshm_map_put(map, &key, sizeof key, value, length);
        break;
    case 3:
        (void)!cshm_map_remove(map, &key, sizeof key);
        break;
    case 4:
        (void)!cshm_map_clear(map);
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        change_list(scene, operation, argument);
        break;
    case 9:
        (void)!cshm_anchor_acquire(scene->region, &anchor);
        break;
    case 10: /* the containers stay: their handles are open */
        anchor = anchor_at(scene, 2 + argument % 2);
        (void)cshm_anchor_release(scene->region, &anchor);
        break;
    case 11:
        (void)make_block(scene, 2 + argument % 2);
        break;
    case 12:
        (void)!cshm_anchor_keep(scene->region, &anchor);
        break;
    case 13:
        anchor.place += 8 * argument;
        (void)!cshm_anchor_acquire(scene->region, &anchor);
        break;
    default:
        use_queue(scene, argument);
        (void)cshm_anchor_count(scene->region);
    }
}

static void leave_anchor(struct scene *scene)
{
    cshm_map_close(scene->handle[0]);
    cshm_list_close(scene->handle[1]);
    cshm_queue_close(scene->handle[2]);
}

const struct subject fuzz_anchor = {"anchor", make_anchor, use_anchor, leave_anchor};
