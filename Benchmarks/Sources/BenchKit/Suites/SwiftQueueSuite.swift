// SPDX-License-Identifier: Apache-2.0

extension Suites {
    internal static let swiftQueue: [Row] = [
        Row(
            "swift-queue/put-get/64/1x1", .perSecond,
            "Queue<Element>, put and get, waiting as by default",
            SwiftProbe("swift-queue", .queue),
            against: [
                ChannelProbe("queue-like-swift", as: "c-queue"),
                PythonProbe("python-queue", "mp_queue.py", "64"),
            ]),
        Row(
            "swift-queue/batch32/64/1x1", .perSecond,
            "Queue<Element>, 32 a call, waiting as by default",
            SwiftProbe("swift-queue", .batches),
            against: [
                ChannelProbe("queue-waiting", as: "c-queue").with { $0.batch = 32 },
                PythonProbe("python-queue", "mp_queue.py", "64"),
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
                PythonProbe("python-queue", "mp_queue.py", "1048576"),
            ]),
    ]

    internal static let lanes: [Row] = [
        Row(
            "lanes/stream/64/1x1", .perSecond, "one lane, tried", ChannelProbe("lanes"),
            against: [ChannelProbe("cached-index-ring"), ChannelProbe("queue")]),
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
            "broadcast/default-stream/64/1x1", .perSecond,
            "one lossless subscriber, waiting as by default", ChannelProbe("broadcast-waiting"),
            against: [ChannelProbe("broadcast", as: "own-spinning")]),
        Row(
            "broadcast/swift/64/1x1", .perSecond,
            "Broadcast<Element>, put and get, waiting as by default",
            SwiftProbe("swift-broadcast", .broadcast),
            against: [ChannelProbe("broadcast-waiting", as: "c-broadcast")]),
    ]
}
