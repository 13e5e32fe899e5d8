/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See bench.h. The parent sleeps while it measures; it looks at the consumers' tallies and at the
 * clock before and after, so a late wake-up of the parent changes the length and not the rate.
 */
#include <bench.h>

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bench_channel.h>

#include "registry.h"

enum { PEERS_MAX = 64, SAMPLE_BYTES = BENCH_SAMPLES * 8, SIZE_LIMIT = 1 << 26 };
static const uint64_t GRACE_NS = 10000000000; /* to begin, and to come to an end */

/* A measurement in progress. */
struct session {
    const struct bench_plan *plan;
    const struct bench_channel *channel;
    struct bench_control *control;
    uint64_t *samples; /* shared; NULL for a stream */
    void *there;       /* the channel's state, and for round trips that of the way back */
    void *back;
    pid_t children[BENCH_WORKERS];
    uint32_t count;
    uint64_t cpu_ns;
};

static volatile sig_atomic_t interrupted;
static const struct bench_channel *loaded[PEERS_MAX];
static uint32_t loaded_count;

/* ---- channels by name ---- */

static const struct bench_channel *find(const char *name)
{
    for (uint32_t i = 0; i < bench_registry_count; i++) {
        if (strcmp(bench_registry[i]->name, name) == 0) {
            return bench_registry[i];
        }
    }
    for (uint32_t i = 0; i < loaded_count; i++) {
        if (strcmp(loaded[i]->name, name) == 0) {
            return loaded[i];
        }
    }
    return NULL;
}

bool bench_has(const char *channel)
{
    return find(channel) != NULL;
}

int bench_load(const char *path)
{
    void *image = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct bench_channel *peer = image == NULL ? NULL : dlsym(image, "bench_peer");
    const struct bench_channel *const one[] = {peer, NULL};
    const struct bench_channel *const *peers =
        image == NULL || peer != NULL ? one : dlsym(image, "bench_peers");
    if (peers == NULL || *peers == NULL) {
        return -ENOENT;
    }
    for (; *peers != NULL; peers++) {
        if (loaded_count == PEERS_MAX) {
            return -ENOENT;
        }
        loaded[loaded_count++] = *peers;
    }
    return 0;
}

/* ---- CPUs ---- */

bool bench_may_use(int32_t cpu)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_ISSET(cpu, &set);
}

int bench_pin(int32_t cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int32_t i = cpu < 0 ? 0 : cpu; i <= (cpu < 0 ? CPU_SETSIZE - 1 : cpu); i++) {
        CPU_SET(i, &set);
    }
    return sched_setaffinity(0, sizeof set, &set) == 0 ? 0 : -errno;
}

bool bench_kernel_has(const char *call)
{
    static const struct {
        const char *name;
        long number;
    } calls[] = {
        {"pidfd_open", SYS_pidfd_open},   {"memfd_create", SYS_memfd_create},
        {"membarrier", SYS_membarrier},   {"futex_waitv", 449 /* SYS_futex_waitv */},
        {"close_range", SYS_close_range}, {"process_vm_readv", SYS_process_vm_readv},
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (strcmp(calls[i].name, call) == 0) {
            /* Arguments that each of them refuses. */
            return syscall(calls[i].number, -1, -1, -1, -1, -1, -1) >= 0 || errno != ENOSYS;
        }
    }
    return false;
}

void bench_raise_priority(void)
{
    (void)setpriority(PRIO_PROCESS, 0, -15);
}

void bench_adopt_orphans(bool adopts)
{
    (void)prctl(PR_SET_CHILD_SUBREAPER, adopts ? 1UL : 0UL, 0, 0, 0);
}

/* ---- Ctrl-C ---- */

static void note_interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

void bench_catch_interrupt(void)
{
    struct sigaction action = {.sa_handler = note_interrupt};
    sigset_t interrupt;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigaction(SIGINT, &action, NULL);
    /* Whoever started this may have blocked it: threads of Dispatch's do. */
    pthread_sigmask(SIG_UNBLOCK, &interrupt, NULL);
}

bool bench_interrupted(void)
{
    return interrupted != 0;
}

/* ---- a child ---- */

static void wait_for_start(struct bench_control *control)
{
    __atomic_add_fetch(&control->ready, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&control->go, __ATOMIC_ACQUIRE) == 0) {
        sched_yield();
    }
}

/* Touches what fork does not copy page tables for. */
static void prefault(void *memory, size_t size)
{
    volatile uint8_t *bytes = memory;
    for (size_t i = 0; i < size; i += 4096) {
        (void)bytes[i];
    }
}

static bool makes_trips(const struct bench_plan *plan)
{
    return plan->mode == BENCH_ROUND_TRIP || plan->mode == BENCH_PARKED_ROUND_TRIP;
}

static int work(struct session *session, uint32_t index)
{
    const struct bench_plan *plan = session->plan;
    const struct bench_channel *channel = session->channel;
    bool producer = index < plan->producers;
    bool trips = makes_trips(plan);
    struct bench_worker worker = {
        .control = session->control,
        .tally = &session->control->tallies[index],
        .buffer = calloc(plan->batch, plan->size),
        .size = plan->size,
        .batch = plan->batch,
        .ends_to_put = channel->delivery == BENCH_TO_ALL ? 1 : plan->consumers,
        .ends_to_take = channel->delivery == BENCH_BY_PRODUCER ? plan->producers : 1,
        .ends_alone = channel->delivery == BENCH_BY_PRODUCER,
        .ordered =
            plan->producers == 1 && (plan->consumers == 1 || channel->delivery == BENCH_TO_ALL),
        .interval_ns = plan->mode == BENCH_PACED ? plan->interval_ns : 0,
        .spinning = plan->wait == BENCH_SPIN,
        .parked = plan->mode == BENCH_PARKED_ROUND_TRIP,
    };
    void *there = NULL;
    void *back = NULL;
    if (worker.buffer == NULL ||
        bench_pin(producer ? plan->producer_cpu : plan->consumer_cpu) != 0 ||
        channel->open(session->there, producer, &there) != 0 ||
        (trips && channel->open(session->back, !producer, &back) != 0)) {
        return 1;
    }
    prefault(session->control, sizeof *session->control);
    if (session->samples != NULL) {
        prefault(session->samples, SAMPLE_BYTES);
    }
    wait_for_start(session->control);
    if (plan->mode == BENCH_WORK) {
        channel->work(there, &worker);
    } else if (trips) {
        (producer ? channel->ping : channel->pong)(there, back, &worker);
    } else {
        (producer ? channel->produce : channel->consume)(there, &worker);
    }
    if (channel->close != NULL) {
        channel->close(there, producer);
        if (trips) {
            channel->close(back, !producer);
        }
    }
    return 0;
}

static int start(struct session *session)
{
    uint32_t count = session->plan->producers + session->plan->consumers;
    pid_t parent = getpid();
    fflush(NULL);
    for (uint32_t i = 0; i < count; i++) {
        pid_t child = fork();
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            signal(SIGINT, SIG_IGN); /* the parent ends us */
            _exit(getppid() == parent ? work(session, i) : 1);
        }
        if (child < 0) {
            return -errno;
        }
        session->children[session->count++] = child;
    }
    return 0;
}

/* ---- the parent ---- */

static void sleep_ns(uint64_t nanoseconds)
{
    struct timespec span = {(time_t)(nanoseconds / 1000000000), (long)(nanoseconds % 1000000000)};
    while (nanosleep(&span, &span) != 0 && !interrupted) {
    }
}

/* Collects children that have ended. @returns 0, or -EIO if one failed. */
static int collect(struct session *session, int flags)
{
    int result = 0;
    for (uint32_t i = 0; i < session->count; i++) {
        int status = 0;
        struct rusage usage;
        if (session->children[i] == 0 ||
            wait4(session->children[i], &status, flags, &usage) != session->children[i]) {
            continue;
        }
        session->children[i] = 0;
        session->cpu_ns += (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000u +
                           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000u;
        if (status != 0) {
            result = -EIO;
        }
    }
    return result;
}

static bool all_ended(const struct session *session)
{
    for (uint32_t i = 0; i < session->count; i++) {
        if (session->children[i] != 0) {
            return false;
        }
    }
    return true;
}

static void kill_all(struct session *session)
{
    for (uint32_t i = 0; i < session->count; i++) {
        if (session->children[i] != 0) {
            kill(session->children[i], SIGKILL);
        }
    }
    (void)collect(session, 0);
}

static int await_ready(struct session *session)
{
    uint64_t deadline = bench_now_ns() + GRACE_NS;
    while (__atomic_load_n(&session->control->ready, __ATOMIC_ACQUIRE) < session->count) {
        int status = collect(session, WNOHANG);
        if (status != 0 || all_ended(session)) {
            return -EIO;
        }
        if (bench_now_ns() > deadline) {
            return -ETIMEDOUT;
        }
        sleep_ns(100000);
    }
    return 0;
}

static int await_end(struct session *session)
{
    uint64_t deadline = bench_now_ns() + GRACE_NS;
    for (;;) {
        int status = collect(session, WNOHANG);
        if (status != 0 || all_ended(session)) {
            return status;
        }
        if (bench_now_ns() > deadline) {
            return -ETIMEDOUT;
        }
        sleep_ns(200000);
    }
}

/* Operations of those who count: the consumers, or everybody who works. */
static uint64_t done(const struct session *session)
{
    const struct bench_plan *plan = session->plan;
    uint64_t total = 0;
    for (uint32_t i = plan->mode == BENCH_WORK ? 0 : plan->producers; i < session->count; i++) {
        total += __atomic_load_n(&session->control->tallies[i].operations, __ATOMIC_RELAXED);
    }
    return total;
}

/* Everything that was sent was received once, in order where there is one. */
static int check_stream(const struct session *session)
{
    uint64_t balance = 0;
    uint64_t sums = 0;
    uint64_t errors = 0;
    uint64_t copies = session->channel->delivery == BENCH_TO_ALL ? session->plan->consumers : 1;
    for (uint32_t i = 0; i < session->count; i++) {
        const struct bench_tally *tally = &session->control->tallies[i];
        bool producer = i < session->plan->producers;
        balance += producer ? copies * tally->operations : 0 - tally->operations;
        sums += producer ? copies * tally->sum : 0 - tally->sum;
        errors += tally->errors;
    }
    return balance == 0 && sums == 0 && errors == 0 ? 0 : -EIO;
}

static int check_work(const struct session *session)
{
    for (uint32_t i = 0; i < session->count; i++) {
        if (session->control->tallies[i].errors != 0) {
            return -EIO;
        }
    }
    return session->channel->holds(session->there, done(session)) ? 0 : -EIO;
}

static int by_value(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

/* Sorts the times after the warm-up, hands them out, and takes the median. */
static int median_time(struct session *session, struct bench_figure *out)
{
    const struct bench_control *control = session->control;
    uint64_t last = control->samples;
    uint64_t count = last - control->first_sample;
    count = count < BENCH_SAMPLES ? count : BENCH_SAMPLES;
    if (count == 0) {
        return -ENODATA;
    }
    uint64_t *times = calloc(count, sizeof *times);
    if (times == NULL) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < count; i++) {
        times[i] = control->sample_ns[(last - count + i) % BENCH_SAMPLES];
    }
    const struct bench_plan *plan = session->plan;
    if (plan->samples != NULL) {
        out->samples = count < plan->sample_capacity ? count : plan->sample_capacity;
        memcpy(plan->samples, times + (count - out->samples), out->samples * sizeof *times);
    }
    qsort(times, count, sizeof *times, by_value);
    out->value = (double)times[count / 2];
    out->operations = count;
    free(times);
    return 0;
}

/* A tenth of the time, and for a stream some rounds of the channel, whose memory is touched then. */
static void warm_up(const struct session *session)
{
    const struct bench_plan *plan = session->plan;
    uint64_t deadline = bench_now_ns() + GRACE_NS;
    sleep_ns(plan->duration_ns / 10);
    while (plan->mode == BENCH_STREAM && done(session) < 4ull * plan->capacity && !interrupted &&
           bench_now_ns() < deadline) {
        sleep_ns(1000000);
    }
}

static int run(struct session *session, struct bench_figure *out)
{
    struct bench_control *control = session->control;
    int status = await_ready(session);
    if (status != 0) {
        return status;
    }
    __atomic_store_n(&control->go, 1, __ATOMIC_RELEASE);
    warm_up(session);
    control->first_sample = __atomic_load_n(&control->samples, __ATOMIC_RELAXED);
    uint64_t before = done(session);
    uint64_t start_ns = bench_now_ns();
    sleep_ns(session->plan->duration_ns);
    uint64_t after = done(session);
    uint64_t elapsed = bench_now_ns() - start_ns;
    __atomic_store_n(&control->stop, 1, __ATOMIC_RELEASE);
    status = interrupted ? -EINTR : await_end(session);
    if (status != 0) {
        return status;
    }
    if (makes_trips(session->plan)) {
        return control->tallies[0].errors == 0 ? median_time(session, out) : -EIO;
    }
    status = session->plan->mode == BENCH_WORK ? check_work(session) : check_stream(session);
    if (status != 0) {
        return status;
    }
    if (session->plan->mode == BENCH_PACED) {
        return median_time(session, out);
    }
    out->operations = after - before;
    out->value = (double)(after - before) * 1e9 / (double)elapsed;
    return after == before ? -ENODATA : 0;
}

static int make(struct session *session)
{
    const struct bench_plan *plan = session->plan;
    struct bench_shape shape = {plan->size, plan->capacity, plan->producers, plan->consumers,
                                plan->batch};
    session->control = bench_shared(sizeof *session->control);
    if (session->control == NULL) {
        return -ENOMEM;
    }
    if (plan->mode != BENCH_STREAM && plan->mode != BENCH_WORK) {
        session->samples = bench_shared(SAMPLE_BYTES);
        if (session->samples == NULL) {
            return -ENOMEM;
        }
    }
    session->control->sample_ns = session->samples;
    session->control->producers_left = plan->producers;
    int status = session->channel->create(&shape, &session->there);
    if (status == 0 && makes_trips(plan)) {
        status = session->channel->create(&shape, &session->back);
    }
    return status;
}

static bool is_valid(const struct bench_plan *plan)
{
    bool single = plan->producers == 1 && plan->consumers == 1;
    return plan->producers >= 1 && (plan->consumers == 0) == (plan->mode == BENCH_WORK) &&
           plan->producers + plan->consumers <= BENCH_WORKERS && plan->size >= 8 &&
           plan->size <= SIZE_LIMIT && plan->batch >= 1 && plan->batch <= BENCH_BATCH_MAX &&
           plan->capacity >= 2 && (plan->capacity & (plan->capacity - 1)) == 0 &&
           (plan->mode != BENCH_PACED || plan->interval_ns > 0) &&
           (single || plan->mode == BENCH_STREAM || (plan->batch == 1 && plan->mode == BENCH_WORK));
}

int bench_measure(const struct bench_plan *plan, struct bench_figure *out)
{
    if (!is_valid(plan)) {
        return -EINVAL;
    }
    struct session session = {.plan = plan, .channel = find(plan->channel)};
    if (session.channel == NULL || (session.channel->work == NULL) == (plan->mode == BENCH_WORK)) {
        return -ENOENT;
    }
    struct bench_figure figure = {0};
    int status = make(&session);
    if (status == 0) {
        status = start(&session);
    }
    if (status == 0) {
        status = run(&session, &figure);
    }
    kill_all(&session);
    if (session.there != NULL) {
        session.channel->destroy(session.there);
    }
    if (session.back != NULL) {
        session.channel->destroy(session.back);
    }
    if (session.samples != NULL) {
        bench_unshare(session.samples, SAMPLE_BYTES);
    }
    if (session.control != NULL) {
        bench_unshare(session.control, sizeof *session.control);
    }
    if (status == 0) {
        figure.cpu_ns = session.cpu_ns;
        *out = figure;
    }
    return status;
}
