/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The ports of cshm/queue.h: whose they are, what the dead owned, and the messages that wait in
 * them to be delivered again. Pairs:
 *
 *   [settle]  a port's word stored (release) -> read by whoever takes the port over (acquire)
 *   [port]    owner stored 0 or a mark (release), by its owner -> claimed by a compare-and-swap
 *             (acquire)
 *   [kept]    a thread stores port + 1 in its keeper (release) -> the next takes it (acquire)
 *   [side]    a port is marked, then `side` grows (seq_cst) -> a consumer sees it grown (seq_cst)
 *             before it looks at the ports
 *
 * A mark is the store that makes a message one to be delivered again; `side` and the wake after it
 * only say so. A process that dies between them is made good by the next rescue, which counts the
 * ports that are marked already. The rescue of the dead's leases is one compare-and-swap each,
 * from the dead's stamp to the mark.
 */
#include <errno.h>

#include <cshm/participant.h>

#include "queue_view.h"

enum {
    TAKEN = UINT32_MAX,
    LOOKS = 1000,
    SETTLE_LOOKS = 100,
};

static const uint64_t FORGETTING = UINT64_MAX;

/* ---- what the dead owned ---- */

/* Whether a slot is in a cell, or surely in another port's hand. */
static bool slot_is_elsewhere(const cshm_queue *queue, uint32_t port, uint32_t slot)
{
    uint64_t mask = (1ull << queue->slot_bits) - 1;
    for (uint32_t i = 0; i < queue->ring; i++) {
        if ((atomic_load_explicit(&queue->cells[i], memory_order_seq_cst) & mask) == slot) {
            return true;
        }
    }
    for (uint32_t i = 0; i < queue->port_count; i++) {
        /* acquire: [settle] */
        uint64_t own = atomic_load_explicit(&queue->ports[i].own, memory_order_acquire);
        if (i != port && CSHM_OWN_INTENT(own) == 0 && CSHM_OWN_HAND(own) == slot) {
            return true;
        }
    }
    return false;
}

/* A dead port is ours now: finds which slot it owned. A sighting in a cell is proof, because what
 * the dead owned can never enter a cell again. @returns false if something is still moving. */
static bool settle(const cshm_queue *queue, uint32_t port)
{
    uint64_t own = atomic_load_explicit(&queue->ports[port].own, memory_order_acquire);
    uint32_t hand = CSHM_OWN_HAND(own);
    uint32_t intent = CSHM_OWN_INTENT(own);
    uint32_t lease = CSHM_OWN_IS_LEASED(own) ? CSHM_OWN_LEASE : 0;
    if (intent != 0) {
        if (slot_is_elsewhere(queue, port, hand)) {
            hand = intent - 1; /* it swapped */
        } else if (slot_is_elsewhere(queue, port, intent - 1)) {
            lease = 0; /* it did not */
        } else {
            return false;
        }
        atomic_store_explicit(&queue->ports[port].own, CSHM_OWN(hand, lease),
                              memory_order_release); /* [settle] */
    }
    return hand < queue->slot_count;
}

static bool holds_message(const cshm_queue *queue, uint32_t port)
{
    return CSHM_OWN_IS_LEASED(
        atomic_load_explicit(&queue->ports[port].own, memory_order_acquire)); /* [settle] */
}

static bool claim(const cshm_queue *queue, uint32_t port, uint64_t owner, uint64_t self)
{
    return atomic_compare_exchange_strong_explicit(&queue->ports[port].owner, &owner, self,
                                                   memory_order_acq_rel,
                                                   memory_order_relaxed); /* [port] */
}

static void let_go(const cshm_queue *queue, uint32_t port, uint64_t owner)
{
    atomic_store_explicit(&queue->ports[port].owner, owner, memory_order_release); /* [port] */
}

/* ---- ports of this process ---- */

static uint32_t claim_free(const cshm_queue *queue, uint64_t self)
{
    for (uint32_t i = 0; i < queue->port_count; i++) {
        if (atomic_load_explicit(&queue->ports[i].owner, memory_order_relaxed) == 0 &&
            claim(queue, i, 0, self)) {
            if (settle(queue, i)) {
                return i;
            }
            let_go(queue, i, 0);
        }
    }
    return CSHM_QUEUE_NO_PORT;
}

/* A port of the dead, if no message is in it; if there is none, `moving` may say that another look is
 * worth while. */
static uint32_t look_for_dead(cshm_queue *queue, uint64_t self, bool *moving)
{
    (void)cshm__queue_rescue(queue); /* what was leased is marked, and so left alone here */
    for (uint32_t i = 0; i < queue->port_count; i++) {
        uint64_t owner = atomic_load_explicit(&queue->ports[i].owner, memory_order_relaxed);
        if (owner == 0 || CSHM_OWNER_IS_SIDE(owner) ||
            !cshm_participant_is_gone(queue->region, owner) || !claim(queue, i, owner, self)) {
            continue;
        }
        bool settled = settle(queue, i);
        /* Only now: before it was known dead, it might have leased after the look. */
        if (settled && !holds_message(queue, i)) {
            return i;
        }
        let_go(queue, i, owner);
        *moving = *moving || !settled;
    }
    return CSHM_QUEUE_NO_PORT;
}

/* Slots move while they are looked for; but what moves is seen in the end, if its mover goes on. */
static uint32_t claim_dead(cshm_queue *queue, uint64_t self)
{
    uint32_t port = CSHM_QUEUE_NO_PORT;
    bool moving = true;
    for (int look = 0; look < SETTLE_LOOKS && moving && port == CSHM_QUEUE_NO_PORT; look++) {
        moving = false;
        port = look_for_dead(queue, self, &moving);
    }
    return port;
}

void cshm__queue_clear_dead(cshm_queue *queue)
{
    bool moving = false;
    uint64_t self = cshm_participant_self(queue->region);
    for (uint32_t i = 0; self != 0 && i < queue->port_count; i++) {
        uint32_t port = look_for_dead(queue, self, &moving);
        if (port == CSHM_QUEUE_NO_PORT) {
            return;
        }
        cshm__queue_clear(queue, cshm__queue_hand(queue, port));
        let_go(queue, port, 0);
    }
}

/* The child of a fork has its parent's view, but none of its ports: its first thread here forgets
 * them, the others wait that moment. */
static void forget_parent(cshm_queue *queue, uint64_t self)
{
    uint64_t seen = atomic_load_explicit(&queue->stamp, memory_order_acquire);
    if (seen != FORGETTING && seen != self &&
        atomic_compare_exchange_strong_explicit(&queue->stamp, &seen, FORGETTING,
                                                memory_order_acquire, memory_order_acquire)) {
        for (uint32_t i = 0; i < CSHM_QUEUE_KEPT; i++) {
            atomic_store_explicit(&queue->kept[i], 0, memory_order_relaxed);
        }
        atomic_store_explicit(&queue->stamp, self, memory_order_release);
    }
    while (atomic_load_explicit(&queue->stamp, memory_order_acquire) != self) {
        cshm__pause();
    }
}

/* Makes a keeper the calling thread's. @returns the port in it, CSHM_QUEUE_NO_PORT if it is empty;
 * or TAKEN: it is another thread's. */
static uint32_t take_keeper(cshm_queue *queue, uint32_t keeper)
{
    if (atomic_load_explicit(&queue->kept[keeper], memory_order_relaxed) == TAKEN) {
        return TAKEN;
    }
    /* acquire: [kept]. Whoever finds TAKEN has changed nothing. */
    uint32_t kept = atomic_exchange_explicit(&queue->kept[keeper], TAKEN, memory_order_acquire);
    return kept == TAKEN ? TAKEN : kept == 0 ? CSHM_QUEUE_NO_PORT : kept - 1;
}

int cshm__queue_take_port(cshm_queue *queue, struct cshm_message *message)
{
    uint64_t self = cshm_participant_self(queue->region);
    if (self == 0) {
        return -ECHILD;
    }
    if (atomic_load_explicit(&queue->stamp, memory_order_relaxed) != self) {
        forget_parent(queue, self);
    }
    uint32_t port = TAKEN;
    message->keeper = 0;
    for (uint32_t i = 0; i < CSHM_QUEUE_KEPT && message->keeper == 0; i++) {
        port = take_keeper(queue, i);
        message->keeper = port == TAKEN ? 0 : i + 1;
    }
    if (message->keeper == 0 || port == CSHM_QUEUE_NO_PORT) {
        port = claim_free(queue, self);
    }
    if (port == CSHM_QUEUE_NO_PORT) {
        port = claim_dead(queue, self);
    }
    if (port != CSHM_QUEUE_NO_PORT) {
        message->port = port;
        message->slot = cshm__queue_hand(queue, port);
        if (message->slot < queue->slot_count) {
            return 0;
        }
    }
    if (message->keeper != 0) {
        atomic_store_explicit(&queue->kept[message->keeper - 1], 0, memory_order_release);
    }
    return port == CSHM_QUEUE_NO_PORT ? -EUSERS : -EPROTO;
}

void cshm__queue_give_port(cshm_queue *queue, const struct cshm_message *message)
{
    if (message->keeper == 0) {
        let_go(queue, message->port, 0);
        return;
    }
    atomic_store_explicit(&queue->kept[message->keeper - 1], message->port + 1,
                          memory_order_release); /* [kept] */
}

/* ---- messages to be delivered again ---- */

static void tell_of_side(cshm_queue *queue)
{
    atomic_fetch_add_explicit(&queue->shared->side, 1, memory_order_seq_cst); /* [side] */
    cshm_park_wake_all(&queue->shared->items.park);
}

void cshm__queue_set_aside(cshm_queue *queue, const struct cshm_message *message, uint64_t kind)
{
    struct cshm_port *port = &queue->ports[message->port];
    /* relaxed: ordered by [settle] */
    atomic_store_explicit(&port->left, cshm__queue_left(message), memory_order_relaxed);
    atomic_store_explicit(&port->own, CSHM_OWN(message->slot, CSHM_OWN_LEASE),
                          memory_order_release); /* [settle] */
    let_go(queue, message->port, kind);
    if (message->keeper != 0) {
        atomic_store_explicit(&queue->kept[message->keeper - 1], 0, memory_order_release);
    }
    tell_of_side(queue);
}

bool cshm__queue_rescue(cshm_queue *queue)
{
    bool any = false;
    /* relaxed: a lease that is being made now is not a dead one's */
    if (atomic_load_explicit(&queue->shared->leasing, memory_order_relaxed) == 0) {
        return false;
    }
    for (uint32_t i = 0; i < queue->port_count; i++) {
        uint64_t owner = atomic_load_explicit(&queue->ports[i].owner, memory_order_acquire);
        if (owner == 0 || !holds_message(queue, i)) {
            continue;
        }
        /* All of them: what one of the dead had may not be known before another one's is. */
        if (CSHM_OWNER_IS_SIDE(owner) || (cshm_participant_is_gone(queue->region, owner) &&
                                          claim(queue, i, owner, CSHM_PORT_RETURNED))) {
            any = true;
        }
    }
    if (any) {
        tell_of_side(queue);
    }
    return any;
}

/* The dividing of a pack moves elements from port to port, so that a look at the ports is true for no
 * instant if one was divided meanwhile. */
uint64_t cshm__queue_leased(const cshm_queue *queue)
{
    for (int look = 0; look < LOOKS; look++) {
        uint64_t count = 0;
        uint32_t side =
            atomic_load_explicit(&queue->shared->side, memory_order_seq_cst); /* [side] */
        for (uint32_t i = 0; i < queue->port_count; i++) {
            count += atomic_load_explicit(&queue->ports[i].owner, memory_order_acquire) != 0 &&
                     holds_message(queue, i);
        }
        if (count != 0 ||
            side == atomic_load_explicit(&queue->shared->side, memory_order_seq_cst)) { /* [side] */
            return count;
        }
    }
    return 1; /* so much is divided that there is something */
}

/* Some elements of a pack that waits in a port of ours; the rest waits on. For a plain taker the
 * lowering of `left` is the commit; for a lease its own port's word comes before, so that a death
 * between the two delivers the elements twice rather than not at all. */
static int divide(cshm_queue *queue, const struct cshm_message *pack, uint32_t max, uint64_t kind,
                  struct cshm_message *message)
{
    struct cshm_port *from = &queue->ports[pack->port];
    struct cshm_port *to = &queue->ports[message->port];
    int count = cshm__queue_copy_part(queue, pack, max, message->slot);
    if (count > 0 && message->leased) {
        atomic_store_explicit(&to->left, (uint32_t)count, memory_order_relaxed);
        atomic_store_explicit(&to->own, CSHM_OWN(message->slot, CSHM_OWN_LEASE),
                              memory_order_release); /* [settle] */
    }
    if (count > 0) {
        atomic_store_explicit(&from->left, pack->count - (uint32_t)count, memory_order_release);
    }
    /* Before the rest can be taken and released, those who count leases know: see leased(). */
    atomic_fetch_add_explicit(&queue->shared->side, 1, memory_order_seq_cst); /* [side] */
    let_go(queue, pack->port, kind);
    tell_of_side(queue);
    return count < 0 ? count : cshm__queue_show(queue, message->slot, (uint32_t)count, message);
}

/* Delivers what is in a port that was claimed. */
static int deliver(cshm_queue *queue, uint32_t port, uint32_t max, uint64_t kind,
                   struct cshm_message *message)
{
    struct cshm_message found = {.port = port, .leased = message->leased};
    uint32_t left = atomic_load_explicit(&queue->ports[port].left, memory_order_relaxed);
    int status = cshm__queue_show(queue, cshm__queue_hand(queue, port), left, &found);
    if (status != 0) { /* damaged: nobody will ever read it */
        atomic_store_explicit(&queue->ports[port].own, CSHM_OWN(cshm__queue_hand(queue, port), 0),
                              memory_order_release);
        let_go(queue, port, 0);
        return status;
    }
    message->redelivered = kind == CSHM_PORT_RETURNED;
    if (found.count > max && message->port == CSHM_QUEUE_NO_PORT) { /* a part needs a port */
        let_go(queue, port, kind);
        return -EUSERS;
    }
    if (found.count > max) {
        return divide(queue, &found, max, kind, message);
    }
    if (!message->leased) {
        atomic_store_explicit(&queue->ports[port].own, CSHM_OWN(cshm__queue_hand(queue, port), 0),
                              memory_order_release); /* [settle]: taken from here on */
    }
    found.redelivered = message->redelivered;
    if (message->port != CSHM_QUEUE_NO_PORT) {
        cshm__queue_give_port(queue, message);
    }
    *message = found;
    return 0;
}

/* Takes what waits in a port of that kind. @returns as cshm__queue_adopt(). */
static int adopt(cshm_queue *queue, uint64_t kind, uint32_t max, struct cshm_message *message,
                 bool *moving)
{
    uint64_t self = cshm_participant_self(queue->region);
    for (uint32_t i = 0; i < queue->port_count; i++) {
        if (atomic_load_explicit(&queue->ports[i].owner, memory_order_acquire) != kind ||
            !claim(queue, i, kind, self)) {
            continue;
        }
        if (!settle(queue, i)) {
            let_go(queue, i, kind);
            *moving = true;
        } else if (holds_message(queue, i)) {
            return deliver(queue, i, max, kind, message);
        } else {
            let_go(queue, i, 0);
        }
    }
    return -EAGAIN;
}

/* What was given back goes before the rest of a pack, from which it may have come. */
int cshm__queue_adopt(cshm_queue *queue, uint32_t max, struct cshm_message *message)
{
    bool moving = false;
    uint32_t side = 0;
    if (!cshm__queue_side_grew(queue, &side)) {
        return -EAGAIN;
    }
    int status = adopt(queue, CSHM_PORT_RETURNED, max, message, &moving);
    if (status == -EAGAIN) {
        status = adopt(queue, CSHM_PORT_DIVIDED, max, message, &moving);
    }
    if (status == -EAGAIN && !moving) {
        atomic_store_explicit(&queue->side_seen, side, memory_order_relaxed);
    }
    return status;
}

/* A look at each port: true for an instant if nothing is given back or divided meanwhile. */
uint64_t cshm__queue_aside(const cshm_queue *queue)
{
    uint64_t count = 0;
    if (atomic_load_explicit(&queue->shared->leasing, memory_order_relaxed) == 0) {
        return 0;
    }
    for (uint32_t i = 0; i < queue->port_count; i++) {
        uint64_t owner = atomic_load_explicit(&queue->ports[i].owner, memory_order_acquire);
        if (CSHM_OWNER_IS_SIDE(owner) && holds_message(queue, i)) {
            uint32_t left = atomic_load_explicit(&queue->ports[i].left, memory_order_relaxed);
            count += left <= CSHM_QUEUE_PACK_MAX ? left : 1;
        }
    }
    return count;
}
