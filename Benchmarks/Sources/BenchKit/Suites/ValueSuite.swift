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
