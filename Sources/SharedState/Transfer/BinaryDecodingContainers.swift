// SPDX-License-Identifier: Apache-2.0

/// Finds values by the name of their key.
@safe
internal struct KeyedSource<Key: CodingKey>: KeyedDecodingContainerProtocol {
    internal let decoder: ValueDecoder
    internal let entries: KeyedEntries
    internal var codingPath: [any CodingKey] { decoder.value.codingPath }
    internal var allKeys: [Key] { entries.names.compactMap(Key.init(stringValue:)) }

    internal func contains(_ key: Key) -> Bool { unsafe entries.find(key.stringValue) != nil }

    private func value(_ key: any CodingKey) throws -> BinaryValue {
        guard let bytes = unsafe entries.find(key.stringValue) else {
            throw unsafe DecodingError.keyNotFound(
                key, .init(codingPath: codingPath, debugDescription: "there is no such key"))
        }
        return unsafe decoder.value.child(bytes, key)
    }

    internal func decodeNil(forKey key: Key) throws -> Bool { try value(key).isNull }
    internal func decode(_: Int.Type, forKey key: Key) throws -> Int {
        try value(key).integer()
    }
    internal func decode(_: Int8.Type, forKey key: Key) throws -> Int8 {
        try value(key).integer()
    }
    internal func decode(_: Int16.Type, forKey key: Key) throws -> Int16 {
        try value(key).integer()
    }
    internal func decode(_: Int32.Type, forKey key: Key) throws -> Int32 {
        try value(key).integer()
    }
    internal func decode(_: Int64.Type, forKey key: Key) throws -> Int64 {
        try value(key).integer()
    }
    internal func decode(_: Int128.Type, forKey key: Key) throws -> Int128 {
        try value(key).integer()
    }
    internal func decode(_: UInt.Type, forKey key: Key) throws -> UInt {
        try value(key).integer()
    }
    internal func decode(_: UInt8.Type, forKey key: Key) throws -> UInt8 {
        try value(key).integer()
    }
    internal func decode(_: UInt16.Type, forKey key: Key) throws -> UInt16 {
        try value(key).integer()
    }
    internal func decode(_: UInt32.Type, forKey key: Key) throws -> UInt32 {
        try value(key).integer()
    }
    internal func decode(_: UInt64.Type, forKey key: Key) throws -> UInt64 {
        try value(key).integer()
    }
    internal func decode(_: UInt128.Type, forKey key: Key) throws -> UInt128 {
        try value(key).integer()
    }
    internal func decode(_: Float.Type, forKey key: Key) throws -> Float {
        try value(key).float()
    }
    internal func decode(_: Double.Type, forKey key: Key) throws -> Double {
        try value(key).double()
    }
    internal func decode(_: String.Type, forKey key: Key) throws -> String {
        try value(key).string()
    }
    internal func decode(_: Bool.Type, forKey key: Key) throws -> Bool {
        try value(key).bool()
    }

    internal func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T {
        try value(key).decode(type)
    }

    internal func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<Nested> {
        try ValueDecoder(value: value(key)).container(keyedBy: type)
    }

    internal func nestedUnkeyedContainer(
        forKey key: Key
    ) throws -> any UnkeyedDecodingContainer {
        try ValueDecoder(value: value(key)).unkeyedContainer()
    }

    internal func superDecoder() throws -> any Decoder {
        try ValueDecoder(value: value(BinaryKey.parent))
    }

    internal func superDecoder(forKey key: Key) throws -> any Decoder {
        try ValueDecoder(value: value(key))
    }
}

/// Reads values in the order in which they were written.
@safe
internal struct UnkeyedSource: UnkeyedDecodingContainer {
    internal let decoder: ValueDecoder
    internal let total: Int
    internal var reader: ByteReader
    internal private(set) var currentIndex = 0
    internal var codingPath: [any CodingKey] { decoder.value.codingPath }
    internal var count: Int? { total }
    internal var isAtEnd: Bool { currentIndex >= total }

    internal init(decoder: ValueDecoder, total: Int, reader: ByteReader) {
        self.decoder = decoder
        self.total = total
        self.reader = reader
    }

    private mutating func next() throws -> BinaryValue {
        guard !isAtEnd else {
            throw unsafe DecodingError.valueNotFound(
                Any.self, .init(codingPath: codingPath, debugDescription: "there are no more"))
        }
        defer { currentIndex += 1 }
        let bytes = unsafe try BinaryValue.take(from: &reader)
        return unsafe decoder.value.child(bytes, BinaryKey(intValue: currentIndex))
    }

    /// Steps over a nil; stays before anything else.
    internal mutating func decodeNil() throws -> Bool {
        let start = self
        if try next().isNull { return true }
        self = start
        return false
    }
    internal mutating func decode(_: Int.Type) throws -> Int { try next().integer() }
    internal mutating func decode(_: Int8.Type) throws -> Int8 { try next().integer() }
    internal mutating func decode(_: Int16.Type) throws -> Int16 { try next().integer() }
    internal mutating func decode(_: Int32.Type) throws -> Int32 { try next().integer() }
    internal mutating func decode(_: Int64.Type) throws -> Int64 { try next().integer() }
    internal mutating func decode(_: Int128.Type) throws -> Int128 { try next().integer() }
    internal mutating func decode(_: UInt.Type) throws -> UInt { try next().integer() }
    internal mutating func decode(_: UInt8.Type) throws -> UInt8 { try next().integer() }
    internal mutating func decode(_: UInt16.Type) throws -> UInt16 { try next().integer() }
    internal mutating func decode(_: UInt32.Type) throws -> UInt32 { try next().integer() }
    internal mutating func decode(_: UInt64.Type) throws -> UInt64 { try next().integer() }
    internal mutating func decode(_: UInt128.Type) throws -> UInt128 { try next().integer() }
    internal mutating func decode(_: Float.Type) throws -> Float { try next().float() }
    internal mutating func decode(_: Double.Type) throws -> Double { try next().double() }
    internal mutating func decode(_: String.Type) throws -> String { try next().string() }
    internal mutating func decode(_: Bool.Type) throws -> Bool { try next().bool() }

    internal mutating func decode<T: Decodable>(_ type: T.Type) throws -> T {
        try next().decode(type)
    }

    internal mutating func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type
    ) throws -> KeyedDecodingContainer<Nested> {
        try ValueDecoder(value: next()).container(keyedBy: type)
    }

    internal mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
        try ValueDecoder(value: next()).unkeyedContainer()
    }

    internal mutating func superDecoder() throws -> any Decoder {
        try ValueDecoder(value: next())
    }
}

/// Reads a value that is just another value.
@safe
internal struct SingleSource: SingleValueDecodingContainer {
    internal let decoder: ValueDecoder
    internal var codingPath: [any CodingKey] { decoder.value.codingPath }

    internal func decodeNil() -> Bool { decoder.value.isNull }
    internal func decode(_: Int.Type) throws -> Int { try decoder.value.integer() }
    internal func decode(_: Int8.Type) throws -> Int8 { try decoder.value.integer() }
    internal func decode(_: Int16.Type) throws -> Int16 { try decoder.value.integer() }
    internal func decode(_: Int32.Type) throws -> Int32 { try decoder.value.integer() }
    internal func decode(_: Int64.Type) throws -> Int64 { try decoder.value.integer() }
    internal func decode(_: Int128.Type) throws -> Int128 { try decoder.value.integer() }
    internal func decode(_: UInt.Type) throws -> UInt { try decoder.value.integer() }
    internal func decode(_: UInt8.Type) throws -> UInt8 { try decoder.value.integer() }
    internal func decode(_: UInt16.Type) throws -> UInt16 { try decoder.value.integer() }
    internal func decode(_: UInt32.Type) throws -> UInt32 { try decoder.value.integer() }
    internal func decode(_: UInt64.Type) throws -> UInt64 { try decoder.value.integer() }
    internal func decode(_: UInt128.Type) throws -> UInt128 { try decoder.value.integer() }
    internal func decode(_: Float.Type) throws -> Float { try decoder.value.float() }
    internal func decode(_: Double.Type) throws -> Double { try decoder.value.double() }
    internal func decode(_: String.Type) throws -> String { try decoder.value.string() }
    internal func decode(_: Bool.Type) throws -> Bool { try decoder.value.bool() }

    internal func decode<T: Decodable>(_ type: T.Type) throws -> T {
        try decoder.value.decode(type)
    }
}
