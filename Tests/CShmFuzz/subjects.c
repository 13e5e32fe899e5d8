/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The one list of subjects.
 */
#include "fuzz.h"

#define SUBJECTS(X) \
    X(ring)         \
    X(queue)        \
    X(lanes)        \
    X(broadcast)    \
    X(post)         \
    X(board)        \
    X(heap)         \
    X(directory)    \
    X(map)          \
    X(list)         \
    X(value)        \
    X(array)        \
    X(atomic)       \
    X(park)         \
    X(mutex)        \
    X(rwlock)       \
    X(semaphore)    \
    X(permits)      \
    X(baton)        \
    X(condition)    \
    X(event)        \
    X(barrier)      \
    X(latch)        \
    X(once)         \
    X(outcome)      \
    X(anchor)

#define DECLARE(noun) extern const struct subject fuzz_##noun;
#define ENTRY(noun)   &fuzz_##noun,

SUBJECTS(DECLARE)

const struct subject *const subjects[] = {SUBJECTS(ENTRY)};
const uint32_t subject_count = sizeof subjects / sizeof subjects[0];
