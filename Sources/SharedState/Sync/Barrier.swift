// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// So many parties, in any processes of the family, that wait for each other, again and again.
///
/// A barrier that is *broken* throws `broken` to everybody, those who wait and those who come, until
/// somebody repairs or resets it: a party is missing. It is broken by a time-out, by a cancelled task,
/// by ``abort()``, by an action that throws, and by a death.
///
/// - Processes: safe; send it to a worker like any value. Threads, tasks: safe.
/// - Death: a process takes part from its first wait until its last handle is gone. When one dies
///   that takes part, and somebody waits, the barrier is broken. One that is stopped is alive: the
///   others wait.
///
/// The corresponding C header is `cshm/barrier.h`.
@safe
public final class Barrier: Sendable, Codable {
    private let object: SharedObject
    private nonisolated(unsafe) let barrier: OpaquePointer

    private init(_ object: SharedObject) throws(SharedStateError) {
        var opened: OpaquePointer?
        try unsafe check(
            cshm_barrier_open(object.region.pointer, object.offset, &opened), "cshm_barrier_open")
        unsafe barrier = opened.unsafelyUnwrapped
        self.object = object
    }

    /// Makes a barrier.
    ///
    /// - Parameters:
    ///   - parties: How many wait for each other, 1 to 1024.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `invalidArgument`, `full`, `system`.
    public convenience init(parties: Int, in region: Region? = nil) throws(SharedStateError) {
        let made = try Self.make(parties, in: region)
        try self.init(SharedObject(made.region, made.offset, sent: false))
    }

    /// Makes a barrier with a name, by which any program that opens the region finds it.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - parties: As for ``init(parties:in:)``.
    /// - Throws: `alreadyExists`, `invalidArgument`, `full`, `system`.
    public convenience init(
        creating name: String, in region: Region?, parties: Int
    ) throws(SharedStateError) {
        let made = try Self.make(parties, in: region)
        try self.init(
            SharedObject(made.region, made.offset, named: name, kind: CSHM_KIND_BARRIER, tag: 0))
    }

    /// Opens the barrier of that name.
    ///
    /// - Throws: `notFound`, `incompatible` (not a barrier).
    public convenience init(opening name: String, in region: Region?) throws(SharedStateError) {
        try self.init(SharedObject(opening: name, in: region, kind: CSHM_KIND_BARRIER))
    }

    /// Opens the barrier a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        let place = try ObjectPlace(from: decoder)
        try self.init(SharedObject(arriving: place))
    }

    /// Sends the handle; the barrier then lives as long as its region, or, if it is sent by queues and
    /// stored in containers only, as long as anybody has it.
    public func encode(to encoder: any Encoder) throws {
        try object.place().encode(to: encoder)
    }

    deinit {
        if object.wasSent {
            unsafe cshm_barrier_close(barrier)
        } else {
            unsafe cshm_barrier_destroy(barrier)
        }
    }

    private static func make(
        _ parties: Int, in region: Region?
    ) throws(SharedStateError) -> (region: Region, offset: UInt64) {
        guard (1...Int(CSHM_BARRIER_PARTIES_MAX)).contains(parties) else {
            throw SharedStateError(
                .invalidArgument, "a barrier has 1 to 1024 parties, not \(parties)")
        }
        let region = try Region.orFamily(region)
        var offset: UInt64 = 0
        try unsafe check(
            cshm_barrier_create(region.pointer, UInt32(parties), &offset), "cshm_barrier_create")
        return (region, offset)
    }

    // MARK: Waiting

    /// Waits until all parties are here.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit. If it passes, the barrier is broken.
    ///   - action: What the last one to arrive does before all go on. If it throws, the barrier is
    ///     broken.
    /// - Returns: How many had arrived before this one: 0 to `parties - 1`, each once.
    /// - Throws: `timedOut`, `broken`, or what `action` throws.
    @discardableResult
    public func wait(
        timeout: Duration? = nil, action: (() throws -> Void)? = nil
    ) throws -> Int {
        let until = deadline(after: timeout)
        guard let action else {
            var index: UInt32 = 0
            try told(
                unsafe cshm_barrier_wait_until(barrier, nil, nil, until, &index),
                "cshm_barrier_wait_until")
            return Int(index)
        }
        var failure: (any Error)?
        var index: UInt32 = 0
        let status = withoutActuallyEscaping(action) { action in
            let errand = BarrierAction(action)
            defer { failure = errand.failure }
            return unsafe cshm_barrier_wait_until(
                barrier,
                { context in
                    guard let context = unsafe context else { return 1 }
                    return unsafe Unmanaged<BarrierAction>.fromOpaque(context).takeUnretainedValue()
                        .run()
                }, Unmanaged.passUnretained(errand).toOpaque(), until, &index)
        }
        if let failure { throw failure }
        try told(status, "cshm_barrier_wait_until")
        return Int(index)
    }

    /// Waits until all parties are here, without holding a thread.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit. If it passes, the barrier is broken.
    ///   - isolation: The caller's actor, on which `action` runs.
    ///   - action: What the last one to arrive does before all go on. If it throws, the barrier is
    ///     broken.
    /// - Returns: As the blocking form.
    /// - Throws: As the blocking form, and `CancellationError`; then the barrier is broken, unless
    ///   all others had to wait for the next phase anyway.
    @discardableResult
    public func wait(
        timeout: Duration? = nil, isolation: isolated (any Actor)? = #isolation,
        action: (() async throws -> Void)? = nil
    ) async throws -> Int {
        let until = deadline(after: timeout)
        let (isLast, arrival) = try await arrive(until)
        guard isLast else { return try await finish(arrival, until) }
        do {
            try await action?()
        } catch {
            _ = giveUp(arrival)
            throw error
        }
        return try release(arrival)
    }

    /// As the other `async` form, for an action that does not `await`.
    @discardableResult
    public func wait(
        timeout: Duration? = nil, isolation: isolated (any Actor)? = #isolation,
        action: () throws -> Void
    ) async throws -> Int {
        let until = deadline(after: timeout)
        let (isLast, arrival) = try await arrive(until)
        guard isLast else { return try await finish(arrival, until) }
        do {
            try action()
        } catch {
            _ = giveUp(arrival)
            throw error
        }
        return try release(arrival)
    }

    private func release(_ arrival: Arrival) throws -> Int {
        let status = unsafe arrival.withPointer { unsafe cshm_barrier_release($0) }
        try told(status, "cshm_barrier_release")
        return arrival.index
    }

    /// - Returns: 0 if all had arrived.
    private func giveUp(_ arrival: Arrival) -> Int32 {
        unsafe arrival.withPointer { unsafe cshm_barrier_give_up($0) }
    }

    private func arrive(_ until: Int64) async throws -> (isLast: Bool, Arrival) {
        try Task.checkCancellation()
        let arrival = Arrival()
        let attempt: @Sendable () -> Int32 = { [self] in
            unsafe arrival.withPointer { unsafe cshm_barrier_arrive(barrier, $0) }
        }
        var status = attempt()
        if status == Answer.wouldWait {
            // One more than the parties: for the next phase.
            let place = unsafe Reactor.Place(.anyone) {
                unsafe cshm_barrier_waitable(arrival.filled(with: barrier), $0)
            }
            status = try await Reactor.wait(at: place, until: until, attempt: attempt)
        }
        return (try told(status, "cshm_barrier_arrive") == 1, arrival)
    }

    private func finish(_ arrival: Arrival, _ until: Int64) async throws -> Int {
        let attempt: @Sendable () -> Int32 = { [self] in
            withExtendedLifetime(self) {
                unsafe arrival.withPointer { unsafe cshm_barrier_try_finish($0) }
            }
        }
        let place = unsafe Reactor.Place(.anyone) { place in
            unsafe arrival.withPointer { unsafe cshm_barrier_waitable($0, place) }
        }
        var status = attempt()
        if status == Answer.wouldWait {
            do {
                status = try await Reactor.wait(at: place, until: until, attempt: attempt)
            } catch {
                if giveUp(arrival) != 0 { throw error }
                return arrival.index
            }
        }
        if status == Answer.timedOut {
            status = giveUp(arrival) == 0 ? 0 : Answer.timedOut
        }
        try told(status, "cshm_barrier_try_finish")
        return arrival.index
    }

    @discardableResult
    private func told(_ status: Int32, _ function: StaticString) throws -> Int32 {
        if status == Answer.cancelled {
            throw SharedStateError(
                .broken, "a party of the barrier is missing; repair or reset it [\(function)]",
                errno: -status)
        }
        return try check(status, function)
    }

    // MARK: Breaking and repairing

    /// Breaks it: everybody, now and later, is refused until it is repaired or reset.
    public func abort() {
        unsafe cshm_barrier_abort(barrier)
    }

    /// Makes it new; those who wait are refused.
    ///
    /// - Returns: How many of its processes were found dead. They are told once, and are parties no
    ///   longer: the others wait for as many as ever.
    @discardableResult
    public func reset() -> Int {
        Int(unsafe cshm_barrier_reset(barrier))
    }

    /// Makes it new if it is broken; does nothing if it is whole, so that every party that was refused
    /// may call it.
    ///
    /// - Returns: As ``reset()``.
    @discardableResult
    public func repair() -> Int {
        Int(unsafe cshm_barrier_repair(barrier))
    }

    /// How many wait for each other.
    public var parties: Int { Int(describe().parties) }

    /// How many have arrived, at some instant of the call.
    public var waiting: Int { Int(describe().waiting) }

    /// Whether it is broken, at some instant of the call.
    public var isBroken: Bool { describe().broken != 0 }

    private func describe() -> cshm_barrier_info {
        var info = cshm_barrier_info()
        unsafe cshm_barrier_describe(barrier, &info)
        return info
    }
}

/// An action on its way through C.
private final class BarrierAction {
    private let action: () throws -> Void
    private(set) var failure: (any Error)?

    init(_ action: @escaping () throws -> Void) {
        self.action = action
    }

    func run() -> Int32 {
        do {
            try action()
            return 0
        } catch {
            failure = error
            return 1
        }
    }
}

/// A party's arrival, where C can look at it.
@safe
private final class Arrival: Sendable {
    private nonisolated(unsafe) let pointer: UnsafeMutablePointer<cshm_arrival>

    init() {
        unsafe pointer = .allocate(capacity: 1)
        unsafe pointer.initialize(to: cshm_arrival())
    }

    deinit {
        unsafe pointer.deallocate()
    }

    var index: Int { Int(unsafe pointer.pointee.index) }

    func withPointer<Result>(_ body: (UnsafeMutablePointer<cshm_arrival>) -> Result) -> Result {
        unsafe body(pointer)
    }

    /// For a party that has not arrived, and only looks for where the others wait.
    func filled(with barrier: OpaquePointer) -> UnsafeMutablePointer<cshm_arrival> {
        unsafe pointer.pointee.barrier = barrier
        return unsafe pointer
    }
}
