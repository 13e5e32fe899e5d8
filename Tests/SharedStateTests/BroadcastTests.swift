// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

@Suite("Broadcast", .serialized)
struct BroadcastTests {
    @Test func `what it is and holds is known`() throws {
        let broadcast = try Broadcast<Int>(capacity: 16)
        let publisher = try broadcast.publisher()
        let subscriber = try broadcast.subscriber()
        for n in 0..<3 { try publisher.put(n) }
        #expect(try subscriber.get(timeout: long) == 0)
        let seen = broadcast.statistics
        #expect(seen.count == 3 && seen.capacity == 16 && seen.behind == 2)
        #expect(seen.publishers == 1 && seen.subscribers == 1 && seen.byteLimit == nil)
        broadcast.finish()
        #expect(!seen.isFinished && broadcast.statistics.isFinished)
        #expect(!broadcast.statistics.isCancelled && seen.byteCount == 0)
    }

    @Test func `every subscriber in every process gets every element, in one order`() throws {
        let broadcast = try Broadcast<Int>(capacity: 16)
        let ready = try Queue<Bool>()
        let orders = try Queue<[Int]>()
        let subscribers = try (0..<2).map { _ in
            try ChildProcess.start(broadcast, ready, orders) { broadcast, ready, orders in
                let subscriber = try broadcast.subscriber()
                try ready.put(true)
                var seen: [Int] = []
                do {
                    while true { seen.append(try subscriber.get()) }
                } catch let error as SharedStateError where error.code == .finished {}
                try orders.put(seen)
            }
        }
        for _ in subscribers { _ = try ready.get(timeout: long) }
        let first = try broadcast.publisher()
        let publisher = try ChildProcess.start(broadcast) { broadcast in
            let publisher = try broadcast.publisher()
            for n in 0..<500 { try publisher.put(1000 + n) }
        }
        for n in 0..<500 { try first.put(n, timeout: long) }
        #expect(try publisher.join(timeout: long) == .exited(code: 0))
        broadcast.finish()
        let a = try orders.get(timeout: long)
        let b = try orders.get(timeout: long)
        #expect(a == b && a.count == 1000)
        #expect(a.filter { $0 < 1000 } == Array(0..<500))
        #expect(a.filter { $0 >= 1000 } == Array(1000..<1500))
        for child in subscribers { #expect(try child.join(timeout: long) == .exited(code: 0)) }
    }

    @Test func `a slow lossless subscriber is waited for, an overwriting one counts its losses`()
        throws
    {
        let broadcast = try Broadcast<String>(capacity: 8)
        let publisher = try broadcast.publisher()
        let overwriting = try broadcast.subscriber(.overwriting)
        for n in 0..<100 { try publisher.put("\(n)") }
        var seen = 0
        while let element = try overwriting.tryGet() {
            #expect(element == "\(overwriting.lost + seen)")
            seen += 1
        }
        #expect(seen + overwriting.lost == 100 && seen > 0 && overwriting.lost > 0)

        let lossless = try broadcast.subscriber(.lossless)
        var put = 0
        while try publisher.tryPut("x") { put += 1 }
        #expect(put >= 1 && put <= 8 && lossless.count == put && lossless.lost == 0)
        #expect(code { try publisher.put("y", timeout: .milliseconds(20)) } == .timedOut)
        #expect(try lossless.get() == "x")
    }

    @Test func `a byte limit bounds the long elements that are kept`() throws {
        let broadcast = try Broadcast<[UInt8]>(capacity: 16, byteLimit: 25_000)
        let publisher = try broadcast.publisher()
        let overwriting = try broadcast.subscriber(.overwriting)
        let lossless = try broadcast.subscriber()
        let element = [UInt8](repeating: 1, count: 10_000)
        #expect(try publisher.tryPut(element) && publisher.tryPut(element))
        #expect(try !publisher.tryPut(element) && publisher.tryPut([2]))
        #expect(code { try publisher.put(element, timeout: .milliseconds(20)) } == .timedOut)
        #expect(code { try publisher.put(element + element + element) } == .tooLarge)
        #expect(try lossless.get() == element)
        try publisher.put(element, timeout: long)
        #expect(try overwriting.get() == element && overwriting.lost == 1)
        #expect(try overwriting.get() == [2] && overwriting.get() == element)
        #expect(try lossless.get() == element && lossless.get() == [2] && lossless.get() == element)
        #expect(code { _ = try Broadcast<Int>(byteLimit: 0) } == .invalidArgument)
    }

    @Test func `a dead subscriber holds nobody up, and the last publisher's death ends it`() throws
    {
        let broadcast = try Broadcast<Int>(capacity: 4)
        let ready = try Queue<Bool>()
        let child = try ChildProcess.start(broadcast, ready) { broadcast, ready in
            let subscriber = try broadcast.subscriber()
            try ready.put(true)
            pause()
            _ = try subscriber.get()
        }
        _ = try ready.get(timeout: long)
        let publisher = try broadcast.publisher()
        #expect(broadcast.subscriberCount == 1)
        while try publisher.tryPut(0) {}
        try child.kill()
        for n in 0..<20 { try publisher.put(n, timeout: long) }
        #expect(broadcast.subscriberCount == 0)

        let ending = try Broadcast<Int>()
        let subscriber = try ending.subscriber()
        let publishing = try ChildProcess.start(ending) { ending in
            let publisher = try ending.publisher()
            try publisher.put(1)
            pause()
            try publisher.put(2)
        }
        #expect(try subscriber.get(timeout: long) == 1)
        try publishing.kill()
        #expect(code { _ = try subscriber.get(timeout: long) } == .finished)
    }

    @Test func `late joiners are given history`() throws {
        let broadcast = try Broadcast<Int>(capacity: 16)
        let publisher = try broadcast.publisher()
        for n in 0..<10 { try publisher.put(n) }
        let late = try broadcast.subscriber(history: 3)
        let now = try broadcast.subscriber()
        #expect(try [late.get(), late.get(), late.get()] == [7, 8, 9])
        #expect(try late.tryGet() == nil && now.tryGet() == nil)
        #expect(broadcast.count == 10 && broadcast.capacity == 16)
        #expect(code { _ = try broadcast.subscriber(history: -1) } == .invalidArgument)
        #expect(code { _ = try Broadcast<Int>(capacity: 3) } == .invalidArgument)
    }

    @Test func `tasks subscribe`() async throws {
        let broadcast = try Broadcast<[Int]>(capacity: 4)
        let subscribers = try (0..<3).map { _ in try broadcast.subscriber() }
        let publisher = try broadcast.publisher()
        let totals = try await withThrowingTaskGroup(of: Int.self) { group in
            for subscriber in subscribers {
                group.addTask { try await subscriber.reduce(0) { $0 + $1[0] } }
            }
            for n in 0..<100 { try await publisher.put([n]) }
            broadcast.finish()
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(totals == [4950, 4950, 4950])
    }

    @Test func `a named broadcast is found by its name, and cancel ends it`() throws {
        let name = "sharedstate.broadcast.\(getpid())"
        let region = try Region(creating: name, capacity: 8 << 20)
        defer { try? Region.remove(name) }
        let broadcast = try Broadcast<Int>(creating: "news", in: region)
        #expect(code { _ = try Queue<Int>(opening: "news", in: region) } == .incompatible)
        let other = try Broadcast<Int>(opening: "news", in: region)
        let subscriber = try broadcast.subscriber()
        try other.publisher().put(5)
        #expect(try subscriber.get(timeout: long) == 5)
        other.cancel()
        #expect(code { _ = try subscriber.get() } == .closed)
    }

    @Test func `a type of the user's own is the same for two Swift types`() throws {
        let name = "sharedstate.tagged.\(getpid())"
        let region = try Region(creating: name, capacity: 8 << 20)
        defer { try? Region.remove(name) }
        let broadcast = try Broadcast<Int32>(creating: "news", in: region, type: "headline")
        #expect(code { _ = try Broadcast<Int32>(opening: "news", in: region) } == .incompatible)
        let other = try Broadcast<UInt32>(opening: "news", in: region, type: "headline")
        let subscriber = try other.subscriber()
        try broadcast.publisher().put(7)
        #expect(try subscriber.get(timeout: long) == 7)
    }

    @Test func `elements are written and read in place`() throws {
        struct Again: Error {}
        let broadcast = try Broadcast<[Float]>(capacity: 2)
        let subscriber = try broadcast.subscriber()
        let child = try ChildProcess.start(broadcast) { broadcast in
            try broadcast.publisher().withSlot(of: 100_000) { span in
                for n in span.indices { span[n] = Float(n) }
            }
        }
        #expect(throws: Again.self) {
            try subscriber.withNext(timeout: long) { _ in throw Again() }
        }
        #expect(try subscriber.withNext(timeout: long) { $0[99_999] } == 99_999)
        #expect(try child.join(timeout: long) == .exited(code: 0))
        let numbers = try Broadcast<Int>(capacity: 2)
        let publisher = try numbers.publisher()
        let reader = try numbers.subscriber()
        #expect(throws: Again.self) { try publisher.withSlot { _ in throw Again() } }
        try publisher.withSlot { $0[0] = 5 }
        #expect(try reader.withNext { $0[0] } == 5)
        #expect(code { try reader.withNext(timeout: .milliseconds(5)) { _ in } } == .timedOut)
    }
}
