// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc

/// Workers: their start, their end, what they leave.
extension PoolCore {
    /// Takes a seat for a worker that is to be started, once the lock is let go of.
    func open(_ seat: Int, _ state: inout State) -> Opening {
        let number = state.nextNumber
        state.nextNumber += 1
        unsafe cshm_board_seat(board, UInt32(seat), number)
        crew.seat(number, in: seat)
        state.seats[seat] = Worker(number: number)
        return Opening(seat: seat, number: number)
    }

    /// Takes as many seats as there are workers missing.
    func openSeats(_ state: inout State) -> [Opening] {
        state.isShort = false
        var openings: [Opening] = []
        for seat in state.seats.indices where state.seats[seat] == nil {
            guard state.liveCount < state.target else { break }
            openings.append(open(seat, &state))
        }
        return openings
    }

    /// Starts workers, without the lock: the zygote may take its time, or be stopped.
    ///
    /// - Throws: Why one could not be started; then those after it were not, either.
    func start(_ openings: [Opening]) throws(SharedStateError) {
        for (index, opening) in openings.enumerated() {
            do throws(SharedStateError) {
                seat(try start(opening), opening)
            } catch {
                state.withLock { for left in openings[index...] { vacate(left, &$0) } }
                throw error
            }
        }
    }

    /// Starts workers on another thread, as nobody who has the lock, or drives, is to wait for that.
    func startLater(_ openings: [Opening], _ state: inout State) {
        guard !openings.isEmpty else { return }
        do throws(SharedStateError) {
            try Offload.run(takesSignals: false) {
                do throws(SharedStateError) {
                    try self.start(openings)
                } catch {
                    self.state.withLock { self.lack(error, &$0) }
                    self.wakeDriver()
                }
            }
        } catch {
            for opening in openings { vacate(opening, &state) }
            lack(error, &state)
        }
    }

    /// A worker could not be started: without any there is nothing to wait for.
    private func lack(_ error: SharedStateError, _ state: inout State) {
        if state.liveCount == 0, !state.isClosed || !state.isIdle { giveUp(&state, error) }
    }

    /// The board lives as long as a worker may store into it: until its end is told.
    private func start(_ opening: Opening) throws(SharedStateError) -> WorkerHandle {
        let request = request(for: opening)
        if orders.isInline {
            return try .startThread(request) { self.threadHasEnded(opening, $0) }
        }
        let options = options.process(seat: opening.seat)
        return .process(
            try Zygote.shared().spawn(payload: request, options: options) { exit in
                self.hasEnded(Exit(seat: opening.seat, number: opening.number, exit: exit))
            })
    }

    private func request(for opening: Opening) -> [UInt8] {
        var request = ByteWriter()
        request.append(byte: WorkerRole.poolWorker.rawValue)
        request.append(fixed: place)
        request.append(fixed: UInt32(opening.seat))
        request.append(fixed: opening.number)
        request.append(fixed: crew.offset)
        orders.encode(into: &request)
        return request.bytes
    }

    private func seat(_ handle: WorkerHandle, _ opening: Opening) {
        let hasSeat = state.withLock { state in
            tell(.began(worker: Int(opening.number), pid: handle.pid))
            state.pids[opening.number] = handle.pid
            if state.pids.count > 4 * workerCount + 64 {
                let oldest = UInt32(2 * workerCount + 32)
                state.pids = state.pids.filter { $0.key + oldest > opening.number }
            }
            guard state.seats[opening.seat]?.number == opening.number else { return false }
            state.seats[opening.seat]?.handle = handle
            return true
        }
        // It has ended already, or all have been ended: then it leaves, as the others without work.
        if !hasSeat { afterGrace { handle.signal(SIGKILL) } }
    }

    private func vacate(_ opening: Opening, _ state: inout State) {
        state.ending.remove(opening.number)
        if state.seats[opening.seat]?.number == opening.number { state.seats[opening.seat] = nil }
    }

    /// On the worker's own thread.
    private func threadHasEnded(_ opening: Opening, _ error: (any Error)?) {
        state.withLock { state in
            vacate(opening, &state)
            tell(.ended(worker: Int(opening.number), nil))
            guard state.failure == nil else { return }
            if let error {
                giveUp(
                    &state,
                    SharedStateError(
                        .workerDied,
                        "a worker's initializer or exit hook threw: \(error); the pool was closed"))
                return
            }
            guard !state.isClosed || !state.isIdle else { return }
            state.isShort = state.liveCount < state.target
            if !state.isIdle || orders.idleTime == 0 { startLater(openSeats(&state), &state) }
        }
        wakeDriver()
    }

    /// On the thread that listens to the zygote.
    func hasEnded(_ exit: Exit) {
        region.reap()
        exits.withLock { $0.append(exit) }
        wakeDriver()
    }

    func takeExits() -> [Exit] {
        exits.withLock { exits in
            defer { exits = [] }
            return exits
        }
    }

    /// Gives what the dead had begun an outcome, the rest to others, and their seats to new ones.
    func bury(_ ended: [Exit], _ state: inout State) {
        for exit in ended {
            var element: UInt32 = 0
            let status = unsafe cshm_board_bury(board, UInt32(exit.seat), &element)
            if status == Answer.wouldWait {
                exits.withLock { $0.append(exit) }
                continue
            }
            state.ending.remove(exit.number)
            state.seats[exit.seat] = nil
            tell(.ended(worker: Int(exit.number), exit.exit.report))
            for batch in state.live {
                while true {
                    let group = unsafe cshm_batch_claimed_by(batch.pointer, exit.number)
                    guard group >= 0 else { break }
                    settle(batch, UInt32(group), exit, named: element)
                }
            }
            replace(exit, &state)
        }
    }

    func settle(_ batch: PostedBatch, _ group: UInt32, _ exit: Exit, named: UInt32) {
        let first = unsafe cshm_batch_begin(batch.pointer, group)
        let end = batch.elements(of: group).upperBound
        var cursor: (UInt64, UInt64) = (0, 0)
        var record = unsafe cshm_record()
        while unsafe nextRecord(batch, group, &cursor, &record) {
            let bytes = unsafe UnsafeRawBufferPointer(
                start: record.data, count: Int(record.length))
            unsafe batch.salvaged[record.element] = (record.kind, Array(bytes), exit.number)
        }
        var from = first
        if named > first, named <= end {
            let element = named - 1
            from = named
            if batch.salvaged[element] == nil {
                let attempts = (batch.attempts[element] ?? 0) + 1
                batch.attempts[element] = attempts
                let verdict = batch.verdicts[group]
                if attempts <= batch.options.retries, verdict == nil {
                    from = element
                } else {
                    batch.losses[element] =
                        verdict
                        ?? .died(exit.exit.report, index: batch.base + Int(element))
                }
            }
        }
        unsafe cshm_board_reopen(board, batch.pointer, group, from)
    }

    func replace(_ exit: Exit, _ state: inout State) {
        guard !state.isClosed || !state.isIdle, state.failure == nil,
            state.liveCount < state.target
        else { return }
        if orders.idleTime > 0, state.isIdle {
            state.isShort = true
            return
        }
        if exit.exit.report.status != .exited(code: 0) { state.deathsInARow += 1 }
        if let text = crew.failure {
            giveUp(
                &state,
                SharedStateError(
                    .workerDied, "a worker's initializer threw: \(text); the pool was closed"))
            return
        }
        guard state.deathsInARow < Self.stormLimit else {
            giveUp(
                &state,
                SharedStateError(
                    .workerDied,
                    "\(state.deathsInARow) workers in a row died without a result, "
                        + "the last of \(exit.exit.report); the pool was closed"))
            return
        }
        startLater([open(exit.seat, &state)], &state)
    }

    /// Fails all that is on its way, under the lock.
    func giveUp(_ state: inout State, _ error: SharedStateError) {
        state.isClosed = true
        if state.failure == nil {
            state.failure = error
            closeIntake(error)
            if error.code != .closed { tell(.closed(error)) }
        }
        for urgency in state.pending.indices {
            while let next = state.pending[urgency].first {
                state.pending[urgency].removeFirst()
                failLater(next.task, error)
            }
        }
        for batch in state.live where batch.task != nil && !batch.isTaken {
            batch.isTaken = true
            state.singles -= 1
            batch.drop()
            let task = batch.task
            retire(batch, &state)
            if let task { failLater(task, error) }
        }
    }

    func pid(of worker: UInt32) -> Int32 {
        state.withLock { $0.pids[worker] ?? 0 }
    }

    /// The process ids of the workers.
    var pids: [Int32] { state.withLock { $0.seats.compactMap { $0?.handle?.pid } } }
}
