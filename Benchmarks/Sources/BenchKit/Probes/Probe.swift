// SPDX-License-Identifier: Apache-2.0

internal import Histogram

/// Something that can be measured once.
internal protocol Probe: Sendable {
    /// What it is called where it stands beside others.
    var name: String { get }
    /// Why it cannot be measured here; `nil` if it can.
    func reasonToSkip(_ settings: Settings) -> String?
    /// Measures it, in the unit of the row it stands in.
    func measure(_ settings: Settings) throws -> Measurement
}

/// What one measurement gave.
internal struct Measurement {
    /// The figure.
    var value: Double
    /// The single times behind it, in nanoseconds, if percentiles are asked for.
    var times: Histogram<UInt64>?
}

/// Why a measurement gave no figure.
public struct MeasurementFailure: Error, CustomStringConvertible {
    /// What happened.
    public let description: String

    internal init(_ description: String) {
        self.description = description
    }
}
