// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A bounded first-in, first-out queue that any number of threads in any processes put into and
/// get from.
///
/// - Processes: safe; send it to a worker like any value.
/// - Threads: safe. Tasks: `put` and `get` block the thread.
/// - Death: a process killed, or stopped, at any instruction holds nobody up. An element is either
///   in the queue or not. ``get(timeout:)`` is at-most-once: what a process had taken when it died
///   is gone with it.
///
/// The corresponding C header is `cshm/queue.h`; the algorithm is its swap ring.
@safe
public final class Queue<Element: Sendable>: Sendable, Codable {
    private let object: SharedObject
    private let plan: TransferPlan<Element>
    private nonisolated(unsafe) let pointer: OpaquePointer

    /// Makes a queue.
    ///
    /// - Parameters:
    ///   - capacity: Elements, 2 to 1,048,576; rounded up to a power of two.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `invalidArgument`, `cannotCross` (elements are neither plain bits nor `Codable`),
    ///   `full`, `system`.
    public init(capacity: Int = 1024, in region: Region? = nil) throws(SharedStateError) {
        guard (1...1_048_576).contains(capacity) else {
            throw SharedStateError(
                .invalidArgument, "a queue holds 1 to 1048576 elements, not \(capacity)")
        }
        let plan = try TransferPlan<Element>.plan(for: Element.self)
        let region = try Region.orFamily(region)
        var power: UInt32 = 2
        while Int(power) < capacity { power *= 2 }
        let size = plan.isBits ? max(1, min(MemoryLayout<Element>.size, 65536)) : 112
        var options = cshm_queue_options()
        options.capacity = power
        options.slot_size = UInt32(size)
        options.type_tag = typeTag(Element.self)
        var offset: UInt64 = 0
        try unsafe check(
            cshm_queue_create(region.pointer, &options, &offset), "cshm_queue_create")
        self.object = SharedObject(region, offset, sent: false)
        self.plan = plan
        unsafe self.pointer = try Self.open(object)
    }

    /// Opens the queue a sent handle names.
    public init(from decoder: any Decoder) throws {
        let place = try ObjectPlace(from: decoder)
        self.object = SharedObject(try place.region(), place.offset, sent: true)
        self.plan = try TransferPlan<Element>.plan(for: Element.self)
        unsafe self.pointer = try Self.open(object)
    }

    /// Sends the handle; the queue then lives as long as its region.
    public func encode(to encoder: any Encoder) throws {
        try object.place().encode(to: encoder)
    }

    deinit {
        if object.wasSent {
            unsafe cshm_queue_close(pointer)
        } else {
            unsafe cshm_queue_destroy(pointer)
        }
    }

    private static func open(_ object: SharedObject) throws(SharedStateError) -> OpaquePointer {
        var opened: OpaquePointer?
        try unsafe check(
            cshm_queue_open(
                object.region.pointer, object.offset, typeTag(Element.self), &opened),
            "cshm_queue_open", "Queue<\(Element.self)>")
        return unsafe opened.unsafelyUnwrapped
    }

    /// Puts an element in, waiting while the queue is full.
    ///
    /// - Parameters:
    ///   - element: What to put; it is copied.
    ///   - timeout: The longest wait; `nil` waits without limit.
    /// - Throws: `timedOut`, `full` (no memory for a long element), `tooManyUsers`, or what the
    ///   element's `encode(to:)` throws. Nothing was put then.
    public func put(_ element: Element, timeout: Duration? = nil) throws {
        let until = deadline(after: timeout)
        let status = unsafe try withBytes(of: element) { bytes in
            unsafe cshm_queue_put_until(pointer, bytes.baseAddress, UInt64(bytes.count), until)
        }
        try check(status, "cshm_queue_put_until")
    }

    /// Puts an element in if there is room now.
    ///
    /// - Returns: Whether it was put.
    /// - Throws: As ``put(_:timeout:)``, save `timedOut`.
    public func tryPut(_ element: Element) throws -> Bool {
        let status = unsafe try withBytes(of: element) { bytes in
            unsafe cshm_queue_try_put(pointer, bytes.baseAddress, UInt64(bytes.count))
        }
        if status == Answer.wouldWait { return false }
        try check(status, "cshm_queue_try_put")
        return true
    }

    /// Takes the oldest element, waiting while the queue is empty.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: The element.
    /// - Throws: `timedOut`, `tooManyUsers`, `incompatible` (damaged bytes), or what the element's
    ///   `init(from:)` throws.
    public func get(timeout: Duration? = nil) throws -> Element {
        var message = unsafe cshm_message()
        try unsafe check(
            cshm_queue_take_until(pointer, &message, deadline(after: timeout)),
            "cshm_queue_take_until")
        return unsafe try decode(&message)
    }

    /// Takes the oldest element if there is one now.
    ///
    /// - Returns: The element, or `nil` if the queue is empty.
    /// - Throws: As ``get(timeout:)``, save `timedOut`.
    public func tryGet() throws -> Element? {
        var message = unsafe cshm_message()
        let status = unsafe cshm_queue_try_take(pointer, &message)
        if status == Answer.wouldWait { return nil }
        try check(status, "cshm_queue_try_take")
        return unsafe try decode(&message)
    }

    /// Elements in the queue; exact when nobody puts or gets meanwhile.
    public var count: Int { Int(unsafe cshm_queue_count(pointer)) }

    /// Elements it can hold.
    public var capacity: Int { Int(unsafe cshm_queue_capacity(pointer)) }

    /// Whether it holds nothing.
    public var isEmpty: Bool { count == 0 }

    /// Whether it can hold no more.
    public var isFull: Bool { count == capacity }

    private func withBytes(
        of element: Element, _ body: (UnsafeRawBufferPointer) -> Int32
    ) throws -> Int32 {
        if plan.isBits {
            return unsafe withUnsafeBytes(of: element) { unsafe body($0) }
        }
        var writer = ByteWriter()
        try plan.encode(element, into: &writer)
        return unsafe writer.bytes.withUnsafeBytes { unsafe body($0) }
    }

    private func decode(_ message: inout cshm_message) throws -> Element {
        defer { unsafe cshm_queue_release(pointer, &message) }
        let bytes = unsafe UnsafeRawBufferPointer(
            start: message.data, count: Int(message.length))
        if plan.isBits, bytes.count == MemoryLayout<Element>.size {
            return unsafe bytes.loadUnaligned(asTrivial: Element.self)
        }
        var reader = unsafe ByteReader(bytes)
        return try plan.decode(from: &reader)
    }
}

extension UnsafeRawBufferPointer {
    /// Copies a value whose type is known to be plain bits only at run time.
    internal func loadUnaligned<T>(asTrivial: T.Type) -> T {
        unsafe withUnsafeTemporaryAllocation(of: T.self, capacity: 1) { room in
            let raw = UnsafeMutableRawBufferPointer(room)
            if count > 0 { unsafe raw.copyMemory(from: self) }
            return unsafe room[0]
        }
    }
}
