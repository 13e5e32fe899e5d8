// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Dispatch
internal import Glibc

/// How what runs is ended: asked first, then made to.
extension PoolCore {
    /// Lets the task that a worker is at know that it is cancelled; under the lock.
    ///
    /// - Parameters:
    ///   - number: The worker's.
    ///   - batch: What it is at, whose job it may look at even afterwards.
    ///   - group: The group of that.
    ///   - isFinal: Whether to end the worker if it goes on with it: by SIGTERM after the grace, by
    ///     SIGKILL after another.
    ///   - state: The pool's.
    func stop(
        _ number: UInt32, at batch: PostedBatch, _ group: UInt32, isFinal: Bool = true,
        _ state: borrowing State
    ) {
        guard let seat = state.seats.firstIndex(where: { $0?.number == number }) else { return }
        var turn: UInt64
        // If it is done with that, nothing is cancelled: it may be at something else by now.
        repeat {
            turn = crew.turn(of: seat)
            let (phase, worker) = batch.state(of: group)
            guard phase == Int32(CSHM_GROUP_CLAIMED), worker == number else { return }
        } while crew.turn(of: seat) != turn
        let (found, job) = (turn, batch.job)
        crew.cancel(found, in: seat)
        if isFinal {
            afterGrace {
                self.press(number, in: seat, at: found, SIGTERM)
                withExtendedLifetime(job) {}
            }
        }
    }

    private func press(_ number: UInt32, in seat: Int, at turn: UInt64, _ signal: Int32) {
        let isStillAtIt = state.withLock { state in
            guard let worker = state.seats[seat], worker.number == number,
                crew.turn(of: seat) == turn
            else { return false }
            if let handle = worker.handle { press(number, handle, signal) }
            return !orders.isInline
        }
        if isStillAtIt, signal == SIGTERM {
            afterGrace { self.press(number, in: seat, at: turn, SIGKILL) }
        }
    }

    private func press(_ number: UInt32, _ worker: WorkerHandle, _ signal: Int32) {
        worker.signal(signal)
        if !orders.isInline {
            tell(.signalled(worker: Int(number), pid: worker.pid, signal: signal))
        }
    }

    /// A queue of its own gets a thread even while all of those that tasks run on are blocked, perhaps
    /// by calls that wait for just this end.
    private static let graces = DispatchQueue(label: "sharedstate.grace")

    func afterGrace(_ body: @escaping @Sendable () -> Void) {
        let grace = Int(clamping: nanoseconds(options.grace))
        Self.graces.asyncAfter(deadline: .now() + .nanoseconds(grace), execute: body)
    }

    // MARK: Of all

    /// Takes no more tasks; the workers leave when all are done.
    func close() {
        state.withLock { state in
            state.isClosed = true
            closeIntake(state.failure ?? State.closed)
            letGo(&state)
        }
        ring()
    }

    /// Lets the workers leave, if there will be nothing to do any more.
    func letGo(_ state: inout State) {
        if state.isClosed, state.isIdle { unsafe cshm_board_close(board) }
    }

    /// Waits until all is done; and, of a pool that is closed, until all workers have left.
    func join(until deadline: Int64) throws(SharedStateError) {
        try drive(until: deadline) { state.withLock { $0.isIdle } }
        try drive(until: deadline) {
            state.withLock { state in
                letGo(&state)
                return !state.isClosed || (state.liveCount == 0 && state.ending.isEmpty)
            }
        }
    }

    /// How all workers are ended.
    ///
    /// Those that wait leave in any case.
    enum Manner {
        /// Those that work are asked, get a SIGTERM after a grace, and a SIGKILL after another.
        case asking
        /// Those that work get a SIGTERM, and a SIGKILL after a grace.
        case terminating
    }

    /// Ends every worker; tasks that are not done fail with `closed`.
    func shutDown() {
        _ = endAll(SharedStateError(.closed, "the pool was terminated"), .terminating)
        collector.stop()
        stopListening()
    }

    /// - Returns: Whether something was on its way.
    func endAll(_ error: SharedStateError, _ manner: Manner) -> Bool {
        let (hadWork, all, busy) = state.withLock { state in
            let hadWork = !state.isIdle
            giveUp(&state, error)
            unsafe cshm_board_close(board)
            let (all, busy) = takeWorkers(&state)
            return (hadWork, all, busy)
        }
        ring()
        let terminate: @Sendable () -> Void = {
            self.press(busy, SIGTERM)
            self.afterGrace { self.press(all, SIGKILL) }
        }
        if all.isEmpty || orders.isInline { return hadWork }
        if manner == .asking { afterGrace(terminate) } else { terminate() }
        return hadWork
    }

    /// Sends a signal to those whose end is not known yet, when that is told.
    private func press(_ workers: [Ending], _ signal: Int32) {
        let left = state.withLock { state in
            let left = workers.filter { state.ending.contains($0.number) }
            for worker in left {
                tell(
                    .signalled(
                        worker: Int(worker.number), pid: worker.handle.pid, signal: signal))
            }
            return left
        }
        for worker in left { worker.handle.signal(signal) }
    }

    /// A worker that has lost its seat, and is to end.
    private struct Ending {
        let number: UInt32
        let handle: WorkerHandle
    }

    /// Empties the seats, and lets those that work know that it is cancelled.
    private func takeWorkers(_ state: inout State) -> (all: [Ending], busy: [Ending]) {
        var all: [Ending] = []
        var busy: [Ending] = []
        for seat in state.seats.indices {
            guard let worker = state.seats[seat] else { continue }
            state.ending.insert(worker.number)
            // One that is being started finds its seat taken when it is there.
            state.seats[seat] = nil
            guard let handle = worker.handle else { continue }
            let ending = Ending(number: worker.number, handle: handle)
            all.append(ending)
            if crew.isBusy(seat) {
                crew.cancel(crew.turn(of: seat), in: seat)
                busy.append(ending)
            }
        }
        return (all, busy)
    }

    // MARK: ^C

    /// Cancels all on ^C, from now on, if that is wanted.
    func listenForInterrupts() throws(SharedStateError) {
        guard options.cancelsOnInterrupt else { return }
        let number = try InterruptWatch.shared.add { [weak self] in
            guard let self else { return false }
            return self.endAll(
                SharedStateError(.interrupted, "^C (SIGINT) came, and the pool was closed"), .asking
            )
        }
        listener.withLock { $0 = number }
    }

    private func stopListening() {
        if let number = listener.withLock({ $0.take() }) { InterruptWatch.shared.remove(number) }
    }

    // MARK: More or fewer

    func resize(to count: Int) throws(SharedStateError) {
        guard (1...crew.seats).contains(count) else {
            throw SharedStateError(
                .invalidArgument,
                "this pool has 1 to \(crew.seats) workers, not \(count); see Options.maxWorkers")
        }
        let (openings, surplus) = try state.withLock {
            (state) throws(SharedStateError) -> ([Opening], Int) in
            try state.checkOpen()
            state.target = count
            workerCount = count
            var openings: [Opening] = []
            if state.liveCount < count, orders.idleTime == 0 || !state.isIdle {
                openings = openSeats(&state)
            } else if state.liveCount < count {
                state.isShort = true
            }
            let surplus = max(0, state.liveCount - state.leaving - count)
            state.leaving += surplus
            return (openings, surplus)
        }
        if intake.resize(count) { ring() }
        try start(openings)
        for posted in 0..<surplus {
            do throws(SharedStateError) {
                try postLeave()
            } catch {
                state.withLock { $0.leaving -= surplus - posted }
                throw error
            }
        }
    }

    /// Whoever claims it leaves, when it has done what it is at.
    private func postLeave() throws(SharedStateError) {
        let options = TaskOptions(urgency: .high)
        let task = SingleTask(
            job: try job([]), form: JobForm(kind: .leave), options: options
        ) { _ in
            self.state.withLock { $0.leaving -= 1 }
        }
        var input = ByteWriter()
        input.append(byte: 0)
        try submit(task, input, isAwaited: false)
    }
}
