/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Corrupt bytes: any word of a region may be changed under an open object, but those inside a
 * pthread_mutex_t. Then every call answers, with an error or not: no crash, no endless loop.
 *
 * A subject is one noun: a scene with an object, and its operations by number.
 */
#ifndef CSHM_FUZZ_H
#define CSHM_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cshm.h>

enum {
    HANDLES = 6,
    TAG = 7,
};

struct scene {
    cshm_region *region;
    uint64_t place; /* the object's, or 0 */
    uint64_t size;  /* of what is sure to be its */
    void *handle[HANDLES];
    uint64_t block[8];
    int64_t soon; /* a deadline */
    void *native; /* a pthread_mutex_t of the object's, or NULL */
};

struct subject {
    const char *name;
    void (*make)(struct scene *scene);
    void (*operate)(struct scene *scene, uint32_t operation, uint32_t argument);
    void (*leave)(struct scene *scene); /* NULL if nothing is to be closed */
};

extern const struct subject *const subjects[];
extern const uint32_t subject_count;

/* A scene is made of undamaged bytes, so that nothing can fail but for a bug of the scene. */
#define MUST(expr) ((expr) ? (void)0 : __builtin_trap())

/* The object's bytes are shared, and so many. */
void fuzz_share(struct scene *scene, uint64_t size);
/* Makes a shared block of zeroes the object. @returns its bytes. */
void *fuzz_block(struct scene *scene, uint64_t size);
/* Where the object's bytes are. */
void *fuzz_object(const struct scene *scene);
/* A region is closed when none of its locks is held; ours may not let go of what was damaged. */
void fuzz_let_go(struct scene *scene);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif /* CSHM_FUZZ_H */
