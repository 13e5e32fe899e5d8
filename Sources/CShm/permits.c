/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/permits.h for the model. Pairs:
 *
 *   [permit]  a cell is freed by a compare-and-swap (release) -> taken by one (acquire)
 *   [none]    all cells are loaded (acquire), and then again. A cell that is the same both times has
 *             been the same: its number changes when it is freed. So between the two none was free,
 *             or so many were whose they were.
 *
 * A cell is {number:16, stamp:48}; with a stamp of 0 it is free. A number comes again after 65536
 * releases of one cell; the look would have to be held up for exactly that long.
 *
 * The stores are the compare-and-swaps, the last time somebody asked for the dead, and two hints:
 * any of them may be the last.
 */
#include <cshm/permits.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

#include "internal.h"

enum {
    MAGIC = 0x7065726d, /* "perm" */
};

#define STAMP(cell) ((cell) & 0xffffffffffffull)
#define FREED(cell) (((cell) & ~0xffffffffffffull) + (1ull << 48))

struct cshm_permits {
    cshm_region *region;
    struct cshm_permits_shared *shared;
    uint32_t count;
    _Atomic uint32_t hint; /* the cell that this process had last */
};

static uint64_t size_of(uint32_t count)
{
    return sizeof(struct cshm_permits_shared) + 8 * (uint64_t)count;
}

/* ---- create, open ---- */

int cshm_permits_create(cshm_region *region, uint32_t count, uint64_t *offset)
{
    uint64_t place = 0;
    if (count == 0 || count > CSHM_PERMITS_MAX) {
        return -EINVAL;
    }
    int status = cshm_heap_allocate(region, size_of(count), &place);
    if (status != 0) {
        return status;
    }
    struct cshm_permits_shared *shared = cshm_heap_pointer(region, place, size_of(count));
    if (shared == NULL) {
        return -EPROTO;
    }
    memset((void *)shared, 0, size_of(count));
    shared->count = count;
    shared->magic = MAGIC;
    *offset = place;
    return 0;
}

int cshm_permits_open(cshm_region *region, uint64_t offset, cshm_permits **out)
{
    struct cshm_permits_shared *shared = cshm_heap_pointer(region, offset, sizeof *shared);
    if (shared == NULL || offset % CSHM_LINE != 0 || shared->magic != MAGIC) {
        return -EPROTO;
    }
    uint32_t count = shared->count;
    if (count == 0 || count > CSHM_PERMITS_MAX ||
        cshm_heap_pointer(region, offset, size_of(count)) == NULL) {
        return -EPROTO;
    }
    cshm_permits *permits = calloc(1, sizeof *permits);
    if (permits == NULL) {
        return -ENOMEM;
    }
    permits->region = region;
    permits->shared = shared;
    permits->count = count;
    /* Processes begin at different cells. */
    atomic_init(&permits->hint, (uint32_t)(cshm__self(region) & 0xffff) % count);
    *out = permits;
    return 0;
}

void cshm_permits_close(cshm_permits *permits)
{
    free(permits);
}

void cshm_permits_destroy(cshm_permits *permits)
{
    (void)cshm_heap_free(permits->region, cshm_heap_offset(permits->region, permits->shared));
    free(permits);
}

/* ---- one cell ---- */

static inline uint64_t load(const cshm_permits *permits, uint32_t index)
{
    return atomic_load_explicit(&permits->shared->cell[index], memory_order_acquire);
}

static inline bool swap(const cshm_permits *permits, uint32_t index, uint64_t seen, uint64_t next)
{
    /* seq_cst: [permit], and before the look at the parking word */
    return atomic_compare_exchange_strong_explicit(&permits->shared->cell[index], &seen, next,
                                                   memory_order_seq_cst, memory_order_relaxed);
}

static uint32_t after(const cshm_permits *permits, uint32_t index)
{
    return index + 1 == permits->count ? 0 : index + 1;
}

static void wake(const cshm_permits *permits, uint32_t count)
{
    struct cshm_park *park = &permits->shared->line.park;
    if (count == 1 && atomic_load_explicit(&permits->shared->several, memory_order_relaxed) == 0) {
        cshm_park_wake_one(park);
    } else {
        cshm_park_wake_all(park);
    }
}

/* The cell that this process had last: where it begins to look. */
static inline uint32_t first_of(const cshm_permits *permits)
{
    return atomic_load_explicit(&permits->hint, memory_order_relaxed);
}

static inline void remember(cshm_permits *permits, uint32_t index)
{
    if (first_of(permits) != index) {
        atomic_store_explicit(&permits->hint, index, memory_order_relaxed);
    }
}

/* ---- all of them ---- */

/* How many one had at some instant: [none]. */
static uint32_t held_at_once(const cshm_permits *permits, uint64_t self)
{
    uint32_t last_held = 0;
    uint64_t last_sum = 0;
    for (bool again = false;; again = true) {
        uint32_t held = 0;
        uint64_t sum = 0;
        for (uint32_t index = 0; index < permits->count; index++) {
            uint64_t cell = load(permits, index);
            held += STAMP(cell) == self;
            sum += cell >> 48;
        }
        if (again && held == last_held && sum == last_sum) {
            return held;
        }
        last_held = held;
        last_sum = sum;
    }
}

static uint32_t give_back_once(cshm_permits *permits, uint64_t self, uint32_t count)
{
    uint32_t given = 0;
    uint32_t index = first_of(permits);
    for (uint32_t looked = 0; looked < permits->count && given < count; looked++) {
        uint64_t cell = load(permits, index);
        if (STAMP(cell) == self && swap(permits, index, cell, FREED(cell))) {
            remember(permits, index);
            given++;
        }
        index = after(permits, index);
    }
    return given;
}

/* Gives back `count` of this process's. One look may miss them all, as other threads of it take
 * and give meanwhile. @returns how many there were. */
static uint32_t give_back(cshm_permits *permits, uint64_t self, uint32_t count)
{
    uint32_t given = 0;
    do {
        given += give_back_once(permits, self, count - given);
    } while (given < count && held_at_once(permits, self) != 0);
    if (given != 0) {
        wake(permits, given);
    }
    return given;
}

/* Takes one. @returns 0, or -EAGAIN if at some instant none was free: [none]. */
static int take_one(cshm_permits *permits, uint64_t self)
{
    uint64_t sum = 0;
    uint64_t last_sum = 0;
    uint32_t index = first_of(permits);
    for (bool again = false;; again = true) {
        sum = 0;
        for (uint32_t looked = 0; looked < permits->count; looked++) {
            uint64_t cell = load(permits, index);
            if (STAMP(cell) == 0 && swap(permits, index, cell, cell | self)) {
                remember(permits, index);
                return 0;
            }
            sum += cell >> 48;
            index = after(permits, index);
        }
        if (again && sum == last_sum) {
            return -EAGAIN;
        }
        last_sum = sum;
    }
}

static uint32_t count_of(const cshm_permits *permits, uint64_t stamp)
{
    uint32_t count = 0;
    for (uint32_t index = 0; index < permits->count; index++) {
        count += STAMP(load(permits, index)) == stamp;
    }
    return count;
}

/* Several are looked for before they are taken: two who each give back too few would wake each other
 * again and again. */
static int take(cshm_permits *permits, uint64_t self, uint32_t count)
{
    if (count > 1 && count_of(permits, 0) < count) {
        return -EAGAIN;
    }
    for (uint32_t taken = 0; taken < count; taken++) {
        int status = take_one(permits, self);
        if (status != 0) {
            (void)give_back(permits, self, taken);
            return status;
        }
    }
    return 0;
}

/* ---- what the dead had ---- */

static int reclaim(cshm_permits *permits)
{
    uint64_t self = cshm__self(permits->region);
    uint64_t dead = 0; /* the last one that was found so */
    uint64_t alive = self;
    int freed = 0;
    if (self == 0) {
        return -ECHILD;
    }
    for (uint32_t index = 0; index < permits->count; index++) {
        uint64_t cell = load(permits, index);
        uint64_t owner = STAMP(cell);
        if (owner == 0 || owner == alive) {
            continue;
        }
        if (owner != dead && cshm_participant_is_gone(permits->region, owner) == 0) {
            alive = owner;
            continue;
        }
        dead = owner;
        freed += swap(permits, index, cell, FREED(cell));
    }
    if (freed != 0) {
        wake(permits, (uint32_t)freed);
    }
    return freed;
}

int cshm_permits_reclaim(cshm_permits *permits)
{
    return reclaim(permits);
}

/* As reclaim(), unless somebody has just done so. @returns whether any came free. */
static bool reclaim_if_due(cshm_permits *permits)
{
    _Atomic uint64_t *asked = &permits->shared->asked;
    uint64_t now = (uint64_t)cshm_now_ns();
    uint64_t last = atomic_load_explicit(asked, memory_order_relaxed);
    /* A time to come is damage, or another machine's before a restart. */
    if ((now >= last && now - last < CSHM__DEATH_CHECK_NS) ||
        !atomic_compare_exchange_strong_explicit(asked, &last, now, memory_order_relaxed,
                                                 memory_order_relaxed)) {
        return false;
    }
    return reclaim(permits) > 0;
}

/* ---- acquire, release ---- */

/* One, from the cell that this process had last. */
static inline bool take_first(const cshm_permits *permits, uint64_t self, uint32_t count)
{
    uint32_t index = first_of(permits);
    uint64_t cell = load(permits, index);
    return count == 1 && self != 0 && STAMP(cell) == 0 && swap(permits, index, cell, cell | self);
}

static __attribute__((noinline)) int take_or_reclaim(cshm_permits *permits, uint64_t self,
                                                     uint32_t count)
{
    if (count == 0 || count > permits->count) {
        return -EINVAL;
    }
    if (self == 0) {
        return -ECHILD;
    }
    int status = take(permits, self, count);
    return status == -EAGAIN && reclaim_if_due(permits) ? take(permits, self, count) : status;
}

int cshm_permits_try_acquire(cshm_permits *permits, uint32_t count)
{
    uint64_t self = cshm__self(permits->region);
    return take_first(permits, self, count) ? 0 : take_or_reclaim(permits, self, count);
}

struct wish {
    cshm_permits *permits;
    uint64_t self;
    uint32_t count;
};

static int attempt(void *context)
{
    const struct wish *wish = context;
    return take(wish->permits, wish->self, wish->count);
}

static bool find_the_dead(void *context)
{
    const struct wish *wish = context;
    return reclaim_if_due(wish->permits);
}

static __attribute__((noinline)) int wait_for(cshm_permits *permits, uint64_t self, uint32_t count,
                                              int64_t deadline_ns)
{
    struct wish wish = {permits, self, count};
    int status = take_or_reclaim(permits, self, count);
    if (status != -EAGAIN) {
        return status;
    }
    if (count > 1) {
        atomic_store_explicit(&permits->shared->several, 1, memory_order_relaxed);
    }
    do { /* -EPIPE: some came free, and others were quicker */
        status = cshm__await_peer(&permits->shared->line.park, attempt, find_the_dead, &wish,
                                  deadline_ns);
    } while (status == -EPIPE);
    return status;
}

int cshm_permits_acquire_until(cshm_permits *permits, uint32_t count, int64_t deadline_ns)
{
    uint64_t self = cshm__self(permits->region);
    return take_first(permits, self, count) ? 0 : wait_for(permits, self, count, deadline_ns);
}

static __attribute__((noinline)) int give_back_all(cshm_permits *permits, uint64_t self,
                                                   uint32_t count)
{
    if (count == 0 || count > permits->count) {
        return -EINVAL;
    }
    if (self == 0) {
        return -ECHILD;
    }
    if (held_at_once(permits, self) < count) {
        return -EPERM;
    }
    return give_back(permits, self, count) == count ? 0 : -EPERM;
}

int cshm_permits_release(cshm_permits *permits, uint32_t count)
{
    uint64_t self = cshm__self(permits->region);
    uint32_t index = first_of(permits);
    uint64_t cell = load(permits, index);
    if (count != 1 || self == 0 || STAMP(cell) != self ||
        !swap(permits, index, cell, FREED(cell))) {
        return give_back_all(permits, self, count);
    }
    if (__builtin_expect(cshm__park_calls(&permits->shared->line.park), 0)) {
        wake(permits, 1);
    }
    return 0;
}

/* ---- looking ---- */

uint32_t cshm_permits_count(const cshm_permits *permits)
{
    return permits->count;
}

uint32_t cshm_permits_available(const cshm_permits *permits)
{
    return count_of(permits, 0);
}

uint32_t cshm_permits_held(const cshm_permits *permits)
{
    uint64_t self = cshm__self(permits->region);
    return self == 0 ? 0 : held_at_once(permits, self);
}

static int is_ready(const void *object)
{
    cshm_permits *permits = (cshm_permits *)(uintptr_t)object;
    if (cshm_permits_available(permits) == 0) {
        (void)reclaim_if_due(permits);
    }
    return cshm_permits_available(permits) != 0;
}

void cshm_permits_waitable(const cshm_permits *permits, struct cshm_waitable *out)
{
    *out = cshm__at_park(&permits->shared->line.park, is_ready, permits);
}
