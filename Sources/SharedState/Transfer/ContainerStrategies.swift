// SPDX-License-Identifier: Apache-2.0

/// A strategy that works on values rather than on memory.
internal protocol ValueStrategy<Value>: TransferStrategy {
    associatedtype Value
    func write(_ value: Value, into writer: inout ByteWriter) throws
    func read(from reader: inout ByteReader) throws -> Value
}

extension ValueStrategy {
    internal func encode(_ value: UnsafeRawPointer, into writer: inout ByteWriter) throws {
        try unsafe write(value.assumingMemoryBound(to: Value.self).pointee, into: &writer)
    }

    internal func decode(_ value: UnsafeMutableRawPointer, from reader: inout ByteReader) throws {
        unsafe value.initializeMemory(as: Value.self, to: try read(from: &reader))
    }

    internal func destroy(_ value: UnsafeMutableRawPointer) {
        unsafe value.assumingMemoryBound(to: Value.self).deinitialize(count: 1)
    }
}

/// A byte that says whether there is a value, and the value.
internal struct OptionalStrategy<Wrapped>: ValueStrategy {
    internal let plan: TransferPlan<Wrapped>
    internal var mayNameHandles: Bool { plan.mayNameHandles }

    internal func write(_ value: Wrapped?, into writer: inout ByteWriter) throws {
        writer.append(byte: value == nil ? 0 : 1)
        if let value { try plan.encode(value, into: &writer) }
    }

    internal func read(from reader: inout ByteReader) throws -> Wrapped? {
        switch try reader.byte() {
        case 0: nil
        case 1: try plan.decode(from: &reader)
        default: throw SharedStateError(.incompatible, "the bytes are damaged: not an optional")
        }
    }
}

/// A count and the elements; those that are plain bits are copied all at once.
internal struct ArrayStrategy<Element>: ValueStrategy {
    internal let plan: TransferPlan<Element>
    internal var mayNameHandles: Bool { plan.mayNameHandles }

    internal func write(_ value: [Element], into writer: inout ByteWriter) throws {
        guard plan.isBits, MemoryLayout<Element>.size > 0 else {
            return try plan.encode(sequence: value, into: &writer)
        }
        writer.append(count: value.count)
        writer.append(bitsOf: value)
    }

    internal func read(from reader: inout ByteReader) throws -> [Element] {
        guard plan.isBits, MemoryLayout<Element>.size > 0 else {
            return try plan.decodeSequence(from: &reader)
        }
        let stride = MemoryLayout<Element>.stride
        let count = try reader.count(ofSize: stride)
        let raw = unsafe try reader.raw(count * stride)
        return unsafe [Element](plainBytes: raw)
    }
}

/// A count and the elements.
internal struct SetStrategy<Element: Hashable>: ValueStrategy {
    internal let plan: TransferPlan<Element>
    internal var mayNameHandles: Bool { plan.mayNameHandles }

    internal func write(_ value: Set<Element>, into writer: inout ByteWriter) throws {
        try plan.encode(sequence: value, into: &writer)
    }

    internal func read(from reader: inout ByteReader) throws -> Set<Element> {
        Set(try plan.decodeSequence(from: &reader))
    }
}

/// A count, and keys and values in turn.
internal struct DictionaryStrategy<Key: Hashable, Element>: ValueStrategy {
    internal let plan: TransferPlan<(key: Key, value: Element)>
    internal var mayNameHandles: Bool { plan.mayNameHandles }

    internal func write(_ value: [Key: Element], into writer: inout ByteWriter) throws {
        try plan.encode(sequence: value, into: &writer)
    }

    internal func read(from reader: inout ByteReader) throws -> [Key: Element] {
        var dictionary: [Key: Element] = [:]
        for (key, value) in try plan.decodeSequence(from: &reader) { dictionary[key] = value }
        return dictionary
    }
}

extension Optional: TransferContainer {
    internal static func makeStrategy(depth: Int) throws(SharedStateError) -> any TransferStrategy {
        OptionalStrategy(plan: try TransferPlan<Wrapped>.nested(depth: depth))
    }
}

extension Array: TransferContainer {
    internal static func makeStrategy(depth: Int) throws(SharedStateError) -> any TransferStrategy {
        ArrayStrategy(plan: try TransferPlan<Element>.nested(depth: depth))
    }
}

extension Set: TransferContainer {
    internal static func makeStrategy(depth: Int) throws(SharedStateError) -> any TransferStrategy {
        SetStrategy(plan: try TransferPlan<Element>.nested(depth: depth))
    }
}

extension Dictionary: TransferContainer {
    internal static func makeStrategy(depth: Int) throws(SharedStateError) -> any TransferStrategy {
        DictionaryStrategy(plan: try TransferPlan<(key: Key, value: Value)>.nested(depth: depth))
    }
}

extension TransferPlan {
    fileprivate func encode(
        sequence: some Collection<T>, into writer: inout ByteWriter
    ) throws {
        writer.append(count: sequence.count)
        for element in sequence { try encode(element, into: &writer) }
    }

    fileprivate func decodeSequence(from reader: inout ByteReader) throws -> [T] {
        let count = try reader.varint()
        // Elements that take no byte, such as `()`, cannot be checked against what is left.
        let limit = MemoryLayout<T>.size == 0 ? 1 << 24 : reader.remaining
        guard count <= UInt64(limit) else { throw SharedStateError.truncated }
        var elements: [T] = []
        elements.reserveCapacity(Int(count))
        for _ in 0..<count { elements.append(try decode(from: &reader)) }
        return elements
    }
}
