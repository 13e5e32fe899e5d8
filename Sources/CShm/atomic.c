/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/atomic.h for the model. The orders are the caller's; [announce] of park.c is the only pair
 * of our own: a notification fences first, as the change may have been relaxed.
 */
#include <cshm/atomic.h>

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "internal.h"

enum { MAGIC = 0x61746f6d }; /* "atom" */

static struct cshm_atomic_shared *shared_of(const cshm_atomic *atomic)
{
    return (struct cshm_atomic_shared *)(uintptr_t)atomic;
}

static bool is_wide(enum cshm_atomic_type type)
{
    return type == CSHM_INT64 || type == CSHM_UINT64;
}

static _Atomic uint32_t *narrow(struct cshm_atomic_shared *shared)
{
    return (_Atomic uint32_t *)(void *)&shared->word;
}

int cshm_atomic_init(cshm_atomic *atomic, enum cshm_atomic_type type, uint64_t initial)
{
    struct cshm_atomic_shared *shared = shared_of(atomic);
    if (type < CSHM_INT32 || type > CSHM_UINT64) {
        return -EINVAL;
    }
    memset((void *)shared, 0, sizeof *shared);
    cshm_atomic_store(atomic, type, initial, CSHM_RELAXED);
    shared->type = type;
    atomic_store_explicit(&shared->magic, MAGIC, memory_order_release);
    return 0;
}

int cshm_atomic_check(const cshm_atomic *atomic, enum cshm_atomic_type type)
{
    const struct cshm_atomic_shared *shared = shared_of(atomic);
    return atomic_load_explicit(&shared->magic, memory_order_acquire) == MAGIC &&
                   shared->type == (uint32_t)type
               ? 0
               : -EPROTO;
}

/* ---- one word of either width, each order a constant ---- */

#define AS_READ(order) \
    ((order) == CSHM_RELAXED ? CSHM_RELAXED : (order) <= CSHM_ACQUIRE ? CSHM_ACQUIRE : CSHM_SEQ_CST)
#define AS_WRITE(order) \
    ((order) == CSHM_RELAXED ? CSHM_RELAXED : (order) == CSHM_RELEASE ? CSHM_RELEASE : CSHM_SEQ_CST)

uint64_t cshm_atomic_load(const cshm_atomic *atomic, enum cshm_atomic_type type,
                          enum cshm_order order)
{
    struct cshm_atomic_shared *shared = shared_of(atomic);
#define LOAD(order)                                             \
    (is_wide(type) ? atomic_load_explicit(&shared->word, order) \
                   : atomic_load_explicit(narrow(shared), order))
    switch (AS_READ(order)) {
    case CSHM_RELAXED:
        return LOAD(memory_order_relaxed);
    case CSHM_ACQUIRE:
        return LOAD(memory_order_acquire);
    default:
        return LOAD(memory_order_seq_cst);
    }
#undef LOAD
}

void cshm_atomic_store(cshm_atomic *atomic, enum cshm_atomic_type type, uint64_t value,
                       enum cshm_order order)
{
    struct cshm_atomic_shared *shared = shared_of(atomic);
#define STORE(order)                                                   \
    if (is_wide(type)) {                                               \
        atomic_store_explicit(&shared->word, value, order);            \
    } else {                                                           \
        atomic_store_explicit(narrow(shared), (uint32_t)value, order); \
    }
    switch (AS_WRITE(order)) {
    case CSHM_RELAXED:
        STORE(memory_order_relaxed)
        break;
    case CSHM_RELEASE:
        STORE(memory_order_release)
        break;
    default:
        STORE(memory_order_seq_cst)
        break;
    }
#undef STORE
}

static bool swap(struct cshm_atomic_shared *shared, bool wide, uint64_t *expected, uint64_t desired,
                 enum cshm_order order)
{
    uint32_t seen = (uint32_t)*expected;
#define SWAP(order, failure)                                                                  \
    (wide ? atomic_compare_exchange_strong_explicit(&shared->word, expected, desired, order,  \
                                                    failure)                                  \
          : atomic_compare_exchange_strong_explicit(narrow(shared), &seen, (uint32_t)desired, \
                                                    order, failure))
    bool done;
    switch (order) {
    case CSHM_RELAXED:
        done = SWAP(memory_order_relaxed, memory_order_relaxed);
        break;
    case CSHM_ACQUIRE:
        done = SWAP(memory_order_acquire, memory_order_acquire);
        break;
    case CSHM_RELEASE:
        done = SWAP(memory_order_release, memory_order_relaxed);
        break;
    case CSHM_ACQ_REL:
        done = SWAP(memory_order_acq_rel, memory_order_acquire);
        break;
    default:
        done = SWAP(memory_order_seq_cst, memory_order_seq_cst);
        break;
    }
#undef SWAP
    if (!done && !wide) {
        *expected = seen;
    }
    return done;
}

/* The stronger of the two, for both. */
static enum cshm_order joined(enum cshm_order success, enum cshm_order failure)
{
    if (success == CSHM_SEQ_CST || failure == CSHM_SEQ_CST) {
        return CSHM_SEQ_CST;
    }
    bool acquires = success == CSHM_ACQUIRE || success == CSHM_ACQ_REL || failure != CSHM_RELAXED;
    bool releases = success == CSHM_RELEASE || success == CSHM_ACQ_REL;
    return acquires ? (releases ? CSHM_ACQ_REL : CSHM_ACQUIRE)
                    : (releases ? CSHM_RELEASE : CSHM_RELAXED);
}

int cshm_atomic_compare_exchange(cshm_atomic *atomic, enum cshm_atomic_type type,
                                 uint64_t *expected, uint64_t desired, enum cshm_order success,
                                 enum cshm_order failure)
{
    return swap(shared_of(atomic), is_wide(type), expected, desired, joined(success, failure));
}

/* ---- changing ---- */

static bool is_less(enum cshm_atomic_type type, uint64_t a, uint64_t b)
{
    switch (type) {
    case CSHM_INT32:
        return (int32_t)a < (int32_t)b;
    case CSHM_UINT32:
        return (uint32_t)a < (uint32_t)b;
    case CSHM_INT64:
        return (int64_t)a < (int64_t)b;
    default:
        return a < b;
    }
}

static uint64_t changed(enum cshm_atomic_type type, enum cshm_atomic_operation operation,
                        uint64_t now, uint64_t operand)
{
    switch (operation) {
    case CSHM_ATOMIC_ADD:
        return now + operand;
    case CSHM_ATOMIC_SUBTRACT:
        return now - operand;
    case CSHM_ATOMIC_AND:
        return now & operand;
    case CSHM_ATOMIC_OR:
        return now | operand;
    case CSHM_ATOMIC_XOR:
        return now ^ operand;
    case CSHM_ATOMIC_MIN:
        return is_less(type, operand, now) ? operand : now;
    case CSHM_ATOMIC_MAX:
        return is_less(type, now, operand) ? operand : now;
    default:
        return operand;
    }
}

/* The common ones are one instruction; of any order, as it costs no less on the CPUs that have it. */
static bool update_at_once(struct cshm_atomic_shared *shared, bool wide,
                           enum cshm_atomic_operation operation, uint64_t operand, uint64_t *before)
{
    switch (operation) {
    case CSHM_ATOMIC_EXCHANGE:
        *before = wide ? atomic_exchange(&shared->word, operand)
                       : atomic_exchange(narrow(shared), (uint32_t)operand);
        return true;
    case CSHM_ATOMIC_SUBTRACT:
        operand = 0 - operand;
        __attribute__((fallthrough));
    case CSHM_ATOMIC_ADD:
        *before = wide ? atomic_fetch_add(&shared->word, operand)
                       : atomic_fetch_add(narrow(shared), (uint32_t)operand);
        return true;
    default:
        return false;
    }
}

uint64_t cshm_atomic_update(cshm_atomic *atomic, enum cshm_atomic_type type,
                            enum cshm_atomic_operation operation, uint64_t operand,
                            enum cshm_order order)
{
    struct cshm_atomic_shared *shared = shared_of(atomic);
    uint64_t now = 0;
    if (update_at_once(shared, is_wide(type), operation, operand, &now)) {
        return now;
    }
    now = cshm_atomic_load(atomic, type, CSHM_RELAXED);
    while (!swap(shared, is_wide(type), &now, changed(type, operation, now, operand), order)) {
    }
    return now;
}

/* ---- waiting ---- */

struct wait {
    const cshm_atomic *atomic;
    enum cshm_atomic_type type;
    uint64_t old;
};

static int attempt(void *context)
{
    const struct wait *wait = context;
    uint64_t now = cshm_atomic_load(wait->atomic, wait->type, CSHM_ACQUIRE);
    return now == (is_wide(wait->type) ? wait->old : (uint32_t)wait->old) ? -EAGAIN : 0;
}

int cshm_atomic_wait_until(cshm_atomic *atomic, enum cshm_atomic_type type, uint64_t old,
                           int64_t deadline_ns)
{
    struct wait wait = {atomic, type, old};
    return cshm__await(&shared_of(atomic)->waiters.park, attempt, &wait, deadline_ns);
}

static void lie_down(void *context)
{
    (void)context;
}

void cshm_atomic_wait_watched(cshm_atomic *atomic, enum cshm_atomic_type type, uint64_t old)
{
    struct wait wait = {atomic, type, old};
    if (attempt(&wait) == -EAGAIN) {
        (void)cshm__await_watched(&shared_of(atomic)->waiters.park, attempt, lie_down, &wait,
                                  INT64_MAX);
    }
}

void cshm_atomic_notify(cshm_atomic *atomic)
{
    atomic_thread_fence(memory_order_seq_cst); /* [announce] */
    cshm_park_wake_all(&shared_of(atomic)->waiters.park);
}

cshm_park *cshm_atomic_park(cshm_atomic *atomic)
{
    return &shared_of(atomic)->waiters.park;
}
