// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// How many processes the kernel has killed for want of memory: in this process's cgroup, or, where
/// that cannot be read, on this machine.
internal struct OutOfMemoryCounter: Sendable {
    private let path: String
    private var seen: UInt64

    /// Counts from now on; `nil` where the kernel does not say.
    init?() {
        let memberships = Self.contents(of: "/proc/self/cgroup") ?? ""
        for path in Self.candidates(memberships) {
            guard let count = Self.count(in: path) else { continue }
            self.path = path
            seen = count
            return
        }
        return nil
    }

    /// Whether there was one more kill than was asked for; then that one is accounted for.
    mutating func takeKill() -> Bool {
        guard let count = Self.count(in: path), count > seen else { return false }
        seen += 1
        return true
    }

    /// The files that may hold the count, the most exact first.
    ///
    /// Each line of `/proc/self/cgroup` is `number:controllers:path`; version 2 has no controllers.
    /// In a container the path may be that of the host, with the container's own at the root.
    static func candidates(_ memberships: String) -> [String] {
        var paths: [String] = []
        for line in memberships.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let own = fields[2] == "/" ? "" : String(fields[2])
            if fields[1].isEmpty {
                for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
                    paths += ["\(root)\(own)/memory.events", "\(root)/memory.events"]
                }
            } else if fields[1].split(separator: ",").contains("memory") {
                let root = "/sys/fs/cgroup/memory"
                paths += ["\(root)\(own)/memory.oom_control", "\(root)/memory.oom_control"]
            }
        }
        return paths + ["/proc/vmstat"]
    }

    /// The number after `oom_kill` in a file of names and numbers.
    static func count(in path: String) -> UInt64? {
        guard let text = contents(of: path) else { return nil }
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ")
            if fields.count == 2, fields[0] == "oom_kill" { return UInt64(fields[1]) }
        }
        return nil
    }

    private static func contents(of path: String) -> String? {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes: [UInt8] = []
        var room = [UInt8](repeating: 0, count: 8192)
        while true {
            let count = unsafe read(file, &room, room.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { return nil }
            if count == 0 { return String(decoding: bytes, as: UTF8.self) }
            bytes += room[..<count]
        }
    }
}
