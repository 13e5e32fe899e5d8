// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Runs closures in worker processes.
///
/// As ``Pool``, in the form of Python's `concurrent.futures`.
public final class ProcessPoolExecutor: Sendable {
    private let pool: Pool

    /// Starts the workers.
    ///
    /// - Throws: As `Pool.init`.
    public init(workers: Int? = nil) throws(SharedStateError) {
        pool = try Pool(workers: workers)
    }

    /// Runs `body` in a worker, without waiting; as ``Pool/submit(_:body:)``.
    ///
    /// - Throws: `capturesValues`, `cannotCross`, `closed`, `full`.
    public func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws -> Future<Result> {
        try pool.submit(repeat each arguments, body: body)
    }

    /// Takes no more work and waits for what is on its way.
    ///
    /// - Throws: `closed` if the pool gave up.
    public func shutdown() throws(SharedStateError) {
        pool.close()
        try pool.join()
        pool.terminate()
    }
}

/// Runs closures on threads of this process; they may capture.
public final class ThreadPoolExecutor: Sendable {
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
        try work.add {
            future.finish(Swift.Result { try body(repeat each inputs) })
        }
        return future
    }

    /// Takes no more work, waits for what was submitted, and ends the threads.
    public func shutdown() {
        work.close()
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
    private struct State {
        var items: [@Sendable () -> Void] = []
        var head = 0
        var closed = false
    }
    private let state = Mutex(State())
    private let bell = Doorbell()

    func add(_ item: @escaping @Sendable () -> Void) throws(SharedStateError) {
        try state.withLock { (state) throws(SharedStateError) in
            guard !state.closed else {
                throw SharedStateError(.closed, "the executor was shut down; make a new one")
            }
            state.items.append(item)
        }
        bell.ring()
    }

    func close() {
        state.withLock { $0.closed = true }
        bell.ring()
    }

    func run() {
        while true {
            let seen = bell.prepare()
            let (item, closed) = state.withLock { state -> ((@Sendable () -> Void)?, Bool) in
                guard state.head < state.items.count else {
                    state.items.removeAll(keepingCapacity: true)
                    state.head = 0
                    return (nil, state.closed)
                }
                state.head += 1
                return (state.items[state.head - 1], false)
            }
            if let item {
                item()
            } else if closed {
                return
            } else {
                try? bell.wait(seen, until: .max)
            }
        }
    }
}
