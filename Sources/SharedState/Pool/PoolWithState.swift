// SPDX-License-Identifier: Apache-2.0

/// Tasks that use what their worker's initializer made: a connection, a parser, a model.
///
///     let pool = try Pool(workers: 4, initializer: { Parser() }, exitHook: { $0.close() })
///     let trees = try pool.map(files, state: Parser.self) { parser, file in try parser.parse(file) }
///
/// Each worker has a state of its own, which lives as long as the worker and need not cross; a worker
/// that takes the place of another makes another.
extension Pool {
    /// Runs `body` on its worker's state and each element, and gives the results in order.
    ///
    /// - Parameters:
    ///   - elements: What to run it on.
    ///   - state: What the pool's initializer makes.
    ///   - chunkSize: Elements that a worker takes at a time; `nil` chooses by how long they take.
    ///   - timeout: The longest that all of it may take; `nil` is without limit.
    ///   - options: Urgency, retries, deadline of each element.
    ///   - progress: Is told how many elements are done.
    ///   - body: A closure without captures.
    /// - Returns: The results, in the elements' order.
    /// - Throws: As ``map(_:chunkSize:timeout:options:progress:_:)``, and `invalidArgument` if the
    ///   initializer makes something else.
    public func map<Elements: Sequence, State, Output: Sendable>(
        _ elements: Elements, state: State.Type, chunkSize: Int? = nil, timeout: Duration? = nil,
        options: TaskOptions = TaskOptions(), progress: PoolProgress? = nil,
        _ body: @escaping @Sendable (inout State, Elements.Element) throws -> Output
    ) throws -> [Output] where Elements.Element: Sendable {
        try gather(elements, try beginMap(chunkSize, timeout, options, state: body), progress)
    }

    /// The same for a task that awaits it.
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
        _ body: @escaping @Sendable (inout State, Elements.Element) throws -> Output
    ) async throws -> [Output] where Elements.Element: Sendable {
        try await gatherAside(
            elements, try beginMap(chunkSize, timeout, options, state: body), progress)
    }

    /// Runs `body` on its worker's state and each element, and gives the results as they are taken.
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
    /// - Throws: As the other `imap`, and `invalidArgument` if the initializer makes something else.
    public func imap<Elements: Sequence, State, Output: Sendable>(
        _ elements: sending Elements, state: State.Type, chunkSize: Int? = nil,
        timeout: Duration? = nil, options: TaskOptions = TaskOptions(),
        progress: PoolProgress? = nil,
        _ body: @escaping @Sendable (inout State, Elements.Element) throws -> Output
    ) throws -> PoolResults<Output> where Elements.Element: Sendable {
        PoolResults(
            elements, try beginMap(chunkSize, timeout, options, state: body), inOrder: true,
            progress)
    }

    /// Runs `body` once, on a worker's state, and waits for it.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles.
    ///   - state: What the pool's initializer makes.
    ///   - options: Urgency, retries, deadline.
    ///   - body: A closure without captures.
    /// - Returns: What `body` returns.
    /// - Throws: As the other `apply`, and `invalidArgument` if the initializer makes something else.
    public func apply<State, each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, state: State.Type, options: TaskOptions = TaskOptions(),
        body: @escaping @Sendable (inout State, repeat each Argument) throws -> Result
    ) throws -> Result {
        let site = try site(ofState: body)
        let input = try site.encode(repeat each arguments)
        return try begin(site, input, options, bytes: nil).value(timeout: nil)
    }

    /// The same for a task that awaits it.
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
        body: @escaping @Sendable (inout State, repeat each Argument) throws -> Result
    ) async throws -> Result {
        try await submit(repeat each arguments, state: state, options: options, body: body).value()
    }

    /// Runs `body` once, on a worker's state, without waiting for it; see
    /// ``submit(_:options:timeout:body:)``.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles.
    ///   - state: What the pool's initializer makes.
    ///   - options: Urgency, retries, deadline.
    ///   - timeout: The longest wait for room; zero does not wait, `nil` waits without limit.
    ///   - body: A closure without captures.
    /// - Returns: Its result to come.
    /// - Throws: As the other `submit`, and `invalidArgument` if the initializer makes something else.
    public func submit<State, each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, state: State.Type, options: TaskOptions = TaskOptions(),
        timeout: Duration? = nil,
        body: @escaping @Sendable (inout State, repeat each Argument) throws -> Result
    ) throws -> Future<Result> {
        let site = try site(ofState: body)
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
        body: @escaping @Sendable (inout State, repeat each Argument) throws -> Result
    ) async throws -> Future<Result> {
        let site = try site(ofState: body)
        try await core.enter(until: deadline(after: timeout))
        return try admit(site, options) { try site.encode(repeat each arguments) }
    }

    private func site<State, each Argument: Sendable, Result: Sendable>(
        ofState body: @escaping @Sendable (inout State, repeat each Argument) throws -> Result
    ) throws(SharedStateError) -> CallSite<repeat each Argument, Result> {
        try check(state: State.self)
        let core = core
        return try core.catalog.entry(of: StateFunctionPack(body: body)) {
            () throws(SharedStateError) in
            try CallSite<repeat each Argument, Result>(
                core, try FunctionReference(statePack: body))
        }
    }

    private func beginMap<Element: Sendable, State, Output: Sendable>(
        _ chunk: Int?, _ timeout: Duration?, _ options: TaskOptions,
        state body: @escaping @Sendable (inout State, Element) throws -> Output
    ) throws -> MapCall<Element, Output> {
        try check(state: State.self)
        let core = core
        let site = try core.catalog.entry(of: StateFunction(body: body)) {
            () throws(SharedStateError) in
            try MapSite<Element>(try core.job(try FunctionReference(state: body).bytes))
        }
        return try MapCall(core, site, options, chunk: chunk, timeout: timeout)
    }

    internal func check<State>(state: State.Type) throws(SharedStateError) {
        guard stateType == State.self else {
            let made = stateType.map { "makes a \($0)" } ?? "is missing"
            throw SharedStateError(
                .invalidArgument,
                "the tasks want a \(State.self) as their worker's state, but the pool's initializer "
                    + made)
        }
    }
}
