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

    let near: Int32
    private let limit: Int
    private let echo: Int32?
    private let state = Mutex<[UInt8]>([])

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
    var bytes: [UInt8] { state.withLock { Array($0.suffix(limit)) } }

    /// Takes what there is.
    ///
    /// - Parameter isLast: Whether nothing more is waited for: what cannot be passed on is kept all
    ///   the same.
    /// - Returns: Why it takes no more.
    func drain(isLast: Bool = false) -> Progress {
        var room = [UInt8](repeating: 0, count: Self.portion)
        while true {
            let passes = canPassOn()
            guard passes || isLast else { return .blocked }
            let count = unsafe read(near, &room, room.count)
            if count < 0, errno == EINTR { continue }
            guard count != 0 else { return .ended }
            guard count > 0 else { return errno == EAGAIN ? .waiting : .ended }
            keep(room[..<count])
            if passes, let echo { _ = unsafe write(echo, room, count) }
        }
    }

    private func canPassOn() -> Bool {
        guard let echo else { return true }
        var request = pollfd(fd: echo, events: Int16(POLLOUT), revents: 0)
        return unsafe poll(&request, 1, 0) == 1
    }

    private func keep(_ new: ArraySlice<UInt8>) {
        state.withLock { bytes in
            bytes += new
            // Not each time: moving the rest down costs as much as it has bytes.
            if bytes.count > 2 * limit + Self.portion { bytes.removeFirst(bytes.count - limit) }
        }
    }
}
