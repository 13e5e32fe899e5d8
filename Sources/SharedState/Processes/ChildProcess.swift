// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc

/// A process of the same program that runs one closure.
///
/// - Threads, tasks: safe; ``join(timeout:)`` blocks the thread.
/// - Death: a child killed in any way is reaped at once and its ``exitStatus`` says how it ended.
///   When the process that started it dies, the child is killed.
public final class ChildProcess: Sendable {
    private let child: SpawnedChild
    private let exit: ExitBox

    private init(_ child: SpawnedChild, _ exit: ExitBox) {
        self.child = child
        self.exit = exit
    }

    /// Starts a process that runs `body` with these arguments.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles such as a ``Queue``.
    ///   - body: A closure without captures; what it returns is ignored. If it throws, its error is written to the standard
    ///     error stream and the exit code is 1.
    /// - Returns: The process, running.
    /// - Throws: `capturesValues`, `cannotCross`, `cannotHostWorkers`, `full`, `system`.
    public static func start<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws -> ChildProcess {
        var writer = ByteWriter()
        writer.append(prefixed: try FunctionReference(pack: body).bytes)
        try encodePack(repeat each arguments, into: &writer)
        let region = try FamilyRegion.shared()
        let payload = try SharedBytes(writer.bytes, in: region)
        var request = ByteWriter()
        request.append(byte: WorkerRole.child.rawValue)
        payload.encode(into: &request)
        let exit = ExitBox()
        do {
            let child = try Zygote.shared().spawn(payload: request.bytes) { status in
                payload.free(in: region)
                exit.finish(status.report)
                region.reap()
            }
            return ChildProcess(child, exit)
        } catch {
            payload.free(in: region)
            throw error
        }
    }

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

    /// Waits for its end.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: How it ended.
    /// - Throws: `timedOut`; the child goes on.
    @discardableResult
    public func join(timeout: Duration? = nil) throws(SharedStateError) -> ExitStatus {
        try exit.wait(until: deadline(after: timeout)).status
    }

    /// Asks it to end (SIGTERM).
    public func terminate() throws(SharedStateError) {
        try Zygote.shared().signal(child, SIGTERM)
    }

    /// Ends it (SIGKILL).
    public func kill() throws(SharedStateError) {
        try Zygote.shared().signal(child, SIGKILL)
    }
}

/// Where a child's end is told, by the reactor, to whoever waits for it.
internal final class ExitBox: Sendable {
    private let state = Mutex<ExitReport?>(nil)
    private let bell = Doorbell()

    var report: ExitReport? { state.withLock { $0 } }

    func finish(_ report: ExitReport) {
        state.withLock { $0 = report }
        bell.ring()
    }

    func wait(until deadline: Int64) throws(SharedStateError) -> ExitReport {
        while true {
            if let report { return report }
            let seen = bell.prepare()
            if let report { return report }
            try bell.wait(seen, until: deadline)
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

/// What a child process does.
internal enum ChildMain {
    static func run(_ reader: inout ByteReader) throws {
        let bytes = try SharedBytes(from: &reader).read(in: try FamilyRegion.shared())
        try unsafe bytes.withUnsafeBytes { bytes in
            var reader = unsafe ByteReader(bytes)
            let function = try FunctionReference.resolve(try reader.prefixed())
            var result = ByteWriter()
            try function.call(arguments: &reader, into: &result)
        }
    }
}
