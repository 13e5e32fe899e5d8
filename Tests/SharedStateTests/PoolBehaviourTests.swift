// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

private struct Refusal: Error, Codable, Equatable {
    var number: Int
}

/// Counts, in shared memory, the ends of its copies: where it is decoded it is another object.
private final class Witness: Codable, Sendable {
    let ends: SharedAtomic<Int>
    init(_ ends: SharedAtomic<Int>) { self.ends = ends }
    deinit { ends.add(1) }
}

/// Elements whose number it tells is not theirs.
private struct Misleading: Sequence {
    var told: Int
    var underestimatedCount: Int { told }
    func makeIterator() -> some IteratorProtocol<Int> { (0..<3).makeIterator() }
}

/// What Python's tests pin of pools and futures, where no other suite shows it: see ARCHITECTURE.md.
@Suite("Pools as Python's are", .serialized)
struct PoolBehaviourTests {
    // MARK: Maps

    @Test(arguments: [nil, 1, 7]) func `without elements there are no results`(
        chunk: Int?
    ) async throws {
        let pool = try Pool(workers: 1)
        let none = [Int]()
        #expect(try pool.imapUnordered(none, chunkSize: chunk) { $0 }.next() == nil)
        #expect(try await pool.mapAsync(none, chunkSize: chunk) { $0 }.value() == [])
        #expect(try await pool.map(none, chunkSize: chunk) { $0 } == [])
        #expect(try ProcessPoolExecutor(pool).map(none) { $0 }.next() == nil)
    }

    @Test(arguments: [0, 1, 2, 1000]) func `a sequence that tells a wrong number is gone through`(
        told: Int
    ) throws {
        let pool = try Pool(workers: 2)
        let elements = Misleading(told: told)
        #expect(try pool.map(elements) { $0 + 1 } == [1, 2, 3])
        #expect(try pool.map(elements) { "\($0)" } == ["0", "1", "2"])
        #expect(try pool.starmap(elements, elements) { $0 * $1 } == [0, 1, 4])
    }

    @Test func `a map's time-out is not what its tasks throw`() throws {
        let pool = try Pool(workers: 1)
        let never = try Queue<Int>()
        let thrown = #expect(throws: SharedStateError.self) {
            try pool.map([0], with: never, timeout: long) { _, never in
                try never.get(timeout: .milliseconds(1))
            }
        }
        #expect(thrown?.code == .taskFailed)
        let late = #expect(throws: SharedStateError.self) {
            try pool.map([0], with: never, timeout: .milliseconds(20)) { _, never in
                try never.get()
            }
        }
        #expect(late?.code == .timedOut)
        #expect(try pool.map(0..<4) { $0 } == [0, 1, 2, 3])
    }

    // MARK: What is let go

    @Test func `what tasks are given and return is let go`() throws {
        let pool = try Pool(workers: 1)
        let ends = try SharedAtomic(0)
        // An argument, a result and what every element is given: one there, and one here.
        try pool.apply(Witness(ends)) { _ in }
        try eventually { ends.load() == 2 }
        _ = try pool.apply(ends) { Witness($0) }
        try eventually { ends.load() == 4 }
        #expect(try pool.map(0..<4, with: Witness(ends)) { n, _ in n } == [0, 1, 2, 3])
        // The worker keeps it for a moment, as more of the map might come, and has nothing else to do.
        try eventually { ends.load() == 6 }
        #expect(try pool.map(0..<2, with: Witness(ends)) { n, _ in n } == [0, 1])
        try eventually { ends.load() == 8 }
    }

    @Test func `a pool that is dropped takes its workers along`() async {
        await #expect(processExitsWith: .success) {
            do {
                let pool = try Pool(workers: 2)
                #expect(try await pool.apply(1) { $0 } == 1)
            }
            try await eventually { ProcessTree.below(getpid()).count == 1 }  // the zygote
        }
    }

    // MARK: How many

    @Test func `two hundred workers work at once`() throws {
        let workers = isSanitized() ? 20 : 200
        let pool = try Pool(workers: workers)
        let barrier = try Barrier(parties: workers)
        let indices = try pool.map(0..<workers, with: barrier, chunkSize: 1) { _, barrier in
            try barrier.wait(timeout: .seconds(60))
        }
        #expect(indices.sorted() == Array(0..<workers))
    }

    @Test func `a pool of which a worker cannot start leaves none`() async {
        await #expect(processExitsWith: .success) {
            var options = Pool.Options()
            options.placement = [[0], [4095]]
            #expect(code { _ = try Pool(workers: 2, options: options) } == .invalidArgument)
            try await eventually { ProcessTree.below(getpid()).count <= 1 }  // the zygote
        }
    }

    // MARK: Futures and executors

    @Test func `who waits for a result in vain may wait again`() throws {
        let pool = try Pool(workers: 1)
        let gate = try Queue<Int>()
        let future = try pool.submit(gate) { try $0.get() }
        for timeout in [Duration.zero, .milliseconds(-1), .milliseconds(10)] {
            #expect(code { _ = try future.value(timeout: timeout) } == .timedOut)
        }
        #expect(future.outcome == nil)
        try gate.put(3)
        #expect(try future.value(timeout: long) == 3)
        #expect(try future.value(timeout: .zero) == 3)
    }

    @Test func `a callback is told of a cancellation`() throws {
        let pool = try Pool(workers: 1)
        let never = try Queue<Int>()
        let told = try Queue<Bool>()
        let future = try pool.submit(never) { try $0.get() }
        future.whenDone { future in try? told.put(future.state == .cancelled) }
        #expect(future.cancel())
        #expect(try told.get(timeout: long))
    }

    @Test func `what a thread's work throws is thrown as it is`() throws {
        let threads = try ThreadPoolExecutor(workers: 1)
        let future = try threads.submit { () throws -> Int in throw Refusal(number: 3) }
        #expect(throws: Refusal(number: 3)) { try future.value(timeout: long) }
        let results = try threads.map(0..<2) { (n: Int) -> Int in throw Refusal(number: n) }
        for n in 0..<2 { #expect(throws: Refusal(number: n)) { try results.next()?.get() } }
        #expect(code { _ = try threads.map(0..<2, bufferSize: 0) { $0 } } == .invalidArgument)
        threads.shutdown()
    }

    @Test func `what is cancelled right before a shutdown does not hold it up`() throws {
        for _ in 0..<20 {
            let executor = try ProcessPoolExecutor(workers: 1)
            let futures = try (0..<4).map { n in try executor.submit(n) { $0 } }
            for future in futures.reversed() { future.cancel(running: false) }
            executor.shutdown()
            #expect(futures.allSatisfy { $0.isDone })
        }
    }

    @Test func `an executor that nobody waits for does what it has, and its workers leave`() throws
    {
        let pids: [Int32]
        let futures: [Future<Int>]
        do {
            let pool = try Pool(workers: 2)
            let executor = ProcessPoolExecutor(pool)
            pids = pool.workerPIDs
            futures = try (0..<20).map { n in
                try executor.submit(n) { n in
                    usleep(1000)
                    return n
                }
            }
            executor.shutdown(wait: false, cancelPending: false)
        }
        #expect(try futures.map { try $0.value(timeout: long) } == Array(0..<20))
        try eventually { pids.allSatisfy { ProcessTree.entry(of: $0) == nil } }
    }

    @Test func `an executor whose workers are killed fails what they run, and takes no more`()
        throws
    {
        let executor = try ProcessPoolExecutor(workers: 2)
        let never = try Queue<Int>()
        let futures = try (0..<4).map { _ in try executor.submit(never) { try $0.get() } }
        try eventually { futures[0].state == .running }
        executor.killWorkers()
        for future in futures { #expect(code { _ = try future.value(timeout: long) } == .closed) }
        #expect(code { _ = try executor.submit(1) { $0 } } == .closed)
        executor.killWorkers()
        executor.shutdown()
    }
}
