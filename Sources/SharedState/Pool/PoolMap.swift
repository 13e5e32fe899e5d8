// SPDX-License-Identifier: Apache-2.0

extension Pool {
    /// Runs `body` on each element, in the workers, and gives the results in order.
    ///
    /// - Parameters:
    ///   - elements: What to run it on.
    ///   - chunkSize: Elements that a worker takes at a time; `nil` chooses by how long they take.
    ///     It changes neither results nor errors.
    ///   - timeout: The longest that all of it may take; `nil` is without limit.
    ///   - progress: Called on this thread with how many elements are done, of how many.
    ///   - body: A closure without captures.
    /// - Returns: The results, in the elements' order.
    /// - Throws: `capturesValues`, `cannotCross`, `closed`, `timedOut`; or, for the first element that
    ///   failed, `taskFailed` with the text of the error it threw or `workerDied`. Elements that
    ///   were not begun are then dropped.
    @inlinable
    public func map<Elements: Sequence, Output>(
        _ elements: Elements, chunkSize: Int? = nil, timeout: Duration? = nil,
        progress: ((Int, Int) -> Void)? = nil,
        _ body: @escaping @Sendable (Elements.Element) throws -> Output
    ) throws -> [Output] where Elements.Element: Sendable, Output: Sendable {
        try gather(elements, beginMap(chunkSize, timeout, body), progress)
    }

    /// As `map`, with a value that is sent once for the call and not once for each element.
    ///
    /// - Parameters:
    ///   - elements: What to run it on.
    ///   - state: Given to each call of `body`: plain bits, `Codable`, or a handle.
    ///   - chunkSize: As in `map`.
    ///   - timeout: As in `map`.
    ///   - progress: As in `map`.
    ///   - body: A closure without captures.
    /// - Returns: The results, in the elements' order.
    /// - Throws: As `map`.
    @inlinable
    public func map<Elements: Sequence, State: Sendable, Output>(
        _ elements: Elements, with state: State, chunkSize: Int? = nil, timeout: Duration? = nil,
        progress: ((Int, Int) -> Void)? = nil,
        _ body: @escaping @Sendable (Elements.Element, State) throws -> Output
    ) throws -> [Output] where Elements.Element: Sendable, Output: Sendable {
        try gather(elements, beginMap(chunkSize, timeout, state, body), progress)
    }

    @usableFromInline
    internal func beginMap<Element: Sendable, Output: Sendable>(
        _ chunk: Int?, _ timeout: Duration?,
        _ body: @escaping @Sendable (Element) throws -> Output
    ) throws -> MapCall<Element, Output> {
        let core = core
        let site = try core.catalog.entry(of: Function1(body: body)) {
            () throws(SharedStateError) in
            try MapSite<Element, Output>(try core.job(try FunctionReference(body).bytes))
        }
        return try MapCall(core, site, TaskOptions(), chunk: chunk, timeout: timeout)
    }

    @usableFromInline
    internal func beginMap<Element: Sendable, State: Sendable, Output: Sendable>(
        _ chunk: Int?, _ timeout: Duration?, _ state: State,
        _ body: @escaping @Sendable (Element, State) throws -> Output
    ) throws -> MapCall<Element, Output> {
        var broadcast = ByteWriter()
        try TransferPlan<State>.plan(for: State.self).encode(state, into: &broadcast)
        let job = try core.job(try FunctionReference(body).bytes, broadcast: broadcast.bytes)
        return try MapCall(
            core, try MapSite(job), TaskOptions(), chunk: chunk, timeout: timeout)
    }

    @inlinable
    internal func gather<Elements: Sequence, Output: Sendable>(
        _ elements: Elements, _ call: MapCall<Elements.Element, Output>,
        _ progress: ((Int, Int) -> Void)?
    ) throws -> [Output] where Elements.Element: Sendable {
        defer { call.end() }
        let estimate = elements.underestimatedCount
        call.remaining = estimate > 0 ? estimate : nil
        var results: [Output] = []
        results.reserveCapacity(estimate)
        var iterator = elements.makeIterator()
        var next = iterator.next()
        progress?(0, estimate)
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
            let isOver = try !call.take(into: &results)
            progress?(call.finished, max(estimate, call.finished))
            if isOver, next == nil { return results }
        } while true
    }
}
