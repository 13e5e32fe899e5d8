// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

/// What is not `Sendable`, and so stays where it is used.
private final class Tally {
    private(set) var count = 0

    func add() { count += 1 }
}

/// One of each kind, and what a child says that holds one of them.
private struct Locks: Codable, Sendable {
    enum Kind: String, Codable, CaseIterable {
        case lock, recursive, reading, writing, value, array, condition
    }

    let lock: Lock
    let recursive: RecursiveLock
    let readWrite: ReadWriteLock
    let value: SharedValue<Int>
    let array: SharedArray<Int>
    let condition: Condition
    let isHeld: Event
    let isOver: Event

    init() throws {
        lock = try Lock()
        recursive = try RecursiveLock()
        readWrite = try ReadWriteLock()
        value = try SharedValue(0)
        array = try SharedArray(count: 1)
        condition = try Condition()
        isHeld = try Event()
        isOver = try Event()
    }

    /// Has a child hold one of them for a while.
    func hold(_ kind: Kind) async throws -> ChildProcess {
        isHeld.clear()
        isOver.clear()
        let child = try ChildProcess.start(self, kind) { locks, kind in
            func stay() {
                locks.isHeld.set()
                usleep(30_000)
                locks.isOver.set()
            }
            switch kind {
            case .lock: try locks.lock.withLock { _ in stay() }
            case .recursive: try locks.recursive.withLock { _ in stay() }
            case .reading, .writing: try locks.readWrite.withWriteLock { _ in stay() }
            case .value: try locks.value.withLock { _ in stay() }
            case .array: try locks.array.withLock { _ in stay() }
            case .condition: try locks.condition.withLock { _ in stay() }
            }
        }
        #expect(try await isHeld.wait(timeout: long))
        return child
    }

    /// Counts with one of them, and checks there where it is.
    func enter(
        _ kind: Kind, _ tally: Tally, isolation: isolated (any Actor)? = #isolation,
        _ check: () -> Void
    ) async throws {
        func enter() {
            check()
            #expect(isOver.isSet)
            tally.add()
        }
        switch kind {
        case .lock: try await lock.withLock(timeout: long) { _ in enter() }
        case .recursive: try await recursive.withLock(timeout: long) { _ in enter() }
        case .reading: try await readWrite.withReadLock(timeout: long) { enter() }
        case .writing: try await readWrite.withWriteLock(timeout: long) { _ in enter() }
        case .value: try await value.withLock(timeout: long) { _ in enter() }
        case .array: try await array.withLock(timeout: long) { _ in enter() }
        case .condition:
            try await condition.withLock(timeout: long) { _ in
                tally.count == 0
            } _: { _ in
                enter()
            }
        }
    }
}

@MainActor
private func enterOnTheMainActor(_ locks: Locks, _ kind: Locks.Kind) async throws -> Int {
    let tally = Tally()
    try await locks.enter(kind, tally) { MainActor.preconditionIsolated() }
    return tally.count
}

private actor Worker {
    private let tally = Tally()

    func enter(_ locks: Locks, _ kind: Locks.Kind) async throws -> Int {
        try await locks.enter(kind, tally) { preconditionIsolated() }
        return tally.count
    }
}

private func enterOnNoActor(_ locks: Locks, _ kind: Locks.Kind) async throws -> Int {
    let tally = Tally()
    try await locks.enter(kind, tally) {}
    return tally.count
}

/// An actor that can be kept busy.
private actor Busy {
    func enter(_ lock: Lock, _ coming: Count) async throws {
        coming.add()
        try await lock.withLock(timeout: long) { _ in preconditionIsolated() }
    }

    /// Keeps its thread until another has done something.
    func stay(until done: Event, after start: @Sendable () -> Void) throws -> Bool {
        start()
        return try done.wait(timeout: long)
    }
}

@Suite("Locks of tasks, where their bodies run", .serialized, .timeLimit(.minutes(3)))
struct LockIsolationTests {
    @Test(arguments: Locks.Kind.allCases)
    fileprivate func `a body runs where its caller does, whoever holds the lock`(
        kind: Locks.Kind
    ) async throws {
        let locks = try Locks()
        let forMain = try await locks.hold(kind)
        #expect(try await enterOnTheMainActor(locks, kind) == 1)
        #expect(try await forMain.join(timeout: long) == .exited(code: 0))
        let forActor = try await locks.hold(kind)
        #expect(try await Worker().enter(locks, kind) == 1)
        #expect(try await forActor.join(timeout: long) == .exited(code: 0))
        let forNone = try await locks.hold(kind)
        #expect(try await enterOnNoActor(locks, kind) == 1)
        #expect(try await forNone.join(timeout: long) == .exited(code: 0))
    }

    @Test func `a task whose actor is busy does not keep a lock from the others`() async throws {
        let lock = try Lock()
        let isHeld = try Event()
        let mayEnd = try Event()
        let isDone = try Event()
        let child = try ChildProcess.start(lock, isHeld, mayEnd) { lock, isHeld, mayEnd in
            try lock.withLock { _ in
                isHeld.set()
                try mayEnd.wait(timeout: long)
            }
        }
        try await isHeld.wait(timeout: long)
        let busy = Busy()
        let coming = Count()
        let threads = OwnThreads.shared
        let first = Task(executorPreference: threads) { try await busy.enter(lock, coming) }
        try await eventually { coming.value == 1 }
        try await Task.sleep(for: .milliseconds(20))
        let second = Task(executorPreference: threads) {
            try await lock.withLock(timeout: long) { _ in isDone.set() }
        }
        try await Task.sleep(for: .milliseconds(20))
        // Comes to its turn when the first one waits for the lock, and has its actor until the second
        // has had the lock; for which the first one is called.
        let stay = Task(executorPreference: threads) {
            try await busy.stay(until: isDone) { mayEnd.set() }
        }
        #expect(try await stay.value)
        try await second.value
        try await first.value
        #expect(try await child.join(timeout: long) == .exited(code: 0))
    }
}
