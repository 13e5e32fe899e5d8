// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// Elements from any number of publishers to every subscriber, in one order, in any processes.
///
/// Each element is for everybody; to share elements out among consumers use ``Queue``.
///
/// - Processes: safe; send it to a worker like any value, and join there. Threads, tasks: safe.
/// - Death: a publisher killed at any instruction has published its element or has not. A dead
///   subscriber is waited for by nobody. A *stopped* lossless subscriber holds up all publishers
///   when the broadcast is full: that is what lossless means.
///
/// The corresponding C header is `cshm/broadcast.h`.
public final class Broadcast<Element: Sendable>: Sendable, Codable {
    internal let core: BroadcastCore
    internal let codec: MessageCodec<Element>

    private init(_ core: BroadcastCore, _ codec: MessageCodec<Element>) {
        self.core = core
        self.codec = codec
    }

    /// Makes a broadcast.
    ///
    /// - Parameters:
    ///   - capacity: Elements it keeps, a power of two from 2 to 1,048,576.
    ///   - publishers: The most at a time, over all processes, 1 to 1024.
    ///   - subscribers: The most at a time, over all processes, 1 to 1024.
    ///   - byteLimit: The most bytes that the elements it keeps may take together, of those that are too
    ///     long for their slot; `nil` for no limit but the region's. The oldest make room; an element
    ///     for which some have to go that a lossless subscriber has yet to read waits, as if the
    ///     broadcast were full.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `invalidArgument`, `cannotCross`, `full`, `system`.
    public convenience init(
        capacity: Int = 1024, publishers: Int = 16, subscribers: Int = 64, byteLimit: Int? = nil,
        in region: Region? = nil
    ) throws(SharedStateError) {
        let codec = try MessageCodec<Element>()
        let region = try Region.orFamily(region)
        let offset = try Self.make(
            codec, typeTag(Element.self), capacity, publishers, subscribers, byteLimit, region)
        let object = SharedObject(region, offset, sent: false)
        self.init(try BroadcastCore(object, customTag: nil, elementType: Element.self), codec)
    }

    /// Makes a broadcast and gives it a name, by which any program that opens the region finds it.
    ///
    /// The broadcast then lives as long as its region. C finds it by `cshm_directory_find`.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - type: What the elements are, for programs in which they have another Swift type or none:
    ///     C says `cshm_type_tag` of the same text. `nil` takes the Swift type's name and layout.
    ///   - capacity: As for ``init(capacity:publishers:subscribers:byteLimit:in:)``.
    ///   - publishers: As there.
    ///   - subscribers: As there.
    ///   - byteLimit: As there.
    /// - Throws: `alreadyExists`, and as ``init(capacity:publishers:subscribers:byteLimit:in:)``.
    public convenience init(
        creating name: String, in region: Region?, type: String? = nil, capacity: Int = 1024,
        publishers: Int = 16, subscribers: Int = 64, byteLimit: Int? = nil
    ) throws(SharedStateError) {
        let codec = try MessageCodec<Element>()
        let region = try Region.orFamily(region)
        let custom = customTag(type)
        let tag = custom ?? typeTag(Element.self)
        let offset = try Self.make(
            codec, tag, capacity, publishers, subscribers, byteLimit, region)
        let object = try SharedObject(
            region, offset, named: name, kind: CSHM_KIND_BROADCAST, tag: tag)
        self.init(try BroadcastCore(object, customTag: custom, elementType: Element.self), codec)
    }

    /// Opens the broadcast of that name.
    ///
    /// - Parameters:
    ///   - name: The name it was made with.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - type: As it was made with.
    /// - Throws: `notFound`, `incompatible` (not a broadcast of such elements), `cannotCross`.
    public convenience init(
        opening name: String, in region: Region?, type: String? = nil
    ) throws(SharedStateError) {
        let object = try SharedObject(opening: name, in: region, kind: CSHM_KIND_BROADCAST)
        self.init(
            try BroadcastCore(object, customTag: customTag(type), elementType: Element.self),
            try MessageCodec<Element>())
    }

    /// Opens the broadcast a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        let handle = try ChannelHandle(from: decoder)
        self.init(
            try BroadcastCore(
                handle.object(), customTag: handle.tag, elementType: Element.self),
            try MessageCodec<Element>())
    }

    /// Sends the handle; the broadcast then lives as long as its region.
    public func encode(to encoder: any Encoder) throws {
        try ChannelHandle(core.object, tag: core.customTag).encode(to: encoder)
    }

    private static func make(
        _ codec: MessageCodec<Element>, _ tag: UInt64, _ capacity: Int, _ publishers: Int,
        _ subscribers: Int, _ byteLimit: Int?, _ region: Region
    ) throws(SharedStateError) -> UInt64 {
        guard (2...1_048_576).contains(capacity), capacity.nonzeroBitCount == 1 else {
            throw SharedStateError(
                .invalidArgument,
                "a broadcast keeps a power of two from 2 to 1048576 elements, not \(capacity)")
        }
        guard (1...1024).contains(publishers), (1...1024).contains(subscribers) else {
            throw SharedStateError(
                .invalidArgument, "a broadcast has 1 to 1024 publishers and 1 to 1024 subscribers")
        }
        guard (byteLimit ?? 1) > 0 else {
            throw SharedStateError(.invalidArgument, "a byte limit is at least 1, or nil for none")
        }
        var options = cshm_broadcast_options(
            capacity: UInt32(capacity), slot_size: codec.inlineSize,
            publishers: UInt32(publishers), subscribers: UInt32(subscribers), type_tag: tag,
            byte_limit: UInt64(byteLimit ?? 0))
        var offset: UInt64 = 0
        try unsafe check(
            cshm_broadcast_create(region.pointer, &options, &offset), "cshm_broadcast_create")
        return offset
    }

    /// Joins as a publisher.
    ///
    /// When there was one, the broadcast is finished once the last has left or died.
    ///
    /// - Throws: `tooManyUsers`, `finished`, `closed`.
    public func publisher() throws(SharedStateError) -> Publisher<Element> {
        Publisher(try PublisherCore(core), codec)
    }

    /// Joins as a subscriber.
    ///
    /// - Parameters:
    ///   - policy: What happens when it is slower than the publishers.
    ///   - history: How many elements of the past it wants, those that are still there; `Int.max`
    ///     for all. A lossless subscriber can be promised 7/8 of the capacity only; with a byte limit,
    ///     what has not made room.
    /// - Returns: The subscriber.
    /// - Throws: `tooManyUsers`, `invalidArgument`, `closed`.
    public func subscriber(
        _ policy: SubscriberPolicy = .lossless, history: Int = 0
    ) throws(SharedStateError) -> Subscriber<Element> {
        guard history >= 0 else {
            throw SharedStateError(.invalidArgument, "a history is not of \(history) elements")
        }
        return Subscriber(try SubscriberCore(core, policy, history), codec)
    }

    /// Nothing more is published; each subscriber is given what was, and then its stream ends.
    public func finish() {
        _ = unsafe cshm_broadcast_finish(core.pointer)
    }

    /// Ends everything at once: every call, in every process, throws `closed` from now on.
    public func cancel() {
        unsafe cshm_broadcast_cancel(core.pointer)
    }

    /// Elements published so far.
    public var count: Int { Int(clamping: unsafe cshm_broadcast_count(core.pointer)) }

    /// Elements it keeps.
    public var capacity: Int { Int(unsafe cshm_broadcast_capacity(core.pointer)) }

    /// Subscribers there are; asks the kernel which are dead.
    public var subscriberCount: Int { Int(unsafe cshm_broadcast_subscribers(core.pointer)) }
}

/// What happens when a subscriber is slower than the publishers.
public enum SubscriberPolicy: Hashable, Sendable {
    /// It is waited for.
    case lossless
    /// It loses the oldest elements, and ``Subscriber/lost`` says how many.
    case overwriting
}

/// The view of a broadcast that C gives.
@safe
internal final class BroadcastCore: Sendable {
    let object: SharedObject
    nonisolated(unsafe) let pointer: OpaquePointer
    /// What the elements are, if that is not told by their Swift type.
    let customTag: UInt64?
    let elementType: Any.Type

    init(
        _ object: SharedObject, customTag: UInt64?, elementType: Any.Type
    ) throws(SharedStateError) {
        var opened: OpaquePointer?
        try unsafe check(
            cshm_broadcast_open(
                object.region.pointer, object.offset, customTag ?? typeTag(elementType), &opened),
            "cshm_broadcast_open", "Broadcast<\(elementType)>")
        unsafe pointer = opened.unsafelyUnwrapped
        self.object = object
        self.customTag = customTag
        self.elementType = elementType
    }

    deinit {
        if object.wasSent {
            unsafe cshm_broadcast_close(pointer)
        } else {
            unsafe cshm_broadcast_destroy(pointer)
        }
    }
}
