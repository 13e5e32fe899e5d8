// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// Figures as people read them.
public enum Table {
    /// What stands above the rows.
    public static func header(_ report: Report) -> String {
        let warnings = report.warnings.map { "warning: \($0)\n" }.joined()
        return report.machine.summary + "\ncommand: \(report.command)\n" + warnings + "\n" + heading
    }

    /// What stands below them.
    public static func footer(_ report: Report) -> String {
        report.left.joined(separator: "\n")
    }

    private static let heading =
        pad("row", 34) + pad("median", 12, right: true) + pad("95 % interval", 20, right: true)
        + pad("min", 12, right: true)
        + pad("max", 12, right: true) + pad("ping-pong", 11, right: true)
        + "  ratios (ours / theirs, in the same repeat)"

    /// One row.
    public static func line(_ result: RowResult) -> String {
        var line =
            pad(result.name, 34) + pad(figure(result.value, result.unit), 12, right: true)
            + pad(span(result.interval, result.unit), 20, right: true)
            + pad(figure(result.min, result.unit), 12, right: true)
            + pad(figure(result.max, result.unit), 12, right: true)
            + pad(result.pingPong.map { figure($0.median, .nanoseconds) } ?? "", 11, right: true)
        let ratios = result.ratios.sorted { $0.key < $1.key }.map { name, ratio in
            "\(name) \(digits(ratio.median)) [\(digits(ratio.min))–\(digits(ratio.max))]"
        }
        if !ratios.isEmpty { line += "  " + ratios.joined(separator: ", ") }
        line += result.disturbances.map { "  (\($0))" }.joined()
        for (name, percentiles) in result.percentiles.sorted(by: { $0.key < $1.key }) {
            line += "\n" + pad("  \(name)", 34) + list(percentiles, of: result.samples[name])
        }
        return line
    }

    /// What became of one row.
    public static func line(_ change: Comparison.Change, isRatio: Bool) -> String {
        func show(_ value: Double) -> String {
            isRatio ? digits(value) : figure(value, change.unit)
        }
        func percent(_ part: Double) -> String {
            String(format: "%+.1f", part * 100)
        }
        return pad(change.name, 34) + pad(show(change.before), 12, right: true) + " →"
            + pad(show(change.after), 12, right: true)
            + pad(percent(change.gain) + " %", 11, right: true)
            + "  [\(percent(change.interval.low)) … \(percent(change.interval.high))] better"
    }

    /// What stands above counts.
    public static let countHeading =
        pad("each time", 30) + pad("allocations", 14, right: true)
        + pad("system calls", 14, right: true) + pad("instructions", 14, right: true)

    /// One operation's counts.
    public static func line(_ count: Count) -> String {
        let figures = [count.allocations, count.systemCalls, count.instructions]
        var reasons = ""
        let texts = figures.map { figure in
            switch figure {
            case .each(let value): return digits(value)
            case .skipped(let reason):
                reasons = "  (\(reason))"
                return "-"
            }
        }
        return pad(count.name, 30) + texts.map { pad($0, 14, right: true) }.joined() + reasons
    }

    private static func list(_ percentiles: [Percentile], of samples: Int?) -> String {
        percentiles.filter { shown.contains($0.percentile) }.map { entry in
            let most = samples.map { "max of \($0)" } ?? "max"
            let name = entry.percentile == 100 ? most : "p\(short(entry.percentile))"
            return "\(name) \(figure(entry.nanoseconds, .nanoseconds))"
        }.joined(separator: "  ")
    }

    private static let shown = [50, 90, 99, 99.9, 99.99, 100]

    internal static func short(_ number: Double) -> String {
        number == number.rounded() ? String(Int(number)) : String(number)
    }

    /// A figure with its unit, three digits, or so many after the point.
    public static func figure(_ value: Double, _ unit: Unit, digits places: Int? = nil) -> String {
        let times = [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns")]
        let (prefixes, suffix) =
            switch unit {
            case .nanoseconds: (times, "")
            case .cpu: (times, "/s")
            case .perSecond, .bytesPerSecond, .wakeUps, .bytes:
                ([(1e9, "G"), (1e6, "M"), (1e3, "k"), (1, "")], unit.rawValue)
            }
        let (size, prefix) = prefixes.first { value >= $0.0 } ?? prefixes[prefixes.count - 1]
        let number = places.map { String(format: "%.\($0)f", value / size) } ?? digits(value / size)
        return number + " " + prefix + suffix
    }

    /// From where to where; the unit once, if it is the same.
    public static func span(_ low: Double, _ high: Double, _ unit: Unit) -> String {
        let ends = [figure(low, unit), figure(high, unit)]
        let units = ends.map { $0.drop { $0 != " " } }
        return (units[0] == units[1] ? String(ends[0].prefix { $0 != " " }) : ends[0]) + "–"
            + ends[1]
    }

    internal static func span(_ interval: Interval, _ unit: Unit) -> String {
        span(interval.low, interval.high, unit)
    }

    /// A ratio's median, its interval and, in parentheses, its least and greatest.
    internal static func ratio(_ ratio: Summary) -> String {
        "\(digits(ratio.median)) [\(digits(ratio.interval.low))–\(digits(ratio.interval.high))] "
            + "(\(digits(ratio.min))–\(digits(ratio.max)))"
    }

    /// Three significant digits.
    internal static func digits(_ value: Double) -> String {
        let places = value >= 100 ? 0 : value >= 10 ? 1 : 2
        return String(format: "%.\(places)f", value)
    }

    internal static func pad(_ text: String, _ width: Int, right: Bool = false) -> String {
        let space = String(repeating: " ", count: max(0, width - text.count))
        return right ? space + text : text + space
    }
}
