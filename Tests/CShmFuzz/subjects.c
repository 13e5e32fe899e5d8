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
    X(heap)         \
    X(directory)    \
    X(map)          \
    X(value)        \
    X(park)         \
    X(mutex)

#define DECLARE(noun) extern const struct subject fuzz_##noun;
#define ENTRY(noun)   &fuzz_##noun,

SUBJECTS(DECLARE)

const struct subject *const subjects[] = {SUBJECTS(ENTRY)};
const uint32_t subject_count = sizeof subjects / sizeof subjects[0];
