// SPDX-License-Identifier: Apache-2.0

/// Bytes being put together for another process.
///
/// Grows as needed; little-endian throughout.
package struct ByteWriter: Sendable {
    /// Everything appended so far, but for pieces.
    package var bytes: [UInt8] = []
    /// Large arrays that are copied once, to where all of it goes in the end.
    private var pieces: [Piece] = []
    private var keepsPieces = false

    /// Sendable, unchecked: its array is of plain bits and this piece's own value.
    @safe private struct Piece: @unchecked Sendable {
        /// Bytes that come before it, other pieces aside.
        let position: Int
        let count: Int
        let copy: (UnsafeMutableRawPointer) -> Void
    }

    private static let pieceSize = 1 << 16

    package init() {}

    /// - Parameter keepsPieces: Who has it asks for ``count``, and for the bytes by ``copy(to:)``.
    internal init(keepsPieces: Bool) {
        self.keepsPieces = keepsPieces
    }

    /// Bytes, pieces and all.
    internal var count: Int { pieces.reduce(bytes.count) { $0 + $1.count } }

    /// Writes it to memory that has room for it.
    internal func copy(to memory: UnsafeMutableRawPointer) {
        unsafe bytes.withUnsafeBytes { bytes in
            var from = 0
            var to = unsafe memory
            for piece in pieces {
                let before = unsafe bytes[from..<piece.position]
                if let base = unsafe UnsafeRawBufferPointer(rebasing: before).baseAddress {
                    unsafe to.copyMemory(from: base, byteCount: before.count)
                }
                unsafe to += before.count
                unsafe piece.copy(to)
                unsafe to += piece.count
                from = piece.position
            }
            let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[from...])
            if let base = rest.baseAddress {
                unsafe to.copyMemory(from: base, byteCount: rest.count)
            }
        }
    }

    /// Appends the bytes of an array of plain bits.
    internal mutating func append<Element>(bitsOf array: [Element]) {
        let size = array.count * MemoryLayout<Element>.stride
        guard keepsPieces, size >= Self.pieceSize else {
            return unsafe array.withUnsafeBytes { unsafe append(raw: $0) }
        }
        unsafe pieces.append(
            Piece(position: bytes.count, count: size) { memory in
                unsafe array.withUnsafeBytes { bytes in
                    guard let base = bytes.baseAddress else { return }
                    unsafe memory.copyMemory(from: base, byteCount: size)
                }
            })
    }

    internal init(reservingCapacity capacity: Int) {
        bytes.reserveCapacity(capacity)
    }

    package mutating func append(byte: UInt8) {
        bytes.append(byte)
    }

    package mutating func append(raw: UnsafeRawBufferPointer) {
        unsafe bytes.append(contentsOf: raw)
    }

    package mutating func append(raw: [UInt8]) {
        bytes.append(contentsOf: raw)
    }

    /// Appends all bytes of an integer, whatever its value.
    package mutating func append<Integer: FixedWidthInteger>(fixed value: Integer) {
        unsafe withUnsafeBytes(of: value.littleEndian) { unsafe bytes.append(contentsOf: $0) }
    }

    /// Appends seven bits per byte, lowest first: one byte below 128, ten at most.
    package mutating func append(varint value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    package mutating func append(count: Int) {
        append(varint: UInt64(count))
    }

    /// Appends a length and then the UTF-8 bytes.
    package mutating func append(string: String) {
        var string = string
        string.withUTF8 { utf8 in
            append(count: utf8.count)
            unsafe bytes.append(contentsOf: utf8)
        }
    }

    /// Appends a length and then the bytes.
    internal mutating func append(prefixed content: [UInt8]) {
        append(count: content.count)
        bytes.append(contentsOf: content)
    }
}

/// Reads what a ``ByteWriter`` wrote, from memory that may be shared and may be damaged.
///
/// Every read is checked against the end and throws ``SharedStateError/Code/incompatible``, so
/// that corrupt bytes are an error and never a crash. The reader borrows the memory: it must
/// outlive the reader (which is what `@safe` here rests on); only ``raw(_:)`` returns a pointer
/// into it.
@safe
package struct ByteReader {
    private let buffer: UnsafeRawBufferPointer
    /// Where the next read begins.
    package private(set) var position: Int

    package init(_ buffer: UnsafeRawBufferPointer) {
        unsafe self.buffer = buffer
        position = 0
    }

    /// How many bytes are left.
    package var remaining: Int { unsafe buffer.count - position }

    package mutating func byte() throws(SharedStateError) -> UInt8 {
        guard unsafe position < buffer.count else { throw .truncated }
        defer { position += 1 }
        return unsafe buffer[position]
    }

    /// The next `count` bytes in place: valid for as long as the reader's own memory is.
    package mutating func raw(_ count: Int) throws(SharedStateError) -> UnsafeRawBufferPointer {
        guard count >= 0, count <= remaining else { throw .truncated }
        defer { position += count }
        return unsafe UnsafeRawBufferPointer(rebasing: buffer[position..<position + count])
    }

    package mutating func fixed<Integer: FixedWidthInteger>(
        _ type: Integer.Type
    ) throws(SharedStateError) -> Integer {
        let raw = unsafe try raw(MemoryLayout<Integer>.size)
        var value: Integer = 0
        unsafe withUnsafeMutableBytes(of: &value) { unsafe $0.copyMemory(from: raw) }
        return Integer(littleEndian: value)
    }

    package mutating func varint() throws(SharedStateError) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            let next = try byte()
            guard shift < 63 || next <= 1 else { break }
            value |= UInt64(next & 0x7f) << shift
            if next & 0x80 == 0 { return value }
        }
        throw SharedStateError(.incompatible, "the bytes are damaged: an integer is too long")
    }

    /// A count of things of at least `size` bytes each, which so many bytes must follow.
    ///
    /// Checked before anything is allocated for them: a damaged count must not exhaust memory.
    package mutating func count(ofSize size: Int = 1) throws(SharedStateError) -> Int {
        let value = try varint()
        guard value <= UInt64(remaining / max(size, 1)) else { throw .truncated }
        return Int(value)
    }

    package mutating func string() throws(SharedStateError) -> String {
        try unsafe Text.decode(try raw(count()))
    }

    internal mutating func prefixed() throws(SharedStateError) -> [UInt8] {
        unsafe [UInt8](try raw(count()))
    }
}

extension SharedStateError {
    package static var truncated: SharedStateError {
        SharedStateError(.incompatible, "the bytes are damaged: they end too early")
    }
}
