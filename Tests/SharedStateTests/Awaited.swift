// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Synchronization

private let long = Duration.seconds(60)

/// Something that threads and tasks wait for while somebody keeps it from them.
///
/// Whoever has had it lets the next one have it.
enum Awaited: Codable, Sendable {
    case lock(Lock)
    case recursiveLock(RecursiveLock)
    case reading(ReadWriteLock)
    case writing(ReadWriteLock)
    case writingAfterReader(ReadWriteLock)
    case value(SharedValue<Int>)
    case array(SharedArray<Int>)
    case asyncLock(AsyncLock)
    case semaphore(SharedSemaphore)
    case boundedSemaphore(BoundedSemaphore)
    case permits(PermitPool)
    case event(Event)
    case automaticEvent(Event)
    case barrier(Barrier)
    case latch(Latch)
    case once(Once)
    case atomic(SharedAtomic<Int>)
    case get(Queue<Int>)
    case element(Queue<Int>)
    case put(Queue<Int>)
    case batch(Queue<Int>)
    case batchOfTexts(Queue<String>)
    case join(JoinableQueue<Int>)

    enum Kind: CaseIterable {
        case lock, recursiveLock, reading, writing, writingAfterReader, value, array, asyncLock
        case semaphore, boundedSemaphore, permits, event, automaticEvent, barrier, latch, once
        case atomic, get, element, put, batch, batchOfTexts, join
    }

    /// How a wait ended.
    enum End {
        case had
        /// By the error that the time-out passed.
        case timedOut
        /// By `false`, where that says so.
        case notYet
        case cancelled
    }

    /// What a run of a ``Once`` throws, that it may be run again.
    private struct Undone: Error {}

    /// Makes one that nobody has yet; `parties` wait for each other at a barrier.
    init(_ kind: Kind, parties: Int) throws {
        switch kind {
        case .lock: self = .lock(try Lock())
        case .recursiveLock: self = .recursiveLock(try RecursiveLock())
        case .reading: self = .reading(try ReadWriteLock())
        case .writing: self = .writing(try ReadWriteLock())
        case .writingAfterReader: self = .writingAfterReader(try ReadWriteLock())
        case .value: self = .value(try SharedValue(0))
        case .array: self = .array(try SharedArray(count: 1))
        case .asyncLock: self = .asyncLock(try AsyncLock())
        case .semaphore: self = .semaphore(try SharedSemaphore(value: 0))
        case .boundedSemaphore:
            let semaphore = try BoundedSemaphore(value: 1)
            try semaphore.acquire()
            self = .boundedSemaphore(semaphore)
        case .permits: self = .permits(try PermitPool(permits: 2))
        case .event: self = .event(try Event())
        case .automaticEvent: self = .automaticEvent(try Event(automatic: true))
        case .barrier: self = .barrier(try Barrier(parties: parties))
        case .latch: self = .latch(try Latch(count: 1))
        case .once: self = .once(try Once())
        case .atomic: self = .atomic(try SharedAtomic(0))
        case .get: self = .get(try Queue())
        case .element: self = .element(try Queue())
        case .put:
            let queue = try Queue<Int>(capacity: 1)
            try queue.put(0)
            self = .put(queue)
        case .batch: self = .batch(try Queue())
        case .batchOfTexts: self = .batchOfTexts(try Queue())
        case .join:
            let queue = try JoinableQueue<Int>()
            try queue.put(0)
            self = .join(queue)
        }
    }

    /// Keeps it from the others until `body` has returned.
    func keep(_ body: @escaping @Sendable () throws -> Void) throws {
        switch self {
        case .lock(let lock): try lock.withLock { _ in try body() }
        case .recursiveLock(let lock):
            try lock.withLock { _ in try lock.withLock { _ in try body() } }
        case .reading(let lock), .writing(let lock): try lock.withWriteLock { _ in try body() }
        case .writingAfterReader(let lock): try lock.withReadLock { try body() }
        case .value(let value): try value.withLock { _ in try body() }
        case .array(let array): try array.withLock { _ in try body() }
        case .asyncLock(let lock): try inTask { try await lock.withLock { _ in try body() } }
        case .permits(let permits): try permits.withPermits(2) { try body() }
        case .once(let once):
            try undone {
                try once.run { _ in
                    try body()
                    throw Undone()
                }
            }
        case .semaphore, .boundedSemaphore, .event, .automaticEvent, .barrier, .latch, .atomic,
            .get, .element, .put, .batch, .batchOfTexts, .join:
            try body()
            try letGo()
        }
    }

    /// Lets the others have what nobody owns.
    private func letGo() throws {
        switch self {
        case .semaphore(let semaphore): try semaphore.release()
        case .boundedSemaphore(let semaphore): try semaphore.release()
        case .event(let event), .automaticEvent(let event): event.set()
        case .barrier(let barrier): try barrier.wait(timeout: long)
        case .latch(let latch): latch.countDown()
        case .atomic(let atomic):
            atomic.store(1)
            atomic.notifyAll()
        case .get(let queue), .element(let queue), .batch(let queue): try queue.put(0)
        case .batchOfTexts(let queue): try queue.put("0")
        case .join(let queue):
            _ = try queue.get(timeout: long)
            try queue.taskDone()
        case .put(let queue): _ = try queue.get(timeout: long)
        default: break
        }
    }

    private func undone(_ body: () throws -> Void) throws {
        do { try body() } catch is Undone {}
    }

    /// Waits for it as a thread does, and lets the next one have it.
    func wait() throws -> Bool {
        switch self {
        case .lock(let lock): try lock.withLock(timeout: long) { _ in }
        case .recursiveLock(let lock): try lock.withLock(timeout: long) { _ in }
        case .reading(let lock): try lock.withReadLock(timeout: long) {}
        case .writing(let lock), .writingAfterReader(let lock):
            try lock.withWriteLock(timeout: long) { _ in }
        case .value(let value): try value.withLock(timeout: long) { _ in }
        case .array(let array): try array.withLock(timeout: long) { _ in }
        case .asyncLock(let lock): try inTask { try await lock.withLock(timeout: long) { _ in } }
        case .semaphore(let semaphore):
            try semaphore.acquire(timeout: long)
            try letGo()
        case .boundedSemaphore(let semaphore):
            try semaphore.acquire(timeout: long)
            try letGo()
        case .permits(let permits): try permits.withPermits(timeout: long) {}
        case .event(let event): return try event.wait(timeout: long)
        case .automaticEvent(let event):
            guard try event.wait(timeout: long) else { return false }
            try letGo()
        case .barrier(let barrier): try barrier.wait(timeout: long)
        case .latch(let latch): return try latch.wait(timeout: long)
        case .once(let once): try undone { try once.run(timeout: long) { _ in throw Undone() } }
        case .atomic(let atomic): return atomic.wait(while: 0, timeout: long)
        case .get(let queue):
            _ = try queue.get(timeout: long)
            try letGo()
        case .element(let queue):
            try queue.withElement(timeout: long) { _ in }
            try letGo()
        case .put(let queue):
            try queue.put(0, timeout: long)
            try letGo()
        case .batch(let queue):
            for _ in try queue.get(upTo: 2, timeout: long) { try letGo() }
        case .batchOfTexts(let queue):
            for _ in try queue.get(upTo: 2, timeout: long) { try letGo() }
        case .join(let queue): try queue.join(timeout: long)
        }
        return true
    }

    /// Waits for it as a task does, and lets the next one have it.
    func end(timeout: Duration = long) async throws -> End {
        do {
            return try await wait(timeout: timeout) ? .had : .notYet
        } catch let error as SharedStateError where error.code == .timedOut {
            return .timedOut
        } catch is CancellationError {
            return .cancelled
        } catch is Undone {
            return .had
        }
    }

    private func wait(timeout: Duration) async throws -> Bool {
        switch self {
        case .lock(let lock): try await lock.withLock(timeout: timeout) { _ in }
        case .recursiveLock(let lock): try await lock.withLock(timeout: timeout) { _ in }
        case .reading(let lock): try await lock.withReadLock(timeout: timeout) {}
        case .writing(let lock), .writingAfterReader(let lock):
            try await lock.withWriteLock(timeout: timeout) { _ in }
        case .value(let value): try await value.withLock(timeout: timeout) { _ in }
        case .array(let array): try await array.withLock(timeout: timeout) { _ in }
        case .asyncLock(let lock): try await lock.withLock(timeout: timeout) { _ in }
        case .semaphore(let semaphore):
            try await semaphore.acquire(timeout: timeout)
            try letGo()
        case .boundedSemaphore(let semaphore):
            try await semaphore.acquire(timeout: timeout)
            try letGo()
        case .permits(let permits): try await permits.withPermits(timeout: timeout) {}
        case .event(let event): return try await event.wait(timeout: timeout)
        case .automaticEvent(let event):
            guard try await event.wait(timeout: timeout) else { return false }
            try letGo()
        case .barrier(let barrier): try await barrier.wait(timeout: timeout)
        case .latch(let latch): return try await latch.wait(timeout: timeout)
        case .once(let once): try await once.run(timeout: timeout) { _ in throw Undone() }
        case .atomic(let atomic): return try await atomic.wait(while: 0, timeout: timeout)
        case .get(let queue):
            _ = try await queue.get(timeout: timeout)
            try letGo()
        case .element(let queue):
            try await queue.withElement(timeout: timeout) { _ in }
            try letGo()
        case .put(let queue):
            try await queue.put(0, timeout: timeout)
            try letGo()
        case .batch(let queue):
            for _ in try await queue.get(upTo: 2, timeout: timeout) { try letGo() }
        case .batchOfTexts(let queue):
            for _ in try await queue.get(upTo: 2, timeout: timeout) { try letGo() }
        case .join(let queue): try await queue.join(timeout: timeout)
        }
        return true
    }

    /// How a wait ends whose time-out passes.
    var endOfTime: End {
        switch self {
        case .event, .automaticEvent, .latch, .atomic: .notYet
        default: .timedOut
        }
    }

    /// Who has it, and what there is to be counted, as every process sees it.
    var state: [Int] {
        switch self {
        case .lock(let lock): [Int(lock.owner?.processIdentifier ?? 0)]
        case .recursiveLock(let lock):
            [Int(lock.owner?.processIdentifier ?? 0), lock.owner?.count ?? 0]
        case .reading(let lock), .writing(let lock), .writingAfterReader(let lock):
            [Int(lock.writer?.processIdentifier ?? 0), lock.readerCount]
        case .value(let value): [value.value]
        case .array(let array): array.snapshot()
        case .asyncLock(let lock): [Int(lock.owner ?? 0)]
        case .semaphore(let semaphore): [semaphore.value]
        case .boundedSemaphore(let semaphore): [semaphore.value]
        case .permits(let permits): [permits.available, permits.held]
        case .event(let event), .automaticEvent(let event): [event.isSet ? 1 : 0]
        case .barrier(let barrier): [barrier.waiting, barrier.isBroken ? 1 : 0]
        case .latch(let latch): [latch.count]
        case .once(let once): [once.isDone ? 1 : 0]
        case .atomic(let atomic): [atomic.load()]
        case .get(let queue), .element(let queue), .put(let queue), .batch(let queue):
            [queue.count]
        case .batchOfTexts(let queue): [queue.count]
        case .join(let queue): [queue.queue.count]
        }
    }
}

/// A child that keeps something until it is told to let it go.
struct Keeper {
    let child: ChildProcess
    private let mayEnd: Event

    /// Returns when the child has it; it lets go by itself after a while, and then ends with an error.
    init(_ awaited: Awaited, patience: Duration = long) async throws {
        let isKept = try Event()
        let mayEnd = try Event()
        let milliseconds = Int(patience / .milliseconds(1))
        child = try ChildProcess.start(awaited, isKept, mayEnd, milliseconds) {
            awaited, isKept, mayEnd, milliseconds in
            let wasTold = try SharedAtomic(0)
            try awaited.keep {
                isKept.set()
                if try mayEnd.wait(timeout: .milliseconds(milliseconds)) { wasTold.store(1) }
            }
            // To exit here would leak what the child was given.
            if wasTold.load() != 1 { throw NeverCame(limit: .milliseconds(milliseconds)) }
        }
        self.mayEnd = mayEnd
        guard try await isKept.wait(timeout: long) else { throw NeverCame(limit: long) }
    }

    func letGo() { mayEnd.set() }
}

/// Runs async work in a child's body, which is not.
func inTask(_ body: @escaping @Sendable () async throws -> Void) throws {
    let done = try SharedSemaphore(value: 0)
    let outcome = Outcome()
    Task.detached {
        do { try await body() } catch { outcome.error.withLock { $0 = error } }
        try done.release()
    }
    try done.acquire(timeout: long)
    if let error = outcome.error.withLock({ $0 }) { throw error }
}

private final class Outcome: Sendable {
    let error = Synchronization.Mutex<(any Error)?>(nil)
}
