// SPDX-License-Identifier: Apache-2.0

/// A function to be called by a worker, with arguments and result as bytes.
internal protocol RemoteCallable: Sendable {
    /// Decodes the arguments in order, calls, and encodes the result. What the function throws
    /// comes out as it is.
    func call(arguments: inout ByteReader, into result: inout ByteWriter) throws
    /// How it is called on arguments that lie side by side; `nil` if it is not to be.
    var direct: DirectCall? { get }
}

extension RemoteCallable {
    internal var direct: DirectCall? { nil }
}

/// A function to be called for each element of a job, its broadcast argument decoded already.
internal protocol RemoteMap: Sendable {
    func call(element reader: inout ByteReader, into result: inout ByteWriter) throws
    /// Bytes from one element to the next, where elements are plain bits.
    var elementStride: Int? { get }
    /// Bytes from one result to the next, where results are plain bits.
    var resultStride: Int? { get }
    /// The closure's two words, and where its second argument lies; `nil` if it is not to be called
    /// on elements where they lie.
    var words: (code: UInt, context: UInt, second: UnsafeRawPointer?)? { get }
}

extension RemoteMap {
    internal var words: (code: UInt, context: UInt, second: UnsafeRawPointer?)? { nil }
}

extension TransferPlan {
    /// Bytes from one value to the next where they lie side by side; `nil` unless they are bits.
    internal var stride: Int? { isBits ? MemoryLayout<T>.stride : nil }
}

/// A closure as bytes for another process of the same executable.
///
/// The bytes hold the closure's code address and the type of a generic *entry*, which knows the
/// argument and result types, and so how to decode, call and encode. The parameter types must
/// reach these initializers as generic parameters (not as `Int` or `Void`), or the compiler wraps
/// the closure in a thunk for another calling convention.
internal struct FunctionReference: Sendable {
    internal let bytes: [UInt8]

    internal init<R>(_ body: @escaping @Sendable () throws -> R) throws(SharedStateError) {
        try self.init(Function0(body: body), Entry0<R>.self)
    }

    internal init<T, R>(_ body: @escaping @Sendable (T) throws -> R) throws(SharedStateError) {
        try self.init(Function1(body: body), Entry1<T, R>.self)
    }

    internal init<T, W: Sendable, R>(
        _ body: @escaping @Sendable (T, W) throws -> R
    ) throws(SharedStateError) {
        try self.init(Function2(body: body), Entry2<T, W, R>.self)
    }

    /// Any number of arguments, for callers that have them as a parameter pack.
    ///
    /// It has a calling convention of its own, so a pack of one is not the same as ``init(_:)`` of
    /// one.
    internal init<each A, R>(
        pack body: @escaping @Sendable (repeat each A) throws -> R
    ) throws(SharedStateError) {
        try self.init(FunctionPack(body: body), EntryPack<repeat each A, R>.self)
    }

    internal init<T, R>(
        async body: @escaping @Sendable (T) async throws -> R
    ) throws(SharedStateError) {
        try self.init(AsyncFunction1(body: body), AsyncEntry1<T, R>.self)
    }

    internal init<T, W: Sendable, R>(
        async body: @escaping @Sendable (T, W) async throws -> R
    ) throws(SharedStateError) {
        try self.init(AsyncFunction2(body: body), AsyncEntry2<T, W, R>.self)
    }

    /// As ``init(pack:)``, of a function that may wait.
    internal init<each A: Sendable, R>(
        asyncPack body: @escaping @Sendable (repeat each A) async throws -> R
    ) throws(SharedStateError) {
        try self.init(AsyncFunctionPack(body: body), AsyncEntryPack<repeat each A, R>.self)
    }

    /// As ``init(pack:)``, of a function that reads an array where it lies, and takes other arguments.
    internal init<Item: BitwiseCopyable & Sendable, each A, R>(
        lent body: @escaping @Sendable (Span<Item>, repeat each A) throws -> R
    ) throws(SharedStateError) {
        try self.init(
            SpanFunctionPack(body: body), SpanEntry<Item, repeat each A, R>.self)
    }

    /// As ``init(pack:)``, of a function whose array is to be read where its bytes are stored.
    internal init<each A, Item: BitwiseCopyable & Sendable>(
        lending body: @escaping @Sendable (repeat each A) throws -> [Item]
    ) throws(SharedStateError) {
        try self.init(ArrayFunctionPack(body: body), LendingEntry<repeat each A, Item>.self)
    }

    /// What a task's type says is all there is to know.
    internal init<Task: PoolTask>(task: Task.Type) throws(SharedStateError) {
        try self.init(Function0<Bool>(body: { true }), TaskEntry<Task, Task.Output>.self)
    }

    /// Of a struct whose only property is the closure.
    internal init<Closure>(_ closure: Closure, _ entry: Any.Type) throws(SharedStateError) {
        let function = try PortableFunction(closure)
        let type = try TypeReference(entry)
        var writer = ByteWriter(reservingCapacity: 128)
        type.encode(into: &writer)
        function.encode(into: &writer)
        bytes = writer.bytes
    }

    /// Finds the function again.
    ///
    /// Costs some microseconds: once per job, not per call.
    internal static func resolve(
        _ bytes: [UInt8]
    ) throws(SharedStateError) -> any RemoteCallable {
        let (entry, function) = try open(bytes)
        return try entry.callable(function)
    }

    /// Finds the function again for a map.
    ///
    /// Decodes the broadcast argument, where the function takes one, from `broadcast`; leaves that
    /// alone otherwise.
    internal static func resolveMap(
        _ bytes: [UInt8], broadcast: inout ByteReader
    ) throws -> any RemoteMap {
        let (entry, function) = try open(bytes)
        return try entry.map(function, broadcast: &broadcast)
    }

    private static func open(
        _ bytes: [UInt8]
    ) throws(SharedStateError) -> (any FunctionEntry.Type, PortableFunction) {
        let parsed = unsafe bytes.withUnsafeBytes { raw in
            Result { () throws(SharedStateError) in
                var reader = unsafe ByteReader(raw)
                return (try TypeReference(from: &reader), try PortableFunction(from: &reader))
            }
        }
        let (type, function) = try parsed.get()
        guard let entry = try type.resolve() as? any FunctionEntry.Type else {
            throw SharedStateError(.incompatible, "the bytes are damaged: not a function")
        }
        return (entry, function)
    }
}
