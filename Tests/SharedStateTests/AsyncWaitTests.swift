// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(60)

/// The waits of tasks for what another process has: all there are, each in the same way.
@Suite("Waits of tasks", .serialized)
struct AsyncWaitTests {
    @Test(arguments: Awaited.Kind.allCases)
    func `a task that gives up leaves nothing behind, and the others get it`(
        kind: Awaited.Kind
    ) async throws {
        let awaited = try Awaited(kind, parties: 3)
        let keeper = try await Keeper(awaited)
        let before = awaited.state
        for timeout in [Duration.milliseconds(30), .zero, .milliseconds(-1)] {
            let start = ContinuousClock.now
            #expect(try await awaited.end(timeout: timeout) == awaited.endOfTime)
            #expect(ContinuousClock.now - start >= timeout)
            if case .barrier(let barrier) = awaited {
                #expect(barrier.isBroken)
                barrier.repair()
            }
            #expect(awaited.state == before)
        }
        // Cancelled before it waits, most likely, and while it does.
        for patience in [Duration.zero, .milliseconds(10)] {
            let task = Task { try await awaited.end() }
            if patience > .zero { try await Task.sleep(for: patience) }
            task.cancel()
            #expect(try await task.value == .cancelled)
            if case .barrier(let barrier) = awaited { barrier.repair() }
            #expect(awaited.state == before)
        }

        let other = try ChildProcess.start(awaited) { exit(try $0.wait() ? 0 : 3) }
        let task = Task { try await awaited.end() }
        // One more, who leaves when it could be had; at a barrier that would be a party.
        let doomed = kind == .barrier ? nil : Task { try await awaited.end() }
        keeper.letGo()
        doomed?.cancel()
        #expect(try await task.value == .had)
        if let end = try await doomed?.value { #expect(end == .had || end == .cancelled) }
        #expect(try await other.join(timeout: long) == .exited(code: 0))
        #expect(try await keeper.child.join(timeout: long) == .exited(code: 0))
        let untouched = try Awaited(kind, parties: 1)
        try untouched.keep {}
        #expect(awaited.state == untouched.state)
    }

    /// A barrier is not among them: the death of a party breaks it.
    @Test(arguments: Awaited.Kind.allCases.filter { $0 != .barrier })
    func `a process that is stopped and killed while its task waits keeps it from nobody`(
        kind: Awaited.Kind
    ) async throws {
        let awaited = try Awaited(kind, parties: 1)
        let keeper = try await Keeper(awaited)
        let isAboutTo = try Event()
        let victim = try ChildProcess.start(awaited, isAboutTo) { awaited, isAboutTo in
            try inTask {
                isAboutTo.set()
                _ = try await awaited.end()
            }
            while true { pause() }
        }
        defer { _ = try? victim.kill() }
        #expect(try await isAboutTo.wait(timeout: long))
        let other = try ChildProcess.start(awaited) { awaited in
            if try !awaited.wait() { exit(3) }
        }
        let task = Task { try await awaited.end() }
        try await Task.sleep(for: .milliseconds(10))
        // Wherever it waits, most likely; it takes nothing, and a wake that was for it goes to another.
        try victim.signal(SIGSTOP)
        try await eventually { ProcessTree.isStopped(victim.pid) }
        keeper.letGo()
        #expect(try await keeper.child.join(timeout: long) == .exited(code: 0))
        try victim.kill()
        #expect(try await victim.join(timeout: long) == .signalled(SIGKILL))
        #expect(try await task.value == .had)
        #expect(try await other.join(timeout: long) == .exited(code: 0))
        let untouched = try Awaited(kind, parties: 1)
        try untouched.keep {}
        #expect(awaited.state == untouched.state)
    }

    @Test(arguments: Awaited.Kind.allCases)
    func `tasks that wait hold no thread, and the others run and end`(
        kind: Awaited.Kind
    ) async throws {
        // More than there are threads for tasks, also where some were started for those that block.
        let count = max(64, 4 * sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        let awaited = try Awaited(kind, parties: count + 1)
        // If they held the threads, nobody would tell it to let go: it does so then, and says so.
        let keeper = try await Keeper(awaited, patience: .seconds(20))
        let begun = Count()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<count {
                group.addTask {
                    begun.add()
                    let end = try await awaited.end()
                    #expect(end == .had)
                }
            }
            group.addTask {
                try await eventually { begun.value == count }
                let sum = await unrelatedWork()
                #expect(sum == 28)
                keeper.letGo()
            }
            try await group.waitForAll()
        }
        #expect(try await keeper.child.join(timeout: long) == .exited(code: 0))
    }
}

/// Tasks that have nothing to do with what the others wait for.
private func unrelatedWork() async -> Int {
    await withTaskGroup(of: Int.self) { group in
        for n in 0..<8 {
            group.addTask {
                for _ in 0..<10 { await Task.yield() }
                return n
            }
        }
        return await group.reduce(0, +)
    }
}
