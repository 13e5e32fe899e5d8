// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// What the thread that listens to the children waits for: the zygote, and what children write.
///
/// Only that thread adds, removes and waits.
internal final class StreamWatch: Sendable {
    /// How long the thread sleeps at most, in milliseconds, while somebody whom a stream is passed
    /// on to takes no more.
    private static let blockedPause: Int32 = 20

    private struct State {
        /// Those that may have more.
        var taps: [StreamTap] = []
        var blocked: [StreamTap] = []
    }

    private let zygote: Int32
    private let state = Mutex(State())

    init(besides zygote: Int32) {
        self.zygote = zygote
    }

    func add(_ tap: StreamTap) {
        state.withLock { $0.taps.append(tap) }
    }

    func remove(_ tap: StreamTap) {
        state.withLock { state in
            state.taps.removeAll { $0 === tap }
            state.blocked.removeAll { $0 === tap }
        }
    }

    /// Waits, and takes in what children have written.
    ///
    /// - Returns: Whether the zygote has something to tell.
    func wait() -> Bool {
        let (taps, blocked) = state.withLock { ($0.taps, $0.blocked) }
        if taps.isEmpty, blocked.isEmpty { return true }
        var requests = ([zygote] + taps.map(\.near)).map { descriptor in
            pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        }
        let pause = blocked.isEmpty ? -1 : Self.blockedPause
        guard unsafe poll(&requests, nfds_t(requests.count), pause) >= 0 else { return false }
        for tap in blocked { drain(tap) }
        for (tap, request) in zip(taps, requests.dropFirst()) where request.revents != 0 {
            drain(tap)
        }
        return requests[0].revents != 0
    }

    private func drain(_ tap: StreamTap) {
        let progress = tap.drain()
        remove(tap)
        state.withLock { state in
            switch progress {
            case .waiting: state.taps.append(tap)
            case .blocked: state.blocked.append(tap)
            case .ended: break
            }
        }
    }
}
