// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

private struct Refusal: Error, Codable, Equatable {
    var number: Int
}

private func failure<T>(_ body: () throws -> T) -> SharedStateError? {
    do {
        _ = try body()
    } catch {
        return error as? SharedStateError
    }
    return nil
}

@Suite("A pool of threads", .serialized)
struct PoolInlineTests {
    @Test func `everything runs in this process`() async throws {
        let pool = try Pool(.inline)
        #expect(pool.workerCount == 1 && pool.workerPIDs == [getpid()])
        func blocking() throws {
            #expect(try pool.apply { getpid() } == getpid())
            #expect(try pool.map(0..<1000) { $0 * 2 } == (0..<1000).map { $0 * 2 })
            #expect(try pool.map(["a", "bb"], with: "!") { $0 + $1 } == ["a!", "bb!"])
            #expect(try pool.starmap(1..., ["x", "y"]) { "\($0)\($1)" } == ["1x", "2y"])
            let results = try pool.imap(1...) { $0 + 1 }
            for n in 1...100 { #expect(try results.next()?.get() == n + 1) }
        }
        try blocking()
        #expect(try await pool.apply(1) { n in await MainActor.run { n + 1 } } == 2)
        #expect(try await pool.map([1, 2], with: 3) { $0 * $1 } == [3, 6])
        #expect(try await pool.starmap([1, 2], [3, 4]) { $0 * $1 } == [3, 8])
        let later = try await pool.map([1, 2], with: 3) { n, factor in
            try await Task.sleep(for: .milliseconds(1))
            return n * factor
        }
        #expect(later == [3, 6])
        var sum = 0
        let slowly = try pool.imap(1...4) { n in
            try await Task.sleep(for: .milliseconds(1))
            return n
        }
        for try await n in slowly { sum += n }
        #expect(sum == 10)
        pool.close()
        try await pool.join(timeout: long)
        #expect(pool.workerPIDs.isEmpty)
    }

    @Test func `errors are those of processes`() throws {
        let pool = try Pool(.inline, workers: 2)
        let thrown = failure { try pool.map(0..<9) { if $0 == 4 { throw Refusal(number: $0) } } }
        #expect(thrown?.code == .taskFailed && thrown?.task?.index == 4)
        #expect(thrown?.task?.error as? Refusal == Refusal(number: 4))
        #expect(thrown?.task?.workerPID == getpid())
        let captured = Int.random(in: 1...9)
        #expect(failure { try pool.map([1]) { $0 + captured } }?.code == .capturesValues)
        #expect(failure { try pool.apply { "text" as StaticString } }?.code == .cannotCross)
        #expect(failure { try Pool(.inline, workers: 0) }?.code == .invalidArgument)
        let attempts = try Queue<Int>()
        let tried = try pool.apply(attempts, options: TaskOptions(retries: 2)) { attempts in
            try attempts.put(1)
            if attempts.count < 3 { throw Refusal(number: 0) }
            return attempts.count
        }
        #expect(tried == 3)
        pool.terminate()
        #expect(failure { try pool.apply(1) { $0 } }?.code == .closed)
    }

    @Test func `as many threads as workers run at a time`() throws {
        let pool = try Pool(.inline, workers: 3)
        let barrier = try Barrier(parties: 3)
        let indices = try pool.map([0, 0, 0], with: barrier, chunkSize: 1) { _, barrier in
            try barrier.wait(timeout: .seconds(20))
        }
        #expect(Set(indices) == [0, 1, 2])
    }

    @Test func `a pool in a scope, in a task`() async throws {
        let sum = try await withPool(workers: 1) { pool in
            try await pool.map(0..<10) { $0 }.reduce(0, +)
        }
        #expect(sum == 45)
        await #expect(throws: Refusal.self) {
            try await withPool(workers: 1) { pool in
                _ = try await pool.apply(1) { $0 }
                throw Refusal(number: 1)
            }
        }
    }
}
