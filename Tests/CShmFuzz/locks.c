/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Mutexes, reader-writer locks, semaphores, permits and batons, of one process.
 */
#include "fuzz.h"

#include <pthread.h>

#include "layout.h"

extern const struct subject fuzz_mutex, fuzz_rwlock, fuzz_semaphore, fuzz_permits, fuzz_baton;

enum { MANY = 5 };

static void look_at(const struct cshm_waitable *waitable)
{
    (void)!cshm_wait_any(waitable, 1, 0);
}

/* ---- mutex ---- */

static void make_mutex(struct scene *scene)
{
    cshm_mutex *mutex = fuzz_block(scene, sizeof *mutex);
    cshm_mutex_init(mutex);
    scene->handle[0] = scene->native = mutex;
}

static void use_mutex(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_mutex *mutex = scene->handle[0];
    struct cshm_mutex_info info;
    switch (operation % 5) {
    case 0:
        (void)!cshm_mutex_try_acquire(mutex);
        break;
    case 1:
        (void)!cshm_mutex_acquire_until(mutex, scene->soon);
        break;
    case 2:
        (void)cshm_mutex_release(mutex);
        break;
    case 3:
        (void)cshm_mutex_repair(mutex);
        break;
    default:
        (void)!cshm_mutex_describe(mutex, &info);
    }
    (void)argument;
}

const struct subject fuzz_mutex = {"mutex", make_mutex, use_mutex, fuzz_let_go};

/* ---- reader-writer lock ---- */

static void make_rwlock(struct scene *scene)
{
    cshm_rwlock *lock = NULL;
    MUST(cshm_rwlock_create(scene->region, MANY, &scene->place) == 0);
    fuzz_share(scene, sizeof(struct cshm_rwlock_shared) + MANY * sizeof(struct cshm_reader_cell));
    MUST(cshm_rwlock_open(scene->region, scene->place, &lock) == 0);
    scene->handle[0] = lock;
    scene->native = (uint8_t *)fuzz_object(scene) + offsetof(struct cshm_rwlock_shared, writer);
}

static void use_rwlock(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_rwlock *lock = scene->handle[0];
    cshm_rwlock *again = NULL;
    struct cshm_rwlock_info info;
    struct cshm_waitable waitable[2];
    uint32_t cell = argument % (MANY + 1);
    switch (operation) {
    case 0:
    case 1:
        (void)!cshm_rwlock_try_acquire_read(lock, &cell);
        break;
    case 2:
        (void)!cshm_rwlock_acquire_read_until(lock, scene->soon, &cell);
        break;
    case 3:
    case 4:
    case 5:
        (void)cshm_rwlock_release_read(lock, cell);
        break;
    case 6:
        (void)!cshm_rwlock_try_acquire_write(lock);
        break;
    case 7:
        (void)!cshm_rwlock_acquire_write_until(lock, scene->soon);
        break;
    case 8:
        (void)cshm_rwlock_release_write(lock);
        break;
    case 9:
        cshm_rwlock_withdraw_write(lock);
        break;
    case 10:
        (void)cshm_rwlock_repair(lock);
        break;
    case 11:
        (void)!cshm_rwlock_downgrade(lock, &cell);
        break;
    case 12:
        cshm_rwlock_describe(lock, &info);
        break;
    case 13:
        cshm_rwlock_readable(lock, &waitable[0]);
        look_at(&waitable[0]);
        cshm_rwlock_writable(lock, waitable);
        look_at(&waitable[argument % 2]);
        break;
    case 14:
        if (cshm_rwlock_open(scene->region, scene->place, &again) == 0) {
            (void)!cshm_rwlock_try_acquire_read(again, &cell);
            cshm_rwlock_close(again);
        }
        break;
    default:
        (void)!cshm_rwlock_try_acquire_write(lock);
    }
}

static void leave_rwlock(struct scene *scene)
{
    fuzz_let_go(scene);
    cshm_rwlock_destroy(scene->handle[0]);
}

const struct subject fuzz_rwlock = {"rwlock", make_rwlock, use_rwlock, leave_rwlock};

/* ---- semaphore ---- */

static void make_semaphore(struct scene *scene)
{
    cshm_semaphore *semaphore = fuzz_block(scene, sizeof *semaphore);
    MUST(cshm_semaphore_init(semaphore, 2, MANY) == 0);
    scene->handle[0] = semaphore;
}

static void use_semaphore(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_semaphore *semaphore = scene->handle[0];
    struct cshm_waitable waitable;
    switch (operation % 6) {
    case 0:
        (void)!cshm_semaphore_try_acquire(semaphore);
        break;
    case 1:
        (void)!cshm_semaphore_acquire_until(semaphore, scene->soon);
        break;
    case 2:
        (void)cshm_semaphore_release(semaphore, argument % MANY);
        break;
    case 3:
        (void)!cshm_semaphore_count(semaphore);
        break;
    case 4:
        (void)!cshm_semaphore_bound(semaphore);
        break;
    default:
        if (cshm_semaphore_waitable(semaphore, &waitable) == 0) {
            look_at(&waitable);
        }
    }
}

const struct subject fuzz_semaphore = {"semaphore", make_semaphore, use_semaphore, NULL};

/* ---- permits ---- */

static void make_permits(struct scene *scene)
{
    cshm_permits *permits = NULL;
    MUST(cshm_permits_create(scene->region, MANY, &scene->place) == 0);
    fuzz_share(scene, sizeof(struct cshm_permits_shared) + MANY * sizeof(uint64_t));
    MUST(cshm_permits_open(scene->region, scene->place, &permits) == 0);
    scene->handle[0] = permits;
}

static void use_permits(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_permits *permits = scene->handle[0];
    cshm_permits *again = NULL;
    struct cshm_waitable waitable;
    uint32_t count = argument % 2 == 0 ? 1 : argument % (MANY + 2);
    switch (operation % 9) {
    case 0:
    case 1:
        (void)!cshm_permits_try_acquire(permits, count);
        break;
    case 2:
        (void)!cshm_permits_acquire_until(permits, count, scene->soon);
        break;
    case 3:
    case 4:
        (void)cshm_permits_release(permits, count);
        break;
    case 5:
        (void)cshm_permits_reclaim(permits);
        break;
    case 6:
        (void)(cshm_permits_count(permits) + cshm_permits_available(permits) +
               cshm_permits_held(permits));
        break;
    case 7:
        cshm_permits_waitable(permits, &waitable);
        look_at(&waitable);
        break;
    default:
        if (cshm_permits_open(scene->region, scene->place, &again) == 0) {
            (void)!cshm_permits_try_acquire(again, count);
            cshm_permits_close(again);
        }
    }
}

static void leave_permits(struct scene *scene)
{
    cshm_permits_destroy(scene->handle[0]);
}

const struct subject fuzz_permits = {"permits", make_permits, use_permits, leave_permits};

/* ---- baton ---- */

static void make_baton(struct scene *scene)
{
    cshm_baton *baton = NULL;
    MUST(cshm_baton_create(scene->region, &scene->place) == 0);
    fuzz_share(scene, sizeof(struct cshm_baton_shared));
    MUST(cshm_baton_open(scene->region, scene->place, &baton) == 0);
    scene->handle[0] = baton;
}

static void use_baton(struct scene *scene, uint32_t operation, uint32_t argument)
{
    cshm_baton *baton = scene->handle[0];
    cshm_baton *again = NULL;
    struct cshm_waitable waitable;
    switch (operation % 8) {
    case 0:
    case 1:
        (void)!cshm_baton_try_acquire(baton);
        break;
    case 2:
        (void)!cshm_baton_acquire_until(baton, scene->soon);
        break;
    case 3:
    case 4:
        (void)cshm_baton_release(baton);
        break;
    case 5:
        (void)cshm_baton_repair(baton);
        break;
    case 6:
        (void)cshm_baton_holder(baton);
        cshm_baton_waitable(baton, &waitable);
        look_at(&waitable);
        break;
    default:
        if (cshm_baton_open(scene->region, scene->place, &again) == 0) {
            (void)!cshm_baton_try_acquire(again);
            cshm_baton_close(again);
        }
    }
    (void)argument;
}

static void leave_baton(struct scene *scene)
{
    cshm_baton_destroy(scene->handle[0]);
}

const struct subject fuzz_baton = {"baton", make_baton, use_baton, leave_baton};
