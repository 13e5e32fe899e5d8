/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What the .c files share; nothing public, nothing of it in shared memory.
 */
#ifndef CSHM_INTERNAL_H
#define CSHM_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include <cshm/region.h>

#include "layout.h"

enum {
    CSHM_CLASSES = 25,
    CSHM_CACHE = 64,
};

/* This process's part of one size class: spans it owns and blocks it knows to be free. */
struct cshm_class {
    pthread_mutex_t lock;
    uint32_t *spans;
    uint32_t span_count;
    uint32_t span_room;
    uint32_t cursor; /* which span the next look for free cells begins with */
    uint32_t cached;
    uint64_t cache[CSHM_CACHE];
};

struct cshm_region {
    uint8_t *base;
    struct cshm_header header; /* a private copy: the only one that is believed */
    struct cshm_live *live;
    struct cshm_participant_entry *participants;
    struct cshm_span *spans;
    int share;              /* passed to others, never locked */
    int life;               /* locked, never passed; -1 when this process has not joined */
    _Atomic uint64_t stamp; /* 0 when this process has not joined */
    pthread_mutex_t sweep_lock;
    struct cshm_class classes[CSHM_CLASSES];
    cshm_region *next; /* every region of this process, for fork */
};

/* ---- kernel.c: everything that asks the kernel, save mapping ---- */
int cshm__futex_wait(uint32_t *word, uint32_t seen, int64_t deadline_ns);
int cshm__futex_wake(uint32_t *word, int count);
int cshm__commit(int fd, uint64_t offset, uint64_t length);
int cshm__lock_byte(int fd, uint32_t index);
void cshm__unlock_byte(int fd, uint32_t index);
bool cshm__byte_is_locked(int fd, uint32_t index);
uint64_t cshm__pid_namespace(void);
uint64_t cshm__default_capacity(void);
int cshm__random(void *bytes, size_t length);
void cshm__pause(void);
/* Spins, then yields: false when the patience of `round` (0, 1, 2, ...) is over. */
bool cshm__spin(uint32_t round);

/* ---- park.c ---- */
/* Tries until the attempt answers something else than -EAGAIN: at first spinning, then asleep on
 * `park`. @returns what the attempt did, or -ETIMEDOUT. The attempt's loads must be seq_cst: it is
 * the look at the condition of cshm/park.h. */
int cshm__await(struct cshm_park *park, int (*attempt)(void *context), void *context,
                int64_t deadline_ns);

/* ---- participant.c ---- */
#define CSHM_STAMP(index, generation) (((uint64_t)(generation) << 16) | (index))
int cshm__participant_join(cshm_region *region);
void cshm__participant_leave(cshm_region *region);

/* ---- heap.c ---- */
void cshm__heap_init(cshm_region *region);
void cshm__heap_leave(cshm_region *region);
void cshm__heap_sweep(cshm_region *region, uint64_t stamp);
void cshm__heap_after_fork(cshm_region *region);
/* Allocates for a holder word; link() when the word names it, free_from() to end it. */
int cshm__heap_allocate_for(cshm_region *region, uint64_t size, _Atomic uint64_t *holder,
                            uint64_t *offset);
void cshm__heap_link(cshm_region *region, uint64_t offset);
/* Frees a block only if its cell still names that holder; clears nothing. Idempotent. */
void cshm__heap_free_from(cshm_region *region, uint64_t offset, const _Atomic uint64_t *holder);

/* ---- slot.c ---- */
int cshm__slot_prepare(cshm_region *region, struct cshm_slot *slot, uint32_t slot_size,
                       uint64_t length, void **data);
int cshm__slot_read(cshm_region *region, struct cshm_slot *slot, uint32_t slot_size, void **data,
                    uint64_t *length);
void cshm__slot_clear(cshm_region *region, struct cshm_slot *slot);

#endif /* CSHM_INTERNAL_H */
