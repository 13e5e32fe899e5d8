/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What deaths.c and death_*.c share: the objects, and what a process wants of one.
 *
 * The victim and the survivor want something of the same object. What they wait for is the victim's, or
 * the killer's, who lets go of it when both sleep.
 */
#ifndef DEATH_H
#define DEATH_H

#include <pthread.h>
#include <sched.h>

#include <cshm.h>

#include "bench.h"
#include "bench_channel.h"

enum {
    DEATH_PERMITS = 2, /* of the pool */
    DEATH_WORDS = 8,   /* of the value, and elements of the array */
};

struct scene {
    cshm_region *region;
    cshm_permits *permits;
    cshm_baton *baton;
    cshm_rwlock *lock;
    cshm_condition *condition;
    cshm_barrier *barrier;
    cshm_value *value;
    struct cshm_array array;
    uint32_t cell; /* by which this process reads */
    struct shared {
        BENCH_LINE cshm_mutex mutex;
        BENCH_LINE pthread_mutex_t robust;
        BENCH_LINE cshm_semaphore semaphore;
        BENCH_LINE cshm_event event;
        BENCH_LINE cshm_once once;
        BENCH_LINE cshm_latch latch;
        BENCH_LINE uint32_t ready; /* the victim: it holds it, or is about to sleep */
        uint32_t waits;            /* the survivor is about to sleep */
        uint32_t had;              /* the victim: it has it */
        BENCH_LINE uint64_t went_on_ns;
    } *shared;
    const struct bench_death *death;
    cpu_set_t cpus; /* of everybody but those who are killed woken, or asleep */
};

/* What one wants. */
struct wish {
    /* Waits until it has it. @returns 0, or what the noun's header says. */
    int (*acquire)(struct scene *scene, int64_t deadline_ns);
    /* Or NULL: the same without waiting; -EAGAIN. */
    int (*attempt)(struct scene *scene, bool is_woken);
    /* Where to wait before an attempt. @returns how many places, of two. */
    uint32_t (*places)(struct scene *scene, struct cshm_waitable *places);
    /* Lets go of it, whole. */
    bool (*leave)(struct scene *scene);
};

struct noun {
    const struct wish *victim;
    const struct wish *survivor;
    /* What the killer has until it wakes; NULL: nothing, the others wait for what nobody has. */
    const struct wish *killer;
    /* How the killer wakes; NULL: it lets go of what it has. */
    bool (*wake)(struct scene *scene);
    /* With nobody left: all that is owned and counted is as it was in the beginning. */
    bool (*is_whole)(struct scene *scene);
    bool is_for_one; /* what one has that was woken, the others have not */
};

extern const struct wish death_mutex;
extern const struct noun death_owned[];
extern const struct noun death_signals[]; /* in the places of enum bench_noun */

/* NULL: nobody wants anything. */
const struct noun *death_noun(enum bench_noun noun);

/* Makes the objects. @returns 0 or a negated errno. */
int death_make(struct scene *scene);

/* Makes those new that serve once. */
bool death_renew(struct scene *scene);

void death_unmake(struct scene *scene);

#endif /* DEATH_H */
