// SPDX-License-Identifier: Apache-2.0

internal import SharedState

/// What systems write to each other.
///
/// Each begins with whom it is for, as an inbox may have another owner when it is read, from whom, and of
/// which call; and with a check of that. So one that is damaged is either known to be, or who called can be
/// answered.
internal struct CallMessage {
    /// Asks for a call of a distributed function.
    struct Call: Sendable {
        let from: Sender
        let number: UInt64
        let actor: UInt64
        let type: UInt64
        /// Empty if it is damaged.
        let target: String
        /// Where in the message the generic substitutions and the arguments begin.
        let arguments: Int
    }

    /// A system: who called, and is to be answered, or who was called; in the same region.
    struct Sender: Hashable, Sendable {
        let inbox: Int
        let owner: Owner
    }

    enum Kind {
        case call(Call)
        /// What became of a call; the outcome begins at that byte.
        case reply(Int)
        /// Nobody waits for a call's outcome any more.
        case cancel
    }

    let to: Owner
    let from: Sender
    /// Which call, of all of who called.
    let number: UInt64
    let kind: Kind

    private enum Tag {
        static let call: UInt64 = 1
        static let reply: UInt64 = 2
        static let cancel: UInt64 = 3
    }

    // MARK: Reading

    /// - Throws: `incompatible`: the bytes are damaged so that it is not known what they were.
    static func read(_ bytes: [UInt8]) throws -> CallMessage {
        try unsafe bytes.withUnsafeBytes { raw in
            var reader = unsafe ByteReader(raw)
            let check = try reader.fixed(UInt64.self)
            let tag = try reader.fixed(UInt64.self)
            let to = try readOwner(&reader)
            let inbox = try reader.fixed(UInt64.self)
            let from = Sender(inbox: Int(clamping: inbox), owner: try readOwner(&reader))
            let number = try reader.fixed(UInt64.self)
            guard check == Self.check(tag, to, from, number) else { throw damaged }
            let kind: Kind =
                switch tag {
                case Tag.call: .call(try readCall(from, number, &reader))
                case Tag.reply: .reply(reader.position)
                case Tag.cancel: .cancel
                default: throw damaged
                }
            return CallMessage(to: to, from: from, number: number, kind: kind)
        }
    }

    private static var damaged: SharedStateError {
        SharedStateError(.incompatible, "the bytes are damaged: not a call")
    }

    private static func readOwner(_ reader: inout ByteReader) throws -> Owner {
        Owner(participant: try reader.fixed(UInt64.self), life: try reader.fixed(UInt64.self))
    }

    private static func readCall(
        _ from: Sender, _ number: UInt64, _ reader: inout ByteReader
    ) throws -> Call {
        let actor = (try? reader.fixed(UInt64.self)) ?? 0
        let type = (try? reader.fixed(UInt64.self)) ?? 0
        let target = (try? reader.string()) ?? ""
        return Call(
            from: from, number: number, actor: actor, type: type, target: target,
            arguments: reader.position)
    }

    // MARK: Writing

    static func beginCall(
        to owner: Owner, from: Sender, number: UInt64, actor: SharedActorID, target: String
    ) -> ByteWriter {
        var writer = begin(Tag.call, to: owner, from: from, number: number)
        writer.append(fixed: actor.number)
        writer.append(fixed: actor.type)
        writer.append(string: target)
        return writer
    }

    static func beginReply(to owner: Owner, from: Sender, number: UInt64) -> ByteWriter {
        begin(Tag.reply, to: owner, from: from, number: number)
    }

    static func cancel(to owner: Owner, from: Sender, number: UInt64) -> [UInt8] {
        begin(Tag.cancel, to: owner, from: from, number: number).bytes
    }

    private static func begin(
        _ tag: UInt64, to owner: Owner, from: Sender, number: UInt64
    ) -> ByteWriter {
        var writer = ByteWriter()
        writer.append(fixed: check(tag, owner, from, number))
        writer.append(fixed: tag)
        write(owner, into: &writer)
        writer.append(fixed: UInt64(from.inbox))
        write(from.owner, into: &writer)
        writer.append(fixed: number)
        return writer
    }

    private static func write(_ owner: Owner, into writer: inout ByteWriter) {
        writer.append(fixed: owner.participant)
        writer.append(fixed: owner.life)
    }

    /// Another number where one of them is another, since each step is one to one.
    private static func check(_ tag: UInt64, _ to: Owner, _ from: Sender, _ number: UInt64)
        -> UInt64
    {
        var sum: UInt64 = 0x243f_6a88_85a3_08d3
        func add(_ word: UInt64) {
            sum = (sum ^ word) &* 0x9e37_79b9_7f4a_7c15
            sum ^= sum >> 29
        }
        add(tag)
        add(to.participant)
        add(to.life)
        add(UInt64(bitPattern: Int64(from.inbox)))
        add(from.owner.participant)
        add(from.owner.life)
        add(number)
        return sum
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
