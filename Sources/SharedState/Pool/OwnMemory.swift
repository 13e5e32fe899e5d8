// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc

/// How much memory this process has for itself, looked at now and then.
internal struct OwnMemory {
    /// Between two looks, in nanoseconds.
    private static let pause: Int64 = 5_000_000

    private let limit: UInt64
    private var last: Int64 = 0

    /// A limit of 0 is none.
    init(limit: UInt64) { self.limit = limit }

    /// Whether it is more than the limit.
    var isTooMuch: Bool {
        mutating get {
            guard limit > 0 else { return false }
            let now = cshm_now_ns()
            guard now - last > Self.pause else { return false }
            last = now
            return Self.bytes > limit
        }
    }

    /// What is resident and not shared with others: the family's region does not count.
    private static var bytes: UInt64 {
        let file = unsafe open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return 0 }
        defer { close(file) }
        var room = [UInt8](repeating: 0, count: 256)
        let count = unsafe read(file, &room, room.count)
        guard count > 0 else { return 0 }
        let pages = String(decoding: room[..<count], as: UTF8.self).split(separator: " ")
            .map { UInt64($0) ?? 0 }
        guard pages.count > 2, pages[1] > pages[2] else { return 0 }
        return (pages[1] - pages[2]) * UInt64(sysconf(Int32(_SC_PAGESIZE)))
    }
}
