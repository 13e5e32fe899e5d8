// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// Batches on the board, and the maps that they are of.
extension PoolCore {
    /// Makes a batch of a map, or nothing if the board is full.
    func draft(
        _ shape: cshm_batch_shape
    ) throws(SharedStateError) -> UnsafeMutablePointer<cshm_batch>? {
        try unsafe state.withLock { state throws(SharedStateError) in
            if let failure = state.failure { throw failure }
            if state.isShort { startLater(openSeats(&state), &state) }
            var shape = shape
            var made: UnsafeMutablePointer<cshm_batch>?
            let status = unsafe cshm_board_draft(board, &shape, &made)
            if status == Answer.wouldWait { return nil }
            try check(status, "cshm_board_draft", "elements of a map")
            nonisolated(unsafe) let batch = unsafe made
            return unsafe batch
        }
    }

    /// Posts a batch of a map.
    func post(_ batch: PostedBatch) {
        state.withLock { state in
            add(batch, &state)
            unsafe cshm_board_post(board, batch.pointer)
        }
    }

    /// Whether all of a batch is done; if not, a driver is woken for that and not for each group.
    func expect(_ batch: PostedBatch) -> Bool {
        unsafe cshm_batch_expect_all(board, batch.pointer) == 1
    }

    /// The same of one group.
    func expect(_ batch: PostedBatch, _ group: UInt32) -> Bool {
        unsafe cshm_batch_expect(board, batch.pointer, group) == 1
    }

    func add(_ batch: PostedBatch, _ state: inout State) {
        batch.index = state.live.count
        if batch.options.limit != nil { state.limited += 1 }
        state.live.append(batch)
    }

    func retire(_ batch: PostedBatch, _ state: inout State) {
        if batch.options.limit != nil { state.limited -= 1 }
        let last = state.live.removeLast()
        if last !== batch {
            state.live[batch.index] = last
            last.index = batch.index
        }
        unsafe cshm_board_retire(board, batch.pointer)
    }

    func retire(_ batch: PostedBatch) {
        state.withLock { retire(batch, &$0) }
    }

    /// Gives up a draft.
    func discard(_ draft: UnsafeMutablePointer<cshm_batch>) {
        state.withLock { _ in unsafe cshm_board_retire(board, draft) }
    }

    /// Gives up a map's batches; what is running is cancelled.
    ///
    /// - Parameters:
    ///   - batches: All that it has posted.
    ///   - isFinal: Whether to end workers that go on with it.
    func abandon(_ batches: [PostedBatch], isFinal: Bool) {
        state.withLock { state in
            for batch in batches {
                batch.drop()
                for group in 0..<batch.groups {
                    let (phase, worker) = batch.state(of: group)
                    if phase == Int32(CSHM_GROUP_CLAIMED) {
                        stop(worker, at: batch, group, isFinal: isFinal, state)
                    }
                }
                retire(batch, &state)
            }
        }
    }

    /// The next record of a group; `cursor` begins with zeroes.
    func nextRecord(
        _ batch: PostedBatch, _ group: UInt32, _ cursor: inout (UInt64, UInt64),
        _ record: inout cshm_record
    ) -> Bool {
        unsafe withUnsafeMutablePointer(to: &cursor) { cursor in
            unsafe cursor.withMemoryRebound(to: UInt64.self, capacity: 2) { cursor in
                unsafe cshm_batch_record(board, batch.pointer, group, cursor, &record) == 1
            }
        }
    }

    /// A map begins; throws if the pool takes no more.
    func beginRun() throws(SharedStateError) {
        try state.withLock { (state) throws(SharedStateError) in
            try state.checkOpen()
            state.runs += 1
        }
    }

    func endRun() {
        state.withLock { state in
            state.runs -= 1
            letGo(&state)
        }
        ring()
    }

    /// Looks at what a dead worker left of a batch, under the pool's lock.
    func withLosses<Result>(
        of batch: PostedBatch, _ body: (PostedBatch) throws -> sending Result
    ) rethrows -> sending Result {
        try state.withLock { state in
            if batch.losses.isEmpty { state.deathsInARow = 0 }
            return try body(batch)
        }
    }
}
