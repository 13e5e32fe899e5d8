// SPDX-License-Identifier: Apache-2.0

/// What the code of tasks can reach of the worker that runs it.
///
/// Sendable, unchecked: the worker's own thread uses it, and nobody else.
internal final class WorkerContext: @unchecked Sendable {
    @TaskLocal static var current: WorkerContext?
    /// Of the worker whose task this is that awaits, on other threads than the worker's.
    @TaskLocal static var crew: UInt64?

    let task: WorkerTask
    /// What the initializer made: a ``StateBox``.
    var state: AnyObject?

    init(_ task: WorkerTask) { self.task = task }

    /// Of the worker that runs this.
    static func box<State>(of: State.Type) throws(SharedStateError) -> StateBox<State> {
        guard let current else { throw SharedStateError.truncated }
        return try current.box(of: State.self)
    }

    func box<State>(of: State.Type) throws(SharedStateError) -> StateBox<State> {
        if let box = state as? StateBox<State> { return box }
        throw SharedStateError(
            .invalidArgument,
            "the worker has no state of type \(State.self); the pool's initializer makes it")
    }
}

/// Sendable, unchecked: as ``WorkerContext``.
internal final class StateBox<State>: @unchecked Sendable {
    var value: State

    init(_ value: State) { self.value = value }
}

// MARK: Functions of the state

internal struct ExitFunction<State, R>: Sendable {
    internal let body: @Sendable (inout State) throws -> R
}

internal struct StateFunction<State, T, R>: Sendable {
    internal let body: @Sendable (inout State, T) throws -> R
}

internal struct StateFunctionPack<State, each A, R>: Sendable {
    internal let body: @Sendable (inout State, repeat each A) throws -> R
}

extension FunctionReference {
    internal init<State>(
        making body: @escaping @Sendable () throws -> State
    ) throws(SharedStateError) {
        try self.init(Function0(body: body), InitializerEntry<State>.self)
    }

    internal init<State, R>(
        leaving body: @escaping @Sendable (inout State) throws -> R
    ) throws(SharedStateError) {
        try self.init(ExitFunction(body: body), ExitEntry<State, R>.self)
    }

    internal init<State, T, R>(
        state body: @escaping @Sendable (inout State, T) throws -> R
    ) throws(SharedStateError) {
        try self.init(StateFunction(body: body), StateEntry<State, T, R>.self)
    }

    internal init<State, each A, R>(
        statePack body: @escaping @Sendable (inout State, repeat each A) throws -> R
    ) throws(SharedStateError) {
        try self.init(
            StateFunctionPack(body: body), StateEntryPack<State, repeat each A, R>.self)
    }
}

/// Makes the worker's state.
internal struct InitializerEntry<State>: FunctionEntry, RemoteCallable {
    private let function: Function0<State>

    internal static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable {
        InitializerEntry(function: try function.rebuild(as: Function0<State>.self))
    }

    internal func call(arguments: inout ByteReader, into writer: inout ByteWriter) throws {
        WorkerContext.current?.state = StateBox(try function.body())
    }
}

/// Is given the worker's state last.
internal struct ExitEntry<State, R>: FunctionEntry, RemoteCallable {
    private let function: ExitFunction<State, R>
    private let box: StateBox<State>?

    internal static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable {
        ExitEntry(
            function: try function.rebuild(as: ExitFunction<State, R>.self),
            box: try WorkerContext.current?.box(of: State.self))
    }

    internal func call(arguments: inout ByteReader, into writer: inout ByteWriter) throws {
        if let box { _ = try function.body(&box.value) }
    }
}

/// Calls a function of the worker's state and an element.
internal struct StateEntry<State, T, R>: FunctionEntry {
    internal static func map(
        _ function: PortableFunction, broadcast: inout ByteReader
    ) throws -> any RemoteMap {
        let body = try function.rebuild(as: StateFunction<State, T, R>.self).body
        return try StateMap<State, T, R> { box, value in try body(&box.value, value) }
    }
}

/// Calls a function of the worker's state and arguments.
internal struct StateEntryPack<State, each A, R>: FunctionEntry {
    internal static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable {
        let body = try function.rebuild(as: StateFunctionPack<State, repeat each A, R>.self).body
        return try StateCall<State, repeat each A, R>.make { box, held in
            let values = held.value
            return try body(&box.value, repeat each values)
        }
    }
}

/// Hands the worker's state, and an element, to a function.
internal struct StateMap<State, T, R>: RemoteMap {
    private let body: @Sendable (StateBox<State>, T) throws -> R
    private let box: StateBox<State>
    private let argument: TransferPlan<T>
    private let result: TransferPlan<R>

    init(
        _ body: @escaping @Sendable (StateBox<State>, T) throws -> R
    ) throws(SharedStateError) {
        self.body = body
        box = try WorkerContext.box(of: State.self)
        argument = try TransferPlan.plan(for: T.self)
        result = try TransferPlan.plan(for: R.self)
    }

    internal func call(element: inout ByteReader, into writer: inout ByteWriter) throws {
        try result.encode(try body(box, try argument.decode(from: &element)), into: &writer)
    }

    internal var elementStride: Int? { argument.stride }
    internal var resultStride: Int? { result.stride }
}

/// Hands the worker's state, and arguments, to a function.
internal struct StateCall<State, each A, R>: RemoteCallable {
    private let body: @Sendable (StateBox<State>, Held<(repeat each A)>) throws -> R
    private let box: StateBox<State>
    private let arguments: (repeat TransferPlan<each A>)
    private let result: TransferPlan<R>

    /// Not an initializer, which the compiler (6.3) cannot generate code for.
    static func make(
        _ body: @escaping @Sendable (StateBox<State>, Held<(repeat each A)>) throws -> R
    ) throws(SharedStateError) -> StateCall {
        StateCall(
            body: body, box: try WorkerContext.box(of: State.self),
            arguments: (repeat try TransferPlan.plan(for: (each A).self)),
            result: try TransferPlan.plan(for: R.self))
    }

    internal func call(arguments reader: inout ByteReader, into writer: inout ByteWriter) throws {
        // Held, as the compiler (6.3) cannot generate code for handing on the pack itself.
        let held = Held((repeat try (each arguments).decode(from: &reader)))
        try result.encode(try body(box, held), into: &writer)
    }
}
