/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/heap.h for the model. Pairs:
 *
 *   [span]   a span is laid out, then its word stored (release) -> found by its word (acquire)
 *   [block]  a block's last use, then its state stored FREE (release) -> its next owner finds it
 *            FREE (acquire)
 *
 * An allocator writes a cell's holder before its state, while the cell is FREE and only it may
 * give it out; so a state that says in use never stands beside an old holder.
 */
#include <cshm/heap.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/participant.h>

#include "heap_view.h"

enum {
    NESTED_MAX = 8, /* blocks held by blocks that are held */
    SWEEP_PATIENCE_NS = 10000000,
};

/* In a span: cells first, rounded up to a line, then the blocks. */
#define CELLS_SIZE(count) \
    (((count) * (uint32_t)sizeof(struct cshm_cell) + CSHM_LINE - 1) / CSHM_LINE * CSHM_LINE)
#define MOST(size)        (CSHM_SPAN / ((size) + (uint32_t)sizeof(struct cshm_cell)))
#define FITS(count, size) (CELLS_SIZE(count) + (count) * (size) <= CSHM_SPAN)
#define BLOCKS_IN(size)   (FITS(MOST(size), size) ? MOST(size) : MOST(size) - 1)
#define RECIPROCAL(size)  ((uint32_t)((UINT64_C(1) << 32) / (size) + 1))
#define GEOMETRY(size)    {size, BLOCKS_IN(size), CELLS_SIZE(BLOCKS_IN(size)), RECIPROCAL(size)}

/* Of a class. From 128 on all sizes are multiples of 128, which is then their alignment. */
static const struct geometry {
    uint32_t size, blocks, first;
    uint32_t reciprocal; /* of the size, times 2^32: by it what is below 2^16 is divided exactly */
} GEOMETRY_OF[CSHM_CLASSES] = {
    GEOMETRY(32),    GEOMETRY(48),    GEOMETRY(64),    GEOMETRY(96),    GEOMETRY(128),
    GEOMETRY(256),   GEOMETRY(384),   GEOMETRY(512),   GEOMETRY(640),   GEOMETRY(768),
    GEOMETRY(1024),  GEOMETRY(1280),  GEOMETRY(1536),  GEOMETRY(2048),  GEOMETRY(2560),
    GEOMETRY(3072),  GEOMETRY(4096),  GEOMETRY(5120),  GEOMETRY(6144),  GEOMETRY(8192),
    GEOMETRY(10240), GEOMETRY(12288), GEOMETRY(16256), GEOMETRY(21760), GEOMETRY(32640),
};
_Static_assert(CSHM_SPAN <= 1 << 16, "heap: division by reciprocals");

static uint32_t size_of(uint32_t class)
{
    return GEOMETRY_OF[class].size;
}

static uint32_t blocks_in(uint32_t class)
{
    return GEOMETRY_OF[class].blocks;
}

static uint32_t first_block(uint32_t class)
{
    return GEOMETRY_OF[class].first;
}

static struct cshm_cell *cells_of(const cshm_region *region, uint64_t span)
{
    return (struct cshm_cell *)(void *)(region->base + span_place(region, span));
}

/* Finds the block that `offset` lies in, from checked numbers only. */
bool cshm__heap_find(const cshm_region *region, uint64_t offset, struct block *out)
{
    if (offset < region->header.heap_offset) {
        return false;
    }
    uint64_t index = (offset - region->header.heap_offset) / CSHM_SPAN;
    if (index >= committed(region)) {
        return false;
    }
    struct cshm_span *span = &region->spans[index];
    uint64_t word = atomic_load_explicit(&span->word, memory_order_acquire); /* [span] */
    uint64_t place = span_place(region, index);
    if (KIND(word) == CSHM_SPAN_SMALL && VALUE(word) < CSHM_CLASSES) {
        const struct geometry *class = &GEOMETRY_OF[VALUE(word)];
        uint64_t within = offset - place - class->first; /* wraps before the first one */
        uint64_t number = within * class->reciprocal >> 32;
        if (within >= CSHM_SPAN || number >= class->blocks) {
            return false;
        }
        struct cshm_cell *cell = &cells_of(region, index)[number];
        *out = (struct block){&cell->state, &cell->holder, span,
                              place + class->first + number * class->size, class->size};
        return true;
    }
    if (KIND(word) == CSHM_SPAN_CONTINUED && VALUE(word) <= index) {
        index -= VALUE(word); /* the distance to the head */
        span = &region->spans[index];
        word = atomic_load_explicit(&span->word, memory_order_acquire); /* [span] */
        place = span_place(region, index);
    }
    if (KIND(word) == CSHM_SPAN_LARGE && VALUE(word) <= committed(region) - index) {
        *out = (struct block){&span->owner, &span->holder, span, place, VALUE(word) * CSHM_SPAN};
        return offset < place + out->size;
    }
    return false;
}

/* ---- small blocks: under this process's lock of the class ---- */

static int remember_span(struct cshm_class *own, uint64_t span)
{
    if (own->span_count == own->span_room) {
        uint32_t room = own->span_room == 0 ? 8 : own->span_room * 2;
        uint32_t *spans = realloc(own->spans, room * sizeof *spans);
        if (spans == NULL) {
            return -ENOMEM;
        }
        own->spans = spans;
        own->span_room = room;
    }
    own->spans[own->span_count++] = (uint32_t)span;
    return 0;
}

/* Takes over a span of the class whose owner has gone, if there is one. */
static bool adopt_span(cshm_region *region, uint32_t class, struct cshm_class *own)
{
    if (atomic_load_explicit(&region->live->abandoned, memory_order_relaxed) == 0) {
        return false;
    }
    uint64_t count = committed(region);
    bool others = false;
    for (uint64_t i = 0; i < count; i++) {
        struct cshm_span *span = &region->spans[i];
        uint64_t nobody = 0;
        uint64_t word = atomic_load_explicit(&span->word, memory_order_acquire); /* [span] */
        if (KIND(word) != CSHM_SPAN_SMALL ||
            atomic_load_explicit(&span->owner, memory_order_relaxed) != 0) {
            continue;
        }
        if (VALUE(word) != class) {
            others = true;
        } else if (atomic_compare_exchange_strong_explicit(
                       &span->owner, &nobody, cshm_participant_self(region), memory_order_acq_rel,
                       memory_order_relaxed)) {
            if (remember_span(own, i) == 0) {
                return true;
            }
            atomic_store_explicit(&span->owner, 0, memory_order_release);
            return false;
        }
    }
    if (!others) {
        atomic_store_explicit(&region->live->abandoned, 0, memory_order_relaxed);
    }
    return false;
}

static int new_span(cshm_region *region, uint32_t class, struct cshm_class *own)
{
    uint64_t first = 0;
    int status = cshm__heap_lock_until(region, INT64_MAX);
    if (status != 0) {
        return status;
    }
    status = cshm__heap_take_run(region, 1, &first);
    if (status == 0) {
        struct cshm_span *span = &region->spans[first];
        status = remember_span(own, first);
        if (status == 0) {
            memset(cells_of(region, first), 0, first_block(class));
            atomic_store_explicit(&span->owner, cshm_participant_self(region),
                                  memory_order_relaxed);
            atomic_store_explicit(&span->extra, 1, memory_order_relaxed);
            atomic_store_explicit(&span->word, WORD(CSHM_SPAN_SMALL, class),
                                  memory_order_release); /* [span] */
        }
    }
    cshm__heap_unlock(region);
    return status;
}

/* Collects free cells of one span into the empty cache. `extra` is cleared before the look, so a
 * block freed during it makes the span worth another. */
static void scan_span(cshm_region *region, uint32_t class, struct cshm_class *own, uint64_t span)
{
    struct cshm_span *entry = &region->spans[span];
    struct cshm_cell *cells = cells_of(region, span);
    uint64_t base = span_place(region, span) + first_block(class);
    uint32_t count = blocks_in(class);
    if (atomic_exchange_explicit(&entry->extra, 0, memory_order_acq_rel) == 0) {
        return;
    }
    for (uint32_t i = count; i-- > 0;) {
        uint64_t state = atomic_load_explicit(&cells[i].state, memory_order_acquire); /* [block] */
        if (KIND(state) == CSHM_BLOCK_FREE) {
            if (own->cached == CSHM_CACHE) {
                atomic_store_explicit(&entry->extra, 1, memory_order_relaxed); /* there is more */
                return;
            }
            own->cache[own->cached++] = base + (uint64_t)i * size_of(class);
        }
    }
}

static int refill(cshm_region *region, uint32_t class, struct cshm_class *own)
{
    for (;;) {
        for (uint32_t i = 0; i < own->span_count && own->cached == 0; i++) {
            own->cursor = (own->cursor + (i != 0)) % own->span_count;
            scan_span(region, class, own, own->spans[own->cursor]);
        }
        if (own->cached != 0) {
            return 0;
        }
        if (!adopt_span(region, class, own)) {
            int status = new_span(region, class, own);
            if (status != 0) {
                return status;
            }
        }
        own->cursor = own->span_count - 1;
    }
}

uint32_t cshm__heap_class(uint64_t size)
{
    uint32_t class = 0;
    while (class < CSHM_CLASSES && size_of(class) < size) {
        class ++;
    }
    return class;
}

static int allocate_small(cshm_region *region, uint64_t size, uint64_t holder, uint64_t *offset)
{
    uint32_t class = cshm__heap_class(size);
    struct cshm_class *own = &region->classes[class];
    pthread_mutex_lock(&own->lock);
    int status = own->cached != 0 ? 0 : refill(region, class, own);
    if (status == 0) {
        uint64_t place = own->cache[--own->cached];
        struct block block;
        if (cshm__heap_find(region, place, &block) && block.start == place && block.size >= size) {
            atomic_store_explicit(block.holder, holder, memory_order_relaxed);
            atomic_store_explicit(block.state,
                                  WORD(CSHM_BLOCK_OWNED, cshm_participant_self(region)),
                                  memory_order_release);
            *offset = place;
        } else {
            status = -EPROTO;
        }
    }
    pthread_mutex_unlock(&own->lock);
    return status;
}

static int allocate(cshm_region *region, uint64_t size, uint64_t holder, uint64_t *offset)
{
    if (cshm_participant_self(region) == 0) {
        return -ECHILD;
    }
    if (size == 0 || size > region->header.capacity) {
        return size == 0 ? -EINVAL : -ENOSPC;
    }
    if (size > size_of(CSHM_CLASSES - 1)) {
        uint64_t place = 0;
        int status = cshm__heap_allocate_large(region, size, holder, &place);
        if (status == 0 && cshm_heap_pointer(region, place, size) == NULL) {
            status = -EPROTO; /* the spans are damaged */
        }
        if (status == 0) {
            *offset = place;
        }
        return status;
    }
    return allocate_small(region, size, holder, offset);
}

static bool end_cell(const struct block *block, uint64_t state)
{
    if (!atomic_compare_exchange_strong_explicit(block->state, &state, 0, memory_order_acq_rel,
                                                 memory_order_relaxed)) { /* [block] */
        return false;
    }
    atomic_store_explicit(&block->span->extra, 1, memory_order_release);
    return true;
}

static bool is_large(const struct block *block)
{
    return block->state == &block->span->owner;
}

/* Ends a block, if its state is still `state`. */
static bool end_block(cshm_region *region, const struct block *block, uint64_t state)
{
    return is_large(block) ? cshm__heap_end_large(region, block, state) : end_cell(block, state);
}

/* Whether a block's holder word names it. */
static bool is_named(const cshm_region *region, const struct block *block)
{
    uint64_t holder = atomic_load_explicit(block->holder, memory_order_acquire);
    struct block around;
    return holder != 0 && holder % 8 == 0 &&
           (holder < region->header.spans_offset || cshm__heap_find(region, holder, &around)) &&
           atomic_load_explicit((_Atomic uint64_t *)(void *)(region->base + holder),
                                memory_order_acquire) == block->start;
}

/* ---- public ---- */

int cshm_heap_allocate(cshm_region *region, uint64_t size, uint64_t *offset)
{
    return allocate(region, size, 0, offset);
}

int cshm__heap_allocate_for(cshm_region *region, uint64_t size, _Atomic uint64_t *holder,
                            uint64_t *offset)
{
    return allocate(region, size, cshm_heap_offset(region, holder), offset);
}

void cshm__heap_link(cshm_region *region, uint64_t offset)
{
    struct block block;
    if (cshm__heap_find(region, offset, &block)) {
        atomic_store_explicit(block.state, WORD(CSHM_BLOCK_LINKED, 0), memory_order_release);
    }
}

int cshm__heap_hold(cshm_region *region, uint64_t offset, const _Atomic uint64_t *holder)
{
    struct block block;
    if (!cshm__heap_find(region, offset, &block) || block.start != offset) {
        return -EINVAL;
    }
    uint64_t state = atomic_load_explicit(block.state, memory_order_acquire);
    if (state == WORD(CSHM_BLOCK_OWNED, cshm_participant_self(region))) {
        atomic_store_explicit(block.holder, cshm_heap_offset(region, (const void *)holder),
                              memory_order_release);
        return 0;
    }
    return KIND(state) == CSHM_BLOCK_LINKED ? 0 : -EINVAL;
}

int cshm_heap_share(cshm_region *region, uint64_t offset)
{
    struct block block;
    if (!cshm__heap_find(region, offset, &block) || block.start != offset) {
        return -EINVAL;
    }
    uint64_t state = atomic_load_explicit(block.state, memory_order_acquire);
    if (KIND(state) == CSHM_BLOCK_OWNED) {
        atomic_compare_exchange_strong_explicit(block.state, &state, WORD(CSHM_BLOCK_LINKED, 0),
                                                memory_order_acq_rel, memory_order_relaxed);
    }
    return KIND(state) == CSHM_BLOCK_FREE ? -EINVAL : 0;
}

int cshm_heap_free(cshm_region *region, uint64_t offset)
{
    struct block block;
    if (!cshm__heap_find(region, offset, &block) || block.start != offset) {
        return -EINVAL;
    }
    uint64_t state = atomic_load_explicit(block.state, memory_order_acquire);
    bool own = state == WORD(CSHM_BLOCK_OWNED, cshm_participant_self(region));
    bool shared = KIND(state) == CSHM_BLOCK_LINKED && !is_named(region, &block);
    return (own || shared) && end_block(region, &block, state) ? 0 : -EINVAL;
}

void cshm__heap_free_held(cshm_region *region, uint64_t offset)
{
    struct block block;
    if (cshm__heap_find(region, offset, &block) && block.start == offset) {
        uint64_t state = atomic_load_explicit(block.state, memory_order_acquire);
        if (KIND(state) != CSHM_BLOCK_FREE) {
            (void)end_block(region, &block, state);
        }
    }
}

/* Not TAKEN either: that run was free, and is another's already, though the old holder is in it still. */
static bool is_in_use(uint64_t state)
{
    return KIND(state) == CSHM_BLOCK_OWNED || KIND(state) == CSHM_BLOCK_LINKED;
}

/* A sweep may link a dead owner's block between the look at its state and its end; but only once. */
void cshm__heap_free_from(cshm_region *region, uint64_t offset, const _Atomic uint64_t *holder)
{
    struct block block;
    if (!cshm__heap_find(region, offset, &block) || block.start != offset) {
        return;
    }
    bool ended = false;
    for (int look = 0; look < 2 && !ended; look++) {
        uint64_t state = atomic_load_explicit(block.state, memory_order_acquire);
        if (!is_in_use(state) || atomic_load_explicit(block.holder, memory_order_acquire) !=
                                     cshm_heap_offset(region, (const void *)holder)) {
            return;
        }
        ended = end_block(region, &block, state);
    }
}

static bool is_held(const cshm_region *region, const struct block *block, uint64_t offset,
                    const _Atomic uint64_t *holder)
{
    return block->start == offset &&
           is_in_use(atomic_load_explicit(block->state, memory_order_acquire)) &&
           atomic_load_explicit(block->holder, memory_order_acquire) ==
               cshm_heap_offset(region, (const void *)holder);
}

uint64_t cshm__heap_holder(const cshm_region *region, uint64_t offset)
{
    struct block block;
    return cshm__heap_find(region, offset, &block) && block.start == offset
               ? atomic_load_explicit(block.holder, memory_order_acquire)
               : 0;
}

bool cshm__heap_is_held(const cshm_region *region, uint64_t offset, const _Atomic uint64_t *holder)
{
    struct block block;
    return cshm__heap_find(region, offset, &block) && is_held(region, &block, offset, holder);
}

/* Of the block that an allocation of that size gets. */
static uint64_t size_for(uint64_t size)
{
    uint32_t class = cshm__heap_class(size);
    return class < CSHM_CLASSES ? size_of(class) : (size + CSHM_SPAN - 1) / CSHM_SPAN * CSHM_SPAN;
}

void *cshm__heap_again(cshm_region *region, uint64_t offset, const _Atomic uint64_t *holder,
                       uint64_t size)
{
    struct block block;
    return cshm__heap_find(region, offset, &block) && is_held(region, &block, offset, holder) &&
                   size_for(size) == block.size
               ? region->base + offset
               : NULL;
}

void *cshm_heap_pointer(const cshm_region *region, uint64_t offset, uint64_t size)
{
    struct block block;
    if (!cshm__heap_find(region, offset, &block) || size > block.size ||
        offset - block.start > block.size - size) {
        return NULL;
    }
    return region->base + offset;
}

uint64_t cshm_heap_offset(const cshm_region *region, const void *address)
{
    uintptr_t base = (uintptr_t)region->base;
    uintptr_t place = (uintptr_t)address;
    return place >= base && place - base < region->header.capacity ? place - base : 0;
}

void cshm_heap_describe(const cshm_region *region, struct cshm_heap_usage *out)
{
    struct cshm_heap_usage usage = {0};
    uint64_t count = committed(region);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t word = atomic_load_explicit(&region->spans[i].word, memory_order_acquire);
        if (KIND(word) == CSHM_SPAN_FREE) {
            usage.free_spans++;
        } else if (KIND(word) == CSHM_SPAN_LARGE && cshm__heap_is_kept(&region->spans[i])) {
            usage.free_spans += VALUE(word);
        } else if (KIND(word) == CSHM_SPAN_LARGE) {
            usage.blocks++;
            usage.bytes += VALUE(word) * CSHM_SPAN;
        } else if (KIND(word) == CSHM_SPAN_SMALL && VALUE(word) < CSHM_CLASSES) {
            uint32_t class = (uint32_t)VALUE(word);
            struct cshm_cell *cells = cells_of(region, i);
            for (uint32_t cell = 0; cell < blocks_in(class); cell++) {
                if (KIND(atomic_load_explicit(&cells[cell].state, memory_order_relaxed)) !=
                    CSHM_BLOCK_FREE) {
                    usage.blocks++;
                    usage.bytes += size_of(class);
                }
            }
        }
    }
    *out = usage;
}

/* ---- a region's beginning, a forked child's ---- */

void cshm__heap_init(cshm_region *region)
{
    cshm_mutex_init(&region->live->heap_lock);
}

void cshm__heap_after_fork(cshm_region *region)
{
    for (uint32_t i = 0; i < CSHM_CLASSES; i++) {
        struct cshm_class *own = &region->classes[i];
        pthread_mutex_init(&own->lock, NULL);
        own->span_count = 0;
        own->cursor = 0;
        own->cached = 0;
    }
}

/* ---- what a dead process leaves ---- */

/* Whether a block's holder lies in a block that was the dead's own and stays unnamed, or in none
 * any more; directly, or by way of other blocks that are held. */
static bool goes_with(const cshm_region *region, const struct block *block, uint64_t stamp)
{
    struct block held = *block;
    for (int depth = 0; depth < NESTED_MAX; depth++) {
        uint64_t holder = atomic_load_explicit(held.holder, memory_order_acquire);
        if (holder < region->header.heap_offset) {
            return false;
        }
        if (!cshm__heap_find(region, holder, &held)) {
            return true;
        }
        uint64_t state = atomic_load_explicit(held.state, memory_order_acquire);
        if (KIND(state) == CSHM_BLOCK_FREE ||
            (state == WORD(CSHM_BLOCK_OWNED, stamp) && !is_named(region, &held))) {
            return true;
        }
    }
    return false;
}

/* First visit: an object that was never shared goes with its owner, and so does what it holds. */
static void end_held(cshm_region *region, const struct block *block, uint64_t stamp)
{
    uint64_t state = atomic_load_explicit(block->state, memory_order_acquire);
    if ((state == WORD(CSHM_BLOCK_LINKED, 0) || state == WORD(CSHM_BLOCK_OWNED, stamp)) &&
        goes_with(region, block, stamp)) {
        end_block(region, block, state);
    }
}

/* Second visit: linked if its holder names it, else free. */
static void settle(cshm_region *region, const struct block *block, uint64_t stamp)
{
    uint64_t state = atomic_load_explicit(block->state, memory_order_acquire);
    if (state == WORD(CSHM_BLOCK_TAKEN, stamp)) {
        (void)end_block(region, block, state);
    }
    if (state != WORD(CSHM_BLOCK_OWNED, stamp)) {
        return;
    }
    if (is_named(region, block)) {
        atomic_compare_exchange_strong_explicit(block->state, &state, WORD(CSHM_BLOCK_LINKED, 0),
                                                memory_order_acq_rel, memory_order_relaxed);
    } else {
        end_block(region, block, state);
    }
}

typedef void visit(cshm_region *region, const struct block *block, uint64_t stamp);

/* Visits every large block. Under the heap lock. */
static void visit_large(cshm_region *region, visit *visit, uint64_t stamp)
{
    uint64_t count = committed(region);
    for (uint64_t i = 0; i < count; i++) {
        struct block block;
        uint64_t word = atomic_load_explicit(&region->spans[i].word, memory_order_relaxed);
        if (KIND(word) == CSHM_SPAN_LARGE &&
            cshm__heap_find(region, span_place(region, i), &block)) {
            visit(region, &block, stamp);
        }
    }
}

/* Visits every small block in the dead's spans, and then, if told so, gives the spans up. */
static void visit_small(cshm_region *region, visit *visit, uint64_t stamp, bool give_up)
{
    uint64_t count = committed(region);
    for (uint64_t i = 0; i < count; i++) {
        struct cshm_span *span = &region->spans[i];
        uint64_t word = atomic_load_explicit(&span->word, memory_order_acquire); /* [span] */
        if (KIND(word) != CSHM_SPAN_SMALL || VALUE(word) >= CSHM_CLASSES) {
            continue;
        }
        uint32_t class = (uint32_t)VALUE(word);
        uint64_t first = span_place(region, i) + first_block(class);
        uint64_t owner = atomic_load_explicit(&span->owner, memory_order_acquire);
        /* TAKEN: it took the span for a kept run, and died before it saw its mistake. */
        bool dead = owner == stamp || owner == WORD(CSHM_BLOCK_TAKEN, stamp);
        for (uint32_t cell = 0; dead && cell < blocks_in(class); cell++) {
            struct block block;
            if (cshm__heap_find(region, first + cell * size_of(class), &block)) {
                visit(region, &block, stamp);
            }
        }
        if (!give_up) {
            continue;
        }
        /* In anybody's span: the dead may have freed a block of it without saying so. */
        if (atomic_load_explicit(&span->extra, memory_order_relaxed) == 0) {
            atomic_store_explicit(&span->extra, 1, memory_order_relaxed);
        }
        if (dead) {
            /* The hint after the owner's end: set first, a racing adopter might clear it. */
            atomic_store_explicit(&span->owner, 0, memory_order_release);
            atomic_store_explicit(&region->live->abandoned, 1, memory_order_relaxed);
        }
    }
}

/* All that is held goes before any holder does: cut short between, a sweep starts again. */
bool cshm__heap_sweep(cshm_region *region, uint64_t stamp)
{
    visit_small(region, end_held, stamp, false);
    if (cshm__heap_lock_until(region, cshm_now_ns() + SWEEP_PATIENCE_NS) != 0) {
        return false;
    }
    visit_large(region, end_held, stamp);
    visit_large(region, settle, stamp);
    cshm__heap_unlock(region);
    visit_small(region, settle, stamp, true);
    return true;
}

bool cshm__heap_leave(cshm_region *region)
{
    uint64_t stamp = cshm_participant_self(region);
    bool swept = stamp == 0 || cshm__heap_sweep(region, stamp);
    for (uint32_t i = 0; i < CSHM_CLASSES; i++) {
        pthread_mutex_destroy(&region->classes[i].lock);
        free(region->classes[i].spans);
    }
    return swept;
}
