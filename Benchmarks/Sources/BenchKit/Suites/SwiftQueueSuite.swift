// SPDX-License-Identifier: Apache-2.0

extension Suites {
    internal static let swiftQueue: [Row] = [
        Row(
            "swift-queue/put-get/64/1x1", .perSecond,
            "Queue<Element>, put and get, waiting as by default", SwiftQueueProbe(),
            against: [
                ChannelProbe("queue-waiting", as: "c-queue"),
                PythonProbe("python-queue", "mp_queue.py", "64"),
            ])
    ]
}
