// SPDX-License-Identifier: Apache-2.0

internal import Histogram

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
    /// The median's 95 % confidence interval.
    public let interval: Interval
    /// What `value` counts.
    public let unit: Unit
    /// How many measurements it rests on.
    public let repeats: Int
    /// Ours divided by the other's in the same repeat, for each peer or floor.
    public let ratios: [String: Summary]
    /// The figure of each repeat.
    public let values: [Double]
    /// The ratios of each repeat.
    public let ratioValues: [String: [Double]]
    /// What the others measured, in the same unit.
    public let others: [String: Summary]
    /// The median ratio to the first floor that was measured, if there was one.
    public let floorRatio: Double?
    /// The median ratio to the first peer that was measured and is neither a floor nor ours.
    public let peerRatio: Double?
    /// Of the single times of all repeats, in nanoseconds: under "own", and under each peer's name.
    public let percentiles: [String: [Percentile]]
    /// How many single times ``percentiles`` rest on, under the same names.
    public let samples: [String: Int]
    /// Nanoseconds of the ping-pong beside each repeat.
    public let pingPong: Summary?
    /// The ping-pong beside each repeat, in nanoseconds.
    public let pingPongValues: [Double]
    /// Repeats during which the host moved the CPUs, even at the third try.
    public let moved: Int
    /// The part of the CPUs' time that other programs, or the host, took meanwhile.
    public let foreign: Double
    /// Peers without a figure, and why.
    public let skipped: [String: String]

    private enum CodingKeys: String, CodingKey {
        case name, value, min, max, interval, unit, repeats, ratios, values, others, percentiles
        case samples
        case ratioValues = "ratio_values"
        case floorRatio = "floor_ratio"
        case peerRatio = "peer_ratio"
        case pingPong = "ping_pong"
        case pingPongValues = "ping_pong_values"
        case moved, foreign, skipped
    }
}

extension RowResult {
    /// Why the figure is doubtful: what disturbed it.
    public var disturbances: [String] {
        var all: [String] = []
        if foreign > Runner.noisy { all.append("others took \(Int(foreign * 100)) % of the CPUs") }
        if moved > 0 { all.append("the host moved the CPUs \(moved) times") }
        return all
    }
}

/// How long it took at most, so many times of a hundred.
public struct Percentile: Codable, Equatable, Sendable {
    /// Of a hundred.
    public let percentile: Double
    /// Nanoseconds.
    public let nanoseconds: Double

    internal static let asked = [50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 100]

    /// The greatest, and those percentiles that at least one time of all lies beyond.
    internal static func all(_ times: Histogram<UInt64>) -> [Percentile] {
        let beyond = { (percentile: Double) in
            Double(times.totalCount) * (100 - percentile) / 100 > 1 - 1e-9
        }
        return asked.filter { $0 == 100 || beyond($0) }.map { percentile in
            Percentile(
                percentile: percentile,
                nanoseconds: Double(times.valueAtPercentile(percentile)))
        }
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

    /// Adds a row, and warns of what disturbed it.
    public mutating func add(_ result: RowResult) {
        results.append(result)
        warnings += result.disturbances.map { "\(result.name): \($0)" }
    }
}
