// SPDX-License-Identifier: Apache-2.0

internal import CShm

extension Broadcast {
    /// What a broadcast is and holds, for monitors.
    public struct Statistics: Hashable, Sendable {
        /// Elements published so far.
        public let count: Int
        /// Elements it keeps.
        public let capacity: Int
        /// How many of those published the slowest lossless subscriber has yet to read.
        public let behind: Int
        /// Bytes that elements too long for their slot take.
        public let byteCount: Int
        /// The limit on them; `nil` for none.
        public let byteLimit: Int?
        /// Publishers there are, those of processes not yet found dead among them.
        public let publishers: Int
        /// Subscribers, likewise.
        public let subscribers: Int
        /// Whether nothing more is published.
        public let isFinished: Bool
        /// Whether nothing more is read, either.
        public let isCancelled: Bool
    }

    /// What the broadcast is and holds, in any process; costs a walk over its slots.
    public var statistics: Statistics {
        var info = cshm_broadcast_info()
        unsafe cshm_broadcast_describe(core.pointer, &info)
        return Statistics(
            count: Int(clamping: info.count), capacity: Int(clamping: info.capacity),
            behind: Int(clamping: info.behind), byteCount: Int(clamping: info.bytes),
            byteLimit: info.byte_limit == 0 ? nil : Int(clamping: info.byte_limit),
            publishers: Int(info.publishers), subscribers: Int(info.subscribers),
            isFinished: info.finished != 0, isCancelled: info.cancelled != 0)
    }
}
