/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Calling a Swift closure for many elements in a row, or for some arguments, without Swift's own
 * generic code between: arguments and results are read and written where they lie.
 */
#ifndef CWORKERENTRY_CALL_H
#define CWORKERENTRY_CALL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A closure of the form `(T, W) throws -> R` or `(T) throws -> R` as generic code has it: all of
 * them by address. T and R are plain bits.
 */
struct cworker_closure {
    uintptr_t code;
    uintptr_t context;
    const void *second; /* the argument that is the same each time, or NULL */
    size_t stride;      /* of T */
    size_t result_stride;
};

/*
 * Calls the closure for each element from `first` to before `end`, and stores 1 + the element's
 * number in the word `running` (release) before it does. Returns the element whose call threw, with
 * the error, which is the caller's to release, or `end`.
 */
uint32_t cworker_call_each(const struct cworker_closure *closure, const void *input, void *output,
                           uint32_t first, uint32_t end, void *running, void **error);

enum { CWORKER_PACK_MAX = 8 };

/*
 * A closure of the form `(repeat each A) throws -> R` as generic code has it: the result by address,
 * and the addresses of the arguments in an array. All types are plain bits.
 */
struct cworker_pack {
    uintptr_t code;
    uintptr_t context;
    uint32_t count;
    uint32_t offset[CWORKER_PACK_MAX]; /* of each argument in the input */
};

/* Calls it once. Returns the error that it threw, which is the caller's to release, or NULL. */
void *cworker_call_pack(const struct cworker_pack *pack, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif /* CWORKERENTRY_CALL_H */
