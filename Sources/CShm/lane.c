/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/lanes.h for the model, lanes_parts.h for the pairs. Here: producers.
 */
#include "lanes_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

struct cshm_lane {
    cshm_lanes *lanes;
    struct cshm_lane_shared *line;
    cshm_ring *ring;
    struct cshm_ring_shared *shared;
    uint64_t stamp;
    uint64_t bytes; /* of its blocks, at most; UINT64_MAX is not counted yet */
    /* Where the ring's head is to be for what the byte limit refused last, or 0. Anybody may look. */
    _Atomic uint64_t room_from;
    uint32_t claimed; /* messages after the last, as far as any was claimed */
    uint32_t index;
};

/* ---- join, leave ---- */

/* Whether nothing is in the lane of one who has left or died. */
static bool is_drained(cshm_lanes *lanes, uint32_t index)
{
    uint64_t place = 0;
    cshm_ring *ring = NULL;
    if (cshm__lane_place(lanes, index, &place) != 0) {
        return false;
    }
    if (place == 0) {
        return true;
    }
    if (cshm_ring_open(lanes->region, place, &ring) != 0) {
        return false;
    }
    bool drained = cshm_ring_count(ring) == 0;
    cshm_ring_close(ring);
    return drained;
}

/* Takes a lane that is free; or, with `of_gone`, a drained one whose producer has left or died. */
static bool take_lane(cshm_lanes *lanes, uint64_t self, bool of_gone, uint32_t *index)
{
    for (uint32_t i = 0; i < lanes->count; i++) {
        _Atomic uint64_t *word = &lanes->lanes[i].owner;
        uint64_t owner = atomic_load_explicit(word, memory_order_acquire);
        uint32_t kind = CSHM__KIND(owner);
        bool free_now = kind == CSHM_LANE_FREE;
        if (of_gone && !free_now) {
            free_now = (kind != CSHM_LANE_LIVE || cshm__lane_owner_is_gone(lanes, owner)) &&
                       is_drained(lanes, i);
        }
        if (free_now && atomic_compare_exchange_strong_explicit(
                            word, &owner, CSHM__OWNER(CSHM_LANE_LIVE, self), memory_order_seq_cst,
                            memory_order_relaxed)) { /* [join] */
            *index = i;
            return true;
        }
    }
    return false;
}

/* Opens the lane's ring, which is made if there is none yet. */
static int open_ring(cshm_lane *lane)
{
    cshm_lanes *lanes = lane->lanes;
    _Atomic uint64_t *word = &lane->line->ring;
    uint64_t place = 0;
    int status = cshm__lane_place(lanes, lane->index, &place);
    if (status != 0) {
        return status;
    }
    if (place == 0) {
        status = cshm_ring_create(lanes->region, lanes->capacity, lanes->slot_size, &place);
        if (status != 0) {
            return status;
        }
        (void)cshm__heap_hold(lanes->region, place, word); /* cannot fail: it was just made */
        atomic_store_explicit(word, place, memory_order_release); /* [lane] */
        cshm__heap_link(lanes->region, place);
    }
    status = cshm_ring_open(lanes->region, place, &lane->ring);
    if (status == 0) {
        status = cshm_ring_become_producer(lane->ring);
    }
    return status < 0 ? status : cshm__lane_ring(lanes, lane->index, &lane->shared);
}

int cshm_lanes_join(cshm_lanes *lanes, cshm_lane **out)
{
    uint64_t self = cshm_participant_self(lanes->region);
    if (self == 0) {
        return -ECHILD;
    }
    cshm_lane *lane = calloc(1, sizeof *lane);
    if (lane == NULL) {
        return -ENOMEM;
    }
    if (!take_lane(lanes, self, false, &lane->index) &&
        !take_lane(lanes, self, true, &lane->index)) {
        free(lane);
        return -EUSERS;
    }
    lane->lanes = lanes;
    lane->line = &lanes->lanes[lane->index];
    lane->stamp = self;
    lane->bytes = UINT64_MAX;
    int status = open_ring(lane);
    if (status == 0) {
        status = cshm__stream_join(&lanes->shared->stream); /* [join] */
    }
    if (status != 0) {
        cshm_lane_leave(lane);
        return status;
    }
    *out = lane;
    return 0;
}

void cshm_lane_leave(cshm_lane *lane)
{
    cshm_lanes *lanes = lane->lanes;
    if (lane->ring != NULL) {
        cshm_ring_close(lane->ring);
    }
    if (cshm_participant_self(lanes->region) == lane->stamp) {
        atomic_store_explicit(&lane->line->owner, CSHM__OWNER(CSHM_LANE_LEFT, lane->stamp),
                              memory_order_seq_cst);
        cshm__lane_set_ready(lanes, lane->index); /* to be drained, and freed */
        cshm_park_wake_all(&lanes->shared->items.park);
    }
    free(lane);
}

/* ---- claim ---- */

static int check_stream(const cshm_lane *lane)
{
    /* relaxed: looked at again after the message is stored, and exactly */
    return cshm__stream_status(
        atomic_load_explicit(&lane->lanes->shared->stream, memory_order_relaxed));
}

/* Counts messages against the byte limit, as they are claimed from the `index`-th after the next on.
 * What is counted and then not put, or freed, is known when the limit is reached, and all is counted
 * anew. @returns how many the limit admits, at least 1; -EAGAIN, -EMSGSIZE. */
static int charge(cshm_lane *lane, uint32_t index, uint64_t length, uint32_t count)
{
    uint64_t limit = lane->lanes->byte_limit;
    atomic_store_explicit(&lane->room_from, 0, memory_order_relaxed);
    if (__builtin_expect(limit == 0 || length <= lane->lanes->slot_size, 1)) {
        return (int)count;
    }
    if (length > limit) {
        return -EMSGSIZE;
    }
    if (lane->bytes > limit - length) {
        lane->bytes = cshm__ring_reclaim(lane->ring, index, lane->claimed);
    }
    if (lane->bytes > limit - length) {
        uint64_t from = cshm__ring_room_from(lane->ring, index, lane->claimed, limit - length);
        atomic_store_explicit(&lane->room_from, from, memory_order_relaxed);
        return -EAGAIN;
    }
    uint64_t room = (limit - lane->bytes) / length;
    uint32_t admitted = room < count ? (uint32_t)room : count;
    lane->bytes += admitted * length;
    lane->claimed = lane->claimed > index ? lane->claimed : index + 1;
    return (int)admitted;
}

/* @returns as charge(), or why nothing may be put at all. */
static int admit(cshm_lane *lane, uint32_t index, uint64_t length, uint32_t count)
{
    int status = check_stream(lane);
    return status != 0 ? status : charge(lane, index, length, count);
}

int cshm_lane_try_claim(cshm_lane *lane, uint64_t length, void **data)
{
    int status = admit(lane, 0, length, 1);
    return status < 0 ? status : cshm_ring_try_claim(lane->ring, length, data);
}

int cshm_lane_try_claim_at(cshm_lane *lane, uint32_t index, uint64_t length, void **data)
{
    if (index >= lane->lanes->capacity) {
        return -EINVAL;
    }
    int status = admit(lane, index, length, 1);
    return status < 0 ? status : cshm_ring_try_claim_at(lane->ring, index, length, data);
}

/* ---- commit ---- */

/* The stream ended while `count` messages were stored: how many of them are before the end. Either
 * the lane is sealed after them, here, or the consumer had sealed it. */
static int seal(cshm_lane *lane, uint32_t count)
{
    /* relaxed: this thread stored it */
    uint64_t tail = atomic_load_explicit(&lane->shared->tail, memory_order_relaxed);
    uint64_t sealed = 0;
    if (atomic_compare_exchange_strong_explicit(&lane->line->seal, &sealed, tail + 1,
                                                memory_order_acq_rel,
                                                memory_order_acquire)) { /* [seal] */
        return (int)count;
    }
    uint64_t refused = tail - (sealed - 1);
    return refused < count ? (int)(count - (uint32_t)refused) : -EPIPE;
}

/* Now and then: notes how many there are. Only a number: whoever dies before it is stored
 * leaves a lower one. */
static void sample_high_water(cshm_lane *lane, uint32_t count)
{
    uint64_t tail = atomic_load_explicit(&lane->shared->tail, memory_order_relaxed);
    if (__builtin_expect((tail - 1) % CSHM__SAMPLE_STEP >= count, 1)) {
        return;
    }
    uint64_t inside = tail - atomic_load_explicit(&lane->shared->head, memory_order_relaxed);
    if (inside <= lane->lanes->capacity &&
        inside > atomic_load_explicit(&lane->line->high_water, memory_order_relaxed)) {
        atomic_store_explicit(&lane->line->high_water, inside, memory_order_relaxed);
    }
}

/* After the ring's commit, which ends with the barrier of [ready] and [finish]. */
static int tell_consumer(cshm_lane *lane, uint32_t count)
{
    lane->claimed = 0;
    struct cshm_lanes_shared *shared = lane->lanes->shared;
    int status = cshm__stream_status(
        atomic_load_explicit(&shared->stream, memory_order_relaxed)); /* [finish] */
    if (__builtin_expect(status != 0, 0)) {
        return status == -EPIPE ? seal(lane, count) : status;
    }
    cshm__lane_set_ready(lane->lanes, lane->index); /* [ready] */
    cshm__park_wake_one_after_store(&shared->items.park);
    sample_high_water(lane, count);
    return (int)count;
}

int cshm_lane_commit(cshm_lane *lane)
{
    cshm_ring_commit(lane->ring);
    int status = tell_consumer(lane, 1);
    return status > 0 ? 0 : status;
}

int cshm_lane_commit_many(cshm_lane *lane, uint32_t count)
{
    if (count == 0 || count > lane->lanes->capacity) {
        return -EINVAL;
    }
    cshm_ring_commit_many(lane->ring, count);
    return tell_consumer(lane, count);
}

int cshm_lane_try_put(cshm_lane *lane, const void *data, uint64_t length)
{
    int status = admit(lane, 0, length, 1);
    if (status > 0) {
        status = cshm_ring_try_put(lane->ring, data, length);
    }
    if (status == 0) {
        status = tell_consumer(lane, 1);
    }
    return status > 0 ? 0 : status;
}

int cshm_lane_try_put_many(cshm_lane *lane, const void *data, uint64_t length, uint32_t count)
{
    if (count == 0 || count > INT32_MAX) {
        return -EINVAL;
    }
    int status = admit(lane, 0, length, count);
    if (status > 0) {
        status = cshm_ring_try_put_many(lane->ring, data, length, (uint32_t)status);
    }
    return status > 0 ? tell_consumer(lane, (uint32_t)status) : status;
}

struct put {
    cshm_lane *lane;
    const void *data;
    uint64_t length;
};

static int attempt_put(void *context)
{
    struct put *put = context;
    return cshm_lane_try_put(put->lane, put->data, put->length);
}

int cshm_lane_consumer_is_gone(const cshm_lane *lane)
{
    const cshm_lanes *lanes = lane->lanes;
    uint64_t consumer = atomic_load_explicit(&lanes->shared->consumer, memory_order_acquire);
    return consumer != 0 && cshm_participant_is_gone(lanes->region, consumer) == 1;
}

static bool consumer_has_died(void *context)
{
    const struct put *put = context;
    return cshm_lane_consumer_is_gone(put->lane) != 0;
}

int cshm_lane_put_until(cshm_lane *lane, const void *data, uint64_t length, int64_t deadline_ns)
{
    int status = cshm_lane_try_put(lane, data, length);
    if (status == -EAGAIN) {
        struct put put = {lane, data, length};
        status = cshm__await_peer(&lane->shared->room.park, attempt_put, consumer_has_died, &put,
                                  deadline_ns);
    }
    return status;
}

/* ---- waiting for more than one ---- */

/* Changes nothing, and looks at nothing that another thread might be changing. */
static int has_room(const void *object)
{
    const cshm_lane *lane = object;
    uint64_t from = atomic_load_explicit(&lane->room_from, memory_order_relaxed);
    /* acquire: [announce] of park.c wants no weaker a look */
    uint64_t head = atomic_load_explicit(&lane->shared->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&lane->shared->tail, memory_order_relaxed);
    bool has_room = (int64_t)(tail - head) < (int64_t)lane->lanes->capacity &&
                    (from == 0 || (int64_t)(head - from) >= 0);
    /* The lanes' consumer, who need not have been at this ring yet. */
    return has_room || check_stream(lane) != 0 || cshm_lane_consumer_is_gone(lane) != 0;
}

void cshm_lane_room(cshm_lane *lane, struct cshm_waitable *out)
{
    *out = cshm__at_park(&lane->shared->room.park, has_room, lane);
}
