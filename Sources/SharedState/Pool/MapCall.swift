// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A map under way, with its types: puts elements in, takes results out, in order.
@safe
@usableFromInline
internal final class MapCall<Element: Sendable, Output: Sendable>: @unchecked Sendable {
    // Sendable, unchecked: one thread at a time uses it, which its owner sees to.
    private let run: MapRun
    private let elementStride: Int?
    private let encode: (Element, inout ByteWriter) throws -> Void
    private let result: TransferPlan<Output>
    private let deadline: Int64
    private var open: UnsafeMutablePointer<cshm_batch>?
    /// How many elements there still may be, if that is known.
    @usableFromInline internal var remaining: Int?
    @usableFromInline internal var finished = 0

    internal init(
        _ core: PoolCore, _ job: Job, elementStride: Int?,
        encode: @escaping (Element, inout ByteWriter) throws -> Void, _ options: TaskOptions,
        chunk: Int?, timeout: Duration?
    ) throws(SharedStateError) {
        self.elementStride = elementStride
        self.encode = encode
        result = try TransferPlan<Output>.plan(for: Output.self)
        deadline = SharedState.deadline(after: timeout)
        var form = JobForm(kind: .map)
        form.elementsAreBits = elementStride != nil
        form.resultsAreBits = result.isBits
        form.retries = UInt8(clamping: options.retries)
        run = try MapRun(
            core, job, form, try options.checked(), chunk: chunk,
            strides: (elementStride ?? 64, result.stride ?? 64))
    }

    internal convenience init(
        _ core: PoolCore, _ site: MapSite<Element>, _ options: TaskOptions, chunk: Int?,
        timeout: Duration?
    ) throws(SharedStateError) {
        let plan = site.element
        try self.init(
            core, site.job, elementStride: plan.stride, encode: { try plan.encode($0, into: &$1) },
            options, chunk: chunk, timeout: timeout)
    }

    @usableFromInline internal var elementsAreBits: Bool { elementStride != nil }

    /// Lets the one that uses it give up, with a `CancellationError`; from any thread.
    internal func cancel() {
        run.cancel()
    }

    /// Gives up what is not done.
    @usableFromInline
    internal func end() {
        if let draft = unsafe open { unsafe run.core.discard(draft) }
        unsafe open = nil
        run.end(isLate: deadline != .max && cshm_now_ns() >= deadline)
    }

    // MARK: Elements

    /// Room for the next elements, side by side; `nil` while there is enough under way.
    @usableFromInline
    internal func room() throws -> UnsafeMutableBufferPointer<Element>? {
        guard run.hasRoom else { return nil }
        let (count, group) = run.nextSize(remaining: remaining)
        guard
            let draft = try unsafe run.draft(
                count: count, group: group, inputSize: count * MemoryLayout<Element>.stride,
                resultSize: count * (result.stride ?? 0))
        else {
            if run.windows.isEmpty { try waitForBoard() }
            return nil
        }
        unsafe open = draft
        return unsafe UnsafeMutableBufferPointer(
            start: draft.pointee.input.assumingMemoryBound(to: Element.self), count: count)
    }

    /// The room holds so many elements.
    @usableFromInline
    internal func post(_ count: Int) {
        guard let draft = unsafe open else { return }
        unsafe open = nil
        if count == 0 {
            unsafe run.core.discard(draft)
        } else {
            unsafe run.post(draft, count: count)
            reckon(count)
        }
    }

    /// An estimate that is used up says nothing more.
    private func reckon(_ count: Int) {
        if let left = remaining { remaining = left > count ? left - count : nil }
    }

    /// Posts elements that are not plain bits, as long as there is room.
    ///
    /// - Returns: Whether there are more.
    @usableFromInline
    internal func postEncoded(_ next: () -> Element?) throws -> Bool {
        while run.hasRoom {
            let (count, group) = run.nextSize(remaining: remaining)
            var writer = ByteWriter()
            var ends: [UInt64] = []
            let (isOver, departure) = try Departure.begin {
                while ends.count < count,
                    writer.bytes.count < MapRun.byteLimit || ends.count < run.core.workerCount
                {
                    guard let value = next() else { return true }
                    try encode(value, &writer)
                    ends.append(UInt64(writer.bytes.count))
                }
                return false
            }
            if !ends.isEmpty {
                let input = TaskInput(writer: writer, departure: departure)
                try postEncoded(ends, input, group: group)
            }
            if isOver { return false }
        }
        return true
    }

    private func postEncoded(_ ends: [UInt64], _ elements: TaskInput, group: Int) throws {
        let bytes = elements.writer.bytes
        let table = 8 * (ends.count + 1)
        while true {
            let draft = try unsafe run.draft(
                count: ends.count, group: min(group, ends.count), inputSize: table + bytes.count,
                resultSize: ends.count * (result.stride ?? 0))
            guard let draft = unsafe draft else {
                try waitForBoard()
                continue
            }
            guard let input = unsafe draft.pointee.input else { return }
            unsafe input.storeBytes(of: UInt64(table), as: UInt64.self)
            for (index, end) in ends.enumerated() {
                unsafe input.storeBytes(
                    of: UInt64(table) + end, toByteOffset: 8 * (index + 1), as: UInt64.self)
            }
            unsafe (input + table).copyMemory(from: bytes, byteCount: bytes.count)
            unsafe run.post(draft, count: ends.count, elements.departure)
            reckon(ends.count)
            return
        }
    }

    /// Other calls have posted all that can be: lets them go on.
    private func waitForBoard() throws {
        try run.core.drive(until: min(deadline, cshm_now_ns() + 1_000_000)) { false }
    }

    // MARK: Results

    /// Waits for the oldest batch, and appends its results.
    ///
    /// - Returns: Whether there was one.
    @usableFromInline
    internal func take(into results: inout [Output]) throws -> Bool {
        guard let batch = try run.awaitOldest(until: deadline) else { return false }
        if result.isBits, try isWhole(batch) {
            let base = unsafe batch.pointer.pointee.output.assumingMemoryBound(to: Output.self)
            unsafe results.append(
                contentsOf: UnsafeBufferPointer(start: base, count: Int(batch.count)))
        } else {
            for group in 0..<batch.groups {
                try outcomes(of: batch, group) { results.append(try $1.get()) }
            }
        }
        finished += Int(batch.count)
        run.releaseOldest()
        return true
    }

    /// Waits for the next group, in order or any, and gives each element's outcome.
    ///
    /// - Returns: Whether there was one.
    internal func takeGroup(
        until deadline: Int64, inOrder: Bool, _ body: (Int, Result<Output, any Error>) -> Void
    ) throws(SharedStateError) -> Bool {
        let next = try run.awaitGroup(until: min(deadline, self.deadline), inOrder: inOrder)
        guard let (batch, group) = next else { return false }
        outcomes(of: batch, group, body)
        finished += batch.elements(of: group).count
        run.release(batch, group)
        return true
    }

    /// Whether ``room()`` or ``postEncoded(_:)`` would post something.
    internal var hasRoom: Bool { run.hasRoom }

    internal func hasGroup(inOrder: Bool) -> Bool { run.hasGroup(inOrder: inOrder) }

    /// Whether all results are in place: nothing was lost, thrown or recorded.
    private func isWhole(_ batch: PostedBatch) throws -> Bool {
        guard run.core.withLosses(of: batch, { $0.isIntact }) else {
            return false
        }
        return unsafe cshm_batch_has_records(batch.pointer) == 0
    }

    private func outcomes(
        of batch: PostedBatch, _ group: UInt32,
        _ body: (Int, Result<Output, any Error>) throws -> Void
    ) rethrows {
        let (losses, salvaged, verdict) = run.core.withLosses(of: batch) {
            ($0.losses, $0.salvaged, $0.verdicts[group])
        }
        var cursor: (UInt64, UInt64) = (0, 0)
        var record = unsafe cshm_record()
        var hasRecord = unsafe run.core.nextRecord(batch, group, &cursor, &record)
        let pid = run.core.pid(of: batch.state(of: group).worker)
        for element in batch.elements(of: group) {
            let index = batch.base + Int(element)
            if let loss = verdict ?? losses[element] {
                try body(index, .failure(loss))
            } else if let kept = salvaged[element] {
                let worker = run.core.pid(of: kept.worker)
                try unsafe kept.bytes.withUnsafeBytes { bytes in
                    try body(index, unsafe outcome(kept.kind, bytes, index, worker))
                }
            } else if hasRecord, unsafe record.element == element {
                let bytes = unsafe UnsafeRawBufferPointer(
                    start: record.data, count: Int(record.length))
                try body(index, unsafe outcome(record.kind, bytes, index, pid))
                hasRecord = unsafe run.core.nextRecord(batch, group, &cursor, &record)
            } else if result.isBits {
                let place = unsafe batch.pointer.pointee.output
                    .assumingMemoryBound(to: Output.self)
                try body(index, .success(unsafe place[Int(element)]))
            } else {
                try body(
                    index, .failure(SharedStateError(.incompatible, "a task's result is damaged")))
            }
        }
    }

    private func outcome(
        _ kind: UInt32, _ bytes: UnsafeRawBufferPointer, _ index: Int, _ pid: Int32
    ) -> Result<Output, any Error> {
        guard kind == RecordKind.value.rawValue else {
            return .failure(unsafe SharedStateError.thrown(bytes, index: index, pid: pid))
        }
        return Result {
            var reader = unsafe ByteReader(bytes)
            return try result.decode(from: &reader)
        }
    }
}
