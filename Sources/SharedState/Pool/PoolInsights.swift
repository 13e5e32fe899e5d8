// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// What a pool's workers have done so far, read where they write it: in shared memory.
///
/// A handle: sent to another process, such as a monitor, it reads there, and goes on to after the
/// pool's end. Made by ``Pool/counters``.
///
/// - Threads, processes, tasks: safe; no worker is held up.
/// - Death: a dead worker's numbers stay until another one has its place.
public final class PoolCounters: Codable, Sendable {
    private let crew: Crew

    internal init(_ crew: Crew) { self.crew = crew }

    /// Opens what a sent handle names.
    public init(from decoder: any Decoder) throws {
        let place = try ObjectPlace(from: decoder)
        crew = try Crew(SharedObject(arriving: place))
    }

    /// Sends the handle; the numbers then live as long as their region.
    public func encode(to encoder: any Encoder) throws {
        try crew.place().encode(to: encoder)
    }

    /// What it says at this instant.
    public var insights: PoolInsights {
        PoolInsights(workers: (0..<crew.seats).compactMap(insight))
    }

    private func insight(_ seat: Int) -> WorkerInsight? {
        let number = crew[.worker, seat]
        let began = crew[.began, seat]
        guard number != 0, began != 0 else { return nil }
        let now = UInt64(max(0, cshm_now_ns()))
        let since = crew[.since, seat]
        let busy = crew[.busy, seat] + (since == 0 || since > now ? 0 : now - since)
        let slowest = (0..<Crew.slowest).map { crew.slow($0, in: seat) }
            .filter { $0.duration > 0 }.sorted { $0.duration > $1.duration }
        return WorkerInsight(
            number: Int(number), pid: Int32(truncatingIfNeeded: crew[.pid, seat]),
            tasks: Int(clamping: crew[.tasks, seat]), isWorking: crew.isBusy(seat),
            age: .nanoseconds(Int64(clamping: now > began ? now - began : 0)),
            working: .nanoseconds(Int64(clamping: busy)),
            slowest: slowest.map { slow in
                WorkerInsight.Task(
                    index: Int(clamping: slow.index),
                    duration: .nanoseconds(Int64(clamping: slow.duration)))
            })
    }
}

/// What a worker has done.
public struct WorkerInsight: Hashable, Sendable, Codable {
    /// One of its slowest tasks.
    public struct Task: Hashable, Sendable, Codable {
        /// The index of its element in its batch; of a chunk, of the first one.
        public let index: Int
        /// How long it took; of a chunk, on the average.
        public let duration: Duration
    }

    /// The pool's number of it: the first worker is 1, and no number is used twice.
    public let number: Int
    /// Its process.
    public let pid: Int32
    /// Tasks, or elements of maps, that it has done.
    public let tasks: Int
    /// Whether it has work at this instant.
    public let isWorking: Bool
    /// Time since it began.
    public let age: Duration
    /// How long of that it worked; zero unless that is measured (``Pool/Options/measures``).
    public let working: Duration
    /// Its slowest, the slowest first; none unless that is measured.
    public let slowest: [Task]

    /// How long it waited for work.
    public var waiting: Duration { max(.zero, age - working) }
}

/// What the workers of a pool have done.
public struct PoolInsights: Hashable, Sendable, Codable, CustomStringConvertible {
    /// One each, in the order of their seats.
    public let workers: [WorkerInsight]

    /// Tasks, or elements of maps, that the workers have done which there are now.
    public var tasks: Int { workers.reduce(0) { $0 + $1.tasks } }

    /// A table for people.
    public var description: String {
        let head = ["worker", "pid", "tasks", "age s", "working s", "share", "slowest ms"]
        let rows = workers.map { worker -> [String] in
            let age = worker.age / .seconds(1)
            let working = worker.working / .seconds(1)
            let share = age > 0 ? Int(100 * working / age) : 0
            let slowest = worker.slowest.map { decimals($0.duration / .milliseconds(1)) }
            return [
                "\(worker.number)", "\(worker.pid)", "\(worker.tasks)", decimals(age),
                decimals(working), "\(share) %", slowest.joined(separator: " "),
            ]
        }
        let widths = head.indices.map { column in
            ([head] + rows).map { $0[column].count }.max() ?? 0
        }
        return ([head] + rows).map { row in
            zip(row, widths).map { text, width in
                String(repeating: " ", count: width - text.count) + text
            }.joined(separator: "  ")
        }.joined(separator: "\n")
    }

    private func decimals(_ number: Double) -> String {
        let hundredths = Int((number * 100).rounded())
        let rest = hundredths % 100
        return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)"
    }
}

extension Pool {
    /// What its workers have done so far; with ``Options/measures``, also how long they worked.
    public var insights: PoolInsights { counters.insights }

    /// The same to be sent to another process, and read there.
    public var counters: PoolCounters { PoolCounters(core.crew) }
}
