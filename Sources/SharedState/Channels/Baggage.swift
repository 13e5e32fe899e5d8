// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc

/// What a message takes along that bytes cannot say: file descriptors.
///
/// There is one while an element of a pipe is encoded and put, or taken and decoded. What is in it
/// at its end is closed: duplicates that were sent, or what no value of the element asked for.
internal final class Baggage: Sendable {
    /// What the bytes say of a descriptor.
    struct Claim: Codable, Hashable, Sendable {
        let ticket: UInt64
        let index: UInt32
    }

    /// Where the descriptors of a ticket are taken from; `nil` where they are sent.
    typealias Box = @Sendable (UInt64) throws(SharedStateError) -> [Int32]

    private struct State {
        /// Under which the descriptors are sent, or were asked for.
        var ticket: UInt64?
        /// Those that were taken are -1.
        var descriptors: [Int32] = []
    }

    @TaskLocal private static var current: Baggage?

    private let box: Box?
    private let state = Mutex(State())

    private init(_ box: Box?) {
        self.box = box
    }

    deinit {
        state.withLock { state in
            for descriptor in state.descriptors where descriptor >= 0 { close(descriptor) }
        }
    }

    /// Runs `body`, in which an element is encoded and sent.
    static func pack<Result>(_ body: (Baggage) throws -> Result) rethrows -> Result {
        let baggage = Baggage(nil)
        return try $current.withValue(baggage) { try body(baggage) }
    }

    /// Runs `body`, in which an element is decoded.
    static func unpack<Result>(
        from box: @escaping Box, _ body: () throws -> Result
    ) rethrows -> Result {
        try $current.withValue(Baggage(box), operation: body)
    }

    /// Puts a duplicate in, if this is in the middle of a send.
    static func add(_ descriptor: Int32) throws(SharedStateError) -> Claim? {
        guard let current, current.box == nil else { return nil }
        return try current.add(descriptor)
    }

    /// Takes a descriptor that came with the message, if this is in the middle of a receive.
    static func take(_ claim: Claim) throws(SharedStateError) -> Int32? {
        guard let current, let box = current.box else { return nil }
        return try current.take(claim, from: box)
    }

    /// A descriptor of the caller's own for the same open file.
    static func duplicate(_ descriptor: Int32) throws(SharedStateError) -> Int32 {
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        if copy >= 0 { return copy }
        if errno == EBADF {
            throw SharedStateError(
                .invalidArgument, "\(descriptor) is no open file descriptor", errno: EBADF)
        }
        throw SharedStateError(status: -errno, "fcntl", "descriptor \(descriptor)")
    }

    /// The ticket and the descriptors to be sent under it, if there are any.
    var contents: (ticket: UInt64, descriptors: [Int32])? {
        state.withLock { state in state.ticket.map { ($0, state.descriptors) } }
    }

    private func add(_ descriptor: Int32) throws(SharedStateError) -> Claim {
        let copy = try Self.duplicate(descriptor)
        return try state.withLock { (state) throws(SharedStateError) -> Claim in
            guard state.descriptors.count < Int(CSHM_POST_MAX) else {
                close(copy)
                throw SharedStateError(
                    .tooLarge, "a message takes at most \(CSHM_POST_MAX) file descriptors along")
            }
            let ticket = state.ticket ?? .random(in: 1 ... .max)
            state.ticket = ticket
            state.descriptors.append(copy)
            return Claim(ticket: ticket, index: UInt32(state.descriptors.count - 1))
        }
    }

    private func take(_ claim: Claim, from box: Box) throws(SharedStateError) -> Int32 {
        try state.withLock { (state) throws(SharedStateError) -> Int32 in
            if state.ticket == nil {
                state.descriptors = try box(claim.ticket)
                state.ticket = claim.ticket
            }
            let index = Int(claim.index)
            guard state.ticket == claim.ticket, index < state.descriptors.count,
                state.descriptors[index] >= 0
            else { throw SharedStateError.truncated }
            defer { state.descriptors[index] = -1 }
            return state.descriptors[index]
        }
    }
}
