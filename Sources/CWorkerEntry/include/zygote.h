/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The zygote: a single-threaded copy of this executable that forks worker processes on request.
 *
 * The library takes over at `main` of the copy, so the program's own `main` never runs in it. The
 * zygote is the subreaper of everything it starts: when the process that started it ends, however
 * it ends, the zygote kills all its descendants and leaves. Each child leads a process group of its
 * own, and the rest of the group is killed when the child has ended.
 *
 * Functions return 0 or a negated errno unless they say otherwise. Fork, kill and the accessors may
 * be called from any thread; one thread at a time reads events; shutdown must be the last call.
 */
#ifndef CWORKER_ZYGOTE_H
#define CWORKER_ZYGOTE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The most payload bytes, descriptors of one fork and descriptors of a zygote. */
#define CWORKER_MAX_PAYLOAD   65536
#define CWORKER_MAX_FDS       32
#define CWORKER_MAX_INHERITED 8

/* The connection to a zygote. */
typedef struct cworker_zygote cworker_zygote;

enum {
    CWORKER_FORKED = 1,      /* a child runs: id, pid */
    CWORKER_FORK_FAILED = 2, /* there is no child: id, status is the positive errno */
    CWORKER_EXITED = 3,      /* a child ended and was reaped: all fields */
    CWORKER_CLOSED = 4,      /* the zygote is gone, and with it every child; the last event */
    CWORKER_PRELOADED = 5    /* id; status is 0 or the positive errno, with a text */
};

/* What is wanted of a fork, added up. */
enum {
    CWORKER_WITH_PIDFD = 1,    /* a pidfd of the child comes with the answer */
    CWORKER_WITH_BACKTRACE = 2 /* a crash of the child writes one to its standard error stream */
};

/* What a zygote has to tell. */
struct cworker_event {
    uint32_t kind;
    int32_t pid;
    uint64_t id;
    int32_t status;     /* a wait status (see waitpid); an errno where the kind says so */
    int32_t pidfd;      /* in CWORKER_FORKED: the reader's own from now on, or -1 */
    int64_t maxrss_kib; /* the largest resident set, in KiB */
    int64_t user_us;    /* processor time in user mode, in microseconds */
    int64_t system_us;  /* processor time in the kernel, in microseconds */
    char text[440];     /* what a preload threw */
};

/*
 * Whether the library took over at `main` of this process, and would again in a copy of it: 1 or 0.
 * Without that there is no zygote.
 */
int cworker_hooked(void);

/*
 * Whether this process was started as a zygote but runs its own `main` all the same: 1 or 0. Such a
 * process must not start workers, or each of them would start workers in turn.
 */
int cworker_handshake_pending(void);

/* Whether this process is a zygote, and what runs in it a preload: 1 or 0. */
int cworker_is_zygote(void);

/* In a worker: the process that asked for it, by number and as a pidfd. Elsewhere 0 and -1. */
int cworker_parent_pid(void);
int cworker_parent_fd(void);

/*
 * Starts a zygote. Of the descriptors of this process it inherits 0, 1, 2 and the `count` ones of
 * `inherit_fds`, the first of which is the share descriptor that the workers get (-1 with none).
 *
 * -ENOEXEC: the program cannot host workers: the library did not take over at its `main`, it is
 * set-user-id, or it is itself a zygote whose `main` runs. -EINVAL: `count` is out of range.
 */
int cworker_zygote_start(const int *inherit_fds, int count, cworker_zygote **out);

/*
 * Asks for a child that runs `sharedstate_worker_run` with a copy of `payload` and of `fds`.
 * Returns when the request is sent; CWORKER_FORKED or CWORKER_FORK_FAILED with this `id` answers
 * it. The `id` is the caller's and must be unique among live children. The descriptors may be
 * closed on return. Of `wanted` see above; there is no pidfd where a sandbox forbids it or the table of
 * descriptors is full.
 *
 * If some library started a thread in the zygote, it does not fork but spawns the executable anew; so it
 * does where backtraces are wanted, which Swift's runtime prepares at the start of a program only.
 *
 * -EMSGSIZE: `length` is above CWORKER_MAX_PAYLOAD. -EINVAL: `nfds` is out of range. -EPIPE: the
 * zygote is gone. -ECHILD: this process is a fork of the one that started the zygote.
 */
int cworker_fork(cworker_zygote *zygote, uint64_t id, const void *payload, size_t length,
                 const int *fds, int nfds, int wanted);

/*
 * Asks the zygote to call `sharedstate_zygote_preload` with a copy of `payload`, before it forks
 * again: CWORKER_PRELOADED with this `id` answers it. At most 16 in a zygote. Errors as above.
 */
int cworker_preload(cworker_zygote *zygote, uint64_t id, const void *payload, size_t length);

/*
 * Asks the zygote to send signal `number` to child `id`. Unlike kill(2) it never hits another
 * process that got the pid of an ended child; for an ended child nothing happens.
 */
int cworker_kill(cworker_zygote *zygote, uint64_t id, int number);

/*
 * Waits for the next event. CWORKER_CLOSED is an event, not an error; when it is returned the
 * zygote is reaped and its children have been sent SIGKILL. -ECHILD as in cworker_fork.
 */
int cworker_next_event(cworker_zygote *zygote, struct cworker_event *out);

/* The process id of the zygote. */
int cworker_zygote_pid(const cworker_zygote *zygote);

/* A descriptor that polls readable when cworker_next_event would not wait. Not to be read. */
int cworker_fd(const cworker_zygote *zygote);

/*
 * Ends the zygote with all its descendants, waits for its end and frees the connection. In a fork
 * of the process that started it, frees the connection only.
 */
void cworker_zygote_shutdown(cworker_zygote *zygote);

#ifdef __cplusplus
}
#endif

#endif /* CWORKER_ZYGOTE_H */
