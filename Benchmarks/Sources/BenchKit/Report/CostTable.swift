// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// The part of a README that this program writes.
public enum CostTable {
    private static let begin = "<!-- written by shmbench: begin -->"
    private static let end = "<!-- written by shmbench: end -->"

    /// Puts a run's table between a text's marks.
    ///
    /// - Parameters:
    ///   - report: The run.
    ///   - text: With both marks, each on a line of its own.
    /// - Returns: The text, with nothing else changed.
    /// - Throws: ``MeasurementFailure`` if a mark is missing.
    public static func put(_ report: Report, into text: String) throws -> String {
        guard let place = place(in: text) else {
            throw MeasurementFailure("the file has no line \(begin), or no \(end) after it")
        }
        return text.replacingCharacters(in: place, with: "\n" + table(report) + "\n")
    }

    /// The names of the rows that stand between a text's marks.
    internal static func names(in text: String) -> [String] {
        guard let place = place(in: text) else { return [] }
        return text[place].split(separator: "\n").compactMap { line in
            let parts = line.split(separator: "`")
            return line.hasPrefix("| `") && parts.count > 1 ? String(parts[1]) : nil
        }
    }

    private static func place(in text: String) -> Range<String.Index>? {
        guard let first = text.range(of: begin),
            let last = text.range(of: end, range: first.upperBound..<text.endIndex)
        else { return nil }
        return first.upperBound..<last.lowerBound
    }

    private static func table(_ report: Report) -> String {
        let about = Dictionary(
            Suites.all.map { ($0.name, $0.about) }, uniquingKeysWith: { first, _ in first })
        var lines = [
            "| row | what | here | times what others have |", "| --- | --- | ---: | --- |",
        ]
        lines += report.results.map { result in
            "| `\(result.name)` | \(about[result.name] ?? "") "
                + "| \(here(result)) | \(ratios(result)) |"
        }
        lines += report.skipped.sorted { $0.key < $1.key }.map { name, reason in
            "| `\(name)` | \(about[name] ?? "") | none | \(reason) |"
        }
        let repeats = report.results.map(\.repeats).max() ?? 0
        lines += ["", "Medians of \(repeats) repeats. " + report.machine.sentence]
        lines += report.warnings.map { "Warning: \($0)." }
        return lines.joined(separator: "\n")
    }

    private static func here(_ result: RowResult) -> String {
        let figure = Table.figure(result.value, result.unit)
        let late = result.percentiles["own"]?.first { $0.percentile == 99 }
        return figure + (late.map { ", p99 " + Table.figure($0.nanoseconds, .nanoseconds) } ?? "")
    }

    private static func ratios(_ result: RowResult) -> String {
        result.ratios.sorted { $0.key < $1.key }.map { name, ratio in
            "\(number(ratio.median)) \(name)"
        }.joined(separator: ", ")
    }

    private static func number(_ value: Double) -> String {
        value < 0.1 ? String(format: "%.2g", value) : Table.digits(value)
    }
}

extension Machine {
    /// One line for people.
    fileprivate var sentence: String {
        summary.split(separator: "\n").joined(separator: "; ") + "."
    }
}
