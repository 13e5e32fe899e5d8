// SPDX-License-Identifier: Apache-2.0

/// Where a child's end is told, by the thread that listens to all children, to whoever waits.
internal final class ExitBox: Sendable {
    private typealias Continuation = CheckedContinuation<ExitReport, any Error>

    private struct State {
        var report: ExitReport?
        var callbacks: [@Sendable () -> Void] = []
        var tasks: [UInt64: Continuation] = [:]
        /// Tasks that were to wait no longer before they began to.
        var tooLate: [UInt64: any Error] = [:]
        var lastTask: UInt64 = 0
    }

    private let state = Mutex(State())
    private let bell = Doorbell()

    var report: ExitReport? { state.withLock { $0.report } }

    /// Ready when there is a report.
    var readiness: Readiness {
        Readiness(bell.place, in: nil) { [self] in report == nil ? Answer.wouldWait : 0 }
    }

    func finish(_ report: ExitReport) {
        let (callbacks, tasks) = state.withLock { state in
            state.report = report
            defer { (state.callbacks, state.tasks) = ([], [:]) }
            return (state.callbacks, state.tasks)
        }
        bell.ring()
        for task in tasks.values { task.resume(returning: report) }
        for callback in callbacks { callback() }
    }

    /// Calls once when there is a report; now, if there is.
    func whenFinished(_ callback: @escaping @Sendable () -> Void) {
        let isFinished = state.withLock { state in
            if state.report == nil { state.callbacks.append(callback) }
            return state.report != nil
        }
        if isFinished { callback() }
    }

    func wait(until deadline: Int64) throws(SharedStateError) -> ExitReport {
        while true {
            if let report { return report }
            let seen = bell.prepare()
            if let report { return report }
            try bell.wait(seen, until: deadline)
        }
    }

    func wait(timeout: Duration?) async throws -> ExitReport {
        let id = state.withLock { state in
            state.lastTask += 1
            return state.lastTask
        }
        let clock = timeout.map { timeout in
            Task {
                try await Task.sleep(for: timeout)
                giveUp(id, SharedStateError(status: Answer.timedOut, "join", "a process"))
            }
        }
        defer {
            clock?.cancel()
            state.withLock { _ = $0.tooLate.removeValue(forKey: id) }
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { begin(id, $0) }
        } onCancel: {
            giveUp(id, CancellationError())
        }
    }

    private func begin(_ id: UInt64, _ continuation: Continuation) {
        let answer = state.withLock { state -> Result<ExitReport, any Error>? in
            if let report = state.report { return .success(report) }
            if let error = state.tooLate[id] { return .failure(error) }
            state.tasks[id] = continuation
            return nil
        }
        if let answer { continuation.resume(with: answer) }
    }

    private func giveUp(_ id: UInt64, _ error: any Error) {
        let continuation = state.withLock { state in
            let continuation = state.tasks.removeValue(forKey: id)
            if continuation == nil, state.report == nil { state.tooLate[id] = error }
            return continuation
        }
        continuation?.resume(throwing: error)
    }
}
