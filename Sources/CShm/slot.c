/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A message's slot, in rings and queues: short ones inline, long ones in a heap block that the
 * slot owns. Only the slot's owner calls these.
 *
 * Death after each store of prepare: the block is allocated for slot->block (OWNED by the dead, and
 * not named: freed by the sweep); slot->block names it (the sweep links it; the slot's next user
 * frees it); linked (the same). Of hold: slot->length says that the block holds (the slot's next user
 * lets go of what was counted, and frees it); counted, in part or wholly (the same). Of clear: what the
 * block held is let go, in part or wholly (the next clear goes on: those done say so); slot->length says
 * that it holds nothing; the block is FREE with slot->block still naming it (its cell does not name the
 * slot any more, so that the next clear frees nothing); slot->block is 0.
 */
#include "anchor_view.h"

#include <errno.h>

#include <cshm/heap.h>

static bool holds(const struct cshm_slot *slot)
{
    return (slot->length & CSHM_SLOT_KIND) == CSHM_SLOT_HOLDS;
}

static void set_kind(struct cshm_slot *slot, uint64_t kind)
{
    slot->length = CSHM_SLOT_BYTES(slot->length) | kind;
    atomic_signal_fence(memory_order_seq_cst); /* before what follows, if it ends here */
}

/* Its block, if that is still the slot's. */
static _Atomic uint64_t *value_of(cshm_region *region, struct cshm_slot *slot)
{
    uint64_t block = atomic_load_explicit(&slot->block, memory_order_relaxed);
    return block != 0 && cshm__heap_is_held(region, block, &slot->block)
               ? cshm_heap_pointer(region, block, CSHM_SLOT_BYTES(slot->length))
               : NULL;
}

static void let_go(cshm_region *region, struct cshm_slot *slot)
{
    _Atomic uint64_t *value = value_of(region, slot);
    if (value != NULL) {
        cshm__anchor_let_go(region, value, CSHM_SLOT_BYTES(slot->length));
    }
    set_kind(slot, CSHM_SLOT_PLAIN);
}

int cshm__slot_hold(cshm_region *region, struct cshm_slot *slot)
{
    _Atomic uint64_t *value = value_of(region, slot);
    if (value == NULL) {
        return -EPROTO;
    }
    set_kind(slot, CSHM_SLOT_HOLDS);
    int status = cshm__anchor_hold(region, value, CSHM_SLOT_BYTES(slot->length));
    if (status != 0) {
        set_kind(slot, CSHM_SLOT_PLAIN);
    }
    return status;
}

__attribute__((noinline)) static bool clear(cshm_region *region, struct cshm_slot *slot,
                                            uint64_t block)
{
    bool held = holds(slot);
    if (held) {
        let_go(region, slot);
    }
    cshm__heap_free_from(region, block, &slot->block);
    atomic_store_explicit(&slot->block, 0, memory_order_release);
    return held;
}

bool cshm__slot_clear(cshm_region *region, struct cshm_slot *slot)
{
    /* relaxed: the slot is the caller's; who hands slots over orders them */
    uint64_t block = atomic_load_explicit(&slot->block, memory_order_relaxed);
    return block != 0 && clear(region, slot, block);
}

int cshm__slot_prepare(cshm_region *region, struct cshm_slot *slot, uint32_t slot_size,
                       uint64_t length, void **data)
{
    (void)cshm__slot_clear(region, slot);
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
    uint64_t size = CSHM_SLOT_BYTES(slot->length);
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
