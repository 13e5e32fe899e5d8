/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What the channels under test share: a region for each, made before the fork and joined after it.
 */
#ifndef BENCH_SUBJECT_H
#define BENCH_SUBJECT_H

#include <cshm.h>

#include <bench_channel.h>

/** A channel in a region of its own, as the parent made it. */
struct subject {
    cshm_region *region;
    uint64_t offset;
    struct bench_shape shape;
};

/** A region for `make`'s channel. @returns 0 or a negated errno. */
int bench_subject_create(const struct bench_shape *shape,
                         int (*make)(cshm_region *region, const struct bench_shape *shape,
                                     uint64_t *offset),
                         void **state);

/** In a child: joins, once. */
int bench_subject_join(struct subject *subject);

/** In the parent: unmaps it with everything in it. */
void bench_subject_destroy(void *state);

#endif /* BENCH_SUBJECT_H */
