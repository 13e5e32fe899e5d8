// SPDX-License-Identifier: Apache-2.0

extension Pool {
    /// Where a pool's workers are.
    public enum Mode: Hashable, Sendable {
        /// Processes of their own.
        case processes
        /// Threads of this process, for debuggers and tests.
        ///
        /// Calls, encodings and errors are the same: what captures, and what cannot cross, is refused. A
        /// crash or an `exit` in a task is this process's. A task that was cancelled, or missed its
        /// deadline, is told so by `Task.isCancelled`; its caller goes on, and its thread when it
        /// returns.
        case inline
    }

    /// How a pool's workers live.
    public struct Options: Sendable {
        /// How they start: environment, working directory, standard streams, CPUs, niceness, name.
        ///
        /// With `process.standardError` echoed or captured, the error of a worker that died has the
        /// last lines that it wrote.
        public var process = ChildProcess.Options()
        /// CPUs of each worker, in turn: the first has those of the first set, and so on, beginning
        /// again after the last.
        ///
        /// Empty: all have `process.cpus`.
        public var placement: [Set<Int>] = []
        /// How long a task that was cancelled, or missed its deadline, may take to notice
        /// (`Task.isCancelled`) before its worker gets a SIGTERM; and how long that may take before a
        /// SIGKILL.
        public var grace: Duration = .milliseconds(200)
        /// The most workers that ``Pool/resize(to:)`` may ask for, 1 to 256; `nil` is as many as there
        /// are at first.
        public var maxWorkers: Int?
        /// Bytes of its own, without what it shares, that a worker may have when a task ends.
        ///
        /// One that has more is replaced by a new one. It looks every 5 ms at most. `nil` is without
        /// limit.
        public var maxMemoryPerWorker: Int?
        /// How long a worker waits for work before it leaves.
        ///
        /// One is started again when there is work. `nil` is for ever.
        public var idleTimeout: Duration?
        /// How many submitted tasks, and maps without a caller who waits, may be in flight; at least 1.
        ///
        /// In flight are those that are not done, whether or not they have begun. When there are as many, `submit` waits until one is done: in order of coming, a thread by
        /// looking after the pool meanwhile, a task without holding a thread. Only callbacks of the
        /// pool's futures and ``onEvent``, which must not wait, and tasks of ``Pool/Mode/inline`` workers
        /// that submit to their own pool, go on at once. `nil` is 64 for each worker, and no fewer
        /// than 1024.
        ///
        /// Of calls whose callers wait, such as `apply` on a thread, there are no more than threads; a
        /// map or `imap` has bounds of its own.
        public var maxTasksInFlight: Int?
        /// How many bytes the arguments of those may have, at least 1.
        ///
        /// When they have as many, `submit` waits until they have fewer; but as many tasks as there are
        /// workers may be in flight whatever they have. The last one that comes in may have more than is
        /// left: none is too large. `nil` is a sixteenth of what the shared memory may grow to.
        public var maxBytesInFlight: Int?
        /// Whether ^C (SIGINT) cancels what is on its way, rather than ending the program at once.
        ///
        /// Workers are not hit by it in any case. The pool is closed: calls throw `interrupted`, tasks
        /// that run see `Task.isCancelled`; after the grace their workers get a SIGTERM, and after
        /// another a SIGKILL. The program goes on, and ends as it likes. A second ^C, or one while nothing
        /// is on its way, does what it does in other programs: it ends this one at once, and with it the
        /// workers.
        public var cancelsOnInterrupt = false
        /// Whether workers measure how long each piece of work takes, for ``Pool/insights``: two looks
        /// at the clock for each.
        public var measures = false
        /// Is told, in this process, what becomes of the workers; see ``PoolEvent``.
        ///
        /// Called on a thread of the pool's own, one event after the other. It may use the pool, and
        /// should not take long: futures' callbacks wait for the same thread.
        public var onEvent: (@Sendable (PoolEvent) -> Void)?

        /// As this program is; for ever.
        public init() {}

        internal func checked() throws(SharedStateError) -> Options {
            guard (maxMemoryPerWorker ?? 1) > 0 else {
                throw SharedStateError(.invalidArgument, "maxMemoryPerWorker is at least 1")
            }
            guard (idleTimeout ?? .zero) >= .zero, grace >= .zero else {
                throw SharedStateError(.invalidArgument, "idleTimeout and grace are not negative")
            }
            guard (maxTasksInFlight ?? 1) > 0, (maxBytesInFlight ?? 1) > 0 else {
                throw SharedStateError(
                    .invalidArgument, "maxTasksInFlight and maxBytesInFlight are at least 1")
            }
            guard (1...256).contains(maxWorkers ?? 1) else {
                throw SharedStateError(.invalidArgument, "maxWorkers is 1 to 256")
            }
            return self
        }

        /// How the worker in a seat starts.
        internal func process(seat: Int) -> ChildProcess.Options {
            var options = process
            if options.name == nil { options.name = "worker-\(seat)" }
            if !placement.isEmpty { options.cpus = placement[seat % placement.count] }
            return options
        }
    }
}
