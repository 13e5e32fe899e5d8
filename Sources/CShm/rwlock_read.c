/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Cells, and reading by them. See rwlock_view.h.
 *
 * A freed cell is a mere store: who waits for it pays, as [announce] of park.c says.
 */
#include "rwlock_view.h"

#include <errno.h>

#include <cshm/participant.h>

/* ---- cells ---- */

/* Where a thread begins to look for a cell: its number, mixed, as a part of all cells. */
static inline uint32_t first_of(const cshm_rwlock *lock, uint32_t thread)
{
    return (uint32_t)((uint64_t)(thread * 2654435769u) * lock->cells >> 32);
}

static inline void enter_thread(const cshm_rwlock *lock, uint32_t index, uint32_t thread)
{
    atomic_store_explicit(&lock->shared->cell[index].thread, thread, memory_order_relaxed);
}

uint32_t cshm__rwlock_claim(const cshm_rwlock *lock, uint64_t self)
{
    uint32_t thread = (uint32_t)cshm__thread();
    uint32_t index = first_of(lock, thread);
    for (uint32_t looked = 0; looked < lock->cells; looked++) {
        /* The first is not looked at before: its line would come over twice. */
        if ((looked == 0 || load_cell(lock, index) == 0) &&
            swap_cell(lock, index, 0, self | READING)) {
            enter_thread(lock, index, thread);
            return index;
        }
        index = index + 1 == lock->cells ? 0 : index + 1;
    }
    return NO_CELL;
}

/* After a cell has become free, or one that read waits. */
static void tell_writer(const cshm_rwlock *lock)
{
    cshm__publish_barrier();
    /* All: it has the mutex, and others who wait for readers without it may sleep there, too. */
    cshm__park_wake_all_after_store(&lock->shared->drained.park);
}

/* Frees a cell that nobody else may change. Its thread goes first: else its next owner might, for an
 * instant, seem to be a thread of the last one. */
static void free_cell(const cshm_rwlock *lock, uint32_t index)
{
    struct cshm_reader_cell *cell = &lock->shared->cell[index];
    atomic_store_explicit(&cell->thread, 0, memory_order_relaxed);
    atomic_store_explicit(&cell->owner, 0, memory_order_release); /* [drain] */
    tell_writer(lock);
    if (__builtin_expect(atomic_load_explicit(&lock->shared->crowded, memory_order_relaxed), 0)) {
        cshm_park_wake_all(&lock->shared->readers.park);
    }
}

/* Frees a cell as it was seen, unless somebody has changed it. @returns whether it did. */
static bool leave_cell(const cshm_rwlock *lock, uint64_t self, uint32_t index, uint64_t seen)
{
    if (!swap_cell(lock, index, seen, self | LEAVING)) {
        return false;
    }
    free_cell(lock, index);
    return true;
}

bool cshm__rwlock_reclaim(const cshm_rwlock *lock)
{
    uint64_t self = cshm__self(lock->region);
    bool freed = false;
    for (uint32_t index = 0; index < lock->cells; index++) {
        uint64_t cell = load_cell(lock, index);
        if (cell != 0 && STAMP(cell) != self &&
            cshm_participant_is_gone(lock->region, STAMP(cell)) == 1) {
            freed |= leave_cell(lock, self, index, cell);
        }
    }
    return freed;
}

bool cshm__rwlock_this_thread_reads(const cshm_rwlock *lock, uint64_t self, uint32_t except)
{
    uint32_t thread = (uint32_t)cshm__thread();
    for (uint32_t index = 0; index < lock->cells; index++) {
        if (index != except && load_cell(lock, index) == (self | READING) &&
            atomic_load_explicit(&lock->shared->cell[index].thread, memory_order_relaxed) ==
                thread) {
            return true;
        }
    }
    return false;
}

bool cshm__rwlock_somebody_reads(const cshm_rwlock *lock)
{
    for (uint32_t index = 0; index < lock->cells; index++) {
        if (KIND(load_cell(lock, index)) == READING) {
            return true;
        }
    }
    return false;
}

/* ---- reading ---- */

/* Whether one may read now, by the state alone. */
static int may_read(uint32_t state)
{
    return __builtin_expect(state == 0, 1)       ? 0
           : (state & BROKEN) != 0               ? -ENOTRECOVERABLE
           : (state & (WANTED | ANNOUNCED)) != 0 ? -EAGAIN
                                                 : -EOWNERDEAD;
}

struct reader {
    cshm_rwlock *lock;
    uint64_t self;
    uint32_t cell;
    bool waits; /* the cell was made WAITING: if it is READING, the lock was handed over */
};

/* Its cell is READING by its own doing: stays so, becomes WAITING, or is freed. */
static int enter(struct reader *reader)
{
    const cshm_rwlock *lock = reader->lock;
    int status = may_read(load_state(lock));
    if (status == 0 ||
        (status == -EAGAIN && cshm__rwlock_this_thread_reads(lock, reader->self, reader->cell))) {
        return 0;
    }
    if (status != -EAGAIN) {
        free_cell(lock, reader->cell);
    } else if (swap_cell(lock, reader->cell, reader->self | READING, reader->self | WAITING)) {
        reader->waits = true;
        tell_writer(lock);
    } else {
        return -EPROTO;
    }
    return status;
}

/* Its cell is WAITING, or was when last looked at. */
static int go_on(struct reader *reader)
{
    const cshm_rwlock *lock = reader->lock;
    uint64_t waiting = reader->self | WAITING;
    uint64_t cell = load_cell(lock, reader->cell);
    if (cell == (reader->self | READING)) {
        return 0; /* handed over */
    }
    if (cell != waiting) {
        return -EPROTO;
    }
    int status = may_read(load_state(lock));
    if (status == -EAGAIN) {
        return status;
    }
    if (status != 0) {
        return leave_cell(lock, reader->self, reader->cell, waiting) ? status : 0;
    }
    reader->waits = !swap_cell(lock, reader->cell, waiting, reader->self | READING);
    return reader->waits ? 0 : enter(reader);
}

static int attempt_read(void *context)
{
    struct reader *reader = context;
    if (reader->waits) {
        return go_on(reader);
    }
    reader->cell = cshm__rwlock_claim(reader->lock, reader->self);
    return reader->cell == NO_CELL ? -EAGAIN : enter(reader);
}

/* Before each sleep. @returns whether it is worth another look. */
static bool look_after_others(void *context)
{
    struct reader *reader = context;
    if (reader->cell == NO_CELL) {
        /* The first to say so looks again: a cell may have been freed before that. */
        return cshm__rwlock_reclaim(reader->lock) ||
               atomic_exchange_explicit(&reader->lock->shared->crowded, 1, memory_order_seq_cst) ==
                   0;
    }
    return cshm__rwlock_look_after_writer(reader->lock) == 0;
}

/* Waits no longer. @returns 0 if the lock was handed over just before. */
static int give_up(struct reader *reader, int status)
{
    return reader->waits &&
                   !leave_cell(reader->lock, reader->self, reader->cell, reader->self | WAITING)
               ? 0
               : status;
}

static int begin_reading(struct reader *reader)
{
    if (reader->self == 0) {
        return -ECHILD;
    }
    int status = attempt_read(reader);
    if (__builtin_expect(status != -EAGAIN, 1)) {
        return status;
    }
    if (reader->cell != NO_CELL) {
        int writer = cshm__rwlock_look_after_writer(reader->lock);
        if (writer != 0 && writer != -EAGAIN) {
            return give_up(reader, writer);
        }
    } else if (!cshm__rwlock_reclaim(reader->lock)) {
        return status;
    }
    return attempt_read(reader);
}

int cshm_rwlock_try_acquire_read(cshm_rwlock *lock, uint32_t *cell)
{
    struct reader reader = {lock, cshm__self(lock->region), NO_CELL, false};
    int status = begin_reading(&reader);
    if (status == -EAGAIN) {
        status = give_up(&reader, status);
    }
    if (status == 0) {
        *cell = reader.cell;
    }
    return status;
}

static __attribute__((noinline)) int wait_to_read(struct reader *reader, int64_t deadline_ns,
                                                  uint32_t *cell)
{
    int status = begin_reading(reader);
    if (status == -EAGAIN) {
        do { /* -EPIPE: something was put right, and it must wait all the same */
            status = cshm__await_peer(&reader->lock->shared->readers.park, attempt_read,
                                      look_after_others, reader, deadline_ns);
        } while (status == -EPIPE);
        if (status == -ETIMEDOUT) {
            status = give_up(reader, status);
        }
    }
    if (status == 0) {
        *cell = reader->cell;
    }
    return status;
}

int cshm_rwlock_acquire_read_until(cshm_rwlock *lock, int64_t deadline_ns, uint32_t *cell)
{
    uint64_t self = cshm__self(lock->region);
    uint32_t thread = (uint32_t)cshm__thread();
    uint32_t first = first_of(lock, thread);
    /* As cshm__rwlock_claim() and enter() do it, when nobody is in the way. */
    if (self != 0 && load_state(lock) == 0 && swap_cell(lock, first, 0, self | READING)) {
        enter_thread(lock, first, thread);
        if (__builtin_expect(load_state(lock) == 0, 1)) {
            *cell = first;
            return 0;
        }
        free_cell(lock, first);
    }
    struct reader reader = {lock, self, NO_CELL, false};
    return wait_to_read(&reader, deadline_ns, cell);
}

int cshm_rwlock_release_read(cshm_rwlock *lock, uint32_t cell)
{
    uint64_t self = cshm__self(lock->region);
    if (self == 0 || cell >= lock->cells || load_cell(lock, cell) != (self | READING)) {
        return -EPERM;
    }
    free_cell(lock, cell);
    return 0;
}

static int is_readable(const void *object)
{
    const cshm_rwlock *lock = object;
    return (load_state(lock) & (WANTED | ANNOUNCED)) == 0 ||
           cshm__rwlock_look_after_writer(lock) == 0;
}

void cshm_rwlock_readable(const cshm_rwlock *lock, struct cshm_waitable *out)
{
    *out = cshm__at_park(&lock->shared->readers.park, is_readable, lock);
}
