// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc

/// The one thread of this process on which tasks wait for channels.
///
/// A task that would have to wait leaves its *attempt* here: a call of C that does not wait. The
/// thread makes the attempts, in the order of their coming for each side of each channel, and
/// resumes a task when its own has an answer. An attempt and the cancellation of its task exclude
/// each other, so that a task either has its element or was cancelled, never both.
///
/// The thread is started by the first task that waits and ends when none has waited for a while.
internal final class Reactor: Sendable {
    /// Which side of which channel is waited at.
    struct Place: Hashable, Sendable {
        let channel: ObjectIdentifier
        let side: Side
    }

    /// What is waited for.
    enum Side: Sendable {
        case items
        case room
    }

    private struct State {
        var queues: [Place: [Waiter]] = [:]
        var isRunning = false
    }

    private static let shared = Reactor()
    private let state = Mutex(State())

    /// Makes an attempt until it has another answer than that it would have to wait.
    ///
    /// - Returns: That answer, or that the deadline has passed.
    /// - Throws: `CancellationError`; then the last attempt had no effect. `system` if there is no
    ///   thread to be had.
    static func wait(
        at channel: AnyObject, _ side: Side, until deadline: Int64,
        attempt: @escaping @Sendable () -> Int32
    ) async throws -> Int32 {
        let place = Place(channel: ObjectIdentifier(channel), side: side)
        let waiter = Waiter(until: deadline, attempt)
        let answer = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if waiter.begin(continuation) { shared.add(waiter, at: place) }
            }
        } onCancel: {
            waiter.cancel()
        }
        switch answer {
        case .status(let status): return status
        case .cancelled: throw CancellationError()
        case .noThread(let error): throw error
        }
    }

    private func add(_ waiter: Waiter, at place: Place) {
        let mustStart = state.withLock { state in
            state.queues[place, default: []].append(waiter)
            defer { state.isRunning = true }
            return !state.isRunning
        }
        guard mustStart else { return }
        let number = startThread()
        if number != 0 {
            giveUp(SharedStateError(status: -number, "pthread_create", "the reactor"))
        }
    }

    private func startThread() -> Int32 {
        var thread = pthread_t()
        let number = unsafe pthread_create(
            &thread, nil,
            { _ in
                // Signals belong to the program's own threads.
                var all = sigset_t()
                unsafe sigfillset(&all)
                unsafe pthread_sigmask(SIG_BLOCK, &all, nil)
                Reactor.shared.run()
                return nil
            }, nil)
        if number == 0 { _ = pthread_detach(thread) }
        return number
    }

    private func giveUp(_ error: SharedStateError) {
        let waiters = state.withLock { state in
            defer { state = State() }
            return state.queues.values.joined().map { $0 }
        }
        for waiter in waiters { waiter.fail(error) }
    }

    private func run() {
        var pause = Pause()
        while let queues = takeWork(andEnd: pause.isOver) {
            let now = cshm_now_ns()
            var hasProgressed = queues.isEmpty ? false : nil
            var left: [Place: [Waiter]] = [:]
            for (place, waiters) in queues {
                let rest = Self.serve(waiters, now)
                if rest.count < waiters.count { hasProgressed = true }
                if !rest.isEmpty { left[place] = rest }
            }
            putBack(left)
            pause.wait(isIdle: queues.isEmpty, hasProgressed: hasProgressed ?? false)
        }
    }

    /// Lets the first one try, and the next one if that succeeded; the others may only have waited
    /// too long.
    ///
    /// - Returns: Those that still wait.
    private static func serve(_ waiters: [Waiter], _ now: Int64) -> [Waiter] {
        var rest: [Waiter] = []
        for waiter in waiters where !waiter.turn(mayTry: rest.isEmpty, now) {
            rest.append(waiter)
        }
        return rest
    }

    private func takeWork(andEnd end: Bool) -> [Place: [Waiter]]? {
        state.withLock { state in
            if state.queues.isEmpty, end {
                state.isRunning = false
                return nil
            }
            defer { state.queues = [:] }
            return state.queues
        }
    }

    private func putBack(_ left: [Place: [Waiter]]) {
        state.withLock { state in
            state.queues.merge(left) { new, old in old + new }
        }
    }
}

/// The bytes that an attempt took, on their way to the task.
internal final class ReceivedBytes: Sendable {
    let bytes = Mutex<[UInt8]>([])
}

/// How long the reactor sleeps between two rounds of attempts.
private struct Pause {
    private var rounds = 0
    private var idleRounds = 0

    /// Whether nobody has waited for so long that the thread may end.
    var isOver: Bool { idleRounds >= 50 }

    mutating func wait(isIdle: Bool, hasProgressed: Bool) {
        idleRounds = isIdle ? idleRounds + 1 : 0
        rounds = hasProgressed ? 0 : rounds + 1
        if rounds < 20 {
            sched_yield()
        } else {
            usleep(UInt32(min(2000, 20 * (rounds - 19))))
        }
    }
}

/// One task that waits.
private final class Waiter: Sendable {
    enum Answer: Sendable {
        case status(Int32)
        case cancelled
        case noThread(SharedStateError)
    }

    private enum State: Sendable {
        case new
        case waiting(CheckedContinuation<Answer, Never>)
        case over
    }

    private let deadline: Int64
    private let attempt: @Sendable () -> Int32
    private let state = Mutex(State.new)

    init(until deadline: Int64, _ attempt: @escaping @Sendable () -> Int32) {
        self.deadline = deadline
        self.attempt = attempt
    }

    /// The task sleeps from now on.
    ///
    /// - Returns: `false` if it was cancelled before, and is awake again.
    func begin(_ continuation: CheckedContinuation<Answer, Never>) -> Bool {
        let mayWait = state.withLock { state in
            if case .over = state { return false }
            state = .waiting(continuation)
            return true
        }
        if !mayWait { continuation.resume(returning: .cancelled) }
        return mayWait
    }

    func cancel() {
        end { .cancelled }
    }

    func fail(_ error: SharedStateError) {
        end { .noThread(error) }
    }

    /// Makes an attempt if it may.
    ///
    /// - Returns: Whether the task waits no longer.
    func turn(mayTry: Bool, _ now: Int64) -> Bool {
        end {
            let status = mayTry ? self.attempt() : SharedState.Answer.wouldWait
            if status != SharedState.Answer.wouldWait { return .status(status) }
            return now < self.deadline ? nil : .status(SharedState.Answer.timedOut)
        }
    }

    /// Resumes the task with an answer, if it waits and there is one.
    ///
    /// - Returns: Whether it waits no longer.
    @discardableResult
    private func end(_ answer: () -> Answer?) -> Bool {
        let ended = state.withLock { state -> (CheckedContinuation<Answer, Never>?, Answer?) in
            switch state {
            case .over: return (nil, .cancelled)
            case .new:
                guard let answer = answer() else { return (nil, nil) }
                state = .over
                return (nil, answer)
            case .waiting(let continuation):
                guard let answer = answer() else { return (nil, nil) }
                state = .over
                return (continuation, answer)
            }
        }
        if let answer = ended.1 { ended.0?.resume(returning: answer) }
        return ended.1 != nil
    }
}
