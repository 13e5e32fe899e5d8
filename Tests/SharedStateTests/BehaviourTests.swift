// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

/// Refuses to be encoded, or not.
private struct Picky: Codable, Sendable, Equatable {
    struct Refusal: Error {}
    var text = ""
    var refuses = true

    func encode(to encoder: any Encoder) throws {
        if refuses { throw Refusal() }
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(text, forKey: .text)
        try container.encode(refuses, forKey: .refuses)
    }

    static let willing = Picky(text: "willing", refuses: false)
}

/// What users of Python's `multiprocessing` count on, of every kind of channel.
@Suite("Behaviour of channels", .serialized)
struct BehaviourTests {
    /// Of a blocking put, one that does not wait, and one of a task.
    private func expectRefusal(
        put: (Picky) throws -> Void, tryPut: (Picky) throws -> Bool,
        awaitPut: (Picky) async throws -> Void
    ) async throws {
        #expect(throws: Picky.Refusal.self) { try put(Picky()) }
        #expect(throws: Picky.Refusal.self) { _ = try tryPut(Picky()) }
        await #expect(throws: Picky.Refusal.self) { try await awaitPut(Picky()) }
        try put(.willing)
        #expect(try tryPut(.willing))
        try await awaitPut(.willing)
    }

    @Test func `an element that cannot be encoded is refused by its put, and the channel goes on`()
        async throws
    {
        let queue = try Queue<Picky>(capacity: 4)
        try await expectRefusal(
            put: { try queue.put($0) }, tryPut: { try queue.tryPut($0) },
            awaitPut: { try await queue.put($0) })
        #expect(throws: Picky.Refusal.self) { try queue.put(contentsOf: [Picky()]) }
        #expect(queue.count == 3)
        #expect(try queue.tryGet(upTo: 4) == [.willing, .willing, .willing])

        let lanes = try Lanes<Picky>(capacity: 4)
        let lane = try lanes.lane()
        try await expectRefusal(
            put: { try lane.put($0) }, tryPut: { try lane.tryPut($0) },
            awaitPut: { try await lane.put($0) })
        #expect(lanes.count == 3)
        for _ in 0..<3 { #expect(try await lanes.get(timeout: long) == .willing) }

        let broadcast = try Broadcast<Picky>(capacity: 4)
        let subscriber = try broadcast.subscriber()
        let publisher = try broadcast.publisher()
        try await expectRefusal(
            put: { try publisher.put($0) }, tryPut: { try publisher.tryPut($0) },
            awaitPut: { try await publisher.put($0) })
        #expect(subscriber.count == 3)
        for _ in 0..<3 { #expect(try await subscriber.get(timeout: long) == .willing) }

        let pipe = try SharedPipe.simplex(of: Picky.self, capacity: 4)
        try await expectRefusal(
            put: { try pipe.sender.send($0) }, tryPut: { try pipe.sender.trySend($0) },
            awaitPut: { try await pipe.sender.send($0) })
        for _ in 0..<3 { #expect(try await pipe.receiver.receive(timeout: long) == .willing) }
        #expect(try !pipe.receiver.poll())
    }

    @Test func `a queue is empty, or not, for every process, and may be finished twice`() throws {
        let queue = try Queue<Int>()
        let seen = try Queue<Bool>()
        let go = try Queue<Int>()
        let child = try ChildProcess.start(queue, seen, go) { queue, seen, go in
            try seen.put(queue.isEmpty)
            _ = try go.get()
            try seen.put(queue.isEmpty)
            _ = try queue.get()
            try seen.put(queue.isEmpty)
            queue.finish()
            queue.finish()
        }
        #expect(try seen.get(timeout: long))
        try queue.put(1)
        try go.put(0)
        #expect(try !seen.get(timeout: long))
        #expect(try seen.get(timeout: long))
        #expect(try child.join(timeout: long) == .exited(code: 0))
        #expect(queue.isEmpty && queue.statistics.state == .finished)
        queue.finish()
        #expect(Array(queue.elements) == [])
    }

    @Test func `of a pipe whose two ends are closed neither waits`() throws {
        let pipe = try SharedPipe.simplex(of: Int.self)
        for _ in 0..<2 {
            pipe.sender.close()
            pipe.receiver.close()
        }
        let sent = #expect(throws: SharedStateError.self) { try pipe.sender.send(1) }
        let received = #expect(throws: SharedStateError.self) { try pipe.receiver.receive() }
        #expect(sent?.code == .finished || sent?.code == .closed)
        #expect(received?.code == .closed)
    }

    @Test func `all ways to get give the same`() throws {
        let queue = try Queue<Int>()
        try queue.put(contentsOf: 0..<6)
        #expect(try queue.get() == 0)
        #expect(try queue.get(timeout: nil) == 1)
        #expect(try queue.get(timeout: .zero) == 2)
        #expect(try queue.tryGet() == 3)
        #expect(try queue.get(upTo: 1) == [4])
        #expect(try queue.tryGet(upTo: 2) == [5])
    }

    @Test func `a joinable queue that is finished or cancelled refuses everybody`() throws {
        let finished = try JoinableQueue<Int>()
        try finished.put(1)
        finished.finish()
        #expect(code { try finished.put(2) } == .finished)
        #expect(try finished.get() == 1)
        try finished.taskDone()
        #expect(code { _ = try finished.get() } == .finished)
        try finished.join(timeout: .zero)

        let cancelled = try JoinableQueue<Int>()
        let began = try Queue<Bool>()
        let joiner = try ChildProcess.start(cancelled, began) { queue, began in
            try began.put(true)
            do {
                try queue.join()
            } catch let error as SharedStateError where error.code == .closed {
                exit(7)
            }
        }
        try cancelled.put(1)
        try cancelled.put(2)
        _ = try cancelled.get()
        _ = try began.get(timeout: long)
        cancelled.cancel()
        #expect(code { try cancelled.put(3) } == .closed)
        #expect(code { _ = try cancelled.get() } == .closed)
        #expect(code { try cancelled.join() } == .closed)
        try cancelled.taskDone()
        #expect(try joiner.join(timeout: long) == .exited(code: 7))
    }

    @Test func `a stream ends with the last reference to its putting end`() throws {
        let queue = try Queue<Int>()
        var producer: Producer? = try queue.producer()
        var same = producer
        producer = nil
        #expect(try queue.tryGet() == nil)
        try same?.put(1)
        same = nil
        #expect(try queue.get(timeout: long) == 1)
        #expect(code { _ = try queue.get(timeout: long) } == .finished)

        let (receiver, made) = try SharedPipe.simplex(of: Int.self)
        var sender = Optional(consume made)
        try sender?.send(1)
        sender = nil
        #expect(try receiver.receive(timeout: long) == 1)
        #expect(code { _ = try receiver.receive(timeout: long) } == .finished)
    }

    @Test func `a poll says no when nothing comes, and not before its time is up`() throws {
        let pipe = try SharedPipe.simplex(of: Int.self)
        let go = try Queue<Int>()
        let child = try ChildProcess.start(pipe.sender, go) { sender, go in
            _ = try go.get()
            try sender.send(1)
        }
        let start = ContinuousClock.now
        #expect(try !pipe.receiver.poll(timeout: .milliseconds(30)))
        #expect(ContinuousClock.now - start >= .milliseconds(30))
        try go.put(0)
        #expect(try pipe.receiver.poll(timeout: long))
        #expect(try pipe.receiver.receive() == 1)
        #expect(try child.join(timeout: long) == .exited(code: 0))
    }
}
