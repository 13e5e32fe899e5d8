/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See history_actors.h.
 */
#include "history_actors.h"

#include <sched.h>

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

/* Waits for the next few operations of an actor. */
static void watch(const struct history_log *log, uint64_t operations)
{
    uint32_t start = atomic_load(&log->count);
    while (atomic_load(&log->count) - start < operations && !history_is_full(log)) {
        sched_yield();
    }
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
    for (uint32_t i = 0; i < ACTORS; i++) {
        log[i] = atomic_fetch_add(&history->logs, 1);
        scene->turn = (int32_t)log[i];
        scene->seed = next_random(random);
        child[i] = spawn(region, act, scene);
    }
    while (deaths < DEATHS) {
        uint32_t victim = (uint32_t)(next_random(random) % ACTORS);
        for (uint32_t i = 0; i < ACTORS && history_is_full(&history->log[log[victim]]); i++) {
            victim = (victim + 1) % ACTORS;
        }
        watch(&history->log[log[victim]], next_random(random) % 400);
        if (next_random(random) % 3 == 0) {
            stop_child(child[victim]);
            usleep((useconds_t)(next_random(random) % 300));
            kill(child[victim], SIGCONT);
            continue;
        }
        reap(region, scene, &history->log[log[victim]], child[victim]);
        deaths++;
        log[victim] = atomic_fetch_add(&history->logs, 1);
        scene->turn = (int32_t)log[victim];
        scene->seed = next_random(random);
        child[victim] = spawn(region, act, scene);
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
