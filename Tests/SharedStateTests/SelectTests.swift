// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

/// What tasks note down.
private actor Notes {
    private(set) var all: [Int] = []
    func add(_ number: Int) { all.append(number) }
}

@Suite("Select", .serialized)
struct SelectTests {
    @Test func `the first element of channels of different kinds`() throws {
        let jobs = try Queue<Int>()
        let news = try Broadcast<String>()
        let lanes = try Lanes<[UInt8]>()
        let pipe = try SharedPipe.simplex(of: Double.self)
        let subscriber = try news.subscriber()
        let done = try Queue<Bool>()
        let child = try ChildProcess.start(jobs, news, lanes, pipe.sender, done) {
            jobs, news, lanes, sender, done in
            let publisher = try news.publisher()
            let lane = try lanes.lane()
            try jobs.put(1)
            _ = try done.get()
            try publisher.put("two")
            _ = try done.get()
            try lane.put([3])
            _ = try done.get()
            try sender.send(4)
            _ = try done.get()
        }
        for n in 1...4 {
            let (job, text, bytes, number) = try Select.first(
                of: jobs, subscriber, lanes, pipe.receiver, timeout: long)
            #expect(job == (n == 1 ? 1 : nil) && text == (n == 2 ? "two" : nil))
            #expect(bytes == (n == 3 ? [3] : nil) && number == (n == 4 ? 4 : nil))
            try done.put(true)
        }
        #expect(try child.join(timeout: long) == .exited(code: 0))
    }

    @Test func `all of many channels are served, and those that ended are left out`() throws {
        let queues = try (0..<20).map { _ in try Queue<Int>(capacity: 2, ports: 8) }
        let children = try queues.indices.filter { $0.isMultiple(of: 5) }.map { first in
            try ChildProcess.start(Array(queues[first..<first + 5]), first) { queues, first in
                for n in 0..<50 {
                    for (index, queue) in queues.enumerated() { try queue.put(first + index + n) }
                }
                for queue in queues { queue.finish() }
            }
        }
        var next = [Int](repeating: 0, count: 20)
        let end = code {
            while true {
                let (index, element) = try Select.first(of: queues, timeout: long)
                #expect(element == index + next[index])
                next[index] += 1
            }
        }
        #expect(end == .finished)
        #expect(next == [Int](repeating: 50, count: 20))
        for child in children { #expect(try child.join(timeout: long) == .exited(code: 0)) }
    }

    @Test func `waits end in time, and numbers out of range are refused`() async throws {
        let queues = try (0..<3).map { _ in try Queue<Int>() }
        let start = ContinuousClock.now
        #expect(
            code { _ = try Select.first(of: queues, timeout: .milliseconds(30)) } == .timedOut)
        #expect(ContinuousClock.now - start >= .milliseconds(30))
        await #expect(throws: SharedStateError.self) {
            try await Select.first(of: queues, timeout: .milliseconds(30))
        }
        #expect(ContinuousClock.now - start >= .milliseconds(60))
        let none: [Queue<Int>] = []
        #expect(code { _ = try Select.first(of: none) } == .invalidArgument)
        queues[1].cancel()
        #expect(code { _ = try Select.first(of: queues, timeout: long) } == .closed)
        await #expect(throws: SharedStateError.self) { try await Select.first(of: queues) }
    }

    @Test func `tasks cancelled at random lose and duplicate nothing`() async throws {
        let left = try Queue<Int>(capacity: 4)
        let right = try Queue<Int>(capacity: 4)
        let got = Notes()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for n in 0..<1000 { try await (n.isMultiple(of: 3) ? left : right).put(n) }
                left.finish()
                right.finish()
            }
            for consumer in 0..<3 {
                group.addTask {
                    var round = consumer
                    while true {
                        let task = Task {
                            let (a, b) = try await Select.first(of: left, right)
                            await got.add(a ?? b ?? -1)
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
        #expect(await got.all.sorted() == Array(0..<1000))
    }
}
