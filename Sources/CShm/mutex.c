/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/mutex.h for the model. Memory order is glibc's: acquire and release by the mutex; depth
 * and holder are the holder's and relaxed. The kind is checked before glibc looks at the bytes, so
 * that bytes that are no mutex are an error; what glibc keeps inside is trusted.
 *
 * A try is a clocklock whose time has passed long ago: glibc answers before it says in the word
 * that somebody waits, and makes no system call. trylock would do, but where it answers
 * ENOTRECOVERABLE, glibc's leaves the mutex locked for ever.
 *
 * The first word of the native mutex is the kernel's, too: the holder's thread and FUTEX_WAITERS, or
 * FUTEX_OWNER_DIED. Whoever waits there without blocking does what glibc does. Pair:
 *
 *   [call]  the waiter swaps FUTEX_WAITERS into a holder's word (seq_cst), and sleeps on the word that
 *           it made; glibc's release swaps 0 for the word, and wakes one if the bit was there, as does
 *           the kernel at the holder's death. The bit goes with the release, so the one that was
 *           woken puts it back into whatever is there then: others may sleep
 */
#include <cshm/mutex.h>

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "internal.h"

enum {
    MAGIC = 0x6d757478,           /* "mutx" */
    MAGIC_RECURSIVE = 0x6d757472, /* "mutr" */
    SLICE_NS = 25000000,
    /* What glibc writes for the owner of one that was released without a repair. */
    NOT_RECOVERABLE = INT_MAX - 1,
    /* And for that of one that was inherited and is not repaired yet. */
    INCONSISTENT = INT_MAX,
    /* Who cannot have it gives the CPU away so often before it sleeps; see ARCHITECTURE.md. */
    YIELDS = 4,
};

static struct cshm_mutex_shared *shared_of(cshm_mutex *mutex)
{
    return (struct cshm_mutex_shared *)(void *)mutex;
}

static void init(struct cshm_mutex_shared *shared, uint32_t magic)
{
    pthread_mutexattr_t attributes;
    memset(shared, 0, sizeof *shared);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&shared->native, &attributes);
    pthread_mutexattr_destroy(&attributes);
    atomic_store_explicit(&shared->magic, magic, memory_order_release);
}

void cshm_mutex_init(cshm_mutex *mutex)
{
    init(shared_of(mutex), MAGIC);
}

void cshm_mutex_init_recursive(cshm_mutex *mutex)
{
    init(shared_of(mutex), MAGIC_RECURSIVE);
}

static uint32_t magic_of(const struct cshm_mutex_shared *shared)
{
    /* relaxed: it never changes once the mutex can be seen */
    return atomic_load_explicit(&shared->magic, memory_order_relaxed);
}

static bool is_mutex(uint32_t magic)
{
    return magic == MAGIC || magic == MAGIC_RECURSIVE;
}

/* ---- acquiring ---- */

/* Until a time: 0, EOWNERDEAD, ETIMEDOUT, EDEADLK, ENOTRECOVERABLE. */
static inline int lock_until(pthread_mutex_t *native, int64_t end)
{
    struct timespec until = {.tv_sec = end / 1000000000, .tv_nsec = end % 1000000000};
#ifdef __SANITIZE_THREAD__
    /* GCC's ThreadSanitizer does not know clocklock, and would see an unlock without a lock. */
    int error;
    while ((error = pthread_mutex_trylock(native)) == EBUSY && cshm_now_ns() < end) {
        clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = 100000}, NULL);
    }
    (void)until;
    return error == EBUSY ? ETIMEDOUT : error;
#else
    return pthread_mutex_clocklock(native, CLOCK_MONOTONIC, &until);
#endif
}

static inline int try_lock(pthread_mutex_t *native)
{
    static const int64_t LONG_AGO = -1000000000;
    return lock_until(native, LONG_AGO);
}

/* In slices: glibc loses a wake-up if the waiter it woke is killed after somebody else has taken
 * the mutex, whose word then no longer says that others sleep. */
static __attribute__((noinline)) int wait_for(pthread_mutex_t *native, int64_t deadline_ns)
{
    int error = ETIMEDOUT;
    for (int i = 0; i < YIELDS && error == ETIMEDOUT; i++) {
        sched_yield();
        error = try_lock(native);
    }
    while (error == ETIMEDOUT) {
        int64_t now = cshm_now_ns();
        if (now >= deadline_ns) {
            break;
        }
        error = lock_until(native, deadline_ns - now > SLICE_NS ? now + SLICE_NS : deadline_ns);
    }
    return error;
}

/* This thread holds it already. */
static int acquire_again(struct cshm_mutex_shared *shared, uint32_t magic)
{
    uint32_t depth = atomic_load_explicit(&shared->depth, memory_order_relaxed);
    if (magic != MAGIC_RECURSIVE) {
        return -EDEADLK;
    }
    if (depth >= UINT32_MAX - 1) {
        return -EOVERFLOW;
    }
    atomic_store_explicit(&shared->depth, depth + 1, memory_order_relaxed);
    return 0;
}

static inline void note_holder(struct cshm_mutex_shared *shared)
{
    /* What the dead had of it went with its thread; and damage must not outlive this holder. */
    if (atomic_load_explicit(&shared->depth, memory_order_relaxed) != 0) {
        atomic_store_explicit(&shared->depth, 0, memory_order_relaxed);
    }
    atomic_store_explicit(&shared->holder, cshm__thread(), memory_order_relaxed);
}

/* Turns what pthread says, if not 0, into this library's words. */
static __attribute__((noinline)) int explain(struct cshm_mutex_shared *shared, uint32_t magic,
                                             int error)
{
    switch (error) {
    case EOWNERDEAD:
        note_holder(shared);
        atomic_store_explicit(&shared->since, 0, memory_order_relaxed); /* the dead one's */
        return 1;
    case EDEADLK:
        return acquire_again(shared, magic);
    default:
        return -error;
    }
}

static inline int try_acquire(struct cshm_mutex_shared *shared, uint32_t magic)
{
    int error = try_lock(&shared->native);
    if (error == 0) {
        note_holder(shared);
        return 0;
    }
    return error == ETIMEDOUT ? -EAGAIN : explain(shared, magic, error);
}

static inline int acquire_until(struct cshm_mutex_shared *shared, uint32_t magic,
                                int64_t deadline_ns)
{
    int error = try_lock(&shared->native);
    if (__builtin_expect(error == ETIMEDOUT, 0)) {
        error = wait_for(&shared->native, deadline_ns);
    }
    if (__builtin_expect(error == 0, 1)) {
        note_holder(shared);
        return 0;
    }
    return explain(shared, magic, error);
}

/* As either, by a process that watches its locks: what was held before is not news. */
static __attribute__((noinline)) int acquire_watched(cshm_mutex *mutex, uint32_t magic, bool waits,
                                                     int64_t deadline_ns)
{
    struct cshm_mutex_shared *shared = shared_of(mutex);
    bool again = cshm__mutex_is_mine(mutex);
    if (!again && waits && deadline_ns > cshm_now_ns()) {
        cshm__lockwatch_wants(mutex);
    }
    int status = waits ? acquire_until(shared, magic, deadline_ns) : try_acquire(shared, magic);
    if (!again && status >= 0) {
        cshm__lockwatch_acquired(mutex);
    }
    return status;
}

int cshm_mutex_try_acquire(cshm_mutex *mutex)
{
    struct cshm_mutex_shared *shared = shared_of(mutex);
    cshm__ask_to_write(shared); /* before its kind is read */
    uint32_t magic = magic_of(shared);
    if (!is_mutex(magic)) {
        return -EPROTO;
    }
    return cshm__lockwatch_is_on() ? acquire_watched(mutex, magic, false, 0)
                                   : try_acquire(shared, magic);
}

int cshm_mutex_acquire_until(cshm_mutex *mutex, int64_t deadline_ns)
{
    struct cshm_mutex_shared *shared = shared_of(mutex);
    cshm__ask_to_write(shared); /* before its kind is read */
    uint32_t magic = magic_of(shared);
    if (!is_mutex(magic)) {
        return -EPROTO;
    }
    return cshm__lockwatch_is_on() ? acquire_watched(mutex, magic, true, deadline_ns)
                                   : acquire_until(shared, magic, deadline_ns);
}

/* ---- releasing ---- */

int cshm_mutex_repair(cshm_mutex *mutex)
{
    struct cshm_mutex_shared *shared = shared_of(mutex);
    return is_mutex(magic_of(shared)) ? -pthread_mutex_consistent(&shared->native) : -EPROTO;
}

int cshm_mutex_release(cshm_mutex *mutex)
{
    struct cshm_mutex_shared *shared = shared_of(mutex);
    /* The record only says who is asked about depth; whether to release is for glibc to say. If it is
     * this thread, these bytes are a mutex. */
    if (atomic_load_explicit(&shared->holder, memory_order_relaxed) == cshm__thread()) {
        uint32_t depth = atomic_load_explicit(&shared->depth, memory_order_relaxed);
        if (depth != 0) {
            atomic_store_explicit(&shared->depth, depth - 1, memory_order_relaxed);
            return 0;
        }
        if (cshm__lockwatch_is_on()) {
            cshm__lockwatch_releases(mutex);
        }
        /* Before the release: after it the next holder writes here. */
        atomic_store_explicit(&shared->holder, 0, memory_order_relaxed);
    } else if (!is_mutex(magic_of(shared))) {
        return -EPROTO;
    }
    return -pthread_mutex_unlock(&shared->native);
}

bool cshm__mutex_is_mine(const cshm_mutex *mutex)
{
    const struct cshm_mutex_shared *shared = (const struct cshm_mutex_shared *)(const void *)mutex;
    return atomic_load_explicit(&shared->holder, memory_order_relaxed) == cshm__thread();
}

int cshm_mutex_describe(const cshm_mutex *mutex, struct cshm_mutex_info *out)
{
    const struct cshm_mutex_shared *shared = (const struct cshm_mutex_shared *)(const void *)mutex;
    if (!is_mutex(magic_of(shared))) {
        return -EPROTO;
    }
    uint64_t holder = atomic_load_explicit(&shared->holder, memory_order_relaxed);
    uint32_t depth = atomic_load_explicit(&shared->depth, memory_order_relaxed);
    uint64_t since = atomic_load_explicit(&shared->since, memory_order_relaxed);
    *out = (struct cshm_mutex_info){
        .holder_pid = (int32_t)(holder >> 32),
        .holder_thread = (int32_t)holder,
        .depth = holder == 0 ? 0 : depth + 1,
        .is_recursive = magic_of(shared) == MAGIC_RECURSIVE,
        .since_ns = holder == 0 ? 0 : (int64_t)since,
    };
    return 0;
}

/* ---- waiting without blocking ---- */

static uint32_t *word_of(const cshm_mutex *mutex)
{
    return (uint32_t *)&shared_of((cshm_mutex *)(uintptr_t)mutex)->native.__data.__lock;
}

static _Atomic uint32_t *atomically(uint32_t *word)
{
    return (_Atomic uint32_t *)(void *)word;
}

/* As glibc sees it: damage, a word that is not 0 and names nobody, is held for ever. */
static bool is_held(uint32_t word)
{
    return word != 0 && (word & FUTEX_OWNER_DIED) == 0;
}

uint32_t cshm__mutex_announce(uint32_t *word)
{
    uint32_t seen = atomic_load_explicit(atomically(word), memory_order_relaxed);
    while (is_held(seen) && (seen & FUTEX_WAITERS) == 0) {
        if (atomic_compare_exchange_weak_explicit(atomically(word), &seen, seen | FUTEX_WAITERS,
                                                  memory_order_seq_cst, /* [call] */
                                                  memory_order_relaxed)) {
            return seen | FUTEX_WAITERS;
        }
    }
    return seen;
}

void cshm__mutex_hand_on(uint32_t *word)
{
    if (!is_held(cshm__mutex_announce(word))) {
        (void)cshm__futex_wake(word, 1);
    }
}

bool cshm__mutex_was_released(const uint32_t *word, uint32_t seen)
{
    /* relaxed: who is woken looks itself */
    return is_held(seen) &&
           !is_held(atomic_load_explicit((const _Atomic uint32_t *)(const void *)word,
                                         memory_order_relaxed));
}

int cshm_mutex_try_acquire_woken(cshm_mutex *mutex)
{
    for (;;) {
        int status = cshm_mutex_try_acquire(mutex);
        if (status == -EPROTO) {
            return status;
        }
        if (status < 0 && status != -EAGAIN) {
            cshm__mutex_hand_on(word_of(mutex)); /* to be told the same */
            return status;
        }
        if (is_held(cshm__mutex_announce(word_of(mutex)))) {
            return status;
        }
    }
}

/* What glibc calls the owner. relaxed: it is this thread's, or an acquire comes next */
static int owner_of(const cshm_mutex *mutex)
{
    const int *owner = &shared_of((cshm_mutex *)(uintptr_t)mutex)->native.__data.__owner;
    return atomic_load_explicit((const _Atomic int *)(const void *)owner, memory_order_relaxed);
}

int cshm_mutex_needs_repair(const cshm_mutex *mutex)
{
    return owner_of(mutex) == INCONSISTENT;
}

int cshm_mutex_is_orphaned(const cshm_mutex *mutex)
{
    /* relaxed: an acquire comes next */
    uint32_t word = atomic_load_explicit(atomically(word_of(mutex)), memory_order_relaxed);
    return (word & FUTEX_OWNER_DIED) != 0 || owner_of(mutex) == NOT_RECOVERABLE;
}

static int is_free(const void *object)
{
    const cshm_mutex *mutex = object;
    /* relaxed: a try comes next */
    return !is_held(atomic_load_explicit(atomically(word_of(mutex)), memory_order_relaxed));
}

void cshm_mutex_waitable(const cshm_mutex *mutex, struct cshm_waitable *out)
{
    *out = cshm__at_park((struct cshm_park *)(void *)word_of(mutex), is_free, mutex);
    out->is_mutex = 1;
}
