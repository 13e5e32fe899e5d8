// SPDX-License-Identifier: Apache-2.0

import Glibc
import Ledger
import SharedState
import SharedStateActors
import Testing

private let long = Duration.seconds(60)

@Suite("Deaths of hosts and callers of distributed actors", .timeLimit(.minutes(2)))
struct ActorDeathTests {
    @Test func `programs that share a module call each other's actors`() async throws {
        let region = try Region.named("sharedstate.test.programs.\(getpid())")
        defer { try? Region.remove(region.name ?? "") }
        let system = try SharedActorSystem(in: region)
        // The second one takes the name over from the first, which is killed.
        for _ in 0..<2 {
            let program = try Program("ProcessFixture", ["hosts-ledger", region.name ?? ""])
            _ = try await program.lines(untilPrinted: "hosts")
            let ledger = try system.actor("ledger", as: Ledger.self)
            #expect(try await ledger.processIdentifier() == program.pid)
            #expect(try await ledger.book(Entry(what: "screws", amount: 5)) == 5)
            await #expect(throws: Overdrawn(amount: -6)) {
                _ = try await ledger.book(Entry(what: "nuts", amount: -6))
            }
            #expect(await code { try await ledger.lose() } == .taskFailed)
            kill(program.pid, SIGKILL)
            _ = try await program.finish()
            #expect(await code { _ = try await ledger.processIdentifier() } == .hostDied)
        }
    }

    @Test func `a stopped host is waited for until the deadline`() async throws {
        let host = try await Host("stopped")
        try host.process.signal(SIGSTOP)
        try await eventually { ProcessTree.entry(of: host.process.pid)?.state == "T" }
        // More than its inbox holds: some wait for room, some for their outcome.
        let late = await withTaskGroup(of: SharedStateError.Code?.self) { group in
            for _ in 0..<400 {
                group.addTask {
                    await code {
                        try await SharedActorSystem.withDeadline(after: .milliseconds(300)) {
                            _ = try await host.account.add(1)
                        }
                    }
                }
            }
            return await group.reduce(into: 0) { $0 += $1 == .timedOut ? 1 : 0 }
        }
        #expect(late == 400)
        try host.process.signal(SIGCONT)
        #expect(try await host.account.add(1) >= 1)
        try await host.finish()
    }

    @Test func `the death of a host ends every call of it`() async throws {
        let host = try await Host("dies")
        let (begun, cancelled) = (try Event(), try Event())
        async let ends = withTaskGroup(of: SharedStateError.Code?.self) { group in
            for _ in 0..<50 {
                group.addTask { await code { try await host.account.never(begun, cancelled) } }
            }
            return await group.reduce(into: 0) { $0 += $1 == .hostDied ? 1 : 0 }
        }
        try await begun.wait(timeout: long)
        try host.process.kill()
        #expect(await ends == 50)
        #expect(await code { _ = try await host.account.add(1) } == .hostDied)
    }

    @Test func `the death of a stopped host ends those who wait for room, too`() async throws {
        let host = try await Host("full")
        try host.process.signal(SIGSTOP)
        try await eventually { ProcessTree.entry(of: host.process.pid)?.state == "T" }
        async let ends = withTaskGroup(of: SharedStateError.Code?.self) { group in
            for _ in 0..<400 {
                group.addTask { await code { _ = try await host.account.add(1) } }
            }
            return await group.reduce(into: 0) { $0 += $1 == .hostDied ? 1 : 0 }
        }
        try host.process.kill()
        #expect(await ends == 400)
    }

    @Test func `hosts die at any instant: what was answered was carried out, once`() async throws {
        var inFlight = 0
        for round in 0..<20 {
            let counter = try ManagedCounter(0)
            let host = try await Host("random \(round)")
            // Whose death ends the calls, also if this fails.
            defer { try? host.process.kill() }
            let calls = (0..<4).map { _ in
                Task {
                    var answered = 0
                    while true {
                        do {
                            try await host.account.count(in: counter)
                            answered += 1
                        } catch let error as SharedStateError where error.code == .hostDied {
                            return answered
                        }
                    }
                }
            }
            try await eventually { counter.value > round * 5 }
            try host.process.kill()
            var answered = 0
            for task in calls { answered += try await task.value }
            let done = counter.value
            #expect(answered <= done && done <= answered + 4)
            inFlight += done - answered
        }
        #expect(inFlight <= 80)
    }

    @Test func `callers die at any instant: the host goes on, and inboxes are used again`()
        async throws
    {
        let region = try Region.named("sharedstate.test.callers.\(getpid())")
        defer { try? Region.remove(region.name ?? "") }
        let system = try SharedActorSystem(in: region)
        let account = Account(actorSystem: system)
        for round in 0..<20 {
            let before = try await account.balance
            let child = try ChildProcess.start(account) { account in
                await withThrowingTaskGroup { group in
                    for _ in 0..<4 {
                        group.addTask { while true { _ = try await account.add(1) } }
                    }
                }
            }
            while try await account.balance < before + 1 + round * 5 {
                try await Task.sleep(for: .milliseconds(1))
                try #require(child.isAlive)
            }
            try child.kill()
            try await child.join(timeout: long)
        }
        let inboxes = try region.names().filter { $0.hasPrefix("sharedstate.actors.") }
        #expect(inboxes.count <= 3, "\(inboxes)")
    }

    @Test func `who dies while it starts or ends a system holds nobody up`() async throws {
        let region = try Region.named("sharedstate.test.starts.\(getpid())")
        defer { try? Region.remove(region.name ?? "") }
        let name = region.name ?? ""
        for round in 0..<30 {
            let begun = try Event()
            let children = try (0..<2).map { number in
                try ChildProcess.start(name, number, begun) { name, number, begun in
                    let region = try Region(opening: name)
                    begun.set()
                    while true {
                        let system = try SharedActorSystem(in: region)
                        let account = Account(actorSystem: system)
                        do {
                            try system.setName("account \(number)", of: account)
                            try system.removeName("account \(number)")
                        } catch let error as SharedStateError where error.code == .alreadyExists {}
                    }
                }
            }
            try await begun.wait(timeout: long)
            usleep(useconds_t(round * 300))
            for child in children { try child.kill() }
            for child in children { try await child.join(timeout: long) }
            let system = try SharedActorSystem(in: region)
            for number in 0..<2 {
                try system.setName("account \(number)", of: Account(actorSystem: system))
                try system.removeName("account \(number)")
            }
        }
        let inboxes = try region.names().filter { $0.hasPrefix("sharedstate.actors.") }
        #expect(inboxes.count < 20, "\(inboxes)")
    }
}
