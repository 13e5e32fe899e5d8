// SPDX-License-Identifier: Apache-2.0

/// The cache line that goes back and forth.
internal let pingPong = ChannelProbe("ping-pong").with { $0.mode = .roundTrip }

extension Suites {
    internal static let floors: [Row] = [
        Row(
            "floor/ping-pong/8/1x1", .nanoseconds, "a word there and back", pingPong, isFloor: true),
        Row(
            "floor/cas/8/1", .nanoseconds, "a word swapped, and swapped back", casPair,
            isFloor: true),
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
            FunctionProbe.memoryCopy(262_144), isFloor: true),
        Row(
            "floor/memcpy/1048576/1", .bytesPerSecond, "copying 1 MiB",
            FunctionProbe.memoryCopy(1_048_576), isFloor: true),
        Row(
            "floor/fork/0/1", .nanoseconds, "fork of a process that ends, and wait for it",
            FunctionProbe.fork, isFloor: true),
        Row(
            "floor/spawn/0/1", .nanoseconds, "posix_spawn of /bin/true, and wait for it",
            FunctionProbe.spawn, isFloor: true),
    ]

    internal static let futex = ChannelProbe("futex").with { $0.mode = .parkedRoundTrip }
    internal static let casPair = TimeOfOne(
        rate: ChannelProbe("cas-pair").with {
            $0.mode = .work
            $0.size = 8
        })
    internal static let pipeTogether = ChannelProbe("pipe").with {
        $0.mode = .roundTrip
        $0.placement = .together
    }
}
