// SPDX-License-Identifier: Apache-2.0

extension Pool {
    /// Runs `body` on each element, in the workers, and gives the results in order.
    ///
    /// - Parameters:
    ///   - elements: What to run it on.
    ///   - chunkSize: Elements that a worker takes at a time; `nil` chooses by how long they take.
    ///     It changes neither results nor errors.
    ///   - timeout: The longest that all of it may take; `nil` is without limit. What runs when that has
    ///     passed is ended, as what is cancelled is.
    ///   - options: Urgency, retries, deadline of each element.
    ///   - progress: Is told how many elements are done.
    ///   - body: A closure without captures.
    /// - Returns: The results, in the elements' order.
    /// - Throws: `capturesValues`, `cannotCross`, `closed`, `timedOut`; or, for the first element that
    ///   failed, `taskFailed` with the text of the error it threw or `workerDied`. Elements that
    ///   were not begun are then dropped.
    @inlinable
    public func map<Elements: Sequence, Output>(
        _ elements: Elements, chunkSize: Int? = nil, timeout: Duration? = nil,
        options: TaskOptions = TaskOptions(), progress: PoolProgress? = nil,
        _ body: @escaping @Sendable (Elements.Element) throws -> Output
    ) throws -> [Output] where Elements.Element: Sendable, Output: Sendable {
        try gather(elements, beginMap(chunkSize, timeout, options, body), progress)
    }

    /// As `map`, with a value that is sent once for the call and not once for each element.
    ///
    /// - Parameters:
    ///   - elements: What to run it on.
    ///   - state: Given to each call of `body`: plain bits, `Codable`, or a handle.
    ///   - chunkSize: As in `map`.
    ///   - timeout: As in `map`.
    ///   - options: As in `map`.
    ///   - progress: As in `map`.
    ///   - body: A closure without captures.
    /// - Returns: The results, in the elements' order.
    /// - Throws: As `map`.
    @inlinable
    public func map<Elements: Sequence, State: Sendable, Output>(
        _ elements: Elements, with state: State, chunkSize: Int? = nil, timeout: Duration? = nil,
        options: TaskOptions = TaskOptions(), progress: PoolProgress? = nil,
        _ body: @escaping @Sendable (Elements.Element, State) throws -> Output
    ) throws -> [Output] where Elements.Element: Sendable, Output: Sendable {
        try gather(elements, beginMap(chunkSize, timeout, options, state, body), progress)
    }

    /// Runs tasks that are values, and gives their results in order.
    ///
    /// - Parameters:
    ///   - tasks: What to run.
    ///   - chunkSize: As in the other `map`.
    ///   - timeout: As there.
    ///   - options: As there.
    ///   - progress: As there.
    /// - Returns: The results, in the tasks' order.
    /// - Throws: As the other `map`.
    public func map<Tasks: Sequence>(
        _ tasks: Tasks, chunkSize: Int? = nil, timeout: Duration? = nil,
        options: TaskOptions = TaskOptions(), progress: PoolProgress? = nil
    ) throws -> [Tasks.Element.Output] where Tasks.Element: PoolTask {
        let job = try core.job(try FunctionReference(task: Tasks.Element.self).bytes)
        return try gather(
            tasks, MapCall(core, MapSite(job), options, chunk: chunkSize, timeout: timeout),
            progress)
    }

    /// Runs `body` on the first elements of all sequences, on the second ones, and so on, until one
    /// of the sequences ends.
    ///
    /// - Parameters:
    ///   - sequences: What to run it on.
    ///   - chunkSize: As in `map`.
    ///   - timeout: As in `map`.
    ///   - options: As in `map`.
    ///   - body: A closure without captures.
    /// - Returns: The results, in order.
    /// - Throws: As `map`.
    public func starmap<each Elements: Sequence, Output: Sendable>(
        _ sequences: repeat each Elements, chunkSize: Int? = nil, timeout: Duration? = nil,
        options: TaskOptions = TaskOptions(),
        body: @escaping @Sendable (repeat (each Elements).Element) throws -> Output
    ) throws -> [Output] where repeat (each Elements).Element: Sendable {
        let (rows, call) = try beginStarmap(
            repeat each sequences, chunk: chunkSize, timeout, options, body)
        return try gather(rows, call, nil, failure: { rows.failure })
    }

    internal func beginStarmap<each Elements: Sequence, Output: Sendable>(
        _ sequences: repeat each Elements, chunk: Int?, _ timeout: Duration?,
        _ options: TaskOptions,
        _ body: @escaping @Sendable (repeat (each Elements).Element) throws -> Output
    ) throws -> (Rows<repeat each Elements>, MapCall<Row, Output>) {
        let job = try core.job(try FunctionReference(pack: body).bytes)
        let rows = Rows(repeat each sequences)
        try rows.checkThatElementsCanCross()
        let call = try MapCall<Row, Output>(
            core, job, elementStride: nil, encode: { $0.join(into: &$1) }, options, chunk: chunk,
            timeout: timeout)
        return (rows, call)
    }

    // MARK: What the inlined code calls

    @usableFromInline
    internal func beginMap<Element: Sendable, Output: Sendable>(
        _ chunk: Int?, _ timeout: Duration?, _ options: TaskOptions,
        _ body: @escaping @Sendable (Element) throws -> Output
    ) throws -> MapCall<Element, Output> {
        let core = core
        let site = try core.catalog.entry(of: Function1(body: body)) {
            () throws(SharedStateError) in
            try MapSite<Element>(try core.job(try FunctionReference(body).bytes))
        }
        return try MapCall(core, site, options, chunk: chunk, timeout: timeout)
    }

    @usableFromInline
    internal func beginMap<Element: Sendable, State: Sendable, Output: Sendable>(
        _ chunk: Int?, _ timeout: Duration?, _ options: TaskOptions, _ state: State,
        _ body: @escaping @Sendable (Element, State) throws -> Output
    ) throws -> MapCall<Element, Output> {
        let job = try core.job(
            try FunctionReference(body).bytes, broadcast: try broadcast(state))
        return try MapCall(core, try MapSite(job), options, chunk: chunk, timeout: timeout)
    }

    internal func beginMap<Element: Sendable, Output: Sendable>(
        _ chunk: Int?, _ timeout: Duration?, _ options: TaskOptions,
        async body: @escaping @Sendable (Element) async throws -> Output
    ) throws -> MapCall<Element, Output> {
        let job = try core.job(try FunctionReference(async: body).bytes)
        return try MapCall(core, try MapSite(job), options, chunk: chunk, timeout: timeout)
    }

    internal func beginMap<Element: Sendable, State: Sendable, Output: Sendable>(
        _ chunk: Int?, _ timeout: Duration?, _ options: TaskOptions, _ state: State,
        async body: @escaping @Sendable (Element, State) async throws -> Output
    ) throws -> MapCall<Element, Output> {
        let job = try core.job(
            try FunctionReference(async: body).bytes, broadcast: try broadcast(state))
        return try MapCall(core, try MapSite(job), options, chunk: chunk, timeout: timeout)
    }

    private func broadcast<State>(_ state: State) throws -> TaskInput {
        let plan = try TransferPlan<State>.plan(for: State.self)
        var writer = ByteWriter()
        let (_, departure) = try Departure.begin { try plan.encode(state, into: &writer) }
        return TaskInput(writer: writer, departure: departure)
    }

    @inlinable
    internal func gather<Elements: Sequence, Output: Sendable>(
        _ elements: Elements, _ call: MapCall<Elements.Element, Output>,
        _ progress: PoolProgress?, failure: () -> (any Error)? = { nil }
    ) throws -> [Output] where Elements.Element: Sendable {
        let estimate = elements.underestimatedCount
        progress?.begin(total: estimate > 0 ? estimate : nil)
        defer {
            call.end()
            progress?.end()
        }
        call.remaining = estimate > 0 ? estimate : nil
        var results: [Output] = []
        results.reserveCapacity(estimate)
        var iterator = elements.makeIterator()
        var next = iterator.next()
        repeat {
            if call.elementsAreBits {
                while let first = next, let room = try unsafe call.room() {
                    unsafe room.initializeElement(at: 0, to: first)
                    var count = 1
                    next = iterator.next()
                    while let element = next, count < room.count {
                        unsafe room.initializeElement(at: count, to: element)
                        count += 1
                        next = iterator.next()
                    }
                    call.post(count)
                }
            } else if next != nil {
                _ = try call.postEncoded {
                    defer { next = next == nil ? nil : iterator.next() }
                    return next
                }
            }
            if let failure = failure() { throw failure }
            let isOver = try !call.take(into: &results)
            progress?.report(call.finished)
            if isOver, next == nil { return results }
        } while true
    }
}

/// Elements side by side as bytes, on their way.
internal struct Row: Sendable {
    fileprivate let bytes: [UInt8]
    /// Its own, as rows are made before the batch that they will be part of.
    fileprivate let departure: Departure

    fileprivate func join(into writer: inout ByteWriter) {
        writer.append(raw: bytes)
        departure.join()
    }
}

/// Rows of the elements of several sequences; ends with the shortest.
internal final class Rows<each Elements: Sequence>: Sequence, IteratorProtocol {
    private let columns: (repeat Column<each Elements>)
    /// Why it ended early, if it did.
    private(set) var failure: (any Error)?

    init(_ sequences: repeat each Elements) {
        columns = (repeat Column(each sequences))
    }

    func checkThatElementsCanCross() throws(SharedStateError) {
        for column in repeat each columns { try column.checkThatElementsCanCross() }
    }

    func next() -> Row? {
        var writer = ByteWriter()
        do {
            let (isWhole, departure) = try Departure.begin {
                for column in repeat each columns {
                    guard try column.encodeNext(into: &writer) else { return false }
                }
                return true
            }
            return isWhole ? Row(bytes: writer.bytes, departure: departure) : nil
        } catch {
            failure = error
            return nil
        }
    }
}

/// One of the sequences of ``Rows``.
private final class Column<Elements: Sequence> {
    private var iterator: Elements.Iterator
    private var plan: TransferPlan<Elements.Element>?

    init(_ elements: Elements) {
        iterator = elements.makeIterator()
    }

    func checkThatElementsCanCross() throws(SharedStateError) {
        plan = try TransferPlan.plan(for: Elements.Element.self)
    }

    func encodeNext(into writer: inout ByteWriter) throws -> Bool {
        guard let element = iterator.next() else { return false }
        let plan = try self.plan ?? TransferPlan.plan(for: Elements.Element.self)
        self.plan = plan
        try plan.encode(element, into: &writer)
        return true
    }
}
