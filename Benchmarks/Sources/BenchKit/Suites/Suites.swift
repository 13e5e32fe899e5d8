// SPDX-License-Identifier: Apache-2.0

/// Every row there is, in the order of the table.
public enum Suites {
    /// All of them.
    public static let all: [Row] = [
        floors, ring, queue, messages, swiftQueue, lanes, broadcast, sync, locks, values,
        deaths, map, swiftMap, actors, pool, process, idle, memory,
    ].flatMap { $0 }

    /// Those whose name contains one of some words.
    ///
    /// - Parameters:
    ///   - filters: Parts of names; none selects the default rows.
    ///   - isAll: Whether none selects every row.
    /// - Returns: The rows, in order.
    public static func matching(_ filters: [String], all isAll: Bool = false) -> [Row] {
        guard !filters.isEmpty else { return all.filter { isAll || !$0.isMore } }
        return all.filter { row in filters.contains { row.name.contains($0) } }
    }

    /// What no library can do better than.
    internal static let floorNames: Set = [
        "ping-pong", "futex", "cas-pair", "memcpy", "two-memcpy", "memcpy-twice-fresh", "fork",
        "spawn", "atomic-add",
        "key-and-value", "plain-copy", "plain-array", "waitid",
    ]

    /// Whether it is neither a floor nor another face of this library.
    internal static func isPeer(_ name: String) -> Bool {
        !floorNames.contains(name) && !name.hasPrefix("own-") && !ours.contains(name)
    }

    private static let ours: Set = ["queue", "lock", "c-queue", "c-lanes", "c-broadcast"]
}
