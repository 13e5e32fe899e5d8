// SPDX-License-Identifier: Apache-2.0

extension BinaryCoder {
    /// Decodes one value that ``encode(_:into:)`` wrote.
    internal static func decode<T: Decodable>(
        _ type: T.Type, from reader: inout ByteReader
    ) throws -> T {
        let bytes = unsafe try BinaryValue.take(from: &reader)
        return unsafe try BinaryValue(bytes: bytes, codingPath: [], depth: 0).decode(type)
    }
}

/// The bytes of one encoded value, its tag first.
///
/// Borrows them from the reader it came from.
@safe
internal struct BinaryValue {
    internal let bytes: UnsafeRawBufferPointer
    internal let codingPath: [any CodingKey]
    internal let depth: Int

    internal func child(_ bytes: UnsafeRawBufferPointer, _ key: any CodingKey) -> BinaryValue {
        unsafe BinaryValue(bytes: bytes, codingPath: codingPath + [key], depth: depth + 1)
    }

    internal var isNull: Bool { unsafe bytes.first == BinaryTag.null.rawValue }

    /// Cuts one value off the front of `reader`.
    ///
    /// Containers carry their length, so that this takes the same time whatever is in them and
    /// never recurses.
    internal static func take(
        from reader: inout ByteReader
    ) throws(SharedStateError) -> UnsafeRawBufferPointer {
        var ahead = reader
        switch try tag(from: &ahead) {
        case .null, .no, .yes: break
        case .signed, .unsigned: _ = try ahead.varint()
        case .wide: _ = unsafe try ahead.raw(17)
        case .float: _ = unsafe try ahead.raw(4)
        case .double: _ = unsafe try ahead.raw(8)
        case .string, .keyed, .numbers: _ = unsafe try ahead.raw(ahead.count())
        case .unkeyed:
            _ = try ahead.count()
            _ = unsafe try ahead.raw(ahead.count())
        }
        return unsafe try reader.raw(ahead.position - reader.position)
    }

    private static func tag(from reader: inout ByteReader) throws(SharedStateError) -> BinaryTag {
        guard let tag = BinaryTag(rawValue: try reader.byte()) else {
            throw SharedStateError(.incompatible, "the bytes are damaged: an unknown tag")
        }
        return tag
    }

    /// A reader behind the tag, and the tag.
    internal func open() throws(SharedStateError) -> (BinaryTag, ByteReader) {
        var reader = unsafe ByteReader(bytes)
        let tag = try Self.tag(from: &reader)
        return (tag, reader)
    }

    internal func mismatch(_ expected: Any.Type, _ tag: BinaryTag) -> any Error {
        let context = DecodingError.Context(
            codingPath: codingPath, debugDescription: "found a value of kind \(tag)")
        return tag == .null
            ? DecodingError.valueNotFound(expected, context)
            : DecodingError.typeMismatch(expected, context)
    }

    /// Decodes a value, without a decoder where its type is one that the format knows.
    internal func decode<T: Decodable>(_ type: T.Type) throws -> T {
        if let known = try decodeKnown(type) { return known }
        guard depth < BinaryCoder.depthLimit else {
            throw SharedStateError(.incompatible, "the bytes are damaged: nested too deeply")
        }
        return try T(from: ValueDecoder(value: self))
    }

    private func decodeKnown<T>(_: T.Type) throws -> T? {
        if T.self == Int.self {
            unsafe unsafeBitCast(try integer() as Int, to: T.self)
        } else if T.self == String.self {
            unsafe unsafeBitCast(try string(), to: T.self)
        } else if T.self == Double.self {
            unsafe unsafeBitCast(try double(), to: T.self)
        } else if T.self == Bool.self {
            unsafe unsafeBitCast(try bool(), to: T.self)
        } else if T.self == [UInt8].self {
            unsafe unsafeBitCast(try numbers(of: UInt8.self), to: T.self)
        } else if T.self == [Int].self {
            unsafe unsafeBitCast(try numbers(of: Int.self), to: T.self)
        } else if T.self == [Double].self {
            unsafe unsafeBitCast(try numbers(of: Double.self), to: T.self)
        } else if T.self == [Float].self {
            unsafe unsafeBitCast(try numbers(of: Float.self), to: T.self)
        } else if T.self == [Int32].self {
            unsafe unsafeBitCast(try numbers(of: Int32.self), to: T.self)
        } else {
            nil
        }
    }
}

extension BinaryValue {
    internal func bool() throws -> Bool {
        let (tag, _) = try open()
        switch tag {
        case .yes: return true
        case .no: return false
        default: throw mismatch(Bool.self, tag)
        }
    }

    internal func string() throws -> String {
        var (tag, reader) = try open()
        guard tag == .string else { throw mismatch(String.self, tag) }
        return try reader.string()
    }

    internal func double() throws -> Double {
        var (tag, reader) = try open()
        guard tag == .double else { throw mismatch(Double.self, tag) }
        return Double(bitPattern: try reader.fixed(UInt64.self))
    }

    internal func float() throws -> Float {
        var (tag, reader) = try open()
        guard tag == .float else { throw mismatch(Float.self, tag) }
        return Float(bitPattern: try reader.fixed(UInt32.self))
    }

    internal func integer<Integer: FixedWidthInteger>() throws -> Integer {
        var (tag, reader) = try open()
        let value: Integer?
        switch tag {
        case .signed:
            let zigzag = try reader.varint()
            value = Integer(exactly: Int64(bitPattern: zigzag >> 1) ^ -Int64(zigzag & 1))
        case .unsigned:
            value = Integer(exactly: try reader.varint())
        case .wide:
            let isSigned = try reader.byte() == 1
            let bits = try reader.fixed(UInt128.self)
            value =
                isSigned
                ? Integer(exactly: Int128(truncatingIfNeeded: bits)) : Integer(exactly: bits)
        default:
            throw mismatch(Integer.self, tag)
        }
        guard let value else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: codingPath, debugDescription: "does not fit \(Integer.self)"))
        }
        return value
    }

    internal func numbers<Number: BitwiseCopyable>(of: Number.Type) throws -> [Number] {
        var (tag, reader) = try open()
        guard tag == .numbers else { throw mismatch([Number].self, tag) }
        let raw = unsafe try reader.raw(reader.count())
        let size = MemoryLayout<Number>.stride
        guard raw.count % size == 0 else { throw SharedStateError.truncated }
        return unsafe [Number](unsafeUninitializedCapacity: raw.count / size) { buffer, count in
            unsafe UnsafeMutableRawBufferPointer(buffer).copyMemory(from: raw)
            count = raw.count / size
        }
    }
}

/// The `Decoder` that a value being decoded sees.
///
/// Valid only until that call returns.
@safe
internal struct ValueDecoder: Decoder {
    internal let value: BinaryValue
    internal var codingPath: [any CodingKey] { value.codingPath }
    internal var userInfo: [CodingUserInfoKey: Any] { DecodingNotes.userInfo }

    internal func container<Key: CodingKey>(
        keyedBy type: Key.Type
    ) throws -> KeyedDecodingContainer<Key> {
        var (tag, reader) = try value.open()
        guard tag == .keyed else { throw value.mismatch([String: Any].self, tag) }
        var content = unsafe ByteReader(try reader.raw(reader.count()))
        let entries = try KeyedEntries(&content)
        return KeyedDecodingContainer(KeyedSource<Key>(decoder: self, entries: entries))
    }

    internal func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        var (tag, reader) = try value.open()
        guard tag == .unkeyed else { throw value.mismatch([Any].self, tag) }
        let count = try reader.count()
        let content = unsafe try reader.raw(reader.count())
        guard count <= content.count else { throw SharedStateError.truncated }
        return unsafe UnkeyedSource(decoder: self, total: count, reader: ByteReader(content))
    }

    internal func singleValueContainer() -> any SingleValueDecodingContainer {
        SingleSource(decoder: self)
    }
}

/// Where each key's value lies in a keyed container.
///
/// A list rather than a dictionary: keys are few, and are asked for in the order in which they
/// were written, so the search begins behind the last hit and mostly ends there.
@safe
internal final class KeyedEntries {
    private var entries: [(key: String, value: UnsafeRawBufferPointer)] = unsafe []
    private var cursor = 0

    internal init(_ reader: inout ByteReader) throws(SharedStateError) {
        while reader.remaining > 0 {
            let key = try reader.string()
            unsafe entries.append((key, try BinaryValue.take(from: &reader)))
        }
    }

    internal var names: [String] { unsafe entries.map { unsafe $0.key } }

    internal func find(_ key: String) -> UnsafeRawBufferPointer? {
        let count = unsafe entries.count
        for step in 0..<count {
            let index = (cursor + step) % count
            if unsafe entries[index].key == key {
                cursor = index + 1
                return unsafe entries[index].value
            }
        }
        return nil
    }
}
