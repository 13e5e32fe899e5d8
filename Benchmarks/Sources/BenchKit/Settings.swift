// SPDX-License-Identifier: Apache-2.0

/// How everything of one run is measured.
public struct Settings: Sendable {
    /// What a side does while there is nothing to do for it.
    public enum Wait: String, CaseIterable, Sendable {
        /// Pauses, and nothing else.
        case spin
        /// Pauses, and now and then gives its CPU away.
        case hybrid
        /// Sleeps: by the functions that block. Channels that have none are left out.
        case park
    }

    /// How often each figure is measured; the figures of one repeat stand beside each other.
    public var repeats: Int
    /// Seconds that each measurement counts for, after a tenth of it to warm up.
    public var duration: Double
    /// The CPUs that one producer and one consumer are bound to; `nil` for none.
    public var cpus: (producer: Int32, consumer: Int32)?
    /// How "tried" rows wait.
    public var wait: Wait

    /// Makes settings.
    public init(
        repeats: Int = 5, duration: Double = 0.1, cpus: (producer: Int32, consumer: Int32)? = nil,
        wait: Wait = .hybrid
    ) {
        self.repeats = repeats
        self.duration = duration
        self.cpus = cpus
        self.wait = wait
    }

    /// Deaths of one measurement, which is longer if it must: a 99th percentile wants a hundred in five
    /// repeats.
    internal static let leastDeaths = 20

    /// Messages of all repeats of a paced row: one of them lies beyond the 99.99th percentile.
    ///
    /// Some more, since the last ones may be late for the end.
    internal static let leastPaced: UInt64 = 11_000

    internal var durationInNanoseconds: UInt64 { UInt64(duration * 1e9) }
}
