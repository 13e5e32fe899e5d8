// SPDX-License-Identifier: Apache-2.0

/// What repeated measurements of one thing came to.
public struct Summary: Codable, Equatable, Sendable {
    /// The middle one, or the mean of the two in the middle.
    public let median: Double
    /// The least.
    public let min: Double
    /// The greatest.
    public let max: Double
    /// The median's 95 % confidence interval, by bootstrap.
    public let interval: Interval

    /// Sums up values; `nil` if there is none.
    ///
    /// - Parameter values: One for each repeat.
    public init?(_ values: [Double]) {
        guard let least = values.min(), let greatest = values.max() else { return nil }
        self.median = Statistics.median(values)
        self.min = least
        self.max = greatest
        self.interval = Statistics.interval { source in
            Statistics.median(Statistics.resample(values, &source))
        }
    }
}

/// From where to where.
public struct Interval: Codable, Equatable, Sendable {
    /// The lower end.
    public let low: Double
    /// The upper end.
    public let high: Double
}

/// Medians and how far they can be trusted.
public enum Statistics {
    /// The middle value, or the mean of the two in the middle.
    ///
    /// - Parameter values: At least one.
    /// - Returns: It.
    public static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }

    /// How many times `after`'s median is `before`'s, with its 95 % confidence interval.
    ///
    /// - Parameters:
    ///   - before: At least one value.
    ///   - after: At least one value.
    /// - Returns: The quotient of the medians, and from where to where it may be.
    public static func change(from before: [Double], to after: [Double]) -> (
        quotient: Double, interval: Interval
    ) {
        let interval = interval { source in
            median(resample(after, &source)) / median(resample(before, &source))
        }
        return (median(after) / median(before), interval)
    }

    /// The middle 95 % of what `draw` gives in 2000 draws, the same ones every time.
    internal static func interval(_ draw: (inout RandomSource) -> Double) -> Interval {
        var source = RandomSource(state: 7)
        let drawn = (0..<2000).map { _ in draw(&source) }.sorted()
        return Interval(low: drawn[50], high: drawn[1949])
    }

    internal static func resample(_ values: [Double], _ source: inout RandomSource) -> [Double] {
        values.map { _ in values[Int(source.next() % UInt64(values.count))] }
    }
}

/// SplitMix64: small, and the same on every machine.
internal struct RandomSource: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
