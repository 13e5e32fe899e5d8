// SPDX-License-Identifier: Apache-2.0

/// Large arrays that one side reads where the other has put them: one copy, and no fresh memory.
extension Pool {
    /// Runs `body` once, in a worker, which reads an array where it lies in shared memory.
    ///
    /// The array is copied there once. As an argument of ``apply(_:options:body:)`` it would be
    /// copied again, into memory that the kernel has to make first, which takes longer than the
    /// copies. An array that lies there already, a ``SharedArray``, is not copied at all: pass that.
    ///
    ///     let sum = try pool.apply(lending: samples, 0.5) { samples, scale in
    ///         samples.indices.reduce(0) { $0 + samples[$1] } * scale
    ///     }
    ///
    /// - Parameters:
    ///   - items: The array, of plain bits.
    ///   - arguments: What `body` is given after it, as in ``apply(_:options:body:)``.
    ///   - options: Urgency, retries, deadline.
    ///   - body: A closure without captures. The span ends with it.
    /// - Returns: What `body` returns.
    /// - Throws: As ``apply(_:options:body:)``; `cannotCross` if the items hold addresses;
    ///   `incompatible` if they are aligned to more than 16 bytes.
    /// - Threads, tasks: safe; it blocks the thread.
    /// - Death: of the worker, as of any task's; a retry finds the array as it was.
    public func apply<Item: BitwiseCopyable & Sendable, each Argument: Sendable, Result: Sendable>(
        lending items: [Item], _ arguments: repeat each Argument,
        options: TaskOptions = TaskOptions(),
        body: @escaping @Sendable (Span<Item>, repeat each Argument) throws -> Result
    ) throws -> Result {
        let core = core
        let site = try core.catalog.entry(of: SpanFunctionPack(body: body)) {
            () throws(SharedStateError) in
            try checkThatItemsCross(Item.self)
            return try CallSite<repeat each Argument, Result>(
                core, try FunctionReference(lent: body))
        }
        var input = ByteWriter(keepsPieces: true)
        LentArray.write(items, into: &input)
        let departure = try site.encode(repeat each arguments, into: &input)
        return try call(site, TaskInput(writer: input, departure: departure), options)
    }

    /// Runs `body` once, in a worker, and reads the array that it returns where that lies in shared
    /// memory.
    ///
    /// It is copied there once. As the result of ``apply(_:options:body:)`` it would be copied again,
    /// into memory that the kernel has to make first. With a deadline it is.
    ///
    ///     let largest = try pool.withResult(of: 1 << 20) { count in
    ///         (0..<count).map { sin(Double($0)) }
    ///     } reading: { values in
    ///         values.indices.reduce(-1) { max($0, values[$1]) }
    ///     }
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles.
    ///   - options: Urgency, retries, deadline.
    ///   - body: A closure without captures, whose items are plain bits.
    ///   - reading: Reads the array, here; the span ends with it. The pool goes on meanwhile, but is
    ///     not idle: ``join(timeout:)`` of another thread waits for it.
    /// - Returns: What `reading` returns.
    /// - Throws: As ``apply(_:options:body:)``, `cannotCross` and `incompatible` as
    ///   ``apply(lending:_:options:body:)``, or what `reading` throws.
    /// - Threads, tasks: safe; it blocks the thread.
    /// - Death: of the worker before its array is complete, as of any task's; after that, none.
    public func withResult<
        each Argument: Sendable, Item: BitwiseCopyable & Sendable, Value
    >(
        of arguments: repeat each Argument, options: TaskOptions = TaskOptions(),
        body: @escaping @Sendable (repeat each Argument) throws -> [Item],
        reading: (Span<Item>) throws -> Value
    ) throws -> Value {
        let core = core
        let site = try core.catalog.entry(of: ArrayFunctionPack(body: body)) {
            () throws(SharedStateError) in
            try checkThatItemsCross(Item.self)
            return try CallSite<repeat each Argument, LentItems<Item>>(
                core, try FunctionReference(lending: body))
        }
        let input = try site.encode(repeat each arguments)
        guard let batch = try post(site, input, options) else {
            let lent = try begin(site, input, options, bytes: nil).value(timeout: nil)
            return try reading(lent.items.span)
        }
        defer { input.departure?.takeBack() }
        do {
            try core.wait(for: batch)
        } catch {
            core.end(batch)
            throw error
        }
        core.leave(hasOthers: core.state.withLock { $0.hasWork })
        defer { if core.release(batch) { core.wakeDriver() } else { core.ring() } }
        return try unsafe site.withBytes(of: core.outcome(of: batch)) { bytes in
            try unsafe withItems(of: bytes, reading)
        }
    }
}

private func checkThatItemsCross<Item>(_: Item.Type) throws(SharedStateError) {
    guard try TransferPlan<Item>.plan(for: Item.self).isBits else { throw .cannotCross(Item.self) }
}
