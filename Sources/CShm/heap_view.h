/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What the heap's two files share: heap.c has small blocks, the public calls and the sweep,
 * heap_runs.c the spans and the large blocks, which are runs of them.
 */
#ifndef CSHM_HEAP_VIEW_H
#define CSHM_HEAP_VIEW_H

#include <cshm/heap.h>

#include "internal.h"

#define WORD(kind, value) (((uint64_t)(kind) << 56) | (uint64_t)(value))
#define KIND(word)        ((uint32_t)((word) >> 56))
#define VALUE(word)       ((word) & 0xffffffffffffffull)

static inline uint64_t span_place(const cshm_region *region, uint64_t span)
{
    return region->header.heap_offset + span * CSHM_SPAN;
}

static inline uint64_t committed(const cshm_region *region)
{
    uint64_t count =
        atomic_load_explicit(&region->live->committed_spans, memory_order_acquire); /* [span] */
    return count <= region->header.span_count ? count : 0;
}

/* A block as found by its place: the words that say what it is. */
struct block {
    _Atomic uint64_t *state;
    _Atomic uint64_t *holder;
    struct cshm_span *span;
    uint64_t start;
    uint64_t size;
};

/* Finds the block that `offset` lies in, from checked numbers only. */
bool cshm__heap_find(const cshm_region *region, uint64_t offset, struct block *out);

/* ---- heap_runs.c ---- */
/* Takes the heap lock; after a holder's death it rebuilds the runs first. */
int cshm__heap_lock_until(cshm_region *region, int64_t deadline_ns);
void cshm__heap_unlock(cshm_region *region);
/* Finds or commits free spans. Under the lock. */
int cshm__heap_take_run(cshm_region *region, uint64_t count, uint64_t *first);
int cshm__heap_allocate_large(cshm_region *region, uint64_t size, uint64_t holder,
                              uint64_t *offset);
/* Ends a large block, if its state is still `state`; its run is kept. */
bool cshm__heap_end_large(cshm_region *region, const struct block *block, uint64_t state);
/* Whether a large block's run is kept, or about to be a block again. */
bool cshm__heap_is_kept(const struct cshm_span *head);

#endif /* CSHM_HEAP_VIEW_H */
