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
            samples: percentiles.mapValues { _ in 1000 }, pingPong: Summary([100, 101]),
            pingPongValues: [100, 101], moved: moved,
            foreign: 0.01, skipped: ["c": "not there"])
    }

    static func report(_ results: [RowResult]) -> Report {
        var report = Report(
            machine: .current(Settings(), watch: 0.05), command: "shmbench run --filter \"<x>\"")
        report.results = results
        return report
    }

    @Test("JSON has the keys that the README documents, each of its kind, and no others")
    func keys() throws {
        let percentiles = ["own": [Percentile(percentile: 50, nanoseconds: 1)]]
        let results = [
            try Self.result("a/b/8/1", [1, 2], against: [2, 2], percentiles: percentiles)
        ]
        var report = Report(
            machine: .current(Settings(cpus: Machine.firstTwoCPUs), watch: 0.1), command: "")
        report.results = results
        report.skipped = ["row": "reason"]
        report.warnings = ["warning"]
        let written = try Schema.written(report.json())
        let documented = try Schema.documented()
        for (key, kind) in written { #expect(documented[key]?.kind == kind, "\(key)") }
        let mayBeAbsent = documented.filter { $0.value.mayBeAbsent }.keys
        // There are such only where something is to be warned of.
        let missing = Set(documented.keys).subtracting(written.keys).subtracting(mayBeAbsent)
        #expect(missing.isSubset(of: ["machine.warnings[]"]))
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
        let lines = report.tsv.split(separator: "\n").filter { !$0.hasPrefix("# ") }
        #expect(lines.count == 3)
        for line in lines {
            #expect(line.split(separator: "\t", omittingEmptySubsequences: false).count == 13)
        }
    }

    @Test("every form has the machine, the command, the noise, and what was skipped")
    func context() throws {
        var report = Self.report([])
        report.warnings = []
        report.add(try Self.result("ring/spsc/8/1x1", [3, 4], against: [1, 2], moved: 2))
        report.skipped = ["ring/other/8/1x1": "does\nnot block"]
        let forms = [
            report.tsv, report.markdown, report.page, try report.json(),
            Table.header(report) + Table.footer(report),
        ]
        for form in forms {
            for part in [
                report.machine.processor, "shmbench run --filter",
                "ring/spsc/8/1x1: the host moved",
                "not there", "ring/other/8/1x1", "not block",
            ] {
                #expect(form.contains(part) || form.contains(escaped(part)), "\(part) in \(form)")
            }
            if let commit = report.machine.commit { #expect(form.contains(commit)) }
        }
        let notes = report.tsv.split(separator: "\n").prefix { $0.hasPrefix("# ") }
        #expect(notes.contains("# skipped ring/other/8/1x1: does not block"))
        #expect(notes.contains("# skipped c: not there"))
        #expect(report.tsv.split(separator: "\n").dropFirst(notes.count).count == 3)
    }

    @Test("every form has the intervals, of figures and of ratios")
    func intervals() throws {
        let result = try Self.result(
            "a/b/8/1", [100, 110, 120, 130, 900], .nanoseconds, against: [100, 100, 100, 100, 100])
        let report = Self.report([result])
        #expect(result.interval == Interval(low: 100, high: 900))
        #expect(Table.line(result).contains(" 100–900 ns "))
        #expect(report.markdown.contains("| 100–900 ns |"))
        #expect(report.page.contains("<td class=\"number\">100–900 ns</td>"))
        for text in [report.markdown, report.page] {
            #expect(text.contains("1.20 [1.00–9.00] (1.00–9.00)"))
        }
        #expect(report.tsv.contains("\t100.0\t900.0\tns"))
        #expect(report.tsv.hasSuffix("\tns\t1.2\t1.0\t9.0\t1.0\t9.0"))
    }

    @Test("from where to where has the unit once, unless there are two")
    func spans() {
        #expect(Table.span(100, 900, .nanoseconds) == "100–900 ns")
        #expect(Table.span(900, 1100, .nanoseconds) == "900 ns–1.10 µs")
        #expect(Table.span(0, 0, .perSecond) == "0.00–0.00 /s")
    }

    @Test("a percentile is given if a time lies beyond it; the greatest says of how many")
    func fewTimes() throws {
        let percentiles = Percentile.all(histogram((1...100).map { $0 * 1000 }))
        #expect(percentiles.map(\.percentile) == [50, 75, 90, 95, 99, 100])
        #expect(Percentile.all(histogram([1000])).map(\.percentile) == [100])
        let result = try Self.result("a/b/8/1", [1], percentiles: ["own": percentiles])
        #expect(Table.line(result).contains("max of 1000 100 µs"))
    }

    @Test("every row has a name of four parts, and no two the same")
    func names() {
        let names = Suites.all.map(\.name)
        #expect(Set(names).count == names.count)
        #expect(names.allSatisfy { $0.split(separator: "/").count == 4 })
    }
}
