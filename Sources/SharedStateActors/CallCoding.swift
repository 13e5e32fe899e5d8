// SPDX-License-Identifier: Apache-2.0

public import Distributed
internal import SharedState

/// What a call of a distributed function is made of, as the compiler tells it.
public struct CallEncoder: DistributedTargetInvocationEncoder {
    /// What arguments, results and thrown errors have in common.
    public typealias SerializationRequirement = any Codable

    private var substitutions: [String] = []
    /// Written when the call is, since what a handle begins is taken back if it is not sent.
    private var arguments: [(inout ByteWriter) throws -> Void] = []

    internal init() {}

    /// One of the function's generic arguments.
    ///
    /// - Throws: `cannotCross`: a private type, of which others do not know the name.
    public mutating func recordGenericSubstitution<T>(_ type: T.Type) throws {
        guard let name = TypeName.of(type) else {
            throw SharedStateError(
                .cannotCross, "\(type) has no name that another process could find it by")
        }
        substitutions.append(name)
    }

    /// One of the function's arguments.
    public mutating func recordArgument<Value: Codable>(
        _ argument: RemoteCallArgument<Value>
    ) throws {
        let value = argument.value
        arguments.append { writer in
            try TransferPlan.writeTagged(value, into: &writer)
        }
    }

    /// The caller knows what it waits for.
    public mutating func recordReturnType<R: Codable>(_ type: R.Type) throws {}

    /// Errors say themselves what they are.
    public mutating func recordErrorType<E: Error>(_ type: E.Type) throws {}

    /// All was recorded.
    public mutating func doneRecording() throws {}

    internal func encode(into writer: inout ByteWriter) throws {
        writer.append(count: substitutions.count)
        for name in substitutions { writer.append(string: name) }
        for argument in arguments { try argument(&writer) }
    }
}

/// Reads what a ``CallEncoder`` wrote.
public struct CallDecoder: DistributedTargetInvocationDecoder {
    /// What arguments, results and thrown errors have in common.
    public typealias SerializationRequirement = any Codable

    private let bytes: [UInt8]
    private var position: Int
    /// Read at once, as they are not asked for where a function is not generic.
    private var substitutions: [any Any.Type] = []

    /// - Throws: `incompatible`: this process has no such type, or the bytes are damaged.
    internal init(_ bytes: [UInt8], from position: Int) throws {
        self.bytes = bytes
        self.position = position
        substitutions = try read { reader in
            try (0..<(try reader.count())).map { _ in try TypeName.find(try reader.string()) }
        }
    }

    /// The function's generic arguments.
    public mutating func decodeGenericSubstitutions() throws -> [any Any.Type] { substitutions }

    /// The next argument.
    ///
    /// - Throws: `incompatible`, or what the type's `init(from:)` throws.
    public mutating func decodeNextArgument<Argument: Codable>() throws -> Argument {
        try read { reader in try TransferPlan<Argument>.readTagged(from: &reader) }
    }

    /// Not known: errors say themselves what they are.
    public mutating func decodeErrorType() throws -> (any Any.Type)? { nil }

    /// Not known: the function says it.
    public mutating func decodeReturnType() throws -> (any Any.Type)? { nil }

    private mutating func read<Value>(
        _ body: (inout ByteReader) throws -> Value
    ) throws -> Value {
        var end = position
        defer { position = end }
        return try unsafe bytes.withUnsafeBytes { raw in
            var reader = unsafe ByteReader(UnsafeRawBufferPointer(rebasing: raw[position...]))
            let value = try body(&reader)
            end = position + reader.position
            return value
        }
    }
}

/// Answers a call.
public struct CallResultHandler: DistributedTargetInvocationResultHandler {
    /// What arguments, results and thrown errors have in common.
    public typealias SerializationRequirement = any Codable

    internal let call: CallMessage.Call
    internal let exchange: Exchange

    /// The function has returned a value.
    public func onReturn<Success: Codable>(value: Success) async throws {
        let letter = exchange.letter(to: call) { writer in
            try CallOutcome.write(value, into: &writer)
        }
        await exchange.answer(call, letter)
    }

    /// The function has returned.
    public func onReturnVoid() async throws {
        await exchange.answer(
            call, exchange.letter(to: call) { CallOutcome.writeNothing(into: &$0) })
    }

    /// The function has thrown.
    public func onThrow<Err: Error>(error: Err) async throws {
        // `Err` is `any Error` as a rule, of which the cast takes out what was thrown.
        let thrown = (error as Any) as? any Error ?? error
        await exchange.answer(
            call, exchange.letter(to: call) { CallOutcome.write(thrown: thrown, into: &$0) })
    }
}
