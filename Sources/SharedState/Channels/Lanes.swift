// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc

/// Elements from many producers to one consumer, without contention between the producers.
///
/// Each producer has a lane of its own, from ``lane()``. One process consumes: the first that gets,
/// until it is dead or its handle is gone; the order is kept within each lane. For several consumers,
/// or one order of everything, use ``Queue``; between exactly two, ``SharedPipe``.
///
/// The stream ends by ``finish()``, by the end of the last ``Lane``, or at once by ``cancel()``.
/// An `async` `get`, and the `AsyncSequence`, hold no thread while they wait.
///
/// - Processes: safe; send it to a worker like any value, and join there. Threads, tasks: any may
///   join; one at a time gets, and a second one is refused.
/// - Death: an element was put or it was not. A dead producer's lane is drained and used again. One
///   element of each lane that a dead consumer was given may be delivered to its successor again. A
///   *stopped* producer delays nobody.
///
/// The corresponding C header is `cshm/lanes.h`.
public final class Lanes<Element: Sendable>: Sendable, Codable {
    @usableFromInline internal let core: LanesCore
    @usableFromInline internal let isBits: Bool
    private let codec: MessageCodec<Element>

    private init(_ core: LanesCore, _ codec: MessageCodec<Element>) {
        self.core = core
        self.codec = codec
        isBits = codec.isBits
    }

    /// Makes lanes.
    ///
    /// - Parameters:
    ///   - capacity: Elements that each lane holds, a power of two from 2 to 1,048,576.
    ///   - producers: The most at a time, over all processes, 1 to 1024.
    ///   - byteLimit: The most bytes that the elements of one lane that are too long for their slot may
    ///     take together; `nil` for no limit but the region's. A put beyond it waits, as if the lane
    ///     were full.
    ///   - region: Where they live; `nil` is the family's region.
    /// - Throws: `invalidArgument`, `cannotCross`, `full`, `system`.
    public convenience init(
        capacity: Int = 256, producers: Int = 64, byteLimit: Int? = nil, in region: Region? = nil
    ) throws(SharedStateError) {
        let codec = try MessageCodec<Element>()
        let region = try Region.orFamily(region)
        let offset = try Self.make(
            codec, typeTag(Element.self), capacity, producers, byteLimit, region)
        let object = SharedObject(region, offset, sent: false)
        self.init(try LanesCore(object, customTag: nil, elementType: Element.self), codec)
    }

    /// Makes lanes and gives them a name, by which any program that opens the region finds them.
    ///
    /// They then live as long as their region. C finds them by `cshm_directory_find`.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where they live; `nil` is the family's region.
    ///   - type: What the elements are, for programs in which they have another Swift type or none:
    ///     C says `cshm_type_tag` of the same text. `nil` takes the Swift type's name and layout.
    ///   - capacity: As for ``init(capacity:producers:byteLimit:in:)``.
    ///   - producers: As there.
    ///   - byteLimit: As there.
    /// - Throws: `alreadyExists`, and as ``init(capacity:producers:byteLimit:in:)``.
    public convenience init(
        creating name: String, in region: Region?, type: String? = nil, capacity: Int = 256,
        producers: Int = 64, byteLimit: Int? = nil
    ) throws(SharedStateError) {
        let codec = try MessageCodec<Element>()
        let region = try Region.orFamily(region)
        let custom = customTag(type)
        let tag = custom ?? typeTag(Element.self)
        let offset = try Self.make(codec, tag, capacity, producers, byteLimit, region)
        let object = try SharedObject(
            region, offset, named: name, kind: CSHM_KIND_LANES, tag: tag)
        self.init(try LanesCore(object, customTag: custom, elementType: Element.self), codec)
    }

    /// Opens the lanes of that name.
    ///
    /// - Parameters:
    ///   - name: The name they were made with.
    ///   - region: Where they live; `nil` is the family's region.
    ///   - type: As they were made with.
    /// - Throws: `notFound`, `incompatible` (not lanes of such elements), `cannotCross`.
    public convenience init(
        opening name: String, in region: Region?, type: String? = nil
    ) throws(SharedStateError) {
        let object = try SharedObject(opening: name, in: region, kind: CSHM_KIND_LANES)
        self.init(
            try LanesCore(object, customTag: customTag(type), elementType: Element.self),
            try MessageCodec<Element>())
    }

    /// Opens the lanes a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        let handle = try ChannelHandle(from: decoder)
        self.init(
            try LanesCore(handle.object(), customTag: handle.tag, elementType: Element.self),
            try MessageCodec<Element>())
    }

    /// Sends the handle; the lanes then live as long as their region.
    public func encode(to encoder: any Encoder) throws {
        try ChannelHandle(core.object, tag: core.customTag).encode(to: encoder)
    }

    private static func make(
        _ codec: MessageCodec<Element>, _ tag: UInt64, _ capacity: Int, _ producers: Int,
        _ byteLimit: Int?, _ region: Region
    ) throws(SharedStateError) -> UInt64 {
        guard (2...1_048_576).contains(capacity), capacity.nonzeroBitCount == 1 else {
            throw SharedStateError(
                .invalidArgument,
                "a lane holds a power of two from 2 to 1048576 elements, not \(capacity)")
        }
        guard (1...1024).contains(producers) else {
            throw SharedStateError(.invalidArgument, "lanes have 1 to 1024 producers")
        }
        guard (byteLimit ?? 1) > 0 else {
            throw SharedStateError(.invalidArgument, "a byte limit is at least 1, or nil for none")
        }
        var options = cshm_lanes_options(
            capacity: UInt32(capacity), slot_size: codec.inlineSize,
            producers: UInt32(producers), budget: 0, type_tag: tag,
            byte_limit: UInt64(byteLimit ?? 0))
        var offset: UInt64 = 0
        try unsafe check(
            cshm_lanes_create(region.pointer, &options, &offset), "cshm_lanes_create")
        return offset
    }

    // MARK: Producing

    /// Joins as a producer.
    ///
    /// When there was one, the stream is finished once the last has left or died.
    ///
    /// - Throws: `tooManyUsers`, `finished`, `closed`, `full`.
    public func lane() throws(SharedStateError) -> Lane<Element> {
        Lane(try LaneCore(core), codec)
    }

    // MARK: Consuming

    /// The next element, waiting for it.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: The element.
    /// - Throws: `timedOut`, `finished` (the end), `closed`, `incompatible` (damaged bytes),
    ///   `invalidArgument` (another process consumes, or another thread is at it), or what the
    ///   element's `init(from:)` throws; then the element is gone.
    @inlinable
    public func get(timeout: Duration? = nil) throws -> Element {
        guard _isPOD(Element.self), isBits else { return try getEncoded(timeout: timeout) }
        let deadline = timeout.map(QueueCore.deadline) ?? .max
        return try unsafe withUnsafeTemporaryAllocation(of: Element.self, capacity: 1) { room in
            let room = unsafe room.baseAddress.unsafelyUnwrapped
            let status = unsafe core.get(
                into: room, MemoryLayout<Element>.stride, until: deadline)
            if status != 0 { throw core.failure(status, "cshm_lanes_get_until") }
            return unsafe room.move()
        }
    }

    /// The next element if there is one now.
    ///
    /// - Returns: The element, or `nil` if there is none and the stream goes on.
    /// - Throws: As `get`, save `timedOut`.
    public func tryGet() throws -> Element? {
        let (status, element) = try unsafe core.withNext(until: nil) {
            unsafe try codec.decode($0)
        }
        if status == Answer.wouldWait { return nil }
        if status != 0 { throw core.failure(status, "cshm_lanes_try_peek") }
        return element
    }

    /// The next element, waiting for it without holding a thread.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: The element.
    /// - Throws: As the blocking form, and `CancellationError`; then it is still the next one.
    public func get(timeout: Duration? = nil) async throws -> Element {
        try Task.checkCancellation()
        if let element = try tryGet() { return element }
        let received = ReceivedBytes()
        let status = try await Reactor.wait(at: core.items, until: deadline(after: timeout)) {
            [core] in
            unsafe core.withNext(until: nil) { bytes in
                received.bytes.withLock { unsafe $0 = [UInt8](bytes) }
            }.0
        }
        if status != 0 { throw core.failure(status, "cshm_lanes_try_peek") }
        return try unsafe received.bytes.withLock { $0 }.withUnsafeBytes {
            unsafe try codec.decode($0)
        }
    }

    @usableFromInline
    internal func getEncoded(timeout: Duration?) throws -> Element {
        let until = deadline(after: timeout)
        let (status, element) = try unsafe core.withNext(until: until) {
            unsafe try codec.decode($0)
        }
        guard status == 0, let element else {
            throw core.failure(status, "cshm_lanes_peek_until")
        }
        return element
    }

    // MARK: The end, and looking

    /// Nothing more is put; what was is delivered, and then the stream ends.
    public func finish() {
        unsafe cshm_lanes_finish(core.pointer)
    }

    /// Ends everything at once: every call, in every process, throws `closed` from now on.
    public func cancel() {
        unsafe cshm_lanes_cancel(core.pointer)
    }

    /// Elements in all lanes together; exact if they did not change for an instant of the call.
    public var count: Int { Int(clamping: unsafe cshm_lanes_count(core.pointer)) }

    /// Elements that each lane can hold.
    public var capacity: Int { Int(unsafe cshm_lanes_capacity(core.pointer)) }
}

extension Lanes where Element: BitwiseCopyable {
    /// Reads the next element where it lies, then takes it out of its lane.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - body: Reads the only item of the span. If it throws, the element is still the next one.
    /// - Returns: What `body` returns.
    /// - Throws: As ``get(timeout:)``, or what `body` throws.
    public func withNext<Result>(
        timeout: Duration? = nil, _ body: (Span<Element>) throws -> Result
    ) throws -> Result {
        try core.withNextItems(timeout, body)
    }
}

extension Lanes {
    /// Reads the next array of plain bits where it lies, then takes it out of its lane.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - body: Reads it. If it throws, the array is still the next one.
    /// - Returns: What `body` returns.
    /// - Throws: As ``get(timeout:)``, or what `body` throws.
    public func withNext<Item: BitwiseCopyable, Result>(
        timeout: Duration? = nil, _ body: (Span<Item>) throws -> Result
    ) throws -> Result where Element == [Item] {
        try core.withNextItems(timeout, body)
    }
}

extension Lanes: AsyncSequence {
    /// Gets the elements as they come, holding no thread while it waits.
    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let lanes: Lanes

        /// The next element, waiting for it; `nil` at the end.
        ///
        /// - Throws: As `get` of ``Lanes``, save `finished`.
        public mutating func next() async throws -> Element? {
            do {
                return try await lanes.get()
            } catch let error as SharedStateError where error.code == .finished {
                return nil
            }
        }
    }

    /// An iterator over what is still to come.
    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(lanes: self)
    }
}

/// The view of lanes that C gives; its consumer's calls are for one thread at a time.
@safe
@usableFromInline
internal final class LanesCore: Sendable {
    let object: SharedObject
    nonisolated(unsafe) let pointer: OpaquePointer
    /// What the elements are, if that is not told by their Swift type.
    let customTag: UInt64?
    let elementType: Any.Type
    private let turn = Turn()

    init(
        _ object: SharedObject, customTag: UInt64?, elementType: Any.Type
    ) throws(SharedStateError) {
        var opened: OpaquePointer?
        try unsafe check(
            cshm_lanes_open(
                object.region.pointer, object.offset, customTag ?? typeTag(elementType), &opened),
            "cshm_lanes_open", "Lanes<\(elementType)>")
        unsafe pointer = opened.unsafelyUnwrapped
        self.object = object
        self.customTag = customTag
        self.elementType = elementType
    }

    deinit {
        if object.wasSent {
            unsafe cshm_lanes_close(pointer)
        } else {
            unsafe cshm_lanes_destroy(pointer)
        }
    }

    @usableFromInline
    func get(into room: UnsafeMutableRawPointer, _ length: Int, until deadline: Int64) -> Int32 {
        guard turn.take() else { return Answer.busy }
        defer { turn.giveBack() }
        var found: UInt64 = 0
        let status = consume {
            unsafe cshm_lanes_get_until(pointer, room, UInt64(length), &found, deadline)
        }
        if status == 0 { return found == UInt64(length) ? 0 : Answer.damaged }
        return status == Answer.tooLarge ? Answer.damaged : status
    }

    /// Has the next message read in place, and releases it; without a deadline it does not wait.
    func withNext<Result>(
        until deadline: Int64?, _ body: (UnsafeRawBufferPointer) throws -> Result
    ) rethrows -> (Int32, Result?) {
        guard turn.take() else { return (Answer.busy, nil) }
        defer { turn.giveBack() }
        var message = unsafe cshm_lanes_message()
        let status = unsafe peek(&message, until: deadline)
        guard status == 0 else { return (status, nil) }
        defer { unsafe cshm_lanes_release(pointer) }
        return (0, try unsafe body(message.bytes))
    }

    /// As ``withNext(until:_:)``; if `body` throws, the message stays.
    fileprivate func withNextItems<Item: BitwiseCopyable, Result>(
        _ timeout: Duration?, _ body: (Span<Item>) throws -> Result
    ) throws -> Result {
        let until = deadline(after: timeout)
        guard turn.take() else { throw failure(Answer.busy, "cshm_lanes_peek_until") }
        defer { turn.giveBack() }
        var message = unsafe cshm_lanes_message()
        let status = unsafe peek(&message, until: until)
        if status != 0 { throw failure(status, "cshm_lanes_peek_until") }
        let result = try unsafe withItems(of: message.bytes, body)
        unsafe cshm_lanes_release(pointer)
        return result
    }

    /// Looks for the next message, which stays.
    func tryLook() -> Int32 {
        guard turn.take() else { return Answer.busy }
        defer { turn.giveBack() }
        var message = unsafe cshm_lanes_message()
        return unsafe peek(&message, until: nil)
    }

    private func peek(_ message: inout cshm_lanes_message, until deadline: Int64?) -> Int32 {
        consume {
            if let deadline {
                unsafe cshm_lanes_peek_until(pointer, &message, deadline)
            } else {
                unsafe cshm_lanes_try_peek(pointer, &message)
            }
        }
    }

    /// Becomes the consumer if it is not, and can be.
    private func consume(_ call: () -> Int32) -> Int32 {
        let status = call()
        guard status == -EPERM else { return status }
        let became = unsafe cshm_lanes_become_consumer(pointer)
        return became < 0 ? became : call()
    }

    /// Where the consumer waits.
    var items: Reactor.Place {
        unsafe Reactor.Place { unsafe cshm_lanes_items(pointer, $0) }
    }

    @usableFromInline
    @inline(never)
    func failure(_ status: Int32, _ function: StaticString) -> SharedStateError {
        guard status == Answer.busy else {
            return SharedStateError(status: status, function, "Lanes<\(elementType)>")
        }
        return SharedStateError(
            .invalidArgument,
            "another process consumes from Lanes<\(elementType)>, or another thread is at it")
    }
}

extension cshm_lanes_message {
    /// Its bytes, until it is released.
    fileprivate var bytes: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: data, count: Int(clamping: length))
    }
}
