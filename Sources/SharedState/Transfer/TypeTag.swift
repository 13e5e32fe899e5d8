// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A number for types: the same in every program in which they have the same name and the same
/// layout.
///
/// It is ``cshm_type_tag`` of the mangled names. For types that are the standard library's, or made
/// of its, that is all, so that C can say it; for others the text goes on with their layout. Made
/// once for each type.
package func typeTag(_ types: Any.Type...) -> UInt64 {
    let key = types.map { ObjectIdentifier($0) }
    if let known = tags.withLock({ $0[key] }) { return known }
    var layout = TypeLayout()
    for type in types { layout.add(type) }
    let tag = unsafe cshm_type_tag(types.map(portableName).joined() + layout.text)
    tags.withLock { $0[key] = tag }
    return tag
}

private let tags = Mutex<[[ObjectIdentifier]: UInt64]>([:])

/// What two programs must agree on to read each other's values of a type, as a text.
///
/// Of each struct and enum the size, stride and alignment, and for every part its name, where it is,
/// and its type; then the same of the parts' types, and of generic arguments. Nothing is said of
/// a class, whose values never cross as they are in memory, nor of types that come with their own
/// promise: the standard library's, this library's, and those of Foundation that cross encoded.
internal struct TypeLayout {
    private(set) var text = ""
    private var seen: Set<ObjectIdentifier> = []
    /// Types nested without end are told by their beginning.
    private static let limit = 256

    mutating func add(_ type: Any.Type) {
        guard seen.count < Self.limit, seen.insert(ObjectIdentifier(type)).inserted else { return }
        let metadata = Metadata(type)
        switch metadata.kind {
        case .tuple: metadata.tupleElements.forEach { add($0.type) }
        case .value: add(nominal: metadata, hasParts: !hasPromise(metadata))
        case .class: add(nominal: metadata, hasParts: false)
        default: break
        }
    }

    private mutating func add(nominal metadata: Metadata, hasParts: Bool) {
        let parts = hasParts ? metadata.parts : []
        if hasParts {
            text += "{\(portableName(metadata.type)) \(extent(of: metadata.type))"
            for part in parts {
                let name = part.type.map(portableName) ?? ""
                text += ";\(part.name) \(part.offset) \(name)"
            }
            text += "}"
        }
        for argument in metadata.genericArguments ?? [] {
            switch argument {
            case .type(let type): add(type)
            case .pack(let types): types.forEach { add($0) }
            case .value: break  // The name says it.
            }
        }
        for part in parts { part.type.map { add($0) } }
    }

    private func hasPromise(_ metadata: Metadata) -> Bool {
        switch metadata.module {
        case "Swift", "SharedState": true
        case let module where module.hasPrefix("Foundation"): !PlainBits.describe(metadata.type)
        default: false
        }
    }

    private func extent(of type: Any.Type) -> String {
        func extent<T>(_: T.Type) -> String {
            "\(MemoryLayout<T>.size) \(MemoryLayout<T>.stride) \(MemoryLayout<T>.alignment)"
        }
        return _openExistential(type, do: extent)
    }
}

/// The mangled name, in which a private or local type is told by where it is in its file.
private func portableName(_ type: Any.Type) -> String {
    guard let name = _mangledTypeName(type) else { return "\(type)" }
    // Such a name has `$`, the address of a context in this process, and `yXZ`.
    let parts = name.split(separator: "$", omittingEmptySubsequences: false)
    let rest = parts.dropFirst().map { part in
        let digits = part.prefix(while: \.isHexDigit)
        let rest = part.dropFirst(digits.count)
        guard rest.hasPrefix("yXZ"), let address = UInt(digits, radix: 16),
            let place = ImageAddress(address)
        else { return "$\(part)" }
        return "$\(place.image)+\(place.offset)\(rest)"
    }
    return parts[0] + rest.joined()
}
