// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// Whoever waits drives; else the pool's own thread does.
extension PoolCore {
    /// Drives the pool until `isDone`.
    func drive(until deadline: Int64, _ isDone: () -> Bool) throws(SharedStateError) {
        state.withLock { $0.drivers += 1 }
        let status = rest(until: deadline) {
            pump()
            return isDone() ? 0 : Answer.wouldWait
        }
        stopDriving()
        try check(status, "cshm_board_await")
    }

    /// Leaves what is still to be done to the other drivers, or to the pool's own thread.
    func stopDriving() {
        state.withLock { $0.drivers -= 1 }
        if mustCollect { wakeCollector() }
    }

    func rest(until deadline: Int64, _ attempt: () -> Int32) -> Int32 {
        withoutActuallyEscaping(attempt) { attempt in
            var attempt = attempt
            return unsafe withUnsafeMutablePointer(to: &attempt) { attempt in
                unsafe cshm_board_await(
                    board,
                    { context in
                        guard let context = unsafe context else { return 0 }
                        return unsafe context.assumingMemoryBound(to: (() -> Int32).self).pointee()
                    }, attempt, deadline)
            }
        }
    }

    /// Makes drivers look again.
    func ring() {
        unsafe cshm_board_ring(board)
    }

    /// Buries the dead, tells tasks that are done, and posts what there is room for.
    func pump() {
        let taken = state.withLock { state -> [PostedBatch] in
            bury(takeExits(), &state)
            if state.limited > 0 { for batch in state.live { enforceLimit(batch, &state) } }
            return state.singles == 0 ? [] : takeDone(&state)
        }
        guard !taken.isEmpty else {
            state.withLock { if !$0.isIdle { postPending(&$0) } }
            return
        }
        bring {
            for batch in taken { batch.task?.complete(outcome(of: batch)) }
        }
        let others = state.withLock { state in
            for batch in taken { retire(batch, &state) }
            postPending(&state)
            letGo(&state)
            return state.drivers > 1
        }
        if others { ring() }
    }

    func takeDone(_ state: inout State) -> [PostedBatch] {
        var taken: [PostedBatch] = []
        for batch in state.live where batch.task != nil && !batch.isTaken {
            let phase = batch.state(of: 0).phase
            guard phase >= Int32(CSHM_GROUP_DONE) else { continue }
            batch.isTaken = true
            state.singles -= 1
            if phase == Int32(CSHM_GROUP_DONE), batch.losses.isEmpty { state.deathsInARow = 0 }
            taken.append(batch)
        }
        return taken
    }

    func wakeDriver() {
        ring()
        wakeCollector()
    }

    func wakeCollector() {
        collector.wake { [weak self] in
            guard let self else { return }
            self.collect()
        }
    }

    /// Drives while there is something to drive and nobody else does.
    func collect() {
        guard mustCollect else { return }
        let limits = state.withLock { $0.limited > 0 }
        let deadline = limits ? cshm_now_ns() + 10_000_000 : Int64.max
        _ = rest(until: deadline) {
            pump()
            return mustCollect ? Answer.wouldWait : 0
        }
        if mustCollect { wakeCollector() }
    }

    var mustCollect: Bool {
        let ended = exits.withLock { !$0.isEmpty }
        return state.withLock { $0.drivers == 0 && ($0.hasWork || ended) }
    }
}
