// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Dispatch

/// How many tasks are in flight, of how many bytes, and who waits until there may be one more.
///
/// Who comes first is served first: the room of a task that ends is handed to the one who has waited
/// longest, whom nobody overtakes and nobody wakes in vain. Threads wait in a way of their owner's, as
/// it may have to be they who look after the tasks meanwhile; of tasks no thread is held.
///
/// How many bytes a task has is known only when it is in. So the limit is passed by what the last one
/// has, of each thread that comes at once.
///
/// - Death: it is this process's own, and shares nothing.
internal final class Intake: Sendable {
    struct Limits: Sendable {
        var tasks: Int
        var bytes: Int
        /// So many tasks may be in flight whatever their bytes, so that each worker has one.
        var workers: Int
    }

    private struct State {
        var limits: Limits
        var tasks = 0
        var bytes = 0
        var line: Fifo<Visitor> = Fifo()
        var length = 0
        /// Of those in the line, who wait no longer.
        var gone = 0
        var end: SharedStateError?

        var hasRoom: Bool {
            tasks < limits.tasks && (bytes < limits.bytes || tasks < limits.workers)
        }

        /// Lets in as many as there is room for.
        ///
        /// - Returns: Who they are, to be woken without a lock held.
        mutating func admit() -> [Visitor] {
            var admitted: [Visitor] = []
            while hasRoom, let visitor = line.first {
                line.removeFirst()
                length -= 1
                if visitor.decide(.admitted) {
                    tasks += 1
                    admitted.append(visitor)
                } else {
                    gone -= 1
                }
            }
            return admitted
        }
    }

    private let state: Mutex<State>

    init(_ limits: Limits) {
        state = Mutex(State(limits: limits))
    }

    /// Tasks that are in flight, and those who wait for room, at this instant.
    var counts: (tasks: Int, waiting: Int) {
        state.withLock { ($0.tasks, $0.length - $0.gone) }
    }

    // MARK: In

    /// Lets one more in if there is room and nobody waits.
    ///
    /// - Parameter regardless: Whether to let it in if there is none, too.
    /// - Returns: Whether it is in.
    /// - Throws: The error that this was closed with.
    func tryEnter(regardless: Bool = false) throws(SharedStateError) -> Bool {
        try state.withLock { (state) throws(SharedStateError) -> Bool in
            if let end = state.end { throw end }
            guard regardless || (state.hasRoom && state.length == state.gone) else { return false }
            state.tasks += 1
            return true
        }
    }

    /// Waits for its turn, on this thread.
    ///
    /// - Parameter wait: Holds the thread until what it is given is true, or throws.
    /// - Throws: `timedOut`; the error that this was closed with; what `wait` throws.
    func enter(
        _ wait: (_ isOver: () -> Bool) throws(SharedStateError) -> Void
    ) throws(SharedStateError) {
        let visitor = Visitor()
        try stand(visitor)
        do throws(SharedStateError) {
            try wait { visitor.isDecided }
        } catch {
            // It may have been let in meanwhile.
            let error = error.code == .timedOut ? tooLate : error
            if leaveLine(visitor, .refused(error)) { throw error }
        }
        if case .refused(let error) = visitor.answer { throw error }
    }

    /// Waits for its turn, in a task.
    ///
    /// - Parameter deadline: Absolute; the wait ends no earlier.
    /// - Throws: `timedOut`; the error that this was closed with; `CancellationError`.
    func enter(until deadline: Int64) async throws {
        try Task.checkCancellation()
        let visitor = Visitor()
        try stand(visitor)
        let timer = deadline == .max ? nil : dismissal(of: visitor, at: deadline)
        defer { timer?.cancel() }
        let answer = await withTaskCancellationHandler {
            await withCheckedContinuation { visitor.sleep($0) }
        } onCancel: {
            if leaveLine(visitor, .cancelled) { visitor.wake() }
        }
        switch answer {
        case .admitted: return
        case .refused(let error): throw error
        case .cancelled: throw CancellationError()
        }
    }

    /// Goes to the end of the line, or in.
    private func stand(_ visitor: Visitor) throws(SharedStateError) {
        let admitted = try state.withLock { (state) throws(SharedStateError) -> [Visitor] in
            if let end = state.end { throw end }
            state.line.append(visitor)
            state.length += 1
            return state.admit()
        }
        for visitor in admitted { visitor.wake() }
    }

    /// - Returns: Whether the visitor leaves with this answer; else it has another.
    private func leaveLine(_ visitor: Visitor, _ answer: Visitor.Answer) -> Bool {
        state.withLock { state in
            guard visitor.decide(answer) else { return false }
            state.gone += 1
            if state.gone > 32, state.gone > state.length / 2 {
                state.line.removeAll(where: \.isDecided)
                state.length -= state.gone
                state.gone = 0
            }
            return true
        }
    }

    /// A queue of its own gets a thread even while all of those that tasks run on are blocked.
    private static let clock = DispatchQueue(label: "sharedstate.intake")

    private func dismissal(
        of visitor: Visitor, at deadline: Int64
    ) -> any DispatchSourceTimer {
        let timer = DispatchSource.makeTimerSource(queue: Self.clock)
        timer.setEventHandler { [self] in
            if leaveLine(visitor, .refused(tooLate)) { visitor.wake() }
        }
        let left = max(0, deadline - cshm_now_ns())
        timer.schedule(deadline: .now() + .nanoseconds(Int(left)))
        timer.activate()
        return timer
    }

    private var tooLate: SharedStateError {
        let (tasks, bytes) = state.withLock { ($0.tasks, $0.bytes) }
        return SharedStateError(
            .timedOut,
            "the time-out passed first: \(tasks) tasks of \(bytes) bytes are in flight, and there "
                + "was no room for another; wait longer, or raise maxTasksInFlight or "
                + "maxBytesInFlight")
    }

    /// The bytes of one that is in are known.
    func load(_ bytes: Int) {
        state.withLock { $0.bytes += bytes }
    }

    // MARK: Out

    /// One that was in has ended, and its bytes with it.
    ///
    /// - Returns: Whether others were let in, who may be threads to be woken.
    func leave(_ bytes: Int) -> Bool {
        wake(
            state.withLock { state in
                state.tasks -= 1
                state.bytes -= bytes
                return state.admit()
            })
    }

    /// There are to be so many workers.
    ///
    /// - Returns: As ``leave(_:)``.
    func resize(_ workers: Int) -> Bool {
        wake(
            state.withLock { state in
                state.limits.workers = workers
                return state.admit()
            })
    }

    private func wake(_ admitted: [Visitor]) -> Bool {
        for visitor in admitted { visitor.wake() }
        return !admitted.isEmpty
    }

    /// Lets nobody in any more.
    ///
    /// - Returns: Who waited, to be woken without a lock held.
    func close(_ error: SharedStateError) -> [Visitor] {
        state.withLock { state in
            state.end = error
            var refused: [Visitor] = []
            while let visitor = state.line.first {
                state.line.removeFirst()
                if visitor.decide(.refused(error)) { refused.append(visitor) }
            }
            (state.length, state.gone) = (0, 0)
            return refused
        }
    }
}

/// One who waits until there is room for a task.
internal final class Visitor: Sendable {
    enum Answer: Sendable {
        case admitted
        case refused(SharedStateError)
        case cancelled
    }

    private struct State {
        var answer: Answer?
        var continuation: CheckedContinuation<Answer, Never>?
    }

    private let state = Mutex(State())

    var answer: Answer? { state.withLock { $0.answer } }
    var isDecided: Bool { answer != nil }

    /// Gives it its answer; the first one counts.
    func decide(_ answer: Answer) -> Bool {
        state.withLock { state in
            guard state.answer == nil else { return false }
            state.answer = answer
            return true
        }
    }

    /// The task sleeps until it is woken; at once, if it has its answer.
    func sleep(_ continuation: CheckedContinuation<Answer, Never>) {
        state.withLock { $0.continuation = continuation }
        wake()
    }

    /// Goes on, if it is a task that has its answer; a thread sees for itself.
    func wake() {
        let awake = state.withLock { state -> (CheckedContinuation<Answer, Never>, Answer)? in
            guard let answer = state.answer, let continuation = state.continuation else {
                return nil
            }
            state.continuation = nil
            return (continuation, answer)
        }
        if let (continuation, answer) = awake { continuation.resume(returning: answer) }
    }
}
