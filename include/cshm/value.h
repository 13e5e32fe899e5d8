/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Which of two copies of a value is the current one: a writer fills the other copy, under the
 * value's lock, and switches by one store.
 *
 * If a process dies
 * -----------------
 * Before the switch the old copy is current, after it the new one. There is nothing to repair.
 */
#ifndef CSHM_VALUE_H
#define CSHM_VALUE_H

#include "base.h"

CSHM_BEGIN_DECLS

/** The index, 0 or 1, of the current copy. */
CSHM_EXPORT uint32_t cshm_value_current(const void *word);

/** Makes the copy of that index current. Only under the value's lock. */
CSHM_EXPORT void cshm_value_switch(void *word, uint32_t index);

/** Loads a word that another process stores (acquire). */
CSHM_EXPORT uint64_t cshm_word_load(const void *word);

/** Stores a word for other processes (release). */
CSHM_EXPORT void cshm_word_store(void *word, uint64_t value);

CSHM_END_DECLS

#endif /* CSHM_VALUE_H */
