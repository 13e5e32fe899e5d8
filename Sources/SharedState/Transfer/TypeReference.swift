// SPDX-License-Identifier: Apache-2.0

/// A type, written so that another process of the same executable finds it again.
///
/// A mangled name does not do: private and local types cannot be looked up by name, not even in
/// their own process, and a metadata address may name a record that the other process has not
/// initialised yet. What always works is the type's *descriptor*, a constant in the executable.
/// So this is a mangled name in which each struct, enum and class is a reference to its
/// descriptor, written as image and offset. The reader puts the address in a table and has the
/// runtime demangle the name with *indirect* symbolic references (`\x02`) into that table, which
/// reach any image wherever it is loaded.
internal struct TypeReference: Sendable {
    private enum Part: Sendable {
        case text(String)
        case descriptor(ImageAddress)
    }

    private var parts: [Part] = []

    /// Fails for types that are not made of nominal types, tuples and what has a public name.
    internal init(_ type: Any.Type) throws(SharedStateError) {
        guard append(type, depth: 0), let found = try resolved(), found == type else {
            throw SharedStateError(
                .cannotCross, "\(type) has no name that another process could find it by")
        }
    }

    internal init(from reader: inout ByteReader) throws(SharedStateError) {
        for _ in 0..<(try reader.count()) {
            switch try reader.byte() {
            case 0: parts.append(.text(try reader.string()))
            case 1: parts.append(.descriptor(try ImageAddress(from: &reader)))
            default: throw SharedStateError(.incompatible, "the bytes are damaged: not a type")
            }
        }
    }

    internal func encode(into writer: inout ByteWriter) {
        writer.append(count: parts.count)
        for part in parts {
            switch part {
            case .text(let text):
                writer.append(byte: 0)
                writer.append(string: text)
            case .descriptor(let address):
                writer.append(byte: 1)
                address.encode(into: &writer)
            }
        }
    }

    /// The type in this process.
    internal func resolve() throws(SharedStateError) -> Any.Type {
        guard let type = try resolved() else {
            throw SharedStateError(.incompatible, "a type was not found again: other build?")
        }
        return type
    }
}

extension TypeReference {
    private mutating func append(text: String) {
        if case .text(let before) = parts.last {
            parts[parts.count - 1] = .text(before + text)
        } else {
            parts.append(.text(text))
        }
    }

    /// Appends the mangling of `type`.
    ///
    /// False where there is none; the caller then gives up.
    private mutating func append(_ type: Any.Type, depth: Int) -> Bool {
        guard depth < 64 else { return false }
        let metadata = Metadata(type)
        switch metadata.kind {
        case .class, .value:
            return append(nominal: metadata, depth: depth)
        case .tuple:
            let elements = metadata.tupleElements
            guard append(list: elements.map { ($0.type, $0.label) }, depth: depth) else {
                return false
            }
            append(text: "t")
            return true
        default:
            // Existentials and functions, by name. `init` checks that it means the same here.
            guard let name = _mangledTypeName(type), name.utf8.allSatisfy({ $0 >= 0x20 }) else {
                return false
            }
            append(text: name)
            return true
        }
    }

    private mutating func append(nominal metadata: Metadata, depth: Int) -> Bool {
        guard let address = metadata.descriptor.flatMap(ImageAddress.init),
            let arguments = metadata.genericArguments
        else { return false }
        parts.append(.descriptor(address))
        if arguments.isEmpty { return true }
        append(text: "y")
        for argument in arguments {
            switch argument {
            case .type(let type):
                guard append(type, depth: depth + 1) else { return false }
            case .pack(let types):
                guard append(list: types.map { ($0, "") }, depth: depth) else { return false }
                append(text: "QP")
            case .value(let value):
                append(text: Self.mangled(value))
            }
        }
        append(text: "G")
        return true
    }

    /// An integer: "$_" is 0, "$0_" 1, and "$n0_" -1.
    private static func mangled(_ value: Int) -> String {
        let sign = value < 0 ? "$n" : "$"
        return value == 0 ? "$_" : "\(sign)\(value.magnitude - 1)_"
    }

    /// A list is "y" when empty; else its first element is followed by "_".
    private mutating func append(list: [(type: Any.Type, label: String)], depth: Int) -> Bool {
        if list.isEmpty { append(text: "y") }
        for (index, element) in list.enumerated() {
            guard append(element.type, depth: depth + 1) else { return false }
            if !element.label.isEmpty {
                // A digit, or a letter outside ASCII, would need the mangling of identifiers.
                guard element.label.utf8.allSatisfy({ $0 < 0x80 }) else { return false }
                append(text: "\(element.label.utf8.count)\(element.label)")
            }
            if index == 0 { append(text: "_") }
        }
        return true
    }
}

extension TypeReference {
    private static let indirectReference: UInt8 = 2

    /// Puts the name together with a table of descriptors behind it, and asks the runtime.
    private func resolved() throws(SharedStateError) -> Any.Type? {
        var name: [UInt8] = []
        var references: [(position: Int, address: UInt)] = []
        for part in parts {
            switch part {
            case .text(let text):
                name += Array(text.utf8)
            case .descriptor(let image):
                name.append(Self.indirectReference)
                references.append((name.count, try image.resolve()))
                name += [0, 0, 0, 0]
            }
        }
        let tableStart = (name.count + 1 + 7) / 8 * 8
        let size = tableStart + 8 * references.count
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 8)
        defer { unsafe memory.deallocate() }
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0)
        unsafe memory.copyBytes(from: name)
        for (index, reference) in references.enumerated() {
            let slot = tableStart + 8 * index
            let distance = Int32(slot - reference.position)
            unsafe memory.storeBytes(of: distance, toByteOffset: reference.position, as: Int32.self)
            unsafe memory.storeBytes(of: reference.address, toByteOffset: slot, as: UInt.self)
        }
        guard let start = memory.baseAddress else { return nil }
        return unsafe _getTypeByMangledNameInContext(
            start.assumingMemoryBound(to: UInt8.self), UInt(name.count), genericContext: nil,
            genericArguments: nil)
    }
}
