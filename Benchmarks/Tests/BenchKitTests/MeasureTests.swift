// SPDX-License-Identifier: Apache-2.0

import Histogram
import Testing

@testable import BenchKit

/// Real measurements between real processes, short ones.
@Suite("Measure", .serialized)
struct MeasureTests {
    private let settings = Settings(duration: 0.02)

    /// Measures longer if nothing arrived, as on a machine that does other things meanwhile.
    private func measure(_ probe: ChannelProbe) throws -> Measurement {
        var settings = settings
        while true {
            do {
                return try probe.measure(settings)
            } catch let failure as MeasurementFailure
                where failure.description.contains("nothing arrived") && settings.duration < 10
            {
                settings.duration *= 4
            }
        }
    }

    @Test(
        "every channel that is built in moves messages and checks them",
        arguments: [
            "ring", "ring-waiting", "queue", "queue-waiting", "cached-index-ring", "vyukov-ring",
            "vyukov-padded", "robust-mutex-ring", "pipe", "unix-socket",
        ])
    func streams(_ channel: String) throws {
        #expect(try measure(ChannelProbe(channel)).value > 0)
    }

    @Test("round trips take time", arguments: ["ring-waiting", "queue-waiting", "futex", "pipe"])
    func trips(_ channel: String) throws {
        let probe = ChannelProbe(channel).with { $0.mode = .parkedRoundTrip }
        #expect(try measure(probe).value > 0)
    }

    @Test("many to many is summed up and compared")
    func many() throws {
        let probe = ChannelProbe("queue").with { $0.processes = 3 }
        #expect(try measure(probe).value > 0)
    }

    @Test("batches end all of many consumers, whoever's end was in one's batch")
    func manyBatches() throws {
        let probe = ChannelProbe("queue").with {
            $0.processes = 4
            $0.batch = 32
        }
        for _ in 0..<10 { #expect(try measure(probe).value > 0) }
    }

    @Test("a message of 64 MiB in place")
    func large() throws {
        let probe = ChannelProbe("ring-in-place").with {
            $0.size = 1 << 26
            $0.capacity = 2
        }
        #expect(try measure(probe).value > 0)
    }

    @Test("four lanes end when all four producers have; subscribers get everything, each of them")
    func delivery() throws {
        let lanes = ChannelProbe("lanes").with {
            $0.processes = 4
            $0.consumers = 1
        }
        #expect(try measure(lanes).value > 0)
        let broadcast = ChannelProbe("broadcast").with { $0.consumers = 3 }
        #expect(try measure(broadcast).value > 0)
    }

    @Test(
        "maps hold what was set, whatever the mix and the length of keys",
        arguments: ["map-mix95", "map-mix50", "map-key8-get", "map-key256-set"])
    func maps(_ map: String) throws {
        let probe = ChannelProbe(map).with {
            $0.mode = .work
            $0.processes = 2
            $0.size = 8
        }
        #expect(try measure(probe).value > 0)
    }

    @Test("floors, tasks and memory give figures")
    func others() throws {
        let probes: [any Probe] = [
            FunctionProbe.fork, FunctionProbe.spawn, FunctionProbe.memoryCopy(1 << 20),
            FunctionProbe.memory(of: "queue", size: 64), TaskProbe.taskGroup, TaskProbe.dispatch,
        ]
        for probe in probes { #expect(try probe.measure(settings).value > 0) }
    }

    @Test("a pool on two rings in C squares right")
    func ringPool() throws {
        let probe = ChannelProbe("c-pool").with {
            $0.mode = .work
            $0.processes = 3
            $0.size = 8
        }
        #expect(try measure(probe).value > 0)
    }

    @Test("locks count right, alone and contended", arguments: ["lock", "robust-mutex"], [1, 2])
    func locks(_ lock: String, _ processes: UInt32) throws {
        let probe = ChannelProbe(lock).with {
            $0.mode = .work
            $0.processes = processes
        }
        #expect(try measure(probe).value > 0)
    }

    @Test("what the dead had, or waited for, is the next waiter's, and nothing is missing then")
    func deaths() throws {
        for row in Suites.deaths {
            var probe = try #require(row.subject as? SurvivorProbe)
            probe.resident = 1 << 20
            probe.least = 1
            let measured = try probe.measure(settings)
            let times = try #require(measured.times)
            #expect(measured.value >= Double(times.valueAtPercentile(0)) * 0.99)
            #expect(measured.value <= Double(times.valueAtPercentile(100)) * 1.01)
        }
    }

    @Test("numbers, values and arrays give figures that are checked", arguments: [1, 2])
    func values(_ processes: UInt32) throws {
        for name in ["own-add", "value-load", "value-change", "change-under-mutex", "array-read"] {
            let probe = ChannelProbe(name).with {
                $0.mode = .work
                $0.processes = processes
                $0.size = 8
            }
            #expect(try measure(probe).value > 0)
        }
    }

    @Test(
        "a dictionary of Python's manager does what the rows do with ours",
        arguments: ["get", "set", "update", "get-text", "set-text"])
    func manager(_ operation: String) throws {
        let peer = PythonProbe("python-manager", "mp_manager.py", operation)
        #expect(try peer.measure(settings).value > 0)
    }

    @Test(
        "a row beside Python's manager has it do what the row's name says",
        arguments: ["get/8/1", "set/8/1", "update/8/1", "get-text/16/1"])
    func managerOperation(_ name: String) throws {
        let row = try #require(Suites.all.first { $0.name == "swift-map/\(name)" })
        let peer = try #require(row.peers.compactMap { $0 as? PythonProbe }.first)
        #expect(peer.arguments == [String(name.prefix { $0 != "/" })])
    }

    @Test("a word that Python's manager does not know gives no figure")
    func unknownOperation() {
        #expect(throws: MeasurementFailure.self) {
            try PythonProbe("python-manager", "mp_manager.py", "frob").measure(settings)
        }
    }

    @Test("Python's lock counts right, alone and contended", arguments: ["1", "2"])
    func pythonLock(_ processes: String) throws {
        #expect(try PythonProbe("python-lock", "mp_lock.py", processes).measure(settings).value > 0)
    }

    @Test("a paced stream gives its single times")
    func paced() throws {
        let probe = ChannelProbe("queue-waiting").with { $0.mode = .paced(interval: 100_000) }
        let measured = try measure(probe)
        let times = try #require(measured.times)
        #expect(times.totalCount > 0)
        #expect(Double(times.valueAtPercentile(100)) >= measured.value * 0.99)
    }

    @Test(
        "a paced row is measured long enough for ten thousand messages in all repeats")
    func pacedLongEnough() {
        let probe = ChannelProbe("queue-waiting").with { $0.mode = .paced(interval: 100_000) }
        for repeats in [1, 3, 5] {
            let settings = Settings(repeats: repeats, duration: 0.05)
            #expect(probe.duration(settings) * UInt64(repeats) >= 10_000 * 100_000)
        }
        #expect(probe.duration(Settings(repeats: 5, duration: 7)) == 7_000_000_000)
        #expect(ChannelProbe("queue").duration(Settings(duration: 0.05)) == 50_000_000)
    }

    @Test("a stall is counted for every message that it delayed, not for one")
    func stalls() throws {
        // Every thousandth message, for 20 ms: those that were due in the first 10 ms of these, a
        // hundred of each thousand, were later than that. Uncorrected it would be one.
        let probe = ChannelProbe("stalling")
            .from(CompiledPeer("stalling.c", in: "Tests/BenchKitTests/Peers", package: "gcc"))
            .with { $0.mode = .paced(interval: 100_000) }
        #expect(probe.reasonToSkip(settings) == nil)
        let times = try #require(try probe.measure(Settings(repeats: 2)).times)
        try #require(times.totalCount >= 2000)
        #expect(times.valueAtPercentile(96) > 10_000_000)
    }

    @Test("a channel that loses a message gives no figure")
    func lossy() throws {
        let probe = ChannelProbe("lossy")
            .from(CompiledPeer("lossy.c", in: "Tests/BenchKitTests/Peers", package: "gcc"))
        #expect(probe.reasonToSkip(settings) == nil)
        #expect { try probe.measure(settings) } throws: { error in
            "\(error)".contains("a message was lost")
        }
    }

    @Test("what is not there is skipped, and says so")
    func absent() {
        let reason = ChannelProbe("nobody").reasonToSkip(settings)
        #expect(reason == "no channel nobody")
        let peer = CompiledPeer("nobody.c", package: "libnobody-dev")
        #expect(
            ChannelProbe("nobody").from(peer).reasonToSkip(settings)?.contains("nobody.c") == true)
    }

    @Test("what only tries is left out when everybody is to sleep")
    func parking() {
        let parking = Settings(wait: .park)
        #expect(ChannelProbe("vyukov-ring").reasonToSkip(parking) == "does not block")
        #expect(ChannelProbe("queue").reasonToSkip(parking) == nil)
    }
}
