/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See knife.h. Every atomic is seq_cst here: a death leaves a prefix of program order, whatever the
 * order that was asked for.
 */
#include "knife.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

extern const struct point __start_points[], __stop_points[];
const struct point *const knife_points = __start_points;
struct point_use *knife_uses;
static uint32_t *sorted; /* the points' indices, by address */

enum { MAPPINGS = 1024 };

static struct {
    uintptr_t base;
    size_t size;
} mappings[MAPPINGS];
static uint32_t mapping_count;

static struct {
    enum cut cut;
    uint32_t at;
    uint32_t passed;
    _Atomic uint32_t *where;
    void (*other)(void *context);
    void *context;
} knife;

/* ---- points ---- */

uint32_t knife_point_count(void)
{
    return (uint32_t)(__stop_points - __start_points);
}

static int by_address(const void *left, const void *right)
{
    const void *a = knife_points[*(const uint32_t *)left].after;
    const void *b = knife_points[*(const uint32_t *)right].after;
    return a < b ? -1 : a > b;
}

void knife_init(void)
{
    size_t size = knife_point_count() * sizeof *knife_uses;
    knife_uses = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sorted = malloc(knife_point_count() * sizeof *sorted);
    if (knife_uses == MAP_FAILED || sorted == NULL) {
        abort();
    }
    for (uint32_t i = 0; i < knife_point_count(); i++) {
        sorted[i] = i;
    }
    qsort(sorted, knife_point_count(), sizeof *sorted, by_address);
}

void knife_arm(enum cut cut, uint32_t at, _Atomic uint32_t *where)
{
    knife.cut = cut;
    knife.at = at;
    knife.passed = 0;
    knife.where = where;
}

void knife_disarm(void)
{
    knife.cut = CUT_NONE;
}

void knife_interleave(void (*other)(void *context), void *context)
{
    knife.other = other;
    knife.context = context;
}

static void let_other_act(void)
{
    void (*other)(void *) = knife.other;
    enum cut cut = knife.cut;
    knife.other = NULL;
    knife.cut = CUT_NONE;
    other(knife.context);
    knife.cut = cut;
}

_Noreturn void knife_die(void)
{
    kill(getpid(), SIGKILL);
    abort();
}

static uint32_t index_of(const void *after)
{
    uint32_t low = 0;
    uint32_t high = knife_point_count();
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const void *found = knife_points[sorted[middle]].after;
        if (found == after) {
            return sorted[middle];
        }
        if (found < after) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    fprintf(stderr, "a store from %p, which is not in the list of points\n", after);
    abort();
}

static bool is_due(const struct point_use *use)
{
    uint32_t cuts = atomic_load(knife.cut == CUT_KILL ? &use->killed : &use->stopped);
    return knife.at == KNIFE_FRESH ? cuts == 0 : ++knife.passed == knife.at;
}

static void pass(const void *after, bool shared)
{
    uint32_t index = index_of(after);
    struct point_use *use = &knife_uses[index];
    atomic_fetch_add(shared ? &use->shared : &use->local, 1);
    if (shared && knife.other != NULL) {
        let_other_act();
    }
    if (!shared || knife.cut == CUT_NONE || !is_due(use)) {
        return;
    }
    atomic_store(knife.where, index + 1);
    if (knife.cut == CUT_KILL) {
        atomic_fetch_add(&use->killed, 1);
        knife_die();
    }
    atomic_fetch_add(&use->stopped, 1);
    knife.cut = CUT_NONE;
    kill(getpid(), SIGSTOP);
}

static bool is_shared(const volatile void *address)
{
    uintptr_t place = (uintptr_t)address;
    for (uint32_t i = 0; i < mapping_count; i++) {
        if (place - mappings[i].base < mappings[i].size) {
            return true;
        }
    }
    return false;
}

#define PASS(address) pass(__builtin_return_address(0), is_shared(address))
#define PASS_KERNEL() pass(__builtin_return_address(0), true)

/* ---- what the compiler's instrumentation calls ---- */

#define QUIET(name, ...)    \
    void name(__VA_ARGS__); \
    void name(__VA_ARGS__)  \
    {                       \
    }                       \
    _Static_assert(1, "")

QUIET(__tsan_init, void);
QUIET(__tsan_func_entry, void *caller __attribute__((unused)));
QUIET(__tsan_func_exit, void);
QUIET(__tsan_read_range, void *address __attribute__((unused)),
      size_t size __attribute__((unused)));
QUIET(__tsan_atomic_thread_fence, int order __attribute__((unused)));
QUIET(__tsan_atomic_signal_fence, int order __attribute__((unused)));

void __tsan_write_range(void *address, size_t size);
void __tsan_write_range(void *address, size_t size __attribute__((unused)))
{
    PASS(address);
}

#define PLAIN(size)                                                            \
    QUIET(__tsan_read##size, void *address __attribute__((unused)));           \
    QUIET(__tsan_unaligned_read##size, void *address __attribute__((unused))); \
    void __tsan_write##size(void *address);                                    \
    void __tsan_write##size(void *address)                                     \
    {                                                                          \
        PASS(address);                                                         \
    }                                                                          \
    void __tsan_unaligned_write##size(void *address);                          \
    void __tsan_unaligned_write##size(void *address)                           \
    {                                                                          \
        PASS(address);                                                         \
    }                                                                          \
    _Static_assert(1, "")

PLAIN(1);
PLAIN(2);
PLAIN(4);
PLAIN(8);
PLAIN(16);

#define UPDATE(bits, name, builtin)                                                                \
    uint##bits##_t __tsan_atomic##bits##_##name(volatile uint##bits##_t *, uint##bits##_t, int);   \
    uint##bits##_t __tsan_atomic##bits##_##name(                                                   \
        volatile uint##bits##_t *address, uint##bits##_t value, int order __attribute__((unused))) \
    {                                                                                              \
        PASS(address);                                                                             \
        return __atomic_##builtin(address, value, __ATOMIC_SEQ_CST);                               \
    }                                                                                              \
    _Static_assert(1, "")

#define EXCHANGE(bits, kind, result, value)                                                \
    result __tsan_atomic##bits##_compare_exchange_##kind(volatile uint##bits##_t *, value, \
                                                         uint##bits##_t, int, int);        \
    result __tsan_atomic##bits##_compare_exchange_##kind(                                  \
        volatile uint##bits##_t *address, value expected, uint##bits##_t desired,          \
        int order __attribute__((unused)), int failure __attribute__((unused)))

#define ATOMIC(bits)                                                                            \
    uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t *, int);            \
    uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t *address,           \
                                              int order __attribute__((unused)))                \
    {                                                                                           \
        return __atomic_load_n(address, __ATOMIC_SEQ_CST);                                      \
    }                                                                                           \
    void __tsan_atomic##bits##_store(volatile uint##bits##_t *, uint##bits##_t, int);           \
    void __tsan_atomic##bits##_store(volatile uint##bits##_t *address, uint##bits##_t value,    \
                                     int order __attribute__((unused)))                         \
    {                                                                                           \
        PASS(address);                                                                          \
        __atomic_store_n(address, value, __ATOMIC_SEQ_CST);                                     \
    }                                                                                           \
    UPDATE(bits, exchange, exchange_n);                                                         \
    UPDATE(bits, fetch_add, fetch_add);                                                         \
    UPDATE(bits, fetch_sub, fetch_sub);                                                         \
    UPDATE(bits, fetch_and, fetch_and);                                                         \
    UPDATE(bits, fetch_or, fetch_or);                                                           \
    UPDATE(bits, fetch_xor, fetch_xor);                                                         \
    EXCHANGE(bits, strong, int, uint##bits##_t *)                                               \
    {                                                                                           \
        PASS(address);                                                                          \
        return __atomic_compare_exchange_n(address, expected, desired, false, __ATOMIC_SEQ_CST, \
                                           __ATOMIC_SEQ_CST);                                   \
    }                                                                                           \
    EXCHANGE(bits, weak, int, uint##bits##_t *)                                                 \
    {                                                                                           \
        PASS(address);                                                                          \
        return __atomic_compare_exchange_n(address, expected, desired, false, __ATOMIC_SEQ_CST, \
                                           __ATOMIC_SEQ_CST);                                   \
    }                                                                                           \
    EXCHANGE(bits, val, uint##bits##_t, uint##bits##_t)                                         \
    {                                                                                           \
        PASS(address);                                                                          \
        (void)__atomic_compare_exchange_n(address, &expected, desired, false, __ATOMIC_SEQ_CST, \
                                          __ATOMIC_SEQ_CST);                                    \
        return expected;                                                                        \
    }                                                                                           \
    _Static_assert(1, "")

ATOMIC(8);
ATOMIC(16);
ATOMIC(32);
ATOMIC(64);

#if defined(__x86_64__)
__extension__ typedef __int128 pair_t;
pair_t __tsan_atomic128_compare_exchange_val(volatile pair_t *, pair_t, pair_t, int, int);
pair_t __tsan_atomic128_compare_exchange_val(volatile pair_t *address, pair_t expected,
                                             pair_t desired, int order __attribute__((unused)),
                                             int failure __attribute__((unused)))
{
    __extension__ typedef unsigned __int128 both;
    uint64_t low = (uint64_t)expected;
    uint64_t high = (uint64_t)((both)expected >> 64);
    PASS(address);
    __asm__ volatile("lock cmpxchg16b %[pair]"
                     : [pair] "+m"(*address), "+a"(low), "+d"(high)
                     : "b"((uint64_t)desired), "c"((uint64_t)((both)desired >> 64))
                     : "memory", "cc");
    return (pair_t)((both)high << 64 | low);
}
#endif

/* ---- what points.awk makes CShm call in the place of the C library ---- */

#define WRAP(result, name, ...)       \
    result knife_##name(__VA_ARGS__); \
    result knife_##name(__VA_ARGS__)

WRAP(void *, memcpy, void *to, const void *from, size_t size)
{
    PASS(to);
    size_t half = is_shared(to) ? size / 2 : 0;
    (void)memcpy(to, from, half);
    if (half != 0) {
        PASS(to);
    }
    (void)memcpy((char *)to + half, (const char *)from + half, size - half);
    return to;
}

WRAP(void *, memmove, void *to, const void *from, size_t size)
{
    PASS(to);
    return memmove(to, from, size);
}

WRAP(void *, memset, void *to, int byte, size_t size)
{
    PASS(to);
    size_t half = is_shared(to) ? size / 2 : 0;
    (void)memset(to, byte, half);
    if (half != 0) {
        PASS(to);
    }
    (void)memset((char *)to + half, byte, size - half);
    return to;
}

#define WRAP_MUTEX(name)                                    \
    WRAP(int, pthread_mutex_##name, pthread_mutex_t *mutex) \
    {                                                       \
        PASS(mutex);                                        \
        return pthread_mutex_##name(mutex);                 \
    }                                                       \
    _Static_assert(1, "")

WRAP_MUTEX(lock);
WRAP_MUTEX(trylock);
WRAP_MUTEX(unlock);
WRAP_MUTEX(consistent);

WRAP(int, pthread_mutex_init, pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
    PASS(mutex);
    return pthread_mutex_init(mutex, attributes);
}

WRAP(int, pthread_mutex_clocklock, pthread_mutex_t *mutex, clockid_t clock,
     const struct timespec *until)
{
    PASS(mutex);
    return pthread_mutex_clocklock(mutex, clock, until);
}

WRAP(int, fallocate, int fd, int mode, off_t offset, off_t length)
{
    PASS_KERNEL();
    return fallocate(fd, mode, offset, length);
}

WRAP(int, ftruncate, int fd, off_t length)
{
    PASS_KERNEL();
    return ftruncate(fd, length);
}

WRAP(int, linkat, int from, const char *old, int to, const char *new, int flags)
{
    PASS_KERNEL();
    return linkat(from, old, to, new, flags);
}

WRAP(int, unlink, const char *path)
{
    PASS_KERNEL();
    return unlink(path);
}

WRAP(int, close, int fd)
{
    PASS_KERNEL();
    return close(fd);
}

WRAP(int, fcntl, int fd, int command, ...)
{
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    PASS_KERNEL();
    return fcntl(fd, command, argument);
}

WRAP(long, syscall, long number, ...)
{
    va_list rest;
    long word[6];
    va_start(rest, number);
    for (int i = 0; i < 6; i++) {
        word[i] = va_arg(rest, long);
    }
    va_end(rest);
    PASS_KERNEL();
    return syscall(number, word[0], word[1], word[2], word[3], word[4], word[5]);
}

WRAP(ssize_t, sendto, int fd, const void *bytes, size_t size, int flags, const void *to,
     socklen_t length)
{
    PASS_KERNEL();
    return sendto(fd, bytes, size, flags, to, length);
}

/* The same hashes in every run, and so the same points; but a bell's number is its name. */
WRAP(ssize_t, getrandom, void *bytes, size_t size, unsigned flags)
{
    if (size == sizeof(uint64_t)) {
        return getrandom(bytes, size, flags);
    }
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)bytes)[i] = (uint8_t)(i * 37 + 11);
    }
    return (ssize_t)size;
}

WRAP(void *, mmap, void *hint, size_t size, int protection, int flags, int fd, off_t offset)
{
    void *base = mmap(hint, size, protection, flags, fd, offset);
    if (base != MAP_FAILED && (flags & MAP_SHARED) != 0) {
        mappings[mapping_count].base = (uintptr_t)base;
        mappings[mapping_count++].size = size;
    }
    return base;
}

WRAP(int, munmap, void *base, size_t size)
{
    for (uint32_t i = 0; i < mapping_count; i++) {
        if (mappings[i].base == (uintptr_t)base) {
            mappings[i] = mappings[--mapping_count];
        }
    }
    return munmap(base, size);
}
