// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

/// One of everything that threads, tasks and processes agree by, as a value that is sent.
enum Noun: Codable, Sendable {
    case lock(Lock)
    case recursiveLock(RecursiveLock)
    case readWriteLock(ReadWriteLock)
    case semaphore(SharedSemaphore)
    case boundedSemaphore(BoundedSemaphore)
    case permits(PermitPool)
    case asyncLock(AsyncLock)
    case condition(Condition)
    case event(Event)
    case barrier(Barrier)
    case latch(Latch)
    case once(Once)
    case value(SharedValue<Int>)
    case atomic(SharedAtomic<Int>)
    case array(SharedArray<Int32>)
    case region(Region)

    enum Kind: CaseIterable {
        case lock, recursiveLock, readWriteLock, semaphore, boundedSemaphore, permits, asyncLock
        case condition, event, barrier, latch, once, value, atomic, array, region
    }

    /// Makes one with a name.
    init(_ kind: Kind, creating name: String, in region: Region) throws {
        switch kind {
        case .lock: self = .lock(try Lock(creating: name, in: region))
        case .recursiveLock: self = .recursiveLock(try RecursiveLock(creating: name, in: region))
        case .readWriteLock: self = .readWriteLock(try ReadWriteLock(creating: name, in: region))
        case .semaphore:
            self = .semaphore(try SharedSemaphore(creating: name, in: region, value: 3))
        case .boundedSemaphore:
            self = .boundedSemaphore(try BoundedSemaphore(creating: name, in: region, value: 3))
        case .permits: self = .permits(try PermitPool(creating: name, in: region, permits: 3))
        case .asyncLock: self = .asyncLock(try AsyncLock(creating: name, in: region))
        case .condition:
            let condition = try Condition(in: region)
            try condition.setName(name)
            self = .condition(condition)
        case .event: self = .event(try Event(creating: name, in: region))
        case .barrier: self = .barrier(try Barrier(creating: name, in: region, parties: 2))
        case .latch: self = .latch(try Latch(creating: name, in: region, count: 3))
        case .once: self = .once(try Once(creating: name, in: region))
        case .value: self = .value(try SharedValue(creating: name, in: region, 1))
        case .atomic: self = .atomic(try SharedAtomic(creating: name, in: region, 1))
        case .array: self = .array(try SharedArray(creating: name, in: region, count: 1))
        case .region: self = .region(region)
        }
    }

    /// Finds it by its name, and that of its region.
    init(_ kind: Kind, opening name: String, in region: Region) throws {
        switch kind {
        case .lock: self = .lock(try Lock(opening: name, in: region))
        case .recursiveLock: self = .recursiveLock(try RecursiveLock(opening: name, in: region))
        case .readWriteLock: self = .readWriteLock(try ReadWriteLock(opening: name, in: region))
        case .semaphore: self = .semaphore(try SharedSemaphore(opening: name, in: region))
        case .boundedSemaphore:
            self = .boundedSemaphore(try BoundedSemaphore(opening: name, in: region))
        case .permits: self = .permits(try PermitPool(opening: name, in: region))
        case .asyncLock: self = .asyncLock(try AsyncLock(opening: name, in: region))
        case .condition: self = .condition(try Condition(opening: name, in: region))
        case .event: self = .event(try Event(opening: name, in: region))
        case .barrier: self = .barrier(try Barrier(opening: name, in: region))
        case .latch: self = .latch(try Latch(opening: name, in: region))
        case .once: self = .once(try Once(opening: name, in: region))
        case .value: self = .value(try SharedValue(opening: name, in: region))
        case .atomic: self = .atomic(try SharedAtomic(opening: name, in: region))
        case .array: self = .array(try SharedArray(opening: name, in: region))
        case .region: self = .region(region)
        }
    }

    /// As every process sees it.
    var state: Int {
        get throws {
            switch self {
            case .lock(let lock): Int(lock.owner?.processIdentifier ?? 0)
            case .recursiveLock(let lock): lock.owner?.count ?? 0
            case .readWriteLock(let lock): Int(lock.writer?.processIdentifier ?? 0)
            case .semaphore(let semaphore): semaphore.value
            case .boundedSemaphore(let semaphore): semaphore.value
            case .permits(let permits): permits.available
            case .asyncLock(let lock): Int(lock.owner ?? 0)
            case .condition(let condition): Int(condition.lock.owner?.processIdentifier ?? 0)
            case .event(let event): event.isSet ? 1 : 0
            case .barrier(let barrier): barrier.isBroken ? 1 : 0
            case .latch(let latch): latch.count
            case .once(let once): once.isDone ? 1 : 0
            case .value(let value): value.value
            case .atomic(let atomic): atomic.load()
            case .array(let array): Int(array[0])
            case .region(let region): try region.names().count
            }
        }
    }

    /// Has it in another state for the time of `body`, or from then on.
    func change(_ body: () throws -> Void) async throws {
        switch self {
        case .lock(let lock): try await lock.withLock { _ in try body() }
        case .recursiveLock(let lock):
            try await lock.withLock { _ in try lock.withLock { _ in try body() } }
        case .readWriteLock(let lock): try await lock.withWriteLock { _ in try body() }
        case .semaphore(let semaphore):
            try await semaphore.acquire(timeout: long)
            try body()
        case .boundedSemaphore(let semaphore):
            try await semaphore.acquire(timeout: long)
            try body()
        case .permits(let permits): try await permits.withPermits(2) { try body() }
        case .asyncLock(let lock): try await lock.withLock { _ in try body() }
        case .condition(let condition): try condition.withLock { _ in try body() }
        case .event(let event):
            event.set()
            try body()
        case .barrier(let barrier):
            barrier.abort()
            try body()
        case .latch(let latch):
            latch.countDown()
            try body()
        case .once(let once):
            _ = try await once.run { _ in }
            try body()
        case .value(let value):
            value.value = 7
            try body()
        case .atomic(let atomic):
            atomic.store(7)
            try body()
        case .array(let array):
            array[0] = 7
            try body()
        case .region(let region):
            _ = try SharedValue(creating: "mark", in: region, 1)
            try body()
        }
    }
}

@Suite("Handles", .serialized)
struct HandleTests {
    @Test(arguments: Noun.Kind.allCases)
    func `a handle arrives, however it is sent, and is found by name`(
        kind: Noun.Kind
    ) async throws {
        let name = "sharedstate.test.\(getpid()).handles"
        let region = try Region(creating: name, capacity: 2 << 20)
        defer { try? Region.remove(name) }
        let noun = try Noun(kind, creating: "it", in: region)
        let queue = try Queue<Noun>()
        let states = try Queue<Int>()
        let dictionary = try ManagedDictionary<String, Noun>()
        try dictionary.set(noun, forKey: "it")
        // Processes that have not opened the region, and get at it by what they are sent.
        let pool = try Pool(workers: 1)
        let child = try ChildProcess.start(queue, states, name, kind == .region ? nil : "it") {
            queue, states, region, name in
            while true {
                let noun = try queue.get()
                try states.put(noun.state)
                guard let name else { continue }
                try states.put(noun.found(name, in: region).state)
            }
        }
        let before = try noun.state
        #expect(try await pool.apply(noun) { try $0.state } == before)
        try await noun.change {
            let now = try noun.state
            #expect(now != before)
            #expect(try pool.apply(noun) { try $0.state } == now)
            try queue.put(noun)
            #expect(try states.get(timeout: long) == now)
            if kind != .region { #expect(try states.get(timeout: long) == now) }
            #expect(try pool.apply(dictionary) { try $0["it"]?.state } == now)
            #expect(try dictionary["it"]?.state == now)
            #expect(try Noun(kind, opening: "it", in: region).state == now)
        }
        try child.kill()
        #expect(try await child.join(timeout: long) == .signalled(SIGKILL))
    }
}

extension Noun {
    /// The same, found by names alone.
    fileprivate func found(_ name: String, in regionName: String) throws -> Noun {
        try Noun(kind, opening: name, in: Region(opening: regionName))
    }

    private var kind: Kind {
        switch self {
        case .lock: .lock
        case .recursiveLock: .recursiveLock
        case .readWriteLock: .readWriteLock
        case .semaphore: .semaphore
        case .boundedSemaphore: .boundedSemaphore
        case .permits: .permits
        case .asyncLock: .asyncLock
        case .condition: .condition
        case .event: .event
        case .barrier: .barrier
        case .latch: .latch
        case .once: .once
        case .value: .value
        case .atomic: .atomic
        case .array: .array
        case .region: .region
        }
    }
}
