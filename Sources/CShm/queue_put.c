/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Putting into a queue; see cshm/queue.h for the model, and queue_cells.c for the swap.
 *
 * The byte limit: `bytes` is raised when a block is wanted and lowered when it is freed. A process
 * that dies between one of these and the block itself leaves the number wrong by one message. Nobody
 * is refused by the number alone: it is counted again first, over all slots. One that is too low, from
 * a block whose length was not stored yet, stays so until then.
 */
#include <errno.h>
#include <string.h>

#include "anchor_view.h"
#include "queue_view.h"

/* ---- the byte limit ---- */

/* A slot's word and length may change meanwhile: it is a sum of looks. */
__attribute__((no_sanitize_thread)) uint64_t cshm__queue_bytes(const struct cshm_queue *queue)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < queue->slot_count; i++) {
        const struct cshm_slot *slot = cshm__queue_slot(queue, i);
        if (atomic_load_explicit(&slot->block, memory_order_relaxed) != 0) {
            bytes += CSHM_SLOT_BYTES(slot->length);
        }
    }
    return bytes;
}

enum { REFUSED_BITS = 42 };

/* A thread has 22 bits. */
static const uint64_t REFUSED_MASK = (1ull << REFUSED_BITS) - 1;

static bool is_mine(uint64_t refused)
{
    return refused != 0 && refused >> REFUSED_BITS == (uint32_t)cshm__thread();
}

/* A thread that finds no place for it is told too early that there is room. */
static void remember_refused(cshm_queue *queue, uint64_t size)
{
    uint64_t word = cshm__thread() << REFUSED_BITS | (size < REFUSED_MASK ? size : REFUSED_MASK);
    for (uint32_t i = 0; i < CSHM_QUEUE_REFUSED; i++) {
        uint64_t none = 0;
        if (atomic_compare_exchange_strong_explicit(&queue->refused[i], &none, word,
                                                    memory_order_relaxed, memory_order_relaxed)) {
            return;
        }
    }
}

/* Whatever a thread tries next is what it waits for. */
static void forget_refused(cshm_queue *queue)
{
    for (uint32_t i = 0; i < CSHM_QUEUE_REFUSED; i++) {
        if (is_mine(atomic_load_explicit(&queue->refused[i], memory_order_relaxed))) {
            atomic_store_explicit(&queue->refused[i], 0, memory_order_relaxed);
        }
    }
}

/* acquire: [announce] of park.c wants no weaker a look */
bool cshm__queue_has_byte_room(const cshm_queue *queue)
{
    for (uint32_t i = 0; queue->byte_limit != 0 && i < CSHM_QUEUE_REFUSED; i++) {
        uint64_t refused = atomic_load_explicit(&queue->refused[i], memory_order_relaxed);
        if (is_mine(refused)) {
            uint64_t most = queue->byte_limit - (refused & REFUSED_MASK);
            return atomic_load_explicit(&queue->shared->bytes, memory_order_acquire) <= most ||
                   cshm__queue_bytes(queue) <= most;
        }
    }
    return true;
}

/* @returns 0, -EAGAIN, or -EMSGSIZE. */
static int charge(cshm_queue *queue, uint64_t size)
{
    _Atomic uint64_t *bytes = &queue->shared->bytes;
    if (size > queue->byte_limit) {
        return -EMSGSIZE;
    }
    uint64_t used = atomic_load_explicit(bytes, memory_order_relaxed);
    for (;;) {
        uint64_t counted = used;
        if (used > queue->byte_limit - size) {
            counted = cshm__queue_bytes(queue);
        }
        if (counted > queue->byte_limit - size) {
            remember_refused(queue, size);
            return -EAGAIN;
        }
        if (atomic_compare_exchange_weak_explicit(bytes, &used, counted + size,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            return 0;
        }
    }
}

static void discharge(cshm_queue *queue, uint64_t size)
{
    atomic_fetch_sub_explicit(&queue->shared->bytes, size, memory_order_seq_cst);
    cshm_park_wake_all(&queue->shared->room.park);
}

void cshm__queue_clear(cshm_queue *queue, uint32_t index)
{
    struct cshm_slot *slot = cshm__queue_slot(queue, index);
    /* relaxed: the slot is the caller's */
    bool has_block = atomic_load_explicit(&slot->block, memory_order_relaxed) != 0;
    uint64_t size = CSHM_SLOT_BYTES(slot->length);
    if (!has_block) {
        return;
    }
    bool held = cshm__slot_clear(queue->region, slot);
    if (queue->byte_limit != 0) {
        discharge(queue, size);
    }
    if (held) {
        cshm__anchor_end_all(queue->region);
    }
}

/* ---- claim ---- */

int cshm__queue_prepare(const struct cshm_queue *queue, uint32_t slot, uint32_t go_inline,
                        uint64_t bytes, void **data)
{
    void *place = NULL;
    int status =
        cshm__slot_prepare(queue->region, cshm__queue_slot(queue, slot), go_inline, bytes, &place);
    if (status == 0) {
        *data = bytes <= go_inline ? cshm__queue_bytes_of(queue, slot) : place;
    }
    return status;
}

/* Makes room in the hand for `bytes`, within the limit, in a block if they are more than go inline. */
static int prepare(cshm_queue *queue, uint32_t hand, uint32_t go_inline, uint64_t bytes,
                   void **data)
{
    bool limited = bytes > go_inline && queue->byte_limit != 0;
    cshm__queue_clear(queue, hand); /* what a dead owner of the slot left */
    int status = limited ? charge(queue, bytes) : 0;
    if (status != 0) {
        return status;
    }
    status = cshm__queue_prepare(queue, hand, go_inline, bytes, data);
    if (status != 0 && limited) {
        discharge(queue, bytes);
    }
    return status;
}

static int lay_out(cshm_queue *queue, struct cshm_message *message)
{
    void *data = NULL;
    uint64_t bytes = message->length;
    if (queue->byte_limit != 0) {
        forget_refused(queue);
    }
    message->exact = message->count == 1 && bytes == queue->slot_size;
    if (message->exact) {
        cshm__queue_clear(queue, message->slot);
        message->data = cshm__queue_bytes_of(queue, message->slot);
        return 0;
    }
    if (message->count > 1) {
        bytes = message->length * message->count + sizeof(struct cshm_pack);
    }
    int status = prepare(queue, message->slot, queue->slot_size, bytes, &data);
    if (status == 0 && message->count > 1) {
        *(struct cshm_pack *)data =
            (struct cshm_pack){.count = message->count, .length = (uint32_t)message->length};
        cshm__queue_slot(queue, message->slot)->length |= CSHM_SLOT_PACK;
        data = (uint8_t *)data + sizeof(struct cshm_pack);
    }
    message->data = data;
    return status;
}

static int refusal(const cshm_queue *queue)
{
    uint32_t state = cshm__queue_state(queue);
    if (state == CSHM_QUEUE_OPEN) {
        return 0;
    }
    return state == CSHM_QUEUE_FINISHED ? -EPIPE : -ECANCELED;
}

/* Fills `out` as it goes: a copy at the end would cost more than all the rest. */
int cshm_queue_claim_many(cshm_queue *queue, uint64_t length, uint32_t count,
                          struct cshm_message *out)
{
    if (count == 0 || count > queue->pack || count > queue->capacity ||
        (count > 1 && length > queue->slot_size)) {
        return -EINVAL;
    }
    int status = refusal(queue);
    if (status == 0) {
        status = cshm__queue_take_port(queue, out);
    }
    if (status != 0) {
        return status;
    }
    out->length = length;
    out->count = count;
    out->redelivered = 0;
    out->leased = 0;
    status = lay_out(queue, out);
    if (status != 0) {
        cshm__queue_give_port(queue, out);
    }
    return status;
}

int cshm_queue_claim(cshm_queue *queue, uint64_t length, struct cshm_message *out)
{
    return cshm_queue_claim_many(queue, length, 1, out);
}

/* ---- commit ---- */

int cshm_queue_try_commit(cshm_queue *queue, struct cshm_message *message)
{
    int status = refusal(queue);
    if (status == 0) {
        status = cshm__queue_push(queue, message);
    }
    if (status != 0) {
        return status;
    }
    cshm__queue_give_port(queue, message);
    if (message->count == 1) {
        cshm_park_wake_one(&queue->shared->items.park);
    } else {
        cshm_park_wake_all(&queue->shared->items.park);
    }
    return 0;
}

struct commit {
    cshm_queue *queue;
    struct cshm_message *message;
};

static int attempt_commit(void *context)
{
    const struct commit *commit = context;
    return cshm_queue_try_commit(commit->queue, commit->message);
}

int cshm_queue_commit_until(cshm_queue *queue, struct cshm_message *message, int64_t deadline_ns)
{
    struct commit commit = {queue, message};
    return cshm__await(&queue->shared->room.park, attempt_commit, &commit, deadline_ns);
}

void cshm_queue_abort(cshm_queue *queue, struct cshm_message *message)
{
    cshm__queue_clear(queue, message->slot);
    cshm__queue_give_port(queue, message);
}

/* ---- put: one message or many, claimed and filled once, however often it must be tried ---- */

struct put {
    cshm_queue *queue;
    const uint8_t *data;
    uint64_t length;
    uint32_t count;
    uint32_t done;
    struct cshm_message message;
    bool claimed;
    bool singly; /* a pack did not fit, though the numbers said so */
};

static uint32_t smaller(uint32_t count, uint64_t room)
{
    return room < count ? (uint32_t)room : count;
}

/* How many elements a pack may have by the byte limit, which counts no bytes that lie in the slot. */
static uint32_t within_bytes(const struct put *put, uint32_t count)
{
    const cshm_queue *queue = put->queue;
    if (queue->byte_limit == 0 || put->length == 0) {
        return count;
    }
    uint64_t used = atomic_load_explicit(&queue->shared->bytes, memory_order_relaxed);
    uint64_t room = used < queue->byte_limit ? queue->byte_limit - used : 0;
    room = room < queue->slot_size ? queue->slot_size : room;
    return room < sizeof(struct cshm_pack)
               ? 1
               : smaller(count, (room - sizeof(struct cshm_pack)) / put->length);
}

/* How many to try next: what fits a pack, and the queue as it is now. */
static uint32_t next_count(const struct put *put)
{
    const cshm_queue *queue = put->queue;
    uint32_t count = smaller(put->count - put->done, queue->pack);
    if (count == 1 || put->singly || put->length > queue->slot_size) {
        return 1;
    }
    uint32_t room = smaller(within_bytes(put, count), queue->capacity - cshm__queue_count(queue));
    return room == 0 ? 1 : room;
}

/* A pack did not fit. @returns 1 where one element, which needs neither bytes nor memory, may. */
static int put_singly(struct put *put, int status)
{
    put->singly = true;
    return status == -EAGAIN || status == -ENOSPC ? 1 : status;
}

/* @returns what the claim or commit did, or 1: a pack did not fit, so try again with one element. */
static int attempt_one(struct put *put)
{
    if (!put->claimed) {
        uint32_t count = next_count(put);
        int status = cshm_queue_claim_many(put->queue, put->length, count, &put->message);
        if (status != 0) {
            return count > 1 ? put_singly(put, status) : status;
        }
        memcpy(put->message.data, put->data + (uint64_t)put->done * put->length,
               put->length * count);
        put->claimed = true;
    }
    int status = cshm_queue_try_commit(put->queue, &put->message);
    if (status == 0) {
        put->done += put->message.count;
        put->claimed = false;
        put->singly = false;
    } else if (put->message.count > 1) {
        cshm_queue_abort(put->queue, &put->message);
        put->claimed = false;
        status = put_singly(put, status);
    }
    return status;
}

/* Until all are put, or not even one can be now: -EAGAIN. */
static int attempt_put(void *context)
{
    struct put *put = context;
    while (put->done < put->count) {
        int status = attempt_one(put);
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

static int finish_put(struct put *put, int status)
{
    if (put->claimed) {
        cshm_queue_abort(put->queue, &put->message);
    }
    return put->done != 0 ? (int)put->done : status;
}

int cshm_queue_try_put_many(cshm_queue *queue, const void *data, uint64_t length, uint32_t count)
{
    struct put put = {.queue = queue, .data = data, .length = length, .count = count};
    if (count == 0 || count > INT32_MAX) {
        return -EINVAL;
    }
    return finish_put(&put, attempt_put(&put));
}

int cshm_queue_put_many_until(cshm_queue *queue, const void *data, uint64_t length, uint32_t count,
                              int64_t deadline_ns)
{
    struct put put = {.queue = queue, .data = data, .length = length, .count = count};
    if (count == 0 || count > INT32_MAX) {
        return -EINVAL;
    }
    return finish_put(&put, cshm__await(&queue->shared->room.park, attempt_put, &put, deadline_ns));
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

/* ---- messages that hold: always in a block, which is counted before it is put ---- */

struct holding {
    cshm_queue *queue;
    const void *data;
    uint64_t length;
    struct cshm_message message;
    bool claimed;
};

static int fill_and_hold(const struct holding *holding)
{
    cshm_queue *queue = holding->queue;
    uint32_t hand = holding->message.slot;
    void *data = NULL;
    int status = prepare(queue, hand, 0, holding->length, &data);
    if (status == 0) {
        atomic_store_explicit(&queue->shared->holding, 1, memory_order_relaxed);
        memcpy(data, holding->data, holding->length);
        status = cshm__slot_hold(queue->region, cshm__queue_slot(queue, hand));
    }
    return status;
}

static int claim_holding(struct holding *holding)
{
    cshm_queue *queue = holding->queue;
    struct cshm_message *message = &holding->message;
    int status = refusal(queue);
    if (status == 0) {
        status = cshm__queue_take_port(queue, message);
    }
    if (status != 0) {
        return status;
    }
    if (queue->byte_limit != 0) {
        forget_refused(queue);
    }
    message->count = 1;
    message->exact = 0;
    message->leased = 0;
    status = fill_and_hold(holding);
    holding->claimed = status == 0;
    if (status != 0) {
        cshm_queue_abort(queue, message);
    }
    return status;
}

static int attempt_put_holding(void *context)
{
    struct holding *holding = context;
    int status = holding->claimed ? 0 : claim_holding(holding);
    return status == 0 ? cshm_queue_try_commit(holding->queue, &holding->message) : status;
}

static int finish_holding(struct holding *holding, int status)
{
    if (status != 0 && holding->claimed) {
        cshm_queue_abort(holding->queue, &holding->message);
    }
    return status;
}

int cshm_queue_try_put_holding(cshm_queue *queue, const void *data, uint64_t length)
{
    struct holding holding = {.queue = queue, .data = data, .length = length};
    if (!cshm__anchor_is_value(data, length)) {
        return -EINVAL;
    }
    return finish_holding(&holding, attempt_put_holding(&holding));
}

int cshm_queue_put_holding_until(cshm_queue *queue, const void *data, uint64_t length,
                                 int64_t deadline_ns)
{
    struct holding holding = {.queue = queue, .data = data, .length = length};
    if (!cshm__anchor_is_value(data, length)) {
        return -EINVAL;
    }
    int status = cshm__await(&queue->shared->room.park, attempt_put_holding, &holding, deadline_ns);
    return finish_holding(&holding, status);
}

int cshm_queue_put_until(cshm_queue *queue, const void *data, uint64_t length, int64_t deadline_ns)
{
    struct cshm_message message;
    int status = cshm_queue_claim(queue, length, &message);
    if (status == -EAGAIN) { /* the byte limit is reached */
        status = cshm_queue_put_many_until(queue, data, length, 1, deadline_ns);
        return status == 1 ? 0 : status;
    }
    if (status != 0) {
        return status;
    }
    memcpy(message.data, data, length);
    status = cshm_queue_try_commit(queue, &message);
    if (status == -EAGAIN) {
        status = cshm_queue_commit_until(queue, &message, deadline_ns);
    }
    if (status != 0) {
        cshm_queue_abort(queue, &message);
    }
    return status;
}
