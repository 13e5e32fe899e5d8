/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * How a worker begins: forked by the zygote, or spawned by one that cannot fork. Private to this
 * target.
 */
#ifndef CWORKER_WORKER_H
#define CWORKER_WORKER_H

#include <signal.h>
#include <sys/types.h>

#include "zygote_wire.h"

/* Written in Swift. Weak, so that this target links alone. */
extern void sharedstate_zygote_prepare(int share_fd) __attribute__((weak));
extern int sharedstate_zygote_preload(const void *payload, size_t length, char *text, size_t room)
    __attribute__((weak));
extern void sharedstate_worker_prepare(const void *payload, size_t length, const int *fds, int nfds)
    __attribute__((weak));
extern void sharedstate_worker_run(const void *payload, size_t length, const int *fds, int nfds)
    __attribute__((weak));

struct cworker_bytes {
    const void *data;
    size_t length;
};

/* What a worker is born with. */
struct cworker_start {
    pid_t zygote;          /* its parent as the kernel has it */
    pid_t parent;          /* the process that asked for it */
    int parent_fd;         /* a pidfd of that, or -1 */
    int share_fd;          /* the family's region, or -1 */
    const char *backtrace; /* what SWIFT_BACKTRACE was, or NULL */
    int shows_backtrace;   /* whether a crash is to write one */
    const sigset_t *mask;  /* the signal mask of its threads */
    struct cworker_bytes payload;
    const int *fds; /* its own from now on */
    int nfds;
};

/* In the new process: becomes the worker. */
__attribute__((visibility("hidden"))) _Noreturn void
cworker_become(const struct cworker_start *start);

/* In the zygote: starts the executable anew as a worker, which runs the preloads first.
 * @returns its pid or a negated errno. */
__attribute__((visibility("hidden"))) pid_t cworker_spawn(const struct cworker_start *start,
                                                          const struct cworker_bytes *preloads,
                                                          int count);

/* In a process that was spawned so, with what follows the kind in the hand-shake. */
__attribute__((visibility("hidden"))) _Noreturn void cworker_spawned_run(const char *handshake);

/* Were 0, 1 or 2 closed, the next descriptor opened would become what workers print to. */
__attribute__((visibility("hidden"))) void cworker_occupy_standard_descriptors(void);

__attribute__((visibility("hidden"))) _Noreturn void cworker_die(const char *text);

#endif /* CWORKER_WORKER_H */
