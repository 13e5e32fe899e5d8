// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// Workers: their start, their end, what they leave.
extension PoolCore {
    func startWorker(in seat: Int, _ state: inout State) throws(SharedStateError) {
        let number = state.nextNumber
        state.nextNumber += 1
        unsafe cshm_board_seat(board, UInt32(seat), number)
        var request = ByteWriter()
        request.append(byte: WorkerRole.poolWorker.rawValue)
        request.append(fixed: place)
        request.append(fixed: UInt32(seat))
        request.append(fixed: number)
        request.append(fixed: crew.offset)
        orders.encode(into: &request)
        crew.seat(number, in: seat)
        state.seats[seat] = Worker(number: number)
        do throws(SharedStateError) {
            let handle = try start(request.bytes, number, in: seat)
            state.seats[seat]?.handle = handle
            state.pids[number] = handle.pid
            if state.pids.count > 4 * workerCount + 64 {
                state.pids = state.pids.filter { $0.key + UInt32(2 * workerCount + 32) > number }
            }
        } catch {
            state.seats[seat] = nil
            throw error
        }
    }

    /// The board lives as long as a worker may store into it: until its end is told.
    private func start(
        _ request: [UInt8], _ number: UInt32, in seat: Int
    ) throws(SharedStateError) -> WorkerHandle {
        if orders.isInline {
            return try .startThread(request) { self.threadHasEnded(number, in: seat, $0) }
        }
        let options = options.process(seat: seat)
        return .process(
            try Zygote.shared().spawn(payload: request, options: options) { exit in
                self.hasEnded(Exit(seat: seat, number: number, exit: exit))
            })
    }

    /// Starts workers until there are as many as there are to be.
    func fillSeats(_ state: inout State) throws(SharedStateError) {
        state.isShort = false
        for seat in state.seats.indices where state.seats[seat] == nil {
            guard state.liveCount < state.target else { return }
            try startWorker(in: seat, &state)
        }
    }

    /// On the worker's own thread.
    private func threadHasEnded(_ number: UInt32, in seat: Int, _ error: (any Error)?) {
        state.withLock { state in
            if state.seats[seat]?.number == number { state.seats[seat] = nil }
            guard state.failure == nil else { return }
            do throws(SharedStateError) {
                if let error {
                    throw SharedStateError(
                        .workerDied,
                        "a worker's initializer or exit hook threw: \(error); the pool was closed")
                }
                guard !state.isClosed || !state.isIdle else { return }
                state.isShort = state.liveCount < state.target
                if !state.isIdle || orders.idleTime == 0 { try fillSeats(&state) }
            } catch {
                giveUp(&state, error)
            }
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
            state.seats[exit.seat] = nil
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
        do throws(SharedStateError) {
            guard state.deathsInARow < Self.stormLimit else {
                throw SharedStateError(
                    .workerDied,
                    "\(state.deathsInARow) workers in a row died without a result, "
                        + "the last of \(exit.exit.report); the pool was closed")
            }
            try startWorker(in: exit.seat, &state)
        } catch {
            if state.deathsInARow >= Self.stormLimit || state.seats.allSatisfy({ $0 == nil }) {
                giveUp(&state, error)
            }
        }
    }

    /// Fails all that is on its way, under the lock.
    func giveUp(_ state: inout State, _ error: SharedStateError) {
        state.isClosed = true
        if state.failure == nil { state.failure = error }
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
