// SPDX-License-Identifier: Apache-2.0

internal import CBench

extension Suites {
    /// Values of 64 bytes and numbers, beside plain memory.
    internal static let values: [Row] = [
        Row(
            "sync/atomic/add/1", .nanoseconds, "a number is added to, by a call",
            time("own-add"),
            against: [time("atomic-add")]),
        Row(
            "sync/atomic/add/2", .perSecond, "the same, by two processes", turns("own-add", 2),
            against: [turns("atomic-add", 2)]),
        Row(
            "sync/value/load/1", .nanoseconds, "a value of 64 bytes is read whole",
            time("value-load"), against: [time("plain-copy"), time("read-under-mutex")]),
        Row(
            "sync/value/load/2", .perSecond, "the same, by two processes", turns("value-load", 2),
            against: [turns("plain-copy", 2), turns("read-under-mutex", 2)]),
        Row(
            "sync/value/change/1", .nanoseconds,
            "a value of 64 bytes is read, changed and written whole",
            time("value-change"), against: [time("change-under-mutex")]),
        Row(
            "sync/value/change/2", .perSecond, "the same, by two processes",
            turns("value-change", 2), against: [turns("change-under-mutex", 2)]),
        Row(
            "sync/array/read/1", .nanoseconds, "an element of 64 bytes is read in place",
            time("array-read"), against: [time("plain-array")]),
    ]

    /// What a killed process of 64 MiB costs the next one.
    internal static let holderDeaths: [Row] = [
        death("lock", BENCH_DEATH_LOCK, against: [("robust-mutex", BENCH_DEATH_ROBUST)]),
        death("baton", BENCH_DEATH_BATON).asMore,
        death("permits", BENCH_DEATH_PERMITS).asMore,
        death("rwlock", BENCH_DEATH_WRITER).asMore,
        death("rwlock-read", BENCH_DEATH_READER).asMore,
        death("once", BENCH_DEATH_ONCE).asMore,
        death("condition", BENCH_DEATH_CONDITION).asMore,
        death("condition", BENCH_DEATH_NOTIFIED, isWoken: true).asMore,
        death("semaphore", BENCH_DEATH_SEMAPHORE, isWoken: true).asMore,
        death("event", BENCH_DEATH_EVENT, isWoken: true).asMore,
        death("barrier", BENCH_DEATH_BARRIER).asMore,
    ]

    private static func death(
        _ name: String, _ kind: bench_death, isWoken: Bool = false,
        against peers: [(String, bench_death)] = []
    ) -> Row {
        let resident = 64 << 20
        let all = peers + [("waitid", BENCH_DEATH_SEEN)]
        return Row(
            "sync/\(name)/dead-\(isWoken ? "woken" : "holder")/64", .nanoseconds,
            isWoken
                ? "the next waiter goes on, from the SIGKILL of a woken one of 64 MiB"
                : "the next waiter has it, from the SIGKILL of a holder of 64 MiB",
            HolderDeathProbe(name: name, kind: kind, resident: resident),
            against: all.map { HolderDeathProbe(name: $0.0, kind: $0.1, resident: resident) })
    }

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
