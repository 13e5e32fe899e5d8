/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/event.h for the model. Pairs:
 *
 *   [set]       what happened before, then the state is swapped (seq_cst) -> a waiter loads it set
 *               (acquire), or takes it by a compare-and-swap (acquire)
 *   [announce]  of park.c: the state is swapped (seq_cst), then the parking word is looked at
 */
#include <cshm/event.h>

#include <errno.h>
#include <string.h>

#include "internal.h"

enum { MAGIC = 0x65766e74 }; /* "evnt" */

static struct cshm_event_shared *shared_of(const cshm_event *event)
{
    return (struct cshm_event_shared *)(uintptr_t)event;
}

static bool is_event(const struct cshm_event_shared *shared)
{
    /* relaxed: it never changes once the event can be seen */
    return atomic_load_explicit(&shared->magic, memory_order_relaxed) == MAGIC;
}

void cshm_event_init(cshm_event *event, enum cshm_event_kind kind)
{
    struct cshm_event_shared *shared = shared_of(event);
    memset((void *)shared, 0, sizeof *shared);
    shared->automatic = kind == CSHM_EVENT_AUTOMATIC;
    atomic_store_explicit(&shared->magic, MAGIC, memory_order_release);
}

int cshm_event_set(cshm_event *event)
{
    struct cshm_event_shared *shared = shared_of(event);
    cshm__ask_to_write(shared); /* while what the caller stored is on its way */
    if (!is_event(shared)) {
        return -EPROTO;
    }
    (void)atomic_exchange_explicit(&shared->state, 1, memory_order_seq_cst); /* [set] */
    if (shared->automatic) {
        cshm_park_wake_one(&shared->waiters.park);
    } else {
        cshm_park_wake_all(&shared->waiters.park);
    }
    return 0;
}

int cshm_event_clear(cshm_event *event)
{
    struct cshm_event_shared *shared = shared_of(event);
    if (!is_event(shared)) {
        return -EPROTO;
    }
    /* release: who sees it cleared, and sets it, does so after what this thread did before */
    atomic_store_explicit(&shared->state, 0, memory_order_release);
    return 0;
}

static bool is_set(const struct cshm_event_shared *shared)
{
    return atomic_load_explicit(&shared->state, memory_order_acquire) != 0; /* [set] */
}

int cshm_event_is_set(const cshm_event *event)
{
    const struct cshm_event_shared *shared = shared_of(event);
    return is_event(shared) ? is_set(shared) : -EPROTO;
}

static int go_through(void *context)
{
    struct cshm_event_shared *shared = context;
    uint32_t set = 1;
    if (!is_set(shared)) {
        return -EAGAIN;
    }
    /* What it tells of, if that lies behind it: while the state is taken, and not after that. */
    __builtin_prefetch(shared + 1);
    return !shared->automatic || atomic_compare_exchange_strong_explicit(
                                     &shared->state, &set, 0, memory_order_acq_rel, /* [set] */
                                     memory_order_relaxed)
               ? 0
               : -EAGAIN;
}

int cshm_event_try_wait(cshm_event *event)
{
    struct cshm_event_shared *shared = shared_of(event);
    return is_event(shared) ? go_through(shared) : -EPROTO;
}

int cshm_event_wait_until(cshm_event *event, int64_t deadline_ns)
{
    struct cshm_event_shared *shared = shared_of(event);
    return is_event(shared) ? cshm__await(&shared->waiters.park, go_through, shared, deadline_ns)
                            : -EPROTO;
}

static int is_ready(const void *object)
{
    return is_set(object);
}

void cshm_event_waitable(cshm_event *event, struct cshm_waitable *out)
{
    struct cshm_event_shared *shared = shared_of(event);
    *out = cshm__at_park(&shared->waiters.park, is_ready, shared);
}
