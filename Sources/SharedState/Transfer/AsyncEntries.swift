// SPDX-License-Identifier: Apache-2.0

internal import Dispatch

/// As ``FunctionPack``, of a function that may wait.
internal struct AsyncFunctionPack<each A, R>: Sendable {
    internal let body: @Sendable (repeat each A) async throws -> R
}

/// Calls a function that may wait, in a task, for which the calling thread waits.
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
        let outcome = Outcome()
        let ended = DispatchSemaphore(value: 0)
        Task {
            do {
                var writer = ByteWriter()
                try result.encode(try await function.body(repeat each values), into: &writer)
                outcome.set(.success(writer.bytes))
            } catch {
                outcome.set(.failure(error))
            }
            ended.signal()
        }
        ended.wait()
        writer.append(raw: try outcome.get())
    }
}

/// What a task has come to, for a thread that waits for it.
private final class Outcome: Sendable {
    private let result = Mutex<Result<[UInt8], any Error>?>(nil)

    func set(_ new: Result<[UInt8], any Error>) { result.withLock { $0 = new } }
    func get() throws -> [UInt8] { try result.withLock { $0 }?.get() ?? [] }
}
