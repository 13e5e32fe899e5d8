// SPDX-License-Identifier: Apache-2.0

internal import CBench
internal import Histogram

/// Nanoseconds from a process's SIGKILL until the next one has what it held or waited for: the median.
internal struct SurvivorProbe: Probe {
    let name: String
    let death: bench_death
    /// Bytes that the process has resident, besides what every process has.
    var resident = 64 << 20
    /// How many deaths there are at least, however long they take.
    var least = Settings.leastDeaths

    func reasonToSkip(_ settings: Settings) -> String? { nil }

    func measure(_ settings: Settings) throws -> Measurement {
        var times = [UInt64](repeating: 0, count: 4096)
        var all: [UInt64] = []
        while all.count < least {
            let count = unsafe bench_deaths(
                death, resident, settings.durationInNanoseconds, &times, UInt32(times.count))
            guard count > 0 else { throw MeasurementFailure("\(name): \(count)") }
            all += times.prefix(Int(count))
        }
        return Measurement(value: Statistics.median(all.map { Double($0) }), times: histogram(all))
    }
}
