// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A ``Lock`` that the thread which holds it may acquire again; it is released as often.
///
/// - Processes: safe; send it to a worker like any value. A holder's death hands the lock on, however
///   often it held it: see ``Lock/Holder/inheritedFromDead``.
/// - Threads: safe. It belongs to a thread.
/// - Tasks: acquiring may suspend, the body cannot `await`; in the body the thread acquires it again by
///   the blocking form.
///
/// The corresponding C function is `cshm_mutex_init_recursive`.
@safe
public final class RecursiveLock: Sendable, Codable {
    private let object: SharedObject
    private nonisolated(unsafe) let mutex: UnsafeMutablePointer<cshm_mutex>
    private let callers: Callers

    private init(_ object: SharedObject) throws(SharedStateError) {
        self.object = object
        let mutex = unsafe try Mutexes.open(object, recursive: true)
        unsafe self.mutex = mutex
        unsafe callers = Callers { unsafe cshm_mutex_waitable(mutex, $0) }
    }

    /// Makes a lock, free.
    ///
    /// - Parameter region: Where it lives; `nil` is the family's region.
    /// - Throws: `full`, `system`.
    public convenience init(in region: Region? = nil) throws(SharedStateError) {
        try self.init(Mutexes.make(in: region, named: nil, recursive: true))
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
        try self.init(Mutexes.make(in: region, named: name, recursive: true))
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

    /// Runs `body` while holding the lock.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - body: What to do. The lock is released, once, when it returns or throws.
    /// - Returns: What `body` returns.
    /// - Throws: `timedOut`, `notRecoverable`, in which cases `body` did not run; or what `body`
    ///   throws.
    public func withLock<Result: ~Copyable>(
        timeout: Duration? = nil, _ body: (borrowing Lock.Holder) throws -> Result
    ) throws -> Result {
        defer { withExtendedLifetime(self) {} }
        let status = try unsafe check(
            cshm_mutex_acquire_until(mutex, deadline(after: timeout)), "cshm_mutex_acquire_until",
            Mutexes.describe(mutex))
        let holder = unsafe Lock.Holder(
            mutex: mutex, inheritedFromDead: status == Answer.inherited)
        return try body(holder)
    }

    /// Runs `body` while holding the lock, if no other thread holds it now.
    ///
    /// - Returns: What `body` returns, or `nil` if another thread or process has the lock.
    /// - Throws: `notRecoverable`, or what `body` throws.
    public func withLockIfAvailable<Result>(
        _ body: (borrowing Lock.Holder) throws -> Result
    ) throws -> Result? {
        defer { withExtendedLifetime(self) {} }
        let status = unsafe cshm_mutex_try_acquire(mutex)
        if status == Answer.wouldWait { return nil }
        try check(status, "cshm_mutex_try_acquire")
        let holder = unsafe Lock.Holder(
            mutex: mutex, inheritedFromDead: status == Answer.inherited)
        return try body(holder)
    }

    /// Runs `body` while holding the lock, which it acquires without holding a thread.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - isolation: Where `body` runs: where the caller does.
    ///   - body: What to do. It cannot `await`. The lock is released, once, when it returns or throws.
    /// - Returns: What `body` returns.
    /// - Throws: As the blocking form, and `CancellationError`, if `body` did not run.
    public func withLock<Result>(
        timeout: Duration? = nil, isolation: isolated (any Actor)? = #isolation,
        _ body: (borrowing Lock.Holder) throws -> Result
    ) async throws -> Result {
        let until = deadline(after: timeout)
        return try await callers.acquire(until: until, keeping: self, isolation: isolation) {
            isWoken in
            unsafe isWoken ? cshm_mutex_try_acquire_woken(mutex) : cshm_mutex_try_acquire(mutex)
        } use: { status in
            try unsafe check(status, "cshm_mutex_try_acquire", Mutexes.describe(mutex))
            let holder = unsafe Lock.Holder(
                mutex: mutex, inheritedFromDead: status == Answer.inherited)
            return try body(holder)
        }
    }

    /// Who holds it at some instant of the call, or `nil`.
    ///
    /// For people, never to decide by.
    public var owner: LockOwner? { unsafe Mutexes.owner(mutex) }
}
