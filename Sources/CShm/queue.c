/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/queue.h for the model, and queue_view.h for where its parts are.
 */
#include <cshm/queue.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

#include "anchor_view.h"
#include "queue_view.h"

enum { MAGIC = 0x71756575 }; /* "queu" */

/* Where the parts of a queue are, in bytes from its start; derived from the sizes alone. */
struct extent {
    uint64_t ports;
    uint64_t tokens;
    uint64_t cells;
    uint64_t slots;
    uint64_t end;
    uint32_t ring;
    uint32_t slot_count;
    uint32_t header;
    uint32_t stride;
    uint32_t slot_bits;
    uint32_t turn_shift;
};

static uint32_t bits_for(uint32_t count)
{
    return 32 - (uint32_t)__builtin_clz(count - 1);
}

static uint64_t to_line(uint64_t bytes)
{
    return (bytes + CSHM_LINE - 1) / CSHM_LINE * CSHM_LINE;
}

static bool sizes_are_good(uint32_t capacity, uint32_t ports, uint32_t slot_size, uint32_t pack)
{
    return capacity >= 1 && capacity <= (1u << 20) && ports >= 1 && ports <= 4096 &&
           slot_size >= 1 && slot_size <= 65536 && pack >= 1 && pack <= CSHM_QUEUE_PACK_MAX;
}

static struct extent extent_of(uint32_t capacity, uint32_t ports, uint32_t slot_size)
{
    struct extent e = {.ring = capacity <= 2 ? 2 : 1u << bits_for(capacity)};
    e.slot_count = e.ring + ports;
    e.header = (slot_size + 15) / 16 * 16;
    e.stride = (e.header + (uint32_t)sizeof(struct cshm_slot) + 63) / 64 * 64;
    e.slot_bits = bits_for(e.slot_count);
    /* The numbers of elements wrap at four times the ring: see queue_cells.c. */
    e.turn_shift = e.slot_bits + CSHM_QUEUE_LEFT_BITS + bits_for(e.ring) + 2;
    e.ports = sizeof(struct cshm_queue_shared);
    e.tokens = e.ports + (uint64_t)ports * sizeof(struct cshm_port);
    e.cells = e.tokens + to_line((uint64_t)ports * 8);
    e.slots = e.cells + to_line((uint64_t)e.ring * 8);
    e.end = e.slots + (uint64_t)e.slot_count * e.stride;
    return e;
}

static void *part_of(struct cshm_queue_shared *shared, uint64_t offset)
{
    return (uint8_t *)shared + offset;
}

/* ---- create, open ---- */

int cshm_queue_create(cshm_region *region, const struct cshm_queue_options *options,
                      uint64_t *offset)
{
    uint32_t ports = options->ports == 0 ? 128 : options->ports;
    uint32_t pack = options->pack == 0 ? 1 : options->pack;
    if (!sizes_are_good(options->capacity, ports, options->slot_size, pack)) {
        return -EINVAL;
    }
    struct extent e = extent_of(options->capacity, ports, options->slot_size);
    int status = cshm_heap_allocate(region, e.end, offset);
    if (status != 0) {
        return status;
    }
    struct cshm_queue_shared *shared = cshm_heap_pointer(region, *offset, e.end);
    if (shared == NULL) {
        return -EPROTO;
    }
    memset((void *)shared, 0, e.end);
    shared->capacity = options->capacity;
    shared->ring = e.ring;
    shared->slot_size = options->slot_size;
    shared->ports = ports;
    shared->pack = pack;
    shared->type_tag = options->type_tag;
    shared->byte_limit = options->byte_limit;
    shared->turn_shift = e.turn_shift;
    struct cshm_port *port = part_of(shared, e.ports);
    _Atomic uint64_t *cells = part_of(shared, e.cells);
    for (uint32_t i = 0; i < ports; i++) {
        atomic_store_explicit(&port[i].own, CSHM_OWN(e.ring + i, 0), memory_order_relaxed);
    }
    for (uint32_t i = 0; i < e.ring; i++) {
        atomic_store_explicit(&cells[i], i, memory_order_relaxed);
    }
    shared->magic = MAGIC;
    return 0;
}

/* A view of the queue that lies there, of whatever type. */
static bool view(cshm_region *region, uint64_t offset, struct cshm_queue *out)
{
    struct cshm_queue_shared *shared =
        cshm_heap_pointer(region, offset, sizeof(struct cshm_queue_shared));
    if (shared == NULL || shared->magic != MAGIC) {
        return false;
    }
    uint32_t capacity = shared->capacity;
    uint32_t ports = shared->ports;
    uint32_t slot_size = shared->slot_size;
    uint32_t pack = shared->pack;
    if (!sizes_are_good(capacity, ports, slot_size, pack)) {
        return false;
    }
    struct extent e = extent_of(capacity, ports, slot_size);
    if (cshm_heap_pointer(region, offset, e.end) == NULL || shared->ring != e.ring ||
        shared->turn_shift != e.turn_shift) {
        return false;
    }
    *out = (struct cshm_queue){.region = region,
                               .shared = shared,
                               .ports = part_of(shared, e.ports),
                               .tokens = part_of(shared, e.tokens),
                               .cells = part_of(shared, e.cells),
                               .slots = part_of(shared, e.slots),
                               .capacity = capacity,
                               .ring = e.ring,
                               .log2_ring = bits_for(e.ring),
                               .slot_size = slot_size,
                               .header = e.header,
                               .stride = e.stride,
                               .port_count = ports,
                               .slot_count = e.slot_count,
                               .pack = pack,
                               .byte_limit = shared->byte_limit,
                               .slot_bits = e.slot_bits,
                               .turn_shift = e.turn_shift,
                               .cum_mask = 4ull * e.ring - 1,
                               .stamp = cshm_participant_self(region)};
    return true;
}

int cshm_queue_open(cshm_region *region, uint64_t offset, uint64_t type_tag, cshm_queue **out)
{
    cshm_queue *queue = malloc(sizeof *queue);
    if (queue == NULL) {
        return -ENOMEM;
    }
    if (!view(region, offset, queue) || queue->shared->type_tag != type_tag) {
        free(queue);
        return -EPROTO;
    }
    *out = queue;
    return 0;
}

void cshm_queue_close(cshm_queue *queue)
{
    uint64_t self = cshm_participant_self(queue->region);
    for (uint32_t i = 0; i < CSHM_QUEUE_KEPT; i++) {
        uint32_t kept = atomic_load_explicit(&queue->kept[i], memory_order_acquire);
        if (kept - 1 < queue->port_count && self != 0 && self == queue->stamp) {
            atomic_store_explicit(&queue->ports[kept - 1].owner, 0,
                                  memory_order_release); /* [port] */
        }
    }
    free(queue);
}

static void empty(struct cshm_queue *queue)
{
    for (uint32_t i = 0; i < queue->slot_count; i++) {
        (void)cshm__slot_clear(queue->region, cshm__queue_slot(queue, i));
    }
}

void cshm__queue_end(cshm_region *region, uint64_t offset)
{
    struct cshm_queue queue;
    if (view(region, offset, &queue)) {
        empty(&queue);
    }
}

void cshm_queue_destroy(cshm_queue *queue)
{
    empty(queue);
    (void)cshm_heap_free(queue->region, cshm_heap_offset(queue->region, queue->shared));
    cshm__anchor_end_all(queue->region);
    free(queue);
}

/* ---- looking ---- */

uint64_t cshm_queue_count(const cshm_queue *queue)
{
    return cshm__queue_count(queue) + cshm__queue_aside(queue);
}

uint64_t cshm_queue_capacity(const cshm_queue *queue)
{
    return queue->capacity;
}

int cshm_queue_is_full(const cshm_queue *queue)
{
    return cshm__queue_is_full(queue);
}

/* A message to be delivered again makes it ready, too: see [side] in queue_ports.c. The end waits
 * for what is leased. */
static bool may_take(const cshm_queue *queue)
{
    uint32_t side = 0;
    uint32_t state = cshm__queue_state(queue);
    return cshm__queue_count(queue) != 0 || state == CSHM_QUEUE_CANCELLED ||
           (state == CSHM_QUEUE_FINISHED && cshm__queue_leased(queue) == 0) ||
           (cshm__queue_side_grew(queue, &side) && cshm__queue_aside(queue) != 0);
}

static int has_item(const void *object)
{
    cshm_queue *queue = (cshm_queue *)(uintptr_t)object;
    return may_take(queue) || cshm_participant_self(queue->region) == 0 ||
           cshm__queue_look_for_dead(queue) || may_take(queue);
}

static int has_room(const void *object)
{
    const cshm_queue *queue = object;
    return cshm__queue_state(queue) != CSHM_QUEUE_OPEN ||
           (!cshm__queue_is_full(queue) && cshm__queue_has_byte_room(queue));
}

void cshm_queue_items(cshm_queue *queue, struct cshm_waitable *out)
{
    *out = cshm__at_park(&queue->shared->items.park, has_item, queue);
}

void cshm_queue_room(cshm_queue *queue, struct cshm_waitable *out)
{
    *out = cshm__at_park(&queue->shared->room.park, has_room, queue);
}

void cshm_queue_describe(const cshm_queue *queue, struct cshm_queue_info *out)
{
    *out = (struct cshm_queue_info){
        .count = cshm_queue_count(queue),
        .capacity = queue->capacity,
        .high_water = atomic_load_explicit(&queue->shared->high_water, memory_order_relaxed),
        .bytes = cshm__queue_bytes(queue),
        .byte_limit = queue->byte_limit,
        .leased = cshm__queue_leased(queue),
        .producers = cshm__queue_producers(queue),
        .state = cshm__queue_state(queue),
    };
    out->high_water = out->high_water > out->count ? out->high_water : out->count;
}
