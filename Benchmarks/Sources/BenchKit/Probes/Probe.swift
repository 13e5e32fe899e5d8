// SPDX-License-Identifier: Apache-2.0

/// Something that can be measured once.
internal protocol Probe: Sendable {
    /// What it is called where it stands beside others.
    var name: String { get }
    /// Why it cannot be measured here; `nil` if it can.
    func reasonToSkip() -> String?
    /// Measures it, in the unit of the row it stands in.
    func measure(_ settings: Settings) throws -> Double
}

/// Why a measurement gave no figure.
public struct MeasurementFailure: Error, CustomStringConvertible {
    /// What happened.
    public let description: String

    internal init(_ description: String) {
        self.description = description
    }
}
