/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Under test: cshm/condition.h and cshm/event.h, as a cell that says full. Round trips only: the reply
 * is what makes the cell empty again. And the question whether an event is set.
 */
#include <errno.h>

#include "subject.h"

/* ---- condition: a number under a mutex ---- */

struct cell {
    BENCH_LINE cshm_mutex mutex;
    uint32_t full;
    uint64_t number;
};

/* What each process has of one. */
struct place {
    cshm_condition *condition;
    struct cell *cell;
};

static uint64_t cell_place;

static int make_condition(cshm_region *region, const struct bench_shape *shape, uint64_t *offset)
{
    (void)shape;
    int status = cshm_heap_allocate(region, sizeof(struct cell) + 8, offset);
    if (status != 0) {
        return status;
    }
    struct cell *cell = cshm_heap_pointer(region, *offset, sizeof *cell + 8);
    memset((void *)cell, 0, sizeof *cell + 8);
    cshm_mutex_init(&cell->mutex);
    status = cshm_condition_create(region, 2, &cell_place);
    if (status == 0) {
        status = cshm_heap_share(region, cell_place);
        memcpy(cell + 1, &cell_place, sizeof cell_place);
    }
    return status;
}

static int condition_create(const struct bench_shape *shape, void **state)
{
    return bench_subject_create(shape, make_condition, state);
}

static int condition_open(void *state, bool producer, void **handle)
{
    struct subject *subject = state;
    static struct place places[4];
    static uint32_t used;
    struct place *place = &places[used++ % 4];
    uint64_t offset = 0;
    (void)producer;
    int status = bench_subject_join(subject);
    if (status == 0) {
        place->cell = cshm_heap_pointer(subject->region, subject->offset, sizeof *place->cell + 8);
        memcpy(&offset, place->cell + 1, sizeof offset);
        status = cshm_condition_open(subject->region, offset, &place->condition);
    }
    *handle = place;
    return status;
}

BENCH_INLINE uint32_t notify(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct place *place = handle;
    struct cell *cell = place->cell;
    (void)size;
    (void)count;
    if (cshm_mutex_acquire_until(&cell->mutex, INT64_MAX) != 0) {
        return 0;
    }
    cell->number = bench_number(bytes);
    cell->full = 1;
    int notified = cshm_condition_notify(place->condition, &cell->mutex, 1);
    return cshm_mutex_release(&cell->mutex) == 0 && notified >= 0;
}

BENCH_INLINE uint32_t wait(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct place *place = handle;
    struct cell *cell = place->cell;
    (void)size;
    (void)count;
    if (cshm_mutex_acquire_until(&cell->mutex, INT64_MAX) != 0) {
        return 0;
    }
    while (cell->full == 0) {
        if (cshm_condition_wait_until(place->condition, &cell->mutex, INT64_MAX) != 0) {
            return 0;
        }
    }
    bench_set_number(bytes, cell->number);
    cell->full = 0;
    return cshm_mutex_release(&cell->mutex) == 0;
}

BENCH_CHANNEL(bench_condition, "condition", condition_create, bench_subject_destroy, condition_open,
              notify, wait);

/* ---- event ---- */

struct flag {
    cshm_event event;
    BENCH_LINE uint64_t number;
};

static int flag_create(const struct bench_shape *shape, void **state)
{
    (void)shape;
    struct flag *flag = bench_shared(sizeof *flag);
    if (flag == NULL) {
        return -ENOMEM;
    }
    cshm_event_init(&flag->event, CSHM_EVENT_AUTOMATIC);
    *state = flag;
    return 0;
}

static int flag_open(void *state, bool producer, void **handle)
{
    (void)producer;
    *handle = state;
    return 0;
}

static void flag_destroy(void *state)
{
    bench_unshare(state, sizeof(struct flag));
}

BENCH_INLINE uint32_t set(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct flag *flag = handle;
    (void)size;
    (void)count;
    flag->number = bench_number(bytes);
    return cshm_event_set(&flag->event) == 0;
}

BENCH_INLINE uint32_t await(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct flag *flag = handle;
    (void)size;
    (void)count;
    if (cshm_event_wait_until(&flag->event, INT64_MAX) != 0) {
        return 0;
    }
    bench_set_number(bytes, flag->number);
    return 1;
}

BENCH_CHANNEL(bench_event, "event", flag_create, flag_destroy, flag_open, set, await);

static void ask_work(void *handle, struct bench_worker *worker)
{
    struct flag *flag = handle;
    uint64_t asked = 0;
    while (!bench_stopped(worker)) {
        for (uint32_t i = 0; i < 64; i++) {
            worker->tally->errors += cshm_event_is_set(&flag->event) != 0;
        }
        asked += 64;
        __atomic_store_n(&worker->tally->operations, asked, __ATOMIC_RELAXED);
    }
}

static bool flag_holds(void *state, uint64_t operations)
{
    (void)operations;
    return cshm_event_is_set(&((struct flag *)state)->event) == 0;
}

const struct bench_channel bench_event_test = {
    .name = "event-test",
    .create = flag_create,
    .open = flag_open,
    .work = ask_work,
    .holds = flag_holds,
    .destroy = flag_destroy,
};
