// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(60)

@Suite("Managers, sets and values", .serialized)
struct ManagerTests {
    @Test func `a set does as a set of Swift does`() throws {
        let managed = try ManagedSet<String>()
        var plain = Set<String>()
        for _ in 0..<4000 {
            let member = "m\(Int.random(in: 0..<80))"
            switch Int.random(in: 0..<3) {
            case 0: #expect(try managed.insert(member) == plain.insert(member).inserted)
            case 1: #expect(try managed.remove(member) == (plain.remove(member) != nil))
            default: #expect(try managed.contains(member) == plain.contains(member))
            }
        }
        #expect(managed.count == plain.count)
        #expect(try managed.snapshot() == plain)
        #expect(try managed.frozen() == plain)
        let other = Set((0..<60).map { "m\($0 * 2)" })
        #expect(try managed.union(other) == plain.union(other))
        #expect(try managed.intersection(other) == plain.intersection(other))
        #expect(try managed.subtracting(other) == plain.subtracting(other))
        #expect(try managed.symmetricDifference(other) == plain.symmetricDifference(other))
        let copy = try managed.copy()
        try copy.formSymmetricDifference(other)
        #expect(try copy.snapshot() == plain.symmetricDifference(other))
        try copy |= other
        try copy.subtract(plain)
        #expect(try copy.snapshot() == other.subtracting(plain))
        #expect(try copy.isSubset(of: other) && copy.isDisjoint(with: plain))
        try managed.formIntersection(other)
        #expect(try managed.snapshot() == plain.intersection(other))
        #expect(try managed.isSuperset(of: plain.intersection(other)))
        var left = managed.count
        while try managed.popFirst() != nil { left -= 1 }
        #expect(left == 0 && managed.isEmpty)
    }

    private struct Settings: Codable, Equatable, Sendable {
        var width = 80
        var title = ""
    }

    @Test func `a namespace is read by name and written by set`() throws {
        let settings = try ManagedNamespace(Settings())
        let child = try ChildProcess.start(settings) { settings in
            try settings.set(\.width, 120)
            try settings.update { $0.title = "w\($0.width)" }
        }
        #expect(try child.join(timeout: long) == .exited(code: 0))
        #expect(try settings.width == 120 && settings.title == "w120")
        #expect(try settings.value == Settings(width: 120, title: "w120"))
    }

    @Test func `a value is changed in one step, and tells`() async throws {
        let words = try ManagedValue<[String]>([])
        var changes = words.changes.makeAsyncIterator()
        let children = try (0..<3).map { n in
            try ChildProcess.start(words, n) { words, n in
                for _ in 0..<200 { try words.update { $0.append("\(n)") } }
            }
        }
        #expect(try await changes.next()?.isEmpty == false)
        for child in children {
            #expect(try await child.join(timeout: long) == .exited(code: 0))
        }
        #expect(try words.value.count == 600)
        #expect(try words.exchange(["new"]).count == 600)
        #expect(try words.value == ["new"])
    }

    @Test func `containers are found by their names, with their types`() throws {
        let name = "sharedstate.test.manager.\(getpid())"
        try withManager(named: name, capacity: 16 << 20) { manager in
            let made = try manager.dictionary("stock", String.self, Int.self)
            try made.set(5, forKey: "screws")
            let other = try Manager(opening: name)
            #expect(try other.dictionary("stock", String.self, Int.self)["screws"] == 5)
            #expect(throws: SharedStateError.self) {
                try other.dictionary("stock", String.self, String.self)
            }
            #expect(throws: SharedStateError.self) { try other.array("stock", of: Int.self) }
            #expect(throws: SharedStateError.self) { try other.set("stock", of: String.self) }
            try manager.array("log", of: String.self).append("begun")
            #expect(try other.array("log", of: String.self).snapshot() == ["begun"])
            try manager.set("seen", of: Int.self).insert(3)
            #expect(try other.set("seen", of: Int.self).contains(3))
            #expect(try manager.value("title", "first").value == "first")
            #expect(try other.value("title", "second").value == "first")
            #expect(try manager.namespace("settings", Settings()).width == 80)
            try manager.queue("jobs", of: Int.self).put(1)
            #expect(try other.queue("jobs", of: Int.self).get(timeout: long) == 1)
            #expect(
                try Set(other.names()) == ["stock", "log", "seen", "title", "settings", "jobs"])
            try other.removeName("log")
            #expect(try manager.array("log", of: String.self).isEmpty)
        }
        #expect(throws: SharedStateError.self) { try Manager(opening: name) }
    }

    @Test func `all else is found by its name, and refused as something else`() throws {
        let name = "sharedstate.test.nouns.\(getpid())"
        try withManager(named: name, capacity: 64 << 20) { here in
            let there = try Manager(opening: name)
            try here.queue("queue", of: Int.self).put(1)
            #expect(try there.queue("queue", of: Int.self).get(timeout: long) == 1)
            try here.joinableQueue("jobs", of: String.self).put("saw")
            let jobs = try there.joinableQueue("jobs", of: String.self)
            #expect(try jobs.get(timeout: long) == "saw")
            try jobs.taskDone()
            try here.joinableQueue("jobs", of: String.self).join(timeout: long)
            let subscriber = try here.broadcast("news", of: Int.self).subscriber()
            try there.broadcast("news", of: Int.self).publisher().put(5)
            #expect(try subscriber.get(timeout: long) == 5)
            try here.lanes("lanes", of: Int.self).lane().put(6)
            #expect(try there.lanes("lanes", of: Int.self).get(timeout: long) == 6)
            let lock = try there.lock("lock")
            try here.lock("lock").withLock { _ in
                #expect(lock.owner?.processIdentifier == getpid())
            }
            #expect(try here.semaphore("slots", value: 1).tryAcquire())
            #expect(try !there.semaphore("slots", value: 9).tryAcquire())
            #expect(try here.boundedSemaphore("bounded", value: 1).tryAcquire())
            #expect(try !there.boundedSemaphore("bounded", value: 9).tryAcquire())
            try here.event("begun").set()
            #expect(try there.event("begun").isSet)
            try here.latch("parts", count: 1).countDown()
            #expect(try there.latch("parts", count: 9).count == 0)
            #expect(try here.barrier("meet", parties: 3).parties == 3)
            #expect(try there.barrier("meet", parties: 9).parties == 3)
            try here.once("setUp").run(timeout: long) { _ in }
            #expect(try there.once("setUp").isDone)
            try here.counter("count", 3).increment()
            #expect(try there.counter("count").value == 4)
            try here.atomic("bits", UInt32(1)).bitwiseOr(4)
            #expect(try there.atomic("bits", UInt32(0)).load() == 5)
            try here.sharedValue("pair", 7).store(8)
            #expect(try there.sharedValue("pair", 0).value == 8)
            try here.sharedArray("row", of: Int.self, count: 4)[3] = 9
            #expect(try there.sharedArray("row", of: Int.self, count: 1).count == 4)
            try here.condition("ready").withLock { _ in }
            _ = try Condition(opening: "ready", in: there.region)
            _ = try here.recursiveLock("again")
            _ = try here.readWriteLock("shelf")
            _ = try here.asyncLock("door")
            _ = try here.permits("permits", count: 2)
            for (other, found) in try [
                ("lock", there.names().contains("ready.lock")),
                ("queue", there.names().contains("door")),
            ] {
                #expect(found)
                #expect(throws: SharedStateError.self) { try there.event(other) }
            }
            #expect(throws: SharedStateError.self) { try there.queue("queue", of: String.self) }
            #expect(throws: SharedStateError.self) { try there.recursiveLock("lock") }
        }
    }

    @Test func `a condition whose maker died after its lock is made all the same`() throws {
        let name = "sharedstate.test.halfway.\(getpid())"
        try withManager(named: name, capacity: 16 << 20) { manager in
            _ = try manager.lock("ready.lock")
            try manager.condition("ready").withLock { _ in }
            #expect(try Set(manager.names()) == ["ready", "ready.lock"])
        }
    }

    @Test func `a counter counts for all processes, and tells when it is enough`() async throws {
        let counter = try ManagedCounter()
        let children = try (0..<2).map { _ in
            try ChildProcess.start(counter) { counter in
                for _ in 0..<5000 { counter.increment() }
            }
        }
        #expect(try await counter.wait(timeout: long) { $0 >= 5000 } >= 5000)
        #expect(try await counter.wait(timeout: long) { $0 == 10_000 } == 10_000)
        for child in children {
            #expect(try await child.join(timeout: long) == .exited(code: 0))
        }
        #expect(counter.add(-9_000) == 1000)
        #expect(counter.exchange(1) == 1000 && counter.decrement() == 0)
        func waitInVain() throws { _ = try counter.wait(timeout: .milliseconds(1)) { $0 > 0 } }
        let error = #expect(throws: SharedStateError.self) { try waitInVain() }
        #expect(error?.code == .timedOut)
    }

    @Test func `a name is made once, whoever asks first`() throws {
        let manager = try Manager()
        let name = "once.\(getpid())"
        let children = try (0..<4).map { _ in
            try ChildProcess.start(name) { name in
                let counts = try Manager().dictionary(name, String.self, Int.self)
                for _ in 0..<100 { try counts.add(1, forKey: "n") }
            }
        }
        for child in children { #expect(try child.join(timeout: long) == .exited(code: 0)) }
        #expect(try manager.dictionary(name, String.self, Int.self)["n"] == 400)
        try manager.removeName(name)
    }

    @Test func `a manager that is full says so, and nothing breaks`() throws {
        let name = "sharedstate.test.full.\(getpid())"
        try withManager(named: name, capacity: 2 << 20) { manager in
            let list = try manager.array(of: [UInt8].self)
            let element = [UInt8](repeating: 7, count: 30_000)
            var count = 0
            do {
                while true {
                    try list.append(element)
                    count += 1
                }
            } catch let error as SharedStateError {
                #expect(error.code == .full)
            }
            #expect(list.count == count && count > 10)
            try list.removeAll()
            try list.append(element)
            #expect(try list.snapshot() == [element])
        }
    }
}
