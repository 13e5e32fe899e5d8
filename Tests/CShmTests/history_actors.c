/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See history_actors.h.
 */
#include "history_actors.h"

#include <sched.h>
#include <sys/time.h>
#include <time.h>

struct history *make_history(void)
{
    return shared_memory(sizeof(struct history));
}

void forget(struct history *history)
{
    CHECK_EQ(munmap(history, sizeof *history), 0);
}

void wait_for_the_end(void)
{
    for (;;) {
        pause();
    }
}

/* ---- an actor that halts ---- */

enum {
    HALTS = 4,      /* one actor of so many */
    HALT_US = 1000, /* at most between two looks */
    PATIENCE = 100, /* ms that it halts: the director itself may have to wait for it */
};

static struct history_log *own_log;

static void look_later(uint64_t microseconds)
{
    struct itimerval timer = {.it_value.tv_usec = (suseconds_t)microseconds};
    CHECK_EQ(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static bool is_in_an_operation(void)
{
    uint32_t count = atomic_load(&own_log->count);
    return count != 0 && atomic_load(&own_log->operation[count - 1].returned) == 0;
}

static void halt_in_an_operation(int number)
{
    int error = errno;
    (void)number;
    if (is_in_an_operation()) {
        atomic_store(&own_log->halts, 1);
        for (int i = 0; i < PATIENCE; i++) {
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
        atomic_store(&own_log->halts, 0);
    }
    if (!history_is_full(own_log)) {
        look_later(HALT_US / 10);
    }
    errno = error;
}

static void begin_to_act(cshm_region *region, void *context)
{
    struct scene *scene = context;
    if (next_random(&scene->seed) % HALTS == 0) {
        struct sigaction action = {.sa_handler = halt_in_an_operation, .sa_flags = SA_RESTART};
        own_log = &scene->history->log[scene->turn];
        CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
        look_later(1 + next_random(&scene->seed) % HALT_US);
    }
    scene->act(region, scene);
}

/* ---- the director ---- */

/* The next actor to be put into a log of its own. */
static pid_t put_on_stage(cshm_region *region, struct scene *scene, uint32_t *log, uint64_t *random)
{
    *log = atomic_fetch_add(&scene->history->logs, 1);
    scene->turn = (int32_t)*log;
    scene->seed = next_random(random);
    return spawn(region, begin_to_act, scene);
}

/* @returns one that halts, or ACTORS. */
static uint32_t one_that_halts(const struct history *history, const uint32_t log[ACTORS])
{
    uint32_t i = 0;
    while (i < ACTORS && atomic_load(&history->log[log[i]].halts) == 0) {
        i++;
    }
    return i;
}

/* @returns one at random, at work if any is. */
static uint32_t one_at_work(const struct history *history, const uint32_t log[ACTORS],
                            uint64_t *random)
{
    uint32_t victim = (uint32_t)(next_random(random) % ACTORS);
    for (uint32_t i = 0; i < ACTORS && history_is_full(&history->log[log[victim]]); i++) {
        victim = (victim + 1) % ACTORS;
    }
    return victim;
}

/* Waits for the next few operations of an actor. @returns whom to kill: that one, or one that halts. */
static uint32_t watch(const struct history *history, const uint32_t log[ACTORS], uint32_t victim,
                      uint64_t operations)
{
    const struct history_log *watched = &history->log[log[victim]];
    uint32_t start = atomic_load(&watched->count);
    uint32_t halted = ACTORS;
    while ((halted = one_that_halts(history, log)) == ACTORS &&
           atomic_load(&watched->count) - start < operations && !history_is_full(watched)) {
        sched_yield();
    }
    return halted == ACTORS ? victim : halted;
}

/* Its death is an operation, where the object has an effect for it. */
static void reap(cshm_region *region, const struct scene *scene, struct history_log *log,
                 pid_t child)
{
    struct history *history = scene->history;
    uint64_t killed = history_now(history);
    kill_child(child);
    if (scene->settle != NULL) {
        scene->settle(region, scene);
    }
    history_close(history, log);
    if (scene->bury != NULL) {
        scene->bury(region, scene);
    }
    if (history->has_deaths) {
        history_died(history, log, killed);
    }
}

void direct(cshm_region *region, struct scene *scene, void (*act)(cshm_region *region, void *scene),
            uint64_t *random)
{
    struct history *history = scene->history;
    pid_t child[ACTORS];
    uint32_t log[ACTORS];
    uint32_t deaths = 0;
    scene->act = act;
    for (uint32_t i = 0; i < ACTORS; i++) {
        child[i] = put_on_stage(region, scene, &log[i], random);
    }
    while (deaths < DEATHS) {
        uint32_t victim = one_at_work(history, log, random);
        victim = watch(history, log, victim, next_random(random) % 400);
        bool halts = atomic_load(&history->log[log[victim]].halts) != 0;
        if (!halts && next_random(random) % 3 == 0) {
            stop_child(child[victim]);
            usleep((useconds_t)(next_random(random) % 300));
            kill(child[victim], SIGCONT);
            continue;
        }
        reap(region, scene, &history->log[log[victim]], child[victim]);
        deaths++;
        child[victim] = put_on_stage(region, scene, &log[victim], random);
    }
    for (uint32_t i = 0; i < ACTORS; i++) {
        reap(region, scene, &history->log[log[i]], child[i]);
    }
}

void expect_linearizable(const struct history *history, const struct object *object)
{
    struct operation culprit;
    if (!history_is_linearizable(history, object, &culprit)) {
        fprintf(stderr, "not linearizable at %llu..%llu: kind %d, value %d, result %d\n",
                (unsigned long long)culprit.called, (unsigned long long)culprit.returned,
                culprit.kind, culprit.value, culprit.result);
        exit(1);
    }
}

bool wants_more(struct tally *tally, uint32_t most)
{
    if (tally->end == 0) {
        tally->end = after(20 * SECOND);
    }
    return tally->histories < most && (tally->unknown == 0 || cshm_now_ns() < tally->end);
}

void count(const struct history *history, struct tally *tally)
{
    tally->histories++;
    for (uint32_t i = 0; i < atomic_load(&history->logs); i++) {
        const struct history_log *log = &history->log[i];
        for (uint32_t k = 0; k < atomic_load(&log->count); k++) {
            tally->operations++;
            tally->unknown += log->operation[k].result == UNKNOWN;
        }
    }
}

void expect_enough(const struct tally *tally)
{
    fprintf(stderr, "%u histories, %llu operations, %u kills, %llu in the middle of one\n",
            tally->histories, (unsigned long long)tally->operations,
            tally->histories * (DEATHS + ACTORS), (unsigned long long)tally->unknown);
    CHECK(tally->operations > 100 * tally->histories);
    CHECK(tally->unknown > 0);
}
