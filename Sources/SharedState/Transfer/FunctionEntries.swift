// SPDX-License-Identifier: Apache-2.0

/// What a worker finds by a ``TypeReference``: a type that knows how to call a closure.
internal protocol FunctionEntry {
    static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable
    static func map(
        _ function: PortableFunction, broadcast: inout ByteReader
    ) throws -> any RemoteMap
}

extension FunctionEntry {
    internal static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable {
        throw SharedStateError(.incompatible, "\(Self.self) is a function of an element")
    }

    internal static func map(
        _ function: PortableFunction, broadcast: inout ByteReader
    ) throws -> any RemoteMap {
        throw SharedStateError(.incompatible, "\(Self.self) is not a function of an element")
    }
}

// Closures as structs, so that they keep the calling convention that they have here.

internal struct Function0<R>: Sendable {
    internal let body: @Sendable () throws -> R
}

internal struct Function1<T, R>: Sendable {
    internal let body: @Sendable (T) throws -> R
}

internal struct Function2<T, W, R>: Sendable {
    internal let body: @Sendable (T, W) throws -> R
}

internal struct FunctionPack<each A, R>: Sendable {
    internal let body: @Sendable (repeat each A) throws -> R
}

/// Calls a function without arguments.
internal struct Entry0<R>: FunctionEntry, RemoteCallable {
    private let function: Function0<R>
    private let result: TransferPlan<R>

    internal static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable {
        Entry0(
            function: try function.rebuild(as: Function0<R>.self),
            result: try TransferPlan.plan(for: R.self))
    }

    internal func call(arguments: inout ByteReader, into writer: inout ByteWriter) throws {
        try result.encode(try function.body(), into: &writer)
    }
}

/// Calls a function of one argument, for a task as for an element.
internal struct Entry1<T, R>: FunctionEntry, RemoteCallable, RemoteMap {
    private let function: Function1<T, R>
    private let argument: TransferPlan<T>
    private let result: TransferPlan<R>

    private init(_ function: PortableFunction) throws(SharedStateError) {
        self.function = try function.rebuild(as: Function1<T, R>.self)
        argument = try TransferPlan.plan(for: T.self)
        result = try TransferPlan.plan(for: R.self)
    }

    internal static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable {
        try Entry1(function)
    }

    internal static func map(
        _ function: PortableFunction, broadcast: inout ByteReader
    ) throws -> any RemoteMap {
        try Entry1(function)
    }

    internal func call(arguments: inout ByteReader, into writer: inout ByteWriter) throws {
        let value = try function.body(try argument.decode(from: &arguments))
        try result.encode(value, into: &writer)
    }

    internal func call(element: inout ByteReader, into writer: inout ByteWriter) throws {
        try call(arguments: &element, into: &writer)
    }

    internal var elementStride: Int? { argument.stride }
    internal var resultStride: Int? { result.stride }
    internal var words: (code: UInt, context: UInt, second: UnsafeRawPointer?)? {
        let words = unsafe unsafeBitCast(function, to: (UInt, UInt).self)
        return (words.0, words.1, nil)
    }
}

/// Calls a function of two arguments; the second one is a map's broadcast.
internal struct Entry2<T, W: Sendable, R>: FunctionEntry, RemoteCallable {
    private let function: Function2<T, W, R>
    private let first: TransferPlan<T>
    private let second: TransferPlan<W>
    private let result: TransferPlan<R>

    /// The function with its second argument decided.
    @safe
    private final class Map: RemoteMap {
        private let entry: Entry2
        /// Written here and then read only.
        private nonisolated(unsafe) let broadcast: UnsafeMutablePointer<W>

        init(_ entry: Entry2, _ broadcast: consuming W) {
            self.entry = entry
            unsafe self.broadcast = .allocate(capacity: 1)
            unsafe self.broadcast.initialize(to: broadcast)
        }

        deinit {
            unsafe broadcast.deinitialize(count: 1)
            unsafe broadcast.deallocate()
        }

        func call(element: inout ByteReader, into writer: inout ByteWriter) throws {
            let value = try unsafe entry.function.body(
                try entry.first.decode(from: &element), broadcast.pointee)
            try entry.result.encode(value, into: &writer)
        }

        var elementStride: Int? { entry.first.stride }
        var resultStride: Int? { entry.result.stride }
        var words: (code: UInt, context: UInt, second: UnsafeRawPointer?)? {
            let words = unsafe unsafeBitCast(entry.function, to: (UInt, UInt).self)
            return unsafe (words.0, words.1, UnsafeRawPointer(broadcast))
        }
    }

    private init(_ function: PortableFunction) throws(SharedStateError) {
        self.function = try function.rebuild(as: Function2<T, W, R>.self)
        first = try TransferPlan.plan(for: T.self)
        second = try TransferPlan.plan(for: W.self)
        result = try TransferPlan.plan(for: R.self)
    }

    internal static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable {
        try Entry2(function)
    }

    internal static func map(
        _ function: PortableFunction, broadcast: inout ByteReader
    ) throws -> any RemoteMap {
        let entry = try Entry2(function)
        return Map(entry, try entry.second.decode(from: &broadcast))
    }

    internal func call(arguments: inout ByteReader, into writer: inout ByteWriter) throws {
        let first = try first.decode(from: &arguments)
        let value = try function.body(first, try second.decode(from: &arguments))
        try result.encode(value, into: &writer)
    }
}

/// Calls a function whose caller has the arguments as a parameter pack.
internal struct EntryPack<each A, R>: FunctionEntry, RemoteCallable, RemoteMap {
    private let function: FunctionPack<repeat each A, R>
    private let arguments: (repeat TransferPlan<each A>)
    private let result: TransferPlan<R>

    /// Not an initializer, which the compiler (6.3) cannot generate code for.
    private static func make(_ function: PortableFunction) throws(SharedStateError) -> EntryPack {
        EntryPack(
            function: try function.rebuild(as: FunctionPack<repeat each A, R>.self),
            arguments: (repeat try TransferPlan.plan(for: (each A).self)),
            result: try TransferPlan.plan(for: R.self))
    }

    internal static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable {
        try make(function)
    }

    internal static func map(
        _ function: PortableFunction, broadcast: inout ByteReader
    ) throws -> any RemoteMap {
        try make(function)
    }

    internal func call(arguments reader: inout ByteReader, into writer: inout ByteWriter) throws {
        let values = (repeat try (each arguments).decode(from: &reader))
        try result.encode(try function.body(repeat each values), into: &writer)
    }

    internal func call(element: inout ByteReader, into writer: inout ByteWriter) throws {
        try call(arguments: &element, into: &writer)
    }

    internal var direct: DirectCall? {
        guard let layout = DirectLayout(repeat each arguments, result: result) else { return nil }
        let words = unsafe unsafeBitCast(function, to: (UInt, UInt).self)
        return DirectCall(layout: layout, words: words)
    }

    internal var elementStride: Int? { nil }
    internal var resultStride: Int? { result.stride }
}
