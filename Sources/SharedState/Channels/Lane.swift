// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// One of those that put into ``Lanes``; leaves with its last reference.
///
/// One thread or task at a time may use it; a second one is refused. It stays in its process: send
/// the lanes, and join there.
public final class Lane<Element: Sendable>: Sendable {
    @usableFromInline internal let core: LaneCore
    @usableFromInline internal let isBits: Bool
    private let codec: MessageCodec<Element>

    internal init(_ core: LaneCore, _ codec: MessageCodec<Element>) {
        self.core = core
        self.codec = codec
        isBits = codec.isBits
    }

    /// Puts an element in, waiting for room in this lane.
    ///
    /// - Parameters:
    ///   - element: What to put; it is copied.
    ///   - timeout: The longest wait; `nil` waits without limit.
    /// - Throws: `timedOut`, `finished` (also if the lane is full and the consumer is dead), `closed`,
    ///   `full` (no memory for a long element), `invalidArgument` (another thread uses it), or what
    ///   the element's `encode(to:)` throws. Nothing was put then.
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
        if status != 0 { throw core.failure(status, "cshm_lane_put_until") }
    }

    /// Puts an element in if there is room now.
    ///
    /// - Returns: Whether it was put.
    /// - Throws: As `put`, save `timedOut`.
    public func tryPut(_ element: Element) throws -> Bool {
        let status = try unsafe codec.send(element) { unsafe core.tryPut($0) }
        if status == Answer.wouldWait { return false }
        if status != 0 { throw core.failure(status, "cshm_lane_try_put") }
        return true
    }

    /// Puts an element in, waiting for room without holding a thread.
    ///
    /// - Parameters:
    ///   - element: What to put; it is copied.
    ///   - timeout: The longest wait; `nil` waits without limit.
    /// - Throws: As the blocking form, and `CancellationError`; then nothing was put.
    public func put(_ element: Element, timeout: Duration? = nil) async throws {
        try Task.checkCancellation()
        let (bytes, departure) = try codec.message(of: element)
        let attempt = { @Sendable [core] in
            unsafe bytes.withUnsafeBytes { unsafe core.tryPut($0) }
        }
        var status = attempt()
        if status == Answer.wouldWait {
            status = try await Reactor.wait(
                at: core.room, until: deadline(after: timeout), attempt: attempt)
        }
        if status != 0 { throw core.failure(status, "cshm_lane_try_put") }
        departure.isSent()
    }

    @usableFromInline
    internal func putEncoded(_ element: Element, timeout: Duration?) throws {
        let until = deadline(after: timeout)
        let status = try unsafe codec.send(element) { bytes in
            unsafe core.put(bytes.baseAddress, bytes.count, until: until)
        }
        if status != 0 { throw core.failure(status, "cshm_lane_put_until") }
    }
}

extension Lane where Element: BitwiseCopyable {
    /// Writes one element where it will lie in shared memory, and puts it.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait for room; `nil` waits without limit.
    ///   - body: Sets the only item of the span; what it is before is arbitrary. If it throws, nothing
    ///     is put.
    /// - Returns: What `body` returns.
    /// - Throws: As ``put(_:timeout:)``, or what `body` throws.
    public func withSlot<Result>(
        timeout: Duration? = nil, _ body: (inout MutableSpan<Element>) throws -> Result
    ) throws -> Result {
        try core.withSlot(length: MemoryLayout<Element>.stride, timeout, body)
    }
}

extension Lane {
    /// Writes one array of plain bits, of any length, where it will lie in shared memory, and puts it.
    ///
    /// - Parameters:
    ///   - count: Its length.
    ///   - timeout: The longest wait for room; `nil` waits without limit.
    ///   - body: Sets every item; what they are before is arbitrary. If it throws, nothing is put.
    /// - Returns: What `body` returns.
    /// - Throws: As ``put(_:timeout:)``, or what `body` throws.
    public func withSlot<Item: BitwiseCopyable, Result>(
        of count: Int, timeout: Duration? = nil, _ body: (inout MutableSpan<Item>) throws -> Result
    ) throws -> Result where Element == [Item] {
        try core.withSlot(length: lengthOfArray(of: Item.self, count), timeout, body)
    }
}

/// A producer's lane, for one thread at a time.
@safe
@usableFromInline
internal final class LaneCore: Sendable {
    private let lanes: LanesCore
    private nonisolated(unsafe) let pointer: OpaquePointer
    private let turn = Turn()

    init(_ lanes: LanesCore) throws(SharedStateError) {
        var joined: OpaquePointer?
        try unsafe check(
            cshm_lanes_join(lanes.pointer, &joined), "cshm_lanes_join",
            "Lanes<\(lanes.elementType)>")
        unsafe pointer = joined.unsafelyUnwrapped
        self.lanes = lanes
    }

    deinit {
        unsafe cshm_lane_leave(pointer)
    }

    @usableFromInline
    func put(_ bytes: UnsafeRawPointer?, _ length: Int, until deadline: Int64) -> Int32 {
        guard turn.take() else { return Answer.busy }
        defer { turn.giveBack() }
        return unsafe cshm_lane_put_until(pointer, bytes, UInt64(length), deadline)
    }

    func tryPut(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        guard turn.take() else { return Answer.busy }
        defer { turn.giveBack() }
        return unlessGone(
            unsafe cshm_lane_try_put(pointer, bytes.baseAddress, UInt64(bytes.count)))
    }

    fileprivate func withSlot<Item: BitwiseCopyable, Result>(
        length: Int, _ timeout: Duration?, _ body: (inout MutableSpan<Item>) throws -> Result
    ) throws -> Result {
        let until = deadline(after: timeout)
        guard turn.take() else { throw failure(Answer.busy, "cshm_lane_try_claim") }
        defer { turn.giveBack() }
        var room: UnsafeMutableRawPointer?
        var status = blockingWait(at: self.room, until: until) {
            unlessGone(unsafe cshm_lane_try_claim(pointer, UInt64(length), &room))
        }
        if status != 0 { throw failure(status, "cshm_lane_try_claim") }
        let result = try unsafe withItems(
            in: UnsafeMutableRawBufferPointer(start: room, count: length), body)
        status = unsafe cshm_lane_commit(pointer)
        if status != 0 { throw failure(status, "cshm_lane_commit") }
        return result
    }

    /// A full lane whose consumer is dead is the end.
    private func unlessGone(_ status: Int32) -> Int32 {
        guard status == Answer.wouldWait else { return status }
        return unsafe cshm_lane_consumer_is_gone(pointer) == 1 ? Answer.finished : status
    }

    /// Where it waits.
    var room: Reactor.Place {
        unsafe Reactor.Place { unsafe cshm_lane_room(pointer, $0) }
    }

    @usableFromInline
    @inline(never)
    func failure(_ status: Int32, _ function: StaticString) -> SharedStateError {
        SharedStateError(channel: status, function, "Lanes<\(lanes.elementType)>")
    }
}
