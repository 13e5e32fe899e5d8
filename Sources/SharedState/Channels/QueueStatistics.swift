// SPDX-License-Identifier: Apache-2.0

internal import CShm

extension Queue {
    /// What a queue is and holds, for monitors.
    public struct Statistics: Hashable, Sendable {
        /// Where a queue is in its life.
        public enum State: Hashable, Sendable {
            /// Elements may be put.
            case open
            /// What is in it is delivered, and then it ends.
            case finished
            /// Nothing is put or taken any more.
            case cancelled
        }

        /// Elements in it.
        public let count: Int
        /// Elements it can hold.
        public let capacity: Int
        /// The largest count that was sampled, at every 64th put of a process.
        public let highWater: Int
        /// Bytes that elements too long for their slot take.
        public let byteCount: Int
        /// The limit on them; `nil` for none.
        public let byteLimit: Int?
        /// Messages that are leased, or wait to be delivered again.
        public let leased: Int
        /// Producers there are, those of processes not yet found dead among them.
        public let producers: Int
        /// Where it is in its life.
        public let state: State
    }

    /// What the queue is and holds; costs a walk over its slots.
    public var statistics: Statistics {
        var info = cshm_queue_info()
        unsafe cshm_queue_describe(core.pointer, &info)
        return Statistics(
            count: Int(info.count), capacity: Int(info.capacity),
            highWater: Int(info.high_water), byteCount: Int(info.bytes),
            byteLimit: info.byte_limit == 0 ? nil : Int(info.byte_limit),
            leased: Int(info.leased), producers: Int(info.producers),
            state: Statistics.State(info.state))
    }
}

extension Queue.Statistics.State {
    fileprivate init(_ state: UInt32) {
        switch state {
        case CSHM_QUEUE_OPEN.rawValue: self = .open
        case CSHM_QUEUE_FINISHED.rawValue: self = .finished
        default: self = .cancelled
        }
    }
}
