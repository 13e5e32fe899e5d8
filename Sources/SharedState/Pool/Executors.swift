// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// What runs closures elsewhere: on threads, or in processes.
///
/// The same code runs on either, if its closures do not capture.
public protocol WorkExecutor: AnyObject, Sendable {
    /// Runs `body`, without waiting for it.
    ///
    /// While as much is in flight as the executor takes, it waits for room, on this thread.
    ///
    /// - Parameters:
    ///   - arguments: Given to `body`.
    ///   - timeout: The longest wait for room; zero does not wait, `nil` waits without limit.
    ///   - body: What to run.
    /// - Returns: Its result to come.
    /// - Throws: `timedOut` (there was no room in time); `closed` after a shutdown, also one that comes
    ///   while this waits; in processes also `capturesValues`, `cannotCross` and `full`.
    func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, timeout: Duration?,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws -> Future<Result>

    /// The same in a task, which is suspended while there is no room.
    ///
    /// - Parameters:
    ///   - arguments: Given to `body`.
    ///   - timeout: The longest wait for room; zero does not wait, `nil` waits without limit.
    ///   - body: What to run.
    /// - Returns: Its result to come.
    /// - Throws: As the form that blocks; `CancellationError` if the task is cancelled while it waits.
    func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, timeout: Duration?,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) async throws -> Future<Result>

    /// Runs `body` on one element, without waiting for it, but for room; what ``map(_:bufferSize:_:)`` is made of.
    ///
    /// - Parameters:
    ///   - element: Given to `body`.
    ///   - body: What to run.
    /// - Returns: Its result to come.
    /// - Throws: As ``submit(_:body:)``, but for `timedOut`.
    func submit<Element: Sendable, Result: Sendable>(
        element: Element, body: @escaping @Sendable (Element) throws -> Result
    ) throws -> Future<Result>

    /// Takes no more work.
    ///
    /// - Parameters:
    ///   - wait: Whether to return only when all work is done, also if it was shut down before.
    ///   - cancelPending: Whether to cancel work that is not begun.
    func shutdown(wait: Bool, cancelPending: Bool)
}

extension WorkExecutor {
    /// Runs `body`, without waiting for it; for room it waits without limit.
    ///
    /// - Parameters:
    ///   - arguments: Given to `body`.
    ///   - body: What to run.
    /// - Returns: Its result to come.
    /// - Throws: As the form with a time-out, but for `timedOut`.
    public func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws -> Future<Result> {
        try submit(repeat each arguments, timeout: nil, body: body)
    }

    /// The same in a task, which is suspended while there is no room.
    ///
    /// - Parameters:
    ///   - arguments: Given to `body`.
    ///   - body: What to run.
    /// - Returns: Its result to come.
    /// - Throws: As the form with a time-out, but for `timedOut`.
    public func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) async throws -> Future<Result> {
        try await submit(repeat each arguments, timeout: nil, body: body)
    }

    /// Takes no more work, and waits for what there is.
    public func shutdown() { shutdown(wait: true, cancelPending: false) }

    /// Runs `body` on each element, in order, as results are taken.
    ///
    /// - Parameters:
    ///   - elements: What to run it on; they may be without end.
    ///   - bufferSize: Elements under way at a time, at least 1.
    ///   - body: What to run; without captures, if it is to run in processes.
    /// - Returns: The outcomes: go through them once. What is not taken is cancelled.
    /// - Throws: `invalidArgument`.
    public func map<Elements: Sequence, Output: Sendable>(
        _ elements: Elements, bufferSize: Int = 64,
        _ body: @escaping @Sendable (Elements.Element) throws -> Output
    ) throws(SharedStateError) -> ExecutorResults<Output> where Elements.Element: Sendable {
        guard bufferSize > 0 else {
            throw SharedStateError(.invalidArgument, "bufferSize is at least 1")
        }
        var iterator = elements.makeIterator()
        return ExecutorResults(bufferSize: bufferSize) {
            guard let element = iterator.next() else { return nil }
            do {
                return try self.submit(element: element, body: body)
            } catch {
                let failed = Future<Output>(driver: nil)
                failed.finish(.failure(error))
                return failed
            }
        }
    }
}

/// Outcomes of an executor's map, in order; iterating blocks.
public final class ExecutorResults<Output: Sendable>: Sequence, IteratorProtocol {
    private let bufferSize: Int
    private let submitNext: () -> Future<Output>?
    private var underWay: Fifo<Future<Output>> = Fifo()
    private var count = 0
    private var isOver = false

    internal init(bufferSize: Int, submitNext: @escaping () -> Future<Output>?) {
        self.bufferSize = bufferSize
        self.submitNext = submitNext
    }

    deinit {
        cancel()
    }

    /// Cancels what is under way; there are no more results.
    public func cancel() {
        isOver = true
        while let future = underWay.first {
            underWay.removeFirst()
            future.cancel()
        }
    }

    /// The next outcome.
    ///
    /// - Returns: `nil` after the last.
    public func next() -> Result<Output, any Error>? {
        while !isOver, count < bufferSize {
            guard let future = submitNext() else {
                isOver = true
                break
            }
            underWay.append(future)
            count += 1
        }
        guard let first = underWay.first else { return nil }
        underWay.removeFirst()
        count -= 1
        return Result { try first.value() }
    }
}

/// Runs closures in worker processes.
///
/// As ``Pool``, in the form of Python's `concurrent.futures`.
public final class ProcessPoolExecutor: WorkExecutor {
    private let pool: Pool

    /// Starts the workers.
    ///
    /// - Throws: As `Pool.init`.
    public init(workers: Int? = nil) throws(SharedStateError) {
        pool = try Pool(workers: workers)
    }

    /// Has the workers of a pool that was made with options, an initializer, or threads.
    ///
    /// A shutdown closes that pool, too.
    public init(_ pool: Pool) {
        self.pool = pool
    }

    /// Runs `body` in a worker, without waiting for it; as ``Pool/submit(_:options:timeout:body:)``.
    ///
    /// - Throws: `timedOut`, `capturesValues`, `cannotCross`, `closed`, `full`.
    public func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, timeout: Duration?,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws -> Future<Result> {
        try pool.submit(repeat each arguments, timeout: timeout, body: body)
    }

    /// The same in a task, which is suspended while there is no room.
    ///
    /// - Throws: As the form that blocks, and `CancellationError`.
    public func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, timeout: Duration?,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) async throws -> Future<Result> {
        try await pool.submit(repeat each arguments, timeout: timeout, body: body)
    }

    /// Runs `body` on one element in a worker, without waiting for it.
    ///
    /// - Throws: As ``submit(_:timeout:body:)``, but for `timedOut`.
    public func submit<Element: Sendable, Result: Sendable>(
        element: Element, body: @escaping @Sendable (Element) throws -> Result
    ) throws -> Future<Result> {
        try pool.submit(element: element, body: body)
    }

    /// Takes no more work; the workers end when all of it is done.
    public func shutdown(wait: Bool, cancelPending: Bool) {
        pool.close()
        if cancelPending { pool.core.cancelPending() }
        let pool = pool
        let end: @Sendable () -> Void = {
            try? pool.join()
            pool.terminate()
        }
        if wait || (try? Offload.run(end)) == nil { end() }
    }

    /// Ends the workers now: what they run fails, and so does all that waits.
    public func killWorkers() {
        pool.terminate()
    }
}
