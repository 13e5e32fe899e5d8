// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// Any number of readers, or one writer: threads of any process of the family.
///
/// Use it where readers hold it for long; for a few loads a ``Lock`` is as fast. No thread starves: one
/// that comes to read while a writer waits is served after that writer, and before the next one; those
/// that have waited for 10 ms to write go in the order of their coming, and a stopped one is passed over.
/// Tasks do not line up: the forms for them say who may go first.
///
/// - Processes: safe; send it to a worker like any value.
/// - Threads: safe. Writing belongs to a thread. A thread that reads may read again; one that reads
///   and wants to write, or writes and wants either, throws `deadlock`.
/// - Tasks: acquiring may suspend, the body cannot `await`.
/// - Death: a dead reader no longer reads. A writer that died writing hands the lock to the next
///   writer, who learns it (``WriteHolder/inheritedFromDead``); until that has repaired the data,
///   readers throw `notRepaired`.
///
/// The corresponding C header is `cshm/rwlock.h`.
@safe
public final class ReadWriteLock: Sendable, Codable {
    private let object: SharedObject
    private nonisolated(unsafe) let lock: OpaquePointer
    private let writers: Callers

    private init(_ object: SharedObject) throws(SharedStateError) {
        var opened: OpaquePointer?
        try unsafe check(
            cshm_rwlock_open(object.region.pointer, object.offset, &opened), "cshm_rwlock_open")
        let lock = unsafe opened.unsafelyUnwrapped
        unsafe self.lock = lock
        self.object = object
        unsafe writers = Callers(2) { unsafe cshm_rwlock_writable(lock, $0) }
    }

    /// Makes a lock, free.
    ///
    /// - Parameters:
    ///   - readers: How many may read at once, over all processes, 1 to 4096; the others wait.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `invalidArgument`, `full`, `system`.
    public convenience init(readers: Int = 64, in region: Region? = nil) throws(SharedStateError) {
        let made = try Self.make(readers, in: region)
        try self.init(SharedObject(made.region, made.offset, sent: false))
    }

    /// Makes a lock with a name, by which any program that opens the region finds it.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - readers: As for ``init(readers:in:)``.
    /// - Throws: `alreadyExists`, `invalidArgument`, `full`, `system`.
    public convenience init(
        creating name: String, in region: Region?, readers: Int = 64
    ) throws(SharedStateError) {
        let made = try Self.make(readers, in: region)
        try self.init(
            SharedObject(made.region, made.offset, named: name, kind: CSHM_KIND_RWLOCK, tag: 0))
    }

    /// Opens the lock of that name.
    ///
    /// - Throws: `notFound`, `incompatible` (not such a lock).
    public convenience init(opening name: String, in region: Region?) throws(SharedStateError) {
        try self.init(SharedObject(opening: name, in: region, kind: CSHM_KIND_RWLOCK))
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
            unsafe cshm_rwlock_close(lock)
        } else {
            unsafe cshm_rwlock_destroy(lock)
        }
    }

    private static func make(
        _ readers: Int, in region: Region?
    ) throws(SharedStateError) -> (region: Region, offset: UInt64) {
        guard (1...Int(CSHM_RWLOCK_READERS_MAX)).contains(readers) else {
            throw SharedStateError(
                .invalidArgument, "a lock has 1 to 4096 readers at once, not \(readers)")
        }
        let region = try Region.orFamily(region)
        var offset: UInt64 = 0
        try unsafe check(
            cshm_rwlock_create(region.pointer, UInt32(readers), &offset), "cshm_rwlock_create")
        return (region, offset)
    }

    // MARK: Reading

    /// Runs `body` while reading.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - body: What to do. The lock is released when it returns or throws.
    /// - Returns: What `body` returns.
    /// - Throws: `timedOut`, `deadlock`, `notRepaired`, `notRecoverable`, in which cases `body` did
    ///   not run; or what `body` throws.
    public func withReadLock<Result: ~Copyable>(
        timeout: Duration? = nil, _ body: () throws -> Result
    ) throws -> Result {
        var cell: UInt32 = 0
        try unsafe check(
            cshm_rwlock_acquire_read_until(lock, deadline(after: timeout), &cell),
            "cshm_rwlock_acquire_read_until")
        defer { _ = unsafe cshm_rwlock_release_read(lock, cell) }
        return try body()
    }

    /// Runs `body` while reading, if no writer has the lock or waits for it.
    ///
    /// - Returns: What `body` returns, or `nil` if it would have had to wait.
    /// - Throws: `deadlock`, `notRepaired`, `notRecoverable`, or what `body` throws.
    public func withReadLockIfAvailable<Result>(_ body: () throws -> Result) throws -> Result? {
        var cell: UInt32 = 0
        let status = unsafe cshm_rwlock_try_acquire_read(lock, &cell)
        if status == Answer.wouldWait { return nil }
        try check(status, "cshm_rwlock_try_acquire_read")
        defer { _ = unsafe cshm_rwlock_release_read(lock, cell) }
        return try body()
    }

    /// Runs `body` while reading, which it begins without holding a thread.
    ///
    /// It does not line up: it is not handed the lock as a thread is, which runs at once, but tries when
    /// its turn on its actor comes. Where writers come one upon the other, they may go first without bound.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - isolation: Where `body` runs: where the caller does.
    ///   - body: What to do. It cannot `await`.
    /// - Returns: What `body` returns.
    /// - Throws: As the blocking form, and `CancellationError`, if `body` did not run.
    public func withReadLock<Result>(
        timeout: Duration? = nil, isolation: isolated (any Actor)? = #isolation,
        _ body: () throws -> Result
    ) async throws -> Result {
        let until = deadline(after: timeout)
        while true {
            try Task.checkCancellation()
            var cell: UInt32 = 0
            let status = unsafe cshm_rwlock_try_acquire_read(lock, &cell)
            if status != Answer.wouldWait {
                try check(status, "cshm_rwlock_try_acquire_read")
                defer { _ = unsafe cshm_rwlock_release_read(lock, cell) }
                return try body()
            }
            // Waits until it looks as if it could be had, and then tries where the caller runs.
            var native = unsafe cshm_waitable()
            unsafe cshm_rwlock_readable(lock, &native)
            let waitable = unsafe NativeWaitable(native: native)
            let place = unsafe Reactor.Place(native, .anyone)
            let called = try await Reactor.wait(at: place, until: until) { [self] in
                withExtendedLifetime(self) { waitable.isReady ? 0 : Answer.wouldWait }
            }
            try check(called, "cshm_rwlock_try_acquire_read")
        }
    }

    // MARK: Writing

    /// Runs `body` while writing.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - body: What to do. The lock is released when it returns or throws.
    /// - Returns: What `body` returns.
    /// - Throws: `timedOut`, `deadlock`, `notRecoverable`, in which cases `body` did not run; or what
    ///   `body` throws.
    public func withWriteLock<Result: ~Copyable>(
        timeout: Duration? = nil, _ body: (borrowing WriteHolder) throws -> Result
    ) throws -> Result {
        defer { withExtendedLifetime(self) {} }
        let status = try unsafe check(
            cshm_rwlock_acquire_write_until(lock, deadline(after: timeout)),
            "cshm_rwlock_acquire_write_until")
        let holder = unsafe WriteHolder(lock: lock, inheritedFromDead: status == Answer.inherited)
        return try body(holder)
    }

    /// Runs `body` while writing, if nobody has the lock.
    ///
    /// - Returns: What `body` returns, or `nil` if somebody reads or writes.
    /// - Throws: `deadlock`, `notRecoverable`, or what `body` throws.
    public func withWriteLockIfAvailable<Result>(
        _ body: (borrowing WriteHolder) throws -> Result
    ) throws -> Result? {
        defer { withExtendedLifetime(self) {} }
        let status = unsafe cshm_rwlock_try_acquire_write(lock)
        if status == Answer.wouldWait { return nil }
        try check(status, "cshm_rwlock_try_acquire_write")
        let holder = unsafe WriteHolder(lock: lock, inheritedFromDead: status == Answer.inherited)
        return try body(holder)
    }

    /// Runs `body` while writing, which it begins without holding a thread.
    ///
    /// Other writers may go first, as it does not line up. Who comes to read while it waits for readers
    /// is served after it, unless it lets the lock be free for 20 ms, as it may if its actor is busy.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - isolation: Where `body` runs: where the caller does.
    ///   - body: What to do. It cannot `await`.
    /// - Returns: What `body` returns.
    /// - Throws: As the blocking form, and `CancellationError`, if `body` did not run.
    public func withWriteLock<Result>(
        timeout: Duration? = nil, isolation: isolated (any Actor)? = #isolation,
        _ body: (borrowing WriteHolder) throws -> Result
    ) async throws -> Result {
        let until = deadline(after: timeout)
        var waits = true
        // Readers that came later need not wait for who gives up.
        defer { if waits { unsafe cshm_rwlock_withdraw_write(lock) } }
        return try await writers.acquire(until: until, keeping: self, isolation: isolation) {
            isWoken in
            unsafe isWoken
                ? cshm_rwlock_try_acquire_write_woken(lock) : cshm_rwlock_try_acquire_write(lock)
        } use: { status in
            try check(status, "cshm_rwlock_try_acquire_write")
            waits = false
            let holder = unsafe WriteHolder(
                lock: lock, inheritedFromDead: status == Answer.inherited)
            return try body(holder)
        }
    }

    // MARK: Looking

    /// Who writes, or waits for readers to write, at some instant of the call.
    ///
    /// For people, never to decide by.
    public var writer: LockOwner? {
        let info = describe()
        guard info.writer_pid != 0 else { return nil }
        return LockOwner(
            processIdentifier: info.writer_pid, threadIdentifier: info.writer_thread, count: 1,
            acquired: info.writer_since_ns)
    }

    /// How many read, or died reading.
    public var readerCount: Int { Int(describe().readers) }

    private func describe() -> cshm_rwlock_info {
        var info = cshm_rwlock_info()
        unsafe cshm_rwlock_describe(lock, &info)
        return info
    }

    /// Proof that the calling thread writes; its end of life releases.
    @safe
    public struct WriteHolder: ~Copyable {
        private let lock: OpaquePointer
        /// Whether a writer's process died writing.
        ///
        /// The data may be half written. Repair it and call ``markRepaired()``: released without,
        /// the lock throws `notRecoverable` for everybody from then on.
        public let inheritedFromDead: Bool

        fileprivate init(lock: OpaquePointer, inheritedFromDead: Bool) {
            unsafe self.lock = lock
            self.inheritedFromDead = inheritedFromDead
        }

        /// Declares the protected data whole again.
        public func markRepaired() {
            _ = unsafe cshm_rwlock_repair(lock)
        }

        deinit {
            _ = unsafe cshm_rwlock_release_write(lock)
        }
    }
}
