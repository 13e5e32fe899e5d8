// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private struct Refusal: Error, Equatable {}

private func sum(_ numbers: Span<Int>) -> Int {
    numbers.indices.reduce(0) { $0 &+ numbers[$1] }
}

@Suite("Arrays that a pool lends", .serialized)
struct PoolLendingTests {
    @Test(arguments: [Pool.Mode.processes, .inline])
    func `a worker reads the caller's array`(mode: Pool.Mode) throws {
        let pool = try Pool(mode, workers: 1)
        for count in [0, 1, 2, 1000, 100_000] {
            let numbers = (0..<count).map { $0 &* 0x9e37_79b9 }
            let expected = numbers.reduce(0, &+)
            #expect(try pool.apply(lending: numbers) { sum($0) } == expected)
            let others = try pool.apply(lending: numbers, "between", [count]) { span, text, list in
                "\(span.count) \(text) \(list) \(sum(span))"
            }
            #expect(others == "\(count) between \([count]) \(expected)")
        }
        let wide = [SIMD2<UInt64>](repeating: SIMD2(1, 2), count: 9)
        #expect(try pool.apply(lending: wide) { $0[8] } == SIMD2(1, 2))
    }

    @Test(arguments: [Pool.Mode.processes, .inline])
    func `the caller reads a worker's array`(mode: Pool.Mode) throws {
        let pool = try Pool(mode, workers: 1)
        for count in [0, 1, 2, 1000, 100_000] {
            let expected = (0..<count).reduce(0, +)
            let (found, total) = try pool.withResult(of: count) {
                Array(0..<$0)
            } reading: {
                ($0.count, sum($0))
            }
            #expect(found == count)
            #expect(total == expected)
        }
        // The same function, by copy and lent.
        let body: @Sendable (Int) -> [Int] = { [$0, $0 + 1] }
        #expect(try pool.apply(3, body: body) == [3, 4])
        #expect(try pool.withResult(of: 3, body: body) { $0[1] } == 4)
        #expect(try pool.apply(4, body: body) == [4, 5])
    }

    @Test func `arrays with mappings of their own come whole`() throws {
        let pool = try Pool(workers: 1)
        let numbers = Array(0..<(5 << 20))
        let back = try pool.apply(numbers) { $0 }
        #expect(back == numbers)
        #expect(try pool.submit(numbers) { $0 }.value(timeout: .seconds(60)) == numbers)
        let queue = try Queue<[Int]>(capacity: 1)
        let child = try ChildProcess.start(queue, numbers.count) { queue, count in
            try queue.put(Array(0..<count))
        }
        #expect(try queue.get(timeout: .seconds(60)) == numbers)
        try child.join(timeout: .seconds(60))
    }

    @Test func `with a deadline, or behind others, it is the same`() throws {
        let pool = try Pool(workers: 1)
        let options = TaskOptions(deadline: .seconds(60))
        #expect(try pool.apply(lending: [1, 2, 3], options: options) { sum($0) } == 6)
        let body: @Sendable (Int) -> [Int] = { Array(0..<$0) }
        let total = try pool.withResult(of: 20_000, options: options, body: body) { sum($0) }
        #expect(total == 199_990_000)
        let others = try (0..<500).map { try pool.submit($0) { $0 } }
        #expect(try pool.apply(lending: [4, 5], 6) { sum($0) + $1 } == 15)
        #expect(try pool.withResult(of: 3, body: body) { sum($0) } == 3)
        #expect(try others.map { try $0.value(timeout: .seconds(60)) } == Array(0..<500))
    }

    @Test func `the pool goes on while a result is read`() throws {
        let pool = try Pool(workers: 1)
        let inner = try pool.withResult(of: 2) {
            [$0, $0]
        } reading: { numbers in
            let future = try pool.submit(20) { $0 + 1 }
            let lent = try pool.apply(lending: [7, 8]) { sum($0) }
            return try future.value(timeout: .seconds(60)) + lent + sum(numbers)
        }
        #expect(inner == 40)
        #expect(throws: Refusal.self) {
            try pool.withResult(of: 2) {
                [$0]
            } reading: { _ in
                throw Refusal()
            }
        }
        try pool.join(timeout: .seconds(60))
        // Its end leaves the result where it is.
        let kept = try pool.withResult(of: 100_000) {
            Array(0..<$0)
        } reading: { numbers in
            pool.terminate()
            return sum(numbers)
        }
        #expect(kept == 4_999_950_000)
        #expect(
            code {
                _ = try pool.withResult(of: 1) {
                    [$0]
                } reading: {
                    $0[0]
                }
            } == .closed)
    }

    @Test func `what fails fails alone, and a retry finds the array`() throws {
        let pool = try Pool(workers: 1)
        let begun = try SharedAtomic(0)
        let numbers = Array(0..<50_000)
        let options = TaskOptions(retries: 2)
        let total = try pool.apply(lending: numbers, begun, options: options) { span, begun in
            if begun.add(1) < 2 { kill(getpid(), SIGKILL) }
            return sum(span)
        }
        #expect(total == 1_249_975_000)
        #expect(
            code { _ = try pool.apply(lending: [1]) { _ -> Int in throw Refusal() } }
                == .taskFailed)
        #expect(
            code {
                _ = try pool.withResult(of: 1) { _ -> [Int] in
                    kill(getpid(), SIGKILL)
                    return []
                } reading: {
                    $0.count
                }
            } == .workerDied)
        let captured = numbers.count
        #expect(code { _ = try pool.apply(lending: [1]) { $0[0] + captured } } == .capturesValues)
        #expect(
            code {
                _ = try pool.withResult(of: 1) {
                    [$0 + captured]
                } reading: {
                    $0[0]
                }
            }
                == .capturesValues)
        #expect(try pool.apply(lending: numbers) { $0.count } == 50_000)
    }
}
