/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/lockwatch.h.
 */
#include "support.h"

#include <pthread.h>

#include <cshm/condition.h>
#include <cshm/directory.h>
#include <cshm/lockwatch.h>
#include <cshm/mutex.h>
#include <cshm/rwlock.h>

extern const struct test lockwatch_tests[];

enum { LOCKS = 60, REPORTS = 8 };

/* What was reported, to whichever process. */
struct reports {
    _Atomic uint32_t count;
    _Atomic uint32_t ready;
    struct cshm_lock_cycle cycle[REPORTS];
};

struct scene {
    cshm_region *region;
    struct reports *reports;
    cshm_mutex *lock[LOCKS];
    uint64_t place[LOCKS];
};

static void note(const struct cshm_lock_cycle *cycle, void *context)
{
    struct reports *reports = context;
    uint32_t index = atomic_load(&reports->count);
    CHECK(index < REPORTS);
    reports->cycle[index] = *cycle;
    atomic_fetch_add(&reports->count, 1);
}

static struct scene make_scene(void)
{
    struct scene scene = {.region = make_region(8u << 20),
                          .reports = shared_memory(sizeof(struct reports))};
    cshm_lockwatch_begin(note, scene.reports);
    for (uint32_t i = 0; i < LOCKS; i++) {
        CHECK_EQ(cshm_heap_allocate(scene.region, sizeof(cshm_mutex), &scene.place[i]), 0);
        CHECK_EQ(cshm_heap_share(scene.region, scene.place[i]), 0);
        scene.lock[i] = cshm_heap_pointer(scene.region, scene.place[i], sizeof(cshm_mutex));
        cshm_mutex_init(scene.lock[i]);
    }
    return scene;
}

static void acquire(cshm_mutex *mutex)
{
    CHECK_EQ(cshm_mutex_acquire_until(mutex, after(60 * SECOND)), 0);
}

static void release(cshm_mutex *mutex)
{
    CHECK_EQ(cshm_mutex_release(mutex), 0);
}

/* Acquires locks in the order of the digits, then releases them. */
static void go_through(const struct scene *scene, const char *digits)
{
    for (const char *digit = digits; *digit != '\0'; digit++) {
        acquire(scene->lock[*digit - '0']);
    }
    for (const char *digit = digits; *digit != '\0'; digit++) {
        release(scene->lock[*digit - '0']);
    }
}

struct walk {
    const struct scene *scene;
    const char *digits;
    int32_t thread;
};

static void *walk(void *context)
{
    struct walk *walk = context;
    walk->thread = gettid();
    go_through(walk->scene, walk->digits);
    return NULL;
}

/* In a thread that has ended then. @returns its number. */
static int32_t let_a_thread(const struct scene *scene, const char *digits)
{
    struct walk context = {scene, digits, 0};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, walk, &context), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    return context.thread;
}

static void expect_wait(const struct scene *scene, const struct cshm_lock_wait *wait, int32_t pid,
                        int32_t thread, uint32_t held, uint32_t wanted)
{
    CHECK_EQ(wait->pid, pid);
    CHECK_EQ(wait->thread, thread);
    CHECK_EQ(wait->held, scene->place[held]);
    CHECK_EQ(wait->wanted, scene->place[wanted]);
    CHECK(wait->at_ns > 0 && wait->at_ns <= cshm_now_ns());
}

static void two_threads(void)
{
    struct scene scene = make_scene();
    int32_t first = let_a_thread(&scene, "01");
    CHECK_EQ(atomic_load(&scene.reports->count), 0);
    int32_t second = let_a_thread(&scene, "10");
    CHECK_EQ(atomic_load(&scene.reports->count), 1);
    const struct cshm_lock_cycle *cycle = &scene.reports->cycle[0];
    CHECK_EQ(cycle->count, 2);
    expect_wait(&scene, &cycle->wait[0], getpid(), second, 1, 0);
    expect_wait(&scene, &cycle->wait[1], getpid(), first, 0, 1);
    CHECK_EQ(cycle->wait[0].is_held, 1);
    CHECK_EQ(cycle->wait[1].is_held, 0);
    let_a_thread(&scene, "10"); /* another thread: reported once more */
    CHECK_EQ(atomic_load(&scene.reports->count), 2);
    cshm_region_close(scene.region);
}

static void three_threads(void)
{
    struct scene scene = make_scene();
    int32_t thread[3] = {let_a_thread(&scene, "01"), let_a_thread(&scene, "12")};
    CHECK_EQ(atomic_load(&scene.reports->count), 0);
    thread[2] = let_a_thread(&scene, "20");
    CHECK_EQ(atomic_load(&scene.reports->count), 1);
    const struct cshm_lock_cycle *cycle = &scene.reports->cycle[0];
    CHECK_EQ(cycle->count, 3);
    expect_wait(&scene, &cycle->wait[0], getpid(), thread[2], 2, 0);
    expect_wait(&scene, &cycle->wait[1], getpid(), thread[0], 0, 1);
    expect_wait(&scene, &cycle->wait[2], getpid(), thread[1], 1, 2);
    cshm_region_close(scene.region);
}

/* ---- what is no circle ---- */

static void *try_backwards(void *context)
{
    const struct scene *scene = context;
    acquire(scene->lock[1]);
    CHECK_EQ(cshm_mutex_try_acquire(scene->lock[0]), 0);
    release(scene->lock[0]);
    CHECK_EQ(cshm_mutex_acquire_until(scene->lock[0], 1), 0);
    release(scene->lock[0]);
    release(scene->lock[1]);
    return NULL;
}

static void no_circles(void)
{
    struct scene scene = make_scene();
    pthread_t thread;
    for (int i = 0; i < 20; i++) {
        let_a_thread(&scene, "0123");
        let_a_thread(&scene, "13");
        go_through(&scene, "02");
    }
    /* one thread alone */
    go_through(&scene, "45");
    go_through(&scene, "54");
    /* a lock that is held in both */
    let_a_thread(&scene, "678");
    let_a_thread(&scene, "687");
    /* who does not wait */
    CHECK_EQ(pthread_create(&thread, NULL, try_backwards, &scene), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(atomic_load(&scene.reports->count), 0);
    let_a_thread(&scene, "87"); /* once without that lock */
    CHECK_EQ(atomic_load(&scene.reports->count), 1);
    cshm_region_close(scene.region);
}

static void recursion_is_no_circle(void)
{
    struct scene scene = make_scene();
    cshm_mutex_init_recursive(scene.lock[0]);
    let_a_thread(&scene, "01");
    acquire(scene.lock[0]);
    acquire(scene.lock[1]);
    acquire(scene.lock[0]);
    release(scene.lock[0]);
    release(scene.lock[1]);
    release(scene.lock[0]);
    CHECK_EQ(atomic_load(&scene.reports->count), 0);
    cshm_region_close(scene.region);
}

static void other_locks_in_the_same_memory(void)
{
    struct scene scene = make_scene();
    let_a_thread(&scene, "01");
    cshm_mutex_init(scene.lock[0]);
    let_a_thread(&scene, "10");
    CHECK_EQ(atomic_load(&scene.reports->count), 0);
    let_a_thread(&scene, "01");
    CHECK_EQ(atomic_load(&scene.reports->count), 1);
    cshm_region_close(scene.region);
}

static void *wait_for_change(void *context)
{
    struct scene *scene = context;
    cshm_condition *condition = NULL;
    CHECK_EQ(cshm_condition_open(scene->region, scene->place[LOCKS - 1], &condition), 0);
    acquire(scene->lock[0]);
    atomic_store(&scene->reports->ready, 1);
    CHECK_EQ(cshm_condition_wait_until(condition, scene->lock[0], after(60 * SECOND)), 0);
    acquire(scene->lock[1]);
    release(scene->lock[1]);
    release(scene->lock[0]);
    cshm_condition_close(condition);
    return NULL;
}

/* Who waits for a condition does not hold its mutex; who holds it again does. */
static void conditions(void)
{
    struct scene scene = make_scene();
    cshm_condition *condition = NULL;
    pthread_t thread;
    CHECK_EQ(cshm_condition_create(scene.region, 4, &scene.place[LOCKS - 1]), 0);
    CHECK_EQ(cshm_condition_open(scene.region, scene.place[LOCKS - 1], &condition), 0);
    CHECK_EQ(pthread_create(&thread, NULL, wait_for_change, &scene), 0);
    wait_until_set(&scene.reports->ready, 1);
    acquire(scene.lock[0]);
    while (cshm_condition_waiting(condition) == 0) {
        release(scene.lock[0]);
        acquire(scene.lock[0]);
    }
    CHECK_EQ(cshm_condition_notify(condition, scene.lock[0], 1), 1);
    release(scene.lock[0]);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(atomic_load(&scene.reports->count), 0);
    go_through(&scene, "10");
    CHECK_EQ(atomic_load(&scene.reports->count), 1);
    cshm_condition_close(condition);
    cshm_region_close(scene.region);
}

/* ---- processes ---- */

struct party {
    const struct scene *scene;
    uint32_t own;
    uint32_t other;
};

static void hold_one_and_want_another(cshm_region *region, void *context)
{
    const struct party *party = context;
    const struct scene *scene = party->scene;
    (void)region;
    acquire(scene->lock[party->own]);
    atomic_fetch_add(&scene->reports->ready, 1);
    wait_until_set(&scene->reports->ready, 2);
    /* A deadlock, that the other's death ends. */
    CHECK_EQ(cshm_mutex_acquire_until(scene->lock[party->other], INT64_MAX), 1);
}

static void a_deadlock(void)
{
    struct scene scene = make_scene();
    CHECK_EQ(cshm_directory_add(scene.region, "fork", CSHM_KIND_MUTEX, 0, scene.place[0]), 0);
    struct party party[2] = {{&scene, 0, 1}, {&scene, 1, 0}};
    pid_t child[2];
    for (int i = 0; i < 2; i++) {
        child[i] = spawn(scene.region, hold_one_and_want_another, &party[i]);
    }
    wait_until_set(&scene.reports->count, 1);
    const struct cshm_lock_cycle *cycle = &scene.reports->cycle[0];
    int first = cycle->wait[0].pid == child[0] ? 0 : 1;
    CHECK_EQ(cycle->count, 2);
    for (int i = 0; i < 2; i++) {
        int who = first ^ i;
        const struct cshm_lock_wait *wait = &cycle->wait[i];
        expect_wait(&scene, wait, child[who], child[who], party[who].own, party[who].other);
        CHECK_EQ(wait->is_held, 1);
        CHECK_EQ(strcmp(wait->held_name, party[who].own == 0 ? "fork" : ""), 0);
        CHECK_EQ(strcmp(wait->wanted_name, party[who].own == 0 ? "" : "fork"), 0);
    }
    struct cshm_mutex_info info;
    CHECK_EQ(cshm_mutex_describe(scene.lock[0], &info), 0);
    CHECK_EQ(info.holder_pid, child[0]);
    CHECK(info.since_ns > 0 && info.since_ns <= cshm_now_ns());
    kill_child(child[0]);
    expect_success(child[1]);
    cshm_region_close(scene.region);
}

static void go_forward(cshm_region *region, void *context)
{
    const struct scene *scene = context;
    (void)region;
    go_through(scene, "01");
    atomic_fetch_add(&scene->reports->ready, 1);
    pause();
}

static void die_holding(cshm_region *region, void *context)
{
    const struct scene *scene = context;
    (void)region;
    acquire(scene->lock[0]);
    acquire(scene->lock[1]);
    atomic_fetch_add(&scene->reports->ready, 1);
    pause();
}

static void take_over(cshm_mutex *mutex)
{
    struct cshm_mutex_info info;
    CHECK_EQ(cshm_mutex_acquire_until(mutex, after(60 * SECOND)), 1);
    CHECK_EQ(cshm_mutex_repair(mutex), 0);
    CHECK_EQ(cshm_mutex_describe(mutex, &info), 0);
    CHECK(info.since_ns > 0);
    release(mutex);
}

static void the_dead(void)
{
    struct scene scene = make_scene();
    pid_t child = spawn(scene.region, die_holding, &scene);
    wait_until_set(&scene.reports->ready, 1);
    kill_child(child);
    take_over(scene.lock[0]);
    take_over(scene.lock[1]);
    go_through(&scene, "10");
    CHECK_EQ(atomic_load(&scene.reports->count), 0);
    child = spawn(scene.region, go_forward, &scene);
    wait_until_set(&scene.reports->ready, 2);
    CHECK_EQ(atomic_load(&scene.reports->count), 1);
    kill_child(child);
    let_a_thread(&scene, "20"); /* the records of the dead are found again, and are none */
    let_a_thread(&scene, "12");
    CHECK_EQ(atomic_load(&scene.reports->count), 1);
    cshm_region_close(scene.region);
}

static void fill_the_table(cshm_region *region, void *context)
{
    const struct scene *scene = context;
    struct cshm_lockwatch_info info = {0};
    for (uint32_t i = 0; i < LOCKS; i++) {
        acquire(scene->lock[i]);
        for (uint32_t k = i + 1; k < LOCKS; k++) {
            acquire(scene->lock[k]);
            release(scene->lock[k]);
        }
        release(scene->lock[i]);
    }
    CHECK_EQ(cshm_lockwatch_describe(region, &info), 0);
    CHECK_EQ(info.records, info.records_max);
    CHECK_EQ(info.records + info.missed, LOCKS * (LOCKS - 1) / 2);
}

static void a_full_table(void)
{
    struct scene scene = make_scene();
    struct cshm_lockwatch_info info = {0};
    CHECK_EQ(cshm_lockwatch_describe(scene.region, &info), -ENOENT);
    expect_success(spawn(scene.region, fill_the_table, &scene));
    CHECK_EQ(cshm_lockwatch_describe(scene.region, &info), 0);
    uint64_t missed = info.missed;
    let_a_thread(&scene, "01");
    let_a_thread(&scene, "10");
    CHECK_EQ(cshm_lockwatch_describe(scene.region, &info), 0);
    CHECK_EQ(info.missed, missed);
    CHECK_EQ(info.records, 2);
    CHECK_EQ(atomic_load(&scene.reports->count), 1);
    cshm_region_close(scene.region);
}

/* ---- off, and by the environment ---- */

static void off(void)
{
    cshm_region *region = make_region(4u << 20);
    struct scene scene = {.region = region};
    struct cshm_mutex_info info;
    for (uint32_t i = 0; i < 2; i++) {
        CHECK_EQ(cshm_heap_allocate(region, sizeof(cshm_mutex), &scene.place[i]), 0);
        scene.lock[i] = cshm_heap_pointer(region, scene.place[i], sizeof(cshm_mutex));
        cshm_mutex_init(scene.lock[i]);
    }
    CHECK_EQ(cshm_lockwatch_is_on(), 0);
    let_a_thread(&scene, "01");
    let_a_thread(&scene, "10");
    acquire(scene.lock[0]);
    CHECK_EQ(cshm_mutex_describe(scene.lock[0], &info), 0);
    CHECK_EQ(info.since_ns, 0);
    CHECK_EQ(cshm_lockwatch_describe(region, &(struct cshm_lockwatch_info){0}), -ENOENT);
    /* Turned on while it is held: the release is none of an acquire that was watched. */
    cshm_lockwatch_begin(NULL, NULL);
    release(scene.lock[0]);
    acquire(scene.lock[0]);
    CHECK_EQ(cshm_mutex_describe(scene.lock[0], &info), 0);
    CHECK(info.since_ns > 0);
    release(scene.lock[0]);
    CHECK_EQ(cshm_mutex_describe(scene.lock[0], &info), 0);
    CHECK_EQ(info.since_ns, 0);
    cshm_region_close(region);
}

static void by_the_environment(void)
{
    int pipe_ends[2];
    char text[2048] = "";
    char expected[64];
    CHECK_EQ(setenv("CSHM_WATCH_LOCKS", "1", 1), 0);
    cshm_region *region = make_region(4u << 20);
    CHECK_EQ(cshm_lockwatch_is_on(), 1);
    struct scene scene = {.region = region};
    for (uint32_t i = 0; i < 2; i++) {
        CHECK_EQ(cshm_heap_allocate(region, sizeof(cshm_mutex), &scene.place[i]), 0);
        scene.lock[i] = cshm_heap_pointer(region, scene.place[i], sizeof(cshm_mutex));
        cshm_mutex_init(scene.lock[i]);
    }
    CHECK_EQ(cshm_directory_add(region, "first", CSHM_KIND_MUTEX, 0, scene.place[0]), 0);
    int32_t thread = let_a_thread(&scene, "01");
    CHECK_EQ(pipe(pipe_ends), 0);
    int saved = dup(STDERR_FILENO);
    CHECK(dup2(pipe_ends[1], STDERR_FILENO) >= 0);
    go_through(&scene, "10");
    CHECK(dup2(saved, STDERR_FILENO) >= 0);
    CHECK(read(pipe_ends[0], text, sizeof text - 1) > 0);
    snprintf(expected, sizeof expected, "thread %d of process %d held lock 'first' and", thread,
             getpid());
    CHECK(strstr(text, expected) != NULL);
    snprintf(expected, sizeof expected, "thread %d of process %d holds the lock at %llu", gettid(),
             getpid(), (unsigned long long)scene.place[1]);
    CHECK(strstr(text, expected) != NULL);
    cshm_region_close(region);
}

const struct test lockwatch_tests[] = {
    {"tells_of_two_threads_with_two_orders", two_threads},
    {"tells_of_a_circle_of_three_threads", three_threads},
    {"tells_of_nothing_that_cannot_deadlock", no_circles},
    {"takes_recursion_for_no_circle", recursion_is_no_circle},
    {"knows_other_locks_in_the_same_memory", other_locks_in_the_same_memory},
    {"knows_that_a_wait_for_a_condition_releases", conditions},
    {"tells_of_a_deadlock_of_two_processes_with_both_holders", a_deadlock},
    {"forgets_processes_that_were_killed", the_dead},
    {"makes_room_where_a_process_that_ended_filled_it", a_full_table},
    {"is_off_until_it_is_turned_on", off},
    {"is_turned_on_by_the_environment", by_the_environment},
    {NULL, NULL},
};
