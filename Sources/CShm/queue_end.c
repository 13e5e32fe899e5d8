/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The end of a queue's stream; see cshm/queue.h. Pairs:
 *
 *   [end]    the state is stored (seq_cst) -> loaded by every call (seq_cst). What a put that had
 *            loaded OPEN does after that is decided by the closing of the tail: queue_cells.c
 *   [token]  a token's word is swapped by a compare-and-swap, then counted in the state's word (both
 *            seq_cst) -> the look for open ones, then the state's compare-and-swap
 *
 * A token is {ticket:16, stamp:48}; a sent one has its sender's stamp and a ticket that is not 0.
 */
#include <errno.h>

#include <cshm/participant.h>

#include "queue_view.h"

static const uint64_t STAMP_MASK = (1ull << 48) - 1;

/* ---- finish, cancel ---- */

static void wake_everybody(cshm_queue *queue)
{
    cshm_park_wake_all(&queue->shared->items.park);
    cshm_park_wake_all(&queue->shared->room.park);
    cshm_park_wake_all(&queue->shared->idle.park);
}

/* Changes the state, if the word is still what was seen. */
static bool set_state(cshm_queue *queue, uint32_t *seen, uint32_t state)
{
    return atomic_compare_exchange_strong_explicit(
        &queue->shared->state, seen, (*seen & ~(uint32_t)CSHM_QUEUE_STATES) | state,
        memory_order_seq_cst, memory_order_seq_cst); /* [end] */
}

static uint32_t load_state_word(const cshm_queue *queue)
{
    return atomic_load_explicit(&queue->shared->state, memory_order_seq_cst); /* [end] */
}

/* The state has just changed to FINISHED, or had. */
static void close_and_tell(cshm_queue *queue)
{
    /* Where the queue is full, the consumer that empties it closes it. */
    (void)cshm__queue_close_tail(queue);
    wake_everybody(queue);
}

void cshm_queue_finish(cshm_queue *queue)
{
    uint32_t seen = load_state_word(queue);
    while ((seen & CSHM_QUEUE_STATES) == CSHM_QUEUE_OPEN &&
           !set_state(queue, &seen, CSHM_QUEUE_FINISHED)) {
    }
    close_and_tell(queue);
}

void cshm_queue_cancel(cshm_queue *queue)
{
    uint32_t seen = load_state_word(queue);
    while (!set_state(queue, &seen, CSHM_QUEUE_CANCELLED)) {
    }
    wake_everybody(queue);
}

/* ---- tokens ---- */

static int refusal(const cshm_queue *queue)
{
    switch (cshm__queue_state(queue)) {
    case CSHM_QUEUE_OPEN:
        return 0;
    case CSHM_QUEUE_FINISHED:
        return -EPIPE;
    default:
        return -ECANCELED;
    }
}

static bool swap_token(cshm_queue *queue, uint32_t token, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong_explicit(
        &queue->tokens[token], &from, to, memory_order_seq_cst, memory_order_seq_cst); /* [token] */
}

static uint64_t load_token(const cshm_queue *queue, uint32_t token)
{
    return atomic_load_explicit(&queue->tokens[token], memory_order_seq_cst); /* [token] */
}

static bool is_dead(const cshm_queue *queue, uint64_t word)
{
    return cshm_participant_is_gone(queue->region, word & STAMP_MASK) == 1;
}

/* Finds a place for a new token: a free one, or a dead one's. */
static int open_token(cshm_queue *queue, uint64_t word, uint32_t *token)
{
    for (int of_dead = 0; of_dead < 2; of_dead++) {
        for (uint32_t i = 0; i < queue->port_count; i++) {
            uint64_t seen = load_token(queue, i);
            if ((of_dead ? seen != 0 && is_dead(queue, seen) : seen == 0) &&
                swap_token(queue, i, seen, word)) {
                *token = i;
                return 0;
            }
        }
    }
    return -EUSERS;
}

/* A token that has become the caller's is counted in the state's word: whoever looks at all tokens
 * sees by it that some came meanwhile. @returns 0, or the refusal: the stream ended before. */
static int count_token(cshm_queue *queue, uint32_t token, uint64_t word)
{
    uint32_t before = atomic_fetch_add_explicit(&queue->shared->state, CSHM_QUEUE_ONE_TOKEN,
                                                memory_order_seq_cst); /* [end], [token] */
    if ((before & CSHM_QUEUE_STATES) == CSHM_QUEUE_OPEN) {
        return 0;
    }
    (void)swap_token(queue, token, word, 0);
    return refusal(queue);
}

/* `produced` after the token: a death between leaves a dead token that was never acknowledged. */
static int open_with(cshm_queue *queue, uint64_t ticket, uint32_t *out)
{
    uint64_t self = cshm_participant_self(queue->region);
    uint32_t token = 0;
    if (self == 0) {
        return -ECHILD;
    }
    int status = open_token(queue, ticket << 48 | self, &token);
    if (status != 0) {
        return status;
    }
    atomic_store_explicit(&queue->shared->produced, 1, memory_order_seq_cst);
    status = count_token(queue, token, ticket << 48 | self);
    if (status == 0) {
        *out = token;
    }
    return status;
}

int cshm_queue_producer_open(cshm_queue *queue, uint32_t *token)
{
    return open_with(queue, 0, token);
}

int cshm_queue_producer_send(cshm_queue *queue, uint64_t *ticket)
{
    uint32_t token = 0;
    uint64_t number = 0;
    while (number == 0) {
        number = (atomic_fetch_add_explicit(&queue->shared->tickets, 1, memory_order_relaxed) + 1) &
                 0xffff;
    }
    int status = open_with(queue, number, &token);
    if (status == 0) {
        *ticket = number << 32 | token;
    }
    return status;
}

int cshm_queue_producer_receive(cshm_queue *queue, uint64_t ticket, uint32_t *token)
{
    uint64_t self = cshm_participant_self(queue->region);
    uint32_t index = (uint32_t)ticket;
    if (self == 0) {
        return -ECHILD;
    }
    if (index >= queue->port_count || ticket >> 48 != 0 || ticket >> 32 == 0) {
        return -ENOENT;
    }
    int status = refusal(queue);
    if (status != 0) {
        return status;
    }
    uint64_t seen = load_token(queue, index);
    if (seen >> 48 != ticket >> 32 || is_dead(queue, seen) ||
        !swap_token(queue, index, seen, self)) {
        return -ENOENT;
    }
    status = count_token(queue, index, self);
    if (status == 0) {
        *token = index;
    }
    return status;
}

static bool nobody_produces(const cshm_queue *queue)
{
    for (uint32_t i = 0; i < queue->port_count; i++) {
        uint64_t seen = load_token(queue, i);
        if (seen != 0 && !is_dead(queue, seen)) {
            return false;
        }
    }
    return true;
}

/* The look at all tokens is no instant; but if none was opened or received since the state's word was
 * loaded, then nobody had one at the end of the look, and nobody has when the word changes. */
void cshm__queue_finish_if_abandoned(cshm_queue *queue)
{
    uint32_t seen = load_state_word(queue);
    if (atomic_load_explicit(&queue->shared->produced, memory_order_seq_cst) != 0 &&
        (seen & CSHM_QUEUE_STATES) == CSHM_QUEUE_OPEN && nobody_produces(queue) &&
        set_state(queue, &seen, CSHM_QUEUE_FINISHED)) {
        close_and_tell(queue);
    }
}

void cshm_queue_producer_close(cshm_queue *queue, uint32_t token)
{
    uint64_t self = cshm_participant_self(queue->region);
    if (token < queue->port_count && swap_token(queue, token, self, 0)) {
        cshm__queue_finish_if_abandoned(queue);
    }
}

uint64_t cshm__queue_producers(const cshm_queue *queue)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < queue->port_count; i++) {
        count += load_token(queue, i) != 0;
    }
    return count;
}

/* ---- join ---- */

/* The ring first: what leaves it by a lease is seen in its port, before it leaves. */
static int attempt_join(void *context)
{
    cshm_queue *queue = context;
    if (cshm_participant_self(queue->region) == 0) {
        return -ECHILD;
    }
    if (cshm__queue_state(queue) == CSHM_QUEUE_CANCELLED) {
        return -ECANCELED;
    }
    return cshm__queue_count(queue) == 0 && cshm__queue_leased(queue) == 0 ? 0 : -EAGAIN;
}

int cshm_queue_try_join(cshm_queue *queue)
{
    return attempt_join(queue);
}

static int is_joined(const void *object)
{
    return attempt_join((void *)(uintptr_t)object) != -EAGAIN;
}

void cshm_queue_joined(cshm_queue *queue, struct cshm_waitable *out)
{
    *out = cshm__at_park(&queue->shared->idle.park, is_joined, queue);
}

int cshm_queue_join_until(cshm_queue *queue, int64_t deadline_ns)
{
    return cshm__await(&queue->shared->idle.park, attempt_join, queue, deadline_ns);
}
