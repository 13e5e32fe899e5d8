// SPDX-License-Identifier: Apache-2.0

internal import CBench
internal import Histogram

/// Nanoseconds from a holder's SIGKILL until the next waiter has what it held: the median.
internal struct HolderDeathProbe: Probe {
    let name: String
    let kind: bench_death
    /// Bytes that the holder has resident, besides what every process has.
    let resident: Int

    func reasonToSkip(_ settings: Settings) -> String? { nil }

    func measure(_ settings: Settings) throws -> Measurement {
        var times = [UInt64](repeating: 0, count: 4096)
        var all: [UInt64] = []
        while all.count < Settings.leastDeaths {
            let count = unsafe bench_deaths(
                kind, resident, settings.durationInNanoseconds, &times, UInt32(times.count))
            guard count > 0 else { throw MeasurementFailure("\(name): \(count)") }
            all += times.prefix(Int(count))
        }
        return Measurement(value: Statistics.median(all.map { Double($0) }), times: histogram(all))
    }
}
