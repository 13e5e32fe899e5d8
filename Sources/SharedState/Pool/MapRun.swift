// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Synchronization

/// A map under way, as far as it does not depend on types: batches that are posted, in order, and
/// how large the next one is to be.
///
/// Backpressure: at most ``windowLimit`` batches at a time, each of at most 65,536 elements and 1 MiB,
/// or as many elements as there are workers. What results take that are not plain bits is measured.
///
/// Sendable, unchecked: one thread at a time uses it, which its owner sees to.
@safe
internal final class MapRun: @unchecked Sendable {
    /// A batch and how far its results were taken.
    struct Window {
        let batch: PostedBatch
        /// Groups before it are taken.
        var next: UInt32 = 0
        /// Those after it that are, where order does not matter.
        var taken: Set<UInt32> = []
    }

    private static let windowLimit = 4
    static let byteLimit = 1 << 20
    private static let elementLimit = 65536
    /// How long a group is to take that was not asked to be of some size.
    private static let groupTime = 200_000.0
    /// Elements of the first batches, while nobody knows what a result takes.
    private static let firstLimit = 64

    let core: PoolCore
    let job: Job
    let form: JobForm
    let options: TaskOptions
    let chunk: Int?
    private let strides: (element: Int, result: Int)
    private(set) var windows: [Window] = []
    /// Elements that are posted, so far.
    private(set) var posted = 0
    private var lastCount = 0
    /// Nanoseconds an element, once something is measured.
    private var pace: Double?
    /// Bytes of a result that is not plain bits, once something is measured.
    private var weight: Int?
    private var isOver = false
    /// Set by any thread.
    private let isCancelled = Atomic(false)

    init(
        _ core: PoolCore, _ job: Job, _ form: JobForm, _ options: TaskOptions, chunk: Int?,
        strides: (element: Int, result: Int)
    ) throws(SharedStateError) {
        guard (chunk ?? 1) > 0 else {
            throw SharedStateError(.invalidArgument, "chunkSize is at least 1")
        }
        try core.beginRun()
        self.core = core
        self.job = job
        self.form = form
        self.options = options
        // A deadline is each element's own.
        self.chunk = options.limit == nil ? chunk : 1
        self.strides = strides
    }

    deinit {
        end()
    }

    /// Lets the one that uses it give up; from any thread.
    func cancel() {
        isCancelled.store(true, ordering: .releasing)
        core.ring()
    }

    /// Gives up what is not done.
    ///
    /// - Parameter isLate: Whether what runs is ended, as it is when the map was cancelled.
    func end(isLate: Bool = false) {
        guard !isOver else { return }
        isOver = true
        let isFinal = isLate || isCancelled.load(ordering: .acquiring)
        core.abandon(windows.map(\.batch), isFinal: isFinal)
        windows = []
        core.endRun()
    }

    // MARK: Posting

    var hasRoom: Bool {
        let isMeasured = chunk == nil ? pace != nil : form.resultsAreBits || weight != nil
        return windows.count < (isMeasured ? Self.windowLimit : 2)
    }

    /// Elements that a batch may have.
    private var most: Int {
        let bytes = max(strides.element + max(strides.result, weight ?? 0), 1)
        let fit = max(core.workerCount, min(Self.elementLimit, Self.byteLimit / bytes))
        guard !form.resultsAreBits else { return fit }
        return min(fit, max(core.workerCount, weight == nil ? Self.firstLimit : 16 * lastCount))
    }

    /// Elements of the next batch, and of each of its groups; `remaining` is how many there still
    /// are, if that is known.
    func nextSize(remaining: Int?) -> (count: Int, group: Int) {
        let most = most
        if let chunk {
            let group = min(chunk, Int(CSHM_BATCH_MAX))
            let groups = max(1, most / group)
            return (min(group * groups, remaining.map { max($0, 1) } ?? .max), group)
        }
        let workers = core.workerCount
        guard let pace else { return (min(2 * workers, max(1, remaining ?? .max)), 1) }
        // Four groups for each worker, so that one that is late does not hold up the others.
        let fair = remaining.map { max(1, $0 / (4 * workers)) } ?? .max
        let wanted = Int(min(Self.groupTime / max(pace, 0.1), Double(most)))
        let growth = max(1, 16 * lastCount / (4 * workers))
        let group = max(1, min(wanted, fair, growth, max(1, most / (4 * workers))))
        return (min(group * 4 * workers, most, max(1, remaining ?? .max)), group)
    }

    /// Makes a batch; `nil` if the board is full.
    func draft(
        count: Int, group: Int, inputSize: Int, resultSize: Int
    ) throws(SharedStateError) -> UnsafeMutablePointer<cshm_batch>? {
        var shape = cshm_batch_shape()
        shape.job = job.offset
        shape.tag = form.tag
        shape.count = UInt32(count)
        shape.group = UInt32(group)
        shape.input_size = UInt64(inputSize)
        shape.output_size = UInt64(resultSize)
        shape.sheet = form.resultsAreBits || count > 4096 ? 0 : 256
        shape.urgency = options.urgency.rawValue
        shape.timed = chunk == nil || options.limit != nil ? 1 : 0
        return try unsafe core.draft(shape)
    }

    func post(
        _ draft: UnsafeMutablePointer<cshm_batch>, count: Int, _ departure: Departure? = nil
    ) {
        unsafe cshm_batch_shorten(draft, UInt32(count))
        let batch = unsafe PostedBatch(
            draft, job: job, options: options, task: nil, base: posted, departure: departure)
        posted += count
        lastCount = count
        windows.append(Window(batch: batch))
        core.post(batch)
    }

    // MARK: Taking

    /// Why there is nothing more to wait for, if that is so.
    private var whyNot: SharedStateError? {
        if isCancelled.load(ordering: .acquiring) {
            return SharedStateError(.closed, "the map was cancelled")
        }
        return core.failure
    }

    /// Waits until the oldest batch is done, all of it.
    func awaitOldest(until deadline: Int64) throws(SharedStateError) -> PostedBatch? {
        guard let window = windows.first else { return nil }
        let core = core
        try core.drive(until: deadline) {
            core.expect(window.batch) || self.whyNot != nil
        }
        if let whyNot, !window.batch.isReady { throw whyNot }
        return window.batch
    }

    /// The next group that is done, in order or of any.
    ///
    /// - Returns: `nil` if nothing is posted.
    func awaitGroup(
        until deadline: Int64, inOrder: Bool
    ) throws(SharedStateError) -> (batch: PostedBatch, group: UInt32)? {
        guard !windows.isEmpty else { return nil }
        var found: (window: Int, group: UInt32)?
        let core = core
        try core.drive(until: deadline) {
            found = self.doneGroup(inOrder: inOrder)
            return found != nil || self.whyNot != nil
        }
        guard let found else {
            throw whyNot ?? SharedStateError(.closed, "the pool was terminated")
        }
        return (windows[found.window].batch, found.group)
    }

    /// Whether ``awaitGroup(until:inOrder:)`` would not wait.
    func hasGroup(inOrder: Bool) -> Bool { doneGroup(inOrder: inOrder) != nil }

    private func doneGroup(inOrder: Bool) -> (window: Int, group: UInt32)? {
        for (index, window) in windows.enumerated() {
            if inOrder {
                return core.expect(window.batch, window.next) ? (index, window.next) : nil
            }
            for group in window.next..<window.batch.groups where !window.taken.contains(group) {
                if window.batch.state(of: group).phase >= Int32(CSHM_GROUP_DONE) {
                    return (index, group)
                }
            }
        }
        return nil
    }

    /// A group's results were taken; the batch is given back with its last.
    func release(_ batch: PostedBatch, _ group: UInt32) {
        guard let index = windows.firstIndex(where: { $0.batch === batch }) else { return }
        windows[index].taken.insert(group)
        while windows[index].taken.remove(windows[index].next) != nil {
            windows[index].next += 1
        }
        if windows[index].next == batch.groups { retire(at: index) }
    }

    /// All of the oldest batch was taken.
    func releaseOldest() {
        retire(at: 0)
    }

    private func retire(at index: Int) {
        let batch = windows.remove(at: index).batch
        if chunk == nil {
            let measured = Double(unsafe cshm_batch_elapsed(batch.pointer)) / Double(batch.count)
            pace = pace.map { ($0 + measured) / 2 } ?? measured
        }
        if !form.resultsAreBits {
            let bytes = min(unsafe cshm_batch_recorded(batch.pointer), UInt64(Self.byteLimit) << 16)
            // Large ones are remembered for a while.
            weight = max(Int(bytes) / Int(batch.count), (weight ?? 0) / 2)
        }
        core.retire(batch)
    }
}
