// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

/// What a process of its own says of itself, in a test that must not see other tests' doings.
private enum Ledger {
    static func words(_ path: String) -> [Substring] {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return [] }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 8192)
        let count = unsafe read(file, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
            .split(whereSeparator: \.isWhitespace)
    }

    static func names(in path: String) -> [String] {
        guard let folder = unsafe opendir(path) else { return [] }
        defer { unsafe closedir(folder) }
        var names: [String] = []
        while let next = unsafe readdir(folder) {
            let name = unsafe withUnsafeBytes(of: &next.pointee.d_name) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names
    }

    /// The number of this thread, in digits.
    static var ownThread: String {
        var bytes = [CChar](repeating: 0, count: 64)
        let count = unsafe readlink("/proc/thread-self", &bytes, bytes.count)
        let path = String(
            decoding: bytes.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return path.split(separator: "/").last.map(String.init) ?? ""
    }

    /// How often the threads of processes gave up their CPU, this one's own thread aside.
    static func switches(of pids: [pid_t]) -> [String: Int] {
        var counts: [String: Int] = [:]
        let own = ownThread
        for pid in pids {
            for thread in names(in: "/proc/\(pid)/task") where thread != own {
                let words = words("/proc/\(pid)/task/\(thread)/status")
                guard let place = words.firstIndex(of: "voluntary_ctxt_switches:") else { continue }
                counts[thread] = Int(words[place + 1])
            }
        }
        return counts
    }

    /// Kilobytes that this process has in memory.
    static var memory: Int {
        let words = words("/proc/self/status")
        guard let place = words.firstIndex(of: "VmRSS:") else { return 0 }
        return Int(words[place + 1]) ?? 0
    }

    static var descriptors: Int { names(in: "/proc/self/fd").count }

    static func parent(of pid: pid_t) -> pid_t {
        ProcessTree.entry(of: pid)?.parent ?? 0
    }
}

/// Runs for long, or to the end of a process.
@Suite("A pool at rest and under load", .serialized)
struct PoolLoadTests {
    private let long = Duration.seconds(600)

    @Test(
        .enabled(if: !isSanitized(), "ThreadSanitizer has a thread of its own that wakes up"),
        arguments: [false, true])
    func `an idle pool is woken by nothing`(isInline: Bool) throws {
        let child = try ChildProcess.start(isInline) { isInline in
            let pool = try Pool(isInline ? .inline : .processes, workers: 2)
            for _ in 0..<2 {
                guard try pool.map(0..<100, { $0 }) == Array(0..<100) else { exit(2) }
                let zygote = isInline ? [] : [Ledger.parent(of: pool.workerPIDs[0])]
                let family = [getpid()] + zygote + (isInline ? [] : pool.workerPIDs)
                // Half a second is twenty slices of a sleep that has some.
                var isIdle = false
                for _ in 0..<40 where !isIdle {
                    let before = Ledger.switches(of: family)
                    usleep(500_000)
                    isIdle = Ledger.switches(of: family) == before
                }
                guard isIdle else { exit(3) }
            }
            exit(7)
        }
        #expect(try child.join(timeout: long) == .exited(code: 7))
    }

    @Test func `the idle workers of a pool end with the worker that has it`() throws {
        let pids = try Queue<[Int32]>()
        let pool = try Pool(workers: 1)
        let future = try pool.submit(pids) { pids in
            let inner = try Pool(workers: 2)
            guard try inner.map(0..<100, { $0 }) == Array(0..<100) else { exit(2) }
            try pids.put(ProcessTree.below(getpid()).map(\.pid))
            while true { pause() }
        }
        let family = try pids.get(timeout: long).compactMap(ProcessTree.entry)
        #expect(family.count == 3)
        kill(pool.workerPIDs[0], SIGKILL)
        let error = #expect(throws: SharedStateError.self) { try future.value(timeout: long) }
        #expect(error?.code == .workerDied)
        let end = ContinuousClock.now + .seconds(60)
        while !ProcessTree.remaining(of: family).isEmpty, ContinuousClock.now < end {
            usleep(1000)
        }
        #expect(ProcessTree.remaining(of: family).isEmpty)
        #expect(try pool.apply(1) { $0 + 1 } == 2)
    }

    @Test func `a million tasks leave memory flat`() throws {
        let answers = try Queue<Int>()
        let limit = 16 * 1024
        let child = try ChildProcess.start(answers, limit) { answers, limit in
            let pool = try Pool(workers: 2)
            func round() throws {
                let wanted = (0..<100_000).map { $0 &* 3 }
                guard try pool.map(0..<100_000, { $0 &* 3 }) == wanted else { exit(2) }
                for n in 0..<2000 { guard try pool.apply(n, body: { $0 }) == n else { exit(3) } }
                let futures = try (0..<2000).map { try pool.submit($0) { "\($0)" } }
                for (n, future) in futures.enumerated() {
                    guard try future.value() == "\(n)" else { exit(4) }
                }
            }
            for _ in 0..<3 { try round() }
            let descriptors = Ledger.descriptors
            var grown: [Int] = []
            while grown.last ?? .max >= limit, grown.count < 4 {
                let memory = Ledger.memory
                for _ in 0..<10 { try round() }
                grown.append(Ledger.memory - memory)
            }
            try answers.put(grown.last ?? .max)
            try answers.put(Ledger.descriptors - descriptors)
        }
        #expect(try child.join(timeout: long) == .exited(code: 0))
        // What the allocators have at most is reached in one million or another. 16 bytes of each task
        // would be lost in each.
        let grown = try answers.get()
        #expect(grown < limit || isSanitized(), "kilobytes")
        #expect(try answers.get() == 0)
    }

    /// `SHAREDSTATE_SUBMITS` is how many; without a bound they would need 4 KiB each.
    @Test func `submitting without end leaves memory flat`() throws {
        let wanted = unsafe getenv("SHAREDSTATE_SUBMITS").flatMap {
            unsafe Int(String(cString: $0))
        }
        let answers = try Queue<Int>()
        let child = try ChildProcess.start(answers, wanted ?? 50_000) { answers, count in
            let pool = try Pool(workers: 2)
            let sum = try SharedAtomic(0)
            func submit(_ count: Int) throws {
                for n in 0..<count {
                    try pool.submit([Int](repeating: n, count: 512)) { $0.count }.whenDone {
                        if case .success(512) = $0.outcome { sum.add(1) }
                    }
                }
                try pool.join()
            }
            try submit(10_000)
            let memory = Ledger.memory
            try submit(count)
            try answers.put(Ledger.memory - memory)
            try answers.put(sum.load() - 10_000 - count)
        }
        #expect(try child.join(timeout: long) == .exited(code: 0))
        let grown = try answers.get()
        #expect(grown < 32 * 1024 || isSanitized(), "kilobytes")
        #expect(try answers.get() == 0)
    }

    /// `SHAREDSTATE_KILLS` is how many; `make soak` has 10,000.
    @Test func `after random kills nothing is left of the dead`() throws {
        let wanted = unsafe getenv("SHAREDSTATE_KILLS").flatMap { unsafe Int(String(cString: $0)) }
        let kills = wanted ?? 150
        let answers = try Queue<Int>()
        let child = try ChildProcess.start(answers, kills) { answers, kills in
            let pool = try Pool(workers: 2)
            var killed = 0
            /// Exactly one outcome for each, in order.
            func round(_ chunk: Int?) throws {
                let results = try pool.imap(0..<600, chunkSize: chunk) { $0 &* 3 }
                var seen = 0
                for outcome in results.elements {
                    do {
                        guard try outcome.get() == seen &* 3 else { exit(2) }
                    } catch let error as SharedStateError {
                        guard error.code == .workerDied, error.task?.index == seen else { exit(3) }
                    }
                    seen += 1
                    if Int.random(in: 0..<200) == 0, let pid = pool.workerPIDs.randomElement() {
                        kill(pid, SIGKILL)
                        killed += 1
                    }
                }
                guard seen == 600 else { exit(4) }
            }
            func rounds(_ count: Int) throws {
                let end = killed + count
                while killed < end { try round([nil, 1, 7, 64].randomElement() ?? nil) }
                // The last of the dead are replaced.
                try eventually {
                    try pool.map(0..<4) { $0 } == [0, 1, 2, 3] && pool.workerPIDs.count == 2
                }
            }
            try rounds(50)
            let (memory, descriptors) = (Ledger.memory, Ledger.descriptors)
            try rounds(kills)
            try answers.put(Ledger.memory - memory)
            try answers.put(Ledger.descriptors - descriptors)
            // None but the zygote and its workers, none of them a zombie, once the last death is seen.
            let end = ContinuousClock.now + .seconds(20)
            var family = ProcessTree.below(getpid())
            while family.count != 3 || family.contains(where: { $0.state == "Z" }),
                ContinuousClock.now < end
            {
                _ = try? pool.apply { 0 }
                family = ProcessTree.below(getpid())
            }
            try answers.put(family.count { $0.state != "Z" })
            try answers.put(killed)
        }
        #expect(try child.join(timeout: .seconds(600 + kills)) == .exited(code: 0))
        let grown = try answers.get()
        #expect(grown < 8192 || isSanitized(), "kilobytes")
        #expect(try answers.get() == 0)
        #expect(try answers.get() == 3)
        #expect(try answers.get() >= 50 + kills)
    }
}
