/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/baton.h for the model. Pair:
 *
 *   [pass]  the owner's last stores, then the word is exchanged (seq_cst), or the owner's death ->
 *           the next one's compare-and-swap (seq_cst)
 *
 * The word is {0:14, broken:1, inherited:1, stamp:48}. Stamps are never used again, so a swap from a
 * dead one's word succeeds once.
 */
#include <cshm/baton.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

#include "internal.h"

enum {
    MAGIC = 0x6261746f, /* "bato" */
};

#define INHERITED   (1ull << 48)
#define BROKEN      (1ull << 49)
#define STAMP(word) ((word) & 0xffffffffffffull)

struct cshm_baton {
    cshm_region *region;
    struct cshm_baton_shared *shared;
};

int cshm_baton_create(cshm_region *region, uint64_t *offset)
{
    uint64_t place = 0;
    int status = cshm_heap_allocate(region, sizeof(struct cshm_baton_shared), &place);
    if (status != 0) {
        return status;
    }
    struct cshm_baton_shared *shared = cshm_heap_pointer(region, place, sizeof *shared);
    if (shared == NULL) {
        return -EPROTO;
    }
    memset((void *)shared, 0, sizeof *shared);
    shared->magic = MAGIC;
    *offset = place;
    return 0;
}

int cshm_baton_open(cshm_region *region, uint64_t offset, cshm_baton **out)
{
    struct cshm_baton_shared *shared = cshm_heap_pointer(region, offset, sizeof *shared);
    if (shared == NULL || offset % CSHM_LINE != 0 || shared->magic != MAGIC) {
        return -EPROTO;
    }
    cshm_baton *baton = calloc(1, sizeof *baton);
    if (baton == NULL) {
        return -ENOMEM;
    }
    baton->region = region;
    baton->shared = shared;
    *out = baton;
    return 0;
}

void cshm_baton_close(cshm_baton *baton)
{
    free(baton);
}

void cshm_baton_destroy(cshm_baton *baton)
{
    (void)cshm_heap_free(baton->region, cshm_heap_offset(baton->region, baton->shared));
    free(baton);
}

static uint64_t load(const cshm_baton *baton)
{
    return atomic_load_explicit(&baton->shared->word, memory_order_seq_cst); /* [pass] */
}

static bool swap(const cshm_baton *baton, uint64_t seen, uint64_t next)
{
    return atomic_compare_exchange_strong_explicit(&baton->shared->word, &seen, next,
                                                   memory_order_seq_cst, /* [pass] */
                                                   memory_order_relaxed);
}

/* ---- acquiring ---- */

struct wish {
    cshm_baton *baton;
    uint64_t self;
};

/* Takes it if it is free. */
static int attempt(void *context)
{
    const struct wish *wish = context;
    for (;;) {
        uint64_t word = load(wish->baton);
        if ((word & BROKEN) != 0) {
            return -ENOTRECOVERABLE;
        }
        if (STAMP(word) != 0) {
            return -EAGAIN;
        }
        if (swap(wish->baton, word, wish->self)) {
            return 0;
        }
    }
}

static bool is_gone(const cshm_baton *baton, uint64_t word)
{
    uint64_t owner = STAMP(word);
    return owner != 0 && cshm_participant_is_gone(baton->region, owner) == 1;
}

/* Takes it from the dead. @returns whether it did. */
static bool take_over(void *context)
{
    const struct wish *wish = context;
    uint64_t word = load(wish->baton);
    return (word & BROKEN) == 0 && is_gone(wish->baton, word) &&
           swap(wish->baton, word, wish->self | INHERITED);
}

int cshm_baton_try_acquire(cshm_baton *baton)
{
    struct wish wish = {baton, cshm__self(baton->region)};
    if (wish.self == 0) {
        return -ECHILD;
    }
    int status = attempt(&wish);
    return status == -EAGAIN && take_over(&wish) ? 1 : status;
}

int cshm_baton_acquire_until(cshm_baton *baton, int64_t deadline_ns)
{
    struct wish wish = {baton, cshm__self(baton->region)};
    int status = cshm_baton_try_acquire(baton);
    if (status == -EAGAIN) {
        status =
            cshm__await_peer(&baton->shared->line.park, attempt, take_over, &wish, deadline_ns);
    }
    return status == -EPIPE ? 1 : status; /* taken over: an attempt finds it taken, by ourselves */
}

/* ---- having it ---- */

/* @returns its word if this process has it, else 0 */
static uint64_t own_word(const cshm_baton *baton)
{
    uint64_t word = load(baton);
    uint64_t self = cshm__self(baton->region);
    return self != 0 && STAMP(word) == self ? word : 0;
}

int cshm_baton_repair(cshm_baton *baton)
{
    uint64_t word = own_word(baton);
    if (word == 0) {
        return -EPERM;
    }
    return (word & INHERITED) != 0 && swap(baton, word, STAMP(word)) ? 0 : -EINVAL;
}

int cshm_baton_release(cshm_baton *baton)
{
    uint64_t word = own_word(baton);
    bool is_broken = (word & INHERITED) != 0;
    if (word == 0 || !swap(baton, word, is_broken ? BROKEN : 0)) {
        return -EPERM;
    }
    if (is_broken) {
        cshm_park_wake_all(&baton->shared->line.park);
    } else {
        cshm_park_wake_one(&baton->shared->line.park);
    }
    return 0;
}

/* ---- looking ---- */

int32_t cshm_baton_holder(const cshm_baton *baton)
{
    return cshm__participant_pid(baton->region, STAMP(load(baton)));
}

static int is_ready(const void *object)
{
    const cshm_baton *baton = object;
    uint64_t word = load(baton);
    return STAMP(word) == 0 || (word & BROKEN) != 0 || is_gone(baton, word);
}

void cshm_baton_waitable(const cshm_baton *baton, struct cshm_waitable *out)
{
    *out = cshm__at_park(&baton->shared->line.park, is_ready, baton);
}
