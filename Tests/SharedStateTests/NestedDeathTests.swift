// SPDX-License-Identifier: Apache-2.0

import CShm
import Glibc
import Testing

@testable import SharedState

private typealias Inner = ManagedDictionary<String, Int>
private let long = Duration.seconds(30)

/// What only the dead had comes back, whoever is killed and wherever.
@Suite(.serialized, .timeLimit(.minutes(5))) final class NestedDeathTests {
    /// Of the test's own: others count, too, in the family's.
    private let region: Region
    private let name = "sharedstate.nested.\(getpid()).\(UInt32.random(in: 0 ... .max))"

    init() throws {
        region = try Region(creating: name)
    }

    deinit {
        try? Region.remove(name)
    }

    private var counted: Int64 { unsafe cshm_anchor_count(region.pointer) }

    /// Until nothing but what the test itself has is counted, which the dead are reaped for.
    private func expectCounted(_ number: Int64) async throws {
        try await eventually {
            region.reap()
            return counted == number
        }
    }

    @Test func `what a killed process had from a dictionary comes back`() async throws {
        let outer = try ManagedDictionary<Int, ManagedArray<Int>>(in: region)
        let taken = try Event()
        let child = try ChildProcess.start(outer, taken) { outer, taken in
            let mine = try outer.value(forKey: 1)
            taken.set()
            while true { _ = mine.count }
        }
        let before = counted
        try outer.set(ManagedArray([1, 2, 3], in: region), forKey: 1)
        try await taken.wait(timeout: long)
        try outer.removeAll()
        region.reap()
        #expect(counted == before + 1)
        try child.kill()
        try await child.join()
        try await expectCounted(before)
    }

    @Test func `what a killed process had sent is taken, and goes then`() async throws {
        let queue = try Queue<Inner>(capacity: 4, in: region)
        let (sent, taken) = (try Event(), try Event())
        let child = try ChildProcess.start(queue, region, sent) { queue, region, sent in
            for number in 0..<3 {
                let inner = try Inner(in: region)
                try inner.set(number, forKey: "value")
                try queue.put(inner)
            }
            sent.set()
            while true { usleep(1000) }
        }
        try await sent.wait(timeout: long)
        let before = counted - 3
        try child.kill()
        try await child.join()
        region.reap()
        for number in 0..<3 { #expect(try await queue.get(timeout: long)["value"] == number) }
        try await expectCounted(before)
        // And what was taken by one that is killed then.
        let taker = try ChildProcess.start(queue, taken) { queue, taken in
            let inner = try queue.get()
            taken.set()
            while true { _ = inner.count }
        }
        try await queue.put(Inner(in: region))
        try await taken.wait(timeout: long)
        region.reap()
        #expect(counted == before + 1)
        try taker.kill()
        try await taker.join()
        try await expectCounted(before)
    }

    @Test func `whoever is killed at whatever instant, in the end everything is back`() async throws
    {
        let queue = try Queue<Inner>(capacity: 3, in: region)
        let outer = try ManagedDictionary<Int, Inner>(in: region)
        let before = counted
        var random = SystemRandomNumberGenerator()
        for _ in 0..<5 {
            let began = try Event()
            let child = try ChildProcess.start(queue, outer, region, began) {
                queue, outer, region, began in
                began.set()
                for number in 0... {
                    let inner = try Inner(in: region)
                    try inner.set(number, forKey: "value")
                    _ = try queue.tryPut(inner)
                    try outer.set(inner, forKey: number % 5)
                    if number % 3 == 0 { _ = try queue.tryGet()?["value"] }
                    if number % 7 == 0 { try outer.removeValue(forKey: number % 5) }
                }
            }
            try await began.wait(timeout: long)
            try await Task.sleep(for: .microseconds(.random(in: 0...3000, using: &random)))
            try child.kill()
            try await child.join()
            for inner in try outer.values { #expect(try inner["value"] != nil) }
        }
        // Who finds the queue empty lets go of what the dead had taken.
        try outer.removeAll()
        try await eventually {
            while let inner = try queue.tryGet() { #expect(try inner["value"] != nil) }
            region.reap()
            return counted == before
        }
    }
}
