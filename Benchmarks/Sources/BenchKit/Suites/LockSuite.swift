// SPDX-License-Identifier: Apache-2.0

extension Suites {
    /// What is held, or counted, and by nobody else: its cost, and how it scales.
    internal static let locks: [Row] = [
        Row(
            "sync/lock/contended/8", .perSecond, "acquire, count, release by eight processes",
            turns("lock", 8),
            against: [turns("robust-mutex", 8), PythonProbe("python-lock", "mp_lock.py", "8")]),
        Row(
            "sync/baton/uncontended/1", .nanoseconds, "a process's lock, there and back",
            time("baton"), against: [time("cas-pair"), time("robust-mutex")]),
        Row(
            "sync/semaphore/uncontended/1", .nanoseconds, "acquire and release of a semaphore",
            time("semaphore"), against: [time("cas-pair"), time("posix-semaphore")]),
        Row(
            "sync/semaphore/contended/2", .perSecond, "the same, by two processes",
            turns("semaphore", 2), against: [turns("posix-semaphore", 2)]),
        Row(
            "sync/permits/uncontended/1", .nanoseconds, "a permit taken and given back",
            time("permits"), against: [time("cas-pair"), time("posix-semaphore")]),
        Row(
            "sync/permits/shared/2", .perSecond, "the same, by two processes, with enough for both",
            turns("permits", 2), against: [turns("posix-semaphore", 2)]),
        Row(
            "sync/rwlock/read/1", .nanoseconds, "a reader in and out",
            time("rwlock-read"), against: [time("cas-pair"), time("posix-rwlock-read")]),
        Row(
            "sync/rwlock/read/2", .perSecond, "readers in and out, in two processes",
            turns("rwlock-read", 2), against: [turns("posix-rwlock-read", 2)]),
        Row(
            "swift-lock/lock/uncontended/1", .nanoseconds, "Lock.withLock, counting",
            SwiftLockProbe(), against: [time("robust-mutex"), time("lock")]),
    ]

    private static func turns(_ name: String, _ processes: UInt32) -> ChannelProbe {
        ChannelProbe(name).with {
            $0.mode = .work
            $0.processes = processes
            $0.size = 8
        }
    }

    private static func time(_ name: String) -> TimeOfOne {
        TimeOfOne(rate: turns(name, 1))
    }
}
