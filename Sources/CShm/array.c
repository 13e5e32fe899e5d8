/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/array.h for the model. An array is complete before it is named or sent; no pairs.
 */
#include <cshm/array.h>

#include <errno.h>
#include <string.h>

#include <cshm/heap.h>

#include "internal.h"

enum { MAGIC = 0x61727261 }; /* "arra" */

/* @returns 0 if there is no such size. */
static uint64_t extent_for(uint32_t stride, uint64_t count)
{
    uint64_t bytes = 0;
    return __builtin_mul_overflow(stride, count, &bytes) ||
                   __builtin_add_overflow(bytes, sizeof(struct cshm_array_shared), &bytes)
               ? 0
               : bytes;
}

int cshm_array_create(cshm_region *region, const struct cshm_type *type, uint64_t count,
                      uint64_t *offset)
{
    uint64_t place = 0;
    if (!cshm__type_is_good(type)) {
        return -EINVAL;
    }
    uint64_t extent = extent_for(type->stride, count);
    if (extent == 0) {
        return -ENOSPC;
    }
    int status = cshm_heap_allocate(region, extent, &place);
    if (status != 0) {
        return status == -EINVAL ? -ENOSPC : status; /* larger than the region's capacity */
    }
    struct cshm_array_shared *shared = cshm_heap_pointer(region, place, extent);
    if (shared == NULL) {
        return -EPROTO;
    }
    memset((void *)shared, 0, extent);
    cshm_mutex_init(&shared->mutex);
    shared->type = *type;
    shared->count = count;
    shared->magic = MAGIC;
    *offset = place;
    return 0;
}

int cshm_array_open(cshm_region *region, uint64_t offset, const struct cshm_type *type,
                    struct cshm_array *out)
{
    struct cshm_array_shared *shared = cshm_heap_pointer(region, offset, sizeof *shared);
    if (shared == NULL || shared->magic != MAGIC) {
        return -EPROTO;
    }
    struct cshm_type found = shared->type;
    uint64_t count = shared->count;
    uint64_t extent = extent_for(found.stride, count);
    if (!cshm__type_is_good(&found) || !cshm__type_is_same(&found, type) || extent == 0 ||
        cshm_heap_pointer(region, offset, extent) == NULL) {
        return -EPROTO;
    }
    *out = (struct cshm_array){shared + 1, count, &shared->mutex};
    return 0;
}
