// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// How much of the machine is this process's.
internal enum ProcessorLimits {
    /// CPUs that its threads may run on.
    static var affinity: Int {
        for line in (contents(of: "/proc/self/status") ?? "").split(separator: "\n") {
            guard line.hasPrefix("Cpus_allowed:") else { continue }
            let count = line.dropFirst(13).compactMap { $0.hexDigitValue?.nonzeroBitCount }
            return max(1, count.reduce(0, +))
        }
        return max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    }

    /// CPUs' worth of time that its cgroup is given, rounded up; `nil` without a limit.
    static var quota: Int? {
        if let text = contents(of: "/sys/fs/cgroup/cpu.max") { return quota(version2: text) }
        guard let quota = contents(of: "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
            let period = contents(of: "/sys/fs/cgroup/cpu/cpu.cfs_period_us")
        else { return nil }
        return Self.quota(version2: "\(quota) \(period)")
    }

    /// Of "quota period", or "max period".
    static func quota(version2 text: String) -> Int? {
        let numbers = text.split(whereSeparator: \.isWhitespace).map { Int($0) }
        guard numbers.count == 2, let quota = numbers[0], let period = numbers[1], quota > 0,
            period > 0
        else { return nil }
        return (quota + period - 1) / period
    }

    private static func contents(of path: String) -> String? {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { Glibc.close(file) }
        var room = [UInt8](repeating: 0, count: 8192)
        let count = unsafe read(file, &room, room.count)
        return count > 0 ? String(decoding: room[..<count], as: UTF8.self) : nil
    }
}
