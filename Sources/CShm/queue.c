/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/queue.h for the model, and for what a death leaves. Pairs:
 *
 *   [swap]    a port's compare-and-swap of a cell (seq_cst) -> the next one's load of it (seq_cst).
 *             The slot's bytes happen before the swap that hands it over.
 *   [settle]  a port's word stored (release) -> read by whoever takes the dead's port (acquire)
 *
 * seq_cst on cells because the swap also stands before the look at the parking word
 * (cshm/park.h, [announce]). A port's word and the swap are one thread's stores: after its death
 * they are a prefix of program order, so a compiler barrier between them is enough.
 *
 * Each process keeps its own guess of tail and head, never beyond the true ones, and stores the
 * shared hint at every 16th success only: that saves the second read-modify-write of an operation.
 */
#include <cshm/queue.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

#include "internal.h"

enum {
    MAGIC = 0x71756575, /* "queu" */
    KEPT_PORTS = 16,
    HINT_STEP = 16,
    NO_PORT = UINT32_MAX,
};

struct cshm_queue {
    cshm_region *region;
    struct cshm_queue_shared *shared;
    struct cshm_port *ports;
    _Atomic uint64_t *cells;
    uint8_t *slots;
    uint32_t capacity;
    uint32_t log2_capacity;
    uint32_t slot_size;
    uint32_t stride;
    uint32_t port_count;
    uint32_t slot_bits;
    _Atomic uint64_t tail; /* this process's guesses */
    _Atomic uint64_t head;
    _Atomic uint32_t kept[KEPT_PORTS]; /* ports of this process not in use, + 1 */
};

#define OWN(hand, intent_plus_1) (((uint64_t)(hand) << 32) | (uint32_t)(intent_plus_1))
#define HAND(own)                ((uint32_t)((own) >> 32))
#define INTENT(own)              ((uint32_t)(own))

static uint32_t stride_for(uint32_t slot_size)
{
    return (slot_size + (uint32_t)sizeof(struct cshm_slot) + 63) / 64 * 64;
}

static uint32_t bits_for(uint32_t count)
{
    return 32 - (uint32_t)__builtin_clz(count - 1);
}

static uint64_t size_for(uint32_t capacity, uint32_t ports, uint32_t slot_size)
{
    uint64_t cells = ((uint64_t)capacity * 8 + CSHM_LINE - 1) / CSHM_LINE * CSHM_LINE;
    return sizeof(struct cshm_queue_shared) + (uint64_t)ports * sizeof(struct cshm_port) + cells +
           ((uint64_t)capacity + ports) * stride_for(slot_size);
}

static bool sizes_are_good(uint32_t capacity, uint32_t ports, uint32_t slot_size)
{
    return capacity >= 2 && capacity <= (1u << 20) && (capacity & (capacity - 1)) == 0 &&
           ports >= 1 && ports <= 4096 && slot_size >= 1 && slot_size <= 65536;
}

static struct cshm_slot *slot_at(const cshm_queue *queue, uint32_t slot)
{
    return (struct cshm_slot *)(void *)(queue->slots + (uint64_t)slot * queue->stride);
}

/* Spreads neighbouring positions over cache lines, where there are lines to spread over. */
static _Atomic uint64_t *cell_at(const cshm_queue *queue, uint64_t position)
{
    uint64_t index = position & (queue->capacity - 1);
    if (queue->capacity >= 64) {
        index = (index & ~63ull) | ((index & 7) << 3) | ((index >> 3) & 7);
    }
    return &queue->cells[index];
}

/* ---- create, open ---- */

int cshm_queue_create(cshm_region *region, const struct cshm_queue_options *options,
                      uint64_t *offset)
{
    uint32_t ports = options->ports == 0 ? 128 : options->ports;
    uint32_t capacity = options->capacity;
    if (!sizes_are_good(capacity, ports, options->slot_size)) {
        return -EINVAL;
    }
    uint64_t size = size_for(capacity, ports, options->slot_size);
    int status = cshm_heap_allocate(region, size, offset);
    if (status != 0) {
        return status;
    }
    struct cshm_queue_shared *shared = cshm_heap_pointer(region, *offset, size);
    memset(shared, 0, size);
    shared->capacity = capacity;
    shared->slot_size = options->slot_size;
    shared->stride = stride_for(options->slot_size);
    shared->ports = ports;
    shared->slot_bits = bits_for(capacity + ports);
    shared->type_tag = options->type_tag;
    shared->ports_offset = sizeof *shared;
    shared->cells_offset = shared->ports_offset + (uint64_t)ports * sizeof(struct cshm_port);
    shared->slots_offset = size - ((uint64_t)capacity + ports) * shared->stride;
    struct cshm_port *port = (struct cshm_port *)(void *)((uint8_t *)shared + shared->ports_offset);
    _Atomic uint64_t *cells =
        (_Atomic uint64_t *)(void *)((uint8_t *)shared + shared->cells_offset);
    for (uint32_t i = 0; i < ports; i++) {
        atomic_store_explicit(&port[i].own, OWN(capacity + i, 0), memory_order_relaxed);
    }
    for (uint32_t i = 0; i < capacity; i++) {
        atomic_store_explicit(&cells[i], i, memory_order_relaxed);
    }
    shared->magic = MAGIC;
    return 0;
}

int cshm_queue_open(cshm_region *region, uint64_t offset, uint64_t type_tag, cshm_queue **out)
{
    struct cshm_queue_shared *shared =
        cshm_heap_pointer(region, offset, sizeof(struct cshm_queue_shared));
    if (shared == NULL || shared->magic != MAGIC || shared->type_tag != type_tag) {
        return -EPROTO;
    }
    uint32_t capacity = shared->capacity;
    uint32_t ports = shared->ports;
    uint32_t slot_size = shared->slot_size;
    if (!sizes_are_good(capacity, ports, slot_size)) {
        return -EPROTO;
    }
    uint64_t size = size_for(capacity, ports, slot_size);
    uint64_t cells = sizeof *shared + (uint64_t)ports * sizeof(struct cshm_port);
    uint64_t slots = size - ((uint64_t)capacity + ports) * stride_for(slot_size);
    if (cshm_heap_pointer(region, offset, size) == NULL || shared->cells_offset != cells ||
        shared->slots_offset != slots || shared->slot_bits != bits_for(capacity + ports)) {
        return -EPROTO;
    }
    cshm_queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL) {
        return -ENOMEM;
    }
    queue->region = region;
    queue->shared = shared;
    queue->ports = (struct cshm_port *)(void *)((uint8_t *)shared + sizeof *shared);
    queue->cells = (_Atomic uint64_t *)(void *)((uint8_t *)shared + cells);
    queue->slots = (uint8_t *)shared + slots;
    queue->capacity = capacity;
    queue->log2_capacity = (uint32_t)__builtin_ctz(capacity);
    queue->slot_size = slot_size;
    queue->stride = stride_for(slot_size);
    queue->port_count = ports;
    queue->slot_bits = bits_for(capacity + ports);
    *out = queue;
    return 0;
}

/* ---- ports ---- */

/* Whether a slot is in a cell, or surely in another port's hand. */
static bool slot_is_elsewhere(const cshm_queue *queue, uint32_t port, uint32_t slot)
{
    uint64_t mask = (1ull << queue->slot_bits) - 1;
    for (uint32_t i = 0; i < queue->capacity; i++) {
        if ((atomic_load_explicit(&queue->cells[i], memory_order_seq_cst) & mask) == slot) {
            return true;
        }
    }
    for (uint32_t i = 0; i < queue->port_count; i++) {
        uint64_t own = atomic_load_explicit(&queue->ports[i].own, memory_order_acquire);
        if (i != port && INTENT(own) == 0 && HAND(own) == slot) {
            return true;
        }
    }
    return false;
}

/* A dead port is ours now: finds which slot it owned. A sighting in a cell is proof, because what
 * the dead owned can never enter a cell again. @returns false if something is still moving. */
static bool settle_port(const cshm_queue *queue, uint32_t port)
{
    uint64_t own = atomic_load_explicit(&queue->ports[port].own, memory_order_acquire);
    uint32_t hand = HAND(own);
    uint32_t intent = INTENT(own);
    if (intent != 0) {
        if (slot_is_elsewhere(queue, port, hand)) {
            hand = intent - 1;
        } else if (!slot_is_elsewhere(queue, port, intent - 1)) {
            return false;
        }
        atomic_store_explicit(&queue->ports[port].own, OWN(hand, 0), memory_order_release);
    }
    return hand < queue->capacity + queue->port_count;
}

/* Takes a port that is free or a dead process's. */
static uint32_t claim_port(cshm_queue *queue, uint64_t self, bool of_dead)
{
    for (uint32_t i = 0; i < queue->port_count; i++) {
        struct cshm_port *port = &queue->ports[i];
        uint64_t owner = atomic_load_explicit(&port->owner, memory_order_acquire);
        if (of_dead ? owner == 0 || !cshm_participant_is_gone(queue->region, owner) : owner != 0) {
            continue;
        }
        uint64_t before = owner;
        if (!atomic_compare_exchange_strong_explicit(&port->owner, &owner, self,
                                                     memory_order_acq_rel, memory_order_relaxed)) {
            continue;
        }
        if (settle_port(queue, i)) {
            return i;
        }
        atomic_store_explicit(&port->owner, before, memory_order_release);
    }
    return NO_PORT;
}

static int take_port(cshm_queue *queue, uint32_t *out)
{
    uint64_t self = cshm_participant_self(queue->region);
    if (self == 0) {
        return -ECHILD;
    }
    for (uint32_t i = 0; i < KEPT_PORTS; i++) {
        if (atomic_load_explicit(&queue->kept[i], memory_order_relaxed) != 0) {
            /* acquire: what the last user of the port in this process did to it */
            uint32_t kept = atomic_exchange_explicit(&queue->kept[i], 0, memory_order_acquire);
            if (kept != 0) {
                *out = kept - 1;
                return 0;
            }
        }
    }
    uint32_t port = claim_port(queue, self, false);
    if (port == NO_PORT) {
        port = claim_port(queue, self, true);
    }
    if (port == NO_PORT) {
        return -EUSERS;
    }
    *out = port;
    return 0;
}

static void give_port(cshm_queue *queue, uint32_t port)
{
    for (uint32_t i = 0; i < KEPT_PORTS; i++) {
        uint32_t none = 0;
        if (atomic_load_explicit(&queue->kept[i], memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&queue->kept[i], &none, port + 1,
                                                    memory_order_release, memory_order_relaxed)) {
            return;
        }
    }
    atomic_store_explicit(&queue->ports[port].owner, 0, memory_order_release); /* [settle] */
}

/* ---- the swap ---- */

/* One side of the ring: producers swap at `tail` for even turns, consumers at `head` for odd. */
struct side {
    _Atomic uint64_t *guess;
    _Atomic uint64_t *hint;
    uint64_t parity;
};

/* Swaps the port's hand with the slot of the next cell of that side. @returns 0 or -EAGAIN. */
static int swap(cshm_queue *queue, uint32_t port, uint32_t hand, struct side side,
                uint32_t *received)
{
    _Atomic uint64_t *own = &queue->ports[port].own;
    uint64_t mask = (1ull << queue->slot_bits) - 1;
    uint64_t position = atomic_load_explicit(side.guess, memory_order_relaxed);
    for (;;) {
        _Atomic uint64_t *cell = cell_at(queue, position);
        uint64_t seen = atomic_load_explicit(cell, memory_order_seq_cst); /* [swap] */
        uint64_t turn = seen >> queue->slot_bits;
        uint64_t want = 2 * (position >> queue->log2_capacity) + side.parity;
        if (turn > want) { /* ">" and not "== want + 1": it may have been reused since */
            uint64_t hint = atomic_load_explicit(side.hint, memory_order_relaxed);
            position = hint > position + 1 ? hint : position + 1;
            continue;
        }
        if (turn < want) {
            /* The cell awaits the other side: full, or empty. `position` is never beyond the true
             * end, so this load is the instant at which it was so. But a damaged hint would be. */
            atomic_store_explicit(side.guess, position, memory_order_relaxed);
            return turn + 1 == want ? -EAGAIN : -EPROTO;
        }
        uint32_t offered = (uint32_t)(seen & mask);
        atomic_store_explicit(own, OWN(hand, offered + 1), memory_order_release); /* [settle] */
        atomic_signal_fence(memory_order_seq_cst);
        if (!atomic_compare_exchange_strong_explicit(
                cell, &seen, ((turn + 1) << queue->slot_bits) | hand, memory_order_seq_cst,
                memory_order_relaxed)) { /* [swap]: the commit */
            atomic_store_explicit(own, OWN(hand, 0), memory_order_release);
            continue;
        }
        atomic_signal_fence(memory_order_seq_cst);
        atomic_store_explicit(own, OWN(offered, 0), memory_order_release); /* [settle] */
        atomic_store_explicit(side.guess, position + 1, memory_order_relaxed);
        if ((position + 1) % HINT_STEP == 0) {
            atomic_store_explicit(side.hint, position + 1, memory_order_relaxed);
        }
        *received = offered;
        return 0;
    }
}

static struct side producers(cshm_queue *queue)
{
    return (struct side){&queue->tail, &queue->shared->tail, 0};
}

static struct side consumers(cshm_queue *queue)
{
    return (struct side){&queue->head, &queue->shared->head, 1};
}

static uint32_t hand_of(const cshm_queue *queue, uint32_t port)
{
    /* relaxed: the port is ours */
    return HAND(atomic_load_explicit(&queue->ports[port].own, memory_order_relaxed));
}

/* ---- put ---- */

int cshm_queue_claim(cshm_queue *queue, uint64_t length, struct cshm_message *out)
{
    struct cshm_message message = {.length = length};
    int status = take_port(queue, &message.port);
    if (status != 0) {
        return status;
    }
    message.slot = hand_of(queue, message.port);
    status = cshm__slot_prepare(queue->region, slot_at(queue, message.slot), queue->slot_size,
                                length, &message.data);
    if (status != 0) {
        give_port(queue, message.port);
        return status;
    }
    *out = message;
    return 0;
}

int cshm_queue_try_commit(cshm_queue *queue, struct cshm_message *message)
{
    uint32_t received = 0;
    int status = swap(queue, message->port, message->slot, producers(queue), &received);
    if (status == 0) {
        give_port(queue, message->port);
        cshm_park_wake_one(&queue->shared->items);
    }
    return status;
}

struct call {
    cshm_queue *queue;
    struct cshm_message *message;
};

static int attempt_commit(void *context)
{
    const struct call *call = context;
    return cshm_queue_try_commit(call->queue, call->message);
}

int cshm_queue_commit_until(cshm_queue *queue, struct cshm_message *message, int64_t deadline_ns)
{
    struct call call = {queue, message};
    return cshm__await(&queue->shared->room, attempt_commit, &call, deadline_ns);
}

void cshm_queue_abort(cshm_queue *queue, struct cshm_message *message)
{
    cshm__slot_clear(queue->region, slot_at(queue, message->slot));
    give_port(queue, message->port);
}

int cshm_queue_try_put(cshm_queue *queue, const void *data, uint64_t length)
{
    struct cshm_message message;
    int status = cshm_queue_claim(queue, length, &message);
    if (status != 0) {
        return status;
    }
    memcpy(message.data, data, length);
    status = cshm_queue_try_commit(queue, &message);
    if (status != 0) {
        cshm_queue_abort(queue, &message);
    }
    return status;
}

int cshm_queue_put_until(cshm_queue *queue, const void *data, uint64_t length, int64_t deadline_ns)
{
    struct cshm_message message;
    int status = cshm_queue_claim(queue, length, &message);
    if (status != 0) {
        return status;
    }
    memcpy(message.data, data, length);
    status = cshm_queue_commit_until(queue, &message, deadline_ns);
    if (status != 0) {
        cshm_queue_abort(queue, &message);
    }
    return status;
}

/* ---- take ---- */

int cshm_queue_try_take(cshm_queue *queue, struct cshm_message *out)
{
    struct cshm_message message = {0};
    int status = take_port(queue, &message.port);
    if (status != 0) {
        return status;
    }
    status =
        swap(queue, message.port, hand_of(queue, message.port), consumers(queue), &message.slot);
    if (status == 0) {
        cshm_park_wake_one(&queue->shared->room);
        status = message.slot < queue->capacity + queue->port_count
                     ? cshm__slot_read(queue->region, slot_at(queue, message.slot),
                                       queue->slot_size, &message.data, &message.length)
                     : -EPROTO;
    }
    if (status != 0) {
        give_port(queue, message.port);
        return status;
    }
    *out = message;
    return 0;
}

static int attempt_take(void *context)
{
    const struct call *call = context;
    return cshm_queue_try_take(call->queue, call->message);
}

int cshm_queue_take_until(cshm_queue *queue, struct cshm_message *out, int64_t deadline_ns)
{
    struct call call = {queue, out};
    return cshm__await(&queue->shared->items, attempt_take, &call, deadline_ns);
}

void cshm_queue_release(cshm_queue *queue, struct cshm_message *message)
{
    cshm_queue_abort(queue, message);
}

/* ---- the rest ---- */

void cshm_queue_close(cshm_queue *queue)
{
    for (uint32_t i = 0; i < KEPT_PORTS; i++) {
        uint32_t kept = atomic_exchange_explicit(&queue->kept[i], 0, memory_order_acquire);
        if (kept != 0 && cshm_participant_self(queue->region) != 0) {
            atomic_store_explicit(&queue->ports[kept - 1].owner, 0,
                                  memory_order_release); /* [settle] */
        }
    }
    free(queue);
}

void cshm_queue_destroy(cshm_queue *queue)
{
    for (uint32_t i = 0; i < queue->capacity + queue->port_count; i++) {
        cshm__slot_clear(queue->region, slot_at(queue, i));
    }
    (void)cshm_heap_free(queue->region, cshm_heap_offset(queue->region, queue->shared));
    free(queue);
}

/* The first position of a side that is not done yet, from the best guess on. */
static uint64_t end_of(const cshm_queue *queue, const _Atomic uint64_t *guess,
                       const _Atomic uint64_t *hint, uint64_t parity)
{
    uint64_t position = atomic_load_explicit(guess, memory_order_relaxed);
    uint64_t shared = atomic_load_explicit(hint, memory_order_relaxed);
    position = shared > position ? shared : position;
    for (;;) {
        uint64_t turn = atomic_load_explicit(cell_at(queue, position), memory_order_seq_cst) >>
                        queue->slot_bits;
        if (turn <= 2 * (position >> queue->log2_capacity) + parity) {
            return position;
        }
        position++;
    }
}

uint64_t cshm_queue_count(const cshm_queue *queue)
{
    uint64_t head = end_of(queue, &queue->head, &queue->shared->head, 1);
    uint64_t tail = end_of(queue, &queue->tail, &queue->shared->tail, 0);
    uint64_t count = tail > head ? tail - head : 0;
    return count < queue->capacity ? count : queue->capacity;
}

uint64_t cshm_queue_capacity(const cshm_queue *queue)
{
    return queue->capacity;
}
