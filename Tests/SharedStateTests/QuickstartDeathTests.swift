// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

/// Somebody of quickstart's family is killed, at any time: the rest comes to an end of its own.
@Suite("Deaths in quickstart", .serialized, .timeLimit(.minutes(2)))
struct QuickstartDeathTests {
    @Test(arguments: 0..<4)
    func `when main is killed, all below it end`(round: Int) async throws {
        let run = try await Family(round)
        kill(run.program.pid, SIGKILL)
        #expect(try await run.program.finish().status == -SIGKILL)
        run.expectNothingLeft()
    }

    @Test(arguments: 0..<4)
    func `when ^C is typed, all end`(round: Int) async throws {
        var output: Program.Output
        repeat {
            let run = try await Family(round, columns: 80)
            run.program.type("\u{3}")
            output = try await run.program.finish()
            run.expectNothingLeft()
            // One that had ended when the key was typed, all done, says nothing.
        } while Family.isWhole(output)
        #expect(output.status == -SIGINT, "\(output)")
    }

    @Test(arguments: 0..<6)
    func `when the zygote is killed, there is the result or an error`(round: Int) async throws {
        let run = try await Family(round)
        let zygote = try #require(run.members.first { $0.parent == run.program.pid })
        kill(zygote.pid, SIGKILL)
        try await run.expectResultOrError()
    }

    @Test(arguments: 0..<6)
    func `when a worker is killed, there is the result or an error`(round: Int) async throws {
        let run = try await Family(round)
        let worker = try #require(run.members.first { $0.parent != run.program.pid })
        kill(worker.pid, SIGKILL)
        try await run.expectResultOrError()
    }
}

/// A run of quickstart, as it was when it had workers and some time had passed.
private struct Family {
    let program: Program
    let members: [ProcessTree.Entry]

    init(_ round: Int, columns: UInt16? = nil) async throws {
        // At another point of the run each time; what the point is, the scheduler decides. A run that
        // ended before the test had its turn is run again, and looked at earlier.
        for attempt in 1...100 {
            let program = try Program("quickstart", ["Sources"], columns: columns)
            try await Task.sleep(for: .milliseconds(80 * round / attempt))
            if let members = Self.below(program) {
                self.program = program
                self.members = members
                return
            }
            _ = try await program.finish()
        }
        throw EndedTooEarly()
    }

    private struct EndedTooEarly: Error {}

    /// All below a program, once workers are among them; `nil` if it has ended.
    private static func below(_ program: Program) -> [ProcessTree.Entry]? {
        while ProcessTree.entry(of: program.pid)?.state != "Z" {
            let below = ProcessTree.below(program.pid)
            if below.contains(where: { $0.parent != program.pid }) { return below }
        }
        return nil
    }

    static func isWhole(_ output: Program.Output) -> Bool {
        output.status == 0 && output.out.contains("5 Executor   8\n")
            && output.out.contains(") verified\n")
    }

    func expectResultOrError() async throws {
        let output = try await program.finish()
        if output.status == 0 {
            #expect(Self.isWhole(output))
        } else {
            #expect(output.status == 1)
            // Between what others say of what the death did to them.
            let lines = output.err.split(separator: "\n")
            #expect(
                lines.contains { $0.hasPrefix("quickstart: ") && $0.contains("died") }, "\(output)")
        }
        expectNothingLeft()
    }

    /// Waits, for as long as a test may take, until none of the family is left.
    func expectNothingLeft() {
        try? eventually(within: .seconds(20)) { ProcessTree.remaining(of: members).isEmpty }
        #expect(ProcessTree.remaining(of: members) == [])
    }
}
