/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/ring.h for the model, ring_view.h for the pairs. Here: the producer.
 */
#include "ring_view.h"

#include <errno.h>
#include <string.h>

#include <cshm/heap.h>

enum {
    LOOK_STEP_MAX = 4096, /* and how late, where it never is, or not for long */
    SHORT_STAY = 4,       /* windows full */
};

/* ---- room ---- */

/* Whether a position has room, and how much the ring holds. */
static int look_for_room(cshm_ring *ring, uint64_t position)
{
    if (!cshm__ring_has_role(ring, ring->put_as)) {
        return -EPERM;
    }
    uint32_t state = cshm__ring_state(ring);
    if (state != CSHM_RING_OPEN) {
        return state == CSHM_RING_FINISHED ? -EPIPE : -ECANCELED;
    }
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_acquire); /* [recycle] */
    if (ring->next - head > ring->capacity) {
        return -EPROTO;
    }
    ring->limit = head + ring->capacity;
    return cshm__ring_is_before(position, ring->limit) ? 0 : -EAGAIN;
}

/* relaxed: a change is found out sooner or later, and exactly by look_for_room() */
static inline bool is_ours_and_open(const cshm_ring *ring)
{
    return cshm__ring_has_role(ring, ring->put_as) &&
           atomic_load_explicit(&ring->shared->state, memory_order_relaxed) == CSHM_RING_OPEN;
}

static bool may_put(const cshm_ring *ring, uint64_t position)
{
    return cshm__ring_is_before(position, ring->limit) && is_ours_and_open(ring);
}

/* Messages in the ring, by the last sight of head. */
static uint64_t inside(const cshm_ring *ring)
{
    return ring->next - (ring->limit - ring->capacity);
}

/* ---- claim ---- */

static int claim_block(cshm_ring *ring, _Atomic uint64_t *holder, uint64_t length, void **data)
{
    uint64_t block = 0;
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

/* From here on, messages of the row have lengths of their own. */
static void begin_odd(cshm_ring *ring, uint64_t position)
{
    ring->odd = true;
    atomic_store_explicit(&ring->shared->odd_from, position + 1,
                          memory_order_release); /* [publish] */
}

/* The block of the slot's last message, if one of that length would get just such a one; else it is
 * freed, if there is one. */
static void *old_block(cshm_ring *ring, _Atomic uint64_t *holder, uint64_t length)
{
    uint64_t block = atomic_load_explicit(holder, memory_order_relaxed); /* this producer's */
    if (block == 0) {
        return NULL;
    }
    void *bytes =
        length > ring->slot_size ? cshm__heap_again(ring->region, block, holder, length) : NULL;
    if (bytes == NULL) {
        cshm__ring_clear_block(ring, holder);
        ring->longs--;
    }
    return bytes;
}

/* Of the same length as the last one there, it is not stored: the line is the consumer's, too. */
static void store_length(_Atomic uint64_t *place, uint64_t length)
{
    /* relaxed: [publish] comes after */
    if (atomic_load_explicit(place, memory_order_relaxed) != length) {
        atomic_store_explicit(place, length, memory_order_relaxed);
    }
}

/* The slot of a message that has a length of its own, or whose slot may own a block. */
static int claim_odd(cshm_ring *ring, uint64_t position, bool in_window, uint64_t length,
                     void **data)
{
    _Atomic uint64_t *holder = cshm__ring_block(ring, position, in_window);
    void *block = old_block(ring, holder, length);
    if (!in_window && !ring->odd && length != ring->slot_size) {
        begin_odd(ring, position);
    }
    store_length(cshm__ring_length(ring, position, in_window), length);
    if (block != NULL) {
        *data = block;
        return 0;
    }
    if (length > ring->slot_size) {
        return claim_block(ring, holder, length, data);
    }
    *data = cshm__ring_place(ring, position, in_window);
    return 0;
}

/* The bytes of the message at an index of a batch. Of a batch only the first is in the window. */
static int claim(cshm_ring *ring, uint32_t index, uint64_t length, void **data)
{
    uint64_t position = ring->next + index;
    if (!may_put(ring, position)) {
        int status = look_for_room(ring, position);
        if (status != 0) {
            return status;
        }
    }
    bool in_window = ring->in_window && index == 0;
    if (in_window) {
        ring->first_odd = length == ring->slot_size ? 0 : CSHM_RING_ODD;
    }
    if (__builtin_expect(length != ring->slot_size || ring->longs != 0 || ring->odd, 0)) {
        return claim_odd(ring, position, in_window, length, data);
    }
    *data = cshm__ring_place(ring, position, in_window);
    return 0;
}

/* ---- publish ---- */

/* After a store that makes the consumer's condition true. */
static void wake_consumer(cshm_ring *ring)
{
    cshm__publish_barrier();
    cshm__park_wake_one_after_store(&ring->shared->items.park);
}

static void store_tail(cshm_ring *ring, uint64_t tail)
{
    ring->next = tail;
    atomic_store_explicit(&ring->shared->tail, tail, memory_order_release); /* [publish] */
}

/* When to see again whether the ring is empty: soon, or later than the last time. */
static void look_later(cshm_ring *ring, bool soon)
{
    uint32_t later = ring->look_step < LOOK_STEP_MAX ? 2 * ring->look_step : LOOK_STEP_MAX;
    ring->look_step = soon ? CSHM_RING_LOOK_STEP : later;
    ring->look_at = ring->next + ring->look_step;
}

/* Lets the window end with the message that is put next: those behind it go to the row. The sooner
 * it was full, the later it is tried again. */
static void leave_window(cshm_ring *ring)
{
    uint64_t stayed = ring->next - ring->entered;
    look_later(ring, stayed >= SHORT_STAY * (uint64_t)ring->window_slots);
    ring->in_window = false;
    /* release: before the word, [leave] */
    atomic_store_explicit(&ring->shared->window_to, ring->next + 1, memory_order_release);
}

/* Whether the window has no slot for the message after the next. */
static bool is_window_full(cshm_ring *ring)
{
    if (inside(ring) + 1 >= ring->window_slots) {
        uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_acquire);
        ring->limit = head + ring->capacity; /* [recycle] */
    }
    return inside(ring) + 1 >= ring->window_slots;
}

static void publish_in_window(cshm_ring *ring, bool is_last)
{
    uint64_t word = cshm__ring_lap(ring, ring->next) | ring->first_odd | is_last;
    /* release: [publish] */
    atomic_store_explicit(cshm__ring_word(ring, ring->next), word, memory_order_release);
}

/* Puts `count` messages, the first of which is in the window. In a batch the word of the first is
 * stored last, so that the others cannot be reached before it. */
static void publish_from_window(cshm_ring *ring, uint32_t count)
{
    uint64_t position = ring->next;
    if (count > 1) {
        leave_window(ring);
        atomic_store_explicit(&ring->shared->tail, position + count, memory_order_release);
        publish_in_window(ring, true);
    } else {
        bool is_last = is_window_full(ring);
        if (is_last) {
            leave_window(ring);
        }
        publish_in_window(ring, is_last);
    }
    store_tail(ring, position + count);
}

/* If the consumer has taken all but the message that is put next, those behind it go to the window. */
static void enter_window_if_empty(cshm_ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_acquire); /* [recycle] */
    if (head != ring->next) {
        look_later(ring, false);
        return;
    }
    ring->limit = head + ring->capacity;
    ring->in_window = true;
    ring->entered = ring->next + 1;
    /* release: [enter]; first the beginning */
    atomic_store_explicit(&ring->shared->window_from, ring->next + 1, memory_order_release);
    atomic_store_explicit(&ring->shared->window_to, UINT64_MAX, memory_order_release);
}

/* Positions below it can be put without further thought: those of the row, till something else is
 * due, while every message has the slot's size. */
static void plan(cshm_ring *ring)
{
    uint64_t end = cshm__ring_is_before(ring->look_at, ring->limit) ? ring->look_at : ring->limit;
    ring->plain_room = ring->in_window || ring->odd || ring->longs != 0 ? ring->next : end;
}

/* The next long message begins where the consumer read one: asked for now, that is here when it is
 * written. A damaged word asks for any place, which does no harm. */
static void prepare_next_block(const cshm_ring *ring)
{
    const _Atomic uint64_t *holder = cshm__ring_block(ring, ring->next, ring->in_window);
    uint64_t block = atomic_load_explicit(holder, memory_order_relaxed);
    cshm__ask_to_write((const void *)((uintptr_t)ring->region->base + block));
}

static void publish(cshm_ring *ring, uint32_t count)
{
    if (ring->in_window) {
        publish_from_window(ring, count);
    } else {
        if (__builtin_expect(!cshm__ring_is_before(ring->next, ring->look_at), 0) && count == 1) {
            enter_window_if_empty(ring);
        }
        store_tail(ring, ring->next + count);
    }
    plan(ring);
    wake_consumer(ring);
    if (__builtin_expect(ring->longs != 0, 0)) {
        prepare_next_block(ring);
    }
}

/* ---- public ---- */

/* Messages claimed since the last one was put. */
static uint32_t claimed(const cshm_ring *ring)
{
    return ring->claimed_at == ring->next ? ring->claimed : 0;
}

int cshm_ring_try_claim_at(cshm_ring *ring, uint32_t index, uint64_t length, void **data)
{
    uint32_t before = claimed(ring);
    if (index > before || index >= ring->capacity) {
        return -EINVAL;
    }
    int status = claim(ring, index, length, data);
    if (status == 0 && index == before) {
        ring->claimed = before + 1;
        ring->claimed_at = ring->next;
    }
    return status;
}

int cshm_ring_try_claim(cshm_ring *ring, uint64_t length, void **data)
{
    return cshm_ring_try_claim_at(ring, 0, length, data);
}

void cshm_ring_commit_many(cshm_ring *ring, uint32_t count)
{
    uint32_t all = claimed(ring);
    ring->claimed = 0;
    if (all != 0 && count != 0) {
        publish(ring, count < all ? count : all);
    }
}

void cshm_ring_commit(cshm_ring *ring)
{
    cshm_ring_commit_many(ring, 1);
}

/* Whether the next message goes to the window, as do the one after it and all that lies beside it. */
static inline bool stays_in_window(const cshm_ring *ring, uint64_t length)
{
    return ring->in_window && length == ring->slot_size && !ring->odd && ring->longs == 0 &&
           inside(ring) + 1 < ring->window_slots && may_put(ring, ring->next);
}

static int put_in_window(cshm_ring *ring, const void *data, uint64_t length)
{
    uint64_t position = ring->next;
    cshm__ring_copy(cshm__ring_place(ring, position, true), data, length);
    ring->first_odd = 0;
    publish_in_window(ring, false);
    store_tail(ring, position + 1);
    ring->plain_room = position + 1;
    wake_consumer(ring);
    return 0;
}

static __attribute__((noinline)) int put_with_care(cshm_ring *ring, const void *data,
                                                   uint64_t length)
{
    if (stays_in_window(ring, length)) {
        return put_in_window(ring, data, length);
    }
    void *place = NULL;
    int status = claim(ring, 0, length, &place);
    if (status == 0) {
        memcpy(place, data, length);
        publish(ring, 1);
    }
    return status;
}

/* Into the next slot of the row. */
static __attribute__((noinline)) int put_plainly(cshm_ring *ring, const void *data, uint64_t length)
{
    memcpy(cshm__ring_row_slot(ring, ring->next), data, length);
    store_tail(ring, ring->next + 1);
    wake_consumer(ring);
    return 0;
}

int cshm_ring_try_put(cshm_ring *ring, const void *data, uint64_t length)
{
    if (__builtin_expect(!cshm__ring_is_before(ring->next, ring->plain_room) ||
                             length != ring->slot_size || !is_ours_and_open(ring),
                         0)) {
        return put_with_care(ring, data, length);
    }
    if (length != 8) {
        return put_plainly(ring, data, length);
    }
    /* A word: to call memcpy, and to save registers for that, would cost more than all the rest. */
    memcpy(cshm__ring_row_word(ring, ring->next), data, 8);
    store_tail(ring, ring->next + 1);
    wake_consumer(ring);
    return 0;
}

/* How many of `count` messages of just the slot's size fit side by side from a claimed one on. */
static uint32_t run_from(const cshm_ring *ring, uint64_t position, uint64_t length, uint32_t count)
{
    if ((ring->in_window && position == ring->next) || length != ring->slot_size ||
        length != ring->stride || ring->longs != 0 || ring->odd) {
        return 1;
    }
    uint64_t run = ring->capacity - (position & (ring->capacity - 1));
    run = run < ring->limit - position ? run : ring->limit - position;
    return run < count ? (uint32_t)run : count;
}

int cshm_ring_try_put_many(cshm_ring *ring, const void *data, uint64_t length, uint32_t count)
{
    const uint8_t *from = data;
    uint32_t done = 0;
    int status = count == 0 || count > INT32_MAX ? -EINVAL : 0;
    while (status == 0 && done < count) {
        void *place = NULL;
        status = claim(ring, done, length, &place);
        if (status == 0) {
            uint32_t run = run_from(ring, ring->next + done, length, count - done);
            memcpy(place, from + done * length, length * run);
            done += run;
        }
    }
    if (done == 0) {
        return status;
    }
    publish(ring, done);
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

static bool consumer_has_died(void *context)
{
    const struct put *put = context;
    return cshm__ring_has_died(put->ring, &put->ring->shared->consumer);
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
