// SPDX-License-Identifier: Apache-2.0

internal import SharedState

/// `Pool` and `ChildProcess`, as a program uses them.
internal enum PoolProbe: Probe {
    /// Elements a second of `Pool(workers: 2).map`; a chunk of `nil` is the automatic one.
    case map(chunk: Int?, elements: Int)
    /// Nanoseconds of `Pool(workers: 1).apply`.
    case apply
    /// Nanoseconds of `Pool(workers: 2)` until its first result.
    case start
    /// Nanoseconds of `ChildProcess.start` and `join`.
    case process

    var name: String { "pool" }

    func reasonToSkip(_ settings: Settings) -> String? { nil }

    func measure(_ settings: Settings) throws -> Measurement {
        switch self {
        case .map(let chunk, let elements):
            Measurement(value: try Self.rateOfMap(settings, chunk, elements))
        case .apply: Measurement(value: try Self.timeOfApply(settings))
        case .start: Measurement(value: try Self.timeOfStart(settings))
        case .process:
            Measurement(
                value: try Self.time(settings) {
                    try ChildProcess.start(1) { $0 + 1 }.join(timeout: .seconds(10))
                })
        }
    }

    private static func rateOfMap(
        _ settings: Settings, _ chunk: Int?, _ elements: Int
    ) throws -> Double {
        let pool = try Pool(workers: 2)
        defer { pool.terminate() }
        let wanted = (0..<elements).map { $0 + 1 }
        guard try pool.map(0..<elements, chunkSize: chunk, { $0 + 1 }) == wanted else {
            throw MeasurementFailure("wrong results")
        }
        let clock = ContinuousClock()
        let start = clock.now
        var done = 0
        while clock.now - start < .seconds(settings.duration) {
            done += try pool.map(0..<elements, chunkSize: chunk, { $0 + 1 }).count
        }
        return Double(done) / ((clock.now - start) / .seconds(1))
    }

    private static func timeOfApply(_ settings: Settings) throws -> Double {
        let pool = try Pool(workers: 1)
        defer { pool.terminate() }
        return try time(settings) {
            guard try pool.apply(1, body: { $0 + 1 }) == 2 else {
                throw MeasurementFailure("wrong result")
            }
        }
    }

    private static func timeOfStart(_ settings: Settings) throws -> Double {
        var times: [Double] = []
        let clock = ContinuousClock()
        let end = clock.now + .seconds(settings.duration)
        while clock.now < end || times.isEmpty {
            let start = clock.now
            let pool = try Pool(workers: 2)
            _ = try pool.apply(1, body: { $0 + 1 })
            times.append((clock.now - start) / .nanoseconds(1))
            pool.terminate()
        }
        return Statistics.median(times)
    }

    /// The median of doing something again and again, after once that does not count.
    private static func time(_ settings: Settings, _ once: () throws -> Void) throws -> Double {
        try once()
        var times: [Double] = []
        let clock = ContinuousClock()
        let end = clock.now + .seconds(settings.duration)
        while clock.now < end || times.isEmpty {
            let start = clock.now
            try once()
            times.append((clock.now - start) / .nanoseconds(1))
        }
        return Statistics.median(times)
    }
}
