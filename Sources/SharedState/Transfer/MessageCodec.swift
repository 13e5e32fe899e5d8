// SPDX-License-Identifier: Apache-2.0

/// How the elements of a channel become its messages.
///
/// Plain bits are a message of the element's stride. An array of plain bits is a message of its
/// elements and nothing else, so that C reads it and so that it can be written in place; a `String` is
/// its UTF-8 and nothing else. Everything else is encoded by its ``TransferPlan``.
internal struct MessageCodec<Element>: Sendable {
    internal let isBits: Bool
    private let isText: Bool
    /// The element as an array of plain bits, if it is one.
    private let array: (any (PlainArray & SendableMetatype).Type)?
    private let plan: TransferPlan<Element>

    internal init() throws(SharedStateError) {
        plan = try TransferPlan<Element>.plan(for: Element.self)
        isBits = plan.isBits
        isText = Element.self == String.self
        let type = Element.self as? any (PlainArray & SendableMetatype).Type
        array = type?.elementsArePlain == true ? type : nil
    }

    /// Bytes of a message for which no block of its own is allocated.
    internal var inlineSize: UInt32 {
        guard isBits else { return 112 }
        let stride = MemoryLayout<Element>.stride
        return stride <= 4096 ? UInt32(stride) : 64
    }

    /// Whether a message is an array's elements as they are in memory.
    internal var isPlainArray: Bool { array != nil }

    /// Whether an element may name file descriptors, or handles.
    internal var mayNameHandles: Bool { plan.mayNameHandles }

    /// Elements that a batch puts into one slot.
    internal var pack: UInt32 { isBits && MemoryLayout<Element>.stride <= 256 ? 32 : 1 }

    internal func withMessage<Result>(
        of element: Element, _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
        if isBits {
            return try unsafe withUnsafeTemporaryAllocation(of: Element.self, capacity: 1) { room in
                unsafe room.initializeElement(at: 0, to: element)
                return try unsafe body(UnsafeRawBufferPointer(room))
            }
        }
        if isText { return try unsafe Text.withBytes(of: element, body) }
        if array != nil, let array = element as? any PlainArray {
            return try unsafe array.withPlainBytes(body)
        }
        var writer = ByteWriter()
        try plan.encode(element, into: &writer)
        return try unsafe writer.bytes.withUnsafeBytes(body)
    }

    internal func encoded(_ element: Element) throws -> [UInt8] {
        guard mayNameHandles else {
            return try unsafe withMessage(of: element) { unsafe [UInt8]($0) }
        }
        var writer = ByteWriter()
        try plan.encode(element, into: &writer)
        return writer.bytes
    }

    /// Encodes an element for `put`, which sends it.
    ///
    /// - Returns: What `put` does: 0 if it was sent. If not, what its encoding began is taken back.
    internal func send(
        _ element: Element, to receivers: Departure.Receivers = .one,
        _ put: (UnsafeRawBufferPointer) throws -> Int32
    ) throws -> Int32 {
        guard mayNameHandles else { return try unsafe withMessage(of: element, put) }
        let (status, departure) = try Departure.begin(to: receivers) {
            try unsafe withMessage(of: element, put)
        }
        if status == 0 { departure.isSent() }
        return status
    }

    /// The bytes of an element that is to be sent, and what is to be told when it was.
    internal func message(
        of element: Element, to receivers: Departure.Receivers = .one
    ) throws -> (bytes: [UInt8], departure: Departure) {
        let (bytes, departure) = try Departure.begin(to: receivers) {
            try unsafe withMessage(of: element) { unsafe [UInt8]($0) }
        }
        return (bytes, departure)
    }

    internal func decode(_ bytes: UnsafeRawBufferPointer) throws -> Element {
        if isBits {
            guard bytes.count == MemoryLayout<Element>.stride else {
                throw SharedStateError.truncated
            }
            return unsafe bytes.loadUnaligned(unchecked: Element.self)
        }
        if isText { return try unsafe Text.decode(bytes) }
        if let array, let element = try unsafe array.make(plainBytes: bytes) as? Element {
            return element
        }
        var reader = unsafe ByteReader(bytes)
        return try plan.decode(from: &reader)
    }
}

/// An array whose elements may be plain bits.
internal protocol PlainArray {
    static var elementsArePlain: Bool { get }
    static func make(plainBytes: UnsafeRawBufferPointer) throws -> Self
    func withPlainBytes<Result>(
        _ body: (UnsafeRawBufferPointer) throws -> Result
    ) rethrows -> Result
}

extension Array: PlainArray {
    internal static var elementsArePlain: Bool {
        MemoryLayout<Element>.size > 0 && PlainBits.describe(Element.self)
    }

    internal static func make(plainBytes: UnsafeRawBufferPointer) throws -> [Element] {
        guard plainBytes.count.isMultiple(of: MemoryLayout<Element>.stride) else {
            throw SharedStateError.truncated
        }
        return unsafe [Element](plainBytes: plainBytes)
    }

    internal func withPlainBytes<Result>(
        _ body: (UnsafeRawBufferPointer) throws -> Result
    ) rethrows -> Result {
        try unsafe withUnsafeBytes(body)
    }
}
