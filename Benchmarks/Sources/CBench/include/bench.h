/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Measures one channel once, between real processes: forks them, pins them, lets them warm up,
 * counts for a while, ends them, and checks that everything sent was received.
 *
 * What a channel is stands in bench_channel.h; peers written in other files implement the same and
 * are loaded at run time.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** What is measured. */
enum bench_mode {
    /** Messages received a second. */
    BENCH_STREAM,
    /** Nanoseconds there and back: the median of runs of 16. */
    BENCH_ROUND_TRIP,
    /** Nanoseconds there and back, each side given time to fall asleep first: the median. */
    BENCH_PARKED_ROUND_TRIP,
    /** Nanoseconds one way at a fixed rate, from when a message was due: the median. */
    BENCH_PACED,
    /** Operations a second of all the producers; there are no consumers. */
    BENCH_WORK,
};

/** What a side does between two tries of a channel that does not wait by itself. */
enum bench_wait {
    /** 64 pauses, then the CPU for somebody else, and again. */
    BENCH_HYBRID,
    /** Pauses only. */
    BENCH_SPIN,
};

/** One measurement. */
struct bench_plan {
    /** The channel's name, as bench_has() knows it. */
    const char *channel;
    /** What is measured. */
    enum bench_mode mode;
    /** Processes that put, or work: 1 or more, 32 with the consumers; 1 of trips and paced messages. */
    uint32_t producers;
    /** Processes that take: as many in all; 1 of trips and paced messages, 0 for work. */
    uint32_t consumers;
    /** Bytes of a message, 8 to 64 MiB. */
    uint32_t size;
    /** Messages put, and taken, by one call, 1 to 64; 1 for work. Trips and paced messages are
     * single ones whatever it says. */
    uint32_t batch;
    /** Messages that the channel holds; a power of two, 2 or more. */
    uint32_t capacity;
    /** CPU of every producer, or -1. */
    int32_t producer_cpu;
    /** CPU of every consumer, or -1. */
    int32_t consumer_cpu;
    /** Between two tries. */
    enum bench_wait wait;
    /** Nanoseconds to measure for, after a tenth of it to warm up. */
    uint64_t duration_ns;
    /** Nanoseconds from one message to the next, if paced. */
    uint64_t interval_ns;
    /** Receives the single times, the last ones if there are more; may be NULL. */
    uint64_t *samples;
    /** How many fit. */
    uint64_t sample_capacity;
};

/** What came out. */
struct bench_figure {
    /** In the mode's unit. */
    double value;
    /** Messages, or round trips, that it rests on. */
    uint64_t operations;
    /** Times written to `samples`. */
    uint64_t samples;
    /** CPU time of all processes of the measurement, in nanoseconds. */
    uint64_t cpu_ns;
};

/**
 * Measures.
 *
 * @returns 0, -EINVAL, -ENOENT (no such channel), -EIO (a message was lost, doubled or changed, or
 *          a process failed), -EINTR (bench_catch_interrupt()), -ETIMEDOUT (it did not come to an end; killed),
 *          -ENODATA (nothing arrived in that time), or what the channel's making said.
 */
int bench_measure(const struct bench_plan *plan, struct bench_figure *out);

/** From now on SIGINT ends the measurement, not the program. */
void bench_catch_interrupt(void);

/** Whether there was a SIGINT since. */
bool bench_interrupted(void);

/** Whether there is such a channel, built in or loaded. */
bool bench_has(const char *channel);

/** Loads a peer: a shared object with a `bench_peer`, or an array `bench_peers`. @returns 0 or -ENOENT. */
int bench_load(const char *path);

/** Asks for more of the CPUs than others get, for this process and its children, where allowed. */
void bench_raise_priority(void);

/** Whether orphans of this process's children become its children, to be waited for by it. */
void bench_adopt_orphans(bool adopts);

/** Bytes a second of copying `size` bytes within this process, for about `duration_ns`. */
double bench_memcpy(size_t size, uint64_t duration_ns);

/** The same, and from there into memory that is allocated for each copy and freed after it. */
double bench_memcpy_twice(size_t size, uint64_t duration_ns);

/** Nanoseconds of a fork() whose child ends at once, until it is waited for: the mean; 0 if it failed. */
double bench_fork(uint64_t duration_ns);

/** The same of posix_spawn() of /bin/true. */
double bench_spawn(uint64_t duration_ns);

/**
 * Bytes of a region's heap that one object takes, or one entry of 100,000 in a map.
 *
 * @param what   Its noun, as "queue"; "map-entry" for an entry of 16 and `size` bytes; "map-fresh" and
 *               "map-replaced" for what the region has committed for one, before and after 10 million
 *               replaces.
 * @param size   Bytes of a message, where it has some.
 * @param bytes  Receives them.
 * @returns 0, -ENOENT (no such noun) or what its making said.
 */
int bench_memory(const char *what, uint32_t size, double *bytes);

/**
 * Runs a program and counts the system calls of its main thread between the marks of count.h.
 *
 * @param program    Its path.
 * @param operation  Its first argument.
 * @param times      Its second one.
 * @returns 0, -EPERM (processes may not be traced here), -EIO (it failed), or another negated errno.
 */
int bench_count_system_calls(const char *program, const char *operation, uint32_t times,
                             uint64_t *count);

/** Whether the kernel knows a system call that this library, or a peer, can use; for an unknown name, no. */
bool bench_kernel_has(const char *call);

/** What a process was killed with, or for. */
enum bench_noun {
    /** The lock of cshm/mutex.h. */
    BENCH_MUTEX,
    /** A robust process-shared pthread mutex. */
    BENCH_ROBUST,
    /** The one of cshm/baton.h. */
    BENCH_BATON,
    /** All permits of a pool. */
    BENCH_PERMITS,
    /** Reading; the next one writes. */
    BENCH_READER,
    /** Writing; so does the next one. */
    BENCH_WRITER,
    /** Running what is done once. */
    BENCH_ONCE,
    /** Changing a value. */
    BENCH_VALUE,
    /** Changing an array's elements, with its lock. */
    BENCH_ARRAY,
    /** The unit of a semaphore. */
    BENCH_SEMAPHORE,
    /** An automatic event. */
    BENCH_EVENT,
    /** A latch. */
    BENCH_LATCH,
    /** A condition's notification. */
    BENCH_CONDITION,
    /** The mutex of a condition at which the next one waits. */
    BENCH_CONDITION_MUTEX,
    /** A barrier, at which all meet. */
    BENCH_BARRIER,
    /** A barrier, at which one never comes; the others are told. */
    BENCH_BROKEN_BARRIER,
    /** Nothing: waitid() sees that it has ended. */
    BENCH_NOTHING,
};

/** When it was killed. */
enum bench_moment {
    /** It had what the next one waits for. */
    BENCH_HOLDING,
    /** It was woken for it, and had not run since. */
    BENCH_WOKEN,
    /** It was asleep, and was woken when it was dying. */
    BENCH_ASLEEP,
};

/** A kind of death. */
struct bench_death {
    enum bench_noun noun;
    enum bench_moment moment;
    /** Whether the processes wait as their tasks do, by tries between which a thread sleeps. */
    bool in_tasks;
};

/**
 * Kills a process while another one waits for what it has, or waits for, again and again.
 *
 * @param resident  Bytes of memory that the victim has touched, besides what every process has.
 * @param times     Receives the nanoseconds from the SIGKILL until the other one goes on.
 * @param room      How many times fit.
 * @returns how many times, at least 1, or a negated errno: -EIO if a process failed, or if afterwards
 *          what is owned and counted was not as before.
 */
int bench_deaths(struct bench_death death, size_t resident, uint64_t duration_ns, uint64_t *times,
                 uint32_t room);

/** Whether the calling thread may run on that CPU. */
bool bench_may_use(int32_t cpu);

/** Binds the calling thread to one CPU, or to all if negative. @returns 0 or a negated errno. */
int bench_pin(int32_t cpu);

#endif /* BENCH_H */
