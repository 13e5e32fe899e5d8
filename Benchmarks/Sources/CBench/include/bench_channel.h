/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What a channel is to the runner, and the measured loops. C11 and C++17.
 *
 * A channel gives four functions: create (before the fork), open (in each process), put and take.
 * BENCH_CHANNEL makes the loops from them; `put` and `take` are inlined into the loops, so that a
 * ring written here costs no call. Both answer how many messages they moved, 0 for none now; a
 * blocking channel waits in them, and a trying one is asked again after bench_relax(): the same
 * waiting for everybody.
 *
 * The first 8 bytes of a message are its number. The last producer to finish ends the stream with
 * one BENCH_END for each consumer, or as the channel's delivery wants.
 */
#ifndef BENCH_CHANNEL_H
#define BENCH_CHANNEL_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define BENCH_LINE   __attribute__((aligned(128)))
#define BENCH_INLINE static inline __attribute__((always_inline, unused))
#define BENCH_END    UINT64_MAX

enum {
    BENCH_WORKERS = 32,
    BENCH_SAMPLES = 1 << 20,
    BENCH_TRIPS = 16,            /* round trips timed together */
    BENCH_ASLEEP_NS = 100000,    /* long enough for any waiter to have parked */
    BENCH_BATCH_MAX = 64,        /* messages */
    BENCH_PAUSES_TILL_YIELD = 64 /* of a trying loop */
};

/** What a channel is made for. */
struct bench_shape {
    /** Bytes of a message. */
    uint32_t size;
    /** Messages. */
    uint32_t capacity;
    /** Processes on either side. */
    uint32_t producers, consumers;
    /** Messages that one call moves at most. */
    uint32_t batch;
};

/** What one process tells the others; shared, one line each. */
struct bench_tally {
    BENCH_LINE uint64_t operations;
    uint64_t sum;
    uint64_t errors;
};

/** Shared by all processes of a measurement. */
struct bench_control {
    BENCH_LINE uint32_t stop;
    BENCH_LINE uint32_t ready;
    uint32_t go;
    uint32_t producers_left;
    uint32_t ends_spare;         /* that a batch brought to a consumer who had one */
    BENCH_LINE uint64_t samples; /* recorded so far */
    uint64_t first_sample;       /* of those after the warm-up */
    uint64_t *sample_ns;         /* BENCH_SAMPLES of them, or NULL if none are recorded */
    struct bench_tally tallies[BENCH_WORKERS];
};

/** One process of a measurement. */
struct bench_worker {
    struct bench_control *control;
    struct bench_tally *tally;
    uint8_t *buffer; /* `batch` messages, private */
    uint32_t size, batch;
    uint32_t ends_to_put;  /* BENCH_END for how many consumers */
    uint32_t ends_to_take; /* how many of them end a consumer */
    bool ends_alone;       /* each producer puts its own; else the last one for all of them */
    uint64_t interval_ns;  /* from one message to the next; 0 as fast as it goes */
    bool ordered;          /* one to one: message i is number i */
    bool parked;
    bool spinning; /* never gives its CPU away */
};

/** Who gets a message, and in which order. */
enum bench_delivery {
    /** One consumer, whichever. */
    BENCH_TO_ONE,
    /** Every consumer. */
    BENCH_TO_ALL,
    /** The one consumer, in the order of its producer only. */
    BENCH_BY_PRODUCER,
};

/** A channel, or something else that processes share: then it has `work` and `holds` alone. */
struct bench_channel {
    const char *name;
    int (*create)(const struct bench_shape *shape, void **state);
    int (*open)(void *state, bool producer, void **handle);
    void (*produce)(void *handle, struct bench_worker *worker);
    void (*consume)(void *handle, struct bench_worker *worker);
    void (*ping)(void *there, void *back, struct bench_worker *worker);
    void (*pong)(void *there, void *back, struct bench_worker *worker);
    void (*destroy)(void *state);
    /** Does the same thing until it is stopped, and counts in its tally. */
    void (*work)(void *handle, struct bench_worker *worker);
    /** Whether the state is what so many operations leave. */
    bool (*holds)(void *state, uint64_t operations);
    /** In each process, at its end; NULL if there is nothing to do. */
    void (*close)(void *handle, bool producer);
    enum bench_delivery delivery;
};

/** Moves up to `count` messages of `size` bytes from or to `bytes`. @returns how many. */
typedef uint32_t bench_move(void *handle, uint8_t *bytes, uint32_t size, uint32_t count);

/* ---- for channels ---- */

/** Shared memory that the children inherit, all of it present, or NULL. */
BENCH_INLINE void *bench_shared(size_t size)
{
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

BENCH_INLINE void bench_unshare(void *memory, size_t size)
{
    munmap(memory, size);
}

BENCH_INLINE void bench_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/** Between two tries: a pause, and now and then the CPU for somebody else. */
BENCH_INLINE void bench_relax(const struct bench_worker *worker, uint32_t *round)
{
    if (++*round % BENCH_PAUSES_TILL_YIELD == 0 && !worker->spinning) {
        sched_yield();
    } else {
        bench_pause();
    }
}

BENCH_INLINE uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/** memcpy, without a call for the usual sizes. */
BENCH_INLINE void bench_copy(void *to, const void *from, uint32_t size)
{
    if (size == 8) {
        memcpy(to, from, 8);
    } else if (size == 64) {
        memcpy(to, from, 64);
    } else {
        memcpy(to, from, size);
    }
}

BENCH_INLINE uint64_t bench_number(const uint8_t *message)
{
    uint64_t number;
    memcpy(&number, message, sizeof number);
    return number;
}

BENCH_INLINE void bench_set_number(uint8_t *message, uint64_t number)
{
    memcpy(message, &number, sizeof number);
}

/* ---- the loops ---- */

BENCH_INLINE bool bench_stopped(const struct bench_worker *worker)
{
    return __atomic_load_n(&worker->control->stop, __ATOMIC_RELAXED) != 0;
}

BENCH_INLINE uint32_t bench_move_some(bench_move *move, void *handle,
                                      const struct bench_worker *worker, uint32_t count)
{
    uint32_t round = 0;
    for (;;) {
        uint32_t moved = move(handle, worker->buffer, worker->size, count);
        if (moved > 0) {
            return moved;
        }
        bench_relax(worker, &round);
    }
}

BENCH_INLINE void bench_produce(bench_move *put, void *handle, struct bench_worker *worker,
                                uint32_t batch)
{
    struct bench_tally *tally = worker->tally;
    uint32_t size = worker->size;
    uint64_t next = 0;
    uint64_t sum = 0;
    while (!bench_stopped(worker)) {
        for (uint32_t i = 0; i < batch; i++) {
            bench_set_number(worker->buffer + (size_t)i * size, next + i);
        }
        uint32_t moved = bench_move_some(put, handle, worker, batch);
        for (uint32_t i = 0; i < moved; i++) {
            sum += next++;
        }
    }
    tally->sum = sum;
    __atomic_store_n(&tally->operations, next, __ATOMIC_RELEASE);
    uint32_t left = __atomic_sub_fetch(&worker->control->producers_left, 1, __ATOMIC_ACQ_REL);
    if (left == 0 || worker->ends_alone) {
        for (uint32_t i = 0; i < worker->ends_to_put; i++) {
            bench_set_number(worker->buffer, BENCH_END);
            (void)bench_move_some(put, handle, worker, 1);
        }
    }
}

/* One of several consumers may find another's BENCH_END in its batch, and leaves it here. */
BENCH_INLINE bool bench_takes_spare_end(struct bench_control *control)
{
    uint32_t spare = __atomic_load_n(&control->ends_spare, __ATOMIC_RELAXED);
    while (spare > 0) {
        if (__atomic_compare_exchange_n(&control->ends_spare, &spare, spare - 1, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            return true;
        }
    }
    return false;
}

/* bench_move_some of a consumer. @returns 0 if another consumer left it an end. */
BENCH_INLINE uint32_t bench_take_some(bench_move *take, void *handle,
                                      const struct bench_worker *worker, uint32_t count)
{
    if (count == 1 || worker->ordered) {
        return bench_move_some(take, handle, worker, count);
    }
    uint32_t round = 0;
    uint32_t moved = 0;
    while ((moved = take(handle, worker->buffer, worker->size, count)) == 0 &&
           !bench_takes_spare_end(worker->control)) {
        bench_relax(worker, &round);
    }
    return moved;
}

BENCH_INLINE void bench_consume(bench_move *take, void *handle, struct bench_worker *worker,
                                uint32_t batch)
{
    struct bench_tally *tally = worker->tally;
    uint32_t size = worker->size;
    uint64_t received = 0;
    uint64_t sum = 0;
    uint32_t ends = 0;
    while (ends < worker->ends_to_take) {
        uint32_t moved = bench_take_some(take, handle, worker, batch);
        ends += moved == 0;
        for (uint32_t i = 0; i < moved; i++) {
            uint64_t number = bench_number(worker->buffer + (size_t)i * size);
            if (number == BENCH_END) {
                ends++;
                continue;
            }
            if (worker->ordered && number != received) {
                tally->errors++;
            }
            sum += number;
            received++;
        }
        __atomic_store_n(&tally->operations, received, __ATOMIC_RELAXED);
    }
    if (ends > worker->ends_to_take) {
        __atomic_fetch_add(&worker->control->ends_spare, ends - worker->ends_to_take,
                           __ATOMIC_ACQ_REL);
    }
    tally->sum = sum;
}

BENCH_INLINE void bench_record(struct bench_control *control, uint64_t nanoseconds)
{
    control->sample_ns[control->samples % BENCH_SAMPLES] = nanoseconds;
    __atomic_store_n(&control->samples, control->samples + 1, __ATOMIC_RELAXED);
}

/* ---- paced: a message is due every so often, and carries when it was ---- */

BENCH_INLINE void bench_produce_paced(bench_move *put, void *handle, struct bench_worker *worker)
{
    uint64_t sum = 0;
    uint64_t sent = 0;
    for (uint64_t due = bench_now_ns(); !bench_stopped(worker); due += worker->interval_ns) {
        while (bench_now_ns() < due) {
            bench_pause();
        }
        bench_set_number(worker->buffer, due);
        (void)bench_move_some(put, handle, worker, 1);
        sum += due;
        sent++;
    }
    worker->tally->sum = sum;
    __atomic_store_n(&worker->tally->operations, sent, __ATOMIC_RELEASE);
    bench_set_number(worker->buffer, BENCH_END);
    (void)bench_move_some(put, handle, worker, 1);
}

BENCH_INLINE void bench_consume_paced(bench_move *take, void *handle, struct bench_worker *worker)
{
    uint64_t sum = 0;
    uint64_t received = 0;
    for (;;) {
        (void)bench_move_some(take, handle, worker, 1);
        uint64_t due = bench_number(worker->buffer);
        if (due == BENCH_END) {
            break;
        }
        bench_record(worker->control, bench_now_ns() - due);
        sum += due;
        received++;
    }
    worker->tally->sum = sum;
    __atomic_store_n(&worker->tally->operations, received, __ATOMIC_RELEASE);
}

/* ---- round trips ---- */

BENCH_INLINE void bench_idle(uint64_t nanoseconds)
{
    uint64_t end = bench_now_ns() + nanoseconds;
    while (bench_now_ns() < end) {
        bench_pause();
    }
}

BENCH_INLINE void bench_trip(bench_move *put, bench_move *take, void *there, void *back,
                             struct bench_worker *worker, uint64_t number)
{
    bench_set_number(worker->buffer, number);
    (void)bench_move_some(put, there, worker, 1);
    (void)bench_move_some(take, back, worker, 1);
}

/** In a parked trip the messages carry times: when it was sent, and how long it took there. */
BENCH_INLINE uint64_t bench_parked_trip(bench_move *put, bench_move *take, void *there, void *back,
                                        struct bench_worker *worker)
{
    bench_idle(BENCH_ASLEEP_NS);
    bench_trip(put, take, there, back, worker, bench_now_ns());
    uint64_t end = bench_now_ns();
    uint64_t took_there = __atomic_load_n(&worker->tally[1].sum, __ATOMIC_ACQUIRE);
    return took_there + (end - bench_number(worker->buffer));
}

BENCH_INLINE void bench_ping(bench_move *put, bench_move *take, void *there, void *back,
                             struct bench_worker *worker)
{
    uint64_t trips = 0;
    while (!bench_stopped(worker)) {
        if (worker->parked) {
            bench_record(worker->control, bench_parked_trip(put, take, there, back, worker));
            trips++;
            continue;
        }
        uint64_t start = bench_now_ns();
        for (uint32_t i = 0; i < BENCH_TRIPS; i++) {
            bench_trip(put, take, there, back, worker, trips);
            worker->tally->errors += bench_number(worker->buffer) != trips;
            trips++;
        }
        bench_record(worker->control, (bench_now_ns() - start) / BENCH_TRIPS);
    }
    __atomic_store_n(&worker->tally->operations, trips, __ATOMIC_RELEASE);
    bench_set_number(worker->buffer, BENCH_END);
    (void)bench_move_some(put, there, worker, 1);
}

BENCH_INLINE void bench_pong(bench_move *put, bench_move *take, void *there, void *back,
                             struct bench_worker *worker)
{
    for (;;) {
        (void)bench_move_some(take, there, worker, 1);
        uint64_t number = bench_number(worker->buffer);
        if (number == BENCH_END) {
            return;
        }
        if (worker->parked) {
            uint64_t took_there = bench_now_ns() - number;
            __atomic_store_n(&worker->tally->sum, took_there, __ATOMIC_RELEASE);
            bench_idle(BENCH_ASLEEP_NS);
            bench_set_number(worker->buffer, bench_now_ns());
        }
        (void)bench_move_some(put, back, worker, 1);
    }
}

/** Defines the channel `id` from how it is made, unmade, opened and closed, its two moves, and who gets
 * a message. */
#define BENCH_CHANNEL_OF(id, title, constructor, destructor, opener, closer, put, take, whom) \
    static void id##_produce(void *handle, struct bench_worker *worker)                       \
    {                                                                                         \
        if (worker->interval_ns != 0) {                                                       \
            bench_produce_paced(put, handle, worker);                                         \
        } else if (worker->batch == 1) {                                                      \
            bench_produce(put, handle, worker, 1);                                            \
        } else {                                                                              \
            bench_produce(put, handle, worker, worker->batch);                                \
        }                                                                                     \
    }                                                                                         \
    static void id##_consume(void *handle, struct bench_worker *worker)                       \
    {                                                                                         \
        if (worker->interval_ns != 0) {                                                       \
            bench_consume_paced(take, handle, worker);                                        \
        } else if (worker->batch == 1) {                                                      \
            bench_consume(take, handle, worker, 1);                                           \
        } else {                                                                              \
            bench_consume(take, handle, worker, worker->batch);                               \
        }                                                                                     \
    }                                                                                         \
    static void id##_ping(void *there, void *back, struct bench_worker *worker)               \
    {                                                                                         \
        bench_ping(put, take, there, back, worker);                                           \
    }                                                                                         \
    static void id##_pong(void *there, void *back, struct bench_worker *worker)               \
    {                                                                                         \
        bench_pong(put, take, there, back, worker);                                           \
    }                                                                                         \
    const struct bench_channel id = {                                                         \
        title,     constructor, opener, id##_produce, id##_consume, id##_ping,                \
        id##_pong, destructor,  NULL,   NULL,         closer,       whom,                     \
    }

/** The same, of a channel that needs no closing, and where one consumer gets a message. */
#define BENCH_CHANNEL(id, title, constructor, destructor, opener, put, take) \
    BENCH_CHANNEL_OF(id, title, constructor, destructor, opener, NULL, put, take, BENCH_TO_ONE)

#endif /* BENCH_CHANNEL_H */
