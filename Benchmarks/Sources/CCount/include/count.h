/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Counts what a piece of a program does on this thread. A program that links this counts its own
 * allocations, since it brings its own malloc, which calls the C library's; whoever traces it finds the system
 * calls between two marks; callgrind counts the instructions within count_run().
 */
#ifndef COUNT_H
#define COUNT_H

#include <stdint.h>

/** The first argument of the prctl() that marks the beginning (1) and the end (0): it fails, and does
 * nothing. */
#define COUNT_MARK 0x53687362

/** Calls `body` so many times, between the marks. @returns how often this thread allocated meanwhile. */
uint64_t count_run(void (*body)(void *context), void *context, uint64_t times);

#endif /* COUNT_H */
