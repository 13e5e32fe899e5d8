// SPDX-License-Identifier: Apache-2.0

internal import Histogram

/// Something that can be measured once.
internal protocol Probe: Sendable {
    /// What it is called where it stands beside others.
    var name: String { get }
    /// Whether it is of another package than this one, the kernel's or Swift's.
    var isExternal: Bool { get }
    /// Why it cannot be measured here; `nil` if it can.
    func reasonToSkip(_ settings: Settings) -> String?
    /// Measures it, in the unit of the row it stands in.
    func measure(_ settings: Settings) throws -> Measurement
}

extension Probe {
    internal var isExternal: Bool { false }
}

/// What one measurement gave.
internal struct Measurement {
    /// The figure.
    var value: Double
    /// The single times behind it, in nanoseconds, if percentiles are asked for.
    var times: Histogram<UInt64>?
}

/// How often a second something is done.
internal enum Rate {
    /// Does something for a tenth of the time, which does not count, and then for the whole of it.
    @inline(__always)
    static func measure(for seconds: Double, _ once: () throws -> Void) throws -> Double {
        let clock = ContinuousClock()
        _ = try repeated(until: clock.now + .seconds(seconds / 10), once)
        let start = clock.now
        let done = try repeated(until: start + .seconds(seconds), once)
        return Double(done) / ((clock.now - start) / .seconds(1))
    }

    @inline(__always)
    private static func repeated(
        until end: ContinuousClock.Instant, _ once: () throws -> Void
    ) rethrows -> Int {
        let clock = ContinuousClock()
        var done = 0
        while clock.now < end {
            for _ in 0..<256 { try once() }
            done += 256
        }
        return done
    }
}

/// Why a measurement gave no figure.
public struct MeasurementFailure: Error, CustomStringConvertible {
    /// What happened.
    public let description: String

    internal init(_ description: String) {
        self.description = description
    }
}
