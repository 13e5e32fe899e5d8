// SPDX-License-Identifier: Apache-2.0

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
    /// What the initializer makes, if there is one.
    internal let stateType: Any.Type?

    /// Starts the workers.
    ///
    /// - Parameters:
    ///   - mode: Where they are.
    ///   - workers: How many, 1 to 256; `nil` takes ``defaultWorkerCount``, or, inline, one.
    ///   - maxTasksPerWorker: Tasks, or chunks of a map, after which a worker is replaced by a new
    ///     one; `nil` for no limit.
    ///   - options: How they start, and when they leave.
    /// - Throws: `invalidArgument`, `cannotHostWorkers`, `full`, `system`.
    public convenience init(
        _ mode: Mode = .processes, workers: Int? = nil, maxTasksPerWorker: Int? = nil,
        options: Options = Options()
    ) throws(SharedStateError) {
        try self.init(mode, workers, maxTasksPerWorker, options, PoolWorker.Orders(), nil)
    }

    /// Starts the workers, each of which runs `initializer` before its first task.
    ///
    /// - Parameters:
    ///   - mode: As in the other `init`.
    ///   - workers: The same.
    ///   - maxTasksPerWorker: The same.
    ///   - options: The same.
    ///   - initializer: A closure without captures. What it makes stays in its worker, which gives it
    ///     to the tasks that ask for it, such as those of
    ///     ``map(_:state:chunkSize:timeout:options:progress:_:)``. A worker whose initializer throws
    ///     ends, and a pool of such workers is closed, with the error's text.
    /// - Throws: As the other `init`, and `capturesValues`.
    public convenience init<State>(
        _ mode: Mode = .processes, workers: Int? = nil, maxTasksPerWorker: Int? = nil,
        options: Options = Options(), initializer: @escaping @Sendable () throws -> State
    ) throws(SharedStateError) {
        var orders = PoolWorker.Orders()
        orders.initializer = try FunctionReference(making: initializer).bytes
        try self.init(mode, workers, maxTasksPerWorker, options, orders, State.self)
    }

    /// Starts the workers, each of which runs `initializer` first and `exitHook` last.
    ///
    /// - Parameters:
    ///   - mode: As in the other `init`.
    ///   - workers: The same.
    ///   - maxTasksPerWorker: The same.
    ///   - options: The same.
    ///   - initializer: A closure without captures, which makes the worker's state.
    ///   - exitHook: A closure without captures, given that state by a worker that leaves: when it is
    ///     replaced, has waited for too long, or the pool was closed and all is done. One that is
    ///     killed runs nothing.
    /// - Throws: As the other `init`, and `capturesValues`.
    public convenience init<State, Last>(
        _ mode: Mode = .processes, workers: Int? = nil, maxTasksPerWorker: Int? = nil,
        options: Options = Options(), initializer: @escaping @Sendable () throws -> State,
        exitHook: @escaping @Sendable (inout State) throws -> Last
    ) throws(SharedStateError) {
        var orders = PoolWorker.Orders()
        orders.initializer = try FunctionReference(making: initializer).bytes
        orders.exitHook = try FunctionReference(leaving: exitHook).bytes
        try self.init(mode, workers, maxTasksPerWorker, options, orders, State.self)
    }

    internal init(
        _ mode: Mode, _ workers: Int?, _ maxTasks: Int?, _ options: Options,
        _ orders: PoolWorker.Orders, _ state: Any.Type?
    ) throws(SharedStateError) {
        let count = workers ?? (mode == .inline ? 1 : Pool.defaultWorkerCount)
        guard (1...256).contains(count) else {
            throw SharedStateError(.invalidArgument, "a pool has 1 to 256 workers, not \(count)")
        }
        guard (maxTasks ?? 1) > 0 else {
            throw SharedStateError(.invalidArgument, "maxTasksPerWorker is at least 1")
        }
        let options = try options.checked()
        var orders = orders
        orders.maxTasks = UInt64(maxTasks ?? 0)
        orders.maxMemory = UInt64(options.maxMemoryPerWorker ?? 0)
        orders.idleTime = options.idleTimeout.map { max(1, nanoseconds($0)) } ?? 0
        orders.isInline = mode == .inline
        orders.measures = options.measures
        stateType = state
        core = try PoolCore(workers: count, orders: orders, options: options)
    }

    deinit {
        core.shutDown()
    }

    /// How many workers it is to have.
    public var workerCount: Int { core.workerCount }

    /// Makes it have more or fewer workers.
    ///
    /// Those that are too many leave, by way of their exit hook, when they have done what they are at.
    ///
    /// - Parameter workers: How many, 1 to ``Options/maxWorkers``.
    /// - Throws: `invalidArgument`, `closed`, `full`, `system`.
    public func resize(to workers: Int) throws(SharedStateError) {
        try core.resize(to: workers)
    }

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
    /// - Throws: As ``submit(_:options:timeout:body:)`` and `Future.value(timeout:)`.
    public func apply<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, options: TaskOptions = TaskOptions(),
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws -> Result {
        let direct = try callDirectly(repeat each arguments, options: options, body: body)
        if let direct { return direct }
        let site = try site(of: body)
        return try call(site, try site.encode(repeat each arguments), options)
    }

    /// As the one that blocks; cancelling the task that awaits it cancels the work.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles.
    ///   - options: Urgency, retries, deadline.
    ///   - body: A closure without captures.
    /// - Returns: What `body` returns.
    /// - Throws: As ``submit(_:options:timeout:body:)``, and `CancellationError`.
    public func apply<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, options: TaskOptions = TaskOptions(),
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) async throws -> Result {
        let site = try site(of: body)
        try await core.enter(until: .max)
        return try await admit(site, options) { try site.encode(repeat each arguments) }.value()
    }

    /// As the others, with a body that may await.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles.
    ///   - options: Urgency, retries, deadline.
    ///   - body: A closure without captures.
    /// - Returns: What `body` returns.
    /// - Throws: As ``submit(_:options:timeout:body:)``, and `CancellationError`.
    public func apply<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, options: TaskOptions = TaskOptions(),
        body: @escaping @Sendable (repeat each Argument) async throws -> Result
    ) async throws -> Result {
        let site = try site(ofAsync: body)
        try await core.enter(until: .max)
        return try await admit(site, options) { try site.encode(repeat each arguments) }.value()
    }

    /// Runs `body` once, in a worker, without waiting for it.
    ///
    /// If as much is in flight as ``Options/maxTasksInFlight`` and ``Options/maxBytesInFlight`` say, it
    /// waits for room.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles.
    ///   - options: Urgency, retries, deadline.
    ///   - timeout: The longest wait for room; zero does not wait, `nil` waits without limit.
    ///   - body: A closure without captures.
    /// - Returns: Its result to come.
    /// - Throws: `capturesValues`, `cannotCross`; `timedOut` (there was no room in time); `full`; `closed`,
    ///   `interrupted` or `workerDied`, also of a pool that ends while this waits.
    public func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, options: TaskOptions = TaskOptions(),
        timeout: Duration? = nil,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws -> Future<Result> {
        let site = try site(of: body)
        try core.enter(until: deadline(after: timeout))
        return try admit(site, options) { try site.encode(repeat each arguments) }
    }

    /// Runs a task once, in a worker, without waiting for it.
    ///
    /// - Parameters:
    ///   - task: What to run.
    ///   - options: Urgency, retries, deadline.
    ///   - timeout: As in ``submit(_:options:timeout:body:)``.
    /// - Returns: Its result to come.
    /// - Throws: As ``submit(_:options:timeout:body:)``.
    public func submit<Task: PoolTask>(
        _ task: Task, options: TaskOptions = TaskOptions(), timeout: Duration? = nil
    ) throws -> Future<Task.Output> {
        let site = try site(of: Task.self)
        try core.enter(until: deadline(after: timeout))
        return try admit(site, options) { try site.encode(task) }
    }

    internal func site<Task: PoolTask>(
        of _: Task.Type
    ) throws(SharedStateError) -> CallSite<Task, Task.Output> {
        try CallSite<Task, Task.Output>(core, try FunctionReference(task: Task.self))
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
        try core.enter(until: .max)
        return try admit(site, TaskOptions()) { try site.encode(element) }
    }

    internal func site<each Argument: Sendable, Result: Sendable>(
        of body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws(SharedStateError) -> CallSite<repeat each Argument, Result> {
        let core = core
        return try core.catalog.entry(of: FunctionPack(body: body)) {
            () throws(SharedStateError) in
            try CallSite<repeat each Argument, Result>(core, try FunctionReference(pack: body))
        }
    }

    internal func site<each Argument: Sendable, Result: Sendable>(
        ofAsync body: @escaping @Sendable (repeat each Argument) async throws -> Result
    ) throws(SharedStateError) -> CallSite<repeat each Argument, Result> {
        let core = core
        return try core.catalog.entry(of: AsyncFunctionPack(body: body)) {
            () throws(SharedStateError) in
            try CallSite<repeat each Argument, Result>(
                core, try FunctionReference(asyncPack: body))
        }
    }

    /// Posts a task for a caller who waits for it; see ``PoolCore/call(_:_:_:_:)``.
    internal func post<each Argument: Sendable, Result: Sendable>(
        _ site: CallSite<repeat each Argument, Result>, _ input: TaskInput, _ options: TaskOptions
    ) throws -> PostedBatch? {
        var form = JobForm(kind: .call)
        form.retries = UInt8(clamping: options.retries)
        return try core.call(site.job, form, try options.checked(), input.writer)
    }

    /// Posts a task and waits for it.
    internal func call<each Argument: Sendable, Result: Sendable>(
        _ site: CallSite<repeat each Argument, Result>, _ input: TaskInput, _ options: TaskOptions
    ) throws -> Result {
        guard let batch = try post(site, input, options) else {
            return try begin(site, input, options, bytes: nil).value(timeout: nil)
        }
        defer {
            core.end(batch)
            input.departure?.takeBack()
        }
        try core.wait(for: batch)
        return try site.value(of: core.outcome(of: batch))
    }

    /// With its `bytes` it was let in; without, its caller is about to drive.
    internal func begin<each Argument: Sendable, Result: Sendable>(
        _ site: CallSite<repeat each Argument, Result>, _ input: TaskInput, _ options: TaskOptions,
        bytes: Int?
    ) throws -> Future<Result> {
        var form = JobForm(kind: .call)
        form.retries = UInt8(clamping: options.retries)
        let core = core
        let future = Future<Result>(driver: core)
        let task = SingleTask(
            job: site.job, form: form, options: try options.checked(), departure: input.departure
        ) {
            let outcome = site.decode($0)
            if let bytes { core.leave(bytes) }
            future.finish(outcome)
        }
        if bytes != nil {
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
            try core.submit(task, input.writer, isAwaited: bytes == nil)
        } catch {
            // Else the future and its task would keep each other.
            future.finish(.failure(error))
            throw error
        }
        return future
    }

    // MARK: The end

    /// Takes no more tasks; those on their way go on, and then the workers leave.
    public func close() {
        core.close()
    }

    /// Waits until every task on its way is done; and, of a pool that was closed or terminated, until its
    /// workers have ended: those that left, by way of their exit hooks.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Throws: `timedOut`.
    public func join(timeout: Duration? = nil) throws(SharedStateError) {
        try core.join(until: deadline(after: timeout))
    }

    /// Ends the workers, without waiting for that; tasks that are not done fail with `closed`.
    ///
    /// Workers without work leave, by way of their exit hook. The others are told by `Task.isCancelled`
    /// and by SIGTERM. Who is left after the ``Options/grace`` is killed.
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
