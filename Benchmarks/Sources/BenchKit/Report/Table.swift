// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// Figures as people read them.
public enum Table {
    /// The line above the rows.
    public static let heading =
        pad("row", 34) + pad("median", 12, right: true) + pad("min", 12, right: true)
        + pad("max", 12, right: true) + pad("ping-pong", 11, right: true)
        + "  ratios (ours / theirs, in the same repeat)"

    /// One row.
    public static func line(_ result: RowResult) -> String {
        var line =
            pad(result.name, 34) + pad(figure(result.value, result.unit), 12, right: true)
            + pad(figure(result.min, result.unit), 12, right: true)
            + pad(figure(result.max, result.unit), 12, right: true)
            + pad(result.pingPong.map { figure($0.median, .nanoseconds) } ?? "", 11, right: true)
        let ratios = result.ratios.sorted { $0.key < $1.key }.map { name, ratio in
            "\(name) \(digits(ratio.median)) [\(digits(ratio.min))–\(digits(ratio.max))]"
        }
        if !ratios.isEmpty { line += "  " + ratios.joined(separator: ", ") }
        if result.foreign > Runner.noisy {
            line += "  (others took \(Int(result.foreign * 100)) % of the CPUs)"
        }
        if result.moved > 0 { line += "  (the host moved the CPUs \(result.moved) times)" }
        for (name, percentiles) in result.percentiles.sorted(by: { $0.key < $1.key }) {
            line += "\n" + pad("  \(name)", 34) + list(percentiles)
        }
        return line
    }

    private static func list(_ percentiles: [Percentile]) -> String {
        percentiles.map { entry in
            let name = entry.percentile == 100 ? "max" : "p\(short(entry.percentile))"
            return "\(name) \(figure(entry.nanoseconds, .nanoseconds))"
        }.joined(separator: "  ")
    }

    private static func short(_ number: Double) -> String {
        number == number.rounded() ? String(Int(number)) : String(number)
    }

    /// A figure with its unit, three digits.
    public static func figure(_ value: Double, _ unit: Unit) -> String {
        switch unit {
        case .nanoseconds:
            value < 1e3
                ? digits(value) + " ns"
                : value < 1e6 ? digits(value / 1e3) + " µs" : digits(value / 1e6) + " ms"
        case .perSecond: scaled(value) + "/s"
        case .bytesPerSecond: scaled(value) + "B/s"
        }
    }

    private static func scaled(_ value: Double) -> String {
        if value >= 1e9 { return digits(value / 1e9) + " G" }
        if value >= 1e6 { return digits(value / 1e6) + " M" }
        if value >= 1e3 { return digits(value / 1e3) + " k" }
        return digits(value) + " "
    }

    /// Three significant digits.
    internal static func digits(_ value: Double) -> String {
        let places = value >= 100 ? 0 : value >= 10 ? 1 : 2
        return String(format: "%.\(places)f", value)
    }

    private static func pad(_ text: String, _ width: Int, right: Bool = false) -> String {
        let space = String(repeating: " ", count: max(0, width - text.count))
        return right ? space + text : text + space
    }
}
