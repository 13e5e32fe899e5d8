// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import Synchronization

/// A script of `Peers/` that prints one figure.
internal struct PythonProbe: Probe {
    let name: String
    let script: String
    let arguments: [String]
    /// What it imports, and may not be there.
    let module: String
    let isExternal = true

    init(_ name: String, _ script: String, _ arguments: String...) {
        self.init(name: name, script: script, arguments: arguments)
    }

    init(
        name: String, script: String, arguments: [String], module: String = "multiprocessing"
    ) {
        self.name = name
        self.script = script
        self.arguments = arguments
        self.module = module
    }

    func reasonToSkip(_ settings: Settings) -> String? {
        Self.interpreter(with: module) == nil
            ? "no python3 with \(module) (make peers installs it)" : nil
    }

    func measure(_ settings: Settings) throws -> Measurement {
        guard let interpreter = Self.interpreter(with: module) else {
            throw MeasurementFailure("\(name): no python3 with \(module)")
        }
        let file = Place.benchmarks.appending(path: "Peers/\(script)")
        let cpus = settings.cpus.map { ["\($0.producer)", "\($0.consumer)"] } ?? ["-1", "-1"]
        let duration = max(settings.duration, 0.2)
        let ended = try Command(
            [interpreter, file.path, "\(duration)"] + cpus + arguments
        ).run(limit: 30)
        let word = ended.output.trimmingCharacters(in: .whitespacesAndNewlines)
        guard ended.status == 0, let value = Double(word), value >= 0 else {
            throw MeasurementFailure("\(name): exit status \(ended.status)")
        }
        return Measurement(value: value)
    }

    /// The first interpreter that has the module: the machine's, or that of the virtual environment that
    /// `make peers` makes.
    private static func interpreter(with module: String) -> String? {
        found.withLock { found in
            if let known = found[module] { return known }
            let made = Place.benchmarks.appending(path: ".build/venv/bin/python3").path
            let first = ["python3", made].first { name in
                (try? Command([name, "-c", "import \(module)"]).run())?.status == 0
            }
            found[module] = .some(first)
            return first
        }
    }

    private static let found = Mutex<[String: String?]>([:])
}
