/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Making and looking at a reader-writer lock. See rwlock_view.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rwlock_line.h"
#include "rwlock_view.h"

enum { MAGIC = 0x72776c6b }; /* "rwlk" */

static uint64_t size_of(uint32_t cells)
{
    return sizeof(struct cshm_rwlock_shared) + cells * (uint64_t)sizeof(struct cshm_reader_cell);
}

int cshm_rwlock_create(cshm_region *region, uint32_t readers_max, uint64_t *offset)
{
    uint64_t place = 0;
    if (readers_max == 0 || readers_max > CSHM_RWLOCK_READERS_MAX) {
        return -EINVAL;
    }
    int status = cshm_heap_allocate(region, size_of(readers_max), &place);
    if (status != 0) {
        return status;
    }
    struct cshm_rwlock_shared *shared = cshm_heap_pointer(region, place, size_of(readers_max));
    if (shared == NULL) {
        return -EPROTO;
    }
    memset((void *)shared, 0, size_of(readers_max));
    cshm_mutex_init(&shared->writer);
    shared->cells = readers_max;
    shared->magic = MAGIC;
    *offset = place;
    return 0;
}

int cshm_rwlock_open(cshm_region *region, uint64_t offset, cshm_rwlock **out)
{
    struct cshm_rwlock_shared *shared = cshm_heap_pointer(region, offset, sizeof *shared);
    if (shared == NULL || offset % CSHM_LINE != 0 || shared->magic != MAGIC) {
        return -EPROTO;
    }
    uint32_t cells = shared->cells;
    if (cells == 0 || cells > CSHM_RWLOCK_READERS_MAX ||
        cshm_heap_pointer(region, offset, size_of(cells)) == NULL) {
        return -EPROTO;
    }
    cshm_rwlock *lock = calloc(1, sizeof *lock);
    if (lock == NULL) {
        return -ENOMEM;
    }
    lock->region = region;
    lock->shared = shared;
    lock->cells = cells;
    *out = lock;
    return 0;
}

void cshm_rwlock_close(cshm_rwlock *lock)
{
    free(lock);
}

void cshm_rwlock_destroy(cshm_rwlock *lock)
{
    (void)cshm_heap_free(lock->region, cshm_heap_offset(lock->region, lock->shared));
    free(lock);
}

void cshm_rwlock_describe(const cshm_rwlock *lock, struct cshm_rwlock_info *out)
{
    struct cshm_mutex_info writer = {0};
    struct cshm_rwlock_info info = {.readers_max = lock->cells,
                                    .writers_waiting = cshm__line_length(lock->shared)};
    if (cshm_mutex_describe(&lock->shared->writer, &writer) == 0) {
        info.writer_pid = writer.holder_pid;
        info.writer_thread = writer.holder_thread;
        info.writer_since_ns = writer.since_ns;
    }
    for (uint32_t index = 0; index < lock->cells; index++) {
        uint64_t cell = load_cell(lock, index);
        info.readers += KIND(cell) == READING;
        info.waiting += KIND(cell) == WAITING;
    }
    *out = info;
}
