// SPDX-License-Identifier: Apache-2.0

/// The result of work that may not be done yet.
///
/// - Threads: safe; any number may wait. Tasks: ``value(timeout:)`` blocks the thread.
/// - Death: if the worker that ran the task dies, waiting throws `workerDied`.
public final class Future<Value: Sendable>: Sendable {
    private let state = Mutex<Result<Value, any Error>?>(nil)
    private let bell = Doorbell()
    /// The pool that waiting drives; `nil` where threads do the work.
    private let driver: PoolCore?

    internal init(driver: PoolCore?) {
        self.driver = driver
    }

    internal func finish(_ result: Result<Value, any Error>) {
        state.withLock { $0 = result }
        bell.ring()
    }

    /// Whether the result, or an error, is there.
    public var isDone: Bool { state.withLock { $0 != nil } }

    /// Waits for the result.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: What the work returned.
    /// - Throws: `timedOut`; `taskFailed` with the text of what the work threw in another process;
    ///   what it threw, if it ran in this one; `workerDied`; `closed`.
    public func value(timeout: Duration? = nil) throws -> Value {
        let until = deadline(after: timeout)
        if let driver {
            try driver.drive(until: until) { isDone }
        }
        while true {
            if let result = state.withLock({ $0 }) { return try result.get() }
            let seen = bell.prepare()
            if isDone { continue }
            try bell.wait(seen, until: until)
        }
    }
}
