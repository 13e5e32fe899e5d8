// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// The end of a ``SharedPipe`` that receives.
///
/// No message is too long for its receiver: `receive` makes an element of its length, `withNext` lends
/// it where it lies. `receive(into:)` fills a buffer of the caller's; what does not fit stays.
///
/// As an `AsyncSequence`, it gives the messages that are still to come.
public final class PipeReceiver<Element: Sendable>: Sendable, Codable {
    internal let core: PipeCore
    private let codec: MessageCodec<Element>

    internal init(_ ring: PipeRing, _ codec: MessageCodec<Element>) {
        core = PipeCore(ring, .receiver, hasBaggage: codec.mayNameHandles)
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

    /// The next message, waiting for it.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: The message.
    /// - Throws: `timedOut`, `finished` (the end: the sender closed, or is dead), `closed`,
    ///   `incompatible` (damaged bytes), `notFound` (its file descriptors went with a receiver that
    ///   died), `invalidArgument` (the end is another process's, or another thread is at it), or what
    ///   `init(from:)` throws.
    public func receive(timeout: Duration? = nil) throws -> Element {
        let until = deadline(after: timeout)
        return try core.use { view in
            unsafe try core.read(view, until: until, releasingAlways: true) { bytes in
                unsafe try decode(bytes, view)
            }
        }
    }

    /// The next message if there is one now.
    ///
    /// - Returns: The message, or `nil` if there is none and the stream goes on.
    /// - Throws: As the blocking ``receive(timeout:)``, save `timedOut`.
    public func tryReceive() throws -> Element? {
        try core.use { view in
            var data: UnsafeRawPointer?
            var length: UInt64 = 0
            let status = unsafe core.tryPeek(view, &data, &length)
            if status == Answer.wouldWait { return nil }
            if status != 0 { throw core.failure(status, "cshm_ring_try_peek") }
            defer { unsafe cshm_ring_release(view.ring) }
            return unsafe try decode(
                UnsafeRawBufferPointer(start: data, count: Int(clamping: length)), view)
        }
    }

    /// The next message, waiting for it without holding a thread.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: The message.
    /// - Throws: As the blocking form, and `CancellationError`; then it is still the next one.
    public func receive(timeout: Duration? = nil) async throws -> Element {
        try Task.checkCancellation()
        if let element = try tryReceive() { return element }
        let until = deadline(after: timeout)
        let status = try await Reactor.wait(at: core.ring.items, until: until) {
            [core] in core.tryLook()
        }
        if status != 0 { throw core.failure(status, "cshm_ring_try_peek") }
        guard let element = try tryReceive() else { throw core.failure(Answer.busy, "a pipe") }
        return element
    }

    /// Whether there is a message, or the end, waiting for it; takes nothing.
    ///
    /// - Parameter timeout: The longest wait; none by default, `nil` waits without limit.
    /// - Returns: `false` if the time was up.
    /// - Throws: As ``receive(timeout:)``, save `timedOut` and `finished`.
    public func poll(timeout: Duration? = .zero) throws -> Bool {
        let until = deadline(after: timeout)
        return try core.use { view in
            var data: UnsafeRawPointer?
            var length: UInt64 = 0
            let status = unsafe cshm_ring_peek_until(view.ring, &data, &length, until)
            if status == Answer.timedOut { return false }
            if status == Answer.finished { return true }
            if status != 0 { throw core.failure(status, "cshm_ring_peek_until") }
            return true
        }
    }

    /// Messages that wait to be received, at some instant of the call.
    public var count: Int { core.ring.count }

    /// Receives no more: the sender's next message throws `closed`.
    ///
    /// Happens by itself when the last reference goes, if the end is this process's. Idempotent.
    public func close() {
        core.close()
    }

    private func decode(_ bytes: UnsafeRawBufferPointer, _ view: PipeCore.View) throws -> Element {
        guard codec.mayNameHandles else { return try unsafe codec.decode(bytes) }
        let box: Baggage.Box = { [core] (ticket) throws(SharedStateError) in
            try core.descriptors(ticket, view)
        }
        return try Baggage.unpack(from: box) { try unsafe codec.decode(bytes) }
    }
}

extension PipeReceiver where Element: BitwiseCopyable {
    /// Reads the next element where it lies, then takes it out of the pipe.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - body: Reads the only item of the span. If it throws, the message is still the next one.
    /// - Returns: What `body` returns.
    /// - Throws: As ``receive(timeout:)``, or what `body` throws.
    public func withNext<Result>(
        timeout: Duration? = nil, _ body: (Span<Element>) throws -> Result
    ) throws -> Result {
        try core.withNext(timeout, isElement: { $0 == MemoryLayout<Element>.stride }, body)
    }
}

extension PipeReceiver {
    /// Reads the next array of plain bits where it lies, then takes it out of the pipe.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - body: Reads it. If it throws, the message is still the next one.
    /// - Returns: What `body` returns.
    /// - Throws: As ``receive(timeout:)``, or what `body` throws.
    public func withNext<Item: BitwiseCopyable, Result>(
        timeout: Duration? = nil, _ body: (Span<Item>) throws -> Result
    ) throws -> Result where Element == [Item] {
        try core.withNext(
            timeout, isElement: { $0.isMultiple(of: MemoryLayout<Item>.stride) }, body)
    }
}

extension PipeReceiver {
    /// Receives the next array of plain bits into a buffer, which may be used again for the one after:
    /// nothing is allocated.
    ///
    ///     var buffer = [UInt8](repeating: 0, count: 65536)
    ///     var span = buffer.mutableSpan
    ///     let count = try receiver.receive(into: &span)
    ///
    /// - Parameters:
    ///   - buffer: Where its items go, from the beginning. What is behind them stays as it was.
    ///   - timeout: The longest wait; `nil` waits without limit.
    /// - Returns: How many items it has.
    /// - Throws: As ``receive(timeout:)``, and `tooLarge` (the buffer is too small; the array is still
    ///   the next one, and ``SharedStateError/byteCount`` says how large it is).
    @discardableResult
    public func receive<Item: BitwiseCopyable>(
        into buffer: inout MutableSpan<Item>, timeout: Duration? = nil
    ) throws -> Int where Element == [Item] {
        try unsafe buffer.withUnsafeMutableBytes { room in
            try unsafe core.receive(into: room, of: Item.self, timeout)
        } / MemoryLayout<Item>.stride
    }

    /// As the form for items, for a buffer of bytes, aligned to anything.
    ///
    /// - Returns: How many bytes it has: the array's count times its items' stride.
    @discardableResult
    public func receive<Item: BitwiseCopyable>(
        into buffer: inout MutableRawSpan, timeout: Duration? = nil
    ) throws -> Int where Element == [Item] {
        try unsafe buffer.withUnsafeMutableBytes { room in
            try unsafe core.receive(into: room, of: Item.self, timeout)
        }
    }
}

extension PipeReceiver: AsyncSequence {
    /// Receives messages as they come, holding no thread while it waits.
    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let receiver: PipeReceiver

        /// The next message, waiting for it; `nil` at the end.
        ///
        /// - Throws: As the `async` `receive` of ``PipeReceiver``, save `finished`.
        public mutating func next() async throws -> Element? {
            do {
                return try await receiver.receive()
            } catch let error as SharedStateError where error.code == .finished {
                return nil
            }
        }
    }

    /// An iterator over what is still to come.
    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(receiver: self)
    }
}

extension PipeCore {
    /// Has the next message read in place, and releases it.
    fileprivate func read<Result>(
        _ view: View, until: Int64, releasingAlways: Bool,
        _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
        var data: UnsafeRawPointer?
        var length: UInt64 = 0
        let status = unsafe cshm_ring_peek_until(view.ring, &data, &length, until)
        if status != 0 { throw failure(status, "cshm_ring_peek_until") }
        do {
            let result = try unsafe body(
                UnsafeRawBufferPointer(start: data, count: Int(clamping: length)))
            unsafe cshm_ring_release(view.ring)
            return result
        } catch {
            if releasingAlways { unsafe cshm_ring_release(view.ring) }
            throw error
        }
    }

    /// Copies the next array out if it fits, and else leaves it.
    fileprivate func receive<Item: BitwiseCopyable>(
        into room: UnsafeMutableRawBufferPointer, of _: Item.Type, _ timeout: Duration?
    ) throws -> Int {
        let until = SharedState.deadline(after: timeout)
        return try use { view in
            unsafe try read(view, until: until, releasingAlways: false) { bytes in
                guard bytes.count.isMultiple(of: MemoryLayout<Item>.stride) else {
                    throw SharedStateError.truncated
                }
                guard bytes.count <= room.count else {
                    throw SharedStateError(
                        messageOf: bytes.count, tooLongFor: room.count, ring.name)
                }
                unsafe room.copyMemory(from: bytes)
                return bytes.count
            }
        }
    }

    fileprivate func withNext<Item: BitwiseCopyable, Result>(
        _ timeout: Duration?, isElement: (Int) -> Bool, _ body: (Span<Item>) throws -> Result
    ) throws -> Result {
        let until = SharedState.deadline(after: timeout)
        return try use { view in
            unsafe try read(view, until: until, releasingAlways: false) { bytes in
                guard isElement(bytes.count) else { throw SharedStateError.truncated }
                return try unsafe withItems(of: bytes, body)
            }
        }
    }
}
