// SPDX-License-Identifier: Apache-2.0

internal import SharedState

/// What systems write to each other.
///
/// Each begins with whom it is for, as an inbox may have another owner when it is read.
internal enum CallMessage {
    /// Asks for a call of a distributed function.
    struct Call: Sendable {
        let from: Sender
        let number: UInt64
        let actor: UInt64
        let type: UInt64
        let target: String
        /// Where in the message the generic substitutions and the arguments begin.
        let arguments: Int
    }

    /// Who called, and is to be answered: in the same region.
    struct Sender: Hashable, Sendable {
        let inbox: Int
        let owner: Owner
    }

    case call(Call)
    /// What became of a call; the outcome begins at that byte.
    case reply(number: UInt64, outcome: Int)
    /// Nobody waits for a call's outcome any more.
    case cancel(from: Sender, number: UInt64)

    private enum Kind: UInt8 {
        case call = 1
        case reply = 2
        case cancel = 3
    }

    /// Reads what was written for `owner`.
    ///
    /// - Returns: The message; `nil` if it was for somebody else.
    /// - Throws: `incompatible`: the bytes are damaged.
    static func read(_ bytes: [UInt8], for owner: Owner) throws -> CallMessage? {
        try unsafe bytes.withUnsafeBytes { raw in
            var reader = unsafe ByteReader(raw)
            guard try readOwner(&reader) == owner else { return nil }
            switch Kind(rawValue: try reader.byte()) {
            case .call:
                return .call(
                    Call(
                        from: try readSender(&reader), number: try reader.fixed(UInt64.self),
                        actor: try reader.fixed(UInt64.self), type: try reader.fixed(UInt64.self),
                        target: try reader.string(), arguments: reader.position))
            case .reply:
                return .reply(number: try reader.fixed(UInt64.self), outcome: reader.position)
            case .cancel:
                return .cancel(
                    from: try readSender(&reader), number: try reader.fixed(UInt64.self))
            case nil:
                throw SharedStateError(.incompatible, "the bytes are damaged: not a call")
            }
        }
    }

    static func beginCall(
        to owner: Owner, from: Sender, number: UInt64, actor: SharedActorID, target: String
    ) -> ByteWriter {
        var writer = begin(.call, to: owner)
        write(from, into: &writer)
        writer.append(fixed: number)
        writer.append(fixed: actor.number)
        writer.append(fixed: actor.type)
        writer.append(string: target)
        return writer
    }

    static func beginReply(to owner: Owner, number: UInt64) -> ByteWriter {
        var writer = begin(.reply, to: owner)
        writer.append(fixed: number)
        return writer
    }

    static func cancel(to owner: Owner, from: Sender, number: UInt64) -> [UInt8] {
        var writer = begin(.cancel, to: owner)
        write(from, into: &writer)
        writer.append(fixed: number)
        return writer.bytes
    }

    private static func begin(_ kind: Kind, to owner: Owner) -> ByteWriter {
        var writer = ByteWriter()
        write(owner, into: &writer)
        writer.append(byte: kind.rawValue)
        return writer
    }

    private static func write(_ owner: Owner, into writer: inout ByteWriter) {
        writer.append(fixed: owner.participant)
        writer.append(fixed: owner.life)
    }

    private static func readOwner(_ reader: inout ByteReader) throws -> Owner {
        Owner(participant: try reader.fixed(UInt64.self), life: try reader.fixed(UInt64.self))
    }

    private static func write(_ sender: Sender, into writer: inout ByteWriter) {
        writer.append(varint: UInt64(sender.inbox))
        write(sender.owner, into: &writer)
    }

    private static func readSender(_ reader: inout ByteReader) throws -> Sender {
        let inbox = Int(clamping: try reader.varint())
        return Sender(inbox: inbox, owner: try readOwner(&reader))
    }
}

/// What became of a call, as bytes: what its function returned or threw, or why it was not called.
internal enum CallOutcome {
    private enum Kind: UInt8 {
        case value = 0
        case nothing = 1
        case thrown = 2
        case cancelled = 3
        case refused = 4
    }

    /// Why a call was refused.
    private static let refusals: [SharedStateError.Code] = [
        .incompatible, .notFound, .cannotCross, .full, .closed,
    ]
    static func writeNothing(into writer: inout ByteWriter) {
        writer.append(byte: Kind.nothing.rawValue)
    }

    static func write<Value>(_ value: Value, into writer: inout ByteWriter) throws {
        writer.append(byte: Kind.value.rawValue)
        try TransferPlan.writeTagged(value, into: &writer)
    }

    static func write(thrown error: any Error, into writer: inout ByteWriter) {
        if error is CancellationError {
            writer.append(byte: Kind.cancelled.rawValue)
        } else {
            writer.append(byte: Kind.thrown.rawValue)
            ThrownError.write(error, into: &writer)
        }
    }

    static func write(refusal error: any Error, into writer: inout ByteWriter) {
        let known = error as? SharedStateError
        writer.append(byte: Kind.refused.rawValue)
        let code = known.flatMap { refusals.firstIndex(of: $0.code) } ?? 0
        writer.append(byte: UInt8(code))
        writer.append(string: known?.description ?? "\(error)")
    }

    /// Reads what a function that returns a value returned.
    static func value<Value>(_ outcome: Outcome, _: Value.Type) throws -> Value {
        try read(outcome) { kind, reader in
            guard kind == .value, try reader.fixed(UInt64.self) == typeTag(Value.self) else {
                throw SharedStateError(
                    .incompatible, "the call returned another type than \(Value.self): other build?"
                )
            }
            return try TransferPlan<Value>.plan(for: Value.self).decode(from: &reader)
        }
    }

    /// Reads that a function without a result returned.
    static func nothing(_ outcome: Outcome) throws {
        try read(outcome) { kind, _ in
            guard kind == .nothing else {
                throw SharedStateError(.incompatible, "the call returned something: other build?")
            }
        }
    }

    /// A reply's bytes, and where in them the outcome begins.
    struct Outcome: Sendable {
        let bytes: [UInt8]
        let position: Int
    }

    private static func read<Value>(
        _ outcome: Outcome, _ returned: (Kind, inout ByteReader) throws -> Value
    ) throws -> Value {
        try unsafe outcome.bytes.withUnsafeBytes { raw in
            var reader = unsafe ByteReader(
                UnsafeRawBufferPointer(rebasing: raw[outcome.position...]))
            switch Kind(rawValue: try reader.byte()) {
            case .value: return try returned(.value, &reader)
            case .nothing: return try returned(.nothing, &reader)
            case .cancelled: throw CancellationError()
            case .thrown: throw try ThrownError.read(from: &reader)
            case .refused:
                let code = Int(try reader.byte())
                throw SharedStateError(
                    refusals.indices.contains(code) ? refusals[code] : .incompatible,
                    try reader.string())
            case nil:
                throw SharedStateError(.incompatible, "the bytes are damaged: not an outcome")
            }
        }
    }
}
