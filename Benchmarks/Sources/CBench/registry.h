/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The channels that are built in.
 */
#ifndef BENCH_REGISTRY_H
#define BENCH_REGISTRY_H

#include <bench_channel.h>

extern const struct bench_channel *const bench_registry[];
extern const uint32_t bench_registry_count;

#endif /* BENCH_REGISTRY_H */
