/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See massacre.h.
 */
#include "massacre.h"

enum {
    RUN_S = 5,
    KILLS = 300, /* at least, however long that takes on a machine that has other work */
};

/* CSHM_TEST_KILLS=n kills more often. */
static uint64_t kills_wanted(void)
{
    const char *text = getenv("CSHM_TEST_KILLS");
    return text != NULL ? strtoull(text, NULL, 10) : KILLS;
}

/* Lets a stopped worker go on, at times, or stops one if none is. @returns which, or WORKERS. */
static uint32_t stop_or_continue(pid_t *children, uint32_t stopped, uint64_t *random)
{
    if (stopped == WORKERS) {
        stopped = (uint32_t)(next_random(random) % WORKERS);
        stop_child(children[stopped]);
    } else if (next_random(random) % 8 == 0) {
        kill(children[stopped], SIGCONT);
        stopped = WORKERS;
    }
    return stopped;
}

uint64_t massacre(cshm_region *region, struct job *job,
                  void (*const bodies[WORKERS])(cshm_region *, void *))
{
    uint64_t random = job->seed;
    uint64_t kills = 0;
    uint64_t seen = 0;
    uint32_t stopped = WORKERS;
    int64_t seen_at = cshm_now_ns();
    pid_t children[WORKERS];
    for (uint32_t i = 0; i < WORKERS; i++) {
        job->number = i;
        children[i] = spawn(region, bodies[i], job);
    }
    int64_t end = after((job->seconds != 0 ? job->seconds : RUN_S) * SECOND);
    while ((cshm_now_ns() < end || kills < kills_wanted()) &&
           atomic_load(&job->shared->next) < IDS - 1000) {
        uint32_t victim = (uint32_t)(next_random(&random) % WORKERS);
        stopped = job->stops ? stop_or_continue(children, stopped, &random) : WORKERS;
        usleep((useconds_t)(next_random(&random) % 600));
        kill_child(children[victim]);
        stopped = stopped == victim ? WORKERS : stopped;
        kills++;
        job->number = victim;
        job->seed = next_random(&random);
        children[victim] = spawn(region, bodies[victim], job);
        uint64_t done = atomic_load(&job->shared->done);
        if (done != seen) {
            seen = done;
            seen_at = cshm_now_ns();
        }
        CHECK(cshm_now_ns() - seen_at < 20 * SECOND); /* somebody always gets on */
    }
    atomic_store(&job->shared->stop, 1);
    for (uint32_t i = 0; i < WORKERS; i++) {
        kill(children[i], SIGCONT); /* all of them first: one may have what another waits for */
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        expect_success(children[i]);
    }
    fprintf(stderr, "%llu kills, %llu operations\n", (unsigned long long)kills,
            (unsigned long long)atomic_load(&job->shared->done));
    return kills;
}
