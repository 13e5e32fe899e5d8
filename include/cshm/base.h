/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What every other public header needs: the error convention, limits, and attributes.
 *
 * Errors: a function that can fail returns int, 0 (or a positive fact) on success and a negated
 * errno value on failure. It neither reads nor sets errno for its caller. Output parameters are
 * written only on success.
 *
 * Deadlines: absolute CLOCK_MONOTONIC nanoseconds; INT64_MAX waits for ever. A try_ function
 * never blocks.
 */
#ifndef CSHM_BASE_H
#define CSHM_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define CSHM_BEGIN_DECLS extern "C" {
#define CSHM_END_DECLS   }
#else
#define CSHM_BEGIN_DECLS
#define CSHM_END_DECLS
#endif

#define CSHM_EXPORT     __attribute__((visibility("default")))
#define CSHM_MUST_CHECK __attribute__((warn_unused_result))

enum {
    /** Longest region name, in bytes, without its terminator. */
    CSHM_NAME_MAX = 200,
    /** Bytes in a region's identity. */
    CSHM_UUID_BYTES = 16,
};

/** A mapped shared-memory region; see cshm/region.h. */
typedef struct cshm_region cshm_region;

CSHM_BEGIN_DECLS

/**
 * The clock of every deadline.
 *
 * @returns CLOCK_MONOTONIC in nanoseconds. Thread-safe, async-signal-safe.
 */
CSHM_EXPORT int64_t cshm_now_ns(void);

CSHM_END_DECLS

#endif /* CSHM_BASE_H */
