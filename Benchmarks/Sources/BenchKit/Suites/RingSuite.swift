// SPDX-License-Identifier: Apache-2.0

extension Suites {
    internal static let ring: [Row] = [
        stream("ring/spsc/8/1x1", "ring, tried", "ring", 8, ["cached-index-ring"]),
        stream("ring/spsc/64/1x1", "ring, tried", "ring", 64, ["cached-index-ring"]),
        batch(8), batch(64),
        Row(
            "ring/roundtrip/8/1x1", .nanoseconds, "there and back, tried",
            ChannelProbe("ring").with {
                $0.mode = .roundTrip
                $0.size = 8
            }, against: [pingPong]),
        Row(
            "ring/roundtrip/64/1x1", .nanoseconds, "there and back, tried",
            ChannelProbe("ring").with { $0.mode = .roundTrip },
            against: [
                pingPong, ChannelProbe("cached-index-ring").with { $0.mode = .roundTrip },
            ]),
        paced("ring/latency-100k/64/1x1", "ring", ["cached-index-ring", "pipe"], 10_000),
        paced("ring/latency-1M/64/1x1", "ring", ["cached-index-ring"], 1000),
        Row(
            "ring/default-stream/64/1x1", .perSecond, "waiting as by default",
            ChannelProbe("ring-waiting"), against: [ChannelProbe("ring", as: "own-spinning")]),
        Row(
            "ring/default-roundtrip/64/1x1", .nanoseconds, "there and back, waiting as by default",
            ChannelProbe("ring-waiting").with { $0.mode = .roundTrip }, against: [pingPong]),
        Row(
            "ring/one-cpu-roundtrip/64/1x1", .nanoseconds,
            "there and back on one CPU, waiting as by default",
            ChannelProbe("ring-waiting").with {
                $0.mode = .roundTrip
                $0.placement = .together
            }, against: [pipeTogether]),
        Row(
            "ring/parked-roundtrip/64/1x1", .nanoseconds, "there and back, both asleep",
            ChannelProbe("ring-waiting").with { $0.mode = .parkedRoundTrip }, against: [futex]),
    ]

    /// Batches of 32, against single messages.
    private static func batch(_ size: UInt32) -> Row {
        Row(
            "ring/batch-32/\(size)/1x1", .perSecond, "ring, tried, 32 at a time",
            ChannelProbe("ring").with {
                $0.size = size
                $0.batch = 32
            }, against: [ChannelProbe("cached-index-ring").with { $0.size = size }])
    }

    /// Times one way at a fixed rate, from when each message was due.
    internal static func paced(
        _ name: String, _ channel: String, _ peers: [String], _ interval: UInt64
    ) -> Row {
        let probe = ChannelProbe(channel).with { $0.mode = .paced(interval: interval) }
        return Row(
            name, .nanoseconds, "one way, one message each \(interval) ns, from when it was due",
            probe, against: peers.map { peer in probe.with { $0.rename(peer) } })
    }

    /// A stream of messages of one size from one to one, against other channels.
    internal static func stream(
        _ name: String, _ about: String, _ channel: String, _ size: UInt32, _ peers: [String]
    ) -> Row {
        Row(
            name, .perSecond, about, ChannelProbe(channel).with { $0.size = size },
            against: peers.map { ChannelProbe($0).with { $0.size = size } })
    }
}
