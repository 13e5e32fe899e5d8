// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc

/// Counts as a bar on one line of a terminal.
internal final class TerminalBar: Sendable {
    /// Between two drawings, in nanoseconds: more often than that, nobody sees it.
    private static let pause: Int64 = 50_000_000
    private static let mostColumns = 40

    private let title: String
    private let descriptor: Int32
    private let last = Mutex<Int64>(.min)

    init(_ title: String, _ descriptor: Int32) {
        self.title = title
        self.descriptor = descriptor
    }

    func show(_ counts: PoolProgress.Counts) {
        guard let columns else { return }
        let isDue = last.withLock { last in
            let now = cshm_now_ns()
            // The first and the last are always drawn.
            let isDue = last == .min || counts.completed == counts.total || now - last > Self.pause
            if isDue { last = now }
            return isDue
        }
        if isDue { write("\r" + Self.line(counts, title: title, columns: columns)) }
    }

    func clear() {
        if columns != nil { write("\r\u{1b}[K") }
        last.withLock { $0 = .min }
    }

    /// A line that leaves one column free: a full one would wrap, and be left behind by the next.
    static func line(_ counts: PoolProgress.Counts, title: String, columns: Int) -> String {
        let name = title.isEmpty ? "" : title + " "
        let number = counts.total.map { "\(counts.completed)/\($0)" } ?? "\(counts.completed)"
        var rest = " \(number) \(rate(counts.rate))"
        if let remaining = counts.remaining { rest += ", \(clock(remaining)) left" }
        // What does not fit is left out, the least needed first.
        if name.count + rest.count + 6 > columns { rest = " \(number)" }
        let room = columns - name.count - rest.count - 3
        guard let fraction = counts.fraction, room > 0 else {
            let text = name + String(rest.dropFirst())
            return padded(String(text.prefix(max(0, columns - 1))), columns)
        }
        let width = min(mostColumns, room)
        let filled = min(width, Int(Double(width) * fraction))
        let bar =
            String(repeating: "#", count: filled) + String(repeating: ".", count: width - filled)
        return padded("\(name)[\(bar)]\(rest)", columns)
    }

    /// Covers what a longer line before it has left.
    private static func padded(_ text: String, _ columns: Int) -> String {
        text + String(repeating: " ", count: max(0, columns - 1 - text.count))
    }

    private static func rate(_ rate: Double) -> String {
        if rate >= 10_000 { return "\(Int(rate / 1000))k/s" }
        if rate >= 10 || rate == 0 { return "\(Int(rate))/s" }
        return "\(Int(rate)).\(Int(rate * 10) % 10)/s"
    }

    private static func clock(_ duration: Duration) -> String {
        let seconds = Int(duration.components.seconds)
        let minutes = seconds / 60
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return minutes < 60
            ? "\(minutes):\(two(seconds % 60))"
            : "\(minutes / 60):\(two(minutes % 60)):\(two(seconds % 60))"
    }

    /// The terminal's width; `nil` if there is no terminal.
    private var columns: Int? {
        guard isatty(descriptor) == 1 else { return nil }
        var size = winsize()
        let known = unsafe ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
        return known ? Int(size.ws_col) : 80
    }

    private func write(_ text: String) {
        let bytes = Array(text.utf8)
        _ = unsafe Glibc.write(descriptor, bytes, bytes.count)
    }
}
