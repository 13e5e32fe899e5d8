/*
 * SPDX-License-Identifier: Apache-2.0
 */
#include "item.h"

#include <errno.h>

int cshm__pending_allocate(cshm_region *region, _Atomic uint64_t *pending, uint64_t size,
                           uint64_t *place, void **out)
{
    int status = cshm__heap_allocate_for(region, size, pending, place);
    if (status != 0) {
        return status;
    }
    atomic_store_explicit(pending, *place, memory_order_release);
    cshm__heap_link(region, *place);
    *out = cshm_heap_pointer(region, *place, size);
    return *out != NULL ? 0 : -EPROTO;
}
