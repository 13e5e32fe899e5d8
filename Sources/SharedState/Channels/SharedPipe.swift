// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A channel from one end to another: the cheapest there is between exactly two.
///
/// Make one, keep one end and send the other to another process. An end belongs to the process that
/// first uses it, until that process is dead or closes it. Messages stay whole.
///
/// When the process that uses the other end is dead, as the kernel certifies, a receiver is given
/// what was sent and then throws `finished`; a sender that waits for room throws it too. An end that
/// nobody has used yet is waited for.
///
/// - Threads, tasks: one at a time for each direction; a second one is refused.
/// - Death: a message was sent or it was not. One that its receiver had not finished decoding is
///   given to whoever uses that end next.
///
/// The corresponding C header is `cshm/ring.h`.
public enum SharedPipe {
    /// Makes a pipe in one direction.
    ///
    /// - Parameters:
    ///   - type: What is sent.
    ///   - capacity: Messages it holds, 1 to 1,048,576; rounded up to a power of two of at least 2.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Returns: Its two ends.
    /// - Throws: `invalidArgument`, `cannotCross`, `full`, `system`.
    public static func simplex<Element: Sendable>(
        of type: Element.Type = Element.self, capacity: Int = 64, in region: Region? = nil
    ) throws(SharedStateError) -> (receiver: PipeReceiver<Element>, sender: PipeSender<Element>) {
        let core = try PipeCore(of: type, capacity: capacity, in: region)
        let codec = try MessageCodec<Element>()
        return (PipeReceiver(core, codec), PipeSender(core, codec))
    }

    /// Makes a pipe in both directions.
    ///
    /// - Parameters:
    ///   - type: What is sent.
    ///   - capacity: As for ``simplex(of:capacity:in:)``, for each direction.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Returns: Its two ends.
    /// - Throws: `invalidArgument`, `cannotCross`, `full`, `system`.
    public static func duplex<Element: Sendable>(
        of type: Element.Type = Element.self, capacity: Int = 64, in region: Region? = nil
    ) throws(SharedStateError) -> (PipeEnd<Element>, PipeEnd<Element>) {
        let there = try simplex(of: type, capacity: capacity, in: region)
        let back = try simplex(of: type, capacity: capacity, in: region)
        return (
            PipeEnd(receiver: back.receiver, sender: there.sender),
            PipeEnd(receiver: there.receiver, sender: back.sender)
        )
    }
}

/// An end of a ``SharedPipe`` in both directions.
public final class PipeEnd<Element: Sendable>: Sendable, Codable {
    /// What the other end sends.
    public let receiver: PipeReceiver<Element>
    /// Towards the other end.
    public let sender: PipeSender<Element>

    internal init(receiver: PipeReceiver<Element>, sender: PipeSender<Element>) {
        self.receiver = receiver
        self.sender = sender
    }

    /// As ``PipeSender/send(_:timeout:)``.
    public func send(_ element: Element, timeout: Duration? = nil) throws {
        try sender.send(element, timeout: timeout)
    }

    /// As the blocking ``PipeReceiver/receive(timeout:)``.
    public func receive(timeout: Duration? = nil) throws -> Element {
        try receiver.receive(timeout: timeout)
    }

    /// As the `async` ``PipeReceiver/receive(timeout:)``.
    public func receive(timeout: Duration? = nil) async throws -> Element {
        try await receiver.receive(timeout: timeout)
    }

    /// As ``PipeReceiver/poll(timeout:)``.
    public func poll(timeout: Duration? = .zero) throws -> Bool {
        try receiver.poll(timeout: timeout)
    }

    /// Closes both directions.
    public func close() {
        sender.close()
        receiver.close()
    }
}

/// The end of a ``SharedPipe`` that sends.
public final class PipeSender<Element: Sendable>: Sendable, Codable {
    private let core: PipeCore
    private let codec: MessageCodec<Element>

    internal init(_ core: PipeCore, _ codec: MessageCodec<Element>) {
        self.core = core
        self.codec = codec
    }

    /// Opens the end a sent handle names.
    public init(from decoder: any Decoder) throws {
        core = try PipeCore(from: decoder, of: Element.self)
        codec = try MessageCodec<Element>()
    }

    /// Sends the end; it is then the receiver's, if it was not used here.
    public func encode(to encoder: any Encoder) throws {
        try core.handle().encode(to: encoder)
    }

    deinit {
        close()
    }

    /// Sends a message, waiting for room.
    ///
    /// - Parameters:
    ///   - element: What to send; it is copied.
    ///   - timeout: The longest wait; `nil` waits without limit.
    /// - Throws: `timedOut`, `finished` (it was closed, or the receiver is dead), `closed` (the
    ///   receiver closed its end), `full` (no memory for a long message), `invalidArgument` (the
    ///   end is another process's, or another thread is at it), or what `encode(to:)` throws.
    public func send(_ element: Element, timeout: Duration? = nil) throws {
        let until = deadline(after: timeout)
        try unsafe core.asSender { ring throws in
            let status = try unsafe codec.withMessage(of: element) { bytes in
                unsafe cshm_ring_put_until(
                    ring, bytes.baseAddress, UInt64(bytes.count), until)
            }
            try check(status, "cshm_ring_put_until", core.name)
        }
    }

    /// Ends the stream: the receiver is given what was sent, and then throws `finished`.
    ///
    /// Happens by itself when the last reference goes, if the end was used here. Idempotent.
    public func close() {
        core.finish()
    }
}

/// The end of a ``SharedPipe`` that receives.
public final class PipeReceiver<Element: Sendable>: Sendable, Codable {
    private let core: PipeCore
    private let codec: MessageCodec<Element>

    internal init(_ core: PipeCore, _ codec: MessageCodec<Element>) {
        self.core = core
        self.codec = codec
    }

    /// Opens the end a sent handle names.
    public init(from decoder: any Decoder) throws {
        core = try PipeCore(from: decoder, of: Element.self)
        codec = try MessageCodec<Element>()
    }

    /// Sends the end; it is then the receiver's, if it was not used here.
    public func encode(to encoder: any Encoder) throws {
        try core.handle().encode(to: encoder)
    }

    deinit {
        close()
    }

    /// The next message, waiting for it.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: The message.
    /// - Throws: `timedOut`, `finished` (the end: the sender closed, or is dead), `closed`,
    ///   `incompatible` (damaged bytes), `invalidArgument` (the end is another process's, or another
    ///   thread is at it), or what `init(from:)` throws.
    public func receive(timeout: Duration? = nil) throws -> Element {
        let until = deadline(after: timeout)
        return try unsafe core.asReceiver { ring throws in
            var data: UnsafeRawPointer?
            var length: UInt64 = 0
            try unsafe check(
                cshm_ring_peek_until(ring, &data, &length, until), "cshm_ring_peek_until",
                core.name)
            defer { unsafe cshm_ring_release(ring) }
            return try unsafe codec.decode(
                UnsafeRawBufferPointer(start: data, count: Int(clamping: length)))
        }
    }

    /// The next message, waiting for it without holding a thread.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: The message.
    /// - Throws: As the blocking form, and `CancellationError`; then it is still the next one.
    public func receive(timeout: Duration? = nil) async throws -> Element {
        try Task.checkCancellation()
        let until = deadline(after: timeout)
        // Ready is a message, the end, or an error, which the blocking form then tells.
        _ = try await Reactor.wait(at: core.items, until: until) { [self] in
            let isReady = (try? poll(timeout: .zero)) ?? true
            return isReady ? 0 : Answer.wouldWait
        }
        return try receive(timeout: .zero, at: ())
    }

    private func receive(timeout: Duration, at _: Void) throws -> Element {
        try receive(timeout: timeout)
    }

    /// Whether there is a message, or the end, waiting for it; takes nothing.
    ///
    /// - Parameter timeout: The longest wait; none by default, `nil` waits without limit.
    /// - Returns: `false` if the time was up.
    /// - Throws: As ``receive(timeout:)``, save `timedOut` and `finished`.
    public func poll(timeout: Duration? = .zero) throws -> Bool {
        let until = deadline(after: timeout)
        return try unsafe core.asReceiver { ring throws in
            var data: UnsafeRawPointer?
            var length: UInt64 = 0
            let status = unsafe cshm_ring_peek_until(ring, &data, &length, until)
            if status == Answer.timedOut { return false }
            if status == Answer.finished { return true }
            try check(status, "cshm_ring_peek_until", core.name)
            return true
        }
    }

    /// Receives no more: the sender's next message throws `closed`.
    ///
    /// Happens by itself when the last reference goes, if the end was used here. Idempotent.
    public func close() {
        core.cancel()
    }
}
