/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/broadcast.h for the model, broadcast_parts.h for the pairs. Here: making and opening
 * one, where its tail is, and how it ends.
 */
#include "broadcast_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

enum { MAGIC = 0x62636173 }; /* "bcas" */

/* Where the parts are, from the start of the broadcast. */
struct plan {
    uint32_t slot_count;
    uint32_t stride;
    uint64_t publishers;
    uint64_t subscribers;
    uint64_t cells;
    uint64_t spares;
    uint64_t slots;
    uint64_t sums;
    uint64_t size;
};

static bool sizes_are_good(uint32_t capacity, uint32_t slot_size, uint32_t publishers,
                           uint32_t subscribers)
{
    return capacity >= 2 && capacity <= (1u << 20) && (capacity & (capacity - 1)) == 0 &&
           slot_size >= 1 && slot_size <= 65536 && publishers >= 1 && publishers <= 1024 &&
           subscribers >= 1 && subscribers <= 1024;
}

static struct plan plan_for(uint32_t capacity, uint32_t slot_size, uint32_t publishers,
                            uint32_t subscribers, bool limited)
{
    struct plan plan = {
        .slot_count = capacity + publishers * (limited ? 2 : 1) + subscribers,
        .stride = (slot_size + (uint32_t)sizeof(struct cshm_slot) + 63) / 64 * 64,
        .publishers = sizeof(struct cshm_broadcast_shared),
    };
    uint64_t words = ((uint64_t)capacity + subscribers) * 8;
    plan.subscribers = plan.publishers + publishers * sizeof(struct cshm_publisher_shared);
    plan.cells = plan.subscribers + subscribers * sizeof(struct cshm_subscriber_shared);
    plan.spares = plan.cells + (uint64_t)capacity * 8;
    plan.slots = plan.cells + (words + CSHM_LINE - 1) / CSHM_LINE * CSHM_LINE;
    plan.sums = plan.slots + (uint64_t)plan.slot_count * plan.stride;
    plan.size = plan.sums + (limited ? plan.slot_count * sizeof(struct cshm_broadcast_sums) : 0);
    return plan;
}

/* This process's view of the parts; `shared` may still be all zeroes. */
static void set_up(cshm_broadcast *broadcast, cshm_region *region,
                   struct cshm_broadcast_shared *shared, uint32_t capacity, uint32_t slot_size,
                   uint32_t publishers, uint32_t subscribers, uint64_t byte_limit)
{
    struct plan plan = plan_for(capacity, slot_size, publishers, subscribers, byte_limit != 0);
    uint8_t *base = (uint8_t *)shared;
    *broadcast = (cshm_broadcast){
        .region = region,
        .shared = shared,
        .publishers = (struct cshm_publisher_shared *)(void *)(base + plan.publishers),
        .subscribers = (struct cshm_subscriber_shared *)(void *)(base + plan.subscribers),
        .cells = (_Atomic uint64_t *)(void *)(base + plan.cells),
        .spares = (_Atomic uint64_t *)(void *)(base + plan.spares),
        .slots = base + plan.slots,
        .sums = byte_limit == 0 ? NULL : (struct cshm_broadcast_sums *)(void *)(base + plan.sums),
        .byte_limit = byte_limit,
        .capacity = capacity,
        .log2_capacity = (uint32_t)__builtin_ctz(capacity),
        .slot_size = slot_size,
        .stride = plan.stride,
        .publisher_count = publishers,
        .subscriber_count = subscribers,
        .slot_count = plan.slot_count,
        .slot_bits = 32 - (uint32_t)__builtin_clz(plan.slot_count - 1),
    };
}

int cshm_broadcast_create(cshm_region *region, const struct cshm_broadcast_options *options,
                          uint64_t *offset)
{
    uint32_t publishers = options->publishers == 0 ? 16 : options->publishers;
    uint32_t subscribers = options->subscribers == 0 ? 64 : options->subscribers;
    uint32_t capacity = options->capacity;
    if (!sizes_are_good(capacity, options->slot_size, publishers, subscribers)) {
        return -EINVAL;
    }
    struct plan plan =
        plan_for(capacity, options->slot_size, publishers, subscribers, options->byte_limit != 0);
    uint64_t place = 0;
    int status = cshm_heap_allocate(region, plan.size, &place);
    if (status != 0) {
        return status;
    }
    struct cshm_broadcast_shared *shared = cshm_heap_pointer(region, place, plan.size);
    if (shared == NULL) {
        return -EPROTO;
    }
    memset(shared, 0, plan.size);
    cshm_broadcast view;
    set_up(&view, region, shared, capacity, options->slot_size, publishers, subscribers,
           options->byte_limit);
    uint32_t slot = 0;
    for (uint32_t i = 0; i < capacity; i++) {
        atomic_store_explicit(&view.cells[i], cshm__cell(&view, 0, slot++), memory_order_relaxed);
    }
    for (uint32_t i = 0; i < subscribers; i++) {
        atomic_store_explicit(&view.spares[i], cshm__cell(&view, 0, slot++), memory_order_relaxed);
    }
    for (uint32_t i = 0; i < publishers; i++) {
        atomic_store_explicit(&view.publishers[i].own, (uint64_t)slot++ << 32,
                              memory_order_relaxed);
        if (options->byte_limit != 0) {
            atomic_store_explicit(&view.publishers[i].empty, (uint64_t)slot++ << 32,
                                  memory_order_relaxed);
        }
    }
    shared->capacity = capacity;
    shared->slot_size = options->slot_size;
    shared->stride = plan.stride;
    shared->publishers = publishers;
    shared->subscribers = subscribers;
    shared->type_tag = options->type_tag;
    shared->byte_limit = options->byte_limit;
    shared->magic = MAGIC;
    *offset = place;
    return 0;
}

int cshm_broadcast_open(cshm_region *region, uint64_t offset, uint64_t type_tag,
                        cshm_broadcast **out)
{
    struct cshm_broadcast_shared *shared =
        cshm_heap_pointer(region, offset, sizeof(struct cshm_broadcast_shared));
    if (shared == NULL || offset % CSHM_LINE != 0 || shared->magic != MAGIC ||
        shared->type_tag != type_tag) {
        return -EPROTO;
    }
    uint32_t capacity = shared->capacity;
    uint32_t slot_size = shared->slot_size;
    uint32_t publishers = shared->publishers;
    uint32_t subscribers = shared->subscribers;
    if (!sizes_are_good(capacity, slot_size, publishers, subscribers)) {
        return -EPROTO;
    }
    uint64_t byte_limit = shared->byte_limit;
    struct plan plan = plan_for(capacity, slot_size, publishers, subscribers, byte_limit != 0);
    if (shared->stride != plan.stride || cshm_heap_pointer(region, offset, plan.size) == NULL) {
        return -EPROTO;
    }
    cshm_broadcast *broadcast = malloc(sizeof *broadcast);
    if (broadcast == NULL) {
        return -ENOMEM;
    }
    set_up(broadcast, region, shared, capacity, slot_size, publishers, subscribers, byte_limit);
    *out = broadcast;
    return 0;
}

void cshm_broadcast_close(cshm_broadcast *broadcast)
{
    free(broadcast);
}

void cshm_broadcast_destroy(cshm_broadcast *broadcast)
{
    for (uint32_t i = 0; i < broadcast->slot_count; i++) {
        (void)cshm__slot_clear(broadcast->region, cshm__slot_at(broadcast, i));
    }
    (void)cshm_heap_free(broadcast->region, cshm_heap_offset(broadcast->region, broadcast->shared));
    free(broadcast);
}

/* ---- the tail ---- */

int cshm__broadcast_tail(const cshm_broadcast *broadcast, uint64_t from, uint64_t *tail,
                         uint64_t *word)
{
    /* relaxed: a hint, never beyond the tail */
    uint64_t hint = atomic_load_explicit(&broadcast->shared->tail, memory_order_relaxed);
    uint64_t position = hint > from ? hint : from;
    for (;;) {
        uint64_t seen =
            atomic_load_explicit(cshm__cell_at(broadcast, position), memory_order_seq_cst);
        uint64_t turn = cshm__turn(broadcast, seen);
        uint64_t before = cshm__turn_before(broadcast, position);
        if (turn == before) {
            *tail = position;
            *word = seen;
            return 0;
        }
        if (turn < before) {
            return -EPROTO;
        }
        position = cshm__position_after(broadcast, position, turn);
    }
}

uint64_t cshm_broadcast_count(const cshm_broadcast *broadcast)
{
    uint64_t tail = 0;
    uint64_t word = 0;
    return cshm__broadcast_tail(broadcast, 0, &tail, &word) == 0 ? tail : 0;
}

uint64_t cshm_broadcast_capacity(const cshm_broadcast *broadcast)
{
    return broadcast->capacity;
}

/* ---- subscribers ---- */

bool cshm__broadcast_drop_if_gone(cshm_broadcast *broadcast, uint32_t line, uint64_t owner)
{
    return CSHM__KIND(owner) != CSHM_SUBSCRIBER_FREE &&
           cshm_participant_is_gone(broadcast->region, CSHM__OWNER_STAMP(owner)) == 1 &&
           atomic_compare_exchange_strong_explicit(&broadcast->subscribers[line].owner, &owner, 0,
                                                   memory_order_seq_cst, memory_order_relaxed);
}

uint32_t cshm_broadcast_subscribers(cshm_broadcast *broadcast)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < broadcast->subscriber_count; i++) {
        uint64_t owner =
            atomic_load_explicit(&broadcast->subscribers[i].owner, memory_order_seq_cst);
        uint32_t kind = CSHM__KIND(owner);
        if ((kind == CSHM_SUBSCRIBER_LOSSLESS || kind == CSHM_SUBSCRIBER_OVERWRITING) &&
            !cshm__broadcast_drop_if_gone(broadcast, i, owner)) {
            count++;
        }
    }
    return count;
}

/* ---- looking ---- */

/* A slot's block and length may change meanwhile: it is a sum of looks. */
__attribute__((no_sanitize_thread)) static uint64_t bytes_in(const cshm_broadcast *broadcast)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < broadcast->slot_count; i++) {
        const struct cshm_slot *slot = cshm__slot_at(broadcast, i);
        if (atomic_load_explicit(&slot->block, memory_order_relaxed) != 0) {
            bytes += slot->length;
        }
    }
    return bytes;
}

/* Counts a subscriber, and how far behind it is. */
static void describe_subscriber(const struct cshm_subscriber_shared *line,
                                struct cshm_broadcast_info *out)
{
    uint32_t kind = CSHM__KIND(atomic_load_explicit(&line->owner, memory_order_seq_cst));
    uint64_t cursor = atomic_load_explicit(&line->cursor, memory_order_seq_cst);
    out->subscribers += kind == CSHM_SUBSCRIBER_LOSSLESS || kind == CSHM_SUBSCRIBER_OVERWRITING;
    if (kind == CSHM_SUBSCRIBER_LOSSLESS && cursor < out->count &&
        out->count - cursor > out->behind) {
        out->behind = out->count - cursor;
    }
}

void cshm_broadcast_describe(const cshm_broadcast *broadcast, struct cshm_broadcast_info *out)
{
    uint64_t stream = atomic_load_explicit(&broadcast->shared->stream, memory_order_seq_cst);
    *out = (struct cshm_broadcast_info){
        .count = cshm_broadcast_count(broadcast),
        .capacity = broadcast->capacity,
        .bytes = bytes_in(broadcast),
        .byte_limit = broadcast->byte_limit,
        .finished = (stream & CSHM_STREAM_FINISHED) != 0,
        .cancelled = (stream & CSHM_STREAM_CANCELLED) != 0,
    };
    for (uint32_t i = 0; i < broadcast->publisher_count; i++) {
        out->publishers +=
            atomic_load_explicit(&broadcast->publishers[i].owner, memory_order_seq_cst) != 0;
    }
    for (uint32_t i = 0; i < broadcast->subscriber_count; i++) {
        describe_subscriber(&broadcast->subscribers[i], out);
    }
}

/* ---- the end ---- */

int cshm__broadcast_close_tail(cshm_broadcast *broadcast)
{
    uint64_t tail = 0;
    uint64_t seen = 0;
    for (;;) {
        int status = cshm__broadcast_tail(broadcast, tail, &tail, &seen);
        if (status != 0 || cshm__is_end(broadcast, seen)) {
            return status;
        }
        if (atomic_compare_exchange_strong_explicit(
                cshm__cell_at(broadcast, tail), &seen, seen | cshm__end_bit(broadcast),
                memory_order_seq_cst, memory_order_relaxed)) { /* [swap]: the end */
            cshm_park_wake_all(&broadcast->shared->items.park);
            cshm_park_wake_all(&broadcast->shared->room.park);
            return 0;
        }
    }
}

int cshm_broadcast_finish(cshm_broadcast *broadcast)
{
    /* The flag first, so that nobody joins: then it is final that none will. */
    atomic_fetch_or_explicit(&broadcast->shared->stream, CSHM_STREAM_FINISHED,
                             memory_order_seq_cst); /* [join] */
    return cshm__broadcast_close_tail(broadcast);
}

void cshm_broadcast_cancel(cshm_broadcast *broadcast)
{
    atomic_fetch_or_explicit(&broadcast->shared->stream,
                             CSHM_STREAM_FINISHED | CSHM_STREAM_CANCELLED, memory_order_seq_cst);
    cshm_park_wake_all(&broadcast->shared->items.park);
    cshm_park_wake_all(&broadcast->shared->room.park);
}

struct search {
    const cshm_broadcast *broadcast;
    int64_t *next_check_ns;
};

static bool has_owner(const cshm_broadcast *broadcast, bool who_lives)
{
    for (uint32_t i = 0; i < broadcast->publisher_count; i++) {
        uint64_t owner = atomic_load_explicit(&broadcast->publishers[i].owner,
                                              memory_order_seq_cst); /* [join] */
        if (owner != 0 && !(who_lives && cshm_participant_is_gone(broadcast->region, owner) == 1)) {
            return true;
        }
    }
    return false;
}

static bool somebody_publishes(void *context)
{
    struct search *search = context;
    if (!has_owner(search->broadcast, false)) {
        return false;
    }
    return !cshm__look_is_due(search->broadcast->region, search->next_check_ns) ||
           has_owner(search->broadcast, true);
}

bool cshm__broadcast_is_over(cshm_broadcast *broadcast, int64_t *next_check_ns)
{
    struct search search = {broadcast, next_check_ns};
    return cshm__stream_is_over(&broadcast->shared->stream, somebody_publishes, &search);
}
