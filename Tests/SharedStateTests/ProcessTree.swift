// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What the kernel says of processes.
enum ProcessTree {
    struct Entry: Hashable {
        var pid: pid_t
        var parent: pid_t
        /// As in `ps`: `R`, `S`, `T`, `Z`, ...
        var state: Character
        /// Tells two processes of one number apart.
        var started: String
    }

    /// The processes below one, parents before children.
    static func below(_ root: pid_t) -> [Entry] {
        let all = numbers().compactMap(entry)
        var found: [Entry] = []
        var parents = [root]
        while let parent = parents.popLast() {
            let children = all.filter { $0.parent == parent }
            found += children
            parents += children.map(\.pid)
        }
        return found
    }

    /// Those that still run, or wait for a parent of their own number that still runs to reap them.
    ///
    /// The dead whose parent is gone are init's to reap, whenever it gets to it.
    static func remaining(of family: [Entry]) -> [Entry] {
        let left = family.compactMap { member -> Entry? in
            guard let now = entry(of: member.pid), now.started == member.started else { return nil }
            return now
        }
        let pids = Set(left.map(\.pid))
        return left.filter { $0.state != "Z" || pids.contains($0.parent) }
    }

    static func entry(of pid: pid_t) -> Entry? {
        let file = unsafe open("/proc/\(pid)/stat", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let length = unsafe read(file, &bytes, bytes.count)
        let text = String(decoding: bytes.prefix(max(0, length)), as: UTF8.self)
        // After the name, which may hold anything: state, parent, ... and the start as the 20th.
        guard let name = text.lastIndex(of: ")") else { return nil }
        let fields = text[name...].split(separator: " ").dropFirst()
        guard fields.count > 20, let parent = pid_t(fields[fields.startIndex + 1]) else {
            return nil
        }
        return Entry(
            pid: pid, parent: parent, state: Character(String(fields[fields.startIndex])),
            started: String(fields[fields.startIndex + 19]))
    }

    /// The number of the thread that asks, by which ``entry(of:)`` knows it.
    static var thisThread: pid_t {
        var path = [CChar](repeating: 0, count: 64)
        let length = unsafe readlink("/proc/thread-self", &path, path.count)
        let text = String(
            decoding: path.prefix(max(0, length)).map(UInt8.init(bitPattern:)), as: UTF8.self)
        return text.split(separator: "/").last.flatMap { pid_t($0) } ?? 0
    }

    /// Whether every thread of it is stopped by a signal.
    static func isStopped(_ pid: pid_t) -> Bool {
        let threads = numbers(in: "/proc/\(pid)/task")
        return !threads.isEmpty && threads.allSatisfy { entry(of: $0)?.state == "T" }
    }

    private static func numbers(in path: String = "/proc") -> [pid_t] {
        guard let folder = unsafe opendir(path) else { return [] }
        defer { unsafe closedir(folder) }
        var numbers: [pid_t] = []
        while let next = unsafe readdir(folder) {
            let name = unsafe withUnsafeBytes(of: &next.pointee.d_name) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let number = pid_t(name) { numbers.append(number) }
        }
        return numbers
    }
}
