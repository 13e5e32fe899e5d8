// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private struct Refusal: Error, Codable, Equatable {
    var number: Int
}

private struct Unnamed: Error {
    var text = "no name"
}

private struct Scale<Number: BinaryInteger & Codable & Sendable>: PoolTask, Codable {
    var factor: Number
    var values: [Number]
    func run() throws -> [Number] { values.map { $0 * factor } }
}

private struct Power: PoolTask {
    var base: Int32, exponent: Int
    func run() -> Int { (0..<exponent).reduce(1) { product, _ in product * Int(base) } }
}

private struct Later: PoolTask {
    var value: Int
    func run() async throws -> Int {
        try await Task.sleep(for: .milliseconds(1))
        return value + 1
    }
}

private func failure<T>(_ body: () throws -> T) -> SharedStateError? {
    do {
        _ = try body()
    } catch {
        return error as? SharedStateError
    }
    return nil
}

@Suite("Pool", .serialized)
struct PoolTests {
    // MARK: Maps

    @Test(arguments: [nil, 1, 2, 3, 40, 100]) func `every chunk size gives the same`(
        chunk: Int?
    ) throws {
        let pool = try Pool(workers: 3)
        #expect(try pool.map(0..<40, chunkSize: chunk) { $0 * $0 } == (0..<40).map { $0 * $0 })
        #expect(
            try pool.map(0..<40, chunkSize: chunk) { "\($0)" } == (0..<40).map { "\($0)" })
        #expect(try pool.map([Int](), chunkSize: chunk) { $0 } == [])
        #expect(try pool.map(["a", "b", "cc"], chunkSize: chunk) { $0.count } == [1, 1, 2])
        #expect(try pool.starmap([Int](), ["a"], chunkSize: chunk) { "\($0)\($1)" } == [])
        #expect(Array(try pool.imap([Int](), chunkSize: chunk) { $0 }.elements).isEmpty)
        let failed = failure {
            try pool.map(0..<40, chunkSize: chunk) { n -> Int in
                if n >= 17 { throw Refusal(number: n) }
                return n
            }
        }
        #expect(failed?.code == .taskFailed)
        #expect(failed?.task?.index == 17)
        #expect(failed?.task?.error as? Refusal == Refusal(number: 17))
        #expect(failed?.description.contains("Refusal(number: 17)") == true)
    }

    @Test func `an error of a MiB comes back`() throws {
        struct Heavy: Error, Codable, Equatable { var text: String }
        let pool = try Pool(workers: 1)
        let text = String(repeating: "x", count: 1 << 20)
        let failed = failure { try pool.apply(text) { throw Heavy(text: $0) } }
        #expect(failed?.task?.error as? Heavy == Heavy(text: text))
        #expect(try pool.apply(1) { $0 + 1 } == 2)
    }

    @Test func `a million elements come back in order`() throws {
        let pool = try Pool(workers: 2)
        let elements = Array(0..<1_000_000)
        let expected = elements.map { $0 &* 3 }
        #expect(try pool.map(elements) { $0 &* 3 } == expected)
        #expect(try pool.map(0..<100_000, chunkSize: 1) { $0 } == Array(0..<100_000))
        #expect(try pool.map(0..<20_000) { [$0] } == (0..<20_000).map { [$0] })
    }

    @Test func `sequences side by side end with the shortest`() throws {
        let pool = try Pool(workers: 2)
        let rows = try pool.starmap(1..., ["a", "b", "c"], [0.5, 1.5, 2.5, 3.5]) {
            "\($0)\($1)\($2)"
        }
        #expect(rows == ["1a0.5", "2b1.5", "3c2.5"])
    }

    @Test func `chunks of no size are refused`() throws {
        let pool = try Pool(workers: 1)
        #expect(code { _ = try pool.map(0..<3, chunkSize: 0) { $0 } } == .invalidArgument)
        #expect(code { _ = try pool.imap(0..<3, chunkSize: -1) { $0 } } == .invalidArgument)
        #expect(code { _ = try Pool(workers: 0) } == .invalidArgument)
        #expect(code { _ = try Pool(workers: 1, maxTasksPerWorker: 0) } == .invalidArgument)
    }

    // MARK: Results as they come

    @Test(arguments: [nil, 1, 4]) func `one that fails does not end the others`(
        chunk: Int?
    ) throws {
        let pool = try Pool(workers: 2)
        let results = try pool.imap(0..<20, chunkSize: chunk) { n -> Int in
            if n % 5 == 3 { throw Unnamed() }
            return n
        }
        var seen = 0
        for (n, outcome) in results.elements.enumerated() {
            seen += 1
            if n % 5 == 3 {
                let error = #expect(throws: SharedStateError.self) { try outcome.get() }
                #expect(error?.task?.index == n)
                #expect(error?.task?.text == "Unnamed(text: \"no name\")")
            } else {
                #expect(try outcome.get() == n)
            }
        }
        #expect(seen == 20)
    }

    @Test func `inputs without end are asked for as results are taken`() throws {
        let pool = try Pool(workers: 2)
        let results = try pool.imap(1...) { $0 * 2 }
        for n in 1...1000 { #expect(try results.next()?.get() == n * 2) }
        results.cancel()
        let unordered = try pool.imapUnordered(1..., chunkSize: 1) { "\($0)" }
        var seen: Set<String> = []
        for _ in 0..<100 { seen.insert(try unordered.next()?.get() ?? "") }
        #expect(seen.count == 100)
        #expect(try pool.map(0..<4) { $0 } == [0, 1, 2, 3])
    }

    @Test func `one that waited in vain may ask again`() throws {
        let pool = try Pool(workers: 1)
        let gate = try Queue<Int>()
        let results = try pool.imap([gate]) { try $0.get() }
        #expect(code { _ = try results.next(timeout: .milliseconds(20)) } == .timedOut)
        try gate.put(7)
        #expect(try results.next(timeout: .seconds(20))?.get() == 7)
        #expect(try results.next() == nil)
    }

    @Test func `tasks are values, generic and async ones too`() throws {
        let pool = try Pool(workers: 2)
        let scaled = try pool.map((1...3).map { Scale(factor: Int16($0), values: [1, 2]) })
        #expect(scaled == [[1, 2], [2, 4], [3, 6]])
        #expect(try pool.submit(Later(value: 4)).value(timeout: .seconds(20)) == 5)
        #expect(try pool.map((0..<4).map(Later.init)) == [1, 2, 3, 4])
        #expect(try pool.map((1...3).map { Power(base: 2, exponent: $0) }) == [2, 4, 8])
    }

    // MARK: Tasks

    @Test func `async callers and async bodies`() async throws {
        let pool = try Pool(workers: 2)
        #expect(try await pool.apply(2, 3) { $0 * $1 } == 6)
        let body: @Sendable (Int) async throws -> Int = { n in
            await MainActor.run { n + 1 }
        }
        #expect(try await pool.apply(5, body: body) == 6)
        #expect(try await pool.map(0..<4, body) == [1, 2, 3, 4])
        #expect(try await pool.map(0..<10) { $0 + 1 } == Array(1...10))
        var sum = 0
        for try await n in try pool.imap(1...10, { $0 }) { sum += n }
        #expect(sum == 55)
    }

    @Test func `cancelling the task that awaits ends the work`() async throws {
        let pool = try Pool(workers: 1)
        let never = try Queue<Int>()
        let started = try Queue<Int>()
        let task = Task {
            try await pool.apply(never, started) { never, started in
                try started.put(1)
                return try never.get()
            }
        }
        _ = try await started.get()
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(try await pool.apply(1) { $0 } == 1)
    }

    @Test func `a deadline ends the task that misses it, and no other`() throws {
        let pool = try Pool(workers: 2)
        let options = TaskOptions(deadline: .milliseconds(100))
        let never = try Queue<Int>()
        #expect(
            code { _ = try pool.apply(never, options: options) { try $0.get() } } == .timedOut)
        #expect(try pool.apply(1, options: options) { $0 } == 1)
        let outcomes = try pool.imap([0, 1, 2, 3], options: options) { n in
            while n == 2 { pause() }
            return n
        }
        let codes = outcomes.elements.map { outcome in code { _ = try outcome.get() } }
        #expect(codes == [nil, nil, .timedOut, nil])
    }

    @Test func `what fails is tried again as often as was asked`() throws {
        let pool = try Pool(workers: 2)
        let attempts = try Queue<Int>()
        let options = TaskOptions(retries: 2)
        let third = try pool.apply(attempts, options: options) { attempts in
            try attempts.put(1)
            if attempts.count < 3 { throw Refusal(number: attempts.count) }
            return attempts.count
        }
        #expect(third == 3)
        let died = try Queue<Int>()
        let survived = try pool.apply(died, options: options) { died in
            try died.put(1)
            if died.count < 3 { kill(getpid(), SIGKILL) }
            return died.count
        }
        #expect(survived == 3)
        #expect(
            code { _ = try pool.apply(options: options) { () -> Int in abort() } } == .workerDied)
    }

    @Test func `urgent tasks are begun first`() throws {
        let pool = try Pool(workers: 1)
        let gate = try Queue<Int>()
        let order = try Queue<Int>()
        let first = try pool.submit(gate) { try $0.get() }
        var all: [Future<Void>] = []
        for (n, urgency) in [TaskUrgency.low, .normal, .high].enumerated() {
            all.append(
                try pool.submit(order, n, options: TaskOptions(urgency: urgency)) {
                    try $0.put($1)
                })
        }
        try gate.put(1)
        _ = try first.value(timeout: .seconds(20))
        for future in all { try future.value(timeout: .seconds(20)) }
        #expect(try (0..<3).map { _ in try order.get() } == [2, 1, 0])
    }

    @Test(arguments: [(1, 2, 6), (2, 2, 8), (3, 1, 30)])
    func `workers that are replaced strand no task`(
        workers: Int, most: Int, tasks: Int
    ) throws {
        let pool = try Pool(workers: workers, maxTasksPerWorker: most)
        let before = Set(pool.workerPIDs)
        let futures = try (0..<tasks).map { n in
            try pool.submit(n) { ($0, getpid()) }
        }
        pool.close()
        var pids: [Int32: Int] = [:]
        for (n, future) in futures.enumerated() {
            let (value, pid) = try future.value(timeout: .seconds(30))
            #expect(value == n)
            pids[pid, default: 0] += 1
        }
        #expect(pids.values.allSatisfy { $0 <= most })
        #expect(pids.count >= tasks / most)
        try pool.join(timeout: .seconds(20))
        #expect(!before.isEmpty)
    }

    @Test func `hooks run first and last`() throws {
        let pool = try Pool(
            workers: 1, maxTasksPerWorker: 1,
            initializer: { unsafe setenv("SHAREDSTATE_HOOK", "first", 1) },
            exitHook: { _ in 0 })
        #expect(try pool.apply { unsafe getenv("SHAREDSTATE_HOOK") != nil })
        #expect(try pool.apply { unsafe getenv("SHAREDSTATE_HOOK") != nil })
    }

    @Test(arguments: [Pool.Mode.processes, .inline])
    func `long arrays come and go whole and in their order`(mode: Pool.Mode) throws {
        let pool = try Pool(mode, workers: 1)
        let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let words = (0..<50_000).map { UInt64($0) &* 0x9e37_79b9_7f4a_7c15 }
        let nested = [bytes, [], [1], bytes]
        let body: @Sendable (Int, [UInt8], String, [UInt64], [[UInt8]]) -> [[UInt64]] = {
            [[UInt64($0)], $1.map(UInt64.init), $2.utf8.map(UInt64.init), $3]
                + $4.map { $0.map(UInt64.init) }
        }
        let expected = body(1, bytes, "between", words, nested)
        #expect(try pool.apply(1, bytes, "between", words, nested, body: body) == expected)
        let future = try pool.submit(1, bytes, "between", words, nested, body: body)
        #expect(try future.value(timeout: .seconds(60)) == expected)
        // Others come first: it is pending, and then posted.
        let others = try (0..<500).map { try pool.submit($0) { $0 } }
        #expect(try pool.apply(1, bytes, "between", words, nested, body: body) == expected)
        #expect(try others.map { try $0.value(timeout: .seconds(60)) } == Array(0..<500))
    }

    @Test func `a pool works inside a worker`() throws {
        let pool = try Pool(workers: 2)
        let sums = try pool.map([3, 4], chunkSize: 1) { n in
            try withPool(workers: 2) { try $0.map(0..<n) { $0 }.reduce(0, +) }
        }
        #expect(sums == [3, 6])
    }

    @Test func `a scope finishes what is on its way, and a throw cancels it`() throws {
        var future: Future<Int>?
        try withPool(workers: 1) { future = try $0.submit(1) { $0 + 1 } }
        #expect(try future?.value(timeout: .seconds(1)) == 2)
        let never = try Queue<Int>()
        #expect(throws: Refusal.self) {
            try withPool(workers: 1) { pool in
                future = try pool.submit(never) { try $0.get() }
                throw Refusal(number: 1)
            }
        }
        #expect(code { _ = try future?.value(timeout: .seconds(20)) } == .closed)
    }

    @Test func `ten thousand tasks that wait do not hold up the end`() throws {
        var options = Pool.Options()
        options.maxTasksInFlight = 10_000
        let pool = try Pool(workers: 2, options: options)
        let never = try Queue<Int>()
        let futures = try (0..<10_000).map { _ in try pool.submit(never) { try $0.get() } }
        pool.terminate()
        #expect(code { _ = try futures[9_999].value(timeout: .seconds(20)) } == .closed)
        #expect(code { _ = try futures[0].value(timeout: .seconds(20)) } == .closed)
        #expect(code { _ = try pool.submit(1) { $0 } } == .closed)
    }
}
