/*
 * SPDX-License-Identifier: Apache-2.0
 */
#include "subject.h"

#include <errno.h>
#include <stdlib.h>

int bench_subject_create(const struct bench_shape *shape,
                         int (*make)(cshm_region *region, const struct bench_shape *shape,
                                     uint64_t *offset),
                         void **state)
{
    struct subject *subject = calloc(1, sizeof *subject);
    if (subject == NULL) {
        return -ENOMEM;
    }
    subject->shape = *shape;
    uint64_t messages = 2ull * shape->capacity * shape->size;
    struct cshm_region_options options = {.capacity = (64u << 20) + messages};
    int status = cshm_region_create(&options, &subject->region);
    if (status == 0) {
        status = make(subject->region, shape, &subject->offset);
        if (status == 0) {
            status = cshm_heap_share(subject->region, subject->offset);
        }
        if (status != 0) {
            cshm_region_close(subject->region);
        }
    }
    if (status != 0) {
        free(subject);
        return status;
    }
    *state = subject;
    return 0;
}

int bench_subject_join(struct subject *subject)
{
    int status = cshm_region_join(subject->region);
    return status == -EALREADY ? 0 : status;
}

void bench_subject_destroy(void *state)
{
    struct subject *subject = state;
    cshm_region_close(subject->region);
    free(subject);
}
