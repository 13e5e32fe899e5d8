// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import BenchKit

@Suite("Counts", .serialized)
struct CountTests {
    @Test("one allocation is counted as one, and one system call")
    func controls() throws {
        let counter = try Counter()
        #expect(try counter.count("control/allocation").allocations == .each(1))
        let call = try counter.count("control/system-call").systemCalls
        if case .skipped = call { return }
        #expect(call == .each(1))
        #expect(try counter.count("control/allocation").systemCalls == .each(0))
    }

    @Test("instructions are those of the operation, where they can be counted")
    func instructions() throws {
        let counter = try Counter()
        guard case .each(let nothing) = try counter.count("control/nothing").instructions,
            case .each(let queue) = try counter.count("queue/put-get").instructions
        else { return }
        #expect(nothing == 0)
        #expect(queue > 20)
    }

    @Test("every operation has a limit, and every limit an operation")
    func limits() throws {
        #expect(try Set(Counter().names()) == Set(Counter.limits().keys))
    }

    @Test("what is above its limit is said; what was skipped is within it")
    func excess() {
        let count = Count(
            name: "a", allocations: .each(1), systemCalls: .skipped("not here"),
            instructions: .each(200))
        let strict = Count.Limit(allocations: 0, systemCalls: 0, instructions: 200)
        #expect(count.excess(over: strict) == ["a: 1.00 allocations, allowed are 0"])
        let lenient = Count.Limit(allocations: 1, systemCalls: 0, instructions: 200)
        #expect(count.excess(over: lenient).isEmpty)
    }
}
