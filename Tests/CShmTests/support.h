/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What several suites need: regions, forked children, deadlines, and numbers from a seed.
 */
#ifndef CSHM_SUPPORT_H
#define CSHM_SUPPORT_H

#include "test.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cshm/heap.h>
#include <cshm/region.h>

static const int64_t SECOND = 1000000000;
static const int64_t MILLISECOND = 1000000;

static inline cshm_region *make_region(uint64_t capacity)
{
    struct cshm_region_options options = {.capacity = capacity};
    cshm_region *region = NULL;
    CHECK_EQ(cshm_region_create(&options, &region), 0);
    return region;
}

static inline int64_t after(int64_t ns)
{
    return cshm_now_ns() + ns;
}

/* Memory that children share with the test, zeroed. */
static inline void *shared_memory(size_t size)
{
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

/* Forks a child that joins the region, runs the body and ends. */
static inline pid_t spawn(cshm_region *region, void (*body)(cshm_region *, void *), void *context)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int status = cshm_region_join(region);
        if (status != 0) {
            fprintf(stderr, "join in a child: %d\n", status);
            _exit(3);
        }
        body(region, context);
        _exit(0);
    }
    return child;
}

static inline void expect_success(pid_t child)
{
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
}

static inline void expect_killed(pid_t child)
{
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Kills a child; if it had already ended by itself, then with success. */
static inline void kill_child(pid_t child)
{
    int status = 0;
    kill(child, SIGKILL);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
}

static inline void stop_child(pid_t child)
{
    int status = 0;
    kill(child, SIGSTOP);
    CHECK_EQ(waitpid(child, &status, WUNTRACED), child);
    CHECK(WIFSTOPPED(status));
}

static inline void wait_until_set(const _Atomic uint32_t *flag, uint32_t value)
{
    int64_t end = after(20 * SECOND);
    while (atomic_load(flag) < value) {
        CHECK(cshm_now_ns() < end);
        usleep(200);
    }
}

/* Until a child that has nothing to wait for but one thing waits for it. */
static inline void wait_until_it_sleeps(pid_t child)
{
    char path[32];
    char line[512];
    int64_t end = after(20 * SECOND);
    snprintf(path, sizeof path, "/proc/%d/stat", (int)child);
    for (;; usleep(100)) {
        FILE *file = fopen(path, "r");
        CHECK(file != NULL);
        CHECK(fgets(line, sizeof line, file) != NULL);
        fclose(file);
        const char *name_end = strrchr(line, ')');
        CHECK(name_end != NULL && cshm_now_ns() < end);
        if (name_end[2] == 'S') {
            return;
        }
    }
}

/*
 * For a process that wakes another and kills it before that has run: both are on one CPU, and the
 * victim has it only while nobody else wants it.
 */
static inline void stay_on_one_cpu(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
}

static inline void be_last_on_the_cpu(void)
{
    CHECK_EQ(sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0}), 0);
}

static inline uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* CSHM_TEST_SEED repeats a run, as far as schedulers allow. */
static inline uint64_t make_seed(void)
{
    const char *text = getenv("CSHM_TEST_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)cshm_now_ns();
    fprintf(stderr, "CSHM_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static inline uint64_t blocks_in_use(const cshm_region *region)
{
    struct cshm_heap_usage usage;
    cshm_heap_describe(region, &usage);
    return usage.blocks;
}

#endif /* CSHM_SUPPORT_H */
