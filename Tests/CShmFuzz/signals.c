/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Conditions, events, barriers, latches, onces, and parking words with bells.
 */
#include "fuzz.h"

#include <pthread.h>

#include "layout.h"

extern const struct subject fuzz_condition, fuzz_event, fuzz_barrier, fuzz_latch, fuzz_once,
    fuzz_park;

enum { MANY = 3 };

static void look_at(const struct cshm_waitable *waitable)
{
    (void)!cshm_wait_any(waitable, 1, 0);
}

/* ---- condition: with a mutex before it, in the same block ---- */

static struct cshm_condition_waiter waiters[MANY];
static uint32_t waiter_count;

static void make_condition(struct scene *scene)
{
    cshm_condition *condition = NULL;
    cshm_mutex *mutex = NULL;
    MUST(cshm_heap_allocate(scene->region, sizeof *mutex, &scene->block[0]) == 0);
    mutex = cshm_heap_pointer(scene->region, scene->block[0], sizeof *mutex);
    cshm_mutex_init(mutex);
    MUST(cshm_mutex_try_acquire(mutex) == 0);
    MUST(cshm_condition_create(scene->region, MANY, &scene->place) == 0);
    fuzz_share(scene,
               sizeof(struct cshm_condition_shared) + MANY * sizeof(struct cshm_condition_place));
    MUST(cshm_condition_open(scene->region, scene->place, &condition) == 0);
    scene->handle[0] = condition;
    scene->handle[1] = scene->native = mutex;
    waiter_count = 0;
}

static int holds(void *context)
{
    uint32_t *left = context;
    return (*left)-- == 0;
}

static void use_waiter(uint32_t operation, const struct cshm_condition_waiter *waiter,
                       cshm_mutex *mutex)
{
    struct cshm_waitable waitable;
    switch (operation) {
    case 8:
        cshm_condition_waitable(waiter, &waitable);
        look_at(&waitable);
        break;
    case 9:
        (void)!cshm_condition_is_notified(waiter);
        (void)!cshm_condition_again(waiter, mutex);
        break;
    case 10:
        (void)cshm_condition_leave(waiter);
        break;
    default:
        (void)cshm_condition_end(waiter);
    }
}

static void use_condition(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_condition *condition = scene->handle[0];
    cshm_condition *again = NULL;
    cshm_mutex *mutex = scene->handle[1];
    uint32_t looks = argument % 3;
    switch (operation) {
    case 0:
    case 1:
        (void)!cshm_condition_wait_until(condition, mutex, scene->soon);
        break;
    case 2:
        (void)!cshm_condition_await_until(condition, mutex, holds, &looks, scene->soon);
        break;
    case 3:
    case 4:
        (void)cshm_condition_notify(condition, mutex,
                                    argument % 4 == 0 ? CSHM_NOTIFY_ALL : argument % 4);
        break;
    case 5:
        (void)cshm_condition_waiting(condition);
        (void)!cshm_condition_has_orphan(condition);
        (void)!cshm_mutex_is_orphaned(mutex);
        (void)!cshm_mutex_needs_repair(mutex);
        break;
    case 6:
    case 7:
        if (cshm_condition_begin(condition, mutex, &waiters[waiter_count % MANY]) == 0) {
            waiter_count++;
        }
        break;
    case 8:
    case 9:
    case 10:
    case 11:
        if (waiter_count > 0) {
            use_waiter(operation, &waiters[argument % (waiter_count < MANY ? waiter_count : MANY)],
                       mutex);
        }
        break;
    case 12:
        (void)cshm_mutex_release(mutex);
        break;
    case 13:
    case 14:
        (void)!cshm_mutex_try_acquire(mutex);
        break;
    default:
        if (cshm_condition_open(scene->region, scene->place, &again) == 0) {
            (void)!cshm_condition_wait_until(again, mutex, scene->soon);
            cshm_condition_close(again);
        }
    }
}

static void leave_condition(struct scene *scene)
{
    fuzz_let_go(scene);
    cshm_condition_destroy(scene->handle[0]);
}

const struct subject fuzz_condition = {"condition", make_condition, use_condition, leave_condition};

/* ---- event ---- */

/* One of each kind. */
static void make_event(struct scene *scene)
{
    cshm_event *event = fuzz_block(scene, 2 * sizeof *event);
    cshm_event_init(&event[0], CSHM_EVENT_MANUAL);
    cshm_event_init(&event[1], CSHM_EVENT_AUTOMATIC);
    scene->handle[0] = &event[0];
    scene->handle[1] = &event[1];
}

static void use_event(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_event *event = scene->handle[argument % 2];
    struct cshm_waitable waitable;
    switch (operation % 6) {
    case 0:
        (void)cshm_event_set(event);
        break;
    case 1:
        (void)cshm_event_clear(event);
        break;
    case 2:
        (void)!cshm_event_is_set(event);
        break;
    case 3:
        (void)!cshm_event_try_wait(event);
        break;
    case 4:
        (void)!cshm_event_wait_until(event, scene->soon);
        break;
    default:
        cshm_event_waitable(event, &waitable);
        look_at(&waitable);
    }
}

const struct subject fuzz_event = {"event", make_event, use_event, NULL};

/* ---- barrier ---- */

static struct cshm_arrival arrival;

static void make_barrier(struct scene *scene)
{
    cshm_barrier *barrier = NULL;
    MUST(cshm_barrier_create(scene->region, MANY, &scene->place) == 0);
    fuzz_share(scene, sizeof(struct cshm_barrier_shared));
    MUST(cshm_barrier_open(scene->region, scene->place, &barrier) == 0);
    scene->handle[0] = barrier;
    arrival = (struct cshm_arrival){barrier, 0, 0};
}

static int act(void *context)
{
    return (int)*(uint32_t *)context % 2;
}

static void use_barrier(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_barrier *barrier = scene->handle[0];
    cshm_barrier *again = NULL;
    struct cshm_barrier_info info;
    struct cshm_waitable waitable;
    switch (operation) {
    case 0:
    case 1:
    case 2:
    case 3:
        if (cshm_barrier_arrive(barrier, &arrival) == 1 && argument % 4 != 0) {
            (void)!cshm_barrier_release(&arrival);
        }
        break;
    case 4:
        (void)!cshm_barrier_wait_until(barrier, argument % 2 == 0 ? NULL : act, &argument,
                                       scene->soon, &info.phase);
        break;
    case 5:
        (void)!cshm_barrier_release(&arrival);
        break;
    case 6:
        (void)!cshm_barrier_try_finish(&arrival);
        break;
    case 7:
        (void)!cshm_barrier_finish_until(&arrival, scene->soon);
        break;
    case 8:
        (void)cshm_barrier_give_up(&arrival);
        break;
    case 9:
        cshm_barrier_abort(barrier);
        break;
    case 10:
        (void)cshm_barrier_reset(barrier);
        break;
    case 11:
    case 12:
        (void)cshm_barrier_repair(barrier);
        break;
    case 13:
        cshm_barrier_describe(barrier, &info);
        break;
    case 14:
        cshm_barrier_waitable(&arrival, &waitable);
        look_at(&waitable);
        break;
    default:
        if (cshm_barrier_open(scene->region, scene->place, &again) == 0) {
            (void)!cshm_barrier_wait_until(again, NULL, NULL, scene->soon, NULL);
            cshm_barrier_close(again);
        }
    }
}

static void leave_barrier(struct scene *scene)
{
    cshm_barrier_close(scene->handle[0]);
}

const struct subject fuzz_barrier = {"barrier", make_barrier, use_barrier, leave_barrier};

/* ---- latch ---- */

static void make_latch(struct scene *scene)
{
    cshm_latch *latch = fuzz_block(scene, sizeof *latch);
    MUST(cshm_latch_init(latch, MANY) == 0);
    scene->handle[0] = latch;
}

static void use_latch(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_latch *latch = scene->handle[0];
    struct cshm_waitable waitable;
    switch (operation % 4) {
    case 0:
        (void)cshm_latch_count_down(latch, argument % 2);
        break;
    case 1:
        (void)!cshm_latch_count(latch);
        break;
    case 2:
        (void)!cshm_latch_wait_until(latch, scene->soon);
        break;
    default:
        cshm_latch_waitable(latch, &waitable);
        look_at(&waitable);
    }
}

const struct subject fuzz_latch = {"latch", make_latch, use_latch, NULL};

/* ---- once ---- */

static void make_once(struct scene *scene)
{
    scene->handle[0] = fuzz_block(scene, sizeof(cshm_once));
    cshm_once_init(scene->handle[0]);
}

static void use_once(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_once *once = scene->handle[0];
    struct cshm_waitable waitable;
    switch (operation % 5) {
    case 0:
        (void)!cshm_once_try_begin(scene->region, once);
        break;
    case 1:
        (void)!cshm_once_begin_until(scene->region, once, scene->soon);
        break;
    case 2:
        (void)cshm_once_end(scene->region, once, argument % 4 == 0);
        break;
    case 3:
        (void)!cshm_once_is_done(once);
        break;
    default:
        cshm_once_waitable(once, &waitable);
        look_at(&waitable);
    }
}

const struct subject fuzz_once = {"once", make_once, use_once, NULL};

/* ---- parking words and bells ---- */

static int is_ready(const void *object)
{
    return *(const volatile uint64_t *)object != 0;
}

static void make_park(struct scene *scene)
{
    cshm_bell *bell = NULL;
    scene->handle[1] = fuzz_block(scene, 256);
    MUST(cshm_bell_create(&bell) == 0 && cshm_bell_watch(bell, scene->region) == 0);
    scene->handle[0] = bell;
}

static void use_park(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_bell *bell = scene->handle[0];
    uint8_t *block = scene->handle[1];
    struct cshm_waitable waitable = {(cshm_park *)(void *)block, is_ready, block + 128};
    switch (operation % 8) {
    case 0:
        (void)!cshm_bell_arm(bell, &waitable);
        break;
    case 1:
        cshm_bell_disarm(bell, &waitable);
        break;
    case 2:
        argument % 2 == 0 ? cshm_park_wake_one(waitable.park) : cshm_park_wake_all(waitable.park);
        break;
    case 3:
        cshm_bell_clear(bell);
        break;
    case 4:
        (void)!cshm_wait_any(&waitable, 1, scene->soon);
        break;
    case 5:
        (void)!cshm_park_wait(waitable.park, cshm_park_prepare(waitable.park), scene->soon);
        break;
    case 6:
        cshm_bell_unwatch(bell, scene->region);
        break;
    default:
        (void)!cshm_bell_watch(bell, scene->region);
    }
}

static void leave_park(struct scene *scene)
{
    cshm_bell_close(scene->handle[0]);
}

const struct subject fuzz_park = {"park", make_park, use_park, leave_park};
