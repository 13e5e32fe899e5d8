// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// Single tasks whose callers wait: no future, no other thread.
///
/// The caller counts as a driver from the task's post to its end, and looks at the task's own word
/// for as long as a hot worker may need; only then does it drive. One with a deadline is a future's,
/// as it is to fail at its deadline, whether or not its worker goes on.
extension PoolCore {
    /// Posts a task for a caller who waits for it, drives the pool and ends it.
    ///
    /// - Returns: `nil` if it has a deadline, others come first, or the board is full.
    func call(
        _ job: Job, _ form: JobForm, _ options: TaskOptions, _ input: ByteWriter
    ) throws(SharedStateError) -> PostedBatch? {
        guard options.limit == nil else { return nil }
        return try state.withLock { (state) throws(SharedStateError) -> PostedBatch? in
            try state.checkOpen()
            if state.isShort { startLater(openSeats(&state), &state) }
            guard state.pending[Int(options.urgency.rawValue)].isEmpty,
                unsafe cshm_board_room(board) > Self.reserve,
                let batch = try post(job, form, options, nil, input, &state)
            else { return nil }
            state.runs += 1
            state.drivers += 1
            return batch
        }
    }

    /// Waits until a task that was posted by `call` is done; from then on it is the caller's alone.
    func wait(for batch: PostedBatch) throws(SharedStateError) {
        if unsafe cshm_batch_spin(board, batch.pointer) == 0 { try driveUntilReady(batch) }
        state.withLock { _ in batch.isTaken = true }
    }

    func driveUntilReady(_ batch: PostedBatch) throws(SharedStateError) {
        var failure: SharedStateError?
        try drive(until: .max) {
            if batch.isReady { return true }
            failure = self.failure
            return failure != nil
        }
        if let failure { throw failure }
    }

    /// Gives back a task that was posted by `call`, done or not, and drives no more.
    func end(_ batch: PostedBatch) {
        leave(hasOthers: release(batch))
    }

    /// Drives no more, while the caller still has the task.
    func leave(hasOthers: Bool) {
        // It may not have driven, and nobody else did meanwhile.
        if hasOthers { pump() }
        stopDriving()
        ring()
    }

    /// Gives back a task that was posted by `call`, done or not.
    ///
    /// - Returns: Whether others are on their way.
    func release(_ batch: PostedBatch) -> Bool {
        batch.drop()
        return state.withLock { state in
            if batch.losses.isEmpty { state.deathsInARow = 0 }
            retire(batch, &state)
            state.runs -= 1
            letGo(&state)
            return state.hasWork
        }
    }
}
