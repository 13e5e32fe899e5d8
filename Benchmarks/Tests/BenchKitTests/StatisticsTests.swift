// SPDX-License-Identifier: Apache-2.0

import BenchKit
import Testing

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
}
