/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Writing, with the writers' mutex or waiting without it. See rwlock_view.h.
 *
 * The state is written by who has the writers' mutex. The stores of a writer, in order, and what the
 * mutex's next owner finds if they end there:
 *
 *   WANTED                   nobody wrote: nothing is inherited, WANTED is stored again or dropped
 *   WANTED | WRITING         inherited
 *   WANTED                   it had left: nothing is inherited
 *   cells, READING           readers that were handed the lock; the next writer waits for them
 *   0                        nothing is left to do
 *
 * Who waits without the mutex announces that, with the mutex, in a free state, and gives it back:
 *
 *   announcer                nothing: it counts in the state ANNOUNCED only
 *   idle_since               nothing
 *   ANNOUNCED                the announcer is gone: who waits to read finds that out, and drops it
 *
 * and withdraws it, without the mutex:
 *
 *   announcer: 0             who looks drops it; those who sleep do so after a slice
 *
 * A writer's turn drops it, too. A try in vain stores it anew; after WANTED alone it is lost, and made
 * again at the announcer's next look.
 */
#include "rwlock_view.h"

#include <errno.h>

#include <cshm/participant.h>

#include "rwlock_line.h"

/* So long the announcer may let the lock be, before readers go on; it announces itself anew when it
 * looks and somebody reads. */
static const int64_t GRACE_NS = 20000000;

static const int64_t NO_WAIT = INT64_MIN;

/* ---- the state ---- */

/* With the mutex: lets readers in, in the state given. */
static void let_readers_in(const cshm_rwlock *lock, uint32_t state)
{
    store_state(lock, state | WANTED); /* who dies from here on was not writing */
    for (uint32_t index = 0; state == 0 && index < lock->cells; index++) {
        uint64_t cell = load_cell(lock, index);
        if (KIND(cell) == WAITING) {
            (void)swap_cell(lock, index, cell, STAMP(cell) | READING);
        }
    }
    store_state(lock, state);
    cshm_park_wake_all(&lock->shared->readers.park);
}

/* With the mutex of a dead writer: what it left. */
static void inherit(const cshm_rwlock *lock)
{
    uint32_t state = load_state(lock);
    if ((state & WRITING) != 0) {
        store_state(lock, (state & WANTED) | INHERITED);
    }
    (void)cshm_mutex_repair(&lock->shared->writer);
}

/* ---- the announcement of who waits to write ---- */

static bool is_read(const cshm_rwlock *lock)
{
    return cshm__rwlock_somebody_reads(lock) &&
           !(cshm__rwlock_reclaim(lock) && !cshm__rwlock_somebody_reads(lock));
}

/* With the mutex. */
static void store_announcement(const cshm_rwlock *lock)
{
    struct cshm_rwlock_shared *shared = lock->shared;
    /* relaxed: read by who has the mutex */
    atomic_store_explicit(&shared->announcer, cshm__self(lock->region), memory_order_relaxed);
    atomic_store_explicit(&shared->idle_since, 0, memory_order_relaxed);
    store_state(lock, ANNOUNCED);
}

/* Somebody reads: those that come later wait. */
static void announce(const cshm_rwlock *lock)
{
    struct cshm_rwlock_shared *shared = lock->shared;
    if (cshm__self(lock->region) == 0 || load_state(lock) != 0) {
        return;
    }
    int status = cshm_mutex_try_acquire(&shared->writer);
    if (status < 0) {
        return;
    }
    if (status == 1) {
        inherit(lock);
    }
    if (load_state(lock) == 0) {
        store_announcement(lock);
    }
    (void)cshm_mutex_release(&shared->writer);
}

/* With the mutex, in the state ANNOUNCED: whether nobody has to wait for the announcer any more. */
static bool is_announced_in_vain(const cshm_rwlock *lock)
{
    struct cshm_rwlock_shared *shared = lock->shared;
    /* relaxed, all: stored with the mutex; what was withdrawn meanwhile is seen at the next look */
    uint64_t announcer = atomic_load_explicit(&shared->announcer, memory_order_relaxed);
    if (announcer == 0 || cshm_participant_is_gone(lock->region, announcer) != 0) {
        return true;
    }
    int64_t now = cshm_now_ns();
    int64_t since = atomic_load_explicit(&shared->idle_since, memory_order_relaxed);
    if (is_read(lock)) {
        since = 0;
    } else if (since <= 0 || since > now) { /* it begins; or these are not our bytes */
        since = now;
    } else if (now - since >= GRACE_NS) {
        return true;
    }
    atomic_store_explicit(&shared->idle_since, since, memory_order_relaxed);
    return false;
}

void cshm_rwlock_withdraw_write(cshm_rwlock *lock)
{
    uint64_t announcer = cshm__self(lock->region);
    if (announcer != 0 &&
        atomic_compare_exchange_strong_explicit(&lock->shared->announcer, &announcer, 0,
                                                memory_order_seq_cst, memory_order_relaxed)) {
        cshm_park_wake_all(&lock->shared->readers.park);
    }
}

int cshm__rwlock_look_after_writer(const cshm_rwlock *lock)
{
    int status = cshm_mutex_try_acquire(&lock->shared->writer);
    if (status < 0) {
        return status;
    }
    if (status == 1) {
        inherit(lock);
    }
    /* Unless others have looked after it: readers would wake each other without end. */
    uint32_t state = load_state(lock);
    if ((state & WANTED) != 0 || (state == ANNOUNCED && is_announced_in_vain(lock))) {
        let_readers_in(lock, state & (INHERITED | BROKEN));
    } else if (state == ANNOUNCED) {
        status = -EAGAIN;
    }
    (void)cshm_mutex_release(&lock->shared->writer);
    return status < 0 ? status : 0;
}

/* ---- writing ---- */

static int attempt_write(void *context)
{
    return cshm__rwlock_somebody_reads(context) ? -EAGAIN : 0;
}

static bool look_after_readers(void *context)
{
    return cshm__rwlock_reclaim(context);
}

/* With the mutex: waits for the readers. @returns 0, 1 if it is inherited, or an error, and then
 * without the mutex. */
static int drain(cshm_rwlock *lock, int64_t deadline_ns, bool is_woken)
{
    uint32_t before = load_state(lock);
    uint32_t left = before & (INHERITED | BROKEN); /* what others left */
    int status = (left & BROKEN) != 0 ? -ENOTRECOVERABLE : 0;
    if (status == 0) {
        store_state(lock, left | WANTED); /* [read] */
        status = attempt_write(lock);
    }
    if (status == -EAGAIN &&
        cshm__rwlock_this_thread_reads(lock, cshm__self(lock->region), NO_CELL)) {
        status = -EDEADLK;
    }
    if (status == -EAGAIN && cshm__rwlock_reclaim(lock)) {
        status = attempt_write(lock);
    }
    while ((status == -EAGAIN && deadline_ns != NO_WAIT) || status == -EPIPE) {
        status = cshm__await_peer(&lock->shared->drained.park, attempt_write, look_after_readers,
                                  lock, deadline_ns);
    }
    if (status != 0) {
        if (before == ANNOUNCED) {
            store_state(lock, ANNOUNCED);
        } else if (is_woken && before == 0 && status == -EAGAIN) {
            store_announcement(lock); /* at once: readers and its tries might meet without end */
        } else {
            let_readers_in(lock, left);
        }
        (void)cshm_mutex_release(&lock->shared->writer);
        return status;
    }
    store_state(lock, left | WANTED | WRITING);
    return left == INHERITED ? 1 : 0;
}

static int write_with(cshm_rwlock *lock, int mutex_status, int64_t deadline_ns, bool is_woken)
{
    if (mutex_status < 0) {
        return mutex_status;
    }
    cshm__line_count(lock->shared);
    if (mutex_status == 1) {
        inherit(lock);
    }
    return drain(lock, deadline_ns, is_woken);
}

int cshm_rwlock_try_acquire_write(cshm_rwlock *lock)
{
    if (cshm__self(lock->region) == 0) {
        return -ECHILD;
    }
    return write_with(lock, cshm_mutex_try_acquire(&lock->shared->writer), NO_WAIT, false);
}

int cshm_rwlock_try_acquire_write_woken(cshm_rwlock *lock)
{
    if (cshm__self(lock->region) == 0) {
        return -ECHILD;
    }
    return write_with(lock, cshm_mutex_try_acquire_woken(&lock->shared->writer), NO_WAIT, true);
}

int cshm_rwlock_acquire_write_until(cshm_rwlock *lock, int64_t deadline_ns)
{
    if (cshm__self(lock->region) == 0) {
        return -ECHILD;
    }
    int64_t deadline = deadline_ns == NO_WAIT ? 0 : deadline_ns;
    int status = cshm__line_try(lock->shared);
    if (status ==
        -EAGAIN) { /* the writer before it may be waiting for this thread to read no more */
        status = cshm__rwlock_this_thread_reads(lock, cshm__self(lock->region), NO_CELL)
                     ? -EDEADLK
                     : cshm__line_acquire(lock->region, lock->shared, deadline);
    }
    return write_with(lock, status, deadline, false);
}

static bool this_thread_writes(const cshm_rwlock *lock)
{
    return cshm__mutex_is_mine(&lock->shared->writer) && (load_state(lock) & WRITING) != 0;
}

int cshm_rwlock_repair(cshm_rwlock *lock)
{
    if (!this_thread_writes(lock)) {
        return -EPERM;
    }
    uint32_t state = load_state(lock);
    if ((state & INHERITED) == 0) {
        return -EINVAL;
    }
    store_state(lock, state & ~(uint32_t)INHERITED);
    return 0;
}

int cshm_rwlock_release_write(cshm_rwlock *lock)
{
    if (!this_thread_writes(lock)) {
        return -EPERM;
    }
    let_readers_in(lock, (load_state(lock) & INHERITED) != 0 ? BROKEN : 0);
    return cshm_mutex_release(&lock->shared->writer);
}

int cshm_rwlock_downgrade(cshm_rwlock *lock, uint32_t *cell)
{
    uint64_t self = cshm__self(lock->region);
    if (!this_thread_writes(lock) || self == 0) {
        return -EPERM;
    }
    if ((load_state(lock) & INHERITED) != 0) {
        return -EINVAL;
    }
    uint32_t claimed = cshm__rwlock_claim(lock, self);
    if (claimed == NO_CELL && cshm__rwlock_reclaim(lock)) {
        claimed = cshm__rwlock_claim(lock, self);
    }
    if (claimed == NO_CELL) {
        return -EUSERS;
    }
    *cell = claimed;
    return cshm_rwlock_release_write(lock);
}

static int is_writable(const void *object)
{
    const cshm_rwlock *lock = object;
    struct cshm_waitable mutex;
    cshm_mutex_waitable(&lock->shared->writer, &mutex);
    if (mutex.is_ready(mutex.object) == 0) {
        return 0;
    }
    if (is_read(lock)) {
        announce(lock);
    }
    return !cshm__rwlock_somebody_reads(lock);
}

void cshm_rwlock_writable(const cshm_rwlock *lock, struct cshm_waitable out[2])
{
    cshm_mutex_waitable(&lock->shared->writer, &out[0]);
    out[0].is_ready = is_writable;
    out[0].object = lock;
    out[1] = cshm__at_park(&lock->shared->drained.park, is_writable, lock);
}
