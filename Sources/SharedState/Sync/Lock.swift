// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A mutual-exclusion lock for threads of any process of the family.
///
/// - Processes: safe; send it to a worker like any value. A holder's death hands the lock on: see
///   ``Holder/inheritedFromDead``.
/// - Threads: safe. It belongs to a thread: acquiring it twice on one throws `deadlock`; see
///   ``RecursiveLock``. It is not fair.
/// - Tasks: acquiring may suspend, the body cannot `await`, and runs where its caller does; see
///   ``AsyncLock`` for one that can.
///
/// The corresponding C header is `cshm/mutex.h`.
@safe
public final class Lock: Sendable, Codable {
    internal let object: SharedObject
    @usableFromInline internal nonisolated(unsafe) let address: UnsafeMutableRawPointer
    private let callers: Callers

    internal var mutex: UnsafeMutablePointer<cshm_mutex> {
        unsafe address.assumingMemoryBound(to: cshm_mutex.self)
    }

    internal convenience init(_ object: SharedObject) throws(SharedStateError) {
        unsafe self.init(inside: object, at: try Mutexes.open(object, recursive: false))
    }

    /// A lock that is part of another object; its end is the end of that.
    internal init(inside object: SharedObject, at mutex: UnsafeMutablePointer<cshm_mutex>) {
        self.object = object
        unsafe address = UnsafeMutableRawPointer(mutex)
        unsafe callers = Callers { unsafe cshm_mutex_waitable(mutex, $0) }
    }

    /// Makes a lock, free.
    ///
    /// - Parameter region: Where it lives; `nil` is the family's region.
    /// - Throws: `full`, `system`.
    public convenience init(in region: Region? = nil) throws(SharedStateError) {
        try self.init(Mutexes.make(in: region, named: nil, recursive: false))
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
        try self.init(Mutexes.make(in: region, named: name, recursive: false))
    }

    /// Opens the lock of that name.
    ///
    /// - Throws: `notFound`, `incompatible` (not such a lock).
    public convenience init(opening name: String, in region: Region?) throws(SharedStateError) {
        try self.init(SharedObject(opening: name, in: region, kind: CSHM_KIND_MUTEX))
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
        object.freeUnlessSent()
    }

    // MARK: Acquiring

    /// Runs `body` while holding the lock.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - body: What to do. The lock is released when it returns or throws.
    /// - Returns: What `body` returns.
    /// - Throws: `timedOut`, `deadlock`, `notRecoverable`, in which cases `body` did not run; or
    ///   what `body` throws.
    @inlinable
    @inline(__always)
    public func withLock<Result: ~Copyable>(
        timeout: Duration? = nil, _ body: (borrowing Holder) throws -> Result
    ) throws -> Result {
        defer { withExtendedLifetime(self) {} }
        let status = acquire(until: timeout == nil ? .max : Self.deadline(timeout))
        if status < 0 { try fail(status) }
        let holder = unsafe Holder(address: address, inheritedFromDead: status != 0)
        return try body(holder)
    }

    /// Runs `body` while holding the lock, if nobody holds it now.
    ///
    /// - Returns: What `body` returns, or `nil` if another thread or process has the lock.
    /// - Throws: `deadlock`, `notRecoverable`, or what `body` throws.
    @inlinable
    public func withLockIfAvailable<Result>(
        _ body: (borrowing Holder) throws -> Result
    ) throws -> Result? {
        defer { withExtendedLifetime(self) {} }
        let status = tryAcquire()
        if status < 0 {
            if status == Self.wouldWait { return nil }
            try fail(status)
        }
        let holder = unsafe Holder(address: address, inheritedFromDead: status != 0)
        return try body(holder)
    }

    /// Runs `body` while holding the lock, which it acquires without holding a thread.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - isolation: Where `body` runs: where the caller does.
    ///   - body: What to do. It cannot `await`.
    /// - Returns: What `body` returns.
    /// - Throws: As the blocking form, and `CancellationError`, if `body` did not run.
    public func withLock<Result>(
        timeout: Duration? = nil, isolation: isolated (any Actor)? = #isolation,
        _ body: (borrowing Holder) throws -> Result
    ) async throws -> Result {
        let until = SharedState.deadline(after: timeout)
        return try await callers.acquire(until: until, keeping: self, isolation: isolation) {
            isWoken in
            unsafe isWoken ? cshm_mutex_try_acquire_woken(mutex) : cshm_mutex_try_acquire(mutex)
        } use: { status in
            if status < 0 { try fail(status) }
            let holder = unsafe Holder(address: address, inheritedFromDead: status != 0)
            return try body(holder)
        }
    }

    // What the inlined code calls.

    @usableFromInline
    internal func acquire(until deadline: Int64) -> Int32 {
        unsafe cshm_mutex_acquire_until(mutex, deadline)
    }

    @usableFromInline
    internal func tryAcquire() -> Int32 {
        unsafe cshm_mutex_try_acquire(mutex)
    }

    @usableFromInline
    internal static func release(_ address: UnsafeMutableRawPointer) {
        _ = unsafe cshm_mutex_release(address.assumingMemoryBound(to: cshm_mutex.self))
    }

    @usableFromInline
    @inline(never)
    internal func fail(_ status: Int32) throws -> Never {
        throw unsafe SharedStateError(
            status: status, "cshm_mutex_acquire", Mutexes.describe(mutex))
    }

    @usableFromInline
    internal static var wouldWait: Int32 { Answer.wouldWait }

    @usableFromInline
    internal static func deadline(_ timeout: Duration?) -> Int64 {
        SharedState.deadline(after: timeout)
    }

    /// Who holds it at some instant of the call, or `nil`.
    ///
    /// For people, never to decide by.
    public var owner: LockOwner? { unsafe Mutexes.owner(mutex) }

    /// Proof that the calling thread holds a ``Lock``; its end of life releases.
    @safe
    public struct Holder: ~Copyable {
        @usableFromInline internal let address: UnsafeMutableRawPointer
        /// Whether the last holder's process died inside its critical section.
        ///
        /// The data may be half written. Repair it and call ``markRepaired()``: released without,
        /// the lock throws `notRecoverable` for everybody from then on.
        public let inheritedFromDead: Bool

        internal var mutex: UnsafeMutablePointer<cshm_mutex> {
            unsafe address.assumingMemoryBound(to: cshm_mutex.self)
        }

        @inlinable
        internal init(address: UnsafeMutableRawPointer, inheritedFromDead: Bool) {
            unsafe self.address = address
            self.inheritedFromDead = inheritedFromDead
        }

        internal init(mutex: UnsafeMutablePointer<cshm_mutex>, inheritedFromDead: Bool) {
            unsafe self.init(
                address: UnsafeMutableRawPointer(mutex), inheritedFromDead: inheritedFromDead)
        }

        /// When it was acquired, if this process watches its locks; see ``LockWatch``.
        public var since: SuspendingClock.Instant? { unsafe Mutexes.owner(mutex)?.since }

        /// Declares the protected data whole again.
        public func markRepaired() {
            _ = unsafe cshm_mutex_repair(mutex)
        }

        @inlinable
        deinit {
            unsafe Lock.release(address)
        }
    }
}

/// Who holds a lock.
public struct LockOwner: Hashable, Sendable, CustomStringConvertible {
    /// Its process.
    public let processIdentifier: Int32
    /// Its thread, as the kernel numbers them.
    public let threadIdentifier: Int32
    /// How often it holds it; more than 1 only of a ``RecursiveLock``.
    public let count: Int
    /// When it was acquired, by `cshm_now_ns()`; 0 is not known.
    internal let acquired: Int64

    /// When it acquired it, if its process watches its locks; see ``LockWatch``.
    public var since: SuspendingClock.Instant? {
        acquired == 0 ? nil : instant(ofMonotonic: acquired)
    }

    /// Process and thread, and for how long it is known to hold it; for people.
    public var description: String {
        "thread \(threadIdentifier) of process \(processIdentifier)"
            + (count > 1 ? ", \(count) times" : "")
            + (since.map { ", for \(SuspendingClock.now - $0)" } ?? "")
    }
}

/// What ``Lock`` and ``RecursiveLock`` have in common.
internal enum Mutexes {
    static func make(
        in region: Region?, named name: String?, recursive: Bool
    ) throws(SharedStateError) -> SharedObject {
        try unsafe SharedObject.make(
            MemoryLayout<cshm_mutex>.size, in: region, named: name, kind: CSHM_KIND_MUTEX
        ) {
            let mutex = unsafe $0.assumingMemoryBound(to: cshm_mutex.self)
            if recursive {
                unsafe cshm_mutex_init_recursive(mutex)
            } else {
                unsafe cshm_mutex_init(mutex)
            }
        }
    }

    static func open(
        _ object: SharedObject, recursive: Bool
    ) throws(SharedStateError) -> UnsafeMutablePointer<cshm_mutex> {
        let mutex = unsafe try object.address(size: MemoryLayout<cshm_mutex>.size)
            .assumingMemoryBound(to: cshm_mutex.self)
        var info = cshm_mutex_info()
        try unsafe check(cshm_mutex_describe(mutex, &info), "cshm_mutex_describe")
        guard (info.is_recursive != 0) == recursive else {
            throw SharedStateError(
                .incompatible, recursive ? "the lock is not recursive" : "the lock is recursive")
        }
        return unsafe mutex
    }

    static func owner(_ mutex: UnsafeMutablePointer<cshm_mutex>) -> LockOwner? {
        var info = cshm_mutex_info()
        guard unsafe cshm_mutex_describe(mutex, &info) == 0, info.holder_pid != 0 else {
            return nil
        }
        return LockOwner(
            processIdentifier: info.holder_pid, threadIdentifier: info.holder_thread,
            count: Int(info.depth), acquired: info.since_ns)
    }

    /// For an error's text: who has it.
    static func describe(_ mutex: UnsafeMutablePointer<cshm_mutex>) -> String {
        unsafe owner(mutex).map { "a lock held by \($0)" } ?? "a lock"
    }
}
