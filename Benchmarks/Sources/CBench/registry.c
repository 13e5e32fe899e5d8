/*
 * SPDX-License-Identifier: Apache-2.0
 */
#include "registry.h"

extern const struct bench_channel bench_ping_pong, bench_futex, bench_pipe;
extern const struct bench_channel bench_cached_index, bench_cached_index_lent;
extern const struct bench_channel bench_vyukov, bench_vyukov_padded, bench_robust_mutex;
extern const struct bench_channel bench_ring, bench_ring_waiting, bench_ring_lent;
extern const struct bench_channel bench_queue, bench_queue_waiting, bench_queue_like_swift;
extern const struct bench_channel bench_lanes, bench_lanes_waiting;
extern const struct bench_channel bench_broadcast, bench_broadcast_waiting;
extern const struct bench_channel bench_lock, bench_robust_lock;
extern const struct bench_channel bench_condition, bench_event, bench_event_test;
extern const struct bench_channel bench_barrier, bench_pthread_barrier;
extern const struct bench_channel bench_cas_pair, bench_semaphore, bench_posix_semaphore;
extern const struct bench_channel bench_permits, bench_baton;
extern const struct bench_channel bench_rwlock_read, bench_posix_rwlock;
extern const struct bench_channel bench_unix_socket, bench_posix_queue, bench_vyukov_pool,
    bench_atomic_add;
extern const struct bench_channel bench_map_get, bench_map_set, bench_map_mix95, bench_map_mix50;
extern const struct bench_channel bench_map_of_8_get, bench_map_of_8_set;
extern const struct bench_channel bench_map_of_64_get, bench_map_of_64_set;
extern const struct bench_channel bench_map_of_256_get, bench_map_of_256_set;
extern const struct bench_channel bench_own_add, bench_value_load;
extern const struct bench_channel bench_plain_copy, bench_value_change, bench_mutex_change,
    bench_mutex_read;
extern const struct bench_channel bench_array_read, bench_plain_read;

const struct bench_channel *const bench_registry[] = {
    &bench_ping_pong,
    &bench_futex,
    &bench_pipe,
    &bench_unix_socket,
    &bench_posix_queue,
    &bench_cached_index,
    &bench_cached_index_lent,
    &bench_vyukov,
    &bench_vyukov_padded,
    &bench_vyukov_pool,
    &bench_robust_mutex,
    &bench_ring,
    &bench_ring_waiting,
    &bench_ring_lent,
    &bench_queue,
    &bench_queue_waiting,
    &bench_queue_like_swift,
    &bench_lanes,
    &bench_lanes_waiting,
    &bench_broadcast,
    &bench_broadcast_waiting,
    &bench_lock,
    &bench_robust_lock,
    &bench_condition,
    &bench_event,
    &bench_event_test,
    &bench_barrier,
    &bench_pthread_barrier,
    &bench_cas_pair,
    &bench_atomic_add,
    &bench_semaphore,
    &bench_posix_semaphore,
    &bench_permits,
    &bench_baton,
    &bench_rwlock_read,
    &bench_posix_rwlock,
    &bench_own_add,
    &bench_value_load,
    &bench_plain_copy,
    &bench_value_change,
    &bench_mutex_change,
    &bench_mutex_read,
    &bench_array_read,
    &bench_plain_read,
    &bench_map_get,
    &bench_map_set,
    &bench_map_mix95,
    &bench_map_mix50,
    &bench_map_of_8_get,
    &bench_map_of_8_set,
    &bench_map_of_64_get,
    &bench_map_of_64_set,
    &bench_map_of_256_get,
    &bench_map_of_256_set,
};
const uint32_t bench_registry_count = sizeof bench_registry / sizeof *bench_registry;
