// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// The end of a ``SharedPipe`` that sends.
///
/// A part of an array is sent as an array of its own, `Array(bytes[2..<5])`, or written in place by
/// `withSlot`: there is no offset and no length to be out of range.
public final class PipeSender<Element: Sendable>: Sendable, Codable {
    internal let core: PipeCore
    private let codec: MessageCodec<Element>

    internal init(_ ring: PipeRing, _ codec: MessageCodec<Element>) {
        core = PipeCore(ring, .sender, hasBaggage: codec.mayNameHandles)
        self.codec = codec
    }

    /// Opens the end a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        let ring = try PipeRing(from: decoder, of: Element.self)
        self.init(ring, try MessageCodec<Element>())
    }

    /// Sends the end; it is then the receiver's, if it was not used here.
    public func encode(to encoder: any Encoder) throws {
        try core.handle().encode(to: encoder)
    }

    /// Sends a message, waiting for room.
    ///
    /// - Parameters:
    ///   - element: What to send; it is copied. If it names file descriptors, the receiving process is
    ///     waited for as well.
    ///   - timeout: The longest wait; `nil` waits without limit.
    /// - Throws: `timedOut`, `finished` (it was closed, or the receiver is dead), `closed` (the
    ///   receiver closed its end), `full` (no memory for a long message), `invalidArgument` (the
    ///   end is another process's, or another thread is at it), or what `encode(to:)` throws.
    public func send(_ element: Element, timeout: Duration? = nil) throws {
        let until = deadline(after: timeout)
        try Baggage.pack { baggage in
            let status = try unsafe codec.send(element) { bytes in
                try unsafe put(bytes, baggage, until: until)
            }
            if status != 0 { throw core.failure(status, "cshm_ring_put_until") }
        }
    }

    /// Sends a message if there is room now.
    ///
    /// - Returns: Whether it was sent.
    /// - Throws: As ``send(_:timeout:)``, save `timedOut`.
    public func trySend(_ element: Element) throws -> Bool {
        let status = try Baggage.pack { baggage in
            try unsafe codec.send(element) { bytes in
                try core.use { unsafe core.trySend(bytes, with: baggage, $0) }
            }
        }
        if status == Answer.wouldWait { return false }
        if status != 0 { throw core.failure(status, "cshm_ring_try_put") }
        return true
    }

    /// Sends a message, waiting for room without holding a thread.
    ///
    /// - Parameters:
    ///   - element: What to send; it is copied.
    ///   - timeout: The longest wait; `nil` waits without limit.
    /// - Throws: As the blocking form, and `CancellationError`; then nothing was sent.
    public func send(_ element: Element, timeout: Duration? = nil) async throws {
        try Task.checkCancellation()
        let until = deadline(after: timeout)
        let (message, baggage) = try Baggage.pack { baggage in
            (try codec.message(of: element), baggage)
        }
        let attempt = { @Sendable [core, bytes = message.bytes] in
            core.attempt { view in
                unsafe bytes.withUnsafeBytes { unsafe core.trySend($0, with: baggage, view) }
            }
        }
        var status = attempt()
        if status == Answer.wouldWait {
            status = try await Reactor.wait(at: core.ring.room, until: until, attempt: attempt)
        }
        if status != 0 { throw core.failure(status, "cshm_ring_try_put") }
        message.departure.isSent()
    }

    /// Messages that wait to be received, at some instant of the call.
    public var count: Int { core.ring.count }

    /// Ends the stream: the receiver is given what was sent, and then throws `finished`.
    ///
    /// Happens by itself when the last reference goes, if the end is this process's. Idempotent.
    public func close() {
        core.close()
    }

    private func put(
        _ bytes: UnsafeRawBufferPointer, _ baggage: Baggage, until: Int64
    ) throws -> Int32 {
        try core.use { view in
            if baggage.contents == nil {
                return unsafe cshm_ring_put_until(
                    view.ring, bytes.baseAddress, UInt64(bytes.count), until)
            }
            return blockingWait(at: core.ring.room, until: until) {
                unsafe core.trySend(bytes, with: baggage, view)
            }
        }
    }
}

extension PipeSender where Element: BitwiseCopyable {
    /// Writes one element where it will lie in shared memory, and sends it.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait for room; `nil` waits without limit.
    ///   - body: Sets the only item of the span; what it is before is arbitrary. If it throws, nothing
    ///     is sent.
    /// - Returns: What `body` returns.
    /// - Throws: As ``send(_:timeout:)``, or what `body` throws.
    public func withSlot<Result>(
        timeout: Duration? = nil, _ body: (inout MutableSpan<Element>) throws -> Result
    ) throws -> Result {
        try core.withSlot(length: MemoryLayout<Element>.stride, timeout, body)
    }
}

extension PipeSender {
    /// Writes one array of plain bits, of any length, where it will lie in shared memory, and sends it.
    ///
    /// A long one costs what a short one does, save what `body` does.
    ///
    /// - Parameters:
    ///   - count: Its length.
    ///   - timeout: The longest wait for room; `nil` waits without limit.
    ///   - body: Sets every item; what they are before is arbitrary. If it throws, nothing is sent.
    /// - Returns: What `body` returns.
    /// - Throws: As ``send(_:timeout:)``, or what `body` throws.
    public func withSlot<Item: BitwiseCopyable, Result>(
        of count: Int, timeout: Duration? = nil, _ body: (inout MutableSpan<Item>) throws -> Result
    ) throws -> Result where Element == [Item] {
        try core.withSlot(length: lengthOfArray(of: Item.self, count), timeout, body)
    }
}

extension PipeCore {
    fileprivate func withSlot<Item: BitwiseCopyable, Result>(
        length: Int, _ timeout: Duration?, _ body: (inout MutableSpan<Item>) throws -> Result
    ) throws -> Result {
        try use { view in
            var room: UnsafeMutableRawPointer?
            let status = blockingWait(
                at: ring.room, until: SharedState.deadline(after: timeout)
            ) {
                unsafe tryClaim(length, view, &room)
            }
            if status != 0 { throw failure(status, "cshm_ring_try_claim") }
            let result = try unsafe withItems(
                in: UnsafeMutableRawBufferPointer(start: room, count: length), body)
            unsafe cshm_ring_commit(view.ring)
            return result
        }
    }
}
