/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * 64 processes, far more than there are CPUs, that want the same thing all the time: each gets on, and
 * nobody waits longer than LIMIT_S, which is far above what was ever seen (ARCHITECTURE.md). Where an
 * order is promised, it is looked at, too. The longest wait is printed, and the turns of those who had
 * fewest and most. CSHM_TEST_SECONDS makes it longer.
 */
#include "support.h"

#include <sys/prctl.h>

#include <cshm/barrier.h>
#include <cshm/baton.h>
#include <cshm/condition.h>
#include <cshm/event.h>
#include <cshm/mutex.h>
#include <cshm/permits.h>
#include <cshm/rwlock.h>
#include <cshm/semaphore.h>

extern const struct test crowd_tests[];

enum {
    CROWD = 64,
    LIMIT_S = 20,
    UNITS = 2,       /* of a semaphore, or of permits */
    READERS = CROWD, /* a cell for each */
};

struct crowd {
    cshm_mutex mutex;
    cshm_semaphore semaphore;
    cshm_event event;
    uint64_t place; /* of what has a view */
    const struct subject *subject;
    _Atomic uint32_t ready;
    _Atomic uint32_t stop;
    bool is_taken;     /* this and the next under the mutex */
    uint64_t handings; /* how often what is taken was handed on */
    struct {
        _Atomic uint64_t turns;
        _Atomic uint64_t longest_ns;
        uint8_t pad[112];
    } member[CROWD];
};

/* What a process has of it. */
struct view {
    struct crowd *crowd;
    uint32_t number;
    union {
        cshm_permits *permits;
        cshm_baton *baton;
        cshm_rwlock *lock;
        cshm_condition *condition;
        cshm_barrier *barrier;
    };
};

struct subject {
    /* Or NULL, both, where it is in the crowd. */
    int (*make)(cshm_region *region, struct crowd *crowd);
    int (*open)(cshm_region *region, struct view *view);
    /* Acquires, until a time, and releases. @returns what the acquire said. */
    int (*take_turn)(struct view *view, int64_t deadline_ns);
    /* Or NULL: what lets those go who would wait for others that have left. */
    void (*end)(cshm_region *region, const struct crowd *crowd);
};

struct member {
    struct crowd *crowd;
    uint32_t number;
};

static void take_turns(cshm_region *region, void *context)
{
    struct crowd *crowd = ((struct member *)context)->crowd;
    struct view view = {.crowd = crowd, .number = ((struct member *)context)->number};
    _Atomic uint64_t *longest = &crowd->member[view.number].longest_ns;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody would stop it */
    if (crowd->subject->open != NULL) {
        CHECK_EQ(crowd->subject->open(region, &view), 0);
    }
    atomic_fetch_add(&crowd->ready, 1);
    while (atomic_load(&crowd->stop) == 0) {
        int64_t start = cshm_now_ns();
        int status = crowd->subject->take_turn(&view, start + LIMIT_S * SECOND);
        if (status == -ECANCELED && atomic_load(&crowd->stop) != 0) {
            break;
        }
        CHECK_EQ(status, 0);
        uint64_t took = (uint64_t)(cshm_now_ns() - start);
        if (took > atomic_load(longest)) {
            atomic_store(longest, took);
        }
        atomic_fetch_add(&crowd->member[view.number].turns, 1);
    }
}

static void tell(const struct crowd *crowd)
{
    uint64_t turns = 0;
    uint64_t fewest = UINT64_MAX;
    uint64_t most = 0;
    uint64_t longest = 0;
    for (uint32_t i = 0; i < CROWD; i++) {
        uint64_t of_one = atomic_load(&crowd->member[i].turns);
        uint64_t wait = atomic_load(&crowd->member[i].longest_ns);
        turns += of_one;
        fewest = of_one < fewest ? of_one : fewest;
        most = of_one > most ? of_one : most;
        longest = wait > longest ? wait : longest;
    }
    fprintf(stderr, "%llu turns, %llu to %llu of one; the longest wait %.1f ms\n",
            (unsigned long long)turns, (unsigned long long)fewest, (unsigned long long)most,
            (double)longest / 1e6);
}

static void crowd_round(const struct subject *subject)
{
    const char *text = getenv("CSHM_TEST_SECONDS");
    int64_t seconds = text != NULL ? atoll(text) : 1;
    cshm_region *region = make_region(4u << 20);
    struct crowd *crowd = shared_memory(sizeof *crowd);
    pid_t child[CROWD];
    crowd->subject = subject;
    cshm_mutex_init(&crowd->mutex);
    cshm_event_init(&crowd->event, CSHM_EVENT_AUTOMATIC);
    CHECK_EQ(cshm_event_set(&crowd->event), 0);
    CHECK_EQ(cshm_semaphore_init(&crowd->semaphore, UNITS, UNITS), 0);
    if (subject->make != NULL) {
        CHECK_EQ(subject->make(region, crowd), 0);
        CHECK_EQ(cshm_heap_share(region, crowd->place), 0);
    }
    for (uint32_t i = 0; i < CROWD; i++) {
        child[i] = spawn(region, take_turns, &(struct member){crowd, i});
    }
    wait_until_set(&crowd->ready, CROWD);
    for (int64_t end = after(seconds * SECOND); cshm_now_ns() < end;) {
        usleep(10000);
    }
    /* Whoever has not had a turn by now gets one while the others go on. */
    for (uint32_t i = 0; i < CROWD; i++) {
        int64_t end = after(LIMIT_S * SECOND);
        while (atomic_load(&crowd->member[i].turns) == 0) {
            CHECK(cshm_now_ns() < end);
            usleep(1000);
        }
    }
    atomic_store(&crowd->stop, 1);
    if (subject->end != NULL) {
        subject->end(region, crowd);
    }
    for (uint32_t i = 0; i < CROWD; i++) {
        expect_success(child[i]);
    }
    tell(crowd);
    cshm_region_close(region);
}

/* ---- what they want ---- */

static int use_mutex(struct view *view, int64_t deadline_ns)
{
    int status = cshm_mutex_acquire_until(&view->crowd->mutex, deadline_ns);
    return status == 0 ? cshm_mutex_release(&view->crowd->mutex) : status;
}

static void mutex(void)
{
    crowd_round(&(struct subject){.take_turn = use_mutex});
}

static int use_semaphore(struct view *view, int64_t deadline_ns)
{
    int status = cshm_semaphore_acquire_until(&view->crowd->semaphore, deadline_ns);
    return status == 0 ? cshm_semaphore_release(&view->crowd->semaphore, 1) : status;
}

static void semaphore(void)
{
    crowd_round(&(struct subject){.take_turn = use_semaphore});
}

static int make_permits(cshm_region *region, struct crowd *crowd)
{
    return cshm_permits_create(region, UNITS, &crowd->place);
}

static int open_permits(cshm_region *region, struct view *view)
{
    return cshm_permits_open(region, view->crowd->place, &view->permits);
}

static int use_permits(struct view *view, int64_t deadline_ns)
{
    int status = cshm_permits_acquire_until(view->permits, 1, deadline_ns);
    return status == 0 ? cshm_permits_release(view->permits, 1) : status;
}

static void permits(void)
{
    crowd_round(
        &(struct subject){.make = make_permits, .open = open_permits, .take_turn = use_permits});
}

static int make_baton(cshm_region *region, struct crowd *crowd)
{
    return cshm_baton_create(region, &crowd->place);
}

static int open_baton(cshm_region *region, struct view *view)
{
    return cshm_baton_open(region, view->crowd->place, &view->baton);
}

static int use_baton(struct view *view, int64_t deadline_ns)
{
    int status = cshm_baton_acquire_until(view->baton, deadline_ns);
    return status == 0 ? cshm_baton_release(view->baton) : status;
}

static void baton(void)
{
    crowd_round(&(struct subject){.make = make_baton, .open = open_baton, .take_turn = use_baton});
}

static int make_lock(cshm_region *region, struct crowd *crowd)
{
    return cshm_rwlock_create(region, READERS, &crowd->place);
}

static int open_lock(cshm_region *region, struct view *view)
{
    return cshm_rwlock_open(region, view->crowd->place, &view->lock);
}

/* Writes, or reads. */
static int use_lock(struct view *view, bool writes, int64_t deadline_ns)
{
    uint32_t cell = 0;
    if (writes) {
        int status = cshm_rwlock_acquire_write_until(view->lock, deadline_ns);
        return status == 0 ? cshm_rwlock_release_write(view->lock) : status;
    }
    int status = cshm_rwlock_acquire_read_until(view->lock, deadline_ns, &cell);
    return status == 0 ? cshm_rwlock_release_read(view->lock, cell) : status;
}

static int write_as_one_of_8(struct view *view, int64_t deadline_ns)
{
    return use_lock(view, view->number % 8 == 0, deadline_ns);
}

static void rwlock(void)
{
    crowd_round(
        &(struct subject){.make = make_lock, .open = open_lock, .take_turn = write_as_one_of_8});
}

static int write_always(struct view *view, int64_t deadline_ns)
{
    return use_lock(view, true, deadline_ns);
}

static void writers(void)
{
    crowd_round(&(struct subject){.make = make_lock, .open = open_lock, .take_turn = write_always});
}

/* Whoever went through it sets it again. */
static int use_event(struct view *view, int64_t deadline_ns)
{
    int status = cshm_event_wait_until(&view->crowd->event, deadline_ns);
    return status == 0 ? cshm_event_set(&view->crowd->event) : status;
}

static void event(void)
{
    crowd_round(&(struct subject){.take_turn = use_event});
}

static int make_condition(cshm_region *region, struct crowd *crowd)
{
    return cshm_condition_create(region, CROWD, &crowd->place);
}

static int open_condition(cshm_region *region, struct view *view)
{
    return cshm_condition_open(region, view->crowd->place, &view->condition);
}

/* Who finds it taken waits until it is handed to him: after those only who waited before. */
static int wait_in_order(struct view *view, int64_t deadline_ns)
{
    struct crowd *crowd = view->crowd;
    uint64_t before = crowd->handings;
    int status = cshm_condition_wait_until(view->condition, &crowd->mutex, deadline_ns);
    CHECK(status != 0 || crowd->handings - before < CROWD);
    return status;
}

static int use_condition(struct view *view, int64_t deadline_ns)
{
    struct crowd *crowd = view->crowd;
    int status = cshm_mutex_acquire_until(&crowd->mutex, deadline_ns);
    if (status == 0 && crowd->is_taken) {
        status = wait_in_order(view, deadline_ns);
    }
    if (status != 0) {
        return status;
    }
    crowd->is_taken = true;
    CHECK_EQ(cshm_mutex_release(&crowd->mutex), 0);
    CHECK_EQ(cshm_mutex_acquire_until(&crowd->mutex, deadline_ns), 0);
    int notified = cshm_condition_notify(view->condition, &crowd->mutex, 1);
    CHECK(notified >= 0);
    crowd->is_taken = notified > 0;
    crowd->handings++;
    return cshm_mutex_release(&crowd->mutex);
}

static void condition(void)
{
    crowd_round(&(struct subject){
        .make = make_condition, .open = open_condition, .take_turn = use_condition});
}

static int make_barrier(cshm_region *region, struct crowd *crowd)
{
    return cshm_barrier_create(region, CROWD, &crowd->place);
}

static int open_barrier(cshm_region *region, struct view *view)
{
    return cshm_barrier_open(region, view->crowd->place, &view->barrier);
}

static int use_barrier(struct view *view, int64_t deadline_ns)
{
    return cshm_barrier_wait_until(view->barrier, NULL, NULL, deadline_ns, NULL);
}

static void break_barrier(cshm_region *region, const struct crowd *crowd)
{
    cshm_barrier *barrier = NULL;
    CHECK_EQ(cshm_barrier_open(region, crowd->place, &barrier), 0);
    cshm_barrier_abort(barrier);
    cshm_barrier_close(barrier);
}

static void barrier(void)
{
    crowd_round(&(struct subject){.make = make_barrier,
                                  .open = open_barrier,
                                  .take_turn = use_barrier,
                                  .end = break_barrier});
}

const struct test crowd_tests[] = {
    {"of_64_processes_at_a_mutex_starves_nobody", mutex},
    {"of_64_processes_at_a_semaphore_starves_nobody", semaphore},
    {"of_64_processes_at_permits_starves_nobody", permits},
    {"of_64_processes_at_a_baton_starves_nobody", baton},
    {"of_8_writers_and_56_readers_at_a_rwlock_starves_nobody", rwlock},
    {"of_64_writers_at_a_rwlock_starves_nobody", writers},
    {"of_64_processes_at_an_event_starves_nobody", event},
    {"of_64_processes_at_a_condition_starves_nobody_and_keeps_order", condition},
    {"of_64_processes_at_a_barrier_starves_nobody", barrier},
    {NULL, NULL},
};
