// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// One value of plain bits that every process of the family reads and writes.
///
/// - Processes, threads: safe. Each access takes the value's own lock; to read, change and write in
///   one step use ``withLock(_:)``.
/// - Death: a write goes to a spare copy and is then switched to by one store, so a writer killed
///   at any instruction leaves the old value or the new one, never a mixture.
@safe
public final class SharedValue<Value: BitwiseCopyable & Sendable>: Sendable, Codable {
    private let object: SharedObject
    private nonisolated(unsafe) let base: UnsafeMutableRawPointer

    /// The lock, the index of the current copy and the type's tag; then the two copies.
    private static var header: Int { MemoryLayout<cshm_mutex>.size + 128 }
    private static var stride: Int { (MemoryLayout<Value>.size + 127) / 128 * 128 + 128 }
    private static var size: Int { header + 2 * stride }
    private static var tag: UInt64 { typeTag(Value.self) }

    /// Makes a shared value.
    ///
    /// - Parameters:
    ///   - value: What it holds at first.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `full`, `cannotCross` (pointers and the like mean nothing elsewhere), `system`.
    public init(_ value: Value, in region: Region? = nil) throws(SharedStateError) {
        _ = try TransferPlan<Value>.plan(for: Value.self)
        object = try SharedObject.allocate(Self.size, in: region)
        unsafe base = try object.address(size: Self.size)
        unsafe cshm_mutex_init(base.assumingMemoryBound(to: cshm_mutex.self))
        unsafe base.storeBytes(of: Self.tag, toByteOffset: Self.header - 64, as: UInt64.self)
        unsafe copy(0).storeBytes(of: value, as: Value.self)
    }

    /// Opens the value a sent handle names.
    public init(from decoder: any Decoder) throws {
        let place = try ObjectPlace(from: decoder)
        object = SharedObject(try place.region(), place.offset, sent: true)
        unsafe base = try object.address(size: Self.size)
        guard unsafe base.load(fromByteOffset: Self.header - 64, as: UInt64.self) == Self.tag else {
            throw SharedStateError(.incompatible, "the shared value is not a \(Value.self)")
        }
    }

    /// Sends the handle; the value then lives as long as its region.
    public func encode(to encoder: any Encoder) throws {
        try object.place().encode(to: encoder)
    }

    deinit {
        object.freeUnlessSent()
    }

    /// The value.
    ///
    /// Reading and writing are each atomic; `value += 1` is two steps. Writing from inside
    /// ``withLock(_:)`` of the same value is a mistake that stops the program; write through the
    /// parameter there.
    public var value: Value {
        get {
            guard let value = try? withLock({ $0 }) else {
                return unsafe copy(current).load(as: Value.self)
            }
            return value
        }
        set {
            do {
                try withLock { $0 = newValue }
            } catch {
                preconditionFailure("a write to a shared value would be lost: \(error)")
            }
        }
    }

    /// Reads, changes and writes in one step.
    ///
    /// - Parameter body: Changes the value in place. If it throws, nothing is written.
    /// - Returns: What `body` returns.
    /// - Throws: `deadlock` if `body` of this value is running on this thread, or what `body`
    ///   throws.
    public func withLock<Result>(_ body: (inout Value) throws -> Result) throws -> Result {
        let mutex = unsafe base.assumingMemoryBound(to: cshm_mutex.self)
        let status = try unsafe check(
            cshm_mutex_acquire_until(mutex, .max), "cshm_mutex_acquire_until")
        // A dead holder left a whole value: see the type's comment.
        if status == Answer.inherited { _ = unsafe cshm_mutex_repair(mutex) }
        defer { _ = unsafe cshm_mutex_release(mutex) }
        let now = current
        var value = unsafe copy(now).load(as: Value.self)
        let result = try body(&value)
        unsafe copy(1 - now).storeBytes(of: value, as: Value.self)
        withExtendedLifetime(object) { unsafe cshm_value_switch(base + Self.header - 128, 1 - now) }
        return result
    }

    private var current: UInt32 {
        unsafe cshm_value_current(base + Self.header - 128)
    }

    private func copy(_ index: UInt32) -> UnsafeMutableRawPointer {
        unsafe base + Self.header + Int(index & 1) * Self.stride
    }
}
