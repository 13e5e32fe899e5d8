// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A named region that this process only looks into.
///
/// It maps the region for reading and does not join it: those who use it do not hear of it, it writes
/// nothing, and its death leaves nothing behind. So it can show values, numbers and arrays, and no
/// queue or lock.
///
///     let sensors = try ReadOnlyRegion(opening: "sensors")
///     let temperature = try sensors.value("temperature", Double.self)
///
/// - Processes: whatever has a name is seen as its owners change it. If they take the name away and
///   free the object meanwhile, what is read is another object's, or damaged.
/// - Threads, tasks: safe.
///
/// The corresponding C function is `cshm_region_open_read_only`.
@safe
public final class ReadOnlyRegion: Sendable {
    private nonisolated(unsafe) let pointer: OpaquePointer
    /// The name it was opened under.
    public let name: String

    /// Opens the region of that name for reading.
    ///
    /// - Throws: `notFound`, `incompatible` (another build's layout, or damaged), `invalidArgument`,
    ///   `system`.
    public init(opening name: String) throws(SharedStateError) {
        var opened: OpaquePointer?
        try unsafe check(
            cshm_region_open_read_only(name, &opened), "cshm_region_open_read_only", name)
        unsafe pointer = opened.unsafelyUnwrapped
        self.name = name
    }

    deinit {
        unsafe cshm_region_close(pointer)
    }

    /// Bytes that the region may grow to.
    public var capacity: Int {
        var info = cshm_region_info()
        unsafe cshm_region_describe(pointer, &info)
        return Int(info.capacity)
    }

    /// The names of the objects in it.
    ///
    /// - Throws: `incompatible` (damaged bytes).
    public func names() throws(SharedStateError) -> [String] {
        unsafe try Region.names(in: pointer)
    }

    /// What a ``SharedValue`` holds.
    ///
    /// - Parameters:
    ///   - name: Its name.
    ///   - value: What it is.
    ///   - type: As it was made with.
    /// - Returns: The whole value, as one writer left it.
    /// - Throws: `notFound`, `incompatible` (not a value of that type), `system` (writers were always
    ///   faster; try again).
    public func value<Value: BitwiseCopyable>(
        _ name: String, _ value: Value.Type = Value.self, type: String? = nil
    ) throws(SharedStateError) -> Value {
        let place = try place(name, CSHM_KIND_VALUE)
        var native = try sharedType(value, type.map { unsafe cshm_type_tag($0) })
        var view: OpaquePointer?
        try unsafe check(cshm_value_open(pointer, place, &native, &view), "cshm_value_open", name)
        let opened = unsafe view.unsafelyUnwrapped
        defer { unsafe cshm_value_close(opened) }
        let (status, result) = unsafe withUnsafeTemporaryAllocation(of: Value.self, capacity: 1) {
            room -> (Int32, Value?) in
            let room = unsafe room.baseAddress.unsafelyUnwrapped
            let status = unsafe cshm_value_load(opened, room)
            return unsafe (status, status == 0 ? room.pointee : nil)
        }
        guard let result else { throw SharedStateError(status: status, "cshm_value_load", name) }
        return result
    }

    /// What a ``SharedAtomic`` is.
    ///
    /// - Parameters:
    ///   - name: Its name.
    ///   - value: What it is.
    /// - Returns: The number, read with the strongest order.
    /// - Throws: `notFound`, `incompatible` (not a number of that width and sign).
    public func number<Value: SharedAtomicValue>(
        _ name: String, _ value: Value.Type = Value.self
    ) throws(SharedStateError) -> Value {
        let place = try place(name, CSHM_KIND_ATOMIC)
        let kind = cshm_atomic_type(rawValue: Value.sharedKind)
        guard
            let address = unsafe cshm_heap_pointer(
                pointer, place, UInt64(MemoryLayout<cshm_atomic>.size))
        else { throw SharedStateError(status: Answer.damaged, "cshm_heap_pointer", name) }
        let atomic = unsafe address.assumingMemoryBound(to: cshm_atomic.self)
        try unsafe check(cshm_atomic_check(atomic, kind), "cshm_atomic_check", name)
        return Value(truncatingIfNeeded: unsafe cshm_atomic_load(atomic, kind, CSHM_SEQ_CST))
    }

    /// Runs `body` with the elements of a ``SharedArray`` in place, while their owners change them.
    ///
    /// - Parameters:
    ///   - name: Its name.
    ///   - element: What its elements are.
    ///   - type: As it was made with.
    ///   - body: Reads them.
    /// - Returns: What `body` returns.
    /// - Throws: `notFound`, `incompatible` (not an array of such elements), or what `body` throws.
    public func withArray<Element: BitwiseCopyable, Result>(
        _ name: String, _ element: Element.Type = Element.self, type: String? = nil,
        _ body: (Span<Element>) throws -> Result
    ) throws -> Result {
        defer { withExtendedLifetime(self) {} }
        let place = try place(name, CSHM_KIND_ARRAY)
        var native = try sharedType(element, type.map { unsafe cshm_type_tag($0) })
        var array = unsafe cshm_array()
        try unsafe check(cshm_array_open(pointer, place, &native, &array), "cshm_array_open", name)
        let elements = unsafe UnsafeBufferPointer(
            start: array.elements.assumingMemoryBound(to: Element.self), count: Int(array.count))
        return try body(unsafe elements.span)
    }

    private func place(_ name: String, _ kind: cshm_kind) throws(SharedStateError) -> UInt64 {
        var entry = cshm_directory_entry()
        try unsafe check(cshm_directory_find(pointer, name, &entry), "cshm_directory_find", name)
        try kind.check(entry, named: name)
        return entry.offset
    }
}
