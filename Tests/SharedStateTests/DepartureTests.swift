// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)
private let soon = Duration.milliseconds(2)

private struct Refusal: Error {}

/// Not to be decoded, so that what comes after it is not, either.
private struct Barred: Codable, Sendable {
    var text = ""
    init() {}
    init(from decoder: any Decoder) throws { throw Refusal() }
    func encode(to encoder: any Encoder) throws { try text.encode(to: encoder) }
}

/// A producer that did not reach anybody does not keep its stream open.
@Suite("Producers that are not sent", .serialized)
struct DepartureTests {
    private let queue: Queue<Int>
    private let producer: Producer<Int>

    init() throws {
        queue = try Queue(capacity: 64)
        producer = try queue.producer()
    }

    /// None is left but this one.
    private func expectEnd() {
        producer.leave()
        #expect(code { while true { _ = try queue.get(timeout: long) } } == .finished)
    }

    @Test func `a producer that was not sent, as there was no room, does not count`() throws {
        let full = try Queue<Producer<Int>>(capacity: 1)
        let (receiver, sender) = try SharedPipe.simplex(of: Producer<Int>.self, capacity: 2)
        #expect(try full.tryPut(producer))
        #expect(try sender.trySend(producer))
        #expect(try sender.trySend(producer))
        #expect(queue.statistics.producers == 4)
        #expect(try !full.tryPut(producer))
        #expect(code { try full.put(producer, timeout: soon) } == .timedOut)
        #expect(code { try full.put(contentsOf: [producer], timeout: soon) } == .timedOut)
        #expect(try !sender.trySend(producer))
        #expect(code { try sender.send(producer, timeout: soon) } == .timedOut)
        #expect(queue.statistics.producers == 4)
        for sent in [try full.get(), try receiver.receive(), try receiver.receive()] {
            try sent.put(1)
            sent.leave()
        }
        producer.leave()
        #expect(Array(queue.elements) == [1, 1, 1])
    }

    @Test func `a producer that a task did not send does not count`() async throws {
        let full = try Queue<Producer<Int>>(capacity: 1)
        let (receiver, sender) = try SharedPipe.simplex(of: Producer<Int>.self, capacity: 2)
        try await full.put(producer)
        for _ in 0..<2 { try await sender.send(producer) }
        await #expect(throws: SharedStateError.self) {
            try await full.put(producer, timeout: soon)
        }
        await #expect(throws: SharedStateError.self) {
            try await sender.send(producer, timeout: soon)
        }
        let waiting = Task { try await full.put(producer) }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        #expect(queue.statistics.producers == 4)
        withExtendedLifetime(receiver) {}
    }

    @Test func `a producer that a lane had no room for does not count`() async throws {
        let full = try Lanes<Producer<Int>>(capacity: 2)
        let lane = try full.lane()
        #expect(try lane.tryPut(producer) && lane.tryPut(producer))
        #expect(queue.statistics.producers == 3)
        #expect(try !lane.tryPut(producer))
        #expect(code { try lane.put(producer, timeout: soon) } == .timedOut)
        await #expect(throws: SharedStateError.self) {
            try await lane.put(producer, timeout: soon)
        }
        let waiting = Task { [producer] in try await lane.put(producer) }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        #expect(queue.statistics.producers == 3)
        for _ in 0..<2 { try await full.get(timeout: long).put(1) }
        expectEnd()
    }

    @Test func `a producer that a publisher had no room for does not count`() async throws {
        let full = try Broadcast<Producer<Int>>(capacity: 2)
        let subscriber = try full.subscriber()
        let publisher = try full.publisher()
        var sent = 0
        while try publisher.tryPut(producer) { sent += 1 }
        #expect(sent > 0 && queue.statistics.producers == 1 + sent)
        #expect(code { try publisher.put(producer, timeout: soon) } == .timedOut)
        await #expect(throws: SharedStateError.self) {
            try await publisher.put(producer, timeout: soon)
        }
        let waiting = Task { [producer] in try await publisher.put(producer) }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        #expect(queue.statistics.producers == 1 + sent)
        for _ in 0..<sent { try await subscriber.get(timeout: long).put(1) }
        expectEnd()
    }

    // MARK: Children

    @Test func `a producer for a child that could not start does not count`() {
        var options = ChildProcess.Options()
        options.workingDirectory = "/nowhere"
        #expect(
            code {
                _ = try ChildProcess.start(producer, options: options) { try $0.put(1) }
            } == .notFound)
        #expect(queue.statistics.producers == 1)
        expectEnd()
    }

    @Test func `a producer that a child did not receive does not count after its end`() throws {
        var options = ChildProcess.Options()
        options.standardError = .discarded
        let child = try ChildProcess.start(Barred(), producer, options: options) { _, producer in
            try producer.put(1)
        }
        #expect(try child.join(timeout: long) == .exited(code: 1))
        #expect(queue.statistics.producers == 1)
        let other = try ChildProcess.start(producer) { try $0.put(1) }
        #expect(try other.join(timeout: long) == .exited(code: 0))
        #expect(try queue.get() == 1)
        expectEnd()
    }

    // MARK: Pools

    @Test(arguments: [Pool.Mode.processes, .inline])
    func `a producer for a task that is refused or not begun does not count`(
        mode: Pool.Mode
    ) throws {
        let pool = try Pool(mode, workers: 1)
        let gate = try Queue<Int>()
        let running = try pool.submit(gate) { try $0.get() }
        try eventually { running.state == .running }
        let pending = try pool.submit(producer) { try $0.put(1) }
        #expect(queue.statistics.producers == 2)
        #expect(pending.cancel())
        let last = try pool.submit(producer) { try $0.put(2) }
        pool.close()
        #expect(code { _ = try pool.submit(producer) { try $0.put(3) } } == .closed)
        #expect(code { try pool.apply(producer) { try $0.put(3) } } == .closed)
        try gate.put(0)
        try last.value(timeout: long)
        producer.leave()
        #expect(try queue.get(timeout: long) == 2)
        #expect(code { _ = try queue.get(timeout: long) } == .finished)
    }

    @Test func `a producer that a task did not receive does not count after it`() throws {
        let pool = try Pool(workers: 1)
        #expect(
            code { try pool.apply(Barred(), producer) { _, producer in try producer.put(1) } }
                == .taskFailed)
        #expect(queue.statistics.producers == 1)
        let future = try pool.submit(Barred(), producer) { _, producer in try producer.put(1) }
        #expect(code { try future.value(timeout: long) } == .taskFailed)
        #expect(queue.statistics.producers == 1)
        try pool.apply(producer) { try $0.put(5) }
        #expect(try queue.get() == 5)
        expectEnd()
    }

    @Test func `producers for elements that a map drops do not count`() throws {
        let pool = try Pool(workers: 1)
        let numbers = Array(0..<10)
        let producers = numbers.map { _ in producer }
        #expect(
            code {
                _ = try pool.map(Array(zip(numbers, producers)), chunkSize: 1) { pair in
                    if pair.0 == 0 { throw Refusal() }
                    try pair.1.put(pair.0)
                }
            } == .taskFailed)
        #expect(
            code {
                _ = try pool.starmap(numbers, producers, chunkSize: 1) { number, producer in
                    if number == 0 { throw Refusal() }
                    try producer.put(number)
                }
            } == .taskFailed)
        #expect(try pool.map([Int](), with: producer) { number, _ in number } == [])
        expectEnd()
    }

    @Test func `each element of a map has its producer`() throws {
        let pool = try Pool(workers: 2)
        let numbers = Array(0..<20)
        let producers = numbers.map { _ in producer }
        _ = try pool.map(Array(zip(numbers, producers)), chunkSize: 3) { try $0.1.put($0.0) }
        _ = try pool.starmap(numbers, producers, chunkSize: 3) { try $1.put(20 + $0) }
        producer.leave()
        #expect(Array(queue.elements).sorted() == Array(0..<40))
    }
}
