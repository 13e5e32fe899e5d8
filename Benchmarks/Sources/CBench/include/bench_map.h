/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Dictionaries: 100,000 keys of 16 bytes, read or replaced at random. Whoever has `get` and `set`
 * gets the loops from BENCH_MAP. A value's first word is its key's number, and says, modulo the number of
 * keys, whether it is the right one; the rest of it is that word again.
 */
#ifndef BENCH_MAP_H
#define BENCH_MAP_H

#include <bench_channel.h>

enum { BENCH_KEYS = 100000, BENCH_VALUE_MAX = 64 };

struct bench_key {
    uint64_t word[2];
};

/** A value as the loops have it; `size` bytes of it count. */
struct bench_value {
    uint64_t word[BENCH_VALUE_MAX / 8];
};

/** @returns whether the key was there. */
typedef bool bench_get(void *handle, const struct bench_key *key, struct bench_value *value,
                       uint32_t size);
/** @returns whether it was set. */
typedef bool bench_set(void *handle, const struct bench_key *key, const struct bench_value *value,
                       uint32_t size);

BENCH_INLINE struct bench_key bench_key_of(uint64_t number)
{
    struct bench_key key = {{number * 0x9e3779b97f4a7c15u, number}};
    return key;
}

BENCH_INLINE void bench_fill(struct bench_value *value, uint64_t number, uint32_t size)
{
    for (uint32_t i = 0; i < size / 8; i++) {
        value->word[i] = number;
    }
}

BENCH_INLINE bool bench_is_value(const struct bench_value *value, uint64_t number, uint32_t size)
{
    return value->word[0] % BENCH_KEYS == number && value->word[0] == value->word[size / 8 - 1];
}

BENCH_INLINE uint64_t bench_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

BENCH_INLINE uint64_t bench_seed(const struct bench_worker *worker)
{
    return 0x2545f4914f6cdd1du ^ (uint64_t)(uintptr_t)worker->tally;
}

BENCH_INLINE void bench_get_many(bench_get *get, void *handle, struct bench_worker *worker)
{
    uint64_t state = bench_seed(worker);
    uint64_t done = 0;
    while (!bench_stopped(worker)) {
        uint64_t number = bench_random(&state) % BENCH_KEYS;
        struct bench_key key = bench_key_of(number);
        struct bench_value value;
        if (!get(handle, &key, &value, worker->size) ||
            !bench_is_value(&value, number, worker->size)) {
            worker->tally->errors++;
        }
        __atomic_store_n(&worker->tally->operations, ++done, __ATOMIC_RELAXED);
    }
}

BENCH_INLINE void bench_set_many(bench_set *set, void *handle, struct bench_worker *worker)
{
    uint64_t state = bench_seed(worker);
    uint64_t done = 0;
    while (!bench_stopped(worker)) {
        uint64_t number = bench_random(&state) % BENCH_KEYS;
        struct bench_key key = bench_key_of(number);
        struct bench_value value;
        bench_fill(&value, number + BENCH_KEYS * (done % 1000), worker->size);
        if (!set(handle, &key, &value, worker->size)) {
            worker->tally->errors++;
        }
        __atomic_store_n(&worker->tally->operations, ++done, __ATOMIC_RELAXED);
    }
}

/** Some of a hundred are gets, the others sets. */
BENCH_INLINE void bench_mix_many(bench_get *get, bench_set *set, uint32_t gets, void *handle,
                                 struct bench_worker *worker)
{
    uint64_t state = bench_seed(worker);
    uint64_t done = 0;
    while (!bench_stopped(worker)) {
        uint64_t drawn = bench_random(&state);
        uint64_t number = drawn % BENCH_KEYS;
        bool reads = (drawn >> 32) % 100 < gets;
        struct bench_key key = bench_key_of(number);
        struct bench_value value;
        if (!reads) {
            bench_fill(&value, number + BENCH_KEYS * (done % 1000), worker->size);
        }
        bool right = reads ? get(handle, &key, &value, worker->size) &&
                                 bench_is_value(&value, number, worker->size)
                           : set(handle, &key, &value, worker->size);
        worker->tally->errors += !right;
        __atomic_store_n(&worker->tally->operations, ++done, __ATOMIC_RELAXED);
    }
}

BENCH_INLINE bool bench_set_all(bench_set *set, void *handle, uint32_t size)
{
    for (uint64_t number = 0; number < BENCH_KEYS; number++) {
        struct bench_key key = bench_key_of(number);
        struct bench_value value;
        bench_fill(&value, number, size);
        if (!set(handle, &key, &value, size)) {
            return false;
        }
    }
    return true;
}

BENCH_INLINE bool bench_has_all(bench_get *get, void *handle, uint32_t size)
{
    for (uint64_t number = 0; number < BENCH_KEYS; number++) {
        struct bench_key key = bench_key_of(number);
        struct bench_value value;
        if (!get(handle, &key, &value, size) || !bench_is_value(&value, number, size)) {
            return false;
        }
    }
    return true;
}

#define BENCH_MAP_WORK(id, kind, title, constructor, destructor, opener)      \
    const struct bench_channel id##_##kind = {                                \
        title, constructor, opener,           NULL,       NULL, NULL,         \
        NULL,  destructor,  id##_work_##kind, id##_holds, NULL, BENCH_TO_ONE, \
    }

/** Defines `id`_get, `id`_set, and mixes of them: `id`_mix95 and `id`_mix50, so many gets of a hundred.
 * `handle_of` finds in a state what the parent reads by. */
#define BENCH_MAP(id, title, constructor, destructor, opener, getter, setter, handle_of, size_of) \
    static void id##_work_get(void *handle, struct bench_worker *worker)                          \
    {                                                                                             \
        bench_get_many(getter, handle, worker);                                                   \
    }                                                                                             \
    static void id##_work_set(void *handle, struct bench_worker *worker)                          \
    {                                                                                             \
        bench_set_many(setter, handle, worker);                                                   \
    }                                                                                             \
    static void id##_work_mix95(void *handle, struct bench_worker *worker)                        \
    {                                                                                             \
        bench_mix_many(getter, setter, 95, handle, worker);                                       \
    }                                                                                             \
    static void id##_work_mix50(void *handle, struct bench_worker *worker)                        \
    {                                                                                             \
        bench_mix_many(getter, setter, 50, handle, worker);                                       \
    }                                                                                             \
    static bool id##_holds(void *state, uint64_t operations)                                      \
    {                                                                                             \
        (void)operations;                                                                         \
        return bench_has_all(getter, handle_of(state), size_of(state));                           \
    }                                                                                             \
    BENCH_MAP_WORK(id, get, title "-get", constructor, destructor, opener);                       \
    BENCH_MAP_WORK(id, set, title "-set", constructor, destructor, opener);                       \
    BENCH_MAP_WORK(id, mix95, title "-mix95", constructor, destructor, opener);                   \
    BENCH_MAP_WORK(id, mix50, title "-mix50", constructor, destructor, opener)

#endif /* BENCH_MAP_H */
