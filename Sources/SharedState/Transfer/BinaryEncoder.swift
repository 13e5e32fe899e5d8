// SPDX-License-Identifier: Apache-2.0

/// The first byte of every encoded value: what follows it.
internal enum BinaryTag: UInt8 {
    case null, no, yes
    /// A zigzag varint: short for small numbers of either sign.
    case signed
    case unsigned
    case wide
    case float, double, string
    /// The length in bytes, then keys and values in turn.
    case keyed
    /// The count, the length in bytes, then the values.
    case unkeyed
    /// The length in bytes, then an array of numbers as it lies in memory.
    case numbers
}

/// Turns `Encodable` values into a few bytes for a process running the same executable.
///
/// Not a storage format: numbers are as short as they can be, keys are names (so that optional
/// and missing ones work), arrays of numbers are copied as they are, and nothing has a version.
internal enum BinaryCoder {
    /// How deep containers may be nested, so that neither a cyclic value nor damaged bytes can
    /// exhaust the stack.
    internal static let depthLimit = 256

    internal static func encode<T: Encodable>(
        _ value: T, into writer: inout ByteWriter
    ) throws {
        try encode(value, into: &writer, path: [], depth: 0)
    }

    /// Appends one value, without an encoder where its type is one that the format knows.
    internal static func encode<T: Encodable>(
        _ value: T, into writer: inout ByteWriter, path: @autoclosure () -> [any CodingKey],
        depth: Int
    ) throws {
        if encodeKnown(value, into: &writer) { return }
        guard depth < depthLimit else {
            throw SharedStateError(
                .cannotCross, "\(T.self) is nested more than \(depthLimit) levels deep, or cyclic")
        }
        let encoder = ValueEncoder(path: path(), depth: depth + 1)
        try value.encode(to: encoder)
        encoder.sink.finish(into: &writer)
    }

    /// Comparing types first keeps this free of casts, which cost more than the encoding.
    private static func encodeKnown<T>(_ value: T, into writer: inout ByteWriter) -> Bool {
        if T.self == Int.self {
            writer.append(integer: unsafe unsafeBitCast(value, to: Int.self))
        } else if T.self == String.self {
            writer.append(tagged: unsafe unsafeBitCast(value, to: String.self))
        } else if T.self == Double.self {
            writer.append(tagged: unsafe unsafeBitCast(value, to: Double.self))
        } else if T.self == Bool.self {
            writer.append(tagged: unsafe unsafeBitCast(value, to: Bool.self))
        } else if T.self == [UInt8].self {
            writer.append(numbers: unsafe unsafeBitCast(value, to: [UInt8].self))
        } else if T.self == [Int].self {
            writer.append(numbers: unsafe unsafeBitCast(value, to: [Int].self))
        } else if T.self == [Double].self {
            writer.append(numbers: unsafe unsafeBitCast(value, to: [Double].self))
        } else if T.self == [Float].self {
            writer.append(numbers: unsafe unsafeBitCast(value, to: [Float].self))
        } else if T.self == [Int32].self {
            writer.append(numbers: unsafe unsafeBitCast(value, to: [Int32].self))
        } else {
            return false
        }
        return true
    }
}

extension ByteWriter {
    internal mutating func append(tag: BinaryTag) {
        append(byte: tag.rawValue)
    }

    internal mutating func append(tagged value: Bool) {
        append(tag: value ? .yes : .no)
    }

    internal mutating func append(tagged value: String) {
        append(tag: .string)
        append(string: value)
    }

    internal mutating func append(tagged value: Double) {
        append(tag: .double)
        append(fixed: value.bitPattern)
    }

    internal mutating func append(tagged value: Float) {
        append(tag: .float)
        append(fixed: value.bitPattern)
    }

    internal mutating func append<Integer: FixedWidthInteger>(integer value: Integer) {
        if let small = Int64(exactly: value) {
            append(tag: .signed)
            append(varint: UInt64(bitPattern: (small << 1) ^ (small >> 63)))
        } else if let large = UInt64(exactly: value) {
            append(tag: .unsigned)
            append(varint: large)
        } else {
            append(tag: .wide)
            append(byte: Integer.isSigned ? 1 : 0)
            append(fixed: UInt128(truncatingIfNeeded: value))
        }
    }

    internal mutating func append<Number: BitwiseCopyable>(numbers: [Number]) {
        append(tag: .numbers)
        unsafe numbers.withUnsafeBytes { raw in
            append(count: raw.count)
            unsafe append(raw: raw)
        }
    }
}

/// The bytes of one value while it is being encoded.
///
/// Values go straight into `bytes`. Nested containers and super encoders, which may be filled in
/// any order, are remembered with their place and spliced in at the end.
internal final class Sink {
    internal enum Kind { case single, keyed, unkeyed }

    /// Nothing until the value asks for a container; the first one that it asks for stays.
    internal var kind: Kind?
    internal var writer = ByteWriter()
    internal var count = 0
    private var children: [(position: Int, sink: Sink)] = []

    internal func makeChild() -> Sink {
        let sink = Sink()
        children.append((writer.bytes.count, sink))
        return sink
    }

    /// Appends the finished value to `output`.
    ///
    /// A value that encoded nothing is an empty container.
    internal func finish(into output: inout ByteWriter) {
        let content = splice()
        switch kind {
        case .single:
            output.append(raw: content)
        case .keyed, nil:
            output.append(tag: .keyed)
            output.append(prefixed: content)
        case .unkeyed:
            output.append(tag: .unkeyed)
            output.append(count: count)
            output.append(prefixed: content)
        }
    }

    private func splice() -> [UInt8] {
        if children.isEmpty { return writer.bytes }
        var output = ByteWriter()
        var start = 0
        for child in children {
            output.append(raw: Array(writer.bytes[start..<child.position]))
            child.sink.finish(into: &output)
            start = child.position
        }
        output.append(raw: Array(writer.bytes[start...]))
        return output.bytes
    }
}

/// The `Encoder` that a value being encoded sees.
internal struct ValueEncoder: Encoder {
    internal let sink: Sink
    internal let codingPath: [any CodingKey]
    internal let depth: Int
    internal var userInfo: [CodingUserInfoKey: Any] { [:] }

    internal init(sink: Sink = Sink(), path: [any CodingKey], depth: Int) {
        self.sink = sink
        self.codingPath = path
        self.depth = depth
    }

    internal func container<Key: CodingKey>(
        keyedBy type: Key.Type
    ) -> KeyedEncodingContainer<Key> {
        sink.kind = .keyed
        return KeyedEncodingContainer(KeyedSink<Key>(encoder: self))
    }

    internal func unkeyedContainer() -> any UnkeyedEncodingContainer {
        sink.kind = .unkeyed
        return UnkeyedSink(encoder: self)
    }

    internal func singleValueContainer() -> any SingleValueEncodingContainer {
        sink.kind = .single
        return SingleSink(encoder: self)
    }

    /// An encoder for a value inside this one, to be filled later.
    internal func child(at key: (any CodingKey)?) -> ValueEncoder {
        ValueEncoder(
            sink: sink.makeChild(), path: key.map { codingPath + [$0] } ?? codingPath,
            depth: depth + 1)
    }
}

/// A position in an unkeyed container, or the key of a super encoder.
internal struct BinaryKey: CodingKey {
    internal let stringValue: String
    internal let intValue: Int?

    internal static var parent: BinaryKey { BinaryKey(stringValue: "super") }

    internal init(stringValue: String) {
        self.stringValue = stringValue
        intValue = nil
    }

    internal init(intValue: Int) {
        stringValue = String(intValue)
        self.intValue = intValue
    }
}
