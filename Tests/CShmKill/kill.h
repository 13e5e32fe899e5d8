/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What a scenario is. In each trial
 *
 *   the survivor   makes a region and sets the scene                      setup
 *   the victim     is forked, joins, gets ready                           prepare
 *                  and does one operation, at whose k-th point it is cut  operate
 *   the survivor   recovers as any user would                             recover
 *                  and finds all of the invariants to hold                check
 *
 * for k = 1, 2, 3, ... until the operation returns, and once more for a death right after that.
 *
 * With `pairs`, a second process recovers first and is killed at each of its own points in turn.
 * In the second mode the victim is stopped at its k-th point: the survivor does what the header
 * promises to be possible (`meanwhile`), the victim goes on and ends, and the same is checked.
 */
#ifndef CSHM_KILL_H
#define CSHM_KILL_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cshm.h>

#include "knife.h"

/* Shared by the processes of a trial, zero at its start. */
struct report {
    _Atomic uint32_t returned; /* the operation returned to its caller */
    _Atomic int32_t status;    /* what it returned */
    _Atomic uint64_t word[4];  /* the scenario's */
    _Atomic uint64_t stamp;    /* the victim's, once it has joined */
    _Atomic uint32_t cut;      /* the victim's point + 1 */
    _Atomic uint32_t cut_too;  /* the recoverer's */
};

struct world {
    cshm_region *region;
    struct report *report;
    uint64_t place[4]; /* objects and blocks of the scene; 0 at the start */
    void *handle;      /* each process its own */
};

struct scenario {
    const char *name;
    void (*setup)(struct world *);
    void (*prepare)(struct world *);
    int (*operate)(struct world *);
    void (*recover)(struct world *);
    void (*check)(struct world *);
    void (*meanwhile)(struct world *);
    uint32_t step;     /* for an operation that does the same many times: every how many-th point,
                        and each one once */
    uint32_t pairs;    /* for every how many-th of the victim's points; 0 for none */
    bool unattached;   /* the victim has not joined before */
    uint64_t capacity; /* of the region; 0 for 1 MiB */
};

/* Fails the scenario, whichever process of it this is. */
_Noreturn void kill_fail(const char *file, int line, const char *what, long long left,
                         long long right);

#define CHECK(expr) ((expr) ? (void)0 : kill_fail(__FILE__, __LINE__, #expr, 0, 1))

#define CHECK_EQ(a, b)                                                  \
    do {                                                                \
        long long left_ = (long long)(a);                               \
        long long right_ = (long long)(b);                              \
        if (left_ != right_) {                                          \
            kill_fail(__FILE__, __LINE__, #a " == " #b, left_, right_); \
        }                                                               \
    } while (0)

static inline bool returned(const struct world *world)
{
    return atomic_load(&world->report->returned) != 0;
}

static inline uint64_t blocks_in_use(const cshm_region *region)
{
    struct cshm_heap_usage usage;
    cshm_heap_describe(region, &usage);
    return usage.blocks;
}

/* A block that belongs to nobody, with arbitrary contents. */
static inline uint64_t make_shared_block(cshm_region *region, uint64_t size)
{
    uint64_t place = 0;
    CHECK_EQ(cshm_heap_allocate(region, size, &place), 0);
    CHECK_EQ(cshm_heap_share(region, place), 0);
    return place;
}

/* Runs `body` in a process that has joined, and that is killed when it returns. */
void kill_after(struct world *world, void (*body)(struct world *));

#endif /* CSHM_KILL_H */
