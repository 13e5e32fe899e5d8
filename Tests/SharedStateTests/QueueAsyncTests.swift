// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private struct Interruption: Error {}

/// What tasks note down.
private actor Notes {
    private(set) var all: [Int] = []
    func add(_ number: Int) { all.append(number) }
}

@Suite("Queue, async", .serialized, .timeLimit(.minutes(3)))
struct QueueAsyncTests {
    @Test func `hundreds of tasks wait at once without holding a thread`() async throws {
        let queue = try Queue<Int>(capacity: 1000)
        let began = Count()
        let sum = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<500 {
                group.addTask {
                    began.add()
                    return try await queue.get(timeout: .seconds(30))
                }
            }
            // Every one of them has begun to wait, which it could not if they held threads.
            try await eventually { began.value == 500 }
            try await queue.put(contentsOf: 0..<500)
            return try await group.reduce(0, +)
        }
        #expect(sum == 500 * 499 / 2 && queue.isEmpty)
    }

    @Test func `a task waits for what another process puts`() async throws {
        let queue = try Queue<String>(capacity: 2)
        let child = try ChildProcess.start(queue) { queue in
            for n in 0..<100 { try queue.put("\(n)") }
            queue.finish()
        }
        var seen: [String] = []
        for try await element in queue { seen.append(element) }
        #expect(seen == (0..<100).map { "\($0)" })
        #expect(try await child.join(timeout: .seconds(60)) == .exited(code: 0))
        #expect(await code { _ = try await queue.get() } == .finished)
        #expect(await code { try await queue.put("x") } == .finished)
    }

    @Test func `tasks wait for room`() async throws {
        let queue = try Queue<[UInt8]>(capacity: 1)
        async let producer: Void = {
            for n in 0..<200 { try await queue.put([UInt8](repeating: UInt8(n), count: n)) }
        }()
        for n in 0..<200 {
            #expect(
                try await queue.get(timeout: .seconds(30)) == [UInt8](repeating: UInt8(n), count: n)
            )
        }
        try await producer
    }

    @Test func `a wait ends no earlier than its time-out`() async throws {
        let queue = try Queue<Int>(capacity: 1)
        let started = ContinuousClock.now
        #expect(await code { _ = try await queue.get(timeout: .milliseconds(30)) } == .timedOut)
        #expect(ContinuousClock.now - started >= .milliseconds(30))
        try await queue.put(1)
        #expect(await code { try await queue.put(2, timeout: .milliseconds(30)) } == .timedOut)
        #expect(await code { _ = try await queue.lease(timeout: .zero).done() } == nil)
        #expect(await code { _ = try await queue.lease(timeout: .zero).done() } == .timedOut)
    }

    @Test func `cancelling a waiting task takes nothing`() async throws {
        let queue = try Queue<Int>()
        let task = Task { try await queue.get() }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        let later = Task { try await queue.get() }
        try await Task.sleep(for: .milliseconds(20))
        later.cancel()
        await #expect(throws: CancellationError.self) { try await later.value }
        try await queue.put(1)
        #expect(try await queue.get() == 1)
    }

    /// How a task takes.
    enum Taking: CaseIterable {
        case get, batch, element, lease

        func elements(of queue: Queue<Int>) async throws -> [Int] {
            switch self {
            case .get: return [try await queue.get()]
            case .batch: return try await queue.get(upTo: 3)
            case .element: return [try await queue.withElement { $0 }]
            case .lease:
                let lease = try await queue.lease()
                let element = lease.element
                lease.done()
                return [element]
            }
        }
    }

    @Test(arguments: Taking.allCases)
    func `tasks cancelled at random neither lose nor duplicate an element`(
        taking: Taking
    ) async throws {
        let queue = try Queue<Int>(capacity: 4)
        let count = 2000
        let put = Notes()
        let got = Notes()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for n in 0..<count {
                    let task = Task {
                        try await queue.put(n)
                        await put.add(n)
                    }
                    if n.isMultiple(of: 3) { task.cancel() }
                    if n.isMultiple(of: 7) {
                        try await Task.sleep(for: .microseconds(Int.random(in: 0..<100)))
                        task.cancel()
                    }
                    _ = await task.result
                }
                queue.finish()
            }
            for consumer in 0..<4 {
                group.addTask {
                    var round = consumer
                    while true {
                        let task = Task {
                            for element in try await taking.elements(of: queue) {
                                await got.add(element)
                            }
                        }
                        round += 1
                        if round.isMultiple(of: 2) {
                            try await Task.sleep(for: .microseconds(Int.random(in: 0..<200)))
                            task.cancel()
                        }
                        do {
                            try await task.value
                        } catch is CancellationError {
                            continue
                        } catch let error as SharedStateError where error.code == .finished {
                            return
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        let (sent, received) = await (put.all, got.all)
        #expect(sent.count > count / 3)
        #expect(received.sorted() == sent)
    }

    @Test func `batches wait and report`() async throws {
        let queue = try Queue<Int>(capacity: 10)
        #expect(try await queue.put(contentsOf: 0..<15, timeout: .milliseconds(20)) == 10)
        #expect(try await queue.get(upTo: 4) == [0, 1, 2, 3])
        async let all = queue.put(contentsOf: 100..<200)
        var seen: [Int] = []
        while seen.count < 106 { seen += try await queue.get(upTo: 7, timeout: .seconds(30)) }
        #expect(seen == Array(4..<10) + Array(100..<200))
        #expect(try await all == 100)
    }

    @Test func `tasks join what tasks got, and a producer's batch waits without a thread`()
        async throws
    {
        let queue = try JoinableQueue<Int>(capacity: 2)
        let producer = try queue.queue.producer()
        async let put = producer.put(contentsOf: 0..<7)
        var seen: [Int] = []
        for _ in 0..<7 { seen.append(try await queue.get(timeout: .seconds(30))) }
        #expect(seen == Array(0..<7))
        #expect(try await put == 7)
        await #expect(throws: SharedStateError.self) { try await queue.join(timeout: .zero) }
        for _ in 0..<6 { try queue.taskDone() }
        async let joined: Void = queue.join(timeout: .seconds(30))
        try queue.taskDone()
        try await joined
        #expect(code { try queue.taskDone() } == .invalidArgument)
        try await queue.put(1)
        #expect(await code { try await queue.join(timeout: .milliseconds(1)) } == .timedOut)
        queue.cancel()
        #expect(await code { try await queue.join() } == .closed)
    }

    @Test func `a leased element comes again when the body throws`() async throws {
        let queue = try Queue<Int>()
        let task = Task {
            try await queue.withElement { element in
                await Task.yield()
                if element == 1 { throw Interruption() }
            }
        }
        try await queue.put(1)
        await #expect(throws: Interruption.self) { try await task.value }
        let lease = try await queue.lease()
        #expect(lease.element == 1 && lease.isRedelivered)
        lease.done()
    }

    @Test func `cancelling the queue ends the waits of tasks`() async throws {
        let queue = try Queue<Int>()
        let task = Task { try await queue.get() }
        try await Task.sleep(for: .milliseconds(5))
        queue.cancel()
        #expect(await code { _ = try await task.value } == .closed)
        #expect(await code { for try await _ in queue {} } == .closed)
    }

    @Test func `a killed process's lease reaches a waiting task`() async throws {
        let queue = try Queue<Int>()
        let holding = try Queue<Int>()
        try await queue.put(1)
        let child = try ChildProcess.start(queue, holding) { queue, holding in
            let lease = try queue.lease()
            try holding.put(lease.element)
            pause()
            lease.done()
        }
        #expect(try await holding.get(timeout: .seconds(30)) == 1)
        async let again = queue.get(timeout: .seconds(30))
        try child.kill()
        #expect(try await again == 1)
    }
}
