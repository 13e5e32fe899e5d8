/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The swap ring of cshm/queue.h. Pairs:
 *
 *   [swap]    a port's compare-and-swap of a cell (seq_cst) -> the next one's load of it (seq_cst).
 *             The slot's bytes happen before the swap that hands it over.
 *   [settle]  a port's word stored (release) -> read by whoever takes the dead's port (acquire)
 *   [part]    the elements of a pack are copied, then `left` is lowered by a compare-and-swap of the
 *             whole cell (seq_cst): had the slot been swapped away and filled again, it would fail
 *
 * seq_cst on cells because the swap also stands before the look at the parking word
 * (cshm/park.h, [announce]). A port's word and the swap are one thread's stores: after its death
 * they are a prefix of program order, so a compiler barrier between them is enough.
 *
 * Each process keeps its own guess of tail and head, never beyond the true ones, and stores the
 * shared hint at every 16th success only: that saves the second read-modify-write of an operation.
 */
#include <errno.h>
#include <string.h>

#include <cshm/heap.h>

#include "queue_view.h"

enum {
    HINT_STEP = 16,
    LOOKS = 1000,
    LOST = 100000,
};

/* ---- words and places ---- */

static uint64_t word_of(const struct cshm_queue *queue, uint64_t turn, uint64_t cum, uint64_t left,
                        uint64_t slot)
{
    return turn << queue->turn_shift |
           (cum & queue->cum_mask) << (queue->slot_bits + CSHM_QUEUE_LEFT_BITS) |
           left << queue->slot_bits | slot;
}

static uint64_t turn_of(const struct cshm_queue *queue, uint64_t word)
{
    return word >> queue->turn_shift;
}

static uint64_t cum_of(const struct cshm_queue *queue, uint64_t word)
{
    return word >> (queue->slot_bits + CSHM_QUEUE_LEFT_BITS) & queue->cum_mask;
}

static uint32_t left_of(const struct cshm_queue *queue, uint64_t word)
{
    return (uint32_t)(word >> queue->slot_bits) & ((1u << CSHM_QUEUE_LEFT_BITS) - 1);
}

/* Elements that `left` stands for. */
static uint32_t elements_of(uint32_t left)
{
    return left == CSHM_QUEUE_EXACT ? 1 : left;
}

static uint32_t slot_of(const struct cshm_queue *queue, uint64_t word)
{
    return (uint32_t)(word & ((1ull << queue->slot_bits) - 1));
}

/* Spreads neighbouring positions over cache lines, where there are lines to spread over. */
static _Atomic uint64_t *cell_at(const struct cshm_queue *queue, uint64_t position)
{
    uint64_t index = position & (queue->ring - 1);
    if (queue->ring >= 64) {
        index = (index & ~63ull) | ((index & 7) << 3) | ((index >> 3) & 7);
    }
    return &queue->cells[index];
}

static uint64_t load_cell(const struct cshm_queue *queue, uint64_t position)
{
    return atomic_load_explicit(cell_at(queue, position), memory_order_seq_cst); /* [swap] */
}

/* The even turn of a position: its cell has it until something is put there. */
static uint64_t turn_at(const struct cshm_queue *queue, uint64_t position)
{
    return 2 * (position >> queue->log2_ring);
}

/* How far a cell's turn is from that of a position: turns wrap, the difference does not. */
static int64_t lead(const struct cshm_queue *queue, uint64_t word, uint64_t position)
{
    uint64_t ahead = turn_of(queue, word) - turn_at(queue, position);
    return (int64_t)(ahead << queue->turn_shift) >> queue->turn_shift;
}

/* The next position of a side (0 putting, 1 taking) to look at after one that is done: its cell's
 * lead tells the lap in which it was done last. */
static uint64_t ahead(const struct cshm_queue *queue, uint64_t position, int64_t lead, int64_t side)
{
    uint64_t laps = (uint64_t)((lead + 1 - side) / 2 - 1);
    return position + (laps << queue->log2_ring) + 1;
}

/* Whether a walk along the cells is longer than any that starts at a hint: they are damaged, and lead
 * in a circle. Others move the end on, but not as fast as one walks. */
static bool is_lost(const struct cshm_queue *queue, uint64_t *steps)
{
    return ++*steps > 4ull * queue->ring + LOST;
}

/* Where a side begins to look. The hint, though a line that others write at times, is asked each
 * time: a guess of long ago could be a whole wrap of the turns behind. */
static uint64_t begin(const _Atomic uint64_t *guess, const _Atomic uint64_t *hint)
{
    uint64_t own = atomic_load_explicit(guess, memory_order_relaxed);
    uint64_t shared = atomic_load_explicit(hint, memory_order_relaxed);
    return shared > own ? shared : own;
}

static const uint64_t NOWHERE = UINT64_MAX;

static void advance(_Atomic uint64_t *guess, _Atomic uint64_t *hint, uint64_t position)
{
    atomic_store_explicit(guess, position, memory_order_relaxed);
    if (position % HINT_STEP == 0) {
        atomic_store_explicit(hint, position, memory_order_relaxed);
    }
}

/* ---- how much there is ---- */

/* A position of a side and a number of elements, which this process remembers. */
#define NOTE(position, elements) ((position) << 24 | (elements))

static uint64_t positions_since(uint64_t note, uint64_t position)
{
    return (position - (note >> 24)) & ((1ull << 40) - 1);
}

static uint64_t elements_noted(uint64_t note)
{
    return note & ((1ull << 24) - 1);
}

/* Elements put before a position that is the tail: the cell before it was put, and has kept its
 * number even if it was taken. Who put it remembers the number: the cell is the consumer's by now. */
static uint64_t cum_before(const struct cshm_queue *queue, uint64_t position)
{
    if (queue->pack == 1) {
        return position & queue->cum_mask;
    }
    uint64_t note = atomic_load_explicit(&queue->put, memory_order_relaxed);
    return positions_since(note, position) == 0 && note != 0
               ? elements_noted(note)
               : cum_of(queue, load_cell(queue, position - 1));
}

/* The first position of a side that is not done yet, from the best guess on, and its cell; or
 * NOWHERE. */
static uint64_t end_of(const struct cshm_queue *queue, const _Atomic uint64_t *guess,
                       const _Atomic uint64_t *hint, int64_t side, uint64_t *seen)
{
    uint64_t steps = 0;
    uint64_t position = begin(guess, hint);
    for (;;) {
        *seen = load_cell(queue, position);
        int64_t leads = lead(queue, *seen, position);
        if (leads <= side) {
            return position;
        }
        if (is_lost(queue, &steps)) {
            return NOWHERE;
        }
        position = ahead(queue, position, leads, side);
    }
}

/* Elements taken so far (modulo), if `tail` is and stays the tail: what is before it, less what is
 * left from the head on. */
static uint64_t taken_by(const struct cshm_queue *queue, uint64_t before)
{
    uint64_t seen = 0;
    uint64_t head = end_of(queue, &queue->head, &queue->shared->head, 1, &seen);
    if (lead(queue, seen, head) != 1) {
        return before; /* the head is the tail */
    }
    return (cum_of(queue, seen) - elements_of(left_of(queue, seen))) & queue->cum_mask;
}

/* One look at both ends. @returns whether neither moved meanwhile: so many there were, then. */
static bool count_once(const struct cshm_queue *queue, uint64_t *count)
{
    uint64_t first = 0;
    uint64_t last = 0;
    uint64_t head = end_of(queue, &queue->head, &queue->shared->head, 1, &first);
    if (head == NOWHERE || lead(queue, first, head) != 1) {
        *count = 0;
        return true;
    }
    uint64_t tail = end_of(queue, &queue->tail, &queue->shared->tail, 0, &last);
    uint64_t before = cum_before(queue, tail);
    *count = (before - cum_of(queue, first) + elements_of(left_of(queue, first))) & queue->cum_mask;
    return load_cell(queue, head) == first && load_cell(queue, tail) == last;
}

uint64_t cshm__queue_count(const struct cshm_queue *queue)
{
    uint64_t count = 0;
    for (int look = 0; look < LOOKS && !count_once(queue, &count); look++) {
    }
    return count < queue->capacity ? count : queue->capacity;
}

/* An end that moved during the look is a put, before which there was room, or a take, after which
 * there was: then it was not full at some instant. */
bool cshm__queue_is_full(const struct cshm_queue *queue)
{
    uint64_t count = 0;
    return count_once(queue, &count) && count >= queue->capacity;
}

/* What was seen last is good for so many positions that the numbers, which wrap at four times the
 * ring, cannot be mistaken. @returns whether `count` more fit, by that. */
static bool surely_fits(const struct cshm_queue *queue, uint64_t position, uint64_t before,
                        uint32_t count)
{
    uint64_t room = atomic_load_explicit(&queue->room, memory_order_relaxed);
    uint64_t put = (before - elements_noted(room)) & queue->cum_mask;
    return positions_since(room, position) * queue->pack <= 2 * queue->ring &&
           put + count <= queue->capacity;
}

/* Whether `count` elements fit at the tail, whose cell was seen so. @returns 0, -EAGAIN, -EPROTO, or
 * 1: it is the tail no longer. */
static int fits(struct cshm_queue *queue, uint64_t position, uint64_t seen, uint64_t before,
                uint32_t count)
{
    if (surely_fits(queue, position, before, count)) {
        return 0;
    }
    uint64_t taken = taken_by(queue, before);
    if (load_cell(queue, position) != seen) {
        return 1;
    }
    uint64_t used = (before - taken) & queue->cum_mask;
    if (used > queue->capacity) {
        return -EPROTO;
    }
    atomic_store_explicit(&queue->room, NOTE(position, taken), memory_order_relaxed);
    return used + count <= queue->capacity ? 0 : -EAGAIN;
}

static void sample_high_water(struct cshm_queue *queue)
{
    uint64_t count = cshm__queue_count(queue);
    uint64_t highest = atomic_load_explicit(&queue->shared->high_water, memory_order_relaxed);
    while (count > highest &&
           !atomic_compare_exchange_weak_explicit(&queue->shared->high_water, &highest, count,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

/* ---- the swap ---- */

/* One attempt to exchange the port's hand for the slot of a cell. `own` has what the dead would be
 * asked for: hand and intent before, the new hand after. */
static bool exchange(struct cshm_queue *queue, uint32_t port, _Atomic uint64_t *cell, uint64_t seen,
                     uint64_t wanted, uint32_t lease)
{
    _Atomic uint64_t *own = &queue->ports[port].own;
    uint32_t hand = slot_of(queue, wanted);
    uint32_t offered = slot_of(queue, seen);
    atomic_store_explicit(own, CSHM_OWN(hand, lease | (offered + 1)),
                          memory_order_release); /* [settle] */
    atomic_signal_fence(memory_order_seq_cst);
    bool done = atomic_compare_exchange_strong_explicit(
        cell, &seen, wanted, memory_order_seq_cst, memory_order_relaxed); /* [swap]: the commit */
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(own, done ? CSHM_OWN(offered, lease) : CSHM_OWN(hand, 0),
                          memory_order_release); /* [settle] */
    return done;
}

int cshm__queue_push(struct cshm_queue *queue, const struct cshm_message *message)
{
    uint32_t count = message->count;
    bool by_number = queue->pack != 1 || queue->capacity != queue->ring;
    uint64_t steps = 0;
    uint64_t position = begin(&queue->tail, &queue->shared->tail);
    for (;;) {
        uint64_t seen = load_cell(queue, position);
        int64_t leads = lead(queue, seen, position);
        if (is_lost(queue, &steps)) {
            return -EPROTO;
        }
        if (leads > 0) { /* not "== 1": it may have been taken since */
            position = ahead(queue, position, leads, 0);
            continue;
        }
        /* Never beyond the true end, so this load is the instant at which it was full, closed or
         * empty. But a damaged hint would be. */
        atomic_store_explicit(&queue->tail, position, memory_order_relaxed);
        if (leads < 0) {
            return leads == -1 ? -EAGAIN : -EPROTO;
        }
        if (left_of(queue, seen) == CSHM_QUEUE_CLOSED) {
            return -EPIPE;
        }
        uint64_t before = cum_before(queue, position);
        int status = by_number ? fits(queue, position, seen, before, count) : 0;
        if (status == 1) {
            continue;
        }
        if (status == 0 && slot_of(queue, seen) >= queue->slot_count) {
            status = -EPROTO;
        }
        if (status != 0) {
            return status;
        }
        uint64_t wanted = word_of(queue, turn_of(queue, seen) + 1, before + count,
                                  cshm__queue_left(message), message->slot);
        if (exchange(queue, message->port, cell_at(queue, position), seen, wanted, 0)) {
            /* The port's new hand was last read by a consumer: asked for now, it is here for the next
             * put. */
            cshm__ask_to_write(cshm__queue_bytes_of(queue, slot_of(queue, seen)));
            advance(&queue->tail, &queue->shared->tail, position + 1);
            if (queue->pack != 1) {
                atomic_store_explicit(&queue->put,
                                      NOTE(position + 1, (before + count) & queue->cum_mask),
                                      memory_order_relaxed);
            }
            if (position % CSHM__SAMPLE_STEP == 0) {
                sample_high_water(queue);
            }
            return 0;
        }
    }
}

/* ---- what a slot holds ---- */

int cshm__queue_show(const struct cshm_queue *queue, uint32_t slot, uint32_t left,
                     struct cshm_message *message)
{
    const struct cshm_pack *pack;
    void *data = NULL;
    uint64_t bytes = 0;
    const struct cshm_slot *header = cshm__queue_slot(queue, slot);
    if (slot >= queue->slot_count) {
        return -EPROTO;
    }
    message->slot = slot;
    message->exact = left == CSHM_QUEUE_EXACT;
    message->count = elements_of(left);
    message->data = cshm__queue_bytes_of(queue, slot);
    message->length = queue->slot_size;
    if (message->exact) {
        return 0;
    }
    if (left == 0 || left > CSHM_QUEUE_PACK_MAX) {
        return -EPROTO;
    }
    bytes = CSHM_SLOT_BYTES(header->length);
    data = message->data;
    uint64_t block = atomic_load_explicit(&header->block, memory_order_relaxed);
    if (block != 0) {
        data = cshm_heap_pointer(queue->region, block, bytes);
    } else if (bytes > queue->slot_size) {
        data = NULL;
    }
    if (data == NULL) {
        return -EPROTO;
    }
    if ((header->length & CSHM_SLOT_KIND) != CSHM_SLOT_PACK) {
        message->data = data;
        message->length = bytes;
        return left == 1 ? 0 : -EPROTO;
    }
    pack = data;
    if (bytes < sizeof *pack) {
        return -EPROTO;
    }
    uint64_t count = pack->count;
    uint64_t length = pack->length;
    if (count > CSHM_QUEUE_PACK_MAX || left > count || sizeof *pack + count * length > bytes) {
        return -EPROTO;
    }
    message->data = (uint8_t *)data + sizeof *pack + (count - left) * length;
    message->length = length;
    return 0;
}

/* The bytes may be somebody else's by now: see [part]. No sanitizer has to approve of it. */
__attribute__((no_sanitize_thread, noinline)) static void
copy_unstable(uint8_t *to, const uint8_t *from, uint64_t length)
{
    uint64_t word;
    for (; length >= sizeof word; length -= sizeof word) {
        __builtin_memcpy(&word, from, sizeof word);
        __builtin_memcpy(to, &word, sizeof word);
        from += sizeof word;
        to += sizeof word;
    }
    while (length-- != 0) {
        *to++ = *from++;
    }
}

int cshm__queue_copy_part(const struct cshm_queue *queue, const struct cshm_message *from,
                          uint32_t max, uint32_t hand)
{
    struct cshm_slot *slot = cshm__queue_slot(queue, hand);
    uint64_t room = queue->slot_size - sizeof(struct cshm_pack);
    void *data = NULL;
    if (from->length > queue->slot_size) {
        return -EPROTO;
    }
    uint32_t count = 1;
    if (queue->slot_size > sizeof(struct cshm_pack) && from->length != 0 &&
        room / from->length >= 2) {
        count = room / from->length < max ? (uint32_t)(room / from->length) : max;
    }
    uint64_t bytes = count * from->length + (count > 1 ? sizeof(struct cshm_pack) : 0);
    int status = cshm__queue_prepare(queue, hand, queue->slot_size, bytes, &data);
    if (status != 0) {
        return status;
    }
    if (count > 1) {
        *(struct cshm_pack *)data =
            (struct cshm_pack){.count = count, .length = (uint32_t)from->length};
        slot->length |= CSHM_SLOT_PACK;
        data = (uint8_t *)data + sizeof(struct cshm_pack);
    }
    copy_unstable(data, from->data, count * from->length);
    return (int)count;
}

/* Takes some elements of a pack that has more. @returns 0, -EPROTO, or 1: the cell changed. */
static int pop_part(struct cshm_queue *queue, _Atomic uint64_t *cell, uint64_t seen, uint32_t max,
                    struct cshm_message *message)
{
    struct cshm_message pack;
    uint32_t left = left_of(queue, seen);
    int status = cshm__queue_show(queue, slot_of(queue, seen), left, &pack);
    int count = status == 0 ? cshm__queue_copy_part(queue, &pack, max, message->slot) : status;
    uint64_t now = seen;
    if (count < 0) { /* damaged, unless it was taken while we looked */
        return atomic_load_explicit(cell, memory_order_seq_cst) == seen ? count : 1;
    }
    uint64_t wanted = word_of(queue, turn_of(queue, seen), cum_of(queue, seen),
                              left - (uint32_t)count, slot_of(queue, seen));
    if (!atomic_compare_exchange_strong_explicit(cell, &now, wanted, memory_order_seq_cst,
                                                 memory_order_relaxed)) { /* [part] */
        return 1;
    }
    return cshm__queue_show(queue, message->slot, (uint32_t)count, message);
}

int cshm__queue_pop(struct cshm_queue *queue, uint32_t max, struct cshm_message *message)
{
    uint32_t port = message->port;
    uint32_t lease = message->leased ? CSHM_OWN_LEASE : 0;
    uint64_t steps = 0;
    uint64_t position = begin(&queue->head, &queue->shared->head);
    for (;;) {
        _Atomic uint64_t *cell = cell_at(queue, position);
        uint64_t seen = load_cell(queue, position);
        int64_t leads = lead(queue, seen, position);
        uint32_t left = left_of(queue, seen);
        if (is_lost(queue, &steps)) {
            return -EPROTO;
        }
        if (leads > 1) {
            position = ahead(queue, position, leads, 1);
            continue;
        }
        atomic_store_explicit(&queue->head, position, memory_order_relaxed);
        if (leads == 0) {
            return left == CSHM_QUEUE_CLOSED ? -EPIPE : -EAGAIN;
        }
        if (leads < 0 || slot_of(queue, seen) >= queue->slot_count) {
            return -EPROTO;
        }
        if (elements_of(left) > max && lease == 0) {
            int status = pop_part(queue, cell, seen, max, message);
            if (status == 1) {
                continue;
            }
            return status;
        }
        if (lease != 0) { /* relaxed: ordered by [settle], which makes it count */
            atomic_store_explicit(&queue->ports[port].left, left, memory_order_relaxed);
        }
        /* Asked for now, the message's line comes while the cell's does. */
        __builtin_prefetch(cshm__queue_bytes_of(queue, slot_of(queue, seen)));
        uint64_t wanted =
            word_of(queue, turn_of(queue, seen) + 1, cum_of(queue, seen), 0, message->slot);
        if (exchange(queue, port, cell, seen, wanted, lease)) {
            advance(&queue->head, &queue->shared->head, position + 1);
            return cshm__queue_show(queue, slot_of(queue, seen), left, message);
        }
    }
}

bool cshm__queue_close_tail(struct cshm_queue *queue)
{
    uint64_t steps = 0;
    uint64_t position = begin(&queue->tail, &queue->shared->tail);
    for (;;) {
        uint64_t seen = load_cell(queue, position);
        int64_t leads = lead(queue, seen, position);
        if (is_lost(queue, &steps)) {
            return false;
        }
        if (leads > 0) {
            position = ahead(queue, position, leads, 0);
            continue;
        }
        if (leads < 0) {
            return false;
        }
        uint64_t closed = word_of(queue, turn_of(queue, seen), cum_of(queue, seen),
                                  CSHM_QUEUE_CLOSED, slot_of(queue, seen));
        if (seen == closed || atomic_compare_exchange_strong_explicit(
                                  cell_at(queue, position), &seen, closed, memory_order_seq_cst,
                                  memory_order_relaxed)) { /* [swap] */
            return true;
        }
    }
}
