// SPDX-License-Identifier: Apache-2.0

public import Logging
public import SharedState

extension Pool.Options {
    /// Has `logger` told what becomes of the pool's workers, besides whom ``onEvent`` told before.
    ///
    /// Workers that come and go are `debug`, those that die or had to be ended `warning`, and that the
    /// pool gave up is `error`. The metadata have `worker` and `pid`. Workers themselves log nothing by
    /// this: a program's `LoggingSystem.bootstrap` does not run in them, so a pool's initializer is the
    /// place for it.
    ///
    /// - Parameter logger: In this process; it is called on a thread of the pool's own.
    public mutating func log(to logger: Logger) {
        let before = onEvent
        onEvent = { event in
            before?(event)
            logger.log(level: event.level, "\(event)", metadata: event.metadata)
        }
    }
}

extension PoolEvent {
    /// How much it matters.
    public var level: Logger.Level {
        switch self {
        case .closed: .error
        default: isFailure ? .warning : .debug
        }
    }

    /// Whom it is about.
    public var metadata: Logger.Metadata {
        switch self {
        case .began(let worker, let pid), .signalled(let worker, let pid, _):
            ["worker": "\(worker)", "pid": "\(pid)"]
        case .ended(let worker, let report?):
            ["worker": "\(worker)", "pid": "\(report.pid)"]
        case .ended(let worker, nil): ["worker": "\(worker)"]
        case .closed: [:]
        }
    }
}
