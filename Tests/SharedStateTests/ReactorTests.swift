// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

/// The reactor's threads of this process, and how often each has gone to sleep so far.
private func reactorSleeps() -> [String: Int] {
    var sleeps: [String: Int] = [:]
    guard let directory = unsafe opendir("/proc/self/task") else { return sleeps }
    defer { unsafe closedir(directory) }
    while let entry = unsafe readdir(directory) {
        let thread = unsafe withUnsafeBytes(of: entry.pointee.d_name) { name in
            unsafe String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
        }
        guard let status = contents(of: "/proc/self/task/\(thread)/status"),
            status.hasPrefix("Name:\tcshm-reactor\n"),
            let line = status.split(separator: "\n").first(where: {
                $0.hasPrefix("voluntary_ctxt_switches")
            })
        else { continue }
        sleeps[thread] = Int(line.drop { !$0.isNumber })
    }
    return sleeps
}

private func contents(of path: String) -> String? {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 8192)
    let count = unsafe read(file, &bytes, bytes.count)
    return count < 0 ? nil : String(decoding: bytes[..<count], as: UTF8.self)
}

/// Has tasks wait, one at each queue, until the reactor knows of them all.
private func wait(at queues: [Queue<Int>]) throws -> [Task<Int, any Error>] {
    let tasks = queues.map { queue in Task { try await queue.get(timeout: long) } }
    let threads = (queues.count + 126) / 127
    try eventually { reactorSleeps().count >= threads }
    return tasks
}

/// In a child: waits for all tasks, and has the process end with 0 if they got what is expected.
private func exit(when tasks: [Task<Int, any Error>], got expected: [Int]) -> Never {
    Task {
        var got: [Int] = []
        for task in tasks { got.append((try? await task.value) ?? -1) }
        let isOver: Void? = try? await eventually { reactorSleeps().isEmpty }
        exit(got == expected && isOver != nil ? 0 : 3)
    }
    while true { pause() }
}

@Suite("Reactor", .serialized, .timeLimit(.minutes(3)))
struct ReactorTests {
    @Test func `a process whose tasks wait sleeps, and one that has none has no thread`() throws {
        let child = try ChildProcess.start {
            let queues = try (0..<3).map { _ in try Queue<Int>() }
            let tasks = try wait(at: queues)
            usleep(50_000)
            let before = reactorSleeps()
            let start = ContinuousClock.now
            usleep(300_000)
            let after = reactorSleeps()
            let slices = (ContinuousClock.now - start) / .milliseconds(25)
            for (thread, count) in after {
                // Once a slice, for what a killed process did not wake any more.
                guard Double(count - (before[thread] ?? 0)) <= slices + 2 else { exit(2) }
            }
            for queue in queues { try queue.put(7) }
            // Ends only when the reactor's thread has.
            exit(when: tasks, got: [7, 7, 7])
        }
        #expect(try child.join(timeout: long) == .exited(code: 0))
    }

    @Test func `while nobody waits its thread sleeps without a look, until it ends`() throws {
        let child = try ChildProcess.start {
            let queue = try Queue<Int>()
            let tasks = try wait(at: [queue])
            try queue.put(7)
            var first: Int?
            var last = 0
            while let count = reactorSleeps().values.first {
                // Once the task was served, its statistics are those of a thread without a line.
                if queue.isEmpty { first = first ?? count }
                last = count
            }
            guard last - (first ?? 0) <= 4 else { exit(2) }
            exit(when: tasks, got: [7])
        }
        #expect(try child.join(timeout: long) == .exited(code: 0))
    }

    @Test func `tasks wait at more places than one thread can`() throws {
        let child = try ChildProcess.start {
            let queues = try (0..<300).map { _ in try Queue<Int>(capacity: 1, ports: 4) }
            let tasks = try wait(at: queues)
            for (n, queue) in queues.enumerated() { try queue.put(n) }
            exit(when: tasks, got: Array(0..<300))
        }
        #expect(try child.join(timeout: long) == .exited(code: 0))
    }

    @Test func `deadlines at one place are kept beside waits without one`() async throws {
        let queue = try Queue<Int>()
        async let forever = queue.get()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for delay in [40, 5, 20, 1] {
                group.addTask {
                    let start = ContinuousClock.now
                    let limit = Duration.milliseconds(delay)
                    await #expect(throws: SharedStateError.self) {
                        try await queue.get(timeout: limit)
                    }
                    #expect(ContinuousClock.now - start >= limit)
                }
            }
            try await group.waitForAll()
        }
        try await queue.put(1)
        #expect(try await forever == 1)
    }

    @Test func `what a cancelled task was woken for wakes a thread that waits`() async throws {
        let queue = try Queue<Int>()
        let done = try Queue<Int>()
        let child = try ChildProcess.start(queue, done) { queue, done in
            for element in queue.elements { try done.put(element) }
        }
        var taken = Set<Int>()
        for n in 0..<300 {
            let task = Task { try await queue.get() }
            if n.isMultiple(of: 2) { await Task.yield() }
            async let put: Void = queue.put(n)
            task.cancel()
            try await put
            do {
                taken.insert(try await task.value)
            } catch is CancellationError {
                taken.insert(try await done.get(timeout: long))
                continue
            }
        }
        queue.finish()
        #expect(try await child.join(timeout: long) == .exited(code: 0))
        #expect(taken == Set(0..<300))
    }
}
