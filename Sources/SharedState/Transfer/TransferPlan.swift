// SPDX-License-Identifier: Apache-2.0

/// How values of one type cross to another process: decided once per call, at run time.
///
/// In this order: plain bits; `String` and `[UInt8]`; tuples, optionals, arrays, fixed arrays, sets
/// and dictionaries of what can cross; any `Codable`. A type for which there is none of these is
/// refused before anything is dispatched. Handles such as `Queue` are `Codable`.
package struct TransferPlan<T>: Sendable {
    /// Whether a value crosses as the very bytes that it has in memory.
    internal let isBits: Bool
    /// Whether a value may name file descriptors, or handles.
    internal var mayNameHandles: Bool { strategy.mayNameHandles }
    private let strategy: any TransferStrategy

    package static func plan(for type: T.Type) throws(SharedStateError) -> TransferPlan<T> {
        try nested(depth: 0)
    }

    /// The plan for what a container holds.
    internal static func nested(depth: Int) throws(SharedStateError) -> TransferPlan<T> {
        let strategy = try makeStrategy(for: T.self, depth: depth)
        return TransferPlan(isBits: strategy is BitsStrategy<T>, strategy: strategy)
    }

    package func encode(_ value: T, into writer: inout ByteWriter) throws {
        if isBits {
            unsafe withUnsafeBytes(of: value) { unsafe writer.append(raw: $0) }
        } else {
            try unsafe withUnsafePointer(to: value) {
                try unsafe strategy.encode(UnsafeRawPointer($0), into: &writer)
            }
        }
    }

    package func decode(from reader: inout ByteReader) throws -> T {
        if isBits {
            return unsafe try reader.raw(MemoryLayout<T>.size).loadUnaligned(unchecked: T.self)
        }
        return try unsafe withUnsafeTemporaryAllocation(of: T.self, capacity: 1) { memory in
            guard let memory = memory.baseAddress else { throw SharedStateError.truncated }
            try unsafe strategy.decode(UnsafeMutableRawPointer(memory), from: &reader)
            return unsafe memory.move()
        }
    }
}

extension UnsafeRawBufferPointer {
    /// Copies a value of plain bits out of unaligned memory of at least its size.
    internal func loadUnaligned<T>(unchecked: T.Type) -> T {
        unsafe withUnsafeTemporaryAllocation(
            byteCount: Swift.max(MemoryLayout<T>.stride, 1), alignment: MemoryLayout<T>.alignment
        ) { memory in
            unsafe memory.copyMemory(from: self)
            return unsafe memory.assumingMemoryBound(to: T.self)[0]
        }
    }
}

/// One way to cross.
///
/// Works on memory, so that a tuple need not know its elements' types.
internal protocol TransferStrategy: Sendable {
    /// Whether a value may name file descriptors, or handles.
    var mayNameHandles: Bool { get }
    /// Appends the value at `value`.
    func encode(_ value: UnsafeRawPointer, into writer: inout ByteWriter) throws
    /// Initialises the memory at `value`; leaves it uninitialised when it throws.
    func decode(_ value: UnsafeMutableRawPointer, from reader: inout ByteReader) throws
    /// Ends the life of a value that ``decode(_:from:)`` made.
    func destroy(_ value: UnsafeMutableRawPointer)
}

/// Types whose elements cross each in its own way, whether or not the whole is `Codable`.
internal protocol TransferContainer {
    static func makeStrategy(depth: Int) throws(SharedStateError) -> any TransferStrategy
}

/// Chooses a strategy.
///
/// `depth` bounds types that are nested without end.
internal func makeStrategy(
    for type: Any.Type, depth: Int
) throws(SharedStateError) -> any TransferStrategy {
    func bits<V>(_: V.Type) -> any TransferStrategy { BitsStrategy<V>() }
    func codable<V: Codable>(_: V.Type) -> any TransferStrategy { CodableStrategy<V>() }

    guard depth < 64 else { throw .cannotCross(type) }
    if PlainBits.describe(type) { return _openExistential(type, do: bits) }
    if type == String.self { return StringStrategy() }
    if let container = type as? any TransferContainer.Type {
        return try container.makeStrategy(depth: depth + 1)
    }
    let metadata = Metadata(type)
    if metadata.kind == .tuple {
        var elements: [TupleElement] = []
        for element in metadata.tupleElements {
            let strategy = try makeStrategy(for: element.type, depth: depth + 1)
            elements.append(TupleElement(offset: element.offset, strategy: strategy))
        }
        return TupleStrategy(elements: elements)
    }
    if let (count, element) = metadata.inlineArray {
        func stride<V>(_: V.Type) -> Int { MemoryLayout<V>.stride }
        let step = _openExistential(element, do: stride)
        let strategy = try makeStrategy(for: element, depth: depth + 1)
        return TupleStrategy(
            elements: (0..<count).map { TupleElement(offset: step * $0, strategy: strategy) })
    }
    if let type = type as? any Codable.Type { return codable(type) }
    throw .cannotCross(type)
}

extension SharedStateError {
    internal static func cannotCross(_ type: Any.Type) -> SharedStateError {
        let what = Metadata(type).kind == .function ? "the closure type \(type)" : "\(type)"
        let advice =
            PlainBits.isPlain(type)
            ? "it is, or holds, an address, which means nothing there: leave that out, or make it Codable"
            : "make it Codable, or BitwiseCopyable"
        return SharedStateError(
            .cannotCross,
            "\(what) cannot cross to another process; \(advice), "
                + "or pass a handle such as Queue or ManagedDictionary")
    }
}
