// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// What becomes of a pool's workers, told as it happens to ``Pool/Options/onEvent``.
///
/// For a log of one's choice: its description is a line, and ``isFailure`` says which lines matter. The
/// package in the folder `Logging` hands them to a `Logger` of swift-log; without that:
///
///     options.onEvent = { logger.log(level: $0.isFailure ? .warning : .debug, "\($0)") }
public enum PoolEvent: Sendable, CustomStringConvertible {
    /// A worker was started.
    case began(worker: Int, pid: Int32)
    /// A worker has ended, with what is known of its end; `nil` of a thread.
    case ended(worker: Int, ExitReport?)
    /// A worker was sent SIGTERM, or SIGKILL: it went on with a task that was cancelled, or late, or
    /// after the end of its pool.
    case signalled(worker: Int, pid: Int32, signal: Int32)
    /// The pool gave up: this is what its tasks fail with from now on.
    case closed(SharedStateError)

    /// Whether it is more than a worker's coming and going.
    public var isFailure: Bool {
        switch self {
        case .began: false
        case .ended(_, let report): !(report?.status.isSuccess ?? true)
        case .signalled, .closed: true
        }
    }

    /// A line for people.
    public var description: String {
        switch self {
        case .began(let worker, let pid): "worker \(worker) is process \(pid)"
        case .ended(let worker, let report?):
            "worker \(worker), process \(report.pid), ended: \(report)"
        case .ended(let worker, nil): "worker \(worker), a thread, ended"
        case .signalled(let worker, let pid, let signal):
            "worker \(worker), process \(pid), was sent \(signalName(signal))"
        case .closed(let error): "the pool was closed: \(error)"
        }
    }
}

extension PoolCore {
    /// Has an event told, in the order of these calls, by the pool's own thread: whoever is told may use
    /// the pool.
    func tell(_ event: PoolEvent) {
        guard let listener = options.onEvent else { return }
        collector.add { self.bring { listener(event) } }
    }
}
