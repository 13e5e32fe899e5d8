// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// What runs closures elsewhere: on threads, or in processes.
///
/// The same code runs on either, if its closures do not capture.
public protocol WorkExecutor: AnyObject, Sendable {
    /// Runs `body`, without waiting.
    ///
    /// - Parameters:
    ///   - arguments: Given to `body`.
    ///   - body: What to run.
    /// - Returns: Its result to come.
    /// - Throws: `closed` after a shutdown; in processes also `capturesValues` and `cannotCross`.
    func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws -> Future<Result>

    /// Runs `body` on one element, without waiting; what ``map(_:bufferSize:_:)`` is made of.
    ///
    /// - Parameters:
    ///   - element: Given to `body`.
    ///   - body: What to run.
    /// - Returns: Its result to come.
    /// - Throws: As ``submit(_:body:)``.
    func submit<Element: Sendable, Result: Sendable>(
        element: Element, body: @escaping @Sendable (Element) throws -> Result
    ) throws -> Future<Result>

    /// Takes no more work.
    ///
    /// - Parameters:
    ///   - wait: Whether to return only when all work is done.
    ///   - cancelPending: Whether to cancel work that is not begun.
    func shutdown(wait: Bool, cancelPending: Bool)
}

extension WorkExecutor {
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

    /// Runs `body` in a worker, without waiting; as ``Pool/submit(_:options:body:)``.
    ///
    /// - Throws: `capturesValues`, `cannotCross`, `closed`, `full`.
    public func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws -> Future<Result> {
        try pool.submit(repeat each arguments, body: body)
    }

    /// Runs `body` on one element in a worker, without waiting.
    ///
    /// - Throws: As ``submit(_:body:)``.
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

/// Runs closures on threads of this process; they may capture.
public final class ThreadPoolExecutor: WorkExecutor {
    private let work = WorkQueue()
    private let threads: Mutex<[pthread_t]>

    /// Starts the threads.
    ///
    /// - Parameter workers: How many, 1 to 1024.
    /// - Throws: `invalidArgument`, `system`.
    public init(workers: Int) throws(SharedStateError) {
        guard (1...1024).contains(workers) else {
            throw SharedStateError(
                .invalidArgument, "an executor has 1 to 1024 threads, not \(workers)")
        }
        var started: [pthread_t] = []
        for _ in 0..<workers {
            var thread = pthread_t()
            let queue = unsafe Unmanaged.passRetained(work)
            let status = unsafe pthread_create(
                &thread, nil,
                { context in
                    guard let context = unsafe context else { return nil }
                    unsafe Unmanaged<WorkQueue>.fromOpaque(context).takeRetainedValue().run()
                    return nil
                }, queue.toOpaque())
            guard status == 0 else {
                unsafe queue.release()
                work.close()
                throw SharedStateError(status: -Int32(status), "pthread_create", "")
            }
            started.append(thread)
        }
        threads = Mutex(started)
    }

    deinit {
        work.close()
        for thread in threads.withLock({ $0 }) { pthread_detach(thread) }
    }

    /// Runs `body` on a thread, without waiting.
    ///
    /// - Parameters:
    ///   - arguments: Given to `body`.
    ///   - body: What to run; it may capture.
    /// - Returns: Its result to come.
    /// - Throws: `closed`.
    public func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws(SharedStateError) -> Future<Result> {
        let future = Future<Result>(driver: nil)
        let inputs = (repeat each arguments)
        try work.add(
            .init(
                run: {
                    guard future.begin() else { return }
                    future.finish(Swift.Result { try body(repeat each inputs) })
                }, cancel: { future.cancel() }))
        return future
    }

    /// Runs `body` on one element on a thread, without waiting.
    ///
    /// - Throws: `closed`.
    public func submit<Element: Sendable, Result: Sendable>(
        element: Element, body: @escaping @Sendable (Element) throws -> Result
    ) throws -> Future<Result> {
        try submit { try body(element) }
    }

    /// Takes no more work; the threads end when all of it is done.
    public func shutdown(wait: Bool, cancelPending: Bool) {
        for item in work.close(emptying: cancelPending) { item.cancel() }
        guard wait else { return }
        for thread in threads.withLock({ threads in
            defer { threads = [] }
            return threads
        }) {
            pthread_join(thread, nil)
        }
    }
}

/// Work for the threads of one executor.
private final class WorkQueue: Sendable {
    struct Item: Sendable {
        let run: @Sendable () -> Void
        let cancel: @Sendable () -> Void
    }

    private struct State {
        var items: Fifo<Item> = Fifo()
        var closed = false
    }
    private let state = Mutex(State())
    private let bell = Doorbell()

    func add(_ item: Item) throws(SharedStateError) {
        try state.withLock { (state) throws(SharedStateError) in
            guard !state.closed else {
                throw SharedStateError(.closed, "the executor was shut down; make a new one")
            }
            state.items.append(item)
        }
        bell.ring()
    }

    /// Takes no more, and gives what is not begun to the caller, if it wants that.
    @discardableResult
    func close(emptying: Bool = false) -> [Item] {
        let items = state.withLock { state -> [Item] in
            state.closed = true
            var items: [Item] = []
            while emptying, let item = state.items.first {
                state.items.removeFirst()
                items.append(item)
            }
            return items
        }
        bell.ring()
        return items
    }

    func run() {
        while true {
            let seen = bell.prepare()
            let (item, closed) = state.withLock { state -> (Item?, Bool) in
                guard let item = state.items.first else { return (nil, state.closed) }
                state.items.removeFirst()
                return (item, false)
            }
            if let item {
                item.run()
            } else if closed {
                return
            } else {
                try? bell.wait(seen, until: .max)
            }
        }
    }
}
