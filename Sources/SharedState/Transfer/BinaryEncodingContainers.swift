// SPDX-License-Identifier: Apache-2.0

/// Encodes the properties of a value, each after its key's name.
internal struct KeyedSink<Key: CodingKey>: KeyedEncodingContainerProtocol {
    internal let encoder: ValueEncoder
    internal var codingPath: [any CodingKey] { encoder.codingPath }

    private func put(_ key: Key, _ append: (inout ByteWriter) -> Void) {
        encoder.sink.writer.append(string: key.stringValue)
        append(&encoder.sink.writer)
    }

    internal mutating func encodeNil(forKey key: Key) { put(key) { $0.append(tag: .null) } }
    internal mutating func encode(_ value: Int, forKey key: Key) {
        put(key) { $0.append(integer: value) }
    }
    internal mutating func encode(_ value: Int8, forKey key: Key) {
        put(key) { $0.append(integer: value) }
    }
    internal mutating func encode(_ value: Int16, forKey key: Key) {
        put(key) { $0.append(integer: value) }
    }
    internal mutating func encode(_ value: Int32, forKey key: Key) {
        put(key) { $0.append(integer: value) }
    }
    internal mutating func encode(_ value: Int64, forKey key: Key) {
        put(key) { $0.append(integer: value) }
    }
    internal mutating func encode(_ value: Int128, forKey key: Key) {
        put(key) { $0.append(integer: value) }
    }
    internal mutating func encode(_ value: UInt, forKey key: Key) {
        put(key) { $0.append(integer: value) }
    }
    internal mutating func encode(_ value: UInt8, forKey key: Key) {
        put(key) { $0.append(integer: value) }
    }
    internal mutating func encode(_ value: UInt16, forKey key: Key) {
        put(key) { $0.append(integer: value) }
    }
    internal mutating func encode(_ value: UInt32, forKey key: Key) {
        put(key) { $0.append(integer: value) }
    }
    internal mutating func encode(_ value: UInt64, forKey key: Key) {
        put(key) { $0.append(integer: value) }
    }
    internal mutating func encode(_ value: UInt128, forKey key: Key) {
        put(key) { $0.append(integer: value) }
    }
    internal mutating func encode(_ value: Float, forKey key: Key) {
        put(key) { $0.append(tagged: value) }
    }
    internal mutating func encode(_ value: Double, forKey key: Key) {
        put(key) { $0.append(tagged: value) }
    }
    internal mutating func encode(_ value: String, forKey key: Key) {
        put(key) { $0.append(tagged: value) }
    }
    internal mutating func encode(_ value: Bool, forKey key: Key) {
        put(key) { $0.append(tagged: value) }
    }

    internal mutating func encode<T: Encodable>(_ value: T, forKey key: Key) throws {
        encoder.sink.writer.append(string: key.stringValue)
        try BinaryCoder.encode(
            value, into: &encoder.sink.writer, path: encoder.codingPath + [key],
            depth: encoder.depth)
    }

    private func child(_ key: any CodingKey) -> ValueEncoder {
        encoder.sink.writer.append(string: key.stringValue)
        return encoder.child(at: key)
    }

    internal mutating func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) -> KeyedEncodingContainer<Nested> {
        child(key).container(keyedBy: type)
    }

    internal mutating func nestedUnkeyedContainer(
        forKey key: Key
    ) -> any UnkeyedEncodingContainer {
        child(key).unkeyedContainer()
    }

    internal mutating func superEncoder() -> any Encoder { child(BinaryKey.parent) }
    internal mutating func superEncoder(forKey key: Key) -> any Encoder { child(key) }
}

/// Encodes values one after the other.
internal struct UnkeyedSink: UnkeyedEncodingContainer {
    internal let encoder: ValueEncoder
    internal var codingPath: [any CodingKey] { encoder.codingPath }
    internal var count: Int { encoder.sink.count }

    private func put(_ append: (inout ByteWriter) -> Void) {
        encoder.sink.count += 1
        append(&encoder.sink.writer)
    }

    internal mutating func encodeNil() { put { $0.append(tag: .null) } }
    internal mutating func encode(_ value: Int) { put { $0.append(integer: value) } }
    internal mutating func encode(_ value: Int8) { put { $0.append(integer: value) } }
    internal mutating func encode(_ value: Int16) { put { $0.append(integer: value) } }
    internal mutating func encode(_ value: Int32) { put { $0.append(integer: value) } }
    internal mutating func encode(_ value: Int64) { put { $0.append(integer: value) } }
    internal mutating func encode(_ value: Int128) { put { $0.append(integer: value) } }
    internal mutating func encode(_ value: UInt) { put { $0.append(integer: value) } }
    internal mutating func encode(_ value: UInt8) { put { $0.append(integer: value) } }
    internal mutating func encode(_ value: UInt16) { put { $0.append(integer: value) } }
    internal mutating func encode(_ value: UInt32) { put { $0.append(integer: value) } }
    internal mutating func encode(_ value: UInt64) { put { $0.append(integer: value) } }
    internal mutating func encode(_ value: UInt128) { put { $0.append(integer: value) } }
    internal mutating func encode(_ value: Float) { put { $0.append(tagged: value) } }
    internal mutating func encode(_ value: Double) { put { $0.append(tagged: value) } }
    internal mutating func encode(_ value: String) { put { $0.append(tagged: value) } }
    internal mutating func encode(_ value: Bool) { put { $0.append(tagged: value) } }

    internal mutating func encode<T: Encodable>(_ value: T) throws {
        let index = encoder.sink.count
        encoder.sink.count += 1
        try BinaryCoder.encode(
            value, into: &encoder.sink.writer,
            path: encoder.codingPath + [BinaryKey(intValue: index)], depth: encoder.depth)
    }

    private func child() -> ValueEncoder {
        defer { encoder.sink.count += 1 }
        return encoder.child(at: BinaryKey(intValue: encoder.sink.count))
    }

    internal mutating func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type
    ) -> KeyedEncodingContainer<Nested> {
        child().container(keyedBy: type)
    }

    internal mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
        child().unkeyedContainer()
    }

    internal mutating func superEncoder() -> any Encoder { child() }
}

/// Encodes a value that is just another value.
internal struct SingleSink: SingleValueEncodingContainer {
    internal let encoder: ValueEncoder
    internal var codingPath: [any CodingKey] { encoder.codingPath }

    internal func encodeNil() { encoder.sink.writer.append(tag: .null) }
    internal func encode(_ value: Int) { encoder.sink.writer.append(integer: value) }
    internal func encode(_ value: Int8) { encoder.sink.writer.append(integer: value) }
    internal func encode(_ value: Int16) { encoder.sink.writer.append(integer: value) }
    internal func encode(_ value: Int32) { encoder.sink.writer.append(integer: value) }
    internal func encode(_ value: Int64) { encoder.sink.writer.append(integer: value) }
    internal func encode(_ value: Int128) { encoder.sink.writer.append(integer: value) }
    internal func encode(_ value: UInt) { encoder.sink.writer.append(integer: value) }
    internal func encode(_ value: UInt8) { encoder.sink.writer.append(integer: value) }
    internal func encode(_ value: UInt16) { encoder.sink.writer.append(integer: value) }
    internal func encode(_ value: UInt32) { encoder.sink.writer.append(integer: value) }
    internal func encode(_ value: UInt64) { encoder.sink.writer.append(integer: value) }
    internal func encode(_ value: UInt128) { encoder.sink.writer.append(integer: value) }
    internal func encode(_ value: Float) { encoder.sink.writer.append(tagged: value) }
    internal func encode(_ value: Double) { encoder.sink.writer.append(tagged: value) }
    internal func encode(_ value: String) { encoder.sink.writer.append(tagged: value) }
    internal func encode(_ value: Bool) { encoder.sink.writer.append(tagged: value) }

    internal func encode<T: Encodable>(_ value: T) throws {
        try BinaryCoder.encode(
            value, into: &encoder.sink.writer, path: encoder.codingPath, depth: encoder.depth)
    }
}
