/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The line of a reader-writer lock's writers: who may go to the writers' mutex, and in which order.
 *
 * Whoever cannot have the mutex for a while takes a *place* and a number, which is when it came, and goes
 * to the mutex when no lower number is in line. There it waits as anybody does, so that the kernel wakes
 * it if the holder dies; once it has the mutex it gives its place up and wakes the next. Who comes while
 * the first in line is overdue lines up, too; else it may be faster, which is what makes a mutex fast.
 *
 * Nobody is waited for who does not run. The dead's places are freed by those behind them. Whoever lets
 * the mutex be free for a while is passed over: its place does not count until it runs again, which it
 * says itself.
 */
#ifndef CSHM_RWLOCK_LINE_H
#define CSHM_RWLOCK_LINE_H

#include "internal.h"

/* Acquires the writers' mutex unless somebody has it, or is in line. @returns as
 * cshm_mutex_try_acquire(). */
int cshm__line_try(struct cshm_rwlock_shared *shared);

/* Acquires it in turn. @returns as cshm_mutex_acquire_until(). */
int cshm__line_acquire(cshm_region *region, struct cshm_rwlock_shared *shared, int64_t deadline_ns);

/* Who has the mutex says that it was not let be. */
void cshm__line_count(struct cshm_rwlock_shared *shared);

/* How many are in line, or died there. */
uint32_t cshm__line_length(const struct cshm_rwlock_shared *shared);

#endif /* CSHM_RWLOCK_LINE_H */
