/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A message's slot, in rings and queues: short ones inline, long ones in a heap block that the
 * slot owns. Only the slot's owner calls these.
 *
 * Death after each store of prepare: the block is allocated for slot->block (OWNED by the dead, and
 * not named: freed by the sweep); slot->block names it (the sweep links it; the slot's next user
 * frees it); linked (the same). Of clear: the block is FREE with slot->block still naming it (its
 * cell does not name the slot any more, so that the next clear frees nothing); slot->block is 0.
 */
#include "internal.h"

#include <errno.h>

#include <cshm/heap.h>

void cshm__slot_clear(cshm_region *region, struct cshm_slot *slot)
{
    /* relaxed: the slot is the caller's; who hands slots over orders them */
    uint64_t block = atomic_load_explicit(&slot->block, memory_order_relaxed);
    if (block != 0) {
        cshm__heap_free_from(region, block, &slot->block);
        atomic_store_explicit(&slot->block, 0, memory_order_release);
    }
}

int cshm__slot_prepare(cshm_region *region, struct cshm_slot *slot, uint32_t slot_size,
                       uint64_t length, void **data)
{
    cshm__slot_clear(region, slot);
    if (length <= slot_size) {
        slot->length = length;
        *data = slot->bytes;
        return 0;
    }
    uint64_t block = 0;
    int status = cshm__heap_allocate_for(region, length, &slot->block, &block);
    if (status != 0) {
        return status == -EINVAL ? -ENOSPC : status;
    }
    /* release: the sweep must not see the link before the allocation */
    atomic_store_explicit(&slot->block, block, memory_order_release);
    cshm__heap_link(region, block);
    slot->length = length;
    *data = cshm_heap_pointer(region, block, length);
    return 0;
}

int cshm__slot_read(cshm_region *region, struct cshm_slot *slot, uint32_t slot_size, void **data,
                    uint64_t *length)
{
    uint64_t size = slot->length & ~CSHM_SLOT_PACK;
    uint64_t block = atomic_load_explicit(&slot->block, memory_order_relaxed);
    void *bytes = slot->bytes;
    if (block != 0) {
        bytes = cshm_heap_pointer(region, block, size);
    } else if (size > slot_size) {
        bytes = NULL;
    }
    if (bytes == NULL) {
        return -EPROTO;
    }
    *data = bytes;
    *length = size;
    return 0;
}
