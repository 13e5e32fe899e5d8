// SPDX-License-Identifier: Apache-2.0

/// What became of each row between two runs.
public struct Comparison: Sendable {
    /// One row in both runs.
    public struct Change: Sendable {
        /// Of the row.
        public let name: String
        /// What the figures count.
        public let unit: Unit
        /// The medians.
        public let before: Double
        /// The medians.
        public let after: Double
        /// How much better, as a part of `before`: negative is worse.
        public let gain: Double
        /// Where `gain` may lie, with 95 % confidence.
        public let interval: Interval

        /// Whether it is certainly worse by more than a part of `before`.
        ///
        /// - Parameter threshold: The part, as 0.1 for a tenth.
        /// - Returns: `true` if even the better end of the interval is.
        public func isWorse(than threshold: Double) -> Bool {
            interval.high < -threshold
        }
    }

    /// Rows of both runs, in the order of the later one.
    public let changes: [Change]
    /// Rows of one run only.
    public let unmatched: [String]

    /// Compares two runs.
    ///
    /// - Parameters:
    ///   - before: The earlier one.
    ///   - after: The later one.
    ///   - peer: Compare the ratios to this peer or floor and not the figures themselves, as these
    ///     change with the machine's mood.
    public init(_ before: Report, _ after: Report, ratiosTo peer: String? = nil) {
        let earlier = Dictionary(
            before.results.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        self.changes = after.results.compactMap { result in
            guard let old = earlier[result.name], old.unit == result.unit else { return nil }
            return Self.change(from: old, to: result, peer)
        }
        let matched = Set(changes.map(\.name))
        let all = before.results.map(\.name) + after.results.map(\.name)
        self.unmatched = Set(all).subtracting(matched).sorted()
    }

    private static func change(
        from old: RowResult, to new: RowResult, _ peer: String?
    ) -> Change? {
        let values = peer.map { (old.ratioValues[$0] ?? [], new.ratioValues[$0] ?? []) }
        let (before, after) = values ?? (old.values, new.values)
        guard !before.isEmpty, !after.isEmpty else { return nil }
        let (quotient, interval) = Statistics.change(from: before, to: after)
        let better = new.unit.moreIsBetter
        return Change(
            name: new.name, unit: new.unit, before: Statistics.median(before),
            after: Statistics.median(after), gain: better ? quotient - 1 : 1 - quotient,
            interval: better
                ? Interval(low: interval.low - 1, high: interval.high - 1)
                : Interval(low: 1 - interval.high, high: 1 - interval.low))
    }
}
