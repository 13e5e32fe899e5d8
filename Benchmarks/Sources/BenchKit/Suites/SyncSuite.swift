// SPDX-License-Identifier: Apache-2.0

extension Suites {
    internal static let sync: [Row] =
        [
            Row(
                "sync/lock/uncontended/1", .nanoseconds, "acquire, count, release by one process",
                TimeOfOne(rate: lock("lock", 1)),
                against: [
                    TimeOfOne(rate: lock("robust-mutex", 1)),
                    TimeOfOne(rate: PythonProbe("python-lock", "mp_lock.py", "1")),
                ]),
            Row(
                "sync/lock/contended/2", .perSecond, "acquire, count, release by two processes",
                lock("lock", 2),
                against: [lock("robust-mutex", 2), PythonProbe("python-lock", "mp_lock.py", "2")]),
        ] + signals

    private static let signals: [Row] = [
        Row(
            "sync/condition/roundtrip/2", .nanoseconds, "there and back, both asleep",
            asleep("condition"), against: [futex, python("condition")]),
        Row(
            "sync/condition/hot-roundtrip/2", .nanoseconds,
            "there and back, waiting as by default", hot("condition"),
            against: [pingPong, python("condition")]),
        Row(
            "sync/event/roundtrip/2", .nanoseconds, "there and back, both asleep", asleep("event"),
            against: [futex, python("event")]),
        Row(
            "sync/event/hot-roundtrip/2", .nanoseconds, "there and back, waiting as by default",
            hot("event"), against: [pingPong, python("event")]),
        Row(
            "sync/event/test/1", .nanoseconds, "is it set?", TimeOfOne(rate: lock("event-test", 1)),
            against: [casPair]),
        barrier(2), barrier(8),
    ]

    private static func asleep(_ name: String) -> ChannelProbe {
        ChannelProbe(name).with { $0.mode = .parkedRoundTrip }
    }

    private static func hot(_ name: String) -> ChannelProbe {
        ChannelProbe(name).with { $0.mode = .roundTrip }
    }

    private static func python(_ kind: String) -> PythonProbe {
        PythonProbe("python-\(kind)", "mp_signal.py", kind)
    }

    /// One pass of all parties.
    private static func barrier(_ parties: UInt32) -> Row {
        Row(
            "sync/barrier/wait/\(parties)", .nanoseconds, "\(parties) processes, one pass",
            TimeOfOne(rate: lock("barrier", parties), of: Double(parties)),
            against: [
                TimeOfOne(rate: lock("pthread-barrier", parties), of: Double(parties)),
                PythonProbe("python-barrier", "mp_signal.py", "barrier", "\(parties)"),
            ])
    }

    private static func lock(_ name: String, _ processes: UInt32) -> ChannelProbe {
        ChannelProbe(name).with {
            $0.mode = .work
            $0.processes = processes
            $0.size = 8
        }
    }
}
