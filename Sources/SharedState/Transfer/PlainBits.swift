// SPDX-License-Identifier: Apache-2.0

/// Which types mean the same in another process when their bytes are copied.
internal enum PlainBits {
    /// Whether values of `type` can cross as bytes.
    ///
    /// Addresses cannot, though they are plain bits: pointers, `Unmanaged`, metatypes, C function
    /// pointers, `ObjectIdentifier`, `StaticString`, and structs and tuples that hold one. What an
    /// enum's cases hold cannot be asked of the runtime, except for `Optional`.
    internal static func describe(_ type: Any.Type) -> Bool {
        func isPOD<T>(_: T.Type) -> Bool { _isPOD(T.self) }
        return _openExistential(type, do: isPOD) && !holdsAddress(type, depth: 0)
    }

    private static func holdsAddress(_ type: Any.Type, depth: Int) -> Bool {
        let metadata = Metadata(type)
        switch metadata.kind {
        case .builtin:
            // Integers, floating-point numbers, vectors and words; not raw or bridged pointers.
            let name = _mangledTypeName(type) ?? ""
            return !["Bi", "Bf", "Bv", "Bw"].contains { name.hasPrefix($0) }
        case .tuple:
            return metadata.tupleElements.contains {
                holdsAddress($0.type, depth: depth + 1)
            }
        case .value:
            if depth > 32 || type == StaticString.self { return true }
            if let optional = type as? any OptionalType.Type {
                return holdsAddress(optional.wrappedType, depth: depth + 1)
            }
            return Metadata.fields(of: type).contains { holdsAddress($0, depth: depth + 1) }
        default:
            return true
        }
    }
}

/// Optionals, to ask for what they wrap.
private protocol OptionalType {
    static var wrappedType: Any.Type { get }
}

extension Optional: OptionalType {
    fileprivate static var wrappedType: Any.Type { Wrapped.self }
}
