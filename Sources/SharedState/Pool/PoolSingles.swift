// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// Single tasks: pending, posted, done, taken back.
extension PoolCore {
    /// Takes a task; `input` is what the worker decodes.
    ///
    /// The caller says whether it is about to drive.
    func submit(
        _ task: SingleTask, _ input: ByteWriter, isAwaited: Bool
    ) throws(SharedStateError) {
        let mustWake = try state.withLock { (state) throws(SharedStateError) -> Bool in
            try state.checkOpen()
            if state.isShort { startLater(openSeats(&state), &state) }
            let urgency = Int(task.options.urgency.rawValue)
            if state.pending[urgency].isEmpty,
                unsafe cshm_board_room(board) > Self.reserve,
                try postIfRoom(task, input, &state)
            {
                return !isAwaited && state.drivers == 0
            }
            state.pending[urgency].append(Pending(task: task, input: input))
            return !isAwaited && state.drivers == 0
        }
        if mustWake { wakeCollector() }
    }

    /// - Returns: `false` if there may be memory for it when something that is posted is done.
    private func postIfRoom(
        _ task: SingleTask, _ input: ByteWriter, _ state: inout State
    ) throws(SharedStateError) -> Bool {
        do throws(SharedStateError) {
            try post(task, input, &state)
            return true
        } catch {
            guard error.code == .full, !state.live.isEmpty else { throw error }
            return false
        }
    }

    func post(
        _ task: SingleTask, _ input: ByteWriter, _ state: inout State
    ) throws(SharedStateError) {
        _ = try post(task.job, task.form, task.options, task, input, &state)
        state.singles += 1
    }

    /// `task` is told of the outcome; it is `nil` if a caller waits for it.
    func post(
        _ job: Job, _ form: JobForm, _ options: TaskOptions, _ task: SingleTask?,
        _ input: ByteWriter, _ state: inout State
    ) throws(SharedStateError) -> PostedBatch? {
        var shape = cshm_batch_shape()
        shape.job = job.offset
        shape.tag = form.tag
        shape.count = 1
        shape.group = 1
        shape.input_size = UInt64(input.count)
        shape.sheet = 96
        shape.urgency = options.urgency.rawValue
        shape.timed = options.limit == nil ? 0 : 1
        var made: UnsafeMutablePointer<cshm_batch>?
        try unsafe check(cshm_board_draft(board, &shape, &made), "cshm_board_draft", "a task")
        guard let made = unsafe made else { return nil }
        unsafe input.copy(to: made.pointee.input)
        let batch = unsafe PostedBatch(made, job: job, options: options, task: task, base: 0)
        batch.isSingle = true
        add(batch, &state)
        unsafe cshm_board_post(board, made)
        return batch
    }

    /// As many pending tasks as there is room for.
    func postPending(_ state: inout State) {
        for urgency in state.pending.indices {
            while let next = state.pending[urgency].first {
                guard unsafe cshm_board_room(board) > Self.reserve else { return }
                do throws(SharedStateError) {
                    try post(next.task, next.input, &state)
                    state.pending[urgency].removeFirst()
                } catch {
                    // No memory: when some task is done there may be; if none is there, never.
                    if !state.live.isEmpty { return }
                    state.pending[urgency].removeFirst()
                    failLater(next.task, error)
                }
            }
        }
    }

    /// Of a single task that is done; valid until it is retired.
    func outcome(of batch: PostedBatch) -> SingleTask.Outcome {
        if let loss = batch.losses[0] { return .failed(loss) }
        if let verdict = batch.verdict, batch.state(of: 0).phase != Int32(CSHM_GROUP_DONE) {
            return .failed(verdict)
        }
        if let record = batch.salvaged[0] {
            // Its bytes live as long as the batch.
            return unsafe record.bytes.withUnsafeBytes { bytes in
                unsafe .record(RecordKind(rawValue: record.kind) ?? .thrown, bytes, pid: 0)
            }
        }
        var cursor: (UInt64, UInt64) = (0, 0)
        var record = unsafe cshm_record()
        let found = unsafe nextRecord(batch, 0, &cursor, &record)
        guard found else {
            return .failed(SharedStateError(.incompatible, "a task's result is damaged"))
        }
        let kind = RecordKind(rawValue: unsafe record.kind) ?? .thrown
        let pid = kind == .value ? 0 : pid(of: batch.state(of: 0).worker)
        return unsafe .record(
            kind, UnsafeRawBufferPointer(start: record.data, count: Int(record.length)), pid: pid)
    }

    /// Tells a task of its failure, on another thread, as a lock is held.
    func failLater(_ task: SingleTask, _ error: SharedStateError) {
        collector.add { self.bring { task.complete(.failed(error)) } }
        wakeCollector()
    }

    /// Takes a task back, or away from the worker that runs it.
    ///
    /// - Returns: Whether it was not done before.
    func cancel(_ task: SingleTask, _ error: SharedStateError, kill: Bool) -> Bool {
        let (found, pending) = state.withLock { state -> (Bool, Bool) in
            for urgency in state.pending.indices
            where state.pending[urgency].remove(where: { $0.task === task }) {
                return (true, true)
            }
            guard let batch = state.live.first(where: { $0.task === task && !$0.isTaken }) else {
                return (false, false)
            }
            if batch.verdict != nil { return (true, false) }
            batch.verdict = error
            if unsafe cshm_batch_drop(batch.pointer, 0) == 0 { return (true, false) }
            let (phase, worker) = batch.state(of: 0)
            batch.verdict = nil
            guard kill, phase == Int32(CSHM_GROUP_CLAIMED) else { return (false, false) }
            giveUp(batch, worker, &state)
            return (true, true)
        }
        if pending { task.complete(.failed(error)) }
        if found { wakeDriver() }
        return found
    }

    /// Fails tasks that nobody has begun.
    func cancelPending() {
        let error = SharedStateError(.closed, "the task was cancelled")
        state.withLock { state in
            for urgency in state.pending.indices {
                while let next = state.pending[urgency].first {
                    state.pending[urgency].removeFirst()
                    failLater(next.task, error)
                }
            }
            for batch in state.live where batch.isSingle && !batch.isTaken {
                batch.verdict = error
                if unsafe cshm_batch_drop(batch.pointer, 0) != 0 { batch.verdict = nil }
            }
        }
        wakeDriver()
    }

    /// Whether a worker runs it.
    func isRunning(_ task: SingleTask) -> Bool {
        state.withLock { state in
            state.live.contains {
                $0.task === task && $0.state(of: 0).phase == Int32(CSHM_GROUP_CLAIMED)
            }
        }
    }

    /// Gives up a task that a worker runs, which is to stop; it is the caller's to tell of it.
    func giveUp(_ batch: PostedBatch, _ worker: UInt32, _ state: inout State) {
        stop(worker, at: batch, 0, state)
        batch.isTaken = true
        state.singles -= 1
        retire(batch, &state)
        letGo(&state)
    }

    /// Stops a task that has run for too long.
    func enforceLimit(_ batch: PostedBatch, _ state: inout State) {
        guard let limit = batch.options.limit else { return }
        for group in 0..<batch.groups {
            let (phase, worker) = batch.state(of: group)
            guard phase == Int32(CSHM_GROUP_CLAIMED), batch.verdicts[group] == nil,
                let seat = state.seats.firstIndex(where: { $0?.number == worker }),
                unsafe cshm_board_claimed_for(board, UInt32(seat)) > limit
            else { continue }
            let error = SharedStateError(
                .timedOut, "the task ran for longer than its deadline of \(limit) ns allows")
            guard let task = batch.task else {
                batch.verdicts[group] = error
                stop(worker, at: batch, group, state)
                continue
            }
            guard !batch.isTaken else { continue }
            giveUp(batch, worker, &state)
            failLater(task, error)
        }
    }
}
