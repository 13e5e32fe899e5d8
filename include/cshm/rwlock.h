/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A reader-writer lock that outlives its holders: any number of readers, or one writer.
 *
 * Use it where readers hold it for long. For a few loads a mutex (cshm/mutex.h) is as fast, and a
 * map (cshm/map.h) is read without any lock.
 *
 * Model
 * -----
 * Readers are not counted: each has a *cell*, on a line of its own, with the stamp of its process
 * (cshm/participant.h), so that the dead can be told from the living. A reader claims a cell and then
 * looks whether a writer wants the lock; a writer says that it does and then looks at the cells. One of
 * the two sees the other. Writers exclude each other by a mutex, which belongs to the *thread*; a
 * reader's cell belongs to its process.
 *
 * Nobody starves by the other kind: who comes to read while a writer wants the lock waits; a writer
 * that leaves hands the lock to all readers that wait, before the next writer may have it. So a writer
 * waits for the readers there are, and a reader for one writer. Where there are more readers than
 * cells, it is not fair. A thread that reads may read again, even before a writer that waits; one that
 * reads and wants to write, or the other way round, is told -EDEADLK.
 *
 * Writers that wait line up, CSHM_RWLOCK_LINE_MAX of them; who finds no place waits for one, without
 * order. Others may be faster for 10 ms. Who has waited for longer is *overdue*: the line goes in the
 * order of its coming, and whoever comes to write lines up behind. So each other thread overtakes an
 * overdue writer once at most, if it was about to acquire when that became overdue. Nobody waits for one
 * who does not run: a writer that lets the lock be free for 20 ms, as a stopped one does, is passed
 * over, and has its turn when it runs again. A try, and who was woken at cshm_rwlock_writable(), does
 * not line up: it is before others where it finds the lock free, and other writers may overtake it
 * without bound. Readers do not: who waits there *announces* it, and who comes to read waits until
 * somebody has written, the announcer withdraws, dies, or lets the lock be free for 20 ms; it announces
 * itself again when it next looks and others read. Who was woken at cshm_rwlock_readable() has no cell,
 * and so is handed nothing: writers may overtake it without bound.
 * That bounds turns, not time: each writer waits until all who read just then were given a CPU. Of 8
 * writers and 56 readers on two CPUs, one waited for 14.6 s in a minute; the tests allow 20.
 *
 * Who writes what
 * ---------------
 *   state         who has the writers' mutex
 *   announcer     the same, for itself; the announcer withdraws it
 *   a place in line  its writer; whoever is behind it says that it is passed over, or, if its writer is
 *                 dead, frees it
 *   a free cell   any reader, by compare-and-swap
 *   a cell        its reader; a writer that hands over makes WAITING READING; if its reader is dead,
 *                 anybody frees it
 *
 * Ordering
 * --------
 * What a writer did before it released happens before what the next readers and writers do; what
 * a reader did, before what the next writer does.
 *
 * If a process dies
 * -----------------
 *   a reader, anywhere              its cell has its stamp: a writer that waits for it, or a reader
 *                                   that finds no cell, asks the kernel, and frees it
 *   a writer, in line               those behind it free its place, after at most 25 ms
 *   a writer, announced             readers that wait find that it is gone, after at most 25 ms
 *   a writer, waiting for readers   the next writer has the mutex; readers that wait find it free,
 *                                   after at most 25 ms
 *   a writer, writing               the next writer's acquire returns 1: the data may be half written;
 *                                   repair it and call cshm_rwlock_repair(). Until then readers are
 *                                   told -EOWNERDEAD, and do not wait. Released without a repair, it
 *                                   is -ENOTRECOVERABLE for everybody from then on
 *   a writer, leaving               some readers have been handed the lock; the others as above
 *   a woken waiter                  others delay by at most 25 ms
 * A stopped holder is alive: who wants the lock waits.
 */
#ifndef CSHM_RWLOCK_H
#define CSHM_RWLOCK_H

#include "base.h"
#include "bell.h"

CSHM_BEGIN_DECLS

enum {
    /** Readers at a time, at most. */
    CSHM_RWLOCK_READERS_MAX = 4096,
    /** Writers in line, at most. */
    CSHM_RWLOCK_LINE_MAX = 64,
};

/** A process's view of a lock. */
typedef struct cshm_rwlock cshm_rwlock;

/** A lock as it was at some instant. For people. */
struct cshm_rwlock_info {
    /** The process of who writes, or waits for readers to write; 0 if nobody does. */
    int32_t writer_pid;
    /** Its thread. */
    int32_t writer_thread;
    /** Cells of those that read. */
    uint32_t readers;
    /** Cells of those that wait to read. */
    uint32_t waiting;
    /** How many may read at a time. */
    uint32_t readers_max;
    /** Places of writers in line. */
    uint32_t writers_waiting;
    /** When the writer came, as cshm_mutex_info says it. */
    int64_t writer_since_ns;
};

/**
 * Makes a lock, free.
 *
 * @param readers_max  How many may read at a time, over all processes, 1 to
 *                     CSHM_RWLOCK_READERS_MAX; the others wait. 128 bytes each.
 * @param offset       Receives its place.
 * @returns 0, -EINVAL, -ENOSPC, -ECHILD (this process has not joined), -EPROTO.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_rwlock_create(cshm_region *region, uint32_t readers_max,
                                                   uint64_t *offset);

/** Opens the lock at a place. @returns 0, -EPROTO (there is none), -ENOMEM. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_rwlock_open(cshm_region *region, uint64_t offset,
                                                 cshm_rwlock **out);

/** Drops the view. */
CSHM_EXPORT void cshm_rwlock_close(cshm_rwlock *lock);

/** Frees the lock and the view. Nobody may use it afterwards. */
CSHM_EXPORT void cshm_rwlock_destroy(cshm_rwlock *lock);

/**
 * Acquires for reading, without waiting.
 *
 * @param cell  Receives what to release by.
 * @returns 0, -EAGAIN (a writer has it or wants it, or all cells are taken), -EDEADLK (this thread
 *          writes), -EOWNERDEAD (a writer died writing, and nobody has repaired yet),
 *          -ENOTRECOVERABLE, -ECHILD, -EPROTO. No system call, unless all cells are taken.
 *          Thread-safe, process-safe.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_rwlock_try_acquire_read(cshm_rwlock *lock, uint32_t *cell);

/** As cshm_rwlock_try_acquire_read(), waiting; -ETIMEDOUT in the place of -EAGAIN. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_rwlock_acquire_read_until(cshm_rwlock *lock,
                                                               int64_t deadline_ns, uint32_t *cell);

/** Releases, from any thread. @returns 0 or -EPERM (this process does not read by that cell). */
CSHM_EXPORT int cshm_rwlock_release_read(cshm_rwlock *lock, uint32_t cell);

/**
 * Acquires for writing, without waiting.
 *
 * @returns 0; 1 (had, and a writer died writing); -EAGAIN, -EDEADLK (this thread reads or writes),
 *          -ENOTRECOVERABLE, -ECHILD, -EPROTO. A system call for each process that reads.
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_rwlock_try_acquire_write(cshm_rwlock *lock);

/** The same by who was woken at a place of cshm_rwlock_writable(), so that others are woken, too. If
 * others read, it announces this process, which waits again or withdraws. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_rwlock_try_acquire_write_woken(cshm_rwlock *lock);

/** As cshm_rwlock_try_acquire_write(), waiting; -ETIMEDOUT in the place of -EAGAIN. */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_rwlock_acquire_write_until(cshm_rwlock *lock,
                                                                int64_t deadline_ns);

/** Declares the data whole again after an acquire that returned 1. @returns 0, -EINVAL (it was not
 * inherited), -EPERM (this thread does not write). */
CSHM_EXPORT int cshm_rwlock_repair(cshm_rwlock *lock);

/** Releases. @returns 0 or -EPERM (this thread does not write). */
CSHM_EXPORT int cshm_rwlock_release_write(cshm_rwlock *lock);

/**
 * From writing to reading, with nobody between.
 *
 * @param cell  Receives what to release by.
 * @returns 0, -EPERM, -EINVAL (repair first), -EUSERS (all cells are taken; it still writes).
 */
CSHM_EXPORT CSHM_MUST_CHECK int cshm_rwlock_downgrade(cshm_rwlock *lock, uint32_t *cell);

/** Who has it. */
CSHM_EXPORT void cshm_rwlock_describe(const cshm_rwlock *lock, struct cshm_rwlock_info *out);

/** What to wait for before a try to read: that no living writer has it or wants it. */
CSHM_EXPORT void cshm_rwlock_readable(const cshm_rwlock *lock, struct cshm_waitable *out);

/** What to wait for, both at once, before a try to write: that nobody writes, and that nobody reads.
 * A look asks whether the readers are dead, and announces this process if others read. Meanwhile other
 * writers go first. Who waits no longer, and does not try, calls cshm_rwlock_withdraw_write(). */
CSHM_EXPORT void cshm_rwlock_writable(const cshm_rwlock *lock, struct cshm_waitable out[2]);

/** Who comes to read need not wait for this process any more, until it waits to write again. Waits for
 * nobody. Thread-safe: another thread that waits announces it anew. */
CSHM_EXPORT void cshm_rwlock_withdraw_write(cshm_rwlock *lock);

CSHM_END_DECLS

#endif /* CSHM_RWLOCK_H */
