// SPDX-License-Identifier: Apache-2.0

extension Suites {
    internal static let messages: [Row] = [
        Row(
            "messages/in-place/1048576/1x1", .perSecond,
            "1 MiB written and read in place, 8 bytes of it touched", large("ring-in-place"),
            against: [large("cached-index-ring-lent").renamed("cached-index-ring")]),
        Row(
            "messages/copied/1048576/1x1", .perSecond, "1 MiB copied in and out", large("ring"),
            against: [large("cached-index-ring").renamed("two-memcpy")]),
        Row(
            "messages/copied/65536/1x1", .perSecond, "64 KiB copied in and out",
            large("ring").with { $0.size = 65536 },
            against: [
                large("cached-index-ring").renamed("two-memcpy").with { $0.size = 65536 }
            ]),
    ]

    private static func large(_ channel: String) -> ChannelProbe {
        ChannelProbe(channel).with {
            $0.size = 1 << 20
            $0.capacity = 8
        }
    }
}
