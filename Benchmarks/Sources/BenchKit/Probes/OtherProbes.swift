// SPDX-License-Identifier: Apache-2.0

internal import CBench
internal import Foundation

/// Copying within one process: bytes a second.
internal struct MemoryCopyProbe: Probe {
    let name = "memcpy"
    let size: Int

    func reasonToSkip(_ settings: Settings) -> String? { nil }

    func measure(_ settings: Settings) throws -> Measurement {
        Measurement(value: bench_memcpy(size, settings.durationInNanoseconds))
    }
}

/// A script of `Peers/` that prints one figure.
internal struct PythonProbe: Probe {
    let name: String
    let script: String
    let arguments: [String]

    init(_ name: String, _ script: String, _ arguments: String...) {
        self.init(name: name, script: script, arguments: arguments)
    }

    init(name: String, script: String, arguments: [String]) {
        self.name = name
        self.script = script
        self.arguments = arguments
    }

    func reasonToSkip(_ settings: Settings) -> String? {
        let found = try? Command(["python3", "-c", "import multiprocessing"]).run()
        return found?.status == 0 ? nil : "no python3 with multiprocessing"
    }

    func measure(_ settings: Settings) throws -> Measurement {
        let file = Place.benchmarks.appending(path: "Peers/\(script)")
        let cpus = settings.cpus.map { ["\($0.producer)", "\($0.consumer)"] } ?? ["-1", "-1"]
        let duration = max(settings.duration, 0.2)
        let ended = try Command(
            ["python3", file.path, "\(duration)"] + cpus + arguments
        ).run(limit: 30)
        let word = ended.output.trimmingCharacters(in: .whitespacesAndNewlines)
        guard ended.status == 0, let value = Double(word), value > 0 else {
            throw MeasurementFailure("\(name): exit status \(ended.status)")
        }
        return Measurement(value: value)
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

    func reasonToSkip(_ settings: Settings) -> String? { rate.reasonToSkip(settings) }

    func measure(_ settings: Settings) throws -> Measurement {
        Measurement(value: count * 1e9 / (try rate.measure(settings).value))
    }
}
