/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/rwlock.h for the model. Pairs:
 *
 *   [read]   a reader claims its cell, looks at the state; a writer stores the state, looks at the
 *            cells (all seq_cst) -> one of the two sees the other
 *   [drain]  a reader's last loads, then its cell is freed (release) -> a writer loads it (seq_cst)
 *   [grant]  a writer's last stores, then WAITING is swapped for READING (seq_cst) -> the reader loads
 *            its cell; or the state is stored (seq_cst) -> a reader loads it
 *
 * A freed cell is a mere store: who waits for it pays, as [announce] of park.c says.
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
#include <cshm/rwlock.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

#include "rwlock_line.h"

enum {
    MAGIC = 0x72776c6b, /* "rwlk" */
    /* of the state */
    WANTED = 1, /* a writer has it or waits for readers */
    WRITING = 2,
    INHERITED = 4, /* a writer died writing */
    BROKEN = 8,
    ANNOUNCED = 16, /* alone: who comes to read waits for the announcer, which waits for readers */
};

/* So long the announcer may let the lock be, before readers go on; it announces itself anew when it looks
 * and somebody reads. */
static const int64_t GRACE_NS = 20000000;

static const uint32_t NO_CELL = UINT32_MAX;
static const int64_t NO_WAIT = INT64_MIN;

/* of a cell: {kind:16, stamp:48}, or 0 */
#define READING    (1ull << 48)
#define WAITING    (2ull << 48)
#define LEAVING    (3ull << 48) /* nobody else's any more, and about to be freed */
#define STAMP(own) ((own) & 0xffffffffffffull)
#define KIND(own)  ((own) & ~0xffffffffffffull)

struct cshm_rwlock {
    cshm_region *region;
    struct cshm_rwlock_shared *shared;
    uint32_t cells;
};

static uint64_t size_of(uint32_t cells)
{
    return sizeof(struct cshm_rwlock_shared) + cells * (uint64_t)sizeof(struct cshm_reader_cell);
}

/* ---- create, open ---- */

int cshm_rwlock_create(cshm_region *region, uint32_t readers_max, uint64_t *offset)
{
    uint64_t place = 0;
    if (readers_max == 0 || readers_max > CSHM_RWLOCK_READERS_MAX) {
        return -EINVAL;
    }
    int status = cshm_heap_allocate(region, size_of(readers_max), &place);
    if (status != 0) {
        return status;
    }
    struct cshm_rwlock_shared *shared = cshm_heap_pointer(region, place, size_of(readers_max));
    if (shared == NULL) {
        return -EPROTO;
    }
    memset((void *)shared, 0, size_of(readers_max));
    cshm_mutex_init(&shared->writer);
    shared->cells = readers_max;
    shared->magic = MAGIC;
    *offset = place;
    return 0;
}

int cshm_rwlock_open(cshm_region *region, uint64_t offset, cshm_rwlock **out)
{
    struct cshm_rwlock_shared *shared = cshm_heap_pointer(region, offset, sizeof *shared);
    if (shared == NULL || offset % CSHM_LINE != 0 || shared->magic != MAGIC) {
        return -EPROTO;
    }
    uint32_t cells = shared->cells;
    if (cells == 0 || cells > CSHM_RWLOCK_READERS_MAX ||
        cshm_heap_pointer(region, offset, size_of(cells)) == NULL) {
        return -EPROTO;
    }
    cshm_rwlock *lock = calloc(1, sizeof *lock);
    if (lock == NULL) {
        return -ENOMEM;
    }
    lock->region = region;
    lock->shared = shared;
    lock->cells = cells;
    *out = lock;
    return 0;
}

void cshm_rwlock_close(cshm_rwlock *lock)
{
    free(lock);
}

void cshm_rwlock_destroy(cshm_rwlock *lock)
{
    (void)cshm_heap_free(lock->region, cshm_heap_offset(lock->region, lock->shared));
    free(lock);
}

/* ---- cells ---- */

static inline uint64_t load_cell(const cshm_rwlock *lock, uint32_t index)
{
    /* seq_cst: [read], [drain], [grant] */
    return atomic_load_explicit(&lock->shared->cell[index].owner, memory_order_seq_cst);
}

static inline bool swap_cell(const cshm_rwlock *lock, uint32_t index, uint64_t seen, uint64_t next)
{
    return atomic_compare_exchange_strong_explicit(&lock->shared->cell[index].owner, &seen, next,
                                                   memory_order_seq_cst, /* [read], [grant] */
                                                   memory_order_seq_cst);
}

/* Where a thread begins to look for a cell: its number, mixed, as a part of all cells. */
static inline uint32_t first_of(const cshm_rwlock *lock, uint32_t thread)
{
    return (uint32_t)((uint64_t)(thread * 2654435769u) * lock->cells >> 32);
}

static inline void enter_thread(const cshm_rwlock *lock, uint32_t index, uint32_t thread)
{
    atomic_store_explicit(&lock->shared->cell[index].thread, thread, memory_order_relaxed);
}

/* A cell to read by, or NO_CELL. Threads begin at different ones. */
static uint32_t claim(const cshm_rwlock *lock, uint64_t self)
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

/* Frees the cells of the dead. @returns whether there were any. */
static bool reclaim(const cshm_rwlock *lock)
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

static bool this_thread_reads(const cshm_rwlock *lock, uint64_t self, uint32_t except)
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

static bool somebody_reads(const cshm_rwlock *lock)
{
    for (uint32_t index = 0; index < lock->cells; index++) {
        if (KIND(load_cell(lock, index)) == READING) {
            return true;
        }
    }
    return false;
}

/* ---- the state ---- */

static inline uint32_t load_state(const cshm_rwlock *lock)
{
    return atomic_load_explicit(&lock->shared->state, memory_order_seq_cst); /* [read], [grant] */
}

static void store_state(const cshm_rwlock *lock, uint32_t state)
{
    atomic_store_explicit(&lock->shared->state, state, memory_order_seq_cst); /* [read], [grant] */
}

/* Whether one may read now, by the state alone. */
static int may_read(uint32_t state)
{
    return __builtin_expect(state == 0, 1)       ? 0
           : (state & BROKEN) != 0               ? -ENOTRECOVERABLE
           : (state & (WANTED | ANNOUNCED)) != 0 ? -EAGAIN
                                                 : -EOWNERDEAD;
}

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
    return somebody_reads(lock) && !(reclaim(lock) && !somebody_reads(lock));
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

/* If the writer that readers wait for is dead, or lets the lock be, lets them in. @returns 0, -EDEADLK
 * if it is this thread, -EAGAIN if it is another. */
static int look_after_writer(const cshm_rwlock *lock)
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

/* ---- reading ---- */

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
    if (status == 0 || (status == -EAGAIN && this_thread_reads(lock, reader->self, reader->cell))) {
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
    reader->cell = claim(reader->lock, reader->self);
    return reader->cell == NO_CELL ? -EAGAIN : enter(reader);
}

/* Before each sleep. @returns whether it is worth another look. */
static bool look_after_others(void *context)
{
    struct reader *reader = context;
    if (reader->cell == NO_CELL) {
        /* The first to say so looks again: a cell may have been freed before that. */
        return reclaim(reader->lock) || atomic_exchange_explicit(&reader->lock->shared->crowded, 1,
                                                                 memory_order_seq_cst) == 0;
    }
    return look_after_writer(reader->lock) == 0;
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
        int writer = look_after_writer(reader->lock);
        if (writer != 0 && writer != -EAGAIN) {
            return give_up(reader, writer);
        }
    } else if (!reclaim(reader->lock)) {
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
    /* As claim() and enter() do it, when nobody is in the way. */
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

/* ---- writing ---- */

static int attempt_write(void *context)
{
    return somebody_reads(context) ? -EAGAIN : 0;
}

static bool look_after_readers(void *context)
{
    return reclaim(context);
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
    if (status == -EAGAIN && this_thread_reads(lock, cshm__self(lock->region), NO_CELL)) {
        status = -EDEADLK;
    }
    if (status == -EAGAIN && reclaim(lock)) {
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
        status = this_thread_reads(lock, cshm__self(lock->region), NO_CELL)
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
    uint32_t claimed = claim(lock, self);
    if (claimed == NO_CELL && reclaim(lock)) {
        claimed = claim(lock, self);
    }
    if (claimed == NO_CELL) {
        return -EUSERS;
    }
    *cell = claimed;
    return cshm_rwlock_release_write(lock);
}

/* ---- looking ---- */

void cshm_rwlock_describe(const cshm_rwlock *lock, struct cshm_rwlock_info *out)
{
    struct cshm_mutex_info writer = {0};
    struct cshm_rwlock_info info = {.readers_max = lock->cells,
                                    .writers_waiting = cshm__line_length(lock->shared)};
    if (cshm_mutex_describe(&lock->shared->writer, &writer) == 0) {
        info.writer_pid = writer.holder_pid;
        info.writer_thread = writer.holder_thread;
        info.writer_since_ns = writer.since_ns;
    }
    for (uint32_t index = 0; index < lock->cells; index++) {
        uint64_t cell = load_cell(lock, index);
        info.readers += KIND(cell) == READING;
        info.waiting += KIND(cell) == WAITING;
    }
    *out = info;
}

static int is_readable(const void *object)
{
    const cshm_rwlock *lock = object;
    return (load_state(lock) & (WANTED | ANNOUNCED)) == 0 || look_after_writer(lock) == 0;
}

void cshm_rwlock_readable(const cshm_rwlock *lock, struct cshm_waitable *out)
{
    *out = cshm__at_park(&lock->shared->readers.park, is_readable, lock);
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
    return !somebody_reads(lock);
}

void cshm_rwlock_writable(const cshm_rwlock *lock, struct cshm_waitable out[2])
{
    cshm_mutex_waitable(&lock->shared->writer, &out[0]);
    out[0].is_ready = is_writable;
    out[0].object = lock;
    out[1] = cshm__at_park(&lock->shared->drained.park, is_writable, lock);
}
