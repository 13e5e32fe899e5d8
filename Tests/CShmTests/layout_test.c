/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The layout of shared memory, field by field, as of one version. It may change; but not without a
 * new version number, which is what keeps two builds apart that disagree.
 */
#include "test.h"

#include <stdbool.h>
#include <string.h>

#include "layout.h"

extern const struct test layout_tests[];

/* To change the layout: raise CSHM_LAYOUT_VERSION, then this number and what the test names. */
enum { VERSION = 8 };

struct fact {
    const char *owner;
    const char *field; /* NULL for the size */
    size_t found;
    size_t expected;
};

#define SIZE(owner, expected)         {#owner, NULL, sizeof(struct owner), expected}
#define FIELD(owner, field, expected) {#owner, #field, offsetof(struct owner, field), expected}

static const struct fact facts[] = {
    SIZE(cshm_mutex, 128),
    SIZE(cshm_park, 4),
    SIZE(cshm_header, 80),
    FIELD(cshm_header, magic, 0),
    FIELD(cshm_header, layout_id, 8),
    FIELD(cshm_header, endian, 12),
    FIELD(cshm_header, uuid, 16),
    FIELD(cshm_header, capacity, 32),
    FIELD(cshm_header, spans_offset, 40),
    FIELD(cshm_header, heap_offset, 48),
    FIELD(cshm_header, span_count, 56),
    FIELD(cshm_header, pid_namespace, 64),
    FIELD(cshm_header, checksum, 72),
    SIZE(cshm_live, 768),
    FIELD(cshm_live, committed_spans, 0),
    FIELD(cshm_live, heap_lock, 128),
    FIELD(cshm_live, free_hint, 256),
    FIELD(cshm_live, abandoned, 264),
    FIELD(cshm_live, turnover, 272),
    FIELD(cshm_live, watched, 280),
    FIELD(cshm_live, directory_lock, 384),
    FIELD(cshm_live, directory, 512),
    FIELD(cshm_live, kept, 640),
    SIZE(cshm_participant_entry, 64),
    FIELD(cshm_participant_entry, state, 0),
    FIELD(cshm_participant_entry, pid, 8),
    FIELD(cshm_participant_entry, bells, 16),
    SIZE(cshm_directory_slot, 256),
    FIELD(cshm_directory_slot, place, 0),
    FIELD(cshm_directory_slot, generation, 8),
    FIELD(cshm_directory_slot, type_tag, 16),
    FIELD(cshm_directory_slot, kind, 24),
    FIELD(cshm_directory_slot, length, 28),
    FIELD(cshm_directory_slot, name, 32),
    SIZE(cshm_directory_page, 16000),
    FIELD(cshm_directory_page, magic, 0),
    FIELD(cshm_directory_page, next, 8),
    FIELD(cshm_directory_page, slot, 128),
    SIZE(cshm_mutex_shared, 128),
    FIELD(cshm_mutex_shared, native, 0),
    FIELD(cshm_mutex_shared, magic, 48),
    FIELD(cshm_mutex_shared, depth, 52),
    FIELD(cshm_mutex_shared, holder, 56),
    FIELD(cshm_mutex_shared, since, 64),
    SIZE(cshm_span, 32),
    FIELD(cshm_span, word, 0),
    FIELD(cshm_span, owner, 8),
    FIELD(cshm_span, holder, 16),
    FIELD(cshm_span, extra, 24),
    SIZE(cshm_cell, 16),
    FIELD(cshm_cell, state, 0),
    FIELD(cshm_cell, holder, 8),
    SIZE(cshm_slot, 16),
    FIELD(cshm_slot, block, 0),
    FIELD(cshm_slot, length, 8),
    FIELD(cshm_slot, bytes, 16),
    SIZE(cshm_park_line, 128),
    FIELD(cshm_park_line, park, 0),
    FIELD(cshm_park_line, bells, 8),
    SIZE(cshm_event_shared, 256),
    FIELD(cshm_event_shared, magic, 0),
    FIELD(cshm_event_shared, automatic, 4),
    FIELD(cshm_event_shared, state, 8),
    FIELD(cshm_event_shared, waiters, 128),
    SIZE(cshm_latch_shared, 256),
    FIELD(cshm_latch_shared, magic, 0),
    FIELD(cshm_latch_shared, count, 4),
    FIELD(cshm_latch_shared, waiters, 128),
    SIZE(cshm_once_shared, 256),
    FIELD(cshm_once_shared, word, 0),
    FIELD(cshm_once_shared, magic, 8),
    FIELD(cshm_once_shared, waiters, 128),
    SIZE(cshm_barrier_shared, 4480),
    FIELD(cshm_barrier_shared, magic, 0),
    FIELD(cshm_barrier_shared, parties, 4),
    FIELD(cshm_barrier_shared, state, 128),
    FIELD(cshm_barrier_shared, waiters, 256),
    FIELD(cshm_barrier_shared, members, 384),
    SIZE(cshm_condition_shared, 256),
    FIELD(cshm_condition_shared, magic, 0),
    FIELD(cshm_condition_shared, waiters, 4),
    FIELD(cshm_condition_shared, used, 8),
    FIELD(cshm_condition_shared, tickets, 16),
    FIELD(cshm_condition_shared, elsewhere, 128),
    SIZE(cshm_condition_place, 64),
    FIELD(cshm_condition_place, word, 0),
    FIELD(cshm_condition_place, ticket, 8),
    FIELD(cshm_condition_place, park, 16),
    SIZE(cshm_semaphore, 256),
    SIZE(cshm_semaphore_shared, 256),
    FIELD(cshm_semaphore_shared, count, 0),
    FIELD(cshm_semaphore_shared, bound, 4),
    FIELD(cshm_semaphore_shared, magic, 8),
    FIELD(cshm_semaphore_shared, line, 128),
    SIZE(cshm_permits_shared, 256),
    FIELD(cshm_permits_shared, magic, 0),
    FIELD(cshm_permits_shared, count, 4),
    FIELD(cshm_permits_shared, asked, 8),
    FIELD(cshm_permits_shared, several, 16),
    FIELD(cshm_permits_shared, line, 128),
    FIELD(cshm_permits_shared, cell, 256),
    SIZE(cshm_baton_shared, 256),
    FIELD(cshm_baton_shared, magic, 0),
    FIELD(cshm_baton_shared, word, 8),
    FIELD(cshm_baton_shared, line, 128),
    SIZE(cshm_reader_cell, 128),
    FIELD(cshm_reader_cell, owner, 0),
    FIELD(cshm_reader_cell, thread, 8),
    SIZE(cshm_rwlock_shared, 512),
    FIELD(cshm_rwlock_shared, magic, 0),
    FIELD(cshm_rwlock_shared, cells, 4),
    FIELD(cshm_rwlock_shared, state, 8),
    FIELD(cshm_rwlock_shared, crowded, 12),
    FIELD(cshm_rwlock_shared, writer, 128),
    FIELD(cshm_rwlock_shared, readers, 256),
    FIELD(cshm_rwlock_shared, drained, 384),
    FIELD(cshm_rwlock_shared, cell, 512),
    SIZE(cshm_ring_shared, 640),
    FIELD(cshm_ring_shared, magic, 0),
    FIELD(cshm_ring_shared, capacity, 4),
    FIELD(cshm_ring_shared, slot_size, 8),
    FIELD(cshm_ring_shared, state, 12),
    FIELD(cshm_ring_shared, producer, 16),
    FIELD(cshm_ring_shared, consumer, 24),
    FIELD(cshm_ring_shared, tail, 128),
    FIELD(cshm_ring_shared, head, 256),
    FIELD(cshm_ring_shared, items, 384),
    FIELD(cshm_ring_shared, room, 512),
    SIZE(cshm_queue_shared, 896),
    FIELD(cshm_queue_shared, magic, 0),
    FIELD(cshm_queue_shared, capacity, 4),
    FIELD(cshm_queue_shared, ring, 8),
    FIELD(cshm_queue_shared, slot_size, 12),
    FIELD(cshm_queue_shared, ports, 16),
    FIELD(cshm_queue_shared, pack, 20),
    FIELD(cshm_queue_shared, type_tag, 24),
    FIELD(cshm_queue_shared, byte_limit, 32),
    FIELD(cshm_queue_shared, turn_shift, 40),
    FIELD(cshm_queue_shared, state, 44),
    FIELD(cshm_queue_shared, leasing, 48),
    FIELD(cshm_queue_shared, produced, 52),
    FIELD(cshm_queue_shared, side, 56),
    FIELD(cshm_queue_shared, tickets, 60),
    FIELD(cshm_queue_shared, tail, 128),
    FIELD(cshm_queue_shared, head, 256),
    FIELD(cshm_queue_shared, bytes, 384),
    FIELD(cshm_queue_shared, high_water, 392),
    FIELD(cshm_queue_shared, items, 512),
    FIELD(cshm_queue_shared, room, 640),
    FIELD(cshm_queue_shared, idle, 768),
    SIZE(cshm_port, 128),
    FIELD(cshm_port, own, 0),
    FIELD(cshm_port, owner, 8),
    FIELD(cshm_port, left, 16),
    SIZE(cshm_pack, 16),
    FIELD(cshm_pack, count, 0),
    FIELD(cshm_pack, length, 4),
    SIZE(cshm_board_shared, 384),
    FIELD(cshm_board_shared, magic, 0),
    FIELD(cshm_board_shared, seats, 4),
    FIELD(cshm_board_shared, rows, 8),
    FIELD(cshm_board_shared, closed, 12),
    FIELD(cshm_board_shared, poster, 16),
    FIELD(cshm_board_shared, work, 128),
    FIELD(cshm_board_shared, progress, 256),
    SIZE(cshm_board_row, 384),
    FIELD(cshm_board_row, open, 0),
    FIELD(cshm_board_row, oldest, 24),
    FIELD(cshm_board_row, post, 128),
    SIZE(cshm_seat, 128),
    FIELD(cshm_seat, stamp, 0),
    FIELD(cshm_seat, worker, 8),
    FIELD(cshm_seat, reading, 16),
    FIELD(cshm_seat, running, 24),
    FIELD(cshm_seat, since, 32),
    SIZE(cshm_batch_shared, 144),
    FIELD(cshm_batch_shared, magic, 0),
    FIELD(cshm_batch_shared, count, 4),
    FIELD(cshm_batch_shared, group, 8),
    FIELD(cshm_batch_shared, sheet, 12),
    FIELD(cshm_batch_shared, job, 16),
    FIELD(cshm_batch_shared, tag, 24),
    FIELD(cshm_batch_shared, input_size, 32),
    FIELD(cshm_batch_shared, output_size, 40),
    FIELD(cshm_batch_shared, timed, 48),
    FIELD(cshm_batch_shared, urgency, 52),
    FIELD(cshm_batch_shared, next, 128),
    FIELD(cshm_batch_shared, filled, 132),
    FIELD(cshm_batch_shared, elapsed, 136),
    SIZE(cshm_group, 16),
    FIELD(cshm_group, state, 0),
    FIELD(cshm_group, sheet, 8),
    SIZE(cshm_sheet, 32),
    FIELD(cshm_sheet, next, 0),
    FIELD(cshm_sheet, used, 8),
    FIELD(cshm_sheet, room, 16),
    SIZE(cshm_record_shared, 16),
    FIELD(cshm_record_shared, element, 0),
    FIELD(cshm_record_shared, kind, 4),
    FIELD(cshm_record_shared, length, 8),
    SIZE(cshm_lanes_shared, 512),
    FIELD(cshm_lanes_shared, magic, 0),
    FIELD(cshm_lanes_shared, capacity, 4),
    FIELD(cshm_lanes_shared, slot_size, 8),
    FIELD(cshm_lanes_shared, lanes, 12),
    FIELD(cshm_lanes_shared, budget, 16),
    FIELD(cshm_lanes_shared, type_tag, 24),
    FIELD(cshm_lanes_shared, byte_limit, 32),
    FIELD(cshm_lanes_shared, stream, 128),
    FIELD(cshm_lanes_shared, consumer, 136),
    FIELD(cshm_lanes_shared, items, 256),
    FIELD(cshm_lanes_shared, ready, 384),
    SIZE(cshm_lane_shared, 128),
    FIELD(cshm_lane_shared, owner, 0),
    FIELD(cshm_lane_shared, ring, 8),
    FIELD(cshm_lane_shared, seal, 16),
    SIZE(cshm_broadcast_shared, 768),
    FIELD(cshm_broadcast_shared, magic, 0),
    FIELD(cshm_broadcast_shared, capacity, 4),
    FIELD(cshm_broadcast_shared, slot_size, 8),
    FIELD(cshm_broadcast_shared, stride, 12),
    FIELD(cshm_broadcast_shared, publishers, 16),
    FIELD(cshm_broadcast_shared, subscribers, 20),
    FIELD(cshm_broadcast_shared, type_tag, 24),
    FIELD(cshm_broadcast_shared, tail, 128),
    FIELD(cshm_broadcast_shared, floor, 256),
    FIELD(cshm_broadcast_shared, stream, 384),
    FIELD(cshm_broadcast_shared, overwriting, 392),
    FIELD(cshm_broadcast_shared, lossless, 396),
    FIELD(cshm_broadcast_shared, items, 512),
    FIELD(cshm_broadcast_shared, room, 640),
    SIZE(cshm_publisher_shared, 128),
    FIELD(cshm_publisher_shared, own, 0),
    FIELD(cshm_publisher_shared, owner, 8),
    SIZE(cshm_subscriber_shared, 128),
    FIELD(cshm_subscriber_shared, owner, 0),
    FIELD(cshm_subscriber_shared, cursor, 8),
    FIELD(cshm_subscriber_shared, pin, 16),
    SIZE(cshm_guard, 24),
    FIELD(cshm_guard, owner, 0),
    FIELD(cshm_guard, thread, 8),
    FIELD(cshm_guard, park, 16),
    SIZE(cshm_item, 16),
    FIELD(cshm_item, generation, 0),
    FIELD(cshm_item, lengths, 8),
    FIELD(cshm_item, bytes, 16),
    SIZE(cshm_map_shard, 256),
    FIELD(cshm_map_shard, table, 0),
    FIELD(cshm_map_shard, guard, 128),
    FIELD(cshm_map_shard, count, 152),
    FIELD(cshm_map_shard, generation, 160),
    FIELD(cshm_map_shard, changes, 168),
    FIELD(cshm_map_shard, spare, 176),
    FIELD(cshm_map_shard, pending_new, 184),
    FIELD(cshm_map_shard, pending_old, 192),
    FIELD(cshm_map_shard, pending_table, 200),
    SIZE(cshm_map_shared, 256),
    FIELD(cshm_map_shared, magic, 0),
    FIELD(cshm_map_shared, shards, 4),
    FIELD(cshm_map_shared, type_tag, 8),
    FIELD(cshm_map_shared, seed, 16),
    FIELD(cshm_map_shared, changes, 128),
    FIELD(cshm_map_shared, shard, 256),
    SIZE(cshm_map_bucket, 64),
    FIELD(cshm_map_bucket, next, 0),
    FIELD(cshm_map_bucket, entry, 8),
    SIZE(cshm_map_table, 64),
    FIELD(cshm_map_table, overflow_used, 0),
    FIELD(cshm_map_table, bucket, 64),
};

#define NAME(owner) #owner,

static const char *const structs[] = {CSHM_STRUCTS(NAME)};

static bool has_rows(const char *name)
{
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        if (strcmp(facts[i].owner, name) == 0) {
            return true;
        }
    }
    return false;
}

static void fields(void)
{
    bool same = true;
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        const struct fact *fact = &facts[i];
        if (fact->found != fact->expected) {
            fprintf(stderr, "%s.%s: %zu, was %zu in version %d\n", fact->owner,
                    fact->field == NULL ? "size" : fact->field, fact->found, fact->expected,
                    VERSION);
            same = false;
        }
    }
    CHECK(same);
    CHECK_EQ(CSHM_LAYOUT_VERSION, VERSION);
}

static void all_structs(void)
{
    for (size_t i = 0; i < sizeof structs / sizeof structs[0]; i++) {
        if (!has_rows(structs[i])) {
            fprintf(stderr, "%s has no rows\n", structs[i]);
            CHECK(false);
        }
    }
}

const struct test layout_tests[] = {
    {"is_what_its_version_says", fields},
    {"names_every_struct_of_its_id", all_structs},
    {NULL, NULL},
};
