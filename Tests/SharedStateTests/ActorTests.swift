// SPDX-License-Identifier: Apache-2.0

import Distributed
import Glibc
import Ledger
import SharedState
import SharedStateActors
import Testing

private let long = Duration.seconds(60)

private struct OnlyText: Error {}

/// What a child ends with whose call had another outcome than it should.
struct Wrong: Error {
    let what: String

    init(_ what: String = "") { self.what = what }
}

/// Not private, as it is a parameter of its own functions, which the runtime looks up by their names.
distributed actor Account {
    typealias ActorSystem = SharedActorSystem

    private var total = 0

    distributed func add(_ amount: Int) throws -> Int {
        guard amount > 0 else { throw Overdrawn(amount: amount) }
        total += amount
        return total
    }

    distributed func reset() { total = 0 }

    distributed var balance: Int { total }

    distributed func fail() throws { throw OnlyText() }

    distributed func reversed<Item: Codable & Sendable>(_ items: [Item], _ also: String) -> [Item] {
        also == "also" ? items.reversed() : []
    }

    distributed func pass(_ queue: Queue<Int>, _ amount: Int) throws -> Queue<Int> {
        try queue.put(amount)
        return queue
    }

    /// Calls who calls.
    distributed func report(to other: Account) async throws -> Int {
        try await other.add(total)
    }

    /// Counts before it returns.
    distributed func count(in counter: ManagedCounter) { counter.increment() }

    distributed func processIdentifier() -> Int32 { getpid() }

    /// Says that it was called, and returns once it may.
    distributed func answer(_ begun: Latch, _ end: Event) async throws -> Int {
        begun.countDown()
        guard try await end.wait(timeout: long) else { throw Wrong() }
        return 42
    }

    /// Holds its thread.
    distributed func block(_ begun: Latch, _ end: Event) throws {
        begun.countDown()
        try hold(until: end)
    }

    /// Does not return unless it is cancelled, of which it tells.
    distributed func never(_ begun: Event, _ cancelled: Event) async throws {
        begun.set()
        while !Task.isCancelled { try? await Task.sleep(for: .seconds(60)) }
        cancelled.set()
        throw CancellationError()
    }
}

/// Waits, and holds the thread, also in async code.
private func hold(until event: Event) throws {
    guard try event.wait(timeout: long) else { throw Wrong() }
}

private func hold(until latch: Latch) throws {
    guard try latch.wait(timeout: long) else { throw Wrong() }
}

distributed actor Stranger {
    typealias ActorSystem = SharedActorSystem
    distributed func hello() -> String { "hello" }
}

/// A process that hosts an account until it is told to end.
struct Host {
    let process: ChildProcess
    let account: Account
    let end: Event

    init(_ name: String) async throws {
        let ready = try Event()
        end = try Event()
        process = try ChildProcess.start(name, ready, end) { name, ready, end in
            let system = try SharedActorSystem()
            try system.setName(name, of: Account(actorSystem: system))
            ready.set()
            try await end.wait()
        }
        try await ready.wait(timeout: long)
        account = try SharedActorSystem().actor(name, as: Account.self)
    }

    func finish() async throws {
        end.set()
        #expect(try await process.join(timeout: long) == .exited(code: 0))
    }
}

@Suite("Distributed actors", .timeLimit(.minutes(2)))
struct ActorTests {
    @Test func `an actor that was sent is called by who has it`() async throws {
        let account = Account(actorSystem: try SharedActorSystem())
        let children = try (0..<3).map { _ in
            try ChildProcess.start(account) { account in
                for _ in 0..<100 { _ = try await account.add(2) }
                guard try await account.balance >= 200 else { throw Wrong() }
            }
        }
        for child in children {
            #expect(try await child.join(timeout: long) == .exited(code: 0))
        }
        #expect(try await account.balance == 600)
    }

    @Test func `arguments and results are whatever can cross`() async throws {
        let host = try await Host("any")
        let account = host.account
        #expect(try await account.processIdentifier() == host.process.pid)
        #expect(try await account.add(7) == 7)
        try await account.reset()
        #expect(try await account.balance == 0)
        #expect(try await account.reversed(["a", "b"], "also") == ["b", "a"])
        let large = (0..<1 << 17).map { Double($0) }
        #expect(try await account.reversed(large, "also") == large.reversed())
        let queue = try Queue<Int>()
        let same = try await account.pass(queue, 5)
        #expect(try await queue.get(timeout: long) == 5)
        try await same.put(6)
        #expect(try queue.tryGet() == 6)
        let mine = Account(actorSystem: try SharedActorSystem())
        _ = try await account.add(11)
        #expect(try await account.report(to: mine) == 11)
        #expect(try await mine.balance == 11)
        try await host.finish()
    }

    @Test func `what a function throws is thrown where it was called`() async throws {
        let host = try await Host("throws")
        await #expect(throws: Overdrawn(amount: -1)) { try await host.account.add(-1) }
        do {
            try await host.account.fail()
            Issue.record("it has thrown")
        } catch let error as SharedStateError {
            #expect(error.code == .taskFailed && error.description.contains("OnlyText"))
        }
        #expect(try await host.account.add(1) == 1)
        try await host.finish()
    }

    @Test func `many calls are on their way at once, each with its own outcome`() async throws {
        let host = try await Host("many")
        let sums = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<2000 { group.addTask { try await host.account.add(1) } }
            return try await group.reduce(into: Set<Int>()) { $0.insert($1) }
        }
        #expect(sums == Set(1...2000))
        try await host.finish()
    }

    // MARK: Names and ends

    @Test func `a name is one living actor's`() async throws {
        let system = try SharedActorSystem()
        let mine = Account(actorSystem: system)
        #expect(code { _ = try system.actor("nobody", as: Account.self) } == .notFound)
        try system.setName("mine", of: mine)
        #expect(try system.actor("mine", as: Account.self) === mine)
        #expect(code { try system.setName("mine", of: mine) } == .alreadyExists)
        #expect(
            code { _ = try system.actor("mine", as: Stranger.self) } == .incompatible)
        try system.removeName("mine")
        #expect(code { try system.removeName("mine") } == .notFound)
        #expect(code { _ = try system.actor("mine", as: Account.self) } == .notFound)
        #expect(code { try system.setName("", of: mine) } == .invalidArgument)

        let host = try await Host("theirs")
        #expect(code { try system.setName("theirs", of: mine) } == .alreadyExists)
        #expect(code { try system.setName("other", of: host.account) } == .invalidArgument)
        #expect(code { try system.removeName("theirs") } == .notFound)
        try host.process.kill()
        try await host.process.join(timeout: long)
        #expect(code { _ = try system.actor("theirs", as: Account.self) } == .hostDied)
        try system.setName("theirs", of: mine)
        #expect(try system.actor("theirs", as: Account.self) === mine)
        try system.removeName("theirs")
    }

    @Test func `an actor that its process has let go of is not found`() async throws {
        let system = try SharedActorSystem()
        var account: Account? = Account(actorSystem: system)
        let ready = try Event()
        let gone = try Event()
        let child = try ChildProcess.start(try #require(account), ready, gone) {
            account, ready, gone in
            _ = try await account.add(1)
            ready.set()
            try await gone.wait()
            do {
                _ = try await account.add(1)
            } catch let error as SharedStateError where error.code == .notFound {
                return
            }
            throw Wrong()
        }
        try await ready.wait(timeout: long)
        weak let last = account
        account = nil
        let end = ContinuousClock.now + long
        while last != nil, ContinuousClock.now < end { await Task.yield() }
        gone.set()
        #expect(try await child.join(timeout: long) == .exited(code: 0))
    }

    @Test func `an actor of a named region is found in it, and called from others`() async throws {
        let name = "sharedstate.test.actors.\(getpid())"
        try Region.remove(orNothing: name)
        let region = try Region(creating: name, capacity: 64 << 20)
        defer { try? Region.remove(name) }
        let system = try SharedActorSystem(in: region)
        try system.setName("account", of: Account(actorSystem: system))
        let child = try ChildProcess.start(name) { name in
            let system = try SharedActorSystem(in: try Region(opening: name))
            let account = try system.actor("account", as: Account.self)
            guard try await account.add(4) == 4 else { throw Wrong() }
            // An actor of the family's region, from that of another one.
            let mine = Account(actorSystem: try SharedActorSystem())
            guard try await account.report(to: mine) == 4 else { throw Wrong() }
        }
        #expect(try await child.join(timeout: long) == .exited(code: 0))
        try system.removeName("account")
    }

    // MARK: Threads

    @Test func `a host answers while all its threads for tasks are held up`() async throws {
        let ready = try Event()
        let end = try Event()
        let name = "held up"
        let child = try ChildProcess.start(name, ready, end) { name, ready, end in
            let system = try SharedActorSystem()
            try system.setName(name, of: Account(actorSystem: system))
            let held = try Latch(count: 2)
            for _ in 0..<64 {
                Task.detached {
                    held.countDown()
                    try hold(until: end)
                }
            }
            try hold(until: held)
            ready.set()
            try hold(until: end)
        }
        try await ready.wait(timeout: long)
        let account = try SharedActorSystem().actor(name, as: Account.self)
        #expect(
            try await SharedActorSystem.withDeadline(after: long / 2) { try await account.add(1) }
                == 1)
        end.set()
        #expect(try await child.join(timeout: long) == .exited(code: 0))
    }

    @Test func `functions that block hold up nobody else`() async throws {
        let region = try Region.named("sharedstate.test.block.\(getpid())")
        defer { try? Region.remove(region.name ?? "") }
        let system = try SharedActorSystem(in: region)
        let accounts = (0..<6).map { _ in Account(actorSystem: system) }
        let free = Account(actorSystem: system)
        defer { withExtendedLifetime((accounts, free)) {} }
        let (begun, end) = (try Latch(count: 6), try Event())
        let child = try ChildProcess.start(accounts, begun, end) { accounts, begun, end in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for account in accounts {
                    group.addTask { try await account.block(begun, end) }
                }
                try await group.waitForAll()
            }
        }
        #expect(try await begun.wait(timeout: long))
        let other = try ChildProcess.start(free, end) { account, end in
            guard try await account.add(1) == 1 else { throw Wrong() }
            end.set()
        }
        #expect(try await other.join(timeout: long) == .exited(code: 0))
        #expect(try await child.join(timeout: long) == .exited(code: 0))
    }

    // MARK: Damage

    @Test func `damaged messages end the calls that they may have been`() async throws {
        let region = try Region.named("sharedstate.test.damage.\(getpid())")
        defer { try? Region.remove(region.name ?? "") }
        let system = try SharedActorSystem(in: region)
        let account = Account(actorSystem: system)
        defer { withExtendedLifetime(account) {} }
        let inbox = try Queue<[UInt8]>(opening: "sharedstate.actors.0", in: region)
        let child = try ChildProcess.start(account) { account in
            for _ in 0..<100 {
                // Whatever becomes of it, it ends.
                do { _ = try await account.add(1) } catch is SharedStateError {}
            }
        }
        // Real messages, damaged, and mere noise.
        while child.isAlive {
            if var bytes = try inbox.tryGet() {
                let kept = Array(bytes.prefix(Int.random(in: 0...bytes.count)))
                bytes[Int.random(in: 0..<bytes.count)] ^= UInt8.random(in: 1...255)
                _ = try inbox.tryPut(bytes)
                _ = try inbox.tryPut(kept)
            }
            _ = try inbox.tryPut((0..<Int.random(in: 0..<100)).map { _ in .random(in: 0...255) })
            try await Task.sleep(for: .milliseconds(1))
        }
        #expect(try await child.join(timeout: long) == .exited(code: 0))

        let (begun, cancelled) = (try Event(), try Event())
        let second = try ChildProcess.start(account, begun, cancelled) {
            account, begun, cancelled in
            do {
                try await account.never(begun, cancelled)
            } catch let error as SharedStateError where error.code == .incompatible {
                _ = try await account.add(1)
                return
            }
            throw Wrong()
        }
        try await begun.wait(timeout: long)
        try await inbox.put([1, 2, 3], timeout: long)
        #expect(try await second.join(timeout: long) == .exited(code: 0))
        #expect(try await cancelled.wait(timeout: long))
    }

    @Test func `an inbox that cannot be read is given up`() async throws {
        let region = try Region.named("sharedstate.test.unread.\(getpid())")
        defer { try? Region.remove(region.name ?? "") }
        let account = Account(actorSystem: try SharedActorSystem(in: region))
        defer { withExtendedLifetime(account) {} }
        let (begun, cancelled) = (try Event(), try Event())
        let child = try ChildProcess.start(account, begun, cancelled) { account, begun, cancelled in
            for _ in 0..<2 {
                do {
                    try await account.never(begun, cancelled)
                } catch let error as SharedStateError where error.code == .hostDied {
                    continue
                }
                throw Wrong()
            }
        }
        try await begun.wait(timeout: long)
        try Queue<[UInt8]>(opening: "sharedstate.actors.0", in: region).cancel()
        #expect(try await child.join(timeout: long) == .exited(code: 0))
        // Nobody takes it over, and this process can host again.
        let next = Account(actorSystem: try SharedActorSystem(in: region))
        defer { withExtendedLifetime(next) {} }
        let second = try ChildProcess.start(next) { account in _ = try await account.add(1) }
        #expect(try await second.join(timeout: long) == .exited(code: 0))
    }

    // MARK: Deadlines and cancellation

    @Test func `a call ends at its deadline, and so does what it called`() async throws {
        let host = try await Host("deadline")
        let (begun, cancelled) = (try Event(), try Event())
        let start = ContinuousClock.now
        #expect(
            await code {
                try await SharedActorSystem.withDeadline(after: .milliseconds(100)) {
                    try await host.account.never(begun, cancelled)
                }
            } == .timedOut)
        #expect(ContinuousClock.now - start >= .milliseconds(100))
        try await begun.wait(timeout: long)
        try await cancelled.wait(timeout: long)
        #expect(try await host.account.add(1) == 1)
        try await host.finish()
    }

    @Test func `a task that is cancelled stops its call`() async throws {
        let host = try await Host("cancel")
        let (begun, cancelled) = (try Event(), try Event())
        let task = Task { try await host.account.never(begun, cancelled) }
        try await begun.wait(timeout: long)
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        try await cancelled.wait(timeout: long)
        #expect(try await host.account.add(1) == 1)
        try await host.finish()
    }
}

extension Region {
    static func named(_ name: String) throws -> Region {
        try remove(orNothing: name)
        return try Region(creating: name, capacity: 64 << 20)
    }

    static func remove(orNothing name: String) throws {
        do { try remove(name) } catch  where error.code == .notFound {}
    }
}
