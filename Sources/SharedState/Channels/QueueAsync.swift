// SPDX-License-Identifier: Apache-2.0

internal import CShm

extension Queue {
    /// Puts an element in, waiting while the queue is full, without holding a thread.
    ///
    /// - Parameters:
    ///   - element: What to put; it is copied.
    ///   - timeout: The longest wait; `nil` waits without limit.
    /// - Throws: As the blocking form, and `CancellationError`. Nothing was put then.
    public func put(_ element: Element, timeout: Duration? = nil) async throws {
        try await put(element, until: deadline(after: timeout))
    }

    private func put(_ element: Element, until: Int64) async throws {
        try Task.checkCancellation()
        if try tryPut(element) { return }
        let stored = try codec.stored(element, in: core.object.region, to: .one)
        let status = try await Reactor.wait(at: core.room, until: until) { [core] in
            core.tryPut(stored)
        }
        if status != 0 { throw core.failure(status, "cshm_queue_try_put") }
        stored.isStored()
    }

    /// Puts elements in, in order, waiting for room until all are in, without holding a thread.
    ///
    /// - Parameters:
    ///   - elements: What to put.
    ///   - timeout: The longest wait for all of them; `nil` waits without limit.
    /// - Returns: How many were put, the first ones. It is less than all only if the time was up, the
    ///   task was cancelled or the queue ended after some had been put.
    /// - Throws: As the blocking form, and `CancellationError`, if none was put.
    @discardableResult
    public func put(
        contentsOf elements: some Sequence<Element>, timeout: Duration? = nil
    ) async throws -> Int {
        let until = deadline(after: timeout)
        let elements = Array(elements)
        var done = 0
        do {
            while done < elements.count {
                // One that waits, then as many as there is room for.
                try await put(elements[done], until: until)
                done += 1
                if done < elements.count {
                    done += try put(contentsOf: elements[done...], timeout: .zero, ifAny: true)
                }
            }
        } catch let error
            where done > 0 && (error is SharedStateError || error is CancellationError)
        {
            return done
        }
        return done
    }

    /// The blocking form without a wait, which is not chosen by itself in `async` code.
    private func put(
        contentsOf elements: ArraySlice<Element>, timeout: Duration, ifAny: Bool
    ) throws -> Int {
        do {
            return try put(contentsOf: elements, timeout: timeout)
        } catch let error as SharedStateError where error.code == .timedOut {
            return 0
        }
    }

    /// Takes the oldest element, waiting while the queue is empty, without holding a thread.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: The element.
    /// - Throws: As the blocking form, and `CancellationError`; then nothing was taken.
    public func get(timeout: Duration? = nil) async throws -> Element {
        try Task.checkCancellation()
        if let element = try tryGet() { return element }
        if codec.mayNameHandles {
            // What it holds, this process has before the queue lets it go.
            var message = unsafe try await message(timeout: timeout) {
                unsafe cshm_queue_try_take($0, $1)
            }
            return try unsafe decodeAndRelease(&message)
        }
        let received = ReceivedBytes()
        let status = try await Reactor.wait(at: core.items, until: deadline(after: timeout)) {
            [core] in
            var message = unsafe cshm_message()
            let status = unsafe cshm_queue_try_take(core.pointer, &message)
            if status == 0 {
                received.bytes.withLock { unsafe $0 = [UInt8](message.bytes) }
                unsafe cshm_queue_release(core.pointer, &message)
            }
            return status
        }
        if status != 0 { throw core.failure(status, "cshm_queue_try_take") }
        return try unsafe received.bytes.withLock { $0 }.withUnsafeBytes {
            unsafe try codec.decode($0)
        }
    }

    /// Takes up to `limit` elements, waiting until there is one, without holding a thread.
    ///
    /// - Parameters:
    ///   - limit: The most to take, at least 1.
    ///   - timeout: The longest wait for the first; `nil` waits without limit.
    /// - Returns: The elements, at least one, the oldest first.
    /// - Throws: As the blocking form, and `CancellationError`; then nothing was taken.
    public func get(upTo limit: Int, timeout: Duration? = nil) async throws -> [Element] {
        guard limit > 1 else {
            return limit == 1 ? [try await get(timeout: timeout)] : try tryGet(upTo: limit)
        }
        return more(after: try await get(timeout: timeout), upTo: limit)
    }

    /// Takes the oldest element until the lease says that it is done, waiting while there is none,
    /// without holding a thread.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: The element's lease.
    /// - Throws: As the blocking form, and `CancellationError`; then nothing was leased.
    public func lease(timeout: Duration? = nil) async throws -> Lease<Element> {
        try unsafe Lease(await leased(timeout: timeout), core, codec)
    }

    internal func leased(timeout: Duration?) async throws -> cshm_message {
        unsafe try await message(timeout: timeout) { unsafe cshm_queue_try_lease($0, 1, $1) }
    }

    /// The message that a function of C takes or leases, waiting while there is none.
    private func message(
        timeout: Duration?,
        _ take: @escaping @Sendable (OpaquePointer, UnsafeMutablePointer<cshm_message>) -> Int32
    ) async throws -> cshm_message {
        try Task.checkCancellation()
        let taken = TakenMessage()
        let attempt = { @Sendable [core] in
            var message = unsafe cshm_message()
            let status = unsafe take(core.pointer, &message)
            if status == 0 { unsafe taken.message = message }
            return status
        }
        var status = attempt()
        if status == Answer.wouldWait {
            status = try await Reactor.wait(
                at: core.items, until: deadline(after: timeout), attempt: attempt)
        }
        if status != 0 { throw core.failure(status, "cshm_queue_try_take") }
        return unsafe taken.message
    }

    /// Runs `body` with the oldest element, which is gone from the queue when `body` returns, and is
    /// delivered again if `body` throws or the process dies in it.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait for an element; `nil` waits without limit.
    ///   - isolation: The caller's actor, on which `body` runs.
    ///   - body: What to do with it.
    /// - Returns: What `body` returns.
    /// - Throws: As the blocking form, `CancellationError`, or what `body` throws.
    public func withElement<Result>(
        timeout: Duration? = nil, isolation: isolated (any Actor)? = #isolation,
        _ body: (Element) async throws -> Result
    ) async throws -> Result {
        let lease = try await lease(timeout: timeout)
        let result = try await body(lease.element)
        lease.done()
        return result
    }

    /// As the other `async` form, for a body that does not `await`.
    public func withElement<Result>(
        timeout: Duration? = nil, isolation: isolated (any Actor)? = #isolation,
        _ body: (Element) throws -> Result
    ) async throws -> Result {
        let lease = try await lease(timeout: timeout)
        let result = try body(lease.element)
        lease.done()
        return result
    }
}

extension Queue {
    /// Waits, without holding a thread, until `isDone` says so, which is asked when an element has come
    /// and every 25 ms.
    ///
    /// - Throws: `CancellationError`; then the last time that it was asked it said no.
    package func waitForElements(
        _ isDone: @escaping @Sendable () -> Bool
    ) async throws {
        try await wait(at: core.items, until: .max, isDone)
    }

    /// Has those asked again soon who wait by ``waitForElements(_:)``.
    package func lookAgainForElements() { Reactor.lookAgain(at: core.items) }

    /// As ``waitForElements(_:)``, asked when there is room.
    package func waitForRoom(
        until deadline: Int64, _ isDone: @escaping @Sendable () -> Bool
    ) async throws {
        try await wait(at: core.room, until: deadline, isDone)
    }

    private func wait(
        at place: Reactor.Place, until deadline: Int64, _ isDone: @escaping @Sendable () -> Bool
    ) async throws {
        let status = try await Reactor.wait(at: place, until: deadline) { [core] in
            withExtendedLifetime(core) { isDone() ? 0 : Answer.wouldWait }
        }
        if status != 0 { throw core.failure(status, "cshm_park") }
    }
}

/// What an attempt took or leased, on its way to the task.
@safe
private final class TakenMessage: Sendable {
    /// Written by the one attempt that succeeds, before the task that reads it is resumed.
    nonisolated(unsafe) var message = unsafe cshm_message()
}

extension QueueCore {
    /// Whether a take would not wait, as the answer of an attempt.
    internal func tryLook() -> Int32 {
        var waitable = unsafe cshm_waitable()
        unsafe cshm_queue_items(pointer, &waitable)
        return unsafe waitable.is_ready(waitable.object) != 0 ? 0 : Answer.wouldWait
    }

    /// Where those wait who take.
    internal var items: Reactor.Place {
        unsafe Reactor.Place { unsafe cshm_queue_items(pointer, $0) }
    }

    /// Where those wait who put.
    internal var room: Reactor.Place {
        unsafe Reactor.Place { unsafe cshm_queue_room(pointer, $0) }
    }

    /// An attempt that copies the bytes only if there is room, or an answer other than waiting.
    fileprivate func tryPut(_ stored: StoredElement) -> Int32 {
        if unsafe cshm_queue_is_full(pointer) != 0 {
            var message = unsafe cshm_message()
            let refusal = unsafe cshm_queue_claim(pointer, 0, &message)
            if refusal != 0 { return refusal }
            unsafe cshm_queue_abort(pointer, &message)
            return Answer.wouldWait
        }
        return unsafe stored.bytes.withUnsafeBytes { unsafe tryPut($0, holds: stored.holds) }
    }
}
