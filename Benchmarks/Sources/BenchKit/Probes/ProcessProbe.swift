// SPDX-License-Identifier: Apache-2.0

internal import CBench
internal import Foundation
internal import SharedState

/// Nanoseconds from the first line of a program's `main` to the first result of its pool.
internal struct StartProbe: Probe {
    let name = "pool"

    func reasonToSkip(_ settings: Settings) -> String? { nil }

    func measure(_ settings: Settings) throws -> Measurement {
        let program = try OwnProgram.path("startprobe")
        // What is left of its pools becomes ours, and so does the CPU time of it.
        let before = Set(ProcessTree.children())
        bench_adopt_orphans(true)
        defer {
            while let orphan = ProcessTree.children().first(where: { !before.contains($0) }) {
                _ = waitpid(orphan, nil, 0)
            }
            bench_adopt_orphans(false)
        }
        let times = try (0..<10).map { _ in
            let ended = try Command([program]).run(limit: 30)
            let word = ended.output.trimmingCharacters(in: .whitespacesAndNewlines)
            guard ended.status == 0, let time = Double(word), time > 0 else {
                throw MeasurementFailure("startprobe: exit status \(ended.status)")
            }
            return time
        }
        return Measurement(value: Statistics.median(times))
    }
}

/// Nanoseconds from a child's death by SIGKILL to the end of its parent's `join`.
internal struct DeathProbe: Probe {
    let name = "join"
    /// Bytes that the child has resident, besides what every child has.
    let resident: Int

    func reasonToSkip(_ settings: Settings) -> String? { nil }

    func measure(_ settings: Settings) throws -> Measurement {
        var times: [UInt64] = []
        let clock = ContinuousClock()
        let end = clock.now + .seconds(settings.duration)
        while clock.now < end || times.count < Settings.leastDeaths {
            times.append(try once(clock))
        }
        return Measurement(
            value: Statistics.median(times.map { Double($0) }), times: histogram(times))
    }

    private func once(_ clock: ContinuousClock) throws -> UInt64 {
        let ready = try Queue<Int>()
        let child = try ChildProcess.start(ready, resident) { ready, resident in
            let memory = UnsafeMutableRawPointer.allocate(byteCount: resident + 1, alignment: 4096)
            unsafe memory.initializeMemory(as: UInt8.self, repeating: 1, count: resident + 1)
            try ready.put(1)
            while true { sleep(1000) }
        }
        _ = try ready.get(timeout: .seconds(10))
        let start = clock.now
        kill(child.pid, SIGKILL)
        try child.join(timeout: .seconds(10))
        return UInt64((clock.now - start) / .nanoseconds(1))
    }
}
