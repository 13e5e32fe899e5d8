/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Histories of operations by several processes, some of them killed, and whether they can be
 * explained by a sequence: each operation at one instant between its call and its return, each
 * with the result that it had.
 *
 * Processes write their logs in shared memory, with times from one counter. What the killed were
 * in the middle of is *unknown*: it took effect at some instant before the process was reaped, with
 * whatever result, or it did not.
 *
 * The check is just-in-time linearization (Gavin Lowe, "Testing for linearizability", Concurrency
 * and Computation 29(4), 2017; after Wing and Gong, 1993): go through calls and returns in order,
 * and keep all pairs {object's state, who of the open operations has taken effect} that explain
 * what was seen so far. At each return the operation must have taken effect, perhaps after some
 * other open ones. There are as many of these pairs as the open operations leave orders in doubt,
 * so objects should hold little and processes be few; histories may be long.
 */
#ifndef CSHM_HISTORY_H
#define CSHM_HISTORY_H

#include "support.h"

enum {
    HISTORY_LOGS = 16, /* processes, each has a log of its own */
    HISTORY_LENGTH = 4096,
    HISTORY_OPEN = 16, /* operations open at once, at most */
    OBJECT_SIZE = 192,
    UNKNOWN = INT32_MIN, /* as a result */
};

struct operation {
    int32_t kind;
    int32_t value;
    int32_t result;
    uint32_t process;        /* its log's number */
    _Atomic uint64_t called; /* times; 0 is not yet */
    _Atomic uint64_t returned;
};

struct history_log {
    _Atomic uint32_t count;
    _Atomic uint32_t halts; /* its process, in the middle of an operation */
    struct operation operation[HISTORY_LENGTH];
};

struct history {
    _Atomic uint64_t clock;
    _Atomic uint32_t logs;
    bool has_deaths; /* as operations */
    struct history_log log[HISTORY_LOGS];
};

/* What the object would do, one operation after the other. */
struct object {
    uint32_t size; /* of its state, which is zeroes at first; a multiple of 8, to OBJECT_SIZE */
    /* Does the operation to a state. @returns whether it may have that result,
     * in that state; an unknown one may, if it changes anything. */
    bool (*apply)(const void *parameter, void *state, const struct operation *operation);
    const void *parameter;
};

/* ---- in the processes ---- */

static inline uint64_t history_now(struct history *history)
{
    return atomic_fetch_add(&history->clock, 1) + 1;
}

/* Whether there is no room for three more: what is taken is given back, or its process dies with it. */
static inline bool history_is_full(const struct history_log *log)
{
    return atomic_load(&log->count) + 3 > HISTORY_LENGTH;
}

/* The call. @returns the operation, for history_return(). */
static inline struct operation *history_call(struct history *history, struct history_log *log,
                                             int32_t kind, int32_t value)
{
    struct operation *operation = &log->operation[atomic_load(&log->count)];
    operation->kind = kind;
    operation->value = value;
    operation->process = (uint32_t)(log - history->log);
    operation->result = UNKNOWN;
    atomic_store(&operation->called, history_now(history));
    atomic_fetch_add(&log->count, 1);
    return operation;
}

static inline void history_return(struct history *history, struct operation *operation,
                                  int32_t result)
{
    operation->result = result;
    atomic_store(&operation->returned, history_now(history));
}

/* ---- afterwards ---- */

/* The log's process has been reaped: what it was in the middle of is unknown, and can happen no
 * more. */
void history_close(struct history *history, struct history_log *log);

/* Whether all closed logs can be explained. If not, `out` gets the operation that cannot. */
bool history_is_linearizable(const struct history *history, const struct object *object,
                             struct operation *out);

/* The killed process is dead from some instant between the two times on. */
void history_died(struct history *history, struct history_log *log, uint64_t killed);

/* ---- objects; see history_objects.c ---- */

enum {
    PUT = 1,
    TAKE,
    TAKE_PACK,
    LEASE,
    RELEASE,
    RETURN,
    DIE,
    DRAINED,
    ADD,
    READ,
    ACQUIRE,
    COUNT,
    FILLED
};
enum { IS_FULL = -1, IS_EMPTY = -2, DONE = 0, INHERITED = 1 };
enum { PACK_MOST = 3, REDELIVERED = 1 << 30 };

/* A pack's elements follow each other: the first, and how many, 1 to PACK_MOST. */
static inline int32_t pack_of(int32_t first, int32_t count)
{
    return first * 4 + count;
}

/* A queue of a capacity to 15: PUT value -> DONE or IS_FULL, TAKE -> the value or IS_EMPTY, COUNT -> how
 * many are in it, FILLED -> IS_FULL or DONE. */
struct object fifo_of(const int32_t *capacity);
/* The same with packs: PUT pack -> DONE or IS_FULL; TAKE -> one element or IS_EMPTY; TAKE_PACK ->
 * the rest of the first pack, as a pack, or IS_EMPTY; COUNT and FILLED of elements. */
struct object packs_of(const int32_t *capacity);
/* And with leases of whole packs: PUT; LEASE -> a pack, with REDELIVERED if it is one that was given
 * back or whose holder is dead, or IS_EMPTY; RELEASE or RETURN of it; DIE; DRAINED: nothing is left. */
struct object leases_of(const int32_t *capacity);
/* A number: ADD -> what it is then; READ -> what it is. */
struct object counter(void);
/* A lock: ACQUIRE -> DONE, INHERITED from one that died holding it, or IS_EMPTY; RELEASE -> DONE; DIE. */
struct object lock(void);
/* A semaphore with a bound, 0 at first: ACQUIRE -> DONE or IS_EMPTY; RELEASE value -> DONE or IS_FULL. */
struct object semaphore_of(const int32_t *bound);
/* So many permits: ACQUIRE -> DONE or IS_EMPTY; RELEASE -> DONE; DIE, which gives all back. */
struct object permits_of(const int32_t *count);

#endif /* CSHM_HISTORY_H */
