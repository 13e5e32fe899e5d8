// SPDX-License-Identifier: Apache-2.0

/// Submitting bodies that await, and submitting in tasks, which are suspended while there is no room.
///
/// In `async` code the forms that suspend are chosen; cancelling the task ends its wait.
extension Pool {
    /// As the other `submit`, with a body that may await.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles.
    ///   - options: Urgency, retries, deadline.
    ///   - timeout: The longest wait for room; zero does not wait, `nil` waits without limit.
    ///   - body: A closure without captures.
    /// - Returns: Its result to come.
    /// - Throws: As the other `submit`.
    public func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, options: TaskOptions = TaskOptions(),
        timeout: Duration? = nil,
        body: @escaping @Sendable (repeat each Argument) async throws -> Result
    ) throws -> Future<Result> {
        let site = try site(ofAsync: body)
        try core.enter(until: deadline(after: timeout))
        return try admit(site, options) { try site.encode(repeat each arguments) }
    }

    /// As the `submit` that blocks, in a task, which is suspended while there is no room.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles.
    ///   - options: Urgency, retries, deadline.
    ///   - timeout: The longest wait for room; zero does not wait, `nil` waits without limit.
    ///   - body: A closure without captures.
    /// - Returns: Its result to come.
    /// - Throws: As the other `submit`; `CancellationError` if the task is cancelled while it waits.
    public func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, options: TaskOptions = TaskOptions(),
        timeout: Duration? = nil,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) async throws -> Future<Result> {
        let site = try site(of: body)
        try await core.enter(until: deadline(after: timeout))
        return try admit(site, options) { try site.encode(repeat each arguments) }
    }

    /// The same with a body that may await.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles.
    ///   - options: Urgency, retries, deadline.
    ///   - timeout: As in the other `submit`.
    ///   - body: A closure without captures.
    /// - Returns: Its result to come.
    /// - Throws: As the other `submit`, and `CancellationError`.
    public func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, options: TaskOptions = TaskOptions(),
        timeout: Duration? = nil,
        body: @escaping @Sendable (repeat each Argument) async throws -> Result
    ) async throws -> Future<Result> {
        let site = try site(ofAsync: body)
        try await core.enter(until: deadline(after: timeout))
        return try admit(site, options) { try site.encode(repeat each arguments) }
    }

    /// Submits a task that is a value, in a task, which is suspended while there is no room.
    ///
    /// - Parameters:
    ///   - task: What to run.
    ///   - options: Urgency, retries, deadline.
    ///   - timeout: As in the other `submit`.
    /// - Returns: Its result to come.
    /// - Throws: As the other `submit`, and `CancellationError`.
    public func submit<Task: PoolTask>(
        _ task: Task, options: TaskOptions = TaskOptions(), timeout: Duration? = nil
    ) async throws -> Future<Task.Output> {
        let site = try site(of: Task.self)
        try await core.enter(until: deadline(after: timeout))
        return try admit(site, options) { try site.encode(task) }
    }
}
