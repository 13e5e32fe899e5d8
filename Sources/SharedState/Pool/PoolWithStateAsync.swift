// SPDX-License-Identifier: Apache-2.0

/// Tasks that use their worker's state and may await, and what makes and ends that state.
///
///     let pool = try Pool(workers: 4, initializer: { try await Client.connected() })
///     let pages = try await pool.map(urls, state: Client.self) { client, url in
///         try await client.fetch(url)
///     }
///
/// A worker does one task at a time, so the state is that task's also while it awaits.
extension Pool {
    /// Starts the workers, each of which runs `initializer`, which may await, before its first task.
    ///
    /// This call does not await it: the tasks do that are posted meanwhile.
    ///
    /// - Parameters:
    ///   - mode: As in the other `init`.
    ///   - workers: The same.
    ///   - maxTasksPerWorker: The same.
    ///   - options: The same.
    ///   - initializer: As in the one that does not await.
    /// - Throws: As the other `init`, and `capturesValues`.
    public convenience init<State>(
        _ mode: Mode = .processes, workers: Int? = nil, maxTasksPerWorker: Int? = nil,
        options: Options = Options(), initializer: @escaping @Sendable () async throws -> State
    ) throws(SharedStateError) {
        var orders = PoolWorker.Orders()
        orders.initializer = try FunctionReference(asyncMaking: initializer).bytes
        try self.init(mode, workers, maxTasksPerWorker, options, orders, State.self)
    }

    /// Starts the workers, each of which runs `initializer` first and `exitHook` last; both may await.
    ///
    /// - Parameters:
    ///   - mode: As in the other `init`.
    ///   - workers: The same.
    ///   - maxTasksPerWorker: The same.
    ///   - options: The same.
    ///   - initializer: As in the one that does not await.
    ///   - exitHook: The same.
    /// - Throws: As the other `init`, and `capturesValues`.
    public convenience init<State, Last>(
        _ mode: Mode = .processes, workers: Int? = nil, maxTasksPerWorker: Int? = nil,
        options: Options = Options(), initializer: @escaping @Sendable () async throws -> State,
        exitHook: @escaping @Sendable (inout State) async throws -> Last
    ) throws(SharedStateError) {
        var orders = PoolWorker.Orders()
        orders.initializer = try FunctionReference(asyncMaking: initializer).bytes
        orders.exitHook = try FunctionReference(asyncLeaving: exitHook).bytes
        try self.init(mode, workers, maxTasksPerWorker, options, orders, State.self)
    }

    /// As the other `map` with a state, with a body that may await.
    ///
    /// - Parameters:
    ///   - elements: What to run it on.
    ///   - state: What the pool's initializer makes.
    ///   - chunkSize: As in the other `map`.
    ///   - timeout: As there.
    ///   - options: As there.
    ///   - progress: As there.
    ///   - body: As there.
    /// - Returns: The results, in the elements' order.
    /// - Throws: As the other `map`, and `CancellationError`.
    public func map<Elements: Sequence & SendableMetatype, State, Output: Sendable>(
        _ elements: sending Elements, state: State.Type, chunkSize: Int? = nil,
        timeout: Duration? = nil, options: TaskOptions = TaskOptions(),
        progress: PoolProgress? = nil,
        _ body: @escaping @Sendable (inout State, Elements.Element) async throws -> Output
    ) async throws -> [Output] where Elements.Element: Sendable {
        try await gatherAside(
            elements, try beginMap(chunkSize, timeout, options, asyncState: body), progress)
    }

    /// As the other `imap` with a state, with a body that may await.
    ///
    /// - Parameters:
    ///   - elements: As in the other `imap`.
    ///   - state: What the pool's initializer makes.
    ///   - chunkSize: As in the other `imap`.
    ///   - timeout: As there.
    ///   - options: As there.
    ///   - progress: Is told how many results were taken.
    ///   - body: As there.
    /// - Returns: The results to come, in the elements' order.
    /// - Throws: As the other `imap`.
    public func imap<Elements: Sequence, State, Output: Sendable>(
        _ elements: sending Elements, state: State.Type, chunkSize: Int? = nil,
        timeout: Duration? = nil, options: TaskOptions = TaskOptions(),
        progress: PoolProgress? = nil,
        _ body: @escaping @Sendable (inout State, Elements.Element) async throws -> Output
    ) throws -> PoolResults<Output> where Elements.Element: Sendable {
        PoolResults(
            elements, try beginMap(chunkSize, timeout, options, asyncState: body), inOrder: true,
            progress)
    }

    /// As the other `apply` with a state, with a body that may await.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles.
    ///   - state: What the pool's initializer makes.
    ///   - options: Urgency, retries, deadline.
    ///   - body: A closure without captures.
    /// - Returns: What `body` returns.
    /// - Throws: As the other `apply`, and `CancellationError`.
    public func apply<State, each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, state: State.Type, options: TaskOptions = TaskOptions(),
        body: @escaping @Sendable (inout State, repeat each Argument) async throws -> Result
    ) async throws -> Result {
        try await submit(repeat each arguments, state: state, options: options, body: body).value()
    }

    /// As the other `submit` with a state, with a body that may await.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles.
    ///   - state: What the pool's initializer makes.
    ///   - options: Urgency, retries, deadline.
    ///   - timeout: As in the other `submit`.
    ///   - body: A closure without captures.
    /// - Returns: Its result to come.
    /// - Throws: As the other `submit`.
    public func submit<State, each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, state: State.Type, options: TaskOptions = TaskOptions(),
        timeout: Duration? = nil,
        body: @escaping @Sendable (inout State, repeat each Argument) async throws -> Result
    ) throws -> Future<Result> {
        let site = try site(ofAsyncState: body)
        try core.enter(until: deadline(after: timeout))
        return try admit(site, options) { try site.encode(repeat each arguments) }
    }

    /// The same in a task, which is suspended while there is no room.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles.
    ///   - state: What the pool's initializer makes.
    ///   - options: Urgency, retries, deadline.
    ///   - timeout: As in the other `submit`.
    ///   - body: A closure without captures.
    /// - Returns: Its result to come.
    /// - Throws: As the other `submit`, and `CancellationError`.
    public func submit<State, each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, state: State.Type, options: TaskOptions = TaskOptions(),
        timeout: Duration? = nil,
        body: @escaping @Sendable (inout State, repeat each Argument) async throws -> Result
    ) async throws -> Future<Result> {
        let site = try site(ofAsyncState: body)
        try await core.enter(until: deadline(after: timeout))
        return try admit(site, options) { try site.encode(repeat each arguments) }
    }

    private func site<State, each Argument: Sendable, Result: Sendable>(
        ofAsyncState body:
            @escaping @Sendable (inout State, repeat each Argument) async throws -> Result
    ) throws(SharedStateError) -> CallSite<repeat each Argument, Result> {
        try check(state: State.self)
        let core = core
        return try core.catalog.entry(of: AsyncStateFunctionPack(body: body)) {
            () throws(SharedStateError) in
            try CallSite<repeat each Argument, Result>(
                core, try FunctionReference(asyncStatePack: body))
        }
    }

    private func beginMap<Element: Sendable, State, Output: Sendable>(
        _ chunk: Int?, _ timeout: Duration?, _ options: TaskOptions,
        asyncState body: @escaping @Sendable (inout State, Element) async throws -> Output
    ) throws -> MapCall<Element, Output> {
        try check(state: State.self)
        let core = core
        let site = try core.catalog.entry(of: AsyncStateFunction(body: body)) {
            () throws(SharedStateError) in
            try MapSite<Element>(try core.job(try FunctionReference(asyncState: body).bytes))
        }
        return try MapCall(core, site, options, chunk: chunk, timeout: timeout)
    }
}
