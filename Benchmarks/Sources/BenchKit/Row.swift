// SPDX-License-Identifier: Apache-2.0

/// What a figure counts.
public enum Unit: String, Codable, Sendable {
    /// Messages, or operations, a second: more is better.
    case perSecond = "/s"
    /// Bytes a second: more is better.
    case bytesPerSecond = "B/s"
    /// Nanoseconds: less is better.
    case nanoseconds = "ns"
    /// Nanoseconds of CPU time in each second: less is better.
    case cpu = "ns/s"
    /// How often a second somebody who waits runs: less is better.
    case wakeUps = "wake-ups/s"
    /// Bytes of memory: less is better.
    case bytes = "B"

    /// Whether a greater figure is the better one.
    public var moreIsBetter: Bool { self == .perSecond || self == .bytesPerSecond }

    /// What kind of figure it is, for `list`.
    public var kind: String {
        switch self {
        case .perSecond, .bytesPerSecond: "rate"
        case .nanoseconds: "time"
        case .cpu, .wakeUps: "load"
        case .bytes: "memory"
        }
    }
}

/// One line of the table: what is measured, and what it is compared with.
public struct Row: Sendable {
    /// `suite/case/size/shape`.
    public let name: String
    /// Of its own figure and of every peer's.
    public let unit: Unit
    /// Whether it is a floor: a figure of the machine, not of this library.
    public let isFloor: Bool
    /// Whether it is measured only if it is asked for: one size, or shape, more of another row.
    public let isMore: Bool
    /// One line for `list`.
    public let about: String
    internal let subject: any Probe
    internal let peers: [any Probe]

    internal init(
        _ name: String, _ unit: Unit, _ about: String, _ subject: any Probe,
        against peers: [any Probe] = [], isFloor: Bool = false, isMore: Bool = false
    ) {
        self.name = name
        self.unit = unit
        self.about = about
        self.subject = subject
        self.peers = peers
        self.isFloor = isFloor
        self.isMore = isMore
    }

    /// The same row, only measured if it is asked for.
    internal var asMore: Row {
        Row(name, unit, about, subject, against: peers, isFloor: isFloor, isMore: true)
    }

    /// The first part of its name.
    public var suite: Substring { name.prefix { $0 != "/" } }

    /// What it is compared with.
    public var peerNames: [String] { peers.map(\.name) }
}
