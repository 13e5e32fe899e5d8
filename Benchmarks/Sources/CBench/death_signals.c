/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What processes wait for, and nobody has, when they die; see death.h.
 */
#include "death.h"

#include <errno.h>

/* ---- semaphore, event, latch: what a woken one takes along ---- */

static bool keep_nothing(struct scene *scene)
{
    (void)scene;
    return true;
}

static int acquire_unit(struct scene *scene, int64_t deadline_ns)
{
    return cshm_semaphore_acquire_until(&scene->shared->semaphore, deadline_ns);
}

static int try_unit(struct scene *scene, bool is_woken)
{
    (void)is_woken;
    return cshm_semaphore_try_acquire(&scene->shared->semaphore);
}

static uint32_t at_unit(struct scene *scene, struct cshm_waitable *places)
{
    return cshm_semaphore_waitable(&scene->shared->semaphore, &places[0]) == 0 ? 1 : 0;
}

static bool give_unit(struct scene *scene)
{
    return cshm_semaphore_release(&scene->shared->semaphore, 1) == 0;
}

static bool semaphore_is_whole(struct scene *scene)
{
    return cshm_semaphore_count(&scene->shared->semaphore) == 0;
}

static const struct wish unit = {acquire_unit, try_unit, at_unit, keep_nothing};

static int acquire_event(struct scene *scene, int64_t deadline_ns)
{
    return cshm_event_wait_until(&scene->shared->event, deadline_ns);
}

static int try_event(struct scene *scene, bool is_woken)
{
    (void)is_woken;
    return cshm_event_try_wait(&scene->shared->event);
}

static uint32_t at_event(struct scene *scene, struct cshm_waitable *places)
{
    cshm_event_waitable(&scene->shared->event, &places[0]);
    return 1;
}

static bool set_event(struct scene *scene)
{
    return cshm_event_set(&scene->shared->event) == 0;
}

static bool event_is_whole(struct scene *scene)
{
    return cshm_event_is_set(&scene->shared->event) == 0;
}

static const struct wish event = {acquire_event, try_event, at_event, keep_nothing};

static int acquire_latch(struct scene *scene, int64_t deadline_ns)
{
    return cshm_latch_wait_until(&scene->shared->latch, deadline_ns);
}

static int try_latch(struct scene *scene, bool is_woken)
{
    int left = cshm_latch_count(&scene->shared->latch);
    (void)is_woken;
    return left > 0 ? -EAGAIN : left;
}

static uint32_t at_latch(struct scene *scene, struct cshm_waitable *places)
{
    cshm_latch_waitable(&scene->shared->latch, &places[0]);
    return 1;
}

static bool count_down(struct scene *scene)
{
    return cshm_latch_count_down(&scene->shared->latch, 1) == 0;
}

static bool latch_is_open(struct scene *scene)
{
    return cshm_latch_count(&scene->shared->latch) == 0;
}

static const struct wish latch = {acquire_latch, try_latch, at_latch, keep_nothing};

/* ---- condition ---- */

static int wait_at_condition(struct scene *scene, int64_t deadline_ns)
{
    cshm_mutex *held = &scene->shared->mutex;
    int status = death_mutex.acquire(scene, deadline_ns);
    return status == 0 ? cshm_condition_wait_until(scene->condition, held, deadline_ns) : status;
}

static int inherit_at_condition(struct scene *scene, int64_t deadline_ns)
{
    int status = wait_at_condition(scene, deadline_ns);
    return status == 1 ? cshm_mutex_repair(&scene->shared->mutex) : -EPROTO;
}

static bool notify(struct scene *scene)
{
    return death_mutex.acquire(scene, INT64_MAX) == 0 &&
           cshm_condition_notify(scene->condition, &scene->shared->mutex, 1) == 1 &&
           death_mutex.leave(scene);
}

static bool condition_is_whole(struct scene *scene)
{
    return cshm_condition_waiting(scene->condition) == 0 &&
           cshm_condition_has_orphan(scene->condition) == 0 &&
           death_owned[BENCH_MUTEX].is_whole(scene);
}

static bool leave_mutex(struct scene *scene)
{
    return death_mutex.leave(scene);
}

static const struct wish notification = {wait_at_condition, NULL, NULL, leave_mutex};
static const struct wish inheritance = {inherit_at_condition, NULL, NULL, leave_mutex};

/* ---- barrier: of three parties, of whom the killer is one or never comes ---- */

static int meet(struct scene *scene, int64_t deadline_ns)
{
    return cshm_barrier_wait_until(scene->barrier, NULL, NULL, deadline_ns, NULL);
}

static int is_told_it_broke(struct scene *scene, int64_t deadline_ns)
{
    return meet(scene, deadline_ns) == -ECANCELED ? 0 : -EPROTO;
}

static bool come_as_the_last(struct scene *scene)
{
    return meet(scene, INT64_MAX) == 0;
}

/* The survivor ends, which is no death. */
static bool go_home(struct scene *scene)
{
    cshm_barrier_close(scene->barrier);
    return true;
}

static bool mend_barrier(struct scene *scene)
{
    return cshm_barrier_repair(scene->barrier) == 1 && go_home(scene);
}

static bool nobody_waits(struct scene *scene)
{
    struct cshm_barrier_info info;
    cshm_barrier_describe(scene->barrier, &info);
    return info.waiting == 0 && info.broken == 0;
}

/* Told of once: by the survivor, or, where the parties had met, now. */
static bool barrier_is_mended(struct scene *scene)
{
    return nobody_waits(scene) && cshm_barrier_reset(scene->barrier) == 0;
}

static bool barrier_lost_one(struct scene *scene)
{
    return nobody_waits(scene) && cshm_barrier_reset(scene->barrier) == 1;
}

static const struct wish meeting = {meet, NULL, NULL, go_home};
static const struct wish bad_news = {is_told_it_broke, NULL, NULL, mend_barrier};

const struct noun death_signals[] = {
    [BENCH_SEMAPHORE] = {&unit, &unit, NULL, give_unit, semaphore_is_whole, true},
    [BENCH_EVENT] = {&event, &event, NULL, set_event, event_is_whole, true},
    [BENCH_LATCH] = {&latch, &latch, NULL, count_down, latch_is_open, false},
    [BENCH_CONDITION] = {&notification, &notification, NULL, notify, condition_is_whole, true},
    [BENCH_CONDITION_MUTEX] = {&death_mutex, &inheritance, NULL, NULL, condition_is_whole, false},
    [BENCH_BARRIER] = {&meeting, &meeting, NULL, come_as_the_last, barrier_lost_one, false},
    [BENCH_BROKEN_BARRIER] = {&meeting, &bad_news, NULL, keep_nothing, barrier_is_mended, false},
};
