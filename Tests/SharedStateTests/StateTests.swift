// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

@Suite("Shared objects", .serialized)
struct StateTests {
    @Test func `a lock keeps every increment of four processes`() throws {
        let lock = try Lock()
        let counter = try SharedValue(0)
        let children = try (0..<4).map { _ in
            try ChildProcess.start(lock, counter) { lock, counter in
                for _ in 0..<2000 { try lock.withLock { _ in counter.value += 1 } }
            }
        }
        for child in children { #expect(try child.join(timeout: .seconds(60)) == .exited(code: 0)) }
        #expect(counter.value == 8000)
    }

    @Test func `a dead holder's lock is handed on`() throws {
        let lock = try Lock()
        let held = try Queue<Bool>()
        let child = try ChildProcess.start(lock, held) { lock, held in
            try lock.withLock { _ in
                try held.put(true)
                pause()
            }
        }
        _ = try held.get(timeout: .seconds(20))
        #expect(throws: SharedStateError.self) {
            try lock.withLock(timeout: .milliseconds(20)) { _ in }
        }
        try child.kill()
        let inherited = try lock.withLock(timeout: .seconds(20)) { holder in
            holder.markRepaired()
            return holder.inheritedFromDead
        }
        #expect(inherited)
        #expect(try !lock.withLock { holder in holder.inheritedFromDead })
    }

    @Test func `acquiring a lock twice on one thread is an error`() throws {
        let lock = try Lock()
        try lock.withLock { (_) -> Void in
            #expect(throws: SharedStateError.self) { try lock.withLock { _ in } }
        }
    }

    @Test func `a queue keeps order, and says full and empty`() throws {
        let queue = try Queue<String>(capacity: 4)
        for n in 0..<4 { #expect(try queue.tryPut("\(n)")) }
        #expect(try !queue.tryPut("4"))
        #expect(queue.count == 4 && queue.isFull)
        for n in 0..<4 { #expect(try queue.tryGet() == "\(n)") }
        #expect(try queue.tryGet() == nil)
        let started = ContinuousClock.now
        #expect(throws: SharedStateError.self) { try queue.get(timeout: .milliseconds(30)) }
        #expect(ContinuousClock.now - started >= .milliseconds(30))
        #expect(throws: SharedStateError.self) { try Queue<Int>(capacity: 0) }
    }

    @Test func `a queue carries long elements between processes`() throws {
        let queue = try Queue<[String]>(capacity: 8)
        let child = try ChildProcess.start(queue) { queue in
            for n in 0..<50 { try queue.put([String(repeating: "x", count: n * 1000), "\(n)"]) }
        }
        for n in 0..<50 {
            let element = try queue.get(timeout: .seconds(20))
            #expect(element[0].utf8.count == n * 1000 && element[1] == "\(n)")
        }
        try child.join()
    }

    @Test func `a handle can be sent inside a payload`() throws {
        let outer = try Queue<Queue<Int>>()
        let inner = try Queue<Int>()
        let child = try ChildProcess.start(outer) { try $0.get().put(42) }
        try outer.put(inner)
        #expect(try inner.get(timeout: .seconds(20)) == 42)
        try child.join()
    }

    @Test func `a dictionary takes atomic updates from several processes`() throws {
        let words = try Manager().dictionary(String.self, Int.self)
        let pool = try Pool(workers: 3)
        _ = try pool.map(0..<3000, with: words) { n, words in
            try words.update("k\(n % 10)", default: 0) { $0 += 1 }
        }
        let all = try words.snapshot()
        #expect(all.count == 10 && all.values.allSatisfy { $0 == 300 })
        #expect(words.count == 10)
        #expect(try words.removeValue(forKey: "k1") != nil)
        #expect(try words["k1"] == nil)
        #expect(try words.contains("k2"))
        try words.removeAll()
        #expect(words.isEmpty)
    }

    @Test func `an update that throws changes nothing`() throws {
        let dictionary = try ManagedDictionary<String, Int>()
        try dictionary.set(1, forKey: "a")
        #expect(throws: CancellationError.self) {
            try dictionary.update("a", default: 0) { value in
                value = 9
                throw CancellationError()
            }
        }
        #expect(try dictionary["a"] == 1)
    }

    @Test func `workers killed at random lose nothing committed`() throws {
        let counts = try ManagedDictionary<Int, Int>()
        let lock = try Lock()
        let total = try SharedValue(0)
        let queue = try Queue<Int>(capacity: 64)
        let began = try Queue<Int>()
        var random = SystemRandomNumberGenerator()
        for round in 0..<150 {
            let child = try ChildProcess.start(counts, lock, total, queue, began) {
                counts, lock, total, queue, began in
                for n in 0... {
                    try counts.update(n % 7, default: 0) { $0 += 1 }
                    try lock.withLock { holder in
                        if holder.inheritedFromDead { holder.markRepaired() }
                        total.value += 1
                    }
                    _ = try queue.tryPut(n)
                    _ = try queue.tryGet()
                    if n == 0 { try began.put(n) }
                }
            }
            // Every second one is killed at its work, the others wherever they have got to.
            if round.isMultiple(of: 2) { _ = try began.get(timeout: .seconds(20)) }
            usleep(UInt32.random(in: 0..<4000, using: &random))
            try child.kill()
            #expect(try child.join(timeout: .seconds(20)) == .signalled(SIGKILL))
            while try began.tryGet() != nil {}
        }
        let sum = try counts.values.reduce(0, +)
        #expect(sum >= 75)
        #expect((0...150).contains(sum - total.value), "\(sum) updates, \(total.value) increments")
        try lock.withLock(timeout: .seconds(5)) { holder in holder.markRepaired() }
        while try queue.tryGet() != nil {}
        #expect(try queue.tryPut(1) && queue.count == 1)
    }

    @Test func `a named region is found, listed and removed`() throws {
        let name = "sharedstate.test.\(getpid())"
        let region = try Region(creating: name, capacity: 4 << 20)
        #expect(throws: SharedStateError.self) { try Region(creating: name) }
        #expect(try Region.list().contains(name))
        let other = try Region(opening: name)
        #expect(other.capacity == region.capacity)
        try Region.remove(name)
        #expect(throws: SharedStateError.self) { try Region(opening: name) }
    }

    @Test func `a full region is an error and nothing breaks`() throws {
        let region = try Region(capacity: 2 << 20)
        let dictionary = try ManagedDictionary<Int, [UInt8]>(in: region)
        let value = [UInt8](repeating: 1, count: 10_000)
        var stored = 0
        do {
            while true {
                try dictionary.set(value, forKey: stored)
                stored += 1
            }
        } catch let error as SharedStateError {
            #expect(error.code == .full)
        }
        #expect(dictionary.count == stored && stored > 10)
        try dictionary.removeAll()
        try dictionary.set(value, forKey: 0)
        #expect(try dictionary[0] == value)
    }
}
