// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import BenchKit

@Suite("Counts", .serialized)
struct CountTests {
    @Test("one allocation is counted as one")
    func allocations() throws {
        let counter = try Counter()
        #expect(try counter.count("control/allocation").allocations == .each(1))
        #expect(try counter.count("control/system-call").allocations == .each(0))
    }

    @Test("one system call is counted as one, where processes may be traced")
    func systemCalls() throws {
        let counter = try Counter()
        let call = try counter.count("control/system-call").systemCalls
        let none = try counter.count("control/allocation").systemCalls
        if case .skipped(let reason) = call {
            #expect(reason == "processes may not be traced here")
            #expect(none == call)
        } else {
            #expect(call == .each(1))
            #expect(none == .each(0))
        }
    }

    private static let canCountInstructions = ["valgrind", "strip"].allSatisfy {
        (try? Command(["which", $0]).run())?.status == 0
    }

    @Test("instructions are those of the operation", .enabled(if: canCountInstructions))
    func instructions() throws {
        let counter = try Counter()
        #expect(try counter.count("control/nothing").instructions == .each(0))
        guard case .each(let queue) = try counter.count("queue/put-get").instructions else {
            Issue.record("valgrind is here and counted nothing")
            return
        }
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
        #expect(count.uncounted == ["a: system calls not counted: not here"])
    }
}
