// SPDX-License-Identifier: Apache-2.0

extension ChildProcess {
    /// How a process starts.
    ///
    /// What is not said here it has from the program as that was when it started its first process:
    /// the environment, the working directory, the standard streams.
    public struct Options: Sendable {
        /// What it is called; the system shows the first 15 bytes. `nil` is `child-1`, `child-2`, …
        public var name: String?
        /// Whether this process ends without waiting for it; `nil` is as this process is itself.
        ///
        /// A program that ends with success waits for the processes that it started and that are no
        /// daemons. One that fails, or is killed, takes all of them with it.
        public var isDaemon: Bool?
        /// Variables that it has, or with `nil` has not, other than this program.
        public var environment: [String: String?] = [:]
        /// The directory that it is in.
        public var workingDirectory: String?
        /// What it reads.
        public var standardInput = Input.inherited
        /// Where it prints.
        public var standardOutput = Output.inherited
        /// Where it writes errors.
        public var standardError = Output.inherited
        /// Descriptors of this process that it gets copies of; see ``ChildProcess/descriptors``.
        ///
        /// It has no others, but for the three streams and the library's own.
        public var descriptors: [Int32] = []
        /// The CPUs that it may run on, out of those that this process may.
        public var cpus: Set<Int>?
        /// By how much it is nicer to others than this program, -40 to 39; below 0 takes a right.
        public var niceness = 0
        /// Whether a crash is told with the calls that led to it, as ``ExitReport/backtrace``.
        ///
        /// The process is then a fresh one, not forked, which takes some milliseconds more, and its
        /// standard error stream is echoed if it was to be inherited. A crash takes a while to be told.
        public var showsBacktrace = false

        /// As this program is.
        public init() {}
    }

    /// Where a process reads from.
    public enum Input: Hashable, Sendable {
        /// From where this program does.
        case inherited
        /// From nowhere: it is at the end at once.
        case discarded
        /// These bytes.
        case bytes([UInt8])
        /// A copy of this descriptor.
        case descriptor(Int32)
    }

    /// Where a process writes to.
    public enum Output: Hashable, Sendable {
        /// To where this program does.
        case inherited
        /// To nowhere.
        case discarded
        /// To where this program does, by way of it, which keeps the last `limit` bytes.
        ///
        /// The process sees a pipe, where it might have seen a terminal.
        case echoed(limit: Int = 4096)
        /// To this program, which keeps the last `limit` bytes; the process is never held up.
        case captured(limit: Int = 16 << 20)
        /// To a copy of this descriptor.
        case descriptor(Int32)
    }
}
