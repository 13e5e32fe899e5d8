// SPDX-License-Identifier: Apache-2.0

import CShm
import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

private struct Interruption: Error {}

@Suite("Lock, recursive lock", .serialized)
struct LockTests {
    @Test func `a lock knows who holds it and refuses what would wait for itself`() throws {
        let lock = try Lock()
        #expect(lock.owner == nil)
        try lock.withLock { holder in
            let owner = try #require(lock.owner)
            #expect(owner.processIdentifier == getpid() && owner.threadIdentifier > 0)
            let inherited = holder.inheritedFromDead
            #expect(owner.count == 1 && !inherited)
            #expect(code { try lock.withLock { _ in } } == .deadlock)
            #expect(code { _ = try lock.withLockIfAvailable { _ in } } == .deadlock)
        }
        #expect(lock.owner == nil)
        #expect(throws: Interruption.self) { try lock.withLock { _ in throw Interruption() } }
        #expect(try lock.withLockIfAvailable { _ in 7 } == 7)
    }

    @Test func `a recursive lock is acquired again by its thread alone`() throws {
        let lock = try RecursiveLock()
        let child = try lock.withLock { _ in
            try lock.withLock { _ in
                try lock.withLockIfAvailable { _ in #expect(lock.owner?.count == 3) }
                #expect(lock.owner?.count == 2)
            }
            let child = try ChildProcess.start(lock) { lock in
                let result: Void? = try lock.withLockIfAvailable { _ in }
                exit(result == nil && lock.owner?.processIdentifier != getpid() ? 3 : 4)
            }
            #expect(try child.join(timeout: long) == .exited(code: 3))
            return child
        }
        #expect(child.pid != getpid() && lock.owner == nil)
    }

    @Test func `the owner's text names process, thread and count`() throws {
        let lock = try RecursiveLock()
        let held = try Event()
        let child = try ChildProcess.start(lock, held) { lock, held in
            try lock.withLock { _ in
                try lock.withLock { _ in
                    held.set()
                    pause()
                }
            }
        }
        #expect(try held.wait(timeout: long))
        let owner = try #require(lock.owner)
        let thread = owner.threadIdentifier
        #expect(owner.processIdentifier == child.pid && thread > 0)
        #expect("\(owner)" == "thread \(thread) of process \(child.pid), 2 times")
        #expect(code { try lock.withLock(timeout: .milliseconds(20)) { _ in } } == .timedOut)
        try child.kill()
    }

    @Test func `a time-out that is over is a try, of every kind of lock`() throws {
        let lock = try Lock()
        let recursive = try RecursiveLock()
        let both = try ReadWriteLock(readers: 2)
        let permits = try PermitPool(permits: 1)
        let held = try Event()
        let child = try ChildProcess.start(lock, recursive, both, permits, held) {
            lock, recursive, both, permits, held in
            try lock.withLock { _ in
                try recursive.withLock { _ in
                    try both.withWriteLock { _ in
                        try permits.withPermits {
                            held.set()
                            pause()
                        }
                    }
                }
            }
        }
        #expect(try held.wait(timeout: long))
        for timeout in [Duration.zero, .milliseconds(-1), .seconds(-1_000_000)] {
            #expect(code { try lock.withLock(timeout: timeout) { _ in } } == .timedOut)
            #expect(code { try recursive.withLock(timeout: timeout) { _ in } } == .timedOut)
            #expect(code { try both.withReadLock(timeout: timeout) {} } == .timedOut)
            #expect(code { try both.withWriteLock(timeout: timeout) { _ in } } == .timedOut)
            #expect(code { try permits.withPermits(timeout: timeout) {} } == .timedOut)
        }
        try child.kill()
        let free = try Lock()
        #expect(try free.withLock(timeout: .seconds(-1)) { _ in 7 } == 7)
    }

    @Test func `a lock of one kind is not one of the other`() throws {
        let region = try Region(capacity: 1 << 20)
        let lock = try Lock(creating: "plain", in: region)
        _ = try RecursiveLock(creating: "again", in: region)
        try lock.withLock { _ in
            #expect(code { try Lock(opening: "plain", in: region).withLock { _ in } } == .deadlock)
        }
        try RecursiveLock(opening: "again", in: region).withLock { _ in }
        #expect(code { _ = try RecursiveLock(opening: "plain", in: region) } == .incompatible)
        #expect(code { _ = try Lock(opening: "again", in: region) } == .incompatible)
        #expect(code { _ = try Lock(opening: "neither", in: region) } == .notFound)
        #expect(code { _ = try Lock(creating: "plain", in: region) } == .alreadyExists)
    }

    @Test func `a recursive lock of a killed process is inherited once`() throws {
        let lock = try RecursiveLock()
        let child = try ChildProcess.start(lock) { lock in
            try lock.withLock { _ in
                try lock.withLock { _ in _ = kill(getpid(), SIGKILL) }
            }
        }
        #expect(try child.join(timeout: long) == .signalled(SIGKILL))
        try lock.withLock(timeout: long) { holder in
            let inherited = holder.inheritedFromDead
            #expect(inherited && lock.owner?.count == 1)
            let again = try lock.withLock { holder in holder.inheritedFromDead }
            #expect(!again)
            holder.markRepaired()
        }
        #expect(try !lock.withLock { holder in holder.inheritedFromDead })
    }

    @Test func `locks that processes acquire in a circle are reported with both holders`() throws {
        let locks = [try Lock(creating: "fork", in: nil), try Lock()]
        let ready = try SharedSemaphore(value: 0)
        let go = try Event()
        let told = try Queue<[Int32]>()
        #expect(!LockWatch.isOn)
        let children = try [(0, 1), (1, 0)].map { own, other in
            try ChildProcess.start(locks[own], locks[other], ready, go, told) {
                own, other, ready, go, told in
                LockWatch.begin { circle in
                    let named = circle.waits.contains { $0.held.name == "fork" }
                    let all = circle.isDeadlock && named && circle.description.contains("'fork'")
                    try? told.put(all ? circle.waits.map(\.processIdentifier) : [])
                }
                try own.withLock { holder in
                    guard LockWatch.isOn, holder.since != nil else { exit(4) }
                    try ready.release()
                    try go.wait()
                    try other.withLock { _ in }
                }
            }
        }
        for _ in children { try ready.acquire(timeout: long) }
        let now = SuspendingClock.now
        for lock in locks {
            let since = try #require(lock.owner?.since)
            #expect(since <= now && now - since < long)
        }
        go.set()
        #expect(try Set(told.get(timeout: long)) == Set(children.map(\.pid)))
        for child in children {
            try child.kill()
            _ = try child.join(timeout: long)
        }
    }

    @Test func `tasks wait for a lock without a thread`() async throws {
        let lock = try Lock()
        let counter = try SharedValue(0)
        let child = try ChildProcess.start(lock, counter) { lock, counter in
            for _ in 0..<1000 { try lock.withLock { _ in counter.value += 1 } }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<200 {
                group.addTask { try await lock.withLock { _ in counter.value += 1 } }
            }
            try await group.waitForAll()
        }
        #expect(try await child.join(timeout: long) == .exited(code: 0))
        #expect(counter.value == 1200)
    }

    @Test func `tasks wait for a recursive lock, and their threads acquire it again`() async throws
    {
        let lock = try RecursiveLock()
        let counter = try SharedValue(0)
        let child = try ChildProcess.start(lock, counter) { lock, counter in
            for _ in 0..<500 { try lock.withLock { _ in counter.value += 1 } }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<100 {
                group.addTask {
                    try await lock.withLock { _ in
                        try lock.withLock { _ in
                            #expect(lock.owner?.count == 2)
                            counter.value += 1
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await child.join(timeout: long) == .exited(code: 0))
        #expect(counter.value == 600 && lock.owner == nil)
    }

    @Test func `a task gives up waiting for a recursive lock, and inherits it`() async throws {
        let lock = try RecursiveLock()
        let held = try Queue<Bool>()
        let child = try ChildProcess.start(lock, held) { lock, held in
            try lock.withLock { _ in
                try held.put(true)
                pause()
            }
        }
        _ = try await held.get(timeout: long)
        let started = ContinuousClock.now
        #expect(
            await code { try await lock.withLock(timeout: .milliseconds(30)) { _ in } } == .timedOut
        )
        #expect(ContinuousClock.now - started >= .milliseconds(30))
        let task = Task { try await lock.withLock { _ in } }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        try child.kill()
        let inherited = try await lock.withLock(timeout: long) { holder in
            defer { holder.markRepaired() }
            return holder.inheritedFromDead
        }
        #expect(inherited)
    }

    @Test func `a task gives up at its time and when it is cancelled`() async throws {
        let lock = try Lock()
        let held = try Queue<Bool>()
        let child = try ChildProcess.start(lock, held) { lock, held in
            try lock.withLock { _ in
                try held.put(true)
                pause()
            }
        }
        _ = try await held.get(timeout: long)
        #expect(lock.owner?.processIdentifier == child.pid)
        let started = ContinuousClock.now
        #expect(
            await code { try await lock.withLock(timeout: .milliseconds(30)) { _ in } } == .timedOut
        )
        #expect(ContinuousClock.now - started >= .milliseconds(30))
        let task = Task { try await lock.withLock { _ in } }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        try child.kill()
        let inherited = try await lock.withLock(timeout: long) { holder in
            defer { holder.markRepaired() }
            return holder.inheritedFromDead
        }
        #expect(inherited)
    }
}

@Suite("Reader-writer lock", .serialized)
struct ReadWriteLockTests {
    @Test func `it is read by many or written by one`() throws {
        let lock = try ReadWriteLock(readers: 8)
        try lock.withReadLock {
            let child = try ChildProcess.start(lock) { lock in
                let read: Void? = try lock.withReadLockIfAvailable {}
                let written: Void? = try lock.withWriteLockIfAvailable { _ in }
                exit(read != nil && written == nil ? 3 : 4)
            }
            #expect(try child.join(timeout: long) == .exited(code: 3))
            #expect(code { try lock.withWriteLock { _ in } } == .deadlock)
            try lock.withReadLock { #expect(lock.readerCount == 2) }
        }
        try lock.withWriteLock { _ in
            let child = try ChildProcess.start(lock) { lock in
                let read: Void? = try lock.withReadLockIfAvailable {}
                do {
                    try lock.withReadLock(timeout: .milliseconds(20)) {}
                } catch let error as SharedStateError where error.code == .timedOut {
                    exit(read == nil ? 3 : 4)
                }
            }
            #expect(try child.join(timeout: long) == .exited(code: 3))
            #expect(lock.writer?.processIdentifier == getpid())
            #expect(code { try lock.withReadLock {} } == .deadlock)
        }
        #expect(lock.writer == nil && lock.readerCount == 0)
        #expect(code { _ = try ReadWriteLock(readers: 0) } == .invalidArgument)
    }

    @Test func `a killed writer is inherited and readers are told`() throws {
        let lock = try ReadWriteLock()
        let child = try ChildProcess.start(lock) { lock in
            try lock.withWriteLock { _ in _ = kill(getpid(), SIGKILL) }
        }
        #expect(try child.join(timeout: long) == .signalled(SIGKILL))
        #expect(code { try lock.withReadLock(timeout: long) {} } == .notRepaired)
        let inherited = try lock.withWriteLock(timeout: long) { holder in
            defer { holder.markRepaired() }
            return holder.inheritedFromDead
        }
        #expect(inherited)
        try lock.withReadLock {}
    }

    @Test func `a killed reader lets writers in`() throws {
        let lock = try ReadWriteLock(readers: 1)
        let child = try ChildProcess.start(lock) { lock in
            try lock.withReadLock { _ = kill(getpid(), SIGKILL) }
        }
        #expect(try child.join(timeout: long) == .signalled(SIGKILL))
        #expect(try !lock.withWriteLock(timeout: long) { holder in holder.inheritedFromDead })
        try lock.withReadLock(timeout: long) {}
    }

    @Test func `who comes to read waits for a task that waits to write, unless that gives up`()
        async throws
    {
        let lock = try ReadWriteLock()
        let keeper = try await Keeper(.writingAfterReader(lock))
        func mayRead() throws -> Bool { try lock.withReadLockIfAvailable {} != nil }
        for isCancelled in [true, false] {
            #expect(try mayRead())
            let timeout = isCancelled ? long : .milliseconds(200)
            let task = Task {
                await code { try await lock.withWriteLock(timeout: timeout) { _ in } }
            }
            // Twice: a try to write is in the way for a moment, too.
            if isCancelled {
                for _ in 0..<2 { try await eventually { try !mayRead() } }
                task.cancel()
            }
            #expect(await task.value == (isCancelled ? nil : .timedOut))
            try await eventually { try mayRead() }
        }
        keeper.letGo()
        #expect(try await keeper.child.join(timeout: long) == .exited(code: 0))
        try await lock.withWriteLock(timeout: .zero) { _ in }
    }

    @Test func `tasks of two processes read and write`() async throws {
        let lock = try ReadWriteLock(readers: 16)
        let first = try SharedValue(0)
        let second = try SharedValue(0)
        let child = try ChildProcess.start(lock, first, second) { lock, first, second in
            for _ in 0..<300 {
                try lock.withWriteLock { _ in
                    first.value += 1
                    second.value += 1
                }
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for n in 0..<100 {
                group.addTask {
                    if n % 5 == 0 {
                        try await lock.withWriteLock(timeout: long) { _ in
                            first.value += 1
                            second.value += 1
                        }
                    } else {
                        let same = try await lock.withReadLock(timeout: long) {
                            first.value == second.value
                        }
                        #expect(same)
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await child.join(timeout: long) == .exited(code: 0))
        #expect(first.value == 320 && second.value == 320)
    }
}

@Suite("Semaphores, permits", .serialized)
struct SemaphoreTests {
    @Test func `a semaphore counts what another process signals`() throws {
        let semaphore = try SharedSemaphore(value: 1)
        #expect(semaphore.tryAcquire() && !semaphore.tryAcquire())
        #expect(code { try semaphore.acquire(timeout: .milliseconds(20)) } == .timedOut)
        #expect(code { try semaphore.acquire(timeout: .milliseconds(-1)) } == .timedOut)
        let child = try ChildProcess.start(semaphore) { semaphore in try semaphore.release(5) }
        for _ in 0..<5 { try semaphore.acquire(timeout: long) }
        #expect(try child.join(timeout: long) == .exited(code: 0) && semaphore.value == 0)
        #expect(code { try semaphore.release(0) } == .invalidArgument)
        #expect(code { _ = try SharedSemaphore(value: -1) } == .invalidArgument)
    }

    @Test func `a bounded semaphore refuses a release beyond its bound`() throws {
        let semaphore = try BoundedSemaphore(value: 2)
        #expect(semaphore.bound == 2 && semaphore.value == 2)
        #expect(code { try semaphore.release() } == .overflow)
        try semaphore.acquire()
        #expect(code { try semaphore.release(2) } == .overflow)
        try semaphore.release()
        #expect(semaphore.value == 2)
    }

    @Test func `tasks wait for a semaphore and take nothing when cancelled`() async throws {
        let semaphore = try SharedSemaphore(value: 0)
        let cancelled = Task { try await semaphore.acquire() }
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<50 { group.addTask { try await semaphore.acquire(timeout: long) } }
            let child = try ChildProcess.start(semaphore) { semaphore in
                for _ in 0..<50 { try semaphore.release() }
            }
            try await group.waitForAll()
            #expect(try await child.join(timeout: long) == .exited(code: 0))
        }
        #expect(semaphore.value == 0)
        #expect(await code { try await semaphore.acquire(timeout: .milliseconds(5)) } == .timedOut)
    }

    @Test func `a C program finds what Swift named`() throws {
        let region = try Region(creating: "sharedstate.names.\(getpid())", capacity: 1 << 20)
        defer { try? Region.remove("sharedstate.names.\(getpid())") }
        _ = try SharedSemaphore(creating: "signals", in: region, value: 3)
        _ = try BoundedSemaphore(creating: "slots", in: region, value: 2)
        _ = try PermitPool(creating: "permits", in: region, permits: 4)
        _ = try ReadWriteLock(creating: "table", in: region)
        _ = try AsyncLock(creating: "tasks", in: region)
        #expect(try SharedSemaphore(opening: "signals", in: region).value == 3)
        #expect(try BoundedSemaphore(opening: "slots", in: region).bound == 2)
        #expect(code { _ = try PermitPool(opening: "table", in: region) } == .incompatible)
        var opened: OpaquePointer?
        unsafe #expect(cshm_region_open("sharedstate.names.\(getpid())", &opened) == 0)
        let found = unsafe opened.unsafelyUnwrapped
        defer { unsafe cshm_region_close(found) }
        func place(_ name: String, _ kind: cshm_kind) throws -> UInt64 {
            var entry = cshm_directory_entry()
            unsafe #expect(cshm_directory_find(found, name, &entry) == 0)
            #expect(entry.kind == kind.rawValue)
            return entry.offset
        }
        let size = UInt64(MemoryLayout<cshm_semaphore>.size)
        let semaphore = unsafe cshm_heap_pointer(
            found, try place("signals", CSHM_KIND_SEMAPHORE), size
        ).assumingMemoryBound(to: cshm_semaphore.self)
        unsafe #expect(cshm_semaphore_count(semaphore) == 3)
        var permits: OpaquePointer?
        unsafe #expect(
            cshm_permits_open(found, try place("permits", CSHM_KIND_PERMITS), &permits) == 0)
        unsafe #expect(cshm_permits_available(permits) == 4)
        unsafe cshm_permits_close(permits)
        var lock: OpaquePointer?
        unsafe #expect(cshm_rwlock_open(found, try place("table", CSHM_KIND_RWLOCK), &lock) == 0)
        unsafe cshm_rwlock_close(lock)
        var baton: OpaquePointer?
        unsafe #expect(cshm_baton_open(found, try place("tasks", CSHM_KIND_BATON), &baton) == 0)
        unsafe cshm_baton_close(baton)
    }

    @Test func `permits of a killed process come back`() throws {
        let pool = try PermitPool(permits: 3)
        let held = try Queue<Bool>()
        let child = try ChildProcess.start(pool, held) { pool, held in
            try pool.withPermits(2) {
                try held.put(true)
                pause()
            }
        }
        _ = try held.get(timeout: long)
        #expect(pool.available == 1 && pool.count == 3 && pool.held == 0)
        #expect(code { try pool.release() } == .notHolder)
        #expect(code { try pool.acquire(2, timeout: .milliseconds(30)) } == .timedOut)
        #expect(code { try pool.acquire(4) } == .invalidArgument)
        try child.kill()
        try pool.acquire(3, timeout: long)
        #expect(pool.held == 3 && pool.available == 0)
        try pool.release(3)
        #expect(pool.available == 3)
    }

    @Test func `tasks share permits across an await`() async throws {
        let pool = try PermitPool(permits: 4)
        let inside = try SharedValue(0)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for n in 0..<60 {
                let count = 1 + n % 3
                group.addTask(executorPreference: OwnThreads.shared) {
                    try await pool.withPermits(count, timeout: long) {
                        let now = try await inside.withLock { value in
                            value += count
                            return value
                        }
                        #expect(now <= 4)
                        await Task.yield()
                        try await inside.withLock { $0 -= count }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(pool.available == 4)
        try await pool.acquire(4)
        #expect(await code { try await pool.acquire(timeout: .milliseconds(5)) } == .timedOut)
        let task = Task { try await pool.acquire() }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        try pool.release(4)
    }
}

@Suite("Lock for tasks", .serialized)
struct AsyncLockTests {
    @Test func `bodies that await exclude each other across processes`() async throws {
        let lock = try AsyncLock()
        let counter = try SharedValue(0)
        let child = try ChildProcess.start(lock, counter) { lock, counter in
            try inTask {
                for _ in 0..<25 {
                    try await lock.withLock(timeout: long) { _ in
                        let seen = counter.value
                        await Task.yield()
                        counter.value = seen + 1
                    }
                }
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<25 {
                group.addTask(executorPreference: OwnThreads.shared) {
                    try await lock.withLock(timeout: long) { holder in
                        let inherited = holder.inheritedFromDead
                        #expect(!inherited && lock.owner == getpid())
                        let seen = counter.value
                        await Task.yield()
                        counter.value = seen + 1
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await child.join(timeout: long) == .exited(code: 0))
        #expect(counter.value == 50 && lock.owner == nil)
    }

    @Test func `a killed process's lock is inherited`() async throws {
        let lock = try AsyncLock()
        let held = try Queue<Bool>()
        let child = try ChildProcess.start(lock, held) { lock, held in
            try inTask {
                try await lock.withLock { _ in
                    try await held.put(true)
                    try await Task.sleep(for: .seconds(600))
                }
            }
        }
        _ = try await held.get(timeout: long)
        #expect(lock.owner == child.pid)
        #expect(
            await code { try await lock.withLock(timeout: .milliseconds(30)) { _ in } } == .timedOut
        )
        let cancelled = Task { try await lock.withLock { _ in } }
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        let waiter = Task {
            try await lock.withLock(timeout: long) { holder in
                defer { holder.markRepaired() }
                return holder.inheritedFromDead
            }
        }
        try child.kill()
        #expect(try await waiter.value)
        let again = try await lock.withLockIfAvailable { holder in holder.inheritedFromDead }
        #expect(again == false)
    }
}
