// SPDX-License-Identifier: Apache-2.0

internal import CShm

extension Queue {
    /// Puts elements in, in order, waiting for room until all are in.
    ///
    /// Elements of small plain bits are copied many at a time. Others' elements may come between
    /// them.
    ///
    /// - Parameters:
    ///   - elements: What to put.
    ///   - timeout: The longest wait for all of them; `nil` waits without limit.
    /// - Returns: How many were put, the first ones. It is less than all only if the time was up,
    ///   or the queue ended, after some had been put.
    /// - Throws: As ``put(_:timeout:)``, if none was put; or what encoding an element throws, then
    ///   those before it are in.
    @discardableResult
    public func put(
        contentsOf elements: some Sequence<Element>, timeout: Duration? = nil
    ) throws -> Int {
        let until = deadline(after: timeout)
        guard isBits else { return try putEach(elements, until: until) }
        if let put = try elements.withContiguousStorageIfAvailable({
            unsafe try put($0, until: until)
        }) {
            return put
        }
        return unsafe try ContiguousArray(elements).withUnsafeBufferPointer {
            unsafe try put($0, until: until)
        }
    }

    /// Takes up to `limit` elements, waiting until there is one.
    ///
    /// - Parameters:
    ///   - limit: The most to take, at least 1.
    ///   - timeout: The longest wait for the first; `nil` waits without limit.
    /// - Returns: The elements, at least one, the oldest first.
    /// - Throws: As ``get(timeout:)``, and `invalidArgument`. An element that cannot be decoded ends
    ///   the batch before it, and is thrown for by the next call.
    public func get(upTo limit: Int, timeout: Duration? = nil) throws -> [Element] {
        let until = deadline(after: timeout)
        guard isBits else {
            try checkLimit(limit)
            return more(after: try getEncoded(timeout: timeout), upTo: limit)
        }
        return unsafe try take(upTo: limit, "cshm_queue_take_many_until") {
            core, room, length, limit in
            unsafe core.getMany(into: room, length, limit: limit, until: until)
        }
    }

    /// Takes up to `limit` elements that are there now.
    ///
    /// - Parameter limit: The most to take, at least 1.
    /// - Returns: The elements, the oldest first; none if the queue is empty and its stream goes on.
    /// - Throws: As ``tryGet()``, and `invalidArgument`.
    public func tryGet(upTo limit: Int) throws -> [Element] {
        guard isBits else {
            try checkLimit(limit)
            guard let first = try tryGetEncoded() else { return [] }
            return more(after: first, upTo: limit)
        }
        return unsafe try take(upTo: limit, "cshm_queue_try_take_many") {
            core, room, length, limit in
            unsafe core.tryGetMany(into: room, length, limit: limit)
        }
    }

    private func put(
        _ elements: UnsafeBufferPointer<Element>, until deadline: Int64
    ) throws(SharedStateError) -> Int {
        var done = 0
        while done < elements.count {
            let count = Swift.min(elements.count - done, Int(Int32.max))
            let status = unsafe cshm_queue_put_many_until(
                core.pointer, elements.baseAddress.unsafelyUnwrapped + done,
                UInt64(MemoryLayout<Element>.stride), UInt32(count), deadline)
            if status < 0 {
                if done > 0 { return done }
                throw core.failure(status, "cshm_queue_put_many_until")
            }
            done += Int(status)
            if Int(status) < count { break }
        }
        return done
    }

    private func putEach(_ elements: some Sequence<Element>, until: Int64) throws -> Int {
        var done = 0
        for element in elements {
            let status = try unsafe codec.send(element, in: core.object.region) { bytes, holds in
                unsafe core.put(bytes, holds: holds, until: until)
            }
            if status != 0 {
                if done > 0 { break }
                throw core.failure(status, "cshm_queue_put_until")
            }
            done += 1
        }
        return done
    }

    /// Elements of plain bits, taken straight into an array's memory.
    private func take(
        upTo limit: Int, _ function: StaticString,
        _ call: (QueueCore, UnsafeMutableRawPointer, Int, Int) -> Int32
    ) throws -> [Element] {
        try checkLimit(limit)
        let limit = Swift.min(limit, capacity)
        return try unsafe [Element](unsafeUninitializedCapacity: limit) { room, made in
            let taken = unsafe call(
                core, UnsafeMutableRawPointer(room.baseAddress.unsafelyUnwrapped),
                MemoryLayout<Element>.stride, limit)
            if taken < 0, taken != Answer.wouldWait { throw core.failure(taken, function) }
            made = Int(Swift.max(0, taken))
        }
    }

    /// What is there after an element that was taken.
    ///
    /// The end, or an element that cannot be decoded, is for the next call to tell.
    internal func more(after first: Element, upTo limit: Int) -> [Element] {
        guard limit > 1 else { return [first] }
        if isBits { return [first] + ((try? tryGet(upTo: limit - 1)) ?? []) }
        var elements = [first]
        while elements.count < limit, let next = nextDecoded() { elements.append(next) }
        return elements
    }

    /// The next element, which stays the next one if it cannot be decoded.
    private func nextDecoded() -> Element? {
        var message = unsafe cshm_message()
        guard unsafe cshm_queue_try_lease(core.pointer, 1, &message) == 0 else { return nil }
        do {
            let element = try unsafe codec.decodeTaken(message.bytes)
            unsafe cshm_queue_release(core.pointer, &message)
            return element
        } catch {
            unsafe cshm_queue_return(core.pointer, &message)
            return nil
        }
    }

    private func checkLimit(_ limit: Int) throws(SharedStateError) {
        guard limit >= 1 else {
            throw SharedStateError(.invalidArgument, "take at least 1 element, not \(limit)")
        }
    }
}
