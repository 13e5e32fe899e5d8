// SPDX-License-Identifier: Apache-2.0

/// What blocks a thread in its other form and only a task in this one; and bodies that await.
extension Pool {
    /// As the `map` that blocks; cancelling the task that awaits it drops what is not begun.
    ///
    /// - Parameters:
    ///   - elements: What to run it on.
    ///   - chunkSize: As in the other `map`.
    ///   - timeout: As there.
    ///   - options: As there.
    ///   - progress: As there.
    ///   - body: As there.
    /// - Returns: The results, in the elements' order.
    /// - Throws: As the other `map`, and `CancellationError`.
    public func map<Elements: Sequence & SendableMetatype, Output: Sendable>(
        _ elements: sending Elements, chunkSize: Int? = nil, timeout: Duration? = nil,
        options: TaskOptions = TaskOptions(), progress: PoolProgress? = nil,
        _ body: @escaping @Sendable (Elements.Element) throws -> Output
    ) async throws -> [Output] where Elements.Element: Sendable {
        try await gatherAside(elements, try beginMap(chunkSize, timeout, options, body), progress)
    }

    /// As the others, with a body that may await.
    ///
    /// - Parameters:
    ///   - elements: What to run it on.
    ///   - chunkSize: As in the other `map`.
    ///   - timeout: As there.
    ///   - options: As there.
    ///   - progress: As there.
    ///   - body: As there.
    /// - Returns: The results, in the elements' order.
    /// - Throws: As the other `map`, and `CancellationError`.
    public func map<Elements: Sequence & SendableMetatype, Output: Sendable>(
        _ elements: sending Elements, chunkSize: Int? = nil, timeout: Duration? = nil,
        options: TaskOptions = TaskOptions(), progress: PoolProgress? = nil,
        _ body: @escaping @Sendable (Elements.Element) async throws -> Output
    ) async throws -> [Output] where Elements.Element: Sendable {
        try await gatherAside(
            elements, try beginMap(chunkSize, timeout, options, async: body), progress)
    }

    /// As the `map` with a value that is sent once, for a task that awaits it.
    ///
    /// - Parameters:
    ///   - elements: What to run it on.
    ///   - state: Given to each call of `body`.
    ///   - chunkSize: As in the other `map`.
    ///   - timeout: As there.
    ///   - options: As there.
    ///   - progress: As there.
    ///   - body: As there.
    /// - Returns: The results, in the elements' order.
    /// - Throws: As the other `map`, and `CancellationError`.
    public func map<
        Elements: Sequence & SendableMetatype, State: Sendable, Output: Sendable
    >(
        _ elements: sending Elements, with state: State, chunkSize: Int? = nil,
        timeout: Duration? = nil, options: TaskOptions = TaskOptions(),
        progress: PoolProgress? = nil,
        _ body: @escaping @Sendable (Elements.Element, State) throws -> Output
    ) async throws -> [Output] where Elements.Element: Sendable {
        try await gatherAside(
            elements, try beginMap(chunkSize, timeout, options, state, body), progress)
    }

    /// The same with a body that may await.
    ///
    /// - Parameters:
    ///   - elements: What to run it on.
    ///   - state: Given to each call of `body`.
    ///   - chunkSize: As in the other `map`.
    ///   - timeout: As there.
    ///   - options: As there.
    ///   - progress: As there.
    ///   - body: As there.
    /// - Returns: The results, in the elements' order.
    /// - Throws: As the other `map`, and `CancellationError`.
    public func map<
        Elements: Sequence & SendableMetatype, State: Sendable, Output: Sendable
    >(
        _ elements: sending Elements, with state: State, chunkSize: Int? = nil,
        timeout: Duration? = nil, options: TaskOptions = TaskOptions(),
        progress: PoolProgress? = nil,
        _ body: @escaping @Sendable (Elements.Element, State) async throws -> Output
    ) async throws -> [Output] where Elements.Element: Sendable {
        try await gatherAside(
            elements, try beginMap(chunkSize, timeout, options, state, async: body), progress)
    }

    /// Runs tasks that are values, for a task that awaits them.
    ///
    /// - Parameters:
    ///   - tasks: What to run.
    ///   - chunkSize: As in the other `map`.
    ///   - timeout: As there.
    ///   - options: As there.
    ///   - progress: As there.
    /// - Returns: The results, in the tasks' order.
    /// - Throws: As the other `map`, and `CancellationError`.
    public func map<Tasks: Sequence & SendableMetatype>(
        _ tasks: sending Tasks, chunkSize: Int? = nil, timeout: Duration? = nil,
        options: TaskOptions = TaskOptions(), progress: PoolProgress? = nil
    ) async throws -> [Tasks.Element.Output] where Tasks.Element: PoolTask {
        let job = try core.job(try FunctionReference(task: Tasks.Element.self).bytes)
        let call = try MapCall<Tasks.Element, Tasks.Element.Output>(
            core, MapSite(job), options, chunk: chunkSize, timeout: timeout)
        return try await gatherAside(tasks, call, progress)
    }

    /// As the `starmap` that blocks.
    ///
    /// - Parameters:
    ///   - sequences: What to run it on.
    ///   - chunkSize: As in `map`.
    ///   - timeout: As in `map`.
    ///   - options: As in `map`.
    ///   - body: A closure without captures.
    /// - Returns: The results, in order.
    /// - Throws: As `map`.
    public func starmap<each Elements: Sequence & Sendable, Output: Sendable>(
        _ sequences: repeat each Elements, chunkSize: Int? = nil, timeout: Duration? = nil,
        options: TaskOptions = TaskOptions(),
        body: @escaping @Sendable (repeat (each Elements).Element) throws -> Output
    ) async throws -> [Output] where repeat (each Elements).Element: Sendable {
        let (rows, call) = try beginStarmap(
            repeat each sequences, chunk: chunkSize, timeout, options, body)
        let handover = Handover(rows)
        return try await withTaskCancellationHandler {
            try await Offload.result {
                guard let rows = handover.take() else { return [] }
                return try self.gather(rows, call, nil, failure: { rows.failure })
            }
        } onCancel: {
            call.cancel()
        }
    }

    /// As `imap`, with a body that may await.
    ///
    /// - Parameters:
    ///   - elements: As in `imap`.
    ///   - chunkSize: As in `imap`.
    ///   - timeout: As in `imap`.
    ///   - options: As in `imap`.
    ///   - progress: As in `imap`.
    ///   - body: As in `imap`.
    /// - Returns: The results to come.
    /// - Throws: As `imap`.
    public func imap<Elements: Sequence, Output: Sendable>(
        _ elements: sending Elements, chunkSize: Int? = nil, timeout: Duration? = nil,
        options: TaskOptions = TaskOptions(), progress: PoolProgress? = nil,
        _ body: @escaping @Sendable (Elements.Element) async throws -> Output
    ) throws -> PoolResults<Output> where Elements.Element: Sendable {
        PoolResults(
            elements, try beginMap(chunkSize, timeout, options, async: body), inOrder: true,
            progress)
    }

    /// As `imapUnordered`, with a body that may await.
    ///
    /// - Parameters:
    ///   - elements: As in `imap`.
    ///   - chunkSize: As in `imap`.
    ///   - timeout: As in `imap`.
    ///   - options: As in `imap`.
    ///   - progress: As in `imap`.
    ///   - body: As in `imap`.
    /// - Returns: The results to come.
    /// - Throws: As `imap`.
    public func imapUnordered<Elements: Sequence, Output: Sendable>(
        _ elements: sending Elements, chunkSize: Int? = nil, timeout: Duration? = nil,
        options: TaskOptions = TaskOptions(), progress: PoolProgress? = nil,
        _ body: @escaping @Sendable (Elements.Element) async throws -> Output
    ) throws -> PoolResults<Output> where Elements.Element: Sendable {
        PoolResults(
            elements, try beginMap(chunkSize, timeout, options, async: body), inOrder: false,
            progress)
    }

    /// Waits, in a task, until every task on its way is done.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Throws: `timedOut`.
    public func join(timeout: Duration? = nil) async throws {
        try await Offload.result { try self.join(timeout: timeout) }
    }

    /// Gathers on a thread of its own, as it blocks.
    internal func gatherAside<Elements: Sequence & SendableMetatype, Output: Sendable>(
        _ elements: sending Elements, _ call: MapCall<Elements.Element, Output>,
        _ progress: PoolProgress?
    ) async throws -> [Output] where Elements.Element: Sendable {
        let elements = Handover(elements)
        return try await withTaskCancellationHandler {
            try await Offload.result {
                guard let elements = elements.take() else { return [] }
                return try self.gather(elements, call, progress)
            }
        } onCancel: {
            call.cancel()
        }
    }
}

/// Runs `body`, which may await, with a pool, and ends the pool, however `body` ends.
///
/// - Parameters:
///   - workers: As in `Pool.init`.
///   - body: What to do with it. When it returns, tasks that are on their way are finished; when it
///     throws, they are cancelled.
/// - Returns: What `body` returns.
/// - Throws: As `Pool.init`, and what `body` throws.
public func withPool<Result: Sendable>(
    workers: Int? = nil, _ body: (Pool) async throws -> Result
) async throws -> Result {
    let pool = try Pool(workers: workers)
    defer { pool.terminate() }
    let result = try await body(pool)
    pool.close()
    try await pool.join()
    return result
}
