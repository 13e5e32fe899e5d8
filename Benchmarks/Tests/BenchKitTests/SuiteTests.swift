// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import BenchKit

@Suite("Suites")
struct SuiteTests {
    /// Rows that others look up by their names, and what each is compared with.
    private static let promises: [(name: String, peers: [String])] = [
        ("ring/spsc/64/1x1", ["cached-index-ring"]),
        ("ring/roundtrip/64/1x1", ["ping-pong"]),
        ("queue/mpmc/64/1x1", ["vyukov-ring", "ck-ring", "rte-ring"]),
        ("queue/mpmc/64/2x2", ["vyukov-ring", "ck-ring", "rte-ring"]),
        ("queue/mpmc-batch32/64/1x1", ["vyukov-ring"]),
        ("queue/mpmc-blocking/64/2x2", ["boost-message-queue"]),
        ("queue/parked-roundtrip/64/1x1", ["futex"]),
        ("queue/default-roundtrip/64/1x1", ["ping-pong"]),
        ("queue/mpmc/64/4x4", ["own-2x2"]),
        ("messages/in-place/1048576/1x1", ["cached-index-ring"]),
        ("swift-queue/put-get/64/1x1", ["c-queue", "python-queue"]),
        ("swift-queue/batch32/64/1x1", ["python-queue"]),
        ("sync/lock/uncontended/1", ["robust-mutex", "python-lock"]),
        ("sync/lock/contended/2", ["robust-mutex", "python-lock"]),
        ("sync/condition/roundtrip/2", ["futex"]),
        ("sync/barrier/wait/2", ["pthread-barrier"]),
        ("pool/map-chunk1/8/2", ["python-pool", "task-group"]),
        ("pool/map-auto/8/2", ["python-pool", "task-group"]),
        ("pool/apply/8/1", ["python-pool"]),
        ("pool/start/0/2", ["python-pool-fork"]),
        ("process/start-join/0/1", ["python-process-fork"]),
        ("map/get/8/1", ["lmdb", "boost-map"]),
        ("map/set/8/1", ["lmdb", "boost-map"]),
        ("map/set/8/2", ["lmdb", "boost-map"]),
        ("swift-map/get/8/1", ["swift-dictionary", "python-manager"]),
        ("swift-map/set/8/1", ["swift-dictionary", "python-manager"]),
    ]

    @Test("the promised rows are there, with their peers", arguments: promises)
    func promised(_ name: String, _ peers: [String]) throws {
        let row = try #require(Suites.all.first { $0.name == name })
        #expect(Set(peers).subtracting(row.peerNames).isEmpty)
        #expect(!row.isMore)
    }

    @Test("every mechanism that people choose between is a peer of some row")
    func mechanisms() {
        let peers = Set(Suites.all.flatMap(\.peerNames))
        let wanted: Set = [
            "pipe", "unix-socket", "posix-message-queue", "vyukov-ring", "cached-index-ring",
            "boost-message-queue", "boost-map", "boost-lockfree-ring", "boost-lockfree-queue",
            "ck-ring", "rte-ring", "lmdb", "redis", "zeromq", "iceoryx", "python-queue",
            "python-pool", "concurrent.futures", "faster-fifo", "loky", "task-group", "dispatch",
        ]
        #expect(wanted.subtracting(peers).isEmpty)
    }

    @Test("every suite has rows")
    func suites() {
        let suites = Set(Suites.all.map { String($0.suite) })
        let wanted: Set = [
            "floor", "ring", "queue", "messages", "lanes", "broadcast", "sync", "pool", "process",
            "map", "memory", "idle", "swift-queue", "swift-map", "swift-lock",
        ]
        #expect(wanted.subtracting(suites).isEmpty)
    }

    @Test("the README's table is of the rows that the program would write there")
    func table() throws {
        #expect(Suites.cost.map(\.name) == Suites.costNames)
        let readme = Place.benchmarks.deletingLastPathComponent().appending(path: "README.md")
        let text = try String(contentsOf: readme, encoding: .utf8)
        #expect(Set(CostTable.names(in: text)) == Set(Suites.costNames))
    }

    @Test("the table is put between the marks, and nothing else changes")
    func replaced() throws {
        let text = """
            before
            <!-- written by shmbench: begin -->
            | `an/old/8/row` | gone |
            <!-- written by shmbench: end -->
            after
            """
        let report = try ReportTests.report([
            ReportTests.result("ring/spsc/64/1x1", [3, 4], against: [1, 2])
        ])
        let changed = try CostTable.put(report, into: text)
        #expect(changed.hasPrefix("before\n<!--") && changed.hasSuffix("-->\nafter"))
        #expect(CostTable.names(in: changed) == ["ring/spsc/64/1x1"])
        #expect(try CostTable.put(report, into: changed) == changed)
        #expect(throws: MeasurementFailure.self) { try CostTable.put(report, into: "no marks") }
        let late = try ReportTests.report([
            ReportTests.result(
                "ring/spsc/64/1x1", [3, 4], .nanoseconds,
                percentiles: ["own": [Percentile(percentile: 99, nanoseconds: 2000)]])
        ])
        #expect(try CostTable.put(late, into: text).contains("| 3.50 ns, p99 2.00 µs |"))
    }
}
