// SPDX-License-Identifier: Apache-2.0

import SharedState

/// A program that has just started, and has no Foundation: prints the nanoseconds from the first
/// line of `main` to the first result of a pool of two.
@main
struct StartProbe {
    static func main() throws {
        let clock = ContinuousClock()
        let start = clock.now
        let pool = try Pool(workers: 2)
        let result = try pool.apply(1) { $0 + 1 }
        let end = clock.now
        pool.terminate()
        print(result == 2 ? (end - start) / .nanoseconds(1) : 0)
    }
}
