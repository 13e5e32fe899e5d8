/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/ring.h for the model, ring_view.h for the pairs. Here: the consumer.
 */
#include "ring_view.h"

#include <errno.h>
#include <string.h>

#include <cshm/heap.h>

/* ---- find ---- */

/* Where a message is that is there. */
struct found {
    uint64_t position;
    uint64_t word; /* of the window; 0: in the row */
};

static bool is_in_window(const cshm_ring *ring, uint64_t position)
{
    return position - ring->window_from < ring->window_size;
}

/* Sees how far the row has got, and whether it leads to the window. */
static int look_along_row(cshm_ring *ring, uint64_t position)
{
    const struct cshm_ring_shared *shared = ring->shared;
    uint64_t tail = atomic_load_explicit(&shared->tail, memory_order_acquire); /* [publish] */
    if (!cshm__ring_is_before(position, tail)) {
        return -EAGAIN;
    }
    if (tail - position > ring->capacity) {
        return -EPROTO;
    }
    uint64_t from = atomic_load_explicit(&shared->window_from, memory_order_relaxed); /* [enter] */
    if (from - position - 1 < tail - position) {
        ring->window_from = from;
        ring->window_size = CSHM_RING_OPEN_END;
        tail = from;
    }
    uint64_t odd = atomic_load_explicit(&shared->odd_from, memory_order_relaxed);
    ring->odd_from = odd != 0 ? odd - 1 : tail;
    ring->row_end = tail;
    ring->plain_end = position != ring->head                       ? ring->head
                      : cshm__ring_is_before(ring->odd_from, tail) ? ring->odd_from
                                                                   : tail;
    return 0;
}

static int find(cshm_ring *ring, uint64_t position, struct found *found)
{
    found->position = position;
    found->word = 0;
    if (is_in_window(ring, position)) {
        /* What the word tells of and is not beside it is fetched while it is looked for. */
        __builtin_prefetch(cshm__ring_window_slot(ring, position) + ring->other_at);
        found->word = cshm__ring_put_word(ring, position);
        if ((found->word & CSHM_RING_LAST) != 0) {
            ring->window_size = position + 1 - ring->window_from; /* [leave] */
        }
        return found->word != 0 ? 0 : -EAGAIN;
    }
    return __builtin_expect(cshm__ring_is_before(position, ring->row_end), 1)
               ? 0
               : look_along_row(ring, position);
}

/* Nothing was found. Perhaps that is the end. */
static int look_for_end(cshm_ring *ring, uint64_t position, struct found *found)
{
    uint32_t state = cshm__ring_state(ring); /* [end] */
    if (state == CSHM_RING_OPEN) {
        return -EAGAIN;
    }
    int status = state == CSHM_RING_CANCELED ? -ECANCELED : find(ring, position, found);
    return status == -EAGAIN ? -EPIPE : status;
}

/* ---- peek ---- */

/* A message with a length of its own. */
static int read_odd(const cshm_ring *ring, const struct found *found, const void **data,
                    uint64_t *length)
{
    bool in_window = found->word != 0;
    /* relaxed, as the holder: [publish] came before */
    uint64_t size = atomic_load_explicit(cshm__ring_length(ring, found->position, in_window),
                                         memory_order_relaxed);
    const void *bytes = cshm__ring_place(ring, found->position, in_window);
    if (size > ring->slot_size) {
        const _Atomic uint64_t *holder = cshm__ring_block(ring, found->position, in_window);
        bytes = cshm_heap_pointer(ring->region, atomic_load_explicit(holder, memory_order_relaxed),
                                  size);
    }
    if (bytes == NULL) {
        return -EPROTO;
    }
    *data = bytes;
    *length = size;
    return 0;
}

/* relaxed: found out sooner or later, and exactly by look_for_end() */
static inline bool is_canceled(const cshm_ring *ring)
{
    return atomic_load_explicit(&ring->shared->state, memory_order_relaxed) == CSHM_RING_CANCELED;
}

static int peek(cshm_ring *ring, uint64_t position, const void **data, uint64_t *length)
{
    struct found found;
    if (!cshm__ring_has_role(ring, ring->get_as)) {
        return -EPERM;
    }
    if (is_canceled(ring)) {
        return -ECANCELED;
    }
    int status = find(ring, position, &found);
    if (status == -EAGAIN) {
        status = look_for_end(ring, position, &found);
    }
    if (status != 0) {
        return status;
    }
    bool in_window = found.word != 0;
    if (__builtin_expect(in_window ? (found.word & CSHM_RING_ODD) != 0
                                   : !cshm__ring_is_before(position, ring->odd_from),
                         0)) {
        status = read_odd(ring, &found, data, length);
    } else {
        *data = cshm__ring_place(ring, position, in_window);
        *length = ring->slot_size;
    }
    if (status == 0 && position - ring->head == ring->peeked) {
        ring->peeked++;
    }
    return status;
}

/* ---- release ---- */

static inline void store_head(cshm_ring *ring, uint64_t head)
{
    ring->head = head;
    atomic_store_explicit(&ring->shared->head, head, memory_order_release); /* [recycle] */
    cshm__publish_barrier();
    cshm__park_wake_one_after_store(&ring->shared->room.park);
}

static void release(cshm_ring *ring, uint64_t count)
{
    count = count < ring->peeked ? count : ring->peeked;
    ring->peeked -= count;
    store_head(ring, ring->head + count);
}

/* ---- public ---- */

int cshm_ring_try_peek(cshm_ring *ring, const void **data, uint64_t *length)
{
    return peek(ring, ring->head, data, length);
}

int cshm_ring_try_peek_at(cshm_ring *ring, uint32_t index, const void **data, uint64_t *length)
{
    /* One after the other only: each leads to the next. */
    if (index > ring->peeked) {
        return -EINVAL;
    }
    return peek(ring, ring->head + index, data, length);
}

void cshm_ring_release(cshm_ring *ring)
{
    release(ring, 1);
}

void cshm_ring_release_many(cshm_ring *ring, uint32_t count)
{
    release(ring, count);
}

/* The oldest message, if it lies in the window, as the next one does, and has the slot's size. */
static inline bool get_from_window(cshm_ring *ring, void *data, uint64_t size, uint64_t *length)
{
    uint64_t head = ring->head;
    if (!is_in_window(ring, head) || ring->peeked != 0 || size < ring->slot_size ||
        !cshm__ring_has_role(ring, ring->get_as) || is_canceled(ring)) {
        return false;
    }
    __builtin_prefetch(cshm__ring_window_slot(ring, head) + ring->other_at);
    if (cshm__ring_put_word(ring, head) != cshm__ring_lap(ring, head)) {
        return false;
    }
    cshm__ring_copy(data, cshm__ring_place(ring, head, true), ring->slot_size);
    *length = ring->slot_size;
    store_head(ring, head + 1);
    return true;
}

static __attribute__((noinline)) int get_with_care(cshm_ring *ring, void *data, uint64_t size,
                                                   uint64_t *length)
{
    if (get_from_window(ring, data, size, length)) {
        return 0;
    }
    const void *bytes = NULL;
    uint64_t found = 0;
    int status = peek(ring, ring->head, &bytes, &found);
    if (status != 0) {
        return status;
    }
    if (found > size) {
        return -EMSGSIZE;
    }
    memcpy(data, bytes, found);
    *length = found;
    release(ring, 1);
    return 0;
}

/* The oldest message, which lies in the row and has the slot's size. */
static __attribute__((noinline)) int get_plainly(cshm_ring *ring, void *data, uint64_t *length)
{
    memcpy(data, cshm__ring_row_slot(ring, ring->head), ring->slot_size);
    *length = ring->slot_size;
    store_head(ring, ring->head + 1);
    return 0;
}

int cshm_ring_try_get(cshm_ring *ring, void *data, uint64_t size, uint64_t *length)
{
    uint32_t slot_size = ring->slot_size;
    if (__builtin_expect(!cshm__ring_is_before(ring->head, ring->plain_end) || ring->peeked != 0 ||
                             size < slot_size || !cshm__ring_has_role(ring, ring->get_as) ||
                             is_canceled(ring),
                         0)) {
        return get_with_care(ring, data, size, length);
    }
    if (slot_size != 8) {
        return get_plainly(ring, data, length);
    }
    /* A word: to call memcpy, and to save registers for that, would cost more than all the rest. */
    memcpy(data, cshm__ring_row_word(ring, ring->head), 8);
    *length = 8;
    store_head(ring, ring->head + 1);
    return 0;
}

/* How many of `count` messages lie side by side, from one on that was peeked at. */
static uint32_t run_from(const cshm_ring *ring, uint64_t position, uint32_t count)
{
    if (is_in_window(ring, position) || ring->slot_size != ring->stride ||
        cshm__ring_is_before(ring->odd_from, ring->row_end)) {
        return 1;
    }
    uint64_t run = ring->capacity - (position & (ring->capacity - 1));
    run = run < ring->row_end - position ? run : ring->row_end - position;
    return run < count ? (uint32_t)run : count;
}

int cshm_ring_try_get_many(cshm_ring *ring, void *data, uint64_t length, uint32_t count)
{
    uint8_t *to = data;
    uint32_t done = 0;
    int status = count == 0 || count > INT32_MAX ? -EINVAL : 0;
    while (status == 0 && done < count) {
        const void *bytes = NULL;
        uint64_t found = 0;
        uint64_t position = ring->head + done;
        status = peek(ring, position, &bytes, &found);
        if (status == 0 && found != length) {
            status = -EMSGSIZE;
        }
        if (status == 0) {
            uint32_t run = run_from(ring, position, count - done);
            memcpy(to + done * length, bytes, length * run);
            done += run;
        }
    }
    if (done == 0) {
        return status;
    }
    ring->peeked = ring->peeked < done ? done : ring->peeked;
    release(ring, done);
    return (int)done;
}

struct get {
    cshm_ring *ring;
    void *data; /* NULL: only peek */
    uint64_t size;
    const void **place;
    uint64_t *length;
};

static int attempt(void *context)
{
    const struct get *get = context;
    return get->data == NULL ? cshm_ring_try_peek(get->ring, get->place, get->length)
                             : cshm_ring_try_get(get->ring, get->data, get->size, get->length);
}

static bool producer_has_died(void *context)
{
    const struct get *get = context;
    return cshm__ring_has_died(get->ring, &get->ring->shared->producer);
}

static int await(struct get *get, int64_t deadline_ns)
{
    return cshm__await_peer(&get->ring->shared->items.park, attempt, producer_has_died, get,
                            deadline_ns);
}

int cshm_ring_peek_until(cshm_ring *ring, const void **data, uint64_t *length, int64_t deadline_ns)
{
    int status = cshm_ring_try_peek(ring, data, length);
    if (status == -EAGAIN) {
        struct get get = {.ring = ring, .place = data, .length = length};
        status = await(&get, deadline_ns);
    }
    return status;
}

int cshm_ring_get_until(cshm_ring *ring, void *data, uint64_t size, uint64_t *length,
                        int64_t deadline_ns)
{
    int status = cshm_ring_try_get(ring, data, size, length);
    if (status == -EAGAIN) {
        struct get get = {.ring = ring, .data = data, .size = size, .length = length};
        status = await(&get, deadline_ns);
    }
    return status;
}
