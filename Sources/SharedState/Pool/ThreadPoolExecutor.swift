// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Runs closures on threads of this process; they may capture.
///
/// As much work may be in flight as `maxTasksInFlight` says; then `submit` waits until some is done. Only the
/// executor's own threads, whose work submits to it, go on at once: they are the ones by whom room comes.
///
/// - Threads: safe.
public final class ThreadPoolExecutor: WorkExecutor {
    private let work: WorkQueue
    private static let tasksForThread = 64
    private static let leastTasks = 1024

    /// Starts the threads.
    ///
    /// - Parameters:
    ///   - workers: How many, 1 to 1024.
    ///   - maxTasksInFlight: How much work may be in flight, begun or not, at least 1; `nil` is 64 for each
    ///     thread, and no less than 1024. What its arguments take is not counted: they stay where they are.
    /// - Throws: `invalidArgument`, `system`.
    public init(workers: Int, maxTasksInFlight: Int? = nil) throws(SharedStateError) {
        guard (1...1024).contains(workers) else {
            throw SharedStateError(
                .invalidArgument, "an executor has 1 to 1024 threads, not \(workers)")
        }
        guard (maxTasksInFlight ?? 1) > 0 else {
            throw SharedStateError(.invalidArgument, "maxTasksInFlight is at least 1")
        }
        let limit = maxTasksInFlight ?? max(Self.leastTasks, Self.tasksForThread * workers)
        work = WorkQueue(limit: limit)
        do throws(SharedStateError) {
            for _ in 0..<workers { try work.startThread() }
        } catch {
            work.close()
            throw error
        }
    }

    deinit {
        work.close()
    }

    /// Runs `body` on a thread, without waiting for it.
    ///
    /// - Parameters:
    ///   - arguments: Given to `body`.
    ///   - timeout: The longest wait for room; zero does not wait, `nil` waits without limit.
    ///   - body: What to run; it may capture.
    /// - Returns: Its result to come.
    /// - Throws: `timedOut` (there was no room in time); `closed`.
    public func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, timeout: Duration?,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws(SharedStateError) -> Future<Result> {
        try work.enter(until: deadline(after: timeout))
        return try add(repeat each arguments, body: body)
    }

    /// The same in a task, which is suspended while there is no room.
    ///
    /// - Parameters:
    ///   - arguments: Given to `body`.
    ///   - timeout: As in the form that blocks.
    ///   - body: What to run; it may capture.
    /// - Returns: Its result to come.
    /// - Throws: As the form that blocks, and `CancellationError`.
    public func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, timeout: Duration?,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) async throws -> Future<Result> {
        try await work.enter(until: deadline(after: timeout))
        return try add(repeat each arguments, body: body)
    }

    private func add<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws(SharedStateError) -> Future<Result> {
        let future = Future<Result>(driver: nil)
        let inputs = (repeat each arguments)
        let work = work
        try work.add(
            .init(
                run: {
                    guard future.begin() else { return work.leave() }
                    let outcome = Swift.Result { try body(repeat each inputs) }
                    work.leave()
                    future.finish(outcome)
                },
                cancel: {
                    work.leave()
                    future.cancel()
                }))
        return future
    }

    /// Runs `body` on one element on a thread, without waiting for it.
    ///
    /// - Throws: `closed`.
    public func submit<Element: Sendable, Result: Sendable>(
        element: Element, body: @escaping @Sendable (Element) throws -> Result
    ) throws -> Future<Result> {
        try submit(timeout: nil) { try body(element) }
    }

    /// Takes no more work; the threads end when all of it is done.
    ///
    /// On one of the executor's own threads it does not wait.
    public func shutdown(wait: Bool, cancelPending: Bool) {
        for item in work.close(emptying: cancelPending) { item.cancel() }
        if wait { work.awaitEnd() }
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
        var threads: [pthread_t] = []
        /// Threads that were started and have not ended.
        var threadCount = 0
        var closed = false
    }
    private let state = Mutex(State())
    private let bell = Doorbell()
    /// Rung when a thread has ended.
    private let ends = Doorbell()
    private let intake: Intake
    /// Rung for threads that wait for room.
    private let room = Doorbell()
    private static let closed = SharedStateError(
        .closed, "the executor was shut down; make a new one")

    init(limit: Int) {
        intake = Intake(Intake.Limits(tasks: limit, bytes: .max, workers: 0))
    }

    // MARK: Room

    func enter(until deadline: Int64) throws(SharedStateError) {
        if try intake.tryEnter() { return }
        if isOwnThread {
            _ = try intake.tryEnter(regardless: true)
            return
        }
        try intake.enter { (isOver) throws(SharedStateError) in
            while !isOver() {
                let seen = room.prepare()
                if !isOver() { try room.wait(seen, until: deadline) }
            }
        }
    }

    func enter(until deadline: Int64) async throws {
        if try intake.tryEnter() { return }
        try await intake.enter(until: deadline)
    }

    /// Work that was let in is done, or will never be.
    func leave() {
        if intake.leave(0) { room.ring() }
    }

    // MARK: Work

    /// Takes work that was let in, or lets it out again.
    func add(_ item: Item) throws(SharedStateError) {
        let isTaken = state.withLock { state in
            if !state.closed { state.items.append(item) }
            return !state.closed
        }
        guard isTaken else {
            leave()
            throw Self.closed
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
        for visitor in intake.close(Self.closed) { visitor.wake() }
        room.ring()
        bell.ring()
        return items
    }

    // MARK: Threads

    func startThread() throws(SharedStateError) {
        state.withLock { $0.threadCount += 1 }
        do throws(SharedStateError) {
            try Offload.run { self.run() }
        } catch {
            state.withLock { $0.threadCount -= 1 }
            throw error
        }
    }

    /// Waits until all threads have ended; not on one of them.
    func awaitEnd() {
        guard !isOwnThread else { return }
        while true {
            let seen = ends.prepare()
            if state.withLock({ $0.threadCount == 0 }) { return }
            try? ends.wait(seen, until: .max)
        }
    }

    private var isOwnThread: Bool {
        let thread = pthread_self()
        return state.withLock { $0.threads.contains(thread) }
    }

    private func run() {
        let thread = pthread_self()
        state.withLock { $0.threads.append(thread) }
        while let item = next() { item.run() }
        state.withLock { state in
            state.threads.removeAll { $0 == thread }
            state.threadCount -= 1
        }
        ends.ring()
    }

    /// Waits for work; `nil` when there will be none.
    private func next() -> Item? {
        while true {
            let seen = bell.prepare()
            let (item, closed) = state.withLock { state -> (Item?, Bool) in
                guard let item = state.items.first else { return (nil, state.closed) }
                state.items.removeFirst()
                return (item, false)
            }
            if item != nil || closed { return item }
            try? bell.wait(seen, until: .max)
        }
    }
}
