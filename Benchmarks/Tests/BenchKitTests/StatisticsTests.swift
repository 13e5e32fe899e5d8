// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import BenchKit

@Suite("Statistics")
struct StatisticsTests {
    @Test("the median of an even number of values is the mean of the middle two")
    func medianOfFour() throws {
        let summary = try #require(Summary([4, 1, 3, 2]))
        #expect(summary.median == 2.5)
        #expect(summary.min == 1)
        #expect(summary.max == 4)
    }

    @Test("nothing has no summary")
    func nothing() {
        #expect(Summary([]) == nil)
    }

    @Test("an interval holds the median, is within the values, and is the same every time")
    func interval() throws {
        let values = [3.0, 5, 4, 9, 6, 5, 4]
        let summary = try #require(Summary(values))
        #expect(summary.interval.low <= summary.median && summary.median <= summary.interval.high)
        #expect(summary.interval.low >= 3 && summary.interval.high <= 9)
        #expect(Summary(values) == summary)
    }

    @Test("steady values have an interval of no width; scattered ones a wide one")
    func width() throws {
        let steady = try #require(Summary([7, 7, 7, 7, 7]))
        #expect(steady.interval == Interval(low: 7, high: 7))
        let scattered = try #require(Summary([1, 20, 3, 40, 5]))
        #expect(scattered.interval.high - scattered.interval.low > 2)
    }

    @Test("a change is the quotient of the medians")
    func change() {
        let (quotient, interval) = Statistics.change(from: [10, 10, 10], to: [15, 15, 15])
        #expect(quotient == 1.5)
        #expect(interval == Interval(low: 1.5, high: 1.5))
    }

    @Test("the histogram keeps three digits, and the far end")
    func histogramDigits() throws {
        let times = histogram((1...10_000).map { UInt64($0) * 100 })
        let percentiles = Percentile.all(times)
        let median = try #require(percentiles.first { $0.percentile == 50 })
        #expect(abs(median.nanoseconds - 500_000) < 1000)
        let most = try #require(percentiles.last)
        #expect(most.percentile == 100)
        #expect(abs(most.nanoseconds - 1_000_000) < 2000)
    }
}
