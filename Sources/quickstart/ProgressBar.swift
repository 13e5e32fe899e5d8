// SPDX-License-Identifier: Apache-2.0

import Glibc

/// How far something is, on one line of the terminal; nothing where there is none.
enum ProgressBar {
    @Sendable static func show(_ done: Int, of all: Int) {
        guard let columns, all > 0 else { return }
        let count = " \(done)/\(all)"
        // One column stays free: a full line would wrap, and be left behind by the next.
        let width = min(40, columns - count.utf8.count - 3)
        guard width > 0 else { return }
        let filled = width * done / all
        let bar =
            String(repeating: "#", count: filled) + String(repeating: ".", count: width - filled)
        write("\r[\(bar)]\(count)")
    }

    static func clear() {
        if columns != nil { write("\r\u{1b}[K") }
    }

    /// The terminal's width; `nil` if the standard error stream is none.
    private static var columns: Int? {
        guard isatty(STDERR_FILENO) == 1 else { return nil }
        var size = winsize()
        let known = unsafe ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
        return known ? Int(size.ws_col) : 80
    }

    private static func write(_ text: String) {
        let bytes = Array(text.utf8)
        _ = unsafe Glibc.write(STDERR_FILENO, bytes, bytes.count)
    }
}
