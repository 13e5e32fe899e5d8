/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What the machine and the kernel can do: a cache line handed over, a futex, a copy, a new process.
 */
#include <errno.h>
#include <linux/futex.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bench.h>
#include <bench_channel.h>

/* ---- ping-pong: one word on a line of its own, and nothing else ---- */

struct line {
    BENCH_LINE uint64_t word;
};

static int line_create(const struct bench_shape *shape, void **state)
{
    (void)shape;
    *state = bench_shared(sizeof(struct line));
    return *state == NULL ? -ENOMEM : 0;
}

static int line_open(void *state, bool producer, void **handle)
{
    (void)producer;
    *handle = state;
    return 0;
}

static void line_destroy(void *state)
{
    bench_unshare(state, sizeof(struct line));
}

static uint64_t await_change(const struct line *line, uint64_t seen)
{
    for (;;) {
        uint64_t word = __atomic_load_n(&line->word, __ATOMIC_ACQUIRE);
        if (word != seen) {
            return word;
        }
        bench_pause();
    }
}

static void line_ping(void *there, void *back, struct bench_worker *worker)
{
    struct line *out = there;
    struct line *in = back;
    uint64_t trips = 0;
    while (!bench_stopped(worker)) {
        uint64_t start = bench_now_ns();
        for (uint32_t i = 0; i < BENCH_TRIPS; i++) {
            __atomic_store_n(&out->word, trips + 1, __ATOMIC_RELEASE);
            worker->tally->errors += await_change(in, trips) != trips + 1;
            trips++;
        }
        bench_record(worker->control, (bench_now_ns() - start) / BENCH_TRIPS);
    }
    __atomic_store_n(&out->word, BENCH_END, __ATOMIC_RELEASE);
}

static void line_pong(void *there, void *back, struct bench_worker *worker)
{
    struct line *in = there;
    struct line *out = back;
    (void)worker;
    for (uint64_t seen = 0; seen != BENCH_END;) {
        seen = await_change(in, seen);
        __atomic_store_n(&out->word, seen, __ATOMIC_RELEASE);
    }
}

const struct bench_channel bench_ping_pong = {
    "ping-pong", line_create, line_open, NULL, NULL, line_ping, line_pong, line_destroy, NULL, NULL,
};

/* ---- futex: a word that says full, and nobody spins ---- */

struct futex_cell {
    BENCH_LINE uint32_t full;
    uint64_t number;
};

static long futex(uint32_t *word, int operation, uint32_t value)
{
    return syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
}

static int futex_create(const struct bench_shape *shape, void **state)
{
    (void)shape;
    *state = bench_shared(sizeof(struct futex_cell));
    return *state == NULL ? -ENOMEM : 0;
}

static void futex_destroy(void *state)
{
    bench_unshare(state, sizeof(struct futex_cell));
}

static uint32_t futex_put(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct futex_cell *cell = handle;
    (void)size;
    (void)count;
    cell->number = bench_number(bytes);
    __atomic_store_n(&cell->full, 1, __ATOMIC_RELEASE);
    futex(&cell->full, FUTEX_WAKE, 1);
    return 1;
}

static uint32_t futex_take(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct futex_cell *cell = handle;
    (void)size;
    (void)count;
    while (__atomic_load_n(&cell->full, __ATOMIC_ACQUIRE) == 0) {
        futex(&cell->full, FUTEX_WAIT, 0);
    }
    bench_set_number(bytes, cell->number);
    __atomic_store_n(&cell->full, 0, __ATOMIC_RELEASE);
    return 1;
}

/* For round trips only: the reply is what makes the cell empty again. */
BENCH_CHANNEL(bench_futex, "futex", futex_create, futex_destroy, line_open, futex_put, futex_take);

/* ---- memcpy ---- */

double bench_memcpy(size_t size, uint64_t duration_ns)
{
    uint8_t *from = bench_shared(2 * size);
    if (from == NULL) {
        return 0;
    }
    uint64_t copies = 0;
    uint64_t elapsed = 0;
    uint64_t start = bench_now_ns();
    while (elapsed < duration_ns) {
        for (uint32_t i = 0; i < 16; i++) {
            memcpy(from + size, from, size);
            __asm__ __volatile__("" : : "r"(from) : "memory");
        }
        copies += 16;
        elapsed = bench_now_ns() - start;
    }
    bench_unshare(from, 2 * size);
    return (double)copies * (double)size * 1e9 / (double)elapsed;
}

/* Into shared memory, and from there into memory that is made for each copy: what an array costs that
 * its receiver owns, without anything around it. */
double bench_memcpy_twice(size_t size, uint64_t duration_ns)
{
    uint8_t *from = bench_shared(2 * size);
    if (from == NULL) {
        return 0;
    }
    uint64_t copies = 0;
    uint64_t elapsed = 0;
    uint64_t start = bench_now_ns();
    while (elapsed < duration_ns) {
        uint8_t *to = malloc(size);
        if (to == NULL) {
            break;
        }
        memcpy(from + size, from, size);
        __asm__ __volatile__("" : : "r"(from) : "memory");
        memcpy(to, from + size, size);
        __asm__ __volatile__("" : : "r"(to) : "memory");
        free(to);
        copies++;
        elapsed = bench_now_ns() - start;
    }
    bench_unshare(from, 2 * size);
    return (double)copies * (double)size * 1e9 / (double)elapsed;
}

/* ---- a process ---- */

/* The mean of doing something again and again. */
static double mean_ns(bool (*once)(void), uint64_t duration_ns)
{
    uint64_t times = 0;
    uint64_t elapsed = 0;
    uint64_t start = bench_now_ns();
    while (elapsed < duration_ns) {
        if (!once()) {
            return 0;
        }
        times++;
        elapsed = bench_now_ns() - start;
    }
    return (double)elapsed / (double)times;
}

static bool ends_well(pid_t child)
{
    int status = 1;
    return waitpid(child, &status, 0) == child && status == 0;
}

static bool fork_once(void)
{
    pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    return child > 0 && ends_well(child);
}

static bool spawn_once(void)
{
    char name[] = "/bin/true";
    char *const words[] = {name, NULL};
    pid_t child;
    return posix_spawn(&child, name, NULL, NULL, words, environ) == 0 && ends_well(child);
}

double bench_fork(uint64_t duration_ns)
{
    return mean_ns(fork_once, duration_ns);
}

double bench_spawn(uint64_t duration_ns)
{
    return mean_ns(spawn_once, duration_ns);
}
