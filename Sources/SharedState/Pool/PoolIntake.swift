// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Backpressure: who submits waits while too much is in flight.
///
/// Whoever others wait for is let in at once, as he may be the one by whom room would come: a thread
/// that brings outcomes, whose callbacks submit, and a worker of this process, whose task does.
///
/// - Death: of a worker, its task has an outcome, which makes room; of the pool, all who wait are refused
///   with its error.
extension PoolCore {
    /// Waits, on this thread, until one more may be submitted; meanwhile it drives.
    func enter(until deadline: Int64) throws(SharedStateError) {
        if try intake.tryEnter() { return }
        if isHerald || isOwnWorker {
            _ = try intake.tryEnter(regardless: true)
            return
        }
        try intake.enter { (isOver) throws(SharedStateError) in
            try drive(until: deadline, isOver)
        }
    }

    /// The same in a task, which holds no thread.
    func enter(until deadline: Int64) async throws {
        if try intake.tryEnter(regardless: isOwnWorker) { return }
        try await intake.enter(until: deadline)
    }

    /// One that was let in is done, or was not submitted.
    func leave(_ bytes: Int) {
        if intake.leave(bytes) { ring() }
    }

    /// Refuses who waits, and comes, from now on; under the lock.
    func closeIntake(_ error: SharedStateError) {
        let refused = intake.close(error)
        guard !refused.isEmpty else { return }
        ring()
        collector.add { for visitor in refused { visitor.wake() } }
    }

    /// Runs `body`, which brings outcomes to whom they concern.
    func bring(_ body: () -> Void) {
        let thread = pthread_self()
        heralds.withLock { $0.append(thread) }
        body()
        heralds.withLock { heralds in
            if let index = heralds.lastIndex(of: thread) { heralds.remove(at: index) }
        }
    }

    private var isHerald: Bool {
        let thread = pthread_self()
        return heralds.withLock { $0.contains(thread) }
    }

    /// Whether a thread that is this pool's worker runs this, or a task of its.
    private var isOwnWorker: Bool {
        let worker = WorkerContext.current?.task.crew.offset ?? WorkerContext.crew
        return orders.isInline && worker == crew.offset
    }
}

extension Pool.Options {
    fileprivate static let tasksForWorker = 64
    fileprivate static let leastTasks = 1024
    fileprivate static let shareOfRegion = 16

    /// What is in flight at most.
    internal func limits(workers: Int, seats: Int, in region: Region) -> Intake.Limits {
        Intake.Limits(
            tasks: maxTasksInFlight ?? max(Self.leastTasks, Self.tasksForWorker * seats),
            bytes: maxBytesInFlight ?? max(1, region.capacity / Self.shareOfRegion),
            workers: workers)
    }
}

extension Pool {
    /// Takes a task that was let in.
    ///
    /// What is thrown has let it out again.
    internal func admit<each Argument: Sendable, Result: Sendable>(
        _ site: CallSite<repeat each Argument, Result>, _ options: TaskOptions,
        _ encode: () throws -> TaskInput
    ) throws -> Future<Result> {
        var bytes = 0
        do {
            let input = try encode()
            bytes = input.writer.count
            core.intake.load(bytes)
            return try begin(site, input, options, bytes: bytes)
        } catch {
            core.leave(bytes)
            throw error
        }
    }
}
