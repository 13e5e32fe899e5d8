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
        let rate = try Rate.measure(for: settings.duration) {
            try lock.withLock { _ in counter &+= 1 }
        }
        guard counter > 0 else { throw MeasurementFailure("nothing was counted") }
        return Measurement(value: 1e9 / rate)
    }
}
