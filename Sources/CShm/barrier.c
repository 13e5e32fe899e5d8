/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/barrier.h for the model. The state is {phase:32, failed:20, broken:1, arrived:11}, where
 * `failed` has a bit for each of the last phases, the latest lowest: whether it was given up. Pairs:
 *
 *   [phase]     what a party did, then its arrival; the last arrival, then the next phase (all
 *               seq_cst compare-and-swaps of one word) -> who waits loads the next phase (acquire)
 *   [member]    a process says that it takes part, then arrives (both seq_cst) -> who waits, loaded
 *               that arrival or not, looks at the members at last after its next sleep
 *   [forget]    the barrier is broken, then the member that died is forgotten: by reset, before the
 *               next phase; or by the next process that has its place
 *   [announce]  of park.c: the state is swapped (seq_cst), then the parking word is looked at
 */
#include <cshm/barrier.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

#include "internal.h"

enum {
    MAGIC = 0x62617272, /* "barr" */
    PAST = 20,          /* phases whose ends are known */
    ARRIVED_BITS = 11,
};

#define ARRIVED(state) ((uint32_t)(state) & ((1u << ARRIVED_BITS) - 1))
#define BROKEN         (UINT64_C(1) << ARRIVED_BITS)
#define FAILED_SHIFT   (ARRIVED_BITS + 1)
#define FAILED_MASK    ((UINT64_C(1) << PAST) - 1)
#define PHASE(state)   ((uint32_t)((state) >> 32))
#define STAMP_MASK     ((UINT64_C(1) << 48) - 1)
#define ONE_HANDLE     (UINT64_C(1) << 48)

struct cshm_barrier {
    cshm_region *region;
    struct cshm_barrier_shared *shared;
    uint32_t parties;
    _Atomic uint64_t joined_as; /* the stamp with which this handle takes part, or 0 */
    _Atomic int64_t checked_ns; /* when it last asked who lives */
    pthread_mutex_t join_lock;
};

/* ---- create, open ---- */

int cshm_barrier_create(cshm_region *region, uint32_t parties, uint64_t *offset)
{
    if (parties < 1 || parties > CSHM_BARRIER_PARTIES_MAX) {
        return -EINVAL;
    }
    uint64_t place = 0;
    int status = cshm_heap_allocate(region, sizeof(struct cshm_barrier_shared), &place);
    if (status != 0) {
        return status;
    }
    struct cshm_barrier_shared *shared = cshm_heap_pointer(region, place, sizeof *shared);
    if (shared == NULL) {
        return -EPROTO;
    }
    memset((void *)shared, 0, sizeof *shared);
    shared->parties = parties;
    shared->magic = MAGIC;
    *offset = place;
    return 0;
}

int cshm_barrier_open(cshm_region *region, uint64_t offset, cshm_barrier **out)
{
    struct cshm_barrier_shared *shared = cshm_heap_pointer(region, offset, sizeof *shared);
    if (shared == NULL || shared->magic != MAGIC) {
        return -EPROTO;
    }
    uint32_t parties = shared->parties;
    if (parties < 1 || parties > CSHM_BARRIER_PARTIES_MAX) {
        return -EPROTO;
    }
    cshm_barrier *barrier = calloc(1, sizeof *barrier);
    if (barrier == NULL) {
        return -ENOMEM;
    }
    barrier->region = region;
    barrier->shared = shared;
    barrier->parties = parties;
    pthread_mutex_init(&barrier->join_lock, NULL);
    *out = barrier;
    return 0;
}

/* ---- the state ---- */

static uint64_t load(const cshm_barrier *barrier)
{
    return atomic_load_explicit(&barrier->shared->state, memory_order_acquire); /* [phase] */
}

/* seq_cst: [phase], [announce] */
static bool change(cshm_barrier *barrier, uint64_t *seen, uint64_t to)
{
    return atomic_compare_exchange_strong_explicit(&barrier->shared->state, seen, to,
                                                   memory_order_seq_cst, memory_order_acquire);
}

static uint64_t next_phase(uint64_t state, bool failed)
{
    uint64_t past = ((state >> FAILED_SHIFT << 1) | (failed ? 1 : 0)) & FAILED_MASK;
    return ((uint64_t)(PHASE(state) + 1) << 32) | past << FAILED_SHIFT;
}

/* What became of a phase. */
static int outcome(uint64_t state, uint32_t phase)
{
    uint32_t later = PHASE(state) - phase;
    if (later == 0) {
        return (state & BROKEN) != 0 ? -ECANCELED : -EAGAIN;
    }
    return later > PAST || (state >> (FAILED_SHIFT + later - 1) & 1) != 0 ? -ECANCELED : 0;
}

static void wake_all(cshm_barrier *barrier)
{
    cshm_park_wake_all(&barrier->shared->waiters.park);
}

/* Breaks that phase, unless it is over. @returns what became of it. */
static int break_phase(cshm_barrier *barrier, uint32_t phase)
{
    uint64_t seen = load(barrier);
    while (outcome(seen, phase) == -EAGAIN) {
        if (change(barrier, &seen, seen | BROKEN)) {
            wake_all(barrier);
            return -ECANCELED;
        }
    }
    return outcome(seen, phase);
}

/* ---- who takes part ---- */

static _Atomic uint64_t *own_member(const cshm_barrier *barrier, uint64_t stamp)
{
    return &barrier->shared->members[((stamp & 0xffff) - 1) % CSHM_PARTICIPANTS_MAX];
}

/* This process takes part from now on. The handle says so after the member's word does: another
 * thread that sees it may arrive at once. */
static void join(cshm_barrier *barrier, uint64_t stamp)
{
    _Atomic uint64_t *member = own_member(barrier, stamp);
    pthread_mutex_lock(&barrier->join_lock);
    if (atomic_load_explicit(&barrier->joined_as, memory_order_relaxed) != stamp) {
        uint64_t seen = atomic_load_explicit(member, memory_order_relaxed);
        if (seen != 0 && (seen & STAMP_MASK) != stamp) {
            cshm_barrier_abort(barrier); /* [forget]: its place was a dead one's */
            seen = 0;
        }
        /* Only this process writes it, and who resets, of the dead. */
        atomic_store_explicit(member, seen == 0 ? ONE_HANDLE | stamp : seen + ONE_HANDLE,
                              memory_order_seq_cst); /* [member] */
        atomic_store_explicit(&barrier->joined_as, stamp, memory_order_release);
    }
    pthread_mutex_unlock(&barrier->join_lock);
}

static void leave(cshm_barrier *barrier)
{
    uint64_t stamp = cshm_participant_self(barrier->region);
    uint64_t joined_as = atomic_load_explicit(&barrier->joined_as, memory_order_relaxed);
    if (stamp == 0 || joined_as != stamp) {
        return;
    }
    _Atomic uint64_t *member = own_member(barrier, stamp);
    uint64_t seen = atomic_load_explicit(member, memory_order_relaxed);
    while ((seen & STAMP_MASK) == stamp &&
           !atomic_compare_exchange_strong_explicit(
               member, &seen, seen >> 48 > 1 ? seen - ONE_HANDLE : 0, memory_order_seq_cst,
               memory_order_relaxed)) { /* [member] */
    }
}

void cshm_barrier_close(cshm_barrier *barrier)
{
    leave(barrier);
    pthread_mutex_destroy(&barrier->join_lock);
    free(barrier);
}

void cshm_barrier_destroy(cshm_barrier *barrier)
{
    (void)cshm_heap_free(barrier->region, cshm_heap_offset(barrier->region, barrier->shared));
    pthread_mutex_destroy(&barrier->join_lock);
    free(barrier);
}

static bool is_dead(const cshm_barrier *barrier, uint64_t member)
{
    return member != 0 && cshm_participant_is_gone(barrier->region, member & STAMP_MASK) == 1;
}

static bool somebody_died(const cshm_barrier *barrier)
{
    for (uint32_t i = 0; i < CSHM_PARTICIPANTS_MAX; i++) {
        if (is_dead(barrier, atomic_load_explicit(&barrier->shared->members[i],
                                                  memory_order_seq_cst))) { /* [member] */
            return true;
        }
    }
    return false;
}

/* [forget]. @returns how many. */
static int forget_the_dead(cshm_barrier *barrier)
{
    int count = 0;
    for (uint32_t i = 0; i < CSHM_PARTICIPANTS_MAX; i++) {
        _Atomic uint64_t *member = &barrier->shared->members[i];
        uint64_t seen = atomic_load_explicit(member, memory_order_seq_cst);
        count += is_dead(barrier, seen) &&
                 atomic_compare_exchange_strong_explicit(member, &seen, 0, memory_order_seq_cst,
                                                         memory_order_relaxed);
    }
    return count;
}

/* Breaks the phase if one who takes part is dead; asks now and then only. */
static bool is_broken_by_death(cshm_barrier *barrier, uint32_t phase)
{
    int64_t now = cshm_now_ns();
    if (now - atomic_load_explicit(&barrier->checked_ns, memory_order_relaxed) <
        CSHM__DEATH_CHECK_NS) {
        return false;
    }
    atomic_store_explicit(&barrier->checked_ns, now, memory_order_relaxed);
    return somebody_died(barrier) && break_phase(barrier, phase) == -ECANCELED;
}

/* ---- arriving ---- */

/* `release` also begins the next phase, if it is the last one. @returns as cshm_barrier_arrive(),
 * but 1 then means that the next phase has begun. */
static int arrive(cshm_barrier *barrier, bool release, struct cshm_arrival *out)
{
    uint64_t stamp = cshm_participant_self(barrier->region);
    if (stamp == 0) {
        return -ECHILD;
    }
    if (atomic_load_explicit(&barrier->joined_as, memory_order_acquire) != stamp) {
        join(barrier, stamp);
    }
    uint64_t seen = load(barrier);
    for (;;) {
        uint32_t index = ARRIVED(seen);
        if ((seen & BROKEN) != 0) {
            return -ECANCELED;
        }
        if (index >= barrier->parties) {
            return index == barrier->parties ? -EAGAIN : -EPROTO;
        }
        bool last = index + 1 == barrier->parties;
        if (change(barrier, &seen, last && release ? next_phase(seen, false) : seen + 1)) {
            *out = (struct cshm_arrival){barrier, PHASE(seen), index};
            return last;
        }
    }
}

int cshm_barrier_arrive(cshm_barrier *barrier, struct cshm_arrival *out)
{
    return arrive(barrier, false, out);
}

int cshm_barrier_release(const struct cshm_arrival *arrival)
{
    uint64_t seen = load(arrival->barrier);
    while (outcome(seen, arrival->phase) == -EAGAIN) {
        if (change(arrival->barrier, &seen, next_phase(seen, false))) {
            wake_all(arrival->barrier);
            return 0;
        }
    }
    return outcome(seen, arrival->phase);
}

static int look(void *context)
{
    const struct cshm_arrival *arrival = context;
    return outcome(load(arrival->barrier), arrival->phase);
}

static bool is_over(void *context)
{
    const struct cshm_arrival *arrival = context;
    return is_broken_by_death(arrival->barrier, arrival->phase);
}

int cshm_barrier_try_finish(const struct cshm_arrival *arrival)
{
    uint64_t seen = load(arrival->barrier);
    if (outcome(seen, arrival->phase) == -EAGAIN &&
        is_broken_by_death(arrival->barrier, arrival->phase)) {
        return -ECANCELED;
    }
    return outcome(seen, arrival->phase);
}

int cshm_barrier_give_up(const struct cshm_arrival *arrival)
{
    return break_phase(arrival->barrier, arrival->phase);
}

int cshm_barrier_finish_until(const struct cshm_arrival *arrival, int64_t deadline_ns)
{
    struct cshm_arrival copy = *arrival;
    int status = look(&copy);
    if (status == -EAGAIN) {
        status = cshm__await_peer(&copy.barrier->shared->waiters.park, look, is_over, &copy,
                                  deadline_ns);
    }
    if (status == -ETIMEDOUT) {
        return break_phase(copy.barrier, copy.phase) == 0 ? 0 : -ETIMEDOUT;
    }
    return status;
}

/* ---- waiting ---- */

struct entrance {
    cshm_barrier *barrier;
    bool release;
    struct cshm_arrival arrival;
};

static int enter(void *context)
{
    struct entrance *entrance = context;
    return arrive(entrance->barrier, entrance->release, &entrance->arrival);
}

/* The last one may have died running its action. */
static bool phase_is_over(void *context)
{
    const struct entrance *entrance = context;
    return is_broken_by_death(entrance->barrier, PHASE(load(entrance->barrier)));
}

/* One more than the parties is there for the next phase. */
static int enter_until(struct entrance *entrance, int64_t deadline_ns)
{
    int status = enter(entrance);
    while (status == -EAGAIN || status == -EPIPE) { /* -EPIPE: it was broken, and reset since */
        status = cshm__await_peer(&entrance->barrier->shared->waiters.park, enter, phase_is_over,
                                  entrance, deadline_ns);
    }
    return status;
}

int cshm_barrier_wait_until(cshm_barrier *barrier, int (*action)(void *context), void *context,
                            int64_t deadline_ns, uint32_t *index)
{
    struct entrance entrance = {.barrier = barrier, .release = action == NULL};
    int status = enter_until(&entrance, deadline_ns);
    if (status < 0) {
        return status;
    }
    if (status == 0) {
        status = cshm_barrier_finish_until(&entrance.arrival, deadline_ns);
    } else if (action == NULL) {
        wake_all(barrier);
        status = 0;
    } else {
        status = action(context);
        if (status == 0) {
            status = cshm_barrier_release(&entrance.arrival);
        } else {
            (void)cshm_barrier_give_up(&entrance.arrival);
        }
    }
    if (status == 0 && index != NULL) {
        *index = entrance.arrival.index;
    }
    return status;
}

/* ---- breaking, resetting, looking ---- */

void cshm_barrier_abort(cshm_barrier *barrier)
{
    uint64_t seen = load(barrier);
    while ((seen & BROKEN) == 0 && !change(barrier, &seen, seen | BROKEN)) {
    }
    wake_all(barrier);
}

static bool is_used(uint64_t state)
{
    return (state & BROKEN) != 0 || ARRIVED(state) != 0;
}

static bool is_broken(uint64_t state)
{
    return (state & BROKEN) != 0;
}

/* The dead first: while it is broken, nobody waits for them. */
static int renew_if(cshm_barrier *barrier, bool (*needs_it)(uint64_t state))
{
    int forgotten = forget_the_dead(barrier);
    uint64_t seen = load(barrier);
    while (needs_it(seen)) {
        if (change(barrier, &seen, next_phase(seen, true))) {
            wake_all(barrier);
            break;
        }
    }
    return forgotten;
}

int cshm_barrier_reset(cshm_barrier *barrier)
{
    return renew_if(barrier, is_used);
}

int cshm_barrier_repair(cshm_barrier *barrier)
{
    return is_broken(load(barrier)) ? renew_if(barrier, is_broken) : 0;
}

void cshm_barrier_describe(const cshm_barrier *barrier, struct cshm_barrier_info *out)
{
    uint64_t seen = load(barrier);
    *out = (struct cshm_barrier_info){
        .parties = barrier->parties,
        .waiting = is_broken(seen) ? 0 : ARRIVED(seen),
        .broken = is_broken(seen),
        .phase = PHASE(seen),
    };
}

static int is_ready(const void *object)
{
    const struct cshm_arrival *arrival = object;
    return outcome(load(arrival->barrier), arrival->phase) != -EAGAIN;
}

void cshm_barrier_waitable(const struct cshm_arrival *arrival, struct cshm_waitable *out)
{
    *out = cshm__at_park(&arrival->barrier->shared->waiters.park, is_ready, arrival);
}
