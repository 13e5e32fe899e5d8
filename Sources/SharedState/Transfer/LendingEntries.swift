// SPDX-License-Identifier: Apache-2.0

/// A closure whose first argument is an array that lies in shared memory.
internal struct SpanFunctionPack<Item, each A, R>: Sendable {
    internal let body: @Sendable (Span<Item>, repeat each A) throws -> R
}

/// A closure whose result is an array; one of ``FunctionPack`` would be wrapped in a thunk.
internal struct ArrayFunctionPack<each A, Item>: Sendable {
    internal let body: @Sendable (repeat each A) throws -> [Item]
}

/// An array's bytes with their number before them, so that they lie aligned where the whole does.
internal enum LentArray {
    private static let header = 16

    internal static func write<Item>(_ items: [Item], into writer: inout ByteWriter) {
        writer.append(fixed: UInt64(items.count * MemoryLayout<Item>.stride))
        writer.append(fixed: UInt64(header))
        writer.append(bitsOf: items)
    }

    internal static func read(
        from reader: inout ByteReader
    ) throws(SharedStateError) -> UnsafeRawBufferPointer {
        let length = try reader.fixed(UInt64.self)
        guard try reader.fixed(UInt64.self) == UInt64(header) else {
            throw SharedStateError(.incompatible, "the bytes are damaged: not a lent array")
        }
        return unsafe try reader.raw(Int(clamping: length))
    }
}

/// Calls a function with an array where it lies, and what comes after it decoded.
internal struct SpanEntry<Item: BitwiseCopyable & Sendable, each A, R>: FunctionEntry,
    RemoteCallable
{
    private let function: SpanFunctionPack<Item, repeat each A, R>
    private let arguments: (repeat TransferPlan<each A>)
    private let result: TransferPlan<R>

    /// Not an initializer, as that of ``EntryPack``.
    private static func make(_ function: PortableFunction) throws(SharedStateError) -> SpanEntry {
        SpanEntry(
            function: try function.rebuild(as: SpanFunctionPack<Item, repeat each A, R>.self),
            arguments: (repeat try TransferPlan.plan(for: (each A).self)),
            result: try TransferPlan.plan(for: R.self))
    }

    internal static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable {
        try make(function)
    }

    internal func call(arguments reader: inout ByteReader, into writer: inout ByteWriter) throws {
        let bytes = unsafe try LentArray.read(from: &reader)
        let values = (repeat try (each arguments).decode(from: &reader))
        let value = try unsafe withItems(of: bytes) { (items: Span<Item>) in
            try function.body(items, repeat each values)
        }
        try result.encode(value, into: &writer)
    }
}

/// Calls a function whose array is to be read where its bytes are stored.
internal struct LendingEntry<each A, Item: BitwiseCopyable & Sendable>: FunctionEntry,
    RemoteCallable
{
    private let function: ArrayFunctionPack<repeat each A, Item>
    private let arguments: (repeat TransferPlan<each A>)

    /// Not an initializer, as that of ``EntryPack``.
    private static func make(
        _ function: PortableFunction
    ) throws(SharedStateError) -> LendingEntry {
        LendingEntry(
            function: try function.rebuild(as: ArrayFunctionPack<repeat each A, Item>.self),
            arguments: (repeat try TransferPlan.plan(for: (each A).self)))
    }

    internal static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable {
        try make(function)
    }

    internal func call(arguments reader: inout ByteReader, into writer: inout ByteWriter) throws {
        let values = (repeat try (each arguments).decode(from: &reader))
        writer.append(bitsOf: try function.body(repeat each values))
    }
}

/// What a ``LendingEntry`` gives, where it is decoded all the same.
internal struct LentItems<Item: BitwiseCopyable & Sendable>: Sendable, TransferContainer {
    internal let items: [Item]

    private struct Strategy: ValueStrategy {
        var mayNameHandles: Bool { false }

        func write(_ value: LentItems, into writer: inout ByteWriter) {
            writer.append(bitsOf: value.items)
        }

        func read(from reader: inout ByteReader) throws -> LentItems {
            let bytes = unsafe try reader.raw(reader.remaining)
            return LentItems(items: try unsafe [Item].make(plainBytes: bytes))
        }
    }

    internal static func makeStrategy(depth: Int) throws(SharedStateError) -> any TransferStrategy {
        Strategy()
    }
}
