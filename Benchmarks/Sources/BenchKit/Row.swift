// SPDX-License-Identifier: Apache-2.0

/// What a figure counts.
public enum Unit: String, Codable, Sendable {
    /// Messages, or operations, a second: more is better.
    case perSecond = "/s"
    /// Bytes a second: more is better.
    case bytesPerSecond = "B/s"
    /// Nanoseconds: less is better.
    case nanoseconds = "ns"

    /// Whether a greater figure is the better one.
    public var moreIsBetter: Bool { self != .nanoseconds }
}

/// One line of the table: what is measured, and what it is compared with.
public struct Row: Sendable {
    /// `suite/case/size/shape`.
    public let name: String
    /// Of its own figure and of every peer's.
    public let unit: Unit
    /// Whether it is a floor: a figure of the machine, not of this library.
    public let isFloor: Bool
    /// One line for `list`.
    public let about: String
    internal let subject: any Probe
    internal let peers: [any Probe]

    internal init(
        _ name: String, _ unit: Unit, _ about: String, _ subject: any Probe,
        against peers: [any Probe] = [], isFloor: Bool = false
    ) {
        self.name = name
        self.unit = unit
        self.about = about
        self.subject = subject
        self.peers = peers
        self.isFloor = isFloor
    }

    /// The first part of its name.
    public var suite: Substring { name.prefix { $0 != "/" } }

    /// What it is compared with.
    public var peerNames: [String] { peers.map(\.name) }
}
