// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc

/// A ``Queue`` whose user can wait until everything put into it is dealt with.
///
/// Each ``get(timeout:)`` is followed by one ``taskDone()`` on the same thread. The task of a
/// consumer that died before it said so does not count as done: it is delivered again.
///
/// - Processes, threads: safe. Tasks: safe; what a task got belongs to no thread, so that ``taskDone()``
///   in a task is for the oldest that any of the process's tasks got. Where it matters which one is
///   done, use ``queue``'s `withElement` and `lease`, which `join` waits for too.
public final class JoinableQueue<Element: Sendable>: Sendable, Codable {
    /// The queue underneath, for everything else.
    public let queue: Queue<Element>
    private let open = Mutex<[OpenTask]>([])

    @safe
    private struct OpenTask: Sendable {
        /// 0 if a task got it.
        let thread: UInt
        nonisolated(unsafe) let message: cshm_message
    }

    /// Makes a queue to be joined.
    ///
    /// - Parameters:
    ///   - capacity: As for ``Queue``.
    ///   - byteLimit: As for ``Queue``.
    ///   - ports: As for ``Queue``; each task not yet done occupies one.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: As `Queue.init`.
    public init(
        capacity: Int = 1024, byteLimit: Int? = nil, ports: Int = 128, in region: Region? = nil
    ) throws(SharedStateError) {
        queue = try Queue(capacity: capacity, byteLimit: byteLimit, ports: ports, in: region)
    }

    /// Makes a queue to be joined and gives it a name, by which any program that opens the region
    /// finds it; also as a ``Queue``.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - capacity: As for ``Queue``.
    ///   - byteLimit: As for ``Queue``.
    ///   - ports: As for ``init(capacity:byteLimit:ports:in:)``.
    /// - Throws: As `Queue.init(creating:in:type:capacity:byteLimit:ports:)`.
    public init(
        creating name: String, in region: Region?, capacity: Int = 1024, byteLimit: Int? = nil,
        ports: Int = 128
    ) throws(SharedStateError) {
        queue = try Queue(
            creating: name, in: region, capacity: capacity, byteLimit: byteLimit, ports: ports)
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

    /// As `put` of ``Queue``, without holding a thread.
    public func put(_ element: Element, timeout: Duration? = nil) async throws {
        try await queue.put(element, timeout: timeout)
    }

    /// Takes the oldest element, waiting while there is none; ``taskDone()`` has to follow.
    ///
    /// - Throws: As `get` of ``Queue``.
    public func get(timeout: Duration? = nil) throws -> Element {
        var message = unsafe cshm_message()
        let status = unsafe cshm_queue_lease_until(
            queue.core.pointer, 1, &message, deadline(after: timeout))
        if status != 0 { throw queue.core.failure(status, "cshm_queue_lease_until") }
        return try unsafe begin(message, for: pthread_self())
    }

    /// As the blocking form, without holding a thread.
    ///
    /// - Throws: As that, and `CancellationError`; then nothing was taken.
    public func get(timeout: Duration? = nil) async throws -> Element {
        let message = try unsafe await queue.leased(timeout: timeout)
        return try unsafe begin(message, for: 0)
    }

    private func begin(_ leased: cshm_message, for thread: UInt) throws -> Element {
        do {
            let element = try unsafe queue.codec.decodeLeased(leased.bytes)
            let task = unsafe OpenTask(thread: thread, message: leased)
            open.withLock { $0.append(task) }
            return element
        } catch {
            var message = unsafe leased
            unsafe cshm_queue_release(queue.core.pointer, &message)
            throw error
        }
    }

    /// The oldest element that this thread got is dealt with; if it has none open, the oldest that
    /// tasks of this process got; else the oldest of this process.
    ///
    /// - Throws: `invalidArgument` if it was called more often than ``get(timeout:)``.
    public func taskDone() throws(SharedStateError) {
        let thread = pthread_self()
        let task = open.withLock { tasks -> OpenTask? in
            guard !tasks.isEmpty else { return nil }
            let own = tasks.firstIndex { $0.thread == thread }
            return tasks.remove(at: own ?? tasks.firstIndex { $0.thread == 0 } ?? 0)
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

    /// As the blocking form, without holding a thread.
    ///
    /// - Throws: As that, and `CancellationError`.
    public func join(timeout: Duration? = nil) async throws {
        let core = queue.core
        let place = unsafe Reactor.Place(.anyone) { unsafe cshm_queue_joined(core.pointer, $0) }
        try Task.checkCancellation()
        var status = unsafe cshm_queue_try_join(core.pointer)
        if status == Answer.wouldWait {
            status = try await Reactor.wait(at: place, until: deadline(after: timeout)) {
                unsafe cshm_queue_try_join(core.pointer)
            }
        }
        if status != 0 { throw core.failure(status, "cshm_queue_try_join") }
    }

    /// As ``Queue/finish()``.
    public func finish() { queue.finish() }

    /// As ``Queue/cancel()``.
    public func cancel() { queue.cancel() }
}
