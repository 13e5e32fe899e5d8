// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A child's call, in a block of shared memory: `{length of the text, text, call}`.
///
/// The text is that of the error that the call threw. The child writes it and then its length, in
/// one store; the parent reads it when the child is dead, and frees the block.
///
/// Death: of a child before that store leaves the length 0 and no text; of the parent, a block that
/// ends with the family's region.
internal struct Errand: Sendable {
    private static let textRoom = 4000
    private static let callOffset = 8 + textRoom

    private let region: Region
    private let offset: UInt64
    private let count: Int

    init(_ call: [UInt8], in region: Region) throws(SharedStateError) {
        self.region = region
        count = call.count
        var offset: UInt64 = 0
        try unsafe check(
            cshm_heap_allocate(region.pointer, UInt64(Self.callOffset + count), &offset),
            "cshm_heap_allocate")
        self.offset = offset
        let place = unsafe try address()
        unsafe place.storeBytes(of: 0, as: UInt64.self)
        unsafe (place + Self.callOffset).copyMemory(from: call, byteCount: count)
        try unsafe check(cshm_heap_share(region.pointer, offset), "cshm_heap_share")
    }

    init(from reader: inout ByteReader, in region: Region) throws(SharedStateError) {
        self.region = region
        offset = try reader.fixed(UInt64.self)
        count = Int(truncatingIfNeeded: try reader.fixed(UInt64.self))
        guard count >= 0, count <= Int.max / 2 else { throw .truncated }
    }

    func encode(into writer: inout ByteWriter) {
        writer.append(fixed: offset)
        writer.append(fixed: UInt64(count))
    }

    private func address() throws(SharedStateError) -> UnsafeMutableRawPointer {
        let size = UInt64(Self.callOffset + count)
        guard let address = unsafe cshm_heap_pointer(region.pointer, offset, size) else {
            throw SharedStateError(.incompatible, "a child's call is not where it should be")
        }
        return unsafe address
    }

    func call() throws(SharedStateError) -> [UInt8] {
        let place = unsafe try address()
        return unsafe Array(
            UnsafeRawBufferPointer(start: place + Self.callOffset, count: count))
    }

    func setErrorText(_ text: String) throws(SharedStateError) {
        let place = unsafe try address()
        let bytes = Text.bytes(of: text, upTo: Self.textRoom)
        unsafe (place + 8).copyMemory(from: bytes, byteCount: bytes.count)
        unsafe cshm_word_store(place, UInt64(bytes.count))
    }

    var errorText: String? {
        guard let place = unsafe try? address() else { return nil }
        let length = unsafe Int(clamping: cshm_word_load(place))
        guard length > 0 else { return nil }
        return unsafe String(
            decoding: UnsafeRawBufferPointer(start: place + 8, count: min(length, Self.textRoom)),
            as: UTF8.self)
    }

    func free() {
        _ = unsafe cshm_heap_free(region.pointer, offset)
    }
}
