// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Synchronization

/// The right to put into a ``Queue``, of which the queue counts how many there are: when the last
/// one has left, or its process has died, the stream is finished and every consumer told.
///
/// Sending a producer to another process makes one more. From then until it arrives it counts for
/// the sender: if the receiver dies before, the stream ends no earlier than the sender. One whose
/// sending was refused, by a full channel for example, does not count; nor one that was given to a
/// ``ChildProcess``, or to a ``Pool``'s task, that ended without it.
///
/// - Processes, threads, tasks: safe.
/// - Death: a producer of a dead process counts no more.
public final class Producer<Element: Sendable>: Sendable, Codable {
    /// Where the elements go.
    public let queue: Queue<Element>
    private let token: UInt32
    private let left = Atomic(false)

    fileprivate init(_ queue: Queue<Element>) throws(SharedStateError) {
        var token: UInt32 = 0
        try unsafe check(
            cshm_queue_producer_open(queue.core.pointer, &token), "cshm_queue_producer_open")
        self.queue = queue
        self.token = token
    }

    /// Takes a sent producer over.
    ///
    /// - Throws: `notFound` (its sender is dead, or it was received before), `finished`, `closed`.
    public init(from decoder: any Decoder) throws {
        let ticket = try Ticket<Element>(from: decoder)
        var token: UInt32 = 0
        try unsafe check(
            cshm_queue_producer_receive(ticket.queue.core.pointer, ticket.number, &token),
            "cshm_queue_producer_receive", "a Producer")
        queue = ticket.queue
        self.token = token
    }

    /// Sends one more producer; this one stays.
    ///
    /// - Throws: `tooManyUsers`, `finished`, `closed`.
    public func encode(to encoder: any Encoder) throws {
        var number: UInt64 = 0
        try unsafe check(
            cshm_queue_producer_send(queue.core.pointer, &number), "cshm_queue_producer_send")
        Departure.ifNotSent { [core = queue.core, number] in core.takeBack(number) }
        try Ticket(queue: queue, number: number).encode(to: encoder)
    }

    deinit {
        leave()
    }

    /// Puts no more.
    ///
    /// Happens by itself when the last reference goes. Idempotent.
    public func leave() {
        if !left.exchange(true, ordering: .acquiringAndReleasing) {
            unsafe cshm_queue_producer_close(queue.core.pointer, token)
        }
    }

    /// As `put` of ``Queue``.
    ///
    /// - Throws: As that, and `closed` after ``leave()``.
    public func put(_ element: Element, timeout: Duration? = nil) throws {
        try checkPresence()
        try queue.put(element, timeout: timeout)
    }

    /// As `tryPut` of ``Queue``.
    ///
    /// - Throws: As that, and `closed` after ``leave()``.
    public func tryPut(_ element: Element) throws -> Bool {
        try checkPresence()
        return try queue.tryPut(element)
    }

    /// As `put(contentsOf:)` of ``Queue``.
    ///
    /// - Throws: As that, and `closed` after ``leave()``.
    @discardableResult
    public func put(
        contentsOf elements: some Sequence<Element>, timeout: Duration? = nil
    ) throws -> Int {
        try checkPresence()
        return try queue.put(contentsOf: elements, timeout: timeout)
    }

    /// As `put` of ``Queue``, holding no thread while it waits.
    ///
    /// - Throws: As that, and `closed` after ``leave()``.
    public func put(_ element: Element, timeout: Duration? = nil) async throws {
        try checkPresence()
        try await queue.put(element, timeout: timeout)
    }

    /// As `put(contentsOf:)` of ``Queue``, holding no thread while it waits.
    ///
    /// - Throws: As that, and `closed` after ``leave()``.
    @discardableResult
    public func put(
        contentsOf elements: some Sequence<Element>, timeout: Duration? = nil
    ) async throws -> Int {
        try checkPresence()
        return try await queue.put(contentsOf: elements, timeout: timeout)
    }

    private func checkPresence() throws(SharedStateError) {
        if left.load(ordering: .acquiring) {
            throw SharedStateError(.closed, "this producer has left; make another by producer()")
        }
    }
}

extension QueueCore {
    /// Closes the token of a ticket that nobody will receive.
    fileprivate func takeBack(_ ticket: UInt64) {
        var token: UInt32 = 0
        if unsafe cshm_queue_producer_receive(pointer, ticket, &token) == 0 {
            unsafe cshm_queue_producer_close(pointer, token)
        }
    }
}

/// What is sent when a producer is.
private struct Ticket<Element: Sendable>: Codable {
    let queue: Queue<Element>
    let number: UInt64
}

extension Queue {
    /// Makes a producer.
    ///
    /// Once there was one, the stream ends with the last. Who holds the queue itself may put too,
    /// but is not counted.
    ///
    /// - Throws: `tooManyUsers` (as many producers as ports), `finished`, `closed`.
    public func producer() throws(SharedStateError) -> Producer<Element> {
        try Producer(self)
    }
}
