// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// How far a run is, and how long the rest will take, on a terminal only.
internal struct Progress {
    private let total: Int
    private let isShown: Bool
    private let start = ContinuousClock.now

    init(of total: Int) {
        self.total = total
        self.isShown = isatty(STDERR_FILENO) == 1
    }

    func show(_ done: Int, _ name: String) {
        guard isShown else { return }
        let filled = 24 * done / max(1, total)
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: 24 - filled)
        Sink.standardError.put("\r\u{1b}[K\(bar) \(done)/\(total)\(rest(done)) \(name)")
    }

    func clear() {
        guard isShown else { return }
        Sink.standardError.put("\r\u{1b}[K")
    }

    /// As if the others took as long as those that are done.
    private func rest(_ done: Int) -> String {
        guard done > 0 else { return "" }
        let seconds = (ContinuousClock.now - start) / .seconds(done) * Double(total - done)
        return seconds < 90 ? " \(Int(seconds)) s left" : " \(Int(seconds / 60 + 0.5)) min left"
    }
}
