// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// What the descendants of this process use, as the kernel counts it.
internal enum ProcessTree {
    /// What threads have used so far.
    internal struct Usage {
        /// Nanoseconds on a CPU.
        var cpu: UInt64 = 0
        /// How often they went to sleep.
        var sleeps: UInt64 = 0
    }

    /// A running process.
    internal struct Entry {
        let pid: Int32
        let parent: Int32
        /// Ticks of CPU time: its own, and of the children that it waited for.
        let ticks: UInt64
    }

    /// All descendants.
    static func descendants() -> [Entry] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        let all = names.compactMap(Int32.init).compactMap(entry)
        var found: [Entry] = []
        var parents: Set = [ProcessInfo.processInfo.processIdentifier]
        while !parents.isEmpty {
            let children = all.filter { parents.contains($0.parent) }
            found += children
            parents = Set(children.map(\.pid))
        }
        return found
    }

    /// The processes whose parent this one is.
    static func children() -> [Int32] {
        let own = ProcessInfo.processInfo.processIdentifier
        return descendants().filter { $0.parent == own }.map(\.pid)
    }

    /// What each thread of all descendants, and of this process but its main one, has used so far.
    static func usage() -> [String: Usage] {
        let own = ProcessInfo.processInfo.processIdentifier
        var found: [String: Usage] = [:]
        for pid in descendants().map(\.pid) + [own] {
            let threads =
                (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task"))
            for thread in threads ?? [] where thread != "\(own)" {
                found[thread] = usage("/proc/\(pid)/task/\(thread)")
            }
        }
        return found
    }

    /// What has been used between two looks, except by threads that have ended.
    static func used(from before: [String: Usage], to after: [String: Usage]) -> Usage {
        after.reduce(into: Usage()) { sum, entry in
            let past = before[entry.key] ?? Usage()
            guard entry.value.cpu >= past.cpu, entry.value.sleeps >= past.sleeps else { return }
            sum.cpu += entry.value.cpu - past.cpu
            sum.sleeps += entry.value.sleeps - past.sleeps
        }
    }

    /// Bytes of memory that a process shares with nobody.
    static func privateBytes(of pid: Int32) -> Double {
        text("/proc/\(pid)/smaps_rollup").split(separator: "\n")
            .filter { $0.hasPrefix("Private_Clean") || $0.hasPrefix("Private_Dirty") }
            .compactMap { $0.split(separator: " ").dropFirst().first.flatMap { Double($0) } }
            .reduce(0) { $0 + 1024 * $1 }
    }

    private static func usage(_ thread: String) -> Usage {
        let time = text("\(thread)/schedstat").split(separator: " ").first
        let line = text("\(thread)/status").split(separator: "\n")
            .first { $0.hasPrefix("voluntary_ctxt_switches") }
        let word = line?.split { $0 == ":" || $0 == "\t" }.last
        return Usage(
            cpu: time.flatMap { UInt64($0) } ?? 0, sleeps: word.flatMap { UInt64($0) } ?? 0)
    }

    /// After the name, which stands in parentheses: the parent is the second word, and the twelfth to
    /// the fifteenth are times in user's and kernel's code, its own and of children.
    private static func entry(_ pid: Int32) -> Entry? {
        let words =
            text("/proc/\(pid)/stat").split(separator: ")").last?.split(separator: " ") ?? []
        guard words.count > 14, let parent = Int32(words[1]) else { return nil }
        let ticks = words[11...14].compactMap { UInt64($0) }.reduce(0, +)
        return Entry(pid: pid, parent: parent, ticks: ticks)
    }

    private static func text(_ path: String) -> String {
        (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    }
}
