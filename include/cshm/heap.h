/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Blocks of shared memory, of any size, by offset.
 *
 * Model
 * -----
 * The heap is spans of 64 KiB. A small block lives in a span of one size class, whose first bytes
 * are one cell for each block: its state and its *holder*. A large block is a run of spans. Only
 * the participant that owns a span allocates from it, without contention; anybody frees, by one
 * store into the cell. There are no linked free lists to tear. The run of a freed large block is kept
 * as it is for the next of its length, which costs a compare-and-swap, whatever the size; it is
 * dissolved where spans are wanted and none are free.
 *
 * A block is FREE, OWNED by a participant, or LINKED: named by a holder word in shared memory.
 * Handing a block to shared memory is three stores: allocate it for a holder word, store its
 * offset there, mark it linked. A block with a holder lives no longer than the block that its holder
 * lies in: an object that was never shared goes with its owner, and all that it holds goes too.
 *
 * Who writes what
 * ---------------
 *   a block      whoever has it; the heap reads no more of one than the holder words in it
 *   a cell       who owns the span, while the block is free; whoever links it or frees it
 *   span words   the holder of the lock over the spans, and the span's owner; that something in it
 *                was freed, anybody; of a large block, who frees it or takes it again
 *
 * Ordering
 * --------
 * What was done with a block before it was freed happens before what its next owner does. An
 * offset orders nothing: hand it on by a channel, a name, or a store that releases.
 *
 * If a process dies
 * -----------------
 *   before the holder word names the block    it is OWNED by the dead: the sweep frees it
 *   before it is marked linked                 the sweep finds its holder naming it: LINKED
 *   freeing: after the state is FREE, with the holder word still naming it
 *                                              the holder's next user sees that the block's cell
 *                                              does not name the holder any more, and drops it
 *   freeing: before the span's owner is told   the sweep tells the owners of all spans
 *   freeing a large block: before the hint     the run is kept, and found when spans are wanted
 *   taking a kept run                          the sweep makes it a kept one again
 *   holding the lock over the spans            the next holder rebuilds runs without a head
 *   owning spans                               they are adopted by whoever needs the class
 *
 * While a process is stopped that holds the lock over the spans, those wait who need a span.
 */
#ifndef CSHM_HEAP_H
#define CSHM_HEAP_H

#include "base.h"

CSHM_BEGIN_DECLS

/** How a region's heap is used; a walk over its spans, exact when nobody allocates meanwhile. */
struct cshm_heap_usage {
    /** Blocks in use. */
    uint64_t blocks;
    /** Bytes they take, rounded up to their size classes. */
    uint64_t bytes;
    /** Spans that are free. */
    uint64_t free_spans;
};

/**
 * Allocates a block that is this process's until it is shared or freed; contents are arbitrary.
 *
 * @param size    Bytes, 1 to the region's capacity. From 128 on, aligned to 128; below, to 16.
 * @param offset  Receives the block's place.
 * @returns 0 (and cshm_heap_pointer() finds it), -EINVAL, -ENOSPC, -ECHILD (this process has not
 *          joined), -EPROTO (damaged).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_heap_allocate(cshm_region *region, uint64_t size,
                                                   uint64_t *offset);

/**
 * Makes a block outlive its allocator: from now on only cshm_heap_free() ends it.
 *
 * @returns 0, -EINVAL (no such block). Idempotent.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_heap_share(cshm_region *region, uint64_t offset);

/**
 * Frees a block. Nobody may use it afterwards.
 *
 * @returns 0, or -EINVAL: not the start of a block in use, or not this process's to free: it is
 *          another process's own, or an object holds it, such as an item of a map, or the directory
 *          has a name for it. A double free is found unless the block was given out again to this
 *          process, or shared.
 */
CSHM_EXPORT int cshm_heap_free(cshm_region *region, uint64_t offset);

/**
 * Where a block is in this process, or NULL if [offset, offset + size) is not within one block.
 * Costs two loads; touches nothing else.
 */
CSHM_EXPORT void *cshm_heap_pointer(const cshm_region *region, uint64_t offset, uint64_t size);

/** The offset of an address in the region, or 0. */
CSHM_EXPORT uint64_t cshm_heap_offset(const cshm_region *region, const void *address);

/** Counts what is in use. */
CSHM_EXPORT void cshm_heap_describe(const cshm_region *region, struct cshm_heap_usage *out);

CSHM_END_DECLS

#endif /* CSHM_HEAP_H */
