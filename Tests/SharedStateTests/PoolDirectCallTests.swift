// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private struct Refusal: Error, Equatable {
    var number: Int
}

private enum Season: UInt8 { case spring, summer, autumn, winter }

private struct Reading: Equatable {
    var flag: Bool
    var value: Double
    var season: Season
}

/// Calls of functions whose arguments and results are plain bits go a way of their own.
@Suite("Direct calls", .serialized)
struct PoolDirectCallTests {
    @Test(arguments: [Pool.Mode.processes, .inline])
    func `plain bits of every shape come and go whole`(mode: Pool.Mode) throws {
        let pool = try Pool(mode, workers: 1)
        #expect(try pool.apply { 7 } == 7)
        try pool.apply(1) { _ in }
        #expect(try pool.apply(true) { !$0 } == false)
        #expect(try pool.apply(2.5) { $0 * 2 } == 5)
        #expect(try pool.apply(Season.autumn) { $0.rawValue } == 2)
        #expect(try pool.apply(SIMD4<Float>(1, 2, 3, 4)) { $0.sum() } == 10)
        let reading = Reading(flag: true, value: -0.5, season: .winter)
        #expect(
            try pool.apply(reading) { Reading(flag: !$0.flag, value: $0.value, season: $0.season) }
                == Reading(flag: false, value: -0.5, season: .winter))
        #expect(try pool.apply(Optional(3)) { $0.map { $0 + 1 } } == 4)
        #expect(try pool.apply(Int?.none) { $0 == nil })
        // Each where its alignment wants it.
        let mixed: @Sendable (UInt8, UInt64, UInt16, SIMD2<UInt64>, Bool) -> UInt64 = {
            var sum = UInt64($0) + $1
            sum += UInt64($2) + $3[0] * $3[1]
            return $4 ? sum + 100 : sum
        }
        let sum = try pool.apply(
            UInt8(1), UInt64(2), UInt16(3), SIMD2<UInt64>(4, 5), true, body: mixed)
        #expect(sum == 126)
    }

    @Test(arguments: [Pool.Mode.processes, .inline])
    func `an error comes with its type, and the next call is not touched by it`(
        mode: Pool.Mode
    ) throws {
        let pool = try Pool(mode, workers: 1)
        let body: @Sendable (Int) throws -> Int = {
            guard $0 != 3 else { throw Refusal(number: $0) }
            return $0 + 1
        }
        for n in 0..<6 {
            if n == 3 {
                let error = #expect(throws: SharedStateError.self) { try pool.apply(n, body: body) }
                #expect(error?.code == .taskFailed)
                #expect(error?.task?.text.contains("Refusal(number: 3)") == true)
            } else {
                #expect(try pool.apply(n, body: body) == n + 1)
            }
        }
    }

    @Test func `a worker that dies at it is an error, and it is tried again if that was asked`()
        throws
    {
        let pool = try Pool(workers: 1)
        let turns = try SharedValue(0)
        let error = #expect(throws: SharedStateError.self) {
            try pool.apply(9) { n -> Int in
                kill(getpid(), Int32(n))
                return n
            }
        }
        #expect(error?.code == .workerDied)
        #expect(error?.task?.exit?.status == .signalled(SIGKILL))
        #expect(try pool.apply(4) { $0 * $0 } == 16)
        // What is retried counts its turns where others see it.
        var options = TaskOptions()
        options.retries = 3
        let last = try pool.apply(turns, options: options) { turns in
            let turn = try turns.withLock { value in
                value += 1
                return value
            }
            if turn < 3 { kill(getpid(), SIGKILL) }
            return turn
        }
        #expect(last == 3)
    }

    @Test func `retries of plain bits end with the last error`() throws {
        let pool = try Pool(workers: 1)
        var options = TaskOptions()
        options.retries = 2
        let error = #expect(throws: SharedStateError.self) {
            try pool.apply(5, options: options) { n -> Int in throw Refusal(number: n) }
        }
        #expect(error?.code == .taskFailed)
        #expect(try pool.apply(5, options: options) { $0 } == 5)
    }

    @Test func `many threads call at once, each has its own result`() throws {
        let pool = try Pool(workers: 2)
        let threads = try ThreadPoolExecutor(workers: 8)
        let sums = try (0..<8).map { thread in
            try threads.submit {
                try (0..<500).reduce(0) { sum, n in
                    let product = try pool.apply(thread, n) { $0 * 1000 + $1 }
                    guard product == thread * 1000 + n else { throw Refusal(number: product) }
                    return sum + 1
                }
            }
        }
        for sum in sums { #expect(try sum.value(timeout: .seconds(60)) == 500) }
    }

    @Test func `it takes its turn among tasks that were submitted`() throws {
        let pool = try Pool(workers: 1)
        let futures = try (0..<2000).map { n in try pool.submit(n) { $0 } }
        #expect(try pool.apply(1) { $0 + 1 } == 2)
        #expect(try futures.map { try $0.value(timeout: .seconds(60)) } == Array(0..<2000))
    }

    @Test func `a call with a time limit, one of a closed pool and one that captures say so`()
        throws
    {
        let pool = try Pool(workers: 1)
        var options = TaskOptions()
        options.deadline = .milliseconds(50)
        let late = #expect(throws: SharedStateError.self) {
            try pool.apply(1, options: options) { n -> Int in
                while n == 1 { usleep(1000) }
                return n
            }
        }
        #expect(late?.code == .timedOut)
        let number = Int.random(in: 1...9)
        let captures = #expect(throws: SharedStateError.self) {
            try pool.apply(1) { $0 + number }
        }
        #expect(captures?.code == .capturesValues)
        #expect(try pool.apply(1) { $0 } == 1)
        pool.close()
        let closed = #expect(throws: SharedStateError.self) { try pool.apply(1) { $0 } }
        #expect(closed?.code == .closed)
    }

    @Test func `a worker calls a pool of its own`() throws {
        let pool = try Pool(workers: 1)
        let answer = try pool.apply(20) { n in
            try withPool(workers: 1) { inner in try inner.apply(n) { $0 + 1 } * 2 }
        }
        #expect(answer == 42)
    }
}
