// SPDX-License-Identifier: Apache-2.0

internal import CWorkerEntry
internal import Glibc

/// The near end of a pipe that a child writes to: keeps the last of it, and may pass it on.
///
/// Only the thread that listens to the children reads; what is kept may be looked at from anywhere.
internal final class StreamTap: Sendable {
    enum Progress {
        /// There is no more for now.
        case waiting
        /// Whom it is passed on to takes no more for now.
        case blocked
        case ended
    }

    /// How much is passed on at a time: a pipe that has room at all takes it without waiting.
    private static let portion = 4096
    /// How much is taken in a row: one that writes without end does not keep others waiting.
    private static let share = 16 * portion

    private struct State {
        /// The last that came.
        var kept: [UInt8] = []
        /// What is still to be passed on: the rest of a portion.
        var backlog: ArraySlice<UInt8> = []
    }

    let near: Int32
    private let limit: Int
    private let echo: Int32?
    private let state = Mutex(State())

    /// Makes the pipe.
    ///
    /// - Returns: The tap, and the far end, which is the caller's to close.
    static func make(
        limit: Int, echo: Int32?
    ) throws(SharedStateError) -> (tap: StreamTap, far: Int32) {
        guard limit >= 0 else {
            throw SharedStateError(.invalidArgument, "a stream's limit cannot be negative")
        }
        var ends: [Int32] = [-1, -1]
        try unsafe check(cworker_make_pipe(&ends), "pipe2", "a standard stream")
        return (StreamTap(near: ends[0], limit: limit, echo: echo), ends[1])
    }

    private init(near: Int32, limit: Int, echo: Int32?) {
        self.near = near
        self.limit = limit
        self.echo = echo
    }

    deinit { close(near) }

    /// The last bytes that came, at most the limit.
    var bytes: [UInt8] { state.withLock { Array($0.kept.suffix(limit)) } }

    /// Takes what there is, or a share of it.
    ///
    /// - Parameter isLast: Whether nothing more is waited for: what there is now is all, whoever else
    ///   may write, and what cannot be passed on is kept all the same.
    /// - Returns: Why it takes no more.
    func drain(isLast: Bool = false) -> Progress {
        var room = [UInt8](repeating: 0, count: Self.portion)
        var left = isLast ? available : Self.share
        while left > 0 {
            let passes = passOnBacklog()
            guard passes || isLast else { return .blocked }
            let count = unsafe read(near, &room, min(left, room.count))
            if count < 0, errno == EINTR { continue }
            guard count != 0 else { return .ended }
            guard count > 0 else { return errno == EAGAIN ? .waiting : .ended }
            left -= count
            keep(room[..<count])
            if passes, echo != nil { state.withLock { $0.backlog = room[..<count] } }
        }
        let isThrough = state.withLock { $0.backlog.isEmpty } || passOnBacklog()
        return isThrough ? .waiting : .blocked
    }

    /// Bytes that are in the pipe, at this instant.
    private var available: Int {
        var count: Int32 = 0
        return unsafe ioctl(near, UInt(FIONREAD), &count) == 0 ? Int(count) : 0
    }

    /// Passes on what is left of a portion.
    ///
    /// - Returns: Whether there is room for another one.
    private func passOnBacklog() -> Bool {
        guard let echo else { return true }
        var request = pollfd(fd: echo, events: Int16(POLLOUT), revents: 0)
        guard unsafe poll(&request, 1, 0) == 1 else { return false }
        var backlog = state.withLock { $0.backlog }
        while !backlog.isEmpty {
            let count = unsafe backlog.withUnsafeBytes {
                unsafe write(echo, $0.baseAddress, $0.count)
            }
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EAGAIN { break }
            // Where nobody takes it any more, it is lost.
            backlog = count < 0 ? [] : backlog.dropFirst(count)
        }
        state.withLock { $0.backlog = backlog }
        return backlog.isEmpty
    }

    private func keep(_ new: ArraySlice<UInt8>) {
        state.withLock { state in
            state.kept += new
            // Not each time: moving the rest down costs as much as it has bytes.
            let surplus = state.kept.count - limit
            if surplus > limit, surplus > Self.portion { state.kept.removeFirst(surplus) }
        }
    }
}
