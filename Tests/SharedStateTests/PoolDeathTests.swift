// SPDX-License-Identifier: Apache-2.0

import EarlyThread
import Glibc
import SharedState
import Testing

/// What to do, where.
private enum Harm: Int, Codable, Sendable, CaseIterable {
    case error
    case exit
    case signal

    func happen() throws {
        switch self {
        case .error: throw Unfit()
        case .exit: Glibc.exit(3)
        case .signal: raise(SIGALRM)  // which no sanitizer handles
        }
    }
}

private struct Unfit: Error {}

/// Harm when its process decodes it.
private struct HarmsOnDecode: Codable, Sendable {
    /// Not plain bits, which are not asked how to be encoded.
    var text = ""
    var harm: Harm
    var parent: pid_t

    init(harm: Harm) {
        self.harm = harm
        parent = getpid()
    }

    init(from decoder: any Decoder) throws {
        var container = try decoder.unkeyedContainer()
        harm = try container.decode(Harm.self)
        parent = try container.decode(pid_t.self)
        if getpid() != parent { try harm.happen() }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.unkeyedContainer()
        try container.encode(harm)
        try container.encode(parent)
    }
}

/// Harm when it is encoded.
private struct HarmsOnEncode: Codable, Sendable {
    var text = ""
    var harm: Harm

    init(harm: Harm) { self.harm = harm }

    func encode(to encoder: any Encoder) throws {
        try harm.happen()
    }

    init(from decoder: any Decoder) throws { harm = .error }
}

/// An error where it is decoded.
private struct FailsOnReturn: Codable, Sendable {
    var text = ""

    init() {}
    init(from decoder: any Decoder) throws { throw Unfit() }
    func encode(to encoder: any Encoder) throws {
        var container = encoder.unkeyedContainer()
        try container.encode(1)
    }
}

/// Dies when most of it is encoded.
private struct DiesAfterMuch: Codable, Sendable {
    var text = ""

    init() {}
    init(from decoder: any Decoder) throws { throw Unfit() }
    func encode(to encoder: any Encoder) throws {
        var container = encoder.unkeyedContainer()
        for n in 0..<100_000 { try container.encode(n) }
        kill(getpid(), SIGKILL)
    }
}

/// A pool of two workers that has one, as it has nothing to do since the other was killed.
private func makeShortPool() throws -> (pool: Pool, pids: [pid_t], zygote: pid_t) {
    var options = Pool.Options()
    options.idleTimeout = .seconds(1000)
    let pool = try Pool(workers: 2, options: options)
    let pids = pool.workerPIDs
    let zygote = try #require(ProcessTree.entry(of: pids[0])?.parent)
    kill(pids[0], SIGKILL)
    try eventually {
        try pool.join(timeout: .seconds(20))
        return pool.workerPIDs.count <= 1
    }
    return (pool, [pids[1]], zygote)
}

@inline(never)
private func outOfRange(_ n: Int) -> Int { [1, 2][n] }

@Suite("Deaths in a pool", .serialized, .timeLimit(.minutes(3)))
struct PoolDeathTests {
    private func check(_ pool: Pool, _ harm: Harm, _ body: () throws -> Void) throws {
        let error = #expect(throws: SharedStateError.self) { try body() }
        #expect(
            error?.code == (harm == .error ? .taskFailed : .workerDied),
            "\(String(describing: error))")
        switch harm {
        case .error: #expect(error?.task?.text.contains("Unfit") == true)
        case .exit: #expect(error?.task?.exit?.status == .exited(code: 3))
        case .signal: #expect(error?.task?.exit?.status == .signalled(SIGALRM))
        }
        // The pool goes on.
        #expect(try pool.map(0..<4) { $0 } == [0, 1, 2, 3])
    }

    @Test(arguments: Harm.allCases) private func `each stage may fail in each way`(
        harm: Harm
    ) throws {
        let pool = try Pool(workers: 2)
        // Arguments.
        try check(pool, harm) {
            _ = try pool.apply(HarmsOnDecode(harm: harm)) { _ in 1 }
        }
        try check(pool, harm) {
            _ = try pool.map([HarmsOnDecode(harm: harm)]) { _ in 1 }
        }
        // The body.
        try check(pool, harm) {
            _ = try pool.apply(harm) { (harm: Harm) -> Int in
                try harm.happen()
                return 1
            }
        }
        try check(pool, harm) {
            _ = try pool.map([harm], chunkSize: 1) { (harm: Harm) -> Int in
                try harm.happen()
                return 1
            }
        }
        // Threads that tasks run on have most signals blocked.
        if harm != .signal {
            try check(pool, harm) {
                _ = try pool.submit(harm) { (harm: Harm) async throws -> Int in
                    await Task.yield()
                    try harm.happen()
                    return 1
                }.value(timeout: .seconds(20))
            }
        }
        // The result, in the worker.
        try check(pool, harm) {
            _ = try pool.apply(harm) { HarmsOnEncode(harm: $0) }
        }
        try check(pool, harm) {
            _ = try pool.map([harm]) { HarmsOnEncode(harm: $0) }
        }
    }

    @Test func `a result that cannot be decoded is an error of its task`() throws {
        let pool = try Pool(workers: 1)
        for _ in 0..<20 {
            #expect(throws: Unfit.self) { _ = try pool.apply { FailsOnReturn() } }
        }
        let outcomes = try pool.imap(0..<4, chunkSize: 2) { _ in FailsOnReturn() }
        #expect(outcomes.elements.map { (try? $0.get()) == nil } == [true, true, true, true])
        let pid = try pool.apply { getpid() }
        #expect(pool.workerPIDs == [pid])
    }

    @Test func `arguments that cannot be encoded are an error, and the pool goes on`() throws {
        let pool = try Pool(workers: 1)
        #expect(throws: Unfit.self) {
            _ = try pool.apply(HarmsOnEncode(harm: .error)) { _ in 1 }
        }
        #expect(throws: Unfit.self) {
            _ = try pool.map([HarmsOnEncode(harm: .error)]) { _ in 1 }
        }
        #expect(try pool.map(0..<4) { $0 } == [0, 1, 2, 3])
    }

    @Test func `a death in a chunk costs one element, whatever the chunk`() throws {
        let pool = try Pool(workers: 2)
        for chunk in [1, 7, 50] {
            let results = try pool.imap(0..<50, chunkSize: chunk) { n -> Int in
                if n == 20 { kill(getpid(), SIGKILL) }
                return n
            }
            for (n, outcome) in results.elements.enumerated() {
                if n == 20 {
                    let error = #expect(throws: SharedStateError.self) { try outcome.get() }
                    #expect(error?.code == .workerDied)
                    #expect(error?.task?.index == 20)
                    #expect(error?.task?.exit?.status == .signalled(SIGKILL))
                } else {
                    #expect(try outcome.get() == n)
                }
            }
        }
    }

    @Test func `a worker that is stopped holds up nobody else`() throws {
        let pool = try Pool(workers: 2)
        // raise stops the thread that calls it; a signal to the process may reach another thread,
        // and this one would take an element of the map before it stops.
        let stopped = try pool.submit { raise(SIGSTOP) }
        let pids = pool.workerPIDs
        // One worker does all of it.
        #expect(try pool.map(0..<1000, chunkSize: 1) { $0 } == Array(0..<1000))
        for pid in pids { kill(pid, SIGCONT) }
        #expect(try stopped.value(timeout: .seconds(20)) == 0)
    }

    @Test func `a worker that forks takes what it forked along`() throws {
        let pool = try Pool(workers: 1)
        let forked = try pool.apply { () -> pid_t in
            let forked = fork_here()
            while forked == 0 { pause() }
            return forked
        }
        let family = [ProcessTree.entry(of: forked)].compactMap(\.self)
        #expect(family.count == 1)
        kill(pool.workerPIDs[0], SIGKILL)
        try eventually { ProcessTree.remaining(of: family).isEmpty }
        #expect(try pool.map(0..<4) { $0 } == [0, 1, 2, 3])
    }

    @Test func `a worker that closes every descriptor works on, and is replaced when it dies`()
        throws
    {
        let pool = try Pool(workers: 1)
        let pid = try pool.apply { () -> pid_t in
            close_all()
            return getpid()
        }
        #expect(
            try pool.map(0..<100, chunkSize: 1) { _ in getpid() }
                == Array(repeating: pid, count: 100))
        #expect(try pool.map(0..<100) { "\($0)" }.last == "99")
        let error = #expect(throws: SharedStateError.self) {
            try pool.apply { kill(getpid(), SIGKILL) }
        }
        #expect(error?.task?.exit?.status == .signalled(SIGKILL))
        #expect(try pool.apply { getpid() } != pid)
    }

    @Test func `while a worker cannot be replaced, others work, and the pool can be ended`() async {
        await #expect(processExitsWith: .success) {
            let (pool, pids, zygote) = try makeShortPool()
            kill(zygote, SIGSTOP)
            #expect(try pool.submit(1) { $0 + 1 }.value(timeout: .seconds(20)) == 2)
            #expect(try pool.map(0..<100) { $0 } == Array(0..<100))
            #expect(pool.workerPIDs == pids)
            pool.terminate()
            #expect(pool.workerPIDs.isEmpty)
            kill(zygote, SIGCONT)
            // Who is forked all the same finds the pool ended.
            try eventually { ProcessTree.below(getpid()).map(\.pid) == [zygote] }
        }
    }

    @Test func `a pool may shrink while a worker is being replaced`() async {
        await #expect(processExitsWith: .success) {
            let (pool, _, zygote) = try makeShortPool()
            kill(zygote, SIGSTOP)
            #expect(try pool.apply(1) { $0 + 1 } == 2)
            try pool.resize(to: 1)
            kill(zygote, SIGCONT)
            // One of the two stays: the other one, if it had been asked for in time.
            try eventually {
                let pid = try pool.apply { getpid() }
                return pool.workerPIDs == [pid]
                    && ProcessTree.below(getpid()).map(\.pid).sorted() == [zygote, pid].sorted()
            }
            #expect(try pool.map(0..<100) { $0 } == Array(0..<100))
            pool.close()
            try pool.join(timeout: .seconds(20))
        }
    }

    @Test func `a death is told with memory, last lines and, if asked for, its calls`() throws {
        var options = Pool.Options()
        options.process.standardError = .captured()
        options.process.showsBacktrace = true
        let pool = try Pool(workers: 1, options: options)
        let error = #expect(throws: SharedStateError.self) {
            try pool.apply(5) { n -> Int in
                let bytes = Array("no salt\n".utf8)
                _ = unsafe write(STDERR_FILENO, bytes, bytes.count)
                return outOfRange(n)
            }
        }
        let exit = try #require(error?.task?.exit)
        #expect(exit.status == .signalled(SIGILL) || exit.status == .signalled(SIGTRAP))
        #expect(exit.usage?.peakMemory ?? 0 > 1 << 20)
        #expect(exit.lastLines.first == "no salt")
        let calls = try #require(exit.backtrace, "\(exit)")
        #expect(calls.contains("outOfRange"))
        #expect(error?.description.contains("no salt") == true)
        #expect(try pool.apply(1) { $0 } == 1)
    }

    @Test func `a crash with much written, and a hundred that come meanwhile`() throws {
        let pool = try Pool(workers: 2)
        let large = try pool.submit(8 << 20) { size -> [Int] in
            let values = Array(repeating: 1, count: size / 8)
            return values
        }
        let dying = try pool.submit(1) { _ in DiesAfterMuch() }
        let others = try (0..<100).map { n in try pool.submit(n) { $0 } }
        #expect(try large.value(timeout: .seconds(20)).count == 1 << 20)
        let error = #expect(throws: SharedStateError.self) {
            try dying.value(timeout: .seconds(20))
        }
        #expect(error?.code == .workerDied)
        for (n, other) in others.enumerated() {
            #expect(try other.value(timeout: .seconds(20)) == n)
        }
    }

    @Test func `a callback may submit, of a task whose worker died too`() throws {
        let pool = try Pool(workers: 1)
        let results = try Queue<Int>()
        try pool.submit { kill(getpid(), SIGKILL) }.whenDone { _ in
            try? pool.submit(results) { try $0.put(1) }.whenDone { _ in }
        }
        #expect(try results.get(timeout: .seconds(20)) == 1)
    }

    @Test(arguments: [1, 2, 7]) func `workers that are replaced at once strand nothing`(
        most: Int
    ) throws {
        let pool = try Pool(workers: 2, maxTasksPerWorker: most)
        let results = try pool.imap(0..<60, chunkSize: 1) { n -> Int in
            if n % 13 == 5 { kill(getpid(), SIGKILL) }
            return n
        }
        let futures = try (0..<20).map { n in try pool.submit(n) { $0 } }
        pool.close()
        for (n, outcome) in results.elements.enumerated() {
            #expect((try? outcome.get()) == (n % 13 == 5 ? nil : n))
        }
        for (n, future) in futures.enumerated() {
            #expect(try future.value(timeout: .seconds(20)) == n)
        }
        try pool.join(timeout: .seconds(20))
        #expect(pool.workerPIDs.isEmpty)
    }

    @Test func `under random kills each element has exactly one outcome, in order`() throws {
        let pool = try Pool(workers: 2)
        let end = ContinuousClock.now + .seconds(2)
        var kills = 0
        var losses = 0
        var generator = SystemRandomNumberGenerator()
        var rounds = 0
        repeat {
            let count = 2000
            let chunk = [nil, 1, 3, 64].randomElement(using: &generator) ?? nil
            let numbers = try pool.imap(0..<count, chunkSize: chunk) { $0 &* 3 }
            let texts = try pool.imap(0..<200, chunkSize: chunk) { "\($0)" }
            var seen = 0
            for outcome in numbers.elements {
                switch outcome {
                case .success(let value): #expect(value == seen &* 3)
                case .failure(let error as SharedStateError):
                    #expect(error.code == .workerDied, "\(error)")
                    #expect(error.task?.index == seen)
                    losses += 1
                case .failure(let error): Issue.record(error)
                }
                seen += 1
                if Int.random(in: 0..<300, using: &generator) == 0,
                    let pid = pool.workerPIDs.randomElement(using: &generator)
                {
                    kill(pid, SIGKILL)
                    kills += 1
                }
            }
            #expect(seen == count)
            seen = 0
            for outcome in texts.elements {
                if let text = try? outcome.get() { #expect(text == "\(seen)") }
                seen += 1
            }
            #expect(seen == 200)
            rounds += 1
        } while ContinuousClock.now < end
        #expect(kills > 0)
        #expect(losses <= kills)
        #expect(try pool.map(0..<4) { $0 } == [0, 1, 2, 3])
    }
}
