// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// At most so many at a time, over all processes: permits that are taken and given back.
///
///     let connections = try PermitPool(permits: 8)
///     try connections.withPermits { … }
///
/// Permits belong to the process that took them, and any of its threads and tasks gives them back.
///
/// - Processes: safe; send it to a worker like any value. Threads, tasks: safe. It is not fair, and
///   who wants several at once waits behind those who want one.
/// - Death: exactly what a dead process had comes back, to whoever waits. A stopped one keeps it.
///
/// The corresponding C header is `cshm/permits.h`.
@safe
public final class PermitPool: Sendable, Codable {
    private let object: SharedObject
    private nonisolated(unsafe) let permits: OpaquePointer

    private init(_ object: SharedObject) throws(SharedStateError) {
        var opened: OpaquePointer?
        try unsafe check(
            cshm_permits_open(object.region.pointer, object.offset, &opened), "cshm_permits_open")
        unsafe permits = opened.unsafelyUnwrapped
        self.object = object
    }

    /// Makes a pool, all of it free.
    ///
    /// - Parameters:
    ///   - count: Permits, 1 to 4096.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `invalidArgument`, `full`, `system`.
    public convenience init(permits count: Int, in region: Region? = nil) throws(SharedStateError) {
        let made = try Self.make(count, in: region)
        try self.init(SharedObject(made.region, made.offset, sent: false))
    }

    /// Makes a pool with a name, by which any program that opens the region finds it.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - count: As for ``init(permits:in:)``.
    /// - Throws: `alreadyExists`, `invalidArgument`, `full`, `system`.
    public convenience init(
        creating name: String, in region: Region?, permits count: Int
    ) throws(SharedStateError) {
        let made = try Self.make(count, in: region)
        try self.init(
            SharedObject(made.region, made.offset, named: name, kind: CSHM_KIND_PERMITS, tag: 0))
    }

    /// Opens the pool of that name.
    ///
    /// - Throws: `notFound`, `incompatible` (not a pool).
    public convenience init(opening name: String, in region: Region?) throws(SharedStateError) {
        try self.init(SharedObject(opening: name, in: region, kind: CSHM_KIND_PERMITS))
    }

    /// Opens the pool a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        let place = try ObjectPlace(from: decoder)
        try self.init(SharedObject(arriving: place))
    }

    /// Sends the handle; the pool then lives as long as its region, or, if it is sent by queues and
    /// stored in containers only, as long as anybody has it.
    public func encode(to encoder: any Encoder) throws {
        try object.place().encode(to: encoder)
    }

    deinit {
        if object.wasSent {
            unsafe cshm_permits_close(permits)
        } else {
            unsafe cshm_permits_destroy(permits)
        }
    }

    private static func make(
        _ count: Int, in region: Region?
    ) throws(SharedStateError) -> (region: Region, offset: UInt64) {
        guard (1...Int(CSHM_PERMITS_MAX)).contains(count) else {
            throw SharedStateError(
                .invalidArgument, "a pool has 1 to 4096 permits, not \(count)")
        }
        let region = try Region.orFamily(region)
        var offset: UInt64 = 0
        try unsafe check(
            cshm_permits_create(region.pointer, UInt32(count), &offset), "cshm_permits_create")
        return (region, offset)
    }

    // MARK: Taking and giving back

    /// Runs `body` with permits.
    ///
    /// - Parameters:
    ///   - count: How many, 1 to all there are.
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - body: What to do. They are given back when it returns or throws.
    /// - Returns: What `body` returns.
    /// - Throws: `timedOut`, `invalidArgument`, in which cases `body` did not run; or what `body`
    ///   throws.
    public func withPermits<Result: ~Copyable>(
        _ count: Int = 1, timeout: Duration? = nil, _ body: () throws -> Result
    ) throws -> Result {
        try acquire(count, timeout: timeout)
        defer { giveBack(count) }
        return try body()
    }

    /// Runs `body` with permits, which it takes without holding a thread.
    ///
    /// - Parameters:
    ///   - count: How many, 1 to all there are.
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - isolation: Where `body` runs: where the caller does.
    ///   - body: What to do. They are given back when it returns or throws.
    /// - Returns: What `body` returns.
    /// - Throws: As the blocking form, and `CancellationError`, if `body` did not run.
    public func withPermits<Result>(
        _ count: Int = 1, timeout: Duration? = nil, isolation: isolated (any Actor)? = #isolation,
        _ body: () async throws -> Result
    ) async throws -> Result {
        try await acquire(count, timeout: timeout)
        defer { giveBack(count) }
        return try await body()
    }

    /// As the other `async` form, for a body that does not `await`.
    public func withPermits<Result>(
        _ count: Int = 1, timeout: Duration? = nil, isolation: isolated (any Actor)? = #isolation,
        _ body: () throws -> Result
    ) async throws -> Result {
        try await acquire(count, timeout: timeout)
        defer { giveBack(count) }
        return try body()
    }

    /// Takes permits, waiting until there are so many.
    ///
    /// - Parameters:
    ///   - count: How many, 1 to all there are.
    ///   - timeout: The longest wait; `nil` waits without limit.
    /// - Throws: `timedOut`, `invalidArgument`. None was taken then.
    public func acquire(_ count: Int = 1, timeout: Duration? = nil) throws(SharedStateError) {
        try unsafe check(
            cshm_permits_acquire_until(permits, UInt32(clamping: count), deadline(after: timeout)),
            "cshm_permits_acquire_until")
    }

    /// Takes permits, waiting until there are so many, without holding a thread.
    ///
    /// - Parameters:
    ///   - count: How many, 1 to all there are.
    ///   - timeout: The longest wait; `nil` waits without limit.
    /// - Throws: As the blocking form, and `CancellationError`. None was taken then.
    public func acquire(_ count: Int = 1, timeout: Duration? = nil) async throws {
        try Task.checkCancellation()
        if try tryAcquire(count) { return }
        let place = unsafe Reactor.Place { unsafe cshm_permits_waitable(permits, $0) }
        let status = try await Reactor.wait(at: place, until: deadline(after: timeout)) { [self] in
            unsafe cshm_permits_try_acquire(permits, UInt32(clamping: count))
        }
        try check(status, "cshm_permits_try_acquire")
    }

    /// Takes permits, if there are so many.
    ///
    /// - Parameter count: How many, 1 to all there are.
    /// - Returns: Whether it did.
    /// - Throws: `invalidArgument`.
    public func tryAcquire(_ count: Int = 1) throws(SharedStateError) -> Bool {
        let status = unsafe cshm_permits_try_acquire(permits, UInt32(clamping: count))
        if status == Answer.wouldWait { return false }
        try check(status, "cshm_permits_try_acquire")
        return true
    }

    /// Gives back permits that this process took.
    ///
    /// - Parameter count: How many.
    /// - Throws: `notHolder` (this process has fewer), `invalidArgument`.
    public func release(_ count: Int = 1) throws(SharedStateError) {
        try unsafe check(
            cshm_permits_release(permits, UInt32(clamping: count)), "cshm_permits_release")
    }

    /// Gives back what was taken; somebody else may have done so already.
    private func giveBack(_ count: Int) {
        _ = unsafe cshm_permits_release(permits, UInt32(clamping: count))
    }

    // MARK: Looking

    /// How many there are.
    public var count: Int { Int(unsafe cshm_permits_count(permits)) }

    /// How many are free: exact if nobody moves.
    ///
    /// Those of the dead count as taken until somebody wants them.
    public var available: Int { Int(unsafe cshm_permits_available(permits)) }

    /// How many this process has.
    public var held: Int { Int(unsafe cshm_permits_held(permits)) }
}
