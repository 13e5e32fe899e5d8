/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Calls of the kernel that Swift's module of the C library lacks. All return 0, or a descriptor that
 * is closed on exec, or a negated errno.
 */
#ifndef CWORKERENTRY_LAUNCH_H
#define CWORKERENTRY_LAUNCH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A pipe; reading from its first end does not wait. */
int cworker_make_pipe(int ends[2]);

/* A file in memory, without a name but for people. */
int cworker_make_file(const char *name);

/* A directory, for fchdir only. */
int cworker_open_directory(const char *path);

/* Names the calling thread; on the first one, the process. The first 15 bytes count. */
void cworker_set_name(const char *name);

/* The CPUs that the calling thread may use, a bit each; `size` bytes. */
int cworker_get_cpus(uint8_t *bits, size_t size);
int cworker_set_cpus(const uint8_t *bits, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* CWORKERENTRY_LAUNCH_H */
