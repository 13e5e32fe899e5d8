// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A number that every process of the family changes in one step.
///
/// - Processes, threads, tasks: safe; no operation waits, but ``wait(while:timeout:)``.
/// - Death: each operation happened or did not.
///
/// The corresponding C header is `cshm/atomic.h`.
@safe
public final class SharedAtomic<Value: SharedAtomicValue>: Sendable, Codable {
    private let object: SharedObject
    private nonisolated(unsafe) let atomic: UnsafeMutablePointer<cshm_atomic>
    private static var size: Int { MemoryLayout<cshm_atomic>.size }
    private static var type: cshm_atomic_type { cshm_atomic_type(rawValue: Value.sharedKind) }

    private init(_ object: SharedObject) throws(SharedStateError) {
        self.object = object
        unsafe atomic = try object.address(size: Self.size)
            .assumingMemoryBound(to: cshm_atomic.self)
        try unsafe check(
            cshm_atomic_check(atomic, Self.type), "cshm_atomic_check",
            "SharedAtomic<\(Value.self)>")
    }

    /// Makes a number.
    ///
    /// - Parameters:
    ///   - value: What it is at first.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `full`, `system`.
    public convenience init(_ value: Value, in region: Region? = nil) throws(SharedStateError) {
        try self.init(Self.make(value, in: region, named: nil))
    }

    /// Makes a number with a name, by which any program that opens the region finds it.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - value: What it is at first.
    /// - Throws: `alreadyExists`, `invalidArgument`, `full`, `system`.
    public convenience init(
        creating name: String, in region: Region?, _ value: Value
    ) throws(SharedStateError) {
        try self.init(Self.make(value, in: region, named: name))
    }

    /// Opens the number of that name.
    ///
    /// - Throws: `notFound`, `incompatible` (not a number of that width and sign).
    public convenience init(opening name: String, in region: Region?) throws(SharedStateError) {
        try self.init(SharedObject(opening: name, in: region, kind: CSHM_KIND_ATOMIC))
    }

    /// Opens the number a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        let place = try ObjectPlace(from: decoder)
        try self.init(SharedObject(arriving: place))
    }

    /// Sends the handle; the number then lives as long as its region, or, if it is sent by queues and
    /// stored in containers only, as long as anybody has it.
    public func encode(to encoder: any Encoder) throws {
        try object.place().encode(to: encoder)
    }

    deinit {
        object.freeUnlessSent()
    }

    private static func make(
        _ value: Value, in region: Region?, named name: String?
    ) throws(SharedStateError) -> SharedObject {
        try unsafe SharedObject.make(size, in: region, named: name, kind: CSHM_KIND_ATOMIC) {
            _ = unsafe cshm_atomic_init(
                $0.assumingMemoryBound(to: cshm_atomic.self), type, UInt64(sharedBits: value))
        }
    }

    // MARK: Operations

    /// What it is.
    public func load(ordering: SharedOrdering = .sequentiallyConsistent) -> Value {
        Value(sharedBits: unsafe cshm_atomic_load(atomic, Self.type, ordering.order))
    }

    /// Makes it another.
    public func store(_ value: Value, ordering: SharedOrdering = .sequentiallyConsistent) {
        unsafe cshm_atomic_store(atomic, Self.type, UInt64(sharedBits: value), ordering.order)
    }

    /// Makes it another.
    ///
    /// - Returns: What it was.
    @discardableResult
    public func exchange(
        _ value: Value, ordering: SharedOrdering = .sequentiallyConsistent
    ) -> Value {
        update(CSHM_ATOMIC_EXCHANGE, value, ordering)
    }

    /// Makes it another, if it is what was expected.
    ///
    /// - Returns: Whether it was, and what it was.
    @discardableResult
    public func compareExchange(
        expected: Value, desired: Value, ordering: SharedOrdering = .sequentiallyConsistent,
        failureOrdering: SharedOrdering? = nil
    ) -> (exchanged: Bool, original: Value) {
        var seen = UInt64(sharedBits: expected)
        let done = unsafe cshm_atomic_compare_exchange(
            atomic, Self.type, &seen, UInt64(sharedBits: desired), ordering.order,
            failureOrdering?.order ?? CSHM_RELAXED)
        return (done == 1, Value(sharedBits: seen))
    }

    /// Adds, wrapping around.
    ///
    /// - Returns: What it was before.
    @discardableResult
    public func add(
        _ value: Value, ordering: SharedOrdering = .sequentiallyConsistent
    ) -> Value {
        update(CSHM_ATOMIC_ADD, value, ordering)
    }

    /// Subtracts, wrapping around.
    ///
    /// - Returns: What it was before.
    @discardableResult
    public func subtract(
        _ value: Value, ordering: SharedOrdering = .sequentiallyConsistent
    ) -> Value {
        update(CSHM_ATOMIC_SUBTRACT, value, ordering)
    }

    /// Keeps the bits that are set in `value`, too.
    ///
    /// - Returns: What it was before.
    @discardableResult
    public func bitwiseAnd(
        _ value: Value, ordering: SharedOrdering = .sequentiallyConsistent
    ) -> Value {
        update(CSHM_ATOMIC_AND, value, ordering)
    }

    /// Sets the bits that are set in `value`.
    ///
    /// - Returns: What it was before.
    @discardableResult
    public func bitwiseOr(
        _ value: Value, ordering: SharedOrdering = .sequentiallyConsistent
    ) -> Value {
        update(CSHM_ATOMIC_OR, value, ordering)
    }

    /// Turns the bits over that are set in `value`.
    ///
    /// - Returns: What it was before.
    @discardableResult
    public func bitwiseXor(
        _ value: Value, ordering: SharedOrdering = .sequentiallyConsistent
    ) -> Value {
        update(CSHM_ATOMIC_XOR, value, ordering)
    }

    /// Makes it the lesser of the two.
    ///
    /// - Returns: What it was before.
    @discardableResult
    public func min(
        _ value: Value, ordering: SharedOrdering = .sequentiallyConsistent
    ) -> Value {
        update(CSHM_ATOMIC_MIN, value, ordering)
    }

    /// Makes it the greater of the two.
    ///
    /// - Returns: What it was before.
    @discardableResult
    public func max(
        _ value: Value, ordering: SharedOrdering = .sequentiallyConsistent
    ) -> Value {
        update(CSHM_ATOMIC_MAX, value, ordering)
    }

    private func update(
        _ operation: cshm_atomic_operation, _ value: Value, _ ordering: SharedOrdering
    ) -> Value {
        Value(
            sharedBits: unsafe cshm_atomic_update(
                atomic, Self.type, operation, UInt64(sharedBits: value), ordering.order))
    }

    // MARK: Waiting

    /// Waits until it is something else.
    ///
    /// Whoever changes it says so by ``notifyAll()``; a change that nobody tells of is seen after at
    /// most 25 ms.
    ///
    /// - Parameters:
    ///   - value: What it is not to be any more.
    ///   - timeout: The longest wait; `nil` waits without limit.
    /// - Returns: `true`, or `false` if the time-out passed first.
    @discardableResult
    public func wait(while value: Value, timeout: Duration? = nil) -> Bool {
        unsafe cshm_atomic_wait_until(
            atomic, Self.type, UInt64(sharedBits: value), deadline(after: timeout)) == 0
    }

    /// Waits until it is something else, without holding a thread.
    ///
    /// - Parameters:
    ///   - value: What it is not to be any more.
    ///   - timeout: The longest wait; `nil` waits without limit.
    /// - Returns: As the blocking form.
    /// - Throws: `CancellationError`, `system`.
    @discardableResult
    public func wait(while value: Value, timeout: Duration? = nil) async throws -> Bool {
        try Task.checkCancellation()
        let attempt: @Sendable () -> Int32 = { [self] in
            load(ordering: .acquiring) == value ? Answer.wouldWait : 0
        }
        if attempt() == 0 { return true }
        let place = unsafe Reactor.Place(cshm_atomic_park(atomic), .anyone)
        let status = try await Reactor.wait(
            at: place, until: deadline(after: timeout), attempt: attempt)
        return status == 0
    }

    /// Wakes all who wait, after a change.
    public func notifyAll() {
        unsafe cshm_atomic_notify(atomic)
    }
}

/// How an operation on a ``SharedAtomic`` orders what comes before and after it: C11's memory orders.
///
/// What an operation cannot have, such as a store that acquires, is taken as the next stronger order
/// that it can.
@frozen
public enum SharedOrdering: Sendable {
    /// Not at all.
    case relaxed
    /// What comes after it sees what was released to it.
    case acquiring
    /// What came before it is released.
    case releasing
    /// Both.
    case acquiringAndReleasing
    /// Both, and in one order with all others of this kind.
    case sequentiallyConsistent

    internal var order: cshm_order {
        switch self {
        case .relaxed: CSHM_RELAXED
        case .acquiring: CSHM_ACQUIRE
        case .releasing: CSHM_RELEASE
        case .acquiringAndReleasing: CSHM_ACQ_REL
        case .sequentiallyConsistent: CSHM_SEQ_CST
        }
    }
}

/// A number that can be a ``SharedAtomic``: an integer of 32 or 64 bits.
public protocol SharedAtomicValue: FixedWidthInteger, BitwiseCopyable, Sendable {
    /// How C calls it; see `enum cshm_atomic_type`.
    static var sharedKind: UInt32 { get }
}

extension Int32: SharedAtomicValue {
    /// `CSHM_INT32`.
    public static var sharedKind: UInt32 { CSHM_INT32.rawValue }
}
extension UInt32: SharedAtomicValue {
    /// `CSHM_UINT32`.
    public static var sharedKind: UInt32 { CSHM_UINT32.rawValue }
}
extension Int64: SharedAtomicValue {
    /// `CSHM_INT64`.
    public static var sharedKind: UInt32 { CSHM_INT64.rawValue }
}
extension UInt64: SharedAtomicValue {
    /// `CSHM_UINT64`.
    public static var sharedKind: UInt32 { CSHM_UINT64.rawValue }
}
extension Int: SharedAtomicValue {
    /// `CSHM_INT64`.
    public static var sharedKind: UInt32 { CSHM_INT64.rawValue }
}
extension UInt: SharedAtomicValue {
    /// `CSHM_UINT64`.
    public static var sharedKind: UInt32 { CSHM_UINT64.rawValue }
}

extension SharedAtomicValue {
    /// The lower bits of what C gave.
    fileprivate init(sharedBits bits: UInt64) {
        self.init(truncatingIfNeeded: bits)
    }
}

extension UInt64 {
    fileprivate init(sharedBits value: some SharedAtomicValue) {
        self.init(truncatingIfNeeded: value)
    }
}
