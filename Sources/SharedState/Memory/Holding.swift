// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// Whose an object is: this process's alone, its region's, or everybody's who is counted.
internal enum Ownership: Sendable {
    case own
    case shared
    case counted(cshm_anchor)
}

/// What a handle names has ended: what it was read from has changed since.
internal struct HandleEnded: Error {
    /// For who finds it where nothing can have changed.
    static var error: SharedStateError {
        SharedStateError(.incompatible, "the bytes are damaged: they hold an object that has ended")
    }

    /// Reads, and if what was read has ended, once more with writers held off.
    static func readingAgain<Result>(
        _ read: () throws -> Result, locked: () throws -> Result
    ) throws -> Result {
        do {
            return try read()
        } catch is HandleEnded {}
        return try telling(locked)
    }

    /// Reads where nothing can change meanwhile.
    static func telling<Result>(_ read: () throws -> Result) throws -> Result {
        do {
            return try read()
        } catch is HandleEnded {
            throw error
        }
    }
}

/// The bytes of an element as containers and queues have them, and what is to be told when they do.
internal struct StoredElement: Sendable {
    let bytes: [UInt8]
    /// Of an element that may name handles: until it ends, what is held is there.
    private let departure: Departure?
    /// Whether it holds anything.
    let holds: Bool

    fileprivate init(_ bytes: [UInt8], _ departure: Departure? = nil, holds: Bool = false) {
        self.bytes = bytes
        self.departure = departure
        self.holds = holds
    }

    /// It is where it was to be: nothing is taken back any more.
    func isStored() {
        departure?.isSent()
    }
}

/// An element that may name handles is stored as its bytes, and behind them the anchors of what it holds
/// (`cshm/anchor.h`); any other as its bytes alone.
extension MessageCodec {
    internal func stored(
        _ element: Element, in region: Region, to receivers: Departure.Receivers = .many
    ) throws -> StoredElement {
        guard mayNameHandles else { return StoredElement(try encoded(element)) }
        var bytes: [UInt8] = []
        let departure = try Departure.begin(to: receivers, in: region) {
            bytes = try encoded(element)
        }
        let anchors = departure.anchors
        guard anchors.count <= CSHM_ANCHORS_OF_VALUE_MAX else {
            throw SharedStateError(.tooLarge, "an element holds at most 65535 objects")
        }
        bytes.append(tailOf: anchors)
        return StoredElement(bytes, departure, holds: !anchors.isEmpty)
    }

    /// An element's bytes as a container in that region stores them, for `body`, which does.
    internal func withStored<Result>(
        of element: Element, in region: Region, _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
        guard mayNameHandles else { return try unsafe withMessage(of: element, body) }
        let stored = try stored(element, in: region)
        let result = try unsafe stored.bytes.withUnsafeBytes(body)
        stored.isStored()
        return result
    }

    /// Encodes an element for `put`, which sends it by a queue in that region; told whether it holds
    /// anything.
    ///
    /// - Returns: What `put` does: 0 if it was sent. If not, what its encoding began is taken back.
    internal func send(
        _ element: Element, in region: Region,
        _ put: (UnsafeRawBufferPointer, _ holds: Bool) throws -> Int32
    ) throws -> Int32 {
        guard mayNameHandles else {
            return try unsafe withMessage(of: element) { unsafe try put($0, false) }
        }
        let stored = try stored(element, in: region, to: .one)
        let status = try unsafe stored.bytes.withUnsafeBytes { unsafe try put($0, stored.holds) }
        if status == 0 { stored.isStored() }
        return status
    }

    /// The element of what is stored.
    ///
    /// - Throws: `HandleEnded`, and as ``decode(_:)``.
    internal func decodeStored(_ bytes: UnsafeRawBufferPointer) throws -> Element {
        try unsafe decode(mayNameHandles ? try unsafe Self.value(of: bytes) : bytes)
    }

    /// The element of a queue's message, which stays as it is.
    internal func decodeTaken(_ bytes: UnsafeRawBufferPointer) throws -> Element {
        try HandleEnded.telling { try unsafe decodeStored(bytes) }
    }

    /// As ``decodeTaken(_:)``, of one that is delivered again if it is not said to be done.
    internal func decodeLeased(_ bytes: UnsafeRawBufferPointer) throws -> Element {
        guard mayNameHandles else { return try unsafe decode(bytes) }
        return try Delivery.$mayComeAgain.withValue(true) { try unsafe decodeTaken(bytes) }
    }

    /// The bytes without what says what they hold.
    private static func value(
        of bytes: UnsafeRawBufferPointer
    ) throws(SharedStateError) -> UnsafeRawBufferPointer {
        guard bytes.count >= 8, bytes.count % 8 == 0 else { throw .truncated }
        let last = unsafe bytes.loadUnaligned(fromByteOffset: bytes.count - 8, as: UInt64.self)
        let length = Int(last & 0xffff_ffff_ffff)
        guard length <= bytes.count - 8 else { throw .truncated }
        return unsafe UnsafeRawBufferPointer(rebasing: bytes[..<length])
    }
}

extension [UInt8] {
    fileprivate mutating func append(tailOf anchors: [cshm_anchor]) {
        let length = count
        append(contentsOf: repeatElement(0, count: (8 - length % 8) % 8))
        for anchor in anchors {
            append(word: anchor.place)
            append(word: anchor.generation)
        }
        append(word: UInt64(anchors.count) << 48 | UInt64(length))
    }

    private mutating func append(word: UInt64) {
        unsafe Swift.withUnsafeBytes(of: word) { unsafe append(contentsOf: $0) }
    }
}
