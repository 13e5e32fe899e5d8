// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// The end of a process that this one started: how it came, and what the process used.
public struct ExitReport: Sendable, CustomStringConvertible {
    /// What a process used, as its parent is told by the kernel.
    public struct Usage: Hashable, Sendable {
        /// The most memory that was resident at a time, in bytes.
        ///
        /// Shared memory that the process touched counts, and so does what it shared with the
        /// process it was forked from.
        public let peakMemory: Int
        /// Processor time of its own code, and of children that it waited for.
        public let userTime: Duration
        /// Processor time that the kernel spent for it.
        public let systemTime: Duration
    }

    /// Its process id, which may be another process's by now.
    public let pid: Int32
    /// Its exit code, or the signal that ended it.
    public let status: ChildProcess.ExitStatus
    /// Whether the kernel wrote a core dump.
    public let hasDumpedCore: Bool
    /// Whether it was killed because memory ran out.
    ///
    /// The kernel does not say so of a process, only how many of a cgroup it killed; this is true
    /// if one more was, and nobody is known to have sent the SIGKILL.
    public let isOutOfMemory: Bool
    /// Whether it was killed because the process that forks the children died.
    public let hasDiedWithZygote: Bool
    /// What it used; `nil` where it is unknown, as its reaper died with it.
    public let usage: Usage?
    /// The text of the error that its closure threw, its first 4000 bytes.
    public internal(set) var errorText: String?
    /// The last that it wrote to its standard error stream, in lines, where that was kept.
    public internal(set) var lastLines: [String] = []
    /// The calls that led to its crash, where that was asked for
    /// (``ChildProcess/Options/showsBacktrace``).
    public internal(set) var backtrace: String?

    /// The status, its reason where one is known, and the peak memory, for people.
    public var description: String {
        var text = "\(status)"
        if isOutOfMemory { text += " (out of memory)" }
        if hasDiedWithZygote { text += ", with the zygote that forked it" }
        if hasDumpedCore { text += ", core dumped" }
        if let usage { text += ", at most \(usage.peakMemory >> 20) MiB" }
        if let errorText { text += "; it threw: \(errorText)" }
        if !lastLines.isEmpty {
            text += "; the last it wrote: " + lastLines.joined(separator: "\n")
        }
        if let backtrace { text += "\n" + backtrace }
        return text
    }

    /// Keeps the last lines of what it wrote, and apart from them what Swift's runtime did when it
    /// crashed; the first line may lack its beginning.
    internal mutating func setErrorOutput(_ bytes: [UInt8]) {
        let lines = String(decoding: bytes, as: UTF8.self)
            .split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        let crash = lines.lastIndex { $0.hasPrefix("*** Program crashed: ") }
        let end = crash.map { crash in
            lines[..<crash].lastIndex { $0.hasPrefix("*** Signal ") } ?? crash
        }
        lastLines = lines[..<(end ?? lines.endIndex)].filter { !$0.isEmpty }.suffix(20)
            .map(String.init)
        if let crash { backtrace = lines[crash...].joined(separator: "\n") }
    }
}
