// SPDX-License-Identifier: Apache-2.0

@_spi(Reflection) import Swift

/// What the runtime's type metadata says about a type.
///
/// The layouts read here are part of Swift's ABI as its runtime publishes it; nothing is written.
@safe
internal struct Metadata {
    /// The first word of a metadata record.
    ///
    /// Anything unknown above ``lastKind`` is a class.
    internal enum Kind {
        case `class`, value, tuple, function, metatype, builtin, fixedArray, other
    }

    internal let type: Any.Type
    private let words: UnsafePointer<UInt>

    internal init(_ type: Any.Type) {
        self.type = type
        unsafe words = unsafeBitCast(type, to: UnsafePointer<UInt>.self)
    }

    private static let lastKind: UInt = 0x7ff

    internal var kind: Kind {
        switch unsafe words[0] {
        case 0x200, 0x201, 0x202: .value
        case 0x300: .builtin
        case 0x301: .tuple
        case 0x302: .function
        case 0x304, 0x306: .metatype
        case 0x308: .fixedArray
        case 0: .class
        case let kind where kind > Self.lastKind: .class
        default: .other
        }
    }

    /// The nominal type descriptor of a struct, enum or class.
    internal var descriptor: UInt? {
        switch kind {
        case .value: unsafe words[1]
        case .class: unsafe words[5] == 0 ? nil : words[5]
        default: nil
        }
    }

    /// Types, offsets and labels ("" for none) of a tuple's elements.
    internal var tupleElements: [(type: Any.Type, offset: Int, label: String)] {
        let count = Int(unsafe words[1])
        let text = unsafe UnsafePointer<CChar>(bitPattern: words[2])
        let joined = unsafe text.map { unsafe String(cString: $0) } ?? ""
        let labels = joined.split(separator: " ", omittingEmptySubsequences: false)
        return (0..<count).map { index in
            let element = unsafe UnsafeRawPointer(words + 3 + 2 * index)
            return unsafe (
                element.load(as: Any.Type.self),
                Int(element.load(fromByteOffset: 8, as: UInt32.self)),
                index < labels.count ? String(labels[index]) : ""
            )
        }
    }

    /// The stored properties of a struct; of other types, nothing.
    internal static func fields(of type: Any.Type) -> [Any.Type] {
        var fields: [Any.Type] = []
        _ = unsafe _forEachField(of: type, options: []) { _, _, field, _ in
            fields.append(field)
            return true
        }
        return fields
    }

    /// How many elements of which type a fixed array has.
    internal var fixedArray: (count: Int, element: Any.Type) {
        unsafe (Int(bitPattern: words[1]), unsafeBitCast(words[2], to: Any.Type.self))
    }

    /// The same of an `InlineArray`, whose only property is a fixed array.
    internal var inlineArray: (count: Int, element: Any.Type)? {
        let fields = kind == .value ? Self.fields(of: type).map(Metadata.init) : []
        return fields.count == 1 && fields[0].kind == .fixedArray ? fields[0].fixedArray : nil
    }
}

extension Metadata {
    /// A stored property of a struct or a case of an enum.
    internal struct Part {
        let name: String
        /// Bytes from the start; of a case, its place among the cases.
        let offset: Int
        /// `nil` for a case that holds nothing, or what the runtime cannot tell.
        let type: Any.Type?
    }

    /// The parts of a struct or an enum; none where reflection was left out of the program.
    internal var parts: [Part] {
        guard let address = descriptor,
            let descriptor = unsafe UnsafeRawPointer(bitPattern: address)
        else { return [] }
        let isEnum = unsafe descriptor.load(as: UInt32.self) & 0x1f == 18
        return isEnum ? unsafe cases(descriptor) : properties
    }

    private var properties: [Part] {
        var parts: [Part] = []
        _ = unsafe _forEachField(of: type, options: []) { name, offset, field, _ in
            parts.append(unsafe Part(name: String(cString: name), offset: offset, type: field))
            return true
        }
        return parts
    }

    /// From the field descriptor: twelve bytes a case, after sixteen that end with their number.
    private func cases(_ descriptor: UnsafeRawPointer) -> [Part] {
        guard let fields = unsafe Self.target(descriptor + 16) else { return [] }
        let count = unsafe fields.load(fromByteOffset: 12, as: UInt32.self)
        return (0..<Int(count)).map { index in
            let record = unsafe fields + 16 + 12 * index
            let name = unsafe Self.target(record + 8).map {
                unsafe String(cString: $0.assumingMemoryBound(to: CChar.self))
            }
            return unsafe Part(
                name: name ?? "", offset: index,
                type: Self.target(record + 4).flatMap { unsafe payload($0, descriptor) })
        }
    }

    /// The type of a mangled name in the program, in which control bytes stand before references.
    private func payload(_ name: UnsafeRawPointer, _ context: UnsafeRawPointer) -> Any.Type? {
        var length = 0
        while true {
            switch unsafe name.load(fromByteOffset: length, as: UInt8.self) {
            case 0:
                return unsafe _getTypeByMangledNameInContext(
                    name.assumingMemoryBound(to: UInt8.self), UInt(length),
                    genericContext: context, genericArguments: UnsafeRawPointer(words + 2))
            case 0x01...0x17: length += 5
            case 0x18...0x1f: length += 9
            default: length += 1
            }
        }
    }

    /// The module that declares a struct, enum or class: the outermost of what it is nested in.
    internal var module: String {
        guard let address = descriptor,
            var context = unsafe UnsafeRawPointer(bitPattern: address)
        else { return "" }
        while unsafe context.load(as: UInt32.self) & 0x1f != 0 {
            guard let parent = unsafe Self.indirectTarget(context + 4) else { return "" }
            unsafe context = parent
        }
        guard let name = unsafe Self.target(context + 8) else { return "" }
        return unsafe String(cString: name.assumingMemoryBound(to: CChar.self))
    }

    /// What a relative reference points to.
    private static func target(_ reference: UnsafeRawPointer) -> UnsafeRawPointer? {
        let distance = Int(unsafe reference.load(as: Int32.self))
        return unsafe distance == 0 ? nil : reference + distance
    }

    /// As ``target(_:)``, where the lowest bit says that an address is stored there.
    private static func indirectTarget(_ reference: UnsafeRawPointer) -> UnsafeRawPointer? {
        let distance = Int(unsafe reference.load(as: Int32.self))
        guard distance & 1 != 0 else { return unsafe target(reference) }
        return unsafe (reference + (distance & ~1)).load(as: UnsafeRawPointer?.self)
    }
}

/// One argument of a generic type: a type, an integer, or the types of a parameter pack.
internal enum GenericArgument {
    case type(Any.Type)
    case value(Int)
    case pack([Any.Type])
}

extension Metadata {
    /// The arguments of a generic type, outermost first; none for a type that is not generic, and
    /// nil where the layout is one that this does not read.
    internal var genericArguments: [GenericArgument]? {
        guard let address = descriptor,
            let descriptor = unsafe UnsafeRawPointer(bitPattern: address)
        else { return nil }
        let flags = unsafe descriptor.load(as: UInt32.self)
        guard flags & 0x80 != 0 else { return [] }
        guard let (start, header) = unsafe genericLayout(descriptor, flags) else { return nil }
        let parameterCount = Int(unsafe header.load(fromByteOffset: 8, as: UInt16.self))
        let requirementCount = Int(unsafe header.load(fromByteOffset: 10, as: UInt16.self))
        let hasPacks = unsafe header.load(fromByteOffset: 14, as: UInt16.self) & 1 != 0
        var shapeOf: [Int] = []
        var shapeCount = 0
        if hasPacks {
            let packs = unsafe header + 16 + (parameterCount + 3) / 4 * 4 + 12 * requirementCount
            let packCount = Int(unsafe packs.load(as: UInt16.self))
            shapeCount = Int(unsafe packs.load(fromByteOffset: 2, as: UInt16.self))
            for pack in 0..<packCount {
                let record = unsafe packs + 4 + 8 * pack
                guard unsafe record.load(as: UInt16.self) == 0 else { continue }
                shapeOf.append(Int(unsafe record.load(fromByteOffset: 4, as: UInt16.self)))
            }
        }
        var arguments: [GenericArgument] = []
        var slot = start + shapeCount
        var packIndex = 0
        for index in 0..<parameterCount {
            let parameter = unsafe header.load(fromByteOffset: 16 + index, as: UInt8.self)
            // Every parameter must be a key argument: one that equals another has no slot.
            guard parameter & 0x80 != 0 else { return nil }
            switch parameter & 0x3f {
            case 0:
                arguments.append(
                    .type(unsafe UnsafeRawPointer(words + slot).load(as: Any.Type.self)))
            case 1:
                guard packIndex < shapeOf.count else { return nil }
                let count = Int(unsafe words[start + shapeOf[packIndex]])
                arguments.append(.pack(unsafe Self.pack(words[slot], count: count)))
                packIndex += 1
            case 2:
                arguments.append(.value(unsafe Int(bitPattern: words[slot])))
            default:
                return nil
            }
            slot += 1
        }
        return arguments
    }

    /// The types that a pack lists.
    ///
    /// The lowest bit of its address tells where it lives.
    private static func pack(_ address: UInt, count: Int) -> [Any.Type] {
        guard let list = unsafe UnsafePointer<UInt>(bitPattern: address & ~1) else { return [] }
        return (0..<count).map { unsafe unsafeBitCast(list[$0], to: Any.Type.self) }
    }

    /// The word at which the arguments begin in the metadata, and the generic header.
    private func genericLayout(
        _ descriptor: UnsafeRawPointer, _ flags: UInt32
    ) -> (start: Int, header: UnsafeRawPointer)? {
        switch flags & 0x1f {
        case 17, 18:
            return unsafe (2, descriptor + 28)
        case 16:
            // A superclass from a resilient library moves everything: not needed, not read.
            guard flags & (1 << 29) == 0 else { return nil }
            let negative = Int(unsafe descriptor.load(fromByteOffset: 24, as: UInt32.self))
            let positive = Int(unsafe descriptor.load(fromByteOffset: 28, as: UInt32.self))
            let members = Int(unsafe descriptor.load(fromByteOffset: 32, as: UInt32.self))
            let areNegative = flags & (1 << 28) != 0
            return unsafe (areNegative ? -negative : positive - members, descriptor + 44)
        default:
            return nil
        }
    }
}
