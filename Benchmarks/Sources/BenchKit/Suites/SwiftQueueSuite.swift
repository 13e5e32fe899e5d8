// SPDX-License-Identifier: Apache-2.0

extension Suites {
    internal static let swiftQueue: [Row] = [
        Row(
            "swift-queue/put-get/64/1x1", .perSecond,
            "Queue<Element>, put and get, waiting as by default",
            SwiftProbe("swift-queue", .queue),
            against: [
                ChannelProbe("queue-like-swift", as: "c-queue"),
                PythonProbe("python-queue", "mp_queue.py", "64"), fasterFifo("64", "1"),
            ]),
        Row(
            "swift-queue/batch32/64/1x1", .perSecond,
            "Queue<Element>, 32 a call, waiting as by default",
            SwiftProbe("swift-queue", .batches),
            against: [
                ChannelProbe("queue-waiting", as: "c-queue").with { $0.batch = 32 },
                PythonProbe("python-queue", "mp_queue.py", "64"), fasterFifo("64", "32"),
            ]),
        Row(
            "swift-queue/put-get/1048576/1x1", .perSecond,
            "Queue<[UInt8]>, 1 MiB, waiting as by default",
            SwiftProbe("swift-queue", .large),
            against: [
                ChannelProbe("queue-like-swift", as: "c-queue").with {
                    $0.size = 1 << 20
                    $0.capacity = 8
                },
                PythonProbe("python-queue", "mp_queue.py", "1048576"), fasterFifo("1048576", "1"),
            ]),
        Row(
            "swift-queue/in-place/1048576/1x1", .perSecond,
            "Queue<[UInt64]>, all of 1 MiB written and read in place",
            SwiftProbe("swift-queue", .inPlace),
            against: [
                PythonProbe("python-queue", "mp_queue.py", "1048576"), fasterFifo("1048576", "1"),
            ]),
    ]

    private static func fasterFifo(_ size: String, _ batch: String) -> PythonProbe {
        PythonProbe(
            name: "faster-fifo", script: "faster_fifo_queue.py", arguments: [size, batch],
            module: "faster_fifo")
    }

    internal static let lanes: [Row] = [
        Row(
            "lanes/stream/64/1x1", .perSecond, "one lane, tried", ChannelProbe("lanes"),
            against: [ChannelProbe("cached-index-ring"), ChannelProbe("queue")]),
        Row(
            "lanes/stream/64/4x1", .perSecond, "four lanes, tried", fourToOne("lanes"),
            against: [fourToOne("queue"), fourToOne("vyukov-ring")]),
        sized("lanes", 8), sized("lanes", 4096), sized("lanes", 1_048_576),
        paced("lanes/latency-100k/64/1x1", "lanes", ["queue"], 10_000).asMore,
        Row(
            "lanes/default-stream/64/1x1", .perSecond, "one lane, waiting as by default",
            ChannelProbe("lanes-waiting"),
            against: [ChannelProbe("lanes", as: "own-spinning")]),
        Row(
            "lanes/swift/64/1x1", .perSecond, "Lanes<Element>, put and get, waiting as by default",
            SwiftProbe("swift-lanes", .lanes),
            against: [ChannelProbe("lanes-waiting", as: "c-lanes")]),
    ]

    internal static let broadcast: [Row] = [
        Row(
            "broadcast/stream/64/1x1", .perSecond, "one lossless subscriber, tried",
            ChannelProbe("broadcast"),
            against: [ChannelProbe("vyukov-ring"), ChannelProbe("queue")]),
        Row(
            "broadcast/stream/64/1x2", .perSecond,
            "two lossless subscribers, tried; what both get",
            ChannelProbe("broadcast").with { $0.consumers = 2 },
            against: [ChannelProbe("broadcast", as: "own-1x1")]),
        Row(
            "broadcast/stream/64/1x4", .perSecond, "four of them; what all get",
            ChannelProbe("broadcast").with { $0.consumers = 4 },
            against: [ChannelProbe("broadcast", as: "own-1x1")], isMore: true),
        Row(
            "broadcast/stream/64/2x2", .perSecond, "two publishers, two subscribers; what both get",
            ChannelProbe("broadcast").with { $0.processes = 2 },
            against: [ChannelProbe("broadcast", as: "own-1x1")], isMore: true),
        sized("broadcast", 8), sized("broadcast", 4096), sized("broadcast", 1_048_576),
        paced("broadcast/latency-100k/64/1x1", "broadcast", ["queue"], 10_000).asMore,
        Row(
            "broadcast/default-stream/64/1x1", .perSecond,
            "one lossless subscriber, waiting as by default", ChannelProbe("broadcast-waiting"),
            against: [ChannelProbe("broadcast", as: "own-spinning")]),
        Row(
            "broadcast/swift/64/1x1", .perSecond,
            "Broadcast<Element>, put and get, waiting as by default",
            SwiftProbe("swift-broadcast", .broadcast),
            against: [ChannelProbe("broadcast-waiting", as: "c-broadcast")]),
    ]

    private static func fourToOne(_ channel: String) -> ChannelProbe {
        ChannelProbe(channel).with {
            $0.processes = 4
            $0.consumers = 1
        }
    }

    /// The same stream with messages of another size.
    private static func sized(_ channel: String, _ size: UInt32) -> Row {
        func one(_ channel: String) -> ChannelProbe {
            ChannelProbe(channel).with {
                $0.size = size
                $0.capacity = size < 16384 ? 1024 : 8
            }
        }
        return Row(
            "\(channel)/stream/\(size)/1x1", .perSecond, "the same, \(size) bytes", one(channel),
            against: [one("cached-index-ring"), one("queue")], isMore: true)
    }
}
