// SPDX-License-Identifier: Apache-2.0

internal import CShm

extension Lanes {
    /// What lanes are and hold, for monitors.
    public struct Statistics: Hashable, Sendable {
        /// Elements in all lanes together.
        public let count: Int
        /// Elements that each lane can hold.
        public let capacity: Int
        /// The most elements in one lane that its producers sampled, at every 64th put, or that are
        /// in it now.
        public let highWater: Int
        /// Bytes that elements too long for their slot take, those that were taken lately among them.
        public let byteCount: Int
        /// The limit on them in one lane; `nil` for none.
        public let byteLimit: Int?
        /// Producers there are, those of processes not yet found dead among them.
        public let producers: Int
        /// Whether nothing more is put.
        public let isFinished: Bool
        /// Whether nothing more is taken, either.
        public let isCancelled: Bool
    }

    /// What the lanes are and hold, in any process; costs a walk over their slots.
    public var statistics: Statistics {
        var info = cshm_lanes_info()
        unsafe cshm_lanes_describe(core.pointer, &info)
        return Statistics(
            count: Int(clamping: info.count), capacity: Int(info.capacity),
            highWater: Int(clamping: info.high_water), byteCount: Int(clamping: info.bytes),
            byteLimit: info.byte_limit == 0 ? nil : Int(clamping: info.byte_limit),
            producers: Int(info.producers), isFinished: info.finished != 0,
            isCancelled: info.cancelled != 0)
    }
}
