// SPDX-License-Identifier: Apache-2.0

internal import Dispatch

internal struct AsyncFunction1<T, R>: Sendable {
    internal let body: @Sendable (T) async throws -> R
}

internal struct AsyncFunction2<T, W, R>: Sendable {
    internal let body: @Sendable (T, W) async throws -> R
}

/// As ``FunctionPack``, of a function that may wait.
internal struct AsyncFunctionPack<each A, R>: Sendable {
    internal let body: @Sendable (repeat each A) async throws -> R
}

/// Calls an `async` function of one argument, for each element.
internal struct AsyncEntry1<T, R>: FunctionEntry, RemoteCallable, RemoteMap {
    private let function: AsyncFunction1<T, R>
    private let argument: TransferPlan<T>
    private let result: TransferPlan<R>

    private init(_ function: PortableFunction) throws(SharedStateError) {
        self.function = try function.rebuild(as: AsyncFunction1<T, R>.self)
        argument = try TransferPlan.plan(for: T.self)
        result = try TransferPlan.plan(for: R.self)
    }

    internal static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable {
        try AsyncEntry1(function)
    }

    internal static func map(
        _ function: PortableFunction, broadcast: inout ByteReader
    ) throws -> any RemoteMap {
        try AsyncEntry1(function)
    }

    internal func call(arguments: inout ByteReader, into writer: inout ByteWriter) throws {
        let value = try argument.decode(from: &arguments)
        let body = function.body
        try result.encode(try blocking(value) { try await body($0) }, into: &writer)
    }

    internal func call(element: inout ByteReader, into writer: inout ByteWriter) throws {
        try call(arguments: &element, into: &writer)
    }

    internal var elementStride: Int? { argument.stride }
    internal var resultStride: Int? { result.stride }
}

/// Calls an `async` function of an element and of what is the same for all of them.
internal struct AsyncEntry2<T, W: Sendable, R>: FunctionEntry {
    private struct Map: RemoteMap {
        let function: AsyncFunction2<T, W, R>
        let element: TransferPlan<T>
        let result: TransferPlan<R>
        let broadcast: W

        func call(element reader: inout ByteReader, into writer: inout ByteWriter) throws {
            let value = try element.decode(from: &reader)
            let (body, broadcast) = (function.body, broadcast)
            try result.encode(
                try blocking(value) { try await body($0, broadcast) }, into: &writer)
        }

        var elementStride: Int? { element.stride }
        var resultStride: Int? { result.stride }
    }

    internal static func map(
        _ function: PortableFunction, broadcast: inout ByteReader
    ) throws -> any RemoteMap {
        Map(
            function: try function.rebuild(as: AsyncFunction2<T, W, R>.self),
            element: try TransferPlan.plan(for: T.self), result: try TransferPlan.plan(for: R.self),
            broadcast: try TransferPlan<W>.plan(for: W.self).decode(from: &broadcast))
    }
}

/// Calls an `async` function whose caller has the arguments as a parameter pack.
internal struct AsyncEntryPack<each A: Sendable, R>: FunctionEntry, RemoteCallable {
    private let function: AsyncFunctionPack<repeat each A, R>
    private let arguments: (repeat TransferPlan<each A>)
    private let result: TransferPlan<R>

    internal static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable {
        AsyncEntryPack(
            function: try function.rebuild(as: AsyncFunctionPack<repeat each A, R>.self),
            arguments: (repeat try TransferPlan.plan(for: (each A).self)),
            result: try TransferPlan.plan(for: R.self))
    }

    internal func call(arguments reader: inout ByteReader, into writer: inout ByteWriter) throws {
        let values = (repeat try (each arguments).decode(from: &reader))
        let body = function.body
        let held = Held(values)
        let value = try blocking(()) { () async throws -> R in
            let values = held.value
            return try await body(repeat each values)
        }
        try result.encode(value, into: &writer)
    }
}

/// Runs a task that is a value.
///
/// Its type is not constrained to be a task, so that its name is that of a type alone.
internal struct TaskEntry<T, R>: FunctionEntry, RemoteCallable, RemoteMap {
    private let task: TransferPlan<T>
    private let result: TransferPlan<R>

    private init() throws(SharedStateError) {
        task = try TransferPlan.plan(for: T.self)
        result = try TransferPlan.plan(for: R.self)
    }

    internal static func callable(
        _ function: PortableFunction
    ) throws(SharedStateError) -> any RemoteCallable {
        try TaskEntry()
    }

    internal static func map(
        _ function: PortableFunction, broadcast: inout ByteReader
    ) throws -> any RemoteMap {
        try TaskEntry()
    }

    internal func call(arguments: inout ByteReader, into writer: inout ByteWriter) throws {
        guard let task = try task.decode(from: &arguments) as? any PoolTask else {
            throw SharedStateError(.incompatible, "\(T.self) is not a PoolTask")
        }
        guard let value = try run(task) as? R else {
            throw SharedStateError(.incompatible, "\(T.self) has another result")
        }
        try result.encode(value, into: &writer)
    }

    internal func call(element: inout ByteReader, into writer: inout ByteWriter) throws {
        try call(arguments: &element, into: &writer)
    }

    internal var elementStride: Int? { task.stride }
    internal var resultStride: Int? { result.stride }

    private func run<Task: PoolTask>(_ task: Task) throws -> Any {
        try blocking(task) { try await $0.run() }
    }
}

/// Arguments that this thread gives to a task and does not touch meanwhile: Sendable, unchecked.
internal final class Held<Value>: @unchecked Sendable {
    let value: Value

    init(_ value: Value) { self.value = value }
}

/// A value that one thread gives to one task, and a result that it gets back.
///
/// Sendable, unchecked: the two never use it at the same time; the semaphore orders them.
private final class BlockingCall<Value, Result>: @unchecked Sendable {
    let value: Value
    var outcome: Swift.Result<Result, any Error>?
    let isDone = DispatchSemaphore(value: 0)

    init(_ value: Value) { self.value = value }
}

/// Runs `body` in a task, and blocks this thread, a worker's own, until it is done.
internal func blocking<Value, Result>(
    _ value: Value, _ body: @escaping @Sendable (Value) async throws -> Result
) throws -> Result {
    let errand = BlockingCall<Value, Result>(value)
    let worker = WorkerContext.current?.task
    let task = Task.detached {
        await WorkerContext.$crew.withValue(worker?.crew.offset) {
            do {
                errand.outcome = .success(try await body(errand.value))
            } catch {
                errand.outcome = .failure(error)
            }
        }
        errand.isDone.signal()
    }
    // What cancels the task that this runs in, in a pool's worker, cancels that one.
    let number = worker?.add { task.cancel() }
    defer { if let number { worker?.remove(number) } }
    errand.isDone.wait()
    guard let outcome = errand.outcome else { throw CancellationError() }
    return try outcome.get()
}
