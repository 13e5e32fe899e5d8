/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What the client and the zygote agree upon. Private to this target.
 */
#ifndef CWORKER_ZYGOTE_WIRE_H
#define CWORKER_ZYGOTE_WIRE_H

#include "zygote.h"

/*
 * The hand-shake is a variable in the environment. Of the zygote: "1 <parent's pid> <number of
 * inherited descriptors> ". Of a worker that a zygote had to spawn: "2 <zygote's pid> <parent's pid>
 * <has share descriptor> <has parent's pidfd> <number of descriptors> <number of preloads> ". Then,
 * in both, "=<old value of SWIFT_BACKTRACE>", or "-" if it had none.
 */
#define CWORKER_HANDSHAKE "SHAREDSTATE_WORKER"
#define CWORKER_BACKTRACE "SWIFT_BACKTRACE"

/* The number of the zygote's control socket, and of the file with a spawned worker's orders; the
 * inherited descriptors follow it. */
#define CWORKER_CONTROL_FD 3

/* What one zygote runs at most before it forks. */
#define CWORKER_MAX_PRELOADS 16

enum { CWORKER_REQUEST_FORK = 1, CWORKER_REQUEST_KILL = 2, CWORKER_REQUEST_PRELOAD = 3 };

/* One packet to the zygote: this, then the payload. Packets to the client are cworker_event. */
struct cworker_request {
    uint32_t kind;
    int32_t number; /* the signal of a kill; of a fork, what is wanted */
    uint64_t id;
};

/* Runs the zygote, with what follows the kind in the hand-shake. */
__attribute__((visibility("hidden"))) _Noreturn void cworker_zygote_run(const char *handshake);

/* The arguments that `main` was called with, or NULL if the library did not take over. */
__attribute__((visibility("hidden"))) char **cworker_arguments(void);

#endif /* CWORKER_ZYGOTE_WIRE_H */
