// SPDX-License-Identifier: Apache-2.0

internal import SharedState

/// Types by names that hold in other programs, too.
///
/// One that is private or local has none: what the runtime calls it is good in this process only.
internal enum TypeName {
    static func of(_ type: any Any.Type) -> String? {
        guard let name = _mangledTypeName(type), !name.contains("$"), isName(name),
            _typeByName(name) == type
        else { return nil }
        return name
    }

    /// Whether the runtime may be asked for it: other bytes stand for addresses, which it would follow.
    static func isName(_ text: String) -> Bool {
        text.utf8.allSatisfy { (0x21...0x7e).contains($0) }
    }

    static func find(_ name: String) throws -> any Any.Type {
        guard isName(name), let type = _typeByName(name) else {
            throw SharedStateError(.incompatible, "this program has no type \(name)")
        }
        return type
    }
}

/// What a function threw, as bytes: its text, and itself if it is `Codable` and its type has a name.
internal enum ThrownError {
    static func write(_ error: any Error, into writer: inout ByteWriter) {
        writer.append(string: "\(error)")
        if let value = try? encode(error) { writer.append(raw: value) }
    }

    private static func encode(_ error: some Error) throws -> [UInt8]? {
        guard error is any Codable, let name = TypeName.of(type(of: error)) else { return nil }
        var writer = ByteWriter()
        writer.append(string: name)
        try TransferPlan.writeTagged(error, into: &writer)
        return writer.bytes
    }

    static func read(from reader: inout ByteReader) throws -> any Error {
        let text = try reader.string()
        guard reader.remaining > 0, let error = try? decode(&reader) else {
            return SharedStateError(.taskFailed, text)
        }
        return error
    }

    private static func decode(_ reader: inout ByteReader) throws -> (any Error)? {
        func decode<Thrown: Error>(_: Thrown.Type) throws -> any Error {
            try TransferPlan<Thrown>.readTagged(from: &reader)
        }
        let type = try TypeName.find(try reader.string())
        guard type is any Codable.Type, let type = type as? any Error.Type else { return nil }
        return try decode(type)
    }
}

extension TransferPlan {
    /// Writes a value, and what its type is.
    static func writeTagged(_ value: T, into writer: inout ByteWriter) throws {
        writer.append(fixed: typeTag(T.self))
        try plan(for: T.self).encode(value, into: &writer)
    }

    /// Reads what was written as a value of the same type, with the same layout.
    static func readTagged(from reader: inout ByteReader) throws -> T {
        guard try reader.fixed(UInt64.self) == typeTag(T.self) else {
            throw SharedStateError(
                .incompatible,
                "\(T.self) is another type here than there: build both programs with the same "
                    + "definitions")
        }
        return try plan(for: T.self).decode(from: &reader)
    }
}
