/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * One process's view of a queue, and what its files share:
 *
 *   queue.c        create, open, close, count, describe
 *   queue_cells.c  the swap: one message in, one out, the closing of the tail
 *   queue_ports.c  ports of this process, of the dead, and those that hold what is delivered again
 *   queue_put.c    claim, commit, put; the byte limit
 *   queue_take.c   take, lease, release, return
 *   queue_end.c    finish, cancel, producer tokens, join
 */
#ifndef CSHM_QUEUE_VIEW_H
#define CSHM_QUEUE_VIEW_H

#include <cshm/queue.h>

#include "internal.h"

/* In the place of a message's port. */
#define CSHM_QUEUE_NO_PORT (UINT32_MAX - 1)

enum {
    CSHM_QUEUE_KEPT = 16,
    CSHM_QUEUE_REFUSED = 8,
    CSHM_QUEUE_LEFT_BITS = 6,
    /* Values of `left` beside 0 to CSHM_QUEUE_PACK_MAX. */
    CSHM_QUEUE_CLOSED = 63, /* an empty cell: nothing will be put here */
    CSHM_QUEUE_EXACT = 62,  /* one element of just the slot's size: its header was not written */
};

struct cshm_queue {
    cshm_region *region;
    struct cshm_queue_shared *shared;
    struct cshm_port *ports;
    _Atomic uint64_t *tokens;
    _Atomic uint64_t *cells;
    uint8_t *slots;
    /* Copies of what never changes, as checked by open. */
    uint32_t capacity;
    uint32_t ring;
    uint32_t log2_ring;
    uint32_t slot_size;
    uint32_t stride;
    uint32_t header; /* where in a slot its struct cshm_slot is, behind the bytes */
    uint32_t port_count;
    uint32_t slot_count;
    uint32_t pack;
    uint64_t byte_limit;
    uint32_t slot_bits;
    uint32_t turn_shift;
    uint64_t cum_mask;
    /* This process's guesses. */
    _Atomic uint64_t tail;
    _Atomic uint64_t head;
    _Atomic uint64_t room;        /* {position:40, elements taken by then:24} */
    _Atomic uint64_t put;         /* {position:40, elements put before it:24}, after the last put */
    _Atomic uint32_t side_seen;   /* `side` when there was nothing to deliver again */
    _Atomic int64_t next_look_ns; /* when to look for the dead again */
    _Atomic uint64_t stamp;       /* whose process's view this is: a fork's child has another */
    /* What the byte limit refused threads of this process last: {thread:22, bytes:42}, or 0. */
    _Atomic uint64_t refused[CSHM_QUEUE_REFUSED];
    /* Ports of this process: 0, port + 1, or TAKEN by a thread that puts the port back here. */
    _Atomic uint32_t kept[CSHM_QUEUE_KEPT];
};

/* ---- words ---- */

#define CSHM_OWN_LEASE            (1u << 31)
#define CSHM_OWN(hand, low)       (((uint64_t)(hand) << 32) | (uint32_t)(low))
#define CSHM_OWN_HAND(own)        ((uint32_t)((own) >> 32))
#define CSHM_OWN_INTENT(own)      ((uint32_t)(own) & (CSHM_OWN_LEASE - 1))
#define CSHM_OWN_IS_LEASED(own)   (((uint32_t)(own) & CSHM_OWN_LEASE) != 0)
#define CSHM_OWNER_IS_SIDE(owner) ((owner) >= CSHM_PORT_DIVIDED)

/* A slot's bytes, and behind them its header: an element of just the slot's size leaves the header
 * alone, and so moves no line but its own from one cache to another. */
static inline void *cshm__queue_bytes_of(const struct cshm_queue *queue, uint32_t slot)
{
    return queue->slots + (uint64_t)slot * queue->stride;
}

static inline struct cshm_slot *cshm__queue_slot(const struct cshm_queue *queue, uint32_t slot)
{
    return (struct cshm_slot *)(void *)(queue->slots + (uint64_t)slot * queue->stride +
                                        queue->header);
}

/* What `left` says of a message. */
static inline uint32_t cshm__queue_left(const struct cshm_message *message)
{
    return message->exact ? CSHM_QUEUE_EXACT : message->count;
}

/* relaxed: the port is the caller's */
static inline uint32_t cshm__queue_hand(const struct cshm_queue *queue, uint32_t port)
{
    return CSHM_OWN_HAND(atomic_load_explicit(&queue->ports[port].own, memory_order_relaxed));
}

static inline uint32_t cshm__queue_state(const struct cshm_queue *queue)
{
    return atomic_load_explicit(&queue->shared->state, memory_order_seq_cst) &
           CSHM_QUEUE_STATES; /* [end] */
}

/* ---- queue_cells.c ---- */
/* Swaps the port's hand, with the message in it, into the next empty cell.
 * @returns 0, -EAGAIN (full), -EPIPE (closed), -EPROTO. */
int cshm__queue_push(struct cshm_queue *queue, const struct cshm_message *message);
/* Fills message from the next full cell; its port and whether it is a lease are given.
 * @returns 0, -EAGAIN (empty), -EPIPE (empty and closed), -EPROTO. */
int cshm__queue_pop(struct cshm_queue *queue, uint32_t max, struct cshm_message *message);
/* Closes the cell at the tail. @returns whether it is closed; false if the queue is full. */
bool cshm__queue_close_tail(struct cshm_queue *queue);
/* Elements between head and tail at one instant. */
uint64_t cshm__queue_count(const struct cshm_queue *queue);
/* Whether these were all it can hold, at one instant. */
bool cshm__queue_is_full(const struct cshm_queue *queue);
/* Shows what `left` says is left of a slot's message. @returns 0 or -EPROTO. */
int cshm__queue_show(const struct cshm_queue *queue, uint32_t slot, uint32_t left,
                     struct cshm_message *message);
/* Copies the first elements of a message, as many as go inline, to a hand of the caller's.
 * @returns how many, or -EPROTO. */
int cshm__queue_copy_part(const struct cshm_queue *queue, const struct cshm_message *from,
                          uint32_t max, uint32_t hand);

/* ---- queue_ports.c ---- */
/* Gives the caller a port, in message->port and ->keeper, and its hand, in ->slot.
 * @returns 0, -EUSERS, -ECHILD, -EPROTO. */
int cshm__queue_take_port(struct cshm_queue *queue, struct cshm_message *message);
void cshm__queue_give_port(struct cshm_queue *queue, const struct cshm_message *message);
/* Frees what the dead had in their slots, unless it is to be delivered again, and lets go of what that
 * holds. */
void cshm__queue_clear_dead(struct cshm_queue *queue);
/* Turns the message's port into one that holds a message to be delivered again. */
void cshm__queue_set_aside(struct cshm_queue *queue, const struct cshm_message *message,
                           uint64_t kind);
/* Takes a message that is to be delivered again, if there is one, and its port for the message's, which
 * may be CSHM_QUEUE_NO_PORT; else -EAGAIN, and the message keeps its port. */
int cshm__queue_adopt(struct cshm_queue *queue, uint32_t max, struct cshm_message *message);
/* Whether anything became one to be delivered again since this process found nothing more. */
static inline bool cshm__queue_side_grew(const struct cshm_queue *queue, uint32_t *side)
{
    *side = atomic_load_explicit(&queue->shared->side, memory_order_seq_cst); /* [side] */
    return *side != atomic_load_explicit(&queue->side_seen, memory_order_relaxed);
}
/* Elements that wait in ports to be delivered again, or are the rest of a leased pack. */
uint64_t cshm__queue_aside(const struct cshm_queue *queue);
/* Finds what dead consumers had leased. @returns whether there is any. */
bool cshm__queue_rescue(struct cshm_queue *queue);
/* Messages that are leased, or to be delivered again. */
uint64_t cshm__queue_leased(const struct cshm_queue *queue);

/* ---- queue_put.c ---- */
/* Makes room for a message of so many bytes in a slot that is the caller's: in a block, if they are more
 * than `go_inline`. */
int cshm__queue_prepare(const struct cshm_queue *queue, uint32_t slot, uint32_t go_inline,
                        uint64_t bytes, void **data);
/* Frees the block of a slot that is the caller's. */
void cshm__queue_clear(struct cshm_queue *queue, uint32_t slot);
/* Bytes of blocks in all slots, by a walk. */
uint64_t cshm__queue_bytes(const struct cshm_queue *queue);
/* Whether the byte limit has room by now for what it refused the calling thread last. */
bool cshm__queue_has_byte_room(const struct cshm_queue *queue);

/* ---- queue_take.c ---- */
/* Looks, now and then, for what the dead left: leases, what holds, and a stream without producers. @returns
 * whether there is something to be delivered again. */
bool cshm__queue_look_for_dead(struct cshm_queue *queue);

/* ---- queue_end.c ---- */
/* Finishes a queue whose producers are all gone; with dead ones, at most now and then. */
void cshm__queue_finish_if_abandoned(struct cshm_queue *queue);
uint64_t cshm__queue_producers(const struct cshm_queue *queue);

#endif /* CSHM_QUEUE_VIEW_H */
