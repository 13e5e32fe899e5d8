// SPDX-License-Identifier: Apache-2.0

extension Suites {
    internal static let messages: [Row] =
        [
            inPlace(64, "64 B"), inPlace(1 << 20, "1 MiB"), inPlace(1 << 26, "64 MiB"),
            Row(
                "messages/copied/1048576/1x1", .perSecond, "1 MiB copied in and out",
                large("ring"), against: [large("cached-index-ring").renamed("two-memcpy")]),
            Row(
                "messages/copied/65536/1x1", .perSecond, "64 KiB copied in and out",
                large("ring").with { $0.size = 65536 },
                against: [
                    large("cached-index-ring").renamed("two-memcpy").with { $0.size = 65536 }
                ]),
        ] + [8, 64, 1024, 16384, 262_144, 1_048_576].map { blocking($0) } + [
            shared(2), shared(4),
            Row(
                "messages/roundtrip/64/1x1", .nanoseconds, "there and back, beside what blocks",
                trip("queue-waiting"),
                against: [trip("pipe"), trip("unix-socket"), trip("posix-message-queue")]
                    + [trip("zeromq").from(zeromq), trip("iceoryx").from(iceoryx)]
                    + [trip("redis").from(redis)]),
            Row(
                "messages/latency-10k/64/1x1", .nanoseconds,
                "one way, one message each 100 µs, from when it was due", paced("queue-waiting"),
                against: [
                    paced("unix-socket"), paced("posix-message-queue"),
                    paced("zeromq").from(zeromq), paced("iceoryx").from(iceoryx),
                ], isMore: true),
        ]

    /// The descriptor's cost, whatever the size.
    private static func inPlace(_ size: UInt32, _ name: String) -> Row {
        func lent(_ channel: String) -> ChannelProbe { large(channel).with { $0.size = size } }
        // Its daemon would need a pool of such chunks.
        let others =
            size > 1 << 20
            ? [] : [lent("iceoryx-lent").renamed("iceoryx").from(iceoryx)]
        return Row(
            "messages/in-place/\(size)/1x1", .perSecond,
            "\(name) written and read in place, 8 bytes of it touched", lent("ring-in-place"),
            against: [lent("cached-index-ring-lent").renamed("cached-index-ring")] + others,
            isMore: size != 1 << 20)
    }

    /// One queue beside everything that blocks, from one to one.
    private static func blocking(_ size: UInt32) -> Row {
        func one(_ channel: String) -> ChannelProbe {
            ChannelProbe(channel).with {
                $0.size = size
                $0.capacity = size < 16384 ? 1024 : 8
            }
        }
        let always = [one("pipe"), one("unix-socket")]
        let small = size <= 8192 ? [one("posix-message-queue")] : []
        let redis = size == 64 ? [one("redis").from(redis)] : []
        return Row(
            "messages/blocking/\(size)/1x1", .perSecond,
            "copied in and out, waiting as by default, beside what blocks", one("queue-waiting"),
            against: always + small + redis
                + [one("zeromq").from(zeromq), one("iceoryx").from(iceoryx)],
            isMore: size != 64 && size != 1_048_576)
    }

    /// The same, from many to many.
    private static func shared(_ processes: UInt32) -> Row {
        func many(_ channel: String) -> ChannelProbe {
            ChannelProbe(channel).with { $0.processes = processes }
        }
        return Row(
            "messages/blocking/64/\(processes)x\(processes)", .perSecond,
            "\(processes) to \(processes), waiting as by default, beside what blocks",
            many("queue-waiting"), against: [many("pipe"), many("posix-message-queue")],
            isMore: true)
    }

    private static func trip(_ channel: String) -> ChannelProbe {
        ChannelProbe(channel).with { $0.mode = .roundTrip }
    }

    private static func paced(_ channel: String) -> ChannelProbe {
        ChannelProbe(channel).with { $0.mode = .paced(interval: 100_000) }
    }

    private static func large(_ channel: String) -> ChannelProbe {
        ChannelProbe(channel).with {
            $0.size = 1 << 20
            $0.capacity = 8
        }
    }

    private static let zeromq = CompiledPeer(
        "zeromq.c", libraries: ["-lzmq"], package: "libzmq3-dev")
    private static let redis = CompiledPeer("redis.c", program: "redis-server")
    private static let iceoryx = CompiledPeer(
        "iceoryx.cpp", flags: ["-I/usr/include/iceoryx/v2.0.3"],
        libraries: ["-liceoryx_posh", "-liceoryx_hoofs", "-liceoryx_platform"],
        program: "iox-roudi", package: "libiceoryx-posh-dev and iceoryx")
}
