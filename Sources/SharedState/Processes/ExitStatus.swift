// SPDX-License-Identifier: Apache-2.0

internal import Glibc

extension ChildProcess {
    /// How a process ended.
    public enum ExitStatus: Hashable, Sendable, CustomStringConvertible {
        /// It ended by itself with this code; 1 if its closure threw.
        case exited(code: Int32)
        /// A signal of this number ended it.
        case signalled(Int32)

        internal init(waitStatus: Int32) {
            let number = waitStatus & 0x7f
            self = number == 0 ? .exited(code: (waitStatus >> 8) & 0xff) : .signalled(number)
        }

        /// Whether it ended by itself with code 0.
        public var isSuccess: Bool { self == .exited(code: 0) }

        /// The exit code, or the signal by name.
        public var description: String {
            switch self {
            case .exited(let code): "exit code \(code)"
            case .signalled(let number): signalName(number)
            }
        }
    }
}

/// A signal's name, as people know it.
internal func signalName(_ number: Int32) -> String {
    signalNames[number].map { "SIG" + $0 } ?? "signal \(number)"
}

/// Not `sigabbrev_np`, which glibc has from 2.32 on.
private let signalNames: [Int32: String] = [
    SIGHUP: "HUP", SIGINT: "INT", SIGQUIT: "QUIT", SIGILL: "ILL", SIGTRAP: "TRAP", SIGABRT: "ABRT",
    SIGBUS: "BUS", SIGFPE: "FPE", SIGKILL: "KILL", SIGUSR1: "USR1", SIGSEGV: "SEGV",
    SIGUSR2: "USR2", SIGPIPE: "PIPE", SIGALRM: "ALRM", SIGTERM: "TERM", SIGSTKFLT: "STKFLT",
    SIGXCPU: "XCPU", SIGXFSZ: "XFSZ", SIGVTALRM: "VTALRM", SIGPROF: "PROF", SIGPOLL: "IO",
    SIGPWR: "PWR", SIGSYS: "SYS",
]
