// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(60)

/// A blocking call made in `async` code.
private func blocking<Result>(_ body: () throws -> Result) rethrows -> Result {
    try body()
}

/// Looks until it is so, without holding a thread.
private func soon(_ isSo: () throws -> Bool) async throws {
    let end = ContinuousClock.now + long
    while try !isSo() {
        guard ContinuousClock.now < end else { throw NeverCame(limit: long) }
        try await Task.sleep(for: .milliseconds(1))
    }
}

/// Stops a process, and returns when none of its threads runs any more.
private func stop(_ child: ChildProcess) async throws {
    try child.signal(SIGSTOP)
    try await soon { ProcessTree.isStopped(child.pid) }
}

/// A task of another process that waits for ever.
private func startWaiter(at condition: Condition) throws -> ChildProcess {
    try ChildProcess.start(condition) { condition in
        Task {
            try await condition.withLock { _ in
                false
            } _: { _ in
            }
        }
        while true { pause() }
    }
}

/// A process that notifies one, and holds the lock until it is told to release it.
private func startNotifier(
    at condition: Condition, notified: Event, release: Event
) throws -> ChildProcess {
    try ChildProcess.start(condition, notified, release) { condition, notified, release in
        try condition.withLock { holder in
            guard try condition.notify(holder) == 1 else { exit(5) }
            notified.set()
            try release.wait()
        }
    }
}

/// A process is killed while it holds the lock.
private func dieHolding(_ lock: Lock) async throws {
    let dead = try ChildProcess.start(lock) { lock in
        try lock.withLock(timeout: long) { _ in _ = kill(getpid(), SIGKILL) }
    }
    guard try await dead.join(timeout: long) == .signalled(SIGKILL) else { throw Undead() }
}

private struct Undead: Error {}

/// A task that waits until there is a unit, which it takes.
private struct Taker {
    let looks: SharedAtomic<Int>
    let task: Task<Bool, any Error>

    /// Returns when it waits.
    init(_ condition: Condition, _ units: SharedValue<Int>) async throws {
        let looks = try SharedAtomic(0)
        let before = condition.waiting
        self.looks = looks
        task = Task {
            try await condition.withLock(timeout: long) { holder in
                if holder.inheritedFromDead { holder.markRepaired() }
                looks.add(1)
                return units.value > 0
            } _: { _ in
                units.value -= 1
                return true
            }
        }
        try await soon { condition.waiting == before + 1 }
    }
}

/// From now on this process can start no thread: none has room for its stack.
private func refuseThreads() {
    typealias SetDefault = @convention(c) (UnsafePointer<pthread_attr_t>) -> Int32
    // glibc's function for it is not shown to Swift.
    let symbol = unsafe dlsym(nil, "pthread_setattr_default_np")
    let setDefault = unsafe unsafeBitCast(symbol, to: SetDefault.self)
    var attributes = pthread_attr_t()
    unsafe pthread_attr_init(&attributes)
    unsafe pthread_attr_setstacksize(&attributes, 1 << 60)
    let status = unsafe setDefault(&attributes)
    guard status == 0 else { exit(4) }
}

/// How tasks wait for a condition.
@Suite("Condition, for tasks", .serialized)
struct ConditionTaskTests {
    @Test func `a task for which no thread can be had is told so, and does not wait`() throws {
        let child = try ChildProcess.start {
            let condition = try Condition()
            Task {
                refuseThreads()
                let answer = await code {
                    try await condition.withLock(timeout: .seconds(10)) { _ in
                        false
                    } _: { _ in
                    }
                }
                exit(answer == .system && condition.waiting == 0 ? 0 : 3)
            }
            while true { pause() }
        }
        #expect(try child.join(timeout: long) == .exited(code: 0))
    }

    @Test func `what a killed process was notified of, a task of another is notified of`()
        async throws
    {
        let condition = try Condition()
        let units = try SharedValue(0)
        let child = try startWaiter(at: condition)
        try await soon { condition.waiting == 1 }
        let taker = try await Taker(condition, units)
        try await stop(child)
        let notified = try blocking {
            try condition.withLock { holder in
                units.value = 1
                return try condition.notify(holder)
            }
        }
        #expect(notified == 1 && condition.waiting == 1)
        // The process lives, and may come to it: nobody else is to look.
        try await Task.sleep(for: .milliseconds(150))
        #expect(taker.looks.load() == 1 && units.value == 1)
        try child.kill()
        #expect(try await taker.task.value)
        #expect(units.value == 0 && condition.waiting == 0)
    }

    @Test func `a task that looked in vain is before those that came later`() async throws {
        let condition = try Condition()
        let units = try SharedValue(0)
        let first = try await Taker(condition, units)
        let second = try await Taker(condition, units)
        for round in 2...5 {
            _ = try blocking { try condition.withLock { try condition.notify($0) } }
            try await soon { first.looks.load() == round && condition.waiting == 2 }
        }
        #expect(second.looks.load() == 1)
        for taker in [first, second] {
            try blocking {
                try condition.withLock { holder in
                    units.value += 1
                    try condition.notify(holder)
                }
            }
            #expect(try await taker.task.value)
        }
        #expect(condition.waiting == 0)
    }

    @Test func `a task that was notified gives up though another holds the lock`() async throws {
        let condition = try Condition()
        let units = try SharedValue(0)
        let notified = try Event()
        let release = try Event()
        let first = try await Taker(condition, units)
        let second = try await Taker(condition, units)
        let child = try startNotifier(at: condition, notified: notified, release: release)
        defer { _ = try? child.kill() }
        try await notified.wait(timeout: long)
        first.task.cancel()
        // Not with a thread that waits for the lock.
        let isOver = try SharedAtomic(0)
        Task {
            _ = try? await first.task.value
            isOver.store(1)
        }
        try await soon { isOver.load() == 1 }
        await #expect(throws: CancellationError.self) { try await first.task.value }
        #expect(first.looks.load() == 1 && second.looks.load() == 1)
        release.set()
        // It is notified in the place of the first, looks, and waits on.
        try await soon { second.looks.load() >= 2 && condition.waiting == 1 }
        #expect(try await child.join(timeout: long) == .exited(code: 0))
        try blocking {
            try condition.withLock { holder in
                units.value = 1
                try condition.notify(holder)
            }
        }
        #expect(try await second.task.value)
    }

    @Test func `a task that inherits the lock is told, though what it waits for does not hold`()
        async throws
    {
        let condition = try Condition()
        let ends = try SharedAtomic(0)
        // Whether it was told of a death, which it repairs.
        let wait = { @Sendable (timeout: Duration) async throws -> Bool in
            try await condition.withLock(timeout: timeout) { _ in
                false
            } _: { holder in
                holder.markRepaired()
                ends.add(1)
                return holder.inheritedFromDead
            }
        }
        let waiters = [Task { try await wait(long) }, Task { try await wait(long) }]
        try await soon { condition.waiting == 2 }
        for round in 1...2 {
            try await dieHolding(condition.lock)
            // One of them, and the others wait on.
            try await soon { ends.load() == round && condition.waiting == 2 - round }
        }
        for waiter in waiters { #expect(try await waiter.value) }
        // Also one who does not wait.
        try await dieHolding(condition.lock)
        #expect(try await wait(.zero))
        #expect(await code { _ = try await wait(.zero) } == .timedOut)
    }

    @Test func `what a task that inherits the lock does not repair, nobody can have`() async throws
    {
        let condition = try Condition()
        let waiters = (0..<2).map { _ in
            Task {
                await code {
                    try await condition.withLock(timeout: long) { _ in
                        false
                    } _: { _ in
                    }
                }
            }
        }
        try await soon { condition.waiting == 2 }
        try await dieHolding(condition.lock)
        let ends = [await waiters[0].value, await waiters[1].value]
        #expect(ends.contains(nil) && ends.contains(.notRecoverable), "\(ends)")
        #expect(code { try condition.withLock { _ in } } == .notRecoverable)
    }

    @Test func `a task that gives up leaves the lock of a dead holder to be repaired`()
        async throws
    {
        let condition = try Condition()
        let units = try SharedValue(0)
        let notified = try Event()
        let first = try await Taker(condition, units)
        let second = try await Taker(condition, units)
        let child = try startNotifier(at: condition, notified: notified, release: try Event())
        defer { _ = try? child.kill() }
        try await notified.wait(timeout: long)
        first.task.cancel()
        try child.kill()
        await #expect(throws: (any Error).self) { try await first.task.value }
        // It repairs it, as would not be possible if the first had released it before.
        try await soon { second.looks.load() >= 2 && condition.waiting == 1 }
        try blocking {
            try condition.withLock { holder in
                units.value = 1
                try condition.notify(holder)
            }
        }
        #expect(try await second.task.value)
    }
}
