/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/lanes.h for the model, lanes_parts.h for the pairs. Here: making and opening them, how
 * they end, and how much is in them.
 */
#include "lanes_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

enum {
    MAGIC = 0x6c616e65, /* "lane" */
    COUNT_TRIES = 8,
};

static bool sizes_are_good(uint32_t capacity, uint32_t slot_size, uint32_t lanes, uint32_t budget)
{
    return capacity >= 2 && capacity <= (1u << 20) && (capacity & (capacity - 1)) == 0 &&
           slot_size >= 1 && slot_size <= 65536 && lanes >= 1 && lanes <= CSHM_LANES_MAX &&
           budget >= 1;
}

static uint64_t size_for(uint32_t lanes)
{
    return sizeof(struct cshm_lanes_shared) + (uint64_t)lanes * sizeof(struct cshm_lane_shared);
}

int cshm_lanes_create(cshm_region *region, const struct cshm_lanes_options *options,
                      uint64_t *offset)
{
    uint32_t count = options->producers == 0 ? 64 : options->producers;
    uint32_t budget = options->budget == 0 ? 32 : options->budget;
    if (!sizes_are_good(options->capacity, options->slot_size, count, budget)) {
        return -EINVAL;
    }
    uint64_t place = 0;
    int status = cshm_heap_allocate(region, size_for(count), &place);
    if (status != 0) {
        return status;
    }
    struct cshm_lanes_shared *shared = cshm_heap_pointer(region, place, size_for(count));
    if (shared == NULL) {
        return -EPROTO;
    }
    memset(shared, 0, size_for(count));
    shared->capacity = options->capacity;
    shared->slot_size = options->slot_size;
    shared->lanes = count;
    shared->budget = budget;
    shared->type_tag = options->type_tag;
    shared->byte_limit = options->byte_limit;
    shared->magic = MAGIC;
    *offset = place;
    return 0;
}

int cshm_lanes_open(cshm_region *region, uint64_t offset, uint64_t type_tag, cshm_lanes **out)
{
    struct cshm_lanes_shared *shared = cshm_heap_pointer(region, offset, sizeof *shared);
    if (shared == NULL || offset % CSHM_LINE != 0 || shared->magic != MAGIC ||
        shared->type_tag != type_tag) {
        return -EPROTO;
    }
    cshm_lanes view = {
        .region = region,
        .shared = shared,
        .lanes = (struct cshm_lane_shared *)(shared + 1),
        .capacity = shared->capacity,
        .slot_size = shared->slot_size,
        .count = shared->lanes,
        .budget = shared->budget,
        .byte_limit = shared->byte_limit,
    };
    if (!sizes_are_good(view.capacity, view.slot_size, view.count, view.budget) ||
        cshm_heap_pointer(region, offset, size_for(view.count)) == NULL) {
        return -EPROTO;
    }
    cshm_lanes *lanes = malloc(sizeof *lanes);
    if (lanes == NULL) {
        return -ENOMEM;
    }
    *lanes = view;
    *out = lanes;
    return 0;
}

void cshm_lanes_close(cshm_lanes *lanes)
{
    for (uint32_t i = 0; lanes->views != NULL && i < lanes->count; i++) {
        if (lanes->views[i].ring != NULL) {
            cshm_ring_close(lanes->views[i].ring);
        }
    }
    free(lanes->views);
    if (lanes->consumer != 0 && lanes->consumer == cshm_participant_self(lanes->region)) {
        /* release: [role]; after the rings' roles, so that a successor can have those */
        atomic_store_explicit(&lanes->shared->consumer, 0, memory_order_release);
    }
    free(lanes);
}

void cshm_lanes_destroy(cshm_lanes *lanes)
{
    cshm_region *region = lanes->region;
    for (uint32_t i = 0; i < lanes->count; i++) {
        uint64_t place = 0;
        cshm_ring *ring = NULL;
        if (cshm__lane_place(lanes, i, &place) == 0 && place != 0 &&
            cshm_ring_open(region, place, &ring) == 0) {
            cshm_ring_destroy(ring);
        }
    }
    uint64_t place = cshm_heap_offset(region, lanes->shared);
    cshm_lanes_close(lanes);
    (void)cshm_heap_free(region, place);
}

int cshm__lane_place(const cshm_lanes *lanes, uint32_t lane, uint64_t *place)
{
    /* acquire: [lane] */
    *place = atomic_load_explicit(&lanes->lanes[lane].ring, memory_order_acquire);
    return *place % CSHM_LINE == 0 ? 0 : -EPROTO;
}

int cshm__lane_ring(const cshm_lanes *lanes, uint32_t lane, struct cshm_ring_shared **out)
{
    uint64_t place = 0;
    struct cshm_ring_shared *ring = NULL;
    int status = cshm__lane_place(lanes, lane, &place);
    if (status != 0) {
        return status;
    }
    if (place != 0) {
        ring = cshm_heap_pointer(lanes->region, place, sizeof *ring);
        if (ring == NULL || ring->capacity != lanes->capacity ||
            ring->slot_size != lanes->slot_size) {
            return -EPROTO;
        }
    }
    *out = ring;
    return 0;
}

bool cshm__lane_owner_is_gone(const cshm_lanes *lanes, uint64_t owner)
{
    return cshm_participant_is_gone(lanes->region, CSHM__OWNER_STAMP(owner)) == 1;
}

/* ---- the end ---- */

static void set_stream(cshm_lanes *lanes, uint64_t flags)
{
    atomic_fetch_or_explicit(&lanes->shared->stream, flags, memory_order_seq_cst);
    cshm_park_wake_all(&lanes->shared->items.park);
    for (uint32_t i = 0; i < lanes->count; i++) {
        struct cshm_ring_shared *ring = NULL;
        if (cshm__lane_ring(lanes, i, &ring) == 0 && ring != NULL) {
            cshm_park_wake_all(&ring->room.park);
        }
    }
}

void cshm_lanes_finish(cshm_lanes *lanes)
{
    set_stream(lanes, CSHM_STREAM_FINISHED);
}

void cshm_lanes_cancel(cshm_lanes *lanes)
{
    set_stream(lanes, CSHM_STREAM_FINISHED | CSHM_STREAM_CANCELLED);
}

/* ---- looking ---- */

/* One look at all lanes: how much is in them, and a sum that is another if anything moved. */
static uint64_t count_once(const cshm_lanes *lanes, uint64_t *moves)
{
    uint64_t count = 0;
    *moves = 0;
    for (uint32_t i = 0; i < lanes->count; i++) {
        struct cshm_ring_shared *ring = NULL;
        if (cshm__lane_ring(lanes, i, &ring) != 0 || ring == NULL) {
            continue;
        }
        uint64_t head = atomic_load_explicit(&ring->head, memory_order_seq_cst);
        uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_seq_cst);
        uint64_t inside = (int64_t)(tail - head) > 0 ? tail - head : 0;
        count += inside < lanes->capacity ? inside : lanes->capacity;
        *moves += head + tail;
    }
    return count;
}

uint64_t cshm_lanes_count(const cshm_lanes *lanes)
{
    uint64_t before = 0;
    uint64_t after = 0;
    uint64_t count = count_once(lanes, &before);
    for (int i = 0; i < COUNT_TRIES; i++) {
        count = count_once(lanes, &after);
        if (after == before) {
            break;
        }
        before = after;
    }
    return count;
}

uint64_t cshm_lanes_capacity(const cshm_lanes *lanes)
{
    return lanes->capacity;
}

/* Adds what is in one lane. */
static void describe_lane(const cshm_lanes *lanes, uint32_t lane, struct cshm_lanes_info *out)
{
    uint64_t place = 0;
    cshm_ring *ring = NULL;
    if (cshm__lane_place(lanes, lane, &place) != 0 || place == 0 ||
        cshm_ring_open(lanes->region, place, &ring) != 0) {
        return;
    }
    uint64_t high = atomic_load_explicit(&lanes->lanes[lane].high_water, memory_order_relaxed);
    uint64_t inside = cshm_ring_count(ring);
    high = high > inside ? high : inside;
    out->high_water = out->high_water > high ? out->high_water : high;
    out->bytes += cshm__ring_bytes(ring);
    cshm_ring_close(ring);
}

void cshm_lanes_describe(const cshm_lanes *lanes, struct cshm_lanes_info *out)
{
    uint64_t stream = atomic_load_explicit(&lanes->shared->stream, memory_order_seq_cst);
    *out = (struct cshm_lanes_info){
        .count = cshm_lanes_count(lanes),
        .capacity = lanes->capacity,
        .byte_limit = lanes->byte_limit,
        .finished = (stream & CSHM_STREAM_FINISHED) != 0,
        .cancelled = (stream & CSHM_STREAM_CANCELLED) != 0,
    };
    for (uint32_t i = 0; i < lanes->count; i++) {
        uint64_t owner = atomic_load_explicit(&lanes->lanes[i].owner, memory_order_acquire);
        out->producers += CSHM__KIND(owner) == CSHM_LANE_LIVE;
        describe_lane(lanes, i, out);
    }
}
