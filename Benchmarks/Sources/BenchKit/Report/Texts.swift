// SPDX-License-Identifier: Apache-2.0

extension Report {
    /// One line for each figure: row, channel, median, least, greatest, the median's 95 % interval, unit,
    /// and the ratio with the same.
    ///
    /// Above them, behind `# `, what a reader must know of all of them.
    public var tsv: String {
        let columns = [
            "name", "channel", "value", "min", "max", "low", "high", "unit", "ratio", "ratio_min",
            "ratio_max", "ratio_low", "ratio_high",
        ]
        let notes =
            ["command: \(command)"] + machine.summary.split(separator: "\n").map(String.init)
            + warnings.map { "warning: \($0)" } + left
        var lines = notes.map(Self.note) + [columns.joined(separator: "\t")]
        for result in results {
            let own = [
                result.value, result.min, result.max, result.interval.low, result.interval.high,
            ]
            lines.append(Self.line(result, "own", own, nil))
            for (name, other) in result.others.sorted(by: { $0.key < $1.key }) {
                lines.append(Self.line(result, name, other.figures, result.ratios[name]))
            }
        }
        return lines.joined(separator: "\n")
    }

    private static func line(
        _ result: RowResult, _ channel: String, _ figures: [Double], _ ratio: Summary?
    ) -> String {
        let ratios = ratio.map { $0.figures.map { "\($0)" } } ?? Array(repeating: "", count: 5)
        let words =
            [result.name, channel] + figures.map { "\($0)" } + [result.unit.rawValue] + ratios
        return words.joined(separator: "\t")
    }

    /// A comment of one line, whatever stands in it.
    private static func note(_ text: String) -> String {
        "# " + text.split { $0.isNewline || $0 == "\t" }.joined(separator: " ")
    }

    /// Rows and peers without a figure, and why, a line each.
    internal var left: [String] {
        let rows = skipped.sorted { $0.key < $1.key }.map { "skipped \($0.key): \($0.value)" }
        let peers = Set(results.flatMap { $0.skipped.map { "skipped \($0.key): \($0.value)" } })
        return rows + peers.sorted()
    }

    /// A table for a README, with the command, the machine and what is missing below.
    public var markdown: String {
        var lines = [
            "| row | median | 95 % interval | min – max | ratio to | median [95 % interval] (min – max) |",
            "|---|---:|---:|---:|---|---:|",
        ]
        for result in results {
            let ratios = result.ratios.sorted { $0.key < $1.key }
            let names = ratios.map(\.key).joined(separator: "<br>")
            let values = ratios.map { _, ratio in Table.ratio(ratio) }
            lines.append(
                "| `\(result.name)` | \(Table.figure(result.value, result.unit)) "
                    + "| \(Table.span(result.interval, result.unit)) "
                    + "| \(Table.span(result.min, result.max, result.unit)) | \(names) "
                    + "| \(values.joined(separator: "<br>")) |")
        }
        lines += ["", machine.summary.split(separator: "\n").joined(separator: "; ") + "."]
        lines += warnings.map { "Warning: \($0)." }
        lines += left.map { $0.prefix(1).uppercased() + $0.dropFirst() + "." }
        lines.append("`\(command)`")
        return lines.joined(separator: "\n")
    }
}

extension Summary {
    fileprivate var figures: [Double] { [median, min, max, interval.low, interval.high] }
}
