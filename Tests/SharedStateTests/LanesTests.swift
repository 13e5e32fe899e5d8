// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

private struct Again: Error {}

@Suite("Lanes", .serialized)
struct LanesTests {
    @Test func `one process gets what many put, each one's in its order`() throws {
        let lanes = try Lanes<[Int]>(capacity: 8)
        let producers = try (0..<3).map { number in
            try ChildProcess.start(lanes, number) { lanes, number in
                let lane = try lanes.lane()
                for n in 0..<500 { try lane.put([number, n]) }
            }
        }
        var next = [0, 0, 0]
        do {
            while true {
                let element = try lanes.get(timeout: long)
                #expect(element[1] == next[element[0]])
                next[element[0]] += 1
            }
        } catch let error as SharedStateError where error.code == .finished {}
        // Finished as the last of those that had joined left; others may have come too late.
        for child in producers { try child.join(timeout: long) }
        #expect(next.reduce(0, +).isMultiple(of: 500) && next.max() == 500)
    }

    @Test func `what they are and hold is known`() throws {
        let lanes = try Lanes<Int>(capacity: 128, producers: 2)
        let lane = try lanes.lane()
        for n in 0..<65 { try lane.put(n) }
        #expect(lanes.statistics.count == 65 && lanes.statistics.highWater == 65)
        for n in 0..<65 { #expect(try lanes.get(timeout: long) == n) }
        let seen = lanes.statistics
        #expect(seen.count == 0 && seen.highWater == 65 && seen.capacity == 128)
        #expect(seen.producers == 1 && seen.byteCount == 0 && seen.byteLimit == nil)
        lanes.cancel()
        #expect(!seen.isFinished && lanes.statistics.isFinished && lanes.statistics.isCancelled)
    }

    @Test func `tasks put and get, and the end comes with the last lane`() async throws {
        let lanes = try Lanes<Int>(capacity: 2)
        let total = try await withThrowingTaskGroup(of: Int.self) { group in
            let inputs = try (0..<4).map { _ in try lanes.lane() }
            for lane in inputs {
                group.addTask {
                    for n in 1...100 { try await lane.put(n) }
                    return 0
                }
            }
            group.addTask { try await lanes.reduce(0, +) }
            // The lanes are gone with their tasks, but for these.
            withExtendedLifetime(inputs) {}
            for _ in 0..<4 { _ = try await group.next() }
            lanes.finish()
            return try await group.next() ?? 0
        }
        #expect(total == 4 * 5050)
    }

    @Test func `a killed producer's elements are delivered, and then its stream ends`() throws {
        let lanes = try Lanes<Int>()
        let child = try ChildProcess.start(lanes) { lanes in
            let lane = try lanes.lane()
            for n in 0..<10 { try lane.put(n) }
            kill(getpid(), SIGKILL)
            try lane.put(10)
        }
        for n in 0..<10 { #expect(try lanes.get(timeout: long) == n) }
        #expect(code { _ = try lanes.get(timeout: long) } == .finished)
        #expect(try child.join(timeout: long) == .signalled(SIGKILL))
        #expect(code { _ = try lanes.lane() } == .finished)
    }

    @Test func `a killed consumer ends the waits of producers and leaves the rest`() async throws {
        let lanes = try Lanes<Int>(capacity: 2)
        let child = try ChildProcess.start(lanes) { lanes in
            try lanes.withNext { _ in kill(getpid(), SIGKILL) }
        }
        let lane = try lanes.lane()
        await #expect(throws: SharedStateError.self) {
            for n in 0..<10 { try await lane.put(n, timeout: long) }
        }
        #expect(code { try lane.withSlot(timeout: long) { $0[0] = 1 } } == .finished)
        #expect(try await child.join(timeout: long) == .signalled(SIGKILL))
        #expect(try lanes.tryGet() == 0 && lanes.tryGet() == 1)
    }

    @Test func `a second consumer is refused, and waits end in time`() throws {
        let lanes = try Lanes<Int>(capacity: 2)
        let lane = try lanes.lane()
        #expect(try lanes.tryGet() == nil)
        #expect(code { _ = try lanes.get(timeout: .milliseconds(5)) } == .timedOut)
        let child = try ChildProcess.start(lanes) { lanes in
            do {
                _ = try lanes.get()
            } catch let error as SharedStateError where error.code == .invalidArgument {
                exit(7)
            }
        }
        #expect(try child.join(timeout: long) == .exited(code: 7))
        #expect(try lane.tryPut(1) && lane.tryPut(2) && !lane.tryPut(3))
        #expect(code { try lane.put(3, timeout: .milliseconds(5)) } == .timedOut)
        #expect(lanes.count == 2 && lanes.capacity == 2)
        lanes.cancel()
        #expect(code { try lane.put(3) } == .closed)
        #expect(code { _ = try lanes.get() } == .closed)
    }

    @Test func `elements are written and read in place`() throws {
        let lanes = try Lanes<[Float]>(capacity: 2)
        let child = try ChildProcess.start(lanes) { lanes in
            let lane = try lanes.lane()
            try lane.withSlot(of: 100_000) { span in
                for n in span.indices { span[n] = Float(n) }
            }
        }
        #expect(throws: Again.self) { try lanes.withNext(timeout: long) { _ in throw Again() } }
        #expect(try lanes.withNext(timeout: long) { $0[99_999] } == 99_999)
        #expect(try child.join(timeout: long) == .exited(code: 0))
        let numbers = try Lanes<Int>(capacity: 2)
        let lane = try numbers.lane()
        #expect(throws: Again.self) { try lane.withSlot { _ in throw Again() } }
        try lane.withSlot { $0[0] = 5 }
        #expect(try numbers.withNext { $0[0] } == 5)
    }

    @Test func `a byte limit bounds the long elements of each lane`() throws {
        let lanes = try Lanes<[UInt8]>(capacity: 16, byteLimit: 25_000)
        let lane = try lanes.lane()
        let other = try lanes.lane()
        let long = [UInt8](repeating: 1, count: 10_000)
        #expect(try lane.tryPut(long) && lane.tryPut(long) && !lane.tryPut(long))
        #expect(try other.tryPut(long) && lane.tryPut([2]))
        #expect(code { try lane.put(long + long + long) } == .tooLarge)
        #expect(code { try lane.withSlot(of: 10_000, timeout: .zero) { _ in } } == .timedOut)
        #expect(code { _ = try Lanes<Int>(byteLimit: 0) } == .invalidArgument)
    }

    @Test func `named lanes are found by their name and type`() throws {
        let name = "sharedstate.lanes.\(getpid())"
        let region = try Region(creating: name, capacity: 8 << 20)
        defer { try? Region.remove(name) }
        let lanes = try Lanes<Int32>(creating: "logs", in: region, type: "line")
        #expect(code { _ = try Lanes<Int32>(opening: "logs", in: region) } == .incompatible)
        #expect(code { _ = try Broadcast<Int32>(opening: "logs", in: region) } == .incompatible)
        let other = try Lanes<UInt32>(opening: "logs", in: region, type: "line")
        try other.lane().put(5)
        #expect(try lanes.get(timeout: long) == 5)
        #expect(code { _ = try Lanes<Int>(capacity: 3) } == .invalidArgument)
        #expect(code { _ = try Lanes<Int>(producers: 0) } == .invalidArgument)
    }
}
