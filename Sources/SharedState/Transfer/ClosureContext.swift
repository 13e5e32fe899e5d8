// SPDX-License-Identifier: Apache-2.0

/// The heap object behind a closure: what it captures.
///
/// The compiler describes the boxes that it makes for captures (for debuggers), and this reads
/// those descriptions: to see through thunks, and to say in an error what is captured.
@safe
internal struct ClosureContext {
    private let object: UnsafePointer<UInt>
    private let metadata: UnsafePointer<UInt>

    /// Nil for the null context of a closure that captures nothing.
    internal init?(_ address: UInt) {
        guard let object = unsafe UnsafePointer<UInt>(bitPattern: address),
            let metadata = unsafe UnsafePointer<UInt>(bitPattern: object[0])
        else { return nil }
        unsafe self.object = object
        unsafe self.metadata = metadata
    }

    /// The metadata of a box that holds nothing but one function, as thunks have it, and that
    /// function's two words.
    ///
    /// Debug builds pass a function reference, a stored closure and the like through such a thunk.
    internal var wrappedFunction: (metadata: UInt, code: UInt, context: UInt)? {
        guard let captures, captures.count == 1, captures[0].isFunction, unsafe metadata[1] == 16
        else { return nil }
        return unsafe (object[0], object[2], object[3])
    }

    /// The captured types as far as they are known, for people.
    internal var explanation: String {
        if unsafe metadata[0] == 0 || metadata[0] > 0x7ff {
            let type = unsafe unsafeBitCast(metadata, to: Any.Type.self)
            return "an instance of \(type)"
        }
        guard let captures else { return "values" }
        var names = captures.map { capture in
            capture.type.map { "\($0)" } ?? (capture.isFunction ? "a closure" : "of unknown type")
        }
        if isGeneric { names.append("type arguments of the generic function round it") }
        let what = names.count == 1 ? "a value" : "\(names.count) values"
        return "\(what) (\(names.joined(separator: ", ")))"
    }
}

extension ClosureContext {
    private struct Capture {
        let type: Any.Type?
        let isFunction: Bool
    }

    private static let boxKind: UInt = 0x400

    /// The compiler's description of a box; nil without one.
    private var descriptor: UnsafeRawPointer? {
        unsafe metadata[0] == Self.boxKind ? UnsafeRawPointer(bitPattern: metadata[2]) : nil
    }

    /// Whether the box holds type arguments too, as those of generic code do.
    ///
    /// It is no plain thunk then, and what it holds cannot be named without them.
    private var isGeneric: Bool {
        guard let descriptor = unsafe descriptor else { return false }
        return unsafe descriptor.loadUnaligned(fromByteOffset: 4, as: UInt64.self) != 0
    }

    /// What the description lists.
    private var captures: [Capture]? {
        guard let descriptor = unsafe descriptor else { return nil }
        let count = Int(unsafe descriptor.loadUnaligned(as: UInt32.self))
        let isGeneric = isGeneric
        return (0..<count).map { index in
            let field = unsafe descriptor + 12 + 4 * index
            let name = unsafe field + Int(field.loadUnaligned(as: Int32.self))
            return unsafe Self.capture(unsafe name.assumingMemoryBound(to: UInt8.self), isGeneric)
        }
    }

    private static func capture(_ name: UnsafePointer<UInt8>, _ isGeneric: Bool) -> Capture {
        let text = unsafe UnsafeBufferPointer(start: name, count: length(of: name))
        let type =
            isGeneric
            ? nil
            : unsafe _getTypeByMangledNameInContext(
                name, UInt(text.count), genericContext: nil, genericArguments: nil)
        return Capture(type: type, isFunction: unsafe !isGeneric && isFunction(text))
    }

    /// A mangled name ends at its first zero outside a reference.
    private static func length(of name: UnsafePointer<UInt8>) -> Int {
        var length = 0
        while unsafe name[length] != 0 {
            switch unsafe name[length] {
            case 0x01...0x17: length += 5
            case 0x18...0x1f: length += 9
            default: length += 1
            }
        }
        return length
    }

    /// Whether a type is that of a closure: "c" last for one as the source has it, or "Ieg…_"
    /// (escaping, with a context) for one in the form that the optimiser sees.
    private static func isFunction(_ name: UnsafeBufferPointer<UInt8>) -> Bool {
        switch unsafe name.last {
        case UInt8(ascii: "c"):
            return true
        case UInt8(ascii: "_"):
            guard let mark = unsafe name.lastIndex(of: UInt8(ascii: "I")) else { return false }
            return unsafe name[(mark + 1)...].starts(with: "eg".utf8)
        default:
            return false
        }
    }
}
