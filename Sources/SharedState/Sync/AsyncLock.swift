// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A mutual-exclusion lock for tasks of any process of the family, whose bodies may `await`.
///
/// It belongs to the *process* of the task that acquired it, as tasks go from thread to thread. So it
/// cannot tell two tasks of one process from each other: acquiring it twice in one task waits for ever
/// (give it a time-out, or do not). For a body that does not `await`, ``Lock`` is faster and finds out.
///
/// - Processes: safe; send it to a worker like any value. A holder's death hands the lock on: see
///   ``Holder/inheritedFromDead``.
/// - Tasks: safe. Those of a process that wait get it in the order of their coming, but one that comes
///   while it is free is before them. Among processes it is not fair.
///
/// The corresponding C header is `cshm/baton.h`.
@safe
public final class AsyncLock: Sendable, Codable {
    private let object: SharedObject
    private nonisolated(unsafe) let baton: OpaquePointer

    private init(_ object: SharedObject) throws(SharedStateError) {
        var opened: OpaquePointer?
        try unsafe check(
            cshm_baton_open(object.region.pointer, object.offset, &opened), "cshm_baton_open")
        unsafe baton = opened.unsafelyUnwrapped
        self.object = object
    }

    /// Makes a lock, free.
    ///
    /// - Parameter region: Where it lives; `nil` is the family's region.
    /// - Throws: `full`, `system`.
    public convenience init(in region: Region? = nil) throws(SharedStateError) {
        let made = try Self.make(in: region)
        try self.init(SharedObject(made.region, made.offset, sent: false))
    }

    /// Makes a lock with a name, by which any program that opens the region finds it.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `alreadyExists`, `invalidArgument`, `full`, `system`.
    public convenience init(
        creating name: String, in region: Region?
    ) throws(SharedStateError) {
        let made = try Self.make(in: region)
        try self.init(
            SharedObject(made.region, made.offset, named: name, kind: CSHM_KIND_BATON, tag: 0))
    }

    /// Opens the lock of that name.
    ///
    /// - Throws: `notFound`, `incompatible` (not such a lock).
    public convenience init(opening name: String, in region: Region?) throws(SharedStateError) {
        try self.init(SharedObject(opening: name, in: region, kind: CSHM_KIND_BATON))
    }

    /// Opens the lock a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        let place = try ObjectPlace(from: decoder)
        try self.init(SharedObject(arriving: place))
    }

    /// Sends the handle; the lock then lives as long as its region, or, if it is sent by queues and
    /// stored in containers only, as long as anybody has it.
    public func encode(to encoder: any Encoder) throws {
        try object.place().encode(to: encoder)
    }

    deinit {
        if object.wasSent {
            unsafe cshm_baton_close(baton)
        } else {
            unsafe cshm_baton_destroy(baton)
        }
    }

    private static func make(
        in region: Region?
    ) throws(SharedStateError) -> (region: Region, offset: UInt64) {
        let region = try Region.orFamily(region)
        var offset: UInt64 = 0
        try unsafe check(cshm_baton_create(region.pointer, &offset), "cshm_baton_create")
        return (region, offset)
    }

    // MARK: Acquiring

    /// Runs `body` while holding the lock, which it acquires without holding a thread.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - isolation: Where `body` runs: where the caller does.
    ///   - body: What to do. The lock is released when it returns or throws.
    /// - Returns: What `body` returns.
    /// - Throws: `timedOut`, `notRecoverable`, `CancellationError`, in which cases `body` did not run;
    ///   or what `body` throws.
    public func withLock<Result>(
        timeout: Duration? = nil, isolation: isolated (any Actor)? = #isolation,
        _ body: (borrowing Holder) async throws -> Result
    ) async throws -> Result {
        defer { withExtendedLifetime(self) {} }
        try Task.checkCancellation()
        var status = unsafe cshm_baton_try_acquire(baton)
        if status == Answer.wouldWait {
            let place = unsafe Reactor.Place { unsafe cshm_baton_waitable(baton, $0) }
            let until = deadline(after: timeout)
            status = try await Reactor.wait(at: place, until: until) { [self] in
                unsafe cshm_baton_try_acquire(baton)
            }
        }
        try check(status, "cshm_baton_try_acquire")
        let holder = unsafe Holder(baton: baton, inheritedFromDead: status == Answer.inherited)
        return try await body(holder)
    }

    /// Runs `body` while holding the lock, if nobody holds it now.
    ///
    /// - Parameters:
    ///   - isolation: Where `body` runs: where the caller does.
    ///   - body: What to do. The lock is released when it returns or throws.
    /// - Returns: What `body` returns, or `nil` if another task or process has the lock.
    /// - Throws: `notRecoverable`, or what `body` throws.
    public func withLockIfAvailable<Result>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: (borrowing Holder) async throws -> Result
    ) async throws -> Result? {
        defer { withExtendedLifetime(self) {} }
        let status = unsafe cshm_baton_try_acquire(baton)
        if status == Answer.wouldWait { return nil }
        try check(status, "cshm_baton_try_acquire")
        let holder = unsafe Holder(baton: baton, inheritedFromDead: status == Answer.inherited)
        return try await body(holder)
    }

    /// The process that holds it at some instant of the call, or `nil`.
    ///
    /// For people, never to decide by.
    public var owner: Int32? {
        let pid = unsafe cshm_baton_holder(baton)
        return pid == 0 ? nil : pid
    }

    /// Proof that a task of this process holds an ``AsyncLock``; its end of life releases.
    @safe
    public struct Holder: ~Copyable, Sendable {
        private nonisolated(unsafe) let baton: OpaquePointer
        /// Whether the last holder's process died inside its critical section.
        ///
        /// The data may be half written. Repair it and call ``markRepaired()``: released without,
        /// the lock throws `notRecoverable` for everybody from then on.
        public let inheritedFromDead: Bool

        fileprivate init(baton: OpaquePointer, inheritedFromDead: Bool) {
            unsafe self.baton = baton
            self.inheritedFromDead = inheritedFromDead
        }

        /// Declares the protected data whole again.
        public func markRepaired() {
            _ = unsafe cshm_baton_repair(baton)
        }

        deinit {
            _ = unsafe cshm_baton_release(baton)
        }
    }
}
