// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A mutual-exclusion lock for threads of any process of the family.
///
/// - Processes: safe; send it to a worker like any value. A holder's death hands the lock on: see
///   ``Holder/inheritedFromDead``.
/// - Threads: safe. Not recursive: acquiring it twice on one thread throws `deadlock`.
/// - Tasks: acquiring blocks the thread, and the body cannot `await`.
@safe
public final class Lock: Sendable, Codable {
    private let object: SharedObject
    private nonisolated(unsafe) let mutex: UnsafeMutablePointer<cshm_mutex>

    /// Makes a lock, free.
    ///
    /// - Parameter region: Where it lives; `nil` is the family's region.
    /// - Throws: `full`, `system`.
    public init(in region: Region? = nil) throws(SharedStateError) {
        object = try SharedObject.allocate(MemoryLayout<cshm_mutex>.size, in: region)
        unsafe mutex = try object.address(size: MemoryLayout<cshm_mutex>.size)
            .assumingMemoryBound(to: cshm_mutex.self)
        unsafe cshm_mutex_init(mutex)
    }

    /// Opens the lock a sent handle names.
    public init(from decoder: any Decoder) throws {
        let place = try ObjectPlace(from: decoder)
        object = SharedObject(try place.region(), place.offset, sent: true)
        unsafe mutex = try object.address(size: MemoryLayout<cshm_mutex>.size)
            .assumingMemoryBound(to: cshm_mutex.self)
    }

    /// Sends the handle; the lock then lives as long as its region.
    public func encode(to encoder: any Encoder) throws {
        try object.place().encode(to: encoder)
    }

    deinit {
        object.freeUnlessSent()
    }

    /// Runs `body` while holding the lock.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - body: What to do. The lock is released when it returns or throws.
    /// - Returns: What `body` returns.
    /// - Throws: `timedOut`, `deadlock`, `notRecoverable`, in which cases `body` did not run; or
    ///   what `body` throws.
    public func withLock<Result: ~Copyable>(
        timeout: Duration? = nil, _ body: (borrowing Holder) throws -> Result
    ) throws -> Result {
        let status = try unsafe check(
            cshm_mutex_acquire_until(mutex, deadline(after: timeout)), "cshm_mutex_acquire_until")
        let holder = unsafe Holder(mutex: mutex, inheritedFromDead: status == Answer.inherited)
        return try body(holder)
    }

    /// Runs `body` while holding the lock, if nobody holds it now.
    ///
    /// - Returns: What `body` returns, or `nil` if another thread or process has the lock.
    /// - Throws: `deadlock`, `notRecoverable`, or what `body` throws.
    public func withLockIfAvailable<Result>(
        _ body: (borrowing Holder) throws -> Result
    ) throws -> Result? {
        let status = unsafe cshm_mutex_try_acquire(mutex)
        if status == Answer.wouldWait { return nil }
        try check(status, "cshm_mutex_try_acquire")
        let holder = unsafe Holder(mutex: mutex, inheritedFromDead: status == Answer.inherited)
        return try body(holder)
    }

    /// Proof that the calling thread holds a ``Lock``; its end of life releases.
    @safe
    public struct Holder: ~Copyable {
        private let mutex: UnsafeMutablePointer<cshm_mutex>
        /// Whether the last holder's process died inside its critical section.
        ///
        /// The data may be half written. Repair it and call ``markRepaired()``: released without,
        /// the lock throws `notRecoverable` for everybody from then on.
        public let inheritedFromDead: Bool

        fileprivate init(mutex: UnsafeMutablePointer<cshm_mutex>, inheritedFromDead: Bool) {
            unsafe self.mutex = mutex
            self.inheritedFromDead = inheritedFromDead
        }

        /// Declares the protected data whole again.
        public func markRepaired() {
            _ = unsafe cshm_mutex_repair(mutex)
        }

        deinit {
            _ = unsafe cshm_mutex_release(mutex)
        }
    }
}
