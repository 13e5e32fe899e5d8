/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/once.h for the model. The word is {kind:8, 0:8, stamp:48}. Pairs:
 *
 *   [done]      the runner's work, then DONE (seq_cst) -> anybody loads DONE (acquire)
 *   [run]       the last runner's stores, then NEW (seq_cst), or its death -> the next one's
 *               compare-and-swap (acq_rel)
 *   [announce]  of park.c: DONE or NEW is stored (seq_cst), then the parking word is looked at
 */
#include <cshm/once.h>

#include <errno.h>
#include <string.h>

#include <cshm/participant.h>

#include "internal.h"

enum { MAGIC = 0x6f6e6365 }; /* "once" */

enum { NEW = 0, RUNNING = 1, DONE = 2 };

#define WORD(kind, stamp) (((uint64_t)(kind) << 56) | (stamp))
#define KIND(word)        ((uint32_t)((word) >> 56))
#define STAMP(word)       ((word) & ((UINT64_C(1) << 48) - 1))

static struct cshm_once_shared *shared_of(const cshm_once *once)
{
    return (struct cshm_once_shared *)(uintptr_t)once;
}

static bool is_once(const struct cshm_once_shared *shared)
{
    /* relaxed: it never changes once it can be seen */
    return atomic_load_explicit(&shared->magic, memory_order_relaxed) == MAGIC;
}

void cshm_once_init(cshm_once *once)
{
    struct cshm_once_shared *shared = shared_of(once);
    memset((void *)shared, 0, sizeof *shared);
    atomic_store_explicit(&shared->magic, MAGIC, memory_order_release);
}

static uint64_t load(const struct cshm_once_shared *shared)
{
    return atomic_load_explicit(&shared->word, memory_order_acquire); /* [done] */
}

int cshm_once_is_done(const cshm_once *once)
{
    const struct cshm_once_shared *shared = shared_of(once);
    return is_once(shared) ? KIND(load(shared)) == DONE : -EPROTO;
}

struct beginning {
    cshm_region *region;
    struct cshm_once_shared *shared;
    bool ask; /* the kernel whether the runner lives */
};

static bool become_runner(const struct beginning *beginning, uint64_t seen)
{
    return atomic_compare_exchange_strong_explicit(
        &beginning->shared->word, &seen, WORD(RUNNING, cshm_participant_self(beginning->region)),
        memory_order_acq_rel, memory_order_relaxed); /* [run] */
}

static int begin(void *context)
{
    const struct beginning *beginning = context;
    uint64_t seen = load(beginning->shared);
    switch (KIND(seen)) {
    case DONE:
        return 0;
    case NEW:
        return become_runner(beginning, seen) ? CSHM_ONCE_RUN : -EAGAIN;
    case RUNNING:
        return beginning->ask && cshm_participant_is_gone(beginning->region, STAMP(seen)) == 1 &&
                       become_runner(beginning, seen)
                   ? CSHM_ONCE_RUN_AGAIN
                   : -EAGAIN;
    default:
        return -EPROTO;
    }
}

/* Before each sleep: from then on the kernel is asked. */
static bool runner_is_gone(void *context)
{
    struct beginning *beginning = context;
    uint64_t seen = load(beginning->shared);
    beginning->ask =
        KIND(seen) == RUNNING && cshm_participant_is_gone(beginning->region, STAMP(seen)) == 1;
    return beginning->ask;
}

int cshm_once_try_begin(cshm_region *region, cshm_once *once)
{
    struct beginning beginning = {region, shared_of(once), true};
    if (!is_once(beginning.shared)) {
        return -EPROTO;
    }
    return cshm_participant_self(region) == 0 ? -ECHILD : begin(&beginning);
}

int cshm_once_begin_until(cshm_region *region, cshm_once *once, int64_t deadline_ns)
{
    struct beginning beginning = {region, shared_of(once), false};
    if (!is_once(beginning.shared)) {
        return -EPROTO;
    }
    if (KIND(load(beginning.shared)) == DONE) {
        return 0;
    }
    if (cshm_participant_self(region) == 0) {
        return -ECHILD;
    }
    int status = begin(&beginning);
    while (status == -EAGAIN ||
           status == -EPIPE) { /* -EPIPE: another one took over from the dead */
        beginning.ask = false;
        status = cshm__await_peer(&beginning.shared->waiters.park, begin, runner_is_gone,
                                  &beginning, deadline_ns);
    }
    return status;
}

int cshm_once_end(cshm_region *region, cshm_once *once, int done)
{
    struct cshm_once_shared *shared = shared_of(once);
    uint64_t running = WORD(RUNNING, cshm_participant_self(region));
    if (!is_once(shared)) {
        return -EPROTO;
    }
    if (!atomic_compare_exchange_strong_explicit(&shared->word, &running,
                                                 WORD(done != 0 ? DONE : NEW, 0),
                                                 memory_order_seq_cst, /* [done], [run] */
                                                 memory_order_relaxed)) {
        return -EPERM;
    }
    cshm_park_wake_all(&shared->waiters.park);
    return 0;
}

static int is_ready(const void *object)
{
    return KIND(load(object)) != RUNNING;
}

void cshm_once_waitable(cshm_once *once, struct cshm_waitable *out)
{
    struct cshm_once_shared *shared = shared_of(once);
    *out = cshm__at_park(&shared->waiters.park, is_ready, shared);
}
