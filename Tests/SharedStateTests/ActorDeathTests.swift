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

    @Test func `an outcome that was put arrives, though its host is dead when it is read`()
        async throws
    {
        let region = try Region.named("sharedstate.test.answered.\(getpid())")
        let name = region.name ?? ""
        defer { try? Region.remove(name) }
        let (ready, begun, end) = (try Event(), try Latch(count: 1), try Event())
        let host = try ChildProcess.start(name, ready) { name, ready in
            let system = try SharedActorSystem(in: try Region(opening: name))
            try system.setName("account", of: Account(actorSystem: system))
            ready.set()
            try await Event().wait(timeout: long)
        }
        defer { try? host.kill() }
        #expect(try await ready.wait(timeout: long))
        let caller = try ChildProcess.start(name, begun, end) { name, begun, end in
            let system = try SharedActorSystem(in: try Region(opening: name))
            let account = try system.actor("account", as: Account.self)
            guard try await account.answer(begun, end) == 42 else { throw Wrong() }
        }
        #expect(try await begun.wait(timeout: long))
        try caller.signal(SIGSTOP)
        try await eventually { ProcessTree.entry(of: caller.pid)?.state == "T" }
        end.set()
        let inbox = try Queue<[UInt8]>(opening: "sharedstate.actors.1", in: region)
        try await eventually { inbox.count == 1 }
        try host.kill()
        try await host.join(timeout: long)
        try caller.signal(SIGCONT)
        #expect(try await caller.join(timeout: long) == .exited(code: 0))
    }

    @Test func `a caller that dies with a full inbox holds nobody up`() async throws {
        let region = try Region.named("sharedstate.test.fullinbox.\(getpid())")
        defer { try? Region.remove(region.name ?? "") }
        let account = Account(actorSystem: try SharedActorSystem(in: region))
        defer { withExtendedLifetime(account) {} }
        let (begun, end) = (try Latch(count: 400), try Event())
        let caller = try ChildProcess.start(account, begun, end) { account, begun, end in
            try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<400 { group.addTask { try await account.answer(begun, end) } }
                try await group.waitForAll()
            }
        }
        #expect(try await begun.wait(timeout: long))
        try caller.signal(SIGSTOP)
        try await eventually { ProcessTree.entry(of: caller.pid)?.state == "T" }
        end.set()
        let inbox = try Queue<[UInt8]>(opening: "sharedstate.actors.1", in: region)
        try await eventually { inbox.isFull }
        try caller.kill()
        try await caller.join(timeout: long)
        // The next one has that inbox, and what was for the dead is none of its business.
        let next = try ChildProcess.start(account) { account in
            for sum in 1...300 {
                guard try await account.add(1) == sum else { throw Wrong() }
            }
        }
        #expect(try await next.join(timeout: long) == .exited(code: 0))
        #expect(try region.names().filter { $0.hasPrefix("sharedstate.actors.") }.count <= 3)
    }

    // MARK: Deaths at any instant

    // These are done by a process of their own, whose tasks wait for nobody else's: those that are
    // killed work for as long as it takes to come to that.

    @Test func `hosts die at any instant: what was answered was carried out, once`() async throws {
        let child = try ChildProcess.start { () in
            for round in 0..<20 { try await ActorDeathTests.killHost(after: round * 5) }
        }
        #expect(try await child.join(timeout: long) == .exited(code: 0))
    }

    private static func killHost(after count: Int) async throws {
        let counter = try ManagedCounter(0)
        let host = try await Host("random \(count)")
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
        try await eventually { counter.value > count }
        try host.process.kill()
        var answered = 0
        for task in calls { answered += try await task.value }
        let done = counter.value
        guard answered <= done, done <= answered + 4 else {
            throw Wrong("\(answered) of \(done) were answered")
        }
    }

    @Test func `callers die at any instant: the host goes on, and inboxes are used again`()
        async throws
    {
        let child = try ChildProcess.start { () in
            let region = try Region.named("sharedstate.test.callers.\(getpid())")
            defer { try? Region.remove(region.name ?? "") }
            let account = Account(actorSystem: try SharedActorSystem(in: region))
            for round in 0..<20 {
                try await ActorDeathTests.killCaller(of: account, after: 1 + round * 5)
            }
            try ActorDeathTests.checkInboxes(of: region, most: 3)
        }
        #expect(try await child.join(timeout: long) == .exited(code: 0))
    }

    private static func killCaller(of account: Account, after count: Int) async throws {
        let before = try await account.balance
        let child = try ChildProcess.start(account) { account in
            await withThrowingTaskGroup { group in
                for _ in 0..<4 {
                    group.addTask { while true { _ = try await account.add(1) } }
                }
            }
        }
        while try await account.balance < before + count {
            try await Task.sleep(for: .milliseconds(1))
            guard child.isAlive else { throw Wrong("its calls have failed") }
        }
        try child.kill()
        try await child.join(timeout: long)
    }

    @Test func `who dies while it starts or ends a system holds nobody up`() async throws {
        let child = try ChildProcess.start { () in
            let region = try Region.named("sharedstate.test.starts.\(getpid())")
            defer { try? Region.remove(region.name ?? "") }
            for round in 0..<30 {
                try await ActorDeathTests.killStarting(
                    in: region, after: .microseconds(round * 300))
            }
            try ActorDeathTests.checkInboxes(of: region, most: 20)
        }
        #expect(try await child.join(timeout: long) == .exited(code: 0))
    }

    private static func killStarting(in region: Region, after time: Duration) async throws {
        let begun = try Event()
        let children = try (0..<2).map { number in
            try ChildProcess.start(region.name ?? "", number, begun) { name, number, begun in
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
        defer { for child in children { try? child.kill() } }
        guard try await begun.wait(timeout: long) else { throw Wrong("nobody has begun") }
        try await Task.sleep(for: time)
        for child in children { try child.kill() }
        for child in children { try await child.join(timeout: long) }
        let system = try SharedActorSystem(in: region)
        for number in 0..<2 {
            try system.setName("account \(number)", of: Account(actorSystem: system))
            try system.removeName("account \(number)")
        }
    }

    private static func checkInboxes(of region: Region, most: Int) throws {
        let inboxes = try region.names().filter { $0.hasPrefix("sharedstate.actors.") }
        guard inboxes.count <= most else { throw Wrong("\(inboxes)") }
    }
}
