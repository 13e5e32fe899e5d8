/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What queues, counters and locks would do, one operation after the other; see history.h.
 */
#include "history.h"

/* ---- a queue ---- */

struct fifo {
    int32_t count;
    int32_t value[15];
};

/* COUNT and FILLED, which change nothing. */
static bool apply_look(int32_t count, int32_t capacity, const struct operation *operation)
{
    return operation->kind == COUNT ? operation->result == count
                                    : (operation->result == IS_FULL) == (count == capacity);
}

static bool is_look(const struct operation *operation)
{
    return operation->kind == COUNT || operation->kind == FILLED;
}

static bool apply_fifo(const void *parameter, void *state, const struct operation *operation)
{
    struct fifo *fifo = state;
    int32_t capacity = *(const int32_t *)parameter;
    if (is_look(operation)) {
        return apply_look(fifo->count, capacity, operation);
    }
    if (operation->kind == PUT) {
        bool full = fifo->count == capacity;
        if (full || operation->result == IS_FULL) {
            return full && operation->result == IS_FULL;
        }
        fifo->value[fifo->count++] = operation->value;
        return true;
    }
    bool empty = fifo->count == 0;
    if (empty || operation->result == IS_EMPTY) {
        return empty && operation->result == IS_EMPTY;
    }
    int32_t taken = fifo->value[0];
    fifo->count--;
    memmove(fifo->value, fifo->value + 1, sizeof fifo->value - sizeof fifo->value[0]);
    fifo->value[fifo->count] = 0; /* equal queues are equal bytes */
    return operation->result == UNKNOWN || operation->result == taken;
}

struct object fifo_of(const int32_t *capacity)
{
    CHECK(*capacity <= 15);
    return (struct object){.size = sizeof(struct fifo), .apply = apply_fifo, .parameter = capacity};
}

static bool apply_counter(const void *parameter, void *state, const struct operation *operation)
{
    int32_t *number = state;
    (void)parameter;
    *number += operation->kind == ADD;
    return operation->result == UNKNOWN || operation->result == *number;
}

struct object counter(void)
{
    return (struct object){.size = 8, .apply = apply_counter};
}

/* ---- a queue of packs ---- */

enum { ELEMENTS = 15 };

/* Elements, each with whether it is the last of its pack in the lowest bit. */
struct pack_fifo {
    int32_t count;
    int32_t element[ELEMENTS];
};

static int32_t remove_first(struct pack_fifo *fifo)
{
    int32_t first = fifo->element[0];
    fifo->count--;
    memmove(fifo->element, fifo->element + 1, sizeof fifo->element - sizeof fifo->element[0]);
    fifo->element[fifo->count] = 0;
    return first;
}

static bool put_pack(struct pack_fifo *fifo, int32_t capacity, const struct operation *operation)
{
    int32_t first = operation->value / 4;
    int32_t count = operation->value % 4;
    bool full = fifo->count + count > capacity;
    if (full || operation->result == IS_FULL) {
        return full && operation->result == IS_FULL;
    }
    for (int32_t i = 0; i < count; i++) {
        fifo->element[fifo->count++] = (first + i) * 2 + (i == count - 1);
    }
    return true;
}

static bool take_elements(struct pack_fifo *fifo, bool all, const struct operation *operation)
{
    if (fifo->count == 0 || operation->result == IS_EMPTY) {
        return fifo->count == 0 && operation->result == IS_EMPTY;
    }
    int32_t first = fifo->element[0] / 2;
    int32_t count = 1;
    while (remove_first(fifo) % 2 == 0 && all) {
        count++;
    }
    int32_t expected = all ? pack_of(first, count) : first;
    return operation->result == UNKNOWN || operation->result == expected;
}

static bool apply_packs(const void *parameter, void *state, const struct operation *operation)
{
    struct pack_fifo *fifo = state;
    int32_t capacity = *(const int32_t *)parameter;
    if (is_look(operation)) {
        return apply_look(fifo->count, capacity, operation);
    }
    return operation->kind == PUT ? put_pack(fifo, capacity, operation)
                                  : take_elements(fifo, operation->kind == TAKE_PACK, operation);
}

struct object packs_of(const int32_t *capacity)
{
    CHECK(*capacity <= ELEMENTS);
    return (struct object){
        .size = sizeof(struct pack_fifo), .apply = apply_packs, .parameter = capacity};
}

/* ---- a queue of packs that are leased ---- */

enum { HELD = 6, ASIDE = 15 };

struct held {
    int32_t pack;
    uint32_t process;
};

/* Sets are sorted, zeroes last, so that equal states are equal bytes. */
struct leases {
    int32_t fifo[ELEMENTS];
    struct held held[HELD];
    int32_t aside[ASIDE]; /* of the dead, and given back */
};

_Static_assert(sizeof(struct leases) <= OBJECT_SIZE && sizeof(struct leases) % 8 == 0, "no room");

static void set_aside(struct leases *leases, int32_t pack)
{
    int32_t at = 0;
    while (leases->aside[at] > pack) {
        at++;
    }
    CHECK(leases->aside[ASIDE - 1] == 0);
    memmove(&leases->aside[at + 1], &leases->aside[at],
            (size_t)(ASIDE - 1 - at) * sizeof leases->aside[0]);
    leases->aside[at] = pack;
}

static bool take_from_aside(struct leases *leases, int32_t pack)
{
    for (int32_t at = 0; at < ASIDE; at++) {
        if (leases->aside[at] == pack) {
            memmove(&leases->aside[at], &leases->aside[at + 1],
                    (size_t)(ASIDE - 1 - at) * sizeof leases->aside[0]);
            leases->aside[ASIDE - 1] = 0;
            return true;
        }
    }
    return false;
}

static void hold(struct leases *leases, int32_t pack, uint32_t process)
{
    int32_t at = 0;
    while (leases->held[at].pack > pack) {
        at++;
    }
    CHECK(leases->held[HELD - 1].pack == 0);
    memmove(&leases->held[at + 1], &leases->held[at],
            (size_t)(HELD - 1 - at) * sizeof leases->held[0]);
    leases->held[at] = (struct held){pack, process};
}

/* What the process holds, at most one pack, or 0. */
static int32_t let_go(struct leases *leases, uint32_t process)
{
    for (int32_t at = 0; at < HELD; at++) {
        struct held held = leases->held[at];
        if (held.pack != 0 && held.process == process) {
            memmove(&leases->held[at], &leases->held[at + 1],
                    (size_t)(HELD - 1 - at) * sizeof leases->held[0]);
            leases->held[HELD - 1] = (struct held){0};
            return held.pack;
        }
    }
    return 0;
}

static bool put_leased(struct leases *leases, int32_t capacity, const struct operation *operation)
{
    int32_t count = 0;
    int32_t elements = operation->value % 4;
    while (leases->fifo[count] != 0) {
        elements += leases->fifo[count++] % 4;
    }
    bool full = elements > capacity;
    if (full || operation->result == IS_FULL) {
        return full && operation->result == IS_FULL;
    }
    leases->fifo[count] = operation->value;
    return true;
}

/* One who was killed in the middle of it holds nothing, but what it had taken is aside. */
static bool lease(struct leases *leases, const struct operation *operation)
{
    int32_t first = leases->fifo[0];
    int32_t result = operation->result;
    if (result == IS_EMPTY) { /* beside what is aside: it may be found later */
        return first == 0;
    }
    if (result != UNKNOWN && (result & REDELIVERED) != 0) {
        if (!take_from_aside(leases, result & ~REDELIVERED)) {
            return false;
        }
        hold(leases, result & ~REDELIVERED, operation->process);
        return true;
    }
    if (first == 0 || (result != UNKNOWN && result != first)) {
        return false;
    }
    memmove(leases->fifo, leases->fifo + 1, sizeof leases->fifo - sizeof leases->fifo[0]);
    leases->fifo[ELEMENTS - 1] = 0;
    if (result == UNKNOWN) {
        set_aside(leases, first);
    } else {
        hold(leases, first, operation->process);
    }
    return true;
}

static bool apply_leases(const void *parameter, void *state, const struct operation *operation)
{
    struct leases *leases = state;
    int32_t pack = 0;
    switch (operation->kind) {
    case PUT:
        return put_leased(leases, *(const int32_t *)parameter, operation);
    case LEASE:
        return lease(leases, operation);
    case DRAINED:
        return leases->fifo[0] == 0 && leases->held[0].pack == 0 && leases->aside[0] == 0;
    default:
        pack = let_go(leases, operation->process);
        if (pack != 0 && operation->kind != RELEASE) {
            set_aside(leases, pack);
        }
        return pack != 0 || operation->kind == DIE;
    }
}

struct object leases_of(const int32_t *capacity)
{
    CHECK(*capacity < ELEMENTS);
    return (struct object){
        .size = sizeof(struct leases), .apply = apply_leases, .parameter = capacity};
}

/* ---- locks ---- */

struct lock {
    uint32_t holder; /* process + 1, or 0 */
    uint32_t died;   /* its last holder did */
};

static bool apply_lock(const void *parameter, void *state, const struct operation *operation)
{
    struct lock *lock = state;
    bool mine = lock->holder == operation->process + 1;
    bool died = lock->died != 0;
    (void)parameter;
    switch (operation->kind) {
    case ACQUIRE:
        if (operation->result == IS_EMPTY) {
            return lock->holder != 0;
        }
        if (lock->holder != 0 ||
            (operation->result != UNKNOWN && died != (operation->result == INHERITED))) {
            return false;
        }
        *lock = (struct lock){operation->process + 1, 0};
        return true;
    case RELEASE:
        if (mine) {
            *lock = (struct lock){0, 0};
        }
        return mine;
    default:
        if (mine) {
            *lock = (struct lock){0, 1};
        }
        return true;
    }
}

struct object lock(void)
{
    return (struct object){.size = sizeof(struct lock), .apply = apply_lock};
}

static bool apply_semaphore(const void *parameter, void *state, const struct operation *operation)
{
    int32_t *number = state;
    int32_t change = operation->kind == ACQUIRE ? -1 : operation->value;
    bool refused = *number + change < 0 || *number + change > *(const int32_t *)parameter;
    if (refused || operation->result == IS_EMPTY || operation->result == IS_FULL) {
        return refused && operation->result != DONE && operation->result != UNKNOWN;
    }
    *number += change;
    return true;
}

struct object semaphore_of(const int32_t *bound)
{
    return (struct object){.size = 8, .apply = apply_semaphore, .parameter = bound};
}

/* What each process has. */
struct permits {
    uint8_t held[HISTORY_LOGS];
};

static bool apply_permits(const void *parameter, void *state, const struct operation *operation)
{
    struct permits *permits = state;
    uint8_t *mine = &permits->held[operation->process];
    int32_t all = 0;
    for (uint32_t i = 0; i < HISTORY_LOGS; i++) {
        all += permits->held[i];
    }
    bool none = all == *(const int32_t *)parameter;
    switch (operation->kind) {
    case ACQUIRE:
        if (none || operation->result == IS_EMPTY) {
            return none && operation->result == IS_EMPTY;
        }
        ++*mine;
        return true;
    case RELEASE:
        if (*mine == 0) {
            return false;
        }
        --*mine;
        return true;
    default:
        *mine = 0;
        return true;
    }
}

struct object permits_of(const int32_t *count)
{
    return (struct object){
        .size = sizeof(struct permits), .apply = apply_permits, .parameter = count};
}
