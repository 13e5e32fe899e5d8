/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Workers that are killed, and perhaps stopped, at random instants, and replaced.
 */
#ifndef CSHM_MASSACRE_H
#define CSHM_MASSACRE_H

#include "support.h"

enum {
    WORKERS = 6,
    IDS = 1 << 25,
};

struct shared {
    _Atomic uint64_t next;
    _Atomic uint64_t done;
    _Atomic uint32_t stop;
    _Atomic uint64_t said[WORKERS]; /* what each, and those before it, have said to have done */
    _Atomic uint8_t acknowledged[IDS];
    _Atomic uint8_t taken[IDS];
};

struct job {
    struct shared *shared;
    uint64_t offset;
    uint64_t seed;
    uint32_t number;
    uint32_t seconds; /* of the massacre; 0: as long as most go on */
    bool stops; /* one of them is stopped nearly all the time, and goes on or is killed then */
};

/* Runs the workers, killing one about every 0.3 ms and replacing it. @returns how many were killed. */
uint64_t massacre(cshm_region *region, struct job *job,
                  void (*const bodies[WORKERS])(cshm_region *, void *));

#endif /* CSHM_MASSACRE_H */
