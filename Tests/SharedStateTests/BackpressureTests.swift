// SPDX-License-Identifier: Apache-2.0

import Glibc
@testable import SharedState
import Testing

private let long = Duration.seconds(60)

/// A pool and an executor of threads, which are used in the same way.
private enum Kind: CaseIterable {
    case processes, inline, threads

    /// One worker, and room for so many tasks.
    func make(_ limit: Int) throws -> any WorkExecutor {
        var options = Pool.Options()
        options.maxTasksInFlight = limit
        return switch self {
        case .processes: ProcessPoolExecutor(try Pool(workers: 1, options: options))
        case .inline: ProcessPoolExecutor(try Pool(.inline, workers: 1, options: options))
        case .threads: try ThreadPoolExecutor(workers: 1, maxTasksInFlight: limit)
        }
    }
}

/// What came of calls that others made, each in a thread or a task of its own.
private final class Outcomes: Sendable {
    private let codes = Mutex<[SharedStateError.Code?]>([])

    var all: [SharedStateError.Code?] { codes.withLock { $0 } }

    func note(_ code: SharedStateError.Code?) { codes.withLock { $0.append(code) } }

    func inThread(_ body: @escaping @Sendable () throws -> Void) throws {
        try Offload.run { self.note(code(body)) }
    }

    func inTask(_ body: @escaping @Sendable () async throws -> Void) {
        Task.detached { self.note(await code(body)) }
    }
}

private final class Order: Sendable {
    let served = Mutex<[Int]>([])
}

/// Whose tasks submit to the pool that runs them.
private enum Nest {
    static let pool = makePool()
    static let threads = try? ThreadPoolExecutor(workers: 1, maxTasksInFlight: 1)

    private static func makePool() -> Pool? {
        var options = Pool.Options()
        options.maxTasksInFlight = 1
        return try? Pool(.inline, workers: 1, options: options)
    }

    static func submit(_ count: Int) throws -> [Future<Int>] {
        guard let pool else { return [] }
        return try (0..<count).map { n in try pool.submit(n) { $0 } }
    }

    static func submitLater(_ count: Int) async throws -> [Future<Int>] {
        guard let pool else { return [] }
        var futures: [Future<Int>] = []
        for n in 0..<count { futures.append(try await pool.submit(n) { $0 }) }
        return futures
    }
}

@Suite("Backpressure", .serialized)
struct BackpressureTests {
    @Test(arguments: Kind.allCases) private func `who submits waits while as much is in flight`(
        kind: Kind
    ) async throws {
        let executor = try kind.make(2)
        let gate = try Queue<Int>()
        let first = try await executor.submit(gate) { try $0.get() }
        let second = try await executor.submit(gate) { try $0.get() }
        // A wait ends no earlier, and its error says what to do.
        let begin = ContinuousClock.now
        for timeout in [Duration.zero, .milliseconds(30)] {
            let error = #expect(throws: SharedStateError.self) {
                try executor.submit(1, timeout: timeout) { $0 }
            }
            #expect(error?.code == .timedOut)
            #expect(error?.description.contains("2 tasks of") == true)
            #expect(error?.description.contains("maxTasksInFlight") == true)
        }
        #expect(ContinuousClock.now - begin >= .milliseconds(30))
        let late = await code {
            _ = try await executor.submit(1, timeout: .milliseconds(30)) { $0 }
        }
        #expect(late == .timedOut)
        #expect(ContinuousClock.now - begin >= .milliseconds(60))
        // One that is cancelled waits no longer.
        let cancelled = Task { try await executor.submit(1) { $0 } }
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        // Each that ends lets another in, a thread's and a task's.
        let outcomes = Outcomes()
        try outcomes.inThread {
            guard try executor.submit(3, body: { $0 }).value(timeout: long) == 3 else {
                throw Unexpected()
            }
        }
        outcomes.inTask {
            guard try await executor.submit(4, body: { $0 }).value() == 4 else {
                throw Unexpected()
            }
        }
        try await gate.put(1)
        try await gate.put(2)
        #expect(try await first.value() + second.value() == 3)
        try await eventually { outcomes.all == [nil, nil] }
        executor.shutdown()
        #expect(code { _ = try executor.submit(1) { $0 } } == .closed)
        let closed = await code { _ = try await executor.submit(1) { $0 } }
        #expect(closed == .closed)
    }

    @Test(arguments: Kind.allCases) private func `a shutdown refuses who waits for room`(
        kind: Kind
    ) async throws {
        let executor = try kind.make(1)
        let gate = try Queue<Int>()
        let running = try await executor.submit(gate) { try $0.get() }
        let outcomes = Outcomes()
        for _ in 0..<3 {
            try outcomes.inThread { _ = try executor.submit(1) { $0 } }
            outcomes.inTask { _ = try await executor.submit(1) { $0 } }
        }
        executor.shutdown(wait: false, cancelPending: false)
        try await eventually { outcomes.all.count == 6 }
        #expect(outcomes.all == Array(repeating: .closed, count: 6))
        try await gate.put(7)
        #expect(try await running.value() == 7)
    }

    @Test func `who comes first is served first, and who leaves holds up nobody`() async throws {
        let intake = Intake(Intake.Limits(tasks: 1, bytes: .max, workers: 1))
        #expect(try intake.tryEnter())
        let order = Order()
        var tasks: [Task<Void, any Error>] = []
        for n in 0..<200 {
            tasks.append(
                Task.detached {
                    try await intake.enter(until: .max)
                    order.served.withLock { $0.append(n) }
                    _ = intake.leave(0)
                })
            try await eventually { intake.counts.waiting == n + 1 }
        }
        for n in 0..<200 where n % 4 != 1 { tasks[n].cancel() }
        try await eventually { intake.counts.waiting == 50 }
        #expect(try !intake.tryEnter())
        _ = intake.leave(0)
        try await eventually { order.served.withLock { $0.count } == 50 }
        #expect(order.served.withLock { $0 } == (0..<200).filter { $0 % 4 == 1 })
        #expect(intake.counts == (0, 0))
        for (n, task) in tasks.enumerated() where n % 4 != 1 {
            await #expect(throws: CancellationError.self) { try await task.value }
        }
    }

    @Test func `bytes are bounded, but each worker may have a task`() throws {
        var options = Pool.Options()
        options.maxBytesInFlight = 100_000
        let pool = try Pool(workers: 2, options: options)
        let gate = try Queue<Int>()
        func submit(_ count: Int) throws -> Future<Int> {
            try pool.submit(gate, [UInt8](repeating: 1, count: count), timeout: .zero) {
                try $0.get() + $1.count
            }
        }
        // None is too large; and there are two workers.
        var futures = [try submit(10_000_000), try submit(10_000_000)]
        #expect(code { _ = try submit(1) } == .timedOut)
        for _ in 0..<2 { try gate.put(0) }
        for future in futures { #expect(try future.value(timeout: long) == 10_000_000) }
        futures = []
        for _ in 0..<4 { futures.append(try submit(30_000)) }
        #expect(code { _ = try submit(1) } == .timedOut)
        try gate.put(0)
        try eventually { futures.contains(where: \.isDone) }
        futures.append(try submit(10_000))
        #expect(code { _ = try submit(1) } == .timedOut)
        for _ in 0..<4 { try gate.put(0) }
        for future in futures { _ = try future.value(timeout: long) }
        #expect(pool.core.intake.counts == (0, 0))
        // What is not encoded, or captures, leaves nothing in flight.
        struct Unfit: Codable, Sendable {
            var text = ""
            func encode(to encoder: any Encoder) throws { throw Unexpected() }
        }
        #expect(throws: (any Error).self) { try pool.submit(Unfit()) { $0.text } }
        #expect(pool.core.intake.counts == (0, 0))
        options.maxBytesInFlight = 0
        #expect(code { _ = try Pool(workers: 1, options: options) } == .invalidArgument)
        options = Pool.Options()
        options.maxTasksInFlight = 0
        #expect(code { _ = try Pool(workers: 1, options: options) } == .invalidArgument)
        #expect(
            code { _ = try ThreadPoolExecutor(workers: 1, maxTasksInFlight: 0) } == .invalidArgument
        )
    }

    @Test func `maps that run by themselves are bounded, too`() async throws {
        var options = Pool.Options()
        options.maxTasksInFlight = 1
        let pool = try Pool(workers: 1, options: options)
        let gate = try Queue<Int>()
        let first = try await pool.mapAsync([gate, gate]) { try $0.get() }
        #expect(code { _ = try pool.submit(1, timeout: .zero) { $0 } } == .timedOut)
        let second = Task { try await pool.mapAsync([1, 2]) { $0 + 1 }.value() }
        for n in 0..<2 { try await gate.put(n) }
        #expect(try await first.value() == [0, 1])
        #expect(try await second.value == [2, 3])
        try await eventually { pool.core.intake.counts == (0, 0) }
    }

    // MARK: Those by whom room comes

    @Test(arguments: [Pool.Mode.processes, .inline]) func `callbacks submit without waiting`(
        mode: Pool.Mode
    ) throws {
        var options = Pool.Options()
        options.maxTasksInFlight = 1
        let told = Count()
        options.onEvent = { _ in told.add() }
        let pool = try Pool(mode, workers: 1, options: options)
        let done = Count()
        @Sendable func grow(_ depth: Int) throws {
            try pool.submit(depth) { $0 }.whenDone { _ in
                done.add()
                if depth > 0 { for _ in 0..<2 { try? grow(depth - 1) } }
            }
        }
        try grow(6)
        try eventually { done.value == 127 }
        #expect(told.value > 0)
        try pool.join(timeout: long)
    }

    @Test func `tasks submit to the pool of threads that runs them, and to the executor`()
        async throws
    {
        let pool = try #require(Nest.pool)
        let nested = try await pool.apply { try Nest.submit(5).count }
        #expect(nested == 5)
        let later = try await pool.apply { () async throws -> Int in
            try await Nest.submitLater(5).count
        }
        #expect(later == 5)
        try await pool.join(timeout: long)
        let threads = try #require(Nest.threads)
        let futures = try await threads.submit { try (0..<5).map { n in try threads.submit { n } } }
        for (n, future) in try await futures.value().enumerated() {
            #expect(try await future.value() == n)
        }
        // Such a one does not wait for its own end.
        try await threads.submit { threads.shutdown() }.value()
    }

    @Test func `a shutdown that waits does so whoever shut down before`() throws {
        let threads = try ThreadPoolExecutor(workers: 2)
        let (gate, ended) = (try Queue<Int>(), Count())
        let running = try threads.submit { try gate.get() }
        try eventually { running.state == .running }
        threads.shutdown(wait: false, cancelPending: false)
        for _ in 0..<2 {
            try Offload.run {
                threads.shutdown()
                if running.isDone { ended.add() }
            }
        }
        try gate.put(1)
        threads.shutdown()
        #expect(running.isDone)
        try eventually { ended.value == 2 }
    }

    // MARK: Ends

    @Test(arguments: [Pool.Mode.processes, .inline]) func `the end of a pool refuses who waits`(
        mode: Pool.Mode
    ) async throws {
        var options = Pool.Options()
        options.maxTasksInFlight = 1
        let pool = try Pool(mode, workers: 1, options: options)
        let gate = try Queue<Int>()
        let running = try await pool.submit(gate) { gate in
            while try gate.tryGet() == nil, !Task.isCancelled { usleep(1000) }
        }
        let outcomes = Outcomes()
        try outcomes.inThread { _ = try pool.submit(1) { $0 } }
        outcomes.inTask { _ = try await pool.submit(1) { $0 } }
        outcomes.inTask { _ = try await pool.apply(1) { $0 } }
        try await eventually { pool.core.intake.counts.waiting == 3 }
        pool.terminate()
        try await eventually { outcomes.all.count == 3 }
        #expect(outcomes.all == [.closed, .closed, .closed])
        #expect(code { try running.value(timeout: long) } == .closed)
    }

    @Test func `a pool that gives up says why to who waits for room`() throws {
        var options = Pool.Options()
        options.maxTasksInFlight = 2
        let pool = try Pool(workers: 1, options: options)
        let outcomes = Outcomes()
        for _ in 0..<3 {
            try outcomes.inThread {
                while true { _ = try pool.submit { raise(SIGALRM) } }
            }
        }
        try eventually { outcomes.all.count == 3 }
        #expect(outcomes.all == [.workerDied, .workerDied, .workerDied])
    }

    @Test func `while workers are killed each task has one outcome, and nobody waits for ever`()
        throws
    {
        var options = Pool.Options()
        options.maxTasksInFlight = 8
        let pool = try Pool(workers: 2, options: options)
        let (submitted, told, lost, threads) = (Count(), Count(), Count(), Count())
        for _ in 0..<4 {
            try Offload.run {
                for n in 0..<500 {
                    guard let future = try? pool.submit(n, body: { $0 }) else { continue }
                    submitted.add()
                    future.whenDone { future in
                        told.add()
                        switch future.outcome {
                        case .success(n): return
                        case .failure(let error as SharedStateError) where error.code == .workerDied:
                            lost.add()
                        default: told.add()
                        }
                    }
                }
                threads.add()
            }
        }
        var kills = 0
        try eventually {
            // Not so many in a row that the pool gives up.
            if told.value >= 30 * kills, let pid = pool.workerPIDs.randomElement() {
                kill(pid, SIGKILL)
                kills += 1
            }
            return threads.value == 4
        }
        try pool.join(timeout: long)
        #expect(submitted.value == 2000)
        #expect(told.value == 2000)
        #expect(lost.value <= kills)
        #expect(pool.core.intake.counts == (0, 0))
        #expect(try pool.apply(1) { $0 } == 1)
    }

    // MARK: Memory

    @Test func `what does not fit beside others waits for them`() async {
        await #expect(processExitsWith: .success) {
            try FamilyRegion.make(capacity: 8 << 20)
            var options = Pool.Options()
            options.maxBytesInFlight = .max
            let pool = try Pool(workers: 2, options: options)
            // Four times as much as there is room for.
            let futures = try (0..<32).map { n in
                try pool.submit([UInt8](repeating: UInt8(n), count: 1 << 20)) { Int($0[7]) }
            }
            for (n, future) in futures.enumerated() {
                #expect(try future.value(timeout: .seconds(20)) == n)
            }
        }
    }

    @Test func `tasks by the hundred thousand wait their turn`() async throws {
        let pool = try Pool(workers: 2)
        let count = isSanitized() ? 2_000 : 20_000
        let sum = try await withThrowingTaskGroup(of: Int.self) { group in
            for n in 0..<count { group.addTask { try await pool.apply(n) { $0 } } }
            return try await group.reduce(0, +)
        }
        #expect(sum == count * (count - 1) / 2)
        #expect(pool.core.intake.counts == (0, 0))
    }
}

private struct Unexpected: Error {}
