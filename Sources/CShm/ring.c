/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/ring.h for the model, ring_view.h for the pairs. Here: making and unmaking, the roles, the
 * end, and what anybody may ask.
 */
#include "ring_view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

enum {
    MAGIC = 0x72696e67, /* "ring" */
    COUNT_TRIES = 64,
    WINDOW_SLOTS = 16,
    LARGE_WINDOW_SLOTS = 4, /* of slots larger than that: */
    LARGE_SLOT = 512,
};

/* ---- geometry ---- */

/* Slots of the window end with length and word, so that the consumer finds all in one cache line, or
 * in two that lie side by side; large ones begin with them, so that they are in one line with a small
 * message. Between any two one line stays empty: reading a slot makes the CPU fetch what follows, which
 * would take the next slot's first line away from the producer. */
static bool word_comes_last(uint32_t slot_size)
{
    return slot_size <= 112;
}

static uint32_t window_stride_for(uint32_t slot_size)
{
    return (slot_size + 16 + 63) / 64 * 64 + 64;
}

static uint32_t word_place_for(uint32_t slot_size)
{
    if (!word_comes_last(slot_size)) {
        return 8;
    }
    return slot_size <= 48 ? 56 : 120;
}

static uint32_t window_slots_for(uint32_t capacity, uint32_t slot_size)
{
    uint32_t slots = slot_size > LARGE_SLOT ? LARGE_WINDOW_SLOTS : WINDOW_SLOTS;
    return slots < capacity ? slots : capacity;
}

/* Dense: eight messages of 8 bytes in a line. */
static uint32_t stride_for(uint32_t slot_size)
{
    return slot_size <= 8 ? 8 : (slot_size + 15) / 16 * 16;
}

static uint64_t whole_lines(uint64_t size)
{
    return (size + CSHM_LINE - 1) / CSHM_LINE * CSHM_LINE;
}

/* Takes its geometry from capacity and slot size. @returns the bytes of all of it. */
static uint64_t lay_out(cshm_ring *ring, uint32_t capacity, uint32_t slot_size)
{
    ring->capacity = capacity;
    ring->slot_size = slot_size;
    ring->stride = stride_for(slot_size);
    ring->window_slots = window_slots_for(capacity, slot_size);
    ring->window_stride = window_stride_for(slot_size);
    ring->word_at = word_place_for(slot_size);
    ring->bytes_at = word_comes_last(slot_size) ? 0 : 16;
    ring->other_at = word_comes_last(slot_size) ? 0 : 64;
    ring->lap_bits = (uint32_t)__builtin_ctz(ring->window_slots);
    uint64_t row = whole_lines((uint64_t)ring->window_slots * ring->window_stride);
    uint64_t lengths = row + whole_lines((uint64_t)capacity * ring->stride);
    uint64_t blocks = lengths + 8ull * capacity;
    if (ring->shared != NULL) {
        ring->window = (uint8_t *)(ring->shared + 1);
        ring->row = ring->window + row;
        ring->lengths = (_Atomic uint64_t *)(void *)(ring->window + lengths);
        ring->blocks = (_Atomic uint64_t *)(void *)(ring->window + blocks);
    }
    return sizeof *ring->shared + blocks + 8ull * (capacity + ring->window_slots);
}

static bool is_possible(uint32_t capacity, uint32_t slot_size)
{
    return capacity >= 2 && capacity <= (1u << 20) && (capacity & (capacity - 1)) == 0 &&
           slot_size >= 1 && slot_size <= 65536;
}

/* ---- create, open, close ---- */

int cshm_ring_create(cshm_region *region, uint32_t capacity, uint32_t slot_size, uint64_t *offset)
{
    if (!is_possible(capacity, slot_size)) {
        return -EINVAL;
    }
    uint64_t size = lay_out(&(cshm_ring){.shared = NULL}, capacity, slot_size);
    uint64_t place = 0;
    int status = cshm_heap_allocate(region, size, &place);
    if (status != 0) {
        return status;
    }
    struct cshm_ring_shared *shared = cshm_heap_pointer(region, place, size);
    if (shared == NULL) {
        return -EPROTO;
    }
    memset(shared, 0, size);
    shared->capacity = capacity;
    shared->slot_size = slot_size;
    atomic_store_explicit(&shared->window_to, UINT64_MAX, memory_order_relaxed);
    shared->magic = MAGIC;
    *offset = place;
    return 0;
}

int cshm_ring_open(cshm_region *region, uint64_t offset, cshm_ring **out)
{
    struct cshm_ring_shared *shared = cshm_heap_pointer(region, offset, sizeof *shared);
    if (shared == NULL || offset % CSHM_LINE != 0 || shared->magic != MAGIC) {
        return -EPROTO;
    }
    uint32_t capacity = shared->capacity;
    uint32_t slot_size = shared->slot_size;
    if (!is_possible(capacity, slot_size)) {
        return -EPROTO;
    }
    cshm_ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL) {
        return -ENOMEM;
    }
    ring->region = region;
    ring->shared = shared;
    ring->put_as = CSHM_RING_NO_ROLE;
    ring->get_as = CSHM_RING_NO_ROLE;
    if (cshm_heap_pointer(region, offset, lay_out(ring, capacity, slot_size)) == NULL) {
        free(ring);
        return -EPROTO;
    }
    *out = ring;
    return 0;
}

/* In a child of fork the role is still its parent's. */
static void resign(cshm_ring *ring, _Atomic uint64_t *owner, uint64_t stamp)
{
    if (stamp == cshm_participant_self(ring->region)) {
        /* release: [role] */
        (void)atomic_compare_exchange_strong_explicit(owner, &stamp, 0, memory_order_release,
                                                      memory_order_relaxed);
    }
}

void cshm_ring_close(cshm_ring *ring)
{
    resign(ring, &ring->shared->producer, ring->put_as);
    resign(ring, &ring->shared->consumer, ring->get_as);
    free(ring);
}

void cshm__ring_clear_block(const cshm_ring *ring, _Atomic uint64_t *holder)
{
    /* relaxed: the slot is the caller's */
    uint64_t block = atomic_load_explicit(holder, memory_order_relaxed);
    if (block != 0) {
        cshm__heap_free_from(ring->region, block, holder);
        atomic_store_explicit(holder, 0, memory_order_release);
    }
}

void cshm_ring_destroy(cshm_ring *ring)
{
    for (uint32_t i = 0; i < ring->window_slots + ring->capacity; i++) {
        cshm__ring_clear_block(ring, &ring->blocks[i]);
    }
    cshm_region *region = ring->region;
    uint64_t place = cshm_heap_offset(region, ring->shared);
    cshm_ring_close(ring);
    cshm__heap_free_held(region, place); /* a lane may name it */
}

/* ---- where messages are, for one who has not followed them ---- */

static bool is_in_window(const cshm_ring *ring, uint64_t position)
{
    uint64_t to =
        atomic_load_explicit(&ring->shared->window_to, memory_order_acquire); /* [enter] */
    uint64_t from = atomic_load_explicit(&ring->shared->window_from, memory_order_relaxed);
    return position >= from && position < to;
}

bool cshm__ring_is_put(const cshm_ring *ring, uint64_t position)
{
    if (is_in_window(ring, position)) {
        return cshm__ring_put_word(ring, position) != 0;
    }
    /* acquire: [publish] */
    uint64_t tail = atomic_load_explicit(&ring->shared->tail, memory_order_acquire);
    return cshm__ring_is_before(position, tail);
}

/* Behind a position of the row whose message is there: as far as the row goes on. */
static uint64_t end_of_row(const cshm_ring *ring, uint64_t position, uint64_t tail)
{
    uint64_t from = atomic_load_explicit(&ring->shared->window_from, memory_order_relaxed);
    bool is_ahead =
        cshm__ring_is_before(position, from) && cshm__ring_is_before(from, tail); /* [enter] */
    return is_ahead ? from : tail;
}

/* The first position from head on whose message is not there, at most a capacity on. */
static uint64_t end_from(const cshm_ring *ring, uint64_t head)
{
    uint64_t end = head;
    while (end - head < ring->capacity) {
        if (is_in_window(ring, end)) {
            if (cshm__ring_put_word(ring, end) == 0) {
                return end;
            }
            end++;
        } else {
            uint64_t tail = atomic_load_explicit(&ring->shared->tail, memory_order_acquire);
            if (!cshm__ring_is_before(end, tail)) {
                return end;
            }
            end = end_of_row(ring, end, tail);
        }
    }
    return head + ring->capacity;
}

/* ---- blocks ---- */

static uint64_t length_of_slot(const cshm_ring *ring, uint32_t slot)
{
    bool of_window = slot < ring->window_slots;
    uint64_t position = of_window ? slot : slot - ring->window_slots; /* one that has it */
    return atomic_load_explicit(cshm__ring_length(ring, position, of_window), memory_order_relaxed);
}

uint64_t cshm__ring_bytes(const cshm_ring *ring)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < ring->window_slots + ring->capacity; i++) {
        if (atomic_load_explicit(&ring->blocks[i], memory_order_relaxed) != 0) {
            bytes += length_of_slot(ring, i);
        }
    }
    return bytes;
}

/* The last position that has a slot, of the window's and then of the row's, and is put or, of `claimed`
 * messages after that, claimed: a batch goes to the row, but for its first message, perhaps. */
static uint64_t last_position(const cshm_ring *ring, uint32_t slot, uint32_t claimed)
{
    bool of_window = slot < ring->window_slots;
    uint64_t slots = of_window ? ring->window_slots : ring->capacity;
    uint64_t to = atomic_load_explicit(&ring->shared->window_to, memory_order_relaxed);
    uint64_t end = ring->next + claimed;
    if (of_window) {
        end = to < ring->next ? to : ring->next + (ring->in_window && claimed != 0);
    }
    uint64_t last = end - 1;
    return last - ((last - (of_window ? slot : slot - ring->window_slots)) & (slots - 1));
}

static bool is_used(const cshm_ring *ring, uint32_t slot, uint64_t position, uint64_t head)
{
    bool in_window = position == ring->next ? ring->in_window : is_in_window(ring, position);
    if (cshm__ring_is_before(ring->next, position)) {
        in_window = false;
    }
    return !cshm__ring_is_before(position, head) && in_window == (slot < ring->window_slots);
}

/* As cshm__ring_reclaim(), with that head. */
static uint64_t reclaim(cshm_ring *ring, uint64_t head, uint32_t index, uint32_t claimed)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; ring->longs != 0 && i < ring->window_slots + ring->capacity; i++) {
        /* relaxed, as all of blocks: [role], [publish] */
        if (atomic_load_explicit(&ring->blocks[i], memory_order_relaxed) == 0) {
            continue;
        }
        uint64_t position = last_position(ring, i, claimed);
        if (position == ring->next + index || !is_used(ring, i, position, head)) {
            cshm__ring_clear_block(ring, &ring->blocks[i]);
            ring->longs--;
        } else {
            bytes += length_of_slot(ring, i);
        }
    }
    return bytes;
}

uint64_t cshm__ring_reclaim(cshm_ring *ring, uint32_t index, uint32_t claimed)
{
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_acquire); /* [recycle] */
    return reclaim(ring, head, index, claimed);
}

/* Of the block of a message that is put. */
static uint64_t block_bytes(const cshm_ring *ring, uint64_t position)
{
    bool in_window = is_in_window(ring, position);
    return atomic_load_explicit(cshm__ring_block(ring, position, in_window),
                                memory_order_relaxed) == 0
               ? 0
               : atomic_load_explicit(cshm__ring_length(ring, position, in_window),
                                      memory_order_relaxed);
}

uint64_t cshm__ring_room_from(cshm_ring *ring, uint32_t index, uint32_t claimed, uint64_t most)
{
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_acquire); /* [recycle] */
    uint64_t bytes = reclaim(ring, head, index, claimed);
    uint64_t position = head;
    for (uint32_t i = 0; bytes > most && i < ring->capacity && position != ring->next; i++) {
        uint64_t freed = block_bytes(ring, position++);
        bytes -= freed < bytes ? freed : bytes;
    }
    return bytes > most ? ring->next + claimed + 1 : position;
}

/* ---- roles ---- */

int cshm__take_role(cshm_region *region, _Atomic uint64_t *owner)
{
    uint64_t self = cshm_participant_self(region);
    if (self == 0) {
        return -ECHILD;
    }
    uint64_t last = atomic_load_explicit(owner, memory_order_acquire); /* [role] */
    do {
        if (last != 0 && (last == self || cshm_participant_is_gone(region, last) == 0)) {
            return -EBUSY;
        }
        /* acq_rel: [role] */
    } while (!atomic_compare_exchange_weak_explicit(owner, &last, self, memory_order_acq_rel,
                                                    memory_order_acquire));
    return last == 0 ? 0 : 1;
}

/* Takes back what its predecessor stored of a message, or batch, that it did not live to put. */
static void recover_end(cshm_ring *ring)
{
    struct cshm_ring_shared *shared = ring->shared;
    atomic_store_explicit(&shared->tail, ring->next, memory_order_release);
    if (ring->in_window) {
        atomic_store_explicit(&shared->window_to, UINT64_MAX, memory_order_release);
    } else if (atomic_load_explicit(&shared->window_from, memory_order_relaxed) > ring->next) {
        /* [enter]: one store, so that nobody sees its end with another beginning */
        atomic_store_explicit(&shared->window_from, CSHM_RING_NEVER, memory_order_release);
    }
}

/* Blocks of messages in the ring stay; the others, of messages taken or never put, are freed. */
static void recover_blocks(cshm_ring *ring)
{
    ring->longs = 0;
    for (uint32_t i = 0; i < ring->window_slots + ring->capacity; i++) {
        ring->longs += atomic_load_explicit(&ring->blocks[i], memory_order_relaxed) != 0;
    }
    (void)cshm__ring_reclaim(ring, 0, 0);
}

/* Where the dead one's stream ends, and nothing of it after that. */
static int recover(cshm_ring *ring)
{
    struct cshm_ring_shared *shared = ring->shared;
    uint64_t head = atomic_load_explicit(&shared->head, memory_order_acquire); /* [recycle] */
    uint64_t next = end_from(ring, head);
    /* The consumer may have taken more meanwhile, but nobody has put anything. */
    head = atomic_load_explicit(&shared->head, memory_order_acquire);
    if (cshm__ring_is_before(next, head)) {
        return -EPROTO;
    }
    ring->next = next;
    ring->limit = head + ring->capacity;
    ring->in_window = is_in_window(ring, next);
    ring->plain_room = next;
    ring->look_at = next;
    ring->look_step = CSHM_RING_LOOK_STEP;
    ring->entered = next;
    ring->claimed = 0;
    recover_end(ring);
    recover_blocks(ring);
    ring->odd = atomic_load_explicit(&shared->odd_from, memory_order_relaxed) != 0;
    return 0;
}

int cshm_ring_become_producer(cshm_ring *ring)
{
    if (cshm__ring_has_role(ring, ring->put_as)) {
        return -EALREADY;
    }
    int status = cshm__take_role(ring->region, &ring->shared->producer);
    if (status < 0) {
        return status;
    }
    uint64_t self = cshm_participant_self(ring->region);
    if (recover(ring) != 0) {
        resign(ring, &ring->shared->producer, self);
        return -EPROTO;
    }
    ring->put_as = self;
    return status;
}

int cshm_ring_become_consumer(cshm_ring *ring)
{
    if (cshm__ring_has_role(ring, ring->get_as)) {
        return -EALREADY;
    }
    int status = cshm__take_role(ring->region, &ring->shared->consumer);
    if (status >= 0) {
        uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_relaxed);
        ring->get_as = cshm_participant_self(ring->region);
        ring->head = head;
        ring->plain_end = head;
        ring->peeked = 0;
        ring->row_end = head;
        ring->window_from = head;
        ring->window_size = is_in_window(ring, head) ? CSHM_RING_OPEN_END : 0;
    }
    return status;
}

bool cshm__ring_has_died(const cshm_ring *ring, _Atomic uint64_t *owner)
{
    uint64_t stamp = atomic_load_explicit(owner, memory_order_acquire); /* [role] */
    return stamp != 0 && cshm_participant_is_gone(ring->region, stamp) == 1;
}

/* ---- the end ---- */

static void wake_both(cshm_ring *ring)
{
    cshm_park_wake_all(&ring->shared->items.park);
    cshm_park_wake_all(&ring->shared->room.park);
}

int cshm_ring_finish(cshm_ring *ring)
{
    if (!cshm__ring_has_role(ring, ring->put_as)) {
        return -EPERM;
    }
    uint32_t open = CSHM_RING_OPEN;
    /* seq_cst: [end]; a cancelled ring stays so */
    (void)atomic_compare_exchange_strong_explicit(&ring->shared->state, &open, CSHM_RING_FINISHED,
                                                  memory_order_seq_cst, memory_order_seq_cst);
    wake_both(ring);
    return 0;
}

void cshm_ring_cancel(cshm_ring *ring)
{
    atomic_store_explicit(&ring->shared->state, CSHM_RING_CANCELED, memory_order_seq_cst);
    wake_both(ring);
}

/* ---- anybody ---- */

int cshm_ring_producer_is_gone(const cshm_ring *ring)
{
    return cshm__ring_has_died(ring, &ring->shared->producer);
}

int cshm_ring_consumer_is_gone(const cshm_ring *ring)
{
    return cshm__ring_has_died(ring, &ring->shared->consumer);
}

uint64_t cshm_ring_count(const cshm_ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_seq_cst);
    for (uint32_t tries = 0;; tries++) {
        uint64_t count = end_from(ring, head) - head;
        /* If head did not move meanwhile, that was true when the end was found. */
        uint64_t again = atomic_load_explicit(&ring->shared->head, memory_order_seq_cst);
        if (again == head || tries == COUNT_TRIES) {
            return count;
        }
        head = again;
    }
}

static int has_item(const void *object)
{
    const cshm_ring *ring = object;
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_relaxed);
    return cshm__ring_state(ring) != CSHM_RING_OPEN || cshm__ring_is_put(ring, head) ||
           cshm__ring_has_died(ring, &ring->shared->producer);
}

static int has_room(const void *object)
{
    const cshm_ring *ring = object;
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_acquire); /* [recycle] */
    uint64_t tail = atomic_load_explicit(&ring->shared->tail, memory_order_relaxed);
    return cshm__ring_state(ring) != CSHM_RING_OPEN || tail - head < ring->capacity ||
           cshm__ring_has_died(ring, &ring->shared->consumer);
}

void cshm_ring_items(cshm_ring *ring, struct cshm_waitable *out)
{
    *out = cshm__at_park(&ring->shared->items.park, has_item, ring);
}

void cshm_ring_room(cshm_ring *ring, struct cshm_waitable *out)
{
    *out = cshm__at_park(&ring->shared->room.park, has_room, ring);
}
