/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Taking from a queue, plain or leased; see cshm/queue.h for the model. Pairs: those of
 * queue_cells.c and queue_ports.c, and
 *
 *   [done]  a lease's word is stored (seq_cst), then the parking words are looked at -> one who
 *           waits for the end announces itself, then looks at the ports
 */
#include <errno.h>

#include "queue_view.h"

enum {
    LOOKS = 1000,
};

/* Whether it is this call's turn to ask the kernel for the dead: seldom, as it costs system calls. */
static bool may_look(cshm_queue *queue)
{
    int64_t seen = atomic_load_explicit(&queue->next_look_ns, memory_order_relaxed);
    int64_t next = seen;
    return cshm__look_is_due(queue->region, &next) &&
           atomic_compare_exchange_strong_explicit(&queue->next_look_ns, &seen, next,
                                                   memory_order_relaxed, memory_order_relaxed);
}

bool cshm__queue_look_for_dead(cshm_queue *queue)
{
    bool holding = atomic_load_explicit(&queue->shared->holding, memory_order_relaxed) != 0;
    bool worth = holding ||
                 atomic_load_explicit(&queue->shared->leasing, memory_order_relaxed) != 0 ||
                 atomic_load_explicit(&queue->shared->produced, memory_order_relaxed) != 0;
    if (!worth || !may_look(queue)) {
        return false;
    }
    if (holding) {
        cshm__queue_clear_dead(queue);
    }
    cshm__queue_finish_if_abandoned(queue);
    return cshm__queue_rescue(queue);
}

/* The ring was found empty. @returns -EAGAIN (wait), -EPIPE (the end), or 0: look again. */
static int at_empty(cshm_queue *queue, int status)
{
    if (cshm__queue_look_for_dead(queue)) {
        return 0;
    }
    if (cshm__queue_state(queue) == CSHM_QUEUE_OPEN) {
        return -EAGAIN;
    }
    if (status ==
        -EAGAIN) { /* finished, but something may have been put since: close it, look again */
        (void)cshm__queue_close_tail(queue);
        return 0;
    }
    return cshm__queue_leased(queue) == 0 ? -EPIPE : -EAGAIN;
}

/* Bounded, so that damaged cells cannot hold it: nobody else makes it look again so often. */
static int take(cshm_queue *queue, uint32_t max, struct cshm_message *message)
{
    for (int look = 0; look < LOOKS; look++) {
        if (cshm__queue_state(queue) == CSHM_QUEUE_CANCELLED) {
            return -ECANCELED;
        }
        int status = cshm__queue_adopt(queue, max, message);
        if (status != -EAGAIN) {
            return status;
        }
        status = cshm__queue_pop(queue, max, message);
        if (status == -EAGAIN || status == -EPIPE) {
            status = at_empty(queue, status);
        } else {
            return status;
        }
        if (status != 0) {
            return status;
        }
    }
    return -EPROTO;
}

static void wake_putters(cshm_queue *queue, uint32_t count)
{
    if (count == 1) {
        cshm_park_wake_one(&queue->shared->room.park);
    } else {
        cshm_park_wake_all(&queue->shared->room.park);
    }
}

static void drop_lease(cshm_queue *queue, uint32_t port)
{
    atomic_store_explicit(&queue->ports[port].own, CSHM_OWN(cshm__queue_hand(queue, port), 0),
                          memory_order_seq_cst); /* [settle], [done] */
}

/* No port is free. But all of them may hold what is to be delivered again, which comes with its
 * port. */
static int take_with_port(cshm_queue *queue, uint32_t max, struct cshm_message *out)
{
    if (cshm__queue_state(queue) == CSHM_QUEUE_CANCELLED) {
        return -ECANCELED;
    }
    out->port = CSHM_QUEUE_NO_PORT;
    int status = cshm__queue_adopt(queue, max, out);
    return status == -EAGAIN ? -EUSERS : status;
}

static int try_take(cshm_queue *queue, uint32_t max, bool lease, struct cshm_message *out)
{
    if (max == 0) {
        return -EINVAL;
    }
    if (lease && atomic_load_explicit(&queue->shared->leasing, memory_order_relaxed) == 0) {
        atomic_store_explicit(&queue->shared->leasing, 1, memory_order_seq_cst);
    }
    for (;;) { /* `out` is filled as it goes: see cshm_queue_claim_many() */
        int status = cshm__queue_take_port(queue, out);
        out->leased = lease;
        out->redelivered = 0;
        if (status != 0) {
            return status == -EUSERS ? take_with_port(queue, max, out) : status;
        }
        status = take(queue, max, out);
        if (status != 0) {
            if (status == -EPROTO) { /* the slot may be ours, but what is in it is of no use */
                drop_lease(queue, out->port);
            }
            cshm__queue_give_port(queue, out);
            return status;
        }
        wake_putters(queue, out->count);
        if (out->count <= max) {
            return 0;
        }
        /* A whole pack was leased: set aside, of which the next look takes a part. */
        cshm__queue_set_aside(queue, out, CSHM_PORT_DIVIDED);
    }
}

/* ---- public ---- */

int cshm_queue_try_take(cshm_queue *queue, struct cshm_message *out)
{
    return try_take(queue, 1, false, out);
}

int cshm_queue_try_take_many(cshm_queue *queue, uint32_t max, struct cshm_message *out)
{
    return try_take(queue, max, false, out);
}

int cshm_queue_try_lease(cshm_queue *queue, uint32_t max, struct cshm_message *out)
{
    return try_take(queue, max, true, out);
}

struct taking {
    cshm_queue *queue;
    uint32_t max;
    bool lease;
    struct cshm_message *out;
};

static int attempt_take(void *context)
{
    const struct taking *taking = context;
    return try_take(taking->queue, taking->max, taking->lease, taking->out);
}

int cshm_queue_take_until(cshm_queue *queue, struct cshm_message *out, int64_t deadline_ns)
{
    return cshm_queue_take_many_until(queue, 1, out, deadline_ns);
}

int cshm_queue_take_many_until(cshm_queue *queue, uint32_t max, struct cshm_message *out,
                               int64_t deadline_ns)
{
    struct taking taking = {queue, max, false, out};
    return cshm__await(&queue->shared->items.park, attempt_take, &taking, deadline_ns);
}

int cshm_queue_lease_until(cshm_queue *queue, uint32_t max, struct cshm_message *out,
                           int64_t deadline_ns)
{
    struct taking taking = {queue, max, true, out};
    return cshm__await(&queue->shared->items.park, attempt_take, &taking, deadline_ns);
}

void cshm_queue_release(cshm_queue *queue, struct cshm_message *message)
{
    if (message->leased) {
        drop_lease(queue, message->port);
    }
    cshm__queue_clear(queue, message->slot);
    cshm__queue_give_port(queue, message);
    cshm_park_wake_all(&queue->shared->idle.park);
    if (message->leased && cshm__queue_state(queue) != CSHM_QUEUE_OPEN) {
        cshm_park_wake_all(&queue->shared->items.park); /* it may have been the last: the end */
    }
}

void cshm_queue_return(cshm_queue *queue, struct cshm_message *message)
{
    atomic_store_explicit(&queue->shared->leasing, 1, memory_order_seq_cst);
    cshm__queue_set_aside(queue, message, CSHM_PORT_RETURNED);
}
