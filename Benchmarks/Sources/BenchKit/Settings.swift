// SPDX-License-Identifier: Apache-2.0

/// How everything of one run is measured.
public struct Settings: Sendable {
    /// How often each figure is measured; the figures of one repeat stand beside each other.
    public var repeats: Int
    /// Seconds that each measurement counts for, after a tenth of it to warm up.
    public var duration: Double
    /// The CPUs that producers and consumers are bound to when they are one and one, or `nil` for none.
    public var cpus: (producer: Int32, consumer: Int32)?

    /// Makes settings.
    public init(
        repeats: Int = 5, duration: Double = 0.1, cpus: (producer: Int32, consumer: Int32)? = nil
    ) {
        self.repeats = repeats
        self.duration = duration
        self.cpus = cpus
    }

    internal var durationInNanoseconds: UInt64 { UInt64(duration * 1e9) }
}
