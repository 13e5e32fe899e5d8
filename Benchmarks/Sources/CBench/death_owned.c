/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What processes have when they die; see death.h.
 */
#include "death.h"

#include <errno.h>
#include <string.h>

/* ---- mutexes ---- */

/* What it guards is nothing. */
static int repaired(cshm_mutex *mutex, int status)
{
    return status == 1 ? cshm_mutex_repair(mutex) : status;
}

static bool mutex_is_free(cshm_mutex *mutex)
{
    int status = cshm_mutex_try_acquire(mutex);
    return status >= 0 && repaired(mutex, status) == 0 && cshm_mutex_release(mutex) == 0 &&
           status == 0;
}

static int acquire_mutex(struct scene *scene, int64_t deadline_ns)
{
    cshm_mutex *mutex = &scene->shared->mutex;
    return repaired(mutex, cshm_mutex_acquire_until(mutex, deadline_ns));
}

static int try_mutex(struct scene *scene, bool is_woken)
{
    cshm_mutex *mutex = &scene->shared->mutex;
    return repaired(mutex,
                    is_woken ? cshm_mutex_try_acquire_woken(mutex) : cshm_mutex_try_acquire(mutex));
}

static uint32_t at_mutex(struct scene *scene, struct cshm_waitable *places)
{
    cshm_mutex_waitable(&scene->shared->mutex, &places[0]);
    return 1;
}

static bool leave_mutex(struct scene *scene)
{
    return cshm_mutex_release(&scene->shared->mutex) == 0;
}

static bool mutex_is_whole(struct scene *scene)
{
    return mutex_is_free(&scene->shared->mutex);
}

const struct wish death_mutex = {acquire_mutex, try_mutex, at_mutex, leave_mutex};

static int acquire_robust(struct scene *scene, int64_t deadline_ns)
{
    pthread_mutex_t *robust = &scene->shared->robust;
    int error = pthread_mutex_lock(robust);
    (void)deadline_ns;
    return error == EOWNERDEAD ? -pthread_mutex_consistent(robust) : -error;
}

static bool leave_robust(struct scene *scene)
{
    return pthread_mutex_unlock(&scene->shared->robust) == 0;
}

static bool robust_is_whole(struct scene *scene)
{
    return pthread_mutex_trylock(&scene->shared->robust) == 0 && leave_robust(scene);
}

static const struct wish robust = {acquire_robust, NULL, NULL, leave_robust};

/* ---- baton ---- */

static int mended(struct scene *scene, int status)
{
    return status == 1 ? cshm_baton_repair(scene->baton) : status;
}

static int acquire_baton(struct scene *scene, int64_t deadline_ns)
{
    return mended(scene, cshm_baton_acquire_until(scene->baton, deadline_ns));
}

static int try_baton(struct scene *scene, bool is_woken)
{
    (void)is_woken;
    return mended(scene, cshm_baton_try_acquire(scene->baton));
}

static uint32_t at_baton(struct scene *scene, struct cshm_waitable *places)
{
    cshm_baton_waitable(scene->baton, &places[0]);
    return 1;
}

static bool leave_baton(struct scene *scene)
{
    return cshm_baton_release(scene->baton) == 0;
}

static bool baton_is_whole(struct scene *scene)
{
    return cshm_baton_holder(scene->baton) == 0 && cshm_baton_try_acquire(scene->baton) == 0 &&
           leave_baton(scene);
}

static const struct wish baton = {acquire_baton, try_baton, at_baton, leave_baton};

/* ---- permits: all of them ---- */

static int acquire_permits(struct scene *scene, int64_t deadline_ns)
{
    return cshm_permits_acquire_until(scene->permits, DEATH_PERMITS, deadline_ns);
}

static int try_permits(struct scene *scene, bool is_woken)
{
    (void)is_woken;
    return cshm_permits_try_acquire(scene->permits, DEATH_PERMITS);
}

static uint32_t at_permits(struct scene *scene, struct cshm_waitable *places)
{
    cshm_permits_waitable(scene->permits, &places[0]);
    return 1;
}

static bool leave_permits(struct scene *scene)
{
    return cshm_permits_release(scene->permits, DEATH_PERMITS) == 0;
}

static bool permits_are_whole(struct scene *scene)
{
    return cshm_permits_available(scene->permits) == DEATH_PERMITS &&
           cshm_permits_held(scene->permits) == 0;
}

static const struct wish permits = {acquire_permits, try_permits, at_permits, leave_permits};

/* ---- reader-writer lock ---- */

static int acquire_reading(struct scene *scene, int64_t deadline_ns)
{
    return cshm_rwlock_acquire_read_until(scene->lock, deadline_ns, &scene->cell);
}

static int try_reading(struct scene *scene, bool is_woken)
{
    (void)is_woken;
    return cshm_rwlock_try_acquire_read(scene->lock, &scene->cell);
}

static uint32_t at_reading(struct scene *scene, struct cshm_waitable *places)
{
    cshm_rwlock_readable(scene->lock, &places[0]);
    return 1;
}

static bool leave_reading(struct scene *scene)
{
    return cshm_rwlock_release_read(scene->lock, scene->cell) == 0;
}

static int rewritten(struct scene *scene, int status)
{
    return status == 1 ? cshm_rwlock_repair(scene->lock) : status;
}

static int acquire_writing(struct scene *scene, int64_t deadline_ns)
{
    return rewritten(scene, cshm_rwlock_acquire_write_until(scene->lock, deadline_ns));
}

static int try_writing(struct scene *scene, bool is_woken)
{
    return rewritten(scene, is_woken ? cshm_rwlock_try_acquire_write_woken(scene->lock)
                                     : cshm_rwlock_try_acquire_write(scene->lock));
}

static uint32_t at_writing(struct scene *scene, struct cshm_waitable *places)
{
    cshm_rwlock_writable(scene->lock, places);
    return 2;
}

static bool leave_writing(struct scene *scene)
{
    return cshm_rwlock_release_write(scene->lock) == 0;
}

static bool lock_is_whole(struct scene *scene)
{
    struct cshm_rwlock_info info;
    cshm_rwlock_describe(scene->lock, &info);
    return info.writer_pid == 0 && info.readers == 0 && info.waiting == 0 &&
           cshm_rwlock_try_acquire_write(scene->lock) == 0 && leave_writing(scene);
}

static const struct wish reading = {acquire_reading, try_reading, at_reading, leave_reading};
static const struct wish writing = {acquire_writing, try_writing, at_writing, leave_writing};

/* ---- once: nobody ever does it ---- */

static int begun(int status)
{
    return status > 0 ? 0 : status == 0 ? -EALREADY : status;
}

static int acquire_run(struct scene *scene, int64_t deadline_ns)
{
    return begun(cshm_once_begin_until(scene->region, &scene->shared->once, deadline_ns));
}

static int try_run(struct scene *scene, bool is_woken)
{
    (void)is_woken;
    return begun(cshm_once_try_begin(scene->region, &scene->shared->once));
}

static uint32_t at_run(struct scene *scene, struct cshm_waitable *places)
{
    cshm_once_waitable(&scene->shared->once, &places[0]);
    return 1;
}

static bool leave_run(struct scene *scene)
{
    return cshm_once_end(scene->region, &scene->shared->once, 0) == 0;
}

static bool once_is_whole(struct scene *scene)
{
    int status = cshm_once_try_begin(scene->region, &scene->shared->once);
    return status > 0 && leave_run(scene) && status == CSHM_ONCE_RUN;
}

static const struct wish run = {acquire_run, try_run, at_run, leave_run};

/* ---- value: whoever has it changes half of it, and thinks better of it if it lives ---- */

static int half_changed(int status, void *bytes)
{
    if (status == 0) {
        memset(bytes, 0xff, DEATH_WORDS * 8 / 2);
    }
    return status;
}

static int acquire_edit(struct scene *scene, int64_t deadline_ns)
{
    void *bytes = NULL;
    int status = cshm_value_edit_until(scene->value, &bytes, deadline_ns);
    return half_changed(status, bytes);
}

static int try_edit(struct scene *scene, bool is_woken)
{
    void *bytes = NULL;
    int status = is_woken ? cshm_value_try_edit_woken(scene->value, &bytes)
                          : cshm_value_try_edit(scene->value, &bytes);
    return half_changed(status, bytes);
}

static uint32_t at_edit(struct scene *scene, struct cshm_waitable *places)
{
    cshm_value_editable(scene->value, &places[0]);
    return 1;
}

static bool leave_edit(struct scene *scene)
{
    cshm_value_abort(scene->value);
    return true;
}

static bool value_is_whole(struct scene *scene)
{
    static const uint64_t old[DEATH_WORDS];
    uint64_t now[DEATH_WORDS];
    void *bytes = NULL;
    if (cshm_value_load(scene->value, now) != 0 || memcmp(now, old, sizeof now) != 0 ||
        cshm_value_try_edit(scene->value, &bytes) != 0) {
        return false;
    }
    return leave_edit(scene);
}

static const struct wish edit = {acquire_edit, try_edit, at_edit, leave_edit};

/* ---- array: all its elements are the same, but while they are changed ---- */

static int half_stored(struct scene *scene, int status)
{
    volatile uint64_t *element = scene->array.elements;
    if (status == 1) {
        for (uint32_t i = 0; i < DEATH_WORDS; i++) {
            element[i] = element[DEATH_WORDS - 1];
        }
        status = cshm_mutex_repair(scene->array.mutex);
    }
    for (uint32_t i = 0; status == 0 && i < DEATH_WORDS / 2; i++) {
        element[i] = element[i] + 1;
    }
    return status;
}

static int acquire_array(struct scene *scene, int64_t deadline_ns)
{
    return half_stored(scene, cshm_mutex_acquire_until(scene->array.mutex, deadline_ns));
}

static int try_array(struct scene *scene, bool is_woken)
{
    return half_stored(scene, is_woken ? cshm_mutex_try_acquire_woken(scene->array.mutex)
                                       : cshm_mutex_try_acquire(scene->array.mutex));
}

static uint32_t at_array(struct scene *scene, struct cshm_waitable *places)
{
    cshm_mutex_waitable(scene->array.mutex, &places[0]);
    return 1;
}

static bool leave_array(struct scene *scene)
{
    volatile uint64_t *element = scene->array.elements;
    for (uint32_t i = DEATH_WORDS / 2; i < DEATH_WORDS; i++) {
        element[i] = element[i] + 1;
    }
    return cshm_mutex_release(scene->array.mutex) == 0;
}

static bool array_is_whole(struct scene *scene)
{
    const uint64_t *element = scene->array.elements;
    for (uint32_t i = 1; i < DEATH_WORDS; i++) {
        if (element[i] != element[0]) {
            return false;
        }
    }
    return mutex_is_free(scene->array.mutex);
}

static const struct wish array = {acquire_array, try_array, at_array, leave_array};

const struct noun death_owned[] = {
    [BENCH_MUTEX] = {&death_mutex, &death_mutex, &death_mutex, NULL, mutex_is_whole, false},
    [BENCH_ROBUST] = {&robust, &robust, &robust, NULL, robust_is_whole, false},
    [BENCH_BATON] = {&baton, &baton, &baton, NULL, baton_is_whole, false},
    [BENCH_PERMITS] = {&permits, &permits, &permits, NULL, permits_are_whole, false},
    [BENCH_READER] = {&reading, &writing, &writing, NULL, lock_is_whole, false},
    [BENCH_WRITER] = {&writing, &writing, &reading, NULL, lock_is_whole, false},
    [BENCH_ONCE] = {&run, &run, &run, NULL, once_is_whole, false},
    [BENCH_VALUE] = {&edit, &edit, &edit, NULL, value_is_whole, false},
    [BENCH_ARRAY] = {&array, &array, &array, NULL, array_is_whole, false},
};
