// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc

/// A ``Queue`` whose user can wait until everything put into it is dealt with.
///
/// Each ``get(timeout:)`` is followed by one ``taskDone()`` on the same thread. The task of a
/// consumer that died before it said so does not count as done: it is delivered again.
///
/// - Processes, threads: safe. Tasks: use ``queue``'s `withElement` and `lease`, which
///   ``join(timeout:)`` waits for too, since a task may change its thread.
public final class JoinableQueue<Element: Sendable>: Sendable, Codable {
    /// The queue underneath, for everything else.
    public let queue: Queue<Element>
    private let open = Mutex<[OpenTask]>([])

    @safe
    private struct OpenTask: Sendable {
        let thread: UInt
        nonisolated(unsafe) let message: cshm_message
    }

    /// Makes a queue to be joined.
    ///
    /// - Parameters:
    ///   - capacity: As for ``Queue``.
    ///   - ports: As for ``Queue``; each task not yet done occupies one.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: As `Queue.init`.
    public init(
        capacity: Int = 1024, ports: Int = 128, in region: Region? = nil
    ) throws(SharedStateError) {
        queue = try Queue(capacity: capacity, ports: ports, in: region)
    }

    /// Makes a queue to be joined and gives it a name, by which any program that opens the region
    /// finds it; also as a ``Queue``.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - capacity: As for ``Queue``.
    ///   - ports: As for ``init(capacity:ports:in:)``.
    /// - Throws: As `Queue.init(creating:in:type:capacity:byteLimit:ports:)`.
    public init(
        creating name: String, in region: Region?, capacity: Int = 1024, ports: Int = 128
    ) throws(SharedStateError) {
        queue = try Queue(creating: name, in: region, capacity: capacity, ports: ports)
    }

    /// Opens the queue of that name.
    ///
    /// - Throws: As `Queue.init(opening:in:type:)`.
    public init(opening name: String, in region: Region?) throws(SharedStateError) {
        queue = try Queue(opening: name, in: region)
    }

    /// Opens the queue a sent handle names.
    public init(from decoder: any Decoder) throws {
        queue = try Queue(from: decoder)
    }

    /// Sends the handle.
    public func encode(to encoder: any Encoder) throws {
        try queue.encode(to: encoder)
    }

    /// What was got and not said to be done is delivered again.
    deinit {
        open.withLock { tasks in
            for task in tasks {
                var message = unsafe task.message
                unsafe cshm_queue_return(queue.core.pointer, &message)
            }
        }
    }

    /// As `put` of ``Queue``.
    public func put(_ element: Element, timeout: Duration? = nil) throws {
        try queue.put(element, timeout: timeout)
    }

    /// Takes the oldest element, waiting while there is none; ``taskDone()`` has to follow.
    ///
    /// - Throws: As `get` of ``Queue``.
    public func get(timeout: Duration? = nil) throws -> Element {
        var message = unsafe cshm_message()
        let status = unsafe cshm_queue_lease_until(
            queue.core.pointer, 1, &message, deadline(after: timeout))
        if status != 0 { throw queue.core.failure(status, "cshm_queue_lease_until") }
        do {
            let element = try unsafe queue.codec.decodeLeased(message.bytes)
            let task = unsafe OpenTask(thread: pthread_self(), message: message)
            open.withLock { $0.append(task) }
            return element
        } catch {
            unsafe cshm_queue_release(queue.core.pointer, &message)
            throw error
        }
    }

    /// The oldest element that this thread got is dealt with; if it has none open, the oldest of
    /// this process.
    ///
    /// - Throws: `invalidArgument` if it was called more often than ``get(timeout:)``.
    public func taskDone() throws(SharedStateError) {
        let thread = pthread_self()
        let task = open.withLock { tasks -> OpenTask? in
            guard !tasks.isEmpty else { return nil }
            return tasks.remove(at: tasks.firstIndex { $0.thread == thread } ?? 0)
        }
        guard let task else {
            throw SharedStateError(
                .invalidArgument, "taskDone() was called more often than get()")
        }
        var message = unsafe task.message
        unsafe cshm_queue_release(queue.core.pointer, &message)
    }

    /// Waits until everything put is taken, and everything leased or got is done.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Throws: `timedOut`, `closed`.
    public func join(timeout: Duration? = nil) throws(SharedStateError) {
        let status = unsafe cshm_queue_join_until(queue.core.pointer, deadline(after: timeout))
        if status != 0 { throw queue.core.failure(status, "cshm_queue_join_until") }
    }

    /// As ``Queue/finish()``.
    public func finish() { queue.finish() }

    /// As ``Queue/cancel()``.
    public func cancel() { queue.cancel() }
}
