// SPDX-License-Identifier: Apache-2.0

/// How keys become bytes: two keys are one when their bytes are the same.
///
/// So a key crosses as the bits that it has in memory only if equal keys have the same: integers,
/// floating-point numbers, enums without payload, and structs and tuples of such without padding.
/// A `String` is its UTF-8. Others are encoded, as far as they are `Codable`.
internal struct KeyCodec<Key>: Sendable {
    internal let isBits: Bool
    private let isText: Bool
    private let strategy: any TransferStrategy

    internal init() throws(SharedStateError) {
        isBits = PlainBits.describe(Key.self) && hasUniqueBits(Key.self, depth: 0)
        isText = Key.self == String.self
        strategy = try Self.strategy(isBits: isBits)
    }

    private static func strategy(isBits: Bool) throws(SharedStateError) -> any TransferStrategy {
        if isBits { return BitsStrategy<Key>() }
        guard PlainBits.describe(Key.self) else { return try makeStrategy(for: Key.self, depth: 0) }
        func codable<V: Codable>(_: V.Type) -> any TransferStrategy { CodableStrategy<V>() }
        if let container = Key.self as? any TransferContainer.Type {
            return try container.makeStrategy(depth: 1)
        }
        if let type = Key.self as? any Codable.Type { return codable(type) }
        throw SharedStateError(
            .cannotCross,
            "equal values of \(Key.self) need not have the same bytes; make it Codable")
    }

    internal func withBytes<Result>(
        of key: Key, _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
        if isBits {
            return try unsafe withUnsafeBytes(of: key) { unsafe try body($0) }
        }
        if isText { return try unsafe Text.withBytes(of: key, body) }
        return try unsafe bytes(of: key).withUnsafeBytes { unsafe try body($0) }
    }

    internal func bytes(of key: Key) throws -> [UInt8] {
        if isText { return unsafe Text.withBytes(of: key) { unsafe [UInt8]($0) } }
        var writer = ByteWriter()
        try unsafe withUnsafePointer(to: key) {
            try unsafe strategy.encode(UnsafeRawPointer($0), into: &writer)
        }
        return writer.bytes
    }

    internal func decode(_ bytes: UnsafeRawBufferPointer) throws -> Key {
        if isText { return try unsafe Text.decode(bytes) }
        var reader = unsafe ByteReader(bytes)
        return try unsafe withUnsafeTemporaryAllocation(of: Key.self, capacity: 1) { memory in
            guard let memory = memory.baseAddress else { throw SharedStateError.truncated }
            try unsafe strategy.decode(UnsafeMutableRawPointer(memory), from: &reader)
            return unsafe memory.move()
        }
    }
}

/// Whether equal values of a type of plain bits have the same bytes: it has no padding.
private func hasUniqueBits(_ type: Any.Type, depth: Int) -> Bool {
    let metadata = Metadata(type)
    switch metadata.kind {
    case .builtin: return true
    case .tuple: return areDense(metadata.tupleElements.map(\.type), in: type, depth: depth)
    case .value:
        let fields = Metadata.fields(of: type)
        return fields.isEmpty ? size(of: type) <= 1 : areDense(fields, in: type, depth: depth)
    case .fixedArray:
        let (count, element) = metadata.fixedArray
        return count * size(of: element) == size(of: type)
            && hasUniqueBits(element, depth: depth + 1)
    default: return false
    }
}

private func areDense(_ parts: [Any.Type], in type: Any.Type, depth: Int) -> Bool {
    depth < 32 && parts.reduce(0) { $0 + size(of: $1) } == size(of: type)
        && parts.allSatisfy { hasUniqueBits($0, depth: depth + 1) }
}

private func size(of type: Any.Type) -> Int {
    func size<T>(_: T.Type) -> Int { MemoryLayout<T>.size }
    return _openExistential(type, do: size)
}
