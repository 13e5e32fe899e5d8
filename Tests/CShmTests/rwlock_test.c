/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/rwlock.h.
 */
#include "support.h"

#include <pthread.h>
#include <sched.h>

#include <cshm/rwlock.h>

extern const struct test rwlock_tests[];

struct scene {
    uint64_t offset;
    _Atomic uint32_t ready;
    _Atomic uint32_t stop;
    _Atomic uint64_t reads;
    _Atomic uint64_t writes;
    _Atomic uint64_t inherited;
    volatile uint64_t first; /* these two are equal, but while somebody writes */
    volatile uint64_t second;
};

static struct scene *make_scene(cshm_region *region, uint32_t readers)
{
    struct scene *scene = shared_memory(sizeof *scene);
    CHECK_EQ(cshm_rwlock_create(region, readers, &scene->offset), 0);
    CHECK_EQ(cshm_heap_share(region, scene->offset), 0);
    return scene;
}

static cshm_rwlock *open_lock(cshm_region *region, const struct scene *scene)
{
    cshm_rwlock *lock = NULL;
    CHECK_EQ(cshm_rwlock_open(region, scene->offset, &lock), 0);
    return lock;
}

static void expect(const cshm_rwlock *lock, int32_t writer, uint32_t readers, uint32_t waiting)
{
    struct cshm_rwlock_info info;
    cshm_rwlock_describe(lock, &info);
    CHECK_EQ(info.writer_pid, writer);
    CHECK_EQ(info.readers, readers);
    CHECK_EQ(info.waiting, waiting);
}

/* ---- in another thread ---- */

struct answers {
    cshm_rwlock *lock;
    int read;
    int write;
};

static void *try_both(void *context)
{
    struct answers *answers = context;
    uint32_t cell = 0;
    answers->read = cshm_rwlock_try_acquire_read(answers->lock, &cell);
    if (answers->read == 0) {
        CHECK_EQ(cshm_rwlock_release_read(answers->lock, cell), 0);
    }
    answers->write = cshm_rwlock_try_acquire_write(answers->lock);
    if (answers->write >= 0) {
        CHECK_EQ(cshm_rwlock_release_write(answers->lock), 0);
    }
    return NULL;
}

static void expect_another(cshm_rwlock *lock, int read, int write)
{
    struct answers answers = {.lock = lock};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, try_both, &answers), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(answers.read, read);
    CHECK_EQ(answers.write, write);
}

static void basics(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_rwlock *lock = open_lock(region, make_scene(region, 4));
    uint32_t cell[4] = {0};
    expect(lock, 0, 0, 0);
    CHECK_EQ(cshm_rwlock_try_acquire_read(lock, &cell[0]), 0);
    CHECK_EQ(cshm_rwlock_acquire_read_until(lock, INT64_MAX, &cell[1]), 0);
    expect(lock, 0, 2, 0);
    CHECK_EQ(cshm_rwlock_try_acquire_write(lock), -EDEADLK);
    CHECK_EQ(cshm_rwlock_acquire_write_until(lock, INT64_MAX), -EDEADLK);
    expect_another(lock, 0, -EAGAIN);
    expect(lock, 0, 2, 0);
    CHECK_EQ(cshm_rwlock_release_read(lock, cell[0]), 0);
    CHECK_EQ(cshm_rwlock_release_read(lock, cell[0]), -EPERM);
    CHECK_EQ(cshm_rwlock_release_read(lock, 4), -EPERM);
    CHECK_EQ(cshm_rwlock_release_read(lock, cell[1]), 0);
    expect_another(lock, 0, 0);

    CHECK_EQ(cshm_rwlock_release_write(lock), -EPERM);
    CHECK_EQ(cshm_rwlock_try_acquire_write(lock), 0);
    expect(lock, getpid(), 0, 0);
    CHECK_EQ(cshm_rwlock_try_acquire_read(lock, &cell[0]), -EDEADLK);
    CHECK_EQ(cshm_rwlock_acquire_read_until(lock, INT64_MAX, &cell[0]), -EDEADLK);
    CHECK_EQ(cshm_rwlock_try_acquire_write(lock), -EDEADLK);
    CHECK_EQ(cshm_rwlock_repair(lock), -EINVAL);
    expect_another(lock, -EAGAIN, -EAGAIN);
    expect(lock, getpid(), 0, 0);
    CHECK_EQ(cshm_rwlock_downgrade(lock, &cell[0]), 0);
    expect(lock, 0, 1, 0);
    expect_another(lock, 0, -EAGAIN);
    CHECK_EQ(cshm_rwlock_downgrade(lock, &cell[0]), -EPERM);
    CHECK_EQ(cshm_rwlock_repair(lock), -EPERM);
    CHECK_EQ(cshm_rwlock_release_read(lock, cell[0]), 0);
    CHECK_EQ(cshm_rwlock_acquire_write_until(lock, INT64_MAX), 0);
    CHECK_EQ(cshm_rwlock_release_write(lock), 0);
    expect(lock, 0, 0, 0);
    cshm_rwlock_destroy(lock);
    CHECK_EQ(blocks_in_use(region), 0);
}

static void cells(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_rwlock *lock = open_lock(region, make_scene(region, 2));
    uint32_t cell[3] = {0};
    CHECK_EQ(cshm_rwlock_try_acquire_read(lock, &cell[0]), 0);
    CHECK_EQ(cshm_rwlock_try_acquire_read(lock, &cell[1]), 0);
    CHECK_EQ(cshm_rwlock_try_acquire_read(lock, &cell[2]), -EAGAIN);
    int64_t deadline = after(30 * MILLISECOND);
    CHECK_EQ(cshm_rwlock_acquire_read_until(lock, deadline, &cell[2]), -ETIMEDOUT);
    CHECK(cshm_now_ns() >= deadline);
    CHECK_EQ(cshm_rwlock_release_read(lock, cell[0]), 0);
    CHECK_EQ(cshm_rwlock_acquire_read_until(lock, INT64_MAX, &cell[2]), 0);
    CHECK_EQ(cshm_rwlock_release_read(lock, cell[1]), 0);
    CHECK_EQ(cshm_rwlock_release_read(lock, cell[2]), 0);
    /* Without a cell a writer cannot become a reader, and stays one. */
    uint64_t offset = 0;
    CHECK_EQ(cshm_rwlock_create(region, 0, &offset), -EINVAL);
    CHECK_EQ(cshm_rwlock_create(region, CSHM_RWLOCK_READERS_MAX + 1, &offset), -EINVAL);
    CHECK_EQ(cshm_rwlock_open(region, 4096, &lock), -EPROTO);
    cshm_rwlock_close(lock);
}

/* ---- who waits ---- */

struct waiter {
    cshm_rwlock *lock;
    int64_t deadline;
    int status;
    uint32_t cell;
};

static void *wait_to_write(void *context)
{
    struct waiter *waiter = context;
    waiter->status = cshm_rwlock_acquire_write_until(waiter->lock, waiter->deadline);
    if (waiter->status == 0) {
        CHECK_EQ(cshm_rwlock_release_write(waiter->lock), 0);
    }
    return NULL;
}

static void *wait_to_read(void *context)
{
    struct waiter *waiter = context;
    waiter->status = cshm_rwlock_acquire_read_until(waiter->lock, waiter->deadline, &waiter->cell);
    if (waiter->status == 0) {
        CHECK_EQ(cshm_rwlock_release_read(waiter->lock, waiter->cell), 0);
    }
    return NULL;
}

static void wait_for(const cshm_rwlock *lock, int32_t writer, uint32_t readers, uint32_t waiting)
{
    struct cshm_rwlock_info info;
    int64_t end = after(20 * SECOND);
    do {
        CHECK(cshm_now_ns() < end);
        usleep(100);
        cshm_rwlock_describe(lock, &info);
    } while (info.writer_pid != writer || info.readers != readers || info.waiting != waiting);
}

/* While a writer waits for a reader, others come to read, and wait; the reader may read again. */
static void order(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_rwlock *lock = open_lock(region, make_scene(region, 8));
    struct waiter writer = {.lock = lock, .deadline = INT64_MAX};
    struct waiter reader = {.lock = lock, .deadline = INT64_MAX};
    uint32_t mine = 0;
    uint32_t again = 0;
    pthread_t threads[2];
    CHECK_EQ(cshm_rwlock_try_acquire_read(lock, &mine), 0);
    CHECK_EQ(pthread_create(&threads[0], NULL, wait_to_write, &writer), 0);
    wait_for(lock, getpid(), 1, 0);
    /* The writer has the mutex; whether it has said that it wants the lock shows in a reader. */
    CHECK_EQ(pthread_create(&threads[1], NULL, wait_to_read, &reader), 0);
    expect_another(lock, -EAGAIN, -EAGAIN);
    wait_for(lock, getpid(), 1, 1);
    CHECK_EQ(cshm_rwlock_try_acquire_read(lock, &again), 0);
    CHECK_EQ(cshm_rwlock_release_read(lock, again), 0);
    CHECK_EQ(cshm_rwlock_acquire_write_until(lock, INT64_MAX),
             -EDEADLK); /* that writer waits for us */
    CHECK_EQ(cshm_rwlock_release_read(lock, mine), 0);
    CHECK_EQ(pthread_join(threads[0], NULL), 0);
    CHECK_EQ(pthread_join(threads[1], NULL), 0);
    CHECK_EQ(writer.status, 0);
    CHECK_EQ(reader.status, 0);
    expect(lock, 0, 0, 0);
    cshm_rwlock_close(lock);
}

/* A writer that leaves hands over to those who wait, before another may write. */
static void hand_over(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_rwlock *lock = open_lock(region, make_scene(region, 8));
    struct waiter reader = {.lock = lock, .deadline = INT64_MAX};
    pthread_t thread;
    for (int round = 0; round < 200; round++) {
        CHECK_EQ(cshm_rwlock_acquire_write_until(lock, INT64_MAX), 0);
        CHECK_EQ(pthread_create(&thread, NULL, wait_to_read, &reader), 0);
        wait_for(lock, getpid(), 0, 1);
        CHECK_EQ(cshm_rwlock_release_write(lock), 0);
        int status = cshm_rwlock_try_acquire_write(lock);
        /* Either the reader has it still, or has had it. */
        if (status == 0) {
            CHECK_EQ(cshm_rwlock_release_write(lock), 0);
        } else {
            CHECK_EQ(status, -EAGAIN);
        }
        CHECK_EQ(pthread_join(thread, NULL), 0);
        CHECK_EQ(reader.status, 0);
    }
    cshm_rwlock_close(lock);
}

static void time_outs(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_rwlock *lock = open_lock(region, make_scene(region, 8));
    struct waiter waiter = {.lock = lock, .deadline = after(30 * MILLISECOND)};
    struct cshm_waitable readable;
    uint32_t cell = 0;
    pthread_t thread;
    cshm_rwlock_readable(lock, &readable);
    CHECK_EQ(cshm_wait_any(&readable, 1, 0), 0);
    CHECK_EQ(cshm_rwlock_try_acquire_write(lock), 0);
    CHECK_EQ(pthread_create(&thread, NULL, wait_to_read, &waiter), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(waiter.status, -ETIMEDOUT);
    CHECK(cshm_now_ns() >= waiter.deadline);
    CHECK_EQ(cshm_rwlock_release_write(lock), 0);
    expect(lock, 0, 0, 0);
    CHECK_EQ(cshm_rwlock_try_acquire_read(lock, &cell), 0);
    waiter.deadline = after(30 * MILLISECOND);
    CHECK_EQ(pthread_create(&thread, NULL, wait_to_write, &waiter), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(waiter.status, -ETIMEDOUT);
    CHECK(cshm_now_ns() >= waiter.deadline);
    expect_another(lock, 0, -EAGAIN); /* it wants nothing any more */
    CHECK_EQ(cshm_rwlock_release_read(lock, cell), 0);
    cshm_rwlock_close(lock);
}

/* ---- exclusion ---- */

enum { ROUNDS = 3000 };

static void use(cshm_rwlock *lock, struct scene *scene, bool may_write)
{
    uint32_t cell = 0;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        if (may_write && i % 4 == 0) {
            CHECK_EQ(cshm_rwlock_acquire_write_until(lock, after(20 * SECOND)), 0);
            scene->first++;
            scene->second++;
            atomic_fetch_add(&scene->writes, 1);
            int status = i % 8 == 0 ? cshm_rwlock_downgrade(lock, &cell) : -EUSERS;
            if (status == 0) {
                CHECK_EQ(scene->first, scene->second);
                CHECK_EQ(cshm_rwlock_release_read(lock, cell), 0);
            } else { /* those who wait to read may have every cell */
                CHECK_EQ(status, -EUSERS);
                CHECK_EQ(cshm_rwlock_release_write(lock), 0);
            }
        } else {
            CHECK_EQ(cshm_rwlock_acquire_read_until(lock, after(20 * SECOND), &cell), 0);
            CHECK_EQ(scene->first, scene->second);
            if (i % 32 == 1) {
                sched_yield();
            }
            CHECK_EQ(scene->first, scene->second);
            CHECK_EQ(cshm_rwlock_release_read(lock, cell), 0);
        }
    }
}

struct job {
    cshm_rwlock *lock;
    struct scene *scene;
};

static void *use_in_a_thread(void *context)
{
    const struct job *job = context;
    use(job->lock, job->scene, true);
    return NULL;
}

static void threads(void)
{
    enum { THREADS = 4 };
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(region, 3); /* fewer than threads */
    struct job job = {open_lock(region, scene), scene};
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_create(&thread[i], NULL, use_in_a_thread, &job), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_join(thread[i], NULL), 0);
    }
    CHECK_EQ(scene->first, atomic_load(&scene->writes));
    cshm_rwlock_close(job.lock);
}

static void use_in_a_process(cshm_region *region, void *context)
{
    use(open_lock(region, context), context, true);
}

static void processes(void)
{
    enum { PROCESSES = 5 };
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(region, 8);
    pid_t child[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        child[i] = spawn(region, use_in_a_process, scene);
    }
    for (int i = 0; i < PROCESSES; i++) {
        expect_success(child[i]);
    }
    CHECK_EQ(scene->first, atomic_load(&scene->writes));
    cshm_rwlock *lock = open_lock(region, scene);
    expect(lock, 0, 0, 0);
    cshm_rwlock_close(lock);
}

/* ---- deaths ---- */

static void hold_reading(cshm_region *region, void *context)
{
    struct scene *scene = context;
    uint32_t cell = 0;
    CHECK_EQ(cshm_rwlock_try_acquire_read(open_lock(region, scene), &cell), 0);
    atomic_store(&scene->ready, 1);
    for (;;) {
        pause();
    }
}

static void hold_writing(cshm_region *region, void *context)
{
    struct scene *scene = context;
    CHECK(cshm_rwlock_acquire_write_until(open_lock(region, scene), INT64_MAX) >= 0);
    atomic_store(&scene->ready, 1);
    for (;;) {
        pause();
    }
}

static pid_t start(cshm_region *region, struct scene *scene, void (*body)(cshm_region *, void *))
{
    atomic_store(&scene->ready, 0);
    pid_t child = spawn(region, body, scene);
    wait_until_set(&scene->ready, 1);
    return child;
}

static void killed_reader(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(region, 2);
    cshm_rwlock *lock = open_lock(region, scene);
    uint32_t cell = 0;
    pid_t reader = start(region, scene, hold_reading);
    CHECK_EQ(cshm_rwlock_try_acquire_write(lock), -EAGAIN);
    stop_child(reader); /* a stopped one is alive */
    CHECK_EQ(cshm_rwlock_acquire_write_until(lock, after(60 * MILLISECOND)), -ETIMEDOUT);
    kill_child(reader);
    CHECK_EQ(cshm_rwlock_acquire_write_until(lock, after(20 * SECOND)), 0);
    CHECK_EQ(cshm_rwlock_release_write(lock), 0);
    /* Cells of the dead serve readers, too. */
    kill_child(start(region, scene, hold_reading));
    kill_child(start(region, scene, hold_reading));
    CHECK_EQ(cshm_rwlock_try_acquire_read(lock, &cell), 0);
    CHECK_EQ(cshm_rwlock_release_read(lock, cell), 0);
    kill_child(start(region, scene, hold_reading));
    CHECK_EQ(cshm_rwlock_try_acquire_write(lock), 0);
    cshm_rwlock_close(lock);
}

static void killed_writer(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(region, 2);
    cshm_rwlock *lock = open_lock(region, scene);
    uint32_t cell = 0;
    kill_child(start(region, scene, hold_writing));
    CHECK_EQ(cshm_rwlock_try_acquire_read(lock, &cell), -EOWNERDEAD);
    CHECK_EQ(cshm_rwlock_acquire_read_until(lock, INT64_MAX, &cell), -EOWNERDEAD);
    CHECK_EQ(cshm_rwlock_try_acquire_write(lock), 1);
    CHECK_EQ(cshm_rwlock_downgrade(lock, &cell), -EINVAL);
    CHECK_EQ(cshm_rwlock_repair(lock), 0);
    CHECK_EQ(cshm_rwlock_release_write(lock), 0);
    CHECK_EQ(cshm_rwlock_try_acquire_read(lock, &cell), 0);
    CHECK_EQ(cshm_rwlock_release_read(lock, cell), 0);
    /* An inheritor that dies is inherited; released unrepaired, it is lost. */
    kill_child(start(region, scene, hold_writing));
    kill_child(start(region, scene, hold_writing));
    CHECK_EQ(cshm_rwlock_acquire_write_until(lock, INT64_MAX), 1);
    CHECK_EQ(cshm_rwlock_release_write(lock), 0);
    CHECK_EQ(cshm_rwlock_try_acquire_read(lock, &cell), -ENOTRECOVERABLE);
    CHECK_EQ(cshm_rwlock_acquire_write_until(lock, INT64_MAX), -ENOTRECOVERABLE);
    cshm_rwlock_close(lock);
}

static void *end_writing(void *context)
{
    CHECK_EQ(cshm_rwlock_acquire_write_until(context, INT64_MAX), 0);
    return NULL;
}

static void ended_writer(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_rwlock *lock = open_lock(region, make_scene(region, 2));
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, end_writing, lock), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    expect_another(lock, -EOWNERDEAD, 1); /* which does not repair */
    expect_another(lock, -ENOTRECOVERABLE, -ENOTRECOVERABLE);
    cshm_rwlock_close(lock);

    lock = open_lock(region, make_scene(region, 2));
    CHECK_EQ(pthread_create(&thread, NULL, end_writing, lock), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(cshm_rwlock_acquire_write_until(lock, after(20 * SECOND)), 1);
    CHECK_EQ(cshm_rwlock_repair(lock), 0);
    CHECK_EQ(cshm_rwlock_release_write(lock), 0);
    expect_another(lock, 0, 0);
    cshm_rwlock_close(lock);
    cshm_region_close(region);
}

static void want_to_write(cshm_region *region, void *context)
{
    struct scene *scene = context;
    cshm_rwlock *lock = open_lock(region, scene);
    atomic_store(&scene->ready, 1);
    (void)!cshm_rwlock_acquire_write_until(lock, INT64_MAX);
    cshm_rwlock_close(lock);
}

/* It wrote nothing, so nobody inherits; and readers are not held up by what it said. */
static void killed_waiting_writer(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(region, 4);
    cshm_rwlock *lock = open_lock(region, scene);
    struct waiter reader = {.lock = lock, .deadline = after(20 * SECOND)};
    pthread_t thread;
    uint32_t cell = 0;
    CHECK_EQ(cshm_rwlock_try_acquire_read(lock, &cell), 0);
    pid_t writer = start(region, scene, want_to_write);
    wait_for(lock, writer, 1, 0);
    CHECK_EQ(pthread_create(&thread, NULL, wait_to_read, &reader), 0);
    kill_child(writer);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(reader.status, 0);
    CHECK_EQ(cshm_rwlock_release_read(lock, cell), 0);
    CHECK_EQ(cshm_rwlock_try_acquire_write(lock), 0);
    CHECK_EQ(cshm_rwlock_release_write(lock), 0);
    cshm_rwlock_close(lock);
}

static int acquire_write_without_blocking(cshm_rwlock *lock, int64_t deadline)
{
    struct cshm_waitable writable[2];
    cshm_rwlock_writable(lock, writable);
    int status = cshm_rwlock_try_acquire_write(lock);
    while (status == -EAGAIN && cshm_wait_any(writable, 2, deadline) >= 0) {
        status = cshm_rwlock_try_acquire_write_woken(lock);
    }
    return status;
}

/* ---- announced ---- */

static void wait_for_announcement(cshm_rwlock *lock)
{
    struct answers answers = {.lock = lock};
    int64_t end = after(20 * SECOND);
    do {
        CHECK(cshm_now_ns() < end);
        pthread_t thread;
        CHECK_EQ(pthread_create(&thread, NULL, try_both, &answers), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    } while (answers.read != -EAGAIN);
}

static void wait_until_writable(cshm_region *region, void *context)
{
    struct scene *scene = context;
    cshm_rwlock *lock = open_lock(region, scene);
    struct cshm_waitable writable[2];
    cshm_rwlock_writable(lock, writable);
    atomic_store(&scene->ready, 1);
    (void)!cshm_wait_any(writable, 2, after(60 * SECOND));
    pause();
    cshm_rwlock_close(lock);
}

static void withdrawn(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_rwlock *lock = open_lock(region, make_scene(region, 8));
    struct waiter reader = {.lock = lock, .deadline = after(20 * SECOND)};
    struct cshm_waitable writable[2];
    uint32_t mine = 0;
    pthread_t thread;
    cshm_rwlock_withdraw_write(lock);
    CHECK_EQ(cshm_rwlock_try_acquire_read(lock, &mine), 0);
    cshm_rwlock_writable(lock, writable);
    CHECK_EQ(cshm_wait_any(writable, 2, after(MILLISECOND)), -ETIMEDOUT);
    expect_another(lock, -EAGAIN, -EAGAIN);
    CHECK_EQ(pthread_create(&thread, NULL, wait_to_read, &reader), 0);
    wait_for(lock, 0, 1, 1);
    cshm_rwlock_withdraw_write(lock);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(reader.status, 0);
    expect_another(lock, 0, -EAGAIN);
    CHECK_EQ(cshm_rwlock_release_read(lock, mine), 0);
    expect_another(lock, 0, 0);
    cshm_rwlock_close(lock);
}

/* An announcer that is killed, or stopped while the lock is free, holds nobody up. */
static void lost_announcer(int signal)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(region, 4);
    cshm_rwlock *lock = open_lock(region, scene);
    struct waiter reader = {.lock = lock, .deadline = after(20 * SECOND)};
    pthread_t thread;
    uint32_t cell = 0;
    CHECK_EQ(cshm_rwlock_try_acquire_read(lock, &cell), 0);
    pid_t announcer = start(region, scene, wait_until_writable);
    wait_for_announcement(lock);
    CHECK_EQ(pthread_create(&thread, NULL, wait_to_read, &reader), 0);
    CHECK_EQ(kill(announcer, signal), 0);
    if (signal == SIGSTOP) {
        CHECK_EQ(cshm_rwlock_release_read(lock, cell), 0);
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(reader.status, 0);
    if (signal != SIGSTOP) {
        CHECK_EQ(cshm_rwlock_release_read(lock, cell), 0);
        CHECK_EQ(waitpid(announcer, NULL, 0), announcer);
    } else { /* and once it runs again, it is waited for again */
        CHECK_EQ(cshm_rwlock_try_acquire_read(lock, &cell), 0);
        CHECK_EQ(kill(announcer, SIGCONT), 0);
        wait_for_announcement(lock);
        CHECK_EQ(cshm_rwlock_release_read(lock, cell), 0);
        kill_child(announcer);
    }
    expect_another(lock, 0, 0);
    cshm_rwlock_close(lock);
}

static void killed_announcer(void)
{
    lost_announcer(SIGKILL);
}

static void stopped_announcer(void)
{
    lost_announcer(SIGSTOP);
}

/* Two that read by turns, so that one always does, unless the other has to wait. */
struct relay {
    cshm_rwlock *lock;
    _Atomic uint32_t holds[2];
    _Atomic uint32_t turn;
    _Atomic uint32_t stop;
};

struct runner {
    struct relay *relay;
    uint32_t self;
};

static bool somebody_waits(const cshm_rwlock *lock)
{
    struct cshm_rwlock_info info;
    cshm_rwlock_describe(lock, &info);
    return info.waiting > 0;
}

static void *run_relay(void *context)
{
    const struct runner *runner = context;
    struct relay *relay = runner->relay;
    uint32_t self = runner->self;
    while (!atomic_load(&relay->stop)) {
        uint32_t cell = 0;
        CHECK_EQ(cshm_rwlock_acquire_read_until(relay->lock, after(20 * SECOND), &cell), 0);
        atomic_store(&relay->holds[self], 1);
        while (!atomic_load(&relay->stop) &&
               (atomic_load(&relay->turn) != self ||
                (!atomic_load(&relay->holds[1 - self]) && !somebody_waits(relay->lock)))) {
            sched_yield();
        }
        atomic_store(&relay->holds[self], 0);
        atomic_store(&relay->turn, 1 - self);
        CHECK_EQ(cshm_rwlock_release_read(relay->lock, cell), 0);
    }
    return NULL;
}

/* Who waits to write without the mutex is not overtaken by readers without end. */
static void announced(void)
{
    cshm_region *region = make_region(1u << 20);
    struct relay relay = {.lock = open_lock(region, make_scene(region, 8))};
    struct runner runners[2] = {{&relay, 0}, {&relay, 1}};
    pthread_t threads[2];
    for (uint32_t i = 0; i < 2; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, run_relay, &runners[i]), 0);
    }
    while (!atomic_load(&relay.holds[0]) && !atomic_load(&relay.holds[1])) {
        sched_yield();
    }
    for (uint32_t n = 0; n < 50; n++) {
        CHECK_EQ(acquire_write_without_blocking(relay.lock, after(20 * SECOND)), 0);
        CHECK_EQ(cshm_rwlock_release_write(relay.lock), 0);
    }
    atomic_store(&relay.stop, 1);
    for (uint32_t i = 0; i < 2; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    expect(relay.lock, 0, 0, 0);
    cshm_rwlock_close(relay.lock);
}

static void write_one(cshm_rwlock *lock, struct scene *scene)
{
    static uint32_t turns;
    int64_t deadline = after(20 * SECOND);
    int status = turns++ % 2 == 0 ? cshm_rwlock_acquire_write_until(lock, deadline)
                                  : acquire_write_without_blocking(lock, deadline);
    CHECK(status == 0 || status == 1);
    if (status == 1) {
        scene->second = scene->first;
        atomic_fetch_add(&scene->inherited, 1);
        CHECK_EQ(cshm_rwlock_repair(lock), 0);
    }
    CHECK_EQ(scene->first, scene->second);
    scene->first++;
    scene->second++;
    CHECK_EQ(cshm_rwlock_release_write(lock), 0);
    atomic_fetch_add(&scene->writes, 1);
}

static void read_one(cshm_rwlock *lock, struct scene *scene)
{
    uint32_t cell = 0;
    int status = cshm_rwlock_acquire_read_until(lock, after(20 * SECOND), &cell);
    if (status == -EOWNERDEAD) {
        write_one(lock, scene);
        return;
    }
    CHECK_EQ(status, 0);
    CHECK_EQ(scene->first, scene->second);
    CHECK_EQ(cshm_rwlock_release_read(lock, cell), 0);
    atomic_fetch_add(&scene->reads, 1);
}

static void read_and_write(cshm_region *region, void *context)
{
    struct scene *scene = context;
    cshm_rwlock *lock = open_lock(region, scene);
    for (uint32_t i = 0; atomic_load(&scene->stop) == 0; i++) {
        if (i % 3 == 0) {
            write_one(lock, scene);
        } else {
            read_one(lock, scene);
        }
    }
    cshm_rwlock_close(lock);
}

static void killed_at_random(void)
{
    enum { WORKERS = 5 };
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(region, 6);
    uint64_t random = make_seed();
    pid_t child[WORKERS];
    uint64_t kills = 0;
    uint64_t seen = 0;
    for (int i = 0; i < WORKERS; i++) {
        child[i] = spawn(region, read_and_write, scene);
    }
    int64_t seen_at = cshm_now_ns();
    for (int64_t end = after(3 * SECOND); cshm_now_ns() < end; kills++) {
        uint64_t victim = next_random(&random) % WORKERS;
        usleep((useconds_t)(next_random(&random) % 1000));
        if (next_random(&random) % 4 == 0) {
            stop_child(child[victim]);
            usleep((useconds_t)(next_random(&random) % 1000));
        }
        kill_child(child[victim]);
        child[victim] = spawn(region, read_and_write, scene);
        uint64_t done = atomic_load(&scene->reads) + atomic_load(&scene->writes);
        seen_at = done != seen ? cshm_now_ns() : seen_at;
        seen = done;
        CHECK(cshm_now_ns() - seen_at < 3 * SECOND);
    }
    atomic_store(&scene->stop, 1);
    for (int i = 0; i < WORKERS; i++) {
        expect_success(child[i]);
    }
    fprintf(stderr, "%llu kills, %llu reads, %llu writes, %llu inherited\n",
            (unsigned long long)kills, (unsigned long long)atomic_load(&scene->reads),
            (unsigned long long)atomic_load(&scene->writes),
            (unsigned long long)atomic_load(&scene->inherited));
    CHECK(atomic_load(&scene->reads) > 0 && atomic_load(&scene->writes) > 0);
    cshm_rwlock *lock = open_lock(region, scene);
    CHECK(cshm_rwlock_acquire_write_until(lock, after(20 * SECOND)) >= 0);
    expect(lock, getpid(), 0, 0);
    cshm_rwlock_close(lock);
}

const struct test rwlock_tests[] = {
    {"is_read_by_many_or_written_by_one", basics},
    {"has_as_many_readers_as_cells", cells},
    {"makes_readers_wait_for_a_writer_that_waits", order},
    {"hands_over_to_readers_that_wait", hand_over},
    {"times_out_on_either_side", time_outs},
    {"excludes_threads", threads},
    {"excludes_processes", processes},
    {"comes_back_from_killed_readers", killed_reader},
    {"of_a_killed_writer_is_inherited_and_readers_are_told", killed_writer},
    {"of_a_thread_that_ended_writing_is_inherited_and_readers_are_told", ended_writer},
    {"of_a_writer_killed_waiting_is_not_inherited", killed_waiting_writer},
    {"is_not_read_without_end_by_others_than_who_waits_to_write", announced},
    {"is_read_again_when_the_announcer_withdraws", withdrawn},
    {"is_read_again_when_the_announcer_is_killed", killed_announcer},
    {"is_read_again_when_the_announcer_is_stopped_by_a_process", stopped_announcer},
    {"excludes_processes_that_are_killed_at_random", killed_at_random},
    {NULL, NULL},
};
