/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Ends, or stops, the calling process at a chosen store to shared memory.
 *
 * CShm is compiled a second time with -fsanitize=thread, but not linked with the sanitizer: knife.c
 * is what its stores and atomics call. So every one of them passes through here, as do memcpy,
 * memset, the operations on pthread mutexes and the system calls that other processes can notice.
 * Each such call is a *point*; points.awk lists them all in the compiler's own output, and the run
 * fails if one that concerns shared memory was never cut at.
 *
 * Cutting is done before the point's own store, which is after the one before it. A long memcpy is
 * cut before and in its middle.
 */
#ifndef CSHM_KNIFE_H
#define CSHM_KNIFE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* One call in CShm's machine code; see points.awk. */
struct point {
    const void *after; /* the call's return address */
    const char *callee;
    const char *function;
    const char *path;
    const char *text; /* the source line */
    uint64_t line;
};

/* What the run knows of a point; in memory that all its processes share. */
struct point_use {
    _Atomic uint32_t shared; /* it touched shared memory, or the kernel */
    _Atomic uint32_t local;  /* it touched memory of one process */
    _Atomic uint32_t killed;
    _Atomic uint32_t stopped;
};

enum cut { CUT_NONE, CUT_KILL, CUT_STOP };

extern const struct point *const knife_points;
extern struct point_use *knife_uses; /* as many as points */
uint32_t knife_point_count(void);

/* Before any fork. */
void knife_init(void);

/* In the place of a number: the first point at which nobody was cut yet, in that way. */
static const uint32_t KNIFE_FRESH = UINT32_MAX;

/* From now on this process counts the points it passes, and ends (or stops) at number `at`, from 1.
 * `*where` is set to the point's index + 1 before that. */
void knife_arm(enum cut cut, uint32_t at, _Atomic uint32_t *where);

/* Stops counting. */
void knife_disarm(void);

/* Calls `other` when this process has come to its next point in shared memory, before that point's
 * own store: what another process might do just then. Its own points are not counted. */
void knife_interleave(void (*other)(void *context), void *context);

/* Ends this process as kill -9 does. */
_Noreturn void knife_die(void);

#endif /* CSHM_KNIFE_H */
