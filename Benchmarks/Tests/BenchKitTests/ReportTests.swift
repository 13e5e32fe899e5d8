// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import BenchKit

@Suite("Report")
struct ReportTests {
    /// A row with what it measured, as if.
    static func result(
        _ name: String, _ values: [Double], _ unit: BenchKit.Unit = .perSecond,
        against peer: [Double] = [], percentiles: [String: [Percentile]] = [:],
        moved: Int = 0
    ) throws -> RowResult {
        let own = try #require(Summary(values))
        let ratios = zip(values, peer).map { $0 / $1 }
        return RowResult(
            name: name, value: own.median, min: own.min, max: own.max, interval: own.interval,
            unit: unit, repeats: values.count,
            ratios: Summary(ratios).map { ["a<b": $0] } ?? [:], values: values,
            ratioValues: ratios.isEmpty ? [:] : ["a<b": ratios],
            others: Summary(peer).map { ["a<b": $0] } ?? [:], floorRatio: nil,
            peerRatio: ratios.isEmpty ? nil : Statistics.median(ratios), percentiles: percentiles,
            pingPong: Summary([100, 101]), pingPongValues: [100, 101], moved: moved,
            foreign: 0.01, skipped: ["c": "not there"])
    }

    static func report(_ results: [RowResult]) -> Report {
        var report = Report(machine: .current(Settings()), command: "shmbench run --filter \"<x>\"")
        report.results = results
        return report
    }

    @Test("JSON has the keys that the README documents")
    func keys() throws {
        let report = try Self.report([Self.result("queue/mpmc/64/1x1", [1, 2], against: [2, 2])])
        let parsed = try JSONSerialization.jsonObject(with: Data(try report.json().utf8))
        let object = try #require(parsed as? [String: Any])
        #expect(Set(object.keys) == ["machine", "command", "results", "skipped", "warnings"])
        let rows = try #require(object["results"] as? [[String: Any]])
        #expect(
            Set(rows[0].keys) == [
                "name", "value", "min", "max", "interval", "unit", "repeats", "ratios", "values",
                "ratio_values", "others", "peer_ratio", "percentiles", "ping_pong",
                "ping_pong_values", "moved",
                "foreign",
                "skipped",
            ])
        let ratios = try #require(rows[0]["ratios"] as? [String: [String: Any]])
        #expect(ratios["a<b"]?["median"] as? Double == 0.75)
        #expect(rows[0]["unit"] as? String == "/s")
    }

    @Test("what disturbed a row is warned of")
    func disturbed() throws {
        var report = Self.report([])
        report.warnings = []
        report.add(try Self.result("a/b/1/1", [1]))
        #expect(report.warnings.isEmpty)
        report.add(try Self.result("a/c/1/1", [1], moved: 2))
        #expect(report.results.count == 2)
        #expect(report.warnings == ["a/c/1/1: the host moved the CPUs 2 times"])
    }

    @Test("a report that was written can be read again")
    func rereads() throws {
        let path = FileManager.default.temporaryDirectory.appending(
            path: "shmbench-\(UUID().uuidString).json")
        defer { try? FileManager.default.removeItem(at: path) }
        let report = try Self.report([Self.result("ring/spsc/8/1x1", [3, 4, 5])])
        try report.json().write(to: path, atomically: true, encoding: .utf8)
        let again = try Report(contentsOf: path.path)
        #expect(try again.json() == report.json())
    }

    @Test("a rate that fell and a time that rose are both worse; noise is not")
    func comparison() throws {
        let before = try Self.report([
            Self.result("a/rate/8/1", [100, 100, 100], .perSecond),
            Self.result("a/time/8/1", [100, 100, 100], .nanoseconds),
            Self.result("a/noisy/8/1", [100, 50, 150], .perSecond),
            Self.result("a/gone/8/1", [1], .perSecond),
        ])
        let after = try Self.report([
            Self.result("a/rate/8/1", [70, 70, 70], .perSecond),
            Self.result("a/time/8/1", [150, 150, 150], .nanoseconds),
            Self.result("a/noisy/8/1", [90, 140, 60], .perSecond),
        ])
        let comparison = Comparison(before, after)
        #expect(comparison.changes.map { $0.isWorse(than: 0.1) } == [true, true, false])
        #expect(abs(comparison.changes[0].gain + 0.3) < 1e-9)
        #expect(abs(comparison.changes[1].gain + 0.5) < 1e-9)
        #expect(comparison.unmatched == ["a/gone/8/1"])
    }

    @Test("compared by ratios, a machine twice as fast changed nothing")
    func comparisonByRatio() throws {
        let before = try Self.report([Self.result("a/b/8/1", [10, 10], against: [20, 20])])
        let after = try Self.report([Self.result("a/b/8/1", [20, 20], against: [40, 40])])
        let change = try #require(Comparison(before, after, ratiosTo: "a<b").changes.first)
        #expect(change.gain == 0)
    }

    @Test("figures read as people write them")
    func figures() {
        #expect(Table.figure(24_300_000, .perSecond) == "24.3 M/s")
        #expect(Table.figure(812, .nanoseconds) == "812 ns")
        #expect(Table.figure(10_800, .nanoseconds) == "10.8 µs")
        #expect(Table.figure(9_250_000_000, .bytesPerSecond) == "9.25 GB/s")
        #expect(Table.figure(0, .nanoseconds) == "0.00 ns")
    }

    @Test("Markdown and TSV have a line for each row")
    func texts() throws {
        let report = try Self.report([Self.result("ring/spsc/8/1x1", [3, 4], against: [1, 2])])
        #expect(report.markdown.contains("| `ring/spsc/8/1x1` | 3.50 /s |"))
        #expect(report.tsv.split(separator: "\n").count == 3)
    }

    @Test("every row has a name of four parts, and no two the same")
    func names() {
        let names = Suites.all.map(\.name)
        #expect(Set(names).count == names.count)
        #expect(names.allSatisfy { $0.split(separator: "/").count == 4 })
    }
}
