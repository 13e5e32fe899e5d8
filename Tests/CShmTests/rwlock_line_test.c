/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of how writers of a reader-writer lock wait: in line, and without holding a thread.
 */
#include "support.h"

#include <pthread.h>
#include <sys/syscall.h>

#include <cshm/rwlock.h>

#include "layout.h"

extern const struct test rwlock_line_tests[];

enum { READERS = 4 };

struct scene {
    uint64_t offset;
    _Atomic uint32_t writes;
};

static struct scene *make_scene(cshm_region *region)
{
    struct scene *scene = shared_memory(sizeof *scene);
    CHECK_EQ(cshm_rwlock_create(region, READERS, &scene->offset), 0);
    CHECK_EQ(cshm_heap_share(region, scene->offset), 0);
    return scene;
}

static cshm_rwlock *open_lock(cshm_region *region, const struct scene *scene)
{
    cshm_rwlock *lock = NULL;
    CHECK_EQ(cshm_rwlock_open(region, scene->offset, &lock), 0);
    return lock;
}

static void wait_for_line(const cshm_rwlock *lock, uint32_t length)
{
    struct cshm_rwlock_info info;
    int64_t end = after(20 * SECOND);
    do {
        CHECK(cshm_now_ns() < end);
        usleep(100);
        cshm_rwlock_describe(lock, &info);
    } while (info.writers_waiting != length);
}

struct order {
    cshm_rwlock *lock;
    _Atomic uint32_t writes;
    uint32_t place; /* among those who wrote */
};

static void *write_in_order(void *context)
{
    struct order *order = context;
    CHECK_EQ(cshm_rwlock_acquire_write_until(order->lock, INT64_MAX), 0);
    order->place = atomic_fetch_add(&order->writes, 1);
    CHECK_EQ(cshm_rwlock_release_write(order->lock), 0);
    return NULL;
}

/* One that is overdue is there before one that releases and comes again at once: but if it does not
 * run for a while, as it may happen on a busy machine. */
static void overdue(void)
{
    enum { TURNS = 20 };
    cshm_region *region = make_region(1u << 20);
    cshm_rwlock *lock = open_lock(region, make_scene(region));
    uint32_t first = 0;
    for (uint32_t i = 0; i < TURNS; i++) {
        struct order order = {.lock = lock};
        pthread_t thread;
        CHECK_EQ(cshm_rwlock_acquire_write_until(lock, INT64_MAX), 0);
        CHECK_EQ(pthread_create(&thread, NULL, write_in_order, &order), 0);
        wait_for_line(lock, 1);
        for (int64_t end = after(20 * MILLISECOND); cshm_now_ns() < end;) {
            usleep(1000);
        }
        CHECK_EQ(cshm_rwlock_release_write(lock), 0);
        CHECK_EQ(cshm_rwlock_acquire_write_until(lock, INT64_MAX), 0);
        first += atomic_fetch_add(&order.writes, 1) == 1;
        CHECK_EQ(cshm_rwlock_release_write(lock), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
    CHECK(first > TURNS / 2);
    wait_for_line(lock, 0);
    cshm_rwlock_close(lock);
}

static void write_once(cshm_region *region, void *context)
{
    struct scene *scene = context;
    cshm_rwlock *lock = open_lock(region, scene);
    CHECK_EQ(cshm_rwlock_acquire_write_until(lock, INT64_MAX), 0);
    atomic_fetch_add(&scene->writes, 1);
    CHECK_EQ(cshm_rwlock_release_write(lock), 0);
    cshm_rwlock_close(lock);
}

static void stopped_or_killed_in_line(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(region);
    cshm_rwlock *lock = open_lock(region, scene);
    pid_t child[3];
    CHECK_EQ(cshm_rwlock_try_acquire_write(lock), 0);
    for (uint32_t i = 0; i < 3; i++) {
        child[i] = spawn(region, write_once, scene);
        wait_for_line(lock, i + 1);
    }
    stop_child(child[0]);
    kill_child(child[1]);
    CHECK_EQ(cshm_rwlock_release_write(lock), 0);
    expect_success(child[2]);
    /* Once it was passed over, it is in nobody's way. */
    CHECK_EQ(cshm_rwlock_acquire_write_until(lock, after(20 * SECOND)), 0);
    CHECK_EQ(cshm_rwlock_release_write(lock), 0);
    CHECK_EQ(atomic_load(&scene->writes), 1);
    kill(child[0], SIGCONT);
    expect_success(child[0]);
    CHECK_EQ(atomic_load(&scene->writes), 2);
    cshm_rwlock_close(lock);
}

/* ---- who does not hold a thread ---- */

struct sleeper {
    cshm_rwlock *lock;
    pthread_mutex_t *mutex; /* the writers' */
    _Atomic pid_t thread;
    _Atomic bool is_over;
};

/* In a futex call, says the kernel. */
static void wait_until_asleep(const struct sleeper *sleeper)
{
    char path[64];
    char text[32] = "";
    int64_t end = after(20 * SECOND);
    while (atomic_load(&sleeper->thread) == 0) {
        usleep(100);
    }
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", atomic_load(&sleeper->thread));
    do {
        CHECK(cshm_now_ns() < end);
        usleep(1000);
        FILE *file = fopen(path, "r");
        CHECK(file != NULL && fgets(text, sizeof text, file) != NULL);
        fclose(file);
    } while (atol(text) != SYS_futex && atol(text) != SYS_futex_waitv);
}

static void *sleep_until_writable(void *context)
{
    struct sleeper *sleeper = context;
    struct cshm_waitable writable[2];
    cshm_rwlock_writable(sleeper->lock, writable);
    atomic_store(&sleeper->thread, gettid());
    CHECK(cshm_wait_any(writable, 2, after(20 * SECOND)) >= 0);
    return NULL;
}

/* As a waiter of the mutex's does it, but without slices, whose ends make a lost wake good. */
static void *wait_for_the_mutex(void *context)
{
    struct sleeper *sleeper = context;
    atomic_store(&sleeper->thread, gettid());
    CHECK_EQ(pthread_mutex_lock(sleeper->mutex), 0);
    CHECK_EQ(pthread_mutex_unlock(sleeper->mutex), 0);
    return NULL;
}

static void *read_until_told(void *context)
{
    struct sleeper *sleeper = context;
    uint32_t cell = 0;
    CHECK_EQ(cshm_rwlock_acquire_read_until(sleeper->lock, INT64_MAX, &cell), 0);
    while (!atomic_load(&sleeper->is_over)) {
        usleep(100);
    }
    CHECK_EQ(cshm_rwlock_release_read(sleeper->lock, cell), 0);
    return NULL;
}

/* A release hands the lock to a reader and wakes one who waits for the mutex: the writer without a
 * thread, which has no use for it while that reader reads. Unless it lay down anew meanwhile, as it does
 * every 25 ms: so on a busy machine some rounds show nothing. */
static void spend_wake(void)
{
    cshm_region *region = make_region(1u << 20);
    struct scene *scene = make_scene(region);
    struct cshm_rwlock_shared *shared = cshm_heap_pointer(region, scene->offset, sizeof *shared);
    pthread_mutex_t *mutex = (pthread_mutex_t *)(void *)&shared->writer;
    cshm_rwlock *lock = open_lock(region, scene);
    struct sleeper writer = {.lock = lock};
    struct sleeper waiter = {.mutex = mutex};
    struct sleeper reader = {.lock = lock};
    struct cshm_rwlock_info info = {0};
    pthread_t threads[3];
    CHECK_EQ(cshm_rwlock_try_acquire_write(lock), 0);
    CHECK_EQ(pthread_create(&threads[2], NULL, read_until_told, &reader), 0);
    while (info.waiting == 0) {
        usleep(100);
        cshm_rwlock_describe(lock, &info);
    }
    CHECK_EQ(pthread_create(&threads[0], NULL, sleep_until_writable, &writer), 0);
    wait_until_asleep(&writer);
    CHECK_EQ(pthread_create(&threads[1], NULL, wait_for_the_mutex, &waiter), 0);
    wait_until_asleep(&waiter);
    CHECK_EQ(cshm_rwlock_release_write(lock), 0);
    CHECK_EQ(pthread_join(threads[1], NULL), 0); /* for ever, if the wake ends there */
    atomic_store(&reader.is_over, true);
    CHECK_EQ(pthread_join(threads[2], NULL), 0);
    CHECK_EQ(pthread_join(threads[0], NULL), 0);
    cshm_rwlock_destroy(lock);
    cshm_region_close(region);
    CHECK_EQ(munmap(scene, sizeof *scene), 0);
}

static void spent_wakes(void)
{
    enum { ROUNDS = 20 };
    for (uint32_t i = 0; i < ROUNDS; i++) {
        spend_wake();
    }
}

const struct test rwlock_line_tests[] = {
    {"lets_an_overdue_writer_go_before_one_that_comes_again", overdue},
    {"passes_over_writers_that_are_stopped_or_killed_in_it", stopped_or_killed_in_line},
    {"is_not_held_up_by_a_writer_without_a_thread", spent_wakes},
    {NULL, NULL},
};
