// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

/// Where a handler of SIGTERM writes.
nonisolated(unsafe) private var noteDescriptor: Int32 = -1

@Suite("Cancelling what runs", .serialized)
struct PoolCancelTests {
    /// Runs until it is cancelled, and says so.
    @Sendable private static func heed(_ started: Queue<Int32>, _ noticed: Queue<Bool>) throws {
        try started.put(getpid())
        while !Task.isCancelled { usleep(1000) }
        try noticed.put(true)
    }

    @Test(arguments: [Pool.Mode.processes, .inline])
    func `a task that heeds its cancellation keeps its worker`(mode: Pool.Mode) throws {
        var options = Pool.Options()
        options.grace = .seconds(60)
        let pool = try Pool(mode, workers: 1, options: options)
        let started = try Queue<Int32>()
        let noticed = try Queue<Bool>()
        for _ in 0..<3 {
            let future = try pool.submit(started, noticed, body: Self.heed)
            let pid = try started.get(timeout: long)
            #expect(future.cancel())
            #expect(throws: CancellationError.self) { try future.value(timeout: long) }
            #expect(try noticed.get(timeout: long))
            // The next one is not cancelled, and runs in the same place.
            #expect(try pool.apply { Task.isCancelled } == false)
            #expect(try pool.apply { getpid() } == pid)
        }
    }

    @Test(arguments: [Pool.Mode.processes, .inline])
    func `what a body awaits is cancelled with it`(mode: Pool.Mode) async throws {
        var options = Pool.Options()
        options.grace = .seconds(60)
        let pool = try Pool(mode, workers: 1, options: options)
        let started = try Queue<Int32>()
        let noticed = try Queue<Bool>()
        let future = try await pool.submit(started, noticed) { started, noticed in
            try await started.put(getpid())
            do {
                try await Task.sleep(for: .seconds(1000))
            } catch is CancellationError {
                try await Task.detached { try await noticed.put(true) }.value
            }
        }
        let pid = try await started.get(timeout: long)
        #expect(future.cancel())
        #expect(try await noticed.get(timeout: long))
        #expect(try await pool.apply { getpid() } == pid)
    }

    @Test(arguments: [Pool.Mode.processes, .inline])
    func `a task that misses its deadline is told so`(mode: Pool.Mode) throws {
        var options = Pool.Options()
        options.grace = .seconds(60)
        let pool = try Pool(mode, workers: 1, options: options)
        let limit = TaskOptions(deadline: .milliseconds(500))
        let started = try Queue<Int32>()
        let noticed = try Queue<Bool>()
        #expect(
            code { _ = try pool.apply(started, noticed, options: limit, body: Self.heed) }
                == .timedOut)
        #expect(try noticed.get(timeout: long))
        let pid = try started.get(timeout: long)
        let outcomes = try pool.imap(0..<4, options: limit) { n -> Int in
            while n == 2, !Task.isCancelled { usleep(1000) }
            return n
        }
        let codes = outcomes.elements.map { outcome in code { _ = try outcome.get() } }
        #expect(codes == [nil, nil, .timedOut, nil])
        #expect(try pool.apply { getpid() } == pid)
    }

    @Test func `a worker that ignores SIGTERM is killed`() throws {
        var options = Pool.Options()
        options.grace = .milliseconds(20)
        let pool = try Pool(workers: 1, options: options)
        let started = try Queue<Int32>()
        let future = try pool.submit(started) { started in
            signal(SIGTERM, SIG_IGN)
            try started.put(getpid())
            while true { pause() }
        }
        let pid = try started.get(timeout: long)
        #expect(future.cancel())
        #expect(try pool.apply { getpid() } != pid)
        let results = try pool.imap([1, 0], options: TaskOptions(deadline: .seconds(1))) {
            n in
            signal(SIGTERM, SIG_IGN)
            while n == 1 { pause() }
            return n
        }
        #expect(code { _ = try results.next()?.get() } == .timedOut)
        #expect(try results.next()?.get() == 0)
    }

    /// Who blocks all threads that tasks run on, and waits for the worker's end, gets it.
    @Test func `a worker that ignores SIGTERM is killed while no task can run`() async throws {
        let child = try ChildProcess.start { () in
            var options = Pool.Options()
            options.grace = .milliseconds(20)
            let pool = try Pool(workers: 1, options: options)
            let started = try Queue<Int>()
            let future = try pool.submit(started) { started in
                signal(SIGTERM, SIG_IGN)
                try started.put(1)
                while true { pause() }
            }
            _ = try started.get(timeout: long)
            for _ in 0..<64 {
                Task.detached {
                    try started.put(1)
                    while true { pause() }
                }
            }
            _ = try started.get(timeout: long)
            // Nor can what stands in a queue that all share, and gets another thread every second.
            for _ in 0..<1000 { DispatchQueue.global().async { while true { pause() } } }
            future.cancel()
            let seven = try pool.apply { 7 }
            exit(seven == 7 ? 0 : 1)
        }
        #expect(try await child.join(timeout: long) == .exited(code: 0))
    }

    @Test(arguments: [false, true]) func `SIGTERM comes before SIGKILL`(
        isTerminated: Bool
    ) throws {
        var options = Pool.Options()
        options.grace = .milliseconds(300)
        let pool = try Pool(workers: 1, options: options)
        let started = try Queue<Int32>()
        var ends: [Int32] = [0, 0]
        #expect(unsafe pipe(&ends) == 0)
        let path = "/proc/\(getpid())/fd/\(ends[1])"
        let future = try pool.submit(started, path) { started, path in
            unsafe noteDescriptor = unsafe open(path, O_WRONLY)
            signal(SIGTERM) { _ in _ = unsafe write(noteDescriptor, "T", 1) }
            try started.put(getpid())
            while true { pause() }
        }
        let pid = try started.get(timeout: long)
        if isTerminated { pool.terminate() } else { #expect(future.cancel()) }
        close(ends[1])
        var letters = [UInt8](repeating: 0, count: 8)
        // The end of the pipe is the worker's.
        #expect(unsafe read(ends[0], &letters, 8) == 1)
        #expect(letters[0] == UInt8(ascii: "T"))
        #expect(unsafe read(ends[0], &letters, 8) == 0)
        close(ends[0])
        if !isTerminated { #expect(try pool.apply { getpid() } != pid) }
    }

    @Test func `a map that is cancelled ends what runs of it`() async throws {
        let pool = try Pool(workers: 2)
        let started = try Queue<Int32>()
        let task = Task {
            try await pool.map([0, 1], with: started, chunkSize: 1) { _, started in
                try started.put(getpid())
                while true { pause() }
            } as [Int]
        }
        let pids: Set<Int32> = [
            try await started.get(timeout: long), try await started.get(timeout: long),
        ]
        task.cancel()
        await #expect(throws: (any Error).self) { try await task.value }
        // Both were ended, as they did not heed it.
        for _ in 0..<2 {
            let pid = try await pool.apply { getpid() }
            #expect(!pids.contains(pid))
        }
    }
}
