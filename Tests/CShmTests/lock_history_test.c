/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Histories of locks whose users are killed and stopped, judged by history.h: the mutex as a lock, also a
 * recursive one, and round a counter, the baton as a lock, the reader-writer lock round a number in two
 * places, semaphore, permits.
 */
#include "history_actors.h"

#include <cshm/baton.h>
#include <cshm/mutex.h>
#include <cshm/permits.h>
#include <cshm/rwlock.h>
#include <cshm/semaphore.h>

extern const struct test lock_history_tests[];

struct subject {
    struct object object;
    bool has_deaths;
    /* Makes the object. @returns its place. */
    uint64_t (*make)(cshm_region *region);
    void (*use)(cshm_region *region, void *scene);
    /* Afterwards, with nobody left: what must hold, written into the last log; then frees it. */
    void (*end)(cshm_region *region, struct scene *scene, struct history_log *last);
    void (*bury)(cshm_region *region, const struct scene *scene);
};

static void under_kills(const struct subject *subject)
{
    cshm_region *region = make_region(4u << 20);
    uint64_t random = make_seed();
    struct tally tally = {0};
    while (wants_more(&tally, HISTORIES / 2)) {
        struct scene scene = {.history = make_history(), .bury = subject->bury};
        scene.history->has_deaths = subject->has_deaths;
        scene.offset = subject->make(region);
        direct(region, &scene, subject->use, &random);
        subject->end(region, &scene,
                     &scene.history->log[atomic_fetch_add(&scene.history->logs, 1)]);
        expect_linearizable(scene.history, &subject->object);
        count(scene.history, &tally);
        forget(scene.history);
    }
    expect_enough(&tally);
    cshm_region_close(region);
}

static struct history_log *log_of(const struct scene *scene)
{
    return &scene->history->log[scene->turn];
}

static int64_t long_after(void)
{
    return after(20 * SECOND);
}

/* ---- a counter under a mutex ---- */

struct guarded {
    cshm_mutex mutex;
    int32_t number;
};

static struct guarded *guarded_of(cshm_region *region, uint64_t offset)
{
    return cshm_heap_pointer(region, offset, sizeof(struct guarded));
}

static uint64_t make_guarded(cshm_region *region)
{
    uint64_t offset = 0;
    CHECK_EQ(cshm_heap_allocate(region, sizeof(struct guarded), &offset), 0);
    guarded_of(region, offset)->number = 0;
    cshm_mutex_init(&guarded_of(region, offset)->mutex);
    return offset;
}

static void add_one(const struct scene *scene, struct history_log *log, struct guarded *guarded)
{
    struct operation *operation = history_call(scene->history, log, ADD, 0);
    int status = cshm_mutex_acquire_until(&guarded->mutex, long_after());
    CHECK(status == 0 || status == 1);
    int32_t number = ++*(volatile int32_t *)&guarded->number;
    if (status == 1) {
        CHECK_EQ(cshm_mutex_repair(&guarded->mutex), 0);
    }
    CHECK_EQ(cshm_mutex_release(&guarded->mutex), 0);
    history_return(scene->history, operation, number);
}

static void use_counter(cshm_region *region, void *context)
{
    struct scene *scene = context;
    while (!history_is_full(log_of(scene))) {
        add_one(scene, log_of(scene), guarded_of(region, scene->offset));
    }
    wait_for_the_end();
}

static void end_counter(cshm_region *region, struct scene *scene, struct history_log *last)
{
    add_one(scene, last, guarded_of(region, scene->offset));
    CHECK_EQ(cshm_heap_free(region, scene->offset), 0);
}

static void counter_under_kills(void)
{
    under_kills(&(struct subject){
        .object = counter(), .make = make_guarded, .use = use_counter, .end = end_counter});
}

/* ---- a lock itself: who holds it, and who inherits it ---- */

/* All that a lock says is as cshm/mutex.h says it. */
struct lock_calls {
    void *(*open)(cshm_region *region, uint64_t offset);
    int (*try_acquire)(void *lock);
    int (*acquire_until)(void *lock, int64_t deadline_ns);
    int (*repair)(void *lock);
    int (*release)(void *lock);
};

static int32_t acquire(const struct scene *scene, struct history_log *log,
                       const struct lock_calls *calls, void *lock, bool waits)
{
    struct operation *operation = history_call(scene->history, log, ACQUIRE, 0);
    int status = waits ? calls->acquire_until(lock, long_after()) : calls->try_acquire(lock);
    CHECK(status == 0 || status == 1 || (status == -EAGAIN && !waits));
    int32_t result = status == -EAGAIN ? IS_EMPTY : status;
    history_return(scene->history, operation, result);
    return result;
}

static void release(const struct scene *scene, struct history_log *log,
                    const struct lock_calls *calls, void *lock, bool inherited)
{
    struct operation *operation = history_call(scene->history, log, RELEASE, 0);
    if (inherited) {
        CHECK_EQ(calls->repair(lock), 0);
    }
    CHECK_EQ(calls->release(lock), 0);
    history_return(scene->history, operation, DONE);
}

static void use_lock(cshm_region *region, struct scene *scene, const struct lock_calls *calls)
{
    struct history_log *log = log_of(scene);
    void *lock = calls->open(region, scene->offset);
    while (!history_is_full(log)) {
        int32_t result = acquire(scene, log, calls, lock, next_random(&scene->seed) % 4 != 0);
        if (result != IS_EMPTY) {
            release(scene, log, calls, lock, result == INHERITED);
        }
    }
    wait_for_the_end();
}

static void end_lock(const struct scene *scene, struct history_log *last,
                     const struct lock_calls *calls, void *lock)
{
    for (int i = 0; i < 2; i++) { /* the second finds nothing to inherit */
        int32_t result = acquire(scene, last, calls, lock, false);
        CHECK(result != IS_EMPTY);
        release(scene, last, calls, lock, result == INHERITED);
    }
}

static void *open_mutex(cshm_region *region, uint64_t offset)
{
    return &guarded_of(region, offset)->mutex;
}

static int try_mutex(void *mutex)
{
    return cshm_mutex_try_acquire(mutex);
}

static int acquire_mutex(void *mutex, int64_t deadline_ns)
{
    return cshm_mutex_acquire_until(mutex, deadline_ns);
}

static int repair_mutex(void *mutex)
{
    return cshm_mutex_repair(mutex);
}

static int release_mutex(void *mutex)
{
    return cshm_mutex_release(mutex);
}

static const struct lock_calls MUTEX = {open_mutex, try_mutex, acquire_mutex, repair_mutex,
                                        release_mutex};

static void use_mutex(cshm_region *region, void *context)
{
    use_lock(region, context, &MUTEX);
}

static void end_mutex(cshm_region *region, struct scene *scene, struct history_log *last)
{
    end_lock(scene, last, &MUTEX, open_mutex(region, scene->offset));
    CHECK_EQ(cshm_heap_free(region, scene->offset), 0);
}

static void mutex_under_kills(void)
{
    under_kills(&(struct subject){.object = lock(),
                                  .has_deaths = true,
                                  .make = make_guarded,
                                  .use = use_mutex,
                                  .end = end_mutex});
}

/* ---- a recursive one, which is always had twice ---- */

static uint64_t make_recursive(cshm_region *region)
{
    uint64_t offset = make_guarded(region);
    cshm_mutex_init_recursive(&guarded_of(region, offset)->mutex);
    return offset;
}

/* With it: whoever died had it once or twice, and it is inherited once. */
static int acquire_again(void *mutex, int status)
{
    if (status >= 0) {
        CHECK_EQ(cshm_mutex_try_acquire(mutex), 0);
    }
    return status;
}

static int try_recursive(void *mutex)
{
    return acquire_again(mutex, try_mutex(mutex));
}

static int acquire_recursive(void *mutex, int64_t deadline_ns)
{
    return acquire_again(mutex, acquire_mutex(mutex, deadline_ns));
}

static int release_recursive(void *mutex)
{
    CHECK_EQ(cshm_mutex_release(mutex), 0);
    return cshm_mutex_release(mutex);
}

static const struct lock_calls RECURSIVE = {open_mutex, try_recursive, acquire_recursive,
                                            repair_mutex, release_recursive};

static void use_recursive(cshm_region *region, void *context)
{
    use_lock(region, context, &RECURSIVE);
}

static void end_recursive(cshm_region *region, struct scene *scene, struct history_log *last)
{
    end_lock(scene, last, &RECURSIVE, open_mutex(region, scene->offset));
    CHECK_EQ(cshm_heap_free(region, scene->offset), 0);
}

static void recursive_under_kills(void)
{
    under_kills(&(struct subject){.object = lock(),
                                  .has_deaths = true,
                                  .make = make_recursive,
                                  .use = use_recursive,
                                  .end = end_recursive});
}

/* ---- a baton ---- */

static uint64_t make_baton(cshm_region *region)
{
    uint64_t offset = 0;
    CHECK_EQ(cshm_baton_create(region, &offset), 0);
    return offset;
}

static void *open_baton(cshm_region *region, uint64_t offset)
{
    cshm_baton *baton = NULL;
    CHECK_EQ(cshm_baton_open(region, offset, &baton), 0);
    return baton;
}

static int try_baton(void *baton)
{
    return cshm_baton_try_acquire(baton);
}

static int acquire_baton(void *baton, int64_t deadline_ns)
{
    return cshm_baton_acquire_until(baton, deadline_ns);
}

static int repair_baton(void *baton)
{
    return cshm_baton_repair(baton);
}

static int release_baton(void *baton)
{
    return cshm_baton_release(baton);
}

static const struct lock_calls BATON = {open_baton, try_baton, acquire_baton, repair_baton,
                                        release_baton};

static void use_baton(cshm_region *region, void *context)
{
    use_lock(region, context, &BATON);
}

static void end_baton(cshm_region *region, struct scene *scene, struct history_log *last)
{
    cshm_baton *baton = open_baton(region, scene->offset);
    end_lock(scene, last, &BATON, baton);
    cshm_baton_destroy(baton);
}

static void baton_under_kills(void)
{
    under_kills(&(struct subject){.object = lock(),
                                  .has_deaths = true,
                                  .make = make_baton,
                                  .use = use_baton,
                                  .end = end_baton});
}

/* ---- a number in two places, under a reader-writer lock ---- */

struct number {
    uint64_t lock;
    volatile int32_t first;
    volatile int32_t second;
};

static struct number *number_of(cshm_region *region, uint64_t offset)
{
    return cshm_heap_pointer(region, offset, sizeof(struct number));
}

static uint64_t make_number(cshm_region *region)
{
    uint64_t offset = 0;
    CHECK_EQ(cshm_heap_allocate(region, sizeof(struct number), &offset), 0);
    struct number *number = number_of(region, offset);
    *number = (struct number){0};
    CHECK_EQ(cshm_rwlock_create(region, 3, &number->lock), 0);
    return offset;
}

/* With the lock: the second place follows the first, whoever died between the two stores. */
static void begin_writing(cshm_rwlock *lock, struct number *number)
{
    int status = cshm_rwlock_acquire_write_until(lock, long_after());
    CHECK(status == 0 || status == 1);
    if (status == 1) {
        number->second = number->first;
        CHECK_EQ(cshm_rwlock_repair(lock), 0);
    }
    CHECK_EQ(number->first, number->second);
}

static void write_number(const struct scene *scene, struct history_log *log, cshm_rwlock *lock,
                         struct number *number)
{
    struct operation *operation = history_call(scene->history, log, ADD, 0);
    begin_writing(lock, number);
    int32_t next = number->first + 1;
    number->first = next;
    number->second = next;
    CHECK_EQ(cshm_rwlock_release_write(lock), 0);
    history_return(scene->history, operation, next);
}

static void read_number(const struct scene *scene, struct history_log *log, cshm_rwlock *lock,
                        struct number *number)
{
    uint32_t cell = 0;
    struct operation *operation = history_call(scene->history, log, READ, 0);
    int status;
    while ((status = cshm_rwlock_acquire_read_until(lock, long_after(), &cell)) == -EOWNERDEAD) {
        begin_writing(lock, number);
        CHECK_EQ(cshm_rwlock_release_write(lock), 0);
    }
    CHECK_EQ(status, 0);
    int32_t first = number->first;
    CHECK_EQ(number->second, first);
    CHECK_EQ(cshm_rwlock_release_read(lock, cell), 0);
    history_return(scene->history, operation, first);
}

static void use_number(cshm_region *region, void *context)
{
    struct scene *scene = context;
    struct number *number = number_of(region, scene->offset);
    cshm_rwlock *lock = NULL;
    CHECK_EQ(cshm_rwlock_open(region, number->lock, &lock), 0);
    while (!history_is_full(log_of(scene))) {
        if (next_random(&scene->seed) % 4 == 0) {
            write_number(scene, log_of(scene), lock, number);
        } else {
            read_number(scene, log_of(scene), lock, number);
        }
    }
    wait_for_the_end();
}

static void end_number(cshm_region *region, struct scene *scene, struct history_log *last)
{
    struct number *number = number_of(region, scene->offset);
    cshm_rwlock *lock = NULL;
    CHECK_EQ(cshm_rwlock_open(region, number->lock, &lock), 0);
    read_number(scene, last, lock, number);
    write_number(scene, last, lock, number);
    read_number(scene, last, lock, number);
    cshm_rwlock_destroy(lock);
    CHECK_EQ(cshm_heap_free(region, scene->offset), 0);
}

static void rwlock_under_kills(void)
{
    under_kills(&(struct subject){
        .object = counter(), .make = make_number, .use = use_number, .end = end_number});
}

/* ---- the semaphore ---- */

static const int32_t BOUND = 3;

static cshm_semaphore *semaphore_at(cshm_region *region, uint64_t offset)
{
    return cshm_heap_pointer(region, offset, sizeof(cshm_semaphore));
}

static uint64_t make_semaphore(cshm_region *region)
{
    uint64_t offset = 0;
    CHECK_EQ(cshm_heap_allocate(region, sizeof(cshm_semaphore), &offset), 0);
    CHECK_EQ(cshm_semaphore_init(semaphore_at(region, offset), 0, (uint32_t)BOUND), 0);
    return offset;
}

static int32_t take_unit(const struct scene *scene, struct history_log *log,
                         cshm_semaphore *semaphore, bool waits)
{
    struct operation *operation = history_call(scene->history, log, ACQUIRE, 0);
    int status = waits ? cshm_semaphore_acquire_until(semaphore, after(MILLISECOND / 10))
                       : cshm_semaphore_try_acquire(semaphore);
    CHECK(status == 0 || status == (waits ? -ETIMEDOUT : -EAGAIN));
    history_return(scene->history, operation, status == 0 ? DONE : IS_EMPTY);
    return status;
}

static void use_semaphore(cshm_region *region, void *context)
{
    struct scene *scene = context;
    struct history_log *log = log_of(scene);
    cshm_semaphore *semaphore = semaphore_at(region, scene->offset);
    while (!history_is_full(log)) {
        uint64_t random = next_random(&scene->seed);
        if (random % 16 < 9) {
            (void)take_unit(scene, log, semaphore, random % 16 < 2);
            continue;
        }
        int32_t units = 1 + (int32_t)(random >> 32 & 1);
        struct operation *operation = history_call(scene->history, log, RELEASE, units);
        int status = cshm_semaphore_release(semaphore, (uint32_t)units);
        CHECK(status == 0 || status == -EOVERFLOW);
        history_return(scene->history, operation, status == 0 ? DONE : IS_FULL);
    }
    wait_for_the_end();
}

static void end_semaphore(cshm_region *region, struct scene *scene, struct history_log *last)
{
    cshm_semaphore *semaphore = semaphore_at(region, scene->offset);
    while (take_unit(scene, last, semaphore, false) == 0) {
    }
    CHECK_EQ(cshm_heap_free(region, scene->offset), 0);
}

static void semaphore_under_kills(void)
{
    under_kills(&(struct subject){.object = semaphore_of(&BOUND),
                                  .make = make_semaphore,
                                  .use = use_semaphore,
                                  .end = end_semaphore});
}

/* ---- permits ---- */

static const int32_t PERMITS = 2;

static uint64_t make_permits(cshm_region *region)
{
    uint64_t offset = 0;
    CHECK_EQ(cshm_permits_create(region, (uint32_t)PERMITS, &offset), 0);
    return offset;
}

static cshm_permits *open_permits(cshm_region *region, uint64_t offset)
{
    cshm_permits *permits = NULL;
    CHECK_EQ(cshm_permits_open(region, offset, &permits), 0);
    return permits;
}

static int take_permit(const struct scene *scene, struct history_log *log, cshm_permits *permits,
                       bool waits)
{
    struct operation *operation = history_call(scene->history, log, ACQUIRE, 0);
    int status = waits ? cshm_permits_acquire_until(permits, 1, after(MILLISECOND))
                       : cshm_permits_try_acquire(permits, 1);
    CHECK(status == 0 || status == (waits ? -ETIMEDOUT : -EAGAIN));
    history_return(scene->history, operation, status == 0 ? DONE : IS_EMPTY);
    return status;
}

static void use_permits(cshm_region *region, void *context)
{
    struct scene *scene = context;
    struct history_log *log = log_of(scene);
    cshm_permits *permits = open_permits(region, scene->offset);
    while (!history_is_full(log)) {
        if (take_permit(scene, log, permits, next_random(&scene->seed) % 2 == 0) == 0) {
            struct operation *operation = history_call(scene->history, log, RELEASE, 0);
            CHECK_EQ(cshm_permits_release(permits, 1), 0);
            history_return(scene->history, operation, DONE);
        }
    }
    wait_for_the_end();
}

/* A death is over when somebody has looked after it. */
static void reclaim_permits(cshm_region *region, const struct scene *scene)
{
    cshm_permits *permits = open_permits(region, scene->offset);
    CHECK(cshm_permits_reclaim(permits) >= 0);
    cshm_permits_close(permits);
}

static void end_permits(cshm_region *region, struct scene *scene, struct history_log *last)
{
    cshm_permits *permits = open_permits(region, scene->offset);
    CHECK_EQ(cshm_permits_available(permits), (uint32_t)PERMITS);
    for (int32_t i = 0; i <= PERMITS; i++) {
        CHECK_EQ(take_permit(scene, last, permits, false), i < PERMITS ? 0 : -EAGAIN);
    }
    CHECK_EQ(cshm_permits_release(permits, (uint32_t)PERMITS), 0);
    cshm_permits_destroy(permits);
}

static void permits_under_kills(void)
{
    under_kills(&(struct subject){.object = permits_of(&PERMITS),
                                  .has_deaths = true,
                                  .make = make_permits,
                                  .use = use_permits,
                                  .end = end_permits,
                                  .bury = reclaim_permits});
}

const struct test lock_history_tests[] = {
    {"of_a_counter_whose_processes_are_killed_is_linearizable", counter_under_kills},
    {"of_a_mutex_whose_processes_are_killed_is_linearizable", mutex_under_kills},
    {"of_a_recursive_lock_whose_processes_are_killed_is_linearizable", recursive_under_kills},
    {"of_a_baton_whose_processes_are_killed_is_linearizable", baton_under_kills},
    {"of_a_rwlock_whose_processes_are_killed_is_linearizable", rwlock_under_kills},
    {"of_a_semaphore_whose_processes_are_killed_is_linearizable", semaphore_under_kills},
    {"of_permits_whose_processes_are_killed_is_linearizable", permits_under_kills},
    {NULL, NULL},
};
