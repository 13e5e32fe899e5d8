/*
 * SPDX-License-Identifier: Apache-2.0
 */
#include "item.h"

#include <errno.h>
#if defined(__x86_64__) && CSHM__HAS_EXCHANGE
#include <cpuid.h>
#endif

bool cshm__can_exchange(void)
{
#if defined(__x86_64__) && CSHM__HAS_EXCHANGE
    unsigned int a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_CMPXCHG16B) != 0;
#else
    return false;
#endif
}

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
