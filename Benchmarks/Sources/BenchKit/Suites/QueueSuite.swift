// SPDX-License-Identifier: Apache-2.0

internal import Foundation

extension Suites {
    internal static let queue: [Row] = [
        many(8, 1), many(64, 1), many(8, 2), many(64, 2), uneven(4, 1), uneven(1, 4),
        Row(
            "queue/mpmc/1024/1x1", .perSecond, "1 to 1, tried", shape("queue", 1024, 1),
            against: [shape("vyukov-ring", 1024, 1)], isMore: true),
        Row(
            "queue/mpmc/64/4x4", .perSecond, "four to four, tried", shape("queue", 64, 4),
            against: [
                shape("queue", 64, 2).renamed("own-2x2"), shape("vyukov-ring", 64, 4),
            ]),
        Row(
            "queue/mpmc-batch32/64/1x1", .perSecond, "32 messages a call, tried",
            shape("queue", 64, 1).with { $0.batch = 32 },
            against: [
                shape("vyukov-ring", 64, 1),
                shape("queue", 64, 1).renamed("own-single"),
            ]),
        Row(
            "queue/mpmc-batch32/64/2x2", .perSecond, "two to two, 32 messages a call, tried",
            shape("queue", 64, 2).with { $0.batch = 32 }, against: [shape("vyukov-ring", 64, 2)]),
        Row(
            "queue/mpmc-batch32/8/1x1", .perSecond, "32 messages a call, tried",
            shape("queue", 8, 1).with { $0.batch = 32 }, against: [shape("vyukov-ring", 8, 1)]),
        Row(
            "queue/mpmc-blocking/64/1x1", .perSecond, "waiting as by default",
            shape("queue-waiting", 64, 1),
            against: [shape("robust-mutex-ring", 64, 1), boostQueue(1)]),
        Row(
            "queue/mpmc-blocking/64/2x2", .perSecond, "two to two, waiting as by default",
            shape("queue-waiting", 64, 2),
            against: [shape("robust-mutex-ring", 64, 2), boostQueue(2)]),
        Row(
            "queue/default-stream/64/1x1", .perSecond, "waiting as by default",
            shape("queue-waiting", 64, 1),
            against: [shape("queue", 64, 1).renamed("own-spinning")]),
        Row(
            "queue/roundtrip/64/1x1", .nanoseconds, "there and back, tried", trip("queue"),
            against: [pingPong, trip("vyukov-ring")]),
        paced("queue/latency-100k/64/1x1", "queue", ["vyukov-ring", "pipe"], 10_000),
        paced("queue/latency-1M/64/1x1", "queue", ["vyukov-ring"], 1000),
        Row(
            "queue/default-roundtrip/64/1x1", .nanoseconds,
            "there and back, waiting as by default", trip("queue-waiting"), against: [pingPong]),
        Row(
            "queue/one-cpu-roundtrip/64/1x1", .nanoseconds,
            "there and back on one CPU, waiting as by default",
            trip("queue-waiting").with { $0.placement = .together }, against: [pipeTogether]),
        Row(
            "queue/parked-roundtrip/64/1x1", .nanoseconds, "there and back, both asleep",
            trip("queue-waiting").with { $0.mode = .parkedRoundTrip }, against: [futex]),
    ]

    private static func many(_ size: UInt32, _ processes: UInt32) -> Row {
        Row(
            "queue/mpmc/\(size)/\(processes)x\(processes)", .perSecond,
            "\(processes) to \(processes), tried", shape("queue", size, processes),
            against: [
                shape("vyukov-ring", size, processes),
                shape("vyukov-padded", size, processes),
                shape("ck-ring", size, processes).from(concurrencyKit),
                shape("rte-ring", size, processes).from(dpdk),
                shape("boost-lockfree-queue", size, processes).from(boostLockfree),
            ])
    }

    /// Many to one, or one to many.
    private static func uneven(_ producers: UInt32, _ consumers: UInt32) -> Row {
        func shape(_ channel: String) -> ChannelProbe {
            ChannelProbe(channel).with {
                $0.processes = producers
                $0.consumers = consumers
            }
        }
        return Row(
            "queue/mpmc/64/\(producers)x\(consumers)", .perSecond,
            "\(producers) to \(consumers), tried", shape("queue"), against: [shape("vyukov-ring")],
            isMore: true)
    }

    private static func shape(
        _ channel: String, _ size: UInt32, _ processes: UInt32
    ) -> ChannelProbe {
        ChannelProbe(channel).with {
            $0.size = size
            $0.processes = processes
        }
    }

    private static func trip(_ channel: String) -> ChannelProbe {
        ChannelProbe(channel).with { $0.mode = .roundTrip }
    }

    private static func boostQueue(_ processes: UInt32) -> ChannelProbe {
        shape("boost-message-queue", 64, processes).from(boost)
    }

    internal static let boostLockfree = CompiledPeer(
        "boost_lockfree.cpp", package: "libboost-dev")
    private static let boost = CompiledPeer(
        "boost_message_queue.cpp", libraries: ["-lrt", "-pthread"], package: "libboost-dev")
    private static let concurrencyKit = CompiledPeer("ck_ring.c", package: "libck-dev")
    private static let dpdk = CompiledPeer(
        "rte_ring.c",
        flags: ["-march=native"]
            + ["/usr/include", Place.extracted.path].flatMap {
                ["-I\($0)/dpdk", "-I\($0)/x86_64-linux-gnu/dpdk", "-I\($0)/aarch64-linux-gnu/dpdk"]
            },
        package: "libdpdk-dev")
}

extension ChannelProbe {
    internal func renamed(_ name: String) -> ChannelProbe {
        with { $0.name = name }
    }

    /// Becomes the channel of that name.
    internal mutating func rename(_ channel: String) {
        self.channel = channel
        name = channel
    }

    internal func from(_ peer: CompiledPeer) -> ChannelProbe {
        with { $0.peer = peer }
    }
}
