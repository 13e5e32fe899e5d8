// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// What a test waited for has not come.
struct NeverCame: Error, CustomStringConvertible {
    var limit: Duration
    var description: String { "what the test waits for has not come within \(limit)" }
}

/// How many of a test's tasks have come somewhere.
final class Count: Sendable {
    private let number = Atomic(0)

    var value: Int { number.load(ordering: .relaxed) }
    func add() { number.add(1, ordering: .relaxed) }
}

/// Looks, every millisecond, until it is so: a test fails for what never comes, and does not hang.
///
/// It holds its thread; in a task the other one is called, which leaves it to those that are looked for.
func eventually(within limit: Duration = .seconds(60), _ isSo: () throws -> Bool) throws {
    let end = ContinuousClock.now + limit
    while try !isSo() {
        guard ContinuousClock.now < end else { throw NeverCame(limit: limit) }
        usleep(1000)
    }
}

func eventually(
    within limit: Duration = .seconds(60), isolation: isolated (any Actor)? = #isolation,
    _ isSo: () throws -> Bool
) async throws {
    let end = ContinuousClock.now + limit
    while try !isSo() {
        guard ContinuousClock.now < end else { throw NeverCame(limit: limit) }
        try await Task.sleep(for: .milliseconds(1))
    }
}
