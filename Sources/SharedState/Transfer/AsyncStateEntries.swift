// SPDX-License-Identifier: Apache-2.0

internal struct AsyncStateFunction<State, T, R>: Sendable {
    internal let body: @Sendable (inout State, T) async throws -> R
}

internal struct AsyncStateFunctionPack<State, each A, R>: Sendable {
    internal let body: @Sendable (inout State, repeat each A) async throws -> R
}

extension FunctionReference {
    internal init<State, T, R>(
        asyncState body: @escaping @Sendable (inout State, T) async throws -> R
    ) throws(SharedStateError) {
        try self.init(AsyncStateFunction(body: body), AsyncStateEntry<State, T, R>.self)
    }

    internal init<State, each A, R>(
        asyncStatePack body: @escaping @Sendable (inout State, repeat each A) async throws -> R
    ) throws(SharedStateError) {
        try self.init(
            AsyncStateFunctionPack(body: body), AsyncStateEntryPack<State, repeat each A, R>.self)
    }
}

/// Calls an `async` function of the worker's state and an element.
///
/// The worker's thread waits meanwhile, so nobody else has the state.
internal struct AsyncStateEntry<State, T, R>: FunctionEntry, RemoteMap {
    private let function: AsyncStateFunction<State, T, R>
    private let box: StateBox<State>
    private let argument: TransferPlan<T>
    private let result: TransferPlan<R>

    internal static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable {
        throw SharedStateError(.incompatible, "\(Self.self) is a function of an element")
    }

    internal static func map(
        _ function: PortableFunction, broadcast: inout ByteReader
    ) throws -> any RemoteMap {
        guard let context = WorkerContext.current else { throw SharedStateError.truncated }
        return AsyncStateEntry(
            function: try function.rebuild(as: AsyncStateFunction<State, T, R>.self),
            box: try context.box(of: State.self), argument: try TransferPlan.plan(for: T.self),
            result: try TransferPlan.plan(for: R.self))
    }

    internal func call(element: inout ByteReader, into writer: inout ByteWriter) throws {
        let (body, box) = (function.body, box)
        let value = try blocking(try argument.decode(from: &element)) {
            try await body(&box.value, $0)
        }
        try result.encode(value, into: &writer)
    }

    internal var elementStride: Int? { argument.stride }
    internal var resultStride: Int? { result.stride }
}

/// Calls an `async` function of the worker's state and arguments.
internal struct AsyncStateEntryPack<State, each A, R>: FunctionEntry, RemoteCallable {
    private let function: AsyncStateFunctionPack<State, repeat each A, R>
    private let box: StateBox<State>
    private let arguments: (repeat TransferPlan<each A>)
    private let result: TransferPlan<R>

    internal static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable {
        guard let context = WorkerContext.current else { throw SharedStateError.truncated }
        return AsyncStateEntryPack(
            function: try function.rebuild(
                as: AsyncStateFunctionPack<State, repeat each A, R>.self),
            box: try context.box(of: State.self),
            arguments: (repeat try TransferPlan.plan(for: (each A).self)),
            result: try TransferPlan.plan(for: R.self))
    }

    internal func call(arguments reader: inout ByteReader, into writer: inout ByteWriter) throws {
        let values = (repeat try (each arguments).decode(from: &reader))
        let (body, box) = (function.body, box)
        let held = Held(values)
        let value = try blocking(()) { () async throws -> R in
            let values = held.value
            return try await body(&box.value, repeat each values)
        }
        try result.encode(value, into: &writer)
    }
}
