// SPDX-License-Identifier: Apache-2.0

internal import Dispatch
internal import Synchronization

/// What Swift has for parallel work within one process: squares a second, each one task.
///
/// 2000 at a time: a million tasks in one group take twenty times as long each.
internal enum TaskProbe: String, Probe {
    /// A child task of a `TaskGroup` for each element.
    case taskGroup = "task-group"
    /// A block on a concurrent queue for each element.
    case dispatch = "dispatch"

    var name: String { rawValue }

    func reasonToSkip(_ settings: Settings) -> String? { nil }

    /// Once that does not count, then again and again.
    func measure(_ settings: Settings) throws -> Measurement {
        let elements = 2000
        let wanted = (0..<elements).reduce(0) { $0 + $1 * $1 }
        let clock = ContinuousClock()
        guard sum(elements) == wanted else { throw MeasurementFailure("wrong results") }
        let start = clock.now
        var done = 0
        while clock.now - start < .seconds(settings.duration) {
            guard sum(elements) == wanted else { throw MeasurementFailure("wrong results") }
            done += elements
        }
        return Measurement(value: Double(done) / ((clock.now - start) / .seconds(1)))
    }

    private func sum(_ elements: Int) -> Int {
        self == .taskGroup ? Self.sumByTasks(elements) : Self.sumByBlocks(elements)
    }

    /// The sum of the squares, each by a child task.
    private static func sumByTasks(_ elements: Int) -> Int {
        let ended = DispatchSemaphore(value: 0)
        let sum = Mutex(0)
        Task.detached {
            let result = await withTaskGroup(of: Int.self) { group in
                for number in 0..<elements { group.addTask { number * number } }
                return await group.reduce(0, +)
            }
            sum.withLock { $0 = result }
            ended.signal()
        }
        ended.wait()
        return sum.withLock { $0 }
    }

    private static func sumByBlocks(_ elements: Int) -> Int {
        let sum = Atomic(0)
        let group = DispatchGroup()
        for number in 0..<elements {
            DispatchQueue.global().async(group: group) {
                sum.add(number * number, ordering: .relaxed)
            }
        }
        group.wait()
        return sum.load(ordering: .relaxed)
    }
}
