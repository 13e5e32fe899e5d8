// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import SharedState

/// What it costs to wait for something that does not come.
internal struct IdleProbe: Probe {
    /// Who waits.
    internal enum Waiter: String, Sendable {
        /// A child in `Queue.get()`.
        case queue
        /// A child in `await Queue.get()`.
        case task
        /// A child in `Condition.wait`.
        case condition
        /// A child in `Event.wait`.
        case event
        /// Two workers of a pool that has worked.
        case pool
    }

    let waiter: Waiter
    let unit: Unit

    var name: String { waiter.rawValue }

    func reasonToSkip(_ settings: Settings) -> String? { nil }

    func measure(_ settings: Settings) throws -> Measurement {
        switch waiter {
        case .queue:
            let queue = try Queue<Int>()
            return try whileChildWaits(
                settings, ChildProcess.start(queue) { queue in _ = try queue.get() })
        case .task:
            let queue = try Queue<Int>()
            return try whileChildWaits(
                settings, ChildProcess.start(queue) { queue in await Self.waitInTask(queue) })
        case .condition:
            let condition = try Condition()
            return try whileChildWaits(
                settings,
                ChildProcess.start(condition) { condition in
                    try condition.withLock { holder in
                        _ = try condition.wait(holder) { false }
                    }
                })
        case .event:
            let event = try Event()
            return try whileChildWaits(
                settings, ChildProcess.start(event) { event in _ = try event.wait() })
        case .pool:
            let pool = try Pool(workers: 2)
            defer { pool.terminate() }
            _ = try pool.map(0..<100) { $0 + 1 }
            return load(settings)
        }
    }

    private static func waitInTask(_ queue: Queue<Int>) async {
        _ = try? await queue.get()
    }

    private func whileChildWaits(
        _ settings: Settings, _ child: ChildProcess
    ) throws -> Measurement {
        defer { try? child.kill() }
        return load(settings)
    }

    /// What the others use, once they have fallen asleep.
    private func load(_ settings: Settings) -> Measurement {
        Thread.sleep(forTimeInterval: 0.15)  // whoever spins before sleeping has stopped by then
        let clock = ContinuousClock()
        let start = clock.now
        let before = ProcessTree.usage()
        // What is measured: doing nothing; some slices of 25 ms at least.
        Thread.sleep(forTimeInterval: max(0.3, settings.duration))
        let after = ProcessTree.usage()
        let seconds = (clock.now - start) / .seconds(1)
        let used = ProcessTree.used(from: before, to: after)
        return Measurement(value: Double(unit == .cpu ? used.cpu : used.sleeps) / seconds)
    }
}

/// Bytes that a worker of a pool has for itself.
internal struct WorkerMemoryProbe: Probe {
    let name = "pool"

    func reasonToSkip(_ settings: Settings) -> String? { nil }

    func measure(_ settings: Settings) throws -> Measurement {
        let pool = try Pool(workers: 2)
        defer { pool.terminate() }
        _ = try pool.map(0..<100) { $0 + 1 }
        let own = ProcessInfo.processInfo.processIdentifier
        // The zygote is this process's child, and its children are the workers.
        let workers = ProcessTree.descendants().filter { $0.parent != own }
        guard workers.count >= 2 else { throw MeasurementFailure("no workers") }
        let bytes = workers.map { ProcessTree.privateBytes(of: $0.pid) }
        return Measurement(value: Statistics.median(bytes))
    }
}
