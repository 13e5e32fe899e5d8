/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See rwlock_line.h for the model. Pairs:
 *
 *   [line]  who lines up stores its number, then LINED, then looks for lower ones; who goes swaps its
 *           place for 0, then looks for who is the first now, and wakes it (all seq_cst): either the one
 *           sees that the other has gone, or is seen, and woken
 *
 * The stores to a place, in order, and what others find if its writer ends there:
 *
 *   ENTERING         no number that counts: freed by who finds no free place
 *   a number
 *   LINED            freed by who waits behind it, within a slice
 *   PASSED           by another; does not count, and is freed as ENTERING is
 *   0                nothing; if the next was not woken, it looks after a slice
 */
#include "rwlock_line.h"

#include <errno.h>

#include <cshm/mutex.h>
#include <cshm/participant.h>
#include <cshm/rwlock.h>

_Static_assert(CSHM_RWLOCK_PLACES == CSHM_RWLOCK_LINE_MAX, "places");

enum {
    SLICE_NS = 25000000,
    /* Who has waited so long goes before all that come later. */
    OVERDUE_NS = 10000000,
    /* So long a writer waits at the mutex without a place. */
    CASUAL_NS = 1000000,
    /* So long who is the first may let the mutex be free, before it is passed over. */
    GRACE_NS = 20000000,
};

static const uint32_t NO_PLACE = UINT32_MAX;

/* of a place: {kind:16, stamp:48}, or 0 */
#define ENTERING     (1ull << 48)
#define LINED        (2ull << 48)
#define PASSED       (3ull << 48)
#define STAMP(owner) ((owner) & 0xffffffffffffull)
#define KIND(owner)  ((owner) & ~0xffffffffffffull)

/* One who waits. */
struct writer {
    cshm_region *region;
    struct cshm_rwlock_shared *shared;
    uint64_t self;
    uint64_t came; /* by cshm_now_ns() */
    uint32_t place;
    uint64_t number;
    /* The mutex has been free since then, and that number was the first. */
    int64_t free_since;
    uint64_t first_number;
    uint32_t turns;
};

/* ---- places ---- */

static uint64_t load_owner(const struct cshm_rwlock_shared *shared, uint32_t place)
{
    return atomic_load_explicit(&shared->line[place].owner, memory_order_seq_cst); /* [line] */
}

static bool swap_owner(struct cshm_rwlock_shared *shared, uint32_t place, uint64_t seen,
                       uint64_t next)
{
    return atomic_compare_exchange_strong_explicit(&shared->line[place].owner, &seen, next,
                                                   memory_order_seq_cst, /* [line] */
                                                   memory_order_seq_cst);
}

static uint64_t number_of(const struct cshm_rwlock_shared *shared, uint32_t place)
{
    /* relaxed: stored before LINED, which was loaded */
    return atomic_load_explicit(&shared->line[place].number, memory_order_relaxed);
}

/* Who is in line with the lowest number, below that one. */
static uint32_t first_below(const struct cshm_rwlock_shared *shared, uint64_t number)
{
    /* acquire: raised before LINED is stored */
    uint32_t used = atomic_load_explicit(&shared->places_used, memory_order_acquire);
    uint32_t first = NO_PLACE;
    for (uint32_t place = 0; place < used && place < CSHM_RWLOCK_PLACES; place++) {
        if (KIND(load_owner(shared, place)) == LINED && number_of(shared, place) < number) {
            first = place;
            number = number_of(shared, place);
        }
    }
    return first;
}

/* Whether who comes now has to let others go first. */
static bool somebody_is_overdue(const struct cshm_rwlock_shared *shared)
{
    uint32_t first = first_below(shared, UINT64_MAX);
    return first != NO_PLACE && (int64_t)number_of(shared, first) <= cshm_now_ns() - OVERDUE_NS;
}

/* After somebody has gone, or does not count any more. */
static void wake_first(struct cshm_rwlock_shared *shared)
{
    uint32_t first = first_below(shared, UINT64_MAX);
    if (first != NO_PLACE) {
        cshm_park_wake_one(&shared->line[first].park);
    }
}

static void free_dead(const struct writer *writer)
{
    for (uint32_t place = 0; place < CSHM_RWLOCK_PLACES; place++) {
        uint64_t owner = load_owner(writer->shared, place);
        if (owner != 0 && cshm_participant_is_gone(writer->region, STAMP(owner)) == 1 &&
            swap_owner(writer->shared, place, owner, 0)) {
            wake_first(writer->shared);
        }
    }
}

/* ---- lining up ---- */

static void raise_used(struct cshm_rwlock_shared *shared, uint32_t used)
{
    uint32_t seen = atomic_load_explicit(&shared->places_used, memory_order_relaxed);
    while (seen < used &&
           !atomic_compare_exchange_weak_explicit(&shared->places_used, &seen, used,
                                                  memory_order_release, memory_order_relaxed)) {
    }
}

static int attempt_place(void *context)
{
    struct writer *writer = context;
    struct cshm_rwlock_shared *shared = writer->shared;
    for (uint32_t place = 0; place < CSHM_RWLOCK_PLACES; place++) {
        if (load_owner(shared, place) == 0 &&
            swap_owner(shared, place, 0, writer->self | ENTERING)) {
            writer->place = place;
            return 0;
        }
    }
    return -EAGAIN;
}

static bool look_for_dead(void *context)
{
    free_dead(context);
    return false;
}

/* @returns 0, -ETIMEDOUT or -EPROTO. */
static int line_up(struct writer *writer, int64_t deadline_ns)
{
    struct cshm_rwlock_shared *shared = writer->shared;
    int status = attempt_place(writer);
    if (status == -EAGAIN) {
        free_dead(writer);
        status =
            cshm__await_peer(&shared->no_place, attempt_place, look_for_dead, writer, deadline_ns);
    }
    if (status != 0) {
        return status;
    }
    raise_used(shared, writer->place + 1);
    /* When it came, and no two the same. */
    writer->number = (writer->came & ~(uint64_t)(CSHM_RWLOCK_PLACES - 1)) | writer->place;
    atomic_store_explicit(&shared->line[writer->place].number, writer->number,
                          memory_order_relaxed);
    bool lined = swap_owner(shared, writer->place, writer->self | ENTERING, writer->self | LINED);
    return lined ? 0 : -EPROTO;
}

static void leave_line(const struct writer *writer)
{
    struct cshm_rwlock_shared *shared = writer->shared;
    atomic_store_explicit(&shared->line[writer->place].owner, 0, memory_order_seq_cst); /* [line] */
    wake_first(shared);
    cshm_park_wake_one(&shared->no_place);
}

/* ---- waiting ---- */

/* Counts again, if it was passed over: it runs. */
static void come_back(const struct writer *writer)
{
    uint64_t passed = writer->self | PASSED;
    if (load_owner(writer->shared, writer->place) == passed) {
        (void)swap_owner(writer->shared, writer->place, passed, writer->self | LINED);
    }
}

static int attempt_turn(void *context)
{
    const struct writer *writer = context;
    come_back(writer);
    return first_below(writer->shared, writer->number) == NO_PLACE ? 0 : -EAGAIN;
}

static bool is_free(struct cshm_rwlock_shared *shared)
{
    struct cshm_waitable mutex;
    cshm_mutex_waitable(&shared->writer, &mutex);
    return mutex.is_ready(mutex.object) != 0;
}

/* Whether the first, with that number, has let the mutex be for too long. */
static bool lets_it_be(struct writer *writer, uint64_t number)
{
    /* relaxed: compared with what this thread saw before */
    uint32_t turns = atomic_load_explicit(&writer->shared->turns, memory_order_relaxed);
    int64_t now = cshm_now_ns();
    if (!is_free(writer->shared)) {
        writer->free_since = 0;
    } else if (writer->free_since == 0 || writer->first_number != number ||
               writer->turns != turns) {
        writer->free_since = now;
        writer->first_number = number;
        writer->turns = turns;
    }
    return writer->free_since != 0 && now - writer->free_since >= GRACE_NS;
}

/* Before each sleep. @returns whether it is worth another look. */
static bool look_after_first(void *context)
{
    struct writer *writer = context;
    struct cshm_rwlock_shared *shared = writer->shared;
    uint32_t first = first_below(shared, writer->number);
    uint64_t owner = first == NO_PLACE ? 0 : load_owner(shared, first);
    if (KIND(owner) != LINED) {
        return true; /* it has just gone */
    }
    uint64_t next = 0;
    if (cshm_participant_is_gone(writer->region, STAMP(owner)) != 1) {
        if (!lets_it_be(writer, number_of(shared, first))) {
            return false;
        }
        next = STAMP(owner) | PASSED;
    }
    if (swap_owner(shared, first, owner, next)) {
        wake_first(shared);
    }
    return true;
}

static int64_t min_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int wait_for_turn(struct writer *writer, int64_t deadline_ns)
{
    int status = attempt_turn(writer);
    while (status == -EAGAIN || status == -EPIPE) { /* -EPIPE: others go first all the same */
        status = cshm__await_peer(&writer->shared->line[writer->place].park, attempt_turn,
                                  look_after_first, writer, deadline_ns);
    }
    return status;
}

static int acquire_in_turn(struct writer *writer, int64_t deadline_ns)
{
    int status = wait_for_turn(writer, deadline_ns);
    while (status == 0) {
        int64_t end = min_of(cshm_now_ns() + SLICE_NS, deadline_ns);
        int had = cshm_mutex_acquire_until(&writer->shared->writer, end);
        if (had != -ETIMEDOUT || end == deadline_ns) {
            return had;
        }
        come_back(writer);
    }
    return status;
}

int cshm__line_try(struct cshm_rwlock_shared *shared)
{
    if (!somebody_is_overdue(shared)) {
        return cshm_mutex_try_acquire(&shared->writer);
    }
    return cshm__mutex_is_mine(&shared->writer) ? -EDEADLK : -EAGAIN;
}

int cshm__line_acquire(cshm_region *region, struct cshm_rwlock_shared *shared, int64_t deadline_ns)
{
    int64_t now = cshm_now_ns();
    struct writer writer = {
        .region = region, .shared = shared, .self = cshm__self(region), .came = (uint64_t)now};
    int64_t casual = min_of(now + CASUAL_NS, deadline_ns);
    int status = -ETIMEDOUT;
    if (casual == deadline_ns || !somebody_is_overdue(shared)) {
        status = cshm_mutex_acquire_until(&shared->writer, casual);
    }
    if (status != -ETIMEDOUT || casual == deadline_ns) {
        return status;
    }
    status = line_up(&writer, deadline_ns);
    if (status != 0) {
        return status;
    }
    status = acquire_in_turn(&writer, deadline_ns);
    leave_line(&writer);
    return status;
}

void cshm__line_count(struct cshm_rwlock_shared *shared)
{
    /* relaxed: only the mutex's owner stores it, and nothing is read by it */
    uint32_t turns = atomic_load_explicit(&shared->turns, memory_order_relaxed);
    atomic_store_explicit(&shared->turns, turns + 1, memory_order_relaxed);
}

uint32_t cshm__line_length(const struct cshm_rwlock_shared *shared)
{
    uint32_t length = 0;
    for (uint32_t place = 0; place < CSHM_RWLOCK_PLACES; place++) {
        uint64_t kind = KIND(load_owner(shared, place));
        length += kind == LINED || kind == PASSED;
    }
    return length;
}
