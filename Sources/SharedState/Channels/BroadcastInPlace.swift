// SPDX-License-Identifier: Apache-2.0

internal import CShm

extension Publisher where Element: BitwiseCopyable {
    /// Writes one element where it will lie in shared memory, and publishes it.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait for the slowest lossless subscriber; `nil` waits without limit.
    ///   - body: Sets the only item of the span; what it is before is arbitrary. If it throws, nothing
    ///     is published.
    /// - Returns: What `body` returns.
    /// - Throws: As ``put(_:timeout:)``, or what `body` throws.
    public func withSlot<Result>(
        timeout: Duration? = nil, _ body: (inout MutableSpan<Element>) throws -> Result
    ) throws -> Result {
        try core.withSlot(length: MemoryLayout<Element>.stride, timeout, body)
    }
}

extension Publisher {
    /// Writes one array of plain bits, of any length, where it will lie in shared memory, and publishes
    /// it.
    ///
    /// - Parameters:
    ///   - count: Its length.
    ///   - timeout: The longest wait for the slowest lossless subscriber; `nil` waits without limit.
    ///   - body: Sets every item; what they are before is arbitrary. If it throws, nothing is published.
    /// - Returns: What `body` returns.
    /// - Throws: As ``put(_:timeout:)``, or what `body` throws.
    public func withSlot<Item: BitwiseCopyable, Result>(
        of count: Int, timeout: Duration? = nil, _ body: (inout MutableSpan<Item>) throws -> Result
    ) throws -> Result where Element == [Item] {
        try core.withSlot(length: lengthOfArray(of: Item.self, count), timeout, body)
    }
}

extension Subscriber where Element: BitwiseCopyable {
    /// Reads the next element where it lies; it is this subscriber's next one no longer when `body`
    /// returns.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - body: Reads the only item of the span. If it throws, the element is still the next one.
    /// - Returns: What `body` returns.
    /// - Throws: As ``get(timeout:)``, or what `body` throws.
    public func withNext<Result>(
        timeout: Duration? = nil, _ body: (Span<Element>) throws -> Result
    ) throws -> Result {
        try core.withNextItems(timeout, body)
    }
}

extension Subscriber {
    /// Reads the next array of plain bits where it lies.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - body: Reads it. If it throws, the array is still the next one.
    /// - Returns: What `body` returns.
    /// - Throws: As ``get(timeout:)``, or what `body` throws.
    public func withNext<Item: BitwiseCopyable, Result>(
        timeout: Duration? = nil, _ body: (Span<Item>) throws -> Result
    ) throws -> Result where Element == [Item] {
        try core.withNextItems(timeout, body)
    }
}

extension PublisherCore {
    fileprivate func withSlot<Item: BitwiseCopyable, Result>(
        length: Int, _ timeout: Duration?, _ body: (inout MutableSpan<Item>) throws -> Result
    ) throws -> Result {
        let until = deadline(after: timeout)
        return try unsafe alone { pointer in
            var room: UnsafeMutableRawPointer?
            var status = unsafe cshm_publisher_claim(pointer, UInt64(length), &room)
            if status != 0 { throw failure(status, "cshm_publisher_claim") }
            do {
                let result = try unsafe withItems(
                    in: UnsafeMutableRawBufferPointer(start: room, count: length), body)
                status = unsafe cshm_publisher_commit_until(pointer, until)
                if status != 0 { throw failure(status, "cshm_publisher_commit_until") }
                return result
            } catch {
                unsafe cshm_publisher_abort(pointer)
                throw error
            }
        }
    }
}

extension SubscriberCore {
    fileprivate func withNextItems<Item: BitwiseCopyable, Result>(
        _ timeout: Duration?, _ body: (Span<Item>) throws -> Result
    ) throws -> Result {
        let until = deadline(after: timeout)
        return try unsafe alone { pointer in
            var message = unsafe cshm_broadcast_message()
            let status = unsafe cshm_subscriber_peek_until(pointer, &message, until)
            if status != 0 { throw failure(status, "cshm_subscriber_peek_until") }
            let result = try unsafe withItems(
                of: UnsafeRawBufferPointer(
                    start: message.data, count: Int(clamping: message.length)), body)
            unsafe cshm_subscriber_release(pointer)
            return result
        }
    }
}
