// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import CWorkerEntry
internal import Glibc

extension ChildProcess {
    /// What a process knows of itself.
    public struct Identity: Hashable, Sendable {
        /// Its process id.
        public let pid: Int32
        /// The name that it was started with; `main` in a program that nobody of its family started.
        public let name: String
        /// Whether who started it ends without waiting for it.
        public let isDaemon: Bool
    }

    /// This process, whether or not it is a child.
    public static var current: Identity {
        let start = CurrentProcess.start
        return Identity(
            pid: getpid(), name: start?.orders.name ?? "main",
            isDaemon: start?.orders.isDaemon ?? false)
    }

    /// The process that started this one; `nil` in a program that nobody of its family started.
    public static var parent: ParentProcess? {
        guard let start = CurrentProcess.start, cworker_parent_pid() > 0 else { return nil }
        return ParentProcess(
            pid: cworker_parent_pid(), name: start.orders.parentName,
            descriptor: cworker_parent_fd())
    }

    /// The copies of ``Options/descriptors`` that this process was given, in that order.
    ///
    /// They are closed on exec, and whoever uses them closes them.
    public static var descriptors: [Int32] { CurrentProcess.start?.given ?? [] }
}

/// The process that started this one.
///
/// When it dies, this process is killed; what is seen of it here is seen in between.
public struct ParentProcess: Hashable, Sendable {
    /// Its process id.
    public let pid: Int32
    /// What it is called.
    public let name: String
    /// A pidfd of it: readable when it has ended.
    ///
    /// Not to be closed; -1 where a sandbox forbids pidfds.
    public let descriptor: Int32

    /// Whether it runs.
    public var isAlive: Bool {
        // Where there is no descriptor: when it is dead, so are we.
        descriptor < 0 || !isReadable(descriptor, until: 0)
    }

    /// Waits for its end.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Throws: `timedOut`; it goes on.
    public func join(timeout: Duration? = nil) throws(SharedStateError) {
        guard isReadable(descriptor, until: deadline(after: timeout)) else {
            throw SharedStateError(status: -ETIMEDOUT, "poll", name)
        }
    }
}

/// What this process was started with, if the library started it.
internal enum CurrentProcess {
    struct Start: Sendable {
        let orders: LaunchOrders
        /// Descriptors that are for its closure.
        let given: [Int32]
        /// Why the orders could not be carried out.
        let failure: SharedStateError?
    }
    private static let state = Mutex<Start?>(nil)

    static var start: Start? { state.withLock { $0 } }

    /// On the only thread of a new process.
    static func begin(_ orders: LaunchOrders, _ descriptors: [Int32]) {
        var given: [Int32] = []
        var failure: SharedStateError?
        do {
            given = try orders.apply(descriptors)
        } catch {
            failure = error
        }
        let start = Start(orders: orders, given: given, failure: failure)
        state.withLock { $0 = start }
    }
}

/// Waits until a descriptor is readable, or, if it is negative, for the deadline.
internal func isReadable(_ descriptor: Int32, until deadline: Int64) -> Bool {
    var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    while true {
        let left = deadline == .max ? Int64.max : max(0, deadline &- cshm_now_ns())
        // Rounded up, so that a wait does not end too early.
        let milliseconds =
            left == .max ? -1 : Int32(clamping: left / 1_000_000 + (left > 0 ? 1 : 0))
        let ready = unsafe poll(&request, 1, milliseconds)
        if ready > 0 { return true }
        if ready == 0, deadline != .max, cshm_now_ns() >= deadline { return false }
    }
}
