/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/condition.h for the model. A waiter's word is {kind:8, 0:8, stamp:48}. The mutex orders
 * everything but what those see who do not hold it. Pairs:
 *
 *   [notify]    who notifies stores NOTIFIED (seq_cst) -> the waiter, without the mutex, loads it
 *               (acquire), and then acquires the mutex
 *   [enter]     the waiter's ticket, then WAITING (release) -> who holds the mutex loads WAITING
 *               (acquire)
 *   [hand on]   the next one is NOTIFIED, then the dead one's place is FREE: a death between them
 *               leaves a notification too many, and none too few
 *   [announce]  of park.c: NOTIFIED is stored (seq_cst), then the waiter's parking word looked at
 *   [leave]     who gives up stores LEFT (seq_cst), then wakes the longest waiting, who looks for LEFT
 *               (acquire) before it sleeps again
 *
 * A waiter that is not notified may leave without the mutex, which a notification's compare-and-swap
 * notices: it goes to the next one. One that is notified may, too: its place is LEFT, which is as if it
 * had died; or FREE at once if nobody waits, as whoever comes later was not there when it was notified.
 * The other swaps cannot fail where everybody uses one mutex; they keep the table whole where
 * somebody does not.
 */
#include <cshm/condition.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

#include "internal.h"

enum {
    MAGIC = 0x636f6e64, /* "cond" */
    DEFAULT_WAITERS = 128,
    TRIES = 200, /* for the mutex, before it is waited for: its holder may be about to release it */
};

enum { FREE = 0, WAITING = 1, NOTIFIED = 2, LEFT = 3 /* when it was notified */ };

#define WORD(kind, stamp) (((uint64_t)(kind) << 56) | (stamp))
#define KIND(word)        ((uint32_t)((word) >> 56))
#define STAMP(word)       ((word) & ((UINT64_C(1) << 48) - 1))

static const uint32_t NOBODY = UINT32_MAX;

struct cshm_condition {
    cshm_region *region;
    struct cshm_condition_shared *shared;
    struct cshm_condition_place *places;
    uint32_t count;
};

/* ---- create, open ---- */

static uint64_t size_for(uint32_t waiters)
{
    return sizeof(struct cshm_condition_shared) +
           (uint64_t)waiters * sizeof(struct cshm_condition_place);
}

int cshm_condition_create(cshm_region *region, uint32_t waiters, uint64_t *offset)
{
    waiters = waiters == 0 ? DEFAULT_WAITERS : waiters;
    if (waiters > CSHM_CONDITION_WAITERS_MAX) {
        return -EINVAL;
    }
    uint64_t place = 0;
    int status = cshm_heap_allocate(region, size_for(waiters), &place);
    if (status != 0) {
        return status;
    }
    struct cshm_condition_shared *shared = cshm_heap_pointer(region, place, size_for(waiters));
    if (shared == NULL) {
        return -EPROTO;
    }
    memset((void *)shared, 0, size_for(waiters));
    shared->waiters = waiters;
    shared->magic = MAGIC;
    *offset = place;
    return 0;
}

int cshm_condition_open(cshm_region *region, uint64_t offset, cshm_condition **out)
{
    struct cshm_condition_shared *shared = cshm_heap_pointer(region, offset, sizeof *shared);
    if (shared == NULL || shared->magic != MAGIC) {
        return -EPROTO;
    }
    uint32_t waiters = shared->waiters;
    if (waiters < 1 || waiters > CSHM_CONDITION_WAITERS_MAX ||
        cshm_heap_pointer(region, offset, size_for(waiters)) == NULL) {
        return -EPROTO;
    }
    cshm_condition *condition = calloc(1, sizeof *condition);
    if (condition == NULL) {
        return -ENOMEM;
    }
    condition->region = region;
    condition->shared = shared;
    condition->places = (struct cshm_condition_place *)(void *)(shared + 1);
    condition->count = waiters;
    *out = condition;
    return 0;
}

void cshm_condition_close(cshm_condition *condition)
{
    free(condition);
}

void cshm_condition_destroy(cshm_condition *condition)
{
    (void)cshm_heap_free(condition->region, cshm_heap_offset(condition->region, condition->shared));
    free(condition);
}

/* ---- the table ---- */

static uint64_t load(const struct cshm_condition_place *place)
{
    return atomic_load_explicit(&place->word, memory_order_acquire); /* [notify], [enter] */
}

static bool swap(struct cshm_condition_place *place, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong_explicit(&place->word, &from, to, memory_order_seq_cst,
                                                   memory_order_relaxed);
}

/* Places from here on were never used. */
static uint32_t used(const cshm_condition *condition)
{
    uint32_t used = atomic_load_explicit(&condition->shared->used, memory_order_acquire);
    return used < condition->count ? used : condition->count;
}

static bool is_dead(const cshm_condition *condition, uint64_t word)
{
    return cshm_participant_is_gone(condition->region, STAMP(word)) == 1;
}

/* The longest waiting, or NOBODY. */
static uint32_t longest_waiting(const cshm_condition *condition)
{
    uint32_t found = NOBODY;
    uint64_t first = 0;
    uint32_t end = used(condition);
    for (uint32_t i = 0; i < end; i++) {
        const struct cshm_condition_place *place = &condition->places[i];
        if (KIND(load(place)) == WAITING) {
            uint64_t ticket = atomic_load_explicit(&place->ticket, memory_order_relaxed);
            if (found == NOBODY || ticket < first) {
                found = i;
                first = ticket;
            }
        }
    }
    return found;
}

static void wake(cshm_condition *condition, struct cshm_condition_place *place)
{
    cshm_park_wake_all(&place->park);
    cshm_park_wake_all(&condition->shared->elsewhere.park);
}

static bool was_asleep(const struct cshm_condition_place *place)
{
    const _Atomic uint32_t *word = (const _Atomic uint32_t *)(const void *)&place->park.word;
    return (atomic_load_explicit(word, memory_order_relaxed) & CSHM_PARK_ASLEEP) != 0;
}

static void set_free(cshm_condition *condition, uint32_t index)
{
    atomic_store_explicit(&condition->places[index].word, 0, memory_order_release);
}

enum outcome { DONE, DIED, GONE };

/* Who is dead and was not asleep, the others find. */
static enum outcome notify(cshm_condition *condition, struct cshm_condition_place *place)
{
    uint64_t waiting = load(place);
    bool asleep = was_asleep(place);
    if (KIND(waiting) != WAITING ||
        !swap(place, waiting, WORD(NOTIFIED, STAMP(waiting)))) { /* [notify] */
        return GONE;
    }
    wake(condition, place);
    return asleep && is_dead(condition, waiting) ? DIED : DONE;
}

/* Notifies the longest waiting. @returns false if nobody does. */
static bool notify_one(cshm_condition *condition)
{
    uint32_t dead = NOBODY;
    for (;;) {
        uint32_t next = longest_waiting(condition);
        enum outcome outcome = next == NOBODY ? GONE : notify(condition, &condition->places[next]);
        if (outcome == GONE && next != NOBODY) {
            continue;
        }
        if (dead != NOBODY) {
            set_free(condition, dead); /* [hand on] */
        }
        if (outcome != DIED) {
            return outcome == DONE;
        }
        dead = next;
    }
}

/* The place of a notified one that is dead or has left, or NOBODY. */
static uint32_t orphan(const cshm_condition *condition)
{
    uint32_t end = used(condition);
    for (uint32_t i = 0; i < end; i++) {
        uint64_t seen = load(&condition->places[i]); /* [leave] */
        if (KIND(seen) == LEFT || (KIND(seen) == NOTIFIED && is_dead(condition, seen))) {
            return i;
        }
    }
    return NOBODY;
}

/* Under the mutex: what those were notified of goes to others. */
static void hand_on(cshm_condition *condition)
{
    for (uint32_t place; (place = orphan(condition)) != NOBODY;) {
        (void)notify_one(condition);
        set_free(condition, place); /* [hand on] */
    }
}

/* Under the mutex: places of dead waiters are free again. */
static void clear_the_dead(cshm_condition *condition)
{
    hand_on(condition);
    for (uint32_t i = 0; i < condition->count; i++) {
        uint64_t seen = load(&condition->places[i]);
        if (KIND(seen) == WAITING && is_dead(condition, seen)) {
            (void)swap(&condition->places[i], seen, 0);
        }
    }
}

static uint32_t free_place(const cshm_condition *condition)
{
    for (uint32_t i = 0; i < condition->count; i++) {
        if (load(&condition->places[i]) == 0) {
            return i;
        }
    }
    return NOBODY;
}

/* ---- entering, leaving ---- */

/* Held by this thread, once: a wait releases it. */
static int check_held(const cshm_mutex *mutex)
{
    struct cshm_mutex_info info;
    uint64_t self = cshm__thread();
    int status = cshm_mutex_describe(mutex, &info);
    if (status != 0) {
        return status;
    }
    if (info.holder_pid != (int32_t)(self >> 32) || info.holder_thread != (int32_t)self) {
        return -EPERM;
    }
    return info.depth > 1 ? -EINVAL : 0;
}

static int enter(cshm_condition *condition, uint32_t *out)
{
    struct cshm_condition_shared *shared = condition->shared;
    uint64_t stamp = cshm_participant_self(condition->region);
    uint32_t mine = free_place(condition);
    if (stamp == 0) {
        return -ECHILD;
    }
    if (mine == NOBODY) {
        clear_the_dead(condition);
        mine = free_place(condition);
    }
    if (mine == NOBODY) {
        return -EUSERS;
    }
    if (mine >= used(condition)) {
        atomic_store_explicit(&shared->used, mine + 1, memory_order_release);
    }
    /* Numbers may be lost with the dead, and are never given twice to those who wait. */
    uint64_t ticket = atomic_load_explicit(&shared->tickets, memory_order_relaxed);
    atomic_store_explicit(&shared->tickets, ticket + 1, memory_order_relaxed);
    atomic_store_explicit(&condition->places[mine].ticket, ticket, memory_order_relaxed);
    if (!swap(&condition->places[mine], 0, WORD(WAITING, stamp))) { /* [enter] */
        return -EPERM;                                              /* two mutexes are in use */
    }
    *out = mine;
    return 0;
}

/* @returns whether it was notified. */
static bool leave(cshm_condition *condition, uint32_t place)
{
    return KIND(atomic_exchange_explicit(&condition->places[place].word, 0,
                                         memory_order_acq_rel)) == NOTIFIED;
}

int cshm_condition_begin(cshm_condition *condition, cshm_mutex *mutex,
                         struct cshm_condition_waiter *out)
{
    uint32_t place = 0;
    int status = check_held(mutex);
    if (status == 0) {
        status = enter(condition, &place);
    }
    if (status == 0) {
        *out = (struct cshm_condition_waiter){condition, place};
    }
    return status;
}

int cshm_condition_again(const struct cshm_condition_waiter *waiter, cshm_mutex *mutex)
{
    struct cshm_condition_place *place = &waiter->condition->places[waiter->place];
    int status = check_held(mutex);
    if (status != 0) {
        return status;
    }
    uint64_t seen = load(place);
    if (KIND(seen) == NOTIFIED) {
        (void)swap(place, seen, WORD(WAITING, STAMP(seen))); /* [enter], with the ticket it has */
    }
    hand_on(waiter->condition);
    return 0;
}

int cshm_condition_leave(const struct cshm_condition_waiter *waiter)
{
    cshm_condition *condition = waiter->condition;
    struct cshm_condition_place *place = &condition->places[waiter->place];
    uint64_t seen = load(place);
    if (KIND(seen) == WAITING && swap(place, seen, 0)) {
        return 0;
    }
    seen = load(place);
    if (KIND(seen) != NOTIFIED) {
        return 0; /* damage */
    }
    uint32_t next = longest_waiting(condition);
    if (next == NOBODY) {
        set_free(condition, waiter->place);
    } else if (swap(place, seen, WORD(LEFT, STAMP(seen)))) { /* [leave] */
        wake(condition, &condition->places[next]);
    }
    return 1;
}

int cshm_condition_has_orphan(const cshm_condition *condition)
{
    return orphan(condition) != NOBODY;
}

int cshm_condition_end(const struct cshm_condition_waiter *waiter)
{
    return leave(waiter->condition, waiter->place);
}

int cshm_condition_is_notified(const struct cshm_condition_waiter *waiter)
{
    return KIND(load(&waiter->condition->places[waiter->place])) != WAITING;
}

static int is_ready(const void *object)
{
    return cshm_condition_is_notified(object);
}

void cshm_condition_waitable(const struct cshm_condition_waiter *waiter, struct cshm_waitable *out)
{
    *out = cshm__at_park(&waiter->condition->shared->elsewhere.park, is_ready, waiter);
}

/* ---- waiting ---- */

struct wait {
    cshm_condition *condition;
    struct cshm_condition_place *place;
    cshm_mutex *mutex;
    bool acquired; /* whether `status` is that of an acquire */
    int status;
};

static int attempt(void *context)
{
    const struct wait *wait = context;
    return KIND(load(wait->place)) == WAITING ? -EAGAIN : 0;
}

/* Before each sleep: whether the mutex is a dead holder's, or of no use any more. */
static bool look_for_deaths(void *context)
{
    struct wait *wait = context;
    int status = cshm_mutex_try_acquire(wait->mutex);
    if (status == -EAGAIN) {
        return false;
    }
    if (status >= 0) {
        hand_on(wait->condition);
    }
    if (status == 0) {
        (void)cshm_mutex_release(wait->mutex);
        return false;
    }
    wait->acquired = true;
    wait->status = status;
    return true;
}

/* Whoever notified may be about to release it. All that is touched next was the notifier's, and is asked
 * for at once: the mutex, what it guards, if that lies behind it, and the place. */
static int acquire_again(const struct cshm_condition_place *place, cshm_mutex *mutex)
{
    cshm__ask_to_write(mutex);
    cshm__ask_to_write(mutex + 1);
    cshm__ask_to_write(place);
    int status = cshm_mutex_try_acquire(mutex);
    for (uint32_t i = 0; status == -EAGAIN && i < TRIES; i++) {
        cshm__pause();
        status = cshm_mutex_try_acquire(mutex);
    }
    return status == -EAGAIN ? cshm_mutex_acquire_until(mutex, INT64_MAX) : status;
}

int cshm_condition_wait_until(cshm_condition *condition, cshm_mutex *mutex, int64_t deadline_ns)
{
    uint32_t mine = 0;
    int status = check_held(mutex);
    if (status == 0) {
        status = enter(condition, &mine);
    }
    if (status != 0) {
        return status;
    }
    struct cshm_condition_place *place = &condition->places[mine];
    struct wait wait = {condition, place, mutex, false, 0};
    status = cshm_mutex_release(mutex);
    if (status == 0) {
        int waited = attempt(&wait);
        if (waited == -EAGAIN) {
            waited = cshm__await_peer(&place->park, attempt, look_for_deaths, &wait, deadline_ns);
        }
        status = wait.acquired ? wait.status : acquire_again(place, mutex);
        if (!leave(condition, mine) && status == 0) {
            return waited == -ETIMEDOUT ? -ETIMEDOUT : 0;
        }
        return status;
    }
    (void)leave(condition, mine);
    return status;
}

int cshm_condition_await_until(cshm_condition *condition, cshm_mutex *mutex,
                               int (*holds)(void *context), void *context, int64_t deadline_ns)
{
    while (!holds(context)) {
        int status = cshm_condition_wait_until(condition, mutex, deadline_ns);
        if (status == -ETIMEDOUT && holds(context)) {
            return 0;
        }
        if (status != 0) {
            return status;
        }
    }
    return 0;
}

/* ---- notifying ---- */

int cshm_condition_notify(cshm_condition *condition, cshm_mutex *mutex, uint32_t count)
{
    cshm__ask_to_write(condition->places); /* of the first waiter, who often is the only one */
    int status = check_held(mutex);
    uint32_t done = 0;
    if (status != 0) {
        return status;
    }
    while (done < count && notify_one(condition)) {
        done++;
    }
    return (int)done;
}

uint32_t cshm_condition_waiting(const cshm_condition *condition)
{
    uint32_t count = 0;
    uint32_t end = used(condition);
    for (uint32_t i = 0; i < end; i++) {
        count += KIND(load(&condition->places[i])) == WAITING;
    }
    return count;
}
