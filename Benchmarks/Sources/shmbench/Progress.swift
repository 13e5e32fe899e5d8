// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// How far a run is, on a terminal only.
internal struct Progress {
    private let total: Int
    private let isShown: Bool

    init(of total: Int) {
        self.total = total
        self.isShown = isatty(STDERR_FILENO) == 1
    }

    func show(_ done: Int, _ name: String) {
        guard isShown else { return }
        let filled = 24 * done / max(1, total)
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: 24 - filled)
        Sink.standardError.put("\r\u{1b}[K\(bar) \(done)/\(total) \(name)")
    }

    func clear() {
        guard isShown else { return }
        Sink.standardError.put("\r\u{1b}[K")
    }
}
