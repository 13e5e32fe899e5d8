// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

@Suite("Managed arrays", .serialized)
struct ManagedArrayTests {
    @Test func `does as an array of Swift does`() throws {
        let managed = try ManagedArray<String>()
        var plain: [String] = []
        var random = SystemRandomNumberGenerator()
        for step in 0..<6000 {
            let element = String(repeating: "x", count: Int.random(in: 0..<40)) + "\(step)"
            let index = plain.isEmpty ? 0 : Int.random(in: plain.indices, using: &random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0, 1:
                try managed.append(element)
                plain.append(element)
            case 2:
                try managed.prepend(element)
                plain.insert(element, at: 0)
            case 3: #expect(try managed.popLast() == plain.popLast())
            case 4:
                let first = plain.first
                #expect(try managed.popFirst() == first)
                plain = Array(plain.dropFirst())
            case 5:
                try managed.insert(element, at: index)
                plain.insert(element, at: index)
            case 6:
                guard !plain.isEmpty else { continue }
                #expect(try managed.remove(at: index) == plain.remove(at: index))
            case 7:
                guard !plain.isEmpty else { continue }
                try managed.update(at: index) { $0 += "!" }
                plain[index] += "!"
                #expect(try managed[index] == plain[index])
            case 8:
                let range = index..<min(plain.count, index + 3)
                let new = (0..<Int.random(in: 0..<5, using: &random)).map { "\(step).\($0)" }
                #expect(try managed[range] == Array(plain[range]))
                try managed.replaceSubrange(range, with: new)
                plain.replaceSubrange(range, with: new)
            default:
                try managed += [element, element]
                plain += [element, element]
            }
            if step % 500 == 0 { #expect(try managed.snapshot() == plain) }
        }
        #expect(managed.count == plain.count)
        #expect(try managed.snapshot() == plain)
        try managed.sort()
        #expect(try managed.snapshot() == plain.sorted())
    }

    @Test func `has the methods of Python's list`() throws {
        let list = try ManagedArray([3, 1, 2, 3])
        #expect(try list.first == 3 && list.last == 3)
        #expect(try list.firstIndex(of: 2) == 2)
        #expect(try list.count(of: 3) == 2)
        #expect(try list.contains(1))
        #expect(try list.remove(3))
        #expect(try !list.remove(9))
        #expect(try list.snapshot() == [1, 2, 3])
        try list.reverse()
        #expect(try list.snapshot() == [3, 2, 1])
        try list.swapAt(0, 2)
        #expect(try list.snapshot() == [1, 2, 3])
        try list *= 2
        #expect(try list.snapshot() == [1, 2, 3, 1, 2, 3])
        #expect(try list + [4] == [1, 2, 3, 1, 2, 3, 4])
        try list.removeAll { $0 == 2 }
        #expect(try list.copy().snapshot() == [1, 3, 1, 3])
        try list.insert(contentsOf: [8, 9], at: 1)
        try list.removeSubrange(3..<6)
        #expect(try list.snapshot() == [1, 8, 9])
        try list.set(7, at: 1)
        #expect(try list[1] == 7)
        for index in [-1, 3, Int.max] {
            #expect(throws: SharedStateError.self) { try list[index] }
            #expect(throws: SharedStateError.self) { try list.set(1, at: index) }
            #expect(throws: SharedStateError.self) { try list.remove(at: index) }
        }
        #expect(throws: SharedStateError.self) { try list[1..<4] }
        try list.removeAll()
        #expect(try list.isEmpty && list.first == nil && list.last == nil)
        let texts = try ManagedArray<[UInt8]>()
        try texts.append([1, 2, 3])
        #expect(try texts.withElement(at: 0) { (bytes: Span<UInt8>) in bytes[2] } == 3)
    }

    @Test func `an array appended to itself does no harm`() throws {
        struct Node: Codable, Sendable { var children: ManagedArray<Node>? }
        let list = try ManagedArray<Node>()
        try list.append(Node(children: list))
        #expect(try list[0].children?.count == 1)
    }

    @Test func `killed writers leave a whole array`() throws {
        let list = try ManagedArray<[Int]>()
        let started = try Queue<Bool>()
        for round in 0..<12 {
            let child = try ChildProcess.start(list, started, round) { list, started, round in
                for n in 0... {
                    let element = [Int](repeating: round << 32 | n, count: 1 + n % 30)
                    try list.append(contentsOf: [element, element])
                    if n % 3 == 0 { _ = try list.popFirst() }
                    if n % 5 == 0 { try list.removeSubrange(0..<min(2, list.count)) }
                    if n == 20 { try started.put(true) }
                }
            }
            _ = try started.get(timeout: .seconds(20))
            try child.kill()
            try child.join()
            for element in try list.snapshot() {
                #expect(
                    Set(element).count == 1 && element.count == 1 + (element[0] & 0xffff_ffff) % 30)
            }
        }
        try list.append([1])
        #expect(try list.last == [1])
    }
}
