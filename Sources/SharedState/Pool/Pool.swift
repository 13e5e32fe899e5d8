// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// A fixed number of worker processes that run closures.
///
/// Workers run the same executable, forked from a process that never runs `main`. A closure must
/// not capture: what it needs comes as its element, its arguments, or `with:`.
///
/// - Threads: safe. Tasks: every call blocks the thread.
/// - Death: a worker that dies fails the task it ran, with the signal's name, and is replaced; the
///   tasks it had not begun go to others. When this process dies, its workers are killed.
public final class Pool: Sendable {
    internal let core: PoolCore

    /// Starts the workers.
    ///
    /// - Parameter workers: How many, 1 to 256; `nil` takes one for each CPU that is online.
    /// - Throws: `invalidArgument`, `cannotHostWorkers`, `full`, `system`.
    public convenience init(workers: Int? = nil) throws(SharedStateError) {
        try self.init(workers, PoolWorker.Orders())
    }

    /// Starts the workers, each of which runs `initializer` before its first task.
    ///
    /// - Parameters:
    ///   - workers: As in `init(workers:)`.
    ///   - initializer: A closure without captures. A worker whose initializer throws ends, and a
    ///     pool of such workers is closed.
    /// - Throws: As `init(workers:)`, and `capturesValues`.
    public convenience init<Result: Sendable>(
        workers: Int? = nil, initializer: @escaping @Sendable () throws -> Result
    ) throws(SharedStateError) {
        var orders = PoolWorker.Orders()
        orders.initializer = try FunctionReference(initializer).bytes
        try self.init(workers, orders)
    }

    private init(_ workers: Int?, _ orders: PoolWorker.Orders) throws(SharedStateError) {
        let count = workers ?? Pool.onlineCPUs
        guard (1...256).contains(count) else {
            throw SharedStateError(.invalidArgument, "a pool has 1 to 256 workers, not \(count)")
        }
        core = try PoolCore(workers: count, orders: orders)
    }

    deinit {
        core.shutDown()
    }

    /// How many workers it has.
    public var workerCount: Int { core.workerCount }

    /// The workers' process ids, at this instant.
    public var workerPIDs: [Int32] { core.pids }

    /// Runs `body` once, in a worker, and waits for it.
    ///
    /// - Returns: What `body` returns.
    /// - Throws: As ``submit(_:body:)`` and `Future.value(timeout:)`.
    public func apply<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws -> Result {
        try begin(repeat each arguments, body: body, isAwaited: true).value()
    }

    /// Runs `body` once, in a worker, without waiting.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles.
    ///   - body: A closure without captures.
    /// - Returns: Its result to come.
    /// - Throws: `capturesValues`, `cannotCross`, `closed`, `full`.
    public func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws -> Future<Result> {
        try begin(repeat each arguments, body: body, isAwaited: false)
    }

    private func begin<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument,
        body: @escaping @Sendable (repeat each Argument) throws -> Result, isAwaited: Bool
    ) throws -> Future<Result> {
        let core = core
        let site = try core.catalog.entry(of: FunctionPack(body: body)) {
            () throws(SharedStateError) in
            try CallSite<repeat each Argument, Result>(core, body)
        }
        let input = try site.encode(repeat each arguments)
        let future = Future<Result>(driver: core)
        let task = SingleTask(job: site.job, form: JobForm(kind: .call), options: TaskOptions()) {
            future.finish(site.decode($0))
        }
        try core.submit(task, input, isAwaited: isAwaited)
        return future
    }

    /// Takes no more tasks; those on their way go on.
    public func close() {
        core.close()
    }

    /// Waits until every task on its way is done.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Throws: `timedOut`.
    public func join(timeout: Duration? = nil) throws(SharedStateError) {
        try core.drive(until: deadline(after: timeout)) { core.isIdle }
    }

    /// Ends the workers now; tasks that are not done fail with `closed`.
    public func terminate() {
        core.shutDown()
    }

    /// CPUs that are online.
    private static var onlineCPUs: Int {
        max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    }
}
