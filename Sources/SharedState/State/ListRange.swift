// SPDX-License-Identifier: Apache-2.0

/// Elements as a caller names them: some of these need not be there.
///
/// A range of Swift's that is made to fit a collection stops the program if it does not; here
/// that is an error, as others may have removed what it is about.
internal struct ListRange {
    internal let lower: Int
    /// How many; `nil`: up to the end, wherever that is.
    internal let count: Int?

    /// - Returns: `nil` for what no array has.
    internal init?(_ range: some RangeExpression<Int>, count: () -> Int) {
        let lower: Int
        let upper: Int?
        switch range {
        case let range as Range<Int>: (lower, upper) = (range.lowerBound, range.upperBound)
        case let range as ClosedRange<Int>:
            (lower, upper) = (range.lowerBound, Self.after(range.upperBound))
        case let range as PartialRangeFrom<Int>: (lower, upper) = (range.lowerBound, nil)
        case let range as PartialRangeUpTo<Int>: (lower, upper) = (0, range.upperBound)
        case let range as PartialRangeThrough<Int>:
            (lower, upper) = (0, Self.after(range.upperBound))
        default:
            let range = range.relative(to: 0..<count())
            (lower, upper) = (range.lowerBound, range.upperBound)
        }
        guard lower >= 0, lower <= upper ?? .max else { return nil }
        self.lower = lower
        self.count = upper.map { $0 - lower }
    }

    private static func after(_ last: Int) -> Int { last == .max ? last : last + 1 }
}
