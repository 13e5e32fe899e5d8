// SPDX-License-Identifier: Apache-2.0

/// Copies the bytes.
internal struct BitsStrategy<T>: TransferStrategy {
    internal var mayNameHandles: Bool { false }

    internal func encode(_ value: UnsafeRawPointer, into writer: inout ByteWriter) {
        unsafe writer.append(
            raw: UnsafeRawBufferPointer(start: value, count: MemoryLayout<T>.size))
    }

    internal func decode(_ value: UnsafeMutableRawPointer, from reader: inout ByteReader) throws {
        let size = MemoryLayout<T>.size
        let raw = unsafe try reader.raw(size)
        unsafe UnsafeMutableRawBufferPointer(start: value, count: size).copyMemory(from: raw)
    }

    internal func destroy(_ value: UnsafeMutableRawPointer) {}
}

/// A length and UTF-8.
internal struct StringStrategy: TransferStrategy {
    internal var mayNameHandles: Bool { false }

    internal func encode(_ value: UnsafeRawPointer, into writer: inout ByteWriter) {
        unsafe writer.append(string: value.assumingMemoryBound(to: String.self).pointee)
    }

    internal func decode(_ value: UnsafeMutableRawPointer, from reader: inout ByteReader) throws {
        unsafe value.initializeMemory(as: String.self, to: try reader.string())
    }

    internal func destroy(_ value: UnsafeMutableRawPointer) {
        unsafe value.assumingMemoryBound(to: String.self).deinitialize(count: 1)
    }
}

/// Whatever the type encodes of itself.
internal struct CodableStrategy<T: Codable>: TransferStrategy {
    internal var mayNameHandles: Bool { true }

    internal func encode(_ value: UnsafeRawPointer, into writer: inout ByteWriter) throws {
        try unsafe BinaryCoder.encode(
            value.assumingMemoryBound(to: T.self).pointee, into: &writer)
    }

    internal func decode(_ value: UnsafeMutableRawPointer, from reader: inout ByteReader) throws {
        unsafe value.initializeMemory(
            as: T.self, to: try BinaryCoder.decode(T.self, from: &reader))
    }

    internal func destroy(_ value: UnsafeMutableRawPointer) {
        unsafe value.assumingMemoryBound(to: T.self).deinitialize(count: 1)
    }
}

/// Where in a tuple, or a fixed array, an element lies, and how it crosses.
internal struct TupleElement: Sendable {
    internal let offset: Int
    internal let strategy: any TransferStrategy
}

/// Element by element.
internal struct TupleStrategy: TransferStrategy {
    internal let elements: [TupleElement]
    internal var mayNameHandles: Bool { elements.contains { $0.strategy.mayNameHandles } }

    internal func encode(_ value: UnsafeRawPointer, into writer: inout ByteWriter) throws {
        for element in elements {
            try unsafe element.strategy.encode(value + element.offset, into: &writer)
        }
    }

    internal func decode(_ value: UnsafeMutableRawPointer, from reader: inout ByteReader) throws {
        var made = 0
        do {
            for element in elements {
                try unsafe element.strategy.decode(value + element.offset, from: &reader)
                made += 1
            }
        } catch {
            for element in elements[..<made] {
                unsafe element.strategy.destroy(value + element.offset)
            }
            throw error
        }
    }

    internal func destroy(_ value: UnsafeMutableRawPointer) {
        for element in elements { unsafe element.strategy.destroy(value + element.offset) }
    }
}
