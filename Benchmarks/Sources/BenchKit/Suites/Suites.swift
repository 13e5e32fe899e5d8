// SPDX-License-Identifier: Apache-2.0

/// Every row there is, in the order of the table.
public enum Suites {
    /// All of them.
    public static let all: [Row] = [
        floors, ring, queue, messages, swiftQueue, lanes, broadcast, sync, locks, map, swiftMap,
        pool, process,
    ].flatMap { $0 }

    /// Those whose name contains one of some words.
    ///
    /// - Parameter filters: Parts of names; none selects every row.
    /// - Returns: The rows, in order.
    public static func matching(_ filters: [String]) -> [Row] {
        guard !filters.isEmpty else { return all }
        return all.filter { row in filters.contains { row.name.contains($0) } }
    }
}

/// The cache line that goes back and forth.
internal let pingPong = ChannelProbe("ping-pong").with { $0.mode = .roundTrip }

extension Suites {
    internal static let floors: [Row] = [
        Row(
            "floor/ping-pong/8/1x1", .nanoseconds, "a word there and back", pingPong, isFloor: true),
        Row(
            "floor/futex/8/1x1", .nanoseconds, "a futex wake and wait there and back, both asleep",
            futex, isFloor: true),
        Row(
            "floor/pipe-roundtrip/64/1x1", .nanoseconds, "a pipe there and back",
            ChannelProbe("pipe").with { $0.mode = .roundTrip }, isFloor: true),
        Row(
            "floor/pipe-one-cpu/64/1x1", .nanoseconds, "a pipe there and back on one CPU",
            pipeTogether, isFloor: true),
        Row(
            "floor/memcpy/262144/1", .bytesPerSecond, "copying within the second-level cache",
            MemoryCopyProbe(size: 262_144), isFloor: true),
        Row(
            "floor/memcpy/1048576/1", .bytesPerSecond, "copying 1 MiB",
            MemoryCopyProbe(size: 1_048_576), isFloor: true),
    ]

    internal static let futex = ChannelProbe("futex").with { $0.mode = .parkedRoundTrip }
    internal static let pipeTogether = ChannelProbe("pipe").with {
        $0.mode = .roundTrip
        $0.placement = .together
    }
}
