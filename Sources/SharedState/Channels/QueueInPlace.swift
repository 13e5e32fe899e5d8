// SPDX-License-Identifier: Apache-2.0

internal import CShm

// The span that a body is lent ends with the call; the compiler refuses to let it out
// (Tests/MustNotCompile). Not yet if a body moves a whole MutableSpan elsewhere and leaves another in
// its place, which it refuses of the standard library's OutputSpan as little:
//
//     var kept = Span<Int>()                 // error: lifetime-dependent variable 'kept' escapes
//     try queue.withNext { kept = $0 }

extension Queue where Element: BitwiseCopyable {
    /// Writes elements where they will lie in shared memory, and puts them.
    ///
    /// - Parameters:
    ///   - count: How many, 1 to 32; 1 if an element has more than 256 bytes.
    ///   - timeout: The longest wait for room; `nil` waits without limit.
    ///   - body: Sets every element; what they are before is arbitrary. If it throws, nothing is put.
    /// - Returns: What `body` returns.
    /// - Throws: As ``put(_:timeout:)``, `invalidArgument`, or what `body` throws.
    public func withSlot<Result>(
        of count: Int, timeout: Duration? = nil,
        _ body: (inout MutableSpan<Element>) throws -> Result
    ) throws -> Result {
        guard (1...Int(codec.pack)).contains(count), count <= capacity else {
            throw SharedStateError(
                .invalidArgument,
                "a slot takes 1 to \(Swift.min(Int(codec.pack), capacity)) of these elements, not \(count)"
            )
        }
        return try core.withClaimed(
            length: MemoryLayout<Element>.stride, count: count, timeout: timeout, body)
    }

    /// Reads the oldest elements where they lie, then takes them out of the queue.
    ///
    /// They are leased meanwhile: if `body` throws, or the process dies in it, they are delivered
    /// again.
    ///
    /// - Parameters:
    ///   - limit: The most elements to take; there may be fewer.
    ///   - timeout: The longest wait for an element; `nil` waits without limit.
    ///   - body: Reads them.
    /// - Returns: What `body` returns.
    /// - Throws: As ``get(timeout:)``, or what `body` throws.
    public func withNext<Result>(
        upTo limit: Int = 1, timeout: Duration? = nil, _ body: (Span<Element>) throws -> Result
    ) throws -> Result {
        guard limit >= 1 else {
            throw SharedStateError(.invalidArgument, "take at least 1 element, not \(limit)")
        }
        return try core.withLeased(
            upTo: limit, timeout: timeout, isElement: { $0 == MemoryLayout<Element>.stride }, body)
    }
}

extension Queue {
    /// Writes one array of plain bits, of any length, where it will lie in shared memory, and puts it.
    ///
    /// A long one costs what a short one does, save what `body` does.
    ///
    /// - Parameters:
    ///   - count: Its length.
    ///   - timeout: The longest wait for room; `nil` waits without limit.
    ///   - body: Sets every item; what they are before is arbitrary. If it throws, nothing is put.
    /// - Returns: What `body` returns.
    /// - Throws: As ``put(_:timeout:)``, or what `body` throws.
    public func withSlot<Item: BitwiseCopyable, Result>(
        of count: Int, timeout: Duration? = nil, _ body: (inout MutableSpan<Item>) throws -> Result
    ) throws -> Result where Element == [Item] {
        let length = try lengthOfArray(of: Item.self, count)
        return try core.withClaimed(length: length, count: 1, timeout: timeout, body)
    }

    /// Reads the oldest array of plain bits where it lies, then takes it out of the queue.
    ///
    /// It is leased meanwhile: if `body` throws, or the process dies in it, it is delivered again.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait for an element; `nil` waits without limit.
    ///   - body: Reads it.
    /// - Returns: What `body` returns.
    /// - Throws: As ``get(timeout:)``, or what `body` throws.
    public func withNext<Item: BitwiseCopyable, Result>(
        timeout: Duration? = nil, _ body: (Span<Item>) throws -> Result
    ) throws -> Result where Element == [Item] {
        try core.withLeased(
            upTo: 1, timeout: timeout,
            isElement: { $0.isMultiple(of: MemoryLayout<Item>.stride) }, body)
    }
}

extension Queue<[UInt8]> {
    /// As ``withSlot(of:timeout:_:)-(_,_,(MutableSpan<Item>)->_)``, as raw bytes.
    public func withBytes<Result>(
        of count: Int, timeout: Duration? = nil, _ body: (inout MutableRawSpan) throws -> Result
    ) throws -> Result {
        guard count >= 0 else {
            throw SharedStateError(.invalidArgument, "a number of bytes is not \(count)")
        }
        return try unsafe core.withClaim(length: count, count: 1, timeout: timeout) { bytes in
            var span = unsafe bytes.mutableBytes
            return try body(&span)
        }
    }

    /// As ``withNext(timeout:_:)``, as raw bytes.
    public func withNextBytes<Result>(
        timeout: Duration? = nil, _ body: (RawSpan) throws -> Result
    ) throws -> Result {
        try unsafe core.withLease(upTo: 1, timeout: timeout, isElement: { _ in true }) { bytes in
            try body(unsafe bytes.bytes)
        }
    }
}

extension QueueCore {
    fileprivate func withClaimed<Item: BitwiseCopyable, Result>(
        length: Int, count: Int, timeout: Duration?,
        _ body: (inout MutableSpan<Item>) throws -> Result
    ) throws -> Result {
        try unsafe withClaim(length: length, count: count, timeout: timeout) { bytes in
            try unsafe withItems(in: bytes, body)
        }
    }

    fileprivate func withLeased<Item: BitwiseCopyable, Result>(
        upTo limit: Int, timeout: Duration?, isElement: (Int) -> Bool,
        _ body: (Span<Item>) throws -> Result
    ) throws -> Result {
        try unsafe withLease(upTo: limit, timeout: timeout, isElement: isElement) { bytes in
            try unsafe withItems(of: bytes, body)
        }
    }

    /// Claims a message of `count` elements, has it filled, and commits it.
    fileprivate func withClaim<Result>(
        length: Int, count: Int, timeout: Duration?,
        _ body: (UnsafeMutableRawBufferPointer) throws -> Result
    ) throws -> Result {
        let until = SharedState.deadline(after: timeout)
        var message = unsafe cshm_message()
        var status = unsafe cshm_queue_claim_many(
            pointer, UInt64(length), UInt32(count), &message)
        if status == Answer.wouldWait {
            // The byte limit is reached.
            status = blockingWait(at: room, until: until) {
                unsafe cshm_queue_claim_many(pointer, UInt64(length), UInt32(count), &message)
            }
        }
        if status != 0 { throw failure(status, "cshm_queue_claim_many") }
        do {
            let bytes = unsafe UnsafeMutableRawBufferPointer(mutating: message.bytes)
            let result = try unsafe body(bytes)
            status = unsafe cshm_queue_commit_until(pointer, &message, until)
            if status != 0 { throw failure(status, "cshm_queue_commit_until") }
            return result
        } catch {
            unsafe cshm_queue_abort(pointer, &message)
            throw error
        }
    }

    /// Leases elements, has them read, and releases them.
    fileprivate func withLease<Result>(
        upTo limit: Int, timeout: Duration?, isElement: (Int) -> Bool,
        _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
        var message = unsafe cshm_message()
        let status = unsafe cshm_queue_lease_until(
            pointer, UInt32(clamping: limit), &message, SharedState.deadline(after: timeout))
        if status != 0 { throw failure(status, "cshm_queue_lease_until") }
        guard unsafe isElement(Int(message.length)) else {
            unsafe cshm_queue_release(pointer, &message)
            throw SharedStateError.truncated
        }
        do {
            let result = try unsafe body(message.bytes)
            unsafe cshm_queue_release(pointer, &message)
            return result
        } catch {
            unsafe cshm_queue_return(pointer, &message)
            throw error
        }
    }
}
