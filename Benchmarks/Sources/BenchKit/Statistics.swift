// SPDX-License-Identifier: Apache-2.0

/// What repeated measurements of one thing came to.
public struct Summary: Codable, Equatable, Sendable {
    /// The middle one, or the mean of the two in the middle.
    public let median: Double
    /// The least.
    public let min: Double
    /// The greatest.
    public let max: Double

    /// Sums up values; `nil` if there is none.
    ///
    /// - Parameter values: One for each repeat.
    public init?(_ values: [Double]) {
        guard !values.isEmpty else { return nil }
        let sorted = values.sorted()
        let middle = sorted.count / 2
        self.median =
            sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
        self.min = sorted[0]
        self.max = sorted[sorted.count - 1]
    }
}
