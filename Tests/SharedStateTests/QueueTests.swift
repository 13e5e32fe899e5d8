// SPDX-License-Identifier: Apache-2.0

import CShm
import Glibc
import SharedState
import Testing

/// Not of a power of two's size, and with padding at its end.
private struct Odd: BitwiseCopyable, Sendable, Equatable {
    var a: Int64
    var b: UInt8
}

private struct Named: Codable, Sendable, Equatable {
    var name: String
    var numbers: [Int]
}

private struct Refuses: Codable, Sendable {
    struct Refusal: Error {}
    var text = ""
    init() {}
    init(from decoder: any Decoder) throws { throw Refusal() }
    func encode(to encoder: any Encoder) throws { throw Refusal() }
}

private struct Interruption: Error {}

private final class Anything {}

/// What is an address, or has one.
private struct Holding<Wrapped>: @unchecked Sendable {
    var wrapped: Wrapped
    var number: Int
}

/// Cannot be decoded if its number is 2.
private struct Choosy: Codable, Sendable, Equatable {
    var number: Int
    var text = "a text, so that it is encoded"

    init(_ number: Int) { self.number = number }

    init(from decoder: any Decoder) throws {
        let parts = try decoder.singleValueContainer().decode([Int].self)
        if parts[0] == 2 { throw Refuses.Refusal() }
        self.init(parts[0])
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode([number])
    }
}

private let long = Duration.seconds(30)

@Suite("Queue", .serialized)
struct QueueTests {
    // MARK: Capacity, order, time-outs

    @Test(arguments: [1, 2, 3, 7, 1000]) func `capacity is exact`(capacity: Int) throws {
        let queue = try Queue<Int>(capacity: capacity)
        #expect(queue.capacity == capacity && queue.isEmpty && !queue.isFull)
        for n in 0..<capacity { #expect(try queue.tryPut(n)) }
        #expect(try !queue.tryPut(-1))
        #expect(queue.isFull && queue.count == capacity)
        for n in 0..<capacity { #expect(try queue.tryGet() == n) }
        #expect(try queue.tryGet() == nil)
        #expect(queue.isEmpty)
    }

    @Test func `the count follows puts and gets, in every process`() throws {
        let queue = try Queue<Int>(capacity: 2)
        let counts = try Queue<Int>()
        let child = try ChildProcess.start(queue, counts) { queue, counts in
            try queue.put(1)
            try counts.put(queue.count)
            try queue.put(2)
            try counts.put(queue.count)
            _ = try queue.get()
            try counts.put(queue.count)
            _ = try queue.get()
            try counts.put(queue.count)
        }
        #expect(try child.join(timeout: long) == .exited(code: 0))
        #expect(try counts.get(upTo: 4) == [1, 2, 1, 0])
        #expect(queue.isEmpty)
    }

    @Test func `a wait ends no earlier than its time-out`() throws {
        let queue = try Queue<Int>(capacity: 1)
        for wait in [Duration.zero, .milliseconds(-5), .milliseconds(40)] {
            let started = ContinuousClock.now
            #expect(code { _ = try queue.get(timeout: wait) } == .timedOut)
            #expect(ContinuousClock.now - started >= wait)
        }
        try queue.put(1)
        let started = ContinuousClock.now
        #expect(code { try queue.put(2, timeout: .milliseconds(40)) } == .timedOut)
        #expect(ContinuousClock.now - started >= .milliseconds(40))
        #expect(try queue.get(timeout: nil) == 1)
    }

    @Test func `sizes out of range are refused`() {
        #expect(code { _ = try Queue<Int>(capacity: 0) } == .invalidArgument)
        #expect(code { _ = try Queue<Int>(capacity: 1 << 21) } == .invalidArgument)
        #expect(code { _ = try Queue<Int>(ports: 0) } == .invalidArgument)
        #expect(code { _ = try Queue<Int>(byteLimit: 0) } == .invalidArgument)
        #expect(code { _ = try Queue<ObjectIdentifier>() } == .cannotCross)
    }

    @Test func `addresses cannot cross, whatever they are in`() {
        func isRefused<Element: Sendable>(_ type: Element.Type) -> Bool {
            code { _ = try Queue<Element>() } == .cannotCross
        }
        let refused = unsafe [
            isRefused(Holding<UnsafePointer<Int>>.self),
            isRefused(Holding<UnsafeMutableRawBufferPointer>.self),
            isRefused(Holding<OpaquePointer?>.self),
            isRefused(Holding<Unmanaged<Anything>>.self),
            isRefused(Holding<any Any.Type>.self),
            isRefused(Holding<@convention(c) (Int32) -> Void>.self),
            isRefused([Holding<UnsafePointer<Int>>].self),
        ]
        #expect(refused == [Bool](repeating: true, count: 7))
        #expect(!isRefused(Holding<Int>.self))
    }

    @Test func `an element that cannot be decoded ends a batch, and is told of`() async throws {
        let queue = try Queue<Choosy>()
        for number in 1...3 { try await queue.put(Choosy(number)) }
        func takenInOneThread() throws -> [Choosy] { try queue.get(upTo: 3) }
        #expect(try takenInOneThread() == [Choosy(1)])
        #expect(throws: Refuses.Refusal.self) { try takenInOneThread() }
        #expect(try takenInOneThread() == [Choosy(3)])
        for number in 1...3 { try await queue.put(Choosy(number)) }
        #expect(try queue.tryGet(upTo: 3) == [Choosy(1)])
        #expect(throws: Refuses.Refusal.self) { try queue.tryGet(upTo: 3) }
        #expect(try queue.tryGet(upTo: 3) == [Choosy(3)])
        for number in 1...3 { try await queue.put(Choosy(number)) }
        #expect(try await queue.get(upTo: 3) == [Choosy(1)])
        await #expect(throws: Refuses.Refusal.self) { try await queue.get(upTo: 3) }
        #expect(try await queue.get(upTo: 3) == [Choosy(3)])
        #expect(queue.isEmpty)
    }

    @Test func `elements of every kind come back as they were`() throws {
        let odd = try Queue<Odd>(capacity: 8)
        try odd.put(Odd(a: -1, b: 255))
        try odd.put(contentsOf: [Odd(a: 1, b: 2), Odd(a: 3, b: 4)])
        #expect(try odd.get() == Odd(a: -1, b: 255))
        #expect(try odd.get(upTo: 9) == [Odd(a: 1, b: 2), Odd(a: 3, b: 4)])

        let named = try Queue<Named>()
        try named.put(contentsOf: [Named(name: "a", numbers: [1]), Named(name: "", numbers: [])])
        #expect(
            try named.get(upTo: 2) == [
                Named(name: "a", numbers: [1]), Named(name: "", numbers: []),
            ])

        let nothing = try Queue<Void>()
        try nothing.put(())
        try nothing.put(())
        #expect(nothing.count == 2)
        try nothing.get()

        let optional = try Queue<Int?>()
        try optional.put(nil)
        #expect(try optional.get() == nil)

        let arrays = try Queue<[Float]>()
        try arrays.put([])
        try arrays.put([1, 2, 3])
        #expect(try arrays.get() == [] && arrays.get() == [1, 2, 3])
    }

    @Test func `another process knows private and local types`() throws {
        struct Local: BitwiseCopyable, Sendable { var a = 1 }
        let queue = try Queue<Named>()
        let odds = try Queue<[Odd]>()
        let locals = try Queue<Local>()
        let child = try ChildProcess.start(queue, odds, locals) { queue, odds, locals in
            try queue.put(Named(name: "a", numbers: [Int(try odds.get()[0].b)]))
            try locals.put(Local(a: 3))
        }
        try odds.put([Odd(a: 1, b: 2)])
        #expect(try queue.get(timeout: long) == Named(name: "a", numbers: [2]))
        #expect(try locals.get(timeout: long).a == 3)
        #expect(try child.join(timeout: long) == .exited(code: 0))
    }

    @Test func `large elements cross`() throws {
        let queue = try Queue<[UInt8]>(capacity: 2)
        let back = try Queue<Int>()
        let child = try ChildProcess.start(queue, back) { queue, back in
            for _ in 0..<4 {
                let element = try queue.get()
                try back.put(
                    element == [UInt8](repeating: element[0], count: 16 << 20) ? Int(element[0]) : 0
                )
            }
        }
        for n in 1...4 {
            try queue.put([UInt8](repeating: UInt8(n), count: 16 << 20), timeout: long)
        }
        for n in 1...4 { #expect(try back.get(timeout: long) == n) }
        try child.join(timeout: long)
    }

    @Test func `an element that cannot be encoded fails its put and changes nothing`() throws {
        let queue = try Queue<Refuses>(capacity: 2)
        #expect(throws: Refuses.Refusal.self) { try queue.put(Refuses()) }
        #expect(queue.isEmpty)
        #expect(try queue.tryGet() == nil)
    }

    @Test func `each producer's order is kept`() throws {
        let queue = try Queue<SIMD2<Int>>(capacity: 64)
        let producers = try (0..<3).map { number in
            try ChildProcess.start(queue, number) { queue, number in
                for n in 0..<20_000 { try queue.put([number, n]) }
            }
        }
        var next = [0, 0, 0]
        for _ in 0..<60_000 {
            let element = try queue.get(timeout: long)
            guard element[1] == next[element[0]] else {
                Issue.record("producer \(element[0]) put \(element[1]) before \(next[element[0]])")
                break
            }
            next[element[0]] += 1
        }
        for child in producers { try child.join(timeout: long) }
        #expect(next == [20_000, 20_000, 20_000] && queue.isEmpty)
    }

    @Test func `what the parent puts and then the child puts comes in that order`() throws {
        let queue = try Queue<Int>()
        try queue.put(contentsOf: 0..<10)
        let child = try ChildProcess.start(queue) { try $0.put(contentsOf: 10..<20) }
        #expect(try child.join(timeout: long) == .exited(code: 0))
        #expect(try queue.get(upTo: 100) == Array(0..<20))
    }

    @Test func `a child of a child uses the queue of both`() throws {
        let queue = try Queue<Int>()
        let child = try ChildProcess.start(queue) { queue in
            let grandchild = try ChildProcess.start(queue) { queue in
                try queue.put(try queue.get() + 1)
            }
            try queue.put(41)
            try grandchild.join()
        }
        #expect(try child.join(timeout: long) == .exited(code: 0))
        #expect(try queue.get(timeout: long) == 42)
    }

    @Test func `a consumer that exits with elements unread holds nobody up`() throws {
        let queue = try Queue<[UInt8]>(capacity: 100)
        let child = try ChildProcess.start(queue) { queue in
            for _ in 0..<50 { try queue.put([UInt8](repeating: 1, count: 10_000)) }
        }
        #expect(try child.join(timeout: long) == .exited(code: 0))
        #expect(queue.count == 50)
    }

    // MARK: Batches

    @Test func `a batch longer than the queue waits and arrives in order`() throws {
        let queue = try Queue<Int>(capacity: 100)
        let sum = try Queue<Int>()
        let child = try ChildProcess.start(queue, sum) { queue, sum in
            var next = 0
            while next < 10_000 {
                for element in try queue.get(upTo: 77) {
                    guard element == next else { throw Interruption() }
                    next += 1
                }
            }
            try sum.put(next)
        }
        #expect(try queue.put(contentsOf: 0..<10_000, timeout: long) == 10_000)
        #expect(try sum.get(timeout: long) == 10_000)
        try child.join(timeout: long)
    }

    @Test func `a batch whose time is up says how many were put`() throws {
        let queue = try Queue<Int>(capacity: 10)
        #expect(try queue.put(contentsOf: 0..<15, timeout: .milliseconds(20)) == 10)
        #expect(code { try queue.put(contentsOf: [1], timeout: .zero) } == .timedOut)
        #expect(try queue.put(contentsOf: []) == 0)
        #expect(try queue.tryGet(upTo: 4) == [0, 1, 2, 3])
        #expect(try queue.get(upTo: 100) == [4, 5, 6, 7, 8, 9])
        #expect(try queue.tryGet(upTo: 1) == [])
        #expect(code { _ = try queue.get(upTo: 0) } == .invalidArgument)

        let text = try Queue<String>(capacity: 2)
        #expect(try text.put(contentsOf: ["a", "b", "c"], timeout: .milliseconds(20)) == 2)
        #expect(try text.tryGet(upTo: 3) == ["a", "b"])
        #expect(try text.tryGet(upTo: 3) == [])
    }

    // MARK: The end

    @Test func `a finished queue delivers what is in it and then ends`() throws {
        let queue = try Queue<Int>()
        try queue.put(contentsOf: 0..<3)
        queue.finish()
        queue.finish()
        #expect(code { try queue.put(9) } == .finished)
        #expect(code { try queue.put(contentsOf: [9]) } == .finished)
        #expect(code { _ = try queue.tryPut(9) } == .finished)
        #expect(Array(queue.elements) == [0, 1, 2])
        #expect(code { _ = try queue.get() } == .finished)
        #expect(code { _ = try queue.tryGet() } == .finished)
        #expect(code { _ = try queue.get(upTo: 3) } == .finished)
        #expect(queue.statistics.state == .finished)
    }

    @Test func `consumers in many processes end when another process finishes`() throws {
        let queue = try Queue<Int>(capacity: 16)
        let sums = try Queue<Int>()
        let consumers = try (0..<3).map { _ in
            try ChildProcess.start(queue, sums) { queue, sums in
                try sums.put(queue.elements.reduce(0, +))
            }
        }
        let producer = try ChildProcess.start(queue) { queue in
            try queue.put(contentsOf: 1...1000)
            queue.finish()
        }
        for child in consumers + [producer] {
            #expect(try child.join(timeout: long) == .exited(code: 0))
        }
        #expect(try sums.get(upTo: 3).reduce(0, +) == 500_500)
    }

    @Test func `cancel ends a wait in another process`() throws {
        let queue = try Queue<Int>()
        let began = try Queue<Bool>()
        let child = try ChildProcess.start(queue, began) { queue, began in
            try began.put(true)
            do {
                _ = try queue.get()
            } catch let error as SharedStateError where error.code == .closed {
                exit(7)
            }
        }
        _ = try began.get(timeout: long)
        queue.cancel()
        #expect(try child.join(timeout: long) == .exited(code: 7))
        #expect(code { try queue.put(1) } == .closed)
        #expect(code { _ = try queue.get() } == .closed)
        #expect(Array(queue.elements) == [])
        #expect(queue.statistics.state == .cancelled)
    }

    @Test func `the stream ends with the last producer`() throws {
        let queue = try Queue<Int>(capacity: 8)
        let producer = try queue.producer()
        let children = try (0..<3).map { number in
            try ChildProcess.start(producer, number) { producer, number in
                for n in 0..<100 { try producer.put(number * 100 + n) }
                producer.leave()
            }
        }
        producer.leave()
        producer.leave()
        #expect(code { try producer.put(1) } == .closed)
        #expect(Array(queue.elements).sorted() == Array(0..<300))
        for child in children { #expect(try child.join(timeout: long) == .exited(code: 0)) }
        #expect(code { _ = try queue.producer() } == .finished)
    }

    @Test func `the stream ends when the last producer's process is killed`() throws {
        let queue = try Queue<Int>()
        let producer = try queue.producer()
        let child = try ChildProcess.start(producer) { producer in
            try producer.put(1)
            pause()
        }
        #expect(try queue.get(timeout: long) == 1)
        producer.leave()
        #expect(code { _ = try queue.get(timeout: .milliseconds(30)) } == .timedOut)
        try child.kill()
        #expect(code { _ = try queue.get(timeout: long) } == .finished)
    }

    // MARK: Leases

    @Test func `an element is gone when its body returns and comes again when it throws`() throws {
        let queue = try Queue<String>()
        try queue.put("a")
        try queue.put("b")
        #expect(throws: Interruption.self) {
            try queue.withElement { _ in throw Interruption() }
        }
        let lease = try queue.lease()
        #expect(lease.element == "a" && lease.isRedelivered)
        #expect(queue.statistics.leased == 1)
        lease.done()
        #expect(try queue.withElement { $0 } == "b")
        #expect(try queue.tryLease() == nil)
        #expect(queue.statistics.leased == 0)
    }

    @Test func `what waits to be delivered again takes no room`() async throws {
        let queue = try Queue<Int>(capacity: 2)
        try await queue.put(contentsOf: [1, 2])
        #expect(queue.isFull)
        do { _ = try await queue.lease() }
        #expect(queue.count == 2 && !queue.isFull)
        try await queue.put(3, timeout: long)
        #expect(queue.count == 3 && queue.isFull)
        #expect(try !queue.tryPut(4))
        let all = try await [queue.get(), queue.get(), queue.get()]
        #expect(all == [1, 2, 3])
    }

    @Test func `a dropped lease is delivered again, before all others`() throws {
        let queue = try Queue<Int>()
        try queue.put(1)
        try queue.put(2)
        do { _ = try queue.lease() }
        #expect(try queue.get() == 1 && queue.get() == 2)
    }

    @Test func `a killed consumer's element is delivered again, and the end waits for it`() throws {
        let queue = try Queue<Int>()
        let holding = try Queue<Int>()
        try queue.put(contentsOf: [1, 2])
        queue.finish()
        let child = try ChildProcess.start(queue, holding) { queue, holding in
            let lease = try queue.lease()
            try holding.put(lease.element)
            pause()
            lease.done()
        }
        #expect(try holding.get(timeout: long) == 1)
        #expect(try queue.get(timeout: long) == 2)
        #expect(code { _ = try queue.get(timeout: .milliseconds(30)) } == .timedOut)
        try child.kill()
        let lease = try queue.lease(timeout: long)
        #expect(lease.element == 1 && lease.isRedelivered)
        lease.done()
        #expect(code { _ = try queue.get(timeout: long) } == .finished)
    }

    @Test func `a plain get is at most once`() throws {
        let queue = try Queue<Int>()
        let taken = try Queue<Int>()
        try queue.put(contentsOf: [1, 2])
        let child = try ChildProcess.start(queue, taken) { queue, taken in
            try taken.put(try queue.get())
            pause()
        }
        #expect(try taken.get(timeout: long) == 1)
        try child.kill()
        try child.join(timeout: long)
        queue.finish()
        #expect(Array(queue.elements) == [2])
    }

    @Test func `consumers killed at random with leases lose nothing`() throws {
        let queue = try Queue<Int>(capacity: 1000)
        let done = try ManagedDictionary<Int, Int>()
        try queue.put(contentsOf: 0..<1000)
        queue.finish()
        var killed = 0
        while true {
            let child = try ChildProcess.start(queue, done) { queue, done in
                while true {
                    do {
                        try queue.withElement { n in
                            usleep(50)
                            try done.update(n, default: 0) { $0 += 1 }
                        }
                    } catch let error as SharedStateError where error.code == .finished {
                        return
                    }
                }
            }
            if killed == 20 {
                #expect(try child.join(timeout: .seconds(60)) == .exited(code: 0))
                break
            }
            usleep(UInt32.random(in: 0..<20_000))
            try child.kill()
            try child.join(timeout: long)
            killed += 1
        }
        #expect(done.count == 1000)
        #expect(try done.values.reduce(0, +) <= 1000 + killed)
        #expect(code { _ = try queue.get() } == .finished)
    }

    @Test func `join waits for the tasks of the living and of the dead`() throws {
        let queue = try JoinableQueue<Int>()
        for n in 0..<10 { try queue.put(n) }
        let holding = try Queue<Int>()
        let child = try ChildProcess.start(queue, holding) { queue, holding in
            try holding.put(try queue.get())
            pause()
        }
        let first = try holding.get(timeout: long)
        let workers = try (0..<3).map { _ in
            try ChildProcess.start(queue) { queue in
                while true {
                    do { _ = try queue.get() } catch { return }
                    try queue.taskDone()
                }
            }
        }
        #expect(code { try queue.join(timeout: .milliseconds(50)) } == .timedOut)
        try child.kill()
        // Delivered again, and done by a worker that lives.
        try queue.join(timeout: long)
        #expect(queue.queue.isEmpty && first == 0)
        queue.finish()
        for worker in workers { #expect(try worker.join(timeout: long) == .exited(code: 0)) }
    }

    @Test func `taskDone more often than get is an error`() throws {
        let queue = try JoinableQueue<Int>()
        try queue.put(1)
        #expect(code { try queue.taskDone() } == .invalidArgument)
        _ = try queue.get()
        try queue.taskDone()
        #expect(code { try queue.taskDone() } == .invalidArgument)
        try queue.join(timeout: .zero)
    }

    // MARK: In place

    @Test func `elements are written and read in place`() throws {
        let queue = try Queue<Int>(capacity: 64)
        try queue.withSlot(of: 8) { slot in
            for n in slot.indices { slot[n] = n * n }
        }
        #expect(queue.count == 8)
        var seen: [Int] = []
        while seen.count < 8 {
            try queue.withNext(upTo: 3) { span in
                #expect(span.count >= 1 && span.count <= 3)
                for n in span.indices { seen.append(span[n]) }
            }
        }
        #expect(seen == [0, 1, 4, 9, 16, 25, 36, 49])
        #expect(code { try queue.withSlot(of: 33) { _ in } } == .invalidArgument)
        #expect(code { try queue.withSlot(of: 0) { _ in } } == .invalidArgument)
    }

    @Test func `a body that throws puts nothing, or takes nothing`() throws {
        let queue = try Queue<Int>()
        #expect(throws: Interruption.self) {
            try queue.withSlot(of: 1) { _ in throw Interruption() }
        }
        #expect(queue.isEmpty)
        try queue.put(5)
        #expect(throws: Interruption.self) { try queue.withNext { _ in throw Interruption() } }
        #expect(try queue.withNext { $0[0] } == 5)
    }

    @Test func `a long message is written and read in place by two processes`() throws {
        let queue = try Queue<[UInt8]>(capacity: 4)
        let child = try ChildProcess.start(queue) { queue in
            try queue.withBytes(of: 3_000_000) { bytes in
                bytes.storeBytes(of: UInt64(77), toByteOffset: 16, as: UInt64.self)
                bytes.storeBytes(of: 9, toByteOffset: 2_999_999, as: UInt8.self)
            }
            try queue.withSlot(of: 100_000) { $0[99_999] = 3 }
        }
        try queue.withNext(timeout: long) { span in
            #expect(span.count == 3_000_000 && span[2_999_999] == 9)
            #expect(span[16] == 77 && span[17] == 0)
        }
        try queue.withNextBytes(timeout: long) { #expect($0.byteCount == 100_000) }
        try child.join(timeout: long)
    }

    // MARK: Limits, names, looking

    @Test func `a byte limit bounds long elements`() throws {
        let queue = try Queue<[UInt8]>(capacity: 100, byteLimit: 100_000)
        for _ in 0..<10 { #expect(try queue.tryPut([UInt8](repeating: 1, count: 10_000))) }
        #expect(try !queue.tryPut([UInt8](repeating: 1, count: 10_000)))
        #expect(try queue.tryPut([1]))
        #expect(code { try queue.put([UInt8](repeating: 1, count: 100_001)) } == .tooLarge)
        let statistics = queue.statistics
        #expect(statistics.byteCount == 100_000 && statistics.byteLimit == 100_000)
        #expect(
            code { try queue.withSlot(of: 10_000, timeout: .milliseconds(5)) { _ in } }
                == .timedOut)
        let child = try ChildProcess.start(queue) { queue in
            try queue.withSlot(of: 10_000) { $0[0] = 2 }
        }
        while try queue.get(timeout: long).first != 2 {}
        #expect(try child.join(timeout: long) == .exited(code: 0))
        #expect(try queue.tryPut([UInt8](repeating: 1, count: 10_000)))
    }

    @Test func `statistics are read by any process`() throws {
        let queue = try Queue<Int>(capacity: 300)
        let producer = try queue.producer()
        for n in 0..<200 { try producer.put(n) }
        let held = try queue.lease()
        let child = try ChildProcess.start(queue) { queue in
            let seen = queue.statistics
            guard seen.count == 199, seen.capacity == 300, seen.leased == 1, seen.producers == 1,
                seen.state == .open, seen.byteLimit == nil
            else { throw Interruption() }
        }
        #expect(try child.join(timeout: long) == .exited(code: 0))
        held.done()
    }

    @Test func `a named queue is found by its name`() throws {
        let name = "sharedstate.queue.\(getpid())"
        let region = try Region(creating: name, capacity: 16 << 20)
        defer { try? Region.remove(name) }
        let queue = try Queue<Int>(creating: "jobs", in: region, capacity: 5)
        #expect(code { _ = try Queue<Int>(creating: "jobs", in: region) } == .alreadyExists)
        #expect(code { _ = try Queue<String>(opening: "jobs", in: region) } == .incompatible)
        #expect(code { _ = try Queue<Int>(opening: "none", in: region) } == .notFound)
        let child = try ChildProcess.start(name) { name in
            let queue = try Queue<Int>(opening: "jobs", in: try Region(opening: name))
            try queue.put(contentsOf: [1, 2])
        }
        #expect(try child.join(timeout: long) == .exited(code: 0))
        #expect(try queue.get(upTo: 2) == [1, 2] && queue.capacity == 5)
        #expect(try region.names() == ["jobs"])
        try region.removeName("jobs")
        #expect(try region.names() == [])
        try queue.put(3)
    }

    @Test func `a named queue that is joined is refused as one that is not is`() throws {
        let name = "sharedstate.joined.\(getpid())"
        let region = try Region(creating: name, capacity: 16 << 20)
        defer { try? Region.remove(name) }
        let queue = try JoinableQueue<Int>(creating: "jobs", in: region, capacity: 3)
        typealias Joined = JoinableQueue
        #expect(code { _ = try Joined<Int>(creating: "jobs", in: region) } == .alreadyExists)
        #expect(code { _ = try Joined<Int>(opening: "none", in: region) } == .notFound)
        #expect(code { _ = try Joined<UInt>(opening: "jobs", in: region) } == .incompatible)
        #expect(code { _ = try Lanes<Int>(opening: "jobs", in: region) } == .incompatible)
        let lanes = try Lanes<Int>(creating: "lanes", in: region)
        #expect(code { _ = try Joined<Int>(opening: "lanes", in: region) } == .incompatible)
        #expect(code { _ = try Joined<Int>(creating: "lanes", in: region) } == .alreadyExists)
        #expect(
            code { _ = try Joined<Int>(creating: "none", in: region, capacity: 0) }
                == .invalidArgument)
        let child = try ChildProcess.start(name) { name in
            let queue = try JoinableQueue<Int>(opening: "jobs", in: try Region(opening: name))
            try queue.put(7)
            guard try queue.get() == 7 else { throw Interruption() }
            try queue.taskDone()
        }
        #expect(try child.join(timeout: long) == .exited(code: 0))
        try queue.join(timeout: long)
        #expect(try queue.queue.capacity == 3 && region.names().sorted() == ["jobs", "lanes"])
        withExtendedLifetime(lanes) {}
    }

    @Test func `a type of the user's own is the same for two Swift types`() throws {
        let queue = try Queue<UInt32>(creating: "user.\(getpid())", in: nil, type: "pixel 1")
        let same = try Queue<Int32>(opening: "user.\(getpid())", in: nil, type: "pixel 1")
        try queue.put(7)
        #expect(try same.get() == 7)
        #expect(
            code { _ = try Queue<UInt32>(opening: "user.\(getpid())", in: nil) } == .incompatible)
    }

    @Test func `C finds a queue by its name and reads what Swift put`() throws {
        let name = "sharedstate.c.\(getpid())"
        let region = try Region(creating: name, capacity: 8 << 20)
        defer { try? Region.remove(name) }
        let numbers = try Queue<Int>(creating: "numbers", in: region)
        let bytes = try Queue<[UInt8]>(creating: "bytes", in: region, type: "bytes 1")
        try numbers.put(-7)
        try bytes.put([1, 2, 3])

        var mapped: OpaquePointer?
        try #require(unsafe cshm_region_open(name, &mapped) == 0)
        guard let other = unsafe mapped else { return }
        defer { unsafe cshm_region_close(other) }
        try unsafe expectMessage("numbers", tag: cshm_type_tag("Si"), other) {
            unsafe #expect($0.loadUnaligned(as: Int.self) == -7)
        }
        try unsafe expectMessage("bytes", tag: cshm_type_tag("bytes 1"), other) {
            unsafe #expect([UInt8]($0) == [1, 2, 3])
        }
    }

    /// Takes one message by the calls of C.
    private func expectMessage(
        _ name: String, tag: UInt64, _ region: OpaquePointer,
        _ body: (UnsafeRawBufferPointer) -> Void
    ) throws {
        var entry = cshm_directory_entry()
        try #require(unsafe cshm_directory_find(region, name, &entry) == 0)
        #expect(entry.type_tag == tag)
        var opened: OpaquePointer?
        try #require(unsafe cshm_queue_open(region, entry.offset, tag, &opened) == 0)
        guard let queue = unsafe opened else { return }
        defer { unsafe cshm_queue_close(queue) }
        var message = unsafe cshm_message()
        try #require(unsafe cshm_queue_try_take(queue, &message) == 0)
        unsafe body(UnsafeRawBufferPointer(start: message.data, count: Int(message.length)))
        unsafe cshm_queue_release(queue, &message)
    }
}
