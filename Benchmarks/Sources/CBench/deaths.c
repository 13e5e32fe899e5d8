/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Time from a process's SIGKILL until the next one goes on; see bench.h. Each time the victim is a
 * process with memory of its own resident, and the survivor one that sleeps. Some victims hold
 * something. Others are killed just after they were woken, before they could run, or asleep and then
 * woken: they are on the killer's CPU, and may use it only while nobody else wants it.
 */
#include "death.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* So late that something is wrong. */
static int64_t soon(void)
{
    return cshm_now_ns() + 20000000000;
}

/* ---- waiting ---- */

/* A wait of a task: who looks at a place tries. */
struct turn {
    struct scene *scene;
    const struct wish *wish;
    int status;
};

static int has_answer(const void *object)
{
    struct turn *turn = (struct turn *)(uintptr_t)object;
    if (turn->status == -EAGAIN) {
        turn->status = turn->wish->attempt(turn->scene, true);
    }
    return turn->status != -EAGAIN;
}

static int acquire_as_task(struct scene *scene, const struct wish *wish)
{
    struct turn turn = {scene, wish, wish->attempt(scene, false)};
    struct cshm_waitable places[2];
    uint32_t count = wish->places(scene, places);
    for (uint32_t i = 0; i < count; i++) {
        places[i].is_ready = has_answer;
        places[i].object = &turn;
    }
    while (turn.status == -EAGAIN && cshm_wait_any(places, count, soon()) >= 0) {
    }
    return turn.status;
}

static bool acquire(struct scene *scene, const struct wish *wish)
{
    return (scene->death->in_tasks ? acquire_as_task(scene, wish) : wish->acquire(scene, soon())) ==
           0;
}

/* ---- victim, survivor, killer ---- */

static void be_victim(struct scene *scene, const struct noun *noun, size_t resident)
{
    uint8_t *memory = malloc(resident + 1);
    struct sched_param none = {0};
    if (memory == NULL || cshm_region_join(scene->region) != 0) {
        _exit(1);
    }
    memset(memory, 1, resident + 1);
    __asm__ __volatile__("" : : "r"(memory) : "memory");
    if (scene->death->moment != BENCH_HOLDING) {
        (void)sched_setscheduler(0, SCHED_IDLE, &none);
        __atomic_store_n(&scene->shared->ready, 1, __ATOMIC_RELEASE);
    }
    if (noun != NULL && !acquire(scene, noun->victim)) {
        _exit(1);
    }
    __atomic_store_n(&scene->shared->had, 1, __ATOMIC_RELEASE);
    __atomic_store_n(&scene->shared->ready, 1, __ATOMIC_RELEASE);
    for (;;) {
        pause();
    }
}

static void be_survivor(struct scene *scene, const struct noun *noun)
{
    (void)sched_setaffinity(0, sizeof scene->cpus, &scene->cpus);
    if (cshm_region_join(scene->region) != 0) {
        _exit(1);
    }
    __atomic_store_n(&scene->shared->waits, 1, __ATOMIC_RELEASE);
    if (!acquire(scene, noun->survivor)) {
        _exit(1);
    }
    __atomic_store_n(&scene->shared->went_on_ns, bench_now_ns(), __ATOMIC_RELEASE);
    _exit(noun->survivor->leave(scene) ? 0 : 1);
}

/* Until a child has set the flag, or has failed. */
static bool wait_until_set(const uint32_t *flag, pid_t child)
{
    siginfo_t info = {0};
    while (__atomic_load_n(flag, __ATOMIC_ACQUIRE) == 0) {
        if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            info.si_pid != 0) {
            return false;
        }
        usleep(100); /* the child may die instead, which no word tells */
    }
    return true;
}

static void end_child(pid_t child)
{
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
}

static bool is_asleep(pid_t child)
{
    char path[32];
    char line[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)child);
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        (void)!fgets(line, sizeof line, file);
        fclose(file);
    }
    const char *name_end = strrchr(line, ')');
    return name_end != NULL && name_end[1] != 0 && name_end[2] == 'S';
}

/* Until it sleeps: it has nothing else left to wait for. */
static bool start(struct scene *scene, bool is_victim, size_t resident, pid_t *child)
{
    const struct noun *noun = death_noun(scene->death->noun);
    const uint32_t *flag = is_victim ? &scene->shared->ready : &scene->shared->waits;
    *child = fork();
    if (*child == 0 && is_victim) {
        be_victim(scene, noun, resident);
    }
    if (*child == 0) {
        be_survivor(scene, noun);
    }
    if (*child < 0 || !wait_until_set(flag, *child)) {
        return false;
    }
    for (uint64_t end = bench_now_ns() + 20000000000; !is_asleep(*child);) {
        if (bench_now_ns() > end) {
            return false;
        }
        usleep(100);
    }
    return true;
}

/* Who waits for a condition's mutex at the condition is there before the victim has it. */
static bool start_both(struct scene *scene, size_t resident, pid_t *victim, pid_t *survivor)
{
    bool is_alone = scene->death->noun == BENCH_NOTHING;
    if (scene->death->noun == BENCH_CONDITION_MUTEX) {
        return start(scene, false, 0, survivor) && start(scene, true, resident, victim);
    }
    return start(scene, true, resident, victim) && (is_alone || start(scene, false, 0, survivor));
}

static bool wake(struct scene *scene)
{
    const struct noun *noun = death_noun(scene->death->noun);
    if (scene->death->moment == BENCH_HOLDING) {
        return true;
    }
    return noun->wake != NULL ? noun->wake(scene) : noun->killer->leave(scene);
}

/* The victim, if it waits, does not run meanwhile; then its end shall be as quick as any. Who is woken
 * together with it may go on before it is killed, so the time begins with what comes first.
 * @returns when that was, or 0. */
static uint64_t kill_and_wake(struct scene *scene, pid_t victim)
{
    struct sched_param none = {0};
    uint64_t start_ns = bench_now_ns();
    bool woken = scene->death->moment == BENCH_ASLEEP || wake(scene);
    kill(victim, SIGKILL);
    if (scene->death->moment == BENCH_ASLEEP) {
        woken = wake(scene);
    }
    (void)sched_setscheduler(victim, SCHED_OTHER, &none);
    return woken ? start_ns : 0;
}

/* Has it first, where the others wait for the killer. */
static bool prepare(struct scene *scene)
{
    const struct noun *noun = death_noun(scene->death->noun);
    scene->shared->ready = 0;
    scene->shared->waits = 0;
    scene->shared->had = 0;
    scene->shared->went_on_ns = 0;
    return death_renew(scene) && (scene->death->moment == BENCH_HOLDING || noun->killer == NULL ||
                                  noun->killer->acquire(scene, soon()) == 0);
}

/* A victim that was woken along with the survivor may have had it after that, for an instant, and have
 * died with it: then the next one, who is the killer, has it. */
static bool is_whole(struct scene *scene)
{
    const struct noun *noun = death_noun(scene->death->noun);
    bool may_have_died_with_it = noun->killer != NULL && scene->death->moment != BENCH_HOLDING;
    return noun->is_whole(scene) ||
           (may_have_died_with_it && noun->survivor->acquire(scene, soon()) == 0 &&
            noun->survivor->leave(scene) && noun->is_whole(scene));
}

/* Until the survivor has gone on. @returns when that was, or 0 if it failed, or left something that is
 * not whole. */
static uint64_t end_survivor(struct scene *scene, pid_t survivor)
{
    int status = 0;
    waitpid(survivor, &status, 0);
    return status == 0 && cshm_region_reap(scene->region) >= 0 && is_whole(scene)
               ? __atomic_load_n(&scene->shared->went_on_ns, __ATOMIC_ACQUIRE)
               : 0;
}

/* Where other work keeps the killer from its CPU, the victim may have what it alone was woken for. */
static bool came_too_late(const struct scene *scene)
{
    return scene->death->moment != BENCH_HOLDING && death_noun(scene->death->noun)->is_for_one &&
           __atomic_load_n(&scene->shared->had, __ATOMIC_ACQUIRE) != 0;
}

/* @returns the time, -EAGAIN if the victim lived too long, or -EIO if a process failed. */
static int64_t kill_one(struct scene *scene, size_t resident)
{
    siginfo_t info;
    pid_t victim = 0;
    pid_t survivor = 0;
    if (!prepare(scene) || !start_both(scene, resident, &victim, &survivor)) {
        end_child(victim);
        end_child(survivor);
        return -EIO;
    }
    uint64_t begin = kill_and_wake(scene, victim);
    waitid(P_PID, (id_t)victim, &info, WEXITED | WNOWAIT);
    uint64_t end = bench_now_ns();
    waitpid(victim, NULL, 0);
    if (came_too_late(scene)) {
        end_child(survivor);
        return -EAGAIN;
    }
    if (survivor != 0) {
        end = end_survivor(scene, survivor);
    }
    return begin != 0 && end > begin ? (int64_t)(end - begin) : -EIO;
}

/* As kill_one(), until it is a time or an error, with objects that are new if need be. */
static int64_t time_one(struct scene *scene, size_t resident)
{
    int64_t time = -EAGAIN;
    for (int tries = 0; tries < 100 && time == -EAGAIN; tries++) {
        time = kill_one(scene, resident);
        if (time == -EAGAIN) {
            death_unmake(scene);
            int status = death_make(scene);
            time = status != 0 ? status : time;
        }
    }
    return time;
}

/* Those who are killed waiting are where the killer is, so that it runs and they do not. */
static void stay_on_one_cpu(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    (void)sched_setaffinity(0, sizeof one, &one);
}

int bench_deaths(struct bench_death death, size_t resident, uint64_t duration_ns, uint64_t *times,
                 uint32_t room)
{
    struct scene scene = {.death = &death};
    int count = death_make(&scene);
    uint64_t end = bench_now_ns() + duration_ns;
    (void)sched_getaffinity(0, sizeof scene.cpus, &scene.cpus);
    if (death.moment != BENCH_HOLDING) {
        stay_on_one_cpu();
    }
    while (count >= 0 && (uint32_t)count < room && (count == 0 || bench_now_ns() < end)) {
        int64_t time = time_one(&scene, resident);
        times[count] = (uint64_t)time;
        count = time < 0 ? (int)time : count + 1;
    }
    (void)sched_setaffinity(0, sizeof scene.cpus, &scene.cpus);
    death_unmake(&scene);
    return count;
}
