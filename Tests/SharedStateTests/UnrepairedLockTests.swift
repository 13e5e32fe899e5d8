// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(60)

/// Locks of which a holder died, and the next one did not repair what it left.
///
/// A ``SharedValue`` is not among them: what a dead one was writing is dropped.
@Suite("Locks that are not recoverable", .serialized)
struct UnrepairedLockTests {
    static let kinds: [Awaited.Kind] = [
        .lock, .recursiveLock, .reading, .writing, .array, .asyncLock,
    ]

    @Test(arguments: kinds)
    func `a lock that its inheritor did not repair says so to everybody`(
        kind: Awaited.Kind
    ) async throws {
        let awaited = try Awaited(kind, parties: 1)
        let dead = try ChildProcess.start(awaited) { awaited in
            try awaited.keep { kill(getpid(), SIGKILL) }
        }
        #expect(try await dead.join(timeout: long) == .signalled(SIGKILL))
        let isInherited = try Event()
        let mayEnd = try Event()
        let inheritor = try ChildProcess.start(awaited, isInherited, mayEnd) {
            awaited, isInherited, mayEnd in
            try awaited.inherit {
                isInherited.set()
                try mayEnd.wait(timeout: long)
            }
        }
        #expect(try await isInherited.wait(timeout: long))
        // To a thread and a task that wait already, or are about to.
        let waiter = try ChildProcess.start(awaited) { awaited in
            exit(code { _ = try awaited.wait() } == .notRecoverable ? 0 : 3)
        }
        let task = Task { await code { _ = try await awaited.end() } }
        try await Task.sleep(for: .milliseconds(10))
        mayEnd.set()
        #expect(await task.value == .notRecoverable)
        #expect(try await waiter.join(timeout: long) == .exited(code: 0))
        #expect(try await inheritor.join(timeout: long) == .exited(code: 0))
        // To all who come, in every form, here and elsewhere.
        let refusals = await awaited.refusals()
        #expect(refusals.count > 1 && refusals.allSatisfy { $0 == .notRecoverable }, "\(refusals)")
        let other = try ChildProcess.start(awaited) { awaited in
            try inTask {
                let refusals = await awaited.refusals()
                exit(refusals.allSatisfy { $0 == .notRecoverable } ? 0 : 3)
            }
        }
        #expect(try await other.join(timeout: long) == .exited(code: 0))
    }
}

/// What an inheritor throws that cannot repair.
private struct Unrepaired: Error {}

extension Awaited {
    /// Inherits it from a dead holder, has it until `body` returns, and repairs nothing.
    fileprivate func inherit(_ body: @escaping @Sendable () throws -> Void) throws {
        guard case .array(let array) = self else { return try keep(body) }
        do {
            try array.withLock(
                repair: { _ in
                    try body()
                    throw Unrepaired()
                }, { _ in })
        } catch is Unrepaired {}
    }

    /// What each form says to who would have it.
    fileprivate func refusals() async -> [SharedStateError.Code?] {
        switch self {
        case .lock(let lock):
            blocking {
                try lock.withLock { _ in }
            } _: {
                try lock.withLock(timeout: .zero) { _ in }
            } _: {
                _ = try lock.withLockIfAvailable { _ in }
            } + [await code { try await lock.withLock(timeout: long) { _ in } }]
        case .recursiveLock(let lock):
            blocking {
                try lock.withLock { _ in }
            } _: {
                try lock.withLock(timeout: .zero) { _ in }
            } _: {
                _ = try lock.withLockIfAvailable { _ in }
            } + [await code { try await lock.withLock(timeout: long) { _ in } }]
        case .reading(let lock):
            blocking {
                try lock.withReadLock {}
            } _: {
                try lock.withReadLock(timeout: .zero) {}
            } _: {
                _ = try lock.withReadLockIfAvailable {}
            } + [await code { try await lock.withReadLock(timeout: long) {} }]
        case .writing(let lock):
            blocking {
                try lock.withWriteLock { _ in }
            } _: {
                try lock.withWriteLock(timeout: .zero) { _ in }
            } _: {
                _ = try lock.withWriteLockIfAvailable { _ in }
            } + [await code { try await lock.withWriteLock(timeout: long) { _ in } }]
        case .array(let array):
            blocking {
                try array.withLock { _ in }
            } _: {
                try array.withLock(timeout: .zero, repair: { _ in }, { _ in })
            } _: {
                try array.withLock(repair: { _ in }, { _ in })
            } + [
                await code { try await array.withLock(timeout: long) { _ in } },
                await code { try await array.withLock(repair: { _ in }, { _ in }) },
            ]
        case .asyncLock(let lock):
            [
                await code { try await lock.withLock { _ in } },
                await code { try await lock.withLock(timeout: .zero) { _ in } },
                await code { _ = try await lock.withLockIfAvailable { _ in } },
            ]
        default: []
        }
    }
}

/// What blocking forms say; not in a task, where a form that suspends would be taken.
private func blocking(
    _ first: () throws -> Void, _ second: () throws -> Void, _ third: () throws -> Void
) -> [SharedStateError.Code?] {
    [code(first), code(second), code(third)]
}
