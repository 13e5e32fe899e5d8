/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Under test: cshm/barrier.h. Peer: a process-shared pthread barrier. All processes pass again and
 * again; one of them counts, and so many passes there must have been.
 */
#include <errno.h>
#include <pthread.h>

#include "subject.h"

struct course {
    BENCH_LINE pthread_barrier_t native;
    BENCH_LINE uint64_t last;   /* the pass after which all stop, or 0 */
    BENCH_LINE uint64_t passes; /* counted by one process each */
    uint32_t parties;
    uint64_t barrier; /* its place */
};

/* What each process has of one. */
struct runner {
    cshm_barrier *barrier;
    struct course *course;
};

static int make(cshm_region *region, const struct bench_shape *shape, uint64_t *offset)
{
    int status = cshm_heap_allocate(region, sizeof(struct course), offset);
    if (status != 0) {
        return status;
    }
    struct course *course = cshm_heap_pointer(region, *offset, sizeof *course);
    memset((void *)course, 0, sizeof *course);
    course->parties = shape->producers;
    pthread_barrierattr_t attributes;
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&course->native, &attributes, shape->producers);
    pthread_barrierattr_destroy(&attributes);
    status = cshm_barrier_create(region, shape->producers, &course->barrier);
    return status == 0 ? cshm_heap_share(region, course->barrier) : status;
}

static int course_create(const struct bench_shape *shape, void **state)
{
    return bench_subject_create(shape, make, state);
}

static int course_open(void *state, bool producer, void **handle)
{
    static struct runner runner;
    struct subject *subject = state;
    (void)producer;
    int status = bench_subject_join(subject);
    if (status == 0) {
        runner.course = cshm_heap_pointer(subject->region, subject->offset, sizeof *runner.course);
        status = cshm_barrier_open(subject->region, runner.course->barrier, &runner.barrier);
    }
    *handle = &runner;
    return status;
}

/* In the parent: the subject's copy of what it knows. */
static bool course_holds(void *state, uint64_t operations)
{
    const struct subject *subject = state;
    const struct course *course =
        cshm_heap_pointer(subject->region, subject->offset, sizeof *course);
    return course->passes * course->parties == operations;
}

/* Passes. @returns 1 in one of the processes, 0 in the others, negative if it failed. */
typedef int pass(struct runner *runner);

BENCH_INLINE int pass_own(struct runner *runner)
{
    uint32_t index = 0;
    int status = cshm_barrier_wait_until(runner->barrier, NULL, NULL, INT64_MAX, &index);
    return status == 0 ? index == 0 : status;
}

BENCH_INLINE int pass_native(struct runner *runner)
{
    int status = pthread_barrier_wait(&runner->course->native);
    return status == PTHREAD_BARRIER_SERIAL_THREAD ? 1 : -status;
}

/* All of them stop after the same pass: whoever is told to says so before it arrives. */
BENCH_INLINE void run(struct runner *runner, struct bench_worker *worker, pass *pass)
{
    struct course *course = runner->course;
    for (uint64_t number = 1;; number++) {
        if (bench_stopped(worker)) {
            uint64_t none = 0;
            (void)__atomic_compare_exchange_n(&course->last, &none, number, false, __ATOMIC_RELAXED,
                                              __ATOMIC_RELAXED);
        }
        int status = pass(runner);
        if (status < 0) {
            worker->tally->errors++;
            return;
        }
        if (status > 0) {
            course->passes++; /* by this process alone, in this pass */
        }
        __atomic_store_n(&worker->tally->operations, number, __ATOMIC_RELAXED);
        if (__atomic_load_n(&course->last, __ATOMIC_RELAXED) == number) {
            return;
        }
    }
}

static void own_work(void *handle, struct bench_worker *worker)
{
    struct runner *runner = handle;
    run(runner, worker, pass_own);
    cshm_barrier_close(runner->barrier);
}

static void native_work(void *handle, struct bench_worker *worker)
{
    run(handle, worker, pass_native);
}

const struct bench_channel bench_barrier = {
    .name = "barrier",
    .create = course_create,
    .open = course_open,
    .work = own_work,
    .holds = course_holds,
    .destroy = bench_subject_destroy,
};

const struct bench_channel bench_pthread_barrier = {
    .name = "pthread-barrier",
    .create = course_create,
    .open = course_open,
    .work = native_work,
    .holds = course_holds,
    .destroy = bench_subject_destroy,
};
