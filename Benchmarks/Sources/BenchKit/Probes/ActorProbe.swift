// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// Calls a second of a distributed actor that another process hosts, one after the other.
internal struct ActorProbe: Probe {
    let name = "actor"

    func reasonToSkip(_ settings: Settings) -> String? { nil }

    func measure(_ settings: Settings) throws -> Measurement {
        let program = try OwnProgram.path("actorprobe")
        let ended = try Command([program, "\(settings.duration)"]).run(limit: 30)
        let word = ended.output.trimmingCharacters(in: .whitespacesAndNewlines)
        guard ended.status == 0, let value = Double(word), value > 0 else {
            throw MeasurementFailure("actorprobe: exit status \(ended.status)")
        }
        return Measurement(value: value)
    }
}
