/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/value.h for the model. Pairs:
 *
 *   [switch]  the writer fills a copy, then raises the number (release) -> a reader loads the number
 *             (acquire), then that copy
 *   [check]   the number was raised, then the copy that it leaves is filled again, word by word
 *             (after a release fence) -> a reader loads words, then (after an acquire fence) the
 *             number again: a word of a later value shows a later number
 */
#include <cshm/value.h>

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/mutex.h>
#include <cshm/participant.h>

#include "internal.h"

enum {
    MAGIC = 0x76616c75, /* "valu" */
    TRIES = 64,         /* of a reader, before it takes the lock */
    MORE_TRIES = 10000, /* of one that cannot */
};

struct cshm_value {
    cshm_region *region;
    struct cshm_value_shared *shared;
    _Atomic uint64_t *copies; /* one after the other */
    uint32_t words;           /* of a copy */
    uint32_t size;
    uint64_t *scratch; /* the holder's */
};

bool cshm__type_is_good(const struct cshm_type *type)
{
    uint32_t alignment = type->alignment;
    return alignment >= 1 && alignment <= CSHM_LINE && (alignment & (alignment - 1)) == 0 &&
           type->stride >= 1 && type->stride >= type->size && type->stride % alignment == 0 &&
           type->stride <= INT32_MAX;
}

bool cshm__type_is_same(const struct cshm_type *a, const struct cshm_type *b)
{
    return a->tag == b->tag && a->size == b->size && a->stride == b->stride &&
           a->alignment == b->alignment;
}

/* A copy, in whole pairs of lines. */
static uint64_t words_for(uint32_t size)
{
    return ((uint64_t)size + CSHM_LINE - 1) / CSHM_LINE * CSHM_LINE / 8;
}

static uint64_t extent_for(uint32_t size)
{
    return sizeof(struct cshm_value_shared) + 2 * 8 * words_for(size);
}

/* ---- words ---- */

static void store_words(_Atomic uint64_t *to, const uint64_t *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        atomic_store_explicit(&to[i], from[i], memory_order_relaxed);
    }
}

static void load_bytes(void *to, const _Atomic uint64_t *from, uint32_t size)
{
    uint8_t *bytes = to;
    uint64_t word;
    for (; size >= sizeof word; size -= (uint32_t)sizeof word, bytes += sizeof word) {
        word = atomic_load_explicit(from++, memory_order_relaxed);
        memcpy(bytes, &word, sizeof word);
    }
    if (size != 0) {
        word = atomic_load_explicit(from, memory_order_relaxed);
        memcpy(bytes, &word, size);
    }
}

static const _Atomic uint64_t *copy_of(const cshm_value *value, uint64_t number)
{
    return value->copies + (number & 1) * words_for(value->size);
}

/* ---- create, open ---- */

int cshm_value_create(cshm_region *region, const struct cshm_type *type, const void *initial,
                      uint64_t *offset)
{
    uint64_t place = 0;
    if (!cshm__type_is_good(type)) {
        return -EINVAL;
    }
    uint64_t extent = extent_for(type->size);
    int status = cshm_heap_allocate(region, extent, &place);
    if (status != 0) {
        return status;
    }
    struct cshm_value_shared *shared = cshm_heap_pointer(region, place, extent);
    if (shared == NULL) {
        return -EPROTO;
    }
    memset((void *)shared, 0, extent);
    cshm_mutex_init(&shared->mutex);
    shared->type = *type;
    if (initial != NULL) {
        memcpy((void *)(shared + 1), initial, type->size);
    }
    shared->magic = MAGIC;
    *offset = place;
    return 0;
}

int cshm_value_open(cshm_region *region, uint64_t offset, const struct cshm_type *type,
                    cshm_value **out)
{
    struct cshm_value_shared *shared = cshm_heap_pointer(region, offset, sizeof *shared);
    if (shared == NULL || shared->magic != MAGIC) {
        return -EPROTO;
    }
    struct cshm_type found = shared->type;
    if (!cshm__type_is_good(&found) || !cshm__type_is_same(&found, type) ||
        cshm_heap_pointer(region, offset, extent_for(found.size)) == NULL) {
        return -EPROTO;
    }
    cshm_value *value = calloc(1, sizeof *value);
    uint64_t *scratch = calloc(words_for(found.size) + 1, 8);
    if (value == NULL || scratch == NULL) {
        free(value);
        free(scratch);
        return -ENOMEM;
    }
    value->region = region;
    value->shared = shared;
    value->copies = (_Atomic uint64_t *)(void *)(shared + 1);
    value->size = found.size;
    value->words = (found.size + 7) / 8;
    value->scratch = scratch;
    *out = value;
    return 0;
}

void cshm_value_close(cshm_value *value)
{
    free(value->scratch);
    free(value);
}

void cshm_value_destroy(cshm_value *value)
{
    (void)cshm_heap_free(value->region, cshm_heap_offset(value->region, value->shared));
    cshm_value_close(value);
}

/* ---- reading ---- */

static bool try_load(const cshm_value *value, void *out)
{
    _Atomic uint64_t *number = &value->shared->number;
    uint64_t seen = atomic_load_explicit(number, memory_order_acquire); /* [switch] */
    load_bytes(out, copy_of(value, seen), value->size);
    atomic_thread_fence(memory_order_acquire); /* [check] */
    return atomic_load_explicit(number, memory_order_relaxed) == seen;
}

/* A dead holder left a whole value. */
static int inherit(cshm_value *value, int status)
{
    return status == 1 ? cshm_mutex_repair(&value->shared->mutex) : status;
}

static int acquire(cshm_value *value, int64_t deadline_ns)
{
    if (cshm__self(value->region) == 0) {
        return -ECHILD;
    }
    return inherit(value, cshm_mutex_acquire_until(&value->shared->mutex, deadline_ns));
}

int cshm_value_load(cshm_value *value, void *out)
{
    for (uint32_t i = 0; i < TRIES; i++) {
        if (try_load(value, out)) {
            return 0;
        }
    }
    int status = acquire(value, INT64_MAX);
    if (status == 0) {
        (void)try_load(value, out);
        return cshm_mutex_release(&value->shared->mutex);
    }
    for (uint32_t i = 0; status == -ECHILD && i < MORE_TRIES; i++) {
        if (try_load(value, out)) {
            return 0;
        }
        sched_yield();
    }
    return status == -ECHILD ? -EAGAIN : status;
}

/* ---- writing ---- */

/* With the mutex, if the status says so. */
static int begin_edit(cshm_value *value, int status, void **bytes)
{
    if (status == 0) {
        (void)try_load(value, value->scratch);
        *bytes = value->scratch;
    }
    return status;
}

int cshm_value_edit_until(cshm_value *value, void **bytes, int64_t deadline_ns)
{
    return begin_edit(value, acquire(value, deadline_ns), bytes);
}

int cshm_value_try_edit(cshm_value *value, void **bytes)
{
    if (cshm__self(value->region) == 0) {
        return -ECHILD;
    }
    int status = cshm_mutex_try_acquire(&value->shared->mutex);
    return begin_edit(value, inherit(value, status), bytes);
}

int cshm_value_try_edit_woken(cshm_value *value, void **bytes)
{
    if (cshm__self(value->region) == 0) {
        return -ECHILD;
    }
    int status = cshm_mutex_try_acquire_woken(&value->shared->mutex);
    return begin_edit(value, inherit(value, status), bytes);
}

void cshm_value_editable(const cshm_value *value, struct cshm_waitable *out)
{
    cshm_mutex_waitable(&value->shared->mutex, out);
}

void cshm_value_commit(cshm_value *value)
{
    _Atomic uint64_t *number = &value->shared->number;
    uint64_t now = atomic_load_explicit(number, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* [check] */
    store_words(value->copies + (~now & 1) * words_for(value->size), value->scratch, value->words);
    atomic_store_explicit(number, now + 1, memory_order_release); /* [switch] */
    (void)cshm_mutex_release(&value->shared->mutex);
}

void cshm_value_abort(cshm_value *value)
{
    (void)cshm_mutex_release(&value->shared->mutex);
}

int cshm_value_store_until(cshm_value *value, const void *from, int64_t deadline_ns)
{
    int status = acquire(value, deadline_ns);
    if (status == 0) {
        memcpy(value->scratch, from, value->size);
        cshm_value_commit(value);
    }
    return status;
}

/* ---- words ---- */

uint64_t cshm_word_load(const void *word)
{
    return atomic_load_explicit((const _Atomic uint64_t *)word, memory_order_acquire);
}

void cshm_word_store(void *word, uint64_t value)
{
    atomic_store_explicit((_Atomic uint64_t *)word, value, memory_order_release);
}
