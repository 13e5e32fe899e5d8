/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/participant.h for the model. The lock byte of an entry is the only authority: its
 * state is written by whoever holds that byte, so plain release stores suffice; but for LIVE, which
 * whoever finds the byte unlocked turns into DEAD. Pair:
 *
 *   [entry]  the holder of the byte stores the state (release) -> anybody loads it (acquire)
 */
#include <cshm/participant.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "anchor_view.h"
#include "internal.h"

#define STATE(kind, generation) (((uint64_t)(kind) << 56) | (uint32_t)(generation))
#define KIND(state)             ((uint32_t)((state) >> 56))
#define GENERATION(state)       ((uint32_t)(state))

static uint32_t index_of(uint64_t stamp)
{
    return (uint32_t)(stamp & 0xffff);
}

uint64_t cshm_participant_self(const cshm_region *region)
{
    /* relaxed: written once by join, before the region is used */
    return atomic_load_explicit(&region->stamp, memory_order_relaxed);
}

bool cshm__look_is_due(const cshm_region *region, int64_t *next_ns)
{
    int64_t now = cshm_now_ns();
    int64_t last = *next_ns - CSHM__DEATH_CHECK_NS;
    /* relaxed: stored by the thread that clears the bell, before it looks at what was armed */
    if (now < *next_ns && atomic_load_explicit(&region->told_ns, memory_order_relaxed) < last) {
        return false;
    }
    *next_ns = now + CSHM__DEATH_CHECK_NS;
    return true;
}

int32_t cshm__participant_pid(const cshm_region *region, uint64_t stamp)
{
    uint32_t index = index_of(stamp);
    if (index == 0 || index > CSHM_PARTICIPANTS_MAX) {
        return 0;
    }
    const struct cshm_participant_entry *entry = &region->participants[index - 1];
    uint64_t pid = atomic_load_explicit(&entry->pid, memory_order_relaxed);
    uint64_t state = atomic_load_explicit(&entry->state, memory_order_acquire); /* [entry] */
    return GENERATION(state) == (uint32_t)(stamp >> 16) ? (int32_t)pid : 0;
}

int cshm_participant_is_gone(const cshm_region *region, uint64_t stamp)
{
    uint32_t index = index_of(stamp);
    if (index == 0 || index > CSHM_PARTICIPANTS_MAX) {
        return 1;
    }
    if (stamp == cshm_participant_self(region)) {
        return 0;
    }
    _Atomic uint64_t *state = &region->participants[index - 1].state;
    uint64_t seen = atomic_load_explicit(state, memory_order_acquire); /* [entry] */
    if (GENERATION(seen) != (uint32_t)(stamp >> 16) || KIND(seen) != CSHM_PARTICIPANT_LIVE) {
        return 1;
    }
    /* Our own lock never conflicts with ourselves, but an entry of ours has our stamp. */
    if (cshm__byte_is_locked(region->life, index)) {
        return 0;
    }
    /* From now on nobody takes the lock of who sweeps it for the lock of a living owner. If the
     * state is another by now, the attachment is over all the same. */
    (void)atomic_compare_exchange_strong_explicit(
        state, &seen, STATE(CSHM_PARTICIPANT_DEAD, GENERATION(seen)), memory_order_acq_rel,
        memory_order_acquire); /* [entry] */
    return 1;
}

/* With the byte locked by us: the entry's last owner is dead. Gives back what it owned, or as much
 * as it can while others hold the heap's lock. @returns whether that was all. */
static bool sweep(cshm_region *region, uint32_t index, uint64_t state)
{
    _Atomic uint64_t *entry = &region->participants[index - 1].state;
    uint32_t generation = GENERATION(state);
    atomic_store_explicit(entry, STATE(CSHM_PARTICIPANT_SWEEPING, generation),
                          memory_order_release); /* [entry] */
    if (!cshm__heap_sweep(region, CSHM_STAMP(index, generation))) {
        return false;
    }
    atomic_store_explicit(entry, STATE(CSHM_PARTICIPANT_FREE, generation),
                          memory_order_release); /* [entry] */
    return true;
}

/* Locks the entry's byte and sweeps it if need be. The byte of a LIVE entry is its owner's, and
 * nobody else ever holds it: who sweeps looks first whether the owner is dead, and says so.
 * @returns whether byte and entry are ours now. */
static bool seize(cshm_region *region, uint32_t index, bool *swept)
{
    _Atomic uint64_t *entry = &region->participants[index - 1].state;
    uint64_t state = atomic_load_explicit(entry, memory_order_acquire); /* [entry] */
    if (KIND(state) == CSHM_PARTICIPANT_LIVE &&
        cshm_participant_is_gone(region, CSHM_STAMP(index, GENERATION(state))) != 1) {
        return false;
    }
    if (cshm__lock_byte(region->life, index) != 0) {
        return false;
    }
    state = atomic_load_explicit(entry, memory_order_acquire); /* [entry] */
    *swept = KIND(state) != CSHM_PARTICIPANT_FREE;
    if (KIND(state) == CSHM_PARTICIPANT_LIVE || /* it joined and died just now */
        (*swept && !sweep(region, index, state))) {
        cshm__unlock_byte(region->life, index);
        return false;
    }
    return true;
}

int cshm__participant_join(cshm_region *region)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", region->share);
    region->life = open(path, O_RDWR | O_CLOEXEC);
    if (region->life < 0) {
        return -errno;
    }
    for (uint32_t index = 1; index <= CSHM_PARTICIPANTS_MAX; index++) {
        struct cshm_participant_entry *entry = &region->participants[index - 1];
        bool swept = false;
        if (!seize(region, index, &swept)) {
            continue;
        }
        uint32_t generation =
            GENERATION(atomic_load_explicit(&entry->state, memory_order_relaxed)) + 1;
        atomic_store_explicit(&entry->state, STATE(CSHM_PARTICIPANT_JOINING, generation),
                              memory_order_release); /* [entry] */
        atomic_store_explicit(&entry->pid, (uint64_t)getpid(), memory_order_relaxed);
        for (uint32_t i = 0; i < CSHM_WATCHES_MAX; i++) { /* its last owner's */
            atomic_store_explicit(&entry->bells[i], 0, memory_order_relaxed);
        }
        atomic_store_explicit(&entry->state, STATE(CSHM_PARTICIPANT_LIVE, generation),
                              memory_order_release); /* [entry] */
        atomic_store_explicit(&region->stamp, CSHM_STAMP(index, generation), memory_order_release);
        int status = cshm__bell_tell_of_turnover(region);
        if (status != 0) {
            cshm__participant_leave(region, true);
        } else if (swept) {
            cshm__anchor_sweep(region);
        }
        return status;
    }
    close(region->life);
    region->life = -1;
    return -EUSERS;
}

void cshm__participant_leave(cshm_region *region, bool swept)
{
    uint64_t stamp = cshm_participant_self(region);
    if (stamp != 0) {
        uint32_t index = index_of(stamp);
        uint32_t kind = swept ? CSHM_PARTICIPANT_FREE : CSHM_PARTICIPANT_DEAD;
        /* Before the byte is unlocked: unlocked and LIVE means dead. */
        atomic_store_explicit(&region->participants[index - 1].state,
                              STATE(kind, (uint32_t)(stamp >> 16)),
                              memory_order_release); /* [entry] */
        atomic_store_explicit(&region->stamp, 0, memory_order_relaxed);
    }
    if (region->life >= 0) {
        close(region->life);
        region->life = -1;
    }
    if (stamp != 0) {
        (void)cshm__bell_tell_of_turnover(region);
    }
}

int cshm_region_reap(cshm_region *region)
{
    uint64_t self = cshm_participant_self(region);
    int count = 0;
    if (self == 0) {
        return -ECHILD;
    }
    /* One sweeper per process: two threads of one would both be granted the byte. */
    pthread_mutex_lock(&region->sweep_lock);
    for (uint32_t index = 1; index <= CSHM_PARTICIPANTS_MAX; index++) {
        uint64_t state = atomic_load_explicit(&region->participants[index - 1].state,
                                              memory_order_acquire); /* [entry] */
        bool swept = false;
        if (index == index_of(self) || KIND(state) == CSHM_PARTICIPANT_FREE) {
            continue;
        }
        if (seize(region, index, &swept)) {
            count += swept ? 1 : 0;
            cshm__unlock_byte(region->life, index);
        }
    }
    pthread_mutex_unlock(&region->sweep_lock);
    cshm__anchor_sweep(region);
    return count;
}
