// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

@Suite("Managed dictionaries", .serialized)
struct ManagedDictionaryTests {
    @Test func `does as a dictionary of Swift does`() throws {
        let managed = try ManagedDictionary<Int, [String]>()
        var plain: [Int: [String]] = [:]
        var random = SystemRandomNumberGenerator()
        for step in 0..<8000 {
            let key = Int.random(in: 0..<200, using: &random)
            let value = (0..<Int.random(in: 0..<6, using: &random)).map { "\(step)-\($0)" }
            switch Int.random(in: 0..<9, using: &random) {
            case 0, 1:
                try managed.set(value, forKey: key)
                plain[key] = value
            case 2:
                #expect(
                    try managed.updateValue(value, forKey: key)
                        == plain.updateValue(value, forKey: key))
            case 3: #expect(try managed.removeValue(forKey: key) == plain.removeValue(forKey: key))
            case 4:
                #expect(try managed.insert(value, forKey: key) == (plain[key] == nil))
                plain[key] = plain[key] ?? value
            case 5:
                try managed.update(key, default: []) { $0 += value }
                plain[key, default: []] += value
            case 6:
                #expect(try managed[key] == plain[key])
                #expect(try managed.contains(key) == (plain[key] != nil))
            case 7:
                let expected = Bool.random(using: &random) ? plain[key] : value
                let desired = Bool.random(using: &random) ? value : nil
                #expect(
                    try managed.compareExchange(key, expected: expected, desired: desired)
                        == (plain[key] == expected))
                if plain[key] == expected { plain[key] = desired }
            default:
                #expect(
                    try managed.setDefault(value, forKey: key) == plain[key, default: value])
                plain[key] = plain[key] ?? value
            }
            if step % 1000 == 0 {
                #expect(try managed.snapshot() == plain)
                #expect(managed.count == plain.count)
            }
        }
        #expect(try managed.frozen() == plain)
        #expect(try managed.copy().snapshot() == plain)
        #expect(try Set(managed.keys) == Set(plain.keys))
        #expect(try managed.values.count == plain.count)
        try managed.removeAll()
        #expect(managed.isEmpty)
        #expect(try managed.snapshot().isEmpty)
    }

    @Test func `has the methods of Python's dict`() throws {
        let ages = try ManagedDictionary<String, Int>()
        try ages.merge(["ann": 1, "bob": 2])
        try ages.merge([("bob", 10), ("cid", 3)], uniquingKeysWith: +)
        #expect(try ages.snapshot() == ["ann": 1, "bob": 12, "cid": 3])
        #expect(try ages["dan", default: 7] == 7)
        #expect(try ages.pop("ann", default: 0) == 1)
        #expect(try ages.pop("ann", default: 0) == 0)
        #expect(try ages.add(5, forKey: "bob") == 17)
        #expect(try ages.add(-2, forKey: "eve") == -2)
        try ages.update("bob") { $0 = nil }
        #expect(try ages["bob"] == nil)
        var seen: [String: Int] = [:]
        while let (key, value) = try ages.popAny() { seen[key] = value }
        #expect(seen == ["cid": 3, "eve": -2])
        #expect(try ages.popAny() == nil)
    }

    private struct Padded: Hashable, Codable {
        var small: Int8
        var large: Int64
    }

    @Test func `keys with padding and optional keys are equal when they should be`() throws {
        let padded = try ManagedDictionary<Padded, Int>()
        for n in 0..<100 { try padded.set(n, forKey: Padded(small: 1, large: Int64(n))) }
        for n in 0..<100 { #expect(try padded[Padded(small: 1, large: Int64(n))] == n) }
        let optional = try ManagedDictionary<Int?, Int>()
        try optional.set(1, forKey: nil)
        for n in 0..<100 { try optional.set(n, forKey: n) }
        #expect(try optional[nil] == 1)
        #expect(try optional.removeValue(forKey: nil) == 1)
        #expect(optional.count == 100)
        #expect(throws: SharedStateError.self) {
            try ManagedDictionary<ObjectIdentifier, Int>()
        }
    }

    @Test func `a body that throws changes nothing`() throws {
        struct Refusal: Error {}
        let dictionary = try ManagedDictionary<String, Int>()
        try dictionary.set(1, forKey: "a")
        #expect(throws: Refusal.self) {
            try dictionary.update("a", default: 0) { value in
                value = 2
                throw Refusal()
            }
        }
        #expect(throws: SharedStateError.self) {
            try dictionary.update("a", default: 0) { _ in try dictionary.set(3, forKey: "a") }
        }
        #expect(try dictionary["a"] == 1)
    }

    @Test func `an array is lent in place`() throws {
        let dictionary = try ManagedDictionary<String, [Float]>()
        try dictionary.set([1, 2, 3], forKey: "floats")
        let sum = try dictionary.withValue(forKey: "floats") { (floats: Span<Float>) in
            floats.indices.reduce(0) { $0 + floats[$1] }
        }
        #expect(sum == 6)
        #expect(try dictionary.withValue(forKey: "none") { (_: Span<Float>) in 1 } == nil)
    }

    @Test func `four processes count in one dictionary, and nothing is lost`() throws {
        let counts = try ManagedDictionary<String, Int>()
        let children = try (0..<4).map { _ in
            try ChildProcess.start(counts) { counts in
                for n in 0..<2000 { try counts.add(1, forKey: "k\(n % 7)") }
            }
        }
        for child in children { #expect(try child.join(timeout: .seconds(60)) == .exited(code: 0)) }
        #expect(try counts.values.reduce(0, +) == 8000)
    }

    @Test func `containers in containers are live in every process`() throws {
        let outer = try ManagedDictionary<String, ManagedArray<String>>()
        try outer.set(ManagedArray(), forKey: "log")
        let child = try ChildProcess.start(outer) { outer in
            try outer["log"]?.append("from the child")
        }
        #expect(try child.join(timeout: .seconds(60)) == .exited(code: 0))
        #expect(try outer["log"]?.snapshot() == ["from the child"])
        let inner = try #require(try outer.removeValue(forKey: "log"))
        try outer.removeAll()
        try inner.append("still there")
        #expect(inner.count == 2)
        let queues = try ManagedArray<Queue<Int>>()
        try queues.append(Queue<Int>())
        try queues[0].put(7)
        #expect(try queues[0].get() == 7)
    }

    @Test func `a task is told of a key's changes, and waits until it is there`() async throws {
        let dictionary = try ManagedDictionary<String, Int>()
        var changes = try dictionary.changes(forKey: "n").makeAsyncIterator()
        let child = try ChildProcess.start(dictionary) { dictionary in
            try dictionary.set(1, forKey: "other")
            try dictionary.set(5, forKey: "n")
        }
        #expect(try await dictionary.value(forKey: "n") == 5)
        #expect(try await changes.next() == .some(5))
        #expect(try await child.join(timeout: .seconds(60)) == .exited(code: 0))
        try dictionary.removeValue(forKey: "n")
        #expect(try await changes.next() == .some(nil))
        await #expect(throws: SharedStateError.self) {
            try await dictionary.value(forKey: "n", timeout: .milliseconds(20))
        }
        let waiting = Task { try await dictionary.value(forKey: "never") }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
    }

    @Test func `a transaction changes all of its keys or none`() throws {
        let words = try ManagedDictionary<String, [String]>()
        try words.set(["old"], forKey: "a")
        try words.set(["gone"], forKey: "b")
        let found = try words.transaction(["a", "b", "c"]) { values in
            defer {
                values["a"]?.append("new")
                values["b"] = nil
                values["c"] = []
            }
            return values
        }
        #expect(found == ["a": ["old"], "b": ["gone"]])
        let after = ["a": ["old", "new"], "c": []]
        #expect(try words.frozen() == after)
        #expect(throws: SharedStateError.self) {
            try words.transaction(["a"]) { $0["d"] = ["not said before"] }
        }
        #expect(throws: CancellationError.self) {
            try words.transaction(["a", "c"]) { values in
                values["a"] = nil
                throw CancellationError()
            }
        }
        try words.transaction([]) { #expect($0.isEmpty) }
        #expect(try words.frozen() == after)
        #expect(words.count == 2)
    }

    @Test func `a transaction of equal keys is refused before it begins, and says which`() throws {
        let words = try ManagedDictionary<String, Int>()
        let composed = "caf\u{e9}"
        let decomposed = "cafe\u{301}"
        for keys in [["a", "b", "a"], [composed, "b", decomposed]] {
            let error = try #require(throws: SharedStateError.self) {
                try words.transaction(keys) { _ in Issue.record("it began") }
            }
            #expect(error.code == .invalidArgument)
            #expect(error.description.contains("keys 0 and 2 of a transaction are equal"))
        }
        let many = try ManagedDictionary<Int, Int>()
        let error = try #require(throws: SharedStateError.self) {
            try many.transaction(0..<1025) { _ in Issue.record("it began") }
        }
        #expect(error.description.contains("at most 1024 keys, not 1025"))
        try many.transaction(0..<1024) { $0[1023] = 1 }
        #expect(try many.frozen() == [1023: 1])
        #expect(try words.updateValue(1, forKey: "a") == nil, "nothing is locked")
    }

    @Test func `transfers between accounts keep the total, whoever is killed`() throws {
        let accounts = try ManagedDictionary<Int, Int>()
        try accounts.merge((0..<8).map { ($0, 100) })
        for round in 0..<8 {
            let child = try ChildProcess.start(accounts, round) { accounts, round in
                var n = round
                while true {
                    n = (n &* 31 &+ 7) & 0xffff
                    let (from, to) = (n % 8, (n / 8 + 1 + n) % 8)
                    if from == to { continue }
                    try accounts.transaction([from, to]) { values in
                        values[from, default: 0] -= 1
                        values[to, default: 0] += 1
                    }
                }
            }
            let before = try accounts.frozen()
            while try accounts.frozen() == before {}
            try child.kill()
            try child.join()
            #expect(try accounts.frozen().values.reduce(0, +) == 800)
        }
    }

    @Test func `killed writers leave every value whole and every count exact`() throws {
        let dictionary = try ManagedDictionary<Int, [Int]>()
        for round in 0..<12 {
            let child = try ChildProcess.start(dictionary, round) { dictionary, round in
                var n = round
                while true {
                    n = n &* 31 &+ 7
                    let key = abs(n % 50)
                    try dictionary.set([Int](repeating: n, count: 1 + abs(n % 40)), forKey: key)
                    if n % 5 == 0 { try dictionary.removeValue(forKey: abs(n % 47)) }
                }
            }
            _ = try dictionary.value(forKey: 0, timeout: .seconds(20))
            try child.kill()
            try child.join()
        }
        let all = try dictionary.frozen()
        #expect(all.count == dictionary.count)
        for (_, value) in all { #expect(Set(value).count == 1) }
    }
}
