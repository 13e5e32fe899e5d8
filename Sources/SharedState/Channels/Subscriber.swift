// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// One of those that get every element of a ``Broadcast``; leaves with its last reference.
///
/// One thread or task at a time may use it; a second one is refused. It stays in its process: send
/// the broadcast, and join there.
public final class Subscriber<Element: Sendable>: Sendable {
    @usableFromInline internal let core: SubscriberCore
    @usableFromInline internal let isBits: Bool
    private let codec: MessageCodec<Element>

    internal init(_ core: SubscriberCore, _ codec: MessageCodec<Element>) {
        self.core = core
        self.codec = codec
        isBits = codec.isBits
    }

    /// The next element, waiting for it.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: The element.
    /// - Throws: `timedOut`, `finished` (the end), `closed`, `incompatible` (damaged bytes),
    ///   `invalidArgument` (another thread uses it), or what the element's `init(from:)` throws.
    @inlinable
    public func get(timeout: Duration? = nil) throws -> Element {
        guard _isPOD(Element.self), isBits else { return try getEncoded(timeout: timeout) }
        let deadline = timeout.map(QueueCore.deadline) ?? .max
        return try unsafe withUnsafeTemporaryAllocation(of: Element.self, capacity: 1) { room in
            let room = unsafe room.baseAddress.unsafelyUnwrapped
            let status = unsafe core.get(
                into: room, MemoryLayout<Element>.stride, until: deadline)
            if status != 0 { throw core.failure(status, "cshm_subscriber_peek_until") }
            return unsafe room.move()
        }
    }

    /// The next element if there is one now.
    ///
    /// - Returns: The element, or `nil` if there is none and the stream goes on.
    /// - Throws: As `get`, save `timedOut`.
    public func tryGet() throws -> Element? {
        let (status, element) = try unsafe core.withNext(
            until: nil, { unsafe try codec.decode($0) })
        if status == Answer.wouldWait { return nil }
        if status != 0 { throw core.failure(status, "cshm_subscriber_try_peek") }
        return element
    }

    /// The next element, waiting for it without holding a thread.
    ///
    /// - Throws: As the blocking form, and `CancellationError`; then it is still the next one.
    public func get(timeout: Duration? = nil) async throws -> Element {
        try Task.checkCancellation()
        if let element = try tryGet() { return element }
        let received = ReceivedBytes()
        let status = try await Reactor.wait(at: core.items, until: deadline(after: timeout)) {
            [core] in
            unsafe core.withNext(
                until: nil, { bytes in received.bytes.withLock { unsafe $0 = [UInt8](bytes) } }
            ).0
        }
        if status != 0 { throw core.failure(status, "cshm_subscriber_try_peek") }
        return try unsafe received.bytes.withLock { $0 }.withUnsafeBytes {
            unsafe try codec.decode($0)
        }
    }

    @usableFromInline
    internal func getEncoded(timeout: Duration?) throws -> Element {
        let until = deadline(after: timeout)
        let (status, element) = try unsafe core.withNext(
            until: until, { unsafe try codec.decode($0) })
        guard status == 0, let element else {
            throw core.failure(status, "cshm_subscriber_peek_until")
        }
        return element
    }

    /// Elements that it has lost so far; always 0 for a lossless one.
    public var lost: Int { Int(clamping: core.lost) }

    /// Elements published and not yet got or lost by it, at some instant of the call.
    public var count: Int { Int(clamping: core.count) }
}

extension Subscriber: AsyncSequence {
    /// Gets the elements as they come, holding no thread while it waits.
    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let subscriber: Subscriber

        /// The next element, waiting for it; `nil` at the end.
        ///
        /// - Throws: As `get` of ``Subscriber``, save `finished`.
        public mutating func next() async throws -> Element? {
            do {
                return try await subscriber.get()
            } catch let error as SharedStateError where error.code == .finished {
                return nil
            }
        }
    }

    /// An iterator over what is still to come.
    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(subscriber: self)
    }
}

/// A subscriber's line in the broadcast, for one thread at a time.
@safe
@usableFromInline
internal final class SubscriberCore: Sendable {
    private let broadcast: BroadcastCore
    private nonisolated(unsafe) let pointer: OpaquePointer
    private let turn = Turn()

    init(
        _ broadcast: BroadcastCore, _ policy: SubscriberPolicy, _ history: Int
    ) throws(SharedStateError) {
        let kind = policy == .lossless ? CSHM_LOSSLESS : CSHM_OVERWRITE
        var joined: OpaquePointer?
        try unsafe check(
            cshm_subscriber_join(broadcast.pointer, kind.rawValue, UInt64(history), &joined),
            "cshm_subscriber_join", "Broadcast<\(broadcast.elementType)>")
        unsafe pointer = joined.unsafelyUnwrapped
        self.broadcast = broadcast
    }

    deinit {
        unsafe cshm_subscriber_leave(pointer)
    }

    @usableFromInline
    func get(
        into room: UnsafeMutableRawPointer, _ length: Int, until deadline: Int64
    ) -> Int32 {
        guard turn.take() else { return Answer.busy }
        defer { turn.giveBack() }
        var message = unsafe cshm_broadcast_message()
        let status = unsafe cshm_subscriber_peek_until(pointer, &message, deadline)
        guard status == 0 else { return status }
        let fits = unsafe message.length == UInt64(length)
        if fits { unsafe room.copyMemory(from: message.data, byteCount: length) }
        unsafe cshm_subscriber_release(pointer)
        return fits ? 0 : Answer.damaged
    }

    /// Has the next message read in place, and releases it; without a deadline it does not wait.
    func withNext<Result>(
        until deadline: Int64?, _ body: (UnsafeRawBufferPointer) throws -> Result
    ) rethrows -> (Int32, Result?) {
        guard turn.take() else { return (Answer.busy, nil) }
        defer { turn.giveBack() }
        var message = unsafe cshm_broadcast_message()
        let status =
            if let deadline {
                unsafe cshm_subscriber_peek_until(pointer, &message, deadline)
            } else {
                unsafe cshm_subscriber_try_peek(pointer, &message)
            }
        guard status == 0 else { return (status, nil) }
        defer { unsafe cshm_subscriber_release(pointer) }
        let bytes = unsafe UnsafeRawBufferPointer(
            start: message.data, count: Int(clamping: message.length))
        return (0, try unsafe body(bytes))
    }

    /// Whether a peek would not wait, as the answer of an attempt; it holds nothing.
    func tryLook() -> Int32 {
        guard turn.take() else { return Answer.busy }
        defer { turn.giveBack() }
        var waitable = unsafe cshm_waitable()
        unsafe cshm_subscriber_items(pointer, &waitable)
        return unsafe waitable.is_ready(waitable.object) != 0 ? 0 : Answer.wouldWait
    }

    var region: Region { broadcast.object.region }

    /// Runs `body` as the only one that uses it.
    func alone<Result>(_ body: (OpaquePointer) throws -> Result) throws -> Result {
        guard turn.take() else { throw failure(Answer.busy, "cshm_subscriber") }
        defer { turn.giveBack() }
        return try unsafe body(pointer)
    }

    /// Where it waits.
    var items: Reactor.Place {
        unsafe Reactor.Place(.anyone) { unsafe cshm_subscriber_items(pointer, $0) }
    }

    var lost: UInt64 { unsafe cshm_subscriber_lost(pointer) }
    var count: UInt64 { unsafe cshm_subscriber_count(pointer) }

    @usableFromInline
    @inline(never)
    func failure(_ status: Int32, _ function: StaticString) -> SharedStateError {
        SharedStateError(channel: status, function, "Broadcast<\(broadcast.elementType)>")
    }
}
