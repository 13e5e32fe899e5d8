// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// One of those that publish in a ``Broadcast``; leaves with its last reference.
///
/// One thread or task at a time may use it; a second one is refused. It stays in its process: send
/// the broadcast, and join there.
public final class Publisher<Element: Sendable>: Sendable {
    @usableFromInline internal let core: PublisherCore
    @usableFromInline internal let isBits: Bool
    private let codec: MessageCodec<Element>

    internal init(_ core: PublisherCore, _ codec: MessageCodec<Element>) {
        self.core = core
        self.codec = codec
        isBits = codec.isBits
    }

    /// Publishes an element, waiting for the slowest lossless subscriber.
    ///
    /// - Parameters:
    ///   - element: What to publish; it is copied.
    ///   - timeout: The longest wait; `nil` waits without limit.
    /// - Throws: `timedOut`, `finished`, `closed`, `full` (no memory for a long element), `tooLarge`
    ///   (longer than the byte limit), `invalidArgument` (another thread uses it), or what the element's `encode(to:)` throws.
    ///   Nothing was published then.
    @inlinable
    public func put(_ element: Element, timeout: Duration? = nil) throws {
        guard _isPOD(Element.self), isBits else {
            return try putEncoded(element, timeout: timeout)
        }
        let deadline = timeout.map(QueueCore.deadline) ?? .max
        let status = unsafe withUnsafeTemporaryAllocation(of: Element.self, capacity: 1) { room in
            unsafe room.initializeElement(at: 0, to: element)
            return unsafe core.put(
                room.baseAddress.unsafelyUnwrapped, MemoryLayout<Element>.stride, until: deadline)
        }
        if status != 0 { throw core.failure(status, "cshm_publisher_put_until") }
    }

    /// Publishes an element if there is room now.
    ///
    /// - Returns: Whether it was published.
    /// - Throws: As `put`, save `timedOut`.
    public func tryPut(_ element: Element) throws -> Bool {
        let status = try unsafe codec.send(element, to: .many) { bytes in
            unsafe core.tryPut(bytes.baseAddress, bytes.count)
        }
        if status == Answer.wouldWait { return false }
        if status != 0 { throw core.failure(status, "cshm_publisher_try_put") }
        return true
    }

    /// Publishes an element, waiting for the slowest lossless subscriber without holding a thread.
    ///
    /// - Throws: As the blocking form, and `CancellationError`.
    public func put(_ element: Element, timeout: Duration? = nil) async throws {
        try Task.checkCancellation()
        if try tryPut(element) { return }
        let (bytes, departure) = try codec.message(of: element, to: .many)
        let until = deadline(after: timeout)
        let status = try await Reactor.wait(at: core.room, until: until) { [core] in
            unsafe bytes.withUnsafeBytes { unsafe core.tryPut($0.baseAddress, $0.count) }
        }
        if status != 0 { throw core.failure(status, "cshm_publisher_try_put") }
        departure.isSent()
    }

    @usableFromInline
    internal func putEncoded(_ element: Element, timeout: Duration?) throws {
        let until = deadline(after: timeout)
        let status = try unsafe codec.send(element, to: .many) { bytes in
            unsafe core.put(bytes.baseAddress, bytes.count, until: until)
        }
        if status != 0 { throw core.failure(status, "cshm_publisher_put_until") }
    }
}

/// A publisher's line in the broadcast, for one thread at a time.
@safe
@usableFromInline
internal final class PublisherCore: Sendable {
    private let broadcast: BroadcastCore
    private nonisolated(unsafe) let pointer: OpaquePointer
    private let turn = Turn()

    init(_ broadcast: BroadcastCore) throws(SharedStateError) {
        var joined: OpaquePointer?
        try unsafe check(
            cshm_publisher_join(broadcast.pointer, &joined), "cshm_publisher_join",
            "Broadcast<\(broadcast.elementType)>")
        unsafe pointer = joined.unsafelyUnwrapped
        self.broadcast = broadcast
    }

    deinit {
        unsafe cshm_publisher_leave(pointer)
    }

    @usableFromInline
    func put(_ bytes: UnsafeRawPointer?, _ length: Int, until deadline: Int64) -> Int32 {
        guard turn.take() else { return Answer.busy }
        defer { turn.giveBack() }
        return unsafe cshm_publisher_put_until(pointer, bytes, UInt64(length), deadline)
    }

    func tryPut(_ bytes: UnsafeRawPointer?, _ length: Int) -> Int32 {
        guard turn.take() else { return Answer.busy }
        defer { turn.giveBack() }
        return unsafe cshm_publisher_try_put(pointer, bytes, UInt64(length))
    }

    /// Runs `body` as the only one that uses it.
    func alone<Result>(_ body: (OpaquePointer) throws -> Result) throws -> Result {
        guard turn.take() else { throw failure(Answer.busy, "cshm_publisher") }
        defer { turn.giveBack() }
        return try unsafe body(pointer)
    }

    /// Where it waits.
    var room: Reactor.Place {
        unsafe Reactor.Place { unsafe cshm_publisher_room(pointer, $0) }
    }

    @usableFromInline
    @inline(never)
    func failure(_ status: Int32, _ function: StaticString) -> SharedStateError {
        SharedStateError(channel: status, function, "Broadcast<\(broadcast.elementType)>")
    }
}
