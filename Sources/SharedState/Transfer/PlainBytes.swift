// SPDX-License-Identifier: Apache-2.0

internal import Glibc

extension Array {
    /// Copies elements of plain bits, as many as the bytes hold.
    internal init(plainBytes bytes: UnsafeRawBufferPointer) {
        let count = bytes.count / MemoryLayout<Element>.stride
        unsafe self.init(unsafeUninitializedCapacity: count) { memory, made in
            let room = UnsafeMutableRawBufferPointer(memory)
            unsafe askForLargePages(room)
            unsafe room.copyMemory(from: bytes)
            made = count
        }
    }
}

/// More than this malloc never takes from memory that was used before: it is a mapping of its own,
/// new each time (`DEFAULT_MMAP_THRESHOLD_MAX` of glibc).
private let mappedSize = 32 << 20

/// Has the kernel make fresh memory of 2 MiB at a time, where it may; page by page costs more than
/// what is copied there.
private func askForLargePages(_ memory: UnsafeMutableRawBufferPointer) {
    guard memory.count > mappedSize, let base = memory.baseAddress else { return }
    let page = 4096
    let start = unsafe base.alignedUp(toMultipleOf: page)
    let end = unsafe (base + memory.count).alignedDown(toMultipleOf: page)
    // What it does without: an advice.
    _ = unsafe madvise(start, end - start, MADV_HUGEPAGE)
}
