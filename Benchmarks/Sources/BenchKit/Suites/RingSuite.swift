// SPDX-License-Identifier: Apache-2.0

extension Suites {
    internal static let ring: [Row] = [
        spsc(8), spsc(64),
        Row(
            "ring/spsc/1024/1x1", .perSecond, "ring, tried",
            ChannelProbe("ring").with { $0.size = 1024 },
            against: [ChannelProbe("cached-index-ring").with { $0.size = 1024 }], isMore: true),
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

    private static func spsc(_ size: UInt32) -> Row {
        func one(_ channel: String) -> ChannelProbe {
            ChannelProbe(channel).with { $0.size = size }
        }
        return Row(
            "ring/spsc/\(size)/1x1", .perSecond, "ring, tried", one("ring"),
            against: [
                one("cached-index-ring"), one("boost-lockfree-ring").from(boostLockfree),
            ])
    }
}
