// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A bounded first-in, first-out queue that any number of threads in any processes put into and
/// get from.
///
/// Each call waits, or has a time-out; of those that move single elements there is one that does not
/// wait (`try…`). In `async` code the same names are `async`: they hold no thread while they wait, and end
/// with `CancellationError` when their task is cancelled, in which case nothing was put or taken. Those
/// that lend memory in place have no such form, and hold their thread while they wait.
///
/// A stream of elements ends by ``finish()``, by the end of the last ``Producer``, or at once by
/// ``cancel()``. At the end, every `put` and `get` throws `finished` and every iteration stops.
///
/// What is *taken* by `get` is gone with a consumer that dies. What is *leased*, by
/// ``withElement(timeout:_:)`` or ``lease(timeout:)``, is delivered again.
///
/// Elements are plain bits, arrays of such, or anything else that can cross. An array of plain bits
/// travels as it is: a C program finds its elements in a message of just their bytes.
///
/// - Processes: safe; send it to a worker like any value. Threads, tasks: safe.
/// - Death: a process killed, or stopped, at any instruction holds nobody up. An element is either
///   in the queue or not.
///
/// A program that adds up the numbers that the C program in `cshm/queue.h` sends. Either may be started
/// first: who comes first makes the region and the queue.
///
/// ```swift
/// import SharedState
///
/// @main struct Numbers {
///     static func main() throws {
///         let region = try orOpened(
///             try Region(creating: "sharedstate.numbers"),
///             try Region(opening: "sharedstate.numbers"))
///         let numbers = try orOpened(
///             try Queue<Int64>(creating: "numbers", in: region),
///             try Queue<Int64>(opening: "numbers", in: region))
///         print(numbers.elements.reduce(0, +))
///         try Region.remove("sharedstate.numbers")
///     }
///
///     static func orOpened<Thing>(
///         _ created: @autoclosure () throws -> Thing, _ opened: @autoclosure () throws -> Thing
///     ) throws -> Thing {
///         do {
///             return try created()
///         } catch let error as SharedStateError where error.code == .alreadyExists {
///             return try opened()
///         }
///     }
/// }
/// ```
///
/// The corresponding C header is `cshm/queue.h`; the algorithm is its swap ring.
@safe
public final class Queue<Element: Sendable>: Sendable, Codable {
    @usableFromInline internal let core: QueueCore
    /// Whether an element crosses as the bytes that it has in memory.
    @usableFromInline internal let isBits: Bool
    internal let codec: MessageCodec<Element>

    internal init(_ core: QueueCore, _ codec: MessageCodec<Element>) {
        self.core = core
        self.codec = codec
        isBits = codec.isBits
    }

    // MARK: Making one

    /// Makes a queue.
    ///
    /// - Parameters:
    ///   - capacity: Elements, 1 to 1,048,576.
    ///   - byteLimit: The most bytes that elements too long for their slot may take together; `nil`
    ///     for no limit but the region's. A put beyond it waits, as if the queue were full.
    ///   - ports: Threads, over all processes, that may be inside a call or hold a lease at once,
    ///     1 to 4096.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `invalidArgument`, `cannotCross` (elements are neither plain bits nor `Codable`),
    ///   `full`, `system`.
    public convenience init(
        capacity: Int = 1024, byteLimit: Int? = nil, ports: Int = 128, in region: Region? = nil
    ) throws(SharedStateError) {
        let codec = try MessageCodec<Element>()
        let made = try Self.make(
            codec, capacity: capacity, byteLimit: byteLimit, ports: ports,
            tag: typeTag(Element.self), in: region)
        let object = SharedObject(made.region, made.offset, sent: false)
        if codec.mayNameHandles { try object.anchor(of: CSHM_KIND_QUEUE) }
        self.init(
            try QueueCore(object, customTag: nil, elementType: Element.self), codec)
    }

    /// Makes a queue and gives it a name, by which any program that opens the region finds it.
    ///
    /// The queue then lives as long as its region. C finds it by `cshm_directory_find`.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - type: What the elements are, for programs in which they have another Swift type or none:
    ///     C says `cshm_type_tag` of the same text. `nil` takes the Swift type's name and layout.
    ///   - capacity: As for ``init(capacity:byteLimit:ports:in:)``.
    ///   - byteLimit: As there.
    ///   - ports: As there.
    /// - Throws: `alreadyExists`, and as ``init(capacity:byteLimit:ports:in:)``.
    public convenience init(
        creating name: String, in region: Region?, type: String? = nil,
        capacity: Int = 1024, byteLimit: Int? = nil, ports: Int = 128
    ) throws(SharedStateError) {
        let codec = try MessageCodec<Element>()
        let tag = customTag(type)
        let made = try Self.make(
            codec, capacity: capacity, byteLimit: byteLimit, ports: ports,
            tag: tag ?? typeTag(Element.self), in: region)
        let object = try SharedObject(
            made.region, made.offset, named: name, kind: CSHM_KIND_QUEUE,
            tag: tag ?? typeTag(Element.self))
        self.init(
            try QueueCore(object, customTag: tag, elementType: Element.self), codec)
    }

    /// Opens the queue of that name.
    ///
    /// - Parameters:
    ///   - name: The name it was made with.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - type: As it was made with.
    /// - Throws: `notFound`, `incompatible` (not a queue of such elements), `cannotCross`.
    public convenience init(
        opening name: String, in region: Region?, type: String? = nil
    ) throws(SharedStateError) {
        let codec = try MessageCodec<Element>()
        let tag = customTag(type)
        let object = try SharedObject(
            opening: name, in: region, kind: CSHM_KIND_QUEUE)
        self.init(
            try QueueCore(object, customTag: tag, elementType: Element.self), codec)
    }

    /// Opens the queue a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        let handle = try ChannelHandle(from: decoder)
        self.init(
            try QueueCore(handle.object(), customTag: handle.tag, elementType: Element.self),
            try MessageCodec<Element>())
    }

    /// Sends the handle; the queue then lives as long as its region, or, if it is sent by queues and
    /// stored in containers only, as long as anybody has it.
    public func encode(to encoder: any Encoder) throws {
        try ChannelHandle(core.object, endedAs: CSHM_KIND_QUEUE, tag: core.customTag).encode(
            to: encoder)
    }

    private static func make(
        _ codec: MessageCodec<Element>, capacity: Int, byteLimit: Int?, ports: Int, tag: UInt64,
        in region: Region?
    ) throws(SharedStateError) -> (region: Region, offset: UInt64) {
        guard (1...1_048_576).contains(capacity) else {
            throw SharedStateError(
                .invalidArgument, "a queue holds 1 to 1048576 elements, not \(capacity)")
        }
        guard (1...4096).contains(ports) else {
            throw SharedStateError(.invalidArgument, "a queue has 1 to 4096 ports, not \(ports)")
        }
        guard (byteLimit ?? 1) > 0 else {
            throw SharedStateError(.invalidArgument, "a byte limit is at least 1, or nil for none")
        }
        let region = try Region.orFamily(region)
        var options = cshm_queue_options(
            capacity: UInt32(capacity), slot_size: codec.inlineSize, ports: UInt32(ports),
            pack: codec.pack, type_tag: tag, byte_limit: UInt64(byteLimit ?? 0))
        var offset: UInt64 = 0
        try unsafe check(
            cshm_queue_create(region.pointer, &options, &offset), "cshm_queue_create")
        return (region, offset)
    }

    // MARK: One element

    /// Puts an element in, waiting while the queue is full.
    ///
    /// - Parameters:
    ///   - element: What to put; it is copied.
    ///   - timeout: The longest wait; `nil` waits without limit.
    /// - Throws: `timedOut`, `finished`, `closed`, `full` (no memory for a long element),
    ///   `tooLarge` (it can never fit the byte limit), `tooManyUsers`, or what the element's
    ///   `encode(to:)` throws. Nothing was put then.
    @inlinable
    public func put(_ element: Element, timeout: Duration? = nil) throws {
        guard _isPOD(Element.self), isBits else {
            return try putEncoded(element, timeout: timeout)
        }
        let deadline = timeout.map(QueueCore.deadline) ?? .max
        let status = unsafe withUnsafeTemporaryAllocation(of: Element.self, capacity: 1) { room in
            unsafe room.initializeElement(at: 0, to: element)
            return unsafe core.put(
                room.baseAddress.unsafelyUnwrapped, MemoryLayout<Element>.stride, until: deadline)
        }
        if status != 0 { throw core.failure(status, "cshm_queue_put_until") }
    }

    /// Puts an element in if there is room now.
    ///
    /// - Returns: Whether it was put.
    /// - Throws: As `put`, save `timedOut`.
    @inlinable
    public func tryPut(_ element: Element) throws -> Bool {
        guard _isPOD(Element.self), isBits else { return try tryPutEncoded(element) }
        let status = unsafe withUnsafeTemporaryAllocation(of: Element.self, capacity: 1) { room in
            unsafe room.initializeElement(at: 0, to: element)
            return unsafe core.tryPut(
                room.baseAddress.unsafelyUnwrapped, MemoryLayout<Element>.stride)
        }
        if status == 0 { return true }
        if status == QueueCore.wouldWait { return false }
        throw core.failure(status, "cshm_queue_try_put")
    }

    /// Takes the oldest element, waiting while the queue is empty.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: The element.
    /// - Throws: `timedOut`, `finished` (the end), `closed`, `tooManyUsers`, `incompatible` (damaged
    ///   bytes), or what the element's `init(from:)` throws; then the element is gone.
    @inlinable
    public func get(timeout: Duration? = nil) throws -> Element {
        guard _isPOD(Element.self), isBits else { return try getEncoded(timeout: timeout) }
        let deadline = timeout.map(QueueCore.deadline) ?? .max
        return try unsafe withUnsafeTemporaryAllocation(of: Element.self, capacity: 1) { room in
            let room = unsafe room.baseAddress.unsafelyUnwrapped
            let status = unsafe core.get(
                into: room, MemoryLayout<Element>.stride, until: deadline)
            if status != 0 { throw core.failure(status, "cshm_queue_take_until") }
            return unsafe room.move()
        }
    }

    /// Takes the oldest element if there is one now.
    ///
    /// - Returns: The element, or `nil` if the queue is empty and its stream goes on.
    /// - Throws: As `get`, save `timedOut`.
    @inlinable
    public func tryGet() throws -> Element? {
        guard _isPOD(Element.self), isBits else { return try tryGetEncoded() }
        return try unsafe withUnsafeTemporaryAllocation(of: Element.self, capacity: 1) { room in
            let room = unsafe room.baseAddress.unsafelyUnwrapped
            let status = unsafe core.tryGet(into: room, MemoryLayout<Element>.stride)
            if status == 0 { return unsafe room.move() }
            if status == QueueCore.wouldWait { return nil }
            throw core.failure(status, "cshm_queue_try_take")
        }
    }

    @usableFromInline
    internal func putEncoded(_ element: Element, timeout: Duration?) throws {
        let until = deadline(after: timeout)
        let status = try unsafe codec.send(element, in: core.object.region) { bytes, holds in
            unsafe core.put(bytes, holds: holds, until: until)
        }
        if status != 0 { throw core.failure(status, "cshm_queue_put_until") }
    }

    @usableFromInline
    internal func tryPutEncoded(_ element: Element) throws -> Bool {
        let status = try unsafe codec.send(element, in: core.object.region) { bytes, holds in
            unsafe core.tryPut(bytes, holds: holds)
        }
        if status == Answer.wouldWait { return false }
        if status != 0 { throw core.failure(status, "cshm_queue_try_put") }
        return true
    }

    @usableFromInline
    internal func getEncoded(timeout: Duration?) throws -> Element {
        var message = unsafe cshm_message()
        let status = unsafe cshm_queue_take_until(
            core.pointer, &message, deadline(after: timeout))
        if status != 0 { throw core.failure(status, "cshm_queue_take_until") }
        return try unsafe decodeAndRelease(&message)
    }

    @usableFromInline
    internal func tryGetEncoded() throws -> Element? {
        var message = unsafe cshm_message()
        let status = unsafe cshm_queue_try_take(core.pointer, &message)
        if status == Answer.wouldWait { return nil }
        if status != 0 { throw core.failure(status, "cshm_queue_try_take") }
        return try unsafe decodeAndRelease(&message)
    }

    internal func decodeAndRelease(_ message: inout cshm_message) throws -> Element {
        defer { unsafe cshm_queue_release(core.pointer, &message) }
        return try unsafe codec.decodeTaken(message.bytes)
    }

    // MARK: The end

    /// Ends the stream: nothing more is put, by any process, and what is in the queue is delivered.
    ///
    /// Those who wait to put are refused with `finished`, as is every later `put`. `get` throws
    /// `finished` once all is taken and nothing is leased any more. Idempotent.
    public func finish() {
        unsafe cshm_queue_finish(core.pointer)
    }

    /// Ends everything at once: every call, in every process, throws `closed` from now on.
    ///
    /// What is in the queue is not delivered. Idempotent.
    public func cancel() {
        unsafe cshm_queue_cancel(core.pointer)
    }

    // MARK: Looking

    /// Elements in the queue at some instant of the call, with those that were leased and wait to be
    /// delivered again, which may make it more than the capacity.
    public var count: Int { Int(unsafe cshm_queue_count(core.pointer)) }

    /// Elements it can hold.
    public var capacity: Int { Int(unsafe cshm_queue_capacity(core.pointer)) }

    /// Whether it held nothing, at some instant of the call.
    public var isEmpty: Bool { count == 0 }

    /// Whether there was no room for one more at some instant of the call: a `tryPut` then would have
    /// returned `false`.
    ///
    /// What is leased, or waits to be delivered again, takes no room.
    public var isFull: Bool { unsafe cshm_queue_is_full(core.pointer) != 0 }
}

extension cshm_message {
    /// The bytes of its elements, for as long as it is held.
    internal var bytes: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: data, count: Int(length) * Int(count))
    }
}
