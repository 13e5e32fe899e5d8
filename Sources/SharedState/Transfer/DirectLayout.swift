// SPDX-License-Identifier: Apache-2.0

internal import CWorkerEntry

/// Where the arguments of a call lie, side by side, for a function that is called on them there.
///
/// Of plain bits only. Caller and worker make the same one for the types.
internal struct DirectLayout: Sendable {
    /// Of batches and what is in them.
    private static let alignment = 16

    private(set) var offsets: [Int] = []
    /// Bytes of all arguments, and of the result.
    private(set) var size = 0, resultSize = 0

    /// - Returns: `nil` if one of them is not plain bits, or they are too many.
    init?<each Argument, Result>(
        _ arguments: repeat TransferPlan<each Argument>, result: TransferPlan<Result>
    ) {
        for plan in repeat each arguments {
            guard add(plan) else { return nil }
        }
        guard result.isBits, MemoryLayout<Result>.alignment <= Self.alignment else { return nil }
        resultSize = MemoryLayout<Result>.stride
    }

    private mutating func add<Argument>(_ plan: TransferPlan<Argument>) -> Bool {
        let alignment = MemoryLayout<Argument>.alignment
        guard plan.isBits, alignment <= Self.alignment, offsets.count < Int(CWORKER_PACK_MAX)
        else { return false }
        let offset = (size + alignment - 1) / alignment * alignment
        offsets.append(offset)
        size = offset + MemoryLayout<Argument>.size
        return true
    }

    /// Stores one argument and goes on to the next.
    func store<Argument>(
        _ argument: Argument, _ index: inout Int, in memory: UnsafeMutableRawPointer
    ) {
        unsafe withUnsafeBytes(of: argument) { bytes in
            let place = unsafe UnsafeMutableRawBufferPointer(
                start: memory + offsets[index], count: bytes.count)
            unsafe place.copyMemory(from: bytes)
        }
        index += 1
    }
}

/// A function that is called on arguments where they lie.
internal struct DirectCall: Sendable {
    let layout: DirectLayout
    /// The closure's two words.
    let words: (code: UInt, context: UInt)

    var pack: cworker_pack {
        var pack = cworker_pack()
        pack.code = words.code
        pack.context = words.context
        pack.count = UInt32(layout.offsets.count)
        unsafe withUnsafeMutableBytes(of: &pack.offset) { bytes in
            for (index, offset) in layout.offsets.enumerated() {
                unsafe bytes.storeBytes(
                    of: UInt32(offset), toByteOffset: 4 * index, as: UInt32.self)
            }
        }
        return pack
    }
}
