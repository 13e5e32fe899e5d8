// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Synchronization

/// A lock, and a place where its holders wait until what it guards has changed.
///
///     try condition.withLock { holder in
///         try condition.wait(holder) { !inbox.isEmpty }
///         take(from: inbox)
///     }
///     …
///     try condition.withLock { holder in
///         inbox.append(letter)
///         try condition.notify(holder)
///     }
///
/// A notification lets exactly one waiter go on, the longest waiting; one without waiters is lost.
/// Nobody goes on without one, but after a death; so wait *for* something, as above.
///
/// - Processes: safe; send it to a worker like any value. Threads: safe.
/// - Tasks: ``withLock(timeout:when:_:)`` waits without holding a thread.
/// - Death: the notification of a waiter that dies goes to another, a thread or a task, within some
///   50 ms. If a process dies with the lock and nobody else comes, one of the waiters gets it, and its
///   wait, or the holder that a task is given, says so.
///
/// The corresponding C header is `cshm/condition.h`.
@safe
public final class Condition: Sendable, Codable {
    /// How a wait ended, after which the lock is held again.
    @frozen
    public enum Wakeup: Sendable {
        /// By a notification, or because what was waited for holds.
        case notified
        /// By the time-out.
        case timedOut
        /// The lock's last holder died with it: the data may be half written. Repair it, and call
        /// ``Lock/Holder/markRepaired()``, as after an acquisition.
        case inheritedFromDead
    }

    /// The lock that guards what is waited for.
    public let lock: Lock
    private let object: SharedObject
    private nonisolated(unsafe) let condition: OpaquePointer
    /// When a task of this process looks for the dead again.
    private let nextSearch = Atomic<Int64>(0)

    private init(_ lock: Lock, _ object: SharedObject) throws(SharedStateError) {
        var opened: OpaquePointer?
        try unsafe check(
            cshm_condition_open(object.region.pointer, object.offset, &opened),
            "cshm_condition_open")
        unsafe condition = opened.unsafelyUnwrapped
        self.lock = lock
        self.object = object
    }

    /// Makes a condition.
    ///
    /// - Parameters:
    ///   - lock: The lock that guards what is waited for; `nil` makes one. Several conditions may
    ///     have the same one.
    ///   - waiters: How many may wait at once, over all processes, 1 to 4096.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `invalidArgument`, `full`, `system`.
    public convenience init(
        _ lock: Lock? = nil, waiters: Int = 128, in region: Region? = nil
    ) throws(SharedStateError) {
        guard (1...Int(CSHM_CONDITION_WAITERS_MAX)).contains(waiters) else {
            throw SharedStateError(
                .invalidArgument, "a condition has 1 to 4096 waiters, not \(waiters)")
        }
        let ownLock: Lock
        if let lock { ownLock = lock } else { ownLock = try Lock(in: region) }
        let region = try Region.orFamily(region)
        var offset: UInt64 = 0
        try unsafe check(
            cshm_condition_create(region.pointer, UInt32(waiters), &offset),
            "cshm_condition_create")
        try self.init(ownLock, SharedObject(region, offset, sent: false))
    }

    /// Opens the condition a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        var container = try decoder.unkeyedContainer()
        let lock = try container.decode(Lock.self)
        let place = try container.decode(ObjectPlace.self)
        try self.init(lock, SharedObject(arriving: place))
    }

    /// Sends the handle; condition and lock then live as long as their region, or, if they are sent by queues and
    /// stored in containers only, as long as anybody has them.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.unkeyedContainer()
        try container.encode(lock)
        try container.encode(object.place())
    }

    deinit {
        if object.wasSent {
            unsafe cshm_condition_close(condition)
        } else {
            unsafe cshm_condition_destroy(condition)
        }
    }

    // MARK: Names

    /// Gives it a name, by which any program that opens its region finds it; its lock gets the same
    /// name with `.lock` behind it.
    ///
    /// C finds both by `cshm_directory_find`.
    ///
    /// - Parameter name: 1 to 195 bytes.
    /// - Throws: `alreadyExists`, `invalidArgument`, `full`; then it has no name.
    public func setName(_ name: String) throws(SharedStateError) {
        try lock.object.name(name + ".lock", kind: CSHM_KIND_MUTEX, tag: 0)
        do throws(SharedStateError) {
            try object.name(name, kind: CSHM_KIND_CONDITION, tag: 0)
        } catch {
            try? lock.object.region.removeName(name + ".lock")
            throw error
        }
    }

    /// Gives it a name, whose lock has the one that belongs to it already.
    internal func setName(_ name: String, besideItsLock: Void) throws(SharedStateError) {
        try object.name(name, kind: CSHM_KIND_CONDITION, tag: 0)
    }

    /// Opens the condition of that name, with its lock.
    ///
    /// - Parameters:
    ///   - name: The name it was given.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `notFound`, `incompatible` (not a condition).
    public convenience init(opening name: String, in region: Region?) throws(SharedStateError) {
        // Before its lock: what is of another kind has none.
        let object = try SharedObject(opening: name, in: region, kind: CSHM_KIND_CONDITION)
        try self.init(Lock(opening: name + ".lock", in: region), object)
    }

    // MARK: Waiting

    /// Runs `body` while holding the lock: the same as ``lock``'s.
    public func withLock<Result: ~Copyable>(
        timeout: Duration? = nil, _ body: (borrowing Lock.Holder) throws -> Result
    ) throws -> Result {
        try lock.withLock(timeout: timeout, body)
    }

    /// Releases the lock, waits to be notified, and acquires the lock again, however long that takes.
    ///
    /// - Parameters:
    ///   - holder: Proof that the calling thread holds the lock.
    ///   - timeout: The longest wait to be notified; `nil` waits without limit.
    /// - Returns: How it ended.
    /// - Throws: `tooManyUsers` (as many wait); `notRecoverable`, and then the lock is not held.
    @discardableResult
    public func wait(
        _ holder: borrowing Lock.Holder, timeout: Duration? = nil
    ) throws(SharedStateError) -> Wakeup {
        try wait(holder, until: deadline(after: timeout))
    }

    /// Waits until `predicate` holds.
    ///
    /// - Parameters:
    ///   - holder: Proof that the calling thread holds the lock.
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - predicate: What is waited for; it runs with the lock held.
    /// - Returns: `notified` if it holds, `timedOut` if it does not; `inheritedFromDead`, and then it
    ///   was not asked.
    /// - Throws: As ``wait(_:timeout:)``, or what `predicate` throws.
    @discardableResult
    public func wait(
        _ holder: borrowing Lock.Holder, timeout: Duration? = nil,
        until predicate: () throws -> Bool
    ) throws -> Wakeup {
        let until = deadline(after: timeout)
        while try !predicate() {
            let wakeup = try wait(holder, until: until)
            if wakeup == .timedOut { return try predicate() ? .notified : .timedOut }
            if wakeup == .inheritedFromDead { return wakeup }
        }
        return .notified
    }

    private func wait(
        _ holder: borrowing Lock.Holder, until: Int64
    ) throws(SharedStateError) -> Wakeup {
        try checkOwn(holder)
        let status = unsafe cshm_condition_wait_until(condition, lock.mutex, until)
        switch status {
        case 0: return .notified
        case Answer.inherited: return .inheritedFromDead
        case Answer.timedOut: return .timedOut
        default: throw SharedStateError(status: status, "cshm_condition_wait_until", "")
        }
    }

    private func checkOwn(_ holder: borrowing Lock.Holder) throws(SharedStateError) {
        guard unsafe holder.mutex == lock.mutex else {
            throw SharedStateError(.invalidArgument, "the holder is that of another lock")
        }
    }

    // MARK: Notifying

    /// Lets those who have waited longest go on, as soon as the lock is released.
    ///
    /// - Parameters:
    ///   - holder: Proof that the calling thread holds the lock.
    ///   - count: How many at most.
    /// - Returns: How many there were.
    /// - Throws: `invalidArgument` (the holder is of another lock).
    @discardableResult
    public func notify(
        _ holder: borrowing Lock.Holder, count: Int = 1
    ) throws(SharedStateError) -> Int {
        try checkOwn(holder)
        let count = UInt32(clamping: max(0, count))
        return Int(
            try unsafe check(
                cshm_condition_notify(condition, lock.mutex, count), "cshm_condition_notify"))
    }

    /// Lets everybody go on who waits.
    ///
    /// - Parameter holder: Proof that the calling thread holds the lock.
    /// - Returns: How many there were.
    /// - Throws: As ``notify(_:count:)``.
    @discardableResult
    public func notifyAll(_ holder: borrowing Lock.Holder) throws(SharedStateError) -> Int {
        try notify(holder, count: .max)
    }

    /// How many wait and are not notified, at some instant of the call.
    public var waiting: Int { Int(unsafe cshm_condition_waiting(condition)) }

    // MARK: Tasks

    /// Runs `body` while holding the lock, as soon as `predicate` holds, without holding a thread
    /// while it waits for that.
    ///
    /// Whoever makes it hold notifies. A task that looked in vain waits on in its place: before those
    /// that came later. So where tasks wait for different things, notify all of them.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - isolation: Where both run: where the caller does.
    ///   - predicate: What is waited for; it runs with the lock held, at first, when the task was
    ///     notified, and after deaths. If the lock was inherited from the dead, it repairs the data and
    ///     says so by ``Lock/Holder/markRepaired()``, or leaves that to `body`.
    ///   - body: What to do, with the lock still held. If the lock was inherited and `predicate` did not
    ///     repair, it runs whatever that returned; ``Lock/Holder/inheritedFromDead`` says so. It cannot
    ///     `await`.
    /// - Returns: What `body` returns.
    /// - Throws: `timedOut`, `tooManyUsers`, `notRecoverable`, `system` (there is no thread to be
    ///   had), `CancellationError`, in which cases `body` did not run; or what `predicate` or `body`
    ///   throws. What the task was notified of is then for another waiter.
    public func withLock<Result>(
        timeout: Duration? = nil, isolation: isolated (any Actor)? = #isolation,
        when predicate: (borrowing Lock.Holder) throws -> Bool,
        _ body: (borrowing Lock.Holder) throws -> Result
    ) async throws -> Result {
        let until = deadline(after: timeout)
        var waiter: Waiter?
        defer { waiter?.leave() }
        while true {
            let isLast = Task.isCancelled || cshm_now_ns() >= until
            let left = remaining(until)
            let look = try await lock.withLock(timeout: left, isolation: isolation) { holder in
                try self.look(holder, waiter, isLast, predicate, body)
            }
            switch look {
            case .done(let result): return result
            case .waits(let entered): waiter = entered
            case .over:
                try Task.checkCancellation()
                throw SharedStateError(.timedOut, "the time-out passed first")
            }
            do {
                try await waiter?.wait(until: until)
            } catch is CancellationError {
                // The next look is the last.
            }
        }
    }

    private func remaining(_ until: Int64) -> Duration? {
        until == .max ? nil : .nanoseconds(max(0, until - cshm_now_ns()))
    }

    private enum Look<Result> {
        case done(Result)
        case waits(Waiter)
        case over
    }

    /// With the lock held: does the work and gives up the place in the table, or keeps or takes one.
    private func look<Result>(
        _ holder: borrowing Lock.Holder, _ waiter: Waiter?, _ isLast: Bool,
        _ predicate: (borrowing Lock.Holder) throws -> Bool,
        _ body: (borrowing Lock.Holder) throws -> Result
    ) throws -> Look<Result> {
        if try predicate(holder) {
            waiter?.end()
            return .done(try body(holder))
        }
        // Released as it is, nobody could have it any more. What the task was notified of is for another.
        if unsafe cshm_mutex_needs_repair(lock.mutex) == 1 { return .done(try body(holder)) }
        if isLast { return .over }
        guard let waiter else { return .waits(try Waiter(at: self)) }
        try waiter.waitOn()
        return .waits(waiter)
    }

    fileprivate func begin(
        _ waiter: UnsafeMutablePointer<cshm_condition_waiter>
    ) throws(SharedStateError) {
        try unsafe check(
            cshm_condition_begin(condition, lock.mutex, waiter), "cshm_condition_begin")
    }

    fileprivate func again(
        _ waiter: UnsafePointer<cshm_condition_waiter>
    ) throws(SharedStateError) {
        try unsafe check(cshm_condition_again(waiter, lock.mutex), "cshm_condition_again")
    }

    /// Whether a task that is not notified has to take the lock for the sake of the dead.
    ///
    /// Its last holder died, or somebody did who was notified. For those one task looks at a time, now
    /// and then.
    fileprivate func hasDead() -> Bool {
        if unsafe cshm_mutex_is_orphaned(lock.mutex) == 1 { return true }
        let now = cshm_now_ns()
        let next = nextSearch.load(ordering: .relaxed)
        guard now >= next else { return false }
        let (isMine, _) = nextSearch.compareExchange(
            expected: next, desired: now + 20_000_000, ordering: .relaxed)
        guard isMine else { return false }
        return unsafe cshm_condition_has_orphan(condition) == 1
    }

    /// Has the next task that is asked look for the dead.
    fileprivate func searchSoon() {
        nextSearch.store(0, ordering: .relaxed)
    }
}

/// A task's place in a condition's table, where C can look at it.
@safe
private final class Waiter: Sendable {
    private let condition: Condition
    private nonisolated(unsafe) let pointer: UnsafeMutablePointer<cshm_condition_waiter>
    private let isIn: Atomic<Bool>

    /// Takes a place, with the lock held.
    init(at condition: Condition) throws(SharedStateError) {
        let pointer = UnsafeMutablePointer<cshm_condition_waiter>.allocate(capacity: 1)
        unsafe pointer.initialize(to: cshm_condition_waiter())
        do {
            try unsafe condition.begin(pointer)
        } catch {
            unsafe pointer.deallocate()
            throw error
        }
        unsafe self.pointer = pointer
        self.condition = condition
        isIn = Atomic(true)
    }

    deinit {
        unsafe pointer.deallocate()
    }

    /// Waits on where it is, with the lock held, after a look in vain.
    func waitOn() throws(SharedStateError) {
        try unsafe condition.again(pointer)
    }

    /// Gives the place up, with the lock held.
    func end() {
        guard isIn.exchange(false, ordering: .relaxed) else { return }
        unsafe cshm_condition_end(pointer)
    }

    /// Gives the place up, if it has one, whoever holds the lock; what it was notified of is for
    /// another.
    func leave() {
        guard isIn.exchange(false, ordering: .relaxed) else { return }
        condition.searchSoon()
        unsafe cshm_condition_leave(pointer)
    }

    /// Waits until there is a reason to look: it is notified, or somebody died; or until the deadline.
    ///
    /// - Throws: `CancellationError`, `system`.
    func wait(until deadline: Int64) async throws {
        let place = unsafe Reactor.Place(.anyone) { unsafe cshm_condition_waitable(pointer, $0) }
        _ = try await Reactor.wait(at: place, until: deadline) { [self] in
            unsafe cshm_condition_is_notified(pointer) == 1 || condition.hasDead()
                ? 0 : Answer.wouldWait
        }
    }
}
