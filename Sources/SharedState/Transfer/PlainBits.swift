// SPDX-License-Identifier: Apache-2.0

/// Which types mean the same in another process when their bytes are copied.
internal enum PlainBits {
    /// Whether values of `type` can cross as bytes.
    ///
    /// Addresses cannot, though they are plain bits: pointers, `Unmanaged`, metatypes, C function
    /// pointers, `ObjectIdentifier`, `StaticString`, and structs, enums, tuples and fixed arrays that
    /// hold one.
    internal static func describe(_ type: Any.Type) -> Bool {
        isPlain(type) && !holdsAddress(type, depth: 0)
    }

    /// Whether the bytes are all there is to copy, whatever they mean.
    internal static func isPlain(_ type: Any.Type) -> Bool {
        func isPOD<T>(_: T.Type) -> Bool { _isPOD(T.self) }
        return _openExistential(type, do: isPOD)
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
            return metadata.parts.contains { part in
                part.type.map { holdsAddress($0, depth: depth + 1) } ?? false
            }
        case .fixedArray:
            return holdsAddress(metadata.fixedArray.element, depth: depth + 1)
        default:
            return true
        }
    }
}
