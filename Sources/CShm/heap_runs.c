/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The heap's spans, and large blocks, which are runs of them. Pairs: those of heap.c.
 *
 * A freed run is *kept* as it is laid out, its state FREE, and a hint says where: so a block of the
 * same length costs a compare-and-swap and no lock. Where spans are wanted and none are free, the
 * kept runs are dissolved, under the lock. Both take a run by FREE -> TAKEN by themselves.
 *
 *   killed between FREE and the hint    a kept run without a hint: found when spans are wanted
 *   killed with a run TAKEN             the sweep makes it FREE again
 *   killed dissolving                   a run without its head: the next holder of the lock
 *                                       makes its spans free
 */
#include <errno.h>

#include <cshm/mutex.h>
#include <cshm/participant.h>

#include "heap_view.h"

/* Spans are committed as many at a time as there are already, between 256 KiB and 4 MiB: the kernel
 * clears them, which a program that has just started would wait for. */
enum { COMMIT_SPANS_MIN = 4, COMMIT_SPANS_MAX = 64 };

/* ---- spans: under the heap lock ---- */

/* After a holder's death: a run without its head was half made or half dissolved; its spans are
 * free. A head is stored last when making and cleared first when dissolving. */
static void rebuild_spans(cshm_region *region)
{
    uint64_t count = committed(region);
    uint64_t covered = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t word = atomic_load_explicit(&region->spans[i].word, memory_order_relaxed);
        if (KIND(word) == CSHM_SPAN_LARGE) {
            covered = i + VALUE(word);
        } else if (KIND(word) == CSHM_SPAN_CONTINUED && i >= covered) {
            atomic_store_explicit(&region->spans[i].word, 0, memory_order_release);
        }
    }
    atomic_store_explicit(&region->live->free_hint, 0, memory_order_relaxed);
}

int cshm__heap_lock_until(cshm_region *region, int64_t deadline_ns)
{
    int status = cshm_mutex_acquire_until(&region->live->heap_lock, deadline_ns);
    if (status == 1) {
        rebuild_spans(region);
        (void)cshm_mutex_repair(&region->live->heap_lock);
        status = 0;
    }
    return status;
}

void cshm__heap_unlock(cshm_region *region)
{
    (void)cshm_mutex_release(&region->live->heap_lock);
}

static uint64_t generous_step(uint64_t there)
{
    if (there < COMMIT_SPANS_MIN) {
        return COMMIT_SPANS_MIN;
    }
    return there < COMMIT_SPANS_MAX ? there : COMMIT_SPANS_MAX;
}

/* Commits at least `count` more spans: their table first, then themselves, then the watermark. */
static int commit_spans(cshm_region *region, uint64_t count)
{
    uint64_t from = committed(region);
    uint64_t room = region->header.span_count - from;
    if (count > room) {
        return -ENOSPC;
    }
    uint64_t generous = generous_step(from) < room ? generous_step(from) : room;
    uint64_t step = count < generous ? generous : count;
    for (;;) {
        uint64_t table = region->header.spans_offset + from * sizeof(struct cshm_span);
        int status = cshm__commit(region->share, table / CSHM_PAGE * CSHM_PAGE,
                                  step * sizeof(struct cshm_span) + CSHM_PAGE);
        for (uint64_t done = 0; status == 0 && done < step; done += 4ull * COMMIT_SPANS_MAX) {
            uint64_t part =
                step - done < 4ull * COMMIT_SPANS_MAX ? step - done : 4ull * COMMIT_SPANS_MAX;
            status = cshm__commit(region->share, span_place(region, from + done), part * CSHM_SPAN);
        }
        if (status == 0) {
            atomic_store_explicit(&region->live->committed_spans, from + step,
                                  memory_order_release); /* [span] */
            return 0;
        }
        if (step == count) {
            return status;
        }
        step = count; /* no room for the generous step: just what is needed */
    }
}

/* First run of `count` free spans at or after `from`, or UINT64_MAX. */
static uint64_t find_run(cshm_region *region, uint64_t from, uint64_t count)
{
    uint64_t end = committed(region);
    uint64_t length = 0;
    for (uint64_t i = from; i < end; i++) {
        uint64_t word = atomic_load_explicit(&region->spans[i].word, memory_order_relaxed);
        length = KIND(word) == CSHM_SPAN_FREE ? length + 1 : 0;
        if (length == count) {
            return i + 1 - count;
        }
    }
    return UINT64_MAX;
}

static void dissolve_run(cshm_region *region, uint64_t first, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) { /* the head first: see rebuild_spans() */
        atomic_store_explicit(&region->spans[first + i].word, 0, memory_order_release);
    }
}

/* Takes a kept run, so that nobody else does. */
static bool take_head(cshm_region *region, struct cshm_span *head)
{
    uint64_t kept = WORD(CSHM_BLOCK_FREE, 0);
    return atomic_compare_exchange_strong_explicit(
        &head->owner, &kept, WORD(CSHM_BLOCK_TAKEN, cshm_participant_self(region)),
        memory_order_acq_rel, memory_order_relaxed); /* [block] */
}

/* Makes free spans of every kept run. @returns whether there was any. */
static bool dissolve_kept(cshm_region *region)
{
    uint64_t end = committed(region);
    bool any = false;
    for (uint64_t i = 0; i < end; i++) {
        struct cshm_span *head = &region->spans[i];
        uint64_t word = atomic_load_explicit(&head->word, memory_order_relaxed);
        if (KIND(word) == CSHM_SPAN_LARGE && VALUE(word) <= end - i && take_head(region, head)) {
            dissolve_run(region, i, VALUE(word));
            any = true;
        }
    }
    return any;
}

static uint64_t find_anywhere(cshm_region *region, uint64_t count)
{
    uint64_t hint = atomic_load_explicit(&region->live->free_hint, memory_order_relaxed);
    uint64_t found = find_run(region, hint, count);
    return found == UINT64_MAX && hint != 0 ? find_run(region, 0, count) : found;
}

int cshm__heap_take_run(cshm_region *region, uint64_t count, uint64_t *first)
{
    uint64_t found = find_anywhere(region, count);
    if (found == UINT64_MAX && dissolve_kept(region)) {
        found = find_run(region, 0, count);
    }
    if (found == UINT64_MAX) {
        uint64_t end = committed(region);
        uint64_t tail = 0; /* free spans at the end of what is committed */
        while (tail < end && tail < count &&
               KIND(atomic_load_explicit(&region->spans[end - 1 - tail].word,
                                         memory_order_relaxed)) == CSHM_SPAN_FREE) {
            tail++;
        }
        int status = commit_spans(region, count - tail);
        if (status != 0) {
            return status;
        }
        found = end - tail;
    }
    atomic_store_explicit(&region->live->free_hint, found + count, memory_order_relaxed);
    *first = found;
    return 0;
}

/* ---- large blocks ---- */

static void make_block(cshm_region *region, struct cshm_span *head, uint64_t size, uint64_t holder)
{
    atomic_store_explicit(&head->holder, holder, memory_order_relaxed);
    atomic_store_explicit(&head->extra, size, memory_order_relaxed);
    atomic_store_explicit(&head->owner, WORD(CSHM_BLOCK_OWNED, cshm_participant_self(region)),
                          memory_order_release); /* [block] */
}

/* Takes the run that a hint names, if it is a kept one of that length. What the hint says may be old,
 * and the span another by the time its owner is changed: then that is undone. */
static bool take_hinted(cshm_region *region, _Atomic uint64_t *hint, uint64_t count,
                        uint64_t *first)
{
    uint64_t index = atomic_load_explicit(hint, memory_order_relaxed) - 1;
    if (index >= committed(region)) {
        return false;
    }
    struct cshm_span *head = &region->spans[index];
    uint64_t word = WORD(CSHM_SPAN_LARGE, count);
    if (atomic_load_explicit(&head->word, memory_order_acquire) != word || /* [span] */
        !take_head(region, head)) {
        return false;
    }
    if (atomic_load_explicit(&head->word, memory_order_acquire) != word) {
        uint64_t taken = WORD(CSHM_BLOCK_TAKEN, cshm_participant_self(region));
        (void)atomic_compare_exchange_strong_explicit(&head->owner, &taken, 0, memory_order_acq_rel,
                                                      memory_order_relaxed);
        atomic_store_explicit(&region->live->abandoned, 1, memory_order_relaxed);
        return false;
    }
    atomic_store_explicit(hint, 0, memory_order_relaxed);
    *first = index;
    return true;
}

static bool take_kept(cshm_region *region, uint64_t count, uint64_t *first)
{
    for (uint32_t i = 0; i < CSHM_KEPT_RUNS; i++) {
        if (take_hinted(region, &region->live->kept[i], count, first)) {
            return true;
        }
    }
    return false;
}

static int make_run(cshm_region *region, uint64_t count, uint64_t size, uint64_t holder,
                    uint64_t *first)
{
    int status = cshm__heap_lock_until(region, INT64_MAX);
    if (status != 0) {
        return status;
    }
    status = cshm__heap_take_run(region, count, first);
    if (status == 0) {
        struct cshm_span *head = &region->spans[*first];
        for (uint64_t i = 1; i < count; i++) {
            atomic_store_explicit(&head[i].word, WORD(CSHM_SPAN_CONTINUED, i),
                                  memory_order_relaxed);
        }
        make_block(region, head, size, holder);
        atomic_store_explicit(&head->word, WORD(CSHM_SPAN_LARGE, count),
                              memory_order_release); /* [span] */
    }
    cshm__heap_unlock(region);
    return status;
}

int cshm__heap_allocate_large(cshm_region *region, uint64_t size, uint64_t holder, uint64_t *offset)
{
    uint64_t count = (size + CSHM_SPAN - 1) / CSHM_SPAN;
    uint64_t first = 0;
    if (take_kept(region, count, &first)) {
        make_block(region, &region->spans[first], size, holder);
    } else {
        int status = make_run(region, count, size, holder, &first);
        if (status != 0) {
            return status;
        }
    }
    *offset = span_place(region, first);
    return 0;
}

bool cshm__heap_end_large(cshm_region *region, const struct block *block, uint64_t state)
{
    if (!atomic_compare_exchange_strong_explicit(block->state, &state, WORD(CSHM_BLOCK_FREE, 0),
                                                 memory_order_acq_rel,
                                                 memory_order_relaxed)) { /* [block] */
        return false;
    }
    uint64_t index = (uint64_t)(block->span - region->spans);
    atomic_store_explicit(&region->live->kept[index % CSHM_KEPT_RUNS], index + 1,
                          memory_order_relaxed);
    return true;
}

bool cshm__heap_is_kept(const struct cshm_span *head)
{
    uint32_t kind = KIND(atomic_load_explicit(&head->owner, memory_order_acquire));
    return kind == CSHM_BLOCK_FREE || kind == CSHM_BLOCK_TAKEN;
}
