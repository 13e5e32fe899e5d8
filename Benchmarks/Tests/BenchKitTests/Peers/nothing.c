/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles, and is no peer. */
extern const int bench_nothing;
const int bench_nothing = 0;
