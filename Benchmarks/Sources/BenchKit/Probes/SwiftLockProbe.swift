// SPDX-License-Identifier: Apache-2.0

internal import CBench
internal import SharedState

/// `Lock.withLock` round a counter, by this process alone: nanoseconds.
internal struct SwiftLockProbe: Probe {
    let name = "swift-lock"

    func reasonToSkip(_ settings: Settings) -> String? { nil }

    func measure(_ settings: Settings) throws -> Measurement {
        _ = bench_pin(settings.cpus?.producer ?? -1)
        defer { _ = bench_pin(-1) }
        let lock = try Lock()
        var counter: UInt64 = 0
        let clock = ContinuousClock()
        let start = clock.now
        let end = start + .seconds(settings.duration)
        while clock.now < end {
            for _ in 0..<256 {
                try lock.withLock { _ in counter &+= 1 }
            }
        }
        let elapsed = (clock.now - start) / .nanoseconds(1)
        guard counter > 0 else { throw MeasurementFailure("nothing was counted") }
        return Measurement(value: elapsed / Double(counter))
    }
}
