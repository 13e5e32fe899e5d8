// SPDX-License-Identifier: Apache-2.0

import CShm
import Glibc
import Testing

@testable import SharedState

private typealias Inner = ManagedDictionary<String, Int>

/// What is in containers and queues goes with the last that has it.
@Suite struct NestedTests {
    private let region: Region

    init() throws {
        region = try Region(capacity: 64 << 20)
    }

    private var usage: cshm_heap_usage {
        var usage = cshm_heap_usage()
        unsafe cshm_heap_describe(region.pointer, &usage)
        return usage
    }

    /// Objects that are counted, and bytes in use.
    private var counted: Int64 { unsafe cshm_anchor_count(region.pointer) }
    private var bytes: UInt64 { usage.bytes }

    private func inner(_ value: Int) throws -> Inner {
        let inner = try Inner(in: region)
        try inner.set(value, forKey: "value")
        return inner
    }

    @Test func `what is removed from a dictionary goes with its last handle`() throws {
        let outer = try ManagedDictionary<Int, Inner>(in: region)
        try outer.set(inner(0), forKey: 0)
        try outer.removeAll()
        let (used, before) = (bytes, counted)
        try outer.set(inner(1), forKey: 1)
        #expect(counted == before + 1)
        var removed = try outer.removeValue(forKey: 1)
        #expect(try removed?["value"] == 1)
        #expect(counted == before + 1)
        removed = nil
        #expect(counted == before)
        for number in 0..<300 { try outer.set(inner(number), forKey: number % 3) }
        #expect(counted == before + 3)
        #expect(try outer[2]?["value"] == 299)
        #expect(try outer.snapshot().count == 3)
        #expect(try outer.updateValue(inner(7), forKey: 2)?["value"] == 299)
        #expect(try outer.update(2) { try $0?["value"] } == 7)
        try outer.removeAll()
        #expect(counted == before)
        #expect(bytes == used)
    }

    @Test func `an array holds its elements until they are popped, replaced or removed`() throws {
        let outer = try ManagedArray<Inner>(in: region)
        let before = counted
        try outer.append(contentsOf: (0..<5).map(inner))
        #expect(counted == before + 5)
        #expect(try outer.popLast()?["value"] == 4)
        #expect(try outer.popFirst()?["value"] == 0)
        #expect(counted == before + 3)
        try outer.set(inner(8), at: 0)
        #expect(try outer.remove(at: 0)["value"] == 8)
        try outer.swapAt(0, 1)
        #expect(try outer.snapshot().map { try $0["value"] } == [3, 2])
        try outer.update { $0.append($0[0]) }
        #expect(try outer[0..<3].map { try $0["value"] } == [3, 2, 3])
        #expect(counted == before + 2)
        try outer.removeSubrange(0..<2)
        #expect(counted == before + 1)
        try outer.removeAll()
        #expect(counted == before)
    }

    @Test func `one of two parents is enough, and a parent goes with what it holds`() throws {
        var first: ManagedDictionary<Int, Inner>? = try ManagedDictionary(in: region)
        let second = try ManagedArray<Inner>(in: region)
        let before = counted
        var child: Inner? = try inner(5)
        try first?.set(child!, forKey: 1)
        try second.append(child!)
        child = nil
        first = nil
        #expect(counted == before)
        #expect(try second[0]["value"] == 5)
        try second.removeAll()
        #expect(counted == before - 1)
        // One in the other, three deep, and the outermost handle goes.
        var outermost: ManagedDictionary<Int, ManagedArray<Inner>>? = try ManagedDictionary(
            in: region)
        try outermost?.set(ManagedArray([inner(1), inner(2)], in: region), forKey: 1)
        #expect(counted == before + 3)
        #expect(try outermost?[1]?[1]["value"] == 2)
        outermost = nil
        #expect(counted == before - 1)
    }

    @Test func `values, transactions and copies hold, too`() throws {
        let value = try ManagedValue<[Inner]>([inner(1)], in: region)
        let before = counted
        try value.update { $0.append(try inner(2)) }
        #expect(counted == before + 1)
        #expect(try value.value.map { try $0["value"] } == [1, 2])
        try value.set([])
        #expect(counted == before - 1)
        let outer = try ManagedDictionary<Int, Inner>(in: region)
        try outer.transaction([1, 2]) { values in
            values[1] = try inner(1)
            values[2] = try inner(2)
        }
        try outer.transaction([1, 2]) { values in
            values[2] = values[1]
            values[1] = nil
        }
        #expect(counted == before + 1)
        var copy: ManagedDictionary<Int, Inner>? = try outer.copy()
        try outer.removeAll()
        #expect(try copy?[2]?["value"] == 1)
        copy = nil
        #expect(counted == before)
    }

    @Test func `what holds itself stays until it is taken out`() throws {
        final class Node: Codable, Sendable {
            let next: ManagedArray<Node>
            init(_ next: ManagedArray<Node>) { self.next = next }
        }
        let before = counted
        var ring: ManagedArray<Node>? = try ManagedArray(in: region)
        try ring?.append(Node(ring!))
        var anchor = try #require(try ring?.core.object.anchor(of: CSHM_KIND_LIST))
        ring = nil
        #expect(counted == before + 1)
        // As one who has found it again.
        #expect(unsafe cshm_anchor_acquire(region.pointer, &anchor) == 0)
        var list: OpaquePointer?
        let object = unsafe cshm_heap_pointer(region.pointer, anchor.place, 16)
            .assumingMemoryBound(to: UInt64.self)
        #expect(
            unsafe cshm_list_open(
                region.pointer, object[1], ManagedArray<Node>.tag, &list) == 0)
        #expect(unsafe cshm_list_splice(list, 0, 1, nil, 0) == 0)
        unsafe cshm_list_close(list)
        #expect(unsafe cshm_anchor_release(region.pointer, &anchor) == 0)
        #expect(counted == before)
    }

    // MARK: Queues

    @Test func `what was put and never taken goes with its queue`() throws {
        var queue: Queue<Inner>? = try Queue(capacity: 4, in: region)
        let (used, before) = (bytes, counted)
        for number in 0..<4 { try queue?.put(inner(number)) }
        #expect(try queue?.tryPut(inner(4)) == false)
        #expect(counted == before + 4)
        queue = nil
        #expect(counted == before - 1)
        #expect(bytes < used)
    }

    @Test func `what was taken goes with its last handle`() async throws {
        let queue = try Queue<[Inner]>(capacity: 8, in: region)
        let before = counted
        try await queue.put([inner(1), inner(2)])
        var taken: [Inner]? = try await queue.get()
        #expect(try taken?.map { try $0["value"] } == [1, 2])
        #expect(counted == before + 2)
        taken = nil
        #expect(counted == before)
        try await queue.put([inner(3)])
        do {
            let lease = try await queue.lease()
            #expect(try lease.element[0]["value"] == 3)
        }
        #expect(counted == before + 1)
        #expect(try await queue.withElement { try $0[0]["value"] } == 3)
        #expect(counted == before)
        #expect(try await queue.put(contentsOf: (0..<3).map { [try inner($0)] }) == 3)
        async let waits = queue.get(upTo: 3).count
        #expect(try await waits == 3)
        try await eventually { counted == before }
        let waiter = Task { try await queue.get()[0]["value"] }
        try await queue.put([inner(9)])
        #expect(try await waiter.value == 9)
        try await eventually { counted == before }
    }

    @Test func `elements of a type of one's own cross as ever, whether they hold anything or not`()
        throws
    {
        struct Order: Codable, Sendable, Equatable {
            var name = "none"
            var count = 3
        }
        let queue = try Queue<Order>(capacity: 8, in: region)
        let orders = (0..<8).map { Order(name: String(repeating: "x", count: $0 * 40), count: $0) }
        #expect(try queue.put(contentsOf: orders) == 8)
        #expect(try queue.get(upTo: 8) == orders)
        let array = try ManagedArray<Order>(orders, in: region)
        #expect(try array.popLast() == orders[7])
        #expect(try array.snapshot() == Array(orders[..<7]))
        let byName = try ManagedDictionary<String, Order>(in: region)
        try byName.merge(orders.map { ($0.name, $0) }) { $1 }
        #expect(try byName["x"] == nil)
        #expect(try byName[""] == orders[0])
        let other = try ManagedDictionary<Int, Inner?>(in: region)
        try other.set(nil, forKey: 1)
        #expect(try other.contains(1))
        if case .some(.some) = try other[1] { Issue.record("it was nil") }
    }

    // MARK: Other nouns

    @Test(arguments: Counted.Kind.allCases)
    func `all that processes agree by goes with the last container`(_ kind: Counted.Kind) throws {
        let outer = try ManagedDictionary<Int, Counted>(in: region)
        let queue = try Queue<Counted>(capacity: 2, in: region)
        try outer.set(Counted(kind, in: region), forKey: 1)
        try queue.put(try #require(try outer[1]))
        try outer.removeAll()
        _ = try queue.get()
        let (used, before) = (bytes, counted)
        for number in 0..<50 {
            try outer.set(Counted(kind, in: region), forKey: number % 2)
            try queue.put(try #require(try outer[number % 2]))
            try queue.get().use()
        }
        #expect(counted > before)
        try outer[1]?.use()
        try outer.removeAll()
        #expect(counted == before)
        #expect(bytes == used)
    }

    @Test func `what was sent in another way stays as long as its region`() throws {
        let outer = try ManagedDictionary<Int, Inner>(in: region)
        let (receiver, sender) = try SharedPipe.simplex(of: Inner.self, in: region)
        var child: Inner? = try inner(3)
        try outer.set(child!, forKey: 1)
        try sender.send(child!)
        child = nil
        try outer.removeAll()
        #expect(try receiver.receive()["value"] == 3)
    }
}

/// One of everything that is counted.
enum Counted: Codable, Sendable {
    case lock(Lock)
    case recursiveLock(RecursiveLock)
    case readWriteLock(ReadWriteLock)
    case semaphore(SharedSemaphore)
    case permits(PermitPool)
    case asyncLock(AsyncLock)
    case condition(SharedState.Condition)
    case event(Event)
    case barrier(Barrier)
    case latch(Latch)
    case once(Once)
    case value(SharedValue<Int>)
    case atomic(SharedAtomic<Int>)
    case array(SharedArray<Int32>)
    case queue(Queue<String>)
    case counter(ManagedCounter)
    case namespace(ManagedNamespace<[String: Int]>)
    case set(ManagedSet<String>)

    enum Kind: CaseIterable {
        case lock, recursiveLock, readWriteLock, semaphore, permits, asyncLock, condition, event
        case barrier, latch, once, value, atomic, array, queue, counter, namespace, set
    }

    init(_ kind: Kind, in region: Region) throws {
        self =
            switch kind {
            case .lock: .lock(try Lock(in: region))
            case .recursiveLock: .recursiveLock(try RecursiveLock(in: region))
            case .readWriteLock: .readWriteLock(try ReadWriteLock(in: region))
            case .semaphore: .semaphore(try SharedSemaphore(value: 1, in: region))
            case .permits: .permits(try PermitPool(permits: 1, in: region))
            case .asyncLock: .asyncLock(try AsyncLock(in: region))
            case .condition: .condition(try SharedState.Condition(in: region))
            case .event: .event(try Event(in: region))
            case .barrier: .barrier(try Barrier(parties: 1, in: region))
            case .latch: .latch(try Latch(count: 1, in: region))
            case .once: .once(try Once(in: region))
            case .value: .value(try SharedValue(0, in: region))
            case .atomic: .atomic(try SharedAtomic(0, in: region))
            case .array: .array(try SharedArray(count: 100, in: region))
            case .queue: .queue(try Queue(capacity: 2, in: region))
            case .counter: .counter(try ManagedCounter(in: region))
            case .namespace: .namespace(try ManagedNamespace(["x": 1], in: region))
            case .set: .set(try ManagedSet(in: region))
            }
    }

    /// Does with it what would not work were it gone.
    func use() throws {
        switch self {
        case .lock(let lock): try lock.withLock { _ in }
        case .recursiveLock(let lock): try lock.withLock { _ in }
        case .readWriteLock(let lock): try lock.withWriteLock { _ in }
        case .semaphore(let semaphore): #expect(semaphore.value == 1)
        case .permits(let permits): #expect(permits.available == 1)
        case .asyncLock(let lock): #expect(lock.owner == nil)
        case .condition(let condition): try condition.lock.withLock { _ in }
        case .event(let event): event.set()
        case .barrier(let barrier): #expect(!barrier.isBroken)
        case .latch(let latch): #expect(latch.count == 1)
        case .once(let once): #expect(!once.isDone)
        case .value(let value): #expect(value.value == 0)
        case .atomic(let atomic): #expect(atomic.load() == 0)
        case .array(let array): #expect(array[99] == 0)
        case .queue(let queue):
            try queue.put(String(repeating: "long ", count: 100))
            if queue.isFull { _ = try queue.get() }
        case .counter(let counter): #expect(counter.value == 0)
        case .namespace(let namespace): #expect(try namespace.value == ["x": 1])
        case .set(let set):
            try set.insert("member")
            #expect(try set.contains("member"))
        }
    }
}
