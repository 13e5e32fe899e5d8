/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Points that no scenario reaches for certain, and why. The run fails if one of them touches shared
 * memory after all, or if an entry names no point.
 */
#ifndef CSHM_UNREACHED_H
#define CSHM_UNREACHED_H

#include <stddef.h>

struct unreached {
    const char *file;
    const char *function; /* NULL for all of the file */
    const char *text;     /* in the source line */
    const char *reason;
};

static const struct unreached unreached[] = {
    /* this process's memory, or the machine, is exhausted */
    {"heap.c", "adopt_span", "atomic_store_explicit(&span->owner, 0", "realloc fails"},
    {"anchor.c", "remember", "pthread_mutex_unlock", "malloc fails"},
    {"region.c", "map_file", "close(fd)", "calloc or mmap fails"},
    {"region.c", "fill_file", "close(fd)", "/dev/shm is full"},
    /* 512 processes would have to be attached */
    {"participant.c", "cshm__participant_join", "close(region->life)", "nothing was stored"},
    {"participant.c", "cshm__participant_join", "region->life = -1", "private"},
    /* the run that a hint named became another between the look at it and the taking */
    {"heap_runs.c", "take_hinted", "uint64_t taken", "a race"},
    {"heap_runs.c", "take_hinted", "&head->owner, &taken, 0", "a race"},
    {"heap_runs.c", "take_hinted", "abandoned, 1", "a race"},
    /* a writer looked at the cell just before its reader began to wait, and left */
    {"rwlock_read.c", "go_on", "reader->waits = !swap_cell", "a race"},
    /* the bytes are damaged */
    /* private, and only on some machines or at some times */
    {"kernel.c", "cgroup_room", "char text", "private"},
    {"kernel.c", "cshm__bell_listen", "close(result)", "the name is taken"},
    {"kernel.c", "cshm__start_ticker", "", "private"},
    {"kernel.c", "cshm__read_ticker", "", "private"},
    {"kernel.c", "cshm__has_one_cpu", "", "private"},
    {"park.c", "cshm__park_interrupt", "&is_unseen", "private"},
    {"park.c", "cshm__yield", "crowd", "private"},
    {"park.c", "cshm__yield_pays", "crowd", "private"},
    {"item.h", "cshm__copy_out", "", "private"},
    {"atomic.c", "cshm_atomic_wait_watched", "struct wait wait", "private"},
    {"rwlock_write.c", "cshm_rwlock_writable", "out[0]", "private"},
    {"lockwatch.c", "list_held", "held[at]", "private"},
    {"lockwatch.c", "name_lock", "", "private"},
    {"lockwatch.c", "note_name", "", "private"},
    {"lockwatch.c", "tell_of", "", "private"},
    {"broadcast.c", "cshm_broadcast_describe", "out", "private"},
    {"broadcast.c", "describe_subscriber", "", "private"},
    {"lockwatch.c", "report", "", "private"},
    {"lockwatch.c", "cshm__lockwatch_acquired", "own->more", "private"},
    {"lockwatch.c", "cshm__lockwatch_releases", "own->more", "private"},
    {"list.c", "try_slice", "*", "private"},
    {"list.c", "copy_elements", "", "private"},
    {"list.c", "look_again", "", "private"},
    {"list.c", "look_at", "", "private"},
    {"list.c", "cshm_list_get", "*length", "private"},
    {"list.c", "cshm_list_wait_until", "copy", "private"},
    {"list_change.c", "pop", "*length", "private"},
    {"list_change.c", "cshm_list_peek", "*", "private"},
    {"map.c", "cshm_map_wait_until", "copy", "private"},
    {"map.c", "has_changed", "version", "private"},
    {"map_change.c", "cshm_map_fetch_add", "*before", "private"},
    {"map_change.c", "add_locked", "*before", "private"},
    {"cpuid.h", NULL, "", "private"},
    {"map_table.c", "cshm__map_make_room", "*out", "private"},
    {"map_walk.c", "next_of_shard", "cursor->", "private"},
    {"map_walk.c", "cshm_map_next", "cursor->", "private"},
    {"publisher.c", "may_publish", "", "private"},
    {"array.c", "cshm_array_open", "", "private"},
    {"atomic.c", "swap", "*expected = seen", "private"},
    {"anchor.c", "remember", "memcpy", "private, if 17 objects end at once"},
    {"drain.c", "interrupt_producers", "word = 0", "private, if membarrier is refused"},
    {"drain.c", "take_rest", "lanes->", "private"},
    {"drain.c", "look_everywhere", "lanes->rounds", "private"},
    {"lane.c", "charge", "&lane->room_from", "private"},
    {"lane.c", "cshm_lane_put_until", "put = {lane", "private"},
    {"drain.c", "cshm_lanes_get_until", "get = {lanes", "private"},
    {"queue_put.c", "attempt_one", "put->claimed = false", "private"},
    {"queue_put.c", "put_singly", "put->singly = true", "private"},
    {"queue_put.c", "cshm_queue_put_many_until", "put = {", "private"},
    {"queue_put.c", "remember_refused", "", "private"},
    {"queue_put.c", "forget_refused", "", "private"},
    {"rwlock_line.c", "lets_it_be", "writer->", "private"},
    {"value.c", "load_bytes", "explicit(from, ", "private"},
    {"value.c", "load_bytes", "&word, size)", "private"},
    /* one store of many bytes or of 8: which of these, changes nothing for who finds the dead */
    {"ring_view.h", "cshm__ring_copy", "from, 64", "as of other sizes"},
    /* what is in a box is in no shared memory: post_test.c kills its senders and receivers */
    {"post.c", NULL, "", "post"},
    {"kernel.c", "abstract_address", "", "post"},
    {"kernel.c", "cshm__post_listen", "", "post"},
    {"kernel.c", "cshm__post_send", "", "post"},
    {"kernel.c", "cshm__post_receive", "", "post"},
    {"kernel.c", "read_letter", "", "post"},
    {NULL, NULL, NULL, NULL},
};

#endif /* CSHM_UNREACHED_H */
