/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The condition: no place and no notification is lost with the dead, and no waiter is left behind.
 */
#include "kill.h"

#include <signal.h>
#include <sys/prctl.h>

#include "layout.h"

extern const struct scenario condition_scenarios[];

static const int64_t MILLISECOND = 1000000;

enum { PLACES = 3 };

/* What each process has. */
struct scene {
    cshm_condition *condition;
    struct cshm_condition_waiter waiter; /* of the survivor */
    struct cshm_condition_waiter mine;   /* of the victim */
};

static cshm_mutex *mutex_of(const struct world *world)
{
    return cshm_heap_pointer(world->region, world->place[1], sizeof(cshm_mutex));
}

static struct scene *scene_of(const struct world *world)
{
    return world->handle;
}

static void open_condition(struct world *world)
{
    static struct scene scene;
    CHECK_EQ(cshm_condition_open(world->region, world->place[0], &scene.condition), 0);
    world->handle = &scene;
}

static void acquire(struct world *world)
{
    int status = cshm_mutex_acquire_until(mutex_of(world), INT64_MAX);
    CHECK(status >= 0);
    if (status == 1) {
        CHECK_EQ(cshm_mutex_repair(mutex_of(world)), 0);
    }
}

static void release(struct world *world)
{
    CHECK_EQ(cshm_mutex_release(mutex_of(world)), 0);
}

static void make_condition(struct world *world)
{
    CHECK_EQ(cshm_condition_create(world->region, PLACES, &world->place[0]), 0);
    CHECK_EQ(cshm_heap_share(world->region, world->place[0]), 0);
    world->place[1] = make_shared_block(world->region, sizeof(cshm_mutex));
    cshm_mutex_init(mutex_of(world));
    open_condition(world);
}

/* ---- scenes ---- */

static void enter(struct world *world, struct cshm_condition_waiter *waiter)
{
    acquire(world);
    CHECK_EQ(cshm_condition_begin(scene_of(world)->condition, mutex_of(world), waiter), 0);
    release(world);
}

static int notify(struct world *world, uint32_t count)
{
    acquire(world);
    int notified = cshm_condition_notify(scene_of(world)->condition, mutex_of(world), count);
    release(world);
    return notified;
}

static struct cshm_condition_place *place_of(const struct world *world, uint32_t index)
{
    struct cshm_condition_shared *shared =
        cshm_heap_pointer(world->region, world->place[0],
                          sizeof *shared + PLACES * sizeof(struct cshm_condition_place));
    return (struct cshm_condition_place *)(void *)(shared + 1) + index;
}

static void wait_asleep(struct world *world)
{
    struct cshm_condition_waiter waiter;
    enter(world, &waiter);
    (void)cshm_park_prepare(&place_of(world, waiter.place)->park);
}

static void wait_notified(struct world *world)
{
    struct cshm_condition_waiter waiter;
    enter(world, &waiter);
    CHECK_EQ(notify(world, 1), 1);
}

/* The survivor waits, elsewhere. */
static void make_with_waiter(struct world *world)
{
    make_condition(world);
    enter(world, &scene_of(world)->waiter);
}

static void make_behind_the_dead(struct world *world)
{
    make_condition(world);
    kill_after(world, wait_asleep);
    enter(world, &scene_of(world)->waiter);
}

static void make_full_of_the_dead(struct world *world)
{
    make_condition(world);
    kill_after(world, wait_notified);
    for (uint32_t i = 1; i < PLACES; i++) {
        kill_after(world, wait_asleep);
    }
}

static void make_after_the_notified(struct world *world)
{
    make_condition(world);
    kill_after(world, wait_notified);
}

/* The survivor waits, and the one that was before it is dead, and was notified. */
static void make_waiting_after_the_notified(struct world *world)
{
    make_after_the_notified(world);
    enter(world, &scene_of(world)->waiter);
}

/* ---- operations ---- */

static int create(struct world *world)
{
    int status = cshm_condition_create(world->region, PLACES, &world->place[0]);
    return status == 0 ? cshm_heap_free(world->region, world->place[0]) : status;
}

static void open_and_acquire(struct world *world)
{
    open_condition(world);
    acquire(world);
}

/* As soon as the mutex is released, another takes it and dies. */
static void open_and_acquire_before_another(struct world *world)
{
    pid_t parent = getpid();
    open_and_acquire(world);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        atomic_store(&world->report->word[0], 1);
        if (getppid() == parent) {
            CHECK(cshm_mutex_acquire_until(mutex_of(world), INT64_MAX) >= 0);
        }
        knife_die();
    }
    /* From now on it has no descriptor of this process's any more. */
    while (atomic_load(&world->report->word[0]) == 0) {
        usleep(100);
    }
}

static void open_and_enter(struct world *world)
{
    open_condition(world);
    enter(world, &scene_of(world)->mine);
}

static void open_and_be_notified(struct world *world)
{
    open_and_enter(world);
    CHECK(notify(world, CSHM_NOTIFY_ALL) >= 1);
}

/* The victim is notified; so was the survivor, which has looked in vain since. */
static void open_and_be_notified_beside_a_waiter(struct world *world)
{
    struct cshm_condition_waiter survivor = scene_of(world)->waiter;
    open_and_be_notified(world);
    survivor.condition = scene_of(world)->condition;
    acquire(world);
    CHECK_EQ(cshm_condition_again(&survivor, mutex_of(world)), 0);
    release(world);
}

static void open_be_notified_and_acquire(struct world *world)
{
    open_and_be_notified(world);
    acquire(world);
}

static void open_enter_and_acquire(struct world *world)
{
    open_and_enter(world);
    acquire(world);
}

static int leave(struct world *world)
{
    return cshm_condition_leave(&scene_of(world)->mine);
}

static int wait_on(struct world *world)
{
    return cshm_condition_again(&scene_of(world)->mine, mutex_of(world));
}

static int wait_in_vain(struct world *world)
{
    return cshm_condition_wait_until(scene_of(world)->condition, mutex_of(world),
                                     cshm_now_ns() + MILLISECOND);
}

static int wait_for_ever(struct world *world)
{
    return cshm_condition_wait_until(scene_of(world)->condition, mutex_of(world), INT64_MAX);
}

static int notify_all(struct world *world)
{
    return cshm_condition_notify(scene_of(world)->condition, mutex_of(world), CSHM_NOTIFY_ALL);
}

/* ---- afterwards ---- */

static void check_gone(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
}

/* All places can be had, all who wait are notified, and nothing else is. */
static void check_use(struct world *world)
{
    cshm_condition *condition = scene_of(world)->condition;
    struct cshm_condition_waiter waiters[PLACES];
    for (int round = 0; round < 2; round++) {
        acquire(world);
        for (uint32_t i = 0; i < PLACES; i++) {
            CHECK_EQ(cshm_condition_begin(condition, mutex_of(world), &waiters[i]), 0);
        }
        CHECK(cshm_condition_notify(condition, mutex_of(world), CSHM_NOTIFY_ALL) <= PLACES);
        for (uint32_t i = 0; i < PLACES; i++) {
            CHECK_EQ(cshm_condition_end(&waiters[i]), 1);
        }
        CHECK_EQ(cshm_condition_notify(condition, mutex_of(world), CSHM_NOTIFY_ALL), 0);
        release(world);
    }
    cshm_condition_destroy(condition);
    CHECK_EQ(cshm_heap_free(world->region, world->place[1]), 0);
}

/* The survivor, who waits, is notified: at the latest by somebody who knows that the holder died. */
static void check_notified(struct world *world)
{
    struct scene *scene = scene_of(world);
    CHECK(!returned(world) || world->report->status == 1);
    CHECK(!returned(world) || cshm_condition_is_notified(&scene->waiter));
    (void)notify(world, CSHM_NOTIFY_ALL);
    acquire(world);
    CHECK_EQ(cshm_condition_end(&scene->waiter), 1);
    release(world);
    check_use(world);
}

static void check_left(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
    check_use(world);
}

static void check_left_notified(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 1);
    check_use(world);
}

/* The survivor, who waits elsewhere, looks for the dead, and then is notified in the place of one. */
static void check_notified_in_its_place(struct world *world)
{
    struct cshm_condition_waiter *waiter = &scene_of(world)->waiter;
    acquire(world);
    CHECK_EQ(cshm_condition_is_notified(waiter), 0);
    CHECK_EQ(cshm_condition_has_orphan(waiter->condition), 1);
    CHECK_EQ(cshm_condition_again(waiter, mutex_of(world)), 0);
    CHECK_EQ(cshm_condition_has_orphan(waiter->condition), 0);
    CHECK_EQ(cshm_condition_end(waiter), 1);
    release(world);
    check_use(world);
}

static void check_left_to_a_waiter(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 1);
    check_notified_in_its_place(world);
}

/* As check_notified_in_its_place(), unless the victim has done it. */
static void check_handed_to_a_waiter(struct world *world)
{
    struct cshm_condition_waiter *waiter = &scene_of(world)->waiter;
    CHECK(!returned(world) || world->report->status == 0);
    acquire(world);
    if (!cshm_condition_is_notified(waiter)) {
        CHECK(!returned(world));
        CHECK_EQ(cshm_condition_has_orphan(waiter->condition), 1);
        CHECK_EQ(cshm_condition_again(waiter, mutex_of(world)), 0);
    }
    CHECK_EQ(cshm_condition_end(waiter), 1);
    release(world);
    check_use(world);
}

/* The survivor was notified, too, and stays so. */
static void check_waited_on(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
    acquire(world);
    CHECK_EQ(cshm_condition_end(&scene_of(world)->waiter), 1);
    release(world);
    check_use(world);
}

static void check_timed_out(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -ETIMEDOUT);
    check_use(world);
}

/* What the dead was notified of, somebody gets: the victim, or after its death the next. */
static void check_handed_on(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
    if (!returned(world)) {
        acquire(world);
        int status = cshm_condition_wait_until(scene_of(world)->condition, mutex_of(world),
                                               cshm_now_ns() + MILLISECOND);
        CHECK(status == 0 || status == -ETIMEDOUT);
        release(world);
    }
    check_use(world);
}

static void check_inherited(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 1);
    check_use(world);
}

static void try_meanwhile(struct world *world)
{
    int status = cshm_mutex_try_acquire(mutex_of(world));
    CHECK(status >= 0 || status == -EAGAIN);
    CHECK(cshm_condition_waiting(scene_of(world)->condition) <= PLACES);
    if (status == 1) {
        CHECK_EQ(cshm_mutex_repair(mutex_of(world)), 0);
    }
    if (status >= 0) {
        release(world);
    }
}

const struct scenario condition_scenarios[] = {
    {.name = "create", .operate = create, .check = check_gone},
    {.name = "wait_in_vain",
     .setup = make_condition,
     .prepare = open_and_acquire,
     .operate = wait_in_vain,
     .check = check_timed_out,
     .meanwhile = try_meanwhile},
    {.name = "wait_in_the_place_of_the_dead",
     .setup = make_full_of_the_dead,
     .prepare = open_and_acquire,
     .operate = wait_in_vain,
     .check = check_timed_out},
    {.name = "wait_after_the_notified",
     .setup = make_after_the_notified,
     .prepare = open_and_acquire,
     .operate = wait_for_ever,
     .check = check_handed_on},
    {.name = "wait_for_a_dead_holder",
     .setup = make_condition,
     .prepare = open_and_acquire_before_another,
     .operate = wait_for_ever,
     .check = check_inherited},
    {.name = "notify",
     .setup = make_with_waiter,
     .prepare = open_and_acquire,
     .operate = notify_all,
     .check = check_notified,
     .meanwhile = try_meanwhile},
    {.name = "notify_behind_the_dead",
     .setup = make_behind_the_dead,
     .prepare = open_and_acquire,
     .operate = notify_all,
     .check = check_notified},
    {.name = "leave",
     .setup = make_condition,
     .prepare = open_and_enter,
     .operate = leave,
     .check = check_left,
     .meanwhile = try_meanwhile},
    {.name = "leave_notified",
     .setup = make_condition,
     .prepare = open_and_be_notified,
     .operate = leave,
     .check = check_left_notified,
     .meanwhile = try_meanwhile},
    {.name = "leave_notified_beside_a_waiter",
     .setup = make_with_waiter,
     .prepare = open_and_be_notified_beside_a_waiter,
     .operate = leave,
     .check = check_left_to_a_waiter,
     .meanwhile = try_meanwhile},
    {.name = "wait_on",
     .setup = make_with_waiter,
     .prepare = open_be_notified_and_acquire,
     .operate = wait_on,
     .check = check_waited_on,
     .meanwhile = try_meanwhile},
    {.name = "wait_on_after_the_notified",
     .setup = make_waiting_after_the_notified,
     .prepare = open_enter_and_acquire,
     .operate = wait_on,
     .check = check_handed_to_a_waiter,
     .meanwhile = try_meanwhile},
    {.name = NULL},
};
