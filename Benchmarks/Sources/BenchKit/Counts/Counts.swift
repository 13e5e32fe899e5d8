// SPDX-License-Identifier: Apache-2.0

internal import CBench
internal import Foundation

/// What an operation does each time, as far as it does not depend on the machine's noise.
public struct Count: Sendable {
    /// Of the operation, as `queue/put-get`.
    public let name: String
    /// Allocations.
    public let allocations: Figure
    /// System calls of the thread that does it.
    public let systemCalls: Figure
    /// Instructions.
    public let instructions: Figure

    /// How often, each time; or why nobody knows.
    public enum Figure: Equatable, Sendable {
        /// Each time.
        case each(Double)
        /// It could not be counted here.
        case skipped(String)
    }

    /// What it is allowed; a figure that was skipped is within everything.
    public struct Limit: Codable, Sendable {
        /// At most so many, each time.
        public let allocations: Double
        /// At most so many, each time.
        public let systemCalls: Double
        /// At most so many, each time.
        public let instructions: Double

        private enum CodingKeys: String, CodingKey {
            case allocations, instructions
            case systemCalls = "system_calls"
        }
    }

    /// What is above the limit, in words; empty if nothing is.
    public func excess(over limit: Limit) -> [String] {
        zip(figures, [limit.allocations, limit.systemCalls, limit.instructions])
            .compactMap { counted, most in
                guard case .each(let value) = counted.figure, value > most else { return nil }
                let allowed = Table.short(most)
                return "\(name): \(Table.digits(value)) \(counted.what), allowed are \(allowed)"
            }
    }

    /// What could not be counted, in words; empty if everything was.
    public var uncounted: [String] {
        figures.compactMap { what, figure in
            guard case .skipped(let reason) = figure else { return nil }
            return "\(name): \(what) not counted: \(reason)"
        }
    }

    private var figures: [(what: String, figure: Figure)] {
        [
            ("allocations", allocations), ("system calls", systemCalls),
            ("instructions", instructions),
        ]
    }
}

/// Runs `countprobe` under each of the counters.
public struct Counter {
    private let program: String
    /// The same without what valgrind cannot read; `nil` if it cannot be had.
    private let stripped: String?
    private let times = 1000
    private let empty: Double?

    /// What has to be counted, and may not be exceeded.
    public static func limits() throws -> [String: Count.Limit] {
        let file = Place.benchmarks.appending(path: "counts.json")
        return try JSONDecoder().decode([String: Count.Limit].self, from: Data(contentsOf: file))
    }

    /// Finds the program, or builds it.
    ///
    /// - Throws: ``MeasurementFailure`` if it cannot be built.
    public init() throws {
        let found = try OwnProgram.path("countprobe")
        self.program = found
        self.stripped = Self.strip(found)
        let empty = Self.instructions(stripped, "control/nothing", times)
        self.empty = if case .each(let value) = empty { value } else { nil }
    }

    /// Valgrind gives up over debugging information that is newer than it.
    private static func strip(_ program: String) -> String? {
        let stripped = program + ".stripped"
        let ended = try? Command(["strip", "--strip-debug", "-o", stripped, program]).run()
        return ended?.status == 0 ? stripped : nil
    }

    /// What can be counted.
    public func names() throws -> [String] {
        try Command([program]).run().output.split(separator: "\n").map(String.init)
    }

    /// Counts one operation.
    ///
    /// - Parameter name: One of ``names()``.
    /// - Returns: What it does each time.
    /// - Throws: ``MeasurementFailure`` if the operation fails.
    public func count(_ name: String) throws -> Count {
        let ended = try Command([program, name, "\(times)"]).run()
        let word = ended.output.trimmingCharacters(in: .whitespacesAndNewlines)
        guard ended.status == 0, let allocations = Double(word) else {
            throw MeasurementFailure("\(name): exit status \(ended.status)")
        }
        return Count(
            name: name, allocations: .each(allocations / Double(times)),
            systemCalls: try systemCalls(name), instructions: ownInstructions(name))
    }

    private func systemCalls(_ name: String) throws -> Count.Figure {
        var count: UInt64 = 0
        let status = unsafe program.withCString { program in
            unsafe name.withCString { name in
                unsafe bench_count_system_calls(program, name, UInt32(times), &count)
            }
        }
        if status == -EPERM { return .skipped("processes may not be traced here") }
        guard status == 0 else { throw MeasurementFailure("\(name), traced: error \(-status)") }
        return .each(Double(count) / Double(times))
    }

    /// Those of the operation, without those of calling it.
    private func ownInstructions(_ name: String) -> Count.Figure {
        let all = Self.instructions(stripped, name, times)
        guard case .each(let value) = all, let empty else { return all }
        return .each(max(0, value - empty))
    }

    private static func instructions(
        _ program: String?, _ name: String, _ times: Int
    ) -> Count.Figure {
        guard let program else { return .skipped("no strip here") }
        guard (try? Command(["which", "valgrind"]).run())?.status == 0 else {
            return .skipped("no valgrind here")
        }
        let words = [
            "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
            "--collect-atstart=no", "--toggle-collect=count_run", program, name, "\(times)",
        ]
        guard let ended = try? Command(words).run(limit: 120, errors: true), ended.status == 0
        else {
            return .skipped("valgrind does not run it")
        }
        let line = ended.output.split(separator: "\n").first { $0.contains("Collected :") }
        guard let word = line?.split(separator: " ").last, let count = Double(word) else {
            return .skipped("valgrind counted nothing")
        }
        return .each(count / Double(times))
    }
}
