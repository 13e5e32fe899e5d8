// SPDX-License-Identifier: Apache-2.0

import EarlyThread
import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

/// Nothing outlives its owner, whoever is killed and however it resists.
@Suite("Deaths of processes", .timeLimit(.minutes(2)))
struct ProcessDeathTests {
    @Test func `when a parent is killed, its most stubborn descendants end`() async throws {
        let family = try await StubbornFamily()
        kill(family.program.pid, SIGKILL)
        #expect(try await family.program.finish().status == -SIGKILL)
        await family.expectNothingLeft(of: family.members)
    }

    @Test func `when parent and zygote are killed at once, all that they started end`() async throws
    {
        let family = try await StubbornFamily()
        let zygote = try #require(family.members.first { $0.parent == family.program.pid })
        kill(zygote.pid, SIGKILL)
        kill(family.program.pid, SIGKILL)
        #expect(try await family.program.finish().status == -SIGKILL)
        // What a child forked by itself has nobody left who knows of it.
        let children = family.members.filter { $0.parent == zygote.pid } + [zygote]
        await family.expectNothingLeft(of: children)
        for member in family.members { kill(member.pid, SIGKILL) }
        await family.expectNothingLeft(of: family.members)
    }

    @Test func `a child sees its parent die before it is killed itself`() async throws {
        // A stopped process that a death leaves without a session's care is continued by the kernel,
        // so that the zygote may be the first to know of it. Again, then.
        var attempts = 0
        while try await !childSeesParentDie() {
            attempts += 1
            try #require(attempts < 100)
        }
    }

    /// Holds the zygote up while the program is killed, as it cannot kill the child then.
    private func childSeesParentDie() async throws -> Bool {
        let program = try Program("ProcessFixture", ["sees-parent-die"])
        let lines = try await program.lines(untilPrinted: "zygote ")
        let zygote = try #require(pid_t(lines.last?.dropFirst(7) ?? ""))
        let members = ProcessTree.below(program.pid)
        let child = try #require(members.first { $0.parent == zygote })
        kill(zygote, SIGSTOP)
        kill(program.pid, SIGKILL)
        _ = try await program.finish()
        try await expectEnd(of: [child])
        kill(zygote, SIGCONT)
        try await expectEnd(of: members)
        return try program.printed().contains("dead false\n")
    }

    @Test func `a stopped child is alive, and can be killed`() async throws {
        let child = try ChildProcess.start { () in
            kill(getpid(), SIGSTOP)
            while true { pause() }
        }
        try await eventually { ProcessTree.entry(of: child.pid)?.state == "T" }
        #expect(child.isAlive)
        try child.terminate()
        await #expect(throws: SharedStateError.self) {
            try await child.join(timeout: .milliseconds(20))
        }
        try child.kill()
        #expect(try await child.join(timeout: long) == .signalled(SIGKILL))
    }

    @Test func `a child that ignores SIGTERM can be killed`() async throws {
        let ready = try Queue<Int>()
        let child = try ChildProcess.start(ready) { ready in
            signal(SIGTERM, SIG_IGN)
            try ready.put(1)
            while true { pause() }
        }
        _ = try await ready.get(timeout: long)
        try child.terminate()
        await #expect(throws: SharedStateError.self) {
            try await child.join(timeout: .milliseconds(20))
        }
        try child.kill()
        #expect(try await child.join(timeout: long) == .signalled(SIGKILL))
    }

    @Test func `what a child forked ends with it, and lets go of its place in the region`()
        async throws
    {
        let region = try Queue<Int>()
        let pids = try Queue<Int32>()
        let child = try ChildProcess.start(pids, region) { pids, _ in
            let forked = fork_here()
            if forked == 0 { while true { pause() } }
            try pids.put(forked)
        }
        let forked = try await pids.get(timeout: long)
        let entry = ProcessTree.entry(of: forked)
        #expect(try await child.join(timeout: long) == .exited(code: 0))
        try await expectEnd(of: [entry].compactMap { $0 })
    }

    @Test func `a child that has closed every descriptor is waited for like any other`()
        async throws
    {
        let child = try ChildProcess.start { () in
            close_all()
            exit(5)
        }
        #expect(try await child.join(timeout: long) == .exited(code: 5))
        let killed = try ChildProcess.start { () in
            close_all()
            while true { pause() }
        }
        try killed.kill()
        #expect(try await killed.join(timeout: long) == .signalled(SIGKILL))
    }

    @Test func `a child that becomes another program is still a child`() async throws {
        let child = try ChildProcess.start { () in unsafe become_sleep("1000") }
        try await eventually { ProcessTree.name(of: child.pid) == "sleep" }
        #expect(child.isAlive)
        try child.kill()
        #expect(try await child.join(timeout: long) == .signalled(SIGKILL))
        let other = try ChildProcess.start { () in unsafe become_sleep("0") }
        #expect(try await other.join(timeout: long) == .exited(code: 0))
    }

    @Test func `when the zygote is killed, its children end and the next one has another`() async {
        await #expect(processExitsWith: .success) {
            let child = try ChildProcess.start { () in while true { pause() } }
            let zygote = try #require(ProcessTree.entry(of: child.pid)?.parent)
            // It heeds no signal but this one.
            kill(zygote, SIGINT)
            kill(zygote, SIGTERM)
            let other = try ChildProcess.start(zygote) { exit($0 == getppid() ? 0 : 1) }
            #expect(try await other.join(timeout: .seconds(30)) == .exited(code: 0))
            kill(zygote, SIGKILL)
            #expect(try await child.join(timeout: .seconds(30)) == .signalled(SIGKILL))
            #expect(child.exitReport?.hasDiedWithZygote == true)
            #expect(child.exitReport?.usage == nil)
            let next = try ChildProcess.start(zygote) { exit($0 == getppid() ? 1 : 0) }
            #expect(try await next.join(timeout: .seconds(30)) == .exited(code: 0))
        }
    }

    @Test func `a thousand children leave no descriptor, no zombie and no memory`() async {
        await #expect(processExitsWith: .success) {
            func round(_ count: Int) async throws {
                for _ in 0..<count / 10 {
                    let children = try (0..<10).map {
                        try ChildProcess.start($0) { exit(Int32($0)) }
                    }
                    for (number, child) in children.enumerated() {
                        #expect(
                            try await child.join(timeout: .seconds(30))
                                == .exited(code: Int32(number)))
                    }
                }
            }
            try await round(100)
            let descriptors = openDescriptors().count
            let before = ResidentMemory.of(ProcessTree.below(getpid()).map(\.pid) + [getpid()])
            try await round(1000)
            // Threads that have just been of use may still be closing theirs; one each would be 1000.
            #expect(openDescriptors().count < descriptors + 10)
            let below = ProcessTree.below(getpid())
            #expect(below.count == 1, "more than the zygote: \(below)")
            let after = ResidentMemory.of(below.map(\.pid) + [getpid()])
            // A kilobyte each would be a megabyte. A sanitizer keeps as much for itself.
            #expect(after - before < 1 << 20 || isSanitized(), "\(before) to \(after)")
            #expect(ChildProcess.activeChildren.isEmpty)
        }
    }

    @Test func `a program that succeeds waits for its children, but not for daemons`() async throws
    {
        let waits = try await Program.run("ProcessFixture", ["waits"])
        #expect(waits.status == 0 && waits.out.contains("done\n"), "\(waits)")
        let leaves = try await Program.run("ProcessFixture", ["leaves-daemon"])
        #expect(leaves.status == 0 && leaves.out == "end of main\n", "\(leaves)")
    }

    @Test func `a program that fails takes its children along`() async throws {
        #expect(try await Program.run("ProcessFixture", ["fails"]).status == 3)
    }

    @Test(arguments: ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
    func `without its standard streams it starts and ends all the same`(closing: String)
        async throws
    {
        let output = try await Program.run(
            "ProcessFixture", ["one-child"],
            launcher: ["/bin/sh", "-c", "exec \"$@\" \(closing)", "sh"])
        #expect(output.status == 0, "\(output)")
        if closing == "<&-" || closing == "2>&-" {
            #expect(output.out == "seven 6\nexit code 0\n")
        }
    }

    @Test func `where a library has started a thread, children are spawned and not forked`()
        async throws
    {
        let output = try await Program.run(
            "ProcessFixture", ["early-thread"], launcher: ["/usr/bin/env", "EARLY_THREAD=1"])
        var lines = output.out.split(separator: "\n").map(String.init)
        let left = try #require(pid_t(lines.popLast()?.dropFirst(5) ?? ""))
        #expect(
            lines == [
                "1", "exit code 0 49", "yes", "mint", "none", "true false", "[0, 1, 4, 9]",
                "SIGKILL",
            ], "\(output)")
        #expect(output.status == 1)
        try await expectEnd(of: [ProcessTree.entry(of: left)].compactMap { $0 })
    }

    @Test func `a program whose main runs with the hand-shake set starts nothing`() async throws {
        for value in ["1", "2 7", "nonsense"] {
            let output = try await Program.run(
                "ProcessFixture", ["one-child"],
                launcher: ["/usr/bin/env", "SHAREDSTATE_WORKER=\(value)"])
            #expect(output.status == 126 && output.out.isEmpty, "\(output)")
            #expect(output.err.contains("unset it"), "\(output)")
        }
    }

    @Test func `a program that cannot host workers says so`() async throws {
        let loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"]
        let loader = try #require(loaders.first { unsafe access($0, X_OK) == 0 })
        let output = try await Program.run("ProcessFixture", ["one-child"], launcher: [loader])
        #expect(output.out.isEmpty)
        #expect(output.err.contains("this program cannot host workers"), "\(output)")
    }
}

/// `ProcessFixture family`, when all of it is there.
private struct StubbornFamily {
    let program: Program
    let members: [ProcessTree.Entry]

    init() async throws {
        program = try Program("ProcessFixture", ["family"])
        _ = try await program.lines(untilPrinted: "ready")
        var found: [ProcessTree.Entry] = []
        // One stops itself after it has said that it is there, one becomes another program.
        while !found.contains(where: { $0.state == "T" })
            || !found.contains(where: { ProcessTree.name(of: $0.pid) == "sleep" })
        {
            try await Task.sleep(for: .milliseconds(2))
            found = ProcessTree.below(program.pid)
        }
        members = found
        // The zygote, six children, the zygote of one of them and its child, and a fork.
        #expect(members.count == 10, "\(members)")
    }

    func expectNothingLeft(of family: [ProcessTree.Entry]) async {
        try? await expectEnd(of: family)
    }
}

/// Waits, for as long as a test may take, until none of them is left.
private func expectEnd(of family: [ProcessTree.Entry]) async throws {
    let end = ContinuousClock.now + .seconds(20)
    while !ProcessTree.remaining(of: family).isEmpty, ContinuousClock.now < end {
        try await Task.sleep(for: .milliseconds(5))
    }
    #expect(ProcessTree.remaining(of: family) == [])
}

extension ProcessTree {
    fileprivate static func name(of pid: pid_t) -> String? {
        let file = unsafe open("/proc/\(pid)/comm", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 64)
        let length = unsafe read(file, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, length - 1)), as: UTF8.self)
    }
}

private enum ResidentMemory {
    /// Bytes that processes have for themselves; what they share of the region is not theirs.
    static func of(_ pids: [pid_t]) -> Int {
        pids.reduce(0) { sum, pid in
            let file = unsafe open("/proc/\(pid)/statm", O_RDONLY | O_CLOEXEC)
            guard file >= 0 else { return sum }
            defer { close(file) }
            var bytes = [UInt8](repeating: 0, count: 256)
            let length = unsafe read(file, &bytes, bytes.count)
            let fields = String(decoding: bytes.prefix(max(0, length)), as: UTF8.self)
                .split(separator: " ").compactMap { Int($0) }
            return fields.count > 2
                ? sum + (fields[1] - fields[2]) * sysconf(Int32(_SC_PAGESIZE)) : sum
        }
    }
}
