// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import SharedState

/// `Pool` and `ChildProcess`, as a program uses them.
internal enum PoolProbe: Probe {
    /// Elements a second of `Pool(workers: 2).map`; a chunk of `nil` is the automatic one.
    case map(chunk: Int?, elements: Int)
    /// Nanoseconds of `Pool(workers: 1).apply`.
    case apply
    /// The same, of a worker that has fallen asleep.
    case applyAsleep
    /// Bytes a second of one long array as an argument.
    case argument(bytes: Int)
    /// Bytes a second of one long array as a result.
    case result(bytes: Int)
    /// The same of an array that is lent to the worker, which reads a byte of each page.
    case lentArgument(bytes: Int)
    /// The same of a result that is lent to this process.
    case lentResult(bytes: Int)
    /// Nanoseconds from the death of a worker, with so many bytes resident, to the error of its task.
    case death(resident: Int)
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
        case .applyAsleep: Measurement(value: try Self.timeOfApply(settings, pause: 0.002))
        case .argument(let bytes):
            Measurement(value: Double(bytes) * 1e9 / (try Self.timeOfArgument(settings, bytes)))
        case .result(let bytes):
            Measurement(value: Double(bytes) * 1e9 / (try Self.timeOfResult(settings, bytes)))
        case .lentArgument(let bytes):
            Measurement(value: Double(bytes) * 1e9 / (try Self.timeOfLentArgument(settings, bytes)))
        case .lentResult(let bytes):
            Measurement(value: Double(bytes) * 1e9 / (try Self.timeOfLentResult(settings, bytes)))
        case .death(let resident): try Self.timesOfDeath(settings, resident)
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
        let wanted = (0..<elements).map { $0 * $0 }
        guard try pool.map(0..<elements, chunkSize: chunk, { $0 * $0 }) == wanted else {
            throw MeasurementFailure("wrong results")
        }
        let clock = ContinuousClock()
        let start = clock.now
        var done = 0
        while clock.now - start < .seconds(settings.duration) {
            done += try pool.map(0..<elements, chunkSize: chunk, { $0 * $0 }).count
        }
        return Double(done) / ((clock.now - start) / .seconds(1))
    }

    private static func timeOfApply(
        _ settings: Settings, pause: Double = 0
    ) throws -> Double {
        let pool = try Pool(workers: 1)
        defer { pool.terminate() }
        return try time(settings, pause: pause) {
            guard try pool.apply(1, body: { $0 + 1 }) == 2 else {
                throw MeasurementFailure("wrong result")
            }
        }
    }

    private static func timeOfArgument(_ settings: Settings, _ bytes: Int) throws -> Double {
        let pool = try Pool(workers: 1)
        defer { pool.terminate() }
        let argument = [UInt8](repeating: 7, count: bytes)
        return try time(settings) {
            guard try pool.apply(argument, body: { $0.count }) == bytes else {
                throw MeasurementFailure("wrong result")
            }
        }
    }

    private static func timeOfResult(_ settings: Settings, _ bytes: Int) throws -> Double {
        let pool = try Pool(workers: 1)
        defer { pool.terminate() }
        return try time(settings) {
            guard try pool.apply(bytes, body: { Stock.bytes($0) }).count == bytes else {
                throw MeasurementFailure("wrong result")
            }
        }
    }

    private static func timeOfLentArgument(_ settings: Settings, _ bytes: Int) throws -> Double {
        let pool = try Pool(workers: 1)
        defer { pool.terminate() }
        let argument = [UInt8](repeating: 7, count: bytes)
        return try time(settings) {
            guard try pool.apply(lending: argument, body: { sampled($0) }) == 7 * pages(bytes)
            else {
                throw MeasurementFailure("wrong result")
            }
        }
    }

    private static func timeOfLentResult(_ settings: Settings, _ bytes: Int) throws -> Double {
        let pool = try Pool(workers: 1)
        defer { pool.terminate() }
        return try time(settings) {
            let sum = try pool.withResult(of: bytes) {
                Stock.bytes($0)
            } reading: {
                sampled($0)
            }
            guard sum == 7 * pages(bytes) else { throw MeasurementFailure("wrong result") }
        }
    }

    /// A worker notes the time and kills itself.
    private static func timesOfDeath(
        _ settings: Settings, _ resident: Int
    ) throws -> Measurement {
        let pool = try Pool(workers: 1)
        defer { pool.terminate() }
        let killed = try SharedValue(UInt64(0))
        var times: [UInt64] = []
        let clock = ContinuousClock()
        let end = clock.now + .seconds(settings.duration)
        while clock.now < end || times.count < Settings.leastDeaths {
            do {
                try pool.apply(resident, killed) { resident, killed in
                    _ = Stock.bytes(resident)
                    try killed.store(now())
                    kill(getpid(), SIGKILL)
                    while true { pause() }
                }
                throw MeasurementFailure("no worker died")
            } catch let error as SharedStateError {
                guard killed.value > 0 else { throw error }
                times.append(now() - killed.value)
            }
        }
        return Measurement(
            value: Statistics.median(times.map { Double($0) }), times: histogram(times))
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
    private static func time(
        _ settings: Settings, pause: Double = 0, _ once: () throws -> Void
    ) throws -> Double {
        try once()
        var times: [Double] = []
        let clock = ContinuousClock()
        let end = clock.now + .seconds(settings.duration)
        while clock.now < end || times.isEmpty {
            // Until the workers have fallen asleep, where that is what is measured.
            if pause > 0 { Thread.sleep(forTimeInterval: pause) }
            let start = clock.now
            try once()
            times.append((clock.now - start) / .nanoseconds(1))
        }
        return Statistics.median(times)
    }
}

private func pages(_ bytes: Int) -> Int { (bytes + 4095) / 4096 }

/// The sum of a byte of each page.
private func sampled(_ bytes: Span<UInt8>) -> Int {
    stride(from: 0, to: bytes.count, by: 4096).reduce(0) { $0 + Int(bytes[$1]) }
}

/// What a worker has in stock, once made.
private enum Stock {
    private static let many = [UInt8](repeating: 7, count: 100_000_000)

    static func bytes(_ count: Int) -> [UInt8] {
        count == 100_000_000 ? many : [UInt8](repeating: 7, count: count)
    }
}

/// Nanoseconds of the clock that all processes read.
private func now() -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
