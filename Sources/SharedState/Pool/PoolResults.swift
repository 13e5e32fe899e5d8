// SPDX-License-Identifier: Apache-2.0

internal import Glibc

extension Pool {
    /// Runs `body` on each element and gives the results one by one, in the elements' order.
    ///
    /// Elements are asked for as results are taken: a few batches of at most 1 MiB are under way at
    /// a time, so that the elements may be without end. Nothing begins before the first result is
    /// asked for. An element that fails does not end the others.
    ///
    /// - Parameters:
    ///   - elements: What to run it on.
    ///   - chunkSize: Elements that a worker takes at a time; `nil` chooses by how long they take.
    ///   - timeout: The longest that all of it may take; `nil` is without limit.
    ///   - options: Urgency, retries, deadline of each element.
    ///   - progress: Is told how many results were taken.
    ///   - body: A closure without captures.
    /// - Returns: The results to come.
    /// - Throws: `capturesValues`, `cannotCross`, `closed`, `invalidArgument`.
    public func imap<Elements: Sequence, Output: Sendable>(
        _ elements: sending Elements, chunkSize: Int? = nil, timeout: Duration? = nil,
        options: TaskOptions = TaskOptions(), progress: PoolProgress? = nil,
        _ body: @escaping @Sendable (Elements.Element) throws -> Output
    ) throws -> PoolResults<Output> where Elements.Element: Sendable {
        PoolResults(
            elements, try beginMap(chunkSize, timeout, options, body), inOrder: true, progress)
    }

    /// As `imap`, in the order in which the results come.
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
        _ body: @escaping @Sendable (Elements.Element) throws -> Output
    ) throws -> PoolResults<Output> where Elements.Element: Sendable {
        PoolResults(
            elements, try beginMap(chunkSize, timeout, options, body), inOrder: false, progress)
    }

    /// As `map`, without waiting for it.
    ///
    /// It is one of the ``Options/maxTasksInFlight``, and waits for room as
    /// ``submit(_:options:timeout:body:)`` does; its elements go in as there is room for them.
    ///
    /// - Parameters:
    ///   - elements: What to run it on.
    ///   - chunkSize: As in `map`.
    ///   - options: As in `map`.
    ///   - body: As in `map`.
    /// - Returns: All results, to come.
    /// - Throws: `capturesValues`, `cannotCross`, `closed`, `invalidArgument`, `system`.
    public func mapAsync<Elements: Sequence & SendableMetatype, Output: Sendable>(
        _ elements: sending Elements, chunkSize: Int? = nil, options: TaskOptions = TaskOptions(),
        _ body: @escaping @Sendable (Elements.Element) throws -> Output
    ) throws -> Future<[Output]> where Elements.Element: Sendable {
        try core.enter(until: .max)
        return try gatherLater(elements) { try self.beginMap(chunkSize, nil, options, body) }
    }

    /// The same in a task, which is suspended while there is no room.
    ///
    /// - Parameters:
    ///   - elements: What to run it on.
    ///   - chunkSize: As in `map`.
    ///   - options: As in `map`.
    ///   - body: As in `map`.
    /// - Returns: All results, to come.
    /// - Throws: As the other `mapAsync`, and `CancellationError`.
    public func mapAsync<Elements: Sequence & SendableMetatype, Output: Sendable>(
        _ elements: sending Elements, chunkSize: Int? = nil, options: TaskOptions = TaskOptions(),
        _ body: @escaping @Sendable (Elements.Element) throws -> Output
    ) async throws -> Future<[Output]> where Elements.Element: Sendable {
        try await core.enter(until: .max)
        return try gatherLater(elements) { try self.beginMap(chunkSize, nil, options, body) }
    }

    /// Gathers on a thread of its own what was let in; what is thrown has let it out again.
    private func gatherLater<Elements: Sequence & SendableMetatype, Output: Sendable>(
        _ elements: sending Elements, _ begin: () throws -> MapCall<Elements.Element, Output>
    ) throws -> Future<[Output]> where Elements.Element: Sendable {
        let core = core
        do {
            let call = try begin()
            let future = Future<[Output]>(driver: nil)
            future.steer(
                by: .init(
                    isRunning: { true },
                    cancel: { running in
                        if running { call.cancel() }
                        return running
                    }))
            let elements = Handover(elements)
            try Offload.run {
                let outcome = Result { () throws -> [Output] in
                    guard let elements = elements.take() else { return [] }
                    return try self.gather(elements, call, nil)
                }
                core.leave(0)
                future.finish(outcome)
            }
            return future
        } catch {
            core.leave(0)
            throw error
        }
    }
}

/// Results of ``Pool/imap(_:chunkSize:timeout:options:progress:_:)``, as they come.
///
/// - Threads, tasks: safe; each result goes to one of those who ask. In a task, go through it with
///   `for try await`; in a thread, ``next(timeout:)`` or ``elements``.
public final class PoolResults<Output: Sendable>: AsyncSequence, Sendable {
    /// A result.
    public typealias Element = Output

    private struct State {
        /// Takes the next outcomes, waiting until a time; `nil` at the end.
        let take: (Int64) throws(SharedStateError) -> [Result<Output, any Error>]?
        var ready: Fifo<Result<Output, any Error>> = Fifo()
        var isOver = false
    }

    private let state: Mutex<State>
    private let stop: @Sendable () -> Void

    internal init<Elements: Sequence>(
        _ elements: sending Elements, _ call: MapCall<Elements.Element, Output>, inOrder: Bool,
        _ progress: PoolProgress?
    ) where Elements.Element: Sendable {
        let source = ResultSource(elements, call, inOrder: inOrder, progress)
        state = Mutex(
            State(take: { deadline throws(SharedStateError) in
                try source.take(until: deadline)
            }))
        stop = { call.cancel() }
    }

    deinit {
        stop()
    }

    /// Gives up: what is not begun is dropped, and there are no more results.
    public func cancel() {
        stop()
    }

    /// The next outcome, blocking this thread.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: A result, or the error of its element; `nil` after the last.
    /// - Throws: `timedOut`, after which one may ask again; `closed`.
    public func next(
        timeout: Duration? = nil
    ) throws(SharedStateError) -> Result<Output, any Error>? {
        let deadline = deadline(after: timeout)
        return try state.withLock { (state) throws(SharedStateError) in
            while !state.isOver {
                if let first = state.ready.first {
                    state.ready.removeFirst()
                    return first
                }
                guard let more = try state.take(deadline) else {
                    state.isOver = true
                    break
                }
                for outcome in more { state.ready.append(outcome) }
            }
            return nil
        }
    }

    /// The outcomes as a sequence that blocks.
    ///
    /// It ends early if the pool is terminated or the call's time-out has passed; the error is then
    /// its last element.
    public var elements: some Sequence<Result<Output, any Error>> {
        var isOver = false
        return AnyIterator {
            if isOver { return nil }
            do throws(SharedStateError) {
                return try self.next()
            } catch {
                isOver = true
                return .failure(error)
            }
        }
    }

    /// Goes through the results in a task.
    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let results: PoolResults<Output>

        /// The next result; one that failed throws, after which one may ask for the next.
        ///
        /// - Returns: `nil` after the last.
        /// - Throws: What its element failed with; `closed`, `timedOut`, `CancellationError`.
        public mutating func next() async throws -> Output? {
            let results = results
            let outcome = try await withTaskCancellationHandler {
                try await Offload.result { try results.next() }
            } onCancel: {
                results.cancel()
            }
            return try outcome?.get()
        }
    }

    /// Begins, or goes on.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(results: self) }
}

/// Puts elements in as long as there is room, and takes results out.
private final class ResultSource<Elements: Sequence, Output: Sendable>
where Elements.Element: Sendable {
    private let call: MapCall<Elements.Element, Output>
    private var iterator: Elements.Iterator
    private let inOrder: Bool
    private let progress: PoolProgress?
    /// Of the elements, as far as they know.
    private let total: Int?
    private var upcoming: Elements.Element?
    private var hasBegun = false
    private var isOver = false

    init(
        _ elements: Elements, _ call: MapCall<Elements.Element, Output>, inOrder: Bool,
        _ progress: PoolProgress?
    ) {
        self.call = call
        self.inOrder = inOrder
        self.progress = progress
        let estimate = elements.underestimatedCount
        total = estimate > 0 ? estimate : nil
        iterator = elements.makeIterator()
    }

    deinit {
        end()
    }

    private func end() {
        guard !isOver else { return }
        isOver = true
        call.end()
        if hasBegun { progress?.end() }
    }

    func take(
        until deadline: Int64
    ) throws(SharedStateError) -> [Result<Output, any Error>]? {
        do {
            try fill()
        } catch let error as SharedStateError {
            throw error
        } catch {
            throw SharedStateError(.cannotCross, "an element could not be encoded: \(error)")
        }
        var outcomes: [Result<Output, any Error>] = []
        let isMore = try call.takeGroup(until: deadline, inOrder: inOrder) { _, outcome in
            outcomes.append(outcome)
        }
        if isMore { progress?.report(call.finished) } else { end() }
        return isMore ? outcomes : nil
    }

    private func fill() throws {
        if !hasBegun {
            hasBegun = true
            progress?.begin(total: total)
            upcoming = iterator.next()
        }
        guard upcoming != nil else { return }
        if call.elementsAreBits {
            while let first = upcoming, let room = try unsafe call.room() {
                unsafe room.initializeElement(at: 0, to: first)
                var count = 1
                upcoming = iterator.next()
                while let element = upcoming, count < room.count {
                    unsafe room.initializeElement(at: count, to: element)
                    count += 1
                    upcoming = iterator.next()
                }
                call.post(count)
            }
        } else {
            _ = try call.postEncoded {
                defer { upcoming = upcoming == nil ? nil : iterator.next() }
                return upcoming
            }
        }
    }
}

/// A value on its way to another thread, which takes it once.
///
/// Sendable, unchecked: it was sent in, and the lock lets one taker have it.
internal final class Handover<Value>: @unchecked Sendable {
    private var value: Value?
    private let lock = Mutex(())

    init(_ value: sending Value) { self.value = value }

    func take() -> Value? {
        lock.withLock { _ in }
        defer { value = nil }
        return value
    }
}

/// Threads for calls that block, made on behalf of tasks.
internal enum Offload {
    private final class Work: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    /// Runs `body` on a thread of its own.
    ///
    /// - Parameters:
    ///   - takesSignals: Whether those that are sent to the process may be handled by it.
    ///   - body: What it runs.
    /// - Throws: `system`.
    static func run(
        takesSignals: Bool = true, _ body: @escaping @Sendable () -> Void
    ) throws(SharedStateError) {
        var thread = pthread_t()
        let work = unsafe Unmanaged.passRetained(
            Work {
                if !takesSignals { takeNoSignals() }
                body()
            })
        let number = unsafe pthread_create(
            &thread, nil,
            { context in
                guard let context = unsafe context else { return nil }
                unsafe Unmanaged<Work>.fromOpaque(context).takeRetainedValue().body()
                return nil
            }, work.toOpaque())
        guard number == 0 else {
            unsafe work.release()
            throw SharedStateError(status: -number, "pthread_create", "a call that blocks")
        }
        _ = pthread_detach(thread)
    }

    private static func takeNoSignals() {
        var all = sigset_t()
        unsafe sigfillset(&all)
        unsafe pthread_sigmask(SIG_BLOCK, &all, nil)
    }

    /// Awaits what `body` gives on a thread of its own.
    static func result<Value: Sendable>(
        _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            do throws(SharedStateError) {
                try run { continuation.resume(with: Result { try body() }) }
            } catch {
                continuation.resume(throwing: error)
            }
        }
    }
}
