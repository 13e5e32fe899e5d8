// SPDX-License-Identifier: Apache-2.0

internal struct AsyncStateFunction<State, T, R>: Sendable {
    internal let body: @Sendable (inout State, T) async throws -> R
}

internal struct AsyncStateFunctionPack<State, each A, R>: Sendable {
    internal let body: @Sendable (inout State, repeat each A) async throws -> R
}

internal struct AsyncExitFunction<State, R>: Sendable {
    internal let body: @Sendable (inout State) async throws -> R
}

internal struct AsyncInitializer<State>: Sendable {
    internal let body: @Sendable () async throws -> State
}

extension FunctionReference {
    internal init<State>(
        asyncMaking body: @escaping @Sendable () async throws -> State
    ) throws(SharedStateError) {
        try self.init(AsyncInitializer(body: body), AsyncInitializerEntry<State>.self)
    }

    internal init<State, R>(
        asyncLeaving body: @escaping @Sendable (inout State) async throws -> R
    ) throws(SharedStateError) {
        try self.init(AsyncExitFunction(body: body), AsyncExitEntry<State, R>.self)
    }

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

/// Makes the worker's state; its thread waits meanwhile.
internal struct AsyncInitializerEntry<State>: FunctionEntry, RemoteCallable {
    private let function: AsyncInitializer<State>

    internal static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable {
        AsyncInitializerEntry(function: try function.rebuild(as: AsyncInitializer<State>.self))
    }

    internal func call(arguments: inout ByteReader, into writer: inout ByteWriter) throws {
        let body = function.body
        WorkerContext.current?.state = StateBox(try blocking(()) { try await body() })
    }
}

/// Is given the worker's state last; its thread waits meanwhile.
internal struct AsyncExitEntry<State, R>: FunctionEntry, RemoteCallable {
    private let function: AsyncExitFunction<State, R>
    private let box: StateBox<State>?

    internal static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable {
        AsyncExitEntry(
            function: try function.rebuild(as: AsyncExitFunction<State, R>.self),
            box: try WorkerContext.current?.box(of: State.self))
    }

    internal func call(arguments: inout ByteReader, into writer: inout ByteWriter) throws {
        guard let box else { return }
        let body = function.body
        _ = try blocking(box) { try await body(&$0.value) }
    }
}

/// Calls an `async` function of the worker's state and an element.
///
/// The worker's thread waits meanwhile, so nobody else has the state.
internal struct AsyncStateEntry<State, T, R>: FunctionEntry {
    internal static func map(
        _ function: PortableFunction, broadcast: inout ByteReader
    ) throws -> any RemoteMap {
        let body = try function.rebuild(as: AsyncStateFunction<State, T, R>.self).body
        return try StateMap<State, T, R> { box, value in
            try blocking(value) { try await body(&box.value, $0) }
        }
    }
}

/// Calls an `async` function of the worker's state and arguments.
internal struct AsyncStateEntryPack<State, each A, R>: FunctionEntry {
    internal static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable {
        let body = try function.rebuild(
            as: AsyncStateFunctionPack<State, repeat each A, R>.self
        ).body
        return try StateCall<State, repeat each A, R>.make { box, held in
            try blocking(()) { () async throws -> R in
                let values = held.value
                return try await body(&box.value, repeat each values)
            }
        }
    }
}
