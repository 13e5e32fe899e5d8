/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/ring.h for the model. Pairs:
 *
 *   [publish]  the producer fills a slot, then stores its word with the lap's tag (release)
 *              -> the consumer loads the word (acquire), then reads the slot
 *   [recycle]  the consumer reads a slot, then stores head past it (release)
 *              -> the producer loads head (acquire), then writes the slot again
 *   [role]     the last owner's stores, then 0 into its word (release), or its death
 *              -> the next one's compare-and-swap of that word (acq_rel)
 *   [end]      the producer's last word, then FINISHED (seq_cst)
 *              -> the consumer loads the state (seq_cst), then looks at the slot once more
 *   [announce] of park.c: a word or head is stored, then the parking word is looked at
 *
 * `tail` is stored after the words it counts: the words are the truth, and tail may be behind them
 * by what a producer was putting when it died. In a batch the first word is stored last, so that
 * the others cannot be reached before it: a batch is put as a whole, or not at all. What a dead
 * producer left behind an unreachable word, its successor wipes before it puts anything.
 *
 * A slot's word: {lap:22, put:1, long:1, length:40}. The producer never loads one that the consumer
 * may have in its cache: whether a slot owns a block is in `blocks`, which is the producer's, and
 * looked at only while there are any. Death after each store of a long claim: the block is
 * allocated for blocks[i] (OWNED by the dead and not named: the sweep frees it); blocks[i] names it
 * (the sweep links it, the slot's next use frees it); linked (the same). Of clearing one: the block
 * is FREE and blocks[i] still names it (its cell names no holder, so freeing again does nothing).
 */
#include <cshm/ring.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

#include "internal.h"

enum { MAGIC = 0x72696e67 }; /* "ring" */

enum { OPEN = 0, FINISHED = 1, CANCELED = 2 };

enum { COUNT_TRIES = 64 };

#define LENGTH_MASK ((UINT64_C(1) << 40) - 1)
#define LONG        (UINT64_C(1) << 40)
#define PUT         (UINT64_C(1) << 41)
#define LAP_SHIFT   42

static const uint64_t NO_ROLE = UINT64_MAX; /* no participant's stamp, and not that of none */

struct cshm_ring {
    cshm_region *region;
    struct cshm_ring_shared *shared;
    uint8_t *slots;
    _Atomic uint64_t *blocks;
    uint32_t mask;
    uint32_t lap_bits;
    uint32_t slot_size;
    uint32_t stride;
    uint32_t word_at; /* within a slot */
    uint32_t bytes_at;
    uint8_t pad0[CSHM_LINE - 64];
    /* the producer's */
    uint64_t put_as;  /* the stamp of its role, or NO_ROLE */
    uint64_t limit;   /* positions below it have room */
    uint64_t claimed; /* the word of the message that is claimed next, without its tag */
    uint64_t longs;   /* slots that own a block */
    uint8_t pad1[CSHM_LINE - 32];
    /* the consumer's */
    uint64_t get_as;
    uint64_t seen; /* messages below it were found to be put */
};

/* ---- geometry ---- */

/* Small slots end with their word, so that the consumer finds bytes and word in one cache line, or
 * in two that lie side by side; large ones begin with it, so that it is in one line with a small
 * message. Slots do not straddle lines needlessly. Between those of several lines one stays empty:
 * reading a slot makes the CPU prefetch what follows, which would take the next slot's first line
 * away from the producer (two lines there and back take 1.2 times a bare one, without it 1.7). */
static bool word_comes_last(uint32_t slot_size)
{
    return slot_size <= 120;
}

static uint32_t stride_for(uint32_t slot_size)
{
    uint32_t size = slot_size + (word_comes_last(slot_size) ? 8 : 16);
    if (size <= 32) {
        return size <= 16 ? 16 : 32;
    }
    return size <= 64 ? 64 : (size + 63) / 64 * 64 + 64;
}

static uint32_t word_place_for(uint32_t slot_size)
{
    if (!word_comes_last(slot_size)) {
        return 8;
    }
    return stride_for(slot_size) - (slot_size <= 56 ? 8 : 72);
}

static uint64_t size_for(uint32_t capacity, uint32_t slot_size)
{
    return sizeof(struct cshm_ring_shared) + (uint64_t)capacity * (stride_for(slot_size) + 8);
}

static bool is_possible(uint32_t capacity, uint32_t slot_size)
{
    return capacity >= 2 && capacity <= (1u << 20) && (capacity & (capacity - 1)) == 0 &&
           slot_size >= 1 && slot_size <= 65536;
}

static uint8_t *slot_at(const cshm_ring *ring, uint64_t position)
{
    return ring->slots + (position & ring->mask) * ring->stride;
}

static _Atomic uint64_t *word_of(const cshm_ring *ring, uint8_t *slot)
{
    return (_Atomic uint64_t *)(void *)(slot + ring->word_at);
}

static uint64_t tag_of(const cshm_ring *ring, uint64_t position)
{
    return (position >> ring->lap_bits) << LAP_SHIFT | PUT;
}

static bool is_put(const cshm_ring *ring, uint64_t word, uint64_t position)
{
    return (word ^ tag_of(ring, position)) < PUT;
}

static bool is_put_at(const cshm_ring *ring, uint64_t position)
{
    /* acquire: [publish] */
    return is_put(
        ring, atomic_load_explicit(word_of(ring, slot_at(ring, position)), memory_order_acquire),
        position);
}

/* ---- create, open, close ---- */

int cshm_ring_create(cshm_region *region, uint32_t capacity, uint32_t slot_size, uint64_t *offset)
{
    if (!is_possible(capacity, slot_size)) {
        return -EINVAL;
    }
    uint64_t size = size_for(capacity, slot_size);
    uint64_t place = 0;
    int status = cshm_heap_allocate(region, size, &place);
    if (status != 0) {
        return status;
    }
    struct cshm_ring_shared *shared = cshm_heap_pointer(region, place, size);
    memset(shared, 0, size);
    shared->capacity = capacity;
    shared->slot_size = slot_size;
    shared->magic = MAGIC;
    *offset = place;
    return 0;
}

int cshm_ring_open(cshm_region *region, uint64_t offset, cshm_ring **out)
{
    struct cshm_ring_shared *shared = cshm_heap_pointer(region, offset, sizeof *shared);
    if (shared == NULL || shared->magic != MAGIC) {
        return -EPROTO;
    }
    uint32_t capacity = shared->capacity;
    uint32_t slot_size = shared->slot_size;
    if (!is_possible(capacity, slot_size) ||
        cshm_heap_pointer(region, offset, size_for(capacity, slot_size)) == NULL) {
        return -EPROTO;
    }
    cshm_ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL) {
        return -ENOMEM;
    }
    ring->region = region;
    ring->shared = shared;
    ring->slots = (uint8_t *)(shared + 1);
    ring->mask = capacity - 1;
    ring->lap_bits = (uint32_t)__builtin_ctz(capacity);
    ring->slot_size = slot_size;
    ring->stride = stride_for(slot_size);
    ring->word_at = word_place_for(slot_size);
    ring->bytes_at = word_comes_last(slot_size) ? 0 : 16;
    ring->blocks = (_Atomic uint64_t *)(void *)(ring->slots + (uint64_t)capacity * ring->stride);
    ring->put_as = NO_ROLE;
    ring->get_as = NO_ROLE;
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

static void clear_block(cshm_region *region, _Atomic uint64_t *holder)
{
    /* relaxed: the slot is the caller's */
    uint64_t block = atomic_load_explicit(holder, memory_order_relaxed);
    if (block != 0) {
        cshm__heap_free_from(region, block, holder);
        atomic_store_explicit(holder, 0, memory_order_release);
    }
}

void cshm_ring_destroy(cshm_ring *ring)
{
    for (uint32_t i = 0; i <= ring->mask; i++) {
        clear_block(ring->region, &ring->blocks[i]);
    }
    cshm_region *region = ring->region;
    uint64_t place = cshm_heap_offset(region, ring->shared);
    cshm_ring_close(ring);
    (void)cshm_heap_free(region, place);
}

/* ---- roles ---- */

static bool has_role(const cshm_ring *ring, uint64_t stamp)
{
    /* relaxed: only fork changes it under a caller's feet */
    return atomic_load_explicit(&ring->region->stamp, memory_order_relaxed) == stamp;
}

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

/* Where the dead one's stream ends, and nothing of it after that. */
static int recover_tail(cshm_ring *ring)
{
    uint64_t capacity = (uint64_t)ring->mask + 1;
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_acquire); /* [recycle] */
    uint64_t tail = atomic_load_explicit(&ring->shared->tail, memory_order_relaxed);
    /* The consumer may have taken what the dead one did not live to count. */
    tail = (int64_t)(head - tail) > 0 ? head : tail;
    if (tail - head > capacity) {
        return -EPROTO;
    }
    while (tail - head < capacity && is_put_at(ring, tail)) {
        tail++;
    }
    for (uint64_t i = tail; i - head < capacity; i++) {
        if (is_put_at(ring, i)) {
            atomic_store_explicit(word_of(ring, slot_at(ring, i)), 0, memory_order_release);
        }
    }
    atomic_store_explicit(&ring->shared->tail, tail, memory_order_release);
    ring->limit = head + capacity;
    ring->longs = 0;
    for (uint64_t i = 0; i < capacity; i++) {
        /* relaxed, as all of blocks: [role], [publish] */
        ring->longs += atomic_load_explicit(&ring->blocks[i], memory_order_relaxed) != 0;
    }
    return 0;
}

int cshm_ring_become_producer(cshm_ring *ring)
{
    if (has_role(ring, ring->put_as)) {
        return -EALREADY;
    }
    int status = cshm__take_role(ring->region, &ring->shared->producer);
    if (status < 0) {
        return status;
    }
    uint64_t self = cshm_participant_self(ring->region);
    if (recover_tail(ring) != 0) {
        resign(ring, &ring->shared->producer, self);
        return -EPROTO;
    }
    ring->put_as = self;
    return status;
}

int cshm_ring_become_consumer(cshm_ring *ring)
{
    if (has_role(ring, ring->get_as)) {
        return -EALREADY;
    }
    int status = cshm__take_role(ring->region, &ring->shared->consumer);
    if (status >= 0) {
        ring->get_as = cshm_participant_self(ring->region);
        ring->seen = atomic_load_explicit(&ring->shared->head, memory_order_relaxed);
    }
    return status;
}

static uint32_t state_of(const cshm_ring *ring)
{
    return atomic_load_explicit(&ring->shared->state, memory_order_seq_cst); /* [end] */
}

static void wake_both(cshm_ring *ring)
{
    cshm_park_wake_all(&ring->shared->items.park);
    cshm_park_wake_all(&ring->shared->room.park);
}

int cshm_ring_finish(cshm_ring *ring)
{
    if (!has_role(ring, ring->put_as)) {
        return -EPERM;
    }
    uint32_t open = OPEN;
    /* seq_cst: [end]; a cancelled ring stays so */
    (void)atomic_compare_exchange_strong_explicit(&ring->shared->state, &open, FINISHED,
                                                  memory_order_seq_cst, memory_order_seq_cst);
    wake_both(ring);
    return 0;
}

void cshm_ring_cancel(cshm_ring *ring)
{
    atomic_store_explicit(&ring->shared->state, CANCELED, memory_order_seq_cst);
    wake_both(ring);
}

/* ---- the producer ---- */

static uint64_t tail_of(const cshm_ring *ring)
{
    /* relaxed: the producer's own */
    return atomic_load_explicit(&ring->shared->tail, memory_order_relaxed);
}

static int claim_block(cshm_ring *ring, _Atomic uint64_t *holder, uint64_t length, void **data)
{
    uint64_t block = 0;
    if (length > LENGTH_MASK) {
        return -ENOSPC;
    }
    int status = cshm__heap_allocate_for(ring->region, length, holder, &block);
    if (status != 0) {
        return status == -EINVAL ? -ENOSPC : status;
    }
    /* release: the sweep must not see the link before the allocation */
    atomic_store_explicit(holder, block, memory_order_release);
    cshm__heap_link(ring->region, block);
    ring->longs++;
    *data = cshm_heap_pointer(ring->region, block, length);
    return *data != NULL ? 0 : -EPROTO;
}

/* The slot of a message that is long, or may have been. */
static int claim_with_block(cshm_ring *ring, uint64_t position, uint64_t length, void **data)
{
    _Atomic uint64_t *holder = &ring->blocks[position & ring->mask];
    if (atomic_load_explicit(holder, memory_order_relaxed) != 0) {
        clear_block(ring->region, holder);
        ring->longs--;
    }
    if (length > ring->slot_size) {
        return claim_block(ring, holder, length, data);
    }
    *data = slot_at(ring, position) + ring->bytes_at;
    return 0;
}

static int look_for_room(cshm_ring *ring, uint64_t position)
{
    if (!has_role(ring, ring->put_as)) {
        return -EPERM;
    }
    uint32_t state = state_of(ring);
    if (state != OPEN) {
        return state == FINISHED ? -EPIPE : -ECANCELED;
    }
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_acquire); /* [recycle] */
    if (tail_of(ring) - head > (uint64_t)ring->mask + 1) {
        return -EPROTO;
    }
    ring->limit = head + ring->mask + 1;
    return position < ring->limit ? 0 : -EAGAIN;
}

static bool may_put(const cshm_ring *ring, uint64_t position)
{
    /* relaxed: found out sooner or later, and exactly by look_for_room() */
    return __builtin_expect(position < ring->limit && has_role(ring, ring->put_as) &&
                                atomic_load_explicit(&ring->shared->state, memory_order_relaxed) ==
                                    OPEN,
                            1);
}

/* The bytes of the message at that position; nothing of the slot is touched, but for its block. */
static int claim(cshm_ring *ring, uint64_t position, uint64_t length, void **data)
{
    if (!may_put(ring, position)) {
        int status = look_for_room(ring, position);
        if (status != 0) {
            return status;
        }
    }
    if (__builtin_expect(length > ring->slot_size || ring->longs != 0, 0)) {
        return claim_with_block(ring, position, length, data);
    }
    *data = slot_at(ring, position) + ring->bytes_at;
    return 0;
}

/* ---- bytes of blocks, for those who limit them ---- */

static uint64_t length_at(const cshm_ring *ring, uint64_t position)
{
    return atomic_load_explicit(word_of(ring, slot_at(ring, position)), memory_order_relaxed) &
           LENGTH_MASK;
}

uint64_t cshm__ring_reclaim(cshm_ring *ring, uint32_t index, uint32_t claimed)
{
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_acquire); /* [recycle] */
    uint64_t tail = tail_of(ring);
    uint64_t bytes = 0;
    for (uint64_t i = 0; ring->longs != 0 && i <= ring->mask; i++) {
        uint64_t position = head + i;
        _Atomic uint64_t *holder = &ring->blocks[position & ring->mask];
        if (atomic_load_explicit(holder, memory_order_relaxed) == 0) {
            continue;
        }
        if (position >= tail + claimed || position == tail + index) {
            clear_block(ring->region, holder);
            ring->longs--;
        } else {
            bytes += position == tail ? ring->claimed & LENGTH_MASK : length_at(ring, position);
        }
    }
    return bytes;
}

uint64_t cshm__ring_bytes(const cshm_ring *ring)
{
    uint64_t bytes = 0;
    for (uint64_t i = 0; i <= ring->mask; i++) {
        if (atomic_load_explicit(&ring->blocks[i], memory_order_relaxed) != 0) {
            bytes += length_at(ring, i);
        }
    }
    return bytes;
}

static uint64_t claimed_word(const cshm_ring *ring, uint64_t length)
{
    return length > ring->slot_size ? length | LONG : length;
}

static void store_word(cshm_ring *ring, uint64_t position, uint64_t word)
{
    /* release: [publish] */
    atomic_store_explicit(word_of(ring, slot_at(ring, position)), word | tag_of(ring, position),
                          memory_order_release);
}

/* Puts `count` messages, of which all but the first have their words. */
static void publish(cshm_ring *ring, uint64_t tail, uint32_t count, uint64_t first_word)
{
    store_word(ring, tail, first_word);
    atomic_store_explicit(&ring->shared->tail, tail + count, memory_order_release);
    cshm__publish_barrier();
    cshm__park_wake_one_after_store(&ring->shared->items.park);
}

/* A word at a time where that is the whole of it: a call of memcpy costs more than the ring. */
static void copy(void *to, const void *from, uint64_t length)
{
    if (length == 8) {
        memcpy(to, from, 8);
    } else {
        memcpy(to, from, length);
    }
}

int cshm_ring_try_claim(cshm_ring *ring, uint64_t length, void **data)
{
    int status = claim(ring, tail_of(ring), length, data);
    if (status == 0) {
        ring->claimed = claimed_word(ring, length);
    }
    return status;
}

int cshm_ring_try_claim_at(cshm_ring *ring, uint32_t index, uint64_t length, void **data)
{
    if (index > ring->mask) {
        return -EINVAL;
    }
    if (index == 0) {
        return cshm_ring_try_claim(ring, length, data);
    }
    uint64_t position = tail_of(ring) + index;
    int status = claim(ring, position, length, data);
    if (status == 0) {
        store_word(ring, position, claimed_word(ring, length));
    }
    return status;
}

void cshm_ring_commit(cshm_ring *ring)
{
    publish(ring, tail_of(ring), 1, ring->claimed);
}

void cshm_ring_commit_many(cshm_ring *ring, uint32_t count)
{
    if (count != 0) {
        publish(ring, tail_of(ring), count, ring->claimed);
    }
}

int cshm_ring_try_put(cshm_ring *ring, const void *data, uint64_t length)
{
    uint64_t tail = tail_of(ring);
    void *place = NULL;
    int status = claim(ring, tail, length, &place);
    if (status == 0) {
        copy(place, data, length);
        publish(ring, tail, 1, claimed_word(ring, length));
    }
    return status;
}

int cshm_ring_try_put_many(cshm_ring *ring, const void *data, uint64_t length, uint32_t count)
{
    const uint8_t *from = data;
    uint64_t tail = tail_of(ring);
    uint64_t word = claimed_word(ring, length);
    uint32_t done = 0;
    int status = count == 0 || count > INT32_MAX ? -EINVAL : 0;
    for (; status == 0 && done < count; done++) {
        void *place = NULL;
        status = claim(ring, tail + done, length, &place);
        if (status != 0) {
            break;
        }
        copy(place, from + done * length, length);
        if (done != 0) {
            store_word(ring, tail + done, word);
        }
    }
    if (done == 0) {
        return status;
    }
    publish(ring, tail, done, word);
    return (int)done;
}

struct put {
    cshm_ring *ring;
    const void *data;
    uint64_t length;
};

static int attempt_put(void *context)
{
    const struct put *put = context;
    return cshm_ring_try_put(put->ring, put->data, put->length);
}

static bool has_died(const cshm_ring *ring, _Atomic uint64_t *owner)
{
    uint64_t stamp = atomic_load_explicit(owner, memory_order_acquire); /* [role] */
    return stamp != 0 && cshm_participant_is_gone(ring->region, stamp) == 1;
}

static bool consumer_has_died(void *context)
{
    const struct put *put = context;
    return has_died(put->ring, &put->ring->shared->consumer);
}

int cshm_ring_put_until(cshm_ring *ring, const void *data, uint64_t length, int64_t deadline_ns)
{
    int status = cshm_ring_try_put(ring, data, length);
    if (status == -EAGAIN) {
        struct put put = {ring, data, length};
        status = cshm__await_peer(&ring->shared->room.park, attempt_put, consumer_has_died, &put,
                                  deadline_ns);
    }
    return status;
}

/* ---- the consumer ---- */

/* Why there is nothing to take, or 0 if there is after all. */
static int look_for_item(cshm_ring *ring, uint64_t position)
{
    if (!has_role(ring, ring->get_as)) {
        return -EPERM;
    }
    uint32_t state = state_of(ring);
    if (state == CANCELED) {
        return -ECANCELED;
    }
    if (is_put_at(ring, position)) {
        return 0;
    }
    return state == FINISHED ? -EPIPE : -EAGAIN;
}

static int read_slot(cshm_ring *ring, uint64_t position, uint64_t word, const void **data,
                     uint64_t *length)
{
    uint64_t size = word & LENGTH_MASK;
    const void *bytes = slot_at(ring, position) + ring->bytes_at;
    if (__builtin_expect((word & LONG) != 0, 0)) {
        /* relaxed: [publish] came before */
        uint64_t block =
            atomic_load_explicit(&ring->blocks[position & ring->mask], memory_order_relaxed);
        bytes = cshm_heap_pointer(ring->region, block, size);
    } else if (size > ring->slot_size) {
        bytes = NULL;
    }
    if (bytes == NULL) {
        return -EPROTO;
    }
    *data = bytes;
    *length = size;
    return 0;
}

static uint64_t head_of(const cshm_ring *ring)
{
    /* relaxed: the consumer's own */
    return atomic_load_explicit(&ring->shared->head, memory_order_relaxed);
}

static int peek(cshm_ring *ring, uint64_t position, const void **data, uint64_t *length)
{
    _Atomic uint64_t *place = word_of(ring, slot_at(ring, position));
    uint64_t word = atomic_load_explicit(place, memory_order_acquire); /* [publish] */
    if (__builtin_expect(!is_put(ring, word, position) || !has_role(ring, ring->get_as) ||
                             atomic_load_explicit(&ring->shared->state, memory_order_relaxed) ==
                                 CANCELED,
                         0)) {
        int status = look_for_item(ring, position);
        if (status != 0) {
            return status;
        }
        word = atomic_load_explicit(place, memory_order_acquire); /* [publish] */
    }
    return read_slot(ring, position, word, data, length);
}

static void release(cshm_ring *ring, uint64_t head)
{
    atomic_store_explicit(&ring->shared->head, head, memory_order_release); /* [recycle] */
    cshm__publish_barrier();
    cshm__park_wake_one_after_store(&ring->shared->room.park);
}

int cshm_ring_try_peek(cshm_ring *ring, const void **data, uint64_t *length)
{
    return peek(ring, head_of(ring), data, length);
}

int cshm_ring_try_peek_at(cshm_ring *ring, uint32_t index, const void **data, uint64_t *length)
{
    uint64_t head = head_of(ring);
    /* The words of a batch can be read one after the other only: the first is stored last. */
    uint64_t seen = (int64_t)(ring->seen - head) > 0 ? ring->seen : head;
    if (index > seen - head) {
        return -EINVAL;
    }
    int status = peek(ring, head + index, data, length);
    if (status == 0) {
        ring->seen = head + index == seen ? seen + 1 : seen;
    }
    return status;
}

void cshm_ring_release(cshm_ring *ring)
{
    release(ring, head_of(ring) + 1);
}

void cshm_ring_release_many(cshm_ring *ring, uint32_t count)
{
    release(ring, head_of(ring) + count);
}

int cshm_ring_try_get(cshm_ring *ring, void *data, uint64_t size, uint64_t *length)
{
    const void *bytes = NULL;
    uint64_t found = 0;
    uint64_t head = head_of(ring);
    int status = peek(ring, head, &bytes, &found);
    if (status != 0) {
        return status;
    }
    if (found > size) {
        return -EMSGSIZE;
    }
    copy(data, bytes, found);
    *length = found;
    release(ring, head + 1);
    return 0;
}

int cshm_ring_try_get_many(cshm_ring *ring, void *data, uint64_t length, uint32_t count)
{
    uint8_t *to = data;
    uint64_t head = head_of(ring);
    uint32_t done = 0;
    int status = count == 0 || count > INT32_MAX ? -EINVAL : 0;
    for (; status == 0 && done < count; done++) {
        const void *bytes = NULL;
        uint64_t found = 0;
        status = peek(ring, head + done, &bytes, &found);
        if (status == 0 && found != length) {
            status = -EMSGSIZE;
        }
        if (status != 0) {
            break;
        }
        copy(to + done * length, bytes, length);
    }
    if (done == 0) {
        return status;
    }
    release(ring, head + done);
    return (int)done;
}

struct peek {
    cshm_ring *ring;
    const void **data;
    uint64_t *length;
};

static int attempt_peek(void *context)
{
    const struct peek *call = context;
    return cshm_ring_try_peek(call->ring, call->data, call->length);
}

static bool producer_has_died(void *context)
{
    const struct peek *call = context;
    return has_died(call->ring, &call->ring->shared->producer);
}

int cshm_ring_peek_until(cshm_ring *ring, const void **data, uint64_t *length, int64_t deadline_ns)
{
    int status = cshm_ring_try_peek(ring, data, length);
    if (status == -EAGAIN) {
        struct peek call = {ring, data, length};
        status = cshm__await_peer(&ring->shared->items.park, attempt_peek, producer_has_died, &call,
                                  deadline_ns);
    }
    return status;
}

int cshm_ring_get_until(cshm_ring *ring, void *data, uint64_t size, uint64_t *length,
                        int64_t deadline_ns)
{
    const void *bytes = NULL;
    uint64_t found = 0;
    int status = cshm_ring_peek_until(ring, &bytes, &found, deadline_ns);
    return status == 0 ? cshm_ring_try_get(ring, data, size, length) : status;
}

/* ---- anybody ---- */

int cshm_ring_producer_is_gone(const cshm_ring *ring)
{
    return has_died(ring, &ring->shared->producer);
}

int cshm_ring_consumer_is_gone(const cshm_ring *ring)
{
    return has_died(ring, &ring->shared->consumer);
}

uint64_t cshm_ring_count(const cshm_ring *ring)
{
    uint64_t capacity = (uint64_t)ring->mask + 1;
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_seq_cst);
    for (uint32_t tries = 0;; tries++) {
        uint64_t tail = atomic_load_explicit(&ring->shared->tail, memory_order_seq_cst);
        tail = (int64_t)(head - tail) > 0 ? head : tail;
        while (tail - head < capacity && is_put_at(ring, tail)) {
            tail++;
        }
        /* If head did not move meanwhile, tail - head was true when tail was found. */
        uint64_t again = atomic_load_explicit(&ring->shared->head, memory_order_seq_cst);
        if (again == head || tries == COUNT_TRIES) {
            return tail - head <= capacity ? tail - head : capacity;
        }
        head = again;
    }
}

static int has_item(const void *object)
{
    const cshm_ring *ring = object;
    return state_of(ring) != OPEN || is_put_at(ring, head_of(ring));
}

static int has_room(const void *object)
{
    const cshm_ring *ring = object;
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_acquire); /* [recycle] */
    return state_of(ring) != OPEN || tail_of(ring) - head <= ring->mask;
}

void cshm_ring_items(cshm_ring *ring, struct cshm_waitable *out)
{
    *out = (struct cshm_waitable){&ring->shared->items.park, has_item, ring};
}

void cshm_ring_room(cshm_ring *ring, struct cshm_waitable *out)
{
    *out = (struct cshm_waitable){&ring->shared->room.park, has_room, ring};
}
