// SPDX-License-Identifier: Apache-2.0

internal import CWorkerEntry
internal import Dispatch
internal import Glibc
internal import Synchronization

/// How a child process ended.
internal struct ChildExit: Sendable {
    var report: ExitReport
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
    /// `nil` where none was wanted, or none is to be had.
    var pidfd: OwnedDescriptor?
    let launch: Launch
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
        /// What every zygote runs before it forks.
        var preloads: [[UInt8]] = []
    }

    private init() {}

    /// The zygote of this process, running.
    static func shared() throws(SharedStateError) -> Zygote {
        _ = try instance.connection()
        return instance
    }

    /// Starts a child that runs the worker's main function with `payload`.
    ///
    /// Returns when the child exists. `onExit` is called once, when it has ended, possibly before
    /// this returns; on the thread that listens to all children, so it must not wait. It may spawn.
    func spawn(
        payload: [UInt8], options: ChildProcess.Options = .init(), wantsDescriptor: Bool = false,
        onExit: @escaping @Sendable (ChildExit) -> Void
    ) throws(SharedStateError) -> SpawnedChild {
        let launch = try Launch(options)
        var request = ByteWriter(reservingCapacity: launch.orders.count + payload.count + 8)
        request.append(prefixed: launch.orders)
        request.append(raw: payload)
        var status: Int32 = 0
        // A second attempt only where the request did not reach a zygote, so nothing runs twice.
        for _ in 0..<2 {
            let connection = try connection()
            let id = nextID()
            let reply = ZygoteReply(launch, onExit: onExit)
            status = connection.fork(
                id: id, payload: request.bytes, wantsDescriptor: wantsDescriptor, reply: reply)
            if status == 0 {
                let (pid, pidfd) = try connection.child(of: reply)
                launch.closeFarEnds()
                return SpawnedChild(id: id, pid: pid, pidfd: pidfd, launch: launch)
            }
            guard status == -EPIPE else { break }
            discard(connection)
        }
        throw SharedStateError(status: status, "cworker_fork", "a worker process")
    }

    /// Runs a function without arguments in the zygote, now, and in each that takes its place.
    func preload(_ function: [UInt8]) throws(SharedStateError) {
        try connection().preload(id: nextID(), function)
        state.withLock { $0.preloads.append(function) }
    }

    private func nextID() -> UInt64 {
        state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
    }

    /// Sends a signal to a child; nothing happens if it has ended.
    ///
    /// It cannot hit another process.
    static func signal(_ child: SpawnedChild, _ number: Int32) {
        instance.signal(child, number)
    }

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
            for function in state.preloads {
                state.lastID += 1
                try connection.preload(id: state.lastID, function)
            }
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

/// The answer to one request, and whom to tell about the child's end.
private final class ZygoteReply: Sendable {
    enum Outcome {
        case forked(pid: Int32, pidfd: OwnedDescriptor?)
        case preloaded
        case failed(errno: Int32, text: String)
        case zygoteDied
    }

    let launch: Launch?
    let onExit: @Sendable (ChildExit) -> Void
    private let outcome = Mutex<Outcome?>(nil)
    private let arrived = DispatchSemaphore(value: 0)

    init(_ launch: Launch?, onExit: @escaping @Sendable (ChildExit) -> Void) {
        self.launch = launch
        self.onExit = onExit
    }

    var taps: [StreamTap] { [launch?.output, launch?.error].compactMap { $0 } }

    var received: Outcome? { outcome.withLock { $0 } }

    /// Who is given it keeps what is in it.
    func takeReceived() -> Outcome? { outcome.withLock { $0.take() } }

    func receive(_ outcome: Outcome) {
        self.outcome.withLock { $0 = outcome }
        arrived.signal()
    }

    func wait() { arrived.wait() }

    /// Tells of the child's end, after what it has still to say.
    func finish(_ exit: ChildExit) {
        for tap in taps { _ = tap.drain(isLast: true) }
        var exit = exit
        if let bytes = launch?.error?.bytes { exit.report.setErrorOutput(bytes) }
        onExit(exit)
    }
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
    private let watch: StreamWatch
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
        watch = unsafe StreamWatch(besides: cworker_fd(started))
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
    func fork(id: UInt64, payload: [UInt8], wantsDescriptor: Bool, reply: ZygoteReply) -> Int32 {
        let fds = reply.launch?.descriptors ?? []
        var wanted = wantsDescriptor ? CWORKER_WITH_PIDFD : 0
        if reply.launch?.showsBacktrace == true { wanted |= CWORKER_WITH_BACKTRACE }
        guard let count = Int32(exactly: fds.count) else { return -EINVAL }
        return send(id, reply) {
            unsafe cworker_fork(
                handle, id, payload, payload.count, fds, count, Int32(wanted))
        }
    }

    /// Runs a function in the zygote, and waits for that.
    func preload(id: UInt64, _ function: [UInt8]) throws(SharedStateError) {
        let reply = ZygoteReply(nil) { _ in }
        let status = send(id, reply) {
            unsafe cworker_preload(handle, id, function, function.count)
        }
        try check(status, "cworker_preload", "a preload")
        _ = try answer(to: reply)
    }

    private func send(_ id: UInt64, _ reply: ZygoteReply, _ request: () -> Int32) -> Int32 {
        let isOpen = state.withLock { state in
            if !state.isClosed { state.pending[id] = reply }
            return !state.isClosed
        }
        guard isOpen else { return -EPIPE }
        // Not under the lock: the zygote takes no request while we do not take its events.
        let status = request()
        if status != 0 { state.withLock { _ = $0.pending.removeValue(forKey: id) } }
        return status
    }

    func signal(id: UInt64, _ number: Int32) {
        if number == SIGKILL { state.withLock { $0.children[id]?.wasSentKill = true } }
        _ = unsafe cworker_kill(handle, id, number)
    }

    /// Waits for the child that was asked for.
    func child(of reply: ZygoteReply) throws(SharedStateError) -> (Int32, OwnedDescriptor?) {
        guard case .forked(let pid, let pidfd) = try answer(to: reply) else {
            throw SharedStateError(.system, "the zygote gave a wrong answer")
        }
        return (pid, pidfd)
    }

    private func answer(
        to reply: ZygoteReply
    ) throws(SharedStateError) -> ZygoteReply.Outcome? {
        if reader.load(ordering: .relaxed) == UInt(pthread_self()) {
            // Called by an `onExit`: nobody else would read the answer.
            while reply.received == nil { _ = handleNextEvent() }
        } else {
            reply.wait()
        }
        switch reply.takeReceived() {
        case .failed(ECANCELED, let text):
            throw SharedStateError(.taskFailed, "a preload threw: \(text)")
        case .failed(let number, _):
            throw SharedStateError(status: -number, "fork", "a worker process")
        case .zygoteDied, nil:
            throw SharedStateError(
                .system, "the process that starts the workers died (was it killed?); try again")
        case let outcome:
            return outcome
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
        while true {
            if watch.wait() && !handleNextEvent() { return }
        }
    }

    /// Reads one event and acts on it; `false` after the last one.
    private func handleNextEvent() -> Bool {
        var event = cworker_event()
        guard !isClosed, unsafe cworker_next_event(handle, &event) == 0 else { return false }
        switch Int(event.kind) {
        case Int(CWORKER_FORKED): forked(event)
        case Int(CWORKER_FORK_FAILED): answered(event)
        case Int(CWORKER_PRELOADED): answered(event)
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
        let pidfd = event.pidfd >= 0 ? OwnedDescriptor(event.pidfd) : nil
        for tap in reply?.taps ?? [] { watch.add(tap) }
        reply?.receive(.forked(pid: event.pid, pidfd: pidfd))
    }

    private func answered(_ event: cworker_event) {
        let reply = state.withLock { $0.pending.removeValue(forKey: event.id) }
        guard event.status != 0 else {
            reply?.receive(.preloaded)
            return
        }
        let text = unsafe withUnsafeBytes(of: event.text) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        reply?.receive(.failed(errno: event.status, text: text))
    }

    private func exited(_ event: cworker_event) {
        let (child, isOutOfMemory) = state.withLock { state in
            let child = state.children.removeValue(forKey: event.id)
            guard let child, event.status & 0x7f == SIGKILL, !child.wasSentKill else {
                return (child, false)
            }
            return (child, state.outOfMemory?.takeKill() ?? false)
        }
        for tap in child?.reply.taps ?? [] { watch.remove(tap) }
        child?.reply.finish(ChildExit(event, isOutOfMemory: isOutOfMemory))
    }

    private func closed() {
        let (pending, children) = state.withLock { state in
            let left = (state.pending, state.children)
            state = State(isClosed: true)
            return left
        }
        for reply in pending.values { reply.receive(.zygoteDied) }
        for child in children.values {
            for tap in child.reply.taps { watch.remove(tap) }
            child.reply.finish(ChildExit(killedWithZygote: child.pid))
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
        guard cworker_is_zygote() == 0 else {
            throw SharedStateError(.cannotHostWorkers, "a preload must not start processes")
        }
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
