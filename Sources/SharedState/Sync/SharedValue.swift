// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// One value of plain bits, a struct of C included, that every process of the family reads and writes.
///
/// Use ``SharedAtomic`` for a number, ``SharedArray`` for many values that change one by one.
///
/// - Processes, threads: safe. Reading takes no lock, and goes on while a writer is stopped; to read,
///   change and write in one step use ``withLock(timeout:_:)``.
/// - Tasks: waiting for other writers may suspend in `withLock`, whose body cannot `await`.
/// - Death: a write goes to a spare copy and is then switched to by one store, so a writer killed
///   at any instruction leaves the old value or the new one, never a mixture.
///
/// The corresponding C header is `cshm/value.h`.
@safe
public final class SharedValue<Value: BitwiseCopyable & Sendable>: Sendable, Codable {
    private let object: SharedObject
    private nonisolated(unsafe) let pointer: OpaquePointer
    private let callers: Callers
    /// What the value is, if that is not told by its Swift type.
    private let customTag: UInt64?

    private init(_ object: SharedObject, _ customTag: UInt64?) throws(SharedStateError) {
        var opened: OpaquePointer?
        var type = try sharedType(Value.self, customTag)
        try unsafe check(
            cshm_value_open(object.region.pointer, object.offset, &type, &opened),
            "cshm_value_open", "SharedValue<\(Value.self)>")
        let pointer = unsafe opened.unsafelyUnwrapped
        unsafe self.pointer = pointer
        unsafe callers = Callers { unsafe cshm_value_editable(pointer, $0) }
        self.object = object
        self.customTag = customTag
    }

    /// Makes a shared value.
    ///
    /// - Parameters:
    ///   - value: What it holds at first.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `full`, `cannotCross` (pointers and the like mean nothing elsewhere), `system`.
    public convenience init(_ value: Value, in region: Region? = nil) throws(SharedStateError) {
        let made = try Self.make(value, nil, in: region)
        try self.init(SharedObject(made.region, made.offset, sent: false), nil)
    }

    /// Makes a shared value and gives it a name, by which any program that opens the region finds it.
    ///
    /// The value then lives as long as its region. C finds it by `cshm_directory_find`.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - value: What it holds at first.
    ///   - type: What the value is, for programs in which it has another Swift type or none: C says
    ///     `cshm_type_tag` of the same text. `nil` takes the Swift type's name and layout.
    /// - Throws: `alreadyExists`, `invalidArgument`, and as ``init(_:in:)``.
    public convenience init(
        creating name: String, in region: Region?, _ value: Value, type: String? = nil
    ) throws(SharedStateError) {
        let tag = type.map { unsafe cshm_type_tag($0) }
        let made = try Self.make(value, tag, in: region)
        let object = try SharedObject(
            made.region, made.offset, named: name, kind: CSHM_KIND_VALUE,
            tag: tag ?? typeTag(Value.self))
        try self.init(object, tag)
    }

    /// Opens the value of that name.
    ///
    /// - Parameters:
    ///   - name: The name it was made with.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - type: As it was made with.
    /// - Throws: `notFound`, `incompatible` (not a value of that type, size and alignment).
    public convenience init(
        opening name: String, in region: Region?, type: String? = nil
    ) throws(SharedStateError) {
        let object = try SharedObject(opening: name, in: region, kind: CSHM_KIND_VALUE)
        try self.init(object, type.map { unsafe cshm_type_tag($0) })
    }

    /// Opens the value a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        let handle = try TypedHandle(from: decoder)
        let object = try SharedObject(arriving: handle.place)
        try self.init(object, handle.tag)
    }

    /// Sends the handle; the value then lives as long as its region, or, if it is sent by queues and
    /// stored in containers only, as long as anybody has it.
    public func encode(to encoder: any Encoder) throws {
        try TypedHandle(place: object.place(), tag: customTag).encode(to: encoder)
    }

    deinit {
        if object.wasSent {
            unsafe cshm_value_close(pointer)
        } else {
            unsafe cshm_value_destroy(pointer)
        }
    }

    private static func make(
        _ value: Value, _ tag: UInt64?, in region: Region?
    ) throws(SharedStateError) -> (region: Region, offset: UInt64) {
        _ = try TransferPlan<Value>.plan(for: Value.self)
        var type = try sharedType(Value.self, tag)
        let region = try Region.orFamily(region)
        var offset: UInt64 = 0
        let status = unsafe withUnsafeBytes(of: value) {
            unsafe cshm_value_create(region.pointer, &type, $0.baseAddress, &offset)
        }
        try check(status, "cshm_value_create")
        return (region, offset)
    }

    // MARK: Reading and writing

    /// The value.
    ///
    /// Reading and writing are each atomic; `value += 1` is two steps. Writing from inside
    /// ``withLock(timeout:_:)`` of the same value is a mistake that stops the program; write through
    /// the parameter there.
    public var value: Value {
        get {
            do {
                return try load()
            } catch {
                preconditionFailure("a shared value cannot be read: \(error)")
            }
        }
        set {
            do {
                try store(newValue)
            } catch {
                preconditionFailure("a write to a shared value would be lost: \(error)")
            }
        }
    }

    /// Reads the value.
    ///
    /// - Throws: `incompatible` (damaged bytes).
    public func load() throws(SharedStateError) -> Value {
        let (status, value) = unsafe withUnsafeTemporaryAllocation(of: Value.self, capacity: 1) {
            room -> (Int32, Value?) in
            let room = unsafe room.baseAddress.unsafelyUnwrapped
            let status = unsafe cshm_value_load(pointer, room)
            return unsafe (status, status == 0 ? room.pointee : nil)
        }
        guard let value else { throw SharedStateError(status: status, "cshm_value_load", "") }
        return value
    }

    /// Writes the value.
    ///
    /// - Parameters:
    ///   - value: What it holds from now on.
    ///   - timeout: The longest wait for other writers; `nil` waits without limit.
    /// - Throws: `timedOut`, `deadlock` (this thread is in ``withLock(timeout:_:)``), `incompatible`.
    public func store(_ value: Value, timeout: Duration? = nil) throws(SharedStateError) {
        let until = deadline(after: timeout)
        let status = unsafe withUnsafeBytes(of: value) {
            unsafe cshm_value_store_until(pointer, $0.baseAddress, until)
        }
        try check(status, "cshm_value_store_until")
    }

    /// Reads, changes and writes in one step.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait for other writers; `nil` waits without limit.
    ///   - body: Changes the value in place. If it throws, nothing is written.
    /// - Returns: What `body` returns.
    /// - Throws: `timedOut`; `deadlock` if `body` of this value is running on this thread; or what
    ///   `body` throws.
    public func withLock<Result>(
        timeout: Duration? = nil, _ body: (inout Value) throws -> Result
    ) throws -> Result {
        var bytes: UnsafeMutableRawPointer?
        try unsafe check(
            cshm_value_edit_until(pointer, &bytes, deadline(after: timeout)),
            "cshm_value_edit_until")
        return unsafe try edit(bytes.unsafelyUnwrapped, body)
    }

    /// Reads, changes and writes in one step, for which it waits without holding a thread.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait for other writers; `nil` waits without limit.
    ///   - isolation: Where `body` runs: where the caller does.
    ///   - body: Changes the value in place. It cannot `await`. If it throws, nothing is written.
    /// - Returns: What `body` returns.
    /// - Throws: As the blocking form, and `CancellationError`, if `body` did not run.
    public func withLock<Result>(
        timeout: Duration? = nil, isolation: isolated (any Actor)? = #isolation,
        _ body: (inout Value) throws -> Result
    ) async throws -> Result {
        var bytes: UnsafeMutableRawPointer?
        let until = deadline(after: timeout)
        return try await callers.acquire(until: until, keeping: self, isolation: isolation) {
            isWoken in
            unsafe isWoken
                ? cshm_value_try_edit_woken(pointer, &bytes) : cshm_value_try_edit(pointer, &bytes)
        } use: { status in
            try check(status, "cshm_value_try_edit")
            return unsafe try edit(bytes.unsafelyUnwrapped, body)
        }
    }

    /// Ends the edit that has begun.
    private func edit<Result>(
        _ room: UnsafeMutableRawPointer, _ body: (inout Value) throws -> Result
    ) throws -> Result {
        var value = unsafe room.loadUnaligned(as: Value.self)
        do {
            let result = try body(&value)
            unsafe withUnsafeBytes(of: value) {
                unsafe room.copyMemory(from: $0.baseAddress.unsafelyUnwrapped, byteCount: $0.count)
            }
            unsafe cshm_value_commit(pointer)
            return result
        } catch {
            unsafe cshm_value_abort(pointer)
            throw error
        }
    }
}

/// What is sent of a handle whose type may have a name of its own.
internal struct TypedHandle: Codable {
    let place: ObjectPlace
    /// The tag, if it is not that of the Swift type.
    let tag: UInt64?
}

/// What C is told of a type.
internal func sharedType<Value>(
    _ type: Value.Type, _ customTag: UInt64?
) throws(SharedStateError) -> cshm_type {
    guard MemoryLayout<Value>.stride <= Int(Int32.max), MemoryLayout<Value>.alignment <= 128 else {
        throw SharedStateError(.tooLarge, "values of \(type) are too large, or aligned too widely")
    }
    return cshm_type(
        tag: customTag ?? typeTag(type), size: UInt32(MemoryLayout<Value>.size),
        stride: UInt32(MemoryLayout<Value>.stride),
        alignment: UInt32(MemoryLayout<Value>.alignment))
}
