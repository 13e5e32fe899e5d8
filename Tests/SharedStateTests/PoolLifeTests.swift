// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

@Suite("A pool's workers come and go", .serialized)
struct PoolLifeTests {
    @Test(arguments: [Pool.Mode.processes, .inline]) func `a pool grows and shrinks`(
        mode: Pool.Mode
    ) throws {
        var options = Pool.Options()
        options.maxWorkers = 4
        let pool = try Pool(mode, workers: 1, options: options)
        try pool.resize(to: 3)
        #expect(pool.workerPIDs.count == 3 && pool.workerCount == 3)
        // Three at a time.
        let barrier = try Barrier(parties: 3)
        let indices = try pool.map([0, 0, 0], with: barrier, chunkSize: 1) { _, barrier in
            try barrier.wait(timeout: .seconds(20))
        }
        #expect(Set(indices) == [0, 1, 2])
        try pool.resize(to: 1)
        try eventually { pool.workerPIDs.count <= 1 }
        #expect(try pool.map(0..<100, chunkSize: 1) { $0 } == Array(0..<100))
        try pool.resize(to: 2)
        #expect(pool.workerPIDs.count == 2)
        for count in [0, 5, -1] {
            #expect(code { try pool.resize(to: count) } == .invalidArgument)
        }
        pool.close()
        try pool.join(timeout: long)
        #expect(code { try pool.resize(to: 2) } == .closed)
    }

    @Test func `a pool that shrinks strands no task`() throws {
        var options = Pool.Options()
        options.maxWorkers = 4
        let pool = try Pool(workers: 4, options: options)
        let futures = try (0..<200).map { n in try pool.submit(n) { $0 } }
        for count in [1, 3, 1, 2] { try pool.resize(to: count) }
        for (n, future) in futures.enumerated() {
            #expect(try future.value(timeout: long) == n)
        }
        try eventually { pool.workerPIDs.count <= 2 }
        #expect(try pool.apply(1) { $0 } == 1)
    }

    @Test(arguments: [Pool.Mode.processes, .inline])
    func `workers that have nothing to do leave, and come when there is`(mode: Pool.Mode) throws {
        var options = Pool.Options()
        options.idleTimeout = .milliseconds(20)
        let pool = try Pool(mode, workers: 2, options: options)
        for n in 0..<3 {
            while !pool.workerPIDs.isEmpty {
                // Nobody drives an idle pool but who waits for it.
                try pool.join(timeout: long)
                usleep(1000)
            }
            #expect(try pool.map(0..<10) { $0 } == Array(0..<10))
            #expect(try pool.apply(n) { $0 } == n)
        }
    }

    @Test func `a worker with too much memory is replaced`() throws {
        var options = Pool.Options()
        options.maxMemoryPerWorker = 400 << 20
        let pool = try Pool(workers: 1, options: options)
        let first = try pool.apply { getpid() }
        let second = try pool.apply { () -> Int32 in
            let size = 512 << 20
            guard let memory = unsafe malloc(size) else { return 0 }
            unsafe memset(memory, 1, size)
            return getpid()
        }
        #expect(first == second)
        #expect(try pool.apply { getpid() } != first)
    }

    @Test func `workers have the CPUs, the niceness and the environment that they are given`()
        throws
    {
        var options = Pool.Options()
        options.placement = [[0], [0]]
        options.process.niceness = 5
        options.process.environment = ["FLAVOUR": "mint"]
        let pool = try Pool(workers: 2, options: options)
        let seen = try pool.map([0, 1, 2, 3], chunkSize: 1) { _ -> String in
            var room = [CChar](repeating: 0, count: 8192)
            let file = unsafe open("/proc/thread-self/status", O_RDONLY)
            let count = unsafe read(file, &room, room.count)
            close(file)
            let text = String(decoding: room[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let line = text.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed_list:") }
            return String(line?.split(separator: "\t").last ?? "")
        }
        #expect(seen == ["0", "0", "0", "0"])
        let own = getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0)
        let nice = try pool.apply { getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0) }
        #expect(nice == min(19, own + 5))
        #expect(
            try pool.apply { unsafe getenv("FLAVOUR").map { unsafe String(cString: $0) } } == "mint"
        )
        options.placement = [[4095]]
        #expect(code { _ = try Pool(workers: 1, options: options) } == .invalidArgument)
    }

    @Test func `options without sense are refused`() {
        var options = Pool.Options()
        options.maxMemoryPerWorker = 0
        #expect(code { _ = try Pool(workers: 1, options: options) } == .invalidArgument)
        options = Pool.Options()
        options.idleTimeout = .milliseconds(-1)
        #expect(code { _ = try Pool(workers: 1, options: options) } == .invalidArgument)
        options = Pool.Options()
        options.maxWorkers = 257
        #expect(code { _ = try Pool(workers: 1, options: options) } == .invalidArgument)
    }

    // MARK: Insights

    @Test(arguments: [Pool.Mode.processes, .inline]) func `workers tell what they have done`(
        mode: Pool.Mode
    ) throws {
        var options = Pool.Options()
        options.measures = true
        let pool = try Pool(mode, workers: 1, options: options)
        _ = try pool.map(0..<20, chunkSize: 1) { n in
            if n == 7 { usleep(30_000) }
            return n
        }
        let insights = pool.insights
        #expect(insights.tasks == 20)
        let worker = try #require(insights.workers.first)
        #expect(worker.pid == pool.workerPIDs.first && worker.number == 1)
        #expect(worker.slowest.first?.index == 7)
        #expect(worker.slowest.first?.duration ?? .zero >= .milliseconds(30))
        #expect(worker.working >= .milliseconds(30) && worker.age >= worker.working)
        let table = insights.description.split(separator: "\n")
        #expect(table.count == 2 && table[0].contains("slowest"))
        #expect(table[1].contains("\(worker.pid)"))
        // In another process.
        let seen = try pool.apply(pool.counters) { counters in
            let worker = counters.insights.workers.first
            return (worker?.tasks, worker?.isWorking, worker?.pid)
        }
        #expect(seen.0 == 20 && seen.1 == true && seen.2 == worker.pid)
    }

    // MARK: Progress

    @Test func `a map tells how far it is`() async throws {
        let pool = try Pool(workers: 2)
        let progress = PoolProgress()
        let watcher = Task {
            var last: PoolProgress.Counts?
            for await counts in progress { last = counts }
            return last
        }
        let results = try await pool.map(0..<500, chunkSize: 5, progress: progress) { "\($0)" }
        #expect(results.count == 500)
        let last = await watcher.value
        #expect(last?.completed == 500 && last?.total == 500 && last?.fraction == 1)
        #expect(progress.counts == last)
        let told = try Queue<Int>(capacity: 1000)
        _ = try await pool.map(
            AnySequence(0..<50), progress: PoolProgress { try? told.put($0.completed) }
        ) { $0 }
        var counts: [Int] = []
        while let count = try told.tryGet() { counts.append(count) }
        #expect(counts.first == 0 && counts.last == 50 && counts == counts.sorted())
    }

    @Test func `results that are taken one by one tell how far they are`() async throws {
        let pool = try Pool(workers: 2)
        let progress = PoolProgress()
        let results = try pool.imap(0..<40, chunkSize: 4, progress: progress) { $0 }
        #expect(progress.counts.total == nil)
        #expect(try results.next()?.get() == 0)
        #expect(progress.counts.completed == 4 && progress.counts.total == 40)
        #expect(try results.elements.map { try $0.get() } == Array(1..<40))
        #expect(progress.counts.fraction == 1)
        // It has ended.
        var last: PoolProgress.Counts?
        for await counts in progress { last = counts }
        #expect(last?.completed == 40)

        let told = try Queue<Int>(capacity: 1000)
        let others = try pool.imapUnordered(
            AnySequence(0..<50), chunkSize: 5,
            progress: PoolProgress { try? told.put($0.completed) }
        ) { number async in number }
        #expect(try others.elements.map { try $0.get() }.sorted() == Array(0..<50))
        var counts: [Int] = []
        while let count = try told.tryGet() { counts.append(count) }
        #expect(counts == Array(stride(from: 0, through: 50, by: 5)))
    }

    @Test func `who goes through the progress of nothing may be cancelled`() async {
        let progress = PoolProgress()
        let watcher = Task {
            var seen = 0
            for await _ in progress { seen += 1 }
            return seen
        }
        watcher.cancel()
        #expect(await watcher.value == 0)
    }

    @Test func `the end of a terminated pool can be waited for`() throws {
        var options = Pool.Options()
        options.grace = .milliseconds(50)
        let pool = try Pool(workers: 3, options: options)
        let pids = pool.workerPIDs
        let begun = try Queue<Int>()
        // One heeds nothing, one is at something, one waits.
        let stubborn = try pool.submit(begun) { begun in
            signal(SIGTERM, SIG_IGN)
            try begun.put(1)
            while true { usleep(1000) }
        }
        let busy = try pool.submit(begun) { begun in
            try begun.put(1)
            while true { usleep(1000) }
        }
        for _ in 0..<2 { _ = try begun.get(timeout: .seconds(20)) }
        pool.terminate()
        try pool.join(timeout: .seconds(60))
        #expect(pids.count == 3)
        for pid in pids { #expect(kill(pid, 0) == -1 && errno == ESRCH) }
        for future in [stubborn, busy] {
            #expect(throws: SharedStateError.self) { try future.value(timeout: .seconds(20)) }
        }
    }
}
