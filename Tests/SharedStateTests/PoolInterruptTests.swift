// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

/// At a terminal, where ^C reaches all that belongs to the program.
@Suite("A pool and ^C", .serialized)
struct PoolInterruptTests {
    private static let interrupt = "\u{03}"

    /// Until the kernel knows none of them any more.
    private func expectNothingLeft(of family: [ProcessTree.Entry]) async throws {
        while !ProcessTree.remaining(of: family).isEmpty {
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    @Test func `^C cancels what is on its way, and the program goes on`() async throws {
        let program = try Program("ProcessFixture", ["interrupted"], columns: 80)
        _ = try await program.lines(untilPrinted: "ready")
        let family = ProcessTree.below(program.pid)
        program.type(Self.interrupt)
        // By itself, not by the signal.
        let output = try await program.finish()
        #expect(output.status == 7)
        let lines = output.out.split(separator: "\n")
        #expect(lines.contains("interrupted"))
        #expect(lines.count { $0 == "heeded" } == 1, "\(output)")
        try await expectNothingLeft(of: family)
    }

    @Test func `a second ^C ends everything at once`() async throws {
        let program = try Program("ProcessFixture", ["interrupted-twice"], columns: 80)
        _ = try await program.lines(untilPrinted: "ready")
        let family = ProcessTree.below(program.pid)
        program.type(Self.interrupt)
        _ = try await program.lines(untilPrinted: "interrupted")
        _ = try await program.lines(untilPrinted: "heeded")
        program.type(Self.interrupt)
        #expect(try await program.finish().status == -SIGINT)
        try await expectNothingLeft(of: family)
    }

    @Test func `^C ends a program whose pool has nothing to do`() async throws {
        let program = try Program("ProcessFixture", ["interrupted-idle"], columns: 80)
        _ = try await program.lines(untilPrinted: "ready")
        let family = ProcessTree.below(program.pid)
        program.type(Self.interrupt)
        #expect(try await program.finish().status == -SIGINT)
        try await expectNothingLeft(of: family)
    }

    /// Where no thread can be started the pool is refused, and ^C does what it does without one.
    @Test(arguments: [("interrupted-threadless", -SIGINT), ("interrupted-later", 7)])
    func `without a thread to hear of ^C there is no pool, and ^C is not swallowed`(
        part: String, status: Int32
    ) async throws {
        let program = try Program("ProcessFixture", [part], columns: 80)
        _ = try await program.lines(untilPrinted: "ready")
        let family = ProcessTree.below(program.pid)
        program.type(Self.interrupt)
        #expect(try await program.finish().status == status)
        try await expectNothingLeft(of: family)
    }
}
