// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import SharedState

@Suite("Exit reports")
struct ExitReportTests {
    @Test func `a report says what was used`() throws {
        let child = try ChildProcess.start { () in
            let size = 64 << 20
            guard let memory = unsafe malloc(size) else { throw SharedStateError(.full, "malloc") }
            defer { unsafe free(memory) }
            unsafe memset(memory, 1, size)
            let start = clock()
            while clock() - start < clock_t(CLOCKS_PER_SEC) / 50 {}
        }
        #expect(try child.join(timeout: .seconds(20)).isSuccess)
        let report = try #require(child.exitReport)
        let usage = try #require(report.usage)
        #expect(report.pid == child.pid)
        #expect(usage.peakMemory >= 64 << 20)
        #expect(usage.userTime + usage.systemTime >= .milliseconds(20))
        #expect(!report.isOutOfMemory && !report.hasDiedWithZygote && !report.hasDumpedCore)
        #expect(report.description.hasPrefix("exit code 0, at most "))
    }

    @Test func `a SIGKILL from a stranger is not for want of memory`() throws {
        let child = try ChildProcess.start { () in _ = pause() }
        kill(child.pid, SIGKILL)
        #expect(try child.join(timeout: .seconds(20)) == .signalled(SIGKILL))
        #expect(child.exitReport?.isOutOfMemory == false)
    }

    @Test(.enabled(if: MemoryGroup.isAvailable(), "no right to make a cgroup"))
    func `who is killed for want of memory is told from who is killed`() async throws {
        let group = try MemoryGroup(limit: 512 << 20)
        let output = try await Program.run(
            "ProcessFixture", ["out-of-memory"], launcher: group.launcher)
        #expect(output.out == "SIGKILL true\n", "\(output)")
    }

    @Test(arguments: [
        ("0::/user.slice\n", "/sys/fs/cgroup/user.slice/memory.events"),
        ("4:memory:/jobs/7\n0::/\n", "/sys/fs/cgroup/memory/jobs/7/memory.oom_control"),
        ("5:cpu,memory:/a:b\n", "/sys/fs/cgroup/memory/a:b/memory.oom_control"),
        ("nonsense\n\n:", "/proc/vmstat"),
    ])
    func `the count is looked for where the cgroup is`(memberships: String, first: String) {
        let paths = OutOfMemoryCounter.candidates(memberships)
        #expect(paths.first == first)
        #expect(paths.last == "/proc/vmstat")
    }

    @Test(arguments: [
        (Int32(0), "exit code 0"), (3 << 8, "exit code 3"), (SIGSEGV | 0x80, "SIGSEGV"),
        (SIGTERM, "SIGTERM"), (40, "signal 40"),
    ])
    func `a wait status has a name`(status: Int32, name: String) {
        #expect(ChildProcess.ExitStatus(waitStatus: status).description == name)
    }
}

/// A cgroup of this run's own, with a limit of memory.
private final class MemoryGroup {
    struct Unavailable: Error {}

    private let path: String

    init(limit: Int) throws {
        // Version 1 where there is a hierarchy of that, as the controller is there then.
        let isOld = unsafe access("/sys/fs/cgroup/memory", F_OK) == 0
        let root = isOld ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup"
        path = "\(root)/sharedstate.\(getpid()).\(limit)"
        guard unsafe mkdir(path, 0o755) == 0 else { throw Unavailable() }
        let file = isOld ? "memory.limit_in_bytes" : "memory.max"
        guard Self.write("\(limit)", to: "\(path)/\(file)") else { throw Unavailable() }
    }

    deinit { unsafe rmdir(path) }

    /// A command that joins the group and becomes another one.
    var launcher: [String] {
        ["/bin/sh", "-c", "echo $$ >\(path)/cgroup.procs && exec \"$@\"", "sh"]
    }

    static func isAvailable() -> Bool { (try? MemoryGroup(limit: 64 << 20)) != nil }

    private static func write(_ text: String, to path: String) -> Bool {
        let file = unsafe open(path, O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return false }
        defer { close(file) }
        let bytes = Array(text.utf8)
        return unsafe Glibc.write(file, bytes, bytes.count) == bytes.count
    }
}
