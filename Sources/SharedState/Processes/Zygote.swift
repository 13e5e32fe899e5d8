// SPDX-License-Identifier: Apache-2.0

internal import CWorkerEntry
internal import Dispatch
internal import Glibc
internal import Synchronization

/// How a child process ended.
internal struct ChildExit: Sendable {
    let report: ExitReport
    /// The raw wait status, as of `waitpid`.
    let status: Int32

    var pid: Int32 { report.pid }
    /// It was ended because the zygote died; `status` says SIGKILL, and the usage is unknown.
    var killedWithZygote: Bool { report.hasDiedWithZygote }

    init(_ event: cworker_event, isOutOfMemory: Bool) {
        status = event.status
        report = ExitReport(
            pid: event.pid, status: .init(waitStatus: event.status),
            hasDumpedCore: event.status & 0x80 != 0, isOutOfMemory: isOutOfMemory,
            hasDiedWithZygote: false,
            usage: .init(
                peakMemory: Int(event.maxrss_kib) << 10,
                userTime: .microseconds(event.user_us),
                systemTime: .microseconds(event.system_us)))
    }

    init(killedWithZygote pid: Int32) {
        status = SIGKILL
        report = ExitReport(
            pid: pid, status: .signalled(SIGKILL), hasDumpedCore: false, isOutOfMemory: false,
            hasDiedWithZygote: true, usage: nil)
    }
}

/// A child process that was started.
internal struct SpawnedChild: Sendable {
    /// Unique in this process, never used again.
    let id: UInt64
    let pid: Int32
}

/// The process that forks this process's workers, and the thread that listens to it.
///
/// It is started on first use, and again on the next use after it died. No call depends on the
/// cooperative thread pool.
internal final class Zygote: Sendable {
    private static let instance = Zygote()

    private let state = Mutex(State())

    private struct State {
        var connection: ZygoteConnection?
        var lastID: UInt64 = 0
    }

    private init() {}

    /// The zygote of this process, running.
    static func shared() throws(SharedStateError) -> Zygote {
        _ = try instance.connection()
        return instance
    }

    /// Starts a child that runs the worker's main function with `payload` and copies of `fds`.
    ///
    /// Returns when the child exists. `onExit` is called once, when it has ended, possibly before
    /// this returns; on the thread that listens to all children, so it must not wait. It may spawn.
    func spawn(
        payload: [UInt8], fds: [Int32] = [], onExit: @escaping @Sendable (ChildExit) -> Void
    ) throws(SharedStateError) -> SpawnedChild {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        var status: Int32 = 0
        // A second attempt only where the request did not reach a zygote, so nothing runs twice.
        for _ in 0..<2 {
            let connection = try connection()
            let reply = ZygoteReply(onExit: onExit)
            status = connection.send(id: id, payload: payload, fds: fds, reply: reply)
            if status == 0 {
                return SpawnedChild(id: id, pid: try connection.pid(of: reply))
            }
            guard status == -EPIPE else { break }
            discard(connection)
        }
        throw SharedStateError(status: status, "cworker_fork", "a worker process")
    }

    /// Sends a signal to a child; nothing happens if it has ended.
    ///
    /// It cannot hit another process.
    func signal(_ child: SpawnedChild, _ number: Int32) {
        let connection = state.withLock { $0.connection }
        connection?.signal(id: child.id, number)
    }

    /// The zygote's process id, or `nil` where none runs.
    var pid: Int32? {
        state.withLock { $0.connection?.pid }
    }

    private func connection() throws(SharedStateError) -> ZygoteConnection {
        try state.withLock { (state) throws(SharedStateError) -> ZygoteConnection in
            if let connection = state.connection, !connection.isClosed { return connection }
            let connection = try ZygoteConnection()
            state.connection = connection
            return connection
        }
    }

    private func discard(_ connection: ZygoteConnection) {
        state.withLock { state in
            if state.connection === connection { state.connection = nil }
        }
    }
}

/// The answer to one spawn, and whom to tell about the child's end.
private final class ZygoteReply: Sendable {
    enum Outcome {
        case forked(pid: Int32)
        case failed(errno: Int32)
        case zygoteDied
    }

    let onExit: @Sendable (ChildExit) -> Void
    private let outcome = Mutex<Outcome?>(nil)
    private let arrived = DispatchSemaphore(value: 0)

    init(onExit: @escaping @Sendable (ChildExit) -> Void) {
        self.onExit = onExit
    }

    var received: Outcome? { outcome.withLock { $0 } }

    func receive(_ outcome: Outcome) {
        self.outcome.withLock { $0 = outcome }
        arrived.signal()
    }

    func wait() { arrived.wait() }
}

/// One zygote, from its start to its end, with its thread.
@safe private final class ZygoteConnection: Sendable {
    private struct State {
        var isClosed = false
        /// Requests without an answer.
        var pending: [UInt64: ZygoteReply] = [:]
        /// Children that live.
        var children: [UInt64: Child] = [:]
        var outOfMemory: OutOfMemoryCounter?
    }

    private struct Child {
        let pid: Int32
        let reply: ZygoteReply
        var wasSentKill = false
    }

    // The C functions called from several threads are documented to be safe for that.
    private nonisolated(unsafe) let handle: OpaquePointer
    private let state = Mutex(State())
    /// The thread that reads events.
    private let reader = Atomic<UInt>(0)

    init() throws(SharedStateError) {
        try Self.checkThatProgramCanHostWorkers()
        var inherited = [try FamilyRegion.shareDescriptor()]
        var out: OpaquePointer?
        let status = unsafe cworker_zygote_start(&inherited, 1, &out)
        if status == -ENOEXEC { throw Self.cannotHost }
        try check(status, "cworker_zygote_start", "the worker host")
        guard let started = unsafe out else { throw Self.cannotHost }
        unsafe handle = started
        state.withLock { $0.outOfMemory = OutOfMemoryCounter() }
        try startReader()
    }

    deinit {
        unsafe cworker_zygote_shutdown(handle)
    }

    var isClosed: Bool { state.withLock { $0.isClosed } }

    var pid: Int32 { unsafe cworker_zygote_pid(handle) }

    /// Sends a request to fork.
    ///
    /// After a failure the reply will not be answered.
    func send(id: UInt64, payload: [UInt8], fds: [Int32], reply: ZygoteReply) -> Int32 {
        let isOpen = state.withLock { state in
            if !state.isClosed { state.pending[id] = reply }
            return !state.isClosed
        }
        guard isOpen else { return -EPIPE }
        guard let count = Int32(exactly: fds.count) else { return -EINVAL }
        // Not under the lock: the zygote takes no request while we do not take its events.
        let status = unsafe cworker_fork(handle, id, payload, payload.count, fds, count)
        if status != 0 { state.withLock { _ = $0.pending.removeValue(forKey: id) } }
        return status
    }

    func signal(id: UInt64, _ number: Int32) {
        if number == SIGKILL { state.withLock { $0.children[id]?.wasSentKill = true } }
        _ = unsafe cworker_kill(handle, id, number)
    }

    /// Waits for the answer to a request that was sent.
    func pid(of reply: ZygoteReply) throws(SharedStateError) -> Int32 {
        if reader.load(ordering: .relaxed) == UInt(pthread_self()) {
            // Called by an `onExit`: nobody else would read the answer.
            while reply.received == nil { _ = handleNextEvent() }
        } else {
            reply.wait()
        }
        switch reply.received {
        case .forked(let pid):
            return pid
        case .failed(EBUSY):
            throw SharedStateError(
                .cannotHostWorkers,
                "a library this program links started a thread before main, so its workers cannot "
                    + "be forked; start that thread on first use instead",
                errno: EBUSY)
        case .failed(let number):
            throw SharedStateError(status: -number, "fork", "a worker process")
        case .zygoteDied, nil:
            throw SharedStateError(
                .system, "the process that starts the workers died (was it killed?); try again")
        }
    }

    // MARK: The reader

    private func startReader() throws(SharedStateError) {
        var thread = pthread_t()
        let context = unsafe Unmanaged.passRetained(self)
        let number = unsafe pthread_create(
            &thread, nil,
            { context in
                guard let context = unsafe context else { return nil }
                let connection = unsafe Unmanaged<ZygoteConnection>.fromOpaque(context)
                unsafe connection.takeRetainedValue().read()
                return nil
            }, context.toOpaque())
        if number != 0 {
            unsafe context.release()
            throw SharedStateError(status: -number, "pthread_create", "the worker host's reader")
        }
        _ = pthread_detach(thread)
    }

    private func read() {
        // Signals belong to the program's own threads.
        var all = sigset_t()
        unsafe sigfillset(&all)
        unsafe pthread_sigmask(SIG_BLOCK, &all, nil)
        reader.store(UInt(pthread_self()), ordering: .relaxed)
        while handleNextEvent() {}
    }

    /// Reads one event and acts on it; `false` after the last one.
    private func handleNextEvent() -> Bool {
        var event = cworker_event()
        guard !isClosed, unsafe cworker_next_event(handle, &event) == 0 else { return false }
        switch Int(event.kind) {
        case Int(CWORKER_FORKED): forked(event)
        case Int(CWORKER_FORK_FAILED): forkFailed(event)
        case Int(CWORKER_EXITED): exited(event)
        default: closed()
        }
        return event.kind != UInt32(CWORKER_CLOSED)
    }

    private func forked(_ event: cworker_event) {
        let reply = state.withLock { state in
            let reply = state.pending.removeValue(forKey: event.id)
            if let reply { state.children[event.id] = Child(pid: event.pid, reply: reply) }
            return reply
        }
        reply?.receive(.forked(pid: event.pid))
    }

    private func forkFailed(_ event: cworker_event) {
        let reply = state.withLock { $0.pending.removeValue(forKey: event.id) }
        reply?.receive(.failed(errno: event.status))
    }

    private func exited(_ event: cworker_event) {
        let (child, isOutOfMemory) = state.withLock { state in
            let child = state.children.removeValue(forKey: event.id)
            guard let child, event.status & 0x7f == SIGKILL, !child.wasSentKill else {
                return (child, false)
            }
            return (child, state.outOfMemory?.takeKill() ?? false)
        }
        child?.reply.onExit(ChildExit(event, isOutOfMemory: isOutOfMemory))
    }

    private func closed() {
        let (pending, children) = state.withLock { state in
            let left = (state.pending, state.children)
            state = State(isClosed: true)
            return left
        }
        for reply in pending.values { reply.receive(.zygoteDied) }
        for child in children.values {
            child.reply.onExit(ChildExit(killedWithZygote: child.pid))
        }
    }

    // MARK: Who can have a zygote

    private static let cannotHost = SharedStateError(
        .cannotHostWorkers,
        "this program cannot host workers: SharedState did not see its main start; link "
            + "SharedState into the executable itself (not into a plug-in, and not with "
            + "-static-executable), and start the executable directly (not through ld.so, and not "
            + "as a set-user-id program)")

    private static func checkThatProgramCanHostWorkers() throws(SharedStateError) {
        guard cworker_handshake_pending() == 0 else {
            throw SharedStateError(
                .cannotHostWorkers,
                "this process was started to host workers, but its main runs instead; it starts no "
                    + "workers, or each would start more: link SharedState into the executable "
                    + "itself, and do not set SHAREDSTATE_WORKER")
        }
        guard cworker_hooked() != 0 else { throw cannotHost }
    }
}
