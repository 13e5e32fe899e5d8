/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/value.h. Pair: [switch] the writer stores the index (release) -> a reader loads it
 * (acquire); the copy's bytes happen before.
 */
#include <cshm/value.h>

#include <stdatomic.h>

uint32_t cshm_value_current(const void *word)
{
    /* acquire: [switch] */
    return atomic_load_explicit((const _Atomic uint32_t *)word, memory_order_acquire) & 1;
}

void cshm_value_switch(void *word, uint32_t index)
{
    atomic_store_explicit((_Atomic uint32_t *)word, index & 1, memory_order_release); /* [switch] */
}

uint64_t cshm_word_load(const void *word)
{
    return atomic_load_explicit((const _Atomic uint64_t *)word, memory_order_acquire);
}

void cshm_word_store(void *word, uint64_t value)
{
    atomic_store_explicit((_Atomic uint64_t *)word, value, memory_order_release);
}
