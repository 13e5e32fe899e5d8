// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(60)

/// What others find while, and after, somebody is killed in a change.
@Suite("Deaths of those who change managed containers", .serialized)
struct ManagedDeathTests {
    /// Changes of a whole array, each all at once.
    enum ArrayChange: Int, CaseIterable, Sendable, Codable {
        case sort, reverse, shuffle, swap, move, double

        func apply(to array: ManagedArray<Int>) throws {
            switch self {
            case .sort:
                try array.sort(by: >)
                try array.sort()
            case .reverse: try array.reverse()
            case .shuffle: try array.update { $0.shuffle() }
            case .swap: try array.swapAt(Int.random(in: 0..<30), Int.random(in: 0..<30))
            case .move:
                try array.replaceSubrange(5..<20, with: try array[5..<20].shuffled())
            case .double:
                try array *= 2
                try array.update { $0.removeLast($0.count / 2) }
            }
        }
    }

    @Test(arguments: ArrayChange.allCases)
    func `an array is seen, and left, before or after a change`(change: ArrayChange) throws {
        let all = Array(0..<30)
        let array = try ManagedArray(all)
        try massacre(changes: { try array.snapshot() }) {
            try ChildProcess.start(array, change) { array, change in
                while true { try change.apply(to: array) }
            }
        } look: {
            let found = try array.snapshot().sorted()
            #expect(found == all || found == (all + all).sorted(), "\(found)")
        } afterDeath: {
            try array.update { $0 = all }
            #expect(try array.snapshot() == all)
        }
    }

    private struct Pair: Codable, Sendable, Equatable {
        var first = 0
        var texts: [String] = []

        mutating func step() {
            first += 1
            texts = [String](repeating: "\(first)", count: first % 7)
        }

        var isWhole: Bool { texts == [String](repeating: "\(first)", count: first % 7) }
    }

    @Test func `a value and a namespace are seen, and left, before or after a change`() throws {
        let value = try ManagedValue(Pair())
        try massacre(changes: { try value.value }) {
            try ChildProcess.start(value) { value in while true { try value.update { $0.step() } } }
        } look: {
            let found = try value.value
            #expect(found.isWhole, "\(found)")
        }
        let namespace = try ManagedNamespace(Pair())
        try massacre(changes: { try namespace.value }) {
            try ChildProcess.start(namespace) { namespace in
                while true { try namespace.update { $0.step() } }
            }
        } look: {
            let found = try namespace.value
            #expect(found.isWhole, "\(found)")
        }
    }

    @Test func `a merge of several keys is left after some of them, in its order`() throws {
        let keys = 0..<20
        let dictionary = try ManagedDictionary<Int, Int>(keys.map { ($0, 0) })
        try massacre(changes: { try dictionary[0] }) {
            try ChildProcess.start(dictionary, keys) { dictionary, keys in
                let first = (try dictionary[0] ?? 0) + 1
                for next in first... {
                    try dictionary.merge(keys.map { ($0, next) })
                }
            }
        } look: {
            #expect(dictionary.count == keys.count)
        } afterDeath: {
            let values = try dictionary.frozen().sorted { $0.key < $1.key }.map(\.value)
            #expect(values == values.sorted(by: >) && values[0] - values[19] <= 1, "\(values)")
            try dictionary.merge(keys.map { ($0, values[0]) })
        }
    }

    @Test func `of a set each member is there or not, and they are as many as it says`() throws {
        let all = Set((0..<40).map { "member \($0)" })
        let set = try ManagedSet(all)
        try massacre(changes: { try set.snapshot() }) {
            try ChildProcess.start(set, all) { set, all in
                while true {
                    try set.formSymmetricDifference(all.filter { $0.hasSuffix("3") })
                    try set.subtract(all.filter { $0.hasSuffix("1") })
                    try set.formUnion(all.filter { $0.hasSuffix("1") })
                    try set.formIntersection(all.filter { !$0.hasSuffix("2") })
                    try set.formUnion(all)
                    _ = try set.popFirst()
                }
            }
        } look: {
            let members = try set.snapshot()
            #expect(members.isSubset(of: all))
        } afterDeath: {
            let members = try set.frozen()
            #expect(members.count == set.count && members.count >= 20)
        }
    }

    /// Several containers, and what was said to have been done in each.
    private struct Shared: Codable, Sendable {
        var counts: ManagedDictionary<String, Int>
        var sets: ManagedDictionary<Int, [Int]>
        var log: ManagedArray<Int>
        var members: ManagedSet<Int>
        var said: SharedArray<Int>

        init() throws {
            counts = try ManagedDictionary()
            sets = try ManagedDictionary()
            log = try ManagedArray()
            members = try ManagedSet()
            said = try SharedArray(count: 4)
        }

        func step() throws {
            let n = said[0] + 1
            try counts.add(1, forKey: "n")
            said[0] = n
            try finish(n)
        }

        /// Does what is not said to have been done; that may have been done, too.
        func finish(_ n: Int) throws {
            if said[1] < n { try sets.set([Int](repeating: n, count: 1 + n % 20), forKey: n % 5) }
            said[1] = n
            if said[2] < n { try log.append(n) }
            said[2] = n
            if said[3] < n { try members.insert(n) }
            said[3] = n
        }
    }

    @Test func `what was acknowledged is there, and what was not is one step at most`() throws {
        let shared = try Shared()
        var deaths = 0
        try massacre(changes: { shared.said[0] }) {
            try ChildProcess.start(shared) { shared in while true { try shared.step() } }
        } afterDeath: {
            deaths += 1
            let said = (0..<4).map { shared.said[$0] }
            let last = said[0]
            let counted = try shared.counts["n"] ?? 0
            #expect((last...last + deaths).contains(counted))
            let set = try shared.sets[said[1] % 5]
            #expect(set?.first.map { $0 >= said[1] } == true && Set(set ?? []).count == 1)
            let log = try shared.log.snapshot()
            #expect(Set(log).isSuperset(of: 1...said[2]) && log.count <= said[2] + deaths)
            let members = try shared.members.frozen()
            #expect(members.isSuperset(of: 1...said[3]) && members.count == shared.members.count)
            try shared.finish(last)
        }
    }

    /// Kills children that make a change over and over; looks at what there is meanwhile, and afterwards.
    private func massacre<Seen: Equatable>(
        changes seen: () throws -> Seen, by start: () throws -> ChildProcess,
        look: () throws -> Void = {}, afterDeath: () throws -> Void = {}
    ) throws {
        for round in 0..<10 {
            let before = try seen()
            let child = try start()
            try eventually { try seen() != before }
            for _ in 0..<10 {
                try look()
                usleep(UInt32(37 * round % 100))
            }
            try child.kill()
            #expect(try child.join(timeout: long) == .signalled(SIGKILL))
            try look()
            try afterDeath()
        }
    }
}
