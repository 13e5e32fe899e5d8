// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc
internal import Synchronization

/// The task in which a worker's loop runs, so that `Task.isCancelled` says what the pool wants.
///
/// The pool stores the turn that it cancels in shared memory; a thread of the worker waits for that
/// and cancels the task, if the worker is still at that turn. A task that was cancelled ends, and
/// another one goes on. One for all turns, as one for each would cost more than many turns do.
internal final class WorkerTask: Sendable {
    /// The highest bit of ``current``: the turn is being cancelled.
    private static let mark: UInt64 = 1 << 63
    /// In the place of a turn: the watcher is to end.
    static let over: UInt64 = .max

    let crew: Crew
    let seat: Int
    /// Of the turn, 0 between two.
    private let current = Atomic<UInt64>(0)
    private let state = Mutex(State())
    /// Signalled when a cancellation is through.
    private let delivered = PrivateBell()
    private let watcherEnded = PrivateBell()

    private struct State {
        var lastNumber = 0
        var targets: [Int: @Sendable () -> Void] = [:]
    }

    init(_ crew: Crew, seat: Int) {
        self.crew = crew
        self.seat = seat
    }

    // MARK: The worker's thread

    /// Says who it is.
    func introduce() {
        crew[.pid, seat] = UInt64(getpid())
        crew[.began, seat] = UInt64(cshm_now_ns())
    }

    /// Runs `body`, which does not await, in a task of its own, on this thread.
    func run<Result>(_ context: WorkerContext, _ body: () throws -> Result) throws -> Result {
        try withoutActuallyEscaping(body) { body in
            nonisolated(unsafe) let body = body
            let outcome = Outcome<Result>()
            let executor = ThisThread()
            let task = Task.detached(executorPreference: executor) {
                outcome.value = Swift.Result {
                    try WorkerContext.$current.withValue(context) { unsafe try body() }
                }
            }
            let number = add { task.cancel() }
            defer { remove(number) }
            executor.run()
            guard let value = outcome.value else { throw CancellationError() }
            return try value.get()
        }
    }

    /// Looks for work from now on.
    func begin(_ turn: UInt64) {
        current.store(turn, ordering: .releasing)
        crew[.turn, seat] = 2 * turn + 1
    }

    /// Has found some.
    ///
    /// - Returns: Since when it works, where that is measured; else 0.
    func works(_ turn: UInt64, measures: Bool) -> Int64 {
        crew[.turn, seat] = 2 * turn + 2
        guard measures else { return 0 }
        let now = cshm_now_ns()
        crew[.since, seat] = UInt64(now)
        return now
    }

    /// Has done some.
    func count(_ tasks: UInt64, index: UInt64, since: Int64) {
        crew[.tasks, seat] += tasks
        guard since > 0 else { return }
        let duration = UInt64(max(0, cshm_now_ns() - since))
        crew[.busy, seat] += duration
        crew[.since, seat] = 0
        crew.note(duration / max(1, tasks), index: index, in: seat)
    }

    /// Is about to say that its work is done.
    ///
    /// Before it says so: who then has the result, and ends the pool, does not find it at work.
    func rests(_ turn: UInt64) {
        crew[.turn, seat] = 2 * turn + 1
    }

    /// The turn is over.
    ///
    /// - Returns: Whether it was cancelled; the task is then to end.
    func end() -> Bool {
        guard current.exchange(0, ordering: .acquiringAndReleasing) & Self.mark != 0 else {
            return false
        }
        delivered.wait()
        return true
    }

    // MARK: Who is cancelled

    /// Adds what is called when a turn is cancelled; with it, what a body awaits is cancelled.
    func add(_ cancel: @escaping @Sendable () -> Void) -> Int {
        let number = state.withLock { state in
            state.lastNumber += 1
            state.targets[state.lastNumber] = cancel
            return state.lastNumber
        }
        // Else it might come too late for the cancellation, and the cancellation for it.
        let turn = current.load(ordering: .acquiring)
        if turn != Self.over, turn & Self.mark != 0 { cancel() }
        return number
    }

    func remove(_ number: Int) {
        state.withLock { _ = $0.targets.removeValue(forKey: number) }
    }

    // MARK: The watcher

    /// Starts the thread that waits for cancellations.
    func watch() throws(SharedStateError) {
        var thread = pthread_t()
        let context = unsafe Unmanaged.passRetained(self)
        let number = unsafe pthread_create(
            &thread, nil,
            { context in
                guard let context = unsafe context else { return nil }
                // Signals are for the closures' threads.
                var all = sigset_t()
                unsafe sigfillset(&all)
                unsafe pthread_sigmask(SIG_BLOCK, &all, nil)
                unsafe Unmanaged<WorkerTask>.fromOpaque(context).takeRetainedValue().awaitCancels()
                return nil
            }, context.toOpaque())
        guard number == 0 else {
            unsafe context.release()
            throw SharedStateError(status: -number, "pthread_create", "a worker's watcher")
        }
        _ = pthread_detach(thread)
    }

    /// Ends the watcher, in a process that goes on; nobody else stores in the seat any more.
    func endWatch() {
        crew.cancel(Self.over, in: seat)
        watcherEnded.wait()
    }

    private func awaitCancels() {
        var seen: UInt64 = 0
        while true {
            seen = crew.awaitCancel(in: seat, after: seen)
            if seen == Self.over { break }
            let (isAtIt, _) = current.compareExchange(
                expected: seen, desired: seen | Self.mark, ordering: .acquiringAndReleasing)
            guard isAtIt, seen != 0 else { continue }
            for cancel in state.withLock({ Array($0.targets.values) }) { cancel() }
            delivered.ring()
        }
        watcherEnded.ring()
    }
}

/// A value that one thread, by way of a task, gives to itself: Sendable, unchecked.
private final class Outcome<Value>: @unchecked Sendable {
    var value: Result<Value, any Error>?
}

/// Runs one job, which does not await, on the thread that asks for it.
///
/// Sendable, unchecked: the job is enqueued, and run, by the same thread.
private final class ThisThread: TaskExecutor, @unchecked Sendable {
    private var job: UnownedJob?

    func enqueue(_ job: consuming ExecutorJob) {
        self.job = UnownedJob(job)
    }

    func run() {
        unsafe job?.runSynchronously(on: asUnownedTaskExecutor())
    }
}
