// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc
internal import Synchronization

/// A process of the same program that runs one closure.
///
/// - Threads, tasks: safe; ``join(timeout:)`` blocks the thread, its `async` form does not.
/// - Death: a child killed in any way is reaped at once and its ``exitReport`` says how it ended;
///   what it started, and left in its process group, is killed with it. When the process that
///   started it dies, the child is killed.
public final class ChildProcess: Sendable {
    /// What it is called.
    public let name: String
    /// Whether this process ends without waiting for it; see ``Options/isDaemon``.
    public let isDaemon: Bool
    private let child: SpawnedChild
    internal let exit: ExitBox
    /// Its pidfd, until it is closed.
    private let held: Mutex<OwnedDescriptor?>
    private let isClosed = Atomic(false)

    private init(_ child: SpawnedChild, _ exit: ExitBox) {
        name = child.launch.name
        isDaemon = child.launch.isDaemon
        var child = child
        held = Mutex(child.pidfd.take())
        self.child = child
        self.exit = exit
    }

    /// Starts a process that runs `body` with these arguments.
    ///
    /// The process ends when `body` has returned, whatever threads and tasks there are, with exit
    /// code 0; `exit(_:)` ends it before that, with a code of its own. Both run `atexit` handlers
    /// and write out what the streams of C hold.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles such as a ``Queue``.
    ///   - options: How it starts.
    ///   - body: A closure without captures; what it returns is ignored. If it throws, its error is written to the standard
    ///     error stream, the exit code is 1, and ``ExitReport/errorText`` has the text.
    /// - Returns: The process, running.
    /// - Throws: `capturesValues`, `cannotCross`, `cannotHostWorkers`, `invalidArgument`, `notFound`
    ///   (the working directory), `full`, `system`.
    public static func start<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument,
        options: Options = Options(),
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws -> ChildProcess {
        var writer = ByteWriter()
        writer.append(prefixed: try FunctionReference(pack: body).bytes)
        let (_, departure) = try Departure.begin {
            try encodePack(repeat each arguments, into: &writer)
        }
        return try start(writer.bytes, departure, options)
    }

    /// Starts a process that runs `body`, which may wait, in a task with these arguments.
    ///
    /// As the form above in everything else; `MainActor` works.
    ///
    /// - Parameters:
    ///   - arguments: As above.
    ///   - options: How it starts.
    ///   - body: A closure without captures.
    /// - Returns: The process, running.
    /// - Throws: As above.
    public static func start<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument,
        options: Options = Options(),
        body: @escaping @Sendable (repeat each Argument) async throws -> Result
    ) throws -> ChildProcess {
        var writer = ByteWriter()
        writer.append(prefixed: try FunctionReference(asyncPack: body).bytes)
        let (_, departure) = try Departure.begin {
            try encodePack(repeat each arguments, into: &writer)
        }
        return try start(writer.bytes, departure, options)
    }

    /// What of the arguments the child did not receive is taken back at its end.
    private static func start(
        _ call: [UInt8], _ departure: Departure, _ options: Options
    ) throws -> ChildProcess {
        let region = try FamilyRegion.shared()
        let errand = try Errand(call, in: region)
        var request = ByteWriter()
        request.append(byte: WorkerRole.child.rawValue)
        errand.encode(into: &request)
        let exit = ExitBox()
        do {
            let child = try Zygote.shared().spawn(
                payload: request.bytes, options: options, wantsDescriptor: true
            ) { end in
                var report = end.report
                report.errorText = errand.errorText
                errand.free()
                departure.takeBack()
                exit.finish(report)
                region.reap()
            }
            let process = ChildProcess(child, exit)
            ActiveChildren.add(process, child.id)
            exit.whenFinished { ActiveChildren.remove(child.id) }
            return process
        } catch {
            errand.free()
            throw error
        }
    }

    /// The processes that this one started, and that run, in the order of their start.
    public static var activeChildren: [ChildProcess] { ActiveChildren.all }

    /// Its process id.
    ///
    /// Once ``exitStatus`` is there the id may be another process's.
    public var pid: Int32 { child.pid }

    /// How it ended; `nil` while it runs.
    public var exitStatus: ExitStatus? { exit.report?.status }

    /// How it ended, and what it used; `nil` while it runs.
    public var exitReport: ExitReport? { exit.report }

    /// Whether it runs.
    public var isAlive: Bool { exitStatus == nil }

    /// A descriptor that is readable when it has ended, for `poll`, `epoll` and event loops: a pidfd.
    ///
    /// It is this object's, and closed with it. -1 where a sandbox forbids pidfds, and where this
    /// process had no room for one. It tells a little earlier than ``exitStatus``.
    public var descriptor: Int32 { held.withLock { $0?.number ?? -1 } }

    /// What it wrote to its standard output, as far as that is kept; see ``Output``.
    ///
    /// While it runs, what has arrived so far. All of it is there when ``exitStatus`` is.
    public var output: [UInt8] { child.launch.output?.bytes ?? [] }

    /// What it wrote to its standard error stream, as ``output``.
    public var errorOutput: [UInt8] { child.launch.error?.bytes ?? [] }

    /// Waits for its end.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: How it ended.
    /// - Throws: `timedOut`, in which case the child goes on; `closed`.
    @discardableResult
    public func join(timeout: Duration? = nil) throws(SharedStateError) -> ExitStatus {
        try checkOpen()
        return try exit.wait(until: deadline(after: timeout)).status
    }

    /// Waits for its end without holding a thread.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: How it ended.
    /// - Throws: `timedOut`, `CancellationError`, in which cases the child goes on; `closed`.
    @discardableResult
    public func join(timeout: Duration? = nil) async throws -> ExitStatus {
        try checkOpen()
        return try await exit.wait(timeout: timeout).status
    }

    /// Asks it to end (SIGTERM).
    ///
    /// - Throws: `closed`.
    public func terminate() throws(SharedStateError) { try signal(SIGTERM) }

    /// Ends it (SIGKILL).
    ///
    /// - Throws: `closed`.
    public func kill() throws(SharedStateError) { try signal(SIGKILL) }

    /// Interrupts it (SIGINT), as ^C does to a program at a terminal; which does not reach a child.
    ///
    /// - Throws: `closed`.
    public func interrupt() throws(SharedStateError) { try signal(SIGINT) }

    /// Sends it a signal; nothing happens if it has ended, and no other process is ever hit.
    ///
    /// - Throws: `invalidArgument` (no number of a signal), `closed`.
    public func signal(_ number: Int32) throws(SharedStateError) {
        try checkOpen()
        guard (1...64).contains(number) else {
            throw SharedStateError(.invalidArgument, "\(number) is no signal")
        }
        Zygote.signal(child, number)
    }

    /// Closes ``descriptor`` before this object's end.
    ///
    /// Nothing can be asked of it then but what is known: ``pid``, ``exitReport``, ``output``.
    ///
    /// - Throws: `invalidArgument` while it runs.
    public func close() throws(SharedStateError) {
        guard !isAlive else {
            throw SharedStateError(
                .invalidArgument, "\(name) still runs: join it, or kill it first")
        }
        isClosed.store(true, ordering: .releasing)
        held.withLock { $0 = nil }
    }

    private func checkOpen() throws(SharedStateError) {
        guard !isClosed.load(ordering: .acquiring) else {
            throw SharedStateError(.closed, "\(name) was closed")
        }
    }
}

internal func encodePack<each Argument>(
    _ arguments: repeat each Argument, into writer: inout ByteWriter
) throws {
    func one<A>(_ argument: A, _ writer: inout ByteWriter) throws {
        try TransferPlan<A>.plan(for: A.self).encode(argument, into: &writer)
    }
    repeat try one(each arguments, &writer)
}
