// SPDX-License-Identifier: Apache-2.0

internal import CBench
internal import Foundation

/// A function that measures by itself.
internal struct FunctionProbe: Probe {
    let name: String
    private let function: @Sendable (Settings) throws -> Double

    init(_ name: String, _ function: @escaping @Sendable (Settings) throws -> Double) {
        self.name = name
        self.function = function
    }

    func reasonToSkip(_ settings: Settings) -> String? { nil }

    func measure(_ settings: Settings) throws -> Measurement {
        let value = try function(settings)
        guard value > 0 else { throw MeasurementFailure("\(name): failed") }
        return Measurement(value: value)
    }

    /// Copying within one process: bytes a second.
    static func memoryCopy(_ size: Int) -> FunctionProbe {
        FunctionProbe("memcpy") { bench_memcpy(size, $0.durationInNanoseconds) }
    }

    /// Copying into shared memory, and from there into memory that is new each time: bytes a second.
    static func memoryCopyTwice(_ size: Int) -> FunctionProbe {
        FunctionProbe("memcpy-twice-fresh") { bench_memcpy_twice(size, $0.durationInNanoseconds) }
    }

    /// A process that ends at once, until it was waited for: nanoseconds.
    static let fork = FunctionProbe("fork") { bench_fork($0.durationInNanoseconds) }

    /// A program that ends at once, until it was waited for: nanoseconds.
    static let spawn = FunctionProbe("spawn") { bench_spawn($0.durationInNanoseconds) }

    /// A region's bytes that one object takes.
    static func memory(
        of what: String, as name: String? = nil, size: UInt32
    ) -> FunctionProbe {
        FunctionProbe(name ?? what) { _ in
            var bytes = 0.0
            let status = unsafe what.withCString { what in
                unsafe bench_memory(what, size, &bytes)
            }
            guard status == 0 else { throw MeasurementFailure("\(what): error \(-status)") }
            return bytes
        }
    }
}

/// Another probe's rate as the time that one operation takes, or so many.
internal struct TimeOfOne: Probe {
    let rate: any Probe
    let count: Double

    init(rate: any Probe, of count: Double = 1) {
        self.rate = rate
        self.count = count
    }

    var name: String { rate.name }
    var isExternal: Bool { rate.isExternal }

    func reasonToSkip(_ settings: Settings) -> String? { rate.reasonToSkip(settings) }

    func measure(_ settings: Settings) throws -> Measurement {
        Measurement(value: count * 1e9 / (try rate.measure(settings).value))
    }
}
