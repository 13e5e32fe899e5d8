// SPDX-License-Identifier: Apache-2.0

/// A `String` that is a message, or a key, of its own: its UTF-8, as it is in memory.
///
/// `Element` is `String`: whoever calls has asked.
internal enum Text {
    internal static func withBytes<Element, Result>(
        of element: Element, _ body: (UnsafeRawBufferPointer) throws -> Result
    ) rethrows -> Result {
        var text = unsafe unsafeBitCast(element, to: String.self)
        return try text.withUTF8 { try unsafe body(UnsafeRawBufferPointer($0)) }
    }

    /// - Throws: `incompatible` (it is not UTF-8).
    internal static func decode<Element>(
        _ bytes: UnsafeRawBufferPointer
    ) throws(SharedStateError) -> Element {
        guard let text = unsafe String(validating: bytes, as: UTF8.self) else {
            throw SharedStateError(.incompatible, "the bytes are damaged: a string is not UTF-8")
        }
        return unsafe unsafeBitCast(text, to: Element.self)
    }

    /// The UTF-8 of as many whole characters, from the first on, as fit in so many bytes.
    internal static func bytes(of text: String, upTo limit: Int) -> [UInt8] {
        var bytes = Array(text.utf8.prefix(limit + 1))
        guard bytes.count > limit else { return bytes }
        // What follows is the rest of a character as long as it begins with the bits 10.
        while let next = bytes.popLast(), next & 0xC0 == 0x80 {}
        return bytes
    }
}
