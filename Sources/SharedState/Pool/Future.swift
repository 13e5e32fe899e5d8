// SPDX-License-Identifier: Apache-2.0

/// The result of work that may not be done yet.
///
/// - Threads: safe; any number may wait. Tasks: ``value()`` suspends, ``value(timeout:)`` blocks.
/// - Processes: sent to another one of the family, as an argument or an element, it can be waited for
///   there.
/// - Death: if the worker that ran the task dies, waiting throws `workerDied`.
public final class Future<Value: Sendable>: Sendable {
    /// How far the work is.
    public enum State: Hashable, Sendable {
        /// Nobody has begun it.
        case pending
        /// A worker or a thread runs it.
        case running
        /// It returned or threw.
        case finished
        /// It was cancelled.
        case cancelled
    }

    private struct Contents {
        var outcome: Result<Value, any Error>?
        var callbacks: [@Sendable (Future<Value>) -> Void] = []
        var isCancelling = false
        var isRunning = false
        var steering: Steering?
        /// Where others find the outcome, once it was sent.
        var slot: FutureSlot?
        /// Somebody waits, in a task, for what is another process's.
        var isWatched = false
    }

    /// How the one that does the work is asked and told.
    internal struct Steering: Sendable {
        var isRunning: @Sendable () -> Bool
        /// Cancels it, also if it runs, or not if it does.
        var cancel: @Sendable (_ running: Bool) -> Bool
    }

    private let contents = Mutex(Contents())
    private let bell = Doorbell()
    /// The pool that waiting drives; `nil` where threads do the work.
    private let driver: PoolCore?
    /// Of a future that is another process's.
    private let remote: (slot: FutureSlot, plan: TransferPlan<Value>)?

    internal init(driver: PoolCore?) {
        self.driver = driver
        remote = nil
    }

    internal init(remote slot: FutureSlot, _ plan: TransferPlan<Value>) {
        driver = nil
        remote = (slot, plan)
    }

    internal func steer(by steering: Steering) {
        contents.withLock { if $0.outcome == nil { $0.steering = steering } }
    }

    /// A thread begins the work.
    ///
    /// False if it was cancelled.
    internal func begin() -> Bool {
        contents.withLock { contents in
            guard contents.outcome == nil else { return false }
            contents.isRunning = true
            return true
        }
    }

    /// The first outcome counts.
    ///
    /// - Parameters:
    ///   - outcome: What came of it.
    ///   - unlessBegun: Whether that counts only if no thread has begun the work.
    internal func finish(_ outcome: Result<Value, any Error>, unlessBegun: Bool = false) {
        let callbacks = contents.withLock { contents -> [@Sendable (Future<Value>) -> Void] in
            guard contents.outcome == nil, !unlessBegun || !contents.isRunning else { return [] }
            var outcome = outcome
            if contents.isCancelling, case .failure(let error as SharedStateError) = outcome,
                error.code == .closed
            {
                outcome = .failure(CancellationError())
            }
            contents.outcome = outcome
            contents.steering = nil
            defer { contents.callbacks = [] }
            return contents.callbacks
        }
        for callback in callbacks { callback(self) }
        bell.ring()
    }

    /// What came of it, if it is done.
    public var outcome: Result<Value, any Error>? {
        if let remote, contents.withLock({ $0.outcome == nil }) {
            arrive(remote.slot.attempt())
        }
        return contents.withLock { $0.outcome }
    }

    /// Whether the result, or an error, is there.
    public var isDone: Bool { outcome != nil }

    /// How far the work is, at this instant.
    public var state: State {
        let (outcome, isRunning, steering) = contents.withLock {
            ($0.outcome, $0.isRunning, $0.steering)
        }
        switch outcome {
        case .failure(is CancellationError): return .cancelled
        case .some: return .finished
        case nil: return isRunning || steering?.isRunning() == true ? .running : .pending
        }
    }

    /// Waits for the result.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit. The work goes on.
    /// - Returns: What the work returned.
    /// - Throws: `timedOut`; `taskFailed` with the text of what the work threw in another process;
    ///   what it threw, if it ran in this one; `workerDied`; `closed`; `CancellationError`.
    public func value(timeout: Duration? = nil) throws -> Value {
        try wait(until: deadline(after: timeout)).get()
    }

    private func wait(until deadline: Int64) throws(SharedStateError) -> Result<Value, any Error> {
        if let driver, !isDone {
            try driver.drive(until: deadline) { isDone }
        }
        if let remote, !isDone {
            let slot = remote.slot
            arrive(blockingWait(at: slot.waitingPlace, until: deadline) { slot.attempt() })
            guard isDone else {
                throw SharedStateError(status: Answer.timedOut, "value", "a future")
            }
        }
        while true {
            if let outcome { return outcome }
            let seen = bell.prepare()
            if isDone { continue }
            try bell.wait(seen, until: deadline)
        }
    }

    /// Waits for the result, in a task; cancelling the task cancels the work.
    ///
    /// - Returns: What the work returned.
    /// - Throws: As ``value(timeout:)``.
    public func value() async throws -> Value {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                whenDone { future in
                    guard let outcome = future.outcome else { return }
                    continuation.resume(with: outcome)
                }
            }
        } onCancel: {
            cancel()
        }
    }

    /// Calls `body` when the outcome is there; at once if it is.
    ///
    /// Callbacks are called in the order of their coming, on the thread that brings the outcome, and
    /// before anybody who waits is woken. They may submit work, and should not wait.
    public func whenDone(_ body: @escaping @Sendable (Future<Value>) -> Void) {
        let isDone = contents.withLock { contents in
            if contents.outcome == nil { contents.callbacks.append(body) }
            return contents.outcome != nil
        }
        if isDone { body(self) } else { watchRemote() }
    }

    // MARK: Of another process

    /// Takes what a wait for another process's outcome came to.
    private func arrive(_ status: Int32) {
        guard let remote, status != Answer.wouldWait, status != Answer.timedOut else { return }
        finish(
            Result {
                try unsafe remote.slot.withBytes {
                    try unsafe FutureOutcome.decode($0, remote.plan)
                }
            }
            .flatMap { $0 })
    }

    /// Waits for another process's outcome in a task, once.
    private func watchRemote() {
        guard let remote else { return }
        let isFirst = contents.withLock { contents in
            defer { contents.isWatched = true }
            return !contents.isWatched
        }
        guard isFirst else { return }
        let slot = remote.slot
        Task.detached {
            self.arrive(
                try await Reactor.wait(at: slot.waitingPlace, until: .max) { slot.attempt() })
        }
    }

    /// Where others find the outcome, from now on.
    internal func sharedSlot() throws(SharedStateError) -> FutureSlot {
        if let remote { return remote.slot }
        let plan = try TransferPlan<Value>.plan(for: Value.self)
        let made = try FutureSlot()
        let (slot, isNew) = contents.withLock { contents -> (FutureSlot, Bool) in
            if let slot = contents.slot { return (slot, false) }
            contents.slot = made
            return (made, true)
        }
        if isNew {
            whenDone { future in
                guard let outcome = future.outcome else { return }
                slot.fill(FutureOutcome.encode(outcome, plan))
            }
        }
        return slot
    }

    /// Cancels the work.
    ///
    /// What a thread of an executor's runs goes on.
    /// What a worker process runs is told by `Task.isCancelled`; if it goes on, its worker is ended, and
    /// replaced (see ``Pool/Options/grace``). What another process has goes on.
    ///
    /// - Parameter running: Whether to cancel work that has begun.
    /// - Returns: Whether it was cancelled, now or before.
    @discardableResult
    public func cancel(running: Bool = true) -> Bool {
        guard remote == nil else { return state == .cancelled }
        let (outcome, steering) = contents.withLock { contents in
            contents.isCancelling = true
            return (contents.outcome, contents.steering)
        }
        if let outcome {
            if case .failure(is CancellationError) = outcome { return true }
            return false
        }
        if let steering {
            guard steering.cancel(running) else { return false }
            finish(.failure(CancellationError()))
            return state == .cancelled
        }
        finish(.failure(CancellationError()), unlessBegun: true)
        return state == .cancelled
    }
}

// MARK: Several

extension Future {
    /// When to stop waiting for several.
    public enum Completion: Sendable {
        /// One is done.
        case firstCompleted
        /// One has failed or was cancelled, or all are done.
        case firstFailed
        /// All are done.
        case all
    }

    /// Waits for several.
    ///
    /// - Parameters:
    ///   - futures: What to wait for; one that is there twice counts once.
    ///   - completion: When to stop.
    ///   - timeout: The longest wait; when it has passed, what is done by then is given.
    /// - Returns: Those that are done and those that are not, each in the order given.
    public static func wait(
        for futures: [Future<Value>], until completion: Completion = .all,
        timeout: Duration? = nil
    ) -> (done: [Future<Value>], pending: [Future<Value>]) {
        let deadline = deadline(after: timeout)
        let unique = withoutDuplicates(futures)
        let bell = Doorbell()
        for future in unique { future.whenDone { _ in bell.ring() } }
        while !isOver(unique, completion) {
            let seen = bell.prepare()
            if isOver(unique, completion) { break }
            guard (try? bell.wait(seen, until: deadline)) != nil else { break }
        }
        return byState(unique)
    }

    /// Waits for several in a task, without holding a thread; what the futures are of goes on.
    ///
    /// - Parameters:
    ///   - futures: What to wait for; one that is there twice counts once.
    ///   - completion: When to stop.
    ///   - timeout: The longest wait; when it has passed, what is done by then is given.
    /// - Returns: Those that are done and those that are not, each in the order given.
    /// - Throws: `CancellationError`; `system` (there is no thread to be had).
    public static func wait(
        for futures: [Future<Value>], until completion: Completion = .all,
        timeout: Duration? = nil
    ) async throws -> (done: [Future<Value>], pending: [Future<Value>]) {
        let unique = withoutDuplicates(futures)
        let bell = Doorbell()
        for future in unique { future.whenDone { _ in bell.ring() } }
        _ = try await bell.wait(until: deadline(after: timeout)) { isOver(unique, completion) }
        return byState(unique)
    }

    private static func byState(
        _ futures: [Future<Value>]
    ) -> (done: [Future<Value>], pending: [Future<Value>]) {
        let done = futures.filter(\.isDone)
        return (done, futures.filter { future in !done.contains { $0 === future } })
    }

    private static func isOver(_ futures: [Future<Value>], _ completion: Completion) -> Bool {
        let outcomes = futures.map(\.outcome)
        if outcomes.allSatisfy({ $0 != nil }) { return true }
        return switch completion {
        case .all: false
        case .firstCompleted: outcomes.contains { $0 != nil }
        case .firstFailed:
            outcomes.contains {
                if case .failure = $0 { true } else { false }
            }
        }
    }

    private static func withoutDuplicates(_ futures: [Future<Value>]) -> [Future<Value>] {
        var seen: Set<ObjectIdentifier> = []
        return futures.filter { seen.insert(ObjectIdentifier($0)).inserted }
    }

    /// Several, in the order in which they are done; those that are already come first.
    ///
    /// - Parameters:
    ///   - futures: What to wait for; one that is there twice comes once.
    ///   - timeout: The longest wait for all of them together.
    /// - Returns: A sequence to go through once, in a task; ``CompletedFutures/elements`` blocks.
    public static func asCompleted(
        _ futures: [Future<Value>], timeout: Duration? = nil
    ) -> CompletedFutures<Value> {
        CompletedFutures(withoutDuplicates(futures), until: deadline(after: timeout))
    }
}

/// Futures in the order in which they are done; from ``Future/asCompleted(_:timeout:)``.
public struct CompletedFutures<Value: Sendable>: AsyncSequence, Sendable {
    /// Futures that are done.
    public typealias Element = Future<Value>

    private final class Arrivals: Sendable {
        struct State {
            var done: [Future<Value>] = []
            var left: Int
        }
        let state: Mutex<State>
        let bell = Doorbell()

        init(_ count: Int) { state = Mutex(State(left: count)) }

        func add(_ future: Future<Value>) {
            state.withLock { $0.done.append(future) }
            bell.ring()
        }

        /// The next that is done; or that there is none yet, or none any more.
        func take() -> (future: Future<Value>?, isOver: Bool) {
            state.withLock { state in
                if !state.done.isEmpty {
                    state.left -= 1
                    return (state.done.removeFirst(), false)
                }
                return (nil, state.left == 0)
            }
        }
    }

    private let arrivals: Arrivals
    private let total: Int
    private let deadline: Int64

    internal init(_ futures: [Future<Value>], until deadline: Int64) {
        arrivals = Arrivals(futures.count)
        total = futures.count
        self.deadline = deadline
        for future in futures { future.whenDone { [arrivals] in arrivals.add($0) } }
    }

    fileprivate func timedOut() -> SharedStateError {
        let left = arrivals.state.withLock { $0.left }
        return SharedStateError(.timedOut, "\(left) (of \(total)) futures are not done")
    }

    /// The next one, blocking this thread.
    ///
    /// - Returns: `nil` after the last.
    /// - Throws: `timedOut`.
    public func next() throws(SharedStateError) -> Future<Value>? {
        while true {
            let (future, isOver) = arrivals.take()
            if future != nil || isOver { return future }
            let seen = arrivals.bell.prepare()
            guard arrivals.state.withLock({ $0.done.isEmpty }) else { continue }
            do throws(SharedStateError) {
                try arrivals.bell.wait(seen, until: deadline)
            } catch {
                throw timedOut()
            }
        }
    }

    /// The same as a sequence that blocks; it ends when the time-out has passed.
    public var elements: some Sequence<Future<Value>> {
        AnyIterator { try? self.next() }
    }

    /// Goes through them in a task.
    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let futures: CompletedFutures<Value>

        /// The next one.
        ///
        /// - Returns: `nil` after the last.
        /// - Throws: `timedOut`; `CancellationError`; `system` (there is no thread to be had).
        public mutating func next() async throws -> Future<Value>? {
            let arrivals = futures.arrivals
            while true {
                let (future, isOver) = arrivals.take()
                if future != nil || isOver { return future }
                let isThere = try await arrivals.bell.wait(until: futures.deadline) {
                    arrivals.state.withLock { !$0.done.isEmpty || $0.left == 0 }
                }
                guard isThere else { throw futures.timedOut() }
            }
        }
    }

    /// Begins.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(futures: self) }
}
