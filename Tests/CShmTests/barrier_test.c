/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/barrier.h.
 */
#include "support.h"

#include <pthread.h>

#include <cshm/barrier.h>

extern const struct test barrier_tests[];

enum { PARTIES = 5, ROUNDS = 1000 };

struct scene {
    cshm_region *region;
    uint64_t offset;
    cshm_barrier *barrier; /* the test's own */
    uint64_t *shared_offset;
    _Atomic uint32_t *arrived; /* in each round */
    _Atomic uint32_t *indices; /* their sum */
    _Atomic uint32_t *count;   /* of some things */
};

static struct scene make_scene(uint32_t parties)
{
    struct scene scene = {.region = make_region(1u << 20)};
    CHECK_EQ(cshm_barrier_create(scene.region, parties, &scene.offset), 0);
    CHECK_EQ(cshm_heap_share(scene.region, scene.offset), 0);
    CHECK_EQ(cshm_barrier_open(scene.region, scene.offset, &scene.barrier), 0);
    scene.arrived = shared_memory(ROUNDS * sizeof *scene.arrived);
    scene.indices = shared_memory(ROUNDS * sizeof *scene.indices);
    scene.count = shared_memory(4096);
    return scene;
}

static void end_scene(struct scene *scene)
{
    cshm_barrier_destroy(scene->barrier);
    CHECK_EQ(blocks_in_use(scene->region), 0);
    cshm_region_close(scene->region);
}

static bool is_broken(const struct scene *scene)
{
    struct cshm_barrier_info info;
    cshm_barrier_describe(scene->barrier, &info);
    CHECK_EQ(info.waiting == 0 || info.broken == 0, 1);
    return info.broken != 0;
}

static uint32_t waiting(const struct scene *scene)
{
    struct cshm_barrier_info info;
    cshm_barrier_describe(scene->barrier, &info);
    return info.waiting;
}

static void wait_for_waiting(const struct scene *scene, uint32_t count)
{
    int64_t end = after(20 * SECOND);
    while (waiting(scene) != count) {
        CHECK(cshm_now_ns() < end);
        usleep(100);
    }
}

static void alone(void)
{
    struct scene scene = make_scene(1);
    uint64_t offset = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t index = 7;
        CHECK_EQ(cshm_barrier_wait_until(scene.barrier, NULL, NULL, 0, &index), 0);
        CHECK_EQ(index, 0);
    }
    CHECK_EQ(cshm_barrier_create(scene.region, 0, &offset), -EINVAL);
    CHECK_EQ(cshm_barrier_create(scene.region, CSHM_BARRIER_PARTIES_MAX + 1, &offset), -EINVAL);
    cshm_barrier *other = NULL;
    CHECK_EQ(cshm_barrier_open(scene.region, scene.offset + 128, &other), -EPROTO);
    void *bytes = cshm_heap_pointer(scene.region, scene.offset, 256);
    uint64_t *state = (uint64_t *)((uint8_t *)bytes + 128);
    *state = 1000;
    CHECK_EQ(cshm_barrier_wait_until(scene.barrier, NULL, NULL, INT64_MAX, NULL), -EPROTO);
    end_scene(&scene);
}

/* ---- all together ---- */

static int count_action(void *context)
{
    struct scene *scene = context;
    /* All are here, and none has gone on. */
    CHECK_EQ(atomic_load(&scene->arrived[scene->count[0]]), PARTIES);
    atomic_fetch_add(&scene->count[0], 1);
    return 0;
}

static void pass(struct scene *scene, cshm_barrier *barrier, bool act)
{
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t index = PARTIES;
        atomic_fetch_add(&scene->arrived[i], 1);
        CHECK_EQ(cshm_barrier_wait_until(barrier, act ? count_action : NULL, scene,
                                         after(50 * SECOND), &index),
                 0);
        CHECK_EQ(atomic_load(&scene->arrived[i]), PARTIES);
        CHECK(index < PARTIES);
        atomic_fetch_add(&scene->indices[i], 1u << (4 * index));
        CHECK(!act || atomic_load(&scene->count[0]) > i);
    }
}

static void pass_in_process(cshm_region *region, void *context)
{
    struct scene *scene = context;
    cshm_barrier *barrier = NULL;
    CHECK_EQ(cshm_barrier_open(region, scene->offset, &barrier), 0);
    pass(scene, barrier, false);
    cshm_barrier_close(barrier);
    cshm_region_close(region);
}

static void act_in_process(cshm_region *region, void *context)
{
    struct scene *scene = context;
    cshm_barrier *barrier = NULL;
    CHECK_EQ(cshm_barrier_open(region, scene->offset, &barrier), 0);
    pass(scene, barrier, true);
    cshm_barrier_close(barrier);
    cshm_region_close(region);
}

static void *pass_in_thread(void *context)
{
    struct scene *scene = context;
    pass(scene, scene->barrier, false);
    return NULL;
}

/* Each index once in each round. */
static void check_indices(const struct scene *scene)
{
    for (uint32_t i = 0; i < ROUNDS; i++) {
        CHECK_EQ(atomic_load(&scene->indices[i]), 0x11111);
    }
}

static void lockstep_of_processes(void (*body)(cshm_region *, void *))
{
    struct scene scene = make_scene(PARTIES);
    pid_t children[PARTIES];
    for (uint32_t i = 0; i < PARTIES; i++) {
        children[i] = spawn(scene.region, body, &scene);
    }
    for (uint32_t i = 0; i < PARTIES; i++) {
        expect_success(children[i]);
    }
    check_indices(&scene);
    CHECK(!is_broken(&scene));
    CHECK_EQ(scene.count[0], body == act_in_process ? ROUNDS : 0);
    end_scene(&scene);
}

static void processes(void)
{
    lockstep_of_processes(pass_in_process);
}

static void processes_with_action(void)
{
    lockstep_of_processes(act_in_process);
}

static void threads(void)
{
    struct scene scene = make_scene(PARTIES);
    pthread_t threads[PARTIES];
    for (uint32_t i = 0; i < PARTIES; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, pass_in_thread, &scene), 0);
    }
    for (uint32_t i = 0; i < PARTIES; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    check_indices(&scene);
    end_scene(&scene);
}

/* ---- broken ---- */

static void *wait_and_tell(void *context)
{
    struct scene *scene = context;
    int status = cshm_barrier_wait_until(scene->barrier, NULL, NULL, INT64_MAX, NULL);
    return (void *)(intptr_t)status;
}

static int status_of(pthread_t thread)
{
    void *status = NULL;
    CHECK_EQ(pthread_join(thread, &status), 0);
    return (int)(intptr_t)status;
}

static void start_waiting(struct scene *scene, pthread_t *thread)
{
    CHECK_EQ(pthread_create(thread, NULL, wait_and_tell, scene), 0);
    wait_for_waiting(scene, 1);
}

static void aborted(void)
{
    struct scene scene = make_scene(2);
    pthread_t thread;
    start_waiting(&scene, &thread);
    cshm_barrier_abort(scene.barrier);
    CHECK_EQ(status_of(thread), -ECANCELED);
    CHECK(is_broken(&scene));
    CHECK_EQ(cshm_barrier_wait_until(scene.barrier, NULL, NULL, INT64_MAX, NULL), -ECANCELED);
    CHECK_EQ(cshm_barrier_reset(scene.barrier), 0);
    CHECK(!is_broken(&scene));
    start_waiting(&scene, &thread);
    CHECK_EQ(cshm_barrier_wait_until(scene.barrier, NULL, NULL, INT64_MAX, NULL), 0);
    CHECK_EQ(status_of(thread), 0);
    end_scene(&scene);
}

static void reset(void)
{
    struct scene scene = make_scene(2);
    pthread_t thread;
    CHECK_EQ(cshm_barrier_reset(scene.barrier), 0);
    for (int i = 0; i < 30; i++) {
        start_waiting(&scene, &thread);
        CHECK_EQ(cshm_barrier_reset(scene.barrier), 0);
        CHECK_EQ(status_of(thread), -ECANCELED);
        CHECK(!is_broken(&scene));
    }
    start_waiting(&scene, &thread);
    CHECK_EQ(cshm_barrier_wait_until(scene.barrier, NULL, NULL, INT64_MAX, NULL), 0);
    CHECK_EQ(status_of(thread), 0);
    end_scene(&scene);
}

static void timed_out(void)
{
    struct scene scene = make_scene(3);
    pthread_t thread;
    start_waiting(&scene, &thread);
    int64_t deadline = after(30 * MILLISECOND);
    CHECK_EQ(cshm_barrier_wait_until(scene.barrier, NULL, NULL, deadline, NULL), -ETIMEDOUT);
    CHECK(cshm_now_ns() >= deadline);
    CHECK_EQ(status_of(thread), -ECANCELED);
    CHECK(is_broken(&scene));
    end_scene(&scene);
}

static int fail(void *context)
{
    (void)context;
    return -ENXIO;
}

static void failing_action(void)
{
    struct scene scene = make_scene(2);
    pthread_t thread;
    start_waiting(&scene, &thread);
    CHECK_EQ(cshm_barrier_wait_until(scene.barrier, fail, NULL, INT64_MAX, NULL), -ENXIO);
    CHECK_EQ(status_of(thread), -ECANCELED);
    CHECK(is_broken(&scene));
    end_scene(&scene);
}

static void halves(void)
{
    struct scene scene = make_scene(2);
    struct cshm_arrival first;
    struct cshm_arrival second;
    struct cshm_arrival third;
    struct cshm_waitable waitable;
    CHECK_EQ(cshm_barrier_arrive(scene.barrier, &first), 0);
    cshm_barrier_waitable(&first, &waitable);
    CHECK_EQ(first.index, 0);
    CHECK_EQ(cshm_barrier_try_finish(&first), -EAGAIN);
    CHECK_EQ(cshm_wait_any(&waitable, 1, 0), -ETIMEDOUT);
    CHECK_EQ(cshm_barrier_arrive(scene.barrier, &second), 1);
    CHECK_EQ(second.index, 1);
    CHECK_EQ(cshm_barrier_arrive(scene.barrier, &third), -EAGAIN);
    CHECK_EQ(cshm_barrier_wait_until(scene.barrier, NULL, NULL, 0, NULL), -ETIMEDOUT);
    CHECK(!is_broken(&scene));
    CHECK_EQ(cshm_barrier_try_finish(&first), -EAGAIN);
    CHECK_EQ(cshm_barrier_release(&second), 0);
    CHECK_EQ(cshm_wait_any(&waitable, 1, INT64_MAX), 0);
    CHECK_EQ(cshm_barrier_try_finish(&first), 0);
    CHECK_EQ(cshm_barrier_give_up(&first), 0);
    CHECK_EQ(cshm_barrier_arrive(scene.barrier, &third), 0);
    CHECK_EQ(cshm_barrier_try_finish(&first), 0); /* later than the next phase began */
    CHECK_EQ(cshm_barrier_give_up(&third), -ECANCELED);
    CHECK_EQ(cshm_barrier_release(&second), 0); /* over, and it was not given up */
    CHECK_EQ(cshm_barrier_try_finish(&third), -ECANCELED);
    CHECK_EQ(cshm_barrier_reset(scene.barrier), 0);
    CHECK_EQ(cshm_barrier_try_finish(&third), -ECANCELED);
    CHECK_EQ(cshm_barrier_try_finish(&first), 0);
    end_scene(&scene);
}

/* ---- deaths ---- */

/* Passes once, and then waits alone, or does not come. */
static void pass_and_wait(cshm_region *region, void *context)
{
    struct scene *scene = context;
    cshm_barrier *barrier = NULL;
    CHECK_EQ(cshm_barrier_open(region, scene->offset, &barrier), 0);
    CHECK_EQ(cshm_barrier_wait_until(barrier, NULL, NULL, INT64_MAX, NULL), 0);
    atomic_store(&scene->count[0], 1);
    _exit(cshm_barrier_wait_until(barrier, NULL, NULL, INT64_MAX, NULL) == 0 ? 0 : 1);
}

static void pass_and_stay_away(cshm_region *region, void *context)
{
    struct scene *scene = context;
    cshm_barrier *barrier = NULL;
    CHECK_EQ(cshm_barrier_open(region, scene->offset, &barrier), 0);
    CHECK_EQ(cshm_barrier_wait_until(barrier, NULL, NULL, INT64_MAX, NULL), 0);
    atomic_store(&scene->count[0], 1);
    for (;;) {
        pause();
    }
}

static _Noreturn int act_for_ever(void *context)
{
    struct scene *scene = context;
    atomic_store(&scene->count[0], 2);
    for (;;) {
        pause();
    }
}

static void pass_and_act(cshm_region *region, void *context)
{
    struct scene *scene = context;
    cshm_barrier *barrier = NULL;
    CHECK_EQ(cshm_barrier_open(region, scene->offset, &barrier), 0);
    CHECK_EQ(cshm_barrier_wait_until(barrier, NULL, NULL, INT64_MAX, NULL), 0);
    atomic_store(&scene->count[0], 1);
    wait_for_waiting(scene, 2);
    _exit(cshm_barrier_wait_until(barrier, act_for_ever, scene, INT64_MAX, NULL) == 0 ? 0 : 1);
}

static void killed(void (*body)(cshm_region *, void *), bool acts)
{
    struct scene scene = make_scene(3);
    pthread_t thread;
    pid_t child = spawn(scene.region, body, &scene);
    wait_for_waiting(&scene, 1);
    CHECK_EQ(pthread_create(&thread, NULL, wait_and_tell, &scene), 0);
    CHECK_EQ(cshm_barrier_wait_until(scene.barrier, NULL, NULL, INT64_MAX, NULL), 0);
    CHECK_EQ(status_of(thread), 0);
    wait_until_set(&scene.count[0], 1);
    CHECK_EQ(pthread_create(&thread, NULL, wait_and_tell, &scene), 0);
    pthread_t another;
    if (acts) {
        CHECK_EQ(pthread_create(&another, NULL, wait_and_tell, &scene), 0);
        wait_until_set(&scene.count[0], 2);
    }
    stop_child(child);
    usleep(60000); /* longer than a slice: a stopped one is alive */
    CHECK(!is_broken(&scene));
    kill_child(child);
    CHECK_EQ(status_of(thread), -ECANCELED);
    if (acts) {
        CHECK_EQ(status_of(another), -ECANCELED);
    }
    CHECK(is_broken(&scene));
    /* Repaired, it forgets the dead, and another may come in its place. */
    CHECK_EQ(cshm_barrier_repair(scene.barrier), 1);
    CHECK_EQ(cshm_barrier_repair(scene.barrier), 0);
    child = spawn(scene.region, pass_and_stay_away, &scene);
    wait_for_waiting(&scene, 1);
    CHECK_EQ(pthread_create(&thread, NULL, wait_and_tell, &scene), 0);
    CHECK_EQ(cshm_barrier_wait_until(scene.barrier, NULL, NULL, INT64_MAX, NULL), 0);
    CHECK_EQ(status_of(thread), 0);
    kill_child(child);
    end_scene(&scene);
}

static void killed_waiting(void)
{
    killed(pass_and_wait, false);
}

static void killed_away(void)
{
    killed(pass_and_stay_away, false);
}

static void killed_acting(void)
{
    killed(pass_and_act, true);
}

static void pass_and_close(cshm_region *region, void *context)
{
    struct scene *scene = context;
    cshm_barrier *barrier[2];
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(cshm_barrier_open(region, scene->offset, &barrier[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(cshm_barrier_wait_until(barrier[i], NULL, NULL, INT64_MAX, NULL), 0);
    }
    for (int i = 0; i < 2; i++) {
        cshm_barrier_close(barrier[i]);
    }
    cshm_region_close(region);
}

/* One that has closed it is no party: another may come in its place, as late as it likes. */
static void closed(void)
{
    struct scene scene = make_scene(2);
    pthread_t thread;
    pid_t child = spawn(scene.region, pass_and_close, &scene);
    CHECK_EQ(cshm_barrier_wait_until(scene.barrier, NULL, NULL, INT64_MAX, NULL), 0);
    CHECK_EQ(cshm_barrier_wait_until(scene.barrier, NULL, NULL, INT64_MAX, NULL), 0);
    expect_success(child);
    start_waiting(&scene, &thread);
    usleep(60000); /* longer than a slice */
    CHECK(!is_broken(&scene));
    CHECK_EQ(cshm_barrier_wait_until(scene.barrier, NULL, NULL, INT64_MAX, NULL), 0);
    CHECK_EQ(status_of(thread), 0);
    end_scene(&scene);
}

static void pass_for_ever(cshm_region *region, void *context)
{
    struct scene *scene = context;
    cshm_barrier *barrier = NULL;
    CHECK_EQ(cshm_barrier_open(region, scene->offset, &barrier), 0);
    for (;;) {
        int status = cshm_barrier_wait_until(barrier, NULL, NULL, INT64_MAX, NULL);
        CHECK(status == 0 || status == -ECANCELED);
        atomic_fetch_add(&scene->count[status == 0], 1);
        if (status != 0) {
            CHECK(cshm_barrier_repair(barrier) >= 0);
        }
    }
}

/* Whoever is killed wherever, the others go on: broken, then reset by one of them. */
static void killed_at_random(void)
{
    struct scene scene = make_scene(3);
    uint64_t random = make_seed();
    pid_t children[3];
    for (int i = 0; i < 3; i++) {
        children[i] = spawn(scene.region, pass_for_ever, &scene);
    }
    uint32_t seen = 0;
    for (uint32_t round = 0; round < 60; round++) {
        usleep((useconds_t)(next_random(&random) % 4000));
        uint32_t victim = (uint32_t)(next_random(&random) % 3);
        bool goes_on = next_random(&random) % 2 == 0;
        if (next_random(&random) % 2 == 0) {
            stop_child(children[victim]);
            usleep((useconds_t)(next_random(&random) % 4000));
            kill(children[victim], goes_on ? SIGCONT : SIGSTOP);
        }
        if (!goes_on) {
            kill_child(children[victim]);
            children[victim] = spawn(scene.region, pass_for_ever, &scene);
        }
        wait_until_set(&scene.count[1], seen + 1);
        seen = atomic_load(&scene.count[1]);
        wait_until_set(&scene.count[1], seen + 1); /* one pass began after the kill */
    }
    fprintf(stderr, "%u passes, %u refusals\n", scene.count[1], scene.count[0]);
    for (int i = 0; i < 3; i++) {
        kill_child(children[i]);
    }
    CHECK_EQ(cshm_region_reap(scene.region) >= 0, 1);
    end_scene(&scene);
}

/* ---- why not glibc's ---- */

static void wait_at_glibc(cshm_region *region, void *context)
{
    (void)region;
    (void)pthread_barrier_wait(context);
}

/* Of three parties one is killed while it waits. The other two are too few: they are waiting still,
 * and glibc has nothing to tell them. */
static void of_glibc(void)
{
    cshm_region *region = make_region(1u << 20);
    pthread_barrier_t *barrier = shared_memory(4096);
    pthread_barrierattr_t attributes;
    pid_t children[4];
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    CHECK_EQ(pthread_barrier_init(barrier, &attributes, 3), 0);
    children[0] = spawn(region, wait_at_glibc, barrier);
    usleep(20000);
    kill_child(children[0]);
    /* The dead one counts: two let each other through, with a party missing. */
    children[1] = spawn(region, wait_at_glibc, barrier);
    children[2] = spawn(region, wait_at_glibc, barrier);
    expect_success(children[1]);
    expect_success(children[2]);
    /* And in the next phase, which the dead one does not come to, both wait for ever. */
    children[1] = spawn(region, wait_at_glibc, barrier);
    children[2] = spawn(region, wait_at_glibc, barrier);
    usleep(200000);
    for (int i = 1; i < 3; i++) {
        int status = 0;
        CHECK_EQ(waitpid(children[i], &status, WNOHANG), 0);
        kill_child(children[i]);
    }
    cshm_region_close(region);
}

const struct test barrier_tests[] = {
    {"of_one_never_waits", alone},
    {"lets_threads_go_on_together", threads},
    {"lets_processes_go_on_together", processes},
    {"runs_the_action_of_the_last_process_before_all_go_on", processes_with_action},
    {"that_is_aborted_refuses_until_it_is_reset", aborted},
    {"that_is_reset_refuses_who_waited", reset},
    {"is_broken_by_a_time_out", timed_out},
    {"is_broken_by_an_action_that_fails", failing_action},
    {"can_be_waited_at_in_halves", halves},
    {"is_broken_when_a_waiting_process_is_killed", killed_waiting},
    {"is_broken_when_an_absent_process_is_killed", killed_away},
    {"is_broken_when_an_acting_process_is_killed", killed_acting},
    {"is_left_by_a_process_that_closes_it", closed},
    {"outlives_parties_killed_at_random", killed_at_random},
    {"of_glibc_does_not_notice_a_killed_process", of_glibc},
    {NULL, NULL},
};
