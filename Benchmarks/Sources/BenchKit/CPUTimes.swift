// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// The CPUs' time so far, in seconds, and this program's part of it.
///
/// Ours is what this process has used, what the children had used that it waited for, and what all
/// that descend from it and still live, or are zombies, have used or waited for: a zygote's workers
/// are among these. Whoever dies moves from the last to the second, and nothing is lost.
internal struct CPUTimes {
    /// Not idle.
    let busy: Double
    /// Idle or not.
    let total: Double
    /// Ours.
    let own: Double

    static func now() -> CPUTimes {
        let line =
            (try? String(contentsOfFile: "/proc/stat", encoding: .utf8))?
            .prefix { $0 != "\n" } ?? ""
        // user nice system idle iowait irq softirq steal
        let ticks = line.split(separator: " ").dropFirst().prefix(8).compactMap { Double($0) }
        guard ticks.count == 8 else { return CPUTimes(busy: 0, total: 0, own: 0) }
        let hertz = Double(sysconf(Int32(_SC_CLK_TCK)))
        let total = ticks.reduce(0, +) / hertz
        return CPUTimes(
            busy: total - (ticks[3] + ticks[4]) / hertz, total: total,
            own: used(RUSAGE_SELF.rawValue) + used(RUSAGE_CHILDREN.rawValue)
                + ProcessTree.descendants().reduce(0) { $0 + Double($1.ticks) / hertz })
    }

    /// Of the CPUs' time between two looks, the part that neither was idle nor ours.
    static func foreignShare(from: CPUTimes, to: CPUTimes) -> Double {
        let total = to.total - from.total
        guard total > 0 else { return 0 }
        return Swift.max(0, (to.busy - from.busy) - (to.own - from.own)) / total
    }

    private static func used(_ who: Int32) -> Double {
        var usage = rusage()
        _ = unsafe getrusage(__rusage_who_t(who), &usage)
        return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
            + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
    }
}
