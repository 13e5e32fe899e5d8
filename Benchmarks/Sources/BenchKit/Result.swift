// SPDX-License-Identifier: Apache-2.0

/// One row's figures.
public struct RowResult: Codable, Sendable {
    /// `suite/case/size/shape`.
    public let name: String
    /// The median over the repeats.
    public let value: Double
    /// The least.
    public let min: Double
    /// The greatest.
    public let max: Double
    /// What `value` counts.
    public let unit: Unit
    /// How many measurements it rests on.
    public let repeats: Int
    /// Ours divided by the other's in the same repeat, for each peer or floor.
    public let ratios: [String: Summary]
    /// What the others measured, in the same unit.
    public let others: [String: Summary]
    /// Nanoseconds of the ping-pong beside each repeat.
    public let pingPong: Summary?
    /// The part of the CPUs' time that other programs, or the host, took meanwhile.
    public let foreign: Double
    /// Peers without a figure, and why.
    public let skipped: [String: String]

    private enum CodingKeys: String, CodingKey {
        case name, value, min, max, unit, repeats, ratios, others
        case pingPong = "ping_pong"
        case foreign, skipped
    }
}

/// A whole run.
public struct Report: Codable, Sendable {
    /// Where it ran.
    public var machine: Machine
    /// The command that ran.
    public var command: String
    /// One for each row that was measured.
    public var results: [RowResult]
    /// Rows without a figure, and why.
    public var skipped: [String: String]
    /// What a reader must know before believing the figures.
    public var warnings: [String]

    /// Begins a report.
    public init(machine: Machine, command: String) {
        self.machine = machine
        self.command = command
        self.results = []
        self.skipped = [:]
        self.warnings = machine.warnings
    }
}
