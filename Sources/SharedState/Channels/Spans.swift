// SPDX-License-Identifier: Apache-2.0

// A message in shared memory as a span that ends with the body it is lent to.

/// The bytes of an array.
internal func lengthOfArray<Item>(of _: Item.Type, _ count: Int) throws(SharedStateError) -> Int {
    let (length, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<Item>.stride)
    guard count >= 0, !overflow else {
        throw SharedStateError(.invalidArgument, "an array's length is not \(count)")
    }
    return length
}

/// Lends the bytes of a claimed message as items to be set.
internal func withItems<Item: BitwiseCopyable, Result>(
    in bytes: UnsafeMutableRawBufferPointer, _ body: (inout MutableSpan<Item>) throws -> Result
) throws -> Result {
    let items = try unsafe plainItems(Item.self, bytes)
    var span = unsafe items.mutableSpan
    return try body(&span)
}

/// Lends the bytes of a message as items to be read.
internal func withItems<Item: BitwiseCopyable, Result>(
    of bytes: UnsafeRawBufferPointer, _ body: (Span<Item>) throws -> Result
) throws -> Result {
    guard bytes.count.isMultiple(of: MemoryLayout<Item>.stride) else {
        throw SharedStateError.truncated
    }
    let items = try unsafe plainItems(Item.self, UnsafeMutableRawBufferPointer(mutating: bytes))
    return try body(unsafe items.span)
}

private func plainItems<Item>(
    _: Item.Type, _ bytes: UnsafeMutableRawBufferPointer
) throws(SharedStateError) -> UnsafeMutableBufferPointer<Item> {
    guard Int(bitPattern: bytes.baseAddress) % MemoryLayout<Item>.alignment == 0 else {
        throw SharedStateError(
            .incompatible,
            "\(Item.self) is aligned to more than a slot is; put and get such elements")
    }
    return unsafe bytes.bindMemory(to: Item.self)
}
