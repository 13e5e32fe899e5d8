// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// One task that is not part of a map, and who is told how it went.
internal final class SingleTask: Sendable {
    @safe
    enum Outcome {
        /// A record of the worker's; its bytes are valid until the receiver returns.
        case record(RecordKind, UnsafeRawBufferPointer, pid: Int32)
        case failed(SharedStateError)
    }

    let job: Job
    let form: JobForm
    let options: TaskOptions
    private let departure: Departure?
    private let tell: @Sendable (consuming Outcome) -> Void

    /// - Parameters:
    ///   - job: Its function.
    ///   - form: How that is called.
    ///   - options: Urgency, retries, deadline.
    ///   - departure: Of its arguments.
    ///   - tell: Called once, without a lock held.
    init(
        job: Job, form: JobForm, options: TaskOptions, departure: Departure? = nil,
        tell: @escaping @Sendable (consuming Outcome) -> Void
    ) {
        self.job = job
        self.form = form
        self.options = options
        self.departure = departure
        self.tell = tell
    }

    /// It is done, or will never be; called once, without a lock held.
    func complete(_ outcome: consuming Outcome) {
        departure?.takeBack()
        tell(outcome)
    }
}

/// A batch on the board, and what became of those of its elements whose worker died.
///
/// Sendable, unchecked: what can change is read and written under the pool's lock only.
@safe
internal final class PostedBatch: @unchecked Sendable {
    let pointer: UnsafeMutablePointer<cshm_batch>
    let job: Job
    let options: TaskOptions
    /// The task that it is, if it is one.
    let task: SingleTask?
    /// The index of its first element in the call.
    let base: Int
    /// Of its elements: what no worker received is taken back at its end.
    private let departure: Departure?
    /// Where it stands in the pool's list.
    var index = 0
    /// It is one task, which may have a caller who waits instead of ``task``.
    var isSingle = false
    /// A driver has it, to tell its task; or the caller.
    var isTaken = false
    /// Why it was dropped before anybody began it.
    var verdict: SharedStateError?
    /// Why groups of it are stopped that workers run.
    var verdicts: [UInt32: SharedStateError] = [:]
    /// Elements that failed with their worker.
    var losses: [UInt32: SharedStateError] = [:]
    /// How often elements were begun whose worker died.
    var attempts: [UInt32: Int] = [:]
    /// Records of workers that died later.
    var salvaged: [UInt32: (kind: UInt32, bytes: [UInt8], worker: UInt32)] = [:]

    init(
        _ pointer: UnsafeMutablePointer<cshm_batch>, job: Job, options: TaskOptions,
        task: SingleTask?, base: Int, departure: Departure? = nil
    ) {
        unsafe self.pointer = pointer
        self.job = job
        self.options = options
        self.task = task
        self.base = base
        self.departure = departure
    }

    /// Nothing was lost or stopped.
    var isIntact: Bool { losses.isEmpty && salvaged.isEmpty && verdicts.isEmpty }

    var groups: UInt32 { unsafe pointer.pointee.groups }
    var group: UInt32 { unsafe pointer.pointee.group }
    var count: UInt32 { unsafe pointer.pointee.count }

    func state(of group: UInt32) -> (phase: Int32, worker: UInt32) {
        var worker: UInt32 = 0
        let phase = unsafe cshm_batch_state(pointer, group, &worker)
        return (phase, worker)
    }

    /// Whether all of it is done.
    var isReady: Bool { unsafe cshm_batch_ready(pointer, 0) == groups }

    /// The elements of a group.
    func elements(of group: UInt32) -> Range<UInt32> {
        let first = group * self.group
        return first..<min(first + self.group, count)
    }

    /// Takes away all groups that nobody has begun.
    func drop() {
        for group in 0..<groups { _ = unsafe cshm_batch_drop(pointer, group) }
    }
}
