// SPDX-License-Identifier: Apache-2.0

import CShm
import Glibc
@testable import SharedState
import Testing

private struct Refusal: Error, Codable, Equatable {
    var number: Int
}

private actor Notes {
    var entries: [Int] = []
    func add(_ entry: Int) { entries.append(entry) }
}

@Suite("Futures and executors", .serialized)
struct FutureTests {
    @Test func `a future goes from pending to running to finished`() throws {
        let pool = try Pool(workers: 1)
        let gate = try Queue<Int>()
        let started = try Queue<Int>()
        let first = try pool.submit(gate, started) { gate, started in
            try started.put(1)
            return try gate.get()
        }
        let second = try pool.submit(1) { $0 }
        _ = try started.get(timeout: .seconds(20))
        #expect(first.state == .running)
        #expect(second.state == .pending)
        #expect(second.cancel(running: false))
        #expect(second.cancel())
        #expect(second.state == .cancelled)
        #expect(throws: CancellationError.self) { try second.value(timeout: .seconds(20)) }
        #expect(!first.cancel(running: false))
        try gate.put(5)
        #expect(try first.value(timeout: .seconds(20)) == 5)
        #expect(first.state == .finished)
        #expect(!first.cancel())
    }

    @Test func `what runs is cancelled with its worker`() throws {
        let pool = try Pool(workers: 1)
        let never = try Queue<Int>()
        let started = try Queue<Int>()
        let future = try pool.submit(never, started) { never, started in
            try started.put(1)
            return try never.get()
        }
        _ = try started.get(timeout: .seconds(20))
        #expect(future.cancel())
        #expect(throws: CancellationError.self) { try future.value(timeout: .seconds(20)) }
        #expect(try pool.apply(3) { $0 } == 3)
    }

    @Test func `callbacks are called in order, each once, before waiters wake`() throws {
        let executor = try ThreadPoolExecutor(workers: 1)
        let gate = try Queue<Int>()
        let order = try Queue<Int>()
        let future = try executor.submit { try gate.get() }
        for n in 0..<3 { future.whenDone { _ in try? order.put(n) } }
        try gate.put(9)
        #expect(try future.value(timeout: .seconds(20)) == 9)
        future.whenDone { _ in try? order.put(3) }
        #expect(try (0..<4).map { _ in try order.get(timeout: .seconds(20)) } == [0, 1, 2, 3])
        #expect(try order.tryGet() == nil)
        executor.shutdown()
    }

    @Test func `a callback may submit`() throws {
        let pool = try Pool(workers: 1)
        let results = try Queue<Int>()
        try pool.submit(20) { $0 + 1 }.whenDone { future in
            guard let value = try? future.value() else { return }
            try? pool.submit(value, results) { try $1.put($0 * 2) }.whenDone { _ in }
        }
        #expect(try results.get(timeout: .seconds(20)) == 42)
    }

    @Test func `waits for the first, the first that fails, and all`() throws {
        let pool = try Pool(workers: 3)
        let gates = try (0..<3).map { _ in try Queue<Int>() }
        let futures = try gates.map { gate in
            try pool.submit(gate) { gate in
                let n = try gate.get()
                if n < 0 { throw Refusal(number: n) }
                return n
            }
        }
        #expect(Future.wait(for: futures, timeout: .milliseconds(10)).done.isEmpty)
        try gates[1].put(1)
        var (done, pending) = Future.wait(
            for: futures + futures, until: .firstCompleted, timeout: .seconds(20))
        #expect(done.map { $0 === futures[1] } == [true])
        #expect(pending.count == 2)
        try gates[2].put(-1)
        (done, pending) = Future.wait(for: futures, until: .firstFailed, timeout: .seconds(20))
        #expect(done.count == 2)
        try gates[0].put(1)
        (done, pending) = Future.wait(for: futures, timeout: .seconds(20))
        #expect(done.count == 3)
        #expect(pending.isEmpty)
    }

    @Test func `futures come as they are done`() async throws {
        let pool = try Pool(workers: 2)
        let gates = try (0..<2).map { _ in try Queue<Int>() }
        let futures = try gates.map { try pool.submit($0) { try $0.get() } }
        try await gates[1].put(11)
        var completed = Future.asCompleted(futures + futures, timeout: .seconds(20))
        #expect(try completed.next()?.value(timeout: .seconds(20)) == 11)
        try await gates[0].put(10)
        #expect(try completed.next()?.value(timeout: .seconds(20)) == 10)
        #expect(try completed.next() == nil)
        completed = Future.asCompleted(futures)
        var values: Set<Int> = []
        for try await future in completed { values.insert(try await future.value()) }
        #expect(values == [10, 11])
        let never = Future.asCompleted(
            [try await pool.submit(gates[0]) { try $0.get() }], timeout: .milliseconds(10))
        let error = #expect(throws: SharedStateError.self) { try never.next() }
        #expect(error?.description == "1 (of 1) futures are not done")
    }

    @Test func `tasks that wait for several time out, are cancelled, and get what is done`()
        async throws
    {
        let pool = try Pool(workers: 2)
        let gates = try (0..<2).map { _ in try Queue<Int>() }
        let futures = try gates.map { try pool.submit($0) { try $0.get() } }
        let brief = Future.asCompleted(futures, timeout: .milliseconds(10))
        let error = await #expect(throws: SharedStateError.self) {
            for try await _ in brief {}
        }
        #expect(error?.code == .timedOut)
        #expect(try await Future.wait(for: futures, timeout: .milliseconds(10)).done.isEmpty)
        for waits in [
            { @Sendable in _ = try await Future.wait(for: futures) },
            { @Sendable in for try await _ in Future.asCompleted(futures) {} },
        ] {
            let task = Task { try await waits() }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
        }
        #expect(futures.allSatisfy { $0.state != .cancelled })
        async let first = Future.wait(for: futures + futures, until: .firstCompleted)
        try await gates[1].put(1)
        let (done, pending) = try await first
        #expect(done.map { $0 === futures[1] } == [true])
        #expect(pending.map { $0 === futures[0] } == [true])
        try await gates[0].put(0)
        #expect(try await Future.wait(for: futures).pending.isEmpty)
    }

    @Test func `an executor's map asks for no more than its buffer holds`() throws {
        let executors: [any WorkExecutor] = [
            try ThreadPoolExecutor(workers: 2), try ProcessPoolExecutor(workers: 2),
        ]
        for executor in executors {
            var asked = 0
            let inputs = AnySequence {
                AnyIterator { () -> Int? in
                    asked += 1
                    return asked
                }
            }
            let results = try executor.map(inputs, bufferSize: 5) { n -> Int in
                if n == 3 { throw Refusal(number: n) }
                return n * n
            }
            #expect(asked == 0)
            #expect(try results.next()?.get() == 1)
            #expect(asked == 5)
            #expect(try results.next()?.get() == 4)
            #expect(asked == 6)
            #expect(throws: (any Error).self) { try results.next()?.get() }
            #expect(try results.next()?.get() == 16)
            results.cancel()
            #expect(results.next() == nil)
            executor.shutdown()
            #expect(throws: SharedStateError.self) { try executor.submit(1) { $0 } }
        }
    }

    @Test func `what a thread's work is cancelled before is never begun`() throws {
        let executor = try ThreadPoolExecutor(workers: 2)
        let begun = Count()
        let total = 20_000
        var cancelled = 0
        for _ in 0..<total {
            let future = try executor.submit { begun.add() }
            if future.cancel() { cancelled += 1 }
        }
        executor.shutdown()
        #expect(begun.value + cancelled == total)
    }

    @Test func `a shutdown cancels what is not begun, and finishes what is`() throws {
        let executors: [any WorkExecutor] = [
            try ThreadPoolExecutor(workers: 1), try ProcessPoolExecutor(workers: 1),
        ]
        for executor in executors {
            let gate = try Queue<Int>()
            let started = try Queue<Int>()
            let running = try executor.submit(gate, started) { gate, started in
                try started.put(1)
                return try gate.get()
            }
            _ = try started.get(timeout: .seconds(20))
            let waiting = try (0..<50).map { n in try executor.submit(n) { $0 } }
            executor.shutdown(wait: false, cancelPending: true)
            try gate.put(8)
            #expect(try running.value(timeout: .seconds(20)) == 8)
            for future in waiting {
                #expect(throws: (any Error).self) { try future.value(timeout: .seconds(20)) }
            }
        }
    }

    @Test func `a shutdown cancels a task that is not begun and that a thread waits for`() throws {
        let pool = try Pool(workers: 1)
        let executor = ProcessPoolExecutor(pool)
        let threads = try ThreadPoolExecutor(workers: 1)
        let gate = try Queue<Int>()
        let thread = try Queue<pid_t>()
        let running = try executor.submit(gate) { try $0.get() }
        try eventually { running.state == .running }
        let waiting = try threads.submit {
            try thread.put(ProcessTree.thisThread)
            return try pool.apply(1) { $0 }
        }
        let number = try thread.get(timeout: .seconds(20))
        try eventually { ProcessTree.entry(of: number)?.state == "S" }
        executor.shutdown(wait: false, cancelPending: true)
        let error = #expect(throws: SharedStateError.self) {
            try waiting.value(timeout: .seconds(20))
        }
        #expect(error?.description.contains("the task was cancelled") == true)
        try gate.put(8)
        #expect(try running.value(timeout: .seconds(20)) == 8)
    }

    @Test func `an executor may have a pool's workers, threads as well`() throws {
        for mode in [Pool.Mode.processes, .inline] {
            let executor = ProcessPoolExecutor(
                try Pool(mode, workers: 2, maxTasksPerWorker: 1, initializer: { 1 }))
            let results = try executor.map(0..<8) { $0 * $0 }.map { try $0.get() }
            #expect(results == (0..<8).map { $0 * $0 })
            executor.shutdown(wait: false, cancelPending: false)
            #expect(throws: SharedStateError.self) { try executor.submit(1) { $0 } }
        }
    }

    // MARK: In other processes

    @Test func `a future is waited for in another process`() async throws {
        let pool = try Pool(workers: 2)
        let gate = try Queue<String>()
        let future = try await pool.submit(gate) { try $0.get() }
        let waiting = try await pool.submit(future) { try $0.value(timeout: .seconds(20)) + "!" }
        let child = try ChildProcess.start(future) { future in
            let text = try await future.value()
            guard text == "news", try await future.value() == text else {
                throw Refusal(number: 1)
            }
        }
        try await gate.put("news")
        #expect(try await waiting.value() == "news!")
        #expect(try await child.join(timeout: .seconds(20)).isSuccess)
        // One that is done already; and one that was sent on.
        let twice = try await pool.apply([future, future]) { try $0.map { try $0.value() } }
        #expect(twice == ["news", "news"])
    }

    @Test func `what a future fails with is known in another process`() throws {
        let pool = try Pool(workers: 2)
        let thrown = try pool.submit(7) { (n: Int) -> Int in throw Refusal(number: n) }
        let seen = try pool.apply(thrown) { thrown -> Int in
            do {
                return try thrown.value(timeout: .seconds(20))
            } catch let error as SharedStateError {
                guard error.code == .taskFailed, let refusal = error.task?.error as? Refusal else {
                    return -1
                }
                return refusal.number
            }
        }
        #expect(seen == 7)
        let never = try Queue<Int>()
        let cancelled = try pool.submit(never) { try $0.get() }
        let looked = try Queue<Int>()
        let state = try pool.submit(cancelled, looked) { cancelled, looked -> Bool in
            let isOpen = cancelled.state == .pending && !cancelled.cancel()
            try looked.put(1)
            do {
                _ = try cancelled.value(timeout: .seconds(20))
            } catch is CancellationError {
                return isOpen && cancelled.state == .cancelled
            }
            return false
        }
        _ = try looked.get(timeout: .seconds(20))
        cancelled.cancel()
        #expect(try state.value(timeout: .seconds(20)))
    }

    @Test func `errors of this library are the same in another process`() throws {
        let pool = try Pool(workers: 1)
        let threads = try ThreadPoolExecutor(workers: 1)
        for (number, code) in SharedStateError.Code.allCases.enumerated() {
            let failed = try threads.submit { () -> Int in
                throw SharedStateError(code, "it is number \(number)", errno: Int32(number))
            }
            let isSame = try pool.apply(failed, number) { failed, number in
                do {
                    _ = try failed.value(timeout: .seconds(20))
                } catch let error as SharedStateError {
                    return error.code == SharedStateError.Code.allCases[number]
                        && error.description == "it is number \(number)"
                        && error.errno == number && error.task == nil
                }
                return false
            }
            #expect(isSame, "\(code)")
        }
    }

    @Test func `what is cut to fit is cut between characters`() {
        for text in ["", "abc", "aé", "é", "€uro", "a€", "👩‍👩‍👧", "ab😀cd"] {
            for limit in 0...20 {
                let bytes = Text.bytes(of: text, upTo: limit)
                #expect(bytes.count <= limit && text.utf8.starts(with: bytes))
                #expect(String(validating: bytes, as: UTF8.self) != nil)
                #expect(bytes.count > limit - 4 || bytes.count == text.utf8.count)
            }
        }
    }

    /// Outcomes in the family's region, kept ones aside.
    private func outcomes() throws -> Int64 {
        unsafe cshm_outcome_count(try FamilyRegion.shared().pointer)
    }

    @Test func `a sent future's outcome goes with the last that has it`() throws {
        let before = try outcomes()
        let pool = try Pool(workers: 1)
        let queue = try Queue<Future<[Int]>>(capacity: 1)
        for number in 0..<40 {
            let future = try pool.submit(number) { [Int](repeating: $0, count: 10_000) }
            #expect(try pool.apply(future) { try $0.value()[1] } == number)
            #expect(try pool.map([1, 2], with: future) { try $1.value()[$0] } == [number, number])
            try queue.put(future)
            // Not sent after all.
            #expect(try !queue.tryPut(future))
            #expect(try queue.get().value().count == 10_000)
        }
        // A worker keeps what was sent with its last maps.
        for number in 0..<2 {
            #expect(try pool.map([1], with: number) { $0 + $1 } == [1 + number])
        }
        try eventually { try outcomes() == before }
        // One that a process had which was killed.
        let ready = try Queue<Int>()
        do {
            let future = try pool.submit(7) { $0 }
            let child = try ChildProcess.start(future, ready) { future, ready in
                try ready.put(try future.value())
                while true { pause() }
            }
            #expect(try ready.get(timeout: .seconds(20)) == 7)
            try child.kill()
            #expect(try child.join(timeout: .seconds(20)) == .signalled(SIGKILL))
            #expect(try future.value() == 7)
        }
        try eventually { try outcomes() == before }
    }

    @Test func `a future that is delivered again has its outcome`() throws {
        let pool = try Pool(workers: 1)
        let futures = try Queue<Future<Int>>()
        let leased = try Queue<Int>()
        do {
            let future = try pool.submit(7) { $0 }
            #expect(try future.value() == 7)
            try futures.put(future)
        }
        let child = try ChildProcess.start(futures, leased) { futures, leased in
            try futures.withElement { future in
                try leased.put(try future.value())
                while true { pause() }
            }
        }
        #expect(try leased.get(timeout: .seconds(20)) == 7)
        try child.kill()
        try child.join(timeout: .seconds(20))
        #expect(try futures.withElement(timeout: .seconds(20)) { try $0.value() } == 7)
        // What several may receive stays.
        let everywhere = try Broadcast<Future<Int>>()
        let readers = try (0..<2).map { _ in try everywhere.subscriber() }
        do { try everywhere.publisher().put(try pool.submit(8) { $0 }) }
        for reader in readers {
            #expect(try reader.get(timeout: .seconds(20)).value(timeout: .seconds(20)) == 8)
        }
    }

    @Test func `who waits for a future of a dead process is told`() throws {
        let futures = try Queue<Future<Int>>()
        let child = try ChildProcess.start(futures) { futures in
            let pool = try Pool(workers: 1)
            let never = try Queue<Int>()
            try futures.put(try pool.submit(never) { try $0.get() })
            while true { pause() }
        }
        let future = try futures.get(timeout: .seconds(20))
        #expect(!future.isDone)
        try child.kill()
        let error = #expect(throws: SharedStateError.self) {
            try future.value(timeout: .seconds(20))
        }
        #expect(error?.code == .workerDied)
    }
}
