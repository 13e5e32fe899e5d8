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
    /// - Parameters:
    ///   - workers: How many, 1 to 256; `nil` takes ``defaultWorkerCount``.
    ///   - maxTasksPerWorker: Tasks, or chunks of a map, after which a worker is replaced by a new
    ///     one; `nil` for no limit.
    /// - Throws: `invalidArgument`, `cannotHostWorkers`, `full`, `system`.
    public convenience init(
        workers: Int? = nil, maxTasksPerWorker: Int? = nil
    ) throws(SharedStateError) {
        try self.init(workers, maxTasksPerWorker, PoolWorker.Orders())
    }

    /// Starts the workers, each of which runs `initializer` before its first task.
    ///
    /// - Parameters:
    ///   - workers: As in `init(workers:maxTasksPerWorker:)`.
    ///   - maxTasksPerWorker: The same.
    ///   - initializer: A closure without captures. A worker whose initializer throws ends, and a
    ///     pool of such workers is closed.
    /// - Throws: As `init(workers:maxTasksPerWorker:)`, and `capturesValues`.
    public convenience init<Result: Sendable>(
        workers: Int? = nil, maxTasksPerWorker: Int? = nil,
        initializer: @escaping @Sendable () throws -> Result
    ) throws(SharedStateError) {
        var orders = PoolWorker.Orders()
        orders.initializer = try FunctionReference(initializer).bytes
        try self.init(workers, maxTasksPerWorker, orders)
    }

    /// Starts the workers, each of which runs `initializer` first and `exitHook` last.
    ///
    /// - Parameters:
    ///   - workers: As in `init(workers:maxTasksPerWorker:)`.
    ///   - maxTasksPerWorker: The same.
    ///   - initializer: As in `init(workers:maxTasksPerWorker:initializer:)`.
    ///   - exitHook: A closure without captures, run by a worker that leaves: when it has done its
    ///     share of tasks, or the pool was shut down. One that is killed runs nothing.
    /// - Throws: As `init(workers:maxTasksPerWorker:)`, and `capturesValues`.
    public convenience init<Result: Sendable, Last: Sendable>(
        workers: Int? = nil, maxTasksPerWorker: Int? = nil,
        initializer: @escaping @Sendable () throws -> Result,
        exitHook: @escaping @Sendable () throws -> Last
    ) throws(SharedStateError) {
        var orders = PoolWorker.Orders()
        orders.initializer = try FunctionReference(initializer).bytes
        orders.exitHook = try FunctionReference(exitHook).bytes
        try self.init(workers, maxTasksPerWorker, orders)
    }

    private init(
        _ workers: Int?, _ maxTasks: Int?, _ orders: PoolWorker.Orders
    ) throws(SharedStateError) {
        let count = workers ?? Pool.defaultWorkerCount
        guard (1...256).contains(count) else {
            throw SharedStateError(.invalidArgument, "a pool has 1 to 256 workers, not \(count)")
        }
        guard (maxTasks ?? 1) > 0 else {
            throw SharedStateError(.invalidArgument, "maxTasksPerWorker is at least 1")
        }
        var orders = orders
        orders.maxTasks = UInt64(maxTasks ?? 0)
        core = try PoolCore(workers: count, orders: orders)
    }

    deinit {
        core.shutDown()
    }

    /// How many workers it has.
    public var workerCount: Int { core.workerCount }

    /// The workers' process ids, at this instant.
    public var workerPIDs: [Int32] { core.pids }

    // MARK: One task

    /// Runs `body` once, in a worker, and waits for it.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles.
    ///   - options: Urgency, retries, deadline.
    ///   - body: A closure without captures.
    /// - Returns: What `body` returns.
    /// - Throws: As ``submit(_:options:body:)`` and `Future.value(timeout:)`.
    public func apply<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, options: TaskOptions = TaskOptions(),
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws -> Result {
        let site = try site(of: body)
        let input = try site.encode(repeat each arguments)
        return try begin(site, input, options, isAwaited: true).value(timeout: nil)
    }

    /// As the one that blocks; cancelling the task that awaits it cancels the work.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles.
    ///   - options: Urgency, retries, deadline.
    ///   - body: A closure without captures.
    /// - Returns: What `body` returns.
    /// - Throws: As ``submit(_:options:body:)``, and `CancellationError`.
    public func apply<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, options: TaskOptions = TaskOptions(),
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) async throws -> Result {
        let site = try site(of: body)
        let input = try site.encode(repeat each arguments)
        return try await begin(site, input, options, isAwaited: false).value()
    }

    /// As the others, with a body that may await.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles.
    ///   - options: Urgency, retries, deadline.
    ///   - body: A closure without captures.
    /// - Returns: What `body` returns.
    /// - Throws: As ``submit(_:options:body:)``, and `CancellationError`.
    public func apply<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, options: TaskOptions = TaskOptions(),
        body: @escaping @Sendable (repeat each Argument) async throws -> Result
    ) async throws -> Result {
        let core = core
        let site = try core.catalog.entry(of: AsyncFunctionPack(body: body)) {
            () throws(SharedStateError) in
            try CallSite<repeat each Argument, Result>(
                core, try FunctionReference(asyncPack: body))
        }
        let input = try site.encode(repeat each arguments)
        return try await begin(site, input, options, isAwaited: false).value()
    }

    /// Runs `body` once, in a worker, without waiting.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles.
    ///   - options: Urgency, retries, deadline.
    ///   - body: A closure without captures.
    /// - Returns: Its result to come.
    /// - Throws: `capturesValues`, `cannotCross`, `closed`, `full`.
    public func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, options: TaskOptions = TaskOptions(),
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws -> Future<Result> {
        let site = try site(of: body)
        let input = try site.encode(repeat each arguments)
        return try begin(site, input, options, isAwaited: false)
    }

    /// Runs a task once, in a worker, without waiting.
    ///
    /// - Parameters:
    ///   - task: What to run.
    ///   - options: Urgency, retries, deadline.
    /// - Returns: Its result to come.
    /// - Throws: `cannotCross`, `closed`, `full`.
    public func submit<Task: PoolTask>(
        _ task: Task, options: TaskOptions = TaskOptions()
    ) throws -> Future<Task.Output> {
        let site = try CallSite<Task, Task.Output>(
            core, try FunctionReference(task: Task.self))
        return try begin(site, try site.encode(task), options, isAwaited: false)
    }

    /// As the public one, for a function that generic code has as one of an element.
    internal func submit<Element: Sendable, Result: Sendable>(
        element: Element, body: @escaping @Sendable (Element) throws -> Result
    ) throws -> Future<Result> {
        let core = core
        let site = try core.catalog.entry(of: Function1(body: body)) {
            () throws(SharedStateError) in
            try CallSite<Element, Result>(core, try FunctionReference(body))
        }
        return try begin(site, try site.encode(element), TaskOptions(), isAwaited: false)
    }

    private func site<each Argument: Sendable, Result: Sendable>(
        of body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws(SharedStateError) -> CallSite<repeat each Argument, Result> {
        let core = core
        return try core.catalog.entry(of: FunctionPack(body: body)) {
            () throws(SharedStateError) in
            try CallSite<repeat each Argument, Result>(core, try FunctionReference(pack: body))
        }
    }

    private func begin<each Argument: Sendable, Result: Sendable>(
        _ site: CallSite<repeat each Argument, Result>, _ input: [UInt8], _ options: TaskOptions,
        isAwaited: Bool
    ) throws -> Future<Result> {
        var form = JobForm(kind: .call)
        form.retries = UInt8(clamping: options.retries)
        let future = Future<Result>(driver: core)
        let task = SingleTask(job: site.job, form: form, options: try options.checked()) {
            future.finish(site.decode($0))
        }
        if !isAwaited {
            let core = core
            future.steer(
                by: .init(
                    isRunning: { core.isRunning(task) },
                    cancel: { running in
                        core.cancel(
                            task, SharedStateError(.closed, "the task was cancelled"),
                            kill: running)
                    }))
        }
        do {
            try core.submit(task, input, isAwaited: isAwaited)
        } catch {
            // Else the future and its task would keep each other.
            future.finish(.failure(error))
            throw error
        }
        return future
    }

    // MARK: The end

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

    /// CPUs that this process may use, and the time on them that its cgroup is given.
    public static var defaultWorkerCount: Int {
        min(256, max(1, min(ProcessorLimits.affinity, ProcessorLimits.quota ?? .max)))
    }
}

/// Runs `body` with a pool, and ends the pool, however `body` ends.
///
/// - Parameters:
///   - workers: As in `Pool.init`.
///   - body: What to do with it. When it returns, tasks that are on their way are finished; when it
///     throws, they are cancelled.
/// - Returns: What `body` returns.
/// - Throws: As `Pool.init`, and what `body` throws.
public func withPool<Result>(
    workers: Int? = nil, _ body: (Pool) throws -> Result
) throws -> Result {
    let pool = try Pool(workers: workers)
    defer { pool.terminate() }
    let result = try body(pool)
    pool.close()
    try pool.join()
    return result
}

/// How much of the machine is this process's.
internal enum ProcessorLimits {
    /// CPUs that its threads may run on.
    static var affinity: Int {
        for line in (contents(of: "/proc/self/status") ?? "").split(separator: "\n") {
            guard line.hasPrefix("Cpus_allowed:") else { continue }
            let count = line.dropFirst(13).compactMap { $0.hexDigitValue?.nonzeroBitCount }
            return max(1, count.reduce(0, +))
        }
        return max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    }

    /// CPUs' worth of time that its cgroup is given, rounded up; `nil` without a limit.
    static var quota: Int? {
        if let text = contents(of: "/sys/fs/cgroup/cpu.max") { return quota(version2: text) }
        guard let quota = contents(of: "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
            let period = contents(of: "/sys/fs/cgroup/cpu/cpu.cfs_period_us")
        else { return nil }
        return Self.quota(version2: "\(quota) \(period)")
    }

    /// Of "quota period", or "max period".
    static func quota(version2 text: String) -> Int? {
        let numbers = text.split(whereSeparator: \.isWhitespace).map { Int($0) }
        guard numbers.count == 2, let quota = numbers[0], let period = numbers[1], quota > 0,
            period > 0
        else { return nil }
        return (quota + period - 1) / period
    }

    private static func contents(of path: String) -> String? {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { Glibc.close(file) }
        var room = [UInt8](repeating: 0, count: 8192)
        let count = unsafe read(file, &room, room.count)
        return count > 0 ? String(decoding: room[..<count], as: UTF8.self) : nil
    }
}
