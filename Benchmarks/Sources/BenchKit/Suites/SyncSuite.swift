// SPDX-License-Identifier: Apache-2.0

extension Suites {
    internal static let sync: [Row] = [
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
    ]

    private static func lock(_ name: String, _ processes: UInt32) -> ChannelProbe {
        ChannelProbe(name).with {
            $0.mode = .work
            $0.processes = processes
            $0.size = 8
        }
    }
}
