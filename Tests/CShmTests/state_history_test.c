/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Histories of one key of a map, also changed in transactions with another, and of a list, whose
 * writers and readers are killed and stopped, judged by history.h.
 */
#include "history_actors.h"

#include <cshm/list.h>
#include <cshm/map.h>

extern const struct test state_history_tests[];

enum {
    SET = 100,
    INSERT,
    REMOVE,
    GET,
    PUSH_BACK,
    PUSH_FRONT,
    POP_BACK,
    POP_FRONT,
    SET_FIRST,
    INSERT_SECOND,
    GET_FIRST,
};

enum { TAG = 5, LIST_MOST = 8, LIST_ROOM = 40 };

struct subject {
    struct object object;
    uint64_t (*make)(cshm_region *region);
    void (*settle)(cshm_region *region, const struct scene *scene);
    void (*use)(cshm_region *region, void *scene);
    /* Afterwards, with nobody left: what is there is read into the last log. Then destroys it. */
    void (*end)(cshm_region *region, struct scene *scene, struct history_log *last);
};

static void under_kills(const struct subject *subject)
{
    cshm_region *region = make_region(16u << 20);
    uint64_t random = make_seed();
    struct tally tally = {0};
    uint64_t before = blocks_in_use(region);
    while (wants_more(&tally, HISTORIES / 2)) {
        struct scene scene = {.history = make_history(), .settle = subject->settle};
        scene.offset = subject->make(region);
        direct(region, &scene, subject->use, &random);
        subject->end(region, &scene,
                     &scene.history->log[atomic_fetch_add(&scene.history->logs, 1)]);
        expect_linearizable(scene.history, &subject->object);
        count(scene.history, &tally);
        forget(scene.history);
        CHECK(cshm_region_reap(region) >= 0);
        CHECK_EQ(blocks_in_use(region), before);
    }
    expect_enough(&tally);
    cshm_region_close(region);
}

/* Of one number: of two words that are stored at once, or of several. @returns its bytes. */
static uint64_t spread(int32_t number, int32_t out[6])
{
    for (int i = 0; i < 6; i++) {
        out[i] = number;
    }
    return number % 3 == 0 ? 24 : 8;
}

static int32_t gather(const int32_t value[6], uint64_t length)
{
    CHECK(length == (value[0] % 3 == 0 ? 24 : 8));
    for (uint64_t i = 1; i < length / 4; i++) {
        CHECK_EQ(value[i], value[0]);
    }
    return value[0];
}

/* ---- a key of a map ---- */

static const uint64_t KEY = 1;
static const uint64_t OTHER_KEY = 2;

/* The state is the value, or 0. */
static bool apply_key(const void *parameter, void *state, const struct operation *operation)
{
    int64_t *value = state;
    bool there = *value != 0;
    bool unknown = operation->result == UNKNOWN;
    (void)parameter;
    if (operation->kind == GET) {
        return operation->result == *value;
    }
    if (!unknown && operation->result != there) {
        return false;
    }
    bool changes = operation->kind == SET || there == (operation->kind == REMOVE);
    if (changes) {
        *value = operation->kind == REMOVE ? 0 : operation->value;
    }
    return changes || !unknown;
}

static uint64_t make_map(cshm_region *region)
{
    const struct cshm_map_options options = {.type_tag = TAG, .shards = 4};
    uint64_t offset = 0;
    CHECK_EQ(cshm_map_create(region, &options, &offset), 0);
    CHECK_EQ(cshm_heap_share(region, offset), 0);
    return offset;
}

static int32_t get_key(const cshm_map *map)
{
    int32_t value[6];
    uint64_t length = 0;
    int status = cshm_map_get(map, &KEY, 8, value, sizeof value, &length);
    CHECK(status == 0 || status == -ENOENT);
    return status == 0 ? gather(value, length) : 0;
}

/* @returns whether the key was there. */
static int32_t change_both(cshm_map *map, bool remove, const int32_t value[6], uint64_t length)
{
    struct cshm_map_step steps[2] = {{.key = &OTHER_KEY, .key_length = 8},
                                     {.key = &KEY, .key_length = 8}};
    CHECK_EQ(cshm_map_begin(map, steps, 2), 0);
    bool there = steps[1].value != NULL;
    for (int i = 0; i < 2; i++) {
        steps[i].action = remove ? CSHM_MAP_REMOVE : CSHM_MAP_SET;
        steps[i].new_value = value;
        steps[i].new_length = length;
    }
    CHECK_EQ(cshm_map_commit(map, steps, 2), 0);
    return there;
}

static int32_t change_key(cshm_map *map, int32_t kind, int32_t number, bool with_other)
{
    int32_t value[6];
    uint64_t length = spread(number, value);
    if (with_other && kind != INSERT) {
        return change_both(map, kind == REMOVE, value, length);
    }
    int status = kind == SET      ? cshm_map_put(map, &KEY, 8, value, length)
                 : kind == INSERT ? cshm_map_insert(map, &KEY, 8, value, length)
                                  : cshm_map_remove(map, &KEY, 8);
    if (kind == REMOVE) {
        CHECK(status == 0 || status == -ENOENT);
        return status == 0;
    }
    CHECK(status == 0 || status == (kind == SET ? 1 : -EEXIST));
    return status != 0;
}

static void use_map(cshm_region *region, void *context)
{
    struct scene *scene = context;
    struct history_log *log = &scene->history->log[scene->turn];
    uint64_t random = scene->seed;
    cshm_map *map = NULL;
    int32_t number = scene->turn * HISTORY_LENGTH;
    CHECK_EQ(cshm_map_open(region, scene->offset, TAG, &map), 0);
    while (!history_is_full(log)) {
        static const int32_t kinds[] = {SET, SET, INSERT, REMOVE, GET, GET, GET};
        int32_t kind = kinds[next_random(&random) % 7];
        struct operation *operation = history_call(scene->history, log, kind, ++number);
        int32_t result = kind == GET ? get_key(map)
                                     : change_key(map, kind, number, next_random(&random) % 3 == 0);
        history_return(scene->history, operation, result);
    }
    wait_for_the_end();
}

/* What the dead had committed takes effect when somebody has their shards. */
static void settle_map(cshm_region *region, const struct scene *scene)
{
    cshm_map *map = NULL;
    CHECK_EQ(cshm_map_open(region, scene->offset, TAG, &map), 0);
    CHECK_EQ(cshm_map_freeze(map), 0);
    cshm_map_thaw(map);
    cshm_map_close(map);
}

static void end_map(cshm_region *region, struct scene *scene, struct history_log *last)
{
    cshm_map *map = NULL;
    CHECK_EQ(cshm_map_open(region, scene->offset, TAG, &map), 0);
    struct operation *operation = history_call(scene->history, last, GET, 0);
    history_return(scene->history, operation, get_key(map));
    cshm_map_destroy(map);
}

static void of_a_key(void)
{
    static const struct subject subject = {
        {.size = 8, .apply = apply_key}, make_map, settle_map, use_map, end_map};
    under_kills(&subject);
}

/* ---- a list ---- */

struct sequence {
    int32_t count;
    int32_t value[LIST_ROOM + 1];
};

static void insert_at(struct sequence *sequence, int32_t index, int32_t value)
{
    CHECK(sequence->count < LIST_ROOM);
    memmove(&sequence->value[index + 1], &sequence->value[index],
            (size_t)(sequence->count++ - index) * sizeof value);
    sequence->value[index] = value;
}

static int32_t remove_at(struct sequence *sequence, int32_t index)
{
    int32_t value = sequence->value[index];
    memmove(&sequence->value[index], &sequence->value[index + 1],
            (size_t)(--sequence->count - index) * sizeof value);
    sequence->value[sequence->count] = 0; /* equal lists are equal bytes */
    return value;
}

static bool apply_list(const void *parameter, void *state, const struct operation *operation)
{
    struct sequence *sequence = state;
    bool unknown = operation->result == UNKNOWN;
    int32_t last = sequence->count - 1;
    (void)parameter;
    if (operation->kind == PUSH_BACK || operation->kind == PUSH_FRONT) {
        insert_at(sequence, operation->kind == PUSH_BACK ? last + 1 : 0, operation->value);
        return true;
    }
    if (sequence->count == 0 || operation->result == IS_EMPTY) {
        return sequence->count == 0 && operation->result == IS_EMPTY;
    }
    switch (operation->kind) {
    case SET_FIRST:
        sequence->value[0] = operation->value;
        return true;
    case INSERT_SECOND:
        insert_at(sequence, 1, operation->value);
        return true;
    case GET_FIRST:
        return operation->result == sequence->value[0];
    default: {
        int32_t value = remove_at(sequence, operation->kind == POP_BACK ? last : 0);
        return unknown || operation->result == value;
    }
    }
}

static uint64_t make_list(cshm_region *region)
{
    uint64_t offset = 0;
    CHECK_EQ(cshm_list_create(region, TAG, &offset), 0);
    CHECK_EQ(cshm_heap_share(region, offset), 0);
    return offset;
}

static int32_t pop(cshm_list *list, int32_t kind)
{
    int32_t value[6];
    uint64_t length = 0;
    int status = kind == POP_BACK    ? cshm_list_pop_back(list, value, sizeof value, &length)
                 : kind == POP_FRONT ? cshm_list_pop_front(list, value, sizeof value, &length)
                                     : cshm_list_get(list, 0, value, sizeof value, &length);
    CHECK(status == 0 || status == -ENOENT);
    return status == 0 ? gather(value, length) : IS_EMPTY;
}

static int32_t change_list(cshm_list *list, int32_t kind, int32_t number)
{
    int32_t value[6];
    uint64_t length = spread(number, value);
    struct cshm_list_value inserted = {value, length};
    int status = kind == PUSH_BACK    ? cshm_list_push_back(list, value, length)
                 : kind == PUSH_FRONT ? cshm_list_push_front(list, value, length)
                 : kind == SET_FIRST  ? cshm_list_set(list, 0, value, length)
                                      : cshm_list_splice(list, 1, 0, &inserted, 1);
    CHECK(status == 0 || status == -ENOENT);
    return status == 0 ? DONE : IS_EMPTY;
}

static int32_t choose(const cshm_list *list, uint64_t *random)
{
    static const int32_t kinds[] = {POP_BACK, POP_FRONT, GET_FIRST,  SET_FIRST,    GET_FIRST,
                                    POP_BACK, PUSH_BACK, PUSH_FRONT, INSERT_SECOND};
    return kinds[next_random(random) % (cshm_list_count(list) < LIST_MOST ? 9 : 6)];
}

static void use_list(cshm_region *region, void *context)
{
    struct scene *scene = context;
    struct history_log *log = &scene->history->log[scene->turn];
    uint64_t random = scene->seed;
    cshm_list *list = NULL;
    int32_t number = scene->turn * HISTORY_LENGTH;
    CHECK_EQ(cshm_list_open(region, scene->offset, TAG, &list), 0);
    while (!history_is_full(log)) {
        int32_t kind = choose(list, &random);
        bool reads = kind == POP_BACK || kind == POP_FRONT || kind == GET_FIRST;
        struct operation *operation = history_call(scene->history, log, kind, ++number);
        history_return(scene->history, operation,
                       reads ? pop(list, kind) : change_list(list, kind, number));
    }
    wait_for_the_end();
}

static void end_list(cshm_region *region, struct scene *scene, struct history_log *last)
{
    cshm_list *list = NULL;
    int32_t result;
    CHECK_EQ(cshm_list_open(region, scene->offset, TAG, &list), 0);
    do {
        struct operation *operation = history_call(scene->history, last, POP_FRONT, 0);
        result = pop(list, POP_FRONT);
        history_return(scene->history, operation, result);
    } while (result != IS_EMPTY);
    cshm_list_destroy(list);
}

static void of_a_list(void)
{
    static const struct subject subject = {{.size = sizeof(struct sequence), .apply = apply_list},
                                           make_list,
                                           NULL,
                                           use_list,
                                           end_list};
    under_kills(&subject);
}

const struct test state_history_tests[] = {
    {"of_a_key_whose_writers_are_killed_is_linearizable", of_a_key},
    {"of_a_list_whose_writers_are_killed_is_linearizable", of_a_list},
    {NULL, NULL},
};
