// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// One row as bars: ours and everybody's, on one logarithmic scale.
internal struct BarPlot {
    private struct Bar {
        let name: String
        let series: Series
        let median: Double
        let min: Double
        let max: Double
        let interval: Interval
    }

    private let row: RowResult
    private let bars: [Bar]
    private let scale: LogScale

    init(_ row: RowResult) {
        self.row = row
        let own = Bar(
            name: row.suite == "floor" ? "floor" : "SharedState",
            series: row.suite == "floor" ? .floor : .own, median: row.value, min: row.min,
            max: row.max, interval: row.interval)
        let others = row.others.map { name, other in
            Bar(
                name: name, series: .of(name), median: other.median, min: other.min, max: other.max,
                interval: other.interval)
        }
        self.bars = [own] + others.sorted { $0.name < $1.name }
        self.scale = LogScale(
            bars.flatMap { [$0.min, $0.max] }, from: 0, to: Self.width, baseline: 0.3)
    }

    private static let width = 330.0
    private static let step = 40.0

    var figure: String {
        let height = Self.step * Double(bars.count)
        let marks = bars.enumerated().map { index, bar in draw(bar, at: Double(index)) }
        let direction = row.unit.moreIsBetter ? "more is better" : "less is better"
        return """
            <figure>
            <figcaption>\(escaped(row.name)) <small>\(direction)</small></figcaption>
            <svg viewBox="0 0 \(place(Self.width)) \(place(height))" role="img" \
            aria-label="\(escaped(row.name))">\(marks.joined())</svg>
            </figure>
            """
    }

    private func draw(_ bar: Bar, at index: Double) -> String {
        let top = index * Self.step
        let end = scale.place(bar.median)
        let least = scale.place(bar.min)
        let most = scale.place(bar.max)
        let low = scale.place(bar.interval.low)
        let ratio = row.ratios[bar.name].map { "  ×\(Table.digits($0.median))" } ?? ""
        let label = Table.figure(bar.median, row.unit)
        return """
            <text x="0" y="\(place(top + 13))">\(escaped(bar.name))\
            <tspan class="soft">\(ratio)</tspan></text>\
            <text x="\(place(Self.width))" y="\(place(top + 13))" text-anchor="end">\(label)</text>\
            <rect class="\(bar.series.rawValue)" x="0" y="\(place(top + 18))" \
            width="\(place(end))" height="12" rx="2"/>\
            <line class="whisker" x1="\(place(least))" x2="\(place(most))" \
            y1="\(place(top + 24))" y2="\(place(top + 24))"/>\
            <rect class="interval" x="\(place(low))" y="\(place(top + 21))" \
            width="\(place(max(1, scale.place(bar.interval.high) - low)))" height="6"/>
            """
    }
}

/// Places on a logarithmic axis.
internal struct LogScale {
    let low: Double
    let high: Double
    private let from: Double
    private let to: Double

    /// An axis that holds all the values.
    ///
    /// - Parameters:
    ///   - values: What it must hold; those that are not positive are left out.
    ///   - from: Place of the least.
    ///   - to: Place of the greatest.
    ///   - baseline: How many decades it begins below the least.
    init(_ values: [Double], from: Double, to: Double, baseline: Double = 0) {
        let logs = values.filter { $0 > 0 }.map { log10($0) }
        let least = (logs.min() ?? 0) - baseline
        self.low = least
        self.high = Swift.max((logs.max() ?? 1), least + 0.1)
        self.from = from
        self.to = to
    }

    func place(_ value: Double) -> Double {
        guard value > 0 else { return from }
        let part = (log10(value) - low) / (high - low)
        return from + (to - from) * Swift.min(1, Swift.max(0, part))
    }

    /// The powers of ten on it.
    var decades: [Double] {
        guard low.rounded(.up) <= high.rounded(.down) else { return [] }
        return stride(from: low.rounded(.up), through: high.rounded(.down), by: 1).map {
            pow(10, $0)
        }
    }
}
