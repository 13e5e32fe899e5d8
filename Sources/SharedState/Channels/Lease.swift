// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// An element that its consumer has not finished with.
///
/// Say ``done()`` when the work is done. If the lease ends without that, because it is dropped, its
/// function throws, or its process dies, the element is delivered again, before all others: at
/// least once. A *stopped* process keeps what it has leased.
///
/// A lease occupies one of the queue's ports. It may be moved to another thread or task.
@safe
public struct Lease<Element: Sendable>: ~Copyable, Sendable {
    /// The element.
    public let element: Element
    /// Whether somebody had leased it before and was not done with it.
    ///
    /// The work may then be half done, or done but for the word of it.
    public let isRedelivered: Bool
    private let core: QueueCore
    private var isDone = false
    private nonisolated(unsafe) let message: cshm_message

    /// Decodes a message that was leased.
    ///
    /// One that cannot be decoded is of no use to anybody, and released.
    internal init(
        _ message: cshm_message, _ core: QueueCore, _ codec: MessageCodec<Element>
    ) throws {
        do {
            element = try unsafe codec.decodeLeased(message.bytes)
        } catch {
            var message = unsafe message
            unsafe cshm_queue_release(core.pointer, &message)
            throw error
        }
        isRedelivered = unsafe message.redelivered != 0
        self.core = core
        unsafe self.message = message
    }

    /// The element is dealt with and is gone from the queue.
    public consuming func done() {
        isDone = true
    }

    deinit {
        var message = unsafe self.message
        if isDone {
            unsafe cshm_queue_release(core.pointer, &message)
        } else {
            unsafe cshm_queue_return(core.pointer, &message)
        }
    }
}

extension Queue {
    /// Takes the oldest element until the lease says that it is done, waiting while there is none.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: The element's lease.
    /// - Throws: As ``get(timeout:)``.
    public func lease(timeout: Duration? = nil) throws -> Lease<Element> {
        var message = unsafe cshm_message()
        let status = unsafe cshm_queue_lease_until(
            core.pointer, 1, &message, deadline(after: timeout))
        if status != 0 { throw core.failure(status, "cshm_queue_lease_until") }
        return try unsafe Lease(message, core, codec)
    }

    /// As ``lease(timeout:)``, without waiting.
    ///
    /// - Returns: The lease, or `nil` if there is no element and the stream goes on.
    public func tryLease() throws -> Lease<Element>? {
        var message = unsafe cshm_message()
        let status = unsafe cshm_queue_try_lease(core.pointer, 1, &message)
        if status == Answer.wouldWait { return nil }
        if status != 0 { throw core.failure(status, "cshm_queue_try_lease") }
        return try unsafe Lease(message, core, codec)
    }

    /// Runs `body` with the oldest element, which is gone from the queue when `body` returns, and is
    /// delivered again if `body` throws or the process dies in it.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait for an element; `nil` waits without limit.
    ///   - body: What to do with it.
    /// - Returns: What `body` returns.
    /// - Throws: As ``get(timeout:)``, or what `body` throws.
    public func withElement<Result>(
        timeout: Duration? = nil, _ body: (Element) throws -> Result
    ) throws -> Result {
        let lease = try lease(timeout: timeout)
        let result = try body(lease.element)
        lease.done()
        return result
    }
}
