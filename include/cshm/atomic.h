/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A number that several processes change in one step each, with the memory orders of C11.
 *
 * Model
 * -----
 * One word of 32 or 64 bits, and a parking word for those who wait until it is another. Who changes
 * it wakes nobody; who means to, says so by cshm_atomic_notify().
 *
 * Who writes what
 * ---------------
 *   the number     everybody, in one step each
 *   parking word   who waits, and who notifies
 *
 * Ordering
 * --------
 * That which each call names; a wait that ends has loaded the number by CSHM_ACQUIRE. A notification
 * comes after the change before it, whatever the order of that.
 *
 * If a process dies
 * -----------------
 * Each operation is one instruction, or a loop that ends with one: it happened or it did not. A change
 * whose notification did not come is seen by sleepers after at most 25 ms.
 */
#ifndef CSHM_ATOMIC_H
#define CSHM_ATOMIC_H

#include "base.h"
#include "bell.h"

CSHM_BEGIN_DECLS

/** An atomic number; it lives in shared memory, aligned to 8 bytes, and to 128 if bells are to be
 *  armed for it. Its bytes are private, but for the first word, which is the number. */
typedef struct cshm_atomic {
    /** Private to the library. */
    uint64_t bytes[32];
} cshm_atomic;

/** What kind of number it is. */
enum cshm_atomic_type {
    CSHM_INT32 = 1,
    CSHM_UINT32 = 2,
    CSHM_INT64 = 3,
    CSHM_UINT64 = 4,
};

/** The memory orders, by C11's numbers. What an operation cannot have, such as a store that
 *  acquires, is taken as the next stronger one that it can. */
enum cshm_order {
    CSHM_RELAXED = 0,
    CSHM_ACQUIRE = 2,
    CSHM_RELEASE = 3,
    CSHM_ACQ_REL = 4,
    CSHM_SEQ_CST = 5,
};

/** What becomes of the number, given the operand. */
enum cshm_atomic_operation {
    CSHM_ATOMIC_EXCHANGE = 1,
    CSHM_ATOMIC_ADD = 2, /**< wraps */
    CSHM_ATOMIC_SUBTRACT = 3,
    CSHM_ATOMIC_AND = 4,
    CSHM_ATOMIC_OR = 5,
    CSHM_ATOMIC_XOR = 6,
    CSHM_ATOMIC_MIN = 7, /**< the lesser of the two */
    CSHM_ATOMIC_MAX = 8,
};

/** Makes the number. Nobody else may use it before this returned. @returns 0, or -EINVAL. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_atomic_init(cshm_atomic *atomic, enum cshm_atomic_type type,
                                                 uint64_t initial);

/** Whether it is a number of that type: 0, or -EPROTO. The calls below do not ask. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_atomic_check(const cshm_atomic *atomic,
                                                  enum cshm_atomic_type type);

/** Loads it. Numbers of 32 bits are the lower half of the result. Thread-safe, process-safe,
 *  async-signal-safe, as are all of these but waiting. */
CSHM_EXPORT uint64_t cshm_atomic_load(const cshm_atomic *atomic, enum cshm_atomic_type type,
                                      enum cshm_order order);

/** Stores it. */
CSHM_EXPORT void cshm_atomic_store(cshm_atomic *atomic, enum cshm_atomic_type type, uint64_t value,
                                   enum cshm_order order);

/** Changes it. @returns what it was before. */
CSHM_EXPORT uint64_t cshm_atomic_update(cshm_atomic *atomic, enum cshm_atomic_type type,
                                        enum cshm_atomic_operation operation, uint64_t operand,
                                        enum cshm_order order);

/**
 * Stores `desired` if it is what was expected.
 *
 * @param expected  Receives what it is, if that is something else.
 * @param success   The order if it was; that of the load alone if it was not is `failure`.
 * @returns 1 if it was, else 0.
 */
CSHM_EXPORT CSHM_MUST_CHECK int
cshm_atomic_compare_exchange(cshm_atomic *atomic, enum cshm_atomic_type type, uint64_t *expected,
                             uint64_t desired, enum cshm_order success, enum cshm_order failure);

/**
 * Waits until it is something else than `old`.
 *
 * @param deadline_ns  Absolute; INT64_MAX for ever.
 * @returns 0, -ETIMEDOUT. Thread-safe, process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_atomic_wait_until(cshm_atomic *atomic,
                                                       enum cshm_atomic_type type, uint64_t old,
                                                       int64_t deadline_ns);

/**
 * As cshm_atomic_wait_until(), for ever, and woken by nothing but a notification: for a waiter that
 * does not outlive the one that notifies, nor waits beside others of whom one might die.
 */
CSHM_EXPORT void cshm_atomic_wait_watched(cshm_atomic *atomic, enum cshm_atomic_type type,
                                          uint64_t old);

/** Wakes those who wait, after a change of any order. No system call if nobody sleeps. */
CSHM_EXPORT void cshm_atomic_notify(cshm_atomic *atomic);

/** Where its waiters sleep. */
CSHM_EXPORT cshm_park *cshm_atomic_park(cshm_atomic *atomic);

CSHM_END_DECLS

#endif /* CSHM_ATOMIC_H */
