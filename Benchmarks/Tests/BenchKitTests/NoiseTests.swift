// SPDX-License-Identifier: Apache-2.0

import Foundation
import SharedState
import Testing

@testable import BenchKit

/// Whose the CPUs' time is.
///
/// Others use this machine as well, so nothing is said of all of it: only of what is burnt here, by
/// whom.
@Suite("Noise", .serialized)
struct NoiseTests {
    /// Each look rounds down to ticks, two times for each process.
    private let rounding = 0.1

    @Test("what a pool's workers use is ours while they, and their zygote, still live")
    func workers() throws {
        let pool = try Pool(workers: 2)
        defer { pool.terminate() }
        _ = try pool.map(0..<100) { $0 + 1 }
        let before = CPUTimes.now()
        let burnt = try pool.map([0.5, 0.5], chunkSize: 1) { Burner.burn(seconds: $0) }
        let after = CPUTimes.now()
        #expect(after.own - before.own >= burnt.reduce(0, +) - rounding)
    }

    @Test("one busy loop for each CPU, of a program that is not ours, is noise, and a row says so")
    func busy() throws {
        let loops = try (0..<ProcessInfo.processInfo.activeProcessorCount).map { _ in
            try Stranger()
        }
        defer { for loop in loops { loop.end() } }
        let before = CPUTimes.now()
        _ = Burner.burn(seconds: 1)
        let foreign = CPUTimes.foreignShare(from: before, to: .now())
        #expect(foreign > Runner.noisy)
        #expect(Machine.current(Settings(), watch: 0.5).warnings.contains { $0.contains("others") })
        let row = Row(
            "a/b/8/1", .nanoseconds, "",
            FunctionProbe("burn") { _ in
                Burner.burn(seconds: 0.5)
            })
        let result = try Runner(Settings(repeats: 2), placement: FunctionProbe("none") { _ in 100 })
            .run(row)
        #expect(result.disturbances.contains { $0.contains("others took") })
    }

    @Test("what is neither idle nor ours is others', whoever was busy")
    func shares() {
        let start = CPUTimes(busy: 10, total: 20, own: 5)
        let quiet = CPUTimes(busy: 11.9, total: 22, own: 6.85)
        #expect(CPUTimes.foreignShare(from: start, to: quiet) < Runner.noisy)
        let noisy = CPUTimes(busy: 11.9, total: 22, own: 6)
        #expect(abs(CPUTimes.foreignShare(from: start, to: noisy) - 0.45) < 1e-9)
    }
}

private enum Burner {
    /// - Returns: Seconds of this thread's CPU time, so many at least.
    static func burn(seconds: Double) -> Double {
        let start = used()
        while used() - start < seconds {}
        return used() - start
    }

    private static func used() -> Double {
        var time = timespec()
        unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}

/// A busy loop that does not descend from this process any more, for 20 s of CPU time at most.
private struct Stranger {
    let pid: Int32

    /// By `popen`: what `Process` starts hands down the socket whose end tells of its own.
    init() throws {
        let command = "ulimit -t 20; (while :; do :; done) >/dev/null 2>&1 & echo $!"
        guard let pipe = unsafe popen(command, "r") else {
            throw MeasurementFailure("no shell: error \(errno)")
        }
        var line = [CChar](repeating: 0, count: 32)
        _ = unsafe fgets(&line, Int32(line.count), pipe)
        _ = unsafe pclose(pipe)
        let digits = line.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }
        self.pid = try #require(Int32(String(decoding: digits, as: UTF8.self)))
    }

    func end() { kill(pid, SIGKILL) }
}
