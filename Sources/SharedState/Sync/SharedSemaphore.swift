// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A counting semaphore: somebody counts up, others wait until they can count down.
///
/// It is for signals: nobody owns what it counts, and who releases need not have acquired. For what is
/// taken and given back see ``PermitPool``.
///
/// - Processes: safe; send it to a worker like any value. Threads, tasks: safe. It is not fair.
/// - Death: what a dead process took does not come back by itself. A process that dies waiting, or
///   with the wake in its hands, takes nothing along.
///
/// The corresponding C header is `cshm/semaphore.h`.
@safe
public final class SharedSemaphore: Sendable, Codable {
    private let core: SemaphoreCore

    private init(_ core: SemaphoreCore) {
        self.core = core
    }

    /// Makes a semaphore.
    ///
    /// - Parameters:
    ///   - value: What it begins with, 0 to 2,147,483,647.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `invalidArgument`, `full`, `system`.
    public convenience init(value: Int, in region: Region? = nil) throws(SharedStateError) {
        self.init(try SemaphoreCore(value, Int(CSHM_SEMAPHORE_MAX), in: region, named: nil))
    }

    /// Makes a semaphore with a name, by which any program that opens the region finds it.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - value: As for ``init(value:in:)``.
    /// - Throws: `alreadyExists`, `invalidArgument`, `full`, `system`.
    public convenience init(
        creating name: String, in region: Region?, value: Int
    ) throws(SharedStateError) {
        self.init(try SemaphoreCore(value, Int(CSHM_SEMAPHORE_MAX), in: region, named: name))
    }

    /// Opens the semaphore of that name.
    ///
    /// - Throws: `notFound`, `incompatible` (not a semaphore).
    public convenience init(opening name: String, in region: Region?) throws(SharedStateError) {
        self.init(
            try SemaphoreCore(SharedObject(opening: name, in: region, kind: CSHM_KIND_SEMAPHORE)))
    }

    /// Opens the semaphore a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        self.init(try SemaphoreCore(from: decoder))
    }

    /// Sends the handle; the semaphore then lives as long as its region, or, if it is sent by queues and
    /// stored in containers only, as long as anybody has it.
    public func encode(to encoder: any Encoder) throws {
        try core.object.place().encode(to: encoder)
    }

    /// Takes 1, waiting while it is 0.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Throws: `timedOut`.
    public func acquire(timeout: Duration? = nil) throws(SharedStateError) {
        try core.acquire(timeout)
    }

    /// Takes 1, waiting while it is 0, without holding a thread.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Throws: `timedOut`, `CancellationError`. Nothing was taken then.
    public func acquire(timeout: Duration? = nil) async throws {
        try await core.acquireInTask(timeout)
    }

    /// Takes 1, if it is not 0.
    ///
    /// - Returns: Whether it did.
    public func tryAcquire() -> Bool { core.tryAcquire() }

    /// Adds to it, and wakes who waits.
    ///
    /// - Parameter count: How many, at least 1. The sum may exceed what it began with.
    /// - Throws: `invalidArgument`, `overflow` (it would exceed 2,147,483,647).
    public func release(_ count: Int = 1) throws(SharedStateError) {
        try core.release(count)
    }

    /// What it was at some instant of the call.
    public var value: Int { core.value }
}

/// A ``SharedSemaphore`` that refuses to exceed what it began with.
///
/// - Processes: safe; send it to a worker like any value. Threads, tasks: safe. It is not fair.
/// - Death: as ``SharedSemaphore``. Where what a process took must come back, use ``PermitPool``.
///
/// The corresponding C header is `cshm/semaphore.h`.
@safe
public final class BoundedSemaphore: Sendable, Codable {
    private let core: SemaphoreCore

    private init(_ core: SemaphoreCore) {
        self.core = core
    }

    /// Makes a semaphore.
    ///
    /// - Parameters:
    ///   - value: What it begins with and may not exceed, 1 to 2,147,483,647.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `invalidArgument`, `full`, `system`.
    public convenience init(value: Int, in region: Region? = nil) throws(SharedStateError) {
        self.init(try SemaphoreCore(value, value, in: region, named: nil))
    }

    /// Makes a semaphore with a name, by which any program that opens the region finds it.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - value: As for ``init(value:in:)``.
    /// - Throws: `alreadyExists`, `invalidArgument`, `full`, `system`.
    public convenience init(
        creating name: String, in region: Region?, value: Int
    ) throws(SharedStateError) {
        self.init(try SemaphoreCore(value, value, in: region, named: name))
    }

    /// Opens the semaphore of that name.
    ///
    /// - Throws: `notFound`, `incompatible` (not a semaphore).
    public convenience init(opening name: String, in region: Region?) throws(SharedStateError) {
        self.init(
            try SemaphoreCore(SharedObject(opening: name, in: region, kind: CSHM_KIND_SEMAPHORE)))
    }

    /// Opens the semaphore a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        self.init(try SemaphoreCore(from: decoder))
    }

    /// Sends the handle; the semaphore then lives as long as its region, or, if it is sent by queues and
    /// stored in containers only, as long as anybody has it.
    public func encode(to encoder: any Encoder) throws {
        try core.object.place().encode(to: encoder)
    }

    /// Takes 1, waiting while it is 0.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Throws: `timedOut`.
    public func acquire(timeout: Duration? = nil) throws(SharedStateError) {
        try core.acquire(timeout)
    }

    /// Takes 1, waiting while it is 0, without holding a thread.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Throws: `timedOut`, `CancellationError`. Nothing was taken then.
    public func acquire(timeout: Duration? = nil) async throws {
        try await core.acquireInTask(timeout)
    }

    /// Takes 1, if it is not 0.
    ///
    /// - Returns: Whether it did.
    public func tryAcquire() -> Bool { core.tryAcquire() }

    /// Adds to it, and wakes who waits.
    ///
    /// - Parameter count: How many, at least 1.
    /// - Throws: `invalidArgument`, `overflow` (it would exceed its bound; nothing was added).
    public func release(_ count: Int = 1) throws(SharedStateError) {
        try core.release(count)
    }

    /// What it was at some instant of the call.
    public var value: Int { core.value }

    /// What it may not exceed.
    public var bound: Int { core.bound }
}

/// What both semaphores are.
@safe
private final class SemaphoreCore: Sendable {
    let object: SharedObject
    private nonisolated(unsafe) let semaphore: UnsafeMutablePointer<cshm_semaphore>
    let bound: Int

    init(_ object: SharedObject) throws(SharedStateError) {
        self.object = object
        unsafe semaphore = try object.address(size: MemoryLayout<cshm_semaphore>.size)
            .assumingMemoryBound(to: cshm_semaphore.self)
        bound = Int(
            try unsafe check(cshm_semaphore_bound(semaphore), "cshm_semaphore_bound"))
    }

    convenience init(
        _ value: Int, _ bound: Int, in region: Region?, named name: String?
    ) throws(SharedStateError) {
        guard (0...Int(CSHM_SEMAPHORE_MAX)).contains(value), bound > 0 else {
            throw SharedStateError(
                .invalidArgument, "a semaphore's value cannot be \(value), of at most \(bound)")
        }
        try self.init(
            unsafe SharedObject.make(
                MemoryLayout<cshm_semaphore>.size, in: region, named: name,
                kind: CSHM_KIND_SEMAPHORE
            ) {
                // Its arguments were checked.
                let semaphore = unsafe $0.assumingMemoryBound(to: cshm_semaphore.self)
                _ = unsafe cshm_semaphore_init(semaphore, UInt32(value), UInt32(bound))
            })
    }

    convenience init(from decoder: any Decoder) throws {
        let place = try ObjectPlace(from: decoder)
        try self.init(SharedObject(arriving: place))
    }

    deinit {
        object.freeUnlessSent()
    }

    func acquire(_ timeout: Duration?) throws(SharedStateError) {
        try unsafe check(
            cshm_semaphore_acquire_until(semaphore, deadline(after: timeout)),
            "cshm_semaphore_acquire_until")
    }

    func acquireInTask(_ timeout: Duration?) async throws {
        try Task.checkCancellation()
        if tryAcquire() { return }
        let place = unsafe Reactor.Place { unsafe _ = cshm_semaphore_waitable(semaphore, $0) }
        let status = try await Reactor.wait(at: place, until: deadline(after: timeout)) { [self] in
            unsafe cshm_semaphore_try_acquire(semaphore)
        }
        try check(status, "cshm_semaphore_try_acquire")
    }

    func tryAcquire() -> Bool {
        unsafe cshm_semaphore_try_acquire(semaphore) == 0
    }

    func release(_ count: Int) throws(SharedStateError) {
        try unsafe check(
            cshm_semaphore_release(semaphore, UInt32(clamping: count)), "cshm_semaphore_release")
    }

    var value: Int { max(0, Int(unsafe cshm_semaphore_count(semaphore))) }
}
