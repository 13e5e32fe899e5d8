// SPDX-License-Identifier: Apache-2.0

import SharedState
import Testing

private struct Padded: Hashable, Codable {
    var small: Int8
    var large: Int64
}

/// Every method that changes a container, in a random sequence, beside Swift's own.
@Suite("Managed containers do as Swift's", .serialized)
struct ManagedPropertyTests {
    @Test(arguments: Seeds.one)
    func `dictionaries do, of plain bits, texts and what is encoded`(seed: UInt64) throws {
        var random = SeededRandom(seed)
        try check(&random, key: { $0 }, value: { $0 })
        try check(&random, key: { "key \($0)" }, value: { String(repeating: "v", count: $0 % 300) })
        try check(&random, key: { $0 }, value: { n in (0..<n % 6).map { "\(n)-\($0)" } })
        try check(
            &random, key: { Padded(small: Int8($0 % 2), large: Int64($0 / 2)) },
            value: { [Int](repeating: $0, count: $0 % 90) })
    }

    private func check<Key: Hashable & Sendable, Value: Equatable & Sendable>(
        _ random: inout SeededRandom, key: (Int) -> Key, value: (Int) -> Value
    ) throws {
        var pair = try DictionaryPair<Key, Value>()
        for step in 0..<300 {
            let keys = (0..<3).map { _ in key(random.number(0..<60)) }
            let values = (0..<3).map { _ in value(random.number(0..<100_000)) }
            try pair.change(&random, keys, values)
            if step % 50 == 0 { try pair.compare() }
        }
        try pair.compare()
        while let (key, value) = try pair.managed.popAny() {
            #expect(pair.plain.removeValue(forKey: key) == value)
        }
        #expect(pair.plain.isEmpty && pair.managed.isEmpty)
    }

    @Test(arguments: Seeds.one)
    func `counts of a dictionary do`(seed: UInt64) throws {
        var random = SeededRandom(seed)
        let managed = try ManagedDictionary<String, Int>()
        var plain: [String: Int] = [:]
        for _ in 0..<2000 {
            let key = "n\(random.number(0..<20))"
            let delta = random.number(-1000..<1000)
            if random.number(0..<10) == 0 {
                #expect(try managed.removeValue(forKey: key) == plain.removeValue(forKey: key))
            } else {
                plain[key, default: 0] += delta
                #expect(try managed.add(delta, forKey: key) == plain[key])
            }
        }
        #expect(try managed.snapshot() == plain)
    }

    @Test(arguments: Seeds.one)
    func `arrays do, of plain bits, texts and what is encoded`(seed: UInt64) throws {
        var random = SeededRandom(seed)
        try check(&random) { $0 }
        try check(&random) { "\($0)" + String(repeating: "x", count: $0 % 50) }
        try check(&random) { n in (0..<n % 5).map { UInt16($0 + n % 1000) } }
    }

    private func check<Element: Equatable & Sendable>(
        _ random: inout SeededRandom, _ element: (Int) -> Element
    ) throws {
        let first = (0..<3).map { element($0) }
        var pair = try ArrayPair(first)
        for step in 0..<250 {
            // Some are there already.
            let elements = (0..<random.number(0..<5)).map { _ in element(random.number(0..<300)) }
            try pair.change(&random, elements, element(random.number(0..<300)))
            if step % 50 == 0 { try pair.compare() }
        }
        try pair.compare()
    }

    @Test(arguments: Seeds.one)
    func `sets do, of plain bits, texts and what is encoded`(seed: UInt64) throws {
        var random = SeededRandom(seed)
        try check(&random) { $0 }
        try check(&random) { "member \($0)" }
        try check(&random) { Padded(small: Int8($0 % 2), large: Int64($0 / 2)) }
    }

    private func check<Member: Hashable & Sendable>(
        _ random: inout SeededRandom, _ member: (Int) -> Member
    ) throws {
        var pair = try SetPair<Member>()
        for _ in 0..<150 {
            let others = Set((0..<random.number(0..<50)).map { _ in member(random.number(0..<60)) })
            try pair.change(&random, member(random.number(0..<60)), others)
            try pair.compare(with: others)
        }
        while let member = try pair.managed.popFirst() {
            #expect(pair.plain.remove(member) == member)
        }
        #expect(pair.plain.isEmpty && pair.managed.isEmpty)
    }
}

private struct DictionaryPair<Key: Hashable & Sendable, Value: Equatable & Sendable> {
    let managed: ManagedDictionary<Key, Value>
    var plain: [Key: Value] = [:]

    init() throws { managed = try ManagedDictionary<Key, Value>() }

    func compare() throws {
        #expect(try managed.snapshot() == plain)
        #expect(try managed.frozen() == plain)
        #expect(try managed.copy().snapshot() == plain)
        #expect(managed.count == plain.count && managed.isEmpty == plain.isEmpty)
        let keys = try managed.keys
        #expect(keys.count == plain.count && Set(keys) == Set(plain.keys))
        let values = try managed.values
        #expect(values.count == plain.count && plain.values.allSatisfy { values.contains($0) })
    }

    mutating func change(_ random: inout SeededRandom, _ keys: [Key], _ values: [Value]) throws {
        let (key, value) = (keys[0], values[0])
        #expect(try managed[key] == plain[key])
        #expect(try managed[key, default: value] == plain[key, default: value])
        #expect(try managed.contains(key) == (plain[key] != nil))
        switch random.number(0..<12) {
        case 0:
            try managed.set(value, forKey: key)
            plain[key] = value
        case 1:
            #expect(
                try managed.updateValue(value, forKey: key) == plain.updateValue(value, forKey: key)
            )
        case 2:
            #expect(try managed.insert(value, forKey: key) == (plain[key] == nil))
            plain[key] = plain[key] ?? value
        case 3:
            #expect(try managed.setDefault(value, forKey: key) == plain[key, default: value])
            plain[key] = plain[key] ?? value
        case 4:
            #expect(try managed.removeValue(forKey: key) == plain.removeValue(forKey: key))
        case 5:
            let before = plain.removeValue(forKey: key)
            #expect(try managed.pop(key, default: value) == before ?? value)
        case 6:
            let found = try managed.update(key, default: value) { there in
                defer { there = values[1] }
                return there
            }
            #expect(found == plain[key, default: value])
            plain[key] = values[1]
        case 7:
            let after = random.coin() ? value : nil
            let found = try managed.update(key) { there in
                defer { there = after }
                return there
            }
            #expect(found == plain[key])
            plain[key] = after
        case 8:
            let expected = random.coin() ? plain[key] : values[1]
            let desired = random.coin() ? value : nil
            let isAsExpected = plain[key] == expected
            #expect(
                try managed.compareExchange(key, expected: expected, desired: desired)
                    == isAsExpected)
            if isAsExpected { plain[key] = desired }
        case 9: try merge(&random, keys, values)
        case 10: try transact(&random, keys, values)
        default:
            guard random.number(0..<20) == 0 else { return }
            try managed.removeAll()
            plain.removeAll()
        }
    }

    private mutating func merge(
        _ random: inout SeededRandom, _ keys: [Key], _ values: [Value]
    ) throws {
        let items = Array(zip(keys, values))
        switch random.number(0..<4) {
        case 0:
            try managed.merge(items) { old, _ in old }
            plain.merge(items) { old, _ in old }
        case 1:
            try managed.merge(items)
            plain.merge(items) { _, new in new }
        case 2:
            let other = Dictionary(items) { _, new in new }
            try managed.merge(other) { _, _ in values[2] }
            plain.merge(other) { _, _ in values[2] }
        default:
            let other = Dictionary(items) { _, new in new }
            let merged = plain.merging(other) { _, new in new }
            #expect(try managed.merging(items) == merged)
            #expect(
                try managed.merging(other) { old, _ in old }
                    == plain.merging(other) { old, _ in old })
            #expect(try ManagedDictionary(merged).snapshot() == merged)
            #expect(
                try ManagedDictionary(items) { old, _ in old }.snapshot()
                    == Dictionary(items) { old, _ in old })
        }
    }

    private mutating func transact(
        _ random: inout SeededRandom, _ keys: [Key], _ values: [Value]
    ) throws {
        let keys = Array(Set(keys))
        let after = zip(keys, values).map { ($0, random.coin() ? $1 : nil) }
        let found = try managed.transaction(keys) { there in
            defer { for (key, value) in after { there[key] = value } }
            return there
        }
        #expect(found == plain.filter { keys.contains($0.key) })
        for (key, value) in after { plain[key] = value }
    }
}

private struct ArrayPair<Element: Equatable & Sendable> {
    let managed: ManagedArray<Element>
    var plain: [Element]

    init(_ elements: [Element]) throws {
        managed = try ManagedArray(elements)
        plain = elements
    }

    func compare() throws {
        #expect(try managed.snapshot() == plain)
        #expect(try managed.copy().snapshot() == plain)
        #expect(managed.count == plain.count && managed.isEmpty == plain.isEmpty)
        #expect(try managed.first == plain.first && managed.last == plain.last)
        #expect(try managed * 2 == plain + plain && managed + plain == plain + plain)
    }

    mutating func change(
        _ random: inout SeededRandom, _ elements: [Element], _ element: Element
    ) throws {
        try look(&random, element)
        let end = random.number(0..<plain.count + 1)
        let range = random.number(0..<end + 1)..<end
        switch random.number(0..<12) {
        case 0:
            try managed.append(element)
            plain.append(element)
        case 1:
            try managed.prepend(element)
            plain.insert(element, at: 0)
        case 2: #expect(try managed.popLast() == plain.popLast())
        case 3:
            #expect(try managed.popFirst() == plain.first)
            plain = Array(plain.dropFirst())
        case 4:
            try managed.insert(element, at: end)
            plain.insert(element, at: end)
        case 5:
            try managed.insert(contentsOf: elements, at: end)
            plain.insert(contentsOf: elements, at: end)
        case 6: try replace(&random, range, elements)
        case 7:
            if random.coin() {
                try managed += elements
            } else {
                try managed.append(contentsOf: elements)
            }
            plain += elements
        case 8: try removeEqual(&random, element)
        case 9: try changeAll(&random, element)
        default:
            guard let index = plain.indices.randomElement(using: &random) else { return }
            try changeOne(&random, index, element)
        }
    }

    private func look(_ random: inout SeededRandom, _ element: Element) throws {
        #expect(try managed.firstIndex(of: element) == plain.firstIndex(of: element))
        #expect(try managed.lastIndex(of: element) == plain.lastIndex(of: element))
        #expect(try managed.firstIndex { $0 != element } == plain.firstIndex { $0 != element })
        #expect(try managed.lastIndex { $0 != element } == plain.lastIndex { $0 != element })
        #expect(try managed.contains(element) == plain.contains(element))
        #expect(try managed.count(of: element) == plain.count { $0 == element })
        let from = random.number(0..<plain.count + 1)
        #expect(try managed[from...] == Array(plain[from...]))
        #expect(try managed[..<from] == Array(plain[..<from]))
        if let index = plain.indices.randomElement(using: &random) {
            #expect(try managed[index] == plain[index])
            #expect(try managed[...index] == Array(plain[...index]))
        }
    }

    private mutating func replace(
        _ random: inout SeededRandom, _ range: Range<Int>, _ elements: [Element]
    ) throws {
        #expect(try managed[range] == Array(plain[range]))
        switch random.number(0..<4) {
        case 0:
            try managed.replaceSubrange(range, with: elements)
            plain.replaceSubrange(range, with: elements)
        case 1:
            try managed.removeSubrange(range)
            plain.removeSubrange(range)
        case 2:
            try managed.replaceSubrange(range.upperBound..., with: elements)
            plain.replaceSubrange(range.upperBound..., with: elements)
        default:
            try managed.replaceSubrange(..<range.lowerBound, with: elements)
            plain.replaceSubrange(..<range.lowerBound, with: elements)
        }
    }

    private mutating func removeEqual(_ random: inout SeededRandom, _ element: Element) throws {
        if random.coin() {
            let index = plain.firstIndex(of: element)
            #expect(try managed.remove(element) == (index != nil))
            if let index { plain.remove(at: index) }
        } else {
            try managed.removeAll { $0 == element }
            plain.removeAll { $0 == element }
        }
    }

    private mutating func changeAll(_ random: inout SeededRandom, _ element: Element) throws {
        switch random.number(0..<7) {
        case 0:
            try managed.reverse()
            plain.reverse()
        case 1:
            try managed.sort { "\($0)" < "\($1)" }
            plain.sort { "\($0)" < "\($1)" }
        case 2:
            let seed = random.next()
            func shuffle(_ elements: inout [Element]) {
                var random = SeededRandom(seed)
                elements.shuffle(using: &random)
                elements.append(element)
            }
            try managed.update(shuffle)
            shuffle(&plain)
        case 3 where plain.count < 40:
            try managed *= 2
            plain += plain
        case 4 where random.number(0..<4) == 0:
            try managed.removeAll()
            plain.removeAll()
        case 5 where random.number(0..<4) == 0:
            try managed *= 0
            plain.removeAll()
        default: break
        }
    }

    private mutating func changeOne(
        _ random: inout SeededRandom, _ index: Int, _ element: Element
    ) throws {
        switch random.number(0..<4) {
        case 0:
            try managed.set(element, at: index)
            plain[index] = element
        case 1: #expect(try managed.remove(at: index) == plain.remove(at: index))
        case 2:
            let found = try managed.update(at: index) { there in
                defer { there = element }
                return there
            }
            #expect(found == plain[index])
            plain[index] = element
        default:
            let other = random.number(0..<plain.count)
            try managed.swapAt(index, other)
            plain.swapAt(index, other)
        }
    }
}

private struct SetPair<Member: Hashable & Sendable> {
    let managed: ManagedSet<Member>
    var plain: Set<Member> = []

    init() throws { managed = try ManagedSet<Member>() }

    func compare(with others: Set<Member>) throws {
        #expect(try managed.snapshot() == plain)
        #expect(managed.count == plain.count && managed.isEmpty == plain.isEmpty)
        #expect(try managed.isSubset(of: others) == plain.isSubset(of: others))
        #expect(try managed.isStrictSubset(of: others) == plain.isStrictSubset(of: others))
        #expect(try managed.isSuperset(of: others) == plain.isSuperset(of: others))
        #expect(try managed.isStrictSuperset(of: others) == plain.isStrictSuperset(of: others))
        #expect(try managed.isDisjoint(with: others) == plain.isDisjoint(with: others))
    }

    mutating func change(
        _ random: inout SeededRandom, _ member: Member, _ others: Set<Member>
    ) throws {
        #expect(try managed.contains(member) == plain.contains(member))
        switch random.number(0..<12) {
        case 0, 1: #expect(try managed.insert(member) == plain.insert(member).inserted)
        case 2: #expect(try managed.remove(member) == (plain.remove(member) != nil))
        case 3:
            try managed.formUnion(others)
            plain.formUnion(others)
        case 4:
            try managed |= others
            plain.formUnion(others)
        case 5:
            try managed.subtract(others)
            plain.subtract(others)
        case 6:
            try managed.formIntersection(others)
            plain.formIntersection(others)
        case 7:
            try managed.formSymmetricDifference(others)
            plain.formSymmetricDifference(others)
        case 8:
            #expect(try managed.union(others) == plain.union(others))
            #expect(try managed.intersection(others) == plain.intersection(others))
            #expect(try managed.subtracting(others) == plain.subtracting(others))
            #expect(
                try managed.symmetricDifference(others) == plain.symmetricDifference(others))
        case 9:
            guard let member = try managed.popFirst() else { return }
            #expect(plain.remove(member) == member)
        case 10:
            #expect(try managed.frozen() == plain)
            #expect(try managed.copy().snapshot() == plain)
            #expect(try ManagedSet(others).snapshot() == others)
        default:
            guard random.number(0..<10) == 0 else { return }
            try managed.removeAll()
            plain.removeAll()
        }
    }
}
