/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/mutex.h for the model. Memory order is glibc's: acquire and release by the mutex.
 * The kind is checked before glibc looks at the bytes, so that bytes that are no mutex are an
 * error; what glibc keeps inside is trusted.
 */
#include <cshm/mutex.h>

#include <errno.h>
#include <string.h>
#include <time.h>

#include "internal.h"

enum {
    MAGIC = 0x6d757478, /* "mutx" */
    SLICE_NS = 25000000,
};

static struct cshm_mutex_shared *shared_of(cshm_mutex *mutex)
{
    return (struct cshm_mutex_shared *)(void *)mutex;
}

void cshm_mutex_init(cshm_mutex *mutex)
{
    struct cshm_mutex_shared *shared = shared_of(mutex);
    pthread_mutexattr_t attributes;
    memset(shared, 0, sizeof *shared);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&shared->native, &attributes);
    pthread_mutexattr_destroy(&attributes);
    atomic_store_explicit(&shared->magic, MAGIC, memory_order_release);
}

/* Turns what pthread says into this library's words. */
static int acquired(struct cshm_mutex_shared *shared, int error)
{
    switch (error) {
    case 0:
    case EOWNERDEAD:
        /* relaxed: for people, see cshm_mutex_holder() */
        atomic_store_explicit(&shared->holder_pid, cshm__pid(), memory_order_relaxed);
        return error == 0 ? 0 : 1;
    case EBUSY:
        return -EAGAIN;
    default:
        return -error;
    }
}

static bool is_mutex(struct cshm_mutex_shared *shared)
{
    /* relaxed: it never changes once the mutex can be seen */
    return atomic_load_explicit(&shared->magic, memory_order_relaxed) == MAGIC;
}

static int lock_slice(pthread_mutex_t *native, const struct timespec *until)
{
#ifdef __SANITIZE_THREAD__
    /* GCC's ThreadSanitizer does not know clocklock, and would see an unlock without a lock. */
    int error = pthread_mutex_trylock(native);
    if (error == EBUSY) {
        clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = 100000}, NULL);
        int64_t end = (int64_t)until->tv_sec * 1000000000 + until->tv_nsec;
        error = cshm_now_ns() < end ? EBUSY : ETIMEDOUT;
    }
    return error;
#else
    return pthread_mutex_clocklock(native, CLOCK_MONOTONIC, until);
#endif
}

int cshm_mutex_try_acquire(cshm_mutex *mutex)
{
    struct cshm_mutex_shared *shared = shared_of(mutex);
    if (!is_mutex(shared)) {
        return -EPROTO;
    }
    /* Not trylock: where it answers ENOTRECOVERABLE, glibc's leaves the mutex locked for ever. */
    int error = lock_slice(&shared->native, &(struct timespec){0});
    return acquired(shared, error == ETIMEDOUT ? EBUSY : error);
}

int cshm_mutex_acquire_until(cshm_mutex *mutex, int64_t deadline_ns)
{
    struct cshm_mutex_shared *shared = shared_of(mutex);
    int64_t end;
    int error;
    if (!is_mutex(shared)) {
        return -EPROTO;
    }
    deadline_ns = deadline_ns < 0 ? 0 : deadline_ns;
    /* In slices: glibc loses a wake-up if the waiter it woke is killed after somebody else has
     * taken the mutex, whose word then no longer says that others sleep. */
    do {
        int64_t slice = cshm_now_ns() + SLICE_NS;
        end = deadline_ns < slice ? deadline_ns : slice;
        struct timespec until = {.tv_sec = end / 1000000000, .tv_nsec = end % 1000000000};
        error = lock_slice(&shared->native, &until);
    } while (error == EBUSY || (error == ETIMEDOUT && end < deadline_ns));
    return acquired(shared, error);
}

int cshm_mutex_repair(cshm_mutex *mutex)
{
    struct cshm_mutex_shared *shared = shared_of(mutex);
    return is_mutex(shared) ? -pthread_mutex_consistent(&shared->native) : -EPROTO;
}

int cshm_mutex_release(cshm_mutex *mutex)
{
    struct cshm_mutex_shared *shared = shared_of(mutex);
    if (!is_mutex(shared)) {
        return -EPROTO;
    }
    int32_t holder = atomic_load_explicit(&shared->holder_pid, memory_order_relaxed);
    /* Before the release: after it the next holder writes here. Put back if it was not ours. */
    if (holder == cshm__pid()) {
        atomic_store_explicit(&shared->holder_pid, 0, memory_order_relaxed);
    }
    int error = pthread_mutex_unlock(&shared->native);
    if (error != 0) {
        atomic_store_explicit(&shared->holder_pid, holder, memory_order_relaxed);
    }
    return -error;
}

int32_t cshm_mutex_holder(const cshm_mutex *mutex)
{
    const struct cshm_mutex_shared *shared = (const struct cshm_mutex_shared *)(const void *)mutex;
    return atomic_load_explicit(&shared->holder_pid, memory_order_relaxed);
}
