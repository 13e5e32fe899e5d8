// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// A file descriptor that can be sent through a ``SharedPipe``, alone or inside a `Codable` value.
///
/// What arrives is a descriptor of the receiver's own for the same open file, socket or pipe. Nothing
/// else than a pipe carries one: `put` of a queue, say, throws `cannotCross`.
///
/// - Threads, tasks: safe. Sending one leaves it to the sender as it was.
/// - Death: a descriptor on its way belongs to the kernel. If its receiver dies, it is closed, and
///   another process that takes the end over gets `notFound` for that message; if its sender dies,
///   it arrives.
public final class SharedDescriptor: Sendable, Codable {
    private let owned: Mutex<Int32>

    /// Duplicates a descriptor; both then have to be closed, this one by the end of the object.
    ///
    /// - Throws: `invalidArgument` (it is not open), `system` (no descriptor is left).
    public init(duplicating descriptor: Int32) throws(SharedStateError) {
        owned = Mutex(try Baggage.duplicate(descriptor))
    }

    /// Takes over a descriptor that nobody else will close.
    public init(adopting descriptor: Int32) {
        owned = Mutex(descriptor)
    }

    /// Takes the descriptor that came with the message.
    ///
    /// - Throws: `notFound` (it was for a process that died), `cannotCross` (it did not come through
    ///   a pipe), `system` (this process has no descriptor left).
    public init(from decoder: any Decoder) throws {
        let claim = try Baggage.Claim(from: decoder)
        guard let descriptor = try Baggage.take(claim) else { throw Self.needsPipe }
        owned = Mutex(descriptor)
    }

    /// Sends the descriptor along.
    ///
    /// - Throws: `cannotCross` (not through a pipe), `invalidArgument` (it was taken), `tooLarge`
    ///   (more than 64 in one message), `system`.
    public func encode(to encoder: any Encoder) throws {
        guard let claim = try Baggage.add(number) else { throw Self.needsPipe }
        try claim.encode(to: encoder)
    }

    private static var needsPipe: SharedStateError {
        SharedStateError(
            .cannotCross, "a file descriptor crosses in nothing else than a SharedPipe")
    }

    deinit {
        owned.withLock { if $0 >= 0 { close($0) } }
    }

    /// The descriptor, for as long as this object is there and it was not taken; else -1.
    public var number: Int32 { owned.withLock { $0 } }

    /// Hands the descriptor over to the caller, who closes it; -1 if that was done before.
    public func take() -> Int32 {
        owned.withLock { owned in
            defer { owned = -1 }
            return owned
        }
    }
}
