// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A fact that threads and tasks of any process of the family wait for.
///
/// Set, it lets waiters go on: all of them until it is cleared, or, if it is automatic, exactly one
/// for each time it is set. To ask whether it is set is one load.
///
/// - Processes: safe; send it to a worker like any value. Threads, tasks: safe.
/// - Death: a process killed while it waits takes nothing along, but one that had gone through an
///   automatic event.
///
/// The corresponding C header is `cshm/event.h`.
@safe
public final class Event: Sendable, Codable {
    private let object: SharedObject
    private nonisolated(unsafe) let event: UnsafeMutablePointer<cshm_event>
    private static var size: Int { MemoryLayout<cshm_event>.size }

    private init(_ object: SharedObject) throws(SharedStateError) {
        self.object = object
        unsafe event = try object.address(size: Self.size)
            .assumingMemoryBound(to: cshm_event.self)
        try unsafe check(cshm_event_is_set(event), "cshm_event_is_set")
    }

    /// Makes an event, not set.
    ///
    /// - Parameters:
    ///   - automatic: Whether it lets one waiter go on for each time it is set.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `full`, `system`.
    public convenience init(
        automatic: Bool = false, in region: Region? = nil
    ) throws(SharedStateError) {
        try self.init(Self.make(automatic, in: region, named: nil))
    }

    /// Makes an event with a name, by which any program that opens the region finds it.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - automatic: As for ``init(automatic:in:)``.
    /// - Throws: `alreadyExists`, `invalidArgument`, `full`, `system`.
    public convenience init(
        creating name: String, in region: Region?, automatic: Bool = false
    ) throws(SharedStateError) {
        try self.init(Self.make(automatic, in: region, named: name))
    }

    /// Opens the event of that name.
    ///
    /// - Throws: `notFound`, `incompatible` (not an event).
    public convenience init(opening name: String, in region: Region?) throws(SharedStateError) {
        try self.init(SharedObject(opening: name, in: region, kind: CSHM_KIND_EVENT))
    }

    /// Opens the event a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        let place = try ObjectPlace(from: decoder)
        try self.init(SharedObject(arriving: place))
    }

    /// Sends the handle; the event then lives as long as its region, or, if it is sent by queues and
    /// stored in containers only, as long as anybody has it.
    public func encode(to encoder: any Encoder) throws {
        try object.place().encode(to: encoder)
    }

    deinit {
        object.freeUnlessSent()
    }

    private static func make(
        _ automatic: Bool, in region: Region?, named name: String?
    ) throws(SharedStateError) -> SharedObject {
        try unsafe SharedObject.make(size, in: region, named: name, kind: CSHM_KIND_EVENT) {
            unsafe cshm_event_init(
                $0.assumingMemoryBound(to: cshm_event.self),
                automatic ? CSHM_EVENT_AUTOMATIC : CSHM_EVENT_MANUAL)
        }
    }

    /// Sets it, if it is not, and wakes who waits.
    public func set() {
        _ = unsafe cshm_event_set(event)
    }

    /// Clears it, if it is set.
    public func clear() {
        _ = unsafe cshm_event_clear(event)
    }

    /// Whether it is set.
    public var isSet: Bool { unsafe cshm_event_is_set(event) == 1 }

    /// Goes through if it is set now, without waiting.
    ///
    /// - Returns: Whether it was set; an automatic one is cleared then.
    public func tryWait() -> Bool {
        unsafe cshm_event_try_wait(event) == 0
    }

    /// Waits until it is set.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: `true`, or `false` if the time-out passed first.
    /// - Throws: `incompatible` (damaged bytes).
    @discardableResult
    public func wait(timeout: Duration? = nil) throws(SharedStateError) -> Bool {
        let status = unsafe cshm_event_wait_until(event, deadline(after: timeout))
        return try hasPassed(status, "cshm_event_wait_until")
    }

    /// Waits until it is set, without holding a thread.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: As the blocking form.
    /// - Throws: As the blocking form, and `CancellationError`; then it did not go through.
    @discardableResult
    public func wait(timeout: Duration? = nil) async throws -> Bool {
        try Task.checkCancellation()
        if tryWait() { return true }
        let place = unsafe Reactor.Place { unsafe cshm_event_waitable(event, $0) }
        let status = try await Reactor.wait(at: place, until: deadline(after: timeout)) { [self] in
            unsafe cshm_event_try_wait(event)
        }
        return try hasPassed(status, "cshm_event_try_wait")
    }
}

/// What a wait with a time-out came to.
///
/// - Returns: `false` if the time was up first.
internal func hasPassed(
    _ status: Int32, _ function: StaticString
) throws(SharedStateError) -> Bool {
    if status == Answer.timedOut { return false }
    try check(status, function)
    return true
}
