// SPDX-License-Identifier: Apache-2.0

/// A channel from one end to another: the cheapest there is between exactly two.
///
/// Make one, keep one end and send the other to another process. An end belongs to the process that
/// it was made in, then to the one that it is sent to; once it was used it stays where it is, until
/// that process is dead or closes it. Messages stay whole.
///
/// When the process that has the other end is dead, as the kernel certifies, a receiver is given
/// what was sent and then throws `finished`; a sender that waits for room throws it too. An end that
/// is on its way, sent and not yet decoded, is waited for.
///
/// Besides all else that can cross, a pipe takes file descriptors along (``SharedDescriptor``), and
/// handles into a region that the receiver could not find by a name.
///
/// - Threads, tasks: one at a time for each direction; a second one is refused.
/// - Death: a message was sent or it was not. One that its receiver had not finished decoding is
///   given to whoever uses that end next.
///
/// The corresponding C headers are `cshm/ring.h` and, for file descriptors, `cshm/post.h`.
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
        let ring = try PipeRing(of: type, capacity: capacity, in: region)
        let codec = try MessageCodec<Element>()
        return (PipeReceiver(ring, codec), PipeSender(ring, codec))
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

    /// As the blocking ``PipeSender/send(_:timeout:)``.
    public func send(_ element: Element, timeout: Duration? = nil) throws {
        try sender.send(element, timeout: timeout)
    }

    /// As the `async` ``PipeSender/send(_:timeout:)``.
    public func send(_ element: Element, timeout: Duration? = nil) async throws {
        try await sender.send(element, timeout: timeout)
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
