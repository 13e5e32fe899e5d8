/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Whether two processes that hand something to each other lose wake-ups.
 *
 * A waiter that is not woken sleeps on for up to 25 ms, while the other has nothing to do either: neither
 * runs, nor wants to. The kernel counts the time in which a thread did one or the other. What is left of
 * the time that has passed is judged, and not the time itself: on a busy machine each handover takes as
 * long as others have the CPUs. Where both were awake at once, that time counts twice, so that less is
 * seen; a little on a machine that does nothing else.
 */
#ifndef CSHM_HANDOVER_H
#define CSHM_HANDOVER_H

#include "support.h"

enum { HANDOVERS_MOST = 20000, HANDOVERS_LEAST = 300 };

struct handover {
    int64_t start;
    int64_t end;
    int64_t own_ns; /* at the start */
    uint32_t count;
};

/* How long a thread has run, or wanted to. */
static inline int64_t awake_ns(pid_t thread)
{
    char path[40];
    long long ran = 0;
    long long wanted = 0;
    snprintf(path, sizeof path, "/proc/%d/schedstat", (int)thread);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        SKIP("the kernel does not count how long a thread wants to run (/proc/self/schedstat)");
    }
    CHECK_EQ(fscanf(file, "%lld %lld", &ran, &wanted), 2);
    fclose(file);
    return ran + wanted;
}

static inline struct handover begin_handover(void)
{
    return (struct handover){
        .start = cshm_now_ns(), .end = after(4 * SECOND), .own_ns = awake_ns(gettid())};
}

/* Whether there is to be one more: as many as fit into the time, within limits. */
static inline bool hand_over_again(struct handover *handover)
{
    uint32_t done = handover->count++;
    return done < HANDOVERS_LEAST || (done < HANDOVERS_MOST && cshm_now_ns() < handover->end);
}

/* `other_ns`: how long the other one has been awake. */
static inline void expect_awake(const struct handover *handover, int64_t other_ns)
{
    int64_t passed = cshm_now_ns() - handover->start;
    int64_t idle = passed - (awake_ns(gettid()) - handover->own_ns) - other_ns;
    fprintf(stderr, "%u handovers in %lld ms, in %lld of which nobody wanted to run\n",
            handover->count, (long long)(passed / MILLISECOND), (long long)(idle / MILLISECOND));
    /* Every lost wake-up costs a slice of 25 ms: 1 in 30 would be seen. */
    CHECK(idle < (int64_t)handover->count * 25 * MILLISECOND / 30);
}

/* The other one is a child, forked in the meantime, which is reaped. */
static inline void expect_awake_with(const struct handover *handover, pid_t child)
{
    siginfo_t info;
    CHECK_EQ(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    expect_awake(handover, awake_ns(child));
    expect_success(child);
}

#endif /* CSHM_HANDOVER_H */
