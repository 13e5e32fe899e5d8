/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/lanes.h for the model, lanes_parts.h for the pairs. Here: the consumer.
 */
#include "lanes_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

enum {
    IDLE_LOOKS = 1024,   /* at a lane in vain, after which its bit is cleared */
    ROUNDS_A_CHECK = 64, /* of all lanes, after which a busy consumer looks for the dead */
    NAP_NS = 1000000,    /* longer than any store stays unseen */
};

int cshm_lanes_become_consumer(cshm_lanes *lanes)
{
    if (lanes->consumer != 0 && lanes->consumer == cshm_participant_self(lanes->region)) {
        return -EALREADY;
    }
    if (lanes->views == NULL) {
        lanes->views = calloc(lanes->count, sizeof *lanes->views);
        if (lanes->views == NULL) {
            return -ENOMEM;
        }
    }
    int status = cshm__take_role(lanes->region, &lanes->shared->consumer); /* [role] */
    if (status < 0) {
        return status;
    }
    lanes->consumer = cshm_participant_self(lanes->region);
    for (uint32_t i = 0; i < lanes->count; i++) { /* the last one may have died after clearing */
        cshm__lane_set_ready(lanes, i);
    }
    return status;
}

/* ---- one lane ---- */

static int open_view(cshm_lanes *lanes, uint32_t lane)
{
    struct cshm__lane_view *view = &lanes->views[lane];
    uint64_t place = 0;
    int status = cshm__lane_place(lanes, lane, &place);
    if (status != 0 || place == 0) {
        return status != 0 ? status : -EAGAIN;
    }
    cshm_ring *ring = NULL;
    status = cshm_ring_open(lanes->region, place, &ring);
    if (status == 0) {
        status = cshm_ring_become_consumer(ring);
        status = status > 0 ? 0 : status == -EBUSY ? -EPROTO : status;
    }
    if (status == 0) {
        status = cshm__lane_ring(lanes, lane, &view->shared);
    }
    if (status != 0) {
        if (ring != NULL) {
            cshm_ring_close(ring);
        }
        return status;
    }
    view->ring = ring;
    return 0;
}

/* Messages of the lane that may be taken from its head on: all, or those before its seal. */
static uint64_t before_seal(const cshm_lanes *lanes, uint32_t lane)
{
    uint64_t seal =
        atomic_load_explicit(&lanes->lanes[lane].seal, memory_order_acquire); /* [seal] */
    if (__builtin_expect(seal == 0, 1)) {
        return UINT64_MAX;
    }
    /* relaxed: only the consumer stores it */
    return seal - 1 - atomic_load_explicit(&lanes->views[lane].shared->head, memory_order_relaxed);
}

/* The message `index` after the oldest of a lane. */
static int look(cshm_lanes *lanes, uint32_t lane, uint32_t index, struct cshm_lanes_message *out)
{
    struct cshm__lane_view *view = &lanes->views[lane];
    if (__builtin_expect(view->ring == NULL, 0)) {
        int status = open_view(lanes, lane);
        if (status != 0) {
            return status;
        }
    }
    if (before_seal(lanes, lane) <= index) {
        return -EAGAIN;
    }
    struct cshm_lanes_message message = {.lane = lane};
    int status = cshm_ring_try_peek_at(view->ring, index, &message.data, &message.length);
    if (status == 0) {
        *out = message;
    }
    /* A lane's ring is never finished or cancelled itself. */
    return status == -EPIPE || status == -ECANCELED ? -EPROTO : status;
}

/* Looks at the oldest message; a lane that its producer has left is free once it is drained. */
static int visit(cshm_lanes *lanes, uint32_t lane, struct cshm_lanes_message *out)
{
    int status = look(lanes, lane, 0, out);
    if (status == 0) {
        lanes->views[lane].misses = 0;
        return 0;
    }
    lanes->views[lane].misses++;
    uint64_t owner = atomic_load_explicit(&lanes->lanes[lane].owner, memory_order_acquire);
    if (status == -EAGAIN && CSHM__KIND(owner) == CSHM_LANE_LEFT) {
        status = look(lanes, lane, 0, out); /* it left after its last message */
        if (status == -EAGAIN) {
            (void)atomic_compare_exchange_strong_explicit(
                &lanes->lanes[lane].owner, &owner, 0, memory_order_seq_cst, memory_order_relaxed);
        }
    }
    return status;
}

/* ---- all lanes ---- */

/* The first lane from `from` on, below `end`, whose bit is set; or `end`. */
static uint32_t next_ready(const cshm_lanes *lanes, uint32_t from, uint32_t end)
{
    while (from < end) {
        /* acquire: [ready] */
        uint64_t word =
            atomic_load_explicit(&lanes->shared->ready[from / 64], memory_order_acquire) &
            (UINT64_MAX << (from % 64));
        if (word != 0) {
            uint32_t lane = from / 64 * 64 + (uint32_t)__builtin_ctzll(word);
            return lane < end ? lane : end;
        }
        from = from / 64 * 64 + 64;
    }
    return end;
}

/* Clears the bits of lanes that were empty for long: clear, interrupt the producers, look again. */
static void clear_idle(cshm_lanes *lanes)
{
    uint64_t cleared[CSHM_LANES_MAX / 64] = {0};
    for (uint32_t i = 0; (i = next_ready(lanes, i, lanes->count)) < lanes->count; i++) {
        if (lanes->views[i].misses >= IDLE_LOOKS / 2) {
            cleared[i / 64] |= cshm__lane_bit(i);
            lanes->views[i].misses = 0;
        }
    }
    for (uint32_t i = 0; i < lanes->count; i += 64) {
        if (cleared[i / 64] != 0) {
            atomic_fetch_and_explicit(&lanes->shared->ready[i / 64], ~cleared[i / 64],
                                      memory_order_seq_cst); /* [ready] */
        }
    }
    bool seen_by_all = cshm__interrupt_publishers(); /* [ready] */
    for (uint32_t i = 0; i < lanes->count; i++) {
        struct cshm_lanes_message message;
        if ((cleared[i / 64] & cshm__lane_bit(i)) != 0 &&
            (!seen_by_all || look(lanes, i, 0, &message) != -EAGAIN)) {
            cshm__lane_set_ready(lanes, i);
        }
    }
}

/* Marks the lanes of the dead, so that they are drained. The kernel is asked once in a while. @returns
 * whether there is a lane to look at that was not before. */
static bool look_for_gone(cshm_lanes *lanes)
{
    bool found = false;
    if (!cshm__look_is_due(lanes->region, &lanes->next_check_ns)) {
        return false;
    }
    for (uint32_t i = 0; i < lanes->count; i++) {
        _Atomic uint64_t *word = &lanes->lanes[i].owner;
        uint64_t owner = atomic_load_explicit(word, memory_order_acquire);
        bool left = CSHM__KIND(owner) == CSHM_LANE_LEFT;
        if (CSHM__KIND(owner) == CSHM_LANE_LIVE && cshm__lane_owner_is_gone(lanes, owner)) {
            left = atomic_compare_exchange_strong_explicit(
                word, &owner, CSHM__OWNER(CSHM_LANE_LEFT, CSHM__OWNER_STAMP(owner)),
                memory_order_seq_cst, memory_order_relaxed);
            found = found || left;
        }
        if (left) { /* its producer may have died before it set the bit */
            cshm__lane_set_ready(lanes, i);
        }
    }
    return found;
}

/* A round of the lanes whose bits are set, from the current one while it has budget. */
static int find(cshm_lanes *lanes, struct cshm_lanes_message *out)
{
    uint32_t start = lanes->left > 0 ? lanes->current : lanes->current + 1;
    bool idle = false;
    for (uint32_t part = 0; part < 2; part++) {
        uint32_t lane = part == 0 ? start : 0;
        uint32_t end = part == 0 ? lanes->count : start < lanes->count ? start : lanes->count;
        for (; (lane = next_ready(lanes, lane, end)) < end; lane++) {
            int status = visit(lanes, lane, out);
            if (status != -EAGAIN) {
                if (lane != lanes->current || lanes->left == 0) {
                    lanes->rounds += lane <= lanes->current;
                    lanes->current = lane;
                    lanes->left = lanes->budget;
                }
                return status;
            }
            idle = idle || lanes->views[lane].misses >= IDLE_LOOKS;
        }
    }
    if (idle) {
        clear_idle(lanes);
    }
    return -EAGAIN;
}

/* ---- the end ---- */

static bool somebody_lives(void *context)
{
    const cshm_lanes *lanes = context;
    for (uint32_t i = 0; i < lanes->count; i++) {
        if (atomic_load_explicit(&lanes->lanes[i].owner, memory_order_seq_cst) != 0) { /* [join] */
            return true;
        }
    }
    return false;
}

/* A store that a producer did before it could see that the stream is finished is seen from now on. */
static void interrupt_producers(cshm_lanes *lanes)
{
    if (!lanes->interrupted && !cshm__interrupt_publishers()) { /* [finish] */
        uint32_t word = 0;
        (void)cshm__futex_wait(&word, 0, cshm_now_ns() + NAP_NS);
    }
    lanes->interrupted = true;
}

/* Seals a lane in which there is nothing. @returns -EPIPE, or -EAGAIN: look again, as its producer
 * had sealed it behind a message. */
static int seal(cshm_lanes *lanes, uint32_t lane)
{
    uint64_t sealed = 0;
    uint64_t head = atomic_load_explicit(&lanes->views[lane].shared->head, memory_order_relaxed);
    bool is_ours = atomic_compare_exchange_strong_explicit(&lanes->lanes[lane].seal, &sealed,
                                                           head + 1, memory_order_acq_rel,
                                                           memory_order_acquire); /* [seal] */
    return is_ours || sealed == head + 1 ? -EPIPE : -EAGAIN;
}

/* What is left in a stream that is finished; -EPIPE when nothing is. */
static int take_rest(cshm_lanes *lanes, struct cshm_lanes_message *out)
{
    interrupt_producers(lanes);
    for (uint32_t i = 0; i < lanes->count; i++) {
        int status = look(lanes, i, 0, out);
        if (status == -EAGAIN && lanes->views[i].ring != NULL && seal(lanes, i) == -EAGAIN) {
            status = look(lanes, i, 0, out);
            status = status == -EAGAIN ? -EPROTO : status;
        }
        if (status != -EAGAIN) {
            lanes->current = i;
            lanes->left = lanes->budget;
            return status;
        }
    }
    return -EPIPE;
}

static int look_everywhere(cshm_lanes *lanes, struct cshm_lanes_message *out)
{
    if (lanes->rounds >= ROUNDS_A_CHECK) {
        lanes->rounds = 0;
        (void)look_for_gone(lanes);
    }
    int status = find(lanes, out);
    if (status == -EAGAIN && look_for_gone(lanes)) {
        status = find(lanes, out);
    }
    if (status == -EAGAIN && cshm__stream_is_over(&lanes->shared->stream, somebody_lives, lanes)) {
        status = take_rest(lanes, out);
    }
    return status;
}

/* The next message: mostly of the lane that it took the last one from, whatever its bit says. */
static int reach(cshm_lanes *lanes, struct cshm_lanes_message *out)
{
    struct cshm__lane_view *view = &lanes->views[lanes->current];
    if (lanes->left > 0 && view->ring != NULL && look(lanes, lanes->current, 0, out) == 0) {
        view->misses = 0;
        return 0;
    }
    return look_everywhere(lanes, out);
}

/* ---- peek, release, get ---- */

/* The first of the messages that are held, or else the next. */
static int first(cshm_lanes *lanes, struct cshm_lanes_message *out)
{
    if (lanes->consumer == 0 || lanes->consumer != cshm_participant_self(lanes->region)) {
        return -EPERM;
    }
    /* relaxed: found out sooner or later */
    if ((atomic_load_explicit(&lanes->shared->stream, memory_order_relaxed) &
         CSHM_STREAM_CANCELLED) != 0) {
        return -ECANCELED;
    }
    return lanes->held != 0 ? look(lanes, lanes->current, 0, out) : reach(lanes, out);
}

int cshm_lanes_try_peek_many(cshm_lanes *lanes, struct cshm_lanes_message *out, uint32_t max)
{
    if (max == 0 || max > INT32_MAX) {
        return -EINVAL;
    }
    int status = first(lanes, out);
    if (status != 0) {
        return status;
    }
    uint32_t count = 1;
    max = max < lanes->left ? max : lanes->left;
    while (count < max && look(lanes, lanes->current, count, &out[count]) == 0) {
        count++;
    }
    lanes->held = count;
    return (int)count;
}

int cshm_lanes_try_peek(cshm_lanes *lanes, struct cshm_lanes_message *out)
{
    int status = cshm_lanes_try_peek_many(lanes, out, 1);
    return status > 0 ? 0 : status;
}

void cshm_lanes_release_many(cshm_lanes *lanes, uint32_t count)
{
    count = count < lanes->held ? count : lanes->held;
    if (count != 0 && lanes->consumer == cshm_participant_self(lanes->region)) {
        lanes->held -= count;
        lanes->left -= count < lanes->left ? count : lanes->left;
        cshm_ring_release_many(lanes->views[lanes->current].ring, count);
    }
}

void cshm_lanes_release(cshm_lanes *lanes)
{
    cshm_lanes_release_many(lanes, 1);
}

int cshm_lanes_try_get(cshm_lanes *lanes, void *data, uint64_t room, uint64_t *length)
{
    struct cshm_lanes_message message;
    int status = cshm_lanes_try_peek(lanes, &message);
    if (status != 0) {
        return status;
    }
    if (message.length > room) {
        return -EMSGSIZE;
    }
    memcpy(data, message.data, message.length);
    *length = message.length;
    cshm_lanes_release(lanes);
    return 0;
}

struct call {
    cshm_lanes *lanes;
    struct cshm_lanes_message *out;
};

static int attempt_peek(void *context)
{
    struct call *call = context;
    return cshm_lanes_try_peek(call->lanes, call->out);
}

int cshm_lanes_peek_until(cshm_lanes *lanes, struct cshm_lanes_message *out, int64_t deadline_ns)
{
    struct call call = {lanes, out};
    return cshm__await(&lanes->shared->items.park, attempt_peek, &call, deadline_ns);
}

struct get {
    cshm_lanes *lanes;
    void *data;
    uint64_t room;
    uint64_t *length;
};

static int attempt_get(void *context)
{
    struct get *get = context;
    return cshm_lanes_try_get(get->lanes, get->data, get->room, get->length);
}

int cshm_lanes_get_until(cshm_lanes *lanes, void *data, uint64_t room, uint64_t *length,
                         int64_t deadline_ns)
{
    int status = cshm_lanes_try_get(lanes, data, room, length);
    if (status == -EAGAIN) {
        struct get get = {lanes, data, room, length};
        status = cshm__await(&lanes->shared->items.park, attempt_get, &get, deadline_ns);
    }
    return status;
}

/* ---- waiting for more than one ---- */

/* It finds what a peek would find, and holds nothing. */
static int has_item(const void *object)
{
    cshm_lanes *lanes = (cshm_lanes *)(uintptr_t)object;
    struct cshm_lanes_message message;
    return first(lanes, &message) != -EAGAIN;
}

void cshm_lanes_items(cshm_lanes *lanes, struct cshm_waitable *out)
{
    *out = cshm__at_park(&lanes->shared->items.park, has_item, lanes);
}
