// SPDX-License-Identifier: Apache-2.0

/// What waiting costs, and what memory.
extension Suites {
    internal static let idle: [Row] =
        [IdleProbe.Waiter.queue, .task, .condition, .event, .pool].flatMap { waiter in
            [
                Row(
                    "idle/cpu/0/\(waiter.rawValue)", .cpu, about(waiter, "CPU time in a second"),
                    IdleProbe(waiter: waiter, unit: .cpu), against: python(waiter, "cpu"),
                    isMore: waiter != .queue && waiter != .pool),
                Row(
                    "idle/wake-ups/0/\(waiter.rawValue)", .wakeUps, about(waiter, "wake-ups"),
                    IdleProbe(waiter: waiter, unit: .wakeUps), against: python(waiter, "wake-ups"),
                    isMore: true),
            ]
        }

    internal static let memory: [Row] =
        ["ring", "queue", "lanes", "broadcast"].map { noun in
            object(noun, 64, "one of 1024 slots of 64 bytes")
        }
        + [
            "mutex", "condition", "barrier", "rwlock", "semaphore", "permits", "event", "latch",
            "once", "baton", "list", "map",
        ].map { noun in
            object(noun, 8, "an empty one, for 16 parties where it has some")
        } + [
            object("value", 64, "one of 64 bytes"),
            object("array", 64, "1024 elements of 64 bytes"),
            Row(
                "memory/map-entry/64/1", .bytes, "a key of 16 and a value of 64 bytes in a map",
                FunctionProbe.memory(of: "map-entry", size: 64),
                against: [FunctionProbe("key-and-value") { _ in 80 }]),
            Row(
                "memory/map-replaced/64/1", .bytes,
                "what a region has committed for such an entry, after 10 million replaces",
                FunctionProbe.memory(of: "map-replaced", size: 64),
                against: [FunctionProbe.memory(of: "map-fresh", as: "own-fresh", size: 64)]),
            Row(
                "memory/worker/0/1", .bytes, "what an idle worker of a pool has for itself",
                WorkerMemoryProbe(),
                against: [
                    PythonProbe(
                        name: "python-pool", script: "mp_idle.py", arguments: ["memory"])
                ]),
        ]

    private static func object(_ noun: String, _ size: UInt32, _ about: String) -> Row {
        Row(
            "memory/\(noun)/\(size)/1", .bytes, about,
            FunctionProbe.memory(of: noun, size: size), isMore: true)
    }

    private static func about(_ waiter: IdleProbe.Waiter, _ what: String) -> String {
        switch waiter {
        case .queue: "\(what) of a child in Queue.get"
        case .task: "\(what) of a child in await Queue.get"
        case .condition: "\(what) of a child in Condition.wait"
        case .event: "\(what) of a child in Event.wait"
        case .pool: "\(what) of a pool of two without work"
        }
    }

    private static func python(_ waiter: IdleProbe.Waiter, _ what: String) -> [any Probe] {
        let name = waiter == .pool ? "python-pool" : waiter == .queue ? "python-queue" : nil
        return name.map { name in
            [
                PythonProbe(
                    name: name, script: "mp_idle.py", arguments: [what, waiter.rawValue])
            ]
        } ?? []
    }
}
