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
