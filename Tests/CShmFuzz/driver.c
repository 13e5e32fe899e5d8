/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Stands in for libFuzzer where there is none: random inputs, from a seed that is printed, in child
 * processes, so that one that crashes or does not end is known and can be made again.
 *
 *   cshm-fuzz -max_total_time=SECONDS [-seed=NUMBER]     libFuzzer's other options are ignored
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

enum { INPUT_MAX = 400, AT_ONCE = 2000, TIMEOUT_S = 20 };

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static void run(uint64_t seed)
{
    uint8_t input[INPUT_MAX];
    size_t size = 1 + next_random(&seed) % sizeof input;
    for (size_t i = 0; i < size; i++) {
        input[i] = (uint8_t)next_random(&seed);
    }
    (void)LLVMFuzzerTestOneInput(input, size);
}

static _Noreturn void run_many(uint64_t seed, volatile uint64_t *now)
{
    for (uint64_t i = 0; i < AT_ONCE; i++) {
        *now = seed + i;
        alarm(TIMEOUT_S);
        run(seed + i);
    }
    exit(0); /* and look for leaks */
}

int main(int argc, char **argv)
{
    uint64_t seed = (uint64_t)cshm_now_ns();
    long seconds = 10;
    for (int i = 1; i < argc; i++) {
        (void)sscanf(argv[i], "-max_total_time=%ld", &seconds);
        (void)sscanf(argv[i], "-seed=%lu", &seed);
    }
    volatile uint64_t *now =
        mmap(NULL, sizeof *now, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int64_t end = cshm_now_ns() + seconds * 1000000000;
    uint64_t count = 0;
    for (; cshm_now_ns() < end; seed += AT_ONCE, count += AT_ONCE) {
        int status = 0;
        pid_t child = fork();
        if (child == 0) {
            run_many(seed, now);
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            fprintf(stderr, "-seed=%llu: %s\n", (unsigned long long)*now,
                    WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "failed");
            return 1;
        }
    }
    printf("%llu inputs\n", (unsigned long long)count);
    return 0;
}
