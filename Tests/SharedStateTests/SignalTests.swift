// SPDX-License-Identifier: Apache-2.0

import CShm
import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

private struct Interruption: Error {}

/// A blocking call made in `async` code.
private func blocking<Result>(_ body: () throws -> Result) rethrows -> Result {
    try body()
}

@Suite("Event, latch, once, barrier, condition", .serialized)
struct SignalTests {
    // MARK: Event

    @Test func `an event is set until it is cleared`() throws {
        let event = try Event()
        #expect(!event.isSet && !event.tryWait())
        let started = ContinuousClock.now
        #expect(try !event.wait(timeout: .milliseconds(30)))
        #expect(ContinuousClock.now - started >= .milliseconds(30))
        #expect(try !event.wait(timeout: .milliseconds(-1)))
        event.set()
        event.set()
        #expect(try event.isSet && event.wait(timeout: long) && event.wait(timeout: .zero))
        event.clear()
        #expect(!event.isSet)
    }

    @Test func `an automatic event lets one process go on for each time it is set`() throws {
        let event = try Event(automatic: true)
        let passed = try Queue<Int>()
        let children = try (0..<4).map { n in
            try ChildProcess.start(event, passed, n) { event, passed, n in
                guard try event.wait(timeout: long) else { throw NeverCame(limit: long) }
                try passed.put(n, timeout: long)
            }
        }
        var seen: Set<Int> = []
        for _ in 0..<4 {
            #expect(try passed.tryGet() == nil)
            event.set()
            seen.insert(try passed.get(timeout: long))
        }
        #expect(seen == [0, 1, 2, 3] && !event.isSet)
        for child in children { #expect(try child.join(timeout: long) == .exited(code: 0)) }
    }

    @Test func `tasks wait for an event that another process sets`() async throws {
        let event = try Event()
        let ready = try Latch(count: 100)
        let count = try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<100 {
                group.addTask {
                    ready.countDown()
                    return try await event.wait(timeout: long)
                }
            }
            #expect(try await ready.wait(timeout: long))
            let child = try ChildProcess.start(event) { event in event.set() }
            let count = try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            try await child.join(timeout: long)
            return count
        }
        #expect(count == 100)
    }

    @Test func `a cancelled wait does not go through`() async throws {
        let event = try Event(automatic: true)
        let task = Task { try await event.wait(timeout: long) }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        event.set()
        #expect(try await event.wait(timeout: .zero))
        #expect(try await !event.wait(timeout: .milliseconds(5)))
    }

    // MARK: Latch

    @Test func `a latch waits for all processes`() async throws {
        let latch = try Latch(count: 3)
        #expect(try await !latch.wait(timeout: .milliseconds(5)))
        let children = try (0..<3).map { _ in
            try ChildProcess.start(latch) { latch in
                latch.countDown()
                guard try latch.wait(timeout: long) else { throw NeverCame(limit: long) }
            }
        }
        #expect(try await latch.wait(timeout: long))
        #expect(latch.count == 0 && latch.countDown() == 0)
        for child in children { #expect(try await child.join(timeout: long) == .exited(code: 0)) }
        #expect(code { _ = try Latch(count: -1) } == .invalidArgument)
    }

    // MARK: Once

    @Test func `one process of several does it`() async throws {
        let once = try Once()
        let runs = try SharedValue(0)
        let children = try (0..<4).map { _ in
            try ChildProcess.start(once, runs) { once, runs in
                try once.run(timeout: long) { _ in runs.value += 1 }
                guard once.isDone, runs.value == 1 else { throw Interruption() }
            }
        }
        for child in children { #expect(try await child.join(timeout: long) == .exited(code: 0)) }
        #expect(try await !once.run(timeout: long) { _ in } && runs.value == 1)
    }

    @Test func `what was thrown out of is not done, nor what its runner died in`() async throws {
        let once = try Once()
        #expect(throws: Interruption.self) {
            try blocking { try once.run(timeout: long) { _ in throw Interruption() } }
        }
        #expect(!once.isDone)
        let began = try Queue<Bool>()
        let child = try ChildProcess.start(once, began) { once, began in
            try once.run(timeout: long) { _ in
                try began.put(true)
                pause()
            }
        }
        _ = try await began.get(timeout: long)
        #expect(await code { try await once.run(timeout: .milliseconds(30)) { _ in } } == .timedOut)
        try child.kill()
        var attempts: [Once.Attempt] = []
        #expect(try await once.run(timeout: long) { attempts.append($0) })
        #expect(attempts == [.afterDeath] && once.isDone)
    }

    // MARK: Barrier

    @Test func `parties of several processes go on together`() throws {
        let barrier = try Barrier(parties: 3)
        let rounds = try SharedArray<Int>(count: 50)
        let indices = try Queue<Int>(capacity: 1000)
        let children = try (0..<3).map { _ in
            try ChildProcess.start(barrier, rounds, indices) { barrier, rounds, indices in
                for round in 0..<50 {
                    try rounds.withLock { $0[round] += 1 }
                    let index = try barrier.wait(timeout: .seconds(20))
                    guard rounds[round] == 3 else { throw Interruption() }
                    try indices.put(index)
                }
            }
        }
        for child in children { #expect(try child.join(timeout: long) == .exited(code: 0)) }
        let all = try indices.get(upTo: 150, timeout: long)
        for index in 0..<3 { #expect(all.count { $0 == index } == 50) }
        #expect(!barrier.isBroken && barrier.parties == 3 && barrier.waiting == 0)
    }

    @Test func `the last one acts before all go on`() async throws {
        let barrier = try Barrier(parties: 4)
        let acts = try SharedAtomic(0)
        let indices = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    let index = try await barrier.wait(timeout: long) { acts.add(1) }
                    #expect(acts.load() == 1)
                    return index
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(indices.sorted() == [0, 1, 2, 3])
        #expect(try blocking { try Barrier(parties: 1).wait(timeout: long) { acts.add(1) } } == 0)
        #expect(acts.load() == 2)
    }

    @Test func `a barrier is broken by a time-out, a throw, an abort, and is repaired`()
        async throws
    {
        let barrier = try Barrier(parties: 2)
        #expect(
            code { _ = try blocking { try barrier.wait(timeout: .milliseconds(20)) } } == .timedOut)
        #expect(await code { _ = try await barrier.wait(timeout: long) } == .broken)
        #expect(barrier.isBroken && barrier.repair() == 0 && barrier.repair() == 0)
        async let waiting = code { _ = try await barrier.wait(timeout: long) }
        try await eventually { barrier.waiting > 0 }
        #expect(throws: Interruption.self) {
            try blocking { try barrier.wait(timeout: long) { throw Interruption() } }
        }
        #expect(await waiting == .broken)
        barrier.reset()
        let cancelled = Task { try await barrier.wait(timeout: long) }
        try await eventually { barrier.waiting > 0 }
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        #expect(barrier.isBroken)
        barrier.reset()
        barrier.abort()
        #expect(code { _ = try blocking { try barrier.wait(timeout: long) } } == .broken)
        #expect(code { _ = try Barrier(parties: 0) } == .invalidArgument)
    }

    @Test func `the death of a party breaks a barrier`() async throws {
        let barrier = try Barrier(parties: 2)
        let child = try ChildProcess.start(barrier) { barrier in
            try barrier.wait(timeout: long)
            pause()
        }
        try await barrier.wait(timeout: long)
        async let waiting = code { _ = try await barrier.wait(timeout: long) }
        try await eventually { barrier.waiting > 0 }
        try child.kill()
        #expect(await waiting == .broken)
        #expect(barrier.repair() == 1)
    }

    @Test func `a process that ends is a party no longer`() async throws {
        let barrier = try Barrier(parties: 2)
        for _ in 0..<3 {
            let child = try ChildProcess.start(barrier) { barrier in
                try barrier.wait(timeout: long)
            }
            try await barrier.wait(timeout: long)
            #expect(try await child.join(timeout: long) == .exited(code: 0))
        }
        async let waiting = barrier.wait(timeout: long)
        try await Task.sleep(for: .milliseconds(60))
        #expect(!barrier.isBroken)
        try await barrier.wait(timeout: long)
        _ = try await waiting
    }

    // MARK: Condition

    @Test func `notifications let as many processes go on`() throws {
        let condition = try Condition()
        let woken = try SharedAtomic(0)
        let children = try (0..<6).map { _ in
            try ChildProcess.start(condition, woken) { condition, woken in
                try condition.withLock { holder in
                    guard try condition.wait(holder, timeout: .seconds(20)) == .notified else {
                        throw Interruption()
                    }
                    woken.add(1)
                }
            }
        }
        try eventually { condition.waiting == 6 }
        func expect(_ count: Int) throws {
            try eventually { woken.load() >= count }
            try condition.withLock { _ in #expect(woken.load() == count) }
            #expect(condition.waiting == 6 - count)
        }
        #expect(try condition.withLock { try condition.notify($0) } == 1)
        try expect(1)
        #expect(try condition.withLock { try condition.notify($0, count: 2) } == 2)
        try expect(3)
        #expect(try condition.withLock { try condition.notifyAll($0) } == 3)
        try expect(6)
        #expect(try condition.withLock { try condition.notifyAll($0) } == 0)
        for child in children { #expect(try child.join(timeout: long) == .exited(code: 0)) }
    }

    @Test func `a wait for something has one time-out, however often it is woken`() throws {
        let condition = try Condition()
        let child = try ChildProcess.start(condition) { condition in
            while true {
                _ = try condition.withLock { try condition.notifyAll($0) }
                usleep(1000)
            }
        }
        defer { _ = try? child.kill() }
        // With a time-out of its own for each wake it would not end.
        try condition.withLock { holder in
            let woken = try condition.wait(holder, timeout: long)
            #expect(woken == .notified)
            var looks = 0
            let ended = try condition.wait(holder, timeout: .milliseconds(100)) {
                looks += 1
                return false
            }
            #expect(ended == .timedOut && looks > 2)
        }
    }

    @Test func `a wait for something ends when it holds, or with the time-out`() throws {
        let condition = try Condition()
        let number = try SharedValue(0)
        let child = try ChildProcess.start(condition, number) { condition, number in
            for n in 1...100 {
                try condition.withLock { holder in
                    number.value = n
                    try condition.notifyAll(holder)
                }
            }
        }
        try condition.withLock { holder in
            var ended = try condition.wait(holder, timeout: long) { number.value == 100 }
            #expect(ended == .notified)
            let started = ContinuousClock.now
            ended = try condition.wait(holder, timeout: .milliseconds(30)) { number.value == 101 }
            #expect(ended == .timedOut && ContinuousClock.now - started >= .milliseconds(30))
            ended = try condition.wait(holder, timeout: .zero)
            #expect(ended == .timedOut)
        }
        #expect(try child.join(timeout: long) == .exited(code: 0))
        let other = try Condition()
        #expect(code { _ = try other.withLock { try condition.notify($0) } } == .invalidArgument)
        #expect(code { _ = try other.withLock { try condition.wait($0) } } == .invalidArgument)
    }

    @Test func `a waiter gets the lock of a dead holder`() throws {
        let condition = try Condition()
        let held = try Event()
        let child = try ChildProcess.start(condition, held) { condition, held in
            try eventually { condition.waiting > 0 }
            try condition.withLock { _ in
                held.set()
                pause()
            }
        }
        let killer = try ChildProcess.start(held, child.pid) { held, pid in
            guard try held.wait(timeout: long) else { throw NeverCame(limit: long) }
            kill(pid, SIGKILL)
        }
        try condition.withLock { holder in
            let ended = try condition.wait(holder, timeout: long)
            #expect(ended == .inheritedFromDead)
            holder.markRepaired()
        }
        #expect(try !condition.withLock { holder in holder.inheritedFromDead })
        try killer.join(timeout: long)
    }

    @Test func `tasks wait for a condition without holding a thread`() async throws {
        let condition = try Condition(waiters: 64)
        let number = try SharedValue(0)
        let sum = try await withThrowingTaskGroup(of: Int.self) { group in
            for n in 1...50 {
                group.addTask {
                    try await condition.withLock(timeout: long) { _ in
                        number.value >= n
                    } _: { holder in
                        try condition.notifyAll(holder)
                        return n
                    }
                }
            }
            try await eventually { condition.waiting >= 50 }
            for n in 1...50 {
                try blocking {
                    try condition.withLock { holder in
                        number.value = n
                        try condition.notifyAll(holder)
                    }
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(sum == 50 * 51 / 2 && condition.waiting == 0)
        #expect(
            await code {
                try await condition.withLock(timeout: .milliseconds(20)) { _ in
                    false
                } _: { _ in
                }
            } == .timedOut)
        let task = Task {
            try await condition.withLock(timeout: long) { _ in
                false
            } _: { _ in
            }
        }
        try await eventually { condition.waiting > 0 }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(condition.waiting == 0)
    }

    // MARK: Names

    @Test func `C finds what Swift named, and Swift what C named`() throws {
        let name = "sharedstate.test.signals.\(getpid())"
        let region = try Region(creating: name, capacity: 4 << 20)
        defer { try? Region.remove(name) }
        let event = try Event(creating: "event", in: region)
        let latch = try Latch(creating: "latch", in: region, count: 2)
        let once = try Once(creating: "once", in: region)
        let barrier = try Barrier(creating: "barrier", in: region, parties: 1)
        let condition = try Condition(in: region)
        try condition.setName("condition")
        #expect(code { try condition.setName("condition") } == .alreadyExists)
        #expect(code { _ = try Event(creating: "event", in: region) } == .alreadyExists)
        #expect(code { _ = try Event(opening: "latch", in: region) } == .incompatible)
        #expect(code { _ = try Event(opening: "nothing", in: region) } == .notFound)

        // As another program.
        var opened: OpaquePointer?
        #expect(unsafe cshm_region_open(name, &opened) == 0)
        let other = unsafe opened.unsafelyUnwrapped
        defer { unsafe cshm_region_close(other) }
        func find(_ name: String, _ kind: cshm_kind) -> UInt64 {
            var entry = cshm_directory_entry()
            #expect(unsafe cshm_directory_find(other, name, &entry) == 0)
            #expect(entry.kind == kind.rawValue)
            return entry.offset
        }
        func at<T>(_ offset: UInt64, as type: T.Type) -> UnsafeMutablePointer<T> {
            unsafe cshm_heap_pointer(other, offset, UInt64(MemoryLayout<T>.size))
                .assumingMemoryBound(to: T.self)
        }
        let theirs = unsafe at(find("event", CSHM_KIND_EVENT), as: cshm_event.self)
        unsafe #expect(cshm_event_set(theirs) == 0)
        #expect(event.isSet)
        let count = unsafe at(find("latch", CSHM_KIND_LATCH), as: cshm_latch.self)
        unsafe #expect(cshm_latch_count_down(count, 1) == 1)
        #expect(latch.count == 1)
        let place = unsafe at(find("once", CSHM_KIND_ONCE), as: cshm_once.self)
        unsafe #expect(cshm_once_try_begin(other, place) == CSHM_ONCE_RUN)
        unsafe #expect(cshm_once_end(other, place, 1) == 0)
        #expect(once.isDone)
        var meeting: OpaquePointer?
        unsafe #expect(cshm_barrier_open(other, find("barrier", CSHM_KIND_BARRIER), &meeting) == 0)
        unsafe #expect(cshm_barrier_wait_until(meeting, nil, nil, 0, nil) == 0)
        unsafe cshm_barrier_close(meeting)
        #expect(try barrier.wait(timeout: long) == 0)
        let mutex = unsafe at(find("condition.lock", CSHM_KIND_MUTEX), as: cshm_mutex.self)
        unsafe #expect(cshm_mutex_try_acquire(mutex) == 0)
        #expect(code { try condition.withLock { _ in } } == .deadlock)
        unsafe #expect(cshm_mutex_release(mutex) == 0)
        #expect(try Condition(opening: "condition", in: region).waiting == 0)
        #expect(try region.names().count == 6)
    }
}
